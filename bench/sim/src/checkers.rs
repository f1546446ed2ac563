//! What must hold at every moment, and what must hold when all is quiet again.

use crate::world::World;
use slotmesh_cluster::nodes_conf::{self, SavedCluster};
use slotmesh_cluster::wire::{self, Heartbeat, MessageFlags, NodeFlags, Payload};
use slotmesh_cluster::{NodeId, SlotSet};
use std::collections::{BTreeMap, BTreeSet};

/// Nodes that a view may hold beyond those that ever lived: handshakes, which go by themselves.
const HANDSHAKES_MAX: usize = 64;

/// Who sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sender {
    Machine {
        /// Whether it may ask for votes without an order: it has data of its master that are not too old.
        may_stand: bool,
    },
    /// A machine that has lost its data and has not been replaced.
    Silent,
    Puppet,
}

/// What must hold at every moment. The first failure ends the run.
#[derive(Default)]
pub(crate) struct Safety {
    pub(crate) failure: Option<String>,
    /// Epochs come from votes alone: then one epoch gives a slot to one master, for ever.
    pub(crate) is_strict: bool,
    /// Who has claimed what in which epoch.
    claims: BTreeMap<u64, BTreeMap<NodeId, SlotSet>>,
    /// The greatest configEpoch and currentEpoch that a node has told.
    epochs: BTreeMap<NodeId, (u64, u64)>,
    /// Whom a node has voted for in an epoch.
    votes: BTreeMap<(NodeId, u64), NodeId>,
    ids: BTreeMap<usize, NodeId>,
    all_ids: BTreeSet<NodeId>,
    /// A name that no view may hold but that of the node who bears it.
    forgotten: Option<(NodeId, usize)>,
}

impl Safety {
    pub(crate) fn fail(&mut self, words: String) {
        self.failure.get_or_insert(words);
    }

    pub(crate) fn former_id(&self, node: usize) -> Option<NodeId> {
        self.ids.get(&node).copied()
    }

    pub(crate) fn lives_as(&mut self, node: usize, id: NodeId) {
        self.ids.insert(node, id);
        self.all_ids.insert(id);
    }

    /// From now on nobody but its bearer may hold this name.
    pub(crate) fn forgotten_by(&mut self, id: NodeId, bearer: usize) {
        self.forgotten = Some((id, bearer));
    }

    /// Number of votes that were given.
    pub(crate) fn votes(&self) -> usize {
        self.votes.len()
    }

    /// Ids that somebody lived under.
    pub(crate) fn all_ids(&self) -> impl Iterator<Item = NodeId> {
        self.all_ids.iter().copied()
    }

    /// A message leaves for a node; whether it is a promise: a vote of a machine, or an epoch that it tells for the first
    /// time.
    pub(crate) fn sent(&mut self, sender: Sender, to: &NodeId, frame: &[u8]) -> bool {
        let message = match wire::decode(frame) {
            Ok(message) => message,
            Err(bad) => {
                self.fail(format!("a node sent what nobody can read: {bad}"));
                return false;
            }
        };
        let header = message.header;
        self.all_ids.insert(header.sender);
        if header.master.is_none() {
            self.claimed(header.sender, header.config_epoch, &header.slots);
        }
        let id = header.sender;
        match (sender, &message.payload) {
            (Sender::Puppet, _) => return false,
            // Only a PONG says that a node is well, and gossip of one who asks nobody says nothing.
            (Sender::Silent, Payload::Heartbeat { kind: Heartbeat::Ping, gossip, .. })
                if gossip.iter().next().is_none() => {}
            (Sender::Silent, Payload::AuthAck | Payload::ManualFailoverStart) => {}
            (Sender::Silent, _) => self.fail(format!("{id} has lost its data and says {:?}", wire::kind(frame))),
            (Sender::Machine { may_stand: false }, Payload::AuthRequest)
                if !header.message_flags.contains(MessageFlags::FORCE_ACK) =>
            {
                self.fail(format!("{id} stands by itself, with data that are too old, or none of its master's"));
            }
            (Sender::Machine { .. }, _) => {}
        }
        if matches!(message.payload, Payload::AuthAck) {
            // Its epoch is that of the election.
            self.voted(header.sender, header.current_epoch, *to);
            return true;
        }
        let former = *self.epochs.entry(header.sender).or_default();
        // A replica tells its master's configEpoch.
        let told = (if header.master.is_none() { header.config_epoch } else { former.0 }, header.current_epoch);
        if told.0 < former.0 || told.1 < former.1 {
            let (config, current) = former;
            let now = format!("and now {} and {}", told.0, told.1);
            self.fail(format!("{id} told configEpoch {config} and currentEpoch {current}, {now}"));
        }
        self.epochs.insert(header.sender, (told.0.max(former.0), told.1.max(former.1)));
        told != former
    }

    /// A node gives one vote in an epoch.
    fn voted(&mut self, voter: NodeId, epoch: u64, candidate: NodeId) {
        let former = *self.votes.entry((voter, epoch)).or_insert(candidate);
        if former != candidate {
            self.fail(format!("{voter} voted for {former} and for {candidate} in epoch {epoch}"));
        }
    }

    /// A master claims slots, to others or to its clients.
    fn claimed(&mut self, id: NodeId, epoch: u64, slots: &SlotSet) {
        if !self.is_strict || epoch == 0 || slots.is_empty() {
            return;
        }
        let claims = self.claims.entry(epoch).or_default();
        if claims.get(&id) == Some(slots) {
            return;
        }
        let overlaps = |other: &SlotSet| other.as_bytes().iter().zip(slots.as_bytes()).any(|(a, b)| a & b != 0);
        let rival = claims.iter().find(|(other, set)| **other != id && overlaps(set)).map(|(other, _)| *other);
        claims.insert(id, slots.clone());
        if let Some(rival) = rival {
            self.fail(format!("{id} and {rival} claim the same slots in epoch {epoch}"));
        }
    }

    /// What a node sees, when it has changed.
    pub(crate) fn view_of(&mut self, node: usize, now_ns: u64, text: &str) {
        let view = match nodes_conf::parse(text.as_bytes()) {
            Ok(view) => view,
            Err(bad) => return self.fail(format!("CLUSTER NODES of node {node} is none: {bad}\n{text}")),
        };
        let most = self.all_ids.len() + HANDSHAKES_MAX;
        if view.nodes.len() > most {
            self.fail(format!("node {node} knows {} nodes; {most} would be many", view.nodes.len()));
        }
        for seen in &view.nodes {
            if self.forgotten.is_some_and(|(id, bearer)| id == seen.id && bearer != node) {
                let at = now_ns / 1_000_000;
                self.fail(format!("node {node} holds {} again at {at} ms, which was forgotten", seen.id));
            }
            if seen.flags.contains(NodeFlags::MYSELF | NodeFlags::MASTER) {
                self.claimed(seen.id, seen.config_epoch, &set_of(&seen.slots));
            }
        }
    }
}

fn set_of(ranges: &[(u16, u16)]) -> SlotSet {
    let mut set = SlotSet::default();
    for slot in ranges.iter().flat_map(|&(first, last)| first..=last).filter_map(slotmesh_base::Slot::new) {
        set.insert(slot);
    }
    set
}

/// The view of a node that is a machine and alive.
pub(crate) fn view(world: &World, node: usize) -> Option<SavedCluster> {
    let text = world.cluster(node)?.nodes_text(world.now_of(node), "");
    nodes_conf::parse(text.as_bytes()).ok()
}

/// Masters with their epochs and runs of slots.
type Owners = BTreeMap<NodeId, (u64, Vec<(u16, u16)>)>;

/// Why the nodes do not agree; `None` if they do: all hold the same nodes, all well, the same owners and epochs, and
/// serve if all slots have an owner.
pub(crate) fn disagreement(world: &World, living: &BTreeSet<NodeId>) -> Option<String> {
    let mut first: Option<(usize, Owners)> = None;
    for node in 0..world.nodes.len() {
        let Some(cluster) = world.cluster(node) else { continue };
        let Some(view) = view(world, node) else { return Some(format!("node {node} has no view")) };
        let known: BTreeSet<NodeId> = view.nodes.iter().map(|seen| seen.id).collect();
        if known != *living {
            let missing: Vec<String> = living.difference(&known).map(ToString::to_string).collect();
            let added: Vec<String> = known.difference(living).map(ToString::to_string).collect();
            return Some(format!("node {node} lacks {missing:?} and has {added:?} too much"));
        }
        let bad = NodeFlags::PFAIL | NodeFlags::FAIL | NodeFlags::HANDSHAKE | NodeFlags::NO_ADDRESS;
        if let Some(seen) = view.nodes.iter().find(|seen| seen.flags.intersects(bad) || !seen.is_connected) {
            return Some(format!(
                "node {node} sees {} as {} still, connected: {}",
                seen.id, seen.flags, seen.is_connected
            ));
        }
        let masters = view.nodes.iter().filter(|seen| seen.flags.contains(NodeFlags::MASTER));
        let owners: Owners = masters.map(|seen| (seen.id, (seen.config_epoch, seen.slots.clone()))).collect();
        let with_slots = owners.values().filter(|(_, slots)| !slots.is_empty());
        let epochs: Vec<u64> = with_slots.map(|&(epoch, _)| epoch).collect();
        if epochs.iter().collect::<BTreeSet<_>>().len() != epochs.len() {
            return Some(format!("node {node} sees two masters with one epoch: {epochs:?}"));
        }
        let covered: usize = owners.values().flat_map(|(_, slots)| slots).map(|&(a, b)| usize::from(b - a) + 1).sum();
        if cluster.is_ok() != (covered == slotmesh_base::SLOT_COUNT) {
            return Some(format!("node {node} serves: {}, though {covered} slots have owners", cluster.is_ok()));
        }
        match &first {
            None => first = Some((node, owners)),
            Some((other, theirs)) if *theirs != owners => {
                return Some(format!("nodes {other} and {node} disagree: {theirs:?} and {owners:?}"));
            }
            Some(_) => {}
        }
    }
    None
}
