//! The RDB format: what a keyspace looks like in a file, in a full synchronisation, and in DUMP.
//!
//! *For*: bytes to values and back: the frame, lengths, compression, the checksum, each type in and out. *Not here*: files,
//! sockets, when to save, what becomes of a key that is read.
//! *Invariants*: bytes from outside are checked before anything is built of them, and never panic; memory grows with the
//! bytes that have come, not with lengths that they announce; the reader keeps no more than the piece at hand.
//! *Read first*: `format.rs` (the bytes), then `write.rs` and `read.rs`; a type's own part is below `value/`.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod crc64;
mod dump;
mod error;
mod format;
mod length;
mod listpack;
mod lzf;
mod read;
mod source;
mod string;
mod value;
mod write;
mod ziplist;

pub use crc64::Crc64;
pub use dump::{Dumper, RestoreError, restore};
pub use error::{Fault, LackingType, RdbError, RdbErrorKind};
pub use format::{VERSION_MAX, VERSION_MIN, VERSION_WRITTEN};
pub use read::{Item, LoadedEntry, RdbReader, ReadLimits};
pub use write::{Header, RdbWriter, ReplicationState, WriteOptions};
