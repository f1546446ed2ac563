//! Where bytes with a hash were seen last in a text.

use alloc::boxed::Box;
use alloc::vec;

/// Bits of a hash.
pub(super) const HASH_BITS: u32 = 16;

/// Longest text whose places stand in a small table, in bytes: they fit 16 bits.
pub(super) const FEW_BYTES_MAX: usize = 4096;

/// The last place for each hash.
pub(super) trait Places {
    /// Enters a place; the one that was there for the hash.
    fn replace(&mut self, hash: u16, at: u32) -> Option<u32>;
}

/// A table for every hash, which serves one text after the other.
#[derive(Debug)]
pub(super) struct All {
    /// Places counted from before the first text.
    slots: Box<[u32]>,
    /// Where the current text begins, in that count. What is not behind it is of texts before.
    base: u32,
    /// Bytes of the current text.
    len: u32,
}

impl All {
    /// An empty table, of 256 KiB.
    pub(super) fn new() -> Self {
        Self { slots: vec![0; 1 << HASH_BITS].into_boxed_slice(), base: 0, len: 0 }
    }

    /// Begins another text.
    pub(super) fn begin(&mut self, len: u32) {
        match self.base.checked_add(self.len).filter(|base| base.checked_add(len).is_some()) {
            Some(base) => self.base = base,
            None => {
                self.slots.fill(0);
                self.base = 0;
            }
        }
        self.len = len;
    }
}

impl Places for All {
    #[inline]
    fn replace(&mut self, hash: u16, at: u32) -> Option<u32> {
        let slot = &mut self.slots[usize::from(hash)];
        core::mem::replace(slot, self.base + at).checked_sub(self.base)
    }
}

/// A table of the hashes of one short text: to make the other one would cost more than the text.
#[derive(Debug)]
pub(super) struct Few {
    /// A hash in the upper half, its place and one in the lower; 0: free.
    slots: Box<[u32]>,
}

impl Few {
    /// An empty table for a text of up to [`FEW_BYTES_MAX`].
    pub(super) fn new(len: usize) -> Self {
        Self { slots: vec![0; (2 * len).next_power_of_two()].into_boxed_slice() }
    }
}

impl Places for Few {
    #[inline]
    fn replace(&mut self, hash: u16, at: u32) -> Option<u32> {
        let (mask, hash) = (self.slots.len() - 1, u32::from(hash));
        let mut index = hash as usize & mask;
        // Half of the slots at least are free.
        while self.slots[index] != 0 && self.slots[index] >> 16 != hash {
            index = (index + 1) & mask;
        }
        let old = core::mem::replace(&mut self.slots[index], hash << 16 | (at + 1));
        (old & 0xffff).checked_sub(1)
    }
}

const _: () = assert!(FEW_BYTES_MAX < 1 << 16);
