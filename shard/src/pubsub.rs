//! Publish/subscribe: who hears which channel, and what they are told.
//!
//! Each core knows the subscriptions of its own connections ([`Subscriptions`]), and nobody else touches them. What
//! all cores must know of each other is in the [`Audience`]: a summary that says which cores a message need not be sent
//! to, read without a lock, and a census of all channels for those who ask for numbers. A channel that nobody hears
//! costs a publisher one hash and a few loads for each core.
//!
//! A subscription costs its name, which all who hear it on a core share, and an entry at the client and at the channel.
//!
//! Mirrors Redis 7.2 `pubsub.c`.

mod audience;

pub use audience::{Audience, Census};

use crate::Client;
use crate::Shard;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{ChannelKind, PubSubCommand, glob};
use slotmesh_keyspace::KeyHasher;
use slotmesh_resp::{Args, Protocol, Reply};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// What a client hears. There are always some names; a client without has none of this.
#[derive(Debug, Default)]
pub struct Subscribed {
    names: [BTreeSet<Arc<[u8]>>; 3],
}

impl Subscribed {
    /// Number of subscriptions of a kind.
    pub fn count(&self, kind: ChannelKind) -> usize {
        self.names[kind as usize].len()
    }

    fn is_empty(&self) -> bool {
        self.names.iter().all(BTreeSet::is_empty)
    }

    /// Bytes of memory that its subscriptions take, names included (as if nobody shared them).
    pub fn memory_bytes(&self) -> usize {
        let of = |names: &BTreeSet<Arc<[u8]>>| names.iter().map(|name| name.len() + ENTRY_BYTES).sum::<usize>();
        size_of::<Self>() + self.names.iter().map(of).sum::<usize>()
    }

    /// How often the client hears a message on a channel.
    fn hears(&self, kind: ChannelKind, channel: &[u8], mut each: impl FnMut(Option<&[u8]>)) {
        if self.names[kind as usize].contains(channel) {
            each(None);
        }
        if kind == ChannelKind::Global {
            let patterns = &self.names[ChannelKind::Pattern as usize];
            patterns.iter().filter(|pattern| glob::matches(pattern, channel)).for_each(|pattern| each(Some(pattern)));
        }
    }
}

/// Bytes of a subscription beside its name: its place with the client and with the channel, and the counts before the
/// name.
const ENTRY_BYTES: usize = 2 * size_of::<Arc<[u8]>>() + size_of::<u32>() + 2 * size_of::<usize>();

/// A client that hears or ceases to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Listener {
    connection: u32,
    is_at_node: bool,
}

/// Connections that hear a channel, ascending. Most channels have one, and to insert among many moves four bytes each.
type Receivers = Vec<u32>;

/// The subscriptions of one core's connections.
#[derive(Debug)]
pub struct Subscriptions {
    core: u16,
    audience: Arc<Audience>,
    names: [HashMap<Arc<[u8]>, Receivers, KeyHasher>; 3],
}

impl Subscriptions {
    /// No subscriptions on `core`.
    pub fn new(core: u16, audience: Arc<Audience>) -> Self {
        let hasher = audience.hasher();
        Self { core, audience, names: ChannelKind::ALL.map(|_| HashMap::with_hasher(hasher)) }
    }

    /// Whether nobody here hears anything.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.names.iter().all(HashMap::is_empty)
    }

    /// What all cores know of each other.
    pub fn audience(&self) -> &Audience {
        &self.audience
    }

    /// For whom a message on a channel is: the pattern that it matches, if it is that, with the connections.
    pub fn for_each_audience(&self, kind: ChannelKind, channel: &[u8], mut each: impl FnMut(Option<&[u8]>, &[u32])) {
        if let Some(receivers) = self.names[kind as usize].get(channel) {
            each(None, receivers);
        }
        if kind == ChannelKind::Global {
            for (pattern, receivers) in &self.names[ChannelKind::Pattern as usize] {
                if glob::matches(pattern, channel) {
                    each(Some(pattern), receivers);
                }
            }
        }
    }

    /// Runs SUBSCRIBE, UNSUBSCRIBE or one of their kin for a client of ours; `connection` is its number here.
    ///
    /// # Panics
    /// If it is told to publish.
    pub fn run(
        &mut self,
        command: PubSubCommand,
        client: &mut Client,
        connection: u32,
        args: Args<'_>,
        reply: &mut Reply<'_>,
    ) {
        let listener = Listener { connection, is_at_node: client.is_at_node };
        match command {
            PubSubCommand::Subscribe(kind) => {
                for name in args.iter_from(1) {
                    self.subscribe(client, listener, kind, name);
                    write_change(client, true, kind, Some(name), reply);
                }
            }
            PubSubCommand::Unsubscribe(kind) if args.len() > 1 => {
                for name in args.iter_from(1) {
                    self.unsubscribe(client, listener, kind, name);
                    write_change(client, false, kind, Some(name), reply);
                }
            }
            PubSubCommand::Unsubscribe(kind) => {
                let names: Vec<_> = client.subscribed.iter().flat_map(|heard| &heard.names[kind as usize]).collect();
                let names: Vec<_> = names.into_iter().cloned().collect();
                for name in &names {
                    self.unsubscribe(client, listener, kind, name);
                    write_change(client, false, kind, Some(name), reply);
                }
                // Who hears nothing gets an answer too.
                if names.is_empty() {
                    write_change(client, false, kind, None, reply);
                }
            }
            PubSubCommand::Publish(_) => panic!("a message is for others"),
        }
    }

    /// A client of ours hears nothing any more, and is not told so.
    pub fn leave(&mut self, client: &mut Client, connection: u32) {
        let Some(heard) = client.subscribed.take() else { return };
        let listener = Listener { connection, is_at_node: client.is_at_node };
        for kind in ChannelKind::ALL {
            heard.names[kind as usize].iter().for_each(|name| self.remove(listener, kind, name));
        }
    }

    /// The shard channels whose slots are not served here any more, each with the connections that hear it.
    pub fn channels_outside(&self, serves: impl Fn(Slot) -> bool) -> Vec<(Arc<[u8]>, Vec<u32>)> {
        let channels = self.names[ChannelKind::Shard as usize].iter();
        let lost = channels.filter(|(channel, _)| !serves(Slot::of_key(channel)));
        lost.map(|(channel, receivers)| (channel.clone(), receivers.clone())).collect()
    }

    /// A client of ours ceases to hear a shard channel, and is told so (Redis 7.2 `cluster.c` `removeChannelsInSlot`).
    pub fn expel(&mut self, client: &mut Client, connection: u32, channel: &[u8], reply: &mut Reply<'_>) {
        let listener = Listener { connection, is_at_node: client.is_at_node };
        self.unsubscribe(client, listener, ChannelKind::Shard, channel);
        write_change(client, false, ChannelKind::Shard, Some(channel), reply);
    }

    fn subscribe(&mut self, client: &mut Client, listener: Listener, kind: ChannelKind, name: &[u8]) {
        let heard = client.subscribed.get_or_insert_default();
        if heard.names[kind as usize].contains(name) {
            return;
        }
        let names = &mut self.names[kind as usize];
        let (name, is_only) = match names.get_key_value(name) {
            Some((name, _)) => (name.clone(), false),
            None => (Arc::from(name), true),
        };
        heard.names[kind as usize].insert(name.clone());
        self.audience.begin(self.core, listener.is_at_node, kind, &name, is_only);
        let receivers = names.entry(name).or_default();
        if let Err(place) = receivers.binary_search(&listener.connection) {
            receivers.insert(place, listener.connection);
        }
    }

    fn unsubscribe(&mut self, client: &mut Client, listener: Listener, kind: ChannelKind, name: &[u8]) {
        let Some(heard) = &mut client.subscribed else { return };
        if heard.names[kind as usize].remove(name) {
            if heard.is_empty() {
                client.subscribed = None;
            }
            self.remove(listener, kind, name);
        }
    }

    fn remove(&mut self, listener: Listener, kind: ChannelKind, name: &[u8]) {
        let names = &mut self.names[kind as usize];
        let receivers = names.get_mut(name).expect("a client and its core agree on what it hears");
        let place = receivers.binary_search(&listener.connection).expect("a client is among those who hear");
        receivers.remove(place);
        let is_only = receivers.is_empty();
        if is_only {
            names.remove(name);
            if names.is_empty() {
                names.shrink_to(0);
            }
        }
        self.audience.end(self.core, listener.is_at_node, kind, name, is_only);
    }
}

/// Tells a client of a subscription, or of its end: a push, also in the form that it has in RESP2.
fn write_change(client: &Client, begins: bool, kind: ChannelKind, name: Option<&[u8]>, reply: &mut Reply<'_>) {
    reply.push(3);
    reply.bulk(match (begins, kind) {
        (true, ChannelKind::Global) => b"subscribe",
        (true, ChannelKind::Pattern) => b"psubscribe",
        (true, ChannelKind::Shard) => b"ssubscribe",
        (false, ChannelKind::Global) => b"unsubscribe",
        (false, ChannelKind::Pattern) => b"punsubscribe",
        (false, ChannelKind::Shard) => b"sunsubscribe",
    });
    match name {
        Some(name) => reply.bulk(name),
        None => reply.null(),
    }
    let count = |kind| client.subscribed.as_ref().map_or(0, |heard| heard.count(kind));
    reply.integer(match kind {
        ChannelKind::Shard => count(ChannelKind::Shard),
        // Channels and patterns are counted together.
        ChannelKind::Global | ChannelKind::Pattern => count(ChannelKind::Global) + count(ChannelKind::Pattern),
    } as i64);
}

/// Writes a message as those hear it who listen to its channel, or to a pattern.
pub fn write_message(
    protocol: Protocol,
    kind: ChannelKind,
    pattern: Option<&[u8]>,
    channel: &[u8],
    message: &[u8],
    out: &mut Vec<u8>,
) {
    let mut reply = Reply::new(out, protocol);
    match (pattern, kind) {
        (Some(pattern), _) => {
            reply.push(4);
            reply.bulk(b"pmessage");
            reply.bulk(pattern);
        }
        (None, ChannelKind::Shard) => {
            reply.push(3);
            reply.bulk(b"smessage");
        }
        (None, ChannelKind::Global | ChannelKind::Pattern) => {
            reply.push(3);
            reply.bulk(b"message");
        }
    }
    reply.bulk(channel);
    reply.bulk(message);
}

impl Client {
    /// Whether it hears anything, which makes it a client of the class `pubsub`.
    #[inline]
    pub fn is_subscriber(&self) -> bool {
        self.subscribed.is_some()
    }

    /// Whether it may not use a command since it hears something: RESP2 cannot tell a reply from a message (Redis 7.2
    /// `server.c` `processCommand`).
    #[inline]
    pub(crate) fn is_bound(&self) -> bool {
        self.subscribed.is_some() && self.protocol == Protocol::Resp2
    }

    /// Writes a message that it has said itself as often as it hears it now.
    pub(crate) fn write_own_message(&self, kind: ChannelKind, channel: &[u8], message: &[u8], out: &mut Vec<u8>) {
        if let Some(heard) = &self.subscribed {
            heard.hears(kind, channel, |pattern| write_message(self.protocol, kind, pattern, channel, message, out));
        }
    }
}

/// What the commands of a transaction do to channels.
pub struct Speech<'a> {
    /// The subscriptions of the client's core.
    pub subscriptions: &'a mut Subscriptions,
    /// The client's number there.
    pub connection: u32,
    /// What it hears itself of what it says: for when its EXEC has been answered (Redis 7.2 `networking.c`,
    /// `pending_push_messages`).
    pub own: Vec<u8>,
    /// What it says to others, in order.
    pub said: Vec<Said>,
}

/// A message that waits to be delivered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    /// What it goes to.
    pub kind: ChannelKind,
    /// The channel.
    pub channel: Vec<u8>,
    /// The message.
    pub message: Vec<u8>,
    /// Whether it stands among the effects of the transaction, from which replicas hear it.
    pub is_recorded: bool,
}

impl<'a> Speech<'a> {
    /// Nothing said yet by the client with that number.
    pub fn new(subscriptions: &'a mut Subscriptions, connection: u32) -> Self {
        Self { subscriptions, connection, own: Vec::new(), said: Vec::new() }
    }

    /// Runs a queued command.
    pub(crate) fn run(&mut self, command: PubSubCommand, client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
        let kind = match command {
            PubSubCommand::Publish(kind) => kind,
            PubSubCommand::Subscribe(ChannelKind::Shard) => return reply.error(ReplyError::SsubscribeInTransaction),
            _ => return self.subscriptions.run(command, client, self.connection, args, reply),
        };
        let (channel, message) = (args.at(1), args.at(2));
        let node = client.is_at_node.then_some(self.subscriptions.core);
        reply.integer(self.subscriptions.audience.receivers(node, kind, channel) as i64);
        client.write_own_message(kind, channel, message, &mut self.own);
        let (channel, message) = (channel.to_vec(), message.to_vec());
        self.said.push(Said { kind, channel, message, is_recorded: false });
    }

    /// Gives what was just said its place among what the transaction does on its shards, if somebody wants to know that.
    pub(crate) fn record(&mut self, db: u16, shards: &mut [&mut Shard]) {
        let Some(first) = shards.first_mut().filter(|first| first.effects.is_recording()) else { return };
        for said in self.said.iter_mut().filter(|said| !said.is_recorded) {
            let name: &[u8] = if said.kind == ChannelKind::Shard { b"SPUBLISH" } else { b"PUBLISH" };
            first.effects.push(db, [name, &said.channel, &said.message].into_iter());
            first.effects.end_command();
            said.is_recorded = true;
        }
    }
}

#[cfg(test)]
mod tests;
