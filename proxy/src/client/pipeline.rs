//! Replies in the order of their requests, whichever core they come from.
//!
//! A connection whose requests were all answered has no tickets, and its replies go straight to its output. While
//! an answer is outstanding, each request takes a ticket; what is answered before its turn is kept. Neighbouring
//! replies of our own shard share one ticket.

use slotmesh_base::limits::{MAILBOX_RECORD_BYTES_MAX, PENDING_HOPS_MAX, PENDING_HOPS_MIN, PENDING_HOPS_START};
use slotmesh_shard::Gather;
use std::collections::VecDeque;

/// What a ticket waits for.
#[derive(Debug)]
enum Ticket {
    /// A reply of another core.
    Waiting,
    /// Replies of several cores that become one.
    Gathering(Box<Gather>),
    /// Its turn.
    Ready(Vec<u8>),
}

/// The outstanding replies of one connection.
#[derive(Debug)]
pub(crate) struct Pipeline {
    tickets: VecDeque<Ticket>,
    /// Number of the ticket at the front.
    first: u32,
    /// Tickets that wait for other cores.
    waiting: usize,
    /// How many tickets may wait for other cores.
    window: usize,
    /// The window while nothing may run, since replies wait for the disk.
    held_window: Option<usize>,
    /// Bytes of replies that wait for their turn.
    kept_bytes: usize,
    /// Tickets whose replies go nowhere, as ranges of their numbers.
    muted: VecDeque<(u32, u32)>,
    /// The first ticket of the request that runs, if its reply goes nowhere.
    mutes_from: Option<u32>,
}

impl Default for Pipeline {
    fn default() -> Self {
        Self {
            tickets: VecDeque::new(),
            first: 0,
            waiting: 0,
            window: PENDING_HOPS_START,
            held_window: None,
            kept_bytes: 0,
            muted: VecDeque::new(),
            mutes_from: None,
        }
    }
}

impl Pipeline {
    /// Whether no further request may go to another core.
    #[inline]
    pub(crate) fn is_full(&self) -> bool {
        self.waiting >= self.window
    }

    /// Whether so many answers have come that a connection which was full may go on.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting <= self.window / 2 && self.held_window.is_none()
    }

    /// Lets no further request run: replies wait for the disk.
    pub(crate) fn hold(&mut self) {
        if self.held_window.is_none() {
            self.held_window = Some(std::mem::take(&mut self.window));
        }
    }

    /// Ends what [`hold`](Self::hold) began.
    pub(crate) fn end_hold(&mut self) {
        if let Some(window) = self.held_window.take() {
            self.window = window;
        }
    }

    /// Whether no request may run for now.
    pub(crate) fn is_held(&self) -> bool {
        self.held_window.is_some()
    }

    /// Learns from the length of another core's reply how many may be outstanding.
    #[inline]
    pub(crate) fn note_reply(&mut self, len: usize) {
        if self.held_window.is_some() {
            // It is full whatever comes.
        } else if len > MAILBOX_RECORD_BYTES_MAX {
            self.window = (self.window / 2).max(PENDING_HOPS_MIN);
        } else if self.window < PENDING_HOPS_MAX {
            self.window += 1;
        }
    }

    /// Whether every request has been answered, so that a reply may go straight out.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// Number of requests that other cores have not answered.
    #[inline]
    pub(crate) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Bytes of replies that wait for their turn.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// The number of the ticket that is taken next.
    #[inline]
    pub(crate) fn next_ticket(&self) -> u32 {
        self.next_number()
    }

    /// Takes a ticket for a reply of another core; gives its number.
    pub(crate) fn expect_reply(&mut self) -> u32 {
        self.push(Ticket::Waiting)
    }

    /// Takes a ticket for replies of several cores.
    pub(crate) fn expect_gathered(&mut self, gather: Gather) -> u32 {
        self.push(Ticket::Gathering(Box::new(gather)))
    }

    /// Has a ticket that waits for a reply wait for what that reply is gathered from.
    pub(crate) fn gather_for(&mut self, ticket: u32, gather: Gather) {
        let place = ticket.wrapping_sub(self.first) as usize;
        let slot = self.tickets.get_mut(place).expect("only tickets that were given out are answered");
        debug_assert!(matches!(slot, Ticket::Waiting), "a ticket waits for one thing");
        *slot = Ticket::Gathering(Box::new(gather));
    }

    /// Whether a ticket waits for something.
    pub(crate) fn awaits(&self, ticket: u32) -> bool {
        let place = ticket.wrapping_sub(self.first) as usize;
        self.tickets.get(place).is_some_and(|ticket| !matches!(ticket, Ticket::Ready(_)))
    }

    fn push(&mut self, ticket: Ticket) -> u32 {
        self.waiting += 1;
        self.tickets.push_back(ticket);
        self.first.wrapping_add(self.tickets.len() as u32 - 1)
    }

    /// Begins a request whose reply, however late it comes, goes nowhere.
    pub(crate) fn begin_muted(&mut self) {
        self.mutes_from = Some(self.next_number());
        // So that no reply goes straight out.
        self.tickets.push_back(Ticket::Ready(Vec::new()));
    }

    /// Ends what [`begin_muted`](Self::begin_muted) began.
    pub(crate) fn end_muted(&mut self) {
        if let Some(from) = self.mutes_from.take() {
            let next = self.next_number();
            self.muted.push_back((from, next));
            // What follows must not join a reply that goes nowhere.
            self.tickets.push_back(Ticket::Ready(Vec::new()));
        }
    }

    fn next_number(&self) -> u32 {
        self.first.wrapping_add(self.tickets.len() as u32)
    }

    /// Whether the reply of the next ticket goes nowhere. Forgets ranges that have passed.
    fn is_next_muted(&mut self) -> bool {
        let behind = |number: u32, from: u32| number.wrapping_sub(from) < u32::MAX / 2;
        while self.muted.front().is_some_and(|&(_, until)| behind(self.first, until)) {
            self.muted.pop_front();
        }
        self.muted.front().is_some_and(|&(from, _)| behind(self.first, from))
            || self.mutes_from.is_some_and(|from| behind(self.first, from))
    }

    /// Writes a reply that is there already, behind those that are outstanding.
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.tickets.back(), Some(Ticket::Ready(_))) {
            self.tickets.push_back(Ticket::Ready(Vec::new()));
        }
        if let Some(Ticket::Ready(bytes)) = self.tickets.back_mut() {
            let before = bytes.len();
            write(bytes);
            self.kept_bytes += bytes.len() - before;
        }
    }

    /// Adds bytes to the last reply that waits for its turn; whether there is one.
    pub(crate) fn append_to_last_ready(&mut self, bytes: &[u8]) -> bool {
        let last = self.tickets.iter_mut().rev().find_map(|ticket| match ticket {
            Ticket::Ready(kept) => Some(kept),
            Ticket::Waiting | Ticket::Gathering(_) => None,
        });
        let Some(kept) = last else { return false };
        kept.extend_from_slice(bytes);
        self.kept_bytes += bytes.len();
        true
    }

    /// Whether the reply of the request that runs goes nowhere.
    pub(crate) fn is_muting(&self) -> bool {
        self.mutes_from.is_some()
    }

    /// Writes what is heard though the reply of the request that runs goes nowhere.
    pub(crate) fn append_aloud(&mut self, bytes: &[u8]) {
        self.end_muted();
        self.append(|output| output.extend_from_slice(bytes));
        self.begin_muted();
    }

    /// Whether the reply of `ticket` may go straight out: it is the next, and whole.
    #[inline]
    pub(crate) fn is_next(&self, ticket: u32) -> bool {
        ticket == self.first && matches!(self.tickets.front(), Some(Ticket::Waiting)) && self.muted.is_empty()
    }

    /// Passes the next ticket, whose reply went straight out.
    #[inline]
    pub(crate) fn pass_next(&mut self) {
        self.tickets.pop_front();
        self.first = self.first.wrapping_add(1);
        self.waiting -= 1;
    }

    /// Takes the reply (or part of it) of a ticket that is not the next.
    ///
    /// # Panics
    /// If the ticket expects none: other cores of this process answer once.
    pub(crate) fn accept(&mut self, ticket: u32, part: u32, reply: &[u8]) {
        let place = ticket.wrapping_sub(self.first) as usize;
        let slot = self.tickets.get_mut(place).expect("only tickets that were given out are answered");
        let bytes = match slot {
            Ticket::Waiting => reply.to_vec(),
            Ticket::Gathering(gather) => {
                if !gather.add(part as usize, reply) {
                    return;
                }
                let Ticket::Gathering(gather) = std::mem::replace(slot, Ticket::Waiting) else {
                    unreachable!("the ticket was just looked at")
                };
                let mut joined = Vec::new();
                gather.finish(&mut joined);
                joined
            }
            Ticket::Ready(_) => panic!("a ticket is answered once"),
        };
        self.kept_bytes += bytes.len();
        self.waiting -= 1;
        *slot = Ticket::Ready(bytes);
    }

    /// Moves the replies whose turn has come to the connection's output.
    pub(crate) fn release(&mut self, output: &mut Vec<u8>) {
        while let Some(Ticket::Ready(_)) = self.tickets.front() {
            let is_muted = self.is_next_muted();
            if let Some(Ticket::Ready(bytes)) = self.tickets.pop_front() {
                self.kept_bytes -= bytes.len();
                if !is_muted {
                    output.extend_from_slice(&bytes);
                }
            }
            self.first = self.first.wrapping_add(1);
        }
        if self.tickets.is_empty() {
            self.muted.clear();
        }
    }

    /// Whether a reply's turn has come.
    #[inline]
    pub(crate) fn has_ready(&self) -> bool {
        matches!(self.tickets.front(), Some(Ticket::Ready(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_base::Rng;
    use slotmesh_resp::Protocol;

    fn released(pipeline: &mut Pipeline) -> String {
        let mut output = Vec::new();
        pipeline.release(&mut output);
        String::from_utf8(output).unwrap()
    }

    #[test]
    fn replies_leave_in_the_order_of_their_requests() {
        let mut pipeline = Pipeline::default();
        let first = pipeline.expect_reply();
        pipeline.append(|out| out.extend_from_slice(b"local "));
        pipeline.append(|out| out.extend_from_slice(b"again "));
        let last = pipeline.expect_reply();
        assert_eq!(pipeline.waiting(), 2);
        pipeline.accept(last, 0, b"last ");
        assert_eq!(released(&mut pipeline), "");
        assert!(pipeline.is_next(first) && !pipeline.is_next(last));
        pipeline.pass_next();
        assert_eq!(released(&mut pipeline), "local again last ");
        assert!(pipeline.is_empty() && pipeline.kept_bytes() == 0 && pipeline.waiting() == 0);
    }

    #[test]
    fn muted_replies_go_nowhere_whenever_they_come() {
        let mut pipeline = Pipeline::default();
        pipeline.begin_muted();
        pipeline.append(|out| out.extend_from_slice(b"muted at once "));
        assert_eq!(released(&mut pipeline), "");
        pipeline.end_muted();
        assert_eq!(released(&mut pipeline), "");
        assert!(pipeline.is_empty());
        pipeline.append(|out| out.extend_from_slice(b"heard "));
        pipeline.begin_muted();
        let late = pipeline.expect_reply();
        pipeline.end_muted();
        pipeline.append(|out| out.extend_from_slice(b"heard too "));
        let last = pipeline.expect_reply();
        assert_eq!(released(&mut pipeline), "heard ");
        assert!(!pipeline.is_next(late), "it must not go straight out");
        pipeline.accept(last, 0, b"last");
        pipeline.accept(late, 0, b"muted late ");
        assert_eq!(released(&mut pipeline), "heard too last");
        assert!(pipeline.is_empty() && pipeline.kept_bytes() == 0 && pipeline.waiting() == 0);
        let next = pipeline.expect_reply();
        assert!(pipeline.is_next(next));
    }

    #[test]
    fn large_replies_leave_few_outstanding() {
        let mut pipeline = Pipeline::default();
        let fill = |pipeline: &mut Pipeline| {
            while !pipeline.is_full() {
                pipeline.expect_reply();
            }
            pipeline.waiting()
        };
        assert_eq!(fill(&mut pipeline), PENDING_HOPS_START);
        (0..2 * PENDING_HOPS_MAX).for_each(|_| pipeline.note_reply(100));
        assert_eq!(fill(&mut pipeline), PENDING_HOPS_MAX);
        (0..20).for_each(|_| pipeline.note_reply(1 << 20));
        assert!(!pipeline.has_room());
        (0..PENDING_HOPS_MAX - PENDING_HOPS_MIN / 2).for_each(|_| pipeline.pass_next());
        assert!(pipeline.has_room());
        assert_eq!(fill(&mut pipeline), PENDING_HOPS_MIN);
    }

    #[test]
    fn gathered_replies_take_their_place_when_whole() {
        let mut pipeline = Pipeline::default();
        let ticket = pipeline.expect_gathered(Gather::texts(2, Protocol::Resp2));
        assert!(!pipeline.is_next(ticket), "a part must not go straight out");
        pipeline.accept(ticket, 1, b"$1\r\nb\r\n");
        assert!(!pipeline.has_ready());
        pipeline.accept(ticket, 0, b"$1\r\na\r\n");
        assert_eq!(released(&mut pipeline), "$2\r\nab\r\n");
    }

    #[test]
    fn any_order_of_answers_gives_the_order_of_requests() {
        let mut rng = Rng::new(5);
        let mut pipeline = Pipeline { first: u32::MAX - 50, ..Pipeline::default() };
        let (mut outstanding, mut expected, mut seen) = (Vec::new(), String::new(), String::new());
        for number in 0..2000 {
            let text = format!("{number} ");
            expected.push_str(&text);
            if rng.below(3) == 0 && !pipeline.is_empty() {
                pipeline.append(|out| out.extend_from_slice(text.as_bytes()));
            } else {
                outstanding.push((pipeline.expect_reply(), text));
            }
            while outstanding.len() > rng.below(20) as usize {
                let (ticket, text) = outstanding.swap_remove(rng.below(outstanding.len() as u64) as usize);
                if pipeline.is_next(ticket) {
                    pipeline.pass_next();
                    seen.push_str(&text);
                } else {
                    pipeline.accept(ticket, 0, text.as_bytes());
                }
                seen.push_str(&released(&mut pipeline));
            }
        }
        for (ticket, text) in outstanding {
            pipeline.accept(ticket, 0, text.as_bytes());
        }
        seen.push_str(&released(&mut pipeline));
        assert_eq!(seen, expected);
        assert!(pipeline.is_empty());
    }
}
