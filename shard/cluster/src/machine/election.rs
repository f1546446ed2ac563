//! Our candidacy for our master's place.

use super::Cluster;

/// A candidacy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Election {}

impl Cluster {
    /// We stand no more.
    pub(super) fn step_down(&mut self) {
        self.election = Election::default();
    }
}
