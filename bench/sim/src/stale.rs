//! A master comes back with claims of old, and cannot hear who has its slots now: the others have to tell it.

use crate::operator::masters;
use crate::world::{MS, World};
use slotmesh_base::{SLOT_COUNT, Slot};
use slotmesh_cluster::machine::Admin;

/// Most slots that go to the other master.
const SLOTS_MAX: u64 = 40;

/// Lets it happen in a cluster that agrees, if two masters on hosts of their own can be found beside a third host.
///
/// # Errors
/// If nobody tells it.
pub(crate) fn come_back(world: &mut World, bound_ns: u64) -> Result<(), String> {
    let host = |node: usize| world.nodes[node].host;
    let masters = masters(world);
    let owners = masters.iter().copied().filter(|&node| world.cluster(node).is_some_and(|it| it.slot_count() > 0));
    let pairs = owners.flat_map(|owner| masters.iter().map(move |&heir| (owner, heir)));
    let apart: Vec<(usize, usize)> = pairs.filter(|&(owner, heir)| host(owner) != host(heir)).collect();
    if apart.is_empty() || world.hosts.len() < 3 {
        return Ok(());
    }
    let (away, heir) = apart[world.rng.below(apart.len() as u64) as usize];
    let hosts = [away, heir].map(|node| world.nodes[node].host);
    let timeout = world.plan.timeout_ms as u64 * MS;
    // The other one's next epoch is one that the first has not heard of, or UPDATE would be no news to it.
    world.bump(away);
    world.run(2 * timeout);
    world.note(format_args!("node {away} is away, its slots go to node {heir}"));
    (0..world.hosts.len()).for_each(|other| part(world, hosts[0], other));
    let pause = world.rng.below(4 * timeout);
    world.run(pause);
    let slots = inherit(world, away, heir);
    world.run(3 * timeout);
    world.network.heal();
    if world.rng.below(2) == 0 {
        let is_silent = world.rng.below(2) == 0;
        world.crash(hosts[1], is_silent, true);
    } else {
        part(world, hosts[0], hosts[1]);
    }
    let end = world.now_ns + bound_ns;
    while world.cluster(away).is_some_and(|cluster| slots.iter().any(|&slot| cluster.owns(slot))) {
        if world.now_ns >= end {
            return Err(format!("nobody has told node {away} that its slots have gone to node {heir}"));
        }
        world.run(200 * MS);
    }
    world.network.heal();
    if !world.hosts[hosts[1]].is_up {
        world.start(hosts[1]);
    }
    Ok(())
}

/// Two hosts do not hear each other.
fn part(world: &mut World, one: usize, other: usize) {
    world.network.cut(one, other);
    world.network.cut(other, one);
}

/// Some slots of a master go to another one, in a greater epoch; which.
fn inherit(world: &mut World, owner: usize, heir: usize) -> Vec<Slot> {
    let most = 1 + world.rng.below(SLOTS_MAX) as usize;
    let all = (0..SLOT_COUNT as u16).filter_map(Slot::new);
    let slots: Vec<Slot> =
        all.filter(|&slot| world.cluster(owner).is_some_and(|cluster| cluster.owns(slot))).take(most).collect();
    let id = world.id(heir);
    for &slot in &slots {
        world.order(heir, Admin::SetSlotNode { slot, id, has_keys: false });
    }
    world.bump(heir);
    slots
}
