//! The commands that make a key what it is: for a value that moves to another shard, and for a stream that begins with
//! what there is.

use crate::IntegerText;
use slotmesh_base::UnixMillis;
use slotmesh_base::limits::{RECREATE_BYTES_MAX, RECREATE_ELEMENTS_MAX};
use slotmesh_keyspace::{Element, Entry, List, ValueRef};

/// Emits the commands that make `key`, which is absent before, hold what `entry` does. Each is a word list; a collection
/// comes in pieces, so that no command is much longer than its longest element.
///
/// # Panics
/// If the value has a type that no command here makes.
pub fn recreate(key: &[u8], entry: &Entry<'_>, emit: &mut dyn FnMut(&[&[u8]])) {
    let expires_at = entry.expires_at.map(|UnixMillis(when)| IntegerText::new(when));
    match (entry.value, &expires_at) {
        (ValueRef::String(value), None) => emit(&[b"SET", key, value]),
        (ValueRef::String(value), Some(when)) => emit(&[b"SET", key, value, b"PXAT", when.as_bytes()]),
        (ValueRef::List(list), expiry) => {
            push_all(key, list, emit);
            if let Some(when) = expiry {
                emit(&[b"PEXPIREAT", key, when.as_bytes()]);
            }
        }
        (other, _) => unreachable!("a {} is made by no command here", other.kind().name()),
    }
}

/// RPUSHes that make a list.
fn push_all(key: &[u8], list: &List, emit: &mut dyn FnMut(&[&[u8]])) {
    let mut piece = Piece::default();
    list.visit(0..list.len(), |element| {
        let text;
        let bytes = match element {
            Element::Bytes(bytes) => bytes,
            Element::Integer(value) => {
                text = IntegerText::new(value);
                text.as_bytes()
            }
        };
        if !piece.has_room_for(bytes) {
            piece.emit(key, emit);
        }
        if bytes.len() >= RECREATE_BYTES_MAX {
            // It is a piece of its own, not worth a copy.
            emit(&[b"RPUSH", key, bytes]);
        } else {
            piece.add(bytes);
        }
    });
    piece.emit(key, emit);
}

/// Elements that go into one command.
#[derive(Default)]
struct Piece {
    bytes: Vec<u8>,
    /// Where each element ends.
    ends: Vec<usize>,
}

impl Piece {
    fn has_room_for(&self, element: &[u8]) -> bool {
        self.ends.len() < RECREATE_ELEMENTS_MAX && self.bytes.len() + element.len() <= RECREATE_BYTES_MAX
    }

    fn add(&mut self, element: &[u8]) {
        self.bytes.extend_from_slice(element);
        self.ends.push(self.bytes.len());
    }

    /// Emits what there is, if anything, and begins anew.
    fn emit(&mut self, key: &[u8], emit: &mut dyn FnMut(&[&[u8]])) {
        if self.ends.is_empty() {
            return;
        }
        let mut words: Vec<&[u8]> = vec![b"RPUSH", key];
        let mut start = 0;
        for &end in &self.ends {
            words.push(&self.bytes[start..end]);
            start = end;
        }
        emit(&words);
        self.bytes.clear();
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests;
