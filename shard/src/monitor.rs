//! MONITOR: which commands are shown to those who watch, and as what line.
//!
//! Mirrors Redis 7.2 `replication.c` (`replicationFeedMonitors`) and `server.c` (`call`, `processCommand`).

use crate::{Client, slow_log};
use slotmesh_base::ReplyError;
use slotmesh_command::{Flags, Spec};
use slotmesh_resp::{Args, Reply};
use std::io::Write;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Whether a command is shown: not what administrators do.
pub fn is_shown(spec: &Spec) -> bool {
    !spec.flags.intersects(Flags::ADMIN | Flags::SKIP_MONITOR)
}

/// Appends the line of a command that a client has run, line end included: as a status reply, in either protocol.
/// `unix_micros` is the time, `socket_path` the path of the unix socket.
pub fn write_line(
    client: &Client,
    spec: &Spec,
    args: Args<'_>,
    unix_micros: i64,
    socket_path: &str,
    out: &mut Vec<u8>,
) {
    let (seconds, micros) = (unix_micros.div_euclid(MICROS_PER_SECOND), unix_micros.rem_euclid(MICROS_PER_SECOND));
    let head = match client.unix_socket {
        true => write!(out, "+{seconds}.{micros:06} [{} unix:{socket_path}]", client.db),
        false => write!(out, "+{seconds}.{micros:06} [{} {}]", client.db, client.address),
    };
    head.expect("memory takes everything");
    let secrets = slow_log::secrets(spec, args);
    for (index, argument) in args.iter_from(0).enumerate() {
        out.push(b' ');
        write_quoted(if secrets.contains(&index) { slow_log::REDACTED } else { argument }, out);
    }
    out.extend_from_slice(b"\r\n");
}

/// Bytes in quotes (Redis 7.2 `sds.c` `sdscatrepr`).
fn write_quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for &byte in text {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            7 => out.extend_from_slice(b"\\a"),
            8 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => write!(out, "\\x{byte:02x}").expect("memory takes everything"),
        }
    }
    out.push(b'"');
}

/// Refuses a command of a client that watches, if it works on keys; whether it did.
pub fn refuse_to_monitor(client: &mut Client, spec: Option<&Spec>, reply: &mut Reply<'_>) -> bool {
    let works_on_keys = Flags::READONLY | Flags::WRITE | Flags::MAY_REPLICATE;
    if !client.is_monitor || !spec.is_some_and(|spec| spec.flags.intersects(works_on_keys)) {
        return false;
    }
    if let Some(transaction) = &mut client.transaction {
        transaction.is_refused = true;
    }
    reply.error(ReplyError::NotForReplicas);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NOW, Request};
    use slotmesh_command::resolve;

    fn line(client: &Client, words: &[&[u8]]) -> String {
        let (request, mut out) = (Request::new(words), Vec::new());
        write_line(client, resolve(request.args()).unwrap(), request.args(), 1_700_000_000_000_042, "/s", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_has_time_database_address_and_quoted_arguments() {
        let mut client = Client { address: "127.0.0.1:5".to_owned(), db: 3, ..Client::new(1, NOW) };
        let words: &[&[u8]] = &[b"set", b"k\r\n\t\x07\x08\\\"", b"\0\x7f\xff ~"];
        let quoted = r#""set" "k\r\n\t\a\b\\\"" "\x00\x7f\xff ~""#;
        assert_eq!(line(&client, words), format!("+1700000000.000042 [3 127.0.0.1:5] {quoted}\r\n"));
        client.unix_socket = true;
        assert_eq!(line(&client, &[b"PING"]), "+1700000000.000042 [3 unix:/s] \"PING\"\r\n");
    }

    #[test]
    fn passwords_are_shown_to_nobody() {
        let client = Client::new(1, NOW);
        let requests: [&[&[u8]]; 3] =
            [&[b"AUTH", b"pw"], &[b"AUTH", b"user", b"pw"], &[b"HELLO", b"3", b"AUTH", b"u", b"pw"]];
        for words in requests {
            let line = line(&client, words);
            assert!(!line.contains("pw") && line.contains("\"(redacted)\""), "{line}");
        }
    }

    #[test]
    fn what_administrators_do_is_not_shown() {
        let is_shown = |name: &str| is_shown(resolve(Request::words(name).args()).unwrap());
        assert!(
            ["GET k", "MULTI", "EXEC", "AUTH x", "HELLO", "QUIT", "PUBLISH c m", "CLIENT ID"]
                .map(is_shown)
                .iter()
                .all(|&shown| shown)
        );
        assert!(
            !["CONFIG GET x", "MONITOR", "DEBUG HELP", "CLIENT LIST", "SAVE", "SLOWLOG GET"]
                .map(is_shown)
                .iter()
                .any(|&shown| shown)
        );
    }
}
