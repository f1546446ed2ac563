//! Rewrites: when one is due, and how far it is.

use super::chain::Goal;
use super::{Journal, JournalEvent, JournalOrder, State};
use alloc::vec::Vec;
use slotmesh_base::Monotonic;

/// Failures after which rewrites wait (`AOF_REWRITE_LIMITE_THRESHOLD`).
const FAILURES_MAX: u64 = 3;
/// Longest that they do, in minutes (`AOF_REWRITE_LIMITE_MAX_MINUTES`).
const DELAY_MINUTES_MAX: u64 = 60;

/// How far a rewrite is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// What came before it is on its way to the disk.
    Cutting,
    /// What comes behind it is getting its file.
    Switching,
    /// It has it; the image is being made.
    Running,
    /// All is getting its name.
    Committing,
}

/// A rewrite that is under way.
#[derive(Debug)]
pub(super) struct Rewrite {
    pub(super) since: Monotonic,
    stage: Stage,
    /// Bytes of the image, once it is on the disk.
    image: Option<u64>,
}

impl Rewrite {
    /// Whether effects from now on are behind its image.
    pub(super) fn is_cut(&self) -> bool {
        true
    }

    /// Whether they have their file.
    pub(super) fn is_switched(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Committing)
    }
}

/// Rewrites that fail are not tried again at once (`aofRewriteLimited`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Limit {
    /// Failures since the last one that went well.
    pub(super) failures: u64,
    delay_minutes: u64,
    next: Option<Monotonic>,
}

impl Limit {
    fn allows(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) -> bool {
        if self.failures < FAILURES_MAX {
            (self.delay_minutes, self.next) = (0, None);
            return true;
        }
        if let Some(next) = self.next {
            return now >= next;
        }
        self.delay_minutes = (self.delay_minutes * 2).clamp(1, DELAY_MINUTES_MAX);
        self.next = Some(now.plus_millis(self.delay_minutes * 60_000));
        orders.push(JournalOrder::Log(JournalEvent::Limited(self.delay_minutes)));
        false
    }
}

impl Journal {
    /// A client wants a rewrite (BGREWRITEAOF): it is due now, however often it has failed. False, if one is under way.
    pub fn ask_for_rewrite(&mut self) -> bool {
        if self.rewrite.is_some() {
            return false;
        }
        (self.is_scheduled, self.limit) = (true, Limit::default());
        true
    }

    /// Whether the image of a rewrite is to be begun: all shards in hand, then [`begin_rewrite`](Self::begin_rewrite).
    pub fn wants_rewrite(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) -> bool {
        if self.rewrite.is_some() || self.chain.is_some() || self.state == State::Stopping {
            return false;
        }
        let is_due = self.is_scheduled || self.state == State::On && (self.wants_healing || self.has_grown());
        if !is_due || !self.limit.allows(now, orders) {
            return false;
        }
        self.syncs_early = self.state == State::On && self.written > self.synced && !self.has_synced_early;
        !self.syncs_early
    }

    /// Whether the files have grown by `auto-aof-rewrite-percentage`.
    fn has_grown(&self) -> bool {
        let current = self.other_bytes + self.file_bytes;
        let wanted = self.rules.rewrite_percentage;
        if wanted == 0 || current <= self.rules.rewrite_bytes_min {
            return false;
        }
        self.growth() >= u128::from(wanted) + 100
    }

    /// What the files have now, in percent of what they had.
    fn growth(&self) -> u128 {
        u128::from(self.other_bytes + self.file_bytes) * 100 / u128::from(self.base_bytes.max(1))
    }

    /// The image is begun: all that was appended until now is in it.
    pub fn begin_rewrite(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        if !self.is_scheduled && !self.wants_healing {
            let percent = self.growth().saturating_sub(100);
            orders.push(JournalOrder::Log(JournalEvent::Grown(u64::try_from(percent).unwrap_or(u64::MAX))));
        }
        (self.is_scheduled, self.syncs_early, self.has_synced_early) = (false, false, false);
        self.facts.rewrites += 1;
        let stage = if self.state == State::Off { Stage::Running } else { Stage::Cutting };
        self.rewrite = Some(Rewrite { since: now, stage, image: None });
        if self.state != State::Off {
            self.next = Some(Vec::new());
        }
        orders.push(JournalOrder::Log(JournalEvent::RewriteBegins));
    }

    /// The image is on the disk under its name ([`image_name`](Self::image_name)), so many bytes; or it is not.
    pub fn image_ended(&mut self, bytes: Result<u64, ()>, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let Some(rewrite) = &mut self.rewrite else { return };
        match bytes {
            Ok(bytes) => {
                rewrite.image = Some(bytes);
                orders.push(JournalOrder::Log(JournalEvent::RewriteWritten));
            }
            Err(()) => self.fail_rewrite(now, orders),
        }
    }

    /// Whether all that came before the cut must be on the disk now.
    pub(super) fn is_cutting(&self) -> bool {
        self.rewrite.as_ref().is_some_and(|rewrite| rewrite.stage == Stage::Cutting)
    }

    pub(super) fn switch(&mut self, _now: Monotonic, orders: &mut Vec<JournalOrder>) {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.stage = Stage::Switching;
        }
        self.begin_switch(orders);
    }

    pub(super) fn end_switch(&mut self, orders: &mut Vec<JournalOrder>) {
        if let Some(rewrite) = &mut self.rewrite {
            rewrite.stage = Stage::Running;
        }
        self.other_bytes += core::mem::take(&mut self.file_bytes);
        self.buffer = self.next.take().unwrap_or_default();
        orders.push(JournalOrder::Switch);
    }

    pub(super) fn drive_rewrite(&mut self, _now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let Some(rewrite) = &mut self.rewrite else { return };
        if self.chain.is_none() && rewrite.stage == Stage::Running && rewrite.image.is_some() {
            rewrite.stage = Stage::Committing;
            self.begin_commit(orders);
        }
    }

    pub(super) fn end_commit(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let Some(rewrite) = self.rewrite.take() else { return };
        self.other_bytes = rewrite.image.unwrap_or(0);
        self.base_bytes = self.other_bytes + self.file_bytes;
        (self.limit, self.wants_healing) = (Limit::default(), false);
        self.facts.rewrite_failed = false;
        self.facts.last_rewrite_s = Some(now.nanos_since(rewrite.since) / super::NANOS_PER_SECOND);
        if self.state == State::Starting {
            self.state = State::On;
        }
        orders.push(JournalOrder::Log(JournalEvent::RewriteEnds));
    }

    /// A sync in front of the cut has failed.
    pub(super) fn fail_cut(&mut self, orders: &mut Vec<JournalOrder>) {
        if self.is_cutting() {
            self.fail_rewrite(self.last_sync, orders);
        }
    }

    /// All stays as it was.
    pub(super) fn fail_rewrite(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        if let Some(rewrite) = &self.rewrite {
            self.facts.last_rewrite_s = Some(now.nanos_since(rewrite.since) / super::NANOS_PER_SECOND);
            self.facts.rewrite_failed = true;
            (self.limit.failures, self.limit.next) = (self.limit.failures + 1, None);
            orders.push(JournalOrder::Log(JournalEvent::RewriteFailed));
        }
        let is_first = self.state == State::Starting;
        self.abandon(orders);
        // It is still to begin.
        self.is_scheduled |= is_first;
    }

    /// Ends a rewrite before it is done, without counting it.
    pub(super) fn abandon(&mut self, orders: &mut Vec<JournalOrder>) {
        let Some(rewrite) = self.rewrite.take() else { return };
        if rewrite.image.is_none() {
            orders.push(JournalOrder::DropImage);
        }
        let is_first = self.state == State::Starting;
        if is_first {
            if rewrite.is_switched() {
                orders.push(JournalOrder::Close);
            }
            self.forget_data();
        } else if let Some(next) = self.next.take() {
            // Behind what came before, in the file where that is.
            self.buffer.extend_from_slice(&next);
        }
        let is_busy = self.chain.as_ref().is_some_and(|chain| !matches!(chain.goal, Goal::Collect | Goal::Open));
        if is_busy || self.chain.is_none() {
            self.tidy(is_first, orders);
        }
    }
}
