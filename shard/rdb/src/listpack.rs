//! The frame of a listpack. Its entries are what a keyspace keeps: see `slotmesh_keyspace::PackedRun`.
//!
//! ```text
//! total bytes u32 LE, count u16 LE (ffff: unknown), entries, ff
//! ```

use alloc::vec::Vec;

/// Bytes of the frame before the entries.
const HEADER_BYTES: usize = 6;
/// Bytes of the frame.
pub(crate) const FRAME_BYTES: usize = HEADER_BYTES + 1;
const END: u8 = 0xff;
/// From so many entries on the count is not told.
const COUNT_UNKNOWN: usize = 0xffff;

/// Appends entries with the frame around them.
///
/// # Panics
/// If they have 4 GiB or more.
pub(crate) fn write(out: &mut Vec<u8>, entries: &[u8], count: usize) {
    let total = u32::try_from(entries.len() + FRAME_BYTES).expect("only single elements are so long");
    out.extend(total.to_le_bytes());
    out.extend((count.min(COUNT_UNKNOWN) as u16).to_le_bytes());
    out.extend_from_slice(entries);
    out.push(END);
}

/// The entries within the frame, and how many there are if it says so; nothing, if it is no such frame.
pub(crate) fn read(bytes: &[u8]) -> Option<(&[u8], Option<usize>)> {
    let (total, rest) = bytes.split_first_chunk()?;
    let (count, rest) = rest.split_first_chunk()?;
    let (end, entries) = rest.split_last()?;
    if u32::from_le_bytes(*total) as usize != bytes.len() || *end != END {
        return None;
    }
    let count = usize::from(u16::from_le_bytes(*count));
    Some((entries, (count != COUNT_UNKNOWN).then_some(count)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_says_what_is_within() {
        let mut out = Vec::new();
        write(&mut out, &[0x81, b'a', 2, 1, 1], 2);
        assert_eq!(out, [12, 0, 0, 0, 2, 0, 0x81, b'a', 2, 1, 1, 0xff]);
        assert_eq!(read(&out), Some((&[0x81, b'a', 2, 1, 1][..], Some(2))));
        for end in 0..out.len() {
            assert_eq!(read(&out[..end]), None);
        }
        assert_eq!(read(&[out.clone(), b"x".to_vec()].concat()), None);
        for many in [65534, 65535, 70000] {
            out.clear();
            write(&mut out, &[1; 140_000][..many * 2], many);
            assert_eq!(read(&out).unwrap().1, (many == 65534).then_some(65534));
        }
    }
}
