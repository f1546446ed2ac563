//! The network between hosts: delays, cuts, and links that keep order while they live.
//!
//! As with TCP, a link delivers all or ends: a message on a cut path waits for the path, it is never lost alone.

use slotmesh_base::Rng;
use slotmesh_cluster::machine::LinkId;
use std::collections::VecDeque;
use std::rc::Rc;

/// A mailbox between cores, in nanoseconds.
pub(crate) const MAILBOX_NS: u64 = 20_000;

/// One end of a link: a node, and the node's name of the link.
pub(crate) type End = (usize, LinkId);

/// What travels.
pub(crate) enum Item {
    Frame(Rc<[u8]>),
    /// The other end has closed.
    End,
}

/// One direction of a link.
#[derive(Default)]
pub(crate) struct Way {
    pub(crate) items: VecDeque<(u64, Item)>,
    /// Whether an event for the first of them is scheduled.
    pub(crate) is_scheduled: bool,
    /// When the last one arrives: none overtakes another.
    pub(crate) last_ns: u64,
}

/// A link between two nodes.
pub(crate) struct Link {
    /// Who dialled, and who was dialled.
    pub(crate) ends: [End; 2],
    /// Whether each end still holds it.
    pub(crate) open: [bool; 2],
    /// From the first end to the second, and back.
    pub(crate) ways: [Way; 2],
    pub(crate) is_mailbox: bool,
}

/// What lies between hosts.
pub(crate) struct Network {
    /// Nothing gets from the first to the second.
    cut: Vec<Vec<bool>>,
    /// Shortest delay and jitter, in nanoseconds.
    pub(crate) delay_ns: u64,
    pub(crate) jitter_ns: u64,
}

impl Network {
    pub(crate) fn new(hosts: usize) -> Self {
        Self { cut: vec![vec![false; hosts]; hosts], delay_ns: 200_000, jitter_ns: 300_000 }
    }

    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = from != to;
    }

    pub(crate) fn heal(&mut self) {
        self.cut.iter_mut().for_each(|row| row.fill(false));
    }

    pub(crate) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from][to]
    }

    pub(crate) fn delay(&self, rng: &mut Rng) -> u64 {
        self.delay_ns + rng.below(self.jitter_ns.max(1))
    }
}
