//! SLOWLOG.

use super::{Node, command};
use crate::SlowClient;
use slotmesh_command::parse_integer;
use slotmesh_resp::{Args, Reply};

/// Entries that GET shows unless it is told how many.
const SHOWN: usize = 10;

pub(super) fn get(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let wanted = match args.len() {
        2 => SHOWN,
        3 => match parse_integer(args.at(2)) {
            Ok(-1) => usize::MAX,
            Ok(count @ 0..) => count as usize,
            Ok(_) | Err(_) => return reply.error_text(b"ERR count should be greater than or equal to -1"),
        },
        _ => return command::wrong_subcommand(args, reply),
    };
    let log = node.slow_log().lock().expect("no holder panics");
    reply.array(wanted.min(log.len()));
    for entry in log.entries().take(wanted) {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.at.as_secs());
        reply.integer(entry.micros as i64);
        reply.array(entry.arguments.len());
        entry.arguments.iter().for_each(|argument| reply.bulk(argument));
        match &entry.client {
            SlowClient::Known { address, name } => {
                reply.bulk(address.as_bytes());
                reply.bulk(name);
            }
            // Its core has not had the reply yet.
            SlowClient::Of { .. } => {
                reply.bulk(b"");
                reply.bulk(b"");
            }
        }
    }
}

pub(super) fn len(node: &dyn Node, reply: &mut Reply<'_>) {
    reply.integer(node.slow_log().lock().expect("no holder panics").len() as i64);
}

pub(super) fn reset(node: &dyn Node, reply: &mut Reply<'_>) {
    node.slow_log().lock().expect("no holder panics").reset();
    reply.ok();
}
