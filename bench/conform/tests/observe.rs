//! What operators look at: INFO, SLOWLOG, LATENCY, MEMORY, beside redis-server; and that nothing is counted twice or not
//! at all, whichever cores a command runs on.

use slotmesh_conform::{Connection, Generator, Grammar, Server, Step, await_condition, request, show, words};
use slotmesh_resp::elements;
use std::collections::BTreeMap;

/// Fields of INFO that redis-server 7.0 has and we have not, with the reason.
const LEFT_OUT: &[(&str, &str)] = &[
    ("atomicvar_api", "of the C compiler"),
    ("gcc_version", "of the C compiler"),
    ("expired_stale_perc", "nothing is estimated from samples: what is due is known"),
    ("total_writes_processed", "sends are counted in bytes only"),
    ("used_cpu_sys_main_thread", "no thread is the main one; INFO io has those of all cores"),
    ("used_cpu_user_main_thread", "no thread is the main one; INFO io has those of all cores"),
];

/// The fields of INFO, in order, with their values.
fn info(connection: &mut Connection, sections: &str) -> Vec<(String, String)> {
    let text = connection.text(&format!("INFO {sections}"));
    let field = |line: &str| line.trim().split_once(':').map(|(name, value)| (name.to_owned(), value.to_owned()));
    text.lines().filter_map(field).collect()
}

fn value(connection: &mut Connection, name: &str) -> String {
    let fields = info(connection, "everything");
    fields.into_iter().find(|(known, _)| known == name).unwrap_or_else(|| panic!("INFO has no {name}")).1
}

/// Calls, refusals and failures of each command.
fn counts(connection: &mut Connection) -> BTreeMap<String, Vec<String>> {
    let counted = |(name, line): (String, String)| {
        let numbers = line.split(',').filter(|part| !part.starts_with("usec")).map(str::to_owned).collect();
        Some((name.strip_prefix("cmdstat_")?.to_owned(), numbers))
    };
    info(connection, "commandstats").into_iter().filter_map(counted).collect()
}

#[test]
fn info_has_the_fields_of_redis_in_its_order() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    let names = |server: &Server| -> Vec<String> {
        let mut connection = server.connect();
        connection.say("SET a 1 EX 1000");
        connection.say("GET");
        // The commands that were called differ, as do lines of shards and cores.
        let varies = |name: &str| name.starts_with("cmdstat_") || name.starts_with("latency_percentiles");
        info(&mut connection, "everything").into_iter().map(|(name, _)| name).filter(|name| !varies(name)).collect()
    };
    let (expected, got) = (names(&oracle), names(&ours));
    let missing: Vec<&String> = expected
        .iter()
        .filter(|name| !got.contains(name) && !LEFT_OUT.iter().any(|(left_out, _)| left_out == name))
        .collect();
    assert!(missing.is_empty(), "INFO lacks {missing:?}");
    let needless: Vec<_> = LEFT_OUT.iter().filter(|(name, _)| got.iter().any(|known| known == name)).collect();
    assert!(needless.is_empty(), "not left out: {needless:?}");
    let common = |of: &[String], other: &[String]| -> Vec<String> {
        of.iter().filter(|name| other.contains(name)).cloned().collect()
    };
    assert_eq!(common(&got, &expected), common(&expected, &got), "the order of the fields");
}

/// What every connection does; keys lie on all shards.
fn work(connection: &mut Connection, number: usize) {
    let key = |index: usize| format!("key:{number}:{index}");
    let mut requests = Vec::new();
    for index in 0..200 {
        requests.push(request(&["SET", &key(index), "text"]));
        requests.push(request(&["GET", &key(index)]));
    }
    for index in 0..10 {
        requests.push(request(&["INCR", &key(index)]));
        requests.push(request(&["LPUSH", &key(index), "x"]));
        requests.push(request(&["GET", &key(index), "x"]));
        requests.push(words("NOSUCH a"));
        requests.push(words("CONFIG NOSUCH"));
    }
    let all: Vec<String> = (0..20).map(key).collect();
    let mget: Vec<&str> = std::iter::once("MGET").chain(all.iter().map(String::as_str)).collect();
    requests.push(request(&mget));
    requests.extend(["DBSIZE", "PING", "ECHO a", "CONFIG GET port", "CLIENT SETNAME me", "CLIENT LIST"].map(words));
    requests.extend(["CLIENT", "CONFIG", "EXEC", "MULTI"].map(words));
    requests.push(request(&["SET", &key(1), "1"]));
    requests.push(request(&["LPUSH", &key(1), "x"]));
    requests.push(request(&["GET", &key(2)]));
    requests.extend(["PING", "EXEC", "MULTI", "MULTI", "GET", "EXEC", "MULTI", "DISCARD"].map(words));
    requests.push(request(&["WATCH", &key(1), &key(2), &key(3)]));
    requests.extend(["UNWATCH", "MULTI"].map(words));
    requests.push(words("EXEC x"));
    requests.push(request(&["MSET", &key(1), "1", &key(2), "2", &key(3), "3"]));
    requests.push(request(&["RENAME", &key(1), &key(300)]));
    requests.push(request(&["RENAME", &key(1), &key(300)]));
    for index in 0..4 {
        requests.push(request(&["RPUSH", &format!("list:{number}:{index}"), "a"]));
    }
    let lists: Vec<String> = (0..4).map(|index| format!("list:{number}:{index}")).collect();
    requests.push(request(&["BLPOP", &lists[0], "0"]));
    requests.push(request(&["BLPOP", &lists[0], "0.001"]));
    requests.push(request(&["BLPOP", &lists[0], &lists[1], &lists[2], &lists[3], "0"]));
    requests.push(request(&["BLPOP", &format!("none:{number}:1"), &format!("none:{number}:2"), "0.001"]));
    let count = requests.len();
    connection.send(&requests.concat());
    connection.replies(count);
}

#[test]
fn every_command_is_counted_once() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(3, 3, &[]));
    let mut counted = Vec::new();
    for server in [&oracle, &ours] {
        let mut observer = server.connect();
        let mut crowd: Vec<Connection> = (0..6).map(|_| server.connect()).collect();
        work(&mut crowd[0], 99);
        assert_eq!(observer.say("CONFIG RESETSTAT"), b"+OK\r\n");
        for (number, connection) in crowd.iter_mut().enumerate() {
            work(connection, number);
        }
        // Who waits is served by another.
        for (number, connection) in crowd.iter_mut().enumerate().skip(1) {
            connection.send(&request(&["BLPOP", &format!("wait:{number}"), &format!("await:{number}"), "0"]));
        }
        await_condition("five clients wait", 10, || value(&mut observer, "blocked_clients") == "5");
        observer.say("CONFIG RESETSTAT");
        for number in 1..6 {
            observer.say(&format!("RPUSH wait:{number} x"));
        }
        crowd.iter_mut().skip(1).for_each(|connection| drop(connection.reply()));
        counted.push((counts(&mut observer), BTreeMap::new(), String::new(), String::new()));
        observer.say("CONFIG RESETSTAT");
        for (number, connection) in crowd.iter_mut().enumerate() {
            work(connection, number);
        }
        let commands = value(&mut observer, "total_commands_processed");
        let errors = value(&mut observer, "total_error_replies");
        let mut counts = counts(&mut observer);
        counts.remove("info");
        let stats: BTreeMap<String, String> = info(&mut observer, "errorstats").into_iter().collect();
        counted.push((counts, stats, commands, errors));
    }
    let (expected, got) = (&counted[..2], &counted[2..]);
    assert_eq!(got[0].0["rpush"], expected[0].0["rpush"]);
    assert_eq!(got[0].0["blpop"], ["calls=5", "rejected_calls=0", "failed_calls=0"]);
    for (name, numbers) in &expected[1].0 {
        assert_eq!(got[1].0.get(name), Some(numbers), "{name}");
    }
    assert_eq!(got[1].0, expected[1].0);
    assert_eq!(got[1].1, expected[1].1, "errorstats");
    assert_eq!((&got[1].2, &got[1].3), (&expected[1].2, &expected[1].3), "all commands, all errors");
}

/// What has changed since the last save, of which there is none.
fn changes(connection: &mut Connection) -> u64 {
    value(connection, "rdb_changes_since_last_save").parse().expect("a number")
}

#[test]
fn changes_are_counted_as_in_redis() {
    const STEPS: usize = 300;
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(3, 3, &[]));
    let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
    let mut check = |args: &[Vec<u8>]| {
        let reply = oracle.ask(args);
        ours.ask(args);
        let expected = changes(&mut oracle);
        let mut got = 0;
        // Other cores' counters are those of their last turn.
        let is_equal = (0..1000).any(|_| {
            got = changes(&mut ours);
            got == expected
        });
        let shown: Vec<String> = args.iter().map(|arg| show(&arg[..arg.len().min(40)])).collect();
        assert!(is_equal, "{shown:?} {}: expected {expected}, got {got}", show(&reply[..reply.len().min(80)]));
    };
    for line in [
        "MSET a 1 b 2 c 3 d 4",
        "MSETNX e 1 f 2",
        "MSETNX a 1 g 2",
        "SET a 1 PXAT 1",
        "EXPIRE b 0",
        "EXPIRE c 100",
        "PERSIST c",
        "PERSIST c",
        "GETEX c EX 100",
        "GETEX c PERSIST",
        "DEL a b c d",
        "RPUSH l 1 2 3 4 5 6 7 8",
        "LPOP l 2",
        "LTRIM l 1 -2",
        "LTRIM l 0 -1",
        "LREM l 0 5",
        "LMOVE l m LEFT LEFT",
        "BLMOVE l m LEFT LEFT 0",
        "BLMPOP 0 2 l m LEFT COUNT 10",
        "BLPOP l m 0",
        "SETBIT bits 1 0",
        "SETBIT bits 1 0",
        "BITFIELD bits SET u4 0 0 SET u4 20 0 INCRBY u4 0 1 INCRBY u4 0 0 GET u4 0",
        "BITFIELD bits OVERFLOW FAIL SET u1 0 2 INCRBY u1 99 2",
        "BITOP AND nothing nosuch",
        "BITOP AND bits nosuch",
        "RENAME e g",
        "COPY g h",
        "MOVE h 1",
        "SWAPDB 0 1",
        "SWAPDB 1 1",
        "SELECT 1",
        "RPUSH l 3 1 2",
        "SORT l STORE m",
        "SORT l LIMIT 9 9 STORE m",
        "SORT l LIMIT 9 9 STORE m",
        "CONFIG RESETSTAT",
        "FLUSHDB",
        "FLUSHALL",
        "FLUSHALL",
    ] {
        check(&line.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>());
    }
    for grammar in [Grammar::Data, Grammar::Strings, Grammar::Lists, Grammar::Sorts] {
        for step in Generator::new(1, grammar).steps(STEPS) {
            if let Step::Command(args) = step {
                check(&args);
            }
        }
    }
}

#[test]
fn slow_commands_are_logged_with_their_clients_wherever_they_run() {
    let server = Server::slotmesh(3, 3, &["--slowlog-max-len", "200"]);
    let mut observer = server.connect();
    let mut crowd: Vec<Connection> = (0..4).map(|_| server.connect()).collect();
    for (number, connection) in crowd.iter_mut().enumerate() {
        connection.say(&format!("CLIENT SETNAME name{number}"));
    }
    assert_eq!(observer.say("CONFIG SET slowlog-log-slower-than 0"), b"+OK\r\n");
    observer.say("SLOWLOG RESET");
    for (number, connection) in crowd.iter_mut().enumerate() {
        for index in 0..8 {
            connection.say(&format!("SET key:{number}:{index} x"));
        }
        connection.say("AUTH secret");
        connection.say("MULTI");
        connection.say("GET a");
        connection.say("EXEC");
        connection.send(&words(&format!("BLPOP list:{number} 0")));
        await_condition("a client waits", 10, || value(&mut observer, "blocked_clients") == "1");
        observer.say(&format!("RPUSH list:{number} x"));
        connection.reply();
    }
    observer.say("CONFIG SET slowlog-log-slower-than -1");
    let reply = observer.say("SLOWLOG GET -1");
    let mut ids = Vec::new();
    for (number, connection) in crowd.iter().enumerate() {
        let (name, address) = (format!("name{number}"), connection.local_address());
        let mut logged = Vec::new();
        for entry in elements(&reply).expect("an array") {
            let parts: Vec<&[u8]> = elements(entry).expect("an entry").collect();
            assert_eq!(parts.len(), 6);
            let text = |part: &[u8]| show(part).split("\\r\\n").nth(1).unwrap_or_default().to_owned();
            ids.push(show(parts[0]));
            if text(parts[5]) == name {
                assert_eq!(text(parts[4]), address);
                let words: Vec<String> = elements(parts[3]).expect("arguments").map(text).collect();
                logged.push(words.join(" "));
            }
        }
        logged.reverse();
        let mut expected: Vec<String> = (0..8).map(|index| format!("SET key:{number}:{index} x")).collect();
        expected.extend(["AUTH (redacted)", "MULTI", "GET a"].map(str::to_owned));
        expected.push(format!("BLPOP list:{number} 0"));
        assert_eq!(logged, expected, "of {name}");
    }
    let all = ids.len() / crowd.len();
    ids.truncate(all);
    ids.dedup();
    assert_eq!(ids.len(), all, "ids are unique");
}

#[test]
fn errors_and_shapes_are_those_of_redis() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    for opening in ["HELLO 2", "HELLO 3"] {
        let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
        oracle.say(opening);
        ours.say(opening);
        for line in [
            "SLOWLOG",
            "SLOWLOG NOSUCH",
            "SLOWLOG GET -2",
            "SLOWLOG GET x",
            "SLOWLOG GET 1 2",
            "SLOWLOG GET 0",
            "SLOWLOG LEN",
            "SLOWLOG LEN 1",
            "SLOWLOG RESET",
            "SLOWLOG RESET 1",
            "SLOWLOG HELP 1",
            "LATENCY",
            "LATENCY NOSUCH",
            "LATENCY LATEST",
            "LATENCY LATEST 1",
            "LATENCY HISTORY",
            "LATENCY HISTORY a",
            "LATENCY HISTORY a b",
            "LATENCY GRAPH",
            "LATENCY GRAPH a",
            "LATENCY RESET",
            "LATENCY RESET a b",
            "LATENCY DOCTOR 1",
            "LATENCY HISTOGRAM nosuch",
            "LATENCY HELP 1",
            "MEMORY",
            "MEMORY NOSUCH",
            "MEMORY DOCTOR 1",
            "MEMORY STATS 1",
            "MEMORY PURGE",
            "MEMORY PURGE 1",
            "MEMORY HELP 1",
            "MEMORY MALLOC-STATS 1",
            "TIME 1",
            "CONFIG SET slowlog-log-slower-than -2",
            "CONFIG SET slowlog-max-len -1",
            "CONFIG SET latency-monitor-threshold -1",
            "CONFIG SET latency-tracking maybe",
        ] {
            assert_eq!(show(&ours.say(line)), show(&oracle.say(line)), "{line}");
        }
        for line in ["LATENCY DOCTOR", "MEMORY DOCTOR", "MEMORY MALLOC-STATS", "MEMORY STATS", "TIME", "SLOWLOG HELP"] {
            let [expected, got] = [oracle.say(line), ours.say(line)].map(|reply| shape(&reply));
            assert_eq!(got, expected, "{line}");
        }
        let histogram = |side: &mut Connection| shape(&side.say("LATENCY HISTOGRAM hello"));
        oracle.say("CONFIG RESETSTAT");
        ours.say("CONFIG RESETSTAT");
        oracle.say(opening);
        ours.say(opening);
        assert_eq!(histogram(&mut ours), histogram(&mut oracle));
    }
}

/// The first byte of a reply, and of those in it as often as they differ from the one before.
fn shape(reply: &[u8]) -> String {
    let Ok(parts) = elements(reply) else { return char::from(reply[0]).to_string() };
    let mut parts: Vec<String> = parts.map(shape).collect();
    parts.sort();
    parts.dedup();
    format!("{}[{}]", char::from(reply[0]), parts.join(""))
}

#[test]
fn what_takes_long_is_an_event() {
    let server = Server::slotmesh(2, 2, &["--latency-monitor-threshold", "1"]);
    let mut connection = server.connect();
    let value = "x".repeat(1000);
    for base in 0..40 {
        let requests: Vec<Vec<u8>> =
            (0..1000).map(|index| request(&["SET", &format!("{base}:{index}"), &value])).collect();
        connection.send(&requests.concat());
        connection.replies(1000);
    }
    await_condition("KEYS takes a millisecond", 30, || {
        connection.say("KEYS *nosuch*a*b*c*d*");
        show(&connection.say("LATENCY LATEST")).contains("command")
    });
    assert!(connection.text("LATENCY GRAPH command").contains("command - high "));
    assert_ne!(connection.say("LATENCY HISTORY command"), b"*0\r\n");
    assert!(connection.text("LATENCY DOCTOR").contains("command: "));
    connection.say("CONFIG SET latency-monitor-threshold 0");
    assert_ne!(connection.say("LATENCY RESET command"), b":0\r\n");
    assert_eq!(connection.say("LATENCY HISTORY command"), b"*0\r\n");
}
