//! What happens to keys that somebody has an eye on: watched ones, those that clients wait for, and, while effects are
//! recorded, all that expire.
//!
//! Attention is paid to slots, not to keys: a write looks at one pointer, and at one bit if there is attention at all.

use alloc::vec::Vec;

/// What happened to a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// It was not there, and is.
    Created,
    /// It has another value, or expires at another time.
    Changed,
    /// It is no more.
    Removed,
    /// It is no more, since its time had come.
    Expired,
}

/// Something that happened to a key of a slot with attention.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// Index of the database.
    pub db: u16,
    /// The key.
    pub key: Vec<u8>,
    /// What happened.
    pub change: Change,
}
