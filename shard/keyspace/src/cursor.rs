//! A position in a database that survives resizing.

use slotmesh_base::Slot;

/// Where a scan goes on: a slot, and a position in the order of hashes inside of it. Every key that was there
/// from the scan's start to its end is visited; a table that grows or shrinks in between changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cursor {
    /// The slot to visit next.
    pub slot: Slot,
    /// Keys of that slot whose place in the slot's order lies before this one have been visited (48 bits).
    pub position: u64,
}

impl Cursor {
    /// The start of a database.
    pub fn start() -> Self {
        Self::from_number(0).expect("slot 0 exists")
    }

    /// The cursor as the number that clients carry; 0 is the start.
    pub fn to_number(self) -> u64 {
        ((self.slot.number() as u64) << 48) | self.position
    }

    /// The cursor of a number that a client sent back; `None` if no scan gives such a number.
    pub fn from_number(number: u64) -> Option<Self> {
        let slot = Slot::new(u16::try_from(number >> 48).ok()?)?;
        Some(Self { slot, position: number & ((1 << 48) - 1) })
    }
}
