//! The silence of a node that has lost its data.
//!
//! A master that had replicas and comes back without data must not be taken for the master that it was: its replicas would
//! follow it and lose theirs. So it keeps the port of its bus closed until it has been held for dead, then listens and
//! reads, and says nothing, until it hears that somebody has taken its slots; then it is that one's replica. If it hears from
//! all its replicas that they hold nothing either, nothing is left to be kept, and it goes on as the master. Its clients are
//! told meanwhile that data are being loaded. (A stock node answers at once, and is followed.)

use crate::log::Log;
use slotmesh_base::Monotonic;
use slotmesh_cluster::machine::{Actions, LinkId, LinkOrder};

/// How long the port stays closed, in times of `cluster-crash-detect-ms`.
const CLOSED_FACTOR: u64 = 3;

/// A silence that is being kept.
#[derive(Debug)]
pub(super) struct Silence {
    /// When the port is opened; `None` if it is open.
    opens_at: Option<Monotonic>,
    /// Links that the machine believes to be dialled.
    kept: Vec<LinkId>,
    /// Links of others on which something was to be said: they may wait for an answer, and would for long.
    owed: Vec<LinkId>,
}

impl Silence {
    /// Begins to be silent. `patience_ms` is how long a node of our kind waits before it holds us for dead.
    pub(super) fn begin(now: Monotonic, patience_ms: i64, log: &Log) -> Self {
        log.warning(format_args!(
            "This node owned slots and had replicas, and comes back without data: it serves nobody until a replica has taken over. With 'cluster-start-empty yes' it would serve its slots without data, and its replicas would lose theirs"
        ));
        let closed_ms = u64::try_from(patience_ms).unwrap_or(0).saturating_mul(CLOSED_FACTOR);
        Self { opens_at: Some(now.plus_millis(closed_ms)), kept: Vec::new(), owed: Vec::new() }
    }

    /// Whether it is time to open the port; says so once.
    pub(super) fn opens(&mut self, now: Monotonic) -> bool {
        self.opens_at.take_if(|at| now >= *at).is_some()
    }

    /// Keeps for itself what is to be said and whom to dial.
    pub(super) fn swallow(&mut self, actions: &mut Actions) {
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
    pub(super) fn forget(&mut self, link: LinkId) {
        self.owed.retain(|other| *other != link);
    }

    /// Ends; the links that were not dialled, and those of others to close: who has been left without an answer dials and
    /// asks anew.
    pub(super) fn end(self) -> (Vec<LinkId>, Vec<LinkId>) {
        (self.kept, self.owed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_cluster::machine::Target;

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
        assert_eq!(silence.end(), (vec![links[1]], vec![asking[1]]), "who asked is to ask anew");
    }
}
