//! SHUTDOWN, the commands of persistence and replication as far as a master has something to say that has neither, and
//! LOLWUT.
//!
//! Mirrors Redis 7.2 `db.c` (`shutdownCommand`), `replication.c` and `lolwut.c`.

use super::{Node, NodeAction, REDIS_VERSION};
use crate::Client;
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{NodeCommand, parse_integer};
use slotmesh_resp::{Args, Reply};

const NO_PERSISTENCE: &[u8] = b"ERR there is no persistence yet: nothing can be saved";
const NO_REPLICATION: &[u8] = b"ERR replication is not supported yet";

pub(super) fn operate(what: NodeCommand, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let outcome = match what {
        NodeCommand::BgSave
            if args.len() > 2 || args.find(1).is_some_and(|word| !word.eq_ignore_ascii_case(b"schedule")) =>
        {
            return reply.error(ReplyError::Syntax);
        }
        NodeCommand::Failover => Err(failover(args, node)),
        NodeCommand::LastSave => return reply.integer(node.process().started_at.as_secs()),
        NodeCommand::ReplConf => return replica_configuration(args, reply),
        NodeCommand::ReplicaOf => replica_of(args, node),
        NodeCommand::Role => {
            reply.array(3);
            reply.bulk(b"master");
            reply.integer(0);
            return reply.array(0);
        }
        NodeCommand::Sync => Err(NO_REPLICATION),
        _ => Err(NO_PERSISTENCE),
    };
    match outcome {
        Ok(()) => reply.ok(),
        Err(text) => reply.error_text(text),
    }
}

/// What is wrong with a FAILOVER: at least that there are no replicas.
fn failover(args: Args<'_>, node: &dyn Node) -> &'static [u8] {
    const SYNTAX: &[u8] = b"ERR syntax error";
    const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";
    if node.cluster().is_some() {
        return b"ERR FAILOVER not allowed in cluster mode. Use CLUSTER FAILOVER command instead.";
    }
    if args.len() == 2 && args.at(1).eq_ignore_ascii_case(b"abort") {
        return b"ERR No failover in progress.";
    }
    let (mut has_timeout, mut has_target, mut is_forced) = (false, false, false);
    let mut words = args.iter_from(1);
    while let Some(word) = words.next() {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        if is(b"timeout") && words.len() > 0 && !has_timeout {
            match words.next().map(parse_integer) {
                Some(Ok(1..)) => has_timeout = true,
                Some(Ok(_)) => return b"ERR FAILOVER timeout must be greater than 0",
                Some(Err(_)) | None => return NOT_AN_INTEGER,
            }
        } else if is(b"to") && words.len() > 1 && !has_target {
            has_target = true;
            if words.nth(1).is_some_and(|port| parse_integer(port).is_err()) {
                return NOT_AN_INTEGER;
            }
        } else if is(b"force") && !is_forced {
            is_forced = true;
        } else {
            return SYNTAX;
        }
    }
    b"ERR FAILOVER requires connected replicas."
}

fn replica_of(args: Args<'_>, node: &dyn Node) -> Result<(), &'static [u8]> {
    if node.cluster().is_some() {
        return Err(b"ERR REPLICAOF not allowed in cluster mode.");
    }
    if args.at(1).eq_ignore_ascii_case(b"no") && args.at(2).eq_ignore_ascii_case(b"one") {
        return Ok(());
    }
    match parse_integer(args.at(2)) {
        Ok(0..=65535) => Err(NO_REPLICATION),
        _ => Err(b"ERR Invalid master port"),
    }
}

/// REPLCONF of somebody who is no replica: what it says is heard and counts for nothing.
fn replica_configuration(args: Args<'_>, reply: &mut Reply<'_>) {
    if args.len().is_multiple_of(2) {
        return reply.error(ReplyError::Syntax);
    }
    let words: Vec<&[u8]> = args.iter_from(1).collect();
    for pair in words.chunks_exact(2) {
        match &*pair[0].to_ascii_lowercase() {
            b"listening-port" if parse_integer(pair[1]).is_err() => return reply.error(ReplyError::NotAnInteger),
            b"listening-port" | b"ip-address" | b"capa" => {}
            // Between master and replica only; nobody answers.
            b"ack" | b"getack" => return,
            _ => {
                let name = super::client::until_nul(pair[0]);
                return reply.error_text(&[b"ERR Unrecognized REPLCONF option: ", name].concat());
            }
        }
    }
    reply.ok();
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
    } else if abort {
        reply.error_text(b"ERR No shutdown in progress.");
    } else if save && !force {
        reply.error_text(b"ERR Errors trying to SHUTDOWN: there is no persistence yet, and nothing can be saved.");
    } else {
        // Nothing is saved, which is no news to those who want nothing saved.
        let expects_save = save || !nosave && has_save_points(node);
        return NodeAction::Shutdown { expects_save };
    }
    NodeAction::Done
}

fn has_save_points(node: &dyn Node) -> bool {
    node.settings().get(&[b"save"]).first().is_some_and(|(_, points)| !points.is_empty())
}

/// WAIT and WAITAOF: nobody follows us, and nothing is on a disk. A transaction does not wait.
pub(super) fn wait(
    what: NodeCommand,
    client: &Client,
    args: Args<'_>,
    now: UnixMillis,
    reply: &mut Reply<'_>,
) -> NodeAction {
    let wanted = match what {
        NodeCommand::WaitAof => wanted_of_disks(args),
        _ => parse_integer(args.at(1)).map_err(|_| NOT_AN_INTEGER),
    };
    let timeout = args.at(args.len() - 1);
    let wanted = wanted.and_then(|wanted| Ok((wanted, timeout_ms(timeout, now)?)));
    match wanted {
        Err(text) => reply.error_text(text),
        Ok(_) if what == NodeCommand::WaitAof && needs_disk(args) => {
            reply.error_text(b"ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
        }
        Ok((wanted, timeout_ms)) if wanted > 0 && client.transaction.is_none() => {
            return NodeAction::Wait { timeout_ms };
        }
        Ok(_) if what == NodeCommand::WaitAof => {
            reply.array(2);
            reply.integer(0);
            reply.integer(0);
        }
        Ok(_) => reply.integer(0),
    }
    NodeAction::Done
}

const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";

fn needs_disk(args: Args<'_>) -> bool {
    parse_integer(args.at(1)).is_ok_and(|local| local > 0)
}

fn wanted_of_disks(args: Args<'_>) -> Result<i64, &'static [u8]> {
    match parse_integer(args.at(1)) {
        Ok(0..=1) => {}
        Ok(_) => return Err(b"ERR value is out of range, value must between 0 and 1"),
        Err(_) => return Err(NOT_AN_INTEGER),
    }
    match parse_integer(args.at(2)) {
        Ok(replicas @ 0..) => Ok(replicas),
        Ok(_) => Err(b"ERR value is out of range, must be positive"),
        Err(_) => Err(NOT_AN_INTEGER),
    }
}

/// A timeout in ms; 0 is for ever.
fn timeout_ms(text: &[u8], now: UnixMillis) -> Result<Option<u64>, &'static [u8]> {
    match parse_integer(text) {
        Err(_) => Err(b"ERR timeout is not an integer or out of range"),
        Ok(..0) => Err(b"ERR timeout is negative"),
        Ok(millis) if millis > i64::MAX - now.0 => Err(b"ERR timeout is out of range"),
        Ok(0) => Ok(None),
        Ok(millis) => Ok(Some(millis.unsigned_abs())),
    }
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
