//! The extent of a reply, for those who carry replies without reading them.

/// Why bytes are no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A byte that begins no RESP type, or a length that is no number.
    Malformed,
    /// Aggregates nested deeper than any reply of ours.
    TooDeep,
}

/// Length in bytes of the first whole reply (RESP2 or RESP3) in `bytes`, or `None` if its end has not arrived.
///
/// # Errors
/// If the bytes cannot be a reply.
pub fn reply_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let _ = bytes;
    todo!()
}
