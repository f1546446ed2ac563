use crate::family::testing::Fixture;

fn node() -> Fixture {
    let mut fixture = Fixture::new();
    fixture.is_node = true;
    fixture
}

#[test]
fn keys_of_a_slot_are_counted_and_listed() {
    let mut fixture = node();
    for number in 0..500 {
        fixture.run(&format!("SET {{a}}{number} v"));
        fixture.run(&format!("SET other{number} v"));
    }
    assert_eq!(fixture.run("CLUSTER COUNTKEYSINSLOT 15495"), ":500");
    assert_eq!(fixture.run("CLUSTER COUNTKEYSINSLOT 3"), ":0");
    let reply = fixture.run("CLUSTER GETKEYSINSLOT 15495 1000");
    assert!(reply.starts_with("*500 "), "{reply}");
    assert_eq!(reply.matches("{a}").count(), 500);
    let few = fixture.run("CLUSTER GETKEYSINSLOT 15495 3");
    assert!(few.starts_with("*3 ") && few.matches("{a}").count() == 3, "{few}");
    assert_eq!(fixture.run("CLUSTER GETKEYSINSLOT 15495 0"), "*0");
}

#[test]
fn numbers_that_are_no_slots_are_refused() {
    let mut fixture = node();
    assert_eq!(fixture.run("CLUSTER COUNTKEYSINSLOT 16384"), "-ERR Invalid slot");
    assert_eq!(fixture.run("CLUSTER COUNTKEYSINSLOT -1"), "-ERR Invalid slot");
    assert_eq!(fixture.run("CLUSTER COUNTKEYSINSLOT x"), "-ERR value is not an integer or out of range");
    assert_eq!(fixture.run("CLUSTER GETKEYSINSLOT 16384 1"), "-ERR Invalid slot or number of keys");
    assert_eq!(fixture.run("CLUSTER GETKEYSINSLOT 1 -1"), "-ERR Invalid slot or number of keys");
    assert_eq!(fixture.run("CLUSTER GETKEYSINSLOT 1 x"), "-ERR value is not an integer or out of range");
}

#[test]
fn who_is_no_node_has_no_slots_and_several_databases() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.run("CLUSTER COUNTKEYSINSLOT 1"), "-ERR This instance has cluster support disabled");
    assert_eq!(fixture.run("CLUSTER GETKEYSINSLOT 1 1"), "-ERR This instance has cluster support disabled");
    fixture.run("SET a 1");
    assert_eq!(fixture.run("COPY a b DB 1"), ":1");
    fixture.is_node = true;
    assert_eq!(fixture.run("COPY a b DB 2"), "-ERR Copying to another database is not allowed in cluster mode");
    assert_eq!(fixture.run("MOVE a 1"), "-ERR MOVE is not allowed in cluster mode");
    assert_eq!(fixture.run("SWAPDB 0 1"), "-ERR SWAPDB is not allowed in cluster mode");
}

#[test]
fn a_scan_of_a_node_ends_with_its_slots() {
    let mut fixture = Fixture::over(8192..=12000);
    fixture.run("SET foo 1");
    assert_eq!(fixture.run("SCAN 0").find(" $1 0 "), None, "other shards follow");
    fixture.is_node = true;
    assert_eq!(fixture.run("SCAN 0"), "*2 $1 0 *1 $3 foo");
}
