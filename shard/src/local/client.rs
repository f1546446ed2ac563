//! CLIENT: names, ids and lines of connections.

use super::filter::ClientKind;
use super::node::{ClientFilter, NodeAction};
use super::tracking::redirect_of;
use crate::{Client, Replies, TrackingMode};
use slotmesh_base::{ReplyError, UnixMillis};
use slotmesh_command::{ChannelKind, parse_integer};
use slotmesh_resp::{Args, Protocol, Reply};
use std::io::Write;

pub(super) fn id(client: &Client, reply: &mut Reply<'_>) {
    reply.integer(client.id as i64);
}

pub(super) fn get_name(client: &Client, reply: &mut Reply<'_>) {
    if client.name.is_empty() { reply.null() } else { reply.bulk(&client.name) }
}

pub(super) fn set_name(client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
    let name = args.at(2);
    if !is_printable(name) {
        return reply.error(ReplyError::ClientNameCharacters);
    }
    client.name = name.to_vec();
    reply.ok();
}

pub(super) fn set_info(client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
    let (option, value) = (args.at(2), args.at(3));
    let field = if option.eq_ignore_ascii_case(b"lib-name") {
        &mut client.lib_name
    } else if option.eq_ignore_ascii_case(b"lib-ver") {
        &mut client.lib_version
    } else {
        return reply.error_text(&[b"ERR Unrecognized option '", until_nul(option), b"'"].concat());
    };
    if !is_printable(value) {
        return reply
            .error_text(&[b"ERR ", option, b" cannot contain spaces, newlines or special characters."].concat());
    }
    *field = value.to_vec();
    reply.ok();
}

/// Whether a name or attribute can stand in a line of CLIENT LIST: every byte from `!` to `~`.
pub(super) fn is_printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

/// The part of an argument that Redis prints in an error: it ends at a zero byte.
pub(super) fn until_nul(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The version's number.
pub(super) fn protocol_number(client: &Client) -> i64 {
    match client.protocol {
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    }
}

/// CLIENT INFO: the connection waits for this reply, so its query buffer holds this request and nothing more.
pub(super) fn info(client: &Client, args: Args<'_>, now: UnixMillis, reply: &mut Reply<'_>) {
    let mut text = Vec::new();
    describe_client(client, client.fd, 0, request_bytes(args), now, &mut text);
    reply.verbatim(b"txt", &text);
}

/// Bytes of a request as an array of bulk strings: what Redis's query buffer holds while it runs.
fn request_bytes(args: Args<'_>) -> usize {
    let digits = |number: usize| number.checked_ilog10().map_or(1, |power| power as usize + 1);
    let head = |number: usize| "$\r\n".len() + digits(number);
    head(args.len()) + args.iter_from(0).map(|word| head(word.len()) + word.len() + "\r\n".len()).sum::<usize>()
}

/// CLIENT LIST: which clients; their lines are with the cores.
pub(super) fn list(args: Args<'_>, reply: &mut Reply<'_>) -> NodeAction {
    match parse_list(args) {
        Ok(filter) => return NodeAction::ListClients { filter, request_bytes: request_bytes(args) },
        Err(ListError::Syntax) => reply.error(ReplyError::Syntax),
        Err(ListError::Id) => reply.error_text(b"ERR Invalid client ID"),
        Err(ListError::Type(name)) => {
            reply.error_text(&[b"ERR Unknown client type '", until_nul(name), b"'"].concat());
        }
    }
    NodeAction::Done
}

/// CLIENT UNBLOCK: the reason is looked at before the id (Redis 7.2 `networking.c` `clientCommand`). A negative id is
/// nobody's; it becomes one that nobody reaches.
pub(super) fn unblock(args: Args<'_>, reply: &mut Reply<'_>) -> NodeAction {
    let with_error = match (args.len(), args.find(3)) {
        (3, _) => false,
        (4, Some(reason)) if reason.eq_ignore_ascii_case(b"timeout") => false,
        (4, Some(reason)) if reason.eq_ignore_ascii_case(b"error") => true,
        (4, _) => {
            reply.error_text(b"ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
            return NodeAction::Done;
        }
        _ => {
            let before: &[u8] = b"ERR unknown subcommand or wrong number of arguments for '";
            reply.error_text(&[before, args.at(1), b"'. Try CLIENT HELP."].concat());
            return NodeAction::Done;
        }
    };
    match parse_integer(args.at(2)) {
        Ok(id) => NodeAction::Unblock { client: id as u64, with_error },
        Err(error) => {
            reply.error(error);
            NodeAction::Done
        }
    }
}

/// ON or OFF.
pub(super) fn switch(word: &[u8]) -> Option<bool> {
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    if is(b"on") { Some(true) } else { is(b"off").then_some(false) }
}

/// CLIENT NO-EVICT and CLIENT NO-TOUCH.
pub(super) fn set_switch(state: &mut bool, args: Args<'_>, reply: &mut Reply<'_>) {
    match switch(args.at(2)) {
        Some(is_on) => {
            *state = is_on;
            reply.ok();
        }
        None => reply.error(ReplyError::Syntax),
    }
}

/// CLIENT REPLY: only ON is answered.
pub(super) fn set_replies(client: &mut Client, args: Args<'_>, reply: &mut Reply<'_>) {
    match Replies::named(args.at(2)) {
        Some(Replies::On) => {
            client.replies = Replies::On;
            reply.ok();
        }
        // Whoever hears nothing has nothing to skip.
        Some(Replies::SkipNext) if client.replies == Replies::Off => {}
        Some(replies) => client.replies = replies,
        None => reply.error(ReplyError::Syntax),
    }
}

enum ListError<'a> {
    Syntax,
    Id,
    Type(&'a [u8]),
}

/// TYPE and ID exclude each other (Redis 7.2 `networking.c` `clientCommand`).
fn parse_list(args: Args<'_>) -> Result<ClientFilter, ListError<'_>> {
    let is = |option: &[u8]| args.find(2).is_some_and(|word| word.eq_ignore_ascii_case(option));
    if args.len() == 2 {
        Ok(ClientFilter::default())
    } else if args.len() == 4 && is(b"type") {
        let kind = ClientKind::find(args.at(3)).ok_or(ListError::Type(args.at(3)))?;
        Ok(ClientFilter { kind: Some(kind), ..ClientFilter::default() })
    } else if args.len() > 3 && is(b"id") {
        // A negative number is nobody's; it becomes one that nobody reaches.
        let id = |word| parse_integer(word).map(|id| id as u64);
        let ids = args.iter_from(3).map(id).collect::<Result<_, _>>().map_err(|_| ListError::Id)?;
        Ok(ClientFilter { ids, ..ClientFilter::default() })
    } else {
        Err(ListError::Syntax)
    }
}

/// Appends a client's line of `CLIENT LIST` and `CLIENT INFO`, line end included. `output` and `input` are the
/// bytes that its reply queue and query buffer hold, `fd` its descriptor. The fields are those of Redis 7.2
/// (`networking.c` `catClientInfoString`).
pub fn describe_client(client: &Client, fd: i32, output: usize, input: usize, now: UnixMillis, text: &mut Vec<u8>) {
    let age = |since: UnixMillis| now.as_secs() - since.as_secs();
    let transaction = client.transaction.as_ref().map_or(0, |queued| queued.memory_bytes());
    let heard = client.subscribed.as_ref();
    let [channels, patterns, shard_channels] = ChannelKind::ALL.map(|kind| heard.map_or(0, |heard| heard.count(kind)));
    let memory = output + input + transaction + heard.map_or(0, |heard| heard.memory_bytes());
    let memory = memory + size_of::<Client>() + client.name.len() + client.address.len();
    write(text, format_args!("id={} addr={} laddr={} fd={fd} name=", client.id, client.address, client.local_address));
    text.extend_from_slice(&client.name);
    write(text, format_args!(" age={} idle={} flags=", age(client.connected_at), age(client.active_at)));
    write_flags(client, text);
    let (multi, multi_bytes) =
        client.transaction.as_ref().map_or((-1, 0), |queued| (queued.len() as i64, queued.memory_bytes()));
    write(text, format_args!(" db={} sub={channels} psub={patterns} ssub={shard_channels}", client.db));
    write(text, format_args!(" multi={multi} qbuf={input} qbuf-free=0"));
    write(text, format_args!(" argv-mem=0 multi-mem={multi_bytes} rbs=0 rbp=0 obl=0 oll={}", usize::from(output > 0)));
    write(text, format_args!(" omem={output} tot-mem={memory} events={}", if output > 0 { "rw" } else { "r" }));
    let command = client.last_command.map_or("NULL", |spec| spec.full_name);
    write(text, format_args!(" cmd={command} user=default redir={}", redirect_of(client)));
    write(text, format_args!(" resp={} lib-name=", protocol_number(client)));
    text.extend_from_slice(&client.lib_name);
    text.extend_from_slice(b" lib-ver=");
    text.extend_from_slice(&client.lib_version);
    text.push(b'\n');
}

/// The letters of Redis's `catClientInfoString`, in its order.
fn write_flags(client: &Client, text: &mut Vec<u8>) {
    let (before, tracking) = (text.len(), client.tracking.as_deref());
    let letters = [
        (client.is_monitor, b'O'),
        (client.is_attached(), b'S'),
        (client.is_subscriber(), b'P'),
        (client.transaction.is_some(), b'x'),
        (client.is_blocked, b'b'),
        (tracking.is_some(), b't'),
        (tracking.is_some_and(|tracking| tracking.is_broken), b'R'),
        (tracking.is_some_and(|tracking| tracking.mode == TrackingMode::Broadcast), b'B'),
        (client.closing, b'c'),
        (client.unix_socket, b'U'),
        (client.is_readonly, b'r'),
        (client.no_evict, b'e'),
        (client.no_touch, b'T'),
    ];
    text.extend(letters.iter().filter(|(holds, _)| *holds).map(|&(_, letter)| letter));
    if text.len() == before {
        text.push(b'N');
    }
}

fn write(text: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    text.write_fmt(arguments).expect("memory takes everything");
}
