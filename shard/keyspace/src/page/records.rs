//! What a page does with the records that its entries refer to: reading, changing, sharing with copies, freeing.

use super::boxed::Boxed;
use super::entry::Layout;
use super::{FLAGS, HAS_RECORDS, Page};
use crate::tally::Tally;
use crate::value::{List, Value};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;

impl Page {
    #[inline]
    pub(super) fn record(&self, layout: Layout) -> Option<&Boxed> {
        let bits = layout.record(&self.0)?;
        // SAFETY: the bits stand in an entry of this page, which is borrowed.
        Some(unsafe { Boxed::borrow(bits) })
    }

    /// The record of an entry, to change it; none if a copy of the page holds it too.
    #[inline]
    pub(super) fn record_alone(&mut self, layout: Layout) -> Option<&mut Boxed> {
        let bits = layout.record(&self.0)?;
        // SAFETY: the bits stand in an entry of this page, which is mutably borrowed.
        unsafe { Boxed::borrow_mut(bits) }
    }

    /// A copy of the page; both hold the records until they change or drop them.
    pub(crate) fn share(&self) -> Self {
        let copy = Self(self.0.copy());
        if self.has_records() {
            for bits in (0..self.count()).filter_map(|index| self.layout(index).record(&self.0)) {
                // SAFETY: the bits stand in an entry of this page, and now in one of the copy.
                unsafe { Boxed::share(bits) };
            }
        }
        copy
    }

    /// Frees the record of an entry that is no more.
    pub(super) fn free_record(&mut self, bits: u64, tally: &mut Tally) {
        // SAFETY: the callers have just overwritten or unlinked the one entry of this page that held the bits; so it
        // holds the record until it is released here.
        let (bytes, record) = unsafe { (Boxed::borrow(bits).bytes(), Boxed::release(bits)) };
        tally.bytes -= bytes;
        match record {
            Some(record) => tally.bury(record.value),
            None => tally.captures.note_detached(bytes),
        }
    }

    /// Takes the value of an entry that is to be removed; an empty one takes its place.
    pub(crate) fn take_value(&mut self, index: usize, tally: &mut Tally) -> Value {
        let layout = self.layout(index);
        if let Some(record) = self.record_alone(layout) {
            let old_bytes = record.bytes();
            let value = mem::replace(&mut record.value, Value::String(Vec::new()));
            tally.change_bytes(old_bytes, record.bytes());
            return value;
        }
        match self.record(layout) {
            Some(record) => record.value.clone(),
            None => Value::String(layout.value(&self.0).to_vec()),
        }
    }

    /// Hands the values that are costly to free to `dead`; for pages that are dropped.
    pub(crate) fn take_heavy(&mut self, dead: &mut Vec<Value>) {
        if !self.has_records() {
            return;
        }
        for index in 0..self.count() {
            if let Some(record) = self.record_alone(self.layout(index))
                && record.value.is_heavy()
            {
                dead.push(mem::replace(&mut record.value, Value::String(Vec::new())));
            }
        }
    }

    /// Changes the list of an entry, with `None` if it holds another type.
    #[inline]
    pub(crate) fn edit_list<R>(
        &mut self,
        index: usize,
        tally: &mut Tally,
        change: impl FnOnce(&mut List) -> R,
    ) -> Option<R> {
        let layout = self.layout(index);
        if self.record_alone(layout).is_none() {
            self.unshare_list(layout, tally);
        }
        let Value::List(list) = &mut self.record_alone(layout)?.value else { return None };
        let old_bytes = list.heap_bytes();
        let result = change(list);
        tally.change_bytes(old_bytes, list.heap_bytes());
        let detached = list.take_detached();
        if detached > 0 {
            tally.captures.note_detached(detached);
        }
        Some(result)
    }

    /// Gives an entry with a list a record of its own in the place of one that a copy of the page holds too.
    #[cold]
    fn unshare_list(&mut self, layout: Layout, tally: &mut Tally) {
        let Some(record) = self.record(layout).filter(|record| matches!(record.value, Value::List(_))) else { return };
        let old_bytes = record.bytes();
        let copy = record.copy();
        tally.captures.note_detached(record.value.own_bytes());
        tally.change_bytes(old_bytes, copy.bytes());
        let Some(old) = layout.exchange_record(&mut self.0, Box::new(copy).into_bits()) else { return };
        // SAFETY: the bits have just been overwritten.
        drop(unsafe { Boxed::release(old) });
    }

    pub(crate) fn has_records(&self) -> bool {
        self.0[FLAGS] & HAS_RECORDS != 0
    }

    /// Makes the page forget its entries, which have been copied elsewhere, records and all.
    pub(super) fn forget_entries(&mut self) {
        self.set_number(super::COUNT, 0);
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !self.has_records() {
            return;
        }
        for index in 0..self.count() {
            if let Some(bits) = self.layout(index).record(&self.0) {
                // SAFETY: the entry goes with the page; nobody reads it again.
                drop(unsafe { Boxed::release(bits) });
            }
        }
    }
}
