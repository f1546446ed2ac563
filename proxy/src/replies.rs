//! The way of a reply to its client: straight out, or behind those that are outstanding.

use crate::client::Connection;
use crate::engine::{Done, Engine, Hands};
use crate::meter::Sender;
use slotmesh_base::ReplyError;
use slotmesh_base::limits::MAILBOX_RECORD_BYTES_MAX;
use slotmesh_command::Spec;
use slotmesh_io::Sockets;
use slotmesh_resp::{Args, Protocol, ProtocolError, Reply};

/// Turns after which replies go out though others are still on their way.
const CORKED_TURNS: u64 = 2;

impl Engine {
    /// Answers an admitted command with an error.
    #[cold]
    pub(crate) fn fail_with(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        error: ReplyError,
    ) -> Done {
        Reply::new(&mut self.scratch, Protocol::Resp2).error(error);
        self.reply_and_count(hands, index, spec, args)
    }

    /// Sends what `admit` has written, if anything.
    #[cold]
    pub(crate) fn refuse(&mut self, hands: &mut Hands<'_>, index: u32) -> Done {
        if let Some(connection) = self.connections[index as usize].as_deref()
            && connection.client.closing
            && self.scratch.is_empty()
        {
            self.process.log.warning(format_args!(
                "A client from {} sent what a web browser sends (POST or Host:): its connection is closed, it may be a cross-protocol attack.",
                connection.client.address
            ));
        }
        let last_command = self.connections[index as usize].as_deref().and_then(|at| at.client.last_command);
        if let (Some(spec), Some(b'-')) = (last_command, self.scratch.first()) {
            self.meter.note_rejected(spec);
        }
        self.reply_scratch(hands, index)
    }

    /// Ends a command whose reply stands in the scratch buffer: counts it, and hands out the reply.
    pub(crate) fn reply_and_count(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
    ) -> Done {
        self.count(index, spec, args);
        self.reply_scratch(hands, index)
    }

    /// Counts a command whose reply stands in the scratch buffer.
    pub(crate) fn count(&mut self, index: u32, spec: &'static Spec, args: Args<'_>) {
        if let Some(connection) = self.connections[index as usize].as_deref() {
            self.meter.end(spec, args, Sender::Ours(&connection.client));
            if self.scratch.first() == Some(&b'-') {
                self.meter.note_failed(spec);
            }
        }
    }

    /// Hands out what was written to the scratch buffer.
    pub(crate) fn reply_scratch(&mut self, hands: &mut Hands<'_>, index: u32) -> Done {
        let mut scratch = std::mem::take(&mut self.scratch);
        if !scratch.is_empty() {
            self.meter.note_reply(&scratch);
            self.reply(hands, index, &scratch);
        }
        scratch.clear();
        scratch.shrink_to(MAILBOX_RECORD_BYTES_MAX);
        self.scratch = scratch;
        Done::Yes
    }

    /// Hands a reply to a connection: straight out, or behind those that are outstanding.
    pub(crate) fn reply(&mut self, hands: &mut Hands<'_>, index: u32, bytes: &[u8]) {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        if !connection.pipeline.is_empty() {
            connection.pipeline.append(|output| output.extend_from_slice(bytes));
            self.release(hands, index);
        } else if let Some(output) = hands.sockets.output(connection.socket) {
            output.extend_from_slice(bytes);
            hands.sockets.commit(connection.socket);
        }
    }

    /// Sends the replies of a connection whose turn has come.
    pub(crate) fn release(&mut self, hands: &mut Hands<'_>, index: u32) {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        if !connection.pipeline.has_ready() {
            return;
        }
        match hands.sockets.output(connection.socket) {
            Some(output) => {
                connection.pipeline.release(output);
                hands.sockets.commit(connection.socket);
            }
            // Broken: the replies have nowhere to go.
            None => connection.pipeline.release(&mut Vec::new()),
        }
        uncork_if_answered(connection, hands.sockets);
    }

    /// Ends a turn: sends what has waited for other cores' answers for longer than those take as a rule. Whether
    /// something still waits.
    pub(crate) fn end_turn(&mut self, sockets: &mut Sockets) -> bool {
        let (turn, connections) = (self.turn, &mut self.connections);
        self.corked.retain(|&index| {
            let Some(connection) = connections[index as usize].as_deref_mut() else { return false };
            let Some(since) = connection.corked_in else { return false };
            if turn - since < CORKED_TURNS {
                return true;
            }
            connection.corked_in = None;
            sockets.uncork(connection.socket);
            false
        });
        self.turn += 1;
        !self.corked.is_empty()
    }

    /// Answers bytes that are no protocol; the connection closes behind the answer.
    pub(crate) fn fail(&mut self, hands: &mut Hands<'_>, index: u32, error: ProtocolError) -> Done {
        let Some(connection) = self.connection(index) else { return Done::Yes };
        if connection.stalled {
            return Done::NotYet;
        }
        if !connection.client.closing {
            let mut bytes = Vec::new();
            Reply::new(&mut bytes, connection.client.protocol).protocol_error(error);
            connection.client.closing = true;
            self.process.log.verbose(format_args!("Protocol error ({error}) from a client"));
            self.meter.note_reply(&bytes);
            self.reply(hands, index, &bytes);
        }
        Done::Yes
    }
}

/// Keeps a connection's replies back, since another core's is on its way: one send for all of them.
pub(crate) fn cork(corked: &mut Vec<u32>, turn: u64, connection: &mut Connection, sockets: &mut Sockets) {
    if connection.corked_in.is_none() {
        connection.corked_in = Some(turn);
        corked.push(connection.socket.index);
        sockets.cork(connection.socket);
    }
}

/// Sends a connection's replies when none is outstanding any more.
#[inline]
pub(crate) fn uncork_if_answered(connection: &mut Connection, sockets: &mut Sockets) {
    if connection.pipeline.is_empty() && connection.corked_in.take().is_some() {
        sockets.uncork(connection.socket);
    }
}
