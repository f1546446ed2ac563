//! DUMP's form of a value: its type, the value, a version of the format and a checksum, both in little endian.

use crate::crc64::Crc64;
use crate::error::RdbErrorKind;
use crate::format::{CHECKSUM_BYTES, VERSION_MAX, VERSION_WRITTEN};
use crate::source::{Source, Stop};
use crate::string::StringWriter;
use crate::value::{self, NoReader, Progress, ValueReader};
use alloc::vec::Vec;
use slotmesh_keyspace::{PackedLimit, Value, ValueRef};

/// Bytes of version and checksum.
const FOOTER_BYTES: usize = size_of::<u16>() + CHECKSUM_BYTES;

/// Makes payloads of DUMP.
#[derive(Debug)]
pub struct Dumper(StringWriter);

impl Dumper {
    /// With compression or without (`rdbcompression`).
    pub fn new(compresses: bool) -> Self {
        Self(StringWriter::new(compresses))
    }

    /// Appends the payload of a value.
    pub fn dump(&mut self, out: &mut Vec<u8>, value: ValueRef<'_>) {
        let start = out.len();
        out.push(value::kind_of(value));
        value::write(out, &mut self.0, value);
        out.extend(VERSION_WRITTEN.to_le_bytes());
        let checksum = Crc64::of(&out[start..]);
        out.extend(checksum.to_le_bytes());
    }
}

/// Why a payload is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RestoreError {
    /// Its version is newer than those that are read, or its checksum wrong.
    Footer,
    /// It is no value that can be read.
    Body,
}

/// The value of a payload. Strings of up to `string_bytes_max` bytes are read; lists are kept as `list_packed` says.
///
/// # Errors
/// If there is none. A collection without elements is none.
pub fn restore(payload: &[u8], string_bytes_max: usize, list_packed: PackedLimit) -> Result<Value, RestoreError> {
    check_footer(payload).ok_or(RestoreError::Footer)?;
    // As in Redis, the footer is not kept out of the value's sight, nor need the value reach up to it.
    read_value(payload, string_bytes_max, list_packed).ok().flatten().ok_or(RestoreError::Body)
}

fn check_footer(payload: &[u8]) -> Option<()> {
    let (body, checksum) = payload.split_last_chunk::<CHECKSUM_BYTES>()?;
    let (_, version) = body.split_last_chunk()?;
    let is_known = u16::from_le_bytes(*version) <= VERSION_MAX;
    (payload.len() >= FOOTER_BYTES && is_known && Crc64::of(body) == u64::from_le_bytes(*checksum)).then_some(())
}

fn read_value(bytes: &[u8], string_bytes_max: usize, list_packed: PackedLimit) -> Result<Option<Value>, Stop> {
    let mut source = Source::new(bytes, string_bytes_max);
    let number = source.byte()?;
    let mut value = ValueReader::new(number, list_packed).map_err(|no_reader| match no_reader {
        NoReader::Lacking(kind) => Stop::Bad(RdbErrorKind::Lacking { kind, number, key: Vec::new() }),
        NoReader::Unknown => crate::error::Fault::Type(number).into(),
    })?;
    loop {
        if let Progress::Done(value) = value.step(&mut source)? {
            return Ok(value);
        }
    }
}

#[cfg(test)]
mod tests;
