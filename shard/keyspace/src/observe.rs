//! What happens to keys that somebody has an eye on: watched ones, those that clients wait for, and, while effects are
//! recorded, all that expire.
//!
//! Attention is paid to slots, not to keys: a write looks at one pointer, and at one bit if there is attention at all.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, Ordering};
use slotmesh_base::{SLOT_COUNT, Slot};

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It was not there, and is.
    Created,
    /// It was removed for another key's value, or another database's.
    Replaced,
    /// It has another value, or expires at another time.
    Changed,
    /// It is no more.
    Removed,
    /// It is no more, since its time had come.
    Expired,
    /// It was not there, and is not to be seen, but a value whose time has come lies there now (`SWAPDB`).
    Stale,
}

/// Something that happened to a key of a slot with attention.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Index of the database.
    pub db: u16,
    /// The key.
    pub key: Vec<u8>,
    /// What happened.
    pub change: Change,
}

/// The attention that is paid to one database, and what was seen. It belongs to the database's index, not to its keys.
#[derive(Debug)]
pub(crate) struct Observer {
    db: u16,
    /// A bit per slot with attention.
    slots: [u64; SLOT_COUNT / u64::BITS as usize],
    /// How many pay attention to each of those slots.
    counts: BTreeMap<u16, u32>,
    /// Whether every key that expires is recorded.
    pub(crate) records_expired: bool,
    /// Whether all that happens is recorded, whatever the key.
    pub(crate) records_all: bool,
    events: Vec<Event>,
    /// Raised with every event; all databases of a keyspace share it.
    flag: Arc<AtomicBool>,
}

impl Observer {
    /// No attention yet to the database `db`; `flag` is raised when there are events.
    pub(crate) fn new(db: u16, flag: Arc<AtomicBool>) -> Self {
        Self {
            db,
            slots: [0; SLOT_COUNT / u64::BITS as usize],
            counts: BTreeMap::new(),
            records_expired: false,
            records_all: false,
            events: Vec::new(),
            flag,
        }
    }

    /// One more pays attention to a slot.
    pub(crate) fn attend(&mut self, slot: Slot) {
        *self.counts.entry(slot.number()).or_default() += 1;
        self.slots[slot.index() / 64] |= 1 << (slot.index() % 64);
    }

    /// One less pays attention to a slot.
    ///
    /// # Panics
    /// If nobody does.
    pub(crate) fn ignore(&mut self, slot: Slot) {
        let count = self.counts.get_mut(&slot.number()).expect("attention is taken back once");
        *count -= 1;
        if *count == 0 {
            self.counts.remove(&slot.number());
            self.slots[slot.index() / 64] &= !(1 << (slot.index() % 64));
        }
    }

    /// Whether there is attention to a slot.
    #[inline]
    fn attends(&self, slot: Slot) -> bool {
        !self.counts.is_empty() && self.slots[slot.index() / 64] >> (slot.index() % 64) & 1 == 1
    }

    /// Whether it is of no use any more.
    pub(crate) fn is_idle(&self) -> bool {
        self.counts.is_empty() && !self.records_expired && !self.records_all && self.events.is_empty()
    }

    /// The slots with attention.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Slot> {
        self.counts.keys().filter_map(|&number| Slot::new(number))
    }

    /// Records what happened to a key, if somebody wants to know it.
    #[inline]
    pub(crate) fn note(&mut self, slot: Slot, key: &[u8], change: Change) {
        if self.attends(slot) || self.records_all || change == Change::Expired && self.records_expired {
            self.record(key, change);
        }
    }

    #[cold]
    fn record(&mut self, key: &[u8], change: Change) {
        self.events.push(Event { db: self.db, key: key.to_vec(), change });
        self.flag.store(true, Ordering::Relaxed);
    }

    /// Takes what was seen.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        mem::take(&mut self.events)
    }
}
