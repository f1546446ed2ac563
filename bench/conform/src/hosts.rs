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
    let finds_keys = || has("get") || args.iter().skip(2).any(|arg| arg.contains(&b'*'));
    is("move") || is("swapdb") || (is("copy") && has("db")) || ((is("sort") || is("sort_ro")) && finds_keys())
}
