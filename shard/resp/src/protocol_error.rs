//! Violations of the protocol, with the texts that Redis 7.2 answers (`networking.c`).

use core::fmt;

/// Why a connection must be closed after the reply `-ERR Protocol error: …`. `Display` gives the text behind
/// `-ERR `; the reply itself is written by [`crate::Reply::protocol_error`], which keeps every byte.
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

impl ProtocolError {
    /// The text in front of the offending byte, or the whole text if it names none.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::InlineTooBig => "Protocol error: too big inline request",
            Self::UnbalancedQuotes => "Protocol error: unbalanced quotes in request",
            Self::CountLineTooBig => "Protocol error: too big mbulk count string",
            Self::BulkLineTooBig => "Protocol error: too big bulk count string",
            Self::InvalidCount => "Protocol error: invalid multibulk length",
            Self::UnauthenticatedCount => "Protocol error: unauthenticated multibulk length",
            Self::ExpectedBulk(_) => "Protocol error: expected '$', got '",
            Self::InvalidBulkLength => "Protocol error: invalid bulk length",
            Self::UnauthenticatedBulkLength => "Protocol error: unauthenticated bulk length",
        }
    }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())?;
        match self {
            Self::ExpectedBulk(byte) => write!(f, "{}'", char::from(*byte)),
            _ => Ok(()),
        }
    }
}

impl core::error::Error for ProtocolError {}
