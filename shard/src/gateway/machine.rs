//! What one core's gateway does with requests for the nodes of other hosts.

use super::link::{Arrival, Flight, Link, Marks, Phase};
use super::listening::Ears;
use super::pinned::Watch;
use super::recovery::LOOK_NANOS;
use super::routes::{Owner, Routes};
use slotmesh_base::limits::GATEWAY_PEERS_MAX;
use slotmesh_base::{Monotonic, ReplyError, Slot};
use slotmesh_command::{Flags, RequestPolicy, Spec};
use slotmesh_resp::{Args, Protocol};
use std::collections::HashMap;
use std::net::SocketAddr;

/// Who has waited at a node for so long, in nanoseconds, was there rightly, and is not tried again for the first time.
const WAITED_NANOS_MIN: u64 = 1_000_000_000;

/// Where a reply goes.
pub trait Origin: Copy + PartialEq {
    /// A number of the connection that no other open one has.
    fn connection(&self) -> u32;
}

/// Takes what comes for clients.
pub trait Outlet<T> {
    /// The reply to a request.
    fn reply(&mut self, to: T, reply: &[u8]);

    /// A message on a shard channel.
    fn hear(&mut self, channel: &[u8], text: &[u8]);

    /// A request whose slot is this process's by now: it is to be run here.
    fn home(&mut self, to: T, protocol: Protocol, request: &[u8]);
}

/// Names a link; never another one later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LinkId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

impl LinkId {
    /// Its place; places are used again.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Where reads go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReadFrom {
    /// To the master.
    #[default]
    Master,
    /// To a replica, if there is one.
    Replica,
    /// To any node that has the slot.
    Any,
}

/// How a gateway behaves, by its directives.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Rules {
    /// `gateway-retry-timeout`, in ms.
    pub retry_ms: u64,
    /// `gateway-timeout`, in ms.
    pub answer_ms: u64,
    /// `gateway-links-max`.
    pub links_max: usize,
    /// `gateway-read-from`.
    pub reads: ReadFrom,
    /// Whom to come as; empty for the default user.
    pub user: String,
    /// With which password; empty for none.
    pub password: String,
    /// Where clients come to this very gateway: no redirect is followed to there.
    pub own: Vec<SocketAddr>,
}

/// Without the secrets.
impl std::fmt::Debug for Rules {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { retry_ms, answer_ms, links_max, reads, .. } = self;
        write!(f, "Rules({retry_ms}, {answer_ms}, {links_max}, {reads:?})")
    }
}

/// What is to be done about links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Order {
    /// Connect; [`Gateway::connected`] or [`Gateway::failed`] says how it ended.
    Dial(LinkId, SocketAddr),
    /// Close the connection, or give up making it.
    Close(LinkId),
    /// A line for the log.
    Log(String),
}

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    /// It is on its way, or waits here until it is.
    Yes,
    /// There is no room, or an earlier one of its client must be answered first: try again later.
    NotYet,
    /// It cannot be.
    Refused(ReplyError),
}

/// What a request is, beside its words.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<T> {
    /// Its row.
    pub spec: &'static Spec,
    /// The slot of its keys; any of the node's, if it has none.
    pub slot: Slot,
    /// The version that its client speaks.
    pub protocol: Protocol,
    /// Where the reply goes.
    pub to: T,
}

/// The address of a node, and what leads there.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) address: SocketAddr,
    /// The link that all share, of each version.
    pub(super) shared: [Option<LinkId>; 2],
    /// Links that one request may have for itself.
    pub(super) idle: Vec<LinkId>,
    /// Dials in a row that have failed.
    pub(super) failures: u32,
    /// When it may be dialled again after them.
    pub(super) rests_until: Monotonic,
    /// Whether the log says that it does not let us in.
    pub(super) has_refused: bool,
}

/// A request that waits to be sent again.
#[derive(Debug)]
pub(super) struct Parked<T> {
    pub(super) flight: Flight<T>,
    pub(super) protocol: Protocol,
    pub(super) request: Vec<u8>,
    pub(super) due: Monotonic,
    /// Where a redirect has sent it, with or without ASKING, and which view of the cluster that was.
    pub(super) target: Option<(SocketAddr, bool, u64)>,
    /// What it was refused with.
    pub(super) said: Vec<u8>,
}

/// The gateway of one core.
#[derive(Debug)]
pub struct Gateway<T> {
    pub(super) rules: Rules,
    pub(super) routes: Routes,
    /// Number of the view that the routes come from.
    pub(super) view: u64,
    pub(super) peers: Vec<Peer>,
    pub(super) links: Vec<(u32, Option<Link<T>>)>,
    pub(super) free: Vec<u32>,
    pub(super) open: usize,
    pub(super) parked: Vec<Parked<T>>,
    pub(super) parked_bytes: usize,
    /// How many requests of a connection for a slot must be answered before a further one is sent.
    pub(super) held: HashMap<(u32, Slot), u32, Hasher>,
    /// Of the requests of connections that wait at nodes, which argument is the timeout, and when that is over.
    pub(super) ends: HashMap<u32, (usize, Monotonic)>,
    /// Shard channels that clients hear.
    pub(super) ears: Ears,
    /// What connections watch at nodes.
    pub(super) watches: HashMap<u32, Watch>,
    /// Links that have something to send.
    pub(super) dirty: Vec<LinkId>,
    pub(super) orders: Vec<Order>,
    pub(super) next_look: Monotonic,
    /// How often a master may have been lost, with what it had not given to its replicas.
    pub(super) losses: u64,
    /// Takes turns among replicas.
    pub(super) turn: usize,
    /// Whether something has happened for which clients may have waited.
    pub(super) has_released: bool,
}

/// Few keys, all of them ours.
type Hasher = std::hash::BuildHasherDefault<SlotHasher>;

/// A hash of small numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SlotHasher(u64);

impl std::hash::Hasher for SlotHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u16(&mut self, number: u16) {
        self.write_u64(u64::from(number));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    }
}

impl<T: Origin> Gateway<T> {
    /// A gateway that knows of no cluster.
    pub fn new(rules: Rules) -> Self {
        Self {
            rules,
            routes: Routes::default(),
            view: 0,
            peers: Vec::new(),
            links: Vec::new(),
            free: Vec::new(),
            open: 0,
            parked: Vec::new(),
            parked_bytes: 0,
            held: HashMap::default(),
            ends: HashMap::new(),
            ears: Ears::new(),
            watches: HashMap::new(),
            dirty: Vec::new(),
            orders: Vec::new(),
            next_look: Monotonic(u64::MAX),
            losses: 0,
            turn: 0,
            has_released: false,
        }
    }

    /// Who has which slot.
    #[inline]
    pub fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Number of links.
    pub fn links(&self) -> usize {
        self.open
    }

    /// A number that grows whenever a master may have been lost, with what it had not given to its replicas: its slots have
    /// another one, or a link to it has broken.
    #[inline]
    pub fn losses(&self) -> u64 {
        self.losses
    }

    /// What is to be done about links since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        std::mem::take(&mut self.orders)
    }

    /// Whether there is anything to be done about links.
    #[inline]
    pub fn has_orders(&self) -> bool {
        !self.orders.is_empty()
    }

    /// Whether something has happened since the last call for which clients may have waited.
    pub fn take_released(&mut self) -> bool {
        std::mem::take(&mut self.has_released)
    }

    /// When [`tick`](Self::tick) is wanted at the latest.
    #[inline]
    pub fn deadline(&self) -> Monotonic {
        self.next_look
    }

    /// Follows other rules. Links that were made under others are given up when they have nothing to do.
    pub fn set_rules(&mut self, rules: Rules) {
        let is_greeted_alike = self.rules.user == rules.user
            && self.rules.password == rules.password
            && (self.rules.reads == ReadFrom::Master) == (rules.reads == ReadFrom::Master);
        self.rules = rules;
        if !is_greeted_alike {
            for peer in &mut self.peers {
                (peer.shared, peer.has_refused) = ([None; 2], false);
                peer.idle.clear();
            }
            let Self { links, held, .. } = self;
            let links = links.iter_mut().filter_map(|(_, link)| link.as_mut());
            for link in links.filter(|link| !link.is_ear && !link.is_outdated) {
                link.is_outdated = true;
                // What is sent over a new link must not overtake what is on this one.
                let is_shared = !link.is_pinned;
                for flight in link.flights.iter_mut().filter(|flight| is_shared && !flight.marks.has(Marks::HELD)) {
                    flight.marks = flight.marks.with(Marks::HELD);
                    *held.entry((flight.to.connection(), flight.slot)).or_default() += 1;
                }
            }
            self.drop_outdated_links();
        }
    }

    /// Closes links that were made under other rules and have nothing to do any more.
    pub(super) fn drop_outdated_links(&mut self) {
        for index in 0..self.links.len() {
            let (generation, Some(link)) = &self.links[index] else { continue };
            let id = LinkId { index: index as u32, generation: *generation };
            if link.is_outdated && link.flights.is_empty() && !self.watches.values().any(|watch| watch.link == Some(id))
            {
                self.drop_link(id);
            }
        }
    }

    /// Sends a request to the node that has its slot.
    #[inline]
    pub fn send(&mut self, now: Monotonic, envelope: Envelope<T>, args: Args<'_>) -> Sent {
        self.send_words(now, envelope, args.iter_from(0), envelope.spec.is_repeatable(args), false)
    }

    /// The same for a part of a request, of which these are the words. All parts of a request go together: there was room
    /// for each ([`may_send`](Self::may_send)) before the first one took some.
    #[inline]
    pub fn send_part<'a>(
        &mut self,
        now: Monotonic,
        envelope: Envelope<T>,
        words: impl ExactSizeIterator<Item = &'a [u8]>,
        is_repeatable: bool,
    ) -> Sent {
        self.send_words(now, envelope, words, is_repeatable, true)
    }

    #[inline]
    fn send_words<'a>(
        &mut self,
        now: Monotonic,
        envelope: Envelope<T>,
        words: impl ExactSizeIterator<Item = &'a [u8]>,
        is_repeatable: bool,
        is_part: bool,
    ) -> Sent {
        let marks = Marks::REPEATABLE.when(is_repeatable);
        let Envelope { spec, slot, protocol, to } = envelope;
        if self.is_held(to, slot) {
            return Sent::NotYet;
        }
        let master = match self.routes.owner(slot) {
            Owner::Peer(master) => master,
            Owner::Nobody => return Sent::Refused(ReplyError::SlotNotServed),
            Owner::Ours | Owner::Soon => return Sent::NotYet,
        };
        // A scan goes on where it has begun: another node's cursors mean something else.
        let is_read = self.rules.reads != ReadFrom::Master
            && spec.flags.contains(Flags::READONLY)
            && spec.tips.request != RequestPolicy::Special;
        let (peer, marks) = match is_read.then(|| self.reader(now, master, protocol)).flatten() {
            Some(replica) => (replica, marks.with(Marks::AT_REPLICA)),
            None => (master, marks),
        };
        let until = now.plus_millis(self.rules.retry_ms);
        let flight = Flight { to, until, len: 0, skip: 0, slot, tries: 0, marks };
        let Some(link) = self.shared(now, peer, protocol) else {
            return self.park_words(now, flight, protocol, words);
        };
        let Some(found) = self.links[link.index()].1.as_mut() else { return Sent::NotYet };
        if found.is_full() && !is_part {
            return Sent::NotYet;
        }
        found.put(flight, words, now);
        self.note_put(link, now);
        Sent::Yes
    }

    /// Whether a further request of a connection for a slot could be sent now.
    #[inline]
    pub fn may_send(&mut self, to: T, slot: Slot, protocol: Protocol) -> bool {
        if self.is_held(to, slot) {
            return false;
        }
        let peer = match self.routes.owner(slot) {
            Owner::Peer(peer) => peer,
            Owner::Nobody => return true,
            Owner::Ours | Owner::Soon => return false,
        };
        let shared = self.peers[usize::from(peer)].shared[protocol as usize];
        shared.and_then(|link| self.link(link)).is_none_or(|link| !link.is_full())
    }

    #[inline]
    pub(super) fn is_held(&self, to: T, slot: Slot) -> bool {
        !self.held.is_empty() && self.held.contains_key(&(to.connection(), slot))
    }

    /// A replica to read from, if that is better than the master: one after the other, without those that are lost.
    fn reader(&mut self, now: Monotonic, master: u16, protocol: Protocol) -> Option<u16> {
        let (count, asks_master) = (self.routes.replicas(master).len(), self.rules.reads == ReadFrom::Any);
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % (count + usize::from(asks_master)).max(1);
        let turns = (first..count).chain(0..first.min(count));
        turns.take(if asks_master && first == count { 0 } else { count }).find_map(|place| {
            let replica = *self.routes.replicas(master).get(place)?;
            self.is_well(now, replica, protocol).then_some(replica)
        })
    }

    /// Whether a replica may be read from. One that was lost is dialled, and nobody waits for that.
    #[inline]
    fn is_well(&mut self, now: Monotonic, replica: u16, protocol: Protocol) -> bool {
        let peer = &self.peers[usize::from(replica)];
        peer.failures == 0 || self.is_back(now, replica, protocol)
    }

    #[cold]
    fn is_back(&mut self, now: Monotonic, replica: u16, protocol: Protocol) -> bool {
        let peer = &self.peers[usize::from(replica)];
        match peer.shared[protocol as usize] {
            Some(link) => self.link(link).is_some_and(|link| link.phase == Phase::Open),
            None if peer.rests_until <= now => {
                if let Some(link) = self.open_shared(now, replica, protocol) {
                    self.dial(link, now);
                }
                false
            }
            None => false,
        }
    }

    /// The link that all share to a node; made if there is none and there may be one more.
    #[inline]
    pub(super) fn shared(&mut self, now: Monotonic, peer: u16, protocol: Protocol) -> Option<LinkId> {
        match self.peers[usize::from(peer)].shared[protocol as usize] {
            Some(link) => Some(link),
            None => self.open_shared(now, peer, protocol),
        }
    }

    #[cold]
    fn open_shared(&mut self, now: Monotonic, peer: u16, protocol: Protocol) -> Option<LinkId> {
        let link = self.open_link(now, peer, protocol, false)?;
        self.peers[usize::from(peer)].shared[protocol as usize] = Some(link);
        Some(link)
    }

    /// Makes a link, if there may be one more.
    pub(super) fn open_link(
        &mut self,
        now: Monotonic,
        peer: u16,
        protocol: Protocol,
        is_pinned: bool,
    ) -> Option<LinkId> {
        // There may be more than that, if it was lowered.
        while self.open >= self.rules.links_max {
            if !self.close_an_idle_link() {
                return None;
            }
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.links.push((0, None));
            (self.links.len() - 1) as u32
        });
        let place = &mut self.links[index as usize];
        let id = LinkId { index, generation: place.0 };
        let failures = self.peers[usize::from(peer)].failures;
        let rests = Phase::Resting(Monotonic(now.0 + pause_nanos(failures)));
        place.1 = Some(Link::new(peer, protocol, is_pinned, rests, now));
        self.open += 1;
        if failures == 0 {
            self.dial(id, now);
        }
        self.look_soon(now);
        Some(id)
    }

    pub(super) fn dial(&mut self, id: LinkId, now: Monotonic) {
        let Some(link) = self.link_mut(id) else { return };
        (link.phase, link.heard_at) = (Phase::Dialling, now);
        let peer = usize::from(link.peer);
        let address = self.peers[peer].address;
        self.orders.push(Order::Dial(id, address));
        self.look_soon(now);
    }

    /// Closes a link that nobody needs now; whether there was one.
    fn close_an_idle_link(&mut self) -> bool {
        let idle = self.peers.iter_mut().find_map(|peer| peer.idle.pop());
        let unused = || {
            let is_unused = |link: &Link<T>| link.flights.is_empty() && !link.is_pinned;
            let place = self.links.iter().position(|(_, link)| link.as_ref().is_some_and(is_unused))?;
            Some(LinkId { index: place as u32, generation: self.links[place].0 })
        };
        let Some(id) = idle.or_else(unused) else { return false };
        self.drop_link(id);
        true
    }

    pub(super) fn link(&self, id: LinkId) -> Option<&Link<T>> {
        let (generation, link) = self.links.get(id.index())?;
        link.as_ref().filter(|_| *generation == id.generation)
    }

    pub(super) fn link_mut(&mut self, id: LinkId) -> Option<&mut Link<T>> {
        let (generation, link) = self.links.get_mut(id.index())?;
        link.as_mut().filter(|_| *generation == id.generation)
    }

    /// Something was put on a link.
    #[inline]
    pub(super) fn note_put(&mut self, id: LinkId, now: Monotonic) {
        let Some(link) = self.links[id.index()].1.as_mut() else { return };
        if !link.is_dirty {
            link.is_dirty = true;
            self.dirty.push(id);
        }
        self.look_soon(now);
    }

    #[inline]
    pub(super) fn look_soon(&mut self, now: Monotonic) {
        if self.next_look.0 == u64::MAX {
            self.next_look = Monotonic(now.0 + LOOK_NANOS);
        }
    }

    /// Gives the bytes that are to be sent on each link, at the end of a turn.
    #[inline]
    pub fn flush(&mut self, mut send: impl FnMut(LinkId, &[u8])) {
        while let Some(id) = self.dirty.pop() {
            let Some(link) = self.link_mut(id) else { continue };
            link.is_dirty = false;
            let output = link.take_output();
            if !output.is_empty() {
                send(id, output);
            }
        }
    }

    /// A connection stands. Gives what is to be sent first; nothing, if the link is not wanted any more.
    pub fn connected(&mut self, now: Monotonic, id: LinkId) -> Option<Vec<u8>> {
        let Self { rules, links, .. } = self;
        let (generation, link) = links.get_mut(id.index())?;
        let link = link.as_mut().filter(|_| *generation == id.generation)?;
        let (greeting, answers) = super::greeting::write(rules, link.protocol);
        link.greet(answers, now);
        Some(greeting)
    }

    /// There is no connection to be had now.
    pub fn failed(&mut self, now: Monotonic, id: LinkId, outlet: &mut impl Outlet<T>) {
        self.lose(now, id, outlet);
    }

    /// A connection has ended.
    pub fn ended(&mut self, now: Monotonic, id: LinkId, outlet: &mut impl Outlet<T>) {
        self.lose(now, id, outlet);
    }

    /// Bytes have come on a link.
    #[inline]
    pub fn received(&mut self, now: Monotonic, id: LinkId, chunk: &[u8], outlet: &mut impl Outlet<T>) {
        let Some((generation, place)) = self.links.get_mut(id.index()) else { return };
        let Some(link) = place.as_mut().filter(|_| *generation == id.generation) else { return };
        let (was_full, silent_nanos) = (link.is_full(), now.nanos_since(link.heard_at));
        let (mut others, mut said) = (Vec::new(), Vec::new());
        let outcome = link.receive(chunk, now, |arrival| {
            let (flight, reply, fault, request) = match arrival {
                Arrival::Reply { flight, reply, fault, request } => (flight, reply, fault, request),
                Arrival::Said(text) => return said.push(text.to_vec()),
            };
            if flight.marks.is_plain() && reply.first() != Some(&b'-') {
                return outlet.reply(flight.to, reply);
            }
            others.push((flight, reply.to_vec(), fault.to_vec(), request.to_vec()));
        });
        self.has_released |= was_full && !link.is_full();
        for text in said {
            self.hear(now, id, &text, outlet);
        }
        for (mut flight, reply, fault, request) in others {
            if flight.marks.has(Marks::WAITS) && silent_nanos > WAITED_NANOS_MIN {
                // It was where it belonged until now.
                (flight.until, flight.tries) = (now.plus_millis(self.rules.retry_ms), 0);
            }
            self.judge(now, id, flight, (&reply, &fault), &request, outlet);
        }
        match outcome {
            Ok(false) => {}
            Ok(true) => {
                if let Some(peer) = self.link(id).map(|link| usize::from(link.peer)) {
                    (self.peers[peer].failures, self.peers[peer].has_refused) = (0, false);
                }
                self.note_put(id, now);
            }
            Err(broken) => self.give_up(now, id, broken, outlet),
        }
    }

    /// A link of one's own to a node, if there may be one more.
    pub(super) fn pin(&mut self, now: Monotonic, peer: u16, protocol: Protocol) -> Option<LinkId> {
        let links = &self.links;
        let idle = &mut self.peers[usize::from(peer)].idle;
        let speaks = |id: &LinkId| links[id.index()].1.as_ref().is_some_and(|link| link.protocol == protocol);
        match idle.iter().rposition(speaks) {
            Some(place) => Some(idle.swap_remove(place)),
            None => self.open_link(now, peer, protocol, true),
        }
    }

    /// A link of one's own is not needed any more, unless it `stays`.
    pub(super) fn unpin(&mut self, id: LinkId, stays: bool) {
        let Some(link) = self.link(id).filter(|link| link.flights.is_empty()) else { return };
        let (peer, is_spent, is_outdated) = (usize::from(link.peer), link.is_spent, link.is_outdated);
        if is_spent || is_outdated && !stays {
            self.drop_link(id);
        } else if !stays {
            self.peers[peer].idle.push(id);
        }
    }

    /// Closes a link that has nothing to do.
    pub(super) fn drop_link(&mut self, id: LinkId) {
        if self.link(id).is_some() {
            self.orders.push(Order::Close(id));
            self.forget_link(id);
        }
    }

    pub(super) fn forget_link(&mut self, id: LinkId) {
        let Some(peer) = self.link(id).map(|link| usize::from(link.peer)) else { return };
        let peer = &mut self.peers[peer];
        peer.shared.iter_mut().filter(|shared| **shared == Some(id)).for_each(|shared| *shared = None);
        peer.idle.retain(|&idle| idle != id);
        let place = &mut self.links[id.index()];
        (place.0, place.1) = (place.0.wrapping_add(1), None);
        self.free.push(id.index);
        self.open -= 1;
    }

    /// The peer at an address, if it is known or there is room for it.
    pub(super) fn peer_at(&mut self, address: SocketAddr) -> Option<u16> {
        if let Some(place) = self.peers.iter().position(|peer| peer.address == address) {
            return Some(place as u16);
        }
        if self.peers.len() >= GATEWAY_PEERS_MAX {
            return None;
        }
        let rests_until = Monotonic(0);
        let peer = Peer { address, shared: [None; 2], idle: Vec::new(), failures: 0, rests_until, has_refused: false };
        self.peers.push(peer);
        Some((self.peers.len() - 1) as u16)
    }

    /// Forgets the addresses behind the last one that a link or a route leads to.
    pub(super) fn drop_unused_peers(&mut self) {
        let linked = self.links.iter().filter_map(|(_, link)| link.as_ref()).map(|link| link.peer);
        let last = linked.chain(self.routes.peers()).max().map_or(0, |last| usize::from(last) + 1);
        self.peers.truncate(last);
    }
}

/// Time after which what a node has refused for now is tried again for the first time, in nanoseconds; then twice as long
/// each time.
const PAUSE_NANOS_MIN: u64 = 4_000_000;
/// Longest such time.
pub(super) const PAUSE_NANOS_MAX: u64 = 256_000_000;

/// How long to wait after so many failures.
pub(super) fn pause_nanos(failures: u32) -> u64 {
    (PAUSE_NANOS_MIN << failures.min(16)).min(PAUSE_NANOS_MAX)
}
