use crate::keyspace::writer::{self, Content, Writer, content, digest};
use crate::page::live;
use crate::{Change, End, Event, Expiry, Key, KeyHasher, Keyspace, Loose, PackedLimit, Side};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use slotmesh_base::{Rng, Slot, UnixMillis};
use std::format;

const HASHER: KeyHasher = KeyHasher::new([7, 8]);
const LIMIT: PackedLimit = PackedLimit::new(-1);
const NOW: UnixMillis = UnixMillis(100);

fn key(name: &str) -> Key<'_> {
    HASHER.key(name.as_bytes())
}

fn keyspace(databases: usize) -> Keyspace {
    Keyspace::new(databases, 0..=16383, HASHER)
}

/// What was seen, as pairs that are easy to read.
fn seen(keyspace: &mut Keyspace) -> Vec<(std::string::String, Change)> {
    let has_events = keyspace.has_events();
    let events = keyspace.take_events();
    assert_eq!(has_events, !events.is_empty());
    assert!(!keyspace.has_events());
    events.into_iter().map(|event| (std::string::String::from_utf8(event.key).unwrap(), event.change)).collect()
}

fn one(name: &str, change: Change) -> Vec<(std::string::String, Change)> {
    std::vec![(name.into(), change)]
}

#[test]
fn every_change_of_a_key_is_seen_once_and_as_what_it_is() {
    let mut keyspace = keyspace(1);
    keyspace.attend(0, key("a").slot);
    let at = |time| Expiry::At(UnixMillis(time));
    keyspace.db(0).put_string(&key("a"), b"1", Expiry::Never, NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Created));
    keyspace.db(0).put_string(&key("a"), b"1", Expiry::Never, NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Changed));
    keyspace.db(0).append(&key("a"), b"2");
    assert_eq!(seen(&mut keyspace), one("a", Change::Changed));
    keyspace.db(0).set_expiry(&key("a"), Expiry::Never);
    keyspace.db(0).set_expiry(&key("a"), Expiry::Keep);
    assert_eq!(seen(&mut keyspace), [], "there was no expiry to remove");
    keyspace.db(0).set_expiry(&key("a"), at(100));
    assert_eq!(seen(&mut keyspace), one("a", Change::Changed));
    assert!(keyspace.db(0).get(&key("a"), NOW).is_some());
    assert_eq!(seen(&mut keyspace), []);
    assert!(keyspace.db(0).get(&key("a"), UnixMillis(101)).is_none());
    assert_eq!(seen(&mut keyspace), one("a", Change::Expired));
    keyspace.db(0).set_string(&key("a"), b"", at(1));
    assert_eq!(seen(&mut keyspace), one("a", Change::Created));
    keyspace.db(0).put_string(&key("a"), b"", at(2), NOW);
    assert_eq!(seen(&mut keyspace), [("a".into(), Change::Expired), ("a".into(), Change::Created)]);
    assert_eq!(keyspace.db(0).random_key(&mut Rng::new(1), NOW), None);
    assert_eq!(seen(&mut keyspace), one("a", Change::Expired));
    keyspace.db(0).set_string(&key("a"), b"", at(2));
    seen(&mut keyspace);
    assert_eq!(keyspace.db(0).expire_due(NOW, 10).removed, 1);
    assert_eq!(seen(&mut keyspace), one("a", Change::Expired));
    keyspace.db(0).set_string(&key("a"), b"", Expiry::Never);
    seen(&mut keyspace);
    assert!(keyspace.db(0).remove(&key("a"), NOW) && !keyspace.db(0).remove(&key("a"), NOW));
    assert_eq!(seen(&mut keyspace), one("a", Change::Removed));
    keyspace.db(0).put(&key("a"), Loose::string(b"x"), NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Created));
    let loose = keyspace.db(0).duplicate(&key("a"), NOW).unwrap();
    assert_eq!(seen(&mut keyspace), []);
    keyspace.db(0).put(&key("a"), loose, NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Replaced));
    keyspace.db(0).overwrite(&key("a"), Loose::string(b"y"), NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Changed));
    assert!(keyspace.db(0).take(&key("a"), NOW).is_some() && keyspace.db(0).take(&key("a"), NOW).is_none());
    assert_eq!(seen(&mut keyspace), one("a", Change::Removed));
}

#[test]
fn a_list_that_was_not_touched_is_not_changed() {
    let mut keyspace = keyspace(1);
    keyspace.attend(0, key("l").slot);
    for length in [3, 3000] {
        let db = keyspace.db(0);
        let values: Vec<Vec<u8>> = (0..length).map(|number| format!("v{number}").into_bytes()).collect();
        db.edit_or_make_list(&key("l"), NOW, |list| list.push(End::Back, values.iter().map(|v| &v[..]), LIMIT))
            .unwrap();
        assert_eq!(seen(&mut keyspace), one("l", Change::Created));
        let mut edit = |change: &mut dyn FnMut(&mut crate::List)| {
            keyspace.db(0).edit_list(&key("l"), NOW, |list| change(list)).unwrap();
            seen(&mut keyspace)
        };
        assert_eq!(edit(&mut |_| ()), []);
        assert_eq!(edit(&mut |list| assert_eq!(list.remove_equal(b"none", End::Front, 9, LIMIT), 0)), []);
        assert_eq!(edit(&mut |list| assert!(!list.insert(Side::After, b"none", b"x", LIMIT))), []);
        assert_eq!(edit(&mut |list| assert!(!list.set(99_999, b"x", LIMIT))), []);
        let changed = one("l", Change::Changed);
        assert_eq!(edit(&mut |list| assert!(list.set(0, b"v0", LIMIT))), changed);
        assert_eq!(edit(&mut |list| assert!(list.insert(Side::After, b"v1", b"x", LIMIT))), changed);
        assert_eq!(edit(&mut |list| assert_eq!(list.remove_equal(b"x", End::Front, 9, LIMIT), 1)), changed);
        assert_eq!(edit(&mut |list| list.push(End::Front, [&b"f"[..]].into_iter(), LIMIT)), changed);
        assert_eq!(edit(&mut |list| list.pop(End::Front, LIMIT)), changed);
        assert_eq!(edit(&mut |list| drop(list.remove(0..list.len() - 1, LIMIT))), changed);
        assert_eq!(edit(&mut |list| list.pop(End::Front, LIMIT)), one("l", Change::Removed));
        keyspace.db(0).edit_or_make_list(&key("l"), NOW, |_| ()).unwrap();
        assert_eq!(seen(&mut keyspace), [], "an empty list is no key");
    }
}

#[test]
fn attention_is_counted_and_belongs_to_slot_and_index() {
    let mut keyspace = keyspace(3);
    let slot = key("a").slot;
    keyspace.attend(1, slot);
    keyspace.attend(1, slot);
    let set = |keyspace: &mut Keyspace, db: usize, name: &str| {
        keyspace.db(db).set_string(&key(name), b"", Expiry::Never);
        let events = keyspace.take_events();
        events.iter().map(|Event { db, .. }| *db).collect::<Vec<_>>()
    };
    assert_eq!(set(&mut keyspace, 0, "a"), []);
    assert_eq!(set(&mut keyspace, 1, "a"), [1]);
    assert_eq!(set(&mut keyspace, 1, "another"), []);
    keyspace.flush(1);
    assert_eq!(seen(&mut keyspace), one("a", Change::Removed));
    assert_eq!(set(&mut keyspace, 1, "a"), [1]);
    keyspace.ignore(1, slot);
    assert_eq!(set(&mut keyspace, 1, "a"), [1]);
    keyspace.swap(1, 2, NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Removed));
    assert_eq!(set(&mut keyspace, 2, "a"), []);
    assert_eq!(set(&mut keyspace, 1, "a"), [1]);
    keyspace.swap(2, 1, NOW);
    assert_eq!(seen(&mut keyspace), one("a", Change::Replaced));
    keyspace.ignore(1, slot);
    assert_eq!(set(&mut keyspace, 1, "a"), []);
}

#[test]
fn a_swap_creates_what_is_there_then() {
    let mut keyspace = keyspace(2);
    keyspace.attend(1, key("a").slot);
    keyspace.db(0).set_string(&key("a"), b"", Expiry::Never);
    assert!(!keyspace.has_events());
    keyspace.swap(0, 1, NOW);
    assert_eq!(keyspace.take_events(), [Event { db: 1, key: b"a".to_vec(), change: Change::Created }]);
    assert!(keyspace.db(0).is_empty() && keyspace.db(1).contains(&key("a"), NOW));
    keyspace.swap(1, 1, NOW);
    assert!(!keyspace.has_events());
}

#[test]
fn what_has_expired_is_not_there_after_a_swap() {
    let stored = |keyspace: &mut Keyspace, db: usize, at: i64| {
        keyspace.db(db).set_string(&key("a"), b"", Expiry::At(UnixMillis(at)));
        keyspace.take_events();
    };
    let (live, due) = (NOW.0 + 1, NOW.0 - 1);
    let swapped = |here: Option<i64>, there: Option<i64>| {
        let mut keyspace = keyspace(2);
        keyspace.attend(0, key("a").slot);
        here.into_iter().for_each(|at| stored(&mut keyspace, 0, at));
        there.into_iter().for_each(|at| stored(&mut keyspace, 1, at));
        keyspace.swap(0, 1, NOW);
        keyspace.take_events().into_iter().map(|event| event.change).collect::<Vec<_>>()
    };
    assert_eq!(swapped(None, Some(live)), [Change::Created]);
    assert_eq!(swapped(None, Some(due)), [Change::Stale]);
    assert_eq!(swapped(Some(due), Some(live)), [Change::Replaced]);
    assert_eq!(swapped(Some(live), Some(live)), [Change::Replaced]);
    assert_eq!(swapped(Some(live), Some(due)), [Change::Removed, Change::Stale]);
    assert_eq!(swapped(Some(due), Some(due)), [Change::Removed, Change::Stale]);
    assert_eq!(swapped(Some(due), None), [Change::Removed]);
}

#[test]
fn all_that_expires_is_seen_if_that_is_wanted() {
    let mut keyspace = keyspace(2);
    keyspace.record_expired(true);
    for db in 0..2 {
        keyspace.db(db).set_string(&key("a"), b"", Expiry::At(UnixMillis(1)));
        keyspace.db(db).set_string(&key("b"), b"", Expiry::Never);
        assert!(keyspace.db(db).get(&key("a"), NOW).is_none());
    }
    let expired = |db| Event { db, key: b"a".to_vec(), change: Change::Expired };
    assert_eq!(keyspace.take_events(), [expired(0), expired(1)]);
    keyspace.record_expired(false);
    keyspace.db(0).set_string(&key("a"), b"", Expiry::At(UnixMillis(1)));
    keyspace.db(0).expire_due(NOW, 10);
    assert!(!keyspace.has_events());
}

/// The keys that events say are there.
struct Model {
    keys: Content,
}

impl Model {
    /// Obeys events; changed and created keys are read from the keyspace.
    fn replay(&mut self, keyspace: &mut Keyspace) {
        for Event { db, key, change } in keyspace.take_events() {
            let place = (db, key);
            let was_there = self.keys.contains_key(&place);
            match change {
                Change::Created | Change::Stale => assert!(!was_there, "{place:?} was there already"),
                Change::Changed | Change::Replaced | Change::Removed | Change::Expired => {
                    assert!(was_there, "{place:?} was not there");
                }
            }
            match change {
                // The keyspace is looked at after the last event; a later one removes what is gone by then.
                Change::Created | Change::Stale | Change::Changed | Change::Replaced => {
                    let db = keyspace.find_db(usize::from(place.0));
                    let entry = db.and_then(|db| db.peek(&writer::HASHER.key(&place.1), UnixMillis(i64::MIN)));
                    let value = entry.map(|entry| digest(entry.value, entry.expires_at)).unwrap_or_default();
                    self.keys.insert(place, value);
                }
                Change::Removed | Change::Expired => _ = self.keys.remove(&place),
            }
        }
    }
}

#[test]
fn events_of_a_slot_tell_all_that_happens_there() {
    for seed in 0..60 {
        let mut keyspace = Keyspace::new(3, 0..=16383, writer::HASHER);
        // Many keys in the slots "x" and "y", which have attention, and in "z", which has none.
        let attended: BTreeSet<(usize, Slot)> =
            [(0, "x"), (0, "y"), (1, "x")].map(|(db, tag)| (db, key(tag).slot)).into();
        attended.iter().for_each(|&(db, slot)| keyspace.attend(db, slot));
        let mut model = Model { keys: BTreeMap::new() };
        let mut writer = Writer::new(seed);
        for _ in 0..600 {
            writer.write(&mut keyspace);
            model.replay(&mut keyspace);
        }
        let mut real = content(&keyspace);
        real.retain(|(db, name), _| attended.contains(&(usize::from(*db), Slot::of_key(name))));
        assert!(model.keys == real, "seed {seed}");
        drop(keyspace);
        assert_eq!(live::RECORDS.with(|records| records.get()), 0);
    }
}
