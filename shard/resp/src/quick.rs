//! The quick way through a request that is as nearly all are: whole, multibulk, at most [`PLACES`] arguments,
//! each shorter than 10 000 bytes. All of this is below every limit, so there is nothing to check but the form.
//! Anything else, right or wrong, is none of its business: it gives up and leaves no trace, and the general
//! way begins at the request's first byte again (at most [`PLACES`] short headers are read twice).

use crate::ArgRange;
use alloc::vec::Vec;

/// Most arguments of the quick way. Their places are made by one copy of constant size, which is cheaper than
/// a check for each.
pub(crate) const PLACES: usize = 8;

/// Finds the request at `start` of `input`, pushes its arguments to `args`, and returns where it ends.
#[inline]
pub(crate) fn read_request(input: &[u8], start: usize, args: &mut Vec<ArgRange>) -> Option<usize> {
    let (count, mut length) = read_beginning(input, start)?;
    let mark = args.len();
    args.extend_from_slice(&[ArgRange { start: 0, len: 0 }; PLACES]);
    args.truncate(mark + count);
    let mut next = start + 8;
    let (last, places) = args[mark..].split_last_mut()?;
    for place in places {
        *place = ArgRange { start: next as u32, len: length as u32 };
        let Some(header) = read_header(input, next + length + 2) else {
            args.truncate(mark);
            return None;
        };
        (length, next) = header;
    }
    *last = ArgRange { start: next as u32, len: length as u32 };
    let end = next + length + 2;
    if end > input.len() {
        args.truncate(mark);
        return None;
    }
    Some(end)
}

/// `*d\r\n$d\r\n`: both numbers.
#[inline(always)]
fn read_beginning(input: &[u8], start: usize) -> Option<(usize, usize)> {
    const DIGITS: u64 = u64::from_le_bytes([0, 0xff, 0, 0, 0, 0xff, 0, 0]);
    let word = u64::from_le_bytes(*input.get(start..)?.first_chunk()?);
    let count = usize::from(((word >> 8) as u8).wrapping_sub(b'0'));
    let length = usize::from(((word >> 40) as u8).wrapping_sub(b'0'));
    let fits = word & !DIGITS == u64::from_le_bytes(*b"*\0\r\n$\0\r\n");
    (fits && (1..=PLACES).contains(&count) && length <= 9).then_some((count, length))
}

/// A header of one to four digits at `at`: its number, and where its line ends. The line feed is not looked
/// at, as in Redis. Six bytes are there in every whole request.
#[inline(always)]
pub(crate) fn read_header(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let [kind, digits @ ..]: [u8; 6] = *input.get(at..)?.first_chunk()?;
    let [a, b, c, d, end] = digits;
    let [ones, tens, hundreds, thousands] = [a, b, c, d].map(|byte| usize::from(byte.wrapping_sub(b'0')));
    if kind != b'$' || ones > 9 {
        return None;
    }
    if b == b'\r' {
        return Some((ones, at + 4));
    }
    let two = ones * 10 + tens;
    if ones == 0 || tens > 9 {
        return None;
    }
    if c == b'\r' {
        return Some((two, at + 5));
    }
    if d == b'\r' && hundreds <= 9 {
        return Some((two * 10 + hundreds, at + 6));
    }
    (end == b'\r' && hundreds <= 9 && thousands <= 9).then_some((two * 100 + hundreds * 10 + thousands, at + 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn ordinary_requests_go_the_quick_way() {
        for length in [0, 1, 9, 10, 99, 100, 999, 1000, 1234, 9999] {
            let value = "v".repeat(length);
            let request = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n{value}\r\n");
            let (mut args, input) = (Vec::new(), [b"..", request.as_bytes()].concat());
            assert_eq!(read_request(&input, 2, &mut args), Some(input.len()));
            assert_eq!(args.len(), 3);
            assert_eq!(args[2], ArgRange { start: (input.len() - length - 2) as u32, len: length as u32 });
            assert_eq!(read_request(&input[..input.len() - 1], 2, &mut args), None);
            assert_eq!(args.len(), 3, "no trace");
        }
    }
}
