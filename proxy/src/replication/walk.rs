//! Snapshots of all shards of a stream on their way into one image: a slice of each per turn, whoever takes the bytes.

use super::image_writer::{ImageForm, ImageWriter};
use super::mail::{ReplicationMail, Slice, Walk};
use crate::engine::{Engine, Hands};
use slotmesh_base::limits::{FILE_PIECE_BYTES, SNAPSHOT_ENTRIES_PER_TURN};
use slotmesh_keyspace::{SnapshotId, SnapshotWalk};
use slotmesh_rdb::Header;

/// The walks over the snapshots that make up one image, and what writes it.
pub(crate) struct Walks {
    /// By which the slices of other cores are known.
    number: u64,
    shards: Vec<ShardWalk>,
    /// Gone when all of the image is written.
    writer: Option<ImageWriter>,
    form: ImageForm,
    /// Entries of a slice: fewer where they are large.
    entries: usize,
    /// Keys that were written.
    pub(crate) keys: u64,
}

/// The walk over the snapshot of one shard.
struct ShardWalk {
    core: u16,
    snapshot: SnapshotId,
    state: WalkState,
    /// Most bytes that were kept for it.
    copies_bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WalkState {
    /// There is more.
    More,
    /// Its core was asked for the next slice.
    Asked,
    Done,
    /// More was written meanwhile than may be kept for it.
    Dropped,
}

/// How far an image has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Walked {
    /// There is more to come.
    More,
    /// All of it is written.
    Whole,
    /// More was written meanwhile than may be kept: there is no image.
    Dropped,
}

impl Walks {
    /// Begins an image of snapshots that have been begun, each on its core; its head stands in `out`.
    pub(crate) fn begin(
        number: u64,
        snapshots: Vec<(u16, SnapshotId)>,
        form: ImageForm,
        header: &Header<'_>,
        out: &mut Vec<u8>,
    ) -> Self {
        let writer = ImageWriter::begin(form, header, out);
        let state = |(core, snapshot)| ShardWalk { core, snapshot, state: WalkState::More, copies_bytes: 0 };
        let shards = snapshots.into_iter().map(state).collect();
        Self { number, shards, writer: Some(writer), form, entries: SNAPSHOT_ENTRIES_PER_TURN, keys: 0 }
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the snapshot of the shard of core `own` is to be walked on.
    pub(crate) fn walks(&self, own: u16) -> bool {
        self.shards.iter().any(|walk| walk.core == own && walk.state == WalkState::More)
    }

    /// Whether all of it is written.
    pub(crate) fn is_whole(&self) -> bool {
        self.writer.is_none()
    }

    /// Goes on by a slice of each shard: ours if it is at home, the others' when they come. What is written stands behind
    /// `out`.
    pub(crate) fn go_on(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, out: &mut Vec<u8>) -> Walked {
        self.walk_own(engine, out);
        let (image, form, entries) = (self.number, self.form, self.entries);
        let own = engine.core;
        for walk in self.shards.iter_mut().filter(|walk| walk.core != own && walk.state == WalkState::More) {
            walk.state = WalkState::Asked;
            let snapshot = walk.snapshot;
            engine.mail(hands, walk.core, ReplicationMail::Walk(Walk { image, snapshot, form, entries }));
        }
        self.end_if_done(out)
    }

    fn end_if_done(&mut self, out: &mut Vec<u8>) -> Walked {
        if self.shards.iter().any(|walk| walk.state == WalkState::Dropped) {
            return Walked::Dropped;
        }
        if self.shards.iter().any(|walk| walk.state != WalkState::Done) {
            return Walked::More;
        }
        if let Some(writer) = self.writer.take() {
            writer.end(out);
        }
        Walked::Whole
    }

    fn walk_own(&mut self, engine: &mut Engine, out: &mut Vec<u8>) {
        let own = |walk: &&mut ShardWalk| walk.core == engine.core && walk.state == WalkState::More;
        let (Some(walk), Some(writer)) = (self.shards.iter_mut().find(own), &mut self.writer) else { return };
        let Some(shard) = engine.lending.home() else { return };
        let (before, mut keys) = (out.len(), 0);
        let outcome = shard.walk_snapshot(walk.snapshot, self.entries, &mut |entry| {
            keys += 1;
            writer.entry(out, &entry);
        });
        walk.copies_bytes = walk.copies_bytes.max(shard.snapshot_copies_peak_bytes(walk.snapshot) as u64);
        walk.state = state_after(outcome);
        let bytes = out.len() - before;
        self.count(keys, bytes);
    }

    /// Counts the entries of a slice, and sees to it that the next one is not much larger than a piece of a file.
    fn count(&mut self, keys: u64, bytes: usize) {
        self.keys += keys;
        let fitting = (keys as usize).saturating_mul(FILE_PIECE_BYTES) / bytes.max(1);
        self.entries = fitting.clamp(1, SNAPSHOT_ENTRIES_PER_TURN);
    }

    /// Most bytes that were kept for the snapshots since writers changed them.
    pub(crate) fn copies_bytes(&self) -> u64 {
        self.shards.iter().map(|walk| walk.copies_bytes).sum()
    }

    /// A slice of another core's shard has come: its bytes are the next ones of the image.
    pub(crate) fn take_slice(&mut self, core: u16, slice: &Slice) {
        if let Some(writer) = &mut self.writer {
            writer.splice(&slice.bytes);
        }
        self.count(slice.keys, slice.bytes.len());
        if let Some(walk) = self.shards.iter_mut().find(|walk| walk.core == core) {
            walk.state = state_after(slice.outcome);
            walk.copies_bytes = walk.copies_bytes.max(slice.copies_bytes);
        }
    }

    /// The image is wanted no more: ends the snapshots whose walks are not done, each on its core.
    pub(crate) fn give_up(&mut self, engine: &mut Engine, hands: &mut Hands<'_>) {
        for walk in &mut self.shards {
            if matches!(walk.state, WalkState::More | WalkState::Asked) {
                engine.end_walk(hands, walk.core, walk.snapshot);
                walk.state = WalkState::Done;
            }
        }
    }
}

fn state_after(outcome: SnapshotWalk) -> WalkState {
    match outcome {
        SnapshotWalk::More => WalkState::More,
        SnapshotWalk::Done => WalkState::Done,
        SnapshotWalk::Dropped => WalkState::Dropped,
    }
}
