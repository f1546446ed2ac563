//! The patterns of BY and GET: names of keys in which an element stands for the asterisk.

use crate::Call;
use crate::call::At;
use slotmesh_keyspace::{Key, ValueRef};
use slotmesh_resp::Reply;

#[derive(Clone, Copy)]
pub(super) enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// Without an asterisk it names no key.
    Nothing,
    /// A key, and maybe a field of the hash that it holds.
    Key { before: &'a [u8], behind: &'a [u8], field: Option<&'a [u8]> },
}

impl<'a> Pattern<'a> {
    /// As in Redis, whose patterns are C strings to some extent, asterisk and arrow stand before the first zero byte or not
    /// at all.
    pub(super) fn parse(text: &'a [u8]) -> Self {
        let visible = until_zero(text);
        if visible == b"#" {
            return Self::Element;
        }
        let Some(star) = visible.iter().position(|&byte| byte == b'*') else { return Self::Nothing };
        let (before, behind) = (&text[..star], star + 1);
        // Only the first arrow counts; without a field behind it, it is part of the key.
        let arrow = visible[behind..].windows(2).position(|pair| pair == b"->").map(|at| behind + at);
        match arrow.filter(|arrow| arrow + 2 < visible.len()) {
            Some(arrow) => Self::Key { before, behind: &text[behind..arrow], field: Some(&text[arrow + 2..]) },
            None => Self::Key { before, behind: &text[behind..], field: None },
        }
    }

    /// Whether it names a key after each element.
    pub(super) fn reads_keys(self) -> bool {
        matches!(self, Self::Key { .. })
    }

    fn prefetch<'e>(self, call: &mut Call<'_>, elements: impl Iterator<Item = &'e [u8]>, name: &mut Vec<u8>) {
        let Self::Key { before, behind, .. } = self else { return };
        let place = |element: &[u8], name: &mut Vec<u8>| {
            name.clear();
            [before, element, behind].into_iter().for_each(|part| name.extend_from_slice(part));
            let Key { slot, hash, .. } = call.hasher.key(name);
            (slot, hash)
        };
        // Where keys lie on several shards the command is rare, and its cost not the misses.
        if !call.others.is_empty() {
            return;
        }
        let keys: Vec<_> = elements.map(|element| place(element, name)).collect();
        call.db().prefetch(keys.into_iter());
    }

    /// Runs `body` with what the pattern gives for an element, if that is there. `name` is room for the key's name.
    pub(super) fn look_up<R>(
        self,
        call: &mut Call<'_>,
        element: &[u8],
        name: &mut Vec<u8>,
        body: impl FnOnce(Option<&[u8]>, &mut Reply<'_>) -> R,
    ) -> R {
        let (before, behind, field) = match self {
            Self::Element => return body(Some(element), &mut call.reply),
            Self::Nothing => return body(None, &mut call.reply),
            Self::Key { before, behind, field } => (before, behind, field),
        };
        name.clear();
        [before, element, behind].into_iter().for_each(|part| name.extend_from_slice(part));
        let (key, db, now) = (call.hasher.key(name), call.db, call.now);
        let At { keyspace, reply, .. } = call.at(&key);
        let entry = keyspace.db(db).get(&key, now);
        let found = entry.is_some();
        let value = match (entry.map(|entry| entry.value), field) {
            (Some(ValueRef::String(value)), None) => Some(value),
            _ => None,
        };
        let result = body(value, reply);
        call.count_read(found);
        result
    }
}

/// Walks ahead of the look-ups for many elements, and brings what they will read into the cache, so that their misses
/// overlap.
pub(super) struct Scout<E> {
    elements: E,
    /// Elements that it is ahead.
    ahead: usize,
}

impl<'e, E: Iterator<Item = &'e [u8]> + Clone> Scout<E> {
    pub(super) fn new(elements: E) -> Self {
        Self { elements, ahead: 0 }
    }

    /// To be called before each element is looked up by all of `patterns`.
    pub(super) fn step(&mut self, call: &mut Call<'_>, patterns: &[Pattern<'_>], name: &mut Vec<u8>) {
        /// Keys looked up together; more outstanding misses than this a core does not have.
        const BATCH: usize = 16;
        if self.ahead == 0 {
            let batch = self.elements.clone().take(BATCH);
            patterns.iter().for_each(|pattern| pattern.prefetch(call, batch.clone(), name));
            self.ahead = self.elements.by_ref().take(BATCH).count();
        }
        self.ahead = self.ahead.saturating_sub(1);
    }
}

/// What C sees of a string.
pub(super) fn until_zero(text: &[u8]) -> &[u8] {
    text.split(|&byte| byte == 0).next().unwrap_or_default()
}
