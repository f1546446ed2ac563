//! Any bytes as an RDB file and as a payload of RESTORE: the readers neither panic nor take memory that the bytes do not
//! justify, find the same at once and in pieces, and what they read is the same when we write it and read it again. The
//! first byte chooses; the rest follows the header of a file, or gets a right footer.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotmesh_rdb::Crc64;

#[path = "../../../shard/rdb/tests/formats/check.rs"]
#[allow(dead_code)]
mod check;

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let piece = usize::from(choice >> 2);
    match choice & 3 {
        0 => _ = check::file(bytes, piece),
        1 => _ = check::file(&[b"REDIS0011", bytes].concat(), piece),
        2 => _ = check::payload(bytes),
        _ => {
            let mut payload = [bytes, &[10, 0]].concat();
            payload.extend(Crc64::of(&payload).to_le_bytes());
            _ = check::payload(&payload);
        }
    }
});
