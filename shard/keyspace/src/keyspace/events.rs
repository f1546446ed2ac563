//! Attention to slots of any database, and what was seen; and what concerns two databases at once.

use super::Keyspace;
use crate::Event;
use alloc::vec::Vec;
use core::sync::atomic::Ordering;
use slotmesh_base::{Slot, UnixMillis};

impl Keyspace {
    /// Exchanges two databases (`SWAPDB`). Attention stays at its index: where there is any, keys that were there are
    /// removed or changed, keys that are there now are changed or created; one whose time has come is none that is
    /// there now (Redis 7.2 `multi.c` `touchAllWatchedKeysInDb`).
    ///
    /// # Panics
    /// If one of them is not below [`databases`](Self::databases).
    pub fn swap(&mut self, one: usize, other: usize, now: UnixMillis) {
        if one == other || self.dbs[one].is_none() && self.dbs[other].is_none() {
            return;
        }
        // Both are made: the attention to one that never was used has its place there.
        self.db(one);
        self.db(other);
        if let Ok([Some(one), Some(other)]) = self.dbs.get_disjoint_mut([one, other]) {
            one.swap(other, now);
        }
    }

    /// Events of keys of `slot` in the database `db` are recorded until [`ignore`](Self::ignore) was called as often.
    ///
    /// # Panics
    /// If `db` is not below [`databases`](Self::databases).
    pub fn attend(&mut self, db: usize, slot: Slot) {
        self.db(db);
        if let Some(database) = &mut self.dbs[db] {
            database.attend(slot, db, &self.has_events);
        }
    }

    /// Takes back one [`attend`](Self::attend).
    ///
    /// # Panics
    /// If there is none.
    pub fn ignore(&mut self, db: usize, slot: Slot) {
        self.db(db).ignore(slot);
    }

    /// Whether every key that expires is recorded as an event, whatever its slot.
    pub fn record_expired(&mut self, wanted: bool) {
        self.records_expired = wanted;
        for (index, db) in self.dbs.iter_mut().enumerate() {
            if let Some(db) = db {
                db.record_expired(wanted, index, &self.has_events);
            }
        }
    }

    /// Whether all that happens to any key is recorded as an event, whatever its slot.
    pub fn record_all(&mut self, wanted: bool) {
        self.records_all = wanted;
        for (index, db) in self.dbs.iter_mut().enumerate() {
            if let Some(db) = db {
                db.record_all(wanted, index, &self.has_events);
            }
        }
    }

    /// Whether it is recorded that a database is emptied.
    pub fn record_flushes(&mut self, wanted: bool) {
        self.records_flushes = wanted;
    }

    pub(super) fn note_flush(&mut self) {
        if self.records_flushes {
            self.was_flushed = true;
            self.has_events.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a database was emptied since the last call.
    pub fn take_flushed(&mut self) -> bool {
        core::mem::take(&mut self.was_flushed)
    }

    /// Whether anybody pays attention to anything.
    pub fn has_observers(&self) -> bool {
        self.dbs.iter().flatten().any(|db| db.is_observed())
    }

    /// Whether there are events that nobody has taken.
    #[inline]
    pub fn has_events(&self) -> bool {
        // A shard is in one hand at a time: there is nothing to be ordered with.
        self.has_events.load(Ordering::Relaxed)
    }

    /// Takes the events since the last call, in their order (of one database; those of different databases come one
    /// database after the other).
    pub fn take_events(&mut self) -> Vec<Event> {
        if !self.has_events.swap(false, Ordering::Relaxed) {
            return Vec::new();
        }
        let mut all = Vec::new();
        for db in self.dbs.iter_mut().flatten() {
            let mut events = db.take_events();
            if all.is_empty() {
                all = events;
            } else {
                all.append(&mut events);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests;
