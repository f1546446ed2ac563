//! The databases of one shard.

use crate::Db;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;

/// Counters of a shard's keyspace, for INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KeyspaceStats {
    /// Reads that found a key.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
}

/// The databases of one shard; database 0 exists from the start, the others from their first use.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Option<Box<Db>>>,
    slots: RangeInclusive<u16>,
    /// Counters; commands that read keys count hits and misses here.
    pub stats: KeyspaceStats,
    // a graveyard of dropped tables, freed in slices
}

impl Keyspace {
    /// `databases` empty databases over the slots of `slots`.
    pub fn new(databases: usize, slots: RangeInclusive<u16>) -> Self {
        let mut dbs: Vec<_> = (0..databases).map(|_| None).collect();
        dbs[0] = Some(Box::default());
        Self { dbs, slots, stats: KeyspaceStats::default() }
    }

    /// Number of databases.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// The slots that keys of this keyspace lie in.
    pub fn slots(&self) -> RangeInclusive<u16> {
        self.slots.clone()
    }

    /// A database, made on first use.
    ///
    /// # Panics
    /// If `index` is not below [`databases`](Self::databases).
    #[inline]
    pub fn db(&mut self, index: usize) -> &mut Db {
        self.dbs[index].get_or_insert_with(Box::default)
    }

    /// A database, if it was ever used.
    #[inline]
    pub fn find_db(&self, index: usize) -> Option<&Db> {
        self.dbs.get(index)?.as_deref()
    }

    /// Empties a database; the memory is freed by [`free_some`](Self::free_some).
    pub fn flush(&mut self, index: usize) {
        let _ = index;
        todo!()
    }

    /// Empties all databases.
    pub fn flush_all(&mut self) {
        (0..self.databases()).for_each(|index| self.flush(index));
    }

    /// Frees up to `tables_max` tables of flushed databases; whether there is more to free.
    pub fn free_some(&mut self, tables_max: usize) -> bool {
        let _ = tables_max;
        todo!()
    }
}
