//! Who owns which slot, as this node believes.

use crate::topology::{NOBODY, NodeIndex};
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use slotmesh_base::SlotSet;
use slotmesh_base::{SLOT_COUNT, Slot};

/// Owners of all slots, and the open ones.
#[derive(Debug)]
pub(super) struct Slots {
    owners: Box<[u16; SLOT_COUNT]>,
    /// Number of slots of each node.
    counts: Vec<u16>,
    assigned: usize,
    /// Grows with each change of an owner.
    generation: u64,
    /// Slots whose recorded owner does not claim them any more (Redis: `owner_not_claiming_slot`).
    unclaimed: SlotSet,
    /// Slots of ours that move to another node, and to whom.
    pub(super) migrating: BTreeMap<Slot, NodeIndex>,
    /// Slots that move to us, and from whom.
    pub(super) importing: BTreeMap<Slot, NodeIndex>,
}

impl Default for Slots {
    fn default() -> Self {
        Self {
            owners: Box::new([NOBODY; SLOT_COUNT]),
            counts: Vec::new(),
            assigned: 0,
            generation: 0,
            unclaimed: SlotSet::default(),
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
        }
    }
}

impl Slots {
    pub(super) fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        let owner = self.owners[slot.index()];
        (owner != NOBODY).then_some(NodeIndex(owner))
    }

    pub(super) fn owners(&self) -> &[u16; SLOT_COUNT] {
        &self.owners
    }

    /// Number of slots of a node.
    pub(super) fn count(&self, node: NodeIndex) -> u16 {
        self.counts.get(usize::from(node.0)).copied().unwrap_or(0)
    }

    /// Number of slots with an owner.
    pub(super) fn assigned(&self) -> usize {
        self.assigned
    }

    /// The same as long as all slots have the same owners.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// Makes a node the owner of a slot, or nobody.
    pub(super) fn assign(&mut self, slot: Slot, node: Option<NodeIndex>) {
        self.generation += 1;
        if let Some(old) = self.owner(slot) {
            self.counts[usize::from(old.0)] -= 1;
            self.assigned -= 1;
        }
        self.unclaimed.remove(slot);
        self.owners[slot.index()] = node.map_or(NOBODY, |node| node.0);
        if let Some(node) = node {
            let place = usize::from(node.0);
            if self.counts.len() <= place {
                self.counts.resize(place + 1, 0);
            }
            self.counts[place] += 1;
            self.assigned += 1;
        }
    }

    /// The slots of a node, ascending.
    pub(super) fn of(&self, node: NodeIndex) -> SlotSet {
        let mut set = SlotSet::default();
        if self.count(node) > 0 {
            slots().filter(|slot| self.owners[slot.index()] == node.0).for_each(|slot| _ = set.insert(slot));
        }
        set
    }

    /// The runs of slots of all nodes by their places, in one pass over the slots.
    pub(super) fn runs(&self, places: usize) -> Vec<Vec<(u16, u16)>> {
        let mut runs: Vec<Vec<(u16, u16)>> = alloc::vec![Vec::new(); places];
        let mut slot = 0;
        for same in self.owners.chunk_by(|a, b| a == b) {
            let (first, last) = (slot, slot + same.len() - 1);
            slot += same.len();
            if same[0] != NOBODY {
                runs[usize::from(same[0])].push((first as u16, last as u16));
            }
        }
        runs
    }

    /// Takes all slots from a node; which they were.
    pub(super) fn release(&mut self, node: NodeIndex) -> SlotSet {
        let released = self.of(node);
        released.iter().for_each(|slot| self.assign(slot, None));
        released
    }

    /// Whether a node claims other slots than those that are recorded as its.
    pub(super) fn differs(&self, node: NodeIndex, claimed: &SlotSet) -> bool {
        claimed.len() != usize::from(self.count(node)) || claimed.iter().any(|slot| self.owner(slot) != Some(node))
    }

    pub(super) fn is_unclaimed(&self, slot: Slot) -> bool {
        self.unclaimed.contains(slot)
    }

    /// Notes whether the owner of a slot still claims it.
    pub(super) fn set_unclaimed(&mut self, slot: Slot, is_unclaimed: bool) {
        _ = if is_unclaimed { self.unclaimed.insert(slot) } else { self.unclaimed.remove(slot) };
    }

    /// Forgets a node that leaves: nothing is open with it any more.
    pub(super) fn forget(&mut self, node: NodeIndex) {
        self.release(node);
        self.migrating.retain(|_, &mut to| to != node);
        self.importing.retain(|_, &mut from| from != node);
    }
}

/// All slots, ascending.
pub(super) fn slots() -> impl Iterator<Item = Slot> {
    (0..SLOT_COUNT as u16).map(|number| Slot::new(number).expect("below the number of slots"))
}
