use crate::NodeAction;
use crate::testing::{Session, TestNode};
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
