//! Errors that several rooms answer with, spelled once, with the texts of Redis 7.2.

use core::fmt;

/// An error reply without its leading `-` and its line end. Texts are those of Redis 7.2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplyError {
    /// The key holds another type than the command works on.
    WrongType,
    /// The options of a command do not fit together or are unknown.
    Syntax,
    /// The key must exist and does not.
    NoSuchKey,
    /// An argument is not a 64-bit signed integer.
    NotAnInteger,
    /// An argument is not a float.
    NotAFloat,
    /// An argument must be zero or more.
    MustBePositive,
    /// An index lies outside of the value.
    IndexOutOfRange,
    /// `LPOS` with a rank of zero.
    RankZero,
    /// `LPOS` with the one rank that has no opposite.
    RankOutOfRange,
    /// `LPOS` with a count that is no number, or negative.
    MatchCountNegative,
    /// `LPOS` with a length that is no number, or negative.
    MaxLenNegative,
    /// A number of keys that is no number, or less than one.
    KeyCountNotPositive,
    /// A count that is no number, or less than one.
    CountNotPositive,
    /// The timeout of a blocking command is no number of seconds.
    TimeoutNotAFloat,
    /// The timeout of a blocking command ends beyond all times.
    TimeoutOutOfRange,
    /// The timeout of a blocking command is negative.
    TimeoutNegative,
    /// An argument is not a 32-bit signed integer.
    NotAnInt32,
    /// Source and destination are the same object.
    SameObject,
    /// The expiry of the named command is out of range. Holds the command's name in lower case.
    InvalidExpire(&'static str),
    /// `INCR` or `DECR` would overflow.
    IncrementOverflow,
    /// `DECRBY` with the smallest integer.
    DecrementOverflow,
    /// `INCRBYFLOAT` would make no finite number.
    IncrementNotFinite,
    /// `SETRANGE` with a negative offset.
    OffsetOutOfRange,
    /// `LCS` of keys that hold other types.
    LcsNotStrings,
    /// `LCS` that is asked for the length alone and for the indexes.
    LcsAmbiguous,
    /// `LCS` of a string whose positions do not fit 32 bits.
    LcsTooLong,
    /// `LCS` whose table would pass `proto-max-bulk-len`.
    LcsMemory,
    /// A bit offset is no number, negative or beyond `proto-max-bulk-len`.
    BitOffset,
    /// A bit to store is neither 0 nor 1.
    BitValue,
    /// A bit to look for is neither 0 nor 1.
    BitSearched,
    /// `BITOP NOT` of several keys.
    BitopNotSingle,
    /// A type of `BITFIELD` is not one from i1 to i64 or from u1 to u63.
    BitfieldType,
    /// `BITFIELD` with an unknown way to overflow.
    BitfieldOverflow,
    /// `BITFIELD_RO` that would write.
    BitfieldReadOnly,
    /// `OBJECT IDLETIME` while frequencies are kept.
    FrequencySelected,
    /// `OBJECT FREQ` while no frequencies are kept.
    FrequencyNotSelected,
    /// `SORT` by numbers, where one of them is none.
    SortNotNumbers,
    /// `SORT` with a pattern for `BY`, of a cluster node.
    SortByInClusterMode,
    /// `SORT` with `GET`, of a cluster node.
    SortGetInClusterMode,
    /// A value would pass `proto-max-bulk-len`.
    StringTooLong,
    /// No such database.
    DbIndexOutOfRange,
    /// `SWAPDB` with a first database that is no number.
    InvalidFirstDbIndex,
    /// `SWAPDB` with a second database that is no number.
    InvalidSecondDbIndex,
    /// `SELECT` with something that is no number.
    InvalidDbIndex,
    /// The arity does not fit. Holds the full name, as in `config|get`.
    WrongArity(&'static str),
    /// The client must authenticate first.
    AuthenticationRequired,
    /// `AUTH` with a wrong name or password.
    WrongPassword,
    /// `AUTH` with one argument while the default user needs no password.
    NoPasswordSet,
    /// `HELLO` of a client that has not authenticated.
    HelloUnauthenticated,
    /// `HELLO` with a version that we do not speak.
    UnsupportedProtocol,
    /// `HELLO` with a version that is no number.
    ProtocolNotAnInteger,
    /// A cursor of `SCAN` is no number.
    InvalidCursor,
    /// A client name has bytes that it must not have.
    ClientNameCharacters,
    /// NX together with XX, GT or LT.
    ExpireNxConflict,
    /// GT together with LT.
    ExpireGtLtConflict,
    /// Keys of one command lie in several slots and cannot be split.
    CrossSlot,
    /// No node owns the slot of the first key.
    SlotNotServed,
    /// The cluster does not serve, since slots have no owners.
    ClusterDown,
    /// A node answers a change while the cluster lets clients only read.
    ClusterReadOnly,
    /// A gateway waited in vain for the node that has a slot. CLUSTERDOWN, as it may be another node's soon.
    NodeNotReached,
    /// A gateway has lost the node that was running a command, which may not be sent twice.
    FateUnknown,
    /// Nodes send a gateway from one to the other without an end.
    RedirectedForEver,
    /// The node that has a slot answers a gateway what is no reply, or none to what it was asked.
    GarbledReply,
    /// The node that has a slot does not let a gateway in.
    GatewayRefused,
    /// A gateway has as many links as `gateway-links-max` allows.
    NoLinksLeft,
    /// A write that another core has admitted comes to a node while a replica takes over from it. TRYAGAIN, as it is what
    /// helps.
    HandingOver,
    /// A client of the gateway waits for a key whose slot another core of the process has now. TRYAGAIN, as it is what
    /// helps.
    MovedWhileWaiting,
    /// CLIENT TRACKING with BCAST at a gateway to other hosts, which do not tell of all keys.
    BroadcastAcrossHosts,
    /// A command of cluster nodes, and we are none.
    ClusterDisabled,
    /// A slot's number is none.
    InvalidSlot,
    /// A slot's number is none, or a number of keys is negative.
    InvalidSlotOrCount,
    /// Databases other than the first, of a cluster node. Holds the command's name in upper case.
    NotInClusterMode(&'static str),
    /// `COPY` to another database of a cluster node.
    CopyNotInClusterMode,
    /// `RESTORE` of a key that is there.
    BusyKey,
    /// `RESTORE` with a negative time to live.
    InvalidTtl,
    /// `RESTORE` with a negative idle time.
    InvalidIdleTime,
    /// `RESTORE` with a counter of accesses that does not fit a byte.
    InvalidFrequency,
    /// `RESTORE` of bytes with another checksum, or of a newer version.
    DumpFooter,
    /// `RESTORE` of bytes that are no value.
    DumpBody,
    /// The memory budget is spent.
    OutOfMemory,
    /// Too many clients.
    MaxClients,
    /// A bug of ours kept the command from its end; the log names it.
    Internal,
    /// `MULTI` inside of `MULTI`.
    MultiNested,
    /// `EXEC` without `MULTI`.
    ExecWithoutMulti,
    /// `EXEC` of a transaction in which a command was refused.
    ExecAbort,
    /// `DISCARD` without `MULTI`.
    DiscardWithoutMulti,
    /// A command that must not stand in a transaction.
    NotInTransaction,
    /// MONITOR where the client cannot wait for lines.
    MonitorInMulti,
    /// A client that is fed by us has sent a command on keys.
    NotForReplicas,
    /// `WATCH` inside of `MULTI`.
    WatchInMulti,
    /// The commands of a transaction have more bytes than can be counted.
    TransactionTooLarge,
    /// `DEBUG HTSTATS-KEY` of a value that is kept otherwise.
    NoHashTable,
    /// `CLIENT KILL` of an address that no client has.
    NoSuchClient,
    /// A command that a client with subscriptions may not use in RESP2. Holds the command's full name.
    NotWhileSubscribed(&'static str),
    /// `SSUBSCRIBE` inside of `MULTI`.
    SsubscribeInTransaction,
    /// `CLIENT UNBLOCK … ERROR` has ended the wait.
    Unblocked,
    /// A client of another host while no password protects us (`protected-mode`).
    ProtectedMode,
    /// A write at a replica (`replica-read-only`).
    ReadOnlyReplica,
    /// A write while too few replicas follow (`min-replicas-to-write`).
    TooFewReplicas,
    /// A write after a save that failed (`stop-writes-on-bgsave-error`).
    Unsaved,
    /// A write that could not be written to the append-only file; whether there is no room.
    Unwritten {
        /// The disk is full.
        is_full: bool,
    },
    /// A rewrite of the append-only file is wanted while one is under way.
    RewriteInProgress,
    /// SAVE could not save.
    NotSaved,
    /// DEBUG RELOAD could not load.
    NotLoaded,
    /// DEBUG LOADAOF could not load.
    LogNotLoaded,
    /// SHUTDOWN could not save.
    NotShutDown,
    /// A save is wanted while one is under way.
    SaveInProgress,
    /// BGSAVE while the append-only file is being rewritten.
    SaveDuringRewrite,
    /// A replica without its master (`replica-serve-stale-data`).
    MasterDown,
    /// Data are being loaded.
    Loading,
    /// A replica asks for the stream while it is owed other replies.
    PendingOutput,
    /// A replica asks the gateway of a cluster's process, whose shards have a stream each.
    StreamNotShared,
    /// A replica with data asks a node for the stream that has none and is not its master. NOMASTERLINK, after which a
    /// replica keeps what it has and asks again.
    NothingToSync,
}

impl fmt::Display for ReplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::InvalidExpire(command) => return write!(f, "ERR invalid expire time in '{command}' command"),
            Self::WrongArity(name) => return write!(f, "ERR wrong number of arguments for '{name}' command"),
            Self::NotInClusterMode(command) => return write!(f, "ERR {command} is not allowed in cluster mode"),
            Self::NotWhileSubscribed(name) => return write!(f, "ERR Can't execute '{name}': {WHILE_SUBSCRIBED}"),
            Self::WrongType => "WRONGTYPE Operation against a key holding the wrong kind of value",
            Self::Syntax => "ERR syntax error",
            Self::NoSuchKey => "ERR no such key",
            Self::NotAnInteger => "ERR value is not an integer or out of range",
            Self::NotAFloat => "ERR value is not a valid float",
            Self::MustBePositive => "ERR value is out of range, must be positive",
            Self::IndexOutOfRange => "ERR index out of range",
            Self::RankZero => {
                "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start from the end of the list"
            }
            Self::RankOutOfRange => {
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807"
            }
            Self::MatchCountNegative => "ERR COUNT can't be negative",
            Self::MaxLenNegative => "ERR MAXLEN can't be negative",
            Self::KeyCountNotPositive => "ERR numkeys should be greater than 0",
            Self::CountNotPositive => "ERR count should be greater than 0",
            Self::TimeoutNotAFloat => "ERR timeout is not a float or out of range",
            Self::TimeoutOutOfRange => "ERR timeout is out of range",
            Self::TimeoutNegative => "ERR timeout is negative",
            Self::NotAnInt32 => "ERR value is out of range, value must between -2147483648 and 2147483647",
            Self::SameObject => "ERR source and destination objects are the same",
            Self::IncrementOverflow => "ERR increment or decrement would overflow",
            Self::DecrementOverflow => "ERR decrement would overflow",
            Self::IncrementNotFinite => "ERR increment would produce NaN or Infinity",
            Self::OffsetOutOfRange => "ERR offset is out of range",
            Self::LcsNotStrings => "ERR The specified keys must contain string values",
            Self::LcsAmbiguous => "ERR If you want both the length and indexes, please just use IDX.",
            Self::LcsTooLong => "ERR String too long for LCS",
            Self::LcsMemory => "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
            Self::BitOffset => "ERR bit offset is not an integer or out of range",
            Self::BitValue => "ERR bit is not an integer or out of range",
            Self::BitSearched => "ERR The bit argument must be 1 or 0.",
            Self::BitopNotSingle => "ERR BITOP NOT must be called with a single source key.",
            Self::BitfieldType => {
                "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is."
            }
            Self::BitfieldOverflow => "ERR Invalid OVERFLOW type specified",
            Self::BitfieldReadOnly => "ERR BITFIELD_RO only supports the GET subcommand",
            Self::FrequencySelected => {
                "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
            }
            Self::FrequencyNotSelected => {
                "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust."
            }
            Self::SortNotNumbers => "ERR One or more scores can't be converted into double",
            Self::SortByInClusterMode => "ERR BY option of SORT denied in Cluster mode.",
            Self::SortGetInClusterMode => "ERR GET option of SORT denied in Cluster mode.",
            Self::StringTooLong => "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
            Self::DbIndexOutOfRange => "ERR DB index is out of range",
            Self::InvalidFirstDbIndex => "ERR invalid first DB index",
            Self::InvalidSecondDbIndex => "ERR invalid second DB index",
            Self::InvalidDbIndex => "ERR invalid DB index",
            Self::AuthenticationRequired => "NOAUTH Authentication required.",
            Self::WrongPassword => "WRONGPASS invalid username-password pair or user is disabled.",
            Self::NoPasswordSet => {
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
            }
            Self::HelloUnauthenticated => {
                "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time"
            }
            Self::UnsupportedProtocol => "NOPROTO unsupported protocol version",
            Self::ProtocolNotAnInteger => "ERR Protocol version is not an integer or out of range",
            Self::InvalidCursor => "ERR invalid cursor",
            Self::ClientNameCharacters => "ERR Client names cannot contain spaces, newlines or special characters.",
            Self::ExpireNxConflict => "ERR NX and XX, GT or LT options at the same time are not compatible",
            Self::ExpireGtLtConflict => "ERR GT and LT options at the same time are not compatible",
            Self::CrossSlot => "CROSSSLOT Keys in request don't hash to the same slot",
            Self::SlotNotServed => "CLUSTERDOWN Hash slot not served",
            Self::ClusterDown => "CLUSTERDOWN The cluster is down",
            Self::HandingOver => "TRYAGAIN A replica takes over from the node that has the key",
            Self::MovedWhileWaiting => "TRYAGAIN The slot of a key has moved while its command waited",
            Self::BroadcastAcrossHosts => "ERR BCAST mode is not possible at a gateway to other hosts",
            Self::NodeNotReached => "CLUSTERDOWN The node that has the slot was not reached in time",
            Self::FateUnknown => {
                "UNKNOWNFATE The node that was asked has not answered: nobody knows whether the command has run"
            }
            Self::RedirectedForEver => "CLUSTERDOWN The nodes do not agree on who has the slot",
            Self::GarbledReply => "ERR The node that has the slot has answered what is no reply to the command",
            Self::GatewayRefused => {
                "ERR The node that has the slot does not let the gateway in (gateway-user, gateway-password): see the log"
            }
            Self::NoLinksLeft => "ERR The gateway has as many links to nodes as 'gateway-links-max' allows",
            Self::ClusterReadOnly => "CLUSTERDOWN The cluster is down and only accepts read commands",
            Self::ClusterDisabled => "ERR This instance has cluster support disabled",
            Self::InvalidSlot => "ERR Invalid slot",
            Self::InvalidSlotOrCount => "ERR Invalid slot or number of keys",
            Self::CopyNotInClusterMode => "ERR Copying to another database is not allowed in cluster mode",
            Self::BusyKey => "BUSYKEY Target key name already exists.",
            Self::InvalidTtl => "ERR Invalid TTL value, must be >= 0",
            Self::InvalidIdleTime => "ERR Invalid IDLETIME value, must be >= 0",
            Self::InvalidFrequency => "ERR Invalid FREQ value, must be >= 0 and <= 255",
            Self::DumpFooter => "ERR DUMP payload version or checksum are wrong",
            Self::DumpBody => "ERR Bad data format",
            Self::OutOfMemory => "OOM command not allowed when used memory > 'maxmemory'.",
            Self::MaxClients => "ERR max number of clients reached",
            Self::Internal => "ERR internal error, see the log",
            Self::MultiNested => "ERR MULTI calls can not be nested",
            Self::ExecWithoutMulti => "ERR EXEC without MULTI",
            Self::ExecAbort => "EXECABORT Transaction discarded because of previous errors.",
            Self::DiscardWithoutMulti => "ERR DISCARD without MULTI",
            Self::MonitorInMulti => "ERR MONITOR isn't allowed for DENY BLOCKING client",
            Self::NotForReplicas => "ERR Replica can't interact with the keyspace",
            Self::NotInTransaction => "ERR Command not allowed inside a transaction",
            Self::WatchInMulti => "ERR WATCH inside MULTI is not allowed",
            Self::TransactionTooLarge => "ERR transaction is too large",
            Self::SsubscribeInTransaction => "ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client",
            Self::Unblocked => "UNBLOCKED client unblocked via CLIENT UNBLOCK",
            Self::NoHashTable => "ERR The value stored at the specified key is not represented using an hash table",
            Self::NoSuchClient => "ERR No such client",
            Self::ProtectedMode => PROTECTED_MODE,
            Self::ReadOnlyReplica => "READONLY You can't write against a read only replica.",
            Self::TooFewReplicas => "NOREPLICAS Not enough good replicas to write.",
            Self::Unsaved => UNSAVED,
            Self::Unwritten { is_full: true } => "MISCONF Errors writing to the AOF file: No space left on device",
            Self::Unwritten { is_full: false } => "MISCONF Errors writing to the AOF file: Input/output error",
            Self::RewriteInProgress => "ERR Background append only file rewriting already in progress",
            Self::NotSaved => "ERR",
            Self::LogNotLoaded => "ERR Error trying to load the AOF files, check server logs.",
            Self::NotLoaded => "ERR Error trying to load the RDB dump, check server logs.",
            Self::NotShutDown => "ERR Errors trying to SHUTDOWN. Check logs.",
            Self::SaveDuringRewrite => {
                "ERR Another child process is active (AOF?): can't BGSAVE right now. Use BGSAVE SCHEDULE in order to schedule a BGSAVE whenever possible."
            }
            Self::SaveInProgress => "ERR Background save already in progress",
            Self::MasterDown => "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            Self::PendingOutput => "ERR SYNC and PSYNC are invalid with pending output",
            Self::NothingToSync => {
                "NOMASTERLINK Can't SYNC: this node holds nothing, and is not your master in the cluster"
            }
            Self::StreamNotShared => "ERR the gateway of a cluster has no stream: ask a node at its own port",
            Self::Loading => "LOADING Redis is loading the dataset in memory",
        };
        f.write_str(text)
    }
}

/// Why an `EXEC` was itself refused, which ends its transaction: the error reply that says so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExecRefused(pub ReplyError);

impl fmt::Display for ExecRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EXECABORT Transaction discarded because of: ")?;
        match self.0 {
            // Without its code, as Redis has it.
            ReplyError::WrongArity(name) => write!(f, "wrong number of arguments for '{name}' command"),
            ReplyError::NotWhileSubscribed(name) => write!(f, "Can't execute '{name}': {WHILE_SUBSCRIBED}"),
            other => write!(f, "{other}"),
        }
    }
}

/// What a client with subscriptions may do in RESP2.
const WHILE_SUBSCRIBED: &str =
    "only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context";

const UNSAVED: &str = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. \
    Commands that may modify the data set are disabled, because this instance is configured to report errors during writes \
    if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB \
    error.";
const PROTECTED_MODE: &str = concat!(
    "DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. ",
    "In this mode connections are only accepted from the loopback interface. ",
    "If you want to connect from external computers to Redis you may adopt one of the following solutions: ",
    "1) Just disable protected mode sending the command 'CONFIG SET protected-mode no' from the loopback interface ",
    "by connecting to Redis from the same host the server is running, however MAKE SURE Redis is not publicly accessible ",
    "from internet if you do so. Use CONFIG REWRITE to make this change permanent. ",
    "2) Alternatively you can just disable the protected mode by editing the Redis configuration file, ",
    "and setting the protected mode option to 'no', and then restarting the server. ",
    "3) If you started the server manually just for testing, restart it with the '--protected-mode no' option. ",
    "4) Set up an authentication password for the default user. ",
    "NOTE: You only need to do one of the above things in order for the server to start accepting connections from the outside.",
);
