use super::*;
use crate::value::ValueRef;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use slotmesh_base::{Rng, Slot};
use std::format;

const NOW: UnixMillis = UnixMillis(0);

impl SlotTable {
    /// Panics if the table's parts do not fit together; bytes of pages, directory and records.
    pub(crate) fn check(&self, hasher: Option<&KeyHasher>) -> usize {
        let pages = self.pages.as_slice();
        assert_eq!(pages.iter().map(Page::count).sum::<usize>(), self.len());
        assert_eq!(pages.is_empty(), self.len() == 0);
        for (number, page) in pages.iter().enumerate() {
            for index in 0..page.count() {
                let Some(hasher) = hasher else { break };
                let key = key_of(hasher, page.key(index));
                assert_eq!(page_of(key.hash, pages.len()), number, "a key in a wrong page");
                assert!(self.find(&key).is_some_and(|place| (place.page, place.index) == (number, index)));
            }
        }
        pages.iter().map(Page::check).sum::<usize>() + self.pages.directory_bytes()
    }
}

fn key_of<'a>(hasher: &KeyHasher, bytes: &'a [u8]) -> Key<'a> {
    Key { bytes, slot: Slot::new(0).unwrap(), hash: hasher.hash(bytes) }
}

struct Fixture {
    table: SlotTable,
    tally: Tally,
    hasher: KeyHasher,
}

impl Fixture {
    fn new() -> Self {
        Self { table: SlotTable::EMPTY, tally: Tally::default(), hasher: KeyHasher::new([5, 6]) }
    }

    fn insert(&mut self, name: &str) {
        let key = key_of(&self.hasher, name.as_bytes());
        if self.table.find(&key).is_none() {
            self.table.insert_string(
                &key,
                (b"0123456789", StringForm::ByContent),
                Trace([0; 3]),
                Expiry::Never,
                &self.hasher,
                &mut self.tally,
            );
        }
    }

    fn remove(&mut self, name: &str) {
        let key = key_of(&self.hasher, name.as_bytes());
        if let Some(place) = self.table.find(&key) {
            self.table.remove(Slot::new(0).unwrap(), place, &mut self.tally);
        }
    }

    fn check(&self) {
        assert_eq!(self.table.check(Some(&self.hasher)), self.tally.bytes);
    }

    /// One call of scan: the keys, and where to go on.
    fn scan(&self, position: u64, count: usize) -> (Vec<String>, Option<u64>) {
        let (mut seen, mut budget) = (Vec::new(), count);
        let next = self.table.scan(position, &mut budget, NOW, &self.hasher, &mut |key, _: ValueRef<'_>| {
            seen.push(String::from_utf8(key.to_vec()).unwrap());
        });
        assert!(seen.len() <= count, "COUNT is honoured");
        assert!(seen.len() == count || next.is_none(), "COUNT is used up");
        (seen, next)
    }
}

#[test]
fn twenty_thousand_keys_come_and_go_and_leave_nothing() {
    let mut fixture = Fixture::new();
    for number in 0..20_000 {
        fixture.insert(&format!("key:{number}"));
    }
    fixture.check();
    let pages = fixture.table.pages.as_slice();
    assert_eq!(pages.len(), 20_000_usize.div_ceil(PAGE_ENTRIES_MEAN_MAX));
    assert!(pages.iter().all(|page| page.count() < 4 * PAGE_ENTRIES_MEAN_MAX && page.size() < 8192));
    for number in 0..19_999 {
        fixture.remove(&format!("key:{number}"));
    }
    fixture.check();
    assert!(matches!(fixture.table.pages, Pages::One { .. }));
    fixture.remove("key:19999");
    assert!(matches!(fixture.table.pages, Pages::Empty));
    let Tally { bytes, expiring, expiry_sum, .. } = fixture.tally;
    assert_eq!((bytes, expiring, expiry_sum), (0, 0, 0));
}

#[test]
fn an_insert_rebuilds_one_page_at_most() {
    let mut fixture = Fixture::new();
    let addresses = |table: &SlotTable| -> Vec<usize> {
        // Where the first key of each page stands: it moves when the page is rebuilt.
        table.pages.as_slice().iter().map(|page| page.key(0).as_ptr().addr()).collect()
    };
    let mut before = Vec::new();
    for number in 0..5000 {
        fixture.insert(&format!("key:{number}"));
        if fixture.table.pages.as_slice().iter().any(|page| page.count() == 0) {
            continue;
        }
        let after = addresses(&fixture.table);
        let moved = before.iter().zip(&after).filter(|(old, new)| old != new).count();
        assert!(moved <= 1, "insert {number} moved {moved} pages");
        before = after;
    }
}

#[test]
fn a_table_at_the_edge_does_not_split_and_join_all_the_time() {
    let mut fixture = Fixture::new();
    for number in 0..1000 {
        fixture.insert(&format!("{number}"));
    }
    let pages = fixture.table.pages.as_slice().len();
    for number in 0..600 {
        fixture.remove(&format!("{number}"));
        assert_eq!(fixture.table.pages.as_slice().len(), pages);
    }
}

#[test]
fn a_scan_sees_whatever_is_there_all_the_time_while_the_table_changes() {
    for seed in 0..40 {
        let (mut fixture, mut rng) = (Fixture::new(), Rng::new(seed));
        let stable: BTreeSet<String> = (0..rng.below(400)).map(|number| format!("stable:{number}")).collect();
        stable.iter().for_each(|name| fixture.insert(name));
        let (mut seen, mut position, mut wave) = (BTreeSet::new(), Some(0), 0);
        while let Some(from) = position {
            let (keys, next) = fixture.scan(from, 1 + rng.below(30) as usize);
            for key in keys {
                assert!(seen.insert(key.clone()) || !stable.contains(&key), "{key} is seen twice");
            }
            position = next;
            // Waves that make the table split many times, and join again.
            wave += 1;
            for number in 0..rng.below(300) {
                let name = format!("wave:{number}");
                if wave % 4 < 2 { fixture.insert(&name) } else { fixture.remove(&name) }
            }
        }
        assert!(stable.is_subset(&seen), "seed {seed} missed {:?}", stable.difference(&seen).next());
        fixture.check();
    }
}

#[test]
fn a_scan_of_a_quiet_table_sees_everything_once_in_order() {
    let mut fixture = Fixture::new();
    (0..3000).for_each(|number| fixture.insert(&format!("{number}")));
    let (mut all, mut position) = (Vec::new(), Some(0));
    while let Some(from) = position {
        let (keys, next) = fixture.scan(from, 7);
        for key in &keys {
            let place = scan::position_of(fixture.hasher.hash(key.as_bytes()));
            assert!(place >= from && next.is_none_or(|next| place < next));
        }
        all.extend(keys);
        position = next;
    }
    assert_eq!((all.len(), all.iter().collect::<BTreeSet<_>>().len()), (3000, 3000));
}

#[test]
fn keys_of_one_position_are_visited_together() {
    let mut fixture = Fixture { hasher: KeyHasher::BROKEN, ..Fixture::new() };
    (0..100).for_each(|number| fixture.insert(&format!("{number}")));
    let (mut seen, mut budget) = (0, 1);
    let next = fixture.table.scan(0, &mut budget, NOW, &fixture.hasher, &mut |_, _| seen += 1);
    assert_eq!((seen, budget), (100, 0));
    let mut budget = 1;
    assert_eq!(fixture.table.scan(next.unwrap(), &mut budget, NOW, &fixture.hasher, &mut |_, _| seen += 1), None);
    assert_eq!(seen, 100);
}
