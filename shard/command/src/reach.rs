//! How far a command reaches, and who carries it out.

use crate::call::Handler;

/// Commands that act on the connection that sent them. Carried out in `shard/src/local/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionCommand {
    /// ASKING
    Asking,
    /// AUTH
    Auth,
    /// ECHO
    Echo,
    /// HELLO
    Hello,
    /// PING
    Ping,
    /// QUIT
    Quit,
    /// READONLY
    ReadOnly,
    /// READWRITE
    ReadWrite,
    /// RESET
    Reset,
    /// SELECT
    Select,
    /// CLIENT CACHING
    ClientCaching,
    /// CLIENT GETREDIR
    ClientGetRedir,
    /// CLIENT NO-EVICT
    ClientNoEvict,
    /// CLIENT NO-TOUCH
    ClientNoTouch,
    /// CLIENT REPLY
    ClientReply,
    /// CLIENT TRACKING
    ClientTracking,
    /// CLIENT TRACKINGINFO
    ClientTrackingInfo,
    /// CLIENT GETNAME
    ClientGetName,
    /// CLIENT ID
    ClientId,
    /// CLIENT INFO
    ClientInfo,
    /// CLIENT SETINFO
    ClientSetInfo,
    /// CLIENT SETNAME
    ClientSetName,
    /// CLIENT HELP
    ClientHelp,
}

/// Commands that act on the node or the process. Carried out in `shard/src/local/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NodeCommand {
    /// CLIENT KILL
    ClientKill,
    /// CLIENT PAUSE
    ClientPause,
    /// CLIENT UNPAUSE
    ClientUnpause,
    /// CLIENT LIST
    ClientList,
    /// CLIENT UNBLOCK
    ClientUnblock,
    /// CLUSTER ADDSLOTS
    ClusterAddSlots,
    /// CLUSTER ADDSLOTSRANGE
    ClusterAddSlotsRange,
    /// CLUSTER BUMPEPOCH
    ClusterBumpEpoch,
    /// CLUSTER DELSLOTS
    ClusterDelSlots,
    /// CLUSTER DELSLOTSRANGE
    ClusterDelSlotsRange,
    /// CLUSTER FAILOVER
    ClusterFailover,
    /// CLUSTER FLUSHSLOTS
    ClusterFlushSlots,
    /// CLUSTER FORGET
    ClusterForget,
    /// CLUSTER MEET
    ClusterMeet,
    /// CLUSTER REPLICATE
    ClusterReplicate,
    /// CLUSTER RESET
    ClusterReset,
    /// CLUSTER SAVECONFIG
    ClusterSaveConfig,
    /// CLUSTER SET-CONFIG-EPOCH
    ClusterSetConfigEpoch,
    /// CLUSTER SETSLOT
    ClusterSetSlot,
    /// CLUSTER COUNT-FAILURE-REPORTS
    ClusterCountFailureReports,
    /// CLUSTER HELP
    ClusterHelp,
    /// CLUSTER INFO
    ClusterInfo,
    /// CLUSTER KEYSLOT
    ClusterKeySlot,
    /// CLUSTER LINKS
    ClusterLinks,
    /// CLUSTER MYID
    ClusterMyId,
    /// CLUSTER MYSHARDID
    ClusterMyShardId,
    /// CLUSTER NODES
    ClusterNodes,
    /// CLUSTER REPLICAS and CLUSTER SLAVES
    ClusterReplicas,
    /// CLUSTER SHARDS
    ClusterShards,
    /// CLUSTER SLOTS
    ClusterSlots,
    /// COMMAND
    Command,
    /// COMMAND COUNT
    CommandCount,
    /// COMMAND DOCS
    CommandDocs,
    /// COMMAND GETKEYS
    CommandGetKeys,
    /// COMMAND GETKEYSANDFLAGS
    CommandGetKeysAndFlags,
    /// COMMAND HELP
    CommandHelp,
    /// COMMAND INFO
    CommandInfo,
    /// COMMAND LIST
    CommandList,
    /// CONFIG GET
    ConfigGet,
    /// CONFIG HELP
    ConfigHelp,
    /// CONFIG RESETSTAT
    ConfigResetStat,
    /// `CONFIG REWRITE`.
    ConfigRewrite,
    /// CONFIG SET
    ConfigSet,
    /// DEBUG
    Debug,
    /// BGREWRITEAOF
    BgRewriteAof,
    /// BGSAVE
    BgSave,
    /// FAILOVER
    Failover,
    /// LASTSAVE
    LastSave,
    /// LOLWUT
    Lolwut,
    /// REPLCONF
    ReplConf,
    /// REPLICAOF and SLAVEOF
    ReplicaOf,
    /// MONITOR
    Monitor,
    /// PUBSUB CHANNELS
    PubSubChannels,
    /// PUBSUB HELP
    PubSubHelp,
    /// PUBSUB NUMPAT
    PubSubNumPat,
    /// PUBSUB NUMSUB
    PubSubNumSub,
    /// PUBSUB SHARDCHANNELS
    PubSubShardChannels,
    /// PUBSUB SHARDNUMSUB
    PubSubShardNumSub,
    /// ROLE
    Role,
    /// SAVE
    Save,
    /// SHUTDOWN
    Shutdown,
    /// SYNC and PSYNC
    Sync,
    /// WAIT
    Wait,
    /// WAITAOF
    WaitAof,
    /// FUNCTION DELETE
    FunctionDelete,
    /// FUNCTION DUMP
    FunctionDump,
    /// FUNCTION FLUSH
    FunctionFlush,
    /// FUNCTION HELP
    FunctionHelp,
    /// FUNCTION KILL
    FunctionKill,
    /// FUNCTION LIST
    FunctionList,
    /// FUNCTION RESTORE
    FunctionRestore,
    /// FUNCTION STATS
    FunctionStats,
    /// INFO
    Info,
    /// LATENCY DOCTOR
    LatencyDoctor,
    /// LATENCY GRAPH
    LatencyGraph,
    /// LATENCY HELP
    LatencyHelp,
    /// LATENCY HISTOGRAM
    LatencyHistogram,
    /// LATENCY HISTORY
    LatencyHistory,
    /// LATENCY LATEST
    LatencyLatest,
    /// LATENCY RESET
    LatencyReset,
    /// MEMORY DOCTOR
    MemoryDoctor,
    /// MEMORY HELP
    MemoryHelp,
    /// MEMORY MALLOC-STATS
    MemoryMallocStats,
    /// MEMORY PURGE
    MemoryPurge,
    /// MEMORY STATS
    MemoryStats,
    /// SLOWLOG GET
    SlowlogGet,
    /// SLOWLOG HELP
    SlowlogHelp,
    /// SLOWLOG LEN
    SlowlogLen,
    /// SLOWLOG RESET
    SlowlogReset,
    /// TIME
    Time,
}

/// Commands that make transactions of others. Carried out in `shard/src/transaction.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionCommand {
    /// DISCARD
    Discard,
    /// EXEC
    Exec,
    /// MULTI
    Multi,
    /// UNWATCH
    Unwatch,
    /// WATCH
    Watch,
}

/// The three ways to hear messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelKind {
    /// A channel of the whole cluster.
    Global,
    /// All of those whose names match a pattern.
    Pattern,
    /// A channel of the shard that owns the slot of its name.
    Shard,
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Global, Self::Pattern, Self::Shard];
}

/// Commands that say and hear messages. Carried out in `shard/src/pubsub.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PubSubCommand {
    /// SUBSCRIBE, PSUBSCRIBE, SSUBSCRIBE
    Subscribe(ChannelKind),
    /// UNSUBSCRIBE, PUNSUBSCRIBE, SUNSUBSCRIBE
    Unsubscribe(ChannelKind),
    /// PUBLISH, SPUBLISH
    Publish(ChannelKind),
}

/// How far a command reaches, and its code where it works on keys.
#[derive(Clone, Copy, Debug)]
pub enum Reach {
    /// The slot (or slots) of its keys.
    Slot(Handler),
    /// All that a shard holds.
    Shard(Handler),
    /// The connection.
    Connection(ConnectionCommand),
    /// The node or the process.
    Node(NodeCommand),
    /// The connection, and the shards of the keys that it watches or its queued commands name.
    Transaction(TransactionCommand),
    /// The connection, or all those that hear a channel.
    PubSub(PubSubCommand),
    /// Nothing: a container of subcommands.
    Container,
}
