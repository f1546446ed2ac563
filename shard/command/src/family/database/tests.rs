use crate::family::testing::{Fixture, show};
use std::collections::BTreeSet;

const SYNTAX: &str = "-ERR syntax error";

/// The elements of an array of bulk strings as `show` prints it.
fn elements(reply: &str) -> BTreeSet<String> {
    let mut words = reply.split(' ');
    let count: usize = words.next().and_then(|head| head.strip_prefix('*')).unwrap().parse().unwrap();
    let found: BTreeSet<_> = words.filter(|word| !word.starts_with('$')).map(str::to_owned).collect();
    assert_eq!(found.len(), count, "{reply}");
    found
}

/// All keys that scans from `cursor` on give until a cursor not above `last_slot`'s, and that cursor.
fn scan_all(fixture: &mut Fixture, start: u64, options: &str) -> (BTreeSet<String>, u64) {
    let end = (u64::from(*fixture.keyspace.slots().end()) + 1) << 48;
    let (mut cursor, mut all) = (start, BTreeSet::new());
    loop {
        let reply = fixture.run(&format!("SCAN {cursor}{options}"));
        let (head, keys) = reply.strip_prefix("*2 $").unwrap().split_once(" *").unwrap();
        cursor = head.split_once(' ').unwrap().1.parse().unwrap();
        all.extend(elements(&format!("*{keys}")));
        if cursor == 0 || cursor >= end {
            return (all, cursor);
        }
    }
}

fn filled(count: usize) -> (Fixture, BTreeSet<String>) {
    let mut fixture = Fixture::new();
    let keys: BTreeSet<_> = (0..count).map(|number| format!("key:{number}")).collect();
    keys.iter().for_each(|key| assert_eq!(fixture.run(&format!("SET {key} 1")), "+OK"));
    (fixture, keys)
}

#[test]
fn keys_lists_what_fits_and_lives() {
    let mut fixture = Fixture::new();
    fixture.script(&[
        ("KEYS *", "*0"),
        ("MSET one 1 two 2 three 3", "+OK"),
        ("SET tired 1 PX 1", "+OK"),
        ("KEYS o*", "*1 $3 one"),
        ("KEYS x*", "*0"),
    ]);
    assert_eq!(elements(&fixture.run("KEYS t*")).len(), 3);
    fixture.now.0 += 2;
    assert_eq!(elements(&fixture.run("KEYS t*")), ["three", "two"].map(str::to_owned).into());
    assert_eq!(elements(&fixture.run("KEYS *")).len(), 3);
    fixture.run("SET  emptykey");
    assert_eq!(fixture.run("KEYS "), "*1 $0 ");
    fixture.db = 1;
    assert_eq!(fixture.run("KEYS *"), "*0");
}

#[test]
fn scan_visits_every_key_whatever_the_step() {
    let (mut fixture, keys) = filled(500);
    for options in ["", " COUNT 1", " COUNT 100", " COUNT 9223372036854775807", " MATCH *", " TYPE STRING"] {
        assert_eq!(scan_all(&mut fixture, 0, options), (keys.clone(), 0), "{options}");
    }
    let (found, _) = scan_all(&mut fixture, 0, " MATCH key:1? COUNT 50");
    assert_eq!(found.len(), 10);
    assert!(scan_all(&mut fixture, 0, " TYPE list").0.is_empty());
    assert!(scan_all(&mut fixture, 0, " TYPE nonsense").0.is_empty());
}

#[test]
fn scan_hands_over_to_the_next_shard_at_the_end_of_its_slots() {
    let mut fixture = Fixture::over(0..=8191);
    fixture.run("SET b 1");
    // The slot of `b` is 3300.
    let next = 8192 << 48;
    assert_eq!(scan_all(&mut fixture, 0, ""), (["b".to_owned()].into(), next));
    assert_eq!(fixture.run(&format!("SCAN {}", 3301u64 << 48)), format!("*2 ${} {next} *0", next.to_string().len()));
    assert_eq!(fixture.run(&format!("SCAN {next}")), "*2 $1 0 *0", "a slot of another shard");
}

#[test]
fn any_number_is_a_cursor_and_options_are_strict() {
    let end = "*2 $1 0 *0";
    Fixture::new().script(&[
        ("SCAN 0", end),
        ("SCAN 18446744073709551615", end),
        ("SCAN -1", end),
        ("SCAN ", end),
        ("SCAN x", "-ERR invalid cursor"),
        ("SCAN x FOO", "-ERR invalid cursor"),
        ("SCAN 0 COUNT", SYNTAX),
        ("SCAN 0 COUNT 0", SYNTAX),
        ("SCAN 0 COUNT -5", SYNTAX),
        ("SCAN 0 COUNT x", "-ERR value is not an integer or out of range"),
        ("SCAN 0 FOO", SYNTAX),
        ("SCAN 0 FOO bar", SYNTAX),
        ("SCAN 0 MATCH a COUNT 5 TYPE string MATCH b", end),
    ]);
}

#[test]
fn randomkey_names_a_key_that_lives() {
    let mut fixture = Fixture::new();
    fixture.script(&[("RANDOMKEY", "$-1"), ("MSET a 1 b 2", "+OK")]);
    let seen: BTreeSet<_> = (0..100).map(|_| fixture.run("RANDOMKEY")).collect();
    assert_eq!(seen, ["$1 a", "$1 b"].map(str::to_owned).into());
    fixture.partial = true;
    let part = fixture.run("RANDOMKEY");
    assert!(["*2 :2 $1 a", "*2 :2 $1 b"].contains(&part.as_str()), "{part}");
    fixture.script(&[("FLUSHDB", "+OK"), ("RANDOMKEY", "*2 :0 $-1")]);
}

#[test]
fn flushing() {
    let mut fixture = Fixture::new();
    for mode in ["", " SYNC", " async"] {
        fixture.db = 0;
        fixture.run("SET a 1");
        fixture.db = 3;
        fixture.run("SET a 1");
        assert_eq!(fixture.run(&format!("FLUSHDB{mode}")), "+OK");
        assert_eq!(fixture.run("DBSIZE"), ":0");
        fixture.db = 0;
        assert_eq!(fixture.run("DBSIZE"), ":1");
        fixture.db = 3;
        fixture.run("SET a 1");
        assert_eq!(fixture.run(&format!("FLUSHALL{mode}")), "+OK");
        assert_eq!(fixture.run("DBSIZE"), ":0");
    }
    fixture.script(&[("FLUSHALL now", SYNTAX), ("FLUSHDB SYNC SYNC", SYNTAX)]);
}

#[test]
fn binary_keys_come_back_as_they_are() {
    let mut fixture = Fixture::new();
    let key = b"\r\n\0 \xff";
    fixture.run_words(&[b"SET", key, b"1"]);
    assert_eq!(fixture.run_words(&[b"KEYS", b"*"]), b"*1\r\n$5\r\n\r\n\0 \xff\r\n");
    assert_eq!(show(&fixture.run_words(&[b"KEYS", b"[\r]*"])).len(), show(b"*1\r\n$5\r\n\r\n\0 \xff\r\n").len());
}

#[test]
fn databases_are_exchanged() {
    const INVALID_FIRST: &str = "-ERR invalid first DB index";
    const INVALID_SECOND: &str = "-ERR invalid second DB index";
    const NO_DB: &str = "-ERR DB index is out of range";
    let mut fixture = Fixture::new();
    fixture.script(&[
        ("SET a 1 EX 10", "+OK"),
        ("SWAPDB 0 1", "+OK"),
        ("EXISTS a", ":0"),
        ("DBSIZE", ":0"),
        ("SET a 2", "+OK"),
        ("SWAPDB 1 0", "+OK"),
        ("GET a", "$1 1"),
        ("TTL a", ":10"),
        ("SWAPDB 0 0", "+OK"),
        ("SWAPDB 5 6", "+OK"),
        ("GET a", "$1 1"),
        ("SWAPDB x y", INVALID_FIRST),
        ("SWAPDB 2147483648 1", INVALID_FIRST),
        ("SWAPDB 0 y", INVALID_SECOND),
        ("SWAPDB 0 16", NO_DB),
        ("SWAPDB -1 0", NO_DB),
        ("SWAPDB 16 16", NO_DB),
        ("SWAPDB 0", "-ERR wrong number of arguments for 'swapdb' command"),
    ]);
    fixture.db = 1;
    fixture.script(&[("GET a", "$1 2"), ("TTL a", ":-1")]);
}
