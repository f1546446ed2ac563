//! SCAN at a gateway before redis-server, while slots move and masters die: no key is missed that was there all the time,
//! but for those whose slots moved.

use slotmesh_conform::{
    Connection, Front, Program, await_condition, cluster_tool, is_master, is_self_test, lines_at, show,
};
use slotmesh_resp::elements;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;
/// Number of keys, on all slots alike.
const KEYS: usize = 1500;
/// Slots of one move.
const SLOTS: &str = "15";

fn text(bulk: &[u8]) -> String {
    let start = bulk.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    String::from_utf8_lossy(&bulk[start..bulk.len() - 2]).into_owned()
}

/// All keys that a whole scan gives, in steps of a few; how many came more than once.
fn scan(client: &mut Connection, mut between: impl FnMut(usize)) -> (BTreeSet<String>, usize) {
    let (mut cursor, mut found, mut again) = ("0".to_owned(), BTreeSet::new(), 0);
    for steps in 0.. {
        let reply = client.say(&format!("SCAN {cursor} COUNT 12"));
        let mut parts = elements(&reply).unwrap_or_else(|error| panic!("{error:?}: {}", show(&reply)));
        cursor = text(parts.next().expect("a cursor"));
        for key in elements(parts.next().expect("keys")).expect("an array").map(text) {
            again += usize::from(!found.insert(key));
        }
        assert!(steps < 20_000, "it does not end: {cursor}");
        if cursor == "0" {
            break;
        }
        between(steps);
    }
    (found, again)
}

fn write_keys(front: &Front) -> BTreeSet<String> {
    let keys: BTreeSet<String> = (0..KEYS).map(|number| format!("key:{number}")).collect();
    let mut client = front.client();
    for key in &keys {
        assert_eq!(client.say(&format!("SET {key} x")), b"+OK\r\n");
    }
    assert_eq!(scan(&mut client, |_| ()).0, keys, "where nothing moves");
    keys
}

/// The owner of each slot, by name.
fn owners(port: u16) -> Vec<String> {
    let mut owners = vec![String::new(); 16384];
    for line in lines_at(port) {
        // What moves stands in brackets.
        for range in line.slots.split(' ').filter(|range| !range.is_empty() && !range.starts_with('[')) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let slot = |text: &str| text.parse::<usize>().expect("a slot");
            owners[slot(first)..=slot(last)].fill(line.id.clone());
        }
    }
    owners
}

#[test]
fn no_key_is_missed_whose_slot_rests() {
    if is_self_test() {
        return;
    }
    let front = Front::start(&Program::Redis(None), 3, false, &[], &[]);
    let keys = write_keys(&front);
    let port = front.cluster.first_port;
    let ids: Vec<String> = (0..3).map(|index| front.node(index).text("CLUSTER MYID")).collect();
    let (stops, moves) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut scans = Vec::new();
    let moved: BTreeSet<u16> = std::thread::scope(|scope| {
        let mover = scope.spawn(|| {
            let mut moved = BTreeSet::new();
            // Down and up, so that a node's first slot comes to lie below and above those of the others.
            for (from, to) in [(0, 2), (2, 0), (1, 0), (0, 1), (1, 2), (2, 1)].into_iter().cycle() {
                if stops.load(Ordering::Relaxed) {
                    break;
                }
                let before = owners(port);
                let entry = format!("127.0.0.1:{port}");
                let words = ["reshard", &entry, "--cluster-from", &ids[from], "--cluster-to", &ids[to]];
                cluster_tool(&[&words[..], &["--cluster-slots", SLOTS, "--cluster-yes"]].concat());
                let after = owners(port);
                moved.extend((0..16384u16).filter(|&slot| after[usize::from(slot)] != before[usize::from(slot)]));
                moves.fetch_add(1, Ordering::Relaxed);
            }
            moved
        });
        let mut client = front.client();
        while moves.load(Ordering::Relaxed) < 8 && !mover.is_finished() {
            scans.push(scan(&mut client, |_| ()));
        }
        stops.store(true, Ordering::Relaxed);
        mover.join().expect("the slots move")
    });
    let slot = |key: &str| slotmesh_base::Slot::of_key(key.as_bytes()).number();
    let resting: BTreeSet<&String> = keys.iter().filter(|key| !moved.contains(&slot(key))).collect();
    println!("{} slots moved under {} scans; {} keys of {KEYS} rested", moved.len(), scans.len(), resting.len());
    assert!(resting.len() > KEYS / 2 && moved.len() > 20 && scans.len() > 8);
    let mut missed = 0;
    for (number, (found, again)) in scans.iter().enumerate() {
        let lost: Vec<&&String> = resting.iter().filter(|key| !found.contains(**key)).collect();
        assert!(lost.is_empty(), "scan {number} misses {} keys that rested: {lost:?}", lost.len());
        assert!(found.is_subset(&keys), "nothing else is there");
        missed += keys.len() - found.len();
        assert!(*again < 3 * KEYS, "scan {number} gave {again} keys more than once");
    }
    println!("keys whose slots moved: {missed} missed in all scans together");
}

#[test]
fn no_key_is_missed_where_a_master_is_replaced() {
    if is_self_test() {
        return;
    }
    let args = ["--cluster-node-timeout", "2000"];
    let mut front = Front::start(&Program::Redis(None), 3, true, &args, &args);
    let keys = write_keys(&front);
    for master in 0..3u16 {
        front.node(master).say("WAIT 1 5000");
    }
    // In the midst of a scan, whichever of the masters it is at.
    for master in [0, 2] {
        let (port, mut is_killed) = (front.cluster.first_port, false);
        let servers = &mut front.cluster.servers;
        let mut client = slotmesh_conform::node_at(front.port);
        let (found, again) = scan(&mut client, |steps| {
            if steps == 70 {
                servers[usize::from(master)].signal("KILL");
                servers[usize::from(master)].await_end();
                is_killed = true;
            }
        });
        assert!(is_killed, "the scan was too short");
        let lost: Vec<&String> = keys.difference(&found).collect();
        println!("master {master}: {again} keys came again");
        assert!(lost.is_empty(), "{} keys are missed: {lost:?}", lost.len());
        await_condition("its replica has taken over", SECONDS_MAX, || is_master(port + 3 + master));
        assert_eq!(scan(&mut client, |_| ()).0, keys);
        if master == 0 {
            front.cluster.servers[0].restart();
            front.await_settled(3);
        }
    }
}
