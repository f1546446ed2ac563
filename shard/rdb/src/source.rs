//! Bytes that are read, of which more may come.

use crate::error::{Fault, RdbErrorKind};

/// Longest string whatever is allowed: as an element it must fit into a listpack, whose bytes are counted by 32 bits.
const STRING_BYTES_MAX: usize = u32::MAX as usize - NODE_OVERHEAD_BYTES;

/// What a node of one element may have beyond the longest string: the frame of a listpack or ziplist, what stands around
/// its element, and other elements up to the largest limit of a node.
pub(crate) const NODE_OVERHEAD_BYTES: usize = 128 << 10;

/// The bytes at hand.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Longest string.
    pub(crate) string_bytes_max: usize,
}

/// Why reading goes no further.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The bytes at hand are too few: it is tried again from the same place with more.
    Incomplete,
    /// They are wrong.
    Bad(RdbErrorKind),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Bad(RdbErrorKind::Corrupt(fault))
    }
}

impl<'a> Source<'a> {
    pub(crate) fn new(bytes: &'a [u8], string_bytes_max: usize) -> Self {
        Self { bytes, at: 0, string_bytes_max: string_bytes_max.min(STRING_BYTES_MAX) }
    }

    /// How many bytes have been read.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The next `count` bytes.
    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Stop> {
        let bytes = self.bytes[self.at..].get(..count).ok_or(Stop::Incomplete)?;
        self.at += count;
        Ok(bytes)
    }

    /// The next bytes as an array.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        let bytes = self.bytes[self.at..].first_chunk().ok_or(Stop::Incomplete)?;
        self.at += N;
        Ok(*bytes)
    }

    /// The next byte.
    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Stop> {
        Ok(self.array::<1>()?[0])
    }
}
