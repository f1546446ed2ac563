//! What CLUSTER changes.

use super::{Actions, Cluster, Failover, Level, Now};
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::vec::Vec;
use core::fmt;
use slotmesh_base::{Slot, SlotSet};

/// How long CLUSTER FORGET keeps a node away, in seconds (Redis: `CLUSTER_BLACKLIST_TTL`).
const FORGETTING_S: u64 = 60;

/// An order of the operator.
#[derive(Clone, Debug)]
pub enum Admin<'a> {
    /// CLUSTER MEET.
    Meet {
        /// Where the node lives.
        host: Host,
        /// Its port for clients.
        port: u16,
        /// Its port of the bus.
        bus_port: u16,
    },
    /// CLUSTER ADDSLOTS and ADDSLOTSRANGE: all or none.
    AddSlots(&'a [Slot]),
    /// CLUSTER DELSLOTS and DELSLOTSRANGE: all or none.
    DelSlots(&'a [Slot]),
    /// CLUSTER FLUSHSLOTS; the caller has seen that there are no keys.
    FlushSlots,
    /// CLUSTER SETSLOT … NODE.
    SetSlotNode {
        /// Which slot.
        slot: Slot,
        /// Its owner from now on.
        id: NodeId,
        /// Whether we hold keys of it.
        has_keys: bool,
    },
    /// CLUSTER SETSLOT … STABLE.
    SetSlotStable(Slot),
    /// CLUSTER FORGET.
    Forget(NodeId),
    /// CLUSTER REPLICATE.
    Replicate {
        /// The master that we shall follow.
        id: NodeId,
        /// Whether we hold keys.
        has_keys: bool,
    },
    /// CLUSTER FAILOVER.
    Failover(Failover),
    /// CLUSTER RESET; the caller has seen that there are no keys, unless we are a replica.
    Reset {
        /// HARD: also another name, and epochs from 0.
        is_hard: bool,
    },
    /// CLUSTER SET-CONFIG-EPOCH.
    SetConfigEpoch(u64),
    /// CLUSTER SAVECONFIG.
    SaveConfig,
}

/// Why an order is not obeyed; prints the text after `ERR `.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AdminError {
    /// The slot has an owner.
    Busy(Slot),
    /// The slot has none.
    Unassigned(Slot),
    /// The slot was named twice.
    Repeated(Slot),
    /// Nobody has this name.
    UnknownNode(NodeId),
    /// The node is a replica.
    NotMaster,
    /// Keys of the slot are still here.
    HoldsKeys(Slot),
    /// We cannot forget ourselves.
    Myself,
    /// A replica cannot forget its master.
    MyMaster,
    /// An epoch can be set only before others are known.
    KnowsOthers,
    /// An epoch can be set only once.
    HasEpoch,
    /// Gossip has filled the table.
    TooManyNodes,
    /// Nobody follows himself.
    FollowsMyself,
    /// Nobody follows a replica.
    FollowsReplica,
    /// A master with slots or keys cannot become a replica.
    NotEmpty,
    /// Only a replica takes over.
    NotReplica,
    /// A replica that does not know its master cannot take over.
    UnknownMaster,
    /// The master cannot be asked for its consent.
    MasterDown,
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(slot) => write!(f, "Slot {slot} is already busy"),
            Self::Unassigned(slot) => write!(f, "Slot {slot} is already unassigned"),
            Self::Repeated(slot) => write!(f, "Slot {slot} specified multiple times"),
            Self::UnknownNode(id) => write!(f, "Unknown node {id}"),
            Self::NotMaster => f.write_str("Target node is not a master"),
            Self::HoldsKeys(slot) => {
                write!(
                    f,
                    "Can't assign hashslot {slot} to a different node while I still hold keys for this hash slot."
                )
            }
            Self::Myself => f.write_str("I tried hard but I can't forget myself..."),
            Self::MyMaster => f.write_str("Can't forget my master!"),
            Self::KnowsOthers => {
                f.write_str("The user can assign a config epoch only when the node does not know any other node.")
            }
            Self::HasEpoch => f.write_str("Node config epoch is already non-zero"),
            Self::TooManyNodes => f.write_str("Too many nodes are known already"),
            Self::FollowsMyself => f.write_str("Can't replicate myself"),
            Self::FollowsReplica => f.write_str("I can only replicate a master, not a replica."),
            Self::NotEmpty => f.write_str("To set a master the node must be empty and without assigned slots."),
            Self::NotReplica => f.write_str("You should send CLUSTER FAILOVER to a replica"),
            Self::UnknownMaster => f.write_str("I'm a replica but my master is unknown to me"),
            Self::MasterDown => f.write_str("Master is down or failed, please use CLUSTER FAILOVER FORCE"),
        }
    }
}

impl core::error::Error for AdminError {}

/// What CLUSTER BUMPEPOCH answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bumped {
    /// A new epoch.
    Bumped(u64),
    /// Ours was the greatest already.
    Still(u64),
}

impl Cluster {
    /// Obeys an order. What it promises is to be on disk before its reply leaves: the driver saves at once.
    ///
    /// # Errors
    /// Why it is not obeyed; nothing has changed then.
    pub fn admin(&mut self, now: Now, order: Admin<'_>, actions: &mut Actions) -> Result<(), AdminError> {
        match order {
            Admin::Meet { host, port, bus_port } => self.meet(now, host, port, bus_port)?,
            Admin::AddSlots(slots) => self.add_slots(slots)?,
            Admin::DelSlots(slots) => self.del_slots(slots)?,
            Admin::FlushSlots => self.flush_slots(),
            Admin::SetSlotNode { slot, id, has_keys } => self.set_slot_node(slot, &id, has_keys, actions)?,
            Admin::SetSlotStable(slot) => {
                self.slots.migrating.remove(&slot);
                self.slots.importing.remove(&slot);
                self.mark_all();
            }
            Admin::Forget(id) => self.forget(now, &id, actions)?,
            Admin::Replicate { id, has_keys } => self.replicate(&id, has_keys, actions)?,
            Admin::Failover(how) => self.fail_over(now, how, actions)?,
            Admin::Reset { is_hard } => self.reset(is_hard, actions),
            Admin::SetConfigEpoch(epoch) => self.set_config_epoch(epoch, actions)?,
            Admin::SaveConfig => self.due.save = true,
        }
        self.settle(now, actions);
        Ok(())
    }

    /// What we have loaded at the start has keys of these slots. A master takes those that nobody has (Redis 7.0
    /// `cluster.c` `verifyClusterConfigWithData`; there the ones that others have become slots that are being imported).
    ///
    /// # Errors
    /// The first slot that another node has. Nothing has changed then.
    pub fn claim_loaded(&mut self, now: Now, slots: &SlotSet, actions: &mut Actions) -> Result<(), Slot> {
        if !self.is_master() {
            return Ok(());
        }
        let not_ours = |slot: &Slot| self.slots.owner(*slot) != Some(self.myself);
        let slots: Vec<Slot> = slots.iter().filter(not_ours).collect();
        if let Some(&slot) = slots.iter().find(|&&slot| self.slots.owner(slot).is_some()) {
            return Err(slot);
        }
        for &slot in &slots {
            let words = format_args!("I have keys for unassigned slot {slot}. Taking responsibility for it.");
            actions.log(Level::Warning, words);
            self.slots.assign(slot, Some(self.myself));
        }
        if !slots.is_empty() {
            self.mark_all();
            self.settle(now, actions);
        }
        Ok(())
    }

    /// CLUSTER BUMPEPOCH.
    pub fn bump(&mut self, now: Now, actions: &mut Actions) -> Bumped {
        let bumped = self.bump_epoch();
        self.settle(now, actions);
        bumped.map_or(Bumped::Still(self.table.row(self.myself).config_epoch), Bumped::Bumped)
    }

    /// CLUSTER COUNT-FAILURE-REPORTS.
    ///
    /// # Errors
    /// If nobody has this name.
    pub fn failure_reports(&mut self, now: Now, id: &NodeId) -> Result<usize, AdminError> {
        let node = self.known(id).ok_or(AdminError::UnknownNode(*id))?;
        Ok(self.count_reports(now, node))
    }

    fn meet(&mut self, now: Now, host: Host, port: u16, bus_port: u16) -> Result<(), AdminError> {
        let is_same = |row: &super::table::Row| row.is_in_handshake() && row.lives_at(Some(&host), port, bus_port);
        if self.table.rows().any(|(_, row)| is_same(row)) {
            return Ok(());
        }
        let id = super::random_id(&mut self.rng);
        let flags = NodeFlags::HANDSHAKE | NodeFlags::MEET;
        let node = self.table.add(id, id, flags, now.ms()).ok_or(AdminError::TooManyNodes)?;
        let row = self.table.row_mut(node);
        (row.host, row.port, row.bus_port) = (Some(host), port, bus_port);
        self.due.view = true;
        Ok(())
    }

    /// How a node is, if it is known.
    pub fn flags_of(&self, id: &NodeId) -> Option<NodeFlags> {
        self.known(id).map(|node| self.table.row(node).flags)
    }

    /// Whether a slot is ours.
    pub fn owns(&self, slot: Slot) -> bool {
        self.slots.owner(slot) == Some(self.myself)
    }

    /// Number of our slots.
    pub fn slot_count(&self) -> u16 {
        self.slots.count(self.myself)
    }

    /// Whether each slot is named once, and all are owned, or none is.
    ///
    /// # Errors
    /// The first slot of which this is not so.
    pub fn check_slots(&self, slots: &[Slot], owned: bool) -> Result<(), AdminError> {
        let mut seen = SlotSet::default();
        for &slot in slots {
            match (self.slots.owner(slot).is_some(), owned) {
                (true, false) => return Err(AdminError::Busy(slot)),
                (false, true) => return Err(AdminError::Unassigned(slot)),
                _ if !seen.insert(slot) => return Err(AdminError::Repeated(slot)),
                _ => {}
            }
        }
        Ok(())
    }

    fn add_slots(&mut self, slots: &[Slot]) -> Result<(), AdminError> {
        self.check_slots(slots, false)?;
        for &slot in slots {
            self.slots.importing.remove(&slot);
            self.slots.assign(slot, Some(self.myself));
        }
        self.mark_all();
        Ok(())
    }

    fn del_slots(&mut self, slots: &[Slot]) -> Result<(), AdminError> {
        self.check_slots(slots, true)?;
        slots.iter().for_each(|&slot| self.unassign(slot));
        self.mark_all();
        Ok(())
    }

    fn unassign(&mut self, slot: Slot) {
        if self.slots.owner(slot) == Some(self.myself) {
            self.retract(slot);
        }
        self.slots.assign(slot, None);
    }

    fn flush_slots(&mut self) {
        for slot in self.slots.release(self.myself).iter() {
            self.retract(slot);
        }
        self.mark_all();
    }

    fn set_slot_node(
        &mut self,
        slot: Slot,
        id: &NodeId,
        has_keys: bool,
        actions: &mut Actions,
    ) -> Result<(), AdminError> {
        let node = self.known(id).ok_or(AdminError::UnknownNode(*id))?;
        if !self.table.row(node).is_master() {
            return Err(AdminError::NotMaster);
        }
        let was_ours = self.slots.owner(slot) == Some(self.myself);
        if was_ours && node != self.myself && has_keys {
            return Err(AdminError::HoldsKeys(slot));
        }
        if !has_keys {
            self.slots.migrating.remove(&slot);
        }
        if was_ours && node != self.myself {
            self.retract(slot);
        }
        self.slots.assign(slot, Some(node));
        if node == self.myself && self.slots.importing.remove(&slot).is_some() {
            if let Some(epoch) = self.bump_epoch() {
                actions.log(Level::Warning, format_args!("configEpoch updated after importing slot {slot}: {epoch}"));
            }
            // As soon as it is on disk.
            self.announce_news();
        }
        self.mark_all();
        Ok(())
    }

    fn forget(&mut self, now: Now, id: &NodeId, actions: &mut Actions) -> Result<(), AdminError> {
        let Some(node) = self.known(id) else {
            // Others may have forgotten it and told us so before the operator did.
            return if self.is_forbidden(now, id) { Ok(()) } else { Err(AdminError::UnknownNode(*id)) };
        };
        if node == self.myself {
            return Err(AdminError::Myself);
        }
        if self.table.row(self.myself).master == Some(node) {
            return Err(AdminError::MyMaster);
        }
        self.forbid(now, *id, FORGETTING_S);
        self.drop_node(node, actions);
        Ok(())
    }

    fn replicate(&mut self, id: &NodeId, has_keys: bool, actions: &mut Actions) -> Result<(), AdminError> {
        let node = self.known(id).ok_or(AdminError::UnknownNode(*id))?;
        if node == self.myself {
            return Err(AdminError::FollowsMyself);
        }
        // As Redis: whoever is no replica will do, also one of which gossip alone has told.
        if self.table.row(node).has(NodeFlags::REPLICA) {
            return Err(AdminError::FollowsReplica);
        }
        if self.is_master() && (self.slot_count() > 0 || has_keys) {
            return Err(AdminError::NotEmpty);
        }
        self.follow(node, actions);
        Ok(())
    }

    fn reset(&mut self, is_hard: bool, actions: &mut Actions) {
        if self.is_replica() {
            actions.flush = true;
            self.step_down();
        }
        self.end_manual(actions);
        let others: Vec<NodeIndex> = self.table.rows().map(|(node, _)| node).filter(|&n| n != self.myself).collect();
        others.into_iter().for_each(|node| self.drop_node(node, actions));
        self.slots.forget(self.myself);
        self.slots.migrating.clear();
        self.slots.importing.clear();
        self.blacklist.clear();
        self.make_master(self.myself);
        if is_hard {
            (self.current_epoch, self.last_vote_epoch) = (0, 0);
            let (id, shard_id) = (super::random_id(&mut self.rng), super::random_id(&mut self.rng));
            let former = self.id();
            self.table.rename(self.myself, id);
            let row = self.table.row_mut(self.myself);
            (row.config_epoch, row.shard_id) = (0, shard_id);
            actions.log(Level::Notice, format_args!("Node hard reset, now I'm {id} (was {former})"));
        }
        self.announce_nothing();
        self.mark_all();
    }

    fn set_config_epoch(&mut self, epoch: u64, actions: &mut Actions) -> Result<(), AdminError> {
        if self.table.len() > 1 {
            return Err(AdminError::KnowsOthers);
        }
        let row = self.table.row_mut(self.myself);
        if row.config_epoch != 0 {
            return Err(AdminError::HasEpoch);
        }
        row.config_epoch = epoch;
        self.current_epoch = self.current_epoch.max(epoch);
        let words = "configEpoch set to";
        actions.log(Level::Warning, format_args!("{words} {epoch} via CLUSTER SET-CONFIG-EPOCH"));
        self.mark_all();
        Ok(())
    }
}
