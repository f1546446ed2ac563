//! A fingerprint of content, for tests that compare servers: equal content has equal fingerprints, in whatever order it
//! came and wherever it lies (`DEBUG DIGEST`, `DEBUG DIGEST-VALUE`).
//!
//! The fingerprint of many keys is the exclusive or of theirs, so that databases and shards are joined like keys. It is
//! not that of Redis, only used like it; when a key expires does not count, only whether it does.

use crate::{Cursor, Db, Element, Entry, Key, Keyspace, ValueRef};
use alloc::string::ToString;
use core::fmt;
use core::hash::Hasher;
use core::ops::BitXorAssign;
use siphasher::sip128::{Hasher128, SipHasher13};
use slotmesh_base::UnixMillis;

/// Bytes of a fingerprint, as many as in Redis.
const BYTES: usize = 20;

/// A fingerprint; that of nothing is all zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Digest([u8; BYTES]);

impl Digest {
    /// Of a value, and of whether it expires.
    pub fn of_value(entry: &Entry<'_>) -> Self {
        Self::of(|hasher| write_entry(hasher, entry))
    }

    fn of_key(db: usize, key: &[u8], entry: &Entry<'_>) -> Self {
        Self::of(|hasher| {
            hasher.write_usize(db);
            write_bytes(hasher, key);
            write_entry(hasher, entry);
        })
    }

    /// Two hashes under different keys make enough bytes.
    fn of(write: impl Fn(&mut SipHasher13)) -> Self {
        let mut bytes = [0; BYTES];
        for (place, part) in bytes.chunks_mut(16).zip(0..) {
            let mut hasher = SipHasher13::new_with_keys(part, 0);
            write(&mut hasher);
            place.copy_from_slice(&hasher.finish128().as_bytes()[..place.len()]);
        }
        Self(bytes)
    }
}

impl BitXorAssign for Digest {
    fn bitxor_assign(&mut self, other: Self) {
        self.0.iter_mut().zip(other.0).for_each(|(byte, other)| *byte ^= other);
    }
}

impl fmt::Display for Digest {
    /// In 40 hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Keyspace {
    /// Of all keys that have not expired; walks all of them.
    pub fn digest(&self, now: UnixMillis) -> Digest {
        let mut digest = Digest::default();
        for index in 0..self.databases() {
            if let Some(db) = self.find_db(index) {
                db.digest_into(&mut digest, index, now);
            }
        }
        digest
    }
}

impl Db {
    /// Of the value of a key, if it is there.
    pub fn digest_value(&self, key: &Key<'_>, now: UnixMillis) -> Option<Digest> {
        self.peek(key, now).map(|entry| Digest::of_value(&entry))
    }

    fn digest_into(&self, digest: &mut Digest, index: usize, now: UnixMillis) {
        /// Keys that one step of the walk looks at.
        const STEP: usize = 1024;
        let mut next = Some(Cursor::start());
        while let Some(cursor) = next {
            next = self.scan(cursor, STEP, now, &mut |bytes, _| {
                if let Some(entry) = self.peek(&self.hasher().key(bytes), now) {
                    *digest ^= Digest::of_key(index, bytes, &entry);
                }
            });
        }
    }
}

fn write_entry(hasher: &mut SipHasher13, entry: &Entry<'_>) {
    hasher.write_u8(u8::from(entry.expires_at.is_some()));
    match entry.value {
        ValueRef::String(string) => {
            hasher.write_u8(0);
            write_bytes(hasher, string);
        }
        ValueRef::List(list) => {
            hasher.write_u8(1);
            list.visit(0..list.len(), |element| match element {
                Element::Bytes(bytes) => write_bytes(hasher, bytes),
                Element::Integer(value) => write_bytes(hasher, value.to_string().as_bytes()),
            });
        }
    }
}

/// The length stands before, so that neighbours are told apart.
fn write_bytes(hasher: &mut SipHasher13, bytes: &[u8]) {
    hasher.write_usize(bytes.len());
    hasher.write(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{End, Expiry, KeyHasher, PackedLimit};

    const NOW: UnixMillis = UnixMillis(1000);

    fn filled(seed: u64, names: &[&str]) -> Keyspace {
        let hasher = KeyHasher::new([seed, 2]);
        let mut keyspace = Keyspace::new(2, 0..=16383, hasher);
        for name in names {
            let key = hasher.key(name.as_bytes());
            keyspace.db(0).set_string(&key, name.as_bytes(), Expiry::Never);
        }
        keyspace
    }

    #[test]
    fn order_and_hashing_do_not_count_but_content_does() {
        let one = filled(1, &["a", "b", "c"]);
        let digest = one.digest(NOW);
        assert_eq!(digest, filled(9, &["c", "a", "b"]).digest(NOW));
        assert_ne!(digest, filled(1, &["a", "b"]).digest(NOW));
        let mut joined = filled(1, &["a"]).digest(NOW);
        joined ^= filled(1, &["b", "c"]).digest(NOW);
        assert_eq!(joined, digest, "shards are joined like keys");
        assert_eq!(filled(1, &[]).digest(NOW).to_string(), "0".repeat(40));
        assert_eq!(digest.to_string().len(), 40);
    }

    #[test]
    fn values_types_databases_and_expiry_count() {
        let hasher = KeyHasher::new([1, 2]);
        let key = hasher.key(b"a");
        let mut seen = std::vec![filled(1, &["a"]).digest(NOW)];
        let mut other = filled(1, &[]);
        other.db(1).set_string(&key, b"a", Expiry::Never);
        seen.push(other.digest(NOW));
        other = filled(1, &["a"]);
        other.db(0).set_expiry(&key, Expiry::At(UnixMillis(2000)));
        seen.push(other.digest(NOW));
        assert_eq!(other.digest(UnixMillis(3000)), Digest::default(), "what has expired is not there");
        for elements in [&[&b"a"[..]][..], &[b"a", b"b"], &[b"b", b"a"], &[b"ab"]] {
            other = filled(1, &[]);
            let push = |list: &mut crate::List| list.push(End::Back, elements.iter().copied(), PackedLimit::default());
            other.db(0).edit_or_make_list(&key, NOW, push).unwrap();
            seen.push(other.digest(NOW));
        }
        for (index, digest) in seen.iter().enumerate() {
            assert!(!seen[..index].contains(digest), "{index}");
        }
    }
}
