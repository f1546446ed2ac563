//! Reads of a range of bits: BITCOUNT and BITPOS.

use super::bytes;
use crate::{Call, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_resp::Args;
use std::ops::Range;

pub(super) fn bitcount(call: &mut Call<'_>) -> HandlerResult {
    let key = call.key(1);
    let entry = call.keyspace.db(call.db).get(&key, call.now);
    let found = entry.is_some();
    let count = bytes(entry).and_then(|bytes| match call.args.len() {
        _ if !found => Ok(0),
        2 => Ok(count_ones(bytes)),
        4 | 5 => Ok(ones_in(bytes, counted_range(call.args, bytes.len())?)),
        _ => Err(ReplyError::Syntax),
    });
    call.count_read(found);
    call.reply.integer(count? as i64);
    Ok(())
}

/// The bits that BITCOUNT's arguments name.
fn counted_range(args: Args<'_>, length: usize) -> Result<Range<u64>, ReplyError> {
    let (start, end) = (parse_integer(args.at(2))?, parse_integer(args.at(3))?);
    // Before the unit is looked at, as in Redis.
    if start < 0 && end < 0 && start > end {
        return Ok(0..0);
    }
    let unit = args.find(4).map_or(Ok(Unit::Byte), Unit::parse)?;
    Ok(unit.range(start, end, length))
}

pub(super) fn bitpos(call: &mut Call<'_>) -> HandlerResult {
    let bit = match parse_integer(call.args.at(2))? {
        0 => false,
        1 => true,
        _ => return Err(ReplyError::BitSearched),
    };
    let key = call.key(1);
    let entry = call.keyspace.db(call.db).get(&key, call.now);
    let found = entry.is_some();
    let position = bytes(entry).and_then(|bytes| match found {
        false => Ok(if bit { None } else { Some(0) }),
        true => position(bytes, bit, call.args),
    });
    call.count_read(found);
    call.reply.integer(position?.map_or(-1, |position| position as i64));
    Ok(())
}

/// The first bit of that kind in the range that BITPOS's arguments name.
fn position(bytes: &[u8], bit: bool, args: Args<'_>) -> Result<Option<u64>, ReplyError> {
    if args.len() > 6 {
        return Err(ReplyError::Syntax);
    }
    let start = args.find(3).map_or(Ok(0), parse_integer)?;
    let unit = args.find(5).map_or(Ok(Unit::Byte), Unit::parse)?;
    let end = args.find(4).map(parse_integer).transpose()?;
    let range = unit.range(start, end.unwrap_or(-1), bytes.len());
    let found = find(bytes, bit, range.clone());
    // A string without end given goes on in zeros.
    let is_open = end.is_none() && !bit && !range.is_empty();
    Ok(found.or(is_open.then_some(range.end)))
}

#[derive(Clone, Copy)]
enum Unit {
    Bit,
    Byte,
}

impl Unit {
    fn parse(word: &[u8]) -> Result<Self, ReplyError> {
        if word.eq_ignore_ascii_case(b"bit") {
            Ok(Self::Bit)
        } else if word.eq_ignore_ascii_case(b"byte") {
            Ok(Self::Byte)
        } else {
            Err(ReplyError::Syntax)
        }
    }

    /// The bits from one index to another, both counted from the end if negative, of a string of that many bytes.
    fn range(self, start: i64, end: i64, length: usize) -> Range<u64> {
        let bits = match self {
            Self::Bit => 1,
            Self::Byte => 8,
        };
        let total = length as i64 * 8 / bits;
        let from_start = |index: i64| if index < 0 { (total + index).max(0) } else { index };
        let (start, end) = (from_start(start), from_start(end).min(total - 1));
        if start > end { 0..0 } else { (start * bits) as u64..((end + 1) * bits) as u64 }
    }
}

/// How many bits are set.
fn count_ones(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// How many bits of a range, which is within, are set.
fn ones_in(bytes: &[u8], range: Range<u64>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let (first, last) = ((range.start / 8) as usize, ((range.end - 1) / 8) as usize);
    let before = bytes[first] & !(0xff_u8 >> (range.start % 8));
    let behind = bytes[last] & (0x7f_u8 >> ((range.end - 1) % 8));
    count_ones(&bytes[first..=last]) - u64::from(before.count_ones() + behind.count_ones())
}

/// The first bit of that kind in a range, which is within.
fn find(bytes: &[u8], bit: bool, range: Range<u64>) -> Option<u64> {
    // With what is looked for set, all else cleared.
    let byte_at = |at: usize| if bit { bytes[at] } else { !bytes[at] };
    let (first, end) = ((range.start / 8) as usize, range.end.div_ceil(8) as usize);
    if range.is_empty() {
        return None;
    }
    let within = |position: u64| (position < range.end).then_some(position);
    let head = byte_at(first) & (0xff_u8 >> (range.start % 8));
    if head != 0 {
        return within(first as u64 * 8 + u64::from(head.leading_zeros()));
    }
    let rest = &bytes[first + 1..end];
    let skip = if bit { 0 } else { u64::MAX };
    let (words, _) = rest.as_chunks::<8>();
    let skipped = 8 * words.iter().take_while(|word| u64::from_ne_bytes(**word) == skip).count();
    let at = first + 1 + (skipped..rest.len()).find(|&at| byte_at(first + 1 + at) != 0)?;
    within(at as u64 * 8 + u64::from(byte_at(at).leading_zeros()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_base::Rng;

    #[test]
    fn ranges_of_bits_are_counted_and_searched_like_bit_by_bit() {
        let mut rng = Rng::new(3);
        for _ in 0..3000 {
            let length = rng.below(40) as usize;
            let fill = [0, 0xff, 1, 0x80][rng.below(4) as usize];
            let mut bytes = vec![fill; length];
            for _ in 0..rng.below(4) {
                if length > 0 {
                    bytes[rng.below(length as u64) as usize] = rng.next_u64() as u8;
                }
            }
            let bits = length as u64 * 8;
            let start = rng.below(bits + 1);
            let range = start..start + rng.below(bits - start + 1);
            let is_set = |at: &u64| bytes[*at as usize / 8] << (at % 8) & 0x80 != 0;
            assert_eq!(ones_in(&bytes, range.clone()), range.clone().filter(is_set).count() as u64);
            for bit in [false, true] {
                let first = range.clone().find(|at| is_set(at) == bit);
                assert_eq!(find(&bytes, bit, range.clone()), first, "{bytes:?} {bit} {range:?}");
            }
        }
    }
}
