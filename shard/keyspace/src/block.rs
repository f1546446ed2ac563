//! 128 neighbouring slots of a database: the unit in which a sparse database takes memory, and in which a
//! flushed one is handed over to be freed.

use crate::page::NEVER;
use crate::slot_table::SlotTable;
use slotmesh_base::{SLOT_COUNT, Slot};

/// Slots of a block.
pub(crate) const BLOCK_SLOTS: usize = 128;
/// Blocks of a database.
pub(crate) const BLOCKS: usize = SLOT_COUNT / BLOCK_SLOTS;

const _: () = assert!(BLOCK_SLOTS == u128::BITS as usize && BLOCKS == u128::BITS as usize);

/// The tables of 128 slots, and what is known about each.
#[derive(Debug)]
pub(crate) struct Block {
    /// The tables.
    pub(crate) tables: [SlotTable; BLOCK_SLOTS],
    /// A bit per slot that has keys.
    pub(crate) occupied: u128,
    /// Before this no key of the slot expires ([`NEVER`]: none does).
    pub(crate) earliest: [i64; BLOCK_SLOTS],
}

impl Block {
    /// 128 slots without keys.
    pub(crate) fn new() -> Self {
        Self { tables: [const { SlotTable::EMPTY }; BLOCK_SLOTS], occupied: 0, earliest: [NEVER; BLOCK_SLOTS] }
    }

    /// The first slot with keys from `first` on.
    pub(crate) fn next_occupied(&self, first: usize) -> Option<usize> {
        next_bit(self.occupied, first)
    }
}

/// The block of a slot, and the slot's index there.
#[inline]
pub(crate) fn split_slot(slot: Slot) -> (usize, usize) {
    (slot.index() / BLOCK_SLOTS, slot.index() % BLOCK_SLOTS)
}

/// The first bit from `first` on that is set.
pub(crate) fn next_bit(bits: u128, first: usize) -> Option<usize> {
    let rest = if first < 128 { bits >> first << first } else { 0 };
    (rest != 0).then(|| rest.trailing_zeros() as usize)
}

/// The smallest of `times` and where it stands.
pub(crate) fn earliest_of(times: &[i64; 128]) -> (usize, i64) {
    let mut earliest = (0, times[0]);
    for (index, &time) in times.iter().enumerate() {
        if time < earliest.1 {
            earliest = (index, time);
        }
    }
    earliest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_bit_is_found_or_there_is_none() {
        let bits = 1 | 1 << 5 | 1 << 127;
        for (first, next) in [(0, Some(0)), (1, Some(5)), (5, Some(5)), (6, Some(127)), (127, Some(127)), (128, None)] {
            assert_eq!(next_bit(bits, first), next, "{first}");
        }
        assert_eq!(next_bit(1, 1), None);
    }

    #[test]
    fn every_slot_has_its_place() {
        for number in [0, 127, 128, 16383] {
            let (block, index) = split_slot(Slot::new(number).unwrap());
            assert!(block < BLOCKS && index < BLOCK_SLOTS);
            assert_eq!(block * BLOCK_SLOTS + index, usize::from(number));
        }
    }
}
