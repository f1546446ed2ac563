use super::*;
use crate::SlotMap;
use crate::testing::{Request, Shards};
use proptest::prelude::*;
use slotmesh_command::find;
use std::collections::{BTreeMap, BTreeSet};

fn spec(name: &str) -> &'static Spec {
    find(name.as_bytes()).unwrap()
}

/// The joined reply of a command that went everywhere.
fn joined(name: &str, protocol: Protocol, chance: u64, replies: &[&str]) -> String {
    finished(Gather::everywhere(spec(name), replies.len(), protocol, chance), replies)
}

fn finished(mut gather: Gather, replies: &[&str]) -> String {
    for (index, reply) in replies.iter().enumerate() {
        assert_eq!(gather.add(index, reply.as_bytes()), index + 1 == replies.len());
    }
    let mut out = Vec::new();
    gather.finish(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn parts_hold_what_belongs_to_their_keys() {
    // Slots: foo 12182, bar 5061.
    let map = SlotMap::even(2);
    let parts = |text: &str| {
        let request = Request::words(text);
        let parts = split(request.spec().unwrap(), request.args(), |slot| map.owner(slot));
        parts.into_iter().map(|part| (part.home, part.arguments)).collect::<Vec<_>>()
    };
    assert_eq!(parts("DEL foo bar {foo}x bar"), [(1, vec![1, 3]), (0, vec![2, 4])]);
    assert_eq!(parts("MSET bar foo foo bar bar x"), [(0, vec![1, 2, 5, 6]), (1, vec![3, 4])]);
}

#[test]
fn replies_are_joined_by_the_policy_of_the_row() {
    let r2 = Protocol::Resp2;
    let table: &[(&str, &[&str], &str)] = &[
        ("dbsize", &[":2\r\n", ":0\r\n", ":40\r\n"], ":42\r\n"),
        ("flushall", &["+OK\r\n", "+OK\r\n"], "+OK\r\n"),
        (
            "keys",
            &["*0\r\n", "*1\r\n$1\r\na\r\n", "*2\r\n$1\r\nb\r\n$0\r\n\r\n"],
            "*3\r\n$1\r\na\r\n$1\r\nb\r\n$0\r\n\r\n",
        ),
        ("keys", &["*0\r\n", "*0\r\n"], "*0\r\n"),
        // An error is the reply of the whole, under every policy; the first one in the order of the shards.
        ("dbsize", &[":2\r\n", "-ERR one\r\n", "-ERR two\r\n"], "-ERR one\r\n"),
        ("flushall", &["+OK\r\n", "-ERR one\r\n"], "-ERR one\r\n"),
        ("keys", &["-ERR one\r\n", "*0\r\n"], "-ERR one\r\n"),
        ("randomkey", &["*2\r\n:1\r\n$1\r\na\r\n", "-ERR one\r\n"], "-ERR one\r\n"),
    ];
    for (name, replies, expected) in table {
        assert_eq!(joined(name, r2, 0, replies), *expected, "{name} {replies:?}");
    }
}

#[test]
fn a_random_key_is_as_likely_as_any_other() {
    let shares = ["*2\r\n:1\r\n$1\r\na\r\n", "*2\r\n:0\r\n$-1\r\n", "*2\r\n:3\r\n$1\r\nb\r\n"];
    let mut counts = BTreeMap::new();
    for step in 0..1000u64 {
        // The middle of each thousandth of all chances.
        let chance = (2 * step + 1) * (u64::MAX / 2000);
        *counts.entry(joined("randomkey", Protocol::Resp2, chance, &shares)).or_insert(0) += 1;
    }
    assert_eq!(counts, BTreeMap::from([("$1\r\na\r\n".to_owned(), 250), ("$1\r\nb\r\n".to_owned(), 750)]));
    assert_eq!(joined("randomkey", Protocol::Resp2, u64::MAX, &shares), "$1\r\nb\r\n");
}

#[test]
fn no_keys_have_no_random_key() {
    assert_eq!(joined("randomkey", Protocol::Resp2, 9, &["*2\r\n:0\r\n$-1\r\n"; 2]), "$-1\r\n");
    assert_eq!(joined("randomkey", Protocol::Resp3, 9, &["*2\r\n:0\r\n_\r\n"; 2]), "_\r\n");
    // A share whose only keys turned out to have expired has no key to give.
    assert_eq!(
        joined("randomkey", Protocol::Resp3, 0, &["*2\r\n:5\r\n_\r\n", "*2\r\n:1\r\n$1\r\na\r\n"]),
        "$1\r\na\r\n"
    );
}

#[test]
fn texts_become_one_text() {
    let parts = ["$5\r\none\r\n\r\n", "$0\r\n\r\n", "$3\r\ntwo\r\n"];
    let texts = |protocol| finished(Gather::texts(3, protocol), &parts);
    assert_eq!(texts(Protocol::Resp2), "$8\r\none\r\ntwo\r\n");
    assert_eq!(texts(Protocol::Resp3), "=12\r\ntxt:one\r\ntwo\r\n");
    let verbatim = ["=7\r\ntxt:one\r\n", "=5\r\ntxt:2\r\n"];
    assert_eq!(finished(Gather::texts(2, Protocol::Resp3), &verbatim), "=8\r\ntxt:one2\r\n");
}

#[test]
fn an_odd_mset_changes_nothing_anywhere() {
    let mut shards = Shards::new(3);
    assert_eq!(shards.say("MSET foo 1 bar 2 hello"), "-ERR wrong number of arguments for 'mset' command\r\n");
    assert_eq!(shards.say("DBSIZE"), ":0\r\n");
}

#[test]
fn a_scan_over_shards_sees_each_key_once() {
    for (shards, keys) in [(1, 300), (3, 300), (3, 2), (16, 40), (3, 0)] {
        let mut shards = Shards::new(shards);
        let names: BTreeSet<String> = (0..keys).map(|index| format!("key:{index}")).collect();
        for name in &names {
            shards.say(&format!("SET {name} v"));
        }
        let mut seen = Vec::new();
        let mut cursor = "0".to_owned();
        for calls in 0.. {
            assert!(calls < 10_000, "the scan does not end");
            let reply = shards.say(&format!("SCAN {cursor} COUNT 7"));
            let mut lines = reply.split("\r\n");
            assert_eq!(lines.next(), Some("*2"));
            cursor = lines.nth(1).unwrap().to_owned();
            seen.extend(lines.skip(1).filter(|line| line.starts_with("key:")).map(str::to_owned));
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), names.len(), "no key twice");
        assert_eq!(BTreeSet::from_iter(seen), names);
    }
}

/// A request on keys out of few, so that they meet again; values and counts as they come.
fn request() -> impl Strategy<Value = Vec<String>> {
    let key = || {
        (0..40u8, 0..3u8)
            .prop_map(|(key, tag)| if tag == 0 { format!("{{t{}}}:{key}", key % 4) } else { format!("k{key}") })
    };
    let many = |name: &'static str| {
        prop::collection::vec(key(), 1..12)
            .prop_map(move |keys| std::iter::once(name.to_owned()).chain(keys).collect::<Vec<_>>())
    };
    let pairs = prop::collection::vec((key(), "[a-z]{0,40}"), 1..12).prop_map(|pairs| {
        let words = pairs.into_iter().flat_map(|(key, value)| [key, value]);
        std::iter::once("MSET".to_owned()).chain(words).collect::<Vec<_>>()
    });
    prop_oneof![
        4 => pairs,
        3 => many("MGET"),
        2 => many("DEL"),
        1 => many("UNLINK"),
        1 => many("EXISTS"),
        1 => many("TOUCH"),
        1 => Just(vec!["DBSIZE".to_owned()]),
        1 => prop_oneof![Just("*"), Just("k1*"), Just("{t?}*")].prop_map(|p| vec!["KEYS".to_owned(), p.to_owned()]),
    ]
}

/// A reply, the elements of KEYS sorted: Redis promises no order.
fn comparable(request: &[String], reply: Vec<u8>) -> Vec<Vec<u8>> {
    if request[0] != "KEYS" {
        return vec![reply];
    }
    let mut keys: Vec<Vec<u8>> = elements(&reply).unwrap().map(<[u8]>::to_vec).collect();
    keys.sort();
    keys
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever the number of shards, a client sees one store.
    #[test]
    fn many_shards_answer_as_one(
        count in 2u16..20,
        resp3: bool,
        requests in prop::collection::vec(request(), 1..40),
    ) {
        let protocol = if resp3 { Protocol::Resp3 } else { Protocol::Resp2 };
        let (mut many, mut one) = (Shards::new(count), Shards::new(1));
        for words in &requests {
            let request = Request::new(words);
            let (left, right) = (many.run(&request, protocol), one.run(&request, protocol));
            prop_assert_eq!(comparable(words, left), comparable(words, right), "{:?}", words);
        }
    }

    /// RANDOMKEY names a key that is there.
    #[test]
    fn a_random_key_exists(count in 1u16..9, keys in prop::collection::btree_set("[a-z]{1,3}", 0..9)) {
        let mut shards = Shards::new(count);
        for key in &keys {
            shards.say(&format!("SET {key} v"));
        }
        for _ in 0..5 {
            let reply = shards.say("RANDOMKEY");
            let key = reply.split("\r\n").nth(1).unwrap();
            prop_assert!(if keys.is_empty() { reply == "$-1\r\n" } else { keys.contains(key) }, "{}", reply);
        }
    }
}

#[test]
fn answers_to_questions_go_to_their_places() {
    let filter = || crate::ClientFilter::default();
    let actions = [
        (4, NodeAction::KillClients { filter: filter(), counts: false }),
        (9, NodeAction::ListClients { filter: filter(), request_bytes: 0 }),
        (9, NodeAction::Unblock { client: 1, with_error: true }),
        (13, NodeAction::Refresh),
    ];
    let ask = |at, action| Question { action, at, own: None };
    let questions: Vec<Question> = actions.into_iter().map(|(at, action)| ask(at, action)).collect();
    let gather = Gather::of_questions(b"*6\r\n+OK\r\n:1\r\n".to_vec(), &questions, 2, Protocol::Resp2);
    let parts = [":0\r\n", ":0\r\n", "$2\r\na\n\r\n", "$2\r\nb\n\r\n", ":0\r\n", ":1\r\n", "+OK\r\n", "+OK\r\n"];
    // An error of one answer is no error of the whole.
    assert_eq!(finished(gather, &parts), "*6\r\n-ERR No such client\r\n+OK\r\n$4\r\na\nb\n\r\n:1\r\n:1\r\n+OK\r\n");
}
