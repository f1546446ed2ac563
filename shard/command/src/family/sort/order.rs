//! Weighing and sorting.

use super::options::Options;
use super::pattern::{Scout, until_zero};
use super::texts::Texts;
use crate::Call;
use crate::double::parse_double;
use slotmesh_base::ReplyError;
use std::cmp::Ordering;
use std::ops::Range;

/// Elements in some order.
pub(super) struct Order<'e> {
    elements: &'e Texts,
    items: Vec<Item>,
}

/// An element.
#[derive(Clone, Copy)]
struct Item {
    /// Orders as the weight does, as far as 64 bits can tell.
    rank: u64,
    /// Which one it is.
    index: usize,
}

impl<'e> Order<'e> {
    /// The order in which they were loaded.
    pub(super) fn as_loaded(elements: &'e Texts) -> Self {
        let items = (0..elements.len()).map(|index| Item { rank: 0, index });
        Self { elements, items: items.collect() }
    }

    /// Those that stand at these places.
    pub(super) fn texts(&self, places: Range<usize>) -> impl ExactSizeIterator<Item = &'e [u8]> + Clone {
        let elements = self.elements;
        self.items[places].iter().map(|item| elements.at(item.index))
    }

    /// Sorts them as far as it decides which stand at the wanted places, and in which order.
    pub(super) fn sort(
        &mut self,
        call: &mut Call<'_>,
        options: &Options<'_>,
        wanted: Range<usize>,
    ) -> Result<(), ReplyError> {
        let elements = self.elements;
        if !options.is_text {
            self.weigh_numbers(call, options)?;
            self.arrange(options, wanted, |one, other| elements.at(one).cmp(elements.at(other)));
            return Ok(());
        }
        // What is stored must not depend on a locale; what is shown follows C's, whose strings end with a zero byte.
        let visible = if options.stored.is_some() { |text| text } else { until_zero };
        if options.by.is_none() {
            self.items.iter_mut().for_each(|item| item.rank = rank_of_text(visible(elements.at(item.index))));
            self.arrange(options, wanted, |one, other| visible(elements.at(one)).cmp(visible(elements.at(other))));
            return Ok(());
        }
        let weights = self.look_up_texts(call, options);
        // What has no weight is the lightest.
        let weight = |index: usize| weights.is_there[index].then(|| visible(weights.texts.at(index)));
        self.items.iter_mut().for_each(|item| item.rank = weight(item.index).map_or(0, rank_of_text));
        self.arrange(options, wanted, |one, other| weight(one).cmp(&weight(other)));
        Ok(())
    }

    /// What has no weight weighs zero.
    fn weigh_numbers(&mut self, call: &mut Call<'_>, options: &Options<'_>) -> Result<(), ReplyError> {
        let (mut are_numbers, mut name) = (true, Vec::new());
        let mut scout = Scout::new(self.elements.iter());
        for item in &mut self.items {
            scout.step(call, options.by.as_slice(), &mut name);
            let element = self.elements.at(item.index);
            let number = match options.by {
                None => number(element),
                Some(pattern) => {
                    pattern.look_up(call, element, &mut name, |weight, _| weight.map_or(Some(0.0), number))
                }
            };
            are_numbers &= number.is_some();
            item.rank = rank_of_number(number.unwrap_or(0.0));
        }
        if are_numbers { Ok(()) } else { Err(ReplyError::SortNotNumbers) }
    }

    fn look_up_texts(&self, call: &mut Call<'_>, options: &Options<'_>) -> Weights {
        let (mut weights, mut name) = (Weights::default(), Vec::new());
        let mut scout = Scout::new(self.elements.iter());
        for (element, pattern) in self.elements.iter().zip(std::iter::repeat(options.by).flatten()) {
            scout.step(call, options.by.as_slice(), &mut name);
            pattern.look_up(call, element, &mut name, |weight, _| {
                weights.is_there.push(weight.is_some());
                weights.texts.push(weight.unwrap_or_default());
            });
        }
        weights
    }

    /// `compare` decides between elements whose ranks are equal.
    fn arrange(&mut self, options: &Options<'_>, wanted: Range<usize>, compare: impl Fn(usize, usize) -> Ordering) {
        let descends = options.descends;
        let compare = |one: &Item, other: &Item| {
            let upwards = one.rank.cmp(&other.rank).then_with(|| compare(one.index, other.index));
            let ordering = if descends { upwards.reverse() } else { upwards };
            ordering.then(one.index.cmp(&other.index))
        };
        if wanted.is_empty() {
            return;
        }
        let mut items = &mut self.items[..];
        if wanted.end < items.len() {
            items = items.select_nth_unstable_by(wanted.end, compare).0;
        }
        if wanted.start > 0 {
            items.select_nth_unstable_by(wanted.start, compare);
        }
        items[wanted.start..].sort_unstable_by(compare);
    }
}

/// What `BY` gives for each element.
#[derive(Default)]
struct Weights {
    is_there: Vec<bool>,
    texts: Texts,
}

/// The number that C reads in a string; zero in an empty one.
fn number(text: &[u8]) -> Option<f64> {
    let visible = until_zero(text);
    if visible.is_empty() { Some(0.0) } else { parse_double(visible) }
}

/// The bits of a number, changed so that they order as numbers do; both zeros are one.
fn rank_of_number(number: f64) -> u64 {
    const SIGN: u64 = 1 << 63;
    let bits = (number + 0.0).to_bits();
    if bits & SIGN == 0 { bits | SIGN } else { !bits }
}

/// The first bytes of a text: where they differ, they order as the texts do.
fn rank_of_text(text: &[u8]) -> u64 {
    if let Some(first) = text.first_chunk::<8>() {
        return u64::from_be_bytes(*first);
    }
    let mut bytes = [0; 8];
    bytes[..text.len()].copy_from_slice(text);
    u64::from_be_bytes(bytes)
}
