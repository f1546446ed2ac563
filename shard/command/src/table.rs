//! All rows, and the way from a name to its row: one probe of a perfect hash.
//!
//! The hash is found once, at the first use: seeds are tried until no two names share a place. A name is read as
//! two words of eight bytes (its first and its last ones) with the letters' case masked away, so that a look-up is
//! two loads, a multiplication, a probe and two comparisons.

use crate::{Reach, Spec, family};
use slotmesh_resp::Args;
use std::sync::OnceLock;

/// All commands, sorted by name.
pub fn all() -> &'static [&'static Spec] {
    &table().sorted
}

/// All rows, those of subcommands included, each at its [`number`](Spec::number).
pub fn rows() -> &'static [&'static Spec] {
    &table().numbered
}

/// The row of a command by its name in any case; containers, not subcommands.
#[inline]
pub fn find(name: &[u8]) -> Option<&'static Spec> {
    table().find(name)
}

/// The row of a subcommand by its name in any case.
pub fn find_subcommand(container: &'static Spec, name: &[u8]) -> Option<&'static Spec> {
    container.subcommands.iter().find(|spec| spec.name.as_bytes().eq_ignore_ascii_case(name))
}

/// Why a request has no row.
#[derive(Clone, Copy, Debug)]
pub enum Unknown {
    /// No such command.
    Command,
    /// The container has no such subcommand.
    Subcommand(&'static Spec),
}

/// The row of a request: a subcommand's if the first argument names one; the container's own if it stands alone.
///
/// # Errors
/// If there is no such command or subcommand (see [`write_unknown`](crate::write_unknown)).
#[inline]
pub fn resolve(args: Args<'_>) -> Result<&'static Spec, Unknown> {
    let spec = args.find(0).and_then(find).ok_or(Unknown::Command)?;
    // Few have subcommands.
    if spec.subcommands.is_empty() {
        return Ok(spec);
    }
    match args.find(1) {
        Some(name) => find_subcommand(spec, name).ok_or(Unknown::Subcommand(spec)),
        None => Ok(spec),
    }
}

/// The row with this full name (`get`, `config|get`) in any case.
pub fn find_full(full_name: &[u8]) -> Option<&'static Spec> {
    let mut parts = full_name.split(|&byte| byte == b'|');
    let spec = find(parts.next()?)?;
    match (parts.next(), parts.next()) {
        (None, _) => Some(spec),
        (Some(name), None) => find_subcommand(spec, name),
        (Some(_), Some(_)) => None,
    }
}

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| Table::build(&numbered(family::rows().copied().collect())))
}

/// Marks a place without a row.
const EMPTY: u16 = u16::MAX;

/// Seeds tried before the table doubles.
const SEEDS_MAX: u64 = 2000;

struct Table {
    sorted: Vec<&'static Spec>,
    numbered: Vec<&'static Spec>,
    names: Vec<Name>,
    places: Vec<u16>,
    seed: u64,
    shift: u32,
}

/// A name with what is needed to compare it in two words: where a byte is a letter, the mask has the bit that tells
/// its cases apart.
struct Name {
    words: [u64; 2],
    masks: [u64; 2],
    len: usize,
}

/// The rows by name, numbered, subcommands right behind their container. They live as long as the process.
fn numbered(mut rows: Vec<Spec>) -> Vec<&'static Spec> {
    rows.sort_by_key(|spec| spec.name);
    let mut numbers = 0..;
    for row in &mut rows {
        row.number = numbers.next().unwrap_or_default();
        row.is_brief = row.doc.complexity == "O(1)" && matches!(row.reach, Reach::Slot(_));
        let mut subcommands = row.subcommands.to_vec();
        subcommands.iter_mut().zip(&mut numbers).for_each(|(sub, number)| sub.number = number);
        row.subcommands = subcommands.leak();
    }
    rows.leak().iter().collect()
}

impl Table {
    fn build(sorted: &[&'static Spec]) -> Self {
        let sorted = sorted.to_vec();
        let numbered = sorted.iter().flat_map(|&spec| std::iter::once(spec).chain(spec.subcommands)).collect();
        assert!(sorted.windows(2).all(|pair| pair[0].name < pair[1].name), "every command has one row");
        let mut bits = (4 * sorted.len()).next_power_of_two().trailing_zeros();
        loop {
            let shift = u64::BITS - bits;
            // Odd numbers, spread by a constant that has no structure.
            let seeds = (1..SEEDS_MAX).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            for seed in seeds {
                if let Some(places) = place_all(&sorted, seed, shift) {
                    let names = sorted.iter().map(|spec| Name::new(spec.name)).collect();
                    return Self { sorted, numbered, names, places, seed, shift };
                }
            }
            bits += 1;
        }
    }

    #[inline]
    fn find(&self, name: &[u8]) -> Option<&'static Spec> {
        let words = words(name);
        let place = self.places[hash(words, name.len(), self.seed, self.shift)];
        // An empty place is beyond the last name.
        let known = self.names.get(usize::from(place))?;
        let same = words[0] | known.masks[0] == known.words[0]
            && words[1] | known.masks[1] == known.words[1]
            && name.len() == known.len;
        let spec = self.sorted[usize::from(place)];
        // The two words cover all of a name of up to 16 bytes.
        (same && (name.len() <= 16 || name.eq_ignore_ascii_case(spec.name.as_bytes()))).then_some(spec)
    }
}

impl Name {
    fn new(name: &'static str) -> Self {
        let letters: Vec<u8> = name.bytes().map(|byte| if byte.is_ascii_lowercase() { 0x20 } else { 0 }).collect();
        Self { words: words(name.as_bytes()), masks: words(&letters), len: name.len() }
    }
}

/// The place of each row, if no two share one.
fn place_all(rows: &[&'static Spec], seed: u64, shift: u32) -> Option<Vec<u16>> {
    let mut places = vec![EMPTY; 1 << (u64::BITS - shift)];
    for (index, spec) in (0..EMPTY).zip(rows) {
        let name = spec.name.as_bytes();
        let place = &mut places[hash(words(name), name.len(), seed, shift)];
        if *place != EMPTY {
            return None;
        }
        *place = index;
    }
    Some(places)
}

/// The first and the last eight bytes of a name (overlapping, or padded with zeros, where it is shorter).
#[inline]
fn words(name: &[u8]) -> [u64; 2] {
    if let (Some(first), Some(last)) = (name.first_chunk::<8>(), name.last_chunk::<8>()) {
        [u64::from_le_bytes(*first), u64::from_le_bytes(*last)]
    } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>()) {
        [u64::from(u32::from_le_bytes(*first)), u64::from(u32::from_le_bytes(*last))]
    } else if let (Some(first), Some(last)) = (name.first(), name.last()) {
        let middle = name[name.len() / 2];
        [u64::from(u32::from_le_bytes([*first, middle, *last, 0])), 0]
    } else {
        [0, 0]
    }
}

#[inline]
fn hash(words: [u64; 2], len: usize, seed: u64, shift: u32) -> usize {
    const CASE: u64 = 0x2020_2020_2020_2020;
    let mixed = (words[0] | CASE).wrapping_mul(seed) ^ (words[1] | CASE).rotate_left(29) ^ len as u64;
    (mixed.wrapping_mul(seed) >> shift) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name` with the letters whose bit is set in `pattern` in upper case.
    fn with_case(name: &str, pattern: u32) -> Vec<u8> {
        let flip = |(index, byte): (usize, u8)| {
            if pattern >> (index % 32) & 1 == 1 { byte.to_ascii_uppercase() } else { byte }
        };
        name.bytes().enumerate().map(flip).collect()
    }

    #[test]
    fn every_row_is_found_in_any_case() {
        assert!(all().len() > 40);
        for spec in all() {
            for pattern in [0, u32::MAX, 0x5555_5555, 0xaaaa_aaaa, 1, 0x10] {
                let name = with_case(spec.name, pattern);
                assert_eq!(find(&name).map(|found| found.name), Some(spec.name), "{name:?}");
            }
        }
    }

    #[test]
    fn every_row_has_its_number() {
        let subcommands: usize = all().iter().map(|spec| spec.subcommands.len()).sum();
        assert_eq!(rows().len(), all().len() + subcommands);
        for (number, spec) in rows().iter().enumerate() {
            assert_eq!(usize::from(spec.number), number, "{}", spec.full_name);
            assert_eq!(find_full(spec.full_name.as_bytes()).map(|found| found.number), Some(spec.number));
        }
    }

    #[test]
    fn nothing_else_is_found() {
        for spec in all() {
            let name = spec.name.as_bytes();
            for index in 0..name.len() {
                for byte in 0..=255 {
                    let mut other = name.to_vec();
                    other[index] = byte;
                    let known = all().iter().any(|spec| other.eq_ignore_ascii_case(spec.name.as_bytes()));
                    assert_eq!(find(&other).is_some(), known, "{other:?}");
                }
            }
            for other in [&name[1..], &name[..name.len() - 1], &[name, b"\0"].concat(), &[name, name, name].concat()] {
                let known = all().iter().any(|spec| other.eq_ignore_ascii_case(spec.name.as_bytes()));
                assert_eq!(find(other).is_some(), known, "{other:?}");
            }
        }
        assert!(find(b"").is_none());
        assert!(find(b"config|get").is_none());
    }

    #[test]
    fn full_names_lead_to_subcommands() {
        for spec in all() {
            assert_eq!(find_full(spec.full_name.as_bytes()).map(|found| found.name), Some(spec.name));
            for sub in spec.subcommands {
                let upper = sub.full_name.to_ascii_uppercase();
                assert_eq!(find_full(upper.as_bytes()).map(|found| found.full_name), Some(sub.full_name));
                assert_eq!(sub.full_name, format!("{}|{}", spec.name, sub.name));
            }
        }
        for name in ["config|", "config|nope", "get|set", "config|get|x", "|get", ""] {
            assert!(find_full(name.as_bytes()).is_none(), "{name}");
        }
    }
}
