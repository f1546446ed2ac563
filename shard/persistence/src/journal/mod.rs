//! The writer of the append-only file: what is written, synced, renamed and removed, and in which order.
//!
//! *The idea.* Effects are appended in memory; each byte has a position. Two lanes of orders go to the disk. The *data*
//! lane has at most one write and one sync under way: whatever came meanwhile is the next write, and one sync serves all
//! who waited for it. With `always` a write is its own sync, so that a core is woken once for both. The *files* lane does one thing at a time and changes what files there are (`chain.rs`): each change
//! writes a manifest beside the old one, syncs it, renames it, syncs the folder, and counts from then on.
//!
//! *A rewrite.* At one moment of the stream an image is begun, and what is appended from there on is kept apart (the
//! *cut*). What came before is written and synced to the old increment; then a manifest names a new one as well, and what
//! was kept apart goes there. So a file that is not the last one is always whole. When the image is on the disk a further
//! manifest names it as the base, and the files before it as history; then those are removed.
//!
//! *When the disk fails.* With `always` the process must end, since what its clients have seen cannot be taken back
//! (Redis 7.0 `aof.c`, `flushAppendOnlyFile`). Otherwise writes are refused until the disk takes what there is: the same
//! bytes are written again at the same place. A rewrite that fails leaves all as it was; it is tried again, after three
//! failures with pauses that double from a minute to an hour (`aofRewriteLimited`).
//!
//! Unlike Redis a write does not wait for a slow sync: it is no system call of the core's own. That a sync takes longer
//! than two seconds is counted and logged all the same (`aof_delayed_fsync`).

mod chain;
mod event;
mod rewrite;

use crate::Manifest;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use chain::Chain;
pub use event::JournalEvent;
use rewrite::{Limit, Rewrite};
use slotmesh_base::limits::JOURNAL_BYTES_KEPT;
use slotmesh_base::{Monotonic, UnixMillis};

/// When what was written is synced (`appendfsync`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyncPolicy {
    /// Before anybody hears of it.
    Always,
    /// Once a second.
    #[default]
    EverySecond,
    /// When the system thinks fit.
    No,
}

/// What directives say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JournalRules {
    /// `appendfsync`.
    pub policy: SyncPolicy,
    /// `no-appendfsync-on-rewrite`.
    pub rests_on_rewrite: bool,
    /// `auto-aof-rewrite-percentage`; 0 for never.
    pub rewrite_percentage: u64,
    /// `auto-aof-rewrite-min-size`.
    pub rewrite_bytes_min: u64,
    /// `aof-timestamp-enabled`.
    pub marks_time: bool,
    /// `aof-use-rdb-preamble`.
    pub base_is_rdb: bool,
}

/// Whether effects are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// They are not.
    Off,
    /// They will be, once there is a base.
    Starting,
    /// They are.
    On,
    /// They are not any more; what was appended before still is.
    Stopping,
}

/// What is to be done with the increment at hand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DataOrder {
    /// Write all of it at this offset: [`Journal::wrote`].
    Write {
        /// Bytes of the file in front.
        at: u64,
        /// What is written.
        bytes: Vec<u8>,
        /// Whether it is to be on the disk when it is done: one order for both, where all before it is there already.
        syncs: bool,
    },
    /// Sync the data: [`Journal::synced_until`].
    Sync,
    /// Cut the file: [`Journal::truncated`].
    Truncate {
        /// Bytes that stay.
        to: u64,
    },
}

/// What is to be done with the files in the folder; one at a time, each answered by [`Journal::filed`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FileOrder {
    /// Make the folder, if it is not there, and have that on the disk.
    MakeFolder,
    /// Open a file for data, made or emptied.
    Create(String),
    /// Open a file for data behind what it has, made if it is not there.
    Open(String),
    /// Write a whole file, and sync it.
    Put {
        /// Its name.
        name: String,
        /// What stands in it.
        bytes: Vec<u8>,
    },
    /// Rename a file.
    Rename {
        /// Its name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// Sync the folder.
    SyncFolder,
    /// Remove a file, if it is there.
    Remove(String),
}

/// What the journal wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalOrder {
    /// Something of the increment at hand.
    Data(DataOrder),
    /// Something of the files.
    File(FileOrder),
    /// The file that was opened last is the increment at hand from now on.
    Switch,
    /// The increment at hand is done with.
    Close,
    /// The image that is being made is wanted no more.
    DropImage,
    /// To be logged.
    Log(JournalEvent),
    /// The process cannot go on.
    Exit(JournalEvent),
}

/// What the files were when they were loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Opened {
    /// Bytes of the base.
    pub base_bytes: u64,
    /// Bytes of all increments.
    pub increment_bytes: u64,
    /// Bytes of the last of them.
    pub last_bytes: u64,
}

/// What INFO tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// `aof_enabled`.
    pub is_enabled: bool,
    /// `aof_rewrite_in_progress`.
    pub is_rewriting: bool,
    /// `aof_rewrite_scheduled`.
    pub is_scheduled: bool,
    /// `aof_last_rewrite_time_sec`.
    pub last_rewrite_s: Option<u64>,
    /// `aof_current_rewrite_time_sec`.
    pub rewriting_s: Option<u64>,
    /// Whether the last rewrite went well.
    pub rewrite_failed: bool,
    /// `aof_rewrites`.
    pub rewrites: u64,
    /// `aof_rewrites_consecutive_failures`.
    pub failures: u64,
    /// Whether writes fail, with the code of the system's error.
    pub write_error: Option<i32>,
    /// `aof_current_size`.
    pub current_bytes: u64,
    /// `aof_base_size`.
    pub base_bytes: u64,
    /// `aof_buffer_length`.
    pub buffer_bytes: u64,
    /// Whether a sync is under way.
    pub is_syncing: bool,
    /// `aof_delayed_fsync`.
    pub delayed_syncs: u64,
}

impl Facts {
    /// Adds what another one tells.
    pub fn add(&mut self, other: &Self) {
        self.is_enabled |= other.is_enabled;
        self.is_rewriting |= other.is_rewriting;
        self.is_scheduled |= other.is_scheduled;
        self.last_rewrite_s = self.last_rewrite_s.max(other.last_rewrite_s);
        self.rewriting_s = self.rewriting_s.max(other.rewriting_s);
        self.rewrite_failed |= other.rewrite_failed;
        self.rewrites += other.rewrites;
        self.failures = self.failures.max(other.failures);
        self.write_error = self.write_error.or(other.write_error);
        self.current_bytes += other.current_bytes;
        self.base_bytes += other.base_bytes;
        self.buffer_bytes += other.buffer_bytes;
        self.is_syncing |= other.is_syncing;
        self.delayed_syncs += other.delayed_syncs;
    }
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// Time after which a sync is late.
const SYNC_LATE_NANOS: u64 = 2 * NANOS_PER_SECOND;
/// Time after which a failed write is tried again, in milliseconds.
const RETRY_MS: u64 = 1000;
/// Time between two lines about failed writes (`AOF_WRITE_LOG_ERROR_RATE`).
const ERROR_LOG_NANOS: u64 = 30 * NANOS_PER_SECOND;

/// The writer.
#[derive(Debug)]
pub struct Journal {
    rules: JournalRules,
    /// `appendfilename`.
    prefix: String,
    manifest: Manifest,
    state: State,
    /// Bytes for the increment at hand that no write has.
    buffer: Vec<u8>,
    /// Bytes behind the cut, for the next increment.
    next: Option<Vec<u8>>,
    /// Memory to be used again.
    spare: Vec<u8>,
    /// Position behind all that was appended.
    appended: u64,
    /// Position behind all that was written.
    written: u64,
    /// Position behind all that was synced.
    synced: u64,
    /// Bytes of the increment at hand.
    file_bytes: u64,
    /// Bytes of the write under way, and whether they are synced with it.
    writing: Option<(u64, bool)>,
    is_truncating: bool,
    /// Position that the sync under way covers, and since when it is.
    syncing: Option<(u64, Monotonic)>,
    is_late: bool,
    /// Orders whose ends say nothing any more: the file that they were for has been given up.
    stale: u32,
    /// A rewrite is due: what was written is synced first, so that little is left to be synced at its cut.
    syncs_early: bool,
    has_synced_early: bool,
    /// It is to be started when it has stopped.
    starts_again: bool,
    last_sync: Monotonic,
    /// When what failed is tried again.
    retry_at: Option<Monotonic>,
    write_error: Option<i32>,
    sync_error: Option<i32>,
    last_error_log: Option<Monotonic>,
    /// The last second that was marked.
    marked_s: i64,
    chain: Option<Chain>,
    rewrite: Option<Rewrite>,
    limit: Limit,
    is_scheduled: bool,
    /// A sync has failed: what the file holds is not known, and a rewrite makes it good.
    wants_healing: bool,
    base_bytes: u64,
    /// Bytes of base and increments but the one at hand.
    other_bytes: u64,
    facts: Facts,
}

impl Journal {
    /// One that writes nothing yet; `manifest` says what is in the folder, `prefix` is `appendfilename`.
    pub fn new(rules: JournalRules, prefix: String, manifest: Manifest) -> Self {
        Self {
            rules,
            prefix,
            manifest,
            state: State::Off,
            buffer: Vec::new(),
            next: None,
            spare: Vec::new(),
            appended: 0,
            written: 0,
            synced: 0,
            file_bytes: 0,
            writing: None,
            is_truncating: false,
            syncing: None,
            is_late: false,
            stale: 0,
            syncs_early: false,
            has_synced_early: false,
            starts_again: false,
            last_sync: Monotonic::default(),
            retry_at: None,
            write_error: None,
            sync_error: None,
            last_error_log: None,
            marked_s: 0,
            chain: None,
            rewrite: None,
            limit: Limit::default(),
            is_scheduled: false,
            wants_healing: false,
            base_bytes: 0,
            other_bytes: 0,
            facts: Facts::default(),
        }
    }

    /// Begins to write behind what was loaded, which is on the disk. If that was nothing, `empty_base` becomes the base.
    pub fn open(&mut self, opened: Opened, empty_base: Vec<u8>, orders: &mut Vec<JournalOrder>) {
        debug_assert!(self.state == State::Off && self.chain.is_none(), "a process begins once");
        self.file_bytes = opened.last_bytes;
        self.base_bytes = opened.base_bytes;
        self.other_bytes = opened.base_bytes + opened.increment_bytes - opened.last_bytes;
        let chain = Chain::open(&self.manifest, &self.prefix, empty_base, self.rules.base_is_rdb, orders);
        if let Some(base_bytes) = chain.base_bytes {
            (self.base_bytes, self.other_bytes) = (base_bytes, base_bytes);
        }
        self.chain = Some(chain);
        self.go_on(orders);
    }

    /// Obeys other settings.
    pub fn set_rules(&mut self, rules: JournalRules) {
        self.rules = rules;
    }

    /// Begins to write: an image has to be made first, see [`wants_rewrite`](Self::wants_rewrite).
    pub fn start(&mut self, orders: &mut Vec<JournalOrder>) {
        if self.state != State::Off {
            self.starts_again = self.state == State::Stopping;
            return;
        }
        if self.rewrite.is_some() {
            // It does not keep what is written meanwhile.
            orders.push(JournalOrder::Log(JournalEvent::RewriteReplaced));
            self.abandon(orders);
        }
        if self.write_error.is_some() || self.sync_error.is_some() {
            orders.push(JournalOrder::Log(JournalEvent::ErrorIgnored));
        }
        (self.write_error, self.sync_error, self.retry_at) = (None, None, None);
        self.state = State::Starting;
        self.is_scheduled = true;
    }

    /// Ends to write: what was appended is written and synced first.
    pub fn stop(&mut self, orders: &mut Vec<JournalOrder>) {
        if !matches!(self.state, State::On | State::Starting) {
            self.starts_again = false;
            return;
        }
        self.abandon(orders);
        (self.is_scheduled, self.starts_again) = (false, false);
        self.state = if self.state == State::On { State::Stopping } else { State::Off };
    }

    /// Appends effects: whole blocks. The position behind them.
    pub fn append(&mut self, bytes: &[u8], now: UnixMillis) -> u64 {
        if !self.is_appending() || bytes.is_empty() {
            return self.appended;
        }
        let target = self.next.as_mut().unwrap_or(&mut self.buffer);
        let before = target.len();
        if self.rules.marks_time && now.as_secs() > self.marked_s {
            self.marked_s = now.as_secs();
            target.extend_from_slice(format!("#TS:{}\r\n", self.marked_s).as_bytes());
        }
        target.extend_from_slice(bytes);
        self.appended += (target.len() - before) as u64;
        self.appended
    }

    /// Whether effects are wanted now.
    pub fn is_appending(&self) -> bool {
        match self.state {
            State::On => true,
            // From the moment of the image on.
            State::Starting => self.rewrite.as_ref().is_some_and(Rewrite::is_cut),
            State::Off | State::Stopping => false,
        }
    }

    /// Whether effects are written.
    pub fn state(&self) -> State {
        self.state
    }

    /// The files.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Position behind all that was appended.
    pub fn appended(&self) -> u64 {
        self.appended
    }

    /// Position behind all that is on the disk.
    pub fn synced(&self) -> u64 {
        self.synced
    }

    /// Position up to which clients may hear of what was done; all, unless the policy is `always`.
    pub fn released(&self) -> u64 {
        let waits = self.rules.policy == SyncPolicy::Always && self.is_appending();
        match waits {
            true if self.rests() => self.written,
            true => self.synced,
            false => u64::MAX,
        }
    }

    /// The code of the system's error for which writes are refused.
    pub fn write_error(&self) -> Option<i32> {
        self.write_error.or(self.sync_error)
    }

    /// Lets time pass, and begins what there is to do.
    pub fn drive(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        self.write_on(now, orders);
        self.sync_on(now, orders);
        self.settle(now, orders);
        self.drive_rewrite(now, orders);
    }

    /// When [`drive`](Self::drive) has something to do, if nothing happens before.
    pub fn deadline(&self, now: Monotonic) -> Option<Monotonic> {
        if self.state == State::Off && self.rewrite.is_none() && !self.is_scheduled {
            return None;
        }
        let every_second = self.rules.policy == SyncPolicy::EverySecond && self.written > self.synced;
        let sync = every_second.then(|| self.last_sync.plus_millis(1000));
        let sync = sync.filter(|_| self.syncing.is_none());
        let second = now.plus_millis(1000);
        Some([sync, self.retry_at].into_iter().flatten().fold(second, Monotonic::min))
    }

    /// Bytes that must be written at the end of the process, in their order, each with the offset of the increment at
    /// hand: nothing is under way then.
    pub fn take_rest(&mut self) -> (u64, Vec<u8>) {
        if !self.has_file() {
            return (0, Vec::new());
        }
        let mut rest = core::mem::take(&mut self.buffer);
        rest.extend_from_slice(&self.next.take().unwrap_or_default());
        (self.file_bytes, rest)
    }

    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        let files = self.chain.as_ref().is_some_and(Chain::is_out);
        self.stale == 0 && self.writing.is_none() && self.syncing.is_none() && !self.is_truncating && !files
    }

    /// Whether all is on the disk that was appended.
    pub fn is_settled(&self) -> bool {
        self.synced == self.appended || !matches!(self.state, State::On | State::Stopping)
    }

    /// Whether the files that the manifest names have all that was appended, as a process that begins would read them.
    pub fn is_written(&self) -> bool {
        let is_under_way = self.writing.is_some() || self.is_truncating || self.chain.is_some();
        self.state == State::On && !is_under_way && self.written == self.appended
    }

    /// A write has ended. `bytes` are those of the order.
    pub fn wrote(
        &mut self,
        mut bytes: Vec<u8>,
        result: Result<(), i32>,
        now: Monotonic,
        orders: &mut Vec<JournalOrder>,
    ) {
        if self.is_stale() {
            return;
        }
        let is_synced = self.writing.take().is_some_and(|(_, syncs)| syncs);
        match result {
            Ok(()) => {
                let count = bytes.len() as u64;
                (self.written, self.file_bytes) = (self.written + count, self.file_bytes + count);
                if is_synced {
                    (self.synced, self.last_sync) = (self.written, now);
                }
                self.retry_at = None;
                if self.write_error.take().is_some() {
                    orders.push(JournalOrder::Log(JournalEvent::WritesAgain));
                }
                bytes.clear();
                bytes.shrink_to(JOURNAL_BYTES_KEPT);
                self.spare = bytes;
            }
            Err(code) => {
                bytes.extend_from_slice(&self.buffer);
                self.buffer = bytes;
                let event = JournalEvent::WriteFailed(code);
                if self.rules.policy == SyncPolicy::Always {
                    orders.push(JournalOrder::Log(event));
                    return orders.push(JournalOrder::Exit(JournalEvent::AlwaysWriteFailed));
                }
                self.log_error(event, now, orders);
                self.write_error = Some(code);
                self.retry_at = Some(now.plus_millis(RETRY_MS));
                // What of it is there would be a torn end.
                self.is_truncating = true;
                orders.push(JournalOrder::Data(DataOrder::Truncate { to: self.file_bytes }));
            }
        }
    }

    /// A cut has ended.
    pub fn truncated(&mut self, result: Result<(), i32>, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        if self.is_stale() {
            return;
        }
        self.is_truncating = false;
        if let Err(code) = result {
            // What is written next covers it.
            self.log_error(JournalEvent::TruncateFailed(code), now, orders);
        }
    }

    /// A sync has ended.
    pub fn synced_until(&mut self, result: Result<(), i32>, orders: &mut Vec<JournalOrder>) {
        if self.is_stale() {
            return;
        }
        let Some((position, _)) = self.syncing.take() else { return };
        self.is_late = false;
        match result {
            Ok(()) => {
                self.synced = self.synced.max(position);
                self.has_synced_early |= core::mem::take(&mut self.syncs_early);
                self.sync_error = None;
            }
            Err(code) if self.rules.policy == SyncPolicy::Always => {
                orders.push(JournalOrder::Exit(JournalEvent::AlwaysSyncFailed(code)));
            }
            Err(code) => {
                orders.push(JournalOrder::Log(JournalEvent::SyncFailed(code)));
                self.sync_error = Some(code);
                self.syncs_early = false;
                // The system may have dropped what it could not write, and say so only once.
                self.wants_healing = true;
                self.fail_cut(orders);
            }
        }
    }

    /// Whether what has ended was for a file that has been given up.
    fn is_stale(&mut self) -> bool {
        let is_stale = self.stale > 0;
        self.stale = self.stale.saturating_sub(1);
        is_stale
    }

    fn log_error(&mut self, event: JournalEvent, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let is_due = self.last_error_log.is_none_or(|last| now.nanos_since(last) > ERROR_LOG_NANOS);
        if is_due {
            self.last_error_log = Some(now);
            orders.push(JournalOrder::Log(event));
        }
    }

    /// Whether nothing is synced for now (`no-appendfsync-on-rewrite`).
    fn rests(&self) -> bool {
        self.rules.rests_on_rewrite && self.rewrite.is_some()
    }

    /// Whether the increment at hand is open.
    fn has_file(&self) -> bool {
        match self.state {
            _ if self.stale > 0 => false,
            State::On | State::Stopping => true,
            State::Starting => self.rewrite.as_ref().is_some_and(Rewrite::is_switched),
            State::Off => false,
        }
    }

    fn write_on(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let waits = self.writing.is_some() || self.is_truncating || self.retry_at.is_some_and(|at| now < at);
        if waits || self.buffer.is_empty() || !self.has_file() {
            return;
        }
        let bytes = core::mem::replace(&mut self.buffer, core::mem::take(&mut self.spare));
        let is_behind = self.written > self.synced || self.syncing.is_some();
        let syncs = self.rules.policy == SyncPolicy::Always && !self.rests() && !is_behind;
        self.writing = Some((bytes.len() as u64, syncs));
        orders.push(JournalOrder::Data(DataOrder::Write { at: self.file_bytes, bytes, syncs }));
    }

    fn sync_on(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        if let Some((_, since)) = self.syncing {
            let is_late = now.nanos_since(since) > SYNC_LATE_NANOS && self.appended > self.written;
            if is_late && !self.is_late {
                self.is_late = true;
                self.facts.delayed_syncs += 1;
                orders.push(JournalOrder::Log(JournalEvent::SyncLate));
            }
            return;
        }
        if self.written == self.synced || !self.has_file() || !self.is_sync_due(now) {
            return;
        }
        self.syncing = Some((self.written, now));
        self.last_sync = now;
        orders.push(JournalOrder::Data(DataOrder::Sync));
    }

    fn is_sync_due(&self, now: Monotonic) -> bool {
        let has_written_all = self.buffer.is_empty() && self.writing.is_none();
        let ends_file = self.state == State::Stopping || self.is_cutting();
        if ends_file && has_written_all {
            return self.sync_error.is_none() || now.nanos_since(self.last_sync) >= NANOS_PER_SECOND;
        }
        if self.rests() {
            return false;
        }
        if self.syncs_early {
            return true;
        }
        match self.rules.policy {
            SyncPolicy::Always => self.writing.is_none(),
            SyncPolicy::EverySecond => now.nanos_since(self.last_sync) >= NANOS_PER_SECOND,
            SyncPolicy::No => self.sync_error.is_some() && now.nanos_since(self.last_sync) >= NANOS_PER_SECOND,
        }
    }

    /// Goes on where something waited for all data to be on the disk.
    fn settle(&mut self, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let is_settled = self.buffer.is_empty() && self.is_quiet() && self.synced == self.written;
        if self.state == State::Stopping && is_settled {
            self.state = State::Off;
            self.forget_data();
            orders.push(JournalOrder::Close);
            if core::mem::take(&mut self.starts_again) {
                self.start(orders);
            }
        }
        if self.is_cutting() && self.chain.is_none() && (is_settled || !self.has_file()) {
            self.switch(now, orders);
        }
    }

    /// The increment at hand is given up, with all that was to go there.
    fn forget_data(&mut self) {
        let is_writing = u32::from(self.writing.take().is_some());
        self.stale += is_writing + u32::from(self.syncing.take().is_some()) + u32::from(self.is_truncating);
        (self.buffer, self.next, self.is_truncating) = (Vec::new(), None, false);
        (self.written, self.synced) = (self.appended, self.appended);
        self.file_bytes = 0;
    }

    /// What INFO tells.
    pub fn facts(&self, now: Monotonic) -> Facts {
        let seconds = |since: Monotonic| now.nanos_since(since) / NANOS_PER_SECOND;
        Facts {
            is_enabled: matches!(self.state, State::On | State::Starting),
            is_rewriting: self.rewrite.is_some(),
            is_scheduled: self.is_scheduled,
            rewriting_s: self.rewrite.as_ref().map(|rewrite| seconds(rewrite.since)),
            failures: self.limit.failures,
            write_error: self.write_error(),
            current_bytes: self.other_bytes + self.file_bytes,
            base_bytes: self.base_bytes,
            buffer_bytes: (self.buffer.len() + self.next.as_ref().map_or(0, Vec::len)) as u64,
            is_syncing: self.syncing.is_some(),
            ..self.facts
        }
    }

    /// Counts anew (CONFIG RESETSTAT).
    pub fn reset_statistics(&mut self) {
        self.facts.delayed_syncs = 0;
        self.facts.rewrites = 0;
    }
}

#[cfg(test)]
mod tests;
