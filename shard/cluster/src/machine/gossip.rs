//! What a heartbeat says about others, and what we believe of it.

use super::table::{Row, Table};
use super::{Actions, Cluster, Now};
use crate::topology::NodeIndex;
use crate::wire::{Gossip, GossipEntry, NodeFlags, Told};
use alloc::vec::Vec;
use slotmesh_base::UnixMillis;

/// How far in our future a PONG may lie of which gossip tells, in ms: clocks differ a little.
const CLOCK_TOLERANCE_MS: i64 = 500;

/// How often chance may try for each entry that is wanted.
const TRIES_PER_ENTRY: usize = 3;

/// The nodes that a heartbeat tells of.
#[derive(Default, Debug)]
pub(super) struct Picked {
    nodes: Vec<NodeIndex>,
    /// A bit for each place of the table: who is among them.
    is_in: Vec<u64>,
}

impl Picked {
    /// Nobody, of a table with this many places.
    fn clear(&mut self, places: usize) {
        self.nodes.clear();
        self.is_in.clear();
        self.is_in.resize(places.div_ceil(64), 0);
    }

    fn holds(&self, node: NodeIndex) -> bool {
        self.is_in[usize::from(node.0) / 64] & 1 << (node.0 % 64) != 0
    }

    fn add(&mut self, node: NodeIndex) {
        self.is_in[usize::from(node.0) / 64] |= 1 << (node.0 % 64);
        self.nodes.push(node);
    }

    /// Drops those from a place on who are not worth it. There are seldom any: a first pass that changes nothing waits
    /// for no row.
    fn keep(&mut self, from: usize, is_worth: impl Fn(NodeIndex) -> bool) {
        if self.nodes[from..].iter().fold(true, |all, &node| all & is_worth(node)) {
            return;
        }
        let mut place = 0;
        self.nodes.retain(|&node| {
            place += 1;
            place <= from || is_worth(node)
        });
    }

    /// What there is to tell.
    pub(super) fn entries(&self, table: &Table, now: Now) -> impl Iterator<Item = GossipEntry> {
        self.nodes.iter().map(move |&node| entry_of(table.row(node), now))
    }
}

fn entry_of(row: &Row, now: Now) -> GossipEntry {
    let seconds = |ms| (now.unix_of(ms).0 / 1000).clamp(0, i64::from(u32::MAX)) as u32;
    GossipEntry {
        id: row.id,
        ping_sent_s: seconds(row.ping_sent),
        pong_received_s: seconds(row.pong_received),
        host: row.host.clone(),
        port: row.port,
        bus_port: row.bus_port,
        other_port: row.other_port,
        flags: row.flags,
    }
}

impl Cluster {
    /// Picks the nodes that a heartbeat tells of: some at random, and all that we suspect. `to` is the receiver, if known,
    /// who need not be told of himself.
    pub(super) fn pick_gossip(&mut self, to: Option<NodeIndex>) {
        let known = self.table.len();
        let wanted = (known / 10).max(3).min(known.saturating_sub(2));
        let mut picked = core::mem::take(&mut self.picked);
        picked.clear(self.table.places());
        let mut tries = wanted * TRIES_PER_ENTRY;
        while picked.nodes.len() < wanted && tries > 0 {
            // First who, then whether he is worth it: so the loads of many rows are under way at once.
            let drawn = picked.nodes.len();
            while picked.nodes.len() < wanted && tries > 0 {
                tries -= 1;
                let node = NodeIndex(self.rng.below(self.table.places() as u64) as u16);
                if !picked.holds(node) {
                    picked.add(node);
                }
            }
            picked.keep(drawn, |node| Some(node) != to && self.is_gossip(node));
        }
        // Also of those whose address is lost, unlike Redis, which does not suspect them.
        let suspected = |row: &Row| {
            let is_lost = row.has(NodeFlags::NO_ADDRESS);
            row.has(NodeFlags::PFAIL) && !row.has(NodeFlags::HANDSHAKE) && (row.host.is_some() || is_lost)
        };
        picked.nodes.extend(self.table.suspects().filter(|(_, row)| suspected(row)).map(|(node, _)| node));
        self.picked = picked;
    }

    /// Whether a node is worth telling of. One whose address we do not know (a sibling, as long as nobody has dialled
    /// our host) would be of no use.
    fn is_gossip(&self, node: NodeIndex) -> bool {
        let Some(row) = self.table.at(node) else { return false };
        node != self.myself
            && !row.has(NodeFlags::PFAIL | NodeFlags::HANDSHAKE | NodeFlags::NO_ADDRESS)
            && row.host.is_some()
            && (row.link.is_some() || self.slots.count(node) > 0)
    }

    /// What a node that we know says about others.
    pub(super) fn learn_gossip(&mut self, now: Now, sender: NodeIndex, gossip: Gossip<'_>, actions: &mut Actions) {
        let is_voice = self.table.row(sender).is_master();
        // All are looked up before anything is done, that the loads of many rows are under way at once.
        let found: Vec<Option<NodeIndex>> = gossip.told().map(|told| self.table.find(&told.id())).collect();
        for (told, found) in gossip.told().zip(found) {
            let is_bad = told.flags().intersects(NodeFlags::PFAIL | NodeFlags::FAIL);
            match found {
                Some(node) if node == self.myself => {}
                Some(node) => {
                    if is_voice && is_bad {
                        self.table.report(node, sender, now.ms());
                        self.condemn_if_agreed(now, node, actions);
                    } else if is_voice {
                        self.table.withdraw_report(node, sender);
                    }
                    if !is_bad {
                        self.believe_pong(now, node, now.ms_of(UnixMillis(i64::from(told.pong_received_s()) * 1000)));
                        self.believe_address(node, told, actions);
                    }
                }
                None => self.learn_node(now, &told.entry()),
            }
        }
    }

    /// A node has answered somebody else whom we believe: no need to ask it ourselves.
    pub(super) fn believe_pong(&mut self, now: Now, node: NodeIndex, at: i64) {
        let row = self.table.row(node);
        if row.is_bad() || row.ping_sent != 0 || at <= row.pong_received || at > now.ms() + CLOCK_TOLERANCE_MS {
            return;
        }
        if self.count_reports(now, node) == 0 {
            self.table.note_pong(node, at);
        }
    }

    /// A node that we cannot reach lives elsewhere, says somebody who reaches it.
    fn believe_address(&mut self, node: NodeIndex, told: Told<'_>, actions: &mut Actions) {
        let row = self.table.row(node);
        if !row.is_bad() {
            return;
        }
        let entry = told.entry();
        if entry.flags.contains(NodeFlags::NO_ADDRESS)
            || entry.host.is_none()
            || row.lives_at(entry.host.as_ref(), entry.port, entry.bus_port)
        {
            return;
        }
        self.move_node(node, entry.host, entry.port, entry.other_port, entry.bus_port, actions);
    }

    /// A node of which we had not heard.
    fn learn_node(&mut self, now: Now, entry: &GossipEntry) {
        if entry.flags.contains(NodeFlags::NO_ADDRESS) || entry.host.is_none() || self.is_forbidden(now, &entry.id) {
            return;
        }
        let flags = entry.flags - (NodeFlags::MYSELF | NodeFlags::HANDSHAKE | NodeFlags::MEET);
        let shard_id = super::random_id(&mut self.rng);
        let Some(node) = self.table.add(entry.id, shard_id, flags, now.ms()) else { return };
        let row = self.table.row_mut(node);
        row.host.clone_from(&entry.host);
        (row.port, row.other_port, row.bus_port) = (entry.port, entry.other_port, entry.bus_port);
        self.mark_all();
    }
}
