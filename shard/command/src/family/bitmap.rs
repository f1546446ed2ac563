//! Bitmaps: strings seen as bits, the highest bit of the first byte first.
//!
//! Mirrors Redis 7.2 `bitops.c`.

mod docs;
mod field;
mod operate;
mod range;

use crate::{Call, Categories, Flags, HandlerResult, KeyFlags, KeySpec, Reach, Spec, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{Entry, ValueRef};

const BITMAP: Categories = Categories::BITMAP;
const READ: Flags = Flags::READONLY;
const WRITE_GROWS: Flags = Flags::WRITE.union(Flags::DENYOOM);

const READS: KeyFlags = KeyFlags::RO.union(KeyFlags::ACCESS);
const CHANGES: KeyFlags = KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE);
const ONE_READ: &[KeySpec] = &[KeySpec::one(READS)];

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("bitcount", -2, READ, BITMAP, Reach::Slot(range::bitcount), docs::BITCOUNT).keys(ONE_READ),
    Spec::new("bitfield", -2, WRITE_GROWS, BITMAP, Reach::Slot(field::bitfield), docs::BITFIELD)
        .keys(&[KeySpec::one(CHANGES).variable(field::key_flags, "RW and UPDATE only if a subcommand writes")]),
    Spec::new("bitfield_ro", -2, READ.union(Flags::FAST), BITMAP, Reach::Slot(field::bitfield_ro), docs::BITFIELD_RO)
        .keys(ONE_READ),
    Spec::new("bitop", -4, WRITE_GROWS, BITMAP, Reach::Slot(operate::bitop), docs::BITOP).keys(&[
        KeySpec::one_at(2, KeyFlags::OW.union(KeyFlags::UPDATE)),
        KeySpec { first: 3, ..KeySpec::all(READS, 1) },
    ]),
    Spec::new("bitpos", -3, READ, BITMAP, Reach::Slot(range::bitpos), docs::BITPOS).keys(ONE_READ),
    Spec::new("getbit", 3, READ.union(Flags::FAST), BITMAP, Reach::Slot(getbit), docs::GETBIT).keys(ONE_READ),
    Spec::new("setbit", 4, WRITE_GROWS, BITMAP, Reach::Slot(setbit), docs::SETBIT).keys(&[KeySpec::one(CHANGES)]),
];

fn getbit(call: &mut Call<'_>) -> HandlerResult {
    let offset = bit_offset(call.args.at(2), call.limits.string_bytes_max)?;
    let key = call.key(1);
    let entry = call.keyspace.db(call.db).get(&key, call.now);
    let found = entry.is_some();
    let bit = bytes(entry).map(|bytes| bit_at(bytes, offset));
    call.count_read(found);
    call.reply.integer(bit?);
    Ok(())
}

/// One byte is changed where it stands.
fn setbit(call: &mut Call<'_>) -> HandlerResult {
    let offset = bit_offset(call.args.at(2), call.limits.string_bytes_max)?;
    let bit @ (0 | 1) = parse_integer(call.args.at(3)).map_err(|_| ReplyError::BitValue)? else {
        return Err(ReplyError::BitValue);
    };
    let (key, now) = (call.key(1), call.now);
    let byte = byte_of(offset);
    let edited = call.keyspace.db(call.db).edit_or_make_string(&key, now, byte + 1, |bytes| {
        let old = bit_at(bytes, offset);
        bytes[byte] = bytes[byte] & !mask(offset) | if bit == 1 { mask(offset) } else { 0 };
        (old, old != bit)
    });
    let (old, has_changed) = edited.map_err(|_| ReplyError::WrongType)?;
    call.reply.integer(old);
    if has_changed {
        call.replay(1);
    }
    Ok(())
}

/// The bytes of a string; none if there is no key.
fn bytes(entry: Option<Entry<'_>>) -> Result<&[u8], ReplyError> {
    match entry.map(|entry| entry.value) {
        None => Ok(&[]),
        Some(ValueRef::String(bytes)) => Ok(bytes),
        Some(_) => Err(ReplyError::WrongType),
    }
}

/// The offset of a bit that a string of `string_bytes_max` bytes can have.
fn bit_offset(text: &[u8], string_bytes_max: usize) -> Result<u64, ReplyError> {
    let offset = parse_integer(text).map_err(|_| ReplyError::BitOffset)?;
    check_offset(offset, string_bytes_max)
}

fn check_offset(offset: i64, string_bytes_max: usize) -> Result<u64, ReplyError> {
    match u64::try_from(offset) {
        Ok(offset) if offset >> 3 < string_bytes_max as u64 => Ok(offset),
        _ => Err(ReplyError::BitOffset),
    }
}

/// The byte of a bit.
fn byte_of(offset: u64) -> usize {
    // Offsets are bounded by the length of strings.
    usize::try_from(offset >> 3).unwrap_or(usize::MAX)
}

/// The bit in its byte.
fn mask(offset: u64) -> u8 {
    0x80 >> (offset & 7)
}

/// The bit at an offset; 0 behind the end.
fn bit_at(bytes: &[u8], offset: u64) -> i64 {
    bytes.get(byte_of(offset)).map_or(0, |byte| i64::from(byte & mask(offset) != 0))
}

#[cfg(test)]
mod tests;
