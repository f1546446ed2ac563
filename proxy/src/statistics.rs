//! What each core counts of its commands: executions, time, refusals, errors. A core writes its own table alone, without
//! locks; INFO on any core adds up all of them.
//!
//! A table belongs to a span: the time since CONFIG RESETSTAT. Whoever resets begins a new span for the process; a core
//! empties its table when it next counts, and until then nobody reads it.

mod histogram;

use histogram::Buckets;
use slotmesh_base::limits::{ERROR_PREFIX_BYTES_MAX, ERROR_PREFIXES_MAX};
use slotmesh_command::{Spec, rows};
use slotmesh_shard::CommandFacts;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};

/// Counters of one command on one core.
#[derive(Debug, Default)]
struct Row {
    calls: AtomicU64,
    nanos: AtomicU64,
    rejected: AtomicU64,
    failed: AtomicU64,
    /// Made when the command is first timed.
    buckets: OnceLock<Buckets>,
}

/// The table of one core.
#[derive(Debug)]
#[repr(align(128))]
struct Table {
    /// The span that it belongs to.
    span: AtomicU64,
    rows: Box<[Row]>,
    /// Error replies by their first word.
    errors: Mutex<Errors>,
}

#[derive(Debug, Default)]
struct Errors {
    counts: BTreeMap<Vec<u8>, u64>,
    /// Whether an error found no room in `counts`.
    is_full: bool,
}

/// The tables of all cores.
#[derive(Debug)]
pub(crate) struct Statistics {
    span: AtomicU64,
    tables: Box<[Table]>,
}

impl Statistics {
    /// Empty tables of so many cores.
    pub(crate) fn new(cores: usize) -> Self {
        let table = |_| Table {
            span: AtomicU64::new(0),
            rows: rows().iter().map(|_| Row::default()).collect(),
            errors: Mutex::default(),
        };
        Self { span: AtomicU64::new(0), tables: (0..cores).map(table).collect() }
    }

    /// Begins a new span: all counters are 0.
    pub(crate) fn reset(&self) {
        self.span.fetch_add(1, Ordering::Release);
    }

    /// To be called by a core before it counts what came after a message of another: empties its table if a new span
    /// has begun.
    #[inline]
    pub(crate) fn enter_span(&self, core: u16) {
        let span = self.span.load(Ordering::Acquire);
        let table = &self.tables[usize::from(core)];
        if table.span.load(Ordering::Relaxed) != span {
            table.clear();
            table.span.store(span, Ordering::Release);
        }
    }

    /// Counts `count` executions of a command that took `nanos` in all; `each` is what goes into the histogram for
    /// each of them, if those are wanted.
    #[inline]
    pub(crate) fn add(&self, core: u16, command: u16, count: u64, nanos: u64, each: Option<u64>) {
        let row = &self.tables[usize::from(core)].rows[usize::from(command)];
        raise(&row.calls, count);
        raise(&row.nanos, nanos);
        if let Some(each) = each {
            row.buckets.get_or_init(Buckets::default).add(each, count);
        }
    }

    /// Counts an execution that ended with an error.
    pub(crate) fn note_failed(&self, core: u16, spec: &Spec) {
        raise(&self.row(core, spec).failed, 1);
    }

    /// Counts a request that was refused before it ran.
    pub(crate) fn note_rejected(&self, core: u16, spec: &Spec) {
        raise(&self.row(core, spec).rejected, 1);
    }

    /// Counts an error reply (which begins with `-`); whether it is the first one that found no room.
    #[cold]
    pub(crate) fn note_error(&self, core: u16, reply: &[u8]) -> bool {
        let mut errors = self.tables[usize::from(core)].errors.lock().expect("no holder panics");
        let prefix = prefix(reply);
        if let Some(count) = errors.counts.get_mut(prefix) {
            *count += 1;
            false
        } else if errors.counts.len() < ERROR_PREFIXES_MAX {
            errors.counts.insert(prefix.to_vec(), 1);
            false
        } else {
            !std::mem::replace(&mut errors.is_full, true)
        }
    }

    fn row(&self, core: u16, spec: &Spec) -> &Row {
        &self.tables[usize::from(core)].rows[usize::from(spec.number)]
    }

    /// The tables that belong to this span.
    fn current(&self) -> impl Iterator<Item = &Table> + Clone {
        let span = self.span.load(Ordering::Acquire);
        self.tables.iter().filter(move |table| table.span.load(Ordering::Acquire) == span)
    }

    /// The commands that were called or refused, by name.
    pub(crate) fn commands(&self) -> Vec<CommandFacts> {
        let facts = |&spec: &&'static Spec| {
            let sum = |counter: fn(&Row) -> &AtomicU64| -> u64 {
                let counter = |table: &Table| counter(&table.rows[usize::from(spec.number)]).load(Ordering::Relaxed);
                self.current().map(counter).sum()
            };
            let calls = sum(|row| &row.calls);
            let (rejected, failed) = (sum(|row| &row.rejected), sum(|row| &row.failed));
            CommandFacts { spec, calls, micros: sum(|row| &row.nanos) / 1000, rejected, failed }
        };
        let has_any = |facts: &CommandFacts| facts.calls + facts.rejected + facts.failed > 0;
        rows().iter().map(facts).filter(has_any).collect()
    }

    /// How long a command took, if that was measured.
    pub(crate) fn distribution(&self, spec: &Spec, percentiles: &[f64]) -> Option<slotmesh_shard::Distribution> {
        histogram::distribution(
            self.current().filter_map(|table| table.rows[usize::from(spec.number)].buckets.get()),
            percentiles,
        )
    }

    /// How many error replies there were by their first word; `None` if there are more words than a server has any use
    /// for.
    pub(crate) fn errors(&self) -> Option<BTreeMap<Vec<u8>, u64>> {
        let mut all = BTreeMap::new();
        for table in self.current() {
            let errors = table.errors.lock().expect("no holder panics");
            if errors.is_full {
                return None;
            }
            for (prefix, count) in &errors.counts {
                *all.entry(prefix.clone()).or_default() += count;
            }
        }
        (all.len() <= ERROR_PREFIXES_MAX).then_some(all)
    }
}

impl Table {
    #[cold]
    fn clear(&self) {
        for row in &self.rows {
            for counter in [&row.calls, &row.nanos, &row.rejected, &row.failed] {
                counter.store(0, Ordering::Relaxed);
            }
            if let Some(buckets) = row.buckets.get() {
                buckets.clear();
            }
        }
        *self.errors.lock().expect("no holder panics") = Errors::default();
    }
}

/// Adds to a counter that nobody else writes.
#[inline]
fn raise(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Ordering::Relaxed) + by, Ordering::Relaxed);
}

/// The first word of an error reply, if it has one soon, else `ERR` (Redis 7.2 `networking.c`, `afterErrorReply`).
fn prefix(reply: &[u8]) -> &[u8] {
    let head = &reply[..reply.len().min(ERROR_PREFIX_BYTES_MAX)];
    match head.iter().position(|&byte| byte == b' ') {
        Some(end @ 1..) => &head[1..end],
        Some(0) | None => b"ERR",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotmesh_command::find;

    #[test]
    fn errors_are_told_apart_by_their_first_word_and_bounded() {
        let statistics = Statistics::new(2);
        for (core, reply) in [
            (0, "-ERR syntax error\r\n"),
            (1, "-ERR no such key\r\n"),
            (1, "-WRONGTYPE Operation\r\n"),
            (0, "-nothingthatwouldfitintothirtytwobytes x\r\n"),
        ] {
            statistics.note_error(core, reply.as_bytes());
        }
        let errors = statistics.errors().unwrap();
        assert_eq!(errors.into_iter().collect::<Vec<_>>(), [(b"ERR".to_vec(), 3), (b"WRONGTYPE".to_vec(), 1)]);
        for number in 0..ERROR_PREFIXES_MAX {
            statistics.note_error(0, format!("-WORD{number} x\r\n").as_bytes());
        }
        assert_eq!(statistics.errors(), None);
        statistics.reset();
        statistics.enter_span(0);
        assert_eq!(statistics.errors(), Some(BTreeMap::new()));
    }

    #[test]
    fn a_reset_is_seen_at_once_and_obeyed_later() {
        let statistics = Statistics::new(2);
        let get = find(b"get").unwrap();
        for core in 0..2 {
            statistics.enter_span(core);
            statistics.add(core, get.number, 2, 5000, Some(2500));
            statistics.note_failed(core, get);
            statistics.note_rejected(core, get);
        }
        let read = |facts: &CommandFacts| (facts.spec.name, facts.calls, facts.micros, facts.rejected, facts.failed);
        let facts = |statistics: &Statistics| statistics.commands().iter().map(read).collect::<Vec<_>>();
        assert_eq!(facts(&statistics), [("get", 4, 10, 2, 2)]);
        assert_eq!(statistics.distribution(get, &[]).map(|times| times.calls), Some(4));
        statistics.reset();
        assert!(statistics.commands().is_empty());
        assert_eq!(statistics.distribution(get, &[]), None);
        statistics.enter_span(1);
        statistics.add(1, get.number, 1, 1999, None);
        assert_eq!(facts(&statistics), [("get", 1, 1, 0, 0)]);
        assert_eq!(statistics.distribution(get, &[]), None);
    }
}
