//! A stock-like replica: no more of one than it takes to ask masters for votes, and to win.
//!
//! It greets every node with MEET, follows its master by name, and when it hears that the master has failed it asks for
//! votes as Redis does. With a majority of the first masters it takes the master's slots in the epoch of the vote.

use slotmesh_base::Rng;
use slotmesh_cluster::machine::{Actions, Input, LinkId, LinkOrder, Now, Target};
use slotmesh_cluster::wire::{self, Extension, Header, Heartbeat, MessageFlags, NodeFlags, Payload};
use slotmesh_cluster::{Host, NodeId, SlotSet};

/// Its own links have names of their own: nobody accepts so many.
const FIRST_DIAL: u64 = 1 << 40;
/// Ticks between two heartbeats.
const TICKS_PER_PING: u64 = 5;

/// Where a node lives: host, port of the bus.
type Address = (Host, u16);

/// A replica.
pub(crate) struct Puppet {
    header: Header,
    shard_id: NodeId,
    /// Masters whose votes count, the master among them.
    voters: Vec<NodeId>,
    /// How many votes make it a master.
    wanted: usize,
    /// Whom it greets, on which link, and whether the link stands.
    peers: Vec<(Address, Option<LinkId>, bool)>,
    dials: u64,
    ticks: u64,
    has_failed: bool,
    /// The epoch in which it asks, and who has given a vote.
    asking: Option<u64>,
    votes: Vec<NodeId>,
    asked_at: u64,
    /// The first epoch in which it may ask again: after those that masters began with.
    least_epoch: u64,
    rng: Rng,
}

impl Puppet {
    pub(crate) fn new(
        rng: &mut Rng,
        (master, slots, epoch): (NodeId, SlotSet, u64),
        (voters, wanted): (Vec<NodeId>, usize),
        peers: Vec<Address>,
    ) -> Self {
        let id = NodeId::of_random(std::array::from_fn(|_| rng.next_u64()));
        let header = Header {
            sender: id,
            current_epoch: epoch,
            config_epoch: epoch,
            offset: 0,
            slots,
            master: Some(master),
            host: None,
            port: 7000,
            other_port: 0,
            bus_port: 17000,
            flags: NodeFlags::REPLICA | NodeFlags::MYSELF,
            is_ok: true,
            message_flags: MessageFlags::empty(),
            kin: 0,
        };
        Self {
            header,
            shard_id: master,
            peers: peers.into_iter().map(|address| (address, None, false)).collect(),
            dials: FIRST_DIAL,
            ticks: 0,
            has_failed: false,
            asking: None,
            votes: Vec::new(),
            asked_at: 0,
            least_epoch: voters.len() as u64 + 1,
            voters,
            wanted,
            rng: Rng::new(rng.next_u64()),
        }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.header.sender
    }

    /// Whether it has become a master.
    pub(crate) fn has_won(&self) -> bool {
        !self.is_replica()
    }

    pub(crate) fn handle(&mut self, _now: Now, input: Input<'_>, actions: &mut Actions) {
        match input {
            Input::Tick => self.tick(actions),
            Input::LinkUp { link, .. } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.1 == Some(link)) {
                    peer.2 = true;
                    self.heartbeat(link, Heartbeat::Meet, actions);
                }
            }
            Input::LinkDown { link, .. } => {
                if let Some(peer) = self.peers.iter_mut().find(|peer| peer.1 == Some(link)) {
                    (peer.1, peer.2) = (None, false);
                }
            }
            Input::Frame { link, frame } => self.frame(link, frame, actions),
            Input::Accepted { .. }
            | Input::LinkOverflown { .. }
            | Input::LinkGarbled { .. }
            | Input::Persisted(_)
            | Input::Replication(_)
            | Input::Paused { .. }
            | Input::SiblingHeard(_)
            | Input::SiblingHost(_)
            | Input::Siblings(_) => {}
        }
    }

    fn tick(&mut self, actions: &mut Actions) {
        self.ticks += 1;
        for (address, link, _) in &mut self.peers {
            if link.is_none() {
                self.dials += 1;
                *link = Some(LinkId::accepted(self.dials));
                let target = Target::Tcp(address.0.clone(), address.1);
                actions.links.push(LinkOrder::Dial(LinkId::accepted(self.dials), target));
            }
        }
        if self.ticks.is_multiple_of(TICKS_PER_PING) {
            self.linked().for_each(|link| self.heartbeat(link, Heartbeat::Ping, actions));
        }
        // Rivals ask at nearly the same time, again and again.
        if self.has_failed && self.is_replica() && self.ticks > self.asked_at + 5 + self.rng.below(5) {
            self.asked_at = self.ticks;
            // Who asks before it hears of the rival asks in the rival's epoch; each asks in each epoch once.
            let known = self.header.current_epoch + self.rng.below(2);
            self.header.current_epoch = known.max(self.least_epoch);
            self.least_epoch = self.header.current_epoch + 1;
            self.asking = Some(self.header.current_epoch);
            self.votes.clear();
        }
        // As long as it asks it does so at each tick: voters must not be moved to vote twice, by a restart neither.
        if let Some(asking) = self.asking {
            let message = actions.bytes.len();
            // In the epoch of its election, whatever it has heard of since: votes of a later one would be of another.
            let header = Header { current_epoch: asking, ..self.header.clone() };
            wire::write_auth_request(&mut actions.bytes, &header);
            let range = message..actions.bytes.len();
            self.linked().for_each(|link| actions.sends.push((link, range.clone())));
        }
    }

    fn linked(&self) -> impl Iterator<Item = LinkId> {
        self.peers.iter().filter(|peer| peer.2).filter_map(|peer| peer.1)
    }

    fn is_replica(&self) -> bool {
        self.header.master.is_some()
    }

    fn heartbeat(&self, link: LinkId, kind: Heartbeat, actions: &mut Actions) {
        let start = actions.bytes.len();
        let extensions = std::iter::once(Extension::ShardId(self.shard_id));
        wire::write_heartbeat(&mut actions.bytes, &self.header, kind, std::iter::empty(), extensions);
        actions.sends.push((link, start..actions.bytes.len()));
    }

    fn frame(&mut self, link: LinkId, frame: &[u8], actions: &mut Actions) {
        let Ok(message) = wire::decode(frame) else { return };
        let epoch = message.header.current_epoch;
        match message.payload {
            Payload::Heartbeat { kind, gossip, .. } => {
                if kind != Heartbeat::Pong {
                    self.heartbeat(link, Heartbeat::Pong, actions);
                }
                let master = self.header.master;
                for entry in gossip.iter().filter(|entry| Some(entry.id) == master) {
                    self.has_failed = entry.flags.contains(NodeFlags::FAIL);
                }
            }
            Payload::Fail(id) => self.has_failed |= Some(id) == self.header.master,
            Payload::AuthAck => self.count(message.header.sender, epoch, actions),
            Payload::Publish { .. }
            | Payload::AuthRequest
            | Payload::Update { .. }
            | Payload::ManualFailoverStart
            | Payload::Module
            | Payload::Unknown(_) => {}
        }
        if self.asking.is_none_or(|asking| asking < epoch) {
            self.header.current_epoch = self.header.current_epoch.max(epoch);
        }
    }

    /// A vote, as Redis counts it: of a master, in this epoch or a later one.
    fn count(&mut self, voter: NodeId, epoch: u64, actions: &mut Actions) {
        let Some(asking) = self.asking.filter(|&asking| epoch >= asking) else { return };
        if !self.voters.contains(&voter) || self.votes.contains(&voter) {
            return;
        }
        self.votes.push(voter);
        if self.votes.len() >= self.wanted {
            self.asking = None;
            self.header.master = None;
            self.header.config_epoch = asking;
            self.header.flags = NodeFlags::MASTER | NodeFlags::MYSELF;
            let links: Vec<LinkId> = self.linked().collect();
            links.into_iter().for_each(|link| self.heartbeat(link, Heartbeat::Pong, actions));
        }
    }
}
