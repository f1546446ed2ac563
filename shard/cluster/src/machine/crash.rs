//! Suspecting a node whose process has died sooner than its silence would tell.
//!
//! The kernel of a dead process closes its connections and refuses new ones. So a master is suspected after
//! `cluster-crash-detect-ms` if both links between it and us were ended by its side, at least one of them in good order (a
//! firewall that resets sends no FIN), every dial since was refused (a host that is gone is silent), and nobody in our
//! process has heard of it. All masters see the same at the same time; they tell each other at once, and FAIL follows as
//! from any suspicion. It is done only where our own kind is the majority, and a replica is there to take over: a master
//! that is merely started anew keeps its place otherwise.

use super::{Actions, Cluster, LinkEnd, Now};
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Nodes of which links have ended.
pub(super) type Crashes = BTreeMap<NodeIndex, Crash>;

/// What speaks for it that a node's process has died.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Crash {
    /// Whether the link that we dialled has ended, and the one that it dialled.
    ended: [bool; 2],
    /// When the second one did.
    since: i64,
    is_orderly: bool,
    refusals: u32,
}

/// Which link between a node and us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Ours,
    Theirs,
}

impl Cluster {
    /// A link with a node has ended that stood.
    pub(super) fn note_end(&mut self, now: Now, node: NodeIndex, side: Side, why: LinkEnd) {
        if !matches!(why, LinkEnd::Closed | LinkEnd::Reset) {
            return self.clear_crash(node);
        }
        let crash = self.crashes.entry(node).or_default();
        crash.ended[side as usize] = true;
        crash.is_orderly |= why == LinkEnd::Closed;
        (crash.since, crash.refusals) = (now.ms(), 0);
    }

    /// A dial has failed.
    pub(super) fn note_failed_dial(&mut self, node: NodeIndex, why: LinkEnd) {
        match self.crashes.get_mut(&node) {
            Some(crash) if why == LinkEnd::Refused => crash.refusals += 1,
            _ => self.clear_crash(node),
        }
    }

    /// A node has said something: what it sent before it died may come to light only now, as long as a link is left.
    pub(super) fn note_voice(&mut self, node: NodeIndex) {
        if !self.crashes.is_empty() && self.crashes.get(&node).is_some_and(|crash| self.is_cut_off(node, crash)) {
            self.clear_crash(node);
        }
    }

    /// A node lives, or nobody knows.
    pub(super) fn clear_crash(&mut self, node: NodeIndex) {
        self.crashes.remove(&node);
    }

    /// Suspects those for whose death everything speaks; they are added to `suspects`.
    pub(super) fn detect_crashes(&mut self, now: Now, suspects: &mut Vec<NodeIndex>, actions: &mut Actions) {
        if self.crashes.is_empty() {
            return;
        }
        let dead: Vec<NodeIndex> = self.crashes.keys().copied().filter(|&node| self.has_crashed(now, node)).collect();
        for &node in &dead {
            self.suspect(node, actions);
            self.clear_crash(node);
        }
        suspects.extend(dead);
    }

    fn has_crashed(&self, now: Now, node: NodeIndex) -> bool {
        let (crash, row) = (self.crashes[&node], self.table.row(node));
        let patience = self.settings.replicas.crash_detect_ms;
        self.is_cut_off(node, &crash)
            && crash.is_orderly
            && crash.refusals > 0
            && patience > 0
            && now.ms() - crash.since >= patience
            && row.is_master()
            && !row.is_bad()
            && self.slots.count(node) > 0
            && self.is_among_kin(Some(node))
            && self.replicas_of(node).any(|replica| self.can_take_over(now, replica))
    }

    /// Whether no link is left between a node and us. Of one on which it has said nothing since we know it we cannot tell
    /// that it is its own: as long as siblings hear from us it may rest.
    fn is_cut_off(&self, node: NodeIndex, crash: &Crash) -> bool {
        let is_theirs_gone = crash.ended[Side::Theirs as usize] || self.table.row(node).inbound.is_none();
        crash.ended[Side::Ours as usize] && is_theirs_gone
    }

    /// Whether a replica is well, as far as we know.
    fn can_take_over(&self, now: Now, replica: NodeIndex) -> bool {
        if replica == self.myself {
            return !self.settings.replicas.never_fails_over && self.has_fresh_data(now);
        }
        let row = self.table.row(replica);
        row.is_linked && row.offset > 0 && !row.is_bad() && !row.has(NodeFlags::NO_FAILOVER)
    }
}
