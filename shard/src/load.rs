//! A keyspace out of an RDB file, as the bytes come: what is read at the start, by DEBUG RELOAD, and from a master.
//!
//! The keys go into keyspaces that nobody serves yet, each into the one that holds its slot. What the file says of itself is
//! kept; what cannot be loaded ends it with the place in the file, and nothing that is served has changed.

use slotmesh_base::{Slot, SlotSet, UnixMillis};
use slotmesh_keyspace::{KeyHasher, Keyspace};
use slotmesh_rdb::{Item, RdbError, RdbReader, ReadLimits};
use slotmesh_replication::ReplicationId;
use std::fmt;

/// How a file is loaded.
#[derive(Clone, Debug)]
pub struct LoadRules {
    /// What the reader is told.
    pub read: ReadLimits,
    /// The hash of the keys of the keyspaces.
    pub hasher: KeyHasher,
    /// Keys whose time was over then are left out, as a master does; a replica, and whoever replays commands behind the
    /// file, keeps all of them (`None`).
    pub drops_expired_at: Option<UnixMillis>,
    /// Bytes of DEL for the keys that are left out, which replicas of ours need ([`FileFacts::expired_effects`]); 0 for none.
    pub expired_effects_bytes_max: usize,
    /// The slots whose keys may come, if others may not.
    pub slots: Option<SlotSet>,
    /// Whether a key may come twice: the last one counts.
    pub allows_duplicates: bool,
}

impl LoadRules {
    /// All keys of a file are taken.
    pub fn everything(read: ReadLimits, hasher: KeyHasher) -> Self {
        Self {
            read,
            hasher,
            drops_expired_at: None,
            expired_effects_bytes_max: 0,
            slots: None,
            allows_duplicates: false,
        }
    }
}

/// What a file has said of itself, and what was in it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FileFacts {
    /// Version of its format.
    pub version: u16,
    /// Version of the server that wrote it, in its words.
    pub written_by: Option<String>,
    /// When, in Unix seconds.
    pub created_at: Option<i64>,
    /// Its memory then, in bytes.
    pub used_memory: Option<u64>,
    /// Whether it is the base of an append-only file.
    pub is_aof_base: bool,
    /// Where in a stream of replication its content is.
    pub position: FilePosition,
    /// Keys that were loaded.
    pub keys: u64,
    /// Keys that were left out since their time was over.
    pub expired: u64,
    /// Keys that hold nothing, and were left out.
    pub empty: u64,
    /// The stream that removes what was left out since it was over: replicas still have it. `None` if that is longer than
    /// allowed.
    pub expired_effects: Option<Vec<u8>>,
}

/// Where in a stream of replication the content of a file is, as far as it says that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FilePosition {
    id: Option<ReplicationId>,
    offset: Option<u64>,
    db: Option<u16>,
}

impl FilePosition {
    /// The stream, the offset there, and the database that is selected; nothing, if the file does not say all of it.
    pub fn get(self) -> Option<(ReplicationId, u64, u16)> {
        Some((self.id?, self.offset?, self.db()))
    }

    /// The database that is selected there; the first, if nothing is said of it.
    pub fn db(self) -> u16 {
        self.db.unwrap_or(0)
    }
}

/// Why a file cannot be loaded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoadError {
    /// Its bytes are none that can be read.
    Rdb(RdbError),
    /// A key comes twice.
    Duplicate {
        /// The key.
        key: Vec<u8>,
        /// Its database.
        db: u16,
        /// Bytes of the file before its end.
        offset: u64,
    },
    /// A key of a slot that others have.
    ForeignSlot {
        /// The key.
        key: Vec<u8>,
        /// Its slot.
        slot: Slot,
        /// Bytes of the file before its end.
        offset: u64,
    },
    /// It holds functions, which there are not.
    Functions {
        /// Bytes of the file before their end.
        offset: u64,
    },
    /// Bytes stand behind its end.
    Behind {
        /// Where.
        offset: u64,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rdb(error) => error.fmt(f),
            Self::Duplicate { key, db, offset } => {
                let key = key.escape_ascii();
                write!(f, "RDB has duplicated key '{key}' in DB {db} at offset {offset}")
            }
            Self::ForeignSlot { key, slot, offset } => {
                let (key, slot) = (key.escape_ascii(), slot.number());
                write!(f, "Key '{key}' at offset {offset} is of slot {slot}, which another node has")
            }
            Self::Functions { offset } => {
                write!(f, "It holds a library of functions, which are not supported yet, at offset {offset}")
            }
            Self::Behind { offset } => write!(f, "There are bytes behind its end at offset {offset}"),
        }
    }
}

impl std::error::Error for LoadError {}

/// Loads one file.
#[derive(Debug)]
pub struct Loader {
    rules: LoadRules,
    reader: RdbReader,
    facts: FileFacts,
    /// The database that the stream of what was left out has selected.
    effects_db: Option<u16>,
}

impl Loader {
    /// A loader that has no bytes yet.
    pub fn new(rules: LoadRules) -> Self {
        let expired_effects = (rules.expired_effects_bytes_max > 0).then(Vec::new);
        let facts = FileFacts { expired_effects, ..FileFacts::default() };
        Self { reader: RdbReader::new(rules.read), rules, facts, effects_db: None }
    }

    /// Takes further bytes of the file. Each key goes into the first of the keyspaces that holds its slot; they are the same
    /// ones in every call, and hold no key of the file before. Once the end was read, bytes behind it are an error, unless
    /// `may_go_on` says that they are another's: see [`rest`](Self::rest).
    ///
    /// # Errors
    /// If the file cannot be loaded. The keyspaces hold a part of it then.
    pub fn push(&mut self, bytes: &[u8], keyspaces: &mut [&mut Keyspace], may_go_on: bool) -> Result<(), LoadError> {
        self.reader.push(bytes);
        while let Some(item) = self.reader.read().map_err(LoadError::Rdb)? {
            self.take(item, keyspaces)?;
        }
        if self.is_done() && !may_go_on && !self.rest().is_empty() {
            return Err(LoadError::Behind { offset: self.offset() });
        }
        Ok(())
    }

    fn take(&mut self, item: Item, keyspaces: &mut [&mut Keyspace]) -> Result<(), LoadError> {
        match item {
            Item::Entry(entry) => {
                let is_over = |now: UnixMillis| entry.expires_at.is_some_and(|at| at < now);
                if self.rules.drops_expired_at.is_some_and(is_over) {
                    self.facts.expired += 1;
                    self.leave_out(entry.db, &entry.key);
                    return Ok(());
                }
                let key = self.rules.hasher.key(&entry.key);
                let (slot, db, offset) = (key.slot, entry.db, self.reader.offset());
                if self.rules.slots.as_ref().is_some_and(|slots| !slots.contains(slot)) {
                    return Err(LoadError::ForeignSlot { key: entry.key, slot, offset });
                }
                let place = match &*keyspaces {
                    [_] => 0,
                    several => several.iter().position(|keyspace| keyspace.holds(slot)).unwrap_or(0),
                };
                // Nothing of it is looked at before it is served: what is over goes then.
                let never = UnixMillis(i64::MIN);
                let loose = slotmesh_keyspace::Loose::new(entry.value, entry.expires_at).used(entry.last_use);
                let target = keyspaces[place].db(usize::from(db));
                if self.rules.allows_duplicates {
                    target.put(&key, loose, never);
                } else if target.insert(&key, loose, never).is_err() {
                    return Err(LoadError::Duplicate { key: entry.key, db, offset });
                }
                self.facts.keys += 1;
            }
            Item::EmptyKey { .. } => self.facts.empty += 1,
            Item::Function(_) => return Err(LoadError::Functions { offset: self.reader.offset() }),
            Item::Version(version) => self.facts.version = version,
            Item::Aux { name, value } => self.note(&name, &value),
            Item::SelectDb(_) | Item::ResizeDb { .. } | Item::End { .. } => {}
        }
        Ok(())
    }

    /// Keeps what the file says of itself (Redis 7.0 `rdb.c` `rdbLoadRioWithLoadingCtx`); unknown facts are ignored.
    fn note(&mut self, name: &[u8], value: &[u8]) {
        let text = || String::from_utf8_lossy(value).into_owned();
        let number = |value: &[u8]| str::from_utf8(value).ok()?.parse::<i64>().ok();
        match name {
            b"redis-ver" | b"valkey-ver" => self.facts.written_by = Some(text()),
            b"ctime" => self.facts.created_at = number(value),
            b"used-mem" => self.facts.used_memory = number(value).and_then(|bytes| u64::try_from(bytes).ok()),
            b"aof-base" => self.facts.is_aof_base = number(value) == Some(1),
            b"repl-id" => self.facts.position.id = ReplicationId::parse(value),
            b"repl-offset" => {
                self.facts.position.offset = number(value).and_then(|offset| u64::try_from(offset).ok());
            }
            b"repl-stream-db" => self.facts.position.db = number(value).and_then(|db| u16::try_from(db).ok()),
            _ => {}
        }
    }

    /// A key is not taken that replicas may hold.
    fn leave_out(&mut self, db: u16, key: &[u8]) {
        let Some(effects) = &mut self.facts.expired_effects else { return };
        let mut say = |words: &[&[u8]]| {
            effects.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
            for word in words {
                effects.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                effects.extend_from_slice(word);
                effects.extend_from_slice(b"\r\n");
            }
        };
        if self.effects_db.replace(db) != Some(db) {
            say(&[b"SELECT", db.to_string().as_bytes()]);
        }
        say(&[b"DEL", key]);
        if effects.len() > self.rules.expired_effects_bytes_max {
            self.facts.expired_effects = None;
        }
    }

    /// Bytes of the file that were read.
    pub fn offset(&self) -> u64 {
        self.reader.offset()
    }

    /// Whether its end was read.
    pub fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    /// Bytes that came behind its end.
    pub fn rest(&self) -> &[u8] {
        self.reader.rest()
    }

    /// What is known of the file so far.
    pub fn facts(&self) -> &FileFacts {
        &self.facts
    }

    /// Says that no more bytes will come.
    ///
    /// # Errors
    /// If the file is not whole.
    pub fn finish(mut self) -> Result<FileFacts, LoadError> {
        self.reader.finish().map_err(LoadError::Rdb)?;
        Ok(self.facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_keyspace::{PackedLimit, SnapshotEntry, ValueRef};
    use slotmesh_rdb::{Header, RdbErrorKind, RdbWriter, ReplicationState, WriteOptions};

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    fn read() -> ReadLimits {
        ReadLimits { string_bytes_max: 1 << 20, databases: 16, list_packed: PackedLimit::default(), checksum: true }
    }

    fn hasher() -> KeyHasher {
        KeyHasher::new([1, 2])
    }

    /// A file with these keys, each with its database, and the time when it is over if there is one.
    fn file(keys: &[(u16, &str, Option<i64>)]) -> Vec<u8> {
        let (mut writer, mut out) = (RdbWriter::new(WriteOptions::default()), Vec::new());
        let replication = Some(ReplicationState { stream_db: 3, id: ID, offset: 77 });
        let header = Header { redis_version: "7.2.0", created_at: 5, used_memory: 9, replication, is_aof_base: true };
        writer.header(&mut out, &header);
        for &(db, key, expires_at) in keys {
            let (key, value, expires_at) = (key.as_bytes(), ValueRef::String(b"v"), expires_at.map(UnixMillis));
            writer.entry(&mut out, &SnapshotEntry { db, key, value, expires_at });
        }
        writer.end(&mut out);
        out
    }

    fn load(bytes: &[u8], rules: LoadRules) -> (Result<FileFacts, LoadError>, [Keyspace; 2]) {
        let mut keyspaces = [Keyspace::new(16, 0..=8191, hasher()), Keyspace::new(16, 8192..=16383, hasher())];
        let mut loader = Loader::new(rules);
        let [low, high] = &mut keyspaces;
        let mut loaded = Ok(());
        for piece in bytes.chunks(7) {
            loaded = loaded.and_then(|()| loader.push(piece, &mut [&mut *low, &mut *high], false));
        }
        (loaded.and_then(|()| loader.finish()), keyspaces)
    }

    #[test]
    fn keys_go_to_their_slots_and_the_file_says_what_it_is() {
        // foo is of slot 12182, bar of 5061.
        let bytes = file(&[(0, "foo", None), (0, "bar", Some(50)), (2, "bar", None)]);
        let (facts, [low, high]) = load(&bytes, LoadRules::everything(read(), hasher()));
        let facts = facts.unwrap();
        assert_eq!((facts.version, facts.keys, facts.expired, facts.is_aof_base), (10, 3, 0, true));
        assert_eq!(
            (facts.written_by.as_deref(), facts.created_at, facts.used_memory),
            (Some("7.2.0"), Some(5), Some(9))
        );
        assert_eq!(facts.position.get(), Some((ReplicationId::parse(ID.as_bytes()).unwrap(), 77, 3)));
        let keys = |keyspace: &Keyspace, db| keyspace.find_db(db).map_or(0, slotmesh_keyspace::Db::len);
        assert_eq!((keys(&low, 0), keys(&high, 0), keys(&low, 2), keys(&high, 2)), (1, 1, 1, 0));
    }

    #[test]
    fn a_master_leaves_out_what_is_over_and_says_so_to_its_replicas() {
        let bytes = file(&[(0, "foo", Some(100)), (0, "bar", Some(99)), (2, "baz", Some(1)), (2, "b", Some(2))]);
        let drops_expired_at = Some(UnixMillis(100));
        let rules =
            LoadRules { drops_expired_at, expired_effects_bytes_max: 1000, ..LoadRules::everything(read(), hasher()) };
        let (facts, _) = load(&bytes, rules.clone());
        let facts = facts.unwrap();
        assert_eq!((facts.keys, facts.expired), (1, 3), "what is over in this very millisecond is not over yet");
        let effects = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nDEL\r\n$3\r\nbar\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n2\r\n\
                       *2\r\n$3\r\nDEL\r\n$3\r\nbaz\r\n*2\r\n$3\r\nDEL\r\n$1\r\nb\r\n";
        assert_eq!(facts.expired_effects.as_deref(), Some(effects.as_bytes()));
        let (facts, _) = load(&bytes, LoadRules { expired_effects_bytes_max: 50, ..rules });
        assert_eq!(facts.unwrap().expired_effects, None, "too many to be told");
    }

    #[test]
    fn what_cannot_be_loaded_is_told_with_its_place() {
        let everything = LoadRules::everything(read(), hasher());
        let twice = file(&[(1, "a", None), (1, "a", None)]);
        let (error, _) = load(&twice, everything.clone());
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with("RDB has duplicated key 'a' in DB 1 at offset "), "{text}");
        let (facts, _) = load(&twice, LoadRules { allows_duplicates: true, ..everything.clone() });
        assert_eq!(facts.map(|facts| facts.version), Ok(10));
        let bytes = file(&[(0, "bar", None), (0, "foo", None)]);
        let low = (0..=8191).filter_map(Slot::new).collect();
        let (error, _) = load(&bytes, LoadRules { slots: Some(low), ..everything.clone() });
        let text = error.unwrap_err().to_string();
        assert!(text.contains("'foo'") && text.contains("of slot 12182, which another node has"), "{text}");
        let (error, _) = load(&bytes[..bytes.len() - 9], everything.clone());
        assert!(matches!(error, Err(LoadError::Rdb(RdbError { kind: RdbErrorKind::Truncated, .. }))), "{error:?}");
        let (error, _) = load(&[&bytes[..], b"x"].concat(), everything);
        assert_eq!(error, Err(LoadError::Behind { offset: bytes.len() as u64 }));
    }
}
