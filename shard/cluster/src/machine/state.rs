//! Whether the cluster serves.

use super::{Actions, Cluster, Level, Now};
use crate::host::Host;
use crate::wire::NodeFlags;
use alloc::collections::BTreeMap;
use slotmesh_base::SLOT_COUNT;

/// How long a master that has just started stays away, in ms: somebody may have taken its slots (Redis:
/// `CLUSTER_WRITABLE_DELAY`).
const START_DELAY_MS: i64 = 2000;
/// Bounds of the time that a master waits before it serves again after it was with the minority, in ms.
const REJOIN_DELAY_MS: (i64, i64) = (500, 5000);
/// From this size on a cluster survives the loss of a host, if no host holds too much.
const SMALLEST_SAFE_SIZE: usize = 3;

/// The state of the cluster.
#[derive(Default, Debug)]
pub(super) struct State {
    is_ok: bool,
    first_judged_at: i64,
    minority_at: i64,
    is_with_minority: bool,
    /// The host that holds half of the voting masters or more.
    heavy_host: Option<Host>,
}

impl State {
    /// Whether the cluster serves.
    pub(super) fn is_ok(&self) -> bool {
        self.is_ok
    }

    /// The host without which no majority is left.
    pub(super) fn heavy_host(&self) -> Option<&Host> {
        self.heavy_host.as_ref()
    }

    /// A cluster that is formed here and now, by nobody else: it serves at once.
    pub(super) fn begin_ok(&mut self) {
        self.is_ok = true;
    }
}

impl Cluster {
    /// Whether the cluster serves as this node sees it.
    pub fn is_ok(&self) -> bool {
        self.state.is_ok
    }

    /// Whether this master is with a minority, or was so short a while ago that it may not know yet who has taken its
    /// slots: what is written here now is lost, if somebody has.
    pub fn is_with_minority(&self) -> bool {
        self.state.is_with_minority
    }

    /// Judges the state anew (Redis: `clusterUpdateState`).
    pub(super) fn update_state(&mut self, now: Now, actions: &mut Actions) {
        if self.state.first_judged_at == 0 {
            self.state.first_judged_at = now.ms();
        }
        let is_master = self.is_master();
        if is_master && !self.state.is_ok && now.ms() - self.state.first_judged_at < START_DELAY_MS {
            return;
        }
        self.weigh_hosts(actions);
        let is_covered = !self.settings.requires_full_coverage || self.is_covered();
        let reachable = self.voters().filter(|&node| !self.table.row(node).is_bad()).count();
        let is_majority = reachable >= self.quorum();
        if !is_majority {
            self.state.minority_at = now.ms();
        }
        let is_ok = is_covered && is_majority;
        let delay = self.settings.timeout().clamp(REJOIN_DELAY_MS.0, REJOIN_DELAY_MS.1);
        let was_minority = self.state.minority_at != 0 && now.ms() - self.state.minority_at < delay;
        self.state.is_with_minority = is_master && !self.state.is_ok && was_minority;
        if is_ok == self.state.is_ok {
            return;
        }
        if is_ok && is_master && was_minority {
            return;
        }
        self.state.is_ok = is_ok;
        self.state.is_with_minority = is_master && !is_majority;
        self.due.view = true;
        actions.log(Level::Notice, format_args!("Cluster state changed: {}", if is_ok { "ok" } else { "fail" }));
        if !is_majority {
            let words = "Cluster is currently down: I am part of a minority partition.";
            actions.log(Level::Notice, format_args!("{words}"));
        }
    }

    /// Whether each slot has an owner that has not failed.
    fn is_covered(&self) -> bool {
        self.slots.assigned() == SLOT_COUNT
            && !self.table.rows().any(|(node, row)| row.has(NodeFlags::FAIL) && self.slots.count(node) > 0)
    }

    /// Finds the host whose death would leave no majority, and says so when it becomes one.
    fn weigh_hosts(&mut self, actions: &mut Actions) {
        let mut weights: BTreeMap<_, usize> = BTreeMap::new();
        let own = self.table.row(self.myself).host.as_ref();
        for node in self.voters() {
            // A sibling whose address nobody has told yet lives where we do.
            let host = self.table.row(node).host.as_ref().or(own);
            *weights.entry(host).or_default() += 1;
        }
        let size = self.size();
        let heaviest = weights.into_iter().max_by_key(|&(_, weight)| weight);
        let heavy = heaviest.filter(|&(_, weight)| 2 * weight >= size).and_then(|(host, weight)| Some((host?, weight)));
        let host = heavy.map(|(host, _)| host.clone());
        if host == self.state.heavy_host {
            return;
        }
        if let Some((host, weight)) = heavy
            && size >= SMALLEST_SAFE_SIZE
        {
            actions.log(
                Level::Warning,
                format_args!(
                    "WARNING: {weight} of the {size} masters with slots live at {host}: if that host dies, no majority \
                     is left to fail it over"
                ),
            );
        }
        self.state.heavy_host = host;
    }
}
