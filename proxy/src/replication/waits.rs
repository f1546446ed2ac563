//! Clients that wait for replicas (WAIT, WAITAOF).

use super::Replication;
use super::mail::{ReplicationMail, STREAM_CORE};
use crate::engine::{Done, Engine, Hands};
use crate::hop::{ReplyKind, ReturnAddress};
use crate::post::Freight;
use crate::remote::is_of_poll;
use slotmesh_base::Monotonic;
use slotmesh_command::{NodeCommand, Reach, Spec};
use slotmesh_io::SocketId;
use slotmesh_resp::{Protocol, Reply};
use slotmesh_shard::{Unblock, WaitCount, answer_wait};

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplicaWait {
    core: u16,
    back: ReturnAddress,
    protocol: Protocol,
    wanted: Wanted,
    /// When its time is over, if that is not its own core's to say.
    deadline: Option<Monotonic>,
    place: Place,
}

/// Where a client wants to have what it has written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    /// At how many replicas.
    pub(crate) replicas: usize,
    /// How often on a disk here, and on the disks of the replicas; nothing, if disks do not count.
    pub(super) local: Option<usize>,
}

/// The place in the stream that replicas must have reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// Not known yet.
    Unknown,
    /// That of the mark with this number, when it comes.
    Mark(u64),
    /// In the stream, and in the append-only file.
    At(u64, u64),
}

impl Replication {
    fn count(&self, wait: &ReplicaWait) -> WaitCount {
        let (offset, position) = match wait.place {
            Place::At(offset, position) => (offset, position),
            Place::Unknown | Place::Mark(_) => (self.source.history().offset(), self.journal.appended()),
        };
        let is_synced = self.journal.is_on() && self.journal.synced() >= position;
        match wait.wanted.local {
            Some(_) => {
                WaitCount { local: Some(usize::from(is_synced)), replicas: self.source.count_acked_on_disk(offset) }
            }
            None => WaitCount { local: None, replicas: self.source.count_acked(offset) },
        }
    }

    /// Whether a client has what it waits for.
    fn is_there(wait: &ReplicaWait, count: WaitCount) -> bool {
        count.replicas >= wait.wanted.replicas && count.local >= wait.wanted.local
    }

    /// Whether there are clients who do not know what they wait for.
    pub(super) fn wants_mark(&self) -> bool {
        !self.is_marking && self.waits.iter().any(|wait| wait.place == Place::Unknown)
    }

    /// All shards are in hand: what they have done is what those wait for who have asked until now.
    pub(super) fn mark_waits(&mut self) -> u64 {
        self.is_marking = false;
        self.marks += 1;
        let unknown = self.waits.iter_mut().filter(|wait| wait.place == Place::Unknown);
        unknown.for_each(|wait| wait.place = Place::Mark(self.marks));
        self.marks
    }

    /// All that is in the stream; the replicas are asked how far they are.
    pub(super) fn end_mark(&mut self, number: u64) {
        // As in Redis nobody waits for what the stream says beside effects.
        let offset = self.written.min(self.source.history().offset());
        let marked = self.waits.iter_mut().filter(|wait| wait.place == Place::Mark(number));
        let place = Place::At(offset, self.journal.appended());
        marked.for_each(|wait| wait.place = place);
        let lacks = |wait: &ReplicaWait| wait.place == place && self.count(wait).replicas < wait.wanted.replicas;
        if self.waits.iter().any(lacks) {
            self.source.ask_for_acks();
        }
    }

    /// Answers those whose replicas are there.
    pub(super) fn answer_waits(&mut self, engine: &mut Engine, hands: &mut Hands<'_>) {
        let now = engine.monotonic;
        let mut done = Vec::new();
        for wait in std::mem::take(&mut self.waits) {
            let count = self.count(&wait);
            let is_over = wait.deadline.is_some_and(|deadline| now >= deadline);
            if (is_over || Self::is_there(&wait, count)) && matches!(wait.place, Place::At(..)) {
                done.push((wait, count));
            } else {
                self.waits.push(wait);
            }
        }
        for (wait, count) in done {
            engine.answer_replica_wait(hands, &wait, count);
        }
    }

    /// When the time of the next client of another core is over.
    pub(super) fn waits_deadline(&self) -> Option<Monotonic> {
        self.waits.iter().filter_map(|wait| wait.deadline).min()
    }

    /// A client waits no more, but wants to know how many replicas there are. Nothing, if its place is not known yet: it is
    /// answered as soon as that is.
    fn end_wait(&mut self, core: u16, socket: SocketId, now: Monotonic) -> Option<ReplicaWait> {
        let wait = self.forget_wait(core, socket)?;
        if matches!(wait.place, Place::At(..)) {
            return Some(wait);
        }
        self.waits.push(ReplicaWait { deadline: Some(now), ..wait });
        None
    }

    /// A client waits no more.
    pub(super) fn forget_wait(&mut self, core: u16, socket: SocketId) -> Option<ReplicaWait> {
        let is_its = |wait: &ReplicaWait| wait.core == core && wait.back.socket == socket;
        let place = self.waits.iter().position(is_its)?;
        Some(self.waits.swap_remove(place))
    }
}

/// How many replicas there are for a client whose wait has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplicaCount {
    /// So many.
    Here(WaitCount),
    /// Nobody knows, or wants to know.
    Unknown,
    /// The core of the stream will answer.
    Later,
}

/// Whether a command waits for replicas.
pub(crate) fn waits_for_replicas(spec: &Spec) -> bool {
    matches!(spec.reach, Reach::Node(NodeCommand::Wait | NodeCommand::WaitAof))
}

impl Engine {
    /// Lets a client wait until so many replicas have what was written.
    pub(crate) fn wait_for_replicas(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        wanted: Wanted,
        timeout_ms: Option<u64>,
    ) -> Done {
        if wanted.local.is_none() && self.is_at_gateway(index) {
            return self.wait_over_hosts(hands, index, wanted, timeout_ms);
        }
        let is_elsewhere = self.stream_is_elsewhere();
        if self.replication.is_none() && !is_elsewhere && wanted.replicas == 0 {
            let count = WaitCount { local: wanted.local.map(|_| 0), replicas: 0 };
            answer_wait(count, &mut Reply::new(&mut self.scratch, Protocol::Resp2));
            return self.reply_scratch(hands, index);
        }
        // Where the stream is elsewhere, so is the clock.
        let done = self.wait_for_nobody(hands, index, timeout_ms.filter(|_| !is_elsewhere));
        let connection = self.connections[index as usize].as_deref().filter(|connection| connection.wait.is_some());
        let Some(connection) = connection else { return done };
        let Some(ticket) = connection.barrier else { return done };
        let back = ReturnAddress { socket: connection.socket, ticket, part: 0 };
        let protocol = connection.client.protocol;
        if is_elsewhere {
            let wait = ReplicationMail::Wait { back, protocol, wanted, timeout_ms };
            self.mail(hands, STREAM_CORE, wait);
        } else if let Some(replication) = &mut self.replication {
            let (core, deadline, place) = (self.core, None, Place::Unknown);
            replication.waits.push(ReplicaWait { core, back, protocol, wanted, deadline, place });
        }
        done
    }

    /// The same for a client of another core.
    pub(super) fn wait_for_other(
        &mut self,
        (core, back, protocol): (u16, ReturnAddress, Protocol),
        wanted: Wanted,
        timeout_ms: Option<u64>,
    ) {
        let deadline = timeout_ms.map(|timeout_ms| self.monotonic.plus_millis(timeout_ms));
        let Some(replication) = &mut self.replication else { return };
        let place = Place::Unknown;
        replication.waits.push(ReplicaWait { core, back, protocol, wanted, deadline, place });
    }

    /// A client of a core waits no more, and wants to know nothing.
    pub(crate) fn forget_wait_at(&mut self, hands: &mut Hands<'_>, core: u16, socket: SocketId) {
        if core != self.core {
            self.mail(hands, core, ReplicationMail::EndWait(socket, false));
        } else if let Some(replication) = &mut self.replication {
            replication.forget_wait(core, socket);
        }
    }

    /// Has a client of ours wait for the replicas of the shard of a core, which answers.
    pub(crate) fn wait_at(
        &mut self,
        hands: &mut Hands<'_>,
        core: u16,
        back: ReturnAddress,
        wanted: Wanted,
        timeout_ms: Option<u64>,
    ) {
        let protocol = Protocol::Resp2;
        if core == self.core {
            self.wait_for_other((core, back, protocol), wanted, timeout_ms);
        } else {
            self.mail(hands, core, ReplicationMail::Wait { back, protocol, wanted, timeout_ms });
        }
    }

    /// A client of another core waits no more.
    pub(super) fn end_wait_of_other(&mut self, hands: &mut Hands<'_>, core: u16, socket: SocketId, wants_count: bool) {
        let now = self.monotonic;
        let Some(replication) = &mut self.replication else { return };
        if !wants_count {
            replication.forget_wait(core, socket);
            return;
        }
        let Some(wait) = replication.end_wait(core, socket, now) else { return };
        let count = replication.count(&wait);
        self.answer_replica_wait(hands, &wait, count);
    }

    /// Ends the connection of a client behind what it was told.
    pub(crate) fn finish(&mut self, index: u32) {
        if let Some(connection) = self.connection(index) {
            connection.client.closing = true;
            self.answered.push(index);
        }
    }

    /// The replicas that a client waits for are there.
    fn answer_replica_wait(&mut self, hands: &mut Hands<'_>, wait: &ReplicaWait, count: WaitCount) {
        let ReplicaWait { core, back, protocol, .. } = *wait;
        let mut bytes = Vec::new();
        answer_wait(count, &mut Reply::new(&mut bytes, protocol));
        if core == self.core && is_of_poll(back) {
            self.note_ours(back, &bytes);
        } else if core == self.core {
            self.hand_over(hands.sockets, back, &bytes);
        } else {
            self.post.send(hands.mail, core, ReplyKind::Late, back, Freight::Bytes(bytes));
        }
    }

    /// Ends the wait for replicas of a client of ours; how many there are, if it wants to know.
    pub(crate) fn end_replica_wait(&mut self, hands: &mut Hands<'_>, socket: SocketId, why: Unblock) -> ReplicaCount {
        let wants_count = why == Unblock::Timeout;
        if let Some(count) = self.end_poll(hands, socket) {
            return if wants_count { ReplicaCount::Here(count) } else { ReplicaCount::Unknown };
        }
        if self.stream_is_elsewhere() {
            self.mail(hands, STREAM_CORE, ReplicationMail::EndWait(socket, wants_count));
            return if wants_count { ReplicaCount::Later } else { ReplicaCount::Unknown };
        }
        let (core, now) = (self.core, self.monotonic);
        let Some(replication) = &mut self.replication else { return ReplicaCount::Unknown };
        if !wants_count {
            replication.forget_wait(core, socket);
            return ReplicaCount::Unknown;
        }
        match replication.end_wait(core, socket, now) {
            Some(wait) => ReplicaCount::Here(replication.count(&wait)),
            None => ReplicaCount::Later,
        }
    }
}
