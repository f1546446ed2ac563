//! What is lost with a process: nothing, its data, or its name as well. And the silence of those who have lost data, and
//! the operator who gives those a place again who have lost their names.

use crate::checkers::view;
use crate::operator::{machines, meet};
use crate::recovery;
use crate::world::{Brain, Node, World};
use slotmesh_cluster::NodeId;
use slotmesh_cluster::machine::{Actions, Admin, Input, LinkEnd, LinkId, Relief};
use slotmesh_cluster::nodes_conf::SavedCluster;
use slotmesh_cluster::wire::NodeFlags;
use std::collections::BTreeSet;

/// Those who have lost their names.
#[derive(Default)]
pub(crate) struct Strays {
    /// Nodes that come back under new names, and have no place yet.
    nodes: BTreeSet<usize>,
    /// Names that nobody bears any more.
    gone: BTreeSet<NodeId>,
    /// How often the data of a node were lost.
    pub(crate) losses: usize,
}

impl World {
    /// A host has died: perhaps its data are lost, seldom its names, too. Of hosts without names there is one at a time.
    pub(crate) fn lose(&mut self, host: usize) {
        if !self.plan.loses {
            return;
        }
        let (loses_data, loses_names) = match self.rng.below(10) {
            0..4 => (false, false),
            4..9 => (true, false),
            _ => (true, self.strays.nodes.is_empty()),
        };
        for node in self.hosts[host].nodes.clone() {
            self.lose_copies(node, loses_data);
            if !loses_data {
                continue;
            }
            self.note(format_args!("node {node} has lost its data, its name as well: {loses_names}"));
            self.strays.losses += 1;
            if loses_names {
                self.nodes[node].disk = crate::disk::Disk::default();
                self.strays.gone.extend(self.safety.former_id(node));
                self.strays.nodes.insert(node);
            }
        }
    }

    /// Nothing leaves a node that is silent. Links of which it is to be told that they are down, if the silence ends.
    pub(crate) fn keep_silent(&mut self, node: usize, actions: &mut Actions) -> Vec<LinkId> {
        let now = self.now_of(node);
        let Node { silence, brain: Brain::Machine(cluster), .. } = &mut self.nodes[node] else { return Vec::new() };
        let Some(relief) = silence.as_mut().and_then(|silence| silence.keep(now, cluster, actions)) else {
            return Vec::new();
        };
        let down = silence.take().map(|silence| silence.end(actions).collect()).unwrap_or_default();
        self.note(format_args!("node {node} is silent no more: {relief:?}"));
        let keeper = (relief == Relief::NothingLeft).then(|| recovery::keeper(self, node)).flatten();
        if let Some(keeper) = keeper {
            self.safety.fail(format!("node {node} serves without data, and its replica, node {keeper}, has them"));
        }
        down
    }

    /// A node is silent no more, as if it had started with `cluster-start-empty yes`.
    pub(crate) fn speak(&mut self, node: usize) {
        let Some(silence) = self.nodes[node].silence.take() else { return };
        self.note(format_args!("node {node} is told to serve without data"));
        let mut actions = Actions::default();
        let down: Vec<LinkId> = silence.end(&mut actions).collect();
        for link in down {
            self.close(node, link);
            self.tell(node, Input::LinkDown { link, why: LinkEnd::Other });
        }
    }

    /// The port of the bus is opened when it is time.
    pub(crate) fn open_port(&mut self, node: usize) {
        let now = self.now_of(node).monotonic;
        let is_time = self.nodes[node].silence.as_ref().is_none_or(|silence| silence.listens(now));
        self.nodes[node].is_shut &= !is_time;
    }
}

/// Does what an operator can do now for those who have lost their names: lets them meet the others, gives them masters, and
/// has the names forgotten that nobody bears.
pub(crate) fn adopt(world: &mut World) {
    for node in world.strays.nodes.clone() {
        if world.cluster(node).is_some() && settle(world, node) {
            world.strays.nodes.remove(&node);
        }
    }
    for id in world.strays.gone.clone() {
        bury(world, id);
    }
}

/// One step for a node without a place; whether it has one.
fn settle(world: &mut World, node: usize) -> bool {
    let (id, Some(view)) = (world.id(node), view(world, node)) else { return false };
    if view.nodes.iter().any(|seen| seen.flags.contains(NodeFlags::MYSELF | NodeFlags::REPLICA)) {
        // Who was met may have died before it could tell anybody, or itself.
        let others: Vec<usize> = machines(world).into_iter().filter(|&other| other != node).collect();
        let strangers: Vec<usize> = others.into_iter().filter(|&other| !knows(world, other, id)).collect();
        strangers.iter().for_each(|&other| meet(world, node, other));
        return strangers.is_empty();
    }
    // Whoever has slots, and is neither failed nor silent, shows it to whoever asks.
    let owners: Vec<(usize, NodeId)> = machines(world)
        .into_iter()
        .filter(|&other| world.nodes[other].silence.is_none())
        .filter(|&other| world.cluster(other).is_some_and(|it| !it.is_replica() && it.slot_count() > 0))
        .map(|other| (other, world.id(other)))
        .collect();
    let is_well = |id: NodeId| view.nodes.iter().any(|seen| seen.id == id && !seen.flags.contains(NodeFlags::FAIL));
    let host = world.nodes[node].host;
    let apart = owners.iter().filter(|&&(other, _)| world.nodes[other].host != host);
    let Some((poorest, master)) = apart.copied().min_by_key(|&(_, id)| followers(&view, id)) else { return false };
    if is_well(master) && id != master {
        world.order(node, Admin::Replicate { id: master, has_keys: false });
    } else {
        meet(world, node, poorest);
    }
    false
}

fn knows(world: &World, node: usize, id: NodeId) -> bool {
    view(world, node).is_some_and(|view| view.nodes.iter().any(|seen| seen.id == id))
}

fn followers(view: &SavedCluster, id: NodeId) -> usize {
    view.nodes.iter().filter(|seen| seen.master == Some(id)).count()
}

/// Has a name forgotten by all who know it, as soon as nobody believes that it owns slots.
fn bury(world: &mut World, id: NodeId) {
    let views: Vec<(usize, SavedCluster)> =
        machines(world).into_iter().filter_map(|node| Some((node, view(world, node)?))).collect();
    let matters = |view: &SavedCluster| view.nodes.iter().any(|seen| seen.id == id && !seen.slots.is_empty());
    if views.iter().any(|(_, view)| matters(view)) {
        return;
    }
    for (node, _) in views {
        if knows(world, node, id) {
            world.order(node, Admin::Forget(id));
        }
    }
}
