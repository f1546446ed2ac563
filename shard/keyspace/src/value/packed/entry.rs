//! How one element stands in a packed run: byte for byte an entry of Redis's listpack (Redis 7.2 `listpack.c`), so
//! that a run is an RDB payload but for its frame.
//!
//! ```text
//! 0xxxxxxx                     integer 0..=127
//! 10xxxxxx bytes               up to 63 bytes
//! 110xxxxx +1                  integer of 13 bits
//! 1110xxxx +1 bytes            up to 4095 bytes
//! 11110000 +4 bytes            longer ones, length in little endian
//! 11110001 +2 | 0010 +3 | 0011 +4 | 0100 +8    integers of 16, 24, 32, 64 bits in little endian
//! then the size of all that, 7 bits a byte, to be read from behind
//! ```
//! Text that spells an integer as Redis writes it is packed as one; each element has one form only, so elements are
//! equal if and only if their packed bytes are.

use alloc::vec::Vec;

/// An element, borrowed from where it is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Element<'a> {
    /// Text that spells this integer.
    Integer(i64),
    /// Any other bytes.
    Bytes(&'a [u8]),
}

/// Longest text of an integer.
const INTEGER_TEXT_BYTES_MAX: usize = 20;

/// Most bytes of the size behind an element.
const TAIL_BYTES_MAX: usize = 5;

const STRING_12: u8 = 0xe0;
const STRING_32: u8 = 0xf0;
const INTEGER_13: u8 = 0xc0;
const INTEGER_16: u8 = 0xf1;
const INTEGER_24: u8 = 0xf2;
const INTEGER_32: u8 = 0xf3;
const INTEGER_64: u8 = 0xf4;

/// An element as it is packed, before its size stands behind it: to be written, or to be looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded<'a> {
    head: [u8; 9],
    head_bytes: u8,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    /// Packs `bytes`.
    ///
    /// # Panics
    /// If there are 4 GiB or more of them: no request is as long.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        match integer(bytes) {
            Some(value) => Self::integer(value),
            None => Self::text(bytes),
        }
    }

    /// Packs an element.
    ///
    /// # Panics
    /// If it has 4 GiB or more.
    pub(crate) fn of(element: Element<'a>) -> Self {
        match element {
            Element::Integer(value) => Self::integer(value),
            Element::Bytes(bytes) => Self::new(bytes),
        }
    }

    fn text(bytes: &'a [u8]) -> Self {
        let mut head = [0; 9];
        let length = u32::try_from(bytes.len()).expect("an element comes from a request");
        let head_bytes = match length {
            0..=63 => {
                head[0] = 0x80 | length as u8;
                1
            }
            64..=4095 => {
                head[..2].copy_from_slice(&[STRING_12 | (length >> 8) as u8, length as u8]);
                2
            }
            _ => {
                head[0] = STRING_32;
                head[1..5].copy_from_slice(&length.to_le_bytes());
                5
            }
        };
        Self { head, head_bytes, body: bytes }
    }

    fn integer(value: i64) -> Self {
        let mut head = [0; 9];
        let bytes = value.to_le_bytes();
        let (kind, width) = match value {
            0..=127 => {
                head[0] = bytes[0];
                return Self { head, head_bytes: 1, body: &[] };
            }
            -4096..=4095 => {
                head[..2].copy_from_slice(&[INTEGER_13 | bytes[1] & 0x1f, bytes[0]]);
                return Self { head, head_bytes: 2, body: &[] };
            }
            -0x8000..=0x7fff => (INTEGER_16, 2),
            -0x80_0000..=0x7f_ffff => (INTEGER_24, 3),
            -0x8000_0000..=0x7fff_ffff => (INTEGER_32, 4),
            _ => (INTEGER_64, 8),
        };
        head[0] = kind;
        head[1..=width].copy_from_slice(&bytes[..width]);
        Self { head, head_bytes: 1 + width as u8, body: &[] }
    }

    fn head(&self) -> &[u8] {
        &self.head[..usize::from(self.head_bytes)]
    }

    /// Bytes that the element takes, those behind it included.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        let size = usize::from(self.head_bytes) + self.body.len();
        size + tail_bytes(size)
    }

    /// Writes the element into `out`, which has [`size`](Self::size) bytes.
    #[inline]
    pub(crate) fn write(&self, out: &mut [u8]) {
        let size = usize::from(self.head_bytes) + self.body.len();
        let (packed, tail) = out.split_at_mut(size);
        let (head, body) = packed.split_at_mut(usize::from(self.head_bytes));
        head.copy_from_slice(self.head());
        body.copy_from_slice(self.body);
        write_tail(size, tail);
    }
}

impl Encoded<'_> {
    /// Writes the element behind what is in `out`, which has room for it.
    #[inline]
    pub(crate) fn append(&self, out: &mut Vec<u8>) {
        let size = usize::from(self.head_bytes) + self.body.len();
        out.extend_from_slice(self.head());
        out.extend_from_slice(self.body);
        let mut tail = [0; TAIL_BYTES_MAX];
        let tail = &mut tail[..tail_bytes(size)];
        write_tail(size, tail);
        out.extend_from_slice(tail);
    }
}

/// A packed element, without the size behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Raw<'a>(&'a [u8]);

impl<'a> Raw<'a> {
    /// The element that begins at `bytes`, and where the next one does.
    #[inline]
    pub(super) fn first(bytes: &'a [u8]) -> (Self, usize) {
        let size = packed_bytes(bytes);
        (Self(&bytes[..size]), size + tail_bytes(size))
    }

    /// As [`first`](Self::first), of bytes from outside, unless no entry begins there.
    pub(super) fn checked(bytes: &'a [u8]) -> Option<(Self, usize)> {
        let head_bytes = match *bytes.first()? {
            0..STRING_12 => 1,
            STRING_12..STRING_32 => 2,
            STRING_32 => 5,
            INTEGER_16..=INTEGER_64 => 1,
            _ => return None,
        };
        bytes.get(..head_bytes)?;
        let size = packed_bytes(bytes);
        let tail_size = tail_bytes(size);
        let (raw, tail) = (bytes.get(..size)?, bytes.get(size..size + tail_size)?);
        let mut expected = [0; TAIL_BYTES_MAX];
        write_tail(size, &mut expected[..tail_size]);
        (tail == &expected[..tail_size]).then_some((Self(raw), size + tail_size))
    }

    /// Whether it stands in the form that it has here.
    pub(super) fn is_canonical(self) -> bool {
        // Text must not spell an integer, and an integer or a length not fit into a shorter form.
        self.is(&Encoded::of(self.element()))
    }

    /// The element that ends with `bytes`, and where it begins.
    #[inline]
    pub(super) fn last(bytes: &'a [u8]) -> (Self, usize) {
        let size = read_tail(bytes);
        let start = bytes.len() - size - tail_bytes(size);
        (Self(&bytes[start..start + size]), start)
    }

    /// Whether it is this element.
    #[inline]
    pub(crate) fn is(self, other: &Encoded<'_>) -> bool {
        let head = other.head();
        self.0.len() == head.len() + other.body.len()
            && self.0[..head.len()] == *head
            && self.0[head.len()..] == *other.body
    }

    /// What it says.
    #[inline]
    pub(crate) fn element(self) -> Element<'a> {
        let bytes = self.0;
        match bytes[0] {
            0..0x80 => Element::Integer(i64::from(bytes[0])),
            0x80..INTEGER_13 => Element::Bytes(&bytes[1..]),
            INTEGER_13..STRING_12 => {
                let unsigned = i16::from(bytes[0] & 0x1f) << 8 | i16::from(bytes[1]);
                // The sign is the thirteenth bit.
                Element::Integer(i64::from(unsigned << 3 >> 3))
            }
            STRING_12..STRING_32 => Element::Bytes(&bytes[2..]),
            STRING_32 => Element::Bytes(&bytes[5..]),
            _ => Element::Integer(signed(&bytes[1..])),
        }
    }
}

/// The bytes of an element that begins at `bytes`, without the size behind it.
#[inline]
fn packed_bytes(bytes: &[u8]) -> usize {
    match bytes[0] {
        0..0x80 => 1,
        kind @ 0x80..INTEGER_13 => 1 + usize::from(kind & 0x3f),
        INTEGER_13..STRING_12 => 2,
        kind @ STRING_12..STRING_32 => 2 + (usize::from(kind & 0x0f) << 8 | usize::from(bytes[1])),
        STRING_32 => 5 + u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize,
        INTEGER_16 => 3,
        INTEGER_24 => 4,
        INTEGER_32 => 5,
        _ => 9,
    }
}

/// A signed integer in little endian, of 1 to 8 bytes.
fn signed(bytes: &[u8]) -> i64 {
    let mut word = [0; 8];
    word[8 - bytes.len()..].copy_from_slice(bytes);
    i64::from_le_bytes(word) >> (8 * (8 - bytes.len()))
}

/// Bytes of the size that stands behind an element of `size` bytes. (Redis's bounds are one too low from the second
/// on; they decide where the next entry begins.)
#[inline]
fn tail_bytes(size: usize) -> usize {
    match size {
        0..=127 => 1,
        128..0x3fff => 2,
        0x3fff..0x1f_ffff => 3,
        0x1f_ffff..0xfff_ffff => 4,
        _ => 5,
    }
}

#[inline]
fn write_tail(size: usize, out: &mut [u8]) {
    let mut rest = size;
    for (index, byte) in out.iter_mut().enumerate().rev() {
        // All but the first one say that there is more before them.
        *byte = (rest & 0x7f) as u8 | if index > 0 { 0x80 } else { 0 };
        rest >>= 7;
    }
}

#[inline]
fn read_tail(bytes: &[u8]) -> usize {
    let (mut size, mut shift) = (0, 0);
    for &byte in bytes.iter().rev() {
        size |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    size
}

/// The integer that `text` spells exactly as Redis would write it.
fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => return (!negative).then_some(0),
        [b'1'..=b'9', rest @ ..] if rest.len() < INTEGER_TEXT_BYTES_MAX - 1 => {}
        _ => return None,
    }
    // 19 digits always fit into 64 bits without sign.
    let mut magnitude = 0_u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit - b'0');
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use std::string::ToString;

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let encoded = Encoded::new(bytes);
        let mut out = vec![0xaa; encoded.size()];
        encoded.write(&mut out);
        out
    }

    #[test]
    fn entries_are_those_of_a_listpack() {
        // Read off the dump of lists in redis-server 7.2.6.
        for (text, bytes) in [
            ("0", &[0x00, 1][..]),
            ("127", &[0x7f, 1]),
            ("128", &[0xc0, 0x80, 2]),
            ("-1", &[0xdf, 0xff, 2]),
            ("-4096", &[0xd0, 0x00, 2]),
            ("4096", &[0xf1, 0x00, 0x10, 3]),
            ("-32769", &[0xf2, 0xff, 0x7f, 0xff, 4]),
            ("2147483647", &[0xf3, 0xff, 0xff, 0xff, 0x7f, 5]),
            ("2147483648", &[0xf4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]),
            ("", &[0x80, 1]),
            ("ab", &[0x82, b'a', b'b', 3]),
            ("01", &[0x82, b'0', b'1', 3]),
            ("-0", &[0x82, b'-', b'0', 3]),
        ] {
            assert_eq!(packed(text.as_bytes()), bytes, "{text}");
        }
        let long = packed(&[b'x'; 200]);
        assert_eq!((&long[..3], &long[202..]), (&[0xe0, 200, b'x'][..], &[1, 0x80 | 74][..]));
        let longer = packed(&[b'x'; 5000]);
        assert_eq!((&longer[..6], &longer[5005..]), (&[0xf0, 0x88, 0x13, 0, 0, b'x'][..], &[39, 0x80 | 13][..]));
    }

    #[test]
    fn every_integer_and_length_at_a_bound_reads_as_written_from_both_sides() {
        let edges = [0_i64, 127, 128, 4095, 4096, 0x7fff, 0x8000, 0x7f_ffff, 0x80_0000, 0x7fff_ffff, 0x8000_0000];
        let near = |edge: i64| [edge, -edge, edge.wrapping_add(1), -edge - 1, edge.wrapping_sub(1)];
        for value in edges.into_iter().flat_map(near).chain([i64::MAX, i64::MIN, i64::MIN + 1]) {
            let bytes = packed(value.to_string().as_bytes());
            assert_eq!(Raw::first(&bytes).0.element(), Element::Integer(value));
            assert_eq!(Raw::last(&bytes).0.element(), Element::Integer(value));
        }
        for length in [0, 1, 62, 63, 64, 125, 126, 127, 128, 4095, 4096, 16376, 16377, 16378, 16379, 2_097_150] {
            let text = vec![b'x'; length];
            let bytes = [packed(b"before"), packed(&text)].concat();
            let (raw, start) = Raw::last(&bytes);
            assert_eq!((raw.element(), start), (Element::Bytes(&text), 8), "{length}");
            let (raw, next) = Raw::first(&bytes[8..]);
            assert_eq!((raw.element(), next), (Element::Bytes(&text), bytes.len() - 8), "{length}");
            assert!(raw.is(&Encoded::new(&text)) && !raw.is(&Encoded::new(b"y")));
        }
    }

    #[test]
    fn only_what_redis_writes_is_an_integer() {
        for text in
            ["", "-", "+1", "01", "-0", "-01", " 1", "1 ", "1.0", "9223372036854775808", "1234567890123456789012"]
        {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        assert_eq!(integer(b"18446744073709551615"), None);
    }
}
