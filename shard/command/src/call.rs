//! What a handler may touch, and nothing more.

mod shards;

pub(crate) use shards::At;

use crate::Effects;
use slotmesh_base::{ReplyError, Rng, UnixMillis};
use slotmesh_keyspace::{Access, Db, Key, KeyHasher, Keyspace, PackedLimit};
use slotmesh_resp::{Args, Reply};
use std::ops::Range;

/// Outcome of a handler: the reply stands in `call.reply`, or the error is the reply (what was written before
/// it is taken back by the caller).
pub type HandlerResult = Result<(), ReplyError>;

/// Code of a command that works on keys.
pub type Handler = fn(&mut Call<'_>) -> HandlerResult;

/// Bounds that handlers enforce.
#[derive(Clone, Copy, Debug)]
pub struct ValueLimits {
    /// Longest string in bytes (`proto-max-bulk-len`).
    pub string_bytes_max: usize,
    /// How large a list is one packed run (`list-max-listpack-size`).
    pub list_packed: PackedLimit,
    /// How the command leaves a trace in the keys that it uses (`maxmemory-policy`, `lfu-…`, `CLIENT NO-TOUCH`).
    pub access: Access,
    /// Whether small integers count as shared by many keys; not where eviction needs each key's own trace.
    pub shares_integers: bool,
    /// Whether DUMP compresses strings (`rdbcompression`).
    pub compresses: bool,
}

/// What has become of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Outcome {
    /// It has its reply.
    #[default]
    Replied,
    /// It has found nothing and waits; nothing was replied or changed.
    Blocks(Wait),
}

/// What a blocked command waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wait {
    /// Indexes of the arguments that are the keys it waits for.
    pub keys: Range<usize>,
    /// How long, in ms; `None` for ever.
    pub timeout_ms: Option<u64>,
}

/// A further shard that a command may touch, since its keys lie on several.
#[derive(Debug)]
pub struct Beside<'c> {
    /// The shard's databases.
    pub keyspace: &'c mut Keyspace,
    /// Its effects.
    pub effects: &'c mut Effects,
}

/// One execution of a command on one shard, or on several of which the first is its home.
#[derive(Debug)]
pub struct Call<'c> {
    /// The home shard's databases; all that a command touches whose keys lie on one shard.
    pub keyspace: &'c mut Keyspace,
    /// The home shard's effects.
    pub effects: &'c mut Effects,
    /// The other shards of the command's keys; none for a command whose keys lie on one.
    pub others: &'c mut [Beside<'c>],
    /// Index of the client's database.
    pub db: usize,
    /// The process's hash of keys.
    pub hasher: KeyHasher,
    /// The first key, if somebody has hashed it already.
    pub first_key: &'c Option<Key<'c>>,
    /// The command and its arguments.
    pub args: Args<'c>,
    /// The time, for everything in this call.
    pub now: UnixMillis,
    /// The shard's chance.
    pub rng: &'c mut Rng,
    /// Where the reply goes.
    pub reply: Reply<'c>,
    /// Bounds.
    pub limits: &'c ValueLimits,
    /// Whether this is one shard's share of a command that runs on several: the reply goes to the gatherer
    /// (only RANDOMKEY cares: its share is `[number of keys, key]`).
    pub partial: bool,
    /// Whether the client has come to the shard as to a node of the cluster, whose keys are all that there is for it; else
    /// through a gateway, that hides how many shards there are.
    pub is_node: bool,
    /// Whether the command may wait; not in a transaction.
    pub may_block: bool,
    /// What has become of it; for the handler to say if it blocks.
    pub outcome: Outcome,
    /// Whether the request itself is its effect: see [`replay`](Self::replay).
    pub replays: bool,
}

impl<'c> Call<'c> {
    /// The client's database.
    #[inline]
    pub fn db(&mut self) -> &mut Db {
        self.keyspace.db(self.db)
    }

    /// The argument at `index` as a key.
    #[inline]
    pub fn key(&self, index: usize) -> Key<'c> {
        let bytes = self.args.at(index);
        match self.first_key {
            Some(key) if core::ptr::eq(key.bytes, bytes) => *key,
            _ => self.hasher.key(bytes),
        }
    }

    /// Runs `body` with each key and its index: the arguments from the first on, `step` apart. Keys are hashed and
    /// brought into the cache some at a time, so that their misses overlap.
    pub(crate) fn for_each_key(&mut self, step: usize, mut body: impl FnMut(&mut Self, usize, &Key<'c>)) {
        /// Keys looked up together; more outstanding misses than this a core does not have.
        const BATCH: usize = 16;
        let len = self.args.len();
        if len <= 1 + step {
            let key = self.key(1);
            return body(self, 1, &key);
        }
        for first in (1..len).step_by(step * BATCH) {
            let mut batch = [self.key(first); BATCH];
            let mut count = 1;
            for (place, index) in batch[1..].iter_mut().zip((first + step..len).step_by(step)) {
                *place = self.key(index);
                count += 1;
            }
            let keys = &batch[..count];
            // Where keys lie on several shards the command is rare, and its cost not the misses.
            if self.others.is_empty() {
                self.db().prefetch(keys.iter().map(|key| (key.slot, key.hash)));
            }
            for (index, key) in (first..).step_by(step).zip(keys) {
                body(self, index, key);
            }
        }
    }

    /// Counts a read of one key for INFO's `keyspace_hits` and `keyspace_misses`; writes do not count.
    #[inline]
    pub(crate) fn count_read(&mut self, found: bool) {
        self.keyspace.stats.hits += u64::from(found);
        self.keyspace.stats.misses += u64::from(!found);
    }
}
