//! Who is suspected, who has failed, and our vote for those who want to follow.

use super::{Actions, Cluster, Level, Now};
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{self, Header, MessageFlags, MessageKind, NodeFlags};
use alloc::vec::Vec;
use core::fmt;
use slotmesh_base::Slot;

/// How many masters are told of a suspicion at once: all of a small cluster, and in a large one no more than cost little
/// when every master tells them.
const MOST_TOLD_AT_ONCE: usize = 8;

/// Why a candidate does not get our vote, in the words of Redis.
enum Denial {
    /// Its epoch, and ours.
    OldEpoch(u64, u64),
    Voted(u64),
    Master,
    UnknownMaster,
    MasterIsUp,
    /// For so many ms.
    VotedForRival(i64),
    /// A slot, the epoch of its owner, and the candidate's.
    OldClaim(Slot, u64, u64),
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OldEpoch(theirs, ours) => write!(f, "reqEpoch ({theirs}) < curEpoch({ours})"),
            Self::Voted(epoch) => write!(f, "already voted for epoch {epoch}"),
            Self::Master => f.write_str("it is a master node"),
            Self::UnknownMaster => f.write_str("I don't know its master"),
            Self::MasterIsUp => f.write_str("its master is up"),
            Self::VotedForRival(rest) => write!(f, "can't vote about this master before {rest} milliseconds"),
            Self::OldClaim(slot, owners, theirs) => write!(f, "slot {slot} epoch ({owners}) > reqEpoch ({theirs})"),
        }
    }
}

impl Cluster {
    /// How many masters must agree.
    pub(super) fn quorum(&self) -> usize {
        self.size() / 2 + 1
    }

    /// Number of masters that own slots.
    pub(super) fn size(&self) -> usize {
        self.voters().count()
    }

    /// Masters that own slots.
    pub(super) fn voters(&self) -> impl Iterator<Item = NodeIndex> {
        self.table.rows().filter(|&(node, row)| row.is_master() && self.slots.count(node) > 0).map(|(node, _)| node)
    }

    /// Whether we are the only voter, whose suspicion is enough.
    pub(super) fn is_lone_voter(&self) -> bool {
        let mut voters = self.voters();
        self.is_master() && voters.next().is_some() && voters.next().is_none()
    }

    /// A node does not answer: we suspect it.
    pub(super) fn suspect(&mut self, node: NodeIndex, actions: &mut Actions) {
        let row = self.table.row_mut(node);
        row.flags.insert(NodeFlags::PFAIL);
        let id = row.id;
        self.table.note_suspect(node);
        actions.log(Level::Debug, format_args!("*** NODE {id} possibly failing"));
        self.mark_all();
    }

    /// We have come to suspect these nodes: perhaps ours is the voice that was missing. If not, masters of our own kind
    /// are told at once and asked whom they suspect, so that the majority is found with the last of its suspicions and
    /// not when heartbeats happen to bring them together (Redis waits for those). All tell the same few.
    pub(super) fn share_suspicion(&mut self, now: Now, suspects: &[NodeIndex], actions: &mut Actions) {
        for &node in suspects {
            self.condemn_if_agreed(now, node, actions);
        }
        let is_open = suspects.iter().any(|&node| self.table.row(node).has(NodeFlags::PFAIL));
        if !is_open || !self.is_master() || self.slots.count(self.myself) == 0 {
            return;
        }
        let can_hear = |&node: &NodeIndex| {
            let row = self.table.row(node);
            node != self.myself && row.is_linked && row.kin > 0 && !row.is_bad()
        };
        let mut told: Vec<NodeIndex> = self.voters().filter(can_hear).collect();
        told.sort_unstable_by_key(|&node| self.table.row(node).id);
        told.truncate(MOST_TOLD_AT_ONCE);
        for node in told {
            self.ask_again(now, node, actions);
        }
    }

    /// How many masters suspect a node by reports that still count.
    pub(super) fn count_reports(&mut self, now: Now, node: NodeIndex) -> usize {
        self.table.count_reports(node, now.ms() - 2 * self.settings.timeout())
    }

    /// A suspected node has failed if the majority suspects it.
    pub(super) fn condemn_if_agreed(&mut self, now: Now, node: NodeIndex, actions: &mut Actions) {
        let row = self.table.row(node);
        if !row.has(NodeFlags::PFAIL) || row.has(NodeFlags::FAIL) {
            return;
        }
        let voices = self.count_reports(now, node) + usize::from(self.is_master());
        if voices < self.quorum() {
            return;
        }
        let id = self.table.row(node).id;
        actions.log(Level::Notice, format_args!("Marking node {id} as failing (quorum reached)."));
        self.condemn(now, node);
        let header = self.header();
        let message = actions.message(|out| wire::write_fail(out, header, &id));
        self.broadcast(&message, MessageKind::Fail, actions);
    }

    fn condemn(&mut self, now: Now, node: NodeIndex) {
        let row = self.table.row_mut(node);
        row.flags.remove(NodeFlags::PFAIL);
        row.flags.insert(NodeFlags::FAIL);
        row.failed_at = now.ms();
        self.mark_all();
    }

    /// Somebody says that a node has failed: a node that we know is believed.
    pub(super) fn learn_failure(&mut self, now: Now, sender: Option<NodeIndex>, id: &NodeId, actions: &mut Actions) {
        let Some(sender) = sender else {
            actions.log(Level::Notice, format_args!("Ignoring FAIL message from unknown node about {id}"));
            return;
        };
        let Some(node) = self.known(id).filter(|&node| node != self.myself) else { return };
        if self.table.row(node).has(NodeFlags::FAIL) {
            return;
        }
        let sender = self.table.row(sender).id;
        actions.log(Level::Notice, format_args!("FAIL message received from {sender} about {id}"));
        self.condemn(now, node);
    }

    /// A failed node answers again. A master whose slots nobody has taken comes back only after a while, lest those be
    /// disturbed who are about to take them.
    pub(super) fn absolve(&mut self, now: Now, node: NodeIndex, actions: &mut Actions) {
        let owns_slots = self.slots.count(node) > 0;
        let waits = 2 * self.settings.timeout();
        let row = self.table.row_mut(node);
        let why = if !row.is_master() {
            "replica is reachable again."
        } else if !owns_slots {
            "master without slots is reachable again."
        } else if now.ms() - row.failed_at > waits {
            "is reachable again and nobody is serving its slots after some time."
        } else {
            return;
        };
        row.flags.remove(NodeFlags::FAIL);
        let id = row.id;
        actions.log(Level::Notice, format_args!("Clear FAIL state for node {id}: {why}"));
        self.mark_all();
    }

    /// A replica asks for our vote.
    pub(super) fn consider_vote(
        &mut self,
        now: Now,
        sender: Option<NodeIndex>,
        header: &Header,
        actions: &mut Actions,
    ) {
        let Some(candidate) = sender else { return };
        self.note_rival(header);
        if header.master.is_some() {
            // Whom it follows it says itself, and may not have told us yet: pings are few between our kind.
            self.learn_role(candidate, header, actions);
        }
        if !self.is_master() || self.slots.count(self.myself) == 0 {
            return;
        }
        match self.master_to_replace(now, candidate, header) {
            Ok(master) => {
                self.table.row_mut(master).voted_at = now.ms();
                self.voted_for.insert(master, candidate);
                self.last_vote_epoch = self.current_epoch;
                self.promise_vote(self.current_epoch, header.sender);
            }
            Err(denial) => {
                actions.log(Level::Notice, format_args!("Failover auth denied to {}: {denial}", header.sender));
            }
        }
    }

    /// The master whose place a candidate may have our vote for.
    fn master_to_replace(&self, now: Now, candidate: NodeIndex, header: &Header) -> Result<NodeIndex, Denial> {
        if header.current_epoch < self.current_epoch {
            return Err(Denial::OldEpoch(header.current_epoch, self.current_epoch));
        }
        if self.last_vote_epoch == self.current_epoch {
            return Err(Denial::Voted(self.current_epoch));
        }
        let row = self.table.row(candidate);
        if row.is_master() {
            return Err(Denial::Master);
        }
        let master = row.master.ok_or(Denial::UnknownMaster)?;
        let is_forced = header.message_flags.contains(MessageFlags::FORCE_ACK);
        let masters = self.table.row(master);
        if !masters.has(NodeFlags::FAIL) && !is_forced {
            return Err(Denial::MasterIsUp);
        }
        // Whoever had our vote in an epoch that another has overtaken may have it again.
        let is_another = self.voted_for.get(&master) != Some(&candidate);
        let rest = 2 * self.settings.timeout() - (now.ms() - masters.voted_at);
        if masters.voted_at != 0 && is_another && rest > 0 {
            return Err(Denial::VotedForRival(rest));
        }
        for slot in header.slots.iter().filter(|&slot| !self.slots.is_unclaimed(slot)) {
            let Some(owner) = self.slots.owner(slot) else { continue };
            let epoch = self.table.row(owner).config_epoch;
            if epoch > header.config_epoch {
                return Err(Denial::OldClaim(slot, epoch, header.config_epoch));
            }
        }
        Ok(master)
    }

    /// The vote is on disk: it may leave, on the link that we dialled to the candidate. Its epoch stands in the header,
    /// also if ours has grown while the disk was at work: the candidate would count it for a later election otherwise, in
    /// which we may vote for another.
    pub(super) fn send_vote(&mut self, epoch: u64, candidate: NodeId, actions: &mut Actions) {
        let Some(node) = self.known(&candidate) else { return };
        let row = self.table.row(node);
        let (Some(link), true) = (row.link, row.is_linked) else { return };
        actions.log(Level::Notice, format_args!("Failover auth granted to {candidate} for epoch {epoch}"));
        let header = Header { current_epoch: epoch, ..self.header().clone() };
        let message = actions.message(|out| wire::write_auth_ack(out, &header));
        self.send(link, message, MessageKind::AuthAck, actions);
    }
}
