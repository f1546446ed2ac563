//! The silence of a node that has lost its data.
//!
//! A master that had replicas and comes back without data must not be taken for the master that it was: its replicas would
//! follow it and lose theirs. So it keeps the port of its bus closed until it has been held for dead, then listens and
//! reads, and says nothing, until it hears that somebody has taken its slots; then it is that one's replica. If it hears from
//! all its replicas that they hold nothing either, nothing is left to be kept, and it goes on as the master. Its clients are
//! told meanwhile that data are being loaded. (A stock node answers at once, and is followed.)
//!
//! A replica that has data may not take over by itself: it has been started anew, too, or was cut off for long, and cannot
//! know whether the master comes back with newer ones. The master knows that it has none. So when nobody has taken over in
//! good time, it asks the replica that has most, and that one asks for votes as CLUSTER FAILOVER FORCE would have it.
//!
//! It votes, all the same: a vote promises an epoch, which nodes.conf remembers, and says nothing of data. So a majority
//! that has lost its data can still elect the replicas that have them. A vote goes to a candidate alone, and not before
//! others have found time to hold the voter for failed.
//!
//! Nobody finds a node that is silent and lives elsewhere now. So as soon as it must have been held for dead it says PING
//! now and then, and no more: that tells its address, and leaves it failed, since only a PONG says that a node is well.
//!
//! The machine hears and decides as ever; what it wants said goes through [`Silence::keep`] first.

use super::table::Row;
use super::{Actions, Cluster, Level, LinkEnd, LinkId, LinkOrder, Now, RoleChange, Settings};
use crate::topology::NodeIndex;
use crate::wire::{self, Extension, Header, Heartbeat, MessageFlags, MessageKind, NodeFlags};
use alloc::vec::Vec;
use slotmesh_base::Monotonic;

/// How long the port stays closed, in times of `cluster-crash-detect-ms`.
const CLOSED_FACTOR: u64 = 3;
/// How long we say nothing at all, and then between two greetings, in node timeouts: in between others find time to hold us
/// for failed, of whom they have heard nothing for one.
const GREETING_FACTOR: i64 = 2;
/// How long we wait for a replica that takes over by itself, and then between two questions, in node timeouts: by then we
/// are known to have failed, and an election is over.
const PATIENCE_FACTOR: i64 = 5;
/// How long after the master before it by name each one asks, in ms: candidates of one moment would split the votes.
const TURN_MS: u64 = 100;

/// A silence that is being kept.
#[derive(Debug)]
pub struct Silence {
    /// When the port is opened.
    opens_at: Monotonic,
    /// When others are told where we live, for the next time.
    greets_at: Monotonic,
    has_greeted: bool,
    /// When a replica is asked to take over.
    asks_at: Monotonic,
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
    /// Begins to be silent.
    pub fn begin(now: Now, cluster: &Cluster) -> Self {
        let Settings { replicas, .. } = cluster.settings();
        let closed_ms = u64::try_from(replicas.crash_detect_ms).unwrap_or(0).saturating_mul(CLOSED_FACTOR);
        let opens_at = now.monotonic.plus_millis(closed_ms);
        Self {
            opens_at,
            greets_at: opens_at.plus_millis(timeouts_ms(cluster, GREETING_FACTOR)),
            has_greeted: false,
            asks_at: opens_at.plus_millis(timeouts_ms(cluster, PATIENCE_FACTOR) + turn_ms(cluster)),
            kept: Vec::new(),
            owed: Vec::new(),
        }
    }

    /// Whether it is time to open the port.
    pub fn listens(&self, now: Monotonic) -> bool {
        now >= self.opens_at
    }

    /// Keeps for itself what is to be said and whom to dial, unless there is no reason any more: then all of it may go,
    /// and what is left over is to be [ended](Self::end).
    pub fn keep(&mut self, now: Now, cluster: &mut Cluster, actions: &mut Actions) -> Option<Relief> {
        if matches!(actions.role, Some(RoleChange::Replica { .. })) {
            return Some(Relief::Replaced);
        }
        if cluster.is_data_lost() {
            return Some(Relief::NothingLeft);
        }
        self.swallow(actions);
        if now.monotonic >= self.greets_at {
            self.greets_at = now.monotonic.plus_millis(timeouts_ms(cluster, GREETING_FACTOR));
            self.has_greeted = true;
            self.kept.drain(..).for_each(|link| cluster.link_down(now, link, LinkEnd::Other));
            cluster.greet_all(actions);
        }
        // Who cannot be reached just now is asked as soon as it can.
        if now.monotonic >= self.asks_at && cluster.ask_best_replica(actions) {
            self.asks_at = now.monotonic.plus_millis(timeouts_ms(cluster, PATIENCE_FACTOR));
        }
        None
    }

    fn swallow(&mut self, actions: &mut Actions) {
        let Self { kept, owed, has_greeted, .. } = self;
        let bytes = &actions.bytes;
        actions.sends.retain(|(link, range)| {
            if *has_greeted && wire::kind(&bytes[range.clone()]) == Some(MessageKind::AuthAck) {
                return true;
            }
            if !link.is_ours() && !owed.contains(link) {
                owed.push(*link);
            }
            false
        });
        actions.links.retain(|order| match order {
            LinkOrder::Dial(..) if *has_greeted => true,
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

fn timeouts_ms(cluster: &Cluster, factor: i64) -> u64 {
    u64::try_from(cluster.settings().timeout().saturating_mul(factor)).unwrap_or(0)
}

/// How long we leave to those who come before us by name, should they have lost their data as well.
fn turn_ms(cluster: &Cluster) -> u64 {
    let before = cluster.voters().filter(|&node| cluster.table.row(node).id < cluster.id()).count() as u64;
    (before * TURN_MS).min(timeouts_ms(cluster, 1))
}

impl Cluster {
    /// Whether we are a master with slots, and others have what we had if we have nothing: our replicas, and the master
    /// whose place we have taken, if it is not known to have failed.
    pub fn is_backed_up(&self) -> bool {
        let counts = |(_, row): (NodeIndex, &Row)| row.master == Some(self.myself) || !row.has(NodeFlags::FAIL);
        self.is_master() && self.slots.count(self.myself) > 0 && self.mates().any(counts)
    }

    /// Whether each of our replicas has told since we started that it holds nothing: what we have lost nobody has. Nobody
    /// has it either if all others of our group have been forgotten.
    pub fn is_data_lost(&self) -> bool {
        let mut replicas = self.replicas_of(self.myself).peekable();
        // Only a header of our own kind tells the kind, and nothing on the disk does.
        let holds_nothing = |node| {
            let row = self.table.row(node);
            row.kin > 0 && row.offset == 0
        };
        match replicas.peek() {
            Some(_) => replicas.all(holds_nothing),
            None => self.mates().next().is_none(),
        }
    }

    /// Others of our group: our replicas, and masters that will follow us when they come back.
    fn mates(&self) -> impl Iterator<Item = (NodeIndex, &Row)> {
        let shard_id = self.shard_id();
        let is_mate =
            move |node, row: &Row| node != self.myself && (row.master == Some(self.myself) || row.shard_id == shard_id);
        self.table.rows().filter(move |&(node, row)| is_mate(node, row))
    }

    /// Tells all where we live. What we think of them is not said: we have not asked anybody.
    fn greet_all(&mut self, actions: &mut Actions) {
        let myself = self.table.row(self.myself);
        let (hostname, nodename, shard_id) = (myself.hostname.clone(), myself.nodename.clone(), myself.shard_id);
        for (_, link) in self.linked() {
            let header = self.header();
            let names = hostname.as_deref().map(Extension::Hostname).into_iter();
            let extensions =
                names.chain(nodename.as_deref().map(Extension::Nodename)).chain([Extension::ShardId(shard_id)]);
            let message = actions
                .message(|out| wire::write_heartbeat(out, header, Heartbeat::Ping, core::iter::empty(), extensions));
            self.send(link, message, MessageKind::Ping, actions);
        }
    }

    /// We have no data: the replica that has most is to take over without us. Whether one was asked.
    fn ask_best_replica(&mut self, actions: &mut Actions) -> bool {
        let can = |&node: &NodeIndex| {
            let row = self.table.row(node);
            row.kin > 0 && row.offset > 0 && !row.has(NodeFlags::NO_FAILOVER) && row.is_linked
        };
        let heir = self.replicas_of(self.myself).filter(can).max_by_key(|&node| self.table.row(node).offset);
        let Some((heir, link)) = heir.and_then(|heir| Some((heir, self.table.row(heir).link?))) else { return false };
        let Row { id, offset, .. } = self.table.row(heir);
        let words = "We have no data, and nobody has taken over; asking the replica that has most";
        actions.log(Level::Notice, format_args!("{words}: {id}, offset {offset}"));
        let header = self.header();
        let forced = Header { message_flags: header.message_flags | MessageFlags::FORCE_ACK, ..header.clone() };
        let message = actions.message(|out| wire::write_manual_failover_start(out, &forced));
        self.send(link, message, MessageKind::ManualFailoverStart, actions);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::Target;
    use super::*;
    use std::vec;

    #[test]
    fn nothing_leaves_and_what_was_dialled_is_known_at_the_end() {
        let mut silence = Silence {
            opens_at: Monotonic(900),
            greets_at: Monotonic(0),
            has_greeted: false,
            asks_at: Monotonic(0),
            kept: Vec::new(),
            owed: Vec::new(),
        };
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
        assert!(!silence.listens(Monotonic(899)) && silence.listens(Monotonic(900)));
        actions.clear();
        let down: Vec<LinkId> = silence.end(&mut actions).collect();
        assert_eq!(down, vec![links[1], asking[1]]);
        assert_eq!(actions.links, [LinkOrder::Close(asking[1])], "who asked is to ask anew");
    }
}
