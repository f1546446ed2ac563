//! A database's part of snapshots: what is walked, and when it is done.

use super::Db;
use crate::Cursor;
use crate::page::Page;
use crate::slot_table::POSITION_END;
use crate::snapshot::{Capture, Captures, SnapshotEntry, release};
use alloc::sync::Arc;
use slotmesh_base::limits::{SNAPSHOT_ENTRY_BYTES, SNAPSHOT_PAGE_BYTES};

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

    /// Shows the pages that were kept for a snapshot, entry by entry, while there is budget (of entries; a large one counts
    /// as several, a page as one more).
    pub(crate) fn show_copies(&mut self, epoch: u32, budget: &mut usize, show: Show<'_>) {
        while *budget > 0
            && let Some(capture) = self.tally.captures.find(epoch)
            && let Some(page) = capture.copies.front()
        {
            while *budget > 0 && capture.shown < page.count() {
                show_entry(page, capture.shown, capture.db, show);
                *budget = budget.saturating_sub(1 + page.entry_bytes(capture.shown) / SNAPSHOT_ENTRY_BYTES);
                capture.shown += 1;
            }
            if capture.shown == page.count()
                && let Some(copy) = capture.take_shown_copy()
            {
                *budget = budget.saturating_sub(1);
                release(copy, &mut self.tally.dead);
            }
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
            let is_wanted = page.version() < epoch;
            let kept = (is_wanted && is_large(page)).then(|| Arc::new(page.share()));
            if is_wanted && kept.is_none() {
                (0..page.count()).for_each(|index| show_entry(page, index, db, show));
                *budget = budget.saturating_sub(page.count());
            }
            *budget = budget.saturating_sub(1);
            next = Cursor { slot, position: end };
            if let Some(copy) = kept
                && let Some(capture) = self.tally.captures.find(epoch)
            {
                // Whoever changes the page from now on finds it passed.
                capture.next = next;
                capture.keep(copy);
                self.show_copies(epoch, budget, show);
            }
        }
        if let Some(capture) = self.tally.captures.find(epoch) {
            capture.next = next;
        }
        is_done
    }
}

/// Whether the values of a page are too much for one step of a walk: they are shown one by one then.
fn is_large(page: &Page) -> bool {
    let bytes = || (0..page.count()).map(|index| page.entry_bytes(index)).sum::<usize>();
    page.has_records() && bytes() > SNAPSHOT_PAGE_BYTES
}

fn show_entry(page: &Page, index: usize, db: u16, show: Show<'_>) {
    let entry = page.entry(index);
    show(SnapshotEntry { db, key: page.key(index), value: entry.value, expires_at: entry.expires_at });
}
