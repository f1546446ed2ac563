//! One run: a cluster forms, all goes wrong for a while, then the network heals and all must agree again.

use crate::checkers::{disagreement, view};
use crate::puppet::Puppet;
use crate::world::{Brain, MS, Plan, SECOND, World};
use crate::{faults, operator, stale};
use slotmesh_base::{Rng, SLOT_COUNT, Slot};
use slotmesh_cluster::machine::{Admin, ReplicaRules};
use slotmesh_cluster::{NodeId, SlotSet};
use std::collections::BTreeSet;
use std::fmt;

/// How long a name stays forgotten, and a little more.
const FORGETTING_NS: u64 = 62 * SECOND;

/// What a run may be told.
#[derive(Clone, Copy, Default, Debug)]
pub struct Options {
    /// Decides all.
    pub seed: u64,
    /// Print what happens.
    pub trace: bool,
    /// Break the disks: saves are confirmed before they are on disk.
    pub disk_lies: bool,
    /// Break elections: a single vote is enough to win.
    pub hasty_winners: bool,
    /// Break ranks: no replica tells how far it is.
    pub hides_offsets: bool,
}

/// What a run that went well has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// The same for two runs of one seed.
    pub fingerprint: u64,
    /// Votes that masters gave to replicas.
    pub votes: usize,
    /// Elections that replicas won.
    pub elections: usize,
    /// How long after the last fault (the last order, if there is an operator) all agreed, in simulated milliseconds.
    pub agreed_after_ms: u64,
}

/// What went wrong.
#[derive(Debug)]
pub struct Failure {
    pub(crate) options: Options,
    pub(crate) what: String,
    pub(crate) kind: Kind,
}

/// A kind of run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// [`run`].
    Masters,
    /// [`run_groups`](crate::run_groups).
    Groups,
    /// [`run_ranks`](crate::run_ranks).
    Ranks,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { options: Options { seed, disk_lies, hasty_winners, hides_offsets, .. }, what, kind } = self;
        let lies = if *disk_lies { " --disk-lies" } else { "" };
        let hasty = if *hasty_winners { " --hasty-winners" } else { "" };
        let hidden = if *hides_offsets { " --hides-offsets" } else { "" };
        let kind = match kind {
            Kind::Masters => " --masters",
            Kind::Groups => " --groups",
            Kind::Ranks => " --ranks",
        };
        writeln!(f, "seed {seed}: {what}")?;
        write!(f, "again: cargo run --release -p slotmesh-sim -- --seed {seed}{kind}{lies}{hasty}{hidden} --trace")
    }
}

impl std::error::Error for Failure {}

/// Runs one seed.
///
/// Half of the seeds are strict: epochs come from votes alone, which puppets of replicas ask for, and no two masters may
/// ever claim a slot in one epoch. In the others an operator orders about at random; what follows must heal.
///
/// # Errors
/// What did not hold.
pub fn run(options: Options) -> Result<Report, Failure> {
    let mut rng = Rng::new(options.seed ^ 0x5eed);
    let is_strict = rng.below(2) == 0;
    let hosts = 3 + rng.below(4) as usize;
    let shards: Vec<u16> = (0..hosts).map(|_| [1, 1, 1, 2, 3][rng.below(5) as usize]).collect();
    let plan = Plan {
        seed: options.seed,
        puppets: if is_strict { 4 } else { 0 },
        shards,
        timeout_ms: [1000, 1000, 2000][rng.below(3) as usize],
        save_ns: [2, 20, 400][rng.below(3) as usize] * MS,
        disk_lies: options.disk_lies,
        hasty_winners: options.hasty_winners,
        siblings: true,
        checks: true,
        trace: options.trace,
        rules: ReplicaRules::default(),
        loses: false,
        hides_offsets: false,
        disguises: false,
    };
    let mut world = World::new(plan);
    world.safety.is_strict = is_strict;
    play(&mut world, &mut rng).map_err(|what| Failure { options, what, kind: Kind::Masters })
}

fn play(world: &mut World, rng: &mut Rng) -> Result<Report, String> {
    (0..world.plan.shards.len()).for_each(|host| world.start(host));
    let masters = operator::machines(world);
    operator::form(world, &masters);
    if world.safety.is_strict {
        place_puppets(world, &masters);
    }
    agree(world, "after it was formed")?;
    let end = world.now_ns + (20 + rng.below(60)) * SECOND;
    while world.now_ns < end {
        let pause = rng.below(3 * SECOND);
        proceed(world, pause)?;
        faults::strike(world);
        if rng.below(2) == 0 {
            operator::meddle(world);
        }
    }
    faults::end(world);
    if !world.safety.is_strict {
        mend(world)?;
    }
    let healed_at = world.now_ns;
    agree(world, "after the network healed")?;
    let agreed_after_ms = (world.now_ns - healed_at) / MS;
    if !world.safety.is_strict {
        let bound = agreement_bound(world);
        stale::come_back(world, bound)?;
        agree(world, "after a master came back with old claims")?;
        if rng.below(2) == 0 {
            forget(world)?;
        }
    }
    let is_winner = |brain: &Brain| matches!(brain, Brain::Puppet(puppet) if puppet.has_won());
    let elections = world.nodes.iter().filter(|place| is_winner(&place.brain)).count();
    Ok(Report { fingerprint: world.fingerprint, votes: world.safety.votes(), elections, agreed_after_ms })
}

/// Two rivals for each of two masters.
fn place_puppets(world: &mut World, masters: &[usize]) {
    let voters: Vec<NodeId> = masters.iter().map(|&node| world.id(node)).collect();
    let peers: Vec<_> =
        masters.iter().map(|&node| world.address_of(node)).map(|(host, _, port)| (host, port)).collect();
    let first = world.nodes.len() - world.plan.puppets;
    for nth in 0..world.plan.puppets {
        let index = nth / 2;
        let bound = |nth: usize| nth * SLOT_COUNT / masters.len();
        let mut slots = SlotSet::default();
        for slot in (bound(index)..bound(index + 1)).filter_map(|slot| Slot::new(slot as u16)) {
            slots.insert(slot);
        }
        let followed = (voters[index], slots, index as u64 + 1);
        let wanted = if world.plan.hasty_winners { 1 } else { voters.len() / 2 + 1 };
        let puppet = Puppet::new(&mut world.rng, followed, (voters.clone(), wanted), peers.clone());
        world.place_puppet(first + nth, puppet);
    }
}

pub(crate) fn proceed(world: &mut World, ns: u64) -> Result<(), String> {
    world.run(ns);
    world.safety.failure.take().map_or(Ok(()), Err)
}

pub(crate) fn living(world: &World) -> BTreeSet<NodeId> {
    (0..world.nodes.len()).map(|node| world.id(node)).collect()
}

/// Within which time all agree when nothing goes wrong any more.
///
/// It follows from the node timeout T: a broken link is dialled anew within T and a half; reports of failure count for 2 T,
/// a failure that they cause within that time holds for 2 T more and ends with the next PONG, T/2 later; each collision
/// of epochs takes a round of PINGs, T/2, and n masters at most n rounds; then those in a minority wait up to 5 s.
fn agreement_bound(world: &World) -> u64 {
    let timeout = world.plan.timeout_ms as u64 * MS;
    7 * timeout + world.nodes.len() as u64 * timeout / 2 + 6 * SECOND
}

/// All agree within the bound.
fn agree(world: &mut World, when: &str) -> Result<(), String> {
    let bound = agreement_bound(world);
    let end = world.now_ns + bound;
    let all = living(world);
    loop {
        let Some(why) = disagreement(world, &all) else { return Ok(()) };
        if world.now_ns >= end {
            return Err(format!("{} ms {when} there is no agreement: {why}", bound / MS));
        }
        proceed(world, 200 * MS)?;
    }
}

/// What random orders have left behind is put right: names that are gone, nodes that were forgotten, slots of nobody.
fn mend(world: &mut World) -> Result<(), String> {
    // What is forgotten stays so for a minute, wherever it is met.
    proceed(world, FORGETTING_NS)?;
    let all = living(world);
    operator::reunite(world, &all);
    let round = 8 * world.plan.timeout_ms as u64 * MS;
    proceed(world, round)?;
    operator::cover(world);
    // Names that are gone are forgotten for a minute; those who heard of them late forget them now.
    operator::reunite(world, &all);
    Ok(())
}

/// A node that all forget at once comes back to nobody as long as it is forbidden, though it speaks to all.
fn forget(world: &mut World) -> Result<(), String> {
    let nodes = operator::machines(world);
    // A replica cannot forget its master.
    let followed: BTreeSet<NodeId> = nodes
        .iter()
        .filter_map(|&node| view(world, node))
        .flat_map(|view| view.nodes)
        .filter_map(|it| it.master)
        .collect();
    let leavers: Vec<usize> = nodes.iter().copied().filter(|&node| !followed.contains(&world.id(node))).collect();
    let lost = leavers[world.rng.below(leavers.len() as u64) as usize];
    let id = world.id(lost);
    for &node in nodes.iter().filter(|&&node| node != lost) {
        world.order(node, Admin::Forget(id));
    }
    for &node in nodes.iter().filter(|&&node| node != lost) {
        let known = view(world, node).is_some_and(|view| view.nodes.iter().any(|seen| seen.id == id));
        if known {
            return Err(format!("node {node} still knows {id} behind CLUSTER FORGET"));
        }
    }
    world.safety.forgotten_by(id, lost);
    proceed(world, 50 * SECOND)
}
