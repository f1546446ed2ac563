//! Strings: as they are, as integers, or compressed (Redis 7.2 `rdb.c` `rdbSaveRawString`, `rdbGenericLoadStringObject`).

use crate::error::{Fault, RdbErrorKind};
use crate::length::{self, FORM, Length};
use crate::lzf::{self, Compressor};
use crate::source::{Source, Stop};
use alloc::borrow::Cow;
use alloc::string::ToString;
use alloc::vec::Vec;
use slotmesh_base::limits::RDB_BYTES_KEPT;

const INTEGER_8: u8 = 0;
const INTEGER_16: u8 = 1;
const INTEGER_32: u8 = 2;
const COMPRESSED: u8 = 3;

/// Longest text of an integer of 32 bits.
const INTEGER_TEXT_BYTES_MAX: usize = 11;
/// Strings up to this are not compressed.
const PLAIN_BYTES_MAX: usize = 20;

/// Writes strings.
#[derive(Debug, Default)]
pub(crate) struct StringWriter {
    /// For the compression, if strings are to be compressed.
    compressor: Option<Compressor>,
    compressed: Vec<u8>,
}

impl StringWriter {
    /// With compression or without (`rdbcompression`).
    pub(crate) fn new(compresses: bool) -> Self {
        Self { compressor: compresses.then(Compressor::default), compressed: Vec::new() }
    }

    /// Whether strings are compressed.
    pub(crate) fn compresses(&self) -> bool {
        self.compressor.is_some()
    }

    /// Appends a string.
    pub(crate) fn write(&mut self, out: &mut Vec<u8>, string: &[u8]) {
        if let Some(value) = integer(string) {
            return write_integer(out, value);
        }
        if let Some(compressor) = self.compressor.as_mut().filter(|_| string.len() > PLAIN_BYTES_MAX) {
            self.compressed.clear();
            if compressor.compress(string, &mut self.compressed).is_some() {
                out.push(FORM | COMPRESSED);
                length::write(out, self.compressed.len() as u64);
                length::write(out, string.len() as u64);
                out.extend_from_slice(&self.compressed);
                self.compressed.shrink_to(RDB_BYTES_KEPT);
                return;
            }
        }
        length::write(out, string.len() as u64);
        out.extend_from_slice(string);
    }
}

fn write_integer(out: &mut Vec<u8>, value: i32) {
    if let Ok(value) = i8::try_from(value) {
        out.extend([FORM | INTEGER_8, value as u8]);
    } else if let Ok(value) = i16::try_from(value) {
        out.push(FORM | INTEGER_16);
        out.extend(value.to_le_bytes());
    } else {
        out.push(FORM | INTEGER_32);
        out.extend(value.to_le_bytes());
    }
}

/// The integer of 32 bits that `text` spells as Redis would write it.
fn integer(text: &[u8]) -> Option<i32> {
    if text.len() > INTEGER_TEXT_BYTES_MAX {
        return None;
    }
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    let mut magnitude = 0_i64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + i64::from(digit - b'0');
    }
    i32::try_from(if negative { -magnitude } else { magnitude }).ok()
}

/// Reads a string of no more bytes than the source allows.
#[inline]
pub(crate) fn read<'a>(source: &mut Source<'a>) -> Result<Cow<'a, [u8]>, Stop> {
    let bytes_max = source.string_bytes_max;
    read_up_to(source, bytes_max)
}

/// Reads a string of up to `bytes_max` bytes.
pub(crate) fn read_up_to<'a>(source: &mut Source<'a>, bytes_max: usize) -> Result<Cow<'a, [u8]>, Stop> {
    let value = match length::read_or_form(source)? {
        Length::Of(length) => return Ok(Cow::Borrowed(source.take(checked(length, bytes_max)?)?)),
        Length::Form(INTEGER_8) => i32::from(i8::from_le_bytes(source.array()?)),
        Length::Form(INTEGER_16) => i32::from(i16::from_le_bytes(source.array()?)),
        Length::Form(INTEGER_32) => i32::from_le_bytes(source.array()?),
        Length::Form(COMPRESSED) => return read_compressed(source, bytes_max).map(Cow::Owned),
        Length::Form(_) => return Err(Fault::StringForm.into()),
    };
    Ok(Cow::Owned(value.to_string().into_bytes()))
}

fn read_compressed(source: &mut Source<'_>, bytes_max: usize) -> Result<Vec<u8>, Stop> {
    let compressed = checked(length::read(source)?, bytes_max)?;
    let len = checked(length::read(source)?, bytes_max)?;
    // Before the bytes are awaited, and before memory is taken.
    if !lzf::can_expand(compressed, len) {
        return Err(Fault::Compression.into());
    }
    let bytes = source.take(compressed)?;
    Ok(lzf::decompress(bytes, len).ok_or(Fault::Compression)?)
}

/// A length that is within bounds.
fn checked(length: u64, bytes_max: usize) -> Result<usize, Stop> {
    match usize::try_from(length) {
        Ok(length) if length <= bytes_max => Ok(length),
        _ => Err(Stop::Bad(RdbErrorKind::TooLong(length))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(string: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        StringWriter::new(true).write(&mut out, string);
        out
    }

    #[test]
    fn strings_are_written_as_redis_does() {
        for (string, bytes) in [
            (&b"hello"[..], &b"\x05hello"[..]),
            (b"", b"\0"),
            (b"12", &[0xc0, 12]),
            (b"-128", &[0xc0, 0x80]),
            (b"128", &[0xc1, 0x80, 0]),
            (b"-12345", &[0xc1, 0xc7, 0xcf]),
            (b"1234567", &[0xc2, 0x87, 0xd6, 0x12, 0]),
            (b"-2147483648", &[0xc2, 0, 0, 0, 0x80]),
            (b"2147483648", b"\x0a2147483648"),
            (b"12345678901", b"\x0b12345678901"),
            (b"-0", b"\x02-0"),
            (b"007", b"\x03007"),
            (b"+1", b"\x02+1"),
            (b"-", b"\x01-"),
            (b"1a", b"\x021a"),
            (&[b'a'; 64], &[0xc3, 9, 0x40, 0x40, 1, 0x61, 0x61, 0xe0, 0x33, 0, 1, 0x61, 0x61]),
            (&[b'a'; 20], b"\x14aaaaaaaaaaaaaaaaaaaa"),
        ] {
            assert_eq!(written(string), bytes, "{string:?}");
            let mut source = Source::new(bytes, 64);
            assert_eq!(*read(&mut source).unwrap(), *string);
            for end in 0..bytes.len() {
                assert!(matches!(read(&mut Source::new(&bytes[..end], 64)), Err(Stop::Incomplete)), "{string:?} {end}");
            }
        }
        let mut plain = Vec::new();
        StringWriter::new(false).write(&mut plain, &[b'a'; 64]);
        assert_eq!(plain, [&[0x40, 0x40][..], &[b'a'; 64]].concat());
    }

    #[test]
    fn nothing_is_awaited_that_is_too_long_or_cannot_be() {
        let too_long = |bytes: &[u8]| match read(&mut Source::new(bytes, 100)) {
            Err(Stop::Bad(kind)) => kind,
            other => panic!("{other:?}"),
        };
        assert_eq!(too_long(&[0x40, 101]), RdbErrorKind::TooLong(101));
        assert_eq!(too_long(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 0]), RdbErrorKind::TooLong(0xff << 56));
        assert_eq!(too_long(&[0xc3, 9, 0x40, 101]), RdbErrorKind::TooLong(101));
        assert_eq!(too_long(&[0xc3, 0x40, 101]), RdbErrorKind::TooLong(101));
        assert_eq!(too_long(&[0xc3, 1, 0x40, 100]), RdbErrorKind::Corrupt(Fault::Compression));
        assert_eq!(too_long(&[0xc4]), RdbErrorKind::Corrupt(Fault::StringForm));
        assert!(matches!(read(&mut Source::new(&[0x40, 100], 100)), Err(Stop::Incomplete)));
    }
}
