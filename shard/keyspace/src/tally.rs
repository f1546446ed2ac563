//! Running totals of a database, kept by whoever changes a page.

/// Totals over all tables of one database.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Bytes of pages, directories of pages, and values on the heap.
    pub(crate) bytes: usize,
    /// Keys with an expiry.
    pub(crate) expiring: usize,
    /// Sum of their expiry times in ms; what the mean time to live is made from.
    pub(crate) expiry_sum: i128,
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

    /// Something that occupied `old` bytes occupies `new`.
    #[inline]
    pub(crate) fn change_bytes(&mut self, old: usize, new: usize) {
        self.bytes = self.bytes + new - old;
    }
}
