//! What is loaded at the start, on threads beside the cores, which answer meanwhile that data are being loaded.
//!
//! Each node of a cluster has a file of its own; a process that is part of none has one, whose keys go to the shards that
//! hold their slots, however many shards there were when it was written. The thread fills shards that nobody serves
//! ([`load_rdb`]); when all is there, the core of the stream puts their keys into the shards that are served
//! ([`Loaded`]), all at once, and the stream of replication goes on where the file says that it was.
//!
//! A file that cannot be loaded ends the process, as in Redis: nothing is served of it, and nothing on the disk has
//! changed.

use super::append_log::OpenLog;
use super::board::LoadProgress;
use super::dump_file;
use super::load_log::{bytes_to_load, load_log};
use crate::log::Log;
use crate::process::Process;
use slotmesh_base::{SlotSet, UnixMillis};
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{clock, entropy};
use slotmesh_keyspace::{KeyHasher, Keyspace, PackedLimit};
use slotmesh_rdb::ReadLimits;
use slotmesh_shard::{FileFacts, LoadError, LoadRules, Loader, Shard, ShardSettings};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes that are read at once.
pub(super) const PIECE_BYTES: usize = 256 * 1024;
/// The same if reading is to be slow.
const SLOW_PIECE_BYTES: usize = 512;
/// Time between two lines of the log that tell how far a load is, in nanoseconds.
const PROGRESS_NANOS: u64 = 2_000_000_000;

/// What a node is to load.
#[derive(Clone, Debug)]
pub(crate) struct NodeToLoad {
    /// Its number in the process.
    pub(crate) node: u16,
    /// The slots of each of its shards.
    pub(crate) shards: Vec<RangeInclusive<u16>>,
    /// Whether its data are nobody else's: what has expired is left out then.
    pub(crate) is_master: bool,
    /// The slots whose keys it may hold, if not all.
    pub(crate) slots: Option<SlotSet>,
}

/// What was loaded.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// One for each shard of the stream, in their order.
    pub(crate) shards: Vec<Shard>,
    /// What the file has said of itself.
    pub(crate) facts: FileFacts,
    pub(crate) is_master: bool,
    /// The append-only file that they came from, and go on in.
    pub(crate) log: Option<OpenLog>,
}

/// Why nothing could be loaded.
#[derive(Debug)]
pub(crate) enum LoadFailure {
    /// The system refuses.
    Io(PathBuf, io::Error),
    /// What stands in a file.
    File(PathBuf, LoadError),
}

impl fmt::Display for LoadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

/// Begins to load what the nodes have on the disk: from now on they answer that they do.
///
/// # Errors
/// If there can be no threads.
pub(crate) fn begin_loading(process: &Arc<Process>, hasher: KeyHasher, nodes: Vec<NodeToLoad>) -> io::Result<()> {
    let settings = process.settings();
    for node in nodes {
        if settings.value(directive::APPENDONLY) {
            let bytes = bytes_to_load(&settings, node.node);
            process.disk.begin_load(node.node, bytes, clock::unix_millis() / 1000);
            let (process, settings) = (process.clone(), settings.clone());
            let body = move || load_node_from_log(&process, &settings, hasher, &node);
            std::thread::Builder::new().name("load".to_owned()).spawn(body)?;
            continue;
        }
        let path = dump_file(&settings, node.node);
        let bytes = match std::fs::metadata(&path) {
            Ok(data) => data.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // The thread says why it cannot be read.
            Err(_) => 0,
        };
        process.disk.begin_load(node.node, bytes, clock::unix_millis() / 1000);
        let (process, settings) = (process.clone(), settings.clone());
        let body = move || load_node(&process, &settings, hasher, &node, &path);
        std::thread::Builder::new().name("load".to_owned()).spawn(body)?;
    }
    Ok(())
}

/// Shards that nobody serves, for what a node has.
fn blank_shards(settings: &Settings, hasher: KeyHasher, node: &NodeToLoad) -> Vec<Shard> {
    let databases = settings.value(directive::DATABASES);
    let shard = |slots: &RangeInclusive<u16>| ShardSettings {
        slots: slots.clone(),
        databases,
        hasher,
        seed: entropy::random_u64(),
    };
    node.shards.iter().map(|slots| Shard::new(shard(slots))).collect()
}

fn load_node_from_log(process: &Process, settings: &Settings, hasher: KeyHasher, node: &NodeToLoad) {
    let (log, start) = (&process.log, clock::monotonic_nanos());
    let mut shards = blank_shards(settings, hasher, node);
    let progress = &process.disk.node(node.node).load;
    match load_log(settings, (node.node, node.slots.as_ref()), hasher, &mut shards, progress, log) {
        Ok(open) => {
            let seconds = (clock::monotonic_nanos() - start) as f64 / 1e9;
            log.notice(format_args!("DB loaded from append only file: {seconds:.3} seconds"));
            let (facts, log) = (FileFacts::default(), Some(open));
            progress.deliver(Loaded { shards, facts, is_master: node.is_master, log });
        }
        Err(failure) => {
            log.warning(format_args!("Fatal error loading the DB: {failure}. Nothing was changed. Exiting."));
            std::process::exit(1);
        }
    }
}

fn load_node(process: &Process, settings: &Settings, hasher: KeyHasher, node: &NodeToLoad, path: &Path) {
    let (log, start) = (&process.log, clock::monotonic_nanos());
    let databases = settings.value(directive::DATABASES);
    let shard = |slots: &RangeInclusive<u16>| ShardSettings {
        slots: slots.clone(),
        databases,
        hasher,
        seed: entropy::random_u64(),
    };
    let mut shards: Vec<Shard> = node.shards.iter().map(|slots| Shard::new(shard(slots))).collect();
    let progress = &process.disk.node(node.node).load;
    let mut keyspaces: Vec<&mut Keyspace> = shards.iter_mut().map(Shard::keyspace_mut).collect();
    let rules = load_rules(settings, hasher, node);
    // As long as Redis takes for it with that setting; in steps that are no longer than a test wants to look.
    let delay = Duration::from_micros(u64::try_from(settings.value(directive::KEY_LOAD_DELAY)).unwrap_or(0));
    let open = |path| Ok(SlowFile { file: File::open(path)?, delay, progress, keys: 0 });
    let loaded = open(path)
        .map_err(|error| LoadFailure::Io(path.to_owned(), error))
        .and_then(|file| load_rdb(file, path, rules, &mut keyspaces, progress, log));
    match loaded {
        Ok(facts) => {
            let seconds = (clock::monotonic_nanos() - start) as f64 / 1e9;
            log.notice(format_args!("DB loaded from disk: {seconds:.3} seconds"));
            progress.deliver(Loaded { shards, facts, is_master: node.is_master, log: None });
        }
        Err(failure) => {
            log.warning(format_args!("Fatal error loading the DB: {failure}. Nothing was changed. Exiting."));
            std::process::exit(1);
        }
    }
}

/// A file that is read as slowly as `key-load-delay` wants.
struct SlowFile<'a> {
    file: File,
    delay: Duration,
    progress: &'a LoadProgress,
    /// Keys that were waited for.
    keys: u64,
}

impl Read for SlowFile<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.delay.is_zero() {
            return self.file.read(room);
        }
        let keys = self.progress.keys.load(Ordering::Relaxed);
        std::thread::sleep(self.delay.saturating_mul((keys - self.keys) as u32));
        self.keys = keys;
        let len = room.len().min(SLOW_PIECE_BYTES);
        self.file.read(&mut room[..len])
    }
}

fn load_rules(settings: &Settings, hasher: KeyHasher, node: &NodeToLoad) -> LoadRules {
    let backlog_bytes = usize::try_from(settings.value(directive::REPL_BACKLOG_SIZE)).unwrap_or(usize::MAX);
    LoadRules {
        read: read_limits(settings),
        hasher,
        drops_expired_at: node.is_master.then(|| UnixMillis(clock::unix_millis())),
        expired_effects_bytes_max: if node.is_master { backlog_bytes } else { 0 },
        slots: node.slots.clone(),
        allows_duplicates: false,
    }
}

/// How a file on the disk is read.
pub(crate) fn read_limits(settings: &Settings) -> ReadLimits {
    ReadLimits {
        string_bytes_max: usize::MAX,
        databases: settings.value(directive::DATABASES),
        list_packed: PackedLimit::new(settings.hot().list_max_listpack_size),
        checksum: settings.value(directive::RDBCHECKSUM),
    }
}

/// Loads an RDB file, from its begin to its end, into keyspaces that nobody serves: each key into the first that holds its
/// slot. How far it is shows in `progress`; the log gets Redis's lines, and a line now and then. `path` is for the log and
/// for errors.
///
/// # Errors
/// If it cannot be read, or is no file that can be loaded. The keyspaces hold a part of it then.
pub(crate) fn load_rdb(
    mut file: impl Read,
    path: &Path,
    rules: LoadRules,
    keyspaces: &mut [&mut Keyspace],
    progress: &LoadProgress,
    log: &Log,
) -> Result<FileFacts, LoadFailure> {
    let fail = |error| LoadFailure::File(path.to_owned(), error);
    let start = clock::monotonic_nanos();
    let (mut loader, mut piece) = (Loader::new(rules), vec![0; PIECE_BYTES]);
    let (mut next_line, mut has_head) = (start + PROGRESS_NANOS, false);
    loop {
        let count = match file.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(LoadFailure::Io(path.to_owned(), error)),
        };
        loader.push(&piece[..count], keyspaces, false).map_err(fail)?;
        let facts = loader.facts();
        if !std::mem::replace(&mut has_head, true) {
            log_head(facts, log);
            progress.used_memory.store(facts.used_memory.unwrap_or(0), Ordering::Relaxed);
        }
        progress.bytes.fetch_add(count as u64, Ordering::Relaxed);
        progress.keys.store(facts.keys, Ordering::Relaxed);
        progress.expired.store(facts.expired, Ordering::Relaxed);
        let now = clock::monotonic_nanos();
        if now >= next_line {
            next_line = now + PROGRESS_NANOS;
            log_progress(path, progress, now - start, log);
        }
    }
    let facts = loader.finish().map_err(fail)?;
    let (keys, expired) = (facts.keys, facts.expired);
    match facts.empty {
        0 => log.notice(format_args!("Done loading RDB, keys loaded: {keys}, keys expired: {expired}.")),
        empty => log.warning(format_args!(
            "Done loading RDB, keys loaded: {keys}, keys expired: {expired}, empty keys skipped: {empty}."
        )),
    }
    Ok(facts)
}

/// What the file says of itself (Redis 7.0 `rdb.c` `rdbLoadRioWithLoadingCtx`).
fn log_head(facts: &FileFacts, log: &Log) {
    if let Some(version) = &facts.written_by {
        log.notice(format_args!("Loading RDB produced by version {version}"));
    }
    if let Some(created_at) = facts.created_at {
        let age = (clock::unix_millis() / 1000).saturating_sub(created_at).max(0);
        log.notice(format_args!("RDB age {age} seconds"));
    }
    if let Some(bytes) = facts.used_memory {
        log.notice(format_args!("RDB memory usage when created {:.2} Mb", bytes as f64 / f64::from(1 << 20)));
    }
    if facts.is_aof_base {
        log.notice(format_args!("RDB is base AOF"));
    }
}

fn log_progress(path: &Path, progress: &LoadProgress, nanos: u64, log: &Log) {
    let (bytes, total) = (progress.bytes.load(Ordering::Relaxed), progress.bytes_total.load(Ordering::Relaxed));
    let left = total.saturating_sub(bytes);
    let seconds_left = left as f64 * (nanos as f64 / 1e9) / bytes.max(1) as f64;
    log.notice(format_args!(
        "Loading {}: {:.0}% of {} MB, {} keys, about {seconds_left:.0} seconds to go",
        path.display(),
        bytes as f64 * 100.0 / total.max(1) as f64,
        total >> 20,
        progress.keys.load(Ordering::Relaxed),
    ));
}
