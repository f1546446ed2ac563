//! What a node knows of its saves: when the next one is due, and what INFO says of the last.
//!
//! Mirrors Redis 7.0 `server.c` (`serverCron`) and `rdb.c`.

use slotmesh_base::limits::SAVE_RETRY_SECONDS;
use slotmesh_conf::SavePoint;

/// The saves of the data of one stream: those of a node, or of a process that is no part of a cluster. Times are Unix
/// seconds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SaveRecord {
    last_save: i64,
    last_try: i64,
    has_failed: bool,
    last_took: Option<i64>,
    /// When the save that is under way began.
    begun: Option<i64>,
    is_scheduled: bool,
    saves: u64,
    /// Changes that the last save knew of, of all that were ever counted.
    saved_changes: u64,
    /// Keys that the save under way has written, and those that there were.
    keys: (u64, u64),
    /// Most bytes that were kept for the last save since writers changed them, and those for the one under way.
    copies: (u64, u64),
}

/// How a save has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaveEnd {
    /// It is on the disk, with all of so many changes.
    Saved {
        /// Changes that were counted before it.
        changes: u64,
    },
    /// It could not be written.
    Failed,
    /// It is wanted no more.
    GivenUp,
}

/// What INFO says of saves.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SaveFacts {
    /// Changes since the last save.
    pub changes: u64,
    /// Seconds since the save under way began.
    pub running_s: Option<i64>,
    /// Unix seconds of the last save that succeeded, or of the start.
    pub last_save: i64,
    /// Whether the last one has failed.
    pub has_failed: bool,
    /// Seconds that the last one took.
    pub last_took_s: Option<i64>,
    /// Saves that were begun.
    pub saves: u64,
    /// Keys written by the save under way, and all.
    pub keys: (u64, u64),
    /// Most bytes kept for the last save, and for the one under way.
    pub copies: (u64, u64),
}

/// What becomes of a wish for a save.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaveBegin {
    /// It has begun.
    Begun,
    /// It begins later.
    Scheduled,
    /// One is under way.
    InProgress,
    /// The append-only file is being rewritten, and who asks does not want to wait for the end of that.
    Rewriting,
}

/// How a client wants a save.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SaveWish {
    /// It waits for its end (SAVE): a rewrite may go on meanwhile.
    Awaited,
    /// In the background (BGSAVE), at once.
    Background,
    /// In the background, as soon as it can (BGSAVE SCHEDULE, and BGSAVE in a transaction).
    Scheduled {
        /// Whether it is to begin once the transaction has ended.
        is_in_transaction: bool,
    },
}

/// How far the load at the start has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoadFacts {
    /// Whether data are being loaded.
    pub is_loading: bool,
    /// Unix seconds of the begin.
    pub started_at: i64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Bytes of the file.
    pub bytes_total: u64,
    /// Memory of the server that wrote the file, in bytes.
    pub used_memory: u64,
    /// Keys that were loaded.
    pub keys: u64,
    /// Keys that were left out since their time was over.
    pub expired: u64,
}

/// What INFO says of the data on the disk: of a node, or of all nodes of a process together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PersistenceFacts {
    /// Its saves.
    pub save: SaveFacts,
    /// The load at the start.
    pub load: LoadFacts,
    /// Its append-only file.
    pub log: slotmesh_persistence::Facts,
    nodes: usize,
}

impl PersistenceFacts {
    /// Adds a node's.
    pub fn add(&mut self, save: SaveFacts, load: LoadFacts, log: &slotmesh_persistence::Facts) {
        self.nodes += 1;
        self.log.add(log);
        if self.nodes == 1 {
            (self.save, self.load) = (save, load);
            return;
        }
        let sum = |one: (u64, u64), other: (u64, u64)| (one.0 + other.0, one.1 + other.1);
        let all = &mut self.save;
        all.changes += save.changes;
        all.running_s = all.running_s.max(save.running_s);
        all.last_save = all.last_save.min(save.last_save);
        all.has_failed |= save.has_failed;
        all.last_took_s = all.last_took_s.max(save.last_took_s);
        all.saves += save.saves;
        (all.keys, all.copies) = (sum(all.keys, save.keys), sum(all.copies, save.copies));
        let all = &mut self.load;
        all.is_loading |= load.is_loading;
        all.started_at = all.started_at.max(load.started_at);
        all.bytes += load.bytes;
        all.bytes_total += load.bytes_total;
        all.used_memory += load.used_memory;
        all.keys += load.keys;
        all.expired += load.expired;
    }
}

impl SaveRecord {
    /// A node that has started.
    pub fn new(now: i64) -> Self {
        Self { last_save: now, ..Self::default() }
    }

    /// A save begins, if none is under way; whether it does.
    pub fn begin(&mut self, now: i64) -> bool {
        if self.is_running() {
            return false;
        }
        (self.begun, self.last_try) = (Some(now), now);
        self.saves += 1;
        (self.keys, self.copies.1) = ((0, 0), 0);
        true
    }

    /// A client wants a save (Redis 7.0 `rdb.c` `bgsaveCommand`); whether the append-only file `is_rewriting`.
    pub fn ask(&mut self, wish: SaveWish, is_rewriting: bool, now: i64) -> SaveBegin {
        if self.is_running() {
            return SaveBegin::InProgress;
        }
        match wish {
            SaveWish::Background if is_rewriting => return SaveBegin::Rewriting,
            SaveWish::Scheduled { is_in_transaction } if is_rewriting || is_in_transaction => {
                self.schedule();
                return SaveBegin::Scheduled;
            }
            SaveWish::Awaited | SaveWish::Background | SaveWish::Scheduled { .. } => {}
        }
        self.begin(now);
        SaveBegin::Begun
    }

    /// Whether a save is under way.
    pub fn is_running(&self) -> bool {
        self.begun.is_some()
    }

    /// A save is to begin as soon as it can.
    pub fn schedule(&mut self) {
        self.is_scheduled = true;
    }

    /// Whether a save was to begin as soon as it can, and can now: then it has begun.
    pub fn begin_scheduled(&mut self, now: i64) -> bool {
        self.is_scheduled && self.begin(now) && std::mem::take(&mut self.is_scheduled)
    }

    /// The save under way tells how far it is.
    pub fn note_progress(&mut self, keys: u64, keys_total: u64, copies_bytes: u64) {
        self.keys = (keys, keys_total);
        self.copies.1 = self.copies.1.max(copies_bytes);
    }

    /// The save under way has ended.
    pub fn end(&mut self, end: SaveEnd, now: i64) {
        self.last_took = self.begun.take().map(|begun| now - begun);
        self.copies = (self.copies.1, 0);
        self.keys = (0, 0);
        match end {
            SaveEnd::Saved { changes } => {
                (self.last_save, self.has_failed) = (now, false);
                self.saved_changes = changes;
            }
            SaveEnd::Failed => self.has_failed = true,
            SaveEnd::GivenUp => {}
        }
    }

    /// What there is was just read from a file: none of `changes` is one.
    pub fn note_loaded(&mut self, changes: u64) {
        self.saved_changes = changes;
    }

    /// Whether the last save has failed, so that writes are refused if save points promise that there are saves.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Unix seconds of the last save that succeeded.
    pub fn last_save(&self) -> i64 {
        self.last_save
    }

    /// The save point that wants a save now, and the changes that it would save: `changes` were counted in all.
    pub fn due(&self, points: &[SavePoint], changes: u64, now: i64) -> Option<(SavePoint, u64)> {
        let dirty = changes.saturating_sub(self.saved_changes);
        let may_try = !self.has_failed || now - self.last_try > SAVE_RETRY_SECONDS;
        let since = now - self.last_save;
        let is_due =
            |point: &&SavePoint| i64::try_from(dirty).unwrap_or(i64::MAX) >= point.changes && since > point.seconds;
        points.iter().find(is_due).filter(|_| may_try && !self.is_running()).map(|&point| (point, dirty))
    }

    /// For INFO; `changes` were counted in all.
    pub fn facts(&self, changes: u64, now: i64) -> SaveFacts {
        SaveFacts {
            changes: changes.saturating_sub(self.saved_changes),
            running_s: self.begun.map(|begun| now - begun),
            last_save: self.last_save,
            has_failed: self.has_failed,
            last_took_s: self.last_took,
            saves: self.saves,
            keys: self.keys,
            copies: self.copies,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINTS: &[SavePoint] = &[SavePoint { seconds: 100, changes: 1 }, SavePoint { seconds: 10, changes: 50 }];

    #[test]
    fn a_save_is_due_when_enough_has_changed_for_long_enough() {
        let record = SaveRecord::new(1000);
        let due = |changes, now| record.due(POINTS, changes, now).map(|(point, dirty)| (point.seconds, dirty));
        assert_eq!((due(49, 1050), due(50, 1010)), (None, None));
        assert_eq!(due(50, 1011), Some((10, 50)));
        assert_eq!((due(1, 1101), due(0, 5000)), (Some((100, 1)), None));
        assert_eq!(record.due(&[], 1000, 5000), None);
    }

    #[test]
    fn what_was_saved_counts_no_more_and_what_came_meanwhile_does() {
        let mut record = SaveRecord::new(1000);
        assert!(record.begin(1020) && !record.begin(1021));
        assert_eq!(record.due(POINTS, 500, 1500), None, "one is under way");
        assert_eq!(record.facts(70, 1025).running_s, Some(5));
        record.end(SaveEnd::Saved { changes: 60 }, 1030);
        let facts = record.facts(70, 1030);
        assert_eq!((facts.changes, facts.last_save, facts.last_took_s, facts.running_s), (10, 1030, Some(10), None));
        assert_eq!(record.due(POINTS, 109, 1041), None);
        assert!(record.due(POINTS, 110, 1041).is_some());
    }

    #[test]
    fn a_rewrite_is_waited_for_by_those_who_say_so() {
        let (background, scheduled) = (SaveWish::Background, SaveWish::Scheduled { is_in_transaction: false });
        let mut record = SaveRecord::new(0);
        assert_eq!(record.ask(background, true, 1), SaveBegin::Rewriting);
        assert!(!record.begin_scheduled(2), "nobody has said that it may wait");
        assert_eq!(record.ask(scheduled, true, 3), SaveBegin::Scheduled);
        assert!(record.begin_scheduled(4));
        assert_eq!(record.ask(scheduled, true, 5), SaveBegin::InProgress);
        record.end(SaveEnd::Saved { changes: 0 }, 6);
        assert_eq!(record.ask(SaveWish::Awaited, true, 7), SaveBegin::Begun);
        assert_eq!(record.ask(SaveWish::Scheduled { is_in_transaction: true }, false, 8), SaveBegin::InProgress);
        record.end(SaveEnd::Saved { changes: 0 }, 9);
        assert_eq!(record.ask(SaveWish::Scheduled { is_in_transaction: true }, false, 9), SaveBegin::Scheduled);
        let mut record = SaveRecord::new(0);
        assert_eq!(record.ask(scheduled, false, 1), SaveBegin::Begun, "there is nothing to wait for");
    }

    #[test]
    fn after_a_failure_it_is_tried_again_later() {
        let mut record = SaveRecord::new(1000);
        record.begin(1020);
        record.end(SaveEnd::Failed, 1021);
        assert!(record.has_failed() && record.facts(50, 1021).changes == 50);
        assert_eq!(record.due(POINTS, 50, 1025), None);
        assert!(record.due(POINTS, 50, 1026).is_some());
        record.begin(1026);
        record.end(SaveEnd::GivenUp, 1026);
        assert!(record.has_failed(), "nothing was proved");
        record.begin(1027);
        record.end(SaveEnd::Saved { changes: 50 }, 1028);
        assert!(!record.has_failed());
    }

    #[test]
    fn who_schedules_waits_for_the_one_under_way() {
        let mut record = SaveRecord::new(0);
        record.begin(1);
        record.schedule();
        assert!(!record.begin_scheduled(2));
        record.end(SaveEnd::Saved { changes: 0 }, 3);
        assert!(record.begin_scheduled(4) && !record.begin_scheduled(4));
    }
}
