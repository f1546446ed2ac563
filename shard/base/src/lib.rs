//! Vocabulary of slotmesh: the words that every room under `shard/` shares.
//!
//! *Not here*: behaviour, and words that only one room uses.
//! *Invariants*: no I/O, no clock, no chance other than a seeded generator.
//! *Read first*: `slot.rs`, then `reply_error.rs`.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod limits;
mod reply_error;
mod rng;
mod slot;
mod slot_set;
mod time;

pub use reply_error::{ExecRefused, ReplyError};
pub use rng::Rng;
pub use slot::{SLOT_COUNT, Slot, hash_tag};
pub use slot_set::SlotSet;
pub use time::{Monotonic, UnixMillis};
