//! What the node shows to connection and node commands, and what it does for them.

pub use super::filter::{ClientFilter, ClientKind};
use super::replicate::{ReplicationFacts, ReplicationOrder};
use crate::{Census, Inspection, LatencyMonitor, PauseScope, PersistenceFacts, SaveBegin, SaveWish, SlowLog};
use slotmesh_base::{Slot, UnixMillis};
use slotmesh_cluster::Member;
use slotmesh_cluster::machine::{self, Actions, Cluster, LinkId};
use slotmesh_command::Spec;
use slotmesh_conf::Settings;
use slotmesh_replication::SyncCounts;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

/// Counters of one database of one shard.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DbFacts {
    /// Keys.
    pub keys: u64,
    /// Keys with an expiry.
    pub expires: u64,
    /// Their mean time to live in ms.
    pub average_ttl_ms: u64,
}

/// What one core has published about itself, for INFO.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CoreFacts {
    /// The CPU that it is pinned to, if any.
    pub cpu: Option<usize>,
    /// Its slots, if it has a shard: first and last.
    pub slots: Option<(u16, u16)>,
    /// Connected clients.
    pub clients: u64,
    /// Those of them that are replicas.
    pub replicas: u64,
    /// Clients that wait in a blocking command.
    pub blocked_clients: u64,
    /// Those of them whose wait ends by itself.
    pub timeouts: u64,
    /// Keys of its shard that clients wait for.
    pub blocking_keys: u64,
    /// Connections accepted since the start.
    pub connections: u64,
    /// Commands processed.
    pub commands: u64,
    /// Bytes received from clients.
    pub input_bytes: u64,
    /// Bytes sent to clients.
    pub output_bytes: u64,
    /// Bytes of partial requests held.
    pub query_buffer_bytes: u64,
    /// Bytes of replies that clients have not taken yet.
    pub output_buffer_bytes: u64,
    /// Reads that found a key.
    pub hits: u64,
    /// Reads that found none.
    pub misses: u64,
    /// Keys removed because their time had come.
    pub expired: u64,
    /// Keys and elements that commands changed.
    pub changes: u64,
    /// Error replies.
    pub errors: u64,
    /// Bytes of keys, values and tables.
    pub keyspace_bytes: u64,
    /// Largest request and replies that one client of it held when they were last counted, in bytes.
    pub client_max: (u64, u64),
    /// Pieces of memory that wait to be freed, and that were freed so.
    pub buried: (u64, u64),
    /// Keys that tracked clients have read from its shard, and pairs of such a key and a client.
    pub tracked_keys: u64,
    /// See above.
    pub tracked_items: u64,
    /// Nanoseconds of its passes of active expiry.
    pub expiry_nanos: u64,
    /// Passes of active expiry whose budget ended before their work.
    pub expiry_cut: u64,
    /// Reads that brought bytes of clients.
    pub reads: u64,
    /// Nanoseconds of its turns, without waiting.
    pub busy_nanos: u64,
    /// How often the stream of its shard was asked for since the start, and what became of it.
    pub syncs: SyncCounts,
    /// Bytes received of a master, and sent to replicas.
    pub replication_input_bytes: u64,
    /// See above.
    pub replication_output_bytes: u64,
    /// Bytes of the stream that are held.
    pub stream_bytes: u64,
    /// Databases, by index.
    pub dbs: Vec<DbFacts>,
    /// Turns of the loop.
    pub turns: u64,
    /// Entries into the kernel.
    pub enters: u64,
    /// Times that all receive buffers were taken.
    pub buffers_exhausted: u64,
    /// Commands sent to other cores.
    pub hops_out: u64,
    /// Commands run for other cores.
    pub hops_in: u64,
    /// Wakes sent to sleeping cores.
    pub wakes: u64,
    /// Microseconds of CPU used by the thread.
    pub cpu_micros: u64,
}

/// What all cores have counted of a command since the start or CONFIG RESETSTAT.
#[derive(Clone, Copy, Debug)]
pub struct CommandFacts {
    /// The command.
    pub spec: &'static Spec,
    /// Executions.
    pub calls: u64,
    /// Their time in µs.
    pub micros: u64,
    /// Requests that were refused before they ran.
    pub rejected: u64,
    /// Executions that ended with an error.
    pub failed: u64,
}

/// How long a command takes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Distribution {
    /// Executions that were timed.
    pub calls: u64,
    /// The percentiles that were asked for, in ns.
    pub percentiles: Vec<u64>,
    /// Bounds in µs, rising, each with the number of executions that were not longer.
    pub cumulative: Vec<(u64, u64)>,
}

/// What all cores did in one second.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Rates {
    /// Commands processed.
    pub commands: u64,
    /// Bytes received from clients.
    pub input_bytes: u64,
    /// Bytes sent to clients.
    pub output_bytes: u64,
    /// Bytes received from masters.
    pub replication_input_bytes: u64,
    /// Bytes sent to replicas.
    pub replication_output_bytes: u64,
    /// Turns of the loops.
    pub turns: u64,
    /// Nanoseconds of these turns, without waiting.
    pub busy_nanos: u64,
}

/// What the process knows of itself, for INFO and HELLO.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProcessFacts {
    /// Process id.
    pub pid: u32,
    /// 40 hex digits, new at each start.
    pub run_id: String,
    /// When it started.
    pub started_at: UnixMillis,
    /// `Linux 6.18.44 x86_64`.
    pub os: String,
    /// Path of the executable.
    pub executable: String,
    /// Path of the configuration file, or empty.
    pub config_file: String,
    /// Bytes that the allocator has given out.
    pub allocated_bytes: u64,
    /// Bytes in pages that the allocator uses.
    pub active_bytes: u64,
    /// Bytes of physical memory that the allocator holds.
    pub allocator_resident_bytes: u64,
    /// Resident set in bytes.
    pub resident_bytes: u64,
    /// `allocated_bytes` when the process had just started.
    pub startup_bytes: u64,
    /// Largest `allocated_bytes` seen.
    pub peak_bytes: u64,
    /// Physical memory of the machine in bytes.
    pub system_bytes: u64,
    /// CPU seconds: system, user, as microseconds.
    pub cpu_system_micros: u64,
    /// CPU of user mode in microseconds.
    pub cpu_user_micros: u64,
    /// Connections refused because of `maxclients`.
    pub rejected_connections: u64,
    /// Commands, bytes received and bytes sent in the last second that was measured.
    pub rates: Rates,
    /// Tracked clients, and prefixes of keys of which some hear.
    pub tracking: (u64, u64),
    /// Name of the data loop's backend (`io_uring` or `epoll`).
    pub io_backend: &'static str,
}

/// The node as connection and node commands see it.
pub trait Node {
    /// The settings in force.
    fn settings(&self) -> &Settings;
    /// `CONFIG SET`: changes all or nothing; on failure the text of the error reply (without `-`).
    ///
    /// # Errors
    /// The text that `slotmesh_conf` has for the first setting that cannot be changed.
    fn configure(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), slotmesh_conf::SetError>;
    /// `CONFIG REWRITE`: the settings in force into the file that the process was started with. With `force_all`
    /// (`DEBUG CONFIG-REWRITE-FORCE-ALL`) also those that hold their default.
    ///
    /// # Errors
    /// There is no file, or it cannot be replaced.
    fn rewrite_configuration(&self, force_all: bool) -> Result<(), slotmesh_conf::RewriteError>;
    /// What each core has published.
    fn cores(&self) -> Vec<CoreFacts>;
    /// What the process knows of itself.
    fn process(&self) -> ProcessFacts;
    /// Whether a client with this id is connected, on whatever core.
    fn has_client(&self, _id: u64) -> bool {
        false
    }
    /// The node's place in its cluster, for a client that has come to the port of a node: what the other functions tell
    /// is then that node's.
    fn cluster(&self) -> Option<Member<'_>> {
        None
    }
    /// Lets a command of CLUSTER ask or order the machine behind the node, for a client that has come to the port of a
    /// node; `false`, and `act` is not called, for others. What the machine wants done is done, and what it promises is
    /// on disk, before the reply leaves.
    fn with_machine(&self, _act: &mut dyn FnMut(&mut Cluster, machine::Now, &mut Actions)) -> bool {
        false
    }
    /// What the node knows of its replication: that of its shard at the port of a node, else that of the process.
    fn replication(&self) -> ReplicationFacts {
        ReplicationFacts::default()
    }
    /// What is on its disk: that of its node at the port of one, else of all nodes of the process.
    fn persistence(&self) -> PersistenceFacts {
        PersistenceFacts::default()
    }
    /// Whether all that was done here before this turn's transaction is known to be on its disk, in the append-only file.
    fn is_synced(&self) -> bool {
        false
    }
    /// Begins to save, or will, as a client wishes, unless that is under way.
    fn begin_save(&self, _wish: SaveWish) -> SaveBegin {
        SaveBegin::InProgress
    }
    /// Begins to rewrite the append-only file, unless that is under way; in a transaction, or during a save, once that has
    /// ended.
    fn begin_rewrite(&self, _is_in_transaction: bool) -> SaveBegin {
        SaveBegin::InProgress
    }
    /// The process does not end after all; whether it was about to.
    fn abort_shutdown(&self) -> bool {
        false
    }
    /// Number of keys of a slot that the node's shard holds.
    fn keys_in_slot(&self, _slot: Slot) -> usize {
        0
    }
    /// Number of keys that the node's shard holds.
    fn key_count(&self) -> usize {
        0
    }
    /// Bytes that wait on a link of the bus, and bytes of room for them.
    fn link_buffer(&self, _link: LinkId) -> (usize, usize) {
        (0, 0)
    }
    /// `CONFIG RESETSTAT`.
    fn reset_statistics(&self);
    /// The commands that were called or refused.
    fn commands(&self) -> Vec<CommandFacts>;
    /// How long a command takes, if that is known: with these percentiles (0 to 100).
    fn distribution(&self, spec: &'static Spec, percentiles: &[f64]) -> Option<Distribution>;
    /// How many error replies began with each word; `None` if the words were too many to count.
    fn errors(&self) -> Option<BTreeMap<Vec<u8>, u64>>;
    /// The slow log.
    fn slow_log(&self) -> &Mutex<SlowLog>;
    /// The latency monitor.
    fn latency(&self) -> &Mutex<LatencyMonitor>;
    /// What clients hear.
    fn census(&self) -> MutexGuard<'_, Census>;
    /// The time in µs since the Unix epoch.
    fn unix_micros(&self) -> i64;
    /// Gives unused memory back to the system; whether that went well.
    fn purge_memory(&self) -> bool;
    /// Pauses clients until then, or ends the pause.
    fn pause(&self, end: UnixMillis, scope: PauseScope);
    /// Ends the pause of clients.
    fn unpause(&self);
    /// Does what DEBUG asks for.
    fn debug(&self, act: DebugAct<'_>);
    /// What the allocator says of itself, for people.
    fn allocator_report(&self) -> String;
}

/// What DEBUG does to the process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DebugAct<'a> {
    /// LOG
    Log(&'a [u8]),
    /// SLEEP: the core that runs it does nothing for so many microseconds.
    Sleep(u64),
    /// SET-ACTIVE-EXPIRE: whether keys that are over are removed though nobody asks for them.
    ActiveExpiry(bool),
    /// SEGFAULT
    Fault,
    /// PANIC, ASSERT, OOM: the process ends with these words in its log.
    Crash(&'static str),
}

/// How the process is to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShutdownWish {
    /// Whether data are saved before.
    pub saves: bool,
    /// Whether it waits until replicas have taken over, or caught up (not with NOW).
    pub waits: bool,
    /// Whether it ends also if data cannot be saved (FORCE).
    pub forces: bool,
}

/// What is loaded again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reloading {
    /// The RDB file.
    Dump {
        /// Whether all data are saved there before.
        saves: bool,
        /// Whether the keys that there are stay.
        keeps: bool,
        /// Whether a key of the file takes the place of one that there is; else that is an error.
        merges: bool,
    },
    /// The append-only file.
    Log,
}

/// What the caller must do after a node command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeAction {
    /// Nothing: the reply is written.
    Done,
    /// Gather the lines of all cores' clients (`Gather::texts`).
    ListClients {
        /// Which ones.
        filter: ClientFilter,
        /// Bytes of the request, which count as held by the client that asks.
        request_bytes: usize,
    },
    /// Close the clients of all cores whom the filter chooses. The reply is their number (`Gather::sums`), or OK or an
    /// error (`Gather::kill_one`). Who asks is closed when it has the reply.
    KillClients {
        /// Which ones.
        filter: ClientFilter,
        /// Whether the reply is their number.
        counts: bool,
    },
    /// Saves have begun. Nothing more, as the reply is written; or the reply is to come when they have ended.
    Save {
        /// Whether it waits.
        waits: bool,
    },
    /// End the process, without a reply, unless that fails.
    Shutdown(ShutdownWish),
    /// Load all data again (DEBUG RELOAD, DEBUG LOADAOF).
    Reload(Reloading),
    /// The process does not end after all; the reply is written.
    AbortShutdown,
    /// Change the node's replication, or ask it.
    Replicate(ReplicationOrder),
    /// Have every core look at what the process knows of pauses (`Gather::all_ok`).
    Refresh,
    /// Show the client all commands from now on; the reply comes when all cores know (`Gather::all_ok`).
    Monitor,
    /// Walk a snapshot of every shard to nowhere, and gather what each core says of it (`Gather::texts`).
    DrillSnapshot {
        /// Most bytes of pages that a shard may keep for the snapshot.
        copies_bytes_max: usize,
    },
    /// Have every shard answer ([`Shard::inspect`](crate::Shard::inspect)), and gather (`Gather::inspection`).
    Inspect(Inspection),
    /// Find the client among all cores' and end its waiting: as if its time were up, or with an error. The reply is the
    /// number of clients unblocked, 1 or 0.
    Unblock {
        /// The client's id.
        client: u64,
        /// Whether it gets an error instead of its command's reply to a timeout.
        with_error: bool,
    },
}
