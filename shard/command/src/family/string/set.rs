//! SET with its options, and its older forms SETNX, SETEX, PSETEX.

use super::{doc, string};
use crate::{Call, Doc, DocArg, DocKind, HandlerResult, IntegerText, KeyFlags, KeySpec, parse_integer};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_keyspace::{Expiry, Key};
use slotmesh_resp::Args;

pub(super) const KEYS: &[KeySpec] = &[KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))
    .variable(key_flags, "RW and ACCESS only with the `GET` option")];

pub(super) const DOC: Doc = doc("1.0.0", "O(1)", "Stores a string under a key, whatever was there before.")
    .arguments(&[
        DocArg::KEY,
        DocArg::VALUE,
        DocArg::one_of("condition", &[DocArg::word("nx", "NX"), DocArg::word("xx", "XX")]).optional().since("2.6.12"),
        DocArg::word("get", "GET").optional().since("6.2.0"),
        DocArg::one_of(
            "expiration",
            &[
                DocArg::new("seconds", DocKind::Integer).token("EX").since("2.6.12"),
                DocArg::new("milliseconds", DocKind::Integer).token("PX").since("2.6.12"),
                DocArg::new("unix-time-seconds", DocKind::UnixTime).token("EXAT").since("6.2.0"),
                DocArg::new("unix-time-milliseconds", DocKind::UnixTime).token("PXAT").since("6.2.0"),
                DocArg::word("keepttl", "KEEPTTL").since("6.0.0"),
            ],
        )
        .optional(),
    ])
    .history(&[
        ("2.6.12", "New options `EX`, `PX`, `NX`, `XX`."),
        ("6.0.0", "New option `KEEPTTL`."),
        ("6.2.0", "New options `GET`, `EXAT`, `PXAT`."),
        ("7.0.0", "`NX` and `GET` go together."),
    ]);

pub(super) fn set(call: &mut Call<'_>) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    if call.args.len() == 3 {
        let value = call.args.at(2);
        call.db().put_string(&key, value, Expiry::Never, now);
        call.reply.ok();
        call.replay(1);
        return Ok(());
    }
    let options = Options::parse(call.args)?;
    let expiry = options.lifetime.expiry("set", now)?;
    set_with(call, &key, &options, expiry)
}

/// Whether a SET neither looks at what was there nor answers with it.
pub(super) fn only_stores(args: Args<'_>) -> bool {
    let looks = |word: &[u8]| [&b"NX"[..], b"XX", b"GET"].iter().any(|option| word.eq_ignore_ascii_case(option));
    !args.iter_from(3).any(looks)
}

pub(super) fn setnx(call: &mut Call<'_>) -> HandlerResult {
    let (key, value, now) = (call.key(1), call.args.at(2), call.now);
    let db = call.db();
    let absent = db.get(&key, now).is_none();
    if absent {
        db.put_string(&key, value, Expiry::Never, now);
        call.replay(1);
    }
    call.reply.integer(i64::from(absent));
    Ok(())
}

pub(super) fn setex(call: &mut Call<'_>) -> HandlerResult {
    set_expiring(call, Unit::Seconds, "setex")
}

pub(super) fn psetex(call: &mut Call<'_>) -> HandlerResult {
    set_expiring(call, Unit::Milliseconds, "psetex")
}

fn set_expiring(call: &mut Call<'_>, unit: Unit, command: &'static str) -> HandlerResult {
    let lifetime = Lifetime::Given { number: call.args.at(2), unit, relative: true };
    let (key, value, now) = (call.key(1), call.args.at(3), call.now);
    let expiry = lifetime.expiry(command, now)?;
    call.db().put_string(&key, value, expiry, now);
    note_set(call, &key, value, expiry);
    call.reply.ok();
    Ok(())
}

fn set_with(call: &mut Call<'_>, key: &Key<'_>, options: &Options<'_>, expiry: Expiry) -> HandlerResult {
    let now = call.now;
    let db = call.keyspace.db(call.db);
    let looks = options.get || options.condition != Condition::Always;
    let old = if looks { db.get(key, now) } else { None };
    let found = old.is_some();
    if options.get {
        match old {
            Some(entry) => call.reply.bulk(string(entry.value)?),
            None => call.reply.null(),
        }
    }
    let wanted = match options.condition {
        Condition::Always => true,
        Condition::Absent => !found,
        Condition::Present => found,
    };
    let has_passed = matches!(expiry, Expiry::At(when) if when < now);
    if wanted && has_passed {
        // What would be stored has expired already.
        if db.remove(key, now) {
            call.effect(key, &[b"DEL", key.bytes]);
        }
        call.count_changes(1);
    } else if wanted {
        let value = call.args.at(2);
        db.put_string(key, value, expiry, now);
        note_set(call, key, value, expiry);
    }
    match (options.get, wanted) {
        (true, _) => call.count_read(found),
        (false, true) => call.reply.ok(),
        (false, false) => call.reply.null(),
    }
    Ok(())
}

/// The effect of having stored a string: what was asked about the old one does not matter any more.
fn note_set(call: &mut Call<'_>, key: &Key<'_>, value: &[u8], expiry: Expiry) {
    call.count_changes(1);
    if !call.records() {
        return;
    }
    match expiry {
        Expiry::Never => call.effect(key, &[b"SET", key.bytes, value]),
        Expiry::Keep => call.effect(key, &[b"SET", key.bytes, value, b"KEEPTTL"]),
        Expiry::At(UnixMillis(when)) => {
            call.effect(key, &[b"SET", key.bytes, value, b"PXAT", IntegerText::new(when).as_bytes()]);
        }
    }
}

/// With GET, SET reads the key; without, it does not look at it.
fn key_flags(args: Args<'_>) -> KeyFlags {
    let get = args.iter_from(3).any(|word| word.eq_ignore_ascii_case(b"get"));
    let kind = if get { KeyFlags::RW | KeyFlags::ACCESS } else { KeyFlags::OW };
    kind | KeyFlags::UPDATE
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    Absent,
    Present,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Milliseconds,
}

/// How long the new value lives.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lifetime<'a> {
    Endless,
    Kept,
    Given { number: &'a [u8], unit: Unit, relative: bool },
}

struct Options<'a> {
    condition: Condition,
    get: bool,
    lifetime: Lifetime<'a>,
}

impl<'a> Options<'a> {
    /// Options in any order; each may be repeated (the last one counts), but NX excludes XX, and the five ways to
    /// give a lifetime exclude each other (Redis: `parseExtendedStringArgumentsOrReply`).
    fn parse(args: Args<'a>) -> Result<Self, ReplyError> {
        let mut options = Self { condition: Condition::Always, get: false, lifetime: Lifetime::Endless };
        let mut words = args.iter_from(3);
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"nx") && options.condition != Condition::Present {
                options.condition = Condition::Absent;
            } else if word.eq_ignore_ascii_case(b"xx") && options.condition != Condition::Absent {
                options.condition = Condition::Present;
            } else if word.eq_ignore_ascii_case(b"get") {
                options.get = true;
            } else {
                let lifetime = Lifetime::parse(word, &mut words).ok_or(ReplyError::Syntax)?;
                if !options.lifetime.gives_way_to(&lifetime) {
                    return Err(ReplyError::Syntax);
                }
                options.lifetime = lifetime;
            }
        }
        Ok(options)
    }
}

impl<'a> Lifetime<'a> {
    pub(super) fn parse(word: &[u8], words: &mut impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        let (unit, relative) = if is(b"ex") {
            (Unit::Seconds, true)
        } else if is(b"px") {
            (Unit::Milliseconds, true)
        } else if is(b"exat") {
            (Unit::Seconds, false)
        } else if is(b"pxat") {
            (Unit::Milliseconds, false)
        } else if is(b"keepttl") {
            return Some(Self::Kept);
        } else {
            return None;
        };
        Some(Self::Given { number: words.next()?, unit, relative })
    }

    /// Whether an option of this kind may be followed by `other`.
    pub(super) fn gives_way_to(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Endless, _) | (Self::Kept, Self::Kept) => true,
            (Self::Given { unit, relative, .. }, Self::Given { unit: other_unit, relative: other_relative, .. }) => {
                unit == other_unit && relative == other_relative
            }
            _ => false,
        }
    }

    /// Whether it is given as a point in time.
    pub(super) fn is_absolute(&self) -> bool {
        matches!(self, Self::Given { relative: false, .. })
    }

    /// The expiry to store.
    ///
    /// # Errors
    /// `NotAnInteger`, or `InvalidExpire` for what is not positive or overflows (Redis:
    /// `getExpireMillisecondsOrReply`).
    pub(super) fn expiry(&self, command: &'static str, now: UnixMillis) -> Result<Expiry, ReplyError> {
        let (number, unit, relative) = match *self {
            Self::Endless => return Ok(Expiry::Never),
            Self::Kept => return Ok(Expiry::Keep),
            Self::Given { number, unit, relative } => (number, unit, relative),
        };
        let number = parse_integer(number)?;
        let factor = if unit == Unit::Seconds { 1000 } else { 1 };
        let base = if relative { now.0 } else { 0 };
        let when = number.checked_mul(factor).and_then(|millis| millis.checked_add(base));
        match when {
            Some(when) if number > 0 && when > 0 => Ok(Expiry::At(UnixMillis(when))),
            _ => Err(ReplyError::InvalidExpire(command)),
        }
    }
}
