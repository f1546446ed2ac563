//! Requests out of received bytes: multibulk and inline, freely mixed, resumable after every byte.
//!
//! A request that lies whole in the buffer is found in one pass that keeps nothing: its arguments go straight
//! to the caller's list. Only when the bytes end inside of a request does the decoder remember where it was:
//! the arguments found so far, how many are left, and how far the current line was searched. The next call
//! goes on from there, so no byte is searched twice, but for a few short headers (`quick.rs` says which).
//!
//! The rules are those of Redis 7.2, `networking.c`, `processInlineBuffer` and `processMultibulkBuffer`,
//! with their oddities: a header line ends at its carriage return and whatever byte follows; the two bytes
//! behind an argument are not looked at; a zero byte in front of a line's end hides that end; the length of
//! a line is judged only while its end is missing.

use crate::header::{BulkLine, LineEnd, find_line_end, read_bulk_line};
use crate::integer::parse_integer;
use crate::{ArgRange, ProtocolError, inline, quick};
use alloc::vec::Vec;
use core::mem;
use slotmesh_base::limits::{
    ARGUMENT_RANGES_KEPT_MAX, ARGUMENTS_MAX, LINE_BYTES_MAX, REQUEST_BYTES_MAX, UNAUTHENTICATED_ARGUMENTS_MAX,
};

/// What bounds a request; see `protocol errors` of Redis 7.2 (`networking.c`, `processMultibulkBuffer`).
#[derive(Clone, Copy, Debug)]
pub struct DecodeLimits {
    /// Longest argument in bytes (`proto-max-bulk-len`); lengths below 10 000 always pass.
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

/// Decoder of one connection. Holds state only while a request is unfinished, so that no byte of a large
/// request is looked at twice.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Where the unfinished request stopped, from its first byte. No arguments are left between requests, and
    /// inside of a request's first line.
    cursor: Cursor,
    /// How many bytes of the unfinished line were searched for its end in vain.
    searched: usize,
    /// What [`Decoder::missing`] says.
    missing: usize,
    /// Arguments of the unfinished request, from its first byte.
    found: Vec<ArgRange>,
}

impl Decoder {
    /// Finds the next request in `input` at `*position`. Arguments are pushed to `args` as ranges of `input`;
    /// quoted inline arguments are unescaped in place, which is why `input` is mutable. Requests without
    /// arguments (`*0`, `*-1`, empty lines) are passed over. Without a request `args` stays as it was.
    ///
    /// # Errors
    /// The first violation of the protocol; the connection cannot be decoded further.
    #[inline(always)]
    pub fn decode(
        &mut self,
        input: &mut [u8],
        position: &mut usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let is_fresh = self.cursor.left == 0 && self.searched == 0 && input.len() <= REQUEST_BYTES_MAX;
        if is_fresh && let Some(end) = quick::read_request(input, *position, args) {
            *position = end;
            return Ok(Step::Request);
        }
        self.decode_any(input, position, limits, args)
    }

    /// How many bytes of the current argument, its line end included, have not arrived; 0 when unknown. Valid
    /// after [`Step::Incomplete`]. A declared length is a claim: cap what you reserve for it.
    pub fn missing(&self) -> usize {
        self.missing
    }

    /// Ranges hold 32 bits: what lies beyond is left for later calls, and a request that does not fit is
    /// refused.
    #[cold]
    fn decode_prefix(
        &mut self,
        input: &mut [u8],
        position: &mut usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let step = self.decode(&mut input[..REQUEST_BYTES_MAX], position, limits, args)?;
        if step == Step::Incomplete && *position == 0 {
            return Err(ProtocolError::InvalidBulkLength);
        }
        Ok(step)
    }

    /// Finds a request of any form.
    #[inline(never)]
    fn decode_any(
        &mut self,
        input: &mut [u8],
        position: &mut usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        if input.len() > REQUEST_BYTES_MAX {
            return self.decode_prefix(input, position, limits, args);
        }
        if self.cursor.left != 0 {
            return self.resume(input, position, limits, args);
        }
        let mark = args.len();
        let result = self.next_request(input, position, limits, args);
        if result.is_err() {
            args.truncate(mark);
        }
        result
    }

    fn next_request(
        &mut self,
        input: &mut [u8],
        position: &mut usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let mark = args.len();
        let mut searched = mem::take(&mut self.searched);
        while let Some(&first) = input.get(*position) {
            let step = match first {
                b'*' => self.multibulk(input, position, searched, limits, args)?,
                _ => self.inline(input, position, searched, args)?,
            };
            if step == Step::Incomplete || args.len() > mark {
                return Ok(step);
            }
            searched = 0;
        }
        Ok(Step::Incomplete)
    }

    fn multibulk(
        &mut self,
        input: &[u8],
        position: &mut usize,
        searched: usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let start = *position;
        let mark = args.len();
        let Some((count, next)) = self.count_line(input, start, searched)? else {
            return Ok(Step::Incomplete);
        };
        if count > UNAUTHENTICATED_ARGUMENTS_MAX {
            check_count(count, limits)?;
        }
        let mut cursor = Cursor { next, left: count.max(0) as u32, length: None };
        match cursor.read_arguments(input, 0, limits, args)? {
            Pause::Whole => *position = cursor.next,
            pause => {
                let base = start as u32;
                self.found.extend(args.drain(mark..).map(|range| ArgRange { start: range.start - base, ..range }));
                cursor.next -= start;
                self.pause(pause, cursor, input.len() - start);
                return Ok(Step::Incomplete);
            }
        }
        Ok(Step::Request)
    }

    /// Reads a `*` line of any form: count and where the line ends, if it ends.
    fn count_line(
        &mut self,
        input: &[u8],
        start: usize,
        searched: usize,
    ) -> Result<Option<(i64, usize)>, ProtocolError> {
        match find_line_end(input, start, searched, ProtocolError::CountLineTooBig)? {
            LineEnd::At(end) => {
                let count = parse_integer(&input[start + 1..end]).ok_or(ProtocolError::InvalidCount)?;
                Ok(Some((count, end + 2)))
            }
            LineEnd::Missing { searched } => {
                self.searched = searched;
                Ok(None)
            }
        }
    }

    /// Goes on with the arguments of an unfinished multibulk request.
    fn resume(
        &mut self,
        input: &[u8],
        position: &mut usize,
        limits: &DecodeLimits,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let request = &input[*position..];
        match self.cursor.read_arguments(request, self.searched, limits, &mut self.found)? {
            Pause::Whole => {
                let base = *position as u32;
                args.extend(self.found.drain(..).map(|range| ArgRange { start: range.start + base, ..range }));
                self.found.shrink_to(ARGUMENT_RANGES_KEPT_MAX);
                self.searched = 0;
                self.missing = 0;
                *position += self.cursor.next;
                Ok(Step::Request)
            }
            pause => {
                self.pause(pause, self.cursor, request.len());
                Ok(Step::Incomplete)
            }
        }
    }

    /// Remembers where the bytes ended. `cursor` and `received` count from the request's first byte.
    fn pause(&mut self, pause: Pause, cursor: Cursor, received: usize) {
        self.cursor = cursor;
        (self.searched, self.missing) = match pause {
            Pause::Whole => (0, 0),
            Pause::Header { searched } => (searched, 0),
            Pause::Argument { length } => (0, cursor.next.saturating_add(length + 2).saturating_sub(received)),
        };
    }

    fn inline(
        &mut self,
        input: &mut [u8],
        position: &mut usize,
        searched: usize,
        args: &mut Vec<ArgRange>,
    ) -> Result<Step, ProtocolError> {
        let start = *position;
        let from = start + searched;
        let stop = input.get(from..).unwrap_or_default().iter().position(|byte| matches!(byte, b'\n' | 0));
        let end = stop.map_or(input.len(), |offset| from + offset);
        if input.get(end) != Some(&b'\n') {
            if input.len() - start > LINE_BYTES_MAX {
                return Err(ProtocolError::InlineTooBig);
            }
            self.searched = end - start;
            return Ok(Step::Incomplete);
        }
        *position = end + 1;
        let trimmed = if end > start && input[end - 1] == b'\r' { end - 1 } else { end };
        inline::split_words(input, start, trimmed, args)?;
        Ok(Step::Request)
    }
}

/// Where the arguments of a request stopped.
enum Pause {
    /// Behind the last one.
    Whole,
    /// At a header whose line has not ended; this many of its bytes were searched.
    Header { searched: usize },
    /// At an argument of this length.
    Argument { length: usize },
}

/// How far the arguments of a request were read.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Where the next header begins, or the next argument if its length is known.
    next: usize,
    /// Arguments that are still to come.
    left: u32,
    /// Length of the argument at `next`, once its header was read.
    length: Option<usize>,
}

impl Cursor {
    /// Reads the arguments that are left. `searched` is for the first header only.
    #[inline(always)]
    fn read_arguments(
        &mut self,
        input: &[u8],
        mut searched: usize,
        limits: &DecodeLimits,
        found: &mut Vec<ArgRange>,
    ) -> Result<Pause, ProtocolError> {
        while self.left > 0 {
            let length = match self.length.take() {
                Some(length) => length,
                None => match self.read_header(input, searched, limits)? {
                    Ok(length) => length,
                    Err(pause) => return Ok(pause),
                },
            };
            searched = 0;
            let behind = self.next.saturating_add(length + 2);
            if behind > input.len() {
                self.length = Some(length);
                return Ok(Pause::Argument { length });
            }
            found.push(ArgRange { start: self.next as u32, len: length as u32 });
            self.next = behind;
            self.left -= 1;
        }
        Ok(Pause::Whole)
    }

    /// Reads the header at `next`: the length of the argument behind it, or why there is none yet.
    #[inline(always)]
    fn read_header(
        &mut self,
        input: &[u8],
        searched: usize,
        limits: &DecodeLimits,
    ) -> Result<Result<usize, Pause>, ProtocolError> {
        let (length, behind) = match quick::read_header(input, self.next) {
            Some((length, behind)) if behind <= input.len() => (length, behind),
            _ => match read_bulk_line(input, self.next, searched, limits)? {
                BulkLine::Length { length, next } => (length, next),
                BulkLine::Missing { searched } => return Ok(Err(Pause::Header { searched })),
            },
        };
        self.next = behind;
        Ok(Ok(length))
    }
}

#[cold]
fn check_count(count: i64, limits: &DecodeLimits) -> Result<(), ProtocolError> {
    if count > ARGUMENTS_MAX {
        return Err(ProtocolError::InvalidCount);
    }
    if !limits.authenticated {
        return Err(ProtocolError::UnauthenticatedCount);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
