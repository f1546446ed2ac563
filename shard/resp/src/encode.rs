//! Replies into an output buffer, in the protocol version that the client chose.

use crate::integer::{Decimal, push_line};
use crate::{ProtocolError, double};
use alloc::vec::Vec;
use core::fmt::{self, Write};
use slotmesh_base::ReplyError;

/// The protocol version of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Protocol {
    /// RESP2, the version that every connection starts with.
    #[default]
    Resp2,
    /// RESP3, chosen by `HELLO 3`.
    Resp3,
}

/// Appends a request, the command's name first, as RESP2 and RESP3 have it.
#[inline]
pub fn push_request<'a>(out: &mut Vec<u8>, arguments: impl ExactSizeIterator<Item = &'a [u8]>) {
    push_length(out, b'*', arguments.len());
    for argument in arguments {
        out.reserve(argument.len() + HEAD_BYTES_MAX + 2);
        push_length(out, b'$', argument.len());
        out.extend_from_slice(argument);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a length line; most lengths have one digit or two.
#[inline]
fn push_length(out: &mut Vec<u8>, kind: u8, length: usize) {
    match length {
        0..=9 => out.extend_from_slice(&[kind, b'0' + length as u8, b'\r', b'\n']),
        10..=99 => {
            let (tens, ones) = (length as u8 / 10, length as u8 % 10);
            out.extend_from_slice(&[kind, b'0' + tens, b'0' + ones, b'\r', b'\n']);
        }
        _ => push_line(out, kind, length as i64),
    }
}

/// Writer of replies. Appends to a buffer; never flushes.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

/// The place of an array's head that is written once its length is known, by [`Reply::close_array`].
#[derive(Debug)]
#[must_use = "without its head the reply is broken"]
pub struct Deferred {
    offset: usize,
}

impl<'a> Reply<'a> {
    /// A writer that appends to `out`.
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The version that this writer speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The buffer that the writer appends to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.out
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` must not contain a line end.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        debug_assert!(!text.contains(['\r', '\n']), "a line end inside of a simple string");
        self.line(b'+', text.as_bytes());
    }

    /// An error of the shared vocabulary.
    pub fn error(&mut self, error: ReplyError) {
        self.out.push(b'-');
        let Ok(()) = write!(Appender(self.out), "{error}") else { unreachable!("memory takes every text") };
        self.out.extend_from_slice(b"\r\n");
    }

    /// An error spelled by its room: code and text without the leading `-`. Line ends around it are dropped,
    /// those inside become spaces.
    pub fn error_text(&mut self, text: &[u8]) {
        let is_line_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
        let first = text.iter().position(|byte| !is_line_end(byte)).unwrap_or(text.len());
        let last = text.iter().rposition(|byte| !is_line_end(byte)).map_or(first, |last| last + 1);
        self.out.push(b'-');
        self.out.extend(text[first..last].iter().map(|byte| if is_line_end(byte) { b' ' } else { *byte }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// The error that ends a connection whose requests break the protocol.
    pub fn protocol_error(&mut self, error: ProtocolError) {
        let mut text = Vec::from(b"ERR ");
        text.extend_from_slice(error.text().as_bytes());
        if let ProtocolError::ExpectedBulk(byte) = error {
            text.extend_from_slice(&[byte, b'\'']);
        }
        self.error_text(&text);
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        if let Ok(digit @ 0..=9) = u8::try_from(value) {
            self.out.extend_from_slice(&[b':', b'0' + digit, b'\r', b'\n']);
        } else {
            push_line(self.out, b':', value);
        }
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + HEAD_BYTES_MAX + 2);
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string, as counters are read.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        self.bulk(Decimal::new(value).as_bytes());
    }

    /// A null: `$-1` in RESP2, `_` in RESP3.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.extend_from_slice(b"$-1\r\n"),
            Protocol::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// A null where RESP2 has an array: `*-1` in RESP2, `_` in RESP3.
    #[inline]
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.extend_from_slice(b"*-1\r\n"),
            Protocol::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// Head of an array of `len` elements.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// Head of a map of `len` pairs; a flat array in RESP2.
    #[inline]
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', len * 2),
            Protocol::Resp3 => self.head(b'%', len),
        }
    }

    /// Head of a set of `len` members; an array in RESP2.
    #[inline]
    pub fn set(&mut self, len: usize) {
        self.head(self.in_resp3(b'~'), len);
    }

    /// Head of a push of `len` elements; an array in RESP2.
    #[inline]
    pub fn push(&mut self, len: usize) {
        self.head(self.in_resp3(b'>'), len);
    }

    /// Head of an attribute of `len` pairs. RESP2 has none: `false` says that the pairs must not be written.
    #[must_use]
    pub fn attribute(&mut self, len: usize) -> bool {
        let exists = self.protocol == Protocol::Resp3;
        if exists {
            self.head(b'|', len);
        }
        exists
    }

    /// Begins an array whose length is known only at its end. What is written next are its elements.
    pub fn deferred_array(&mut self) -> Deferred {
        Deferred { offset: self.out.len() }
    }

    /// Ends an array of `len` elements: puts its head in front of them. Inner arrays are closed first.
    pub fn close_array(&mut self, deferred: Deferred, len: usize) {
        self.close(deferred, b'*', len);
    }

    /// Ends a set of `len` members that was begun as a deferred array; an array in RESP2.
    pub fn close_set(&mut self, deferred: Deferred, len: usize) {
        self.close(deferred, self.in_resp3(b'~'), len);
    }

    /// Ends a map of `len` pairs that was begun as a deferred array; a flat array in RESP2.
    pub fn close_map(&mut self, deferred: Deferred, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.close(deferred, b'*', len * 2),
            Protocol::Resp3 => self.close(deferred, b'%', len),
        }
    }

    /// A boolean; `:1` or `:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        self.out.extend_from_slice(match (self.protocol, value) {
            (Protocol::Resp2, false) => b":0\r\n",
            (Protocol::Resp2, true) => b":1\r\n",
            (Protocol::Resp3, false) => b"#f\r\n",
            (Protocol::Resp3, true) => b"#t\r\n",
        });
    }

    /// A double; a bulk string in RESP2. Printed as Redis 7.2 prints it (`util.c`, `d2string`): integers
    /// without a point, else the shortest digits that read back the same; `inf`, `-inf`, `nan`.
    pub fn double(&mut self, value: f64) {
        let text = double::Text::new(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => self.line(b',', text.as_bytes()),
        }
    }

    /// A text with its format (`txt`, `mkd`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        if self.protocol == Protocol::Resp2 {
            return self.bulk(text);
        }
        self.out.reserve(text.len() + HEAD_BYTES_MAX + 6);
        self.head(b'=', text.len() + 4);
        self.out.extend_from_slice(format);
        self.out.push(b':');
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    fn in_resp3(&self, kind: u8) -> u8 {
        match self.protocol {
            Protocol::Resp2 => b'*',
            Protocol::Resp3 => kind,
        }
    }

    fn line(&mut self, kind: u8, text: &[u8]) {
        self.out.reserve(text.len() + 3);
        self.out.push(kind);
        self.out.extend_from_slice(text);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A length or count. Nearly all have one or two digits, and a copy of a constant size costs one store.
    #[inline]
    fn head(&mut self, kind: u8, len: usize) {
        let ones = b'0' + (len % 10) as u8;
        match len {
            0..=9 => self.out.extend_from_slice(&[kind, ones, b'\r', b'\n']),
            10..=99 => self.out.extend_from_slice(&[kind, b'0' + (len / 10) as u8, ones, b'\r', b'\n']),
            _ => push_line(self.out, kind, len as i64),
        }
    }

    fn close(&mut self, deferred: Deferred, kind: u8, len: usize) {
        let end = self.out.len();
        self.head(kind, len);
        let head_bytes = self.out.len() - end;
        self.out[deferred.offset..].rotate_right(head_bytes);
    }
}

/// Longest head: its kind, the digits and the line end.
const HEAD_BYTES_MAX: usize = 23;

/// Lets the formatter write into a byte buffer, which never fails.
struct Appender<'a>(&'a mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests;
