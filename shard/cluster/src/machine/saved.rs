//! nodes.conf as it is read and written, and a cluster that a process forms of its own shards.

use super::{Cluster, Now, Settings};
use crate::node::NodeId;
use crate::nodes_conf::{SavedCluster, SavedNode};
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::vec::Vec;
use core::mem::take;
use core::ops::RangeInclusive;
use slotmesh_base::{Rng, Slot, UnixMillis};

/// What a shard of a process that forms itself knows of itself and of its siblings.
#[derive(Clone, Debug)]
pub struct Founder {
    /// Its name.
    pub id: NodeId,
    /// The name of its group.
    pub shard_id: NodeId,
    /// Its port for clients, as announced.
    pub port: u16,
    /// Its port of the bus, as announced.
    pub bus_port: u16,
    /// Its slots.
    pub slots: RangeInclusive<u16>,
}

impl Cluster {
    /// The node that a nodes.conf tells of, with all that it knew (Redis: `clusterLoadConfig`).
    pub fn load(settings: Settings, rng: Rng, now: Now, saved: &SavedCluster) -> Self {
        let mut cluster = Self::new(settings, rng);
        if let Some(myself) = saved.nodes.iter().find(|node| node.flags.contains(NodeFlags::MYSELF)) {
            cluster.table.rename(cluster.myself, myself.id);
        }
        for node in &saved.nodes {
            cluster.load_node(now, node);
        }
        for node in &saved.nodes {
            cluster.load_ties(node);
        }
        let greatest = cluster.table.rows().map(|(_, row)| row.config_epoch).max().unwrap_or(0);
        cluster.current_epoch = saved.current_epoch.max(greatest);
        cluster.last_vote_epoch = saved.last_vote_epoch;
        cluster.wear_settings();
        cluster.announce_all();
        cluster
    }

    fn load_node(&mut self, now: Now, saved: &SavedNode) {
        let shard_id = saved.shard_id.unwrap_or_else(|| super::random_id(&mut self.rng));
        let node = match self.table.find(&saved.id) {
            Some(myself) => myself,
            None => match self.table.add(saved.id, shard_id, NodeFlags::empty(), now.ms()) {
                Some(node) => node,
                None => return,
            },
        };
        let now_if_set = |time: UnixMillis| if time.0 == 0 { 0 } else { now.ms() };
        let row = self.table.row_mut(node);
        row.shard_id = shard_id;
        row.flags = saved.flags;
        row.host.clone_from(&saved.host);
        (row.port, row.other_port, row.bus_port) = (saved.port, saved.other_port, saved.bus_port);
        (row.hostname, row.nodename) = (saved.hostname.clone(), saved.nodename.clone());
        (row.ping_sent, row.pong_received) = (now_if_set(saved.ping_sent), now_if_set(saved.pong_received));
        row.config_epoch = if row.is_master() { saved.config_epoch } else { 0 };
        if row.has(NodeFlags::FAIL) {
            row.failed_at = now.ms();
        }
        self.table.note_suspect(node);
    }

    /// Masters, slots and open slots, which name other nodes.
    fn load_ties(&mut self, saved: &SavedNode) {
        let Some(node) = self.table.find(&saved.id) else { return };
        let master = saved.master.and_then(|id| self.table.find(&id)).filter(|&master| master != node);
        self.table.row_mut(node).master = master;
        if let Some(master) = master {
            self.table.row_mut(master).flags.insert(NodeFlags::MIGRATE_TO);
        }
        if let (None, Some(master)) = (saved.shard_id, master) {
            // A file of Redis 7.0 knows no groups: replicas are in their masters'.
            let shard_id = self.table.row(master).shard_id;
            self.table.row_mut(node).shard_id = shard_id;
        }
        for slot in saved.slots.iter().flat_map(|&(first, last)| first..=last).filter_map(Slot::new) {
            if self.slots.owner(slot).is_none() {
                self.slots.assign(slot, Some(node));
            }
        }
        let known = |(slot, id): &(Slot, NodeId)| Some((*slot, self.table.find(id)?));
        let migrating: Vec<_> = saved.migrating.iter().filter_map(known).collect();
        let importing: Vec<_> = saved.importing.iter().filter_map(known).collect();
        self.slots.migrating.extend(migrating);
        self.slots.importing.extend(importing);
    }

    /// Shard `settings.shard` of a process that forms a cluster of its own shards: all know each other and own slots
    /// from the start, with epochs in their order, as `redis-cli --cluster create` has it.
    pub fn found(settings: Settings, rng: Rng, now: Now, founders: &[Founder]) -> Self {
        let mut cluster = Self::new(settings, rng);
        let own = usize::from(cluster.settings.shard);
        cluster.table.rename(cluster.myself, founders[own].id);
        for (index, founder) in founders.iter().enumerate() {
            let node = if index == own {
                cluster.myself
            } else {
                let added = cluster.table.add(founder.id, founder.shard_id, NodeFlags::MASTER, now.ms());
                let Some(node) = added else { continue };
                node
            };
            let row = cluster.table.row_mut(node);
            row.shard_id = founder.shard_id;
            (row.port, row.bus_port) = (founder.port, founder.bus_port);
            row.config_epoch = index as u64 + 1;
            row.host.clone_from(&cluster.settings.host);
            row.pong_received = now.ms();
            for slot in founder.slots.clone().filter_map(Slot::new) {
                cluster.slots.assign(slot, Some(node));
            }
        }
        cluster.current_epoch = founders.len() as u64;
        cluster.siblings = founders.iter().map(|founder| founder.id).collect();
        cluster.state.begin_ok();
        cluster
    }

    /// All that belongs into nodes.conf.
    pub(super) fn saved(&self, now: Now) -> SavedCluster {
        let mut runs = self.slots.runs(self.table.places());
        let kept = self.table.rows().filter(|(_, row)| !row.is_in_handshake());
        SavedCluster {
            nodes: kept.map(|(node, _)| self.saved_node(now, node, take(&mut runs[usize::from(node.0)]))).collect(),
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
        }
    }

    /// A node as nodes.conf and CLUSTER NODES tell it, with the runs of its slots.
    pub(super) fn saved_node(&self, now: Now, node: NodeIndex, slots: Vec<(u16, u16)>) -> SavedNode {
        let row = self.table.row(node);
        let is_myself = node == self.myself;
        let open = |slots: &alloc::collections::BTreeMap<Slot, NodeIndex>| -> Vec<(Slot, NodeId)> {
            let named = slots.iter().map(|(&slot, &other)| (slot, self.table.row(other).id));
            if is_myself { named.collect() } else { Vec::new() }
        };
        let epochs_of = row.master.filter(|_| !row.is_master()).unwrap_or(node);
        SavedNode {
            id: row.id,
            host: row.host.clone(),
            port: row.port,
            bus_port: row.bus_port,
            other_port: row.other_port,
            hostname: row.hostname.clone(),
            nodename: row.nodename.clone(),
            shard_id: Some(row.shard_id),
            flags: row.flags,
            master: row.master.map(|master| self.table.row(master).id),
            ping_sent: now.unix_of(row.ping_sent),
            pong_received: if is_myself { now.unix } else { now.unix_of(row.pong_received) },
            config_epoch: self.table.row(epochs_of).config_epoch,
            is_connected: is_myself || row.is_linked,
            slots,
            migrating: open(&self.slots.migrating),
            importing: open(&self.slots.importing),
        }
    }
}
