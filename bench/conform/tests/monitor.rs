//! MONITOR: who watches sees what all clients run, as redis-server shows it.

use slotmesh_conform::{Connection, Server, await_condition, words};

/// Both servers, ours with one shard, with one per core, and with a core that has none.
fn all() -> [Server; 4] {
    [Server::redis(&[]), Server::slotmesh(1, 1, &[]), Server::slotmesh(3, 3, &[]), Server::slotmesh(2, 1, &[])]
}

fn watching(server: &Server) -> Connection {
    let mut monitor = server.connect();
    assert_eq!(monitor.say("MONITOR"), b"+OK\r\n");
    monitor
}

/// Sends requests in one write, and takes that many replies.
fn send(connection: &mut Connection, lines: &[&str]) -> String {
    let bytes: Vec<u8> = lines.iter().flat_map(|line| words(line)).collect();
    connection.send(&bytes);
    String::from_utf8_lossy(&connection.replies(lines.len()).concat()).into_owned()
}

/// A line as time, database, address, and the words as shown.
fn line(monitor: &mut Connection) -> (f64, String, String, String) {
    let line = String::from_utf8(monitor.reply()).expect("lines are text");
    let parts = line.strip_prefix('+').and_then(|line| line.trim_end().split_once(' '));
    let (time, rest) = parts.expect("time, and the rest");
    let (head, shown) = rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")).expect("a place");
    let (db, address) = head.split_once(' ').expect("database and address");
    (time.parse().expect("seconds"), db.to_owned(), address.to_owned(), shown.to_owned())
}

/// What is shown of the next commands.
fn shown(monitor: &mut Connection, count: usize) -> Vec<String> {
    (0..count).map(|_| line(monitor)).map(|(_, db, _, shown)| format!("{db} {shown}")).collect()
}

#[test]
fn what_is_run_is_shown_in_order_and_nothing_else() {
    for server in all() {
        let mut monitor = watching(&server);
        let mut client = server.connect();
        send(
            &mut client,
            &[
                "SET k v",
                "GET k",
                "SELECT 5",
                "NOSUCH x",
                "GET",
                "LPUSH k v",
                "select 0",
                "CONFIG GET hz",
                "CLIENT LIST",
            ],
        );
        client.ask(&[b"ECHO" as &[u8], b"\0\xff\"\\\r\n\t\x07 x"]);
        send(&mut client, &["AUTH secret", "AUTH name secret", "HELLO 2 AUTH name secret", "MGET a b c", "PING"]);
        let expected = [
            r#"0 "SET" "k" "v""#,
            r#"0 "GET" "k""#,
            r#"5 "SELECT" "5""#,
            r#"5 "LPUSH" "k" "v""#,
            r#"0 "select" "0""#,
            r#"0 "ECHO" "\x00\xff\"\\\r\n\t\a x""#,
            r#"0 "AUTH" "(redacted)""#,
            r#"0 "AUTH" "(redacted)" "(redacted)""#,
            r#"0 "HELLO" "2" "AUTH" "(redacted)" "(redacted)""#,
            r#"0 "MGET" "a" "b" "c""#,
            r#"0 "PING""#,
        ];
        assert_eq!(shown(&mut monitor, expected.len()), expected, "{}", server.name());
        client.say("PING");
        let (time, _, address, _) = line(&mut monitor);
        assert!(time > 1.7e9, "{time}");
        assert_eq!(address, client.local_address());
        let mut local = server.connect_unix();
        local.say("ECHO here");
        let (_, _, address, text) = line(&mut monitor);
        assert_eq!((address, text), (format!("unix:{}", server.socket().display()), r#""ECHO" "here""#.to_owned()));
    }
}

#[test]
fn a_transaction_is_shown_as_it_runs() {
    for server in all() {
        let mut monitor = watching(&server);
        let mut client = server.connect();
        send(
            &mut client,
            &["MULTI", "SET a 1", "SET b 2", "CONFIG GET hz", "MGET a b c d", "SELECT 3", "exec", "PING"],
        );
        send(&mut client, &["SELECT 0", "WATCH a", "SET a 2", "MULTI", "INCR a", "EXEC", "MULTI", "NOSUCH", "EXEC"]);
        send(&mut client, &["MULTI", "GET a", "DISCARD", "MULTI", "EXEC x"]);
        let expected = [
            r#"0 "MULTI""#,
            r#"0 "SET" "a" "1""#,
            r#"0 "SET" "b" "2""#,
            r#"0 "MGET" "a" "b" "c" "d""#,
            r#"3 "SELECT" "3""#,
            r#"3 "exec""#,
            r#"3 "PING""#,
            r#"0 "SELECT" "0""#,
            r#"0 "WATCH" "a""#,
            r#"0 "SET" "a" "2""#,
            r#"0 "MULTI""#,
            r#"0 "EXEC""#,
            r#"0 "MULTI""#,
            r#"0 "EXEC""#,
            r#"0 "MULTI""#,
            r#"0 "DISCARD""#,
            r#"0 "MULTI""#,
            r#"0 "EXEC" "x""#,
        ];
        assert_eq!(shown(&mut monitor, expected.len()), expected, "{}", server.name());
    }
}

#[test]
fn who_watches_can_do_little_else_until_it_resets() {
    for server in all() {
        let (mut control, mut monitor) = (server.connect(), server.connect());
        let refused = "-ERR MONITOR isn't allowed for DENY BLOCKING client\r\n";
        assert_eq!(
            send(&mut control, &["MULTI", "MONITOR", "PING", "EXEC"]),
            format!("+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n{refused}+PONG\r\n")
        );
        assert_eq!(monitor.say("MONITOR"), b"+OK\r\n");
        let keyspace = b"-ERR Replica can't interact with the keyspace\r\n";
        assert_eq!((monitor.say("GET k"), monitor.say("SET k v")), (keyspace.to_vec(), keyspace.to_vec()));
        // The second MONITOR has no answer.
        monitor.send(&[words("MONITOR"), words("ECHO me")].concat());
        assert_eq!(monitor.reply(), b"$2\r\nme\r\n");
        assert_eq!(line(&mut monitor).3, r#""ECHO" "me""#);
        assert!(control.text("CLIENT LIST").lines().any(|line| line.contains(" flags=O ")));
        // It hears each command once, a waiting one when it begins to wait.
        let mut waiting = server.connect();
        waiting.send(&words("BLPOP list 0"));
        assert_eq!(line(&mut monitor).3, r#""BLPOP" "list" "0""#);
        await_condition("it waits", 10, || control.text("CLIENT LIST").contains("cmd=blpop"));
        control.say("RPUSH list x");
        waiting.reply();
        assert_eq!(line(&mut monitor).3, r#""RPUSH" "list" "x""#);
        assert_eq!(monitor.say("RESET"), b"+RESET\r\n");
        control.say("PING");
        assert_eq!((monitor.say("GET k"), monitor.say("PING")), (b"$-1\r\n".to_vec(), b"+PONG\r\n".to_vec()));
        let list = control.text("CLIENT LIST");
        assert!(!list.contains(" flags=O "), "{list}");
    }
}

#[test]
fn each_clients_commands_keep_their_order_for_all_who_watch() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut monitors: Vec<_> = (0..4).map(|_| watching(&server)).collect();
    const CLIENTS: usize = 6;
    const COMMANDS: usize = 300;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let mut connection = server.connect();
            std::thread::spawn(move || {
                for at in (0..COMMANDS).step_by(10) {
                    let lines: Vec<String> = (at..at + 10).map(|at| format!("SET {client}:{at} {at}")).collect();
                    send(&mut connection, &lines.iter().map(String::as_str).collect::<Vec<_>>());
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("the client is served"));
    for monitor in &mut monitors {
        let mut next = [0; CLIENTS];
        for shown in shown(monitor, CLIENTS * COMMANDS) {
            let key = shown.split('"').nth(3).expect("a key");
            let (client, at) = key.split_once(':').expect("client and number");
            let (client, at): (usize, usize) = (client.parse().expect("a number"), at.parse().expect("a number"));
            assert_eq!(at, next[client], "{shown}");
            next[client] += 1;
        }
        assert_eq!(next, [COMMANDS; CLIENTS]);
    }
    // Those who leave are forgotten: nothing is shown to nobody.
    drop(monitors);
    let mut control = server.connect();
    await_condition("they are gone", 10, || !control.text("CLIENT LIST").contains(" flags=O "));
    assert_eq!(control.say("SET last 1"), b"+OK\r\n");
}

#[test]
fn who_does_not_read_what_it_watches_is_closed() {
    let server = Server::slotmesh(2, 2, &["--client-output-buffer-limit", "pubsub 4mb 1mb 60"]);
    let monitor = watching(&server);
    let mut client = server.connect();
    let value = "x".repeat(100_000);
    for number in 0..400 {
        assert_eq!(client.say(&format!("SET key:{number} {value}")), b"+OK\r\n");
    }
    await_condition("it is closed", 10, || !client.text("CLIENT LIST").contains(" flags=O "));
    drop(monitor);
}

#[test]
fn a_node_shows_its_own_clients_and_the_gateway_those_of_the_gateway() {
    let gateway = slotmesh_conform::unused_port();
    let server = Server::cluster(2, &["--gateway-port", &gateway.to_string()]);
    let at_gateway = || Connection::tcp(("127.0.0.1", gateway)).expect("the gateway listens");
    let at_node = |node: u16| Connection::tcp(("127.0.0.1", server.port() + node)).expect("the node listens");
    let (mut of_gateway, mut of_node) = (at_gateway(), at_node(0));
    assert_eq!((of_gateway.say("MONITOR"), of_node.say("MONITOR")), (b"+OK\r\n".to_vec(), b"+OK\r\n".to_vec()));
    let (mut first, mut second, mut outside) = (at_node(0), at_node(1), at_gateway());
    first.say("ECHO first");
    second.say("ECHO second");
    outside.say("ECHO outside");
    // What is redirected was not run.
    assert!(first.say("GET foo").starts_with(b"-MOVED"));
    first.say("ECHO end");
    outside.say("ECHO end");
    assert_eq!(shown(&mut of_gateway, 2), [r#"0 "ECHO" "outside""#, r#"0 "ECHO" "end""#]);
    assert_eq!(shown(&mut of_node, 2), [r#"0 "ECHO" "first""#, r#"0 "ECHO" "end""#]);
}
