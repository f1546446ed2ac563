//! Who is in the cluster and who owns which slot: the view of one moment.

use crate::node::Node;
use crate::redirect::Redirect;
use crate::wire::NodeFlags;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::RangeInclusive;
use slotmesh_base::{SLOT_COUNT, Slot};

/// The place of a node in its topology.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct NodeIndex(pub u16);

/// Stands for a slot without owner.
pub(crate) const NOBODY: u16 = u16::MAX;

/// All nodes, and the owner of each slot.
#[derive(Clone, Debug)]
pub struct Topology {
    nodes: Vec<Node>,
    owners: Box<[u16; SLOT_COUNT]>,
    serving: Serving,
    manners: Manners,
    /// Number of slots with an owner.
    assigned: usize,
}

/// What a redirect tells clients to dial (`cluster-preferred-endpoint-type`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Endpoint {
    /// The address.
    #[default]
    Ip,
    /// The announced host name.
    Hostname,
    /// Whatever the client has dialled already, with another port.
    Unknown,
}

/// How a node treats its clients, by its directives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Manners {
    /// `cluster-preferred-endpoint-type`.
    pub endpoint: Endpoint,
    /// `cluster-allow-reads-when-down`.
    pub allows_reads_when_down: bool,
    /// `cluster-allow-pubsubshard-when-down`.
    pub allows_shard_channels_when_down: bool,
}

/// What a request does with the slots that it names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Reads keys.
    Read,
    /// Changes keys.
    Write,
    /// Uses shard channels.
    ShardChannel,
}

/// When a cluster serves.
#[derive(Clone, Copy, Debug)]
enum Serving {
    /// With or without all slots.
    ByCoverage { requires_all: bool },
    /// As the machine says.
    Told(bool),
}

impl Topology {
    /// A cluster of these nodes, in which nobody owns a slot yet.
    ///
    /// # Panics
    /// If there are more nodes than slots, or none.
    pub fn new(nodes: Vec<Node>, requires_full_coverage: bool) -> Self {
        assert!((1..=SLOT_COUNT).contains(&nodes.len()), "a cluster has nodes, each at least one slot of its own");
        let serving = Serving::ByCoverage { requires_all: requires_full_coverage };
        Self { nodes, owners: Box::new([NOBODY; SLOT_COUNT]), serving, manners: Manners::default(), assigned: 0 }
    }

    /// The view of a node that has judged the state itself. Owners follow by [`assign_one`](Self::assign_one), then
    /// [`count`](Self::count).
    pub(crate) fn told(nodes: Vec<Node>, is_ok: bool, manners: Manners) -> Self {
        let owners = Box::new([NOBODY; SLOT_COUNT]);
        Self { nodes, owners, serving: Serving::Told(is_ok), manners, assigned: 0 }
    }

    pub(crate) fn assign_one(&mut self, slot: usize, node: NodeIndex) {
        self.owners[slot] = node.0;
    }

    pub(crate) fn count(&mut self) {
        self.assigned = self.owners.iter().filter(|&&owner| owner != NOBODY).count();
    }

    /// Gives slots to a node.
    pub fn assign(&mut self, node: NodeIndex, slots: RangeInclusive<u16>) {
        self.owners[usize::from(*slots.start())..=usize::from(*slots.end())].fill(node.0);
        self.count();
    }

    /// A node.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[usize::from(index.0)]
    }

    /// All nodes with their places.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        (0..).map(NodeIndex).zip(&self.nodes)
    }

    /// The replicas of a master.
    pub fn replicas(&self, master: NodeIndex) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(move |node| node.master == Some(master))
    }

    /// Who owns a slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Option<NodeIndex> {
        let owner = self.owners[slot.index()];
        (owner != NOBODY).then_some(NodeIndex(owner))
    }

    /// Runs of slots with one owner, ascending: first slot, last slot, owner.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16, NodeIndex)> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let start = from + self.owners[from..].iter().position(|&owner| owner != NOBODY)?;
            let owner = self.owners[start];
            let more = self.owners[start..].iter().take_while(|&&other| other == owner).count();
            from = start + more;
            Some((start as u16, (from - 1) as u16, NodeIndex(owner)))
        })
    }

    /// The runs of one node's slots.
    pub fn ranges_of(&self, node: NodeIndex) -> impl Iterator<Item = (u16, u16)> {
        self.ranges().filter(move |&(_, _, owner)| owner == node).map(|(first, last, _)| (first, last))
    }

    /// Number of slots that have an owner.
    pub fn assigned(&self) -> usize {
        self.assigned
    }

    /// Whether the cluster serves.
    #[inline]
    pub fn is_ok(&self) -> bool {
        match self.serving {
            Serving::ByCoverage { requires_all } => !requires_all || self.assigned == SLOT_COUNT,
            Serving::Told(is_ok) => is_ok,
        }
    }

    /// Where the keys of a request that has come to node `myself` belong, by their slots in the order of the request:
    /// nothing if it is served here (Redis 7.2 `cluster.c` `getNodeByQuery`; a request without keys is served anywhere).
    /// A replica serves what is its master's to those who read and have said READONLY, and to those who use shard
    /// channels.
    ///
    /// # Errors
    /// Why it is not.
    #[inline]
    pub fn judge(
        &self,
        myself: NodeIndex,
        mut slots: impl Iterator<Item = Slot>,
        access: Access,
        is_readonly: bool,
    ) -> Result<(), Redirect> {
        let Some(first) = slots.next() else { return Ok(()) };
        let Some(owner) = self.owner(first) else { return Err(Redirect::SlotNotServed) };
        if slots.any(|slot| slot != first) {
            return Err(Redirect::CrossSlot);
        }
        if !self.is_ok() {
            self.judge_while_down(access)?;
        }
        if owner == myself || self.is_served_by_replica(myself, owner, access, is_readonly) {
            return Ok(());
        }
        Err(Redirect::Moved(first))
    }

    fn is_served_by_replica(&self, myself: NodeIndex, owner: NodeIndex, access: Access, is_readonly: bool) -> bool {
        let is_allowed = match access {
            Access::Read => is_readonly,
            Access::Write => false,
            Access::ShardChannel => true,
        };
        is_allowed && self.leader(myself) == Some(owner)
    }

    /// The master of a replica.
    fn leader(&self, node: NodeIndex) -> Option<NodeIndex> {
        let node = self.node(node);
        node.master.filter(|_| !node.flags.contains(NodeFlags::MASTER))
    }

    /// Whether a cluster that does not serve serves this all the same.
    #[cold]
    fn judge_while_down(&self, access: Access) -> Result<(), Redirect> {
        match access {
            Access::ShardChannel if self.manners.allows_shard_channels_when_down => Ok(()),
            // Whether keys may be read says nothing about channels.
            Access::ShardChannel => Err(Redirect::ClusterDown),
            _ if !self.manners.allows_reads_when_down => Err(Redirect::ClusterDown),
            Access::Write => Err(Redirect::ReadOnly),
            Access::Read => Ok(()),
        }
    }

    /// The address of a slot's owner as a redirect names it, for a client that has reached us at `here`; empty where
    /// the client shall dial what it has dialled.
    pub(crate) fn owner_address<'a>(&'a self, slot: Slot, here: &'a str) -> Option<(&'a str, u16)> {
        let node = self.owner(slot).map(|owner| self.node(owner))?;
        Some((self.endpoint(node, here).unwrap_or_default(), node.port))
    }

    /// What a client that has reached us at `here` shall dial to reach a node; `None` for what it has dialled.
    pub(crate) fn endpoint<'a>(&self, node: &'a Node, here: &'a str) -> Option<&'a str> {
        match self.manners.endpoint {
            Endpoint::Ip => Some(node.ip(here)),
            Endpoint::Hostname => Some(node.hostname.as_deref().unwrap_or("?")),
            Endpoint::Unknown => None,
        }
    }

    /// The directive that decides what clients dial.
    pub(crate) fn endpoint_type(&self) -> Endpoint {
        self.manners.endpoint
    }
}

/// A node's own place in its cluster.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The cluster.
    pub topology: &'a Topology,
    /// Who we are in it.
    pub myself: NodeIndex,
}

impl<'a> Member<'a> {
    /// The node.
    pub fn node(self) -> &'a Node {
        self.topology.node(self.myself)
    }

    /// Whether it has the keys of a slot: the slot is its own, or its master's.
    pub fn holds(self, slot: Slot) -> bool {
        let owner = self.topology.owner(slot);
        owner.is_some() && (owner == Some(self.myself) || owner == self.topology.leader(self.myself))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::NodeId;
    use alloc::string::String;
    use std::vec;

    pub(crate) fn node(number: u64) -> Node {
        Node {
            id: NodeId::of_random([number; 3]),
            shard_id: NodeId::of_random([number + 8; 3]),
            ip: String::new(),
            port: 7000 + number as u16,
            other_port: 0,
            bus_port: 17000 + number as u16,
            hostname: None,
            flags: NodeFlags::MASTER,
            master: None,
            offset: 0,
            config_epoch: number + 1,
            heard_at_ms: 1000,
        }
    }

    /// Three nodes that own all slots, the first one a single slot apart from the rest.
    pub(crate) fn three() -> Topology {
        let mut topology = Topology::new(vec![node(0), node(1), node(2)], true);
        topology.assign(NodeIndex(0), 0..=5460);
        topology.assign(NodeIndex(1), 5461..=10921);
        topology.assign(NodeIndex(2), 10922..=16382);
        topology.assign(NodeIndex(0), 16383..=16383);
        topology
    }

    fn slot(number: u16) -> Slot {
        Slot::new(number).unwrap()
    }

    #[test]
    fn runs_of_slots_are_found() {
        let topology = three();
        assert_eq!(topology.ranges_of(NodeIndex(0)).collect::<Vec<_>>(), [(0, 5460), (16383, 16383)]);
        assert_eq!(topology.ranges().count(), 4);
        assert_eq!(Topology::new(vec![node(0)], true).ranges().count(), 0);
    }

    #[test]
    fn a_request_goes_where_its_keys_are() {
        let topology = three();
        let judge =
            |slots: &[u16]| topology.judge(NodeIndex(1), slots.iter().map(|&number| slot(number)), Access::Read, false);
        assert_eq!(judge(&[]), Ok(()));
        assert_eq!(judge(&[6000, 6000]), Ok(()));
        assert_eq!(judge(&[6000, 6001]), Err(Redirect::CrossSlot));
        assert_eq!(judge(&[5]), Err(Redirect::Moved(slot(5))));
        // Which slots they are comes before whose.
        assert_eq!(judge(&[5, 6]), Err(Redirect::CrossSlot));
    }

    #[test]
    fn a_replica_serves_readers_who_wish_it() {
        let replica = Node { flags: NodeFlags::REPLICA, master: Some(NodeIndex(1)), ..node(3) };
        let mut topology = Topology::new(vec![node(0), node(1), node(2), replica], false);
        topology.assign(NodeIndex(0), 0..=9);
        topology.assign(NodeIndex(1), 10..=19);
        let judge =
            |number, access, is_readonly| topology.judge(NodeIndex(3), [slot(number)].into_iter(), access, is_readonly);
        let moved = |number| Err(Redirect::Moved(slot(number)));
        assert_eq!(judge(12, Access::Read, false), moved(12));
        assert_eq!(judge(12, Access::Read, true), Ok(()));
        assert_eq!(judge(12, Access::Write, true), moved(12));
        assert_eq!(judge(12, Access::ShardChannel, false), Ok(()));
        assert_eq!(judge(3, Access::Read, true), moved(3));
        assert_eq!(judge(3, Access::ShardChannel, true), moved(3));
        let member = Member { topology: &topology, myself: NodeIndex(3) };
        assert_eq!([3, 12, 100].map(|number| member.holds(slot(number))), [false, true, false]);
    }

    #[test]
    fn a_cluster_with_holes_is_down() {
        for requires_full_coverage in [true, false] {
            let mut topology = Topology::new(vec![node(0), node(1)], requires_full_coverage);
            let judge = |topology: &Topology, number| {
                topology.judge(NodeIndex(0), [slot(number)].into_iter(), Access::Read, false)
            };
            assert_eq!(judge(&topology, 7), Err(Redirect::SlotNotServed));
            topology.assign(NodeIndex(0), 0..=9);
            topology.assign(NodeIndex(1), 10..=19);
            let down = |result| if requires_full_coverage { Err(Redirect::ClusterDown) } else { result };
            assert_eq!(judge(&topology, 7), down(Ok(())));
            assert_eq!(judge(&topology, 12), down(Err(Redirect::Moved(slot(12)))));
            assert_eq!(judge(&topology, 100), Err(Redirect::SlotNotServed));
        }
    }

    #[test]
    fn a_cluster_that_is_down_serves_what_it_is_told_to() {
        let judge = |manners, access| {
            let mut topology = Topology::told(vec![node(0)], false, manners);
            topology.assign(NodeIndex(0), 0..=16383);
            topology.judge(NodeIndex(0), [slot(7)].into_iter(), access, false)
        };
        let all = [Access::Read, Access::Write, Access::ShardChannel];
        let down = Err(Redirect::ClusterDown);
        assert_eq!(all.map(|access| judge(Manners::default(), access)), [down; 3]);
        let reads = Manners { allows_reads_when_down: true, ..Manners::default() };
        assert_eq!(all.map(|access| judge(reads, access)), [Ok(()), Err(Redirect::ReadOnly), down]);
        let channels = Manners { allows_shard_channels_when_down: true, ..Manners::default() };
        assert_eq!(all.map(|access| judge(channels, access)), [down, down, Ok(())]);
    }
}
