use crate::NodeAction;
use crate::testing::{Session, TestNode};

fn session() -> Session {
    Session::new(TestNode::default())
}

#[test]
fn a_shutdown_is_told_whether_data_matter() {
    let table = [
        ("SHUTDOWN NOSAVE", false),
        ("shutdown now nosave force", false),
        ("SHUTDOWN", true),
        ("SHUTDOWN SAVE FORCE", true),
    ];
    for (request, expects_save) in table {
        let mut session = session();
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Shutdown { expects_save }, "{request}");
    }
    session().expect(&[
        ("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n"),
        ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error\r\n"),
        ("SHUTDOWN ABORT NOW", "-ERR syntax error\r\n"),
        ("SHUTDOWN foo", "-ERR syntax error\r\n"),
        ("SHUTDOWN SAVE", "-ERR Errors trying to SHUTDOWN: there is no persistence yet, and nothing can be saved.\r\n"),
    ]);
}

#[test]
fn who_wants_replicas_waits_for_nobody() {
    for (request, timeout_ms) in
        [("WAIT 1 100", Some(100)), ("WAIT 2 0", None), ("WAITAOF 0 1 5", Some(5)), ("WAITAOF 0 1 0", None)]
    {
        let mut session = session();
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Wait { timeout_ms }, "{request}");
    }
    session().expect(&[
        ("WAIT 0 0", ":0\r\n"),
        ("WAIT -1 5", ":0\r\n"),
        ("WAIT x 1", "-ERR value is not an integer or out of range\r\n"),
        ("WAIT 1 x", "-ERR timeout is not an integer or out of range\r\n"),
        ("WAIT 0 -1", "-ERR timeout is negative\r\n"),
        ("WAIT 1 9223372036854775807", "-ERR timeout is out of range\r\n"),
        ("WAITAOF 0 0 0", "*2\r\n:0\r\n:0\r\n"),
        ("WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n"),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1\r\n"),
        ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive\r\n"),
        ("WAITAOF 0 1 x", "-ERR timeout is not an integer or out of range\r\n"),
    ]);
}

#[test]
fn a_master_without_replicas_and_files_says_so() {
    session().expect(&[
        ("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n"),
        ("REPLICAOF no one", "+OK\r\n"),
        ("SLAVEOF NO ONE", "+OK\r\n"),
        ("REPLICAOF host 6379", "-ERR replication is not supported yet\r\n"),
        ("REPLICAOF host x", "-ERR Invalid master port\r\n"),
        ("PSYNC ? -1", "-ERR replication is not supported yet\r\n"),
        ("SYNC", "-ERR replication is not supported yet\r\n"),
        ("REPLCONF", "+OK\r\n"),
        ("REPLCONF listening-port 1 capa eof", "+OK\r\n"),
        ("REPLCONF listening-port x", "-ERR value is not an integer or out of range\r\n"),
        ("REPLCONF foo bar", "-ERR Unrecognized REPLCONF option: foo\r\n"),
        ("REPLCONF a", "-ERR syntax error\r\n"),
        ("FAILOVER", "-ERR FAILOVER requires connected replicas.\r\n"),
        ("FAILOVER TO h 1 FORCE TIMEOUT 5", "-ERR FAILOVER requires connected replicas.\r\n"),
        ("FAILOVER abort", "-ERR No failover in progress.\r\n"),
        ("FAILOVER TO h", "-ERR syntax error\r\n"),
        ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0\r\n"),
        ("FAILOVER TIMEOUT x", "-ERR value is not an integer or out of range\r\n"),
        ("SAVE", "-ERR there is no persistence yet: nothing can be saved\r\n"),
        ("BGSAVE", "-ERR there is no persistence yet: nothing can be saved\r\n"),
        ("BGSAVE x", "-ERR syntax error\r\n"),
        ("BGREWRITEAOF", "-ERR there is no persistence yet: nothing can be saved\r\n"),
        ("LASTSAVE", ":0\r\n"),
        ("LOLWUT VERSION x", "-ERR value is not an integer or out of range\r\n"),
    ]);
    assert!(session().say("LOLWUT VERSION 5").ends_with(" Redis ver. 7.2.6\n\r\n"));
}
