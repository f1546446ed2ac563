//! What nodes hold, and how replicas come by it: a stand-in for the real stream, as unreliable as that.
//!
//! A write is a number in a node's log. A replica gets its master's whole log when it connects, then each write as it is
//! made; it acknowledges what it has taken. Logs outlive the process, as if each write were on disk, unless that is lost.

use crate::world::{Brain, Event, MS, SECOND, World};
use slotmesh_base::{Monotonic, Slot};
use slotmesh_cluster::machine::{Input, MasterLink, PauseOrder, ReplicationFacts, RoleChange};
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{Host, NodeId, nodes_conf};
use std::collections::{BTreeMap, BTreeSet};

/// How long a replica waits before it dials its master again.
const RETRY_NS: u64 = SECOND;
/// How long a replica believes in a master that has gone silent.
const SILENCE_NS: u64 = 60 * SECOND;
/// An image takes up to this long.
const IMAGE_NS: u64 = 300 * MS;
/// How much older data may be when their replica asks for votes: it counts in whole seconds, and saves its epoch first.
const GRACE_MS: u64 = 2000;
/// Between two writes of clients.
const WRITE_NS: u64 = 15 * MS;
/// Offsets begin here, as a master's with a replica does in Redis.
const FIRST_OFFSET: u64 = 14;

/// What a node holds.
#[derive(Default)]
pub(crate) struct Data {
    pub(crate) log: Vec<u64>,
    /// Whether the log was lost, and there has been none since.
    pub(crate) is_lost: bool,
    following: Option<Following>,
    feeds: Vec<Feed>,
    /// Clients wait until then.
    paused_until: u64,
    attempts: u64,
}

/// Whom a replica follows.
struct Following {
    master: NodeId,
    host: Host,
    port: u16,
    /// Number of its connection, or of the next one.
    attempt: u64,
    /// The master and its life, if it is connected.
    source: Option<(usize, u64)>,
    link: MasterLink,
    heard_ns: u64,
    /// When its connection came to stand.
    connected_at: Monotonic,
}

/// A replica that is connected.
struct Feed {
    node: usize,
    life: u64,
    attempt: u64,
    /// When the last write that was sent arrives: none overtakes another.
    last_ns: u64,
}

/// What will happen.
pub(crate) enum Step {
    /// A replica dials its master.
    Connect { node: usize, life: u64, attempt: u64 },
    /// It gets the log of that node in that life.
    Image { node: usize, life: u64, attempt: u64, from: (usize, u64) },
    /// A write arrives at a replica, to stand at this place of its log.
    Write { node: usize, life: u64, attempt: u64, place: usize, id: u64 },
    /// A replica has told that node in that life that it has a write.
    Acknowledged { node: usize, life: u64, id: u64 },
    /// A client writes.
    Client,
}

/// What clients have been told.
#[derive(Default)]
pub(crate) struct Ledger {
    /// First slot of each group.
    pub(crate) groups: Vec<Slot>,
    written: u64,
    /// Writes that two nodes had when their client heard of it, with their groups.
    pub(crate) acknowledged: BTreeMap<u64, usize>,
    /// Of writes that are under way, their groups.
    pending: BTreeMap<u64, usize>,
    /// Writes of which a copy has been lost with a disk.
    destroyed: BTreeSet<u64>,
    /// Writes that may be lost: of those, both copies have died.
    pub(crate) excused: BTreeSet<u64>,
}

impl World {
    /// Clients begin to write.
    pub(crate) fn begin_writes(&mut self, groups: Vec<Slot>) {
        self.ledger.groups = groups;
        self.schedule(WRITE_NS, Event::Step(Step::Client));
    }

    /// Whether a replica has all that its master has sent.
    pub(crate) fn is_in_sync(&self, node: usize) -> bool {
        let following = self.data[node].following.as_ref();
        following.is_some_and(|following| matches!(following.link, MasterLink::Up { .. }))
    }

    pub(crate) fn step(&mut self, step: Step) {
        match step {
            Step::Connect { node, life, attempt } if self.is_current(node, life, attempt) => self.connect(node),
            Step::Image { node, life, attempt, from } if self.is_current(node, life, attempt) => {
                self.take_image(node, from);
            }
            Step::Write { node, life, attempt, place, id } if self.is_current(node, life, attempt) => {
                self.take_write(node, place, id);
            }
            Step::Acknowledged { node, life, id } => {
                let is_master = self.data[node].following.is_none();
                if self.lives(node, life)
                    && is_master
                    && let Some(group) = self.ledger.pending.remove(&id)
                {
                    self.ledger.acknowledged.insert(id, group);
                }
            }
            Step::Client => {
                self.write();
                self.schedule(WRITE_NS, Event::Step(Step::Client));
            }
            Step::Connect { .. } | Step::Image { .. } | Step::Write { .. } => {}
        }
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && matches!(self.nodes[node].brain, Brain::Machine(_))
    }

    fn is_current(&self, node: usize, life: u64, attempt: u64) -> bool {
        self.lives(node, life) && self.data[node].following.as_ref().is_some_and(|it| it.attempt == attempt)
    }

    fn hear_each_other(&self, one: usize, other: usize) -> bool {
        let (one, other) = (self.nodes[one].host, self.nodes[other].host);
        !self.network.is_cut(one, other) && !self.network.is_cut(other, one)
    }

    /// Does what the machine says about its role.
    pub(crate) fn change_role(&mut self, node: usize, role: RoleChange) {
        self.cut_feeds(node);
        self.leave_master(node);
        let now_ns = self.now_ns;
        self.data[node].following = match role {
            RoleChange::Master => None,
            RoleChange::Replica { master, host, port } => {
                let link = MasterLink::NeverSynced;
                let connected_at = Monotonic(0);
                Some(Following { master, host, port, attempt: 0, source: None, link, heard_ns: now_ns, connected_at })
            }
        };
        self.dial_master(node, MS);
        self.tell_facts(node);
    }

    /// All keys go.
    pub(crate) fn flush_data(&mut self, node: usize) {
        self.data[node].log.clear();
    }

    /// Does what the machine says about clients.
    pub(crate) fn pause(&mut self, node: usize, order: PauseOrder) {
        match order {
            PauseOrder::End => self.data[node].paused_until = 0,
            PauseOrder::Begin { until } => {
                let rest = until.0.saturating_sub(self.now_of(node).monotonic.0);
                self.data[node].paused_until = self.now_ns + rest;
                let offset = self.facts(node).offset;
                self.tell(node, Input::Paused { offset });
            }
        }
    }

    /// The process of a node has died.
    pub(crate) fn lose_data_links(&mut self, node: usize, is_silent: bool) {
        if is_silent {
            self.data[node].feeds.clear();
        } else {
            self.cut_feeds(node);
            self.leave_master(node);
        }
        let Data { following, paused_until, .. } = &mut self.data[node];
        (*following, *paused_until) = (None, 0);
    }

    /// A replica looks after its link.
    pub(crate) fn watch_master(&mut self, node: usize) {
        let Some(following) = &self.data[node].following else { return };
        let Some((master, life)) = following.source else { return };
        let is_heard = self.hear_each_other(node, master);
        let silent_ns = self.now_ns - following.heard_ns;
        if is_heard && !self.lives(master, life) && self.hosts[self.nodes[master].host].is_up || silent_ns > SILENCE_NS
        {
            return self.lose_master(node);
        }
        if is_heard && self.lives(master, life) && silent_ns > SECOND {
            self.hear_master(node);
            self.tell_facts(node);
        }
    }

    fn hear_master(&mut self, node: usize) {
        let (now_ns, heard_at) = (self.now_ns, self.now_of(node).monotonic);
        if let Some(following) = &mut self.data[node].following {
            following.heard_ns = now_ns;
            following.link = MasterLink::Up { heard_at };
        }
    }

    fn facts(&self, node: usize) -> ReplicationFacts {
        let Data { log, following, feeds, .. } = &self.data[node];
        let link = following.as_ref().map_or(MasterLink::NeverSynced, |following| following.link);
        let is_begun = !log.is_empty() || !feeds.is_empty() || link != MasterLink::NeverSynced;
        let length = if self.plan.hides_offsets { 0 } else { log.len() as u64 };
        ReplicationFacts { offset: if is_begun { FIRST_OFFSET + length } else { 0 }, link }
    }

    fn tell_facts(&mut self, node: usize) {
        let facts = self.facts(node);
        self.tell(node, Input::Replication(facts));
    }

    fn dial_master(&mut self, node: usize, delay: u64) {
        let life = self.nodes[node].life;
        let data = &mut self.data[node];
        if let Some(following) = &mut data.following {
            data.attempts += 1;
            following.attempt = data.attempts;
            let attempt = data.attempts;
            self.schedule(delay, Event::Step(Step::Connect { node, life, attempt }));
        }
    }

    fn connect(&mut self, node: usize) {
        let Some(following) = &self.data[node].following else { return };
        let attempt = following.attempt;
        let host = self.hosts.iter().position(|iron| iron.address == following.host);
        let found = self.nodes.iter().position(|place| Some(place.host) == host && place.port() == following.port);
        // A shard of our own process is found wherever it is said to live.
        let is_sibling = |&other: &usize| self.nodes[other].host == self.nodes[node].host;
        let sibling = (0..self.nodes.len()).filter(is_sibling).find(|&other| self.id(other) == following.master);
        let found = sibling.or(found);
        let has_data = |&master: &usize| self.data[master].following.is_none() || self.is_in_sync(master);
        let is_there = |&master: &usize| self.cluster(master).is_some() && self.nodes[master].silence.is_none();
        let found = found.filter(is_there).filter(|&master| master != node && self.hear_each_other(node, master));
        let Some(master) = found.filter(has_data) else { return self.dial_master(node, RETRY_NS) };
        let connected_at = self.now_of(node).monotonic;
        if let Some(following) = &mut self.data[node].following {
            following.connected_at = connected_at;
        }
        self.ask_master(node);
        let (life, from) = (self.nodes[node].life, (master, self.nodes[master].life));
        let delay = self.rng.below(IMAGE_NS);
        self.schedule(delay, Event::Step(Step::Image { node, life, attempt, from }));
    }

    fn take_image(&mut self, node: usize, (master, life): (usize, u64)) {
        if !self.lives(master, life) || !self.hear_each_other(node, master) || !self.is_confirmed(node) {
            return self.dial_master(node, RETRY_NS);
        }
        self.data[node].log = self.data[master].log.clone();
        self.data[node].is_lost = false;
        let Some(following) = &mut self.data[node].following else { return };
        following.source = Some((master, life));
        let feed = Feed { node, life: self.nodes[node].life, attempt: following.attempt, last_ns: 0 };
        self.data[master].feeds.retain(|feed| feed.node != node);
        self.data[master].feeds.push(feed);
        self.hear_master(node);
        self.note(format_args!("node {node} has the log of node {master}"));
        self.tell_facts(master);
        self.tell_facts(node);
    }

    /// Whether it is the master's image that a replica gets, and not that of somebody else at its address; who has no data
    /// does not ask.
    fn is_confirmed(&self, node: usize) -> bool {
        let Some((following, cluster)) = self.data[node].following.as_ref().zip(self.cluster(node)) else {
            return false;
        };
        self.data[node].log.is_empty() || cluster.is_master_confirmed(following.connected_at, following.port)
    }

    fn take_write(&mut self, node: usize, place: usize, id: u64) {
        let Some((master, life)) = self.data[node].following.as_ref().and_then(|following| following.source) else {
            return;
        };
        if !self.hear_each_other(node, master) || place != self.data[node].log.len() {
            return self.lose_master(node);
        }
        self.data[node].log.push(id);
        self.feed(node, id);
        self.hear_master(node);
        self.tell_facts(node);
        let delay = self.network.delay(&mut self.rng);
        self.schedule(delay, Event::Step(Step::Acknowledged { node: master, life, id }));
    }

    /// A write goes to all replicas.
    fn feed(&mut self, node: usize, id: u64) {
        let place = self.data[node].log.len() - 1;
        let mut feeds = std::mem::take(&mut self.data[node].feeds);
        for feed in &mut feeds {
            let delay = self.network.delay(&mut self.rng);
            feed.last_ns = feed.last_ns.max(self.now_ns + delay);
            let &mut Feed { node, life, attempt, last_ns } = feed;
            self.schedule(last_ns - self.now_ns, Event::Step(Step::Write { node, life, attempt, place, id }));
        }
        self.data[node].feeds = feeds;
    }

    /// A client writes to somebody who takes it.
    fn write(&mut self) {
        if self.ledger.groups.is_empty() {
            return;
        }
        let group = self.rng.below(self.ledger.groups.len() as u64) as usize;
        let slot = self.ledger.groups[group];
        let takers: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.takes(node, slot)).collect();
        if takers.is_empty() {
            return;
        }
        let node = takers[self.rng.below(takers.len() as u64) as usize];
        self.ledger.written += 1;
        let id = self.ledger.written;
        self.ledger.pending.insert(id, group);
        self.data[node].log.push(id);
        self.data[node].is_lost = false;
        self.feed(node, id);
        self.tell_facts(node);
    }

    /// Whether a node lets clients write to a slot.
    fn takes(&self, node: usize, slot: Slot) -> bool {
        self.data[node].paused_until <= self.now_ns && self.serves(node, slot)
    }

    pub(crate) fn serves(&self, node: usize, slot: Slot) -> bool {
        let serves = self.cluster(node).is_some_and(|cluster| cluster.owns(slot) && cluster.is_ok());
        serves && self.data[node].following.is_none() && self.nodes[node].silence.is_none()
    }

    /// A node has died, and perhaps what it held is gone for good. Those of its writes are excused of which nobody else
    /// alive has a copy, and one copy at least is gone: who follows another has none until he has had that one's log, and
    /// who was replaced since he had failed has died.
    pub(crate) fn lose_copies(&mut self, node: usize, is_for_good: bool) {
        let replaced = self.replaced_by(node);
        let holds = |other: usize| {
            let has_own = self.cluster(other).is_some() && self.link(other) != Some(MasterLink::NeverSynced);
            has_own && !replaced.contains(&self.id(other))
        };
        let others: Vec<usize> = (0..self.nodes.len()).filter(|&other| holds(other)).collect();
        let is_alone = |id: &u64| others.iter().all(|&other| self.data[other].log.binary_search(id).is_err());
        let log = &self.data[node].log;
        if is_for_good {
            self.ledger.destroyed.extend(log);
        }
        let excused = log.iter().filter(|id| self.ledger.destroyed.contains(id) && is_alone(id));
        self.ledger.excused.extend(excused);
        if is_for_good {
            self.data[node].log.clear();
            self.data[node].is_lost = true;
        }
    }

    /// Whom a master holds for failed, says its disk.
    fn replaced_by(&self, node: usize) -> BTreeSet<NodeId> {
        let text = self.nodes[node].disk.text().unwrap_or_default();
        let Ok(saved) = nodes_conf::parse(text.as_bytes()) else { return BTreeSet::new() };
        let is_master = saved.nodes.iter().any(|seen| seen.flags.contains(NodeFlags::MYSELF | NodeFlags::MASTER));
        let failed = saved.nodes.iter().filter(|seen| is_master && seen.flags.contains(NodeFlags::FAIL));
        failed.map(|seen| seen.id).collect()
    }

    /// Whether a replica's data are not older than `cluster-replica-validity-factor` allows; time in which a master was
    /// silent before it was held for failed does not count.
    pub(crate) fn may_stand(&self, node: usize) -> bool {
        let Some(MasterLink::Up { heard_at: at } | MasterLink::Down { since: at }) = self.link(node) else {
            return false;
        };
        let (timeout, rules) = (self.plan.timeout_ms, self.plan.rules);
        let most = timeout * (i64::from(rules.validity_factor) + 1) + rules.ping_period_ms;
        self.now_of(node).monotonic.nanos_since(at) / MS <= most as u64 + GRACE_MS
    }

    /// How a replica's link to its master is.
    pub(crate) fn link(&self, node: usize) -> Option<MasterLink> {
        self.data[node].following.as_ref().map(|following| following.link)
    }

    /// A replica has lost its master.
    fn lose_master(&mut self, node: usize) {
        let since: Monotonic = self.now_of(node).monotonic;
        let Some(following) = &mut self.data[node].following else { return };
        let Some((master, _)) = following.source.take() else { return };
        following.link = MasterLink::Down { since };
        self.data[master].feeds.retain(|feed| feed.node != node);
        self.cut_feeds(node);
        self.dial_master(node, RETRY_NS);
        self.tell_facts(node);
    }

    /// A replica loses its master and does not come back to it.
    pub(crate) fn hold_back(&mut self, node: usize) {
        self.lose_master(node);
        if let Some(following) = &mut self.data[node].following {
            following.attempt = u64::MAX;
        }
    }

    /// Replicas that are in sync with a node.
    pub(crate) fn replicas(&self, node: usize) -> Vec<usize> {
        self.data[node].feeds.iter().map(|feed| feed.node).collect()
    }

    pub(crate) fn has_replicas(&self, node: usize) -> bool {
        !self.data[node].feeds.is_empty()
    }

    /// A node does not follow any more.
    fn leave_master(&mut self, node: usize) {
        let source = self.data[node].following.as_ref().and_then(|following| following.source);
        if let Some((master, _)) = source {
            self.data[master].feeds.retain(|feed| feed.node != node);
        }
    }

    /// The replicas of a node lose it.
    fn cut_feeds(&mut self, node: usize) {
        for Feed { node: replica, life, attempt, .. } in std::mem::take(&mut self.data[node].feeds) {
            if self.is_current(replica, life, attempt) {
                self.lose_master(replica);
            }
        }
    }

    /// Writes that clients were told of and that the owners of their slots have not: those of which no two copies had died,
    /// and the others.
    pub(crate) fn lost_writes(&self) -> (Vec<u64>, Vec<u64>) {
        let owner = |slot: Slot| (0..self.nodes.len()).find(|&node| self.serves(node, slot));
        let owners: Vec<Option<usize>> = self.ledger.groups.iter().map(|&slot| owner(slot)).collect();
        let logs = owners.iter().map(|owner| owner.map(|node| &self.data[node].log));
        let held: Vec<BTreeSet<u64>> = logs.map(|log| log.into_iter().flatten().copied().collect()).collect();
        let Ledger { acknowledged, excused, .. } = &self.ledger;
        let gone = acknowledged.iter().filter(|&(id, &group)| !held[group].contains(id));
        gone.map(|(&id, _)| id).partition(|id| !excused.contains(id))
    }
}
