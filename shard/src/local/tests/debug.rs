use crate::testing::{Session, TestNode};
use crate::{DebugAct, Inspection, NodeAction};
use slotmesh_conf::{Invocation, Reader, load};
use std::io;
use std::path::Path;
use std::sync::Arc;

const NOT_ALLOWED: &str = "-ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.\r\n";

fn session(allowed: &str) -> Session {
    let arguments = ["--enable-debug-command", allowed].map(Into::into);
    let Ok(Invocation::Serve(line)) = Invocation::parse(arguments) else { panic!("this starts a node") };
    let reader: Reader = Arc::new(|_: &Path| Err(io::Error::from(io::ErrorKind::NotFound)));
    let settings = load(&line, std::iter::empty(), &reader).expect("the setting is good").settings;
    Session::new(TestNode { settings, ..TestNode::default() })
}

#[test]
fn only_those_whom_the_directive_names_may_look_inside() {
    session("no").expect(&[("DEBUG HELP", NOT_ALLOWED), ("DEBUG SNAPSHOT", NOT_ALLOWED)]);
    for (address, is_local) in [("127.0.0.1:1", true), ("[::1]:1", true), ("10.0.0.1:1", false)] {
        let mut session = session("local");
        session.client.address = address.to_owned();
        assert_eq!(session.say("DEBUG HELP") != NOT_ALLOWED, is_local, "{address}");
    }
    session("yes").expect(&[(
        "DEBUG nonsense",
        "-ERR unknown subcommand or wrong number of arguments for 'nonsense'. Try DEBUG HELP.\r\n",
    )]);
}

#[test]
fn a_drill_says_how_much_may_be_kept() {
    for (request, copies_bytes_max) in [("DEBUG SNAPSHOT", 256 << 20), ("debug snapshot 1000", 1000)] {
        let mut session = session("yes");
        assert_eq!(session.say(request), "");
        assert_eq!(session.action, NodeAction::DrillSnapshot { copies_bytes_max });
    }
    let refused = "-ERR unknown subcommand or wrong number of arguments for 'SNAPSHOT'. Try DEBUG HELP.\r\n";
    session("yes").expect(&[("DEBUG SNAPSHOT x", refused), ("DEBUG SNAPSHOT -1", refused)]);
}

#[test]
fn switches_are_passed_on_or_taken() {
    let mut session = session("yes");
    session.expect(&[
        ("DEBUG LOG hello", "+OK\r\n"),
        ("DEBUG SLEEP 0.25", "+OK\r\n"),
        ("DEBUG SLEEP x", "+OK\r\n"),
        ("debug sleep -1", "+OK\r\n"),
        ("DEBUG SET-ACTIVE-EXPIRE 0", "+OK\r\n"),
        ("DEBUG SET-ACTIVE-EXPIRE 1x", "+OK\r\n"),
        ("DEBUG PAUSE-CRON 1", "+OK\r\n"),
        ("DEBUG SET-DISABLE-DENY-SCRIPTS 1", "+OK\r\n"),
        ("DEBUG CHANGE-REPL-ID", "+OK\r\n"),
        ("DEBUG QUICKLIST-PACKED-THRESHOLD 1b", "+OK\r\n"),
        ("DEBUG QUICKLIST-PACKED-THRESHOLD 4095mb", "+OK\r\n"),
        (
            "DEBUG QUICKLIST-PACKED-THRESHOLD 4gb",
            "-ERR argument must be a memory value bigger than 1 and smaller than 4gb\r\n",
        ),
        (
            "DEBUG QUICKLIST-PACKED-THRESHOLD 1x",
            "-ERR argument must be a memory value bigger than 1 and smaller than 4gb\r\n",
        ),
        ("DEBUG REPLYBUFFER RESIZING 0", "+OK\r\n"),
        ("DEBUG REPLYBUFFER PEAK-RESET-TIME NEVER", "+OK\r\n"),
        ("DEBUG REPLYBUFFER PEAK-RESET-TIME x", "-ERR value is not an integer or out of range\r\n"),
        ("DEBUG STRINGMATCH-LEN a*c abc", ":1\r\n"),
        ("DEBUG STRINGMATCH-LEN a*c abd", ":0\r\n"),
        ("DEBUG ERROR OOPS", "-OOPS\r\n"),
        ("DEBUG RELOAD MERGE FLUSH", "-ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.\r\n"),
        ("DEBUG CONFIG-REWRITE-FORCE-ALL", "-ERR CONFIG-REWRITE-FORCE-ALL failed: Bad address\r\n"),
    ]);
    let hello = format!("{:?}", DebugAct::Log(b"hello"));
    let acts = [&hello[..], "Sleep(250000)", "Sleep(0)", "Sleep(0)", "ActiveExpiry(false)", "ActiveExpiry(true)"];
    assert_eq!(*session.node.debugged.borrow(), acts);
}

#[test]
fn what_asks_all_shards_is_checked_first() {
    let table = [
        ("DEBUG DIGEST", Inspection::Digest),
        ("debug digest-value a b", Inspection::DigestValue),
        ("DEBUG OBJECT a", Inspection::Object),
        ("DEBUG HTSTATS 15 full", Inspection::Tables),
        ("DEBUG HTSTATS-KEY a", Inspection::ObjectTable),
        ("DEBUG POPULATE 10 key 5", Inspection::Populate),
    ];
    for (request, what) in table {
        let mut session = session("yes");
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Inspect(what), "{request}");
    }
    session("yes").expect(&[
        ("DEBUG DIGEST-VALUE", "*0\r\n"),
        ("DEBUG HTSTATS 16", "-ERR Out of range database\r\n"),
        ("DEBUG HTSTATS x", "-ERR value is not an integer or out of range\r\n"),
        ("DEBUG POPULATE -1", "-ERR value is out of range, must be positive\r\n"),
        ("DEBUG POPULATE 1 k x", "-ERR value is not an integer or out of range\r\n"),
        ("DEBUG OBJECT", "-ERR unknown subcommand or wrong number of arguments for 'OBJECT'. Try DEBUG HELP.\r\n"),
    ]);
}

#[test]
fn replies_of_all_types_are_shown() {
    let mut session = session("yes");
    let push = "-ERR RESP2 is not supported by this command\r\n";
    session.expect(&[
        ("DEBUG PROTOCOL integer", ":12345\r\n"),
        ("DEBUG PROTOCOL double", "$5\r\n3.141\r\n"),
        ("DEBUG PROTOCOL bignum", "$37\r\n1234567999999999999999999999999999999\r\n"),
        ("DEBUG PROTOCOL map", "*6\r\n:0\r\n:0\r\n:1\r\n:1\r\n:2\r\n:0\r\n"),
        ("DEBUG PROTOCOL attrib", "$39\r\nSome real reply following the attribute\r\n"),
        ("DEBUG PROTOCOL push", push),
    ]);
    session.say("HELLO 3");
    session.expect(&[
        ("DEBUG PROTOCOL double", ",3.141\r\n"),
        ("DEBUG PROTOCOL bignum", "(1234567999999999999999999999999999999\r\n"),
        ("DEBUG PROTOCOL set", "~3\r\n:0\r\n:1\r\n:2\r\n"),
        ("DEBUG PROTOCOL true", "#t\r\n"),
        (
            "DEBUG PROTOCOL attrib",
            "|1\r\n$14\r\nkey-popularity\r\n*2\r\n$7\r\nkey:123\r\n:90\r\n$39\r\nSome real reply following the attribute\r\n",
        ),
        (
            "DEBUG PROTOCOL push",
            ">2\r\n$16\r\nserver-cpu-usage\r\n:42\r\n$40\r\nSome real reply following the push reply\r\n",
        ),
    ]);
    assert!(session.say("DEBUG PROTOCOL x").starts_with("-ERR Wrong protocol type name."));
}
