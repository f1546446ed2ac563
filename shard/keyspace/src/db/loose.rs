//! Values between two keys: taken from one, or copied, and put under another, maybe of another database or shard.

use super::Db;
use crate::access::{LastUse, Trace};
use crate::block::{Block, split_slot};
use crate::observe::Change;
use crate::page::Draft;
use crate::value::{List, Value};
use crate::{Entry, Expiry, Key, StringForm, ValueRef};
use alloc::boxed::Box;
use alloc::vec::Vec;
use slotmesh_base::UnixMillis;

/// A value that no key holds.
#[derive(Debug)]
pub struct Loose {
    value: Value,
    form: StringForm,
    /// The trace of the last access, if it has been a key's.
    trace: Option<Trace>,
    /// What is told of its last use, if it was saved.
    last_use: Option<LastUse>,
    /// When the key expires that will hold it.
    pub expires_at: Option<UnixMillis>,
}

/// The key is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyExists;

impl Loose {
    /// A value that was saved.
    pub fn new(value: Value, expires_at: Option<UnixMillis>) -> Self {
        Self { value, form: StringForm::ByContent, trace: None, last_use: None, expires_at }
    }

    /// The same, last used as is told.
    #[must_use]
    pub fn used(mut self, last_use: Option<LastUse>) -> Self {
        self.last_use = last_use;
        self
    }

    /// A list with the elements that `fill` gives it; it must not stay empty.
    pub fn list(fill: impl FnOnce(&mut List)) -> Self {
        let mut list = List::new();
        fill(&mut list);
        Self::new(Value::List(list), None)
    }

    /// A string.
    pub fn string(bytes: &[u8]) -> Self {
        Self::new(Value::String(bytes.to_vec()), None)
    }

    /// A string that counts as raw.
    pub fn raw_string(bytes: Vec<u8>) -> Self {
        Self { form: StringForm::Raw, ..Self::new(Value::String(bytes), None) }
    }

    /// The value.
    pub fn value(&self) -> ValueRef<'_> {
        self.value.borrow()
    }
}

impl Db {
    /// Takes value and expiry from `key`, which is no more afterwards.
    pub fn take(&mut self, key: &Key<'_>, now: UnixMillis) -> Option<Loose> {
        let place = self.find_live(key, now)?;
        let (block, index) = split_slot(key.slot);
        let table = &mut self.blocks[block].as_mut()?.tables[index];
        let (page, entry) = table.at(place);
        let (expires_at, form) = (page.expiry(entry).map(UnixMillis), page.form(entry));
        let trace = Some(self.access.touched(page.trace(entry), now, &mut self.rng));
        let value = table.take(key.slot, place, &mut self.tally);
        self.note_removals(key.slot, 1);
        self.note_event(key, Change::Removed);
        Some(Loose { value, form, trace, last_use: None, expires_at })
    }

    /// A copy of value and expiry of `key`. A large value is shared until one of the two changes.
    pub fn duplicate(&mut self, key: &Key<'_>, now: UnixMillis) -> Option<Loose> {
        let form = self.string_form(key, now).unwrap_or_default();
        let Entry { value, expires_at } = self.get(key, now)?;
        Some(Loose { form, ..Loose::new(value.to_owned(), expires_at) })
    }

    /// Puts a value under `key`, whatever was there before, as if that had been removed first (so RENAME and COPY do in
    /// Redis). For callers that have dealt with an expired old value (by [`get`](Self::get)), or do not care: here it counts
    /// as there.
    ///
    /// # Panics
    /// If it is a list without elements.
    pub fn put(&mut self, key: &Key<'_>, loose: Loose, now: UnixMillis) {
        self.put_noting(key, loose, Change::Replaced, now);
    }

    /// As [`put`](Self::put), but the old value changes into the new one: who waits for a list is not told of it (Redis 7.2
    /// `db.c` `setKey`).
    ///
    /// # Panics
    /// If it is a list without elements.
    pub fn overwrite(&mut self, key: &Key<'_>, loose: Loose, now: UnixMillis) {
        self.put_noting(key, loose, Change::Changed, now);
    }

    /// Puts a value under `key`, which must not be there, not even expired: to load what was saved (Redis 7.2 `db.c`
    /// `dbAddRDBLoad`).
    ///
    /// # Errors
    /// If the key is there; nothing happens then.
    ///
    /// # Panics
    /// If it is a list without elements.
    pub fn insert(&mut self, key: &Key<'_>, loose: Loose, now: UnixMillis) -> Result<(), KeyExists> {
        if self.table(key.slot).is_some_and(|table| table.find(key).is_some()) {
            return Err(KeyExists);
        }
        self.put(key, loose, now);
        Ok(())
    }

    fn put_noting(&mut self, key: &Key<'_>, mut loose: Loose, replaced: Change, now: UnixMillis) {
        assert!(!matches!(&loose.value, Value::List(list) if list.is_empty()), "an empty list is no value");
        let mut draft = Draft::value(key.bytes, &mut loose.value, loose.expires_at.map(|at| at.0)).form(loose.form);
        let trace = loose.trace.or_else(|| Some(self.access.restored(loose.last_use?, now)));
        if let Some(trace) = trace {
            draft = draft.trace(trace);
        }
        let (block, index) = split_slot(key.slot);
        let table = &mut self.blocks[block].get_or_insert_with(|| Box::new(Block::new())).tables[index];
        let change = match table.find(key) {
            Some(place) => {
                let (page, entry) = table.at_mut(key.slot, place, &mut self.tally);
                page.replace(entry, &draft, &mut self.tally);
                if trace.is_none() {
                    page.touch(page.layout(entry), self.access, now, &mut self.rng);
                }
                replaced
            }
            None => {
                let draft = if trace.is_none() { draft.trace(self.access.fresh(now)) } else { draft };
                table.insert(key, &draft, &self.hasher, &mut self.tally);
                self.note_insert(key.slot);
                Change::Created
            }
        };
        self.note_expiry(key.slot, loose.expires_at.map_or(Expiry::Never, Expiry::At));
        self.note_event(key, change);
    }
}

#[cfg(test)]
mod tests;
