//! Who orders the nodes about: at random while all goes wrong, with care when it is over.

use crate::checkers::view;
use crate::faults::lay_trap;
use crate::world::World;
use slotmesh_base::{SLOT_COUNT, Slot};
use slotmesh_cluster::machine::Admin;
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{NodeId, SlotSet};
use std::collections::BTreeSet;

/// Most slots of a random order.
const SLOTS_MAX: u64 = 40;

/// Gives masters their slots and epochs, and lets them meet, as `redis-cli --cluster create` does.
pub(crate) fn form(world: &mut World, nodes: &[usize]) {
    for (index, &node) in nodes.iter().enumerate() {
        let bound = |nth: usize| nth * SLOT_COUNT / nodes.len();
        let slots: Vec<Slot> = (bound(index)..bound(index + 1)).filter_map(|slot| Slot::new(slot as u16)).collect();
        world.order(node, Admin::AddSlots(&slots));
        world.order(node, Admin::SetConfigEpoch(index as u64 + 1));
    }
    for &node in &nodes[1..] {
        meet(world, node, nodes[0]);
    }
}

pub(crate) fn meet(world: &mut World, node: usize, other: usize) {
    let (host, port, bus_port) = world.address_of(other);
    world.order(node, Admin::Meet { host, port, bus_port });
}

/// Machines that are up.
pub(crate) fn machines(world: &World) -> Vec<usize> {
    (0..world.nodes.len()).filter(|&node| world.cluster(node).is_some()).collect()
}

/// Those of them that are masters.
pub(crate) fn masters(world: &World) -> Vec<usize> {
    let is_master = |&node: &usize| {
        let cluster = world.cluster(node);
        cluster.and_then(|it| it.flags_of(&it.id())).is_some_and(|flags| flags.contains(NodeFlags::MASTER))
    };
    machines(world).into_iter().filter(is_master).collect()
}

/// One order at random.
pub(crate) fn meddle(world: &mut World) {
    let nodes = machines(world);
    if nodes.is_empty() {
        return;
    }
    let node = nodes[world.rng.below(nodes.len() as u64) as usize];
    let other = nodes[world.rng.below(nodes.len() as u64) as usize];
    if world.safety.is_strict || world.cluster(node).is_some_and(slotmesh_cluster::machine::Cluster::is_replica) {
        return meet(world, node, other);
    }
    let start = world.rng.below(SLOT_COUNT as u64 - SLOTS_MAX);
    let slots = start..=start + world.rng.below(SLOTS_MAX);
    let slots: Vec<Slot> = slots.filter_map(|slot| Slot::new(slot as u16)).collect();
    let known: Vec<NodeId> = view(world, node).iter().flat_map(|view| &view.nodes).map(|seen| seen.id).collect();
    let some = known.get(world.rng.below(known.len().max(1) as u64) as usize).copied();
    match world.rng.below(40) {
        0..6 => meet(world, node, other),
        6..12 => {
            if let Some(id) = some {
                world.order(node, Admin::Forget(id));
            }
        }
        12..18 => _ = world.order(node, Admin::AddSlots(&slots)),
        18..24 => _ = world.order(node, Admin::DelSlots(&slots)),
        24..31 => {
            if let Some(id) = some {
                world.order(node, Admin::SetSlotNode { slot: slots[0], id, has_keys: false });
            }
        }
        31..36 => {
            world.bump(node);
            // Two at once take the same epoch, and one of them has to take another, before which it may crash, or behind.
            world.bump(other);
            [node, other].iter().for_each(|&node| lay_trap(world, world.nodes[node].host));
        }
        36 => _ = world.order(node, Admin::FlushSlots),
        37 => _ = world.order(node, Admin::Reset { is_hard: false }),
        38 => _ = world.order(node, Admin::Reset { is_hard: true }),
        _ => _ = world.order(node, Admin::SaveConfig),
    }
}

/// Forgets names that nobody bears any more, everywhere, and lets all meet the first.
pub(crate) fn reunite(world: &mut World, living: &BTreeSet<NodeId>) {
    let nodes = machines(world);
    let gone: Vec<NodeId> = world.safety.all_ids().filter(|id| !living.contains(id)).collect();
    for &node in &nodes {
        for id in &gone {
            world.order(node, Admin::Forget(*id));
        }
    }
    for &node in &nodes[1..] {
        meet(world, nodes[0], node);
        meet(world, node, nodes[0]);
    }
}

/// Gives slots that nobody claims to the first master, as `redis-cli --cluster fix` does.
pub(crate) fn cover(world: &mut World) {
    let nodes = masters(world);
    let mut claimed = SlotSet::default();
    for &node in &nodes {
        let Some(cluster) = world.cluster(node) else { continue };
        let own = (0..SLOT_COUNT as u16).filter_map(Slot::new).filter(|&slot| cluster.owns(slot));
        own.for_each(|slot| _ = claimed.insert(slot));
    }
    let Some(&heir) = masters(world).first() else { return };
    let free: Vec<Slot> =
        (0..SLOT_COUNT as u16).filter_map(Slot::new).filter(|&slot| !claimed.contains(slot)).collect();
    if free.is_empty() {
        return;
    }
    let busy: Vec<Slot> = free
        .iter()
        .copied()
        .filter(|slot| world.cluster(heir).is_some_and(|cluster| cluster.check_slots(&[*slot], true).is_ok()))
        .collect();
    world.order(heir, Admin::DelSlots(&busy));
    world.order(heir, Admin::AddSlots(&free));
    world.bump(heir);
}
