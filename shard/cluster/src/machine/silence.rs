//! The silence of a node that has lost its data.
//!
//! A master that had replicas and comes back without data must not be taken for the master that it was: its replicas would
//! follow it and lose theirs. So it keeps the port of its bus closed until it has been held for dead, then listens and
//! reads, and says nothing, until it hears that somebody has taken its slots; then it is that one's replica. If it hears from
//! all its replicas that they hold nothing either, nothing is left to be kept, and it goes on as the master. Its clients are
//! told meanwhile that data are being loaded. (A stock node answers at once, and is followed.)
//!
//! The machine hears and decides as ever; what it wants said goes through [`Silence::keep`] first.

use super::{Actions, Cluster, LinkId, LinkOrder, RoleChange};
use alloc::vec::Vec;
use slotmesh_base::Monotonic;

/// How long the port stays closed, in times of `cluster-crash-detect-ms`.
const CLOSED_FACTOR: u64 = 3;

/// A silence that is being kept.
#[derive(Debug)]
pub struct Silence {
    /// When the port is opened; `None` if it is open.
    opens_at: Option<Monotonic>,
    /// Links that the machine believes to be dialled.
    kept: Vec<LinkId>,
    /// Links of others on which something was to be said: they may wait for an answer, and would for long.
    owed: Vec<LinkId>,
}

/// Why a silence is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Relief {
    /// Another node has our slots, and is followed.
    Replaced,
    /// All replicas have lost the data, too.
    NothingLeft,
}

impl Silence {
    /// Begins to be silent. `patience_ms` is how long a node of our kind waits before it holds us for dead.
    pub fn begin(now: Monotonic, patience_ms: i64) -> Self {
        let closed_ms = u64::try_from(patience_ms).unwrap_or(0).saturating_mul(CLOSED_FACTOR);
        Self { opens_at: Some(now.plus_millis(closed_ms)), kept: Vec::new(), owed: Vec::new() }
    }

    /// Whether it is time to open the port; says so once.
    pub fn opens(&mut self, now: Monotonic) -> bool {
        self.opens_at.take_if(|at| now >= *at).is_some()
    }

    /// Keeps for itself what is to be said and whom to dial, unless there is no reason any more: then all of it may go,
    /// and what is left over is to be [ended](Self::end).
    pub fn keep(&mut self, cluster: &Cluster, actions: &mut Actions) -> Option<Relief> {
        if matches!(actions.role, Some(RoleChange::Replica { .. })) {
            return Some(Relief::Replaced);
        }
        if cluster.is_data_lost() {
            return Some(Relief::NothingLeft);
        }
        self.swallow(actions);
        None
    }

    fn swallow(&mut self, actions: &mut Actions) {
        let Self { kept, owed, .. } = self;
        for (link, _) in actions.sends.drain(..) {
            if !link.is_ours() && !owed.contains(&link) {
                owed.push(link);
            }
        }
        actions.links.retain(|order| match order {
            LinkOrder::Dial(link, _) => {
                kept.push(*link);
                false
            }
            LinkOrder::Close(link) => {
                owed.retain(|other| other != link);
                let was = kept.len();
                kept.retain(|other| other != link);
                kept.len() == was
            }
        });
    }

    /// Somebody has closed a link of his: nothing is owed there any more.
    pub fn forget(&mut self, link: LinkId) {
        self.owed.retain(|other| *other != link);
    }

    /// Closes the links of others on which an answer is owed: who has been left without one dials and asks anew. All links
    /// of which the machine is to be told that they are down, also those that were not dialled.
    pub fn end(self, actions: &mut Actions) -> impl Iterator<Item = LinkId> + use<> {
        actions.links.extend(self.owed.iter().map(|&link| LinkOrder::Close(link)));
        self.kept.into_iter().chain(self.owed)
    }
}

impl Cluster {
    /// Whether we are a master with slots and replicas: if we have no data, they have what we had.
    pub fn is_backed_up(&self) -> bool {
        self.is_master() && self.slots.count(self.myself) > 0 && self.replicas_of(self.myself).next().is_some()
    }

    /// Whether each of our replicas has told since we started that it holds nothing: what we have lost nobody has.
    pub fn is_data_lost(&self) -> bool {
        let mut replicas = self.replicas_of(self.myself).peekable();
        // Only a header of our own kind tells the kind, and nothing on the disk does.
        let holds_nothing = |node| {
            let row = self.table.row(node);
            row.kin > 0 && row.offset == 0
        };
        replicas.peek().is_some() && replicas.all(holds_nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::*;
    use std::vec;

    #[test]
    fn nothing_leaves_and_what_was_dialled_is_known_at_the_end() {
        let mut silence = Silence { opens_at: Some(Monotonic(900)), kept: Vec::new(), owed: Vec::new() };
        let links = [LinkId::accepted(1), LinkId::accepted(2), LinkId::accepted(3)];
        let mut actions = Actions::default();
        actions.links.extend(links[..2].iter().map(|&link| LinkOrder::Dial(link, Target::Sibling(1))));
        actions.links.push(LinkOrder::Close(links[0]));
        actions.links.push(LinkOrder::Close(links[2]));
        silence.swallow(&mut actions);
        assert_eq!(actions.links, [LinkOrder::Close(links[2])], "a link of theirs may end");
        let asking = [LinkId::accepted(4), LinkId::accepted(5)];
        for link in [asking[0], asking[1], asking[1]] {
            actions.sends.push((link, 0..0));
        }
        silence.swallow(&mut actions);
        silence.forget(asking[0]);
        assert!(actions.sends.is_empty());
        assert!(!silence.opens(Monotonic(899)) && silence.opens(Monotonic(900)) && !silence.opens(Monotonic(901)));
        actions.clear();
        let down: Vec<LinkId> = silence.end(&mut actions).collect();
        assert_eq!(down, vec![links[1], asking[1]]);
        assert_eq!(actions.links, [LinkOrder::Close(asking[1])], "who asked is to ask anew");
    }
}
