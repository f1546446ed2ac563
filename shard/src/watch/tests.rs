use super::*;
use crate::testing::NOW;
use crate::testing::gateway::Gateway;
use slotmesh_base::Monotonic;

/// Client 0 watches `watched`, client 1 does `between`; whether EXEC runs then. On 1 to 3 shards; `before` is done
/// first, then 10 ms pass.
fn is_whole(before: &[&str], watched: &str, between: &[&str]) -> bool {
    let on = |shards: u16| {
        let mut gateway = Gateway::new(shards, 2);
        before.iter().for_each(|command| assert_accepted(&gateway.say(1, command), command));
        gateway.pass(10);
        assert_eq!(gateway.ask(&format!("WATCH {watched}")), "+OK");
        between.iter().for_each(|command| assert_accepted(&gateway.say(1, command), command));
        let is_whole = executes(&mut gateway);
        gateway.assert_forgotten();
        is_whole
    };
    let all: Vec<bool> = (1..4).map(on).collect();
    assert!(all[1] == all[0] && all[2] == all[0], "{before:?} {watched} {between:?}: {all:?}");
    all[0]
}

fn assert_accepted(reply: &str, command: &str) {
    assert!(!reply.starts_with('-'), "{command}: {reply}");
}

/// Whether a transaction of client 0 runs.
fn executes(gateway: &mut Gateway) -> bool {
    assert_eq!(gateway.ask("MULTI"), "+OK");
    match gateway.ask("EXEC").as_str() {
        "*0" => true,
        "*-1" => false,
        other => panic!("{other}"),
    }
}

#[test]
fn what_changes_a_key_breaks_the_watch() {
    let list: &[&str] = &["RPUSH a 1 2 3"];
    let string: &[&str] = &["SET a 1"];
    let mortal: &[&str] = &["SET a 1 PX 1000"];
    let pair: &[&str] = &["SET a 1", "SET b 1"];
    for (before, between) in [
        (&[][..], "SET a 1"),
        (string, "SET a 1"),
        (string, "SET a 2 KEEPTTL"),
        (string, "APPEND a 1"),
        (string, "APPEND a "),
        (string, "INCR a"),
        (string, "DEL a"),
        (string, "UNLINK x a"),
        (string, "GETDEL a"),
        (string, "GETSET a 1"),
        (string, "EXPIRE a 100"),
        (mortal, "EXPIRE a 100"),
        (mortal, "PERSIST a"),
        (mortal, "EXPIRE a -1"),
        (string, "RENAME a b"),
        (pair, "RENAME b a"),
        (pair, "COPY b a REPLACE"),
        (string, "MOVE a 1"),
        (&[], "RPUSH a x"),
        (list, "RPUSH a 4"),
        (list, "LPUSHX a 0"),
        (list, "LPOP a"),
        (list, "LPOP a 3"),
        (list, "LREM a 0 2"),
        (list, "LSET a 0 1"),
        (list, "LINSERT a BEFORE 1 0"),
        (list, "LTRIM a 0 1"),
        (list, "LTRIM a 0 -1"),
        (list, "LTRIM a 5 9"),
        (&["RPUSH a 1"], "LMOVE a a LEFT LEFT"),
        (list, "LMOVE a a LEFT RIGHT"),
        (list, "LMOVE a b LEFT RIGHT"),
        (&["RPUSH b 1"], "RPOPLPUSH b a"),
        (list, "LMPOP 2 b a LEFT"),
        (list, "BLPOP b a 0"),
        (list, "BLMOVE a b LEFT LEFT 0"),
        (&[], "MSET b 1 a 1"),
        (&[], "MSETNX b 1 a 1"),
        (string, "FLUSHALL"),
        (string, "FLUSHDB"),
        (string, "SWAPDB 0 1"),
        (string, "SWAPDB 1 0"),
    ] {
        assert!(!is_whole(before, "a", &[between]), "{before:?} {between}");
        assert!(!is_whole(before, "x y a z", &[between]), "{before:?} {between}, one of several");
    }
}

#[test]
fn what_changes_nothing_breaks_no_watch() {
    let list: &[&str] = &["RPUSH a 1 2 3"];
    let string: &[&str] = &["SET a 1"];
    for (before, between) in [
        (&[][..], "PING"),
        (&[], "SET b 1"),
        (&[], "SET {a}b 1"),
        (&[], "DEL a"),
        (&[], "SET a 1 XX"),
        (string, "SET a 1 NX"),
        (string, "SETNX a 1"),
        (string, "GET a"),
        (string, "PERSIST a"),
        (string, "EXPIRE a 100 GT"),
        (string, "MSETNX b 1 a 1"),
        (&["SET a 1", "SET b 1"], "RENAMENX b a"),
        (&["SET a 1", "SET b 1"], "COPY b a"),
        (string, "COPY a b"),
        (string, "COPY a a DB 1"),
        (&[], "LPOP a"),
        (&[], "RPUSHX a 1"),
        (list, "LREM a 0 nothing"),
        (list, "LRANGE a 0 -1"),
        (list, "LINSERT a BEFORE nothing 0"),
        (list, "LPOP a 0"),
        (list, "RENAME a a"),
        (&[], "LMOVE a b LEFT LEFT"),
        (&[], "FLUSHALL"),
        (&["SET b 1"], "FLUSHALL"),
        (&["SET {a}b 1"], "FLUSHDB"),
        (string, "SWAPDB 1 2"),
        (string, "SWAPDB 0 0"),
        (&["SET {a}b 1"], "SWAPDB 0 1"),
    ] {
        assert!(is_whole(before, "a", &[between]), "{before:?} {between}");
    }
}

#[test]
fn a_key_of_another_database_is_another_key() {
    assert!(is_whole(&["SET a 1"], "a", &["SELECT 1", "SET a 2", "FLUSHDB", "SWAPDB 2 1"]));
    assert!(!is_whole(&["SET a 1"], "a", &["SELECT 1", "SET a 2", "SWAPDB 0 1"]), "it has another's value");
    assert!(!is_whole(&[], "a", &["SELECT 1", "SET a 2", "SWAPDB 0 1"]), "there is one now");
    assert!(!is_whole(&["SELECT 1", "SET a 2"], "a", &["SWAPDB 1 0"]), "there is one now");
    assert!(!is_whole(&["SELECT 1", "SET a 2"], "a", &["COPY a a DB 0"]));
    assert!(!is_whole(&["SELECT 1", "SET a 2"], "a", &["MOVE a 0"]));
    assert!(!is_whole(&["SELECT 1", "SET a 2"], "a", &["FLUSHALL", "SELECT 0", "SET a 1"]));
    // The watch stays with the number of the database.
    assert!(!is_whole(&[], "a", &["SWAPDB 0 1", "SET a 1"]));
    assert!(is_whole(&[], "a", &["SWAPDB 0 1", "SELECT 1", "SET a 1"]));
}

#[test]
fn a_key_that_expires_breaks_the_watch_however_it_goes() {
    for noticed_by in ["", "GET a", "DEL a", "housekeeping", "SET a 1", "PERSIST a", "FLUSHALL", "SWAPDB 0 1"] {
        let mut gateway = Gateway::new(2, 2);
        assert_eq!(gateway.say(1, "SET a 1 PX 20"), "+OK");
        assert_eq!(gateway.ask("WATCH a"), "+OK");
        gateway.pass(20);
        assert_eq!(gateway.say(1, "GET a"), "$1 1", "not yet");
        gateway.pass(1);
        match noticed_by {
            "" => {}
            "housekeeping" => housekeep(&mut gateway),
            command => assert_accepted(&gateway.say(1, command), command),
        }
        assert!(!executes(&mut gateway), "{noticed_by}");
        gateway.assert_forgotten();
    }
}

fn housekeep(gateway: &mut Gateway) {
    for shard in &mut gateway.shards.shards {
        shard.housekeep(gateway.shards.now, Monotonic(1_000_000_000), 10);
    }
}

#[test]
fn a_key_that_had_expired_when_it_was_watched_may_go() {
    let expired: &[&str] = &["SET a 1 PX 5"];
    for between in [&[][..], &["GET a"], &["DEL a"], &["PERSIST a"], &["FLUSHALL"], &["FLUSHDB"], &["SWAPDB 0 1"]] {
        assert!(is_whole(expired, "a", between), "{between:?}");
        // It goes but once.
        assert!(
            !is_whole(expired, "a", &[between, &["SELECT 0", "SET a 1"]].concat()),
            "{between:?}, and another comes"
        );
    }
    assert!(is_whole(expired, "a", &["SWAPDB 0 1", "SWAPDB 0 1", "GET a"]), "it has come back, and gone");
    for between in ["SET a 1", "APPEND a 1", "INCR a", "MSET b 1 a 1", "RPUSH a 1"] {
        assert!(!is_whole(expired, "a", &[between]), "{between}");
    }
    assert!(!is_whole(&["SET a 1 PX 5", "SET b 1"], "a", &["RENAME b a"]));
    let mut gateway = Gateway::new(1, 2);
    assert_eq!((gateway.say(1, "SET a 1 PX 5"), gateway.pass(6)), ("+OK".to_owned(), ()));
    assert_eq!(gateway.ask("WATCH a"), "+OK");
    housekeep(&mut gateway);
    assert!(executes(&mut gateway));
    gateway.assert_forgotten();
}

#[test]
fn a_swap_may_bring_a_key_that_had_expired() {
    let elsewhere: &[&str] = &["SELECT 1", "SET a 1 PX 5"];
    // Nothing was there, and nothing is.
    assert!(is_whole(elsewhere, "a", &["SWAPDB 0 1"]));
    assert!(is_whole(elsewhere, "a", &["SWAPDB 0 1", "SELECT 0", "GET a"]));
    assert!(!is_whole(elsewhere, "a", &["SWAPDB 0 1", "SELECT 0", "SET a 1"]));
    // What was there had expired too.
    let both: &[&str] = &["SET a 1 PX 5", "SELECT 1", "SET a 1 PX 5"];
    assert!(is_whole(both, "a", &["SWAPDB 0 1"]));
    assert!(is_whole(both, "a", &["SWAPDB 0 1", "SELECT 0", "GET a"]));
    assert!(!is_whole(&["SET a 1", "SELECT 1", "SET a 1 PX 5"], "a", &["SWAPDB 0 1"]), "it is no more");
    assert!(!is_whole(&["SET a 1 PX 5", "SELECT 1", "SET a 1"], "a", &["SWAPDB 0 1"]), "now there is one");
}

#[test]
fn a_key_watched_twice_is_as_it_was_at_first() {
    let mut gateway = Gateway::new(2, 2);
    assert_eq!(gateway.say(1, "SET a 1 PX 5"), "+OK");
    gateway.expect(&[("WATCH a a", "+OK"), ("WATCH a", "+OK")]);
    gateway.pass(6);
    assert_eq!(gateway.ask("WATCH a"), "+OK");
    assert!(!executes(&mut gateway));
    gateway.assert_forgotten();
    gateway.expect(&[("WATCH a b", "+OK"), ("SELECT 1", "+OK"), ("WATCH a b b", "+OK"), ("UNWATCH", "+OK")]);
    gateway.assert_forgotten();
}

#[test]
fn own_writes_count_until_exec() {
    let mut gateway = Gateway::new(2, 1);
    gateway.expect(&[("WATCH a", "+OK"), ("SET a 1", "+OK"), ("MULTI", "+OK"), ("EXEC", "*-1")]);
    gateway.expect(&[("WATCH a", "+OK"), ("MULTI", "+OK"), ("SET a 1", "+QUEUED"), ("EXEC", "*1 +OK")]);
    gateway.expect(&[("MULTI", "+OK"), ("SET a 1", "+QUEUED"), ("EXEC", "*1 +OK")]);
}

#[test]
fn each_watcher_is_told_on_its_own() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 4);
        for (who, keys) in [(1, "a b"), (2, "b c"), (3, "c")] {
            assert_eq!(gateway.say(who, &format!("WATCH {keys}")), "+OK");
        }
        gateway.expect(&[("SET a 1", "+OK"), ("SET b 1", "+OK")]);
        assert_eq!(gateway.say(2, "UNWATCH"), "+OK");
        assert_eq!(gateway.say(2, "WATCH b"), "+OK");
        for (who, reply) in [(1, "*-1"), (2, "*0"), (3, "*0")] {
            assert_eq!((gateway.say(who, "MULTI"), gateway.say(who, "EXEC")), ("+OK".into(), reply.into()), "{who}");
        }
        gateway.assert_forgotten();
    }
}

#[test]
fn what_transactions_and_waiters_write_breaks_watches() {
    let mut gateway = Gateway::new(3, 3);
    assert_eq!((gateway.say(1, "MULTI"), gateway.say(1, "SET a 1")), ("+OK".into(), "+QUEUED".into()));
    gateway.expect(&[("WATCH a b", "+OK")]);
    assert_eq!(gateway.say(1, "EXEC"), "*1 +OK");
    assert!(!executes(&mut gateway));
    // a lies on shard 2, b on shard 0: the waiter takes both.
    assert_eq!(gateway.say(1, "BLMOVE list b LEFT LEFT 0"), "");
    gateway.expect(&[("WATCH b", "+OK")]);
    assert_eq!(gateway.say(2, "RPUSH list x"), ":1");
    assert!(!executes(&mut gateway));
    gateway.assert_forgotten();
}

#[test]
fn the_end_of_a_span_may_come_late() {
    let mut gateway = Gateway::new(1, 0);
    let shard = &mut gateway.shards.shards[0];
    let keys = |names: &'static [&str]| names.iter().map(|name| name.as_bytes());
    let span = |span| Watcher { client: 7, span };
    shard.watch(span(0), 0, keys(&["a", "b"]), NOW);
    shard.watch(span(1), 0, keys(&["b", "c"]), NOW);
    assert!(shard.unwatch(span(0), NOW), "the first ends when the second has begun");
    assert!(shard.unwatch(span(0), NOW), "and is forgotten");
    let key = shard.hasher.key(b"b");
    shard.keyspace.db(0).set_string(&key, b"", slotmesh_keyspace::Expiry::Never);
    shard.note_command();
    assert!(!shard.unwatch(span(1), NOW));
    gateway.assert_forgotten();
}

#[test]
fn spans_are_counted_by_those_that_watch() {
    let mut client = crate::Client::new(1, NOW);
    assert_eq!((client.end_watch(), client.watcher().span), (vec![], 0));
    [2, 0, 2].iter().for_each(|&core| client.watches_on(core));
    assert_eq!((client.end_watch(), client.watcher().span), (vec![0, 2], 1));
    client.watch_span = u32::MAX;
    client.watches_on(0);
    assert_eq!((client.end_watch(), client.watcher().span), (vec![0], 0));
}
