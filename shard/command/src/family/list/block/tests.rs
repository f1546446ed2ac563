//! Each script of replies was run against redis-server 7.0.15 as well, which words one refusal (of a timeout beyond all
//! times) otherwise than 7.2.

use crate::family::testing::Fixture;
use crate::{Outcome, Wait, find, timeout_reply};
use slotmesh_resp::{Protocol, Reply};
use std::ops::Range;

const SYNTAX: &str = "-ERR syntax error";
const NOT_A_FLOAT: &str = "-ERR timeout is not a float or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

fn waits(keys: Range<usize>, timeout_ms: Option<u64>) -> Outcome {
    Outcome::Blocks(Wait { keys, timeout_ms })
}

#[test]
fn what_is_there_is_taken_at_once() {
    Fixture::new().recording().effects_script(&[
        ("RPUSH l a b c d", ":4", "RPUSH l a b c d"),
        ("BLPOP no l 0", "*2 $1 l $1 a", "LPOP l"),
        ("BRPOP l 0", "*2 $1 l $1 d", "RPOP l"),
        ("BLMOVE l m LEFT RIGHT 0", "$1 b", "LMOVE l m LEFT RIGHT"),
        ("BRPOPLPUSH l m 1.5", "$1 c", "LMOVE l m RIGHT LEFT"),
        ("EXISTS l", ":0", ""),
        ("BLMPOP 0 3 no l m RIGHT COUNT 9", "*2 $1 m *2 $1 b $1 c", "RPOP m 2"),
        ("RPUSH l a b", ":2", "RPUSH l a b"),
        ("BLMPOP 0 1 l LEFT", "*2 $1 l *1 $1 a", "LPOP l 1"),
        ("BLMOVE l l LEFT RIGHT 0", "$1 b", "LMOVE l l LEFT RIGHT"),
        ("BLPOP l 0", "*2 $1 l $1 b", "LPOP l"),
    ]);
}

#[test]
fn what_is_not_there_is_waited_for() {
    let mut fixture = Fixture::new().recording();
    fixture.script(&[("SET s x", "+OK")]);
    fixture.drain();
    for (request, outcome) in [
        ("BLPOP a b 0", waits(1..3, None)),
        ("BRPOP a 0.5", waits(1..2, Some(500))),
        ("BLMPOP 0.0001 2 a b LEFT COUNT 3", waits(3..5, Some(1))),
        ("BLMOVE a b LEFT RIGHT 2", waits(1..2, Some(2000))),
        ("BLMOVE a s LEFT RIGHT 2", waits(1..2, Some(2000))),
        ("BRPOPLPUSH a b 0.0", waits(1..2, None)),
    ] {
        assert_eq!(fixture.run(request), "", "{request}");
        assert_eq!(fixture.outcome, outcome, "{request}");
        assert_eq!(fixture.drain(), [[[b""; 0]; 0]], "{request}");
    }
}

#[test]
fn where_nobody_may_wait_nothing_is_the_answer() {
    for (protocol, null, null_array) in [(Protocol::Resp2, "$-1", "*-1"), (Protocol::Resp3, "_", "_")] {
        let mut fixture = Fixture::new();
        (fixture.protocol, fixture.may_block) = (protocol, false);
        fixture.script(&[
            ("BLPOP a b 0", null_array),
            ("BRPOP a 0", null_array),
            ("BLMPOP 0 1 a LEFT", null_array),
            ("BLMOVE a b LEFT LEFT 0", null),
            ("BRPOPLPUSH a b 0", null),
        ]);
        assert_eq!(fixture.outcome, Outcome::Replied);
    }
}

#[test]
fn arguments_are_judged_in_the_order_of_redis() {
    Fixture::new().script(&[
        ("SET s x", "+OK"),
        ("RPUSH l a", ":1"),
        ("BLPOP s x", NOT_A_FLOAT),
        ("BLPOP s -1", "-ERR timeout is negative"),
        ("BLPOP l inf", "-ERR timeout is out of range"),
        ("BLPOP s l 0", WRONG_TYPE),
        ("BLPOP no s l 0", WRONG_TYPE),
        ("BLPOP l s 0", "*2 $1 l $1 a"),
        ("BLPOP l", "-ERR wrong number of arguments for 'blpop' command"),
        ("BRPOP l", "-ERR wrong number of arguments for 'brpop' command"),
        ("BLMOVE s s UP LEFT x", SYNTAX),
        ("BLMOVE s s LEFT UP x", SYNTAX),
        ("BLMOVE s s LEFT LEFT x", NOT_A_FLOAT),
        ("BLMOVE s s LEFT LEFT 0", WRONG_TYPE),
        ("BRPOPLPUSH s s x", NOT_A_FLOAT),
        ("BRPOPLPUSH s s 0", WRONG_TYPE),
        ("RPUSH l a", ":1"),
        ("BRPOPLPUSH l s 0", WRONG_TYPE),
        ("LLEN l", ":1"),
        ("BLMPOP x 0 s LEFT", "-ERR numkeys should be greater than 0"),
        ("BLMPOP x y s LEFT", "-ERR numkeys should be greater than 0"),
        ("BLMPOP x 2 s LEFT", SYNTAX),
        ("BLMPOP x 1 s UP", SYNTAX),
        ("BLMPOP x 1 s LEFT COUNT", SYNTAX),
        ("BLMPOP x 1 s LEFT COUNT 0", "-ERR count should be greater than 0"),
        ("BLMPOP x 1 s LEFT COUNT 1 COUNT 1", SYNTAX),
        ("BLMPOP x 1 s LEFT COUNT 1", NOT_A_FLOAT),
        ("BLMPOP 0 1 s LEFT", WRONG_TYPE),
        ("BLMPOP 0 9223372036854775807 s LEFT", SYNTAX),
        ("BLMPOP 0 1 s", "-ERR wrong number of arguments for 'blmpop' command"),
    ]);
}

#[test]
fn elements_of_several_shards() {
    // Slots: a 15495, b 3300, c 7365, d 11298.
    Fixture::with_shards(&[8192]).recording().effects_script(&[
        ("RPUSH b 1 2 3 4", ":4", "0: RPUSH b 1 2 3 4"),
        ("BLPOP a b 0", "*2 $1 b $1 1", "0: LPOP b"),
        ("BLMPOP 0 2 a b LEFT", "*2 $1 b *1 $1 2", "0: LPOP b 1"),
        ("BLMOVE b a RIGHT LEFT 0", "$1 4", "0: RPOP b 1: LPUSH a 4"),
        ("BRPOPLPUSH b c 0", "$1 3", "0: LMOVE b c RIGHT LEFT"),
        ("BRPOPLPUSH a d 0", "$1 4", "1: LMOVE a d RIGHT LEFT"),
        ("BRPOP a b c 0", "*2 $1 c $1 3", "0: RPOP c"),
    ]);
}

#[test]
fn a_retry_sees_the_keys_of_its_own_shard_alone() {
    let mut fixture = Fixture::over(0..=8191);
    fixture.script(&[("RPUSH b 1 2", ":2"), ("BLPOP a d b 0", "*2 $1 b $1 1")]);
    fixture.script(&[("BLMPOP 0 2 a b LEFT", "*2 $1 b *1 $1 2"), ("BRPOP a d b 0", "")]);
    assert_eq!(fixture.outcome, waits(1..4, None));
    fixture.script(&[("BLMPOP 1 2 a b LEFT", "")]);
    assert_eq!(fixture.outcome, waits(3..5, Some(1000)));
}

#[test]
fn the_reply_to_a_timeout_is_a_null_array() {
    for name in ["blpop", "brpop", "blmpop", "blmove", "brpoplpush"] {
        for (protocol, null) in [(Protocol::Resp2, "*-1\r\n"), (Protocol::Resp3, "_\r\n")] {
            let mut out = Vec::new();
            timeout_reply(find(name.as_bytes()).unwrap(), &mut Reply::new(&mut out, protocol));
            assert_eq!(out, null.as_bytes(), "{name}");
        }
    }
}
