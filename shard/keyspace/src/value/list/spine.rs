//! A large list: chunks in segments, both shared with clones until they change.
//!
//! A chunk is a packed run behind a counted reference; a segment is up to 128 of them, itself behind one. Cloning
//! copies a reference per segment; a write to a clone or its origin copies one segment's references and one
//! chunk. Every segment has a chunk and every chunk an element.

mod edit;

use super::PackedLimit;
use crate::value::packed::{Element, Encoded, End, Run};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::mem;
use core::ops::{ControlFlow, Range};

/// Most chunks of a segment.
const SEGMENT_CHUNKS_MAX: usize = 128;

/// What a counted reference adds to what it refers to, in bytes.
const COUNTERS_BYTES: usize = 2 * size_of::<usize>();

/// The chunks of a large list.
#[derive(Clone, Debug)]
pub(super) struct Spine {
    segments: VecDeque<Segment>,
    /// Elements.
    len: usize,
    chunks: usize,
    /// Bytes of all segments.
    bytes: usize,
    /// The limit of chunks, from when the list outgrew a run (as in Redis, a new setting does not change it).
    limit: PackedLimit,
    /// A mark of the list, see there.
    pub(super) is_touched: bool,
    /// Bytes of chunks that it gave up while clones had them too, since that was asked last.
    pub(super) detached: usize,
}

#[derive(Clone, Debug)]
struct Segment {
    /// Elements.
    len: usize,
    /// Bytes on the heap, those of the chunks included.
    bytes: usize,
    chunks: Arc<VecDeque<Chunk>>,
}

#[derive(Clone, Debug)]
struct Chunk {
    /// Elements; here too, so that an index is found without a look at the runs.
    len: u32,
    run: Arc<Run>,
}

/// The place of a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Spot {
    segment: usize,
    chunk: usize,
}

impl Spine {
    /// The elements of a run that becomes too small for them.
    pub(super) fn new(run: Run, limit: PackedLimit) -> Self {
        let is_touched = run.is_touched();
        let limit = limit.for_chunks();
        let mut spine = Self { segments: VecDeque::new(), len: 0, chunks: 0, bytes: 0, limit, is_touched, detached: 0 };
        if run.len() > 0 {
            spine.insert_chunk(Spot { segment: 0, chunk: 0 }, run);
        }
        spine
    }

    /// Number of elements.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Number of chunks.
    pub(super) fn chunks(&self) -> usize {
        self.chunks
    }

    /// Bytes on the heap.
    #[inline]
    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.segments.capacity() * size_of::<Segment>() + self.bytes
    }

    /// Bytes that a clone does not share with it.
    pub(super) fn own_bytes(&self) -> usize {
        self.heap_bytes() - self.bytes
    }

    /// The element at an index within the list.
    pub(super) fn at(&self, index: usize) -> Option<Element<'_>> {
        let (spot, offset) = self.locate(index)?;
        self.run(spot).iter_from(offset).next().map(|raw| raw.element())
    }

    /// The run at an end.
    #[inline]
    pub(super) fn end_run(&self, end: End) -> Option<&Run> {
        self.end_spot(end).map(|spot| self.run(spot))
    }

    /// Shows the elements of a range, forwards.
    pub(super) fn visit(&self, range: Range<usize>, mut show: impl FnMut(Element<'_>)) {
        let Some((first, mut offset)) = self.locate(range.start) else { return };
        let (mut left, mut next) = (range.len(), Some(first));
        while let (Some(spot), 1..) = (next, left) {
            for raw in self.run(spot).iter_from(offset).take(left) {
                show(raw.element());
                left -= 1;
            }
            offset = 0;
            next = self.next(spot);
        }
    }

    /// Shows the elements of a range, backwards.
    pub(super) fn visit_back(&self, range: Range<usize>, mut show: impl FnMut(Element<'_>)) {
        let Some((last, offset)) = range.end.checked_sub(1).and_then(|index| self.locate(index)) else { return };
        let (mut left, mut next) = (range.len(), Some(last));
        let mut end = offset + 1;
        while let (Some(spot), 1..) = (next, left) {
            for raw in self.run(spot).iter_before(end).rev().take(left) {
                show(raw.element());
                left -= 1;
            }
            next = self.previous(spot);
            end = next.map_or(0, |spot| self.run(spot).len());
        }
    }

    /// Shows all runs with the index of their first element, beginning at an end, until `look` breaks.
    pub(super) fn runs(&self, from: End, mut look: impl FnMut(&Run, usize) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut next = self.end_spot(from);
        let mut first = 0;
        while let Some(spot) = next {
            let run = self.run(spot);
            match from {
                End::Front => {
                    look(run, first)?;
                    first += run.len();
                    next = self.next(spot);
                }
                End::Back => {
                    first += run.len();
                    look(run, self.len - first)?;
                    next = self.previous(spot);
                }
            }
        }
        ControlFlow::Continue(())
    }

    /// Shows all runs in order.
    pub(super) fn visit_runs(&self, mut show: impl FnMut(&Run)) {
        self.segments.iter().flat_map(|segment| segment.chunks.iter()).for_each(|chunk| show(&chunk.run));
    }

    /// Gives the run back if it is the only one and well below `limit`.
    pub(super) fn take_small(&mut self, limit: PackedLimit) -> Option<Run> {
        self.take_run(|bytes, count| !limit.is_half_reached(bytes, count))
    }

    /// Gives the run back if it is the only one and within `limit`.
    pub(super) fn take_only(&mut self, limit: PackedLimit) -> Option<Run> {
        self.take_run(|bytes, count| !limit.is_exceeded(bytes, count))
    }

    /// Gives the run back if it is the only one and `is_small` for its bytes and elements.
    fn take_run(&mut self, is_small: impl FnOnce(usize, usize) -> bool) -> Option<Run> {
        if self.chunks != 1 || !is_small(self.end_run(End::Front)?.listpack_bytes(), self.len) {
            return None;
        }
        let segment = self.segments.pop_front()?;
        let chunk = Arc::unwrap_or_clone(segment.chunks).pop_front()?;
        Some(Arc::unwrap_or_clone(chunk.run))
    }

    /// Frees up to `chunks_max` chunks; whether there are more. Counts become wrong.
    pub(super) fn free_some(&mut self, chunks_max: usize) -> bool {
        let mut left = chunks_max;
        while left > 0
            && let Some(segment) = self.segments.back_mut()
        {
            match Arc::get_mut(&mut segment.chunks) {
                Some(chunks) if chunks.len() > left => {
                    chunks.truncate(chunks.len() - left);
                    break;
                }
                Some(chunks) => {
                    left -= chunks.len();
                    self.segments.pop_back();
                }
                // Somebody else has it, and will free it.
                None => {
                    left -= 1;
                    self.segments.pop_back();
                }
            }
        }
        !self.segments.is_empty()
    }

    #[inline]
    fn run(&self, spot: Spot) -> &Run {
        &self.segments[spot.segment].chunks[spot.chunk].run
    }

    #[inline]
    fn end_spot(&self, end: End) -> Option<Spot> {
        match end {
            End::Front => (!self.segments.is_empty()).then_some(Spot { segment: 0, chunk: 0 }),
            End::Back => {
                let segment = self.segments.len().checked_sub(1)?;
                Some(Spot { segment, chunk: self.segments[segment].chunks.len() - 1 })
            }
        }
    }

    #[inline]
    fn next(&self, spot: Spot) -> Option<Spot> {
        if spot.chunk + 1 < self.segments[spot.segment].chunks.len() {
            return Some(Spot { chunk: spot.chunk + 1, ..spot });
        }
        (spot.segment + 1 < self.segments.len()).then_some(Spot { segment: spot.segment + 1, chunk: 0 })
    }

    #[inline]
    fn previous(&self, spot: Spot) -> Option<Spot> {
        if let Some(chunk) = spot.chunk.checked_sub(1) {
            return Some(Spot { chunk, ..spot });
        }
        let segment = spot.segment.checked_sub(1)?;
        Some(Spot { segment, chunk: self.segments[segment].chunks.len() - 1 })
    }

    /// The chunk of an index and the offset there, found from the nearer end.
    fn locate(&self, index: usize) -> Option<(Spot, usize)> {
        if index >= self.len {
            return None;
        }
        let (segment, index) = locate(&self.segments, self.len, index, |segment| segment.len);
        let Segment { len, chunks, .. } = &self.segments[segment];
        let (chunk, offset) = locate(chunks, *len, index, |chunk| chunk.len as usize);
        Some((Spot { segment, chunk }, offset))
    }

    /// The chunk with that many before it.
    fn nth(&self, mut ordinal: usize) -> Option<Spot> {
        for (segment, Segment { chunks, .. }) in self.segments.iter().enumerate() {
            if ordinal < chunks.len() {
                return Some(Spot { segment, chunk: ordinal });
            }
            ordinal -= chunks.len();
        }
        None
    }

    /// How many chunks are before this one.
    fn ordinal(&self, spot: Spot) -> usize {
        self.segments.iter().take(spot.segment).map(|segment| segment.chunks.len()).sum::<usize>() + spot.chunk
    }
}

impl Segment {
    fn new(chunks: Arc<VecDeque<Chunk>>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len as usize).sum();
        let own_bytes = COUNTERS_BYTES + size_of::<VecDeque<Chunk>>() + chunks.capacity() * size_of::<Chunk>();
        let bytes = own_bytes + chunks.iter().map(Chunk::heap_bytes).sum::<usize>();
        Self { len, bytes, chunks }
    }
}

impl Chunk {
    /// Bytes of the run and what is around it.
    #[inline]
    fn heap_bytes(&self) -> usize {
        COUNTERS_BYTES + size_of::<Run>() + self.run.heap_bytes()
    }
}

/// The part in which the element `index` is, and its index there. The parts have `len` elements, more than `index`.
#[inline]
fn locate<P>(parts: &VecDeque<P>, len: usize, index: usize, len_of: impl Fn(&P) -> usize) -> (usize, usize) {
    if index < len / 2 {
        let mut first = 0;
        for (number, part) in parts.iter().enumerate() {
            if index - first < len_of(part) {
                return (number, index - first);
            }
            first += len_of(part);
        }
    } else {
        let mut end = len;
        for (number, part) in parts.iter().enumerate().rev() {
            let first = end - len_of(part);
            if index >= first {
                return (number, index - first);
            }
            end = first;
        }
    }
    unreachable!("the index is within the list")
}

#[cfg(test)]
impl Spine {
    /// Panics if its own numbers do not fit its parts.
    pub(super) fn check(&self) {
        let (mut len, mut chunks, mut bytes) = (0, 0, 0);
        for segment in &self.segments {
            assert!((1..=SEGMENT_CHUNKS_MAX).contains(&segment.chunks.len()));
            assert!(segment.chunks.iter().all(|chunk| chunk.run.len() > 0 && chunk.run.len() == chunk.len as usize));
            let part = Segment::new(segment.chunks.clone());
            assert_eq!((part.len, part.bytes), (segment.len, segment.bytes));
            len += part.len;
            bytes += part.bytes;
            chunks += segment.chunks.len();
        }
        assert_eq!((len, chunks, bytes), (self.len, self.chunks, self.bytes));
    }

    /// How many chunks are the same memory in both.
    pub(super) fn shared_chunks(&self, other: &Self) -> usize {
        let pointers = |spine: &Self| -> std::collections::BTreeSet<*const Run> {
            spine
                .segments
                .iter()
                .flat_map(|segment| segment.chunks.iter())
                .map(|chunk| Arc::as_ptr(&chunk.run))
                .collect()
        };
        pointers(self).intersection(&pointers(other)).count()
    }
}
