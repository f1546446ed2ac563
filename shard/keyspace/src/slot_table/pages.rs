//! The pages of one slot. Up to three stand in the slot's table itself, which saves every look-up in a slot of up
//! to about a hundred keys a step through memory; more stand in a list of their own.

use crate::page::Page;
use crate::tally::Tally;
use alloc::vec::Vec;
use core::mem;

/// Pages, and the number of entries in them, which has its place beside the variant's tag.
#[derive(Debug)]
pub(super) enum Pages {
    Empty,
    One { entries: u32, pages: [Page; 1] },
    Two { entries: u32, pages: [Page; 2] },
    Three { entries: u32, pages: [Page; 3] },
    Many { entries: u32, pages: Vec<Page> },
}

const _: () = assert!(size_of::<Pages>() == 32);

impl Pages {
    /// Number of entries.
    #[inline]
    pub(super) fn entries(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One { entries, .. }
            | Self::Two { entries, .. }
            | Self::Three { entries, .. }
            | Self::Many { entries, .. } => *entries as usize,
        }
    }

    /// Counts entries that were added (or removed, if negative).
    pub(super) fn count_entries(&mut self, change: i32) {
        match self {
            Self::Empty => debug_assert!(change == 0, "no pages, no entries"),
            Self::One { entries, .. }
            | Self::Two { entries, .. }
            | Self::Three { entries, .. }
            | Self::Many { entries, .. } => *entries = entries.wrapping_add_signed(change),
        }
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[Page] {
        match self {
            Self::Empty => &[],
            Self::One { pages, .. } => pages,
            Self::Two { pages, .. } => pages,
            Self::Three { pages, .. } => pages,
            Self::Many { pages, .. } => pages,
        }
    }

    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [Page] {
        match self {
            Self::Empty => &mut [],
            Self::One { pages, .. } => pages,
            Self::Two { pages, .. } => pages,
            Self::Three { pages, .. } => pages,
            Self::Many { pages, .. } => pages,
        }
    }

    /// Adds a page at the end. A list grows by a quarter, as pages do.
    pub(super) fn push(&mut self, page: Page, tally: &mut Tally) {
        let old_bytes = self.directory_bytes();
        *self = match mem::replace(self, Self::Empty) {
            Self::Empty => Self::One { entries: 0, pages: [page] },
            Self::One { entries, pages: [first] } => Self::Two { entries, pages: [first, page] },
            Self::Two { entries, pages: [first, second] } => Self::Three { entries, pages: [first, second, page] },
            Self::Three { entries, pages: [first, second, third] } => {
                let mut pages = Vec::with_capacity(4);
                pages.extend([first, second, third, page]);
                Self::Many { entries, pages }
            }
            Self::Many { entries, mut pages } => {
                if pages.len() == pages.capacity() {
                    pages.reserve_exact(1 + pages.len() / 4);
                }
                pages.push(page);
                Self::Many { entries, pages }
            }
        };
        tally.change_bytes(old_bytes, self.directory_bytes());
    }

    /// Takes the last of several pages.
    ///
    /// # Panics
    /// If there are not several.
    pub(super) fn pop(&mut self, tally: &mut Tally) -> Page {
        let old_bytes = self.directory_bytes();
        let (rest, last) = match mem::replace(self, Self::Empty) {
            Self::Empty | Self::One { .. } => unreachable!("only one of several pages is taken"),
            Self::Two { entries, pages: [first, last] } => (Self::One { entries, pages: [first] }, last),
            Self::Three { entries, pages: [first, second, last] } => {
                (Self::Two { entries, pages: [first, second] }, last)
            }
            Self::Many { entries, mut pages } => {
                let last = pages.pop().expect("a list has pages");
                (Self::shorter(entries, pages), last)
            }
        };
        *self = rest;
        tally.change_bytes(old_bytes, self.directory_bytes());
        last
    }

    /// A list that has lost a page, as a list or in the table.
    fn shorter(entries: u32, mut pages: Vec<Page>) -> Self {
        match <[Page; 3]>::try_from(pages) {
            Ok(pages) => return Self::Three { entries, pages },
            Err(back) => pages = back,
        }
        if pages.len() * 2 < pages.capacity() {
            pages.shrink_to(pages.len() + pages.len() / 4);
        }
        Self::Many { entries, pages }
    }

    /// Bytes of the list, if there is one.
    pub(super) fn directory_bytes(&self) -> usize {
        match self {
            Self::Empty | Self::One { .. } | Self::Two { .. } | Self::Three { .. } => 0,
            Self::Many { pages, .. } => pages.capacity() * size_of::<Page>(),
        }
    }
}
