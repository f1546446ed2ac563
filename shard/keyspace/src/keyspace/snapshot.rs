//! Snapshots of all databases at once.

use super::Keyspace;
use crate::snapshot::{Account, Capture};
use crate::{Db, SnapshotEntry, SnapshotId, SnapshotWalk};
use alloc::sync::Arc;
use alloc::vec::Vec;
use slotmesh_base::limits::SNAPSHOTS_MAX;

/// The running snapshots of a keyspace.
#[derive(Debug, Default)]
pub(super) struct Snapshots {
    newest: u32,
    running: Vec<(SnapshotId, Arc<Account>)>,
    /// Flushed databases that some of them have not walked to the end.
    ghosts: Vec<Db>,
}

impl Keyspace {
    /// Begins a snapshot of all databases as they are now, for which pages of up to `copies_bytes_max` bytes may be
    /// kept at a time; `None` if [`SNAPSHOTS_MAX`] are running. It costs nothing that grows with the number of keys.
    pub fn begin_snapshot(&mut self, copies_bytes_max: usize) -> Option<SnapshotId> {
        if self.snapshots.running.len() >= SNAPSHOTS_MAX {
            return None;
        }
        // One snapshot a second reaches the last epoch after 136 years.
        let epoch = self.snapshots.newest.checked_add(1)?;
        self.snapshots.newest = epoch;
        let account = Arc::new(Account::new(copies_bytes_max));
        for (index, db) in (0..).zip(&mut self.dbs) {
            if let Some(db) = db.as_mut().filter(|db| !db.is_empty()) {
                db.captures_mut().begin(Capture::new(epoch, index, Arc::clone(&account)));
            }
        }
        self.snapshots.running.push((SnapshotId(epoch), account));
        Some(SnapshotId(epoch))
    }

    /// Shows further entries of a snapshot: those of pages that changed meanwhile first, then in the order of databases
    /// and slots. Each entry is shown once, expired ones that nobody removed before the snapshot included. The entries
    /// of a page come together, so it may be a few dozen more than `entries_max`, unless they are large; a page counts as
    /// one entry more, a large entry as one for each [`SNAPSHOT_ENTRY_BYTES`](slotmesh_base::limits::SNAPSHOT_ENTRY_BYTES).
    pub fn walk_snapshot(
        &mut self,
        id: SnapshotId,
        entries_max: usize,
        show: &mut dyn FnMut(SnapshotEntry<'_>),
    ) -> SnapshotWalk {
        self.parts().for_each(|db| db.captures_mut().charge_detached());
        if self.account(id).is_none_or(Account::is_dropped) {
            self.end_snapshot(id);
            return SnapshotWalk::Dropped;
        }
        let mut budget = entries_max.max(1);
        for db in self.parts() {
            db.show_copies(id.0, &mut budget, show);
        }
        loop {
            let parts = self.parts().filter_map(|db| Some((db.captured_index(id.0)?, db)));
            let Some((_, db)) = parts.min_by_key(|(index, _)| *index) else {
                self.end_snapshot(id);
                return SnapshotWalk::Done;
            };
            if !db.walk(id.0, &mut budget, show) {
                return SnapshotWalk::More;
            }
            db.captures_mut().end(id.0);
            self.bury_ghosts();
        }
    }

    /// Ends a snapshot before its walk is done; what was kept for it is freed by [`free_some`](Self::free_some).
    pub fn end_snapshot(&mut self, id: SnapshotId) {
        self.snapshots.running.retain(|(running, _)| *running != id);
        self.parts().for_each(|db| db.captures_mut().end(id.0));
        self.bury_ghosts();
    }

    /// Bytes that are kept for a snapshot and that its walk has not shown yet; 0 if it is no more.
    pub fn snapshot_copies_bytes(&self, id: SnapshotId) -> usize {
        self.account(id).map_or(0, Account::bytes)
    }

    /// The most that [`snapshot_copies_bytes`](Self::snapshot_copies_bytes) ever was.
    pub fn snapshot_copies_peak_bytes(&self, id: SnapshotId) -> usize {
        self.account(id).map_or(0, Account::peak)
    }

    /// Lets go of what was kept for snapshots that outgrew their bound, and hands over what has to be freed.
    pub(super) fn collect_dead(&mut self) {
        for at in 0..self.snapshots.running.len() {
            let (id, account) = &self.snapshots.running[at];
            if account.is_dropped() {
                let id = *id;
                self.parts().for_each(|db| db.captures_mut().end(id.0));
            }
        }
        self.bury_ghosts();
        let Self { dbs, snapshots, graveyard, .. } = self;
        dbs.iter_mut().flatten().for_each(|db| graveyard.collect(db));
        snapshots.ghosts.iter_mut().for_each(|db| graveyard.collect(db));
    }

    /// Takes a database that was flushed.
    pub(super) fn retire(&mut self, mut db: Db) {
        if db.captures_mut().is_empty() {
            self.graveyard.bury(db);
        } else {
            self.snapshots.ghosts.push(db);
        }
    }

    fn bury_ghosts(&mut self) {
        let needless = self.snapshots.ghosts.extract_if(.., |ghost| ghost.captures_mut().is_empty());
        needless.for_each(|ghost| self.graveyard.bury(ghost));
    }

    /// All databases that a snapshot may have a part in.
    fn parts(&mut self) -> impl Iterator<Item = &mut Db> {
        self.dbs.iter_mut().flatten().map(|db| &mut **db).chain(&mut self.snapshots.ghosts)
    }

    fn account(&self, id: SnapshotId) -> Option<&Account> {
        self.snapshots.running.iter().find(|(running, _)| *running == id).map(|(_, account)| &**account)
    }
}

#[cfg(test)]
mod tests;
