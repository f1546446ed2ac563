//! Runs handlers over a real keyspace, from words to reply bytes.

use crate::{Call, Effects, Outcome, Reach, ValueLimits, first_key_index, resolve, write_unknown};
use slotmesh_base::{ReplyError, Rng, UnixMillis};
use slotmesh_keyspace::{KeyHasher, Keyspace, PackedLimit};
use slotmesh_resp::{ArgRange, Args, Protocol, Reply};
use std::ops::RangeInclusive;

/// One shard, its clock in the hand of the test.
pub(crate) struct Fixture {
    pub(crate) keyspace: Keyspace,
    pub(crate) effects: Effects,
    /// What has become of the last command.
    pub(crate) outcome: Outcome,
    pub(crate) may_block: bool,
    pub(crate) now: UnixMillis,
    pub(crate) db: usize,
    pub(crate) protocol: Protocol,
    pub(crate) partial: bool,
    pub(crate) limits: ValueLimits,
    hasher: KeyHasher,
    rng: Rng,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::over(0..=16383)
    }

    pub(crate) fn over(slots: RangeInclusive<u16>) -> Self {
        let hasher = KeyHasher::new([1, 2]);
        Self {
            keyspace: Keyspace::new(16, slots, hasher),
            effects: Effects::default(),
            outcome: Outcome::Replied,
            may_block: true,
            now: UnixMillis(1_700_000_000_000),
            db: 0,
            protocol: Protocol::Resp2,
            partial: false,
            limits: ValueLimits { string_bytes_max: 512 << 20, list_packed: PackedLimit::default() },
            hasher,
            rng: Rng::new(7),
        }
    }

    /// The reply to words separated by spaces, its line ends shown as spaces.
    pub(crate) fn run(&mut self, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        show(&self.run_words(&words))
    }

    /// The reply to arguments of any bytes.
    pub(crate) fn run_words(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let request = Request::new(words);
        let args = request.args();
        let mut out = Vec::new();
        match self.execute(args, &mut out) {
            Ok(()) => {}
            Err(error) => {
                out.clear();
                Reply::new(&mut out, self.protocol).error(error);
            }
        }
        out
    }

    fn execute(&mut self, args: Args<'_>, out: &mut Vec<u8>) -> Result<(), ReplyError> {
        let spec = match resolve(args) {
            Ok(spec) => spec,
            Err(unknown) => {
                write_unknown(unknown, args, &mut Reply::new(out, self.protocol));
                return Ok(());
            }
        };
        if !spec.accepts(args.len()) {
            return Err(ReplyError::WrongArity(spec.full_name));
        }
        let (Reach::Slot(handler) | Reach::Shard(handler)) = spec.reach else { panic!("{} has no handler", spec.name) };
        let mut call = Call {
            keyspace: &mut self.keyspace,
            effects: &mut self.effects,
            others: &mut [],
            db: self.db,
            hasher: self.hasher,
            first_key: first_key_index(spec, args.len()).map(|index| self.hasher.key(args.at(index))),
            args,
            now: self.now,
            rng: &mut self.rng,
            reply: Reply::new(out, self.protocol),
            limits: self.limits,
            partial: self.partial,
            may_block: self.may_block,
            outcome: Outcome::Replied,
            replays: false,
        };
        let result = handler(&mut call);
        let replays = call.replays;
        self.outcome = call.outcome;
        if replays {
            self.effects.push(self.db as u16, args.iter_from(0));
        }
        result
    }

    /// Runs each request and compares its reply; a request `@n` lets n milliseconds pass instead.
    pub(crate) fn script(&mut self, steps: &[(&str, &str)]) {
        for (line, (request, reply)) in steps.iter().enumerate() {
            match request.strip_prefix('@') {
                Some(millis) => self.now.0 += millis.parse::<i64>().unwrap(),
                None => assert_eq!(self.run(request), *reply, "step {line}: {request}"),
            }
        }
    }
}

/// A request in memory.
pub(crate) struct Request {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Request {
    pub(crate) fn new(words: &[&[u8]]) -> Self {
        let mut request = Self { bytes: Vec::new(), ranges: Vec::new() };
        for word in words {
            request.ranges.push(ArgRange { start: request.bytes.len() as u32, len: word.len() as u32 });
            request.bytes.extend_from_slice(word);
        }
        request
    }

    pub(crate) fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }
}

/// A reply with its line ends shown as spaces, but for the last one.
pub(crate) fn show(reply: &[u8]) -> String {
    let text = String::from_utf8_lossy(reply).replace("\r\n", " ");
    text.strip_suffix(' ').unwrap_or(&text).to_owned()
}
