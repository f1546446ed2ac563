//! The extent of a reply, for those who carry replies without reading them.
//!
//! To find where a reply ends one need not remember how its aggregates nest: it is enough to count the values
//! that are still to come. So the scanner's state is a number and a phase, whatever the depth, and there is
//! neither a stack to bound nor one to overflow.

/// Why bytes are no reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameError {
    /// A byte that begins no RESP type, a length that is no number, or a line end that is none.
    Malformed,
    /// A whole reply, but none that has elements.
    NotAggregate,
}

impl core::fmt::Display for FrameError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "bytes that are no reply",
            Self::NotAggregate => "a reply without elements",
        })
    }
}

impl core::error::Error for FrameError {}

/// Length in bytes of the first whole reply (RESP2 or RESP3) in `bytes`, or `None` if its end has not arrived.
/// A push is a reply of its own; an attribute belongs to the value behind it.
///
/// # Errors
/// If the bytes cannot be a reply.
pub fn reply_length(bytes: &[u8]) -> Result<Option<usize>, FrameError> {
    let mut position = 0;
    let end = ReplyScanner::default().next_end(bytes, &mut position)?;
    Ok(end.map(|end| end.offset))
}

/// The elements of `reply`, one whole array, set, push or map (keys and values in turn), as raw bytes.
///
/// # Errors
/// [`FrameError::NotAggregate`] if the reply is of another kind, a null or an error for instance;
/// [`FrameError::Malformed`] if the bytes are not exactly one reply.
pub fn elements(reply: &[u8]) -> Result<Elements<'_>, FrameError> {
    if reply_length(reply)? != Some(reply.len()) {
        return Err(FrameError::Malformed);
    }
    let mut rest = reply;
    while let [b'|', ..] = rest {
        let (pairs, inside) = read_head(rest)?;
        rest = inside;
        for _ in 0..pairs * 2 {
            split_value(&mut rest)?;
        }
    }
    let (count, inside) = match rest {
        [b'*' | b'~' | b'>', ..] => read_head(rest)?,
        [b'%', ..] => read_head(rest).map(|(pairs, inside)| (pairs * 2, inside))?,
        _ => return Err(FrameError::NotAggregate),
    };
    Ok(Elements { rest: inside, left: count })
}

/// Iterator over the elements of an aggregate reply; made by [`elements`]. By default there are none.
#[derive(Clone, Debug, Default)]
pub struct Elements<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.left = self.left.checked_sub(1)?;
        Some(split_value(&mut self.rest).expect("the reply was seen to be whole"))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Elements<'_> {}

/// Cuts the first whole value off `rest`.
fn split_value<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], FrameError> {
    let length = reply_length(rest)?.ok_or(FrameError::Malformed)?;
    let (value, behind) = rest.split_at(length);
    *rest = behind;
    Ok(value)
}

/// Count of the aggregate at the beginning of a whole reply, and the bytes behind its head.
fn read_head(reply: &[u8]) -> Result<(usize, &[u8]), FrameError> {
    let end = reply.iter().position(|byte| *byte == b'\r').ok_or(FrameError::Malformed)?;
    let count = crate::parse_integer(&reply[1..end]).ok_or(FrameError::Malformed)?;
    let count = usize::try_from(count).map_err(|_| FrameError::NotAggregate)?;
    Ok((count, &reply[end + 2..]))
}

/// Where a reply ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplyEnd {
    /// The reply's first byte, that of an attribute aside: tells errors (`-`, `!`) and pushes (`>`) apart.
    pub kind: u8,
    /// Offset behind the reply's last byte, in the chunk that holds it.
    pub offset: usize,
}

/// Finds the ends of replies in a stream that arrives in chunks. Holds no bytes, looks at none twice, and
/// passes over the inside of strings without looking at it.
#[derive(Clone, Debug, Default)]
pub struct ReplyScanner {
    /// Values to come until the reply is whole; 0 between replies.
    pending: u64,
    /// First byte of the reply, once it is known.
    kind: u8,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Default)]
enum Phase {
    /// A value begins.
    #[default]
    Begin,
    /// Inside of the text of a one-line value.
    Line,
    /// Behind the carriage return of a one-line value.
    LineFeed,
    /// Inside of a length or count.
    Number(Number),
    /// Behind its carriage return.
    NumberFeed(Number),
    /// Inside of a string; bytes left.
    Body(u64),
    /// Behind a string.
    BodyReturn,
    /// Behind its carriage return.
    BodyFeed,
}

/// A length or count as far as it was read.
#[derive(Clone, Copy, Debug)]
struct Number {
    kind: u8,
    negative: bool,
    digits: u8,
    value: u64,
}

/// Most digits of a length or count: all that they can spell fits 63 bits.
const NUMBER_DIGITS_MAX: u8 = 18;

impl ReplyScanner {
    /// Goes on at `*position` of `chunk` to the end of the current reply. `None`: the chunk is used up, call
    /// again with the next one, at position 0.
    ///
    /// # Errors
    /// If the bytes cannot be replies; the scanner is of no further use.
    #[inline]
    pub fn next_end(&mut self, chunk: &[u8], position: &mut usize) -> Result<Option<ReplyEnd>, FrameError> {
        while let Some(&byte) = chunk.get(*position) {
            let value_ended = match self.phase {
                Phase::Begin => self.begin(chunk, position, byte)?,
                _ => self.go_on(chunk, position, byte)?,
            };
            if value_ended {
                self.phase = Phase::Begin;
                self.pending -= 1;
                if self.pending == 0 {
                    return Ok(Some(ReplyEnd { kind: self.kind, offset: *position }));
                }
            }
        }
        Ok(None)
    }

    /// Starts a value; a string whose head is short and which lies whole in the chunk is passed at once.
    /// Returns whether a value ended.
    #[inline]
    fn begin(&mut self, chunk: &[u8], position: &mut usize, kind: u8) -> Result<bool, FrameError> {
        if self.pending == 0 {
            self.pending = 1;
            self.kind = kind;
        } else if self.kind == b'|' && self.pending == 1 {
            self.kind = kind;
        }
        if kind == b'$'
            && let Some((length, behind)) = short_head(&chunk[*position..])
        {
            let end = *position + behind + length;
            if chunk.get(end..end + 2) == Some(b"\r\n") {
                *position = end + 2;
                return Ok(true);
            }
        }
        *position += 1;
        self.phase = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => Phase::Line,
            b'$' | b'=' | b'!' | b'*' | b'~' | b'>' | b'%' | b'|' => {
                Phase::Number(Number { kind, negative: false, digits: 0, value: 0 })
            }
            _ => return Err(FrameError::Malformed),
        };
        Ok(false)
    }

    /// One step inside of a value; `byte` is the one at `*position`. Returns whether a value ended.
    fn go_on(&mut self, chunk: &[u8], position: &mut usize, byte: u8) -> Result<bool, FrameError> {
        match self.phase {
            Phase::Body(left) => {
                let here = (chunk.len() - *position) as u64;
                *position += left.min(here) as usize;
                self.phase = if left <= here { Phase::BodyReturn } else { Phase::Body(left - here) };
                return Ok(false);
            }
            Phase::Line => {
                let end = chunk[*position..].iter().position(|byte| matches!(byte, b'\r' | b'\n'));
                *position = end.map_or(chunk.len(), |end| *position + end);
                match chunk.get(*position) {
                    None => return Ok(false),
                    Some(b'\r') => self.phase = Phase::LineFeed,
                    Some(_) => return Err(FrameError::Malformed),
                }
            }
            Phase::Number(number) => self.phase = number.add(byte)?,
            Phase::BodyReturn if byte == b'\r' => self.phase = Phase::BodyFeed,
            Phase::NumberFeed(number) if byte == b'\n' => {
                *position += 1;
                return self.head(number);
            }
            Phase::LineFeed | Phase::BodyFeed if byte == b'\n' => {
                *position += 1;
                return Ok(true);
            }
            _ => return Err(FrameError::Malformed),
        }
        *position += 1;
        Ok(false)
    }

    /// A length or count is complete. Returns whether a value ended: an aggregate counts as ended, its
    /// elements as to come.
    fn head(&mut self, number: Number) -> Result<bool, FrameError> {
        let Number { kind, negative, value, .. } = number;
        if negative {
            let is_null = value == 1 && matches!(kind, b'$' | b'*');
            return if is_null { Ok(true) } else { Err(FrameError::Malformed) };
        }
        let values = match kind {
            b'$' | b'=' | b'!' => {
                self.phase = Phase::Body(value);
                return Ok(false);
            }
            b'%' | b'|' => value * 2,
            _ => value,
        };
        self.phase = Phase::Begin;
        self.pending = self.pending.checked_add(values).ok_or(FrameError::Malformed)?;
        Ok(kind != b'|')
    }
}

impl Number {
    /// Takes the next byte of the line. As strict as Redis's own reading of numbers.
    fn add(mut self, byte: u8) -> Result<Phase, FrameError> {
        match byte {
            b'0'..=b'9' => {
                let follows_zero = self.digits == 1 && self.value == 0;
                if self.digits == NUMBER_DIGITS_MAX || follows_zero {
                    return Err(FrameError::Malformed);
                }
                self.digits += 1;
                self.value = self.value * 10 + u64::from(byte - b'0');
            }
            b'-' if self.digits == 0 && !self.negative => self.negative = true,
            b'\r' if self.digits > 0 => return Ok(Phase::NumberFeed(self)),
            _ => return Err(FrameError::Malformed),
        }
        Ok(Phase::Number(self))
    }
}

/// Length of a string and of its head, if the head is whole and has one or two digits.
#[inline]
fn short_head(value: &[u8]) -> Option<(usize, usize)> {
    let digit = |byte: u8| Some(usize::from(byte.wrapping_sub(b'0'))).filter(|digit| *digit <= 9);
    match *value {
        [_, ones, b'\r', b'\n', ..] => Some((digit(ones)?, 4)),
        [_, tens @ b'1'..=b'9', ones, b'\r', b'\n', ..] => Some((digit(tens)? * 10 + digit(ones)?, 5)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
