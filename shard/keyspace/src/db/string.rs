//! Strings of a database that are changed in place.

use super::Db;
use crate::block::split_slot;
use crate::observe::Change;
use crate::value::WrongKind;
use crate::{Key, Loose, StringForm};
use alloc::vec;
use slotmesh_base::UnixMillis;

impl Db {
    /// Appends to the string of `key`; its new length. `None` if the key is not there; the caller has checked
    /// the type and removed an expired entry by [`get`](Self::get).
    pub fn append(&mut self, key: &Key<'_>, tail: &[u8]) -> Option<usize> {
        let (block, index) = split_slot(key.slot);
        let table = &mut self.blocks[block].as_mut()?.tables[index];
        let place = table.find(key)?;
        let (page, entry) = table.at_mut(key.slot, place, &mut self.tally);
        let length = page.append(entry, key.bytes, tail, &mut self.tally);
        self.note_event(key, Change::Changed);
        Some(length)
    }

    /// Changes the bytes of the string of `key` in place, if it is there; zeros make it at least `length_min` long
    /// before. `change` also says whether it has changed something, and so does the result, where growth counts as well.
    /// From now on the string counts as raw.
    ///
    /// # Errors
    /// If the key holds another type.
    #[inline]
    pub fn edit_string<R>(
        &mut self,
        key: &Key<'_>,
        now: UnixMillis,
        length_min: usize,
        change: impl FnOnce(&mut [u8]) -> (R, bool),
    ) -> Result<Option<(R, bool)>, WrongKind> {
        let Some(place) = self.find_live(key, now) else { return Ok(None) };
        let (block, index) = split_slot(key.slot);
        let Some(block) = &mut self.blocks[block] else { return Ok(None) };
        let (page, entry) = block.tables[index].at_mut(key.slot, place, &mut self.tally);
        page.touch(place.layout, self.access, now, &mut self.rng);
        let edited = page.edit_string(entry, key.bytes, length_min, &mut self.tally, change);
        let (result, has_changed) = edited.ok_or(WrongKind)?;
        if has_changed {
            self.note_event(key, Change::Changed);
        }
        Ok(Some((result, has_changed)))
    }

    /// As [`edit_string`](Self::edit_string), an empty string if the key is not there.
    ///
    /// # Errors
    /// If the key holds another type.
    #[inline]
    pub fn edit_or_make_string<R>(
        &mut self,
        key: &Key<'_>,
        now: UnixMillis,
        length_min: usize,
        change: impl FnOnce(&mut [u8]) -> (R, bool),
    ) -> Result<(R, bool), WrongKind> {
        let mut change = Some(change);
        let mut once = |bytes: &mut [u8]| change.take().expect("there is one string")(bytes);
        if let Some(result) = self.edit_string(key, now, length_min, &mut once)? {
            return Ok(result);
        }
        // All zero at once, so that the system need not give the memory of a long gap.
        let mut string = vec![0; length_min];
        let (result, _) = once(&mut string);
        self.put(key, Loose::raw_string(string), now);
        Ok((result, true))
    }

    /// The form of the string of `key`, if it is there.
    pub fn string_form(&self, key: &Key<'_>, now: UnixMillis) -> Option<StringForm> {
        let table = self.table(key.slot)?;
        let place = table.find(key)?;
        let (page, index) = table.at(place);
        (!page.has_expired(place.layout, now)).then(|| page.form(index))
    }
}
