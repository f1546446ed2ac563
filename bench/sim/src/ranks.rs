//! Who of several replicas takes over: the one with the greatest offset, unless it is cut off.
//!
//! Replicas of a master fall behind one after the other while clients write; then the master dies, and now and then the
//! best of its replicas cannot be reached. In the end it comes back, and the next master dies.

use crate::groups::{self, Play};
use crate::scenario::{Failure, Kind, Options, proceed};
use crate::world::{MS, Plan, SECOND, World};
use crate::{faults, operator};
use slotmesh_base::{Rng, SLOT_COUNT, Slot};
use slotmesh_cluster::machine::ReplicaRules;

const MASTERS: usize = 3;
const REPLICAS: usize = 3;
/// Masters that die in a run.
const DEATHS: usize = 6;

/// What a run has seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RanksReport {
    /// The same for two runs of one seed.
    pub fingerprint: u64,
    /// Replicas that have taken over, each of which had most.
    pub promotions: usize,
    /// Of these, how many had most but for one that was cut off.
    pub second_best: usize,
}

/// Runs one seed.
///
/// # Errors
/// If a replica takes over though another could have, which had more; or if nobody does.
pub fn run_ranks(options: Options) -> Result<RanksReport, Failure> {
    let mut rng = Rng::new(options.seed ^ 0x4a4c);
    let plan = Plan {
        seed: options.seed,
        puppets: 0,
        shards: vec![1; MASTERS * (1 + REPLICAS)],
        timeout_ms: [1000, 2000, 5000][rng.below(3) as usize],
        save_ns: [2, 20, 100][rng.below(3) as usize] * MS,
        disk_lies: false,
        hasty_winners: false,
        siblings: true,
        checks: true,
        trace: options.trace,
        rules: ReplicaRules { crash_detect_ms: [0, 300][rng.below(2) as usize], ..ReplicaRules::default() },
        loses: false,
        hides_offsets: options.hides_offsets,
        disguises: false,
    };
    let mut world = World::new(plan);
    world.safety.is_strict = true;
    let mut play = Play { world: &mut world, rng: &mut rng, masters: MASTERS, replicas: REPLICAS };
    deaths(&mut play).map_err(|what| Failure { options, what, kind: Kind::Ranks })
}

fn deaths(play: &mut Play<'_>) -> Result<RanksReport, String> {
    (0..play.world.hosts.len()).for_each(|host| play.world.start(host));
    play.form()?;
    let first = |group: usize| Slot::new((group * SLOT_COUNT / MASTERS) as u16);
    play.world.begin_writes((0..MASTERS).filter_map(first).collect());
    let mut second_best = 0;
    for _ in 0..DEATHS {
        proceed(play.world, SECOND)?;
        second_best += usize::from(death(play)?);
        faults::end(play.world);
        play.until(60 * SECOND, "healed", groups::unhealthy)?;
    }
    Ok(RanksReport { fingerprint: play.world.fingerprint, promotions: DEATHS, second_best })
}

/// A master dies; whether the best of its replicas was cut off.
fn death(play: &mut Play<'_>) -> Result<bool, String> {
    let owners: Vec<usize> =
        operator::masters(play.world).into_iter().filter(|&node| play.world.has_replicas(node)).collect();
    let master = owners[play.rng.below(owners.len() as u64) as usize];
    let mut replicas = play.world.replicas(master);
    // Which of them falls behind first has nothing to do with its name.
    for place in (1..replicas.len()).rev() {
        replicas.swap(place, play.rng.below(place as u64 + 1) as usize);
    }
    for &replica in &replicas {
        play.world.hold_back(replica);
        // As long as others hear from each other, and a few writes more.
        let pause = SECOND + play.world.plan.timeout_ms as u64 * MS / 2;
        proceed(play.world, pause + play.rng.below(SECOND))?;
    }
    let is_cut_off = play.rng.below(3) == 0 && replicas.len() > 1;
    let best = replicas.pop().unwrap_or(master);
    if is_cut_off {
        let host = play.world.nodes[best].host;
        (0..play.world.hosts.len()).for_each(|other| {
            play.world.network.cut(host, other);
            play.world.network.cut(other, host);
        });
    }
    let heir = if is_cut_off { replicas.pop().unwrap_or(best) } else { best };
    let (host, is_silent) = (play.world.nodes[master].host, play.rng.below(2) == 0);
    play.world.crash(host, is_silent, true);
    let timeout = play.world.plan.timeout_ms as u64 * MS;
    let leads = |world: &World, node: usize| world.cluster(node).is_some_and(|it| !it.is_replica());
    let others: Vec<usize> = replicas.into_iter().chain([best, heir]).collect();
    let nobody = |world: &World| others.iter().all(|&node| !leads(world, node)).then(|| "nobody leads".to_owned());
    play.until(15 * timeout + 10 * SECOND, "replaced", nobody)?;
    let winner = others.iter().copied().find(|&node| leads(play.world, node)).unwrap_or(heir);
    let had = |node: usize| play.world.data[node].log.len();
    if had(winner) < had(heir) {
        let offsets: Vec<(usize, usize)> = others.iter().map(|&node| (node, had(node))).collect();
        return Err(format!("node {winner} takes over instead of node {heir}; they had {offsets:?} writes"));
    }
    Ok(is_cut_off)
}
