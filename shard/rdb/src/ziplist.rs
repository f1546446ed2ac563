//! Ziplists, in which Redis before 7.0 kept small lists; they are only read (Redis 7.2 `ziplist.c`).
//!
//! ```text
//! total bytes u32 LE, offset of the last entry u32 LE, count u16 LE (ffff: unknown), entries, ff
//! entry: bytes of the entry before (u8, or fe and u32 LE), then
//! 00xxxxxx | 01xxxxxx +1 | 10------ +4     length of a string in big endian, and the string
//! c0 +2 | d0 +4 | e0 +8 | f0 +3 | fe +1    integer in little endian
//! f1 to fd                                 integer 0 to 12
//! ```

use slotmesh_keyspace::Element;

/// Bytes of the frame before the entries.
const HEADER_BYTES: usize = 10;
const END: u8 = 0xff;
const COUNT_UNKNOWN: usize = 0xffff;
/// Four bytes tell how long the entry before is.
const LONG_PREVIOUS: u8 = 0xfe;

/// The elements of a ziplist; nothing, if the bytes are none.
pub(crate) fn elements(bytes: &[u8]) -> Option<impl Iterator<Item = Element<'_>>> {
    let (total, rest) = bytes.split_first_chunk()?;
    let (tail, rest) = rest.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let (end, entries) = rest.split_last()?;
    if u32::from_le_bytes(*total) as usize != bytes.len() || *end != END {
        return None;
    }
    let (last, found) = check(entries)?;
    let count = usize::from(u16::from_le_bytes(*count));
    let is_whole = u32::from_le_bytes(*tail) as usize == HEADER_BYTES + last && [found, COUNT_UNKNOWN].contains(&count);
    is_whole.then_some(Elements(entries))
}

/// Where the last entry begins, and how many there are.
fn check(entries: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut last, mut count, mut previous) = (0, 0, 0, 0);
    while at < entries.len() {
        let entry = Entry::read(&entries[at..])?;
        if entry.previous != previous {
            return None;
        }
        previous = entry.size;
        last = at;
        at += entry.size;
        count += 1;
    }
    Some((last, count))
}

/// Entries that have been checked.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let entry = Entry::read(self.0)?;
        self.0 = &self.0[entry.size..];
        Some(entry.element)
    }
}

struct Entry<'a> {
    /// Bytes of the entry before.
    previous: usize,
    element: Element<'a>,
    /// Bytes of the entry.
    size: usize,
}

impl<'a> Entry<'a> {
    /// The entry that begins at `bytes`.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (previous, rest) = match bytes {
            [LONG_PREVIOUS, rest @ ..] => {
                let (size, rest) = rest.split_first_chunk()?;
                (u32::from_le_bytes(*size) as usize, rest)
            }
            [END, ..] | [] => return None,
            [size, rest @ ..] => (usize::from(*size), rest),
        };
        let (element, rest) = read_element(rest)?;
        Some(Self { previous, element, size: bytes.len() - rest.len() })
    }
}

fn read_element(bytes: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (&form, rest) = bytes.split_first()?;
    let (length, rest) = match form {
        0..0x40 => (usize::from(form), rest),
        0x40..0x80 => {
            let (&low, rest) = rest.split_first()?;
            (usize::from(form & 0x3f) << 8 | usize::from(low), rest)
        }
        0x80..0xc0 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u32::from_be_bytes(*length) as usize, rest)
        }
        0xf1..=0xfd => return Some((Element::Integer(i64::from(form - 0xf1)), rest)),
        _ => {
            let width = match form {
                0xc0 => 2,
                0xd0 => 4,
                0xe0 => 8,
                0xf0 => 3,
                0xfe => 1,
                _ => return None,
            };
            let (bytes, rest) = rest.split_at_checked(width)?;
            let mut word = [0; 8];
            word[8 - width..].copy_from_slice(bytes);
            return Some((Element::Integer(i64::from_le_bytes(word) >> (8 * (8 - width))), rest));
        }
    };
    let (string, rest) = rest.split_at_checked(length)?;
    Some((Element::Bytes(string), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    /// A ziplist of entries without the size of the one before.
    fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
        let (mut body, mut previous, mut last) = (Vec::new(), 0_usize, 0);
        for entry in entries {
            last = body.len();
            match u8::try_from(previous) {
                Ok(size) if size < LONG_PREVIOUS => body.push(size),
                _ => {
                    body.push(LONG_PREVIOUS);
                    body.extend((previous as u32).to_le_bytes());
                }
            }
            body.extend_from_slice(entry);
            previous = body.len() - last;
        }
        let mut whole = ((body.len() + HEADER_BYTES + 1) as u32).to_le_bytes().to_vec();
        whole.extend(((HEADER_BYTES + last) as u32).to_le_bytes());
        whole.extend((entries.len() as u16).to_le_bytes());
        [whole, body, vec![END]].concat()
    }

    #[test]
    fn every_form_of_an_element_is_read() {
        let long = [&[0x41, 44][..], &[b'x'; 300]].concat();
        let longer = [&[0x80, 0, 0, 0x40, 0][..], &[b'y'; 16384]].concat();
        let bytes = ziplist(&[
            b"\x02ab",
            &long,
            &longer,
            &[0xf1],
            &[0xfd],
            &[0xfe, 0x80],
            &[0xc0, 0, 0x80],
            &[0xf0, 0xff, 0xff, 0xff],
            &[0xd0, 1, 0, 0, 0x80],
            &[0xe0, 0, 0, 0, 0, 0, 0, 0, 0x80],
        ]);
        let found: Vec<_> = elements(&bytes).unwrap().collect();
        let expected = [
            Element::Bytes(b"ab"),
            Element::Bytes(&[b'x'; 300]),
            Element::Bytes(&[b'y'; 16384]),
            Element::Integer(0),
            Element::Integer(12),
            Element::Integer(-128),
            Element::Integer(-32768),
            Element::Integer(-1),
            Element::Integer(-0x7fff_ffff),
            Element::Integer(i64::MIN),
        ];
        assert_eq!(found, expected);
        assert_eq!(elements(&ziplist(&[])).unwrap().count(), 0);
    }

    #[test]
    fn what_is_no_ziplist_is_refused() {
        let whole = ziplist(&[b"\x02ab", &[0xf1], b"\x01c"]);
        assert_eq!(elements(&whole).unwrap().count(), 3);
        for end in 0..whole.len() {
            assert!(elements(&whole[..end]).is_none());
        }
        // Every byte matters but those of strings, and the forms of elements of one length.
        let text: &[usize] = &[12, 13, 15, 18];
        for at in (0..whole.len()).filter(|at| !text.contains(at)) {
            let mut broken = whole.clone();
            broken[at] ^= 0x10;
            assert!(elements(&broken).is_none(), "{at}");
        }
        let mut unknown = whole;
        unknown[8..10].copy_from_slice(&[0xff, 0xff]);
        assert_eq!(elements(&unknown).unwrap().count(), 3);
    }
}
