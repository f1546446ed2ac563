//! Nodes that let a gateway in, with what rights, or not: users of ACL on redis-server, passwords on nodes of either kind.

use slotmesh_conform::{Front, PASSWORD, Program, await_condition, is_self_test, show};
use std::time::{Duration, Instant};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;
/// What a client hears if the gateway is not let in.
const REFUSED: &str =
    "-ERR The node that has the slot does not let the gateway in (gateway-user, gateway-password): see the log\\r\\n";

#[test]
fn what_the_user_of_the_links_may_not_do_the_client_is_told() {
    if is_self_test() {
        return;
    }
    let credentials = ["--gateway-user", "gate", "--gateway-password", "one"];
    let front = Front::start(
        &Program::Redis(None),
        2,
        false,
        &["--user", "gate", "on", ">one", "~{b}*", "~{a}*", "~{c}*", "+@all"],
        &credentials,
    );
    front.tell_nodes("ACL SETUSER gate resetkeys ~{b}app:* ~{a}app:* -@all +get +set +incr +exists +multi +exec");
    let mut client = front.client();
    let no_key = "-NOPERM this user has no permissions to access one of the keys used as arguments\\r\\n";
    for tag in ["{b}", "{a}"] {
        for (line, reply) in [
            ("SET {b}app:1 x", "+OK\\r\\n"),
            ("GET {b}app:1", "$1\\r\\nx\\r\\n"),
            ("DEL {b}app:1", "-NOPERM this user has no permissions to run the \\'del\\' command\\r\\n"),
            ("GET {b}other", no_key),
            ("SET {b}other x", no_key),
            ("EXISTS {b}app:1", ":1\\r\\n"),
        ] {
            let line = line.replace("{b}", tag);
            assert_eq!(show(&client.say(&line)), reply, "{line}");
        }
        // Inside of a transaction, which fails where it is not let in.
        assert_eq!(client.say("MULTI"), b"+OK\r\n");
        assert_eq!(client.say(&format!("SET {tag}app:1 y")), b"+QUEUED\r\n");
        assert_eq!(client.say(&format!("DEL {tag}app:1")), b"+QUEUED\r\n");
        let reply = show(&client.say("EXEC"));
        assert!(reply.starts_with("-EXECABORT "), "{reply}");
        assert_eq!(show(&client.say(&format!("GET {tag}app:1"))), "$1\\r\\nx\\r\\n");
    }
    // A part of a command that is not allowed.
    let reply = show(&client.say("MGET {b}app:1 {a}app:1"));
    assert!(reply.starts_with("-NOPERM "), "{reply}");
    assert_eq!(show(&client.say("PING")), "+PONG\\r\\n");
    assert!(!front.gateway().log().contains("does not let the gateway in"), "it is let in");
}

#[test]
fn a_wrong_password_is_a_clear_error_at_once_and_one_line_of_the_log() {
    if is_self_test() {
        return;
    }
    for program in [Program::Redis(None), Program::Slotmesh(1)] {
        let front = Front::start(&program, 2, false, &[], &[]);
        front.tell_nodes(&format!("CONFIG SET masterauth {PASSWORD} requirepass {PASSWORD}"));
        let mut client = front.client();
        let log_lines = |text: &str| front.gateway().log().lines().filter(|line| line.contains(text)).count();
        // Both nodes, each once for each core that has asked it.
        let bound = 2 * 2;
        for (password, error) in [("wrong", "WRONGPASS"), ("wronger", "WRONGPASS"), ("", "NOAUTH")] {
            let before = log_lines(error);
            assert_eq!(client.ask(&["CONFIG", "SET", "gateway-password", password]), b"+OK\r\n");
            for number in 0..4 {
                for tag in ["{b}", "{a}"] {
                    let begin = Instant::now();
                    for line in [format!("GET {tag}{number}"), format!("INCR {tag}{number}")] {
                        assert_eq!(show(&client.say(&line)), REFUSED, "{program:?}: {password}: {line}");
                    }
                    // The bound on retries is 20 s.
                    assert!(begin.elapsed() < Duration::from_secs(5), "{program:?}: {:?}", begin.elapsed());
                }
            }
            assert_eq!(show(&client.say("PING")), "+PONG\\r\\n");
            let log = front.gateway().log();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(error)).collect();
            assert!(lines.len() > before && lines.len() <= before + bound, "{program:?}: {lines:#?}");
            for port in [front.cluster.first_port, front.cluster.first_port + 1] {
                let text = format!("The node at 127.0.0.1:{port} does not let the gateway in: -{error} ");
                assert!(lines.iter().any(|line| line.contains(&text)), "{program:?}: {text}: {lines:#?}");
            }
        }
        // A refused command has not run, and with the right password all is well.
        assert_eq!(client.ask(&["CONFIG", "SET", "gateway-password", PASSWORD]), b"+OK\r\n");
        await_condition("it is let in", SECONDS_MAX, || client.say("EXISTS {b}0") == b":0\r\n");
        for tag in ["{b}", "{a}"] {
            assert_eq!(client.say(&format!("INCR {tag}0")), b":1\r\n", "{program:?}");
        }
    }
}

#[test]
fn nodes_of_ours_with_a_password_are_served_as_others() {
    if is_self_test() {
        return;
    }
    let front = Front::start(&Program::Slotmesh(1), 2, false, &[], &[]);
    front.tell_nodes(&format!("CONFIG SET requirepass {PASSWORD}"));
    let mut client = front.client();
    // `masterauth` serves where there is no `gateway-password`.
    assert_eq!(client.ask(&["CONFIG", "SET", "masterauth", PASSWORD]), b"+OK\r\n");
    for version in ["2", "3"] {
        client.say(&format!("HELLO {version}"));
        for number in 0..40 {
            assert_eq!(client.say(&format!("SET key:{number} {number}")), b"+OK\r\n");
            assert_eq!(
                client.say(&format!("STRLEN key:{number}")),
                format!(":{}\r\n", number.to_string().len()).as_bytes()
            );
        }
        assert_eq!(client.say("WATCH key:1"), b"+OK\r\n");
        assert_eq!(client.say("MULTI"), b"+OK\r\n");
        assert_eq!(client.say("STRLEN key:1"), b"+QUEUED\r\n");
        assert_eq!(client.say("EXEC"), b"*1\r\n:1\r\n");
        assert_eq!(client.say("DBSIZE"), b":40\r\n");
    }
}
