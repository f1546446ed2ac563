//! One slot: linear hashing over pages.
//!
//! A slot with P pages, 2^l <= P < 2^(l+1), has split its first P - 2^l pages of level l already. A key belongs to the
//! page that the lower l + 1 bits of its hash name, or if there is no such page, the lower l bits. One more
//! page is one page split into two by one more bit; one page less is the last one joined with the one that
//! it came from. So a slot grows and shrinks by one page at a time, whatever its size.
//!
//! Order: a page holds all keys whose hashes end in the same bits, so in the order of *bit-reversed* hashes it is one
//! interval, and a split cuts an interval in two. A scan walks in that order and can stop anywhere: its position
//! is a reversed hash, which means the same before and after any number of splits and joins.
//!
//! If all keys of a slot had one hash (which the keyed hash prevents), they would share one page that no split can
//! divide: every operation would cost in proportion to it, and nothing worse would happen; pages beyond 64 KiB
//! have wider offsets, up to 2^31 bytes.

mod pages;
mod scan;
#[cfg(test)]
mod tests;
mod walk;

use crate::access::Trace;
use crate::page::{Draft, Layout, NEVER, Page, is_expired};
use crate::tally::Tally;
use crate::value::{StringForm, Value};
use crate::{Expiry, Key, KeyHasher};
use alloc::vec::Vec;
use core::mem;
use pages::Pages;
use slotmesh_base::{Slot, UnixMillis};
pub(crate) use walk::POSITION_END;

/// Mean number of entries per page above which a slot gets one more page.
const PAGE_ENTRIES_MEAN_MAX: usize = 32;

/// Mean number of entries per page below which a slot has one page too many; well below the half of the other
/// bound, so that a slot at the edge does not split and join all the time.
const PAGE_ENTRIES_MEAN_MIN: usize = 12;

/// The entries of one slot.
#[derive(Debug)]
pub(crate) struct SlotTable {
    pages: Pages,
}

/// Where an entry is, and how it stands there; holds until the table changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    page: usize,
    index: usize,
    /// What has been read of the entry, so that it is not read again.
    pub(crate) layout: Layout,
}

/// What a sweep over a slot did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Sweep {
    /// Entries removed.
    pub(crate) removed: usize,
    /// Pages looked through.
    pub(crate) pages: usize,
}

impl SlotTable {
    /// A slot without keys.
    pub(crate) const EMPTY: Self = Self { pages: Pages::Empty };

    /// Number of keys.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.pages.entries()
    }

    /// Where `key` is.
    #[inline(always)]
    pub(crate) fn find(&self, key: &Key<'_>) -> Option<Place> {
        let (page, number) = self.page_for(key.hash)?;
        let (index, layout) = page.find(tag_of(key.hash), key.bytes)?;
        Some(Place { page: number, index, layout })
    }

    /// The page that a key with this hash is in, if it is here, and the page's number. Does not read the page.
    #[inline]
    pub(crate) fn page_for(&self, hash: u64) -> Option<(&Page, usize)> {
        let pages = self.pages.as_slice();
        if pages.is_empty() {
            return None;
        }
        let number = page_of(hash, pages.len());
        Some((&pages[number], number))
    }

    /// The page of an entry, and its index there.
    #[inline]
    pub(crate) fn at(&self, place: Place) -> (&Page, usize) {
        (&self.pages.as_slice()[place.page], place.index)
    }

    /// The page of an entry, to leave the trace of an access: no change, of which a snapshot would need the page as it
    /// was.
    #[inline]
    pub(crate) fn page_touched(&mut self, place: Place) -> &mut Page {
        &mut self.pages.as_mut_slice()[place.page]
    }

    /// The page of an entry, and its index there, to change it. `slot` is this table's.
    #[inline]
    pub(crate) fn at_mut(&mut self, slot: Slot, place: Place, tally: &mut Tally) -> (&mut Page, usize) {
        (self.page_mut(slot, place.page, tally), place.index)
    }

    /// Adds a string under a key that is not there.
    pub(crate) fn insert_string(
        &mut self,
        key: &Key<'_>,
        (value, form): (&[u8], StringForm),
        trace: Trace,
        expiry: Expiry,
        hasher: &KeyHasher,
        tally: &mut Tally,
    ) {
        let expiry = match expiry {
            Expiry::At(at) => Some(at.0),
            Expiry::Keep | Expiry::Never => None,
        };
        self.insert(key, &Draft::string(key.bytes, value, expiry).form(form).trace(trace), hasher, tally);
    }

    /// Adds a value of any type, in a record of its own, under a key that is not there.
    pub(crate) fn insert_boxed(
        &mut self,
        key: &Key<'_>,
        value: Value,
        trace: Trace,
        hasher: &KeyHasher,
        tally: &mut Tally,
    ) {
        self.insert(key, &Draft::boxed(key.bytes, value, None).trace(trace), hasher, tally);
    }

    /// Adds an entry under a key that is not there.
    #[inline]
    pub(crate) fn insert(&mut self, key: &Key<'_>, draft: &Draft<'_>, hasher: &KeyHasher, tally: &mut Tally) {
        let tag = tag_of(key.hash);
        let count = self.pages.as_slice().len();
        if count == 0 {
            let page = Page::with_entry(tag, draft, tally);
            self.pages = Pages::One { entries: 1, pages: [page] };
            return;
        }
        let page = page_of(key.hash, count);
        let rebuilt = self.page_mut(key.slot, page, tally).push(tag, draft, tally);
        self.pages.count_entries(1);
        // One page is rebuilt for an insert, not two: a split that is due waits for the next one.
        if !rebuilt && self.len() > count * PAGE_ENTRIES_MEAN_MAX {
            self.split(hasher, tally);
        }
    }

    /// Removes an entry.
    pub(crate) fn remove(&mut self, slot: Slot, place: Place, tally: &mut Tally) {
        let (page, index) = self.at_mut(slot, place, tally);
        page.remove(index, tally);
        self.pages.count_entries(-1);
        self.shrink(slot, tally);
    }

    /// Removes an entry and gives its value.
    pub(crate) fn take(&mut self, slot: Slot, place: Place, tally: &mut Tally) -> Value {
        let (page, index) = self.at_mut(slot, place, tally);
        let value = page.take_value(index, tally);
        self.remove(slot, place, tally);
        value
    }

    /// Shows all keys.
    pub(crate) fn for_each_key(&self, show: &mut dyn FnMut(&[u8])) {
        for page in self.pages.as_slice() {
            (0..page.count()).for_each(|index| show(page.key(index)));
        }
    }

    /// No entry expires before this; reads the head of every page.
    pub(crate) fn earliest(&self) -> i64 {
        self.pages.as_slice().iter().map(Page::earliest).min().unwrap_or(NEVER)
    }

    /// Removes what has expired from up to `pages_max` of the pages in which something may have; shows every such key.
    pub(crate) fn sweep(
        &mut self,
        slot: Slot,
        now: UnixMillis,
        pages_max: usize,
        tally: &mut Tally,
        show: &mut dyn FnMut(&[u8]),
    ) -> Sweep {
        let mut sweep = Sweep::default();
        for number in 0..self.pages.as_slice().len() {
            if is_expired(self.pages.as_slice()[number].earliest(), now) {
                if sweep.pages == pages_max {
                    break;
                }
                sweep.pages += 1;
                sweep.removed += self.page_mut(slot, number, tally).sweep(now, tally, show);
            }
        }
        self.pages.count_entries(-(sweep.removed as i32));
        self.shrink(slot, tally);
        sweep
    }

    /// The `rank`-th entry, in no particular order.
    pub(crate) fn nth(&self, mut rank: usize) -> Option<Place> {
        for (number, page) in self.pages.as_slice().iter().enumerate() {
            if rank < page.count() {
                return Some(Place { page: number, index: rank, layout: page.layout(rank) });
            }
            rank -= page.count();
        }
        None
    }

    /// Frees one page, if there is any; for tables that are no longer in use: counts become wrong. What is costly to
    /// free goes to `dead`.
    pub(crate) fn free_page(&mut self, dead: &mut Vec<Value>) -> bool {
        match &mut self.pages {
            Pages::Many { pages, .. } if pages.len() > 1 => {
                pages.pop().into_iter().for_each(|mut page| page.take_heavy(dead));
                true
            }
            pages => {
                let mut last = mem::replace(pages, Pages::Empty);
                last.as_mut_slice().iter_mut().for_each(|page| page.take_heavy(dead));
                !last.as_slice().is_empty()
            }
        }
    }

    /// One more page.
    fn split(&mut self, hasher: &KeyHasher, tally: &mut Tally) {
        let count = self.pages.as_slice().len();
        let bit = 1_u64 << count.ilog2();
        let source = count - (1 << count.ilog2());
        let moves = |page: &Page, index: usize| hasher.hash(page.key(index)) & bit != 0;
        let new = self.pages.as_mut_slice()[source].split(moves, tally);
        self.pages.push(new, tally);
    }

    /// One page less, as long as there are too many; none when there are no keys.
    fn shrink(&mut self, slot: Slot, tally: &mut Tally) {
        while self.pages.as_slice().len() > 1 && self.len() < self.pages.as_slice().len() * PAGE_ENTRIES_MEAN_MIN {
            let count = self.pages.as_slice().len() - 1;
            let source = count - (1 << count.ilog2());
            // A snapshot that needs one half needs it as it is: it may have passed the other half.
            self.page_mut(slot, count, tally);
            let last = self.pages.pop(tally);
            self.page_mut(slot, source, tally).merge(last, tally);
        }
        if self.len() == 0
            && let Pages::One { pages: [page], .. } = mem::replace(&mut self.pages, Pages::Empty)
        {
            tally.bytes -= page.size();
        }
    }
}

/// The page of a hash among `count` pages.
#[inline]
fn page_of(hash: u64, count: usize) -> usize {
    let level = count.ilog2();
    let page = (hash & ((2 << level) - 1)) as usize;
    if page < count { page } else { page & ((1 << level) - 1) }
}

/// The byte that the page's index keeps of a hash; page and scan position use the other end of it.
#[inline]
pub(crate) fn tag_of(hash: u64) -> u8 {
    (hash >> 56) as u8
}

const _: () = assert!(size_of::<SlotTable>() == 32);
const _: () = assert!(PAGE_ENTRIES_MEAN_MIN * 2 < PAGE_ENTRIES_MEAN_MAX);
