//! Whole databases: SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL, FLUSHDB, SWAPDB.
//!
//! Each works on one shard's slots; the gateway makes one answer of all shards'. Mirrors Redis 7.2 `db.c`.

use crate::{
    Call, Categories, Doc, DocArg, DocKind, Flags, Group, HandlerResult, IntegerText, Reach, Spec, Tips, glob,
    parse_cursor, parse_integer,
};
use crate::{RequestPolicy, ResponsePolicy};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_keyspace::{Cursor, Db, ValueKind};
use slotmesh_resp::{Args, Reply};

const KEYSPACE: Categories = Categories::KEYSPACE;
const READ: Flags = Flags::READONLY;

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("dbsize", 1, READ.union(Flags::FAST), KEYSPACE, Reach::Shard(dbsize), DBSIZE)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AggSum)),
    Spec::new("flushall", -1, Flags::WRITE, KEYSPACE.union(Categories::DANGEROUS), Reach::Shard(flushall), FLUSHALL)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded)),
    Spec::new("flushdb", -1, Flags::WRITE, KEYSPACE.union(Categories::DANGEROUS), Reach::Shard(flushdb), FLUSHDB)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded)),
    Spec::new("keys", 2, READ, KEYSPACE.union(Categories::DANGEROUS), Reach::Shard(keys), KEYS)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::Default).nondeterministic_order()),
    Spec::new("randomkey", 1, READ, KEYSPACE, Reach::Shard(randomkey), RANDOMKEY)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::Special).nondeterministic()),
    Spec::new("scan", -2, READ, KEYSPACE, Reach::Shard(scan), SCAN)
        .tips(Tips::policies(RequestPolicy::Special, ResponsePolicy::Special).nondeterministic()),
    Spec::new(
        "swapdb",
        3,
        Flags::WRITE.union(Flags::FAST),
        KEYSPACE.union(Categories::DANGEROUS),
        Reach::Shard(swapdb),
        SWAPDB,
    ),
];

fn dbsize(call: &mut Call<'_>) -> HandlerResult {
    let len = call.keyspace.find_db(call.db).map_or(0, Db::len);
    call.reply.integer(len as i64);
    Ok(())
}

fn flushall(call: &mut Call<'_>) -> HandlerResult {
    check_flush_mode(call.args)?;
    let mut removed = 0;
    call.for_each_shard(|keyspace| {
        removed += keyspace.flush_all();
        keyspace.note_flushall();
    });
    call.replay_everywhere(removed);
    call.reply.ok();
    Ok(())
}

fn flushdb(call: &mut Call<'_>) -> HandlerResult {
    check_flush_mode(call.args)?;
    let (db, mut removed) = (call.db, 0);
    call.for_each_shard(|keyspace| removed += keyspace.flush(db));
    call.replay_everywhere(removed);
    call.reply.ok();
    Ok(())
}

/// SWAPDB. Not in a cluster, which has one database.
fn swapdb(call: &mut Call<'_>) -> HandlerResult {
    if call.is_node {
        return Err(ReplyError::NotInClusterMode("SWAPDB"));
    }
    let number = |index, error| match parse_integer(call.args.at(index)) {
        Ok(number) if i32::try_from(number).is_ok() => Ok(number),
        _ => Err(error),
    };
    let one = number(1, ReplyError::InvalidFirstDbIndex)?;
    let other = number(2, ReplyError::InvalidSecondDbIndex)?;
    let within = |number| usize::try_from(number).ok().filter(|&index| index < call.keyspace.databases());
    let (Some(one), Some(other)) = (within(one), within(other)) else {
        return Err(ReplyError::DbIndexOutOfRange);
    };
    if one != other {
        let now = call.now;
        call.for_each_shard(|keyspace| keyspace.swap(one, other, now));
        call.replay_everywhere(1);
    } else {
        // As in Redis, though nothing has.
        call.count_changes(1);
    }
    call.reply.ok();
    Ok(())
}

/// SYNC and ASYNC are the same here: keys are gone at once, memory is given back in slices.
fn check_flush_mode(args: Args<'_>) -> HandlerResult {
    let known = |mode: &[u8]| mode.eq_ignore_ascii_case(b"sync") || mode.eq_ignore_ascii_case(b"async");
    match (args.len(), args.find(1)) {
        (1, _) => Ok(()),
        (2, Some(mode)) if known(mode) => Ok(()),
        _ => Err(ReplyError::Syntax),
    }
}

/// RANDOMKEY. As a part of a gathered reply: `[number of keys, key]`, so that the gatherer can choose fairly.
fn randomkey(call: &mut Call<'_>) -> HandlerResult {
    let db = call.keyspace.db(call.db);
    let key = db.random_key(call.rng, call.now);
    if call.partial {
        call.reply.array(2);
        call.reply.integer(db.len() as i64);
    }
    match key {
        Some(key) => call.reply.bulk(&key),
        None => call.reply.null(),
    }
    Ok(())
}

fn keys(call: &mut Call<'_>) -> HandlerResult {
    /// Keys visited by one step of the scan.
    const STEP: usize = 1024;
    let filter = Filter { pattern: pattern(call.args.at(1)), kind: KindFilter::Any };
    let array = call.reply.deferred_array();
    let mut count = 0;
    let mut next = Some(Cursor::start());
    while let Some(cursor) = next {
        let found;
        (found, next) = visit(call, cursor, STEP, &filter);
        count += found;
    }
    call.reply.close_array(array, count);
    Ok(())
}

fn scan(call: &mut Call<'_>) -> HandlerResult {
    let number = parse_cursor(call.args.at(1))?;
    let (filter, count) = scan_options(call.args)?;
    call.reply.array(2);
    let head = call.reply.buffer().len();
    let last = *call.keyspace.slots().end();
    // Numbers that no scan gives, and slots beyond this shard's, end the scan.
    let start = Cursor::from_number(number).filter(|cursor| cursor.slot.number() <= last);
    let (found, next) = match start {
        Some(cursor) if call.is_node => {
            let (found, next) = visit(call, cursor, count, &filter);
            (found, next.unwrap_or(Cursor::start()).to_number())
        }
        Some(cursor) if call.keyspace.holds(cursor.slot) => {
            // Whoever owns the slots behind goes on with them.
            let last = call.keyspace.run_end(cursor.slot);
            let (found, next) = visit(call, cursor, count, &filter);
            (found, next.filter(|next| next.slot <= last).unwrap_or(behind(last.number())).to_number())
        }
        // Slots of other hosts are passed over at once.
        Some(cursor) => (0, behind(call.keyspace.run_end(cursor.slot).number()).to_number()),
        None => (0, 0),
    };
    // Only the visit tells the cursor that stands before the keys.
    insert(&mut call.reply, head, |reply| {
        reply.bulk(IntegerText::unsigned(next).as_bytes());
        reply.array(found);
    });
    Ok(())
}

/// Where a scan of all shards goes on behind the slot `last`: the start, if that is the last of all.
fn behind(last: u16) -> Cursor {
    match Slot::new(last + 1) {
        Some(slot) => Cursor { slot, position: 0 },
        None => Cursor::start(),
    }
}

/// Appends about `count` keys that pass the filter; how many, and where to go on.
fn visit(call: &mut Call<'_>, cursor: Cursor, count: usize, filter: &Filter<'_>) -> (usize, Option<Cursor>) {
    let Some(db) = call.keyspace.find_db(call.db) else { return (0, None) };
    let mut found = 0;
    let reply = &mut call.reply;
    let next = db.scan(cursor, count, call.now, &mut |key, value| {
        if filter.passes(key, value.kind()) {
            reply.bulk(key);
            found += 1;
        }
    });
    (found, next)
}

/// Which keys a scan shows.
struct Filter<'a> {
    /// `None` shows all.
    pattern: Option<&'a [u8]>,
    kind: KindFilter,
}

enum KindFilter {
    Any,
    Only(ValueKind),
    /// A name that is no type: nothing passes (7.2; an error only from 8.0 on).
    Unknown,
}

impl Filter<'_> {
    fn passes(&self, key: &[u8], kind: ValueKind) -> bool {
        let kind_fits = match self.kind {
            KindFilter::Any => true,
            KindFilter::Only(wanted) => wanted == kind,
            KindFilter::Unknown => false,
        };
        kind_fits && self.pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }
}

/// A pattern, unless it shows everything.
fn pattern(text: &[u8]) -> Option<&[u8]> {
    (text != b"*").then_some(text)
}

/// MATCH, COUNT and TYPE, in any order; the last one of each counts.
fn scan_options(args: Args<'_>) -> Result<(Filter<'_>, usize), ReplyError> {
    const COUNT_DEFAULT: i64 = 10;
    let mut filter = Filter { pattern: None, kind: KindFilter::Any };
    let mut count = COUNT_DEFAULT;
    let mut words = args.iter_from(2);
    while let Some(word) = words.next() {
        let value = words.next().ok_or(ReplyError::Syntax)?;
        if word.eq_ignore_ascii_case(b"count") {
            count = parse_integer(value)?;
            if count < 1 {
                return Err(ReplyError::Syntax);
            }
        } else if word.eq_ignore_ascii_case(b"match") {
            filter.pattern = pattern(value);
        } else if word.eq_ignore_ascii_case(b"type") {
            filter.kind = kind_named(value).map_or(KindFilter::Unknown, KindFilter::Only);
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Ok((filter, usize::try_from(count).unwrap_or(usize::MAX)))
}

fn kind_named(name: &[u8]) -> Option<ValueKind> {
    ValueKind::ALL.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
}

/// Puts what `write` writes before what was written from `at` on.
fn insert(reply: &mut Reply<'_>, at: usize, write: impl FnOnce(&mut Reply<'_>)) {
    let mut head = Vec::with_capacity(64);
    write(&mut Reply::new(&mut head, reply.protocol()));
    reply.buffer().splice(at..at, head);
}

const FLUSH_TYPE: DocArg = DocArg::one_of(
    "flush-type",
    &[DocArg::word("async", "ASYNC").since("4.0.0"), DocArg::word("sync", "SYNC").since("6.2.0")],
)
.optional();

const FLUSH_HISTORY: &[(&str, &str)] = &[("4.0.0", "New mode `ASYNC`."), ("6.2.0", "New mode `SYNC`.")];

const DBSIZE: Doc = Doc::new(Group::Server, "1.0.0", "O(1)", "Tells how many keys a database has.");

const FLUSHALL: Doc = Doc::new(Group::Server, "1.0.0", "O(N) for N keys in all databases", "Empties all databases.")
    .arguments(&[FLUSH_TYPE])
    .history(FLUSH_HISTORY);

const FLUSHDB: Doc = Doc::new(Group::Server, "1.0.0", "O(N) for N keys in the database", "Empties one database.")
    .arguments(&[FLUSH_TYPE])
    .history(FLUSH_HISTORY);

const KEYS: Doc = Doc::new(
    Group::Generic,
    "1.0.0",
    "O(N) for N keys in the database, if keys and pattern are short",
    "Lists the keys that fit a pattern.",
)
.arguments(&[DocArg::new("pattern", DocKind::Pattern)]);

const RANDOMKEY: Doc = Doc::new(Group::Generic, "1.0.0", "O(1)", "Names a key chosen at random.");

const SCAN: Doc = Doc::new(
    Group::Generic,
    "2.8.0",
    "O(1) a call; O(N) for a whole round over N keys",
    "Lists the keys of a database in small steps.",
)
.arguments(&[
    DocArg::new("cursor", DocKind::Integer),
    DocArg::new("pattern", DocKind::Pattern).token("MATCH").optional(),
    DocArg::new("count", DocKind::Integer).token("COUNT").optional(),
    DocArg::new("type", DocKind::String).token("TYPE").optional().since("6.0.0"),
])
.history(&[("6.0.0", "New option `TYPE`.")]);

const SWAPDB: Doc = Doc::new(
    Group::Server,
    "4.0.0",
    "O(N) for N keys of both databases that clients watch or wait for",
    "Exchanges two databases.",
)
.arguments(&[DocArg::new("index1", DocKind::Integer), DocArg::new("index2", DocKind::Integer)]);

#[cfg(test)]
mod tests;
