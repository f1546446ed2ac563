//! Too much of what waits and what is queued: answered as by Redis, within bounds, and others are served meanwhile.

use slotmesh_conform::{Connection, Server, await_condition, request, resident_bytes, show, words};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const MIB: u64 = 1024 * 1024;

/// Longest wait of a client for its PONG while another one does too much. Commands on whole transactions hold the
/// shards they need: a transaction of a hundred thousand commands is the longest here.
const PONG_TIME_MAX: Duration = Duration::from_secs(2);

/// Does `work` while another client asks for PONG and for a value all the time.
fn while_others_are_served<T>(server: &Server, work: impl FnOnce() -> T) -> T {
    let is_done = AtomicBool::new(false);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            let mut connection = server.connect();
            connection.say("SET {other}value 1");
            let (mut rounds, mut longest) = (0, Duration::ZERO);
            while !is_done.load(Ordering::Relaxed) || rounds < 10 {
                let start = Instant::now();
                connection.send(&[words("PING"), words("GET {other}value")].concat());
                assert_eq!(connection.replies(2).concat(), b"+PONG\r\n$1\r\n1\r\n");
                longest = longest.max(start.elapsed());
                rounds += 1;
            }
            assert!(longest < PONG_TIME_MAX, "one of {rounds} rounds took {longest:?}");
        });
        let result = work();
        is_done.store(true, Ordering::Relaxed);
        other.join().expect("others are served");
        result
    })
}

fn info(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.text("INFO clients");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no number {name} in {text}"))
}

/// Memory that a server has beyond `before`.
fn grown(server: &Server, before: u64) -> u64 {
    resident_bytes(server.pid()).saturating_sub(before)
}

/// Raises this process's limit of open files; tells whether it suffices.
fn can_open_files(count: usize) -> bool {
    let pid = std::process::id().to_string();
    let limit = |limit: String| {
        let status = Command::new("prlimit").args(["--pid", &pid, &limit]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    limit(format!("--nofile={count}:{count}")) || limit(format!("--nofile={count}:"))
}

#[test]
fn a_transaction_of_a_hundred_thousand_commands_runs() {
    const COMMANDS: usize = 100_000;
    const KEYS: usize = 97;
    let server = Server::slotmesh(3, 3, &[]);
    let before = resident_bytes(server.pid());
    let mut connection = server.connect();
    while_others_are_served(&server, || {
        let incr = |index: usize| request(&["INCR", &format!("key:{}", index % KEYS)]);
        let queue: Vec<u8> = (0..COMMANDS).flat_map(incr).collect();
        let mut sender = connection.sender();
        let requests = [words("MULTI"), queue, words("EXEC")].concat();
        let reply = thread::scope(|scope| {
            scope.spawn(move || sender.write_all(&requests).expect("the server reads"));
            assert_eq!(connection.reply(), b"+OK\r\n");
            for _ in 0..COMMANDS {
                assert_eq!(connection.reply(), b"+QUEUED\r\n");
            }
            connection.reply()
        });
        let replies: Vec<_> = (0..COMMANDS).map(|index| format!(":{}\r\n", index / KEYS + 1)).collect();
        assert!(reply == format!("*{COMMANDS}\r\n{}", replies.concat()).as_bytes(), "{}", show(&reply));
    });
    assert!(grown(&server, before) < 96 * MIB, "{} bytes for 3 MB of commands", grown(&server, before));
    // And one that is thrown away.
    let queue: Vec<u8> = (0..COMMANDS).flat_map(|_| words("INCR key:0")).collect();
    connection.send(&[words("MULTI"), queue, words("DISCARD"), words("GET key:0")].concat());
    let replies = connection.replies(COMMANDS + 3);
    assert_eq!(show(&replies[COMMANDS + 1..].concat()), "+OK\\r\\n$4\\r\\n1031\\r\\n");
}

/// (redis-server looks through all keys that a client watches for each new one, and takes minutes.)
#[test]
fn a_hundred_thousand_keys_are_watched_and_forgotten() {
    const KEYS: usize = 100_000;
    if slotmesh_conform::is_self_test() {
        return;
    }
    let server = Server::slotmesh(3, 3, &[]);
    let before = resident_bytes(server.pid());
    let (mut watcher, mut other) = (server.connect(), server.connect());
    let watch: Vec<String> =
        std::iter::once("WATCH".to_owned()).chain((0..KEYS).map(|index| format!("key:{index}"))).collect();
    let transaction = [words("MULTI"), words("PING"), words("EXEC")].concat();
    while_others_are_served(&server, || {
        for (round, changed) in [0, KEYS / 2, KEYS - 1].into_iter().enumerate() {
            assert_eq!(watcher.ask(&watch), b"+OK\r\n");
            assert_eq!(watcher.ask(&watch), b"+OK\r\n", "watching twice is watching once");
            other.say(&format!("SET key:{changed} {round}"));
            watcher.send(&transaction);
            assert_eq!(show(&watcher.replies(3).concat()), "+OK\\r\\n+QUEUED\\r\\n*-1\\r\\n");
            watcher.send(&transaction);
            assert_eq!(show(&watcher.replies(3).concat()), "+OK\\r\\n+QUEUED\\r\\n*1\\r\\n+PONG\\r\\n");
        }
        // Clients that leave are forgotten, and what they watched with them: later ones take their memory.
        let mut crowd = || {
            for _ in 0..10 {
                assert_eq!(server.connect().ask(&watch), b"+OK\r\n");
            }
            await_condition("clients that left are forgotten", 10, || info(&mut other, "connected_clients") == 3);
            resident_bytes(server.pid())
        };
        let first = crowd();
        let last = (0..3).map(|_| crowd()).last().unwrap_or(first);
        assert!(first - before < 256 * MIB, "{} bytes for keys that ten watched", first - before);
        assert!(last < first + 64 * MIB, "{} bytes more for keys that nobody watches", last - first);
    });
    assert_eq!(watcher.ask(&watch), b"+OK\r\n");
    assert_eq!(watcher.say("UNWATCH"), b"+OK\r\n");
    other.say("SET key:7 x");
    watcher.send(&transaction);
    assert_eq!(show(&watcher.replies(3).concat()), "+OK\\r\\n+QUEUED\\r\\n*1\\r\\n+PONG\\r\\n");
}

/// `BLPOP key:0 key:1 … 0`
fn wait_for_keys(count: usize) -> Vec<String> {
    let keys = (0..count).map(|index| format!("key:{index}"));
    std::iter::once("BLPOP".to_owned()).chain(keys).chain(["0".to_owned()]).collect()
}

#[test]
fn a_client_waits_for_ten_thousand_keys() {
    const KEYS: usize = 10_000;
    const CLIENTS: u64 = 10;
    let server = Server::slotmesh(3, 3, &[]);
    let mut other = server.connect();
    let wait = wait_for_keys(KEYS);
    while_others_are_served(&server, || {
        for served in [KEYS - 1, 0, 5_000] {
            let mut waiter = server.connect();
            waiter.send(&request(&wait));
            await_condition("the client waits", 10, || info(&mut other, "blocked_clients") == 1);
            assert_eq!(other.say(&format!("RPUSH key:{served} x y")), b":2\r\n");
            let name = format!("key:{served}");
            let expected = format!("*2\r\n${}\r\n{name}\r\n$1\r\nx\r\n", name.len());
            assert_eq!(show(&waiter.reply()), show(expected.as_bytes()));
            assert_eq!(other.say(&format!("RPOP {name}")), b"$1\r\ny\r\n");
            // It stands in no line any more.
            assert_eq!(other.say("RPUSH key:77 x"), b":1\r\n");
            assert_eq!(other.say("LPOP key:77"), b"$1\r\nx\r\n");
        }
        // Some that wait for all, and leave at once.
        let mut crowd: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
        crowd.iter_mut().for_each(|waiter| waiter.send(&request(&wait)));
        await_condition("all wait", 10, || info(&mut other, "blocked_clients") == CLIENTS);
        drop(crowd);
        await_condition("nobody waits", 10, || info(&mut other, "blocked_clients") == 0);
        await_condition("they are forgotten", 10, || info(&mut other, "connected_clients") == 2);
    });
    assert_eq!(other.say("RPUSH key:5 x"), b":1\r\n");
    assert_eq!(other.say("LLEN key:5"), b":1\r\n");
}

#[test]
fn a_large_element_travels_between_shards() {
    const LENGTH: usize = 64 * 1024 * 1024;
    let server = Server::slotmesh(3, 3, &[]);
    let before = resident_bytes(server.pid());
    let mut connection = server.connect();
    let element = vec![b'e'; LENGTH];
    assert_eq!(connection.ask(&[b"RPUSH".as_slice(), b"a", &element]), b":1\r\n");
    while_others_are_served(&server, || {
        for (from, to) in [("a", "b"), ("b", "c"), ("c", "d")] {
            assert_eq!(connection.say(&format!("RENAME {from} {to}")), b"+OK\r\n");
        }
        let mut waiter = server.connect();
        waiter.send(&words("BLMOVE e f LEFT RIGHT 0"));
        let mut other = server.connect();
        await_condition("the client waits", 10, || info(&mut other, "blocked_clients") == 1);
        let moved = connection.say("LMOVE d e LEFT RIGHT");
        assert!(moved.len() == LENGTH + 13 && waiter.reply() == moved, "{}", show(&moved));
        assert_eq!(connection.say("EXISTS a b c d e f"), b":1\r\n");
        assert!(connection.say("LINDEX f 0") == moved);
    });
    assert_eq!(connection.say("DEL f"), b":1\r\n");
    connection.say("PING");
    await_condition("memory is given back", 10, || grown(&server, before) < 4 * LENGTH as u64);
}

#[test]
fn an_element_above_the_limit_is_refused_as_by_redis() {
    let answers = [Server::redis(&[]), Server::slotmesh(1, 1, &[]), Server::slotmesh(3, 3, &[])].map(|server| {
        let mut connection = server.connect();
        connection.send(b"PING\r\n*3\r\n$5\r\nRPUSH\r\n$1\r\na\r\n$536870913\r\nxxx");
        let refusal = connection.read_to_close();
        (refusal, server.connect().say("EXISTS a"))
    });
    assert_eq!(show(&answers[0].0), "+PONG\\r\\n-ERR Protocol error: invalid bulk length\\r\\n");
    assert!(answers[1..].iter().all(|answer| *answer == answers[0]), "{:?}", answers.map(|answer| show(&answer.0)));
}

/// Redis 7.2 lets a transaction grow without bound; later ones count it with the query buffer and close the client.
#[test]
fn a_transaction_above_the_query_buffer_limit_is_not_kept() {
    if slotmesh_conform::is_self_test() {
        return;
    }
    let mut server = Server::slotmesh(3, 3, &["--client-query-buffer-limit", "2mb"]);
    let before = resident_bytes(server.pid());
    let mut connection = server.connect();
    let value = "v".repeat(100_000);
    while_others_are_served(&server, || {
        let set = |index: usize| request(&["SET", &format!("key:{index}"), &value]);
        // The server may close it while we send.
        let _ = connection.try_send(&words("MULTI"));
        for index in 0..500 {
            if connection.try_send(&set(index)).is_err() {
                break;
            }
        }
        let _ = connection.try_send(&words("EXEC"));
        connection.finish_sending();
        let replies = connection.read_to_close();
        assert!(!replies.ends_with(b"+OK\r\n+OK\r\n"), "{} bytes", replies.len());
    });
    assert!(grown(&server, before) < 24 * MIB, "{} bytes of 50 MB", grown(&server, before));
    assert_eq!(server.connect().say("EXISTS key:0 key:499"), b":0\r\n");
    assert!(server.is_alive());
}

#[test]
fn what_a_client_sends_while_it_waits_is_executed_in_order() {
    const REQUESTS: usize = 100_000;
    let server = Server::slotmesh(3, 3, &[]);
    let (mut waiter, mut other) = (server.connect(), server.connect());
    waiter.send(&words("BLPOP a 0"));
    await_condition("the client waits", 10, || info(&mut other, "blocked_clients") == 1);
    // Some 3 MB; the server need not read them before the wait ends.
    let requests: Vec<u8> = (0..REQUESTS).flat_map(|_| words("INCR counter")).collect();
    let mut sender = waiter.sender();
    thread::scope(|scope| {
        scope.spawn(move || sender.write_all(&requests).expect("the server reads in the end"));
        let reader = scope.spawn(|| (waiter.reply(), waiter.replies(REQUESTS)));
        for _ in 0..200 {
            assert_eq!(other.say("EXISTS counter"), b":0\r\n", "what stands behind a wait is not executed");
        }
        assert_eq!(other.say("RPUSH a x"), b":1\r\n");
        let (first, rest) = reader.join().expect("it is answered");
        assert_eq!(show(&first), "*2\\r\\n$1\\r\\na\\r\\n$1\\r\\nx\\r\\n");
        for (index, reply) in rest.iter().enumerate() {
            assert_eq!(show(reply), format!(":{}\\r\\n", index + 1));
        }
    });
}

#[test]
fn a_client_that_waits_cannot_pile_up_requests() {
    const CLIENTS: usize = 20;
    const CHUNK: usize = 64 * 1024;
    let mut server = Server::slotmesh(3, 3, &["--client-query-buffer-limit", "1mb"]);
    let before = resident_bytes(server.pid());
    let mut other = server.connect();
    while_others_are_served(&server, || {
        let mut crowd: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
        for waiter in &mut crowd {
            waiter.send(&words("BLPOP a 0"));
        }
        await_condition("all wait", 10, || info(&mut other, "blocked_clients") == CLIENTS as u64);
        let pings = b"PING\r\n".repeat(CHUNK / 6);
        // Each sends until the server takes no more, or closes it.
        for waiter in &mut crowd {
            waiter.set_write_timeout(Duration::from_millis(50));
            let sent = (0..32 * MIB as usize / CHUNK).take_while(|_| waiter.try_send(&pings).is_ok()).count();
            assert!(sent < 16 * MIB as usize / CHUNK, "{sent} chunks taken");
        }
        assert!(grown(&server, before) < (8 + 3 * CLIENTS as u64) * MIB, "{} bytes", grown(&server, before));
        drop(crowd);
        await_condition("nobody waits", 10, || info(&mut other, "blocked_clients") == 0);
    });
    assert_eq!(other.say("RPUSH a x"), b":1\r\n");
    assert!(server.is_alive());
}

#[test]
fn thousands_that_wait_may_leave_at_once() {
    const CLIENTS: usize = 3_000;
    if !can_open_files(CLIENTS + 1_000) {
        eprintln!("SKIPPED: so many files cannot be opened here (ulimit -n)");
        return;
    }
    let mut server = Server::slotmesh(3, 3, &["--maxclients", "5000"]);
    let mut other = server.connect();
    while_others_are_served(&server, || {
        let mut crowd: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
        for (index, waiter) in crowd.iter_mut().enumerate() {
            waiter.send(&match index % 4 {
                0 => words("BLPOP a b c d 0"),
                1 => words(&format!("BLPOP key:{index} a 1000")),
                2 => words("BLMOVE a b LEFT RIGHT 0"),
                _ => words("BLMPOP 0 3 d c a LEFT"),
            });
        }
        await_condition("all wait", 30, || info(&mut other, "blocked_clients") == CLIENTS as u64);
        drop(crowd);
        await_condition("nobody waits", 30, || info(&mut other, "blocked_clients") == 0);
        await_condition("they are forgotten", 30, || info(&mut other, "connected_clients") == 2);
    });
    assert_eq!(other.say("RPUSH a x"), b":1\r\n");
    assert_eq!(other.say("LLEN a"), b":1\r\n");
    assert!(server.is_alive());
}

#[test]
fn a_crowd_is_served_in_the_order_of_its_arrival() {
    const CLIENTS: usize = 300;
    for keys in ["a", "a b c d"] {
        let server = Server::slotmesh(3, 3, &[]);
        let mut other = server.connect();
        let mut crowd: Vec<_> = (0..CLIENTS).map(|_| server.connect()).collect();
        for (index, waiter) in crowd.iter_mut().enumerate() {
            waiter.send(&words(&format!("BLPOP {keys} 0")));
            await_condition("it waits", 10, || info(&mut other, "blocked_clients") == index as u64 + 1);
        }
        let elements: Vec<String> = (0..CLIENTS).map(|index| index.to_string()).collect();
        // Half one by one, half at once.
        for element in &elements[..CLIENTS / 2] {
            assert_eq!(other.say(&format!("RPUSH a {element}")), b":1\r\n");
        }
        other.say(&format!("RPUSH a {}", elements[CLIENTS / 2..].join(" ")));
        for (index, waiter) in crowd.iter_mut().enumerate() {
            let expected = format!("*2\r\n$1\r\na\r\n${}\r\n{index}\r\n", index.to_string().len());
            assert_eq!(show(&waiter.reply()), show(expected.as_bytes()), "{keys}");
        }
        assert_eq!(other.say("EXISTS a"), b":0\r\n");
    }
}

#[test]
fn no_element_is_lost_or_given_twice() {
    const ELEMENTS: usize = 2_000;
    const WAITERS: usize = 8;
    const LISTS: [&str; 4] = ["a", "b", "c", "d"];
    let server = Server::slotmesh(3, 3, &[]);
    let take = |_: usize| {
        let mut connection = server.connect();
        let mut taken = Vec::new();
        loop {
            let reply = connection.say("BLPOP a b c d 0");
            let element = show(&reply).rsplit("\\r\\n").nth(1).unwrap_or_default().to_owned();
            if element == "end" {
                return taken;
            }
            taken.push(element);
        }
    };
    let taken: Vec<String> = thread::scope(|scope| {
        let waiters: Vec<_> = (0..WAITERS).map(|index| scope.spawn(move || take(index))).collect();
        let push = |writer: usize| {
            let mut connection = server.connect();
            for index in (writer..ELEMENTS).step_by(2) {
                let key = LISTS[index % LISTS.len()];
                match index % 3 {
                    0 => drop(connection.say(&format!("RPUSH {key} {index}"))),
                    1 => {
                        connection.say(&format!("RPUSH staging:{writer} {index}"));
                        connection.say(&format!("LMOVE staging:{writer} {key} LEFT RIGHT"));
                    }
                    _ => {
                        let queue = [words("MULTI"), words(&format!("RPUSH {key} {index}")), words("EXEC")];
                        connection.send(&queue.concat());
                        connection.replies(3);
                    }
                }
            }
        };
        let writers: Vec<_> = (0..2).map(|writer| scope.spawn(move || push(writer))).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("it is answered"));
        let mut last = server.connect();
        await_condition("all have been taken", 30, || last.say("EXISTS a b c d") == b":0\r\n");
        for _ in 0..WAITERS {
            last.say("RPUSH a end");
        }
        waiters.into_iter().flat_map(|waiter| waiter.join().expect("it is answered")).collect()
    });
    let different: BTreeSet<_> = taken.iter().collect();
    assert_eq!((taken.len(), different.len()), (ELEMENTS, ELEMENTS));
}
