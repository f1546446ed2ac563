//! Making a page anew: larger, smaller, compacted, or two from one and one from two.

use super::{COUNT, END, FLAGS, GARBAGE, HAS_RECORDS, INDEX_CAPACITY, NEVER, Page, TAGS, is_wide};
use crate::buffer::{Buffer, LENGTH_BYTES};
use crate::tally::Tally;
use alloc::vec::Vec;

/// Smallest page in bytes: one line.
const PAGE_BYTES_MIN: usize = 64;

/// A page that has no room and would be rebuilt at the same size must win this share of it, or it grows: else
/// a nearly full page would be rebuilt for every change.
const COMPACTION_WIN: usize = 16;

impl Page {
    /// An empty page, at least `size_min` bytes, with room for `count` entries of `entry_bytes` in all.
    pub(super) fn fitting(count: usize, entry_bytes: usize, size_min: usize, tally: &mut Tally) -> Self {
        let size = size_for(count, entry_bytes, size_min);
        let room = size - LENGTH_BYTES - TAGS;
        let offset_bytes = offset_bytes(size);
        // The room in proportion to what fills it: `count` entries take `entry_bytes` and their index.
        let count = count.max(1);
        let capacity = room * count / (entry_bytes + (1 + offset_bytes) * count);
        let mut page = Self(Buffer::zeroed(size));
        page.set_number(INDEX_CAPACITY, capacity);
        page.set_number(END, TAGS + (1 + offset_bytes) * capacity);
        page.set_earliest(NEVER);
        tally.bytes += page.size();
        page
    }

    /// Whether that many more index places and bytes are free.
    #[inline]
    pub(super) fn has_room(&self, places: usize, bytes: usize) -> bool {
        self.count() + places <= self.number(INDEX_CAPACITY) && self.number(END) + bytes <= self.0.len()
    }

    /// Makes room for `places` more entries and `bytes` more bytes, and drops the garbage. The bytes of the
    /// entry `without` are not kept; the caller writes it anew.
    #[cold]
    pub(super) fn rebuild(&mut self, places: usize, bytes: usize, without: Option<usize>, tally: &mut Tally) {
        let left_out = without.map_or(0, |index| self.layout(index).size());
        let (count, entry_bytes) = (self.count() + places, self.live_bytes() - left_out + bytes);
        let same_size = size_for(count, entry_bytes, 0) == self.size();
        let used = needed(count, entry_bytes, offset_bytes(self.size()));
        let size_min = if same_size { used + used / COMPACTION_WIN } else { 0 };
        let mut page = Self::fitting(count, entry_bytes, size_min, tally);
        if without.is_none() && self.number(GARBAGE) == 0 {
            page.adopt_all(self);
        } else {
            (0..self.count()).for_each(|index| page.adopt(self, index, without == Some(index)));
        }
        page.set_earliest(self.earliest());
        self.become_page(page, tally);
    }

    /// Shrinks the page if less than half of it is in use.
    pub(super) fn shrink(&mut self, tally: &mut Tally) {
        if self.count() == 0 {
            return self.clear(tally);
        }
        let size = size_for(self.count(), self.live_bytes(), 0);
        if size * 2 <= self.size() && self.size() > PAGE_BYTES_MIN {
            self.rebuild(0, 0, None, tally);
        }
    }

    fn clear(&mut self, tally: &mut Tally) {
        if self.size() > PAGE_BYTES_MIN || self.number(GARBAGE) > 0 {
            let page = Self::fitting(0, 0, 0, tally);
            self.become_page(page, tally);
        }
        self.set_earliest(NEVER);
        self.0[FLAGS] &= !HAS_RECORDS;
    }

    /// Moves the entries that `moves` names (by index) to a new page; both are as small as they can be.
    pub(crate) fn split(&mut self, moves: impl Fn(&Self, usize) -> bool, tally: &mut Tally) -> Self {
        let moves: Vec<bool> = (0..self.count()).map(|index| moves(self, index)).collect();
        let (mut counts, mut bytes) = ([0; 2], [0; 2]);
        for (index, &moves) in moves.iter().enumerate() {
            counts[usize::from(moves)] += 1;
            bytes[usize::from(moves)] += self.layout(index).size();
        }
        let mut stay = Self::fitting(counts[0], bytes[0], 0, tally);
        let mut gone = Self::fitting(counts[1], bytes[1], 0, tally);
        for (index, &moves) in moves.iter().enumerate() {
            let page = if moves { &mut gone } else { &mut stay };
            page.adopt(self, index, false);
            page.note_earliest(self.expiry(index));
        }
        gone.set_version(self.version());
        self.become_page(stay, tally);
        gone
    }

    /// Takes over all entries of `other`. Both have been kept for the snapshots that need them.
    pub(crate) fn merge(&mut self, mut other: Self, tally: &mut Tally) {
        let (count, bytes) = (self.count() + other.count(), self.live_bytes() + other.live_bytes());
        let mut page = Self::fitting(count, bytes, 0, tally);
        for from in [&*self, &other] {
            for index in 0..from.count() {
                page.adopt(from, index, false);
            }
        }
        page.set_earliest(self.earliest().min(other.earliest()));
        self.become_page(page, tally);
        other.forget_entries();
        tally.bytes -= other.size();
    }

    /// Copies an entry of another page, which must forget it. Without its bytes only its place is taken.
    #[inline]
    fn adopt(&mut self, from: &Self, index: usize, without_bytes: bool) {
        let (place, start) = (self.count(), self.number(END));
        self.0[TAGS + place] = from.0[TAGS + index];
        self.set_number(COUNT, place + 1);
        self.set_offset(place, start);
        if without_bytes {
            return;
        }
        let layout = from.layout(index);
        self.0[start..start + layout.size()].copy_from_slice(&from.0[layout.start..layout.end()]);
        self.set_number(END, start + layout.size());
        if layout.is_boxed() {
            self.0[FLAGS] |= HAS_RECORDS;
        }
    }

    /// Copies all entries of a page without garbage, which must forget them, into this empty one, at once.
    fn adopt_all(&mut self, from: &Self) {
        let (count, from_start, start) = (from.count(), from.entries_start(), self.number(END));
        let length = from.number(END) - from_start;
        self.0[start..start + length].copy_from_slice(&from.0[from_start..from_start + length]);
        self.0[TAGS..TAGS + count].copy_from_slice(&from.0[TAGS..TAGS + count]);
        (0..count).for_each(|index| self.set_offset(index, from.offset(index) - from_start + start));
        self.set_number(COUNT, count);
        self.set_number(END, start + length);
        self.0[FLAGS] |= from.0[FLAGS] & HAS_RECORDS;
    }

    /// Becomes `page`, which has copied what is to be kept.
    fn become_page(&mut self, mut page: Self, tally: &mut Tally) {
        page.set_version(self.version());
        self.forget_entries();
        tally.bytes -= self.size();
        *self = page;
    }

    /// Bytes of the entries that are there.
    fn live_bytes(&self) -> usize {
        self.number(END) - self.entries_start() - self.number(GARBAGE)
    }

    fn entries_start(&self) -> usize {
        TAGS + (1 + offset_bytes(self.size())) * self.number(INDEX_CAPACITY)
    }
}

fn offset_bytes(size: usize) -> usize {
    if is_wide(size) { 4 } else { 2 }
}

/// Size of a page for so many entries with so many bytes, at least `size_min`.
fn size_for(count: usize, entry_bytes: usize, size_min: usize) -> usize {
    let size = size_class(needed(count, entry_bytes, 2).max(size_min));
    if !is_wide(size) {
        return size;
    }
    size_class(needed(count, entry_bytes, 4).max(size))
}

/// Bytes that such a page uses.
fn needed(count: usize, entry_bytes: usize, offset_bytes: usize) -> usize {
    LENGTH_BYTES + TAGS + (1 + offset_bytes) * count + entry_bytes
}

/// The next size that allocators have: 2^k times 1, 1.25, 1.5 or 1.75.
fn size_class(size: usize) -> usize {
    if size <= PAGE_BYTES_MIN {
        return PAGE_BYTES_MIN;
    }
    let step = 1 << ((size - 1).ilog2() - 2);
    size.next_multiple_of(step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_grow_by_a_quarter_at_most() {
        let mut size = PAGE_BYTES_MIN;
        while size < 1 << 20 {
            let next = size_class(size + 1);
            assert!(next > size && next <= size + size / 4, "{size} {next}");
            assert_eq!(size_class(next), next);
            size = next;
        }
    }
}
