//! When keys expire: EXPIRE and its kin, TTL, PERSIST.
//!
//! Mirrors Redis 7.2 `expire.c`.

use crate::{
    Call, Categories, Doc, DocArg, DocKind, Flags, Group, HandlerResult, IntegerText, KeyFlags, KeySpec, Reach, Spec,
    Tips, parse_integer,
};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_keyspace::Expiry;

const KEYSPACE: Categories = Categories::KEYSPACE;
const READ_FAST: Flags = Flags::READONLY.union(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.union(Flags::FAST);
const ONE_READ: &[KeySpec] = &[KeySpec::one(KeyFlags::RO.union(KeyFlags::ACCESS))];
const ONE_UPDATE: &[KeySpec] = &[KeySpec::one(KeyFlags::RW.union(KeyFlags::UPDATE))];

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("expire", -3, WRITE_FAST, KEYSPACE, Reach::Slot(expire), EXPIRE).keys(ONE_UPDATE),
    Spec::new("expireat", -3, WRITE_FAST, KEYSPACE, Reach::Slot(expireat), EXPIREAT).keys(ONE_UPDATE),
    Spec::new("expiretime", 2, READ_FAST, KEYSPACE, Reach::Slot(expiretime), EXPIRETIME).keys(ONE_READ),
    Spec::new("persist", 2, WRITE_FAST, KEYSPACE, Reach::Slot(persist), PERSIST).keys(ONE_UPDATE),
    Spec::new("pexpire", -3, WRITE_FAST, KEYSPACE, Reach::Slot(pexpire), PEXPIRE).keys(ONE_UPDATE),
    Spec::new("pexpireat", -3, WRITE_FAST, KEYSPACE, Reach::Slot(pexpireat), PEXPIREAT).keys(ONE_UPDATE),
    Spec::new("pexpiretime", 2, READ_FAST, KEYSPACE, Reach::Slot(pexpiretime), PEXPIRETIME).keys(ONE_READ),
    Spec::new("pttl", 2, READ_FAST, KEYSPACE, Reach::Slot(pttl), PTTL)
        .keys(ONE_READ)
        .tips(Tips::NONE.nondeterministic()),
    Spec::new("ttl", 2, READ_FAST, KEYSPACE, Reach::Slot(ttl), TTL).keys(ONE_READ).tips(Tips::NONE.nondeterministic()),
];

fn expire(call: &mut Call<'_>) -> HandlerResult {
    set_expiry(call, "expire", SECONDS, call.now)
}

fn pexpire(call: &mut Call<'_>) -> HandlerResult {
    set_expiry(call, "pexpire", MILLISECONDS, call.now)
}

fn expireat(call: &mut Call<'_>) -> HandlerResult {
    set_expiry(call, "expireat", SECONDS, EPOCH)
}

fn pexpireat(call: &mut Call<'_>) -> HandlerResult {
    set_expiry(call, "pexpireat", MILLISECONDS, EPOCH)
}

fn ttl(call: &mut Call<'_>) -> HandlerResult {
    let now = call.now;
    reply_expiry(call, |when| to_seconds(left(when, now)))
}

fn pttl(call: &mut Call<'_>) -> HandlerResult {
    let now = call.now;
    reply_expiry(call, |when| left(when, now))
}

fn expiretime(call: &mut Call<'_>) -> HandlerResult {
    reply_expiry(call, |when| to_seconds(when.0))
}

fn pexpiretime(call: &mut Call<'_>) -> HandlerResult {
    reply_expiry(call, |when| when.0)
}

fn persist(call: &mut Call<'_>) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    let db = call.db();
    let expires = db.get(&key, now).is_some_and(|entry| entry.expires_at.is_some());
    if expires {
        db.set_expiry(&key, Expiry::Never);
        call.replay(1);
    }
    call.reply.integer(i64::from(expires));
    Ok(())
}

/// Milliseconds of a unit.
const SECONDS: i64 = 1000;
const MILLISECONDS: i64 = 1;
const EPOCH: UnixMillis = UnixMillis(0);

/// EXPIRE and its kin: a time that has passed removes the key. Options are looked at before the number, the
/// number before the key, as in Redis's `expireGenericCommand`.
fn set_expiry(call: &mut Call<'_>, command: &'static str, unit: i64, base: UnixMillis) -> HandlerResult {
    let condition = match Condition::parse(call) {
        Ok(condition) => condition?,
        Err(option) => {
            // A C string in Redis.
            let shown = option.split(|&byte| byte == 0).next().unwrap_or_default();
            call.reply.error_text(&[b"ERR Unsupported option ", shown].concat());
            return Ok(());
        }
    };
    let number = parse_integer(call.args.at(2))?;
    let when = number
        .checked_mul(unit)
        .and_then(|millis| millis.checked_add(base.0))
        .map(UnixMillis)
        .ok_or(ReplyError::InvalidExpire(command))?;

    let (key, now) = (call.key(1), call.now);
    let db = call.db();
    let changes = db.get(&key, now).is_some_and(|entry| condition.allows(entry.expires_at, when));
    if changes && when <= now {
        db.remove(&key, now);
        call.effect(&key, &[b"DEL", key.bytes]);
    } else if changes {
        db.set_expiry(&key, Expiry::At(when));
        if call.records() {
            call.effect(&key, &[b"PEXPIREAT", key.bytes, IntegerText::new(when.0).as_bytes()]);
        }
    }
    call.count_changes(usize::from(changes));
    call.reply.integer(i64::from(changes));
    Ok(())
}

/// When EXPIRE changes an expiry. A key without one counts as living for ever.
#[derive(Clone, Copy, Default)]
struct Condition {
    absent: bool,
    present: bool,
    later: bool,
    earlier: bool,
}

impl Condition {
    /// The options of a request; the outer error is one that is unknown, the inner one options that exclude each
    /// other.
    fn parse<'c>(call: &Call<'c>) -> Result<Result<Self, ReplyError>, &'c [u8]> {
        let mut condition = Self::default();
        for word in call.args.iter_from(3) {
            let option = if word.eq_ignore_ascii_case(b"nx") {
                &mut condition.absent
            } else if word.eq_ignore_ascii_case(b"xx") {
                &mut condition.present
            } else if word.eq_ignore_ascii_case(b"gt") {
                &mut condition.later
            } else if word.eq_ignore_ascii_case(b"lt") {
                &mut condition.earlier
            } else {
                return Err(word);
            };
            *option = true;
        }
        let Self { absent, present, later, earlier } = condition;
        Ok(if absent && (present || later || earlier) {
            Err(ReplyError::ExpireNxConflict)
        } else if later && earlier {
            Err(ReplyError::ExpireGtLtConflict)
        } else {
            Ok(condition)
        })
    }

    fn allows(self, old: Option<UnixMillis>, new: UnixMillis) -> bool {
        match old {
            None => !self.present && !self.later,
            Some(old) => !self.absent && (!self.later || new > old) && (!self.earlier || new < old),
        }
    }
}

/// Answers with what `shown` makes of the key's expiry: −1 if it has none, −2 if there is no key.
fn reply_expiry(call: &mut Call<'_>, shown: impl Fn(UnixMillis) -> i64) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    let expiry = call.db().look(&key, now).map(|entry| entry.expires_at);
    call.count_read(expiry.is_some());
    call.reply.integer(match expiry {
        None => -2,
        Some(None) => -1,
        Some(Some(when)) => shown(when),
    });
    Ok(())
}

fn left(when: UnixMillis, now: UnixMillis) -> i64 {
    when.0.saturating_sub(now.0).max(0)
}

/// Rounded to the nearest second, as Redis does.
fn to_seconds(millis: i64) -> i64 {
    millis.saturating_add(500) / 1000
}

const fn doc(since: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Generic, since, "O(1)", summary)
}

const CONDITION: DocArg = DocArg::one_of(
    "condition",
    &[DocArg::word("nx", "NX"), DocArg::word("xx", "XX"), DocArg::word("gt", "GT"), DocArg::word("lt", "LT")],
)
.optional()
.since("7.0.0");

const CONDITION_HISTORY: &[(&str, &str)] = &[("7.0.0", "New options `NX`, `XX`, `GT`, `LT`.")];

const EXPIRE: Doc = doc("1.0.0", "Lets a key expire after some seconds.")
    .arguments(&[DocArg::KEY, DocArg::new("seconds", DocKind::Integer), CONDITION])
    .history(CONDITION_HISTORY);

const EXPIREAT: Doc = doc("1.2.0", "Lets a key expire at a Unix time in seconds.")
    .arguments(&[DocArg::KEY, DocArg::new("unix-time-seconds", DocKind::UnixTime), CONDITION])
    .history(CONDITION_HISTORY);

const EXPIRETIME: Doc = doc("7.0.0", "Tells at which Unix time in seconds a key expires.").arguments(&[DocArg::KEY]);

const PERSIST: Doc = doc("2.2.0", "Lets a key live for ever.").arguments(&[DocArg::KEY]);

const PEXPIRE: Doc = doc("2.6.0", "Lets a key expire after some milliseconds.")
    .arguments(&[DocArg::KEY, DocArg::new("milliseconds", DocKind::Integer), CONDITION])
    .history(CONDITION_HISTORY);

const PEXPIREAT: Doc = doc("2.6.0", "Lets a key expire at a Unix time in milliseconds.")
    .arguments(&[DocArg::KEY, DocArg::new("unix-time-milliseconds", DocKind::UnixTime), CONDITION])
    .history(CONDITION_HISTORY);

const PEXPIRETIME: Doc =
    doc("7.0.0", "Tells at which Unix time in milliseconds a key expires.").arguments(&[DocArg::KEY]);

const TTL_HISTORY: &[(&str, &str)] = &[("2.8.0", "New reply -2.")];

const PTTL: Doc =
    doc("2.6.0", "Tells how many milliseconds a key has left to live.").arguments(&[DocArg::KEY]).history(TTL_HISTORY);

const TTL: Doc =
    doc("1.0.0", "Tells how many seconds a key has left to live.").arguments(&[DocArg::KEY]).history(TTL_HISTORY);

#[cfg(test)]
mod tests {
    use crate::family::testing::Fixture;

    const NOT_COMPATIBLE: &str = "-ERR NX and XX, GT or LT options at the same time are not compatible";

    #[test]
    fn lifetimes_in_every_unit() {
        Fixture::new().script(&[
            ("EXPIRE a 10", ":0"),
            ("TTL a", ":-2"),
            ("SET a 1", "+OK"),
            ("TTL a", ":-1"),
            ("PTTL a", ":-1"),
            ("EXPIRETIME a", ":-1"),
            ("EXPIRE a 10", ":1"),
            ("TTL a", ":10"),
            ("PEXPIRE a 1499", ":1"),
            ("TTL a", ":1"),
            ("PEXPIRE a 1500", ":1"),
            ("TTL a", ":2"),
            ("PTTL a", ":1500"),
            ("PEXPIRETIME a", ":1700000001500"),
            ("EXPIRETIME a", ":1700000002"),
            ("EXPIREAT a 1700000009", ":1"),
            ("PTTL a", ":9000"),
            ("PEXPIREAT a 1700000000001", ":1"),
            ("PTTL a", ":1"),
            ("PERSIST a", ":1"),
            ("PERSIST a", ":0"),
            ("PERSIST b", ":0"),
            ("GET a", "$1 1"),
            ("PEXPIRE a 5", ":1"),
            ("@5", ""),
            ("GET a", "$1 1"),
            ("PTTL a", ":0"),
            ("@1", ""),
            ("GET a", "$-1"),
        ]);
    }

    #[test]
    fn a_time_that_has_passed_removes_the_key() {
        for request in ["EXPIRE a 0", "EXPIRE a -1", "PEXPIRE a -9223372036854775808", "EXPIREAT a 1", "PEXPIREAT a 0"]
        {
            let mut fixture = Fixture::new();
            fixture.script(&[("SET a 1", "+OK"), (request, ":1"), ("DBSIZE", ":0"), (request, ":0")]);
        }
    }

    #[test]
    fn conditions() {
        Fixture::new().script(&[
            ("SET a 1", "+OK"),
            ("EXPIRE a 10 XX", ":0"),
            ("EXPIRE a 10 GT", ":0"),
            ("TTL a", ":-1"),
            ("EXPIRE a 10 nx", ":1"),
            ("EXPIRE a 20 NX", ":0"),
            ("EXPIRE a 10 GT", ":0"),
            ("EXPIRE a 10 LT", ":0"),
            ("EXPIRE a 20 GT", ":1"),
            ("EXPIRE a 15 XX LT", ":1"),
            ("TTL a", ":15"),
            ("PERSIST a", ":1"),
            ("EXPIRE a 5 XX LT", ":0"),
            ("EXPIRE a 5 LT", ":1"),
            ("EXPIRE a 0 GT", ":0"),
            ("TTL a", ":5"),
            ("EXPIRE a 1 NX XX", NOT_COMPATIBLE),
            ("EXPIRE a 1 GT NX", NOT_COMPATIBLE),
            ("EXPIRE a 1 NX GT LT", NOT_COMPATIBLE),
            ("EXPIRE a 1 LT GT", "-ERR GT and LT options at the same time are not compatible"),
        ]);
    }

    #[test]
    fn options_are_judged_before_the_number_and_the_number_before_the_key() {
        Fixture::new().script(&[
            ("EXPIRE nokey x FOO", "-ERR Unsupported option FOO"),
            ("EXPIRE nokey x FO\0O", "-ERR Unsupported option FO"),
            ("EXPIRE nokey x NX XX", NOT_COMPATIBLE),
            ("EXPIRE nokey x", "-ERR value is not an integer or out of range"),
            ("EXPIRE nokey 9223372036854775807", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE nokey 9223372036854775", "-ERR invalid expire time in 'expire' command"),
            ("EXPIRE nokey -9223372036854776", "-ERR invalid expire time in 'expire' command"),
            ("PEXPIRE nokey 9223372036854775807", "-ERR invalid expire time in 'pexpire' command"),
            ("EXPIREAT nokey 9223372036854776", "-ERR invalid expire time in 'expireat' command"),
            ("PEXPIREAT nokey 9223372036854775807", ":0"),
            ("EXPIREAT nokey 9223372036854775", ":0"),
        ]);
    }

    #[test]
    fn effects_name_absolute_times() {
        Fixture::new().recording().effects_script(&[
            ("EXPIRE a 10", ":0", ""),
            ("SET a 1", "+OK", "SET a 1"),
            ("PERSIST a", ":0", ""),
            ("EXPIRE a 10", ":1", "PEXPIREAT a 1700000010000"),
            ("PEXPIRE a 10 GT", ":0", ""),
            ("PEXPIRE a 10 LT", ":1", "PEXPIREAT a 1700000000010"),
            ("EXPIREAT a 1700000001", ":1", "PEXPIREAT a 1700000001000"),
            ("PEXPIREAT a 1700000001", ":1", "DEL a"),
            ("SET a 1 PX 1", "+OK", "SET a 1 PXAT 1700000000001"),
            ("PERSIST a", ":1", "PERSIST a"),
            ("EXPIRE a -1", ":1", "DEL a"),
            ("EXPIRE a -1", ":0", ""),
            ("SET a 1 PX 1", "+OK", "SET a 1 PXAT 1700000000001"),
            ("@2", "", ""),
            ("EXPIRE a 10", ":0", "DEL a"),
        ]);
    }
}
