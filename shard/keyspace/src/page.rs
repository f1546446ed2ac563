//! A page: up to a few dozen entries of one slot, packed into one allocation.
//!
//! ```text
//! length u32 | count u32 | index capacity u32 | end of entries u32 | garbage u32 | earliest expiry i64
//! version u32 | flags u8
//! tags     u8  [index capacity]   one byte of each key's hash, compared 64 at a time
//! offsets  u16 [index capacity]   where each entry starts (u32 in a page beyond 64 KiB)
//! entries                         see `entry.rs`
//! ```
//! A lookup reads the first line (header and most tags), one offset, one entry. New entries are appended; what
//! an overwritten or removed one leaves behind is garbage until the page is rebuilt, which happens when
//! there is no room, or much too much. Sizes are the allocator's (2^k times 1, 1.25, 1.5, 1.75), so a page grows by
//! at most a quarter; a rebuild shares the room between index and entries so that both fill at about the same time.
//!
//! On an envelope: key and value of 16 bytes are 38 bytes and 3 of index; the mean page is eight ninths full.

mod boxed;
mod entry;
mod rebuild;
mod records;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use boxed::live;

use crate::access::{Access, TRACE_BYTES, Trace};
use crate::buffer::{Buffer, LENGTH_BYTES, prefetch};
use crate::tags::{GROUP, matches};
use crate::tally::Tally;
use crate::value::{Entry, StringForm, Value, ValueRef};
use alloc::vec;
use alloc::vec::Vec;
use boxed::Boxed;
use core::fmt;
pub(crate) use entry::{Draft, INLINE_BYTES_MAX, Layout};
use entry::{EXPIRES, LONG_KEY, WORD_BYTES, fits_inline};
use slotmesh_base::{Rng, UnixMillis};

const COUNT: usize = 0;
const INDEX_CAPACITY: usize = 4;
const END: usize = 8;
const GARBAGE: usize = 12;
const EARLIEST: usize = 16;
const VERSION: usize = 24;
const FLAGS: usize = 28;
/// Where the tags begin.
const TAGS: usize = 29;

/// Some entry has (or had, since the last rebuild) a record on the heap.
const HAS_RECORDS: u8 = 1;

/// The earliest expiry of a page without any: nothing can expire at the end of time.
pub(crate) const NEVER: i64 = i64::MAX;

/// Above this capacity a string grows by quarters and no longer by doubling, in bytes.
const DOUBLING_BYTES_MAX: usize = 1 << 20;

/// Whether an entry that expires at `expiry` has expired: at that very millisecond it has not
/// (Redis 7.2, `db.c`, `keyIsExpired`).
#[inline]
pub(crate) fn is_expired(expiry: i64, now: UnixMillis) -> bool {
    now.0 > expiry
}

/// Whether two keys are equal; eight bytes at a time, since a call costs more than comparing a short key. What is left
/// behind the last whole eight is compared by the eight bytes that end there.
#[inline(always)]
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let differ = |word: &[u8; 8], other: &[u8; 8]| u64::from_ne_bytes(*word) != u64::from_ne_bytes(*other);
    let ((words, tail), (other_words, other_tail)) = (one.as_chunks::<8>(), other.as_chunks::<8>());
    if words.iter().zip(other_words).any(|(word, other)| differ(word, other)) {
        return false;
    }
    match (one.last_chunk(), other.last_chunk()) {
        (Some(end), Some(other_end)) => tail.is_empty() || !differ(end, other_end),
        _ => tail.iter().zip(other_tail).all(|(byte, other)| byte == other),
    }
}

/// Some entries of one slot. Entries are named by their index, which holds until the next change.
pub(crate) struct Page(Buffer);

impl Page {
    /// An empty page with room for one entry of that many bytes.
    fn new(entry_bytes: usize, tally: &mut Tally) -> Self {
        Self::fitting(1, entry_bytes, 0, tally)
    }

    /// A page with one entry.
    pub(crate) fn with_entry(tag: u8, draft: &Draft<'_>, tally: &mut Tally) -> Self {
        let mut page = Self::new(draft.size(), tally);
        page.set_version(tally.captures.epoch());
        page.push(tag, draft, tally);
        page
    }

    /// Number of entries.
    #[inline]
    pub(crate) fn count(&self) -> usize {
        self.number(COUNT)
    }

    /// Bytes allocated for the page itself.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.0.size()
    }

    /// The epoch that snapshots go by: none of this epoch or an older one needs the page (see `snapshot.rs`).
    #[inline]
    pub(crate) fn version(&self) -> u32 {
        self.number(VERSION) as u32
    }

    /// Sets [`version`](Self::version).
    #[inline]
    pub(crate) fn set_version(&mut self, version: u32) {
        self.set_number(VERSION, version as usize);
    }

    /// No entry expires before this ([`NEVER`]: none does at all).
    #[inline]
    pub(crate) fn earliest(&self) -> i64 {
        let mut word = [0; WORD_BYTES];
        word.copy_from_slice(&self.0[EARLIEST..EARLIEST + WORD_BYTES]);
        i64::from_ne_bytes(word)
    }

    /// The index of `key`, whose hash has the tag `tag`, and how its entry stands.
    #[inline(always)]
    pub(crate) fn find(&self, tag: u8, key: &[u8]) -> Option<(usize, Layout)> {
        let count = self.count();
        let mut found = self.tags_equal(tag) & first_bits(count);
        // Keys whose tags are equal are rare, and so are pages of more than a group.
        while found != 0 {
            let index = found.trailing_zeros() as usize;
            let layout = self.layout(index);
            if self.has_key(layout, key) {
                return Some((index, layout));
            }
            found &= found - 1;
        }
        if count > GROUP { self.find_behind(tag, key) } else { None }
    }

    /// The same among the entries behind the first group.
    #[cold]
    fn find_behind(&self, tag: u8, key: &[u8]) -> Option<(usize, Layout)> {
        let same = (GROUP..self.count()).filter(|index| self.0[TAGS + index] == tag);
        let mut entries = same.map(|index| (index, self.layout(index)));
        entries.find(|&(_, layout)| self.has_key(layout, key))
    }

    /// Which of the tags of the first group are `tag`; the bits behind the last tag mean nothing.
    #[inline(always)]
    fn tags_equal(&self, tag: u8) -> u64 {
        match self.0[TAGS..].first_chunk() {
            Some(group) => matches(group, tag),
            None => self.tags_equal_in_small(tag),
        }
    }

    /// The same in a small page, that ends before a whole group does.
    #[inline(never)]
    fn tags_equal_in_small(&self, tag: u8) -> u64 {
        let tags = &self.0[TAGS..];
        let mut group = [0; GROUP];
        group[..tags.len()].copy_from_slice(tags);
        matches(&group, tag)
    }

    #[inline]
    fn has_key(&self, layout: Layout, key: &[u8]) -> bool {
        if layout.flags & LONG_KEY == 0 { is_equal(layout.key(&self.0), key) } else { self.has_long_key(layout, key) }
    }

    #[cold]
    fn has_long_key(&self, layout: Layout, key: &[u8]) -> bool {
        self.record(layout).is_some_and(|record| record.key() == key)
    }

    /// The key of an entry.
    #[inline]
    pub(crate) fn key(&self, index: usize) -> &[u8] {
        let layout = self.layout(index);
        match self.record(layout) {
            Some(record) if layout.flags & LONG_KEY != 0 => record.key(),
            _ => layout.key(&self.0),
        }
    }

    /// The value and expiry of an entry.
    #[inline]
    pub(crate) fn entry(&self, index: usize) -> Entry<'_> {
        self.entry_at(self.layout(index))
    }

    #[inline]
    fn entry_at(&self, layout: Layout) -> Entry<'_> {
        let value = match self.record(layout) {
            None => ValueRef::String(layout.value(&self.0)),
            Some(record) => record.value.borrow(),
        };
        Entry { value, expires_at: layout.expiry(&self.0).map(UnixMillis) }
    }

    /// The form of an entry's string.
    pub(crate) fn form(&self, index: usize) -> StringForm {
        self.layout(index).form()
    }

    /// Bytes that an entry occupies here, its place in the index included, and on the heap.
    pub(crate) fn entry_bytes(&self, index: usize) -> usize {
        let layout = self.layout(index);
        let place = 1 + if is_wide(self.size()) { 4 } else { 2 };
        place + layout.size() + self.record(layout).map_or(0, Boxed::bytes)
    }

    /// When an entry expires.
    #[inline]
    pub(crate) fn expiry(&self, index: usize) -> Option<i64> {
        self.expiry_at(self.layout(index))
    }

    /// When an entry that stands so expires.
    #[inline]
    pub(crate) fn expiry_at(&self, layout: Layout) -> Option<i64> {
        layout.expiry(&self.0)
    }

    /// Whether an entry has expired.
    #[inline]
    pub(crate) fn is_expired(&self, index: usize, now: UnixMillis) -> bool {
        self.has_expired(self.layout(index), now)
    }

    /// Whether an entry that stands so has expired.
    #[inline]
    pub(crate) fn has_expired(&self, layout: Layout, now: UnixMillis) -> bool {
        self.expiry_at(layout).is_some_and(|expiry| is_expired(expiry, now))
    }

    /// The trace of the last access to an entry.
    pub(crate) fn trace(&self, index: usize) -> Trace {
        self.layout(index).trace(&self.0)
    }

    /// The value and expiry of an entry, in which the access leaves its trace.
    #[inline]
    pub(crate) fn touched_entry(
        &mut self,
        layout: Layout,
        access: Access,
        now: UnixMillis,
        rng: &mut Rng,
    ) -> Entry<'_> {
        self.touch(layout, access, now, rng);
        self.entry_at(layout)
    }

    /// Leaves the trace of an access to an entry, which is no change, also not of how it stands.
    #[inline]
    pub(crate) fn touch(&mut self, layout: Layout, access: Access, now: UnixMillis, rng: &mut Rng) {
        let trace = access.touched(layout.trace(&self.0), now, rng);
        layout.set_trace(&mut self.0, trace);
    }

    /// Gives the entry of `key` a string in some form, and an expiry.
    #[inline]
    pub(crate) fn set_string(
        &mut self,
        (index, layout): (usize, Layout),
        key: &[u8],
        (value, form): (&[u8], StringForm),
        expiry: Option<i64>,
        tally: &mut Tally,
    ) {
        if layout.overwrite(&mut self.0, value, expiry, tally) {
            layout.set_form(&mut self.0, form);
            return self.note_earliest(expiry);
        }
        if let Some(record) = self.record_alone(layout)
            && !fits_inline(key, value.len())
        {
            let old_bytes = record.bytes();
            let old = record.value.overwrite(value);
            tally.change_bytes(old_bytes, record.bytes());
            old.into_iter().for_each(|old| tally.bury(old));
            layout.set_form(&mut self.0, form);
            return self.set_expiry(index, expiry, tally);
        }
        self.replace(index, &Draft::string(key, value, expiry).form(form), tally);
    }

    /// Appends to the string of `key`, which is no other type; its new length.
    pub(crate) fn append(&mut self, index: usize, key: &[u8], tail: &[u8], tally: &mut Tally) -> usize {
        let layout = self.layout(index);
        if let Some(record) = self.record_alone(layout) {
            let old_bytes = record.bytes();
            let Value::String(string) = &mut record.value else { return 0 };
            extend(string, tail);
            let length = string.len();
            tally.change_bytes(old_bytes, record.bytes());
            layout.set_form(&mut self.0, StringForm::Raw);
            return length;
        }
        let Entry { value: ValueRef::String(old), expires_at } = self.entry(index) else { return 0 };
        let expiry = expires_at.map(|at| at.0);
        let length = old.len() + tail.len();
        if fits_inline(key, length) {
            let mut joined = [0; INLINE_BYTES_MAX];
            joined[..old.len()].copy_from_slice(old);
            joined[old.len()..length].copy_from_slice(tail);
            self.replace(index, &Draft::string(key, &joined[..length], expiry).form(StringForm::Raw), tally);
        } else {
            let mut joined = Vec::with_capacity(length);
            joined.extend_from_slice(old);
            joined.extend_from_slice(tail);
            self.replace(index, &Draft::boxed(key, Value::String(joined), expiry).form(StringForm::Raw), tally);
        }
        length
    }

    /// Changes the string of `key` in place, made longer with zeros if it is shorter than `length_min`; `None` if it is
    /// no string. Whether it has changed is true as well if it has grown.
    pub(crate) fn edit_string<R>(
        &mut self,
        index: usize,
        key: &[u8],
        length_min: usize,
        tally: &mut Tally,
        change: impl FnOnce(&mut [u8]) -> (R, bool),
    ) -> Option<(R, bool)> {
        let layout = self.layout(index);
        if let Some(record) = self.record_alone(layout) {
            let old_bytes = record.bytes();
            let Value::String(string) = &mut record.value else { return None };
            let grows = string.len() < length_min;
            lengthen(string, length_min);
            let (result, has_changed) = change(string);
            tally.change_bytes(old_bytes, record.bytes());
            layout.set_form(&mut self.0, StringForm::Raw);
            return Some((result, grows || has_changed));
        }
        let Entry { value: ValueRef::String(old), expires_at } = self.entry(index) else { return None };
        if !layout.is_boxed() && length_min <= old.len() {
            layout.set_form(&mut self.0, StringForm::Raw);
            return Some(change(layout.value_mut(&mut self.0)));
        }
        let expiry = expires_at.map(|at| at.0);
        let (length, grows) = (old.len().max(length_min), old.len() < length_min);
        if fits_inline(key, length) {
            let mut longer = [0; INLINE_BYTES_MAX];
            longer[..old.len()].copy_from_slice(old);
            let (result, has_changed) = change(&mut longer[..length]);
            self.replace(index, &Draft::string(key, &longer[..length], expiry).form(StringForm::Raw), tally);
            return Some((result, grows || has_changed));
        }
        // All zero at once, so that the system need not give the memory of a long gap.
        let mut longer = vec![0; length];
        longer[..old.len()].copy_from_slice(old);
        let (result, has_changed) = change(&mut longer);
        self.replace(index, &Draft::boxed(key, Value::String(longer), expiry).form(StringForm::Raw), tally);
        Some((result, grows || has_changed))
    }

    /// Changes when an entry expires.
    #[inline]
    pub(crate) fn set_expiry(&mut self, index: usize, expiry: Option<i64>, tally: &mut Tally) {
        let layout = self.layout(index);
        let old = layout.expiry(&self.0);
        tally.change_expiry(old, expiry);
        match (old, expiry) {
            (None, None) => {}
            (Some(_), Some(expiry)) => {
                self.0[layout.end() - WORD_BYTES..layout.end()].copy_from_slice(&expiry.to_ne_bytes())
            }
            (Some(_), None) => {
                self.0[layout.start] &= !EXPIRES;
                self.add_garbage(WORD_BYTES);
            }
            (None, Some(expiry)) => self.widen_by_expiry(index, expiry, tally),
        }
        self.note_earliest(expiry);
    }

    /// Moves an entry to the end of the entries and adds an expiry to it.
    fn widen_by_expiry(&mut self, index: usize, expiry: i64, tally: &mut Tally) {
        let size = self.layout(index).size();
        if !self.has_room(0, size + WORD_BYTES) {
            self.rebuild(0, size + WORD_BYTES, None, tally);
        }
        let layout = self.layout(index);
        let end = self.number(END);
        let bytes = &mut *self.0;
        bytes.copy_within(layout.start..layout.end(), end);
        bytes[end] |= EXPIRES;
        bytes[end + size..end + size + WORD_BYTES].copy_from_slice(&expiry.to_ne_bytes());
        self.set_offset(index, end);
        self.set_number(END, end + size + WORD_BYTES);
        self.add_garbage(size);
    }

    /// Removes an entry; the last one takes its index.
    pub(crate) fn remove(&mut self, index: usize, tally: &mut Tally) {
        self.unlink(index, tally);
        self.shrink(tally);
    }

    /// Removes all entries that have expired and makes the earliest expiry exact; how many were removed. Shows their
    /// keys.
    pub(crate) fn sweep(&mut self, now: UnixMillis, tally: &mut Tally, show: &mut dyn FnMut(&[u8])) -> usize {
        let before = self.count();
        let mut earliest = NEVER;
        for index in (0..before).rev() {
            match self.expiry(index) {
                Some(expiry) if is_expired(expiry, now) => {
                    show(self.key(index));
                    self.unlink(index, tally);
                }
                Some(expiry) => earliest = earliest.min(expiry),
                None => {}
            }
        }
        self.set_earliest(earliest);
        self.shrink(tally);
        before - self.count()
    }

    fn unlink(&mut self, index: usize, tally: &mut Tally) {
        let layout = self.layout(index);
        tally.change_expiry(layout.expiry(&self.0), None);
        let record = layout.record(&self.0);
        let last = self.count() - 1;
        self.0[TAGS + index] = self.0[TAGS + last];
        self.set_offset(index, self.offset(last));
        self.set_number(COUNT, last);
        if layout.end() == self.number(END) {
            self.set_number(END, layout.start);
        } else {
            self.add_garbage(layout.size());
        }
        if let Some(record) = record {
            self.free_record(record, tally);
        }
    }

    /// Adds an entry under a key that is not there; whether the page had to be rebuilt.
    pub(crate) fn push(&mut self, tag: u8, draft: &Draft<'_>, tally: &mut Tally) -> bool {
        let size = draft.size();
        let rebuilt = !self.has_room(1, size);
        if rebuilt {
            self.rebuild(1, size, None, tally);
        }
        let (index, start) = (self.count(), self.number(END));
        self.0[TAGS + index] = tag;
        self.set_offset(index, start);
        self.set_number(COUNT, index + 1);
        self.set_number(END, start + size);
        self.write(start, draft, Trace([0; TRACE_BYTES]), tally);
        tally.change_expiry(None, draft.expiry);
        rebuilt
    }

    /// Puts an entry of the same key in the place of one.
    #[inline]
    pub(crate) fn replace(&mut self, index: usize, draft: &Draft<'_>, tally: &mut Tally) {
        let (layout, size) = (self.layout(index), draft.size());
        tally.change_expiry(layout.expiry(&self.0), draft.expiry);
        let (record, trace) = (layout.record(&self.0), layout.trace(&self.0));
        if size <= layout.size() {
            self.add_garbage(layout.size() - size);
            self.write(layout.start, draft, trace, tally);
        } else {
            if self.has_room(0, size) {
                self.add_garbage(layout.size());
            } else {
                self.rebuild(0, size, Some(index), tally);
            }
            let start = self.number(END);
            self.set_offset(index, start);
            self.set_number(END, start + size);
            self.write(start, draft, trace, tally);
        }
        if let Some(record) = record {
            self.free_record(record, tally);
        }
    }

    #[inline]
    fn write(&mut self, start: usize, draft: &Draft<'_>, trace: Trace, tally: &mut Tally) {
        draft.write(&mut self.0, start, trace);
        if draft.is_boxed() {
            tally.bytes += draft.heap_bytes;
            self.0[FLAGS] |= HAS_RECORDS;
        }
        self.note_earliest(draft.expiry);
    }

    /// Asks for the lines that a lookup reads first. Reads nothing.
    #[inline]
    pub(crate) fn prefetch(&self) {
        prefetch(self.0.address(0));
        prefetch(self.0.address(64));
        prefetch(self.0.address(128));
    }

    /// Asks for the lines of the entry that has this tag, most likely. Reads header and index.
    #[inline]
    pub(crate) fn prefetch_entry(&self, tag: u8) {
        let found = self.tags_equal(tag) & first_bits(self.count());
        if found != 0 {
            let start = self.offset(found.trailing_zeros() as usize);
            prefetch(self.0.address(start));
            prefetch(self.0.address(start + 63));
        }
    }

    #[inline]
    fn number(&self, at: usize) -> usize {
        let mut word = [0; 4];
        word.copy_from_slice(&self.0[at..at + 4]);
        u32::from_ne_bytes(word) as usize
    }

    #[inline]
    fn set_number(&mut self, at: usize, number: usize) {
        // A page's size is below 2^31, and so is everything counted in it.
        self.0[at..at + 4].copy_from_slice(&(number as u32).to_ne_bytes());
    }

    #[inline]
    fn add_garbage(&mut self, bytes: usize) {
        if bytes > 0 {
            self.set_number(GARBAGE, self.number(GARBAGE) + bytes);
        }
    }

    #[inline]
    fn note_earliest(&mut self, expiry: Option<i64>) {
        if let Some(expiry) = expiry
            && expiry < self.earliest()
        {
            self.set_earliest(expiry);
        }
    }

    #[inline]
    fn set_earliest(&mut self, earliest: i64) {
        self.0[EARLIEST..EARLIEST + WORD_BYTES].copy_from_slice(&earliest.to_ne_bytes());
    }

    /// How an entry stands.
    #[inline]
    pub(crate) fn layout(&self, index: usize) -> Layout {
        Layout::read(&self.0, self.offset(index))
    }

    #[inline]
    fn offset(&self, index: usize) -> usize {
        let offsets = TAGS + self.number(INDEX_CAPACITY);
        if is_wide(self.size()) {
            self.number(offsets + index * 4)
        } else {
            let at = offsets + index * 2;
            usize::from(u16::from_ne_bytes([self.0[at], self.0[at + 1]]))
        }
    }

    #[inline]
    fn set_offset(&mut self, index: usize, offset: usize) {
        let offsets = TAGS + self.number(INDEX_CAPACITY);
        if is_wide(self.size()) {
            self.set_number(offsets + index * 4, offset);
        } else {
            let at = offsets + index * 2;
            self.0[at..at + 2].copy_from_slice(&(offset as u16).to_ne_bytes());
        }
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("count", &self.count()).field("size", &self.size()).finish_non_exhaustive()
    }
}

/// A bit for each of the first `count` tags of a group.
#[inline(always)]
fn first_bits(count: usize) -> u64 {
    if count < GROUP { (1 << count) - 1 } else { u64::MAX }
}

/// Whether a page of this size has offsets of four bytes.
#[inline]
fn is_wide(size: usize) -> bool {
    size > 1 << 16
}

/// Appends zeros up to a length, with room to spare as [`extend`].
fn lengthen(string: &mut Vec<u8>, length: usize) {
    if length > string.capacity() {
        let spare = if length < DOUBLING_BYTES_MAX { length } else { length / 4 };
        string.reserve_exact(length + spare - string.len());
    }
    if length > string.len() {
        string.resize(length, 0);
    }
}

/// Appends with room to spare: double below [`DOUBLING_BYTES_MAX`], a quarter above.
fn extend(string: &mut Vec<u8>, tail: &[u8]) {
    let length = string.len() + tail.len();
    if length > string.capacity() {
        let spare = if length < DOUBLING_BYTES_MAX { length } else { length / 4 };
        string.reserve_exact(tail.len() + spare);
    }
    string.extend_from_slice(tail);
}

const _: () = assert!(TAGS == FLAGS + 1 && LENGTH_BYTES == 4);
