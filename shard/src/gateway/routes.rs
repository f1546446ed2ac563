//! Which node has which slot, as a gateway must know it: by address.

use slotmesh_base::{SLOT_COUNT, Slot};
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{Node, NodeId, NodeIndex, Topology};
use std::net::{IpAddr, SocketAddr};

/// What a core knows of its cluster.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// All nodes; nothing, if there is none of ours.
    pub topology: Option<&'a Topology>,
    /// Whether a slot is served in this process.
    pub is_ours: &'a dyn Fn(Slot) -> bool,
}

/// Who has a slot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A core of this process.
    Ours,
    /// A node of another one, by its number here.
    Peer(u16),
    /// Nobody, or nobody who can be reached.
    Nobody,
    /// A node of this process which has not said so yet.
    Soon,
}

impl Owner {
    const OURS: u16 = u16::MAX;
    const NOBODY: u16 = u16::MAX - 1;
    const SOON: u16 = u16::MAX - 2;

    #[inline]
    fn of(number: u16) -> Self {
        match number {
            Self::OURS => Self::Ours,
            Self::NOBODY => Self::Nobody,
            Self::SOON => Self::Soon,
            peer => Self::Peer(peer),
        }
    }
}

/// A master of another process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Master {
    /// Its number here.
    pub(crate) peer: u16,
    /// The first of its slots.
    pub first: Slot,
    /// Number of its slots.
    pub slots: u32,
    /// Its name.
    id: NodeId,
}

/// The owners of all slots.
#[derive(Debug)]
pub struct Routes {
    owners: Box<[u16; SLOT_COUNT]>,
    masters: Vec<Master>,
    /// Replicas that are well, of the masters with these numbers.
    replicas: Vec<(u16, Vec<u16>)>,
    failed: Vec<u16>,
    /// Addresses of nodes that have names.
    named: Vec<(Box<str>, SocketAddr)>,
    has_remote: bool,
    has_local: bool,
}

impl Default for Routes {
    /// Nobody has anything.
    fn default() -> Self {
        Self {
            owners: Box::new([Owner::NOBODY; SLOT_COUNT]),
            masters: Vec::new(),
            replicas: Vec::new(),
            failed: Vec::new(),
            named: Vec::new(),
            has_remote: false,
            has_local: false,
        }
    }
}

impl Routes {
    /// Who has a slot.
    #[inline]
    pub fn owner(&self, slot: Slot) -> Owner {
        Owner::of(self.owners[slot.index()])
    }

    /// Whether a slot is served in this process.
    #[inline]
    pub fn is_ours(&self, slot: Slot) -> bool {
        self.owners[slot.index()] == Owner::OURS
    }

    /// The masters of other processes that have slots, by their names: slots that move do not change the order.
    pub fn masters(&self) -> &[Master] {
        &self.masters
    }

    /// A number that tells the masters of now from those of another time, more often than not.
    pub(crate) fn masters_mark(&self) -> u64 {
        let bytes = self.masters.iter().flat_map(|master| master.id.as_str().bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    /// Whether this process has slots.
    pub fn has_local(&self) -> bool {
        self.has_local
    }

    /// Whether others have slots.
    #[inline]
    pub fn has_remote(&self) -> bool {
        self.has_remote
    }

    /// Whether this process has had a slot, among these owners by slot, that it has no more.
    pub(crate) fn has_lost_ours(&self, old: &[u16]) -> bool {
        old.iter().zip(self.owners.iter()).any(|(&old, &new)| old == Owner::OURS && new != Owner::OURS)
    }

    pub(crate) fn replicas(&self, master: u16) -> &[u16] {
        self.replicas.iter().find(|(of, _)| *of == master).map_or(&[], |(_, replicas)| replicas)
    }

    pub(crate) fn has_failed(&self, peer: u16) -> bool {
        self.failed.contains(&peer)
    }

    /// The address of a node that has a name.
    pub(crate) fn named(&self, host: &str, port: u16) -> Option<SocketAddr> {
        self.named.iter().find(|(name, address)| **name == *host && address.port() == port).map(|&(_, address)| address)
    }

    /// Numbers of all nodes that something leads to.
    pub(crate) fn peers(&self) -> impl Iterator<Item = u16> {
        let replicas = self.replicas.iter().flat_map(|(_, replicas)| replicas.iter().copied());
        self.masters.iter().map(|master| master.peer).chain(replicas)
    }

    /// Takes another view; `number_of` numbers the addresses. Gives the owners of before, by slot.
    pub(crate) fn replace(
        &mut self,
        view: &View<'_>,
        mut number_of: impl FnMut(SocketAddr) -> Option<u16>,
    ) -> Box<[u16; SLOT_COUNT]> {
        let mut new = Self::default();
        let address = |node: &Node| {
            let ip: IpAddr = node.ip.parse().ok()?;
            Some(SocketAddr::new(ip, node.port))
        };
        let mut numbers: Vec<u16> = Vec::new();
        for (_, node) in view.topology.into_iter().flat_map(Topology::nodes) {
            let owns_or_follows = node.master.is_some() || node.flags.contains(NodeFlags::MASTER);
            let number = match address(node) {
                _ if node.ip.is_empty() => Owner::SOON,
                Some(address) if owns_or_follows => {
                    if let Some(name) = &node.hostname {
                        new.named.push((name.clone(), address));
                    }
                    number_of(address).unwrap_or(Owner::NOBODY)
                }
                _ => Owner::NOBODY,
            };
            if number < Owner::SOON && node.flags.contains(NodeFlags::FAIL) {
                new.failed.push(number);
            }
            numbers.push(number);
        }
        let mut slots_of = vec![(0u32, Slot::new(0)); numbers.len()];
        for slot in (0..SLOT_COUNT as u16).filter_map(Slot::new) {
            let owner = view.topology.and_then(|topology| topology.owner(slot));
            new.owners[slot.index()] = match owner {
                _ if (view.is_ours)(slot) => Owner::OURS,
                Some(NodeIndex(node)) => {
                    let (count, first) = &mut slots_of[usize::from(node)];
                    if *count == 0 {
                        *first = Some(slot);
                    }
                    *count += 1;
                    numbers[usize::from(node)]
                }
                None => Owner::NOBODY,
            };
        }
        new.has_local = new.owners.contains(&Owner::OURS);
        if let Some(topology) = view.topology {
            new.note_masters(topology, &numbers, &slots_of);
        }
        new.has_remote = !new.masters.is_empty();
        std::mem::replace(self, new).owners
    }

    fn note_masters(&mut self, topology: &Topology, numbers: &[u16], slots_of: &[(u32, Option<Slot>)]) {
        for (index, node) in topology.nodes() {
            let (place, number) = (usize::from(index.0), numbers[usize::from(index.0)]);
            let (slots, Some(first)) = slots_of[place] else { continue };
            if slots == 0 || number >= Owner::SOON {
                continue;
            }
            self.masters.push(Master { peer: number, first, slots, id: node.id });
            let is_well =
                |replica: &&(NodeIndex, &Node)| !replica.1.flags.intersects(NodeFlags::FAIL.union(NodeFlags::PFAIL));
            let replicas = topology.nodes().filter(|(_, replica)| replica.master == Some(index));
            let replicas: Vec<_> = replicas.collect();
            let well = replicas.iter().filter(is_well).map(|(replica, _)| numbers[usize::from(replica.0)]);
            let well: Vec<u16> = well.filter(|&number| number < Owner::SOON).collect();
            if !well.is_empty() {
                self.replicas.push((number, well));
            }
        }
        self.masters.sort_by_key(|master| master.id);
    }
}
