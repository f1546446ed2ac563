//! The checksum of RDB: CRC64 with Jones's polynomial, reflected, from 0 and without a final xor (Redis `crc64.c`).
//!
//! Sixteen bytes a step, by sixteen tables that are made when this is compiled.

/// The polynomial 0xad93d23594c935a9, its lowest bit first.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// Bytes of a step.
const STEP_BYTES: usize = 16;

/// `TABLES[n][b]` is the checksum of the byte `b` with `n` zeros behind it.
static TABLES: [[u64; 256]; STEP_BYTES] = tables();

/// A running checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Crc64(u64);

impl Crc64 {
    /// The checksum of `bytes`.
    pub fn of(bytes: &[u8]) -> u64 {
        let mut crc = Self::default();
        crc.update(bytes);
        crc.value()
    }

    /// Takes further bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let mut crc = self.0;
        let (steps, rest) = bytes.as_chunks::<STEP_BYTES>();
        for step in steps {
            // The checksum so far meets the first eight bytes.
            let word = (crc ^ u64::from_le_bytes(*step.first_chunk().expect("a step has sixteen bytes"))).to_le_bytes();
            crc = 0;
            for (index, &byte) in word.iter().chain(&step[8..]).enumerate() {
                crc ^= TABLES[STEP_BYTES - 1 - index][usize::from(byte)];
            }
        }
        for &byte in rest {
            crc = TABLES[0][usize::from(crc as u8 ^ byte)] ^ crc >> 8;
        }
        self.0 = crc;
    }

    /// The checksum of all bytes taken.
    pub fn value(self) -> u64 {
        self.0
    }
}

const fn tables() -> [[u64; 256]; STEP_BYTES] {
    let mut tables = [[0; 256]; STEP_BYTES];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut zeros = 1;
    while zeros < STEP_BYTES {
        let mut byte = 0;
        while byte < 256 {
            let before = tables[zeros - 1][byte];
            tables[zeros][byte] = tables[0][(before & 0xff) as usize] ^ before >> 8;
            byte += 1;
        }
        zeros += 1;
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn checksums_are_those_of_redis() {
        assert_eq!(Crc64::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(Crc64::of(b"a"), 0x5fb3_5402_5b27_7b14);
        assert_eq!(Crc64::of(b""), 0);
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        let bytes: Vec<u8> = (0..1000_u32).map(|number| ((number * 7919) >> 3) as u8).collect();
        let mut by_byte = 0_u64;
        for &byte in &bytes {
            by_byte ^= u64::from(byte);
            (0..8).for_each(|_| by_byte = by_byte >> 1 ^ if by_byte & 1 == 1 { POLYNOMIAL } else { 0 });
        }
        for size in [1, 7, 8, 15, 16, 17, 63, 1000] {
            let mut crc = Crc64::default();
            bytes.chunks(size).for_each(|piece| crc.update(piece));
            assert_eq!(crc.value(), by_byte, "{size}");
        }
    }
}
