//! LZF, the compression of strings in RDB.
//!
//! ```text
//! 000LLLLL bytes            L + 1 bytes as they are
//! LLLooooo oooooooo         L + 2 bytes from o + 1 back (L from 1 to 6)
//! 111ooooo LLLLLLLL oooooooo    L + 9 bytes from there; they may overlap with those that they make
//! ```

mod compress;
mod decompress;
mod places;

pub(crate) use compress::Compressor;
pub(crate) use decompress::decompress;

/// Bytes as they are that one control byte announces at most.
const LITERALS_MAX: usize = 32;
/// How far back a repetition may lie.
const DISTANCE_MAX: usize = 1 << 13;
/// Longest repetition.
const REPETITION_MAX: usize = 264;
/// Control byte of repetitions with a length byte; above [`LITERALS_MAX`] a shorter one is in its three highest bits.
const LONG: u8 = 7 << 5;

/// Whether so many compressed bytes can make so many: three make 264.
pub(crate) fn can_expand(compressed: usize, to: usize) -> bool {
    to <= compressed.saturating_mul(REPETITION_MAX / 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
        let mut out = vec![9];
        let len = Compressor::default().compress(bytes, &mut out)?;
        assert_eq!(out.remove(0), 9);
        assert_eq!(out.len(), len);
        Some(out)
    }

    #[test]
    fn it_compresses_as_redis_does() {
        // Captured from DUMP of redis-server 7.0.15.
        assert_eq!(compressed(&[b'a'; 64]).unwrap(), [1, b'a', b'a', 0xe0, 0x33, 0, 1, b'a', b'a']);
        let long = compressed(&[b'y'; 9000]).unwrap();
        assert_eq!(long[..5], [1, b'y', b'y', 0xe0, 0xff]);
        assert_eq!(decompress(&long, 9000).unwrap(), [b'y'; 9000]);
        assert_eq!(compressed(b"no repetition at once"), None);
        assert_eq!(compressed(b""), None);
        assert_eq!(compressed(b"aaaa"), None);
    }

    #[test]
    fn a_compressor_knows_nothing_of_what_it_compressed_before() {
        let mut compressor = Compressor::default();
        let texts = [&b"abcabcabcabcabcabcabc"[..], &[b'x'; 300], b"zzabcabcabcabcabcabcabcx", &[b'x'; 300]];
        for text in texts {
            let mut out = Vec::new();
            assert!(compressor.compress(text, &mut out).is_some());
            assert_eq!(Some(out), compressed(text));
        }
    }

    /// One that has compressed enough to have the large table.
    fn used() -> Compressor {
        let mut compressor = Compressor::default();
        (0..100).for_each(|_| _ = compressor.compress(b"used before, used before", &mut Vec::new()));
        compressor
    }

    #[test]
    fn what_is_not_compressed_text_is_refused() {
        for (bytes, len) in [
            (&[0x20, 0][..], 3),
            (&[0, b'a', 0x20, 1], 4),
            (&[0, b'a', 0x20], 4),
            (&[0, b'a', 0xe0, 1], 11),
            (&[0, b'a', 0xe0], 11),
            (&[3, b'a', b'b'], 4),
            (&[0, b'a'], 2),
            (&[1, b'a', b'b'], 1),
            (&[0, b'a', 0x20, 0], 3),
            (&[], 1),
        ] {
            assert_eq!(decompress(bytes, len), None, "{bytes:x?}");
        }
        assert_eq!(decompress(&[0, b'a', 0x20, 0], 4).unwrap(), b"aaaa");
    }

    proptest! {
        #[test]
        fn what_was_compressed_is_the_same_again(pieces in prop::collection::vec((0..4_u8, 1..90_usize, any::<u8>()), 0..60)) {
            let mut text = Vec::new();
            for (kind, len, byte) in pieces {
                match kind {
                    0 => text.extend(vec![byte; len * 7]),
                    1 => text.extend((0..len).map(|index| (index as u8).wrapping_mul(byte))),
                    2 => text.extend_from_within(text.len().saturating_sub(len * 40)..),
                    _ => text.push(byte),
                }
                text.truncate(40_000);
            }
            let mut out = Vec::new();
            let len = used().compress(&text, &mut out);
            prop_assert_eq!(compressed(&text), len.map(|_| out), "whichever table it has");
            if let Some(bytes) = compressed(&text) {
                prop_assert!(bytes.len() + 4 <= text.len());
                prop_assert!(can_expand(bytes.len(), text.len()));
                prop_assert_eq!(decompress(&bytes, text.len()), Some(text));
            }
        }

        #[test]
        fn any_bytes_are_decompressed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), len in 0..2000_usize) {
            if let Some(text) = decompress(&bytes, len) {
                prop_assert_eq!(text.len(), len);
            }
        }
    }
}
