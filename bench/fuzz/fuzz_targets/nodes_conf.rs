//! Any bytes as nodes.conf: the reader does not panic; an error is one line and names a line of the file; what it reads is
//! the same when we write it and read it again.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../../shard/cluster/tests/formats/check.rs"]
#[allow(dead_code)]
mod check;

fuzz_target!(|data: &[u8]| {
    check::nodes_conf(data);
});
