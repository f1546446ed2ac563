//! Random sequences and scripts through the gateway of a cluster of three processes, ours or stock ones: the same replies
//! as from one redis-server. What cannot be done across hosts is not asked for (`hosts.rs`).
//!
//! `SLOTMESH_SEQUENCES` and `SLOTMESH_SCRIPTS` set how many each test runs, `SLOTMESH_SEED` runs the one with this seed.

use slotmesh_conform::{
    Batches, Behind, Flavour, Gateway, Generator, Grammar, Layout, PASSWORD, Reach, Server, assert_same, print_script,
    random_script, run_script, shrink_script, words,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps of a sequence, moves of a script.
const STEPS: usize = 300;
const MOVES: usize = 120;

/// Most requests of a batch.
const BATCH_MAX: u64 = 40;

/// Of so many seeds one is new.
const NEW_SEED_EVERY: u64 = 10;

/// One database, as in a cluster; times to wait that are over are found soon.
const ORACLE: &[&str] = &["--hz", "500", "--databases", "1"];

/// One cluster at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn seeds(variable: &str, default_count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SLOTMESH_SEED") {
        return vec![seed];
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    let count = number(variable).unwrap_or(default_count);
    (1..=count).map(|seed| if seed % NEW_SEED_EVERY == 0 { now.wrapping_add(seed) } else { seed }).collect()
}

/// Runs sequences of a grammar through a gateway and at an oracle.
fn compare(gateway: &Gateway, oracle: &Server, behind: Behind, grammar: Grammar, count: u64) {
    for seed in seeds("SLOTMESH_SEQUENCES", count) {
        let mut opening = Vec::new();
        if grammar != Grammar::Authentication {
            opening.extend(gateway.door.password.map(|_| slotmesh_conform::request(&["AUTH", PASSWORD])));
            opening.push(words("FLUSHALL"));
        }
        if seed % 2 == 1 {
            opening.push(words("HELLO 3"));
        }
        let steps = Generator::reaching(Reach::Hosts, seed, grammar).steps(STEPS);
        let max = if grammar == Grammar::Authentication { 4 } else { BATCH_MAX };
        let subject = format!("SLOTMESH_SEED={seed} ({grammar:?}), before {behind:?}");
        // Shown should a server be silent.
        println!("{subject}");
        assert_same(oracle, &gateway.door, &opening, &steps, Batches { seed, max }, &subject);
    }
}

/// The sequences of the earlier suites.
fn compare_all(behind: Behind, share: u64) {
    let _alone = alone();
    let (gateway, oracle) = (Gateway::start(behind, &["--hz", "500"]), Server::redis(ORACLE));
    let grammars = [
        (Grammar::Data, 60),
        (Grammar::Everything, 60),
        (Grammar::Strings, 30),
        (Grammar::Lists, 40),
        (Grammar::Sorts, 15),
        (Grammar::Transactions, 40),
    ];
    for (grammar, count) in grammars {
        compare(&gateway, &oracle, behind, grammar, count * share / 100);
    }
}

#[test]
fn sequences_run_across_processes_as_in_redis() {
    compare_all(Behind::Ours, 100);
}

#[test]
fn sequences_run_before_a_stock_cluster_as_in_redis() {
    compare_all(Behind::Redis, 50);
}

#[test]
fn authentication_is_that_of_redis_before_a_stock_cluster_with_passwords() {
    let _alone = alone();
    let behind = Behind::RedisWithPassword;
    let oracle = Server::redis(&[ORACLE, &["--requirepass", PASSWORD]].concat());
    compare(&Gateway::start(behind, &[]), &oracle, behind, Grammar::Authentication, 30);
}

/// Several connections that wait for each other, watch each other's keys and queue transactions.
fn scripts_run_alike(behind: Behind, count: u64) {
    let _alone = alone();
    let (gateway, oracle) = (Gateway::start(behind, &["--hz", "500"]), Server::redis(ORACLE));
    for seed in seeds("SLOTMESH_SCRIPTS", count) {
        let flavour = if seed % 2 == 1 { Flavour::Strings } else { Flavour::SeveralKeys };
        let script = random_script(seed, flavour, Layout::OnAHost, MOVES);
        let Some(first) = run_script(&oracle, &gateway.door, &script) else { continue };
        let (script, difference) = shrink_script(&oracle, &gateway.door, &script, first);
        let script = print_script(&script);
        panic!("SLOTMESH_SEED={seed} ({flavour:?}), before {behind:?}, after\n{script}{difference}");
    }
}

#[test]
fn scripts_run_before_a_stock_cluster_as_in_redis() {
    scripts_run_alike(Behind::Redis, 8);
}
