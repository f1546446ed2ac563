//! Strings: SET and its kin, reads, appends, counters.
//!
//! Mirrors Redis 7.2 `t_string.c`.

mod counter;
mod float;
mod getex;
mod lcs;
mod range;
mod set;

use crate::call::At;
use crate::{
    Call, Categories, Doc, DocArg, DocKind, Flags, Group, HandlerResult, KeyFlags, KeySpec, Reach, Repeat, Spec, Tips,
};
use crate::{RequestPolicy, ResponsePolicy};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{Expiry, ValueRef};

const STRING: Categories = Categories::STRING;
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_GROWS: Flags = Flags::WRITE.union(Flags::DENYOOM);
const WRITE_GROWS_FAST: Flags = WRITE_GROWS.union(Flags::FAST);

const ONE_READ: &[KeySpec] = &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS))];
const ONE_CHANGE: &[KeySpec] = &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))];
const ONE_OVERWRITE: &[KeySpec] = &[KeySpec::one(KeyFlags::OW.union(KeyFlags::UPDATE))];

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("append", 3, WRITE_GROWS_FAST, STRING, Reach::Slot(append), APPEND)
        .keys(&[KeySpec::one(KeyFlags::RW.union(KeyFlags::INSERT))]),
    Spec::new("decr", 2, WRITE_GROWS_FAST, STRING, Reach::Slot(counter::decr), DECR).keys(ONE_CHANGE),
    Spec::new("decrby", 3, WRITE_GROWS_FAST, STRING, Reach::Slot(counter::decrby), DECRBY).keys(ONE_CHANGE),
    Spec::new("get", 2, READ_FAST, STRING, Reach::Slot(get), GET).keys(ONE_READ),
    Spec::new("getdel", 2, Flags::WRITE.union(Flags::FAST), STRING, Reach::Slot(getdel), GETDEL)
        .keys(&[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::DELETE))]),
    Spec::new("getex", -2, Flags::WRITE.union(Flags::FAST), STRING, Reach::Slot(getex::getex), getex::DOC)
        .keys(getex::KEYS),
    Spec::new("getrange", 4, Flags::READONLY, STRING, Reach::Slot(range::getrange), range::GETRANGE).keys(ONE_READ),
    Spec::new("getset", 3, WRITE_GROWS_FAST, STRING, Reach::Slot(getset), GETSET).keys(ONE_CHANGE),
    Spec::new("incr", 2, WRITE_GROWS_FAST, STRING, Reach::Slot(counter::incr), INCR).keys(ONE_CHANGE),
    Spec::new("incrby", 3, WRITE_GROWS_FAST, STRING, Reach::Slot(counter::incrby), INCRBY).keys(ONE_CHANGE),
    Spec::new("incrbyfloat", 3, WRITE_GROWS_FAST, STRING, Reach::Slot(float::incrbyfloat), float::INCRBYFLOAT)
        .keys(ONE_CHANGE),
    Spec::new("lcs", -3, Flags::READONLY, STRING, Reach::Slot(lcs::lcs), lcs::DOC)
        .keys(&[KeySpec { last: 1, ..KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS)) }]),
    Spec::new("mget", -2, READ_FAST, STRING, Reach::Slot(mget), MGET)
        .keys(&[KeySpec::all(KeyFlags::RO.union(KeyFlags::ACCESS), 1)])
        .tips(Tips::policies(RequestPolicy::MultiShard, ResponsePolicy::Default)),
    Spec::new("mset", -3, WRITE_GROWS, STRING, Reach::Slot(mset), MSET)
        .keys(&[KeySpec::all(KeyFlags::OW.union(KeyFlags::UPDATE), 2)])
        .tips(Tips::policies(RequestPolicy::MultiShard, ResponsePolicy::AllSucceeded))
        .repeat(Repeat::Safe),
    Spec::new("msetnx", -3, WRITE_GROWS, STRING, Reach::Slot(msetnx), MSETNX)
        .keys(&[KeySpec::all(KeyFlags::OW.union(KeyFlags::INSERT), 2)]),
    Spec::new("psetex", 4, WRITE_GROWS, STRING, Reach::Slot(set::psetex), PSETEX)
        .keys(ONE_OVERWRITE)
        .repeat(Repeat::Safe),
    Spec::new("set", -3, WRITE_GROWS, STRING, Reach::Slot(set::set), set::DOC)
        .keys(set::KEYS)
        .repeat(Repeat::SafeIf(set::only_stores)),
    Spec::new("setex", 4, WRITE_GROWS, STRING, Reach::Slot(set::setex), SETEX).keys(ONE_OVERWRITE).repeat(Repeat::Safe),
    Spec::new("setnx", 3, WRITE_GROWS_FAST, STRING, Reach::Slot(set::setnx), SETNX)
        .keys(&[KeySpec::one(KeyFlags::OW.union(KeyFlags::INSERT))]),
    Spec::new("setrange", 4, WRITE_GROWS, STRING, Reach::Slot(range::setrange), range::SETRANGE)
        .keys(&[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE))]),
    Spec::new("strlen", 2, READ_FAST, STRING, Reach::Slot(strlen), STRLEN).keys(&[KeySpec::one(KeyFlags::RO)]),
    Spec::new("substr", 4, Flags::READONLY, STRING, Reach::Slot(range::getrange), range::SUBSTR).keys(ONE_READ),
];

fn get(call: &mut Call<'_>) -> HandlerResult {
    reply_value(call).map(|_| ())
}

fn getdel(call: &mut Call<'_>) -> HandlerResult {
    if reply_value(call)? {
        let key = call.key(1);
        let now = call.now;
        call.db().remove(&key, now);
        call.count_changes(1);
        call.effect(&key, &[b"DEL", key.bytes]);
    }
    Ok(())
}

fn getset(call: &mut Call<'_>) -> HandlerResult {
    reply_value(call)?;
    let (key, value, now) = (call.key(1), call.args.at(2), call.now);
    call.db().put_string(&key, value, Expiry::Never, now);
    call.count_changes(1);
    call.effect(&key, &[b"SET", key.bytes, value]);
    Ok(())
}

fn strlen(call: &mut Call<'_>) -> HandlerResult {
    let key = call.key(1);
    let length = call.keyspace.db(call.db).get(&key, call.now).map(|entry| string(entry.value).map(<[u8]>::len));
    call.count_read(length.is_some());
    call.reply.integer(length.transpose()?.unwrap_or(0) as i64);
    Ok(())
}

fn append(call: &mut Call<'_>) -> HandlerResult {
    let (key, tail) = (call.key(1), call.args.at(2));
    let db = call.keyspace.db(call.db);
    let old = db.get(&key, call.now).map(|entry| string(entry.value).map(<[u8]>::len)).transpose()?;
    let length = match old {
        Some(length) if length + tail.len() > call.limits.string_bytes_max => return Err(ReplyError::StringTooLong),
        Some(_) => db.append(&key, tail).expect("the key was there and a string"),
        None => {
            db.put_string(&key, tail, Expiry::Never, call.now);
            tail.len()
        }
    };
    call.reply.integer(length as i64);
    call.replay(1);
    Ok(())
}

/// Other types than strings are null here, not an error.
fn mget(call: &mut Call<'_>) -> HandlerResult {
    call.reply.array(call.args.len() - 1);
    call.for_each_key(1, |call, _, key| {
        let (db, now) = (call.db, call.now);
        let At { keyspace, reply, .. } = call.at(key);
        let entry = keyspace.db(db).get(key, now);
        let found = entry.is_some();
        match entry.map(|entry| string(entry.value)) {
            Some(Ok(value)) => reply.bulk(value),
            Some(Err(_)) | None => reply.null(),
        }
        call.count_read(found);
    });
    Ok(())
}

fn mset(call: &mut Call<'_>) -> HandlerResult {
    if call.args.len().is_multiple_of(2) {
        return Err(ReplyError::WrongArity("mset"));
    }
    put_all(call);
    call.reply.ok();
    Ok(())
}

/// Stores all or nothing.
fn msetnx(call: &mut Call<'_>) -> HandlerResult {
    if call.args.len().is_multiple_of(2) {
        return Err(ReplyError::WrongArity("msetnx"));
    }
    let mut absent = true;
    call.for_each_key(2, |call, _, key| {
        let now = call.now;
        absent = absent && call.db_of(key).get(key, now).is_none();
    });
    if absent {
        put_all(call);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

/// Stores each value under its key.
fn put_all(call: &mut Call<'_>) {
    let together = call.others.is_empty();
    let pairs = call.args.len() / 2;
    call.for_each_key(2, |call, index, key| {
        let (value, now) = (call.args.at(index + 1), call.now);
        call.db_of(key).put_string(key, value, Expiry::Never, now);
        if !together {
            call.effect(key, &[b"SET", key.bytes, value]);
        }
    });
    if together {
        call.replay(pairs);
    } else {
        call.count_changes(pairs);
    }
}

/// Answers with the string under the first key, or null; whether there is one.
#[inline]
fn reply_value(call: &mut Call<'_>) -> Result<bool, ReplyError> {
    let key = call.key(1);
    let Some(entry) = call.keyspace.db(call.db).get(&key, call.now) else {
        call.reply.null();
        call.count_read(false);
        return Ok(false);
    };
    let shown = string(entry.value).map(|value| call.reply.bulk(value));
    call.count_read(true);
    shown.map(|()| true)
}

/// The bytes of a string.
///
/// # Errors
/// `WrongType` for everything else.
#[inline]
fn string(value: ValueRef<'_>) -> Result<&[u8], ReplyError> {
    match value {
        ValueRef::String(bytes) => Ok(bytes),
        _ => Err(ReplyError::WrongType),
    }
}

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::String, since, complexity, summary)
}

const APPEND: Doc = doc(
    "2.0.0",
    "O(1), amortised: a string that grows is given room to grow further",
    "Adds bytes to the end of a string, which is created if the key is absent.",
)
.arguments(&[DocArg::KEY, DocArg::VALUE]);

const DECR: Doc =
    doc("1.0.0", "O(1)", "Subtracts one from the integer that a string spells; an absent key counts as 0.")
        .arguments(&[DocArg::KEY]);

const DECRBY: Doc =
    doc("1.0.0", "O(1)", "Subtracts a number from the integer that a string spells; an absent key counts as 0.")
        .arguments(&[DocArg::KEY, DocArg::new("decrement", DocKind::Integer)]);

const GET: Doc = doc("1.0.0", "O(1)", "Reads the string under a key.").arguments(&[DocArg::KEY]);

const GETDEL: Doc = doc("6.2.0", "O(1)", "Reads the string under a key and removes the key.").arguments(&[DocArg::KEY]);

const GETSET: Doc = doc("1.0.0", "O(1)", "Stores a string and answers with the one that it replaces.")
    .arguments(&[DocArg::KEY, DocArg::VALUE])
    .deprecated("6.2.0", "`SET` with the `!GET` argument");

const INCR: Doc = doc("1.0.0", "O(1)", "Adds one to the integer that a string spells; an absent key counts as 0.")
    .arguments(&[DocArg::KEY]);

const INCRBY: Doc =
    doc("1.0.0", "O(1)", "Adds a number to the integer that a string spells; an absent key counts as 0.")
        .arguments(&[DocArg::KEY, DocArg::new("increment", DocKind::Integer)]);

const MGET: Doc =
    doc("1.0.0", "O(N) for N keys", "Reads the strings under several keys.").arguments(&[DocArg::KEY.multiple()]);

const PAIRS: &[DocArg] = &[DocArg::block("data", &[DocArg::KEY, DocArg::VALUE]).multiple()];

const MSET: Doc = doc("1.0.1", "O(N) for N keys", "Stores strings under several keys.").arguments(PAIRS);

const MSETNX: Doc =
    doc("1.0.1", "O(N) for N keys", "Stores strings under several keys, if none of these is there.").arguments(PAIRS);

const PSETEX: Doc = doc("2.6.0", "O(1)", "Stores a string that expires after some milliseconds.")
    .arguments(&[DocArg::KEY, DocArg::new("milliseconds", DocKind::Integer), DocArg::VALUE])
    .deprecated("2.6.12", "`SET` with the `PX` argument");

const SETEX: Doc = doc("2.0.0", "O(1)", "Stores a string that expires after some seconds.")
    .arguments(&[DocArg::KEY, DocArg::new("seconds", DocKind::Integer), DocArg::VALUE])
    .deprecated("2.6.12", "`SET` with the `EX` argument");

const SETNX: Doc = doc("1.0.0", "O(1)", "Stores a string if the key is absent.")
    .arguments(&[DocArg::KEY, DocArg::VALUE])
    .deprecated("2.6.12", "`SET` with the `NX` argument");

const STRLEN: Doc = doc("2.2.0", "O(1)", "Tells the length of the string under a key.").arguments(&[DocArg::KEY]);

#[cfg(test)]
mod tests;
