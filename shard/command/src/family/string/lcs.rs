//! LCS: the longest common subsequence of two strings, by a table of the lengths for all pairs of their beginnings.
//!
//! Mirrors Redis 7.2 `t_string.c` `lcsCommand`, which of several equally long ones included.

use super::{doc, string};
use crate::call::At;
use crate::{Call, Doc, DocArg, DocKind, HandlerResult, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_keyspace::Key;
use slotmesh_resp::{Args, Reply};
use std::ops::Range;

pub(super) const DOC: Doc =
    doc("7.0.0", "O(N*M) for strings of N and M bytes", "Finds the longest common subsequence of two strings.")
        .arguments(&[
            DocArg::new("key1", DocKind::Key),
            DocArg::new("key2", DocKind::Key),
            DocArg::word("len", "LEN").optional(),
            DocArg::word("idx", "IDX").optional(),
            DocArg::new("min-match-len", DocKind::Integer).token("MINMATCHLEN").optional(),
            DocArg::word("withmatchlen", "WITHMATCHLEN").optional(),
        ]);

/// Strings of that many bytes or more are refused: positions have 32 bits.
const BYTES_END: usize = u32::MAX as usize - 1;

pub(super) fn lcs(call: &mut Call<'_>) -> HandlerResult {
    let keys = [call.key(1), call.key(2)];
    let lengths = [length(call, &keys[0])?, length(call, &keys[1])?];
    let options = Options::parse(call.args)?;
    if lengths.iter().any(|&length| length >= BYTES_END) {
        return Err(ReplyError::LcsTooLong);
    }
    let cells = (lengths[0] as u64 + 1) * (lengths[1] as u64 + 1);
    if cells.saturating_mul(size_of::<u32>() as u64) > call.limits.string_bytes_max as u64 {
        return Err(ReplyError::LcsMemory);
    }
    let [one, other] = [text(call, &keys[0]), text(call, &keys[1])];
    let table = Table::new(&one, &other);
    if options.indexes {
        show_matches(&table, &options, &mut call.reply);
    } else if options.length {
        call.reply.integer(i64::from(table.length()));
    } else {
        let mut common: Vec<u8> = table.path().map(|(at, _)| one[at]).collect();
        common.reverse();
        call.reply.bulk(&common);
    }
    Ok(())
}

/// Length of a string; 0 if the key is absent.
fn length(call: &mut Call<'_>, key: &Key<'_>) -> Result<usize, ReplyError> {
    let (db, now) = (call.db, call.now);
    let At { keyspace, .. } = call.at(key);
    let entry = keyspace.db(db).get(key, now);
    let found = entry.is_some();
    let length = entry.map(|entry| string(entry.value).map(<[u8]>::len));
    call.count_read(found);
    Ok(length.transpose().map_err(|_| ReplyError::LcsNotStrings)?.unwrap_or(0))
}

/// A copy of a string: the two may lie on different shards.
fn text(call: &mut Call<'_>, key: &Key<'_>) -> Vec<u8> {
    let now = call.now;
    let entry = call.db_of(key).peek(key, now);
    entry.and_then(|entry| string(entry.value).ok()).unwrap_or_default().to_vec()
}

struct Options {
    length: bool,
    indexes: bool,
    with_lengths: bool,
    length_min: i64,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, ReplyError> {
        let mut options = Self { length: false, indexes: false, with_lengths: false, length_min: 0 };
        let mut words = args.iter_from(3);
        while let Some(word) = words.next() {
            let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
            if is(b"idx") {
                options.indexes = true;
            } else if is(b"len") {
                options.length = true;
            } else if is(b"withmatchlen") {
                options.with_lengths = true;
            } else if is(b"minmatchlen") {
                options.length_min = parse_integer(words.next().ok_or(ReplyError::Syntax)?)?;
            } else {
                return Err(ReplyError::Syntax);
            }
        }
        if options.length && options.indexes { Err(ReplyError::LcsAmbiguous) } else { Ok(options) }
    }
}

/// For each pair of beginnings of two strings the length of their longest common subsequence.
struct Table<'a> {
    one: &'a [u8],
    other: &'a [u8],
    cells: Vec<u32>,
}

impl<'a> Table<'a> {
    fn new(one: &'a [u8], other: &'a [u8]) -> Self {
        let width = other.len() + 1;
        let mut cells = vec![0; width * (one.len() + 1)];
        for (row, byte) in one.iter().enumerate() {
            let (above, row) = cells[row * width..(row + 2) * width].split_at_mut(width);
            let mut left = 0;
            for (at, other_byte) in other.iter().enumerate() {
                left = if byte == other_byte { above[at] + 1 } else { above[at + 1].max(left) };
                row[at + 1] = left;
            }
        }
        Self { one, other, cells }
    }

    fn at(&self, one: usize, other: usize) -> u32 {
        self.cells[one * (self.other.len() + 1) + other]
    }

    fn length(&self) -> u32 {
        self.at(self.one.len(), self.other.len())
    }

    /// Positions of the common bytes in both strings, the last ones first.
    fn path(&self) -> impl Iterator<Item = (usize, usize)> {
        let (mut one, mut other) = (self.one.len(), self.other.len());
        std::iter::from_fn(move || {
            while one > 0 && other > 0 {
                if self.one[one - 1] == self.other[other - 1] {
                    (one, other) = (one - 1, other - 1);
                    return Some((one, other));
                } else if self.at(one - 1, other) > self.at(one, other - 1) {
                    one -= 1;
                } else {
                    other -= 1;
                }
            }
            None
        })
    }

    /// Runs of common bytes that are neighbours in both strings, the last ones first.
    fn matches(&self) -> Vec<(Range<usize>, Range<usize>)> {
        let mut matches: Vec<(Range<usize>, Range<usize>)> = Vec::new();
        for (one, other) in self.path() {
            match matches.last_mut() {
                Some((in_one, in_other)) if in_one.start == one + 1 && in_other.start == other + 1 => {
                    (in_one.start, in_other.start) = (one, other);
                }
                _ => matches.push((one..one + 1, other..other + 1)),
            }
        }
        matches
    }
}

fn show_matches(table: &Table<'_>, options: &Options, reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"matches");
    let array = reply.deferred_array();
    let mut count = 0;
    for (in_one, in_other) in table.matches() {
        if (in_one.len() as i64) < options.length_min {
            continue;
        }
        count += 1;
        reply.array(2 + usize::from(options.with_lengths));
        for range in [&in_one, &in_other] {
            reply.array(2);
            reply.integer(range.start as i64);
            reply.integer(range.end as i64 - 1);
        }
        if options.with_lengths {
            reply.integer(in_one.len() as i64);
        }
    }
    reply.close_array(array, count);
    reply.bulk(b"len");
    reply.integer(i64::from(table.length()));
}
