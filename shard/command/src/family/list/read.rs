//! LLEN, LINDEX, LRANGE, LPOS.

use super::{range_within, write_element, wrong_kind};
use crate::{Call, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::{End, List};
use slotmesh_resp::Args;
use std::ops::ControlFlow;

pub(super) fn llen(call: &mut Call<'_>) -> HandlerResult {
    let key = call.key(1);
    let list = call.keyspace.db(call.db).list(&key, call.now);
    let length = list.map(|list| list.map(List::len));
    call.count_read(length != Ok(None));
    call.reply.integer(length.map_err(wrong_kind)?.unwrap_or(0) as i64);
    Ok(())
}

pub(super) fn lindex(call: &mut Call<'_>) -> HandlerResult {
    let key = call.key(1);
    let list = call.keyspace.db(call.db).list(&key, call.now);
    let found = !matches!(list, Ok(None));
    let result = match list {
        Ok(None) => {
            call.reply.null();
            Ok(())
        }
        // Redis, too, reads the index only now.
        Ok(Some(list)) => parse_integer(call.args.at(2)).map(|index| match list.at(index) {
            Some(element) => write_element(&mut call.reply, element),
            None => call.reply.null(),
        }),
        Err(error) => Err(wrong_kind(error)),
    };
    call.count_read(found);
    result
}

pub(super) fn lrange(call: &mut Call<'_>) -> HandlerResult {
    let (start, stop) = (parse_integer(call.args.at(2))?, parse_integer(call.args.at(3))?);
    let key = call.key(1);
    let list = call.keyspace.db(call.db).list(&key, call.now);
    let found = !matches!(list, Ok(None));
    let result = list.map(|list| match list {
        None => call.reply.array(0),
        Some(list) => {
            let range = range_within(start, stop, list.len());
            call.reply.array(range.len());
            list.visit(range, |element| write_element(&mut call.reply, element));
        }
    });
    call.count_read(found);
    result.map_err(wrong_kind)
}

pub(super) fn lpos(call: &mut Call<'_>) -> HandlerResult {
    let search = Search::parse(call.args)?;
    let key = call.key(1);
    let list = call.keyspace.db(call.db).list(&key, call.now);
    let found = !matches!(list, Ok(None));
    let result = list.map(|list| match (list, search.count) {
        (None, None) => call.reply.null(),
        (None, Some(_)) => call.reply.array(0),
        (Some(list), None) => {
            let mut place = None;
            search.run(list, call.args.at(2), 1, |index| place = Some(index));
            match place {
                Some(index) => call.reply.integer(index as i64),
                None => call.reply.null(),
            }
        }
        (Some(list), Some(count)) => {
            let array = call.reply.deferred_array();
            let mut places = 0;
            search.run(list, call.args.at(2), count, |index| {
                call.reply.integer(index as i64);
                places += 1;
            });
            call.reply.close_array(array, places);
        }
    });
    call.count_read(found);
    result.map_err(wrong_kind)
}

/// What LPOS looks for.
struct Search {
    from: End,
    /// Matches to pass over.
    skipped: u64,
    /// Matches to show: all of them, if 0; one without an array around it, if none.
    count: Option<usize>,
    /// Elements to compare.
    compared_max: usize,
}

impl Search {
    /// RANK, COUNT and MAXLEN, in any order; the last one of each counts.
    fn parse(args: Args<'_>) -> Result<Self, ReplyError> {
        let mut search = Self { from: End::Front, skipped: 0, count: None, compared_max: usize::MAX };
        let mut words = args.iter_from(3);
        while let Some(word) = words.next() {
            let value = words.next().ok_or(ReplyError::Syntax)?;
            if word.eq_ignore_ascii_case(b"rank") {
                let rank = parse_integer(value)?;
                search.from = if rank < 0 { End::Back } else { End::Front };
                search.skipped = match rank {
                    i64::MIN => return Err(ReplyError::RankOutOfRange),
                    0 => return Err(ReplyError::RankZero),
                    rank => rank.unsigned_abs() - 1,
                };
            } else if word.eq_ignore_ascii_case(b"count") {
                search.count = Some(not_negative(value).ok_or(ReplyError::MatchCountNegative)?);
            } else if word.eq_ignore_ascii_case(b"maxlen") {
                let length = not_negative(value).ok_or(ReplyError::MaxLenNegative)?;
                search.compared_max = if length == 0 { usize::MAX } else { length };
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        Ok(search)
    }

    /// Shows the places of `count` matches (0: all).
    fn run(&self, list: &List, wanted: &[u8], count: usize, mut show: impl FnMut(usize)) {
        let (mut skipped, mut shown) = (0, 0);
        list.find(wanted, self.from, self.compared_max, |index| {
            if skipped < self.skipped {
                skipped += 1;
                return ControlFlow::Continue(());
            }
            show(index);
            shown += 1;
            if shown == count { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
}

fn not_negative(text: &[u8]) -> Option<usize> {
    usize::try_from(parse_integer(text).ok()?).ok()
}
