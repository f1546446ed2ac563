//! Values: what a key holds.

use alloc::vec::Vec;
use slotmesh_base::UnixMillis;

/// A value that does not fit into the table's page and lives on the heap.
#[derive(Debug)]
#[non_exhaustive]
pub enum Value {
    /// A string.
    String(Vec<u8>),
}

impl Value {
    /// Becomes this string, in the old allocation if that suits.
    pub(crate) fn overwrite(&mut self, bytes: &[u8]) {
        let Self::String(string) = self;
        if (bytes.len()..=bytes.len() * 2).contains(&string.capacity()) {
            string.clear();
            string.extend_from_slice(bytes);
        } else {
            *string = bytes.to_vec();
        }
    }
}

/// The type of a value, as `TYPE` names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ValueKind {
    /// `string`
    String,
}

impl ValueKind {
    /// The name that `TYPE` answers and `SCAN … TYPE` takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
        }
    }
}

/// A value, borrowed from wherever it lives.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum ValueRef<'a> {
    /// A string, inline or on the heap.
    String(&'a [u8]),
}

impl ValueRef<'_> {
    /// The value's type.
    pub fn kind(&self) -> ValueKind {
        match self {
            Self::String(_) => ValueKind::String,
        }
    }
}

/// What a key holds, and until when.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The value.
    pub value: ValueRef<'a>,
    /// When it expires, if it does.
    pub expires_at: Option<UnixMillis>,
}
