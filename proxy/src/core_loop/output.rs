//! Bounds on what waits for clients to read it.

use super::{Core, TURN_BYTES_MAX};
use crate::engine::Hands;
use slotmesh_base::limits::{FINISHING_IDLE_SECONDS_MAX, UNAUTHENTICATED_OUTPUT_BYTES_MAX};
use slotmesh_io::clock;

impl Core {
    /// Sends what the turn has written so far, but for what must wait.
    pub(super) fn send_now(&mut self) {
        self.engine.fence(&mut self.io.sockets);
        self.io.send_now();
    }

    /// The same between two commands, neither of which has taken that long.
    #[cold]
    fn send_early(&mut self) {
        self.send_now();
        self.engine.meter.begin();
    }

    /// Sends early if the turn has written much, and closes a client that lets too much pile up.
    #[inline(always)]
    pub(super) fn bound_output(&mut self, index: u32) {
        if self.io.sockets.turn_bytes() > TURN_BYTES_MAX {
            self.send_early();
        }
        if self.engine.heard.bytes > TURN_BYTES_MAX {
            self.settle_heard();
        }
        let hot = &self.engine.hot;
        if hot.output_limits.normal.hard_bytes > 0 || hot.requirepass.is_some() || !self.engine.subscriptions.is_empty()
        {
            self.enforce_hard_limit(index);
        }
    }

    pub(super) fn enforce_hard_limit(&mut self, index: u32) {
        let Some(connection) = self.engine.connections[index as usize].as_deref() else { return };
        let hard = match self.engine.output_limit(&connection.client).hard_bytes {
            _ if !connection.client.authenticated => UNAUTHENTICATED_OUTPUT_BYTES_MAX,
            0 => return,
            hard => hard,
        };
        let Some(pending) = self.pending_output(index) else { return };
        if pending > hard {
            // What this turn wrote may yet fit into the kernel's buffers.
            self.send_now();
            if self.pending_output(index).is_some_and(|pending| pending > hard) {
                self.close_for_output(index);
            }
        }
    }

    /// Lets out what clients were told, and closes those who let too much of it pile up.
    pub(super) fn settle_heard(&mut self) {
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.tell_changed(&mut hands);
        if self.engine.heard.connections.is_empty() {
            return;
        }
        let mut told = self.engine.release_heard(&mut self.io.sockets);
        let hard = self.engine.hot.output_limits.pubsub.hard_bytes;
        told.retain(|&index| {
            let is_overrun = self.engine.connection(index).is_some_and(|connection| connection.is_overrun);
            is_overrun || hard > 0 && self.pending_output(index).is_some_and(|pending| pending > hard)
        });
        if !told.is_empty() || self.io.sockets.turn_bytes() > TURN_BYTES_MAX {
            // What is kept may yet fit into the kernel's buffers.
            self.send_early();
        }
        for index in told {
            if self.engine.connection(index).is_some_and(|connection| connection.is_overrun) {
                self.close_for_output(index);
            } else {
                self.enforce_hard_limit(index);
            }
        }
    }

    pub(super) fn pending_output(&mut self, index: u32) -> Option<u64> {
        let connection = self.engine.connections[index as usize].as_deref()?;
        Some((self.io.sockets.pending_bytes(connection.socket) + connection.pipeline.kept_bytes()) as u64)
    }

    pub(super) fn close_for_output(&mut self, index: u32) {
        if let Some(connection) = self.engine.connection(index) {
            let (id, address) = (connection.client.id, connection.client.address.clone());
            self.engine
                .process
                .log
                .warning(format_args!("Client id={id} addr={address} closed for overcoming of output buffer limits."));
        }
        self.close(index);
    }

    /// Closes idle clients and those that have been slow for too long, and counts the bytes that clients hold.
    pub(super) fn check_clients(&mut self) {
        let board = &self.engine.process.boards[usize::from(self.engine.core)];
        board.publish_cpu(clock::thread_cpu_micros());
        self.engine.shard_used = self.engine.lending.desk.owns_shard();
        let mut buffers = crate::board::BufferBytes::default();
        let (now, timeout_s) = (self.engine.now, i64::from(self.engine.hot.timeout_s));
        for index in 0..self.engine.connections.len() as u32 {
            let Some(pending) = self.pending_output(index) else { continue };
            let Some(connection) = self.engine.connection(index) else { continue };
            let held = connection.input_bytes() as u64;
            buffers.input += held;
            buffers.output += pending;
            buffers.input_max = buffers.input_max.max(held);
            buffers.output_max = buffers.output_max.max(pending);
            // As in Redis, a client that takes its replies is not idle, however slowly it does.
            if std::mem::replace(&mut connection.pending_seen, pending) != pending {
                connection.client.active_at = now;
            }
            let client = &connection.client;
            let (is_blocked, is_subscriber, is_replica) =
                (client.is_blocked, client.is_subscriber(), client.is_attached() || client.is_monitor);
            let idle_s = (now.0 - connection.client.active_at.0) / 1000;
            if timeout_s > 0 && idle_s > timeout_s && !is_blocked && !is_subscriber && !is_replica {
                self.engine.process.log.verbose(format_args!("Closing idle client"));
                self.close(index);
            } else {
                self.enforce_soft_limit(index, pending);
            }
        }
        self.io.sockets.close_stuck(FINISHING_IDLE_SECONDS_MAX);
        self.engine.buffers = buffers;
    }

    pub(super) fn enforce_soft_limit(&mut self, index: u32, pending: u64) {
        let now = self.engine.monotonic;
        let Some(connection) = self.engine.connections[index as usize].as_deref() else { return };
        let limit = self.engine.output_limit(&connection.client);
        let Some(connection) = self.engine.connection(index) else { return };
        if limit.soft_bytes == 0 || pending <= limit.soft_bytes {
            connection.above_soft_limit_since = None;
            return;
        }
        let since = *connection.above_soft_limit_since.get_or_insert(now);
        if now.nanos_since(since) / 1_000_000_000 >= limit.soft_seconds {
            self.close_for_output(index);
        }
    }
}
