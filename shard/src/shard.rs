//! A shard: the slots that one core owns, and all that belongs to them.

use slotmesh_base::{Monotonic, Rng, Slot, UnixMillis};
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
    pub(crate) hasher: KeyHasher,
    pub(crate) rng: Rng,
}

const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Shard>();
};

impl Shard {
    /// An empty shard.
    pub fn new(settings: ShardSettings) -> Self {
        let _ = settings;
        todo!()
    }

    /// The shard's databases, for statistics.
    pub fn keyspace(&self) -> &Keyspace {
        &self.keyspace
    }

    /// Brings what the commands on these keys (of database `db`) will read into the cache: three passes over
    /// the batch, so that the misses of different keys overlap.
    #[inline]
    pub fn prefetch(&self, db: u16, keys: &[(Slot, u64)]) {
        let _ = (db, keys);
        todo!()
    }

    /// Work that no request asks for: active expiry and freeing of dropped tables, within a budget (`effort` 1
    /// to 10 as `active-expire-effort`). Returns when it wants to be called again at the latest, if at all;
    /// "now" if the budget was spent and more is due.
    pub fn housekeep(&mut self, now: UnixMillis, monotonic: Monotonic, effort: u8) -> Option<Monotonic> {
        let _ = (now, monotonic, effort);
        todo!()
    }
}
