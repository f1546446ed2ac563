//! What DEBUG sees of shards, and does to them: each answers for its own slots, and [`Gather`](crate::Gather) joins
//! the answers.
//!
//! Mirrors Redis 7.2 `debug.c`. A dataset's digest depends on keys, values, databases and on which keys have an
//! expiry, not on the order of keys, so that parts of it can be joined by XOR.

use crate::{Context, Shard};
use sha1::{Digest, Sha1};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{IntegerText, find_full, parse_integer};
use slotmesh_keyspace::{Cursor, Db, Element, Expiry, ValueRef};
use slotmesh_resp::{ArgRange, Args, Reply};
use std::collections::BTreeMap;

/// Bytes of a digest.
pub(crate) const DIGEST_BYTES: usize = 20;
/// Keys looked at between two looks at the cursor.
const KEYS_PER_STEP: usize = 1000;
/// A time before all expiries: DEBUG sees keys that are over as well.
const BEFORE_ALL: UnixMillis = UnixMillis(i64::MIN);

/// What DEBUG wants to know of all shards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inspection {
    /// DIGEST
    Digest,
    /// DIGEST-VALUE
    DigestValue,
    /// HTSTATS
    Tables,
    /// OBJECT
    Object,
    /// HTSTATS-KEY
    ObjectTable,
    /// POPULATE
    Populate,
}

impl Inspection {
    /// The one of a subcommand, in any case.
    pub fn of(subcommand: &[u8]) -> Option<Self> {
        match &*subcommand.to_ascii_lowercase() {
            b"digest" => Some(Self::Digest),
            b"digest-value" => Some(Self::DigestValue),
            b"htstats" => Some(Self::Tables),
            b"htstats-key" => Some(Self::ObjectTable),
            b"object" => Some(Self::Object),
            b"populate" => Some(Self::Populate),
            _ => None,
        }
    }
}

/// The digest of some data.
pub(crate) type Hash = [u8; DIGEST_BYTES];

fn hash_of(bytes: &[u8]) -> Hash {
    Sha1::digest(bytes).into()
}

pub(crate) fn join(digest: &mut Hash, other: &[u8]) {
    digest.iter_mut().zip(other).for_each(|(byte, other)| *byte ^= other);
}

/// Adds bytes so that their order counts.
pub(crate) fn mix(digest: &mut Hash, bytes: &[u8]) {
    join(digest, &hash_of(bytes));
    *digest = hash_of(digest);
}

/// Number of a type in Redis's digests.
fn type_number(value: ValueRef<'_>) -> u32 {
    match value {
        ValueRef::List(_) => 1,
        _ => 0,
    }
}

fn mix_value(digest: &mut Hash, value: ValueRef<'_>, expires: bool) {
    mix(digest, &type_number(value).to_be_bytes());
    match value {
        ValueRef::String(string) => mix(digest, string),
        ValueRef::List(list) => list.visit(0..list.len(), |element| match element {
            Element::Integer(number) => mix(digest, IntegerText::new(number).as_bytes()),
            Element::Bytes(bytes) => mix(digest, bytes),
        }),
        _ => {}
    }
    if expires {
        join(digest, &hash_of(b"!!expire!!"));
    }
}

impl Shard {
    /// Answers what DEBUG asks; `words` are its arguments, subcommand included. What is asked of one key is answered
    /// by the shard that holds its slot, and with an empty reply by the others.
    pub fn inspect(&mut self, what: Inspection, context: &Context<'_>, words: &[&[u8]], reply: &mut Reply<'_>) {
        let db = context.db;
        match what {
            Inspection::Digest => reply.bulk(&self.digests()),
            Inspection::DigestValue => {
                let digests: Vec<u8> = words[1..].iter().flat_map(|key| self.value_digest(db, key)).collect();
                reply.bulk(&digests);
            }
            Inspection::Populate => self.populate(db, words, reply),
            Inspection::Tables => {
                let index = words.get(1).and_then(|word| parse_integer(word).ok()).and_then(|db| db.try_into().ok());
                reply.bulk(self.describe_tables(index.unwrap_or_default()).as_bytes());
            }
            Inspection::Object | Inspection::ObjectTable => self.describe_object(what, context, words[1], reply),
        }
    }

    /// For each database with keys its number, and the joined digests of its keys.
    fn digests(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for index in 0..self.keyspace.databases() {
            let Some(db) = self.keyspace.find_db(index).filter(|db| !db.is_empty()) else { continue };
            let mut joined = Hash::default();
            let mut next = Some(Cursor::start());
            while let Some(cursor) = next {
                next = db.scan(cursor, KEYS_PER_STEP, BEFORE_ALL, &mut |key, value| {
                    let mut digest = Hash::default();
                    mix(&mut digest, key);
                    mix_value(&mut digest, value, self.expires(db, key));
                    join(&mut joined, &hash_of(&digest));
                });
            }
            all.extend_from_slice(&(index as u32).to_be_bytes());
            all.extend_from_slice(&joined);
        }
        all
    }

    fn expires(&self, db: &Db, key: &[u8]) -> bool {
        db.peek(&self.hasher.key(key), BEFORE_ALL).is_some_and(|entry| entry.expires_at.is_some())
    }

    fn value_digest(&self, db: u16, key: &[u8]) -> Hash {
        let mut digest = Hash::default();
        let key = self.hasher.key(key);
        if self.keyspace.holds(key.slot)
            && let Some(entry) = self.keyspace.find_db(usize::from(db)).and_then(|db| db.peek(&key, BEFORE_ALL))
        {
            mix_value(&mut digest, entry.value, entry.expires_at.is_some());
        }
        digest
    }

    /// Makes the keys `prefix:0` to `prefix:(count - 1)` of our slots, unless they are there. Nobody who follows the
    /// shard hears of them, as in Redis.
    fn populate(&mut self, db: u16, words: &[&[u8]], reply: &mut Reply<'_>) {
        let count = words.get(1).and_then(|word| parse_integer(word).ok()).unwrap_or_default();
        let prefix = words.get(2).copied().unwrap_or(b"key");
        let size = words.get(3).and_then(|word| usize::try_from(parse_integer(word).ok()?).ok()).unwrap_or_default();
        for number in 0..count {
            let name = [prefix, format!(":{number}").as_bytes()].concat();
            let key = self.hasher.key(&name);
            if !self.keyspace.holds(key.slot) {
                continue;
            }
            let db = self.keyspace.db(usize::from(db));
            if db.contains(&key, BEFORE_ALL) {
                continue;
            }
            let mut value = format!("value:{number}").into_bytes();
            if size > 0 {
                value.resize(size, 0);
            }
            db.set_string(&key, &value, Expiry::Never);
        }
        reply.ok();
    }

    fn describe_tables(&self, index: usize) -> String {
        let slots = self.keyspace.slots();
        let (keys, expires, bytes) = match self.keyspace.find_db(index) {
            Some(db) => (db.len(), db.expires(), db.bytes()),
            None => (0, 0, 0),
        };
        let (first, last) = (slots.start(), slots.end());
        format!(
            "slots {first}-{last}: a table per slot with keys, {keys} keys, {expires} of them expire, {bytes} bytes\n"
        )
    }

    fn describe_object(&mut self, what: Inspection, context: &Context<'_>, name: &[u8], reply: &mut Reply<'_>) {
        let key = self.hasher.key(name);
        if !self.keyspace.holds(key.slot) {
            return reply.bulk(b"");
        }
        let db = self.keyspace.find_db(usize::from(context.db));
        let Some(entry) = db.and_then(|db| db.peek(&key, BEFORE_ALL)) else {
            return reply.error(ReplyError::NoSuchKey);
        };
        if what == Inspection::ObjectTable {
            return reply.error(ReplyError::NoHashTable);
        }
        let (address, length) = (address_of(entry.value), serialized_length(entry.value));
        let facts = ["encoding", "refcount", "idletime"].map(|subject| self.object(subject, name, context));
        let [encoding, references, idle] = facts.map(|fact| fact.unwrap_or_else(|| "0".to_owned()));
        // The second of the last access in 24 bits, as Redis's clock of recency has it.
        let used_at = (context.now.as_secs() - idle.parse::<i64>().unwrap_or(0)) & 0xff_ffff;
        let text = format!(
            "Value at:{address:#x} refcount:{references} encoding:{encoding} serializedlength:{length} lru:{used_at} \
             lru_seconds_idle:{idle}"
        );
        reply.bulk(text.as_bytes());
    }

    /// What OBJECT says of a key, if it says something.
    fn object(&mut self, subject: &str, key: &[u8], context: &Context<'_>) -> Option<String> {
        let spec = find_full(format!("object|{subject}").as_bytes())?;
        let (mut bytes, mut ranges) = (Vec::new(), Vec::new());
        for word in [b"OBJECT", subject.as_bytes(), key] {
            ranges.push(ArgRange { start: bytes.len() as u32, len: word.len() as u32 });
            bytes.extend_from_slice(word);
        }
        let mut reply = Vec::new();
        self.execute(spec, Args::new(&bytes, &ranges), context, &mut reply);
        let text = String::from_utf8(reply).ok().filter(|reply| reply.starts_with(['$', ':']))?;
        let line = text.trim_end().rsplit("\r\n").next()?;
        Some(line.trim_start_matches(':').to_owned())
    }
}

/// Where a value lies, as a number that tells values apart.
fn address_of(value: ValueRef<'_>) -> usize {
    match value {
        ValueRef::String(string) => string.as_ptr().addr(),
        ValueRef::List(list) => std::ptr::from_ref(list).addr(),
        _ => 0,
    }
}

/// The digest of all, from the [`Inspection::Digest`] of every shard.
pub(crate) fn write_dataset_digest<'a>(parts: impl Iterator<Item = &'a [u8]>, reply: &mut Reply<'_>) {
    let mut dbs: BTreeMap<u32, Hash> = BTreeMap::new();
    for (number, digest) in parts.flat_map(|part| part.chunks_exact(4 + DIGEST_BYTES)).map(|entry| entry.split_at(4)) {
        let number = u32::from_be_bytes(number.try_into().expect("four bytes"));
        join(dbs.entry(number).or_default(), digest);
    }
    let digest = dbs.iter().fold(Hash::default(), |mut all, (number, digest)| {
        mix(&mut all, &number.to_be_bytes());
        join(&mut all, digest);
        all
    });
    reply.simple(&hex(&digest));
}

/// The digests of the values of keys, from the [`Inspection::DigestValue`] of every shard.
pub(crate) fn write_value_digests<'a>(parts: impl Iterator<Item = &'a [u8]>, reply: &mut Reply<'_>) {
    let mut all: Vec<u8> = Vec::new();
    for part in parts {
        all.resize(part.len(), 0);
        all.iter_mut().zip(part).for_each(|(byte, other)| *byte ^= other);
    }
    reply.array(all.len() / DIGEST_BYTES);
    all.chunks_exact(DIGEST_BYTES).for_each(|digest| reply.simple(&hex(digest)));
}

fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of a value in a file of Redis, uncompressed and each element for itself.
fn serialized_length(value: ValueRef<'_>) -> usize {
    let head = |len: usize| match len {
        0..64 => 1,
        64..16384 => 2,
        _ => 5,
    };
    let text = |bytes: &[u8]| match parse_integer(bytes).ok() {
        Some(number) if i8::try_from(number).is_ok() => 2,
        Some(number) if i16::try_from(number).is_ok() => 3,
        Some(number) if i32::try_from(number).is_ok() => 5,
        _ => head(bytes.len()) + bytes.len(),
    };
    match value {
        ValueRef::String(string) => text(string),
        ValueRef::List(list) => {
            let mut length = head(list.len());
            list.visit(0..list.len(), |element| {
                length += match element {
                    Element::Integer(number) => text(IntegerText::new(number).as_bytes()),
                    Element::Bytes(bytes) => text(bytes),
                };
            });
            length
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
