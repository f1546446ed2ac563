//! A database's part of snapshots: what is walked, and when it is done.

use super::Db;
use crate::Cursor;
use crate::page::Page;
use crate::slot_table::POSITION_END;
use crate::snapshot::{Capture, Captures, SnapshotEntry, release};

/// Takes the entries of a snapshot.
pub(crate) type Show<'s> = &'s mut dyn FnMut(SnapshotEntry<'_>);

impl Db {
    /// What snapshots want of this database.
    pub(crate) fn captures_mut(&mut self) -> &mut Captures {
        &mut self.tally.captures
    }

    /// Index that the database had when the snapshot of that epoch began, if the snapshot wants anything of it.
    pub(crate) fn captured_index(&mut self, epoch: u32) -> Option<u16> {
        self.tally.captures.find(epoch).map(|capture| capture.db)
    }

    /// Shows the pages that were kept for a snapshot, while there is budget (of entries; a page counts as one more).
    pub(crate) fn show_copies(&mut self, epoch: u32, budget: &mut usize, show: Show<'_>) {
        while *budget > 0
            && let Some(capture) = self.tally.captures.find(epoch)
            && let Some(copy) = capture.next_copy()
        {
            show_page(&copy, capture.db, show);
            *budget = budget.saturating_sub(copy.count() + 1);
            release(copy, &mut self.tally.dead);
        }
    }

    /// Walks on through the pages that a snapshot needs as they are, while there is budget; whether that was all. The
    /// copies have been shown.
    pub(crate) fn walk(&mut self, epoch: u32, budget: &mut usize, show: Show<'_>) -> bool {
        let Some(&mut Capture { db, mut next, .. }) = self.tally.captures.find(epoch) else { return true };
        let mut is_done = false;
        while *budget > 0 {
            let first = next.slot.number() + u16::from(next.position == POSITION_END);
            let Some(slot) = self.next_occupied(first) else {
                is_done = true;
                break;
            };
            let position = if slot == next.slot { next.position } else { 0 };
            let Some((page, end)) = self.table(slot).and_then(|table| table.page_at(position)) else { break };
            if page.version() < epoch {
                show_page(page, db, show);
                *budget = budget.saturating_sub(page.count());
            }
            *budget = budget.saturating_sub(1);
            next = Cursor { slot, position: end };
        }
        if let Some(capture) = self.tally.captures.find(epoch) {
            capture.next = next;
        }
        is_done
    }
}

fn show_page(page: &Page, db: u16, show: Show<'_>) {
    for index in 0..page.count() {
        let entry = page.entry(index);
        show(SnapshotEntry { db, key: page.key(index), value: entry.value, expires_at: entry.expires_at });
    }
}
