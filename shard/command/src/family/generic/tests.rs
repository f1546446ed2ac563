//! Each script of replies was run against redis-server 7.0.15 as well.

use crate::family::testing::Fixture;

const SAME: &str = "-ERR source and destination objects are the same";
const NO_DB: &str = "-ERR DB index is out of range";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_32_BITS: &str = "-ERR value is out of range, value must between -2147483648 and 2147483647";

#[test]
fn keys_are_counted_each_time_they_are_named() {
    Fixture::new().script(&[
        ("MSET a 1 b 2 c 3", "+OK"),
        ("EXISTS a b x a", ":3"),
        ("TOUCH a b x a", ":3"),
        ("DEL a x a", ":1"),
        ("UNLINK b c", ":2"),
        ("DBSIZE", ":0"),
        ("DEL", "-ERR wrong number of arguments for 'del' command"),
    ]);
}

#[test]
fn expired_keys_are_not_there() {
    Fixture::new().script(&[
        ("SET a 1 PX 1", "+OK"),
        ("SET b 1 PX 1", "+OK"),
        ("TYPE a", "+string"),
        ("@2", ""),
        ("TYPE a", "+none"),
        ("EXISTS b", ":0"),
        ("SET b 1 PX 1", "+OK"),
        ("@2", ""),
        ("DEL b", ":0"),
        ("DBSIZE", ":0"),
    ]);
}

#[test]
fn names_change_and_values_and_expiries_stay() {
    Fixture::new().script(&[
        ("RENAME a b", "-ERR no such key"),
        ("RENAMENX a b", "-ERR no such key"),
        ("RENAME a a", "-ERR no such key"),
        ("SET a 1 EX 10", "+OK"),
        ("RENAME a a", "+OK"),
        ("RENAMENX a a", ":0"),
        ("RPUSH b x y", ":2"),
        ("RENAMENX a b", ":0"),
        ("RENAME a b", "+OK"),
        ("EXISTS a", ":0"),
        ("GET b", "$1 1"),
        ("TTL b", ":10"),
        ("SET c 1", "+OK"),
        ("RENAME c b", "+OK"),
        ("TTL b", ":-1"),
        ("RPUSH l x y", ":2"),
        ("RENAMENX l m", ":1"),
        ("LRANGE m 0 -1", "*2 $1 x $1 y"),
        ("EXISTS l", ":0"),
        ("RENAMENX m m", ":0"),
        ("DBSIZE", ":2"),
        ("RENAME a", "-ERR wrong number of arguments for 'rename' command"),
    ]);
}

#[test]
fn copies_stand_on_their_own() {
    Fixture::new().script(&[
        ("COPY a b", ":0"),
        ("COPY a a", SAME),
        ("SET a 1 EX 10", "+OK"),
        ("COPY a b", ":1"),
        ("TTL b", ":10"),
        ("APPEND b 2", ":2"),
        ("GET a", "$1 1"),
        ("COPY a b", ":0"),
        ("COPY a b replace", ":1"),
        ("GET b", "$1 1"),
        ("COPY a a REPLACE", SAME),
        ("COPY a a DB 0", SAME),
        ("COPY a a DB 1", ":1"),
        ("COPY a a DB 1", ":0"),
        ("COPY a a REPLACE DB 2 DB 1 REPLACE", ":1"),
        ("RPUSH l x y", ":2"),
        ("COPY l m", ":1"),
        ("RPUSH m z", ":3"),
        ("LRANGE l 0 -1", "*2 $1 x $1 y"),
        ("LRANGE m 0 -1", "*3 $1 x $1 y $1 z"),
        ("COPY m a", ":0"),
        ("COPY m a REPLACE", ":1"),
        ("TTL a", ":-1"),
        ("COPY a b DB", "-ERR syntax error"),
        ("COPY a b FOO", "-ERR syntax error"),
        ("COPY a b DB x", NOT_AN_INTEGER),
        ("COPY a b DB 16", NO_DB),
        ("COPY a b DB -1", NO_DB),
        ("COPY a b DB 2147483648", NOT_32_BITS),
        ("COPY a b DB 16 FOO", NO_DB),
        ("COPY a", "-ERR wrong number of arguments for 'copy' command"),
    ]);
}

#[test]
fn a_large_copy_stands_on_its_own() {
    let mut fixture = Fixture::new();
    for number in 0..5000 {
        fixture.run(&format!("RPUSH l element-{number}"));
    }
    fixture.script(&[
        ("COPY l m", ":1"),
        ("LSET m 2500 x", "+OK"),
        ("LSET l 4999 y", "+OK"),
        ("LINDEX l 2500", "$12 element-2500"),
        ("LINDEX m 4999", "$12 element-4999"),
        ("LPOP m", "$9 element-0"),
        ("RENAME m l", "+OK"),
        ("LINDEX l 2499", "$1 x"),
        ("LLEN l", ":4999"),
    ]);
}

#[test]
fn keys_move_between_databases() {
    let mut fixture = Fixture::new();
    fixture.script(&[
        ("MOVE a 1", ":0"),
        ("SET a 1 EX 10", "+OK"),
        ("MOVE a 0", SAME),
        ("MOVE a 16", NO_DB),
        ("MOVE a -1", NO_DB),
        ("MOVE a x", NOT_AN_INTEGER),
        ("MOVE a 4294967296", NOT_32_BITS),
        ("MOVE a 1", ":1"),
        ("EXISTS a", ":0"),
        ("SET a 2", "+OK"),
        ("MOVE a 1", ":0"),
        ("GET a", "$1 2"),
    ]);
    fixture.db = 1;
    fixture.script(&[("GET a", "$1 1"), ("TTL a", ":10"), ("@10001", "")]);
    fixture.db = 0;
    fixture.script(&[("MOVE a 1", ":1")]);
    fixture.db = 1;
    fixture.script(&[("GET a", "$1 2"), ("TTL a", ":-1")]);
}

#[test]
fn effects_on_one_shard_are_the_requests() {
    Fixture::new().recording().effects_script(&[
        ("MSET a 1 b 2 c 3", "+OK", "MSET a 1 b 2 c 3"),
        ("DEL x y", ":0", ""),
        ("DEL x a", ":1", "DEL x a"),
        ("UNLINK b x", ":1", "UNLINK b x"),
        ("RENAME c c", "+OK", ""),
        ("RENAME c a", "+OK", "RENAME c a"),
        ("RENAMENX a b", ":1", "RENAMENX a b"),
        ("SET c 1 PX 5", "+OK", "SET c 1 PXAT 1700000000005"),
        ("RENAMENX b c", ":0", ""),
        ("COPY b c", ":0", ""),
        ("COPY c d", ":1", "COPY c d"),
        ("COPY c d db 3", ":1", "COPY c d db 3"),
        ("MOVE b 3", ":1", "MOVE b 3"),
        ("MOVE b 3", ":0", ""),
        ("@6", "", ""),
        ("SET a 1", "+OK", "SET a 1"),
        ("RENAME a c", "+OK", "DEL c | RENAME a c"),
        ("COPY c d", ":1", "DEL d | COPY c d"),
        ("MOVE d 3", ":1", "SELECT 3 | DEL d | MOVE d 3"),
        ("SWAPDB 0 3", "+OK", "SWAPDB 0 3"),
        ("SWAPDB 3 3", "+OK", ""),
        ("GET b", "$1 3", ""),
    ]);
}

#[test]
fn what_goes_to_another_shard_is_made_anew_there() {
    // Slots: a 15495, b 3300, c 7365, d 11298.
    let list = (0..65).map(|number| number.to_string()).collect::<Vec<_>>().join(" ");
    let push = format!("RPUSH b {list}");
    let remade = |key: &str| {
        let (first, last) = list.rsplit_once(' ').unwrap();
        format!("DEL {key} | RPUSH {key} {first} | RPUSH {key} {last}")
    };
    let mut fixture = Fixture::with_shards(&[8192]).recording();
    fixture.effects_script(&[
        ("SET a 1 PX 10", "+OK", "1: SET a 1 PXAT 1700000000010"),
        ("RENAMENX a b", ":1", "0: DEL b | SET b 1 PXAT 1700000000010 1: DEL a"),
        ("TTL b", ":0", ""),
        ("COPY b d", ":1", "1: DEL d | SET d 1 PXAT 1700000000010"),
        ("COPY b d", ":0", ""),
        ("COPY b d REPLACE DB 2", ":1", "1: SELECT 2 | DEL d | SET d 1 PXAT 1700000000010"),
        ("@11", "", ""),
        (&push, ":65", &format!("0: DEL b | {push}")),
        ("PEXPIRE b 100", ":1", "0: PEXPIREAT b 1700000000111"),
        ("RENAME b d", "+OK", &format!("0: DEL b 1: DEL d | {} | PEXPIREAT d 1700000000111", remade("d"))),
        ("LLEN d", ":65", ""),
        ("RENAME d a", "+OK", "1: RENAME d a"),
        ("RENAME a a", "+OK", ""),
        ("RENAMENX a c", ":1", &format!("0: {} | PEXPIREAT c 1700000000111 1: DEL a", remade("c"))),
        ("COPY c a", ":1", &format!("1: {} | PEXPIREAT a 1700000000111", remade("a"))),
        ("RPUSH a x", ":66", "1: RPUSH a x"),
        ("LLEN c", ":65", ""),
        ("EXISTS a c b", ":2", ""),
        ("DEL a c b", ":2", "0: DEL c 1: DEL a"),
    ]);
}

#[test]
fn whole_databases_are_emptied_and_exchanged_on_every_shard() {
    Fixture::with_shards(&[4000, 8192]).recording().effects_script(&[
        ("MSET a 1 b 2 c 3", "+OK", "0: SET b 2 1: SET c 3 2: SET a 1"),
        ("SWAPDB 0 5", "+OK", "0: SWAPDB 0 5 1: SWAPDB 0 5 2: SWAPDB 0 5"),
        ("EXISTS a b c", ":0", ""),
        ("SET a x", "+OK", "2: SET a x"),
        ("FLUSHDB", "+OK", "0: FLUSHDB 1: FLUSHDB 2: FLUSHDB"),
        ("EXISTS a", ":0", ""),
        ("SWAPDB 5 0", "+OK", "0: SWAPDB 5 0 1: SWAPDB 5 0 2: SWAPDB 5 0"),
        ("MGET a b c", "*3 $1 1 $1 2 $1 3", ""),
        ("FLUSHALL ASYNC", "+OK", "0: FLUSHALL ASYNC 1: FLUSHALL ASYNC 2: FLUSHALL ASYNC"),
        ("EXISTS a b c", ":0", ""),
        ("FLUSHALL NEVER", "-ERR syntax error", ""),
    ]);
}

#[test]
#[should_panic(expected = "the shards of all keys are at hand")]
fn a_key_of_a_shard_that_is_not_at_hand_is_a_bug() {
    let mut fixture = Fixture::over(0..=8191);
    fixture.script(&[("SET b 1", "+OK"), ("RENAME b a", "")]);
}
