//! How far the disk is behind the shards, for the cores that hold replies back until it has come so far.
//!
//! What is taken from a shard for its stream has a number (`Effects::number`). A reply may tell of whatever its shard had
//! done by then, so that it leaves when the disk has all pieces that had been begun.

use slotmesh_shard::Shard;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The marks of all cores.
#[derive(Debug)]
pub(crate) struct Durability {
    cores: Vec<Mark>,
}

/// The mark of one core; on a cache line of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Mark {
    /// Pieces that its shard has begun.
    gained: AtomicU64,
    /// Those of them that are on the disk.
    durable: AtomicU64,
    /// Whether the core holds replies back.
    waits: AtomicBool,
}

impl Durability {
    pub(crate) fn new(cores: usize) -> Self {
        Self { cores: (0..cores).map(|_| Mark::default()).collect() }
    }

    /// A shard may have done something that replies will tell of.
    #[inline]
    pub(crate) fn publish(&self, core: u16, shard: &Shard) {
        let effects = shard.effects();
        let gained = effects.pieces() + u64::from(effects.has_gained());
        self.cores[usize::from(core)].gained.fetch_max(gained, Ordering::AcqRel);
    }

    /// What the disk must have before a reply may leave that is written now.
    pub(crate) fn needs(&self) -> Vec<(u16, u64)> {
        let need = |(core, mark): (u16, &Mark)| {
            let gained = mark.gained.load(Ordering::Acquire);
            (gained > mark.durable.load(Ordering::Acquire)).then_some((core, gained))
        };
        (0..).zip(&self.cores).filter_map(need).collect()
    }

    /// Whether the disk has that.
    pub(crate) fn has(&self, needs: &[(u16, u64)]) -> bool {
        needs.iter().all(|&(core, gained)| self.cores[usize::from(core)].durable.load(Ordering::SeqCst) >= gained)
    }

    /// Pieces with these numbers are on the disk.
    pub(crate) fn note(&self, places: &[(u16, u64)]) {
        for &(core, number) in places {
            self.cores[usize::from(core)].durable.fetch_max(number + 1, Ordering::SeqCst);
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
