//! What is sent: a mix of commands, as request templates in which only the digits of the keys change.
//!
//! A request is what is counted and timed as one: a command, or a whole transaction with all of its replies.

mod template;

use crate::keys::KeyChooser;
use slotmesh_base::{Rng, Slot};
use template::{KEY_PREFIX, Template};

/// Most keys of an `mget`, elements of an `lrange`, commands of a `multi`.
const COUNT_MAX: usize = 1000;
/// Elements that an `lrange` reads if it does not say how many.
const RANGE_ELEMENTS: usize = 100;
/// Commands of a `multi` that does not say how many.
const TRANSACTION_COMMANDS: usize = 10;

/// A command that the generator can send.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CommandKind {
    Get,
    Set,
    SetEx,
    Incr,
    Append,
    /// SET of what APPEND appends to: not of a mix, but how those strings get short again.
    Renewed,
    /// SETBIT of 0 or 1 at an offset that chance draws.
    SetBit,
    /// SETBIT that makes a string as long as those that `SetBit` changes: not of a mix, but how they are filled.
    LastBit,
    /// The middle half of a value.
    GetRange,
    /// EXPIRE in a time longer than any run.
    Expire,
    MGet(usize),
    Del,
    Exists,
    LPush,
    RPop,
    /// So many elements from the front of a list.
    LRange(usize),
    /// DEL of a list and RPUSH of so many elements: not of a mix, but how lists are filled.
    Renew(usize),
    /// MULTI, so many SETs of keys with one hash tag, EXEC.
    Multi(usize),
    /// MULTI, so many SETs of any keys, EXEC.
    MultiAny(usize),
    Ping,
    Echo,
}

impl CommandKind {
    /// What has to be there before it finds something; what is not about keys has those of SET.
    pub(crate) fn filler(self, list_elements: usize) -> Self {
        match self {
            Self::LPush | Self::RPop | Self::LRange(_) | Self::Renew(_) => Self::Renew(list_elements),
            Self::Multi(commands) => Self::Multi(commands),
            Self::Incr => Self::Incr,
            Self::SetBit | Self::LastBit => Self::LastBit,
            Self::Append | Self::Renewed => Self::Renewed,
            // What it replaces is an expiry.
            Self::Expire | Self::SetEx => Self::SetEx,
            _ => Self::Set,
        }
    }

    /// Whether all of its keys are of one slot, if it has any: a node of a cluster takes no other commands.
    pub(crate) fn is_of_one_slot(self) -> bool {
        !matches!(self, Self::MGet(2..) | Self::MultiAny(2..))
    }
}

/// A command and how often it is sent, relative to the others of a mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Share {
    pub(crate) kind: CommandKind,
    pub(crate) weight: u32,
}

impl std::fmt::Display for Share {
    /// As [`parse_mix`] reads it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            CommandKind::Get => f.write_str("get"),
            CommandKind::Set => f.write_str("set"),
            CommandKind::SetEx => f.write_str("setex"),
            CommandKind::Incr => f.write_str("incr"),
            CommandKind::Append => f.write_str("append"),
            CommandKind::Renewed => f.write_str("renewed"),
            CommandKind::SetBit => f.write_str("setbit"),
            CommandKind::LastBit => f.write_str("last-bit"),
            CommandKind::GetRange => f.write_str("getrange"),
            CommandKind::Expire => f.write_str("expire"),
            CommandKind::MGet(keys) => write!(f, "mget:{keys}"),
            CommandKind::Del => f.write_str("del"),
            CommandKind::Exists => f.write_str("exists"),
            CommandKind::LPush => f.write_str("lpush"),
            CommandKind::RPop => f.write_str("rpop"),
            CommandKind::LRange(elements) => write!(f, "lrange:{elements}"),
            CommandKind::Renew(elements) => write!(f, "renew:{elements}"),
            CommandKind::Multi(commands) => write!(f, "multi:{commands}"),
            CommandKind::MultiAny(commands) => write!(f, "multi-any:{commands}"),
            CommandKind::Ping => f.write_str("ping"),
            CommandKind::Echo => f.write_str("echo"),
        }?;
        if self.weight == 1 { Ok(()) } else { write!(f, ":{}", self.weight) }
    }
}

/// Reads `get:9,set:1,mget:10:2`: names with weights, 1 if there is none. `mget` has its number of keys first, `lrange`
/// that of elements, `multi` that of commands; the latter two have defaults if nothing follows.
pub(crate) fn parse_mix(text: &str) -> Option<Vec<Share>> {
    text.split(',').map(parse_share).collect()
}

fn parse_share(text: &str) -> Option<Share> {
    let mut parts = text.split(':');
    let name = parts.next()?.to_ascii_lowercase();
    let mut count = |default: Option<usize>| -> Option<usize> {
        let count = parts.next().map_or(default, |count| count.parse().ok())?;
        (1..=COUNT_MAX).contains(&count).then_some(count)
    };
    let kind = match name.as_str() {
        "get" => CommandKind::Get,
        "set" => CommandKind::Set,
        "setex" => CommandKind::SetEx,
        "incr" => CommandKind::Incr,
        "append" => CommandKind::Append,
        "setbit" => CommandKind::SetBit,
        "getrange" => CommandKind::GetRange,
        "expire" => CommandKind::Expire,
        "mget" => CommandKind::MGet(count(None)?),
        "lpush" => CommandKind::LPush,
        "rpop" => CommandKind::RPop,
        "lrange" => CommandKind::LRange(count(Some(RANGE_ELEMENTS))?),
        "multi" => CommandKind::Multi(count(Some(TRANSACTION_COMMANDS))?),
        "multi-any" => CommandKind::MultiAny(count(Some(TRANSACTION_COMMANDS))?),
        "del" => CommandKind::Del,
        "exists" => CommandKind::Exists,
        "ping" => CommandKind::Ping,
        "echo" => CommandKind::Echo,
        _ => return None,
    };
    let weight = parts.next().map_or(Some(1), |weight| weight.parse().ok())?;
    (weight > 0 && parts.next().is_none()).then_some(Share { kind, weight })
}

/// How many different things requests are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Population {
    pub(crate) keys: u64,
    pub(crate) lists: u64,
}

impl Population {
    /// From how many keys, lists or hash tags a command draws. The keys of all tags are as many as keys without.
    pub(crate) fn drawn_by(self, kind: CommandKind) -> u64 {
        match kind {
            CommandKind::LPush | CommandKind::RPop | CommandKind::LRange(_) | CommandKind::Renew(_) => self.lists,
            CommandKind::Multi(commands) => (self.keys / commands as u64).max(1),
            _ => self.keys,
        }
    }
}

/// The sizes of keys and values, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Sizes {
    pub(crate) key_bytes: usize,
    pub(crate) value_bytes: usize,
}

impl Sizes {
    /// Whether so many keys have different names at this size.
    pub(crate) fn have_room_for(self, keys: u64) -> bool {
        self.key_bytes >= KEY_PREFIX.len() + digits_of(keys.saturating_sub(1))
    }

    /// Length of a GET in bytes.
    pub(crate) fn get_bytes(self) -> usize {
        Template::new(CommandKind::Get, self, 1).bytes.len()
    }

    /// Length of a SET in bytes.
    pub(crate) fn set_bytes(self) -> usize {
        Template::new(CommandKind::Set, self, 1).bytes.len()
    }
}

/// The value that keys are set to.
pub(crate) fn value(bytes: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(bytes).collect()
}

fn digits_of(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// A request that was drawn, and can be written more than once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Drawn {
    template: u32,
    /// That of its key, list or hash tag; the last one if it has several.
    number: u64,
}

/// Writes requests.
#[derive(Debug)]
pub(crate) struct Requests {
    /// Templates, and what chooses their keys, lists or hash tags.
    templates: Vec<(Template, KeyChooser)>,
    /// Per template the sum of the weights up to it.
    bounds: Vec<u64>,
    rng: Rng,
}

impl Requests {
    /// Requests of `mix`; `chooser` makes what chooses among so many.
    pub(crate) fn new(
        mix: &[Share],
        sizes: Sizes,
        population: Population,
        chooser: impl Fn(u64) -> KeyChooser,
        rng: Rng,
    ) -> Self {
        let templates = mix.iter().map(|share| {
            let drawn = population.drawn_by(share.kind);
            (Template::new(share.kind, sizes, drawn), chooser(drawn))
        });
        let bounds = mix.iter().scan(0, |sum, share| {
            *sum += u64::from(share.weight);
            Some(*sum)
        });
        Self { templates: templates.collect(), bounds: bounds.collect(), rng }
    }

    /// Appends the next request; what it is, and how many replies it has.
    #[inline]
    pub(crate) fn write_next(&mut self, output: &mut Vec<u8>) -> (Drawn, u32) {
        let index = self.draw_template();
        let (template, chooser) = &mut self.templates[index];
        let start = output.len();
        output.extend_from_slice(&template.bytes);
        let mut chosen = 0;
        for (index, place) in template.places.iter().enumerate() {
            if index == 0 || !template.is_of_one {
                chosen = chooser.next(&mut self.rng);
            }
            let place = start + place;
            write_digits(&mut output[place..place + template.digits], chosen);
        }
        template.write_chances(&mut output[start..], &mut self.rng);
        (Drawn { template: index as u32, number: chosen }, template.replies)
    }

    #[inline]
    fn draw_template(&mut self) -> usize {
        match &*self.bounds {
            [_] => 0,
            bounds => {
                let draw = self.rng.below(bounds[bounds.len() - 1]);
                bounds.iter().position(|bound| draw < *bound).expect("the draw is below the last bound")
            }
        }
    }

    /// The next request, all keys of which have one number; `None` if the sequence that it is of has come to its end.
    #[inline]
    pub(crate) fn draw(&mut self) -> Option<Drawn> {
        let index = self.draw_template();
        let (_, chooser) = &mut self.templates[index];
        let number = (!chooser.is_used_up()).then(|| chooser.next(&mut self.rng))?;
        Some(Drawn { template: index as u32, number })
    }

    /// Whether a request comes once, so that it must be written if it was drawn.
    pub(crate) fn comes_once(&self, drawn: Drawn) -> bool {
        self.templates[drawn.template as usize].1.is_sequence()
    }

    /// The slot of a request's key; `None` if it has none.
    #[inline]
    pub(crate) fn slot(&mut self, drawn: Drawn) -> Option<Slot> {
        let (template, _) = &mut self.templates[drawn.template as usize];
        let (key, place) = (template.key.clone()?, *template.places.first()?);
        // The digits are written anew whenever the template is used.
        write_digits(&mut template.bytes[place..place + template.digits], drawn.number);
        Some(Slot::of_key(&template.bytes[key]))
    }

    /// Appends a request that was drawn; how many replies it has.
    #[inline]
    pub(crate) fn write(&mut self, drawn: Drawn, output: &mut Vec<u8>) -> u32 {
        let (template, _) = &self.templates[drawn.template as usize];
        let start = output.len();
        output.extend_from_slice(&template.bytes);
        for place in &template.places {
            let place = start + place;
            write_digits(&mut output[place..place + template.digits], drawn.number);
        }
        template.write_chances(&mut output[start..], &mut self.rng);
        template.replies
    }
}

/// Writes a number right-aligned; what is left of it stays, zeros that is.
#[inline]
fn write_digits(room: &mut [u8], mut number: u64) {
    for digit in room.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests;
