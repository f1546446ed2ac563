//! FAILOVER: carries out what `slotmesh_replication::Failover` decides.

use super::Replication;
use super::link::Link;
use super::mail::{ReplicationMail, STREAM_CORE};
use super::orders::RoleOrder;
use super::stream::StreamWork;
use crate::engine::{Engine, Hands};
use crate::pauses::Reason;
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_replication::{Failover, FailoverOrder, FailoverStep, FollowerPhase};
use slotmesh_shard::PauseScope;

/// How long writes may wait, in ms: it ends long before.
const PAUSE_MS: i64 = 365 * 24 * 60 * 60 * 1000;
/// How often all shards are taken in hand until nothing is written any more: what was admitted before the pause may still
/// have waited for its shard the first time.
const ROUNDS: u8 = 2;

/// A failover, and how far its pause is.
pub(super) struct Handover {
    failover: Failover,
    rounds_left: u8,
    is_settling: bool,
    /// It is over: clients go on.
    is_over: bool,
}

impl Engine {
    /// A client wants a replica to lead, or not any more.
    pub(super) fn order_failover(&mut self, hands: &mut Hands<'_>, order: Option<FailoverOrder>) {
        if self.stream_is_elsewhere() {
            return self.mail(hands, STREAM_CORE, ReplicationMail::FailOver(order));
        }
        let now = self.monotonic;
        let Some(replication) = &mut self.replication else { return };
        match (order, &mut replication.handover) {
            (Some(order), None) => {
                let target = order.target.as_ref().map(|(host, port)| format!(" to {host}:{port}"));
                self.process.log.notice(format_args!("FAILOVER requested{}.", target.unwrap_or_default()));
                let failover = Failover::begin(order, now);
                replication.handover =
                    Some(Handover { failover, rounds_left: ROUNDS, is_settling: false, is_over: false });
                let end = UnixMillis(self.now.0.saturating_add(PAUSE_MS));
                self.process.pauses.begin(Reason::Failover, end, PauseScope::Writes);
                self.refresh_pause();
            }
            (None, Some(_)) => replication.give_failover_up("by request"),
            // Two clients at once.
            (Some(_), Some(_)) | (None, None) => {}
        }
        if let Some(replication) = self.replication.take() {
            replication.publish(self);
            self.replication = Some(replication);
        }
    }
}

impl Replication {
    /// The word of INFO.
    pub(super) fn failover_name(&self) -> Option<&'static str> {
        self.handover.as_ref().map(|handover| handover.failover.name())
    }

    /// When a failover wants a turn.
    pub(super) fn failover_deadline(&self) -> Option<Monotonic> {
        self.handover.as_ref().and_then(|handover| handover.failover.deadline())
    }

    /// Whether we follow a replica that has not said that it leads.
    pub(super) fn is_failing_over(&self) -> bool {
        self.handover.as_ref().is_some_and(|handover| handover.failover.is_asking())
    }

    /// What a failover wants done with all shards in hand.
    pub(super) fn failover_work(&mut self, now: Monotonic) -> Option<StreamWork> {
        let handover = self.handover.as_mut().filter(|handover| !handover.is_over)?;
        if handover.rounds_left > 0 {
            return (!std::mem::replace(&mut handover.is_settling, true)).then_some(StreamWork::Settle);
        }
        match handover.failover.step(now, self.source.history().offset(), self.source.replicas()) {
            FailoverStep::Wait => None,
            FailoverStep::Follow(host, port) => {
                self.log.notice(format_args!("Failover target is synced, failing over to {host}:{port}."));
                Some(StreamWork::Role(RoleOrder::of_failover(Some((host, port)))))
            }
            FailoverStep::GiveUp => {
                self.give_failover_up("no replica has caught up in time");
                None
            }
        }
    }

    /// All that was written before the pause is in the stream, or more of it than a round ago.
    pub(super) fn settle_failover(&mut self) {
        let Some(handover) = &mut self.handover else { return };
        (handover.is_settling, handover.rounds_left) = (false, handover.rounds_left.saturating_sub(1));
        if handover.rounds_left == 0 {
            handover.failover.settled();
            self.source.ask_for_acks();
        }
    }

    /// All stays as it was, or becomes so again.
    pub(super) fn give_failover_up(&mut self, why: &str) {
        let Some(handover) = self.handover.as_mut().filter(|handover| !handover.is_over) else { return };
        self.log.warning(format_args!("FAILOVER is given up: {why}"));
        match handover.failover.fail() {
            true => self.leads_again = true,
            false => handover.is_over = true,
        }
    }

    /// Looks what has become of the link to the replica that is to lead.
    pub(super) fn watch_failover(&mut self, link: &Link, has_closed: bool) {
        let Some(handover) = self.handover.as_mut().filter(|handover| handover.failover.is_asking()) else { return };
        if has_closed {
            self.give_failover_up("the replica does not take over");
        } else if link.follower.phase() == FollowerPhase::Follows || link.has_image() {
            self.log.notice(format_args!("The replica leads: the failover is done"));
            handover.is_over = true;
        }
    }

    /// We lead again, if we were to.
    pub(super) fn end_returned_failover(&mut self, engine: &mut Engine) {
        if self.link.is_none()
            && let Some(handover) = &mut self.handover
            && handover.failover.is_returning()
        {
            handover.is_over = true;
            self.end_failover(engine);
        }
    }

    /// Lets clients go on once it is over.
    pub(super) fn end_failover(&mut self, engine: &mut Engine) {
        if self.handover.take_if(|handover| handover.is_over).is_some() {
            engine.process.pauses.end(Reason::Failover);
            engine.refresh_pause();
        }
    }
}
