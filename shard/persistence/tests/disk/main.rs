//! The journal, and files made of images, on a simulated disk, which loses what was not synced, tears what was being written,
//! forgets names, fills up and fails: what clients were told is never lost, the node can always start from what is left, and
//! an image is there as a whole or not at all.
//!
//! `SEEDS=100000 cargo test --release -p slotmesh-persistence --test disk` tries more of them.

mod disk;
mod saver;
mod world;

use saver::Saver;
use slotmesh_persistence::SyncPolicy;
use world::{Mood, World};

fn seeds(default: u64) -> u64 {
    std::env::var("SEEDS").ok().and_then(|count| count.parse().ok()).unwrap_or(default)
}

fn lives(policy: SyncPolicy, mood: Mood, first: u64) {
    let mut rewrites = 0;
    for seed in first..first + seeds(300) {
        let mut world = World::new(seed, policy, mood);
        for _ in 0..4 {
            world.live();
        }
        rewrites += world.rewrites_done;
    }
    assert!(rewrites > 50, "only {rewrites} rewrites came to their end");
}

#[test]
fn with_always_nothing_is_lost_that_a_client_was_told() {
    lives(SyncPolicy::Always, Mood { power_fails: true, disk_fails: false }, 0);
}

#[test]
fn with_everysec_two_seconds_are_lost_at_most() {
    lives(SyncPolicy::EverySecond, Mood { power_fails: true, disk_fails: false }, 10_000);
}

#[test]
fn with_no_the_node_starts_all_the_same() {
    lives(SyncPolicy::No, Mood { power_fails: true, disk_fails: false }, 20_000);
}

#[test]
fn a_process_that_is_killed_loses_no_more_than_was_under_way() {
    lives(SyncPolicy::Always, Mood { power_fails: false, disk_fails: false }, 30_000);
    lives(SyncPolicy::EverySecond, Mood { power_fails: false, disk_fails: false }, 40_000);
}

#[test]
fn a_disk_that_fills_up_and_fails_takes_nothing_with_it() {
    lives(SyncPolicy::Always, Mood { power_fails: true, disk_fails: true }, 50_000);
    lives(SyncPolicy::EverySecond, Mood { power_fails: true, disk_fails: true }, 60_000);
}

fn saves(mood: Mood, first: u64) {
    let (mut successes, mut failures, mut given_up) = (0, 0, 0);
    for seed in first..first + seeds(300) {
        let mut saver = Saver::new(seed, mood);
        for _ in 0..4 {
            saver.live();
        }
        successes += saver.successes;
        failures += saver.failures;
        given_up += saver.given_up;
    }
    assert!(successes > 1000 && given_up > 100, "only {successes} saves came to their end, {given_up} were given up");
    assert_eq!(failures > 100, mood.disk_fails, "{failures} saves have failed");
}

#[test]
fn a_save_that_the_end_of_process_or_machine_cuts_leaves_the_old_file_or_the_new_one() {
    saves(Mood { power_fails: false, disk_fails: false }, 70_000);
    saves(Mood { power_fails: true, disk_fails: false }, 80_000);
}

#[test]
fn a_save_that_fails_leaves_the_old_file_and_nothing_else() {
    saves(Mood { power_fails: false, disk_fails: true }, 90_000);
    saves(Mood { power_fails: true, disk_fails: true }, 100_000);
}
