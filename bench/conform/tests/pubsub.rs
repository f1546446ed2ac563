//! Publish/subscribe beside redis-server: the same bytes on every connection, over several cores; order; slow
//! subscribers; nodes of a cluster.

use slotmesh_conform::{
    Connection, Server, assert_done, await_condition, installed, is_self_test, request, show, words,
};
use std::io::ErrorKind;
use std::process::Command;
use std::time::Duration;

/// A step: who sends what, and on which connections a reply or message then arrives, in that order.
type Step = (usize, &'static str, &'static [usize]);

/// All that connections are told in a script, step by step. The first ones are opened with these lines.
fn transcript(server: &Server, openings: &[&str], script: &[Step]) -> Vec<String> {
    let mut connections: Vec<Connection> = openings.iter().map(|_| server.connect()).collect();
    for (connection, opening) in connections.iter_mut().zip(openings) {
        connection.say(opening);
    }
    let mut told = Vec::new();
    for (who, line, replies) in script {
        connections[*who].send(&words(line));
        for &index in *replies {
            told.push(format!("{line} -> {index}: {}", show(&connections[index].reply())));
        }
    }
    // Nobody has been told anything else.
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.send(&words("RESET"));
        told.push(format!("end -> {index}: {}", show(&connection.reply())));
    }
    told
}

fn both(args: &[&str]) -> [Server; 2] {
    [Server::redis(args), Server::slotmesh(3, 3, args)]
}

/// Runs a script on both, with each kind of subscriber.
fn compare(servers: &[Server; 2], openings: &[&str], script: &[Step]) {
    let [expected, got] = servers.each_ref().map(|server| transcript(server, openings, script));
    for (expected, got) in expected.iter().zip(&got) {
        assert_eq!(expected, got, "opened by {openings:?}");
    }
}

/// Three subscribers and a publisher, each on any core.
const RESP2: [&str; 4] = ["PING"; 4];
const RESP3: [&str; 4] = ["HELLO 3 SETNAME a"; 4];

#[test]
fn subscribers_hear_what_redis_tells_them() {
    let servers = both(&[]);
    const SCRIPT: &[Step] = &[
        (3, "PUBLISH news nobody", &[3]),
        (0, "SUBSCRIBE news", &[0]),
        (1, "SUBSCRIBE news sport", &[1, 1]),
        (2, "PSUBSCRIBE n*s", &[2]),
        (2, "PSUBSCRIBE n*s", &[2]),
        (3, "PUBLISH news hello", &[3, 0, 1, 2]),
        (3, "PUBLISH sport goal", &[3, 1]),
        (3, "PUBLISH nightshifts late", &[3, 2]),
        (3, "PUBLISH NEWS loud", &[3]),
        (3, "SPUBLISH news sharded", &[3]),
        (0, "SSUBSCRIBE news", &[0]),
        (3, "SPUBLISH news sharded", &[3, 0]),
        (3, "PUBLISH news again", &[3, 0, 1, 2]),
        // One client by name and by pattern: twice.
        (1, "PSUBSCRIBE new?", &[1]),
        (3, "PUBLISH news twice", &[3, 0, 1, 1, 2]),
        (3, "PUBSUB NUMSUB news sport nope", &[3]),
        (3, "PUBSUB NUMSUB", &[3]),
        (3, "PUBSUB NUMPAT", &[3]),
        (3, "PUBSUB SHARDNUMSUB news sport", &[3]),
        (3, "PUBSUB SHARDCHANNELS", &[3]),
        (3, "PUBSUB CHANNELS s*", &[3]),
        (3, "PUBSUB CHANNELS [xyz]", &[3]),
        (3, "PUBSUB SHARDCHANNELS x*", &[3]),
        (3, "PUBSUB CHANNELS a b", &[3]),
        (3, "PUBSUB NUMPAT 1", &[3]),
        (3, "PUBSUB NOPE", &[3]),
        (3, "PUBSUB", &[3]),
        (0, "UNSUBSCRIBE news nope", &[0, 0]),
        (3, "PUBLISH news fewer", &[3, 1, 1, 2]),
        (3, "SPUBLISH news still", &[3, 0]),
        (0, "SUNSUBSCRIBE", &[0]),
        (0, "SUNSUBSCRIBE", &[0]),
        (0, "UNSUBSCRIBE", &[0]),
        (0, "PUNSUBSCRIBE", &[0]),
        (1, "PUNSUBSCRIBE new? x", &[1, 1]),
        (1, "UNSUBSCRIBE sport", &[1]),
        (3, "PUBLISH news last", &[3, 1, 2]),
        (1, "UNSUBSCRIBE", &[1]),
        (2, "PUNSUBSCRIBE", &[2]),
        (3, "PUBLISH news nobody", &[3]),
        (3, "PUBSUB CHANNELS", &[3]),
        (3, "PUBSUB NUMPAT", &[3]),
    ];
    compare(&servers, &RESP2, SCRIPT);
    // HELLO tells versions apart; what follows is equal.
    let [expected, got] = servers.each_ref().map(|server| transcript(server, &RESP3, SCRIPT));
    assert_eq!(expected, got);
    assert!(got.iter().any(|line| line.contains(">3\\r\\n$7\\r\\nmessage")), "{got:?}");
}

#[test]
fn a_subscriber_in_resp2_may_do_little_else() {
    let servers = both(&[]);
    compare(
        &servers,
        &RESP2,
        &[
            (0, "PING", &[0]),
            (0, "SUBSCRIBE a", &[0]),
            (0, "PING", &[0]),
            (0, "PING hello", &[0]),
            (0, "PING hello again", &[0]),
            (0, "GET a", &[0]),
            (0, "GET", &[0]),
            (0, "NOSUCH", &[0]),
            (0, "PUBLISH a x", &[0]),
            (0, "PUBSUB CHANNELS", &[0]),
            (0, "CLIENT LIST", &[0]),
            (0, "MULTI", &[0]),
            (0, "EXEC", &[0]),
            (0, "DISCARD", &[0]),
            (0, "HELLO 3", &[0]),
            (0, "BLPOP a 0", &[0]),
            (0, "SSUBSCRIBE s", &[0]),
            (0, "UNSUBSCRIBE a", &[0]),
            (0, "GET a", &[0]),
            (0, "SUNSUBSCRIBE s", &[0]),
            (0, "GET a", &[0]),
            (0, "PING", &[0]),
            // RESET ends all subscriptions.
            (0, "PSUBSCRIBE *", &[0]),
            (0, "SUBSCRIBE a b", &[0, 0]),
            (0, "RESET", &[0]),
            (0, "GET a", &[0]),
            (3, "PUBLISH a x", &[3]),
            (0, "SUBSCRIBE", &[0]),
            (0, "PSUBSCRIBE", &[0]),
            (0, "SSUBSCRIBE", &[0]),
            (0, "PUBLISH a", &[0]),
            (0, "SPUBLISH a", &[0]),
            (0, "COMMAND GETKEYS SPUBLISH a b", &[0]),
        ],
    );
    for server in &servers {
        let mut client = server.connect();
        client.say("SUBSCRIBE a");
        client.send(&words("QUIT"));
        assert_eq!(show(&client.read_to_close()), "+OK\\r\\n");
    }
}

#[test]
fn a_subscriber_in_resp3_may_do_everything() {
    let servers = both(&[]);
    compare(&servers, &RESP2, &[(0, "SET mine 1", &[0])]);
    const SCRIPT: &[Step] = &[
        (0, "SUBSCRIBE a", &[0]),
        (0, "PING", &[0]),
        (0, "PING x", &[0]),
        (0, "GET mine", &[0]),
        (3, "PUBLISH a 1", &[3, 0]),
        (0, "MULTI", &[0]),
        (0, "SUBSCRIBE b", &[0]),
        (0, "GET mine", &[0]),
        (0, "UNSUBSCRIBE a", &[0]),
        (0, "SSUBSCRIBE s", &[0]),
        (0, "EXEC", &[0, 0, 0]),
    ];
    let [expected, got] = servers.each_ref().map(|server| {
        let mut subscriber = server.connect();
        subscriber.say("HELLO 3");
        let mut publisher = server.connect();
        let mut told = Vec::new();
        for (who, line, replies) in SCRIPT {
            let connections = [&mut subscriber, &mut publisher];
            connections[usize::from(*who == 3)].send(&words(line));
            if *line == "EXEC" {
                // Pushes stand inside of the array, and are none of its elements.
                continue;
            }
            for &index in *replies {
                let from = if index == 3 { &mut publisher } else { &mut subscriber };
                told.push(format!("{line}: {}", show(&from.reply())));
            }
        }
        subscriber.send(&words("QUIT"));
        told.push(show(&subscriber.read_to_close()));
        told
    });
    assert_eq!(expected, got);
    // Back in RESP2, where it is bound again.
    for server in &servers {
        let mut client = server.connect();
        client.say("HELLO 3");
        assert_eq!(show(&client.say("SUBSCRIBE a")), ">3\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\na\\r\\n:1\\r\\n");
        client.say("HELLO 2");
        assert!(client.say("GET a").starts_with(b"-ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
        server.connect().say("PUBLISH a 1");
        assert_eq!(show(&client.reply()), "*3\\r\\n$7\\r\\nmessage\\r\\n$1\\r\\na\\r\\n$1\\r\\n1\\r\\n");
    }
}

#[test]
fn what_a_client_says_to_itself_comes_behind_the_reply() {
    // 7.0.15 puts it before the reply, and in the midst of that of an EXEC; 7.2 does as here.
    let server = Server::slotmesh(3, 3, &[]);
    let mut others: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for other in &mut others {
        other.say("SUBSCRIBE a");
    }
    let mut client = server.connect();
    client.say("HELLO 3");
    client.say("SUBSCRIBE a");
    client.send(&words("PUBLISH a 1"));
    let message = |text: &str| format!("3\\r\\n$7\\r\\nmessage\\r\\n$1\\r\\na\\r\\n$1\\r\\n{text}\\r\\n");
    assert_eq!(show(&client.reply()), ":4\\r\\n");
    assert_eq!(show(&client.reply()), format!(">{}", message("1")));
    for line in ["MULTI", "PUBLISH a 2", "UNSUBSCRIBE a", "PUBLISH a 3", "SUBSCRIBE a", "EXEC"] {
        client.send(&words(line));
    }
    assert_eq!(show(&client.replies(5).concat()), format!("+OK\\r\\n{}", "+QUEUED\\r\\n".repeat(4)));
    let expected = [
        "*4\\r\\n:4\\r\\n>3\\r\\n$11\\r\\nunsubscribe\\r\\n$1\\r\\na\\r\\n:0\\r\\n:3\\r\\n",
        ">3\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\na\\r\\n:1\\r\\n",
        &format!(">{}", message("2")),
    ]
    .concat();
    client.send(&words("QUIT"));
    assert_eq!(show(&client.read_to_close()), format!("{expected}+OK\\r\\n"));
    for other in &mut others {
        for text in ["1", "2", "3"] {
            assert_eq!(show(&other.reply()), format!("*{}", message(text)));
        }
    }
}

#[test]
fn a_silenced_subscriber_hears_messages_and_no_replies() {
    for server in both(&[]) {
        let (mut client, mut other) = (server.connect(), server.connect());
        client.say("HELLO 3");
        for line in ["CLIENT REPLY OFF", "GET a", "SUBSCRIBE a", "GET a", "NOSUCH", "SUBSCRIBE", "PING"] {
            client.send(&words(line));
        }
        assert_eq!(show(&client.reply()), ">3\\r\\n$9\\r\\nsubscribe\\r\\n$1\\r\\na\\r\\n:1\\r\\n");
        assert_eq!(other.say("PUBLISH a 1"), b":1\r\n");
        client.send(&words("PUBLISH a 2"));
        for text in ["1", "2"] {
            let expected = format!(">3\\r\\n$7\\r\\nmessage\\r\\n$1\\r\\na\\r\\n$1\\r\\n{text}\\r\\n");
            assert_eq!(show(&client.reply()), expected, "{}", server.name());
        }
        client.send(&words("CLIENT REPLY ON"));
        assert_eq!(client.reply(), b"+OK\r\n");
        client.send(&[words("CLIENT REPLY SKIP"), words("UNSUBSCRIBE a"), words("PING")].concat());
        assert_eq!(show(&client.reply()), ">3\\r\\n$11\\r\\nunsubscribe\\r\\n$1\\r\\na\\r\\n:0\\r\\n");
        assert_eq!(client.reply(), b"+PONG\r\n");
    }
}

#[test]
fn who_waits_in_a_blocking_command_hears_messages_at_once() {
    for server in both(&[]) {
        let mut other = server.connect();
        // Keys of every core, alone and together.
        for keys in ["a", "b", "c", "a b c"] {
            let mut client = server.connect();
            client.say("HELLO 3");
            client.send(&[words("GET x"), words("SUBSCRIBE ch"), words(&format!("BLPOP {keys} 0"))].concat());
            client.replies(2);
            await_condition("it waits", 10, || other.text("INFO clients").contains("blocked_clients:1\r\n"));
            assert_eq!(other.say("PUBLISH ch now"), b":1\r\n");
            let expected = ">3\\r\\n$7\\r\\nmessage\\r\\n$2\\r\\nch\\r\\n$3\\r\\nnow\\r\\n";
            assert_eq!(show(&client.reply()), expected, "{} {keys}", server.name());
            other.say(&format!("RPUSH {} 1", &keys[..1]));
            assert!(client.reply().starts_with(b"*2\r\n"));
        }
    }
}

#[test]
fn messages_of_one_client_stay_in_order_everywhere() {
    const MESSAGES: usize = 3000;
    let server = Server::slotmesh(3, 3, &["--client-output-buffer-limit", "pubsub 0 0 0"]);
    let mut subscribers: Vec<_> = (0..6).map(|_| server.connect()).collect();
    for (index, subscriber) in subscribers.iter_mut().enumerate() {
        subscriber.say(if index < 3 { "PSUBSCRIBE c*" } else { "SUBSCRIBE c0" });
        if index >= 3 {
            subscriber.say("SUBSCRIBE c1");
        }
    }
    // Some are longer than a record between cores.
    let text = |index: usize| {
        let fill = if index % 100 == 7 { 20_000 } else { 10 };
        format!("{index}:{}", "x".repeat(fill))
    };
    let mut publisher = server.connect();
    let mut sender = publisher.sender();
    let sending = std::thread::spawn(move || {
        for index in 0..MESSAGES {
            let channel = format!("c{}", index % 2);
            // Commands on keys of other cores stand between, and transactions.
            let bytes = match index % 50 {
                10 => [words("INCR a"), words("INCR b"), request(&["PUBLISH", &channel, &text(index)])].concat(),
                20 => [words("MULTI"), words("INCR c"), request(&["PUBLISH", &channel, &text(index)]), words("EXEC")]
                    .concat(),
                _ => request(&["PUBLISH", &channel, &text(index)]),
            };
            sender.write_all(&bytes).expect("the server reads");
        }
    });
    for subscriber in &mut subscribers {
        for index in 0..MESSAGES {
            let message = subscriber.reply();
            let expected = format!("\r\n{}\r\n", text(index));
            assert!(message.ends_with(expected.as_bytes()), "{index}: {}", show(&message[..message.len().min(100)]));
        }
    }
    let heard = b":6\r\n";
    for index in 0..MESSAGES {
        let replies = match index % 50 {
            10 => publisher.replies(3),
            20 => publisher.replies(4),
            _ => publisher.replies(1),
        };
        let last = replies.last().expect("a reply");
        assert!(last.ends_with(heard), "{index}: {}", show(last));
    }
    sending.join().expect("it has sent all");
}

/// Reads what has come until the server closes the connection, which it does.
fn is_cut(connection: &mut Connection) -> bool {
    connection.set_read_timeout(Duration::from_secs(10));
    loop {
        match connection.receive() {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return true,
            Err(_) => return false,
        }
    }
}

#[test]
fn a_subscriber_that_does_not_read_is_cut_and_no_other() {
    const LIMIT: &str = "normal 0 0 0 pubsub 4mb 0 0";
    for server in both(&["--client-output-buffer-limit", LIMIT]) {
        let mut publisher = server.connect();
        let mut slow: Vec<_> = (0..3).map(|_| server.connect()).collect();
        let mut quick: Vec<_> = (0..3).map(|_| server.connect()).collect();
        slow.iter_mut().chain(&mut quick).for_each(|subscriber| drop(subscriber.say("SUBSCRIBE a")));
        let text = "x".repeat(100_000);
        let mut sent = 0;
        // The kernel's buffers take some first.
        while publisher.ask(&["PUBLISH", "a", &text]) != b":3\r\n" {
            quick.iter_mut().for_each(|subscriber| assert!(subscriber.reply().len() > text.len()));
            sent += 1;
            assert!(sent < 2000, "{}: nobody was cut", server.name());
        }
        quick.iter_mut().for_each(|subscriber| assert!(subscriber.reply().len() > text.len()));
        assert!(slow.iter_mut().all(is_cut), "{}", server.name());
        assert!(sent > 40, "{}: cut after {sent} messages", server.name());
        // A message that is longer than all that may wait.
        let text = "x".repeat(5 << 20);
        publisher.ask(&["PUBLISH", "a", &text]);
        assert!(quick.iter_mut().all(is_cut), "{}", server.name());
        await_condition("nobody listens", 10, || publisher.say("PUBLISH a x") == b":0\r\n");
        assert!(server.name() != "slotmesh" || server.log().contains("closed for overcoming of output buffer limits"));
    }
}

#[test]
fn a_subscriber_that_is_slow_for_long_is_cut() {
    for server in both(&["--client-output-buffer-limit", "pubsub 0 1mb 1"]) {
        let (mut publisher, mut slow, mut other) = (server.connect(), server.connect(), server.connect());
        slow.say("SUBSCRIBE a");
        other.say("SUBSCRIBE b");
        let text = "x".repeat(1 << 20);
        for _ in 0..16 {
            publisher.ask(&["PUBLISH", "a", &text]);
        }
        await_condition("it is cut", 20, || publisher.say("PUBLISH a x") == b":0\r\n");
        assert_eq!(publisher.say("PUBLISH b x"), b":1\r\n");
    }
}

#[test]
fn lists_and_numbers_tell_of_subscribers() {
    for server in both(&["--timeout", "1"]) {
        let mut control = server.connect();
        let mut subscribers: Vec<_> = (0..4).map(|_| server.connect()).collect();
        subscribers[0].say("HELLO 3");
        for subscriber in &mut subscribers {
            subscriber.send(&words("SUBSCRIBE a b"));
            subscriber.send(&words("PSUBSCRIBE p*"));
            subscriber.send(&words("SSUBSCRIBE s"));
            subscriber.replies(4);
        }
        subscribers[3].say("SUBSCRIBE only");
        let lines = control.text("CLIENT LIST TYPE pubsub");
        assert_eq!(lines.lines().count(), 4, "{lines}");
        assert!(lines.lines().all(|line| line.contains(" flags=P ") && line.contains(" psub=1 ssub=1 ")), "{lines}");
        assert_eq!(lines.lines().filter(|line| line.contains(" sub=2 ")).count(), 3, "{lines}");
        assert_eq!(control.text("CLIENT LIST TYPE normal").lines().count(), 1);
        let info = control.text("INFO stats");
        assert!(info.contains("pubsub_channels:3\r\npubsub_patterns:1\r\n"), "{info}");
        // 7.0.15 has no such field.
        assert!(server.name() != "slotmesh" || info.contains("pubsubshard_channels:1\r\n"), "{info}");
        // Whoever listens is not idle, others are.
        let mut idle = server.connect();
        idle.say("PING");
        idle.read_to_close();
        let mut control = server.connect();
        assert_eq!(control.say("PUBLISH only x"), b":1\r\n");
        assert_eq!(control.say("CLIENT KILL TYPE pubsub"), b":4\r\n");
        subscribers.iter_mut().for_each(|subscriber| drop(subscriber.read_to_close()));
        await_condition("nothing is left", 10, || control.say("PUBSUB CHANNELS") == b"*0\r\n");
        assert_eq!(control.say("PUBSUB NUMPAT"), b":0\r\n");
        assert_eq!(control.say("PUBSUB SHARDCHANNELS"), b"*0\r\n");
        assert_eq!(control.say("PUBLISH a x"), b":0\r\n");
    }
}

#[test]
fn a_thousand_subscribers_come_and_go() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut control = server.connect();
    let mut crowd: Vec<_> = (0..500).map(|_| server.connect()).collect();
    for (index, subscriber) in crowd.iter_mut().enumerate() {
        subscriber.say(&format!("SUBSCRIBE all {index}"));
        subscriber.reply();
    }
    assert_eq!(control.say("PUBLISH all hello"), b":500\r\n");
    for (index, subscriber) in crowd.iter_mut().enumerate() {
        assert_eq!(show(&subscriber.reply()), "*3\\r\\n$7\\r\\nmessage\\r\\n$3\\r\\nall\\r\\n$5\\r\\nhello\\r\\n");
        assert_eq!(control.say(&format!("PUBLISH {index} x")), b":1\r\n");
    }
    assert!(control.text("INFO stats").contains("pubsub_channels:501\r\n"));
    drop(crowd);
    await_condition("all have left", 10, || control.say("PUBSUB CHANNELS") == b"*0\r\n");
    assert_eq!(control.say("PUBLISH all hello"), b":0\r\n");
}

#[test]
fn nodes_count_their_own_clients_and_all_hear() {
    if is_self_test() {
        return;
    }
    let gateway = slotmesh_conform::unused_port().to_string();
    let server = Server::cluster(3, &["--gateway-port", &gateway]);
    let node = |index: u16| Connection::tcp(("127.0.0.1", server.port() + index)).expect("the shard accepts");
    let door = || Connection::tcp(("127.0.0.1", gateway.parse::<u16>().expect("a port"))).expect("the gateway accepts");
    let message = |text: &str| format!("*3\\r\\n$7\\r\\nmessage\\r\\n$1\\r\\na\\r\\n$1\\r\\n{text}\\r\\n");
    let mut subscribers = [node(0), node(0), node(1), door(), door()];
    subscribers.iter_mut().for_each(|subscriber| drop(subscriber.say("SUBSCRIBE a")));
    let (mut first, mut second, mut third, mut hidden) = (node(0), node(1), node(2), door());
    for (text, publisher, count) in [("1", &mut first, 2), ("2", &mut second, 1), ("3", &mut third, 0)] {
        assert_eq!(publisher.say(&format!("PUBLISH a {text}")), format!(":{count}\r\n").as_bytes());
        subscribers.iter_mut().for_each(|subscriber| assert_eq!(show(&subscriber.reply()), message(text)));
    }
    assert_eq!(hidden.say("PUBLISH a 4"), b":5\r\n");
    subscribers.iter_mut().for_each(|subscriber| assert_eq!(show(&subscriber.reply()), message("4")));
    // EXEC counts likewise.
    for line in ["MULTI", "PUBLISH a 5"] {
        first.say(line);
    }
    assert_eq!(first.say("EXEC"), b"*1\r\n:2\r\n");
    subscribers.iter_mut().for_each(|subscriber| assert_eq!(show(&subscriber.reply()), message("5")));
    for (publisher, count) in [(&mut first, 2), (&mut second, 1), (&mut third, 0), (&mut hidden, 5)] {
        let expected = format!("*2\r\n$1\r\na\r\n:{count}\r\n");
        assert_eq!(show(&publisher.say("PUBSUB NUMSUB a")), show(expected.as_bytes()));
    }
    assert_eq!(third.say("PUBSUB CHANNELS"), b"*0\r\n");

    // foo lies on node 2, bar on node 0.
    let moved = format!("-MOVED 12182 127.0.0.1:{}\r\n", server.port() + 2);
    for line in ["SSUBSCRIBE foo", "SPUBLISH foo x", "SUNSUBSCRIBE foo"] {
        assert_eq!(show(&first.say(line)), show(moved.as_bytes()), "{line}");
    }
    for line in ["SSUBSCRIBE foo bar", "SUNSUBSCRIBE bar foo"] {
        assert_eq!(first.say(line), b"-CROSSSLOT Keys in request don't hash to the same slot\r\n");
    }
    let mut sharded = [node(2), node(2), door()];
    sharded.iter_mut().for_each(|subscriber| drop(subscriber.say("SSUBSCRIBE foo")));
    let smessage = |text: &str| format!("*3\\r\\n$8\\r\\nsmessage\\r\\n$3\\r\\nfoo\\r\\n$1\\r\\n{text}\\r\\n");
    assert_eq!(third.say("SPUBLISH foo 1"), b":2\r\n");
    sharded.iter_mut().for_each(|subscriber| assert_eq!(show(&subscriber.reply()), smessage("1")));
    assert_eq!(hidden.say("SPUBLISH foo 2"), b":3\r\n");
    sharded.iter_mut().for_each(|subscriber| assert_eq!(show(&subscriber.reply()), smessage("2")));
    assert_eq!(hidden.say("SSUBSCRIBE foo bar").first(), Some(&b'*'));
    assert_eq!(hidden.reply().first(), Some(&b'*'));
    // A subscriber may still be sent elsewhere.
    let mut bound = node(0);
    bound.say("SUBSCRIBE a");
    assert_eq!(show(&bound.say("SSUBSCRIBE foo")), show(moved.as_bytes()));
}

#[test]
fn redis_py_listens() {
    const SCRIPT: &str = r#"
import sys, redis, threading
for protocol in (2, 3):
    r = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
    heard, listeners, ready = [[] for _ in range(6)], [], threading.Barrier(7)
    def listen(mine):
        p = r.pubsub()
        p.subscribe("news", "sport")
        p.psubscribe(**{"n*": lambda message: mine.append("by pattern " + message["data"])})
        for message in p.listen():
            if message["type"] == "psubscribe":
                ready.wait()
            elif message["type"] == "message":
                if message["data"] == "end":
                    break
                mine.append(message["data"])
        p.close()
    threads = [threading.Thread(target=listen, args=(mine,)) for mine in heard]
    [thread.start() for thread in threads]
    ready.wait()
    for i in range(200):
        assert r.publish("news", f"n{i}") == 12 and r.publish("sport", f"s{i}") == 6
    assert r.pubsub_numsub("news", "sport", "nope") == [("news", 6), ("sport", 6), ("nope", 0)]
    assert r.pubsub_numpat() == 1 and sorted(r.pubsub_channels()) == ["news", "sport"]
    assert r.publish("sport", "end") == 6
    [thread.join() for thread in threads]
    expected = [text for i in range(200) for text in (f"n{i}", f"by pattern n{i}", f"s{i}")]
    assert all(mine == expected for mine in heard), heard[0][:20]
    while r.pubsub_channels() or r.pubsub_numpat():
        pass
    # Shard channels, as redis-py has them outside of clusters.
    p = r.pubsub(ignore_subscribe_messages=True)
    p.ssubscribe("shard")
    assert p.get_message(timeout=1) is None
    assert r.spublish("shard", "x") == 1 and p.get_message(timeout=5)["type"] == "smessage"
    p.close()
print("done")
"#;
    let packages = installed("python");
    if !packages.join("redis").is_dir() {
        eprintln!("SKIPPED: redis-py is not in {} (`make python` installs it)", packages.display());
        return;
    }
    let server = Server::slotmesh(3, 3, &[]);
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT, &server.port().to_string()]).env("PYTHONPATH", packages);
    assert_done(command);
}

#[test]
fn ioredis_listens() {
    const SCRIPT: &str = r#"
const Redis = require("ioredis");
const assert = require("assert");
async function main() {
    const [single, port] = process.argv.slice(2).map(Number);
    const sockets = [...Array(6)].map(() => new Redis({ host: "127.0.0.1", port: single }));
    const heard = sockets.map(() => []);
    const ends = sockets.map((socket, i) => new Promise((resolve) => {
        socket.on("message", (channel, text) => text == "end" ? resolve() : heard[i].push(text));
        socket.on("pmessage", (pattern, channel, text) => heard[i].push(`${pattern} ${text}`));
    }));
    for (const socket of sockets) {
        assert.equal(await socket.subscribe("news", "sport"), 2);
        assert.equal(await socket.psubscribe("n*"), 3);
    }
    const speaker = new Redis({ host: "127.0.0.1", port: single });
    for (let i = 0; i < 100; i++) {
        assert.equal(await speaker.publish("news", `n${i}`), 12);
        assert.equal(await speaker.publish("sport", `s${i}`), 6);
    }
    await speaker.publish("sport", "end");
    await Promise.all(ends);
    const expected = [...Array(100).keys()].flatMap((i) => [`n${i}`, `n* n${i}`, `s${i}`]);
    for (const mine of heard) assert.deepEqual(mine, expected);
    await Promise.all(sockets.map((socket) => socket.quit()));
    await speaker.quit();
    // Channels of a cluster: said at any node, heard at any.
    const clusters = [0, 1, 2].map((i) => new Redis.Cluster([{ host: "127.0.0.1", port: port + i }]));
    const told = clusters.map((cluster) => new Promise((resolve) => cluster.on("message", (_, text) => resolve(text))));
    for (const cluster of clusters) await cluster.subscribe("all");
    const node = new Redis({ host: "127.0.0.1", port: port + 1 });
    await node.publish("all", "hello");
    assert.deepEqual(await Promise.all(told), ["hello", "hello", "hello"]);
    clusters.forEach((cluster) => cluster.disconnect());
    node.disconnect();
    console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
"#;
    let packages = installed("node");
    if is_self_test() || !packages.join("node_modules/ioredis").is_dir() {
        eprintln!("SKIPPED: ioredis is not in {} (`make node` installs it)", packages.display());
        return;
    }
    let (single, cluster) = (Server::slotmesh(3, 3, &[]), Server::cluster(3, &[]));
    let mut command = Command::new("node");
    command.args(["-e", SCRIPT, "-", &single.port().to_string(), &cluster.port().to_string()]);
    command.env("NODE_PATH", packages.join("node_modules"));
    assert_done(command);
}
