//! LPOP, RPOP, LMPOP, LMOVE, RPOPLPUSH.

use super::{end_named, nearest, write_element, wrong_kind};
use crate::{Call, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{Element, End, Key, List};
use slotmesh_resp::Args;

/// LPOP and RPOP.
pub(super) fn pop(call: &mut Call<'_>, end: End, command: &'static str) -> HandlerResult {
    match call.args.len() {
        2 => pop_one(call, end),
        3 => {
            // A count that is no number is refused with the same words as a negative one.
            let count = parse_integer(call.args.at(2)).ok().and_then(|count| usize::try_from(count).ok());
            let key = call.key(1);
            pop_many(call, &key, end, count.ok_or(ReplyError::MustBePositive)?)
        }
        _ => Err(ReplyError::WrongArity(command)),
    }
}

fn pop_one(call: &mut Call<'_>, end: End) -> HandlerResult {
    let (key, limit) = (call.key(1), call.limits.list_packed);
    let popped = call.keyspace.db(call.db).edit_list(&key, call.now, |list| {
        if let Some(element) = list.end(end) {
            write_element(&mut call.reply, element);
        }
        list.pop(end, limit);
    });
    if popped.map_err(wrong_kind)?.is_none() {
        call.reply.null();
    }
    Ok(())
}

fn pop_many(call: &mut Call<'_>, key: &Key<'_>, end: End, count: usize) -> HandlerResult {
    let limit = call.limits.list_packed;
    let popped = call.keyspace.db(call.db).edit_list(key, call.now, |list| {
        let range = nearest(end, count, list);
        call.reply.array(range.len());
        match end {
            End::Front => list.visit(range.clone(), |element| write_element(&mut call.reply, element)),
            End::Back => list.visit_back(range.clone(), |element| write_element(&mut call.reply, element)),
        }
        (!range.is_empty()).then(|| list.remove(range, limit))
    });
    match popped.map_err(wrong_kind)? {
        Some(remains) => remains.into_iter().for_each(|remains| call.keyspace.bury(remains)),
        None => call.reply.null_array(),
    }
    Ok(())
}

/// LMPOP: pops from the first of its keys that is there.
pub(super) fn lmpop(call: &mut Call<'_>) -> HandlerResult {
    let (keys, end, count) = multi_pop_options(call.args)?;
    for index in 2..2 + keys {
        let (key, now) = (call.key(index), call.now);
        if call.db().list(&key, now).map_err(wrong_kind)?.is_none() {
            continue;
        }
        call.reply.array(2);
        call.reply.bulk(key.bytes);
        return pop_many(call, &key, end, count);
    }
    call.reply.null_array();
    Ok(())
}

/// The number of keys, and what stands behind them: an end, and once COUNT.
fn multi_pop_options(args: Args<'_>) -> Result<(usize, End, usize), ReplyError> {
    let positive = |text: &[u8], error| match parse_integer(text) {
        Ok(number @ 1..) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        _ => Err(error),
    };
    let keys = positive(args.at(1), ReplyError::KeyCountNotPositive)?;
    let end_at = keys.checked_add(2).filter(|&index| index < args.len()).ok_or(ReplyError::Syntax)?;
    let end = end_named(args.at(end_at))?;
    let mut count = None;
    let mut words = args.iter_from(end_at + 1);
    while let Some(word) = words.next() {
        match words.next() {
            Some(value) if count.is_none() && word.eq_ignore_ascii_case(b"count") => {
                count = Some(positive(value, ReplyError::CountNotPositive)?);
            }
            _ => return Err(ReplyError::Syntax),
        }
    }
    Ok((keys, end, count.unwrap_or(1)))
}

pub(super) fn lmove(call: &mut Call<'_>) -> HandlerResult {
    let (from, to) = (end_named(call.args.at(3))?, end_named(call.args.at(4))?);
    move_element(call, from, to)
}

pub(super) fn rpoplpush(call: &mut Call<'_>) -> HandlerResult {
    move_element(call, End::Back, End::Front)
}

fn move_element(call: &mut Call<'_>, from: End, to: End) -> HandlerResult {
    let (source, destination) = (call.key(1), call.key(2));
    let (limit, now) = (call.limits.list_packed, call.now);
    let db = call.keyspace.db(call.db);
    let Some(element) = db.list(&source, now).map_err(wrong_kind)?.and_then(|list| list.end(from)) else {
        call.reply.null();
        return Ok(());
    };
    let value = match element {
        Element::Integer(value) => crate::IntegerText::new(value).as_bytes().to_vec(),
        Element::Bytes(bytes) => bytes.to_vec(),
    };
    // Nothing is popped if it cannot be pushed.
    db.list(&destination, now).map_err(wrong_kind)?;
    let push = |list: &mut List| list.push(to, [&value[..]].into_iter(), limit);
    if source.bytes == destination.bytes {
        // In one step: the key must not vanish in between, and its expiry with it.
        let rotated = db.edit_list(&source, now, |list| {
            list.pop(from, limit);
            push(list);
        });
        rotated.map_err(wrong_kind)?;
    } else {
        db.edit_list(&source, now, |list| list.pop(from, limit)).map_err(wrong_kind)?;
        db.edit_or_make_list(&destination, now, push).map_err(wrong_kind)?;
    }
    call.reply.bulk(&value);
    Ok(())
}
