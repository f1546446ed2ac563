//! Files and payloads that somebody has spoilt.

use super::check;
use proptest::prelude::*;
use slotmesh_rdb::Crc64;

/// A file of redis-server 7.0.15.
const FILE: &[u8] = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfe\x00\xfb\x02\x01\
    \xfc\x00\x40\x94\x52\xa3\x03\x00\x00\x00\x01b\x01x\xf8\x05\x00\x01a\xc0\x01\
    \xfe\x03\xfb\x01\x00\x12\x01l\x02\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff\
    \x02\x11\x11\x00\x00\x00\x03\x00\x82ab\x03\xf1\x00\x10\x03\x05\x01\xff\
    \x00\x01c\xc3\x09\x40\x40\x01aa\xe0\x33\x00\x01aa\
    \x0a\x01z\x10\x10\0\0\0\x0d\0\0\0\x02\0\x00\x01a\x03\xf6\xff\
    \x01\x01s\x02\x01a\xc0\x05\xff\0\0\0\0\0\0\0\0";

/// Bodies of payloads.
const BODIES: &[&[u8]] = &[
    b"\x00\x05hello",
    b"\x00\xc3\x09\x40\x40\x01aa\xe0\x33\x00\x01aa",
    b"\x0e\x02\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\x00\x01a\xff\x0b\x0b\0\0\0\x0a\0\0\0\x00\0\xff",
    b"\x12\x02\x01\x03xyz\x02\x11\x11\0\0\0\x03\0\x82ab\x03\xf1\0\x10\x03\x05\x01\xff",
];

#[test]
fn what_the_spoilt_ones_were_made_of_is_sound() {
    assert!(check::file(FILE, 7));
    assert!(BODIES.iter().all(|body| check::payload(&with_footer(body))));
    assert!(!check::file(b"", 1) && !check::payload(b""));
}

fn with_footer(body: &[u8]) -> Vec<u8> {
    let mut payload = [body, &[10, 0]].concat();
    payload.extend(Crc64::of(&payload).to_le_bytes());
    payload
}

fn spoil(mut bytes: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    for &(at, kind, byte) in changes {
        let at = at % (bytes.len() + 1);
        match kind {
            0 => bytes.insert(at, byte),
            1 if at < bytes.len() => drop(bytes.remove(at)),
            2 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] = byte,
            _ => bytes.push(byte),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80), Just(0x81), Just(0xc3), Just(0xf0)];
    prop::collection::vec((0..400_usize, prop_oneof![0..2_u8, 3..9_u8, Just(2)], byte), 1..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn spoilt_files_are_read_or_refused(changes in changes(), piece in 1..50_usize) {
        check::file(&spoil(FILE.to_vec(), &changes), piece);
    }

    #[test]
    fn spoilt_payloads_are_taken_or_refused(which in 0..BODIES.len(), changes in changes()) {
        check::payload(&with_footer(&spoil(BODIES[which].to_vec(), &changes)));
    }
}
