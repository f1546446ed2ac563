//! MEMORY, but for USAGE, which works on a key.

use super::{CoreFacts, Node, ProcessFacts};
use slotmesh_conf::directive;
use slotmesh_resp::Reply;
use std::fmt::Write;

const MIB: u64 = 1 << 20;
/// Below so many bytes there is nothing to say.
const EMPTY_BYTES: u64 = 5 * MIB;
/// Bytes beyond which a ratio is worth a word.
const NOTED_BYTES: i64 = 10 << 20;
/// Bytes of buffers per client that are many.
const CLIENT_BYTES: u64 = 200 << 10;

/// A ratio of what is held to what is wanted, and the difference.
#[derive(Clone, Copy, Debug)]
pub(super) struct Excess {
    pub(super) ratio: f64,
    pub(super) bytes: i64,
}

impl Excess {
    fn of(held: u64, wanted: u64) -> Self {
        let ratio = if wanted == 0 { 0.0 } else { held as f64 / wanted as f64 };
        // Negative where the kernel has not touched (or has swapped) what the allocator counts.
        Self { ratio, bytes: held as i64 - wanted as i64 }
    }

    fn passes(self, ratio: f64) -> bool {
        self.ratio > ratio && self.bytes > NOTED_BYTES
    }
}

/// Where the memory of the process is, for INFO and MEMORY.
#[derive(Clone, Copy, Debug)]
pub(super) struct MemoryFacts {
    pub(super) allocated: u64,
    pub(super) startup: u64,
    pub(super) peak: u64,
    pub(super) dataset: u64,
    pub(super) clients: u64,
    pub(super) keys: u64,
    /// What is held of streams of replication, and how much of it up to the size of the backlog; the rest is kept for
    /// replicas that read slowly.
    pub(super) streams: u64,
    pub(super) backlog: u64,
    /// Within the allocator's pages, of its pages, beside the allocator, and in all.
    pub(super) inside: Excess,
    pub(super) pages: Excess,
    pub(super) beside: Excess,
    pub(super) total: Excess,
}

impl MemoryFacts {
    /// `backlog_size` is the most that a stream keeps for whoever may come back, in bytes.
    pub(super) fn of(process: &ProcessFacts, cores: &[CoreFacts], backlog_size: u64) -> Self {
        let sum = |counter: fn(&CoreFacts) -> u64| cores.iter().map(counter).sum::<u64>();
        let allocated = process.allocated_bytes;
        Self {
            allocated,
            startup: process.startup_bytes.min(allocated),
            peak: process.peak_bytes.max(allocated),
            dataset: sum(|core| core.keyspace_bytes),
            clients: sum(|core| core.query_buffer_bytes + core.output_buffer_bytes),
            keys: sum(|core| core.dbs.iter().map(|db| db.keys).sum()),
            streams: sum(|core| core.stream_bytes),
            backlog: cores.iter().map(|core| core.stream_bytes.min(backlog_size)).sum(),
            inside: Excess::of(process.active_bytes, allocated),
            pages: Excess::of(process.allocator_resident_bytes, process.active_bytes),
            beside: Excess::of(process.resident_bytes, process.allocator_resident_bytes),
            total: Excess::of(process.resident_bytes, allocated),
        }
    }

    /// What is allocated beside the data.
    pub(super) fn overhead(&self) -> u64 {
        self.allocated.saturating_sub(self.dataset)
    }

    /// What was allocated since the start, at least one byte.
    pub(super) fn net(&self) -> u64 {
        (self.allocated - self.startup).max(1)
    }

    pub(super) fn dataset_percent(&self) -> f64 {
        100.0 * self.dataset as f64 / self.net() as f64
    }

    pub(super) fn peak_percent(&self) -> f64 {
        100.0 * self.allocated as f64 / self.peak.max(1) as f64
    }
}

enum Figure {
    Count(i64),
    Share(f64),
}

/// The figures of Redis 7.2 in its order, without those of each database: expiries and slots need no tables of their own
/// here.
pub(super) fn stats(node: &dyn Node, reply: &mut Reply<'_>) {
    use Figure::{Count, Share};
    let process = node.process();
    let backlog_size = node.settings().value(directive::REPL_BACKLOG_SIZE);
    let facts = MemoryFacts::of(&process, &node.cores(), backlog_size);
    let figures = [
        ("peak.allocated", Count(facts.peak as i64)),
        ("total.allocated", Count(facts.allocated as i64)),
        ("startup.allocated", Count(facts.startup as i64)),
        ("replication.backlog", Count(facts.backlog as i64)),
        ("clients.slaves", Count((facts.streams - facts.backlog) as i64)),
        ("clients.normal", Count(facts.clients as i64)),
        ("cluster.links", Count(0)),
        ("aof.buffer", Count(node.persistence().log.buffer_bytes as i64)),
        ("lua.caches", Count(0)),
        ("functions.caches", Count(0)),
        ("overhead.total", Count(facts.overhead() as i64)),
        ("keys.count", Count(facts.keys as i64)),
        ("keys.bytes-per-key", Count(facts.net().checked_div(facts.keys).unwrap_or(0) as i64)),
        ("dataset.bytes", Count(facts.dataset as i64)),
        ("dataset.percentage", Share(facts.dataset_percent())),
        ("peak.percentage", Share(facts.peak_percent())),
        ("allocator.allocated", Count(process.allocated_bytes as i64)),
        ("allocator.active", Count(process.active_bytes as i64)),
        ("allocator.resident", Count(process.allocator_resident_bytes as i64)),
        ("allocator-fragmentation.ratio", Share(facts.inside.ratio)),
        ("allocator-fragmentation.bytes", Count(facts.inside.bytes)),
        ("allocator-rss.ratio", Share(facts.pages.ratio)),
        ("allocator-rss.bytes", Count(facts.pages.bytes)),
        ("rss-overhead.ratio", Share(facts.beside.ratio)),
        ("rss-overhead.bytes", Count(facts.beside.bytes)),
        ("fragmentation", Share(facts.total.ratio)),
        ("fragmentation.bytes", Count(facts.total.bytes)),
    ];
    reply.map(figures.len());
    for (name, figure) in figures {
        reply.bulk(name.as_bytes());
        match figure {
            Count(count) => reply.integer(count),
            Share(share) => reply.double(share),
        }
    }
}

/// What is odd about the memory, by the bounds of Redis 7.2 `object.c` `getMemoryDoctorReport`.
pub(super) fn doctor(node: &dyn Node, reply: &mut Reply<'_>) {
    let cores = node.cores();
    let facts = MemoryFacts::of(&node.process(), &cores, node.settings().value(directive::REPL_BACKLOG_SIZE));
    let clients = cores.iter().map(|core| core.clients).sum();
    reply.verbatim(b"txt", report(&facts, clients).as_bytes());
}

fn report(facts: &MemoryFacts, clients: u64) -> String {
    if facts.allocated < EMPTY_BYTES {
        return "There is next to nothing in memory, so nothing can be said about it.\n".to_owned();
    }
    let peak_ratio = facts.peak as f64 / facts.allocated as f64;
    let signs = [
        (
            peak_ratio > 1.5,
            "Peak memory: there once was more than 150% of what is used now. The allocator keeps some of it for later; MEMORY PURGE gives back what it can.",
        ),
        (
            facts.total.passes(1.4),
            "High total RSS: the process occupies more than 1.4 times what it has allocated, because of an earlier peak or of fragmentation.",
        ),
        (
            facts.inside.passes(1.1),
            "High allocator fragmentation: the allocator's pages hold more than 1.1 times what was asked for, because of an earlier peak or of values that change their size.",
        ),
        (
            facts.pages.passes(1.1),
            "High allocator RSS overhead: the allocator holds more than 1.1 times the pages that it uses; MEMORY PURGE gives them back.",
        ),
        (
            facts.beside.passes(1.1),
            "High process RSS overhead: the process occupies more than 1.1 times what its allocator holds: receive buffers and rings of the cores.",
        ),
        (
            facts.clients / clients.max(1) > CLIENT_BYTES,
            "Big client buffers: clients have more than 200 KiB of requests and replies each. CLIENT LIST shows who does not read, or sends without end.",
        ),
    ];
    let found: Vec<&str> = signs.iter().filter(|(is_so, _)| *is_so).map(|&(_, text)| text).collect();
    if found.is_empty() {
        return "The memory is in order.\n".to_owned();
    }
    let mut text = "What is odd about the memory:\n\n".to_owned();
    found.iter().for_each(|line| writeln!(text, " * {line}\n").expect("memory takes everything"));
    text
}

pub(super) fn purge(node: &dyn Node, reply: &mut Reply<'_>) {
    if node.purge_memory() { reply.ok() } else { reply.error_text(b"ERR Error purging dirty pages") }
}

pub(super) fn malloc_stats(node: &dyn Node, reply: &mut Reply<'_>) {
    reply.verbatim(b"txt", node.allocator_report().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doctor_sees_what_is_odd() {
        let process = ProcessFacts {
            allocated_bytes: 100 * MIB,
            peak_bytes: 100 * MIB,
            active_bytes: 105 * MIB,
            allocator_resident_bytes: 110 * MIB,
            resident_bytes: 112 * MIB,
            ..ProcessFacts::default()
        };
        let report = |process: &ProcessFacts, clients| report(&MemoryFacts::of(process, &[], 0), clients);
        assert_eq!(report(&process, 0), "The memory is in order.\n");
        let small = ProcessFacts { allocated_bytes: 5 * MIB - 1, ..process.clone() };
        assert!(report(&small, 0).contains("next to nothing"));
        for (sign, odd) in [
            ("Peak memory", ProcessFacts { peak_bytes: 151 * MIB, ..process.clone() }),
            ("High total RSS", ProcessFacts { resident_bytes: 141 * MIB, ..process.clone() }),
            ("High allocator fragmentation", ProcessFacts { active_bytes: 112 * MIB, ..process.clone() }),
            ("High allocator RSS", ProcessFacts { allocator_resident_bytes: 117 * MIB, ..process.clone() }),
            ("High process RSS", ProcessFacts { resident_bytes: 122 * MIB, ..process.clone() }),
        ] {
            assert!(report(&odd, 0).contains(sign), "{sign}");
        }
        let core = CoreFacts { output_buffer_bytes: 200 * 1024 + 200, ..CoreFacts::default() };
        let facts = MemoryFacts::of(&process, &[core], 0);
        assert!(super::report(&facts, 1).contains("client buffers"));
        assert!(!super::report(&facts, 2).contains("client buffers"));
    }
}
