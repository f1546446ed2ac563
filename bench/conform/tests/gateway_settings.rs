//! CONFIG SET of what concerns a gateway, while its clients work: what is asked from then on follows, nothing that was
//! asked is lost, and a bad value changes nothing.

use slotmesh_conform::{Connection, Front, Program, await_condition, is_self_test, show, words};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;
/// What a user of the links may do here.
const RIGHTS: &str = "~* &* +@all";

fn set(client: &mut Connection, line: &str) {
    assert_eq!(show(&client.say(&format!("CONFIG SET {line}"))), "+OK\\r\\n", "{line}");
}

/// Clients that count: an answer that is lost, comes twice, or in the wrong order is noticed at once.
struct Counters {
    stops: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Counters {
    fn begin(front: &Front, clients: u64) -> Self {
        let (stops, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..clients).map(|client| {
            let (mut own, stops, done) = (front.client(), stops.clone(), done.clone());
            std::thread::spawn(move || {
                let mut count = 0;
                while !stops.load(Ordering::Relaxed) {
                    count += 1;
                    // On both nodes; what is read stands behind what was written, at whatever node.
                    let lines: Vec<String> = ["b", "a"]
                        .iter()
                        .flat_map(|tag| ["INCR", "STRLEN"].map(|name| format!("{name} {{{tag}}}{client}")))
                        .collect();
                    own.send(&lines.iter().flat_map(|line| words(line)).collect::<Vec<u8>>());
                    let replies: Vec<String> = own.replies(4).iter().map(|reply| show(reply)).collect();
                    let length = count.to_string().len();
                    let expected = [format!(":{count}\\r\\n"), format!(":{length}\\r\\n")];
                    assert_eq!(replies, [&expected[..], &expected].concat());
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        });
        let threads = threads.collect();
        Self { stops, done, threads }
    }

    /// Waits until there was so much more.
    fn await_more(&self, rounds: u64) {
        let until = self.done.load(Ordering::Relaxed) + rounds;
        await_condition("the clients count on", SECONDS_MAX, || {
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a client has got something wrong");
            self.done.load(Ordering::Relaxed) > until
        });
    }

    fn end(self) {
        self.stops.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|client| client.join().expect("every reply is right"));
    }
}

#[test]
fn links_follow_other_credentials_and_nobody_loses_a_request() {
    if is_self_test() {
        return;
    }
    let front = Front::start(&Program::Redis(None), 2, false, &[], &[]);
    for user in ["first", "second"] {
        front.tell_nodes(&format!("ACL SETUSER {user} on >one >two {RIGHTS}"));
    }
    let counters = Counters::begin(&front, 3);
    let mut control = front.client();
    for round in 0..10 {
        let (user, password) = (["first", "second"][round % 2], ["one", "two"][round / 2 % 2]);
        set(&mut control, &format!("gateway-user {user} gateway-password {password}"));
        counters.await_more(20);
        await_condition("the links are this user's, and the others gone", SECONDS_MAX, || {
            (0..2).all(|node| {
                let links = front.links_at(node);
                // One for each core at most.
                !links.is_empty()
                    && links.len() <= 2
                    && links.iter().all(|link| link.contains(&format!(" user={user} ")))
            })
        });
    }
    // Where reads go is said on the links as well.
    for from in ["any", "master", "replica", "master"] {
        set(&mut control, &format!("gateway-read-from {from}"));
        counters.await_more(20);
    }
    await_condition("no link is left over", SECONDS_MAX, || (0..2).all(|node| front.links_at(node).len() <= 2));
    // Those that a client has for itself stay its own, and go when it is done.
    let (mut waiter, mut watcher) = (front.client(), front.client());
    waiter.send(&words("BLPOP {b}queue 0"));
    assert_eq!(watcher.say("WATCH {b}watched"), b"+OK\r\n");
    await_condition("it waits", SECONDS_MAX, || front.node(0).text("INFO clients").contains("blocked_clients:1"));
    set(&mut control, "gateway-user first gateway-password one");
    assert_eq!(watcher.say("MULTI"), b"+OK\r\n");
    assert_eq!(watcher.say("SET {b}watched 1"), b"+QUEUED\r\n");
    assert_eq!(watcher.say("EXEC"), b"*1\r\n+OK\r\n");
    assert_eq!(control.say("RPUSH {b}queue x"), b":1\r\n");
    assert_eq!(show(&waiter.reply()), "*2\\r\\n$8\\r\\n{b}queue\\r\\n$1\\r\\nx\\r\\n");
    await_condition("all links are the new user's", SECONDS_MAX, || {
        front.links_at(0).iter().all(|link| link.contains(" user=first "))
    });
    counters.end();
}

#[test]
fn a_silent_node_is_waited_for_as_long_as_was_set_last() {
    if is_self_test() {
        return;
    }
    let front = Front::start(&Program::Redis(None), 2, false, &["--cluster-node-timeout", "60000"], &[]);
    let (mut control, mut client) = (front.client(), front.client());
    // With either of the two the other one would let it wait for 20 s.
    for (setting, millis) in [("gateway-timeout 300", 300), ("gateway-timeout 0 gateway-retry-timeout 700", 700)] {
        set(&mut control, setting);
        await_condition("the node answers", SECONDS_MAX, || client.say("INCR {b}").starts_with(b":"));
        front.cluster.servers[0].pause();
        let begin = Instant::now();
        let reply = show(&client.say("INCR {b}"));
        let took = begin.elapsed();
        assert!(reply.starts_with("-UNKNOWNFATE "), "{setting}: {reply}");
        assert!(took >= Duration::from_millis(millis) && took < Duration::from_secs(10), "{setting}: {took:?}");
        front.cluster.servers[0].signal("CONT");
    }
    set(&mut control, "gateway-retry-timeout 20000");
    await_condition("the node answers", SECONDS_MAX, || client.say("INCR {b}").starts_with(b":"));
    front.cluster.servers[0].pause();
    let begin = Instant::now();
    client.send(&words("INCR {b}"));
    while begin.elapsed() < Duration::from_millis(1500) {
        assert_eq!(control.say("EXISTS {a}"), b":0\r\n", "others are served meanwhile");
        assert_eq!(client.arrived_reply().expect("the gateway lives"), None, "it waits again");
    }
    front.cluster.servers[0].signal("CONT");
    assert!(client.reply().starts_with(b":"));
}

#[test]
fn no_more_links_are_made_than_was_set_last() {
    if is_self_test() {
        return;
    }
    let front = Front::start(&Program::Redis(None), 2, false, &[], &[]);
    let mut control = front.client();
    let waits = |count: usize| {
        await_condition("so many wait at the node", SECONDS_MAX, || {
            front.node(0).text("INFO clients").contains(&format!("blocked_clients:{count}"))
        });
    };
    let wait = |number: usize| {
        let mut waiter = front.client();
        waiter.send(&words(&format!("BLPOP {{b}}{number} 0")));
        waiter
    };
    let mut waiters: Vec<Connection> = (0..3).map(wait).collect();
    waits(3);
    // What needs one more waits for it, but not for ever.
    set(&mut control, "gateway-links-max 3 gateway-retry-timeout 500");
    let refused = wait(3).reply();
    assert_eq!(show(&refused), "-ERR The gateway has as many links to nodes as \\'gateway-links-max\\' allows\\r\\n");
    set(&mut control, "gateway-links-max 5 gateway-retry-timeout 20000");
    waiters.push(wait(4));
    waits(4);
    // What there is stays, also where it is more than there may be.
    set(&mut control, "gateway-links-max 1");
    for (number, mut waiter) in [0, 1, 2, 4].into_iter().zip(waiters) {
        assert_eq!(front.node(0).say(&format!("RPUSH {{b}}{number} x")), b":1\r\n");
        assert_eq!(show(&waiter.reply()), format!("*2\\r\\n$4\\r\\n{{b}}{number}\\r\\n$1\\r\\nx\\r\\n"));
    }
    // With one link both nodes are served in turn, and in order.
    for number in 0..20 {
        assert_eq!(control.say(&format!("SET {{b}}x {number}")), b"+OK\r\n");
        assert_eq!(control.say(&format!("SET {{a}}x {number}")), b"+OK\r\n");
    }
}

#[test]
fn a_bad_value_is_refused_with_its_bounds_and_changes_nothing() {
    if is_self_test() {
        return;
    }
    let front = Front::start(&Program::Redis(None), 1, false, &[], &[]);
    let counters = Counters::begin(&front, 2);
    let mut control = front.client();
    let failed = |directive: &str, why: &str| {
        format!("-ERR CONFIG SET failed (possibly related to argument \\'{directive}\\') - {why}\\r\\n")
    };
    let between = |least: u64, most: u64| format!("argument must be between {least} and {most} inclusive");
    for (directive, values, why) in [
        ("gateway-links-max", &["0", "65537", "-1"][..], between(1, 65536)),
        ("gateway-timeout", &["-1", "2147483648"], between(0, 2_147_483_647)),
        ("gateway-retry-timeout", &["0", "2147483648"], between(1, 2_147_483_647)),
        ("gateway-links-max", &["many", ""], "argument couldn\\'t be parsed into an integer".to_owned()),
        (
            "gateway-read-from",
            &["slave", ""],
            "argument(s) must be one of the following: master, replica, any".to_owned(),
        ),
        ("gateway-port", &["6400"], "can\\'t set immutable config".to_owned()),
    ] {
        let before = control.say("CONFIG GET gateway-*");
        for value in values {
            assert_eq!(show(&control.ask(&["CONFIG", "SET", directive, value])), failed(directive, &why), "{value}");
            // None of several, wherever the bad one stands.
            let good = ["gateway-user", "nobody", "gateway-password", "none"];
            for words in [
                [&["CONFIG", "SET"], &good[..], &[directive, value]].concat(),
                [&["CONFIG", "SET", directive, value], &good[..]].concat(),
            ] {
                assert_eq!(show(&control.ask(&words)), failed(directive, &why), "{words:?}");
            }
            assert_eq!(show(&control.say("CONFIG GET gateway-*")), show(&before), "{directive} {value}");
        }
    }
    counters.await_more(20);
    counters.end();
}
