//! LSET, LINSERT, LREM, LTRIM.

use super::{range_within, wrong_kind};
use crate::{Call, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{End, Side};

/// An index beyond 32 bits is out of range here. (Redis 7.2 cuts it to 32 bits and may find an element there.)
pub(super) fn lset(call: &mut Call<'_>) -> HandlerResult {
    let (key, limit, args) = (call.key(1), call.limits.list_packed, call.args);
    let set = call.keyspace.db(call.db).edit_list(&key, call.now, |list| {
        // Redis, too, reads the index only now.
        parse_integer(args.at(2)).map(|index| list.set(index, args.at(3), limit))
    });
    if !set.map_err(wrong_kind)?.ok_or(ReplyError::NoSuchKey)?? {
        return Err(ReplyError::IndexOutOfRange);
    }
    call.replay(1);
    call.reply.ok();
    Ok(())
}

pub(super) fn linsert(call: &mut Call<'_>) -> HandlerResult {
    let (key, limit, args) = (call.key(1), call.limits.list_packed, call.args);
    let side = match args.at(2) {
        word if word.eq_ignore_ascii_case(b"before") => Side::Before,
        word if word.eq_ignore_ascii_case(b"after") => Side::After,
        _ => return Err(ReplyError::Syntax),
    };
    let length = call.keyspace.db(call.db).edit_list(&key, call.now, |list| {
        if list.insert(side, args.at(3), args.at(4), limit) { list.len() as i64 } else { -1 }
    });
    let length = length.map_err(wrong_kind)?.unwrap_or(0);
    if length > 0 {
        call.replay(1);
    }
    call.reply.integer(length);
    Ok(())
}

pub(super) fn lrem(call: &mut Call<'_>) -> HandlerResult {
    let count = parse_integer(call.args.at(2))?;
    let from = if count < 0 { End::Back } else { End::Front };
    let count_max = match count {
        0 => usize::MAX,
        count => usize::try_from(count.unsigned_abs()).unwrap_or(usize::MAX),
    };
    let (key, limit, args) = (call.key(1), call.limits.list_packed, call.args);
    let removed = call
        .keyspace
        .db(call.db)
        .edit_list(&key, call.now, |list| list.remove_equal(args.at(3), from, count_max, limit));
    let removed = removed.map_err(wrong_kind)?.unwrap_or(0);
    if removed > 0 {
        call.replay(removed);
    }
    call.reply.integer(removed as i64);
    Ok(())
}

pub(super) fn ltrim(call: &mut Call<'_>) -> HandlerResult {
    let (start, stop) = (parse_integer(call.args.at(2))?, parse_integer(call.args.at(3))?);
    let (key, limit) = (call.key(1), call.limits.list_packed);
    let cut = call.keyspace.db(call.db).edit_list(&key, call.now, |list| {
        let (kept, len) = (range_within(start, stop, list.len()), list.len());
        // Nothing is kept: then all stands before it.
        let kept = if kept.is_empty() { len..len } else { kept };
        // Also a list that stays whole was written to (Redis 7.2 `t_list.c` `ltrimCommand`), though there is no effect.
        list.touch();
        let ranges = [kept.end..len, 0..kept.start];
        ranges.map(|range| (!range.is_empty()).then(|| (range.len(), list.remove(range, limit))))
    });
    for (removed, remains) in cut.map_err(wrong_kind)?.into_iter().flatten().flatten() {
        call.keyspace.bury(remains);
        call.replay(removed);
    }
    call.reply.ok();
    Ok(())
}
