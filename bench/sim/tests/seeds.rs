//! Seeds: fixed ones and fresh ones, the same run twice, and what is broken on purpose, which must not go unnoticed.

use slotmesh_sim::{Failure, Options, run, run_groups, run_ranks};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicUsize, Ordering};

const FIXED: u64 = 48;
const FRESH: u64 = 4;
const BROKEN: u64 = 16;
const RANKS: u64 = 6;

/// Runs seeds on two threads; what failed.
fn run_all<R>(
    seeds: impl Iterator<Item = u64>,
    options: Options,
    run: impl Fn(Options) -> Result<R, Failure> + Sync,
) -> Vec<String> {
    let seeds: Vec<u64> = seeds.collect();
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failures = Vec::new();
        while let Some(&seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(failure) = run(Options { seed, ..options }) {
                failures.push(failure.to_string());
            }
        }
        failures
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("a run does not panic")).collect()
    })
}

#[test]
fn fixed_and_fresh_seeds_go_well() {
    let fresh = RandomState::new().hash_one(0u8) >> 16;
    println!("fresh seeds from {fresh} on");
    let failures = run_all((0..FIXED).chain(fresh..fresh + FRESH), Options::default(), run);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Two masters for a slot in one epoch, a write lost that two nodes had, or a slot that nobody serves in the end: each would
/// end a run.
#[test]
fn groups_keep_what_clients_were_told() {
    let fresh = RandomState::new().hash_one(1u8) >> 16;
    println!("fresh seeds from {fresh} on");
    let failures = run_all((0..FIXED).chain(fresh..fresh + FRESH), Options::default(), run_groups);
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    // Half of them lose data with the hosts that die, and some of those lose names, too.
    let seed = (0..FIXED).find(|&seed| {
        let report = run_groups(Options { seed, ..Options::default() }).expect("a good seed");
        report.losses > 0 && report.promotions > 0 && report.acknowledged > 0
    });
    let options = Options { seed: seed.expect("runs without losses show little"), ..Options::default() };
    assert_eq!(run_groups(options).expect("a good seed"), run_groups(options).expect("a good seed"));
}

#[test]
fn the_replica_that_has_most_takes_over_unless_it_is_cut_off() {
    let runs = (0..RANKS).map(|seed| run_ranks(Options { seed, ..Options::default() }));
    let reports: Vec<_> = runs.collect::<Result<_, _>>().unwrap_or_else(|failure| panic!("{failure}"));
    let second_best: usize = reports.iter().map(|report| report.second_best).sum();
    assert!(second_best > 0 && second_best < reports.iter().map(|report| report.promotions).sum(), "{reports:?}");
    assert_eq!(run_ranks(Options::default()).expect("a good seed"), reports[0]);
}

/// Replicas that do not tell how far they are stand in any order, and that is found.
#[test]
fn ranks_that_mean_nothing_are_found_out() {
    let failures = run_all(0..RANKS, Options { hides_offsets: true, ..Options::default() }, run_ranks);
    assert!(failures.iter().any(|failure| failure.contains("takes over instead of")), "{failures:#?}");
}

#[test]
fn a_seed_decides_a_run() {
    for seed in [1, 9] {
        let options = Options { seed, ..Options::default() };
        let (first, second) = (run(options).expect("a good seed"), run(options).expect("a good seed"));
        assert_eq!(first, second);
        assert!(first.votes > 0, "a run in which nobody votes shows little: {first:?}");
    }
}

/// The checkers are awake: a node that believes its disk too early forgets epochs, and that is found.
#[test]
fn disks_that_lie_are_found_out() {
    assert_found("told configEpoch", Options { disk_lies: true, ..Options::default() });
}

/// Rivals who win without a majority take the same slots in one epoch, and that is found.
#[test]
fn winners_without_a_majority_are_found_out() {
    assert_found("claim the same slots", Options { hasty_winners: true, ..Options::default() });
}

fn assert_found(words: &str, options: Options) {
    let failures = run_all(0..BROKEN, options, run);
    assert!(failures.iter().any(|failure| failure.contains(words)), "{failures:#?}");
}
