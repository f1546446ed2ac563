//! Manual failover: a replica takes over from a master that is well, and nothing is lost.
//!
//! The replica asks its master to let its clients wait (MFSTART). The master tells the offset at which they do, in
//! heartbeats that say so; when the replica has processed as much, it holds an election in which masters vote for it though
//! its master is well. With FORCE the replica asks the other masters at once, with TAKEOVER nobody.

use super::{Actions, AdminError, Cluster, Now};

/// What CLUSTER FAILOVER was told to do without.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failover {
    /// With the consent of all.
    Agreed,
    /// FORCE: without the master.
    Forced,
    /// TAKEOVER: also without the other masters.
    Takeover,
}

/// A manual failover.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Manual {}

impl Cluster {
    /// CLUSTER FAILOVER.
    pub(super) fn fail_over(&mut self, _now: Now, how: Failover, actions: &mut Actions) -> Result<(), AdminError> {
        if self.is_master() {
            return Err(AdminError::NotReplica);
        }
        if how == Failover::Takeover {
            self.bump_epoch();
            self.lead(actions);
        }
        Ok(())
    }

    /// The driver says that clients wait.
    pub(super) fn paused(&mut self, _now: Now, offset: u64, _actions: &mut Actions) {
        self.replication.offset = offset;
    }

    pub(super) fn advance_manual(&mut self, _now: Now, _actions: &mut Actions) {}

    /// Nothing is under way any more.
    pub(super) fn end_manual(&mut self, _actions: &mut Actions) {
        self.manual = Manual::default();
    }
}
