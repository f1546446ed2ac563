//! What replaying the effects of a fixture gives.

use super::Fixture;
use crate::recreate;
use slotmesh_base::UnixMillis;
use slotmesh_keyspace::{Cursor, Entry, Keyspace};
use std::collections::BTreeMap;

/// A request in words.
type Words = Vec<Vec<u8>>;

impl Fixture {
    /// Begins to record effects on every shard.
    pub(crate) fn recording(mut self) -> Self {
        self.keyspace.record_expired(true);
        self.effects.record(true);
        for (keyspace, effects) in &mut self.others {
            keyspace.record_expired(true);
            effects.record(true);
        }
        self
    }

    /// Pays attention to a key in all databases.
    pub(crate) fn attend(&mut self, key: &str) {
        let key = super::hasher().key(key.as_bytes());
        let home = self.home_of(Some(&key));
        self.exchange(home);
        (0..self.keyspace.databases()).for_each(|db| self.keyspace.attend(db, key.slot));
        self.exchange(home);
    }

    /// Compares replies, and the effects of each request: its commands, parted by ` | `, those of each shard that has
    /// any behind `n:` if there are several shards. SELECTs of the first database are not shown. At the end all effects
    /// are replayed, and must give the same content.
    pub(crate) fn effects_script(&mut self, steps: &[(&str, &str, &str)]) {
        let mut streams = vec![Vec::new(); 1 + self.others.len()];
        for (line, (request, reply, effects)) in steps.iter().enumerate() {
            self.script(&[(request, reply)]);
            let gained = self.drain();
            assert_eq!(show_streams(&gained), *effects, "step {line}: {request}");
            streams.iter_mut().zip(gained).for_each(|(stream, gained)| stream.extend(gained));
        }
        self.assert_followed(&streams);
    }

    /// What each shard's stream has gained, in requests.
    pub(crate) fn drain(&mut self) -> Vec<Vec<Words>> {
        let others = self.others.iter_mut().map(|(_, effects)| effects);
        std::iter::once(&mut self.effects).chain(others).map(|effects| requests(&effects.drain())).collect()
    }

    /// Asserts that replaying the whole stream of each shard on an empty one gives what the shard holds.
    pub(crate) fn assert_followed(&self, streams: &[Vec<Words>]) {
        let others = self.others.iter().map(|(keyspace, _)| keyspace);
        for (keyspace, stream) in std::iter::once(&self.keyspace).chain(others).zip(streams) {
            let mut follower = Fixture::over(keyspace.slots());
            // Whoever replays needs no clock: here nothing ever expires by itself.
            follower.now = UnixMillis(0);
            for words in stream {
                follower.replay(words);
            }
            assert_same_content(keyspace, &follower.keyspace);
        }
    }

    fn replay(&mut self, words: &Words) {
        match &words[0][..] {
            b"MULTI" | b"EXEC" => {}
            b"SELECT" => self.db = str::from_utf8(&words[1]).unwrap().parse().unwrap(),
            _ => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                let reply = self.run_words(&words);
                assert_ne!(reply[0], b'-', "{:?}: {:?}", show_words(&words), String::from_utf8_lossy(&reply));
            }
        }
    }
}

/// Asserts that two shards hold the same: keys, values and expiries, in every database, also what has expired and was not
/// removed.
fn assert_same_content(one: &Keyspace, other: &Keyspace) {
    assert_eq!(one.slots(), other.slots());
    for db in 0..one.databases() {
        let (one, other) = (content(one, db), content(other, db));
        let keys = |content: &BTreeMap<Vec<u8>, _>| {
            content.keys().map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(keys(&one), keys(&other), "keys of database {db}");
        for ((key, one), other) in one.iter().zip(other.values()) {
            assert!(one == other, "{:?} of database {db}: {one:?} is not {other:?}", String::from_utf8_lossy(key));
        }
    }
}

/// For each key what makes it.
fn content(keyspace: &Keyspace, db: usize) -> BTreeMap<Vec<u8>, Vec<Words>> {
    /// Before this nothing expires.
    const BEFORE: UnixMillis = UnixMillis(i64::MIN);
    let mut content = BTreeMap::new();
    let Some(db) = keyspace.find_db(db) else { return content };
    let mut next = Some(Cursor::start());
    while let Some(cursor) = next {
        next = db.scan(cursor, 1000, BEFORE, &mut |key, _| {
            content.insert(key.to_vec(), Vec::new());
        });
    }
    for (key, made_by) in &mut content {
        let entry: Entry<'_> = db.peek(&super::hasher().key(key), BEFORE).expect("the scan has shown it");
        recreate(key, &entry, &mut |words| made_by.push(words.iter().map(|word| word.to_vec()).collect()));
    }
    content
}

/// The requests of a stream.
fn requests(stream: &[u8]) -> Vec<Words> {
    let (mut requests, mut rest) = (Vec::new(), stream);
    while !rest.is_empty() {
        let words = (0..number(b'*', &mut rest)).map(|_| {
            let len = number(b'$', &mut rest);
            let word = rest[..len].to_vec();
            rest = &rest[len + 2..];
            word
        });
        requests.push(words.collect());
    }
    requests
}

/// The number behind `kind` in the first line of `rest`, which begins behind that line then.
fn number(kind: u8, rest: &mut &[u8]) -> usize {
    assert_eq!(rest[0], kind);
    let end = rest.iter().position(|&byte| byte == b'\r').unwrap();
    let number = str::from_utf8(&rest[1..end]).unwrap().parse().unwrap();
    *rest = &rest[end + 2..];
    number
}

fn show_streams(streams: &[Vec<Words>]) -> String {
    let shown = streams.iter().enumerate().filter_map(|(shard, stream)| {
        let requests: Vec<_> = stream.iter().map(|words| show_words(words)).filter(|text| text != "SELECT 0").collect();
        let text = requests.join(" | ");
        let text = text.strip_prefix("MULTI | ").and_then(|text| text.strip_suffix(" | EXEC")).unwrap_or(&text);
        if text.is_empty() {
            None
        } else if streams.len() == 1 {
            Some(text.to_owned())
        } else {
            Some(format!("{shard}: {text}"))
        }
    });
    shown.collect::<Vec<_>>().join(" ")
}

fn show_words<W: AsRef<[u8]>>(words: &[W]) -> String {
    words.iter().map(|word| String::from_utf8_lossy(word.as_ref()).into_owned()).collect::<Vec<_>>().join(" ")
}
