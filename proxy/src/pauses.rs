//! CLIENT PAUSE and CLIENT REPLY OFF: requests that wait, and replies that go nowhere.
//!
//! A pause is the process's; each core looks at it once per turn, which costs an atomic load while there is none.

use crate::engine::{Done, Engine, Hands};
use slotmesh_base::{Slot, UnixMillis};
use slotmesh_command::Spec;
use slotmesh_io::clock;
use slotmesh_resp::Args;
use slotmesh_shard::{Pause, PauseScope, Replies, is_postponed, turns_replies_on};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Why clients are paused, and with that who is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reason {
    /// CLIENT PAUSE of the process.
    Everybody,
    /// CLIENT PAUSE at the port of this core's node: those who came to it.
    Node(u16),
    /// FAILOVER of the process: its writes wait until a replica leads.
    Failover,
    /// The process is about to end.
    Shutdown,
    /// This core's node hands its slots over: all of the process, since each may reach it through the gateway.
    Handover(u16),
}

/// Who is paused until when.
#[derive(Debug, Default)]
pub(crate) struct Pauses {
    /// Whether there may be a pause.
    is_any: AtomicBool,
    pauses: Mutex<BTreeMap<Reason, Pause>>,
}

impl Pauses {
    /// Begins a pause.
    pub(crate) fn begin(&self, reason: Reason, end: UnixMillis, scope: PauseScope) {
        let now = UnixMillis(clock::unix_millis());
        let mut pauses = self.pauses.lock().expect("no holder panics");
        pauses.entry(reason).or_default().begin(now, end, scope);
        self.is_any.store(true, Ordering::Release);
    }

    /// Ends a pause.
    pub(crate) fn end(&self, reason: Reason) {
        self.pauses.lock().expect("no holder panics").entry(reason).or_default().end();
    }

    /// The pause that the clients of a core are in, and when it ends.
    fn of(&self, core: u16, now: UnixMillis) -> Option<(PauseScope, UnixMillis)> {
        if !self.is_any.load(Ordering::Acquire) {
            return None;
        }
        let mut pauses = self.pauses.lock().expect("no holder panics");
        pauses.retain(|_, pause| pause.at(now).is_some());
        self.is_any.store(!pauses.is_empty(), Ordering::Release);
        let concerns = |reason: &Reason| !matches!(reason, Reason::Node(node) if *node != core);
        let concerning = pauses.iter().filter(|(reason, _)| concerns(reason));
        let found = concerning.filter_map(|(_, pause)| pause.at(now).zip(pause.ends_at(now)));
        found.max_by_key(|&(scope, end)| (scope == PauseScope::All, end))
    }
}

impl Engine {
    /// Looks whether our clients are paused, and goes on with those that were.
    #[inline]
    pub(crate) fn refresh_pause(&mut self) {
        let found = self.process.pauses.of(self.core, self.now);
        if found.is_some() || self.pause.is_some() {
            self.take_pause(found);
        }
    }

    #[cold]
    fn take_pause(&mut self, found: Option<(PauseScope, UnixMillis)>) {
        let monotonic = self.monotonic;
        let remaining = |end: UnixMillis| u64::try_from(end.0 - self.now.0).unwrap_or_default();
        self.pause_ends = found.map(|(_, end)| monotonic.plus_millis(remaining(end)).0);
        let scope = found.map(|(scope, _)| scope);
        let before = std::mem::replace(&mut self.pause, scope);
        self.looks_twice = scope.is_some() || self.watching.is_watched;
        if before == scope || self.postponed.is_empty() {
            return;
        }
        // Whoever still must wait finds out when it tries.
        for index in std::mem::take(&mut self.postponed) {
            if self.forget_postponed(index) {
                self.stalled.push(index);
                self.has_released = true;
            }
        }
    }

    /// A connection waits for the end of a pause no more; whether it did.
    pub(crate) fn forget_postponed(&mut self, index: u32) -> bool {
        let Some(connection) = self.connection(index) else { return false };
        if !std::mem::take(&mut connection.postponed) {
            return false;
        }
        connection.client.is_blocked = false;
        self.counters.blocked_clients -= 1;
        true
    }

    /// Runs a request during a pause, while somebody watches, or of a client that does not get all replies.
    #[cold]
    pub(crate) fn run_specially(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        let is_tracked = self.connection(index).is_some_and(|connection| connection.client.tracking.is_some());
        if !is_tracked {
            return self.run_with_care(hands, index, spec, args, first_key);
        }
        self.begin_tracked(index);
        let done = self.run_with_care(hands, index, spec, args, first_key);
        if done == Done::Yes {
            self.end_tracked(hands, index, spec, args);
        }
        done
    }

    fn run_with_care(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        let pause = self.pause;
        let Some(connection) = self.connection(index) else { return Done::Yes };
        if !connection.client.closing
            && !connection.stalled
            && pause.is_some_and(|scope| is_postponed(&connection.client, spec, args, scope))
        {
            connection.postponed = true;
            connection.client.is_blocked = true;
            self.postponed.push(index);
            self.counters.blocked_clients += 1;
            return Done::NotYet;
        }
        let replies = connection.client.replies;
        let is_heard = replies == Replies::On || turns_replies_on(&connection.client, spec, args);
        if is_heard || connection.stalled {
            return self.run_shown(hands, index, spec, args, first_key);
        }
        connection.pipeline.begin_muted();
        if replies == Replies::SkipNext {
            connection.client.replies = Replies::On;
        }
        let done = self.run_shown(hands, index, spec, args, first_key);
        if let Some(connection) = self.connection(index) {
            connection.pipeline.end_muted();
            if done == Done::NotYet {
                connection.client.replies = replies;
            }
        }
        self.release(hands, index);
        done
    }
}
