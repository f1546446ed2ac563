//! The replies of CLUSTER that are no texts: SLOTS and SHARDS.
//!
//! Mirrors Redis 7.2 `cluster.c` (`clusterGenNodesSlotsInfo`, `clusterReplyMultiBulkSlots`, `addNodeDetailsToShardReply`).

use crate::node::{Node, NodeId};
use crate::topology::{Endpoint, NodeIndex, Topology};
use crate::wire::NodeFlags;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use slotmesh_resp::Reply;

/// CLUSTER SLOTS, for a client that has reached us at `here`.
pub fn write_slots(topology: &Topology, here: &str, reply: &mut Reply<'_>) {
    reply.array(topology.ranges().count());
    for (first, last, owner) in topology.ranges() {
        let replicas = || topology.replicas(owner).filter(|node| !is_left_out(node));
        reply.array(3 + replicas().count());
        reply.integer(i64::from(first));
        reply.integer(i64::from(last));
        write_slot_node(topology, topology.node(owner), here, reply);
        replicas().for_each(|node| write_slot_node(topology, node, here, reply));
    }
}

/// Whether a replica has nothing to offer: it has failed, or has not begun to follow.
fn is_left_out(replica: &Node) -> bool {
    replica.flags.contains(NodeFlags::FAIL) || replica.offset == 0
}

fn write_slot_node(topology: &Topology, node: &Node, here: &str, reply: &mut Reply<'_>) {
    reply.array(4);
    write_endpoint(topology, node, here, reply);
    reply.integer(i64::from(node.port));
    reply.bulk(node.id.as_str().as_bytes());
    // The names that the endpoint does not tell.
    let ip = (topology.endpoint_type() != Endpoint::Ip).then(|| node.ip(here));
    let hostname = node.hostname.as_deref().filter(|_| topology.endpoint_type() != Endpoint::Hostname);
    let names = || [("ip", ip), ("hostname", hostname)].into_iter().filter_map(|(name, value)| Some((name, value?)));
    reply.map(names().count());
    for (name, value) in names() {
        reply.bulk(name.as_bytes());
        reply.bulk(value.as_bytes());
    }
}

fn write_endpoint(topology: &Topology, node: &Node, here: &str, reply: &mut Reply<'_>) {
    match topology.endpoint(node, here) {
        Some(endpoint) => reply.bulk(endpoint.as_bytes()),
        None => reply.null(),
    }
}

/// CLUSTER SHARDS, for a client that has reached us at `here`: an entry for each group of a master and its replicas.
pub fn write_shards(topology: &Topology, here: &str, reply: &mut Reply<'_>) {
    let mut shards: BTreeMap<NodeId, Vec<(NodeIndex, &Node)>> = BTreeMap::new();
    for (index, node) in topology.nodes() {
        shards.entry(node.shard_id).or_default().push((index, node));
    }
    // In the order of the nodes, as they are known.
    let mut shards: Vec<_> = shards.into_values().collect();
    shards.sort_by_key(|nodes| nodes[0].0);
    reply.array(shards.len());
    for nodes in shards {
        let slots: Vec<(u16, u16)> = nodes.iter().flat_map(|&(index, _)| topology.ranges_of(index)).collect();
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2 * slots.len());
        for (first, last) in slots {
            reply.integer(i64::from(first));
            reply.integer(i64::from(last));
        }
        reply.bulk(b"nodes");
        reply.array(nodes.len());
        nodes.into_iter().for_each(|(_, node)| write_shard_node(topology, node, here, reply));
    }
}

fn write_shard_node(topology: &Topology, node: &Node, here: &str, reply: &mut Reply<'_>) {
    let ports = || [("port", node.port), ("tls-port", node.other_port)].into_iter().filter(|&(_, port)| port != 0);
    reply.map(6 + ports().count() + usize::from(node.hostname.is_some()));
    reply.bulk(b"id");
    reply.bulk(node.id.as_str().as_bytes());
    for (name, port) in ports() {
        reply.bulk(name.as_bytes());
        reply.integer(i64::from(port));
    }
    reply.bulk(b"ip");
    reply.bulk(node.ip(here).as_bytes());
    reply.bulk(b"endpoint");
    write_endpoint(topology, node, here, reply);
    if let Some(hostname) = &node.hostname {
        reply.bulk(b"hostname");
        reply.bulk(hostname.as_bytes());
    }
    let is_replica = node.flags.contains(NodeFlags::REPLICA);
    reply.bulk(b"role");
    reply.bulk(if is_replica { b"replica" } else { b"master" });
    reply.bulk(b"replication-offset");
    reply.integer(node.offset as i64);
    reply.bulk(b"health");
    reply.bulk(match (node.flags.contains(NodeFlags::FAIL), is_replica && node.offset == 0) {
        (true, _) => b"fail",
        (false, true) => b"loading",
        (false, false) => b"online",
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::{node, three};
    use slotmesh_resp::Protocol;
    use std::string::String;

    fn printed(protocol: Protocol, write: impl Fn(&Topology, &str, &mut Reply<'_>)) -> String {
        let mut out = Vec::new();
        write(&three(), "127.0.0.1", &mut Reply::new(&mut out, protocol));
        String::from_utf8(out).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn slots_have_their_node_with_four_parts() {
        let id = node(0).id;
        let text = printed(Protocol::Resp2, write_slots);
        let first = std::format!("*4 *3 :0 :5460 *4 $9 127.0.0.1 :7000 $40 {id} *0 *3 ");
        assert!(text.starts_with(&first), "{text}");
        assert!(text.contains(&std::format!("*3 :16383 :16383 *4 $9 127.0.0.1 :7000 $40 {id} *0")), "{text}");
        assert!(printed(Protocol::Resp3, write_slots).contains(&std::format!("$40 {id} %0 ")));
    }

    #[test]
    fn shards_have_slots_and_nodes() {
        let id = node(0).id;
        let text = printed(Protocol::Resp3, write_shards);
        let first = std::format!(
            "*3 %2 $5 slots *4 :0 :5460 :16383 :16383 $5 nodes *1 %7 $2 id $40 {id} $4 port :7000 $2 ip $9 127.0.0.1 \
             $8 endpoint $9 127.0.0.1 $4 role $6 master $18 replication-offset :0 $6 health $6 online %2 "
        );
        assert!(text.starts_with(&first), "{text}");
    }
}
