use super::{Inspection, hex};
use crate::testing::{NOW, Request, limits};
use crate::{Context, Gather, Shard, ShardSettings};
use slotmesh_command::resolve;
use slotmesh_keyspace::KeyHasher;
use slotmesh_resp::{Protocol, Reply};

/// Shards that split the slots evenly.
fn shards(count: u16) -> Vec<Shard> {
    let map = crate::SlotMap::even(count);
    let shard = |core| {
        let slots = map.slots(core).expect("it owns slots");
        Shard::new(ShardSettings { slots, databases: 16, hasher: KeyHasher::new([1, 2]), seed: 1 })
    };
    (0..count).map(shard).collect()
}

fn context(db: u16) -> Context<'static> {
    Context {
        db,
        protocol: Protocol::Resp2,
        now: NOW,
        first_key: None,
        limits: limits(),
        partial: false,
        is_node: false,
        may_block: false,
        tracked: None,
    }
}

/// Runs a command on a key where it lives.
fn run(shards: &mut [Shard], db: u16, request: &str) {
    let request = Request::words(request);
    let slot = slotmesh_base::Slot::of_key(request.args().at(1));
    let spec = resolve(request.args()).expect("a command");
    let shard = shards.iter_mut().find(|shard| shard.keyspace.holds(slot)).expect("a slot has an owner");
    shard.execute(spec, request.args(), &context(db), &mut Vec::new());
}

fn ask(shards: &mut [Shard], what: Inspection, db: u16, words: &[&str]) -> String {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    let mut gather = Gather::inspection(what)(shards.len(), Protocol::Resp2);
    for (place, shard) in shards.iter_mut().enumerate() {
        let mut part = Vec::new();
        shard.inspect(what, &context(db), &words, &mut Reply::new(&mut part, Protocol::Resp2));
        gather.add(place, &part);
    }
    let mut reply = Vec::new();
    gather.finish(&mut reply);
    String::from_utf8(reply).expect("text")
}

/// Read off redis-server: `SET a 1`, `RPUSH l x 2`, `SET b v EX 1000`, and in database 3 `SET a 1`.
#[test]
fn digests_are_those_of_redis_however_many_shards_there_are() {
    for count in [1, 2, 5] {
        let mut shards = shards(count);
        assert_eq!(ask(&mut shards, Inspection::Digest, 0, &["digest"]), format!("+{}\r\n", hex(&[0; 20])));
        for request in ["SET a 1", "RPUSH l x 2", "SET b v EX 1000"] {
            run(&mut shards, 0, request);
        }
        run(&mut shards, 3, "SET a 1");
        assert_eq!(
            ask(&mut shards, Inspection::Digest, 0, &["digest"]),
            "+6555862a7e96fef115d455fa412aa8900ea89187\r\n"
        );
        assert_eq!(
            ask(&mut shards, Inspection::DigestValue, 0, &["digest-value", "a", "l", "b", "none"]),
            format!(
                "*4\r\n+b4fc66738120fba0b5aa500ab5c2bf89cea1c5da\r\n+2a882c42f428298219c9231e2965aa1960b37b1a\r\n\
                 +311b17018163335616e089f6b951c82c477335ac\r\n+{}\r\n",
                hex(&[0; 20])
            )
        );
    }
}

#[test]
fn a_population_is_as_large_as_asked_for_and_spares_what_is_there() {
    let mut shards = shards(3);
    run(&mut shards, 2, "SET key:1 mine");
    assert_eq!(ask(&mut shards, Inspection::Populate, 2, &["populate", "100"]), "+OK\r\n");
    let keys =
        |shards: &[Shard]| -> usize { shards.iter().filter_map(|at| at.keyspace.find_db(2)).map(|db| db.len()).sum() };
    assert_eq!(keys(&shards), 100);
    let digest = ask(&mut shards, Inspection::DigestValue, 2, &["digest-value", "key:1"]);
    run(&mut shards, 2, "SET other mine");
    assert_eq!(ask(&mut shards, Inspection::DigestValue, 2, &["digest-value", "other"]), digest);
    ask(&mut shards, Inspection::Populate, 2, &["populate", "5", "p", "20"]);
    run(&mut shards, 2, "APPEND p:4 x");
    let object = ask(&mut shards, Inspection::Object, 2, &["object", "p:4"]);
    assert!(object.contains(" serializedlength:22 "), "{object}");
    assert_eq!(keys(&shards), 106);
}

#[test]
fn an_object_is_described_by_the_shard_that_has_it() {
    let mut shards = shards(3);
    run(&mut shards, 0, "RPUSH l a b c");
    let object = ask(&mut shards, Inspection::Object, 0, &["object", "l"]);
    assert!(object.starts_with("+Value at:0x") && object.contains(" encoding:listpack "), "{object}");
    assert!(object.contains(" serializedlength:7 ") && object.contains(" lru_seconds_idle:"), "{object}");
    assert_eq!(ask(&mut shards, Inspection::Object, 1, &["object", "l"]), "-ERR no such key\r\n");
    let refused = "-ERR The value stored at the specified key is not represented using an hash table\r\n";
    assert_eq!(ask(&mut shards, Inspection::ObjectTable, 0, &["htstats-key", "l"]), refused);
}
