//! What holds for any bytes. The fuzz targets of `bench/fuzz` check the same.

use slotmesh_base::UnixMillis;
use slotmesh_keyspace::{Element, KeyHasher, Keyspace, PackedLimit, SnapshotEntry, SnapshotWalk, Value};
use slotmesh_rdb::{Dumper, Item, RdbError, RdbReader, RdbWriter, ReadLimits, WriteOptions, restore};

const LIMITS: ReadLimits =
    ReadLimits { string_bytes_max: 1 << 20, databases: 16, list_packed: PackedLimit::new(-2), checksum: false };
const HASHER: KeyHasher = KeyHasher::new([3, 4]);
/// Before this nothing expires.
const START: UnixMillis = UnixMillis(i64::MIN);

/// Bytes as a file: nothing panics; at once and in pieces the same is read, or the same is wrong at the same place; an
/// error is one line; and what was read is the same when we write it and read it again. Whether it was a file.
pub(crate) fn file(bytes: &[u8], piece: usize) -> bool {
    let (items, result) = read(bytes, bytes.len().max(1));
    assert_eq!((&items, &result), (&read(bytes, piece.max(1)).0, &read(bytes, piece.max(1)).1));
    if let Err(error) = &result {
        let text = error.to_string();
        assert!(!text.contains(char::is_control), "more than a line: {text:?}");
        assert!(error.offset <= bytes.len() as u64);
    }
    round_trip(bytes);
    result.is_ok()
}

/// Bytes as a payload of RESTORE: nothing panics, and what was read is the same when we dump it and read it again. Whether
/// it was a value.
pub(crate) fn payload(bytes: &[u8]) -> bool {
    let Ok(value) = restore(bytes, LIMITS.string_bytes_max, LIMITS.list_packed) else { return false };
    for compresses in [true, false] {
        let mut dumped = Vec::new();
        Dumper::new(compresses).dump(&mut dumped, value.borrow());
        let again = restore(&dumped, usize::MAX, LIMITS.list_packed).expect("what we dump can be restored");
        assert_eq!(elements(&again), elements(&value));
        let mut dumped_again = Vec::new();
        Dumper::new(compresses).dump(&mut dumped_again, again.borrow());
        assert_eq!(dumped_again, dumped);
    }
    true
}

/// All that is read, as text, and how it ends.
fn read(bytes: &[u8], piece: usize) -> (Vec<String>, Result<(), RdbError>) {
    let (mut reader, mut items) = (RdbReader::new(LIMITS), Vec::new());
    for piece in bytes.chunks(piece) {
        reader.push(piece);
        loop {
            match reader.read() {
                Ok(Some(item)) => items.push(text(&item)),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    let result = reader.finish();
    (items, result)
}

fn text(item: &Item) -> String {
    let Item::Entry(entry) = item else { return format!("{item:?}") };
    let value = elements(&entry.value);
    format!("{} {:?} {value:?} {:?} {:?}", entry.db, entry.key, entry.expires_at, entry.last_use)
}

fn elements(value: &Value) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    match value {
        Value::String(string) => all.push(string.clone()),
        Value::List(list) => list.visit(0..list.len(), |element| match element {
            Element::Bytes(bytes) => all.push(bytes.to_vec()),
            Element::Integer(value) => all.push(value.to_string().into_bytes()),
        }),
        other => panic!("{other:?} has no elements here"),
    }
    all
}

/// Puts the keys that come before an error into a keyspace, writes that, and reads it into another.
fn round_trip(bytes: &[u8]) {
    let mut keyspace = Keyspace::new(16, 0..=16383, HASHER);
    load(&mut keyspace, bytes);
    for compresses in [true, false] {
        let file = write(&mut keyspace, compresses);
        let mut other = Keyspace::new(16, 0..=16383, HASHER);
        assert!(load(&mut other, &file), "we write what can be read");
        assert_eq!(write(&mut other, compresses).len(), file.len());
        assert_eq!(sorted(&read(&write(&mut other, compresses), 1000).0), sorted(&read(&file, 1000).0));
    }
}

/// Whether the whole of it was read. Keys that stand there twice are taken once.
fn load(keyspace: &mut Keyspace, bytes: &[u8]) -> bool {
    let mut reader = RdbReader::new(ReadLimits { checksum: true, ..LIMITS });
    reader.push(bytes);
    while let Ok(Some(item)) = reader.read() {
        if let Item::Entry(entry) = item {
            let _ = entry.insert_into(keyspace, &HASHER, START);
        }
    }
    reader.finish().is_ok()
}

fn write(keyspace: &mut Keyspace, compresses: bool) -> Vec<u8> {
    let (mut writer, mut out) = (RdbWriter::new(WriteOptions { compresses, checksum: true }), Vec::new());
    let header = slotmesh_rdb::Header {
        redis_version: "7.2.0",
        created_at: 0,
        used_memory: 0,
        replication: None,
        is_aof_base: false,
    };
    writer.header(&mut out, &header);
    let id = keyspace.begin_snapshot(1 << 20).expect("it is the only one");
    let mut show = |entry: SnapshotEntry<'_>| writer.entry(&mut out, &entry);
    while keyspace.walk_snapshot(id, 100, &mut show) == SnapshotWalk::More {}
    writer.end(&mut out);
    out
}

fn sorted(lines: &[String]) -> Vec<&String> {
    let mut lines: Vec<_> = lines.iter().collect();
    lines.sort();
    lines
}
