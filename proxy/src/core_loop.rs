//! One core: a turn takes what has arrived, runs it, and hands what it wrote to the kernel and the other cores.

use crate::batch::{Batch, Decoded, LentTail, Origin, Source};
use crate::bus::{BELL, BUS};
use crate::client::Connection;
use crate::engine::{Done, Engine, Hands};
use crate::hop::Parcel;
use crate::listener::{Dealer, NODE};
use crate::node_port::NodePort;
use crate::replication::MASTER_BELL;
use slotmesh_base::limits::{FINISHING_IDLE_SECONDS_MAX, UNAUTHENTICATED_OUTPUT_BYTES_MAX};
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_command::{Flags, Reach, Spec};
use slotmesh_io::{Chunk, DataLoop, Event, SocketId, Wait, clock};
use slotmesh_resp::DecodeLimits;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of replies that a turn gathers before it sends some of them early.
pub(crate) const TURN_BYTES_MAX: usize = 4 << 20;
/// Bytes of requests after which a connection that cannot go on is no longer read.
const STALLED_BYTES_MAX: usize = 64 * 1024;
/// Capacity that a connection's empty tail keeps, in bytes.
const TAIL_BYTES_KEPT: usize = 16 * 1024;
/// Longest that a turn waits while replies are kept back because others are on their way, in nanoseconds.
const CORKED_NANOS_MAX: u64 = 100_000;
/// Time after which it is tried again to send what has found no room, in nanoseconds.
const NO_ROOM_NANOS: u64 = 50_000;
/// The same for mail of the bus, which is in no hurry, and may wait for long where a sibling hangs.
const BUS_NO_ROOM_NANOS: u64 = 2_000_000;
/// Time between two looks at idle and slow clients, in nanoseconds.
const CRON_NANOS: u64 = 1_000_000_000;

/// Everything that a core thread owns.
pub(crate) struct Core {
    pub(crate) io: DataLoop<Parcel>,
    pub(crate) engine: Engine,
    pub(crate) batch: Batch,
    /// Accepts and deals connections; on core 0.
    pub(crate) dealer: Option<Dealer>,
    /// Where clients come to the core's shard, if it is a node of a cluster.
    pub(crate) node_port: NodePort,
    /// Whether cores have CPUs of their own, so that spinning pays.
    pub(crate) may_spin: bool,
    next_cron: u64,
    stopping: bool,
}

impl Core {
    pub(crate) fn new(io: DataLoop<Parcel>, engine: Engine, dealer: Option<Dealer>, may_spin: bool) -> Self {
        Self {
            io,
            engine,
            batch: Batch::default(),
            dealer,
            node_port: NodePort::default(),
            may_spin,
            next_cron: 0,
            stopping: false,
        }
    }

    /// With the port of its shard.
    pub(crate) fn with_node_port(self, node_port: NodePort) -> Self {
        Self { node_port, ..self }
    }

    /// Serves until the process is told to stop.
    pub(crate) async fn run(mut self) {
        let mut events = Vec::new();
        if let Some(dealer) = &mut self.dealer {
            dealer.start(&mut self.io);
        }
        self.node_port.start(&mut self.io);
        if let Some(bus) = &mut self.engine.bus {
            bus.start(&mut self.io);
        }
        let mut wait = Wait::No;
        while !self.stopping && !self.engine.process.is_stopping() {
            let engine = &self.engine;
            self.io.spins = self.may_spin
                && (engine.outstanding > 0 || engine.lending.desk.loans() > 0 || engine.lending.desk.is_away());
            self.io.mail.serve_requests(!engine.lending.desk.is_away());
            self.io.turn(wait, &mut events).await;
            let begin = self.engine.process.ticks.now();
            self.engine.now = UnixMillis(clock::unix_millis());
            self.engine.monotonic = Monotonic(clock::monotonic_nanos());
            self.engine.is_late = false;
            self.engine.refresh_settings();
            if let Some(dealer) = &mut self.dealer
                && let Some(listeners) = self.engine.process.doors.take()
            {
                dealer.follow(&mut self.io, listeners);
            }
            self.engine.refresh_pause();
            self.engine.refresh_standing();
            self.engine.meter.now = self.engine.now;
            if let Some(bus) = &mut self.engine.bus {
                bus.begin_turn(self.engine.monotonic, self.engine.now);
            }
            self.engine.meter.enter_span();
            // Before anybody takes the room that there is now, or a loan would wait behind all clients.
            self.engine.post.retry(&mut self.io.mail);
            for event in events.drain(..) {
                self.handle(event);
            }
            self.run_batch();
            self.exchange_mail();
            self.engine.drive_replication(&mut self.io);
            self.engine.pass_slots_on(&mut self.io);
            self.drive_bus();
            self.look_at_answered();
            self.settle_heard();
            wait = self.keep_house();
            self.engine.counters.busy_nanos += self.engine.process.ticks.nanos_since(begin);
        }
        self.io.stop_listening();
        // What was written in this turn still goes out.
        self.io.turn(Wait::No, &mut events).await;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Received { socket, chunk } if self.is_of_bus(socket) => self.hear_node(socket, chunk),
            Event::Ended { socket, error } if self.is_of_bus(socket) => self.lose_node(socket, error.as_ref()),
            Event::Received { socket, chunk } if self.engine.is_of_master(socket) => self.hear_master(chunk),
            Event::Ended { socket, .. } if self.engine.is_of_master(socket) => self.engine.lose_master(),
            Event::Readable { token: MASTER_BELL } => self.engine.hear_master_bell(),
            Event::Received { socket, chunk } => {
                self.engine.counters.reads += 1;
                self.receive(socket, chunk);
            }
            Event::Ended { socket, .. } => {
                self.run_batch();
                if let Some(connection) = self.engine.connection(socket.index)
                    && connection.socket == socket
                {
                    connection.ended = true;
                    if connection.wait.is_some() || connection.postponed {
                        // As in Redis: whoever has gone waits for nothing.
                        self.close(socket.index);
                    } else {
                        self.close_if_finished(socket.index);
                    }
                }
            }
            Event::Accepted { token: BUS, socket } => {
                if let Some(bus) = &mut self.engine.bus {
                    bus.accept(&mut self.io, socket);
                }
            }
            Event::AcceptFailed { token: BUS, error } => {
                if let Some(bus) = &mut self.engine.bus {
                    bus.note_failure(&error);
                }
            }
            Event::Readable { token: BELL } => {
                if let Some(bus) = &mut self.engine.bus {
                    bus.hear_bell(&mut self.io);
                }
            }
            Event::Accepted { token: NODE, socket } => NodePort::take(&mut self.io, &mut self.engine, socket),
            Event::AcceptFailed { token: NODE, error } => self.node_port.note_failure(&self.engine, &error),
            Event::Accepted { token, socket } => {
                let Self { dealer, io, engine, .. } = self;
                if let Some(dealer) = dealer {
                    dealer.deal(io, engine, socket, token);
                }
            }
            Event::AcceptFailed { token, error } => {
                let Self { dealer, io, engine, .. } = self;
                if let Some(dealer) = dealer {
                    dealer.note_failure(io, engine, token, &error);
                }
            }
            Event::Readable { .. } => {
                let Self { dealer, io, engine, .. } = self;
                if let Some(dealer) = dealer
                    && dealer.stop_requested(io, engine)
                {
                    self.stopping = true;
                }
            }
        }
    }

    /// Whether a socket is a link of the cluster bus.
    #[inline]
    fn is_of_bus(&self, socket: SocketId) -> bool {
        self.engine.bus.as_ref().is_some_and(|bus| bus.has(socket))
    }

    fn hear_node(&mut self, socket: SocketId, chunk: Chunk) {
        let bytes = self.io.input.read(chunk).to_vec();
        if let Some(bus) = &mut self.engine.bus {
            bus.receive(&mut self.io, socket, &bytes);
        }
    }

    fn lose_node(&mut self, socket: SocketId, error: Option<&io::Error>) {
        if let Some(bus) = &mut self.engine.bus {
            bus.ended(&mut self.io, socket, error);
        }
    }

    fn hear_master(&mut self, chunk: Chunk) {
        let bytes = self.io.input.read(chunk);
        self.engine.hear_master(bytes);
    }

    /// Lets the shard's bus do what this turn has given it to do.
    fn drive_bus(&mut self) {
        self.engine.tell_bus_of_replication();
        self.engine.open_bus(&mut self.io);
        let Some(bus) = &mut self.engine.bus else { return };
        let outcome = bus.drive(&mut self.io);
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.follow_bus(&mut hands, outcome);
    }

    /// Decodes what has arrived on a connection.
    fn receive(&mut self, socket: SocketId, chunk: Chunk) {
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

    fn is_query_too_long(&mut self, index: u32) -> bool {
        let limit = self.engine.hot.query_buffer_limit_bytes;
        self.engine.connection(index).is_some_and(|connection| connection.query_bytes() as u64 > limit)
    }

    fn close_for_input(&mut self, index: u32) {
        if let Some(connection) = self.engine.connection(index) {
            let (id, address) = (connection.client.id, connection.client.address.clone());
            self.engine
                .process
                .log
                .warning(format_args!("Closing client that reached max query buffer length: id={id} addr={address}"));
        }
        self.close(index);
    }

    fn decode_chunk(&mut self, index: u32, chunk: Chunk) {
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

    fn decode_tail(&mut self, index: u32) {
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
    fn run_and_look_at_clock(&mut self, index: u32) {
        self.run_batch();
        self.engine.look_at_clock();
        if self.engine.is_late {
            self.engine.hold(&mut self.io.sockets, index);
        }
    }

    /// Runs the decoded requests of this turn, in their order.
    pub(crate) fn run_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        self.prefetch();
        self.engine.meter.begin();
        let mut next = 0;
        while next < self.batch.frames.len() {
            // A panic in a command is laid at the door of whoever sent it, if nothing can have been half written.
            let outcome = catch_unwind(AssertUnwindSafe(|| self.run_frames(&mut next)));
            if outcome.is_err() {
                self.survive_panic();
                next += 1;
            }
        }
        self.engine.meter.flush();
        self.batch.clear();
        self.return_tails();
    }

    fn run_frames(&mut self, next: &mut usize) {
        while let Some(frame) = self.batch.frames.get(*next) {
            let args = self.batch.args(frame, &self.io.input);
            let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
            let index = frame.connection;
            let done = match frame.failure {
                Some(failure) => self.engine.fail(&mut hands, index, failure),
                None => self.engine.run(&mut hands, index, frame.spec, args, frame.first_key),
            };
            if done == Done::NotYet {
                self.engine.stall(&mut hands, index, frame.spec, args, frame.failure);
            }
            self.bound_output(index);
            *next += 1;
            // The frames behind a QUIT are passed over, so the last one of the connection is early enough.
            let goes_on = self.batch.frames.get(*next).is_some_and(|frame| frame.connection == index);
            if !goes_on && self.engine.connection(index).is_some_and(|connection| connection.client.closing) {
                self.close_if_finished(index);
            }
        }
    }

    /// Brings what the batch will read into the cache.
    fn prefetch(&mut self) {
        let Some(shard) = self.engine.lending.desk.home() else { return };
        if self.batch.frames.len() < 2 {
            return;
        }
        let map = &self.engine.map;
        let ours = |&(slot, _): &(_, u64)| map.owner(slot) == self.engine.core;
        self.batch.keys.clear();
        self.batch.keys.extend(self.batch.frames.iter().filter_map(|frame| frame.first_key).filter(ours));
        let first = self.batch.frames[0].connection as usize;
        let db = self.engine.connections[first].as_ref().map_or(0, |connection| connection.client.db);
        shard.prefetch(db, &self.batch.keys);
    }

    /// After a panic in a read its connection is closed; after one in a write, or while shards were in hand, nobody
    /// knows what was done, and the process stops before it can answer wrongly.
    fn survive_panic(&mut self) {
        let Some((index, spec)) = self.engine.running.take() else { std::process::abort() };
        let name = spec.map_or("unknown", |spec| spec.full_name);
        // A transaction may write.
        let is_transaction = |spec: &Spec| matches!(spec.reach, Reach::Transaction(_));
        let reads_only = spec.is_some_and(|spec| !spec.flags.contains(Flags::WRITE) && !is_transaction(spec));
        self.engine.process.log.warning(format_args!("A bug was met while running '{name}'"));
        if !reads_only {
            std::process::abort();
        }
        self.engine.scratch = Vec::new();
        self.close(index);
    }

    /// Gives tails back to their connections, without what was decoded of them.
    fn return_tails(&mut self) {
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

    /// Sends early if the turn has written much, and closes a client that lets too much pile up.
    #[inline]
    fn bound_output(&mut self, index: u32) {
        if self.io.sockets.turn_bytes() > TURN_BYTES_MAX {
            self.io.send_now();
            self.engine.meter.begin();
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

    fn enforce_hard_limit(&mut self, index: u32) {
        let Some(connection) = self.engine.connections[index as usize].as_deref() else { return };
        let hard = match self.engine.output_limit(&connection.client).hard_bytes {
            _ if !connection.client.authenticated => UNAUTHENTICATED_OUTPUT_BYTES_MAX,
            0 => return,
            hard => hard,
        };
        let Some(pending) = self.pending_output(index) else { return };
        if pending > hard {
            // What this turn wrote may yet fit into the kernel's buffers.
            self.io.send_now();
            if self.pending_output(index).is_some_and(|pending| pending > hard) {
                self.close_for_output(index);
            }
        }
    }

    /// Lets out what clients were told, and closes those who let too much of it pile up.
    fn settle_heard(&mut self) {
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
            self.io.send_now();
            self.engine.meter.begin();
        }
        for index in told {
            if self.engine.connection(index).is_some_and(|connection| connection.is_overrun) {
                self.close_for_output(index);
            } else {
                self.enforce_hard_limit(index);
            }
        }
    }

    fn pending_output(&mut self, index: u32) -> Option<u64> {
        let connection = self.engine.connections[index as usize].as_deref()?;
        Some((self.io.sockets.pending_bytes(connection.socket) + connection.pipeline.kept_bytes()) as u64)
    }

    fn close_for_output(&mut self, index: u32) {
        if let Some(connection) = self.engine.connection(index) {
            let (id, address) = (connection.client.id, connection.client.address.clone());
            self.engine
                .process
                .log
                .warning(format_args!("Client id={id} addr={address} closed for overcoming of output buffer limits."));
        }
        self.close(index);
    }

    /// Runs what waited for other cores, or for this turn: of at least one connection, however late it is. Those that
    /// get nothing now are the first of the next turn.
    fn resume_stalled(&mut self) {
        self.engine.has_released = false;
        if self.engine.stalled.is_empty() {
            return;
        }
        self.engine.is_late = false;
        let mut stalled = std::mem::take(&mut self.engine.stalled).into_iter();
        for index in stalled.by_ref() {
            self.resume(index);
            self.engine.look_at_clock();
            if self.engine.is_late {
                break;
            }
        }
        self.engine.stalled.splice(..0, stalled);
    }

    fn resume(&mut self, index: u32) {
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.meter.begin();
        let goes_on = self.engine.resume(&mut hands, index);
        self.engine.meter.flush();
        self.bound_output(index);
        if goes_on {
            // Also when the peer has closed its side: what it sent before counts.
            self.decode_tail(index);
            self.run_batch();
            self.close_if_finished(index);
        }
    }

    /// Takes what other cores have sent, in the order that keeps loans fair (`slotmesh_shard::Desk`): replies and shards;
    /// then what waited here; then requests, those of the core behind the one that was last lent to first.
    fn exchange_mail(&mut self) {
        for core in self.io.mail.peers() {
            let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
            self.engine.take_replies(&mut hands, core);
        }
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.take_arrivals(&mut hands);
        self.engine.send_departed(&mut hands);
        self.engine.post.retry(hands.mail);
        self.look_at_answered();
        self.resume_stalled();
        let cores = self.io.mail.peers().count() + 1;
        let first = self.engine.lending.last_served + 1;
        let own = usize::from(self.engine.core);
        for core in (first..first + cores).map(|core| core % cores).filter(|&core| core != own) {
            self.serve(core);
        }
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.grant_loans(&mut hands);
        self.engine.post.retry(hands.mail);
        self.look_at_answered();
    }

    /// Serves the requests of one core.
    fn serve(&mut self, core: usize) {
        loop {
            let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
            let Some(served) = self.engine.serve(&mut hands, core) else { return };
            self.stopping |= served.stop && self.engine.process.is_stopping();
            if let Some(bus) = &mut self.engine.bus {
                served.bus.into_iter().for_each(|mail| bus.take_mail(core as u16, mail));
            }
            for (socket, unix_socket) in served.connections {
                crate::listener::adopt(&mut self.io, &mut self.engine, socket, unix_socket);
            }
            if self.engine.heard.bytes > TURN_BYTES_MAX {
                self.settle_heard();
            }
            self.engine.look_at_clock();
            if self.engine.is_late {
                return;
            }
        }
    }

    /// Looks at the connections that got replies otherwise than by their own requests.
    fn look_at_answered(&mut self) {
        for index in std::mem::take(&mut self.engine.killed) {
            self.close(index);
        }
        for index in std::mem::take(&mut self.engine.answered) {
            self.bound_output(index);
            let has_left =
                self.engine.connection(index).is_some_and(|connection| connection.ended && connection.wait.is_some());
            if has_left {
                self.close(index);
            } else {
                self.close_if_finished(index);
            }
        }
    }

    /// Active expiry, idle clients, statistics; says how long the next turn may wait.
    fn keep_house(&mut self) -> Wait {
        let monotonic = self.engine.monotonic;
        let expires = self.engine.process.expires_actively.load(std::sync::atomic::Ordering::Relaxed);
        let effort = if expires && self.engine.pause.is_none() && !self.engine.is_replica() {
            self.engine.hot.active_expire_effort as u8
        } else {
            0
        };
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.refuse_shared_waits(&mut hands);
        self.engine.end_overdue_waits(&mut hands);
        let walks_on = self.engine.walk_drills(&mut hands);
        self.look_at_answered();
        let Engine { lending, meter, .. } = &mut self.engine;
        let expiry = lending.home().and_then(|shard| meter.housekeep(shard, monotonic, effort));
        if monotonic.0 >= self.next_cron {
            self.next_cron = monotonic.0 + CRON_NANOS;
            self.check_clients();
            self.node_port.retry(&mut self.io);
            if let Some(bus) = &mut self.engine.bus {
                bus.retry(&mut self.io);
            }
            if let Some(dealer) = &mut self.dealer {
                dealer.retry(&mut self.io);
                self.engine.process.measure(monotonic);
            }
        }
        let engine = &mut self.engine;
        (engine.counters.commands, engine.counters.errors) = (engine.meter.commands, engine.meter.errors);
        engine.counters.expiry_nanos = engine.meter.expiry_nanos;
        let board = &engine.process.boards[usize::from(engine.core)];
        board.publish(self.io.stats(), engine.counters, engine.buffers);
        // A connection counts until its descriptor is closed, or clients that never read their last replies would be
        // many more than `maxclients`.
        let closed = self.io.sockets.take_closed() as u64;
        if closed > 0 {
            board.clients.fetch_sub(closed, std::sync::atomic::Ordering::Relaxed);
        }
        engine.publish();
        let next = expiry.map_or(self.next_cron, |expiry| expiry.0.min(self.next_cron));
        let next = engine.deadlines.first().map_or(next, |deadline| deadline.min(next));
        let next = engine.pause_ends.map_or(next, |end| end.min(next));
        let next = if engine.end_turn(&mut self.io.sockets) { next.min(monotonic.0 + CORKED_NANOS_MAX) } else { next };
        let has_more = engine.is_late && !engine.stalled.is_empty()
            || !engine.stalled.is_empty() && engine.has_released
            || engine.lending.desk.has_grant()
            || walks_on
            || engine.owes_effects();
        // Nobody tells when a lane has room again.
        let next = if engine.post.waits() { next.min(monotonic.0 + NO_ROOM_NANOS) } else { next };
        let bus_waits = engine.bus.as_ref().is_some_and(|bus| bus.waits());
        let next = if bus_waits { next.min(monotonic.0 + BUS_NO_ROOM_NANOS) } else { next };
        let next = engine.bus.as_mut().map_or(next, |bus| bus.deadline().min(next));
        let (next, walks_images) = match engine.replication_deadline() {
            Some((deadline, walks)) => (deadline.min(next), walks),
            None => (next, false),
        };
        if has_more || walks_images || next <= monotonic.0 { Wait::No } else { Wait::Until(next) }
    }

    /// Closes idle clients and those that have been slow for too long, and counts the bytes that clients hold.
    fn check_clients(&mut self) {
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
                (client.is_blocked, client.is_subscriber(), client.is_attached());
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

    fn enforce_soft_limit(&mut self, index: u32, pending: u64) {
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

    /// Closes a connection that has said and heard everything.
    fn close_if_finished(&mut self, index: u32) {
        let Some(connection) = self.engine.connection(index) else { return };
        if connection.is_finished() {
            let socket = connection.socket;
            self.forget(index);
            self.io.sockets.close_when_sent(socket);
        }
    }

    /// Closes a connection at once.
    fn close(&mut self, index: u32) {
        if let Some(connection) = self.engine.connection(index) {
            let socket = connection.socket;
            self.forget(index);
            self.io.sockets.close(socket);
        }
    }

    fn forget(&mut self, index: u32) {
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.leave_shards(&mut hands, index);
        self.engine.leave_channels(index);
        self.engine.leave_replication(index);
        self.engine.forget_postponed(index);
        self.engine.connections[index as usize] = None;
    }
}

fn decode_limits(connection: &Connection, bulk_bytes_max: u64) -> DecodeLimits {
    DecodeLimits {
        bulk_bytes_max: i64::try_from(bulk_bytes_max).unwrap_or(i64::MAX),
        authenticated: connection.client.authenticated,
    }
}

#[cfg(test)]
mod tests;
