//! The replies of CLUSTER that are no texts: SLOTS, SHARDS, REPLICAS, LINKS.
//!
//! Mirrors Redis 7.2 `cluster.c` (`clusterGenNodesSlotsInfo`, `clusterReplyMultiBulkSlots`, `addNodeDetailsToShardReply`).

use crate::node::Node;
use crate::topology::{NodeIndex, Topology};
use slotmesh_resp::Reply;

/// CLUSTER SLOTS, for a client that has reached us at `here`.
pub fn write_slots(topology: &Topology, here: &str, reply: &mut Reply<'_>) {
    reply.array(topology.ranges().count());
    for (first, last, owner) in topology.ranges() {
        let node = topology.node(owner);
        reply.array(3);
        reply.integer(i64::from(first));
        reply.integer(i64::from(last));
        reply.array(4);
        reply.bulk(node.ip(here).as_bytes());
        reply.integer(i64::from(node.port));
        reply.bulk(node.id.as_str().as_bytes());
        // Further names of the node, of which it has none.
        reply.map(0);
    }
}

/// CLUSTER SHARDS, for a client that has reached us at `here`.
pub fn write_shards(topology: &Topology, here: &str, reply: &mut Reply<'_>) {
    reply.array(topology.nodes().count());
    for (index, node) in topology.nodes() {
        reply.map(2);
        reply.bulk(b"slots");
        reply.array(2 * topology.ranges_of(index).count());
        for (first, last) in topology.ranges_of(index) {
            reply.integer(i64::from(first));
            reply.integer(i64::from(last));
        }
        reply.bulk(b"nodes");
        reply.array(1);
        write_shard_node(node, here, reply);
    }
}

fn write_shard_node(node: &Node, here: &str, reply: &mut Reply<'_>) {
    let ip = node.ip(here).as_bytes();
    reply.map(7);
    reply.bulk(b"id");
    reply.bulk(node.id.as_str().as_bytes());
    reply.bulk(b"port");
    reply.integer(i64::from(node.port));
    for (name, value) in [(&b"ip"[..], ip), (b"endpoint", ip), (b"role", b"master")] {
        reply.bulk(name);
        reply.bulk(value);
    }
    reply.bulk(b"replication-offset");
    reply.integer(0);
    reply.bulk(b"health");
    reply.bulk(b"online");
}

/// CLUSTER REPLICAS of a node: it has none.
pub fn write_replicas(_topology: &Topology, _node: NodeIndex, reply: &mut Reply<'_>) {
    reply.array(0);
}

/// CLUSTER LINKS: there are no links without a bus.
pub fn write_links(reply: &mut Reply<'_>) {
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::tests::{node, three};
    use slotmesh_resp::Protocol;
    use std::string::String;
    use std::vec::Vec;

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
