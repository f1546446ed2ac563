//! The cluster as one node lives it: the state machine behind the bus.
//!
//! *For*: handshakes, gossip, failure detection, slot claims, epochs, votes, the state of the cluster, and what CLUSTER
//! changes. *Not here*: sockets, clocks, disks: a driver hands in what happened and does what [`Actions`] says, in its
//! order. *Invariants*: the same inputs give the same actions; what a stock node must not see before it is on disk (own
//! claims, own epochs, votes) leaves only after [`Input::Persisted`]. *Read first*: this file, then `heartbeat.rs`.
//!
//! Mirrors Redis 7.2 `cluster.c`; where valkey 8 mends it, the place says so.

mod actions;
mod admin;
mod announcement;
mod claims;
mod crash;
mod election;
mod failure;
mod gossip;
mod heartbeat;
mod links;
mod manual;
mod migration;
mod replication;
mod roles;
mod saved;
mod settings;
mod silence;
mod slots;
mod state;
mod table;
mod text;
mod tick;
mod view;

#[cfg(test)]
mod tests;

pub use actions::{Actions, Level, LinkOrder, PauseOrder, Publication, RoleChange, Save, Target};
pub use admin::{Admin, AdminError, Bumped};
pub use links::{LinkEnd, LinkId, LinkReport};
pub use manual::Failover;
pub use replication::{MasterLink, ReplicationFacts};
pub use roles::Master;
pub use saved::Founder;
pub use settings::{ReplicaRules, Settings};
pub use silence::{Relief, Silence};

use crate::host::Host;
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{MessageKind, NodeFlags};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use announcement::Announcement;
use crash::Crashes;
use election::Election;
use gossip::Picked;
use links::Links;
use manual::Manual;
use migration::Orphans;
use slotmesh_base::{Monotonic, Rng, UnixMillis};
use slots::Slots;
use state::State;
use table::Table;

/// How often the machine wants a [`Input::Tick`], in ms (Redis: `clusterCron`).
pub const TICK_MS: u64 = 100;

/// One moment, on the two clocks that matter: timeouts count on the one that never goes back, the bus and the operator
/// are told the other.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The clock of timeouts.
    pub monotonic: Monotonic,
    /// The clock on the wall.
    pub unix: UnixMillis,
}

impl Now {
    /// Milliseconds of the clock of timeouts; never 0, which stands for "never".
    fn ms(self) -> i64 {
        (self.monotonic.0 / 1_000_000) as i64 + 1
    }

    /// A moment of the clock of timeouts as wall time; 0 stays 0.
    fn unix_of(self, ms: i64) -> UnixMillis {
        UnixMillis(if ms == 0 { 0 } else { self.unix.0 - (self.ms() - ms) })
    }

    /// A wall time on the clock of timeouts.
    fn ms_of(self, unix: UnixMillis) -> i64 {
        self.ms().saturating_sub(self.unix.0.saturating_sub(unix.0))
    }
}

/// What has happened.
#[derive(Clone, Debug)]
pub enum Input<'a> {
    /// Time has passed; wanted at [`Cluster::deadline`].
    Tick,
    /// A link that we dialled stands.
    LinkUp {
        /// Which.
        link: LinkId,
        /// The address at its other end, to which a name was resolved; none for a mailbox.
        peer: Option<Host>,
    },
    /// Somebody has dialled us. Neither address for a mailbox.
    Accepted {
        /// Which.
        link: LinkId,
        /// Who.
        peer: Option<Host>,
        /// The address of ours that was dialled.
        local: Option<Host>,
    },
    /// A link has ended, or a dial has failed.
    LinkDown {
        /// Which.
        link: LinkId,
        /// How.
        why: LinkEnd,
    },
    /// A link was closed by the driver since its queue passed `cluster-link-sendbuf-limit`.
    LinkOverflown {
        /// Which.
        link: LinkId,
    },
    /// A link was closed by the driver since what came on it is no message of the bus.
    LinkGarbled {
        /// Which.
        link: LinkId,
    },
    /// A whole message has come.
    Frame {
        /// On which link.
        link: LinkId,
        /// Its bytes, as long as [`frame_length`](crate::wire::frame_length) says.
        frame: &'a [u8],
    },
    /// What [`Cluster::save`] gave under this number is on disk.
    Persisted(u64),
    /// How our replication stands: whenever something of it has changed, and once at the end of a turn in which the
    /// offset has grown.
    Replication(ReplicationFacts),
    /// Clients wait as [`PauseOrder::Begin`] had it: nothing grows the offset beyond this until the pause ends.
    Paused {
        /// The last offset.
        offset: u64,
    },
    /// A sibling has just had a PONG from these nodes, at these times.
    SiblingHeard(&'a [(NodeId, UnixMillis)]),
    /// A sibling has learnt the address of our host.
    SiblingHost(Host),
    /// The ids of the shards of our process, by their index; ours among them.
    Siblings(&'a [NodeId]),
}

/// Numbers of CLUSTER INFO.
#[derive(Clone, Copy, Default, Debug)]
struct Counters {
    sent: [u64; MessageKind::COUNT],
    received: [u64; MessageKind::COUNT],
    /// Messages that were not what they said they were.
    dropped: u64,
    /// Links closed since what came on them was no message.
    garbled: u64,
    /// Links closed since they had too much to send.
    overflown: u64,
}

/// What a change makes necessary before the machine rests.
#[derive(Clone, Copy, Default, Debug)]
struct Due {
    /// nodes.conf has changed.
    save: bool,
    /// The state of the cluster is to be judged anew.
    state: bool,
    /// What clients are told has changed.
    view: bool,
    /// Something has happened for which our candidacy may wait.
    election: bool,
}

/// A node's cluster: see the module.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    table: Table,
    slots: Slots,
    links: Links,
    myself: NodeIndex,
    current_epoch: u64,
    last_vote_epoch: u64,
    /// Of each master, the replica that we last voted for.
    voted_for: BTreeMap<NodeIndex, NodeIndex>,
    announcement: Announcement,
    state: State,
    /// How our replication stands, and whom it was told to follow.
    replication: ReplicationFacts,
    followed: Option<Master>,
    /// When our master last answered us on the bus, and the port for clients that it told.
    leader_heard: Option<(Monotonic, u16)>,
    /// Our own candidacy.
    election: Election,
    /// The manual failover that is under way.
    manual: Manual,
    /// What we know as replicas of masters without replicas.
    orphans: Orphans,
    /// Nodes that have closed their links to us.
    crashes: Crashes,
    /// Ids that gossip may not bring back, and until when.
    blacklist: BTreeMap<NodeId, i64>,
    /// The shards of our process by their index.
    siblings: Vec<NodeId>,
    counters: Counters,
    due: Due,
    /// Scratch of a heartbeat that is being written.
    picked: Picked,
    ticks: u64,
    next_tick: Monotonic,
    rng: Rng,
}

impl Cluster {
    /// A node that knows nobody, with a name of its own.
    pub fn new(settings: Settings, mut rng: Rng) -> Self {
        let id = random_id(&mut rng);
        let shard_id = random_id(&mut rng);
        let mut table = Table::default();
        let myself =
            table.add(id, shard_id, NodeFlags::MYSELF | NodeFlags::MASTER, 0).expect("an empty table has room");
        let mut cluster = Self {
            announcement: Announcement::new(id),
            settings,
            table,
            slots: Slots::default(),
            links: Links::default(),
            myself,
            current_epoch: 0,
            last_vote_epoch: 0,
            voted_for: BTreeMap::new(),
            state: State::default(),
            replication: ReplicationFacts::default(),
            followed: None,
            leader_heard: None,
            election: Election::default(),
            manual: Manual::default(),
            orphans: Orphans::new(),
            crashes: Crashes::new(),
            blacklist: BTreeMap::new(),
            siblings: Vec::new(),
            counters: Counters::default(),
            due: Due { save: true, state: true, view: true, election: false },
            picked: Picked::default(),
            ticks: 0,
            next_tick: Monotonic(0),
            rng,
        };
        cluster.wear_settings();
        cluster
    }

    /// Takes note of something that has happened.
    pub fn handle(&mut self, now: Now, input: Input<'_>, actions: &mut Actions) {
        match input {
            Input::Tick => self.tick(now, actions),
            Input::LinkUp { link, peer } => self.link_up(now, link, peer, actions),
            Input::Accepted { link, peer, local } => self.links.accept(link, peer, local, now.ms()),
            Input::LinkDown { link, why } => self.link_down(now, link, why),
            Input::LinkOverflown { link } => {
                self.counters.overflown += 1;
                self.link_down(now, link, LinkEnd::Other);
            }
            Input::LinkGarbled { link } => {
                self.counters.garbled += 1;
                self.link_down(now, link, LinkEnd::Other);
            }
            Input::Frame { link, frame } => self.frame(now, link, frame, actions),
            Input::Persisted(serial) => self.persisted(now, serial, actions),
            Input::Replication(facts) => self.replicated(now, facts, actions),
            Input::Paused { offset } => self.paused(now, offset, actions),
            Input::SiblingHeard(heard) => self.sibling_heard(now, heard),
            Input::SiblingHost(host) => self.sibling_host(host),
            Input::Siblings(ids) => {
                self.siblings = ids.to_vec();
                self.seat_siblings();
            }
        }
        self.settle(now, actions);
    }

    /// When the next [`Input::Tick`] is wanted.
    pub fn deadline(&self) -> Monotonic {
        self.next_tick
    }

    /// Our own name.
    pub fn id(&self) -> NodeId {
        self.table.row(self.myself).id
    }

    /// The name of our group of master and replicas.
    pub fn shard_id(&self) -> NodeId {
        self.table.row(self.myself).shard_id
    }

    /// The ids of the shards of our process, by their index.
    pub fn siblings(&self) -> &[NodeId] {
        &self.siblings
    }

    /// The settings in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Obeys other settings from now on (CONFIG SET).
    pub fn set_settings(&mut self, now: Now, settings: Settings, actions: &mut Actions) {
        if self.settings.host.is_some() && settings.host.is_none() {
            // It is learnt anew from who dials us (Redis 7.2 `clusterUpdateMyselfIp`).
            self.table.row_mut(self.myself).host = None;
        }
        self.settings = settings;
        self.table.wake_all();
        self.wear_settings();
        self.mark_all();
        self.settle(now, actions);
    }

    /// The row of ourselves says what the settings announce.
    fn wear_settings(&mut self) {
        let row = self.table.row_mut(self.myself);
        row.port = self.settings.port;
        row.other_port = self.settings.other_port;
        row.bus_port = self.settings.bus_port;
        row.hostname.clone_from(&self.settings.hostname);
        row.nodename.clone_from(&self.settings.nodename);
        row.flags.set(NodeFlags::NO_FAILOVER, self.settings.replicas.never_fails_over);
        if self.settings.host.is_some() {
            row.host.clone_from(&self.settings.host);
        }
        self.seat_siblings();
    }

    /// Our siblings live where we do, at the ports in a row with ours: what a file says of them may be of another place,
    /// and they tell us nothing before we tell others of them.
    fn seat_siblings(&mut self) {
        let own = self.table.row(self.myself);
        let (host, port, bus_port) = (own.host.clone(), own.port, own.bus_port);
        let shard = self.settings.shard;
        let beside = |port: u16, index: u16| (port.checked_sub(shard)?).checked_add(index);
        for (index, id) in (0..).zip(core::mem::take(&mut self.siblings)) {
            if let Some(node) = self.table.find(&id).filter(|&node| node != self.myself) {
                let row = self.table.row_mut(node);
                if let (Some(port), Some(bus_port)) = (beside(port, index), beside(bus_port, index)) {
                    (row.port, row.bus_port) = (port, bus_port);
                }
                if host.is_some() {
                    row.host.clone_from(&host);
                    row.flags.remove(NodeFlags::NO_ADDRESS);
                }
            }
            self.siblings.push(id);
        }
    }

    /// Does what the changes of this turn ask for.
    fn settle(&mut self, now: Now, actions: &mut Actions) {
        if core::mem::take(&mut self.due.election) {
            self.advance_election(now, actions);
        }
        if core::mem::take(&mut self.due.state) {
            self.update_state(now, actions);
        }
        let due = core::mem::take(&mut self.due);
        self.due.state = due.state;
        actions.save |= due.save;
        actions.view |= due.view;
        self.tell_role(actions);
    }

    /// Everything about the nodes has changed: disk, state and view.
    fn mark_all(&mut self) {
        self.due = Due { save: true, state: true, view: true, election: true };
    }

    /// Whether a node is a shard of our process, and which.
    fn sibling(&self, id: &NodeId) -> Option<u16> {
        (0..).zip(&self.siblings).find(|(_, sibling)| *sibling == id).map(|(index, _)| index)
    }

    /// Whether we count as a master.
    fn is_master(&self) -> bool {
        self.table.row(self.myself).is_master()
    }
}

/// A name that nobody else has.
fn random_id(rng: &mut Rng) -> NodeId {
    NodeId::of_random(core::array::from_fn(|_| rng.next_u64()))
}
