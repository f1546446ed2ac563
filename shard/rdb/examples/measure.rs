//! How fast files are written and read: `cargo run --release -p slotmesh-rdb --example measure`
//!
//! 1 M keys of 16 bytes with values of 32 and of 10, and a list of 1 M elements: through a snapshot's walk into memory, and
//! back in pieces of 64 KiB, into a keyspace and without one. CPU time, the best of three rounds.

use slotmesh_base::{Rng, UnixMillis};
use slotmesh_keyspace::{Expiry, KeyHasher, Keyspace, ListBuilder, Loose, PackedLimit, SnapshotWalk, Value};
use slotmesh_rdb::{Crc64, Dumper, Item, RdbReader, RdbWriter, ReadLimits, WriteOptions};
use std::hint::black_box;

const KEYS: u64 = 1_000_000;
const PIECE_BYTES: usize = 64 << 10;
const ROUNDS: usize = 3;
const NOW: UnixMillis = UnixMillis(1);

fn main() {
    let hasher = KeyHasher::new([1, 2]);
    let bytes = vec![b'x'; 64 << 20];
    report("CRC64", bytes.len(), || _ = black_box(Crc64::of(black_box(&bytes))));
    for (what, keyspace) in [
        ("1 M strings of 32 random letters", strings(hasher, |rng| (0..32).map(|_| letter(rng, 26)).collect())),
        ("1 M strings of 32 bytes, compressible", strings(hasher, |rng| vec![letter(rng, 26); 32])),
        ("1 M integers of 10 digits", strings(hasher, |rng| (1_000_000_000 + rng.below(1 << 30)).to_string().into())),
        ("a list of 1 M elements of 10 letters", list(hasher)),
    ] {
        println!("{what}");
        measure(keyspace, hasher);
    }
    let (mut dumper, mut out) = (Dumper::new(true), Vec::new());
    for length in [10, 100, 1000] {
        let text: Vec<u8> = (0..length).map(|_| letter(&mut Rng::new(1), 26)).collect();
        let value = Value::String(text);
        report_each(&format!("DUMP of {length} letters, one dumper"), || {
            out.clear();
            dumper.dump(&mut out, value.borrow());
        });
        report_each(&format!("DUMP of {length} letters, each a new one"), || {
            out.clear();
            Dumper::new(true).dump(&mut out, value.borrow());
        });
    }
}

fn letter(rng: &mut Rng, bound: u64) -> u8 {
    b'a' + rng.below(bound) as u8
}

fn strings(hasher: KeyHasher, value: impl Fn(&mut Rng) -> Vec<u8>) -> Keyspace {
    let (mut keyspace, mut rng) = (Keyspace::new(16, 0..=16383, hasher), Rng::new(1));
    for number in 0..KEYS {
        let name = format!("key:{number:012}");
        keyspace.db(0).set_string(&hasher.key(name.as_bytes()), &value(&mut rng), Expiry::Never);
    }
    keyspace
}

fn list(hasher: KeyHasher) -> Keyspace {
    let (mut keyspace, mut rng) = (Keyspace::new(16, 0..=16383, hasher), Rng::new(1));
    let mut builder = ListBuilder::new(PackedLimit::default());
    for _ in 0..KEYS {
        let element: [u8; 10] = std::array::from_fn(|_| letter(&mut rng, 26));
        builder.push(&element);
    }
    let value = Value::List(builder.finish().expect("it has elements"));
    keyspace.db(0).put(&hasher.key(b"list"), Loose::new(value, None), NOW);
    keyspace
}

fn measure(mut keyspace: Keyspace, hasher: KeyHasher) {
    let mut file = Vec::new();
    for (what, compresses) in [("  written, compressed", true), ("  written", false)] {
        file = write(&mut keyspace, compresses);
        report(what, file.len(), || _ = black_box(write(&mut keyspace, compresses)));
    }
    report("  read", file.len(), || read(&file, |_| ()));
    report("  read into a keyspace", file.len(), || {
        let mut keyspace = Keyspace::new(16, 0..=16383, hasher);
        read(&file, |item| {
            if let Item::Entry(entry) = item {
                entry.insert_into(&mut keyspace, &hasher, NOW).expect("each key stands there once");
            }
        });
    });
}

fn write(keyspace: &mut Keyspace, compresses: bool) -> Vec<u8> {
    let mut writer = RdbWriter::new(WriteOptions { compresses, checksum: true });
    let mut out = Vec::with_capacity(80 << 20);
    out.extend_from_slice(b"REDIS0010");
    let id = keyspace.begin_snapshot(1 << 20).expect("it is the only one");
    while keyspace.walk_snapshot(id, 256, &mut |entry| writer.entry(&mut out, &entry)) == SnapshotWalk::More {}
    writer.end(&mut out);
    out
}

fn read(file: &[u8], mut show: impl FnMut(Item)) {
    let list_packed = PackedLimit::default();
    // The header is not the writer's: its checksum is computed and differs.
    let limits = ReadLimits { string_bytes_max: 1 << 29, databases: 16, list_packed, checksum: false };
    let mut reader = RdbReader::new(limits);
    for piece in file.chunks(PIECE_BYTES) {
        reader.push(piece);
        while let Some(item) = reader.read().expect("we wrote it") {
            show(item);
        }
    }
    reader.finish().expect("it is whole");
}

fn best_seconds(mut round: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = cpu_nanos();
        round();
        best = best.min((cpu_nanos() - start) as f64 / 1e9);
    }
    best
}

fn report(what: &str, bytes: usize, round: impl FnMut()) {
    let seconds = best_seconds(round);
    println!("{what:44} {:7.1} MB in {seconds:6.3} s, {:7.1} MB/s", bytes as f64 / 1e6, bytes as f64 / 1e6 / seconds);
}

fn report_each(what: &str, mut call: impl FnMut()) {
    const CALLS: usize = 300_000;
    let seconds = best_seconds(|| (0..CALLS).for_each(|_| call()));
    println!("{what:44} {:7.0} ns", seconds * 1e9 / CALLS as f64);
}

/// CPU time of this thread.
fn cpu_nanos() -> u64 {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    schedstat.split(' ').next().and_then(|nanos| nanos.parse().ok()).expect("its first number is the CPU time")
}
