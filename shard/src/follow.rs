//! A shard whose data are another's: what a replica does with an image, and a node with the slots that others have taken.

use crate::Shard;
use crate::replay::BEFORE_ALL_EXPIRIES;
use slotmesh_base::{Slot, SlotSet, UnixMillis};
use slotmesh_command::ValueLimits;
use slotmesh_keyspace::{Cursor, KeyHasher, Keyspace};

impl Shard {
    /// A keyspace for as many databases, of the same slots, without keys: to be filled, and then taken over.
    pub fn blank(&self) -> Keyspace {
        Keyspace::new(self.keyspace.databases(), self.keyspace.slots(), self.hasher)
    }

    /// The hash of keys that [`blank`](Self::blank) is made with.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// The slots of which there are keys.
    pub fn slots_with_keys(&self) -> SlotSet {
        let databases = (0..self.keyspace.databases()).filter_map(|db| self.keyspace.find_db(db));
        let slots = self.keyspace.slots().filter_map(Slot::new);
        databases.flat_map(|db| slots.clone().filter(move |&slot| db.slot_len(slot) > 0)).collect()
    }

    /// Removes the keys of a slot that is ours no more; how many there were. Who watches or follows us learns of it.
    pub fn drop_slot(&mut self, slot: Slot, now: UnixMillis, limits: ValueLimits) -> usize {
        if self.keyspace.find_db(0).is_none_or(|db| db.slot_len(slot) == 0) {
            return 0;
        }
        let keys = self.keyspace.db(0).remove_slot(slot, now);
        for key in &keys {
            self.effects.push(0, [&b"DEL"[..], key].into_iter());
        }
        if self.is_noted() {
            self.note_command();
            self.end_block(now, limits);
        }
        keys.len()
    }

    /// A key that is also in `other`, and its database.
    pub fn common_key(&self, other: &Keyspace) -> Option<(usize, Vec<u8>)> {
        let find = |index: usize| {
            let own = self.keyspace.find_db(index)?;
            let is_here = |key: &Vec<u8>| own.contains(&self.hasher.key(key), BEFORE_ALL_EXPIRIES);
            Some((index, keys_of(other, index).into_iter().find(is_here)?))
        };
        (0..other.databases()).find_map(find)
    }

    /// Holds those keys beside its own, which give way to them. As with [`take_over`](Self::take_over), nothing of it goes
    /// into the effects.
    pub fn merge(&mut self, mut from: Keyspace, limits: ValueLimits) {
        debug_assert!(!self.effects.is_recording(), "a stream cannot say this");
        for index in 0..from.databases() {
            for key in keys_of(&from, index) {
                let key = self.hasher.key(&key);
                if let Some(loose) = from.db(index).take(&key, BEFORE_ALL_EXPIRIES) {
                    self.keyspace.db(index).put(&key, loose, BEFORE_ALL_EXPIRIES);
                }
            }
        }
        if self.is_noted() {
            self.note_command();
            self.end_block(BEFORE_ALL_EXPIRIES, limits);
        }
    }

    /// Holds those keys instead of its own, from one moment to the next. Who watches keys learns of it; nothing of it
    /// goes into the effects, so they must not be recorded.
    pub fn take_over(&mut self, from: Keyspace, limits: ValueLimits) {
        debug_assert!(!self.effects.is_recording(), "a stream cannot say this");
        self.keyspace.take_over(from, BEFORE_ALL_EXPIRIES);
        if self.is_noted() {
            self.note_command();
            self.end_block(BEFORE_ALL_EXPIRIES, limits);
        }
    }
}

/// The keys of a database.
fn keys_of(keyspace: &Keyspace, index: usize) -> Vec<Vec<u8>> {
    let Some(db) = keyspace.find_db(index) else { return Vec::new() };
    let mut keys = Vec::with_capacity(db.len());
    let mut cursor = Slot::new(0).map(|slot| Cursor { slot, position: 0 });
    while let Some(at) = cursor {
        cursor = db.scan(at, db.len(), BEFORE_ALL_EXPIRIES, &mut |key, _| keys.push(key.to_vec()));
    }
    keys
}

#[cfg(test)]
mod tests {
    use crate::testing::{Shards, limits};
    use crate::{Shard, Watcher};
    use slotmesh_base::{Slot, UnixMillis};
    use slotmesh_keyspace::Expiry;

    #[test]
    fn who_follows_hears_of_keys_whose_slot_has_left() {
        let mut shards = Shards::new(1);
        let shard = &mut shards.shards[0];
        shard.record_effects(true);
        // foo is of slot 12182, bar of 5061.
        for line in ["SET foo 1", "SET {foo}2 1", "SET bar 1"] {
            assert_eq!(shards.say(line), "+OK\r\n");
        }
        let shard = &mut shards.shards[0];
        shard.effects_mut().drain();
        let (foo, now) = (Slot::new(12182).unwrap(), UnixMillis(0));
        assert_eq!(shard.slots_with_keys().iter().map(Slot::number).collect::<Vec<_>>(), [5061, 12182]);
        assert_eq!((shard.drop_slot(foo, now, limits()), shard.drop_slot(foo, now, limits())), (2, 0));
        let told = String::from_utf8(shard.effects_mut().drain()).unwrap();
        assert_eq!(told.matches("DEL").count(), 2, "{told}");
        assert!(told.contains("\r\nfoo\r\n") && told.contains("\r\n{foo}2\r\n"), "{told}");
        assert_eq!((shards.say("DBSIZE"), shards.say("EXISTS bar")), (":1\r\n".into(), ":1\r\n".into()));
    }

    #[test]
    fn keys_come_beside_others_and_take_the_place_of_their_own_name() {
        let mut shards = Shards::new(1);
        for line in ["SET a 1", "SET b 1", "EXPIRE b 100"] {
            shards.say(line);
        }
        let shard = &mut shards.shards[0];
        let image = |shard: &Shard, names: &[&str]| {
            let mut image = shard.blank();
            for name in names {
                image.db(0).set_string(&shard.hasher().key(name.as_bytes()), b"2", Expiry::Never);
            }
            image.db(3).set_string(&shard.hasher().key(b"a"), b"3", Expiry::Never);
            image
        };
        assert_eq!(shard.common_key(&image(shard, &["c", "d"])), None, "another database is another key");
        assert_eq!(shard.common_key(&image(shard, &["c", "b"])), Some((0, b"b".to_vec())));
        let now = UnixMillis(0);
        let watchers = [1, 2].map(|client| Watcher { client, span: 0 });
        shard.watch(watchers[0], 0, [&b"a"[..]].into_iter(), now);
        shard.watch(watchers[1], 0, [&b"b"[..]].into_iter(), now);
        shard.merge(image(shard, &["c", "b"]), limits());
        assert!(shard.unwatch(watchers[0], now) && !shard.unwatch(watchers[1], now));
        assert_eq!(shards.say("MGET a b c"), "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n2\r\n");
        assert_eq!(shards.say("TTL b"), ":-1\r\n");
        let shard = &shards.shards[0];
        assert_eq!(shard.keyspace().find_db(3).map(slotmesh_keyspace::Db::len), Some(1));
    }

    #[test]
    fn another_image_breaks_the_watch_of_what_it_changes() {
        let mut shards = Shards::new(1);
        assert_eq!(shards.say("SET a 1"), "+OK\r\n");
        let shard = &mut shards.shards[0];
        let (now, one, other) = (UnixMillis(0), Watcher { client: 1, span: 0 }, Watcher { client: 2, span: 0 });
        shard.watch(one, 0, [&b"a"[..]].into_iter(), now);
        shard.watch(other, 0, [&b"nothing"[..]].into_iter(), now);
        let mut image = shard.blank();
        image.db(0).set_string(&shard.hasher().key(b"b"), b"2", Expiry::Never);
        shard.take_over(image, limits());
        assert!(!shard.unwatch(one, now) && shard.unwatch(other, now));
        assert_eq!((shards.say("GET a"), shards.say("GET b")), ("$-1\r\n".into(), "$1\r\n2\r\n".into()));
    }
}
