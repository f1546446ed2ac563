//! What clients are told: a picture of the cluster that does not change.

use super::{Cluster, Now};
use crate::node::Node;
use crate::topology::{NOBODY, NodeIndex, Topology};
use crate::wire::NodeFlags;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

impl Cluster {
    /// The cluster as redirects, CLUSTER SLOTS and CLUSTER SHARDS tell it, and our place in it. Nodes in handshake are
    /// not in it: nobody knows yet who they are.
    pub fn view(&self, now: Now) -> (Topology, NodeIndex) {
        let mut places = vec![NOBODY; self.table.places()];
        let shown: Vec<NodeIndex> =
            self.table.rows().filter(|(_, row)| !row.has(NodeFlags::HANDSHAKE)).map(|(node, _)| node).collect();
        for (place, node) in (0..).zip(&shown) {
            places[usize::from(node.0)] = place;
        }
        let place = |node: NodeIndex| NodeIndex(places[usize::from(node.0)]);
        let nodes = shown.iter().map(|&node| {
            let row = self.table.row(node);
            Node {
                id: row.id,
                shard_id: row.shard_id,
                ip: row.host.as_ref().map_or_else(String::new, ToString::to_string),
                port: row.port,
                other_port: row.other_port,
                bus_port: row.bus_port,
                hostname: row.hostname.clone(),
                flags: row.flags,
                master: row.master.map(place),
                offset: if node == self.myself { self.replication.offset } else { row.offset },
                config_epoch: row.config_epoch,
                heard_at_ms: now.unix_of(row.pong_received).0,
            }
        });
        let mut topology = Topology::told(nodes.collect(), self.is_ok(), self.settings.manners);
        for (slot, &owner) in self.slots.owners().iter().enumerate() {
            if owner != NOBODY {
                topology.assign_one(slot, place(NodeIndex(owner)));
            }
        }
        topology.count();
        (topology, place(self.myself))
    }
}
