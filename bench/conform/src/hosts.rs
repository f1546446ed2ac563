//! What requests are left out, or given other keys, where the slots of a cluster lie on several hosts: there a request
//! whose keys are on several slots is refused (CROSSSLOT) unless it is split by key, as in a cluster of Redis, and there
//! is one database.

/// Keys of one slot each, on different thirds of the map.
pub(crate) const FAMILIES: &[&[&str]] =
    &[&["a", "{a}1", "x{a}y", "{a}"], &["b", "{b}1", "{b}2", "{b}\r\n"], &["c", "{c}1", "{c}2", "{c}3"]];

/// Whether a command is run for each of its keys by itself.
pub(crate) fn is_split(name: &[u8]) -> bool {
    ["mget", "mset", "del", "unlink", "exists", "touch"].iter().any(|split| name.eq_ignore_ascii_case(split.as_bytes()))
}

/// Whether a request is about all keys, which no transaction can be.
pub(crate) fn is_of_all(args: &[Vec<u8>]) -> bool {
    const ALL: [&str; 9] =
        ["dbsize", "keys", "scan", "randomkey", "flushall", "flushdb", "scan-all", "randomkey-member", "wait"];
    ALL.iter().any(|name| args[0].eq_ignore_ascii_case(name.as_bytes()))
}

/// Whether a node of a cluster refuses what a standalone server does: further databases, and keys that SORT finds by
/// itself.
pub(crate) fn is_refused(args: &[Vec<u8>]) -> bool {
    let has = |word: &str| args.iter().skip(1).any(|arg| arg.eq_ignore_ascii_case(word.as_bytes()));
    let is = |name: &str| args[0].eq_ignore_ascii_case(name.as_bytes());
    let slot_of = |arg: &Vec<u8>| slotmesh_base::Slot::of_key(arg).index();
    let stores_apart = || {
        let pairs = args.windows(2).filter(|pair| pair[0].eq_ignore_ascii_case(b"store"));
        pairs.map(|pair| slot_of(&pair[1])).any(|slot| slot != slot_of(&args[1]))
    };
    let finds_keys = || has("get") || stores_apart() || args.iter().skip(2).any(|arg| arg.contains(&b'*'));
    // The latter two are about the stream of one node.
    ["move", "swapdb", "failover", "replconf"].iter().any(|name| is(name))
        || (is("copy") && has("db"))
        || ((is("sort") || is("sort_ro")) && finds_keys())
        || (is("lmpop") && are_apart(args, 1))
        || (is("blmpop") && are_apart(args, 2))
}

/// Whether keys whose number stands at a place are on several slots: a wrong number makes keys of other words.
fn are_apart(args: &[Vec<u8>], place: usize) -> bool {
    let number = args.get(place).and_then(|text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
    let keys = args.iter().skip(place + 1).take(number.unwrap_or(0));
    let slots: std::collections::BTreeSet<usize> = keys.map(|key| slotmesh_base::Slot::of_key(key).index()).collect();
    slots.len() > 1
}
