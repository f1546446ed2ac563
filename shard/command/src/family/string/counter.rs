//! Strings that spell integers: INCR, DECR, INCRBY, DECRBY.

use super::string;
use crate::{Call, HandlerResult, IntegerText, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::Expiry;

pub(super) fn incr(call: &mut Call<'_>) -> HandlerResult {
    add(call, 1)
}

pub(super) fn decr(call: &mut Call<'_>) -> HandlerResult {
    add(call, -1)
}

pub(super) fn incrby(call: &mut Call<'_>) -> HandlerResult {
    let amount = parse_integer(call.args.at(2))?;
    add(call, amount)
}

pub(super) fn decrby(call: &mut Call<'_>) -> HandlerResult {
    let amount = parse_integer(call.args.at(2))?;
    add(call, amount.checked_neg().ok_or(ReplyError::DecrementOverflow)?)
}

/// Adds to the integer under the first key, which keeps its expiry.
fn add(call: &mut Call<'_>, amount: i64) -> HandlerResult {
    let key = call.key(1);
    let db = call.keyspace.db(call.db);
    // To store it counts as the one use.
    let old = match db.look(&key, call.now) {
        Some(entry) => parse_integer(string(entry.value)?)?,
        None => 0,
    };
    let new = old.checked_add(amount).ok_or(ReplyError::IncrementOverflow)?;
    db.put_string(&key, IntegerText::new(new).as_bytes(), Expiry::Keep, call.now);
    call.reply.integer(new);
    call.replay(1);
    Ok(())
}
