//! Any bytes as a message of the cluster bus: the decoder does not panic, and what it reads is the same when we write it
//! and read it again.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../shard/cluster/tests/formats/check.rs"]
#[allow(dead_code)]
mod check;

fuzz_target!(|data: &[u8]| {
    check::frame(data);
});
