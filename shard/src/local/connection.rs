//! PING, ECHO, SELECT, QUIT, RESET, TIME.

use super::{Node, auth};
use crate::{Client, Replies};
use slotmesh_base::ReplyError;
use slotmesh_command::parse_integer;
use slotmesh_conf::directive;
use slotmesh_resp::{Args, Protocol, Reply};

const MICROS_PER_SECOND: i64 = 1_000_000;

/// A client that hears messages in RESP2 gets something that looks like one.
pub(super) fn ping(client: &Client, args: Args<'_>, reply: &mut Reply<'_>) {
    match args.len() {
        1 | 2 if client.is_bound() => {
            reply.array(2);
            reply.bulk(b"pong");
            reply.bulk(args.find(1).unwrap_or_default());
        }
        1 => reply.simple("PONG"),
        2 => reply.bulk(args.at(1)),
        _ => reply.error(ReplyError::WrongArity("ping")),
    }
}

pub(super) fn echo(args: Args<'_>, reply: &mut Reply<'_>) {
    reply.bulk(args.at(1));
}

pub(super) fn quit(client: &mut Client, reply: &mut Reply<'_>) {
    client.closing = true;
    reply.ok();
}

/// Back to what the connection was at its start; the library's name and version stay (Redis 7.2 `networking.c`
/// `clearClientConnectionState`).
pub(super) fn reset(client: &mut Client, node: &dyn Node, reply: &mut Reply<'_>) {
    client.name.clear();
    client.transaction = None;
    client.db = 0;
    client.protocol = Protocol::Resp2;
    client.replies = Replies::On;
    client.tracking = None;
    (client.no_evict, client.no_touch, client.is_readonly) = (false, false, false);
    client.authenticated = !auth::needs_password(node);
    reply.simple("RESET");
}

pub(super) fn select(client: &mut Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let index = match parse_integer(args.at(1)) {
        Ok(index) => index,
        Err(error) => return reply.error(error),
    };
    if i32::try_from(index).is_err() {
        return reply.error(ReplyError::NotAnInt32);
    }
    if index != 0 && node.cluster().is_some() {
        return reply.error(ReplyError::NotInClusterMode("SELECT"));
    }
    match u16::try_from(index) {
        Ok(db) if usize::from(db) < node.settings().value(directive::DATABASES) => {
            client.db = db;
            reply.ok();
        }
        _ => reply.error(ReplyError::DbIndexOutOfRange),
    }
}

/// Seconds and microseconds.
pub(super) fn time(node: &dyn Node, reply: &mut Reply<'_>) {
    let micros = node.unix_micros();
    reply.array(2);
    reply.bulk_integer(micros.div_euclid(MICROS_PER_SECOND));
    reply.bulk_integer(micros.rem_euclid(MICROS_PER_SECOND));
}
