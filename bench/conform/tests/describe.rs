//! How we describe commands and settings, row by row beside redis-server.

use slotmesh_conform::{Connection, Server, show};
use slotmesh_resp::elements;
use std::collections::{BTreeMap, BTreeSet};

/// Rows of COMMAND INFO that differ, with the reason. All others are equal, element by element, sets in any order.
const INFO_DIFFERENCES: &[(&str, &str)] = &[
    ("blmove", "scripts may call it since 7.2"),
    ("blpop", "scripts may call it since 7.2"),
    ("brpop", "scripts may call it since 7.2"),
    ("brpoplpush", "scripts may call it since 7.2"),
    ("client|no-touch", "new in 7.2"),
    ("client|setinfo", "new in 7.2"),
    ("cluster|myshardid", "new in 7.2"),
    ("cluster|shards", "answered while data are loaded since 7.2"),
    ("cluster|slots", "answered while data are loaded since 7.2"),
    ("config|rewrite", "7.2 tells cluster clients to send it to all nodes"),
    ("latency|reset", "7.2 tells cluster clients to add the replies up"),
    ("client|setname", "7.2 tells cluster clients to send it to all nodes"),
    ("command|getkeys", "7.2 takes a command's name alone"),
    ("command|getkeysandflags", "7.2 takes a command's name alone"),
    ("config|resetstat", "7.2 tells cluster clients to send it to all nodes"),
    ("config|set", "7.2 tells cluster clients to send it to all nodes"),
    ("msetnx", "7.2 does not tell cluster clients to split it any more"),
    ("randomkey", "7.2 tells cluster clients how to choose among replies"),
    ("wait", "7.2 tells cluster clients how to join replies"),
    ("waitaof", "new in 7.2"),
    ("scan", "7.2 tells cluster clients how to choose among replies"),
];

/// Settings whose CONFIG GET differs, with the reason.
const SETTING_DIFFERENCES: &[(&str, &str)] = &[
    ("port", "each server has its own"),
    ("dir", "each server has its own"),
    ("unixsocket", "each server has its own"),
    ("bind", "ours listens on loopback only by default, as the issue has it; Redis without a file on all"),
    ("aof-disable-auto-gc", "hidden since 7.2"),
    ("set-max-listpack-entries", "new in 7.2"),
    ("set-max-listpack-value", "new in 7.2"),
];

/// Names of all commands that a server has, subcommands included.
fn names(connection: &mut Connection) -> Vec<String> {
    let reply = connection.say("COMMAND LIST");
    let mut found: Vec<String> = elements(&reply).expect("an array").map(text).collect();
    found.sort();
    found
}

/// The content of a simple or bulk string, or the number of an integer.
fn text(reply: &[u8]) -> String {
    let mut lines = reply.splitn(2, |&byte| byte == b'\n');
    let (head, body) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let content = if matches!(head.first(), Some(b'$' | b'=')) { body } else { head.get(1..).unwrap_or_default() };
    String::from_utf8_lossy(content).trim_end().to_owned()
}

/// A reply as a tree in which sets have one order.
fn canonical(reply: &[u8]) -> String {
    match elements(reply) {
        Ok(parts) => {
            let mut parts: Vec<String> = parts.map(canonical).collect();
            // Notes are prose, and ours.
            if let Some(at) = parts.iter().position(|part| part == "$5 notes") {
                parts.drain(at..at + 2);
            }
            // Flags and categories are sets; tips come in any order.
            let is_tip = |part: &String| part.contains("_policy:") || part.contains("nondeterministic");
            let is_set = reply[0] == b'~' || parts.iter().all(|part| part.starts_with('+')) || parts.iter().all(is_tip);
            if is_set {
                parts.sort();
            }
            format!("[{}]", parts.join(", "))
        }
        Err(_) => show(reply).replace("\\r\\n", " ").trim_end().to_owned(),
    }
}

#[test]
fn command_info_equals_that_of_redis() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    for opening in ["HELLO 2", "HELLO 3"] {
        let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
        oracle.say(opening);
        ours.say(opening);
        let mut offences = Vec::new();
        for name in names(&mut ours) {
            let request = format!("COMMAND INFO {name}");
            let [expected, got] = [&mut oracle, &mut ours].map(|side| without_subcommands(&side.say(&request)));
            let is_known = INFO_DIFFERENCES.iter().any(|(known, _)| *known == name);
            if expected != got && !is_known {
                offences.push(format!("{name}\n  expected {expected:?}\n  got      {got:?}"));
            }
        }
        assert!(offences.is_empty(), "after {opening}:\n{}", offences.join("\n"));
    }
}

/// A row of COMMAND INFO as a tree, without its subcommands: these are asked for one by one, and we have fewer.
fn without_subcommands(reply: &[u8]) -> Vec<String> {
    let rows = elements(reply).expect("an array");
    let row = |row: &[u8]| match elements(row) {
        Ok(fields) => fields.take(9).map(canonical).collect(),
        Err(_) => vec![canonical(row)],
    };
    rows.flat_map(row).collect()
}

#[test]
fn unknown_commands_have_empty_descriptions() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    for opening in ["HELLO 2", "HELLO 3"] {
        let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
        oracle.say(opening);
        ours.say(opening);
        for line in
            ["COMMAND INFO nosuch", "COMMAND INFO nosuch config|nosuch", "COMMAND DOCS nosuch", "COMMAND DOCS a b"]
        {
            assert_eq!(show(&oracle.say(line)), show(&ours.say(line)), "{line}");
        }
    }
}

#[test]
fn the_keys_of_sort_are_found_where_redis_finds_them() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
    for request in [
        "SORT a",
        "SORT a STORE b",
        "SORT a STORE b STORE c",
        "SORT a STORE",
        "SORT a STORE STORE",
        "SORT a JUNK store b",
        "SORT a BY store STORE c",
        "SORT a GET STORE b",
        "SORT a LIMIT STORE b",
        "SORT a LIMIT 0 STORE STORE b",
        "SORT a BY",
        "SORT a BY w_* GET # ALPHA STORE b DESC",
        "SORT_RO a BY w_* STORE b",
    ] {
        for subcommand in ["GETKEYS", "GETKEYSANDFLAGS"] {
            let line = format!("COMMAND {subcommand} {request}");
            assert_eq!(show(&ours.say(&line)), show(&oracle.say(&line)), "{line}");
        }
    }
    // Redis takes the name of the destination for an option here, and shows another key than that which it writes.
    assert_eq!(show(&ours.say("COMMAND GETKEYS SORT a STORE by STORE b")), "*2\\r\\n$1\\r\\na\\r\\n$1\\r\\nb\\r\\n");
}

/// What COMMAND DOCS says apart from prose and from the names that 7.2 changed: group, version, and the arguments that
/// are no groups of others, each with its name and type.
fn facts(docs: &[u8]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let Some(description) = elements(docs).expect("a map").nth(1) else { return found };
    for (name, value) in fields(description) {
        match name.as_str() {
            "group" | "since" => drop(found.insert(name, text(value))),
            "arguments" => drop(found.insert(name, leaves(value).join(" "))),
            _ => {}
        }
    }
    found
}

fn fields(map: &[u8]) -> Vec<(String, &[u8])> {
    let parts: Vec<_> = elements(map).expect("a map").collect();
    parts.chunks(2).map(|pair| (text(pair[0]), pair[1])).collect()
}

fn leaves(arguments: &[u8]) -> Vec<String> {
    let of = |argument: &[u8]| {
        let facts = fields(argument);
        let fact = |name: &str| facts.iter().find(|(known, _)| known == name).map(|(_, value)| *value);
        match fact("arguments") {
            Some(inner) => leaves(inner),
            None => vec![["name", "type"].map(|name| fact(name).map(text).unwrap_or_default()).join(":")],
        }
    };
    elements(arguments).expect("an array").flat_map(of).collect()
}

/// Commands whose documented arguments differ, with the reason.
const DOCS_DIFFERENCES: &[(&str, &str)] = &[
    ("bitop", "operations told apart since 7.2"),
    ("client|kill", "filters documented otherwise since 7.2"),
    ("client|no-touch", "new in 7.2"),
    ("client|pause", "7.2 says that it came later"),
    ("waitaof", "new in 7.2"),
    ("client|setinfo", "new in 7.2"),
    ("cluster|meet", "7.2 spells an argument with hyphens"),
    ("cluster|myshardid", "new in 7.2"),
    ("cluster|setslot", "7.2 gives its arguments names of their own"),
    ("latency|histogram", "7.2 spells its argument in capitals"),
    ("command|getkeys", "arguments documented since 7.2"),
    ("command|getkeysandflags", "arguments documented since 7.2"),
    ("lcs", "7.0 calls two arguments `len`"),
    ("sort", "patterns told apart since 7.2"),
    ("sort_ro", "patterns told apart since 7.2"),
];

#[test]
fn command_docs_tell_the_facts_that_redis_tells() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
    oracle.say("HELLO 3");
    ours.say("HELLO 3");
    let mut offences = Vec::new();
    for name in names(&mut ours) {
        let request = format!("COMMAND DOCS {name}");
        let [expected, got] = [&mut oracle, &mut ours].map(|side| facts(&side.say(&request)));
        if expected != got && !DOCS_DIFFERENCES.iter().any(|(known, _)| *known == name) {
            offences.push(format!("{name}\n  expected {expected:?}\n  got      {got:?}"));
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn the_count_is_that_of_the_list() {
    let ours = Server::slotmesh(2, 2, &[]);
    let mut ours = ours.connect();
    let count: usize = text(&ours.say("COMMAND COUNT")).parse().expect("a number");
    let commands = names(&mut ours).into_iter().filter(|name| !name.contains('|')).count();
    let reply = ours.say("COMMAND");
    assert_eq!(elements(&reply).expect("an array").count(), count);
    assert_eq!(commands, count);
}

/// CONFIG GET * of a server.
fn settings(connection: &mut Connection) -> BTreeMap<String, String> {
    let reply = connection.say("CONFIG GET *");
    let parts: Vec<_> = elements(&reply).expect("a map").map(text).collect();
    parts.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
}

#[test]
fn settings_have_the_names_and_defaults_of_redis() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    let (mut oracle, mut ours) = (oracle.connect(), ours.connect());
    let (expected, got) = (settings(&mut oracle), settings(&mut ours));
    let is_known = |name: &str| SETTING_DIFFERENCES.iter().any(|(known, _)| *known == name);
    let offences: Vec<_> = expected
        .iter()
        .filter(|(name, value)| !is_known(name) && got.get(*name) != Some(value))
        .map(|(name, value)| format!("{name}: expected {value:?}, got {:?}", got.get(name)))
        .collect();
    assert!(offences.is_empty(), "{}", offences.join("\n"));
}

#[test]
fn client_lines_have_the_fields_of_redis() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    for line in ["CLIENT INFO", "CLIENT LIST"] {
        let [expected, got] = [&oracle, &ours].map(|server| {
            let text = server.connect().text(line);
            // A connection from before may be on its way out.
            let own = text.trim_end().lines().last().unwrap_or_default();
            let fields = own.split_whitespace().map(|field| field.split('=').next().unwrap_or_default().to_owned());
            fields.collect::<Vec<_>>()
        });
        // 7.2 appends two.
        let expected = [expected, vec!["lib-name".to_owned(), "lib-ver".to_owned()]].concat();
        let expected = if slotmesh_conform::is_self_test() { got.clone() } else { expected };
        assert_eq!(expected, got, "{line}");
    }
}

#[test]
fn client_list_tells_who_is_connected() {
    let server = Server::slotmesh(3, 3, &[]);
    let mut connections: Vec<_> = (0..9).map(|_| server.connect()).collect();
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.say(&format!("CLIENT SETNAME client-{index}"));
        connection.say(&format!("SELECT {index}"));
    }
    let address = connections[4].local_address();
    let list = connections[0].text("CLIENT LIST");
    let line = list.lines().find(|line| line.contains(&format!(" addr={address} "))).expect("a line per client");
    for field in [" name=client-4 ", " db=4 ", " cmd=select ", " resp=2 ", " multi=-1 ", " flags=N "] {
        assert!(line.contains(field), "{field} in {line}");
    }
    for index in 0..9 {
        assert_eq!(list.lines().filter(|line| line.contains(&format!(" name=client-{index} "))).count(), 1, "{list}");
    }
    let ids: Vec<String> = connections.iter_mut().map(|connection| text(&connection.say("CLIENT ID"))).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 9, "ids are unique: {ids:?}");
    let two = connections[0].text(&format!("CLIENT LIST ID {} {}", ids[3], ids[8]));
    let named: Vec<_> = ["client-3", "client-8"].into_iter().filter(|name| two.contains(name)).collect();
    assert!(two.lines().count() == 2 && named.len() == 2, "{two}");
}

#[test]
fn info_has_the_fields_that_tools_read() {
    let server = Server::slotmesh(2, 2, &[]);
    let mut connection = server.connect();
    connection.say("SET a 1");
    connection.say("SET b 1 EX 1000");
    connection.say("GET a");
    connection.say("GET nosuch");
    let info = connection.text("INFO");
    let field = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("{name} in {info}")).to_owned()
    };
    assert_eq!(field("tcp_port"), server.port().to_string());
    assert_eq!(field("process_id"), server.pid().to_string());
    assert_eq!(field("redis_mode"), "standalone");
    assert_eq!(field("role"), "master");
    assert_eq!(field("connected_clients"), "1");
    assert_eq!(field("keyspace_hits"), "1");
    assert_eq!(field("keyspace_misses"), "1");
    assert!(field("db0").starts_with("keys=2,expires=1,avg_ttl="), "{}", field("db0"));
    let others = ["redis_version", "uptime_in_seconds", "used_memory", "used_memory_rss", "total_commands_processed"];
    others.into_iter().chain(["maxmemory", "connected_slaves"]).for_each(|name| drop(field(name)));
    let sections = connection.text("INFO server keyspace");
    assert!(sections.contains("# Server") && sections.contains("# Keyspace") && !sections.contains("# Memory"));
}
