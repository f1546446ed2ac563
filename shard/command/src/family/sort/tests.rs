//! Each script of replies was run against redis-server 7.0.15 as well.

use crate::family::testing::{Fixture, show};
use slotmesh_base::Rng;

const SYNTAX: &str = "-ERR syntax error";
const NOT_AN_INTEGER: &str = "-ERR value is not an integer or out of range";
const NOT_NUMBERS: &str = "-ERR One or more scores can't be converted into double";
const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn numbers_and_texts_have_an_order_each() {
    Fixture::new().script(&[
        ("RPUSH l 10 9 -1 2.5 1e1 0x8 007 inf -INF", ":9"),
        ("SORT l", "*9 $4 -INF $2 -1 $3 2.5 $3 007 $3 0x8 $1 9 $2 10 $3 1e1 $3 inf"),
        ("SORT l ASC", "*9 $4 -INF $2 -1 $3 2.5 $3 007 $3 0x8 $1 9 $2 10 $3 1e1 $3 inf"),
        ("sort l desc", "*9 $3 inf $3 1e1 $2 10 $1 9 $3 0x8 $3 007 $3 2.5 $2 -1 $4 -INF"),
        ("SORT l DESC ASC LIMIT 0 2", "*2 $4 -INF $2 -1"),
        ("SORT l ALPHA", "*9 $2 -1 $4 -INF $3 007 $3 0x8 $2 10 $3 1e1 $3 2.5 $1 9 $3 inf"),
        ("SORT l ALPHA DESC LIMIT 0 3", "*3 $3 inf $1 9 $3 2.5"),
        ("SORT_RO l ALPHA DESC LIMIT 0 3", "*3 $3 inf $1 9 $3 2.5"),
        ("RPUSH z 0 -0 0.0 -0.0", ":4"),
        ("SORT z", "*4 $2 -0 $4 -0.0 $1 0 $3 0.0"),
        ("RPUSH t prefix prefix-1 prefix-10 prefix-9 pre", ":5"),
        ("SORT t ALPHA", "*5 $3 pre $6 prefix $8 prefix-1 $9 prefix-10 $8 prefix-9"),
        ("SORT nosuch", "*0"),
        ("SORT t", NOT_NUMBERS),
        ("SORT t LIMIT 0 0", NOT_NUMBERS),
        ("RPUSH x 1 nan", ":2"),
        ("SORT x", NOT_NUMBERS),
        ("SET s 1", "+OK"),
        ("SORT s", WRONG_TYPE),
        ("SORT s BY nosort", WRONG_TYPE),
    ]);
}

#[test]
fn limits_take_a_part_of_the_order() {
    Fixture::new().script(&[
        ("RPUSH l 5 3 1 4 2", ":5"),
        ("SORT l LIMIT 0 2", "*2 $1 1 $1 2"),
        ("SORT l LIMIT 3 2", "*2 $1 4 $1 5"),
        ("SORT l LIMIT 3 20", "*2 $1 4 $1 5"),
        ("SORT l LIMIT 1 -1", "*4 $1 2 $1 3 $1 4 $1 5"),
        ("SORT l LIMIT -5 2", "*2 $1 1 $1 2"),
        ("SORT l LIMIT 5 2", "*0"),
        ("SORT l LIMIT 9223372036854775807 9223372036854775807", "*0"),
        ("SORT l LIMIT 2 9223372036854775807", "*3 $1 3 $1 4 $1 5"),
        ("SORT l LIMIT 2 0", "*0"),
        ("SORT l DESC LIMIT 1 2", "*2 $1 4 $1 3"),
        ("SORT l BY nosort LIMIT 1 2", "*2 $1 3 $1 1"),
        ("SORT l BY nosort DESC LIMIT 1 2", "*2 $1 4 $1 1"),
        ("SORT l BY nosort DESC", "*5 $1 2 $1 4 $1 1 $1 3 $1 5"),
        ("SORT l BY nosort LIMIT 4 9", "*1 $1 2"),
        ("SORT l BY nosort LIMIT 5 9", "*0"),
        ("SORT l BY nosort DESC LIMIT 4 9", "*1 $1 5"),
        ("SORT l LIMIT 0 1 LIMIT 1 1", "*1 $1 2"),
    ]);
}

#[test]
fn weights_come_from_other_keys() {
    Fixture::new().script(&[
        ("RPUSH l a b c d", ":4"),
        ("MSET w_a 3 w_b 1 w_c 2 n_a Ann n_b Bob n_c Cid", "+OK"),
        ("SORT l BY w_*", "*4 $1 d $1 b $1 c $1 a"),
        ("SORT l BY w_* DESC", "*4 $1 a $1 c $1 b $1 d"),
        ("SORT l BY w_* LIMIT 1 2", "*2 $1 b $1 c"),
        ("SORT l BY w_* GET n_*", "*4 $-1 $3 Bob $3 Cid $3 Ann"),
        ("SORT l BY w_* GET # GET n_* GET nosuch", "*12 $1 d $-1 $-1 $1 b $3 Bob $-1 $1 c $3 Cid $-1 $1 a $3 Ann $-1"),
        ("SORT l BY n_* ALPHA DESC", "*4 $1 c $1 b $1 a $1 d"),
        ("SORT l BY n_*", NOT_NUMBERS),
        ("SORT l BY # GET #", "*4 $1 a $1 b $1 c $1 d"),
        ("SORT l BY n_* ALPHA BY nosort DESC", "*4 $1 d $1 c $1 b $1 a"),
        ("SORT l BY nosort BY n_* ALPHA DESC", "*4 $1 d $1 c $1 b $1 a"),
        ("SORT l BY h_*->f GET n_*->f", "*4 $-1 $-1 $-1 $-1"),
        ("SORT l ALPHA GET n_*->", "*4 $-1 $-1 $-1 $-1"),
        ("SET x_a->y_-> arrow", "+OK"),
        ("SORT l ALPHA LIMIT 0 1 GET x_*->y_->", "*1 $-1"),
        ("SET a-> arrow", "+OK"),
        ("SORT l ALPHA LIMIT 0 1 GET *->", "*1 $5 arrow"),
        ("SET n_a* star", "+OK"),
        ("SORT l ALPHA LIMIT 0 1 GET n_**", "*1 $4 star"),
        ("RPUSH n_d x", ":1"),
        ("SORT l BY n_* ALPHA GET n_*", "*4 $-1 $3 Ann $3 Bob $3 Cid"),
        ("SET w_d ", "+OK"),
        ("SORT l BY w_*", "*4 $1 d $1 b $1 c $1 a"),
        ("SET w_d -0.5", "+OK"),
        ("EXPIRE w_d 1", ":1"),
        ("SORT l BY w_* DESC", "*4 $1 a $1 c $1 b $1 d"),
        ("@1001", ""),
        ("SORT l BY w_* DESC GET w_*", "*4 $1 3 $1 2 $1 1 $-1"),
    ]);
}

#[test]
fn what_weighs_the_same_is_ordered_by_itself_or_stays() {
    Fixture::new().script(&[
        ("RPUSH l c a b c a", ":5"),
        ("SORT l BY nosuch_*", "*5 $1 a $1 a $1 b $1 c $1 c"),
        ("SORT l BY nosuch_* DESC", "*5 $1 c $1 c $1 b $1 a $1 a"),
        ("SORT l BY nosuch_* ALPHA", "*5 $1 c $1 a $1 b $1 c $1 a"),
        ("SORT l BY nosuch_* ALPHA DESC", "*5 $1 c $1 a $1 b $1 c $1 a"),
    ]);
}

#[test]
fn results_are_stored_as_a_list() {
    Fixture::new().script(&[
        ("RPUSH l 3 1 2", ":3"),
        ("SET t old EX 100", "+OK"),
        ("SORT l STORE t", ":3"),
        ("LRANGE t 0 -1", "*3 $1 1 $1 2 $1 3"),
        ("TTL t", ":-1"),
        ("SORT l DESC STORE l", ":3"),
        ("LRANGE l 0 -1", "*3 $1 3 $1 2 $1 1"),
        ("SET n_1 one", "+OK"),
        ("SORT l GET n_* GET # STORE t", ":6"),
        ("LRANGE t 0 -1", "*6 $3 one $1 1 $0  $1 2 $0  $1 3"),
        ("SORT l STORE t STORE u", ":3"),
        ("LLEN t", ":6"),
        ("LLEN u", ":3"),
        ("SORT l LIMIT 3 1 STORE t", ":0"),
        ("EXISTS t", ":0"),
        ("SORT nosuch STORE u", ":0"),
        ("EXISTS u", ":0"),
        ("SORT nosuch STORE u", ":0"),
        ("RPUSH x a", ":1"),
        ("SET t kept", "+OK"),
        ("SORT x STORE t", NOT_NUMBERS),
        ("SORT t STORE x", WRONG_TYPE),
        ("GET t", "$4 kept"),
        ("SORT l STORE by", ":3"),
        ("LLEN by", ":3"),
    ]);
}

#[test]
fn options_are_read_in_order_and_the_first_mistake_counts() {
    Fixture::new().script(&[
        ("RPUSH l 1", ":1"),
        ("SORT l LIMIT 1", SYNTAX),
        ("SORT l LIMIT x 1", NOT_AN_INTEGER),
        ("SORT l LIMIT 1 x", NOT_AN_INTEGER),
        ("SORT l LIMIT 1 x JUNK", NOT_AN_INTEGER),
        ("SORT l JUNK LIMIT x x", SYNTAX),
        ("SORT l BY", SYNTAX),
        ("SORT l GET", SYNTAX),
        ("SORT l STORE", SYNTAX),
        ("SORT_RO l STORE t", SYNTAX),
        ("SORT l ASC DESC ALPHA JUNK", SYNTAX),
        ("SET s x", "+OK"),
        ("SORT s JUNK", SYNTAX),
        ("SORT", "-ERR wrong number of arguments for 'sort' command"),
        ("SORT_RO", "-ERR wrong number of arguments for 'sort_ro' command"),
    ]);
}

#[test]
fn a_node_of_a_cluster_reads_no_keys_that_are_not_named() {
    let mut fixture = Fixture::new();
    fixture.is_node = true;
    fixture.script(&[
        ("RPUSH l 2 1", ":2"),
        ("SORT l BY nosort", "*2 $1 2 $1 1"),
        ("SORT l BY w_* JUNK", "-ERR BY option of SORT denied in Cluster mode."),
        ("SORT l GET # JUNK", "-ERR GET option of SORT denied in Cluster mode."),
        ("SORT l JUNK BY w_*", SYNTAX),
        ("SORT l GET", SYNTAX),
        ("SORT l STORE {l}t", ":2"),
    ]);
}

#[test]
fn keys_of_several_shards_are_read_and_written() {
    let mut fixture = Fixture::with_shards(&[4000, 8192, 12_000]);
    let numbers: Vec<String> = (0..100).map(|number| (number * 37 % 100).to_string()).collect();
    fixture.run(&format!("RPUSH {{x}}l {}", numbers.join(" ")));
    (0..100).for_each(|number| drop(fixture.run(&format!("SET w_{number} {}", 99 - number))));
    (0..100).for_each(|number| drop(fixture.run(&format!("SET {number}_n name-{number}"))));
    assert_eq!(fixture.run("SORT {x}l BY w_* LIMIT 0 3"), "*3 $2 99 $2 98 $2 97");
    assert_eq!(fixture.run("SORT {x}l LIMIT 7 2 GET *_n"), "*2 $6 name-7 $6 name-8");
    assert_eq!(fixture.run("SORT {x}l BY w_* GET *_n STORE t"), ":100");
    assert_eq!(fixture.run("LRANGE t -2 -1"), "*2 $6 name-1 $6 name-0");
}

#[test]
fn zero_bytes_end_patterns_numbers_and_what_is_shown_in_order() {
    let mut fixture = Fixture::new();
    let mut run = |words: &[&[u8]]| show(&fixture.run_words(words));
    run(&[b"RPUSH", b"l", b"2\0x", b"1\0y"]);
    run(&[b"SET", b"w_1\0y", b"one"]);
    assert_eq!(run(&[b"SORT", b"l"]), "*2 $3 1\0y $3 2\0x");
    assert_eq!(run(&[b"SORT", b"l", b"GET", b"w_*"]), "*2 $3 one $-1");
    assert_eq!(run(&[b"SORT", b"l", b"GET", b"w\0*"]), "*2 $-1 $-1");
    assert_eq!(run(&[b"SORT", b"l", b"GET", b"#\0w"]), "*2 $3 1\0y $3 2\0x");
    assert_eq!(run(&[b"SORT", b"l", b"BY", b"\0*"]), "*2 $3 2\0x $3 1\0y");
    run(&[b"RPUSH", b"m", b"a\0c", b"a\0b"]);
    assert_eq!(run(&[b"SORT", b"m", b"ALPHA"]), "*2 $3 a\0c $3 a\0b");
    assert_eq!(run(&[b"SORT", b"m", b"ALPHA", b"STORE", b"n"]), ":2");
    assert_eq!(run(&[b"LRANGE", b"n", b"0", b"-1"]), "*2 $3 a\0b $3 a\0c");
}

#[test]
fn effects_are_what_came_out() {
    Fixture::new().recording().effects_script(&[
        ("RPUSH l 2 1", ":2", "RPUSH l 2 1"),
        ("SORT l", "*2 $1 1 $1 2", ""),
        ("SORT l STORE t", ":2", "DEL t | RPUSH t 1 2"),
        ("SORT nosuch STORE t", ":0", "DEL t"),
        ("SORT nosuch STORE t", ":0", ""),
    ]);
}

#[test]
fn reads_of_patterns_count_as_reads() {
    let mut fixture = Fixture::new();
    fixture.run("RPUSH l 1 2");
    fixture.run("MSET w_1 1 n_2 x");
    fixture.run("SORT l BY w_* GET n_* GET #");
    let stats = fixture.keyspace.stats;
    assert_eq!((stats.hits, stats.misses), (3, 2));
}

/// What a limit shows is a part of what is shown without.
#[test]
fn parts_fit_together_whatever_they_are() {
    let (mut fixture, mut chance) = (Fixture::new(), Rng::new(5));
    for _ in 0..300 {
        fixture.run("DEL l");
        let len = 1 + chance.below(60);
        for _ in 0..len {
            fixture.run(&format!("RPUSH l {}", chance.below(20)));
        }
        let options = ["", " ALPHA", " DESC", " BY w_* ALPHA", " BY w_*", " BY nosort DESC"];
        let request = format!("SORT l{}", options[chance.below(6) as usize]);
        fixture.run(&format!("SET w_{} {}", chance.below(20), chance.below(3)));
        let (start, count) = (chance.below(len) as usize, 1 + chance.below(len) as usize);
        let elements = |reply: String| reply.split(' ').skip(2).step_by(2).map(str::to_owned).collect::<Vec<_>>();
        let all = elements(fixture.run(&request));
        let part = elements(fixture.run(&format!("{request} LIMIT {start} {count}")));
        assert_eq!(part, all[start..all.len().min(start + count)], "{request} LIMIT {start} {count}");
    }
}
