//! Manual failover: a replica takes over from a master that is well, and nothing is lost.
//!
//! The replica asks its master to let its clients wait (MFSTART). The master tells the offset at which they do, in
//! heartbeats that say so; when the replica has processed as much, it holds an election in which masters vote for it though
//! its master is well. With FORCE the replica asks the other masters at once, with TAKEOVER nobody.

use super::{Actions, AdminError, Cluster, Level, Now, PauseOrder};
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{self, Header, Heartbeat, MessageFlags, MessageKind, NodeFlags};
use core::net::IpAddr;

/// How long it may take, in ms (Redis: `CLUSTER_MF_TIMEOUT`).
const LONGEST_MS: i64 = 5000;
/// How long clients wait at most, in ms: longer than that, lest the master take writes while the replica may still win.
const PAUSE_MS: u64 = 10_000;

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
pub(super) struct Manual {
    /// When it is given up; 0 if there is none.
    ends_at: i64,
    /// At the master: the replica that takes over, and whether clients wait already.
    taker: Option<NodeIndex>,
    is_paused: bool,
    /// At the replica: the master's last offset, and whether the election may begin.
    target: Option<u64>,
    can_start: bool,
}

impl Cluster {
    /// Whether one is under way.
    pub(super) fn is_manual(&self) -> bool {
        self.manual.ends_at != 0
    }

    /// Whether we have all that the master had.
    pub(super) fn manual_can_start(&self) -> bool {
        self.is_manual() && self.manual.can_start
    }

    /// What our heartbeats say about it.
    pub(super) fn pause_flag(&self) -> MessageFlags {
        let is_paused = self.is_manual() && self.manual.is_paused && self.is_master();
        if is_paused { MessageFlags::PAUSED } else { MessageFlags::empty() }
    }

    /// CLUSTER FAILOVER.
    pub(super) fn fail_over(&mut self, now: Now, how: Failover, actions: &mut Actions) -> Result<(), AdminError> {
        if self.is_master() {
            return Err(AdminError::NotReplica);
        }
        let master = self.leader().ok_or(AdminError::UnknownMaster)?;
        let row = self.table.row(master);
        if how == Failover::Agreed && (row.has(NodeFlags::FAIL) || row.link.is_none()) {
            return Err(AdminError::MasterDown);
        }
        self.end_manual(actions);
        self.manual.ends_at = now.ms() + LONGEST_MS;
        match how {
            Failover::Agreed => {
                actions.log(Level::Notice, format_args!("Manual failover user request accepted."));
                self.send_start(master, actions);
            }
            Failover::Forced => {
                actions.log(Level::Notice, format_args!("Forced failover user request accepted."));
                self.start_manual(now, actions);
            }
            Failover::Takeover => {
                actions.log(Level::Notice, format_args!("Taking over the master (user request)."));
                self.bump_epoch();
                self.lead(actions);
            }
        }
        Ok(())
    }

    /// Sends MFSTART: to our master, that its clients wait.
    fn send_start(&mut self, node: NodeIndex, actions: &mut Actions) {
        let row = self.table.row(node);
        let (Some(link), true) = (row.link, row.is_linked) else { return };
        let header = self.header();
        let message = actions.message(|out| wire::write_manual_failover_start(out, header));
        self.send(link, message, MessageKind::ManualFailoverStart, actions);
    }

    fn start_manual(&mut self, now: Now, actions: &mut Actions) {
        self.manual.can_start = true;
        self.stand_anew();
        self.advance_election(now, actions);
    }

    /// We are about to stop: asks the replica that has most of our data to take our place, as CLUSTER FAILOVER would tell
    /// it to. Whom; nobody if there is none of our own kind that can. A [`RoleChange`](super::RoleChange) says that it has.
    ///
    /// The question is MFSTART, from a master to its replica, which stock nodes would ignore.
    pub fn hand_over(&mut self, actions: &mut Actions) -> Option<NodeId> {
        if !self.is_master() || self.slot_count() == 0 {
            return None;
        }
        let can = |&node: &NodeIndex| {
            let row = self.table.row(node);
            // A sibling stops with us.
            let outlives_us = !self.siblings.contains(&row.id);
            let is_well = row.is_linked && row.offset > 0 && !row.is_bad() && !row.has(NodeFlags::NO_FAILOVER);
            outlives_us && row.kin > 0 && is_well
        };
        let heir = self.replicas_of(self.myself).filter(can).max_by_key(|&node| self.table.row(node).offset)?;
        self.send_start(heir, actions);
        Some(self.table.row(heir).id)
    }

    /// The same where no replica of our own kind can: where the one lives that is to be told so as an operator would, with
    /// CLUSTER FAILOVER at its port for clients. `acked` says what the replica with a port has of our data, if it follows.
    pub fn heir_to_order(&self, acked: &dyn Fn(u16) -> Option<u64>) -> Option<(IpAddr, u16)> {
        let stays = |&node: &NodeIndex| {
            let row = self.table.row(node);
            !self.siblings.contains(&row.id) && !row.is_bad() && !row.has(NodeFlags::NO_FAILOVER)
        };
        let place = |node| {
            let row = self.table.row(node);
            let ip = match row.host.as_ref()? {
                Host::V4(ip) => IpAddr::V4(*ip),
                Host::V6(ip) => IpAddr::V6(*ip),
                Host::Name(_) => return None,
            };
            Some((acked(row.port)?, (ip, row.port)))
        };
        let heirs = self.replicas_of(self.myself).filter(stays).filter_map(place);
        heirs.max_by_key(|&(acked, _)| acked).map(|(_, place)| place)
    }

    /// A replica of ours wants to take over: our clients wait. Or our master wants us to, who stops, or who has no data
    /// that we could wait for.
    pub(super) fn give_way(&mut self, now: Now, sender: Option<NodeIndex>, header: &Header, actions: &mut Actions) {
        if sender.is_some_and(|sender| self.leader() == Some(sender) && self.table.row(sender).kin > 0) {
            let is_forced = header.message_flags.contains(MessageFlags::FORCE_ACK);
            // Whatever forbids it now forbids it; the master stops without, or asks again.
            _ = self.fail_over(now, if is_forced { Failover::Forced } else { Failover::Agreed }, actions);
            return;
        }
        let Some(taker) = sender.filter(|&sender| self.table.row(sender).master == Some(self.myself)) else { return };
        self.end_manual(actions);
        self.manual = Manual { ends_at: now.ms() + LONGEST_MS, taker: Some(taker), ..Manual::default() };
        actions.pause = Some(PauseOrder::Begin { until: now.monotonic.plus_millis(PAUSE_MS) });
        let id = self.table.row(taker).id;
        actions.log(Level::Notice, format_args!("Manual failover requested by replica {id}."));
    }

    /// Clients wait, says the driver: the replica is told at which offset.
    pub(super) fn paused(&mut self, now: Now, offset: u64, actions: &mut Actions) {
        self.replication.offset = offset;
        self.manual.is_paused = self.manual.taker.is_some();
        self.tell_taker(now, actions);
    }

    /// Tells the replica that takes over at which offset we stand.
    pub(super) fn tell_taker(&mut self, now: Now, actions: &mut Actions) {
        let Some(taker) = self.manual.taker.filter(|_| self.manual.is_paused) else { return };
        let row = self.table.row(taker);
        if let (Some(link), true) = (row.link, row.is_linked) {
            if row.ping_sent == 0 {
                self.table.row_mut(taker).ping_sent = now.ms();
            }
            self.send_heartbeat(now, link, Some(taker), Heartbeat::Ping, actions);
        }
    }

    /// Our master says how far it was when its clients began to wait.
    pub(super) fn learn_target(&mut self, now: Now, sender: NodeIndex, header: &Header, actions: &mut Actions) {
        let is_paused = header.message_flags.contains(MessageFlags::PAUSED);
        if !self.is_manual() || !is_paused || self.leader() != Some(sender) || self.manual.target.is_some() {
            return;
        }
        let offset = header.offset;
        self.manual.target = Some(offset);
        actions.log(
            Level::Notice,
            format_args!("Received replication offset for paused master manual failover: {offset}"),
        );
        self.advance_manual(now, actions);
    }

    /// Begins the election when we have all that the master had (Redis: `clusterHandleManualFailover`).
    pub(super) fn advance_manual(&mut self, now: Now, actions: &mut Actions) {
        let has_all = self.manual.target == Some(self.replication.offset);
        if !self.is_manual() || self.manual.can_start || !has_all || self.is_master() {
            return;
        }
        let words = "All master replication stream processed, manual failover can start.";
        actions.log(Level::Notice, format_args!("{words}"));
        self.start_manual(now, actions);
    }

    /// Gives it up when it has taken too long.
    pub(super) fn time_manual(&mut self, now: Now, actions: &mut Actions) {
        if self.is_manual() && self.manual.ends_at < now.ms() {
            actions.log(Level::Warning, format_args!("Manual failover timed out."));
            self.end_manual(actions);
        }
    }

    /// Nothing is under way any more.
    pub(super) fn end_manual(&mut self, actions: &mut Actions) {
        let Manual { taker, .. } = core::mem::take(&mut self.manual);
        if taker.is_some() {
            actions.pause = Some(PauseOrder::End);
        }
    }

    /// A node leaves the table: it takes over no more.
    pub(super) fn forget_taker(&mut self, node: NodeIndex, actions: &mut Actions) {
        if self.manual.taker == Some(node) {
            self.end_manual(actions);
        }
    }
}
