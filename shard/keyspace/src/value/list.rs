//! Lists: one packed run while small, a deque of shared chunks beyond.
//!
//! Where a list changes from one form to the other and back, and how chunks split and merge, are Redis 7.2's rules
//! (`t_list.c`, `quicklist.c`), so that `OBJECT ENCODING` says the same of both. The cost on an envelope: the default
//! chunk of 8 KiB holds some 700 elements of 10 bytes; a list of 10 M is 15,000 chunks in 120 segments: an index is
//! found in 250 steps and half a chunk, and a clone copies 120 references.

mod build;
mod limit;
mod spine;
#[cfg(test)]
mod tests;

pub use build::{ListBuilder, NoEntries, PackedRun};
pub use limit::PackedLimit;

use super::packed::{Element, Encoded, End, Run};
use alloc::boxed::Box;
use core::ops::{ControlFlow, Range};
use spine::Spine;

/// A list of byte strings.
///
/// A clone shares its chunks until one of the two changes them.
#[derive(Clone, Debug)]
pub struct List(Form);

#[derive(Clone, Debug)]
enum Form {
    Packed(Run),
    Chunked(Box<Spine>),
}

/// Parts of a list that were cut off and whose memory is to be given back by and by:
/// [`Keyspace::bury`](crate::Keyspace::bury) does. Dropping it gives all back at once.
#[derive(Debug, Default)]
#[must_use = "a large list is freed in slices"]
pub struct Remains(pub(crate) Option<List>);

/// Where a new element goes, seen from one that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Before it.
    Before,
    /// Behind it.
    After,
}

impl List {
    /// A list without elements; no key holds one for longer than a command.
    pub(crate) fn new() -> Self {
        Self(Form::Packed(Run::default()))
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        match &self.0 {
            Form::Packed(run) => run.len(),
            Form::Chunked(spine) => spine.len(),
        }
    }

    /// Whether there are no elements.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is one packed run (`OBJECT ENCODING`: `listpack`; else `quicklist`).
    pub fn is_packed(&self) -> bool {
        matches!(self.0, Form::Packed(_))
    }

    /// Bytes that it occupies on the heap; what it shares with clones counts in full.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        match &self.0 {
            Form::Packed(run) => run.heap_bytes(),
            Form::Chunked(spine) => spine.heap_bytes(),
        }
    }

    /// Bytes that a clone does not share with it.
    pub(crate) fn own_bytes(&self) -> usize {
        match &self.0 {
            Form::Packed(run) => run.heap_bytes(),
            Form::Chunked(spine) => spine.own_bytes(),
        }
    }

    /// Bytes of what it gave up since the last call while clones of it had that too.
    #[inline]
    pub(crate) fn take_detached(&mut self) -> usize {
        match &mut self.0 {
            Form::Packed(_) => 0,
            Form::Chunked(spine) => core::mem::take(&mut spine.detached),
        }
    }

    /// The element at `index`, counted from the back (−1 is the last) if negative.
    pub fn at(&self, index: i64) -> Option<Element<'_>> {
        let index = self.index(index)?;
        match &self.0 {
            Form::Packed(run) => run.iter_from(index).next().map(|raw| raw.element()),
            Form::Chunked(spine) => spine.at(index),
        }
    }

    /// The element at an end.
    #[inline]
    pub fn end(&self, end: End) -> Option<Element<'_>> {
        let run = match &self.0 {
            Form::Packed(run) => run,
            Form::Chunked(spine) => spine.end_run(end)?,
        };
        let mut elements = run.iter();
        let raw = match end {
            End::Front => elements.next(),
            End::Back => elements.next_back(),
        };
        raw.map(|raw| raw.element())
    }

    /// Shows the elements of `range` (within the list) in order, from its `start` on.
    #[inline]
    pub fn visit(&self, range: Range<usize>, mut show: impl FnMut(Element<'_>)) {
        match &self.0 {
            Form::Packed(run) => run.iter_from(range.start).take(range.len()).for_each(|raw| show(raw.element())),
            Form::Chunked(spine) => spine.visit(range, show),
        }
    }

    /// Shows the elements of `range` (within the list) in reverse order, from its `end` on.
    pub fn visit_back(&self, range: Range<usize>, mut show: impl FnMut(Element<'_>)) {
        match &self.0 {
            Form::Packed(run) => {
                run.iter_before(range.end).rev().take(range.len()).for_each(|raw| show(raw.element()));
            }
            Form::Chunked(spine) => spine.visit_back(range, show),
        }
    }

    /// Shows where elements equal `wanted`, beginning at the end `from`, among the first `compared_max` of them;
    /// until `show` breaks.
    pub fn find(&self, wanted: &[u8], from: End, compared_max: usize, mut show: impl FnMut(usize) -> ControlFlow<()>) {
        let wanted = Encoded::new(wanted);
        let mut look =
            |run: &Run, first: usize| find_in(run, &wanted, from, first, self.len(), compared_max, &mut show);
        match &self.0 {
            Form::Packed(run) => _ = look(run, 0),
            Form::Chunked(spine) => _ = spine.runs(from, look),
        }
    }

    /// Adds elements at an end, one by one.
    #[inline]
    pub fn push<'v>(&mut self, end: End, values: impl Iterator<Item = &'v [u8]> + Clone, limit: PackedLimit) {
        let added = values.clone().fold((0, 0), |(count, bytes), value| (count + 1, bytes + value.len()));
        self.prepare(added.0, added.1, limit);
        for value in values {
            self.push_one(end, value);
        }
        self.set_touched(true);
    }

    /// Counts it as changed, as a command does that writes to it and finds nothing to do.
    pub fn touch(&mut self) {
        self.set_touched(true);
    }

    /// Whether it was changed since [`forget_touch`](Self::forget_touch).
    #[inline]
    pub(crate) fn is_touched(&self) -> bool {
        match &self.0 {
            Form::Packed(run) => run.is_touched(),
            Form::Chunked(spine) => spine.is_touched,
        }
    }

    /// Starts to look for changes.
    #[inline]
    pub(crate) fn forget_touch(&mut self) {
        self.set_touched(false);
    }

    #[inline]
    fn set_touched(&mut self, touched: bool) {
        match &mut self.0 {
            Form::Packed(run) => run.set_touched(touched),
            Form::Chunked(spine) => spine.is_touched = touched,
        }
    }

    #[inline]
    fn push_one(&mut self, end: End, value: &[u8]) {
        let element = Encoded::new(value);
        match &mut self.0 {
            Form::Packed(run) => run.push(end, &element),
            Form::Chunked(spine) => spine.push(end, &element, value.len()),
        }
    }

    /// Removes the element at an end, if there is one.
    #[inline]
    pub fn pop(&mut self, end: End, limit: PackedLimit) {
        match &mut self.0 {
            Form::Packed(run) => run.pop(end),
            Form::Chunked(spine) => {
                spine.pop(end);
                self.settle(limit);
            }
        }
        self.set_touched(true);
    }

    /// Removes the elements of `range` (within the list).
    pub fn remove(&mut self, range: Range<usize>, limit: PackedLimit) -> Remains {
        let remains = match &mut self.0 {
            Form::Packed(run) => {
                run.remove(range);
                None
            }
            Form::Chunked(spine) => {
                let remains = spine.remove(range);
                self.settle(limit);
                remains
            }
        };
        self.set_touched(true);
        Remains(remains.map(|spine| Self(Form::Chunked(spine))))
    }

    /// Removes elements that equal `value`, at most `count_max` of them, the first ones seen from the end `from`; how
    /// many were removed.
    pub fn remove_equal(&mut self, value: &[u8], from: End, count_max: usize, limit: PackedLimit) -> usize {
        let element = Encoded::new(value);
        let removed = match &mut self.0 {
            Form::Packed(run) => remove_equal_in(run, &element, from, count_max),
            Form::Chunked(spine) => spine.remove_equal(&element, from, count_max),
        };
        if removed > 0 {
            self.settle(limit);
            self.set_touched(true);
        }
        removed
    }

    /// Puts a value in the place of the one at `index` (negative: from the back); whether there is one.
    pub fn set(&mut self, index: i64, value: &[u8], limit: PackedLimit) -> bool {
        // As in Redis, the form may change even if the index is beyond the list.
        self.prepare(1, value.len(), limit);
        let Some(index) = self.index(index) else { return false };
        let element = Encoded::new(value);
        match &mut self.0 {
            Form::Packed(run) => run.replace(index, &element),
            Form::Chunked(spine) => {
                spine.replace(index, &element);
                self.settle(limit);
            }
        }
        self.set_touched(true);
        true
    }

    /// Puts a value beside the first element that equals `pivot`; whether there is one.
    pub fn insert(&mut self, side: Side, pivot: &[u8], value: &[u8], limit: PackedLimit) -> bool {
        self.prepare(1, value.len(), limit);
        let mut found = None;
        self.find(pivot, End::Front, usize::MAX, |index| {
            found = Some(index);
            ControlFlow::Break(())
        });
        let Some(index) = found else { return false };
        let element = Encoded::new(value);
        match (&mut self.0, side) {
            (Form::Packed(run), Side::Before) => run.insert(index, &element),
            (Form::Packed(run), Side::After) => run.insert(index + 1, &element),
            (Form::Chunked(spine), side) => spine.insert(index, side, &element, value.len()),
        }
        self.set_touched(true);
        true
    }

    /// Frees some of a list that is no longer needed, up to `chunks_max` chunks; whether there is more of it.
    pub(crate) fn free_some(&mut self, chunks_max: usize) -> bool {
        match &mut self.0 {
            Form::Packed(_) => false,
            Form::Chunked(spine) => spine.free_some(chunks_max),
        }
    }

    /// Number of allocations that it holds, about: what freeing it costs.
    pub(crate) fn chunks(&self) -> usize {
        match &self.0 {
            Form::Packed(_) => 1,
            Form::Chunked(spine) => spine.chunks(),
        }
    }

    /// The place of an index that may be negative.
    #[inline]
    fn index(&self, index: i64) -> Option<usize> {
        let len = self.len() as i64;
        let index = if index < 0 { index + len } else { index };
        (0..len).contains(&index).then_some(index as usize)
    }

    /// Becomes chunked if it could become too large for a packed run with so many more elements of so many bytes
    /// (`listTypeTryConvertListpack`).
    #[inline]
    fn prepare(&mut self, count: usize, bytes: usize, limit: PackedLimit) {
        if let Form::Packed(run) = &mut self.0
            && limit.is_exceeded(run.listpack_bytes() + bytes, run.len() + count)
        {
            self.0 = Form::Chunked(Box::new(Spine::new(core::mem::take(run), limit)));
        }
    }

    /// Becomes packed if one chunk is left and it is well below the limit (`listTypeTryConvertQuicklist`).
    #[inline]
    fn settle(&mut self, limit: PackedLimit) {
        if let Form::Chunked(spine) = &mut self.0
            && let Some(run) = spine.take_small(limit)
        {
            self.0 = Form::Packed(run);
        }
    }
}

/// Removes equal elements from a run, the first ones seen from the end `from`.
fn remove_equal_in(run: &mut Run, element: &Encoded<'_>, from: End, count_max: usize) -> usize {
    match from {
        End::Front => run.remove_equal(element, 0, count_max),
        End::Back => {
            let found = run.iter().filter(|raw| raw.is(element)).count();
            run.remove_equal(element, found.saturating_sub(count_max), count_max)
        }
    }
}

/// Looks through a run whose first element has the index `first` in a list of `len`.
fn find_in(
    run: &Run,
    wanted: &Encoded<'_>,
    from: End,
    first: usize,
    len: usize,
    compared_max: usize,
    show: &mut impl FnMut(usize) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let before = match from {
        End::Front => first,
        End::Back => len - first - run.len(),
    };
    let left = compared_max.saturating_sub(before);
    match from {
        _ if left == 0 => return ControlFlow::Break(()),
        End::Front => {
            for (index, raw) in run.iter().take(left).enumerate() {
                if raw.is(wanted) {
                    show(first + index)?;
                }
            }
        }
        End::Back => {
            for (index, raw) in run.iter().rev().take(left).enumerate() {
                if raw.is(wanted) {
                    show(first + run.len() - 1 - index)?;
                }
            }
        }
    }
    ControlFlow::Continue(())
}
