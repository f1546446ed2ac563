//! A request with room for the digits of its keys.

use super::{CommandKind, Sizes, digits_of, value, write_digits};
use slotmesh_base::Rng;
use std::ops::Range;

/// Prefix of the keys of strings; others have their own, since a value is no counter and
/// no list, and not to be changed.
pub(super) const KEY_PREFIX: &[u8] = b"key:";
const COUNTER_PREFIX: &[u8] = b"ctr:";
const APPENDED_PREFIX: &[u8] = b"app:";
const BITMAP_PREFIX: &[u8] = b"bit:";
const LIST_PREFIX: &[u8] = b"lst:";
/// Offsets of bits, the last one of 32 bytes, and before it: as many digits each.
const LAST_BIT: &str = "255";
const BITS: Chance = Chance { from: 100, count: 156, digits: 3 };
const BIT: Chance = Chance { from: 0, count: 2, digits: 1 };
/// Seconds until keys of `setex` and `expire` expire: longer than any run.
const EXPIRY_SECONDS: &[u8] = b"1000000";

/// One command, or transaction, with room for the digits of its keys.
#[derive(Debug)]
pub(super) struct Template {
    pub(super) bytes: Vec<u8>,
    /// Where the digits of each key are.
    pub(super) places: Vec<usize>,
    pub(super) digits: usize,
    /// Whether all keys have the same digits.
    pub(super) is_of_one: bool,
    /// How many replies it has.
    pub(super) replies: u32,
    /// Where its first key is.
    pub(super) key: Option<Range<usize>>,
    /// Numbers drawn evenly, and where they are.
    chances: Vec<(usize, Chance)>,
}

/// A number of `digits` digits drawn evenly from `count` from `from` on.
#[derive(Clone, Copy, Debug)]
struct Chance {
    from: u64,
    count: u64,
    digits: usize,
}

enum Part<'a> {
    Text(&'a [u8]),
    Key(&'static [u8]),
    /// The key with that number under a hash tag.
    Tagged(usize),
    Value,
    Number(Chance),
}

impl Template {
    /// The template of a command that draws from `drawn` keys, lists or hash tags.
    pub(super) fn new(kind: CommandKind, sizes: Sizes, drawn: u64) -> Self {
        use Part::{Key, Number, Tagged, Text, Value};
        let digits = digits_of(drawn.saturating_sub(1));
        let parts = match kind {
            CommandKind::Get => vec![Text(b"GET"), Key(KEY_PREFIX)],
            CommandKind::Set => vec![Text(b"SET"), Key(KEY_PREFIX), Value],
            CommandKind::SetEx => vec![Text(b"SETEX"), Key(KEY_PREFIX), Text(EXPIRY_SECONDS), Value],
            CommandKind::Incr => vec![Text(b"INCR"), Key(COUNTER_PREFIX)],
            CommandKind::Append => vec![Text(b"APPEND"), Key(APPENDED_PREFIX), Value],
            CommandKind::Renewed => vec![Text(b"SET"), Key(APPENDED_PREFIX), Value],
            CommandKind::SetBit => vec![Text(b"SETBIT"), Key(BITMAP_PREFIX), Number(BITS), Number(BIT)],
            CommandKind::LastBit => {
                vec![Text(b"SETBIT"), Key(BITMAP_PREFIX), Text(LAST_BIT.as_bytes()), Text(b"1")]
            }
            CommandKind::GetRange => {
                let half = sizes.value_bytes / 2;
                let (first, last) = ((half / 2).to_string(), (half / 2 + half).saturating_sub(1).to_string());
                let parts = [Text(b"GETRANGE"), Key(KEY_PREFIX), Text(first.as_bytes()), Text(last.as_bytes())];
                return Self::of_commands(&[&parts], sizes, digits);
            }
            CommandKind::Expire => vec![Text(b"EXPIRE"), Key(KEY_PREFIX), Text(EXPIRY_SECONDS)],
            CommandKind::MGet(count) => {
                std::iter::once(Text(b"MGET")).chain((0..count).map(|_| Key(KEY_PREFIX))).collect()
            }
            CommandKind::Del => vec![Text(b"DEL"), Key(KEY_PREFIX)],
            CommandKind::Exists => vec![Text(b"EXISTS"), Key(KEY_PREFIX)],
            CommandKind::LPush => vec![Text(b"LPUSH"), Key(LIST_PREFIX), Value],
            CommandKind::RPop => vec![Text(b"RPOP"), Key(LIST_PREFIX)],
            CommandKind::LRange(elements) => {
                let last = (elements - 1).to_string();
                let parts = [Text(b"LRANGE"), Key(LIST_PREFIX), Text(b"0"), Text(last.as_bytes())];
                return Self::of_commands(&[&parts], sizes, digits);
            }
            CommandKind::Renew(elements) => {
                let delete = [Text(b"DEL"), Key(LIST_PREFIX)];
                let mut push = vec![Text(b"RPUSH"), Key(LIST_PREFIX)];
                push.extend((0..elements).map(|_| Value));
                return Self { is_of_one: true, ..Self::of_commands(&[&delete, &push], sizes, digits) };
            }
            CommandKind::Multi(commands) | CommandKind::MultiAny(commands) => {
                let is_tagged = matches!(kind, CommandKind::Multi(_));
                let key = |number| if is_tagged { Tagged(number) } else { Key(KEY_PREFIX) };
                let sets: Vec<_> = (0..commands).map(|number| [Text(b"SET"), key(number), Value]).collect();
                let (multi, exec) = ([Text(b"MULTI")], [Text(b"EXEC")]);
                let mut all: Vec<&[Part<'_>]> = vec![&multi];
                all.extend(sets.iter().map(<[_; 3]>::as_slice));
                all.push(&exec);
                return Self { is_of_one: is_tagged, ..Self::of_commands(&all, sizes, digits) };
            }
            CommandKind::Ping => vec![Text(b"PING")],
            CommandKind::Echo => vec![Text(b"ECHO"), Value],
        };
        Self::of_commands(&[&parts], sizes, digits)
    }

    fn of_commands(commands: &[&[Part<'_>]], sizes: Sizes, digits: usize) -> Self {
        let replies = commands.len() as u32;
        let mut template = Self {
            bytes: Vec::new(),
            places: Vec::new(),
            digits,
            is_of_one: false,
            replies,
            key: None,
            chances: Vec::new(),
        };
        commands.iter().for_each(|parts| template.add(parts, sizes));
        template
    }

    /// Draws what is of chance in `request`, which is a copy of this template.
    #[inline]
    pub(super) fn write_chances(&self, request: &mut [u8], rng: &mut Rng) {
        for (place, Chance { from, count, digits }) in &self.chances {
            write_digits(&mut request[*place..place + digits], from + rng.below(*count));
        }
    }

    fn add(&mut self, parts: &[Part<'_>], sizes: Sizes) {
        let Self { bytes, places, digits, key, chances, .. } = self;
        bytes.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
        for part in parts {
            let behind = if let Part::Tagged(number) = part { format!("}}:{number}") } else { String::new() };
            let argument = match part {
                Part::Text(text) => text.to_vec(),
                Part::Number(chance) => vec![b'0'; chance.digits],
                Part::Value => value(sizes.value_bytes),
                Part::Key(prefix) => {
                    let mut key = prefix.to_vec();
                    key.resize(sizes.key_bytes, b'0');
                    key
                }
                Part::Tagged(_) => {
                    let mut key = b"{".to_vec();
                    key.resize((sizes.key_bytes.saturating_sub(behind.len())).max(1 + *digits), b'0');
                    key.extend_from_slice(behind.as_bytes());
                    key
                }
            };
            bytes.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            bytes.extend_from_slice(&argument);
            if let Part::Number(chance) = part {
                chances.push((bytes.len() - chance.digits, *chance));
            }
            if matches!(part, Part::Key(_) | Part::Tagged(_)) {
                key.get_or_insert(bytes.len() - argument.len()..bytes.len());
                places.push(bytes.len() - behind.len() - *digits);
            }
            bytes.extend_from_slice(b"\r\n");
        }
    }
}
