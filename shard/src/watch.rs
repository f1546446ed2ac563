//! WATCH: who watches which keys of a shard, and whose have been touched.
//!
//! Mirrors Redis 7.2 `multi.c` (`watchForKey`, `touchWatchedKey`, `isWatchedKeyExpired`). Whether a watch is broken is
//! known where the keys are, and asked for when EXEC has the shards in hand: nobody is told before.

use crate::Shard;
use crate::key_map::{KeyMap, KeyName};
use slotmesh_base::UnixMillis;
use slotmesh_keyspace::{Change, Key, KeyHasher, Keyspace};
use std::collections::BTreeMap;

/// One span of a client from its first WATCH to EXEC, DISCARD or UNWATCH.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Watcher {
    /// The client's id.
    pub client: u64,
    /// Number of the span among those of the client: what ends one may arrive after the next has begun.
    pub span: u32,
}

/// The watched keys of a shard.
#[derive(Debug, Default)]
pub(crate) struct Watches {
    /// For each key its watchers, and for each of them whether the key had expired already when it was watched: then
    /// that it goes is no change.
    keys: KeyMap<BTreeMap<Watcher, bool>>,
    watchers: BTreeMap<Watcher, Watching>,
}

#[derive(Debug, Default)]
struct Watching {
    keys: Vec<KeyName>,
    is_broken: bool,
}

impl Watches {
    /// Something happened to a key of a slot with attention.
    pub(crate) fn touch(&mut self, db: u16, key: &[u8], change: Change) {
        let Some(watchers) = self.keys.get_mut(db, key) else { return };
        for (watcher, had_expired) in watchers {
            match change {
                // It has gone long since, or nobody has ever seen it.
                Change::Expired | Change::Removed if std::mem::take(had_expired) => continue,
                Change::Stale => {
                    *had_expired = true;
                    continue;
                }
                _ => {}
            }
            if let Some(watching) = self.watchers.get_mut(watcher) {
                watching.is_broken = true;
            }
        }
    }

    fn watch(&mut self, watcher: Watcher, db: u16, key: &Key<'_>, keyspace: &mut Keyspace, now: UnixMillis) {
        let entries = keyspace.find_db(usize::from(db));
        let is_there = |now| entries.is_some_and(|entries| entries.contains(key, now));
        let has_expired = is_there(UnixMillis(i64::MIN)) && !is_there(now);
        let (name, watchers) = self.keys.entry(db, key.bytes);
        if watchers.contains_key(&watcher) {
            return;
        }
        watchers.insert(watcher, has_expired);
        self.watchers.entry(watcher).or_default().keys.push(name);
        keyspace.attend(usize::from(db), key.slot);
    }

    /// Whether anything is kept of anybody.
    #[cfg(test)]
    pub(crate) fn has_any(&self) -> bool {
        !self.keys.is_empty() || !self.watchers.is_empty()
    }

    /// Forgets a watcher; whether none of its keys was touched, nor has expired since.
    fn end(&mut self, watcher: Watcher, keyspace: &mut Keyspace, hasher: KeyHasher, now: UnixMillis) -> bool {
        let Some(watching) = self.watchers.remove(&watcher) else { return true };
        let mut is_whole = !watching.is_broken;
        for name in watching.keys {
            let key = hasher.key(&name.bytes);
            let db = usize::from(name.db);
            keyspace.ignore(db, key.slot);
            let Some(watchers) = self.keys.get_mut(name.db, &name.bytes) else { continue };
            let had_expired = watchers.remove(&watcher).unwrap_or(false);
            if watchers.is_empty() {
                self.keys.remove(&name);
            }
            let is_there = |now| keyspace.find_db(db).is_some_and(|entries| entries.contains(&key, now));
            is_whole &= had_expired || is_there(now) || !is_there(UnixMillis(i64::MIN));
        }
        is_whole
    }
}

impl Shard {
    /// Watches keys of database `db`, all of this shard.
    pub fn watch<'a>(&mut self, watcher: Watcher, db: u16, keys: impl Iterator<Item = &'a [u8]>, now: UnixMillis) {
        for key in keys {
            let key = self.hasher.key(key);
            self.watches.watch(watcher, db, &key, &mut self.keyspace, now);
        }
    }

    /// Ends a span of watching; whether none of its keys here was touched, nor has expired since they were watched.
    pub fn unwatch(&mut self, watcher: Watcher, now: UnixMillis) -> bool {
        self.watches.end(watcher, &mut self.keyspace, self.hasher, now)
    }
}

#[cfg(test)]
mod tests;
