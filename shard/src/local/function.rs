//! FUNCTION, of a node that has no libraries yet.
//!
//! Mirrors Redis 7.2 `functions.c` where there are none.

use super::{client, command};
use slotmesh_command::NodeCommand;
use slotmesh_resp::{Args, Reply};

/// The newest version of serialized values that we read (Redis 7.2 `rdb.h` `RDB_VERSION`).
const DUMP_VERSION: u16 = 11;
/// That of a payload without libraries: the first which has functions (Redis 7.0), since `redis-cli --cluster add-node`
/// gives our payload to the new node, which may be of any release.
const EMPTY_DUMP_VERSION: u16 = 10;
/// Bytes behind a serialized value: its version and its checksum, both little-endian.
const FOOTER_BYTES: usize = 10;
/// What stands before a library.
const LIBRARY: u8 = 245;
/// What stood before one in release candidates of Redis 7.0.
const LIBRARY_OF_CANDIDATES: u8 = 246;

pub(super) fn function(what: NodeCommand, args: Args<'_>, reply: &mut Reply<'_>) {
    match what {
        NodeCommand::FunctionDelete => reply.error_text(b"ERR Library not found"),
        NodeCommand::FunctionDump => reply.bulk(&empty_dump()),
        NodeCommand::FunctionFlush => flush(args, reply),
        NodeCommand::FunctionKill => reply.error_text(b"NOTBUSY No scripts in execution right now."),
        NodeCommand::FunctionList => list(args, reply),
        NodeCommand::FunctionRestore => match restore(args) {
            Ok(()) => reply.ok(),
            Err(refusal) => reply.error_text(refusal),
        },
        NodeCommand::FunctionStats => stats(reply),
        _ => command::help(args, reply),
    }
}

fn flush(args: Args<'_>, reply: &mut Reply<'_>) {
    let is_known =
        args.find(2).is_none_or(|how| how.eq_ignore_ascii_case(b"sync") || how.eq_ignore_ascii_case(b"async"));
    match args.len() {
        2 | 3 if is_known => reply.ok(),
        2 | 3 => reply.error_text(b"ERR FUNCTION FLUSH only supports SYNC|ASYNC option"),
        _ => command::wrong_subcommand(args, reply),
    }
}

fn list(args: Args<'_>, reply: &mut Reply<'_>) {
    let (mut with_code, mut has_pattern) = (false, false);
    let mut words = args.iter_from(2);
    while let Some(word) = words.next() {
        if !with_code && word.eq_ignore_ascii_case(b"withcode") {
            with_code = true;
        } else if !has_pattern && word.eq_ignore_ascii_case(b"libraryname") {
            if words.next().is_none() {
                return reply.error_text(b"ERR library name argument was not given");
            }
            has_pattern = true;
        } else {
            // Line ends at its end count here, as blanks.
            let word: Vec<u8> = client::until_nul(word).iter().map(|&byte| blank_for_line_end(byte)).collect();
            return reply.error_text(&[b"ERR Unknown argument ", &word[..]].concat());
        }
    }
    reply.array(0);
}

fn stats(reply: &mut Reply<'_>) {
    reply.map(2);
    reply.bulk(b"running_script");
    reply.null();
    reply.bulk(b"engines");
    reply.map(1);
    reply.bulk(b"LUA");
    reply.map(2);
    reply.bulk(b"libraries_count");
    reply.integer(0);
    reply.bulk(b"functions_count");
    reply.integer(0);
}

/// Takes what [`empty_dump`] prints, of this or an older version.
fn restore(args: Args<'_>) -> Result<(), &'static [u8]> {
    if args.len() > 4 {
        return Err(b"ERR unknown subcommand or wrong number of arguments for 'RESTORE'. Try FUNCTION HELP.");
    }
    let policies: [&[u8]; 3] = [b"append", b"replace", b"flush"];
    if args.find(3).is_some_and(|word| !policies.iter().any(|policy| word.eq_ignore_ascii_case(policy))) {
        return Err(b"ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.");
    }
    let libraries = without_footer(args.at(2)).ok_or(b"ERR DUMP payload version or checksum are wrong".as_slice())?;
    match libraries.first() {
        None => Ok(()),
        Some(&LIBRARY) => Err(b"ERR libraries of functions are not supported yet: only an empty payload is taken"),
        Some(&LIBRARY_OF_CANDIDATES) => Err(b"ERR Pre-GA function format not supported"),
        Some(_) => Err(b"ERR given type is not a function"),
    }
}

/// No libraries, as DUMP prints them.
fn empty_dump() -> Vec<u8> {
    let mut dump = EMPTY_DUMP_VERSION.to_le_bytes().to_vec();
    let sum = checksum(&dump);
    dump.extend_from_slice(&sum.to_le_bytes());
    dump
}

/// A serialized value without its footer, if that is right (Redis 7.2 `cluster.c` `verifyDumpPayload`).
fn without_footer(dump: &[u8]) -> Option<&[u8]> {
    let (value, footer) = dump.split_at_checked(dump.len().checked_sub(FOOTER_BYTES)?)?;
    let (version, sum) = footer.split_at_checked(2)?;
    let is_readable = u16::from_le_bytes(version.try_into().ok()?) <= DUMP_VERSION;
    let summed = &dump[..value.len() + version.len()];
    (is_readable && sum == checksum(summed).to_le_bytes()).then_some(value)
}

/// CRC-64/Jones (Redis `crc64.c`), bit by bit: nothing is long here.
fn checksum(bytes: &[u8]) -> u64 {
    const POLYNOMIAL_REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
    bytes.iter().fold(0, |crc, &byte| {
        (0..8)
            .fold(crc ^ u64::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL_REFLECTED } else { crc >> 1 })
    })
}

fn blank_for_line_end(byte: u8) -> u8 {
    if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }
}

#[cfg(test)]
mod tests {
    use super::{checksum, empty_dump, without_footer};

    #[test]
    fn the_checksum_is_that_of_redis() {
        assert_eq!(checksum(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    #[test]
    fn a_dump_is_read_unless_it_is_newer_or_broken() {
        let dump = empty_dump();
        assert_eq!(without_footer(&dump), Some(&b""[..]));
        for place in 0..dump.len() {
            let mut broken = dump.clone();
            broken[place] ^= 1;
            assert_eq!(without_footer(&broken), None, "byte {place}");
        }
        let signed = |version: u16| {
            let head = version.to_le_bytes().to_vec();
            [head.clone(), checksum(&head).to_le_bytes().to_vec()].concat()
        };
        assert!(without_footer(&signed(10)).is_some() && without_footer(&signed(12)).is_none());
        assert_eq!(without_footer(b"123456789"), None);
    }
}
