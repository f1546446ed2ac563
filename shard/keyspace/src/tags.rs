//! Finding a byte among tags, sixteen at a time.

/// Tags looked at in one step.
pub(crate) const GROUP: usize = 16;

/// The positions of `tag` in `group`, one bit each.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn matches(group: [u8; GROUP], tag: u8) -> u32 {
    // SSE2 is part of x86_64; two halves so that no pointer is involved (it compiles to one load).
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let bits = u128::from_le_bytes(group);
    // SAFETY: only SSE2, which every x86_64 has.
    #[allow(unused_unsafe)]
    unsafe {
        let tags = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag as i8))) as u32
    }
}

/// The positions of `tag` in `group`, one bit each.
#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
pub(crate) fn matches(group: [u8; GROUP], tag: u8) -> u32 {
    matches_in_words(group, tag)
}

/// The same without vector instructions: zero bytes of `group ^ tag`, exactly (no borrow between bytes).
#[cfg(any(test, not(target_arch = "x86_64")))]
fn matches_in_words(group: [u8; GROUP], tag: u8) -> u32 {
    const LOW: u128 = u128::from_ne_bytes([0x7f; GROUP]);
    let different = u128::from_le_bytes(group) ^ u128::from_ne_bytes([tag; GROUP]);
    let mut zero_bytes = !(((different & LOW) + LOW) | different | LOW);
    let mut positions = 0;
    while zero_bytes != 0 {
        positions |= 1 << (zero_bytes.trailing_zeros() / 8);
        zero_bytes &= zero_bytes - 1;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_base::Rng;

    #[test]
    fn both_ways_find_exactly_the_equal_bytes() {
        let mut rng = Rng::new(3);
        for _ in 0..20_000 {
            // Few different values, those at the edges of the carry included.
            let group: [u8; GROUP] = core::array::from_fn(|_| [0, 1, 0x7f, 0x80, 0x81, 0xff][rng.below(6) as usize]);
            let tag = [0, 1, 0x7f, 0x80, 0x81, 0xff][rng.below(6) as usize];
            let expected = (0..GROUP).filter(|&i| group[i] == tag).fold(0, |bits, i| bits | 1 << i);
            assert_eq!(matches(group, tag), expected);
            assert_eq!(matches_in_words(group, tag), expected);
        }
    }
}
