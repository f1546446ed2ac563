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
        let may_wait = !request.contains("now");
        let mut session = session();
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Shutdown { expects_save, may_wait }, "{request}");
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
fn who_has_no_files_says_so() {
    session().expect(&[
        ("SAVE", "-ERR there is no persistence yet: nothing can be saved\r\n"),
        ("BGSAVE", "-ERR there is no persistence yet: nothing can be saved\r\n"),
        ("BGSAVE x", "-ERR syntax error\r\n"),
        ("BGREWRITEAOF", "-ERR there is no persistence yet: nothing can be saved\r\n"),
        ("LASTSAVE", ":0\r\n"),
        ("LOLWUT VERSION x", "-ERR value is not an integer or out of range\r\n"),
    ]);
    assert!(session().say("LOLWUT VERSION 5").ends_with(" Redis ver. 7.2.6\n\r\n"));
}
