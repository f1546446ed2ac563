//! What a snapshot costs the writers: `cargo run --release -p slotmesh-keyspace --example snapshot -- [entries per slice]`
//!
//! 1 M keys of 16 bytes with values of 32; 100,000 writes/s at random, each with an intended time from which its latency
//! counts, on one thread with the walk: a slice of it whenever no write is due. First without a snapshot, then with one
//! after the other as fast as they go, then with one whose sink takes what is 1 M keys in 3 s. The walked entries are
//! copied into a buffer, as a stream would have them. On a machine that has other work too, the latencies tell of that; so
//! the time that writes and slices themselves take is shown beside them.

use slotmesh_base::Rng;
use slotmesh_keyspace::{Expiry, KeyHasher, Keyspace, SnapshotId, SnapshotWalk, ValueRef};
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const KEYS: u64 = 1_000_000;
const WRITE_INTERVAL: Duration = Duration::from_micros(10);
const PHASE: Duration = Duration::from_secs(3);
const COPIES_BYTES_MAX: usize = 1 << 30;

fn main() {
    let entries = std::env::args().nth(1).and_then(|entries| entries.parse().ok()).unwrap_or(64);
    let hasher = KeyHasher::new([1, 2]);
    let mut keyspace = Keyspace::new(16, 0..=16383, hasher);
    for number in 0..KEYS {
        keyspace.db(0).set_string(&hasher.key(&name(number)), &[b'v'; 32], Expiry::Never);
    }
    println!("1 M keys, 100,000 writes/s, slices of {entries} entries; latencies in us");
    let mut bench = Bench { keyspace, hasher, rng: Rng::new(1), sink: Vec::new() };
    bench.phase("no snapshot", entries, None);
    bench.phase("snapshots, one after the other", entries, Some(Duration::ZERO));
    let slices = (KEYS as f64 / entries as f64).ceil();
    bench.phase("a snapshot in some 3 s", entries, Some(PHASE.div_f64(slices)));
}

struct Bench {
    keyspace: Keyspace,
    hasher: KeyHasher,
    rng: Rng,
    sink: Vec<u8>,
}

impl Bench {
    /// Writes for a while, with a slice of a snapshot each `slice_interval`; prints what it was like.
    fn phase(&mut self, what: &str, entries: usize, slice_interval: Option<Duration>) {
        let start = Instant::now();
        let [mut latencies, mut own] = [(); 2].map(|()| Vec::with_capacity((PHASE.as_secs() as usize + 2) * 100_000));
        let mut slices = Vec::new();
        let (mut write_at, mut slice_at) = (start, start);
        let (mut snapshot, mut walked) = (None, 0);
        let (base, mut resident, mut kept) = (resident_bytes(), 0, 0);
        while start.elapsed() < PHASE {
            while write_at <= Instant::now() {
                let own_start = Instant::now();
                self.write();
                let end = Instant::now();
                own.push(end - own_start);
                latencies.push(end - write_at);
                write_at += WRITE_INTERVAL;
                if latencies.len().is_multiple_of(10_000) {
                    resident = resident.max(resident_bytes().saturating_sub(base));
                }
            }
            if let Some(interval) = slice_interval
                && slice_at <= Instant::now()
            {
                slice_at += interval;
                let slice_start = Instant::now();
                let walk = self.slice(&mut snapshot, entries);
                slices.push(slice_start.elapsed());
                walked += usize::from(walk.is_done);
                kept = kept.max(walk.kept_bytes);
            }
        }
        if let Some(id) = snapshot {
            self.keyspace.end_snapshot(id);
            while self.keyspace.free_some(64) {}
        }
        println!(
            "{what}: {walked} walked; at the peak {:.1} MiB kept, {:.1} MiB more resident",
            mebibytes(kept),
            mebibytes(resident)
        );
        print("write, from its intended time", latencies);
        print("write itself", own);
        print("slice of the walk", slices);
    }

    fn write(&mut self) {
        let number = self.rng.below(KEYS);
        let key = name(number);
        self.keyspace.db(0).set_string(&self.hasher.key(&key), &[number as u8; 32], Expiry::Never);
    }

    /// One slice of a snapshot, a new one if none runs; what it came to.
    fn slice(&mut self, snapshot: &mut Option<SnapshotId>, entries: usize) -> Slice {
        let Self { keyspace, sink, .. } = self;
        let Some(id) = snapshot.or_else(|| keyspace.begin_snapshot(COPIES_BYTES_MAX)) else { return Slice::default() };
        *snapshot = Some(id);
        let kept_bytes = keyspace.snapshot_copies_bytes(id);
        sink.clear();
        let walk = keyspace.walk_snapshot(id, entries, &mut |entry| {
            sink.extend_from_slice(entry.key);
            if let ValueRef::String(value) = entry.value {
                sink.extend_from_slice(value);
            }
        });
        if walk != SnapshotWalk::More {
            *snapshot = None;
        }
        keyspace.free_some(4);
        Slice { is_done: walk == SnapshotWalk::Done, kept_bytes }
    }
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    if times.is_empty() {
        return;
    }
    let micros = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_nanos() as f64 / 1e3;
    let [half, most, nearly_all, all] = [0.5, 0.99, 0.999, 1.0].map(micros);
    println!("    {what:30} p50 {half:7.2}  p99 {most:7.2}  p99.9 {nearly_all:8.2}  max {all:9.2}");
}

/// What one slice of a walk came to.
#[derive(Default)]
struct Slice {
    is_done: bool,
    /// Bytes of copies that waited for it.
    kept_bytes: usize,
}

fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages") * 4096
}

fn name(number: u64) -> [u8; 16] {
    let mut name = *b"key:000000000000";
    let (mut rest, mut at) = (number, 16);
    while rest > 0 {
        at -= 1;
        name[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    name
}
