//! Masters that send what no master should, and replicas that do not read: what is there stays, the log says why, and it
//! is tried again.

use slotmesh_conform::{Connection, FalseMaster, FalseStream, Program, Server, await_condition, is_self_test, request};
use slotmesh_conform::{resident_bytes, show};
use std::time::Duration;

const OURS: Program = Program::Slotmesh(1);
/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 30;
const ID: &str = "0123456789abcdef0123456789abcdef01234567";
const MARK: &[u8; 40] = b"mark-mark-mark-mark-mark-mark-mark-mark-";

/// The file of a redis-server after these commands.
fn image_of(lines: &[&str]) -> Vec<u8> {
    let server = Server::redis(&[]);
    for line in lines {
        server.say(line);
    }
    server.order("SAVE");
    std::fs::read(server.dir().join("dump.rdb")).expect("the server saves")
}

fn by_length(image: &[u8], length: usize) -> Vec<u8> {
    [format!("${length}\r\n").as_bytes(), image].concat()
}

fn by_mark(image: &[u8]) -> Vec<u8> {
    [b"$EOF:", &MARK[..], b"\r\n", image, MARK].concat()
}

fn full(offset: u64) -> Vec<u8> {
    format!("+FULLRESYNC {ID} {offset}\r\n").into_bytes()
}

/// A replica that holds `kept`, and a master that is a test.
fn replica() -> (Server, FalseMaster) {
    let (server, master) = (OURS.alone(&[]), FalseMaster::listen());
    server.order("SET kept 1");
    server.order("CONFIG SET repl-timeout 20");
    server.follow_port(master.port());
    (server, master)
}

/// How often the log says this.
fn count(server: &Server, text: &str) -> usize {
    server.log().matches(text).count()
}

/// Sends bytes instead of an answer to PSYNC; the link ends, the log says why, and the data are what they were.
fn refuse(server: &Server, master: &FalseMaster, what: &str, bytes: &[u8], ends: bool, why: &str) {
    let before = count(server, why);
    let mut stream = master.accept();
    assert_eq!(stream.asked, ["PSYNC", "?", "-1"], "{what}: nothing to go on from");
    stream.send(bytes);
    if ends {
        drop(stream);
    } else {
        stream.await_close();
    }
    await_condition(&format!("{what}: the log says '{why}'"), SECONDS_MAX, || count(server, why) > before);
    assert_eq!(server.say("GET kept"), b"$1\r\n1\r\n", "{what}");
    assert_eq!(server.say("DBSIZE"), b":1\r\n", "{what}");
    assert_eq!(server.info("replication", "master_link_status"), "down", "{what}");
}

#[test]
fn images_that_are_wrong_change_nothing() {
    if is_self_test() {
        return;
    }
    let good = image_of(&["SET string value", "RPUSH list a b c", "SET number 12", "SET expires x EX 1000"]);
    let with_hash = image_of(&["SET string value", "HSET the-hash field value"]);
    let middle = good.len() / 2;
    let mut corrupt = good.clone();
    corrupt[middle] ^= 0x55;
    let mut last = good.clone();
    *last.last_mut().expect("it has bytes") ^= 1;
    let loading = "Failed trying to load the MASTER synchronization DB";
    let behind = [&good[..], &b"x".repeat(100_000)].concat();
    let cases: Vec<(&str, Vec<u8>, bool, &str)> = vec![
        ("a wrong byte", by_length(&corrupt, corrupt.len()), false, loading),
        ("a wrong checksum", by_mark(&last), false, "checksum"),
        ("a wrong byte, with a mark", by_mark(&corrupt), false, loading),
        (
            "half of it",
            by_length(&good[..middle], good.len()),
            true,
            "I/O error trying to sync with MASTER: connection lost",
        ),
        ("half of it, with a mark", by_mark(&good[..middle]), false, loading),
        ("a type that we lack", by_length(&with_hash, with_hash.len()), false, "Key 'the-hash' is a hash"),
        ("too short a length", by_length(&good, good.len() - 3), false, loading),
        ("too long a length", by_length(&behind, behind.len()), false, "bytes behind its end"),
        ("an absurd length", by_length(&behind, i64::MAX as usize), false, "bytes behind its end"),
        ("a length that is none", b"$99999999999999999999999999\r\n".to_vec(), false, "Bad protocol from MASTER"),
        ("a negative length", b"$-5\r\n".to_vec(), false, "Bad protocol from MASTER"),
        ("nothing", b"$0\r\nx".to_vec(), false, loading),
        ("half a mark", b"$EOF:abc\r\n".to_vec(), false, "Bad protocol from MASTER"),
        ("no image", b"REDIS0010".repeat(3000), false, "A line of the master is too long"),
        ("an error", b"-ERR cannot\r\n".to_vec(), false, "MASTER aborted replication with an error: -ERR cannot"),
        ("another program's answer", by_length(b"HTTP/1.1 200 OK", 15), false, loading),
    ];
    let (server, master) = replica();
    for (what, bytes, ends, why) in cases {
        refuse(&server, &master, what, &[full(100), bytes].concat(), ends, why);
    }
    for (what, bytes, why) in [
        ("a history without a name", &b"+FULLRESYNC abc 1\r\n"[..], "wrong +FULLRESYNC syntax"),
        ("no offset", b"+FULLRESYNC 0123456789abcdef0123456789abcdef01234567 x\r\n", "wrong +FULLRESYNC syntax"),
        ("to go on from nothing", b"+CONTINUE\r\n", "does not support PSYNC or is in error state"),
        ("not now", b"-LOADING wait\r\n", "Master is currently unable to PSYNC"),
        ("binary", b"\x00\xff\x01\r\n", "does not support PSYNC or is in error state"),
    ] {
        refuse(&server, &master, what, bytes, false, why);
    }
    // At last what is right is taken.
    let mut stream = master.accept();
    stream.send(&[full(100), b"\n\n".to_vec(), by_mark(&good)].concat());
    server.await_link();
    assert_eq!(server.say("EXISTS kept string list number expires"), b":4\r\n");
    assert_eq!(stream.request().expect("it says how far it is"), ["REPLCONF", "ACK", "100"]);
}

/// Takes an image at offset 100 from the next link, and a stream from there on.
fn sync(server: &Server, master: &FalseMaster, image: &[u8]) -> FalseStream {
    let mut stream = master.accept();
    assert_eq!(stream.asked, ["PSYNC", "?", "-1"]);
    stream.send(&[full(100), by_length(image, image.len())].concat());
    server.await_link();
    stream
}

#[test]
fn streams_that_cannot_be_followed_are_dropped() {
    if is_self_test() {
        return;
    }
    let image = image_of(&["SET string value"]);
    let (server, master) = replica();
    let cannot = "The MASTER's stream cannot be followed";
    let cases: [(&str, Vec<u8>, &str); 9] = [
        ("words", b"hello\r\n".to_vec(), cannot),
        ("binary", b"\x00\x01\x02\xff".to_vec(), cannot),
        ("a command that we lack", request(&["HSET", "h", "f", "v"]), "unknown command 'HSET"),
        ("too few words", request(&["SET", "a"]), "wrong number of arguments"),
        ("a read", request(&["GET", "a"]), cannot),
        ("a database that we lack", request(&["SELECT", "99"]), "no such database"),
        ("EXEC alone", request(&["EXEC"]), cannot),
        ("an absurd count", b"*99999999999\r\n".to_vec(), cannot),
        ("an absurd length", b"*2\r\n$3\r\nGET\r\n$99999999999999\r\n".to_vec(), cannot),
    ];
    for (number, (what, bytes, why)) in cases.into_iter().enumerate() {
        let mut stream = sync(&server, &master, &image);
        let before = (count(&server, cannot), count(&server, why));
        let good = request(&["SET", "good", &number.to_string()]);
        stream.send(&[request(&["SELECT", "0"]), good, bytes].concat());
        stream.await_close();
        await_condition(what, SECONDS_MAX, || count(&server, cannot) > before.0 && count(&server, why) > before.1);
        // What came before it is there, and stays to be read.
        assert_eq!(server.say("GET good"), format!("$1\r\n{number}\r\n").into_bytes(), "{what}");
        assert_eq!(server.say("GET string"), b"$5\r\nvalue\r\n", "{what}");
    }
}

#[test]
fn a_stream_that_breaks_in_a_command_goes_on_in_front_of_it() {
    if is_self_test() {
        return;
    }
    let image = image_of(&["SET string value"]);
    let (server, master) = replica();
    let mut stream = sync(&server, &master, &image);
    let head = [request(&["SELECT", "3"]), request(&["INCR", "count"])].concat();
    let block =
        [request(&["MULTI"]), request(&["INCR", "count"]), request(&["SET", "in", "block"]), request(&["EXEC"])]
            .concat();
    let mut offset = 101 + head.len() as u64;
    stream.send(&[&head[..], &block[..block.len() - 7]].concat());
    let in_three = |line: &str| {
        let mut client = server.connect();
        client.say("SELECT 3");
        client.say(line)
    };
    await_condition("the first part is applied", SECONDS_MAX, || in_three("GET count") == b"$1\r\n1\r\n");
    assert_eq!(in_three("EXISTS in"), b":0\r\n", "a block is applied as a whole");
    drop(stream);
    // The cut is in the middle of EXEC, then of a command, then of a length.
    let next = request(&["INCR", "count"]);
    for (part, rest, expected) in [(next.len() - 3, block, 2), (5, next.clone(), 3), (1, next, 4)] {
        let mut stream = master.accept();
        assert_eq!(stream.asked, ["PSYNC", ID, &offset.to_string()]);
        stream.send(&[format!("+CONTINUE {ID}\r\n").as_bytes(), &rest, &request(&["INCR", "count"])[..part]].concat());
        let value = format!("$1\r\n{expected}\r\n").into_bytes();
        await_condition("it goes on", SECONDS_MAX, || in_three("GET count") == value);
        offset += rest.len() as u64;
    }
    assert_eq!(in_three("GET in"), b"$5\r\nblock\r\n");
}

/// A redis-server as the master of one that lacks hashes.
#[test]
fn what_a_real_master_sends_and_we_lack_is_named() {
    if is_self_test() {
        return;
    }
    let (master, replica) = (Program::Redis(None).alone(&[]), OURS.alone(&[]));
    master.order("SET before 1");
    replica.follow(&master);
    master.say("HSET hash field value");
    replica.await_log("unknown command 'HSET");
    // What it has it shows; an image it can have only without the hash.
    assert_eq!(replica.say("GET before"), b"$1\r\n1\r\n");
    replica.await_log("Key 'hash' is a hash");
    assert_eq!(replica.say("GET before"), b"$1\r\n1\r\n");
    assert_eq!(replica.info("replication", "master_link_status"), "down");
    master.say("DEL hash");
    replica.await_link();
    master.order("SET after 1");
    master.await_same(&replica);
}

/// A replica that has introduced itself, and gets the stream.
fn raw_replica(server: &Server) -> Connection {
    let mut socket = server.connect();
    assert_eq!(socket.say("REPLCONF listening-port 1"), b"+OK\r\n");
    assert_eq!(socket.say("REPLCONF capa psync2"), b"+OK\r\n");
    socket.send(&request(&["PSYNC", "?", "-1"]));
    socket
}

/// Replicas that read nothing, from the begin of the stream on or from the begin of the image on.
#[test]
fn who_does_not_read_is_dropped_and_costs_little() {
    if is_self_test() {
        return;
    }
    let server = OURS.alone(&["--client-output-buffer-limit", "replica 4mb 0 0", "--repl-backlog-size", "64kb"]);
    for keys in [0, 100] {
        let mut client = server.connect();
        for number in 0..keys {
            client.say(&format!("SET large:{number} {}", "v".repeat(100_000)));
        }
        let _socket = raw_replica(&server);
        server.await_info("replication", "connected_slaves", "1");
        if keys == 0 {
            await_condition("it is on line", SECONDS_MAX, || {
                server.info("replication", "slave0").contains("state=online")
            });
        }
        let why = "closed for overcoming of output buffer limits";
        let (before, told) =
            (resident_bytes(server.pid()), count(&server, why) + count(&server, "image for a replica was given up"));
        let value = "w".repeat(100_000);
        let (mut written, mut highest) = (0, before);
        await_condition("it is dropped", SECONDS_MAX, || {
            for _ in 0..10 {
                client.say(&format!("SET one {value}"));
                written += 100_000;
            }
            highest = highest.max(resident_bytes(server.pid()));
            server.info("replication", "connected_slaves") == "0"
        });
        assert!(count(&server, why) + count(&server, "image for a replica was given up") > told, "{}", server.log());
        for _ in 0..300 {
            client.say(&format!("SET one {value}"));
            highest = highest.max(resident_bytes(server.pid()));
        }
        let grown = highest.saturating_sub(before) >> 20;
        assert!(grown < 40, "{grown} MiB more while {written} bytes were written for nobody");
    }
}

/// The soft limit: a replica may be behind by so much, but not for so long.
#[test]
fn who_is_behind_for_long_is_dropped() {
    if is_self_test() {
        return;
    }
    let server = OURS.alone(&["--client-output-buffer-limit", "replica 0 1mb 1"]);
    let mut socket = raw_replica(&server);
    socket.set_read_timeout(Duration::from_secs(SECONDS_MAX));
    await_condition("it is on line", SECONDS_MAX, || server.info("replication", "slave0").contains("state=online"));
    let (mut client, value) = (server.connect(), "w".repeat(100_000));
    for _ in 0..200 {
        client.say(&format!("SET one {value}"));
    }
    server.await_info("replication", "connected_slaves", "0");
    server.await_log("closed for overcoming of output buffer limits");
    assert!(show(&socket.read_to_close()).contains("FULLRESYNC"));
}
