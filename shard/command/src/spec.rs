//! The row of a command: everything that anybody wants to know of it.

use crate::call::Handler;
use bitflags::bitflags;

bitflags! {
    /// Command flags, named as COMMAND INFO prints them (in the order of their bits).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Flags: u32 {
        /// `write`
        const WRITE = 1 << 0;
        /// `readonly`
        const READONLY = 1 << 1;
        /// `denyoom`
        const DENYOOM = 1 << 2;
        /// `admin`
        const ADMIN = 1 << 3;
        /// `pubsub`
        const PUBSUB = 1 << 4;
        /// `noscript`
        const NOSCRIPT = 1 << 5;
        /// `blocking`
        const BLOCKING = 1 << 6;
        /// `loading`
        const LOADING = 1 << 7;
        /// `stale`
        const STALE = 1 << 8;
        /// `skip_monitor`
        const SKIP_MONITOR = 1 << 9;
        /// `skip_slowlog`
        const SKIP_SLOWLOG = 1 << 10;
        /// `asking`
        const ASKING = 1 << 11;
        /// `fast`
        const FAST = 1 << 12;
        /// `no_auth`
        const NO_AUTH = 1 << 13;
        /// `may_replicate`
        const MAY_REPLICATE = 1 << 14;
        /// `no_mandatory_keys`
        const NO_MANDATORY_KEYS = 1 << 15;
        /// `no_async_loading`
        const NO_ASYNC_LOADING = 1 << 16;
        /// `no_multi`
        const NO_MULTI = 1 << 17;
        /// `movablekeys`
        const MOVABLE_KEYS = 1 << 18;
        /// `allow_busy`
        const ALLOW_BUSY = 1 << 19;
    }
}

bitflags! {
    /// ACL categories that do not follow from the flags or the group (see `describe.rs`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Categories: u32 {
        /// `@keyspace`
        const KEYSPACE = 1 << 0;
        /// `@read`
        const READ = 1 << 1;
        /// `@write`
        const WRITE = 1 << 2;
        /// `@set`
        const SET = 1 << 3;
        /// `@sortedset`
        const SORTEDSET = 1 << 4;
        /// `@list`
        const LIST = 1 << 5;
        /// `@hash`
        const HASH = 1 << 6;
        /// `@string`
        const STRING = 1 << 7;
        /// `@bitmap`
        const BITMAP = 1 << 8;
        /// `@hyperloglog`
        const HYPERLOGLOG = 1 << 9;
        /// `@geo`
        const GEO = 1 << 10;
        /// `@stream`
        const STREAM = 1 << 11;
        /// `@pubsub`
        const PUBSUB = 1 << 12;
        /// `@admin`
        const ADMIN = 1 << 13;
        /// `@fast`
        const FAST = 1 << 14;
        /// `@slow`
        const SLOW = 1 << 15;
        /// `@blocking`
        const BLOCKING = 1 << 16;
        /// `@dangerous`
        const DANGEROUS = 1 << 17;
        /// `@connection`
        const CONNECTION = 1 << 18;
        /// `@transaction`
        const TRANSACTION = 1 << 19;
        /// `@scripting`
        const SCRIPTING = 1 << 20;
    }
}

bitflags! {
    /// What a command does to the keys of a key spec, named as COMMAND INFO prints it.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct KeyFlags: u16 {
        /// `RO`
        const RO = 1 << 0;
        /// `RW`
        const RW = 1 << 1;
        /// `OW`
        const OW = 1 << 2;
        /// `RM`
        const RM = 1 << 3;
        /// `access`
        const ACCESS = 1 << 4;
        /// `update`
        const UPDATE = 1 << 5;
        /// `insert`
        const INSERT = 1 << 6;
        /// `delete`
        const DELETE = 1 << 7;
        /// `not_key`
        const NOT_KEY = 1 << 8;
        /// `incomplete`
        const INCOMPLETE = 1 << 9;
        /// `variable_flags`
        const VARIABLE_FLAGS = 1 << 10;
    }
}

/// Where a command's keys stand. More forms come with the commands that need them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeySpec {
    /// What happens to the keys.
    pub flags: KeyFlags,
    /// Index of the first key.
    pub first: usize,
    /// Last key: an index counted from `first` if zero or more, else from the end (−1 is the last argument).
    pub last: i32,
    /// Distance from one key to the next.
    pub step: usize,
}

/// COMMAND's tip `request_policy`: to which shards a command goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RequestPolicy {
    /// Where its keys are; anywhere, if it has none. Not printed.
    Default,
    /// Every node.
    AllNodes,
    /// Every shard.
    AllShards,
    /// Each key to its own shard.
    MultiShard,
    /// Says the command itself (SCAN).
    Special,
}

/// COMMAND's tip `response_policy`: how the shards' replies become one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ResponsePolicy {
    /// Arrays are joined, in the order of the keys if each key has an element. Not printed.
    Default,
    /// OK if all say so, else the first error.
    AllSucceeded,
    /// Sum of integers.
    AggSum,
    /// Says the command itself (RANDOMKEY, SCAN, INFO).
    Special,
}

/// COMMAND's tips.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tips {
    /// `nondeterministic_output`
    pub nondeterministic_output: bool,
    /// `nondeterministic_output_order`
    pub nondeterministic_output_order: bool,
    /// `request_policy:…`
    pub request: RequestPolicy,
    /// `response_policy:…`
    pub response: ResponsePolicy,
}

/// Groups of COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Group {
    /// `generic`
    Generic,
    /// `string`
    String,
    /// `connection`
    Connection,
    /// `server`
    Server,
}

/// An argument of COMMAND DOCS.
#[derive(Clone, Copy, Debug)]
pub struct DocArg {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: DocKind,
    /// Token before it, if any.
    pub token: Option<&'static str>,
    /// `since`, if later than the command.
    pub since: Option<&'static str>,
    /// Whether it may be left out.
    pub optional: bool,
    /// Whether it may be repeated.
    pub multiple: bool,
    /// Parts of a block or choices of a oneof.
    pub parts: &'static [DocArg],
}

/// Kinds of arguments of COMMAND DOCS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DocKind {
    /// `string`
    String,
    /// `integer`
    Integer,
    /// `double`
    Double,
    /// `key` (of key spec 0)
    Key,
    /// `pattern`
    Pattern,
    /// `unix-time`
    UnixTime,
    /// `pure-token`
    PureToken,
    /// `oneof`
    OneOf,
    /// `block`
    Block,
}

/// What COMMAND DOCS says.
#[derive(Clone, Copy, Debug)]
pub struct Doc {
    /// One sentence.
    pub summary: &'static str,
    /// Version of Redis that introduced the command.
    pub since: &'static str,
    /// Group.
    pub group: Group,
    /// Complexity.
    pub complexity: &'static str,
    /// Arguments.
    pub arguments: &'static [DocArg],
    /// Version since which the command is deprecated, and by what it is replaced.
    pub deprecated: Option<(&'static str, &'static str)>,
    /// Changes: version and what changed.
    pub history: &'static [(&'static str, &'static str)],
}

/// Commands that act on the connection that sent them. Carried out in `shard/src/local/`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionCommand {
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
    /// RESET
    Reset,
    /// SELECT
    Select,
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
    /// CLIENT LIST
    ClientList,
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
    /// CONFIG SET
    ConfigSet,
    /// INFO
    Info,
    /// TIME
    Time,
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
    /// Nothing: a container of subcommands.
    Container,
}

/// The row of a command or subcommand.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    /// Name in lower case; a subcommand's without its container (`get`).
    pub name: &'static str,
    /// Name in errors, statistics and COMMAND: `config|get` for a subcommand.
    pub full_name: &'static str,
    /// Number of arguments, name included; negative: at least that many.
    pub arity: i32,
    /// Flags.
    pub flags: Flags,
    /// ACL categories, complete.
    pub categories: Categories,
    /// Key positions.
    pub keys: &'static [KeySpec],
    /// Tips.
    pub tips: Tips,
    /// Documentation.
    pub doc: Doc,
    /// Subcommands.
    pub subcommands: &'static [Spec],
    /// Reach and code.
    pub reach: Reach,
}

impl Spec {
    /// Whether a request of `arguments` arguments (name included) fits the arity.
    #[inline]
    pub fn accepts(&self, arguments: usize) -> bool {
        let arguments = arguments as i64;
        let arity = i64::from(self.arity);
        if arity >= 0 { arguments == arity } else { arguments >= -arity }
    }
}
