//! RENAME and RENAMENX.

use super::doc;
use crate::{Call, Doc, DocArg, DocKind, HandlerResult};
use slotmesh_base::ReplyError;

pub(super) fn rename(call: &mut Call<'_>) -> HandlerResult {
    if move_value(call, true)?.is_some() {
        call.reply.ok();
    }
    Ok(())
}

pub(super) fn renamenx(call: &mut Call<'_>) -> HandlerResult {
    let moved = move_value(call, false)?;
    call.reply.integer(i64::from(moved == Some(Moved::Away)));
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// The value stands under the other key now.
    Away,
    /// Both keys are one; nothing was changed.
    Nowhere,
}

/// Moves value and expiry from the first key to the second; `None` if that is there and must not be replaced.
fn move_value(call: &mut Call<'_>, replaces: bool) -> Result<Option<Moved>, ReplyError> {
    let (source, target, now) = (call.key(1), call.key(2), call.now);
    if call.db_of(&source).get(&source, now).is_none() {
        return Err(ReplyError::NoSuchKey);
    }
    if source.bytes == target.bytes {
        return Ok(Some(Moved::Nowhere));
    }
    if call.db_of(&target).get(&target, now).is_some() && !replaces {
        return Ok(None);
    }
    let value = call.db_of(&source).take(&source, now).expect("the key was there");
    call.db_of(&target).put(&target, value, now);
    if call.are_together(&source, &target) {
        call.replay_on(&source, 1);
    } else {
        call.count_changes(1);
        call.effect(&source, &[b"DEL", source.bytes]);
        call.effect_recreate(call.db, &target);
    }
    Ok(Some(Moved::Away))
}

const NAMES: &[DocArg] = &[DocArg::KEY, DocArg::new("newkey", DocKind::SecondKey)];

pub(super) const RENAME: Doc =
    doc("1.0.0", "O(1)", "Gives a key another name; what had that name is no more.").arguments(NAMES);

pub(super) const RENAMENX: Doc = doc("1.0.0", "O(1)", "Gives a key another name, if that is free.")
    .arguments(NAMES)
    .history(&[("3.2.0", "No error any more if both names are the same.")]);
