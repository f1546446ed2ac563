//! Into RDB, entry by entry.

use crate::crc64::Crc64;
use crate::format::{SIGNATURE, VERSION_WRITTEN, opcode};
use crate::string::StringWriter;
use crate::{length, value};
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;
use slotmesh_keyspace::SnapshotEntry;

/// How a file is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WriteOptions {
    /// Whether strings are compressed (`rdbcompression`).
    pub compresses: bool,
    /// Whether there is a checksum at the end (`rdbchecksum`).
    pub checksum: bool,
}

/// Redis's defaults.
impl Default for WriteOptions {
    fn default() -> Self {
        Self { compresses: true, checksum: true }
    }
}

/// What a file says about itself.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    /// Version of the server, that of Redis as which it presents itself.
    pub redis_version: &'a str,
    /// Unix time in seconds.
    pub created_at: i64,
    /// Memory in use, in bytes.
    pub used_memory: u64,
    /// Where in a replication stream the content is, if it goes with one.
    pub replication: Option<ReplicationState<'a>>,
    /// Whether it is the base of an append-only file.
    pub is_aof_base: bool,
}

/// A place in a replication stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicationState<'a> {
    /// Database that is selected there.
    pub stream_db: u16,
    /// Name of the stream, 40 hexadecimal digits.
    pub id: &'a str,
    /// Offset there.
    pub offset: i64,
}

/// Writes a file; each part goes behind what is in the buffer that it is given, which may be taken away in between.
#[derive(Debug)]
pub struct RdbWriter {
    strings: StringWriter,
    /// The checksum, if there is to be one.
    crc: Option<Crc64>,
    /// The database that was selected last.
    db: Option<u16>,
}

impl RdbWriter {
    /// A writer that has written nothing.
    pub fn new(options: WriteOptions) -> Self {
        let crc = options.checksum.then(Crc64::default);
        Self { strings: StringWriter::new(options.compresses), crc, db: None }
    }

    /// Writes what a file begins with.
    pub fn header(&mut self, out: &mut Vec<u8>, header: &Header<'_>) {
        let start = out.len();
        out.extend_from_slice(SIGNATURE);
        out.extend_from_slice(format!("{VERSION_WRITTEN:04}").as_bytes());
        self.add(out, start);
        self.aux(out, "redis-ver", header.redis_version);
        self.aux(out, "redis-bits", "64");
        self.aux(out, "ctime", &header.created_at.to_string());
        self.aux(out, "used-mem", &header.used_memory.to_string());
        if let Some(ReplicationState { stream_db, id, offset }) = header.replication {
            self.aux(out, "repl-stream-db", &stream_db.to_string());
            self.aux(out, "repl-id", id);
            self.aux(out, "repl-offset", &offset.to_string());
        }
        self.aux(out, "aof-base", if header.is_aof_base { "1" } else { "0" });
    }

    /// Writes a fact about the file; before functions and keys.
    pub fn aux(&mut self, out: &mut Vec<u8>, name: &str, value: &str) {
        let start = out.len();
        out.push(opcode::AUX);
        self.strings.write(out, name.as_bytes());
        self.strings.write(out, value.as_bytes());
        self.add(out, start);
    }

    /// Writes the source of a library of functions; before keys.
    pub fn function(&mut self, out: &mut Vec<u8>, source: &[u8]) {
        let start = out.len();
        out.push(opcode::FUNCTION);
        self.strings.write(out, source);
        self.add(out, start);
    }

    /// Selects a database and says how many keys of it will follow, which is a hint: it may be left out.
    pub fn database(&mut self, out: &mut Vec<u8>, db: u16, keys: u64, expiring: u64) {
        let start = out.len();
        self.select(out, db);
        out.push(opcode::RESIZE_DB);
        length::write(out, keys);
        length::write(out, expiring);
        self.add(out, start);
    }

    /// Writes a key, and its database before it if that was not the last one's.
    pub fn entry(&mut self, out: &mut Vec<u8>, entry: &SnapshotEntry<'_>) {
        let start = out.len();
        if self.db != Some(entry.db) {
            self.select(out, entry.db);
        }
        if let Some(at) = entry.expires_at {
            out.push(opcode::EXPIRE_MS);
            out.extend(at.0.to_le_bytes());
        }
        out.push(value::kind_of(entry.value));
        self.strings.write(out, entry.key);
        value::write(out, &mut self.strings, entry.value);
        self.add(out, start);
    }

    /// What is written from now on is for another writer to [`splice`](Self::splice): it depends on nothing before.
    pub fn begin_slice(&mut self) {
        self.db = None;
    }

    /// Takes entries that another writer has written, since it was made or [began a slice](Self::begin_slice): they stand
    /// in the file now, and their databases are not known here.
    pub fn splice(&mut self, entries: &[u8]) {
        self.add(entries, 0);
        self.db = None;
    }

    /// Writes the end.
    pub fn end(mut self, out: &mut Vec<u8>) {
        let start = out.len();
        out.push(opcode::END);
        self.add(out, start);
        let checksum = self.crc.map_or(0, Crc64::value);
        out.extend(checksum.to_le_bytes());
    }

    fn select(&mut self, out: &mut Vec<u8>, db: u16) {
        self.db = Some(db);
        out.push(opcode::SELECT_DB);
        length::write(out, u64::from(db));
    }

    /// Adds to the checksum what was written from `start` on.
    fn add(&mut self, out: &[u8], start: usize) {
        if let Some(crc) = &mut self.crc {
            crc.update(&out[start..]);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
