//! What every command is counted and timed by, where it runs.
//!
//! A reading of the clock costs a tenth of a GET. So within a batch the end of a command is the begin of the next, and
//! commands that all take about as long as each other (`Spec::is_brief`) are timed together, a few at a time, each
//! counting an equal share; one that moves many bytes is the last of its group and gets what the others do not account
//! for. Where slow commands are meant to be found that are not slow at all (less than a millisecond), each is timed
//! alone.

use crate::process::Process;
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_command::{Flags, Spec};
use slotmesh_conf::Hot;
use slotmesh_io::{SocketId, TickClock};
use slotmesh_resp::Args;
use slotmesh_shard::{Client, LatencyEvent, Ledger, Shard, SlowClient};
use std::sync::Arc;

/// Most commands that are timed together.
const GROUP_MAX: usize = 16;
/// Bytes of a request and its reply beyond which a command ends its group.
const GROUP_BYTES_MAX: usize = 4096;
/// A command counts as slow at the earliest after so many nanoseconds, if brief ones are to be timed together.
const GROUP_SLOW_NANOS_MIN: u64 = 1_000_000;
/// The most that a brief command of few bytes is thought to take, in nanoseconds.
const BRIEF_NANOS_MAX: u64 = 1000;

/// The measuring of one core.
#[derive(Debug)]
pub(crate) struct Meter {
    process: Arc<Process>,
    core: u16,
    clock: TickClock,
    /// The time of the turn.
    pub(crate) now: UnixMillis,
    /// When the last command ended.
    last: u64,
    /// Commands of the group that is not timed yet.
    group: [u16; GROUP_MAX],
    grouped: usize,
    /// Whether brief commands are timed together.
    groups: bool,
    /// Whether the histograms are wanted.
    tracks: bool,
    /// Nanoseconds from which on a command is slow, or an event of the latency monitor.
    slow_nanos: u64,
    /// Microseconds from which on a command goes into the slow log; `None`: never.
    slow_micros: Option<u64>,
    /// Milliseconds from which on it is an event; 0: never.
    event_ms: u64,
    /// Most entries of the slow log.
    slow_log_len_max: usize,
    /// Commands that have ended.
    pub(crate) commands: u64,
    /// Error replies.
    pub(crate) errors: u64,
    /// Nanoseconds that active expiry has taken.
    pub(crate) expiry_nanos: u64,
}

/// Who sent a command.
#[derive(Clone, Copy)]
pub(crate) enum Sender<'a> {
    /// One of our clients.
    Ours(&'a Client),
    /// A connection of a core.
    Of(u16, SocketId),
}

impl Meter {
    /// The meter of a core.
    pub(crate) fn new(process: Arc<Process>, core: u16, hot: &Hot) -> Self {
        let clock = process.ticks;
        let mut meter = Self {
            process,
            core,
            clock,
            now: UnixMillis::default(),
            last: clock.now(),
            group: [0; GROUP_MAX],
            grouped: 0,
            groups: false,
            tracks: false,
            slow_nanos: 0,
            slow_micros: None,
            event_ms: 0,
            slow_log_len_max: 0,
            commands: 0,
            errors: 0,
            expiry_nanos: 0,
        };
        meter.set(hot);
        meter
    }

    /// Takes over settings.
    pub(crate) fn set(&mut self, hot: &Hot) {
        let slow = hot.slow_micros.map_or(u64::MAX, |micros| micros.saturating_mul(1000));
        let event = match hot.latency_threshold_ms {
            0 => u64::MAX,
            millis => millis.saturating_mul(1_000_000),
        };
        self.slow_nanos = slow.min(event);
        self.groups = self.slow_nanos >= GROUP_SLOW_NANOS_MIN;
        (self.slow_micros, self.event_ms) = (hot.slow_micros, hot.latency_threshold_ms);
        (self.tracks, self.slow_log_len_max) = (hot.latency_tracking, hot.slow_log_len_max);
    }

    /// Takes note of CONFIG RESETSTAT; to be called before anything is counted that another core may have asked for
    /// after one.
    #[inline]
    pub(crate) fn enter_span(&self) {
        self.process.statistics.enter_span(self.core);
    }

    /// What was done until now is no part of the command that comes.
    #[inline]
    pub(crate) fn begin(&mut self) {
        self.flush();
        self.last = self.clock.now();
    }

    /// Nanoseconds since the last command ended, or [`begin`](Self::begin).
    #[inline]
    fn lap(&mut self) -> u64 {
        let now = self.clock.now();
        let ticks = now.wrapping_sub(self.last);
        self.last = now;
        // It may seem to lie in the past by a little.
        if ticks > u64::MAX / 2 { 0 } else { self.clock.nanos(ticks) }
    }

    /// The clock's reading at the end of the last command.
    pub(crate) fn mark(&self) -> u64 {
        self.last
    }

    /// Nanoseconds from a reading to the end of the last command.
    pub(crate) fn nanos_from(&self, mark: u64) -> u64 {
        self.clock.nanos(self.last.wrapping_sub(mark))
    }

    /// Counts a command that has just run here on a key. `bytes` are those of its reply.
    #[inline]
    pub(crate) fn end_brief(&mut self, spec: &'static Spec, args: Args<'_>, bytes: usize, sender: Sender<'_>) {
        if !spec.is_brief || !self.groups {
            return self.end(spec, args, sender);
        }
        self.group[self.grouped] = spec.number;
        self.grouped += 1;
        let is_heavy = bytes + request_bytes(args) > GROUP_BYTES_MAX;
        if is_heavy || self.grouped == GROUP_MAX {
            self.end_group(is_heavy, Some((spec, args, sender)));
        }
    }

    /// Counts what has run here and is not counted yet.
    #[inline]
    pub(crate) fn flush(&mut self) {
        self.end_group(false, None);
    }

    /// Times the group of brief commands, of which `last` has just ended.
    #[inline]
    fn end_group(&mut self, is_heavy: bool, last: Option<(&'static Spec, Args<'_>, Sender<'_>)>) {
        let count = self.grouped as u64;
        if count == 0 {
            return;
        }
        let nanos = self.lap();
        let (mut share, mut rest) = (nanos / count, nanos % count);
        if is_heavy || nanos >= self.slow_nanos {
            share = share.min(BRIEF_NANOS_MAX);
            rest = nanos - share * count;
        }
        let statistics = &self.process.statistics;
        let group = &self.group[..count as usize];
        let each = |nanos| self.tracks.then_some(nanos);
        let (&end, others) = group.split_last().expect("the group is not empty");
        for same in others.chunk_by(|one, other| one == other) {
            let count = same.len() as u64;
            statistics.add(self.core, same[0], count, share * count, each(share));
        }
        statistics.add(self.core, end, 1, share + rest, each(share + rest));
        self.grouped = 0;
        self.commands += count;
        if share + rest >= self.slow_nanos
            && let Some((spec, args, sender)) = last
        {
            self.note_slow(spec, args, share + rest, sender);
        }
    }

    /// Counts a command that has just run here.
    #[inline]
    pub(crate) fn end(&mut self, spec: &'static Spec, args: Args<'_>, sender: Sender<'_>) {
        self.flush();
        let nanos = self.lap();
        self.count(spec, args, nanos, sender);
    }

    /// Counts an EXEC, all commands of which have been counted; it began at that reading of the clock.
    pub(crate) fn end_transaction(&mut self, exec: &'static Spec, begin: u64, client: &Client) {
        self.lap();
        let nanos = self.nanos_from(begin);
        // Nobody logs it, so nobody asks for its arguments.
        self.count(exec, Args::new(&[], &[]), nanos, Sender::Ours(client));
    }

    /// Counts a command that took that long.
    pub(crate) fn count(&mut self, spec: &'static Spec, args: Args<'_>, nanos: u64, sender: Sender<'_>) {
        self.commands += 1;
        let each = self.tracks.then_some(nanos);
        self.process.statistics.add(self.core, spec.number, 1, nanos, each);
        if nanos >= self.slow_nanos {
            self.note_slow(spec, args, nanos, sender);
        }
    }

    /// Counts a share of a command of several cores which has just run here; another share is the one that counts as
    /// the command.
    pub(crate) fn end_share(&mut self, spec: &'static Spec, args: Args<'_>, sender: Sender<'_>) {
        self.flush();
        let nanos = self.lap();
        self.process.statistics.add(self.core, spec.number, 0, nanos, None);
        if nanos >= self.slow_nanos && self.slow_micros != Some(0) {
            self.note_slow(spec, args, nanos, sender);
        }
    }

    /// Counts the end of a command that had waited. What its last attempt took is part of the command that made it
    /// succeed, and not told apart.
    pub(crate) fn end_wait_of(&mut self, spec: &'static Spec, args: Args<'_>, reply: &[u8], sender: Sender<'_>) {
        self.count(spec, args, 0, sender);
        if reply.first() == Some(&b'-') {
            self.note_failed(spec);
        }
    }

    #[cold]
    fn note_slow(&mut self, spec: &'static Spec, args: Args<'_>, nanos: u64, sender: Sender<'_>) {
        let (micros, millis) = (nanos / 1000, nanos / 1_000_000);
        let is_slow = self.slow_micros.is_some_and(|slow| micros >= slow);
        if is_slow && !spec.flags.contains(Flags::SKIP_SLOWLOG) {
            let client = match sender {
                Sender::Ours(client) => {
                    SlowClient::Known { address: client.address.clone(), name: client.name.clone() }
                }
                Sender::Of(core, SocketId { index, generation }) => {
                    SlowClient::Of { core, connection: index, generation }
                }
            };
            self.process.log_slow(spec, args, micros, self.now, client, self.slow_log_len_max);
        }
        if self.event_ms > 0 && millis >= self.event_ms {
            let is_fast = spec.flags.contains(Flags::FAST);
            let event = if is_fast { LatencyEvent::FastCommand } else { LatencyEvent::Command };
            self.process.note_event(event, millis, self.now);
        }
    }

    /// Counts a reply if it is an error; whether it is.
    #[inline]
    pub(crate) fn note_reply(&mut self, reply: &[u8]) -> bool {
        let is_error = reply.first() == Some(&b'-');
        if is_error {
            self.note_error(reply);
        }
        is_error
    }

    /// Counts a command that ended with an error.
    #[cold]
    pub(crate) fn note_failed(&self, spec: &Spec) {
        self.process.statistics.note_failed(self.core, spec);
    }

    /// Counts a command that was refused before it ran.
    pub(crate) fn note_rejected(&self, spec: &Spec) {
        self.process.statistics.note_rejected(self.core, spec);
    }

    #[cold]
    fn note_error(&mut self, reply: &[u8]) {
        self.errors += 1;
        if self.process.statistics.note_error(self.core, reply) {
            self.process.log.warning(format_args!(
                "Errorstats stopped adding new errors because the number of errors reached the limit"
            ));
        }
    }

    /// Runs a shard's housekeeping, and notes how long it took.
    pub(crate) fn housekeep(&mut self, shard: &mut Shard, monotonic: Monotonic, effort: u8) -> Option<Monotonic> {
        if !shard.wants_housekeeping(monotonic) {
            return shard.housekeep(self.now, monotonic, effort);
        }
        let begin = self.clock.now();
        let next = shard.housekeep(self.now, monotonic, effort);
        let nanos = self.clock.nanos_since(begin);
        self.expiry_nanos += nanos;
        let millis = nanos / 1_000_000;
        if self.event_ms > 0 && millis >= self.event_ms {
            self.process.note_event(LatencyEvent::ExpireCycle, millis, self.now);
        }
        next
    }
}

/// Bytes of a request's arguments.
#[inline]
fn request_bytes(args: Args<'_>) -> usize {
    match args.ranges() {
        [first, .., last] => (last.start + last.len - first.start) as usize,
        [only] => only.len as usize,
        [] => 0,
    }
}

/// Counts the commands of a transaction as they end.
impl Ledger for Meter {
    fn ended(&mut self, client: &Client, spec: &'static Spec, args: Args<'_>, reply: &[u8]) {
        self.end(spec, args, Sender::Ours(client));
        if self.note_reply(reply) {
            self.note_failed(spec);
        }
    }
}
