//! Walking a slot in the order of bit-reversed hashes.

use super::{SlotTable, page_of};
use crate::KeyHasher;
use crate::page::Page;
use crate::value::ValueRef;
use alloc::vec::Vec;
use slotmesh_base::UnixMillis;

/// Bits of a position; the hash bits that choose a page and the order are that many lowest ones.
pub(super) const POSITION_BITS: u32 = 48;

/// The place of a hash in the order of its slot.
pub(crate) fn position_of(hash: u64) -> u64 {
    hash.reverse_bits() >> (64 - POSITION_BITS)
}

impl SlotTable {
    /// Visits the entries from `position` on that have not expired, until `budget` entries have been looked at
    /// (more only where several have one position). Returns the position to go on from, `None` at the end.
    pub(crate) fn scan(
        &self,
        mut position: u64,
        budget: &mut usize,
        now: UnixMillis,
        hasher: &KeyHasher,
        visit: &mut dyn FnMut(&[u8], ValueRef<'_>),
    ) -> Option<u64> {
        let pages = self.pages.as_slice();
        if pages.is_empty() {
            return None;
        }
        while *budget > 0 {
            let hash = (position << (64 - POSITION_BITS)).reverse_bits();
            let number = page_of(hash, pages.len());
            let width = POSITION_BITS - page_bits(number, pages.len());
            let start = position >> width << width;
            let is_whole = position == start;
            let rest = scan_page(&pages[number], position, is_whole, budget, now, hasher, visit);
            position = rest.unwrap_or(start + (1 << width));
            if position == 1 << POSITION_BITS {
                return None;
            }
        }
        Some(position)
    }
}

/// Visits the entries of a page from `position` on, in order; where to go on if the budget ended before the page.
fn scan_page(
    page: &Page,
    position: u64,
    is_whole: bool,
    budget: &mut usize,
    now: UnixMillis,
    hasher: &KeyHasher,
    visit: &mut dyn FnMut(&[u8], ValueRef<'_>),
) -> Option<u64> {
    let mut show = |index: usize| {
        if !page.is_expired(index, now) {
            visit(page.key(index), page.entry(index).value);
        }
    };
    if is_whole && page.count() <= *budget {
        // Nobody sees the order within what one call visits.
        (0..page.count()).for_each(&mut show);
        *budget -= page.count();
        return None;
    }
    let mut order: Vec<(u64, usize)> = (0..page.count())
        .map(|index| (position_of(hasher.hash(page.key(index))), index))
        .filter(|&(place, _)| place >= position)
        .collect();
    order.sort_unstable();
    let mut entries = order.into_iter().peekable();
    while let Some((place, index)) = entries.next() {
        show(index);
        *budget = budget.saturating_sub(1);
        if *budget == 0 && entries.peek().is_some_and(|&(next, _)| next != place) {
            return Some(place + 1);
        }
    }
    None
}

/// How many low hash bits the keys of a page share.
pub(super) fn page_bits(number: usize, count: usize) -> u32 {
    let level = count.ilog2();
    // The pages split at this level, and those that came from them, are told apart by one more bit.
    let is_split = (number & ((1 << level) - 1)) + (1 << level) < count;
    level + u32::from(is_split)
}
