//! What all cores know of the stream of their process; its core writes it, and the others read it once per turn.

use slotmesh_shard::{ReplicationFacts, Standing};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Bits of [`StreamBoard::bits`]: the data are a master's; somebody wants the stream.
const IS_REPLICA: u16 = 0x8000;
const IS_WANTED: u16 = 0x4000;

/// How the one stream of a process stands that is no part of a cluster.
#[derive(Debug, Default)]
pub(crate) struct StreamBoard {
    /// What is refused to clients, and the bits above.
    bits: AtomicU16,
    facts: Mutex<ReplicationFacts>,
}

impl StreamBoard {
    /// What is refused to clients, whether we follow a master, and whether somebody wants our stream.
    #[inline]
    pub(crate) fn standing(&self) -> (Standing, bool, bool) {
        let bits = self.bits.load(Ordering::Acquire);
        let standing = Standing::of_bits(bits & !(IS_REPLICA | IS_WANTED));
        (standing, bits & IS_REPLICA != 0, bits & IS_WANTED != 0)
    }

    /// Shows what is refused from now on.
    pub(crate) fn set_standing(&self, standing: Standing, is_replica: bool, is_wanted: bool) {
        let bit = |bit: u16, is_set: bool| if is_set { bit } else { 0 };
        let bits = standing.to_bits() | bit(IS_REPLICA, is_replica) | bit(IS_WANTED, is_wanted);
        self.bits.store(bits, Ordering::Release);
    }

    /// For INFO and ROLE.
    pub(crate) fn facts(&self) -> ReplicationFacts {
        self.facts.lock().expect("no holder panics").clone()
    }

    /// Shows other facts.
    pub(crate) fn set_facts(&self, facts: ReplicationFacts) {
        *self.facts.lock().expect("no holder panics") = facts;
    }
}
