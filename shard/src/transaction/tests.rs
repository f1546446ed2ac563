use super::*;
use crate::admit;
use crate::testing::gateway::{Gateway, NoCrowd, TestLedger};
use crate::testing::{Request, Session, Shards, TestNode, limits};
use slotmesh_base::Rng;

const QUEUED: &str = "+QUEUED";
const OK: &str = "+OK";
const ABORTED: &str = "-EXECABORT Transaction discarded because of previous errors.";
const WITHOUT: &str = "-ERR EXEC without MULTI";
const EXEC_ARITY: &str = "-EXECABORT Transaction discarded because of: wrong number of arguments for 'exec' command";

/// A gateway whose client 0 has begun a transaction.
fn begun(shards: u16) -> Gateway {
    let mut gateway = Gateway::new(shards, 2);
    assert_eq!(gateway.ask("MULTI"), OK);
    gateway
}

/// What a transaction of these commands answers.
fn exec(gateway: &mut Gateway, commands: &[&str]) -> String {
    assert_eq!(gateway.ask("MULTI"), OK);
    for command in commands {
        assert_eq!(gateway.ask(command), QUEUED, "{command}");
    }
    gateway.ask("EXEC")
}

#[test]
fn commands_wait_for_exec_and_run_in_order() {
    for shards in 1..4 {
        let mut gateway = begun(shards);
        gateway.expect(&[("SET a 1", QUEUED), ("INCR a", QUEUED), ("GET b", QUEUED)]);
        assert_eq!(gateway.say(1, "GET a"), "$-1", "nothing has run");
        assert_eq!(gateway.ask("EXEC"), "*3 +OK :2 $-1");
        gateway.expect(&[("EXEC", WITHOUT), ("DISCARD", "-ERR DISCARD without MULTI"), ("GET a", "$1 2")]);
        gateway.expect(&[("MULTI", OK), ("EXEC", "*0")]);
        gateway.expect(&[("MULTI", OK), ("SET a 9", QUEUED), ("DISCARD", OK), ("EXEC", WITHOUT), ("GET a", "$1 2")]);
        gateway.expect(&[("MULTI", OK), ("DISCARD", OK), ("MULTI", OK), ("PING", QUEUED), ("EXEC", "*1 +PONG")]);
    }
}

#[test]
fn a_refused_command_spoils_the_whole() {
    for refused in ["NOSUCH", "GET", "GET a b", "CLIENT nosuch", "WATCH", "MULTI x", "DISCARD x", "SAVE"] {
        let mut gateway = begun(2);
        assert_eq!(gateway.ask("SET a 1"), QUEUED);
        assert!(gateway.ask(refused).starts_with("-ERR "), "{refused}");
        gateway.expect(&[("SET b 1", QUEUED), ("EXEC", ABORTED), ("EXEC", WITHOUT), ("EXISTS a b", ":0")]);
        gateway.expect(&[("MULTI", OK), ("SET a 1", QUEUED), ("EXEC", "*1 +OK")]);
    }
}

#[test]
fn what_is_only_misplaced_does_not_spoil_it() {
    begun(2).expect(&[
        ("MULTI", "-ERR MULTI calls can not be nested"),
        ("WATCH a", "-ERR WATCH inside MULTI is not allowed"),
        ("SET a 1", QUEUED),
        ("EXEC", "*1 +OK"),
    ]);
}

#[test]
fn an_exec_that_is_refused_ends_the_transaction_and_the_watch() {
    let mut gateway = begun(2);
    gateway.expect(&[("SET a 1", QUEUED), ("EXEC x", EXEC_ARITY), ("EXEC", WITHOUT), ("GET a", "$-1")]);
    gateway.expect(&[("EXEC x", EXEC_ARITY), ("EXEC", WITHOUT)]);
    gateway.expect(&[("WATCH a", OK), ("EXEC x", EXEC_ARITY)]);
    gateway.assert_forgotten();
    gateway.expect(&[("SET a 1", OK), ("MULTI", OK), ("EXEC", "*0")]);
    gateway.people[1].client.authenticated = false;
    let locked = "NOAUTH Authentication required.";
    assert_eq!(gateway.say(1, "EXEC"), format!("-EXECABORT Transaction discarded because of: {locked}"));
    assert_eq!(gateway.say(1, "EXEC x"), EXEC_ARITY);
    assert_eq!(gateway.say(1, "DISCARD"), format!("-{locked}"));
}

#[test]
fn an_abort_and_a_discard_end_the_watch() {
    let mut gateway = Gateway::new(2, 1);
    gateway.expect(&[
        ("WATCH a b c", OK),
        ("MULTI", OK),
        ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with:"),
    ]);
    assert_eq!(gateway.ask("EXEC"), ABORTED);
    gateway.assert_forgotten();
    gateway.expect(&[("WATCH a b c", OK), ("MULTI", OK), ("DISCARD", OK)]);
    gateway.assert_forgotten();
    gateway.expect(&[("WATCH a b c", OK), ("MULTI", OK), ("RESET", "+RESET"), ("EXEC", WITHOUT)]);
    gateway.assert_forgotten();
    gateway.expect(&[("WATCH a b c", OK), ("UNWATCH", OK)]);
    gateway.assert_forgotten();
}

#[test]
fn an_abort_is_said_before_a_broken_watch() {
    let mut gateway = Gateway::new(2, 1);
    gateway.expect(&[("WATCH a", OK), ("SET a 1", OK), ("MULTI", OK)]);
    assert!(gateway.ask("NOSUCH").starts_with('-'));
    gateway.expect(&[("EXEC", ABORTED), ("MULTI", OK), ("EXEC", "*0")]);
}

#[test]
fn quit_and_reset_act_at_once() {
    let mut gateway = begun(2);
    gateway.expect(&[
        ("SELECT 3", QUEUED),
        ("SET a 1", QUEUED),
        ("RESET", "+RESET"),
        ("EXEC", WITHOUT),
        ("GET a", "$-1"),
    ]);
    let mut gateway = begun(2);
    gateway.expect(&[("SET a 1", QUEUED), ("QUIT", OK)]);
    assert!(gateway.people[0].client.closing);
    assert_eq!(gateway.say(1, "GET a"), "$-1");
}

#[test]
fn the_selected_database_changes_on_the_way_and_stays() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 2);
        let commands =
            ["SET a 0", "SELECT 3", "SET a 3", "SELECT 99", "GET a", "MOVE a 4", "DBSIZE", "SELECT 4", "DBSIZE"];
        assert_eq!(exec(&mut gateway, &commands), "*9 +OK +OK +OK -ERR DB index is out of range $1 3 :1 :0 +OK :1");
        gateway.expect(&[("GET a", "$1 3")]);
        assert_eq!(gateway.say(1, "GET a"), "$1 0");
        // What was not executed has selected nothing.
        gateway.expect(&[("MULTI", OK), ("SELECT 0", QUEUED), ("DISCARD", OK), ("GET a", "$1 3")]);
    }
}

#[test]
fn the_protocol_changes_on_the_way_and_stays() {
    let mut gateway = Gateway::new(2, 1);
    let reply = exec(&mut gateway, &["GET none", "HELLO 3", "GET none", "KEYS *", "RANDOMKEY"]);
    assert!(reply.starts_with("*5 $-1 %7 $6 server") && reply.ends_with("$7 modules *0 _ *0 _"), "{reply}");
    assert_eq!(exec(&mut gateway, &["LPOP none", "BLPOP none 0"]), "*2 _ _");
    gateway.expect(&[("WATCH a", OK), ("SET a 1", OK), ("MULTI", OK), ("EXEC", "_")]);
    assert!(exec(&mut gateway, &["HELLO 2", "GET none"]).ends_with("*0 $-1"));
    gateway.expect(&[("WATCH a", OK), ("SET a 1", OK), ("MULTI", OK), ("EXEC", "*-1")]);
}

#[test]
fn an_error_does_not_stop_the_rest() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 1);
        let commands = ["SET e x", "INCR e", "LPUSH e 1", "LMPOP 9 e f LEFT", "MSET a 1 b", "SCAN x", "SET e 2"];
        assert_eq!(
            exec(&mut gateway, &commands),
            "*7 +OK -ERR value is not an integer or out of range \
             -WRONGTYPE Operation against a key holding the wrong kind of value -ERR syntax error \
             -ERR wrong number of arguments for 'mset' command -ERR invalid cursor +OK"
        );
        gateway.expect(&[("GET e", "$1 2"), ("EXISTS a b", ":0")]);
    }
}

#[test]
fn nothing_waits_in_a_transaction() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 1);
        let commands = [
            "BLPOP x y 0",
            "BRPOP x 0",
            "BLMOVE x y LEFT LEFT 0",
            "BRPOPLPUSH x y 0",
            "BLMPOP 0 2 x y LEFT",
            "BLPOP x -1",
            "RPUSH y 1 2",
            "BLPOP x y 0",
            "BLMOVE y x LEFT LEFT 0",
        ];
        assert_eq!(
            exec(&mut gateway, &commands),
            "*9 *-1 *-1 $-1 $-1 *-1 -ERR timeout is negative :2 *2 $1 y $1 1 $1 2"
        );
        gateway.assert_forgotten();
    }
}

#[test]
fn commands_on_the_connection_and_the_node_run_in_their_place() {
    let mut gateway = Gateway::new(3, 1);
    let commands = ["CLIENT SETNAME me", "CLIENT GETNAME", "ECHO x", "CONFIG GET hz", "AUTH x y z", "UNWATCH", "TIME"];
    let reply = exec(&mut gateway, &commands);
    assert!(reply.starts_with("*7 +OK $2 me $1 x *2 $2 hz $2 10 -ERR syntax error +OK *2 "), "{reply}");
    // A client is seen in its transaction, and EXEC is the last that it has said.
    let reply = exec(&mut gateway, &["PING", "CLIENT INFO"]);
    assert!(reply.contains(" flags=x ") && reply.contains(" multi=2 ") && reply.contains(" cmd=exec "), "{reply}");
    let reply = gateway.ask("CLIENT INFO");
    assert!(reply.contains(" flags=N ") && reply.contains(" multi=-1 "), "{reply}");
}

#[test]
fn a_transaction_takes_the_shards_that_it_needs() {
    let shards = Shards::new(3);
    // Slots: a 15495, b 3300, c 7365, foo 12182.
    let needed = |commands: &[&str], watching: &[u16]| {
        let mut client = Client::new(1, shards.now);
        let mut transaction = Transaction::default();
        for command in commands {
            let request = Request::words(command);
            let spec = request.spec().unwrap();
            let spec = spec.subcommands.iter().find(|sub| sub.full_name == "client|info").unwrap_or(spec);
            assert!(transaction.queue(spec, request.args()));
        }
        client.transaction = Some(Box::new(transaction));
        watching.iter().for_each(|&core| client.watches_on(core));
        exec_cores(&client, 0, &shards.map)
    };
    let table: [(&[&str], &[u16], &[u16]); 17] = [
        (&[], &[], &[]),
        (&["PING", "SELECT 1", "CLIENT INFO", "UNWATCH"], &[], &[]),
        (&["GET a"], &[], &[2]),
        (&["GET a", "GET b"], &[], &[0, 2]),
        (&["MGET c a c"], &[], &[1, 2]),
        (&["RENAME b c"], &[], &[0, 1]),
        (&["BLMOVE c b LEFT LEFT 0"], &[], &[0, 1]),
        (&["LMPOP 2 c a LEFT"], &[], &[1, 2]),
        // The values are no keys.
        (&["MSET b a b c"], &[], &[0]),
        // Whoever has no keys is refused by the first.
        (&["LMPOP 9 c a LEFT"], &[], &[0]),
        (&["DBSIZE"], &[], &[0, 1, 2]),
        (&["FLUSHALL"], &[], &[0, 1, 2]),
        (&["SCAN 0"], &[], &[0]),
        (&["SCAN x", "GET c"], &[], &[0, 1]),
        (&[], &[2, 1], &[1, 2]),
        (&["GET a"], &[1, 1], &[1, 2]),
        (&["GET a"], &[2], &[2]),
    ];
    for (commands, watching, cores) in table {
        assert_eq!(needed(commands, watching), cores, "{commands:?} {watching:?}");
    }
    let cursor = Cursor { slot: Slot::of_key(b"c"), position: 5 };
    assert_eq!(needed(&[&format!("SCAN {}", cursor.to_number())], &[]), [1]);
}

#[test]
fn reads_of_all_keys_see_all_shards() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 1);
        assert_eq!(exec(&mut gateway, &["RANDOMKEY", "DBSIZE", "KEYS *"]), "*3 $-1 :0 *0");
        let names: Vec<String> = (0..40).map(|number| format!("key-{number}")).collect();
        let commands: Vec<String> = names.iter().map(|name| format!("SET {name} v")).collect();
        let mut commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        commands.extend(["DBSIZE", "KEYS key-1*", "KEYS *"]);
        let reply = exec(&mut gateway, &commands);
        let (_, reply) = reply.split_once(":40 *11 ").expect("the keys are counted");
        let mut seen: Vec<&str> = reply.split(' ').filter(|word| word.starts_with("key-")).collect();
        assert_eq!(seen.len(), 51);
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 40);
        // Some key of every shard is chosen now and then.
        let chosen: std::collections::BTreeSet<String> = (0..400).map(|_| exec(&mut gateway, &["RANDOMKEY"])).collect();
        assert!(chosen.len() > 35, "{} of 40 keys", chosen.len());
        assert_eq!(gateway.ask("FLUSHALL"), OK);
    }
}

#[test]
fn a_scan_goes_through_all_shards() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 1);
        for number in 0..100 {
            assert_eq!(gateway.ask(&format!("SET key-{number} v")), OK);
        }
        let (mut cursor, mut seen) = ("0".to_owned(), Vec::new());
        for _ in 0..1000 {
            let reply = exec(&mut gateway, &[&format!("SCAN {cursor} COUNT 7"), "GET key-1"]);
            let words: Vec<&str> = reply.split(' ').collect();
            cursor = words[3].to_owned();
            seen.extend(words[4..].iter().filter(|word| word.starts_with("key-")).map(|&key| key.to_owned()));
            if cursor == "0" {
                break;
            }
        }
        seen.sort_unstable();
        seen.dedup();
        assert_eq!((cursor.as_str(), seen.len()), ("0", 100));
    }
}

#[test]
fn writes_on_all_keys_reach_all_shards() {
    for shards in 1..4 {
        let mut gateway = Gateway::new(shards, 1);
        let commands = [
            "MSET a 1 b 1 c 1",
            "SWAPDB 0 1",
            "DBSIZE",
            "SELECT 1",
            "MGET a b c",
            "FLUSHDB",
            "EXISTS a b c",
            "SET a 2",
        ];
        assert_eq!(exec(&mut gateway, &commands), "*8 +OK +OK :0 +OK *3 $1 1 $1 1 $1 1 +OK :0 +OK");
        let commands = ["SELECT 0", "MSET a 1 b 1 c 1", "FLUSHALL x", "FLUSHALL", "DBSIZE", "SELECT 1", "DBSIZE"];
        assert_eq!(exec(&mut gateway, &commands), "*7 +OK +OK -ERR syntax error +OK :0 +OK :0");
    }
}

#[test]
fn each_shard_has_one_block_of_effects() {
    // a lies on shard 2, b on shard 0, c on shard 1.
    let mut gateway = Gateway::new(3, 1);
    gateway.record_effects();
    let commands = ["SET a 1", "SET b 1", "GET c", "SELECT 2", "INCR a", "SET a 1 XX", "RENAME a b", "LPOP gone"];
    assert!(exec(&mut gateway, &commands).starts_with("*8 +OK +OK $-1 +OK :1 +OK +OK $-1"));
    // Of a RENAME from another shard remains what it made.
    assert_eq!(gateway.effects(0), ["MULTI", "SELECT 0", "SET b 1", "SELECT 2", "DEL b", "SET b 1", "EXEC"]);
    assert_eq!(gateway.effects(1), [""; 0]);
    assert_eq!(gateway.effects(2), ["MULTI", "SELECT 0", "SET a 1", "SELECT 2", "INCR a", "SET a 1", "DEL a", "EXEC"]);
    assert_eq!(exec(&mut gateway, &["SET b 5", "GET b"]), "*2 +OK $1 5");
    assert_eq!(gateway.effects(0), ["SET b 5"], "one effect needs no block");
}

#[test]
fn a_broken_watch_leaves_nothing_behind() {
    let mut gateway = Gateway::new(3, 2);
    gateway.record_effects();
    gateway.expect(&[("WATCH a b c", OK), ("MULTI", OK), ("SET b 1", QUEUED), ("SELECT 4", QUEUED)]);
    assert_eq!(gateway.say(1, "SET c 7"), OK);
    gateway.expect(&[("EXEC", "*-1"), ("GET b", "$-1"), ("GET c", "$1 7"), ("EXEC", WITHOUT)]);
    assert_eq!((gateway.effects(0), gateway.effects(1)), (vec![], vec!["SELECT 0".to_owned(), "SET c 7".to_owned()]));
    assert_eq!(exec(&mut gateway, &["SET b 1"]), "*1 +OK", "the watch has ended with its EXEC");
}

#[test]
fn a_transaction_knows_its_size() {
    let mut transaction = Transaction::default();
    assert!(transaction.is_empty() && transaction.memory_bytes() == 0);
    for _ in 0..1000 {
        let request = Request::words("SET key value");
        assert!(transaction.queue(request.spec().unwrap(), request.args()));
    }
    assert_eq!((transaction.len(), transaction.argument_bytes()), (1000, 11_000));
    let memory = transaction.memory_bytes();
    assert!((60_000..200_000).contains(&memory), "{memory} bytes");
}

#[test]
fn replies_that_outgrow_their_bound_are_dropped_but_the_commands_run() {
    let mut shards = Shards::new(1);
    shards.say(&format!("SET large {}", "x".repeat(1000)));
    let exec = |shards: &mut Shards, reply_bytes_max| {
        let mut client = Session::new(TestNode::default()).client;
        client.transaction = Some(Box::default());
        let queue = ["INCR n", "GET large", "GET large", "INCR n"].map(Request::words);
        for request in &queue {
            admit(
                &mut client,
                request.spec(),
                request.args(),
                crate::Standing::default(),
                &mut Reply::new(&mut Vec::new(), Protocol::Resp2),
            );
        }
        let node = TestNode::default();
        let around =
            Surroundings { node: &node, now: shards.now, limits: limits(), chance: 1, reply_bytes_max, answers: None };
        let mut out = b"+before\r\n".to_vec();
        let mut subscriptions = node.subscriptions();
        let (ledger, speech) = (&mut TestLedger::default(), &mut Speech::new(&mut subscriptions, 0));
        execute_transaction(&mut client, &mut [&mut shards.shards[0]], &around, ledger, speech, &mut NoCrowd, &mut out);
        (out.len(), client.closing)
    };
    let reply = "+before\r\n*4\r\n:1\r\n:2\r\n".len() + 2 * ("$1000\r\n\r\n".len() + 1000);
    assert_eq!(exec(&mut shards, reply), (reply, false));
    for reply_bytes_max in [0, 1500, reply - "+before\r\n".len() - 1] {
        assert_eq!(exec(&mut shards, reply_bytes_max), ("+before\r\n".len(), true), "{reply_bytes_max}");
    }
    assert_eq!(shards.say("GET n"), "$1\r\n8\r\n");
}

/// Commands whose replies do not depend on the number of shards: `k` is a key, `v` a value.
const COMMANDS: &[&str] = &[
    "SET k v",
    "GET k",
    "INCR k",
    "MSET k v k v k v",
    "MSETNX k v k v",
    "MGET k k k",
    "DEL k k",
    "EXISTS k k k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k REPLACE",
    "COPY k k DB 1",
    "MOVE k 1",
    "RPUSH k v v",
    "LPUSH k v",
    "LRANGE k 0 -1",
    "LMOVE k k LEFT RIGHT",
    "LMPOP 3 k k k LEFT COUNT 2",
    "BLPOP k k 0",
    "BLMOVE k k LEFT LEFT 0",
    "RPOPLPUSH k k",
    "PEXPIRE k 5",
    "PTTL k",
    "DBSIZE",
    "SELECT 1",
    "SELECT 0",
    "SWAPDB 0 1",
    "FLUSHDB",
    "TYPE k",
    "PING",
];

fn random_command(chance: &mut Rng) -> String {
    let mut pattern = COMMANDS[chance.below(COMMANDS.len() as u64) as usize];
    if pattern == "FLUSHDB" && chance.below(4) > 0 {
        pattern = "DBSIZE";
    }
    let words = pattern.split(' ').map(|word| match word {
        "k" => format!("key-{}", chance.below(12)),
        "v" => chance.below(4).to_string(),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn several_shards_answer_as_one() {
    let (mut replies, mut broken) = (0, 0);
    for seed in 0..60 {
        let mut chance = Rng::new(seed);
        let mut gateways: Vec<Gateway> = (1..4).map(|shards| Gateway::new(shards, 2)).collect();
        for _ in 0..60 {
            let mut script: Vec<(usize, String)> = Vec::new();
            if chance.below(2) == 0 {
                script.push((0, format!("WATCH key-{} key-{}", chance.below(12), chance.below(12))));
                (0..chance.below(3)).for_each(|_| script.push((1, format!("INCR key-{}", chance.below(12)))));
            }
            script.push((0, "MULTI".to_owned()));
            (0..chance.below(8)).for_each(|_| script.push((0, random_command(&mut chance))));
            script.push((0, "EXEC".to_owned()));
            let passes = chance.below(3) as i64;
            let answers = gateways.iter_mut().map(|gateway| {
                gateway.pass(passes);
                script.iter().map(|(who, text)| gateway.say(*who, text)).collect::<Vec<_>>()
            });
            let answers: Vec<Vec<String>> = answers.collect();
            assert!(answers[0] == answers[1] && answers[0] == answers[2], "seed {seed}: {script:?}\n{answers:#?}");
            let last = answers[0].last().unwrap();
            broken += usize::from(last == "*-1");
            replies += last.len();
        }
        gateways.iter().for_each(Gateway::assert_forgotten);
    }
    assert!(replies > 50_000 && broken > 100, "{replies} bytes, {broken} broken watches prove little");
}
