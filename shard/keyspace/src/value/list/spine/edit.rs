//! Changes of a large list.

use super::{
    Arc, COUNTERS_BYTES, Chunk, Encoded, End, Range, Run, SEGMENT_CHUNKS_MAX, Segment, Spine, Spot, VecDeque, mem,
};
use crate::value::list::{Side, remove_equal_in};
use alloc::boxed::Box;

/// What Redis thinks an element adds to a chunk beyond its own bytes (`SIZE_ESTIMATE_OVERHEAD`).
const ELEMENT_OVERHEAD_BYTES: usize = 8;

/// An element that replaces another and is longer than this gets a chunk of its own, in bytes: it would be moved
/// with every change of its neighbours. (Redis keeps it where it is; nobody sees the difference.)
const SHARED_ELEMENT_BYTES_MAX: usize = 64 << 10;

impl Spine {
    /// Adds an element at an end.
    #[inline]
    pub(in super::super) fn push(&mut self, end: End, element: &Encoded<'_>, value_bytes: usize) {
        match self.end_spot(end) {
            Some(spot) if self.has_room(spot, value_bytes) => self.edit(spot, |run| run.push(end, element)),
            Some(spot) => self.push_chunk(spot, end, element),
            None => self.push_chunk(Spot { segment: 0, chunk: 0 }, End::Front, element),
        }
    }

    /// Adds a run behind all others; it has elements.
    pub(in super::super) fn push_run(&mut self, run: Run) {
        let spot = self.end_spot(End::Back).map_or(Spot { segment: 0, chunk: 0 }, behind);
        self.insert_chunk(spot, run);
    }

    #[cold]
    fn push_chunk(&mut self, spot: Spot, end: End, element: &Encoded<'_>) {
        let mut run = Run::default();
        run.push(end, element);
        self.insert_chunk(if end == End::Front { spot } else { behind(spot) }, run);
    }

    /// Removes the element at an end.
    #[inline]
    pub(in super::super) fn pop(&mut self, end: End) {
        let Some(spot) = self.end_spot(end) else { return };
        self.edit(spot, |run| run.pop(end));
        self.drop_empty(spot);
    }

    /// Puts an element beside the one at `index`, which is within the list (Redis: `_quicklistInsert`).
    pub(in super::super) fn insert(&mut self, index: usize, side: Side, element: &Encoded<'_>, value_bytes: usize) {
        let Some((spot, offset)) = self.locate(index) else { return };
        let len = self.run(spot).len();
        if self.has_room(spot, value_bytes) {
            let place = if side == Side::Before { offset } else { offset + 1 };
            return self.edit(spot, |run| run.insert(place, element));
        }
        let (is_at_end, neighbour, end) = match side {
            Side::Before => (offset == 0, self.previous(spot), End::Back),
            Side::After => (offset == len - 1, self.next(spot), End::Front),
        };
        match neighbour {
            Some(neighbour) if is_at_end && self.has_room(neighbour, value_bytes) => {
                self.edit(neighbour, |run| run.push(end, element));
            }
            _ if is_at_end => self.push_chunk(spot, if side == Side::Before { End::Front } else { End::Back }, element),
            _ => self.split_around(spot, offset, side, element),
        }
    }

    /// Splits a full chunk beside the element at `offset`, puts the new one between, and joins what has become small.
    fn split_around(&mut self, spot: Spot, offset: usize, side: Side, element: &Encoded<'_>) {
        let ordinal = self.ordinal(spot);
        match side {
            Side::After => {
                let mut rest = self.edit(spot, |run| run.split_off(offset + 1));
                rest.push(End::Front, element);
                self.insert_chunk(behind(spot), rest);
                self.merge_around(ordinal);
            }
            Side::Before => {
                let mut before = self.edit(spot, |run| {
                    let rest = run.split_off(offset);
                    mem::replace(run, rest)
                });
                before.push(End::Back, element);
                self.insert_chunk(spot, before);
                self.merge_around(ordinal + 1);
            }
        }
    }

    /// Puts an element in the place of the one at `index`, which is within the list.
    pub(in super::super) fn replace(&mut self, index: usize, element: &Encoded<'_>) {
        let Some((spot, offset)) = self.locate(index) else { return };
        if element.size() <= SHARED_ELEMENT_BYTES_MAX || self.run(spot).len() == 1 {
            return self.edit(spot, |run| run.replace(offset, element));
        }
        let rest = self.edit(spot, |run| {
            let mut rest = run.split_off(offset);
            rest.remove(0..1);
            rest
        });
        let at = if offset == 0 { spot } else { behind(spot) };
        let ordinal = self.ordinal(at);
        if offset == 0 {
            self.remove_chunk(spot);
        }
        let mut run = Run::default();
        run.push(End::Back, element);
        self.insert_chunk_at(ordinal, run);
        if rest.len() > 0 {
            self.insert_chunk_at(ordinal + 1, rest);
        }
    }

    /// Removes the elements of a range within the list. Whole segments are not freed but given back.
    pub(in super::super) fn remove(&mut self, range: Range<usize>) -> Option<Box<Self>> {
        let mut left = range.len();
        let (mut spot, mut offset) = self.locate(range.start)?;
        let mut removed = VecDeque::new();
        while left > 0 && spot.segment < self.segments.len() {
            let segment = &self.segments[spot.segment];
            if offset == 0 && spot.chunk == 0 && segment.len <= left {
                left -= segment.len;
                removed.extend(self.remove_segment(spot.segment));
                continue;
            }
            let len = segment.chunks[spot.chunk].len as usize;
            let count = left.min(len - offset);
            left -= count;
            if count == len {
                spot = self.remove_chunk(spot).1;
            } else {
                self.edit(spot, |run| run.remove(offset..offset + count));
                let Some(next) = self.next(spot) else { break };
                spot = next;
            }
            offset = 0;
        }
        if removed.is_empty() {
            return None;
        }
        // Counts are right but for bytes and elements, which nobody asks for.
        let chunks = removed.iter().map(|segment: &Segment| segment.chunks.len()).sum();
        Some(Box::new(Self {
            segments: removed,
            len: 0,
            chunks,
            bytes: 0,
            limit: self.limit,
            is_touched: true,
            detached: 0,
        }))
    }

    /// Removes equal elements, the first `count_max` ones seen from the end `from`; how many were removed.
    pub(in super::super) fn remove_equal(&mut self, element: &Encoded<'_>, from: End, count_max: usize) -> usize {
        let mut removed = 0;
        let mut next = self.end_spot(from);
        while let Some(spot) = next
            && removed < count_max
        {
            // Chunks without such an element stay shared.
            if self.run(spot).iter().any(|raw| raw.is(element)) {
                removed += self.edit(spot, |run| remove_equal_in(run, element, from, count_max - removed));
            }
            next = if from == End::Front { self.next(spot) } else { self.previous(spot) };
            if self.run(spot).len() == 0 {
                let (_, behind) = self.remove_chunk(spot);
                if from == End::Front {
                    next = (behind.segment < self.segments.len()).then_some(behind);
                }
            }
        }
        removed
    }

    /// Joins chunks around the one that was split, where two fit into one (Redis: `_quicklistMergeNodes`).
    fn merge_around(&mut self, mut center: usize) {
        if center >= 2 && self.merge_with_next(center - 2) {
            center -= 1;
        }
        self.merge_with_next(center + 1);
        if center >= 1 && self.merge_with_next(center - 1) {
            center -= 1;
        }
        self.merge_with_next(center);
    }

    fn merge_with_next(&mut self, ordinal: usize) -> bool {
        let (Some(spot), Some(next)) = (self.nth(ordinal), self.nth(ordinal + 1)) else { return false };
        let (run, other) = (self.run(spot), self.run(next));
        if self.limit.is_exceeded(run.listpack_bytes() + other.size(), run.len() + other.len()) {
            return false;
        }
        let (other, _) = self.remove_chunk(next);
        self.edit(spot, |run| run.append(&other));
        true
    }

    /// Whether an element may be added to a chunk (Redis: `_quicklistNodeAllowInsert`).
    #[inline]
    fn has_room(&self, spot: Spot, value_bytes: usize) -> bool {
        let run = self.run(spot);
        !self.limit.is_exceeded(run.listpack_bytes() + value_bytes + ELEMENT_OVERHEAD_BYTES, run.len() + 1)
    }

    /// Changes a run, which is copied first if it is shared.
    #[inline]
    fn edit<R>(&mut self, spot: Spot, change: impl FnOnce(&mut Run) -> R) -> R {
        let segment = &mut self.segments[spot.segment];
        let old_capacity = segment.chunks.capacity();
        self.detached += if_shared(&segment.chunks, old_capacity * size_of::<Chunk>());
        let chunks = Arc::make_mut(&mut segment.chunks);
        let new_capacity = chunks.capacity();
        let chunk = &mut chunks[spot.chunk];
        let old_bytes = chunk.run.heap_bytes() + old_capacity * size_of::<Chunk>();
        self.detached += if_shared(&chunk.run, chunk.run.heap_bytes());
        let run = Arc::make_mut(&mut chunk.run);
        let result = change(run);
        let (old_len, new_len) = (chunk.len as usize, run.len());
        let new_bytes = run.heap_bytes() + new_capacity * size_of::<Chunk>();
        chunk.len = new_len as u32;
        segment.len = segment.len + new_len - old_len;
        segment.bytes = segment.bytes + new_bytes - old_bytes;
        self.len = self.len + new_len - old_len;
        self.bytes = self.bytes + new_bytes - old_bytes;
        result
    }

    #[inline]
    fn drop_empty(&mut self, spot: Spot) {
        if self.segments[spot.segment].chunks[spot.chunk].len == 0 {
            self.remove_chunk(spot);
        }
    }

    fn insert_chunk_at(&mut self, ordinal: usize, run: Run) {
        let spot = match (self.nth(ordinal), self.end_spot(End::Back)) {
            (Some(spot), _) => spot,
            (None, Some(last)) => behind(last),
            (None, None) => Spot { segment: 0, chunk: 0 },
        };
        self.insert_chunk(spot, run);
    }

    /// Puts a chunk before the one at `spot`, which may also be one behind the last one of its segment.
    pub(super) fn insert_chunk(&mut self, spot: Spot, run: Run) {
        let spot = self.place_for(spot);
        self.chunks += 1;
        let chunk = Chunk { len: run.len() as u32, run: Arc::new(run) };
        self.edit_segment(spot.segment, (chunk.len as usize, 0), (chunk.heap_bytes(), 0), |chunks| {
            chunks.insert(spot.chunk, chunk);
        });
    }

    /// Finds a segment with room for a chunk at `spot`, or makes one.
    fn place_for(&mut self, spot: Spot) -> Spot {
        let has_room = |spine: &Self, segment: usize| {
            spine.segments.get(segment).is_some_and(|segment| segment.chunks.len() < SEGMENT_CHUNKS_MAX)
        };
        if has_room(self, spot.segment) {
            return spot;
        }
        let count = self.segments.get(spot.segment).map_or(0, |segment| segment.chunks.len());
        if spot.chunk == count {
            let segment = if count == 0 { spot.segment } else { spot.segment + 1 };
            if !has_room(self, segment) {
                self.insert_segment(segment, VecDeque::new());
            }
            return Spot { segment, chunk: 0 };
        }
        if spot.chunk == 0 {
            if let Some(segment) = spot.segment.checked_sub(1)
                && has_room(self, segment)
            {
                return Spot { segment, chunk: self.segments[segment].chunks.len() };
            }
            self.insert_segment(spot.segment, VecDeque::new());
            return spot;
        }
        let half = count / 2;
        let Some(mut front) = self.remove_segment(spot.segment).map(|segment| Arc::unwrap_or_clone(segment.chunks))
        else {
            return spot;
        };
        let rest = front.split_off(half);
        self.insert_segment(spot.segment, rest);
        self.insert_segment(spot.segment, front);
        match spot.chunk.checked_sub(half) {
            Some(chunk) => Spot { segment: spot.segment + 1, chunk },
            None => spot,
        }
    }

    fn insert_segment(&mut self, at: usize, chunks: VecDeque<Chunk>) {
        let segment = Segment::new(Arc::new(chunks));
        self.len += segment.len;
        self.chunks += segment.chunks.len();
        self.bytes += segment.bytes;
        self.segments.insert(at, segment);
    }

    /// Removes a segment with all its chunks.
    fn remove_segment(&mut self, at: usize) -> Option<Segment> {
        let segment = self.segments.remove(at)?;
        let shared = segment.chunks.iter().map(|chunk| if_shared(&chunk.run, chunk.heap_bytes())).sum::<usize>();
        self.detached += if_shared(&segment.chunks, segment.bytes).max(shared);
        self.len -= segment.len;
        self.chunks -= segment.chunks.len();
        self.bytes -= segment.bytes;
        Some(segment)
    }

    /// Removes a chunk; its run, and where the one behind it is now (one segment too far, if there is none).
    fn remove_chunk(&mut self, spot: Spot) -> (Arc<Run>, Spot) {
        let chunk = &self.segments[spot.segment].chunks[spot.chunk];
        self.detached += if_shared(&chunk.run, chunk.heap_bytes());
        let Chunk { len, run } = chunk.clone();
        self.chunks -= 1;
        let bytes = COUNTERS_BYTES + size_of::<Run>() + run.heap_bytes();
        self.edit_segment(spot.segment, (0, len as usize), (0, bytes), |chunks| _ = chunks.remove(spot.chunk));
        let left = self.segments[spot.segment].chunks.len();
        let behind = if left == 0 {
            self.remove_segment(spot.segment);
            Spot { segment: spot.segment, chunk: 0 }
        } else if spot.chunk == left {
            Spot { segment: spot.segment + 1, chunk: 0 }
        } else {
            spot
        };
        (run, behind)
    }

    /// Changes a segment's chunks, which are shared no longer then. The caller says how many elements and bytes come
    /// and go with chunks.
    fn edit_segment(
        &mut self,
        at: usize,
        (elements, lost_elements): (usize, usize),
        (bytes, lost_bytes): (usize, usize),
        change: impl FnOnce(&mut VecDeque<Chunk>),
    ) {
        let segment = &mut self.segments[at];
        let old_bytes = lost_bytes + segment.chunks.capacity() * size_of::<Chunk>();
        self.detached += if_shared(&segment.chunks, segment.chunks.capacity() * size_of::<Chunk>());
        let chunks = Arc::make_mut(&mut segment.chunks);
        change(chunks);
        let new_bytes = bytes + chunks.capacity() * size_of::<Chunk>();
        segment.bytes = segment.bytes + new_bytes - old_bytes;
        segment.len = segment.len + elements - lost_elements;
        self.bytes = self.bytes + new_bytes - old_bytes;
        self.len = self.len + elements - lost_elements;
    }
}

/// The bytes of something that others refer to as well, 0 if they do not.
#[inline]
fn if_shared<T>(part: &Arc<T>, bytes: usize) -> usize {
    if Arc::strong_count(part) > 1 { bytes } else { 0 }
}

/// The place right behind a chunk, in its segment.
fn behind(spot: Spot) -> Spot {
    Spot { chunk: spot.chunk + 1, ..spot }
}
