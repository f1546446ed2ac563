//! COPY and MOVE: values under another key, or in another database.

use super::doc;
use crate::{Call, Doc, DocArg, DocKind, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;

pub(super) fn copy(call: &mut Call<'_>) -> HandlerResult {
    let (target_db, replaces) = copy_options(call)?;
    if call.is_node && target_db != call.db {
        return Err(ReplyError::CopyNotInClusterMode);
    }
    let (source, target, now) = (call.key(1), call.key(2), call.now);
    if target_db == call.db && source.bytes == target.bytes {
        return Err(ReplyError::SameObject);
    }
    let found = call.db_of(&source).get(&source, now).is_some();
    call.count_read(found);
    let wanted = found && (call.db_at(target_db, &target).get(&target, now).is_none() || replaces);
    if wanted {
        let value = call.db_of(&source).duplicate(&source, now).expect("the key was there");
        call.db_at(target_db, &target).put(&target, value, now);
        if call.are_together(&source, &target) {
            call.replay_on(&source, 1);
        } else {
            call.count_changes(1);
            call.effect_recreate(target_db, &target);
        }
    }
    call.reply.integer(i64::from(wanted));
    Ok(())
}

/// The database to copy to, and whether what is there may be replaced. The last DB counts, but each must be one.
fn copy_options(call: &Call<'_>) -> Result<(usize, bool), ReplyError> {
    let (mut db, mut replaces) = (call.db, false);
    let mut words = call.args.iter_from(3);
    while let Some(word) = words.next() {
        if word.eq_ignore_ascii_case(b"replace") {
            replaces = true;
        } else if word.eq_ignore_ascii_case(b"db") {
            db = parse_db(call, words.next().ok_or(ReplyError::Syntax)?)?;
        } else {
            return Err(ReplyError::Syntax);
        }
    }
    Ok((db, replaces))
}

/// MOVE.
pub(super) fn relocate(call: &mut Call<'_>) -> HandlerResult {
    if call.is_node {
        return Err(ReplyError::NotInClusterMode("MOVE"));
    }
    let target_db = parse_db(call, call.args.at(2))?;
    if target_db == call.db {
        return Err(ReplyError::SameObject);
    }
    let (key, now) = (call.key(1), call.now);
    let wanted = call.db().get(&key, now).is_some() && call.keyspace.db(target_db).get(&key, now).is_none();
    if wanted {
        let value = call.db().take(&key, now).expect("the key was there");
        call.keyspace.db(target_db).put(&key, value, now);
        call.replay(1);
    }
    call.reply.integer(i64::from(wanted));
    Ok(())
}

/// The index of a database that there is.
fn parse_db(call: &Call<'_>, text: &[u8]) -> Result<usize, ReplyError> {
    let number = i32::try_from(parse_integer(text)?).map_err(|_| ReplyError::NotAnInt32)?;
    let index = usize::try_from(number).ok().filter(|&index| index < call.keyspace.databases());
    index.ok_or(ReplyError::DbIndexOutOfRange)
}

pub(super) const COPY: Doc = doc(
    "6.2.0",
    "O(1) for strings and large collections; O(N) for N bytes of a small collection",
    "Copies what a key holds to another key.",
)
.arguments(&[
    DocArg::new("source", DocKind::Key),
    DocArg::new("destination", DocKind::SecondKey),
    DocArg::new("destination-db", DocKind::Integer).token("DB").optional(),
    DocArg::word("replace", "REPLACE").optional(),
]);

pub(super) const MOVE: Doc = doc("1.0.0", "O(1)", "Moves a key to another database.")
    .arguments(&[DocArg::KEY, DocArg::new("db", DocKind::Integer)]);
