//! Snapshots: all databases as they were at one moment, walked in slices while writes go on.
//!
//! Copy on first write, page by page. Every snapshot has an epoch, larger than all before. A page carries the epoch up
//! to which it is *settled*: it was made, or kept, when the newest running snapshot had that epoch, so no snapshot of
//! that epoch or an older one needs it. Before a page changes in any way, its epoch is compared with the newest one
//! that runs; if it is older, the page is copied for those snapshots that have not passed it, and is settled. A copy
//! is the page's bytes: records on the heap are shared, and copied one by one when they change themselves.
//!
//! The walk goes through pages in the order of slots and positions (see `slot_table.rs`), always over whole pages, and
//! leaves out settled ones. A split halves an interval of that order and both halves inherit the epoch: what the walk
//! has passed stays passed. Two pages that are joined are settled before, so it is no matter that the walk may stand
//! between them.
//!
//! A snapshot's state for a database stands in that database, so an exchange of databases takes it along; a flushed
//! database that a snapshot still needs becomes a *ghost*, which is walked as a live one is.
//!
//! On an envelope: a page of 32 entries of 16 and 32 bytes is 2 KiB; 100,000 writes/s at random over 1 M keys copy at
//! most each of 31,000 pages once, 64 MiB in all if the walk stood still.

use crate::Cursor;
use crate::page::Page;
use crate::value::{Value, ValueRef};
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use slotmesh_base::UnixMillis;

/// A running snapshot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SnapshotId(pub(crate) u32);

/// How far a snapshot's walk has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SnapshotWalk {
    /// There is more to walk.
    More,
    /// All entries have been shown; the snapshot has ended.
    Done,
    /// The snapshot is no more: what was kept for it outgrew its bound, or it has ended before.
    Dropped,
}

/// A key as it was when the snapshot began.
#[derive(Clone, Copy, Debug)]
pub struct SnapshotEntry<'a> {
    /// Index of its database at that time.
    pub db: u16,
    /// The key.
    pub key: &'a [u8],
    /// Its value.
    pub value: ValueRef<'a>,
    /// When it expires, maybe a time that has come already.
    pub expires_at: Option<UnixMillis>,
}

/// What copies of one snapshot, over all databases, occupy and may occupy, in bytes. Those databases share it; they
/// are all in one hand at a time, so nothing has to be ordered.
#[derive(Debug)]
pub(crate) struct Account {
    bytes: AtomicUsize,
    peak: AtomicUsize,
    bytes_max: usize,
    is_dropped: AtomicBool,
}

impl Account {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let (bytes, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Self { bytes, peak, bytes_max, is_dropped: AtomicBool::new(false) }
    }

    /// Bytes now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Most bytes that there ever were.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether the bound was exceeded.
    pub(crate) fn is_dropped(&self) -> bool {
        self.is_dropped.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        let sum = self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.peak.fetch_max(sum, Ordering::Relaxed);
        if sum > self.bytes_max {
            self.is_dropped.store(true, Ordering::Relaxed);
        }
    }

    fn subtract(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// Copies of pages; snapshots that need the same page share one.
pub(crate) type Copies = VecDeque<Arc<Page>>;

/// What one snapshot still wants of one database.
#[derive(Debug)]
pub(crate) struct Capture {
    epoch: u32,
    /// The database's index when the snapshot began.
    pub(crate) db: u16,
    /// The walk has passed everything before this.
    pub(crate) next: Cursor,
    /// Pages as they were, which the walk has not shown yet.
    pub(crate) copies: Copies,
    /// Entries of the first of them that it has.
    pub(crate) shown: usize,
    /// Bytes in the account that are due to `copies`.
    charged: usize,
    account: Arc<Account>,
}

impl Capture {
    /// A snapshot that begins.
    pub(crate) fn new(epoch: u32, db: u16, account: Arc<Account>) -> Self {
        Self { epoch, db, next: Cursor::start(), copies: Copies::new(), shown: 0, charged: 0, account }
    }

    /// The oldest copy, all of which has been shown.
    pub(crate) fn take_shown_copy(&mut self) -> Option<Arc<Page>> {
        let copy = self.copies.pop_front();
        self.shown = 0;
        // Values that were changed since count until no copy is left that may hold them.
        let done = if self.copies.is_empty() { self.charged } else { copy.as_ref().map_or(0, |copy| copy.size()) };
        self.charged -= done;
        self.account.subtract(done);
        copy
    }

    /// Keeps a page as it is.
    pub(crate) fn keep(&mut self, copy: Arc<Page>) {
        self.charge(copy.size());
        self.copies.push_back(copy);
    }

    fn charge(&mut self, bytes: usize) {
        self.charged += bytes;
        self.account.add(bytes);
    }

    fn take_copies(&mut self) -> Copies {
        self.account.subtract(mem::take(&mut self.charged));
        self.shown = 0;
        mem::take(&mut self.copies)
    }
}

/// What all running snapshots still want of one database.
#[derive(Debug, Default)]
pub(crate) struct Captures {
    /// The newest of their epochs; 0 if there are none.
    epoch: u32,
    running: Vec<Capture>,
    /// Bytes of records that pages gave up and copies still hold, since they were charged last.
    detached: usize,
    /// Copies that nobody wants any more, to be freed by and by.
    pub(crate) dead: Vec<Copies>,
}

impl Captures {
    /// Pages of an older version must be kept before they change.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Whether a snapshot wants anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// A snapshot begins.
    pub(crate) fn begin(&mut self, capture: Capture) {
        self.epoch = capture.epoch;
        self.running.push(capture);
    }

    /// What the snapshot of that epoch wants.
    pub(crate) fn find(&mut self, epoch: u32) -> Option<&mut Capture> {
        self.running.iter_mut().find(|capture| capture.epoch == epoch)
    }

    /// A snapshot wants nothing any more.
    pub(crate) fn end(&mut self, epoch: u32) {
        let Some(at) = self.running.iter().position(|capture| capture.epoch == epoch) else { return };
        let copies = self.running.remove(at).take_copies();
        if !copies.is_empty() {
            self.dead.push(copies);
        }
        self.epoch = self.running.iter().map(|capture| capture.epoch).max().unwrap_or(0);
    }

    /// Keeps a page, whose positions begin at `start` and which is about to change, for the snapshots that need it.
    #[cold]
    pub(crate) fn preserve(&mut self, start: Cursor, page: &mut Page) {
        self.charge_detached();
        let version = page.version();
        let mut copy = None;
        for capture in &mut self.running {
            if !capture.account.is_dropped() && version < capture.epoch && start >= capture.next {
                capture.keep(Arc::clone(copy.get_or_insert_with(|| Arc::new(page.share()))));
            }
            if capture.account.is_dropped() && !capture.copies.is_empty() {
                self.dead.push(capture.take_copies());
            }
        }
        page.set_version(self.epoch);
    }

    /// A record of so many bytes, or a part of its value, is no longer held by a page, but by a copy of it.
    #[cold]
    pub(crate) fn note_detached(&mut self, bytes: usize) {
        self.detached += bytes;
    }

    /// Counts what was detached as kept by all those snapshots that have copies: which ones hold it is not known.
    pub(crate) fn charge_detached(&mut self) {
        let detached = mem::take(&mut self.detached);
        if detached > 0 {
            let keeping = self.running.iter_mut().filter(|capture| !capture.copies.is_empty());
            keeping.for_each(|capture| capture.charge(detached));
        }
    }
}

/// Lets go of a copy; frees it if nobody else has it, but for values that are costly to free: they go to `dead`.
pub(crate) fn release(copy: Arc<Page>, dead: &mut Vec<Value>) {
    if let Some(mut page) = Arc::into_inner(copy) {
        page.take_heavy(dead);
    }
}
