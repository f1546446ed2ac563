//! What is due: the earliest times of blocks and slots, and their removal by budget.

use super::{Db, Expiry, ExpiryReport};
use crate::block::{BLOCK_SLOTS, earliest_of, split_slot};
use crate::observe::Change;
use crate::page::{NEVER, is_expired};
use slotmesh_base::{Slot, UnixMillis};

impl Db {
    /// When the next expiry is due, as far as is known (never later than the truth): the first millisecond at
    /// which [`expire_due`](Self::expire_due) finds something to look at.
    pub fn next_expiry(&self) -> Option<UnixMillis> {
        let (_, earliest) = earliest_of(&self.earliest);
        (earliest != NEVER).then(|| UnixMillis(earliest + 1))
    }

    /// Removes keys that are due, slots with the earliest time first, looking through no more than `pages_max` pages.
    pub fn expire_due(&mut self, now: UnixMillis, pages_max: usize) -> ExpiryReport {
        let mut report = ExpiryReport::default();
        while report.pages < pages_max {
            let (number, earliest) = earliest_of(&self.earliest);
            if !is_expired(earliest, now) {
                break;
            }
            let Some(block) = &mut self.blocks[number] else { break };
            let (index, _) = earliest_of(&block.earliest);
            let Some(slot) = Slot::new((number * BLOCK_SLOTS + index) as u16) else { break };
            let observer = &mut self.observer;
            let mut note = |key: &[u8]| {
                if let Some(observer) = observer {
                    observer.note(slot, key, Change::Expired);
                }
            };
            let pages_left = pages_max - report.pages;
            let sweep = block.tables[index].sweep(slot, now, pages_left, &mut self.tally, &mut note);
            block.earliest[index] = block.tables[index].earliest();
            self.earliest[number] = earliest_of(&block.earliest).1;
            report.removed += sweep.removed;
            // A slot whose time was only thought to have come counts too: the budget bounds the work.
            report.pages += sweep.pages.max(1);
            self.note_removals(slot, sweep.removed);
        }
        self.expired += report.removed as u64;
        report
    }

    /// Keeps the earliest times after a key of `slot` got an expiry.
    #[inline]
    pub(super) fn note_expiry(&mut self, slot: Slot, expiry: Expiry) {
        let Expiry::At(at) = expiry else { return };
        let (number, index) = split_slot(slot);
        if let Some(block) = &mut self.blocks[number] {
            block.earliest[index] = block.earliest[index].min(at.0);
        }
        self.earliest[number] = self.earliest[number].min(at.0);
    }
}
