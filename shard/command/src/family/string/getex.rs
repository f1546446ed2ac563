//! GETEX: a read that changes when the key expires.

use super::set::Lifetime;
use super::{doc, string};
use crate::{Call, Doc, DocArg, DocKind, HandlerResult, IntegerText, KeyFlags, KeySpec};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_keyspace::Expiry;
use slotmesh_resp::Args;

pub(super) const KEYS: &[KeySpec] = &[KeySpec {
    notes: Some("it changes only when the key expires, hence RW and UPDATE"),
    ..KeySpec::one(KeyFlags::RW.union(KeyFlags::ACCESS).union(KeyFlags::UPDATE))
}];

pub(super) const DOC: Doc = doc("6.2.0", "O(1)", "Reads the string under a key and changes when the key expires.")
    .arguments(&[
        DocArg::KEY,
        DocArg::one_of(
            "expiration",
            &[
                DocArg::new("seconds", DocKind::Integer).token("EX"),
                DocArg::new("milliseconds", DocKind::Integer).token("PX"),
                DocArg::new("unix-time-seconds", DocKind::UnixTime).token("EXAT"),
                DocArg::new("unix-time-milliseconds", DocKind::UnixTime).token("PXAT"),
                DocArg::word("persist", "PERSIST"),
            ],
        )
        .optional(),
    ]);

pub(super) fn getex(call: &mut Call<'_>) -> HandlerResult {
    let lifetime = parse(call.args)?;
    let (key, now) = (call.key(1), call.now);
    let db = call.keyspace.db(call.db);
    let Some(entry) = db.get(&key, now) else {
        call.reply.null();
        call.count_read(false);
        return Ok(());
    };
    let expires = entry.expires_at.is_some();
    let shown = string(entry.value).and_then(|value| {
        let expiry = lifetime.map(|lifetime| lifetime.expiry("getex", now)).transpose()?;
        call.reply.bulk(value);
        Ok(expiry)
    });
    call.count_read(true);
    match (shown?, lifetime) {
        (Some(Expiry::At(when)), Some(lifetime)) if when <= now && lifetime.is_absolute() => {
            call.db().remove(&key, now);
            call.count_changes(1);
            call.effect(&key, &[b"DEL", key.bytes]);
        }
        (Some(Expiry::At(when)), _) => {
            call.db().set_expiry(&key, Expiry::At(when));
            let UnixMillis(when) = when;
            call.count_changes(1);
            call.effect(&key, &[b"PEXPIREAT", key.bytes, IntegerText::new(when).as_bytes()]);
        }
        (Some(Expiry::Never), _) if expires => {
            call.db().set_expiry(&key, Expiry::Never);
            call.count_changes(1);
            call.effect(&key, &[b"PERSIST", key.bytes]);
        }
        _ => {}
    }
    Ok(())
}

/// What the last option says; none excludes another but itself.
fn parse(args: Args<'_>) -> Result<Option<Lifetime<'_>>, ReplyError> {
    let mut chosen: Option<Lifetime<'_>> = None;
    let mut words = args.iter_from(2);
    while let Some(word) = words.next() {
        let lifetime = if word.eq_ignore_ascii_case(b"persist") {
            Lifetime::Endless
        } else {
            Lifetime::parse(word, &mut words)
                .filter(|lifetime| *lifetime != Lifetime::Kept)
                .ok_or(ReplyError::Syntax)?
        };
        let fits = match chosen {
            None => true,
            Some(Lifetime::Endless) => lifetime == Lifetime::Endless,
            Some(chosen) => chosen.gives_way_to(&lifetime),
        };
        if !fits {
            return Err(ReplyError::Syntax);
        }
        chosen = Some(lifetime);
    }
    Ok(chosen)
}
