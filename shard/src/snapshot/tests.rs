use super::*;
use crate::SlotMap;
use crate::testing::limits;
use crate::testing::process::{DATABASES, Process, content, shard, show};
use slotmesh_base::Rng;
use slotmesh_command::recreate;
use slotmesh_keyspace::{Entry, Keyspace};

/// A snapshot of one shard, and what becomes of it.
struct Run {
    core: usize,
    id: SnapshotId,
    offset: u64,
    /// The shard as it was at the offset: its effects until then on an empty one.
    then: Shard,
    /// What the snapshot has shown.
    image: Shard,
    is_done: bool,
}

/// A process, all of whose effects are kept, and snapshots of its shards.
struct World {
    process: Process,
    /// For each shard all of its effects.
    streams: Vec<Vec<u8>>,
    runs: Vec<Run>,
    compared: usize,
}

impl World {
    fn new(count: u16) -> Self {
        let streams = vec![Vec::new(); usize::from(count)];
        Self { process: Process::new(count), streams, runs: Vec::new(), compared: 0 }
    }

    fn drain(&mut self) {
        for (stream, shard) in self.streams.iter_mut().zip(&mut self.process.shards) {
            stream.extend(shard.effects_mut().drain());
        }
    }

    fn empty(&self, core: usize) -> Shard {
        shard(&self.process.map, core as u16)
    }

    fn begin(&mut self, core: usize) {
        self.drain();
        let (id, offset) = self.process.shards[core].begin_snapshot(usize::MAX).expect("few are running");
        assert_eq!(offset, self.streams[core].len() as u64);
        let (mut then, image) = (self.empty(core), self.empty(core));
        then.replay(&self.streams[core], limits()).unwrap();
        self.runs.push(Run { core, id, offset, then, image, is_done: false });
    }

    /// Walks a snapshot a little; when it is done it is compared.
    fn walk(&mut self, run: usize, entries_max: usize, seed: u64) {
        let run = &mut self.runs[run];
        if run.is_done {
            return;
        }
        let image = &mut run.image;
        let walk = self.process.shards[run.core].walk_snapshot(run.id, entries_max, &mut |entry| take(image, entry));
        assert_ne!(walk, SnapshotWalk::Dropped);
        if walk == SnapshotWalk::Done {
            run.is_done = true;
            self.compared += 1;
            assert_same(&run.image.keyspace, &run.then.keyspace, seed, "the snapshot is not the shard at its offset");
        }
    }

    /// Ends all snapshots, and lets their images follow until now.
    fn end(&mut self, seed: u64) {
        for run in 0..self.runs.len() {
            while !self.runs[run].is_done {
                self.walk(run, 100, seed);
            }
        }
        self.drain();
        for mut run in std::mem::take(&mut self.runs) {
            run.image.replay(&self.streams[run.core][run.offset as usize..], limits()).unwrap();
            let now = &self.process.shards[run.core].keyspace;
            assert_same(&run.image.keyspace, now, seed, "the snapshot and what followed are not the shard");
        }
    }
}

/// Puts an entry into an image, by the effects that make it.
fn take(image: &mut Shard, entry: SnapshotEntry<'_>) {
    let mut effects = slotmesh_command::Effects::default();
    effects.record(true);
    let SnapshotEntry { db, key, value, expires_at } = entry;
    recreate(key, &Entry { value, expires_at }, &mut |words| effects.push(db, words.iter().copied()));
    effects.end_command();
    effects.end_block();
    assert!(image.keyspace.find_db(usize::from(db)).is_none_or(|there| {
        let key = image.hasher.key(key);
        !there.contains(&key, slotmesh_base::UnixMillis(i64::MIN))
    }));
    image.replay(&effects.drain(), limits()).unwrap();
}

fn assert_same(one: &Keyspace, other: &Keyspace, seed: u64, wrong: &str) {
    for db in 0..DATABASES {
        let (one, other) = (content(one, db), content(other, db));
        assert!(one == other, "seed {seed}, database {db}: {wrong}:\n{}\nis not\n{}", show(&one), show(&other));
    }
}

#[test]
fn a_snapshot_is_the_shard_at_its_offset_and_with_what_followed_the_shard_now() {
    let mut compared = 0;
    for seed in 0..150 {
        let mut chance = Rng::new(seed);
        let count = 1 + (seed % 2) as u16;
        let mut world = World::new(count);
        for _ in 0..250 {
            world.process.step(&mut chance);
            if chance.below(25) == 0 && world.runs.iter().filter(|run| !run.is_done).count() < 3 {
                world.begin(chance.below(u64::from(count)) as usize);
            }
            if !world.runs.is_empty() && chance.below(4) == 0 {
                let run = chance.below(world.runs.len() as u64) as usize;
                world.walk(run, 1 + chance.below(3) as usize, seed);
            }
        }
        world.end(seed);
        compared += world.compared;
    }
    assert!(compared > 500, "{compared} snapshots prove little");
}

#[test]
fn the_stream_can_be_read_from_a_snapshot_on() {
    let map = SlotMap::even(1);
    let mut world = World::new(1);
    world.process.client.db = 3;
    world.process.run(&crate::testing::Request::words("SET a 1"));
    world.begin(0);
    world.process.run(&crate::testing::Request::words("SET a 2"));
    world.end(0);
    // Without a SELECT of its own what followed would have gone to database 0.
    let mut follower = shard(&map, 0);
    follower.replay(&world.streams[0], limits()).unwrap();
    assert_same(&follower.keyspace, &world.process.shards[0].keyspace, 0, "the whole stream is not the shard");
}
