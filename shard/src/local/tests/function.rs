use crate::testing::{Request, Session, TestNode};

#[test]
fn there_are_no_libraries() {
    let mut session = Session::new(TestNode::default());
    session.expect(&[
        ("FUNCTION FLUSH", "+OK\r\n"),
        ("FUNCTION FLUSH sync", "+OK\r\n"),
        ("function flush ASYNC", "+OK\r\n"),
        ("FUNCTION FLUSH now", "-ERR FUNCTION FLUSH only supports SYNC|ASYNC option\r\n"),
        (
            "FUNCTION FLUSH sync x",
            "-ERR unknown subcommand or wrong number of arguments for 'FLUSH'. Try FUNCTION HELP.\r\n",
        ),
        ("FUNCTION LIST", "*0\r\n"),
        ("FUNCTION LIST withcode libraryname a*", "*0\r\n"),
        ("FUNCTION LIST libraryname", "-ERR library name argument was not given\r\n"),
        ("FUNCTION LIST withcode withcode", "-ERR Unknown argument withcode\r\n"),
        ("FUNCTION LIST a\r\n", "-ERR Unknown argument a  \r\n"),
        ("FUNCTION DELETE lib", "-ERR Library not found\r\n"),
        ("FUNCTION KILL", "-NOTBUSY No scripts in execution right now.\r\n"),
        (
            "FUNCTION STATS",
            "*4\r\n$14\r\nrunning_script\r\n$-1\r\n$7\r\nengines\r\n*2\r\n$3\r\nLUA\r\n*4\r\n$15\r\nlibraries_count\r\n:0\r\n$15\r\nfunctions_count\r\n:0\r\n",
        ),
    ]);
}

#[test]
fn what_was_dumped_is_restored_and_nothing_else() {
    let mut session = Session::new(TestNode::default());
    let dump = session.send_bytes(&Request::words("FUNCTION DUMP"));
    let payload = dump.strip_prefix(b"$10\r\n").and_then(|rest| rest.strip_suffix(b"\r\n")).expect("ten bytes");
    let mut restore = |payload: &[u8], policy: &[u8]| {
        let reply = session.send_bytes(&Request::new(&[b"FUNCTION", &b"RESTORE"[..], payload, policy]));
        String::from_utf8(reply).expect("text")
    };
    for policy in ["append", "REPLACE", "flush"] {
        assert_eq!(restore(payload, policy.as_bytes()), "+OK\r\n");
    }
    let wrong = "-ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.\r\n";
    assert_eq!(restore(payload, b"x"), wrong);
    assert_eq!(restore(b"x", b"flush"), "-ERR DUMP payload version or checksum are wrong\r\n");
}
