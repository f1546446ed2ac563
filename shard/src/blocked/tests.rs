use super::*;
use crate::testing::gateway::Gateway;
use crate::testing::limits;

mod model;

/// A gateway at which clients 1, 2 … have said these and wait.
fn waiting(shards: u16, commands: &[&str]) -> Gateway {
    let mut gateway = Gateway::new(shards, commands.len() + 1);
    for (who, command) in (1..).zip(commands) {
        assert_eq!(gateway.say(who, command), "", "{command}");
        assert!(gateway.waits(who));
    }
    gateway
}

fn got(key: &str, element: &str) -> Option<String> {
    Some(format!("*2 ${} {key} ${} {element}", key.len(), element.len()))
}

/// What clients 1 to `clients` were told, in turn.
fn all_heard(gateway: &mut Gateway, clients: usize) -> Vec<Option<String>> {
    (1..=clients).map(|who| gateway.heard(who)).collect()
}

const WRONG_TYPE: &str = "-WRONGTYPE Operation against a key holding the wrong kind of value";

#[test]
fn who_came_first_is_served_first() {
    for shards in 1..4 {
        let mut gateway = waiting(shards, &["BLPOP a 0", "BRPOP a 0", "BLPOP a 0"]);
        assert_eq!(gateway.ask("RPUSH a 1"), ":1");
        assert_eq!(all_heard(&mut gateway, 3), [got("a", "1"), None, None]);
        assert_eq!(gateway.say(1, "BLPOP a 0"), "", "who comes back stands behind");
        assert_eq!(gateway.ask("RPUSH a 2 3"), ":2");
        assert_eq!(all_heard(&mut gateway, 3), [None, got("a", "3"), got("a", "2")]);
        assert_eq!(gateway.ask("RPUSH a 4 5"), ":2");
        assert_eq!(all_heard(&mut gateway, 3), [got("a", "4"), None, None]);
        gateway.expect(&[("LRANGE a 0 -1", "*1 $1 5")]);
        gateway.assert_forgotten();
    }
}

#[test]
fn who_waits_for_several_keys_gets_one_of_them() {
    for shards in 1..4 {
        for key in ["a", "b", "c"] {
            let mut gateway = waiting(shards, &["BLPOP a b c a 0", "BLMPOP 0 3 c b a LEFT COUNT 5"]);
            assert_eq!(gateway.ask(&format!("RPUSH {key} 1 2 3")), ":3");
            assert_eq!(gateway.heard(1), got(key, "1"), "{key} on {shards}");
            assert_eq!(gateway.heard(2), Some(format!("*2 $1 {key} *2 $1 2 $1 3")));
            gateway.assert_forgotten();
        }
        // The first of its keys, not the first to become ready.
        let mut gateway = waiting(1, &["BLPOP a b 0"]);
        gateway.expect(&[("MULTI", "+OK"), ("RPUSH b 1", "+QUEUED"), ("RPUSH a 1", "+QUEUED"), ("EXEC", "*2 :1 :1")]);
        assert_eq!(gateway.heard(1), got("a", "1"));
    }
}

#[test]
fn a_key_named_twice_is_one_key() {
    for shards in 1..4 {
        let mut gateway = waiting(shards, &["BLPOP a a a b b 0", "BLPOP a a 0"]);
        let blocking = gateway.shards.shards.iter().map(Shard::blocking_keys).sum::<usize>();
        assert_eq!(blocking, 2);
        assert_eq!(gateway.ask("RPUSH a 1 2 3"), ":3");
        assert_eq!(all_heard(&mut gateway, 2), [got("a", "1"), got("a", "2")]);
        gateway.assert_forgotten();
    }
}

#[test]
fn moves_go_on_from_list_to_list() {
    for shards in 1..4 {
        let chain = ["BLMOVE a b LEFT RIGHT 0", "BRPOPLPUSH b c 0", "BLPOP c 0", "BLMOVE b a LEFT LEFT 0"];
        let mut gateway = waiting(shards, &chain);
        assert_eq!(gateway.ask("RPUSH a 1"), ":1");
        assert_eq!(all_heard(&mut gateway, 4), [Some("$1 1".into()), Some("$1 1".into()), got("c", "1"), None]);
        gateway.expect(&[("EXISTS a b c", ":0"), ("RPUSH b 2", ":1")]);
        assert_eq!(gateway.heard(4), Some("$1 2".into()));
        gateway.expect(&[("LRANGE a 0 -1", "*1 $1 2")]);
        gateway.assert_forgotten();
        // In a ring, where each is served once.
        let mut gateway =
            waiting(shards, &["BLMOVE a b LEFT LEFT 0", "BLMOVE b a LEFT LEFT 0", "BLMOVE a a LEFT LEFT 0"]);
        assert_eq!(gateway.ask("RPUSH a 1"), ":1");
        assert_eq!(all_heard(&mut gateway, 3), [Some("$1 1".into()), Some("$1 1".into()), Some("$1 1".into())]);
        gateway.expect(&[("LRANGE a 0 -1", "*1 $1 1"), ("EXISTS b", ":0")]);
        gateway.assert_forgotten();
    }
}

#[test]
fn whatever_makes_a_list_serves_those_who_wait_for_it() {
    for shards in 1..4 {
        let made_by: &[&[&str]] = &[
            &["LPUSH a x"],
            &["RPUSH b x", "RENAME b a"],
            &["RPUSH b x", "RENAMENX b a"],
            &["RPUSH b x", "COPY b a"],
            &["RPUSH b x", "LMOVE b a LEFT LEFT"],
            &["RPUSH b x", "RPOPLPUSH b a"],
            &["SELECT 1", "RPUSH a x", "MOVE a 0"],
            &["SELECT 1", "RPUSH a x", "COPY a a DB 0"],
            &["SELECT 1", "RPUSH a x", "SWAPDB 0 1"],
            &["SELECT 1", "RPUSH a x", "SWAPDB 1 0"],
            &["MULTI", "SET a 1", "DEL a", "RPUSH a x", "EXEC"],
            &["MULTI", "RPUSH b x", "RENAME b a", "PING", "EXEC"],
            &["MULTI", "RPUSH a w y", "LTRIM a 5 6", "RPUSH a x", "EXEC"],
            // What was another type becomes a list.
            &["SET a 1", "RPUSH b x", "RENAME b a"],
            &["SET a 1", "RPUSH b x", "COPY b a REPLACE"],
            &["SET a 1", "SELECT 1", "RPUSH a x", "SWAPDB 1 0"],
            &["SET a 1", "DEL a", "RPUSH a x"],
        ];
        for commands in made_by {
            let mut gateway = waiting(shards, &["BLPOP a 0"]);
            commands.iter().for_each(|command| assert!(!gateway.ask(command).starts_with('-'), "{command}"));
            assert_eq!(gateway.heard(1), got("a", "x"), "{commands:?}");
            gateway.ask("FLUSHALL");
            gateway.assert_forgotten();
        }
    }
}

#[test]
fn what_comes_and_goes_in_one_block_serves_nobody() {
    for shards in 1..4 {
        let mut gateway = waiting(shards, &["BLPOP a 0", "BLPOP a 0"]);
        for commands in [
            &["MULTI", "RPUSH a 1", "LPOP a", "EXEC"][..],
            &["MULTI", "RPUSH a 1", "FLUSHALL", "EXEC"],
            &["MULTI", "RPUSH a 1", "MOVE a 1", "EXEC"],
            &["MULTI", "RPUSH a 1", "SWAPDB 0 1", "SWAPDB 2 0", "EXEC"],
            &["MULTI", "RPUSH a 1", "PEXPIREAT a 1", "EXEC"],
            &["SELECT 3", "RPUSH a 1", "SELECT 0"],
        ] {
            commands.iter().for_each(|command| assert!(!gateway.ask(command).starts_with('-'), "{command}"));
            assert_eq!(all_heard(&mut gateway, 2), [None, None], "{commands:?}");
        }
        // All that a transaction makes is there when the first is served.
        gateway.expect(&[("MULTI", "+OK"), ("RPUSH a 1", "+QUEUED"), ("LPUSH a 2", "+QUEUED"), ("EXEC", "*2 :1 :2")]);
        assert_eq!(all_heard(&mut gateway, 2), [got("a", "2"), got("a", "1")]);
    }
}

#[test]
fn another_type_leaves_them_waiting() {
    for shards in 1..4 {
        let mut gateway = waiting(shards, &["BLPOP a b 0", "BLPOP a 0"]);
        gateway.expect(&[("SET a x", "+OK"), ("APPEND a y", ":2"), ("EXPIRE a 100", ":1")]);
        assert_eq!(all_heard(&mut gateway, 2), [None, None]);
        gateway.expect(&[("DEL a", ":1"), ("RPUSH a 1 2", ":2")]);
        assert_eq!(all_heard(&mut gateway, 2), [got("a", "1"), got("a", "2")]);
        gateway.assert_forgotten();
    }
    // The keys are looked at in order, as if the command had come now.
    let mut gateway = waiting(1, &["BLPOP a b 0", "BLPOP b 0"]);
    gateway.expect(&[("SET a x", "+OK"), ("RPUSH b 1", ":1")]);
    assert_eq!(all_heard(&mut gateway, 2), [Some(WRONG_TYPE.into()), got("b", "1")]);
}

#[test]
fn a_move_that_cannot_arrive_is_an_error_and_the_next_is_served() {
    for shards in 1..4 {
        let mut gateway =
            waiting(shards, &["BLMOVE a b LEFT LEFT 0", "BLMOVE a c LEFT LEFT 0", "BRPOPLPUSH a b 0", "BLPOP a 0"]);
        gateway.expect(&[("SET b x", "+OK"), ("RPUSH a 1", ":1")]);
        assert_eq!(all_heard(&mut gateway, 4), [Some(WRONG_TYPE.into()), Some("$1 1".into()), None, None]);
        gateway.expect(&[("LRANGE c 0 -1", "*1 $1 1"), ("RPUSH a 2", ":1")]);
        assert_eq!(all_heard(&mut gateway, 4), [None, None, Some(WRONG_TYPE.into()), got("a", "2")]);
        gateway.expect(&[("EXISTS a", ":0"), ("GET b", "$1 x")]);
        gateway.assert_forgotten();
    }
}

#[test]
fn a_wait_ends_with_the_reply_of_its_end() {
    for shards in 1..4 {
        let commands = ["BLPOP a 0", "BLMOVE a b LEFT LEFT 0", "BLMPOP 0 2 a c LEFT", "BRPOPLPUSH a c 0"];
        for why in [Unblock::Timeout, Unblock::Error, Unblock::Silently] {
            let reply = match why {
                Unblock::Timeout => Some("*-1".to_owned()),
                Unblock::Error => Some("-UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned()),
                Unblock::Silently => None,
            };
            let mut gateway = waiting(shards, &commands);
            for who in 1..=4 {
                gateway.unblock(who, why);
                assert_eq!(gateway.heard(who), reply, "{} {why:?}", commands[who - 1]);
            }
            gateway.assert_forgotten();
            gateway.expect(&[("RPUSH a 1", ":1"), ("LLEN a", ":1")]);
        }
        // Whoever leaves the line does not hold the others up.
        let mut gateway = waiting(shards, &["BLPOP a c 0", "BLPOP a 0", "BLPOP a 0"]);
        gateway.unblock(1, Unblock::Silently);
        gateway.unblock(2, Unblock::Timeout);
        gateway.expect(&[("RPUSH a 1", ":1"), ("RPUSH c 1", ":1")]);
        assert_eq!(all_heard(&mut gateway, 3), [None, Some("*-1".into()), got("a", "1")]);
        gateway.assert_forgotten();
    }
}

#[test]
fn a_reply_is_in_the_protocol_of_its_client() {
    let mut gateway = Gateway::new(2, 3);
    for who in 1..3 {
        assert!(gateway.say(who, "HELLO 3").starts_with('%'));
        assert_eq!(gateway.say(who, "BLPOP a b 0"), "");
        gateway.unblock(who, Unblock::Timeout);
        assert_eq!(gateway.heard(who), Some("_".into()));
        assert_eq!(gateway.say(who, "BLPOP a 0"), "");
    }
    gateway.unblock(1, Unblock::Timeout);
    assert_eq!(gateway.heard(1), Some("_".into()));
}

#[test]
fn databases_have_their_own_lines() {
    let mut gateway = Gateway::new(2, 3);
    assert_eq!(
        (gateway.say(1, "SELECT 1"), gateway.say(1, "BLPOP a 0"), gateway.say(2, "BLPOP a 0")),
        ("+OK".into(), "".into(), "".into())
    );
    gateway.expect(&[("RPUSH a 1", ":1")]);
    assert_eq!(all_heard(&mut gateway, 2), [None, got("a", "1")]);
    gateway.expect(&[("SELECT 1", "+OK"), ("RPUSH a 2", ":1")]);
    assert_eq!(all_heard(&mut gateway, 2), [got("a", "2"), None]);
    gateway.assert_forgotten();
}

// a lies on shard 2 of 3, b on shard 0, c on shard 1.

#[test]
fn a_waiter_of_several_shards_is_called_once_and_holds_the_line() {
    let mut gateway = waiting(3, &["BLPOP a b 0", "BLPOP a 0", "BLPOP b 0"]);
    gateway.holds_calls = true;
    gateway.expect(&[("RPUSH a 1", ":1"), ("RPUSH a 2", ":2"), ("EXPIRE a 100", ":1")]);
    assert_eq!(gateway.calls.iter().map(|&(core, ticket)| (core, ticket.connection)).collect::<Vec<_>>(), [(2, 1)]);
    assert_eq!(all_heard(&mut gateway, 3), [None, None, None], "the second waits for its turn");
    gateway.answer_calls();
    assert_eq!(all_heard(&mut gateway, 3), [got("a", "1"), got("a", "2"), None]);
    gateway.expect(&[("RPUSH b 1", ":1")]);
    assert_eq!(gateway.heard(3), got("b", "1"), "the first has left that line");
    gateway.assert_forgotten();
}

#[test]
fn two_shards_may_call_one_waiter() {
    let mut gateway = waiting(3, &["BLPOP a b 0", "BLPOP b 0"]);
    gateway.holds_calls = true;
    gateway.expect(&[("RPUSH a 1", ":1"), ("RPUSH b 2", ":1")]);
    assert_eq!(gateway.calls.len(), 2);
    gateway.answer_calls();
    assert_eq!(all_heard(&mut gateway, 2), [got("a", "1"), got("b", "2")]);
    gateway.assert_forgotten();
}

#[test]
fn what_is_gone_when_the_called_one_comes_is_called_for_again() {
    for together in [false, true] {
        let first = if together { "BLMOVE a b LEFT LEFT 0" } else { "BLPOP a b 0" };
        let mut gateway = waiting(3, &[first, "BLPOP a 0"]);
        gateway.holds_calls = true;
        gateway.expect(&[("RPUSH a 1", ":1"), ("LPOP a", "$1 1")]);
        assert_eq!(gateway.calls.len(), 1);
        gateway.answer_calls();
        assert_eq!(all_heard(&mut gateway, 2), [None, None], "they wait on");
        gateway.expect(&[("RPUSH a 2", ":1")]);
        assert_eq!(gateway.heard(1), if together { Some("$1 2".into()) } else { got("a", "2") });
        gateway.expect(&[("RPUSH a 3", ":1")]);
        assert_eq!(gateway.heard(2), got("a", "3"));
        gateway.assert_forgotten();
    }
}

#[test]
fn what_went_and_came_again_serves_the_called_one() {
    let mut gateway = waiting(3, &["BLMOVE a b LEFT LEFT 0", "BLPOP a 0"]);
    gateway.holds_calls = true;
    gateway.expect(&[("RPUSH a 1", ":1"), ("DEL a", ":1"), ("SET a x", "+OK"), ("DEL a", ":1"), ("RPUSH a 2 3", ":2")]);
    assert_eq!(gateway.calls.len(), 1);
    gateway.answer_calls();
    assert_eq!(all_heard(&mut gateway, 2), [Some("$1 2".into()), got("a", "3")]);
    gateway.expect(&[("LRANGE b 0 -1", "*1 $1 2")]);
    gateway.assert_forgotten();
}

#[test]
fn the_line_goes_on_when_the_called_one_is_gone() {
    for first in ["BLPOP a b 0", "BLMOVE a b LEFT LEFT 0"] {
        for (why, reply) in [(Unblock::Silently, None), (Unblock::Timeout, Some("*-1".to_owned()))] {
            let mut gateway = waiting(3, &[first, "BLPOP a 0", "BLPOP a c 0"]);
            gateway.holds_calls = true;
            gateway.expect(&[("RPUSH a 1 2", ":2")]);
            gateway.unblock(1, why);
            assert_eq!(all_heard(&mut gateway, 3), [reply, got("a", "1"), None], "{first} {why:?}");
            assert_eq!(gateway.calls.len(), 2, "the third is called");
            gateway.answer_calls();
            assert_eq!(gateway.heard(3), got("a", "2"));
            gateway.assert_forgotten();
        }
    }
}

#[test]
fn a_called_one_holds_all_its_lines_until_it_was_served() {
    // All of {a} lie on one shard, b on another.
    let mut gateway = waiting(3, &["BLPOP {a}1 {a}2 b 0", "BLPOP {a}2 0"]);
    gateway.holds_calls = true;
    gateway.expect(&[("RPUSH {a}1 1", ":1"), ("RPUSH {a}2 2", ":1")]);
    assert_eq!(all_heard(&mut gateway, 2), [None, None]);
    gateway.answer_calls();
    assert_eq!(all_heard(&mut gateway, 2), [got("{a}1", "1"), got("{a}2", "2")]);
    gateway.assert_forgotten();
}

#[test]
fn who_is_served_with_all_shards_leaves_them_all() {
    let mut gateway = waiting(3, &["BLPOP a b c 0", "BLPOP b 0"]);
    let ticket = gateway.people[1].waiting.as_ref().expect("it waits").ticket;
    gateway.holds_calls = true;
    gateway.expect(&[("RPUSH c 1", ":1")]);
    let now = gateway.shards.now;
    let reply = serve_called_together(&mut gateway.shards.in_hand(&[0, 1, 2]), ticket, now, limits());
    assert_eq!(reply.as_ref().map(|served| &*served.reply), Some(&b"*2\r\n$1\r\nc\r\n$1\r\n1\r\n"[..]));
    assert!(gateway.shards.shards.iter().all(|shard| !shard.has_waiter(ticket)));
    gateway.people[1].waiting = None;
    gateway.answer_calls();
    gateway.expect(&[("RPUSH b 1", ":1")]);
    assert_eq!(gateway.heard(2), got("b", "1"));
    gateway.assert_forgotten();
}

#[test]
fn letters_come_in_the_order_of_what_happened() {
    let mut gateway = waiting(1, &["BLMOVE a b LEFT LEFT 0", "BLPOP a 0", "BLPOP b 0", "BLPOP c 0"]);
    let shard = &mut gateway.shards.shards[0];
    let context = crate::testing::context(crate::testing::NOW, false);
    for command in ["RPUSH a 1 2", "RPUSH c 3"] {
        let request = crate::testing::Request::words(command);
        shard.execute(request.spec().unwrap(), request.args(), &context, &mut Vec::new());
    }
    assert!(shard.has_letters());
    let order: Vec<u32> = shard
        .take_letters()
        .into_iter()
        .map(|letter| match letter {
            Letter::Reply { to, .. } | Letter::Call(to) => to.connection,
            Letter::Stale { .. } => panic!("nobody is tracked"),
        })
        .collect();
    assert_eq!(order, [1, 2, 3, 4]);
    assert!(!shard.has_letters());
}

#[test]
fn effects_of_the_served_follow_those_of_what_served_them() {
    let mut gateway = waiting(
        3,
        &["BLPOP a 0", "BLMOVE a {a}b LEFT RIGHT 0", "BLMPOP 0 1 a RIGHT COUNT 2", "BLMOVE a b LEFT RIGHT 0"],
    );
    gateway.record_effects();
    gateway.expect(&[("RPUSH a 1 2 3 4 5", ":5")]);
    assert_eq!(
        gateway.effects(2),
        ["SELECT 0", "RPUSH a 1 2 3 4 5", "LPOP a", "LMOVE a {a}b LEFT RIGHT", "RPOP a 2", "LPOP a"]
    );
    assert_eq!(gateway.effects(0), ["SELECT 0", "RPUSH b 3"]);
    gateway.people.iter_mut().for_each(|person| person.waiting = None);
    assert_eq!(gateway.say(1, "BLPOP a 0"), "");
    gateway.expect(&[("MULTI", "+OK"), ("RPUSH a 1", "+QUEUED"), ("INCR {a}n", "+QUEUED"), ("EXEC", "*2 :1 :1")]);
    assert_eq!(gateway.effects(2), ["MULTI", "RPUSH a 1", "INCR {a}n", "EXEC", "LPOP a"]);
}
