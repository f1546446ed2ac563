//! Several connections in lockstep: transactions, watched keys and blocked clients, as with redis-server.
//!
//! Where 7.2 differs from the oracle, its replies were recorded: `recorded/redis-7.2.txt`. To record anew, set
//! `SLOTMESH_BIN` to a redis-server 7.2 and `SLOTMESH_RECORD` to the file.
//!
//! `SLOTMESH_SCRIPTS` sets how many random scripts are run, `SLOTMESH_SEED` runs the one with this seed;
//! `SLOTMESH_SCRIPT` names a file with one script to run instead of the scenarios.

use slotmesh_conform::{
    Flavour, Layout, Server, parse_recording, parse_script, print_script, random_script, record, replay, run_script,
    shrink_script,
};
use std::time::{SystemTime, UNIX_EPOCH};

/// Moves of a random script.
const MOVES: usize = 150;

/// Of so many scripts one has a new seed.
const NEW_SEED_EVERY: u64 = 10;

/// Random scripts that are recorded.
const RECORDED_SCRIPTS: u64 = 6;

/// Keys that are over are found soon.
const ARGS: &[&str] = &["--hz", "500"];

/// One of ours with so many shards, beside an oracle.
struct Pair {
    shards: usize,
    oracle: Server,
    ours: Server,
}

fn pairs() -> [Pair; 3] {
    [1, 2, 3].map(|shards| Pair { shards, oracle: Server::redis(ARGS), ours: Server::slotmesh(shards, shards, ARGS) })
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn random_scripts_run_as_in_redis() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    let count = number("SLOTMESH_SCRIPTS").unwrap_or(24);
    let mut seeds: Vec<u64> =
        (1..=count).map(|seed| if seed % NEW_SEED_EVERY == 0 { now.wrapping_add(seed) } else { seed }).collect();
    if let Some(seed) = number("SLOTMESH_SEED") {
        seeds = vec![seed];
    }
    let pairs = pairs();
    let is_older = pairs[0].oracle.connect().text("INFO server").contains("redis_version:7.0");
    for seed in seeds {
        let flavour = match seed % 3 {
            0 => Flavour::Exchanges,
            _ if !is_older => Flavour::Everything,
            1 => Flavour::Strings,
            _ => Flavour::SeveralKeys,
        };
        for Pair { shards, oracle, ours } in &pairs {
            let layout = match shards {
                1 => Layout::Spread,
                _ if seed % 2 == 0 => Layout::Together,
                _ if seed % 4 == 1 => Layout::OneByOne,
                _ => Layout::Apart,
            };
            let flavour = if layout == Layout::Apart { Flavour::SingleKeys } else { flavour };
            let script = random_script(seed, flavour, layout, MOVES);
            let Some(first) = run_script(oracle, ours, &script) else { continue };
            let (script, difference) = shrink_script(oracle, ours, &script, first);
            let script = print_script(&script);
            panic!("SLOTMESH_SEED={seed} ({flavour:?}, {layout:?}), {shards} shards, after\n{script}{difference}");
        }
    }
}

/// The scripts of a file, with their names.
fn named(text: &str) -> Vec<(&str, &str)> {
    let parts = text.split("\n= ").skip(1);
    parts.map(|part| part.split_once('\n').expect("a name stands on its own line")).collect()
}

#[test]
fn scenarios_run_as_in_redis() {
    let mut scenarios = named(include_str!("recorded/scenarios.txt"));
    assert!(scenarios.len() > 20);
    let other = std::env::var_os("SLOTMESH_SCRIPT").map(|path| std::fs::read_to_string(path).expect("a text"));
    if let Some(text) = &other {
        println!("{}", record(&Server::redis(ARGS), &parse_script(text)));
        scenarios = vec![("SLOTMESH_SCRIPT", text)];
    }
    let mut offences = Vec::new();
    for Pair { shards, oracle, ours } in &pairs() {
        for (name, text) in &scenarios {
            if let Some(difference) = run_script(oracle, ours, &parse_script(text)) {
                offences.push(format!("{name}, {shards} shards: {difference}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn recorded_scripts_run_as_in_redis_72() {
    if let Some(path) = std::env::var_os("SLOTMESH_RECORD") {
        std::fs::write(path, recording()).expect("the file can be written to");
        return;
    }
    let recordings = named(include_str!("recorded/redis-7.2.txt"));
    assert!(recordings.len() > 6);
    let mut offences = Vec::new();
    for shards in [1, 2, 3] {
        let ours = Server::slotmesh(shards, shards, ARGS);
        if !ours.connect().text("INFO server").contains("redis_version:7.2") {
            // An older Redis in our place.
            return;
        }
        for (name, text) in &recordings {
            // A shard that has something for a client of several keys serves it without asking the others.
            if shards > 1 && !name.starts_with("random") {
                continue;
            }
            if let Some(difference) = replay(&ours, &parse_recording(text)) {
                offences.push(format!("{name}, {shards} shards: {difference}"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

/// What a redis-server 7.2 does with the scripts that need it.
fn recording() -> String {
    let server = Server::slotmesh(1, 1, ARGS);
    assert!(server.connect().text("INFO server").contains("redis_version:7.2"), "SLOTMESH_BIN is no Redis 7.2");
    let mut text = "# Recorded from redis-server 7.2; see `lockstep.rs`.\n".to_owned();
    for (name, scenario) in named(include_str!("recorded/scenarios-7.2.txt")) {
        text += &format!("\n= {name}\n{}", record(&server, &parse_script(scenario)));
    }
    for seed in 1..=RECORDED_SCRIPTS {
        let script = random_script(seed, Flavour::Everything, Layout::Together, MOVES);
        text += &format!("\n= random script {seed}\n{}", record(&server, &script));
    }
    text
}
