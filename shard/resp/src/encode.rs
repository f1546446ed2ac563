//! Replies into an output buffer, in the protocol version that the client chose.

use alloc::vec::Vec;
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

/// Writer of replies. Appends to a buffer; never flushes.
#[derive(Debug)]
pub struct Reply<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
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
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string; `text` must not contain a line end.
    pub fn simple(&mut self, text: &str) {
        let _ = text;
        todo!()
    }

    /// An error of the shared vocabulary.
    pub fn error(&mut self, error: ReplyError) {
        let _ = error;
        todo!()
    }

    /// An error spelled by its room: code and text without the leading `-`. Line ends become spaces.
    pub fn error_text(&mut self, text: &[u8]) {
        let _ = text;
        todo!()
    }

    /// An integer.
    pub fn integer(&mut self, value: i64) {
        let _ = value;
        todo!()
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        let _ = bytes;
        todo!()
    }

    /// A null: `$-1` in RESP2, `_` in RESP3.
    pub fn null(&mut self) {
        todo!()
    }

    /// A null where RESP2 has an array: `*-1` in RESP2, `_` in RESP3.
    pub fn null_array(&mut self) {
        todo!()
    }

    /// Head of an array of `len` elements.
    pub fn array(&mut self, len: usize) {
        let _ = len;
        todo!()
    }

    /// Head of a map of `len` pairs; a flat array in RESP2.
    pub fn map(&mut self, len: usize) {
        let _ = len;
        todo!()
    }

    /// Head of a set of `len` members; an array in RESP2.
    pub fn set(&mut self, len: usize) {
        let _ = len;
        todo!()
    }

    /// Head of a push of `len` elements; an array in RESP2.
    pub fn push(&mut self, len: usize) {
        let _ = len;
        todo!()
    }

    /// A boolean; `:1` or `:0` in RESP2.
    pub fn boolean(&mut self, value: bool) {
        let _ = value;
        todo!()
    }

    /// A double; a bulk string in RESP2. Printed as Redis prints it (`%.17g` shortest form, `inf`, `-inf`, `nan`).
    pub fn double(&mut self, value: f64) {
        let _ = value;
        todo!()
    }

    /// A text with its format (`txt`, `mkd`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &[u8; 3], text: &[u8]) {
        let _ = (format, text);
        todo!()
    }
}
