//! Where the keys of a request stand, from its row.

use crate::{KeyFlags, KeySpec, Spec};
use slotmesh_resp::Args;

/// A key of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyPosition {
    /// Index of the argument.
    pub index: usize,
    /// What the command does to it.
    pub flags: KeyFlags,
}

/// Index of the first key of a request with `arguments` arguments (name included), if it has any: the fast path
/// for commands of one key.
#[inline]
pub fn first_key_index(spec: &Spec, arguments: usize) -> Option<usize> {
    let keys = spec.keys.first()?;
    (keys.first < arguments).then_some(keys.first)
}

/// Indexes of the keys of a request. None at all if the request is too short for one of the row's key specs
/// (Redis: the command's own arity or syntax error tells).
#[inline]
pub fn key_indexes(spec: &Spec, arguments: usize) -> impl Iterator<Item = usize> + use<> {
    let specs = spec.keys;
    let fits = specs.iter().all(|keys| last_index(keys, arguments).is_some());
    let specs = if fits { specs } else { &[] };
    specs.iter().flat_map(move |keys| {
        let last = last_index(keys, arguments).unwrap_or(0);
        (keys.first..=last).step_by(keys.step)
    })
}

/// The keys of a request, with what is done to each (COMMAND GETKEYSANDFLAGS, key permissions).
pub fn key_positions<'a>(spec: &Spec, args: Args<'a>) -> impl Iterator<Item = KeyPosition> + use<'a> {
    let specs = spec.keys;
    let flags_at = move |index: usize| {
        let covers =
            |keys: &&KeySpec| last_index(keys, args.len()).is_some_and(|last| (keys.first..=last).contains(&index));
        let keys = specs.iter().find(covers).expect("an index comes from one of the specs");
        keys.flags_of.map_or(keys.flags, |flags_of| flags_of(args))
    };
    key_indexes(spec, args.len()).map(move |index| KeyPosition { index, flags: flags_at(index) })
}

/// Index of the last argument that may be a key, if the request is long enough.
#[inline]
fn last_index(keys: &KeySpec, arguments: usize) -> Option<usize> {
    let last = match usize::try_from(keys.last) {
        Ok(behind_first) => keys.first + behind_first,
        Err(_) => arguments.checked_sub(keys.last.unsigned_abs() as usize)?,
    };
    (keys.first <= last && last < arguments).then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::find;

    fn indexes(name: &str, arguments: usize) -> Vec<usize> {
        key_indexes(find(name.as_bytes()).unwrap(), arguments).collect()
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
            for arguments in 1..9 {
                assert_eq!(first_key_index(spec, arguments), key_indexes(spec, arguments).next(), "{}", spec.name);
            }
        }
    }
}
