//! What effects did, done again: the way into a shard for a replication stream and for an append-only file.
//!
//! A stream is what [`slotmesh_command::Effects`] writes: arrays of SELECT, MULTI, EXEC and writes. Nothing expires
//! while it is replayed, since whoever wrote it has said which keys are gone. What stands between MULTI and EXEC is kept
//! until EXEC has come, so that nobody ever sees half of it, also if the stream ends there.
//!
//! A master's stream holds words for its replicas, too: PING, REPLCONF GETACK, and messages of PUBLISH.
//!
//! After an error the shard is not what the stream says, and only a new beginning helps.

use crate::exec::{end_blocks, run_together};
use crate::{Context, KeptRequests, Shard};
use slotmesh_base::limits::{REPLAY_BYTES_KEPT, REQUEST_BYTES_MAX};
use slotmesh_base::{Slot, UnixMillis};
use slotmesh_command::{
    ChannelKind, ConnectionCommand, Flags, NodeCommand, PubSubCommand, Reach, Spec, TransactionCommand, ValueLimits,
    key_indexes, parse_integer, resolve,
};
use slotmesh_resp::{ArgRange, Args, DecodeLimits, Decoder, Protocol, ProtocolError, Step};
use std::fmt;
use std::mem::take;

/// A stream that cannot be replayed further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplayError {
    /// What is wrong.
    pub fault: ReplayFault,
    /// Bytes of the stream in front of the command with the fault.
    pub at: u64,
}

/// What is wrong with a stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayFault {
    /// The bytes are no requests.
    Broken(ProtocolError),
    /// What should be an array does not begin as one.
    NoArray,
    /// There is no command of that name; how it begins.
    UnknownCommand(Excerpt),
    /// The command has too few or too many arguments.
    WrongArity(&'static str),
    /// The command is no effect.
    NoEffect(&'static str),
    /// SELECT of a database that the shard does not have.
    NoSuchDatabase,
    /// A key is of a slot that the shard does not hold.
    KeyElsewhere(&'static str),
    /// MULTI after MULTI, or EXEC without it.
    Misplaced(&'static str),
    /// More between MULTI and EXEC than can be kept ([`KeptRequests::has_room`]).
    TooLarge,
    /// The command gave an error.
    Refused(&'static str),
    /// The stream ends inside of a command, or before the EXEC of a MULTI.
    Truncated,
}

/// How a command begins: its name and first argument, as far as they fit into a line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; EXCERPT_BYTES_MAX],
    len: u8,
}

/// Most bytes of a command that are told.
const EXCERPT_BYTES_MAX: usize = 80;

impl Excerpt {
    fn of(args: Args<'_>) -> Self {
        let mut excerpt = Self { bytes: [0; EXCERPT_BYTES_MAX], len: 0 };
        let words = args.iter_from(0).take(2).enumerate();
        let bytes = words.flat_map(|(index, word)| (index > 0).then_some(&b' ').into_iter().chain(word));
        for (place, byte) in excerpt.bytes.iter_mut().zip(bytes) {
            *place = *byte;
            excerpt.len += 1;
        }
        excerpt
    }
}

impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bytes[..usize::from(self.len)].escape_ascii())
    }
}

impl fmt::Debug for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{self}'")
    }
}

/// What a stream says beside its effects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplayNews {
    /// How much of the stream was applied when it asked for that (REPLCONF GETACK).
    pub ack: Option<u64>,
    /// Messages for our clients: kind of channel, channel, message.
    pub messages: Vec<(ChannelKind, Vec<u8>, Vec<u8>)>,
}

/// A stream that is being replayed on a shard, in whatever pieces it comes.
#[derive(Debug, Default)]
pub struct Replay {
    takes_all_slots: bool,
    news: ReplayNews,
    decoder: Decoder,
    /// Bytes of a command that has not come whole.
    unfinished: Vec<u8>,
    ranges: Vec<ArgRange>,
    /// Selected database.
    db: u16,
    /// What has come since MULTI.
    block: Option<Block>,
    /// Bytes of the stream in front of `unfinished`.
    decoded: u64,
    applied: u64,
    reply: Vec<u8>,
}

/// Commands that wait for their EXEC.
#[derive(Debug, Default)]
struct Block {
    requests: KeptRequests,
    /// Where each stands in the stream.
    at: Vec<u64>,
}

/// Argument lengths are bounded by those of requests only.
const LIMITS: DecodeLimits = DecodeLimits { bulk_bytes_max: REQUEST_BYTES_MAX as i64, authenticated: true };

/// Before this nothing expires.
pub(crate) const BEFORE_ALL_EXPIRIES: UnixMillis = UnixMillis(i64::MIN);

impl Shard {
    /// Replays a whole stream of effects. `limits` say in which form values are kept; they refuse nothing.
    ///
    /// # Errors
    /// If it is no such stream, or not the whole of one.
    pub fn replay(&mut self, stream: &[u8], limits: ValueLimits) -> Result<(), ReplayError> {
        let mut replay = Replay::default();
        replay.feed(&mut [self], stream, limits)?;
        replay.finish()
    }
}

/// Runs an effect in a block.
fn replay_one(
    shards: &mut [&mut Shard],
    spec: &'static Spec,
    args: Args<'_>,
    db: u16,
    limits: ValueLimits,
    reply: &mut Vec<u8>,
) -> Result<(), ReplayFault> {
    let limits = ValueLimits { string_bytes_max: usize::MAX, ..limits };
    let (now, protocol) = (BEFORE_ALL_EXPIRIES, Protocol::Resp3);
    let context = Context {
        db,
        protocol,
        now,
        first_key: None,
        limits,
        partial: false,
        is_node: false,
        may_block: false,
        tracked: None,
    };
    reply.clear();
    run_together(shards, spec, args, &context, reply);
    if reply.first() == Some(&b'-') { Err(ReplayFault::Refused(spec.full_name)) } else { Ok(()) }
}

/// Whether this is an effect that these shards can take, and which.
fn admit_effect(shards: &[&mut Shard], args: Args<'_>, takes_all_slots: bool) -> Result<&'static Spec, ReplayFault> {
    let spec = resolve(args).map_err(|_| ReplayFault::UnknownCommand(Excerpt::of(args)))?;
    if !spec.accepts(args.len()) {
        return Err(ReplayFault::WrongArity(spec.full_name));
    }
    match spec.reach {
        Reach::Connection(ConnectionCommand::Select | ConnectionCommand::Ping)
        | Reach::Node(NodeCommand::ReplConf)
        | Reach::PubSub(PubSubCommand::Publish(_))
        | Reach::Transaction(TransactionCommand::Multi | TransactionCommand::Exec) => Ok(spec),
        Reach::Slot(_) | Reach::Shard(_) if spec.flags.contains(Flags::WRITE) => {
            let is_here = |index| {
                let slot = Slot::of_key(args.at(index));
                shards.iter().any(|shard| shard.keyspace.holds(slot))
            };
            let all_are_here = takes_all_slots || key_indexes(spec, args).all(is_here);
            if all_are_here { Ok(spec) } else { Err(ReplayFault::KeyElsewhere(spec.full_name)) }
        }
        Reach::Slot(_)
        | Reach::Shard(_)
        | Reach::Connection(_)
        | Reach::Transaction(_)
        | Reach::Node(_)
        | Reach::PubSub(_)
        | Reach::Container => Err(ReplayFault::NoEffect(spec.full_name)),
    }
}

impl Replay {
    /// Replays what the stream has gained, on the shards that have its keys; ascending by slots.
    ///
    /// # Errors
    /// If it is no stream of effects of those shards. Nothing can be replayed after that.
    pub fn feed(&mut self, shards: &mut [&mut Shard], gained: &[u8], limits: ValueLimits) -> Result<(), ReplayError> {
        let mut bytes = take(&mut self.unfinished);
        bytes.extend_from_slice(gained);
        let mut position = 0;
        while let Some(&first) = bytes.get(position) {
            let at = self.decoded + position as u64;
            let fail = |fault| ReplayError { fault, at };
            if first != b'*' {
                return Err(fail(ReplayFault::NoArray));
            }
            let mut ranges = take(&mut self.ranges);
            ranges.clear();
            let step = self.decoder.decode(&mut bytes, &mut position, &LIMITS, &mut ranges);
            let step = step.map_err(|error| fail(ReplayFault::Broken(error)))?;
            if step == Step::Request {
                let end = self.decoded + position as u64;
                self.take_effect(shards, Args::new(&bytes, &ranges), at, end, limits)?;
            }
            self.ranges = ranges;
            if step == Step::Incomplete {
                break;
            }
        }
        self.decoded += position as u64;
        bytes.drain(..position);
        bytes.shrink_to(REPLAY_BYTES_KEPT.max(bytes.len()));
        self.unfinished = bytes;
        Ok(())
    }

    /// Bytes of the stream that have been replayed: to the end of the last whole block.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// Bytes of the stream that have come.
    pub fn decoded(&self) -> u64 {
        self.decoded + self.unfinished.len() as u64
    }

    /// A stream whose keys are taken whatever their slots: a replica holds what its master does, also while the two have
    /// heard differently of who owns a slot.
    pub fn of_master() -> Self {
        Self { takes_all_slots: true, ..Self::default() }
    }

    /// The stream goes on where this database was selected.
    pub fn select(&mut self, db: u16) {
        self.db = db;
    }

    /// The database that is selected behind what was replayed.
    pub fn selected(&self) -> u16 {
        self.db
    }

    /// Takes what the stream has said beside its effects.
    pub fn take_news(&mut self) -> ReplayNews {
        take(&mut self.news)
    }

    /// The stream goes on behind what was applied, with whatever database it had selected there; what came behind it
    /// comes again.
    pub fn rewind(&mut self) {
        (self.decoder, self.block) = (Decoder::default(), None);
        self.unfinished.clear();
        self.decoded = self.applied;
    }

    /// Ends the stream.
    ///
    /// # Errors
    /// If there is more of it than could be replayed: what stands behind [`applied`](Self::applied).
    pub fn finish(self) -> Result<(), ReplayError> {
        let is_whole = self.block.is_none() && self.unfinished.is_empty();
        if is_whole { Ok(()) } else { Err(ReplayError { fault: ReplayFault::Truncated, at: self.applied }) }
    }

    /// Runs an effect, or keeps it for the EXEC of its block. It stands in the stream from `at` to `end`.
    fn take_effect(
        &mut self,
        shards: &mut [&mut Shard],
        args: Args<'_>,
        at: u64,
        end: u64,
        limits: ValueLimits,
    ) -> Result<(), ReplayError> {
        let fail = |fault| ReplayError { fault, at };
        let spec = admit_effect(shards, args, self.takes_all_slots).map_err(fail)?;
        match (spec.reach, &mut self.block) {
            (Reach::Transaction(TransactionCommand::Multi), block @ None) => *block = Some(Block::default()),
            (Reach::Transaction(TransactionCommand::Exec), Some(_)) => self.end_block(shards, end, limits)?,
            (Reach::Transaction(_), _) => return Err(fail(ReplayFault::Misplaced(spec.full_name))),
            (_, Some(block)) => block.keep(spec, args, at).map_err(fail)?,
            (Reach::Node(_), None) => {
                if args.find(1).is_some_and(|word| word.eq_ignore_ascii_case(b"getack")) {
                    // As in Redis the question itself is not part of the answer.
                    self.news.ack = Some(self.applied);
                }
                self.applied = end;
            }
            (_, None) => {
                self.run(shards, spec, args, limits).map_err(fail)?;
                end_blocks(shards, BEFORE_ALL_EXPIRIES, limits);
                self.applied = end;
            }
        }
        Ok(())
    }

    fn end_block(&mut self, shards: &mut [&mut Shard], end: u64, limits: ValueLimits) -> Result<(), ReplayError> {
        let Block { requests, at } = self.block.take().unwrap_or_default();
        for (request, at) in requests.iter().zip(at) {
            let spec = request.spec.expect("an effect has its row");
            self.run(shards, spec, requests.args(request), limits).map_err(|fault| ReplayError { fault, at })?;
        }
        end_blocks(shards, BEFORE_ALL_EXPIRIES, limits);
        self.applied = end;
        Ok(())
    }

    fn run(
        &mut self,
        shards: &mut [&mut Shard],
        spec: &'static Spec,
        args: Args<'_>,
        limits: ValueLimits,
    ) -> Result<(), ReplayFault> {
        match spec.reach {
            Reach::Connection(ConnectionCommand::Ping) | Reach::Node(_) => return Ok(()),
            Reach::PubSub(PubSubCommand::Publish(kind)) => {
                self.news.messages.push((kind, args.at(1).to_vec(), args.at(2).to_vec()));
                return Ok(());
            }
            _ => {}
        }
        if let Reach::Connection(_) = spec.reach {
            let databases = shards.first().map_or(0, |shard| shard.keyspace.databases());
            let is_there = |index: &u16| usize::from(*index) < databases;
            let index = parse_integer(args.at(1)).ok().and_then(|index| u16::try_from(index).ok()).filter(is_there);
            self.db = index.ok_or(ReplayFault::NoSuchDatabase)?;
            return Ok(());
        }
        replay_one(shards, spec, args, self.db, limits, &mut self.reply)
    }
}

impl Block {
    fn keep(&mut self, spec: &'static Spec, args: Args<'_>, at: u64) -> Result<(), ReplayFault> {
        if !self.requests.has_room(args.iter_from(0).map(<[u8]>::len).sum()) {
            return Err(ReplayFault::TooLarge);
        }
        self.requests.push(Some(spec), args.iter_from(0));
        self.at.push(at);
        Ok(())
    }
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match self.fault {
            ReplayFault::Broken(error) => write!(f, "byte {at}: {error}"),
            ReplayFault::NoArray => write!(f, "byte {at}: an array should begin here"),
            ReplayFault::UnknownCommand(begin) => write!(f, "byte {at}: unknown command '{begin}'"),
            ReplayFault::WrongArity(name) => write!(f, "byte {at}: wrong number of arguments of {name}"),
            ReplayFault::NoEffect(name) => write!(f, "byte {at}: {name} is not replayed"),
            ReplayFault::NoSuchDatabase => write!(f, "byte {at}: no such database"),
            ReplayFault::KeyElsewhere(name) => write!(f, "byte {at}: {name} with a key of a slot that is not here"),
            ReplayFault::Misplaced(name) => write!(f, "byte {at}: {name} is out of place"),
            ReplayFault::TooLarge => write!(f, "byte {at}: a transaction that is too large"),
            ReplayFault::Refused(name) => write!(f, "byte {at}: {name} gave an error"),
            ReplayFault::Truncated => write!(f, "byte {at}: what follows is not whole"),
        }
    }
}

impl std::error::Error for ReplayError {}

#[cfg(test)]
mod tests;
