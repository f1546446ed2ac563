//! What nodes say to each other in quiet clusters, and how soon a death is known.

use slotmesh_sim::{Large, Shape};

/// What one shard has heard counts for its siblings: a process of eight shards says less than half of what they would
/// say each on its own, and hardly more than a process of one shard.
#[test]
fn siblings_do_not_multiply_what_a_process_says() {
    let bytes =
        |hosts, shards, siblings| Large::start(Shape { hosts, shards, timeout_ms: 15_000, siblings }).listen(2).bytes;
    let (single, shared, alone) = (bytes(24, 1, true), bytes(3, 8, true), bytes(3, 8, false));
    assert!(2.0 * shared < alone, "{shared} and {alone} bytes a second");
    assert!(shared < 2.0 * single, "{shared} and {single} bytes a second");
}

/// A process that ends is FAIL everywhere after the node timeout and the time that the majority takes to agree.
#[test]
fn a_death_is_known_soon() {
    for (hosts, shards) in [(24, 1), (8, 3)] {
        let died = Large::start(Shape { hosts, shards, timeout_ms: 5000, siblings: true }).kill_one();
        assert!((5000..10_000).contains(&died), "{hosts} hosts of {shards} shards: {died} ms");
    }
}
