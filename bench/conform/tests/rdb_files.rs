//! RDB files: those of redis-server are read, and ours are loaded by it and found sound by redis-check-rdb.

use slotmesh_base::{Rng, UnixMillis};
use slotmesh_conform::{Connection, Program, Server, show, unused_port};
use slotmesh_keyspace::{
    Db, Element, KeyHasher, Keyspace, LastUse, ListBuilder, Loose, PackedLimit, SnapshotEntry, SnapshotWalk, Value,
    ValueRef,
};
use slotmesh_rdb::{Header, Item, LackingType, RdbErrorKind, RdbReader, RdbWriter, ReadLimits, WriteOptions};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

const DATABASES: usize = 16;
const LIMITS: ReadLimits =
    ReadLimits { string_bytes_max: 512 << 20, databases: DATABASES, list_packed: PackedLimit::new(-2), checksum: true };
const HASHER: KeyHasher = KeyHasher::new([1, 2]);
/// Before this nothing expires.
const START: UnixMillis = UnixMillis(0);

/// A key: its database, name, value (several elements make a list) and expiry.
type Row = (usize, String, Vec<Vec<u8>>, Option<i64>);

/// Keys of every form that a value may have.
fn rows() -> Vec<Row> {
    let mut rng = Rng::new(7);
    let mut text = |longest: u64| -> Vec<u8> {
        let length = rng.below(longest);
        let bytes = [1, 3, 26, 256][rng.below(4) as usize];
        (0..length).map(|_| b'a'.wrapping_add(rng.below(bytes) as u8)).collect()
    };
    let mut rows = Vec::new();
    for number in 0..600_i64 {
        let value = match number % 12 {
            0 => vec![(number * number * 7919 - 40_000).to_string().into_bytes()],
            1 => vec![(i64::MAX - number).to_string().into_bytes()],
            2 => vec![text(30)],
            3 => vec![text(300)],
            4 if number % 60 == 4 => vec![text(200_000)],
            5 | 6 => (0..2 + number % 30).map(|_| text(50)).collect(),
            7 => (0..2 + number % 200).map(|index| (index * index * number - 500).to_string().into_bytes()).collect(),
            8 => (0..2 + number % 40).map(|_| text(900)).collect(),
            // An element that is a node of its own, between others.
            9 => vec![text(20), vec![b'y'; 9000 + number as usize], text(20), text(12_000)],
            10 if number % 60 == 10 => (0..20_000).map(|_| text(20)).collect(),
            _ => vec![Vec::new()],
        };
        let expiry = (number % 5 == 0).then_some(4_000_000_000_000 + number);
        rows.push((number as usize % 3 * 7, format!("key:{number}"), value, expiry));
    }
    rows
}

fn fill(connection: &mut Connection, rows: &[Row]) {
    for (db, key, value, expiry) in rows {
        connection.say(&format!("SELECT {db}"));
        let words = match &value[..] {
            [string] => vec![b"SET", key.as_bytes(), string],
            elements => [&b"RPUSH"[..], key.as_bytes()].into_iter().chain(elements.iter().map(Vec::as_slice)).collect(),
        };
        connection.ask(&words);
        if let Some(expiry) = expiry {
            connection.say(&format!("PEXPIREAT {key} {expiry}"));
        }
    }
}

/// Panics unless the server has these keys and no others.
fn assert_holds(connection: &mut Connection, rows: &[Row]) {
    let mut sizes = BTreeMap::new();
    for (db, key, value, expiry) in rows {
        *sizes.entry(*db).or_insert(0) += 1;
        connection.say(&format!("SELECT {db}"));
        let got = match &value[..] {
            [_] => connection.say(&format!("GET {key}")),
            _ => connection.say(&format!("LRANGE {key} 0 -1")),
        };
        let head = if value.len() == 1 { String::new() } else { format!("*{}\r\n", value.len()) };
        let mut expected = head.into_bytes();
        value
            .iter()
            .for_each(|part| expected.extend([format!("${}\r\n", part.len()).as_bytes(), part, b"\r\n"].concat()));
        assert!(got == expected, "{key}: {}", show(&got));
        let expiry = format!(":{}\r\n", expiry.unwrap_or(-1));
        assert_eq!(connection.say(&format!("PEXPIRETIME {key}")), expiry.as_bytes(), "{key}");
    }
    for (db, size) in sizes {
        connection.say(&format!("SELECT {db}"));
        assert_eq!(connection.say("DBSIZE"), format!(":{size}\r\n").into_bytes(), "database {db}");
    }
}

/// Reads a file in pieces of changing size: its keys in a keyspace, all else as lines.
fn read(file: &[u8]) -> (Keyspace, Vec<String>) {
    let (mut keyspace, mut lines) = (Keyspace::new(DATABASES, 0..=16383, HASHER), Vec::new());
    let (mut reader, mut rng, mut rest) = (RdbReader::new(LIMITS), Rng::new(1), file);
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + rng.below(20_000) as usize));
        reader.push(piece);
        rest = behind;
        while let Some(item) = reader.read().expect("a file of Redis, or ours") {
            match item {
                Item::Entry(entry) => {
                    assert!(entry.last_use.is_none_or(|last_use| matches!(last_use, LastUse::Idle(0..30))));
                    lines.extend(entry.last_use.map(|_| "use".to_owned()));
                    entry.insert_into(&mut keyspace, &HASHER, START).expect("each key stands there once");
                }
                Item::Aux { name, value } => {
                    lines.push(format!("{}={}", String::from_utf8_lossy(&name), String::from_utf8_lossy(&value)));
                }
                item => lines.push(format!("{item:?}")),
            }
        }
    }
    reader.finish().expect("the file is whole");
    (keyspace, lines)
}

fn elements(value: ValueRef<'_>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    match value {
        ValueRef::String(string) => all.push(string.to_vec()),
        ValueRef::List(list) => list.visit(0..list.len(), |element| match element {
            Element::Bytes(bytes) => all.push(bytes.to_vec()),
            Element::Integer(value) => all.push(value.to_string().into_bytes()),
        }),
        other => panic!("{}", other.kind().name()),
    }
    all
}

fn assert_read(keyspace: &Keyspace, rows: &[Row]) {
    for (db, key, value, expiry) in rows {
        let entry = keyspace
            .find_db(*db)
            .expect("it was selected")
            .peek(&HASHER.key(key.as_bytes()), START)
            .expect("the key was read");
        assert!(elements(entry.value) == *value, "{key}");
        assert_eq!(entry.expires_at, expiry.map(UnixMillis), "{key}");
    }
    let sizes = (0..DATABASES).filter_map(|db| keyspace.find_db(db)).map(Db::len);
    assert_eq!(sizes.sum::<usize>(), rows.len());
}

#[test]
fn files_of_redis_are_read() {
    let rows = rows();
    for args in [
        &["--rdbcompression", "yes"][..],
        &["--rdbcompression", "no", "--rdbchecksum", "no"],
        &["--maxmemory-policy", "allkeys-lru", "--list-max-listpack-size", "3"],
    ] {
        let server = Server::redis(args);
        let mut connection = server.connect();
        fill(&mut connection, &rows);
        assert_eq!(connection.say("SAVE"), b"+OK\r\n");
        let (keyspace, lines) = read(&fs::read(server.dir().join("dump.rdb")).unwrap());
        assert_read(&keyspace, &rows);
        let uses = lines.iter().filter(|line| *line == "use").count();
        assert_eq!(uses, if args.contains(&"allkeys-lru") { rows.len() } else { 0 });
        assert_eq!(lines[0], "Version(10)");
        assert!(lines.contains(&"redis-bits=64".to_owned()) && lines.contains(&"aof-base=0".to_owned()), "{lines:?}");
        assert_eq!(lines.last().unwrap(), &format!("End {{ has_checksum: {} }}", !args.contains(&"--rdbchecksum")));
        // What a replica gets, as redis-cli stores it.
        let (port, path) = (server.port().to_string(), server.dir().join("received.rdb"));
        let status = Command::new("redis-cli").args(["-p", &port, "--rdb"]).arg(&path).output().unwrap().status;
        assert!(status.success());
        let (keyspace, lines) = read(&fs::read(path).unwrap());
        assert_read(&keyspace, &rows);
        assert!(lines.iter().any(|line| line.starts_with("repl-id=")), "{lines:?}");
    }
}

#[test]
fn a_file_with_what_we_lack_is_refused_by_its_name() {
    let server = Server::redis(&[]);
    let mut connection = server.connect();
    for (make, lacking, number) in [
        ("HSET key f v", LackingType::Hash, 16),
        ("SADD key 1", LackingType::Set, 11),
        ("SADD key a", LackingType::Set, 2),
        ("ZADD key 1 a", LackingType::SortedSet, 17),
        ("XADD key * f v", LackingType::Stream, 19),
    ] {
        connection.say("FLUSHALL");
        connection.say(make);
        connection.say("SAVE");
        let mut reader = RdbReader::new(LIMITS);
        reader.push(&fs::read(server.dir().join("dump.rdb")).unwrap());
        let error = loop {
            match reader.read() {
                Ok(item) => assert!(item.is_some()),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind, RdbErrorKind::Lacking { kind: lacking, number, key: b"key".to_vec() });
    }
}

/// The rows as one of our shards would write them.
fn written(rows: &[Row], options: WriteOptions) -> Vec<u8> {
    let mut keyspace = Keyspace::new(DATABASES, 0..=16383, HASHER);
    for (db, key, value, expiry) in rows {
        let value = match &value[..] {
            [string] => Value::String(string.clone()),
            elements => {
                let mut list = ListBuilder::new(LIMITS.list_packed);
                elements.iter().for_each(|element| list.push(element));
                Value::List(list.finish().expect("it has elements"))
            }
        };
        let loose = Loose::new(value, expiry.map(UnixMillis));
        keyspace.db(*db).insert(&HASHER.key(key.as_bytes()), loose, START).expect("names differ");
    }
    let (mut writer, mut out) = (RdbWriter::new(options), Vec::new());
    let header = Header {
        redis_version: "7.2.0",
        created_at: 1_700_000_000,
        used_memory: 1 << 20,
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

fn check(path: &Path) {
    let output = Command::new("redis-check-rdb").arg(path).output().expect("the tool is there");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("RDB looks OK!"), "{text}");
}

#[test]
fn our_files_are_loaded_by_redis() {
    let rows = rows();
    for (compresses, checksum) in [(true, true), (false, true), (true, false)] {
        let file = written(&rows, WriteOptions { compresses, checksum });
        let (keyspace, _) = read(&file);
        assert_read(&keyspace, &rows);
        for program in Program::peers() {
            let prepare = |dir: &Path| fs::write(dir.join("dump.rdb"), &file).unwrap();
            let server = Server::start_with(unused_port(), "redis-server", program.command(), &["--save", ""], prepare);
            check(&server.dir().join("dump.rdb"));
            assert_holds(&mut server.connect(), &rows);
        }
    }
}
