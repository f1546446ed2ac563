//! The bytes of the format (Redis 7.2 `rdb.h`).
//!
//! ```text
//! "REDIS" 0010                               version in four digits
//! fa name value …                            facts about the file
//! f5 library …                               functions
//! fe db [fb keys expiring]                   for each database
//!   [fc ms] [f8 idle | f9 frequency] type key value …
//! ff checksum                                CRC64 of all before it in little endian, or zeros
//! ```

/// What a file begins with.
pub(crate) const SIGNATURE: &[u8; 5] = b"REDIS";
/// Bytes of signature and version.
pub(crate) const HEADER_BYTES: usize = 9;
/// Bytes of the checksum.
pub(crate) const CHECKSUM_BYTES: usize = 8;

/// The version that is written: the newest that Redis 7.0 reads.
pub const VERSION_WRITTEN: u16 = 10;
/// The oldest version that is read (Redis 5).
pub const VERSION_MIN: u16 = 9;
/// The newest version that is read (Redis 7.2).
pub const VERSION_MAX: u16 = 11;

/// What stands where a type may stand, and is none.
pub(crate) mod opcode {
    pub(crate) const SLOT_INFO: u8 = 0xf4;
    pub(crate) const FUNCTION: u8 = 0xf5;
    /// Functions as candidates of Redis 7.0 wrote them.
    pub(crate) const FUNCTION_PRE_GA: u8 = 0xf6;
    pub(crate) const MODULE_AUX: u8 = 0xf7;
    pub(crate) const IDLE: u8 = 0xf8;
    pub(crate) const FREQUENCY: u8 = 0xf9;
    pub(crate) const AUX: u8 = 0xfa;
    pub(crate) const RESIZE_DB: u8 = 0xfb;
    pub(crate) const EXPIRE_MS: u8 = 0xfc;
    pub(crate) const EXPIRE_SECONDS: u8 = 0xfd;
    pub(crate) const SELECT_DB: u8 = 0xfe;
    pub(crate) const END: u8 = 0xff;
}

/// How a value stands in the file.
pub(crate) mod kind {
    pub(crate) const STRING: u8 = 0;
    pub(crate) const LIST: u8 = 1;
    pub(crate) const SET: u8 = 2;
    pub(crate) const ZSET: u8 = 3;
    pub(crate) const HASH: u8 = 4;
    pub(crate) const ZSET_2: u8 = 5;
    pub(crate) const MODULE_PRE_GA: u8 = 6;
    pub(crate) const MODULE_2: u8 = 7;
    pub(crate) const HASH_ZIPMAP: u8 = 9;
    pub(crate) const LIST_ZIPLIST: u8 = 10;
    pub(crate) const SET_INTSET: u8 = 11;
    pub(crate) const ZSET_ZIPLIST: u8 = 12;
    pub(crate) const HASH_ZIPLIST: u8 = 13;
    pub(crate) const LIST_QUICKLIST: u8 = 14;
    pub(crate) const STREAM: u8 = 15;
    pub(crate) const HASH_LISTPACK: u8 = 16;
    pub(crate) const ZSET_LISTPACK: u8 = 17;
    pub(crate) const LIST_QUICKLIST_2: u8 = 18;
    pub(crate) const STREAM_2: u8 = 19;
    pub(crate) const SET_LISTPACK: u8 = 20;
    pub(crate) const STREAM_3: u8 = 21;
    /// Hashes whose fields expire (Redis 7.4).
    pub(crate) const HASH_EXPIRING_FIRST: u8 = 22;
    pub(crate) const HASH_EXPIRING_LAST: u8 = 25;
}

/// Nodes of a quicklist: one element, or a listpack.
pub(crate) mod container {
    pub(crate) const PLAIN: u64 = 1;
    pub(crate) const PACKED: u64 = 2;
}
