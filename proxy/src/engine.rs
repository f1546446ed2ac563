//! What one core does with requests: local execution, hops to other cores, gathering. The data loop calls it; it
//! writes to sockets and mailboxes through [`Hands`].

use crate::batch;
use crate::blocking::Deadlines;
use crate::board::{BufferBytes, Counters};
use crate::bus::Bus;
use crate::client::Connection;
use crate::drill::Drill;
use crate::exchange::Service;
use crate::fence::Fence;
use crate::handover::Handover;
use crate::hop::{Parcel, ReturnAddress};
use crate::lending::Lending;
use crate::membership::{Unsettled, at_node, key_count};
use crate::meter::{Meter, Sender};
use crate::monitor::Watching;
use crate::persistence::{Persistence, Promises};
use crate::post::Post;
use crate::process::{NodeView, Process, Seat};
use crate::pubsub::Heard;
use crate::remote::Remote;
use crate::replication::{Replication, StreamErrands};
use crate::shutdown::Leave;
use crate::tracking::Tracked;
use crate::walk_time::WalkTime;
use slotmesh_base::limits::{PENDING_EVERYWHERE_MAX, TURN_NANOS_MAX};
use slotmesh_base::{Monotonic, ReplyError, Slot, UnixMillis};
use slotmesh_command::{ConnectionCommand, Flags, Reach, Spec, ValueLimits, first_key_index, resolve};
use slotmesh_conf::{Hot, Settings};
use slotmesh_io::{Mail, SocketId, Sockets, clock};
use slotmesh_keyspace::{Access, AccessPolicy, Key, KeyHasher, PackedLimit};
use slotmesh_resp::{Args, Reply};
use slotmesh_shard::{
    Context, NodeAction, PauseScope, Placement, Shard, SlotMap, Standing, Subscriptions, admit, admit_at_node, place,
    run_connection_command, run_node_command,
};
use std::sync::Arc;

/// What the engine writes with; lent by the data loop.
pub(crate) struct Hands<'a> {
    pub(crate) sockets: &'a mut Sockets,
    pub(crate) mail: &'a mut Mail<Parcel>,
}

/// Whether a request was dealt with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Done {
    /// It was.
    Yes,
    /// It must wait until other cores have answered or have room.
    NotYet,
}

/// The requests' side of one core.
pub(crate) struct Engine {
    pub(crate) core: u16,
    pub(crate) lending: Lending,
    pub(crate) post: Post,
    pub(crate) deadlines: Deadlines,
    pub(crate) drills: Vec<Drill>,
    /// Connections that are closed at the end of the turn's requests.
    pub(crate) killed: Vec<u32>,
    /// Whether a request may be one that waits for the end of a pause, or has to be shown.
    pub(crate) looks_twice: bool,
    /// Who of our clients sees all commands, and whether somebody sees ours.
    pub(crate) watching: Watching,
    /// Which commands wait for the end of a pause, if any do.
    pub(crate) pause: Option<PauseScope>,
    /// When that ends, on the monotonic clock in nanoseconds.
    pub(crate) pause_ends: Option<u64>,
    /// Connections that wait for that, maybe some that are no longer.
    pub(crate) postponed: Vec<u32>,
    /// Cores whose shards have put connections in line that are gone.
    pub(crate) departed: Vec<(u16, ReturnAddress)>,
    pub(crate) process: Arc<Process>,
    /// The place of our shard in its cluster, if it is a node.
    pub(crate) seat: Option<Seat>,
    /// Its cluster bus, then.
    pub(crate) bus: Option<Box<Bus>>,
    /// How far it is with handing its slots over before the process stops.
    pub(crate) handover: Handover,
    /// What we do for the end of the process.
    pub(crate) leave: Leave,
    /// What its cluster has changed and was not followed to the end.
    pub(crate) unsettled: Unsettled,
    /// The replication of the stream that we own, if we own one.
    pub(crate) replication: Option<Box<Replication>>,
    /// The data on the disk of the stream that we own, if we own one.
    pub(crate) persistence: Option<Box<Persistence>>,
    /// What we do for the stream, whosever it is.
    pub(crate) errands: StreamErrands,
    /// What this turn has left for walks over snapshots.
    pub(crate) walk_time: WalkTime,
    /// Our gateway to other hosts, if the process is part of a cluster.
    pub(crate) remote: Option<Box<Remote>>,
    /// What is promised of the disk, and the replies that wait for it.
    pub(crate) promises: Promises,
    pub(crate) fence: Fence,
    /// What replication forbids our clients.
    pub(crate) standing: Standing,
    /// Which core owns which slot.
    pub(crate) map: Arc<SlotMap>,
    pub(crate) hasher: KeyHasher,
    pub(crate) settings: Arc<Settings>,
    pub(crate) settings_version: u64,
    pub(crate) hot: Hot,
    /// What commands are bounded by, as far as settings say it.
    limits: ValueLimits,
    pub(crate) connections: Vec<Option<Box<Connection>>>,
    /// Connections that wait for other cores.
    pub(crate) stalled: Vec<u32>,
    /// Whether something has happened for which they may have waited.
    pub(crate) has_released: bool,
    pub(crate) now: UnixMillis,
    pub(crate) monotonic: Monotonic,
    /// Whether this turn has lasted so long that it takes up nothing more.
    pub(crate) is_late: bool,
    pub(crate) counters: Counters,
    pub(crate) meter: Meter,
    pub(crate) buffers: BufferBytes,
    /// Requests that other cores have not answered.
    pub(crate) outstanding: usize,
    /// Whether the shard changed or was read since its board was written.
    pub(crate) shard_used: bool,
    /// Number of the turn.
    pub(crate) turn: u64,
    /// Connections whose output is corked, maybe some that are no longer.
    pub(crate) corked: Vec<u32>,
    /// Room for replies that do not go straight out.
    pub(crate) scratch: Vec<u8>,
    /// Connections that got replies of other cores in this turn.
    pub(crate) answered: Vec<u32>,
    pub(crate) service: Service,
    /// What our clients hear, and what they were told in this turn.
    pub(crate) subscriptions: Subscriptions,
    pub(crate) heard: Heard,
    /// Those of our clients that are tracked.
    pub(crate) tracked: Tracked,
    /// What is running, so that a panic can be laid at its door.
    pub(crate) running: Option<(u32, Option<&'static Spec>)>,
}

impl Engine {
    pub(crate) fn new(
        core: u16,
        shard: Option<Box<Shard>>,
        process: Arc<Process>,
        hasher: KeyHasher,
        settings: Arc<Settings>,
    ) -> Self {
        let hot = settings.hot();
        Self {
            meter: Meter::new(process.clone(), core, &hot),
            core,
            lending: Lending::new(core, shard),
            post: Post::default(),
            deadlines: Deadlines::default(),
            drills: Vec::new(),
            departed: Vec::new(),
            killed: Vec::new(),
            looks_twice: false,
            watching: Watching::default(),
            pause: None,
            pause_ends: None,
            postponed: Vec::new(),
            hasher,
            settings_version: process.settings_version(),
            subscriptions: Subscriptions::new(core, process.audience.clone()),
            heard: Heard::default(),
            tracked: Tracked::default(),
            seat: None,
            bus: None,
            replication: None,
            persistence: None,
            errands: StreamErrands::default(),
            walk_time: WalkTime::new(process.ticks),
            promises: Promises::new(&settings),
            fence: Fence::default(),
            standing: Standing::default(),
            remote: process.is_clustered().then(|| Box::new(Remote::new(&settings))),
            handover: Handover::default(),
            leave: Leave::default(),
            unsettled: Unsettled::default(),
            map: process.map(),
            process,
            limits: limits_of(&hot),
            hot,
            settings,
            connections: Vec::new(),
            stalled: Vec::new(),
            has_released: false,
            now: UnixMillis::default(),
            monotonic: Monotonic::default(),
            is_late: false,
            counters: Counters::default(),
            buffers: BufferBytes::default(),
            outstanding: 0,
            shard_used: false,
            turn: 0,
            corked: Vec::new(),
            scratch: Vec::new(),
            answered: Vec::new(),
            service: Service::default(),
            running: None,
        }
    }

    pub(crate) fn connection(&mut self, index: u32) -> Option<&mut Connection> {
        self.connections.get_mut(index as usize)?.as_deref_mut()
    }

    #[inline]
    pub(crate) fn hot_limits(&self) -> ValueLimits {
        let mut limits = self.limits;
        limits.access.keeps_expired = self.pause.is_some() || self.is_replica();
        limits
    }

    /// Whether our shard holds what a master says.
    #[inline]
    pub(crate) fn is_replica(&self) -> bool {
        self.replication.as_ref().map_or(self.errands.is_replica, |replication| replication.is_replica())
    }

    /// Whether a shard of the process does not have its data yet.
    #[inline]
    pub(crate) fn is_loading(&self) -> bool {
        self.process.disk.is_loading()
    }

    /// Finds out whether the turn has lasted too long.
    pub(crate) fn look_at_clock(&mut self) {
        self.is_late = clock::monotonic_nanos() - self.monotonic.0 >= TURN_NANOS_MAX;
    }

    /// Takes over settings that have changed.
    pub(crate) fn refresh_settings(&mut self) {
        let version = self.process.settings_version();
        if version != self.settings_version {
            self.settings = self.process.settings();
            self.hot = self.settings.hot();
            self.limits = limits_of(&self.hot);
            self.promises = Promises::new(&self.settings);
            self.settings_version = version;
            self.meter.set(&self.hot);
            let map = self.process.map();
            if !Arc::ptr_eq(&map, &self.map) {
                self.unsettled.note_map();
            }
            self.map = map;
            self.refresh_remote();
            self.refresh_bus();
            if let Some(replication) = &mut self.replication {
                replication.set_settings(&self.settings);
            }
            if let Some(persistence) = &mut self.persistence {
                persistence.set_settings(&self.settings);
            }
        }
    }

    /// Runs one request of a connection, or sends it where it runs. `first_key` is what the decoder has hashed.
    #[inline]
    pub(crate) fn run(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
        if self.looks_twice || connection.client.is_special() {
            return self.run_specially(hands, index, spec, args, first_key);
        }
        self.run_plainly(hands, index, spec, args, first_key)
    }

    /// Runs one request of a connection, or sends it where it runs. `first_key` is what the decoder has hashed.
    #[inline(always)]
    pub(crate) fn run_plainly(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        match self.admit_request(hands, index, spec, args, first_key) {
            Ok(spec) => self.run_admitted(hands, index, spec, args, first_key),
            Err(done) => done,
        }
    }

    /// The row of a request that may be run now; or whether it was refused, or must wait.
    #[inline(always)]
    pub(crate) fn admit_request(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Result<&'static Spec, Done> {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Err(Done::Yes) };
        if connection.client.closing {
            return Err(Done::Yes);
        }
        let pending = connection.pipeline.waiting();
        let may_last = spec.is_some_and(|spec| matches!(spec.reach, Reach::Shard(_)));
        if connection.stalled
            || connection.pipeline.is_full()
            || may_last && (self.is_late || pending >= PENDING_EVERYWHERE_MAX)
        {
            return Err(Done::NotYet);
        }
        self.running = Some((index, spec));
        let standing = match self.remote.is_some() && self.standing != Standing::default() {
            true => self.standing_for(index, spec.or_else(|| resolve(args).ok()).map(|spec| (spec, args))),
            false => self.standing,
        };
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Err(Done::Yes) };
        let client = &mut connection.client;
        let mut refusal = Reply::new(&mut self.scratch, client.protocol);
        let admitted = match &self.seat {
            Some(seat) if client.is_at_node => {
                let slot = first_key.map(|(slot, _)| slot);
                admit_at_node(client, spec, args, slot, seat.member(), self.standing, &mut refusal)
            }
            _ => admit(client, spec, args, standing, &mut refusal),
        };
        let Some(spec) = admitted else { return Err(self.refuse(hands, index)) };
        client.active_at = self.now;
        Ok(spec)
    }

    /// Runs an admitted request, or sends it where it runs.
    #[inline(always)]
    pub(crate) fn run_admitted(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        if self.remote.is_some()
            && self.connections[index as usize].as_deref().is_some_and(|connection| !connection.client.is_at_node)
            && let Some(done) = self.run_elsewhere(hands, index, spec, args, first_key)
        {
            return done;
        }
        self.running = Some((index, Some(spec)));
        let done = match spec.reach {
            Reach::Slot(_) | Reach::Shard(_) => self.run_on_shards(hands, index, spec, args, first_key),
            Reach::Transaction(command) => self.run_transaction(hands, index, spec, command, args),
            Reach::PubSub(command) => self.run_pubsub(hands, index, spec, command, args),
            Reach::Connection(_) | Reach::Node(_) | Reach::Container => self.run_locally(hands, index, spec, args),
        };
        if matches!(spec.reach, Reach::Shard(_)) {
            self.look_at_clock();
        }
        done
    }

    /// Runs an admitted command where its keys are.
    #[inline(always)]
    fn run_on_shards(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        let hashed = first_key.or_else(|| batch::first_key(spec, args, &self.hasher));
        let key = hashed.zip(first_key_index(spec, args.len()));
        let key = key.map(|((slot, hash), at)| Key { bytes: args.at(at), slot, hash });
        // A client at our shard's own port hears of no other shard.
        let placement = match self.connections[index as usize].as_deref() {
            Some(connection) if connection.client.is_at_node => Placement::Core(self.core),
            _ => place(spec, args, key.as_ref(), &self.map),
        };
        if spec.flags.contains(Flags::BLOCKING) {
            return self.run_blocking(hands, index, spec, args, key, placement);
        }
        match placement {
            Placement::Core(core) if core == self.core => self.run_here(hands, index, spec, args, key),
            Placement::Core(core) => self.send_whole(hands, index, core, args, hashed),
            Placement::Split => self.run_split(hands, index, spec, args),
            Placement::Everywhere => self.run_everywhere(hands, index, spec, args),
            Placement::Loan => self.run_loaned(hands, index, spec, args),
        }
    }

    /// Runs a command on the connection or the node.
    fn run_locally(&mut self, hands: &mut Hands<'_>, index: u32, spec: &'static Spec, args: Args<'_>) -> Done {
        self.publish();
        if matches!(spec.reach, Reach::Connection(ConnectionCommand::ClientTracking)) && self.lending.desk.is_away() {
            return Done::NotYet;
        }
        // INFO counts what was done before it.
        self.meter.flush();
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let client = &mut connection.client;
        let shard = self.lending.desk.home().map(|shard| &**shard);
        let at_node = match client.is_at_node {
            true => at_node(self.core, self.seat.as_ref(), self.bus.as_deref(), shard, key_count(shard)),
            false => None,
        };
        let replication = self.replication.as_deref().map(|replication| (replication, self.monotonic));
        let node = NodeView { process: &self.process, settings: &self.settings, node: at_node, replication };
        let mut reply = Reply::new(&mut self.scratch, client.protocol);
        match spec.reach {
            Reach::Connection(command) => {
                let tracking = client.tracking.clone();
                run_connection_command(command, client, args, &node, self.now, &mut reply);
                match command {
                    ConnectionCommand::Reset => {
                        self.end_watch(hands, index);
                        self.leave_channels(index);
                        self.note_tracking(index);
                    }
                    ConnectionCommand::ClientTracking => {
                        self.count(index, spec, args);
                        return self.follow_tracking(hands, index, tracking);
                    }
                    _ => {}
                }
            }
            Reach::Node(command) => match run_node_command(command, client, args, &node, self.now, &mut reply) {
                NodeAction::Done => {
                    self.follow_order();
                    self.refresh_settings();
                    self.meter.enter_span();
                }
                asking => {
                    let done = self.ask_others(hands, index, args, asking);
                    if done == Done::Yes
                        && let Some(connection) = self.connections[index as usize].as_deref()
                    {
                        self.meter.end(spec, args, Sender::Ours(&connection.client));
                    }
                    return done;
                }
            },
            Reach::Container => reply.error(ReplyError::WrongArity(spec.full_name)),
            Reach::Slot(_) | Reach::Shard(_) | Reach::Transaction(_) | Reach::PubSub(_) => {
                unreachable!("these have their own ways")
            }
        }
        self.reply_and_count(hands, index, spec, args)
    }

    /// Does what a node command asks of all cores.
    fn ask_others(&mut self, hands: &mut Hands<'_>, index: u32, args: Args<'_>, action: NodeAction) -> Done {
        match action {
            NodeAction::Done => Done::Yes,
            NodeAction::DrillSnapshot { copies_bytes_max } => self.drill_snapshot(hands, index, copies_bytes_max),
            NodeAction::KillClients { filter, counts } => self.kill_anywhere(hands, index, &filter, counts),
            NodeAction::Shutdown(wish) => self.shut_down_for(hands, index, wish),
            NodeAction::Reload(what) => self.reload(hands, index, what),
            NodeAction::AbortShutdown => {
                self.wake_all(hands);
                self.reply_scratch(hands, index)
            }
            NodeAction::Replicate(order) => self.replicate(hands, index, order),
            NodeAction::Save { waits } => self.save(hands, index, waits),
            NodeAction::Monitor => self.start_monitor(hands, index),
            NodeAction::Refresh => self.refresh_everywhere(hands, index),
            NodeAction::Inspect(what) => self.inspect_all(hands, index, what, args),
            NodeAction::Unblock { client, with_error } => self.unblock_anywhere(hands, index, client, with_error),
            NodeAction::ListClients { filter, request_bytes } => {
                self.list_clients(hands, index, &filter, request_bytes)
            }
        }
    }

    /// Runs a command on our own shard.
    #[inline(always)]
    fn run_here(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        first_key: Option<Key<'_>>,
    ) -> Done {
        let mut limits = self.hot_limits();
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        limits.access.touches = !connection.client.no_touch;
        let (db, protocol) = (connection.client.db, connection.client.protocol);
        let context = Context {
            db,
            protocol,
            now: self.now,
            first_key,
            limits,
            partial: false,
            is_node: connection.client.is_at_node,
            may_block: false,
            tracked: connection.client.tracked(),
        };
        let Some(shard) = self.lending.home() else { return Done::NotYet };
        self.shard_used = true;
        if !connection.pipeline.is_empty() {
            let mut bytes = 0;
            connection.pipeline.append(|output| {
                let start = output.len();
                shard.execute(spec, args, &context, output);
                bytes = output.len() - start;
                if self.meter.note_reply(&output[start..]) {
                    self.meter.note_failed(spec);
                }
            });
            self.meter.end_brief(spec, args, bytes, Sender::Ours(&connection.client));
            let has_letters = shard.has_letters();
            self.release(hands, index);
            if has_letters {
                self.post_letters(hands);
            }
            return Done::Yes;
        }
        let Some(output) = hands.sockets.output(connection.socket) else { return Done::Yes };
        let start = output.len();
        shard.execute(spec, args, &context, output);
        if self.meter.note_reply(&output[start..]) {
            self.meter.note_failed(spec);
        }
        self.meter.end_brief(spec, args, output.len() - start, Sender::Ours(&connection.client));
        hands.sockets.commit(connection.socket);
        if shard.has_letters() {
            self.post_letters(hands);
        }
        Done::Yes
    }

    /// Writes our board.
    pub(crate) fn publish(&mut self) {
        let board = &self.process.boards[usize::from(self.core)];
        if self.shard_used
            && let Some(shard) = self.lending.desk.home()
        {
            self.shard_used = false;
            board.publish_shard(shard, self.now);
        }
    }

    /// Number of our connections' places; a connection's index lies below it.
    pub(crate) fn adopt(&mut self, id: SocketId, connection: Connection) {
        let place = id.index as usize;
        if self.connections.len() <= place {
            self.connections.resize_with(place + 1, || None);
        }
        self.connections[place] = Some(Box::new(connection));
    }
}

/// What settings bound commands by.
fn limits_of(hot: &Hot) -> ValueLimits {
    let policy = match hot.counts_accesses {
        true => AccessPolicy::Frequency { log_factor: hot.lfu_log_factor, decay_minutes: hot.lfu_decay_time_minutes },
        false => AccessPolicy::Recency,
    };
    ValueLimits {
        string_bytes_max: hot.proto_max_bulk_len_bytes as usize,
        list_packed: PackedLimit::new(hot.list_max_listpack_size),
        access: Access { policy, touches: true, keeps_expired: false },
        shares_integers: hot.shares_integers,
        compresses: hot.compresses,
    }
}
