//! The append-only file: what was acknowledged survives a `kill -9` at any moment, stock Redis starts from what we leave
//! and we from what it leaves, its checker finds nothing to say, and what is broken on the disk is told, not touched.
//!
//! `SLOTMESH_AOF_KILLS=200` kills that often per setting.

#![allow(clippy::unwrap_used, reason = "a test panics where something is wrong")]

mod forbidden;

use slotmesh_base::Rng;
use slotmesh_conform::{Connection, Program, Server, await_condition, node_command, show, without_test_variables};
use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const MANIFEST: &str = "appendonlydir/appendonly.aof.manifest";
const FIRST_INCREMENT: &str = "appendonlydir/appendonly.aof.1.incr.aof";

/// Ours, with so many shards, and what it writes on the disk.
fn node(shards: usize, args: &[&str]) -> Server {
    Server::slotmesh(shards, shards, &[&["--appendonly", "yes"], args].concat())
}

/// A connection once the data are loaded.
fn connect(server: &Server) -> Connection {
    let mut connection = server.connect();
    await_condition("the data are loaded", 30, || !connection.say("DBSIZE").starts_with(b"-LOADING"));
    connection
}

fn kill(server: &mut Server) {
    server.signal("KILL");
    server.await_end();
}

fn number(reply: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(reply);
    let digits = text.lines().last().and_then(|line| line.trim_start_matches(':').parse().ok());
    digits.unwrap_or_else(|| panic!("no number: {}", show(reply)))
}

fn counter(connection: &mut Connection, name: &str) -> u64 {
    match &connection.say(&format!("GET {name}"))[..] {
        b"$-1\r\n" => 0,
        reply => number(reply),
    }
}

fn field(connection: &mut Connection, name: &str) -> String {
    let text = connection.text("INFO persistence");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no field {name}")).to_owned()
}

fn await_field(connection: &mut Connection, name: &str, value: &str) {
    await_condition(&format!("{name}:{value}"), 30, || field(connection, name) == value);
}

/// The checker of Redis finds nothing to say.
fn assert_sound(manifest: &Path) {
    let output = Command::new("redis-check-aof").arg(manifest).output().expect("redis-check-aof is installed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("All AOF files and manifest are valid"), "{told}");
}

/// A redis-server in a copy of the directory.
fn redis_in(dir: &Path, args: &[&str]) -> Server {
    peer_in(&Program::Redis(None), dir, args)
}

/// The same, of some release.
fn peer_in(peer: &Program, dir: &Path, args: &[&str]) -> Server {
    let command = peer.command();
    let port = slotmesh_conform::unused_port();
    let args = [&["--save", "", "--appendonly", "yes"], args].concat();
    let source = dir.to_owned();
    Server::start_with(port, "redis-server", command, &args, |new| copy_folder(&source, new))
}

/// Ours in a copy of a directory.
fn node_in(dir: &Path, shards: usize, args: &[&str]) -> Server {
    let shards = shards.to_string();
    let own = ["--save", "", "--cores", &shards, "--shards", &shards, "--appendonly", "yes"];
    let source = dir.to_owned();
    let port = slotmesh_conform::unused_port();
    Server::start_with(port, "slotmesh", node_command(), &[&own, args].concat(), |new| copy_folder(&source, new))
}

/// What Redis would load from a directory.
fn copy_folder(from: &Path, to: &Path) {
    for (from, to) in [(from.to_owned(), to.to_owned()), (from.join("appendonlydir"), to.join("appendonlydir"))] {
        let Ok(entries) = fs::read_dir(&from) else { continue };
        fs::create_dir_all(&to).unwrap();
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            let name = entry.file_name();
            if name.to_string_lossy().contains(".aof") {
                fs::copy(entry.path(), to.join(name)).unwrap();
            }
        }
    }
}

/// The start of ours in a directory with these files fails; what it says.
fn refused(args: &[&str], prepare: impl FnOnce(&Path)) -> (String, PathBuf) {
    let port = slotmesh_conform::unused_port();
    let dir = std::env::temp_dir().join(format!("slotmesh-conform-aof-{}-{port}", std::process::id()));
    fs::create_dir_all(dir.join("appendonlydir")).unwrap();
    prepare(&dir);
    let mut command = node_command();
    command.args(["--port", &port.to_string(), "--appendonly", "yes", "--dir"]).arg(&dir).args(args);
    let output = command.output().expect("the node is there");
    assert_eq!(output.status.code(), Some(1));
    (String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr), dir)
}

/// A client that counts, and what it was told.
#[derive(Debug, Default)]
struct Told {
    /// Highest number that it was told, and when it was told those before.
    number: u64,
    times: VecDeque<(Instant, u64)>,
    /// Requests that were sent and not answered.
    open: u64,
}

/// How the load is, and how it ends.
#[derive(Clone, Copy)]
struct Scenario {
    shards: usize,
    policy: &'static str,
    pipeline: u64,
}

const CLIENTS: usize = 6;

/// Counts until the server has gone. Odd clients count two keys of different slots in one transaction.
fn count(port: u16, client: usize, pipeline: u64, told: &Mutex<Told>, is_over: &AtomicBool) {
    let Ok(mut connection) = Connection::tcp(("127.0.0.1", port)) else { return };
    let one = match client % 2 {
        0 => format!("INCR c{client}\r\n"),
        _ => format!("MULTI\r\nINCR c{client}\r\nINCR d{client}\r\nEXEC\r\n"),
    };
    let replies = if client.is_multiple_of(2) { 1 } else { 4 };
    while !is_over.load(Ordering::Relaxed) {
        told.lock().unwrap().open = pipeline;
        if connection.try_send(one.repeat(pipeline as usize).as_bytes()).is_err() {
            return;
        }
        for _ in 0..pipeline {
            let mut last = Vec::new();
            for _ in 0..replies {
                match connection.try_reply() {
                    Ok(reply) => last = reply,
                    Err(_) => return,
                }
            }
            let mut told = told.lock().unwrap();
            told.number = number(&last);
            told.open -= 1;
            let now = Instant::now();
            let entry = (now, told.number);
            told.times.push_back(entry);
            while told.times.front().is_some_and(|(at, _)| now.duration_since(*at) > Duration::from_secs(3)) {
                told.times.pop_front();
            }
        }
    }
}

fn kills(scenario: Scenario, seed: u64) {
    let rounds = std::env::var("SLOTMESH_AOF_KILLS").ok().and_then(|count| count.parse().ok()).unwrap_or(6);
    let mut rng = Rng::new(seed);
    let args = ["--appendfsync", scenario.policy, "--auto-aof-rewrite-min-size", "20kb"];
    let mut server = node(scenario.shards, &args);
    let mut rewrites = 0;
    for round in 0..rounds {
        let told: Vec<Arc<Mutex<Told>>> = (0..CLIENTS).map(|_| Arc::default()).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let mut connection = connect(&server);
        let before: Vec<u64> = (0..CLIENTS).map(|client| counter(&mut connection, &format!("c{client}"))).collect();
        let threads: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (told, is_over, port) = (told[client].clone(), is_over.clone(), server.port());
                told.lock().unwrap().number = before[client];
                std::thread::spawn(move || count(port, client, scenario.pipeline, &told, &is_over))
            })
            .collect();
        // Long enough that something happens, and now and then in the middle of a rewrite.
        let until = Instant::now() + Duration::from_micros(2_000 + rng.below(120_000));
        while Instant::now() < until {
            if rng.below(3) == 0 {
                connection.say("BGREWRITEAOF");
            }
            connection.say("PING");
        }
        kill(&mut server);
        let killed = Instant::now();
        is_over.store(true, Ordering::Relaxed);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        server.restart();
        let mut connection = connect(&server);
        for (client, told) in told.iter().enumerate() {
            let told = told.lock().unwrap();
            let found = counter(&mut connection, &format!("c{client}"));
            let safe = match scenario.policy {
                "always" => told.number,
                _ => {
                    let is_old = |(at, _): &&(Instant, u64)| killed.duration_since(*at) > Duration::from_secs(2);
                    told.times.iter().rev().find(is_old).map_or(before[client], |(_, number)| *number)
                }
            };
            assert!(found >= safe, "round {round}: client {client} was told {safe}, and {found} is left");
            assert!(found <= told.number + told.open, "round {round}: {found} is more than was asked for");
            if client % 2 == 1 {
                let other = counter(&mut connection, &format!("d{client}"));
                assert_eq!(found, other, "round {round}: half of a transaction");
            }
        }
        rewrites += server.log().matches("Background AOF rewrite finished successfully").count();
        if round % 4 == 3 {
            // No file shall be replaced while the checker reads it.
            connection.say("CONFIG SET auto-aof-rewrite-percentage 0");
            await_field(&mut connection, "aof_rewrite_in_progress", "0");
            assert_sound(&server.dir().join(MANIFEST));
            connection.say("CONFIG SET auto-aof-rewrite-percentage 100");
        }
    }
    assert!(rewrites > 0, "nothing was ever rewritten");
    let mut connection = connect(&server);
    let counted: Vec<u64> = (0..CLIENTS).map(|client| counter(&mut connection, &format!("c{client}"))).collect();
    assert!(counted.iter().all(|&number| number > 0), "{counted:?}");
    connection.send(b"SHUTDOWN\r\n");
    server.await_end();
    assert_sound(&server.dir().join(MANIFEST));
    let redis = redis_in(server.dir(), &[]);
    let mut connection = connect(&redis);
    let same: Vec<u64> = (0..CLIENTS).map(|client| counter(&mut connection, &format!("c{client}"))).collect();
    assert_eq!(same, counted, "redis-server has all of it");
}

#[test]
fn with_always_a_kill_takes_nothing_that_was_acknowledged() {
    kills(Scenario { shards: 1, policy: "always", pipeline: 1 }, 1);
    kills(Scenario { shards: 3, policy: "always", pipeline: 1 }, 2);
    kills(Scenario { shards: 2, policy: "always", pipeline: 8 }, 3);
}

#[test]
fn with_everysec_a_kill_takes_two_seconds_at_most() {
    kills(Scenario { shards: 2, policy: "everysec", pipeline: 4 }, 4);
    kills(Scenario { shards: 1, policy: "no", pipeline: 1 }, 5);
}

/// Time for which clients write, while others have the shards lent.
const LENDING: Duration = Duration::from_secs(6);

/// Has the shards lent from core to core.
fn borrow(mut connection: Connection) {
    let until = Instant::now() + LENDING;
    while Instant::now() < until {
        // Keys of two shards, and of all three.
        connection.send(b"MULTI\r\nSET a 1\r\nSET b 2\r\nEXEC\r\nMSET a 1 b 2 foo 3 bar 4\r\n");
        (0..5).for_each(|_| _ = connection.reply());
    }
}

/// Writes, and looks into the file with every reply.
fn write_and_look(mut connection: Connection, client: usize, file: &Path) -> (u64, u64) {
    let file = fs::File::open(file).unwrap();
    let (mut number, mut early, mut end) = (0_u64, 0, 0_u64);
    let until = Instant::now() + LENDING;
    while Instant::now() < until {
        number += 1;
        let value = format!("value:{client}:{number:09}");
        assert_eq!(connection.say(&format!("SET key:{} {value}", number % 16)), b"+OK\r\n");
        let from = end.saturating_sub(64);
        end = file.metadata().unwrap().len();
        let mut gained = vec![0; (end - from) as usize];
        file.read_exact_at(&mut gained, from).unwrap();
        early += u64::from(!gained.windows(value.len()).any(|window| window == value.as_bytes()));
    }
    (number, early)
}

#[test]
fn with_always_a_write_is_in_the_file_before_its_reply_also_when_the_shard_is_lent_meanwhile() {
    let server = node(3, &["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"]);
    connect(&server);
    let file = server.dir().join(FIRST_INCREMENT);
    let looked: Vec<(u64, u64)> = std::thread::scope(|scope| {
        (0..3).for_each(|_| _ = scope.spawn(|| borrow(server.connect())));
        let (server, file) = (&server, &file);
        let writers: Vec<_> =
            (0..4).map(|client| scope.spawn(move || write_and_look(server.connect(), client, file))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    });
    assert!(looked.iter().all(|(writes, _)| *writes > 100), "{looked:?}");
    assert!(looked.iter().all(|(_, early)| *early == 0), "writes, and replies that came too early: {looked:?}");
}

/// Keys of all types, databases, times.
fn fill(connection: &mut Connection) {
    for line in [
        "SET string value",
        "SET number 42",
        "SET later x PX 100000000",
        "RPUSH list a b c",
        "LPUSH list z",
        "LPOP list",
        "SETRANGE string 3 XYZ",
        "DEL number",
        "INCRBY number 7",
        "SELECT 3",
        "SET other db",
        "EXPIREAT other 4102444800",
        "SELECT 0",
        "MSET a 1 b 2 c 3",
    ] {
        let reply = connection.say(line);
        assert!(!reply.starts_with(b"-"), "{line}: {}", show(&reply));
    }
    for index in 0..2000 {
        connection.say(&format!("SET key:{index} {index}"));
    }
}

fn assert_filled(connection: &mut Connection) {
    let expected = [
        ("GET string", "$6\r\nvalXYZ\r\n"),
        ("GET number", "$1\r\n7\r\n"),
        ("LRANGE list 0 -1", "*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        ("MGET a b c key:77 key:1999", "*5\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n$2\r\n77\r\n$4\r\n1999\r\n"),
        ("SELECT 3", "+OK\r\n"),
        ("GET other", "$2\r\ndb\r\n"),
        ("EXPIRETIME other", ":4102444800\r\n"),
        ("SELECT 0", "+OK\r\n"),
        ("DBSIZE", ":2007\r\n"),
    ];
    for (line, reply) in expected {
        assert_eq!(show(&connection.say(line)), show(reply.as_bytes()), "{line}");
    }
    assert!(number(&connection.say("PTTL later")) > 90_000_000);
}

#[test]
fn redis_starts_from_our_folder_and_we_from_its_with_any_number_of_shards() {
    for preamble in ["yes", "no"] {
        let args = ["--aof-use-rdb-preamble", preamble, "--aof-timestamp-enabled", "yes"];
        let ours = node(3, &args);
        let mut connection = connect(&ours);
        fill(&mut connection);
        assert_eq!(connection.say("WAITAOF 1 0 5000"), b"*2\r\n:1\r\n:0\r\n");
        let redis = redis_in(ours.dir(), &[]);
        assert_filled(&mut connect(&redis));
        // With a base that has something in it.
        connection.say("BGREWRITEAOF");
        await_field(&mut connection, "aof_rewrites", "1");
        await_field(&mut connection, "aof_rewrite_in_progress", "0");
        connection.say("SET more 1");
        connection.say("DEL more");
        assert_eq!(connection.say("WAITAOF 1 0 5000"), b"*2\r\n:1\r\n:0\r\n");
        assert_sound(&ours.dir().join(MANIFEST));
        let format = if preamble == "yes" { "rdb" } else { "aof" };
        assert!(ours.dir().join(format!("appendonlydir/appendonly.aof.2.base.{format}")).exists());
        for peer in Program::peers().iter().filter(|peer| matches!(peer, Program::Redis(_))) {
            there_and_back(peer, ours.dir(), &args);
        }
    }
}

/// A peer starts from our folder, and we from what it makes of that.
fn there_and_back(peer: &Program, folder: &Path, args: &[&str]) {
    let redis = peer_in(peer, folder, args);
    let mut theirs = connect(&redis);
    assert_filled(&mut theirs);
    theirs.say("BGREWRITEAOF");
    await_field(&mut theirs, "aof_rewrites", "1");
    await_field(&mut theirs, "aof_rewrite_in_progress", "0");
    // What everysec would keep back while a sync is under way is to be in the file.
    theirs.say("CONFIG SET appendfsync always");
    theirs.say("SET number 8");
    theirs.say("SET number 7");
    for shards in [1, 2, 4] {
        let again = node_in(redis.dir(), shards, &[]);
        assert_filled(&mut connect(&again));
    }
}

/// Types and functions that there are not here: an order to a peer, and what is said of it where it is a command and where
/// it is in an image.
const LACKING: [(&[&str], &str, &str); 6] = [
    (&["HSET", "key", "f", "v"], "unknown command 'HSET key'", "Key 'key' is a hash (type "),
    (&["SADD", "key", "1"], "unknown command 'SADD key'", "Key 'key' is a set (type "),
    (&["SADD", "key", "a"], "unknown command 'SADD key'", "Key 'key' is a set (type "),
    (&["ZADD", "key", "1", "a"], "unknown command 'ZADD key'", "Key 'key' is a sorted set (type "),
    (&["XADD", "key", "*", "f", "v"], "unknown command 'XADD key'", "Key 'key' is a stream (type "),
    (
        &["FUNCTION", "LOAD", "#!lua name=l\nredis.register_function('f', function() return 1 end)"],
        "unknown command 'FUNCTION LOAD'",
        "a library of functions, which are not supported yet",
    ),
];

#[test]
fn what_there_is_not_here_stops_the_start_with_key_and_type() {
    for peer in Program::peers().iter().filter(|peer| matches!(peer, Program::Redis(_))) {
        for (order, as_command, in_image) in LACKING {
            let nothing = std::env::temp_dir().join("slotmesh-conform-nothing");
            let redis = peer_in(peer, &nothing, &["--appendfsync", "always"]);
            let mut theirs = connect(&redis);
            let reply = theirs.ask(order);
            assert!(!reply.starts_with(b"-"), "{order:?}: {}", show(&reply));
            assert_refused(&redis, &["appendonly.aof.1.incr.aof", " byte ", as_command]);
            theirs.say("BGREWRITEAOF");
            await_field(&mut theirs, "aof_rewrites", "1");
            await_field(&mut theirs, "aof_rewrite_in_progress", "0");
            assert_refused(&redis, &["appendonly.aof.2.base.rdb", " at offset ", in_image]);
        }
    }
}

/// Ours does not start from what a server has on the disk; what it says.
fn assert_refused(server: &Server, words: &[&str]) {
    let (told, dir) = refused(&[], |dir| copy_folder(server.dir(), dir));
    assert!(words.iter().all(|word| told.contains(word)), "{words:?} of {}: {told}", server.name());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_single_file_of_redis_6_moves_into_the_folder() {
    let ours = node(1, &[]);
    let mut connection = connect(&ours);
    fill(&mut connection);
    connection.say("WAITAOF 1 0 5000");
    let increment = fs::read(ours.dir().join(FIRST_INCREMENT)).unwrap();
    let image = fs::read(ours.dir().join("appendonlydir/appendonly.aof.1.base.rdb")).unwrap();
    for single in [increment.clone(), [image, increment].concat()] {
        let from = std::env::temp_dir().join(format!("slotmesh-conform-single-{}", std::process::id()));
        fs::create_dir_all(&from).unwrap();
        fs::write(from.join("appendonly.aof"), single).unwrap();
        let mut moved = node_in(&from, 2, &[]);
        fs::remove_dir_all(&from).unwrap();
        assert_filled(&mut connect(&moved));
        assert!(moved.log().contains("Successfully migrated an old-style AOF file"));
        assert!(!moved.dir().join("appendonly.aof").exists());
        assert_sound(&moved.dir().join(MANIFEST));
        kill(&mut moved);
        moved.restart();
        let mut connection = connect(&moved);
        assert_filled(&mut connection);
        connection.say("BGREWRITEAOF");
        await_field(&mut connection, "aof_rewrites", "1");
        await_field(&mut connection, "aof_rewrite_in_progress", "0");
        let manifest = fs::read_to_string(moved.dir().join(MANIFEST)).unwrap();
        assert!(manifest.starts_with("file appendonly.aof.2.base.rdb seq 2 type b\n"), "{manifest}");
    }
}

const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
const GOOD: &str = "file appendonly.aof.1.incr.aof seq 1 type i\n";

#[test]
fn what_is_broken_is_told_with_file_and_offset_and_left_alone() {
    let cases: &[(&str, &str, &[&str], &[&str])] = &[
        (GOOD, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nvXX*1", &[], &["appendonly.aof.1.incr.aof", "offset 25"]),
        (GOOD, "SET k v\r\n", &[], &["appendonly.aof.1.incr.aof", "offset 0: a command should stand there"]),
        (GOOD, "*1\r\n$6\r\nNOSUCH\r\n", &[], &["appendonly.aof.1.incr.aof", "byte 0: unknown command"]),
        (GOOD, &SET[..20], &["--aof-load-truncated", "no"], &["Unexpected end of file", "whole up to offset 0"]),
        ("file ../a seq 1 type i\n", "", &[], &["at line 1", "File can't be a path, just a filename"]),
        ("file a seq 1 type i\nfile b seq 1 type i\n", "", &[], &["at line 2", "non-monotonic sequence number"]),
        ("file a seq 1 type b\nfile b seq 1 type b\n", "", &[], &["at line 2", "duplicate base file"]),
        ("nonsense\n", "", &[], &["at line 1: >>> 'nonsense'", "Invalid AOF manifest file format"]),
        ("", "", &[], &["Found an empty AOF manifest"]),
        ("file appendonly.aof.9.incr.aof seq 9 type i\n", "", &[], &["appendonly.aof.9.incr.aof", "No such file"]),
    ];
    for (manifest, increment, args, words) in cases {
        let (told, dir) = refused(args, |dir| {
            fs::write(dir.join(MANIFEST), manifest).unwrap();
            fs::write(dir.join(FIRST_INCREMENT), increment).unwrap();
        });
        for word in *words {
            assert!(told.contains(word), "{manifest:?} {increment:?}: {word} in {told}");
        }
        assert!(!told.contains("panicked") && !told.contains("Ready to accept"), "{told}");
        assert_eq!(fs::read_to_string(dir.join(MANIFEST)).unwrap(), *manifest, "nothing is changed");
        assert_eq!(fs::read_to_string(dir.join(FIRST_INCREMENT)).unwrap(), *increment, "nothing is changed");
        fs::remove_dir_all(dir).unwrap();
    }
    // A file in front of the last one may not end early.
    let two = GOOD.to_owned() + "file appendonly.aof.2.incr.aof seq 2 type i\n";
    let (told, dir) = refused(&[], |dir| {
        fs::write(dir.join(MANIFEST), &two).unwrap();
        fs::write(dir.join(FIRST_INCREMENT), &SET[..20]).unwrap();
        fs::write(dir.join("appendonlydir/appendonly.aof.2.incr.aof"), SET).unwrap();
    });
    assert!(told.contains("whole up to offset 0 only, and it is not the last file"), "{told}");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn an_end_that_is_not_whole_is_cut_off() {
    let multi = format!("*1\r\n$5\r\nMULTI\r\n{SET}");
    for tail in [SET[..20].to_owned(), multi, "\0".repeat(5000), format!("#TS:{}", 17)] {
        let from = std::env::temp_dir().join(format!("slotmesh-conform-cut-{}", std::process::id()));
        fs::create_dir_all(from.join("appendonlydir")).unwrap();
        fs::write(from.join(MANIFEST), GOOD).unwrap();
        fs::write(from.join(FIRST_INCREMENT), format!("{SET}{tail}")).unwrap();
        let server = node_in(&from, 1, &[]);
        fs::remove_dir_all(&from).unwrap();
        let mut connection = connect(&server);
        assert_eq!(connection.say("GET k"), b"$1\r\nv\r\n");
        assert!(server.log().contains(&format!("at offset {}", SET.len())), "{}", server.log());
        connection.say("SET other 1");
        connection.say("WAITAOF 1 0 5000");
        assert_sound(&server.dir().join(MANIFEST));
    }
}

#[test]
fn the_file_can_be_turned_on_and_off_while_clients_write() {
    let mut server = Server::slotmesh(2, 2, &[]);
    let mut connection = connect(&server);
    assert!(connection.say("WAITAOF 1 0 10").starts_with(b"-ERR WAITAOF cannot be used when numlocal is set"));
    fill(&mut connection);
    connection.say("CONFIG SET appendonly yes");
    connection.say("SET during 1");
    await_condition("the first rewrite", 30, || server.log().contains("rewrite finished successfully"));
    connection.say("SET after 1");
    assert_eq!(connection.say("WAITAOF 1 0 5000"), b"*2\r\n:1\r\n:0\r\n");
    assert_eq!(field(&mut connection, "aof_enabled"), "1");
    let redis = redis_in(server.dir(), &[]);
    let mut theirs = connect(&redis);
    assert_eq!(theirs.say("MGET during after"), b"*2\r\n$1\r\n1\r\n$1\r\n1\r\n");
    theirs.say("DEL during after");
    assert_filled(&mut theirs);
    connection.say("CONFIG SET appendonly no");
    await_field(&mut connection, "aof_enabled", "0");
    connection.say("SET unwritten 1");
    connection.say("CONFIG SET appendonly yes");
    connection.say("BGREWRITEAOF");
    await_condition("another one", 30, || server.log().matches("rewrite finished successfully").count() > 1);
    connection.say("CONFIG REWRITE");
    connection.send(b"SHUTDOWN\r\n");
    server.await_end();
    assert_sound(&server.dir().join(MANIFEST));
    let again = node_in(server.dir(), 1, &[]);
    assert_eq!(connect(&again).say("GET unwritten"), b"$1\r\n1\r\n");
}

#[test]
fn a_shutdown_leaves_nothing_behind_whatever_the_policy() {
    for policy in ["everysec", "no"] {
        let mut server = node(3, &["--appendfsync", policy]);
        let mut connection = connect(&server);
        for round in 0..5 {
            let pipeline: String = (0..500).map(|index| format!("SET k{index} {round}\r\n")).collect();
            connection.send(pipeline.as_bytes());
            connection.replies(500);
            match round % 2 {
                0 => server.signal("TERM"),
                _ => connection.send(b"SHUTDOWN\r\n"),
            }
            server.await_end();
            server.restart();
            connection = connect(&server);
            for index in 0..500 {
                assert_eq!(counter(&mut connection, &format!("k{index}")), round, "k{index} with {policy}");
            }
        }
    }
}

/// A folder of so many megabytes is the disk of the node: in a mount namespace of its own.
fn node_on_small_disk(megabytes: u32, args: &[&str]) -> Option<Server> {
    let binary = slotmesh_conform::binary().display().to_string();
    let script = format!("mount -t tmpfs -o size={megabytes}m tmpfs \"$4\" && cd \"$4\" && exec {binary} \"$@\"");
    let mut probe = Command::new("unshare");
    probe.args(["--mount", "--map-root-user", "sh", "-c", "mount -t tmpfs tmpfs /mnt"]);
    if !probe.output().is_ok_and(|output| output.status.success()) {
        return None;
    }
    let mut command = without_test_variables(Command::new("unshare"));
    command.args(["--mount", "--map-root-user", "sh", "-c", &script, "sh"]);
    let args = [&["--save", "", "--cores", "1", "--shards", "1", "--appendonly", "yes"], args].concat();
    Some(Server::start("slotmesh", command, &args))
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_room_again() {
    let Some(server) = node_on_small_disk(2, &["--auto-aof-rewrite-percentage", "0"]) else { return };
    let mut connection = connect(&server);
    let value = "x".repeat(50_000);
    let mut refusal = Vec::new();
    let mut kept = 0;
    await_condition("the disk is full", 30, || {
        let reply = connection.say(&format!("SET k{kept} {value}"));
        kept += u32::from(reply == b"+OK\r\n");
        refusal = reply;
        refusal.starts_with(b"-")
    });
    assert_eq!(show(&refusal), show(b"-MISCONF Errors writing to the AOF file: No space left on device\r\n"));
    assert_eq!(connection.say("GET k0").len(), 50_000 + 10);
    assert_eq!(field(&mut connection, "aof_last_write_status"), "err");
    assert!(server.log().contains("Error writing to the AOF file: No space left on device"));
    // Room: its disk as it sees it.
    let disk = PathBuf::from(format!("/proc/{}/root{}", server.pid(), server.dir().display()));
    let resized = Command::new("nsenter")
        .args(["--mount", "--user", "--preserve-credentials", "--target", &server.pid().to_string()])
        .args(["mount", "-o", "remount,size=40m"])
        .arg(server.dir())
        .output()
        .expect("nsenter is there");
    assert!(resized.status.success(), "{}", String::from_utf8_lossy(&resized.stderr));
    await_condition("writes are taken again", 30, || connection.say("SET again 1") == b"+OK\r\n");
    assert!(server.log().contains("AOF write error looks solved"));
    assert_eq!(connection.say("WAITAOF 1 0 5000"), b"*2\r\n:1\r\n:0\r\n");
    let redis = redis_in(&disk, &[]);
    let mut theirs = connect(&redis);
    assert_eq!(number(&theirs.say("DBSIZE")), u64::from(kept) + 1 + u64::from(kept_in_vain(&mut theirs, kept)));
}

/// Whether the write that met the full disk is there as well: it was made in memory before it was refused to others.
fn kept_in_vain(connection: &mut Connection, kept: u32) -> bool {
    connection.say(&format!("EXISTS k{kept}")) == b":1\r\n"
}

#[test]
fn with_always_a_full_disk_ends_the_process_and_takes_nothing() {
    let args = ["--appendfsync", "always", "--auto-aof-rewrite-percentage", "0"];
    let Some(mut server) = node_on_small_disk(2, &args) else { return };
    let mut connection = connect(&server);
    let value = "x".repeat(50_000);
    let mut told = 0;
    await_condition("the process ends", 30, || {
        let sent = connection.try_send(format!("SET k{told} {value}\r\n").as_bytes());
        let is_told = sent.is_ok() && connection.try_reply().is_ok_and(|reply| reply == b"+OK\r\n");
        told += u32::from(is_told);
        !is_told
    });
    assert_eq!(server.await_end(), Some(1));
    assert!(server.log().contains("Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting"));
    assert!(told > 10);
}

#[test]
fn each_node_of_a_cluster_has_its_own_files() {
    let mut cluster = Server::cluster(2, &["--save", "", "--appendonly", "yes", "--appendfsync", "always"]);
    let ports = [cluster.port(), cluster.port() + 1];
    let ask = |port: u16, line: &str| {
        let mut connection = Connection::tcp(("127.0.0.1", port)).unwrap();
        connection.say(line)
    };
    await_condition("both nodes serve", 30, || {
        ports.iter().all(|&port| ask(port, "CLUSTER INFO").windows(16).any(|text| text == b"cluster_state:ok"))
    });
    let mut homes = Vec::new();
    for index in 0..40 {
        let home = ports.iter().find(|&&port| ask(port, &format!("SET key:{index} {index}")) == b"+OK\r\n");
        homes.push(*home.expect("one of them owns it"));
    }
    assert!(ports.iter().all(|port| homes.contains(port)));
    kill(&mut cluster);
    cluster.restart();
    for (index, &port) in homes.iter().enumerate() {
        let text = index.to_string();
        let expected = format!("${}\r\n{text}\r\n", text.len()).into_bytes();
        await_condition("it is there", 30, || ask(port, &format!("GET key:{index}")) == expected);
    }
    assert_sound(&cluster.dir().join(MANIFEST));
    assert_sound(&cluster.dir().join("appendonlydir/appendonly-1.aof.manifest"));
}

#[test]
fn a_replica_writes_what_its_master_says() {
    let master = Server::slotmesh(2, 2, &[]);
    let mut connection = connect(&master);
    connection.say("SET before 1");
    let mut replica = node(2, &["--appendfsync", "always"]);
    let mut other = connect(&replica);
    other.say(&format!("REPLICAOF 127.0.0.1 {}", master.port()));
    await_condition("the replica follows", 30, || other.text("INFO replication").contains("master_link_status:up"));
    await_condition("its first base", 30, || replica.log().contains("rewrite finished successfully"));
    fill(&mut connection);
    connection.say("DEL before");
    connection.say("PUBLISH nobody hears");
    assert_eq!(connection.say("WAITAOF 0 1 20000"), b"*2\r\n:0\r\n:1\r\n");
    kill(&mut replica);
    assert_sound(&replica.dir().join(MANIFEST));
    let redis = redis_in(replica.dir(), &[]);
    assert_filled(&mut connect(&redis));
    replica.restart();
    assert_filled(&mut connect(&replica));
}

#[test]
fn in_a_transaction_waitaof_tells_what_is_on_the_disk_so_far() {
    for shards in [1, 3] {
        // Nothing is synced before it is asked for.
        let server = node(shards, &["--appendfsync", "no"]);
        let mut connection = connect(&server);
        let local = |connection: &mut Connection| {
            connection.send(b"MULTI\r\nWAITAOF 1 0 0\r\nEXEC\r\n");
            match &connection.replies(3)[2][..] {
                b"*1\r\n*2\r\n:1\r\n:0\r\n" => true,
                b"*1\r\n*2\r\n:0\r\n:0\r\n" => false,
                other => panic!("{}", show(other)),
            }
        };
        assert!(local(&mut connection), "nothing was written");
        for key in 0..20 {
            assert_eq!(connection.say(&format!("SET k{key} 1")), b"+OK\r\n");
            assert!(!local(&mut connection), "k{key}, {shards} shards");
        }
        connection.say("CONFIG SET appendfsync everysec");
        await_condition("all is on the disk", 30, || local(&mut connection));
        connection.say("CONFIG SET appendfsync no");
        // In one turn, before anything has left the shard.
        connection.send(b"MULTI\r\nSET k0 2\r\nEXEC\r\nMULTI\r\nWAITAOF 1 0 0\r\nEXEC\r\n");
        assert_eq!(show(&connection.replies(6)[5]), "*1\\r\\n*2\\r\\n:0\\r\\n:0\\r\\n", "{shards} shards");
    }
}

#[test]
fn with_always_no_reply_leaves_before_its_sync_has_ended() {
    // What was written can be read, but no sync of data succeeds: all that anybody is told came too early.
    for shards in [1, 2] {
        let mut command = node_command();
        forbidden::forbid(&mut command, &[(libc::SYS_fdatasync, libc::EIO)]);
        let count = shards.to_string();
        let args = ["--save", "", "--cores", &count, "--shards", &count, "--io-backend", "epoll"];
        let args = [&args[..], &["--appendonly", "yes", "--appendfsync", "always"]].concat();
        let mut server = Server::start("slotmesh", command, &args);
        let (mut connection, mut reader) = (connect(&server), connect(&server));
        let writes: String = (0..20).map(|key| format!("SET k{key} 1\r\n")).collect();
        connection.send(writes.as_bytes());
        reader.send("GET k0\r\n".repeat(50).as_bytes());
        assert!(connection.try_reply().is_err(), "{shards} shards");
        while let Ok(reply) = reader.try_reply() {
            assert_eq!(show(&reply), "$-1\\r\\n", "{shards} shards: others hear nothing of it either");
        }
        assert_eq!(server.await_end(), Some(1));
        // A write that syncs itself fails as a write.
        let words = "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...";
        assert!(server.log().contains(words), "{}", server.log());
    }
}
