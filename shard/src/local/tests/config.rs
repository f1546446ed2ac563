use crate::testing::{Session, TestNode};

#[test]
fn get_takes_names_and_patterns() {
    let mut session = Session::new(TestNode::with(&[("maxclients", "77"), ("requirepass", "")]));
    session.expect(&[
        ("CONFIG GET maxclients", "*2\r\n$10\r\nmaxclients\r\n$2\r\n77\r\n"),
        ("config get MAXCLIENTS", "*2\r\n$10\r\nMAXCLIENTS\r\n$2\r\n77\r\n"),
        ("CONFIG GET maxclient?", "*2\r\n$10\r\nmaxclients\r\n$2\r\n77\r\n"),
        ("CONFIG GET port port maxclients", "*4\r\n$4\r\nport\r\n$4\r\n6379\r\n$10\r\nmaxclients\r\n$2\r\n77\r\n"),
        ("CONFIG GET nope", "*0\r\n"),
        ("CONFIG GET save", "*2\r\n$4\r\nsave\r\n$23\r\n3600 1 300 100 60 10000\r\n"),
        ("CONFIG GET appendonly", "*2\r\n$10\r\nappendonly\r\n$2\r\nno\r\n"),
        ("CONFIG GET", "-ERR wrong number of arguments for 'config|get' command\r\n"),
    ]);
    session.say("HELLO 3");
    session
        .expect(&[("CONFIG GET maxclients", "%1\r\n$10\r\nmaxclients\r\n$2\r\n77\r\n"), ("CONFIG GET nope", "%0\r\n")]);
}

#[test]
fn set_reports_what_the_settings_say() {
    let mut session = Session::new(TestNode::default());
    session.expect(&[
        ("CONFIG SET maxclients 50 hz 20", "+OK\r\n"),
        ("CONFIG SET nope 1", "-ERR Unknown option or number of arguments for CONFIG SET - 'nope'\r\n"),
        (
            "CONFIG SET databases 1",
            "-ERR CONFIG SET failed (possibly related to argument 'databases') - can't set immutable config\r\n",
        ),
        (
            "CONFIG SET hz 1 hz 2",
            "-ERR CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter\r\n",
        ),
        (
            "CONFIG SET maxclients x",
            "-ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument couldn't be parsed into an integer\r\n",
        ),
        ("CONFIG SET maxclients 1 hz", "-ERR syntax error\r\n"),
        ("CONFIG SET maxclients", "-ERR wrong number of arguments for 'config|set' command\r\n"),
    ]);
    let configured = session.node.configured.borrow();
    let expected = [("maxclients", "50"), ("hz", "20")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(*configured, expected);
}

#[test]
fn line_ends_of_a_name_do_not_break_the_reply() {
    let mut session = Session::new(TestNode::default());
    let reply = session.say("CONFIG SET a\r\nb 1");
    assert_eq!(reply, "-ERR Unknown option or number of arguments for CONFIG SET - 'a  b'\r\n");
}

#[test]
fn statistics_are_reset_on_request() {
    let mut session = Session::new(TestNode::default());
    assert!(!session.node.statistics_reset.get());
    session.expect(&[("CONFIG RESETSTAT", "+OK\r\n")]);
    assert!(session.node.statistics_reset.get());
}

#[test]
fn config_rewrite_needs_a_file() {
    let mut session = Session::new(TestNode::default());
    session.expect(&[
        ("CONFIG REWRITE", "-ERR The server is running without a config file\r\n"),
        ("CONFIG REWRITE x", "-ERR wrong number of arguments for 'config|rewrite' command\r\n"),
    ]);
    session.node.process.config_file = "/etc/slotmesh.conf".to_owned();
    session.expect(&[("CONFIG REWRITE", "+OK\r\n")]);
}
