//! What a client is told that asks for a command that does not exist.

use crate::{Spec, Unknown};
use slotmesh_resp::{Args, Reply};

/// Bytes of a name, and of all arguments together, that an error repeats.
const ECHOED_BYTES_MAX: usize = 128;

/// The error for a request without a row (see [`resolve`](crate::resolve)).
pub fn write_unknown(unknown: Unknown, args: Args<'_>, reply: &mut Reply<'_>) {
    match unknown {
        Unknown::Command => write_unknown_command(args, reply),
        Unknown::Subcommand(container) => write_unknown_subcommand(container, args, reply),
    }
}

/// `unknown command 'FOO', with args beginning with: 'a' 'b' `: the name and the arguments (with their quotes) are
/// cut at 128 bytes (Redis 7.2 `commandCheckExistence`).
pub fn write_unknown_command(args: Args<'_>, reply: &mut Reply<'_>) {
    let mut echoed = Vec::new();
    for argument in args.iter_from(1) {
        let Some(room @ 1..) = ECHOED_BYTES_MAX.checked_sub(echoed.len()) else { break };
        echoed.push(b'\'');
        echoed.extend_from_slice(shown(argument, room));
        echoed.extend_from_slice(b"' ");
    }
    let name = shown(args.find(0).unwrap_or_default(), ECHOED_BYTES_MAX);
    reply.error_text(&[b"ERR unknown command '", name, b"', with args beginning with: ", &echoed].concat());
}

/// `unknown subcommand 'foo'. Try CLIENT HELP.`, the name cut at 128 bytes.
pub fn write_unknown_subcommand(container: &Spec, args: Args<'_>, reply: &mut Reply<'_>) {
    let name = shown(args.find(1).unwrap_or_default(), ECHOED_BYTES_MAX);
    let container = container.name.to_ascii_uppercase();
    reply.error_text(&[b"ERR unknown subcommand '", name, b"'. Try ", container.as_bytes(), b" HELP."].concat());
}

/// What Redis shows of bytes that it prints as a C string: up to the first zero, and no more than `room`.
fn shown(bytes: &[u8], room: usize) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    &bytes[..end.min(room)]
}
