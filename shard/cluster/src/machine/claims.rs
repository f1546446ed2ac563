//! Who is master, who owns what: what headers claim, and who wins.

use super::{Actions, Cluster, Level};
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{self, Header, MessageKind, NodeFlags};
use slotmesh_base::SlotSet;

impl Cluster {
    /// The role that a node says that it has.
    pub(super) fn learn_role(&mut self, sender: NodeIndex, header: &Header, actions: &mut Actions) {
        let Some(id) = header.master else { return self.make_master(sender) };
        let master = self.table.find(&id);
        let row = self.table.row(sender);
        if row.is_master() {
            actions.log(Level::Notice, format_args!("Node {} is a replica of {id} now", row.id));
            self.slots.release(sender);
            let row = self.table.row_mut(sender);
            row.flags.remove(NodeFlags::MASTER | NodeFlags::MIGRATE_TO);
            row.flags.insert(NodeFlags::REPLICA);
            self.mark_all();
        }
        // A role that nobody has told yet (a node known by gossip alone).
        self.table.row_mut(sender).flags.insert(NodeFlags::REPLICA);
        if let Some(master) = master
            && self.table.row(sender).master != Some(master)
            && master != sender
        {
            let former = self.table.row_mut(sender).master.replace(master);
            if let Some(former) = former {
                self.judge_attraction(former);
            }
            let shard_id = self.table.row(master).shard_id;
            self.table.row_mut(master).flags.insert(NodeFlags::MIGRATE_TO);
            self.table.row_mut(sender).shard_id = shard_id;
            self.mark_all();
            // Also where none of its slots is claimed, so that nothing else would say so (valkey 8).
            self.mend_chain(actions);
        }
    }

    /// A node is a master from now on.
    pub(super) fn make_master(&mut self, node: NodeIndex) {
        let row = self.table.row_mut(node);
        if row.is_master() {
            return;
        }
        let former = row.master.take();
        row.flags.remove(NodeFlags::REPLICA);
        row.flags.insert(NodeFlags::MASTER);
        if let Some(former) = former {
            self.table.row_mut(node).flags.insert(NodeFlags::MIGRATE_TO);
            self.judge_attraction(former);
        }
        self.mark_all();
    }

    /// A master that has lost its last replica attracts no others.
    pub(super) fn judge_attraction(&mut self, master: NodeIndex) {
        if !self.table.rows().any(|(_, row)| row.master == Some(master)) {
            self.table.row_mut(master).flags.remove(NodeFlags::MIGRATE_TO);
        }
    }

    /// The slots that a node claims for itself, or a replica for its master.
    pub(super) fn learn_claims(&mut self, sender: NodeIndex, header: &Header, actions: &mut Actions) {
        let is_master = self.table.row(sender).is_master();
        let Some(master) = (if is_master { Some(sender) } else { self.table.row(sender).master }) else { return };
        if !self.slots.differs(master, &header.slots) {
            return;
        }
        if is_master {
            self.apply_claims(sender, header.config_epoch, &header.slots, actions);
        }
        self.correct(sender, header, actions);
    }

    /// Gives a master the slots that it claims, where its epoch is the greatest.
    fn apply_claims(&mut self, master: NodeIndex, epoch: u64, claimed: &SlotSet, actions: &mut Actions) {
        if master == self.myself {
            return;
        }
        let had_slots = self.slots.count(master) > 0;
        let lost_before = actions.lost.len();
        let leader = if self.is_master() { Some(self.myself) } else { self.leader() };
        let mut taken = 0;
        for slot in claimed.iter() {
            let owner = self.slots.owner(slot);
            if owner == Some(master) {
                self.slots.set_unclaimed(slot, false);
                continue;
            }
            if self.slots.importing.contains_key(&slot) {
                continue;
            }
            let is_free = match owner {
                None => true,
                Some(owner) => self.slots.is_unclaimed(slot) || self.table.row(owner).config_epoch < epoch,
            };
            if !is_free {
                continue;
            }
            taken += usize::from(owner.is_some() && owner == leader);
            if owner == Some(self.myself) {
                actions.lost.push(slot);
                self.slots.migrating.remove(&slot);
                self.retract(slot);
            }
            self.slots.assign(slot, Some(master));
            self.mark_all();
        }
        if self.slots.differs(master, claimed) {
            self.note_unclaimed(master, claimed);
        }
        if !had_slots && self.slots.count(master) > 0 && self.has_replicas() {
            self.table.row_mut(master).flags.insert(NodeFlags::MIGRATE_TO);
        }
        let lost = actions.lost.len() - lost_before;
        if lost > 0 {
            let (id, left) = (self.table.row(master).id, self.slots.count(self.myself));
            actions.log(
                Level::Warning,
                format_args!("Node {id} claims {lost} of our slots with a greater epoch ({epoch}); {left} are left"),
            );
        }
        if self.reconsider(master, taken, claimed.len(), actions) {
            // Its data replace ours.
            actions.lost.truncate(lost_before);
        }
    }

    /// Notes which slots their owner does not claim any more.
    fn note_unclaimed(&mut self, owner: NodeIndex, claimed: &SlotSet) {
        for slot in self.slots.of(owner).iter() {
            if !claimed.contains(slot) {
                self.slots.set_unclaimed(slot, true);
            }
        }
    }

    fn has_replicas(&self) -> bool {
        self.table.rows().any(|(_, row)| row.master.is_some())
    }

    /// A node that claims what a greater epoch has given to another is told so.
    fn correct(&mut self, sender: NodeIndex, header: &Header, actions: &mut Actions) {
        let stale = header.slots.iter().find_map(|slot| {
            let owner = self.slots.owner(slot).filter(|&owner| owner != sender)?;
            (self.table.row(owner).config_epoch > header.config_epoch).then_some(owner)
        });
        let Some(owner) = stale else { return };
        let row = self.table.row(sender);
        let (Some(link), true) = (row.link, row.is_linked) else { return };
        let (id, epoch) = (self.table.row(owner).id, self.table.row(owner).config_epoch);
        let mut slots = if owner == self.myself { self.header().slots.clone() } else { self.slots.of(owner) };
        let held: alloc::vec::Vec<_> = slots.iter().filter(|&slot| self.slots.is_unclaimed(slot)).collect();
        held.into_iter().for_each(|slot| _ = slots.remove(slot));
        let epoch = if owner == self.myself { self.header().config_epoch } else { epoch };
        let header = self.header();
        let message = actions.message(|out| wire::write_update(out, header, epoch, &id, &slots));
        self.send(link, message, MessageKind::Update, actions);
    }

    /// Somebody tells us what we have missed.
    pub(super) fn learn_update(
        &mut self,
        sender: Option<NodeIndex>,
        epoch: u64,
        id: &NodeId,
        slots: &SlotSet,
        actions: &mut Actions,
    ) {
        let (Some(_), Some(node)) = (sender, self.known(id)) else { return };
        if self.table.row(node).config_epoch >= epoch || node == self.myself {
            return;
        }
        self.make_master(node);
        self.table.row_mut(node).config_epoch = epoch;
        self.mark_all();
        self.apply_claims(node, epoch, slots, actions);
    }

    /// Two masters with one epoch: the one with the smaller name takes a new one.
    pub(super) fn solve_collision(&mut self, sender: NodeIndex, header: &Header, actions: &mut Actions) {
        let me = self.table.row(self.myself);
        if !self.table.row(sender).is_master()
            || !me.is_master()
            || header.config_epoch != me.config_epoch
            || header.sender <= me.id
        {
            return;
        }
        // Others may say any number.
        self.current_epoch = self.current_epoch.saturating_add(1);
        let epoch = self.current_epoch;
        self.table.row_mut(self.myself).config_epoch = epoch;
        self.mark_all();
        actions.log(
            Level::Verbose,
            format_args!("WARNING: configEpoch collision with node {}. configEpoch set to {epoch}", header.sender),
        );
    }

    /// Takes a greater epoch than anybody's without asking; `None` if ours is the greatest already.
    pub(super) fn bump_epoch(&mut self) -> Option<u64> {
        let greatest = self.table.rows().map(|(_, row)| row.config_epoch).fold(self.current_epoch, u64::max);
        let mine = self.table.row(self.myself).config_epoch;
        if mine != 0 && mine == greatest {
            return None;
        }
        self.current_epoch = greatest.saturating_add(1);
        self.table.row_mut(self.myself).config_epoch = self.current_epoch;
        self.mark_all();
        Some(self.current_epoch)
    }
}
