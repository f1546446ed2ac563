//! Which history a node's data follow, and how far.

use crate::ReplicationId;
use slotmesh_base::Rng;

/// A place in a history: what a replica asks to go on from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The history.
    pub id: ReplicationId,
    /// The first byte that is wanted: one behind the last that was applied.
    pub offset: u64,
}

/// The history of a node's data, and the one that it was part of before a promotion.
#[derive(Clone, Copy, Debug)]
pub struct History {
    id: ReplicationId,
    offset: u64,
    /// The history before the last promotion, and the first offset at which ours is another.
    before: Option<(ReplicationId, u64)>,
}

impl History {
    /// A history that begins.
    pub fn new(rng: &mut Rng) -> Self {
        Self { id: ReplicationId::random(rng), offset: 0, before: None }
    }

    /// Its name.
    pub fn id(&self) -> ReplicationId {
        self.id
    }

    /// Bytes of it so far (`master_repl_offset`).
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The history before, and the first offset at which ours is another (`master_replid2`, `second_repl_offset`).
    pub fn before(&self) -> Option<(ReplicationId, u64)> {
        self.before
    }

    /// Where we would go on, as a replica of somebody who knows the history.
    pub fn position(&self) -> Position {
        Position { id: self.id, offset: self.offset + 1 }
    }

    /// It has become longer.
    pub(crate) fn grow(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// The data are what somebody else's history says, at that offset: an image has come.
    pub(crate) fn adopt(&mut self, id: ReplicationId, offset: u64) {
        *self = Self { id, offset, before: None };
    }

    /// What follows is ours alone, under a new name: a replica became a master. Replicas of the same old master can
    /// still go on from us.
    pub(crate) fn branch_off(&mut self, rng: &mut Rng) {
        self.before = Some((self.id, self.offset + 1));
        self.id = ReplicationId::random(rng);
    }

    /// The master that we go on with has been promoted, and goes on under another name.
    pub(crate) fn rename(&mut self, id: ReplicationId) {
        if id != self.id {
            self.before = Some((self.id, self.offset + 1));
            self.id = id;
        }
    }

    /// Nobody can go on from what was before: its changes were not kept.
    pub(crate) fn begin_anew(&mut self, rng: &mut Rng) {
        self.id = ReplicationId::random(rng);
        self.before = None;
    }

    /// Whether somebody at this position has the same data as we had there.
    pub(crate) fn knows(&self, position: Position) -> bool {
        position.id == self.id || self.before.is_some_and(|(id, until)| position.id == id && position.offset <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promotion_keeps_the_old_name_until_where_it_branched_off() {
        let mut rng = Rng::new(1);
        let mut history = History::new(&mut rng);
        history.grow(100);
        let old = history.id();
        history.branch_off(&mut rng);
        history.grow(50);
        let at = |id, offset| Position { id, offset };
        assert!(history.knows(at(old, 101)), "all of the old history and nothing else");
        assert!(!history.knows(at(old, 102)), "what the old master wrote after it was cut off");
        assert!(history.knows(at(history.id(), 151)));
        assert_eq!(history.before(), Some((old, 101)));
    }

    #[test]
    fn an_image_ends_all_that_was() {
        let mut rng = Rng::new(1);
        let mut history = History::new(&mut rng);
        let old = history.id();
        history.branch_off(&mut rng);
        let new = ReplicationId::random(&mut rng);
        history.adopt(new, 7);
        assert_eq!((history.id(), history.offset(), history.before()), (new, 7, None));
        assert!(!history.knows(Position { id: old, offset: 1 }));
    }
}
