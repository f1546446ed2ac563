//! Our candidacy for our master's place (Redis: `clusterHandleSlaveFailover`).
//!
//! A replica whose master has failed waits: half a second that FAIL may spread, up to half a second by chance, and a second
//! for each replica that has more of the master's data. Then it takes a new epoch and asks all masters for their votes; a
//! majority makes it the master. Whoever has not won within twice the node timeout tries again after four times.
//!
//! Where slotmesh masters have the majority there is no need to wait for FAIL to spread: the candidate tells it on the
//! very links on which it asks. What could split the votes is put in order instead: replicas of one master tell each other
//! their offsets first, and candidates for several masters go one after the other, each in an epoch of its own.

use super::{Actions, Cluster, Level, Now};
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{self, Header, MessageFlags, MessageKind, NodeFlags};
use alloc::vec::Vec;

/// Shortest time in which votes count, in ms; else it is twice the node timeout.
const SHORTEST_ELECTION_MS: i64 = 2000;
/// How long FAIL may take to spread, in ms.
const SPREADING_MS: i64 = 500;
/// Below how many ms the delay by chance lies.
const CHANCE_MS: u64 = 500;
/// Delay for each replica that has more data, in ms.
const RANK_MS: i64 = 1000;
/// How long after the candidate for another failed master the next one goes, if that one has not won before, in ms.
const TURN_MS: i64 = 100;
/// How long the replicas of one master tell each other their offsets before one asks at once, in ms.
const COMPARING_MS: i64 = 100;
/// How often a candidate that asks at once may ask anew, since another has taken a later epoch.
const MOST_ATTEMPTS: u8 = 8;
/// How long the log is silent about a reason that has not changed, in ms.
const SILENCE_MS: i64 = 10_000;
/// How long after a node timeout a master may have failed before the log says why nobody replaces it, in ms.
const GRACE_MS: i64 = 5000;

/// A candidacy.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Election {
    /// When it begins, or has begun; 0 if there was none.
    begins_at: i64,
    rank: usize,
    /// Whether it is held without waiting, among masters of our own kind.
    is_prompt: bool,
    stage: Stage,
    /// The epoch in which votes are asked for.
    epoch: u64,
    attempts: u8,
    asked_at: i64,
    /// Whether another asks for votes in our epoch: those who vote for it cannot vote for us.
    has_rival: bool,
    /// Who has voted for us.
    votes: Vec<NodeId>,
    /// Why it goes no further, and when the log was told.
    hindrance: Option<Hindrance>,
    told_at: i64,
}

/// How far a candidacy is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Stage {
    /// It has not begun.
    #[default]
    Waiting,
    /// Its epoch is on the way to the disk: nobody is asked in an epoch that we could take twice.
    Saving,
    /// Votes are asked for.
    Asking,
}

/// Why a replica does not take over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hindrance {
    OldData,
    Delay,
    Expired,
    Votes,
}

impl Hindrance {
    fn text(self) -> &'static str {
        match self {
            Self::OldData => {
                "Disconnected from master for longer than allowed. Please check the 'cluster-replica-validity-factor' \
                 configuration option."
            }
            Self::Delay => "Waiting the delay before I can start a new failover.",
            Self::Expired => "Failover attempt expired.",
            Self::Votes => "Waiting for votes, but majority still not reached.",
        }
    }
}

impl Cluster {
    /// We stand no more.
    pub(super) fn step_down(&mut self) {
        self.election = Election::default();
    }

    /// An order to take over does not wait until an earlier candidacy may be repeated.
    pub(super) fn stand_anew(&mut self) {
        self.election.begins_at = 0;
    }

    /// Goes on with our candidacy, if there is reason for one: at each tick, and when something has happened for which it
    /// waits.
    pub(super) fn advance_election(&mut self, now: Now, actions: &mut Actions) {
        let is_manual = self.manual_can_start();
        let Some(master) = self.leader().filter(|&master| self.is_wanted(master, is_manual)) else {
            self.election.hindrance = None;
            if self.election.stage == Stage::Waiting {
                // What was planned and never begun holds up nothing later.
                self.election.begins_at = 0;
            }
            return;
        };
        if !is_manual && !self.has_fresh_data(now) {
            return self.hinder(now, Hindrance::OldData, actions);
        }
        let patience = (2 * self.settings.timeout()).max(SHORTEST_ELECTION_MS);
        let age = |cluster: &Self| now.ms() - cluster.election.begins_at;
        if self.election.begins_at == 0 || age(self) > 2 * patience {
            self.schedule(now, master, actions);
            if !self.election.is_prompt && !self.is_manual() {
                return;
            }
        }
        self.reconsider_rank(master, actions);
        if now.ms() < self.election.begins_at + self.turn(master) {
            return self.hinder(now, Hindrance::Delay, actions);
        }
        if age(self) > patience {
            return self.hinder(now, Hindrance::Expired, actions);
        }
        match self.election.stage {
            Stage::Waiting => self.begin(actions),
            Stage::Saving => {}
            Stage::Asking if self.election.votes.len() >= self.quorum() => self.win(actions),
            Stage::Asking => {
                if self.is_overtaken(now) {
                    return self.begin(actions);
                }
                self.hinder(now, Hindrance::Votes, actions);
            }
        }
    }

    /// Whether a master is to be replaced by one of its replicas, and we may be the one.
    fn is_wanted(&self, master: NodeIndex, is_manual: bool) -> bool {
        let has_failed = self.table.row(master).has(NodeFlags::FAIL);
        let may = !self.settings.replicas.never_fails_over;
        (is_manual || has_failed && may) && self.slots.count(master) > 0
    }

    /// Whether our data are not older than the validity factor allows.
    pub(super) fn has_fresh_data(&self, now: Now) -> bool {
        let factor = i64::from(self.settings.replicas.validity_factor);
        let Some(mut age) = self.data_age(now) else { return factor == 0 };
        let timeout = self.settings.timeout();
        // So long the master was silent before it was held for failed.
        if age > timeout {
            age -= timeout;
        }
        let most = timeout.saturating_mul(factor).saturating_add(self.settings.replicas.ping_period_ms);
        factor == 0 || age <= most
    }

    /// Plans an election.
    fn schedule(&mut self, now: Now, master: NodeIndex, actions: &mut Actions) {
        let is_manual = self.is_manual();
        let is_prompt = !is_manual && self.is_among_kin(Some(master));
        let rank = if is_manual { 0 } else { self.rank(master, is_prompt) };
        let delay = match (is_manual, is_prompt) {
            (true, _) => 0,
            (false, true) if self.rivals(master).next().is_some() => COMPARING_MS,
            (false, true) => 0,
            (false, false) => SPREADING_MS + self.rng.below(CHANCE_MS) as i64,
        } + rank as i64 * RANK_MS;
        let Election { hindrance, told_at, .. } = self.election;
        let begins_at = now.ms() + delay;
        self.election = Election { begins_at, rank, is_prompt, hindrance, told_at, ..Election::default() };
        let offset = self.replication.offset;
        actions.log(
            Level::Notice,
            format_args!("Start of election delayed for {delay} milliseconds (rank #{rank}, offset {offset})."),
        );
        if is_prompt {
            // Whoever votes has to know that our master has failed; on each link it comes before the question.
            let id = self.table.row(master).id;
            let header = self.header();
            let message = actions.message(|out| wire::write_fail(out, header, &id));
            self.broadcast(&message, MessageKind::Fail, actions);
        }
        let rivals: Vec<NodeIndex> = self.replicas_of(master).filter(|&node| node != self.myself).collect();
        self.pong(now, &rivals, actions);
    }

    /// Replicas of a master.
    pub(super) fn replicas_of(&self, master: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.table.rows().filter(move |(_, row)| row.master == Some(master) && !row.is_master()).map(|(node, _)| node)
    }

    /// Other replicas of our master that may take over.
    fn rivals(&self, master: NodeIndex) -> impl Iterator<Item = NodeIndex> {
        self.replicas_of(master)
            .filter(move |&node| node != self.myself && !self.table.row(node).has(NodeFlags::NO_FAILOVER))
    }

    /// How many replicas of our master have more of its data. Where no chance decides between equals, their names do.
    fn rank(&self, master: NodeIndex, is_prompt: bool) -> usize {
        let own = (self.replication.offset, core::cmp::Reverse(self.id()));
        self.rivals(master)
            .filter(|&node| {
                let row = self.table.row(node);
                row.offset > own.0 || is_prompt && !row.is_bad() && (row.offset, core::cmp::Reverse(row.id)) > own
            })
            .count()
    }

    /// Others may have told greater offsets since.
    fn reconsider_rank(&mut self, master: NodeIndex, actions: &mut Actions) {
        let Election { stage, rank: former, is_prompt, .. } = self.election;
        if stage != Stage::Waiting || self.is_manual() {
            return;
        }
        let rank = self.rank(master, is_prompt);
        if rank > former || is_prompt && rank < former {
            let added = (rank as i64 - former as i64) * RANK_MS;
            self.election.begins_at += added;
            self.election.rank = rank;
            actions.log(
                Level::Notice,
                format_args!("Replica rank updated to #{rank}, added {added} milliseconds of delay."),
            );
        }
    }

    /// How long we leave to those who stand for other failed masters, by the order of their names.
    fn turn(&self, master: NodeIndex) -> i64 {
        if !self.election.is_prompt || self.election.stage != Stage::Waiting {
            return 0;
        }
        self.place(master) * TURN_MS
    }

    /// How many masters by whose candidates we are preceded. A suspicion counts: of a host that died the failures are told
    /// one by one.
    fn place(&self, master: NodeIndex) -> i64 {
        let id = self.table.row(master).id;
        let is_before = |&(node, row): &(NodeIndex, &super::table::Row)| {
            let is_ill = row.has(NodeFlags::FAIL) || row.has(NodeFlags::PFAIL);
            is_ill && row.is_master() && row.id < id && self.slots.count(node) > 0
        };
        let can_stand = |node: NodeIndex| {
            let row = self.table.row(node);
            !row.is_bad() && !row.has(NodeFlags::NO_FAILOVER)
        };
        let before = self.table.rows().filter(is_before);
        before.filter(|&(node, _)| self.replicas_of(node).any(can_stand)).count() as i64
    }

    /// Whether masters of our own kind, who answer, are the majority: what is said between them is enough.
    /// `but` does not count among those who answer.
    pub(super) fn is_among_kin(&self, but: Option<NodeIndex>) -> bool {
        let is_kin = |&node: &NodeIndex| {
            let row = self.table.row(node);
            Some(node) != but && (node == self.myself || row.kin > 0 && !row.is_bad())
        };
        self.settings.replicas.crash_detect_ms > 0 && self.voters().filter(is_kin).count() >= self.quorum()
    }

    /// Takes a new epoch; as soon as it is on disk votes are asked for.
    fn begin(&mut self, actions: &mut Actions) {
        self.current_epoch = self.current_epoch.saturating_add(1);
        self.election.epoch = self.current_epoch;
        self.election.stage = Stage::Saving;
        self.election.votes.clear();
        self.election.has_rival = false;
        self.election.attempts += 1;
        let epoch = self.current_epoch;
        actions.log(Level::Notice, format_args!("Starting a failover election for epoch {epoch}."));
        self.due.save = true;
        self.due.state = true;
    }

    /// This epoch is on disk: it is time to ask.
    pub(super) fn ask_for_votes(&mut self, now: Now, saved_epoch: u64, actions: &mut Actions) {
        let epoch = self.election.epoch;
        if self.election.stage != Stage::Saving || saved_epoch < epoch || self.leader().is_none() {
            return;
        }
        if self.current_epoch > epoch {
            // Another has taken a later epoch meanwhile: nobody would vote in ours.
            return self.begin(actions);
        }
        (self.election.stage, self.election.asked_at) = (Stage::Asking, now.ms());
        let is_manual = self.is_manual();
        let header = self.header();
        let forced = if is_manual { MessageFlags::FORCE_ACK } else { MessageFlags::empty() };
        let header = Header { message_flags: header.message_flags | forced, current_epoch: epoch, ..header.clone() };
        let message = actions.message(|out| wire::write_auth_request(out, &header));
        self.broadcast(&message, MessageKind::AuthRequest, actions);
    }

    /// Somebody has voted for us. In what epoch says the header; a vote of another one is of another election.
    pub(super) fn count_vote(&mut self, now: Now, sender: Option<NodeIndex>, header: &Header, actions: &mut Actions) {
        let Some(voter) = sender else { return };
        let is_voter = self.table.row(voter).is_master() && self.slots.count(voter) > 0;
        let is_ours = self.election.stage == Stage::Asking && header.current_epoch == self.election.epoch;
        if !is_voter || !is_ours || self.election.votes.contains(&header.sender) {
            return;
        }
        self.election.votes.push(header.sender);
        self.advance_election(now, actions);
    }

    /// Another asks for votes.
    pub(super) fn note_rival(&mut self, header: &Header) {
        let is_in_ours = header.current_epoch == self.election.epoch && header.sender != self.id();
        self.election.has_rival |= is_in_ours && self.election.stage != Stage::Waiting;
    }

    /// Whether masters cannot vote for us any more since another has taken a later epoch, or ours, and asking anew will
    /// do. Of two in one epoch the first in turn asks first.
    fn is_overtaken(&self, now: Now) -> bool {
        let Election { is_prompt, epoch, attempts, asked_at, has_rival, .. } = self.election;
        let place = self.leader().map_or(0, |master| self.place(master));
        let patience = TURN_MS * if has_rival { 1 + place } else { 1 };
        let may = is_prompt && attempts < MOST_ATTEMPTS && now.ms() - asked_at >= patience;
        may && (has_rival || self.current_epoch > epoch)
    }

    fn win(&mut self, actions: &mut Actions) {
        actions.log(Level::Notice, format_args!("Failover election won: I'm the new master."));
        let epoch = self.election.epoch;
        let row = self.table.row_mut(self.myself);
        if row.config_epoch < epoch {
            row.config_epoch = epoch;
            actions.log(Level::Notice, format_args!("configEpoch set to {epoch} after successful failover"));
        }
        self.lead(actions);
    }

    /// Tells the log now and then why we do not take over, if our master has failed long ago.
    fn hinder(&mut self, now: Now, why: Hindrance, actions: &mut Actions) {
        let is_same = self.election.hindrance == Some(why);
        if is_same && self.election.told_at != 0 && now.ms() - self.election.told_at < SILENCE_MS {
            return;
        }
        self.election.hindrance = Some(why);
        if let Some(master) = self.leader() {
            let row = self.table.row(master);
            if row.has(NodeFlags::FAIL) && now.ms() - row.failed_at < self.settings.timeout() + GRACE_MS {
                return;
            }
        }
        self.election.told_at = now.ms();
        actions.log(Level::Notice, format_args!("Currently unable to failover: {}", why.text()));
        if matches!(why, Hindrance::Votes | Hindrance::Expired) {
            let (needed, votes) = (self.quorum(), self.election.votes.len());
            let words = "Number of votes received so far";
            actions.log(Level::Notice, format_args!("Needed quorum: {needed}. {words}: {votes}"));
        }
    }
}
