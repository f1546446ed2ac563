use crate::testing::{NOW, Session, TestNode};
use crate::{ClientFilter, ClientKind, NodeAction, Replies, describe_client};
use slotmesh_base::UnixMillis;

fn session() -> Session {
    Session::new(TestNode::default())
}

const CHARACTERS: &str = "cannot contain spaces, newlines or special characters.\r\n";

#[test]
fn names() {
    let mut session = session();
    session.expect(&[
        ("CLIENT ID", ":7\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT SETNAME me", "+OK\r\n"),
        ("CLIENT GETNAME", "$2\r\nme\r\n"),
    ]);
    for name in ["a\tb", "a\nb", "\u{7f}", "ä"] {
        let refused = format!("-ERR Client names {CHARACTERS}");
        assert_eq!(session.say(&format!("CLIENT SETNAME {name}")), refused);
    }
    session.expect(&[
        ("CLIENT GETNAME", "$2\r\nme\r\n"),
        ("CLIENT SETNAME ", "+OK\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
    ]);
    session.say("HELLO 3");
    session.expect(&[("CLIENT GETNAME", "_\r\n"), ("CLIENT ID", ":7\r\n")]);
}

#[test]
fn libraries() {
    let mut session = session();
    session.expect(&[
        ("CLIENT SETINFO LIB-NAME redis-rs", "+OK\r\n"),
        ("CLIENT SETINFO lib-ver 1.0", "+OK\r\n"),
        ("CLIENT SETINFO foo x", "-ERR Unrecognized option 'foo'\r\n"),
        ("CLIENT SETINFO lib-name", "-ERR wrong number of arguments for 'client|setinfo' command\r\n"),
    ]);
    // The option comes back as it was typed.
    assert_eq!(session.say("CLIENT SETINFO Lib-Name a\nb"), format!("-ERR Lib-Name {CHARACTERS}"));
    assert_eq!((&session.client.lib_name[..], &session.client.lib_version[..]), (&b"redis-rs"[..], &b"1.0"[..]));
    session.expect(&[("CLIENT SETINFO LIB-NAME ", "+OK\r\n")]);
    assert!(session.client.lib_name.is_empty());
}

#[test]
fn lists_say_whom_they_want() {
    let all = ClientFilter::default();
    let kind = |kind| ClientFilter { kind: Some(kind), ..ClientFilter::default() };
    let ids = |ids: &[u64]| ClientFilter { ids: ids.to_vec(), ..ClientFilter::default() };
    let table = [
        ("CLIENT LIST", all),
        ("CLIENT LIST TYPE normal", kind(ClientKind::Normal)),
        ("client list type NORMAL", kind(ClientKind::Normal)),
        ("CLIENT LIST TYPE replica", kind(ClientKind::Replica)),
        ("CLIENT LIST TYPE slave", kind(ClientKind::Replica)),
        ("CLIENT LIST TYPE pubsub", kind(ClientKind::PubSub)),
        ("CLIENT LIST TYPE master", kind(ClientKind::Master)),
        ("CLIENT LIST ID 3", ids(&[3])),
        ("CLIENT LIST id 3 0 5", ids(&[3, 0, 5])),
        ("CLIENT LIST ID -1", ids(&[u64::MAX])),
    ];
    for (request, filter) in table {
        let mut session = session();
        assert_eq!(session.say(request), "", "{request}");
        let NodeAction::ListClients { filter: got, request_bytes } = session.action else { panic!("{request}") };
        assert_eq!(got, filter, "{request}");
        let words: Vec<_> = request.split(' ').map(|word| format!("${}\r\n{word}\r\n", word.len())).collect();
        assert_eq!(request_bytes, format!("*{}\r\n{}", words.len(), words.concat()).len(), "{request}");
    }
    session().expect(&[
        ("CLIENT LIST TYPE foo", "-ERR Unknown client type 'foo'\r\n"),
        ("CLIENT LIST TYPE", "-ERR syntax error\r\n"),
        ("CLIENT LIST TYPE normal x", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID", "-ERR syntax error\r\n"),
        ("CLIENT LIST ID 1 x", "-ERR Invalid client ID\r\n"),
        ("CLIENT LIST FOO bar", "-ERR syntax error\r\n"),
    ]);
}

#[test]
fn unblocking_names_a_client() {
    let table = [
        ("CLIENT UNBLOCK 7", 7, false),
        ("CLIENT UNBLOCK 7 timeout", 7, false),
        ("client unblock 7 ERROR", 7, true),
        ("CLIENT UNBLOCK -1", u64::MAX, false),
    ];
    for (request, client, with_error) in table {
        let mut session = session();
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Unblock { client, with_error }, "{request}");
    }
    session().expect(&[
        ("CLIENT UNBLOCK x", "-ERR value is not an integer or out of range\r\n"),
        ("CLIENT UNBLOCK x foo", "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR\r\n"),
        ("CLIENT UNBLOCK", "-ERR wrong number of arguments for 'client|unblock' command\r\n"),
        (
            "CLIENT UNBLOCK 7 error x",
            "-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.\r\n",
        ),
    ]);
}

#[test]
fn lines_are_those_of_redis() {
    let mut session = session();
    session.say("CLIENT SETINFO LIB-NAME lib");
    session.say("CLIENT SETNAME me");
    session.now = UnixMillis(NOW.0 + 5_000);
    let info = session.say("CLIENT INFO");
    let line = info.split_once("\r\n").unwrap().1;
    let (before, memory) = line.split_once(" tot-mem=").unwrap();
    assert_eq!(
        before,
        "id=7 addr=127.0.0.1:50000 laddr=127.0.0.1:6379 fd=8 name=me age=5 idle=5 flags=N db=0 sub=0 psub=0 ssub=0 \
         multi=-1 qbuf=26 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0"
    );
    let (_, behind) = memory.split_once(' ').unwrap();
    assert_eq!(behind, "events=r cmd=client|info user=default redir=-1 resp=2 lib-name=lib lib-ver=\n\r\n");
    session.say("HELLO 3");
    let info = session.say("CLIENT INFO");
    assert!(info.starts_with('=') && info.contains("\r\ntxt:id=7 ") && info.contains(" resp=3 "), "{info}");
}

#[test]
fn lines_show_buffers_and_flags() {
    let mut session = session();
    session.client.unix_socket = true;
    session.client.address = "/run/sock:0".to_owned();
    session.client.db = 3;
    let line = |session: &Session| {
        let mut text = b"before\n".to_vec();
        describe_client(&session.client, 9, 300, 20, NOW, &mut text);
        String::from_utf8(text).unwrap()
    };
    let text = line(&session);
    for part in [
        "before\nid=7 addr=/run/sock:0 ",
        " fd=9 ",
        " flags=U db=3 ",
        " qbuf=20 ",
        " oll=1 omem=300 ",
        " events=rw cmd=NULL ",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    session.client.closing = true;
    assert!(line(&session).contains(" flags=cU "));
}

#[test]
fn kills_say_whom_they_mean() {
    let all = || ClientFilter { but: Some(7), ..ClientFilter::default() };
    let text = |text: &str| Some(text.as_bytes().to_vec());
    let table = [
        ("CLIENT KILL ID 3", ClientFilter { ids: vec![3], ..all() }),
        ("client kill id 3 skipme NO", ClientFilter { ids: vec![3], but: None, ..all() }),
        ("CLIENT KILL TYPE normal SKIPME yes", ClientFilter { kind: Some(ClientKind::Normal), ..all() }),
        ("CLIENT KILL TYPE pubsub", ClientFilter { kind: Some(ClientKind::PubSub), ..all() }),
        ("CLIENT KILL USER default", all()),
        (
            "CLIENT KILL ADDR 1.2.3.4:5 LADDR 1.2.3.4:6379",
            ClientFilter { address: text("1.2.3.4:5"), local_address: text("1.2.3.4:6379"), ..all() },
        ),
    ];
    for (request, filter) in table {
        let mut session = session();
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::KillClients { filter, counts: true }, "{request}");
    }
    let mut session = session();
    session.say("CLIENT KILL 1.2.3.4:5");
    let filter = ClientFilter { address: text("1.2.3.4:5"), ..ClientFilter::default() };
    assert_eq!(session.action, NodeAction::KillClients { filter, counts: false });
    session.expect(&[
        ("CLIENT KILL ID 0", "-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL ID x", "-ERR client-id should be greater than 0\r\n"),
        ("CLIENT KILL TYPE x", "-ERR Unknown client type 'x'\r\n"),
        ("CLIENT KILL USER x", "-ERR No such user 'x'\r\n"),
        ("CLIENT KILL SKIPME x", "-ERR syntax error\r\n"),
        ("CLIENT KILL ID 1 ADDR", "-ERR syntax error\r\n"),
        ("CLIENT KILL ID 1 FOO 2", "-ERR syntax error\r\n"),
        ("CLIENT KILL", "-ERR wrong number of arguments for 'client|kill' command\r\n"),
    ]);
}

#[test]
fn pauses_are_begun_and_ended() {
    let mut session = session();
    for request in ["CLIENT PAUSE 1000", "client pause 1 WRITE", "CLIENT PAUSE 0 all", "CLIENT UNPAUSE"] {
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Refresh, "{request}");
    }
    let end = |millis| format!("{:?}", UnixMillis(NOW.0 + millis));
    let expected = [
        format!("pause {} All", end(1000)),
        format!("pause {} Writes", end(1)),
        "pause UnixMillis(0) All".to_owned(),
        "unpause".to_owned(),
    ];
    assert_eq!(*session.node.debugged.borrow(), expected);
    session.expect(&[
        ("CLIENT PAUSE 1 x", "-ERR CLIENT PAUSE mode must be WRITE or ALL\r\n"),
        ("CLIENT PAUSE x", "-ERR timeout is not an integer or out of range\r\n"),
        ("CLIENT PAUSE -1", "-ERR timeout is negative\r\n"),
        ("CLIENT PAUSE 9223372036854775807", "-ERR timeout is out of range\r\n"),
        (
            "CLIENT PAUSE 1 all x",
            "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.\r\n",
        ),
    ]);
}

#[test]
fn switches_are_remembered_until_reset() {
    let mut session = session();
    session.expect(&[
        ("CLIENT NO-EVICT on", "+OK\r\n"),
        ("CLIENT NO-TOUCH ON", "+OK\r\n"),
        ("CLIENT NO-TOUCH x", "-ERR syntax error\r\n"),
        ("CLIENT GETREDIR", ":-1\r\n"),
        ("CLIENT TRACKING off", "+OK\r\n"),
        ("CLIENT TRACKING off bcast prefix a redirect 5", "-ERR The client ID you want redirect to does not exist\r\n"),
        ("CLIENT TRACKING on optin", "+OK\r\n"),
        ("CLIENT GETREDIR", ":0\r\n"),
        ("CLIENT TRACKING off", "+OK\r\n"),
        ("CLIENT TRACKING x", "-ERR syntax error\r\n"),
        ("CLIENT TRACKING off redirect x", "-ERR value is not an integer or out of range\r\n"),
        ("CLIENT TRACKING off prefix", "-ERR syntax error\r\n"),
        ("CLIENT REPLY x", "-ERR syntax error\r\n"),
        ("CLIENT REPLY SKIP", ""),
        (
            "CLIENT TRACKINGINFO",
            "*6\r\n$5\r\nflags\r\n*1\r\n$3\r\noff\r\n$8\r\nredirect\r\n:-1\r\n$8\r\nprefixes\r\n*0\r\n",
        ),
    ]);
    assert!(session.say("CLIENT CACHING yes").starts_with("-ERR CLIENT CACHING can be called only when"));
    assert!(session.say("CLIENT INFO").contains(" flags=eT "));
    assert_eq!(session.client.replies, Replies::SkipNext);
    session.expect(&[("CLIENT REPLY OFF", ""), ("CLIENT REPLY SKIP", "")]);
    assert_eq!(session.client.replies, Replies::Off);
    session.say("RESET");
    assert!(session.say("CLIENT INFO").contains(" flags=N "));
    assert_eq!(session.client.replies, Replies::On);
}
