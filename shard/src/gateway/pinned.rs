//! Links that a client has for itself: while it waits at a node, and while it watches keys there.

use super::link::{Flight, Link, Marks};
use super::machine::{Envelope, Gateway, LinkId, Origin, Outlet, Sent};
use super::routes::Owner;
use crate::local::version_behind_hello;
use crate::{Client, Transaction};
use slotmesh_base::{Monotonic, ReplyError, Slot};
use slotmesh_command::{ConnectionCommand, Reach, Spec};
use slotmesh_conf::Settings;
use slotmesh_resp::{Args, Protocol, Reply, elements, push_request};

/// What a client watches at a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Watch {
    /// The link; nothing once it is lost, and with it what was watched.
    pub(super) link: Option<LinkId>,
    /// The slots of the keys, ascending.
    slots: Vec<Slot>,
}

/// The commands of a transaction for one node.
#[derive(Debug)]
pub struct Block {
    /// MULTI, the commands, EXEC.
    bytes: Vec<u8>,
    /// Replies in front of that of EXEC.
    skip: u32,
    is_repeatable: bool,
    /// Whether it says which version is spoken from some command on.
    changes_protocol: bool,
}

impl Block {
    /// The block of a client's transaction: its commands on keys. Of each HELLO among them the node hears which version the
    /// client will speak behind it, so that it answers in that one.
    pub fn of(client: &Client, transaction: &Transaction, settings: &Settings) -> Self {
        let bytes = b"*1\r\n$5\r\nMULTI\r\n".to_vec();
        let mut block = Self { bytes, skip: 1, is_repeatable: true, changes_protocol: false };
        let mut protocol = client.protocol;
        for (spec, args) in transaction.commands().filter(|(spec, _)| is_answered_by_node(spec)) {
            if let Reach::Connection(_) = spec.reach {
                protocol = version_behind_hello(args, settings).unwrap_or(protocol);
                push_request(&mut block.bytes, hello(protocol).into_iter());
                block.changes_protocol = true;
            } else {
                push_request(&mut block.bytes, args.iter_from(0));
                block.is_repeatable &= spec.is_repeatable(args);
            }
            block.skip += 1;
        }
        block.bytes.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        block
    }
}

/// Whether the answer to an EXEC of a [`Block`] holds one to this command.
pub(crate) fn is_answered_by_node(spec: &Spec) -> bool {
    matches!(spec.reach, Reach::Slot(_) | Reach::Connection(ConnectionCommand::Hello))
}

impl<T: Copy> Link<T> {
    /// Puts a transaction on the link.
    fn put_block(&mut self, flight: Flight<T>, protocol: Protocol, block: &Block, now: Monotonic) {
        if self.protocol == protocol {
            return self.put_encoded(flight, &block.bytes, now);
        }
        // Its client has changed to another version since it began to watch.
        self.protocol = protocol;
        let mut bytes = Vec::new();
        push_request(&mut bytes, hello(protocol).into_iter());
        bytes.extend_from_slice(&block.bytes);
        self.put_encoded(Flight { skip: flight.skip + 1, ..flight }, &bytes, now);
    }
}

fn hello(protocol: Protocol) -> [&'static [u8]; 2] {
    [b"HELLO", if protocol == Protocol::Resp3 { b"3" } else { b"2" }]
}

/// The bytes of a word of a request.
pub(super) fn text_of(word: &[u8]) -> Option<&[u8]> {
    let start = word.iter().position(|&byte| byte == b'\n')? + 1;
    word.get(start..word.len().checked_sub(2)?)
}

impl<T: Origin> Gateway<T> {
    /// Sends a request that may wait at the node for long, over a link of its own. `ends` says which argument is its
    /// timeout, and when that is over: if it must be sent again, then with what is left of it.
    pub fn send_alone(
        &mut self,
        now: Monotonic,
        envelope: Envelope<T>,
        args: Args<'_>,
        ends: Option<(usize, Monotonic)>,
    ) -> Sent {
        let peer = match self.peer_for(&envelope) {
            Ok(peer) => peer,
            Err(sent) => return sent,
        };
        let connection = envelope.to.connection();
        match ends {
            Some(ends) => self.ends.insert(connection, ends),
            None => self.ends.remove(&connection),
        };
        let flight = self.flight(now, &envelope, Marks::PINNED.with(Marks::WAITS));
        let Some(link) = self.pin(now, peer, envelope.protocol) else {
            return self.park_words(now, flight, envelope.protocol, args.iter_from(0));
        };
        if let Some(link) = self.link_mut(link) {
            link.put(flight, args.iter_from(0), now);
        }
        self.note_put(link, now);
        Sent::Yes
    }

    /// A request as it is to be sent again: with what is left of its time.
    pub(super) fn shortened(&self, now: Monotonic, flight: &Flight<T>, request: &[u8]) -> Vec<u8> {
        let ends = self.ends.get(&flight.to.connection()).filter(|_| flight.marks.has(Marks::WAITS));
        let Some(&(at, end)) = ends else { return request.to_vec() };
        let words: Option<Vec<&[u8]>> = elements(request).ok().map(|words| words.filter_map(text_of).collect());
        let Some(mut words) = words.filter(|words| at < words.len()) else { return request.to_vec() };
        let millis = (end.nanos_since(now) / 1_000_000).max(1);
        let rest = format!("{}.{:03}", millis / 1000, millis % 1000);
        words[at] = rest.as_bytes();
        let mut out = Vec::with_capacity(request.len());
        push_request(&mut out, words.into_iter());
        out
    }

    /// Nobody waits any more for the reply of a request that has a link of its own.
    pub fn cancel(&mut self, to: T) {
        self.ends.remove(&to.connection());
        let is_its = |(_, link): &(u32, Option<Link<T>>)| {
            link.as_ref().is_some_and(|link| link.is_pinned && link.flights.iter().any(|flight| flight.to == to))
        };
        if let Some(place) = self.links.iter().position(is_its) {
            self.drop_link(LinkId { index: place as u32, generation: self.links[place].0 });
        }
        self.forget_parked(|flight| flight.to == to);
    }

    /// Whether a connection watches keys at a node.
    pub fn watches(&self, connection: u32) -> bool {
        self.watches.contains_key(&connection)
    }

    /// Has a connection watch keys of a slot, over a link of its own that its EXEC will use, too. A watch that is lost
    /// counts as broken.
    pub fn watch(&mut self, now: Monotonic, envelope: Envelope<T>, args: Args<'_>) -> Sent {
        let peer = match self.peer_for(&envelope) {
            Ok(peer) => peer,
            Err(sent) => return sent,
        };
        let connection = envelope.to.connection();
        debug_assert!(!self.has_lost_watch(connection), "what is lost is not watched on");
        let flight = self.flight(now, &envelope, Marks::PINNED.with(Marks::BOUND));
        let link = match self.watches.get(&connection).and_then(|watch| watch.link) {
            None => match self.pin(now, peer, envelope.protocol) {
                Some(link) => link,
                None => return self.park_words(now, flight, envelope.protocol, args.iter_from(0)),
            },
            Some(link) if self.link(link).is_some_and(|link| link.peer == peer) => link,
            Some(_) => return Sent::Refused(ReplyError::CrossSlot),
        };
        self.begin_watch(connection, link, envelope.slot);
        if let Some(link) = self.link_mut(link) {
            link.put(flight, args.iter_from(0), now);
        }
        self.note_put(link, now);
        Sent::Yes
    }

    /// A connection watches keys of a slot over a link.
    pub(super) fn begin_watch(&mut self, connection: u32, link: LinkId, slot: Slot) {
        let watch = self.watches.entry(connection).or_insert_with(|| Watch { link: Some(link), slots: Vec::new() });
        if let Err(place) = watch.slots.binary_search(&slot) {
            watch.slots.insert(place, slot);
        }
    }

    /// Whether what a connection watches at a node is lost, so that its EXEC does nothing.
    pub fn has_lost_watch(&self, connection: u32) -> bool {
        self.watches.get(&connection).is_some_and(|watch| watch.link.is_none())
    }

    /// A connection watches nothing any more.
    pub fn unwatch(&mut self, connection: u32) {
        if let Some(Watch { link: Some(link), .. }) = self.watches.remove(&connection) {
            // A new one costs less than to wait until it is clean.
            self.drop_link(link);
        }
        self.forget_parked(|flight| flight.marks.has(Marks::BOUND) && flight.to.connection() == connection);
    }

    /// Drops what waits to be sent and is `unwanted`.
    fn forget_parked(&mut self, unwanted: impl Fn(&Flight<T>) -> bool) {
        for mut parked in std::mem::take(&mut self.parked) {
            if unwanted(&parked.flight) {
                self.parked_bytes -= parked.request.len();
                self.release(&mut parked.flight);
            } else {
                self.parked.push(parked);
            }
        }
    }

    /// Sends a transaction whose keys are all of one slot. Who watches keys at a node sends it there, whatever the slot;
    /// what it watches is not lost.
    pub fn send_block(&mut self, now: Monotonic, envelope: Envelope<T>, block: &Block) -> Sent {
        let marks = Marks::BLOCK.with(Marks::REPEATABLE.when(block.is_repeatable));
        debug_assert!(!self.has_lost_watch(envelope.to.connection()), "it does nothing");
        let (link, marks) = match self.watches.remove(&envelope.to.connection()).and_then(|watch| watch.link) {
            None => {
                let peer = match self.peer_for(&envelope) {
                    Ok(peer) => peer,
                    Err(sent) => return sent,
                };
                // Those who share a link hear all in the version that it was made for.
                let link = match block.changes_protocol {
                    true => self.pin(now, peer, envelope.protocol),
                    false => self.shared(now, peer, envelope.protocol),
                };
                let marks = marks.with(Marks::PINNED.when(block.changes_protocol));
                let Some(link) = link else {
                    let flight = Flight { skip: block.skip, ..self.flight(now, &envelope, marks) };
                    return self.park_request(now, flight, envelope.protocol, block.bytes.clone());
                };
                (link, marks)
            }
            Some(link) => (link, Marks::BLOCK.with(Marks::PINNED).with(Marks::BOUND)),
        };
        let flight = Flight { skip: block.skip, ..self.flight(now, &envelope, marks) };
        if let Some(link) = self.link_mut(link) {
            link.is_spent |= block.changes_protocol;
            link.put_block(flight, envelope.protocol, block, now);
        }
        self.note_put(link, now);
        Sent::Yes
    }

    /// A link with a request that belongs to it is of no use: what the request is answered.
    pub(super) fn end_bound(&mut self, id: LinkId, flight: &Flight<T>, protocol: Protocol) -> Vec<u8> {
        self.break_watch(id);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, protocol);
        match flight.marks.has(Marks::BLOCK) {
            true => reply.null_array(),
            // The EXEC will fail.
            false => reply.ok(),
        }
        out
    }

    /// What was watched over a link is lost.
    pub(super) fn break_watch(&mut self, id: LinkId) {
        if let Some(watch) = self.watches.values_mut().find(|watch| watch.link == Some(id)) {
            watch.link = None;
        }
    }

    /// What is watched where it is no more is lost: nobody there tells who touches it.
    pub(super) fn break_moved_watches(&mut self) {
        let Self { watches, links, routes, .. } = self;
        let mut useless = Vec::new();
        for watch in watches.values_mut() {
            let Some(id) = watch.link else { continue };
            let Some(link) = links[id.index()].1.as_mut() else { continue };
            if watch.slots.iter().any(|&slot| routes.owner(slot) != Owner::Peer(link.peer)) {
                watch.link = None;
                // A WATCH that is on its way is answered yet.
                link.is_spent = true;
                useless.extend(link.flights.is_empty().then_some(id));
            }
        }
        useless.into_iter().for_each(|id| self.drop_link(id));
    }

    /// A WATCH cannot be sent where it belonged: the EXEC behind it will do nothing.
    pub(super) fn lose_watch(&mut self, flight: &Flight<T>, protocol: Protocol, outlet: &mut impl Outlet<T>) {
        let lost = Watch { link: None, slots: Vec::new() };
        self.watches.insert(flight.to.connection(), lost);
        let mut out = Vec::new();
        Reply::new(&mut out, protocol).ok();
        outlet.reply(flight.to, &out);
    }

    fn flight(&self, now: Monotonic, envelope: &Envelope<T>, marks: Marks) -> Flight<T> {
        let until = now.plus_millis(self.rules.retry_ms);
        let Envelope { to, slot, .. } = *envelope;
        Flight { to, until, len: 0, skip: 0, slot, tries: 0, marks }
    }

    /// The node that has the slot of a request.
    fn peer_for(&self, envelope: &Envelope<T>) -> Result<u16, Sent> {
        let slot: Slot = envelope.slot;
        if self.is_held(envelope.to, slot) {
            return Err(Sent::NotYet);
        }
        match self.routes.owner(slot) {
            Owner::Peer(peer) => Ok(peer),
            Owner::Nobody => Err(Sent::Refused(ReplyError::SlotNotServed)),
            Owner::Ours | Owner::Soon => Err(Sent::NotYet),
        }
    }
}
