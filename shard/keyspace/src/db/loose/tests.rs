use super::*;
use crate::page::live;
use crate::{End, KeyHasher, PackedLimit};
use alloc::vec::Vec;
use slotmesh_base::Rng;
use std::format;

const HASHER: KeyHasher = KeyHasher::new([5, 9]);
const NOW: UnixMillis = UnixMillis(50);
const LIMIT: PackedLimit = PackedLimit::new(-1);

fn string(db: &Db, key: &Key<'_>) -> Vec<u8> {
    let Some(Entry { value: ValueRef::String(string), .. }) = db.peek(key, NOW) else { panic!("no string") };
    string.to_vec()
}

#[test]
fn a_string_keeps_value_and_expiry_whatever_its_length() {
    let (mut db, mut other) = (Db::new(HASHER), Db::new(HASHER));
    let long_name = [b'k'; 300];
    for length in [0, 1, 200, 254, 255, 256, 5000] {
        for expiry in [Expiry::Never, Expiry::At(UnixMillis(60))] {
            for (from, to) in [(&b"a"[..], &b"b"[..]), (b"a", &long_name), (&long_name, b"a")] {
                let (from, to) = (HASHER.key(from), HASHER.key(to));
                let value = std::vec![7; length];
                db.set_string(&from, &value, expiry);
                let copy = db.duplicate(&from, NOW).unwrap();
                let ValueRef::String(bytes) = copy.value() else { panic!("no string") };
                assert_eq!(bytes, value);
                other.put(&to, copy, NOW);
                let taken = db.take(&from, NOW).unwrap();
                assert!(!db.contains(&from, NOW) && db.is_empty() && db.expires() == 0);
                db.put(&to, taken, NOW);
                for db in [&mut db, &mut other] {
                    assert_eq!(string(db, &to), value);
                    let expires_at = if expiry == Expiry::Never { None } else { Some(UnixMillis(60)) };
                    assert_eq!(db.peek(&to, NOW).unwrap().expires_at, expires_at);
                    assert_eq!(db.expires(), usize::from(expires_at.is_some()));
                    assert!(expires_at.is_none() || db.next_expiry() <= Some(UnixMillis(61)));
                    db.check();
                    db.remove(&to, NOW);
                }
            }
        }
    }
    assert_eq!(live::RECORDS.with(|records| records.get()), 0);
    assert_eq!(db.tally.bytes, 0);
}

#[test]
fn what_has_expired_is_neither_taken_nor_copied() {
    let mut db = Db::new(HASHER);
    let key = HASHER.key(b"key");
    for _ in 0..2 {
        db.set_string(&key, b"", Expiry::At(UnixMillis(49)));
        assert!(db.take(&key, NOW).is_none() && db.is_empty());
        db.set_string(&key, b"", Expiry::At(UnixMillis(49)));
        assert!(db.duplicate(&key, NOW).is_none() && db.is_empty());
    }
    assert_eq!(db.expired(), 4);
}

#[test]
fn a_copied_list_is_independent() {
    let mut db = Db::new(HASHER);
    let (one, other) = (HASHER.key(b"one"), HASHER.key(b"other"));
    let value = [b'v'; 100];
    let fill = |list: &mut List| list.push(End::Back, [&value[..]; 500].into_iter(), LIMIT);
    db.put(&one, Loose::list(fill), NOW);
    db.set_expiry(&one, Expiry::At(UnixMillis(70)));
    let copy = db.duplicate(&one, NOW).unwrap();
    assert_eq!(copy.expires_at, Some(UnixMillis(70)));
    db.put(&other, copy, NOW);
    db.edit_list(&one, NOW, |list| list.pop(End::Front, LIMIT)).unwrap();
    db.check();
    assert_eq!(db.list(&one, NOW).unwrap().map(List::len), Some(499));
    assert_eq!(db.list(&other, NOW).unwrap().map(List::len), Some(500));
}

#[test]
#[should_panic(expected = "empty list")]
fn an_empty_list_is_refused() {
    Db::new(HASHER).put(&HASHER.key(b"key"), Loose::list(|_| ()), NOW);
}

#[test]
fn every_byte_is_counted_whatever_replaces_what() {
    let (mut db, mut rng) = (Db::new(HASHER), Rng::new(3));
    for _ in 0..4000 {
        let width = [1, 1, 300][rng.below(3) as usize];
        let (one, other) = (format!("{{t}}{:0width$}", rng.below(60)), format!("{:0width$}", rng.below(6)));
        let (one, other) = (HASHER.key(one.as_bytes()), HASHER.key(other.as_bytes()));
        let value = std::vec![1; rng.below(400) as usize];
        match rng.below(6) {
            0 => _ = db.set_string(&one, &value, Expiry::At(UnixMillis(90))),
            1 => db.put(&one, Loose::string(&value), NOW),
            2 => db.put(&one, Loose::list(|list| list.push(End::Back, [&value[..]; 20].into_iter(), LIMIT)), NOW),
            3 => {
                if let Some(loose) = db.take(&one, NOW) {
                    db.put(&other, loose, NOW);
                }
            }
            4 => {
                if let Some(loose) = db.duplicate(&other, NOW) {
                    db.put(&one, loose, NOW);
                }
            }
            _ => drop(db.take(&one, NOW)),
        }
        db.check();
    }
    drop(db);
    assert_eq!(live::RECORDS.with(|records| records.get()), 0);
}

#[test]
fn what_is_loaded_replaces_nothing() {
    let mut db = Db::new(HASHER);
    let key = HASHER.key(b"key");
    let value = |byte: u8| Loose::new(Value::String(std::vec![byte; 300]), Some(UnixMillis(60)));
    let idle = value(1).used(Some(LastUse::Idle(0)));
    assert_eq!(db.insert(&key, idle, NOW), Ok(()));
    assert_eq!(db.insert(&key, value(2), NOW), Err(KeyExists));
    assert_eq!(db.insert(&key, value(2), UnixMillis(70)), Err(KeyExists), "an expired key is there");
    assert_eq!((string(&db, &key), db.len(), db.expires()), (std::vec![1; 300], 1, 1));
    assert_eq!(live::RECORDS.with(|records| records.get()), 1);
    let then = UnixMillis(10_000_000);
    db.put(&key, value(3).used(Some(LastUse::Idle(500))), then);
    assert_eq!(db.idle_seconds(&key, then), Some(500), "also where a key is replaced");
    db.remove(&key, NOW);
    db.check();
    assert_eq!(live::RECORDS.with(|records| records.get()), 0);
}
