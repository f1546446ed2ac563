//! The links of the bus: one that we dial to every node, and those that others have dialled.

use super::crash::Side;
use super::{Actions, Cluster, LinkOrder, Now, Target};
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::collections::BTreeMap;
use slotmesh_base::UnixMillis;

/// The name of a link between the machine and its driver.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LinkId(u64);

impl LinkId {
    /// The `number`th link that somebody has dialled to us; each number once.
    pub const fn accepted(number: u64) -> Self {
        Self(number << 1 | 1)
    }

    const fn dialled(number: u64) -> Self {
        Self(number << 1)
    }

    /// Whether we are the ones who have dialled.
    pub const fn is_ours(self) -> bool {
        self.0 & 1 == 0
    }
}

/// How a link has ended, or why a dial has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LinkEnd {
    /// The other end has closed it in good order (FIN).
    Closed,
    /// The other end, or somebody in between, has torn it (RST).
    Reset,
    /// The dial was refused: nobody listens there.
    Refused,
    /// Nobody has answered.
    TimedOut,
    /// By us, or nobody knows.
    Other,
}

/// A link that somebody has dialled.
#[derive(Debug)]
pub(super) struct Inbound {
    /// Who it is, once it has said so and we know it.
    pub(super) node: Option<NodeIndex>,
    pub(super) peer: Option<Host>,
    pub(super) local: Option<Host>,
    since: i64,
}

/// All links by name.
#[derive(Default, Debug)]
pub(super) struct Links {
    dialled: u64,
    outbound: BTreeMap<LinkId, NodeIndex>,
    inbound: BTreeMap<LinkId, Inbound>,
}

impl Links {
    pub(super) fn accept(&mut self, link: LinkId, peer: Option<Host>, local: Option<Host>, now: i64) {
        self.inbound.insert(link, Inbound { node: None, peer, local, since: now });
    }

    /// The node that we dialled on this link.
    pub(super) fn outbound(&self, link: LinkId) -> Option<NodeIndex> {
        if link.is_ours() { self.outbound.get(&link).copied() } else { None }
    }

    pub(super) fn inbound(&self, link: LinkId) -> Option<&Inbound> {
        if link.is_ours() { None } else { self.inbound.get(&link) }
    }
}

/// A link as CLUSTER LINKS shows it.
#[derive(Clone, Copy, Debug)]
pub struct LinkReport {
    /// Which, for the driver that knows its queue.
    pub link: LinkId,
    /// The node at its other end.
    pub node: NodeId,
    /// When it came to be.
    pub created: UnixMillis,
}

impl Cluster {
    /// Dials a node that has no link and an address.
    pub(super) fn dial(&mut self, now: Now, node: NodeIndex, actions: &mut Actions) {
        let row = self.table.row(node);
        let target = match (self.sibling(&row.id), &row.host) {
            (Some(index), _) => Target::Sibling(index),
            (None, Some(host)) if row.bus_port != 0 => Target::Tcp(host.clone(), row.bus_port),
            (None, _) => return,
        };
        self.links.dialled += 1;
        let link = LinkId::dialled(self.links.dialled);
        self.links.outbound.insert(link, node);
        let row = self.table.row_mut(node);
        (row.link, row.is_linked, row.linked_at) = (Some(link), false, now.ms());
        actions.links.push(LinkOrder::Dial(link, target));
    }

    /// Closes the link that we dialled to a node, if there is one; the next tick dials anew.
    pub(super) fn hang_up(&mut self, node: NodeIndex, actions: &mut Actions) {
        self.clear_crash(node);
        let row = self.table.row_mut(node);
        (row.is_linked, row.linked_at) = (false, 0);
        if let Some(link) = row.link.take() {
            self.links.outbound.remove(&link);
            actions.links.push(LinkOrder::Close(link));
        }
    }

    /// Closes a link that a node has dialled to us.
    pub(super) fn turn_away(&mut self, link: LinkId, actions: &mut Actions) {
        if self.links.inbound.remove(&link).is_some() {
            actions.links.push(LinkOrder::Close(link));
        }
    }

    pub(super) fn link_up(&mut self, now: Now, link: LinkId, peer: Option<Host>, actions: &mut Actions) {
        let Some(node) = self.links.outbound(link) else { return };
        self.clear_crash(node);
        let row = self.table.row_mut(node);
        row.is_linked = true;
        // Gossip tells addresses: a name serves to find one.
        if let (Some(Host::Name(_)), Some(peer)) = (&row.host, peer) {
            row.host = Some(peer);
            self.mark_all();
        }
        let row = self.table.row_mut(node);
        let pending = row.ping_sent;
        let is_meeting = row.has(NodeFlags::MEET);
        row.flags.remove(NodeFlags::MEET);
        self.ping(now, node, is_meeting, actions);
        // A new link does not excuse that an older PING went unanswered.
        if pending != 0 {
            self.table.row_mut(node).ping_sent = pending;
        }
    }

    pub(super) fn link_down(&mut self, now: Now, link: LinkId, why: LinkEnd) {
        if let Some(node) = self.links.outbound.remove(&link) {
            let row = self.table.row_mut(node);
            if !row.is_linked && row.ping_sent == 0 {
                // Nobody is there: the time until it is suspected runs.
                row.ping_sent = now.ms();
            }
            let stood = row.is_linked;
            (row.link, row.is_linked, row.linked_at) = (None, false, 0);
            match stood {
                true => self.note_end(now, node, Side::Ours, why),
                false => self.note_failed_dial(node, why),
            }
        }
        if let Some(Inbound { node: Some(node), .. }) = self.links.inbound.remove(&link) {
            self.table.row_mut(node).inbound = None;
            self.note_end(now, node, Side::Theirs, why);
        }
    }

    /// A link belongs to the node that speaks on it; an older one of the same node is closed.
    pub(super) fn bind(&mut self, link: LinkId, node: NodeIndex, actions: &mut Actions) {
        let Some(inbound) = self.links.inbound.get_mut(&link) else { return };
        let former = inbound.node.replace(node);
        if former == Some(node) {
            return;
        }
        if let Some(former) = former {
            self.table.row_mut(former).inbound = None;
        }
        self.clear_crash(node);
        if let Some(old) = self.table.row_mut(node).inbound.replace(link) {
            self.turn_away(old, actions);
        }
    }

    /// Number of links whose other end has not said yet who it is, or is nobody whom we know.
    pub fn strangers(&self) -> usize {
        self.links.inbound.values().filter(|inbound| inbound.node.is_none()).count()
    }

    /// Whether a link that somebody has dialled belongs to a node that we know.
    pub fn is_bound(&self, link: LinkId) -> bool {
        self.links.inbound(link).is_some_and(|inbound| inbound.node.is_some())
    }

    /// All links that belong to a node.
    pub fn links(&self, now: Now) -> impl Iterator<Item = LinkReport> {
        let report = move |link, node: NodeIndex, since| LinkReport {
            link,
            node: self.table.row(node).id,
            created: now.unix_of(since),
        };
        let outbound =
            self.links.outbound.iter().map(move |(&link, &node)| (link, node, self.table.row(node).linked_at));
        let inbound =
            self.links.inbound.iter().filter_map(|(&link, inbound)| Some((link, inbound.node?, inbound.since)));
        outbound.chain(inbound).map(move |(link, node, since)| report(link, node, since))
    }
}
