//! Which requests a connection to a cluster's master may send: those with keys of its slots.
//!
//! A connection draws until a request is its master's: chance is drawn again, so that each master has the same load
//! and keys are even within it. Where each key comes once, those of other masters wait for their connections: at most
//! as many as there are keys.

use crate::slot_map::{Master, SlotMap};
use crate::workload::{Drawn, Requests};
use std::collections::VecDeque;

/// After so many draws a master is said to have no keys: with one slot of all it has each of them a chance in 16384.
const DRAWS_MAX: usize = 1_000_000;

/// The slots of a cluster, and what waits for its masters' connections.
#[derive(Debug)]
pub(super) struct Routing {
    map: SlotMap,
    /// Per master whether it has slots.
    serving: Vec<bool>,
    /// Per master requests that others' connections have drawn.
    waiting: Vec<VecDeque<Drawn>>,
}

impl Routing {
    pub(super) fn new(map: SlotMap) -> Self {
        let mut routing = Self { map, serving: Vec::new(), waiting: Vec::new() };
        routing.note_masters();
        routing
    }

    fn note_masters(&mut self) {
        let count = self.map.masters().len();
        self.serving = (0..count).map(|place| self.map.has_slots(Master(place as u16))).collect();
        self.waiting.resize_with(count, VecDeque::new);
    }

    pub(super) fn map(&self) -> &SlotMap {
        &self.map
    }

    /// The masters that have slots.
    pub(super) fn serving(&self) -> impl Iterator<Item = Master> {
        self.serving.iter().enumerate().filter(|(_, serves)| **serves).map(|(place, _)| Master(place as u16))
    }

    /// Changes the map; what waits, waits for whoever has its slot now.
    pub(super) fn change(&mut self, requests: &mut Requests, change: impl FnOnce(&mut SlotMap)) {
        change(&mut self.map);
        self.note_masters();
        let waiting: Vec<_> = self.waiting.iter_mut().flat_map(std::mem::take).collect();
        for drawn in waiting {
            let owner = self.owner(drawn, requests).expect("what is of no slot waits for nobody");
            self.waiting[usize::from(owner.0)].push_back(drawn);
        }
    }

    /// The master of a request's key, if it has one.
    #[inline]
    pub(super) fn owner(&self, drawn: Drawn, requests: &mut Requests) -> Option<Master> {
        requests.slot(drawn).map(|slot| self.map.owner(slot))
    }

    /// The next request for a master; `None` if there is none for now.
    #[inline]
    pub(super) fn next(&mut self, master: Master, requests: &mut Requests) -> Option<Drawn> {
        if let Some(drawn) = self.waiting[usize::from(master.0)].pop_front() {
            return Some(drawn);
        }
        for _ in 0..DRAWS_MAX {
            let drawn = requests.draw()?;
            match self.owner(drawn, requests) {
                Some(owner) if owner != master => {
                    if requests.comes_once(drawn) {
                        self.waiting[usize::from(owner.0)].push_back(drawn);
                    }
                }
                // Its own, or of no key.
                _ => return Some(drawn),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{Distribution, KeyChooser};
    use crate::slot_map::tests::map_of;
    use crate::workload::{Population, Sizes, parse_mix};
    use slotmesh_base::{Rng, Slot};
    use std::collections::BTreeMap;

    const KEYS: u64 = 1000;

    fn requests(mix: &str, distribution: Distribution) -> Requests {
        let sizes = Sizes { key_bytes: 16, value_bytes: 3 };
        let population = Population { keys: KEYS, lists: KEYS };
        let chooser = |count| KeyChooser::new(distribution, count, 0, 1);
        Requests::new(&parse_mix(mix).unwrap(), sizes, population, chooser, Rng::new(1))
    }

    /// The key as it stands in the request, by the protocol: the second argument.
    fn key_of(drawn: Drawn, requests: &mut Requests) -> String {
        let mut output = Vec::new();
        requests.write(drawn, &mut output);
        String::from_utf8(output).unwrap().split("\r\n").nth(4).unwrap().to_owned()
    }

    fn halves() -> Routing {
        Routing::new(map_of(&[(0, 8191, 7000), (8192, 16383, 7001)]))
    }

    #[test]
    fn a_master_gets_the_keys_of_its_slots_only() {
        let mut routing = halves();
        let mut requests = requests("get:2,incr,setbit,expire", Distribution::Uniform);
        for turn in 0..2000 {
            let master = Master(turn % 2);
            let drawn = routing.next(master, &mut requests).unwrap();
            let slot = Slot::of_key(key_of(drawn, &mut requests).as_bytes());
            assert_eq!(usize::from(master.0), slot.index() / 8192);
        }
        assert!(routing.waiting.iter().all(VecDeque::is_empty), "chance is drawn again");
    }

    #[test]
    fn a_sequence_comes_once_over_all_masters_also_when_slots_move() {
        let mut routing = halves();
        let mut requests = requests("set", Distribution::Sequence { from: 0, to: KEYS });
        let mut seen = BTreeMap::<String, u32>::new();
        for _ in 0..200 {
            let drawn = routing.next(Master(0), &mut requests).unwrap();
            *seen.entry(key_of(drawn, &mut requests)).or_default() += 1;
        }
        // The second master's slots go to a third one.
        let newer = map_of(&[(0, 8191, 7000), (8192, 16383, 7002)]);
        routing.change(&mut requests, |map| assert!(map.adopt(&newer)));
        assert_eq!(routing.serving().collect::<Vec<_>>(), [Master(0), Master(2)]);
        for master in [Master(2), Master(0), Master(2)] {
            while let Some(drawn) = routing.next(master, &mut requests) {
                *seen.entry(key_of(drawn, &mut requests)).or_default() += 1;
            }
        }
        assert_eq!(routing.next(Master(1), &mut requests), None);
        assert_eq!((seen.len() as u64, seen.values().all(|count| *count == 1)), (KEYS, true));
    }

    #[test]
    fn what_has_no_key_goes_anywhere_and_a_master_without_keys_gets_nothing() {
        let mut requests = requests("ping", Distribution::Uniform);
        assert!(halves().next(Master(1), &mut requests).is_some());
        for distribution in [Distribution::Sequence { from: 0, to: 1 }, Distribution::Uniform] {
            let chooser = |_| KeyChooser::new(distribution, 1, 0, 1);
            let population = Population { keys: 1, lists: 1 };
            let sizes = Sizes { key_bytes: 16, value_bytes: 3 };
            let mut requests = Requests::new(&parse_mix("get").unwrap(), sizes, population, chooser, Rng::new(1));
            let mut routing = halves();
            let found = [Master(0), Master(1)].map(|master| routing.next(master, &mut requests).is_some());
            assert!(found[0] ^ found[1], "{distribution:?}: one key is of one master");
        }
    }
}
