//! One stream for a process of several cores and shards, with stock nodes at the other end.

use slotmesh_base::Rng;
use slotmesh_conform::{Connection, Server, await_condition, unused_port, words};
use std::collections::BTreeMap;
use std::thread;

/// Cores and shards.
const LAYOUTS: [(usize, usize); 3] = [(3, 1), (4, 4), (3, 2)];
const DATABASES: usize = 3;
const CLIENTS: u64 = 8;
const SECONDS_MAX: u64 = 60;

/// What INFO says of a field.
fn info(connection: &mut Connection, name: &str) -> String {
    let text = connection.text("INFO replication");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.unwrap_or_default().trim().to_owned()
}

/// All that a server holds: type, value and end of life of each key of each database.
fn content(server: &Server) -> BTreeMap<String, String> {
    let mut connection = server.connect();
    let mut found = BTreeMap::new();
    for db in 0..DATABASES {
        connection.say(&format!("SELECT {db}"));
        let keys = String::from_utf8(connection.say("KEYS *")).expect("our keys are text");
        for key in keys.lines().filter(|line| line.starts_with("k:")) {
            let kind = String::from_utf8(connection.say(&format!("TYPE {key}"))).expect("types are words");
            let value = match kind.trim() {
                "+list" => connection.say(&format!("LRANGE {key} 0 -1")),
                // Between the two questions a key may end.
                _ => connection.say(&format!("GET {key}")),
            };
            let ends = connection.say(&format!("PEXPIRETIME {key}"));
            let shown = [&value[..], b" ends ", &ends].concat();
            found.insert(format!("{db}/{key}"), format!("{kind}{}", String::from_utf8_lossy(&shown)));
        }
    }
    found
}

/// A request of the load, or several that belong together.
fn step(rng: &mut Rng) -> Vec<String> {
    let key = |rng: &mut Rng| format!("k:{}", rng.below(40));
    let list = |rng: &mut Rng| format!("k:list:{}", rng.below(10));
    let (a, b, c, number) = (key(rng), key(rng), key(rng), rng.below(1000));
    let (one, other) = (list(rng), list(rng));
    let single = |rng: &mut Rng| match rng.below(9) {
        0 => format!("SET {a} {number}"),
        1 => format!("INCR {a}"),
        2 => format!("APPEND {a} {number}"),
        3 => format!("RPUSH {one} {number}"),
        4 => format!("LPOP {one}"),
        5 => format!("SET {a} {number} PX {}", 1 + rng.below(200)),
        6 => format!("PEXPIRE {b} {}", 1 + rng.below(300)),
        7 => format!("DEL {a}"),
        _ => format!("GETDEL {a}"),
    };
    match rng.below(200) {
        0 => vec!["FLUSHALL".to_owned()],
        1 => vec!["FLUSHDB".to_owned()],
        2 => vec![format!("SWAPDB {} {}", rng.below(3), rng.below(3))],
        3..10 => vec![format!("SELECT {}", rng.below(3))],
        10..30 => vec![format!("MSET {a} 1 {b} 2 {c} {number}")],
        30..40 => vec![format!("RENAME {a} {b}")],
        40..50 => vec![format!("COPY {a} {b} REPLACE")],
        50..60 => vec![format!("LMOVE {one} {other} LEFT RIGHT")],
        60..65 => vec![format!("DEL {a} {b} {c}")],
        65..70 => vec![format!("MOVE {a} {}", rng.below(3))],
        70..75 => vec![format!("BLPOP {one} {other} 0.002")],
        75..80 => vec!["KEYS *".to_owned()],
        80..100 => {
            let many = 1 + rng.below(4);
            let mut all = vec!["MULTI".to_owned()];
            all.extend((0..many).map(|_| single(rng)));
            all.push(format!("SET {b} {number}"));
            all.push(format!("RENAME {b} {c}"));
            if rng.below(8) == 0 {
                all.push("FLUSHDB".to_owned());
                all.push(format!("SET {c} {number}"));
            }
            all.push("EXEC".to_owned());
            all
        }
        _ => vec![single(rng)],
    }
}

/// Several clients at once.
fn load(server: &Server, seed: u64, steps: usize) {
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut rng = Rng::new(seed * 100 + client);
                let mut connection = server.connect();
                let mut left = steps;
                while left > 0 {
                    let together = left.min(1 + rng.below(30) as usize);
                    left -= together;
                    let lines: Vec<String> = (0..together).flat_map(|_| step(&mut rng)).collect();
                    let bytes: Vec<u8> = lines.iter().flat_map(|line| words(line)).collect();
                    connection.send(&bytes);
                    connection.replies(lines.len());
                }
            });
        }
    });
}

fn await_link(replica: &Server) {
    let mut connection = replica.connect();
    await_condition("the link is up", SECONDS_MAX, || info(&mut connection, "master_link_status") == "up");
}

/// Waits until a replica has the whole stream, and compares what both hold when nothing ends any more.
fn assert_same(master: &Server, replica: &Server, what: &str) {
    let (mut one, mut other) = (master.connect(), replica.connect());
    // Nothing may be left to expire: a key that is over is there or not as somebody looks.
    await_condition("whatever has an end has ended", SECONDS_MAX, || {
        (0..DATABASES).all(|db| {
            let keyspace = one.text("INFO keyspace");
            let line = keyspace.lines().find(|line| line.starts_with(&format!("db{db}:"))).unwrap_or("expires=0,");
            line.contains("expires=0,")
        })
    });
    await_condition("the replica has all", SECONDS_MAX, || {
        let offset = info(&mut one, "master_repl_offset");
        info(&mut other, "slave_repl_offset") == offset && info(&mut one, "master_repl_offset") == offset
    });
    let (expected, found) = (content(master), content(replica));
    for key in expected.keys().chain(found.keys()) {
        assert_eq!(expected.get(key), found.get(key), "{what}: {key}");
    }
}

#[test]
fn stock_replicas_hold_what_all_shards_hold() {
    for (round, (cores, shards)) in LAYOUTS.into_iter().enumerate() {
        let master = Server::slotmesh(cores, shards, &[]);
        let seed = round as u64 + 1;
        load(&master, seed, 100);
        let port = master.port().to_string();
        let first = Server::redis(&["--replicaof", "127.0.0.1", &port]);
        await_link(&first);
        thread::scope(|scope| {
            scope.spawn(|| load(&master, seed + 10, 1500));
            // Its image is cut out of the middle of that.
            let second = Server::redis(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-load", "swapdb"]);
            await_link(&second);
            load(&master, seed + 20, 300);
            let mut connection = master.connect();
            connection.say("SET k:last 1");
            assert_eq!(connection.say("WAIT 2 20000"), b":2\r\n");
            scope.spawn(move || second);
        });
        assert_same(&master, &first, &format!("{cores} cores, {shards} shards"));
    }
}

#[test]
fn an_image_that_is_cut_while_all_is_changed_is_of_one_moment() {
    for (round, (cores, shards)) in LAYOUTS.into_iter().enumerate() {
        let master = Server::slotmesh(cores, shards, &[]);
        let port = master.port().to_string();
        for spooled in ["yes", "no"] {
            master.connect().say(&format!("CONFIG SET repl-diskless-sync {spooled}"));
            let replica = thread::scope(|scope| {
                scope.spawn(|| load(&master, 50 + round as u64, 1500));
                let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]);
                await_link(&replica);
                replica
            });
            assert_same(&master, &replica, &format!("{cores} cores, {shards} shards, diskless {spooled}"));
        }
    }
}

#[test]
fn all_shards_hold_what_a_stock_master_holds() {
    for (round, (cores, shards)) in LAYOUTS.into_iter().enumerate() {
        let master = Server::redis(&[]);
        let seed = 30 + round as u64;
        load(&master, seed, 300);
        let replica = Server::slotmesh(cores, shards, &[]);
        let mut clients: Vec<Connection> = (0..cores).map(|_| replica.connect()).collect();
        assert_eq!(clients[cores - 1].say(&format!("REPLICAOF 127.0.0.1 {}", master.port())), b"+OK\r\n");
        for client in &mut clients {
            assert!(client.say("SET k:1 1").starts_with(b"-READONLY"), "every core refuses writes at once");
            assert!(client.say("ROLE").starts_with(b"*5\r\n$5\r\nslave"));
        }
        load(&master, seed + 10, 500);
        await_link(&replica);
        load(&master, seed + 20, 1500);
        for client in &mut clients {
            let mut listening = replica.connect();
            listening.say("SUBSCRIBE channel");
            master.connect().say("PUBLISH channel text");
            assert!(listening.reply().ends_with(b"text\r\n"), "clients of all cores hear it");
            client.say("PING");
        }
        assert_same(&master, &replica, &format!("{cores} cores, {shards} shards"));

        // It leads on where it was, and its former master comes to it without an image.
        assert_eq!(clients[0].say("REPLICAOF NO ONE"), b"+OK\r\n");
        for client in &mut clients {
            assert_eq!(client.say("SET k:1 mine"), b"+OK\r\n", "every core takes writes at once");
        }
        master.connect().say(&format!("REPLICAOF 127.0.0.1 {}", replica.port()));
        await_link(&master);
        let log = master.log();
        assert!(log.contains("Successful partial resynchronization"), "{log}");
        load(&replica, seed + 40, 800);
        assert_same(&replica, &master, &format!("{cores} cores, {shards} shards, the other way round"));
    }
}

#[test]
fn every_core_knows_the_replicas() {
    for (cores, shards) in LAYOUTS {
        let master = Server::slotmesh(cores, shards, &["--min-replicas-to-write", "1"]);
        let mut clients: Vec<Connection> = (0..cores).map(|_| master.connect()).collect();
        for client in &mut clients {
            await_condition("too few replicas", 5, || client.say("SET k:1 1").starts_with(b"-NOREPLICAS"));
            assert!(client.say("ROLE").starts_with(b"*3\r\n$6\r\nmaster"));
        }
        // One after the other, so that each core is asked for the stream.
        let port = master.port().to_string();
        let replicas: Vec<Server> = (0..cores).map(|_| Server::redis(&["--replicaof", "127.0.0.1", &port])).collect();
        replicas.iter().for_each(await_link);
        for (place, client) in clients.iter_mut().enumerate() {
            await_condition("writes are taken", 10, || client.say(&format!("SET k:{place} 1")) == b"+OK\r\n");
            assert_eq!(client.say(&format!("WAIT {cores} 10000")), format!(":{cores}\r\n").into_bytes());
            assert_eq!(client.say(&format!("WAIT {} 50", cores + 1)), format!(":{cores}\r\n").into_bytes());
            await_condition("INFO shows them", 10, || info(client, "connected_slaves") == cores.to_string());
            await_condition("ROLE shows them", 10, || {
                let role = client.say("ROLE");
                replicas.iter().all(|replica| {
                    let port = replica.port().to_string();
                    role.windows(port.len()).any(|word| word == port.as_bytes())
                })
            });
        }
        let mut listening = replicas[0].connect();
        listening.say("SUBSCRIBE channel");
        for (place, client) in clients.iter_mut().enumerate() {
            client.say(&format!("PUBLISH channel {place}"));
            let heard = listening.reply();
            assert!(heard.ends_with(format!("$1\r\n{place}\r\n").as_bytes()), "{}", String::from_utf8_lossy(&heard));
        }
        let replica = &replicas[0];
        for place in 0..cores {
            assert_eq!(replica.connect().say(&format!("GET k:{place}")), b"$1\r\n1\r\n");
        }
    }
}

#[test]
fn a_wait_ends_with_its_client_or_when_it_is_ended() {
    let master = Server::slotmesh(4, 2, &[]);
    let port = master.port().to_string();
    let replica = Server::redis(&["--replicaof", "127.0.0.1", &port]);
    await_link(&replica);
    let mut operator = master.connect();
    for _ in 0..4 {
        let mut waiting = master.connect();
        let id = String::from_utf8(waiting.say("CLIENT ID")).unwrap();
        let id = id.trim().trim_start_matches(':').to_owned();
        waiting.say("SET k:1 1");
        assert_eq!(waiting.say("WAIT 1 10000"), b":1\r\n");
        waiting.send(&words("WAIT 2 0"));
        await_condition("it waits", 10, || operator.text(&format!("CLIENT LIST ID {id}")).contains("flags=b"));
        assert_eq!(operator.say(&format!("CLIENT UNBLOCK {id}")), b":1\r\n");
        assert_eq!(waiting.reply(), b":1\r\n");
        waiting.send(&words("WAIT 2 0"));
        await_condition("it waits", 10, || operator.text(&format!("CLIENT LIST ID {id}")).contains("flags=b"));
        assert_eq!(operator.say(&format!("CLIENT UNBLOCK {id} ERROR")), b":1\r\n");
        assert_eq!(waiting.reply(), b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n");
        waiting.send(&words("WAIT 2 0"));
    }
    await_condition("nobody waits", 10, || operator.text("INFO clients").contains("blocked_clients:0"));
}

#[test]
fn whoever_waits_for_keys_is_told_that_they_are_a_masters() {
    let master = Server::redis(&[]);
    let replica = Server::slotmesh(4, 4, &[]);
    let mut waiting: Vec<Connection> = (0..8).map(|_| replica.connect()).collect();
    for (place, client) in waiting.iter_mut().enumerate() {
        client.send(&words(&format!("BLPOP k:{place} k:a k:b k:c 0")));
    }
    let mut operator = replica.connect();
    await_condition("all wait", 10, || operator.text("INFO clients").contains("blocked_clients:8"));
    assert_eq!(operator.say(&format!("REPLICAOF 127.0.0.1 {}", master.port())), b"+OK\r\n");
    for mut client in waiting {
        let all = client.read_to_close();
        assert!(all.starts_with(b"-UNBLOCKED force unblock"), "{}", String::from_utf8_lossy(&all));
    }
    let unused = unused_port();
    assert_eq!(operator.say(&format!("REPLICAOF 127.0.0.1 {unused}")), b"+OK\r\n");
    assert_eq!(info(&mut operator, "master_port"), unused.to_string());
}
