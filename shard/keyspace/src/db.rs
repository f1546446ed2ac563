//! One database: the slots' tables, their counts and what is due in them.

use crate::{Cursor, Entry, Key, ValueRef};
use alloc::vec::Vec;
use slotmesh_base::{Rng, Slot, UnixMillis};

/// What a write does to a key's expiry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expiry {
    /// Leaves it as it is.
    Keep,
    /// Removes it.
    Never,
    /// Sets it.
    At(UnixMillis),
}

/// What an active expiry run did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ExpiryReport {
    /// Keys removed.
    pub removed: usize,
    /// Pages looked at; what the budget counts.
    pub pages: usize,
}

/// One database of a shard. Slots without keys cost (almost) nothing.
///
/// A key whose time has come is treated as absent by everything that takes `now`; the methods on `&mut self`
/// also remove it (lazy expiry) and count it.
#[derive(Debug)]
pub struct Db {
    // to be filled
}

impl Db {
    /// An empty database.
    pub fn new() -> Self {
        todo!()
    }

    /// The entry of `key`; removes it first if it has expired.
    pub fn get(&mut self, key: &Key<'_>, now: UnixMillis) -> Option<Entry<'_>> {
        let _ = (key, now);
        todo!()
    }

    /// Whether `key` is there, without touching anything.
    pub fn contains(&self, key: &Key<'_>, now: UnixMillis) -> bool {
        let _ = (key, now);
        todo!()
    }

    /// Stores a string under `key`, whatever was there before. The caller has dealt with an expired old value
    /// (by `get`) if it wants `Expiry::Keep`.
    pub fn set_string(&mut self, key: &Key<'_>, value: &[u8], expiry: Expiry) {
        let _ = (key, value, expiry);
        todo!()
    }

    /// The bytes of a string, to be changed in place, for commands that grow a value (`APPEND`, `SETRANGE`): moves
    /// an inline value to the heap if `heap_bytes` is more than fits inline. `None` if the key is not there or
    /// is no string; the caller has checked the type and removed an expired entry by `get`.
    pub fn append(&mut self, key: &Key<'_>, tail: &[u8]) -> Option<usize> {
        let _ = (key, tail);
        todo!()
    }

    /// Removes `key`; whether it was there and had not expired.
    pub fn remove(&mut self, key: &Key<'_>, now: UnixMillis) -> bool {
        let _ = (key, now);
        todo!()
    }

    /// Changes the expiry of a key that is there; whether it is.
    pub fn set_expiry(&mut self, key: &Key<'_>, expiry: Expiry) -> bool {
        let _ = (key, expiry);
        todo!()
    }

    /// Number of keys, expired ones that nobody removed yet included (as `DBSIZE` in Redis).
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of keys that have an expiry.
    pub fn expires(&self) -> usize {
        todo!()
    }

    /// Mean time to live of the keys with an expiry, in ms, estimated (INFO keyspace `avg_ttl`).
    pub fn average_ttl_ms(&self, now: UnixMillis) -> u64 {
        let _ = now;
        todo!()
    }

    /// Bytes that keys, values and tables occupy.
    pub fn bytes(&self) -> usize {
        todo!()
    }

    /// Number of keys in a slot (`CLUSTER COUNTKEYSINSLOT`).
    pub fn slot_len(&self, slot: Slot) -> usize {
        let _ = slot;
        todo!()
    }

    /// Visits about `count` keys from `cursor` on (empty slots are skipped by the bitmap and cost nothing);
    /// returns where to go on, or `None` at the end of the database. Expired keys are not visited.
    pub fn scan(
        &self,
        cursor: Cursor,
        count: usize,
        now: UnixMillis,
        visit: &mut dyn FnMut(&[u8], ValueRef<'_>),
    ) -> Option<Cursor> {
        let _ = (cursor, count, now, visit);
        todo!()
    }

    /// A key chosen evenly among all (expired ones are removed on the way), or `None` if there is none.
    pub fn random_key(&mut self, rng: &mut Rng, now: UnixMillis) -> Option<Vec<u8>> {
        let _ = (rng, now);
        todo!()
    }

    /// When the next expiry is due, as far as is known (never later than the truth).
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        todo!()
    }

    /// Removes keys that are due, in the order of their time as far as is known, looking at no more than
    /// `pages_max` pages.
    pub fn expire_due(&mut self, now: UnixMillis, pages_max: usize) -> ExpiryReport {
        let _ = (now, pages_max);
        todo!()
    }

    /// First step of three to bring what a command on a key will read into the cache: the slot's table. Never
    /// reads memory that may miss, so that many keys' misses overlap when the steps run over a batch.
    #[inline]
    pub fn prefetch_table(&self, slot: Slot) {
        let _ = slot;
    }

    /// Second step: the page.
    #[inline]
    pub fn prefetch_page(&self, slot: Slot, hash: u64) {
        let _ = (slot, hash);
    }

    /// Third step: the entry.
    #[inline]
    pub fn prefetch_entry(&self, slot: Slot, hash: u64) {
        let _ = (slot, hash);
    }
}

impl Default for Db {
    fn default() -> Self {
        Self::new()
    }
}
