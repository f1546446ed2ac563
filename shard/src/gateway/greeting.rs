//! What a gateway says first on a link.

use super::machine::{ReadFrom, Rules};
use slotmesh_resp::{Protocol, push_request};

/// The name by which nodes show the links of a gateway.
const NAME: &[u8] = b"slotmesh-gateway";

/// The greeting, and how many replies it gets. All of them must be OK but the last one.
pub(super) fn write(rules: &Rules, protocol: Protocol) -> (Vec<u8>, u8) {
    let (mut out, mut answers) = (Vec::new(), 0);
    let mut say = |words: &[&[u8]]| {
        push_request(&mut out, words.iter().copied());
        answers += 1;
    };
    let (user, password) = (rules.user.as_bytes(), rules.password.as_bytes());
    match (protocol, user, password) {
        (Protocol::Resp2, _, b"") => {}
        (Protocol::Resp2, b"", _) => say(&[b"AUTH", password]),
        (Protocol::Resp2, ..) => say(&[b"AUTH", user, password]),
        (Protocol::Resp3, _, b"") => say(&[b"HELLO", b"3"]),
        (Protocol::Resp3, b"", _) => say(&[b"HELLO", b"3", b"AUTH", b"default", password]),
        (Protocol::Resp3, ..) => say(&[b"HELLO", b"3", b"AUTH", user, password]),
    }
    if rules.reads != ReadFrom::Master {
        say(&[b"READONLY"]);
    }
    say(&[b"CLIENT", b"SETNAME", NAME]);
    (out, answers)
}
