//! A shard whose data are another's: what a replica does with an image.

use crate::Shard;
use crate::replay::BEFORE_ALL_EXPIRIES;
use slotmesh_command::ValueLimits;
use slotmesh_keyspace::{KeyHasher, Keyspace};

impl Shard {
    /// A keyspace for as many databases, of the same slots, without keys: to be filled, and then taken over.
    pub fn blank(&self) -> Keyspace {
        Keyspace::new(self.keyspace.databases(), self.keyspace.slots(), self.hasher)
    }

    /// The hash of keys that [`blank`](Self::blank) is made with.
    pub fn hasher(&self) -> KeyHasher {
        self.hasher
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

#[cfg(test)]
mod tests {
    use crate::Watcher;
    use crate::testing::{Shards, limits};
    use slotmesh_base::UnixMillis;
    use slotmesh_keyspace::Expiry;

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
