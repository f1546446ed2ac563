//! What all cores know of what is on the disk.

use super::Loaded;
use crate::board::Board;
use crate::log::Log;
use slotmesh_shard::{FileFacts, LoadFacts, PersistenceFacts, SaveBegin, SaveRecord, SaveWish};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};

/// The saves and loads of all nodes of the process; one, if it is part of no cluster.
#[derive(Debug)]
pub(crate) struct DiskBoard {
    nodes: Vec<NodeBoard>,
    /// Nodes that do not have their data yet.
    loading: AtomicUsize,
}

/// Those of one node.
#[derive(Debug)]
pub(crate) struct NodeBoard {
    record: Mutex<SaveRecord>,
    /// Whether a save was begun, or scheduled, in the record, and nobody has looked.
    is_asked: AtomicBool,
    /// Whether a rewrite of the append-only file is wanted, and nobody has looked.
    wants_rewrite: AtomicBool,
    log: Mutex<slotmesh_persistence::Facts>,
    pub(crate) load: LoadProgress,
}

/// How far a load has come.
#[derive(Debug, Default)]
pub(crate) struct LoadProgress {
    /// Whether the node has no data yet.
    is_loading: AtomicBool,
    /// Unix seconds of its begin.
    started_at: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) bytes_total: AtomicU64,
    /// What the file says of the memory of who wrote it.
    pub(crate) used_memory: AtomicU64,
    pub(crate) keys: AtomicU64,
    pub(crate) expired: AtomicU64,
    /// What was loaded, until the node takes it.
    loaded: Mutex<Option<Box<Loaded>>>,
    is_loaded: AtomicBool,
}

impl DiskBoard {
    pub(crate) fn new(nodes: usize, now_s: i64) -> Self {
        let node = || NodeBoard {
            record: Mutex::new(SaveRecord::new(now_s)),
            is_asked: AtomicBool::new(false),
            wants_rewrite: AtomicBool::new(false),
            log: Mutex::default(),
            load: LoadProgress::default(),
        };
        Self { nodes: (0..nodes).map(|_| node()).collect(), loading: AtomicUsize::new(0) }
    }

    /// Number of nodes.
    pub(crate) fn len(&self) -> u16 {
        self.nodes.len() as u16
    }

    /// A node.
    pub(crate) fn node(&self, node: u16) -> &NodeBoard {
        &self.nodes[usize::from(node)]
    }

    /// Whether a node of the process does not have its data yet: the others wait for it.
    #[inline]
    pub(crate) fn is_loading(&self) -> bool {
        self.loading.load(Ordering::Acquire) > 0
    }

    /// A node begins to load.
    pub(crate) fn begin_load(&self, node: u16, bytes_total: u64, now_s: i64) {
        let load = &self.node(node).load;
        load.bytes_total.store(bytes_total, Ordering::Relaxed);
        load.started_at.store(now_s as u64, Ordering::Relaxed);
        load.is_loading.store(true, Ordering::Release);
        self.loading.fetch_add(1, Ordering::AcqRel);
    }

    /// A node serves what was loaded; whether all nodes do.
    pub(crate) fn end_load(&self, node: u16) -> bool {
        self.node(node).load.is_loading.store(false, Ordering::Release);
        self.loading.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl DiskBoard {
    /// Those of one node, or of all.
    fn chosen(&self, node: Option<u16>) -> impl Iterator<Item = (u16, &NodeBoard)> {
        (0..).zip(&self.nodes).filter(move |(number, _)| node.is_none_or(|node| node == *number))
    }

    /// For INFO and LASTSAVE: of that node, or of all. `boards` are those of the cores.
    pub(crate) fn facts(&self, node: Option<u16>, boards: &[Board], now_s: i64) -> PersistenceFacts {
        let mut facts = PersistenceFacts::default();
        for (number, board) in self.chosen(node) {
            let changes = match self.nodes.len() {
                1 => boards.iter().map(|board| board.read().changes).sum(),
                _ => boards[usize::from(number)].read().changes,
            };
            facts.add(board.record().facts(changes, now_s), board.load.facts(), &board.log_facts());
        }
        facts
    }

    /// A client wants a save of that node, or of all: those begin that are not being saved. What becomes of it is told of
    /// the node that does most of what was wished.
    pub(crate) fn begin_save(&self, node: Option<u16>, wish: SaveWish, now_s: i64, log: &Log) -> SaveBegin {
        let outcomes = self.chosen(node).map(|(_, board)| {
            let is_rewriting = board.is_rewriting();
            let outcome = board.record().ask(wish, is_rewriting, now_s);
            if outcome == SaveBegin::Scheduled {
                board.ask();
            }
            outcome
        });
        let outcomes: Vec<SaveBegin> = outcomes.collect();
        let order = [SaveBegin::Begun, SaveBegin::Scheduled, SaveBegin::Rewriting];
        let outcome = order.into_iter().find(|outcome| outcomes.contains(outcome)).unwrap_or(SaveBegin::InProgress);
        if outcome == SaveBegin::Begun {
            log.notice(format_args!("Background saving started by pid {}", std::process::id()));
        }
        outcome
    }
}

impl DiskBoard {
    /// Has the append-only file of that node rewritten, or those of all that are not being rewritten; in a transaction, or
    /// while a save is under way, as soon as that has ended.
    pub(crate) fn begin_rewrite(&self, node: Option<u16>, is_in_transaction: bool) -> SaveBegin {
        let (mut begins, mut waits) = (false, is_in_transaction);
        for (_, board) in self.chosen(node) {
            if !board.is_rewriting() {
                begins = true;
                waits |= board.record().is_running();
                board.wants_rewrite.store(true, Ordering::Release);
                board.ask();
            }
        }
        match (begins, waits) {
            (false, _) => SaveBegin::InProgress,
            (true, true) => SaveBegin::Scheduled,
            (true, false) => SaveBegin::Begun,
        }
    }
}

impl NodeBoard {
    /// What INFO tells of its append-only file.
    pub(crate) fn log_facts(&self) -> slotmesh_persistence::Facts {
        *self.log.lock().expect("no holder panics")
    }

    /// Shows what INFO tells of its append-only file.
    pub(crate) fn show_log(&self, facts: slotmesh_persistence::Facts) {
        *self.log.lock().expect("no holder panics") = facts;
    }

    /// Whether its append-only file is being rewritten, or is to be at once. What waits for the end of a save is not.
    fn is_rewriting(&self) -> bool {
        let facts = self.log_facts();
        let is_soon = || facts.is_scheduled || self.wants_rewrite.load(Ordering::Acquire);
        facts.is_rewriting || !self.record().is_running() && is_soon()
    }

    /// Whether a rewrite is wanted; says it once.
    #[inline]
    pub(crate) fn take_wants_rewrite(&self) -> bool {
        self.wants_rewrite.load(Ordering::Relaxed) && self.wants_rewrite.swap(false, Ordering::AcqRel)
    }

    /// Its saves.
    pub(crate) fn record(&self) -> MutexGuard<'_, SaveRecord> {
        self.record.lock().expect("no holder panics")
    }

    /// Something in the record is to be seen by the node's core.
    pub(crate) fn ask(&self) {
        self.is_asked.store(true, Ordering::Release);
    }

    /// Whether that is so; says it once.
    #[inline]
    pub(crate) fn take_asked(&self) -> bool {
        self.is_asked.load(Ordering::Relaxed) && self.is_asked.swap(false, Ordering::AcqRel)
    }
}

impl LoadProgress {
    /// Whether the node does not have its data yet.
    #[inline]
    pub(crate) fn is_loading(&self) -> bool {
        self.is_loading.load(Ordering::Acquire)
    }

    /// A file was loaded while the node served.
    pub(crate) fn note(&self, facts: &FileFacts) {
        self.keys.store(facts.keys, Ordering::Relaxed);
        self.expired.store(facts.expired, Ordering::Relaxed);
    }

    fn facts(&self) -> LoadFacts {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        LoadFacts {
            is_loading: self.is_loading(),
            started_at: read(&self.started_at) as i64,
            bytes: read(&self.bytes),
            bytes_total: read(&self.bytes_total),
            used_memory: read(&self.used_memory),
            keys: read(&self.keys),
            expired: read(&self.expired),
        }
    }

    /// All of it was loaded.
    pub(crate) fn deliver(&self, loaded: Loaded) {
        *self.loaded.lock().expect("no holder panics") = Some(Box::new(loaded));
        self.is_loaded.store(true, Ordering::Release);
    }

    /// What was loaded, once.
    pub(crate) fn take_loaded(&self) -> Option<Box<Loaded>> {
        if !self.is_loaded.swap(false, Ordering::AcqRel) {
            return None;
        }
        self.loaded.lock().expect("no holder panics").take()
    }
}
