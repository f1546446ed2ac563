//! What is sent: a mix of commands, as request templates in which only the digits of the keys change.
//!
//! A request is what is counted and timed as one: a command, or a whole transaction with all of its replies.

mod template;

use crate::keys::KeyChooser;
use slotmesh_base::Rng;
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
            _ => Self::Set,
        }
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

    /// Appends the next request; how many replies it has.
    #[inline]
    pub(crate) fn write_next(&mut self, output: &mut Vec<u8>) -> u32 {
        let index = match &*self.bounds {
            [_] => 0,
            bounds => {
                let draw = self.rng.below(bounds[bounds.len() - 1]);
                bounds.iter().position(|bound| draw < *bound).expect("the draw is below the last bound")
            }
        };
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
mod tests {
    use super::*;
    use crate::keys::Distribution;

    const SIZES: Sizes = Sizes { key_bytes: 16, value_bytes: 5 };

    fn requests(mix: &str, keys: u64, distribution: Distribution) -> Requests {
        let population = Population { keys, lists: 10 };
        let chooser = |count| KeyChooser::new(distribution, count, 0, 1);
        Requests::new(&parse_mix(mix).unwrap(), SIZES, population, chooser, Rng::new(1))
    }

    #[test]
    fn requests_are_whole_and_name_the_chosen_keys() {
        let mut requests = requests("set", 2000, Distribution::Sequence { from: 7, to: 2000 });
        let mut output = b"before".to_vec();
        requests.write_next(&mut output);
        requests.write_next(&mut output);
        let expected = "before*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$5\r\nabcde\r\n\
                        *3\r\n$3\r\nSET\r\n$16\r\nkey:000000000008\r\n$5\r\nabcde\r\n";
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }

    #[test]
    fn every_command_has_its_form() {
        for (mix, expected) in [
            ("get", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n"),
            ("setex", "*4\r\n$5\r\nSETEX\r\n$16\r\nkey:000000000000\r\n$7\r\n1000000\r\n$5\r\nabcde\r\n"),
            ("incr", "*2\r\n$4\r\nINCR\r\n$16\r\nctr:000000000000\r\n"),
            ("mget:2", "*3\r\n$4\r\nMGET\r\n$16\r\nkey:000000000000\r\n$16\r\nkey:000000000001\r\n"),
            ("del", "*2\r\n$3\r\nDEL\r\n$16\r\nkey:000000000000\r\n"),
            ("lpush", "*3\r\n$5\r\nLPUSH\r\n$16\r\nlst:000000000000\r\n$5\r\nabcde\r\n"),
            ("rpop", "*2\r\n$4\r\nRPOP\r\n$16\r\nlst:000000000000\r\n"),
            ("lrange:100", "*4\r\n$6\r\nLRANGE\r\n$16\r\nlst:000000000000\r\n$1\r\n0\r\n$2\r\n99\r\n"),
            (
                "multi:2",
                "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$16\r\n{000000000000}:0\r\n$5\r\nabcde\r\n\
                 *3\r\n$3\r\nSET\r\n$16\r\n{000000000000}:1\r\n$5\r\nabcde\r\n*1\r\n$4\r\nEXEC\r\n",
            ),
            (
                "multi-any:2",
                "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$5\r\nabcde\r\n\
                 *3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$5\r\nabcde\r\n*1\r\n$4\r\nEXEC\r\n",
            ),
            ("exists", "*2\r\n$6\r\nEXISTS\r\n$16\r\nkey:000000000000\r\n"),
            ("ping", "*1\r\n$4\r\nPING\r\n"),
            ("echo", "*2\r\n$4\r\nECHO\r\n$5\r\nabcde\r\n"),
        ] {
            let mut output = Vec::new();
            requests(mix, 10, Distribution::Sequence { from: 0, to: 10 }).write_next(&mut output);
            assert_eq!(String::from_utf8(output).unwrap(), expected, "{mix}");
        }
    }

    #[test]
    fn a_transaction_has_keys_of_one_tag_and_a_reply_for_each_command() {
        let mut requests = requests("multi:10", 20_000, Distribution::Sequence { from: 1234, to: 2000 });
        let mut output = Vec::new();
        assert_eq!(requests.write_next(&mut output), 12);
        let text = String::from_utf8(output).unwrap();
        assert_eq!(text.matches("\r\n{000000001234}:").count(), 10);
        assert!(text.contains("}:9\r\n"));
    }

    #[test]
    fn a_mix_keeps_its_weights() {
        let mut requests = requests("get:3,ping:1", 10, Distribution::Uniform);
        let mut gets = 0;
        for _ in 0..10_000 {
            let mut output = Vec::new();
            requests.write_next(&mut output);
            gets += u32::from(output.starts_with(b"*2"));
        }
        assert!((7300..7700).contains(&gets), "{gets}");
    }

    #[test]
    fn a_mix_is_read_or_refused() {
        let mget = Share { kind: CommandKind::MGet(10), weight: 2 };
        let get = Share { kind: CommandKind::Get, weight: 9 };
        assert_eq!(parse_mix("GET:9,mget:10:2"), Some(vec![get, mget]));
        for text in [
            "get",
            "set:3",
            "setex",
            "incr",
            "mget:10",
            "mget:10:2",
            "del",
            "exists",
            "ping",
            "echo:7",
            "lpush",
            "rpop:2",
            "lrange:100",
            "multi:10",
            "multi-any:10:3",
        ] {
            assert_eq!(parse_mix(text).unwrap()[0].to_string(), text);
        }
        for bad in [
            "",
            "get,",
            "get:0",
            "get:1:2",
            "mget",
            "mget:0",
            "mget:1001",
            "flushall",
            "get:x",
            "get:-1",
            "multi:0",
            "multi:10:1:1",
            "lrange:0",
            "renew:3",
        ] {
            assert_eq!(parse_mix(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_usual_length_of_ranges_and_transactions_need_not_be_said() {
        let kinds: Vec<_> = parse_mix("lrange,multi,multi-any").unwrap().iter().map(|share| share.kind).collect();
        assert_eq!(kinds, [CommandKind::LRange(100), CommandKind::Multi(10), CommandKind::MultiAny(10)]);
    }

    /// A request is followed by its number of replies, and commands draw from what they are about.
    #[test]
    fn keys_lists_and_hash_tags_are_drawn_from_their_own_numbers() {
        for (mix, drawn, replies) in
            [("get", 2000, 1), ("rpop", 10, 1), ("multi:10", 200, 12), ("multi-any:3", 2000, 5)]
        {
            let kind = parse_mix(mix).unwrap()[0].kind;
            assert_eq!(Population { keys: 2000, lists: 10 }.drawn_by(kind), drawn, "{mix}");
            let mut output = Vec::new();
            assert_eq!(requests(mix, 2000, Distribution::Uniform).write_next(&mut output), replies, "{mix}");
        }
        assert_eq!(Population { keys: 3, lists: 1 }.drawn_by(CommandKind::Multi(10)), 1);
    }

    /// Filling in sequence names every list once, with both of its commands.
    #[test]
    fn a_list_is_filled_anew() {
        let mix = [Share { kind: CommandKind::RPop.filler(2), weight: 1 }];
        let chooser = |_| KeyChooser::new(Distribution::Sequence { from: 3, to: 5 }, 0, 0, 1);
        let mut requests = Requests::new(&mix, SIZES, Population { keys: 1, lists: 10 }, chooser, Rng::new(1));
        for list in [3, 4] {
            let mut output = Vec::new();
            assert_eq!(requests.write_next(&mut output), 2);
            let key = format!("$16\r\nlst:{list:012}\r\n");
            let pushed = "$5\r\nabcde\r\n".repeat(2);
            let expected = format!("*2\r\n$3\r\nDEL\r\n{key}*4\r\n$5\r\nRPUSH\r\n{key}{pushed}");
            assert_eq!(String::from_utf8(output).unwrap(), expected);
        }
    }

    #[test]
    fn keys_must_differ_within_their_size() {
        let sizes = |key_bytes| Sizes { key_bytes, value_bytes: 1 };
        assert!(sizes(5).have_room_for(10) && !sizes(5).have_room_for(11));
        assert!(sizes(11).have_room_for(10_000_000) && !sizes(10).have_room_for(10_000_000));
    }

    #[test]
    fn the_sizes_of_requests_are_those_on_the_wire() {
        let sizes = Sizes { key_bytes: 16, value_bytes: 32 };
        assert_eq!((sizes.get_bytes(), sizes.set_bytes()), (36, 75));
    }
}
