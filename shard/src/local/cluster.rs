//! CLUSTER, as far as it looks at the topology alone; READONLY, READWRITE, ASKING.
//!
//! Mirrors Redis 7.2 `cluster.c` (`clusterCommand`).

use super::{Node, client, command};
use crate::Client;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_cluster::{Member, write_links, write_replicas, write_shards, write_slots};
use slotmesh_command::NodeCommand;
use slotmesh_resp::{Args, Reply};

pub(super) fn cluster(what: NodeCommand, asking: &Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let Some(member) = node.cluster() else { return reply.error(ReplyError::ClusterDisabled) };
    let Member { topology, myself } = member;
    let here = asking.reached_at();
    match what {
        NodeCommand::ClusterHelp => command::help(args, reply),
        NodeCommand::ClusterInfo => reply.verbatim(b"txt", topology.info_text(myself).as_bytes()),
        NodeCommand::ClusterNodes => reply.verbatim(b"txt", topology.nodes_text(myself, here).as_bytes()),
        NodeCommand::ClusterKeySlot => reply.integer(i64::from(Slot::of_key(args.at(2)).number())),
        NodeCommand::ClusterLinks => write_links(reply),
        NodeCommand::ClusterMyId => reply.bulk(member.node().id.as_str().as_bytes()),
        NodeCommand::ClusterMyShardId => reply.bulk(member.node().shard_id.as_str().as_bytes()),
        NodeCommand::ClusterShards => write_shards(topology, here, reply),
        NodeCommand::ClusterSlots => write_slots(topology, here, reply),
        NodeCommand::ClusterReplicas | NodeCommand::ClusterCountFailureReports => match topology.find(args.at(2)) {
            None => reply.error_text(&[b"ERR Unknown node ", client::until_nul(args.at(2))].concat()),
            Some(other) if what == NodeCommand::ClusterReplicas => write_replicas(topology, other, reply),
            Some(_) => reply.integer(0),
        },
        _ => unreachable!("the caller sends what is named here"),
    }
}

/// Nothing is read from replicas, or moved, yet: what a connection wishes in this respect is granted by doing nothing.
pub(super) fn note_wish(node: &dyn Node, reply: &mut Reply<'_>) {
    match node.cluster() {
        Some(_) => reply.ok(),
        None => reply.error(ReplyError::ClusterDisabled),
    }
}
