//! Clients that wait for keys of a shard, in order of arrival.
//!
//! A blocked command is kept here with its keys. When a block of commands has made one of these keys hold something,
//! the command of the one who has waited longest is run again, and so on until the key has nothing more or nobody
//! waits (Redis 7.2 `blocked.c`, `handleClientsBlockedOnKeys`). A waiter whose keys lie on several shards waits on
//! each; no shard may serve it alone, so it is *called*: the shard goes to the core of its client, which serves it if
//! it still waits and gives the shard back; until then nobody behind it in line is served.

use crate::exec::{end_blocks, run_together};
use crate::key_map::{KeyMap, KeyName};
use crate::{Context, KeptRequests, Shard, Stale, Tracker};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{Outcome, Spec, ValueLimits, Wait, timeout_reply};
use slotmesh_keyspace::{Change, ValueRef};
use slotmesh_resp::{Args, Protocol, Reply};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Where the reply of a blocked command goes: a ticket of a connection of a core. Unique while it is outstanding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket {
    /// The core that serves the connection.
    pub core: u16,
    /// The connection's place there.
    pub connection: u32,
    /// How often that place was used before.
    pub generation: u32,
    /// The ticket's number.
    pub number: u32,
}

/// The end of a blocked command.
#[derive(Clone, Debug)]
pub struct Served {
    /// Its reply.
    pub reply: Vec<u8>,
    /// The command.
    pub request: KeptRequests,
}

/// What a shard has to say to cores about their clients, blocked or tracked; to be delivered by the shard's own core.
#[derive(Clone, Debug)]
pub enum Letter {
    /// A blocked command has ended.
    Reply {
        /// Where its reply goes.
        to: Ticket,
        /// What it has come to.
        served: Served,
    },
    /// A waiter of several shards is first in line of a key that has something: its core shall serve it.
    Call(Ticket),
    /// Tracked clients are to forget something.
    Stale {
        /// Which ones; nothing: those that hear of all keys.
        to: Option<BTreeSet<Tracker>>,
        /// What.
        what: Stale,
        /// The tracked client by whose hand it was.
        origin: Option<Tracker>,
    },
}

/// Why a client stops to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unblock {
    /// It is gone, or was served by another shard: no reply.
    Silently,
    /// Its time is over, or CLIENT UNBLOCK says so.
    Timeout,
    /// CLIENT UNBLOCK … ERROR.
    Error,
}

/// The blocked clients of a shard.
#[derive(Debug, Default)]
pub(crate) struct Blocked {
    lines: KeyMap<Line>,
    waiters: BTreeMap<Ticket, Waiter>,
    /// Keys that may have something for those who wait, in the order in which they became so.
    ready: VecDeque<KeyName>,
    /// Number of the next arrival.
    next: u64,
    pub(crate) letters: Vec<Letter>,
}

/// Those who wait for one key, by their arrival.
#[derive(Debug, Default)]
struct Line {
    tickets: BTreeMap<u64, Ticket>,
    is_ready: bool,
}

#[derive(Debug)]
struct Waiter {
    arrival: u64,
    request: KeptRequests,
    db: u16,
    protocol: Protocol,
    keys: Vec<KeyName>,
    /// Whether it waits on other shards too.
    is_shared: bool,
    /// Whether its core was asked to serve it and has not answered.
    is_called: bool,
}

impl Blocked {
    /// Something happened to a key of a slot with attention. A list that is there already has been told of when it came
    /// (Redis 7.2 `blocked.c` `signalKeyAsReady`: what adds a key calls it).
    pub(crate) fn touch(&mut self, db: u16, key: &[u8], change: Change) {
        if matches!(change, Change::Created | Change::Replaced) && !self.lines.is_empty() {
            self.signal(db, key);
        }
    }

    fn signal(&mut self, db: u16, key: &[u8]) {
        let Some(line) = self.lines.get_mut(db, key) else { return };
        if !std::mem::replace(&mut line.is_ready, true) {
            self.ready.push_back(KeyName { db, bytes: key.into() });
        }
    }

    /// Whether somebody may be served.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The first in line of a key.
    fn first(&mut self, name: &KeyName) -> Option<Ticket> {
        let line = self.lines.get_mut(name.db, &name.bytes)?;
        line.tickets.first_key_value().map(|(_, &ticket)| ticket)
    }
}

/// A waiter as it is taken out to run its command.
struct Retry {
    request: KeptRequests,
    db: u16,
    protocol: Protocol,
}

impl Retry {
    fn spec(&self) -> (&'static Spec, Args<'_>) {
        let request = self.request.next().expect("a waiter has its request");
        (request.spec.expect("what blocks is a command"), self.request.args(request))
    }

    fn context(&self, now: UnixMillis, limits: ValueLimits) -> Context<'static> {
        Context {
            db: self.db,
            protocol: self.protocol,
            now,
            first_key: None,
            limits,
            partial: false,
            is_node: false,
            may_block: true,
            tracked: None,
        }
    }
}

impl Shard {
    /// Puts a client in line of the keys of `wait` that lie here. `is_shared`: other shards hold some of its keys, or
    /// must be at hand to serve it.
    pub fn block(
        &mut self,
        ticket: Ticket,
        spec: &'static Spec,
        args: Args<'_>,
        context: &Context<'_>,
        wait: &Wait,
        is_shared: bool,
    ) {
        let arrival = self.blocked.next;
        self.blocked.next += 1;
        let mut keys = Vec::new();
        for index in wait.keys.clone() {
            let key = self.hasher.key(args.at(index));
            if is_shared && !self.keyspace.holds(key.slot) {
                continue;
            }
            let (name, line) = self.blocked.lines.entry(context.db, key.bytes);
            // A key may be named twice.
            if line.tickets.insert(arrival, ticket).is_none() {
                self.keyspace.attend(usize::from(context.db), key.slot);
                keys.push(name);
            }
        }
        if keys.is_empty() {
            // Only other shards hold what it waits for.
            return;
        }
        let waiter = Waiter {
            arrival,
            request: KeptRequests::of_one(spec, args),
            db: context.db,
            protocol: context.protocol,
            keys,
            is_shared,
            is_called: false,
        };
        let earlier = self.blocked.waiters.insert(ticket, waiter);
        assert!(earlier.is_none(), "a ticket waits once");
    }

    /// Takes a client out of line, if it is there: with a reply for it, unless it goes silently. Then those behind it
    /// may have their turn.
    pub fn unblock(&mut self, ticket: Ticket, why: Unblock, now: UnixMillis, limits: ValueLimits) {
        let Some(waiter) = self.leave(ticket) else { return };
        let request = waiter.request.next().and_then(|request| request.spec).expect("a waiter has its request");
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, waiter.protocol);
        match why {
            Unblock::Silently => {}
            Unblock::Timeout => timeout_reply(request, &mut reply),
            Unblock::Error => reply.error(ReplyError::Unblocked),
        }
        if why != Unblock::Silently {
            let served = Served { reply: bytes, request: waiter.request };
            self.blocked.letters.push(Letter::Reply { to: ticket, served });
        }
        self.serve_ready(now, limits);
    }

    /// Ends the waits that a node serves no more, as `refusal` finds: it gives the error (Redis 7.2 `cluster.c`
    /// `clusterRedirectBlockedClientIfNeeded`). Waits on several shards are not looked at.
    pub fn refuse_waits(
        &mut self,
        refusal: &mut dyn FnMut(Ticket, &'static Spec, Args<'_>) -> Option<String>,
        now: UnixMillis,
        limits: ValueLimits,
    ) {
        let mut refused = Vec::new();
        for (&ticket, waiter) in self.blocked.waiters.iter().filter(|(_, waiter)| !waiter.is_shared) {
            let request = waiter.request.next().expect("a waiter has its request");
            let spec = request.spec.expect("what blocks is a command");
            if let Some(error) = refusal(ticket, spec, waiter.request.args(request)) {
                refused.push((ticket, error));
            }
        }
        for (ticket, error) in refused {
            let Some(waiter) = self.leave(ticket) else { continue };
            let mut reply = Vec::new();
            Reply::new(&mut reply, waiter.protocol).error_text(error.as_bytes());
            let served = Served { reply, request: waiter.request };
            self.blocked.letters.push(Letter::Reply { to: ticket, served });
        }
        self.serve_ready(now, limits);
    }

    /// Takes a waiter out of all its lines.
    fn leave(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.blocked.waiters.remove(&ticket)?;
        for name in &waiter.keys {
            let key = self.hasher.key(&name.bytes);
            self.keyspace.ignore(usize::from(name.db), key.slot);
            let Some(line) = self.blocked.lines.get_mut(name.db, &name.bytes) else { continue };
            line.tickets.remove(&waiter.arrival);
            if line.tickets.is_empty() {
                self.blocked.lines.remove(name);
            } else if waiter.is_called {
                // Those behind it were held back.
                self.blocked.signal(name.db, &name.bytes);
            }
        }
        Some(waiter)
    }

    /// Whether there are letters.
    #[inline]
    pub fn has_letters(&self) -> bool {
        !self.blocked.letters.is_empty()
    }

    /// Takes the letters, in their order.
    pub fn take_letters(&mut self) -> Vec<Letter> {
        std::mem::take(&mut self.blocked.letters)
    }

    /// Number of keys that somebody waits for.
    pub fn blocking_keys(&self) -> usize {
        self.blocked.lines.len()
    }

    /// Serves those who wait for keys that have become ready, until nothing is ready.
    pub(crate) fn serve_ready(&mut self, now: UnixMillis, limits: ValueLimits) {
        while let Some(name) = self.blocked.ready.pop_front() {
            if let Some(line) = self.blocked.lines.get_mut(name.db, &name.bytes) {
                line.is_ready = false;
            }
            while let Some(ticket) = self.blocked.first(&name) {
                if !self.has_something(&name, now) || !self.serve(ticket, now, limits) {
                    break;
                }
            }
        }
    }

    /// Whether a key holds what somebody can wait for. To ask changes nothing: the block that would say so has ended.
    fn has_something(&self, name: &KeyName, now: UnixMillis) -> bool {
        let db = self.keyspace.find_db(usize::from(name.db));
        let entry = db.and_then(|db| db.peek(&self.hasher.key(&name.bytes), now));
        entry.is_some_and(|entry| matches!(entry.value, ValueRef::List(_)))
    }

    /// Serves the first in line of a key that has something; whether the next may have its turn.
    fn serve(&mut self, ticket: Ticket, now: UnixMillis, limits: ValueLimits) -> bool {
        let Some(waiter) = self.blocked.waiters.get_mut(&ticket) else { return false };
        if waiter.is_shared {
            if !std::mem::replace(&mut waiter.is_called, true) {
                self.blocked.letters.push(Letter::Call(ticket));
            }
            return false;
        }
        match self.run_again(ticket, now, limits) {
            Some(served) => {
                self.blocked.letters.push(Letter::Reply { to: ticket, served });
                true
            }
            None => false,
        }
    }

    /// Runs a waiter's command on this shard alone; if it ends, the waiter waits no more.
    fn run_again(&mut self, ticket: Ticket, now: UnixMillis, limits: ValueLimits) -> Option<Served> {
        let retry = self.retry_of(ticket)?;
        let (spec, args) = retry.spec();
        let mut reply = Vec::new();
        let outcome = self.run(spec, args, &retry.context(now, limits), &mut [], &mut reply);
        self.note_command();
        self.effects.end_block();
        self.end_retry(ticket, retry, &outcome).map(|request| Served { reply, request })
    }

    /// Serves a waiter of several shards which this shard has called, if it can be served with this shard alone: the
    /// end of its command, if it was. It waits on here if not; on the other shards it waits in any case, until
    /// [`unblock`](Self::unblock).
    pub fn serve_called(&mut self, ticket: Ticket, now: UnixMillis, limits: ValueLimits) -> Option<Served> {
        let served = self.run_again(ticket, now, limits);
        self.serve_ready(now, limits);
        served
    }

    /// Whether that client waits here.
    pub fn has_waiter(&self, ticket: Ticket) -> bool {
        self.blocked.waiters.contains_key(&ticket)
    }

    fn retry_of(&mut self, ticket: Ticket) -> Option<Retry> {
        let waiter = self.blocked.waiters.get_mut(&ticket)?;
        let request = std::mem::take(&mut waiter.request);
        Some(Retry { request, db: waiter.db, protocol: waiter.protocol })
    }

    /// Ends a retry: who was served leaves, with the request; who was not keeps its place and is called no more.
    fn end_retry(&mut self, ticket: Ticket, retry: Retry, outcome: &Outcome) -> Option<KeptRequests> {
        let waiter = self.blocked.waiters.get_mut(&ticket)?;
        waiter.request = retry.request;
        if *outcome == Outcome::Replied {
            return self.leave(ticket).map(|waiter| waiter.request);
        }
        waiter.is_called = false;
        None
    }
}

/// Serves a waiter that a shard has called, with all shards that its command needs in hand: the end of its command, if
/// it was served; it waits on if not.
pub fn serve_called_together(
    shards: &mut [&mut Shard],
    ticket: Ticket,
    now: UnixMillis,
    limits: ValueLimits,
) -> Option<Served> {
    let place = shards.iter().position(|shard| shard.has_waiter(ticket))?;
    let retry = shards[place].retry_of(ticket)?;
    let (spec, args) = retry.spec();
    let mut reply = Vec::new();
    let outcome = run_together(shards, spec, args, &retry.context(now, limits), &mut reply);
    let request = shards[place].end_retry(ticket, retry, &outcome);
    if request.is_some() {
        // It may stand in line on others too.
        shards.iter_mut().for_each(|shard| drop(shard.leave(ticket)));
    }
    end_blocks(shards, now, limits);
    request.map(|request| Served { reply, request })
}

#[cfg(test)]
mod tests;
