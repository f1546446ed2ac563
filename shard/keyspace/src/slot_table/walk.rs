//! What snapshots want of a slot: its pages in the order of their positions, and each of them before it changes.

use super::scan::{POSITION_BITS, page_bits, position_of};
use super::{SlotTable, page_of};
use crate::Cursor;
use crate::page::Page;
use crate::tally::Tally;
use slotmesh_base::Slot;

/// The position behind the last one of a slot.
pub(crate) const POSITION_END: u64 = 1 << POSITION_BITS;

impl SlotTable {
    /// The page that keys at `position` are in, and where its interval of positions ends.
    pub(crate) fn page_at(&self, position: u64) -> Option<(&Page, u64)> {
        let pages = self.pages.as_slice();
        if pages.is_empty() {
            return None;
        }
        let hash = (position << (64 - POSITION_BITS)).reverse_bits();
        let number = page_of(hash, pages.len());
        let width = POSITION_BITS - page_bits(number, pages.len());
        Some((&pages[number], (position >> width << width) + (1 << width)))
    }

    /// A page that is about to change; it is kept for those snapshots that need it as it is.
    #[inline]
    pub(super) fn page_mut(&mut self, slot: Slot, number: usize, tally: &mut Tally) -> &mut Page {
        let page = &mut self.pages.as_mut_slice()[number];
        if page.version() < tally.captures.epoch() {
            // All hashes of a page end in its number: the smallest of them, reversed, is nothing but that.
            let start = Cursor { slot, position: position_of(number as u64) };
            tally.captures.preserve(start, page);
        }
        page
    }
}
