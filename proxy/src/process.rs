//! What all cores of the process share: settings, boards, the number of clients.

use crate::allocator;
use crate::board::Board;
use crate::bus::Bus;
use crate::config_file;
use crate::doors::Doors;
use crate::log::Log;
use crate::monitor::Monitors;
use crate::oom_score::OomScore;
use crate::pauses::{self, Pauses};
use crate::persistence::{DiskBoard, Durability};
use crate::presence;
use crate::replication::{Replication, StreamBoard};
use crate::shutdown::Closing;
use crate::statistics::Statistics;
use crate::supervisor::Supervisor;
use crate::tracking::Roster;
use slotmesh_base::{Monotonic, Slot, UnixMillis};
use slotmesh_cluster::machine::{Actions, Cluster, LinkId, Now};
use slotmesh_cluster::{Member, NodeIndex, Topology};
use slotmesh_command::Spec;
use slotmesh_conf::{Directive, Reason, RewriteError, SetError, Settings, directive, rewrite};
use slotmesh_io::entropy::random_u64;
use slotmesh_io::{Backend, TickClock, clock, process as os};
use slotmesh_keyspace::KeyHasher;
use slotmesh_resp::Args;
use slotmesh_shard::{
    Audience, Census, CommandFacts, CoreFacts, DebugAct, Distribution, LatencyEvent, LatencyMonitor, Node, PauseScope,
    PersistenceFacts, ProcessFacts, Rates, ReplicationFacts, SaveBegin, SaveWish, Shard, SlotMap, SlowClient, SlowLog,
};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};
use std::time::Duration;
use tikv_jemalloc_ctl::{epoch, stats};

/// Who the process is; does not change.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) run_id: String,
    pub(crate) backend: Backend,
    pub(crate) started_at: UnixMillis,
    pub(crate) executable: String,
    pub(crate) config_file: String,
    pub(crate) supervisor: Supervisor,
}

/// What the process listens on, for the log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) tcp: bool,
    pub(crate) unix: bool,
}

/// The place of a shard in its cluster.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub(crate) topology: Arc<Topology>,
    pub(crate) myself: NodeIndex,
}

impl Seat {
    pub(crate) fn member(&self) -> Member<'_> {
        Member { topology: &self.topology, myself: self.myself }
    }
}

/// The process, shared by its cores. Nothing here is touched on the way of a command.
#[derive(Debug)]
pub(crate) struct Process {
    settings: RwLock<Arc<Settings>>,
    /// Rises with every change of the settings.
    version: AtomicU64,
    identity: Identity,
    pub(crate) boards: Vec<Board>,
    /// Which core owns which slot; nodes of a cluster change it.
    map: RwLock<Arc<SlotMap>>,
    is_clustered: bool,
    /// The place of the first shard in its cluster: what cores without a shard know of it.
    first_seat: RwLock<Option<Seat>>,
    pub(crate) log: Arc<Log>,
    pub(crate) doors: Doors,
    pub(crate) oom_score: OomScore,
    next_client: AtomicU64,
    pub(crate) rejected: AtomicU64,
    peak_bytes: AtomicU64,
    meter: Mutex<Meter>,
    /// How far the end of the process is.
    pub(crate) closing: Closing,
    /// Set when the process shall stop.
    stopping: AtomicBool,
    /// When nodes stop to hand their slots over, on the monotonic clock; 0 if they do not.
    handover_until: AtomicU64,
    /// The core whose turn it is.
    handover_turn: AtomicUsize,
    pub(crate) pauses: Pauses,
    pub(crate) monitors: Monitors,
    pub(crate) roster: Roster,
    /// What clients hear.
    pub(crate) audience: Arc<Audience>,
    /// Whether keys that are over are removed though nobody asks for them (DEBUG SET-ACTIVE-EXPIRE).
    pub(crate) expires_actively: AtomicBool,
    pub(crate) statistics: Statistics,
    pub(crate) ticks: TickClock,
    slow_log: Mutex<SlowLog>,
    /// Entries of the slow log whose clients' cores have not signed them.
    unsigned: AtomicUsize,
    latency: Mutex<LatencyMonitor>,
    /// `allocated_bytes` when the first second was over, or somebody asked; 0: not yet.
    startup_bytes: AtomicU64,
    /// How far the disk is behind the shards.
    pub(crate) durability: Durability,
    /// Cores that serve nobody any more.
    left: AtomicUsize,
    /// What is on the disk, and on its way from there and to it.
    pub(crate) disk: DiskBoard,
    /// What the log and whoever watches over us are told when data are served; nothing, once they were.
    announcement: Mutex<Option<Ready>>,
    /// How the stream of the process stands, unless it is part of a cluster.
    pub(crate) stream: StreamBoard,
    /// What the boards showed when CONFIG RESETSTAT came.
    baseline: Mutex<Vec<CoreFacts>>,
}

impl Process {
    pub(crate) fn new(settings: Settings, identity: Identity, boards: Vec<Board>, map: SlotMap, log: Arc<Log>) -> Self {
        let nodes = if map.is_of_cluster() { usize::from(map.shards()) } else { 1 };
        let disk = DiskBoard::new(nodes, identity.started_at.as_secs());
        Self {
            settings: RwLock::new(Arc::new(settings)),
            version: AtomicU64::new(0),
            identity,
            monitors: Monitors::new(boards.len()),
            roster: Roster::new(boards.len()),
            baseline: Mutex::new(vec![CoreFacts::default(); boards.len()]),
            statistics: Statistics::new(boards.len()),
            ticks: TickClock::calibrate(),
            slow_log: Mutex::default(),
            unsigned: AtomicUsize::new(0),
            latency: Mutex::default(),
            startup_bytes: AtomicU64::new(0),
            durability: Durability::new(boards.len()),
            left: AtomicUsize::new(0),
            disk,
            announcement: Mutex::default(),
            stream: StreamBoard::default(),
            audience: Arc::new(Audience::new(boards.len(), KeyHasher::new([random_u64(), random_u64()]))),
            boards,
            is_clustered: map.is_of_cluster(),
            first_seat: RwLock::default(),
            map: RwLock::new(Arc::new(map)),
            log,
            doors: Doors::default(),
            oom_score: OomScore::default(),
            next_client: AtomicU64::new(1),
            rejected: AtomicU64::new(0),
            peak_bytes: AtomicU64::new(0),
            meter: Mutex::default(),
            closing: Closing::default(),
            stopping: AtomicBool::new(false),
            handover_until: AtomicU64::new(0),
            handover_turn: AtomicUsize::new(0),
            pauses: Pauses::default(),
            expires_actively: AtomicBool::new(true),
        }
    }

    /// With what it listens on.
    pub(crate) fn with_doors(self, doors: Doors) -> Self {
        Self { doors, ..self }
    }

    /// A core serves nobody any more, and has sent all that it owes the others.
    pub(crate) fn note_left(&self) {
        self.left.fetch_add(1, Ordering::AcqRel);
    }

    /// Whether all cores but one have left.
    pub(crate) fn is_last(&self) -> bool {
        self.left.load(Ordering::Acquire) + 1 >= self.boards.len()
    }

    /// The process serves, as soon as all data are there.
    pub(crate) fn announce_soon(&self, ready: Ready) {
        *self.announcement.lock().expect("no holder panics") = Some(ready);
        if !self.disk.is_loading() {
            self.announce();
        }
    }

    /// The process serves: says so once.
    pub(crate) fn announce(&self) {
        let Some(ready) = self.announcement.lock().expect("no holder panics").take() else { return };
        if ready.tcp {
            self.log.notice(format_args!("Ready to accept connections tcp"));
        }
        if ready.unix {
            self.log.notice(format_args!("Ready to accept connections unix"));
        }
        self.supervisor().ready();
    }

    /// Bytes that the allocator has given out.
    pub(crate) fn used_memory(&self) -> u64 {
        let _ = epoch::advance();
        stats::allocated::read().unwrap_or(0) as u64
    }

    /// Which core owns which slot.
    pub(crate) fn map(&self) -> Arc<SlotMap> {
        self.map.read().expect("no writer panics").clone()
    }

    /// The node on `core` has another view of its cluster; the cores learn of it as they learn of settings.
    pub(crate) fn claim(&self, core: u16, seat: &Seat) {
        Arc::make_mut(&mut self.map.write().expect("no writer panics")).claim(core, seat.member());
        if core == 0 {
            *self.first_seat.write().expect("no writer panics") = Some(seat.clone());
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The place of the first shard in its cluster.
    pub(crate) fn first_seat(&self) -> Option<Seat> {
        self.first_seat.read().expect("no writer panics").clone()
    }

    /// The settings in force.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().expect("no writer panics").clone()
    }

    /// The settings in force, unless somebody is changing them: for who must not wait.
    pub(crate) fn settings_at_once(&self) -> Option<Arc<Settings>> {
        self.settings.try_read().ok().map(|settings| settings.clone())
    }

    /// Whether the shards are nodes of a cluster.
    #[inline]
    pub(crate) fn is_clustered(&self) -> bool {
        self.is_clustered
    }

    /// Who watches over us.
    pub(crate) fn supervisor(&self) -> &Supervisor {
        &self.identity.supervisor
    }

    /// Changes with every change of the settings.
    #[inline]
    pub(crate) fn settings_version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// A number for a new client.
    pub(crate) fn next_client(&self) -> u64 {
        self.next_client.fetch_add(1, Ordering::Relaxed)
    }

    /// What the cores stand on.
    pub(crate) fn backend(&self) -> Backend {
        self.identity.backend
    }

    /// Measures what all cores did since the last call; to be called about once per second.
    pub(crate) fn measure(&self, now: Monotonic) {
        let mut total = Rates::default();
        for core in self.boards.iter().map(Board::read) {
            total.commands += core.commands;
            total.input_bytes += core.input_bytes;
            total.output_bytes += core.output_bytes;
            total.replication_input_bytes += core.replication_input_bytes;
            total.replication_output_bytes += core.replication_output_bytes;
            total.turns += core.turns;
            total.busy_nanos += core.busy_nanos;
        }
        self.meter.lock().expect("no holder panics").take(total, now);
    }

    /// Adds a command to the slow log.
    pub(crate) fn log_slow(
        &self,
        spec: &Spec,
        args: Args<'_>,
        micros: u64,
        now: UnixMillis,
        client: SlowClient,
        len_max: usize,
    ) {
        let mut log = self.slow_log.lock().expect("no holder panics");
        log.add(spec, args, micros, now, client, len_max);
        self.unsigned.store(log.unsigned(), Ordering::Release);
    }

    /// Whether a core may have to sign entries of the slow log.
    #[inline]
    pub(crate) fn has_unsigned(&self) -> bool {
        self.unsigned.load(Ordering::Acquire) > 0
    }

    /// Writes the clients of a core into the entries of the slow log that wait for them.
    pub(crate) fn sign_slow_log(&self, core: u16, who: impl Fn(u32, u32) -> Option<(String, Vec<u8>)>) {
        let mut log = self.slow_log.lock().expect("no holder panics");
        log.sign(core, who);
        self.unsigned.store(log.unsigned(), Ordering::Release);
    }

    /// Tells the latency monitor of something that took long.
    pub(crate) fn note_event(&self, event: LatencyEvent, millis: u64, now: UnixMillis) {
        self.latency.lock().expect("no holder panics").add(event, millis, now);
    }

    /// Asks all cores to stop.
    pub(crate) fn stop(&self) {
        if !self.stopping.swap(true, Ordering::AcqRel) {
            self.identity.supervisor.stopping();
        }
    }

    /// Has each node hand its slots over before the process stops, until then at the latest; `false` if there are no
    /// nodes, or they do it already.
    pub(crate) fn begin_handover(&self, until: Monotonic) -> bool {
        if !self.is_clustered || self.is_handing_over() {
            return false;
        }
        self.handover_turn.store(0, Ordering::Release);
        self.handover_until.store(until.0, Ordering::Release);
        true
    }

    /// They do not after all.
    pub(crate) fn cancel_handover(&self) {
        self.handover_until.store(0, Ordering::Release);
    }

    /// Whether nodes hand their slots over.
    pub(crate) fn is_handing_over(&self) -> bool {
        self.handover_until.load(Ordering::Acquire) > 0
    }

    /// When that ends at the latest, if it is this core's turn to do it.
    #[inline]
    pub(crate) fn handover_until(&self, core: u16) -> Option<Monotonic> {
        let until = self.handover_until.load(Ordering::Acquire);
        // One after the other: two candidates of one moment would share the votes.
        let is_its_turn = || self.handover_turn.load(Ordering::Acquire) == usize::from(core);
        (until > 0 && is_its_turn()).then_some(Monotonic(until))
    }

    /// The core whose turn it was has nothing to hand over any more; whether it was the last one.
    pub(crate) fn end_handover(&self) -> bool {
        self.handover_turn.fetch_add(1, Ordering::AcqRel) + 1 == self.boards.len()
    }

    /// Whether the cores shall stop.
    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Connected clients of all cores.
    pub(crate) fn clients(&self) -> u64 {
        self.boards.iter().map(|board| board.clients.load(Ordering::Relaxed)).sum()
    }

    /// The process follows that master from now on, or nobody: `replicaof` says so.
    pub(crate) fn note_master(&self, master: Option<(&str, u16)>) {
        let mut settings = self.settings.write().expect("no writer panics");
        let mut changed = Settings::clone(&settings);
        changed.set_master(master);
        *settings = Arc::new(changed);
        self.version.fetch_add(1, Ordering::Release);
    }

    fn configure(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), SetError> {
        let mut settings = self.settings.write().expect("no writer panics");
        let mut changed = Settings::clone(&settings);
        let rows = changed.set(pairs)?;
        // The ports of nodes are known to others.
        if self.is_clustered
            && let Some(row) = rows.iter().find(|row| is_door(row))
        {
            return Err(SetError::Fixed(row.name.to_owned()));
        }
        self.carry_out(&settings, &mut changed, &rows)?;
        self.log.set_level(changed.value(directive::LOGLEVEL));
        if rows.iter().any(|row| row.name == "proc-title-template" || is_door(row)) {
            presence::set_title(&changed, &self.identity.config_file, &self.log);
        }
        for row in rows {
            if let Some(missing) = changed.missing(row) {
                self.log
                    .warning(format_args!("'{}' (CONFIG SET) is accepted and has no effect yet: {missing}", row.name));
            }
        }
        *settings = Arc::new(changed);
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// What the system may refuse, before anything is in force; all of it or nothing.
    fn carry_out(&self, old: &Settings, new: &mut Settings, rows: &[&'static Directive]) -> Result<(), SetError> {
        let refused = |name, reason| SetError::Refused { name, reason };
        let score = rows.iter().find(|row| row.name.starts_with("oom-score-adj"));
        if let Some(row) = score
            && self.oom_score.apply(new, &self.log).is_err()
        {
            let _ = self.oom_score.apply(old, &self.log);
            return Err(refused(row.name, Reason::OomScoreRefused));
        }
        let before = std::env::current_dir();
        let back = || {
            if score.is_some() {
                let _ = self.oom_score.apply(old, &self.log);
            }
        };
        if rows.iter().any(|row| row.name == "dir") {
            let entered = std::env::set_current_dir(new.value(directive::DIR)).and_then(|()| std::env::current_dir());
            match entered {
                Ok(current) => new.set_working_directory(&current.to_string_lossy()),
                Err(error) => {
                    back();
                    return Err(refused("dir", Reason::System(error.raw_os_error().unwrap_or_default())));
                }
            }
        }
        // Last, as clients see it.
        if let Some(row) = rows.iter().find(|row| is_door(row))
            && let Err(error) = self.doors.open_anew(old, new, &self.log)
        {
            self.log.warning(format_args!("{error}"));
            back();
            if let Ok(before) = before {
                let _ = std::env::set_current_dir(before);
            }
            let reason = if row.name == "port" { Reason::PortRefused } else { Reason::BindRefused };
            return Err(refused(row.name, reason));
        }
        Ok(())
    }

    fn rewrite_configuration(&self, force_all: bool) -> Result<(), RewriteError> {
        if self.identity.config_file.is_empty() {
            return Err(RewriteError::NoFile);
        }
        // Whoever changes settings meanwhile waits, so that the file holds what was in force at one moment.
        let settings = self.settings.read().expect("no writer panics");
        let path = Path::new(&self.identity.config_file);
        let replaced = config_file::replace(path, |old| rewrite::rewrite(&settings, old, force_all));
        let replaced = replaced.map_err(RewriteError::System);
        match &replaced {
            Ok(()) => self.log.notice(format_args!("CONFIG REWRITE executed with success.")),
            Err(error) => self.log.warning(format_args!("CONFIG REWRITE failed: {error}")),
        }
        replaced
    }

    /// The boards, less what they showed at CONFIG RESETSTAT.
    fn cores(&self) -> Vec<CoreFacts> {
        let baseline = self.baseline.lock().expect("no holder panics");
        self.boards
            .iter()
            .zip(&*baseline)
            .map(|(board, old)| {
                let now = board.read();
                CoreFacts {
                    connections: now.connections - old.connections,
                    commands: now.commands - old.commands,
                    input_bytes: now.input_bytes - old.input_bytes,
                    output_bytes: now.output_bytes - old.output_bytes,
                    hits: now.hits - old.hits,
                    misses: now.misses - old.misses,
                    expired: now.expired - old.expired,
                    errors: now.errors - old.errors,
                    reads: now.reads - old.reads,
                    turns: now.turns - old.turns,
                    busy_nanos: now.busy_nanos - old.busy_nanos,
                    syncs: now.syncs.since(old.syncs),
                    replication_input_bytes: now.replication_input_bytes - old.replication_input_bytes,
                    replication_output_bytes: now.replication_output_bytes - old.replication_output_bytes,
                    expiry_nanos: now.expiry_nanos - old.expiry_nanos,
                    expiry_cut: now.expiry_cut - old.expiry_cut,
                    buried: (now.buried.0, now.buried.1 - old.buried.1),
                    ..now
                }
            })
            .collect()
    }

    /// What was allocated before the first client did anything worth mention; `now` if that is now.
    fn startup_bytes(&self, now: u64) -> u64 {
        match self.startup_bytes.compare_exchange(0, now.max(1), Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => now,
            Err(known) => known,
        }
    }

    fn facts(&self) -> ProcessFacts {
        // The allocator's counters are as of the last epoch; if it does not count, they stay 0.
        let _ = epoch::advance();
        let allocated_bytes = stats::allocated::read().unwrap_or(0) as u64;
        let (cpu_system_micros, cpu_user_micros) = os::cpu_micros();
        ProcessFacts {
            pid: std::process::id(),
            run_id: self.identity.run_id.clone(),
            started_at: self.identity.started_at,
            os: os::kernel(),
            executable: self.identity.executable.clone(),
            config_file: self.identity.config_file.clone(),
            allocated_bytes,
            active_bytes: stats::active::read().unwrap_or(0) as u64,
            allocator_resident_bytes: stats::resident::read().unwrap_or(0) as u64,
            resident_bytes: os::resident_bytes(),
            startup_bytes: self.startup_bytes(allocated_bytes),
            peak_bytes: self.peak_bytes.fetch_max(allocated_bytes, Ordering::Relaxed).max(allocated_bytes),
            system_bytes: os::system_bytes(),
            cpu_system_micros,
            cpu_user_micros,
            rejected_connections: self.rejected.load(Ordering::Relaxed),
            rates: self.meter.lock().expect("no holder panics").rates,
            tracking: self.roster.numbers(),
            io_backend: self.identity.backend.name(),
        }
    }
}

/// Whether a directive says where the process listens.
fn is_door(row: &Directive) -> bool {
    matches!(row.name, "bind" | "port")
}

/// Turns counters into rates.
#[derive(Debug, Default)]
struct Meter {
    last: Rates,
    at: Monotonic,
    rates: Rates,
}

impl Meter {
    fn take(&mut self, total: Rates, now: Monotonic) {
        let nanos = u128::from(now.nanos_since(self.at).max(1));
        let per_second = |counter: fn(&Rates) -> u64| {
            let grown = counter(&total).saturating_sub(counter(&self.last));
            (u128::from(grown) * 1_000_000_000 / nanos) as u64
        };
        self.rates = Rates {
            commands: per_second(|rates| rates.commands),
            input_bytes: per_second(|rates| rates.input_bytes),
            output_bytes: per_second(|rates| rates.output_bytes),
            replication_input_bytes: per_second(|rates| rates.replication_input_bytes),
            replication_output_bytes: per_second(|rates| rates.replication_output_bytes),
            turns: per_second(|rates| rates.turns),
            busy_nanos: per_second(|rates| rates.busy_nanos),
        };
        (self.last, self.at) = (total, now);
    }
}

/// The process as node commands see it, with the settings of the core that runs them.
pub(crate) struct NodeView<'a> {
    pub(crate) process: &'a Process,
    pub(crate) settings: &'a Settings,
    /// The core whose shard shows itself as a node of a cluster, if the client has come to its port.
    pub(crate) node: Option<AtNode<'a>>,
    /// The replication of the core's stream, and the time.
    pub(crate) replication: Option<(&'a Replication, Monotonic)>,
}

/// What a node of a cluster shows to clients of its port.
pub(crate) struct AtNode<'a> {
    pub(crate) core: u16,
    pub(crate) seat: &'a Seat,
    pub(crate) bus: &'a Bus,
    /// Its shard, if nobody has it in hand.
    pub(crate) shard: Option<&'a Shard>,
    /// Number of its keys.
    pub(crate) key_count: usize,
}

impl NodeView<'_> {
    /// Whom CLIENT PAUSE concerns.
    fn paused(&self) -> pauses::Reason {
        self.node.as_ref().map_or(pauses::Reason::Everybody, |node| pauses::Reason::Node(node.core))
    }
}

impl Node for NodeView<'_> {
    fn settings(&self) -> &Settings {
        self.settings
    }

    fn configure(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), SetError> {
        self.process.configure(pairs)
    }

    fn rewrite_configuration(&self, force_all: bool) -> Result<(), RewriteError> {
        self.process.rewrite_configuration(force_all)
    }

    fn cores(&self) -> Vec<CoreFacts> {
        let mut cores = self.process.cores();
        if let Some(node) = &self.node {
            cores = vec![cores.swap_remove(usize::from(node.core))];
        }
        cores
    }

    fn process(&self) -> ProcessFacts {
        self.process.facts()
    }

    fn has_client(&self, id: u64) -> bool {
        self.process.roster.has(id)
    }

    fn cluster(&self) -> Option<Member<'_>> {
        self.node.as_ref().map(|node| node.seat.member())
    }

    fn with_machine(&self, act: &mut dyn FnMut(&mut Cluster, Now, &mut Actions)) -> bool {
        let Some(node) = &self.node else { return false };
        node.bus.machine.borrow_mut().with(act);
        true
    }

    fn replication(&self) -> ReplicationFacts {
        let facts = |(replication, now): (&Replication, _)| replication.facts(self.settings, now);
        match self.replication {
            Some(replication) => facts(replication),
            None if self.process.is_clustered => ReplicationFacts::default(),
            None => self.process.stream.facts(),
        }
    }

    fn keys_in_slot(&self, slot: Slot) -> usize {
        let Some(node) = &self.node else { return 0 };
        match node.shard {
            Some(shard) => shard.keyspace().find_db(0).map_or(0, |db| db.slot_len(slot)),
            // In a transaction nobody looks closer: any key may be one of the slot.
            None => node.key_count,
        }
    }

    fn key_count(&self) -> usize {
        self.node.as_ref().map_or(0, |node| node.key_count)
    }

    fn link_buffer(&self, link: LinkId) -> (usize, usize) {
        self.node.as_ref().map_or((0, 0), |node| node.bus.link_buffer(link))
    }

    fn persistence(&self) -> PersistenceFacts {
        self.process.disk.facts(
            self.node.as_ref().map(|node| node.core),
            &self.process.boards,
            clock::unix_millis() / 1000,
        )
    }

    fn is_synced(&self) -> bool {
        self.process.durability.is_synced(self.node.as_ref().map(|node| node.core))
    }

    fn begin_save(&self, wish: SaveWish) -> SaveBegin {
        self.process.disk.begin_save(
            self.node.as_ref().map(|node| node.core),
            wish,
            clock::unix_millis() / 1000,
            &self.process.log,
        )
    }

    fn begin_rewrite(&self, is_in_transaction: bool) -> SaveBegin {
        self.process.disk.begin_rewrite(self.node.as_ref().map(|node| node.core), is_in_transaction)
    }

    fn abort_shutdown(&self) -> bool {
        let is_aborted = self.process.cancel_shutdown();
        if is_aborted {
            self.process.log.notice(format_args!("Shutdown manually aborted."));
        }
        is_aborted
    }

    fn pause(&self, end: UnixMillis, scope: PauseScope) {
        self.process.pauses.begin(self.paused(), end, scope);
    }

    fn unpause(&self) {
        self.process.pauses.end(self.paused());
    }

    fn debug(&self, act: DebugAct<'_>) {
        match act {
            DebugAct::Log(text) => {
                self.process.log.warning(format_args!("DEBUG LOG: {}", String::from_utf8_lossy(text)));
            }
            DebugAct::Sleep(micros) => std::thread::sleep(Duration::from_micros(micros)),
            DebugAct::ActiveExpiry(wanted) => self.process.expires_actively.store(wanted, Ordering::Relaxed),
            DebugAct::Fault => {
                self.process.log.warning(format_args!("DEBUG SEGFAULT called"));
                os::fault()
            }
            DebugAct::Crash(why) => {
                self.process.log.warning(format_args!("{why}"));
                std::process::abort();
            }
        }
    }

    fn reset_statistics(&self) {
        let facts = self.process.boards.iter().map(Board::read).collect();
        *self.process.baseline.lock().expect("no holder panics") = facts;
        self.process.rejected.store(0, Ordering::Relaxed);
        self.process.peak_bytes.store(0, Ordering::Relaxed);
        self.process.statistics.reset();
    }

    fn commands(&self) -> Vec<CommandFacts> {
        self.process.statistics.commands()
    }

    fn distribution(&self, spec: &'static Spec, percentiles: &[f64]) -> Option<Distribution> {
        self.process.statistics.distribution(spec, percentiles)
    }

    fn errors(&self) -> Option<BTreeMap<Vec<u8>, u64>> {
        self.process.statistics.errors()
    }

    fn slow_log(&self) -> &Mutex<SlowLog> {
        &self.process.slow_log
    }

    fn latency(&self) -> &Mutex<LatencyMonitor> {
        &self.process.latency
    }

    fn census(&self) -> MutexGuard<'_, Census> {
        self.process.audience.census(self.node.as_ref().map(|node| node.core))
    }

    fn unix_micros(&self) -> i64 {
        clock::unix_micros()
    }

    fn purge_memory(&self) -> bool {
        allocator::purge()
    }

    fn allocator_report(&self) -> String {
        allocator::report()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_per_second() {
        let mut meter = Meter::default();
        let total = |commands| Rates { commands, input_bytes: commands * 10, ..Rates::default() };
        meter.take(total(500), Monotonic(1_000_000_000));
        meter.take(total(1500), Monotonic(3_000_000_000));
        assert_eq!(meter.rates, Rates { commands: 500, input_bytes: 5000, ..Rates::default() });
        meter.take(total(1500), Monotonic(4_000_000_000));
        assert_eq!(meter.rates, Rates::default());
    }
}
