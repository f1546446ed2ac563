use super::*;
use crate::testing::{NOW, Request, Shards};
use slotmesh_keyspace::{Db, Expiry};
use slotmesh_resp::Protocol;

/// A shard of all slots.
fn shard() -> Shard {
    Shards::new(1).shards.remove(0)
}

fn fill(shard: &mut Shard, db: usize, keys: usize, expires_at: i64) {
    let hasher = shard.hasher;
    for index in 0..keys {
        let name = format!("key:{expires_at}:{index}");
        let expiry = Expiry::At(UnixMillis(expires_at));
        shard.keyspace.db(db).set_string(&hasher.key(name.as_bytes()), b"value", expiry);
    }
}

fn keys(shard: &Shard, db: usize) -> usize {
    shard.keyspace.find_db(db).map_or(0, Db::len)
}

/// Passes until nothing is due; how many it took.
fn passes_until_done(shard: &mut Shard, now: UnixMillis, start: Monotonic, effort: u8) -> usize {
    let mut at = start;
    for passes in 1..100_000 {
        let next = shard.housekeep(now, at, effort);
        match next {
            Some(next) if next == at.plus_millis(HOUSEKEEPING_INTERVAL_MS) => at = next,
            _ => return passes,
        }
    }
    panic!("housekeeping does not end")
}

#[test]
fn nothing_to_expire_means_nothing_to_wait_for() {
    let mut shard = shard();
    assert_eq!(shard.housekeep(NOW, Monotonic(0), 1), None);
    shard.keyspace.db(0).set_string(&shard.hasher.key(b"k"), b"v", Expiry::Never);
    assert_eq!(shard.housekeep(NOW, Monotonic(5_000_000), 1), None);
}

#[test]
fn the_next_expiry_is_awaited_on_the_monotonic_clock() {
    let mut shard = shard();
    fill(&mut shard, 0, 1, NOW.0 + 7_000);
    fill(&mut shard, 3, 1, NOW.0 + 4_000);
    let monotonic = Monotonic(77);
    let next = shard.housekeep(NOW, monotonic, 1).expect("something expires");
    // A key has expired once its time has passed; the store may look a little earlier, never later.
    assert!(next <= monotonic.plus_millis(4_001) && next >= monotonic.plus_millis(3_000), "{next:?}");
    assert_eq!(keys(&shard, 0) + keys(&shard, 3), 2);
}

#[test]
fn a_clock_that_is_set_forward_is_noticed() {
    let mut shard = shard();
    fill(&mut shard, 0, 1, NOW.0 + 1_000_000_000);
    let next = shard.housekeep(NOW, Monotonic(0), 1);
    assert_eq!(next, Some(Monotonic(0).plus_millis(HOUSEKEEPING_WAIT_MS_MAX)));
}

#[test]
fn due_keys_go_and_others_stay() {
    let mut shard = shard();
    fill(&mut shard, 0, 100, NOW.0 - 1);
    fill(&mut shard, 0, 50, NOW.0 + 60_000);
    fill(&mut shard, 9, 10, NOW.0 - 1);
    passes_until_done(&mut shard, NOW, Monotonic(0), 10);
    assert_eq!((keys(&shard, 0), keys(&shard, 9)), (50, 0));
    assert_eq!(shard.keyspace.stats().expired, 110);
}

#[test]
fn a_pass_keeps_to_its_budget() {
    let mut shard = shard();
    let total = 50_000;
    fill(&mut shard, 0, total, NOW.0 - 1);
    let next = shard.housekeep(NOW, Monotonic(0), 1);
    assert_eq!(next, Some(Monotonic(0).plus_millis(HOUSEKEEPING_INTERVAL_MS)), "it goes on soon");
    let removed = total - keys(&shard, 0);
    assert!(removed > 0 && removed < total / 4, "{removed} in one pass");
    let gentle = passes_until_done(&mut shard, NOW, Monotonic(0).plus_millis(1), 1);
    assert_eq!(keys(&shard, 0), 0);
    fill(&mut shard, 0, total, NOW.0 - 1);
    let eager = passes_until_done(&mut shard, NOW, Monotonic(1 << 50), 10);
    assert!(eager < gentle, "effort {eager} passes against {gentle}");
}

#[test]
fn databases_take_turns() {
    let mut shard = shard();
    fill(&mut shard, 0, 50_000, NOW.0 - 1);
    fill(&mut shard, 5, 5, NOW.0 - 1);
    shard.housekeep(NOW, Monotonic(0), 1);
    shard.housekeep(NOW, Monotonic(0).plus_millis(1), 1);
    assert_eq!(keys(&shard, 5), 0, "the small database waits for one pass of the large one");
    assert!(keys(&shard, 0) > 0);
}

#[test]
fn passes_keep_their_distance() {
    let mut shard = shard();
    let start = Monotonic(10_000_000);
    shard.housekeep(NOW, start, 1);
    fill(&mut shard, 0, 10, NOW.0 - 1);
    let soon = start.plus_millis(HOUSEKEEPING_INTERVAL_MS);
    assert_eq!(shard.housekeep(NOW, Monotonic(soon.0 - 1), 1), Some(soon));
    assert_eq!(keys(&shard, 0), 10, "too early to do anything");
    passes_until_done(&mut shard, NOW, soon, 1);
    assert_eq!(keys(&shard, 0), 0);
}

#[test]
fn flushed_tables_are_freed() {
    let mut shards = Shards::new(1);
    for index in 0..20_000 {
        shards.run(&Request::words(&format!("SET key:{index} value")), Protocol::Resp2);
    }
    assert_eq!(shards.say("FLUSHALL"), "+OK\r\n");
    assert_eq!(shards.say("DBSIZE"), ":0\r\n");
    let passes = passes_until_done(&mut shards.shards[0], NOW, Monotonic(0), 1);
    assert!(passes > 1, "not all at once");
    assert!(!shards.shards[0].keyspace.free_some(1), "nothing is left to free");
}

#[test]
fn prefetch_takes_any_batch() {
    let shard = shard();
    let keys: Vec<_> = ["a", "b", "a"].iter().map(|key| shard.hasher.key(key.as_bytes())).collect();
    let keys: Vec<_> = keys.iter().map(|key| (key.slot, key.hash)).collect();
    shard.prefetch(0, &keys);
    // A database that nobody used, and an empty batch.
    shard.prefetch(15, &keys);
    shard.prefetch(0, &[]);
}
