//! Lists of a database: changed in place, gone when empty.

use super::Db;
use crate::block::{Block, split_slot};
use crate::observe::Change;
use crate::value::{List, Value, WrongKind};
use crate::{Key, ValueRef};
use alloc::boxed::Box;
use slotmesh_base::UnixMillis;

impl Db {
    /// The list of `key`, if it is there; removes an expired entry first.
    ///
    /// # Errors
    /// If the key holds another type.
    pub fn list(&mut self, key: &Key<'_>, now: UnixMillis) -> Result<Option<&List>, WrongKind> {
        match self.get(key, now).map(|entry| entry.value) {
            None => Ok(None),
            Some(ValueRef::List(list)) => Ok(Some(list)),
            Some(_) => Err(WrongKind),
        }
    }

    /// Changes the list of `key`, if it is there; removes the key if no element is left.
    ///
    /// # Errors
    /// If the key holds another type.
    #[inline]
    pub fn edit_list<R>(
        &mut self,
        key: &Key<'_>,
        now: UnixMillis,
        change: impl FnOnce(&mut List) -> R,
    ) -> Result<Option<R>, WrongKind> {
        let Some(place) = self.find_live(key, now) else { return Ok(None) };
        let (block, index) = split_slot(key.slot);
        let Some(block) = &mut self.blocks[block] else { return Ok(None) };
        let (page, entry) = block.tables[index].at_mut(key.slot, place, &mut self.tally);
        page.touch(place.layout, self.access, now, &mut self.rng);
        let changed = page.edit_list(entry, &mut self.tally, |list| {
            list.forget_touch();
            let result = change(list);
            (result, list.is_empty(), list.is_touched())
        });
        let (result, is_empty, is_touched) = changed.ok_or(WrongKind)?;
        if is_empty {
            self.remove_at(key.slot, place);
            self.note_event(key, Change::Removed);
        } else if is_touched {
            self.note_event(key, Change::Changed);
        }
        Ok(Some(result))
    }

    /// Changes the list of `key`, an empty one if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    #[inline]
    pub fn edit_or_make_list<R>(
        &mut self,
        key: &Key<'_>,
        now: UnixMillis,
        change: impl FnOnce(&mut List) -> R,
    ) -> Result<R, WrongKind> {
        let mut change = Some(change);
        let edited = self.edit_list(key, now, |list| change.take().map(|change| change(list)))?;
        if let Some(Some(result)) = edited {
            return Ok(result);
        }
        let mut list = List::new();
        let result = change.expect("there was no list to change")(&mut list);
        if !list.is_empty() {
            let (block, index) = split_slot(key.slot);
            let tables = &mut self.blocks[block].get_or_insert_with(|| Box::new(Block::new())).tables;
            tables[index].insert_boxed(key, Value::List(list), self.access.fresh(now), &self.hasher, &mut self.tally);
            self.note_insert(key.slot);
            self.note_event(key, Change::Created);
        }
        Ok(result)
    }
}
