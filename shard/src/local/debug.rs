//! DEBUG: for developers, and only for those whom `enable-debug-command` names.
//!
//! Mirrors Redis 7.2 `debug.c`. Switches of parts that we do not have (`REPLYBUFFER`, `PAUSE-CRON` …) are taken and do
//! nothing, so that test suites which set them go on.

mod protocol;

use super::command::wrong_subcommand;
use super::node::{DebugAct, Node, NodeAction, Reloading};
use crate::{Client, Inspection};
use slotmesh_base::ReplyError;
use slotmesh_command::{glob, parse_integer};
use slotmesh_conf::directive;
use slotmesh_resp::{Args, Reply};

/// Bytes of pages that a shard may keep for a snapshot unless the request says otherwise.
const COPIES_BYTES_MAX: usize = 256 << 20;
/// Greatest threshold of `QUICKLIST-PACKED-THRESHOLD`.
const PACKED_THRESHOLD_MAX: u64 = (1 << 32) - (1 << 20);
/// Longest sleep, in seconds: a day.
const SLEEP_SECONDS_MAX: f64 = 86_400.0;

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ASSERT | PANIC | OOM | SEGFAULT",
    "    End the process as a bug would.",
    "CHANGE-REPL-ID",
    "    Taken, without effect before there is replication.",
    "CONFIG-REWRITE-FORCE-ALL",
    "    As CONFIG REWRITE, with the directives that have their default.",
    "DIGEST",
    "    A hash of all keys and values of all databases.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    A hash of each value.",
    "ERROR <string>",
    "    Answer with this error.",
    "HTSTATS <db>",
    "    Tell about the tables of a database, shard by shard.",
    "HTSTATS-KEY <key>",
    "    Tell about the hash table of a value.",
    "LOADAOF",
    "    Load all data from the append-only file.",
    "LOG <message>",
    "    Write into the log.",
    "OBJECT <key>",
    "    Tell how a value is kept.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Make string keys for tests.",
    "PROTOCOL <type>",
    "    Answer with a reply of that type: string, integer, double, bignum, null, array, set, map, attrib, push,",
    "    verbatim, true, false.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Save all data, unless they are not to be, and load them again: in place of the keys that there are, or (NOFLUSH)",
    "    beside them, where those of the same name give way (MERGE).",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether keys that are over are removed before somebody asks for them.",
    "SLEEP <seconds>",
    "    Have the core that serves this connection do nothing for a while; decimals are allowed.",
    "SNAPSHOT [<bytes>]",
    "    Walk a snapshot of every shard and throw it away; pages of up to <bytes> are kept for it.",
    "STRINGMATCH-LEN <pattern> <string>",
    "    Whether a string fits a pattern of KEYS.",
    "HELP",
    "    Print this help.",
];

pub(super) fn debug(client: &Client, args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) -> NodeAction {
    let is_allowed = match node.settings().value(directive::ENABLE_DEBUG_COMMAND) {
        "yes" => true,
        "local" => is_local(client),
        _ => false,
    };
    if !is_allowed {
        reply.error_text(NOT_ALLOWED);
        return NodeAction::Done;
    }
    let name = args.at(1).to_ascii_lowercase();
    match asks_of_cores(&name, args, node, reply) {
        Some(action) => action,
        None => {
            answer_here(&name, args, node, reply);
            NodeAction::Done
        }
    }
}

/// What a subcommand asks of all cores, if it is one that does; the refusal is written if it asks wrongly.
fn asks_of_cores(name: &[u8], args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) -> Option<NodeAction> {
    let inspect = |what| Some(NodeAction::Inspect(what));
    match (name, args.len()) {
        (b"snapshot", 2) => Some(NodeAction::DrillSnapshot { copies_bytes_max: COPIES_BYTES_MAX }),
        (b"snapshot", 3) => {
            let bytes = parse_integer(args.at(2)).ok().and_then(|bytes| usize::try_from(bytes).ok());
            bytes.map(|copies_bytes_max| NodeAction::DrillSnapshot { copies_bytes_max })
        }
        (b"reload", _) => Some(reload(args, reply)),
        (b"loadaof", _) => Some(NodeAction::Reload(Reloading::Log)),
        (b"digest", 2) => inspect(Inspection::Digest),
        (b"digest-value", 2) => {
            reply.array(0);
            Some(NodeAction::Done)
        }
        (b"digest-value", _) => inspect(Inspection::DigestValue),
        (b"object", 3) => inspect(Inspection::Object),
        (b"htstats-key", 3..) => inspect(Inspection::ObjectTable),
        (b"htstats", 3..) => Some(checked(check_db(args, node), Inspection::Tables, reply)),
        (b"populate", 3..=5) => Some(checked(check_population(args), Inspection::Populate, reply)),
        _ => None,
    }
}

fn reload(args: Args<'_>, reply: &mut Reply<'_>) -> NodeAction {
    let (mut saves, mut keeps, mut merges) = (true, false, false);
    for word in args.iter_from(2) {
        match &*word.to_ascii_lowercase() {
            b"nosave" => saves = false,
            b"noflush" => keeps = true,
            b"merge" => merges = true,
            _ => {
                reply.error_text(b"ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.");
                return NodeAction::Done;
            }
        }
    }
    NodeAction::Reload(Reloading::Dump { saves, keeps, merges })
}

fn checked(refusal: Result<(), &'static [u8]>, what: Inspection, reply: &mut Reply<'_>) -> NodeAction {
    match refusal {
        Ok(()) => NodeAction::Inspect(what),
        Err(text) => {
            reply.error_text(text);
            NodeAction::Done
        }
    }
}

const NOT_AN_INTEGER: &[u8] = b"ERR value is not an integer or out of range";
const NOT_POSITIVE: &[u8] = b"ERR value is out of range, must be positive";

fn check_db(args: Args<'_>, node: &dyn Node) -> Result<(), &'static [u8]> {
    let db = parse_integer(args.at(2)).map_err(|_| NOT_AN_INTEGER)?;
    let databases = node.settings().value(directive::DATABASES);
    let is_there = usize::try_from(db).is_ok_and(|db| db < databases);
    is_there.then_some(()).ok_or(b"ERR Out of range database".as_slice())
}

fn check_population(args: Args<'_>) -> Result<(), &'static [u8]> {
    let check = |word: &[u8]| match parse_integer(word) {
        Ok(0..) => Ok(()),
        Ok(_) => Err(NOT_POSITIVE),
        Err(_) => Err(NOT_AN_INTEGER),
    };
    check(args.at(2))?;
    args.find(4).map_or(Ok(()), check)
}

/// Subcommands that this core answers by itself.
fn answer_here(name: &[u8], args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    match (name, args.len()) {
        (b"help", 2) => {
            reply.array(HELP.len());
            HELP.iter().for_each(|line| reply.simple(line));
        }
        (b"segfault", _) => node.debug(DebugAct::Fault),
        (b"panic", _) => node.debug(DebugAct::Crash("DEBUG PANIC called")),
        (b"assert", _) => node.debug(DebugAct::Crash("=== ASSERTION FAILED === DEBUG ASSERT called")),
        (b"oom", _) => node.debug(DebugAct::Crash("Out Of Memory allocating: DEBUG OOM called")),
        (b"config-rewrite-force-all", 2) => match node.rewrite_configuration(true) {
            Ok(()) => reply.ok(),
            Err(error) => {
                let reason = match &error {
                    slotmesh_conf::RewriteError::NoFile => "Bad address".to_owned(),
                    slotmesh_conf::RewriteError::System(_) => error.to_string(),
                };
                reply.error_text(format!("ERR CONFIG-REWRITE-FORCE-ALL failed: {reason}").as_bytes());
            }
        },
        (b"protocol", 3) => protocol::show(args.at(2), reply),
        (b"error", 3) => reply.error_text(args.at(2)),
        (b"stringmatch-len", 4) => reply.integer(i64::from(glob::matches(args.at(2), args.at(3)))),
        (b"quicklist-packed-threshold", 3) if memory(args.at(2)).is_none_or(|bytes| bytes > PACKED_THRESHOLD_MAX) => {
            reply.error_text(b"ERR argument must be a memory value bigger than 1 and smaller than 4gb");
        }
        (b"replybuffer", 4) if !is_reply_buffer_option(args) => wrong_subcommand(args, reply),
        (b"replybuffer", 4) if is_wrong_time(args) => reply.error(ReplyError::NotAnInteger),
        _ if is_act(name, args, node) => reply.ok(),
        _ => wrong_subcommand(args, reply),
    }
}

/// Does what is answered with OK; whether it is such a subcommand.
fn is_act(name: &[u8], args: Args<'_>, node: &dyn Node) -> bool {
    match (name, args.len()) {
        (b"log", 3) => node.debug(DebugAct::Log(args.at(2))),
        (b"sleep", 3) => node.debug(DebugAct::Sleep(sleep_micros(args.at(2)))),
        (b"set-active-expire", 3) => node.debug(DebugAct::ActiveExpiry(leading_integer(args.at(2)) != 0)),
        // Ours keeps large elements by themselves, whatever it says.
        (b"quicklist-packed-threshold", 3)
        | (b"replybuffer", 4)
        | (b"pause-cron" | b"set-disable-deny-scripts" | b"set-skip-checksum-validation" | b"aof-flush-sleep", 3)
        | (b"drop-cluster-packet-filter" | b"leak", 3)
        | (b"change-repl-id", 2) => {}
        _ => return false,
    }
    true
}

fn is_reply_buffer_option(args: Args<'_>) -> bool {
    args.at(2).eq_ignore_ascii_case(b"peak-reset-time") || args.at(2).eq_ignore_ascii_case(b"resizing")
}

fn is_wrong_time(args: Args<'_>) -> bool {
    let is_word = args.at(3).eq_ignore_ascii_case(b"never") || args.at(3).eq_ignore_ascii_case(b"reset");
    args.at(2).eq_ignore_ascii_case(b"peak-reset-time") && !is_word && parse_integer(args.at(3)).is_err()
}

/// The number that a word begins with, else 0 (C's `atoi`).
fn leading_integer(word: &[u8]) -> i64 {
    let text = str::from_utf8(word).unwrap_or_default().trim_start();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = digits.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or_default()
}

/// Seconds with decimals as microseconds; what is no such number is 0.
fn sleep_micros(word: &[u8]) -> u64 {
    let seconds: f64 = str::from_utf8(word).ok().and_then(|text| text.trim().parse().ok()).unwrap_or_default();
    (seconds.clamp(0.0, SLEEP_SECONDS_MAX) * 1e6) as u64
}

/// Bytes with a unit (Redis `util.c` `memtoull`).
fn memory(word: &[u8]) -> Option<u64> {
    let text = str::from_utf8(word).ok()?.to_ascii_lowercase();
    let unit_at = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(unit_at);
    let units = ["", "b", "k", "kb", "m", "mb", "g", "gb"];
    let factors = [1, 1, 1000, 1 << 10, 1_000_000, 1 << 20, 1_000_000_000, 1 << 30];
    let factor = units.iter().zip(factors).find_map(|(known, factor)| (*known == unit).then_some(factor))?;
    let number: u64 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
    number.checked_mul(factor)
}

/// Redis 7.2 `connection.h` `connIsLocal`.
fn is_local(client: &Client) -> bool {
    client.unix_socket || client.address.starts_with("127.") || client.address.starts_with("[::1]")
}

const NOT_ALLOWED: &[u8] = b"ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.";
