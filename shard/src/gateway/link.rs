//! One link to a node: its greeting, the requests that it has not answered, and the replies that come back.
//!
//! Requests stand in the link's log, in order, from when they are sent until they are answered: what is lost with the
//! link can be sent again. Replies come in the same order, so that nothing else is needed to know whose they are.

use slotmesh_base::limits::{
    GATEWAY_LINK_BYTES_KEPT, GATEWAY_LINK_BYTES_MAX, GATEWAY_LINK_REQUESTS_MAX, GATEWAY_REPLY_BYTES_MAX,
};
use slotmesh_base::{Monotonic, Slot};
use slotmesh_resp::{Protocol, ReplyScanner, push_request};
use std::collections::VecDeque;

/// What a request is and what has happened to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marks(u8);

impl Marks {
    pub(crate) const NONE: Self = Self(0);
    /// It may be sent again though it may have run.
    pub(crate) const REPEATABLE: Self = Self(1);
    /// ASKING stands in front of it.
    pub(crate) const ASKING: Self = Self(2);
    /// It went to a replica, as it only reads.
    pub(crate) const AT_REPLICA: Self = Self(4);
    /// Later requests of its client for the slot wait for it.
    pub(crate) const HELD: Self = Self(8);
    /// It has the link for itself.
    pub(crate) const PINNED: Self = Self(16);
    /// It waits at the node until there is something for it.
    pub(crate) const WAITS: Self = Self(32);
    /// What it asks is about that very link (WATCH, and an EXEC behind it): it can go nowhere else.
    pub(crate) const BOUND: Self = Self(64);
    /// It is a MULTI, its commands and the EXEC.
    pub(crate) const BLOCK: Self = Self(128);

    /// Whether a reply that is no error goes to the client, and that is all.
    #[inline]
    pub(crate) const fn is_plain(self) -> bool {
        self.0 & (Self::HELD.0 | Self::PINNED.0 | Self::BLOCK.0) == 0
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn when(self, wanted: bool) -> Self {
        if wanted { self } else { Self::NONE }
    }
}

/// A request that is not answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flight<T> {
    /// Where the reply goes.
    pub(crate) to: T,
    /// When it is not tried again any more.
    pub(crate) until: Monotonic,
    /// Bytes in the log.
    pub(crate) len: u32,
    /// Replies that stand in front of its own.
    pub(crate) skip: u32,
    /// A slot that the node must have.
    pub(crate) slot: Slot,
    /// How often it was redirected or lost.
    pub(crate) tries: u8,
    pub(crate) marks: Marks,
}

/// What stands in front of a request that ASK has sent to a node.
pub(crate) const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// How far a link is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// There is no connection, and none is tried before that instant.
    Resting(Monotonic),
    /// A connection is being made.
    Dialling,
    /// The node is told who we are; so many answers are to come.
    Greeting(u8),
    /// Requests go out.
    Open,
}

/// A link to a node.
#[derive(Debug)]
pub(crate) struct Link<T> {
    pub(crate) peer: u16,
    pub(crate) protocol: Protocol,
    pub(crate) is_pinned: bool,
    /// Whether it serves no other request: what was sent on it has left it in a state that nobody wants.
    pub(crate) is_spent: bool,
    /// Whether it is there to hear messages, which are no replies.
    pub(crate) is_ear: bool,
    /// Whether it was made under other rules than those of now: it goes when it has nothing to do.
    pub(crate) is_outdated: bool,
    pub(crate) phase: Phase,
    /// Whether it is among those that have something to send.
    pub(crate) is_dirty: bool,
    /// When the node last said something, or had nothing to say.
    pub(crate) heard_at: Monotonic,
    pub(crate) flights: VecDeque<Flight<T>>,
    /// Requests without an answer, those behind `taken` not sent yet.
    log: Vec<u8>,
    /// Where the first request without an answer begins.
    answered: usize,
    taken: usize,
    scanner: ReplyScanner,
    /// The begin of a reply whose end has not come.
    partial: Vec<u8>,
    /// Replies that have come of those in front of the first flight's own.
    skipped: u32,
    /// The first error among them.
    fault: Vec<u8>,
}

/// Why a link is of no use any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Broken {
    /// What came is no reply, or nobody asked for it.
    Garbled,
    /// The node does not let us in.
    Refused,
    /// The node does not let us in yet: it loads, or has lost its master.
    TooEarly,
}

/// What has come on a link.
pub(crate) enum Arrival<'a, T> {
    /// The reply to a request, the first error among the replies in front of it, and the bytes of the request.
    Reply { flight: Flight<T>, reply: &'a [u8], fault: &'a [u8], request: &'a [u8] },
    /// What is no reply, on a link that hears.
    Said(&'a [u8]),
}

impl<T> Flight<T> {
    /// A request as it was before ASKING was put in front of it.
    pub(crate) fn bare(self, request: &[u8]) -> (Self, &[u8]) {
        if self.marks.has(Marks::ASKING) {
            let flight = Self { skip: self.skip - 1, marks: self.marks.without(Marks::ASKING), ..self };
            return (flight, &request[ASKING.len()..]);
        }
        (self, request)
    }
}

impl<T: Copy> Link<T> {
    pub(crate) fn new(peer: u16, protocol: Protocol, is_pinned: bool, phase: Phase, now: Monotonic) -> Self {
        Self {
            peer,
            protocol,
            is_pinned,
            is_spent: false,
            is_ear: false,
            is_outdated: false,
            phase,
            is_dirty: false,
            heard_at: now,
            flights: VecDeque::new(),
            log: Vec::new(),
            answered: 0,
            taken: 0,
            scanner: ReplyScanner::default(),
            partial: Vec::new(),
            skipped: 0,
            fault: Vec::new(),
        }
    }

    /// Whether no further request may be put on it.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.log.len() - self.answered >= GATEWAY_LINK_BYTES_MAX || self.flights.len() >= GATEWAY_LINK_REQUESTS_MAX
    }

    /// Whether requests were sent that are not answered.
    pub(crate) fn owes(&self) -> bool {
        self.answered < self.taken && !self.is_ear
    }

    /// Puts a request on the link.
    #[inline]
    pub(crate) fn put<'a>(
        &mut self,
        flight: Flight<T>,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
        now: Monotonic,
    ) {
        let start = self.begin(flight.marks, now);
        push_request(&mut self.log, arguments);
        self.end(flight, start);
    }

    /// The same for a request that is encoded already, without ASKING.
    pub(crate) fn put_encoded(&mut self, flight: Flight<T>, request: &[u8], now: Monotonic) {
        let start = self.begin(flight.marks, now);
        self.log.extend_from_slice(request);
        self.end(flight, start);
    }

    #[inline]
    fn begin(&mut self, marks: Marks, now: Monotonic) -> usize {
        if self.flights.is_empty() {
            self.heard_at = now;
        }
        let start = self.log.len();
        if marks.has(Marks::ASKING) {
            self.log.extend_from_slice(ASKING);
        }
        start
    }

    #[inline]
    fn end(&mut self, flight: Flight<T>, start: usize) {
        let skip = flight.skip + u32::from(flight.marks.has(Marks::ASKING));
        let len = (self.log.len() - start) as u32;
        self.flights.push_back(Flight { len, skip, ..flight });
    }

    /// Puts what gets no reply on a link that hears.
    pub(crate) fn say(&mut self, request: &[u8]) {
        if self.taken == self.log.len() {
            self.log.clear();
            self.taken = 0;
        }
        self.log.extend_from_slice(request);
    }

    /// What is to be sent now, if the link is open; it counts as sent.
    #[inline]
    pub(crate) fn take_output(&mut self) -> &[u8] {
        if self.phase != Phase::Open {
            return &[];
        }
        let from = std::mem::replace(&mut self.taken, self.log.len());
        &self.log[from..]
    }

    /// A connection stands: the node is greeted, with so many requests.
    pub(crate) fn greet(&mut self, answers: u8, now: Monotonic) {
        self.heard_at = now;
        self.scanner = ReplyScanner::default();
        self.partial = Vec::new();
        self.phase = if answers == 0 { Phase::Open } else { Phase::Greeting(answers) };
    }

    /// Takes what has come, and gives each reply with its request. Whether the greeting has ended in here.
    ///
    /// # Errors
    /// If the link is of no further use.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        chunk: &[u8],
        now: Monotonic,
        mut each: impl FnMut(Arrival<'_, T>),
    ) -> Result<bool, Broken> {
        self.heard_at = now;
        let (mut position, mut start, mut has_greeted) = (0, 0, false);
        loop {
            let end = self.scanner.next_end(chunk, &mut position).map_err(|_| Broken::Garbled)?;
            let Some(end) = end else { break };
            let here = &chunk[start..end.offset];
            start = end.offset;
            if end.kind == b'>' {
                // Nobody has asked to hear anything on such a link.
                self.partial.clear();
                continue;
            }
            if self.partial.is_empty() {
                has_greeted |= self.answer(here, &mut each)?;
                continue;
            }
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(here);
            has_greeted |= self.answer(&whole, &mut each)?;
            whole.clear();
            whole.shrink_to(GATEWAY_LINK_BYTES_KEPT);
            self.partial = whole;
        }
        if self.partial.len() + chunk.len() - start > GATEWAY_REPLY_BYTES_MAX {
            return Err(Broken::Garbled);
        }
        self.partial.extend_from_slice(&chunk[start..]);
        Ok(has_greeted)
    }

    /// Takes a whole reply; whether it ends the greeting.
    #[inline]
    fn answer(&mut self, reply: &[u8], each: &mut impl FnMut(Arrival<'_, T>)) -> Result<bool, Broken> {
        if let Phase::Greeting(left) = self.phase {
            return self.hear_greeting(left, reply);
        }
        if self.is_ear {
            each(Arrival::Said(reply));
            return Ok(false);
        }
        let Some(&flight) = self.flights.front().filter(|_| self.owes()) else { return Err(Broken::Garbled) };
        if self.skipped < flight.skip {
            self.skipped += 1;
            if self.fault.is_empty() && reply.first() == Some(&b'-') {
                self.fault.extend_from_slice(reply);
            }
            return Ok(false);
        }
        self.skipped = 0;
        self.flights.pop_front();
        let request = &self.log[self.answered..self.answered + flight.len as usize];
        each(Arrival::Reply { flight, reply, fault: &self.fault, request });
        if !self.fault.is_empty() {
            self.fault.clear();
        }
        self.forget(flight.len as usize);
        Ok(false)
    }

    fn hear_greeting(&mut self, left: u8, reply: &[u8]) -> Result<bool, Broken> {
        // What we are called matters to nobody else.
        if reply.first() == Some(&b'-') && left > 1 {
            self.fault = reply.to_vec();
            let is_too_early = super::answer::Answer::read(reply) == super::answer::Answer::Later;
            return Err(if is_too_early { Broken::TooEarly } else { Broken::Refused });
        }
        self.phase = if left > 1 { Phase::Greeting(left - 1) } else { Phase::Open };
        Ok(left == 1)
    }

    /// The first bytes of the log are answered.
    #[inline]
    fn forget(&mut self, len: usize) {
        self.answered += len;
        if self.flights.is_empty() {
            self.log.clear();
            (self.answered, self.taken) = (0, 0);
            if self.log.capacity() > GATEWAY_LINK_BYTES_KEPT {
                self.log.shrink_to(GATEWAY_LINK_BYTES_KEPT);
                self.flights.shrink_to(0);
            }
        } else if self.answered > GATEWAY_LINK_BYTES_KEPT && self.answered > self.log.len() / 2 {
            self.log.drain(..self.answered);
            self.taken -= self.answered;
            self.answered = 0;
        }
    }

    /// What the node has said to our greeting, if it was an error.
    pub(crate) fn refusal(&self) -> Vec<u8> {
        self.fault.clone()
    }

    /// Takes all requests off the link, in order: each with its bytes, and whether it was sent.
    pub(crate) fn take_flights(&mut self, mut each: impl FnMut(Flight<T>, &[u8], bool)) {
        let mut start = self.answered;
        for flight in std::mem::take(&mut self.flights) {
            let end = start + flight.len as usize;
            each(flight, &self.log[start..end], start < self.taken);
            start = end;
        }
        self.log = Vec::new();
        (self.answered, self.taken, self.skipped) = (0, 0, 0);
        self.fault = Vec::new();
    }

    /// Takes those requests off the link that were not sent and of which `wanted` says so, in order.
    pub(crate) fn take_unsent(&mut self, wanted: impl Fn(&Flight<T>) -> bool, mut each: impl FnMut(Flight<T>, &[u8])) {
        let mut start = self.answered;
        let mut kept = VecDeque::with_capacity(self.flights.len());
        let mut log = Vec::new();
        for flight in std::mem::take(&mut self.flights) {
            let end = start + flight.len as usize;
            let request = &self.log[start..end];
            if start >= self.taken && wanted(&flight) {
                each(flight, request);
            } else {
                log.extend_from_slice(request);
                kept.push_back(flight);
            }
            start = end;
        }
        (self.log, self.flights) = (log, kept);
        self.taken -= self.answered;
        self.answered = 0;
    }
}
