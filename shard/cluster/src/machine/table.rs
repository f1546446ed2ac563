//! The nodes that we know.

use super::links::LinkId;
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::{NOBODY, NodeIndex};
use crate::wire::NodeFlags;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Most nodes that a table holds: more than there are slots makes no cluster, and gossip must not fill our memory.
pub(super) const MOST_NODES: usize = 16_384;

/// A node as we see it. Times are ms of the clock of timeouts, 0 for never.
///
/// Gossip touches a hundred rows a message, of which a large cluster has too many for the caches: what it reads of a row
/// stands in its first line, what it tells of a row in the first two.
#[derive(Debug)]
#[repr(C, align(128))]
pub(super) struct Row {
    /// [`NodeId::NONE`] at a place where nobody stands.
    pub(super) id: NodeId,
    pub(super) flags: NodeFlags,
    pub(super) port: u16,
    pub(super) bus_port: u16,
    pub(super) other_port: u16,
    /// When the PING went out that is still unanswered.
    pub(super) ping_sent: i64,
    pub(super) pong_received: i64,
    pub(super) host: Option<Host>,
    /// The link that we dialled, and whether it stands.
    pub(super) link: Option<LinkId>,
    pub(super) is_linked: bool,
    /// The version of slotmesh's own additions that it speaks; 0 for a stranger.
    pub(super) kin: u8,
    /// The master of a replica, as far as it is known.
    pub(super) master: Option<NodeIndex>,
    pub(super) linked_at: i64,
    /// When anything at all came from it.
    pub(super) data_received: i64,
    pub(super) config_epoch: u64,
    pub(super) offset: u64,
    /// The link that it dialled.
    pub(super) inbound: Option<LinkId>,
    pub(super) created_at: i64,
    pub(super) failed_at: i64,
    /// When we last voted for one of its replicas.
    pub(super) voted_at: i64,
    pub(super) shard_id: NodeId,
    pub(super) hostname: Option<Box<str>>,
    pub(super) nodename: Option<Box<str>>,
}

const _: () = assert!(core::mem::offset_of!(Row, host) == 64);
const _: () = assert!(size_of::<Row>() == 256);

impl Row {
    fn new(id: NodeId, shard_id: NodeId, flags: NodeFlags, created_at: i64) -> Self {
        Self {
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
            created_at,
            failed_at: 0,
            voted_at: 0,
            config_epoch: 0,
            offset: 0,
            inbound: None,
            host: None,
            hostname: None,
            nodename: None,
            kin: 0,
        }
    }

    /// A place where nobody stands.
    fn nobody() -> Self {
        Self::new(NodeId::NONE, NodeId::NONE, NodeFlags::empty(), 0)
    }

    fn is_there(&self) -> bool {
        self.id.is_some()
    }

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
    rows: Vec<Row>,
    free: Vec<NodeIndex>,
    by_id: IdIndex,
    /// All that are suspected, and perhaps some that were: each heartbeat tells of them, and there are few or none.
    suspects: Vec<NodeIndex>,
    /// Masters that suspect a node, and when they last said so; of a node that nobody suspects there is no entry.
    reports: BTreeMap<NodeIndex, Vec<(NodeIndex, i64)>>,
    /// By place: before this moment time asks for nothing to be done for a node, unless its row changes.
    due: Vec<i64>,
}

impl Table {
    /// A new row; `None` if the table is full or knows the id.
    pub(super) fn add(&mut self, id: NodeId, shard_id: NodeId, flags: NodeFlags, now: i64) -> Option<NodeIndex> {
        if self.len() >= MOST_NODES || self.find(&id).is_some() {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            self.rows.push(Row::nobody());
            self.due.push(0);
            NodeIndex((self.rows.len() - 1) as u16)
        });
        self.rows[usize::from(index.0)] = Row::new(id, shard_id, flags, now);
        self.due[usize::from(index.0)] = 0;
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
        let row = |index: NodeIndex| Some(&rows[usize::from(index.0)]).filter(|row| row.has(NodeFlags::PFAIL));
        self.suspects.retain(|&index| row(index).is_some());
        self.suspects.iter().filter_map(move |&index| Some((index, row(index)?)))
    }

    /// Takes a row out; its index may come again. Others point to it no more.
    pub(super) fn remove(&mut self, index: NodeIndex) -> Row {
        let row = core::mem::replace(self.row_mut(index), Row::nobody());
        self.by_id.build(&self.rows);
        self.free.push(index);
        self.due[usize::from(index.0)] = i64::MAX;
        self.reports.remove(&index);
        let suspected: Vec<NodeIndex> = self.reports.keys().copied().collect();
        suspected.into_iter().for_each(|node| self.withdraw_report(node, index));
        for other in &mut self.rows {
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
        let row = &self.rows[usize::from(index.0)];
        assert!(row.is_there(), "an index that is in use has a row");
        row
    }

    /// A row that may change: the next tick looks at it.
    pub(super) fn row_mut(&mut self, index: NodeIndex) -> &mut Row {
        self.due[usize::from(index.0)] = 0;
        let row = &mut self.rows[usize::from(index.0)];
        assert!(row.is_there(), "an index that is in use has a row");
        row
    }

    /// The row at an index below [`places`](Self::places), if one stands there.
    pub(super) fn at(&self, index: NodeIndex) -> Option<&Row> {
        self.rows.get(usize::from(index.0)).filter(|row| row.is_there())
    }

    pub(super) fn places(&self) -> usize {
        self.rows.len()
    }

    /// A PONG of a node is known that is newer than the one that was: with each message a hundred times, and no reason
    /// to look at the row sooner.
    pub(super) fn note_pong(&mut self, index: NodeIndex, at: i64) {
        let row = &mut self.rows[usize::from(index.0)];
        row.pong_received = row.pong_received.max(at);
    }

    /// Nodes that a tick is to look at.
    pub(super) fn due(&self, now: i64) -> impl Iterator<Item = NodeIndex> {
        (0..).map(NodeIndex).zip(&self.due).filter(move |&(_, &due)| due <= now).map(|(index, _)| index)
    }

    /// No tick needs to look at a node before this moment.
    pub(super) fn rest_until(&mut self, index: NodeIndex, at: i64) {
        self.due[usize::from(index.0)] = at;
    }

    /// The next tick looks at all nodes.
    pub(super) fn wake_all(&mut self) {
        self.due.fill(0);
    }

    /// A master suspects a node.
    pub(super) fn report(&mut self, node: NodeIndex, reporter: NodeIndex, at: i64) {
        let reports = self.reports.entry(node).or_default();
        match reports.iter_mut().find(|(other, _)| *other == reporter) {
            Some((_, last)) => *last = at,
            None => reports.push((reporter, at)),
        }
    }

    /// A master suspects a node no more.
    pub(super) fn withdraw_report(&mut self, node: NodeIndex, reporter: NodeIndex) {
        self.keep_reports(node, |other, _| other != reporter);
    }

    /// How many masters suspect a node and have said so since this moment.
    pub(super) fn count_reports(&mut self, node: NodeIndex, oldest: i64) -> usize {
        self.keep_reports(node, |_, at| at >= oldest)
    }

    /// Forgets reports; how many are left.
    fn keep_reports(&mut self, node: NodeIndex, keep: impl Fn(NodeIndex, i64) -> bool) -> usize {
        let Some(reports) = self.reports.get_mut(&node) else { return 0 };
        reports.retain(|&(reporter, at)| keep(reporter, at));
        let left = reports.len();
        if left == 0 {
            self.reports.remove(&node);
        }
        left
    }

    /// Number of nodes, ourselves among them.
    pub(super) fn len(&self) -> usize {
        self.rows.len() - self.free.len()
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = (NodeIndex, &Row)> {
        (0..).map(NodeIndex).zip(&self.rows).filter(|(_, row)| row.is_there())
    }
}

/// Finds rows by id: gossip asks for each of its entries. Places of rows, by the hash of their ids, with linear probing;
/// at most half of it is full. Ids are random, so that their own digits are the hash. An entry holds 16 more bits of the
/// hash beside the place, so that a search looks at no other row than the one that it wants.
#[derive(Default, Debug)]
struct IdIndex {
    entries: Vec<u32>,
    len: usize,
}

/// An entry that is free: no row stands at this place.
const FREE: u32 = NOBODY as u32;

impl IdIndex {
    fn find(&self, id: &NodeId, rows: &[Row]) -> Option<NodeIndex> {
        let mask = self.entries.len().checked_sub(1)?;
        let (mut at, tag) = Self::home(id);
        loop {
            let entry = self.entries[at & mask];
            let place = entry as u16;
            if place == NOBODY {
                return None;
            }
            if entry & !FREE == tag && rows[usize::from(place)].id == *id {
                return Some(NodeIndex(place));
            }
            at = (at & mask) + 1;
        }
    }

    /// Where a search begins, to be cut to the size of the table, and the bits of the hash in its entry.
    fn home(id: &NodeId) -> (usize, u32) {
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let [first, second, ..] = id.as_bytes().as_chunks().0 else { return (0, 0) };
        let (first, second) = (u64::from_le_bytes(*first), u64::from_le_bytes(*second));
        let hash = (first ^ second.rotate_left(3)).wrapping_mul(SPREAD);
        ((hash >> 32) as usize, hash as u32 & !FREE)
    }

    /// A row has come.
    fn note(&mut self, index: NodeIndex, rows: &[Row]) {
        if 2 * (self.len + 1) > self.entries.len() {
            return self.build(rows);
        }
        let row = &rows[usize::from(index.0)];
        if row.is_there() {
            let mask = self.entries.len() - 1;
            let (mut at, tag) = Self::home(&row.id);
            while self.entries[at & mask] as u16 != NOBODY {
                at = (at & mask) + 1;
            }
            self.entries[at & mask] = tag | u32::from(index.0);
            self.len += 1;
        }
    }

    /// Begins anew: a row has gone or has another id, which is rare.
    fn build(&mut self, rows: &[Row]) {
        let len = rows.iter().filter(|row| row.is_there()).count();
        self.entries.clear();
        self.entries.resize((4 * len + 4).next_power_of_two(), FREE);
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
