//! Commands that run on several shards: split by keys, joined by the row's response policy.
//!
//! An error of any part is the reply of the whole: the parts that succeeded are not undone, as when a client had
//! sent them one by one.

use crate::gateway::Onward;
use crate::inspect::{self, Inspection};
use crate::{NodeAction, Question};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{ResponsePolicy, Spec, key_indexes};
use slotmesh_resp::{Args, Elements, Protocol, Reply, elements, reply_length};
use std::collections::HashMap;
use std::hash::Hash;

/// Where a part of a command is at home.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Home {
    /// On a core of this process.
    Core(u16),
    /// With the node of another host that has this slot. Nodes take keys of one slot at a time.
    Slot(Slot),
}

/// One core's or node's share of a split command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part<H> {
    /// Who runs it.
    pub home: H,
    /// Indexes of the arguments that go there, in order, without the command's name.
    pub arguments: Vec<u32>,
}

/// Splits a command with request policy `MultiShard` by the homes of its keys; at least two parts. What stands
/// between a key and the next (the value of MSET) goes with the key.
pub fn split<H: Copy + Eq + Hash>(spec: &'static Spec, args: Args<'_>, home_of: impl Fn(Slot) -> H) -> Vec<Part<H>> {
    /// As many parts are looked through one by one.
    const FEW: usize = 32;
    let step = step(spec);
    let mut parts: Vec<Part<H>> = Vec::new();
    let mut places: HashMap<H, usize> = HashMap::new();
    for index in key_indexes(spec, args) {
        let home = home_of(Slot::of_key(args.at(index)));
        if parts.len() == FEW && places.is_empty() {
            places = parts.iter().enumerate().map(|(place, part)| (part.home, place)).collect();
        }
        let known = match parts.len() {
            0..FEW => parts.iter().position(|part| part.home == home),
            _ => places.get(&home).copied(),
        };
        let place = known.unwrap_or_else(|| {
            if parts.len() >= FEW {
                places.insert(home, parts.len());
            }
            parts.push(Part { home, arguments: Vec::new() });
            parts.len() - 1
        });
        // No request has 2^32 arguments (`ARGUMENTS_MAX`).
        parts[place].arguments.extend((index..index + step).map(|index| index as u32));
    }
    debug_assert!(parts.len() > 1, "{} was placed as one", spec.full_name);
    parts
}

/// Distance from a key to the next.
fn step(spec: &Spec) -> usize {
    spec.keys.first().map_or(1, |keys| keys.step)
}

/// Joins the replies of a command's parts.
#[derive(Debug)]
pub struct Gather {
    join: Join,
    protocol: Protocol,
    replies: Vec<Option<Vec<u8>>>,
    missing: usize,
}

/// How replies become one.
#[derive(Debug)]
enum Join {
    /// Integers are added.
    Sum,
    /// The first reply stands for all.
    First,
    /// Elements of arrays go back to the places of their keys: for each part, those of its elements.
    Places(Vec<Vec<usize>>),
    /// Arrays become one.
    Concatenation,
    /// One of the shares `[number of keys, key]`, each as likely as its number; the number is the chance.
    Choice(u64),
    /// One of the keys, each as likely as its part's weight; the number is the chance.
    Weighed(u64, Vec<u64>),
    /// Texts become one.
    Texts,
    /// Integers of which one must be more than zero.
    Found,
    /// One reply to SCAN, with another cursor.
    Scan(Onward),
    /// Texts become one status line.
    Line,
    /// Digests of the databases' keys become that of all.
    Digest,
    /// Digests of values, of which all but one are zero, become those of all keys.
    Digests,
    /// The joined answers to several questions go to their places in a text. The parts of the first question come first.
    Insertions {
        /// The text.
        text: Vec<u8>,
        /// Where the answers go, ascending, and how their parts become one.
        answers: Vec<(usize, Join)>,
    },
}

impl Gather {
    /// A gatherer for the parts of a split command.
    pub fn of_parts<H>(spec: &'static Spec, args: Args<'_>, parts: &[Part<H>], protocol: Protocol) -> Self {
        let join = match spec.tips.response {
            ResponsePolicy::AggSum => Join::Sum,
            ResponsePolicy::AllSucceeded | ResponsePolicy::OneSucceeded | ResponsePolicy::AggMin => Join::First,
            ResponsePolicy::Default | ResponsePolicy::Special => Join::Places(places(spec, args, parts)),
        };
        Self::new(join, parts.len(), protocol)
    }

    /// A gatherer for a command that went whole to `shards` shards. `chance` decides where the answer must be
    /// chosen among the shards' (RANDOMKEY).
    pub fn everywhere(spec: &'static Spec, shards: usize, protocol: Protocol, chance: u64) -> Self {
        let join = match spec.tips.response {
            ResponsePolicy::AggSum => Join::Sum,
            ResponsePolicy::AllSucceeded | ResponsePolicy::OneSucceeded | ResponsePolicy::AggMin => Join::First,
            ResponsePolicy::Default => Join::Concatenation,
            ResponsePolicy::Special => Join::Choice(chance),
        };
        Self::new(join, shards, protocol)
    }

    /// The same where nodes of other hosts have been asked, too, of which nobody knows how many keys they have: `weights`
    /// says how many slots each part has.
    pub fn over_hosts(spec: &'static Spec, weights: Vec<u64>, protocol: Protocol, chance: u64) -> Self {
        let mut all = Self::everywhere(spec, weights.len(), protocol, chance);
        if matches!(all.join, Join::Choice(_)) {
            all.join = Join::Weighed(chance, weights);
        }
        all
    }

    /// A gatherer for one step of a scan of all hosts.
    pub fn scan(onward: Onward, protocol: Protocol) -> Self {
        Self::new(Join::Scan(onward), 1, protocol)
    }

    /// A gatherer for texts of all cores (CLIENT LIST): `cores` bulk strings are joined in the order of the cores.
    pub fn texts(cores: usize, protocol: Protocol) -> Self {
        Self::new(Join::Texts, cores, protocol)
    }

    /// A gatherer for numbers of all cores, which are added (CLIENT UNBLOCK).
    pub fn sums(cores: usize, protocol: Protocol) -> Self {
        Self::new(Join::Sum, cores, protocol)
    }

    /// A gatherer for what [`Shard::inspect`](crate::Shard::inspect) answers.
    pub fn inspection(what: Inspection) -> fn(usize, Protocol) -> Self {
        match what {
            Inspection::Digest => |parts, protocol| Self::new(Join::Digest, parts, protocol),
            Inspection::DigestValue => |parts, protocol| Self::new(Join::Digests, parts, protocol),
            Inspection::Tables => Self::texts,
            Inspection::Object | Inspection::ObjectTable => |parts, protocol| Self::new(Join::Line, parts, protocol),
            Inspection::Populate => Self::all_ok,
        }
    }

    /// A gatherer for the numbers of clients of an address that cores have closed.
    pub fn kill_one(cores: usize, protocol: Protocol) -> Self {
        Self::new(Join::Found, cores, protocol)
    }

    /// A gatherer for parts that all say OK.
    pub fn all_ok(parts: usize, protocol: Protocol) -> Self {
        Self::new(Join::First, parts, protocol)
    }

    /// A gatherer for the answers of `cores` cores to what a transaction has asked, whose reply is `text`. The parts of
    /// question `n` have the numbers from `n * cores`.
    pub fn of_questions(text: Vec<u8>, questions: &[Question], cores: usize, protocol: Protocol) -> Self {
        let join = |action: &NodeAction| match action {
            NodeAction::ListClients { .. } => Join::Texts,
            NodeAction::KillClients { counts: false, .. } => Join::Found,
            NodeAction::KillClients { .. } | NodeAction::Unblock { .. } => Join::Sum,
            _ => Join::First,
        };
        let answers = questions.iter().map(|question| (question.at, join(&question.action))).collect();
        Self::new(Join::Insertions { text, answers }, questions.len() * cores, protocol)
    }

    fn new(join: Join, parts: usize, protocol: Protocol) -> Self {
        Self { join, protocol, replies: vec![None; parts], missing: parts }
    }

    /// Takes the whole reply of part `index`; whether that was the last one missing.
    ///
    /// # Panics
    /// If that part has replied already.
    pub fn add(&mut self, index: usize, reply: &[u8]) -> bool {
        let earlier = self.replies[index].replace(reply.to_vec());
        assert!(earlier.is_none(), "part {index} replies once");
        self.missing -= 1;
        self.missing == 0
    }

    /// Writes the joined reply; all parts have been added. Where a node of another host has answered what its row does not
    /// promise, the reply says so.
    ///
    /// # Panics
    /// If a part is missing.
    pub fn finish(self, out: &mut Vec<u8>) {
        let replies: Vec<Vec<u8>> =
            self.replies.into_iter().map(|reply| reply.expect("every part has replied")).collect();
        Self::write(self.join, &replies, self.protocol, out);
    }

    fn write(join: Join, replies: &[Vec<u8>], protocol: Protocol, out: &mut Vec<u8>) {
        if let Join::Insertions { text, answers } = join {
            return write_inserted(&text, answers, replies, protocol, out);
        }
        if let Some(error) = replies.iter().find(|reply| reply.starts_with(b"-")) {
            out.extend_from_slice(error);
            return;
        }
        let start = out.len();
        if join.write(replies, &mut Reply::new(out, protocol)).is_none() {
            out.truncate(start);
            Reply::new(out, protocol).error(ReplyError::GarbledReply);
        }
    }
}

fn write_inserted(
    text: &[u8],
    answers: Vec<(usize, Join)>,
    replies: &[Vec<u8>],
    protocol: Protocol,
    out: &mut Vec<u8>,
) {
    let cores = replies.len() / answers.len().max(1);
    let mut from = 0;
    for ((at, join), replies) in answers.into_iter().zip(replies.chunks(cores.max(1))) {
        out.extend_from_slice(&text[from..at]);
        from = at;
        Gather::write(join, replies, protocol, out);
    }
    out.extend_from_slice(&text[from..]);
}

impl Join {
    /// Joins replies none of which is an error; `None` if one is not of the shape that its row promises.
    fn write(self, replies: &[Vec<u8>], reply: &mut Reply<'_>) -> Option<()> {
        let all_texts = || -> Option<Vec<u8>> {
            let texts: Option<Vec<&[u8]>> = replies.iter().map(|reply| text(reply)).collect();
            Some(texts?.concat())
        };
        match self {
            Self::Sum => {
                let numbers: Option<Vec<i64>> = replies.iter().map(|reply| integer(reply)).collect();
                reply.integer(numbers?.into_iter().fold(0, i64::saturating_add));
            }
            Self::Found => {
                let numbers: Option<Vec<i64>> = replies.iter().map(|reply| integer(reply)).collect();
                match numbers?.iter().any(|&number| number > 0) {
                    true => reply.ok(),
                    false => reply.error(ReplyError::NoSuchClient),
                }
            }
            Self::First => reply.buffer().extend_from_slice(&replies[0]),
            Self::Places(places) => write_in_places(replies, &places, reply)?,
            Self::Concatenation => write_concatenated(replies, reply)?,
            Self::Choice(chance) => {
                let shares: Option<Vec<(u64, &[u8])>> = replies.iter().map(|share| counted_key(share)).collect();
                write_chosen(&shares?, chance, reply);
            }
            Self::Weighed(chance, weights) => {
                let share = |(weight, share): (u64, &'_ Vec<u8>)| -> Option<(u64, Vec<u8>)> {
                    // A shard of ours says how many keys it has.
                    let key = if share.starts_with(b"*") { counted_key(share)?.1 } else { share };
                    Some((if is_null(key) { 0 } else { weight }, key.to_vec()))
                };
                let shares: Option<Vec<(u64, Vec<u8>)>> = weights.into_iter().zip(replies).map(share).collect();
                let shares = shares?;
                let shares: Vec<(u64, &[u8])> = shares.iter().map(|(weight, key)| (*weight, &key[..])).collect();
                write_chosen(&shares, chance, reply);
            }
            Self::Scan(onward) => onward.write(&replies[0], reply)?,
            Self::Texts => reply.verbatim(b"txt", &all_texts()?),
            Self::Line => reply.simple(&String::from_utf8_lossy(&all_texts()?)),
            Self::Digest => {
                inspect::write_dataset_digest(replies.iter().map(|reply| text(reply).unwrap_or_default()), reply)
            }
            Self::Digests => {
                inspect::write_value_digests(replies.iter().map(|reply| text(reply).unwrap_or_default()), reply)
            }
            Self::Insertions { .. } => unreachable!("it was written"),
        }
        Some(())
    }
}

/// For each part, the ranks of its keys among all keys of the request.
fn places<H>(spec: &Spec, args: Args<'_>, parts: &[Part<H>]) -> Vec<Vec<usize>> {
    let first = key_indexes(spec, args).next().unwrap_or(1);
    let step = step(spec);
    let rank = |&index: &u32| (index as usize - first) / step;
    parts.iter().map(|part| part.arguments.iter().step_by(step).map(rank).collect()).collect()
}

fn write_in_places(replies: &[Vec<u8>], places: &[Vec<usize>], reply: &mut Reply<'_>) -> Option<()> {
    let mut joined: Vec<&[u8]> = vec![&[]; places.iter().map(Vec::len).sum()];
    for (part, places) in replies.iter().zip(places) {
        let array = array(part)?;
        if array.len() != places.len() {
            return None;
        }
        for (element, &place) in array.zip(places) {
            *joined.get_mut(place)? = element;
        }
    }
    reply.array(joined.len());
    reply.buffer().extend(joined.into_iter().flatten());
    Some(())
}

fn write_concatenated(replies: &[Vec<u8>], reply: &mut Reply<'_>) -> Option<()> {
    let lengths: Option<Vec<usize>> = replies.iter().map(|part| Some(array(part)?.len())).collect();
    reply.array(lengths?.into_iter().sum());
    for part in replies {
        // The elements are what stands behind the first line.
        reply.buffer().extend_from_slice(head(part)?.1);
    }
    Some(())
}

fn write_chosen(shares: &[(u64, &[u8])], chance: u64, reply: &mut Reply<'_>) {
    let total: u64 = shares.iter().map(|(keys, _)| keys).sum();
    // Maps the 64 bits of chance evenly to 0..total.
    let mut chosen = ((u128::from(chance) * u128::from(total)) >> 64) as u64;
    for &(keys, key) in shares {
        if chosen < keys {
            reply.buffer().extend_from_slice(key);
            return;
        }
        chosen -= keys;
    }
    reply.null();
}

/// A share `[number of keys, key or null]`; a share without a key counts nothing.
fn counted_key(share: &[u8]) -> Option<(u64, &[u8])> {
    let mut share = array(share)?;
    let (keys, key) = share.next().zip(share.next())?;
    let keys = if is_null(key) { 0 } else { integer(keys)? };
    Some((u64::try_from(keys).ok()?, key))
}

fn is_null(reply: &[u8]) -> bool {
    reply.starts_with(b"$-1") || reply.starts_with(b"_")
}

fn array(reply: &[u8]) -> Option<Elements<'_>> {
    elements(reply).ok()
}

/// The number of an integer reply.
fn integer(reply: &[u8]) -> Option<i64> {
    reply.starts_with(b":").then(|| head(reply).map(|(number, _)| number))?
}

/// The bytes of a bulk or verbatim string.
fn text(reply: &[u8]) -> Option<&[u8]> {
    if !reply.starts_with(b"$") && !reply.starts_with(b"=") || reply_length(reply) != Ok(Some(reply.len())) {
        return None;
    }
    let (len, rest) = head(reply)?;
    let text = rest.get(..usize::try_from(len).ok()?)?;
    if reply.starts_with(b"=") { text.get(b"txt:".len()..) } else { Some(text) }
}

/// The number in a reply's first line, and what stands behind that line.
fn head(reply: &[u8]) -> Option<(i64, &[u8])> {
    let end = reply.windows(2).position(|pair| pair == b"\r\n")?;
    let number = str::from_utf8(reply.get(1..end)?).ok().and_then(|digits| digits.parse().ok());
    Some((number?, &reply[end + 2..]))
}

#[cfg(test)]
mod tests;
