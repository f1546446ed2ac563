//! Values, by the type with which they stand in the format. A further type adds a file here, and its numbers below.

mod list;

use crate::error::LackingType;
use crate::format::kind;
use crate::source::{Source, Stop};
use crate::string::{self, StringWriter};
use alloc::vec::Vec;
use list::ListReader;
use slotmesh_keyspace::{PackedLimit, Value, ValueRef};

/// The type with which a value is written.
pub(crate) fn kind_of(value: ValueRef<'_>) -> u8 {
    match value {
        ValueRef::String(_) => kind::STRING,
        ValueRef::List(_) => kind::LIST_QUICKLIST_2,
        other => unreachable!("a {} is written by nothing here", other.kind().name()),
    }
}

/// Appends a value, without its type.
pub(crate) fn write(out: &mut Vec<u8>, strings: &mut StringWriter, value: ValueRef<'_>) {
    match value {
        ValueRef::String(string) => strings.write(out, string),
        ValueRef::List(list) => list::write(out, strings, list),
        other => unreachable!("a {} is written by nothing here", other.kind().name()),
    }
}

/// A value that is being read.
#[derive(Debug)]
pub(crate) enum ValueReader {
    String,
    List(ListReader),
}

/// How far reading a value has come.
#[derive(Debug)]
pub(crate) enum Progress {
    /// A part was read.
    More,
    /// All of it; nothing, if it is a collection without elements, which no key holds.
    Done(Option<Value>),
}

/// Why a value cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoReader {
    /// Its type is not here.
    Lacking(LackingType),
    /// There is no such type.
    Unknown,
}

impl ValueReader {
    /// Begins to read a value of that type; lists are kept as `list_packed` says.
    pub(crate) fn new(number: u8, list_packed: PackedLimit) -> Result<Self, NoReader> {
        Err(NoReader::Lacking(match number {
            kind::STRING => return Ok(Self::String),
            kind::LIST | kind::LIST_ZIPLIST | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                return Ok(Self::List(ListReader::new(number, list_packed)));
            }
            kind::SET | kind::SET_INTSET | kind::SET_LISTPACK => LackingType::Set,
            kind::ZSET | kind::ZSET_2 | kind::ZSET_ZIPLIST | kind::ZSET_LISTPACK => LackingType::SortedSet,
            kind::HASH | kind::HASH_ZIPMAP | kind::HASH_ZIPLIST | kind::HASH_LISTPACK => LackingType::Hash,
            kind::HASH_EXPIRING_FIRST..=kind::HASH_EXPIRING_LAST => LackingType::HashWithExpiry,
            kind::STREAM | kind::STREAM_2 | kind::STREAM_3 => LackingType::Stream,
            kind::MODULE_PRE_GA | kind::MODULE_2 => LackingType::Module,
            _ => return Err(NoReader::Unknown),
        }))
    }

    /// Reads the next part: all or nothing of it, so that it can be tried again with more bytes.
    pub(crate) fn step(&mut self, source: &mut Source<'_>) -> Result<Progress, Stop> {
        match self {
            Self::String => Ok(Progress::Done(Some(Value::String(string::read(source)?.into_owned())))),
            Self::List(list) => list.step(source),
        }
    }
}
