//! A set of slots, as it stands on the bus and wherever a bit says which slots are meant.

use crate::slot::{SLOT_COUNT, Slot};
use alloc::boxed::Box;
use core::fmt;

/// Bytes of a set: one bit for each slot.
const BYTES: usize = SLOT_COUNT / 8;

/// A set of slots. Slot `s` is bit `1 << (s & 7)` of byte `s >> 3`, as in the header of a message.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Box<[u8; BYTES]>);

impl Default for SlotSet {
    fn default() -> Self {
        Self(Box::new([0; BYTES]))
    }
}

impl SlotSet {
    /// The set with these bits.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Self {
        Self(Box::new(*bytes))
    }

    /// The bits.
    pub fn as_bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// Whether a slot is in it.
    #[inline]
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[slot.index() >> 3] & 1 << (slot.index() & 7) != 0
    }

    /// Puts a slot in; whether it was absent.
    pub fn insert(&mut self, slot: Slot) -> bool {
        let was_absent = !self.contains(slot);
        self.0[slot.index() >> 3] |= 1 << (slot.index() & 7);
        was_absent
    }

    /// Takes a slot out; whether it was there.
    pub fn remove(&mut self, slot: Slot) -> bool {
        let was_there = self.contains(slot);
        self.0[slot.index() >> 3] &= !(1 << (slot.index() & 7));
        was_there
    }

    /// Takes all slots out.
    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    /// Number of slots.
    pub fn len(&self) -> usize {
        self.words().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words().all(|word| word == 0)
    }

    /// The last slot of the run from `slot` on whose slots are all in it, or all not, as `slot` is.
    pub fn run_end(&self, slot: Slot) -> Slot {
        let flip = if self.contains(slot) { u64::MAX } else { 0 };
        let first = slot.number() / 64;
        // Bits of slots that are otherwise than `slot`, from it on.
        let mut others = (0..).zip(self.words()).skip(usize::from(first)).map(|(place, word)| {
            let word = word ^ flip;
            (place, if place == first { word & u64::MAX << (slot.number() % 64) } else { word })
        });
        let next = others.find(|&(_, word)| word != 0).map(|(place, word)| 64 * place + word.trailing_zeros() as u16);
        let last = next.unwrap_or(SLOT_COUNT as u16) - 1;
        Slot::new(last).expect("below the number of slots")
    }

    /// Eight bytes at a time; bit `b` of word `w` is slot `64 * w + b`.
    fn words(&self) -> impl Iterator<Item = u64> {
        self.0.chunks_exact(8).map(|chunk| u64::from_le_bytes(chunk.try_into().expect("chunks of eight")))
    }

    /// The slots, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Slot> {
        (0..).zip(self.words()).flat_map(|(place, mut word)| {
            core::iter::from_fn(move || {
                if word == 0 {
                    return None;
                }
                let bit = word.trailing_zeros() as u16;
                word &= word - 1;
                Slot::new(64 * place + bit)
            })
        })
    }

    /// Runs of slots, ascending: first and last.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16)> {
        let mut slots = self.iter().map(Slot::number).peekable();
        core::iter::from_fn(move || {
            let first = slots.next()?;
            let mut last = first;
            while slots.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            Some((first, last))
        })
    }
}

impl fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = Self::default();
        slots.into_iter().for_each(|slot| _ = set.insert(slot));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_what_they_are_ends() {
        let slots = [0..=0, 5..=70, 128..=191, 300..=16383].into_iter().flatten();
        let set: SlotSet = slots.filter_map(Slot::new).collect();
        for number in 0..SLOT_COUNT as u16 {
            let slot = Slot::new(number).unwrap();
            let is_alike = |other: &u16| set.contains(Slot::new(*other).unwrap()) == set.contains(slot);
            let expected = (number..SLOT_COUNT as u16).take_while(is_alike).last();
            assert_eq!(Some(set.run_end(slot).number()), expected, "{number}");
        }
    }
    use std::vec::Vec;

    #[test]
    fn runs_go_over_words() {
        let mut set = SlotSet::default();
        for number in (60..70).chain([0, 16383, 128]) {
            assert!(set.insert(Slot::new(number).unwrap()));
        }
        assert!(!set.insert(Slot::new(0).unwrap()));
        assert_eq!(set.ranges().collect::<Vec<_>>(), [(0, 0), (60, 69), (128, 128), (16383, 16383)]);
        assert_eq!((set.len(), set.iter().count()), (13, 13));
        assert_eq!(set.as_bytes()[0], 1);
        assert_eq!(set.as_bytes()[2047], 0x80);
        assert!(set.remove(Slot::new(64).unwrap()));
        assert!(!set.contains(Slot::new(64).unwrap()));
        assert_eq!(set.ranges().count(), 5);
    }
}
