use crate::testing::{Session, TestNode};
use crate::{NodeAction, SaveEnd, ShutdownWish};

fn session() -> Session {
    Session::new(TestNode::default())
}

#[test]
fn a_shutdown_is_told_whether_data_matter() {
    let table = [
        ("SHUTDOWN NOSAVE", "1 1", false, true, false),
        ("shutdown now nosave force", "1 1", false, false, true),
        ("SHUTDOWN", "1 1", true, true, false),
        ("SHUTDOWN", "", false, true, false),
        ("SHUTDOWN SAVE FORCE", "", true, true, true),
    ];
    for (request, points, saves, waits, forces) in table {
        let mut session = Session::new(TestNode::with(&[("save", points)]));
        assert_eq!(session.say(request), "", "{request}");
        assert_eq!(session.action, NodeAction::Shutdown(ShutdownWish { saves, waits, forces }), "{request}");
    }
    session().expect(&[
        ("SHUTDOWN ABORT", "-ERR No shutdown in progress.\r\n"),
        ("SHUTDOWN SAVE NOSAVE", "-ERR syntax error\r\n"),
        ("SHUTDOWN ABORT NOW", "-ERR syntax error\r\n"),
        ("SHUTDOWN foo", "-ERR syntax error\r\n"),
    ]);
}

#[test]
fn one_save_is_under_way_at_a_time() {
    let mut session = session();
    session.expect(&[
        ("BGSAVE x", "-ERR syntax error\r\n"),
        ("BGSAVE SCHEDULE now", "-ERR syntax error\r\n"),
        ("BGSAVE", "+Background saving started\r\n"),
    ]);
    assert_eq!(session.action, NodeAction::Save { waits: false });
    session.expect(&[
        ("BGSAVE SCHEDULE", "-ERR Background save already in progress\r\n"),
        ("SAVE", "-ERR Background save already in progress\r\n"),
        ("LASTSAVE", ":0\r\n"),
    ]);
    assert_eq!(session.action, NodeAction::Done);
    session.node.saves.borrow_mut().end(SaveEnd::Saved { changes: 0 }, 9);
    assert_eq!(session.say("SAVE"), "", "the reply comes when it is saved");
    assert_eq!(session.action, NodeAction::Save { waits: true });
    assert_eq!(session.say("LASTSAVE"), ":9\r\n");
}

#[test]
fn a_rewrite_begins_at_once_or_later_or_is_under_way() {
    let mut session = session();
    session.expect(&[("BGREWRITEAOF", "+Background append only file rewriting started\r\n")]);
    assert_eq!(session.action, NodeAction::Save { waits: false });
    session.node.log.is_rewriting = true;
    let mut other = Session::new(session.node);
    other.expect(&[("BGREWRITEAOF", "-ERR Background append only file rewriting already in progress\r\n")]);
    assert_eq!(other.action, NodeAction::Done);
}

#[test]
fn drawings_have_a_version() {
    session().expect(&[("LOLWUT VERSION x", "-ERR value is not an integer or out of range\r\n")]);
    assert!(session().say("LOLWUT VERSION 5").ends_with(" Redis ver. 7.2.6\n\r\n"));
}
