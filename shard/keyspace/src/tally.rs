//! Running totals of a database, kept by whoever changes a page, and what changes leave to be freed.

use crate::snapshot::Captures;
use crate::value::Value;
use alloc::vec::Vec;

/// Totals over all tables of one database.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes of pages, directories of pages, and values on the heap.
    pub(crate) bytes: usize,
    /// Keys with an expiry.
    pub(crate) expiring: usize,
    /// Sum of their expiry times in ms; what the mean time to live is made from.
    pub(crate) expiry_sum: i128,
    /// Values that no key holds any more and that are costly to free. They do not count.
    pub(crate) dead: Vec<Value>,
    /// What snapshots need of pages before they change.
    pub(crate) captures: Captures,
}

impl Tally {
    /// A key's expiry changes from `old` to `new` (`None`: no expiry, or no key).
    #[inline]
    pub(crate) fn change_expiry(&mut self, old: Option<i64>, new: Option<i64>) {
        if let Some(old) = old {
            self.expiring -= 1;
            self.expiry_sum -= i128::from(old);
        }
        if let Some(new) = new {
            self.expiring += 1;
            self.expiry_sum += i128::from(new);
        }
    }

    /// A value is no longer held: frees it, or keeps it to be freed in slices.
    #[inline]
    pub(crate) fn bury(&mut self, value: Value) {
        if value.is_heavy() {
            self.dead.push(value);
        }
    }

    /// Something that occupied `old` bytes occupies `new`.
    #[inline]
    pub(crate) fn change_bytes(&mut self, old: usize, new: usize) {
        self.bytes = self.bytes + new - old;
    }
}
