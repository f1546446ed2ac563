//! Records that a page does not hold itself: long keys, long values, later the other types.
//!
//! Invariant of this module: eight bytes in an entry with the flag `BOXED` are an address made by
//! [`Boxed::into_bits`]; it stands in one entry of each page that holds the record, and `holders` counts these pages:
//! one, and one more for each copy ([`Boxed::share`]). A record is changed only through its sole holder. Entries are
//! moved from page to page byte by byte; the page that they leave is disarmed (`Page::forget_entries`)
//! before it is dropped, and a record is released only after its entry has been overwritten or unlinked.

use crate::Value;
use alloc::boxed::Box;
use core::ptr;
use core::sync::atomic::{AtomicU32, Ordering};

/// A record on the heap.
#[derive(Debug)]
pub(crate) struct Boxed {
    /// The key, if it is too long for the page; most are not, and an unused thin pointer is short.
    long_key: Option<Box<Box<[u8]>>>,
    /// The value.
    pub(crate) value: Value,
    /// Pages that hold the record. (Nobody counts in two threads at once: all holders belong to one shard.)
    holders: AtomicU32,
}

const _: () = assert!(size_of::<Boxed>() == 48);

const _: () = {
    const fn assert_send<T: Send + Sync>() {}
    // A page is `Send` by its buffer; what it owns through addresses must be so too.
    assert_send::<Boxed>();
};

impl Boxed {
    /// A record for a page that will hold it; `long_key` is empty if the key stands in the page.
    pub(super) fn new(long_key: &[u8], value: Value) -> Self {
        let long_key = (!long_key.is_empty()).then(|| Box::new(long_key.into()));
        Self { long_key, value, holders: AtomicU32::new(1) }
    }

    /// A record with the same key and value.
    pub(super) fn copy(&self) -> Self {
        Self::new(self.key(), self.value.clone())
    }

    /// The key, if it is too long for the page.
    #[inline]
    pub(super) fn key(&self) -> &[u8] {
        self.long_key.as_ref().map_or(&[], |key| key)
    }

    /// Bytes that the record occupies on the heap.
    pub(crate) fn bytes(&self) -> usize {
        let key_bytes = self.long_key.as_ref().map_or(0, |key| size_of::<Box<[u8]>>() + key.len());
        size_of::<Self>() + key_bytes + self.value.heap_bytes()
    }

    /// Whether more than one page holds it.
    #[inline]
    pub(super) fn is_shared(&self) -> bool {
        // Acquire: what another holder did before it released the record has happened.
        self.holders.load(Ordering::Acquire) > 1
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

    /// The record behind an entry's bits, to change it; none if other pages hold it too.
    ///
    /// # Safety
    /// `bits` stand in an entry of a page that is mutably borrowed for `'page`.
    #[inline]
    pub(super) unsafe fn borrow_mut<'page>(bits: u64) -> Option<&'page mut Self> {
        // SAFETY: the caller's promise is the same.
        if unsafe { Self::borrow(bits) }.is_shared() {
            return None;
        }
        // SAFETY: as in `borrow`; there is no other holder, and the page's mutable borrow makes this the only one.
        Some(unsafe { &mut *ptr::with_exposed_provenance_mut(bits as usize) })
    }

    /// One more page holds the record.
    ///
    /// # Safety
    /// `bits` stand in an entry of a page, and from now on in one of another page.
    pub(super) unsafe fn share(bits: u64) {
        // SAFETY: by the invariant the record lives as long as it stands in a page.
        let record: &Self = unsafe { &*ptr::with_exposed_provenance(bits as usize) };
        record.holders.fetch_add(1, Ordering::Relaxed);
    }

    /// One page less holds the record, which is given back if that was the last one.
    ///
    /// # Safety
    /// `bits` stood in an entry of a page that has been overwritten or unlinked, and were not released for it before.
    pub(super) unsafe fn release(bits: u64) -> Option<Box<Self>> {
        // SAFETY: the caller's page has held the record until now.
        let record: &Self = unsafe { &*ptr::with_exposed_provenance(bits as usize) };
        if record.holders.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        #[cfg(test)]
        live::RECORDS.with(|records| records.set(records.get() - 1));
        // SAFETY: from `Box::into_raw` by the invariant, and the last holder has just given it up.
        Some(unsafe { Box::from_raw(ptr::with_exposed_provenance_mut(bits as usize)) })
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
