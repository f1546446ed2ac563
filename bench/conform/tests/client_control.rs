//! Clients that are closed, paused and silenced, on any core, as redis-server does it.

use slotmesh_conform::{Connection, Server, await_condition, words};
use std::time::{Duration, Instant};

/// Both servers, ours with several cores.
fn both() -> [Server; 2] {
    let args = &["--enable-debug-command", "yes"];
    [Server::redis(args), Server::slotmesh(3, 3, args)]
}

/// Sends requests in one write.
fn send(connection: &mut Connection, lines: &[&str]) {
    let bytes: Vec<u8> = lines.iter().flat_map(|line| words(line)).collect();
    connection.send(&bytes);
}

fn id(connection: &mut Connection) -> String {
    let reply = connection.say("CLIENT ID");
    String::from_utf8_lossy(&reply).trim_end()[1..].to_owned()
}

fn blocked(control: &mut Connection) -> bool {
    control.text("INFO clients").contains("blocked_clients:1\r\n")
}

#[test]
fn kill_closes_whom_it_names_and_nobody_else() {
    for server in both() {
        let mut control = server.connect();
        let mut others: Vec<_> = (0..6).map(|_| server.connect()).collect();
        let ids: Vec<String> = others.iter_mut().map(id).collect();
        assert_eq!(control.say(&format!("CLIENT KILL ID {}", ids[0])), b":1\r\n");
        assert_eq!(control.say(&format!("CLIENT KILL ID {}", ids[0])), b":0\r\n");
        others.remove(0).read_to_close();
        let address = others[0].local_address();
        assert_eq!(control.say(&format!("CLIENT KILL {address}")), b"+OK\r\n");
        assert_eq!(control.say(&format!("CLIENT KILL {address}")), b"-ERR No such client\r\n");
        others.remove(0).read_to_close();
        assert!(others.iter_mut().all(|other| other.say("PING") == b"+PONG\r\n"));
        // One waits in a blocking command.
        send(&mut others[0], &["BLPOP nothing 0"]);
        await_condition("it waits", 10, || blocked(&mut control));
        assert_eq!(control.say("CLIENT KILL TYPE normal"), b":4\r\n");
        others.drain(..).for_each(|mut other| drop(other.read_to_close()));
        await_condition("nobody waits", 10, || !blocked(&mut control));
        // The reply comes before the end.
        assert_eq!(control.say("CLIENT KILL TYPE normal SKIPME no"), b":1\r\n");
        control.read_to_close();
    }
}

#[test]
fn a_pause_of_writes_lets_reads_through() {
    for server in both() {
        let (mut control, mut other) = (server.connect(), server.connect());
        control.say("SET a 1");
        assert_eq!(control.say("CLIENT PAUSE 60000 WRITE"), b"+OK\r\n");
        assert_eq!(other.say("GET a"), b"$1\r\n1\r\n");
        assert_eq!(other.say("SET a"), b"-ERR wrong number of arguments for 'set' command\r\n");
        send(&mut other, &["GET a", "SET a 2", "GET a", "PING"]);
        assert_eq!(other.reply(), b"$1\r\n1\r\n");
        await_condition("it is paused", 10, || blocked(&mut control));
        assert_eq!(control.say("GET a"), b"$1\r\n1\r\n");
        assert_eq!(control.say("CLIENT UNPAUSE"), b"+OK\r\n");
        assert_eq!(other.replies(3).concat(), b"+OK\r\n$1\r\n2\r\n+PONG\r\n");
        assert!(!blocked(&mut control));
        // A transaction that reads goes on, one that writes waits as a whole.
        control.say("CLIENT PAUSE 60000 WRITE");
        send(&mut other, &["MULTI", "GET a", "EXEC"]);
        assert_eq!(other.replies(3).concat(), b"+OK\r\n+QUEUED\r\n*1\r\n$1\r\n2\r\n");
        send(&mut other, &["MULTI", "INCR a", "EXEC"]);
        assert_eq!(other.reply(), b"+OK\r\n");
        await_condition("it is paused", 10, || blocked(&mut control));
        control.say("CLIENT UNPAUSE");
        assert_eq!(other.replies(2).concat(), b"+QUEUED\r\n*1\r\n:3\r\n");
    }
}

#[test]
fn a_pause_of_all_ends_by_itself() {
    for server in both() {
        let mut others: Vec<_> = (0..4).map(|_| server.connect()).collect();
        let mut control = server.connect();
        others.iter_mut().for_each(|other| drop(other.say("PING")));
        let begin = Instant::now();
        assert_eq!(control.say("CLIENT PAUSE 400"), b"+OK\r\n");
        // It gets no shorter.
        send(&mut control, &["CLIENT PAUSE 1 WRITE"]);
        others.iter_mut().for_each(|other| send(other, &["PING"]));
        for other in &mut others {
            assert_eq!(other.reply(), b"+PONG\r\n");
            assert!(begin.elapsed() >= Duration::from_millis(390), "{:?}", begin.elapsed());
        }
        assert_eq!(control.reply(), b"+OK\r\n");
    }
}

#[test]
fn who_leaves_during_a_pause_is_forgotten_with_its_command() {
    for server in both() {
        let (mut control, mut other) = (server.connect(), server.connect());
        control.say("CLIENT PAUSE 60000 WRITE");
        send(&mut other, &["SET gone 1"]);
        await_condition("it is paused", 10, || blocked(&mut control));
        drop(other);
        await_condition("it is forgotten", 10, || !blocked(&mut control));
        control.say("CLIENT UNPAUSE");
        assert_eq!(control.say("GET gone"), b"$-1\r\n");
    }
}

#[test]
fn silenced_clients_hear_nothing_and_are_obeyed() {
    for server in both() {
        let mut client = server.connect();
        send(&mut client, &["CLIENT REPLY OFF", "SET a 1", "SET b 2", "SET c 3", "MGET a b c", "NOSUCH", "PING"]);
        // What is refused, or queued, turns nothing on.
        send(&mut client, &["CLIENT REPLY ON x", "CLIENT REPLY NOSUCH", "MULTI", "CLIENT REPLY ON x", "DISCARD"]);
        send(&mut client, &["CLIENT REPLY ON", "MGET a b c"]);
        assert_eq!(client.replies(2).concat(), b"+OK\r\n*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
        for key in ["a", "b", "c"] {
            let (set, get) = (format!("SET {key} 5"), format!("GET {key}"));
            send(&mut client, &["PING", "CLIENT REPLY SKIP", &set, &get, "CLIENT REPLY SKIP", &get, "PING"]);
            assert_eq!(client.replies(3).concat(), b"+PONG\r\n$1\r\n5\r\n+PONG\r\n");
        }
        send(&mut client, &["CLIENT REPLY SKIP", "BLPOP list 0.01", "ECHO x"]);
        assert_eq!(client.reply(), b"$1\r\nx\r\n");
    }
}

#[test]
fn debug_looks_into_all_shards() {
    let [oracle, ours] = both();
    let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
    for line in [
        "SET a 1",
        "RPUSH l a b 3",
        "SET b x EX 1000",
        "DEBUG POPULATE 300 pop 7",
        "DBSIZE",
        "GET pop:299",
        "SELECT 4",
        "SET a 1",
        "DEBUG DIGEST",
        "DEBUG DIGEST-VALUE a l none",
        "SELECT 0",
        "DEBUG DIGEST-VALUE a l none b pop:3",
        "DEBUG OBJECT none",
        "DEBUG HTSTATS-KEY a",
        "DEBUG STRINGMATCH-LEN a* ab x",
        "DEBUG SLEEP 0.01",
        "DEBUG SET-ACTIVE-EXPIRE 1",
        "DEBUG LOG hello",
        "DEBUG CONFIG-REWRITE-FORCE-ALL",
        "DEBUG PROTOCOL map",
        "FLUSHALL",
        "DEBUG DIGEST",
    ] {
        let (expected, got) = (oracle.say(line), ours.say(line));
        assert_eq!(String::from_utf8_lossy(&expected), String::from_utf8_lossy(&got), "{line}");
    }
}

#[test]
fn keys_that_are_over_stay_while_expiry_is_off() {
    for server in both() {
        let mut client = server.connect();
        assert_eq!(client.say("DEBUG SET-ACTIVE-EXPIRE 0"), b"+OK\r\n");
        client.say("PSETEX a 1 x");
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(client.say("DBSIZE"), b":1\r\n");
        client.say("DEBUG SET-ACTIVE-EXPIRE 1");
        await_condition("it expires", 10, || client.say("DBSIZE") == b":0\r\n");
    }
}

#[test]
fn a_wait_for_replicas_ends_with_its_time_and_blocks_its_client() {
    for server in both() {
        let (mut control, mut client) = (server.connect(), server.connect());
        let begin = Instant::now();
        send(&mut client, &["SET a 1", "WAIT 1 150", "WAIT 0 0", "PING"]);
        assert_eq!(client.replies(4).concat(), b"+OK\r\n:0\r\n:0\r\n+PONG\r\n");
        assert!(begin.elapsed() >= Duration::from_millis(140), "{:?}", begin.elapsed());
        send(&mut client, &["MULTI", "WAIT 1 60000", "EXEC"]);
        assert_eq!(client.replies(3).concat(), b"+OK\r\n+QUEUED\r\n*1\r\n:0\r\n");
        let id = id(&mut client);
        for (how, reply) in
            [("TIMEOUT", &b":0\r\n"[..]), ("ERROR", b"-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")]
        {
            send(&mut client, &["WAIT 1 0"]);
            await_condition("it waits", 10, || blocked(&mut control));
            assert_eq!(control.say(&format!("CLIENT UNBLOCK {id} {how}")), b":1\r\n");
            assert_eq!(client.reply(), reply);
        }
    }
}

#[test]
fn a_shutdown_ends_the_process_and_all_connections() {
    for mut server in both() {
        let mut others: Vec<_> = (0..4).map(|_| server.connect()).collect();
        others.iter_mut().for_each(|other| drop(other.say("PING")));
        assert_eq!(others[0].say("SHUTDOWN ABORT"), b"-ERR No shutdown in progress.\r\n");
        send(&mut others[1], &["SHUTDOWN NOSAVE"]);
        others.iter_mut().for_each(|other| drop(other.read_to_close()));
        await_condition("the process has ended", 10, || !server.is_alive());
    }
}

#[test]
fn nothing_expires_during_a_pause() {
    for server in both() {
        let mut client = server.connect();
        let expired = |client: &mut Connection| {
            let text = client.text("INFO stats");
            let line = text.lines().find_map(|line| line.strip_prefix("expired_keys:")).expect("a field");
            line.trim().parse::<u64>().expect("a number")
        };
        send(&mut client, &["MULTI", "PSETEX a 10 x", "PSETEX b 10 x", "CLIENT PAUSE 60000 WRITE", "SET c 1", "EXEC"]);
        let last = client.replies(6).pop().expect("six replies");
        assert_eq!(last, b"*4\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        await_condition("they are over", 10, || client.say("MGET a b c") == b"*3\r\n$-1\r\n$-1\r\n$1\r\n1\r\n");
        assert_eq!((client.say("DBSIZE"), expired(&mut client)), (b":3\r\n".to_vec(), 0));
        client.say("CLIENT UNPAUSE");
        client.say("MGET a b");
        await_condition("they are gone", 10, || expired(&mut client) == 2 && client.say("DBSIZE") == b":1\r\n");
    }
}

#[test]
fn who_touches_nothing_leaves_no_trace_on_any_core() {
    let server = Server::slotmesh(3, 3, &[]);
    let (mut client, mut other) = (server.connect(), server.connect());
    let keys = ["a", "b", "c", "d"];
    keys.iter().for_each(|key| drop(other.say(&format!("SET {key} 1"))));
    assert_eq!(client.say("CLIENT NO-TOUCH ON"), b"+OK\r\n");
    let idle = |other: &mut Connection, key: &str| other.say(&format!("OBJECT IDLETIME {key}")) != b":0\r\n";
    await_condition("all are idle", 10, || keys.iter().all(|key| idle(&mut other, key)));
    keys.iter().for_each(|key| drop(client.say(&format!("GET {key}"))));
    client.say("MGET a b c d");
    assert!(keys.iter().all(|key| idle(&mut other, key)));
    client.say("CLIENT NO-TOUCH OFF");
    client.say("MGET a b c d");
    assert!(keys.iter().all(|key| !idle(&mut other, key)));
}

/// Both servers, ours with one shard, with one per core, and with cores that have none.
fn all() -> [Server; 4] {
    let args = &["--enable-debug-command", "yes"];
    [Server::redis(args), Server::slotmesh(1, 1, args), Server::slotmesh(3, 3, args), Server::slotmesh(3, 1, args)]
}

/// What a transaction of these requests answers.
fn exec(connection: &mut Connection, lines: &[&str]) -> String {
    let all: Vec<&str> = ["MULTI"].iter().chain(lines).chain(&["EXEC"]).copied().collect();
    send(connection, &all);
    let replies = connection.replies(lines.len() + 1);
    assert!(replies[1..].iter().all(|reply| reply == b"+QUEUED\r\n"), "{lines:?}: {}", connection.text("PING"));
    String::from_utf8_lossy(&connection.reply()).into_owned()
}

#[test]
fn a_transaction_asks_the_clients_of_all_cores() {
    for server in all() {
        let mut control = server.connect();
        let mut others: Vec<_> = (0..6).map(|_| server.connect()).collect();
        let ids: Vec<String> = others.iter_mut().map(id).collect();
        let list =
            exec(&mut control, &["CLIENT SETNAME chief", "SET a 1", "CLIENT LIST", "CLIENT SETNAME late", "GET a"]);
        assert!(list.starts_with("*5\r\n+OK\r\n+OK\r\n$"), "{list}");
        assert!(list.ends_with("\r\n+OK\r\n$1\r\n1\r\n"), "{list}");
        assert_eq!(list.matches("\nid=").count(), 7, "{list}");
        let own = list.lines().find(|line| line.contains("name=chief")).expect("it shows itself as it was");
        assert!(own.contains(" flags=x ") && own.contains(" multi=5 ") && own.contains(" cmd=exec "), "{own}");
        // Kills are counted in their places, and each is done once.
        let kills = exec(
            &mut control,
            &[
                &format!("CLIENT KILL ID {}", ids[0]),
                &format!("CLIENT KILL ID {}", ids[0]),
                &format!("CLIENT KILL {}", others[1].local_address()),
                "CLIENT KILL 127.0.0.1:1",
                &format!("CLIENT LIST ID {} {}", ids[0], ids[2]),
            ],
        );
        assert!(kills.starts_with("*5\r\n:1\r\n:0\r\n+OK\r\n-ERR No such client\r\n$"), "{kills}");
        assert!(kills.contains(&format!("id={} ", ids[2])), "{kills}");
        others.drain(..2).for_each(|mut other| drop(other.read_to_close()));
        assert!(others.iter_mut().all(|other| other.say("PING") == b"+PONG\r\n"));
        for (reason, reply) in [("TIMEOUT", "*-1\r\n"), ("ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n")]
        {
            send(&mut others[0], &["BLPOP nothing 0"]);
            await_condition("it waits", 10, || blocked(&mut control));
            let unblock = format!("CLIENT UNBLOCK {} {reason}", ids[2]);
            assert_eq!(exec(&mut control, &[&unblock, "PING"]), "*2\r\n:1\r\n+PONG\r\n");
            assert_eq!(others[0].reply(), reply.as_bytes());
            assert_eq!(exec(&mut control, &[&unblock]), "*1\r\n:0\r\n");
        }
        // What follows the transaction in the pipeline follows it in the answers.
        send(
            &mut control,
            &["MULTI", "CLIENT LIST", "EXEC", "ECHO behind", "GET a", "MULTI", "CLIENT KILL ID 999", "EXEC"],
        );
        let replies = control.replies(8);
        assert_eq!(replies[3..].concat(), b"$6\r\nbehind\r\n$1\r\n1\r\n+OK\r\n+QUEUED\r\n*1\r\n:0\r\n");
        // It may close itself, and gets its reply before.
        assert_eq!(exec(&mut control, &["GET a", "CLIENT KILL TYPE normal SKIPME no"]), "*2\r\n$1\r\n1\r\n:5\r\n");
        control.read_to_close();
    }
}

#[test]
fn a_transaction_ends_a_pause_everywhere() {
    for server in all() {
        let (mut control, mut others) = (server.connect(), Vec::new());
        assert_eq!(exec(&mut control, &["GET a", "CLIENT PAUSE 60000 WRITE", "GET a"]), "*3\r\n$-1\r\n+OK\r\n$-1\r\n");
        for number in 0..4 {
            let mut other = server.connect();
            send(&mut other, &[&format!("SET a{number} 1")]);
            others.push(other);
        }
        await_condition("all are paused", 10, || control.text("INFO clients").contains("blocked_clients:4\r\n"));
        assert_eq!(exec(&mut control, &["CLIENT UNPAUSE", "GET a"]), "*2\r\n+OK\r\n$-1\r\n");
        others.iter_mut().for_each(|other| assert_eq!(other.reply(), b"+OK\r\n"));
    }
}

#[test]
fn debug_looks_into_all_shards_within_the_transaction() {
    let mut replies = Vec::new();
    for server in all() {
        let mut control = server.connect();
        for number in 0..20 {
            control.say(&format!("SET key:{number} v"));
        }
        let digest = exec(&mut control, &["DEBUG DIGEST"]);
        let both = exec(&mut control, &["SET extra v", "DEBUG DIGEST", "DEBUG DIGEST-VALUE extra none", "DEL extra"]);
        assert!(!both.contains(&digest[4..]), "it sees what the transaction has written: {both}");
        assert_eq!(exec(&mut control, &["DEBUG DIGEST"]), digest);
        let objects = exec(&mut control, &["DEBUG OBJECT key:7", "DEBUG OBJECT none"]);
        assert!(objects.contains("encoding:embstr") && objects.ends_with("-ERR no such key\r\n"), "{objects}");
        assert_eq!(exec(&mut control, &["DEBUG POPULATE 30 key 3", "DBSIZE"]), "*2\r\n+OK\r\n:30\r\n");
        replies.push((digest, both));
    }
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{replies:?}");
}
