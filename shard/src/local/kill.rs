//! CLIENT KILL and CLIENT PAUSE: what they ask of all cores.
//!
//! Mirrors Redis 7.2 `networking.c` (`clientCommand`) and `timeout.c` (`getTimeoutFromObjectOrReply`).

use super::client::until_nul;
use super::filter::ClientKind;
use super::node::{ClientFilter, Node, NodeAction};
use crate::{Client, PauseScope};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::parse_integer;
use slotmesh_resp::{Args, Reply};

/// CLIENT KILL, whose old form has an address alone.
pub(super) fn kill(client: &Client, args: Args<'_>, reply: &mut Reply<'_>) -> NodeAction {
    if args.len() == 3 {
        let address = Some(args.at(2).to_vec());
        return NodeAction::KillClients { filter: ClientFilter { address, ..ClientFilter::default() }, counts: false };
    }
    match parse(client, args) {
        Ok(filter) => return NodeAction::KillClients { filter, counts: true },
        Err(KillError::Syntax) => reply.error(ReplyError::Syntax),
        Err(KillError::Text(before, name)) => {
            let behind: &[u8] = if name.is_empty() { b"" } else { b"'" };
            reply.error_text(&[before, until_nul(name), behind].concat());
        }
    }
    NodeAction::Done
}

enum KillError<'a> {
    Syntax,
    /// A text, and what it quotes, if anything.
    Text(&'static [u8], &'a [u8]),
}

fn parse<'a>(client: &Client, args: Args<'a>) -> Result<ClientFilter, KillError<'a>> {
    let mut filter = ClientFilter { but: Some(client.id), ..ClientFilter::default() };
    let mut words = args.iter_from(2);
    while let Some(option) = words.next() {
        let value = words.next().ok_or(KillError::Syntax)?;
        let is = |name: &[u8]| option.eq_ignore_ascii_case(name);
        if is(b"id") {
            let id = parse_integer(value).ok().and_then(|id| u64::try_from(id).ok()).filter(|&id| id > 0);
            filter.ids = vec![id.ok_or(KillError::Text(b"ERR client-id should be greater than 0", b""))?];
        } else if is(b"type") {
            let kind = ClientKind::find(value).ok_or(KillError::Text(b"ERR Unknown client type '", value))?;
            filter.kind = Some(kind);
        } else if is(b"addr") {
            filter.address = Some(value.to_vec());
        } else if is(b"laddr") {
            filter.local_address = Some(value.to_vec());
        } else if is(b"user") {
            if value != b"default" {
                return Err(KillError::Text(b"ERR No such user '", value));
            }
        } else if is(b"skipme") && value.eq_ignore_ascii_case(b"yes") {
            filter.but = Some(client.id);
        } else if is(b"skipme") && value.eq_ignore_ascii_case(b"no") {
            filter.but = None;
        } else {
            return Err(KillError::Syntax);
        }
    }
    Ok(filter)
}

pub(super) fn pause(args: Args<'_>, node: &dyn Node, now: UnixMillis, reply: &mut Reply<'_>) -> NodeAction {
    let scope = match args.find(3) {
        _ if args.len() > 4 => {
            super::command::wrong_subcommand(args, reply);
            return NodeAction::Done;
        }
        None => PauseScope::All,
        Some(mode) if mode.eq_ignore_ascii_case(b"all") => PauseScope::All,
        Some(mode) if mode.eq_ignore_ascii_case(b"write") => PauseScope::Writes,
        Some(_) => {
            reply.error_text(b"ERR CLIENT PAUSE mode must be WRITE or ALL");
            return NodeAction::Done;
        }
    };
    let text: &[u8] = match parse_integer(args.at(2)) {
        Err(_) => b"ERR timeout is not an integer or out of range",
        Ok(..0) => b"ERR timeout is negative",
        // An end of 0 is over.
        Ok(0) => {
            node.pause(UnixMillis(0), scope);
            return NodeAction::Refresh;
        }
        Ok(millis) => match now.0.checked_add(millis) {
            Some(end) => {
                node.pause(UnixMillis(end), scope);
                return NodeAction::Refresh;
            }
            None => b"ERR timeout is out of range",
        },
    };
    reply.error_text(text);
    NodeAction::Done
}
