//! For tests: a client that does all that can be done to keys, and the content of a keyspace in a form to compare.

use super::Keyspace;
use crate::{Cursor, End, Entry, Expiry, Key, KeyHasher, Loose, PackedLimit, ValueRef};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use slotmesh_base::{Rng, UnixMillis};
use std::format;

pub(super) const HASHER: KeyHasher = KeyHasher::new([11, 12]);
const LIMIT: PackedLimit = PackedLimit::new(-1);

/// Database and key, and what [`digest`] makes of the entry.
pub(super) type Content = BTreeMap<(u16, Vec<u8>), Vec<u8>>;

/// Value and expiry as bytes.
pub(super) fn digest(value: ValueRef<'_>, expires_at: Option<UnixMillis>) -> Vec<u8> {
    let mut bytes = format!("{expires_at:?} {} ", value.kind().name()).into_bytes();
    match value {
        ValueRef::String(string) => bytes.extend_from_slice(string),
        ValueRef::List(list) => list.visit(0..list.len(), |element| match element {
            crate::Element::Integer(number) => bytes.extend(format!("{number},").bytes()),
            crate::Element::Bytes(element) => bytes.extend([element, b","].concat()),
        }),
    }
    bytes
}

/// All that is stored, expired or not.
pub(super) fn content(keyspace: &Keyspace) -> Content {
    let mut all = Content::new();
    for index in 0..keyspace.databases() {
        let Some(db) = keyspace.find_db(index) else { continue };
        let mut cursor = Some(Cursor::start());
        while let Some(from) = cursor {
            let mut names = Vec::new();
            cursor = db.scan(from, 100, UnixMillis(i64::MIN), &mut |name, _| names.push(name.to_vec()));
            for name in names {
                let entry = db.peek(&HASHER.key(&name), UnixMillis(i64::MIN)).unwrap();
                all.insert((index as u16, name), digest(entry.value, entry.expires_at));
            }
        }
    }
    all
}

/// A client with a clock of its own.
pub(super) struct Writer {
    rng: Rng,
    now: i64,
    /// It deletes more than it writes.
    shrinks: bool,
    /// How much it has done.
    pub(super) writes: usize,
}

impl Writer {
    pub(super) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed), now: 0, shrinks: false, writes: 0 }
    }

    fn below(&mut self, bound: u64) -> usize {
        self.rng.below(bound) as usize
    }

    /// Names in three crowded slots, one of them very much so, in many slots, and long ones.
    fn name(&mut self) -> String {
        let number = self.below(600);
        match self.below(12) {
            0..9 => format!("{{{}}}{number}", ["x", "x", "x", "x", "x", "x", "x", "y", "z"][number % 9]),
            9..11 => format!("{}", number / 12),
            _ => format!("{:0300}", number % 8),
        }
    }

    fn value(&mut self) -> Vec<u8> {
        let length = match self.below(10) {
            0..6 => self.below(40),
            6..8 => self.below(400),
            8 => self.below(3000),
            _ => self.below(40_000),
        };
        std::vec![self.below(256) as u8; length]
    }

    /// Does one thing to one key or database, maybe to two.
    pub(super) fn write(&mut self, keyspace: &mut Keyspace) {
        self.writes += 1;
        self.now += self.below(3) as i64;
        if self.below(100) == 0 {
            self.shrinks = !self.shrinks;
        }
        let (index, other_index) = (self.below(3), self.below(3));
        match self.below(60) {
            0 if self.below(8) == 0 => _ = keyspace.flush(index),
            1 if self.below(8) == 0 => _ = keyspace.flush_all(),
            2 => keyspace.swap(index, other_index, UnixMillis(self.now)),
            3 => _ = keyspace.free_some(self.below(20)),
            4..7 => {
                let pages = self.below(4);
                keyspace.db(index).expire_due(UnixMillis(self.now), pages);
            }
            7 => _ = keyspace.db(index).random_key(&mut self.rng, UnixMillis(self.now)),
            8..20 if self.shrinks => (0..60).for_each(|_| self.remove(keyspace, index)),
            8..11 => (0..40).for_each(|_| self.write_string(keyspace, index)),
            11..16 => self.move_value(keyspace, index, other_index),
            16..36 => self.write_string(keyspace, index),
            36..50 => self.write_list(keyspace, index),
            _ => self.remove(keyspace, index),
        }
    }

    fn remove(&mut self, keyspace: &mut Keyspace, index: usize) {
        let name = self.name();
        keyspace.db(index).remove(&key(&name), UnixMillis(self.now));
    }

    fn move_value(&mut self, keyspace: &mut Keyspace, index: usize, other_index: usize) {
        let (name, other, now) = (self.name(), self.name(), UnixMillis(self.now));
        let db = keyspace.db(index);
        let loose = match self.below(4) {
            0 => Some(Loose::string(&self.value())),
            1 => db.duplicate(&key(&name), now),
            _ => db.take(&key(&name), now),
        };
        if let Some(loose) = loose {
            keyspace.db(other_index).put(&key(&other), loose, now);
        }
    }

    fn write_string(&mut self, keyspace: &mut Keyspace, index: usize) {
        let (name, value, now) = (self.name(), self.value(), UnixMillis(self.now));
        let expiry = match self.below(4) {
            0 => Expiry::Never,
            1 => Expiry::Keep,
            _ => Expiry::At(UnixMillis(self.now + self.below(60) as i64)),
        };
        let (db, key) = (keyspace.db(index), key(&name));
        match self.below(8) {
            0 | 1 => _ = db.set_expiry(&key, expiry),
            2 | 3 => {
                if matches!(db.get(&key, now), Some(Entry { value: ValueRef::String(_), .. })) {
                    db.append(&key, &value);
                }
            }
            4 => {
                let at = self.below(300);
                let change = |bytes: &mut [u8]| {
                    bytes[at] ^= 0x55;
                    ((), true)
                };
                _ = db.edit_or_make_string(&key, now, at + 1, change);
            }
            5 => _ = db.set_string(&key, &value, expiry),
            _ => _ = db.put_string(&key, &value, expiry, now),
        }
    }

    fn write_list(&mut self, keyspace: &mut Keyspace, index: usize) {
        let (name, value, now) = (self.name(), self.value(), UnixMillis(self.now));
        let (db, key) = (keyspace.db(index), key(&name));
        let (values, at) = ([&value[..value.len().min(500)]; 12], self.below(10));
        let _ = match self.below(6) {
            0..3 => db.edit_or_make_list(&key, now, |list| list.push(End::Back, values.into_iter(), LIMIT)).map(Some),
            3 => db.edit_list(&key, now, |list| _ = list.set(at as i64, &value, LIMIT)),
            4 => db.edit_list(&key, now, |list| _ = list.remove_equal(values[0], End::Front, at, LIMIT)),
            _ => db.edit_list(&key, now, |list| {
                let range = at.min(list.len())..(at * 3).min(list.len());
                drop(list.remove(range, LIMIT));
            }),
        };
    }
}

fn key(name: &str) -> Key<'_> {
    HASHER.key(name.as_bytes())
}
