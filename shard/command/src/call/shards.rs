//! A call's shards: which of them a key lies on, and which stream its effects belong to.

use super::Call;
use crate::{Effects, recreate};
use slotmesh_keyspace::{Db, Key, Keyspace};
use slotmesh_resp::Reply;

/// What a handler needs of a key's shard, borrowed apart, so that a reply may be written from what is read.
pub(crate) struct At<'a, 'c> {
    /// The shard's databases.
    pub(crate) keyspace: &'a mut Keyspace,
    /// Its effects.
    pub(crate) effects: &'a mut Effects,
    /// Where the reply goes.
    pub(crate) reply: &'a mut Reply<'c>,
}

impl<'c> Call<'c> {
    /// The database of a key of a command whose keys may lie on several shards.
    ///
    /// # Panics
    /// If the key's shard is not at hand.
    #[inline]
    pub fn db_of(&mut self, key: &Key<'_>) -> &mut Db {
        self.db_at(self.db, key)
    }

    /// The database with that index on a key's shard.
    ///
    /// # Panics
    /// If the key's shard is not at hand, unless slots come and go.
    pub fn db_at(&mut self, db: usize, key: &Key<'_>) -> &mut Db {
        self.at(key).keyspace.db(db)
    }

    /// The shard of a key.
    ///
    /// # Panics
    /// If it is not at hand, unless slots come and go.
    #[inline]
    pub(crate) fn at(&mut self, key: &Key<'_>) -> At<'_, 'c> {
        let reply = &mut self.reply;
        if self.keyspace.holds(key.slot) {
            return At { keyspace: self.keyspace, effects: self.effects, reply };
        }
        match self.others.iter_mut().find(|other| other.keyspace.holds(key.slot)) {
            Some(other) => At { keyspace: other.keyspace, effects: other.effects, reply },
            None => {
                // The slot has just left the node: home is then as good as any.
                assert!(self.keyspace.is_of_node(), "the shards of all keys are at hand");
                At { keyspace: self.keyspace, effects: self.effects, reply }
            }
        }
    }

    /// Runs `body` with the databases of each shard at hand, home first.
    pub(crate) fn for_each_shard(&mut self, mut body: impl FnMut(&mut Keyspace)) {
        body(self.keyspace);
        self.others.iter_mut().for_each(|other| body(other.keyspace));
    }

    /// Whether a key's shard is at hand. A blocking command that is tried again sees only the shard that calls it.
    pub fn is_at_hand(&self, key: &Key<'_>) -> bool {
        self.keyspace.holds(key.slot) || self.others.iter().any(|other| other.keyspace.holds(key.slot))
    }

    /// Whether two keys lie on one shard, so that the request may be replayed there as it is.
    pub fn are_together(&self, one: &Key<'_>, other: &Key<'_>) -> bool {
        let holds_both = |keyspace: &Keyspace| keyspace.holds(one.slot) && keyspace.holds(other.slot);
        self.others.is_empty()
            || holds_both(self.keyspace)
            || self.others.iter().any(|other| holds_both(other.keyspace))
    }

    /// Counts what the command changed: keys, or elements of a collection (INFO's `rdb_changes_since_last_save`; Redis:
    /// `server.dirty`). Keys that expired do not count.
    #[inline]
    pub fn count_changes(&mut self, changes: usize) {
        self.keyspace.stats.changes += changes as u64;
    }

    /// Says that the request changed so much ([`count_changes`](Self::count_changes)), and that replaying it as it is does
    /// the same. For commands whose keys lie on the home shard, and whose effect depends on neither time nor chance.
    #[inline]
    pub fn replay(&mut self, changes: usize) {
        self.count_changes(changes);
        self.replays = true;
    }

    /// As [`replay`](Self::replay), for commands whose keys all lie on the shard of `key`, which need not be home.
    pub fn replay_on(&mut self, key: &Key<'_>, changes: usize) {
        self.count_changes(changes);
        if self.others.is_empty() || self.keyspace.holds(key.slot) {
            self.replays = true;
        } else if self.records() {
            let (db, args) = (self.db, self.args);
            self.at(key).effects.push(db as u16, args.iter_from(0));
        }
    }

    /// As [`replay`](Self::replay), for commands that do the same on every shard at hand: once for each
    /// stream.
    pub(crate) fn replay_everywhere(&mut self, changes: usize) {
        self.count_changes(changes);
        self.replays = true;
        let (db, args) = (self.db, self.args);
        let own_streams = self.others.iter_mut().filter(|other| !other.effects.is_joint());
        own_streams.for_each(|other| other.effects.push(db as u16, args.iter_from(0)));
    }

    /// Whether somebody wants effects.
    #[inline]
    pub fn records(&self) -> bool {
        self.effects.is_recording() || self.others.iter().any(|other| other.effects.is_recording())
    }

    /// Adds an effect on `key`, in the client's database, to the stream of the key's shard. Nothing happens if nobody
    /// wants effects.
    pub fn effect(&mut self, key: &Key<'_>, words: &[&[u8]]) {
        self.effect_at(self.db, key, words);
    }

    /// Adds an effect on `key` in the database `db`.
    pub fn effect_at(&mut self, db: usize, key: &Key<'_>, words: &[&[u8]]) {
        if !self.records() {
            return;
        }
        // A shard has fewer databases than 2^16 (`DATABASES_MAX`).
        self.at(key).effects.push(db as u16, words.iter().copied());
    }

    /// Adds what makes `key` of the database `db` what it is now to the stream of its shard: for a value that came from
    /// another shard.
    pub(crate) fn effect_recreate(&mut self, db: usize, key: &Key<'_>) {
        if !self.records() {
            return;
        }
        let now = self.now;
        let At { keyspace, effects, .. } = self.at(key);
        effects.push(db as u16, [&b"DEL"[..], key.bytes].into_iter());
        if let Some(entry) = keyspace.db(db).peek(key, now) {
            recreate(key.bytes, &entry, &mut |words| effects.push(db as u16, words.iter().copied()));
        }
    }
}
