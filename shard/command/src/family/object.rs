//! OBJECT: how values are kept, and when they were used.
//!
//! Mirrors Redis 7.2 `object.c`.

use crate::{
    Call, Categories, Doc, DocArg, Flags, Group, HandlerResult, KeyFlags, KeySpec, Reach, Spec, Tips, ValueLimits,
    find, parse_integer, write_help,
};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_keyspace::{AccessPolicy, Db, Key, List, StringForm, ValueRef};
use std::ops::Range;

/// Longest string that Redis keeps together with its head (`OBJ_ENCODING_EMBSTR_SIZE_LIMIT`), in bytes.
const EMBEDDED_BYTES_MAX: usize = 44;

/// Integers of which Redis keeps one for all keys (`OBJ_SHARED_INTEGERS`), and the count of references that these have
/// (`OBJ_SHARED_REFCOUNT`).
const SHARED_INTEGERS: Range<i64> = 0..10_000;
const SHARED_REFERENCES: i64 = i32::MAX as i64;

pub(crate) static ROWS: &[Spec] =
    &[Spec::new("object", -2, Flags::empty(), Categories::empty(), Reach::Container, OBJECT).subcommands(&[
        Spec::new("object|encoding", 3, Flags::READONLY, Categories::KEYSPACE, Reach::Slot(encoding), ENCODING)
            .keys(&[KeySpec::one_at(2, KeyFlags::RO)])
            .tips(Tips::NONE.nondeterministic()),
        Spec::new("object|freq", 3, Flags::READONLY, Categories::KEYSPACE, Reach::Slot(frequency), FREQ)
            .keys(&[KeySpec::one_at(2, KeyFlags::RO)])
            .tips(Tips::NONE.nondeterministic()),
        Spec::new("object|help", 2, Flags::LOADING.union(Flags::STALE), Categories::KEYSPACE, Reach::Slot(help), HELP),
        Spec::new("object|idletime", 3, Flags::READONLY, Categories::KEYSPACE, Reach::Slot(idletime), IDLETIME)
            .keys(&[KeySpec::one_at(2, KeyFlags::RO)])
            .tips(Tips::NONE.nondeterministic()),
        Spec::new("object|refcount", 3, Flags::READONLY, Categories::KEYSPACE, Reach::Slot(refcount), REFCOUNT)
            .keys(&[KeySpec::one_at(2, KeyFlags::RO)])
            .tips(Tips::NONE.nondeterministic()),
    ])];

/// What OBJECT and DEBUG OBJECT say of a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ObjectFacts {
    /// `OBJECT ENCODING`
    pub encoding: &'static str,
    /// `OBJECT REFCOUNT`
    pub references: i64,
    /// Seconds since the last use; means nothing while frequencies are kept.
    pub idle_seconds: u32,
    /// Counter of uses; means nothing while no frequencies are kept.
    pub frequency: u8,
    /// Bytes that key and value occupy.
    pub bytes: usize,
}

/// The facts of a key that is there. To ask is no use of the key.
pub fn object_facts(db: &mut Db, key: &Key<'_>, now: UnixMillis, limits: &ValueLimits) -> Option<ObjectFacts> {
    let value = db.look(key, now)?.value;
    let integer = match value {
        ValueRef::String(text) => parse_integer(text).ok(),
        _ => None,
    };
    let (length, kind) = match value {
        ValueRef::String(text) => (text.len(), None),
        ValueRef::List(list) if List::is_packed(list) => (0, Some("listpack")),
        ValueRef::List(_) => (0, Some("quicklist")),
        _ => (0, Some("raw")),
    };
    let form = db.string_form(key, now)?;
    let encoding = match (kind, form, integer) {
        (Some(kind), ..) => kind,
        (None, StringForm::ByContent, Some(_)) => "int",
        (None, StringForm::Raw, _) => "raw",
        (None, ..) if length <= EMBEDDED_BYTES_MAX => "embstr",
        (None, ..) => "raw",
    };
    let is_shared = encoding == "int" && integer.is_some_and(|integer| SHARED_INTEGERS.contains(&integer));
    Some(ObjectFacts {
        encoding,
        references: if is_shared && limits.shares_integers { SHARED_REFERENCES } else { 1 },
        idle_seconds: db.idle_seconds(key, now)?,
        frequency: db.frequency(key, now)?,
        bytes: db.key_bytes(key)?,
    })
}

/// The facts of the key that OBJECT names, or null.
fn facts(call: &mut Call<'_>) -> Option<ObjectFacts> {
    let key = call.key(2);
    let facts = object_facts(call.keyspace.db(call.db), &key, call.now, call.limits);
    call.count_read(facts.is_some());
    if facts.is_none() {
        call.reply.null();
    }
    facts
}

fn encoding(call: &mut Call<'_>) -> HandlerResult {
    if let Some(facts) = facts(call) {
        call.reply.bulk(facts.encoding.as_bytes());
    }
    Ok(())
}

fn refcount(call: &mut Call<'_>) -> HandlerResult {
    if let Some(facts) = facts(call) {
        call.reply.integer(facts.references);
    }
    Ok(())
}

fn idletime(call: &mut Call<'_>) -> HandlerResult {
    let Some(facts) = facts(call) else { return Ok(()) };
    if call.limits.access.policy != AccessPolicy::Recency {
        return Err(ReplyError::FrequencySelected);
    }
    call.reply.integer(i64::from(facts.idle_seconds));
    Ok(())
}

fn frequency(call: &mut Call<'_>) -> HandlerResult {
    let Some(facts) = facts(call) else { return Ok(()) };
    if call.limits.access.policy == AccessPolicy::Recency {
        return Err(ReplyError::FrequencyNotSelected);
    }
    call.reply.integer(i64::from(facts.frequency));
    Ok(())
}

fn help(call: &mut Call<'_>) -> HandlerResult {
    write_help(find(b"object").expect("it has a row"), &mut call.reply);
    Ok(())
}

const OBJECT: Doc =
    Doc::new(Group::Generic, "2.2.3", "Depends on the subcommand", "Holds the commands on how values are kept.");

const ENCODING: Doc =
    Doc::new(Group::Generic, "2.2.3", "O(1)", "Names the form in which a value is kept.").arguments(&[DocArg::KEY]);

const FREQ: Doc = Doc::new(Group::Generic, "4.0.0", "O(1)", "Tells how often a key is used, as a logarithm.")
    .arguments(&[DocArg::KEY]);

const IDLETIME: Doc =
    Doc::new(Group::Generic, "2.2.3", "O(1)", "Tells the seconds since a key was used.").arguments(&[DocArg::KEY]);

const REFCOUNT: Doc =
    Doc::new(Group::Generic, "2.2.3", "O(1)", "Tells how many share the value of a key.").arguments(&[DocArg::KEY]);

const HELP: Doc = Doc::new(Group::Generic, "6.2.0", "O(1)", "Shows how OBJECT is used.");

#[cfg(test)]
mod tests {
    use crate::family::testing::Fixture;
    use slotmesh_keyspace::{Access, AccessPolicy};

    #[test]
    fn idle_time_is_that_since_the_last_use() {
        Fixture::new().script(&[
            ("SET a 1", "+OK"),
            ("RPUSH l x", ":1"),
            ("@5000", ""),
            ("OBJECT IDLETIME a", ":5"),
            ("TTL a", ":-1"),
            ("TYPE a", "+string"),
            ("EXISTS a", ":1"),
            ("OBJECT IDLETIME a", ":5"),
            ("RENAME a b", "+OK"),
            ("OBJECT IDLETIME b", ":0"),
            ("@7000", ""),
            ("COPY l m", ":1"),
            ("OBJECT IDLETIME m", ":0"),
            ("OBJECT IDLETIME b", ":7"),
            ("GET b", "$1 1"),
            ("OBJECT IDLETIME b", ":0"),
            ("@2000", ""),
            ("INCR b", ":2"),
            ("LPUSH l x", ":2"),
            ("OBJECT IDLETIME b", ":0"),
            ("OBJECT IDLETIME l", ":0"),
            ("OBJECT IDLETIME nosuch", "$-1"),
            ("OBJECT FREQ nosuch", "$-1"),
            (
                "OBJECT FREQ b",
                "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                 switching between policies at runtime LRU and LFU data will take some time to adjust.",
            ),
        ]);
    }

    #[test]
    fn frequency_counts_from_five() {
        let mut fixture = Fixture::new();
        fixture.limits.access.policy = AccessPolicy::Frequency { log_factor: 0, decay_minutes: 1 };
        fixture.script(&[
            ("SET a 1", "+OK"),
            ("OBJECT FREQ a", ":5"),
            ("GET a", "$1 1"),
            ("SET a 2", "+OK"),
            ("INCR a", ":3"),
            ("OBJECT FREQ a", ":8"),
            ("@120000", ""),
            ("OBJECT FREQ a", ":6"),
            (
                "OBJECT IDLETIME a",
                "-ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching \
                 between policies at runtime LRU and LFU data will take some time to adjust.",
            ),
        ]);
    }

    #[test]
    fn who_leaves_no_traces_can_still_touch() {
        let mut fixture = Fixture::new();
        fixture.script(&[("SET a 1", "+OK")]);
        fixture.limits.access = Access { touches: false, ..Access::default() };
        fixture.script(&[
            ("@9000", ""),
            ("GET a", "$1 1"),
            ("SET b 1", "+OK"),
            ("OBJECT IDLETIME a", ":9"),
            ("OBJECT IDLETIME b", ":0"),
            ("TOUCH a", ":1"),
            ("OBJECT IDLETIME a", ":0"),
        ]);
    }

    #[test]
    fn small_integers_are_shared() {
        let mut fixture = Fixture::new();
        fixture.script(&[
            ("MSET a 0 b 9999 c 10000 d x e -1", "+OK"),
            ("OBJECT REFCOUNT a", ":2147483647"),
            ("OBJECT REFCOUNT b", ":2147483647"),
            ("OBJECT REFCOUNT c", ":1"),
            ("OBJECT REFCOUNT d", ":1"),
            ("OBJECT REFCOUNT e", ":1"),
            ("SETRANGE a 0 1", ":1"),
            ("OBJECT REFCOUNT a", ":1"),
            ("OBJECT REFCOUNT nosuch", "$-1"),
        ]);
        fixture.limits.shares_integers = false;
        fixture.script(&[("OBJECT REFCOUNT b", ":1")]);
    }
}
