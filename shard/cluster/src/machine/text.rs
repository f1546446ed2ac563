//! What CLUSTER INFO, CLUSTER NODES and CLUSTER REPLICAS print.

use super::{AdminError, Cluster, Now};
use crate::host::Host;
use crate::node::{NodeId, put};
use crate::nodes_conf::{LineStyle, write_line};
use crate::topology::NodeIndex;
use crate::wire::{MessageKind, NodeFlags};
use alloc::string::String;
use alloc::vec::Vec;

impl Cluster {
    /// CLUSTER INFO (Redis 7.2 `cluster.c`), and what only we count.
    pub fn info_text(&self) -> String {
        // Who has failed does not count as suspected, too.
        let slots_of = |flag, but| -> u64 {
            let bad = self.table.rows().filter(|(_, row)| row.has(flag) && !row.has(but));
            bad.map(|(node, _)| u64::from(self.slots.count(node))).sum()
        };
        let (suspected, failed) =
            (slots_of(NodeFlags::PFAIL, NodeFlags::FAIL), slots_of(NodeFlags::FAIL, NodeFlags::empty()));
        let assigned = self.slots.assigned() as u64;
        let me = self.table.row(self.myself);
        let epochs_of = me.master.unwrap_or(self.myself);
        let mut text = String::new();
        put(&mut text, format_args!("cluster_state:{}\r\n", if self.is_ok() { "ok" } else { "fail" }));
        let numbers = [
            ("cluster_slots_assigned", assigned),
            ("cluster_slots_ok", assigned - suspected - failed),
            ("cluster_slots_pfail", suspected),
            ("cluster_slots_fail", failed),
            ("cluster_known_nodes", self.table.len() as u64),
            ("cluster_size", self.size() as u64),
            ("cluster_current_epoch", self.current_epoch),
            ("cluster_my_epoch", self.table.row(epochs_of).config_epoch),
        ];
        numbers.iter().for_each(|(name, value)| put(&mut text, format_args!("{name}:{value}\r\n")));
        for (way, counts) in [("sent", &self.counters.sent), ("received", &self.counters.received)] {
            for (kind, count) in MessageKind::ALL.iter().zip(counts).filter(|&(_, &count)| count > 0) {
                put(&mut text, format_args!("cluster_stats_messages_{}_{way}:{count}\r\n", kind.name()));
            }
            put(&mut text, format_args!("cluster_stats_messages_{way}:{}\r\n", counts.iter().sum::<u64>()));
        }
        let overflown = self.counters.overflown;
        put(&mut text, format_args!("total_cluster_links_buffer_limit_exceeded:{overflown}\r\n"));
        put(&mut text, format_args!("slotmesh_messages_dropped:{}\r\n", self.counters.dropped));
        put(&mut text, format_args!("slotmesh_links_garbled:{}\r\n", self.counters.garbled));
        let kin = self.table.rows().filter(|(_, row)| row.kin > 0).count();
        put(&mut text, format_args!("slotmesh_nodes_of_our_kind:{kin}\r\n"));
        let heavy = self.state.heavy_host().map(alloc::string::ToString::to_string).unwrap_or_default();
        put(&mut text, format_args!("slotmesh_majority_host:{heavy}\r\n"));
        text
    }

    /// CLUSTER NODES for a client that has reached us at `here`.
    pub fn nodes_text(&self, now: Now, here: &str) -> String {
        let mut text = String::new();
        let mut runs = self.slots.runs(self.table.places());
        for (node, _) in self.table.rows() {
            let slots = core::mem::take(&mut runs[usize::from(node.0)]);
            self.node_line(&mut text, now, node, slots, here);
            text.push('\n');
        }
        text
    }

    /// CLUSTER REPLICAS: a line for each replica of a master.
    ///
    /// # Errors
    /// If nobody has this name, or if it is no master's.
    pub fn replica_lines(&self, now: Now, master: &NodeId, here: &str) -> Result<Vec<String>, AdminError> {
        let master = self.known(master).ok_or(AdminError::UnknownNode(*master))?;
        if !self.table.row(master).is_master() {
            return Err(AdminError::NotMaster);
        }
        let replicas = self.table.rows().filter(|(_, row)| row.master == Some(master));
        let line = |(node, _)| {
            let mut text = String::new();
            self.node_line(&mut text, now, node, self.slots.of(node).ranges().collect(), here);
            text
        };
        Ok(replicas.map(line).collect())
    }

    /// A shard of our process whose address nobody has told us is where the client has found us.
    fn node_line(&self, text: &mut String, now: Now, node: NodeIndex, slots: Vec<(u16, u16)>, here: &str) {
        let mut saved = self.saved_node(now, node, slots);
        if saved.host.is_none() && self.lives_here(node) {
            saved.host = Host::parse(here.as_bytes());
        }
        write_line(text, &saved, LineStyle::Command);
    }

    /// Whether a node is a shard of our process.
    pub(super) fn lives_here(&self, node: NodeIndex) -> bool {
        node == self.myself || self.sibling(&self.table.row(node).id).is_some()
    }
}
