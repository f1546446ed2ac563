//! DUMP, RESTORE and RESTORE-ASKING: values as bytes.
//!
//! Mirrors Redis 7.2 `cluster.c`.

use super::doc;
use crate::{Call, Doc, DocArg, DocKind, Group, HandlerResult, IntegerText, parse_integer};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_keyspace::{LastUse, Loose};
use slotmesh_rdb::{Dumper, RestoreError};
use slotmesh_resp::Args;

/// DUMP.
pub(super) fn dump(call: &mut Call<'_>) -> HandlerResult {
    let (key, now) = (call.key(1), call.now);
    let entry = call.keyspace.db(call.db).get(&key, now);
    let found = entry.is_some();
    match entry {
        None => call.reply.null(),
        Some(entry) => {
            let mut payload = Vec::new();
            Dumper::new(call.limits.compresses).dump(&mut payload, entry.value);
            call.reply.bulk(&payload);
        }
    }
    call.count_read(found);
    Ok(())
}

/// RESTORE, and RESTORE-ASKING, which differs for those who say where it may run.
pub(super) fn restore(call: &mut Call<'_>) -> HandlerResult {
    let options = Options::parse(call.args)?;
    let (key, now) = (call.key(1), call.now);
    if !options.replaces && call.db().get(&key, now).is_some() {
        return Err(ReplyError::BusyKey);
    }
    let ttl = parse_integer(call.args.at(2))?;
    if ttl < 0 {
        return Err(ReplyError::InvalidTtl);
    }
    let value = slotmesh_rdb::restore(call.args.at(3), call.limits.string_bytes_max, call.limits.list_packed);
    let value = value.map_err(|error| match error {
        RestoreError::Footer => ReplyError::DumpFooter,
        RestoreError::Body => ReplyError::DumpBody,
    })?;
    // As in Redis, what is beyond all times comes round to one that is over.
    let when = if options.is_absolute { ttl } else { ttl.wrapping_add(now.0) };
    let expires_at = (ttl != 0).then_some(UnixMillis(when));
    if expires_at.is_some_and(|at| at <= now) {
        if options.replaces && call.db().remove(&key, now) {
            call.count_changes(1);
            call.effect(&key, &[b"DEL", key.bytes]);
        }
    } else {
        call.db().put(&key, Loose::new(value, expires_at).used(options.last_use), now);
        if ttl == 0 || options.is_absolute {
            call.replay(1);
        } else {
            call.count_changes(1);
            note_restored(call, when);
        }
    }
    call.reply.ok();
    Ok(())
}

/// The effect of a request with a relative time: the same with the absolute one.
fn note_restored(call: &mut Call<'_>, expires_at: i64) {
    if !call.records() {
        return;
    }
    let (key, when) = (call.key(1), IntegerText::new(expires_at));
    let mut words: Vec<&[u8]> = call.args.iter_from(0).collect();
    words[2] = when.as_bytes();
    words.push(b"ABSTTL");
    call.effect(&key, &words);
}

/// What a RESTORE asks for behind the payload.
#[derive(Default)]
struct Options {
    replaces: bool,
    is_absolute: bool,
    last_use: Option<LastUse>,
}

impl Options {
    /// Reads the options; one of IDLETIME and FREQ may be given, also several times.
    fn parse(args: Args<'_>) -> Result<Self, ReplyError> {
        let mut options = Self::default();
        let mut words = args.iter_from(4);
        while let Some(word) = words.next() {
            if word.eq_ignore_ascii_case(b"replace") {
                options.replaces = true;
            } else if word.eq_ignore_ascii_case(b"absttl") {
                options.is_absolute = true;
            } else if word.eq_ignore_ascii_case(b"idletime") && !matches!(options.last_use, Some(LastUse::Frequency(_)))
            {
                let seconds = parse_integer(words.next().ok_or(ReplyError::Syntax)?)?;
                let seconds = u64::try_from(seconds).map_err(|_| ReplyError::InvalidIdleTime)?;
                options.last_use = Some(LastUse::Idle(seconds));
            } else if word.eq_ignore_ascii_case(b"freq") && !matches!(options.last_use, Some(LastUse::Idle(_))) {
                let counter = parse_integer(words.next().ok_or(ReplyError::Syntax)?)?;
                let counter = u8::try_from(counter).map_err(|_| ReplyError::InvalidFrequency)?;
                options.last_use = Some(LastUse::Frequency(counter));
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        Ok(options)
    }
}

pub(super) const DUMP: Doc = doc(
    "2.6.0",
    "O(1) for a short string; O(N) for N bytes of a value",
    "Gives what a key holds as bytes that RESTORE takes.",
)
.arguments(&[DocArg::KEY]);

const RESTORE_COMPLEXITY: &str = "O(1) for a short string; O(N) for N bytes of a value";
const RESTORE_ARGUMENTS: &[DocArg] = &[
    DocArg::KEY,
    DocArg::new("ttl", DocKind::Integer),
    DocArg::new("serialized-value", DocKind::String),
    DocArg::word("replace", "REPLACE").optional().since("3.0.0"),
    DocArg::word("absttl", "ABSTTL").optional().since("5.0.0"),
    DocArg::new("seconds", DocKind::Integer).token("IDLETIME").optional().since("5.0.0"),
    DocArg::new("frequency", DocKind::Integer).token("FREQ").optional().since("5.0.0"),
];
const RESTORE_HISTORY: &[(&str, &str)] =
    &[("3.0.0", "New option `REPLACE`."), ("5.0.0", "New options `ABSTTL`, `IDLETIME`, `FREQ`.")];

pub(super) const RESTORE: Doc = doc("2.6.0", RESTORE_COMPLEXITY, "Makes a key of bytes that DUMP has given.")
    .arguments(RESTORE_ARGUMENTS)
    .history(RESTORE_HISTORY);

pub(super) const RESTORE_ASKING: Doc =
    Doc::new(Group::Server, "3.0.0", RESTORE_COMPLEXITY, "RESTORE into a slot that is being moved here.")
        .arguments(RESTORE_ARGUMENTS)
        .history(RESTORE_HISTORY)
        .system();

#[cfg(test)]
mod tests;
