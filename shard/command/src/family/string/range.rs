//! Parts of strings: GETRANGE (and SUBSTR, its older name), SETRANGE.

use super::{doc, string};
use crate::{Call, Doc, DocArg, DocKind, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use std::ops::Range;

const RANGE: &[DocArg] = &[DocArg::KEY, DocArg::new("start", DocKind::Integer), DocArg::new("end", DocKind::Integer)];

pub(super) const GETRANGE: Doc =
    doc("2.4.0", "O(N) for N bytes of the answer", "Reads a part of a string.").arguments(RANGE);

pub(super) const SUBSTR: Doc = doc("1.0.0", "O(N) for N bytes of the answer", "Reads a part of a string.")
    .arguments(RANGE)
    .deprecated("2.0.0", "`GETRANGE`");

pub(super) const SETRANGE: Doc = doc(
    "2.2.0",
    "O(1) for short values, else O(M) for M bytes of the value",
    "Writes bytes over a part of a string, which grows by zeros as needed and is created if the key is absent.",
)
.arguments(&[DocArg::KEY, DocArg::new("offset", DocKind::Integer), DocArg::VALUE]);

pub(super) fn getrange(call: &mut Call<'_>) -> HandlerResult {
    let (start, end) = (parse_integer(call.args.at(2))?, parse_integer(call.args.at(3))?);
    let key = call.key(1);
    let entry = call.keyspace.db(call.db).get(&key, call.now);
    let found = entry.is_some();
    let text = entry.map_or(Ok(&[][..]), |entry| string(entry.value));
    let shown = text.map(|text| call.reply.bulk(&text[range(start, end, text.len())]));
    call.count_read(found);
    shown
}

/// The bytes from one index to another, both counted from the end if negative.
fn range(start: i64, end: i64, length: usize) -> Range<usize> {
    // Both below zero and crossed is empty, even where both would become the first byte.
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let length = length as i64;
    let from_start = |index: i64| if index < 0 { (length + index).max(0) } else { index };
    let (start, end) = (from_start(start), from_start(end).min(length - 1));
    if start > end { 0..0 } else { start as usize..end as usize + 1 }
}

pub(super) fn setrange(call: &mut Call<'_>) -> HandlerResult {
    let offset = parse_integer(call.args.at(2))?;
    let offset = usize::try_from(offset).map_err(|_| ReplyError::OffsetOutOfRange)?;
    let (key, now, bytes) = (call.key(1), call.now, call.args.at(3));
    let db = call.keyspace.db(call.db);
    let end = offset.checked_add(bytes.len()).filter(|&end| end <= call.limits.string_bytes_max);
    let (Some(end), false) = (end, bytes.is_empty()) else {
        let old = db.get(&key, now).map(|entry| string(entry.value).map(<[u8]>::len)).transpose()?;
        if !bytes.is_empty() {
            return Err(ReplyError::StringTooLong);
        }
        call.reply.integer(old.unwrap_or(0) as i64);
        return Ok(());
    };
    let edited = db.edit_or_make_string(&key, now, end, |string| {
        string[offset..end].copy_from_slice(bytes);
        (string.len(), true)
    });
    let (length, _) = edited.map_err(|_| ReplyError::WrongType)?;
    call.reply.integer(length as i64);
    call.replay(1);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_string() {
        for (start, end, expected) in [
            (0, 3, 0..4),
            (0, -1, 0..5),
            (-3, -1, 2..5),
            (-1, -3, 0..0),
            (-100, -99, 0..1),
            (-99, -100, 0..0),
            (3, 100, 3..5),
            (5, 100, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (i64::MAX, i64::MIN, 0..0),
            (4, 2, 0..0),
        ] {
            assert_eq!(range(start, end, 5), expected, "{start} {end}");
        }
        assert_eq!(range(0, -1, 0), 0..0);
        assert_eq!(range(i64::MIN, i64::MIN, 0), 0..0);
    }
}
