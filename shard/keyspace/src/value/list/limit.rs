//! How large a packed run may become: `list-max-listpack-size`.

/// Largest run or chunk that is allowed when the limit is a number of elements, in bytes.
const COUNTED_BYTES_MAX: usize = 8192;

/// Most bytes of a run for the limits −1 to −5.
const BYTES_MAX: [usize; 5] = [4096, 8192, 16384, 32768, 65536];

/// Most elements that a chunked list remembers as its limit (Redis: `FILL_MAX`).
const CHUNK_COUNT_MAX: i32 = 32767;

/// The limit of packed runs: a number of elements if it is not negative, else one of five sizes in bytes
/// (Redis 7.2 `quicklist.c` `quicklistNodeLimit`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PackedLimit(i32);

impl PackedLimit {
    /// The limit that `list-max-listpack-size` gives.
    pub const fn new(directive: i32) -> Self {
        Self(directive)
    }

    /// The limit for the chunks of a list that outgrows it now.
    pub(super) fn for_chunks(self) -> Self {
        Self(self.0.clamp(-(BYTES_MAX.len() as i32), CHUNK_COUNT_MAX))
    }

    /// Whether a run of so many bytes (those of a listpack) and elements is too large.
    #[inline]
    pub(crate) fn is_exceeded(self, bytes: usize, count: usize) -> bool {
        match self.bounds() {
            (Some(bytes_max), _) => bytes > bytes_max,
            (None, count_max) => bytes > COUNTED_BYTES_MAX || count > count_max,
        }
    }

    /// Whether a chunk that stands alone is so far below the limit that it becomes a packed run again.
    pub(super) fn is_half_reached(self, bytes: usize, count: usize) -> bool {
        match self.bounds() {
            (Some(bytes_max), _) => bytes > bytes_max / 2,
            (None, count_max) => count > count_max / 2,
        }
    }

    /// Most bytes, or else most elements.
    #[inline]
    fn bounds(self) -> (Option<usize>, usize) {
        match usize::try_from(self.0) {
            Ok(count_max) => (None, count_max.max(1)),
            Err(_) => {
                let level = (self.0.unsigned_abs() as usize - 1).min(BYTES_MAX.len() - 1);
                (Some(BYTES_MAX[level]), usize::MAX)
            }
        }
    }
}

/// What the directive has by default: 8 KiB.
impl Default for PackedLimit {
    fn default() -> Self {
        Self(-2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_those_of_redis() {
        for (directive, bytes, count, exceeded) in [
            (-1, 4096, 9999, false),
            (-1, 4097, 1, true),
            (-2, 8192, 1, false),
            (-5, 65536, 1, false),
            (-5, 65537, 1, true),
            (-99, 65536, 1, false),
            (i32::MIN, 65537, 1, true),
            (0, 100, 1, false),
            (0, 100, 2, true),
            (128, 8192, 128, false),
            (128, 8193, 1, true),
            (128, 100, 129, true),
        ] {
            assert_eq!(PackedLimit::new(directive).is_exceeded(bytes, count), exceeded, "{directive} {bytes} {count}");
        }
        assert_eq!(PackedLimit::default(), PackedLimit::new(-2));
        assert!(PackedLimit::default().is_half_reached(4097, 1) && !PackedLimit::default().is_half_reached(4096, 999));
        assert!(PackedLimit::new(1).is_half_reached(1, 1) && !PackedLimit::new(8).is_half_reached(99_999, 4));
        assert_eq!(PackedLimit::new(i32::MAX).for_chunks(), PackedLimit::new(32767));
    }
}
