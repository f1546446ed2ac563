//! Hash slots: which of the 16384 slots a key belongs to.
//!
//! Mirrors the Redis Cluster specification, "Key distribution model": CRC16 (XMODEM) of the hash tag,
//! or of the whole key where it has none, modulo 16384.

use core::fmt;

/// Number of hash slots of a cluster.
pub const SLOT_COUNT: usize = 16384;

/// A hash slot, always below [`SLOT_COUNT`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Slot(u16);

impl Slot {
    /// The slot with this number, or `None` if there is no such slot.
    pub const fn new(number: u16) -> Option<Self> {
        if (number as usize) < SLOT_COUNT { Some(Self(number)) } else { None }
    }

    /// The slot that a key belongs to.
    #[inline]
    pub fn of_key(key: &[u8]) -> Self {
        Self(crc16(hash_tag(key)) & (SLOT_COUNT as u16 - 1))
    }

    /// The slot's number as an index, below [`SLOT_COUNT`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// The slot's number.
    pub const fn number(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The part of a key that decides its slot: what stands between the first `{` and the next `}`, if that
/// is not empty; else the whole key.
#[inline]
pub fn hash_tag(key: &[u8]) -> &[u8] {
    if has_brace(key) { braced_part(key) } else { key }
}

#[cold]
fn braced_part(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&b| b == b'{') else { return key };
    let tail = &key[open + 1..];
    match tail.iter().position(|&b| b == b'}') {
        Some(0) | None => key,
        Some(close) => &tail[..close],
    }
}

/// Whether there is a `{`, looked for in eight bytes at a time; every key is asked, and nearly all have none, so that
/// there is one question at the end. What is left behind the last whole eight is in the eight bytes that end there.
#[inline]
fn has_brace(key: &[u8]) -> bool {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let Some(end) = key.last_chunk() else { return key.contains(&b'{') };
    let braces = |word: &[u8; 8]| {
        let difference = u64::from_ne_bytes(*word) ^ (ONES * b'{' as u64);
        // Only a zero byte has its highest bit set by subtracting one, unless it was set before.
        difference.wrapping_sub(ONES) & !difference & (ONES << 7)
    };
    let (words, _) = key.as_chunks::<8>();
    words.iter().fold(braces(end), |found, word| found | braces(word)) != 0
}

/// CRC16 (XMODEM: polynomial 0x1021, from 0, most significant bit first). Short keys go to the `crc16` crate; from
/// eight bytes on, eight go in a step: the remainders of the bytes at their eight distances are independent look-ups,
/// 5 ns for 16 bytes where one step per byte, each waiting for the one before, takes 19.
#[inline]
fn crc16(bytes: &[u8]) -> u16 {
    if bytes.len() < 8 { crc16::State::<crc16::XMODEM>::calculate(bytes) } else { crc16_of_long(bytes) }
}

#[inline]
fn crc16_of_long(bytes: &[u8]) -> u16 {
    let (words, tail) = bytes.as_chunks::<8>();
    let mut crc = 0;
    for word in words {
        let [high, low] = u16::to_be_bytes(crc);
        crc = REMAINDERS[7][(word[0] ^ high) as usize]
            ^ REMAINDERS[6][(word[1] ^ low) as usize]
            ^ REMAINDERS[5][word[2] as usize]
            ^ REMAINDERS[4][word[3] as usize]
            ^ REMAINDERS[3][word[4] as usize]
            ^ REMAINDERS[2][word[5] as usize]
            ^ REMAINDERS[1][word[6] as usize]
            ^ REMAINDERS[0][word[7] as usize];
    }
    for byte in tail {
        crc = (crc << 8) ^ REMAINDERS[0][((crc >> 8) as u8 ^ byte) as usize];
    }
    crc
}

/// The remainder of each byte with 0 to 7 bytes behind it.
static REMAINDERS: [[u16; 256]; 8] = {
    let mut tables = [[0_u16; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut distance = 1;
    while distance < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc = tables[distance - 1][byte];
            tables[distance][byte] = (crc << 8) ^ tables[0][(crc >> 8) as usize];
            byte += 1;
        }
        distance += 1;
    }
    tables
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // CLUSTER KEYSLOT of redis-server 7.0.15.
        for (key, slot) in
            [("foo", 12182), ("bar", 5061), ("", 0), ("123456789", 12739), ("{user1000}.following", 3443)]
        {
            assert_eq!(Slot::of_key(key.as_bytes()).number(), slot, "{key}");
        }
    }

    #[test]
    fn the_crc_is_that_of_the_crate_for_every_length() {
        let mut rng = crate::Rng::new(1);
        for _ in 0..2000 {
            let bytes: [u8; 100] = core::array::from_fn(|_| rng.next_u64() as u8);
            let bytes = &bytes[..rng.below(101) as usize];
            assert_eq!(crc16(bytes), crc16::State::<crc16::XMODEM>::calculate(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn a_brace_is_found_wherever_it_stands() {
        for length in 0..40 {
            for around in [0, b'z', b'{' - 1, b'{' + 1, b'{' | 0x80, 0xff] {
                let mut key = [around; 40];
                assert!(!has_brace(&key[..length]), "{around} {length}");
                if length > 0 {
                    key[length - 1] = b'{';
                    assert!(has_brace(&key[..length]), "{around} {length}");
                }
            }
        }
    }

    #[test]
    fn hash_tags_follow_the_specification() {
        assert_eq!(hash_tag(b"{user1000}.following"), b"user1000");
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn numbers_beyond_the_last_slot_are_refused() {
        assert_eq!(Slot::new(16383).map(Slot::index), Some(16383));
        assert_eq!(Slot::new(16384), None);
    }
}
