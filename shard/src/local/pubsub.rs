//! PUBSUB: what is heard, and by how many.

use super::{Node, command};
use slotmesh_command::{ChannelKind, glob};
use slotmesh_resp::{Args, Reply};

/// CHANNELS and SHARDCHANNELS.
pub(super) fn channels(kind: ChannelKind, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    if args.len() > 3 {
        return command::wrong_subcommand(args, reply);
    }
    let pattern = args.find(2);
    let census = node.census();
    let wanted = |name: &&[u8]| pattern.is_none_or(|pattern| glob::matches(pattern, name));
    let head = reply.deferred_array();
    let mut count = 0;
    for name in census.names(kind).filter(wanted) {
        reply.bulk(name);
        count += 1;
    }
    reply.close_array(head, count);
}

/// NUMSUB and SHARDNUMSUB.
pub(super) fn subscribers(kind: ChannelKind, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let census = node.census();
    reply.array(2 * (args.len() - 2));
    for name in args.iter_from(2) {
        reply.bulk(name);
        reply.integer(census.subscribers(kind, name) as i64);
    }
}
