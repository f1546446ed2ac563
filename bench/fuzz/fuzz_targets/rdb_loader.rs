//! Any bytes as the RDB file that a node loads at its start: the loader does not panic, finds the same at once and in
//! pieces, tells an error in one line with a place within the bytes, and takes no more memory than these justify. The first
//! byte chooses the rules of the load and the pieces; the rest follows the header of a file, or is the whole of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use slotmesh_base::{Slot, UnixMillis};
use slotmesh_keyspace::{KeyHasher, Keyspace, PackedLimit};
use slotmesh_rdb::ReadLimits;
use slotmesh_shard::{FileFacts, LoadError, LoadRules, Loader};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const HASHER: KeyHasher = KeyHasher::new([3, 4]);
const DATABASES: usize = 16;
/// Memory that a load may take whatever the bytes are: what keyspaces and buffers are at least.
const BYTES_AT_LEAST: usize = 256 << 10;
/// Memory that a byte of the file may take: compression makes 88 of one, which are copied and kept packed.
const BYTES_PER_BYTE: usize = 512;
/// Memory that a key may take beyond its bytes: the table of its slot, if it is the first there.
const BYTES_PER_KEY: usize = 16 << 10;

fn rules(choice: u8) -> LoadRules {
    let limits = ReadLimits {
        string_bytes_max: usize::MAX,
        databases: DATABASES,
        list_packed: PackedLimit::new(if choice & 2 == 0 { -2 } else { 3 }),
        checksum: choice & 4 != 0,
    };
    let mut rules = LoadRules::everything(limits, HASHER);
    if choice & 8 != 0 {
        rules.drops_expired_at = Some(UnixMillis(1_700_000_000_000));
        rules.expired_effects_bytes_max = 256;
    }
    if choice & 16 != 0 {
        rules.slots = Some((0..=8191).filter_map(Slot::new).collect());
    }
    rules
}

/// What came of it, and the keys of each keyspace.
type Outcome = (Result<FileFacts, LoadError>, Vec<usize>);

fn load(bytes: &[u8], piece: usize, choice: u8) -> Outcome {
    let mut keyspaces = [Keyspace::new(DATABASES, 0..=8191, HASHER), Keyspace::new(DATABASES, 8192..=16383, HASHER)];
    let (mut loader, mut loaded) = (Loader::new(rules(choice)), Ok(()));
    let [low, high] = &mut keyspaces;
    for piece in bytes.chunks(piece) {
        loaded = loader.push(piece, &mut [low, high], choice & 32 != 0);
        if loaded.is_err() || loader.is_done() && choice & 32 != 0 {
            break;
        }
    }
    let loaded = loaded.and_then(|()| loader.finish());
    let keys =
        keyspaces.iter().map(|keyspace| (0..DATABASES).filter_map(|db| keyspace.find_db(db)).map(|db| db.len()).sum());
    (loaded, keys.collect())
}

/// The same, with an eye on the memory that it takes.
fn load_within_bounds(bytes: &[u8], piece: usize, choice: u8) -> Outcome {
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let outcome = load(bytes, piece, choice);
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let keys: usize = outcome.1.iter().sum();
    let justified = BYTES_AT_LEAST + BYTES_PER_BYTE * bytes.len() + BYTES_PER_KEY * keys;
    assert!(taken <= justified, "{taken} bytes for {} with {keys} keys", bytes.len());
    outcome
}

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else {
        return;
    };
    let bytes = if choice & 1 == 0 { bytes.to_vec() } else { [b"REDIS0011", bytes].concat() };
    let whole = load_within_bounds(&bytes, bytes.len().max(1), choice);
    let pieces = load_within_bounds(&bytes, usize::from(choice >> 6) * 5 + 1, choice);
    match &whole.0 {
        Ok(facts) => assert_eq!(facts.keys, whole.1.iter().sum::<usize>() as u64),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "more than a line: {text:?}");
            assert!(text.contains(" at offset "), "without a place: {text:?}");
        }
    }
    assert_eq!(whole, pieces);
});
