//! Flag sets of the rows: what a command is, what it does to its keys, which ACL categories it is in.

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
    /// ACL categories, named as COMMAND INFO prints them (in the order of their bits).
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
