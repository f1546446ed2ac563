//! What nodes say to each other in quiet clusters, and how soon a death is known.

use slotmesh_sim::{Large, Shape};

/// What one shard has heard counts for its siblings: a process of eight shards says less than half of what they would
/// say each on its own, and hardly more than a process of one shard.
#[test]
fn siblings_do_not_multiply_what_a_process_says() {
    let bytes = |hosts, shards, siblings| {
        Large::start(Shape { hosts, shards, timeout_ms: 15_000, siblings, disguises: false }).listen(2).bytes
    };
    let (single, shared, alone) = (bytes(24, 1, true), bytes(3, 8, true), bytes(3, 8, false));
    assert!(2.0 * shared < alone, "{shared} and {alone} bytes a second");
    assert!(shared < 2.0 * single, "{shared} and {single} bytes a second");
}

/// A process that ends is FAIL everywhere after the node timeout, as our kind tells each other at once whom it suspects.
#[test]
fn a_death_is_known_soon() {
    for (hosts, shards) in [(24, 1), (8, 3)] {
        let died =
            |disguises| Large::start(Shape { hosts, shards, timeout_ms: 5000, siblings: true, disguises }).kill_one();
        let (among_kin, among_strangers) = (died(false), died(true));
        assert!((5000..5500).contains(&among_kin), "{hosts} hosts of {shards} shards: {among_kin} ms");
        assert!(among_kin < among_strangers, "{among_kin} and {among_strangers} ms");
        assert!(among_strangers < 10_000, "{hosts} hosts of {shards} shards of strangers: {among_strangers} ms");
    }
}
