//! Records that a page does not hold itself: long keys, long values, later the other types.
//!
//! Invariant of this module: eight bytes in an entry with the flag `BOXED` are an address made by
//! [`Boxed::into_bits`], and it stands in one entry of one page only: that page owns the record. Entries are
//! copied from page to page byte by byte; the page that they leave is disarmed (`Page::forget_entries`)
//! before it is dropped, and a record is freed only after its entry has been overwritten or unlinked.

use crate::Value;
use alloc::boxed::Box;
use core::ptr;

/// A record on the heap.
#[derive(Debug)]
pub(crate) struct Boxed {
    /// The key, if it is too long for the page; else empty, and the key stands in the page.
    pub(crate) key: Box<[u8]>,
    /// The value.
    pub(crate) value: Value,
}

const _: () = {
    const fn assert_send<T: Send + Sync>() {}
    // A page is `Send` by its buffer; what it owns through addresses must be so too.
    assert_send::<Boxed>();
};

impl Boxed {
    /// Bytes that the record occupies on the heap.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.key.len() + self.value.heap_bytes()
    }

    /// Gives the record to a page, as the bits that stand in its entry.
    pub(crate) fn into_bits(self: Box<Self>) -> u64 {
        #[cfg(test)]
        live::RECORDS.with(|records| records.set(records.get() + 1));
        Box::into_raw(self).expose_provenance() as u64
    }

    /// The record behind an entry's bits.
    ///
    /// # Safety
    /// `bits` stand in an entry of a page that is borrowed for `'page`.
    #[inline]
    pub(super) unsafe fn borrow<'page>(bits: u64) -> &'page Self {
        // SAFETY: by the invariant the bits are the address of a live record that the borrowed page owns.
        unsafe { &*ptr::with_exposed_provenance(bits as usize) }
    }

    /// The record behind an entry's bits, to change it.
    ///
    /// # Safety
    /// `bits` stand in an entry of a page that is mutably borrowed for `'page`.
    #[inline]
    pub(super) unsafe fn borrow_mut<'page>(bits: u64) -> &'page mut Self {
        // SAFETY: as in `borrow`; the page's mutable borrow makes this the only one.
        unsafe { &mut *ptr::with_exposed_provenance_mut(bits as usize) }
    }

    /// Takes the record back.
    ///
    /// # Safety
    /// `bits` stood in an entry that has been overwritten or unlinked, and were not taken before.
    pub(super) unsafe fn take(bits: u64) -> Box<Self> {
        #[cfg(test)]
        live::RECORDS.with(|records| records.set(records.get() - 1));
        // SAFETY: from `Box::into_raw` by the invariant, and the caller gives up the last copy of the bits.
        unsafe { Box::from_raw(ptr::with_exposed_provenance_mut(bits as usize)) }
    }
}

/// Records that pages own, counted for the tests of who frees what.
#[cfg(test)]
pub(crate) mod live {
    use core::cell::Cell;

    std::thread_local! {
        /// Records owned by pages of this thread.
        pub(crate) static RECORDS: Cell<isize> = const { Cell::new(0) };
    }
}
