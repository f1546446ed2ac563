//! Which groups come back by themselves when nodes have lost their data, and how an operator helps the others.

use crate::checkers::view;
use crate::operator::{self, machines};
use crate::world::{MS, World};
use slotmesh_base::Slot;
use slotmesh_cluster::NodeId;
use slotmesh_cluster::machine::{Admin, Failover, MasterLink};
use slotmesh_cluster::wire::NodeFlags;
use std::collections::BTreeSet;

/// Groups whose slots nobody serves.
pub(crate) fn unserved(world: &World) -> Vec<usize> {
    let is_served = |slot: Slot| (0..world.nodes.len()).any(|node| world.serves(node, slot));
    (0..world.ledger.groups.len()).filter(|&group| !is_served(world.ledger.groups[group])).collect()
}

/// Groups that must come back without help: their owner is up and has its data, or the majority of the owners can vote and
/// there is a replica that has some and may take over: by itself, or as its master has none and says so.
pub(crate) fn able_groups(world: &World) -> BTreeSet<usize> {
    let owners: Vec<Option<NodeId>> = world.ledger.groups.iter().map(|&slot| owner(world, slot)).collect();
    let speaks = |owner: &NodeId| speaks(world, *owner);
    let all: BTreeSet<NodeId> = owners.iter().flatten().copied().collect();
    let has_majority = 2 * all.iter().filter(|owner| speaks(owner)).count() > all.len();
    let is_able = |owner: &NodeId| {
        let heirs = machines(world).into_iter().filter(|&node| master_of(world, node) == Some(*owner));
        let is_there = bearer(world, *owner).is_some();
        let is_heir = |node: usize| is_fresh(world, node) || is_there && !world.data[node].log.is_empty();
        speaks(owner) || has_majority && heirs.into_iter().any(is_heir)
    };
    let able: BTreeSet<usize> =
        (0..owners.len()).filter(|&group| owners[group].as_ref().is_some_and(is_able)).collect();
    let who: Vec<String> =
        owners.iter().map(|owner| owner.map_or("nobody".to_owned(), |owner| owner.to_string())).collect();
    world.note(format_args!(
        "groups of {who:?}; {able:?} can come back by themselves, a majority can vote: {has_majority}"
    ));
    able
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
