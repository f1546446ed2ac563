//! From settings to running cores: checks, listeners, threads. Knows every room and decides nothing else.

use crate::board::Board;
use crate::bus::{BusStart, NodesFileError};
use crate::core_loop::Core;
use crate::doors::{CannotListen, Doors, listen_tcp, listen_unix};
use crate::engine::Engine;
use crate::formation;
use crate::hop::Parcel;
use crate::huge_pages;
use crate::listener::Dealer;
use crate::log::Log;
use crate::node_port::NodePort;
use crate::persistence::{AppendLog, Persistence, begin_loading};
use crate::presence;
use crate::process::{Identity, Process, Ready};
use crate::replication::Replication;
use crate::supervisor::Supervisor;
use slotmesh_base::{SLOT_COUNT, UnixMillis};
use slotmesh_conf::{Loaded, Settings, directive};
use slotmesh_io::{Backend, Mail, Refusal, clock, entropy, mesh, process as os};
use slotmesh_keyspace::KeyHasher;
use slotmesh_shard::{Shard, ShardSettings, SlotMap};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Descriptors that the process needs beside its clients'.
const RESERVED_DESCRIPTORS: u64 = 128;
/// How long an address may be in use at the start, in nanoseconds.
const LISTEN_NANOS_MAX: u64 = 1_000_000_000;
/// Time between two tries.
const LISTEN_PAUSE: Duration = Duration::from_millis(20);

/// Why the process does not start.
#[derive(Debug)]
pub(crate) enum BootError {
    /// The kernel refuses the data loop.
    Ring(Refusal),
    /// More shards than cores.
    ShardsExceedCores { shards: usize, cores: usize },
    /// Fewer CPUs than `server_cpulist` wants, or the kernel does not tell.
    Cpus(io::Error),
    /// The working directory cannot be entered.
    Directory { path: String, error: io::Error },
    /// The log cannot be opened.
    Log { path: String, error: io::Error },
    /// The shards of a cluster have no ports.
    NodePorts,
    /// The nodes of a cluster cannot remember anything.
    Nodes(NodesFileError),
    /// An address cannot be listened on.
    Listen(CannotListen),
    /// Signals cannot be caught, or a thread not be started.
    System(io::Error),
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ring(refusal) => refusal.fmt(f),
            Self::ShardsExceedCores { shards, cores } => {
                write!(f, "shards {shards} does not fit cores {cores}: each core has at most one shard")
            }
            Self::Cpus(error) => write!(f, "the CPUs of this process cannot be used as asked: {error}"),
            Self::Directory { path, error } => write!(f, "Can't chdir to '{path}': {error}"),
            Self::Log { path, error } => write!(f, "Can't open the log file '{path}': {error}"),
            Self::NodePorts => f.write_str(
                "the nodes of a cluster need a port each, from 'port' on, and one for their bus each (10000 above, or from 'cluster-port' on): \
                 lower 'port', or 'shards'",
            ),
            Self::Nodes(problem) => problem.fmt(f),
            Self::Listen(problem) => write!(f, "{problem}, aborting."),
            Self::System(error) => write!(f, "the system refuses to run us: {error}"),
        }
    }
}

impl From<CannotListen> for BootError {
    fn from(problem: CannotListen) -> Self {
        Self::Listen(problem)
    }
}

/// The cores and CPUs of the process.
struct Layout {
    cores: usize,
    shards: usize,
    /// The CPU of each core, if they are pinned.
    cpus: Option<Vec<usize>>,
    /// Whether each core can have a CPU of its own.
    enough_cpus: bool,
}

/// Runs the process until it is told to stop. What goes wrong once there is a log is told there too: in the background
/// nobody reads standard error.
///
/// # Errors
/// Whatever keeps it from starting.
pub(crate) fn serve(loaded: Loaded, config_file: Option<&Path>) -> Result<(), BootError> {
    let config_file = config_file.and_then(|path| std::path::absolute(path).ok());
    let Loaded { mut settings, without_effect } = loaded;
    enter_directory(&mut settings)?;
    let path = settings.value(directive::LOGFILE).to_owned();
    let log = Arc::new(Log::open(&settings).map_err(|error| BootError::Log { path, error })?);
    let layout = layout(&settings)?;
    let (backend, refusal) = choose_backend(&settings)?;
    let supervisor = Supervisor::find(settings.value(directive::SUPERVISED), &log);
    let in_background = settings.value(directive::DAEMONIZE) && !supervisor.watches();
    if in_background {
        os::daemonize().map_err(BootError::System)?;
    }
    greet(&log, &layout, config_file.as_deref());
    if let Some(refusal) = refusal {
        log.warning(format_args!("epoll takes the place of io_uring: {refusal}"));
    }
    for unused in without_effect.iter().filter(|unused| !unused.is_default) {
        log.warning(format_args!("{unused}"));
    }
    let identity = identify(config_file.as_deref(), backend, supervisor);
    let served = start(settings, identity, &layout, &log, in_background);
    if let Err(error) = &served {
        log.warning(format_args!("{error}"));
    }
    served
}

/// Listens, serves, and leaves nothing behind.
fn start(
    mut settings: Settings,
    identity: Identity,
    layout: &Layout,
    log: &Arc<Log>,
    in_background: bool,
) -> Result<(), BootError> {
    // Behind the fork: they belong to one process and its threads.
    let signals = os::catch_signals().map_err(BootError::System)?;
    fit_descriptors(&mut settings, log);
    let is_clustered = settings.value(directive::CLUSTER_ENABLED);
    if is_clustered && settings.leave_one_database() {
        log.warning(format_args!("Changing databases number to 1 since we are in cluster mode"));
    }
    let gateway = if is_clustered { directive::GATEWAY_PORT } else { directive::PORT };
    let tcp = listen(&settings, settings.value(gateway), log)?;
    let nodes = if is_clustered { listen_nodes(&settings, layout.shards as u16, log)? } else { Nodes::default() };
    let unix = listen_unix(&settings)?;
    let ready = Ready { tcp: !tcp.is_empty() || !nodes.clients.is_empty(), unix: unix.is_some() };
    let doors = Doors::default();
    doors.note(&tcp);
    let dealer = Dealer::new(tcp, unix, signals);
    log.serves();
    // Behind the listeners: a second process on our port leaves the file of the first alone.
    let pid_file = presence::write_pid_file(&settings, in_background, log);
    presence::set_title(&settings, &identity.config_file, log);
    presence::show_logo(&settings, log);
    // Whole, because the directory may change under CONFIG SET; there is none for an empty path.
    let unix_path = std::path::absolute(settings.value(directive::UNIXSOCKET)).ok();
    let process = Arc::new(make_process(settings, identity, layout, log.clone()).with_doors(doors));
    huge_pages::disable(&process.settings(), log);
    // The log says why it cannot be changed; that is no reason not to serve.
    let _ = process.oom_score.apply(&process.settings(), log);
    let asked = process.clone();
    // The bug may have been met under the lock of the settings.
    let wants_trace = move || asked.settings_at_once().is_none_or(|set| set.value(directive::CRASH_LOG_ENABLED));
    presence::log_panics(log.clone(), wants_trace);
    let buses = formation::nodes(&process.settings(), nodes.buses).map_err(BootError::Nodes)?;
    let served = run_cores(&process, layout, dealer, (nodes.clients, buses), ready);
    if let Some(path) = pid_file {
        log.notice(format_args!("Removing the pid file."));
        let _ = std::fs::remove_file(path);
    }
    served?;
    if let Some(unix_path) = unix_path {
        log.notice(format_args!("Removing the unix socket file."));
        let _ = std::fs::remove_file(unix_path);
    }
    log.warning(format_args!("slotmesh is now ready to exit, bye bye..."));
    Ok(())
}

fn enter_directory(settings: &mut Settings) -> Result<(), BootError> {
    let path = settings.value(directive::DIR).to_owned();
    let entered = std::env::set_current_dir(&path).and_then(|()| std::env::current_dir());
    let current = entered.map_err(|error| BootError::Directory { path, error })?;
    settings.set_working_directory(&current.to_string_lossy());
    Ok(())
}

fn layout(settings: &Settings) -> Result<Layout, BootError> {
    let allowed = slotmesh_io::allowed_cpus().map_err(BootError::Cpus)?;
    let listed = settings.value(directive::SERVER_CPULIST);
    let available = if listed.is_empty() { allowed.len() } else { listed.len() };
    let cores = match settings.value(directive::CORES) {
        0 => available,
        cores => cores,
    };
    let shards = match settings.value(directive::SHARDS) {
        0 if settings.value(directive::CLUSTER_ENABLED) => 1,
        0 => cores,
        shards => shards,
    };
    if shards > cores || shards > SLOT_COUNT {
        return Err(BootError::ShardsExceedCores { shards, cores });
    }
    // Without a list, cores are bound to CPUs only if they take all of them: other processes may live here.
    let cpus = if listed.is_empty() { allowed } else { listed };
    let pins = !settings.value(directive::SERVER_CPULIST).is_empty() && cores <= cpus.len() || cores == cpus.len();
    Ok(Layout { cores, shards, enough_cpus: cores <= cpus.len(), cpus: pins.then_some(cpus) })
}

/// What the cores stand on; and if the choice was left to us and fell on the slower one, what refuses the faster.
fn choose_backend(settings: &Settings) -> Result<(Backend, Option<Refusal>), BootError> {
    let wanted = settings.value(directive::IO_BACKEND);
    if wanted == Backend::Epoll.name() {
        return Ok((Backend::Epoll, None));
    }
    match slotmesh_io::probe() {
        Ok(()) => Ok((Backend::IoUring, None)),
        Err(refusal) if wanted == Backend::IoUring.name() => Err(BootError::Ring(refusal)),
        Err(refusal) => Ok((Backend::Epoll, Some(refusal))),
    }
}

fn greet(log: &Log, layout: &Layout, config_file: Option<&Path>) {
    let pid = std::process::id();
    log.notice(format_args!("oO0OoO0OoO0Oo slotmesh is starting oO0OoO0OoO0Oo"));
    log.notice(format_args!(
        "slotmesh version={}, bits=64, cores={}, shards={}, pid={pid}, just started",
        env!("CARGO_PKG_VERSION"),
        layout.cores,
        layout.shards
    ));
    match config_file {
        Some(_) => log.notice(format_args!("Configuration loaded")),
        None => log.warning(format_args!(
            "Warning: no config file specified, using the default config. In order to specify a config file use slotmesh /path/to/slotmesh.conf"
        )),
    }
}

/// Makes room for `maxclients` descriptors, or lowers it to the room that there is, as Redis does.
fn fit_descriptors(settings: &mut Settings, log: &Log) {
    let wanted = settings.value(directive::MAXCLIENTS);
    let Ok(limit) = os::raise_open_files(u64::from(wanted) + RESERVED_DESCRIPTORS) else { return };
    let room = limit.saturating_sub(RESERVED_DESCRIPTORS).max(1);
    if room < u64::from(wanted) {
        log.warning(format_args!(
            "You requested maxclients of {wanted} requiring at least {} max file descriptors. Current maximum open files is {limit}. maxclients has been reduced to {room} to compensate for low ulimit. If you need higher maxclients increase 'ulimit -n'.",
            u64::from(wanted) + RESERVED_DESCRIPTORS
        ));
        let set = settings.set(&[("maxclients", room.to_string())]);
        assert!(set.is_ok(), "a smaller number of clients is always allowed");
    }
}

/// As [`listen_tcp`], but an address that is in use is asked for again for a moment: the kernel lets go of a killed
/// process's rings, and with them of its listeners, only some time after its end.
fn listen(settings: &Settings, port: u16, log: &Log) -> Result<Vec<OwnedFd>, CannotListen> {
    let until = clock::monotonic_nanos() + LISTEN_NANOS_MAX;
    loop {
        match listen_tcp(settings, port, log) {
            Err(problem) if problem.error.kind() == io::ErrorKind::AddrInUse && clock::monotonic_nanos() < until => {
                std::thread::sleep(LISTEN_PAUSE);
            }
            outcome => return outcome,
        }
    }
}

/// The listeners of each shard.
#[derive(Default)]
struct Nodes {
    clients: Vec<Vec<OwnedFd>>,
    buses: Vec<Vec<OwnedFd>>,
}

fn listen_nodes(settings: &Settings, shards: u16, log: &Log) -> Result<Nodes, BootError> {
    let mut nodes = Nodes::default();
    for index in 0..shards {
        let ports = (formation::node_port(settings, index), formation::bus_port(settings, index));
        let (Some(port), Some(bus_port)) = ports else { return Err(BootError::NodePorts) };
        if port <= index {
            return Err(BootError::NodePorts);
        }
        nodes.clients.push(listen(settings, port, log)?);
        nodes.buses.push(listen(settings, bus_port, log)?);
    }
    Ok(nodes)
}

fn make_process(settings: Settings, identity: Identity, layout: &Layout, log: Arc<Log>) -> Process {
    let is_clustered = settings.value(directive::CLUSTER_ENABLED);
    let shards = layout.shards as u16;
    let map = if is_clustered { SlotMap::unclaimed(shards) } else { SlotMap::even(shards) };
    let databases = settings.value(directive::DATABASES);
    let boards = (0..layout.cores)
        .map(|core| {
            let slots = map.slots(core as u16).map(|slots| (*slots.start(), *slots.end()));
            Board::new(layout.cpus.as_ref().map(|cpus| cpus[core]), slots, databases)
        })
        .collect();
    Process::new(settings, identity, boards, map, log)
}

fn identify(config_file: Option<&Path>, backend: Backend, supervisor: Supervisor) -> Identity {
    let digits: String = (0..3).map(|_| format!("{:016x}", entropy::random_u64())).collect();
    let text = |path: &Path| path.to_string_lossy().into_owned();
    Identity {
        run_id: digits[..40].to_owned(),
        backend,
        started_at: UnixMillis(clock::unix_millis()),
        executable: std::env::current_exe().map_or_else(|_| String::new(), |path| text(&path)),
        config_file: config_file.map_or_else(String::new, text),
        supervisor,
    }
}

/// Starts a thread for each core and waits for all of them.
fn run_cores(
    process: &Arc<Process>,
    layout: &Layout,
    dealer: Dealer,
    nodes: (Vec<Vec<OwnedFd>>, Vec<BusStart>),
    ready: Ready,
) -> Result<(), BootError> {
    let (mut nodes, buses) = (nodes.0.into_iter(), nodes.1);
    let hasher = KeyHasher::new([entropy::random_u64(), entropy::random_u64()]);
    let to_load = formation::nodes_to_load(&process.map(), &process.settings(), &buses);
    begin_loading(process, hasher, to_load).map_err(BootError::System)?;
    let mut buses = buses.into_iter();
    let mut dealer = Some(dealer);
    let mut threads = Vec::new();
    for (core, mail) in mesh::<Parcel>(layout.cores).into_iter().enumerate() {
        let task = CoreTask {
            core,
            cpu: layout.cpus.as_ref().map(|cpus| cpus[core]),
            may_spin: layout.enough_cpus,
            dealer: dealer.take(),
            node_port: NodePort::new(nodes.next().unwrap_or_default()),
            bus: buses.next(),
            hasher,
            process: process.clone(),
        };
        let thread = std::thread::Builder::new().name(format!("core-{core}"));
        threads.push(thread.spawn(move || task.run(mail)).map_err(BootError::System)?);
    }
    process.log.notice(format_args!("Server initialized, PID: {}", std::process::id()));
    process.announce_soon(ready);
    threads.into_iter().for_each(|thread| thread.join().expect("a core that panics stops the process at once"));
    Ok(())
}

/// What a core's thread is started with.
struct CoreTask {
    core: usize,
    cpu: Option<usize>,
    may_spin: bool,
    dealer: Option<Dealer>,
    node_port: NodePort,
    bus: Option<BusStart>,
    hasher: KeyHasher,
    process: Arc<Process>,
}

impl CoreTask {
    fn run(self, mail: Mail<Parcel>) {
        let Self { core, cpu, may_spin, dealer, node_port, bus, hasher, process } = self;
        if let Some(cpu) = cpu
            && let Err(error) = slotmesh_io::pin_to(cpu)
        {
            process.log.warning(format_args!("Core {core} cannot be bound to CPU {cpu}: {error}"));
        }
        let settings = process.settings();
        let map = process.map();
        let shard = map.slots(core as u16).map(|slots| {
            // A node may come to own any slot.
            let slots = if map.is_of_cluster() { 0..=SLOT_COUNT as u16 - 1 } else { slots };
            Box::new(Shard::new(ShardSettings {
                slots,
                databases: settings.value(directive::DATABASES),
                hasher,
                seed: entropy::random_u64(),
            }))
        });
        let (log, backend) = (process.clone(), process.backend());
        let mut engine = Engine::new(core as u16, shard, process, hasher, settings.clone());
        // A node's stream is its shard's; else there is one, of all shards.
        if map.is_of_cluster() && bus.is_some() || !map.is_of_cluster() && core == 0 {
            let cores = if map.is_of_cluster() { vec![core as u16] } else { (0..map.shards()).collect() };
            let port = formation::node_port(&settings, core as u16).unwrap_or(0);
            engine.persistence = Some(Box::new(Persistence::new(core as u16, &settings)));
            let has_lost_data = bus.as_ref().is_some_and(|bus| bus.is_empty_handed);
            let journal = AppendLog::new(core as u16, &settings, has_lost_data).unwrap_or_else(|(path, failure)| {
                log.log.warning(format_args!("The AOF manifest file {}: {failure}", path.display()));
                std::process::exit(1)
            });
            let journal = Box::new(journal);
            engine.replication = Some(Box::new(Replication::new(&settings, cores, port, log.log.clone(), journal)));
            if let [host, port] = settings.value(directive::REPLICAOF) {
                engine.errands.first_master = port.parse().ok().map(|port| (host.clone(), port));
            }
        }
        if let Some(bus) = bus
            && let Err(error) = engine.join_bus(bus)
        {
            log.log.warning(format_args!("Core {core} cannot set up its cluster bus: {error}; raise ulimit -n"));
            std::process::exit(1);
        }
        let serve = || {
            slotmesh_io::run_core(backend, mail, |io| {
                Core::new(io, engine, dealer, may_spin).with_node_port(node_port).run()
            })
        };
        // Others wait for this core's answers, and its data is gone: there is nothing to go on with.
        let Ok(served) = catch_unwind(AssertUnwindSafe(serve)) else {
            log.log.warning(format_args!("Core {core} has met a bug: the process stops"));
            std::process::abort()
        };
        if let Err(error) = served {
            // The probe has passed, so this is scarcity: descriptors or locked memory for this many cores.
            log.log.warning(format_args!(
                "Core {core} cannot set up its data loop: {error}; lower 'cores', or raise ulimit -l and ulimit -n"
            ));
            std::process::exit(1);
        }
    }
}
