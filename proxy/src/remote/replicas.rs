//! Clients of the gateway that wait for replicas, those of other hosts and of this process.

use super::listening::NOBODY;
use super::{INNER, Remote, transactions};
use crate::engine::{Done, Engine, Hands};
use crate::hop::ReturnAddress;
use crate::replication::Wanted;
use slotmesh_base::{Monotonic, Slot};
use slotmesh_command::{Flags, find};
use slotmesh_io::SocketId;
use slotmesh_resp::{ArgRange, Args, Protocol, Reply, parse_integer};
use slotmesh_shard::{Envelope, ReplicaPoll, Sent, WaitCount, answer_wait};

/// A WAIT that no master can answer before its time is over, which is at once.
const PUSH: [&[u8]; 3] = [b"WAIT", b"2147483647", b"1"];

/// A client that waits for replicas.
#[derive(Debug)]
pub(super) struct Poll {
    /// Where its reply goes.
    to: ReturnAddress,
    poll: ReplicaPoll,
    /// Number of masters of other hosts: the parts of the ticket behind are those of our cores.
    masters: usize,
    /// The cores that are asked.
    cores: Vec<u16>,
}

impl Poll {
    pub(super) fn deadline(&self) -> Monotonic {
        self.poll.deadline()
    }
}

/// Whether an answer is for somebody who waits for replicas at a gateway.
pub(crate) fn is_of_poll(back: ReturnAddress) -> bool {
    back.part >= INNER && back.part != transactions::EXEC
}

impl Remote {
    fn poll(&mut self, to: ReturnAddress) -> Option<&mut Poll> {
        self.polls.iter_mut().find(|poll| poll.to.socket == to.socket && poll.to.ticket == to.ticket)
    }
}

impl Engine {
    /// Whether a client is at a door that hides a cluster.
    pub(crate) fn is_at_gateway(&self, index: u32) -> bool {
        let connection = self.connections[index as usize].as_deref();
        self.remote.is_some() && connection.is_some_and(|connection| !connection.client.is_at_node)
    }

    /// A client of the gateway writes something.
    #[inline]
    pub(super) fn note_write(&mut self, index: u32) {
        let Self { connections, remote, .. } = self;
        if let Some(remote) = remote
            && let Some(connection) = connections[index as usize].as_deref_mut()
            && connection.unvouched.is_none()
        {
            connection.unvouched = Some(remote.gateway.losses());
        }
    }

    /// The same for what a client has queued.
    pub(super) fn note_queued_writes(&mut self, index: u32) {
        let connection = self.connections[index as usize].as_deref();
        let queued = connection.and_then(|connection| connection.client.transaction.as_ref());
        let writes = |(spec, _): (&slotmesh_command::Spec, Args<'_>)| spec.flags.contains(Flags::WRITE);
        if queued.is_some_and(|queued| queued.commands().any(writes)) {
            self.note_write(index);
        }
    }

    /// Lets a client wait until so many replicas of each master have what it has written before.
    pub(crate) fn wait_over_hosts(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        wanted: Wanted,
        timeout_ms: Option<u64>,
    ) -> Done {
        let (map, now) = (self.map.clone(), self.monotonic);
        let Some(remote) = &self.remote else { return Done::Yes };
        let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
        // What was written is where it is once it was answered.
        if !connection.pipeline.is_empty() {
            return Done::NotYet;
        }
        let is_lost = connection.unvouched.is_some_and(|losses| losses != remote.gateway.losses());
        let (socket, ticket) = (connection.socket, connection.pipeline.next_ticket());
        let slots: Vec<Slot> = remote.gateway.routes().masters().iter().map(|master| master.first).collect();
        let cores = (0..).zip(map.slots_of_cores()).filter(|&(_, slots)| slots > 0).map(|(core, _)| core);
        let cores: Vec<u16> = cores.collect();
        if is_lost {
            return self.answer_lost(hands, index);
        }
        let until = timeout_ms.map(|timeout_ms| now.plus_millis(timeout_ms));
        let done = self.wait_for_nobody(hands, index, None);
        let to = ReturnAddress { socket, ticket, part: 0 };
        for (part, &core) in (INNER + slots.len() as u32..).zip(&cores) {
            self.wait_at(hands, core, ReturnAddress { part, ..to }, wanted, timeout_ms);
        }
        let masters = slots.len();
        let poll = ReplicaPoll::new(wanted.replicas, until, slots.into_iter(), cores.len());
        if let Some(remote) = &mut self.remote {
            remote.polls.push(Poll { to, poll, masters, cores });
        }
        done
    }

    /// What a client has written may be lost with a master: nobody can vouch for it. What it writes from now on is another
    /// matter.
    fn answer_lost(&mut self, hands: &mut Hands<'_>, index: u32) -> Done {
        if let Some(connection) = self.connection(index) {
            connection.unvouched = None;
        }
        Reply::new(&mut self.scratch, Protocol::Resp2).integer(0);
        self.reply_scratch(hands, index)
    }

    /// Asks the masters whom it is time to ask, and answers those whose wait is over.
    pub(super) fn drive_polls(&mut self, hands: &mut Hands<'_>) {
        let now = self.monotonic;
        let Some(remote) = self.remote.as_mut().filter(|remote| !remote.polls.is_empty()) else { return };
        let Remote { polls, gateway, .. } = &mut **remote;
        for Poll { to, poll, .. } in polls.iter_mut() {
            for (number, slot) in poll.take_due(now) {
                let Some(spec) = find(b"info") else { return };
                let to = ReturnAddress { part: INNER + number as u32, ..*to };
                let envelope = Envelope { spec, slot, protocol: Protocol::Resp2, to };
                let words: [&[u8]; 2] = [b"INFO", b"replication"];
                match gateway.send_part(now, envelope, words.into_iter(), true) {
                    Sent::Yes => {}
                    Sent::NotYet => poll.postpone(number, now),
                    Sent::Refused(_) => drop(poll.note_info(number, b"", now)),
                }
            }
        }
        let is_over = |poll: &Poll| poll.poll.outcome(now).is_some();
        let over: Vec<ReturnAddress> = polls.iter().filter(|poll| is_over(poll)).map(|poll| poll.to).collect();
        for to in over {
            self.answer_poll(hands, to);
        }
    }

    /// A master of another host has said how far its replicas are.
    pub(super) fn note_info(&mut self, from: ReturnAddress, reply: &[u8]) {
        let now = self.monotonic;
        let Some(remote) = &mut self.remote else { return };
        let Some(Poll { poll, .. }) = remote.poll(from) else { return };
        let Some(slot) = poll.note_info((from.part - INNER) as usize, reply, now) else { return };
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        for word in PUSH {
            ranges.push(ArgRange { start: bytes.len() as u32, len: word.len() as u32 });
            bytes.extend_from_slice(word);
        }
        let Some(spec) = find(b"wait") else { return };
        let envelope = Envelope { spec, slot, protocol: Protocol::Resp2, to: NOBODY };
        // Where it cannot be sent, the replicas say by themselves how far they are, once a second.
        let _ = remote.gateway.send_alone(now, envelope, Args::new(&bytes, &ranges), None);
    }

    /// A shard of this process has ended its wait.
    pub(crate) fn note_ours(&mut self, from: ReturnAddress, reply: &[u8]) {
        let count = reply.strip_prefix(b":").and_then(|digits| parse_integer(digits.trim_ascii_end()));
        let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        if let Some(poll) = self.remote.as_mut().and_then(|remote| remote.poll(from)) {
            let number = (from.part - INNER) as usize - poll.masters;
            poll.poll.note_ours(number, count);
        }
    }

    fn answer_poll(&mut self, hands: &mut Hands<'_>, to: ReturnAddress) {
        let Some(remote) = &mut self.remote else { return };
        let losses = remote.gateway.losses();
        let is_lost = remote.poll(to).is_some_and(|poll| poll.poll.is_lost());
        let Some(mut count) = self.end_poll(hands, to.socket) else { return };
        if let Some(connection) = self.connection(to.socket.index)
            && (is_lost || connection.unvouched.is_some_and(|before| before != losses))
        {
            (connection.unvouched, count.replicas) = (None, 0);
        }
        let mut bytes = Vec::new();
        answer_wait(count, &mut Reply::new(&mut bytes, Protocol::Resp2));
        self.hand_over(hands.sockets, to, &bytes);
    }

    /// A client waits no more; how many replicas there are, if it did.
    pub(crate) fn end_poll(&mut self, hands: &mut Hands<'_>, socket: SocketId) -> Option<WaitCount> {
        let remote = self.remote.as_mut()?;
        let place = remote.polls.iter().position(|poll| poll.to.socket == socket)?;
        let Poll { poll, cores, .. } = remote.polls.swap_remove(place);
        for core in cores {
            self.forget_wait_at(hands, core, socket);
        }
        Some(WaitCount { local: None, replicas: poll.count() })
    }
}
