//! What our replication tells the machine.

use super::{Actions, Cluster, Now};
use slotmesh_base::Monotonic;

/// How the link to our master is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MasterLink {
    /// We hold nothing of this master's: not once in sync since we follow it, or the stream was given up since it was
    /// wrong. Such a replica does not stand for election.
    #[default]
    NeverSynced,
    /// In sync.
    Up {
        /// When anything last came on it (Redis: `lastinteraction`).
        heard_at: Monotonic,
    },
    /// It was in sync, and the link has ended.
    Down {
        /// When (Redis: `repl_down_since`).
        since: Monotonic,
    },
}

/// How our replication stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReplicationFacts {
    /// In bytes: of a master what it has written to its stream, of a replica what it has processed of its master's.
    pub offset: u64,
    /// A replica's link to its master; of no meaning for a master.
    pub link: MasterLink,
}

impl Cluster {
    pub(super) fn replicated(&mut self, now: Now, facts: ReplicationFacts, actions: &mut Actions) {
        // Clients are not told of a replica that has nothing yet.
        let is_first = (self.replication.offset == 0) != (facts.offset == 0);
        self.due.view |= is_first;
        if is_first && self.is_replica() {
            // Who does not know that a replica has data waits longer before it holds the master for dead.
            self.announce_news();
            self.due.save = true;
        }
        self.replication = facts;
        self.advance_manual(now, actions);
    }

    /// How old our data are as Redis counts it, in ms; `None` if they are nobody's.
    pub(super) fn data_age(&self, now: Now) -> Option<i64> {
        let since = match self.replication.link {
            MasterLink::NeverSynced => return None,
            MasterLink::Up { heard_at: at } | MasterLink::Down { since: at } => at,
        };
        // Its clocks are of whole seconds.
        Some((now.monotonic.nanos_since(since) / 1_000_000_000) as i64 * 1000)
    }
}
