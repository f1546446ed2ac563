//! The options of SORT, and what they say of the keys that a request needs.

use super::Pattern;
use crate::parse_integer;
use slotmesh_base::ReplyError;
use slotmesh_resp::Args;
use std::ops::Range;

pub(super) struct Options<'a> {
    /// What the weights are, if not the elements themselves.
    pub(super) by: Option<Pattern<'a>>,
    /// Whether there is an order to make: not if `BY` names no keys.
    pub(super) sorts: bool,
    /// Whether weights are compared as text, not as numbers.
    pub(super) is_text: bool,
    pub(super) descends: bool,
    offset: i64,
    /// How many are wanted; all of them, if negative.
    count: i64,
    /// What is shown for each element, if not the element itself.
    pub(super) gets: Vec<Pattern<'a>>,
    /// Index of the argument that is the key of `STORE`.
    pub(super) stored: Option<usize>,
}

impl<'a> Options<'a> {
    /// Of each option the last one counts; but a `BY` that names no keys is never undone.
    pub(super) fn parse(args: Args<'a>, may_store: bool, is_node: bool) -> Result<Self, ReplyError> {
        let mut options = Self {
            by: None,
            sorts: true,
            is_text: false,
            descends: false,
            offset: 0,
            count: -1,
            gets: Vec::new(),
            stored: None,
        };
        let mut index = 2;
        while let Some(word) = args.find(index) {
            let values = [args.find(index + 1), args.find(index + 2)];
            index += match (OptionName::parse(word), values) {
                (Some(OptionName::Asc), _) => {
                    options.descends = false;
                    1
                }
                (Some(OptionName::Desc), _) => {
                    options.descends = true;
                    1
                }
                (Some(OptionName::Alpha), _) => {
                    options.is_text = true;
                    1
                }
                (Some(OptionName::Limit), [Some(offset), Some(count)]) => {
                    options.offset = parse_integer(offset)?;
                    options.count = parse_integer(count)?;
                    3
                }
                (Some(OptionName::Store), [Some(_), _]) if may_store => {
                    options.stored = Some(index + 1);
                    2
                }
                (Some(OptionName::By), [Some(pattern), _]) => {
                    options.set_by(pattern, is_node)?;
                    2
                }
                (Some(OptionName::Get), [Some(_), _]) if is_node => return Err(ReplyError::SortGetInClusterMode),
                (Some(OptionName::Get), [Some(pattern), _]) => {
                    options.gets.push(Pattern::parse(pattern));
                    2
                }
                _ => return Err(ReplyError::Syntax),
            };
        }
        Ok(options)
    }

    fn set_by(&mut self, text: &'a [u8], is_node: bool) -> Result<(), ReplyError> {
        let pattern = Pattern::parse(text);
        if !pattern.reads_keys() {
            self.sorts = false;
        } else if is_node {
            return Err(ReplyError::SortByInClusterMode);
        }
        self.by = Some(pattern);
        Ok(())
    }

    /// Which of `len` elements in their order are wanted.
    pub(super) fn window(&self, len: usize) -> Range<usize> {
        let within = |number: i64| usize::try_from(number).unwrap_or(0).min(len);
        let start = within(self.offset);
        let end = if self.count < 0 { len } else { start.saturating_add(within(self.count)).min(len) };
        start..end
    }
}

#[derive(Clone, Copy)]
enum OptionName {
    Asc,
    Desc,
    Alpha,
    Limit,
    Store,
    By,
    Get,
}

impl OptionName {
    fn parse(word: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], OptionName); 7] = [
            (b"asc", OptionName::Asc),
            (b"desc", OptionName::Desc),
            (b"alpha", OptionName::Alpha),
            (b"limit", OptionName::Limit),
            (b"store", OptionName::Store),
            (b"by", OptionName::By),
            (b"get", OptionName::Get),
        ];
        NAMES.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, option)| option)
    }

    /// Arguments that belong to it.
    fn values(self) -> usize {
        match self {
            Self::Asc | Self::Desc | Self::Alpha => 0,
            Self::Store | Self::By | Self::Get => 1,
            Self::Limit => 2,
        }
    }
}

/// The options of a request with their index, as [`Options::parse`] reads those of one that it does not refuse. Words that
/// are no options are passed over.
fn named(args: Args<'_>) -> impl Iterator<Item = (OptionName, usize)> {
    let mut index = 2;
    std::iter::from_fn(move || {
        while let Some(word) = args.find(index) {
            let (at, name) = (index, OptionName::parse(word));
            index += 1 + name.map_or(0, OptionName::values);
            if let Some(name) = name {
                return Some((name, at));
            }
        }
        None
    })
}

/// The key of `STORE`. (Redis 7.2 `db.c` `sortGetKeys` takes the word behind `STORE` for an option again: of a request that
/// stores in a key named `by` it may show another key than that which SORT writes.)
pub(super) fn find_stored(args: Args<'_>) -> Option<usize> {
    let stored = named(args).filter(|(name, at)| matches!(name, OptionName::Store) && at + 1 < args.len());
    stored.last().map(|(_, at)| at + 1)
}

/// Why a node refuses a request that reads keys which are named after elements.
pub(super) fn refusal_at_node(args: Args<'_>, may_store: bool) -> Option<ReplyError> {
    let reads_keys = named(args).any(|(name, at)| {
        let takes_pattern = matches!(name, OptionName::By | OptionName::Get);
        takes_pattern && args.find(at + 1).is_some_and(|text| Pattern::parse(text).reads_keys())
    });
    if reads_keys { Options::parse(args, may_store, true).err() } else { None }
}
