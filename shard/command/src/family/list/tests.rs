//! Each script was run against redis-server 7.2.6 as well.

use crate::family::testing::{Fixture, show};
use slotmesh_keyspace::PackedLimit;
use slotmesh_resp::Protocol;

const NIL: &str = "$-1";
const SYNTAX: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn pushes_and_pops() {
    Fixture::new().script(&[
        ("LPUSH l a b c", ":3"),
        ("RPUSH l 1 2", ":5"),
        ("LRANGE l 0 -1", "*5 $1 c $1 b $1 a $1 1 $1 2"),
        ("LPUSHX l x", ":6"),
        ("RPUSHX l y z", ":8"),
        ("LPUSHX no x", ":0"),
        ("RPUSHX no x", ":0"),
        ("EXISTS no", ":0"),
        ("LLEN l", ":8"),
        ("LLEN no", ":0"),
        ("LPOP l", "$1 x"),
        ("RPOP l", "$1 z"),
        ("LPOP l 2", "*2 $1 c $1 b"),
        ("RPOP l 2", "*2 $1 y $1 2"),
        ("LPOP l 0", "*0"),
        ("RPOP l 9", "*2 $1 1 $1 a"),
        ("EXISTS l", ":0"),
        ("LPOP l", NIL),
        ("RPOP l 1", "*-1"),
        ("LPOP l 0", "*-1"),
        ("LPOP l -1", "-ERR value is out of range, must be positive"),
        ("LPOP l x", "-ERR value is out of range, must be positive"),
        ("LPOP l 1 2", "-ERR wrong number of arguments for 'lpop' command"),
        ("RPOP l 1 2", "-ERR wrong number of arguments for 'rpop' command"),
        ("LPUSH l", "-ERR wrong number of arguments for 'lpush' command"),
        ("RPUSH l ", ":1"),
        ("RPOP l", "$0 "),
        ("DBSIZE", ":0"),
    ]);
}

#[test]
fn reads_by_index() {
    Fixture::new().script(&[
        ("RPUSH l a b c d", ":4"),
        ("LINDEX l 0", "$1 a"),
        ("LINDEX l -1", "$1 d"),
        ("LINDEX l 4", NIL),
        ("LINDEX l -5", NIL),
        ("LINDEX l 9223372036854775807", NIL),
        ("LINDEX l -9223372036854775808", NIL),
        ("LINDEX l x", NOT_AN_INTEGER),
        ("LINDEX no x", NIL),
        ("LRANGE l 1 2", "*2 $1 b $1 c"),
        ("LRANGE l -3 -2", "*2 $1 b $1 c"),
        ("LRANGE l -99 99", "*4 $1 a $1 b $1 c $1 d"),
        ("LRANGE l 2 1", "*0"),
        ("LRANGE l 4 9", "*0"),
        ("LRANGE l 0 -5", "*0"),
        ("LRANGE l -9223372036854775808 9223372036854775807", "*4 $1 a $1 b $1 c $1 d"),
        ("LRANGE no 0 -1", "*0"),
        ("LRANGE no x 1", NOT_AN_INTEGER),
        ("LRANGE l 0 1.5", NOT_AN_INTEGER),
    ]);
}

#[test]
fn changes_in_between() {
    Fixture::new().script(&[
        ("RPUSH l a b c b a", ":5"),
        ("LSET l 1 B", "+OK"),
        ("LSET l -1 A", "+OK"),
        ("LSET l 5 x", "-ERR index out of range"),
        ("LSET l -6 x", "-ERR index out of range"),
        ("LSET l 4294967296 x", "-ERR index out of range"),
        ("LSET l x x", NOT_AN_INTEGER),
        ("LSET no x x", "-ERR no such key"),
        ("LRANGE l 0 -1", "*5 $1 a $1 B $1 c $1 b $1 A"),
        ("LINSERT l BEFORE a 0", ":6"),
        ("LINSERT l after A 9", ":7"),
        ("LINSERT l AFTER c d", ":8"),
        ("LINSERT l BEFORE nope x", ":-1"),
        ("LINSERT no BEFORE nope x", ":0"),
        ("LINSERT no BESIDE nope x", SYNTAX),
        ("LRANGE l 0 -1", "*8 $1 0 $1 a $1 B $1 c $1 d $1 b $1 A $1 9"),
        ("DEL l", ":1"),
        ("RPUSH l 1 2 1 3 1 4 1", ":7"),
        ("LREM l 1 1", ":1"),
        ("LREM l -2 1", ":2"),
        ("LRANGE l 0 -1", "*4 $1 2 $1 1 $1 3 $1 4"),
        ("LREM l 0 01", ":0"),
        ("LREM l -9223372036854775808 3", ":1"),
        ("LREM l x 3", NOT_AN_INTEGER),
        ("LREM no 1 x", ":0"),
        ("LREM l 0 2", ":1"),
        ("LREM l 0 1", ":1"),
        ("LREM l 9 4", ":1"),
        ("EXISTS l", ":0"),
        ("RPUSH l 0 1 2 3 4 5", ":6"),
        ("LTRIM l 1 -2", "+OK"),
        ("LTRIM l -99 2", "+OK"),
        ("LRANGE l 0 -1", "*3 $1 1 $1 2 $1 3"),
        ("LTRIM l 0 x", NOT_AN_INTEGER),
        ("LTRIM no 0 1", "+OK"),
        ("LTRIM l 2 1", "+OK"),
        ("EXISTS l", ":0"),
    ]);
}

#[test]
fn positions() {
    let rank_zero = "-ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... \
        or use negative to start from the end of the list";
    Fixture::new().script(&[
        ("RPUSH l a b c 1 2 3 c c", ":8"),
        ("LPOS l c", ":2"),
        ("LPOS l 2", ":4"),
        ("LPOS l x", NIL),
        ("LPOS no c", NIL),
        ("LPOS no c COUNT 1", "*0"),
        ("LPOS l x COUNT 1", "*0"),
        ("LPOS l c RANK 2", ":6"),
        ("LPOS l c RANK -1", ":7"),
        ("LPOS l c RANK 4", NIL),
        ("LPOS l c COUNT 2", "*2 :2 :6"),
        ("LPOS l c COUNT 0", "*3 :2 :6 :7"),
        ("LPOS l c RANK -1 COUNT 2", "*2 :7 :6"),
        ("LPOS l c RANK -2 COUNT 0", "*2 :6 :2"),
        ("LPOS l c COUNT 0 MAXLEN 2", "*0"),
        ("LPOS l c COUNT 0 MAXLEN 3", "*1 :2"),
        ("LPOS l c RANK -1 COUNT 0 MAXLEN 2", "*2 :7 :6"),
        ("LPOS l c rank 2 count 1 maxlen 0", "*1 :6"),
        ("LPOS l c RANK 9223372036854775807", NIL),
        ("LPOS l c RANK -9223372036854775807", NIL),
        (
            "LPOS l c RANK -9223372036854775808",
            "-ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ),
        ("LPOS no c RANK 0", rank_zero),
        ("LPOS no c RANK x", NOT_AN_INTEGER),
        ("LPOS no c COUNT -1", "-ERR COUNT can't be negative"),
        ("LPOS no c COUNT x", "-ERR COUNT can't be negative"),
        ("LPOS no c MAXLEN -1", "-ERR MAXLEN can't be negative"),
        ("LPOS no c COUNT", SYNTAX),
        ("LPOS no c WHAT 1", SYNTAX),
        ("LPOS l", "-ERR wrong number of arguments for 'lpos' command"),
    ]);
}

#[test]
fn moves_from_list_to_list() {
    Fixture::new().script(&[
        ("RPUSH a 1 2 3", ":3"),
        ("LMOVE a b LEFT RIGHT", "$1 1"),
        ("LMOVE a b RIGHT LEFT", "$1 3"),
        ("RPOPLPUSH a b", "$1 2"),
        ("EXISTS a", ":0"),
        ("LRANGE b 0 -1", "*3 $1 2 $1 3 $1 1"),
        ("RPOPLPUSH a b", NIL),
        ("LMOVE a b UP RIGHT", SYNTAX),
        ("LMOVE a b LEFT DOWN", SYNTAX),
        ("RPOPLPUSH b b", "$1 1"),
        ("lmove b b left right", "$1 1"),
        ("LRANGE b 0 -1", "*3 $1 2 $1 3 $1 1"),
        ("RPUSH one x", ":1"),
        ("EXPIRE one 100", ":1"),
        ("RPOPLPUSH one one", "$1 x"),
        ("TTL one", ":100"),
        ("SET s text", "+OK"),
        ("LMOVE one s LEFT LEFT", WRONG_TYPE),
        ("LLEN one", ":1"),
        ("LMOVE s one LEFT LEFT", WRONG_TYPE),
        ("LMOVE no s LEFT LEFT", NIL),
        ("LMOVE one new LEFT LEFT", "$1 x"),
        ("TTL new", ":-1"),
    ]);
}

#[test]
fn pops_of_several_keys() {
    Fixture::new().script(&[
        ("LMPOP 2 a b LEFT", "*-1"),
        ("RPUSH b 1 2 3 4", ":4"),
        ("LMPOP 2 a b LEFT", "*2 $1 b *1 $1 1"),
        ("LMPOP 2 a b right COUNT 2", "*2 $1 b *2 $1 4 $1 3"),
        ("LMPOP 1 b LEFT COUNT 9", "*2 $1 b *1 $1 2"),
        ("EXISTS b", ":0"),
        ("LMPOP 0 a LEFT", "-ERR numkeys should be greater than 0"),
        ("LMPOP x a LEFT", "-ERR numkeys should be greater than 0"),
        ("LMPOP 2 a LEFT", SYNTAX),
        ("LMPOP 3 a LEFT RIGHT", SYNTAX),
        ("LMPOP 9223372036854775807 a LEFT", SYNTAX),
        ("LMPOP 1 a UP", SYNTAX),
        ("LMPOP 1 a LEFT COUNT 0", "-ERR count should be greater than 0"),
        ("LMPOP 1 a LEFT COUNT x", "-ERR count should be greater than 0"),
        ("LMPOP 1 a LEFT COUNT 1 COUNT 1", SYNTAX),
        ("LMPOP 1 a LEFT COUNT", SYNTAX),
        ("LMPOP 1 a LEFT WHAT 1", SYNTAX),
        ("SET s text", "+OK"),
        ("LMPOP 2 a s LEFT", WRONG_TYPE),
    ]);
}

#[test]
fn nulls_of_resp3() {
    let mut fixture = Fixture::new();
    fixture.protocol = Protocol::Resp3;
    fixture.script(&[
        ("LPOP l", "_"),
        ("LPOP l 1", "_"),
        ("LINDEX l 0", "_"),
        ("LPOS l x", "_"),
        ("LPOS l x COUNT 0", "*0"),
        ("LMPOP 1 l LEFT", "_"),
        ("LMOVE l l LEFT LEFT", "_"),
        ("OBJECT ENCODING l", "_"),
    ]);
}

#[test]
fn types_do_not_mix() {
    let mut fixture = Fixture::new();
    fixture.script(&[("SET s 1", "+OK"), ("RPUSH l 1", ":1"), ("TYPE l", "+list")]);
    for request in [
        "LPUSH s x",
        "RPUSH s x",
        "LPUSHX s x",
        "RPUSHX s x",
        "LPOP s",
        "LPOP s 1",
        "RPOP s 0",
        "LLEN s",
        "LRANGE s 0 1",
        "LINDEX s x",
        "LSET s x x",
        "LINSERT s BEFORE 1 x",
        "LREM s 0 x",
        "LTRIM s 0 1",
        "LPOS s x",
        "RPOPLPUSH s l",
        "RPOPLPUSH l s",
        "GET l",
        "GETSET l x",
        "GETDEL l",
        "APPEND l x",
        "STRLEN l",
        "INCR l",
        "DECRBY l 1",
        "SET l x GET",
    ] {
        assert_eq!(fixture.run(request), WRONG_TYPE, "{request}");
    }
    fixture.script(&[
        ("LRANGE l 0 -1", "*1 $1 1"),
        ("GET s", "$1 1"),
        ("MGET s l", "*2 $1 1 $-1"),
        ("SETNX l x", ":0"),
        ("SCAN 0 TYPE list COUNT 100", "*2 $1 0 *1 $1 l"),
        ("SCAN 0 TYPE string COUNT 100", "*2 $1 0 *1 $1 s"),
        ("SET l text", "+OK"),
        ("GET l", "$4 text"),
        ("DEL s", ":1"),
        ("RPUSH s x", ":1"),
        ("EXPIRE s 1", ":1"),
        ("RPUSH s y", ":2"),
        ("TTL s", ":1"),
        ("@1001", ""),
        ("RPUSH s z", ":1"),
        ("TTL s", ":-1"),
        ("MSET s 1 l 2", "+OK"),
        ("MGET s l", "*2 $1 1 $1 2"),
    ]);
}

#[test]
fn encodings_are_those_of_redis() {
    let mut fixture = Fixture::new();
    let element = "x".repeat(10);
    fixture.script(&[
        ("RPUSH l 1", ":1"),
        ("OBJECT ENCODING l", "$8 listpack"),
        ("SET s 123", "+OK"),
        ("OBJECT ENCODING s", "$3 int"),
        ("SET s 0123", "+OK"),
        ("object encoding s", "$6 embstr"),
        ("OBJECT ENCODING no", NIL),
        ("OBJECT ENCODING", "-ERR wrong number of arguments for 'object|encoding' command"),
        ("OBJECT", "-ERR wrong number of arguments for 'object' command"),
        ("OBJECT REFCOUNT l", ":1"),
    ]);
    assert_eq!(fixture.run(&format!("SET s {}", "x".repeat(45))), "+OK");
    assert_eq!(fixture.run("OBJECT ENCODING s"), "$3 raw");
    assert!(
        fixture.run("OBJECT HELP").starts_with("*11 +OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:")
    );
    let many = vec![&element[..]; 900].join(" ");
    assert_eq!(fixture.run(&format!("RPUSH l {many}")), ":901");
    fixture.script(&[
        ("OBJECT ENCODING l", "$9 quicklist"),
        ("LTRIM l 0 400", "+OK"),
        ("OBJECT ENCODING l", "$9 quicklist"),
        ("LTRIM l 0 300", "+OK"),
        ("OBJECT ENCODING l", "$8 listpack"),
    ]);
    fixture.limits.list_packed = PackedLimit::new(3);
    fixture.script(&[
        ("RPUSH m 1 2 3", ":3"),
        ("OBJECT ENCODING m", "$8 listpack"),
        ("LINSERT m BEFORE nope x", ":-1"),
        ("OBJECT ENCODING m", "$9 quicklist"),
        ("LPOP m", "$1 1"),
        ("OBJECT ENCODING m", "$9 quicklist"),
        ("LPOP m", "$1 2"),
        ("OBJECT ENCODING m", "$8 listpack"),
    ]);
}

#[test]
fn reads_count_as_hits_and_misses() {
    let mut fixture = Fixture::new();
    for request in ["RPUSH l 1", "LPOP no", "LSET l 0 2", "LMOVE l l LEFT LEFT", "LREM no 1 x", "LMPOP 1 no LEFT"] {
        fixture.run(request);
    }
    assert_eq!((fixture.keyspace.stats.hits, fixture.keyspace.stats.misses), (0, 0));
    for request in ["LLEN l", "LRANGE l 0 1", "LINDEX l x", "LPOS l 1", "OBJECT ENCODING l", "LLEN no", "LPOS no 1"] {
        fixture.run(request);
    }
    assert_eq!((fixture.keyspace.stats.hits, fixture.keyspace.stats.misses), (5, 2));
}

#[test]
fn large_lists_leave_their_memory_to_be_freed_by_and_by() {
    for last in [
        "DEL l",
        "UNLINK l",
        "SET l x",
        "LTRIM l 1 0",
        "LPOP l 100000000",
        "GETDEL l",
        "FLUSHALL",
        "MSET l x",
        "RPUSH l x",
    ] {
        let mut fixture = Fixture::new();
        let values: Vec<Vec<u8>> = (0..100_000).map(|number| format!("value:{number:06}").into_bytes()).collect();
        for values in values.chunks(1000) {
            let words: Vec<&[u8]> = [&b"RPUSH"[..], b"l"].into_iter().chain(values.iter().map(Vec::as_slice)).collect();
            assert_eq!(show(&fixture.run_words(&words)).as_bytes()[0], b':');
        }
        if last.starts_with("RPUSH") {
            assert_eq!(fixture.run("PEXPIRE l 1"), ":1");
            fixture.now.0 += 2;
        }
        let first = fixture.run(last);
        if last.starts_with("GETDEL") {
            assert_eq!(first, WRONG_TYPE);
            continue;
        }
        assert!(fixture.keyspace.db(0).bytes() < 20_000, "{last} leaves nothing that counts");
        let mut slices = 1;
        while fixture.keyspace.free_some(1) {
            slices += 1;
        }
        assert!((8..=300).contains(&slices), "{slices} slices of 16 chunks after {last}");
    }
}

#[test]
fn effects_are_what_was_changed() {
    Fixture::new().recording().effects_script(&[
        ("LPUSH l a b", ":2", "LPUSH l a b"),
        ("RPUSHX l c d e", ":5", "RPUSHX l c d e"),
        ("LPUSHX no x", ":0", ""),
        ("LPOP no", NIL, ""),
        ("LPOP l", "$1 b", "LPOP l"),
        ("RPOP l 0", "*0", ""),
        ("RPOP l 1", "*1 $1 e", "RPOP l 1"),
        ("LSET l 0 A", "+OK", "LSET l 0 A"),
        ("LSET l 9 A", "-ERR index out of range", ""),
        ("LSET no 9 A", "-ERR no such key", ""),
        ("LINSERT l BEFORE c B", ":4", "LINSERT l BEFORE c B"),
        ("LINSERT l BEFORE nope B", ":-1", ""),
        ("LREM l 0 nope", ":0", ""),
        ("LREM l 0 B", ":1", "LREM l 0 B"),
        ("LTRIM l 0 -1", "+OK", ""),
        ("LTRIM l 0 1", "+OK", "LTRIM l 0 1"),
        ("LTRIM no 0 1", "+OK", ""),
        ("LMPOP 2 no l RIGHT COUNT 9", "*2 $1 l *2 $1 c $1 A", "RPOP l 2"),
        ("LMPOP 2 no l RIGHT COUNT 9", "*-1", ""),
        ("RPUSH l 1 2 3", ":3", "RPUSH l 1 2 3"),
        ("LMOVE l l LEFT RIGHT", "$1 1", "LMOVE l l LEFT RIGHT"),
        ("RPOPLPUSH l m", "$1 1", "RPOPLPUSH l m"),
        ("RPOPLPUSH no m", NIL, ""),
        ("SET s x", "+OK", "SET s x"),
        ("RPOPLPUSH l s", WRONG_TYPE, ""),
        ("LPUSH s x", WRONG_TYPE, ""),
        ("LTRIM l 5 9", "+OK", "LTRIM l 5 9"),
        ("EXISTS l", ":0", ""),
        ("PEXPIRE m 1", ":1", "PEXPIREAT m 1700000000001"),
        ("@2", "", ""),
        ("RPUSH m x", ":1", "DEL m | RPUSH m x"),
    ]);
}

#[test]
fn elements_move_between_shards() {
    // Slots: a 15495, b 3300, c 7365, d 11298.
    Fixture::with_shards(&[8192]).recording().effects_script(&[
        ("RPUSH a 1 2 3", ":3", "1: RPUSH a 1 2 3"),
        ("LMOVE a b LEFT RIGHT", "$1 1", "0: RPUSH b 1 1: LPOP a"),
        ("RPOPLPUSH a b", "$1 3", "0: LPUSH b 3 1: RPOP a"),
        ("LMOVE b c RIGHT LEFT", "$1 1", "0: LMOVE b c RIGHT LEFT"),
        ("LMOVE a d LEFT LEFT", "$1 2", "1: LMOVE a d LEFT LEFT"),
        ("EXISTS a b c d", ":3", ""),
        ("SET a x", "+OK", "1: SET a x"),
        ("LMOVE b a LEFT LEFT", WRONG_TYPE, ""),
        ("LMOVE a b LEFT LEFT", WRONG_TYPE, ""),
        ("LLEN b", ":1", ""),
        ("LMPOP 3 foo d b LEFT COUNT 2", "*2 $1 d *1 $1 2", "1: LPOP d 1"),
        ("LMPOP 3 foo d b LEFT COUNT 2", "*2 $1 b *1 $1 3", "0: LPOP b 1"),
        ("LMPOP 3 foo d b LEFT COUNT 2", "*-1", ""),
        ("LMPOP 3 c a b LEFT", "*2 $1 c *1 $1 1", "0: LPOP c 1"),
        ("LMPOP 3 c a b LEFT", WRONG_TYPE, ""),
    ]);
}
