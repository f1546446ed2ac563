//! LPOP, RPOP, LMPOP, LMOVE, RPOPLPUSH.

use super::{end_named, nearest, pop_name, write_element, wrong_kind};
use crate::call::At;
use crate::{Call, HandlerResult, IntegerText, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{Element, End, Key, List};
use slotmesh_resp::Args;
use std::ops::Range;

/// LPOP and RPOP.
pub(super) fn pop(call: &mut Call<'_>, end: End, command: &'static str) -> HandlerResult {
    let key = call.key(1);
    match call.args.len() {
        2 => {
            if pop_one(call, &key, end)? {
                call.replay(1);
            } else {
                call.reply.null();
            }
        }
        3 => {
            // A count that is no number is refused with the same words as a negative one.
            let count = parse_integer(call.args.at(2)).ok().and_then(|count| usize::try_from(count).ok());
            match pop_many(call, &key, end, count.ok_or(ReplyError::MustBePositive)?)? {
                Some(0) => {}
                Some(popped) => call.replay(popped),
                None => call.reply.null_array(),
            }
        }
        _ => return Err(ReplyError::WrongArity(command)),
    }
    Ok(())
}

/// Pops an element and answers with it; whether there is one.
#[inline]
pub(super) fn pop_one(call: &mut Call<'_>, key: &Key<'_>, end: End) -> Result<bool, ReplyError> {
    let (db, limit, now) = (call.db, call.limits.list_packed, call.now);
    let At { keyspace, reply, .. } = call.at(key);
    let popped = keyspace.db(db).edit_list(key, now, |list| {
        if let Some(element) = list.end(end) {
            write_element(reply, element);
        }
        list.pop(end, limit);
    });
    Ok(popped.map_err(wrong_kind)?.is_some())
}

/// Pops up to `count` elements and answers with them; how many, if the list is there.
fn pop_many(call: &mut Call<'_>, key: &Key<'_>, end: End, count: usize) -> Result<Option<usize>, ReplyError> {
    let (db, limit, now) = (call.db, call.limits.list_packed, call.now);
    let At { keyspace, reply, .. } = call.at(key);
    let popped = keyspace.db(db).edit_list(key, now, |list| {
        let range = nearest(end, count, list);
        reply.array(range.len());
        match end {
            End::Front => list.visit(range.clone(), |element| write_element(reply, element)),
            End::Back => list.visit_back(range.clone(), |element| write_element(reply, element)),
        }
        (range.len(), (!range.is_empty()).then(|| list.remove(range, limit)))
    });
    let Some((popped, remains)) = popped.map_err(wrong_kind)? else { return Ok(None) };
    remains.into_iter().for_each(|remains| keyspace.bury(remains));
    Ok(Some(popped))
}

/// LMPOP: pops from the first of its keys that is there.
pub(super) fn lmpop(call: &mut Call<'_>) -> HandlerResult {
    let MultiPop { keys, end, count } = MultiPop::parse(call.args, 1)?;
    if !pop_first(call, keys, end, count)? {
        call.reply.null_array();
    }
    Ok(())
}

/// Answers with the first key of those at `keys` that is there, and up to `count` of its elements, popped; whether
/// there is one. Keys of shards that are not at hand count as absent.
pub(super) fn pop_first(call: &mut Call<'_>, keys: Range<usize>, end: End, count: usize) -> Result<bool, ReplyError> {
    let Some(key) = first_list(call, keys)? else { return Ok(false) };
    call.reply.array(2);
    call.reply.bulk(key.bytes);
    let popped = pop_many(call, &key, end, count)?.unwrap_or(0);
    call.count_changes(popped);
    if call.records() {
        call.effect(&key, &[pop_name(end), key.bytes, IntegerText::new(popped as i64).as_bytes()]);
    }
    Ok(true)
}

/// The first key of those at `keys` that is there, of the shards at hand.
///
/// # Errors
/// If it holds another type than a list.
pub(super) fn first_list<'c>(call: &mut Call<'c>, keys: Range<usize>) -> Result<Option<Key<'c>>, ReplyError> {
    for index in keys {
        let (key, now) = (call.key(index), call.now);
        if call.is_at_hand(&key) && call.db_of(&key).list(&key, now).map_err(wrong_kind)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// What LMPOP and BLMPOP take.
pub(super) struct MultiPop {
    /// Indexes of the keys.
    pub(super) keys: Range<usize>,
    pub(super) end: End,
    pub(super) count: usize,
}

impl MultiPop {
    /// At `count_at` the number of keys, and what stands behind them: an end, and once COUNT.
    pub(super) fn parse(args: Args<'_>, count_at: usize) -> Result<Self, ReplyError> {
        let positive = |text: &[u8], error| match parse_integer(text) {
            Ok(number @ 1..) => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
            _ => Err(error),
        };
        let keys = positive(args.at(count_at), ReplyError::KeyCountNotPositive)?;
        let end_at = keys.checked_add(count_at + 1).filter(|&index| index < args.len()).ok_or(ReplyError::Syntax)?;
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
        Ok(Self { keys: count_at + 1..end_at, end, count: count.unwrap_or(1) })
    }
}

pub(super) fn lmove(call: &mut Call<'_>) -> HandlerResult {
    let (from, to) = (end_named(call.args.at(3))?, end_named(call.args.at(4))?);
    move_or_null(call, from, to)
}

pub(super) fn rpoplpush(call: &mut Call<'_>) -> HandlerResult {
    move_or_null(call, End::Back, End::Front)
}

fn move_or_null(call: &mut Call<'_>, from: End, to: End) -> HandlerResult {
    match move_element(call, from, to)? {
        Moved::Nothing => call.reply.null(),
        Moved::OnOneShard => {
            let source = call.key(1);
            call.replay_on(&source, 1);
        }
        Moved::Apart => {}
    }
    Ok(())
}

/// What has become of an element that was to be moved.
pub(super) enum Moved {
    /// There is none.
    Nothing,
    /// Source and destination lie on one shard; the effect is the caller's.
    OnOneShard,
    /// They do not; the effects are told.
    Apart,
}

/// Moves an element from the list of the first key to that of the second, and answers with it.
pub(super) fn move_element(call: &mut Call<'_>, from: End, to: End) -> Result<Moved, ReplyError> {
    let (source, destination) = (call.key(1), call.key(2));
    let (limit, now) = (call.limits.list_packed, call.now);
    let list = call.db_of(&source).list(&source, now).map_err(wrong_kind)?;
    let Some(element) = list.and_then(|list| list.end(from)) else { return Ok(Moved::Nothing) };
    let value = match element {
        Element::Integer(value) => IntegerText::new(value).as_bytes().to_vec(),
        Element::Bytes(bytes) => bytes.to_vec(),
    };
    // Nothing is popped if it cannot be pushed.
    call.db_of(&destination).list(&destination, now).map_err(wrong_kind)?;
    let push = |list: &mut List| list.push(to, [&value[..]].into_iter(), limit);
    if source.bytes == destination.bytes {
        // In one step: the key must not vanish in between, and its expiry with it.
        let rotated = call.db_of(&source).edit_list(&source, now, |list| {
            list.pop(from, limit);
            push(list);
        });
        rotated.map_err(wrong_kind)?;
    } else {
        call.db_of(&source).edit_list(&source, now, |list| list.pop(from, limit)).map_err(wrong_kind)?;
        call.db_of(&destination).edit_or_make_list(&destination, now, push).map_err(wrong_kind)?;
    }
    call.reply.bulk(&value);
    if call.are_together(&source, &destination) {
        return Ok(Moved::OnOneShard);
    }
    let push: &[u8] = if to == End::Front { b"LPUSH" } else { b"RPUSH" };
    call.count_changes(1);
    call.effect(&source, &[pop_name(from), source.bytes]);
    call.effect(&destination, &[push, destination.bytes, &value]);
    Ok(Moved::Apart)
}
