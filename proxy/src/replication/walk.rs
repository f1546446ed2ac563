//! Snapshots of all shards of a stream on their way into one image, whoever takes the bytes: each core walks its own, a
//! slice after the other, as far as its turns have time for it.

use super::image_writer::{ImageForm, ImageWriter};
use super::mail::{ReplicationMail, Slice, Walk};
use crate::engine::{Engine, Hands};
use crate::walk_time::WalkTime;
use slotmesh_base::limits::{
    FILE_PIECE_BYTES, SNAPSHOT_ENTRIES_PER_STEP, SNAPSHOT_SLICE_BYTES, SNAPSHOT_SLICES_ASKED_MAX,
};
use slotmesh_keyspace::{SnapshotId, SnapshotWalk};
use slotmesh_rdb::Header;
use slotmesh_shard::Shard;
use std::ops::ControlFlow;

/// The walks over the snapshots that make up one image, and what writes it.
pub(crate) struct Walks {
    /// By which the slices of other cores are known.
    number: u64,
    shards: Vec<ShardWalk>,
    /// Gone when all of the image is written.
    writer: Option<ImageWriter>,
    form: ImageForm,
    /// Keys that were written.
    pub(crate) keys: u64,
}

/// The walk over the snapshot of one shard.
struct ShardWalk {
    core: u16,
    snapshot: SnapshotId,
    outcome: SnapshotWalk,
    /// Slices that its core was asked for and that have not come.
    asked: usize,
    /// Most bytes that were kept for it.
    copies_bytes: u64,
}

impl ShardWalk {
    fn goes_on(&self) -> bool {
        self.outcome == SnapshotWalk::More
    }
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
        let begun =
            |(core, snapshot)| ShardWalk { core, snapshot, outcome: SnapshotWalk::More, asked: 0, copies_bytes: 0 };
        let shards = snapshots.into_iter().map(begun).collect();
        Self { number, shards, writer: Some(writer), form, keys: 0 }
    }

    /// Its number.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Whether the snapshot of the shard of core `own` is to be walked on.
    pub(crate) fn walks(&self, own: u16) -> bool {
        self.shards.iter().any(|walk| walk.core == own && walk.goes_on())
    }

    /// Whether all of it is written.
    pub(crate) fn is_whole(&self) -> bool {
        self.writer.is_none()
    }

    /// Goes on: with our shard if it is at home, as long as the turn has time for it; the others' slices are asked for, some
    /// ahead. What is written stands behind `out`.
    pub(crate) fn go_on(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, out: &mut Vec<u8>) -> Walked {
        self.walk_own(engine, out);
        let (image, form, own) = (self.number, self.form, engine.core);
        for walk in self.shards.iter_mut().filter(|walk| walk.core != own && walk.goes_on()) {
            while walk.asked < SNAPSHOT_SLICES_ASKED_MAX {
                walk.asked += 1;
                engine.mail(hands, walk.core, ReplicationMail::Walk(Walk { image, snapshot: walk.snapshot, form }));
            }
        }
        self.end_if_done(out)
    }

    fn end_if_done(&mut self, out: &mut Vec<u8>) -> Walked {
        if self.shards.iter().any(|walk| walk.outcome == SnapshotWalk::Dropped) {
            return Walked::Dropped;
        }
        if self.shards.iter().any(ShardWalk::goes_on) {
            return Walked::More;
        }
        if let Some(writer) = self.writer.take() {
            writer.end(out);
        }
        Walked::Whole
    }

    fn walk_own(&mut self, engine: &mut Engine, out: &mut Vec<u8>) {
        let own = |walk: &&mut ShardWalk| walk.core == engine.core && walk.goes_on();
        let (Some(walk), Some(writer)) = (self.shards.iter_mut().find(own), &mut self.writer) else { return };
        let Engine { lending, walk_time, .. } = engine;
        let Some(shard) = lending.home() else { return };
        let (outcome, keys) = walk_on(shard, walk_time, walk.snapshot, writer, out, FILE_PIECE_BYTES);
        walk.copies_bytes = walk.copies_bytes.max(shard.snapshot_copies_peak_bytes(walk.snapshot) as u64);
        walk.outcome = outcome;
        self.keys += keys;
    }

    /// Most bytes that were kept for the snapshots since writers changed them.
    pub(crate) fn copies_bytes(&self) -> u64 {
        self.shards.iter().map(|walk| walk.copies_bytes).sum()
    }

    /// A slice of another core's shard has come; whether its bytes are the next ones of the image.
    pub(crate) fn take_slice(&mut self, core: u16, slice: &Slice) -> bool {
        let of_core = |walk: &&mut ShardWalk| walk.core == core && walk.goes_on();
        // What was asked for too much has nothing to say.
        let (Some(walk), Some(writer)) = (self.shards.iter_mut().find(of_core), &mut self.writer) else { return false };
        walk.asked -= 1;
        walk.outcome = slice.outcome;
        walk.copies_bytes = walk.copies_bytes.max(slice.copies_bytes);
        writer.splice(&slice.bytes);
        self.keys += slice.keys;
        true
    }

    /// The image is wanted no more: ends the snapshots whose walks are not done, each on its core.
    pub(crate) fn give_up(&mut self, engine: &mut Engine, hands: &mut Hands<'_>) {
        for walk in self.shards.iter_mut().filter(|walk| walk.goes_on()) {
            engine.end_walk(hands, walk.core, walk.snapshot);
            walk.outcome = SnapshotWalk::Done;
        }
    }
}

/// Walks a snapshot on until so many bytes stand behind what was in `out`, if the turn has time for it: how far it is, and
/// how many keys were written.
fn walk_on(
    shard: &mut Shard,
    time: &mut WalkTime,
    snapshot: SnapshotId,
    writer: &mut ImageWriter,
    out: &mut Vec<u8>,
    bytes: usize,
) -> (SnapshotWalk, u64) {
    let (bytes_wanted, mut keys) = (out.len() + bytes, 0);
    let outcome = time.spend(|| {
        let outcome = shard.walk_snapshot(snapshot, SNAPSHOT_ENTRIES_PER_STEP, &mut |entry| {
            keys += 1;
            writer.entry(out, &entry);
        });
        let goes_on = outcome == SnapshotWalk::More && out.len() < bytes_wanted;
        if goes_on { ControlFlow::Continue(outcome) } else { ControlFlow::Break(outcome) }
    });
    (outcome, keys)
}

/// The walk over a snapshot of our shard for an image that another core makes.
#[derive(Debug)]
pub(super) struct SliceWalk {
    image: u64,
    pub(super) snapshot: SnapshotId,
    writer: ImageWriter,
    /// Slices that are wanted.
    wanted: usize,
    /// The begin of the next one, and the keys in it.
    bytes: Vec<u8>,
    keys: u64,
}

impl SliceWalk {
    /// Another slice is wanted of the snapshot: by its walk among `walks`, or a new one.
    pub(super) fn order(walks: &mut Vec<Self>, order: Walk) {
        let Walk { image, snapshot, form } = order;
        match walks.iter_mut().find(|walk| walk.image == image) {
            Some(walk) => walk.wanted += 1,
            None => {
                let writer = ImageWriter::of_slice(form);
                walks.push(Self { image, snapshot, writer, wanted: 1, bytes: Vec::new(), keys: 0 });
            }
        }
    }

    /// Whether it has something to do.
    pub(super) fn is_wanted(&self) -> bool {
        self.wanted > 0
    }

    /// Goes on as far as the turn has time for it, and adds what is ready to `slices`; whether there is more to walk.
    pub(super) fn go_on(&mut self, shard: &mut Shard, time: &mut WalkTime, slices: &mut Vec<Slice>) -> bool {
        while self.wanted > 0 {
            let left = SNAPSHOT_SLICE_BYTES.saturating_sub(self.bytes.len());
            let (outcome, keys) = walk_on(shard, time, self.snapshot, &mut self.writer, &mut self.bytes, left);
            self.keys += keys;
            if outcome == SnapshotWalk::More && self.bytes.len() < SNAPSHOT_SLICE_BYTES {
                return true;
            }
            self.wanted -= 1;
            self.writer.begin_slice();
            let bytes = std::mem::replace(&mut self.bytes, Vec::with_capacity(SNAPSHOT_SLICE_BYTES));
            let copies_bytes = shard.snapshot_copies_peak_bytes(self.snapshot) as u64;
            slices.push(Slice {
                image: self.image,
                bytes,
                keys: std::mem::take(&mut self.keys),
                copies_bytes,
                outcome,
            });
            if outcome != SnapshotWalk::More {
                return false;
            }
            if time.is_up() {
                return true;
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_io::TickClock;
    use slotmesh_keyspace::{Expiry, KeyHasher, Keyspace, PackedLimit};
    use slotmesh_rdb::{ReadLimits, WriteOptions};
    use slotmesh_shard::{LoadRules, Loader, ShardSettings};

    const KEYS: usize = 20_000;

    fn shard(hasher: KeyHasher) -> Shard {
        let mut shard = Shard::new(ShardSettings { slots: 0..=16383, databases: 2, hasher, seed: 1 });
        for number in 0..KEYS {
            let (name, value) = (format!("key:{number}"), format!("{number:032}"));
            shard.keyspace_mut().db(number % 2).set_string(
                &hasher.key(name.as_bytes()),
                value.as_bytes(),
                Expiry::Never,
            );
        }
        shard
    }

    /// The slices of a snapshot, which are asked for two at a time, in turns of their own.
    fn slices(shard: &mut Shard, form: ImageForm) -> Vec<Slice> {
        let (snapshot, _) = shard.begin_snapshot(usize::MAX).unwrap();
        let (mut walks, mut slices, mut time) = (Vec::new(), Vec::new(), WalkTime::new(TickClock::calibrate()));
        let order = |walks: &mut Vec<SliceWalk>| SliceWalk::order(walks, Walk { image: 1, snapshot, form });
        order(&mut walks);
        while slices.last().is_none_or(|slice: &Slice| slice.outcome == SnapshotWalk::More) {
            order(&mut walks);
            let before = slices.len();
            while slices.len() == before {
                time.begin_turn();
                walks.retain_mut(|walk| walk.go_on(shard, &mut time, &mut slices));
            }
        }
        assert!(walks.is_empty(), "it has come to its end");
        slices
    }

    /// Each slice says itself what its entries belong to, so that others may stand between them.
    #[test]
    fn slices_are_as_long_as_wanted_and_stand_for_themselves() {
        let hasher = KeyHasher::new([1, 2]);
        let options = WriteOptions { compresses: true, checksum: true };
        let slices = slices(&mut shard(hasher), ImageForm::Rdb(options));
        let (_, but_last) = slices.split_last().unwrap();
        let fits = |slice: &Slice| (SNAPSHOT_SLICE_BYTES..SNAPSHOT_SLICE_BYTES + 8192).contains(&slice.bytes.len());
        assert!(but_last.len() > 5 && but_last.iter().all(fits));
        let header =
            Header { redis_version: "7.2.0", created_at: 0, used_memory: 0, replication: None, is_aof_base: false };
        let mut file = Vec::new();
        let mut writer = ImageWriter::begin(ImageForm::Rdb(options), &header, &mut file);
        for slice in slices.iter().rev() {
            writer.splice(&slice.bytes);
            file.extend_from_slice(&slice.bytes);
        }
        writer.end(&mut file);
        let read =
            ReadLimits { string_bytes_max: 100, databases: 2, list_packed: PackedLimit::default(), checksum: true };
        let mut loader = Loader::new(LoadRules::everything(read, hasher));
        let mut keyspace = Keyspace::new(2, 0..=16383, hasher);
        loader.push(&file, &mut [&mut keyspace], false).unwrap();
        assert_eq!(loader.finish().unwrap().keys, KEYS as u64);
        assert_eq!(slices.iter().map(|slice| slice.keys).sum::<u64>(), KEYS as u64);
        assert!((0..2).all(|db| keyspace.find_db(db).unwrap().len() == KEYS / 2));
    }
}
