//! The databases of one shard.

mod events;
mod graveyard;
mod snapshot;
#[cfg(test)]
mod writer;

use crate::Access;
use crate::value::{Remains, Value};
use crate::{Db, KeyHasher};
use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use core::sync::atomic::AtomicBool;
use graveyard::Graveyard;
use slotmesh_base::{Slot, SlotSet, UnixMillis};
use snapshot::Snapshots;

/// Counters of a shard's keyspace, for INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyspaceStats {
    /// Reads that found a key.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Keys and elements that commands changed.
    pub changes: u64,
    /// Times that all databases were emptied at once (FLUSHALL).
    pub flushes: u64,
}

/// The databases of one shard; database 0 exists from the start, the others from their first use.
#[derive(Debug)]
pub struct Keyspace {
    /// How commands leave a trace in keys.
    access: Access,
    dbs: Vec<Option<Box<Db>>>,
    slots: RangeInclusive<u16>,
    /// Which of them are owned, if the keyspace is that of a node of a cluster.
    of_node: Option<NodeSlots>,
    hasher: KeyHasher,
    /// Counters; commands count hits, misses and changes here. `expired` is what databases that are no
    /// more have counted: read it by [`stats`](Self::stats).
    pub stats: KeyspaceStats,
    graveyard: Graveyard,
    snapshots: Snapshots,
    /// Whether databases made from now on record all keys that expire.
    records_expired: bool,
    /// Whether they record all that happens to any key.
    records_all: bool,
    /// Whether flushes are recorded, and whether there was one that nobody has taken.
    records_flushes: bool,
    was_flushed: bool,
    /// Raised by the databases' observers when there are events.
    has_events: Arc<AtomicBool>,
}

/// The slots of a node of a cluster.
#[derive(Debug)]
struct NodeSlots {
    /// Those that it owns.
    own: SlotSet,
    /// Those that a node of its process owns.
    process: SlotSet,
}

impl Keyspace {
    /// `databases` empty databases over the slots of `slots`, for keys hashed by `hasher`.
    ///
    /// # Panics
    /// If `databases` is 0.
    pub fn new(databases: usize, slots: RangeInclusive<u16>, hasher: KeyHasher) -> Self {
        let mut dbs: Vec<_> = (0..databases).map(|_| None).collect();
        dbs[0] = Some(Box::new(Db::new(hasher)));
        Self {
            dbs,
            slots,
            of_node: None,
            hasher,
            stats: KeyspaceStats::default(),
            graveyard: Graveyard::default(),
            snapshots: Snapshots::default(),
            records_expired: false,
            records_all: false,
            records_flushes: false,
            was_flushed: false,
            access: Access::default(),
            has_events: Arc::default(),
        }
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// The slots that keys of this keyspace lie in.
    pub fn slots(&self) -> RangeInclusive<u16> {
        self.slots.clone()
    }

    /// Whether keys of `slot` lie in this keyspace.
    #[inline]
    pub fn holds(&self, slot: Slot) -> bool {
        match &self.of_node {
            None => self.slots.contains(&slot.number()),
            Some(slots) => slots.own.contains(slot),
        }
    }

    /// Whether the keyspace is that of a cluster's node, whose slots come and go.
    pub fn is_of_node(&self) -> bool {
        self.of_node.is_some()
    }

    /// The last of the slots that lie here in a row from `slot` on. If it does not lie here: the last of those in a row
    /// that lie nowhere in the process, or `slot` itself.
    pub fn run_end(&self, slot: Slot) -> Slot {
        match &self.of_node {
            None if self.holds(slot) => Slot::new(*self.slots.end()).expect("a keyspace ends at a slot"),
            None => slot,
            Some(slots) if slots.own.contains(slot) => slots.own.run_end(slot),
            Some(slots) if slots.process.contains(slot) => slot,
            Some(slots) => slots.process.run_end(slot),
        }
    }

    /// From now on the keyspace is that of a cluster's node that owns the slots of `own`; nodes of its process own those
    /// of `process`. Keys of other slots are kept as they are.
    pub fn own(&mut self, own: SlotSet, process: SlotSet) {
        self.of_node = Some(NodeSlots { own, process });
    }

    /// Sets how commands leave a trace in keys.
    #[inline]
    pub fn set_access(&mut self, access: Access) {
        if access != self.access {
            self.change_access(access);
        }
    }

    #[cold]
    fn change_access(&mut self, access: Access) {
        self.access = access;
        self.dbs.iter_mut().flatten().for_each(|db| db.set_access(access));
    }

    /// A database, made on first use.
    ///
    /// # Panics
    /// If `index` is not below [`databases`](Self::databases).
    #[inline]
    pub fn db(&mut self, index: usize) -> &mut Db {
        if self.dbs[index].is_none() {
            self.make_db(index);
        }
        self.dbs[index].as_mut().expect("just made if it was not there")
    }

    #[cold]
    fn make_db(&mut self, index: usize) {
        let mut db = Db::new(self.hasher);
        db.record_expired(self.records_expired, index, &self.has_events);
        db.record_all(self.records_all, index, &self.has_events);
        db.set_access(self.access);
        self.dbs[index] = Some(Box::new(db));
    }

    /// A database, if it was ever used.
    #[inline]
    pub fn find_db(&self, index: usize) -> Option<&Db> {
        self.dbs.get(index)?.as_deref()
    }

    /// The counters, those of the databases included.
    pub fn stats(&self) -> KeyspaceStats {
        let expired = self.dbs.iter().flatten().map(|db| db.expired()).sum::<u64>();
        KeyspaceStats { expired: self.stats.expired + expired, ..self.stats }
    }

    /// Sets all counters to 0 but those of changes (`CONFIG RESETSTAT`).
    pub fn reset_stats(&mut self) {
        self.stats =
            KeyspaceStats { changes: self.stats.changes, flushes: self.stats.flushes, ..KeyspaceStats::default() };
        self.dbs.iter_mut().flatten().for_each(|db| db.reset_expired());
    }

    /// Empties a database; how many keys it had. The memory is freed by [`free_some`](Self::free_some).
    pub fn flush(&mut self, index: usize) -> usize {
        self.note_flush();
        let Some(db) = self.dbs.get_mut(index).and_then(Option::as_mut) else { return 0 };
        db.note_flush();
        let old = db.take_all();
        let removed = old.len();
        self.retire(old);
        removed
    }

    /// Empties all databases; how many keys there were.
    pub fn flush_all(&mut self) -> usize {
        (0..self.databases()).map(|index| self.flush(index)).sum()
    }

    /// Counts a FLUSHALL.
    pub fn note_flushall(&mut self) {
        self.stats.flushes += 1;
    }

    /// Holds the keys of another keyspace instead of its own, as one flush and one change of each: attention stays and is
    /// told, snapshots go on with what was. The memory is freed by [`free_some`](Self::free_some).
    ///
    /// # Panics
    /// If the other one has more databases that are in use.
    pub fn take_over(&mut self, from: Self, now: UnixMillis) {
        self.flush_all();
        for (index, db) in from.dbs.into_iter().enumerate() {
            if let Some(mut db) = db.filter(|db| !db.is_empty()) {
                db.set_access(self.access);
                self.db(index).swap(&mut db, now);
            }
        }
    }

    /// Takes what was cut off a value, to be freed by [`free_some`](Self::free_some).
    pub fn bury(&mut self, remains: Remains) {
        self.graveyard.values.extend(remains.0.map(Value::List).filter(Value::is_heavy));
    }

    /// What waits to be freed by [`free_some`](Self::free_some), and what it has freed: large values, pages kept for
    /// snapshots, blocks of flushed databases.
    pub fn buried(&self) -> (usize, u64) {
        (self.graveyard.len(), self.graveyard.emptied)
    }

    /// Frees up to `tables_max` tables of flushed databases or pages kept for snapshots, and as much of large values that keys no longer hold;
    /// whether there is more to free. A table of many pages counts once for each page, a large value once for each
    /// [`FREED_CHUNKS_PER_TABLE`](slotmesh_base::limits::FREED_CHUNKS_PER_TABLE) chunks.
    pub fn free_some(&mut self, tables_max: usize) -> bool {
        self.collect_dead();
        self.graveyard.free_some(tables_max)
    }
}

const _: () = {
    const fn assert_send<T: Send>() {}
    // A shard moves between threads when it is lent.
    assert_send::<Keyspace>();
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::live;
    use crate::{Change, Expiry, SnapshotWalk};
    use slotmesh_base::UnixMillis;
    use std::format;

    fn filled(hasher: KeyHasher, keys: usize) -> Keyspace {
        let mut keyspace = Keyspace::new(16, 0..=16383, hasher);
        for number in 0..keys {
            let name = format!("{number}");
            let value = [b'v'; 300];
            let value = if number % 10 == 0 { &value[..] } else { b"short" };
            keyspace.db(number % 2).set_string(&hasher.key(name.as_bytes()), value, Expiry::Never);
        }
        keyspace
    }

    #[test]
    fn a_flush_empties_at_once_and_frees_by_and_by() {
        let hasher = KeyHasher::new([1, 2]);
        let mut keyspace = filled(hasher, 20_000);
        assert_eq!(live::RECORDS.with(|records| records.get()), 2000);
        assert!(!keyspace.free_some(1), "there is nothing to free yet");
        let empty = Db::new(hasher).bytes();
        keyspace.flush(0);
        assert_eq!((keyspace.db(0).len(), keyspace.db(0).bytes()), (0, empty));
        assert_eq!(keyspace.db(1).len(), 10_000);
        assert!(keyspace.free_some(10));
        keyspace.db(0).set_string(&hasher.key(b"new"), b"value", Expiry::Never);
        keyspace.flush_all();
        assert!(keyspace.db(0).is_empty() && keyspace.db(1).is_empty());
        assert!(live::RECORDS.with(|records| records.get()) > 1900, "the flush itself frees nothing");
        let mut slices = 0;
        while keyspace.free_some(100) {
            slices += 1;
        }
        assert!(slices > 100, "{slices} slices of 100 for some 20,000 tables");
        assert_eq!(live::RECORDS.with(|records| records.get()), 0);
    }

    #[test]
    fn what_is_taken_over_is_seen_by_those_who_attend_and_not_by_snapshots() {
        let hasher = KeyHasher::new([1, 2]);
        let (mut old, mut new) = (filled(hasher, 100), filled(hasher, 50));
        let (gone, here, made) = (hasher.key(b"98"), hasher.key(b"4"), hasher.key(b"new"));
        new.db(0).set_string(&made, b"1", Expiry::Never);
        for key in [&gone, &here, &made] {
            old.attend(0, key.slot);
        }
        let snapshot = old.begin_snapshot(usize::MAX).unwrap();
        old.take_over(new, UnixMillis(0));
        let mut seen: Vec<_> = old.take_events().into_iter().map(|event| (event.key, event.change)).collect();
        seen.dedup();
        assert!(seen.contains(&(b"98".to_vec(), Change::Removed)));
        assert!(seen.contains(&(b"4".to_vec(), Change::Removed)) && seen.contains(&(b"4".to_vec(), Change::Created)));
        assert!(seen.contains(&(b"new".to_vec(), Change::Created)));
        let mut shown = 0;
        while old.walk_snapshot(snapshot, 10, &mut |_| shown += 1) == SnapshotWalk::More {}
        assert_eq!(shown, 100, "the snapshot is of what was");
        assert_eq!((old.db(0).len(), old.db(1).len()), (26, 25));
        old.db(0).set_string(&made, b"2", Expiry::Never);
        assert!(old.take_events().iter().any(|event| event.key == b"new"), "the attention has stayed");
    }

    #[test]
    fn runs_of_slots_are_those_of_the_node_or_of_no_node_of_the_process() {
        let slot = |number| Slot::new(number).unwrap();
        let set = |ranges: &[RangeInclusive<u16>]| -> SlotSet { ranges.iter().cloned().flatten().map(slot).collect() };
        let mut keyspace = Keyspace::new(1, 100..=199, KeyHasher::new([1, 2]));
        assert_eq!([99, 100, 199, 200].map(|number| keyspace.run_end(slot(number)).number()), [99, 199, 199, 200]);
        // A sibling has 500 to 599, and nobody here what is before and behind.
        keyspace.own(set(&[0..=9, 300..=399]), set(&[0..=9, 300..=399, 500..=599]));
        for (from, end) in [(0, 9), (10, 299), (250, 299), (300, 399), (400, 499), (500, 500), (600, 16383)] {
            assert_eq!(keyspace.run_end(slot(from)).number(), end, "{from}");
        }
    }

    #[test]
    fn what_is_dropped_frees_its_records() {
        let hasher = KeyHasher::new([1, 2]);
        let mut keyspace = filled(hasher, 5000);
        keyspace.flush(1);
        keyspace.free_some(300);
        drop(keyspace);
        assert_eq!(live::RECORDS.with(|records| records.get()), 0);
    }

    #[test]
    fn expired_keys_are_counted_over_databases_and_flushes() {
        let hasher = KeyHasher::new([1, 2]);
        let mut keyspace = Keyspace::new(2, 0..=16383, hasher);
        for index in 0..2 {
            let key = hasher.key(b"key");
            keyspace.db(index).set_string(&key, b"", Expiry::At(UnixMillis(5)));
            assert!(keyspace.db(index).get(&key, UnixMillis(5)).is_some());
            assert!(keyspace.db(index).get(&key, UnixMillis(6)).is_none());
        }
        keyspace.flush_all();
        assert_eq!(keyspace.stats().expired, 2);
        keyspace.reset_stats();
        assert_eq!(keyspace.stats(), KeyspaceStats::default());
    }
}
