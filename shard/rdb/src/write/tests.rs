use super::*;
use alloc::vec;
use slotmesh_base::UnixMillis;
use slotmesh_keyspace::{ListBuilder, PackedLimit, Value};

/// What redis-server 7.0.15 wrote of three keys and a function.
pub(crate) const CAPTURED: &[u8] = b"REDIS0010\
    \xfa\x09redis-ver\x067.0.15\
    \xfa\x0aredis-bits\xc0\x40\
    \xfa\x05ctime\xc2\xae\xb0\x02\x6b\
    \xfa\x08used-mem\xc2\xb0\x1f\x15\x00\
    \xfa\x08aof-base\xc0\x00\
    \xf5\x40\x41#!lua name=l\nredis.register_function('f',function() return 1 end)\
    \xfe\x00\xfb\x02\x01\
    \xfc\x00\x40\x94\x52\xa3\x03\x00\x00\x00\x01b\x01x\
    \x00\x01a\xc0\x01\
    \xfe\x03\xfb\x01\x00\
    \x12\x01l\x01\x02\x0a\x0a\x00\x00\x00\x01\x00\x81a\x02\xff\
    \xff\x41\x3e\x18\x31\x7e\x91\x09\x45";

fn list(elements: &[&[u8]]) -> Value {
    let mut builder = ListBuilder::new(PackedLimit::default());
    elements.iter().for_each(|element| builder.push(element));
    Value::List(builder.finish().unwrap())
}

#[test]
fn a_file_is_byte_for_byte_that_of_redis() {
    let mut writer = RdbWriter::new(WriteOptions::default());
    let mut out = Vec::new();
    let header = Header {
        redis_version: "7.0.15",
        created_at: 0x6b02_b0ae,
        used_memory: 0x0015_1fb0,
        replication: None,
        is_aof_base: false,
    };
    writer.header(&mut out, &header);
    writer.function(&mut out, b"#!lua name=l\nredis.register_function('f',function() return 1 end)");
    let values = [Value::String(b"x".to_vec()), Value::String(b"1".to_vec()), list(&[b"a"])];
    let expiry = Some(UnixMillis(4_000_000_000_000));
    let entry = |db, key, value, expires_at| SnapshotEntry { db, key, value, expires_at };
    writer.database(&mut out, 0, 2, 1);
    writer.entry(&mut out, &entry(0, b"b", values[0].borrow(), expiry));
    writer.entry(&mut out, &entry(0, b"a", values[1].borrow(), None));
    writer.database(&mut out, 3, 1, 0);
    writer.entry(&mut out, &entry(3, b"l", values[2].borrow(), None));
    writer.end(&mut out);
    assert_eq!(out, CAPTURED);
}

#[test]
fn parts_may_be_taken_away_while_it_is_written() {
    let state =
        ReplicationState { stream_db: 2, id: "0123456789abcdef0123456789abcdef01234567", offset: 12_345_678_901 };
    let header =
        Header { redis_version: "7.2.0", created_at: 1, used_memory: 2, replication: Some(state), is_aof_base: true };
    let value = Value::String(vec![b'x'; 100]);
    let mut written = [Vec::new(), Vec::new()];
    for (takes_away, whole) in [false, true].into_iter().zip(&mut written) {
        let (mut writer, mut out) = (RdbWriter::new(WriteOptions { compresses: false, checksum: true }), Vec::new());
        writer.header(&mut out, &header);
        for (db, key) in [(0, b"a"), (0, b"b"), (9, b"a")] {
            if takes_away {
                whole.append(&mut out);
            }
            writer.entry(&mut out, &SnapshotEntry { db, key, value: value.borrow(), expires_at: None });
        }
        writer.end(&mut out);
        whole.append(&mut out);
    }
    assert_eq!(written[0], written[1]);
    let names = b"\xfa\x0erepl-stream-db\xc0\x02\xfa\x07repl-id\x280123456789abcdef0123456789abcdef01234567\
        \xfa\x0brepl-offset\x0b12345678901\xfa\x08aof-base\xc0\x01\xfe\x00\x00\x01a\x40\x64xxxx";
    assert!(written[0].windows(names.len()).any(|window| window == names));
}

#[test]
fn without_a_checksum_the_end_is_zeros() {
    let mut out = Vec::new();
    let writer = RdbWriter::new(WriteOptions { compresses: true, checksum: false });
    writer.end(&mut out);
    assert_eq!(out, [0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
}
