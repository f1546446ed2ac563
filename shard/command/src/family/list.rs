//! Lists: pushes and pops at both ends, also such that wait, reads by index, changes in between.
//!
//! Mirrors Redis 7.2 `t_list.c`.

mod block;
mod change;
mod docs;
mod pop;
mod read;
mod rows;

pub(crate) use rows::ROWS;

use crate::{Call, HandlerResult};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{Element, End, List, WrongKind};
use slotmesh_resp::Reply;
use std::ops::Range;

/// LPUSH and RPUSH.
fn push(call: &mut Call<'_>, end: End) -> HandlerResult {
    let (key, limit, now, values) = (call.key(1), call.limits.list_packed, call.now, call.args.iter_from(2));
    let length = call.db().edit_or_make_list(&key, now, |list| {
        list.push(end, values, limit);
        list.len()
    });
    call.reply.integer(length.map_err(wrong_kind)? as i64);
    call.replay(call.args.len() - 2);
    Ok(())
}

/// LPUSHX and RPUSHX.
fn push_to_existing(call: &mut Call<'_>, end: End) -> HandlerResult {
    let (key, limit, now, values) = (call.key(1), call.limits.list_packed, call.now, call.args.iter_from(2));
    let length = call.db().edit_list(&key, now, |list| {
        list.push(end, values, limit);
        list.len()
    });
    let length = length.map_err(wrong_kind)?;
    if length.is_some() {
        call.replay(call.args.len() - 2);
    }
    call.reply.integer(length.unwrap_or(0) as i64);
    Ok(())
}

/// LEFT or RIGHT.
fn end_named(word: &[u8]) -> Result<End, ReplyError> {
    if word.eq_ignore_ascii_case(b"left") {
        Ok(End::Front)
    } else if word.eq_ignore_ascii_case(b"right") {
        Ok(End::Back)
    } else {
        Err(ReplyError::Syntax)
    }
}

/// The indexes from `start` to `stop`, both included and negative from the end, as far as a list of `len` has them.
fn range_within(start: i64, stop: i64, len: usize) -> Range<usize> {
    let end = len as i64;
    let from_front = |index: i64| if index < 0 { index.saturating_add(end) } else { index };
    let (start, stop) = (from_front(start).max(0), from_front(stop).min(end - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

/// The `count` elements nearest to an end.
fn nearest(end: End, count: usize, list: &List) -> Range<usize> {
    let len = list.len();
    match end {
        End::Front => 0..count.min(len),
        End::Back => len - count.min(len)..len,
    }
}

/// The command that pops at an end.
fn pop_name(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LPOP",
        End::Back => b"RPOP",
    }
}

#[inline]
fn write_element(reply: &mut Reply<'_>, element: Element<'_>) {
    match element {
        Element::Integer(value) => reply.bulk_integer(value),
        Element::Bytes(bytes) => reply.bulk(bytes),
    }
}

fn wrong_kind(_: WrongKind) -> ReplyError {
    ReplyError::WrongType
}

#[cfg(test)]
mod tests;
