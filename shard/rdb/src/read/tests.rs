use super::*;
use crate::error::{Fault, LackingType};
use crate::write::{Header, RdbWriter, WriteOptions};
use alloc::string::{String, ToString};
use alloc::vec;
use proptest::prelude::*;
use slotmesh_keyspace::{Element, ListBuilder, SnapshotEntry};
use std::format;

const LIMITS: ReadLimits =
    ReadLimits { string_bytes_max: 1 << 20, databases: 16, list_packed: PackedLimit::new(-2), checksum: true };

fn shown(item: &Item) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match item {
        Item::Version(version) => format!("version {version}"),
        Item::Aux { name, value } => format!("{}={}", text(name), text(value)),
        Item::Function(source) => format!("function {}", source.len()),
        Item::SelectDb(db) => format!("db {db}"),
        Item::ResizeDb { keys, expiring } => format!("size {keys} {expiring}"),
        Item::Entry(entry) => {
            let value = match &entry.value {
                Value::String(string) => format!("string {}", text(string)),
                Value::List(list) => {
                    let mut all = format!("list of {}:", list.runs());
                    list.visit(0..list.len(), |element| match element {
                        Element::Bytes(bytes) => all += &format!(" {}", text(bytes)),
                        Element::Integer(value) => all += &format!(" {value}"),
                    });
                    all
                }
                other => panic!("{other:?}"),
            };
            let LoadedEntry { db, key, expires_at, last_use, .. } = entry;
            let expires_at = expires_at.map(|at| at.0);
            format!("{db} {} {value} {expires_at:?} {last_use:?}", text(key))
        }
        Item::EmptyKey { db, key } => format!("{db} {} is empty", text(key)),
        Item::End { has_checksum } => format!("end {has_checksum}"),
    }
}

/// What is read of bytes that come `piece` at a time, up to the error if there is one.
fn read_in(bytes: &[u8], piece: usize, limits: ReadLimits) -> (Vec<String>, Result<(), RdbError>) {
    let (mut reader, mut items) = (RdbReader::new(limits), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.read() {
                Ok(Some(item)) => items.push(shown(&item)),
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(reader.read().err(), Some(error.clone()), "it stays wrong");
                    return (items, Err(error));
                }
            }
        }
    }
    let result = reader.finish();
    (items, result)
}

fn read(bytes: &[u8]) -> (Vec<String>, Result<(), RdbError>) {
    let whole = read_in(bytes, bytes.len().max(1), LIMITS);
    for piece in [1, 2, 7, 100] {
        assert_eq!(read_in(bytes, piece, LIMITS), whole, "in pieces of {piece}");
    }
    whole
}

fn error(bytes: &[u8]) -> (u64, RdbErrorKind) {
    let RdbError { offset, kind } = read(bytes).1.unwrap_err();
    (offset, kind)
}

/// A file of these records without a checksum.
fn file(records: &[u8]) -> Vec<u8> {
    [b"REDIS0011", records, &[0xff, 0, 0, 0, 0, 0, 0, 0, 0]].concat()
}

#[test]
fn a_file_of_redis_is_read() {
    let (items, result) = read(crate::write::tests::CAPTURED);
    assert_eq!(result, Ok(()));
    let expected = "version 10|redis-ver=7.0.15|redis-bits=64|ctime=1795338414|used-mem=1384368|aof-base=0|function 65|db 0|\
        size 2 1|0 b string x Some(4000000000000) None|0 a string 1 None None|db 3|size 1 0|3 l list of 1: a None None|\
        end true";
    assert_eq!(items.join("|"), expected);
}

#[test]
fn what_other_servers_write_is_read() {
    // The tail of what valkey 8.0.1 wrote in a cluster, with slots in AUX fields.
    let records = b"\xfe\x00\xfb\x03\x01\xfa\x09slot-info\x085061,1,0\x00\x03bar\x01v\xfa\x09slot-info\x0912182,2,1\
        \x00\x06{foo}2\x01v\xfc\xc4\x15\x78\x08\xa2\x01\x00\x00\x00\x03foo\x01v";
    let (items, result) = read(&file(records));
    assert_eq!(result, Ok(()));
    let expected = "version 11|db 0|size 3 1|slot-info=5061,1,0|0 bar string v None None|slot-info=12182,2,1|\
        0 {foo}2 string v None None|0 foo string v Some(1795438417348) None|end false";
    assert_eq!(items.join("|"), expected);
    // Slots as redis 7.4 tells them, traces of uses, an expiry in seconds, none, and a list without elements.
    let records = b"\xf4\x01\x02\x03\xf8\x05\x00\x01a\x01v\xf9\x07\xfd\x0a\x00\x00\x00\x00\x01b\x01v\
        \xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\x01c\x01v\xf8\x05\x01\x01d\x00\x00\x01e\x01v";
    let (items, result) = read(&file(records));
    assert_eq!(result, Ok(()));
    let expected = "version 11|0 a string v None Some(Idle(5))|0 b string v Some(10000) Some(Frequency(7))|\
        0 c string v None None|0 d is empty|0 e string v None None|end false";
    assert_eq!(items.join("|"), expected);
}

#[test]
fn what_comes_behind_the_end_is_left() {
    let mut reader = RdbReader::new(LIMITS);
    reader.push(&[&file(b"")[..], b"*1\r\n"].concat());
    while reader.read().unwrap().is_some() {}
    assert!(reader.is_done());
    assert_eq!((reader.rest(), reader.offset()), (&b"*1\r\n"[..], 18));
    reader.push(b"$4");
    assert!(reader.read().unwrap().is_none());
    assert_eq!(reader.finish(), Ok(()));
    assert_eq!(reader.rest(), b"*1\r\n$4");
}

#[test]
fn every_error_says_what_and_where() {
    assert_eq!(error(b"RODIS0010"), (0, RdbErrorKind::Signature));
    assert_eq!(error(b"REDIS001x"), (0, RdbErrorKind::Signature));
    for version in [8, 12, 9999] {
        assert_eq!(error(format!("REDIS{version:04}").as_bytes()), (0, RdbErrorKind::Version(version)));
    }
    let records_error = |records: &[u8]| error(&file(records));
    let corrupt = |fault| (9, RdbErrorKind::Corrupt(fault));
    assert_eq!(records_error(b"\xfe\x10"), (9, RdbErrorKind::Database(16)));
    assert_eq!(records_error(b"\x08\x01a"), corrupt(Fault::Type(8)));
    assert_eq!(records_error(b"\x1a\x01a"), corrupt(Fault::Type(26)));
    assert_eq!(records_error(b"\xf6\x01a"), corrupt(Fault::PreReleaseFunctions));
    assert_eq!(records_error(b"\xfb\x82\x01"), corrupt(Fault::Length));
    assert_eq!(records_error(b"\x00\xc4\x01"), corrupt(Fault::StringForm));
    assert_eq!(records_error(b"\x00\x80\x00\x10\x00\x01"), (9, RdbErrorKind::TooLong((1 << 20) + 1)));
    assert_eq!(records_error(b"\x00\x01a\xc3\x02\x05\x09z"), (12, RdbErrorKind::Corrupt(Fault::Compression)));
    assert_eq!(records_error(b"\x12\x01a\x01\x03"), (13, RdbErrorKind::Corrupt(Fault::Node)));
    assert_eq!(records_error(b"\x12\x01a\x01\x01\x00"), (13, RdbErrorKind::Corrupt(Fault::Node)));
    assert_eq!(
        records_error(b"\x12\x01a\x01\x02\x07\x07\0\0\0\x01\0\xff"),
        (13, RdbErrorKind::Corrupt(Fault::Listpack))
    );
    assert_eq!(records_error(b"\x0a\x01a\x01x"), (12, RdbErrorKind::Corrupt(Fault::Ziplist)));
    let module = (9, RdbErrorKind::ModuleData { module: *b"ReJSON-RL" });
    assert_eq!(records_error(b"\xf7\x81\x45\xe2\x52\x38\xdf\x91\x2c\x03\x02\x00"), module);
    for (number, kind) in [
        (2, LackingType::Set),
        (11, LackingType::Set),
        (20, LackingType::Set),
        (3, LackingType::SortedSet),
        (5, LackingType::SortedSet),
        (12, LackingType::SortedSet),
        (17, LackingType::SortedSet),
        (4, LackingType::Hash),
        (9, LackingType::Hash),
        (13, LackingType::Hash),
        (16, LackingType::Hash),
        (24, LackingType::HashWithExpiry),
        (15, LackingType::Stream),
        (19, LackingType::Stream),
        (21, LackingType::Stream),
        (6, LackingType::Module),
        (7, LackingType::Module),
    ] {
        let key = b"k\n".to_vec();
        assert_eq!(records_error(&[number, 2, b'k', b'\n']), (9, RdbErrorKind::Lacking { kind, number, key }));
    }
    let text = read(&file(b"\xfe\x01\x10\x02k\n\x00")).1.unwrap_err().to_string();
    assert_eq!(text, "Key 'k\\n' is a hash (type 16), which is not supported yet at offset 11");
}

#[test]
fn a_file_that_ends_early_or_was_changed_is_refused() {
    let whole = crate::write::tests::CAPTURED;
    for end in 0..whole.len() {
        let (_, result) = read_in(&whole[..end], whole.len(), LIMITS);
        assert_eq!(result.unwrap_err().kind, RdbErrorKind::Truncated, "{end}");
    }
    for at in 0..whole.len() {
        let mut broken = whole.to_vec();
        broken[at] ^= 0x04;
        assert!(read_in(&broken, 1000, LIMITS).1.is_err(), "{at}");
        let last = whole.len() - 8;
        let ignored = read_in(&broken, 1000, ReadLimits { checksum: false, ..LIMITS }).1;
        assert!(at < last || ignored.is_ok(), "a checksum that is not compared does not matter");
    }
}

#[test]
fn memory_does_not_grow_with_what_is_only_announced() {
    for records in [&b"\x00\x01a\x80\x00\x0f\xff\xff"[..], b"\x12\x01a\x81\xff\xff\xff\xff\xff\xff\xff\xff"] {
        let mut reader = RdbReader::new(LIMITS);
        reader.push(b"REDIS0010");
        reader.push(records);
        while reader.read().unwrap().is_some() {}
        assert!(reader.buffer.capacity() < 1000);
    }
    // A long string does not leave its memory behind.
    let mut reader = RdbReader::new(LIMITS);
    reader.push(&[b"REDIS0010\x00\x01a\x80\x00\x0f\xff\xff", &vec![b'x'; 0xf_ffff][..]].concat());
    while reader.read().unwrap().is_some() {}
    reader.push(b"");
    assert!(reader.buffer.capacity() <= RDB_BYTES_KEPT);
}

/// A key in a form to generate: its value is a string of the first element, unless it is a list.
type Draft = (u16, Vec<u8>, bool, Vec<Vec<u8>>, Option<i64>);

fn value(is_list: bool, elements: &[Vec<u8>]) -> Value {
    if !is_list {
        return Value::String(elements[0].clone());
    }
    let mut builder = ListBuilder::new(LIMITS.list_packed);
    elements.iter().for_each(|element| builder.push(element));
    Value::List(builder.finish().unwrap())
}

fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        any::<i16>().prop_map(|value| value.to_string().into_bytes()),
        (any::<u8>(), 0..9000_usize).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        keys in prop::collection::vec(
            (0..16_u16, element(), any::<bool>(), prop::collection::vec(element(), 1..30), prop::option::of(0..i64::MAX)),
            0..20,
        ),
        options in (any::<bool>(), any::<bool>()),
        piece in 1..5000_usize,
    ) {
        let keys: Vec<Draft> = keys;
        let mut writer = RdbWriter::new(WriteOptions { compresses: options.0, checksum: options.1 });
        let mut out = Vec::new();
        let header =
            Header { redis_version: "7.0.15", created_at: 1, used_memory: 2, replication: None, is_aof_base: false };
        writer.header(&mut out, &header);
        let (mut expected, mut last) = (Vec::new(), None);
        for (db, key, is_list, elements, expiry) in &keys {
            let value = value(*is_list, elements);
            let expires_at = expiry.map(UnixMillis);
            writer.entry(&mut out, &SnapshotEntry { db: *db, key, value: value.borrow(), expires_at });
            if last != Some(*db) {
                expected.push(format!("db {db}"));
                last = Some(*db);
            }
            let entry = LoadedEntry { db: *db, key: key.clone(), value, expires_at, last_use: None };
            expected.push(shown(&Item::Entry(entry)));
        }
        expected.push(format!("end {}", options.1));
        writer.end(&mut out);
        let (items, result) = read_in(&out, piece, LIMITS);
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(&items[6..], expected);
    }

    #[test]
    fn any_bytes_are_read_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..27_u8) {
        let head = [b"REDIS0010", &[kind, 1, b'k'][..]].concat();
        bytes.splice(..0, head);
        let whole = read_in(&bytes, bytes.len(), LIMITS);
        prop_assert_eq!(read_in(&bytes, 1, LIMITS), whole);
    }
}
