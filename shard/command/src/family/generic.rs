//! Keys of any type: DEL, UNLINK, EXISTS, TOUCH, TYPE, RENAME, RENAMENX, COPY, MOVE, DUMP, RESTORE.
//!
//! Mirrors Redis 7.2 `db.c`.

mod copy;
mod dump;
mod rename;

use crate::{Call, Categories, Doc, DocArg, Flags, Group, HandlerResult, KeyFlags, KeySpec, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};
use slotmesh_base::UnixMillis;
use slotmesh_keyspace::{Db, Key};

const KEYSPACE: Categories = Categories::KEYSPACE;
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ALL_READ: &[KeySpec] = &[KeySpec::all(KeyFlags::RO, 1)];
const ALL_REMOVED: &[KeySpec] = &[KeySpec::all(KeyFlags::RM.union(KeyFlags::DELETE), 1)];
/// Each shard counts its own keys.
const COUNTED: Tips = Tips::policies(RequestPolicy::MultiShard, ResponsePolicy::AggSum);

const SOURCE: KeySpec = KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE));
const RENAMED: &[KeySpec] = &[SOURCE, KeySpec::one_at(2, KeyFlags::OW.union(KeyFlags::UPDATE))];
const RENAMED_IF_ABSENT: &[KeySpec] = &[SOURCE, KeySpec::one_at(2, KeyFlags::OW.union(KeyFlags::INSERT))];
const COPIED: &[KeySpec] =
    &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS)), KeySpec::one_at(2, KeyFlags::OW.union(KeyFlags::UPDATE))];
const RESTORED: &[KeySpec] = &[KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE))];
const RESTORES: Flags = Flags::WRITE.union(Flags::DENYOOM);
const RESTORING: Categories = KEYSPACE.union(Categories::DANGEROUS);
const MOVED: &[KeySpec] = &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))];

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("copy", -3, Flags::WRITE.union(Flags::DENYOOM), KEYSPACE, Reach::Slot(copy::copy), copy::COPY)
        .keys(COPIED),
    Spec::new("del", -2, Flags::WRITE, KEYSPACE, Reach::Slot(del), DEL).keys(ALL_REMOVED).tips(COUNTED),
    Spec::new("dump", 2, Flags::READONLY, KEYSPACE, Reach::Slot(dump::dump), dump::DUMP)
        .keys(&[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS))])
        .tips(Tips::NONE.nondeterministic()),
    Spec::new("exists", -2, READ_FAST, KEYSPACE, Reach::Slot(exists), EXISTS).keys(ALL_READ).tips(COUNTED),
    Spec::new("move", 3, WRITE_FAST, KEYSPACE, Reach::Slot(copy::relocate), copy::MOVE).keys(MOVED),
    Spec::new("rename", 3, Flags::WRITE, KEYSPACE, Reach::Slot(rename::rename), rename::RENAME).keys(RENAMED),
    Spec::new("renamenx", 3, WRITE_FAST, KEYSPACE, Reach::Slot(rename::renamenx), rename::RENAMENX)
        .keys(RENAMED_IF_ABSENT),
    Spec::new("restore", -4, RESTORES, RESTORING, Reach::Slot(dump::restore), dump::RESTORE).keys(RESTORED),
    Spec::new(
        "restore-asking",
        -4,
        RESTORES.union(Flags::ASKING),
        RESTORING,
        Reach::Slot(dump::restore),
        dump::RESTORE_ASKING,
    )
    .keys(RESTORED),
    Spec::new("touch", -2, READ_FAST, KEYSPACE, Reach::Slot(touch), TOUCH).keys(ALL_READ).tips(COUNTED),
    Spec::new("type", 2, READ_FAST, KEYSPACE, Reach::Slot(kind), TYPE).keys(&[KeySpec::one(KeyFlags::RO)]),
    Spec::new("unlink", -2, WRITE_FAST, KEYSPACE, Reach::Slot(del), UNLINK).keys(ALL_REMOVED).tips(COUNTED),
];

/// DEL and UNLINK.
fn del(call: &mut Call<'_>) -> HandlerResult {
    let together = call.others.is_empty();
    let mut removed = 0;
    call.for_each_key(1, |call, _, key| {
        let now = call.now;
        if call.db_of(key).remove(key, now) {
            removed += 1;
            if !together {
                call.effect(key, &[b"DEL", key.bytes]);
            }
        }
    });
    if together && removed > 0 {
        call.replay(removed);
    } else {
        call.count_changes(removed);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

/// EXISTS, which is no use of a key.
fn exists(call: &mut Call<'_>) -> HandlerResult {
    count_found(call, |db, key, now| db.look(key, now).is_some())
}

/// TOUCH, which is one, also of a client that leaves no traces otherwise.
fn touch(call: &mut Call<'_>) -> HandlerResult {
    count_found(call, |db, key, now| db.touch(key, now))
}

/// A key named twice counts twice.
fn count_found(call: &mut Call<'_>, finds: impl Fn(&mut Db, &Key<'_>, UnixMillis) -> bool) -> HandlerResult {
    let mut count = 0;
    call.for_each_key(1, |call, _, key| {
        let now = call.now;
        let found = finds(call.db_of(key), key, now);
        call.count_read(found);
        count += i64::from(found);
    });
    call.reply.integer(count);
    Ok(())
}

/// TYPE.
fn kind(call: &mut Call<'_>) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    let kind = call.db().look(&key, now).map(|entry| entry.value.kind());
    call.count_read(kind.is_some());
    call.reply.simple(kind.map_or("none", |kind| kind.name()));
    Ok(())
}

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Generic, since, complexity, summary)
}

const DEL: Doc = doc(
    "1.0.0",
    "O(N) for N keys; a key that holds a collection of M elements costs O(M) itself",
    "Removes keys and tells how many there were.",
)
.arguments(&[DocArg::KEY.multiple()]);

const EXISTS: Doc = doc("1.0.0", "O(N) for N keys", "Tells how many of the named keys are there.")
    .arguments(&[DocArg::KEY.multiple()])
    .history(&[("3.0.3", "Takes several `key` arguments.")]);

const TOUCH: Doc = doc("3.2.1", "O(N) for N keys", "Marks keys as just used and tells how many are there.")
    .arguments(&[DocArg::KEY.multiple()]);

const TYPE: Doc = doc("1.0.0", "O(1)", "Names the type of what a key holds.").arguments(&[DocArg::KEY]);

const UNLINK: Doc = doc(
    "4.0.0",
    "O(1) for each key; giving memory back is O(M) for M allocations, later",
    "Removes keys and gives their memory back later.",
)
.arguments(&[DocArg::KEY.multiple()]);

#[cfg(test)]
mod tests;
