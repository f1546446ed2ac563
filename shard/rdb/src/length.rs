//! Lengths: 1, 2, 5 or 9 bytes.
//!
//! ```text
//! 00xxxxxx                 6 bits
//! 01xxxxxx xxxxxxxx        14 bits
//! 10000000 +4 | 10000001 +8    32 or 64 bits in big endian
//! 11xxxxxx                 not a length: the form of a string (see `string.rs`)
//! ```

use crate::error::Fault;
use crate::source::{Source, Stop};
use alloc::vec::Vec;

const BITS_14: u8 = 0x40;
const BITS_32: u8 = 0x80;
const BITS_64: u8 = 0x81;
/// The form of a string, in the lower bits.
pub(crate) const FORM: u8 = 0xc0;

/// What stands where a length may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Length {
    /// A length.
    Of(u64),
    /// The form of a string.
    Form(u8),
}

/// Appends a length.
#[inline]
pub(crate) fn write(out: &mut Vec<u8>, length: u64) {
    if length < 1 << 6 {
        out.push(length as u8);
    } else if length < 1 << 14 {
        out.extend([BITS_14 | (length >> 8) as u8, length as u8]);
    } else if let Ok(length) = u32::try_from(length) {
        out.push(BITS_32);
        out.extend(length.to_be_bytes());
    } else {
        out.push(BITS_64);
        out.extend(length.to_be_bytes());
    }
}

/// Reads a length, or the form of a string.
#[inline]
pub(crate) fn read_or_form(source: &mut Source<'_>) -> Result<Length, Stop> {
    let first = source.byte()?;
    Ok(Length::Of(match first {
        0..BITS_14 => u64::from(first),
        BITS_14..BITS_32 => u64::from(first - BITS_14) << 8 | u64::from(source.byte()?),
        BITS_32 => u64::from(u32::from_be_bytes(source.array()?)),
        BITS_64 => u64::from_be_bytes(source.array()?),
        FORM.. => return Ok(Length::Form(first - FORM)),
        _ => return Err(Fault::Length.into()),
    }))
}

/// Reads a length.
pub(crate) fn read(source: &mut Source<'_>) -> Result<u64, Stop> {
    match read_or_form(source)? {
        Length::Of(length) => Ok(length),
        Length::Form(_) => Err(Fault::Length.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_they_can_be() {
        for (length, bytes) in [
            (0, &[0][..]),
            (63, &[0x3f]),
            (64, &[0x40, 0x40]),
            (16383, &[0x7f, 0xff]),
            (16384, &[0x80, 0, 0, 0x40, 0]),
            (u64::from(u32::MAX), &[0x80, 0xff, 0xff, 0xff, 0xff]),
            (1 << 32, &[0x81, 0, 0, 0, 1, 0, 0, 0, 0]),
            (u64::MAX, &[0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        ] {
            let mut out = Vec::new();
            write(&mut out, length);
            assert_eq!(out, bytes);
            assert_eq!(read(&mut Source::new(bytes, 0)).unwrap(), length);
            for end in 0..bytes.len() {
                assert!(matches!(read(&mut Source::new(&bytes[..end], 0)), Err(Stop::Incomplete)));
            }
        }
        for wrong in [[0x82], [0xbf], [0xc0]] {
            assert!(matches!(read(&mut Source::new(&wrong, 0)), Err(Stop::Bad(_))));
        }
    }
}
