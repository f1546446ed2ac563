//! THE table of what may differ from redis-server 7.0.15, and why.
//!
//! Whatever no rule speaks of must be equal to the byte.

use slotmesh_keyspace::{Element, PackedLimit, Value};
use slotmesh_resp::elements;

/// How a reply is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Compare {
    /// The same elements in any order.
    AnyOrder,
    /// The same pairs in any order.
    AnyOrderPairs,
    /// Integers at most so far apart; negative ones must be equal.
    Within(i64),
    /// The same type; or the same error.
    SameType,
    /// An array whose elements the oracle's has as well.
    Subset,
    /// Payloads of lists with the same elements, however they are cut into nodes.
    SameList,
    /// Equal, but for the values behind these keys of a map.
    ButForFields(&'static [&'static str]),
    /// The texts of Redis 7.0.15 (first) and 7.2 (second); all else must be equal.
    Text(&'static str, &'static str),
    /// The oracle refuses with this text; ours is any other error.
    OtherRefusal(&'static str),
    /// The oracle does not know the command.
    NewIn72,
}

/// An allowed difference.
pub struct Rule {
    /// Requests that begin with these words, in any case.
    pub request: &'static str,
    /// How their replies are compared.
    pub compare: Compare,
    /// Why they may differ.
    pub reason: &'static str,
}

const fn too_long(request: &'static str) -> Rule {
    let compare = Compare::Text("-ERR timeout is negative\r\n", "-ERR timeout is out of range\r\n");
    rule(request, compare, "Redis 7.0 takes a time to wait that is beyond all clocks for a negative one")
}

const fn refused_in_transactions(request: &'static str) -> Rule {
    let compare = Compare::Text("+QUEUED\r\n", "-ERR Command not allowed inside a transaction\r\n");
    rule(request, compare, "it asks all cores, which an EXEC that has shards in hand cannot wait for")
}

const fn rule(request: &'static str, compare: Compare, reason: &'static str) -> Rule {
    Rule { request, compare, reason }
}

/// The table.
pub const RULES: &[Rule] = &[
    rule("keys", Compare::AnyOrder, "Redis promises no order"),
    rule("config get", Compare::AnyOrderPairs, "Redis promises no order"),
    rule("ttl", Compare::Within(2), "time passes between the two servers' runs (s)"),
    rule("pttl", Compare::Within(2000), "time passes between the two servers' runs (ms)"),
    rule("expiretime", Compare::Within(2), "relative expiries begin at different times (s)"),
    rule("pexpiretime", Compare::Within(2000), "relative expiries begin at different times (ms)"),
    rule("randomkey", Compare::SameType, "chance"),
    rule("time", Compare::SameType, "time"),
    rule("scan", Compare::SameType, "cursors are ours; whole iterations are compared as sets"),
    rule("info", Compare::SameType, "content is ours; its fields are tested by name"),
    rule("client id", Compare::SameType, "ids are counted by each server"),
    rule("client info", Compare::SameType, "addresses, ids, ages; fields are tested by name"),
    rule("client list", Compare::SameType, "addresses, ids, ages; fields are tested by name"),
    refused_in_transactions("client kill"),
    refused_in_transactions("client list"),
    refused_in_transactions("client unpause"),
    refused_in_transactions("client unblock"),
    too_long("blpop"),
    too_long("brpop"),
    too_long("brpoplpush"),
    too_long("blmove"),
    too_long("blmpop"),
    rule("client no-touch", Compare::NewIn72, "new in Redis 7.2"),
    rule("client setinfo", Compare::NewIn72, "new in Redis 7.2"),
    rule("hello", Compare::ButForFields(&["version", "id"]), "ids are counted by each server; we are 7.2"),
    rule(
        "hello",
        Compare::Text(
            "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> \
             <pass> option can be used to authenticate the client and select the RESP protocol version at the same \
             time\r\n",
            "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH \
             <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the \
             same time\r\n",
        ),
        "worded anew in Redis 7.2",
    ),
    rule("client help", Compare::SameType, "prose, ours"),
    rule("command help", Compare::SameType, "prose, ours"),
    rule("config help", Compare::SameType, "prose, ours"),
    rule("function help", Compare::SameType, "prose, ours"),
    rule("lolwut", Compare::SameType, "art, ours"),
    rule("waitaof", Compare::NewIn72, "new in Redis 7.2"),
    rule("object help", Compare::SameType, "prose, ours"),
    rule(
        "config set",
        Compare::Text(
            "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of the \
             following: debug, verbose, notice, warning\r\n",
            "-ERR CONFIG SET failed (possibly related to argument 'loglevel') - argument(s) must be one of the \
             following: debug, verbose, notice, warning, nothing\r\n",
        ),
        "since Redis 7.2 the log can be silent",
    ),
    rule("object idletime", Compare::Within(60), "time passes (s); a number that Redis shares is as idle as it is old"),
    rule("object refcount", Compare::SameType, "small integers count as shared, also one that COPY has made"),
    rule("dump", Compare::SameList, "a list that outgrows a node by one request is still one listpack in 7.2"),
    rule("memory usage", Compare::SameType, "values are kept in another form"),
    rule(
        "object encoding",
        Compare::Text("$9\r\nquicklist\r\n", "$8\r\nlistpack\r\n"),
        "short lists are listpacks from 7.2 on",
    ),
    rule("command list", Compare::Subset, "we have fewer commands"),
    rule("command count", Compare::SameType, "we have fewer commands"),
    rule("command docs", Compare::SameType, "texts are ours; what is no text is compared row by row"),
    rule("command info", Compare::SameType, "compared row by row, with a table of its own"),
    rule(
        "command getkeys",
        Compare::OtherRefusal("-ERR wrong number of arguments for 'command|getkeys' command\r\n"),
        "since Redis 7.2 a command's name alone passes the check of arity",
    ),
    rule(
        "command getkeysandflags",
        Compare::OtherRefusal("-ERR wrong number of arguments for 'command|getkeysandflags' command\r\n"),
        "since Redis 7.2 a command's name alone passes the check of arity",
    ),
    rule("command", Compare::SameType, "we have fewer commands"),
];

/// Names of commands, with the line end of a reply, that the oracle does not know.
const NEW_IN_72: &[&str] =
    &["\nclient|no-touch\r\n", "\nclient|setinfo\r\n", "\ncluster|myshardid\r\n", "\nwaitaof\r\n"];

/// Whether our reply to a request is as good as the oracle's.
pub fn matches(args: &[Vec<u8>], oracle: &[u8], ours: &[u8]) -> bool {
    oracle == ours || rules(args).any(|rule| fits(rule.compare, oracle, ours))
}

/// The rules for a request: those with the most words only, so that a subcommand's stands above its container's.
fn rules(args: &[Vec<u8>]) -> impl Iterator<Item = &'static Rule> {
    let begins = move |rule: &Rule| {
        let mut words = rule.request.split(' ').zip(0..);
        words.all(|(word, at)| args.get(at).is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes())))
    };
    let word_count = |rule: &Rule| rule.request.split(' ').count();
    let most = RULES.iter().filter(|rule| begins(rule)).map(word_count).max();
    // `COMMAND GETKEYS` is no case of `COMMAND`: what has no rule of its own must be equal.
    let alone = move |rule: &Rule| word_count(rule) == 2 || args.len() == 1 || !rule.request.eq("command");
    RULES.iter().filter(move |rule| begins(rule) && Some(word_count(rule)) == most && alone(rule))
}

fn fits(compare: Compare, oracle: &[u8], ours: &[u8]) -> bool {
    let same_type = oracle.first() == ours.first();
    match compare {
        Compare::AnyOrder => same_type && sorted(oracle).is_some_and(|keys| Some(keys) == sorted(ours)),
        Compare::AnyOrderPairs => {
            same_type && sorted_pairs(oracle).is_some_and(|found| Some(found) == sorted_pairs(ours))
        }
        Compare::Within(distance) => match (integer(oracle), integer(ours)) {
            (Some(expected), Some(got)) => expected >= 0 && got >= 0 && expected.abs_diff(got) <= distance as u64,
            _ => false,
        },
        // Errors carry their text: two errors must be equal.
        Compare::SameType => same_type && oracle[0] != b'-',
        Compare::SameList => list(oracle).is_some_and(|elements| Some(elements) == list(ours)),
        Compare::Subset => same_type && is_subset(oracle, ours),
        Compare::ButForFields(fields) => same_type && without(oracle, fields) == without(ours, fields),
        Compare::Text(old, new) => oracle == old.as_bytes() && ours == new.as_bytes(),
        Compare::OtherRefusal(text) => oracle == text.as_bytes() && ours.first() == Some(&b'-'),
        Compare::NewIn72 => oracle.starts_with(b"-ERR unknown "),
    }
}

fn integer(reply: &[u8]) -> Option<i64> {
    std::str::from_utf8(reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?).ok()?.parse().ok()
}

/// The elements of a list that DUMP has given.
fn list(reply: &[u8]) -> Option<Vec<Vec<u8>>> {
    let body = reply.iter().position(|&byte| byte == b'\n')? + 1;
    let payload = reply.get(body..)?.strip_suffix(b"\r\n")?;
    let Ok(Value::List(list)) = slotmesh_rdb::restore(payload, usize::MAX, PackedLimit::default()) else { return None };
    let mut found = Vec::new();
    list.visit(0..list.len(), |element| match element {
        Element::Bytes(bytes) => found.push(bytes.to_vec()),
        Element::Integer(value) => found.push(value.to_string().into_bytes()),
    });
    Some(found)
}

fn sorted(reply: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found: Vec<_> = elements(reply).ok()?.collect();
    found.sort_unstable();
    Some(found)
}

fn sorted_pairs(reply: &[u8]) -> Option<Vec<Vec<&[u8]>>> {
    let found: Vec<_> = elements(reply).ok()?.collect();
    let mut pairs: Vec<_> = found.chunks(2).map(<[_]>::to_vec).collect();
    pairs.sort_unstable();
    Some(pairs)
}

fn is_subset(oracle: &[u8], ours: &[u8]) -> bool {
    match (sorted(oracle), sorted(ours)) {
        (Some(expected), Some(got)) => {
            let is_new = |element: &[u8]| NEW_IN_72.iter().any(|name| element.ends_with(name.as_bytes()));
            got.iter().all(|element| expected.binary_search(element).is_ok() || is_new(element))
        }
        _ => false,
    }
}

/// The elements of a map (or of an array that stands for one) without the values of some keys.
fn without<'a>(reply: &'a [u8], fields: &[&str]) -> Option<Vec<&'a [u8]>> {
    let found: Vec<_> = elements(reply).ok()?.collect();
    let is_hidden = |key: &[u8]| fields.iter().any(|field| key.ends_with(format!("\r\n{field}\r\n").as_bytes()));
    Some(found.chunks(2).flat_map(|pair| if is_hidden(pair[0]) { &pair[..1] } else { pair }).copied().collect())
}
