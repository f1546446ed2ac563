//! The nodes that we know.

use super::links::LinkId;
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::{NOBODY, NodeIndex};
use crate::wire::NodeFlags;
use alloc::boxed::Box;
use alloc::vec::Vec;

/// Most nodes that a table holds: more than there are slots makes no cluster, and gossip must not fill our memory.
pub(super) const MOST_NODES: usize = 16_384;

/// A node as we see it. Times are ms of the clock of timeouts, 0 for never.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) id: NodeId,
    pub(super) shard_id: NodeId,
    pub(super) flags: NodeFlags,
    pub(super) port: u16,
    pub(super) bus_port: u16,
    pub(super) other_port: u16,
    /// The master of a replica, as far as it is known.
    pub(super) master: Option<NodeIndex>,
    /// The link that we dialled, and whether it stands.
    pub(super) link: Option<LinkId>,
    pub(super) is_linked: bool,
    pub(super) linked_at: i64,
    /// When the PING went out that is still unanswered.
    pub(super) ping_sent: i64,
    pub(super) pong_received: i64,
    /// When anything at all came from it.
    pub(super) data_received: i64,
    pub(super) created_at: i64,
    pub(super) failed_at: i64,
    /// When we last voted for one of its replicas.
    pub(super) voted_at: i64,
    pub(super) config_epoch: u64,
    pub(super) offset: u64,
    /// The link that it dialled.
    pub(super) inbound: Option<LinkId>,
    pub(super) host: Option<Host>,
    pub(super) hostname: Option<Box<str>>,
    pub(super) nodename: Option<Box<str>>,
    /// Masters that suspect it, and when they last said so.
    pub(super) reports: Vec<(NodeIndex, i64)>,
    /// The version of slotmesh's own additions that it speaks; 0 for a stranger.
    pub(super) kin: u8,
}

impl Row {
    pub(super) fn has(&self, any: NodeFlags) -> bool {
        self.flags.intersects(any)
    }

    pub(super) fn is_master(&self) -> bool {
        self.has(NodeFlags::MASTER)
    }

    /// Whether it is suspected or has failed.
    pub(super) fn is_bad(&self) -> bool {
        self.has(NodeFlags::PFAIL | NodeFlags::FAIL)
    }

    pub(super) fn is_in_handshake(&self) -> bool {
        self.has(NodeFlags::HANDSHAKE)
    }

    /// Whether this is where the node lives.
    pub(super) fn lives_at(&self, host: Option<&Host>, port: u16, bus_port: u16) -> bool {
        self.host.as_ref() == host && self.port == port && self.bus_port == bus_port
    }
}

/// All rows, found by index and by id.
#[derive(Default, Debug)]
pub(super) struct Table {
    rows: Vec<Option<Row>>,
    free: Vec<NodeIndex>,
    by_id: IdIndex,
    /// All that are suspected, and perhaps some that were: each heartbeat tells of them, and there are few or none.
    suspects: Vec<NodeIndex>,
}

impl Table {
    /// A new row; `None` if the table is full or knows the id.
    pub(super) fn add(&mut self, id: NodeId, shard_id: NodeId, flags: NodeFlags, now: i64) -> Option<NodeIndex> {
        if self.len() >= MOST_NODES || self.find(&id).is_some() {
            return None;
        }
        let row = Row {
            id,
            shard_id,
            flags,
            port: 0,
            bus_port: 0,
            other_port: 0,
            master: None,
            link: None,
            is_linked: false,
            linked_at: 0,
            ping_sent: 0,
            pong_received: 0,
            data_received: 0,
            created_at: now,
            failed_at: 0,
            voted_at: 0,
            config_epoch: 0,
            offset: 0,
            inbound: None,
            host: None,
            hostname: None,
            nodename: None,
            reports: Vec::new(),
            kin: 0,
        };
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(None);
            NodeIndex((self.rows.len() - 1) as u16)
        });
        self.rows[usize::from(index.0)] = Some(row);
        self.by_id.note(index, &self.rows);
        self.note_suspect(index);
        Some(index)
    }

    /// Takes note of a node if it is suspected; whoever sets the flag calls this.
    pub(super) fn note_suspect(&mut self, index: NodeIndex) {
        if self.row(index).has(NodeFlags::PFAIL) && !self.suspects.contains(&index) {
            self.suspects.push(index);
        }
    }

    /// All nodes that are suspected.
    pub(super) fn suspects(&mut self) -> impl Iterator<Item = (NodeIndex, &Row)> {
        let rows = &self.rows;
        let row = |index: NodeIndex| rows[usize::from(index.0)].as_ref().filter(|row| row.has(NodeFlags::PFAIL));
        self.suspects.retain(|&index| row(index).is_some());
        self.suspects.iter().filter_map(move |&index| Some((index, row(index)?)))
    }

    /// Takes a row out; its index may come again. Others point to it no more.
    pub(super) fn remove(&mut self, index: NodeIndex) -> Row {
        let row = self.rows[usize::from(index.0)].take().expect("only rows that are there are removed");
        self.by_id.build(&self.rows);
        self.free.push(index);
        for other in self.rows.iter_mut().flatten() {
            other.reports.retain(|&(reporter, _)| reporter != index);
            if other.master == Some(index) {
                other.master = None;
            }
        }
        row
    }

    /// Gives a row another id, which nobody has.
    pub(super) fn rename(&mut self, index: NodeIndex, id: NodeId) {
        self.row_mut(index).id = id;
        self.by_id.build(&self.rows);
    }

    pub(super) fn find(&self, id: &NodeId) -> Option<NodeIndex> {
        self.by_id.find(id, &self.rows)
    }

    pub(super) fn row(&self, index: NodeIndex) -> &Row {
        self.rows[usize::from(index.0)].as_ref().expect("an index that is in use has a row")
    }

    pub(super) fn row_mut(&mut self, index: NodeIndex) -> &mut Row {
        self.rows[usize::from(index.0)].as_mut().expect("an index that is in use has a row")
    }

    /// The row at a place, if one stands there: places are below [`places`](Self::places).
    pub(super) fn at(&self, place: usize) -> Option<(NodeIndex, &Row)> {
        self.rows.get(place)?.as_ref().map(|row| (NodeIndex(place as u16), row))
    }

    pub(super) fn places(&self) -> usize {
        self.rows.len()
    }

    /// Number of nodes, ourselves among them.
    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (NodeIndex, &Row)> {
        (0..).map(NodeIndex).zip(&self.rows).filter_map(|(index, row)| Some((index, row.as_ref()?)))
    }
}

/// Finds rows by id: gossip asks for each of its entries. Places of rows, by the hash of their ids, with linear probing;
/// at most half of it is full. Ids are random, so that their own digits are the hash.
#[derive(Default, Debug)]
struct IdIndex {
    places: Vec<u16>,
    len: usize,
}

impl IdIndex {
    fn find(&self, id: &NodeId, rows: &[Option<Row>]) -> Option<NodeIndex> {
        let mut at = self.home(id)?;
        loop {
            let place = self.places[at];
            if place == NOBODY {
                return None;
            }
            if rows[usize::from(place)].as_ref().is_some_and(|row| row.id == *id) {
                return Some(NodeIndex(place));
            }
            at = (at + 1) & (self.places.len() - 1);
        }
    }

    /// Where a search begins; `None` if there is nothing yet.
    fn home(&self, id: &NodeId) -> Option<usize> {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let digits: [u8; 16] = *id.as_bytes().first_chunk()?;
        let number = u128::from_le_bytes(digits);
        let hash = (number as u64 ^ ((number >> 64) as u64).rotate_left(3)).wrapping_mul(SPREAD);
        Some((hash >> 32) as usize & self.places.len().checked_sub(1)?)
    }

    /// A row has come.
    fn note(&mut self, index: NodeIndex, rows: &[Option<Row>]) {
        if 2 * (self.len + 1) > self.places.len() {
            return self.build(rows);
        }
        if let Some(row) = &rows[usize::from(index.0)]
            && let Some(mut at) = self.home(&row.id)
        {
            while self.places[at] != NOBODY {
                at = (at + 1) & (self.places.len() - 1);
            }
            self.places[at] = index.0;
            self.len += 1;
        }
    }

    /// Begins anew: a row has gone or has another id, which is rare.
    fn build(&mut self, rows: &[Option<Row>]) {
        let len = rows.iter().flatten().count();
        self.places.clear();
        self.places.resize((4 * len + 4).next_power_of_two(), NOBODY);
        self.len = 0;
        (0..).map(NodeIndex).take(rows.len()).for_each(|index| self.note(index, rows));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_their_ids() {
        let mut table = Table::default();
        let id = |number: u64| NodeId::of_random([number, number ^ 7, 1]);
        for number in 0..1000 {
            let index = table.add(id(number), id(number), NodeFlags::empty(), 1).unwrap();
            assert_eq!(table.add(id(number), id(number), NodeFlags::empty(), 1), None);
            assert_eq!(table.find(&id(number)), Some(index));
        }
        for number in (0..1000).step_by(3) {
            table.remove(table.find(&id(number)).unwrap());
        }
        table.rename(table.find(&id(1)).unwrap(), id(0));
        for number in 0..1000 {
            let found = table.find(&id(number)).map(|index| table.row(index).id);
            let is_there = number == 0 || number % 3 != 0 && number != 1;
            assert_eq!(found, is_there.then_some(id(number)), "{number}");
        }
        assert_eq!(table.len(), 666);
    }
}
