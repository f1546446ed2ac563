//! Out of RDB, as the bytes come.
//!
//! The bytes are read in pieces: an opcode with what belongs to it, a type with its key, a string, a node of a list. A
//! piece is read when it is there as a whole; until then it waits in the buffer, which never holds more than that and what
//! was pushed last.

mod parser;

use crate::crc64::Crc64;
use crate::error::{RdbError, RdbErrorKind};
use crate::source::{Source, Stop};
use alloc::vec::Vec;
use parser::{Parsed, Parser};
use slotmesh_base::UnixMillis;
use slotmesh_base::limits::RDB_BYTES_KEPT;
use slotmesh_keyspace::{KeyExists, KeyHasher, Keyspace, LastUse, Loose, PackedLimit, Value};

/// What a reader is told.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Longest string, key, element or library in bytes (`proto-max-bulk-len`). At the bound: an error.
    pub string_bytes_max: usize,
    /// Number of databases. Beyond: an error.
    pub databases: usize,
    /// How large a list is one packed run (`list-max-listpack-size`).
    pub list_packed: PackedLimit,
    /// Whether the checksum is compared (`rdbchecksum`).
    pub checksum: bool,
}

/// What stands in a file, in its order.
#[derive(Debug)]
pub enum Item {
    /// The version of the format, which is one that is read.
    Version(u16),
    /// A fact about the file; unknown ones are to be ignored.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// What is said.
        value: Vec<u8>,
    },
    /// The source of a library of functions.
    Function(Vec<u8>),
    /// The keys that follow are of this database.
    SelectDb(u16),
    /// So many keys will follow in this database, a hint.
    ResizeDb {
        /// Keys.
        keys: u64,
        /// Those of them with an expiry.
        expiring: u64,
    },
    /// A key.
    Entry(LoadedEntry),
    /// A collection without elements, left out (as Redis does, which wrote some once).
    EmptyKey {
        /// Its database.
        db: u16,
        /// Its name.
        key: Vec<u8>,
    },
    /// The end. What comes behind it is [`rest`](RdbReader::rest).
    End {
        /// Whether there was a checksum.
        has_checksum: bool,
    },
}

/// A key that was saved.
#[derive(Debug)]
pub struct LoadedEntry {
    /// Index of its database.
    pub db: u16,
    /// Its name.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Value,
    /// When it expires, maybe a time that has come already: whether it is dropped then is the caller's to decide.
    pub expires_at: Option<UnixMillis>,
    /// What is told of its last use.
    pub last_use: Option<LastUse>,
}

impl LoadedEntry {
    /// Puts the key into its database.
    ///
    /// # Errors
    /// If it is there already.
    ///
    /// # Panics
    /// If there is no such database.
    pub fn insert_into(self, keyspace: &mut Keyspace, hasher: &KeyHasher, now: UnixMillis) -> Result<(), KeyExists> {
        let loose = Loose::new(self.value, self.expires_at).used(self.last_use);
        keyspace.db(usize::from(self.db)).insert(&hasher.key(&self.key), loose, now)
    }
}

/// Reads a file of which the bytes come in any pieces.
#[derive(Debug)]
pub struct RdbReader {
    limits: ReadLimits,
    parser: Parser,
    /// Bytes that came and were not read, behind some that were.
    buffer: Vec<u8>,
    /// Bytes of the buffer that were read.
    read: usize,
    /// Bytes that were read and are no longer in the buffer.
    gone: u64,
    /// The checksum of the latter.
    crc: Crc64,
    error: Option<RdbError>,
}

impl RdbReader {
    /// A reader that has no bytes yet.
    pub fn new(limits: ReadLimits) -> Self {
        let parser = Parser::new(limits);
        Self { limits, parser, buffer: Vec::new(), read: 0, gone: 0, crc: Crc64::default(), error: None }
    }

    /// Takes further bytes. Call [`read`](Self::read) until it gives nothing, before more are pushed.
    pub fn push(&mut self, bytes: &[u8]) {
        self.forget_read();
        self.buffer.extend_from_slice(bytes);
    }

    /// What stands next in the file; nothing, if more bytes are needed for it, or the end was read.
    ///
    /// # Errors
    /// If the bytes are no RDB file that can be read. The same error comes again then.
    pub fn read(&mut self) -> Result<Option<Item>, RdbError> {
        if let Some(error) = &self.error {
            return Err(error.clone());
        }
        loop {
            let mut source = Source::new(&self.buffer[self.read..], self.limits.string_bytes_max);
            let parsed = self.parser.step(&mut source);
            let read = source.at();
            match parsed {
                Ok(Parsed::Checksum(stored)) => {
                    let has_checksum = self.check(stored)?;
                    self.read += read;
                    return Ok(Some(Item::End { has_checksum }));
                }
                Ok(parsed) => {
                    self.read += read;
                    if let Parsed::Item(item) = parsed {
                        return Ok(Some(item));
                    }
                }
                Err(Stop::Incomplete) => return Ok(None),
                Err(Stop::Bad(kind)) => return Err(self.fail(kind)),
            }
        }
    }

    /// Bytes that were read.
    pub fn offset(&self) -> u64 {
        self.gone + self.read as u64
    }

    /// Whether the end was read.
    pub fn is_done(&self) -> bool {
        self.parser.is_done()
    }

    /// Bytes that came and were not read: behind the end, those that do not belong to the file.
    pub fn rest(&self) -> &[u8] {
        &self.buffer[self.read..]
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// If the end was not read, or there was an error before.
    pub fn finish(&mut self) -> Result<(), RdbError> {
        match &self.error {
            Some(error) => Err(error.clone()),
            None if self.is_done() => Ok(()),
            None => Err(self.fail(RdbErrorKind::Truncated)),
        }
    }

    /// Compares the checksum in the file; whether there was one.
    fn check(&mut self, stored: u64) -> Result<bool, RdbError> {
        self.forget_read();
        let computed = self.crc.value();
        if self.limits.checksum && stored != 0 && stored != computed {
            return Err(self.fail(RdbErrorKind::Checksum { computed, stored }));
        }
        Ok(stored != 0)
    }

    fn fail(&mut self, kind: RdbErrorKind) -> RdbError {
        let error = RdbError { offset: self.offset(), kind };
        self.error = Some(error.clone());
        error
    }

    /// Takes what was read out of the buffer.
    fn forget_read(&mut self) {
        self.crc.update(&self.buffer[..self.read]);
        self.gone += self.read as u64;
        self.buffer.drain(..self.read);
        self.read = 0;
        if self.buffer.is_empty() {
            self.buffer.shrink_to(RDB_BYTES_KEPT);
        }
    }
}

#[cfg(test)]
mod tests;
