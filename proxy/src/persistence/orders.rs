//! What commands want saved, and what was loaded on its way into the shards.

use crate::engine::{Done, Engine, Hands};
use crate::hop::{Parcel, ReplyKind, ReturnAddress};
use crate::post::Freight;
use crate::replication::{ReplicationMail, StreamWork};
use slotmesh_base::ReplyError;
use slotmesh_io::DataLoop;
use slotmesh_resp::{Protocol, Reply};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A client that waits for a save (SAVE).
#[derive(Clone, Debug)]
pub(crate) struct SaveWait {
    core: u16,
    back: ReturnAddress,
    protocol: Protocol,
    left: Arc<Left>,
}

/// The nodes whose saves a client waits for.
#[derive(Debug)]
struct Left {
    nodes: AtomicUsize,
    has_failed: AtomicBool,
}

/// A core is to look at what its node is to save, and to answer a client then.
pub(crate) type SaveOrder = Option<SaveWait>;

impl Engine {
    /// The nodes whose data a client of ours speaks of: that of the port it has come to, or all.
    pub(crate) fn nodes_of(&self, index: u32) -> Vec<u16> {
        let is_at_node =
            self.connections[index as usize].as_deref().is_some_and(|connection| connection.client.is_at_node);
        if is_at_node { vec![self.core] } else { (0..self.process.disk.len()).collect() }
    }

    /// Saves have begun for a client; `waits`: its reply comes when they have ended.
    pub(crate) fn save(&mut self, hands: &mut Hands<'_>, index: u32, waits: bool) -> Done {
        let nodes = self.nodes_of(index);
        let mut wait = None;
        if waits {
            let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
            let (core, protocol) = (self.core, connection.client.protocol);
            let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
            let left = Left { nodes: AtomicUsize::new(nodes.len()), has_failed: AtomicBool::new(false) };
            let back = ReturnAddress { socket, ticket, part: 0 };
            wait = Some(SaveWait { core, back, protocol, left: Arc::new(left) });
        }
        for node in nodes {
            self.process.disk.node(node).ask();
            match node == self.core {
                true => self.take_save_order(wait.clone()),
                false => self.mail(hands, node, ReplicationMail::Save(wait.clone())),
            }
        }
        if waits { Done::Yes } else { self.reply_scratch(hands, index) }
    }

    /// A client waits for the save that is under way here.
    pub(crate) fn take_save_order(&mut self, order: SaveOrder) {
        if let (Some(persistence), Some(wait)) = (&mut self.persistence, order) {
            persistence.waits.push(wait);
        }
    }

    /// A save has ended that a client waits for.
    pub(super) fn answer_save(&mut self, hands: &mut Hands<'_>, wait: &SaveWait, is_saved: bool) {
        let SaveWait { core, back, protocol, left } = wait;
        left.has_failed.fetch_or(!is_saved, Ordering::AcqRel);
        if left.nodes.fetch_sub(1, Ordering::AcqRel) > 1 {
            return;
        }
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, *protocol);
        match left.has_failed.load(Ordering::Acquire) {
            true => reply.error(ReplyError::NotSaved),
            false => reply.ok(),
        }
        if *core == self.core {
            self.hand_over(hands.sockets, *back, &bytes);
        } else {
            self.post.send(hands.mail, *core, ReplyKind::Late, *back, Freight::Bytes(bytes));
        }
    }

    /// A file was made behind so many FLUSHALLs, or it cannot be: who holds replies back for it is told.
    pub(super) fn end_waits_for_file(&mut self, hands: &mut Hands<'_>, flushes: &[(u16, u64)]) {
        self.process.durability.note_file(flushes);
        let own = self.core;
        for core in self.process.durability.take_waiting().into_iter().filter(|&core| core != own) {
            self.mail(hands, core, ReplicationMail::Durable);
        }
    }

    /// Changes that were counted in the shards of our stream.
    pub(super) fn changes_of_stream(&self) -> u64 {
        let boards = &self.process.boards;
        match self.process.is_clustered() {
            true => boards[usize::from(self.core)].read().changes,
            false => boards.iter().map(|board| board.read().changes).sum(),
        }
    }

    /// Serves what was loaded, as soon as it is there and all shards are in hand.
    pub(super) fn take_loaded(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(node) = self.persistence.as_ref().map(|persistence| persistence.node) else { return };
        let Some(loaded) = self.process.disk.node(node).load.take_loaded() else { return };
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        self.begin_stream_work(&mut hands, StreamWork::Loaded(loaded));
    }

    /// What was loaded is in the shards.
    pub(crate) fn end_load(&mut self, hands: &mut Hands<'_>) {
        let Some(node) = self.persistence.as_ref().map(|persistence| persistence.node) else { return };
        self.process.disk.node(node).record().note_loaded(self.changes_of_stream());
        if self.process.disk.end_load(node) {
            self.process.announce();
        }
        self.wake_all(hands);
    }
}
