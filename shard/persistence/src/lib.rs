//! Data on the disk, as bytes and time in and orders to a disk out: the append-only file, and files made of images.
//!
//! *For*: which files an append-only file has ([`Manifest`]), what stands in them ([`Reader`]), and what is written when,
//! and synced when, and replaced by what ([`Journal`]); how an RDB file comes to stand there as a whole ([`Image`]).
//! *Not here*: files and clocks (the node obeys the orders, and so does a simulated disk in the tests), what an effect means
//! (`slotmesh_shard::Replay`), what stands in an image (`slotmesh_rdb`).
//! *Invariants*: a position is durable only when a sync that began behind its write has ended well; a file is named by a
//! manifest that is on the disk before anything in it counts; nothing is removed that such a manifest names; an image takes
//! its name when all of it is on the disk.
//! *Read first*: `image.rs`; `manifest.rs`, then `journal/mod.rs`.
//!
//! The files are those of Redis 7.0 `aof.c`: either server starts from what the other has left.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod image;
mod journal;
mod manifest;
mod reader;

pub use image::{Image, ImageOrder, ImageRules, ImageStep};
pub use journal::{
    DataOrder, Facts, FileOrder, Journal, JournalEvent, JournalOrder, JournalRules, Opened, State, SyncPolicy,
};
pub use manifest::{FileKind, LogFile, Manifest, ManifestError, ManifestFault};
pub use reader::{ReadEnd, ReadFault, Reader, effects_of_stream};
