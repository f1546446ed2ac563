//! Everything that exists in a run, and the order in which it happens.

use crate::checkers::{Safety, view};
use crate::disk::Disk;
use crate::losses::Strays;
use crate::network::{Item, Link, MAILBOX_NS, Network};
use crate::puppet::Puppet;
use crate::replication::{Data, Ledger, Step};
use slotmesh_base::{Monotonic, Rng, Slot, UnixMillis};
use slotmesh_cluster::machine::{
    Actions, Admin, Cluster, Input, LinkEnd, LinkId, LinkOrder, Now, ReplicaRules, RoleChange, Settings, Silence,
    Target,
};
use slotmesh_cluster::wire::{self, NodeFlags};
use slotmesh_cluster::{Host, Manners, NodeId, nodes_conf};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::Ipv4Addr;
use std::ops::Range;
use std::rc::Rc;

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;
/// Port of the bus of the first shard of a host.
pub(crate) const BUS_PORT: u16 = 17000;
const CLIENT_PORT: u16 = 7000;
/// How many addresses of hosts differ in their last number alone.
pub(crate) const HOSTS_A_NET: usize = 250;
/// When a run begins, in Unix milliseconds.
const EPOCH_MS: i64 = 1_700_000_000_000;

/// What will happen.
pub(crate) enum Event {
    /// Of the data of a node.
    Step(Step),
    /// A node's time has come, if it is still in this life.
    Tick(usize, u64),
    /// A dial knocks at an address, for the nth time.
    Knock {
        node: usize,
        life: u64,
        link: LinkId,
        target: Target,
        nth: u32,
    },
    /// The first message of one way of a link has arrived.
    Arrival(usize, usize),
    /// A save is on disk.
    Saved(usize, u64, u64),
    /// The machine is told that a save is on disk, which is a lie.
    Lie(usize, u64, u64),
    /// A sibling speaks.
    Heard(usize, u64, Vec<(NodeId, UnixMillis)>),
    SiblingHost(usize, u64, Host),
    /// A host that is down is switched on.
    Wake(usize),
}

/// An event and its time; of two at one time the one comes first that was scheduled first.
struct Due {
    at: u64,
    serial: u64,
    event: Event,
}

impl Ord for Due {
    /// The greatest of all is the next.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.serial).cmp(&(self.at, self.serial))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Due {}

/// What lives at a place.
pub(crate) enum Brain {
    Dead,
    Machine(Box<Cluster>),
    Puppet(Box<Puppet>),
}

/// A place where a node lives, over all its lives.
pub(crate) struct Node {
    pub(crate) host: usize,
    pub(crate) shard: u16,
    pub(crate) brain: Brain,
    pub(crate) disk: Disk,
    pub(crate) traffic: Traffic,
    pub(crate) settings: Settings,
    actions: Actions,
    /// Links and our end of each.
    pub(crate) links: BTreeMap<LinkId, (usize, usize)>,
    pub(crate) accepted: u64,
    pub(crate) life: u64,
    /// Kept by a master that has come back without its data.
    pub(crate) silence: Option<Silence>,
    /// Whether nothing listens at its port of the bus.
    pub(crate) is_shut: bool,
}

impl Node {
    /// Its port for clients.
    pub(crate) fn port(&self) -> u16 {
        self.settings.port
    }
}

/// What a node has sent to other hosts.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Traffic {
    /// Messages.
    pub(crate) messages: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// A machine of iron.
pub(crate) struct Iron {
    pub(crate) address: Host,
    pub(crate) is_up: bool,
    /// What its clock on the wall is off, in milliseconds.
    pub(crate) skew_ms: i64,
    /// Its power goes at the worst moment.
    pub(crate) trap: Option<Trap>,
    /// Its nodes, by their shards.
    pub(crate) nodes: Range<usize>,
    /// What its other clock began with.
    monotonic_ns: u64,
}

/// A crash that waits until a node of the host has just promised something, by a vote or by an epoch that it had not told
/// before: if that is not on disk, the next life does not know of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trap {
    /// Promises that still go well.
    pub(crate) spared: u64,
    /// How long the host stays down, in nanoseconds.
    pub(crate) down_ns: u64,
}

/// Settings of a world.
pub(crate) struct Plan {
    pub(crate) seed: u64,
    /// Shards of each host; hosts of puppets come behind them.
    pub(crate) shards: Vec<u16>,
    pub(crate) puppets: usize,
    pub(crate) timeout_ms: i64,
    /// Longest time that a save takes, in nanoseconds.
    pub(crate) save_ns: u64,
    /// Machines are told that a save is on disk before it is.
    pub(crate) disk_lies: bool,
    /// Puppets win with a single vote.
    pub(crate) hasty_winners: bool,
    /// Shards know that they are siblings.
    pub(crate) siblings: bool,
    /// Whether messages are looked into; measuring does without.
    pub(crate) checks: bool,
    pub(crate) trace: bool,
    pub(crate) rules: ReplicaRules,
    /// Whether those who die may come back without their data, or without anything.
    pub(crate) loses: bool,
    /// Whether no replica tells how far it is, so that ranks mean nothing.
    pub(crate) hides_offsets: bool,
    /// Whether nobody knows that another is of his kind, so that the rules of stock nodes hold alone.
    pub(crate) disguises: bool,
}

/// Hosts, nodes, links, disks and what is due.
pub(crate) struct World {
    pub(crate) now_ns: u64,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) hosts: Vec<Iron>,
    pub(crate) network: Network,
    pub(crate) safety: Safety,
    /// What each node holds, and what clients were told of it.
    pub(crate) data: Vec<Data>,
    pub(crate) ledger: Ledger,
    pub(crate) strays: Strays,
    pub(crate) promotions: usize,
    pub(crate) plan: Plan,
    /// Folds all that happened: two runs of a seed agree in it.
    pub(crate) fingerprint: u64,
    pub(crate) links: Vec<Link>,
    queue: BinaryHeap<Due>,
    serial: u64,
    /// A host that has stepped into its trap.
    doomed: Option<(usize, u64)>,
}

impl World {
    pub(crate) fn new(plan: Plan) -> Self {
        let mut rng = Rng::new(plan.seed);
        let count = plan.shards.len() + plan.puppets;
        let hosts = (0..count).map(|host| Iron {
            address: address(host, 0),
            is_up: true,
            skew_ms: rng.below(600) as i64 - 300,
            trap: None,
            nodes: 0..0,
            monotonic_ns: rng.below(1000 * SECOND),
        });
        let mut hosts: Vec<Iron> = hosts.collect();
        let mut nodes = Vec::new();
        let single = vec![1; plan.puppets];
        for (host, &shards) in plan.shards.iter().chain(&single).enumerate() {
            hosts[host].nodes = nodes.len()..nodes.len() + usize::from(shards);
            for shard in 0..shards {
                nodes.push(Node {
                    host,
                    shard,
                    brain: Brain::Dead,
                    disk: Disk::default(),
                    traffic: Traffic::default(),
                    settings: settings(&plan, shard, shards),
                    actions: Actions::default(),
                    links: BTreeMap::new(),
                    accepted: 0,
                    life: 0,
                    silence: None,
                    is_shut: false,
                });
            }
        }
        Self {
            now_ns: 0,
            network: Network::new(count),
            safety: Safety::default(),
            data: nodes.iter().map(|_| Data::default()).collect(),
            ledger: Ledger::default(),
            strays: Strays::default(),
            promotions: 0,
            fingerprint: 0xcbf2_9ce4_8422_2325,
            links: Vec::new(),
            queue: BinaryHeap::new(),
            serial: 0,
            doomed: None,
            rng,
            nodes,
            hosts,
            plan,
        }
    }

    /// Starts the process of a host anew, from what its disks hold.
    pub(crate) fn start(&mut self, host: usize) {
        self.hosts[host].is_up = true;
        let shards: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].host == host).collect();
        for &node in &shards {
            let (now, rng) = (self.now_of(node), Rng::new(self.rng.next_u64()));
            let place = &mut self.nodes[node];
            place.life += 1;
            let settings = place.settings.clone();
            let cluster = match place.disk.text() {
                None => Cluster::new(settings, rng),
                Some(text) => match nodes_conf::parse(text.as_bytes()) {
                    Ok(saved) => Cluster::load(settings, rng, now, &saved),
                    Err(bad) => {
                        let words = format!("node {node} wrote a nodes.conf that it cannot read: {bad}\n{text}");
                        self.safety.fail(words);
                        Cluster::new(settings, rng)
                    }
                },
            };
            let is_empty_handed = self.data[node].is_lost && cluster.is_backed_up();
            place.silence = is_empty_handed.then(|| Silence::begin(now, &cluster));
            place.is_shut = is_empty_handed;
            place.brain = Brain::Machine(Box::new(cluster));
        }
        self.introduce_siblings(&shards);
        for &node in &shards {
            self.note(format_args!("node {node} starts as {}", self.id(node)));
            self.save_first(node);
            let (life, delay) = (self.nodes[node].life, self.rng.below(100 * MS));
            self.schedule(delay, Event::Tick(node, life));
        }
    }

    /// A node that has no file writes one before it speaks.
    fn save_first(&mut self, node: usize) {
        self.order(node, Admin::SaveConfig);
    }

    fn introduce_siblings(&mut self, shards: &[usize]) {
        if shards.len() < 2 || !self.plan.siblings {
            return;
        }
        let ids: Vec<NodeId> = shards.iter().map(|&node| self.id(node)).collect();
        shards.iter().for_each(|&node| self.tell(node, Input::Siblings(&ids)));
    }

    /// Puts a puppet at a place.
    pub(crate) fn place_puppet(&mut self, node: usize, puppet: Puppet) {
        self.nodes[node].brain = Brain::Puppet(Box::new(puppet));
        self.nodes[node].life += 1;
        let life = self.nodes[node].life;
        self.schedule(MS, Event::Tick(node, life));
    }

    /// Ends the process of a host; with the power gone nobody hears of it.
    /// What was not synced may turn out to have been written, to the lucky.
    pub(crate) fn crash(&mut self, host: usize, is_silent: bool, may_be_lucky: bool) {
        self.hosts[host].is_up = false;
        self.hosts[host].trap = None;
        for node in 0..self.nodes.len() {
            if self.nodes[node].host != host {
                continue;
            }
            self.note(format_args!("node {node} crashes, silent: {is_silent}"));
            let is_lucky = may_be_lucky && self.rng.below(2) == 0;
            let place = &mut self.nodes[node];
            place.brain = Brain::Dead;
            place.life += 1;
            place.disk.crash(is_lucky);
            place.actions.clear();
            let links: Vec<(usize, usize)> = std::mem::take(&mut place.links).into_values().collect();
            self.lose_data_links(node, is_silent);
            for (link, end) in links {
                self.links[link].open[end] = false;
                if !is_silent {
                    self.send_item(link, end, Item::End);
                }
            }
        }
        self.lose(host);
    }

    /// Breaks one link that stands, chosen at random.
    pub(crate) fn break_some_link(&mut self) {
        let node = self.rng.below(self.nodes.len() as u64) as usize;
        let count = self.nodes[node].links.len();
        if count == 0 {
            return;
        }
        let nth = self.rng.below(count as u64) as usize;
        let Some((&name, &(link, end))) = self.nodes[node].links.iter().nth(nth) else { return };
        self.send_item(link, end, Item::End);
        self.links[link].open[end] = false;
        self.nodes[node].links.remove(&name);
        self.tell(node, Input::LinkDown { link: name, why: LinkEnd::Other });
    }

    /// Lets all happen that is due within this time.
    pub(crate) fn run(&mut self, ns: u64) {
        let end = self.now_ns + ns;
        while self.queue.peek().is_some_and(|due| due.at <= end) && self.safety.failure.is_none() {
            let Some(Due { at, event, .. }) = self.queue.pop() else { break };
            self.now_ns = at;
            self.happen(event);
            if let Some((host, down_ns)) = self.doomed.take().filter(|&(host, _)| self.hosts[host].is_up) {
                let is_silent = self.rng.below(2) == 0;
                self.crash(host, is_silent, false);
                self.schedule(down_ns, Event::Wake(host));
            }
        }
        self.now_ns = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(node, life) if self.nodes[node].life == life => {
                self.open_port(node);
                self.tell(node, Input::Tick);
                self.watch_master(node);
                let delay = match &self.nodes[node].brain {
                    Brain::Machine(cluster) => cluster.deadline().0.saturating_sub(self.now_of(node).monotonic.0),
                    Brain::Puppet(_) | Brain::Dead => 100 * MS,
                };
                self.schedule(delay.max(1), Event::Tick(node, life));
            }
            Event::Knock { node, life, link, target, nth } if self.nodes[node].life == life => {
                self.knock(node, link, target, nth);
            }
            Event::Step(step) => self.step(step),
            Event::Arrival(link, way) => self.arrive(link, way),
            Event::Saved(node, life, serial) if self.nodes[node].life == life => {
                if self.nodes[node].disk.finish(serial) && !self.plan.disk_lies {
                    self.tell(node, Input::Persisted(serial));
                }
                if self.nodes[node].disk.is_stale && !self.nodes[node].disk.is_busy() {
                    self.begin_save(node);
                }
            }
            Event::Lie(node, life, serial) if self.nodes[node].life == life => {
                self.tell(node, Input::Persisted(serial));
            }
            Event::Heard(node, life, heard) if self.nodes[node].life == life => {
                self.tell(node, Input::SiblingHeard(&heard));
            }
            Event::SiblingHost(node, life, host) if self.nodes[node].life == life => {
                self.tell(node, Input::SiblingHost(host));
            }
            Event::Wake(host) if !self.hosts[host].is_up => self.start(host),
            // Somebody died, or lives again, before it happened.
            Event::Tick(..)
            | Event::Knock { .. }
            | Event::Saved(..)
            | Event::Lie(..)
            | Event::Heard(..)
            | Event::SiblingHost(..)
            | Event::Wake(_) => {}
        }
    }

    pub(crate) fn schedule(&mut self, delay: u64, event: Event) {
        self.serial += 1;
        self.queue.push(Due { at: self.now_ns + delay, serial: self.serial, event });
    }

    /// The moment on the clocks of a node's host.
    pub(crate) fn now_of(&self, node: usize) -> Now {
        let iron = &self.hosts[self.nodes[node].host];
        Now {
            monotonic: Monotonic(iron.monotonic_ns + self.now_ns),
            unix: UnixMillis(EPOCH_MS + iron.skew_ms + (self.now_ns / MS) as i64),
        }
    }

    pub(crate) fn cluster(&self, node: usize) -> Option<&Cluster> {
        match &self.nodes[node].brain {
            Brain::Machine(cluster) => Some(cluster),
            Brain::Puppet(_) | Brain::Dead => None,
        }
    }

    pub(crate) fn id(&self, node: usize) -> NodeId {
        match &self.nodes[node].brain {
            Brain::Machine(cluster) => cluster.id(),
            Brain::Puppet(puppet) => puppet.id(),
            Brain::Dead => NodeId::of_random([0; 3]),
        }
    }

    /// Where others dial a node: host and port of the bus.
    pub(crate) fn address_of(&self, node: usize) -> (Host, u16, u16) {
        let place = &self.nodes[node];
        (self.hosts[place.host].address.clone(), place.settings.port, place.settings.bus_port)
    }

    /// Tells a node what has happened, and does what it wants done.
    pub(crate) fn tell(&mut self, node: usize, input: Input<'_>) {
        let now = self.now_of(node);
        let Node { brain, actions, .. } = &mut self.nodes[node];
        match brain {
            Brain::Machine(cluster) => cluster.handle(now, input, actions),
            Brain::Puppet(puppet) => puppet.handle(now, input, actions),
            Brain::Dead => return,
        }
        self.obey(node);
    }

    /// An order of the operator: what it promises is on disk before anything else happens. Whether it was obeyed.
    pub(crate) fn order(&mut self, node: usize, order: Admin<'_>) -> bool {
        self.note(format_args!("node {node} is ordered {order:?}"));
        let now = self.now_of(node);
        let Node { brain: Brain::Machine(cluster), actions, .. } = &mut self.nodes[node] else { return false };
        let is_obeyed = cluster.admin(now, order, actions).is_ok();
        self.obey_now(node);
        is_obeyed
    }

    /// A node is told that its process is about to stop.
    pub(crate) fn hand_over(&mut self, node: usize) {
        self.note(format_args!("node {node} is about to stop"));
        let Node { brain: Brain::Machine(cluster), actions, .. } = &mut self.nodes[node] else { return };
        cluster.hand_over(actions);
        self.obey(node);
    }

    /// A replica has reached who lives where its master should.
    pub(crate) fn ask_master(&mut self, node: usize) {
        let now = self.now_of(node);
        let Node { brain: Brain::Machine(cluster), actions, .. } = &mut self.nodes[node] else { return };
        cluster.ask_master(now, actions);
        self.obey(node);
    }

    /// CLUSTER BUMPEPOCH.
    pub(crate) fn bump(&mut self, node: usize) {
        self.note(format_args!("node {node} is ordered to bump its epoch"));
        let now = self.now_of(node);
        let Node { brain: Brain::Machine(cluster), actions, .. } = &mut self.nodes[node] else { return };
        cluster.bump(now, actions);
        self.obey_now(node);
    }

    /// Saves at once, then does the rest.
    fn obey_now(&mut self, node: usize) {
        let now = self.now_of(node);
        let place = &mut self.nodes[node];
        if let Brain::Machine(cluster) = &mut place.brain
            && std::mem::take(&mut place.actions.save)
        {
            let save = cluster.save(now);
            let serial = save.serial;
            if self.plan.disk_lies && !place.disk.text().is_none_or(str::is_empty) {
                self.write_later(node, save);
            } else {
                place.disk.write_now(save);
            }
            self.tell(node, Input::Persisted(serial));
        } else {
            self.obey(node);
        }
        let former = self.safety.former_id(node);
        let id = self.id(node);
        if former.is_some_and(|former| former != id) {
            let host = self.nodes[node].host;
            let shards: Vec<usize> = (0..self.nodes.len()).filter(|&node| self.nodes[node].host == host).collect();
            self.introduce_siblings(&shards);
        }
        self.safety.lives_as(node, id);
    }

    fn begin_save(&mut self, node: usize) {
        let now = self.now_of(node);
        if let Brain::Machine(cluster) = &mut self.nodes[node].brain {
            let save = cluster.save(now);
            self.write_later(node, save);
        }
    }

    fn write_later(&mut self, node: usize, save: slotmesh_cluster::machine::Save) {
        let (life, serial) = (self.nodes[node].life, save.serial);
        self.nodes[node].disk.begin(save);
        // What a lying disk has confirmed stays in its memory for seconds.
        let longest = if self.plan.disk_lies { 5 * SECOND } else { self.plan.save_ns };
        let delay = MS / 10 + self.rng.below(longest);
        self.schedule(delay, Event::Saved(node, life, serial));
        if self.plan.disk_lies {
            self.schedule(1, Event::Lie(node, life, serial));
        }
    }

    /// Does what a node wants done, in the order of its actions.
    fn obey(&mut self, node: usize) {
        let mut actions = std::mem::take(&mut self.nodes[node].actions);
        if std::mem::take(&mut actions.save) {
            if self.nodes[node].disk.is_busy() && !self.plan.disk_lies {
                self.nodes[node].disk.is_stale = true;
            } else {
                self.begin_save(node);
            }
        }
        let down = self.keep_silent(node, &mut actions);
        for order in actions.links.drain(..) {
            match order {
                LinkOrder::Dial(link, target) => self.dial(node, link, target),
                LinkOrder::Close(link) => self.close(node, link),
            }
        }
        for (link, range) in actions.sends.drain(..) {
            let Some(&(place, end)) = self.nodes[node].links.get(&link) else { continue };
            let frame = &mut actions.bytes[range];
            if self.plan.disguises {
                wire::disguise(frame);
            }
            let frame: Rc<[u8]> = (&*frame).into();
            self.send(node, place, end, frame);
        }
        let (role, flush, pause) = (actions.role.take(), actions.flush, actions.pause.take());
        self.share(node, &mut actions);
        for (_, line) in actions.log.drain(..) {
            self.note(format_args!("node {node} says {line}"));
        }
        if actions.view && self.plan.checks {
            self.check_view(node);
        }
        if self.plan.checks && !actions.lost.is_empty() {
            self.check_lost(node, &actions.lost);
        }
        actions.clear();
        if self.nodes[node].actions.is_empty() {
            self.nodes[node].actions = actions;
        }
        if let Some(role) = role {
            self.promotions += usize::from(role == RoleChange::Master);
            self.change_role(node, role);
        }
        if flush {
            self.flush_data(node);
        }
        if let Some(order) = pause {
            self.pause(node, order);
        }
        for link in down {
            self.tell(node, Input::LinkDown { link, why: LinkEnd::Other });
        }
    }

    /// A node has promised something: perhaps its last words.
    pub(crate) fn spring(&mut self, node: usize) {
        let host = self.nodes[node].host;
        let Some(trap) = &mut self.hosts[host].trap else { return };
        match trap.spared.checked_sub(1) {
            Some(spared) => trap.spared = spared,
            None => self.doomed = Some((host, trap.down_ns)),
        }
    }

    /// What siblings shall know, too.
    fn share(&mut self, node: usize, actions: &mut Actions) {
        let (host, unix) = (self.nodes[node].host, self.now_of(node).unix);
        if !self.plan.siblings || actions.heard.is_empty() && actions.host.is_none() {
            return;
        }
        let heard: Vec<(NodeId, UnixMillis)> = actions.heard.drain(..).map(|id| (id, unix)).collect();
        let learnt = actions.host.take();
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            if self.nodes[other].host != host {
                continue;
            }
            let life = self.nodes[other].life;
            if !heard.is_empty() {
                self.schedule(MAILBOX_NS, Event::Heard(other, life, heard.clone()));
            }
            if let Some(learnt) = &learnt {
                self.schedule(MAILBOX_NS, Event::SiblingHost(other, life, learnt.clone()));
            }
        }
    }

    fn check_view(&mut self, node: usize) {
        let now = self.now_of(node);
        if let Brain::Machine(cluster) = &self.nodes[node].brain {
            self.safety.view_of(node, self.now_ns, &cluster.nodes_text(now, ""));
        }
    }

    /// A node has lost slots to another's claim: that one's epoch is the greater, or both would hold them in turn.
    fn check_lost(&mut self, node: usize, lost: &[Slot]) {
        let Some(view) = view(self, node) else { return };
        let own = view.nodes.iter().find(|seen| seen.flags.contains(NodeFlags::MYSELF)).map(|own| own.config_epoch);
        let has_lost = |range: &(u16, u16)| lost.iter().any(|slot| (range.0..=range.1).contains(&slot.number()));
        let mut takers = view.nodes.iter().filter(|seen| seen.slots.iter().any(has_lost));
        if let Some(taker) = takers.find(|taker| Some(taker.config_epoch) <= own) {
            let (id, epoch) = (taker.id, taker.config_epoch);
            self.safety.fail(format!("node {node} has lost slots in epoch {own:?} to {id}, whose epoch is {epoch}"));
        }
    }

    /// Takes note of an event: for the fingerprint, and for whoever reads along.
    pub(crate) fn note(&self, words: std::fmt::Arguments<'_>) {
        if self.plan.trace {
            println!("{:>12.6} {words}", self.now_ns as f64 / 1e9);
        }
    }

    pub(crate) fn fold(&mut self, words: &[u64]) {
        for word in words.iter().chain(&[self.now_ns]) {
            self.fingerprint = (self.fingerprint ^ word).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// The ports of a shard: for clients, of the bus.
pub(crate) fn ports(shard: u16) -> (u16, u16) {
    (CLIENT_PORT + shard, BUS_PORT + shard)
}

/// The nth address of a host.
pub(crate) fn address(host: usize, nth: u8) -> Host {
    Host::V4(Ipv4Addr::new(10, nth, (host / HOSTS_A_NET) as u8, (host % HOSTS_A_NET) as u8 + 1))
}

fn settings(plan: &Plan, shard: u16, shards: u16) -> Settings {
    Settings {
        node_timeout_ms: plan.timeout_ms,
        host: None,
        port: CLIENT_PORT + shard,
        other_port: 0,
        bus_port: BUS_PORT + shard,
        hostname: None,
        nodename: None,
        requires_full_coverage: true,
        manners: Manners::default(),
        replicas: plan.rules,
        shard,
        shards,
    }
}
