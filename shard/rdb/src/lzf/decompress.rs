//! Out of LZF.

use super::LITERALS_MAX;
use alloc::vec::Vec;

/// The `len` bytes that were compressed into `bytes`; nothing, if these are not of that kind. The caller has seen that they
/// [can be](super::can_expand).
pub(crate) fn decompress(bytes: &[u8], len: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(len);
    let mut rest = bytes;
    while let [control, behind @ ..] = rest {
        let control = usize::from(*control);
        if control < LITERALS_MAX {
            let (literals, behind) = behind.split_at_checked(control + 1)?;
            if literals.len() > len - out.len() {
                return None;
            }
            out.extend_from_slice(literals);
            rest = behind;
            continue;
        }
        let (count, low, behind) = match (control >> 5, behind) {
            (7, [more, low, behind @ ..]) => (usize::from(*more) + 9, *low, behind),
            (7, _) => return None,
            (short, [low, behind @ ..]) => (short + 2, *low, behind),
            _ => return None,
        };
        let distance = ((control & 0x1f) << 8 | usize::from(low)) + 1;
        if count > len - out.len() {
            return None;
        }
        repeat(&mut out, distance, count)?;
        rest = behind;
    }
    (out.len() == len).then_some(out)
}

/// Appends `count` bytes from `distance` back, which may reach into those that are appended.
fn repeat(out: &mut Vec<u8>, distance: usize, count: usize) -> Option<()> {
    let from = out.len().checked_sub(distance)?;
    let end = out.len() + count;
    while out.len() < end {
        // What is there of them doubles each time.
        let available = (out.len() - from).min(end - out.len());
        out.extend_from_within(from..from + available);
    }
    Some(())
}
