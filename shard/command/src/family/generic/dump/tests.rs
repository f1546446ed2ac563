//! Each script of replies was run against redis-server 7.0.15 as well.

use crate::family::testing::{Fixture, show};
use slotmesh_keyspace::{Access, AccessPolicy};

/// Payloads of redis-server 7.0.15: the string 1, the list of a, b and 1.
const ONE: &[u8] = b"\x00\xc0\x01\x0a\x00\x26\x78\xe7\xb6\xd1\x01\x11\xfc";
const LIST: &[u8] = b"\x12\x01\x02\x0f\x0f\x00\x00\x00\x03\x00\x81a\x02\x81b\x02\x01\x01\xff\x0a\x00\
    \xe0\x1b\xab\x4a\x47\xce\x59\x22";
/// Of redis-server 7.2.6: the set of a and b.
const SET: &[u8] = b"\x14\x0d\x0d\x00\x00\x00\x02\x00\x81a\x02\x81b\x02\xff\x0b\x00\x0a\xec\x0a\xb4\x49\xa3\xd6\x54";

/// Runs a line in which `ONE` and the like stand for payloads.
fn run(fixture: &mut Fixture, line: &str) -> String {
    let words: Vec<&[u8]> = line.split(' ').map(word).collect();
    show(&fixture.run_words(&words))
}

fn word(word: &str) -> &[u8] {
    match word {
        "ONE" => ONE,
        "LIST" => LIST,
        "SET-PAYLOAD" => SET,
        "CUT" => &ONE[..12],
        word => word.as_bytes(),
    }
}

fn script(fixture: &mut Fixture, steps: &[(&str, &str)]) {
    for (line, (request, reply)) in steps.iter().enumerate() {
        match request.strip_prefix('@') {
            Some(millis) => fixture.now.0 += millis.parse::<i64>().unwrap(),
            None => assert_eq!(run(fixture, request), *reply, "step {line}: {request}"),
        }
    }
}

const SYNTAX: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn a_value_is_dumped_as_redis_does_and_restored() {
    let mut fixture = Fixture::new();
    script(&mut fixture, &[("DUMP a", "$-1"), ("SET a 1 EX 10", "+OK"), ("RPUSH l a b 1", ":3")]);
    for (key, payload) in [("a", ONE), ("l", LIST)] {
        let reply = fixture.run_words(&[b"DUMP", key.as_bytes()]);
        assert_eq!(reply, [format!("${}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat());
    }
    script(
        &mut fixture,
        &[
            ("RESTORE b 0 ONE", "+OK"),
            ("GET b", "$1 1"),
            ("TTL b", ":-1"),
            ("INCR b", ":2"),
            ("RESTORE m 5000 LIST", "+OK"),
            ("PTTL m", ":5000"),
            ("LRANGE m 0 -1", "*3 $1 a $1 b $1 1"),
            ("OBJECT ENCODING m", "$8 listpack"),
            ("RESTORE m 0 ONE", "-BUSYKEY Target key name already exists."),
            ("RESTORE m 0 ONE replace", "+OK"),
            ("GET m", "$1 1"),
            ("PTTL m", ":-1"),
            ("RESTORE-ASKING n 1700000000500 ONE ABSTTL", "+OK"),
            ("PTTL n", ":500"),
            ("@501", ""),
            ("RESTORE n 0 LIST", "+OK"),
            ("LLEN n", ":3"),
        ],
    );
    let stats = fixture.keyspace.stats();
    assert_eq!((stats.hits, stats.misses), (11, 1), "a RESTORE counts as no read");
}

#[test]
fn errors_come_in_the_order_of_redis() {
    let mut fixture = Fixture::new();
    script(
        &mut fixture,
        &[
            ("SET a 1", "+OK"),
            ("RESTORE a 0", "-ERR wrong number of arguments for 'restore' command"),
            ("RESTORE a x CUT FOO", SYNTAX),
            ("RESTORE a x CUT IDLETIME", SYNTAX),
            ("RESTORE a x CUT FREQ", SYNTAX),
            ("RESTORE a x CUT IDLETIME 1 FREQ 1", SYNTAX),
            ("RESTORE a x CUT FREQ 1 IDLETIME 1", SYNTAX),
            ("RESTORE a x CUT IDLETIME x", NOT_AN_INTEGER),
            ("RESTORE a x CUT IDLETIME -1 FOO", "-ERR Invalid IDLETIME value, must be >= 0"),
            ("RESTORE a x CUT FREQ -1", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE a x CUT freq 256", "-ERR Invalid FREQ value, must be >= 0 and <= 255"),
            ("RESTORE a x CUT", "-BUSYKEY Target key name already exists."),
            ("RESTORE a x CUT REPLACE", NOT_AN_INTEGER),
            ("RESTORE a -1 CUT REPLACE", "-ERR Invalid TTL value, must be >= 0"),
            ("RESTORE a 0 CUT REPLACE", "-ERR DUMP payload version or checksum are wrong"),
            ("GET a", "$1 1"),
            ("RESTORE a 0 SET-PAYLOAD REPLACE", "-ERR Bad data format"),
            ("GET a", "$1 1"),
        ],
    );
}

#[test]
fn what_is_over_is_not_stored() {
    script(
        &mut Fixture::new(),
        &[
            ("RESTORE a 1 ONE ABSTTL", "+OK"),
            ("EXISTS a", ":0"),
            ("RESTORE a 1700000000000 ONE ABSTTL", "+OK"),
            ("EXISTS a", ":0"),
            ("RESTORE a 9223372036854775807 ONE", "+OK"),
            ("EXISTS a", ":0"),
            ("SET a 1", "+OK"),
            ("RESTORE a 1 ONE REPLACE ABSTTL", "+OK"),
            ("EXISTS a", ":0"),
            ("RESTORE a 0 ONE ABSTTL", "+OK"),
            ("TTL a", ":-1"),
        ],
    );
}

#[test]
fn the_last_use_comes_along() {
    let mut fixture = Fixture::new();
    script(
        &mut fixture,
        &[
            ("RESTORE a 0 ONE IDLETIME 1000", "+OK"),
            ("OBJECT IDLETIME a", ":1000"),
            ("RESTORE a 0 ONE REPLACE idletime 7 IDLETIME 5", "+OK"),
            ("OBJECT IDLETIME a", ":5"),
            ("RESTORE a 0 ONE REPLACE FREQ 50", "+OK"),
            ("OBJECT IDLETIME a", ":0"),
        ],
    );
    fixture.limits.access =
        Access { policy: AccessPolicy::Frequency { log_factor: 10, decay_minutes: 1 }, ..Access::default() };
    script(
        &mut fixture,
        &[
            ("RESTORE a 0 ONE REPLACE FREQ 50", "+OK"),
            ("OBJECT FREQ a", ":50"),
            ("RESTORE a 0 ONE REPLACE IDLETIME 50", "+OK"),
            ("OBJECT FREQ a", ":5"),
        ],
    );
}

#[test]
fn effects_have_absolute_times() {
    let mut fixture = Fixture::new().recording();
    for (request, reply, effects) in [
        ("RESTORE a 0 ONE", "+OK", "RESTORE a 0 ONE"),
        ("RESTORE a 0 ONE", "-BUSYKEY Target key name already exists.", ""),
        ("restore a 5000 ONE replace", "+OK", "restore a 1700000005000 ONE replace ABSTTL"),
        ("RESTORE b 1700000009000 LIST absttl IDLETIME 5", "+OK", "RESTORE b 1700000009000 LIST absttl IDLETIME 5"),
        ("RESTORE-ASKING c 7 ONE", "+OK", "RESTORE-ASKING c 1700000000007 ONE ABSTTL"),
        ("RESTORE d 1 ONE ABSTTL", "+OK", ""),
        ("RESTORE d 1 ONE ABSTTL REPLACE", "+OK", ""),
        ("RESTORE a 1 ONE ABSTTL REPLACE", "+OK", "DEL a"),
        ("DUMP b", "", ""),
    ] {
        let got = run(&mut fixture, request);
        assert!(reply.is_empty() || got == reply, "{request}: {got}");
        let expected = effects.split(' ').filter(|word| !word.is_empty()).map(word);
        let words: Vec<_> =
            expected.map(|word| [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat()).collect();
        let mut stream = if words.is_empty() { Vec::new() } else { format!("*{}\r\n", words.len()).into_bytes() };
        stream.extend(words.concat());
        let got = fixture.effects.drain();
        let got = got.strip_prefix(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n").unwrap_or(&got);
        assert_eq!(got.escape_ascii().to_string(), stream.escape_ascii().to_string(), "{request}");
    }
}
