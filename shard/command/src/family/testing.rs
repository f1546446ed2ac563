//! Runs handlers over a real keyspace, from words to reply bytes, and their effects over another one.

mod follow;
mod random;

use crate::{Beside, Call, Effects, Outcome, Reach, ValueLimits, first_key_index, resolve, write_unknown};
use slotmesh_base::{ReplyError, Rng, UnixMillis};
use slotmesh_keyspace::{Access, Change, Key, KeyHasher, Keyspace, PackedLimit};
use slotmesh_resp::{ArgRange, Args, Protocol, Reply};
use std::ops::RangeInclusive;

/// One shard, or several, the clock in the hand of the test.
pub(crate) struct Fixture {
    pub(crate) keyspace: Keyspace,
    pub(crate) effects: Effects,
    /// The other shards: databases and effects.
    pub(crate) others: Vec<(Keyspace, Effects)>,
    /// Events of the last command: of keys that had expired, and all others.
    pub(crate) events: (usize, usize),
    /// What has become of the last command.
    pub(crate) outcome: Outcome,
    pub(crate) may_block: bool,
    pub(crate) now: UnixMillis,
    pub(crate) db: usize,
    pub(crate) protocol: Protocol,
    pub(crate) partial: bool,
    pub(crate) is_node: bool,
    pub(crate) limits: ValueLimits,
    hasher: KeyHasher,
    rng: Rng,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::over(0..=16383)
    }

    pub(crate) fn over(slots: RangeInclusive<u16>) -> Self {
        let hasher = hasher();
        Self {
            keyspace: Keyspace::new(16, slots, hasher),
            effects: Effects::default(),
            others: Vec::new(),
            events: (0, 0),
            outcome: Outcome::Replied,
            may_block: true,
            now: UnixMillis(1_700_000_000_000),
            db: 0,
            protocol: Protocol::Resp2,
            partial: false,
            is_node: false,
            limits: ValueLimits {
                string_bytes_max: 512 << 20,
                list_packed: PackedLimit::default(),
                access: Access::default(),
                shares_integers: true,
                compresses: true,
            },
            hasher,
            rng: Rng::new(7),
        }
    }

    /// Several shards, that of the first slots first; each begins at one of `starts` (but for the first, at 0).
    pub(crate) fn with_shards(starts: &[u16]) -> Self {
        let first = starts.first().map_or(16383, |start| start - 1);
        let mut fixture = Self::over(0..=first);
        for (index, &start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).map_or(16383, |next| next - 1);
            fixture.others.push((Keyspace::new(16, start..=end, fixture.hasher), Effects::default()));
        }
        fixture
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
        let first_key = first_key_index(spec, args.len()).map(|index| self.hasher.key(args.at(index)));
        let home = self.home_of(first_key.as_ref());
        self.exchange(home);
        let mut others: Vec<_> =
            self.others.iter_mut().map(|(keyspace, effects)| Beside { keyspace, effects }).collect();
        self.keyspace.set_access(self.limits.access);
        let mut call = Call {
            keyspace: &mut self.keyspace,
            effects: &mut self.effects,
            others: &mut others,
            db: self.db,
            hasher: self.hasher,
            first_key: &first_key,
            args,
            now: self.now,
            rng: &mut self.rng,
            reply: Reply::new(out, self.protocol),
            limits: &self.limits,
            partial: self.partial,
            is_node: self.is_node,
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
        self.exchange(home);
        self.end_command();
        result
    }

    /// The place of a key's shard among `others`, unless it is the first.
    fn home_of(&self, key: Option<&Key<'_>>) -> Option<usize> {
        let slot = key?.slot;
        self.others.iter().position(|(keyspace, _)| keyspace.holds(slot))
    }

    /// Makes another shard the home one, and back.
    fn exchange(&mut self, home: Option<usize>) {
        if let Some(place) = home {
            let (keyspace, effects) = &mut self.others[place];
            std::mem::swap(&mut self.keyspace, keyspace);
            std::mem::swap(&mut self.effects, effects);
        }
    }

    /// Ends the command and its block on every shard.
    fn end_command(&mut self) {
        self.events = (0, 0);
        let others = self.others.iter_mut().map(|(keyspace, effects)| (keyspace, effects));
        for (keyspace, effects) in std::iter::once((&mut self.keyspace, &mut self.effects)).chain(others) {
            for event in keyspace.take_events() {
                if event.change == Change::Expired {
                    effects.push_expired(event.db, &event.key);
                    self.events.0 += 1;
                } else {
                    self.events.1 += 1;
                }
            }
            effects.end_command();
            effects.end_block();
        }
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

/// The hash of all tests' keys.
fn hasher() -> KeyHasher {
    KeyHasher::new([1, 2])
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
