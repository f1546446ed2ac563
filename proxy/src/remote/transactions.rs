//! WATCH and EXEC of our clients at nodes of other hosts.

use crate::engine::{Done, Engine, Hands};
use crate::hop::ReturnAddress;
use crate::meter::Sender;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{Spec, key_indexes};
use slotmesh_resp::{Args, Protocol, Reply, elements};
use slotmesh_shard::{Block, Envelope, Sent, TransactionPlace};

/// The part of a ticket that says that its reply is that of an EXEC.
pub(super) const EXEC: u32 = u32::MAX;

impl Engine {
    /// Has a connection watch keys at a node of another host; nothing, if they are all in this process.
    pub(crate) fn watch_elsewhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
    ) -> Option<Done> {
        let connection = self.connections[index as usize].as_deref()?;
        let remote = self.remote.as_mut()?;
        if connection.client.is_at_node {
            return None;
        }
        let routes = remote.gateway.routes();
        let (mut first, mut is_one_slot, mut all_ours) = (None, true, true);
        for slot in key_indexes(spec, args).map(|key| Slot::of_key(args.at(key))) {
            is_one_slot &= *first.get_or_insert(slot) == slot;
            all_ours &= routes.is_ours(slot);
        }
        let watches_elsewhere = remote.gateway.watches(index);
        if remote.gateway.has_lost_watch(index) || connection.client.has_lost_watch(&self.map) {
            // It is broken anyway.
            Reply::new(&mut self.scratch, connection.client.protocol).ok();
            return Some(self.reply_scratch(hands, index));
        }
        if all_ours && !watches_elsewhere {
            return None;
        }
        // What is watched on several hosts cannot be judged at one moment.
        let slot = first.filter(|_| is_one_slot && !all_ours && connection.client.watching.is_empty());
        let Some(slot) = slot else { return Some(self.fail_with(hands, index, spec, args, ReplyError::CrossSlot)) };
        // What was sent before goes over another link: it must have run.
        if !connection.pipeline.is_empty() {
            return Some(Done::NotYet);
        }
        let (socket, protocol) = (connection.socket, connection.client.protocol);
        let to = ReturnAddress { socket, ticket: connection.pipeline.next_ticket(), part: 0 };
        Some(match remote.gateway.watch(self.monotonic, Envelope { spec, slot, protocol, to }, args) {
            Sent::Yes => {
                // What is read behind it must be newer.
                self.raise_barrier(index);
                Done::Yes
            }
            Sent::NotYet => Done::NotYet,
            Sent::Refused(error) => self.fail_with(hands, index, spec, args, error),
        })
    }

    /// A connection watches nothing at other hosts any more.
    pub(crate) fn unwatch_elsewhere(&mut self, index: u32) {
        if let Some(remote) = &mut self.remote {
            remote.gateway.unwatch(index);
        }
    }

    /// Sends the transaction of a connection to the node of another host that has its keys; nothing, if it stays here.
    pub(crate) fn exec_elsewhere(&mut self, hands: &mut Hands<'_>, index: u32) -> Option<Done> {
        self.note_queued_writes(index);
        let connection = self.connections[index as usize].as_deref()?;
        let transaction = connection.client.transaction.as_ref()?;
        let remote = self.remote.as_mut()?;
        let watches = remote.gateway.watches(index);
        // What was sent before goes over another link, or what comes behind will: it must have run.
        if (watches || transaction.may_change_protocol()) && !connection.pipeline.is_empty() {
            return Some(Done::NotYet);
        }
        let protocol = connection.client.protocol;
        if remote.gateway.has_lost_watch(index) || connection.client.has_lost_watch(&self.map) {
            self.give_transaction_up(hands, index);
            Reply::new(&mut self.scratch, protocol).null_array();
            return Some(self.reply_scratch(hands, index));
        }
        let slot = match TransactionPlace::of(transaction, remote.gateway.routes()) {
            TransactionPlace::Here { .. } if !watches => return None,
            // Nobody can tell at one moment whether what is watched there was touched, and change what is here.
            TransactionPlace::Here { has_keys: true } | TransactionPlace::Apart => None,
            TransactionPlace::Here { has_keys: false } => Slot::new(0),
            TransactionPlace::Whole(slot) => Some(slot).filter(|_| connection.client.watching.is_empty()),
        };
        let spec = connection.client.last_command?;
        let Some(slot) = slot else { return Some(self.abort_exec(hands, index, protocol, ReplyError::CrossSlot)) };
        let block = Block::of(&connection.client, transaction, &self.settings);
        let to = ReturnAddress { socket: connection.socket, ticket: connection.pipeline.next_ticket(), part: EXEC };
        Some(match remote.gateway.send_block(self.monotonic, Envelope { spec, slot, protocol, to }, &block) {
            Sent::Yes => {
                self.raise_barrier(index);
                self.forget_read_elsewhere(hands.sockets, index);
                Done::Yes
            }
            Sent::NotYet => Done::NotYet,
            Sent::Refused(error) => self.abort_exec(hands, index, protocol, error),
        })
    }

    fn abort_exec(&mut self, hands: &mut Hands<'_>, index: u32, protocol: Protocol, error: ReplyError) -> Done {
        self.give_transaction_up(hands, index);
        Reply::new(&mut self.scratch, protocol).error(error);
        self.reply_scratch(hands, index)
    }

    fn give_transaction_up(&mut self, hands: &mut Hands<'_>, index: u32) {
        self.end_watch(hands, index);
        if let Some(connection) = self.connection(index) {
            connection.client.transaction = None;
        }
    }

    /// The slot of a transaction that was sent has come home: its EXEC begins again, here.
    pub(super) fn bring_exec_home(&mut self, hands: &mut Hands<'_>, to: ReturnAddress) {
        if !self.awaits_exec(to) {
            return;
        }
        let Some(connection) = self.connection(to.socket.index) else { return };
        if let Some(exec) = connection.client.last_command {
            connection.waiting.requests.put_first(exec, &[exec.name.as_bytes()]);
        }
        self.hand_over(hands.sockets, ReturnAddress { part: 0, ..to }, &[]);
    }

    /// Whether a connection still waits for the answer to an EXEC.
    fn awaits_exec(&mut self, to: ReturnAddress) -> bool {
        self.connection(to.socket.index)
            .is_some_and(|connection| connection.socket == to.socket && connection.barrier == Some(to.ticket))
    }

    /// A node has answered an EXEC: what else stood in the transaction is run now.
    pub(super) fn end_exec_elsewhere(&mut self, hands: &mut Hands<'_>, to: ReturnAddress, answer: &[u8]) {
        let index = to.socket.index;
        let back = ReturnAddress { part: 0, ..to };
        if !self.awaits_exec(to) {
            return;
        }
        let Some(connection) = self.connections[index as usize].as_deref() else { return };
        let (client, mut reply) = (&connection.client, Vec::new());
        let wanted = client.transaction.as_ref().map_or(0, |transaction| transaction.answers_from_node());
        let mut questions = Vec::new();
        match elements(answer) {
            Ok(answers) if answer.starts_with(b"*") && answers.len() == wanted => {
                questions = self.exec_with(hands.sockets, index, &mut [], Some(&answers), &mut reply);
            }
            // Nothing has run: what was watched was touched, or it was refused.
            outcome => {
                let is_null = answer.starts_with(b"*-1") || answer.starts_with(b"_");
                if outcome.is_ok() || !is_null && !answer.starts_with(b"-") {
                    Reply::new(&mut reply, client.protocol).error(ReplyError::GarbledReply);
                } else {
                    reply.extend_from_slice(answer);
                }
                if let Some(spec) = client.last_command {
                    self.meter.count(spec, Args::new(&[], &[]), 0, Sender::Ours(client));
                }
                self.give_transaction_up(hands, index);
            }
        }
        if questions.is_empty() {
            self.hand_over(hands.sockets, back, &reply);
        } else {
            self.ask_questions(hands, back, reply, questions);
        }
        self.tell_said(hands, index);
    }
}
