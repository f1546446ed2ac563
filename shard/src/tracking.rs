//! Client-side caching: which client has read which keys, and who is to hear that they have changed.
//!
//! Each shard remembers the keys that tracked clients have read from it, one entry for a key, until it changes: then they
//! are told once and it is forgotten (Redis 7.2 `tracking.c`). A client is told by its own core, behind all replies that
//! are outstanding, so that what it is told to forget it has been given before. Clients that hear of all keys with a
//! prefix (`BCAST`) are known to their core alone; a shard only knows that there are some.

use crate::blocked::Letter;
use crate::key_map::{KeyMap, KeyName};
use crate::{Shard, Ticket};
use slotmesh_command::{Flags, Spec, key_indexes};
use slotmesh_keyspace::{KeyHasher, Keyspace};
use slotmesh_resp::{Args, Protocol, Reply};
use std::collections::BTreeSet;

/// The channel of those who hear in RESP2 what others must forget.
pub const INVALIDATIONS: &[u8] = b"__redis__:invalidate";

/// A connection whose client is tracked, or may be.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tracker {
    /// The core that serves it.
    pub core: u16,
    /// Its place there.
    pub connection: u32,
    /// How often that place was used before.
    pub generation: u32,
}

impl From<Ticket> for Tracker {
    fn from(ticket: Ticket) -> Self {
        Self { core: ticket.core, connection: ticket.connection, generation: ticket.generation }
    }
}

/// A tracked client that runs a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrackedBy {
    /// Who it is.
    pub tracker: Tracker,
    /// Whether what it reads is remembered.
    pub remembers: bool,
}

/// Keys that are not any more what clients have read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stale {
    /// One.
    Key(Vec<u8>),
    /// All.
    All,
}

/// What a shard knows of tracked clients.
#[derive(Debug, Default)]
pub(crate) struct Tracking {
    keys: KeyMap<BTreeSet<Tracker>>,
    /// Pairs of a key and a client in it.
    items: usize,
    /// Whether there are clients that hear of all keys.
    broadcasts: bool,
    /// Who runs the command that is noted next.
    pub(crate) origin: Option<Tracker>,
}

impl Tracking {
    fn remember(&mut self, keyspace: &mut Keyspace, db: u16, key: &[u8], hasher: KeyHasher, tracker: Tracker) {
        let is_new = self.keys.get_mut(db, key).is_none();
        let (_, trackers) = self.keys.entry(db, key);
        self.items += usize::from(trackers.insert(tracker));
        if is_new {
            keyspace.attend(usize::from(db), hasher.key(key).slot);
            keyspace.record_flushes(true);
        }
    }

    /// Something happened to a key.
    pub(crate) fn touch(
        &mut self,
        keyspace: &mut Keyspace,
        hasher: KeyHasher,
        (db, key): (u16, &[u8]),
        letters: &mut Vec<Letter>,
    ) {
        let origin = self.origin;
        if self.keys.get_mut(db, key).is_some() {
            let name = KeyName { db, bytes: key.into() };
            let trackers = self.forget(keyspace, hasher, &name);
            letters.push(Letter::Stale { to: Some(trackers), what: Stale::Key(key.to_vec()), origin });
        }
        if self.broadcasts {
            letters.push(Letter::Stale { to: None, what: Stale::Key(key.to_vec()), origin });
        }
    }

    /// All keys of a database are gone: as Redis has it, nothing is remembered of the others either.
    pub(crate) fn flush(&mut self, keyspace: &mut Keyspace, hasher: KeyHasher, letters: &mut Vec<Letter>) {
        let mut all = BTreeSet::new();
        while let Some((name, trackers)) = self.keys.pop_first() {
            keyspace.ignore(usize::from(name.db), hasher.key(&name.bytes).slot);
            all.extend(trackers);
        }
        self.items = 0;
        letters.push(Letter::Stale { to: Some(all), what: Stale::All, origin: None });
        if self.broadcasts {
            letters.push(Letter::Stale { to: None, what: Stale::All, origin: None });
        }
        keyspace.record_flushes(self.broadcasts);
    }

    fn forget(&mut self, keyspace: &mut Keyspace, hasher: KeyHasher, name: &KeyName) -> BTreeSet<Tracker> {
        let trackers = self.keys.get_mut(name.db, &name.bytes).map(std::mem::take).unwrap_or_default();
        self.keys.remove(name);
        self.items -= trackers.len();
        keyspace.ignore(usize::from(name.db), hasher.key(&name.bytes).slot);
        if self.keys.is_empty() {
            keyspace.record_flushes(self.broadcasts);
        }
        trackers
    }
}

impl Shard {
    /// Remembers what a tracked client has read by a command that has run here.
    #[cold]
    pub(crate) fn remember(&mut self, db: u16, spec: &'static Spec, args: Args<'_>, by: TrackedBy) {
        if !by.remembers || !spec.flags.contains(Flags::READONLY) {
            return;
        }
        let hasher = self.hasher;
        for key in key_indexes(spec, args).map(|index| args.at(index)) {
            if self.keyspace.holds(hasher.key(key).slot) {
                self.tracking.remember(&mut self.keyspace, db, key, hasher, by.tracker);
            }
        }
    }

    /// Whether there are clients, on whatever core, that hear of all keys that change (`CLIENT TRACKING ON BCAST`).
    pub fn broadcast_changes(&mut self, wanted: bool) {
        self.tracking.broadcasts = wanted;
        self.keyspace.record_all(wanted);
        self.keyspace.record_flushes(wanted || !self.tracking.keys.is_empty());
    }

    /// Keys that are remembered for tracked clients, and pairs of such a key and a client.
    pub fn tracked_keys(&self) -> (usize, usize) {
        (self.tracking.keys.len(), self.tracking.items)
    }

    /// Forgets keys beyond so many (`tracking-table-max-keys`), as if they had changed.
    pub fn trim_tracked_keys(&mut self, keys_max: usize) {
        let Self { tracking, keyspace, blocked, hasher, .. } = self;
        while tracking.keys.len() > keys_max {
            let Some(name) = tracking.keys.first_name() else { return };
            let to = Some(tracking.forget(keyspace, *hasher, &name));
            blocked.letters.push(Letter::Stale { to, what: Stale::Key(name.bytes.to_vec()), origin: None });
        }
    }
}

/// How a client is tracked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TrackingMode {
    /// What it reads is remembered.
    Default,
    /// What it reads behind `CLIENT CACHING YES` is.
    OptIn,
    /// What it reads is, but behind `CLIENT CACHING NO`.
    OptOut,
    /// It hears of all keys with its prefixes.
    Broadcast,
}

/// What a tracked client has asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientTracking {
    /// Who it is for the shards.
    pub tracker: Tracker,
    /// Which keys it hears of.
    pub mode: TrackingMode,
    /// Beginnings of keys, none of which is the beginning of another; for a broadcast.
    pub prefixes: BTreeSet<Vec<u8>>,
    /// Whether it does not hear of what it changes itself.
    pub no_loop: bool,
    /// The id of the client that hears instead of it.
    pub redirect: Option<u64>,
    /// Whether that one is gone.
    pub is_broken: bool,
    /// `CLIENT CACHING`, for the next command.
    pub caching: bool,
    /// Whether that command has come: what follows is another.
    pub was_used: bool,
}

impl ClientTracking {
    /// What the shards need to know of it, while it runs a command.
    pub fn by(&self) -> TrackedBy {
        let remembers = match self.mode {
            TrackingMode::Default => true,
            TrackingMode::OptIn => self.caching,
            TrackingMode::OptOut => !self.caching,
            TrackingMode::Broadcast => false,
        };
        TrackedBy { tracker: self.tracker, remembers }
    }

    /// Whether it does not want to hear of what `origin` has done.
    pub fn is_own(&self, origin: Option<Tracker>) -> bool {
        self.no_loop && origin == Some(self.tracker)
    }
}

/// Writes what a client is told to forget (`keys` is nothing: all). In RESP2 it looks like a message of a channel.
pub fn write_invalidation(protocol: Protocol, keys: Option<&[&[u8]]>, out: &mut Vec<u8>) {
    let mut reply = Reply::new(out, protocol);
    match protocol {
        Protocol::Resp3 => {
            reply.push(2);
            reply.bulk(b"invalidate");
        }
        Protocol::Resp2 => {
            reply.array(3);
            reply.bulk(b"message");
            reply.bulk(INVALIDATIONS);
        }
    }
    match keys {
        Some(keys) => {
            reply.array(keys.len());
            keys.iter().for_each(|key| reply.bulk(key));
        }
        None => reply.null(),
    }
}

/// Writes that the client which should hear instead of this one is gone.
pub fn write_broken_redirect(redirect: u64, out: &mut Vec<u8>) {
    let mut reply = Reply::new(out, Protocol::Resp3);
    reply.push(2);
    reply.bulk(b"tracking-redir-broken");
    reply.integer(redirect as i64);
}

#[cfg(test)]
mod tests;
