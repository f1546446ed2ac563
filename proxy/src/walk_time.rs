//! The time that a turn of a core gives to the walks over its snapshots: clients wait for it.

use slotmesh_base::limits::SNAPSHOT_NANOS_PER_TURN;
use slotmesh_io::TickClock;
use slotmesh_keyspace::SnapshotWalk;
use std::ops::ControlFlow;

/// What is left of it in a turn.
#[derive(Debug)]
pub(crate) struct WalkTime {
    clock: TickClock,
    /// When the first walk of the turn began.
    begun: Option<u64>,
}

impl WalkTime {
    pub(crate) fn new(clock: TickClock) -> Self {
        Self { clock, begun: None }
    }

    /// The next turn begins.
    #[inline]
    pub(crate) fn begin_turn(&mut self) {
        self.begun = None;
    }

    /// Whether nothing is left.
    pub(crate) fn is_up(&self) -> bool {
        self.begun.is_some_and(|begun| self.clock.nanos_since(begun) >= SNAPSHOT_NANOS_PER_TURN)
    }

    /// Takes steps until one says that it was the last, or no time is left; one at least, so that no walk stands still. What
    /// the last of them has said.
    pub(crate) fn spend(&mut self, mut step: impl FnMut() -> ControlFlow<SnapshotWalk, SnapshotWalk>) -> SnapshotWalk {
        self.begun.get_or_insert_with(|| self.clock.now());
        loop {
            match step() {
                ControlFlow::Continue(_) if !self.is_up() => {}
                ControlFlow::Continue(outcome) | ControlFlow::Break(outcome) => return outcome,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_has_so_much_time_for_all_walks_and_each_takes_a_step() {
        let clock = TickClock::calibrate();
        let mut time = WalkTime::new(clock);
        let goes_on = |time: &mut WalkTime| {
            let mut steps = 0_u64;
            let outcome = time.spend(|| {
                steps += 1;
                ControlFlow::Continue(SnapshotWalk::More)
            });
            (steps, outcome)
        };
        let begin = clock.now();
        let (steps, outcome) = goes_on(&mut time);
        assert!(clock.nanos_since(begin) >= SNAPSHOT_NANOS_PER_TURN && outcome == SnapshotWalk::More, "{steps}");
        assert!(time.is_up());
        assert_eq!(goes_on(&mut time), (1, SnapshotWalk::More), "the next walk finds nothing left");
        time.begin_turn();
        assert!(!time.is_up());
        let mut left = 3;
        let outcome = time.spend(|| {
            left -= 1;
            if left > 0 { ControlFlow::Continue(SnapshotWalk::More) } else { ControlFlow::Break(SnapshotWalk::Done) }
        });
        assert!(outcome == SnapshotWalk::Done || time.is_up(), "{left} steps are left");
    }
}
