//! Who used a key when: traces of accesses, and looks that leave none.

use super::{Db, Entry};
use crate::access::Access;
use crate::block::split_slot;
use crate::{AccessPolicy, Key};
use slotmesh_base::UnixMillis;

impl Db {
    /// Sets how commands leave a trace in keys.
    pub(crate) fn set_access(&mut self, access: Access) {
        self.access = access;
    }

    /// The entry of `key`, without counting that as a use; removes it first if it has expired.
    pub fn look(&mut self, key: &Key<'_>, now: UnixMillis) -> Option<Entry<'_>> {
        let place = self.find_live(key, now)?;
        let (page, index) = self.table(key.slot)?.at(place);
        Some(page.entry(index))
    }

    /// Counts a key that is there as used, whoever asks for it (`TOUCH`).
    pub fn touch(&mut self, key: &Key<'_>, now: UnixMillis) -> bool {
        let Some(place) = self.find_live(key, now) else { return false };
        let (block, index) = split_slot(key.slot);
        let Some(block) = &mut self.blocks[block] else { return false };
        let page = block.tables[index].page_touched(place);
        page.touch(place.layout, Access { touches: true, ..self.access }, now, &mut self.rng);
        true
    }

    /// Seconds since the last use of a key that is there; means nothing while frequencies are kept.
    pub fn idle_seconds(&self, key: &Key<'_>, now: UnixMillis) -> Option<u32> {
        let table = self.table(key.slot)?;
        let (page, index) = table.at(table.find(key)?);
        Some(page.trace(index).idle_seconds(now))
    }

    /// Bytes that a key that is there and its value occupy, its place in the index of its page included.
    pub fn key_bytes(&self, key: &Key<'_>) -> Option<usize> {
        let table = self.table(key.slot)?;
        let (page, index) = table.at(table.find(key)?);
        Some(page.entry_bytes(index))
    }

    /// The counter of uses of a key that is there; means nothing while no frequencies are kept.
    pub fn frequency(&self, key: &Key<'_>, now: UnixMillis) -> Option<u8> {
        let decay_minutes = match self.access.policy {
            AccessPolicy::Recency => 0,
            AccessPolicy::Frequency { decay_minutes, .. } => decay_minutes,
        };
        let table = self.table(key.slot)?;
        let (page, index) = table.at(table.find(key)?);
        Some(page.trace(index).decayed(now, decay_minutes))
    }
}
