//! Many byte strings in one allocation.

use crate::IntegerText;
use slotmesh_keyspace::Element;

#[derive(Default)]
pub(super) struct Texts {
    bytes: Vec<u8>,
    /// Where each one ends.
    ends: Vec<usize>,
}

impl Texts {
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    pub(super) fn push_element(&mut self, element: Element<'_>) {
        match element {
            Element::Bytes(bytes) => self.push(bytes),
            Element::Integer(value) => self.push(IntegerText::new(value).as_bytes()),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn at(&self, index: usize) -> &[u8] {
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.bytes[start..self.ends[index]]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> + Clone {
        (0..self.len()).map(|index| self.at(index))
    }
}
