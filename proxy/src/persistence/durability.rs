//! How far the disk is behind the shards, for the cores that hold replies back until it has come so far.
//!
//! What is taken from a shard for its stream has a number (`Effects::number`). A reply may tell of whatever its shard had
//! done by then, so that it leaves when the disk has all pieces that had been begun (`appendfsync always`). And where save
//! points promise an RDB file, it leaves when a file has been made of each FLUSHALL that its shard had run.

use slotmesh_conf::{Settings, directive};
use slotmesh_shard::Shard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// What directives promise of the disk, as far as it concerns cores that do not write there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Promises {
    /// There is an append-only file.
    pub(crate) appends: bool,
    /// Replies wait for it.
    pub(crate) holds_replies: bool,
    /// A reply behind FLUSHALL waits for the RDB file.
    pub(crate) saves_flushes: bool,
}

impl Promises {
    pub(crate) fn new(settings: &Settings) -> Self {
        let appends = settings.value(directive::APPENDONLY);
        Self {
            appends,
            holds_replies: appends && settings.value(directive::APPENDFSYNC) == "always",
            saves_flushes: !settings.value(directive::SAVE).is_empty(),
        }
    }
}

/// The marks of all cores.
#[derive(Debug)]
pub(crate) struct Durability {
    cores: Vec<Mark>,
    /// Whether there may be a FLUSHALL of which no file was made.
    is_flushed: AtomicBool,
}

/// The mark of one core; on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Mark {
    /// Pieces that its shard has begun.
    gained: AtomicU64,
    /// Those of them that replies need not wait for.
    durable: AtomicU64,
    /// Those of them that are known to be on the disk, whatever replies wait for.
    synced: AtomicU64,
    /// FLUSHALLs that its shard has run.
    flushed: AtomicU64,
    /// Those of them of which a file was made, or could not be.
    filed: AtomicU64,
    /// Whether the core holds replies back.
    waits: AtomicBool,
}

/// What the disk must have before a reply may leave: so many pieces of shards, and files of so many FLUSHALLs.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Needs {
    pieces: Vec<(u16, u64)>,
    flushes: Vec<(u16, u64)>,
}

impl Needs {
    /// Whether nothing is missing.
    pub(crate) fn is_nothing(&self) -> bool {
        self.pieces.is_empty() && self.flushes.is_empty()
    }

    /// What is promised no more is not needed.
    pub(crate) fn limit_to(&mut self, promises: Promises) {
        if !promises.holds_replies {
            self.pieces.clear();
        }
        if !promises.saves_flushes {
            self.flushes.clear();
        }
    }
}

impl Durability {
    pub(crate) fn new(cores: usize) -> Self {
        Self { cores: (0..cores).map(|_| Mark::default()).collect(), is_flushed: AtomicBool::new(false) }
    }

    /// A shard may have done something that replies will tell of.
    #[inline]
    pub(crate) fn publish(&self, core: u16, shard: &Shard, promises: Promises) {
        let mark = &self.cores[usize::from(core)];
        if promises.appends {
            let effects = shard.effects();
            let gained = effects.pieces() + u64::from(effects.has_gained());
            mark.gained.fetch_max(gained, Ordering::AcqRel);
        }
        let flushes = shard.keyspace().stats().flushes;
        if flushes > mark.flushed.load(Ordering::Relaxed) {
            if !promises.saves_flushes {
                // Nobody makes a file of it, also if files are promised later.
                mark.filed.fetch_max(flushes, Ordering::SeqCst);
            }
            mark.flushed.fetch_max(flushes, Ordering::SeqCst);
            if promises.saves_flushes {
                self.is_flushed.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Whether replies may have to wait for the file of a FLUSHALL.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.is_flushed.load(Ordering::Relaxed)
    }

    /// What the disk must have before a reply may leave that is written now.
    pub(crate) fn needs(&self, promises: Promises) -> Needs {
        let pieces = |mark: &Mark| missing(&mark.gained, &mark.durable);
        let flushes = |mark: &Mark| missing(&mark.flushed, &mark.filed);
        let mut needs = Needs { pieces: self.marked(pieces), flushes: self.marked(flushes) };
        needs.limit_to(promises);
        needs
    }

    /// What is missing of each core.
    fn marked(&self, of: impl Fn(&Mark) -> Option<u64>) -> Vec<(u16, u64)> {
        (0..).zip(&self.cores).filter_map(|(core, mark)| Some((core, of(mark)?))).collect()
    }

    /// Whether the disk has that.
    pub(crate) fn has(&self, needs: &Needs) -> bool {
        let reached =
            |core: u16, of: fn(&Mark) -> &AtomicU64| of(&self.cores[usize::from(core)]).load(Ordering::SeqCst);
        needs.pieces.iter().all(|&(core, gained)| reached(core, |mark| &mark.durable) >= gained)
            && needs.flushes.iter().all(|&(core, flushed)| reached(core, |mark| &mark.filed) >= flushed)
    }

    /// Pieces with these numbers are on the disk.
    pub(crate) fn note(&self, places: &[(u16, u64)]) {
        for &(core, number) in places {
            self.cores[usize::from(core)].durable.fetch_max(number + 1, Ordering::SeqCst);
        }
    }

    /// A file was made of shards that had run so many FLUSHALLs, or it cannot be.
    pub(crate) fn note_file(&self, flushes: &[(u16, u64)]) {
        for &(core, flushes) in flushes {
            self.cores[usize::from(core)].filed.fetch_max(flushes, Ordering::SeqCst);
        }
        self.is_flushed.store(false, Ordering::SeqCst);
        if !self.marked(|mark| missing(&mark.flushed, &mark.filed)).is_empty() {
            self.is_flushed.store(true, Ordering::SeqCst);
        }
    }

    /// No file is made of any FLUSHALL until now.
    pub(crate) fn give_up_files(&self) {
        let all: Vec<(u16, u64)> = self.marked(|mark| missing(&mark.flushed, &mark.filed));
        self.note_file(&all);
    }

    /// Pieces with these numbers, and those before, are on the disk.
    pub(crate) fn note_synced(&self, places: &[(u16, u64)]) {
        for &(core, number) in places {
            self.cores[usize::from(core)].synced.fetch_max(number + 1, Ordering::AcqRel);
        }
    }

    /// Whether all that the shard of this core has begun is known to be on the disk, or that of all shards.
    pub(crate) fn is_synced(&self, core: Option<u16>) -> bool {
        let is_synced = |mark: &Mark| missing(&mark.gained, &mark.synced).is_none();
        match core {
            Some(core) => is_synced(&self.cores[usize::from(core)]),
            None => self.cores.iter().all(is_synced),
        }
    }

    /// A core holds replies back, and is to be told; it must look again once it has said so.
    pub(crate) fn wait(&self, core: u16) {
        self.cores[usize::from(core)].waits.store(true, Ordering::SeqCst);
    }

    /// The cores that are to be told, once.
    pub(crate) fn take_waiting(&self) -> Vec<u16> {
        let waits = |(_, mark): &(u16, &Mark)| mark.waits.swap(false, Ordering::SeqCst);
        (0..).zip(&self.cores).filter(waits).map(|(core, _)| core).collect()
    }
}

/// What was begun, if not all of it is done.
fn missing(begun: &AtomicU64, done: &AtomicU64) -> Option<u64> {
    let begun = begun.load(Ordering::Acquire);
    (begun > done.load(Ordering::Acquire)).then_some(begun)
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_keyspace::KeyHasher;
    use slotmesh_shard::ShardSettings;

    const ALWAYS: Promises = Promises { appends: true, holds_replies: true, saves_flushes: true };

    fn shard() -> Shard {
        let hasher = KeyHasher::new([1, 2]);
        let mut shard = Shard::new(ShardSettings { slots: 0..=16383, databases: 1, hasher, seed: 1 });
        shard.record_effects(true);
        shard
    }

    /// Does something; the number of its piece is to come.
    fn write(shard: &mut Shard) {
        shard.effects_mut().push(0, [&b"DEL"[..], b"a"].into_iter());
        shard.effects_mut().end_command();
        shard.effects_mut().end_block();
    }

    #[test]
    fn a_reply_waits_for_all_that_was_begun_before_it_and_for_nothing_behind() {
        let (durability, mut shards) = (Durability::new(2), [shard(), shard()]);
        write(&mut shards[1]);
        durability.publish(1, &shards[1], ALWAYS);
        let first = durability.needs(ALWAYS);
        assert!(!first.is_nothing() && !durability.has(&first));
        let number = shards[1].effects_mut().number();
        shards[1].effects_mut().drain();
        write(&mut shards[1]);
        durability.publish(1, &shards[1], ALWAYS);
        let second = durability.needs(ALWAYS);
        durability.note_synced(&[(1, number)]);
        assert!(!durability.has(&first), "that is not what replies wait for");
        durability.note(&[(1, number)]);
        assert!(durability.has(&first) && !durability.has(&second));
        assert!(!durability.is_synced(Some(1)) && durability.is_synced(Some(0)) && !durability.is_synced(None));
        durability.note_synced(&[(1, number + 1)]);
        assert!(durability.is_synced(None));
        let mut second = second;
        second.limit_to(Promises { holds_replies: false, ..ALWAYS });
        assert!(second.is_nothing(), "nobody promises that any more");
    }

    #[test]
    fn a_reply_behind_flushall_waits_for_a_file_of_it() {
        let (durability, mut shard) = (Durability::new(1), shard());
        assert!(!durability.is_flushed());
        for flushes in 1..=2 {
            shard.keyspace_mut().note_flushall();
            durability.publish(0, &shard, ALWAYS);
            let needs = durability.needs(ALWAYS);
            assert!(durability.is_flushed() && !durability.has(&needs));
            durability.note_file(&[(0, flushes - 1)]);
            assert!(durability.is_flushed() && !durability.has(&needs), "that was made before");
            durability.note_file(&[(0, flushes)]);
            assert!(!durability.is_flushed() && durability.has(&needs) && durability.needs(ALWAYS).is_nothing());
        }
    }

    #[test]
    fn a_flushall_of_which_no_file_is_made_is_not_waited_for_later() {
        let (durability, mut shard) = (Durability::new(1), shard());
        shard.keyspace_mut().note_flushall();
        durability.publish(0, &shard, Promises { saves_flushes: false, ..ALWAYS });
        durability.publish(0, &shard, ALWAYS);
        assert!(!durability.is_flushed() && durability.needs(ALWAYS).is_nothing());
        shard.keyspace_mut().note_flushall();
        durability.publish(0, &shard, ALWAYS);
        let needs = durability.needs(ALWAYS);
        durability.give_up_files();
        assert!(!durability.is_flushed() && durability.has(&needs));
    }

    #[test]
    fn a_core_that_waits_is_told_once() {
        let durability = Durability::new(3);
        durability.wait(2);
        assert_eq!((durability.take_waiting(), durability.take_waiting()), (vec![2], vec![]));
    }
}
