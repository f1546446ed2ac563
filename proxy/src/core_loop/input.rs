//! Bytes of clients: decoded where they arrived, or behind what is left of earlier ones.

use super::Core;
use crate::batch::{Decoded, LentTail, Origin, Source};
use crate::client::Connection;
use slotmesh_io::{Chunk, SocketId};
use slotmesh_resp::DecodeLimits;

/// Bytes of requests after which a connection that cannot go on is no longer read.
const STALLED_BYTES_MAX: usize = 64 * 1024;
/// Capacity that a connection's empty tail keeps, in bytes.
const TAIL_BYTES_KEPT: usize = 16 * 1024;

impl Core {
    /// Decodes what has arrived on a connection.
    pub(super) fn receive(&mut self, socket: SocketId, chunk: Chunk) {
        let index = socket.index;
        let is_lent = self.batch.tails.iter().any(|tail| tail.connection == index);
        if is_lent {
            self.run_batch();
        }
        if self.engine.is_late {
            self.engine.hold(&mut self.io.sockets, index);
        }
        let Some(connection) = self.engine.connections.get_mut(index as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        if connection.socket != socket || connection.client.closing {
            return;
        }
        // As in Redis a client that is still sending its request is not idle.
        connection.client.active_at = self.engine.now;
        if connection.tail.is_empty() && !connection.stalled {
            // A transaction grows without a tail, if each of its commands comes whole.
            if connection.client.transaction.is_some() && self.is_query_too_long(index) {
                return self.close_for_input(index);
            }
            return self.decode_chunk(index, chunk);
        }
        let bytes = self.io.input.read(chunk);
        if connection.tail.capacity() - connection.tail.len() < bytes.len() {
            // An argument that is on its way gets its room in few steps, but never more than has arrived already.
            let missing = connection.decoder.missing().min(connection.tail.len());
            connection.tail.reserve(missing.max(bytes.len()));
        }
        connection.tail.extend_from_slice(bytes);
        let is_stalled = connection.stalled;
        if is_stalled && connection.wait.is_none() {
            // It goes on soon. What comes is no query that grows, however fast the client sends: the rest waits in the
            // kernel. Only who waits for other clients is read on, since it may leave meanwhile.
            if connection.query_bytes() > STALLED_BYTES_MAX {
                self.io.sockets.pause(socket);
            }
        } else if self.is_query_too_long(index) {
            return self.close_for_input(index);
        }
        if !is_stalled {
            self.decode_tail(index);
        }
    }

    pub(super) fn is_query_too_long(&mut self, index: u32) -> bool {
        let limit = self.engine.hot.query_buffer_limit_bytes;
        self.engine.connection(index).is_some_and(|connection| connection.query_bytes() as u64 > limit)
    }

    pub(super) fn close_for_input(&mut self, index: u32) {
        if let Some(connection) = self.engine.connection(index) {
            let (id, address) = (connection.client.id, connection.client.address.clone());
            self.engine
                .process
                .log
                .warning(format_args!("Closing client that reached max query buffer length: id={id} addr={address}"));
        }
        self.close(index);
    }

    pub(super) fn decode_chunk(&mut self, index: u32, chunk: Chunk) {
        let mut position = 0;
        loop {
            let Some(connection) = self.engine.connections[index as usize].as_deref_mut() else { return };
            if connection.client.closing {
                return;
            }
            if connection.stalled {
                connection.tail.extend_from_slice(&self.io.input.read(chunk)[position..]);
                return;
            }
            let limits = decode_limits(connection, self.engine.hot.proto_max_bulk_len_bytes);
            let bytes = self.io.input.bytes(chunk);
            let decoded = self.batch.decode(
                Origin { connection: index, source: Source::Chunk(chunk) },
                &mut connection.decoder,
                bytes,
                position,
                &limits,
                &self.engine.hasher,
            );
            match decoded {
                Decoded::Failed => return,
                Decoded::Through(end) => {
                    connection.tail.extend_from_slice(&bytes[end..]);
                    return;
                }
                Decoded::Full(end) => {
                    position = end;
                    self.run_and_look_at_clock(index);
                }
            }
        }
    }

    pub(super) fn decode_tail(&mut self, index: u32) {
        loop {
            let Some(connection) = self.engine.connections[index as usize].as_deref_mut() else { return };
            if connection.client.closing || connection.stalled || connection.tail.is_empty() {
                return;
            }
            let limits = decode_limits(connection, self.engine.hot.proto_max_bulk_len_bytes);
            let mut bytes = std::mem::take(&mut connection.tail);
            let origin = Origin { connection: index, source: Source::Tail(self.batch.tails.len()) };
            let decoder = &mut connection.decoder;
            let from = std::mem::take(&mut connection.tail_start);
            let decoded = self.batch.decode(origin, decoder, &mut bytes, from, &limits, &self.engine.hasher);
            let used = match decoded {
                Decoded::Through(end) | Decoded::Full(end) => end,
                Decoded::Failed => bytes.len(),
            };
            if used == from {
                (connection.tail, connection.tail_start) = (bytes, from);
                if decoded != Decoded::Full(from) {
                    return;
                }
            } else {
                self.batch.tails.push(LentTail { connection: index, bytes, used });
            }
            match decoded {
                Decoded::Full(_) => self.run_and_look_at_clock(index),
                Decoded::Through(_) | Decoded::Failed => return,
            }
        }
    }

    /// Runs the batch; if the turn has lasted too long, the rest of the connection's requests waits for the next.
    pub(super) fn run_and_look_at_clock(&mut self, index: u32) {
        self.run_batch();
        self.engine.look_at_clock();
        if self.engine.is_late {
            self.engine.hold(&mut self.io.sockets, index);
        }
    }

    /// Gives tails back to their connections, without what was decoded of them.
    pub(super) fn return_tails(&mut self) {
        for LentTail { connection, mut bytes, used } in self.batch.tails.drain(..) {
            let Some(connection) = self.engine.connection(connection) else { continue };
            connection.tail_start = used;
            if used == bytes.len() {
                bytes.clear();
                bytes.shrink_to(TAIL_BYTES_KEPT);
                connection.tail_start = 0;
            } else if used > bytes.len() / 2 {
                // Not for each batch of a long tail: what is moved is less than what was taken.
                bytes.drain(..used);
                connection.tail_start = 0;
            }
            connection.tail = bytes;
        }
    }
}

fn decode_limits(connection: &Connection, bulk_bytes_max: u64) -> DecodeLimits {
    DecodeLimits {
        bulk_bytes_max: i64::try_from(bulk_bytes_max).unwrap_or(i64::MAX),
        authenticated: connection.client.authenticated,
    }
}
