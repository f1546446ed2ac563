//! The store: databases made of hash slots, each slot a table of its own.
//!
//! *For*: keys, values, expiry, counts, positions that survive resizing. *Not here*: command syntax,
//! replies, who owns a slot.
//! *Invariants*: the slot is the unit: every operation on a slot costs in proportion to that slot; growth
//! happens in steps bounded by a page; no clock (`now` is an argument), no chance but a given generator.
//! *Read first*: `page.rs` (the packed page), `slot_table.rs` (pages of one slot), `db.rs` (slots of one
//! database).
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod access;
mod block;
#[allow(unsafe_code)] // owned bytes behind a thin pointer, and the prefetch instruction
mod buffer;
mod cursor;
mod db;
mod key;
mod keyspace;
mod observe;
#[allow(unsafe_code)] // records on the heap whose addresses stand in a page
mod page;
mod slot_table;
mod snapshot;
#[allow(unsafe_code)] // one vector comparison
mod tags;
mod tally;
mod value;

pub use access::{Access, AccessPolicy, LastUse};
pub use cursor::Cursor;
pub use db::{Db, Expiry, ExpiryReport, KeyExists, Loose};
pub use key::{Key, KeyHasher};
pub use keyspace::{Keyspace, KeyspaceStats};
pub use observe::{Change, Event};
pub use snapshot::{SnapshotEntry, SnapshotId, SnapshotWalk};
pub use value::{
    Element, End, Entry, List, ListBuilder, NoEntries, PackedLimit, PackedRun, Remains, Side, StringForm, Value,
    ValueKind, ValueRef, WrongKind,
};
