//! Pops and moves that wait for an element: BLPOP, BRPOP, BLMPOP, BLMOVE, BRPOPLPUSH.
//!
//! A command that found nothing says what it waits for; whoever keeps it runs it again when one of those keys may have
//! something for it. Where nobody may wait it answers at once, with a null.

use super::pop::{Moved, MultiPop, first_list, move_element, pop_first, pop_one};
use super::{end_named, pop_name};
use crate::timeout::parse_timeout;
use crate::{Call, HandlerResult, Outcome, Wait};
use slotmesh_keyspace::End;
use std::ops::Range;

/// BLPOP and BRPOP.
pub(super) fn blocking_pop(call: &mut Call<'_>, end: End) -> HandlerResult {
    let keys = 1..call.args.len() - 1;
    let timeout_ms = parse_timeout(call.args.at(keys.end), call.now)?;
    let Some(key) = first_list(call, keys.clone())? else {
        if !wait(call, keys, timeout_ms) {
            call.reply.null_array();
        }
        return Ok(());
    };
    call.reply.array(2);
    call.reply.bulk(key.bytes);
    pop_one(call, &key, end)?;
    call.count_changes(1);
    call.effect(&key, &[pop_name(end), key.bytes]);
    Ok(())
}

/// BLMPOP: the timeout stands first and is looked at last.
pub(super) fn blmpop(call: &mut Call<'_>) -> HandlerResult {
    let MultiPop { keys, end, count } = MultiPop::parse(call.args, 2)?;
    let timeout_ms = parse_timeout(call.args.at(1), call.now)?;
    if !pop_first(call, keys.clone(), end, count)? && !wait(call, keys, timeout_ms) {
        call.reply.null_array();
    }
    Ok(())
}

pub(super) fn blmove(call: &mut Call<'_>) -> HandlerResult {
    let (from, to) = (end_named(call.args.at(3))?, end_named(call.args.at(4))?);
    let timeout_ms = parse_timeout(call.args.at(5), call.now)?;
    blocking_move(call, from, to, timeout_ms)
}

pub(super) fn brpoplpush(call: &mut Call<'_>) -> HandlerResult {
    let timeout_ms = parse_timeout(call.args.at(3), call.now)?;
    blocking_move(call, End::Back, End::Front, timeout_ms)
}

fn blocking_move(call: &mut Call<'_>, from: End, to: End, timeout_ms: Option<u64>) -> HandlerResult {
    match move_element(call, from, to)? {
        Moved::Nothing => {
            if !wait(call, 1..2, timeout_ms) {
                call.reply.null();
            }
        }
        Moved::OnOneShard => {
            let (source, destination) = (call.key(1), call.key(2));
            call.count_changes(1);
            call.effect(&source, &[b"LMOVE", source.bytes, destination.bytes, name(from), name(to)]);
        }
        Moved::Apart => {}
    }
    Ok(())
}

/// Says that the command waits for the keys at `keys`, if it may; whether it may.
fn wait(call: &mut Call<'_>, keys: Range<usize>, timeout_ms: Option<u64>) -> bool {
    if call.may_block {
        call.outcome = Outcome::Blocks(Wait { keys, timeout_ms });
    }
    call.may_block
}

fn name(end: End) -> &'static [u8] {
    match end {
        End::Front => b"LEFT",
        End::Back => b"RIGHT",
    }
}

#[cfg(test)]
mod tests;
