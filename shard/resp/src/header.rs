//! Header lines of multibulk requests, of any form and length: right, wrong or not ended yet.

use crate::integer::parse_integer;
use crate::{DecodeLimits, ProtocolError};
use slotmesh_base::limits::{LINE_BYTES_MAX, UNAUTHENTICATED_BULK_BYTES_MAX};

/// What a `$` line says.
pub(crate) enum BulkLine {
    /// The argument's length, and where its line ends.
    Length { length: usize, next: usize },
    /// The line has not ended; so many of its bytes need not be searched again.
    Missing { searched: usize },
}

/// Reads a `$` line of any form.
#[inline(never)]
pub(crate) fn read_bulk_line(
    input: &[u8],
    start: usize,
    searched: usize,
    limits: &DecodeLimits,
) -> Result<BulkLine, ProtocolError> {
    let end = match find_line_end(input, start, searched, ProtocolError::BulkLineTooBig)? {
        LineEnd::At(end) => end,
        LineEnd::Missing { searched } => return Ok(BulkLine::Missing { searched }),
    };
    if input[start] != b'$' {
        return Err(ProtocolError::ExpectedBulk(input[start]));
    }
    let length = parse_integer(&input[start + 1..end]).ok_or(ProtocolError::InvalidBulkLength)?;
    if length > limits.bulk_bytes_max {
        return Err(ProtocolError::InvalidBulkLength);
    }
    if length > UNAUTHENTICATED_BULK_BYTES_MAX && !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedBulkLength);
    }
    let length = usize::try_from(length).map_err(|_| ProtocolError::InvalidBulkLength)?;
    Ok(BulkLine::Length { length, next: end + 2 })
}

/// Where a header line ends.
pub(crate) enum LineEnd {
    /// The carriage return is here, and a byte behind it has arrived.
    At(usize),
    /// Not arrived; so many bytes of the line need not be searched again.
    Missing { searched: usize },
}

/// Finds the end of the header line at `start`, whose first `searched` bytes do not hold it. The bound is
/// checked on what has arrived, and only if there is no carriage return, as in Redis.
pub(crate) fn find_line_end(
    input: &[u8],
    start: usize,
    searched: usize,
    too_big: ProtocolError,
) -> Result<LineEnd, ProtocolError> {
    let from = start + searched;
    let stop = input.get(from..).unwrap_or_default().iter().position(|byte| matches!(byte, b'\r' | 0));
    let end = stop.map_or(input.len(), |offset| from + offset);
    if input.get(end) == Some(&b'\r') {
        if end + 1 < input.len() {
            return Ok(LineEnd::At(end));
        }
    } else if input.len() - start > LINE_BYTES_MAX {
        return Err(too_big);
    }
    Ok(LineEnd::Missing { searched: end - start })
}
