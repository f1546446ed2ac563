//! Where the keys of a request stand, from its row.

use crate::{KeyFlags, KeySearch, KeySpec, Spec, parse_integer};
use slotmesh_base::ReplyError;
use slotmesh_resp::Args;
use std::ops::Range;

/// A key of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyPosition {
    /// Index of the argument.
    pub index: usize,
    /// What the command does to it.
    pub flags: KeyFlags,
}

/// Index of the first key of a request with `arguments` arguments (name included), if it has any: the fast path
/// for commands of one key. Where an argument counts the keys, this one is not asked whether there is any.
#[inline]
pub fn first_key_index(spec: &Spec, arguments: usize) -> Option<usize> {
    let keys = spec.keys.first()?;
    (keys.first < arguments).then_some(keys.first)
}

/// Indexes of the keys of a request. None at all if the request is too short for one of the row's key specs, or
/// counts its keys wrongly (Redis: the command's own arity or syntax error tells).
#[inline]
pub fn key_indexes<'a>(spec: &Spec, args: Args<'a>) -> impl Iterator<Item = usize> + use<'a> {
    let specs = spec.keys;
    let fits = specs.iter().all(|keys| range(keys, args).is_some());
    let specs = if fits { specs } else { &[] };
    specs.iter().flat_map(move |keys| range(keys, args).unwrap_or_default().step_by(keys.step))
}

/// Whether a request reads keys that it does not name, since their names come of what other keys hold: they may be
/// anywhere.
#[inline]
pub fn reads_unnamed_keys(spec: &Spec, args: Args<'_>) -> bool {
    refusal_of_unnamed_keys(spec, args).is_some()
}

/// With which error a node of a cluster refuses such a request; nothing, if it names all keys that it reads.
#[inline]
pub fn refusal_of_unnamed_keys(spec: &Spec, args: Args<'_>) -> Option<ReplyError> {
    spec.keys.iter().find_map(|keys| match keys.search {
        KeySearch::Content(refusal) => refusal(args),
        KeySearch::Index | KeySearch::Option(_) => None,
    })
}

/// The keys of a request, with what is done to each (COMMAND GETKEYSANDFLAGS, key permissions).
pub fn key_positions<'a>(spec: &Spec, args: Args<'a>) -> impl Iterator<Item = KeyPosition> + use<'a> {
    let specs = spec.keys;
    let flags_at = move |index: usize| {
        let covers = |keys: &&KeySpec| range(keys, args).is_some_and(|range| range.contains(&index));
        let keys = specs.iter().find(covers).expect("an index comes from one of the specs");
        keys.flags_of.map_or(keys.flags, |flags_of| flags_of(args))
    };
    key_indexes(spec, args).map(move |index| KeyPosition { index, flags: flags_at(index) })
}

/// The indexes of the keys of a spec, if the request is long enough: some of them are steps in between.
#[inline]
fn range(keys: &KeySpec, args: Args<'_>) -> Option<Range<usize>> {
    match keys.search {
        KeySearch::Index => last_index(keys, args).map(|last| keys.first..last + 1),
        KeySearch::Option(find) => Some(find(args).map_or(0..0, |index| index..index + 1)),
        KeySearch::Content(_) => Some(0..0),
    }
}

/// Index of the last key, if the request is long enough.
#[inline]
fn last_index(keys: &KeySpec, args: Args<'_>) -> Option<usize> {
    let arguments = args.len();
    let last = match (keys.count_at, usize::try_from(keys.last)) {
        (Some(index), _) => counted_last(keys, args.find(index)?)?,
        (None, Ok(behind_first)) => keys.first + behind_first,
        (None, Err(_)) => arguments.checked_sub(keys.last.unsigned_abs() as usize)?,
    };
    (keys.first <= last && last < arguments).then_some(last)
}

/// Index of the last key where an argument counts them.
fn counted_last(keys: &KeySpec, count: &[u8]) -> Option<usize> {
    let count = usize::try_from(parse_integer(count).ok()?).ok()?;
    (keys.first - 1).checked_add(count.checked_mul(keys.step)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::testing::Request;
    use crate::find;

    fn indexes(name: &str, arguments: usize) -> Vec<usize> {
        let words: Vec<&[u8]> = std::iter::repeat_n(&b"1"[..], arguments).collect();
        indexes_of(name, &words)
    }

    fn indexes_of(name: &str, words: &[&[u8]]) -> Vec<usize> {
        let request = Request::new(words);
        key_indexes(find(name.as_bytes()).unwrap(), request.args()).collect()
    }

    #[test]
    fn an_argument_may_count_the_keys() {
        let keys = |count: &str| indexes_of("lmpop", &[b"lmpop", count.as_bytes(), b"a", b"b", b"LEFT"]);
        assert_eq!(keys("1"), [2]);
        assert_eq!(keys("2"), [2, 3]);
        assert_eq!(keys("3"), [2, 3, 4], "as Redis: the handler misses the LEFT");
        for count in ["0", "-1", "4", "x", "", "9223372036854775807", "18446744073709551617"] {
            assert_eq!(keys(count), [0usize; 0], "{count}");
        }
    }

    #[test]
    fn keys_stand_where_the_row_says() {
        assert_eq!(indexes("get", 2), [1]);
        assert_eq!(indexes("set", 7), [1]);
        assert_eq!(indexes("mget", 4), [1, 2, 3]);
        assert_eq!(indexes("mset", 5), [1, 3]);
        assert_eq!(indexes("mset", 4), [1, 3], "as Redis: the handler refuses it");
        assert_eq!(indexes("del", 1), [0usize; 0]);
        assert_eq!(indexes("get", 1), [0usize; 0]);
        assert_eq!(indexes("ping", 3), [0usize; 0]);
    }

    #[test]
    fn the_first_key_is_the_first_of_all_keys() {
        for spec in crate::all() {
            // What the arity refuses is not asked for keys.
            for arguments in (1..9).filter(|&arguments| spec.accepts(arguments)) {
                assert_eq!(
                    first_key_index(spec, arguments),
                    indexes(spec.name, arguments).first().copied(),
                    "{}",
                    spec.name
                );
            }
        }
    }
}
