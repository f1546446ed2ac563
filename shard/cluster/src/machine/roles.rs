//! Our own role: whom we follow, and what becomes of us when our slots, or our master's, are another's.

use super::{Actions, Cluster, Level, Now, RoleChange};
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use slotmesh_base::Monotonic;

/// The master of a replica.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Master {
    /// Who.
    pub id: NodeId,
    /// Where it lives.
    pub host: Host,
    /// Its port for clients.
    pub port: u16,
}

impl Cluster {
    /// Whether we follow another node, or would if we knew whom.
    pub fn is_replica(&self) -> bool {
        !self.is_master()
    }

    /// Whom we follow, as far as it is known where it lives.
    pub fn master(&self) -> Option<Master> {
        let row = self.table.row(self.table.row(self.myself).master?);
        Some(Master { id: row.id, host: row.host.clone()?, port: row.port })
    }

    /// Whether our master has answered on the bus behind this moment as the node whose clients are served at this port:
    /// then whoever was reached there at that moment is our master. An address may be another node's by now: its host has
    /// died, or it has come back without nodes.conf, under another name.
    pub fn is_master_confirmed(&self, since: Monotonic, port: u16) -> bool {
        self.leader().is_some() && self.leader_heard.is_some_and(|(at, its)| at > since && its == port)
    }

    /// Asks our master whether it is there; if there is no link, it is asked when there is one.
    pub fn ask_master(&mut self, now: Now, actions: &mut Actions) {
        if let Some(leader) = self.leader().filter(|&leader| self.table.row(leader).is_linked) {
            self.ask_again(now, leader, actions);
        }
    }

    /// Our replication offset, in bytes.
    pub fn offset(&self) -> u64 {
        self.replication.offset
    }

    /// Who our master is, if we have one.
    pub(super) fn leader(&self) -> Option<NodeIndex> {
        self.table.row(self.myself).master.filter(|_| !self.is_master())
    }

    /// Follows a master from now on (Redis: `clusterSetMaster`). It replaces our data by its own, if it must.
    pub(super) fn follow(&mut self, master: NodeIndex, actions: &mut Actions) {
        debug_assert!(master != self.myself, "nobody follows himself");
        for slot in self.slots.release(self.myself).iter() {
            self.retract(slot);
        }
        self.slots.migrating.clear();
        self.slots.importing.clear();
        let shard_id = self.table.row(master).shard_id;
        let row = self.table.row_mut(self.myself);
        row.flags.remove(NodeFlags::MASTER | NodeFlags::MIGRATE_TO);
        row.flags.insert(NodeFlags::REPLICA);
        row.shard_id = shard_id;
        let former = row.master.replace(master);
        self.table.row_mut(master).flags.insert(NodeFlags::MIGRATE_TO);
        if let Some(former) = former.filter(|&former| former != master) {
            self.judge_attraction(former);
        }
        self.replication.link = super::MasterLink::NeverSynced;
        self.leader_heard = None;
        self.step_down();
        self.end_manual(actions);
        // Gossip tells no role: others would learn it when they next happen to hear from us ourselves.
        self.announce_news();
        self.mark_all();
    }

    /// Takes the place of our master, with all its slots (Redis: `clusterFailoverReplaceYourMaster`). All are told as
    /// soon as it is on disk.
    pub(super) fn lead(&mut self, actions: &mut Actions) {
        let Some(master) = self.leader() else { return };
        self.make_master(self.myself);
        for slot in self.slots.of(master).iter() {
            self.slots.assign(slot, Some(self.myself));
        }
        self.announce_news();
        self.step_down();
        self.end_manual(actions);
        self.mark_all();
    }

    /// Slots have gone to `taker`, `taken` of them from us or from our master, out of `claimed` that it claims: who has
    /// none left follows it (Redis: the end of `clusterUpdateSlotsConfigWith`). Whether we are its replica now.
    pub(super) fn reconsider(&mut self, taker: NodeIndex, taken: usize, claimed: usize, actions: &mut Actions) -> bool {
        let leader = if self.is_master() { Some(self.myself) } else { self.leader() };
        let Some(leader) = leader else { return false };
        let goes_along = self.settings.replicas.allows_migration || taken == claimed;
        if taken > 0 && self.slots.count(leader) == 0 && goes_along && leader != taker {
            let id = self.table.row(taker).id;
            let words = "Configuration change detected. Reconfiguring myself as a replica of";
            actions.log(Level::Notice, format_args!("{words} {id}"));
            self.follow(taker, actions);
            return true;
        }
        self.mend_chain(actions)
    }

    /// Nobody follows a replica: if our master has become one, we follow its master.
    pub(super) fn mend_chain(&mut self, actions: &mut Actions) -> bool {
        let Some(leader) = self.leader() else { return false };
        let row = self.table.row(leader);
        let Some(grand) = row.master.filter(|&grand| !row.is_master() && grand != self.myself) else { return false };
        let id = self.table.row(grand).id;
        let words = "I'm a sub-replica! Reconfiguring myself as a replica of grandmaster";
        actions.log(Level::Notice, format_args!("{words} {id}"));
        self.follow(grand, actions);
        true
    }

    /// Tells the replication whom to follow, if that has changed, or where he lives.
    pub(super) fn tell_role(&mut self, actions: &mut Actions) {
        let Some(leader) = self.leader() else {
            if self.is_master() && self.followed.take().is_some() {
                actions.role = Some(RoleChange::Master);
            }
            return;
        };
        let row = self.table.row(leader);
        let Some(host) = &row.host else { return };
        let is_told = self
            .followed
            .as_ref()
            .is_some_and(|followed| (followed.id, followed.port) == (row.id, row.port) && followed.host == *host);
        if is_told || row.port == 0 {
            return;
        }
        let master = Master { id: row.id, host: host.clone(), port: row.port };
        actions.role = Some(RoleChange::Replica { master: master.id, host: master.host.clone(), port: master.port });
        self.followed = Some(master);
    }
}
