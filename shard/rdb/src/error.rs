//! What can be wrong with RDB bytes.

use alloc::vec::Vec;
use core::fmt;

/// Why bytes are no RDB file that can be read, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RdbError {
    /// Where in the file, in bytes.
    pub offset: u64,
    /// Why.
    pub kind: RdbErrorKind,
}

/// Why bytes are no RDB file that can be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RdbErrorKind {
    /// It does not begin as one does.
    Signature,
    /// A version that is not read.
    Version(u16),
    /// It needs more databases than there are.
    Database(u64),
    /// A key of a type that there is not.
    Lacking {
        /// The type.
        kind: LackingType,
        /// Its number in the format.
        number: u8,
        /// The key.
        key: Vec<u8>,
    },
    /// Data of a module, outside of any key.
    ModuleData {
        /// The module's name.
        module: [u8; 9],
    },
    /// More bytes than a string may have.
    TooLong(u64),
    /// It is not what was written.
    Checksum {
        /// That of the bytes that came.
        computed: u64,
        /// That in the file.
        stored: u64,
    },
    /// It breaks the format.
    Corrupt(Fault),
    /// It ends too early.
    Truncated,
}

/// What breaks the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A length that is none.
    Length,
    /// A string in a form that there is not.
    StringForm,
    /// A compressed string that does not become what it should.
    Compression,
    /// A listpack that is none.
    Listpack,
    /// A ziplist that is none.
    Ziplist,
    /// A node of a list that is neither plain nor packed, or empty.
    Node,
    /// A type or opcode that there is not.
    Type(u8),
    /// Functions in a form that only candidates of Redis 7.0 wrote.
    PreReleaseFunctions,
}

/// Types of values that there are not here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LackingType {
    /// A set.
    Set,
    /// A sorted set.
    SortedSet,
    /// A hash.
    Hash,
    /// A hash whose fields expire.
    HashWithExpiry,
    /// A stream.
    Stream,
    /// A module's own.
    Module,
}

impl fmt::Display for RdbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            RdbErrorKind::Signature => write!(f, "Wrong signature trying to load DB from file")?,
            RdbErrorKind::Version(version) => write!(f, "Can't handle RDB format version {version}")?,
            RdbErrorKind::Database(db) => write!(f, "Database {db} is more than there are")?,
            RdbErrorKind::Lacking { kind, number, key } => {
                write!(f, "Key '{}' is a {kind} (type {number}), which is not supported yet", key.escape_ascii())?;
            }
            RdbErrorKind::ModuleData { module } => {
                let name = module.escape_ascii();
                write!(f, "The RDB file contains AUX module data I can't load: no matching module '{name}'")?;
            }
            RdbErrorKind::TooLong(bytes) => write!(f, "A string of {bytes} bytes is longer than allowed")?,
            RdbErrorKind::Checksum { computed, stored } => {
                write!(f, "Wrong RDB checksum expected: ({computed:x}) but got ({stored:x})")?;
            }
            RdbErrorKind::Corrupt(fault) => write!(f, "{fault}")?,
            RdbErrorKind::Truncated => write!(f, "Unexpected EOF reading RDB file")?,
        }
        write!(f, " at offset {}", self.offset)
    }
}

impl core::error::Error for RdbError {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Length => "Unknown length encoding",
            Self::StringForm => "Unknown RDB string encoding type",
            Self::Compression => "Invalid LZF compressed string",
            Self::Listpack => "Listpack integrity check failed.",
            Self::Ziplist => "Ziplist integrity check failed.",
            Self::Node => "Quicklist integrity check failed.",
            Self::Type(number) => return write!(f, "Unknown RDB encoding type {number}"),
            Self::PreReleaseFunctions => "Pre-release function format not supported.",
        })
    }
}

impl fmt::Display for LackingType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Set => "set",
            Self::SortedSet => "sorted set",
            Self::Hash => "hash",
            Self::HashWithExpiry => "hash with expiring fields",
            Self::Stream => "stream",
            Self::Module => "value of a module",
        })
    }
}
