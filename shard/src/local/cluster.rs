//! CLUSTER, as far as it asks the node; READONLY, READWRITE, ASKING.
//!
//! Mirrors Redis 7.2 `cluster.c` (`clusterCommand`).

use super::{Node, client, cluster_order, command};
use crate::Client;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_cluster::machine::{Cluster, LinkReport};
use slotmesh_cluster::{Member, NodeId, write_shards, write_slots};
use slotmesh_command::NodeCommand;
use slotmesh_resp::{Args, Reply};

pub(super) fn cluster(what: NodeCommand, asking: &Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let Some(Member { topology, .. }) = node.cluster() else { return reply.error(ReplyError::ClusterDisabled) };
    let here = asking.reached_at();
    match what {
        NodeCommand::ClusterHelp => command::help(args, reply),
        NodeCommand::ClusterKeySlot => reply.integer(i64::from(Slot::of_key(args.at(2)).number())),
        // Offsets are those of now; the topology has those of its day.
        NodeCommand::ClusterShards => {
            let is_told = node.with_machine(&mut |machine, now, _| write_shards(&machine.view(now).0, here, reply));
            if !is_told {
                write_shards(topology, here, reply);
            }
        }
        NodeCommand::ClusterSlots => write_slots(topology, here, reply),
        NodeCommand::ClusterLinks => links(node, reply),
        NodeCommand::ClusterInfo
        | NodeCommand::ClusterNodes
        | NodeCommand::ClusterMyId
        | NodeCommand::ClusterMyShardId
        | NodeCommand::ClusterReplicas
        | NodeCommand::ClusterCountFailureReports => ask(what, here, args, node, reply),
        order => cluster_order::order(order, args, node, reply),
    }
}

/// What the machine knows better than the topology: times, counters, reports.
fn ask(what: NodeCommand, here: &str, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    node.with_machine(&mut |machine, now, _| match what {
        NodeCommand::ClusterInfo => reply.verbatim(b"txt", machine.info_text().as_bytes()),
        NodeCommand::ClusterNodes => reply.verbatim(b"txt", machine.nodes_text(now, here).as_bytes()),
        NodeCommand::ClusterMyId => reply.bulk(machine.id().as_str().as_bytes()),
        NodeCommand::ClusterMyShardId => reply.bulk(machine.shard_id().as_str().as_bytes()),
        _ => {
            let Some(id) = known(machine, args.at(2), reply) else { return };
            if what == NodeCommand::ClusterReplicas {
                return match machine.replica_lines(now, &id, here) {
                    Ok(lines) => {
                        reply.array(lines.len());
                        lines.iter().for_each(|line| reply.bulk(line.as_bytes()));
                    }
                    Err(_) => reply.error_text(b"ERR The specified node is not a master"),
                };
            }
            reply.integer(machine.failure_reports(now, &id).unwrap_or(0) as i64);
        }
    });
}

/// The node of this name, or the error that there is none.
pub(super) fn known(machine: &Cluster, name: &[u8], reply: &mut Reply<'_>) -> Option<NodeId> {
    let id = NodeId::parse(name).filter(|id| machine.flags_of(id).is_some());
    if id.is_none() {
        reply.error_text(&[b"ERR Unknown node ", client::until_nul(name)].concat());
    }
    id
}

/// CLUSTER LINKS: how the links are that belong to a node (Redis 7.2 `addReplyClusterLinkDescription`).
fn links(node: &dyn Node, reply: &mut Reply<'_>) {
    let mut links: Vec<LinkReport> = Vec::new();
    node.with_machine(&mut |machine, now, _| links.extend(machine.links(now)));
    reply.array(links.len());
    for link in links {
        let (used, allocated) = node.link_buffer(link.link);
        reply.map(6);
        let direction = if link.link.is_ours() { "to" } else { "from" };
        let events = if used > 0 { "rw" } else { "r" };
        for (name, value) in [("direction", direction), ("node", link.node.as_str())] {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
        reply.bulk(b"create-time");
        reply.integer(link.created.0);
        reply.bulk(b"events");
        reply.bulk(events.as_bytes());
        for (name, bytes) in [("send-buffer-allocated", allocated), ("send-buffer-used", used)] {
            reply.bulk(name.as_bytes());
            reply.integer(bytes as i64);
        }
    }
}

/// READONLY and READWRITE.
pub(super) fn set_readonly(client: &mut Client, is_readonly: bool, node: &dyn Node, reply: &mut Reply<'_>) {
    client.is_readonly = is_readonly && node.cluster().is_some();
    note_wish(node, reply);
}

/// ASKING: nothing is moved yet, so that what a connection wishes is granted by doing nothing.
pub(super) fn note_wish(node: &dyn Node, reply: &mut Reply<'_>) {
    match node.cluster() {
        Some(_) => reply.ok(),
        None => reply.error(ReplyError::ClusterDisabled),
    }
}
