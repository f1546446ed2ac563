//! Requests out of received bytes: multibulk and inline, freely mixed, resumable after every byte.

use crate::ArgRange;
use alloc::vec::Vec;

/// What bounds a request; see `protocol errors` of Redis 7.2 (`networking.c`, `processMultibulkBuffer`).
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Longest argument in bytes (`proto-max-bulk-len`).
    pub bulk_bytes_max: i64,
    /// Whether the client may send requests of any size; else the bounds for unauthenticated clients hold.
    pub authenticated: bool,
}

/// What the decoder found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A request, its arguments pushed at the end of `args`; the next request starts at `*position`.
    Request,
    /// The bytes end inside of a request (or there are none). `*position` is where the unfinished request
    /// begins: the caller keeps the bytes from there and calls again with more behind them, at position 0.
    Incomplete,
}

/// Why a connection must be closed after the reply `-ERR Protocol error: …`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProtocolError {
    /// An inline request without line end within the bound.
    InlineTooBig,
    /// Quotes that do not end, or end inside of a word.
    UnbalancedQuotes,
    /// A `*` line without end within the bound.
    CountLineTooBig,
    /// A `$` line without end within the bound.
    BulkLineTooBig,
    /// A count that is no number or out of range.
    InvalidCount,
    /// More arguments than an unauthenticated client may send.
    UnauthenticatedCount,
    /// Something else than `$` where an argument should begin. Holds that byte.
    ExpectedBulk(u8),
    /// A length that is no number or out of range.
    InvalidBulkLength,
    /// A longer argument than an unauthenticated client may send.
    UnauthenticatedBulkLength,
}

/// Decoder of one connection. Holds state only while a request is unfinished, so that no byte of a large
/// request is looked at twice.
#[derive(Debug, Default)]
pub struct Decoder {
    // to be filled
}

impl Decoder {
    /// Finds the next request in `input` at `*position`. Arguments are pushed to `args` as ranges of `input`;
    /// quoted inline arguments are unescaped in place, which is why `input` is mutable. Requests without
    /// arguments (`*0`, `*-1`, empty lines) are passed over.
    ///
    /// # Errors
    /// The first violation of the protocol; the connection cannot be decoded further.
    pub fn decode(
        &mut self,
        input: &mut [u8],
        position: &mut usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let _ = (input, position, limits, args);
        todo!()
    }
}
