//! Values: what a key holds.

mod list;
mod packed;

pub use list::{List, ListBuilder, NoEntries, PackedLimit, PackedRun, Remains, Side};
pub use packed::{Element, End};

use alloc::vec::Vec;
use slotmesh_base::UnixMillis;
use slotmesh_base::limits::FREED_CHUNKS_PER_TABLE;

/// A value of its own, on the heap: of a key, if it does not fit into the table's page. A clone shares the chunks of a
/// large one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Value {
    /// A string.
    String(Vec<u8>),
    /// A list, never empty.
    List(List),
}

impl Value {
    /// Becomes this string, in the old allocation if that suits; the old value, if that was none.
    pub(crate) fn overwrite(&mut self, bytes: &[u8]) -> Option<Self> {
        match self {
            Self::String(string) if (bytes.len()..=bytes.len() * 2).contains(&string.capacity()) => {
                string.clear();
                string.extend_from_slice(bytes);
                None
            }
            _ => Some(core::mem::replace(self, Self::String(bytes.to_vec()))),
        }
    }

    /// Bytes that it occupies on the heap.
    #[inline]
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::String(string) => string.capacity(),
            Self::List(list) => list.heap_bytes(),
        }
    }

    /// Bytes that a clone does not share with it.
    pub(crate) fn own_bytes(&self) -> usize {
        match self {
            Self::String(string) => string.capacity(),
            Self::List(list) => list.own_bytes(),
        }
    }

    /// The value, borrowed.
    #[inline]
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::String(string) => ValueRef::String(string),
            Self::List(list) => ValueRef::List(list),
        }
    }

    /// Whether it has so many parts that freeing it at once would be felt.
    pub(crate) fn is_heavy(&self) -> bool {
        match self {
            Self::String(_) => false,
            Self::List(list) => list.chunks() > FREED_CHUNKS_PER_TABLE,
        }
    }

    /// Frees up to `chunks_max` parts; whether there are more.
    pub(crate) fn free_some(&mut self, chunks_max: usize) -> bool {
        match self {
            Self::String(_) => false,
            Self::List(list) => list.free_some(chunks_max),
        }
    }
}

/// The type of a value, as `TYPE` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueKind {
    /// `string`
    String,
    /// `list`
    List,
}

impl ValueKind {
    /// All types.
    pub const ALL: [Self; 2] = [Self::String, Self::List];

    /// The name that `TYPE` answers and `SCAN … TYPE` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
        }
    }
}

/// A value, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// A string, inline or on the heap.
    String(&'a [u8]),
    /// A list.
    List(&'a List),
}

impl ValueRef<'_> {
    /// A copy; that of a large value is shared until one of the two changes.
    pub(crate) fn to_owned(self) -> Value {
        match self {
            Self::String(string) => Value::String(string.to_vec()),
            Self::List(list) => Value::List(list.clone()),
        }
    }

    /// The value's type.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::String(_) => ValueKind::String,
            Self::List(_) => ValueKind::List,
        }
    }
}

/// How Redis would keep a string, where that does not follow from its bytes (`OBJECT ENCODING`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum StringForm {
    /// As its bytes say: an integer, embedded, or raw.
    #[default]
    ByContent,
    /// Not as an integer, even if it spells one.
    Text,
    /// Raw, however short it is: it was changed in place.
    Raw,
}

/// The key holds another type than the one asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WrongKind;

/// What a key holds, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The value.
    pub value: ValueRef<'a>,
    /// When it expires, if it does.
    pub expires_at: Option<UnixMillis>,
}
