//! A packed run: elements one behind the other in one allocation, readable from both ends.
//!
//! The live bytes stand between a gap in front and the spare room behind, so that both ends are cheap to push to and
//! to pop from: only where neither side has room are they moved. The allocation grows by the allocator's sizes
//! (2^k times 1, 1.25, 1.5, 1.75), so it is never larger than what an exact one would occupy, and shrinks when less
//! than half of it is in use.

mod entry;
#[cfg(test)]
mod tests;

pub use entry::Element;
pub(crate) use entry::{Encoded, Raw};

use alloc::vec::Vec;
use core::ops::Range;

/// Bytes around the entries of a Redis listpack: total length, count, end (`LP_HDR_SIZE` and `LP_EOF`).
const LISTPACK_FRAME_BYTES: usize = 7;

/// Smallest allocation, in bytes.
const RUN_BYTES_MIN: usize = 16;

/// Above this an allocation grows by pages and no longer by quarters, in bytes: it holds one long element.
const QUARTERS_BYTES_MAX: usize = 128 << 10;

/// A bit of a run's count, which is far below it: every element has two bytes at least.
const TOUCHED: u32 = 1 << 31;

/// Bytes of a page of memory.
const PAGE_BYTES: usize = 4096;

/// An end of a run or list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Where index 0 is.
    Front,
    /// Where index −1 is.
    Back,
}

/// Elements in one allocation.
#[derive(Debug, Default)]
pub(crate) struct Run {
    /// The gap, then the live bytes.
    bytes: Vec<u8>,
    /// Bytes of the gap.
    gap: u32,
    /// Number of elements, and the bit [`TOUCHED`].
    count: u32,
}

impl Run {
    /// Entries of a listpack that somebody else has packed, each as it would be packed here; nothing, if they are none.
    pub(crate) fn of_packed(entries: &[u8]) -> Option<Self> {
        let (mut rest, mut count, mut is_ours) = (entries, 0_u32, true);
        while !rest.is_empty() {
            let (raw, next) = Raw::checked(rest)?;
            is_ours = is_ours && raw.is_canonical();
            rest = &rest[next..];
            count += 1;
        }
        let mut run = Self::with_room(entries.len());
        if is_ours {
            run.bytes.extend_from_slice(entries);
            run.count = count;
        } else {
            Iter { bytes: entries }.for_each(|raw| run.push(End::Back, &Encoded::of(raw.element())));
        }
        Some(run)
    }

    /// Number of elements.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        (self.count & !TOUCHED) as usize
    }

    /// Whether the mark is set that [`set_touched`](Self::set_touched) sets. Changes of the run may lose it.
    #[inline]
    pub(crate) fn is_touched(&self) -> bool {
        self.count & TOUCHED != 0
    }

    /// Sets or removes a mark that has a meaning for the list only.
    #[inline]
    pub(crate) fn set_touched(&mut self, touched: bool) {
        self.count = self.count & !TOUCHED | if touched { TOUCHED } else { 0 };
    }

    /// The elements as they are packed.
    pub(crate) fn packed(&self) -> &[u8] {
        self.live()
    }

    /// Bytes of the elements.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.bytes.len() - self.gap as usize
    }

    /// Bytes that a Redis listpack with these elements has.
    #[inline]
    pub(crate) fn listpack_bytes(&self) -> usize {
        self.size() + LISTPACK_FRAME_BYTES
    }

    /// Bytes allocated.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// The elements.
    #[inline]
    pub(crate) fn iter(&self) -> Iter<'_> {
        Iter { bytes: self.live() }
    }

    /// The elements from `index` on.
    #[inline]
    pub(crate) fn iter_from(&self, index: usize) -> Iter<'_> {
        Iter { bytes: &self.live()[self.offset(index)..] }
    }

    /// The elements before `index`.
    #[inline]
    pub(crate) fn iter_before(&self, index: usize) -> Iter<'_> {
        Iter { bytes: &self.live()[..self.offset(index)] }
    }

    /// Adds an element at an end.
    #[inline]
    pub(crate) fn push(&mut self, end: End, element: &Encoded<'_>) {
        match end {
            End::Front => {
                let room = self.open_front(element.size());
                element.write(&mut self.bytes[room]);
            }
            End::Back => {
                self.reserve_back(element.size());
                element.append(&mut self.bytes);
            }
        }
        self.count += 1;
    }

    /// Removes the element at an end.
    #[inline]
    pub(crate) fn pop(&mut self, end: End) {
        if self.len() == 0 {
            return;
        }
        self.count -= 1;
        match end {
            End::Front => self.widen_gap(Raw::first(self.live()).1),
            End::Back => self.bytes.truncate(self.gap as usize + Raw::last(self.live()).1),
        }
        self.shrink();
    }

    /// Puts an element before the one at `index` (or behind the last one).
    pub(crate) fn insert(&mut self, index: usize, element: &Encoded<'_>) {
        let (at, size) = (self.offset(index), element.size());
        if index == 0 {
            return self.push(End::Front, element);
        }
        let old_size = self.size();
        self.open_back(size);
        let at = self.gap as usize + at;
        let end = self.gap as usize + old_size;
        self.bytes.copy_within(at..end, at + size);
        element.write(&mut self.bytes[at..at + size]);
        self.count += 1;
    }

    /// Puts an element in the place of the one at `index`.
    pub(crate) fn replace(&mut self, index: usize, element: &Encoded<'_>) {
        let at = self.offset(index);
        let (_, old_size) = Raw::first(&self.live()[at..]);
        let (size, live_size) = (element.size(), self.size());
        if size > old_size {
            self.open_back(size - old_size);
        }
        let at = self.gap as usize + at;
        let end = self.gap as usize + live_size;
        self.bytes.copy_within(at + old_size..end, at + size);
        self.bytes.truncate(end + size - old_size);
        element.write(&mut self.bytes[at..at + size]);
        self.shrink();
    }

    /// Removes elements.
    pub(crate) fn remove(&mut self, range: Range<usize>) {
        if range.is_empty() {
            return;
        }
        let (start, end) = (self.offset(range.start), self.offset(range.end));
        self.count -= range.len() as u32;
        if start == 0 {
            self.widen_gap(end);
        } else {
            let gap = self.gap as usize;
            self.bytes.drain(gap + start..gap + end);
        }
        self.shrink();
    }

    /// Removes the elements that are `element`, but not the first `spared` of them, and at most `count_max`; how many
    /// were removed.
    pub(crate) fn remove_equal(&mut self, element: &Encoded<'_>, spared: usize, count_max: usize) -> usize {
        let (mut read, mut write) = (self.gap as usize, self.gap as usize);
        let (mut found, mut removed) = (0, 0);
        while read < self.bytes.len() {
            let (raw, size) = Raw::first(&self.bytes[read..]);
            let is_equal = raw.is(element);
            found += usize::from(is_equal);
            if is_equal && found > spared && removed < count_max {
                removed += 1;
            } else {
                if removed > 0 {
                    self.bytes.copy_within(read..read + size, write);
                }
                write += size;
            }
            read += size;
        }
        self.bytes.truncate(write);
        self.count -= removed as u32;
        self.shrink();
        removed
    }

    /// Takes the elements from `index` on away.
    pub(crate) fn split_off(&mut self, index: usize) -> Self {
        let at = self.gap as usize + self.offset(index);
        let mut rest = Self::with_room(self.bytes.len() - at);
        rest.bytes.extend_from_slice(&self.bytes[at..]);
        rest.count = self.count - index as u32;
        self.bytes.truncate(at);
        self.count = index as u32;
        self.shrink();
        rest
    }

    /// Takes over the elements of another run, behind its own.
    pub(crate) fn append(&mut self, other: &Self) {
        let room = self.open_back(other.size());
        self.bytes[room].copy_from_slice(other.live());
        self.count += other.len() as u32;
    }

    #[inline]
    fn live(&self) -> &[u8] {
        &self.bytes[self.gap as usize..]
    }

    /// Where the element at `index` begins among the live bytes; found from the nearer end.
    #[inline]
    fn offset(&self, index: usize) -> usize {
        let live = self.live();
        if index <= self.len() / 2 {
            let mut offset = 0;
            for _ in 0..index {
                offset += Raw::first(&live[offset..]).1;
            }
            offset
        } else {
            let mut offset = live.len();
            for _ in index..self.len() {
                offset = Raw::last(&live[..offset]).1;
            }
            offset
        }
    }

    fn with_room(size: usize) -> Self {
        Self { bytes: Vec::with_capacity(allocation(size)), gap: 0, count: 0 }
    }

    #[inline]
    fn widen_gap(&mut self, by: usize) {
        if self.len() > 0 {
            self.gap = u32::try_from(self.gap as usize + by).expect("elements so long stand alone");
        }
    }

    /// Makes `size` more bytes live at the back: where they are.
    #[inline]
    fn open_back(&mut self, size: usize) -> Range<usize> {
        self.reserve_back(size);
        let start = self.bytes.len();
        self.bytes.resize(start + size, 0);
        start..start + size
    }

    #[inline]
    fn reserve_back(&mut self, size: usize) {
        if self.bytes.len() + size > self.bytes.capacity() {
            self.make_room_behind(size);
        }
    }

    #[cold]
    fn make_room_behind(&mut self, size: usize) {
        let needed = allocation(self.size() + size);
        if needed > self.bytes.capacity() {
            if self.gap == 0 {
                // May grow where it is.
                return self.bytes.reserve_exact(needed - self.bytes.len());
            }
            let mut bytes = Vec::with_capacity(needed);
            bytes.extend_from_slice(self.live());
            self.bytes = bytes;
        } else {
            self.bytes.drain(..self.gap as usize);
        }
        self.gap = 0;
    }

    /// Makes `size` more bytes live at the front: where they are.
    #[inline]
    fn open_front(&mut self, size: usize) -> Range<usize> {
        if (self.gap as usize) < size {
            self.make_room_in_front(size);
        }
        self.gap -= size as u32;
        let start = self.gap as usize;
        start..start + size
    }

    /// All room goes to the front: who pushes there once does so again.
    #[cold]
    fn make_room_in_front(&mut self, size: usize) {
        let live = self.size();
        let needed = allocation(live + size);
        if needed > self.bytes.capacity() {
            let mut bytes = Vec::with_capacity(needed);
            bytes.resize(needed - live, 0);
            bytes.extend_from_slice(self.live());
            self.bytes = bytes;
        } else {
            let (start, end) = (self.gap as usize, self.bytes.len());
            self.bytes.resize(self.bytes.capacity(), 0);
            let new_start = self.bytes.len() - live;
            self.bytes.copy_within(start..end, new_start);
        }
        self.gap = u32::try_from(self.bytes.len() - live).expect("an element comes from a request");
    }

    /// Gives memory back of which less than half is in use.
    #[inline]
    fn shrink(&mut self) {
        if self.len() == 0 {
            *self = Self::default();
            return;
        }
        if self.bytes.capacity() > RUN_BYTES_MIN && self.size() * 2 <= self.bytes.capacity() {
            self.reallocate();
        }
    }

    #[cold]
    fn reallocate(&mut self) {
        let needed = allocation(self.size());
        if needed * 2 <= self.bytes.capacity() {
            let mut bytes = Vec::with_capacity(needed);
            bytes.extend_from_slice(self.live());
            self.bytes = bytes;
            self.gap = 0;
        }
    }
}

/// A copy is as small as it can be.
impl Clone for Run {
    fn clone(&self) -> Self {
        let mut copy = Self::with_room(self.size());
        copy.bytes.extend_from_slice(self.live());
        copy.count = self.count;
        copy
    }
}

/// Elements of a run, from both ends.
#[derive(Clone, Debug)]
pub(crate) struct Iter<'a> {
    bytes: &'a [u8],
}

impl<'a> Iterator for Iter<'a> {
    type Item = Raw<'a>;

    #[inline]
    fn next(&mut self) -> Option<Raw<'a>> {
        if self.bytes.is_empty() {
            return None;
        }
        let (raw, next) = Raw::first(self.bytes);
        self.bytes = &self.bytes[next..];
        Some(raw)
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        if self.bytes.is_empty() {
            return None;
        }
        let (raw, start) = Raw::last(self.bytes);
        self.bytes = &self.bytes[..start];
        Some(raw)
    }
}

/// The allocation for so many bytes.
#[inline]
fn allocation(size: usize) -> usize {
    if size <= RUN_BYTES_MIN {
        return RUN_BYTES_MIN;
    }
    if size > QUARTERS_BYTES_MAX {
        return size.next_multiple_of(PAGE_BYTES);
    }
    // Below 128 bytes the allocator's sizes are multiples of 16.
    let step = (1 << ((size - 1).ilog2() - 2)).max(RUN_BYTES_MIN);
    size.next_multiple_of(step)
}
