//! Inline requests: words, quotes and escapes (Redis: `sdssplitargs`), unescaped in place.
//!
//! Unescaping never lengthens a word, so its bytes are moved towards the word's beginning inside of the line
//! that they arrived in, and an argument stays a range of the received bytes.

use crate::{ArgRange, ProtocolError};
use alloc::vec::Vec;

/// Splits `input[start..end]`, a line without its end, into words that are pushed to `args` as ranges of
/// `input`. The line holds neither a line feed nor a zero byte.
///
/// # Errors
/// [`ProtocolError::UnbalancedQuotes`].
pub(crate) fn split_words(
    input: &mut [u8],
    start: usize,
    end: usize,
    args: &mut Vec<ArgRange>,
) -> Result<(), ProtocolError> {
    let line = &mut input[..end];
    let mut read = start;
    loop {
        while line.get(read).is_some_and(|byte| is_blank(*byte)) {
            read += 1;
        }
        if read >= end {
            return Ok(());
        }
        let word = read;
        let mut write = read;
        read = move_word(line, read, &mut write)?;
        args.push(ArgRange { start: word as u32, len: (write - word) as u32 });
    }
}

/// Moves the word at `read` to `write`, which ends up behind its last byte. Returns where the word ended.
fn move_word(line: &mut [u8], mut read: usize, write: &mut usize) -> Result<usize, ProtocolError> {
    while let Some(&byte) = line.get(read) {
        read += 1;
        match byte {
            b' ' | b'\r' | b'\t' => break,
            b'"' => return move_double_quoted(line, read, write),
            b'\'' => return move_single_quoted(line, read, write),
            _ => put(line, write, byte),
        }
    }
    Ok(read)
}

fn move_double_quoted(line: &mut [u8], mut read: usize, write: &mut usize) -> Result<usize, ProtocolError> {
    loop {
        let (byte, taken) = match line.get(read..).unwrap_or_default() {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'"', rest @ ..] => return behind_quote(rest, read + 1),
            [b'\\', b'x', high, low, ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex_value(*high) * 16 + hex_value(*low), 4)
            }
            [b'\\', escaped, ..] => (unescape(*escaped), 2),
            [byte, ..] => (*byte, 1),
        };
        put(line, write, byte);
        read += taken;
    }
}

fn move_single_quoted(line: &mut [u8], mut read: usize, write: &mut usize) -> Result<usize, ProtocolError> {
    loop {
        let (byte, taken) = match line.get(read..).unwrap_or_default() {
            [] => return Err(ProtocolError::UnbalancedQuotes),
            [b'\'', rest @ ..] => return behind_quote(rest, read + 1),
            [b'\\', b'\'', ..] => (b'\'', 2),
            [byte, ..] => (*byte, 1),
        };
        put(line, write, byte);
        read += taken;
    }
}

/// A closing quote ends its word: a blank or the end of the line must follow.
fn behind_quote(rest: &[u8], read: usize) -> Result<usize, ProtocolError> {
    match rest.first() {
        Some(byte) if !is_blank(*byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(read),
    }
}

fn put(line: &mut [u8], write: &mut usize, byte: u8) {
    line[*write] = byte;
    *write += 1;
}

/// What `isspace` of the C locale takes for a blank. A vertical tab or form feed separates words only beside
/// another separator: inside of a word it is an ordinary byte.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, ProtocolError> {
        let mut input = [b"..", line, b"."].concat();
        let mut args = Vec::new();
        split_words(&mut input, 2, 2 + line.len(), &mut args)?;
        Ok(args.iter().map(|range| input[range.start as usize..][..range.len as usize].to_vec()).collect())
    }

    #[test]
    fn words_are_split_and_unescaped() {
        let table: &[(&[u8], &[&[u8]])] = &[
            (b"", &[]),
            (b" \t \r ", &[]),
            (b"PING", &[b"PING"]),
            (b"  set  k\tv ", &[b"set", b"k", b"v"]),
            (b"a\rb", &[b"a", b"b"]),
            (b"\x0b\x0ca\x0bb", &[b"a\x0bb"]),
            (b"''", &[b""]),
            (b"\"\" ''", &[b"", b""]),
            (br#""a b" c"#, &[b"a b", b"c"]),
            (br#"foo"bar""#, &[b"foobar"]),
            (br#"foo'b"r'"#, &[b"foob\"r"]),
            (br#""\x41\x6a\xFf""#, &[b"Aj\xff"]),
            (br#""\x4" "\xg1""#, &[b"x4", b"xg1"]),
            (br#""\n\r\t\b\a\\\"\q""#, &[b"\n\r\t\x08\x07\\\"q"]),
            (br#"'a\'b\n'"#, &[b"a'b\\n"]),
            (br"a\nb\", &[br"a\nb\"]),
            (b"\"a\"\x0b'b'", &[b"a", b"b"]),
        ];
        for (line, expected) in table {
            assert_eq!(words(line).unwrap(), *expected, "{:?}", line.escape_ascii().to_string());
        }
    }

    #[test]
    fn quotes_must_balance_and_end_their_word() {
        for line in
            [r#"set k "abc"#, r#""a"b"#, r#"'a'b"#, r#"'a"#, r#""a\"#, r#""a\""#, r#"""""#, r#"'a\'"#, r#"a"b"c"#]
        {
            assert_eq!(words(line.as_bytes()), Err(ProtocolError::UnbalancedQuotes), "{line}");
        }
    }

    use std::string::ToString;
}
