use super::*;
use crate::keyspace::writer::{Content, HASHER, Writer, content, digest};
use crate::page::live;
use crate::{End, Expiry, List, PackedLimit, ValueRef};
use alloc::vec::Vec;
use slotmesh_base::{Rng, UnixMillis};
use std::format;

const NOW: UnixMillis = UnixMillis(0);

/// A snapshot that is being walked.
struct Walk {
    id: SnapshotId,
    /// What there was when it began.
    expected: Content,
    seen: Content,
}

impl Walk {
    fn begin(keyspace: &mut Keyspace, copies_bytes_max: usize) -> Option<Self> {
        let id = keyspace.begin_snapshot(copies_bytes_max)?;
        Some(Self { id, expected: content(keyspace), seen: Content::new() })
    }

    fn step(&mut self, keyspace: &mut Keyspace, entries_max: usize) -> SnapshotWalk {
        keyspace.walk_snapshot(self.id, entries_max, &mut |entry| {
            let old = self.seen.insert((entry.db, entry.key.to_vec()), digest(entry.value, entry.expires_at));
            assert!(old.is_none(), "shown twice");
        })
    }

    fn finish(&mut self, keyspace: &mut Keyspace) {
        while self.step(keyspace, 10) == SnapshotWalk::More {}
        self.check();
    }

    fn check(&self) {
        let missing = self.expected.keys().filter(|key| !self.seen.contains_key(*key)).count();
        let changed = self.seen.iter().filter(|(key, value)| self.expected.get(*key) != Some(value)).count();
        assert_eq!((missing, changed), (0, 0), "missing and changed among {}", self.expected.len());
    }
}

fn live_records() -> isize {
    live::RECORDS.with(|records| records.get())
}

fn free_all(keyspace: &mut Keyspace) {
    while keyspace.free_some(100) {}
}

/// Writes, walks and checks; how many snapshots were walked to the end.
fn run(seed: u64, copies_bytes_max: usize) -> usize {
    let mut keyspace = Keyspace::new(3, 0..=16383, HASHER);
    let (mut writer, mut rng) = (Writer::new(seed), Rng::new(seed + 1000));
    let (mut walks, mut done): (Vec<Walk>, usize) = (Vec::new(), 0);
    for _ in 0..100 + rng.below(800) {
        writer.write(&mut keyspace);
    }
    // Slow walks keep much, quick ones little.
    let (walk_every, entries_max) = (1 + rng.below(30), 1 + rng.below(40));
    for _ in 0..1500 {
        writer.write(&mut keyspace);
        if walks.len() < 3 && rng.below(60) == 0 {
            walks.extend(Walk::begin(&mut keyspace, copies_bytes_max));
        }
        if rng.below(walk_every) == 0 && !walks.is_empty() {
            let at = rng.below(walks.len() as u64) as usize;
            let state = walks[at].step(&mut keyspace, 1 + rng.below(entries_max) as usize);
            if state != SnapshotWalk::More {
                let walk = walks.swap_remove(at);
                if state == SnapshotWalk::Done {
                    walk.check();
                    done += 1;
                }
            }
        }
        if rng.below(300) == 0 && !walks.is_empty() {
            keyspace.end_snapshot(walks.swap_remove(0).id);
        }
    }
    for walk in &mut walks {
        while walk.step(&mut keyspace, 7) == SnapshotWalk::More {
            writer.write(&mut keyspace);
        }
    }
    keyspace.dbs.iter_mut().flatten().for_each(|db| {
        assert!(db.captures_mut().is_empty());
        db.check();
    });
    assert!(keyspace.snapshots.ghosts.is_empty() && keyspace.snapshots.running.is_empty());
    free_all(&mut keyspace);
    let (records, left) = (live_records(), content(&keyspace));
    assert!(records <= left.len() as isize, "{records} records for {} keys", left.len());
    assert!(left == written(seed, writer.writes), "seed {seed}: writers see that there are snapshots");
    keyspace.flush_all();
    free_all(&mut keyspace);
    assert_eq!(live_records(), 0);
    done
}

/// What so many writes make without snapshots.
fn written(seed: u64, writes: usize) -> Content {
    let (mut keyspace, mut writer) = (Keyspace::new(3, 0..=16383, HASHER), Writer::new(seed));
    (0..writes).for_each(|_| writer.write(&mut keyspace));
    content(&keyspace)
}

#[test]
fn a_snapshot_is_what_there_was_when_it_began() {
    let seeds = std::env::var("SNAPSHOT_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(100);
    let done: usize = (0..seeds).map(|seed| run(seed, usize::MAX)).sum();
    assert!(done as u64 > seeds, "{done} snapshots came to an end");
}

/// Pages of long values are walked value by value, whatever changes meanwhile: nobody waits for a page of them.
#[test]
fn long_values_do_not_come_together() {
    let mut keyspace = Keyspace::new(1, 0..=16383, HASHER);
    let name = |number: u32| format!("{{one slot}}{number}");
    let set = |keyspace: &mut Keyspace, number: u32, byte: u8| {
        let value = [byte; 100_000];
        keyspace.db(0).set_string(&HASHER.key(name(number).as_bytes()), &value, Expiry::Never);
    };
    (0..300).for_each(|number| set(&mut keyspace, number, b'a'));
    let mut walk = Walk::begin(&mut keyspace, usize::MAX).unwrap();
    let mut steps = 0;
    loop {
        let before = walk.seen.len();
        let state = walk.step(&mut keyspace, 32);
        assert!(walk.seen.len() <= before + 1, "{} values in a step", walk.seen.len() - before);
        steps += 1;
        set(&mut keyspace, steps % 300, b'b');
        if state != SnapshotWalk::More {
            break;
        }
    }
    walk.check();
    assert!(steps >= 300 && walk.seen.len() == 300);
    free_all(&mut keyspace);
    assert_eq!(live_records(), 300);
    keyspace.flush_all();
    free_all(&mut keyspace);
    assert_eq!(live_records(), 0);
}

#[test]
fn snapshots_beyond_their_bound_are_dropped_and_the_others_are_right() {
    let done: Vec<usize> = (0..30).map(|seed| run(seed, 100_000)).collect();
    assert!(done.iter().sum::<usize>() > 0, "some stay within the bound");
}

/// One slot that grows and shrinks by dozens of keys between the slices of two walks.
#[test]
fn pages_split_and_join_around_the_walks() {
    for seed in 0..200 {
        let mut rng = Rng::new(seed);
        let mut keyspace = Keyspace::new(1, 0..=16383, HASHER);
        let write = |keyspace: &mut Keyspace, rng: &mut Rng, grows: bool| {
            for _ in 0..rng.below(100) {
                let key = format!("{{x}}{}", rng.below(500));
                if grows {
                    keyspace.db(0).set_string(&HASHER.key(key.as_bytes()), &rng.below(9).to_be_bytes(), Expiry::Never);
                } else {
                    keyspace.db(0).remove(&HASHER.key(key.as_bytes()), NOW);
                }
            }
        };
        (0..rng.below(20)).for_each(|_| write(&mut keyspace, &mut rng, true));
        let mut walks: Vec<Walk> = Vec::new();
        let mut grows = false;
        for _ in 0..40 {
            if walks.len() < 2 && rng.below(3) == 0 {
                walks.extend(Walk::begin(&mut keyspace, usize::MAX));
            }
            if rng.below(8) == 0 {
                grows = !grows;
            }
            write(&mut keyspace, &mut rng, grows);
            walks.retain_mut(|walk| {
                let entries_max = 1 + rng.below(60) as usize;
                let is_done = rng.below(2) == 0 && walk.step(&mut keyspace, entries_max) == SnapshotWalk::Done;
                if is_done {
                    walk.check();
                }
                !is_done
            });
        }
        walks.iter_mut().for_each(|walk| walk.finish(&mut keyspace));
    }
}

fn filled(keys: usize) -> Keyspace {
    let mut keyspace = Keyspace::new(2, 0..=16383, HASHER);
    for number in 0..keys {
        let value = if number % 10 == 0 { &[1; 300][..] } else { b"short" };
        keyspace.db(0).set_string(&HASHER.key(format!("{number}").as_bytes()), value, Expiry::Never);
    }
    keyspace
}

#[test]
fn what_is_kept_is_bounded_and_what_is_dropped_is_freed_by_and_by() {
    let mut keyspace = filled(20_000);
    let mut small = Walk::begin(&mut keyspace, 500_000).unwrap();
    let mut large = Walk::begin(&mut keyspace, usize::MAX).unwrap();
    for number in 0..20_000 {
        keyspace.db(0).set_string(&HASHER.key(format!("{number}").as_bytes()), b"other", Expiry::Never);
        assert!(keyspace.snapshot_copies_bytes(small.id) <= 600_000);
    }
    let peak = keyspace.snapshot_copies_peak_bytes(small.id);
    assert!((500_000..600_000).contains(&peak), "{peak}");
    let kept = keyspace.snapshot_copies_bytes(large.id);
    assert!(kept > 2000 * 300 && kept <= keyspace.snapshot_copies_peak_bytes(large.id));
    assert_eq!(live_records(), 2000, "the copies have the old values");
    assert_eq!(small.step(&mut keyspace, 10), SnapshotWalk::Dropped);
    assert_eq!(small.step(&mut keyspace, 10), SnapshotWalk::Dropped);
    assert_eq!(keyspace.snapshot_copies_bytes(small.id), 0);
    large.finish(&mut keyspace);
    assert!(large.seen.len() == 20_000 && keyspace.snapshot_copies_bytes(large.id) == 0);
    free_all(&mut keyspace);
    assert_eq!(live_records(), 0);

    let walk = Walk::begin(&mut keyspace, usize::MAX).unwrap();
    for number in 0..20_000 {
        keyspace.db(0).append(&HASHER.key(format!("{number}").as_bytes()), &[2; 300]);
    }
    keyspace.end_snapshot(walk.id);
    let mut slices = 0;
    while keyspace.free_some(100) {
        slices += 1;
    }
    assert!(slices > 100, "{slices} slices of 100 for 20,000 tables");
}

#[test]
fn a_large_value_is_not_copied_and_freed_by_and_by() {
    let (limit, value) = (PackedLimit::new(-1), [b'v'; 100]);
    let mut keyspace = Keyspace::new(1, 0..=16383, HASHER);
    let (list, string) = (HASHER.key(b"{t}list"), HASHER.key(b"{t}string"));
    let values = std::vec![&value[..]; 100_000];
    keyspace.db(0).edit_or_make_list(&list, NOW, |list| list.push(End::Back, values.into_iter(), limit)).unwrap();
    keyspace.db(0).set_string(&string, &std::vec![1; 1 << 20], Expiry::Never);
    let mut walk = Walk::begin(&mut keyspace, 1 << 24).unwrap();
    keyspace.db(0).edit_list(&list, NOW, |list| list.pop(End::Front, limit)).unwrap();
    assert!(keyspace.snapshot_copies_bytes(walk.id) < 10_000, "no value was copied with its page");
    keyspace.db(0).append(&string, b"tail");
    keyspace.db(0).remove(&list, NOW);
    let mut shown = (0, 0);
    while keyspace.walk_snapshot(walk.id, 1, &mut |entry| match entry.value {
        ValueRef::List(list) => shown.0 = List::len(list),
        ValueRef::String(string) => shown.1 = string.len(),
    }) == SnapshotWalk::More
    {}
    assert_eq!(shown, (100_000, 1 << 20));
    let mut slices = 0;
    while keyspace.free_some(1) {
        slices += 1;
    }
    assert!(slices > 100, "the list had 2,500 chunks, and was freed in {slices} slices");
    assert_eq!(walk.step(&mut keyspace, 1), SnapshotWalk::Dropped, "a snapshot ends once");
    assert_eq!(live_records(), 1);
}

#[test]
fn values_that_are_replaced_in_pages_kept_before_count_too() {
    let mut keyspace = Keyspace::new(1, 0..=16383, HASHER);
    for number in 0..20 {
        keyspace.db(0).set_string(&HASHER.key(format!("{{t}}{number}").as_bytes()), &[1; 100_000], Expiry::Never);
    }
    let id = keyspace.begin_snapshot(1_000_000).unwrap();
    for number in 0..20 {
        keyspace.db(0).remove(&HASHER.key(format!("{{t}}{number}").as_bytes()), NOW);
    }
    assert_eq!(keyspace.walk_snapshot(id, 1, &mut |_| ()), SnapshotWalk::Dropped);
    free_all(&mut keyspace);
    assert_eq!(live_records(), 0);
}

#[test]
fn chunks_that_a_list_gives_up_count_too() {
    let (limit, value) = (PackedLimit::new(-1), [b'v'; 100]);
    let list = HASHER.key(b"list");
    let mut keyspace = Keyspace::new(1, 0..=16383, HASHER);
    let values = std::vec![&value[..]; 100_000];
    keyspace.db(0).edit_or_make_list(&list, NOW, |list| list.push(End::Back, values.into_iter(), limit)).unwrap();
    let bytes = keyspace.db(0).bytes();
    for pops_one_by_one in [true, false] {
        let id = keyspace.begin_snapshot(usize::MAX).unwrap();
        keyspace.db(0).edit_list(&list, NOW, |list| list.set(0, b"x", limit)).unwrap();
        keyspace.db(0).set_expiry(&list, Expiry::At(UnixMillis(9)));
        let before = keyspace.snapshot_copies_bytes(id);
        assert!(before < 100_000, "{before}");
        let copy = keyspace.db(0).duplicate(&list, NOW).unwrap();
        let cut = |list: &mut List| match pops_one_by_one {
            true => (0..50_000).for_each(|_| list.pop(End::Front, limit)),
            false => drop(list.remove(0..50_000, limit)),
        };
        keyspace.db(0).edit_list(&list, NOW, cut).unwrap();
        keyspace.parts().for_each(|db| db.captures_mut().charge_detached());
        let kept = keyspace.snapshot_copies_bytes(id);
        assert!((bytes * 2 / 5..bytes * 3 / 5).contains(&kept), "{kept} kept of {bytes}");
        keyspace.end_snapshot(id);
        keyspace.db(0).put(&list, copy, NOW);
    }
}

#[test]
fn no_more_run_than_the_bound_says() {
    let mut keyspace = filled(100);
    let walks: Vec<Walk> = (0..SNAPSHOTS_MAX).map(|_| Walk::begin(&mut keyspace, 1 << 20).unwrap()).collect();
    assert_eq!(keyspace.begin_snapshot(1 << 20), None);
    keyspace.end_snapshot(walks[3].id);
    let mut again = Walk::begin(&mut keyspace, 1 << 20).unwrap();
    keyspace.flush_all();
    assert_eq!(keyspace.snapshots.ghosts.len(), 1);
    again.finish(&mut keyspace);
    walks.into_iter().enumerate().filter(|(at, _)| *at != 3).for_each(|(_, mut walk)| walk.finish(&mut keyspace));
    assert!(keyspace.snapshots.ghosts.is_empty());
    free_all(&mut keyspace);
    assert_eq!(live_records(), 0);
}

#[test]
fn an_empty_keyspace_is_walked_at_once_and_databases_come_in_order() {
    let mut keyspace = Keyspace::new(3, 0..=16383, HASHER);
    let id = keyspace.begin_snapshot(0).unwrap();
    keyspace.db(0).set_string(&HASHER.key(b"later"), b"", Expiry::Never);
    assert_eq!(keyspace.walk_snapshot(id, 10, &mut |_| panic!("there was nothing")), SnapshotWalk::Done);
    for (db, name) in [(2, "a"), (1, "a"), (0, "a")] {
        keyspace.db(db).set_string(&HASHER.key(name.as_bytes()), b"", Expiry::Never);
    }
    let id = keyspace.begin_snapshot(0).unwrap();
    keyspace.swap(0, 2, NOW);
    keyspace.flush(1);
    let mut order = Vec::new();
    while keyspace.walk_snapshot(id, 1, &mut |entry| order.push((entry.db, entry.key.to_vec()))) == SnapshotWalk::More {
    }
    let names: Vec<_> = order.iter().map(|(db, name)| (*db, &name[..])).collect();
    assert_eq!(names.iter().map(|(db, _)| *db).collect::<Vec<_>>(), [0, 0, 1, 2], "{names:?}");
}

#[test]
fn a_keyspace_that_is_dropped_with_its_snapshots_frees_all() {
    let mut keyspace = filled(5000);
    let [one, _other] = [(); 2].map(|()| keyspace.begin_snapshot(usize::MAX).unwrap());
    for number in 0..4000 {
        keyspace.db(0).append(&HASHER.key(format!("{number}").as_bytes()), &[2; 300]);
    }
    assert_eq!(keyspace.walk_snapshot(one, 1000, &mut |_| ()), SnapshotWalk::More);
    keyspace.flush_all();
    keyspace.db(0).set_string(&HASHER.key(b"new"), &[3; 300], Expiry::Never);
    assert!(live_records() > 4000);
    drop(keyspace);
    assert_eq!(live_records(), 0);
}
