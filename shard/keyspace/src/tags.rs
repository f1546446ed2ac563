//! Finding a byte among tags, 64 at a time: a page has rarely more, so a look-up does not branch on their number.

/// Tags compared in one step.
pub(crate) const GROUP: usize = 64;

/// Tags that a vector holds.
const VECTOR: usize = 16;

/// The positions of `tag` in `group`, one bit each.
#[inline(always)]
pub(crate) fn matches(group: &[u8; GROUP], tag: u8) -> u64 {
    let (vectors, _) = group.as_chunks::<VECTOR>();
    let part = |number: usize| u64::from(matches_in_vector(vectors[number], tag)) << (number * VECTOR);
    part(0) | part(1) | part(2) | part(3)
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn matches_in_vector(vector: [u8; VECTOR], tag: u8) -> u32 {
    // Two halves, so that no pointer is involved; it compiles to one load.
    use core::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
    let bits = u128::from_le_bytes(vector);
    // SAFETY: only SSE2, which every x86_64 has (newer compilers know it and call these functions safe).
    #[allow(unused_unsafe)]
    unsafe {
        let tags = _mm_set_epi64x((bits >> 64) as i64, bits as i64);
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(tag as i8))) as u32
    }
}

#[cfg(not(target_arch = "x86_64"))]
#[inline(always)]
fn matches_in_vector(vector: [u8; VECTOR], tag: u8) -> u32 {
    matches_in_words(vector, tag)
}

/// The same without vector instructions: zero bytes of `vector ^ tag`, exactly (no borrow between bytes).
#[cfg(any(test, not(target_arch = "x86_64")))]
fn matches_in_words(vector: [u8; VECTOR], tag: u8) -> u32 {
    const LOW: u128 = u128::from_ne_bytes([0x7f; VECTOR]);
    let different = u128::from_le_bytes(vector) ^ u128::from_ne_bytes([tag; VECTOR]);
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
        // Few different values, those at the edges of the carry included.
        const VALUES: [u8; 6] = [0, 1, 0x7f, 0x80, 0x81, 0xff];
        let mut rng = Rng::new(3);
        for _ in 0..20_000 {
            let group: [u8; GROUP] = core::array::from_fn(|_| VALUES[rng.below(6) as usize]);
            let tag = VALUES[rng.below(6) as usize];
            let expected = (0..GROUP).filter(|&i| group[i] == tag).fold(0, |bits, i| bits | 1 << i);
            assert_eq!(matches(&group, tag), expected);
            let (vectors, _) = group.as_chunks::<VECTOR>();
            for (number, &vector) in vectors.iter().enumerate() {
                assert_eq!(u64::from(matches_in_words(vector, tag)), expected >> (number * VECTOR) & 0xffff);
            }
        }
    }
}
