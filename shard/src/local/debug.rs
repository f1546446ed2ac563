//! DEBUG: for developers, and only for those whom `enable-debug-command` names.

use super::node::{Node, NodeAction};
use crate::Client;
use slotmesh_command::parse_integer;
use slotmesh_conf::directive;
use slotmesh_resp::{Args, Reply};

/// Bytes of pages that a shard may keep for a snapshot unless the request says otherwise.
const COPIES_BYTES_MAX: usize = 256 << 20;

const HELP: [&str; 5] = [
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "SNAPSHOT [<bytes>]",
    "    Walk a snapshot of every shard and throw it away; pages of up to <bytes> are kept for it.",
    "HELP",
    "    Print this help.",
];

pub(super) fn debug(client: &Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) -> NodeAction {
    let is_allowed = match node.settings().value(directive::ENABLE_DEBUG_COMMAND) {
        "yes" => true,
        "local" => is_local(client),
        _ => false,
    };
    if !is_allowed {
        reply.error_text(NOT_ALLOWED);
        return NodeAction::Done;
    }
    let is = |name: &[u8]| args.at(1).eq_ignore_ascii_case(name);
    let bytes = args.find(2).map(|bytes| parse_integer(bytes).ok().and_then(|bytes| usize::try_from(bytes).ok()));
    match (args.len(), bytes) {
        (2, _) if is(b"snapshot") => return NodeAction::DrillSnapshot { copies_bytes_max: COPIES_BYTES_MAX },
        (3, Some(Some(copies_bytes_max))) if is(b"snapshot") => return NodeAction::DrillSnapshot { copies_bytes_max },
        (2, _) if is(b"help") => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.simple(line));
        }
        _ => super::command::wrong_subcommand(args, reply),
    }
    NodeAction::Done
}

/// Redis 7.2 `connection.h` `connIsLocal`.
fn is_local(client: &Client) -> bool {
    client.unix_socket || client.address.starts_with("127.") || client.address.starts_with("[::1]")
}

const NOT_ALLOWED: &[u8] = b"ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
