//! One core: a turn takes what has arrived, runs it, and hands what it wrote to the kernel and the other cores.

mod input;
mod output;

use crate::batch::Batch;
use crate::bus::{BELL, BUS};
use crate::engine::{Done, Engine, Hands};
use crate::hop::Parcel;
use crate::listener::{Dealer, NODE};
use crate::node_port::NodePort;
use crate::persistence::{LOGS, SAVES};
use crate::replication::MASTER_BELL;
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_command::{Flags, Reach, Spec};
use slotmesh_io::{Chunk, DataLoop, Event, SocketId, Wait, clock};
use slotmesh_shard::LinkId;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of replies that a turn gathers before it sends some of them early.
pub(crate) const TURN_BYTES_MAX: usize = 4 << 20;
/// Longest that a turn waits while replies are kept back because others are on their way, in nanoseconds.
const CORKED_NANOS_MAX: u64 = 100_000;
/// Time after which it is tried again to send what has found no room, in nanoseconds.
const NO_ROOM_NANOS: u64 = 50_000;
/// The same for mail of the bus, which is in no hurry, and may wait for long where a sibling hangs.
const BUS_NO_ROOM_NANOS: u64 = 2_000_000;
/// Longest that the end of the process waits for its append-only file, and a turn of that, in nanoseconds.
const ENDING_NANOS_MAX: u64 = 10_000_000_000;
const ENDING_TURN_NANOS: u64 = 1_000_000;
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
            self.engine.walk_time.begin_turn();
            self.engine.refresh_settings();
            if let Some(dealer) = &mut self.dealer
                && let Some(listeners) = self.engine.process.doors.take()
            {
                dealer.follow(&mut self.io, listeners);
            }
            self.engine.follow_view(&mut Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail });
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
            self.engine.drive_persistence(&mut self.io);
            self.engine.drive_log(&mut self.io);
            self.engine.drive_shutdown(&mut self.io);
            self.engine.pass_slots_on(&mut self.io);
            self.drive_bus();
            self.look_at_answered();
            self.settle_heard();
            wait = self.keep_house();
            // What keys that expired have told.
            self.settle_heard();
            self.engine.fence(&mut self.io.sockets);
            if self.engine.has_released && !self.engine.stalled.is_empty() {
                wait = Wait::No;
            }
            self.engine.counters.busy_nanos += self.engine.process.ticks.nanos_since(begin);
        }
        self.io.stop_listening();
        if let Some(persistence) = &mut self.engine.persistence {
            persistence.leave();
        }
        self.end_log().await;
        // What was written in this turn still goes out.
        self.io.turn(Wait::No, &mut events).await;
    }

    /// Has all that was acknowledged on the disk, before the process ends: what other cores' shards have done as well.
    async fn end_log(&mut self) {
        let (patience, mut events) = (clock::monotonic_nanos() + ENDING_NANOS_MAX, Vec::new());
        let owns_log = self.engine.replication.is_some();
        let is_shared = !self.engine.process.is_clustered();
        if !owns_log {
            while self.engine.post.waits() && clock::monotonic_nanos() < patience {
                self.engine.post.retry(&mut self.io.mail);
                self.io.turn(Wait::Until(clock::monotonic_nanos() + ENDING_TURN_NANOS), &mut events).await;
                events.clear();
            }
            return self.engine.process.note_left();
        }
        loop {
            let is_alone = !is_shared || self.engine.process.is_last();
            let is_quiet = self.engine.settle_log(&mut self.io);
            if is_alone && is_quiet || clock::monotonic_nanos() > patience {
                break;
            }
            self.io.turn(Wait::Until(clock::monotonic_nanos() + ENDING_TURN_NANOS), &mut events).await;
            for event in events.drain(..) {
                if let Event::File(done) = event
                    && done.token >> 24 == LOGS
                {
                    self.engine.hear_log(done);
                }
            }
        }
        self.engine.end_log();
        self.engine.fence(&mut self.io.sockets);
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
                match self.engine.link_of(socket) {
                    Some(link) => self.hear_link(link, chunk),
                    None => self.receive(socket, chunk),
                }
            }
            Event::Ended { socket, .. } if self.engine.link_of(socket).is_some() => {
                self.engine.lose_link(&mut Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail }, socket);
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
            Event::File(done) if done.token >> 24 == LOGS => self.engine.hear_log(done),
            Event::File(done) => {
                if let Some(persistence) = &mut self.engine.persistence
                    && done.token >> 24 == SAVES
                {
                    persistence.hear(done);
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

    fn hear_link(&mut self, link: LinkId, chunk: Chunk) {
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.hear_link(&mut hands, link, self.io.input.read(chunk));
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
        self.engine.refresh_settings();
        self.engine.follow_view(&mut hands);
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
        self.engine.drive_links(&mut hands);
        self.look_at_answered();
        let Engine { lending, meter, .. } = &mut self.engine;
        let expiry = lending.home().and_then(|shard| meter.housekeep(shard, monotonic, effort));
        let mut hands = Hands { sockets: &mut self.io.sockets, mail: &mut self.io.mail };
        self.engine.keep_tracked(&mut hands);
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
        if let Some(replication) = &engine.replication {
            engine.counters.replication = replication.counts();
        }
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
        let next = engine.remote.as_ref().map_or(next, |remote| remote.deadline().min(next));
        let next = if engine.end_turn(&mut self.io.sockets) { next.min(monotonic.0 + CORKED_NANOS_MAX) } else { next };
        let has_more = engine.is_late && !engine.stalled.is_empty()
            || !engine.stalled.is_empty() && engine.has_released
            || engine.lending.desk.has_grant()
            || walks_on
            || engine.owes_effects()
            || engine.owes_slices();
        // Nobody tells when a lane has room again.
        let next = if engine.post.waits() { next.min(monotonic.0 + NO_ROOM_NANOS) } else { next };
        let bus_waits = engine.bus.as_ref().is_some_and(|bus| bus.waits());
        let next = if bus_waits { next.min(monotonic.0 + BUS_NO_ROOM_NANOS) } else { next };
        let next = engine.bus.as_mut().map_or(next, |bus| bus.deadline().min(next));
        let (next, walks_images) = match engine.replication_deadline() {
            Some((deadline, walks)) => (deadline.min(next), walks),
            None => (next, false),
        };
        let (next, saves_on) = match engine.persistence_deadline() {
            Some((deadline, goes_on)) => (deadline.min(next), goes_on),
            None => (next, false),
        };
        let (next, logs_on) = match engine.log_deadline() {
            Some((deadline, goes_on)) => (deadline.min(next), goes_on),
            None => (next, false),
        };
        let next = engine.shutdown_deadline().map_or(next, |deadline| deadline.0.min(next));
        if has_more || walks_images || saves_on || logs_on || next <= monotonic.0 {
            Wait::No
        } else {
            Wait::Until(next)
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
        self.engine.leave_tracking(index);
        self.engine.connections[index as usize] = None;
    }
}

#[cfg(test)]
mod tests;
