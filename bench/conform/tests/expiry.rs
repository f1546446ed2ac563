//! Time passes: keys end when Redis's would, whether somebody looks for them or not.

use slotmesh_conform::{Connection, Server, await_condition};
use std::time::{Duration, Instant};

fn number(reply: &[u8]) -> i64 {
    let text = String::from_utf8_lossy(reply);
    text.trim_start_matches(':').trim().parse().unwrap_or_else(|_| panic!("no integer: {text}"))
}

/// What INFO says of a counter.
fn info(connection: &mut Connection, name: &str) -> String {
    let text = connection.text("INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().trim().to_owned()
}

#[test]
fn a_key_ends_at_its_time() {
    for shards in [1, 3] {
        let server = Server::slotmesh(shards, shards, &[]);
        let mut connection = server.connect();
        for (set, life_ms) in
            [("SET a 1 PX 300", 300), ("PSETEX a 300 1", 300), ("SET a 1 EX 1", 1000), ("SETEX a 1 1", 1000)]
        {
            let start = Instant::now();
            assert_eq!(connection.say(set), b"+OK\r\n");
            let left = number(&connection.say("PTTL a"));
            assert!(left <= life_ms && left > life_ms - 250, "{set}: {left} ms");
            await_condition("the key ends", 10, || connection.say("GET a") == b"$-1\r\n");
            let life = start.elapsed();
            let expected = Duration::from_millis(life_ms as u64);
            // Time is cut to milliseconds twice.
            assert!(life + Duration::from_millis(2) >= expected, "{set}: gone after {life:?}");
            assert!(life < expected + Duration::from_millis(500), "{set}: there for {life:?}");
            for (line, reply) in
                [("EXISTS a", &b":0\r\n"[..]), ("TTL a", b":-2\r\n"), ("TYPE a", b"+none\r\n"), ("DEL a", b":0\r\n")]
            {
                assert_eq!(connection.say(line), reply, "{line}");
            }
        }
    }
}

#[test]
fn keys_that_nobody_looks_for_end_too() {
    const KEYS: usize = 20_000;
    let server = Server::slotmesh(3, 3, &[]);
    let mut connection = server.connect();
    let requests: Vec<u8> = (0..KEYS)
        .flat_map(|index| slotmesh_conform::words(&format!("SET key:{index} value PX {}", 300 + index % 700)))
        .collect();
    connection.send(&requests);
    connection.replies(KEYS);
    connection.say("SET lasting 1");
    connection.say("SET later 1 EX 1000");
    await_condition("all of them are gone", 20, || connection.say("DBSIZE") == b":2\r\n");
    await_condition("they have been counted", 10, || info(&mut connection, "expired_keys") == KEYS.to_string());
    assert!(info(&mut connection, "db0").starts_with("keys=2,expires=1,"), "{}", info(&mut connection, "db0"));
}

#[test]
fn a_key_that_is_over_is_not_seen_by_any_command() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut connection = server.connect();
    for (line, reply) in [
        ("SET a 1 PXAT 1", &b"+OK\r\n"[..]),
        ("GET a", b"$-1\r\n"),
        ("EXISTS a", b":0\r\n"),
        ("MGET a a", b"*2\r\n$-1\r\n$-1\r\n"),
        ("KEYS *", b"*0\r\n"),
        ("RANDOMKEY", b"$-1\r\n"),
        ("SET a 5 XX", b"$-1\r\n"),
        ("SETNX a 7", b":1\r\n"),
        ("SET a 1 EXAT 1", b"+OK\r\n"),
        ("INCR a", b":1\r\n"),
        ("TTL a", b":-1\r\n"),
        ("SET a 1 EXAT 1", b"+OK\r\n"),
        ("APPEND a x", b":1\r\n"),
        ("SET a 1 EXAT 1", b"+OK\r\n"),
        ("SET a 2 GET", b"$-1\r\n"),
        ("EXPIRE a -1", b":1\r\n"),
        ("GET a", b"$-1\r\n"),
    ] {
        assert_eq!(connection.say(line), reply, "{line}");
    }
}

#[test]
fn a_new_value_forgets_the_old_time() {
    let server = Server::slotmesh(2, 2, &[]);
    let mut connection = server.connect();
    for (line, ttl_ms) in [("SET a 2", -1), ("GETSET a 2", -1), ("MSET a 2", -1), ("PERSIST a", -1)] {
        connection.say("SET a 1 EX 100");
        connection.say(line);
        assert_eq!(number(&connection.say("PTTL a")), ttl_ms, "{line}");
    }
    for line in ["SET a 2 KEEPTTL", "APPEND a 2", "INCR a", "GET a"] {
        connection.say("SET a 1 EX 100");
        connection.say(line);
        assert!(number(&connection.say("PTTL a")) > 90_000, "{line}");
    }
}
