//! Connections: many, slow, half-closed, stopped, refused, idle; and the ways to reach the node.

use slotmesh_conform::{
    Connection, Server, await_condition, request, resident_bytes, show, without_test_variables, words,
};
use std::collections::BTreeSet;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Connections of the crowd.
const CROWD: usize = 5_000;

/// Open files that a crowd takes: ours, and the server's as our child.
const FILES: usize = 12_000;

/// The `clients=` of each core in `INFO io`.
fn clients_per_core(connection: &mut Connection) -> Vec<usize> {
    let info = connection.text("INFO io");
    let count = |line: &str| {
        let field = line.strip_prefix("core")?.split([':', ',']).find_map(|field| field.strip_prefix("clients="))?;
        field.parse().ok()
    };
    info.lines().filter_map(count).collect()
}

fn info(connection: &mut Connection, name: &str) -> u64 {
    let text = connection.text("INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or_else(|| panic!("no number {name} in {text}"))
}

/// Raises this process's limit of open files; tells whether it suffices.
fn can_open_files(count: usize) -> bool {
    let pid = std::process::id().to_string();
    let limit = format!("--nofile={count}:{count}");
    let hard = Command::new("prlimit").args(["--pid", &pid, &limit]).stderr(Stdio::null()).status();
    let soft = || {
        let limit = format!("--nofile={count}:");
        Command::new("prlimit").args(["--pid", &pid, &limit]).stderr(Stdio::null()).status()
    };
    hard.is_ok_and(|status| status.success()) || soft().is_ok_and(|status| status.success())
}

#[test]
fn five_thousand_connections_are_served() {
    if !can_open_files(FILES) {
        eprintln!("SKIPPED: {FILES} files cannot be opened here (ulimit -n)");
        return;
    }
    let server = Server::slotmesh(3, 3, &["--maxclients", "10000"]);
    let mut crowd: Vec<_> = (0..CROWD).map(|_| server.connect()).collect();
    for (index, connection) in crowd.iter_mut().enumerate() {
        connection.send(&[request(&["SET", &format!("key:{index}"), &index.to_string()]), words("PING")].concat());
    }
    for connection in &mut crowd {
        assert_eq!(connection.replies(2).concat(), b"+OK\r\n+PONG\r\n");
    }
    for (index, connection) in crowd.iter_mut().enumerate() {
        connection.send(&request(&["GET", &format!("key:{}", CROWD - 1 - index)]));
    }
    for (index, connection) in crowd.iter_mut().enumerate() {
        let expected = (CROWD - 1 - index).to_string();
        assert_eq!(connection.reply(), format!("${}\r\n{expected}\r\n", expected.len()).as_bytes());
    }
    let counts = clients_per_core(&mut crowd[0]);
    assert_eq!(counts.iter().sum::<usize>(), CROWD);
    assert!(counts.iter().all(|count| count.abs_diff(CROWD / 3) <= 1), "dealt evenly: {counts:?}");
    // And they are forgotten when they have gone.
    let mut last = crowd.pop().expect("a crowd");
    drop(crowd);
    await_condition("closed connections are forgotten", 30, || info(&mut last, "connected_clients") == 1);
}

#[test]
fn few_connections_are_dealt_evenly() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut held = Vec::new();
    for count in 1..=9 {
        held.push(server.connect());
        held[count - 1].say("PING");
        await_condition("every core knows its clients", 10, || {
            clients_per_core(&mut held[0]).iter().sum::<usize>() == count
        });
        let counts = clients_per_core(&mut held[0]);
        let (least, most) = (counts.iter().min(), counts.iter().max());
        assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{count} clients: {counts:?}");
    }
}

#[test]
fn a_slow_reader_loses_nothing() {
    const VALUE: usize = 100_000;
    const GETS: usize = 500;
    let server = Server::slotmesh(3, 3, &[]);
    let mut slow = server.connect();
    slow.ask(&[b"SET".as_slice(), b"large", &vec![b'x'; VALUE]]);
    let gets: Vec<u8> = (0..GETS).flat_map(|_| words("GET large")).collect();
    slow.send(&gets);
    slow.send(&words("ECHO end"));
    // Others are served while 50 MB wait.
    let mut other = server.connect();
    for index in 1..=200 {
        assert_eq!(other.say("INCR counter"), format!(":{index}\r\n").as_bytes());
    }
    for _ in 0..GETS {
        let reply = slow.reply();
        assert!(reply.len() == VALUE + 11 && reply.starts_with(b"$100000\r\nxxx"), "{}", show(&reply));
    }
    assert_eq!(slow.reply(), b"$3\r\nend\r\n");
}

#[test]
fn a_client_that_never_reads_is_closed_at_its_limit() {
    const LIMIT: u64 = 8 * 1024 * 1024;
    const VALUE: usize = 1_000_000;
    let limit = format!("normal {LIMIT} 0 0");
    let mut server = Server::slotmesh(3, 3, &["--client-output-buffer-limit", &limit]);
    let mut other = server.connect();
    other.ask(&[b"SET".as_slice(), b"large", &vec![b'x'; VALUE]]);
    let before = resident_bytes(server.pid());
    let mut greedy = server.connect();
    let gets: Vec<u8> = (0..2000).flat_map(|_| words("GET large")).collect();
    // The server may close it while we send.
    let _ = greedy.try_send(&gets);
    await_condition("the client is closed", 30, || info(&mut other, "connected_clients") == 1);
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    // 2 GB were asked for.
    assert!(grown < 16 * LIMIT, "{grown} bytes more");
    greedy.read_to_close();
    assert!(server.is_alive());
}

#[test]
fn a_stranger_cannot_pile_up_replies() {
    let server = Server::slotmesh(2, 2, &["--requirepass", "secret"]);
    let mut friend = server.connect();
    assert_eq!(friend.say("AUTH secret"), b"+OK\r\n");
    let mut stranger = server.connect();
    // Each is refused with some thirty bytes; more than the sockets' buffers take, and none is read.
    let pings = b"PING\r\n".repeat(2_000_000);
    let _ = stranger.try_send(&pings);
    await_condition("the stranger is closed", 30, || info(&mut friend, "connected_clients") == 1);
}

#[test]
fn a_client_that_stays_above_its_soft_limit_is_closed() {
    let server = Server::slotmesh(2, 2, &["--client-output-buffer-limit", "normal 0 1mb 1"]);
    let mut other = server.connect();
    other.ask(&[b"SET".as_slice(), b"large", &vec![b'x'; 1_000_000]]);
    let mut greedy = server.connect();
    let gets: Vec<u8> = (0..30).flat_map(|_| words("GET large")).collect();
    greedy.send(&gets);
    await_condition("the client is closed", 30, || info(&mut other, "connected_clients") == 1);
}

#[test]
fn a_half_closed_connection_gets_all_its_replies() {
    let server = Server::slotmesh(3, 3, &[]);
    for round in 0..20 {
        let mut connection = server.connect();
        let mut requests = Vec::new();
        for index in 0..1000 {
            requests.extend_from_slice(&request(&["SET", &format!("key:{index}"), "value"]));
            requests.extend_from_slice(&request(&["GET", &format!("key:{index}")]));
        }
        connection.send(&requests);
        connection.finish_sending();
        let replies = connection.read_to_close();
        assert_eq!(show(&replies), show(&b"+OK\r\n$5\r\nvalue\r\n".repeat(1000)), "round {round}");
    }
}

#[test]
fn a_half_sent_request_is_dropped_with_its_connection() {
    let server = Server::slotmesh(2, 2, &[]);
    let mut connection = server.connect();
    connection.send(b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$100\r\nabc");
    connection.finish_sending();
    assert_eq!(connection.read_to_close(), b"+PONG\r\n");
}

#[test]
fn a_stopped_client_does_not_hold_up_others() {
    const GETS: usize = 300;
    const VALUE: usize = 100_000;
    let server = Server::slotmesh(3, 3, &[]);
    let mut other = server.connect();
    other.ask(&[b"SET".as_slice(), b"large", &vec![b'x'; VALUE]]);
    // A client of its own process: it asks for 30 MB and is stopped in the middle of the replies.
    let script = format!(
        "import socket\ns = socket.create_connection(('127.0.0.1', {}))\n\
         s.sendall(b'GET large\\r\\n' * {GETS} + b'QUIT\\r\\n')\n\
         s.recv(1000)\nprint('reading', flush=True)\nn = 1000\n\
         import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n\
         while True:\n    b = s.recv(65536)\n    if not b: break\n    n += len(b)\nprint(n, flush=True)\n",
        server.port()
    );
    let client = Command::new("python3").args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let Ok(mut client) = client else {
        eprintln!("SKIPPED: no python3 here");
        return;
    };
    let state = format!("/proc/{}/stat", client.id());
    await_condition("the client has stopped", 30, || {
        std::fs::read_to_string(&state).is_ok_and(|line| line.contains(") T "))
    });
    for index in 1..=1000 {
        assert_eq!(other.say("INCR counter"), format!(":{index}\r\n").as_bytes());
    }
    let resumed = Command::new("kill").args(["-CONT", &client.id().to_string()]).status();
    assert!(resumed.is_ok_and(|status| status.success()));
    let mut output = String::new();
    client.stdout.take().expect("a pipe").read_to_string(&mut output).expect("text");
    assert!(client.wait().expect("our child").success());
    let all = GETS * (VALUE + 11) + 5;
    assert_eq!(output.lines().last(), Some(all.to_string().as_str()), "bytes of all replies");
}

/// A new connection, if the server does not refuse it.
fn served(server: &Server) -> Option<Connection> {
    let mut connection = server.connect();
    let reply = connection.try_send(&words("PING")).and_then(|()| connection.try_reply());
    reply.is_ok_and(|reply| reply == b"+PONG\r\n").then_some(connection)
}

#[test]
fn clients_beyond_the_maximum_are_refused_as_in_redis() {
    for server in [Server::redis(&["--maxclients", "20"]), Server::slotmesh(3, 3, &["--maxclients", "20"])] {
        let mut held = Vec::new();
        // The connection that saw the server start may not be forgotten yet.
        await_condition("as many as the maximum are served", 10, || {
            held.extend(served(&server));
            held.len() == 20
        });
        let rejected = info(&mut held[0], "rejected_connections");
        for _ in 0..3 {
            let refused = server.connect().read_to_close();
            assert_eq!(show(&refused), "-ERR max number of clients reached\\r\\n", "{}", server.name());
        }
        assert_eq!(info(&mut held[0], "rejected_connections"), rejected + 3);
        held.truncate(19);
        await_condition("one that comes after one has left is served", 10, || {
            held.extend(served(&server));
            held.len() == 20
        });
        assert_eq!(held[0].say("CONFIG SET maxclients 25"), b"+OK\r\n");
        let more: Vec<_> = (0..5).map(|_| server.connect()).collect();
        for mut connection in more {
            assert_eq!(connection.say("PING"), b"+PONG\r\n");
        }
    }
}

#[test]
fn idle_clients_are_closed_after_the_timeout() {
    let server = Server::slotmesh(3, 3, &["--timeout", "1"]);
    let mut idle: Vec<_> = (0..6).map(|_| server.connect()).collect();
    let mut busy = server.connect();
    let start = Instant::now();
    idle.iter_mut().for_each(|connection| connection.set_read_timeout(Duration::from_millis(20)));
    let mut closed = BTreeSet::new();
    await_condition("idle clients are closed", 10, || {
        assert_eq!(busy.say("PING"), b"+PONG\r\n", "who speaks stays");
        for (index, connection) in idle.iter_mut().enumerate() {
            if matches!(connection.receive(), Ok(0)) {
                closed.insert(index);
            }
        }
        closed.len() == idle.len()
    });
    assert!(start.elapsed() >= Duration::from_millis(900), "not before their time: {:?}", start.elapsed());
    assert_eq!(busy.say("CONFIG SET timeout 0"), b"+OK\r\n");
}

#[test]
fn a_client_that_takes_its_replies_slowly_is_not_idle() {
    const GETS: u32 = 500;
    let server = Server::slotmesh(3, 3, &["--timeout", "1"]);
    let mut slow = server.connect();
    slow.ask(&[b"SET".as_slice(), b"large", &vec![b'x'; 100_000]]);
    slow.send(&(0..GETS).flat_map(|_| words("GET large")).collect::<Vec<u8>>());
    let mut other = server.connect();
    let start = Instant::now();
    // Four times the timeout, during which it says nothing.
    for taken in 1..=GETS {
        assert_eq!(slow.reply().len(), 100_011);
        while start.elapsed() < Duration::from_millis(8) * taken {
            assert_eq!(other.say("PING"), b"+PONG\r\n");
        }
    }
}

#[test]
fn the_unix_socket_serves_and_is_marked() {
    let server = Server::slotmesh(3, 3, &["--unixsocketperm", "700"]);
    let mut connections: Vec<_> = (0..6).map(|_| server.connect_unix()).collect();
    for (index, connection) in connections.iter_mut().enumerate() {
        assert_eq!(connection.say(&format!("SET key:{index} {index}")), b"+OK\r\n");
        assert!(connection.text("CLIENT INFO").contains(" flags=U "), "marked as a unix socket");
    }
    let mut tcp = server.connect();
    assert_eq!(tcp.say("GET key:5"), b"$1\r\n5\r\n");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(server.socket()).expect("the socket exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn ipv6_loopback_serves() {
    let server = Server::slotmesh(2, 2, &["--bind", "127.0.0.1 ::1"]);
    match Connection::tcp(("::1", server.port())) {
        Ok(mut connection) => {
            assert_eq!(connection.say("PING"), b"+PONG\r\n");
            assert!(connection.text("CLIENT INFO").contains(" addr=[::1]:"));
        }
        Err(error) => eprintln!("SKIPPED: no IPv6 here ({error})"),
    }
}

/// Sends PING from a network namespace of its own, over an address that is not loopback, to a server in it.
fn ping_from_outside(server: &std::path::Path, args: &str) -> Option<String> {
    let script = format!(
        "ip link set lo up && ip addr add 10.99.0.1/32 dev lo || exit 77\n\
         dir=$(mktemp -d); {} --port 6399 --bind '10.99.0.1 127.0.0.1' --dir $dir {args} >$dir/log 2>&1 &\n\
         pid=$!\n\
         for try in $(seq 200); do redis-cli -p 6399 ping 2>/dev/null | grep -q PONG && break; sleep 0.05; done\n\
         python3 -c \"import socket\ns = socket.create_connection(('10.99.0.1', 6399))\n\
         s.sendall(b'PING\\r\\n')\nd = b''\ntry:\n  while not d.endswith(b'\\n'):\n    b = s.recv(4096)\n    if not b: break\n    d += b\n\
         except ConnectionResetError: pass\nprint(d.decode(), end='')\"\n\
         kill $pid; wait $pid 2>/dev/null; rm -rf $dir; exit 0",
        server.display()
    );
    let output = without_test_variables(Command::new("unshare")).args(["--net", "sh", "-c", &script]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn protected_mode_refuses_strangers_as_redis_does() {
    let expected = ping_from_outside("redis-server".as_ref(), "--save ''");
    let Some(expected) = expected.filter(|text| text.starts_with("-DENIED")) else {
        eprintln!("SKIPPED: no network namespace with an address of its own can be made here");
        return;
    };
    // 7.2 mends a slip of the pen.
    let expected = expected.replace("Setup a an", "Set up an");
    let ours = slotmesh_conform::binary();
    assert_eq!(ping_from_outside(ours, ""), Some(expected));
    assert_eq!(ping_from_outside(ours, "--protected-mode no"), Some("+PONG\r\n".to_owned()));
    let asked = ping_from_outside(ours, "--requirepass secret");
    assert_eq!(asked, Some("-NOAUTH Authentication required.\r\n".to_owned()));
}

#[test]
fn a_stopping_server_ends_well() {
    for signal in ["TERM", "INT"] {
        let mut server = Server::slotmesh(3, 3, &[]);
        let mut connections: Vec<_> = (0..30).map(|_| server.connect()).collect();
        connections.iter_mut().for_each(|connection| assert_eq!(connection.say("PING"), b"+PONG\r\n"));
        server.signal(signal);
        assert_eq!(server.await_end(), Some(0), "{signal}");
        connections.iter_mut().for_each(|connection| assert!(connection.read_to_close().is_empty()));
        assert!(!server.socket().exists(), "the unix socket is removed");
    }
}

#[test]
fn an_error_counts_once_on_however_many_shards_its_command_ran() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut client = server.connect();
    let before = info(&mut client, "total_error_replies");
    for number in 0..30 {
        assert_eq!(show(&client.say(&format!("RENAME nothing{number} something"))), "-ERR no such key\\r\\n");
    }
    // Cores show their counters at the end of a turn.
    await_condition("thirty errors are counted", 10, || info(&mut client, "total_error_replies") >= before + 30);
    assert_eq!(info(&mut client, "total_error_replies"), before + 30);
}
