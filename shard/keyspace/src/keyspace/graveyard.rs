//! What is no longer needed and costly to free: freed by and by.

use crate::Db;
use crate::block::{BLOCK_SLOTS, Block};
use crate::snapshot::{Copies, release};
use crate::value::Value;
use alloc::boxed::Box;
use alloc::vec::Vec;
use slotmesh_base::limits::FREED_CHUNKS_PER_TABLE;

/// Blocks of flushed databases, pages that were kept for snapshots, and large values.
#[derive(Debug, Default)]
pub(super) struct Graveyard {
    pub(super) values: Vec<Value>,
    copies: Vec<Copies>,
    blocks: Vec<Box<Block>>,
    /// Tables of the last block that are freed already.
    freed: usize,
    /// Large values, kept pages and blocks of flushed databases that were freed.
    pub(super) emptied: u64,
}

impl Graveyard {
    /// Takes what a database has to be freed.
    pub(super) fn collect(&mut self, db: &mut Db) {
        self.values.append(db.dead_mut());
        self.copies.append(&mut db.captures_mut().dead);
    }

    /// Takes a database that is no more.
    pub(super) fn bury(&mut self, mut db: Db) {
        self.collect(&mut db);
        // The block that is being freed stays the last one.
        let current = self.blocks.pop();
        self.blocks.extend(db.into_blocks());
        self.blocks.extend(current);
    }

    /// Frees up to `tables_max` tables, pages and parts of values; whether there is more.
    pub(super) fn free_some(&mut self, tables_max: usize) -> bool {
        for _ in 0..tables_max {
            if !self.free_one() {
                break;
            }
        }
        if self.blocks.is_empty() {
            self.blocks = Vec::new();
        }
        if self.values.is_empty() {
            self.values = Vec::new();
        }
        !self.blocks.is_empty() || !self.values.is_empty() || !self.copies.is_empty()
    }

    /// What waits to be freed: large values, kept pages, blocks of flushed databases.
    pub(super) fn len(&self) -> usize {
        self.values.len() + self.copies.len() + self.blocks.len()
    }

    fn free_one(&mut self) -> bool {
        if let Some(value) = self.values.last_mut() {
            if !value.free_some(FREED_CHUNKS_PER_TABLE) {
                self.values.pop();
                self.emptied += 1;
            }
        } else if let Some(copies) = self.copies.last_mut() {
            match copies.pop_front() {
                Some(copy) => release(copy, &mut self.values),
                None => {
                    self.copies.pop();
                    self.emptied += 1;
                }
            }
        } else if let Some(block) = self.blocks.last_mut() {
            match block.next_occupied(self.freed) {
                Some(table) if block.tables[table].free_page(&mut self.values) => self.freed = table,
                Some(table) => self.freed = table + 1,
                None => self.freed = BLOCK_SLOTS,
            }
            if self.freed == BLOCK_SLOTS {
                self.blocks.pop();
                self.freed = 0;
                self.emptied += 1;
            }
        } else {
            return false;
        }
        true
    }
}
