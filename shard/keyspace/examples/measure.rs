//! Measures the store: `cargo run --release -p slotmesh-keyspace --example measure -- speed [keys] | gets [rounds] | memory | memory-expiry`
//!
//! `speed`: CPU ns per operation over 1 M (or that many) keys of 16 bytes and values of 32, all slots, random order. `memory`: bytes per
//! key while one process grows from 300 k to 8 M keys and values of 16 bytes (resident memory less that at the start). `gets`: nothing but rounds of 10 000 GET, to count their instructions: two
//! counts with different rounds, divided by the difference.

use slotmesh_base::{Rng, Slot, UnixMillis};
use slotmesh_keyspace::{Db, Expiry, Key, KeyHasher, ValueRef};
use std::collections::HashMap;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Operations of a round.
const OPERATIONS: usize = 1_000_000;
const BATCH: usize = 64;
const NOW: UnixMillis = UnixMillis(1_000);

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("speed") => speed(std::env::args().nth(2).and_then(|keys| keys.parse().ok()).unwrap_or(1_000_000)),
        Some("gets") => gets(std::env::args().nth(2).and_then(|rounds| rounds.parse().ok()).unwrap_or(10)),
        Some("memory") => memory(Expiry::Never),
        Some("memory-expiry") => memory(Expiry::At(UnixMillis(1_900_000_000_000))),
        _ => println!("speed | gets | memory | memory-expiry"),
    }
}

fn name(number: usize) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let (mut rest, mut at) = (number, 16);
    while rest > 0 {
        at -= 1;
        name[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}

/// Prints CPU ns per item, the best of several rounds.
fn time(what: &str, items: usize, mut round: impl FnMut(usize)) {
    let mut best = f64::MAX;
    for number in 0..5 {
        let start = cpu_nanos();
        round(number);
        best = best.min((cpu_nanos() - start) as f64 / items as f64);
    }
    println!("{what:44} {best:7.1} ns");
}

fn speed(keys: usize) {
    let hasher = KeyHasher::new([1, 2]);
    let mut rng = Rng::new(1);
    let names: Vec<[u8; 16]> = (0..OPERATIONS).map(|_| name(rng.below(keys as u64) as usize)).collect();
    time("SipHash-1-3 of a key", OPERATIONS, |_| {
        black_box(names.iter().fold(0, |sum: u64, name| sum ^ hasher.hash(name)));
    });
    time("slot of a key", OPERATIONS, |_| {
        black_box(names.iter().fold(0, |sum, name| sum ^ Slot::of_key(name).index()));
    });

    let start = cpu_nanos();
    let mut db = Db::new(hasher);
    for number in 0..keys {
        db.set_string(&hasher.key(&name(number)), &[b'v'; 32], Expiry::Never);
    }
    println!("{:44} {:7.1} ns", "SET of new keys", (cpu_nanos() - start) as f64 / keys as f64);
    store(&mut db, &hasher, &names);

    let start = cpu_nanos();
    let mut map: HashMap<Box<[u8]>, Box<[u8]>> = HashMap::new();
    for number in 0..keys {
        map.insert(name(number).into(), [b'v'; 32].into());
    }
    println!("{:44} {:7.1} ns", "HashMap: insert", (cpu_nanos() - start) as f64 / keys as f64);
    time("HashMap: get", OPERATIONS, |_| {
        for name in &names {
            black_box(map.get(&name[..]).map(|value| read(value)));
        }
    });
    time("HashMap: overwrite", OPERATIONS, |round| {
        for name in &names {
            map.insert((*name).into(), [round as u8; 32].into());
        }
    });
}

fn gets(rounds: usize) {
    const KEYS: usize = 10_000;
    let hasher = KeyHasher::new([1, 2]);
    let mut db = Db::new(hasher);
    let names: Vec<[u8; 16]> = (0..KEYS).map(name).collect();
    for name in &names {
        db.set_string(&hasher.key(name), &[b'v'; 32], Expiry::Never);
    }
    let keys: Vec<Key<'_>> = names.iter().map(|name| hasher.key(name)).collect();
    (0..rounds).for_each(|_| keys.iter().for_each(|key| get(&mut db, key)));
}

fn store(db: &mut Db, hasher: &KeyHasher, names: &[[u8; 16]]) {
    time("GET", OPERATIONS, |_| {
        for name in names {
            get(db, &hasher.key(name));
        }
    });
    for prefetches in [false, true] {
        time(&format!("GET in batches, {}", describe(prefetches)), OPERATIONS, |_| {
            batches(db, hasher, names, prefetches, get);
        });
    }
    time("SET", OPERATIONS, |round| {
        for name in names {
            db.set_string(&hasher.key(name), &[round as u8; 32], Expiry::Never);
        }
    });
    for prefetches in [false, true] {
        time(&format!("SET in batches, {}", describe(prefetches)), OPERATIONS, |round| {
            batches(db, hasher, names, prefetches, |db, key| {
                db.set_string(key, &[round as u8; 32], Expiry::Never);
            });
        });
    }
}

fn describe(prefetches: bool) -> &'static str {
    if prefetches { "prefetched" } else { "not prefetched" }
}

fn batches(db: &mut Db, hasher: &KeyHasher, names: &[[u8; 16]], prefetches: bool, execute: impl Fn(&mut Db, &Key<'_>)) {
    let mut keys = Vec::with_capacity(BATCH);
    for batch in names.chunks(BATCH) {
        keys.clear();
        keys.extend(batch.iter().map(|name| hasher.key(name)));
        if prefetches {
            db.prefetch(keys.iter().map(|key| (key.slot, key.hash)));
        }
        keys.iter().for_each(|key| execute(db, key));
    }
}

fn get(db: &mut Db, key: &Key<'_>) {
    if let Some(entry) = db.get(key, NOW)
        && let ValueRef::String(value) = entry.value
    {
        black_box(read(value));
    }
}

/// Touches the value, as a reply does.
fn read(value: &[u8]) -> [u8; 32] {
    value.try_into().expect("values of 32 bytes")
}

fn memory(expiry: Expiry) {
    let hasher = KeyHasher::new([1, 2]);
    let start = resident_bytes();
    let mut db = Db::new(hasher);
    let points =
        [300_000, 450_000, 600_000, 1_000_000, 1_500_000, 2_000_000, 3_000_000, 4_000_000, 6_000_000, 8_000_000];
    let mut number = 0;
    for keys in points {
        while number < keys {
            db.set_string(&hasher.key(&name(number)), &[b'v'; 16], expiry);
            number += 1;
        }
        let resident = (resident_bytes() - start) as f64 / keys as f64;
        println!("{keys:9} keys: {resident:5.1} resident, {:5.1} bytes() per key", db.bytes() as f64 / keys as f64);
    }
}

/// CPU time of this thread, so that what else runs on the machine counts less.
fn cpu_nanos() -> u64 {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    statistics.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("nanoseconds first")
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}
