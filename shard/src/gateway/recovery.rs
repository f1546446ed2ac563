//! What becomes of requests when nodes redirect them, refuse them, or are lost.

use super::answer::{Address, Answer};
use super::link::{Broken, Flight, Link, Marks, Phase};
use super::machine::{Gateway, LinkId, Order, Origin, Outlet, PAUSE_NANOS_MAX, Parked, Peer, Sent, pause_nanos};
use super::routes::{Owner, View};
use slotmesh_base::limits::GATEWAY_PARKED_BYTES_MAX;
use slotmesh_base::{Monotonic, ReplyError, Slot};
use slotmesh_resp::{Protocol, Reply, push_request};
use std::net::SocketAddr;

/// Time between two looks at what has waited for too long, in nanoseconds.
pub(super) const LOOK_NANOS: u64 = 20_000_000;
/// Redirects that are followed at once; the next ones wait as what was refused does.
const REDIRECTS_AT_ONCE: u8 = 3;
/// Longest time that a connection may take to be made, in nanoseconds.
const DIAL_NANOS_MAX: u64 = 2_000_000_000;

impl<T: Origin> Gateway<T> {
    /// Decides what becomes of an answer that is an error, or that of a request with a link of its own.
    #[cold]
    pub(super) fn judge(
        &mut self,
        now: Monotonic,
        id: LinkId,
        flight: Flight<T>,
        (reply, fault): (&[u8], &[u8]),
        request: &[u8],
        outlet: &mut impl Outlet<T>,
    ) {
        let Some(link) = self.link(id) else { return };
        let (protocol, peer) = (link.protocol, link.peer);
        let said = if flight.marks.has(Marks::BLOCK) && !fault.is_empty() { fault } else { reply };
        let answer = match Answer::read(said) {
            // The node that it waited at has become a replica.
            Answer::Final if flight.marks.has(Marks::WAITS) && reply.starts_with(b"-UNBLOCKED") => Answer::Later,
            Answer::Refused => {
                self.complain(peer, said);
                Answer::Refused
            }
            answer => answer,
        };
        let answer = match answer {
            // A replica that is of no use is none: the master is asked.
            Answer::Garbled | Answer::Refused if flight.marks.has(Marks::AT_REPLICA) => Answer::Later,
            answer => answer,
        };
        let (mut flight, request) = flight.bare(request);
        self.release(&mut flight);
        if flight.marks.has(Marks::BOUND) && answer != Answer::Final {
            let answer = self.end_bound(id, &flight, protocol);
            self.drop_link(id);
            return outlet.reply(flight.to, &answer);
        }
        if flight.marks.has(Marks::PINNED) {
            // An EXEC ends what is watched.
            self.unpin(id, flight.marks.has(Marks::BOUND) && !flight.marks.has(Marks::BLOCK));
        }
        let redirect = match answer {
            Answer::Final => return outlet.reply(flight.to, reply),
            Answer::Garbled => return fail(&flight, protocol, ReplyError::GarbledReply, outlet),
            Answer::Refused => return fail(&flight, protocol, ReplyError::GatewayRefused, outlet),
            Answer::Later => None,
            Answer::Moved(address) => Some((address, false)),
            Answer::Ask(address) => Some((address, true)),
        };
        if now >= flight.until {
            return match redirect {
                Some(_) => fail(&flight, protocol, ReplyError::RedirectedForEver, outlet),
                None => outlet.reply(flight.to, said),
            };
        }
        let was_at_replica = flight.marks.has(Marks::AT_REPLICA);
        flight.marks = flight.marks.without(Marks::AT_REPLICA);
        flight.tries = flight.tries.saturating_add(1);
        let target = match redirect {
            Some((address, asks)) => match self.resolve(address, peer) {
                Some(address) => Some((address, asks, self.view)),
                None => return fail(&flight, protocol, ReplyError::RedirectedForEver, outlet),
            },
            None => None,
        };
        let is_at_once = was_at_replica || target.is_some() && flight.tries <= REDIRECTS_AT_ONCE;
        let due = if is_at_once { now } else { Monotonic(now.0 + pause_nanos(flight.tries.into())) };
        let parked = Parked {
            flight,
            protocol,
            request: self.shortened(now, &flight, request),
            due,
            target,
            said: said.to_vec(),
        };
        if is_at_once {
            self.send_again(now, parked, outlet);
        } else {
            self.park(now, parked, outlet);
        }
    }

    /// The address that a redirect of `peer` names.
    fn resolve(&self, address: Address<'_>, peer: u16) -> Option<SocketAddr> {
        let Address { host, port } = address;
        match host {
            "" | "?" => Some(SocketAddr::new(self.peers[usize::from(peer)].address.ip(), port)),
            _ => match host.parse() {
                Ok(ip) => Some(SocketAddr::new(ip, port)),
                Err(_) => self.routes.named(host, port),
            },
        }
        .filter(|&address| !self.rules.own.contains(&address))
    }

    /// Keeps a request until it is tried again.
    fn park(&mut self, now: Monotonic, mut parked: Parked<T>, outlet: &mut impl Outlet<T>) {
        if self.parked_bytes + parked.request.len() > GATEWAY_PARKED_BYTES_MAX {
            return fail(&parked.flight, parked.protocol, ReplyError::NodeNotReached, outlet);
        }
        self.hold(&mut parked.flight);
        self.parked_bytes += parked.request.len();
        self.next_look = self.next_look.min(parked.due.max(now));
        self.parked.push(parked);
    }

    /// Keeps a request that was not sent until there may be a link for it.
    #[cold]
    pub(super) fn park_words<'a>(
        &mut self,
        now: Monotonic,
        flight: Flight<T>,
        protocol: Protocol,
        words: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> Sent {
        let mut request = Vec::new();
        push_request(&mut request, words);
        self.park_request(now, flight, protocol, request)
    }

    /// The same for a request that is encoded already.
    pub(super) fn park_request(
        &mut self,
        now: Monotonic,
        mut flight: Flight<T>,
        protocol: Protocol,
        request: Vec<u8>,
    ) -> Sent {
        if self.parked_bytes + request.len() > GATEWAY_PARKED_BYTES_MAX {
            return Sent::Refused(ReplyError::NoLinksLeft);
        }
        self.hold(&mut flight);
        self.parked_bytes += request.len();
        let due = Monotonic(now.0 + LOOK_NANOS);
        self.next_look = self.next_look.min(due);
        self.parked.push(Parked { flight, protocol, request, due, target: None, said: no_links_left() });
        Sent::Yes
    }

    /// Sends a request that was sent before to where it belongs now.
    fn send_again(&mut self, now: Monotonic, parked: Parked<T>, outlet: &mut impl Outlet<T>) {
        let Parked { flight, protocol, target, .. } = parked;
        let target = target.filter(|&(_, _, view)| view == self.view);
        let (peer, asks) = match target.map(|(address, asks, _)| (self.peer_at(address), asks)) {
            Some((Some(peer), asks)) => (peer, asks),
            Some((None, _)) => return fail(&flight, protocol, ReplyError::NodeNotReached, outlet),
            None => match self.routes.owner(flight.slot) {
                Owner::Peer(peer) => (peer, false),
                Owner::Ours if flight.marks.has(Marks::BOUND) => return self.lose_watch(&flight, protocol, outlet),
                Owner::Ours => return outlet.home(flight.to, protocol, &parked.request),
                Owner::Nobody | Owner::Soon => {
                    let due = Monotonic(now.0 + PAUSE_NANOS_MAX);
                    return self.park(now, Parked { due, target: None, ..parked }, outlet);
                }
            },
        };
        let link = match flight.marks.has(Marks::PINNED) {
            true => self.pin(now, peer, protocol),
            false => self.shared(now, peer, protocol),
        };
        let Some(link) = link else {
            let due = Monotonic(now.0 + LOOK_NANOS);
            return self.park(now, Parked { due, said: no_links_left(), ..parked }, outlet);
        };
        if flight.marks.has(Marks::BOUND) {
            self.begin_watch(flight.to.connection(), link, flight.slot);
        }
        let flight = Flight { marks: flight.marks.with(Marks::ASKING.when(asks)), ..flight };
        if let Some(found) = self.link_mut(link) {
            // A block has a link for itself because it changes the version.
            found.is_spent |= flight.marks.has(Marks::PINNED.with(Marks::BLOCK));
            found.put_encoded(flight, &parked.request, now);
        }
        self.note_put(link, now);
    }

    /// Later requests of the same client for the same slot wait for this one.
    fn hold(&mut self, flight: &mut Flight<T>) {
        if !flight.marks.has(Marks::HELD) {
            flight.marks = flight.marks.with(Marks::HELD);
            *self.held.entry((flight.to.connection(), flight.slot)).or_default() += 1;
        }
    }

    pub(super) fn release(&mut self, flight: &mut Flight<T>) {
        if !flight.marks.has(Marks::HELD) {
            return;
        }
        flight.marks = flight.marks.without(Marks::HELD);
        let key = (flight.to.connection(), flight.slot);
        if let Some(count) = self.held.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&key);
                self.has_released = true;
            }
        }
    }

    /// A node answers what makes no sense, or refuses us.
    #[cold]
    pub(super) fn give_up(&mut self, now: Monotonic, id: LinkId, broken: Broken, outlet: &mut impl Outlet<T>) {
        self.orders.push(Order::Close(id));
        let Some(link) = self.link(id) else { return };
        let (peer, protocol, said) = (link.peer, link.protocol, link.refusal());
        let error = match broken {
            Broken::TooEarly => return self.lose(now, id, outlet),
            Broken::Garbled => {
                let address = self.peers[usize::from(peer)].address;
                let line = format!("The node at {address} answers the gateway what is no reply");
                self.orders.push(Order::Log(line));
                ReplyError::GarbledReply
            }
            Broken::Refused => {
                self.complain(peer, &said);
                ReplyError::GatewayRefused
            }
        };
        let Some(link) = self.link_mut(id) else { return };
        let (mut reads, mut flights) = (Vec::new(), Vec::new());
        link.take_flights(|flight, request, _| match flight.marks.has(Marks::AT_REPLICA) {
            true => reads.push((flight, request.to_vec())),
            false => flights.push(flight),
        });
        // Sending it again would give the same.
        for mut flight in flights {
            self.release(&mut flight);
            fail(&flight, protocol, error, outlet);
        }
        self.lose(now, id, outlet);
        for (flight, request) in reads {
            self.send_elsewhere(now, flight, protocol, request, outlet);
        }
    }

    /// Says in the log that a node does not let us in, once until it does.
    fn complain(&mut self, peer: u16, said: &[u8]) {
        let Peer { address, has_refused, .. } = &mut self.peers[usize::from(peer)];
        if !std::mem::replace(has_refused, true) {
            let text = String::from_utf8_lossy(said.trim_ascii());
            self.orders.push(Order::Log(format!("The node at {address} does not let the gateway in: {text}")));
        }
    }

    /// The connection of a link is gone. What was not sent, or may be sent again, goes over the next one.
    #[cold]
    pub(super) fn lose(&mut self, now: Monotonic, id: LinkId, outlet: &mut impl Outlet<T>) {
        let Some(link) = self.link_mut(id) else { return };
        let (peer, protocol, has_stood) = (link.peer, link.protocol, link.phase == Phase::Open);
        let mut flights = Vec::new();
        link.take_flights(|flight, request, was_sent| flights.push((flight, request.to_vec(), was_sent)));
        self.has_released = true;
        self.losses += u64::from(has_stood && self.routes.masters().iter().any(|master| master.peer == peer));
        let failures = &mut self.peers[usize::from(peer)].failures;
        // Who has let us in before is dialled again at once, but not over and over.
        *failures = if has_stood { 1 } else { failures.saturating_add(1) };
        let rest = Monotonic(now.0 + pause_nanos(*failures - 1));
        self.peers[usize::from(peer)].rests_until = rest;
        self.break_watch(id);
        self.lose_ear(id);
        let mut others = Vec::new();
        for (mut flight, request, was_sent) in flights {
            let may_repeat = flight.marks.has(Marks::REPEATABLE) || flight.marks.has(Marks::WAITS);
            if flight.marks.has(Marks::BOUND) && !(was_sent && flight.marks.has(Marks::BLOCK)) {
                let answer = self.end_bound(id, &flight, protocol);
                outlet.reply(flight.to, &answer);
                continue;
            }
            if was_sent && !may_repeat {
                self.release(&mut flight);
                fail(&flight, protocol, ReplyError::FateUnknown, outlet);
                continue;
            }
            if was_sent && flight.marks.has(Marks::WAITS) {
                flight.until = now.plus_millis(self.rules.retry_ms);
            }
            let (bare, request) = flight.bare(&request);
            let request = self.shortened(now, &bare, request);
            others.push((bare, request));
        }
        let stays = others.iter().all(|(flight, _)| {
            !flight.marks.has(Marks::AT_REPLICA) && self.routes.owner(flight.slot) == Owner::Peer(peer)
        });
        if others.is_empty() || !stays {
            self.forget_link(id);
        }
        for (flight, request) in others {
            if !stays {
                self.send_elsewhere(now, flight, protocol, request, outlet);
            } else if let Some(link) = self.link_mut(id) {
                link.put_encoded(flight, &request, now);
                link.phase = Phase::Resting(rest);
            }
        }
        self.look_soon(now);
        self.next_look = self.next_look.min(rest);
    }

    /// Sends what was on a link that is gone to whoever has its slot.
    fn send_elsewhere(
        &mut self,
        now: Monotonic,
        mut flight: Flight<T>,
        protocol: Protocol,
        request: Vec<u8>,
        outlet: &mut impl Outlet<T>,
    ) {
        self.release(&mut flight);
        flight.marks = flight.marks.without(Marks::AT_REPLICA);
        let parked = Parked { flight, protocol, request, due: now, target: None, said: Vec::new() };
        self.send_again(now, parked, outlet);
    }

    /// Looks at what has waited for too long, and tries again what is due.
    pub fn tick(&mut self, now: Monotonic, outlet: &mut impl Outlet<T>) {
        if now < self.next_look {
            return;
        }
        let answer_ms = if self.rules.answer_ms == 0 { self.rules.retry_ms } else { self.rules.answer_ms };
        let mut next = Monotonic(u64::MAX);
        for index in 0..self.links.len() {
            let (generation, Some(link)) = &self.links[index] else { continue };
            let id = LinkId { index: index as u32, generation: *generation };
            let silent_nanos = now.nanos_since(link.heard_at);
            match link.phase {
                Phase::Resting(until) if until <= now && link.flights.is_empty() && !link.is_ear => {
                    self.forget_link(id)
                }
                Phase::Resting(until) if until <= now => self.dial(id, now),
                Phase::Resting(until) => next = next.min(until),
                Phase::Dialling if silent_nanos > DIAL_NANOS_MAX => {
                    self.orders.push(Order::Close(id));
                    self.lose(now, id, outlet);
                }
                Phase::Greeting(_) | Phase::Open
                    if (link.owes() || link.phase != Phase::Open)
                        && silent_nanos > answer_ms * 1_000_000
                        && !link.flights.iter().any(|flight| flight.marks.has(Marks::WAITS)) =>
                {
                    self.orders.push(Order::Close(id));
                    self.lose(now, id, outlet);
                }
                Phase::Dialling | Phase::Greeting(_) | Phase::Open => {}
            }
            self.refuse_late(now, id, outlet);
            if self.link(id).is_some_and(|link| !link.flights.is_empty() || link.phase != Phase::Open) {
                next = next.min(Monotonic(now.0 + LOOK_NANOS));
            }
        }
        self.next_look = Monotonic(u64::MAX);
        self.drop_outdated_links();
        self.arrange_ears(now);
        self.drop_idle_ears();
        self.try_parked(now, outlet);
        self.next_look = self.next_look.min(next);
        if !self.parked.is_empty() {
            self.next_look = self.next_look.min(Monotonic(now.0 + LOOK_NANOS));
        }
    }

    /// Answers those requests on a link whose time is over before they were sent.
    fn refuse_late(&mut self, now: Monotonic, id: LinkId, outlet: &mut impl Outlet<T>) {
        let Some(link) = self.link_mut(id) else { return };
        let is_late = |flight: &Flight<T>| flight.until <= now;
        if link.phase == Phase::Open || !link.flights.iter().any(is_late) {
            return;
        }
        let (protocol, mut late) = (link.protocol, Vec::new());
        link.take_unsent(is_late, |flight, _| late.push(flight));
        self.has_released |= !late.is_empty();
        for mut flight in late {
            self.release(&mut flight);
            fail(&flight, protocol, ReplyError::NodeNotReached, outlet);
        }
    }

    /// Sends what waits and is due, in order: what waits longer keeps back what its client has asked of the slot since.
    fn try_parked(&mut self, now: Monotonic, outlet: &mut impl Outlet<T>) {
        let mut waiting: Vec<(u32, Slot)> = Vec::new();
        for mut parked in std::mem::take(&mut self.parked) {
            let key = (parked.flight.to.connection(), parked.flight.slot);
            if parked.flight.until <= now {
                self.parked_bytes -= parked.request.len();
                self.release(&mut parked.flight);
                match parked.target {
                    Some(_) => fail(&parked.flight, parked.protocol, ReplyError::RedirectedForEver, outlet),
                    None if parked.said.is_empty() => {
                        fail(&parked.flight, parked.protocol, ReplyError::NodeNotReached, outlet);
                    }
                    None => outlet.reply(parked.flight.to, &parked.said),
                }
            } else if parked.due > now || waiting.contains(&key) {
                self.next_look = self.next_look.min(parked.due.max(Monotonic(now.0 + 1)));
                waiting.push(key);
                self.parked.push(parked);
            } else {
                self.parked_bytes -= parked.request.len();
                self.release(&mut parked.flight);
                self.send_again(now, parked, outlet);
            }
        }
    }

    /// Follows another view of the cluster, given by what builds the routes.
    pub fn set_view(&mut self, now: Monotonic, view: &View<'_>, outlet: &mut impl Outlet<T>) {
        self.view += 1;
        self.drop_unused_peers();
        let mut routes = std::mem::take(&mut self.routes);
        let masters: Vec<u16> = routes.masters().iter().map(|master| master.peer).collect();
        let old = routes.replace(view, |address| self.peer_at(address));
        self.routes = routes;
        let is_lost = masters.iter().any(|&peer| self.routes.masters().iter().all(|master| master.peer != peer));
        self.losses += u64::from(is_lost || self.routes.has_lost_ours(&old[..]));
        self.break_moved_watches();
        self.has_released = true;
        for index in 0..self.links.len() {
            let (generation, Some(link)) = &self.links[index] else { continue };
            let id = LinkId { index: index as u32, generation: *generation };
            let has_use = self.routes.peers().any(|peer| peer == link.peer);
            // A replica that is suspected is read from no more; what it was asked, the master answers sooner.
            let only_reads = !has_use && link.flights.iter().all(|flight| flight.marks.has(Marks::AT_REPLICA));
            if self.routes.has_failed(link.peer) && (link.owes() || link.is_pinned) || only_reads && link.owes() {
                self.orders.push(Order::Close(id));
                self.lose(now, id, outlet);
            }
            self.reroute(now, id, &old[..], outlet);
            let is_useless =
                |link: &Link<T>| link.flights.is_empty() && !self.routes.peers().any(|peer| peer == link.peer);
            if self.link(id).is_some_and(is_useless) {
                self.drop_link(id);
            }
        }
        self.arrange_ears(now);
        // What was refused may be welcome now.
        self.parked.iter_mut().for_each(|parked| parked.due = now);
        self.try_parked(now, outlet);
        self.look_soon(now);
    }

    /// Takes what is not sent to where it belongs now; what is sent keeps later requests back until it is answered.
    fn reroute(&mut self, now: Monotonic, id: LinkId, old: &[u16], outlet: &mut impl Outlet<T>) {
        let Self { links, routes, held, .. } = self;
        let Some((_, Some(link))) = links.get_mut(id.index()).filter(|(generation, _)| *generation == id.generation)
        else {
            return;
        };
        let (peer, protocol) = (link.peer, link.protocol);
        let is_elsewhere = |flight: &Flight<T>| {
            !flight.marks.has(Marks::AT_REPLICA)
                && old[flight.slot.index()] == peer
                && routes.owner(flight.slot) != Owner::Peer(peer)
        };
        if !link.flights.iter().any(is_elsewhere) {
            return;
        }
        let mut moved = Vec::new();
        link.take_unsent(is_elsewhere, |flight, request| {
            let (flight, request) = flight.bare(request);
            moved.push((flight, request.to_vec()));
        });
        for flight in link.flights.iter_mut().filter(|flight| is_elsewhere(flight)) {
            if !flight.marks.has(Marks::HELD) {
                flight.marks = flight.marks.with(Marks::HELD);
                *held.entry((flight.to.connection(), flight.slot)).or_default() += 1;
            }
        }
        let is_useless = link.is_pinned && link.flights.is_empty();
        if is_useless {
            self.drop_link(id);
        }
        for (mut flight, request) in moved {
            self.release(&mut flight);
            if flight.marks.has(Marks::BOUND) {
                let answer = self.end_bound(id, &flight, protocol);
                outlet.reply(flight.to, &answer);
                continue;
            }
            let parked = Parked { flight, protocol, request, due: now, target: None, said: Vec::new() };
            self.send_again(now, parked, outlet);
        }
    }
}

/// What a request is refused with for which there was no link in time.
fn no_links_left() -> Vec<u8> {
    let mut text = Vec::new();
    Reply::new(&mut text, Protocol::Resp2).error(ReplyError::NoLinksLeft);
    text
}

/// Answers with an error of ours.
#[cold]
fn fail<T: Copy>(flight: &Flight<T>, protocol: Protocol, error: ReplyError, outlet: &mut impl Outlet<T>) {
    let mut text = Vec::new();
    Reply::new(&mut text, protocol).error(error);
    outlet.reply(flight.to, &text);
}
