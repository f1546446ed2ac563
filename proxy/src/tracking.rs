//! What tracked clients are told to forget.
//!
//! The shards say which keys have changed that clients had read (`slotmesh_shard`, `tracking.rs`); the core of a client
//! tells it, behind all replies that are outstanding: what it is told to forget it has been given before. Who hears of all
//! keys with a prefix is told once in a turn.
//!
//! What a gateway reads for its clients at other hosts nobody remembers: a client is told to forget it as soon as it has
//! it.

use crate::engine::{Done, Engine, Hands};
use crate::hop::{ReplyKind, RequestKind, ReturnAddress};
use crate::post::Freight;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{Flags, Reach, Spec, TransactionCommand, key_indexes};
use slotmesh_conf::directive;
use slotmesh_io::{SocketId, Sockets};
use slotmesh_resp::{Args, Protocol, Reply};
use slotmesh_shard::{
    Client, ClientTracking, Gather, Stale, Tracker, TrackingMode, write_broken_redirect, write_invalidation,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};

/// Whom a letter about keys is for, as the part of its address: a tracked client; those who hear of all keys; a client that
/// hears instead of another.
const TO_TRACKER: u32 = 0;
const TO_ALL: u32 = 1;
const TO_REDIRECT: u32 = 2;

/// Bytes of keys that are kept for the cores with clients that hear of all keys; beyond that these must forget everything.
const CHANGED_BYTES_MAX: usize = 1 << 20;

/// Letters that may wait for cores without room before those about keys become one that says that all have changed.
const WAITING_MAX: usize = 4096;

/// What the process knows of its clients.
#[derive(Debug)]
pub(crate) struct Roster {
    /// How many clients hear of all keys, on each core.
    broadcasts: Box<[AtomicU32]>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Where each client is, by its id.
    places: HashMap<u64, (u16, SocketId)>,
    /// Number of tracked clients.
    tracked: u64,
    /// Prefixes of which clients hear, each with how many do.
    prefixes: BTreeMap<Vec<u8>, usize>,
}

impl Roster {
    pub(crate) fn new(cores: usize) -> Self {
        Self { broadcasts: (0..cores).map(|_| AtomicU32::new(0)).collect(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no holder panics")
    }

    /// A client has come.
    pub(crate) fn enter(&self, id: u64, core: u16, socket: SocketId) {
        self.known().places.insert(id, (core, socket));
    }

    /// A client has gone.
    pub(crate) fn leave(&self, id: u64) {
        self.known().places.remove(&id);
    }

    /// Whether a client is there.
    pub(crate) fn has(&self, id: u64) -> bool {
        self.known().places.contains_key(&id)
    }

    fn place(&self, id: u64) -> Option<(u16, SocketId)> {
        self.known().places.get(&id).copied()
    }

    /// Numbers of tracked clients, and of prefixes of which some hear.
    pub(crate) fn numbers(&self) -> (u64, u64) {
        let known = self.known();
        (known.tracked, known.prefixes.len() as u64)
    }

    /// The cores with clients that hear of all keys.
    fn broadcasts(&self) -> impl Iterator<Item = u16> {
        (0u16..).zip(&self.broadcasts).filter(|(_, count)| count.load(Ordering::Acquire) > 0).map(|(core, _)| core)
    }
}

/// The tracked clients of a core.
#[derive(Debug, Default)]
pub(crate) struct Tracked {
    /// The connections, with the prefixes of which they hear.
    connections: BTreeMap<u32, BTreeSet<Vec<u8>>>,
    /// Whether our shard tells of all keys.
    is_told_all: bool,
    /// What has changed in this turn, for those who hear of all keys; `None`: everything.
    changed: Option<Vec<Change>>,
    changed_bytes: usize,
    /// For other cores: what their clients are told instead of ours.
    redirected: Vec<(u16, SocketId, Vec<Change>)>,
}

/// A key that has changed (none: all have), and the tracked client by whose hand.
type Change = (Option<Vec<u8>>, Option<Tracker>);

impl Engine {
    /// A request of a tracked client begins: what it said of caching holds for one command.
    pub(crate) fn begin_tracked(&mut self, index: u32) {
        if let Some(tracking) = self.connection(index).and_then(|connection| connection.client.tracking.as_mut())
            && tracking.was_used
        {
            (tracking.caching, tracking.was_used) = (false, false);
        }
    }

    /// A request of a tracked client was taken up.
    pub(crate) fn end_tracked(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
    ) {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        let client = &mut connection.client;
        let Some(tracking) = client.tracking.as_deref_mut() else { return };
        let is_about_clients = spec.is_some_and(|spec| spec.name == "client");
        let remembers = tracking.by().remembers;
        // An EXEC may run later, with shards of other cores.
        let is_exec = |spec: &Spec| matches!(spec.reach, Reach::Transaction(TransactionCommand::Exec));
        let has_run = client.transaction.is_none() || spec.is_some_and(is_exec);
        tracking.was_used |= has_run && !is_about_clients;
        if self.remote.is_none() || client.is_at_node || !remembers {
            return;
        }
        let Some(spec) = spec.filter(|spec| spec.flags.contains(Flags::READONLY)) else { return };
        let map = self.map.clone();
        let keys = key_indexes(spec, args).map(|key| args.at(key));
        let elsewhere: Vec<Vec<u8>> =
            keys.filter(|key| map.is_elsewhere(Slot::of_key(key))).map(<[u8]>::to_vec).collect();
        for key in elsewhere {
            self.invalidate(hands.sockets, index, Some(&[&key]));
        }
    }

    /// A transaction of ours runs at another host: nobody remembers what a tracked client reads there.
    pub(crate) fn forget_read_elsewhere(&mut self, sockets: &mut Sockets, index: u32) {
        let client = self.connections[index as usize].as_deref().map(|connection| &connection.client);
        let Some(client) = client.filter(|client| client.tracked().is_some_and(|by| by.remembers)) else { return };
        let commands = client.transaction.iter().flat_map(|transaction| transaction.commands());
        let reads = commands.filter(|(spec, _)| spec.flags.contains(Flags::READONLY));
        let keys = reads.flat_map(|(spec, args)| key_indexes(spec, args).map(move |key| args.at(key).to_vec()));
        for key in keys.collect::<Vec<_>>() {
            self.invalidate(sockets, index, Some(&[&key]));
        }
    }

    /// Follows what a client has asked of its tracking, by whatever command.
    pub(crate) fn note_tracking(&mut self, index: u32) {
        let connection = self.connections.get(index as usize).and_then(Option::as_deref);
        let tracking = connection.and_then(|connection| connection.client.tracking.as_deref());
        let (before, now) = (self.tracked.connections.get(&index), tracking.map(|tracking| &tracking.prefixes));
        if before == now {
            return;
        }
        let now = now.cloned();
        let count = &self.process.roster.broadcasts[usize::from(self.core)];
        let mut known = self.process.roster.known();
        if let Some(before) = self.tracked.connections.remove(&index) {
            known.tracked -= 1;
            if !before.is_empty() {
                count.fetch_sub(1, Ordering::Release);
            }
            for prefix in before {
                if let Some(number) = known.prefixes.get_mut(&prefix) {
                    *number -= 1;
                    if *number == 0 {
                        known.prefixes.remove(&prefix);
                    }
                }
            }
        }
        if let Some(now) = now {
            known.tracked += 1;
            if !now.is_empty() {
                count.fetch_add(1, Ordering::Release);
            }
            now.iter().for_each(|prefix| *known.prefixes.entry(prefix.clone()).or_default() += 1);
            self.tracked.connections.insert(index, now);
        }
    }

    /// Ends CLIENT TRACKING, whose reply stands in the scratch buffer: who hears of all keys is answered when all shards
    /// tell of them.
    pub(crate) fn follow_tracking(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        before: Option<Box<ClientTracking>>,
    ) -> Done {
        self.note_tracking(index);
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let client = &connection.client;
        let broadcasts = client.tracking.as_ref().is_some_and(|tracking| tracking.mode == TrackingMode::Broadcast);
        let is_at_node = client.is_at_node;
        if !broadcasts || !self.scratch.starts_with(b"+") {
            return self.reply_scratch(hands, index);
        }
        if !is_at_node && self.remote.as_ref().is_some_and(|remote| remote.has_remote()) {
            self.scratch.clear();
            self.set_tracking(index, before);
            Reply::new(&mut self.scratch, Protocol::Resp2).error(ReplyError::BroadcastAcrossHosts);
            return self.reply_scratch(hands, index);
        }
        let text = std::mem::take(&mut self.scratch);
        let done = self.ask_all_cores(hands, index, RequestKind::Refresh, &[], Gather::all_ok, |engine, _, _, _| {
            engine.refresh_broadcasts();
            Some(text.clone())
        });
        if done == Done::NotYet {
            self.set_tracking(index, before);
        }
        self.scratch = text;
        self.scratch.clear();
        done
    }

    /// A client of ours goes.
    pub(crate) fn leave_tracking(&mut self, index: u32) {
        if let Some(connection) = self.connection(index) {
            connection.client.tracking = None;
            let id = connection.client.id;
            self.process.roster.leave(id);
        }
        self.note_tracking(index);
    }

    fn set_tracking(&mut self, index: u32, tracking: Option<Box<ClientTracking>>) {
        if let Some(connection) = self.connection(index) {
            connection.client.tracking = tracking;
        }
        self.note_tracking(index);
    }

    /// Has our shard tell of all keys, if somebody hears of them.
    pub(crate) fn refresh_broadcasts(&mut self) {
        let wanted = self.process.roster.broadcasts().next().is_some();
        if wanted != self.tracked.is_told_all
            && let Some(shard) = self.lending.home()
        {
            shard.broadcast_changes(wanted);
            self.tracked.is_told_all = wanted;
        }
    }

    /// Has no more keys remembered than there may be, and delivers what nobody's request has made our shard say.
    pub(crate) fn keep_tracked(&mut self, hands: &mut Hands<'_>) {
        self.refresh_broadcasts();
        let Some(shard) = self.lending.home() else { return };
        if shard.tracked_keys().0 > 0 {
            let keys_max = self.settings.value(directive::TRACKING_TABLE_MAX_KEYS) as usize;
            if keys_max > 0 {
                shard.trim_tracked_keys((keys_max / usize::from(self.map.shards())).max(1));
            }
        }
        if shard.has_letters() {
            self.post_letters(hands);
        }
    }

    /// Delivers what our shard says of keys that have changed.
    pub(crate) fn deliver_stale(
        &mut self,
        hands: &mut Hands<'_>,
        to: Option<BTreeSet<Tracker>>,
        what: Stale,
        origin: Option<Tracker>,
    ) {
        let key = match what {
            Stale::Key(key) => Some(key),
            Stale::All => None,
        };
        let Some(trackers) = to else { return self.note_changed(key, origin) };
        if key.is_none() {
            // Who hears of all keys is told of that, too.
            let by_key = self.tracked.connections.iter().filter(|(_, prefixes)| prefixes.is_empty());
            let by_key: Vec<u32> = by_key.map(|(&index, _)| index).collect();
            by_key.into_iter().for_each(|index| self.invalidate(hands.sockets, index, None));
        }
        let mut bytes = Vec::new();
        write_change(&(key.clone(), origin), &mut bytes);
        for tracker in trackers {
            let socket = SocketId { index: tracker.connection, generation: tracker.generation };
            if tracker.core != self.core {
                let back = ReturnAddress { socket, ticket: 0, part: TO_TRACKER };
                self.post.send(hands.mail, tracker.core, ReplyKind::Stale, back, Freight::Bytes(bytes.clone()));
            } else if let Some(key) = &key {
                self.tell_tracker(hands.sockets, socket, Some(key), origin);
            }
        }
    }

    /// Takes what another core says of keys.
    #[cold]
    pub(crate) fn take_stale(&mut self, sockets: &mut Sockets, back: ReturnAddress, bytes: &[u8]) {
        let changes = read_changes(bytes);
        match back.part {
            TO_TRACKER => {
                for (key, origin) in changes {
                    self.tell_tracker(sockets, back.socket, key.as_deref(), origin);
                }
            }
            TO_ALL => self.tell_of_all(sockets, &changes),
            _ => {
                let keys: Option<Vec<&[u8]>> = changes.iter().map(|(key, _)| key.as_deref()).collect();
                self.tell_instead(sockets, back.socket, keys.as_deref());
            }
        }
    }

    fn tell_tracker(&mut self, sockets: &mut Sockets, socket: SocketId, key: Option<&[u8]>, origin: Option<Tracker>) {
        let Some(connection) = self.connection(socket.index).filter(|connection| connection.socket == socket) else {
            return;
        };
        let tracking = connection.client.tracking.as_deref();
        let hears = |tracking: &ClientTracking| tracking.mode != TrackingMode::Broadcast && !tracking.is_own(origin);
        if tracking.is_some_and(hears) {
            match key {
                Some(key) => self.invalidate(sockets, socket.index, Some(&[key])),
                None => self.invalidate(sockets, socket.index, None),
            }
        }
    }

    /// Tells a tracked client of ours, or whoever hears instead of it, to forget keys (nothing: all).
    fn invalidate(&mut self, sockets: &mut Sockets, index: u32, keys: Option<&[&[u8]]>) {
        let Some(connection) = self.connections.get_mut(index as usize).and_then(Option::as_deref_mut) else { return };
        let client = &mut connection.client;
        let Some(tracking) = client.tracking.as_deref_mut() else { return };
        let mut message = Vec::new();
        let Some(redirect) = tracking.redirect else {
            if client.protocol == Protocol::Resp3 {
                write_invalidation(Protocol::Resp3, keys, &mut message);
                self.hand_message(sockets, index, &message);
            }
            return;
        };
        match self.process.roster.place(redirect) {
            Some((core, socket)) if core == self.core => self.tell_instead(sockets, socket, keys),
            Some((core, socket)) => {
                let changes = match keys {
                    Some(keys) => keys.iter().map(|key| (Some(key.to_vec()), None)).collect(),
                    None => vec![(None, None)],
                };
                self.tracked.redirected.push((core, socket, changes));
            }
            None => {
                tracking.is_broken = true;
                if client.protocol == Protocol::Resp3 {
                    write_broken_redirect(redirect, &mut message);
                    self.hand_message(sockets, index, &message);
                }
            }
        }
    }

    /// Tells a client of ours what another one should forget. In RESP2 only who hears messages can be told.
    fn tell_instead(&mut self, sockets: &mut Sockets, socket: SocketId, keys: Option<&[&[u8]]>) {
        let Some(connection) = self.connection(socket.index).filter(|connection| connection.socket == socket) else {
            return;
        };
        let client: &Client = &connection.client;
        if client.protocol == Protocol::Resp3 || client.is_subscriber() {
            let mut message = Vec::new();
            write_invalidation(client.protocol, keys, &mut message);
            self.hand_message(sockets, socket.index, &message);
        }
    }

    fn hand_message(&mut self, sockets: &mut Sockets, index: u32, message: &[u8]) {
        let Some(connection) = self.connections[index as usize].as_deref() else { return };
        let limit = self.output_limit(&connection.client);
        if let Some(connection) = self.connections[index as usize].as_deref_mut() {
            self.heard.hand(sockets, connection, message, limit);
        }
    }

    /// A key has changed (nothing: all), of which those shall hear who hear of all.
    fn note_changed(&mut self, key: Option<Vec<u8>>, origin: Option<Tracker>) {
        self.tracked.changed_bytes += key.as_ref().map_or(0, Vec::len) + size_of::<Change>();
        if self.tracked.changed_bytes > CHANGED_BYTES_MAX {
            self.tracked.changed = Some(vec![(None, None)]);
            return;
        }
        self.tracked.changed.get_or_insert_default().push((key, origin));
    }

    /// Tells those who hear of all keys what has changed in this turn, and other cores what their clients are told
    /// instead of ours. Before what was heard is let out.
    #[inline]
    pub(crate) fn tell_changed(&mut self, hands: &mut Hands<'_>) {
        if self.tracked.changed.is_some() || !self.tracked.redirected.is_empty() {
            self.send_changed(hands);
        }
    }

    #[cold]
    fn send_changed(&mut self, hands: &mut Hands<'_>) {
        self.tracked.changed_bytes = 0;
        if let Some(changes) = self.tracked.changed.take() {
            let mut bytes = Vec::new();
            changes.iter().for_each(|change| write_change(change, &mut bytes));
            let others: Vec<u16> = self.process.roster.broadcasts().filter(|&core| core != self.core).collect();
            for core in others {
                let back = ReturnAddress { part: TO_ALL, ..ReturnAddress::number(0) };
                self.send_changes(hands, core, back, bytes.clone());
            }
            self.tell_of_all(hands.sockets, &changes);
        }
        for (core, socket, changes) in std::mem::take(&mut self.tracked.redirected) {
            let mut bytes = Vec::new();
            changes.iter().for_each(|change| write_change(change, &mut bytes));
            let back = ReturnAddress { socket, ticket: 0, part: TO_REDIRECT };
            self.send_changes(hands, core, back, bytes);
        }
    }

    /// Sends another core what its clients are told. If it has not read for long, they must forget everything.
    fn send_changes(&mut self, hands: &mut Hands<'_>, core: u16, back: ReturnAddress, bytes: Vec<u8>) {
        let mut bytes = bytes;
        if self.post.waiting() > WAITING_MAX {
            bytes = all_changed();
            if self.post.holds(core, back, &bytes) {
                return;
            }
        }
        self.post.send(hands.mail, core, ReplyKind::Stale, back, Freight::Bytes(bytes));
    }

    /// Tells our clients that hear of all keys.
    fn tell_of_all(&mut self, sockets: &mut Sockets, changes: &[Change]) {
        let hearing = self.tracked.connections.iter().filter(|(_, prefixes)| !prefixes.is_empty());
        for index in hearing.map(|(&index, _)| index).collect::<Vec<_>>() {
            let tracking = self.connections[index as usize].as_deref().and_then(|at| at.client.tracking.as_deref());
            let Some(tracking) = tracking else { continue };
            if changes.iter().any(|(key, _)| key.is_none()) {
                self.invalidate(sockets, index, None);
                continue;
            }
            // As in Redis each prefix has a message of its own.
            let prefixes = tracking.prefixes.iter();
            let messages = prefixes.map(|prefix| heard_with(tracking, prefix, changes));
            for keys in messages.filter(|keys| !keys.is_empty()).collect::<Vec<_>>() {
                self.invalidate(sockets, index, Some(&keys));
            }
        }
    }
}

/// The keys with a prefix of which a tracked client hears, in their order.
fn heard_with<'c>(tracking: &ClientTracking, prefix: &[u8], changes: &'c [Change]) -> Vec<&'c [u8]> {
    let own = |origin: &Option<Tracker>| tracking.is_own(*origin);
    let heard = changes.iter().filter(|(_, origin)| !own(origin)).filter_map(|(key, _)| key.as_deref());
    let keys: BTreeSet<&[u8]> = heard.filter(|key| key.starts_with(prefix)).collect();
    keys.into_iter().collect()
}

fn all_changed() -> Vec<u8> {
    let mut bytes = Vec::new();
    write_change(&(None, None), &mut bytes);
    bytes
}

/// Writes a change: 1 if there is an origin, 2 if there is a key; core, place and generation of the origin; length of the
/// key, the key.
fn write_change((key, origin): &Change, out: &mut Vec<u8>) {
    out.push(u8::from(origin.is_some()) | u8::from(key.is_some()) << 1);
    let Tracker { core, connection, generation } = origin.unwrap_or_default();
    out.extend_from_slice(&core.to_le_bytes());
    out.extend_from_slice(&connection.to_le_bytes());
    out.extend_from_slice(&generation.to_le_bytes());
    let key = key.as_deref().unwrap_or_default();
    out.extend_from_slice(&(key.len() as u32).to_le_bytes());
    out.extend_from_slice(key);
}

/// Reads what [`write_change`] wrote.
fn read_changes(mut bytes: &[u8]) -> Vec<Change> {
    let mut changes = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<15>() {
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let core = u16::from_le_bytes([head[1], head[2]]);
        let origin = Tracker { core, connection: word(3), generation: word(7) };
        let (key, rest) = rest.split_at(word(11) as usize);
        changes.push(((head[0] & 2 == 2).then(|| key.to_vec()), (head[0] & 1 == 1).then_some(origin)));
        bytes = rest;
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cores_say_of_keys_is_read_as_it_was_written() {
        let origin = Some(Tracker { core: 3, connection: 70_000, generation: 9 });
        let changes = vec![(Some(b"a\r\n".to_vec()), origin), (None, None), (Some(Vec::new()), None)];
        let mut bytes = Vec::new();
        changes.iter().for_each(|change| write_change(change, &mut bytes));
        assert_eq!(read_changes(&bytes), changes);
    }
}
