//! Replicas that go to masters which have lost their own (Redis: `clusterHandleSlaveMigration`).

use super::table::Row;
use super::{Actions, Cluster, Level, Now};
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

/// How long a master must have been without a replica, in ms: those whom a failover has moved may come back by themselves.
const ORPHANED_MS: i64 = 5000;

/// Masters without a working replica, and since when.
pub(super) type Orphans = BTreeMap<NodeIndex, i64>;

/// How many replicas a master has.
#[derive(Clone, Copy, Default)]
struct Wealth {
    /// Whether it is a master that works.
    counts: bool,
    /// Those that have not failed.
    working: u32,
    /// Those of them that are not suspected either.
    sound: u32,
}

impl Cluster {
    /// Goes to a master without replicas, if ours has more than it needs and we are the one to go.
    pub(super) fn consider_migration(&mut self, now: Now, actions: &mut Actions) {
        let Some(leader) = self.leader().filter(|_| self.settings.replicas.allows_migration) else {
            return self.orphans.clear();
        };
        let wealth = self.weigh_masters();
        let of = |node: NodeIndex| wealth[usize::from(node.0)];
        let orphans: Orphans = self
            .table
            .rows()
            .filter(|&(node, row)| self.should_have_replicas(node, row) && of(node).counts && of(node).working == 0)
            .map(|(node, _)| (node, self.orphans.get(&node).copied().unwrap_or(now.ms())))
            .collect();
        self.orphans = orphans;
        let Some((&orphan, &since)) = self.orphans.first_key_value() else { return };
        let most = wealth.iter().map(|wealth| wealth.working).max().unwrap_or(0);
        let is_rich = most >= 2 && of(leader).working == most;
        if !self.is_ok() || !is_rich || of(leader).sound <= self.settings.replicas.migration_barrier {
            return;
        }
        if now.ms() - since <= ORPHANED_MS || self.first_to_go(&wealth, most) != Some(self.id()) {
            return;
        }
        let id = self.table.row(orphan).id;
        actions.log(Level::Notice, format_args!("Migrating to orphaned master {id}"));
        self.follow(orphan, actions);
    }

    /// Whether a master had replicas once, or others have.
    fn should_have_replicas(&self, node: NodeIndex, row: &Row) -> bool {
        row.is_master() && row.has(NodeFlags::MIGRATE_TO) && self.slots.count(node) > 0
    }

    /// By the places of the masters.
    fn weigh_masters(&self) -> Vec<Wealth> {
        let mut wealth = vec![Wealth::default(); self.table.places()];
        let left_out = NodeFlags::NO_ADDRESS | NodeFlags::HANDSHAKE | NodeFlags::FAIL;
        for (node, row) in self.table.rows() {
            if row.is_master() {
                wealth[usize::from(node.0)].counts = !row.has(left_out);
            } else if let Some(master) = row.master.filter(|_| !row.has(NodeFlags::FAIL)) {
                wealth[usize::from(master.0)].working += 1;
                wealth[usize::from(master.0)].sound += u32::from(!row.has(NodeFlags::PFAIL));
            }
        }
        wealth.iter_mut().filter(|wealth| !wealth.counts).for_each(|wealth| *wealth = Wealth::default());
        wealth
    }

    /// The smallest name among the replicas of the masters that have most.
    fn first_to_go(&self, wealth: &[Wealth], most: u32) -> Option<NodeId> {
        let is_rich = |row: &&Row| {
            let master = row.master.filter(|_| !row.is_master());
            master.is_some_and(|master| wealth[usize::from(master.0)].working == most)
        };
        self.table.rows().map(|(_, row)| row).filter(is_rich).map(|row| row.id).min()
    }
}
