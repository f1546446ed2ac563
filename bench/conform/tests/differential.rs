//! Random sequences of every command, the same bytes to redis-server and to us: the same replies.
//!
//! `SLOTMESH_SEQUENCES` sets how many sequences each test runs, `SLOTMESH_SEED` runs the one with this seed. Besides
//! the fixed seeds, each run tries a few new ones.

use slotmesh_conform::{Batches, Generator, Grammar, PASSWORD, Server, assert_same, request, words};
use std::time::{SystemTime, UNIX_EPOCH};

/// Steps of a sequence.
const STEPS: usize = 400;

/// Of so many sequences one has a new seed.
const NEW_SEED_EVERY: u64 = 10;

/// Most requests of a batch. A client that has not authenticated is closed by Redis (7.2.8, and 7.0.15 as Debian
/// mends it) when more than 1 KiB of replies wait for it.
fn batch_max(grammar: Grammar) -> u64 {
    if grammar == Grammar::Authentication { 4 } else { 40 }
}

/// Redis looks only so often at times to wait that are over.
const QUICK: &[&str] = &["--hz", "500"];

fn seeds(default_count: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("SLOTMESH_SEED") {
        return vec![seed];
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_nanos() as u64;
    let count = number("SLOTMESH_SEQUENCES").unwrap_or(default_count);
    (1..=count).map(|seed| if seed % NEW_SEED_EVERY == 0 { now.wrapping_add(seed) } else { seed }).collect()
}

/// Runs the sequences of a grammar against several of ours, each with an oracle of its own, so that settings which
/// one sequence leaves behind are those that the next one finds on both sides.
fn compare(grammar: Grammar, count: u64, opening: &[Vec<u8>], args: &[&str]) {
    let pairs = [1, 3].map(|shards| (shards, Server::redis(args), Server::slotmesh(shards, shards, args)));
    for seed in seeds(count) {
        let mut opening = opening.to_vec();
        if seed % 2 == 1 {
            opening.push(words("HELLO 3"));
        }
        let steps = Generator::new(seed, grammar).steps(STEPS);
        let batches = Batches { seed, max: batch_max(grammar) };
        for (shards, oracle, ours) in &pairs {
            let subject = format!("SLOTMESH_SEED={seed} ({grammar:?}), {shards} shards");
            assert_same(oracle, ours, &opening, &steps, batches, &subject);
        }
    }
}

#[test]
fn every_command_answers_as_redis_does() {
    compare(Grammar::Everything, 250, &[words("FLUSHALL")], QUICK);
}

#[test]
fn data_change_as_in_redis() {
    compare(Grammar::Data, 250, &[words("FLUSHALL")], QUICK);
}

#[test]
fn strings_change_as_in_redis() {
    compare(Grammar::Strings, 200, &[words("FLUSHALL")], QUICK);
}

#[test]
fn lists_change_as_in_redis() {
    compare(Grammar::Lists, 150, &[words("FLUSHALL")], QUICK);
}

#[test]
fn lists_of_small_pieces_change_as_in_redis() {
    compare(Grammar::Lists, 50, &[words("FLUSHALL")], &["--hz", "500", "--list-max-listpack-size", "5"]);
}

#[test]
fn elements_are_sorted_as_in_redis() {
    compare(Grammar::Sorts, 150, &[words("FLUSHALL")], QUICK);
}

#[test]
fn transactions_run_as_in_redis() {
    compare(Grammar::Transactions, 100, &[words("FLUSHALL")], QUICK);
}

#[test]
fn authentication_is_that_of_redis() {
    // Each sequence begins without authentication.
    compare(Grammar::Authentication, 60, &[], &["--requirepass", PASSWORD]);
}

#[test]
fn settings_are_read_and_changed_as_in_redis() {
    let reset = [
        ("timeout", "0"),
        ("tcp-keepalive", "300"),
        ("hz", "10"),
        ("active-expire-effort", "1"),
        ("proto-max-bulk-len", "536870912"),
        ("client-query-buffer-limit", "1073741824"),
        ("client-output-buffer-limit", "normal 0 0 0 replica 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("maxmemory", "0"),
        ("maxmemory-policy", "noeviction"),
        ("protected-mode", "yes"),
        ("loglevel", "notice"),
        ("maxmemory-samples", "5"),
        ("slowlog-max-len", "128"),
        ("lazyfree-lazy-expire", "no"),
        ("list-compress-depth", "0"),
        ("repl-backlog-size", "1mb"),
        ("notify-keyspace-events", ""),
        ("lua-time-limit", "5000"),
        ("save", ""),
        ("hash-max-listpack-entries", "512"),
        ("latency-tracking-info-percentiles", "50 99 99.9"),
    ];
    let opening: Vec<_> = reset.iter().map(|(name, value)| request(&["CONFIG", "SET", name, value])).collect();
    compare(Grammar::Configuration, 40, &opening, &[]);
}
