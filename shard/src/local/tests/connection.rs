use crate::testing::{Request, Session, TestNode};
use slotmesh_resp::Protocol;

fn open() -> Session {
    Session::new(TestNode::default())
}

fn locked() -> Session {
    Session::new(TestNode::with(&[("requirepass", "secret")]))
}

const HELLO_2: &str = "*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.6\r\n$5\r\nproto\r\n:2\r\n\
    $2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const HELLO_3: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n7.2.6\r\n$5\r\nproto\r\n:3\r\n\
    $2\r\nid\r\n:7\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n";
const WRONG: &str = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
const NAME_CHARACTERS: &str = "-ERR Client names cannot contain spaces, newlines or special characters.\r\n";

#[test]
fn ping_and_echo() {
    let mut session = open();
    for _ in 0..2 {
        session.expect(&[
            ("PING", "+PONG\r\n"),
            ("ping hello", "$5\r\nhello\r\n"),
            ("PING ", "$0\r\n\r\n"),
            ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
            ("ECHO hi", "$2\r\nhi\r\n"),
            ("ECHO", "-ERR wrong number of arguments for 'echo' command\r\n"),
        ]);
        session.client.protocol = Protocol::Resp3;
    }
}

#[test]
fn select() {
    let mut session = open();
    session.expect(&[
        ("SELECT 15", "+OK\r\n"),
        ("SELECT 16", "-ERR DB index is out of range\r\n"),
        ("SELECT -1", "-ERR DB index is out of range\r\n"),
        ("SELECT x", "-ERR value is not an integer or out of range\r\n"),
        ("SELECT 01", "-ERR value is not an integer or out of range\r\n"),
        ("SELECT 99999999999", "-ERR value is out of range, value must between -2147483648 and 2147483647\r\n"),
        ("SELECT 70000", "-ERR DB index is out of range\r\n"),
    ]);
    assert_eq!(session.client.db, 15, "a refusal changes nothing");
}

#[test]
fn quit_closes_after_its_reply() {
    let mut session = open();
    session.expect(&[("QUIT", "+OK\r\n")]);
    assert!(session.client.closing);
}

#[test]
fn reset_forgets_all_but_the_library() {
    let mut session = locked();
    session.expect(&[("AUTH secret", "+OK\r\n"), ("HELLO 3 SETNAME me", HELLO_3), ("SELECT 3", "+OK\r\n")]);
    session.expect(&[("CLIENT SETINFO lib-name lib", "+OK\r\n"), ("RESET", "+RESET\r\n")]);
    let client = &session.client;
    assert_eq!((client.db, client.protocol, client.authenticated), (0, Protocol::Resp2, false));
    assert_eq!((client.name.as_slice(), client.lib_name.as_slice()), (&b""[..], &b"lib"[..]));
    let mut session = open();
    session.expect(&[("RESET", "+RESET\r\n"), ("PING", "+PONG\r\n")]);
}

#[test]
fn auth_without_a_password() {
    let mut session = open();
    session.expect(&[
        (
            "AUTH pw",
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n",
        ),
        ("AUTH default anything", "+OK\r\n"),
        ("AUTH nobody pw", WRONG),
        ("AUTH a b c", "-ERR syntax error\r\n"),
        ("AUTH", "-ERR wrong number of arguments for 'auth' command\r\n"),
    ]);
}

#[test]
fn auth_with_a_password() {
    for words in ["AUTH secret", "AUTH default secret"] {
        let mut session = locked();
        for wrong in [
            "AUTH wrong",
            "AUTH secretsecret",
            "AUTH ",
            "AUTH default wrong",
            "AUTH Default secret",
            "AUTH root secret",
        ] {
            session.expect(&[(wrong, WRONG), ("PING", "-NOAUTH Authentication required.\r\n")]);
        }
        session.expect(&[(words, "+OK\r\n"), ("PING", "+PONG\r\n")]);
        // A failure later takes nothing away.
        session.expect(&[("AUTH wrong", WRONG), ("PING", "+PONG\r\n")]);
    }
}

#[test]
fn hello() {
    let mut session = open();
    session.expect(&[
        ("HELLO", HELLO_2),
        ("HELLO 2", HELLO_2),
        ("HELLO 3", HELLO_3),
        ("HELLO", HELLO_3),
        ("HELLO 1", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
        ("HELLO x", "-ERR Protocol version is not an integer or out of range\r\n"),
        ("HELLO 2 FOO", "-ERR Syntax error in HELLO option 'FOO'\r\n"),
        ("HELLO 2 AUTH default", "-ERR Syntax error in HELLO option 'AUTH'\r\n"),
        ("HELLO 2 SETNAME", "-ERR Syntax error in HELLO option 'SETNAME'\r\n"),
        ("HELLO 2 SETNAME a\nb", NAME_CHARACTERS),
        ("HELLO 2 AUTH nobody x", WRONG),
        ("HELLO 2 AUTH nobody x SETNAME a\tb", NAME_CHARACTERS),
    ]);
    assert_eq!(session.client.protocol, Protocol::Resp3, "a refusal changes nothing");
    session.expect(&[("HELLO 2 setname me auth default any", HELLO_2), ("CLIENT GETNAME", "$2\r\nme\r\n")]);
    session.expect(&[("HELLO 2 SETNAME ", HELLO_2), ("CLIENT GETNAME", "$-1\r\n")]);
}

#[test]
fn hello_authenticates() {
    let refused = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n";
    let mut session = locked();
    session.expect(&[
        ("HELLO", refused),
        ("HELLO 3", refused),
        ("HELLO 3 SETNAME me", refused),
        ("HELLO 3 AUTH default wrong", WRONG),
        ("HELLO 3 AUTH default secret SETNAME you", HELLO_3),
        ("CLIENT GETNAME", "$3\r\nyou\r\n"),
    ]);
}

#[test]
fn errors_end_where_a_zero_byte_stands() {
    let request = Request::new(&[&b"HELLO"[..], b"3", b"FO\0O"]);
    assert_eq!(open().send(&request), "-ERR Syntax error in HELLO option 'FO'\r\n");
}

#[test]
fn command_is_described_from_the_rows() {
    let mut session = open();
    let count = slotmesh_command::all().len();
    assert_eq!(session.say("COMMAND COUNT"), format!(":{count}\r\n"));
    assert!(session.say("COMMAND").starts_with(&format!("*{count}\r\n")));
    session.expect(&[
        ("COMMAND INFO nope", "*1\r\n$-1\r\n"),
        ("COMMAND GETKEYS MSET a 1 b 2", "*2\r\n$1\r\na\r\n$1\r\nb\r\n"),
        ("COMMAND LIST FILTERBY PATTERN mge*", "*1\r\n$4\r\nmget\r\n"),
        ("COMMAND LIST FOO", "-ERR syntax error\r\n"),
    ]);
    assert!(session.say("COMMAND DOCS get").starts_with("*2\r\n$3\r\nget\r\n"));
    assert!(session.say("COMMAND GETKEYSANDFLAGS GET a").starts_with("*1\r\n*2\r\n$1\r\na\r\n"));
    for container in ["COMMAND", "CLIENT", "CONFIG"] {
        let help = session.say(&format!("{} HELP", container.to_lowercase()));
        let first = format!("\r\n+{container} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:\r\n");
        assert!(help.starts_with('*') && help.contains(&first), "{help}");
        assert!(help.ends_with("\r\n+HELP\r\n+    Print this help.\r\n"), "{help}");
    }
}
