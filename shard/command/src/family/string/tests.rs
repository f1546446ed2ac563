//! Each script was run against redis-server 7.0.15 as well.

use crate::family::testing::Fixture;
use slotmesh_resp::Protocol;

const NIL: &str = "$-1";
const SYNTAX: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";

#[test]
fn set_and_get() {
    Fixture::new().script(&[
        ("GET a", NIL),
        ("SET a 1", "+OK"),
        ("GET a", "$1 1"),
        ("set a ", "+OK"),
        ("gEt a", "$0 "),
        ("SETNX a 2", ":0"),
        ("SETNX b 2", ":1"),
        ("GETSET b 3", "$1 2"),
        ("GETSET c 4", NIL),
        ("GETDEL c", "$1 4"),
        ("GETDEL c", NIL),
        ("STRLEN b", ":1"),
        ("STRLEN c", ":0"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
    ]);
}

#[test]
fn conditions_of_set() {
    Fixture::new().script(&[
        ("SET a 1 XX", NIL),
        ("SET a 1 nx", "+OK"),
        ("SET a 2 NX", NIL),
        ("SET a 2 xX", "+OK"),
        ("SET a 3 GET", "$1 2"),
        ("SET a 4 NX GET", "$1 3"),
        ("GET a", "$1 3"),
        ("SET b 1 NX GET", NIL),
        ("GET b", "$1 1"),
        ("SET c 1 XX GET", NIL),
        ("GET c", NIL),
        ("SET a 1 NX NX GET GET", "$1 3"),
        ("SET a 1 NX XX", SYNTAX),
        ("SET a 1 XX NX", SYNTAX),
        ("SET a 1 FOO", SYNTAX),
        ("SET a 1 ", SYNTAX),
    ]);
}

#[test]
fn lifetimes_of_set() {
    Fixture::new().script(&[
        ("SET a 1 EX 10", "+OK"),
        ("TTL a", ":10"),
        ("SET a 2 KEEPTTL", "+OK"),
        ("PTTL a", ":10000"),
        ("SET a 3", "+OK"),
        ("TTL a", ":-1"),
        ("SET a 1 px 1500 GET", "$1 3"),
        ("PTTL a", ":1500"),
        ("GETSET a 2", "$1 1"),
        ("TTL a", ":-1"),
        ("SET a 1 EXAT 1700000100", "+OK"),
        ("PTTL a", ":100000"),
        ("SET a 1 PXAT 1700000000001 XX", "+OK"),
        ("PTTL a", ":1"),
        ("@1", ""),
        ("PTTL a", ":0"),
        ("@1", ""),
        ("GET a", NIL),
        ("SET a 2 PX 5", "+OK"),
        ("@6", ""),
        ("SET a 3 KEEPTTL", "+OK"),
        ("TTL a", ":-1"),
        ("SETEX a 10 x", "+OK"),
        ("TTL a", ":10"),
        ("PSETEX a 10 x", "+OK"),
        ("PTTL a", ":10"),
        ("SET a 1 EX 10 EX 20", "+OK"),
        ("TTL a", ":20"),
        ("SET a 1 KEEPTTL KEEPTTL", "+OK"),
        ("TTL a", ":20"),
        ("SET a 1 EX 10 PX 10", SYNTAX),
        ("SET a 1 EX 10 EXAT 10", SYNTAX),
        ("SET a 1 EX 10 KEEPTTL", SYNTAX),
        ("SET a 1 KEEPTTL EX 10", SYNTAX),
        ("SET a 1 EX", SYNTAX),
        ("SET a 1 EX NX", NOT_AN_INTEGER),
        ("SET a 1 EX 1.5", NOT_AN_INTEGER),
        ("SET a 1 EX 0", "-ERR invalid expire time in 'set' command"),
        ("SET a 1 PXAT -1", "-ERR invalid expire time in 'set' command"),
        ("SET a 1 EX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SET a 1 PX 9223372036854775807", "-ERR invalid expire time in 'set' command"),
        ("SETEX a 0 x", "-ERR invalid expire time in 'setex' command"),
        ("PSETEX a 9223372036854775807 x", "-ERR invalid expire time in 'psetex' command"),
        ("TTL a", ":20"),
    ]);
}

#[test]
fn a_value_set_to_expire_in_the_past_is_gone_at_once() {
    Fixture::new().script(&[
        ("SET a 1", "+OK"),
        ("SET a 2 PXAT 1", "+OK"),
        ("GET a", NIL),
        ("SET a 2 EXAT 1 GET", NIL),
        ("DBSIZE", ":0"),
        ("SET a 1", "+OK"),
        ("SET a 2 EXAT 1 GET", "$1 1"),
        ("EXISTS a", ":0"),
        ("SET a 1", "+OK"),
        ("SET a 2 NX PXAT 1", NIL),
        ("GET a", "$1 1"),
    ]);
}

#[test]
fn append_grows_and_keeps_the_expiry() {
    let mut fixture = Fixture::new();
    fixture.script(&[
        ("APPEND a ab", ":2"),
        ("EXPIRE a 10", ":1"),
        ("APPEND a cd", ":4"),
        ("GET a", "$4 abcd"),
        ("TTL a", ":10"),
        ("@10001", ""),
        ("APPEND a x", ":1"),
        ("TTL a", ":-1"),
    ]);
    let long = "y".repeat(1000);
    assert_eq!(fixture.run(&format!("APPEND a {long}")), ":1001");
    assert_eq!(fixture.run("GET a"), format!("$1001 x{long}"));
    fixture.limits.string_bytes_max = 1001;
    assert_eq!(fixture.run("APPEND a z"), "-ERR string exceeds maximum allowed size (proto-max-bulk-len)");
    assert_eq!(fixture.run("APPEND a "), ":1001");
}

#[test]
fn counters() {
    Fixture::new().script(&[
        ("INCR a", ":1"),
        ("INCRBY a 41", ":42"),
        ("DECR a", ":41"),
        ("DECRBY a -1", ":42"),
        ("GET a", "$2 42"),
        ("EXPIRE a 10", ":1"),
        ("INCR a", ":43"),
        ("TTL a", ":10"),
        ("SET a 9223372036854775806", "+OK"),
        ("INCR a", ":9223372036854775807"),
        ("INCR a", "-ERR increment or decrement would overflow"),
        ("GET a", "$19 9223372036854775807"),
        ("SET a -9223372036854775808", "+OK"),
        ("DECR a", "-ERR increment or decrement would overflow"),
        ("DECRBY a -9223372036854775808", "-ERR decrement would overflow"),
        ("INCRBY a -1", "-ERR increment or decrement would overflow"),
        ("SET a 01", "+OK"),
        ("INCR a", NOT_AN_INTEGER),
        ("SET a ", "+OK"),
        ("INCR a", NOT_AN_INTEGER),
        ("SET a 1.5", "+OK"),
        ("INCR a", NOT_AN_INTEGER),
        ("INCRBY b 1.5", NOT_AN_INTEGER),
        ("INCRBY b 9223372036854775808", NOT_AN_INTEGER),
        ("EXISTS b", ":0"),
    ]);
    let mut fixture = Fixture::new();
    fixture.run_words(&[b"SET", b"a", b" 1"]);
    assert_eq!(fixture.run("INCR a"), NOT_AN_INTEGER);
}

#[test]
fn an_expired_counter_begins_anew_without_expiry() {
    Fixture::new().script(&[("SET a 5 PX 1", "+OK"), ("@2", ""), ("INCR a", ":1"), ("TTL a", ":-1")]);
}

#[test]
fn many_keys() {
    Fixture::new().script(&[
        ("MSET a 1 b 2 a 3", "+OK"),
        ("MGET a b c a", "*4 $1 3 $1 2 $-1 $1 3"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command"),
        ("MSET a", "-ERR wrong number of arguments for 'mset' command"),
        ("EXPIRE a 10", ":1"),
        ("MSET a 1", "+OK"),
        ("TTL a", ":-1"),
    ]);
}

#[test]
fn more_keys_than_one_batch() {
    let mut fixture = Fixture::new();
    let names: Vec<String> = (0..50).map(|number| format!("key:{number}")).collect();
    let pairs: String = names.iter().enumerate().map(|(number, name)| format!(" {name} {}", number % 10)).collect();
    assert_eq!(fixture.run(&format!("MSET{pairs}")), "+OK");
    for count in [2, 15, 16, 17, 32, 33, 50] {
        let values: String = (0..count).map(|number| format!(" $1 {}", number % 10)).collect();
        assert_eq!(fixture.run(&format!("MGET {}", names[..count].join(" "))), format!("*{count}{values}"));
        assert_eq!(fixture.run(&format!("EXISTS {}", names[..count].join(" "))), format!(":{count}"));
    }
    assert_eq!(fixture.run(&format!("DEL {}", names.join(" "))), ":50");
}

#[test]
fn resp3_has_its_own_null() {
    let mut fixture = Fixture::new();
    fixture.protocol = Protocol::Resp3;
    fixture.script(&[("GET a", "_"), ("MGET a", "*1 _"), ("SET a 1 XX", "_"), ("SET a 1 GET", "_"), ("GET a", "$1 1")]);
}

#[test]
fn reads_count_as_hits_and_misses_and_writes_do_not() {
    let mut fixture = Fixture::new();
    for request in ["SET a 1", "SET a 1 NX", "INCR a", "APPEND a 1", "SETNX a 1", "DEL b", "EXPIRE a 9", "PERSIST a"] {
        fixture.run(request);
    }
    let stats = fixture.keyspace.stats;
    assert_eq!((stats.hits, stats.misses), (0, 0));
    for request in
        ["GET a", "MGET a b", "STRLEN b", "EXISTS a b", "TTL a", "TYPE b", "TOUCH a", "GETSET a 1", "SET a 1 GET"]
    {
        fixture.run(request);
    }
    let stats = fixture.keyspace.stats;
    assert_eq!((stats.hits, stats.misses), (7, 4));
}

#[test]
fn effects_name_absolute_times_and_forget_what_was_asked() {
    Fixture::new().recording().effects_script(&[
        ("SET a 1", "+OK", "SET a 1"),
        ("set a 2 EX 10", "+OK", "SET a 2 PXAT 1700000010000"),
        ("SET a 3 PX 10 GET", "$1 2", "SET a 3 PXAT 1700000000010"),
        ("SET a 4 EXAT 1700000001 XX", "+OK", "SET a 4 PXAT 1700000001000"),
        ("SET a 5 KEEPTTL GET", "$1 4", "SET a 5 KEEPTTL"),
        ("SET a 6 NX", NIL, ""),
        ("SET a 6 NX GET", "$1 5", ""),
        ("SET b 6 XX", NIL, ""),
        ("SET b 1 NX GET", NIL, "SET b 1"),
        ("SETNX b 2", ":0", ""),
        ("SETNX c 2", ":1", "SETNX c 2"),
        ("SETEX c 1 x", "+OK", "SET c x PXAT 1700000001000"),
        ("PSETEX c 1 x", "+OK", "SET c x PXAT 1700000000001"),
        ("GETSET b 3", "$1 1", "SET b 3"),
        ("APPEND b 4", ":2", "APPEND b 4"),
        ("INCR b", ":35", "INCR b"),
        ("DECRBY b 5", ":30", "DECRBY b 5"),
        ("INCRBY c 1", "-ERR value is not an integer or out of range", ""),
        ("GETDEL b", "$2 30", "DEL b"),
        ("GETDEL b", NIL, ""),
        ("SET a 1 PXAT 1", "+OK", "DEL a"),
        ("SET a 1 PXAT 1", "+OK", ""),
        ("GET c", "$1 x", ""),
        ("MSET a 1 b 2", "+OK", "MSET a 1 b 2"),
        ("MSETNX a 1 d 2", ":0", ""),
        ("MSETNX d 1 e 2 d 3", ":1", "MSETNX d 1 e 2 d 3"),
        ("GET d", "$1 3", ""),
    ]);
}

#[test]
fn keys_that_expired_are_deleted_before_anything_else() {
    Fixture::new().recording().effects_script(&[
        ("SET a 1 PX 5", "+OK", "SET a 1 PXAT 1700000000005"),
        ("SET b 1 PX 5", "+OK", "SET b 1 PXAT 1700000000005"),
        ("SET c 1 PX 5", "+OK", "SET c 1 PXAT 1700000000005"),
        ("SET d 1 PX 5", "+OK", "SET d 1 PXAT 1700000000005"),
        ("SET e 1 PX 5", "+OK", "SET e 1 PXAT 1700000000005"),
        ("@6", "", ""),
        ("INCR a", ":1", "DEL a | INCR a"),
        ("GET b", NIL, "DEL b"),
        ("SET c 2 KEEPTTL", "+OK", "DEL c | SET c 2 KEEPTTL"),
        ("TTL c", ":-1", ""),
        ("MSETNX d 1 e 2", ":1", "DEL d | DEL e | MSETNX d 1 e 2"),
    ]);
}

#[test]
fn several_strings_may_lie_on_several_shards() {
    // Slots: a 15495, b 3300, c 7365, d 11298.
    Fixture::with_shards(&[8192]).recording().effects_script(&[
        ("MSET a 1 b 2 c 3", "+OK", "0: SET b 2 | SET c 3 1: SET a 1"),
        ("MGET b a d c b", "*5 $1 2 $1 1 $-1 $1 3 $1 2", ""),
        ("MSETNX d 1 b 2", ":0", ""),
        ("MSETNX d 1 foo 2", ":1", "1: SET d 1 | SET foo 2"),
        ("MSET a 1 b", "-ERR wrong number of arguments for 'mset' command", ""),
        ("MSETNX a 1 b", "-ERR wrong number of arguments for 'msetnx' command", ""),
        ("RPUSH l x", ":1", "1: RPUSH l x"),
        ("MGET l a", "*2 $-1 $1 1", ""),
        ("INCR a", ":2", "1: INCR a"),
    ]);
}

#[test]
fn msetnx_sets_all_or_nothing() {
    Fixture::new().script(&[
        ("MSETNX a 1 b 2", ":1"),
        ("MSETNX c 1 b 3", ":0"),
        ("EXISTS c", ":0"),
        ("GET b", "$1 2"),
        ("RPUSH l x", ":1"),
        ("MSETNX c 1 l 3", ":0"),
        ("EXPIRE b 1", ":1"),
        ("@1001", ""),
        ("MSETNX c 1 b 3", ":1"),
        ("TTL b", ":-1"),
        ("MSETNX a", "-ERR wrong number of arguments for 'msetnx' command"),
    ]);
}

#[test]
fn parts_of_strings() {
    Fixture::new().script(&[
        ("GETRANGE a 0 -1", "$0 "),
        ("SETRANGE a 3 ", ":0"),
        ("EXISTS a", ":0"),
        ("SETRANGE a 3 def", ":6"),
        ("GET a", "$6 \0\0\0def"),
        ("OBJECT ENCODING a", "$3 raw"),
        ("SETRANGE a 0 abc", ":6"),
        ("SETRANGE a 100 ", ":6"),
        ("GETRANGE a 1 -2", "$4 bcde"),
        ("SUBSTR a -3 -1", "$3 def"),
        ("GETRANGE a 4 2", "$0 "),
        ("GETRANGE a x 2", NOT_AN_INTEGER),
        ("GETRANGE a 0 9223372036854775807", "$6 abcdef"),
        ("SETRANGE a -1 x", "-ERR offset is out of range"),
        ("SETRANGE a x x", NOT_AN_INTEGER),
        ("SETRANGE a 536870912 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SETRANGE a 9223372036854775807 x", "-ERR string exceeds maximum allowed size (proto-max-bulk-len)"),
        ("SET b 12 EX 100", "+OK"),
        ("SETRANGE b 1 5", ":2"),
        ("TTL b", ":100"),
        ("INCR b", ":16"),
        ("RPUSH l x", ":1"),
        ("GETRANGE l 0 1", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SETRANGE l 0 ", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
        ("SETRANGE l 536870912 x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ]);
}

#[test]
fn the_form_of_a_string_is_that_of_redis() {
    Fixture::new().script(&[
        ("SET a 1", "+OK"),
        ("APPEND a 2", ":2"),
        ("OBJECT ENCODING a", "$3 raw"),
        ("COPY a b", ":1"),
        ("OBJECT ENCODING b", "$3 raw"),
        ("RENAME b c", "+OK"),
        ("OBJECT ENCODING c", "$3 raw"),
        ("EXPIRE c 100", ":1"),
        ("OBJECT ENCODING c", "$3 raw"),
        ("SET c 12", "+OK"),
        ("OBJECT ENCODING c", "$3 int"),
        ("GETSET a 34", "$2 12"),
        ("OBJECT ENCODING a", "$3 int"),
        ("INCRBYFLOAT a 1", "$2 35"),
        ("OBJECT ENCODING a", "$6 embstr"),
        ("INCR a", ":36"),
        ("OBJECT ENCODING a", "$3 int"),
        ("APPEND new 12", ":2"),
        ("OBJECT ENCODING new", "$3 int"),
    ]);
}

#[test]
fn floats() {
    Fixture::new().script(&[
        ("INCRBYFLOAT a 10.5", "$4 10.5"),
        ("INCRBYFLOAT a 0.1", "$4 10.6"),
        ("SET a 5.0e3 EX 100", "+OK"),
        ("INCRBYFLOAT a 2.0e2", "$4 5200"),
        ("TTL a", ":100"),
    ]);
    Fixture::new().script(&[
        ("SET a abc", "+OK"),
        ("INCRBYFLOAT a 1", "-ERR value is not a valid float"),
        ("SET a 1", "+OK"),
        ("INCRBYFLOAT a abc", "-ERR value is not a valid float"),
        ("INCRBYFLOAT a nan", "-ERR value is not a valid float"),
        ("INCRBYFLOAT a inf", "-ERR increment would produce NaN or Infinity"),
        ("RPUSH l x", ":1"),
        ("INCRBYFLOAT l x", "-WRONGTYPE Operation against a key holding the wrong kind of value"),
    ]);
}

#[test]
fn getex_changes_the_expiry() {
    Fixture::new().script(&[
        ("GETEX a", NIL),
        ("GETEX a EX 0", NIL),
        ("SET a 1", "+OK"),
        ("GETEX a", "$1 1"),
        ("GETEX a EX 10", "$1 1"),
        ("TTL a", ":10"),
        ("GETEX a", "$1 1"),
        ("TTL a", ":10"),
        ("GETEX a PERSIST", "$1 1"),
        ("TTL a", ":-1"),
        ("GETEX a PXAT 1700000000500", "$1 1"),
        ("PTTL a", ":500"),
        ("GETEX a EX 0", "-ERR invalid expire time in 'getex' command"),
        ("GETEX a EX x", NOT_AN_INTEGER),
        ("GETEX a KEEPTTL", SYNTAX),
        ("GETEX a PERSIST EX 1", SYNTAX),
        ("GETEX a EX 1 PERSIST", SYNTAX),
        ("GETEX a EX 1 PX 1", SYNTAX),
        ("GETEX a EX", SYNTAX),
        ("GETEX a EX 1 EX 20", "$1 1"),
        ("TTL a", ":20"),
        ("GETEX a EXAT 1700000000", "$1 1"),
        ("EXISTS a", ":0"),
    ]);
}

#[test]
fn longest_common_subsequences() {
    Fixture::new().script(&[
        ("LCS a b", "$0 "),
        ("SET {t}a ohmytext", "+OK"),
        ("SET {t}b mynewtext", "+OK"),
        ("LCS {t}a {t}b", "$6 mytext"),
        ("LCS {t}a {t}b LEN", ":6"),
        ("LCS {t}a {t}b IDX", "*4 $7 matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $3 len :6"),
        ("LCS {t}a {t}b IDX MINMATCHLEN 4 WITHMATCHLEN", "*4 $7 matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $3 len :6"),
        ("LCS {t}a {t}b IDX LEN", "-ERR If you want both the length and indexes, please just use IDX."),
        ("LCS {t}a {t}b MINMATCHLEN", SYNTAX),
        ("LCS {t}a {t}b MINMATCHLEN x", NOT_AN_INTEGER),
        ("LCS {t}a {t}b NOSUCH", SYNTAX),
        ("RPUSH l x", ":1"),
        ("LCS l {t}b NOSUCH", "-ERR The specified keys must contain string values"),
    ]);
    let mut fixture = Fixture::new();
    fixture.limits.string_bytes_max = 400;
    fixture.script(&[
        ("SET a 123456789", "+OK"),
        ("SET b 123456789", "+OK"),
        ("LCS a b LEN", ":9"),
        ("APPEND a 0", ":10"),
        ("LCS a b", "-ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len"),
    ]);
}
