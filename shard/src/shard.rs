//! A shard: the slots that one core owns, and all that belongs to them.

use crate::blocked::Blocked;
use crate::tracking::Tracking;
use crate::watch::Watches;
use slotmesh_base::limits::{
    EXPIRY_PAGES_PER_EFFORT, EXPIRY_PAGES_PER_PASS, FREED_TABLES_PER_PASS, HOUSEKEEPING_INTERVAL_MS,
    HOUSEKEEPING_RETRY_MS, HOUSEKEEPING_WAIT_MS_MAX,
};
use slotmesh_base::{Monotonic, Rng, Slot, UnixMillis};
use slotmesh_command::Effects;
use slotmesh_keyspace::{KeyHasher, Keyspace};
use std::ops::RangeInclusive;

/// What a shard is made with.
#[derive(Clone, Debug)]
pub struct ShardSettings {
    /// Its slots.
    pub slots: RangeInclusive<u16>,
    /// Number of databases.
    pub databases: usize,
    /// The process's hash of keys.
    pub hasher: KeyHasher,
    /// Seed of the shard's chance.
    pub seed: u64,
}

/// The slots that one core owns. Plain data, so that it can be lent to another core.
#[derive(Debug)]
pub struct Shard {
    pub(crate) keyspace: Keyspace,
    pub(crate) effects: Effects,
    pub(crate) hasher: KeyHasher,
    pub(crate) rng: Rng,
    pub(crate) watches: Watches,
    pub(crate) blocked: Blocked,
    pub(crate) tracking: Tracking,
    housekeeping: Housekeeping,
}

/// Where the work that no request asks for goes on.
#[derive(Debug, Default)]
struct Housekeeping {
    /// The database whose turn it is.
    next_db: usize,
    /// The earliest time of the next pass.
    not_before: Monotonic,
    /// Passes whose budget ended before their work.
    cut: u64,
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Shard>();
};

impl Shard {
    /// An empty shard.
    pub fn new(settings: ShardSettings) -> Self {
        let ShardSettings { slots, databases, hasher, seed } = settings;
        Self {
            keyspace: Keyspace::new(databases, slots, hasher),
            effects: Effects::default(),
            hasher,
            rng: Rng::new(seed),
            watches: Watches::default(),
            blocked: Blocked::default(),
            tracking: Tracking::default(),
            housekeeping: Housekeeping::default(),
        }
    }

    /// The shard's databases, for statistics.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// The shard's databases.
    pub fn keyspace_mut(&mut self) -> &mut Keyspace {
        &mut self.keyspace
    }

    /// Its databases, without anything else of it.
    pub fn into_keyspace(self) -> Keyspace {
        self.keyspace
    }

    /// Begins or ends to record effects.
    pub fn record_effects(&mut self, wanted: bool) {
        self.effects.record(wanted);
        self.keyspace.record_expired(wanted);
    }

    /// The recorded effects.
    pub fn effects(&self) -> &Effects {
        &self.effects
    }

    /// The recorded effects.
    pub fn effects_mut(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Brings what the commands on these keys (of database `db`) will read into the cache: three passes over
    /// the batch, so that the misses of different keys overlap.
    #[inline]
    pub fn prefetch(&self, db: u16, keys: &[(Slot, u64)]) {
        let Some(db) = self.keyspace.find_db(usize::from(db)) else { return };
        db.prefetch(keys.iter().copied());
    }

    /// Passes of active expiry whose budget ended before their work.
    pub fn expiry_passes_cut(&self) -> u64 {
        self.housekeeping.cut
    }

    /// Whether [`housekeep`](Self::housekeep) would do anything now.
    pub fn wants_housekeeping(&self, monotonic: Monotonic) -> bool {
        monotonic >= self.housekeeping.not_before
    }

    /// Work that no request asks for: active expiry and freeing of dropped tables, within a budget (`effort` 1
    /// to 10 as `active-expire-effort`; with 0 nothing expires). Returns when it wants to be called again at the latest, if at all:
    /// never less than [`HOUSEKEEPING_INTERVAL_MS`] after the pass before, also when the budget was spent.
    ///
    /// May be called after every turn that ran commands, and should be, since they may have made something due
    /// earlier; a call before its time costs a comparison.
    pub fn housekeep(&mut self, now: UnixMillis, monotonic: Monotonic, effort: u8) -> Option<Monotonic> {
        if monotonic < self.housekeeping.not_before {
            return Some(self.housekeeping.not_before);
        }
        let soon = monotonic.plus_millis(HOUSEKEEPING_INTERVAL_MS);
        self.housekeeping.not_before = soon;
        let more_to_free = self.keyspace.free_some(FREED_TABLES_PER_PASS);
        if effort == 0 {
            return more_to_free.then_some(soon);
        }
        let budget_spent = self.expire(now, pages_per_pass(effort));
        self.housekeeping.cut += u64::from(budget_spent);
        if self.is_noted() {
            // What has expired makes nobody's key ready: the block is a list of deletions.
            self.note_command();
            self.effects.end_block();
        }
        if more_to_free || budget_spent {
            return Some(soon);
        }
        let next = self.next_expiry()?;
        let wait_ms = match u64::try_from(next.0.saturating_sub(now.0)) {
            Ok(wait_ms @ 1..) => wait_ms.min(HOUSEKEEPING_WAIT_MS_MAX),
            // Something that a pass with budget to spare left behind is not worth a pass every millisecond.
            Ok(0) | Err(_) => HOUSEKEEPING_RETRY_MS,
        };
        Some(monotonic.plus_millis(wait_ms))
    }

    /// Removes due keys, the databases taking turns; whether the budget ended before the work.
    fn expire(&mut self, now: UnixMillis, mut pages: usize) -> bool {
        let databases = self.keyspace.databases();
        for _ in 0..databases {
            let index = self.housekeeping.next_db % databases;
            let due = |db: &slotmesh_keyspace::Db| db.next_expiry().is_some_and(|at| at <= now);
            if self.keyspace.find_db(index).is_some_and(due) {
                if pages == 0 {
                    return true;
                }
                let report = self.keyspace.db(index).expire_due(now, pages);
                pages = pages.saturating_sub(report.pages.max(1));
            }
            self.housekeeping.next_db = (index + 1) % databases;
        }
        pages == 0
    }

    fn next_expiry(&self) -> Option<UnixMillis> {
        let databases = 0..self.keyspace.databases();
        databases.filter_map(|index| self.keyspace.find_db(index)?.next_expiry()).min()
    }
}

fn pages_per_pass(effort: u8) -> usize {
    EXPIRY_PAGES_PER_PASS + EXPIRY_PAGES_PER_EFFORT * usize::from(effort.clamp(1, 10) - 1)
}

#[cfg(test)]
mod tests;
