//! Clusters that no desk holds: what nodes say to each other when nothing happens, and how soon a death is known.
//!
//! The nodes start from nodes.conf of a cluster that has been formed, all masters with slots, and dial each other.

use crate::disk::Disk;
use crate::world::{MS, Plan, SECOND, World, address, ports};
use slotmesh_base::{Rng, SLOT_COUNT, UnixMillis};
use slotmesh_cluster::NodeId;
use slotmesh_cluster::machine::{ReplicaRules, Save};
use slotmesh_cluster::nodes_conf::{self, SavedCluster, SavedNode};
use slotmesh_cluster::wire::NodeFlags;
use std::time::{Duration, Instant};

/// What is measured: a cluster of equal hosts.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of hosts, each with one process.
    pub hosts: usize,
    /// Shards of each process.
    pub shards: u16,
    /// `cluster-node-timeout`, in ms.
    pub timeout_ms: i64,
    /// Whether the shards of a process know that they are siblings.
    pub siblings: bool,
    /// Whether nobody knows that others are of his kind: what our kind tells each other at once waits for heartbeats then,
    /// as among stock nodes.
    pub disguises: bool,
}

/// What a quiet cluster does.
#[derive(Clone, Copy, Debug)]
pub struct Quiet {
    /// Time that a CPU took for a simulated minute.
    pub minute_took: Took,
    /// Messages between hosts in a second, for each process.
    pub messages: f64,
    /// Their bytes.
    pub bytes: f64,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// By the clock.
    pub real: Duration,
    /// On the CPU, which others may have used in between; by the clock where the system does not say.
    pub cpu: Duration,
}

/// A time that runs.
struct Watch(Instant, Option<Duration>);

impl Watch {
    fn start() -> Self {
        Self(Instant::now(), cpu_time())
    }

    fn took(&self) -> Took {
        let real = self.0.elapsed();
        let cpu = self.1.zip(cpu_time()).map_or(real, |(before, now)| now.saturating_sub(before));
        Took { real, cpu }
    }
}

/// What the calling thread has used of the CPU, where Linux tells it.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// A large cluster that runs.
pub struct Large {
    world: World,
    shape: Shape,
    /// What the start took: all load a nodes.conf that knows all, dial each other, and become quiet.
    pub start_took: Took,
}

impl Large {
    /// Starts all, and waits until what the start brings along is over.
    pub fn start(shape: Shape) -> Self {
        let watch = Watch::start();
        let plan = Plan {
            seed: 1,
            shards: vec![shape.shards; shape.hosts],
            puppets: 0,
            timeout_ms: shape.timeout_ms,
            save_ns: 2 * MS,
            disk_lies: false,
            hasty_winners: false,
            siblings: shape.siblings,
            checks: false,
            trace: false,
            rules: ReplicaRules::default(),
            loses: false,
            hides_offsets: false,
            disguises: shape.disguises,
        };
        let mut world = World::new(plan);
        let mut saved = formed(shape);
        for node in 0..saved.nodes.len() {
            saved.nodes[node].flags.insert(NodeFlags::MYSELF);
            let mut text = String::new();
            nodes_conf::write(&mut text, &saved);
            saved.nodes[node].flags.remove(NodeFlags::MYSELF);
            world.nodes[node].disk = Disk::default();
            world.nodes[node].disk.write_now(Save { serial: 0, text });
        }
        (0..shape.hosts).for_each(|host| world.start(host));
        world.run(2 * shape.timeout_ms as u64 * MS);
        Self { world, shape, start_took: watch.took() }
    }

    /// Listens to a quiet cluster for some minutes.
    ///
    /// # Panics
    /// If a node misses another: it would not be quiet.
    pub fn listen(&mut self, minutes: u64) -> Quiet {
        let sent = |world: &World| {
            let traffic = world.nodes.iter().map(|node| node.traffic);
            traffic.fold((0, 0), |(messages, bytes), more| (messages + more.messages, bytes + more.bytes))
        };
        let ((messages, bytes), watch) = (sent(&self.world), Watch::start());
        self.world.run(60 * minutes * SECOND);
        let took = watch.took();
        assert!((0..self.world.nodes.len()).all(|node| self.sees(node, NodeFlags::PFAIL | NodeFlags::FAIL) == 0));
        let after = sent(&self.world);
        let each = |count: u64| count as f64 / self.shape.hosts as f64 / (60 * minutes) as f64;
        let took = Took { real: took.real / minutes as u32, cpu: took.cpu / minutes as u32 };
        Quiet { minute_took: took, messages: each(after.0 - messages), bytes: each(after.1 - bytes) }
    }

    /// Ends the process of the first host; how long until all its shards have failed in the eyes of all others, in ms
    /// of simulated time.
    pub fn kill_one(&mut self) -> u64 {
        let (began, shards) = (self.world.now_ns, usize::from(self.shape.shards));
        self.world.crash(0, false, true);
        while !(shards..self.world.nodes.len()).all(|node| self.sees(node, NodeFlags::FAIL) == shards) {
            self.world.run(100 * MS);
        }
        (self.world.now_ns - began) / MS
    }

    /// How many shards of the first host a node sees so.
    fn sees(&self, node: usize, how: NodeFlags) -> usize {
        let Some(cluster) = self.world.cluster(node) else { return 0 };
        let first = (0..usize::from(self.shape.shards)).map(name);
        first.filter(|id| cluster.flags_of(id).is_some_and(|flags| flags.intersects(how))).count()
    }
}

/// The name of a node.
fn name(node: usize) -> NodeId {
    let mut rng = Rng::new(node as u64);
    NodeId::of_random(std::array::from_fn(|_| rng.next_u64()))
}

/// nodes.conf of the whole cluster, as long as nobody in it is `myself`.
fn formed(shape: Shape) -> SavedCluster {
    let count = shape.hosts * usize::from(shape.shards);
    let bound = |nth: usize| (nth * SLOT_COUNT / count) as u16;
    let line = |node: usize| {
        let (port, bus_port) = ports((node % usize::from(shape.shards)) as u16);
        SavedNode {
            id: name(node),
            host: Some(address(node / usize::from(shape.shards), 0)),
            port,
            bus_port,
            other_port: 0,
            hostname: None,
            nodename: None,
            shard_id: Some(name(node)),
            flags: NodeFlags::MASTER,
            master: None,
            ping_sent: UnixMillis(0),
            pong_received: UnixMillis(1),
            config_epoch: node as u64 + 1,
            is_connected: true,
            slots: vec![(bound(node), bound(node + 1) - 1)],
            migrating: Vec::new(),
            importing: Vec::new(),
        }
    };
    SavedCluster { nodes: (0..count).map(line).collect(), current_epoch: count as u64, last_vote_epoch: 0 }
}
