//! The end of the stream, kept for those who were away for a moment and for those who read slowly.
//!
//! One copy serves all: a replica has a place in it, not a queue of its own. Chunks are freed whole, so what is kept is
//! up to a chunk more than asked for.

use std::collections::VecDeque;

/// Bytes of a chunk.
const CHUNK_BYTES: usize = 64 * 1024;

/// The bytes of a stream from some offset to its end. The first byte of a stream has the offset 1, as Redis counts.
#[derive(Debug)]
pub struct Backlog {
    chunks: VecDeque<Vec<u8>>,
    /// Offset of the first byte that is kept.
    first: u64,
    len: usize,
}

impl Backlog {
    /// An empty one, at the end of a stream of `offset` bytes.
    pub fn new(offset: u64) -> Self {
        Self { chunks: VecDeque::new(), first: offset + 1, len: 0 }
    }

    /// Offset of the first byte that is kept; one behind the end if there is none.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Bytes that are kept.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Offset of the byte that comes next.
    pub fn end(&self) -> u64 {
        self.first + self.len as u64
    }

    /// Whether the stream can be read from this offset on.
    pub fn reaches(&self, offset: u64) -> bool {
        (self.first..=self.end()).contains(&offset)
    }

    /// Adds what the stream has gained.
    pub fn append(&mut self, mut bytes: &[u8]) {
        self.len += bytes.len();
        while !bytes.is_empty() {
            if self.chunks.back().is_none_or(|last| last.len() == CHUNK_BYTES) {
                self.chunks.push_back(Vec::with_capacity(CHUNK_BYTES));
            }
            let Some(last) = self.chunks.back_mut() else { return };
            let (now, later) = bytes.split_at(bytes.len().min(CHUNK_BYTES - last.len()));
            last.extend_from_slice(now);
            bytes = later;
        }
    }

    /// Frees what nobody needs: all but the last `bytes_wanted`, and what stands at `needed` or behind it.
    pub fn trim(&mut self, bytes_wanted: usize, needed: Option<u64>) {
        while let Some(chunk) = self.chunks.front() {
            let next = self.first + chunk.len() as u64;
            if self.len - chunk.len() < bytes_wanted || needed.is_some_and(|needed| needed < next) {
                return;
            }
            self.len -= chunk.len();
            self.first = next;
            self.chunks.pop_front();
        }
    }

    /// Shows up to `bytes_max` bytes from `offset` on, in pieces; how many there were.
    pub fn read(&self, offset: u64, bytes_max: usize, show: &mut dyn FnMut(&[u8])) -> usize {
        debug_assert!(self.reaches(offset), "nobody's place is freed");
        let mut skip = (offset - self.first) as usize;
        // All chunks but the last are full, but for a first one that was full, too.
        let mut left = bytes_max;
        let place = skip / CHUNK_BYTES;
        skip %= CHUNK_BYTES;
        for chunk in self.chunks.iter().skip(place) {
            let piece = &chunk[skip..];
            let piece = &piece[..piece.len().min(left)];
            if !piece.is_empty() {
                show(piece);
            }
            left -= piece.len();
            skip = 0;
            if left == 0 {
                break;
            }
        }
        bytes_max - left
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_base::Rng;

    fn read(backlog: &Backlog, offset: u64, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let count = backlog.read(offset, max, &mut |piece| out.extend_from_slice(piece));
        assert_eq!(count, out.len());
        out
    }

    #[test]
    fn what_is_kept_is_the_end_of_the_stream() {
        let mut rng = Rng::new(3);
        let mut backlog = Backlog::new(1000);
        let mut all = Vec::new();
        for round in 0..400 {
            let piece: Vec<u8> = (0..rng.below(5000)).map(|at| (at + round) as u8).collect();
            all.extend_from_slice(&piece);
            backlog.append(&piece);
            backlog.trim(100_000, None);
            assert_eq!(backlog.end(), 1001 + all.len() as u64);
            let kept = read(&backlog, backlog.first(), usize::MAX);
            assert_eq!(kept, all[all.len() - backlog.len()..]);
            assert!(kept.len() >= all.len().min(100_000) && kept.len() < 100_000 + 2 * CHUNK_BYTES);
            let from = backlog.first() + rng.below(backlog.len() as u64 + 1);
            let start = (from - 1001) as usize;
            assert_eq!(read(&backlog, from, 700), all[start..all.len().min(start + 700)]);
        }
    }

    #[test]
    fn a_place_that_somebody_needs_is_kept() {
        let mut backlog = Backlog::new(0);
        backlog.append(&vec![1; 10 * CHUNK_BYTES]);
        let needed = 2 * CHUNK_BYTES as u64 + 5;
        backlog.trim(100, Some(needed));
        assert!(backlog.reaches(needed) && backlog.first() > CHUNK_BYTES as u64);
        backlog.trim(100, None);
        assert!(backlog.len() <= CHUNK_BYTES);
        assert!(backlog.reaches(backlog.end()) && !backlog.reaches(backlog.end() + 1));
    }
}
