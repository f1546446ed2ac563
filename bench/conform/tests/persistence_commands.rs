//! Commands of persistence against redis-server: what they answer while another is under way, and what is there behind
//! them.

use slotmesh_conform::{Connection, Program, Server, await_condition, show};
use std::sync::atomic::{AtomicBool, Ordering};

const SECONDS_MAX: u64 = 30;
const PROGRAMS: [Program; 4] = [Program::Redis(None), Program::Slotmesh(1), Program::Slotmesh(2), Program::Slotmesh(3)];

fn start(program: &Program, args: &[&str]) -> Server {
    let server = program.alone(&[&["--appendonly", "yes", "--auto-aof-rewrite-percentage", "0"], args].concat());
    server.await_info("persistence", "loading", "0");
    server
}

/// The replies to lines that are sent at once.
fn at_once(server: &Server, lines: &[&str]) -> Vec<Vec<u8>> {
    let mut connection = server.connect();
    connection.send(lines.iter().map(|line| format!("{line}\r\n")).collect::<String>().as_bytes());
    connection.replies(lines.len())
}

/// The replies to lines each of which waits for the one before.
fn one_by_one(server: &Server, lines: &[&str]) -> Vec<Vec<u8>> {
    let mut connection = server.connect();
    lines.iter().map(|line| connection.say(line)).collect()
}

/// Every program answers as the first does, and `then` holds of each.
fn compare(way: fn(&Server, &[&str]) -> Vec<Vec<u8>>, lines: &[&str], then: impl Fn(&Server)) {
    let mut expected = None;
    for program in PROGRAMS {
        let server = start(&program, &[]);
        let replies = way(&server, lines);
        let replies: Vec<String> =
            lines.iter().zip(replies).map(|(line, reply)| format!("{line}: {}", show(&reply))).collect();
        then(&server);
        assert_eq!(&replies, expected.get_or_insert_with(|| replies.clone()), "{program:?}");
    }
}

fn await_counts(server: &Server, saves: &str, rewrites: &str) {
    server.await_info("persistence", "rdb_saves", saves);
    server.await_info("persistence", "aof_rewrites", rewrites);
    for field in ["rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"] {
        server.await_info("persistence", field, "0");
    }
}

#[test]
fn a_save_waits_for_a_rewrite_if_it_may() {
    let lines = ["SET a 1", "BGREWRITEAOF", "BGSAVE", "BGREWRITEAOF", "BGSAVE SCHEDULE", "BGSAVE", "GET a"];
    compare(at_once, &lines, |server| await_counts(server, "1", "1"));
}

#[test]
fn a_rewrite_waits_for_a_save() {
    let lines = ["SET a 1", "BGSAVE", "BGREWRITEAOF", "BGREWRITEAOF", "BGSAVE SCHEDULE", "BGSAVE", "GET a"];
    compare(at_once, &lines, |server| await_counts(server, "1", "1"));
}

#[test]
fn in_a_transaction_both_wait_for_its_end() {
    compare(at_once, &["MULTI", "BGSAVE", "BGREWRITEAOF", "SET a 1", "EXEC"], |server| await_counts(server, "1", "1"));
}

#[test]
fn a_reload_may_keep_keys_and_let_those_of_the_file_win() {
    let lines = [
        "MSET a 1 b 1",
        "SELECT 3",
        "RPUSH list x",
        "SAVE",
        "RPUSH list y",
        "SET other 1",
        "SELECT 0",
        "MSET b 2 c 2",
        "EXPIRE b 1000",
        "DEBUG RELOAD NOSAVE NOFLUSH MERGE",
        "MGET a b c",
        "TTL b",
        "SELECT 3",
        "LRANGE list 0 -1",
        "GET other",
        "DEBUG RELOAD merge",
        "DBSIZE",
        "FLUSHALL",
        "SET other 2",
        "SET more 1",
        "DEL other",
        "DEBUG RELOAD NOFLUSH NOSAVE",
        "GET other",
        "DBSIZE",
        "DEBUG RELOAD NOSAVE FLUSH",
        "DEBUG RELOAD NOSAVE",
        "EXISTS more",
        "DEBUG DIGEST",
    ];
    compare(one_by_one, &lines, |_| ());
}

#[test]
fn a_key_that_is_in_the_file_and_here_is_refused_without_harm() {
    // Redis ends its process there.
    let server = start(&Program::Slotmesh(2), &[]);
    server.order("MSET a 1 b 1");
    server.order("SAVE");
    server.order("MSET b 2 c 2");
    let refused = show(&server.say("DEBUG RELOAD NOSAVE NOFLUSH"));
    assert_eq!(refused, "-ERR Error trying to load the RDB dump, check server logs.\\r\\n");
    server.await_log("RDB has duplicated key");
    assert_eq!(server.say("MGET a b c"), b"*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n2\r\n");
}

#[test]
fn the_append_only_file_can_be_loaded_again() {
    let lines = [
        "SET a 1",
        "SAVE",
        "SET a 2",
        "SELECT 3",
        "RPUSH list x y z",
        "LPOP list",
        "MULTI",
        "SET b 1",
        "INCR b",
        "EXEC",
        "SET later 1 PXAT 4000000000000",
        "DEBUG LOADAOF",
        "DEBUG DIGEST",
        // What no file of commands tells of.
        "DEBUG RELOAD NOSAVE",
        "DBSIZE",
        "SELECT 0",
        "GET a",
        "DEBUG LOADAOF",
        "GET a",
        "SET c 1",
        "DEBUG LOADAOF",
        "DEBUG DIGEST",
    ];
    compare(one_by_one, &lines, |server| {
        assert!(server.log().contains("Append Only File loaded by DEBUG LOADAOF"), "{}", server.log());
    });
}

#[test]
fn nothing_is_lost_while_clients_write_and_the_files_are_rewritten() {
    for shards in [1, 3] {
        let server = start(&Program::Slotmesh(shards), &[]);
        let is_over = AtomicBool::new(false);
        let counted: Vec<u64> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..3)
                .map(|writer| {
                    let (mut connection, is_over): (Connection, _) = (server.connect(), &is_over);
                    scope.spawn(move || {
                        let mut count = 0;
                        while !is_over.load(Ordering::Relaxed) {
                            count += 1;
                            let reply = connection.say(&format!("INCR c{writer}"));
                            assert_eq!(show(&reply), format!(":{count}\\r\\n"));
                        }
                        count
                    })
                })
                .collect();
            for round in 0..10 {
                if round % 5 == 2 {
                    server.say("BGREWRITEAOF");
                }
                assert_eq!(show(&server.say("DEBUG LOADAOF")), "+OK\\r\\n");
            }
            is_over.store(true, Ordering::Relaxed);
            writers.into_iter().map(|writer| writer.join().expect("a writer")).collect()
        });
        for (writer, count) in counted.iter().enumerate() {
            let text = count.to_string();
            let expected = format!("${}\r\n{text}\r\n", text.len()).into_bytes();
            assert_eq!(server.say(&format!("GET c{writer}")), expected);
        }
    }
}

#[test]
fn without_a_file_there_is_nothing_to_load() {
    let server = Program::Slotmesh(1).alone(&[]);
    server.order("SET a 1");
    let refused = show(&server.say("DEBUG LOADAOF"));
    assert_eq!(refused, "-ERR Error trying to load the AOF files, check server logs.\\r\\n");
    assert_eq!(server.say("GET a"), b"$1\r\n1\r\n");
    server.order("CONFIG SET appendonly yes");
    await_condition("its first file is there", SECONDS_MAX, || server.say("DEBUG LOADAOF") == b"+OK\r\n");
    assert_eq!(server.say("GET a"), b"$1\r\n1\r\n");
}
