//! Clients that wait for replicas (WAIT, WAITAOF).

use super::Replication;
use crate::engine::{Done, Engine, Hands};
use crate::hop::ReturnAddress;
use slotmesh_io::SocketId;
use slotmesh_resp::{Protocol, Reply};
use slotmesh_shard::answer_wait;

/// A client that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReplicaWait {
    pub(super) connection: SocketId,
    replicas: usize,
    on_disk: bool,
    /// What the replicas must have; not known before the turn's effects are in the stream.
    offset: Option<u64>,
}

impl Replication {
    fn count(&self, wait: &ReplicaWait) -> usize {
        let offset = wait.offset.unwrap_or_else(|| self.source.history().offset());
        match wait.on_disk {
            true => self.source.count_acked_on_disk(offset),
            false => self.source.count_acked(offset),
        }
    }

    /// What is in the stream now is what the clients of this turn wait for; the replicas are asked how far they are.
    pub(super) fn ask_for_waits(&mut self) {
        let offset = self.source.history().offset();
        let mut is_new = false;
        for wait in self.waits.iter_mut().filter(|wait| wait.offset.is_none()) {
            wait.offset = Some(offset);
            is_new = true;
        }
        if is_new && self.waits.iter().any(|wait| self.count(wait) < wait.replicas) {
            self.source.ask_for_acks();
        }
    }

    /// Answers those whose replicas are there.
    pub(super) fn answer_waits(&mut self, engine: &mut Engine, hands: &mut Hands<'_>) {
        let mut done = Vec::new();
        let waits = std::mem::take(&mut self.waits);
        for wait in waits {
            let count = self.count(&wait);
            if count >= wait.replicas && wait.offset.is_some() {
                done.push((wait, count));
            } else {
                self.waits.push(wait);
            }
        }
        for (wait, count) in done {
            engine.answer_replica_wait(hands, wait.connection, wait.on_disk, count);
        }
    }
}

impl Engine {
    /// Lets a client wait until so many replicas have what was written.
    pub(crate) fn wait_for_replicas(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        replicas: usize,
        timeout_ms: Option<u64>,
        on_disk: bool,
    ) -> Done {
        if self.replication.is_none() && replicas == 0 {
            answer_wait(on_disk, 0, &mut Reply::new(&mut self.scratch, Protocol::Resp2));
            return self.reply_scratch(hands, index);
        }
        let done = self.wait_for_nobody(hands, index, timeout_ms);
        let connection = self.connections[index as usize].as_deref().filter(|connection| connection.wait.is_some());
        if let (Some(replication), Some(connection)) = (&mut self.replication, connection) {
            let connection = connection.socket;
            replication.waits.push(ReplicaWait { connection, replicas, on_disk, offset: None });
        }
        done
    }

    /// Ends the connection of a client behind what it was told.
    pub(crate) fn finish(&mut self, index: u32) {
        if let Some(connection) = self.connection(index) {
            connection.client.closing = true;
            self.answered.push(index);
        }
    }

    /// The replicas that a connection waits for are there.
    fn answer_replica_wait(&mut self, hands: &mut Hands<'_>, socket: SocketId, on_disk: bool, count: usize) {
        let index = socket.index;
        let Some(wait) = self.forget_wait(index) else { return };
        let Some(connection) = self.connection(index) else { return };
        let Some(ticket) = connection.barrier else { return };
        let back = ReturnAddress { socket, ticket, part: 0 };
        let mut bytes = Vec::new();
        answer_wait(on_disk, count, &mut Reply::new(&mut bytes, connection.client.protocol));
        self.count_wait(index, wait.spec, &bytes);
        self.hand_over(hands.sockets, back, &bytes);
    }

    /// How many replicas have what a connection waits for whose time is up; `None` if it waits for something else.
    /// It waits no more.
    pub(crate) fn end_replica_wait(&mut self, socket: SocketId) -> Option<(bool, usize)> {
        let replication = self.replication.as_mut()?;
        let place = replication.waits.iter().position(|wait| wait.connection == socket)?;
        let wait = replication.waits.swap_remove(place);
        Some((wait.on_disk, replication.count(&wait)))
    }
}
