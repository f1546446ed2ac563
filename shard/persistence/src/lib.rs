//! The append-only file, as bytes and time in and orders to a disk out.
//!
//! *For*: which files there are ([`Manifest`]), what stands in them ([`Reader`]), and what is written when, and synced
//! when, and replaced by what ([`Journal`]). *Not here*: files and clocks (the node obeys the orders, and so does a simulated
//! disk in the tests), what an effect means (`slotmesh_shard::Replay`), images (`slotmesh_rdb`).
//! *Invariants*: a position is durable only when a sync that began behind its write has ended well; a file is named by a
//! manifest that is on the disk before anything in it counts; nothing is removed that such a manifest names.
//! *Read first*: `manifest.rs`, then `journal/mod.rs`.
//!
//! The files are those of Redis 7.0 `aof.c`: either server starts from what the other has left.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod journal;
mod manifest;
mod reader;

pub use journal::{
    DataOrder, Facts, FileOrder, Journal, JournalEvent, JournalOrder, JournalRules, Opened, State, SyncPolicy,
};
pub use manifest::{FileKind, LogFile, Manifest, ManifestError, ManifestFault};
pub use reader::{ReadEnd, ReadFault, Reader, effects_of_stream};
