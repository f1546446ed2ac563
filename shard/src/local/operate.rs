//! SHUTDOWN, the commands of persistence as far as somebody has something to say who has none, and LOLWUT.
//!
//! Mirrors Redis 7.2 `db.c` (`shutdownCommand`) and `lolwut.c`.

use super::ShutdownWish;
use super::{Node, NodeAction, REDIS_VERSION};
use crate::{Client, SaveBegin, SaveWish};
use slotmesh_base::ReplyError;
use slotmesh_command::{NodeCommand, parse_integer};
use slotmesh_conf::directive;
use slotmesh_resp::{Args, Reply};

pub(super) fn operate(
    what: NodeCommand,
    client: &Client,
    args: Args<'_>,
    node: &dyn Node,
    reply: &mut Reply<'_>,
) -> NodeAction {
    match what {
        NodeCommand::Save => return save(node, reply),
        NodeCommand::BgSave => return background_save(client, args, node, reply),
        NodeCommand::LastSave => reply.integer(node.persistence().save.last_save),
        _ => return rewrite(client, node, reply),
    }
    NodeAction::Done
}

/// BGREWRITEAOF.
fn rewrite(client: &Client, node: &dyn Node, reply: &mut Reply<'_>) -> NodeAction {
    match node.begin_rewrite(client.transaction.is_some()) {
        SaveBegin::Begun => {
            reply.simple("Background append only file rewriting started");
            return NodeAction::Save { waits: false };
        }
        SaveBegin::Scheduled => reply.simple("Background append only file rewriting scheduled"),
        SaveBegin::InProgress | SaveBegin::Rewriting => reply.error(ReplyError::RewriteInProgress),
    }
    NodeAction::Done
}

/// The save is one in the background, for which the client waits.
fn save(node: &dyn Node, reply: &mut Reply<'_>) -> NodeAction {
    match node.begin_save(SaveWish::Awaited) {
        SaveBegin::Begun | SaveBegin::Scheduled => NodeAction::Save { waits: true },
        SaveBegin::InProgress | SaveBegin::Rewriting => {
            reply.error(ReplyError::SaveInProgress);
            NodeAction::Done
        }
    }
}

fn background_save(client: &Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) -> NodeAction {
    if args.len() > 2 || args.find(1).is_some_and(|word| !word.eq_ignore_ascii_case(b"schedule")) {
        reply.error(ReplyError::Syntax);
        return NodeAction::Done;
    }
    let is_in_transaction = client.transaction.is_some();
    let wish = match args.len() > 1 || is_in_transaction {
        true => SaveWish::Scheduled { is_in_transaction },
        false => SaveWish::Background,
    };
    match node.begin_save(wish) {
        SaveBegin::Begun => {
            reply.simple("Background saving started");
            return NodeAction::Save { waits: false };
        }
        SaveBegin::Scheduled => reply.simple("Background saving scheduled"),
        SaveBegin::InProgress => reply.error(ReplyError::SaveInProgress),
        SaveBegin::Rewriting => reply.error(ReplyError::SaveDuringRewrite),
    }
    NodeAction::Done
}

pub(super) fn shutdown(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) -> NodeAction {
    let (mut nosave, mut save, mut force, mut now, mut abort) = (false, false, false, false, false);
    for word in args.iter_from(1) {
        match &*word.to_ascii_lowercase() {
            b"nosave" => nosave = true,
            b"save" => save = true,
            b"now" => now = true,
            b"force" => force = true,
            b"abort" => abort = true,
            _ => {
                reply.error(ReplyError::Syntax);
                return NodeAction::Done;
            }
        }
    }
    if nosave && save || abort && (nosave || save || now || force) {
        reply.error(ReplyError::Syntax);
    } else if abort && node.abort_shutdown() {
        reply.ok();
        return NodeAction::AbortShutdown;
    } else if abort {
        reply.error_text(b"ERR No shutdown in progress.");
    } else {
        let has_points = !node.settings().value(directive::SAVE).is_empty();
        return NodeAction::Shutdown(ShutdownWish { saves: save || !nosave && has_points, waits: !now, forces: force });
    }
    NodeAction::Done
}

/// A mesh of the slots of the cores, and the version.
pub(super) fn lolwut(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    if args.len() > 2 && args.at(1).eq_ignore_ascii_case(b"version") && parse_integer(args.at(2)).is_err() {
        return reply.error(ReplyError::NotAnInteger);
    }
    let shards = node.cores().iter().filter(|core| core.slots.is_some()).count();
    let mut art = String::new();
    for row in 0..8_usize {
        for column in 0..32_usize {
            // A place is drawn in the sign of the shard that owns the slot of its number.
            let slot = (row * 32 + column) * 64;
            let owner = slot * shards.max(1) / 16384;
            art.push(if (row + column).is_multiple_of(2) { ['o', '*', '+', 'x', '#', '@'][owner % 6] } else { '-' });
        }
        art.push('\n');
    }
    art.push_str(&format!("\n{shards} shards hold 16384 slots. Redis ver. {REDIS_VERSION}\n"));
    reply.verbatim(b"txt", art.as_bytes());
}
