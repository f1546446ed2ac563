//! What a database tells those who pay attention to its slots.

use super::{Db, Place};
use crate::Key;
use crate::block::split_slot;
use crate::observe::{Change, Event, Observer};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::AtomicBool;
use slotmesh_base::{Slot, UnixMillis};

impl Db {
    /// Pays attention to a slot; `index` is this database's, `flag` is raised when there are events.
    pub(crate) fn attend(&mut self, slot: Slot, index: usize, flag: &Arc<AtomicBool>) {
        self.make_observer(index, flag).attend(slot);
    }

    /// Takes attention to a slot back.
    ///
    /// # Panics
    /// If there is none.
    pub(crate) fn ignore(&mut self, slot: Slot) {
        self.observer.as_mut().expect("attention is taken back once").ignore(slot);
        self.drop_idle_observer();
    }

    /// Whether every key that expires is recorded; `index` and `flag` as for [`attend`](Self::attend).
    pub(crate) fn record_expired(&mut self, wanted: bool, index: usize, flag: &Arc<AtomicBool>) {
        if wanted || self.observer.is_some() {
            self.make_observer(index, flag).records_expired = wanted;
            self.drop_idle_observer();
        }
    }

    /// Whether all that happens to any key is recorded; `index` and `flag` as for [`attend`](Self::attend).
    pub(crate) fn record_all(&mut self, wanted: bool, index: usize, flag: &Arc<AtomicBool>) {
        if wanted || self.observer.is_some() {
            self.make_observer(index, flag).records_all = wanted;
            self.drop_idle_observer();
        }
    }

    /// Whether anybody pays attention to anything.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Takes the events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        let Some(observer) = &mut self.observer else { return Vec::new() };
        let events = observer.take_events();
        self.drop_idle_observer();
        events
    }

    /// Records the removal of all keys, which follows.
    pub(crate) fn note_flush(&mut self) {
        self.note_all(|_| Change::Removed);
    }

    /// Takes the place of `other`, and that one this one's: attention stays where it is, and is told.
    pub(crate) fn swap(&mut self, other: &mut Self, now: UnixMillis) {
        self.note_swap(other, now);
        other.note_swap(self, now);
        mem::swap(self, other);
        mem::swap(&mut self.observer, &mut other.observer);
    }

    /// Records what will happen here when the keys of `other` replace the present ones.
    fn note_swap(&mut self, other: &Self, now: UnixMillis) {
        self.note_all(|key| if other.contains(key, now) { Change::Replaced } else { Change::Removed });
        let Some(mut observer) = self.observer.take() else { return };
        for slot in observer.slots().collect::<Vec<_>>() {
            other.for_each_key(slot, &mut |bytes| {
                let key = self.key_in(slot, bytes);
                if !other.contains(&key, now) {
                    observer.note(slot, bytes, Change::Stale);
                } else if !self.is_stored(&key) {
                    observer.note(slot, bytes, Change::Created);
                }
            });
        }
        self.observer = Some(observer);
    }

    /// Records something of every key in the slots with attention.
    fn note_all(&mut self, change: impl Fn(&Key<'_>) -> Change) {
        let Some(mut observer) = self.observer.take() else { return };
        for slot in observer.slots().collect::<Vec<_>>() {
            self.for_each_key(slot, &mut |key| {
                observer.note(slot, key, change(&self.key_in(slot, key)));
            });
        }
        self.observer = Some(observer);
    }

    /// Records what happened to a key.
    #[inline]
    pub(super) fn note_event(&mut self, key: &Key<'_>, change: Change) {
        if let Some(observer) = &mut self.observer {
            observer.note(key.slot, key.bytes, change);
        }
    }

    /// Records what is to happen to an entry.
    pub(super) fn note_event_at(&mut self, slot: Slot, place: Place, change: Change) {
        let (block, index) = split_slot(slot);
        if let (Some(observer), Some(block)) = (&mut self.observer, &self.blocks[block]) {
            let (page, index) = block.tables[index].at(place);
            observer.note(slot, page.key(index), change);
        }
    }

    fn for_each_key(&self, slot: Slot, show: &mut dyn FnMut(&[u8])) {
        if let Some(table) = self.table(slot) {
            table.for_each_key(show);
        }
    }

    /// Whether a key is stored, expired or not.
    fn is_stored(&self, key: &Key<'_>) -> bool {
        self.table(key.slot).is_some_and(|table| table.find(key).is_some())
    }

    fn key_in<'k>(&self, slot: Slot, bytes: &'k [u8]) -> Key<'k> {
        Key { bytes, slot, hash: self.hasher.hash(bytes) }
    }

    fn make_observer(&mut self, index: usize, flag: &Arc<AtomicBool>) -> &mut Observer {
        self.observer.get_or_insert_with(|| {
            let index = u16::try_from(index).expect("databases are bounded by DATABASES_MAX");
            Box::new(Observer::new(index, Arc::clone(flag)))
        })
    }

    fn drop_idle_observer(&mut self) {
        if self.observer.as_ref().is_some_and(|observer| observer.is_idle()) {
            self.observer = None;
        }
    }
}
