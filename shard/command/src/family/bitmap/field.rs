//! BITFIELD and BITFIELD_RO: integers of any width at any bit of a string.

use super::{byte_of, bytes, check_offset};
use crate::{Call, HandlerResult, KeyFlags, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_resp::{Args, Reply};

pub(super) fn bitfield(call: &mut Call<'_>) -> HandlerResult {
    let operations = parse(call.args, call.limits.string_bytes_max)?;
    if operations.iter().any(|operation| operation.action != Action::Get) {
        write(call, &operations)
    } else {
        read(call, &operations)
    }
}

pub(super) fn bitfield_ro(call: &mut Call<'_>) -> HandlerResult {
    let operations = parse(call.args, call.limits.string_bytes_max)?;
    if operations.iter().any(|operation| operation.action != Action::Get) {
        return Err(ReplyError::BitfieldReadOnly);
    }
    read(call, &operations)
}

/// Without a subcommand that writes, the key is only read. What is no subcommand counts as a write (Redis 7.2 `db.c`
/// `bitfieldGetKeys`).
pub(super) fn key_flags(args: Args<'_>) -> KeyFlags {
    let mut at = 2;
    while let Some(word) = args.find(at) {
        let behind = args.len() - at - 1;
        at += if word.eq_ignore_ascii_case(b"get") && behind >= 2 {
            3
        } else if word.eq_ignore_ascii_case(b"overflow") && behind >= 1 {
            2
        } else {
            return super::CHANGES;
        };
    }
    super::READS
}

fn read(call: &mut Call<'_>, operations: &[Operation]) -> HandlerResult {
    let key = call.key(1);
    let entry = call.keyspace.db(call.db).get(&key, call.now);
    let found = entry.is_some();
    let shown = bytes(entry).map(|bytes| {
        call.reply.array(operations.len());
        operations.iter().for_each(|operation| call.reply.integer(operation.field.read(bytes)));
    });
    call.count_read(found);
    shown
}

fn write(call: &mut Call<'_>, operations: &[Operation]) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    let writes = operations.iter().filter(|operation| operation.action != Action::Get);
    let length = writes.map(|operation| byte_of(operation.field.last_bit()) + 1).max().unwrap_or(0);
    let reply = &mut call.reply;
    reply.array(operations.len());
    let db = call.keyspace.db(call.db);
    let grows = bytes(db.look(&key, now))?.len() < length;
    let edited = db.edit_or_make_string(&key, now, length, |bytes| {
        let mut changes = 0;
        for operation in operations {
            let written = operation.run(bytes, reply);
            // In a string that grows everything that is written is new.
            changes += usize::from(written == Written::Changed || grows && written == Written::Same);
        }
        (changes, changes > 0)
    });
    let (changes, has_changed) = edited.map_err(|_| ReplyError::WrongType)?;
    if has_changed {
        call.replay(changes);
    }
    Ok(())
}

/// An integer in a string.
#[derive(Clone, Copy)]
struct Field {
    signed: bool,
    /// 1 to 64, if unsigned to 63.
    bits: u32,
    /// Its first bit.
    offset: u64,
}

/// What becomes of a number that a field cannot hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set,
    Increment,
}

/// What an operation has written to its field.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Written {
    Nothing,
    /// What stood there.
    Same,
    Changed,
}

#[derive(Clone, Copy)]
struct Operation {
    action: Action,
    field: Field,
    /// What is stored or added.
    number: i64,
    overflow: Overflow,
}

/// All operations, or the error of the first that is none.
fn parse(args: Args<'_>, string_bytes_max: usize) -> Result<Vec<Operation>, ReplyError> {
    let mut operations = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut at = 2;
    while let Some(word) = args.find(at) {
        let behind = args.len() - at - 1;
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let action = if is(b"get") && behind >= 2 {
            Action::Get
        } else if is(b"set") && behind >= 3 {
            Action::Set
        } else if is(b"incrby") && behind >= 3 {
            Action::Increment
        } else if is(b"overflow") && behind >= 1 {
            overflow = Overflow::parse(args.at(at + 1)).ok_or(ReplyError::BitfieldOverflow)?;
            at += 2;
            continue;
        } else {
            return Err(ReplyError::Syntax);
        };
        let field = Field::parse(args.at(at + 1), args.at(at + 2), string_bytes_max)?;
        let number = if action == Action::Get { 0 } else { parse_integer(args.at(at + 3))? };
        operations.push(Operation { action, field, number, overflow });
        at += if action == Action::Get { 3 } else { 4 };
    }
    Ok(operations)
}

impl Overflow {
    fn parse(word: &[u8]) -> Option<Self> {
        let names = [(&b"wrap"[..], Self::Wrap), (b"sat", Self::Saturate), (b"fail", Self::Fail)];
        names.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, overflow)| overflow)
    }
}

impl Field {
    fn parse(kind: &[u8], offset: &[u8], string_bytes_max: usize) -> Result<Self, ReplyError> {
        let (signed, bits) = match kind {
            [b'i', bits @ ..] => (true, bits),
            [b'u', bits @ ..] => (false, bits),
            _ => return Err(ReplyError::BitfieldType),
        };
        // Redis reads it as a C string.
        let bits = bits.split(|byte| *byte == 0).next().unwrap_or_default();
        let bits = match parse_integer(bits) {
            Ok(bits @ 1..=63) => bits as u32,
            Ok(64) if signed => 64,
            _ => return Err(ReplyError::BitfieldType),
        };
        let (text, unit) = match offset {
            [b'#', number @ ..] => (number, i64::from(bits)),
            number => (number, 1),
        };
        let offset = parse_integer(text).map_err(|_| ReplyError::BitOffset)?.wrapping_mul(unit);
        Ok(Self { signed, bits, offset: check_offset(offset, string_bytes_max)? })
    }

    fn last_bit(self) -> u64 {
        self.offset + u64::from(self.bits) - 1
    }

    /// The field's nine bytes (as many as a field of 64 bits may touch) as a number, and how far the field is to its
    /// left from the lowest bit; zeros are behind the end.
    fn window(self, bytes: &[u8]) -> (u128, u32) {
        let start = byte_of(self.offset).min(bytes.len());
        let mut window = [0; 16];
        let available = &bytes[start..bytes.len().min(start + 9)];
        window[..available.len()].copy_from_slice(available);
        (u128::from_be_bytes(window), 128 - (self.offset & 7) as u32 - self.bits)
    }

    fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// The number that stands there.
    fn read(self, bytes: &[u8]) -> i64 {
        let (window, shift) = self.window(bytes);
        self.cut((window >> shift) as i64)
    }

    /// Writes the lowest bits of a number; the string is long enough.
    fn write(self, bytes: &mut [u8], number: i64) {
        let (window, shift) = self.window(bytes);
        let mask = u128::from(self.mask()) << shift;
        let window = window & !mask | (u128::from(number as u64) << shift) & mask;
        let start = byte_of(self.offset);
        let end = bytes.len().min(start + 9);
        bytes[start..end].copy_from_slice(&window.to_be_bytes()[..end - start]);
    }

    /// What the field would hold of a number.
    fn cut(self, number: i64) -> i64 {
        let above = 64 - self.bits;
        if self.signed { number << above >> above } else { (number as u64 & self.mask()) as i64 }
    }

    /// The smallest and the largest number.
    fn bounds(self) -> (i128, i128) {
        match self.signed {
            true => (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1),
            false => (0, (1 << self.bits) - 1),
        }
    }
}

impl Operation {
    /// Runs and answers.
    fn run(&self, bytes: &mut [u8], reply: &mut Reply<'_>) -> Written {
        let old = self.field.read(bytes);
        let wanted = match self.action {
            Action::Get => {
                reply.integer(old);
                return Written::Nothing;
            }
            Action::Increment => i128::from(old) + i128::from(self.number),
            // As without sign: a negative number is a large one.
            Action::Set if !self.field.signed => i128::from(self.number as u64),
            Action::Set => i128::from(self.number),
        };
        let (least, most) = self.field.bounds();
        let new = match self.overflow {
            Overflow::Fail if !(least..=most).contains(&wanted) => {
                reply.null();
                return Written::Nothing;
            }
            Overflow::Saturate if self.counts_as_too_large(wanted) => most as i64,
            Overflow::Saturate => wanted.clamp(least, most) as i64,
            Overflow::Wrap | Overflow::Fail => self.field.cut(wanted as i64),
        };
        reply.integer(if self.action == Action::Set { old } else { new });
        self.field.write(bytes, new);
        if new == old { Written::Same } else { Written::Changed }
    }

    /// For the smallest numbers that SET may name the distance to the largest of the field overflows itself in Redis,
    /// so that they count as too large (7.2 `bitops.c` `checkSignedBitfieldOverflow`).
    fn counts_as_too_large(&self, wanted: i128) -> bool {
        let Field { signed, bits, .. } = self.field;
        self.action == Action::Set && signed && bits < 64 && self.field.bounds().1 - wanted > i128::from(i64::MAX)
    }
}
