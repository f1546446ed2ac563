//! `gateway-read-from`: which node answers the reads of a gateway's clients, while all is well, and while replicas are
//! dead, silent, load, or have lost their master; before nodes of ours and of redis-server.

use slotmesh_conform::{Connection, Front, PASSWORD, Program, Server, await_condition, is_self_test, show};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;
/// The nodes: a master of the first half of the slots and its replica; the other pair is 1 and 3.
const MASTER: u16 = 0;
const REPLICA: u16 = 2;
/// Number of keys, all in the first half of the slots.
const KEYS: u64 = 400;

fn key(number: u64) -> String {
    format!("{{b}}{}", number % KEYS)
}

/// Long enough for a file of them to be read in many pieces.
fn value(number: u64) -> String {
    format!("{:0>300}", number % KEYS)
}

fn programs() -> [Program; 2] {
    [Program::Redis(None), Program::Slotmesh(1)]
}

/// Two masters and their replicas behind a gateway.
struct Stage(Front);

impl std::ops::Deref for Stage {
    type Target = Front;

    fn deref(&self) -> &Front {
        &self.0
    }
}

impl Stage {
    /// Starts all, writes the keys, and waits until the replica has them.
    fn start(program: &Program, node_args: &[&str], gateway_args: &[&str]) -> Self {
        let stage = Self(Front::start(program, 2, true, node_args, gateway_args));
        let mut client = stage.client();
        for number in 0..KEYS {
            assert_eq!(client.say(&format!("SET {} {}", key(number), value(number))), b"+OK\r\n");
        }
        stage.await_replica();
        stage
    }

    fn replica(&mut self) -> &mut Server {
        &mut self.0.cluster.servers[usize::from(REPLICA)]
    }

    fn await_replica(&self) {
        let size = format!(":{KEYS}\r\n");
        await_condition("the replica has all keys", SECONDS_MAX, || {
            self.node(REPLICA).say("DBSIZE") == size.as_bytes()
        });
    }

    /// Waits until a node answers reads of the gateway's clients.
    fn await_reads_at(&self, index: u16) {
        let before = self.calls(index, "get");
        let mut client = self.client();
        await_condition(&format!("node {index} is read from"), SECONDS_MAX, || {
            assert_value(&mut client, 0);
            self.calls(index, "get") > before
        });
    }
}

fn assert_value(client: &mut Connection, number: u64) {
    let reply = client.say(&format!("GET {}", key(number)));
    assert_eq!(show(&reply), format!("$300\\r\\n{}\\r\\n", value(number)), "GET {}", key(number));
}

/// Clients that read all the time, and want the right value each time.
struct Readers {
    stops: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Readers {
    fn begin(stage: &Stage) -> Self {
        let (stops, count) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let threads = (0..3).map(|_| {
            let (mut client, stops, count) = (stage.client(), stops.clone(), count.clone());
            std::thread::spawn(move || {
                let mut longest = Duration::ZERO;
                while !stops.load(Ordering::Relaxed) {
                    let begin = Instant::now();
                    assert_value(&mut client, count.fetch_add(1, Ordering::Relaxed));
                    longest = longest.max(begin.elapsed());
                }
                longest
            })
        });
        let threads = threads.collect();
        Self { stops, count, threads }
    }

    /// Waits until there were so many more reads.
    fn await_more(&self, reads: u64) {
        let until = self.count.load(Ordering::Relaxed) + reads;
        await_condition("the readers read on", SECONDS_MAX, || {
            assert!(!self.threads.iter().any(JoinHandle::is_finished), "a reader has got something wrong");
            self.count.load(Ordering::Relaxed) > until
        });
    }

    /// Ends them; tells how long the longest read took.
    fn end(self) -> Duration {
        self.stops.store(true, Ordering::Relaxed);
        let longest = self.threads.into_iter().map(|reader| reader.join().expect("every read is right"));
        longest.max().unwrap_or_default()
    }
}

#[test]
fn reads_go_where_they_shall_and_writes_to_the_master() {
    if is_self_test() {
        return;
    }
    for program in programs() {
        let stage = Stage::start(&program, &[], &[]);
        let mut client = stage.client();
        assert!(client.say("CONFIG GET gateway-read-from").ends_with(b"$6\r\nmaster\r\n"), "the default");
        for (from, at_master, at_replica) in [("master", 60, 0), ("replica", 0, 60), ("any", 30, 30), ("master", 60, 0)]
        {
            assert_eq!(client.say(&format!("CONFIG SET gateway-read-from {from}")), b"+OK\r\n");
            stage.tell_nodes("CONFIG RESETSTAT");
            for number in 0..60 {
                assert_value(&mut client, number);
            }
            let reads = (stage.calls(MASTER, "get"), stage.calls(REPLICA, "get"));
            assert_eq!(reads, (at_master, at_replica), "{program:?}: {from}");
            for number in 0..20 {
                assert_eq!(client.say(&format!("SET {} {}", key(number), value(number))), b"+OK\r\n");
            }
            assert_eq!(stage.calls(MASTER, "set"), 20, "{program:?}: {from}");
            // A read inside of a transaction sees what stands before it: it goes with it.
            for (line, reply) in [("MULTI", "+OK\r\n"), ("STRLEN {b}7", "+QUEUED\r\n"), ("EXEC", "*1\r\n:300\r\n")] {
                assert_eq!(show(&client.say(line)), show(reply.as_bytes()), "{program:?}: {from}");
            }
            assert_eq!(stage.calls(MASTER, "exec"), 1, "{program:?}: {from}");
            for index in 0..4 {
                assert_eq!(stage.errors(index, "MOVED"), 0, "{program:?}: {from}: node {index} knows who comes");
            }
            // A scan stays with those that it has begun with.
            let (mut cursor, mut found) = ("0".to_owned(), 0);
            while found == 0 || cursor != "0" {
                let reply = client.say(&format!("SCAN {cursor} COUNT 20"));
                let mut parts = slotmesh_resp::elements(&reply).expect("a cursor and keys");
                cursor = show(parts.next().expect("a cursor")).split("\\r\\n").nth(1).expect("a number").to_owned();
                found += slotmesh_resp::elements(parts.next().expect("keys")).expect("an array").count();
            }
            assert!(found >= KEYS as usize, "{program:?}: {from}: {found}");
            let links = stage.links_at(REPLICA);
            match from {
                "master" => assert!(links.iter().all(|link| link.contains(" flags=N ")), "{program:?}: {links:?}"),
                _ => assert!(links.len() == 1 && links[0].contains(" flags=r "), "{program:?}: READONLY: {links:?}"),
            }
        }
    }
}

#[test]
fn a_replica_that_dies_costs_no_reader_an_error() {
    if is_self_test() {
        return;
    }
    for program in programs() {
        // A replica that has no data yet says so, and does not answer from nothing.
        let node_args = ["--cluster-node-timeout", "2000", "--replica-serve-stale-data", "no"];
        let mut stage = Stage::start(&program, &node_args, &["--gateway-read-from", "replica"]);
        let readers = Readers::begin(&stage);
        readers.await_more(200);
        assert!(stage.calls(REPLICA, "get") > 0 && stage.calls(MASTER, "get") == 0);
        stage.replica().signal("KILL");
        stage.replica().await_end();
        readers.await_more(500);
        assert!(stage.calls(MASTER, "get") > 400, "{program:?}: the master answers instead");
        stage.replica().restart();
        stage.await_replica();
        stage.await_reads_at(REPLICA);
        // One that is silent is noticed by the cluster.
        stage.replica().pause();
        readers.await_more(500);
        stage.replica().signal("CONT");
        stage.await_reads_at(REPLICA);
        // Or before, if so wanted.
        assert_eq!(stage.client().say("CONFIG SET gateway-timeout 200"), b"+OK\r\n");
        readers.await_more(100);
        let before = stage.calls(MASTER, "get");
        stage.replica().pause();
        readers.await_more(500);
        stage.replica().signal("CONT");
        assert!(stage.calls(MASTER, "get") > before + 400, "{program:?}: given up sooner");
        stage.await_reads_at(REPLICA);
        let longest = readers.end();
        println!("{program:?}: the longest read took {longest:?}");
        assert!(longest < Duration::from_secs(15), "{program:?}: {longest:?}");
    }
}

#[test]
fn what_a_replica_cannot_answer_yet_its_master_does() {
    if is_self_test() {
        return;
    }
    for program in programs() {
        // Slowly, so that there is time to ask.
        let slow =
            ["--key-load-delay", "8000", "--rdbcompression", "no", "--loading-process-events-interval-bytes", "1024"];
        let own = ["--cluster-node-timeout", "6000", "--replica-serve-stale-data", "no"];
        let mut stage = Stage::start(&program, &[&slow[..], &own].concat(), &["--gateway-read-from", "replica"]);
        stage.await_reads_at(REPLICA);
        assert_eq!(stage.node(REPLICA).say("SAVE"), b"+OK\r\n");
        stage.replica().signal("KILL");
        stage.replica().restart();
        let mut client = stage.client();
        let mut number = 0;
        await_condition("it is asked while it loads", SECONDS_MAX, || {
            number += 1;
            assert_value(&mut client, number);
            stage.errors(REPLICA, "LOADING") > 0
        });
        stage.await_reads_at(REPLICA);
        // A replica without its master says so, if it does not show what is old.
        for directive in ["masterauth", "requirepass"] {
            stage.tell_nodes(&format!("CONFIG SET {directive} {PASSWORD}"));
        }
        assert_eq!(client.ask(&["CONFIG", "SET", "gateway-password", PASSWORD]), b"+OK\r\n");
        assert_eq!(stage.node(REPLICA).say("CONFIG SET masterauth wrong"), b"+OK\r\n");
        assert_eq!(stage.node(MASTER).say("CLIENT KILL TYPE replica"), b":1\r\n");
        await_condition("it is asked without its master", SECONDS_MAX, || {
            number += 1;
            assert_value(&mut client, number);
            stage.errors(REPLICA, "MASTERDOWN") > 0
        });
        assert_eq!(stage.node(REPLICA).ask(&["CONFIG", "SET", "masterauth", PASSWORD]), b"+OK\r\n");
        await_condition("it has its master again", SECONDS_MAX, || {
            stage.node(REPLICA).text("INFO replication").contains("master_link_status:up")
        });
        stage.tell_nodes("CONFIG RESETSTAT");
        stage.await_reads_at(REPLICA);
        (0..20).for_each(|number| assert_value(&mut client, number));
        assert_eq!(stage.calls(MASTER, "get"), 0, "{program:?}: all is as before");
    }
}
