//! Snapshots of a shard: its content at one offset of its effects.

use crate::Shard;
use slotmesh_keyspace::{SnapshotEntry, SnapshotId, SnapshotWalk};

impl Shard {
    /// Begins a snapshot of what the shard holds now, between two blocks: the snapshot, and the offset of the effects
    /// that it goes with. Content and effects from there on are the shard at any later time. `None` if too many are
    /// running. Pages of up to `copies_bytes_max` bytes are kept for it at a time; if writes need more, it is dropped.
    pub fn begin_snapshot(&mut self, copies_bytes_max: usize) -> Option<(SnapshotId, u64)> {
        let id = self.keyspace.begin_snapshot(copies_bytes_max)?;
        // Whoever goes on from here has selected nothing.
        self.effects.select_anew();
        Some((id, self.effects.offset()))
    }

    /// Shows further entries of a snapshot, about `entries_max` of them.
    pub fn walk_snapshot(
        &mut self,
        id: SnapshotId,
        entries_max: usize,
        show: &mut dyn FnMut(SnapshotEntry<'_>),
    ) -> SnapshotWalk {
        self.keyspace.walk_snapshot(id, entries_max, show)
    }

    /// Ends a snapshot before its walk is done.
    pub fn end_snapshot(&mut self, id: SnapshotId) {
        self.keyspace.end_snapshot(id);
    }

    /// The most bytes that were kept for a running snapshot.
    pub fn snapshot_copies_peak_bytes(&self, id: SnapshotId) -> usize {
        self.keyspace.snapshot_copies_peak_bytes(id)
    }
}

#[cfg(test)]
mod tests;
