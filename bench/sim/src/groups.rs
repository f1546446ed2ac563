//! Clusters of masters with replicas, whose clients write while hosts die and networks part.

use crate::checkers::{disagreement, view};
use crate::recovery::{self, Helpless};
use crate::scenario::{Failure, Kind, Options, living, proceed};
use crate::world::{MS, Plan, SECOND, World};
use crate::{faults, losses, operator};
use slotmesh_base::{Rng, SLOT_COUNT, Slot};
use slotmesh_cluster::machine::{Admin, Failover, ReplicaRules};
use slotmesh_cluster::wire::NodeFlags;

/// How often the operator may try to help.
const HELPS_MAX: usize = 8;

/// How many groups were helped, by [`Helpless`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Helped([usize; Helpless::ALL.len()]);

impl Helped {
    /// Those that were helped, and why.
    pub fn each(self) -> impl Iterator<Item = (Helpless, usize)> {
        Helpless::ALL.into_iter().zip(self.0).filter(|&(_, count)| count > 0)
    }
}

/// What a run with replicas has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GroupsReport {
    /// The same for two runs of one seed.
    pub fingerprint: u64,
    /// Votes that were given.
    pub votes: usize,
    /// Promotions.
    pub promotions: usize,
    /// Writes of which clients were told that a second node has them.
    pub acknowledged: usize,
    /// Those of them that are lost: only where groups have several replicas, of which one takes over that was not asked.
    pub lost: usize,
    /// Those that are lost as both of their copies have died, one at least for good.
    pub excused: usize,
    /// How often a node has lost its data.
    pub losses: usize,
    /// Groups that an operator had to help, since none of their nodes could take over by itself.
    pub helped: Helped,
    /// How long after the last fault all was well, in simulated milliseconds.
    pub healed_after_ms: u64,
}

/// Runs one seed: groups of a master and its replicas on different hosts. With one replica in each group nothing may be lost
/// of which a client was told that the replica has it.
///
/// # Errors
/// What did not hold.
pub fn run_groups(options: Options) -> Result<GroupsReport, Failure> {
    let mut rng = Rng::new(options.seed ^ 0x9a0b5);
    let masters = 3 + rng.below(3) as usize;
    let replicas = if rng.below(4) == 0 { 2 } else { 1 };
    let shards = 1 + rng.below(2) as u16;
    let hosts = (masters * (1 + replicas)).div_ceil(usize::from(shards)).max(3);
    let plan = Plan {
        seed: options.seed,
        puppets: 0,
        shards: vec![shards; hosts],
        timeout_ms: [1000, 2000, 5000][rng.below(3) as usize],
        save_ns: [2, 20, 100][rng.below(3) as usize] * MS,
        disk_lies: options.disk_lies,
        hasty_winners: false,
        siblings: true,
        checks: true,
        trace: options.trace,
        rules: ReplicaRules {
            crash_detect_ms: [0, 300][rng.below(2) as usize],
            ping_period_ms: [1000, 10_000][rng.below(2) as usize],
            allows_migration: rng.below(4) > 0,
            ..ReplicaRules::default()
        },
        loses: rng.below(2) == 0,
        hides_offsets: false,
        disguises: false,
    };
    let mut world = World::new(plan);
    world.safety.is_strict = true;
    let mut play = Play { world: &mut world, rng: &mut rng, masters, replicas };
    play.play().map_err(|what| Failure { options, what, kind: Kind::Groups })
}

/// A run under way.
pub(crate) struct Play<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) rng: &'a mut Rng,
    pub(crate) masters: usize,
    pub(crate) replicas: usize,
}

impl Play<'_> {
    fn play(&mut self) -> Result<GroupsReport, String> {
        let hosts = self.world.hosts.len();
        (0..hosts).for_each(|host| self.world.start(host));
        self.form()?;
        let first = |group: usize| Slot::new((group * SLOT_COUNT / self.masters) as u16);
        self.world.begin_writes((0..self.masters).filter_map(first).collect());
        let end = self.world.now_ns + (30 + self.rng.below(90)) * SECOND;
        while self.world.now_ns < end {
            let pause = self.rng.below(4 * SECOND);
            proceed(self.world, pause)?;
            match self.rng.below(6) {
                0 => self.hand_over(),
                1 => self.stop()?,
                _ => faults::strike(self.world),
            }
            if self.world.plan.loses && self.rng.below(4) == 0 {
                losses::adopt(self.world);
            }
        }
        faults::end(self.world);
        let healed_at = self.world.now_ns;
        let helped = self.heal()?;
        let healed_after_ms = (self.world.now_ns - healed_at) / MS;
        let (lost, excused) = self.world.lost_writes();
        if !lost.is_empty() && self.replicas == 1 {
            return Err(format!("{} writes are lost that two nodes had, such as {:?}", lost.len(), &lost[..1]));
        }
        Ok(GroupsReport {
            fingerprint: self.world.fingerprint,
            votes: self.world.safety.votes(),
            promotions: self.world.promotions,
            acknowledged: self.world.ledger.acknowledged.len(),
            lost: lost.len(),
            excused: excused.len(),
            losses: self.world.strays.losses,
            helped,
            healed_after_ms,
        })
    }

    /// Masters and their replicas, no two of one group on one host.
    pub(crate) fn form(&mut self) -> Result<(), String> {
        let nodes: Vec<usize> = (0..self.world.nodes.len()).collect();
        // One of each host, then the second ones: neighbours live on different hosts.
        let mut order = nodes.clone();
        order.sort_by_key(|&node| (self.world.nodes[node].shard, self.world.nodes[node].host));
        let masters = order[..self.masters].to_vec();
        operator::form(self.world, &masters);
        for &node in &order[self.masters..] {
            operator::meet(self.world, node, masters[0]);
        }
        self.until(60 * SECOND, "formed", |world| disagreement(world, &living(world)))?;
        let mut rest = order[self.masters..].to_vec();
        for nth in 0..self.masters * self.replicas {
            let master = masters[nth % self.masters];
            let host = self.world.nodes[master].host;
            let place = rest.iter().position(|&node| self.world.nodes[node].host != host);
            let Some(place) = place else { continue };
            let (node, id) = (rest.swap_remove(place), self.world.id(master));
            self.world.order(node, Admin::Replicate { id, has_keys: false });
        }
        self.until(60 * SECOND, "replicated", unhealthy)
    }

    /// A process stops in good order, as SIGTERM would have it.
    fn stop(&mut self) -> Result<(), String> {
        let machines = operator::machines(self.world);
        if machines.is_empty() {
            return Ok(());
        }
        let host = self.world.nodes[machines[self.rng.below(machines.len() as u64) as usize]].host;
        for node in machines.into_iter().filter(|&node| self.world.nodes[node].host == host).collect::<Vec<_>>() {
            self.world.hand_over(node);
        }
        let pause = self.rng.below(SECOND);
        proceed(self.world, pause)?;
        if self.world.hosts[host].is_up {
            self.world.crash(host, false, true);
        }
        Ok(())
    }

    /// A replica takes over by order.
    fn hand_over(&mut self) {
        let replicas: Vec<usize> = operator::machines(self.world)
            .into_iter()
            .filter(|&node| self.world.cluster(node).is_some_and(slotmesh_cluster::machine::Cluster::is_replica))
            .collect();
        if !replicas.is_empty() {
            let node = replicas[self.rng.below(replicas.len() as u64) as usize];
            self.world.order(node, Admin::Failover(Failover::Agreed));
        }
    }

    /// All is well within the bound: reports of failure end, elections are repeated after four times twice the node timeout,
    /// nodes that lost their place follow, and images are taken. How many groups could not come back by themselves.
    fn heal(&mut self) -> Result<Helped, String> {
        let timeout = self.world.plan.timeout_ms as u64 * MS;
        let bound = 30 * timeout + 20 * SECOND;
        if !self.world.plan.loses {
            self.until(bound, "healed", unhealthy)?;
            return Ok(Helped::default());
        }
        let helpless = recovery::helpless(self.world);
        let mut helped = Helped::default();
        for _ in 0..HELPS_MAX {
            let unserved = |world: &World| recovery::unserved(world).first().map(|group| format!("group {group}"));
            let Some(why) = self.wait(bound, unserved)? else { break };
            // One group that is not served keeps the others from serving. One takes over at a time: without votes two could
            // take the same epoch.
            let is_stuck = |group: usize| {
                let why = *helpless.get(&group)?;
                (!recovery::has_voice(self.world, group)).then_some((group, why))
            };
            let stuck = recovery::unserved(self.world).into_iter().find_map(is_stuck);
            let Some((stuck, why)) = stuck else {
                return Err(format!("{why} could have come back, and has not within {} ms", bound / MS));
            };
            recovery::help(self.world, stuck);
            helped.0[why as usize] += 1;
            proceed(self.world, timeout)?;
        }
        // A name that was forgotten may come back for a minute, and then again.
        self.until(bound + 150 * SECOND, "healed", unhealthy)?;
        Ok(helped)
    }

    pub(crate) fn until(
        &mut self,
        ns: u64,
        what: &str,
        why_not: impl Fn(&World) -> Option<String>,
    ) -> Result<(), String> {
        match self.wait(ns, why_not)? {
            Some(why) => Err(format!("not {what} within {} ms: {why}", ns / MS)),
            None => Ok(()),
        }
    }

    /// Waits until there is no reason why not; which one there was in the end.
    fn wait(&mut self, ns: u64, why_not: impl Fn(&World) -> Option<String>) -> Result<Option<String>, String> {
        let end = self.world.now_ns + ns;
        while let Some(why) = why_not(self.world) {
            if self.world.now_ns >= end {
                return Ok(Some(why));
            }
            proceed(self.world, 200 * MS)?;
            if self.world.plan.loses {
                losses::adopt(self.world);
            }
        }
        Ok(None)
    }
}

/// Why not all is well: all agree, all slots are served, each replica follows a master with slots and is in sync.
pub(crate) fn unhealthy(world: &World) -> Option<String> {
    if let Some(why) = disagreement(world, &living(world)) {
        return Some(why);
    }
    for node in operator::machines(world) {
        let cluster = world.cluster(node)?;
        if !cluster.is_ok() {
            return Some(format!("node {node} does not serve"));
        }
        let view = view(world, node)?;
        for seen in view.nodes.iter().filter(|seen| !seen.flags.contains(NodeFlags::MASTER)) {
            let master = view.nodes.iter().find(|other| Some(other.id) == seen.master);
            if master.is_none_or(|master| !master.flags.contains(NodeFlags::MASTER)) {
                return Some(format!("node {node} sees {} follow {:?}", seen.id, seen.master));
            }
        }
        if cluster.is_replica() && !world.is_in_sync(node) {
            return Some(format!("node {node} is not in sync"));
        }
    }
    None
}
