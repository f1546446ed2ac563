//! THE table: every directive, declared once.
//!
//! First those that code reads, each with a handle and the text that `--help` and `slotmesh.conf` show; then
//! those of Redis 7.2 that we answer for (name, bounds and default as in `config.c`), so that a redis.conf
//! starts the node. One that asks for what we do not do yet, and whose absence an operator can bear once told, says
//! in the log what is `missing`; one whose silence would betray (another role, another protocol, other rights) is
//! `default_only`: its default is accepted, anything else is refused. To give a directive code, move its row up and write its text.

use crate::declaration::{Directive, Kind, boolean, choice, dropped, file_only, integer, memory, special, text};
use crate::handle::Handle;
use crate::value::{LogLevel, OutputLimits, SavePoint};

/// Greatest value of Redis's signed 32-bit numbers.
const I32: i64 = i32::MAX as i64;
/// Greatest value of Redis's unsigned 32-bit numbers.
const U32: i64 = u32::MAX as i64;
/// Greatest value of Redis's signed 64-bit numbers.
const I64: i64 = i64::MAX;
/// The same, for sizes.
const SIZE: u64 = i64::MAX as u64;
const MIB: u64 = 1024 * 1024;

/// Most cores and shards of a process; the bound of a CPU list as well. At the bound: refused.
const CORES_MAX: i64 = 1024;
/// Most databases of a standalone process (`DATABASES_MAX` of the vocabulary). At the bound: refused.
const DATABASES_MAX: i64 = 16384;
/// Most addresses to listen on (Redis: `CONFIG_BINDADDR_MAX`). At the bound: refused.
const ADDRESSES_MAX: usize = 16;

const EVICTION: &[&str] = &[
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "noeviction",
];
const FACILITIES: &[&str] = &["user", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7"];
const IO_BACKENDS: &[&str] = &["auto", "io_uring", "epoll"];
const SYNC_POLICIES: &[&str] = &["everysec", "always", "no"];
const PROTECTED: &[&str] = &["no", "yes", "local"];
const NO_EVICTION: &str = "memory is not bounded, nothing is evicted";
const SHUTDOWN: &[&str] = &["default", "save", "nosave", "now", "force"];

macro_rules! directives {
    (
        used { $( $(#[doc = $doc:literal])+ $used:ident: $used_type:ty = $used_row:expr; )+ }
        answered { $( #[doc = $note:literal] $answered:ident: $type:ty = $row:expr; )+ }
        others { $( $other:expr; )+ }
    ) => {
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Place { $($used,)+ $($answered,)+ }

        const ROWS: &[Directive] = &[
            $( $used_row.used(concat!($($doc, "\n"),+)), )+
            $( $row, )+
            $( $other, )+
        ];

        $( $(#[doc = $doc])+
        pub const $used: Handle<$used_type> =
            Handle::of(Place::$used as usize, ROWS[Place::$used as usize].kind); )+

        $( #[doc = $note]
        pub const $answered: Handle<$type> =
            Handle::of(Place::$answered as usize, ROWS[Place::$answered as usize].kind); )+
    };
}

/// All rows. Their order is the order of CONFIG GET.
pub static TABLE: &[Directive] = ROWS;

/// The row with this name or alias, in any case.
pub fn find(name: &str) -> Option<&'static Directive> {
    index_of(name).map(|index| &TABLE[index])
}

pub(crate) fn index_of(name: &str) -> Option<usize> {
    TABLE.iter().position(|row| row.is_called(name))
}

// Braces keep the formatter away: one row, one line.
directives! {
    used {
        /// Addresses to listen on. A `-` in front of one means that it may be missing on this host.
        /// Loopback only, unless you say otherwise; `*` and `-::*` are all of IPv4 and IPv6.
        BIND: [String] = special("bind", "127.0.0.1 -::1", Kind::Words { max: ADDRESSES_MAX });
        /// TCP port for clients; 0 = none.
        PORT: u16 = integer("port", "6379", 0, 65535);
        /// Most connections that wait to be accepted. The kernel's own bound (`net.core.somaxconn`) holds
        /// as well.
        TCP_BACKLOG: i32 = integer("tcp-backlog", "511", 0, I32).fixed();
        /// Path of a unix socket to listen on; empty = none.
        UNIXSOCKET: str = text("unixsocket", "").fixed();
        /// Mode of the unix socket, in octal; 0 = as the umask has it.
        UNIXSOCKETPERM: u32 = special("unixsocketperm", "0", Kind::Octal { max: 0o777 }).fixed();
        /// Close a client that was silent for so many seconds; 0 = never.
        TIMEOUT: u32 = integer("timeout", "0", 0, I32);
        /// Probe a silent client's connection after so many seconds; 0 = never.
        TCP_KEEPALIVE: u32 = integer("tcp-keepalive", "300", 0, I32);
        /// While there is no password, serve clients of this host only.
        PROTECTED_MODE: bool = boolean("protected-mode", "yes");
        /// Password that clients must give (AUTH); empty = none. Never logged.
        REQUIREPASS: str = text("requirepass", "").secret();
        /// Most clients at once.
        MAXCLIENTS: u32 = integer("maxclients", "10000", 1, U32);
        /// Core threads; 0 = as many as there are CPUs to run on. More threads than CPUs are neither
        /// pinned nor do they spin.
        CORES: usize = integer("cores", "0", 0, CORES_MAX).settled();
        /// Shards, at most one per core; 0 = one on every core. The other cores only pass on.
        SHARDS: usize = integer("shards", "0", 0, CORES_MAX).settled();
        /// Whether each shard is a node of a Redis Cluster. It then has a port of its own: `port`, and those
        /// behind it. `shards` is 1 unless you say otherwise, and there is one database.
        CLUSTER_ENABLED: bool = boolean("cluster-enabled", "no").fixed();
        /// Whether the shards of this process form a cluster of their own. Each has its part of the slots
        /// from the start.
        CLUSTER_SELF_FORM: bool = boolean("cluster-self-form", "no").settled();
        /// Port of a gateway that hides the cluster of `cluster-enabled yes`; 0 = none.
        GATEWAY_PORT: u16 = integer("gateway-port", "0", 0, 65535).settled();
        /// Milliseconds for which the gateway tries to reach a node of another host.
        /// It goes on through failovers, moves of slots and lost links; then the client gets an error.
        GATEWAY_RETRY_TIMEOUT: u64 = integer("gateway-retry-timeout", "20000", 1, I32);
        /// Milliseconds that such a node may be silent while it owes answers. Then the link is given up.
        /// 0 = as many as `gateway-retry-timeout`.
        GATEWAY_TIMEOUT: u64 = integer("gateway-timeout", "0", 0, I32);
        /// Most links of each core to such nodes. One for each node and RESP version, and one for each
        /// client that waits (BLPOP) or watches keys (WATCH) there.
        GATEWAY_LINKS_MAX: usize = integer("gateway-links-max", "4096", 1, 65536);
        /// Where the gateway reads what other hosts have: from `master`, `replica` or `any`.
        /// Without a replica that is well the master is asked. Replicas may be behind.
        GATEWAY_READ_FROM: &'static str = choice("gateway-read-from", "master", &["master", "replica", "any"]);
        /// The user as whom the gateway comes to such nodes; empty = `masteruser`.
        GATEWAY_USER: str = text("gateway-user", "").secret();
        /// The password with which the gateway comes to such nodes; empty = `masterauth`.
        GATEWAY_PASSWORD: str = text("gateway-password", "").secret();
        /// The address of this process's nodes; empty = the one at which a client has come.
        CLUSTER_ANNOUNCE_IP: str = text("cluster-announce-ip", "");
        /// The port that the first node shows; 0 = the real ones. Each next one shows the port behind.
        CLUSTER_ANNOUNCE_PORT: u16 = integer("cluster-announce-port", "0", 0, 65535);
        /// The same for the ports of the cluster bus; 0 = the real ones.
        CLUSTER_ANNOUNCE_BUS_PORT: u16 = integer("cluster-announce-bus-port", "0", 0, 65535);
        /// Port of the cluster bus of the first node; 0 = 10000 above its client port.
        CLUSTER_PORT: u16 = integer("cluster-port", "0", 0, 65535).fixed();
        /// What a node remembers of its cluster; written by the node. The second shard has `-1` before the
        /// extension, and so on. A lock on `<file>.lock` keeps other processes out.
        CLUSTER_CONFIG_FILE: str = text("cluster-config-file", "nodes.conf").fixed();
        /// Milliseconds that a node may be silent before it is suspected.
        CLUSTER_NODE_TIMEOUT: i64 = integer("cluster-node-timeout", "15000", 0, I64);
        /// Suspect a node that has closed its links and refuses new ones for so many ms.
        /// 0 = suspect only who was silent for `cluster-node-timeout`. Where slotmesh masters have the
        /// majority, it also lets our replicas ask for votes at once.
        CLUSTER_CRASH_DETECT_MS: i64 = integer("cluster-crash-detect-ms", "300", 0, I32);
        /// How old a replica's data may be for it to take over. In node timeouts, on top of
        /// `repl-ping-replica-period`; 0 = of any age.
        CLUSTER_REPLICA_VALIDITY_FACTOR: u32 =
            integer("cluster-replica-validity-factor", "10", 0, I32).aliases(&["cluster-slave-validity-factor"]);
        /// Whether a replica takes over only when it is told to.
        CLUSTER_REPLICA_NO_FAILOVER: bool =
            boolean("cluster-replica-no-failover", "no").aliases(&["cluster-slave-no-failover"]);
        /// How many working replicas a master keeps. Others may go to a master that has lost its own.
        CLUSTER_MIGRATION_BARRIER: u32 = integer("cluster-migration-barrier", "1", 0, I32);
        /// Whether replicas go to other masters by themselves.
        CLUSTER_ALLOW_REPLICA_MIGRATION: bool = boolean("cluster-allow-replica-migration", "yes");
        /// Whether a master that had replicas serves its slots when it comes back without data. Else it is silent until
        /// a replica has taken over, lest the replicas take its emptiness for the data.
        CLUSTER_START_EMPTY: bool = boolean("cluster-start-empty", "no").settled();
        /// Seconds that a master that is to stop leaves a replica to take over. 0 = it stops at once.
        SHUTDOWN_TIMEOUT: u64 = integer("shutdown-timeout", "10", 0, I32);
        /// Seconds between two signs of life that a master gives to its replicas.
        REPL_PING_REPLICA_PERIOD: u32 =
            integer("repl-ping-replica-period", "10", 1, I32).aliases(&["repl-ping-slave-period"]);
        /// The host name of this process's nodes for clients; empty = none.
        CLUSTER_ANNOUNCE_HOSTNAME: str = special("cluster-announce-hostname", "", Kind::HostName);
        /// A name of this process's nodes for people; empty = none.
        CLUSTER_ANNOUNCE_HUMAN_NODENAME: str = text("cluster-announce-human-nodename", "");
        /// What redirects tell clients to dial. It is `ip`, `hostname` or `unknown-endpoint`, which is what they have
        /// dialled.
        CLUSTER_PREFERRED_ENDPOINT_TYPE: &'static str =
            choice("cluster-preferred-endpoint-type", "ip", &["ip", "hostname", "unknown-endpoint"]);
        /// Whether nothing is served while a slot has no owner, or one that has failed.
        CLUSTER_REQUIRE_FULL_COVERAGE: bool = boolean("cluster-require-full-coverage", "yes");
        /// Whether reads are served while the cluster is down.
        CLUSTER_ALLOW_READS_WHEN_DOWN: bool = boolean("cluster-allow-reads-when-down", "no");
        /// Whether shard channels are served while the cluster is down.
        CLUSTER_ALLOW_PUBSUBSHARD_WHEN_DOWN: bool = boolean("cluster-allow-pubsubshard-when-down", "yes");
        /// Most bytes that may wait on a link to another node; 0 = no limit. Beyond, the link is closed.
        CLUSTER_LINK_SENDBUF_LIMIT: u64 = memory("cluster-link-sendbuf-limit", "0", 0, u64::MAX);
        /// The address from which nodes dial each other; empty = as the system chooses. It does so as well if this one
        /// cannot be had.
        BIND_SOURCE_ADDR: str = text("bind-source-addr", "");
        /// CPUs for the core threads, such as `0-3,8`; empty = any. `0-7:2` is every second one of them.
        SERVER_CPULIST: [usize] = special("server_cpulist", "", Kind::CpuList).aliases(&["server-cpulist"]).settled();
        /// How to reach the network: `io_uring`, `epoll` or `auto`. With `epoll` each send and each receive
        /// is a system call. `auto` is io_uring where it is allowed, else epoll, with a warning that says why.
        IO_BACKEND: &'static str = choice("io-backend", "auto", IO_BACKENDS).settled();
        /// Number of databases.
        DATABASES: usize = integer("databases", "16", 1, DATABASES_MAX).fixed();
        /// Longest argument of a request, in bytes.
        PROTO_MAX_BULK_LEN: u64 = memory("proto-max-bulk-len", "512mb", MIB, SIZE);
        /// Most bytes that are kept of a request whose end has not arrived. Above it the client is closed.
        CLIENT_QUERY_BUFFER_LIMIT: u64 = memory("client-query-buffer-limit", "1gb", MIB, SIZE);
        /// When to close a client that does not read. Per class (normal, replica, pubsub): the bytes that
        /// may wait for it, the bytes that may wait for so many seconds on end, the seconds; 0 = no limit.
        CLIENT_OUTPUT_BUFFER_LIMIT: OutputLimits = special("client-output-buffer-limit",
            "normal 0 0 0 replica 256mb 64mb 60 pubsub 32mb 8mb 60", Kind::OutputLimits);
        /// How often per second background work is done, 1 to 500.
        HZ: u32 = integer("hz", "10", 0, I32).clamped(1, 500);
        /// How hard to look for expired keys that nobody asks for, 1 to 10.
        ACTIVE_EXPIRE_EFFORT: u32 = integer("active-expire-effort", "1", 1, 10);
        /// How much to log: debug, verbose, notice, warning or nothing.
        LOGLEVEL: LogLevel = choice("loglevel", "notice", LogLevel::NAMES);
        /// File to log to; empty = standard output.
        LOGFILE: str = text("logfile", "").fixed();
        /// Whether the log goes to the system's log (`/dev/log`) as well.
        SYSLOG_ENABLED: bool = boolean("syslog-enabled", "no").fixed();
        /// Name of the process in the system's log.
        SYSLOG_IDENT: str = text("syslog-ident", "redis").fixed();
        /// Facility of the system's log: user, or local0 to local7.
        SYSLOG_FACILITY: &'static str = choice("syslog-facility", "local0", FACILITIES).fixed();
        /// Whether a bug is logged with the place where it was met and how it came there.
        CRASH_LOG_ENABLED: bool = boolean("crash-log-enabled", "yes");
        /// Whether the log begins with a logo also where it is not read at a terminal.
        ALWAYS_SHOW_LOGO: bool = boolean("always-show-logo", "no").fixed();
        /// Whether the process names itself, for `ps` and `top`.
        SET_PROC_TITLE: bool = boolean("set-proc-title", "yes").fixed();
        /// The name, with variables in braces. They are {title} (the command), {listen-addr}, {server-mode},
        /// {port}, {tls-port}, {unixsocket} and {config-file}.
        PROC_TITLE_TEMPLATE: str =
            special("proc-title-template", "\"{title} {listen-addr} {server-mode}\"", Kind::Template);
        /// Whether to run in the background. Not obeyed where somebody supervises.
        DAEMONIZE: bool = boolean("daemonize", "no").fixed();
        /// File that holds the process id while we serve; empty = none. With `daemonize yes` empty is
        /// /var/run/slotmesh.pid.
        PIDFILE: str = text("pidfile", "").fixed();
        /// Who supervises: no, systemd (told by NOTIFY_SOCKET), upstart, or auto to find out.
        SUPERVISED: &'static str = choice("supervised", "no", &["upstart", "systemd", "auto", "no"]).fixed();
        /// What SIGINT does: default, or some of save, nosave, now, force, as SHUTDOWN has them.
        SHUTDOWN_ON_SIGINT: [String] = special("shutdown-on-sigint", "default", Kind::Flags(SHUTDOWN));
        /// The same for SIGTERM.
        SHUTDOWN_ON_SIGTERM: [String] = special("shutdown-on-sigterm", "default", Kind::Flags(SHUTDOWN));
        /// How soon the kernel ends us when memory runs out. no = as it is, absolute (or yes) = the first of
        /// the values, relative = that much more than now.
        OOM_SCORE_ADJ: &'static str = choice("oom-score-adj", "no", &["no", "yes", "relative", "absolute"]);
        /// The scores of a master, a replica, and a child that saves; -2000 to 2000.
        OOM_SCORE_ADJ_VALUES: [String] = special("oom-score-adj-values", "0 200 800", Kind::OomScores);
        /// Whether the process has no huge pages where the kernel gives them to everybody. (`always` in
        /// /sys/kernel/mm/transparent_hugepage/enabled.)
        DISABLE_THP: bool = boolean("disable-thp", "yes").fixed();
        /// Largest piece of a list: -1 to -5 for 4, 8, 16, 32, 64 KiB, or a number of elements. A list
        /// of one piece is the most compact.
        LIST_MAX_LISTPACK_SIZE: i32 =
            integer("list-max-listpack-size", "-2", -I32 - 1, I32).aliases(&["list-max-ziplist-size"]);
        /// How slowly the counters of OBJECT FREQ grow with accesses.
        LFU_LOG_FACTOR: u32 = integer("lfu-log-factor", "10", 0, I32);
        /// Minutes in which a counter of OBJECT FREQ falls by one; 0: it does not.
        LFU_DECAY_TIME: u32 = integer("lfu-decay-time", "1", 0, I32);
        /// Most keys that are remembered for CLIENT TRACKING; 0 = no limit. Clients are told to forget those beyond.
        TRACKING_TABLE_MAX_KEYS: u64 = integer("tracking-table-max-keys", "1000000", 0, I64);
        /// Directory to work in. Files without a directory of their own are found there.
        DIR: str = text("dir", "./").protected();
        /// Whether CONFIG SET may change `dir` and names of files.
        ENABLE_PROTECTED_CONFIGS: &'static str = choice("enable-protected-configs", "no", PROTECTED).fixed();
        /// Who may use DEBUG: nobody (no), everybody (yes), or clients of this host (local).
        ENABLE_DEBUG_COMMAND: &'static str = choice("enable-debug-command", "no", PROTECTED).fixed();
        /// Log commands (SLOWLOG) that took at least so many microseconds; 0 = all, -1 = none.
        SLOWLOG_LOG_SLOWER_THAN: i64 = integer("slowlog-log-slower-than", "10000", -1, I64);
        /// Most entries of that log; the oldest go.
        SLOWLOG_MAX_LEN: i64 = integer("slowlog-max-len", "128", 0, I64);
        /// Note what took at least so many milliseconds (LATENCY); 0 = nothing.
        LATENCY_MONITOR_THRESHOLD: i64 = integer("latency-monitor-threshold", "0", 0, I64);
        /// Whether to count how long each command takes (LATENCY HISTOGRAM, INFO latencystats).
        LATENCY_TRACKING: bool = boolean("latency-tracking", "yes");
        /// Which percentiles of that INFO prints.
        LATENCY_TRACKING_INFO_PERCENTILES: [String] =
            special("latency-tracking-info-percentiles", "50 99 99.9", Kind::Percentiles);
        /// Host and port of the master that this process follows; `no one` = it is a master. REPLICAOF changes it.
        REPLICAOF: [String] = special("replicaof", "no one", Kind::Master).aliases(&["slaveof"]).fixed();
        /// Whether a full sync streams the data. Else they go to a file first.
        REPL_DISKLESS_SYNC: bool = boolean("repl-diskless-sync", "yes");
        /// Whether the stream to replicas waits to fill packets.
        REPL_DISABLE_TCP_NODELAY: bool = boolean("repl-disable-tcp-nodelay", "no");
        /// Whether a replica that has lost its master shows the data that it has.
        REPLICA_SERVE_STALE_DATA: bool =
            boolean("replica-serve-stale-data", "yes").aliases(&["slave-serve-stale-data"]);
        /// Whether a replica refuses writes.
        REPLICA_READ_ONLY: bool = boolean("replica-read-only", "yes").aliases(&["slave-read-only"]);
        /// Whether INFO says that sentinels may tell of this replica.
        REPLICA_ANNOUNCED: bool = boolean("replica-announced", "yes");
        /// The address that a replica tells its master; empty = where it comes from.
        REPLICA_ANNOUNCE_IP: str = text("replica-announce-ip", "").aliases(&["slave-announce-ip"]);
        /// The user as whom a replica comes to its master; empty = the default one.
        MASTERUSER: str = text("masteruser", "").secret();
        /// The password with which a replica comes to its master.
        MASTERAUTH: str = text("masterauth", "").secret();
        /// How gladly sentinels promote this replica: the lowest first, 0 never.
        REPLICA_PRIORITY: u64 = integer("replica-priority", "100", 0, I32).aliases(&["slave-priority"]);
        /// The port that a replica tells its master; 0 = where it listens.
        REPLICA_ANNOUNCE_PORT: u16 =
            integer("replica-announce-port", "0", 0, 65535).aliases(&["slave-announce-port"]);
        /// Seconds of silence after which master and replica give each other up.
        REPL_TIMEOUT: u64 = integer("repl-timeout", "60", 1, I32);
        /// Refuse writes unless so many replicas follow closely; 0 = take them.
        MIN_REPLICAS_TO_WRITE: u64 = integer("min-replicas-to-write", "0", 0, I32).aliases(&["min-slaves-to-write"]);
        /// Seconds since its last word within which a replica follows closely.
        MIN_REPLICAS_MAX_LAG: u64 = integer("min-replicas-max-lag", "10", 0, I32).aliases(&["min-slaves-max-lag"]);
        /// Seconds without replicas after which the backlog is given up; 0 = never.
        REPL_BACKLOG_TTL: u64 = integer("repl-backlog-ttl", "3600", 0, I64);
        /// How much of the stream is kept for replicas that were away, in bytes.
        REPL_BACKLOG_SIZE: u64 = memory("repl-backlog-size", "1mb", 1, SIZE).clamped(16384, I64);
        /// Whether strings in RDB files, full syncs and DUMP are compressed.
        RDBCOMPRESSION: bool = boolean("rdbcompression", "yes");
        /// Whether RDB files and full syncs end with a checksum.
        RDBCHECKSUM: bool = boolean("rdbchecksum", "yes").fixed();
        /// When to save: seconds and changes. A pair is due when so many seconds have passed since the last save,
        /// and so many changes were made; empty: never, unless a command says so.
        SAVE: [SavePoint] = special("save", "3600 1 300 100 60 10000", Kind::SavePoints);
        /// The file of all data, in 'dir'. It is loaded at the start; `-1`, `-2` … stand before its extension for
        /// the further shards of a cluster.
        DBFILENAME: str = special("dbfilename", "dump.rdb", Kind::FileName { empty: true }).protected();
        /// Whether writes are refused after a save has failed. That needs save points, and ends when one succeeds.
        STOP_WRITES_ON_BGSAVE_ERROR: bool = boolean("stop-writes-on-bgsave-error", "yes");
        /// Whether files are brought to the disk while they are written. Else all of it is left for the end.
        RDB_SAVE_INCREMENTAL_FSYNC: bool = boolean("rdb-save-incremental-fsync", "yes");
        /// Whether the files of full syncs are removed. Ours have no names.
        RDB_DEL_SYNC_FILES: bool = boolean("rdb-del-sync-files", "no");
        /// Whether each write goes to an append-only file. All data are loaded from it at the start, and 'dbfilename' is
        /// not.
        APPENDONLY: bool = boolean("appendonly", "no");
        /// When the append-only file is synced: always, everysec or no. With always before a reply leaves, with no when
        /// the system thinks fit.
        APPENDFSYNC: &'static str = choice("appendfsync", "everysec", SYNC_POLICIES);
        /// How the names of its files begin. `-1`, `-2` … stand before the extension for the further shards of a cluster.
        APPENDFILENAME: str = special("appendfilename", "appendonly.aof", Kind::FileName { empty: false }).fixed();
        /// Their folder, in 'dir'.
        APPENDDIRNAME: str = special("appenddirname", "appendonlydir", Kind::FileName { empty: false }).fixed();
        /// Whether nothing is synced during a rewrite. Not even with 'appendfsync always'.
        NO_APPENDFSYNC_ON_REWRITE: bool = boolean("no-appendfsync-on-rewrite", "no");
        /// Growth in percent after which it is rewritten. With 0 only BGREWRITEAOF does that.
        AUTO_AOF_REWRITE_PERCENTAGE: u64 = integer("auto-aof-rewrite-percentage", "100", 0, I32);
        /// How large it has to be for that, in bytes.
        AUTO_AOF_REWRITE_MIN_SIZE: u64 = memory("auto-aof-rewrite-min-size", "64mb", 0, SIZE);
        /// Whether it is loaded if its end is missing. The last file is cut off behind what is whole then; else the start
        /// ends.
        AOF_LOAD_TRUNCATED: bool = boolean("aof-load-truncated", "yes");
        /// Whether a rewrite is an image in the format of RDB. Else it is commands.
        AOF_USE_RDB_PREAMBLE: bool = boolean("aof-use-rdb-preamble", "yes");
        /// Whether the time of writes is noted between them.
        AOF_TIMESTAMP_ENABLED: bool = boolean("aof-timestamp-enabled", "no");
        /// Whether a rewrite is brought to the disk while it is written. Else all of it is left for the end.
        AOF_REWRITE_INCREMENTAL_FSYNC: bool = boolean("aof-rewrite-incremental-fsync", "yes");
    }
    answered {
        /// Most memory for data, in bytes; 0 = no limit. INFO shows it, nothing is evicted yet.
        MAXMEMORY: u64 = memory("maxmemory", "0", 0, u64::MAX).missing(NO_EVICTION);
        /// What to evict. INFO shows it, nothing is evicted yet.
        MAXMEMORY_POLICY: &'static str = choice("maxmemory-policy", "noeviction", EVICTION);
        /// Microseconds that loading waits after each key, for tests.
        KEY_LOAD_DELAY: i64 = integer("key-load-delay", "0", -I32 - 1, I32).hidden();
    }
    others {
        boolean("io-threads-do-reads", "no").fixed();
        boolean("activerehashing", "yes");
        boolean("dynamic-hz", "yes");
        boolean("lazyfree-lazy-eviction", "no");
        boolean("lazyfree-lazy-expire", "no");
        boolean("lazyfree-lazy-server-del", "no");
        boolean("lazyfree-lazy-user-del", "no");
        boolean("lazyfree-lazy-user-flush", "no");
        boolean("replica-lazy-flush", "no").aliases(&["slave-lazy-flush"]);
        boolean("replica-ignore-maxmemory", "yes").aliases(&["slave-ignore-maxmemory"]);
        boolean("jemalloc-bg-thread", "yes");
        boolean("activedefrag", "no");
        boolean("crash-memcheck-enabled", "yes");
        boolean("use-exit-on-panic", "no").hidden();
        boolean("aof-disable-auto-gc", "no").hidden();
        boolean("replica-ignore-disk-write-errors", "no");

        text("aclfile", "").fixed().default_only();
        text("bio_cpulist", "").fixed();
        text("aof_rewrite_cpulist", "").fixed();
        text("bgsave_cpulist", "").fixed();
        text("ignore-warnings", "");
        text("locale-collate", "");

        choice("repl-diskless-load", "disabled", &["disabled", "on-empty-db", "swapdb"]);
        choice("acl-pubsub-default", "resetchannels", &["allchannels", "resetchannels"]);
        choice("sanitize-dump-payload", "no", &["no", "yes", "clients"]);
        choice("enable-module-command", "no", PROTECTED).fixed();
        choice("propagation-error-behavior", "ignore", &["ignore", "panic", "panic-on-replicas"]);

        integer("io-threads", "1", 1, 128).fixed();
        integer("active-defrag-cycle-min", "1", 1, 99);
        integer("active-defrag-cycle-max", "25", 1, 99);
        integer("active-defrag-threshold-lower", "10", 0, 1000);
        integer("active-defrag-threshold-upper", "100", 0, 1000);
        integer("repl-diskless-sync-delay", "5", 0, I32);
        integer("maxmemory-samples", "5", 1, I32);
        integer("maxmemory-eviction-tenacity", "10", 0, 100);
        integer("cluster-announce-tls-port", "0", 0, 65535);

        integer("list-compress-depth", "0", 0, I32);
        integer("rdb-key-save-delay", "0", -I32 - 1, I32).hidden();
        integer("watchdog-period", "0", 0, I32).hidden();
        integer("repl-diskless-sync-max-replicas", "0", 0, I32);
        integer("socket-mark-id", "0", 0, U32).fixed();
        integer("active-defrag-max-scan-fields", "1000", 1, I64);
        integer("acllog-max-len", "128", 0, I64);
        integer("busy-reply-threshold", "5000", 0, I64).aliases(&["lua-time-limit"]);
        integer("cluster-ping-interval", "0", 0, I64).hidden();
        integer("stream-node-max-entries", "100", 0, I64);
        integer("hash-max-listpack-entries", "512", 0, I64).aliases(&["hash-max-ziplist-entries"]);
        integer("set-max-intset-entries", "512", 0, I64);
        integer("set-max-listpack-entries", "128", 0, I64);
        integer("set-max-listpack-value", "64", 0, I64);
        integer("zset-max-listpack-entries", "128", 0, I64).aliases(&["zset-max-ziplist-entries"]);
        integer("loading-process-events-interval-bytes", "2097152", 1024, I32).hidden();

        memory("active-defrag-ignore-bytes", "100mb", 1, SIZE);
        memory("hash-max-listpack-value", "64", 0, SIZE).aliases(&["hash-max-ziplist-value"]);
        memory("stream-node-max-bytes", "4096", 0, SIZE);
        memory("zset-max-listpack-value", "64", 0, SIZE).aliases(&["zset-max-ziplist-value"]);
        memory("hll-sparse-max-bytes", "3000", 0, SIZE);
        special("maxmemory-clients", "0", Kind::MemoryOrPercent).missing("no client is closed to save memory");

        integer("tls-port", "0", 0, 65535).default_only();
        boolean("tls-cluster", "no").default_only();
        boolean("tls-replication", "no").default_only();
        integer("tls-session-cache-size", "20480", 0, I32);
        integer("tls-session-cache-timeout", "300", 0, I32);
        choice("tls-auth-clients", "yes", &["no", "yes", "optional"]);
        boolean("tls-prefer-server-ciphers", "no");
        boolean("tls-session-caching", "yes");
        text("tls-cert-file", "");
        text("tls-key-file", "");
        text("tls-key-file-pass", "").secret();
        text("tls-client-cert-file", "");
        text("tls-client-key-file", "");
        text("tls-client-key-file-pass", "").secret();
        text("tls-dh-params-file", "");
        text("tls-ca-cert-file", "");
        text("tls-ca-cert-dir", "");
        text("tls-protocols", "");
        text("tls-ciphers", "");
        text("tls-ciphersuites", "");

        special("notify-keyspace-events", "", Kind::KeyspaceEvents);

        // Taken in a file and forgotten, as Redis does.
        dropped("list-max-ziplist-entries");
        dropped("list-max-ziplist-value");
        dropped("lua-replicate-commands");
        // Known in a file, refused there for now.
        file_only("user").secret();
        file_only("loadmodule");
        file_only("rename-command");
        file_only("sentinel");
    }
}
