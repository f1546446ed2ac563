//! Into LZF, byte for byte as Redis does: DUMP is to give the same.
//!
//! Each place is found again by a hash of its three bytes; the last place with that hash is compared. Behind a
//! repetition only its last two places are entered. (Redis does not clear its table between strings, so that in rare
//! cases it finds a repetition that is not found here.)

use super::places::{All, FEW_BYTES_MAX, Few, HASH_BITS, Places};
use super::{DISTANCE_MAX, LITERALS_MAX, LONG, REPETITION_MAX};
use alloc::vec::Vec;

/// Bytes that must be saved, or the text stays as it is (Redis 7.2 `rdb.c` `rdbSaveLzfStringObject`).
const SAVED_MIN: usize = 4;

/// As many short texts are compressed with a table of their own. Who compresses more gets a large one, for all.
const FEW_TEXTS_MAX: u8 = 16;

/// Compresses texts, one after another.
#[derive(Debug, Default)]
pub(crate) struct Compressor {
    places: Option<All>,
    /// Texts that were compressed without it.
    few: u8,
}

impl Compressor {
    /// Appends `text` in compressed form to `out`: how many bytes that are. Nothing, if that saves too little; `out` is as
    /// it was then.
    pub(crate) fn compress(&mut self, text: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        let budget = text.len().checked_sub(SAVED_MIN).filter(|&budget| budget > 0)?;
        let len = u32::try_from(text.len()).ok()?;
        let start = out.len();
        let is_shorter = if self.places.is_none() && text.len() <= FEW_BYTES_MAX && self.few < FEW_TEXTS_MAX {
            self.few += 1;
            Run { text, places: &mut Few::new(text.len()), out, start, literals: 0 }.compress(budget)
        } else {
            let places = self.places.get_or_insert_with(All::new);
            places.begin(len);
            Run { text, places, out, start, literals: 0 }.compress(budget)
        };
        if is_shorter.is_none() {
            out.truncate(start);
            return None;
        }
        Some(out.len() - start)
    }
}

/// The compression of one text.
struct Run<'a, P> {
    text: &'a [u8],
    places: &'a mut P,
    out: &'a mut Vec<u8>,
    start: usize,
    /// Bytes as they are that stand behind the last control byte, whose place is kept for their number.
    literals: usize,
}

impl<P: Places> Run<'_, P> {
    /// Nothing, if it takes more than `budget` bytes, or might (Redis's checks are kept, which are not exact).
    fn compress(&mut self, budget: usize) -> Option<()> {
        let text = self.text;
        self.out.push(0);
        let mut at = 0;
        while at + 2 < text.len() {
            let found = self.enter(at).filter(|&place| self.repeats(place, at));
            let Some(place) = found else {
                if self.len() >= budget {
                    return None;
                }
                self.literal(text[at]);
                at += 1;
                continue;
            };
            let needed = 4;
            if self.len() + needed >= budget && self.len() - usize::from(self.literals == 0) + needed >= budget {
                return None;
            }
            let len = repetition(text, place, at);
            self.end_literals();
            self.repeat(at - place - 1, len);
            at += len;
            if at + 2 >= text.len() {
                break;
            }
            self.enter(at - 2);
            self.enter(at - 1);
        }
        if self.len() + 3 > budget {
            return None;
        }
        text[at..].iter().for_each(|&byte| self.literal(byte));
        self.end_literals();
        Some(())
    }

    /// Bytes written, the place of a control byte included.
    fn len(&self) -> usize {
        self.out.len() - self.start
    }

    /// Enters a place into the table; the one that was there, if it is of this text.
    #[inline]
    fn enter(&mut self, at: usize) -> Option<usize> {
        let bytes = &self.text[at..at + 3];
        let word = u32::from(bytes[0]) << 16 | u32::from(bytes[1]) << 8 | u32::from(bytes[2]);
        let hash = (word >> (24 - HASH_BITS)).wrapping_sub(word.wrapping_mul(5)) & ((1 << HASH_BITS) - 1);
        let old = self.places.replace(hash as u16, at as u32);
        // The first byte of a text is never the beginning of a repetition.
        old.filter(|&place| place > 0).map(|place| place as usize)
    }

    #[inline]
    fn repeats(&self, place: usize, at: usize) -> bool {
        at - place <= DISTANCE_MAX && self.text[place..place + 3] == self.text[at..at + 3]
    }

    #[inline]
    fn literal(&mut self, byte: u8) {
        self.out.push(byte);
        self.literals += 1;
        if self.literals == LITERALS_MAX {
            self.end_literals();
            self.out.push(0);
        }
    }

    /// Writes the number of literals before the last ones, or takes the place for it away if there are none.
    fn end_literals(&mut self) {
        if self.literals == 0 {
            self.out.pop();
        } else {
            let control = self.out.len() - self.literals - 1;
            self.out[control] = (self.literals - 1) as u8;
        }
        self.literals = 0;
    }

    fn repeat(&mut self, distance: usize, len: usize) {
        let high = (distance >> 8) as u8;
        match len - 2 {
            short @ ..7 => self.out.push(high | (short << 5) as u8),
            long => self.out.extend([high | LONG, (long - 7) as u8]),
        }
        self.out.extend([distance as u8, 0]);
    }
}

/// How many bytes at `at` are those at `place`, three at least, as far as Redis looks.
#[inline]
fn repetition(text: &[u8], place: usize, at: usize) -> usize {
    let within = (text.len() - at - 2).min(REPETITION_MAX);
    // Sixteen are compared in a row where there are so many, then as far as the bound; one at least is compared.
    let bound = within.max(if within > 16 { 19 } else { 3 });
    text[place..].iter().zip(&text[at..at + bound]).take_while(|(old, new)| old == new).count()
}
