//! What stands in a file of an append-only file behind its image: commands, blocks of them, and annotations.
//!
//! The reader finds where commands begin and end, and passes their bytes on as they come, without annotations; it keeps
//! no more than the line at hand. When the file ends it knows whether it ends well, and where it would have to be cut off
//! if not: behind the last command that is whole, or in front of the last MULTI that has no EXEC (Redis 7.0 `aof.c`,
//! `loadSingleAppendOnlyFile`).
//!
//! Where a machine lost its power while it wrote, a file system may leave zeros that were never written. A file whose
//! rest is zeros from some place in a command on is therefore one that was cut off there; Redis takes it for broken.

use alloc::vec::Vec;
use core::fmt;
use slotmesh_base::limits::{ANNOTATION_BYTES_MAX, LOGGED_ARGUMENTS_MAX, REQUEST_BYTES_MAX};

/// Longest line that tells a number, in bytes.
const HEADER_BYTES_MAX: usize = 32;

/// Bytes that are no append-only file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadFault {
    /// Where in the file.
    pub at: u64,
    /// What should stand there.
    pub expected: &'static str,
}

/// How a file ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadEnd {
    /// With a whole command, or block.
    Whole,
    /// Within something.
    Truncated {
        /// Bytes of it that are whole.
        valid: u64,
        /// Whether it is a block without its EXEC.
        in_block: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    /// A command or an annotation begins.
    Start,
    /// In the line that tells the number of arguments.
    Count,
    /// In an annotation.
    Annotation,
    /// In the line that tells the length of an argument.
    Length,
    /// In an argument, of which so many bytes are missing.
    Argument(u64),
    /// Behind it, where so many bytes of its end are missing.
    Terminator(u8),
    /// In zeros that nobody wrote.
    Zeros,
}

/// Reads a file of which the bytes come in any pieces.
#[derive(Debug)]
pub struct Reader {
    place: Place,
    /// The line at hand; of an argument the begin, where it may be a word that counts.
    line: Vec<u8>,
    /// Arguments of the command that are missing.
    missing: u64,
    /// Whether the command has one argument.
    is_single: bool,
    /// Bytes of the file that have come.
    offset: u64,
    /// The end of the last command that was whole.
    command_end: u64,
    /// Where the block at hand begins.
    block: Option<u64>,
}

impl Reader {
    /// A reader that begins at this offset: behind an image, if there is one.
    pub fn new(offset: u64) -> Self {
        Self {
            place: Place::Start,
            line: Vec::new(),
            missing: 0,
            is_single: false,
            offset,
            command_end: offset,
            block: None,
        }
    }

    /// Bytes of the file that have come.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Takes further bytes. `take` gets those of commands, each time with the offset of the first.
    ///
    /// # Errors
    /// If they are no commands.
    pub fn feed(&mut self, bytes: &[u8], take: &mut dyn FnMut(u64, &[u8])) -> Result<(), ReadFault> {
        let mut at = 0;
        // What was passed over and not handed on yet begins here.
        let mut from = 0;
        let start = self.offset;
        while at < bytes.len() {
            let was_annotation = self.place == Place::Annotation;
            let used = match self.step(&bytes[at..]) {
                Ok(used) => used,
                Err(expected) => {
                    let first = self.first_of_zeros(&bytes[at..]);
                    let first = first.ok_or(ReadFault { at: self.offset, expected })?;
                    self.place = Place::Zeros;
                    first
                }
            };
            let is_annotation = self.place == Place::Annotation || was_annotation || self.place == Place::Zeros;
            if is_annotation {
                if from < at {
                    take(start + from as u64, &bytes[from..at]);
                }
                from = at + used;
            }
            at += used;
            self.offset += used as u64;
            if self.place == Place::Start && !was_annotation && used > 0 {
                self.command_end = self.offset;
            }
        }
        if from < bytes.len() {
            take(start + from as u64, &bytes[from..]);
        }
        Ok(())
    }

    /// The file has no more bytes.
    pub fn finish(&self) -> ReadEnd {
        if self.place == Place::Start && self.block.is_none() {
            return ReadEnd::Whole;
        }
        let in_block = self.block.is_some();
        ReadEnd::Truncated { valid: self.block.unwrap_or(self.command_end), in_block }
    }

    /// Goes on by a part of the bytes; how many.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, &'static str> {
        match self.place {
            Place::Start => {
                self.line.clear();
                self.place = match bytes[0] {
                    b'*' => Place::Count,
                    b'#' => Place::Annotation,
                    _ => return Err("a command"),
                };
                if self.place == Place::Annotation {
                    return Ok(0);
                }
                Ok(0)
            }
            Place::Annotation => {
                let end = bytes.iter().position(|&byte| byte == b'\n');
                let used = end.map_or(bytes.len(), |end| end + 1);
                if self.line.len() + used > ANNOTATION_BYTES_MAX {
                    return Err("the end of an annotation");
                }
                self.line.extend_from_slice(&bytes[..used]);
                if end.is_some() {
                    self.place = Place::Start;
                }
                Ok(used)
            }
            Place::Count => self.line_of(bytes, b'*', "the number of arguments", Self::take_count),
            Place::Length => self.line_of(bytes, b'$', "the length of an argument", Self::take_length),
            Place::Argument(left) => {
                let used = left.min(bytes.len() as u64) as usize;
                if self.is_single && self.line.len() < HEADER_BYTES_MAX {
                    self.line.extend_from_slice(&bytes[..used.min(HEADER_BYTES_MAX)]);
                }
                self.place = match left - used as u64 {
                    0 => Place::Terminator(2),
                    left => Place::Argument(left),
                };
                Ok(used)
            }
            Place::Terminator(left) => {
                let expected = if left == 2 { b'\r' } else { b'\n' };
                if bytes[0] != expected {
                    return Err("the end of an argument");
                }
                if left == 2 {
                    self.place = Place::Terminator(1);
                } else {
                    self.end_argument()?;
                }
                Ok(1)
            }
            Place::Zeros => match bytes.iter().all(|&byte| byte == 0) {
                true => Ok(bytes.len()),
                false => Err("the end of the file"),
            },
        }
    }

    /// Goes on within a line that tells a number.
    fn line_of(
        &mut self,
        bytes: &[u8],
        sign: u8,
        expected: &'static str,
        take: fn(&mut Self, u64) -> Option<()>,
    ) -> Result<usize, &'static str> {
        if self.line.is_empty() && bytes[0] != sign {
            return Err(expected);
        }
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let used = end.map_or(bytes.len(), |end| end + 1);
        let piece = &bytes[..used.min(HEADER_BYTES_MAX)];
        let is_fine = |(index, byte): (usize, &u8)| {
            let is_first = index == 0 && self.line.is_empty();
            is_first || byte.is_ascii_digit() || matches!(byte, b'\r' | b'\n')
        };
        if self.line.len() + used > HEADER_BYTES_MAX || !piece.iter().enumerate().all(is_fine) {
            return Err(expected);
        }
        self.line.extend_from_slice(piece);
        if end.is_some() {
            let digits = self.line.get(1..).and_then(|line| line.strip_suffix(b"\r\n"));
            let text = digits.and_then(|digits| core::str::from_utf8(digits).ok());
            let number = text.and_then(|text| text.parse().ok()).ok_or(expected)?;
            take(self, number).ok_or(expected)?;
        }
        Ok(used)
    }

    /// Whether what comes may be zeros that nobody wrote, and in front of them the begin of a line: where they begin.
    fn first_of_zeros(&self, bytes: &[u8]) -> Option<usize> {
        let first = bytes.iter().position(|&byte| byte == 0)?;
        let is_of_line = |byte: &u8| byte.is_ascii_digit() || b"*$\r".contains(byte);
        let may_begin = match self.place {
            Place::Count | Place::Length => first < HEADER_BYTES_MAX && bytes[..first].iter().all(is_of_line),
            Place::Start | Place::Terminator(_) => first == 0,
            Place::Annotation => first < ANNOTATION_BYTES_MAX && !bytes[..first].contains(&b'\n'),
            Place::Argument(_) | Place::Zeros => false,
        };
        (may_begin && bytes[first..].iter().all(|&byte| byte == 0)).then_some(first)
    }

    fn take_count(&mut self, count: u64) -> Option<()> {
        if !(1..=LOGGED_ARGUMENTS_MAX).contains(&count) {
            return None;
        }
        (self.missing, self.is_single) = (count, count == 1);
        self.line.clear();
        self.place = Place::Length;
        Some(())
    }

    fn take_length(&mut self, length: u64) -> Option<()> {
        if length > REQUEST_BYTES_MAX as u64 {
            return None;
        }
        self.line.clear();
        self.place = if length == 0 { Place::Terminator(2) } else { Place::Argument(length) };
        Some(())
    }

    fn end_argument(&mut self) -> Result<(), &'static str> {
        self.missing -= 1;
        if self.missing > 0 {
            self.line.clear();
            self.place = Place::Length;
            return Ok(());
        }
        self.place = Place::Start;
        if self.is_single && self.line.eq_ignore_ascii_case(b"multi") {
            if self.block.is_some() {
                return Err("no MULTI within a block");
            }
            self.block = Some(self.command_end);
        } else if self.is_single && self.line.eq_ignore_ascii_case(b"exec") && self.block.take().is_none() {
            return Err("no EXEC without a block");
        }
        Ok(())
    }
}

/// What a stream says to replicas alone.
const NO_EFFECTS: [&[u8]; 4] = [b"PING", b"REPLCONF", b"PUBLISH", b"SPUBLISH"];

/// Appends the commands of a stream of replication to `out`, without those that do nothing to data. `stream` is whole
/// commands.
pub fn effects_of_stream(stream: &[u8], out: &mut Vec<u8>) {
    let mut rest = stream;
    while let Some((end, name)) = first_command(rest) {
        if !NO_EFFECTS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            out.extend_from_slice(&rest[..end]);
        }
        rest = &rest[end..];
    }
    out.extend_from_slice(rest);
}

/// Where the first command ends, and its name.
fn first_command(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let line = |from: usize| -> Option<(u64, usize)> {
        let digits = bytes.get(from + 1..)?;
        let end = digits.iter().position(|&byte| byte == b'\r')?;
        let number = core::str::from_utf8(&digits[..end]).ok()?.parse().ok()?;
        Some((number, from + 1 + end + 2))
    };
    let (count, mut at) = line(0)?;
    let mut name = None;
    for _ in 0..count {
        let (length, start) = line(at)?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        let argument = bytes.get(start..end)?;
        name.get_or_insert(argument);
        at = end + 2;
    }
    (at <= bytes.len()).then_some(())?;
    Some((at, name?))
}

impl fmt::Display for ReadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: {} should stand there", self.at, self.expected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use proptest::prelude::*;
    use slotmesh_base::Rng;
    use std::format;
    use std::string::String;

    const SET: &str = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$2\r\nvv\r\n";
    const MULTI: &str = "*1\r\n$5\r\nMULTI\r\n";
    const EXEC: &str = "*1\r\n$4\r\nexec\r\n";

    /// What is passed on, and how the file ends, in pieces of this many bytes.
    fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, Result<ReadEnd, ReadFault>) {
        let (mut reader, mut taken) = (Reader::new(100), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            let result = reader.feed(piece, &mut |at, bytes| {
                assert!(at >= 100);
                taken.extend_from_slice(bytes);
            });
            if let Err(fault) = result {
                return (taken, Err(fault));
            }
            assert!(reader.line.capacity() <= 2 * ANNOTATION_BYTES_MAX);
        }
        (taken, Ok(reader.finish()))
    }

    fn end_of(text: &str) -> Result<ReadEnd, ReadFault> {
        let (_, whole) = read(text.as_bytes(), usize::MAX);
        for piece in 1..5 {
            let (_, end) = read(text.as_bytes(), piece);
            match (&whole, &end) {
                (Err(one), Err(other)) => assert_eq!(one.expected, other.expected, "{text:?}"),
                _ => assert_eq!(whole, end, "{text:?} in pieces of {piece}"),
            }
        }
        whole
    }

    #[test]
    fn a_file_may_end_behind_any_command_and_no_block() {
        let block = format!("{SET}{MULTI}{SET}{SET}{EXEC}{SET}");
        assert_eq!(end_of(&block), Ok(ReadEnd::Whole));
        let (set, multi) = (SET.len(), MULTI.len());
        for cut in 0..block.len() {
            let (valid, in_block) = match cut {
                _ if cut < set => (0, false),
                // Before the word is whole it is a command like any other.
                _ if cut < set + multi => (set, false),
                _ if cut < set + multi + 2 * set + EXEC.len() => (set, true),
                _ => (set + multi + 2 * set + EXEC.len(), false),
            };
            let expected = match cut {
                0 => ReadEnd::Whole,
                _ if cut == set || cut == block.len() - set => ReadEnd::Whole,
                _ => ReadEnd::Truncated { valid: 100 + valid as u64, in_block },
            };
            assert_eq!(end_of(&block[..cut]), Ok(expected), "cut at {cut}");
        }
    }

    #[test]
    fn annotations_are_passed_over_wherever_a_command_may_begin() {
        let text = format!("#TS:1628217470\r\n{SET}#TS:1628217471\r\n#anything\n{MULTI}#TS:2\r\n{SET}{EXEC}");
        for piece in [1, 2, 3, 7, 1000] {
            let (taken, end) = read(text.as_bytes(), piece);
            assert_eq!(String::from_utf8(taken).unwrap(), format!("{SET}{MULTI}{SET}{EXEC}"));
            assert_eq!(end, Ok(ReadEnd::Whole));
        }
        let cut = format!("{SET}#TS:16282174");
        let valid = 100 + SET.len() as u64;
        assert_eq!(end_of(&cut), Ok(ReadEnd::Truncated { valid, in_block: false }));
        let long = format!("#{}\n", "x".repeat(2 * ANNOTATION_BYTES_MAX));
        assert!(end_of(&long).is_err());
    }

    #[test]
    fn what_a_master_says_to_replicas_alone_is_left_out() {
        let ping = "*1\r\n$4\r\nping\r\n";
        let ask = "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
        let say = "*3\r\n$7\r\nPUBLISH\r\n$4\r\nPING\r\n$6\r\n*1\r\n$4\r\n";
        let stream = format!("{ping}{SET}{say}{MULTI}{say}{SET}{EXEC}{ask}");
        let mut effects = Vec::new();
        effects_of_stream(stream.as_bytes(), &mut effects);
        assert_eq!(String::from_utf8(effects).unwrap(), format!("{SET}{MULTI}{SET}{EXEC}"));
    }

    #[test]
    fn what_is_no_command_is_found_where_it_stands() {
        let broken = format!("{SET}{SET}SET k v\r\n");
        let fault = end_of(&broken).unwrap_err();
        assert_eq!(fault.at, 100 + 2 * SET.len() as u64);
        assert_eq!(fault.to_string(), format!("at offset {}: a command should stand there", fault.at));
        let broken = [
            "*0\r\n",
            "*-1\r\n",
            "*99999999999\r\n",
            "*1\n",
            "*1\r\n#3\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n$3\r\nabcd\r\n",
            "*1\r\n$99999999999999999999999\r\n",
            "*1 \r\n",
        ];
        for broken in broken {
            assert!(end_of(broken).is_err(), "{broken:?}");
        }
        assert!(end_of(&format!("{MULTI}{MULTI}")).is_err());
        assert!(end_of(EXEC).is_err());
    }

    #[test]
    fn zeros_that_nobody_wrote_are_no_more_than_a_cut() {
        let block = format!("{SET}{MULTI}{SET}{EXEC}");
        for cut in 0..=block.len() {
            for zeros in [1, 4096] {
                let torn = [&block.as_bytes()[..cut], &std::vec![0; zeros][..]].concat();
                for piece in [1, 5, usize::MAX] {
                    let (_, end) = read(&torn, piece);
                    assert!(matches!(end, Ok(ReadEnd::Truncated { .. })), "{cut} {zeros} {piece}: {end:?}");
                }
                let with_more = [&torn[..], SET.as_bytes()].concat();
                let is_fine = matches!(read(&with_more, usize::MAX).1, Ok(ReadEnd::Whole));
                assert!(!is_fine, "{cut}: zeros in the middle are not passed over");
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..300), seed: u64) {
            let mut rng = Rng::new(seed);
            let mut file = format!("{SET}{MULTI}{SET}{EXEC}").into_bytes();
            let at = rng.below(file.len() as u64) as usize;
            file.splice(at..at, bytes);
            let (whole, end) = read(&file, usize::MAX);
            let (pieces, other) = read(&file, 1 + rng.below(9) as usize);
            if end.is_ok() && other.is_ok() {
                prop_assert_eq!(whole, pieces);
                prop_assert_eq!(end, other);
            }
        }
    }
}
