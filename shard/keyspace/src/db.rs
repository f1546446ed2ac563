//! One database: the slots' tables, their counts and what is due in them.
//!
//! Two levels: 128 blocks of 128 slots, a block made when a slot of it gets its first key. Each level knows which
//! of its parts hold keys (a bitmap), how many (which makes a random choice fair), and the earliest time at
//! which one of them expires (so what is due is found, not searched). Those times may be too early, when the
//! key that they were for is gone, and never too late.

mod access;
mod events;
mod expire;
mod list;
mod loose;
mod snapshot;
mod string;
#[cfg(test)]
mod tests;

use crate::access::Access;
use crate::block::{BLOCKS, Block, next_bit, split_slot};
use crate::buffer::prefetch;
use crate::observe::{Change, Observer};
use crate::page::{NEVER, is_expired};
use crate::slot_table::{Place, SlotTable, tag_of};
use crate::tally::Tally;
use crate::value::Value;
use crate::{Cursor, Entry, Key, KeyHasher, StringForm, ValueRef};
use alloc::boxed::Box;
use alloc::vec::Vec;
pub use loose::{KeyExists, Loose};
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
/// also remove it (lazy expiry) and count it. As in Redis, a key is still there in the millisecond of its expiry.
#[derive(Debug)]
pub struct Db {
    blocks: [Option<Box<Block>>; BLOCKS],
    /// Keys per block.
    counts: [u32; BLOCKS],
    /// Before this no key of the block expires.
    earliest: [i64; BLOCKS],
    /// A bit per block that has keys.
    occupied: u128,
    len: usize,
    tally: Tally,
    expired: u64,
    hasher: KeyHasher,
    /// How accesses leave a trace, and the chance that this may take.
    access: Access,
    rng: Rng,
    /// Who wants to know what happens; most of the time nobody.
    observer: Option<Box<Observer>>,
}

impl Db {
    /// An empty database. `hasher` is the one that all keys given to it are made with.
    pub fn new(hasher: KeyHasher) -> Self {
        Self {
            blocks: [const { None }; BLOCKS],
            counts: [0; BLOCKS],
            earliest: [NEVER; BLOCKS],
            occupied: 0,
            len: 0,
            tally: Tally::default(),
            expired: 0,
            hasher,
            access: Access::default(),
            rng: Rng::new(hasher.hash(b"access")),
            observer: None,
        }
    }

    /// The entry of `key`, which counts as used; removes it first if it has expired.
    #[inline]
    pub fn get(&mut self, key: &Key<'_>, now: UnixMillis) -> Option<Entry<'_>> {
        let place = self.find_live(key, now)?;
        let (block, index) = split_slot(key.slot);
        let page = self.blocks[block].as_mut()?.tables[index].page_touched(place);
        Some(page.touched_entry(place.layout, self.access, now, &mut self.rng))
    }

    /// The entry of `key`, without touching anything.
    #[inline]
    pub fn peek(&self, key: &Key<'_>, now: UnixMillis) -> Option<Entry<'_>> {
        let table = self.table(key.slot)?;
        let place = table.find(key)?;
        let (page, index) = table.at(place);
        (!page.has_expired(place.layout, now)).then(|| page.entry(index))
    }

    /// Whether `key` is there, without touching anything.
    pub fn contains(&self, key: &Key<'_>, now: UnixMillis) -> bool {
        self.peek(key, now).is_some()
    }

    /// Stores a string under `key`, whatever was there before; whether a key was there. For callers that have
    /// dealt with an expired old value (by [`get`](Self::get)), or do not care: here it counts as there.
    pub fn set_string(&mut self, key: &Key<'_>, value: &[u8], expiry: Expiry) -> bool {
        // At the beginning of time nothing has expired.
        self.put_string(key, value, expiry, UnixMillis(i64::MIN))
    }

    /// Stores a string under `key`, whatever was there before; whether a key was there that had not expired.
    /// One that had is as good as absent: it is counted as expired, and `Expiry::Keep` keeps nothing of it.
    #[inline]
    pub fn put_string(&mut self, key: &Key<'_>, value: &[u8], expiry: Expiry, now: UnixMillis) -> bool {
        self.put_string_as(key, value, StringForm::ByContent, expiry, now)
    }

    /// As [`put_string`](Self::put_string), the string in that form.
    pub fn put_string_as(
        &mut self,
        key: &Key<'_>,
        value: &[u8],
        form: StringForm,
        expiry: Expiry,
        now: UnixMillis,
    ) -> bool {
        let (block, index) = split_slot(key.slot);
        let tables = &mut self.blocks[block].get_or_insert_with(|| Box::new(Block::new())).tables;
        let Some(place) = tables[index].find(key) else {
            let trace = self.access.fresh(now);
            tables[index].insert_string(key, (value, form), trace, expiry, &self.hasher, &mut self.tally);
            self.note_insert(key.slot);
            self.note_expiry(key.slot, expiry);
            self.note_event(key, Change::Created);
            return false;
        };
        let (page, entry) = tables[index].at_mut(key.slot, place, &mut self.tally);
        let old = page.expiry_at(place.layout);
        let was_live = !old.is_some_and(|at| is_expired(at, now));
        let new = match expiry {
            Expiry::At(at) => Some(at.0),
            Expiry::Never => None,
            Expiry::Keep if was_live => old,
            Expiry::Keep => None,
        };
        // The trace stays with the key when its value is replaced.
        page.touch(place.layout, self.access, now, &mut self.rng);
        page.set_string((entry, place.layout), key.bytes, (value, form), new, &mut self.tally);
        self.note_expiry(key.slot, expiry);
        if was_live {
            self.note_event(key, Change::Changed);
        } else {
            self.note_replaced_expired(key);
        }
        was_live
    }

    /// A key that had expired was there when its new value was stored.
    #[cold]
    fn note_replaced_expired(&mut self, key: &Key<'_>) {
        self.expired += 1;
        self.note_event(key, Change::Expired);
        self.note_event(key, Change::Created);
    }

    /// Removes `key`; whether it was there and had not expired.
    pub fn remove(&mut self, key: &Key<'_>, now: UnixMillis) -> bool {
        let Some(place) = self.find_live(key, now) else { return false };
        self.remove_at(key.slot, place);
        self.note_event(key, Change::Removed);
        true
    }

    /// Removes the keys of a slot, and tells which there were.
    pub fn remove_slot(&mut self, slot: Slot, now: UnixMillis) -> Vec<Vec<u8>> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        let mut cursor = Some(Cursor { slot, position: 0 });
        while let Some(at) = cursor.filter(|at| at.slot == slot) {
            cursor = self.scan(at, self.slot_len(slot), now, &mut |key, _| keys.push(key.to_vec()));
        }
        // The last step may have gone on to the next slot.
        keys.retain(|key| Slot::of_key(key) == slot);
        keys.iter().for_each(|key| _ = self.remove(&Key { bytes: key, slot, hash: self.hasher.hash(key) }, now));
        keys
    }

    /// Changes the expiry of a key that is there; whether it is.
    pub fn set_expiry(&mut self, key: &Key<'_>, expiry: Expiry) -> bool {
        let (block, index) = split_slot(key.slot);
        let Some(block) = &mut self.blocks[block] else { return false };
        let table = &mut block.tables[index];
        let Some(place) = table.find(key) else { return false };
        let (page, entry) = table.at(place);
        let new = match expiry {
            Expiry::At(at) => Some(at.0),
            Expiry::Never if page.expiry(entry).is_some() => None,
            Expiry::Never | Expiry::Keep => return true,
        };
        let (page, entry) = table.at_mut(key.slot, place, &mut self.tally);
        page.set_expiry(entry, new, &mut self.tally);
        self.note_expiry(key.slot, expiry);
        self.note_event(key, Change::Changed);
        true
    }

    /// Number of keys, expired ones that nobody removed yet included (as `DBSIZE` in Redis).
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of keys that have an expiry.
    pub fn expires(&self) -> usize {
        self.tally.expiring
    }

    /// Number of keys that this database removed because their time had come.
    pub fn expired(&self) -> u64 {
        self.expired
    }

    /// Starts to count [`expired`](Self::expired) anew.
    pub(crate) fn reset_expired(&mut self) {
        self.expired = 0;
    }

    /// Mean time to live of the keys with an expiry, in ms (INFO keyspace `avg_ttl`); 0 if there are none, or if
    /// most are overdue.
    pub fn average_ttl_ms(&self, now: UnixMillis) -> u64 {
        if self.tally.expiring == 0 {
            return 0;
        }
        let mean = self.tally.expiry_sum / self.tally.expiring as i128;
        u64::try_from((mean - i128::from(now.0)).max(0)).unwrap_or(u64::MAX)
    }

    /// Bytes that keys, values and tables occupy.
    pub fn bytes(&self) -> usize {
        let blocks = self.blocks.iter().flatten().count();
        size_of::<Self>() + blocks * size_of::<Block>() + self.tally.bytes
    }

    /// Number of keys in a slot (`CLUSTER COUNTKEYSINSLOT`).
    pub fn slot_len(&self, slot: Slot) -> usize {
        self.table(slot).map_or(0, SlotTable::len)
    }

    /// Visits keys from `cursor` on, until it has looked at `count` (empty slots are skipped by the bitmap and cost
    /// nothing); returns where to go on, or `None` at the end of the database. Expired keys are looked at and
    /// not visited. More than `count` are visited only where several keys share 48 bits of their hash.
    pub fn scan(
        &self,
        cursor: Cursor,
        count: usize,
        now: UnixMillis,
        visit: &mut dyn FnMut(&[u8], ValueRef<'_>),
    ) -> Option<Cursor> {
        let mut budget = count.max(1);
        let slot = self.next_occupied(cursor.slot.number())?;
        let mut cursor = Cursor { slot, position: if slot == cursor.slot { cursor.position } else { 0 } };
        loop {
            if budget == 0 {
                return Some(cursor);
            }
            let table = self.table(cursor.slot)?;
            cursor = match table.scan(cursor.position, &mut budget, now, &self.hasher, visit) {
                Some(position) => Cursor { position, ..cursor },
                None => Cursor { slot: self.next_occupied(cursor.slot.number() + 1)?, position: 0 },
            };
        }
    }

    /// A key chosen evenly among all (expired ones are removed on the way), or `None` if there is none.
    pub fn random_key(&mut self, rng: &mut Rng, now: UnixMillis) -> Option<Vec<u8>> {
        while self.len > 0 {
            let (slot, place) = self.nth(rng.below(self.len as u64) as usize)?;
            let (page, index) = self.table(slot)?.at(place);
            if !page.is_expired(index, now) {
                return Some(page.key(index).to_vec());
            }
            self.expire_at(slot, place);
        }
        None
    }

    /// Brings what commands on keys with these slots and hashes will read into the cache: the slots' tables, then the
    /// pages, then the entries. No step reads memory that may miss, so that the misses of many keys overlap.
    pub fn prefetch(&self, mut keys: impl Iterator<Item = (Slot, u64)>) {
        /// Keys whose misses overlap: more than a core has outstanding at once.
        const TOGETHER: usize = 32;
        loop {
            let mut tables = [(&SlotTable::EMPTY, 0); TOGETHER];
            let mut count = 0;
            for (place, (slot, hash)) in tables.iter_mut().zip(&mut keys) {
                if let Some(table) = self.table(slot) {
                    prefetch(core::ptr::from_ref(table).cast());
                    *place = (table, hash);
                }
                count += 1;
            }
            let mut pages = [const { None }; TOGETHER];
            for (place, (table, hash)) in pages.iter_mut().zip(&tables[..count]) {
                *place = table.page_for(*hash).map(|(page, _)| (page, tag_of(*hash)));
                if let Some((page, _)) = place {
                    page.prefetch();
                }
            }
            pages[..count].iter().flatten().for_each(|(page, tag)| page.prefetch_entry(*tag));
            if count < TOGETHER {
                return;
            }
        }
    }

    /// Values that no key holds any more, to be freed by and by.
    pub(crate) fn dead_mut(&mut self) -> &mut Vec<Value> {
        &mut self.tally.dead
    }

    /// Empties the database and hands over what it was, but for its count of expired keys and the attention to it.
    pub(crate) fn take_all(&mut self) -> Self {
        let (expired, observer, access) = (self.expired, self.observer.take(), self.access);
        core::mem::replace(self, Self { expired, observer, access, ..Self::new(self.hasher) })
    }

    /// The blocks, to be freed by and by.
    pub(crate) fn into_blocks(self) -> impl Iterator<Item = Box<Block>> {
        debug_assert!(self.tally.dead.is_empty() && self.tally.captures.dead.is_empty());
        self.blocks.into_iter().flatten()
    }

    #[inline]
    fn table(&self, slot: Slot) -> Option<&SlotTable> {
        let (block, index) = split_slot(slot);
        Some(&self.blocks[block].as_ref()?.tables[index])
    }

    /// Where `key` is; removes it if it has expired, unless such keys are kept.
    #[inline]
    fn find_live(&mut self, key: &Key<'_>, now: UnixMillis) -> Option<Place> {
        let table = self.table(key.slot)?;
        let place = table.find(key)?;
        if table.at(place).0.has_expired(place.layout, now) {
            if !self.access.keeps_expired {
                self.expire_at(key.slot, place);
            }
            return None;
        }
        Some(place)
    }

    /// Removes an entry that has expired.
    #[cold]
    fn expire_at(&mut self, slot: Slot, place: Place) {
        self.note_event_at(slot, place, Change::Expired);
        self.remove_at(slot, place);
        self.expired += 1;
    }

    fn remove_at(&mut self, slot: Slot, place: Place) {
        let (block, index) = split_slot(slot);
        if let Some(block) = &mut self.blocks[block] {
            block.tables[index].remove(slot, place, &mut self.tally);
        }
        self.note_removals(slot, 1);
    }

    fn note_insert(&mut self, slot: Slot) {
        let (block, index) = split_slot(slot);
        self.len += 1;
        self.counts[block] += 1;
        self.occupied |= 1 << block;
        if let Some(block) = &mut self.blocks[block] {
            block.occupied |= 1 << index;
        }
    }

    /// Keeps counts and bitmaps after keys of a slot were removed.
    fn note_removals(&mut self, slot: Slot, removed: usize) {
        let (number, index) = split_slot(slot);
        let Some(block) = &mut self.blocks[number] else { return };
        self.len -= removed;
        self.counts[number] -= removed as u32;
        if block.tables[index].len() == 0 {
            block.occupied &= !(1 << index);
            if block.occupied == 0 {
                self.occupied &= !(1 << number);
            }
        }
    }

    /// The first slot with keys from `first` on.
    fn next_occupied(&self, first: u16) -> Option<Slot> {
        let (number, index) = split_slot(Slot::new(first)?);
        let in_block = |number: usize, index| {
            let slot = self.blocks[number].as_ref()?.next_occupied(index)? + number * crate::block::BLOCK_SLOTS;
            Slot::new(slot as u16)
        };
        in_block(number, index).or_else(|| in_block(next_bit(self.occupied, number + 1)?, 0))
    }

    /// The key of that rank, in the order of slots.
    fn nth(&self, mut rank: usize) -> Option<(Slot, Place)> {
        for (number, &count) in self.counts.iter().enumerate() {
            if rank >= count as usize {
                rank -= count as usize;
                continue;
            }
            for (index, table) in self.blocks[number].as_ref()?.tables.iter().enumerate() {
                if rank < table.len() {
                    let slot = Slot::new((number * crate::block::BLOCK_SLOTS + index) as u16)?;
                    return Some((slot, table.nth(rank)?));
                }
                rank -= table.len();
            }
        }
        None
    }
}

const _: () = {
    const fn assert_send<T: Send>() {}
    // A shard moves between threads when it is lent.
    assert_send::<Db>();
};
