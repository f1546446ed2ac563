//! What is sent: a mix of commands, as request templates in which only the digits of the keys change.

use crate::keys::KeyChooser;
use slotmesh_base::Rng;

/// Prefix of the keys of strings; counters have their own, since a value is no number.
const KEY_PREFIX: &[u8] = b"key:";
const COUNTER_PREFIX: &[u8] = b"ctr:";
const LIST_PREFIX: &[u8] = b"lst:";
/// Seconds until keys of `setex` expire: longer than any run.
const EXPIRY_SECONDS: &[u8] = b"1000000";
/// Most keys of an `mget`, elements of an `lrange`, commands of a `multi`.
const COUNT_MAX: usize = 1000;

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
    /// MULTI, so many SETs of keys with one hash tag, EXEC.
    Multi(usize),
    /// MULTI, so many SETs of any keys, EXEC.
    MultiAny(usize),
    Ping,
    Echo,
}

impl CommandKind {
    /// How many replies one of it has; each counts as a request in figures.
    pub(crate) fn replies(self) -> u64 {
        match self {
            Self::Multi(commands) | Self::MultiAny(commands) => commands as u64 + 2,
            _ => 1,
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
            CommandKind::Multi(commands) => write!(f, "multi:{commands}"),
            CommandKind::MultiAny(commands) => write!(f, "multi-any:{commands}"),
            CommandKind::Ping => f.write_str("ping"),
            CommandKind::Echo => f.write_str("echo"),
        }?;
        if self.weight == 1 { Ok(()) } else { write!(f, ":{}", self.weight) }
    }
}

/// Reads `get:9,set:1,mget:10:2`: names with weights, 1 if there is none; `mget` has its number of keys first, `lrange`
/// that of elements, `multi` that of commands.
pub(crate) fn parse_mix(text: &str) -> Option<Vec<Share>> {
    text.split(',').map(parse_share).collect()
}

fn parse_share(text: &str) -> Option<Share> {
    let mut parts = text.split(':');
    let name = parts.next()?.to_ascii_lowercase();
    let mut count = || -> Option<usize> {
        let count = parts.next()?.parse().ok()?;
        (1..=COUNT_MAX).contains(&count).then_some(count)
    };
    let kind = match name.as_str() {
        "get" => CommandKind::Get,
        "set" => CommandKind::Set,
        "setex" => CommandKind::SetEx,
        "incr" => CommandKind::Incr,
        "mget" => CommandKind::MGet(count()?),
        "lpush" => CommandKind::LPush,
        "rpop" => CommandKind::RPop,
        "lrange" => CommandKind::LRange(count()?),
        "multi" => CommandKind::Multi(count()?),
        "multi-any" => CommandKind::MultiAny(count()?),
        "del" => CommandKind::Del,
        "exists" => CommandKind::Exists,
        "ping" => CommandKind::Ping,
        "echo" => CommandKind::Echo,
        _ => return None,
    };
    let weight = parts.next().map_or(Some(1), |weight| weight.parse().ok())?;
    (weight > 0 && parts.next().is_none()).then_some(Share { kind, weight })
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
    templates: Vec<Template>,
    /// Per template the sum of the weights up to it.
    bounds: Vec<u64>,
    chooser: KeyChooser,
    rng: Rng,
}

/// One command, or transaction, with room for the digits of its keys.
#[derive(Debug)]
struct Template {
    bytes: Vec<u8>,
    /// Where the digits of each key are.
    places: Vec<usize>,
    digits: usize,
    /// Whether all keys have the same digits.
    is_tagged: bool,
    replies: u64,
}

impl Requests {
    /// Requests of `mix` over `keys` keys.
    pub(crate) fn new(mix: &[Share], sizes: Sizes, keys: u64, chooser: KeyChooser, rng: Rng) -> Self {
        let templates = mix.iter().map(|share| Template::new(share.kind, sizes, keys)).collect();
        let bounds = mix.iter().scan(0, |sum, share| {
            *sum += u64::from(share.weight);
            Some(*sum)
        });
        Self { templates, bounds: bounds.collect(), chooser, rng }
    }

    /// Appends the next request; how many replies it has.
    #[inline]
    pub(crate) fn write_next(&mut self, output: &mut Vec<u8>) -> u64 {
        let index = match &*self.bounds {
            [_] => 0,
            bounds => {
                let draw = self.rng.below(bounds[bounds.len() - 1]);
                bounds.iter().position(|bound| draw < *bound).expect("the draw is below the last bound")
            }
        };
        let template = &self.templates[index];
        let start = output.len();
        output.extend_from_slice(&template.bytes);
        let mut key = None;
        for place in &template.places {
            let chosen = match key {
                Some(key) if template.is_tagged => key,
                _ => self.chooser.next(&mut self.rng),
            };
            key = Some(chosen);
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

enum Part<'a> {
    Text(&'a [u8]),
    Key(&'static [u8]),
    /// The key with that number under a hash tag.
    Tagged(usize),
    Value,
}

impl Template {
    fn new(kind: CommandKind, sizes: Sizes, keys: u64) -> Self {
        use Part::{Key, Tagged, Text, Value};
        let digits = digits_of(keys.saturating_sub(1));
        let parts = match kind {
            CommandKind::Get => vec![Text(b"GET"), Key(KEY_PREFIX)],
            CommandKind::Set => vec![Text(b"SET"), Key(KEY_PREFIX), Value],
            CommandKind::SetEx => vec![Text(b"SETEX"), Key(KEY_PREFIX), Text(EXPIRY_SECONDS), Value],
            CommandKind::Incr => vec![Text(b"INCR"), Key(COUNTER_PREFIX)],
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
            CommandKind::Multi(commands) | CommandKind::MultiAny(commands) => {
                let is_tagged = matches!(kind, CommandKind::Multi(_));
                let key = |number| if is_tagged { Tagged(number) } else { Key(KEY_PREFIX) };
                let sets: Vec<_> = (0..commands).map(|number| [Text(b"SET"), key(number), Value]).collect();
                let (multi, exec) = ([Text(b"MULTI")], [Text(b"EXEC")]);
                let mut all: Vec<&[Part<'_>]> = vec![&multi];
                all.extend(sets.iter().map(<[_; 3]>::as_slice));
                all.push(&exec);
                return Self { is_tagged, ..Self::of_commands(&all, sizes, digits) };
            }
            CommandKind::Ping => vec![Text(b"PING")],
            CommandKind::Echo => vec![Text(b"ECHO"), Value],
        };
        Self::of_commands(&[&parts], sizes, digits)
    }

    fn of_commands(commands: &[&[Part<'_>]], sizes: Sizes, digits: usize) -> Self {
        let replies = commands.len() as u64;
        let mut template = Self { bytes: Vec::new(), places: Vec::new(), digits, is_tagged: false, replies };
        commands.iter().for_each(|parts| template.add(parts, sizes));
        template
    }

    fn add(&mut self, parts: &[Part<'_>], sizes: Sizes) {
        let Self { bytes, places, digits, .. } = self;
        bytes.extend_from_slice(format!("*{}\r\n", parts.len()).as_bytes());
        for part in parts {
            let behind = if let Part::Tagged(number) = part { format!("}}:{number}") } else { String::new() };
            let argument = match part {
                Part::Text(text) => text.to_vec(),
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
            if matches!(part, Part::Key(_) | Part::Tagged(_)) {
                places.push(bytes.len() - behind.len() - *digits);
            }
            bytes.extend_from_slice(b"\r\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Distribution;

    const SIZES: Sizes = Sizes { key_bytes: 16, value_bytes: 5 };

    fn requests(mix: &str, keys: u64, distribution: Distribution) -> Requests {
        let chooser = KeyChooser::new(distribution, keys, 0, 1);
        Requests::new(&parse_mix(mix).unwrap(), SIZES, keys, chooser, Rng::new(1))
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
        let mut requests = requests("multi:10", 2000, Distribution::Sequence { from: 1234, to: 2000 });
        let mut output = Vec::new();
        assert_eq!((requests.write_next(&mut output), CommandKind::Multi(10).replies()), (12, 12));
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
            "multi",
            "lrange:0",
        ] {
            assert_eq!(parse_mix(bad), None, "{bad}");
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
