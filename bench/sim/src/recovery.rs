//! Which groups come back by themselves when nodes have lost their data, and how an operator helps the others.

use crate::checkers::view;
use crate::operator::{self, machines};
use crate::world::{MS, World};
use slotmesh_base::Slot;
use slotmesh_cluster::NodeId;
use slotmesh_cluster::machine::{Admin, Failover, MasterLink};
use slotmesh_cluster::wire::NodeFlags;
use std::collections::{BTreeMap, BTreeSet};

/// Groups whose slots nobody serves.
pub(crate) fn unserved(world: &World) -> Vec<usize> {
    let is_served = |slot: Slot| (0..world.nodes.len()).any(|node| world.serves(node, slot));
    (0..world.ledger.groups.len()).filter(|&group| !is_served(world.ledger.groups[group])).collect()
}

/// Why a group cannot come back without help.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Helpless {
    /// No node claims its slots, nor knows of one that did.
    Nobody,
    /// Its owner has no data, or is gone with its name, and no replica has any.
    NoCopy,
    /// Most owners are gone with their names: a silent one votes.
    NoVotes,
    /// Its owner is gone with its name, and too few masters are left who are not silent, so that nobody holds it for failed
    /// before its replicas' data are too old.
    NoVoices,
    /// Its owner is gone with its name, and might come back with newer data than its replicas have, which were cut off for
    /// long or have been started anew.
    OldCopy,
}

impl Helpless {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Nobody, Self::NoCopy, Self::NoVotes, Self::NoVoices, Self::OldCopy];
}

/// Groups that cannot come back without help, and why. All others must.
pub(crate) fn helpless(world: &World) -> BTreeMap<usize, Helpless> {
    let owners: Vec<Option<NodeId>> = world.ledger.groups.iter().map(|&slot| owner(world, slot)).collect();
    let all: BTreeSet<NodeId> = owners.iter().flatten().copied().collect();
    let is_majority = |of: &dyn Fn(NodeId) -> bool| 2 * all.iter().filter(|owner| of(**owner)).count() > all.len();
    let has_votes = is_majority(&|owner| bearer(world, owner).is_some());
    let has_voices = is_majority(&|owner| speaks(world, owner));
    let why = |owner: NodeId| {
        let heirs = machines(world).into_iter().filter(|&node| master_of(world, node) == Some(owner));
        let heirs: Vec<usize> = heirs.filter(|&node| !world.data[node].log.is_empty()).collect();
        match bearer(world, owner) {
            Some(node) if speaks(world, owner) || knows_all_lost(world, node) => None,
            _ if heirs.is_empty() => Some(Helpless::NoCopy),
            _ if !has_votes => Some(Helpless::NoVotes),
            Some(_) => None,
            None if !has_voices => Some(Helpless::NoVoices),
            None => heirs.iter().all(|&node| !is_fresh(world, node)).then_some(Helpless::OldCopy),
        }
    };
    let why = |owner: Option<NodeId>| owner.map_or(Some(Helpless::Nobody), why);
    let helpless = owners.iter().enumerate().filter_map(|(group, &owner)| Some((group, why(owner)?))).collect();
    world.note(format_args!("cannot come back by themselves: {helpless:?}"));
    helpless
}

/// Whether all replicas that a master knows are up, hold it for their master, and have nothing either: it must hear so.
fn knows_all_lost(world: &World, node: usize) -> bool {
    let (id, Some(view)) = (world.id(node), view(world, node)) else { return false };
    let mut replicas = view.nodes.iter().filter(|seen| seen.master == Some(id)).peekable();
    let is_empty = |node: usize| master_of(world, node) == Some(id) && world.data[node].log.is_empty();
    replicas.peek().is_some() && replicas.all(|seen| bearer(world, seen.id).is_some_and(is_empty))
}

/// A replica that a master knows as its own, that holds it for its master, and that has data.
pub(crate) fn keeper(world: &World, node: usize) -> Option<usize> {
    let (id, view) = (world.id(node), view(world, node)?);
    let mut replicas =
        view.nodes.iter().filter(|seen| seen.master == Some(id)).filter_map(|seen| bearer(world, seen.id));
    replicas.find(|&node| master_of(world, node) == Some(id) && !world.data[node].log.is_empty())
}

/// Whether a group has an owner that is there and not silent: it serves as soon as all groups have.
pub(crate) fn has_voice(world: &World, group: usize) -> bool {
    owner(world, world.ledger.groups[group]).is_some_and(|owner| speaks(world, owner))
}

fn speaks(world: &World, owner: NodeId) -> bool {
    bearer(world, owner).is_some_and(|node| world.nodes[node].silence.is_none())
}

/// Whether a replica's data are not so old that it may not take over, for a good while.
fn is_fresh(world: &World, node: usize) -> bool {
    let limit = world.plan.rules.validity_factor as u64 * world.plan.timeout_ms as u64 * MS;
    match world.link(node) {
        Some(MasterLink::Up { heard_at: at } | MasterLink::Down { since: at }) => {
            world.now_of(node).monotonic.nanos_since(at) < limit / 2
        }
        Some(MasterLink::NeverSynced) | None => false,
    }
}

/// Does what an operator would for a group that nobody serves: has the replica with most of the data take over, or if there
/// is none that has any has its slots served without.
pub(crate) fn help(world: &mut World, group: usize) {
    let Some(owner) = owner(world, world.ledger.groups[group]) else { return operator::cover(world) };
    let replicas = machines(world).into_iter().filter(|&node| master_of(world, node) == Some(owner));
    let heir = replicas.max_by_key(|&node| world.data[node].log.len());
    match (heir, bearer(world, owner)) {
        (Some(heir), None) => _ = world.order(heir, Admin::Failover(Failover::Takeover)),
        (Some(heir), _) if !world.data[heir].log.is_empty() => {
            world.order(heir, Admin::Failover(Failover::Takeover));
        }
        (_, Some(node)) => world.speak(node),
        (None, None) => {
            machines(world).into_iter().for_each(|node| _ = world.order(node, Admin::Forget(owner)));
            operator::cover(world);
        }
    }
}

/// The node that bears a name.
fn bearer(world: &World, id: NodeId) -> Option<usize> {
    machines(world).into_iter().find(|&node| world.id(node) == id)
}

fn master_of(world: &World, node: usize) -> Option<NodeId> {
    let view = view(world, node)?;
    view.nodes.iter().find(|seen| seen.flags.contains(NodeFlags::MYSELF))?.master
}

/// Who owns a slot, as the greatest epoch says of which anybody knows: of those who are up they themselves, since others may
/// hold for theirs what they do not claim any more.
fn owner(world: &World, slot: Slot) -> Option<NodeId> {
    let number = slot.number();
    let up: BTreeSet<NodeId> = machines(world).into_iter().map(|node| world.id(node)).collect();
    let views = machines(world).into_iter().filter_map(|node| view(world, node));
    let claims = views.flat_map(|view| view.nodes).filter(|seen| {
        let is_known = seen.flags.contains(NodeFlags::MYSELF) || !up.contains(&seen.id);
        let holds = seen.slots.iter().any(|&(first, last)| (first..=last).contains(&number));
        is_known && holds && seen.flags.contains(NodeFlags::MASTER)
    });
    claims.max_by_key(|seen| seen.config_epoch).map(|seen| seen.id)
}
