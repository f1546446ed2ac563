//! What a snapshot costs clients that write: latency in an open loop, and memory, idle and while one snapshot follows
//! the other; beside redis-server, which forks for it (BGSAVE).

use super::Scale;
use super::client::{Client, field};
use super::servers::{Programs, Server};
use crate::arguments::SuiteOptions;
use crate::compare;
use crate::cpu_time::resident_bytes;
use crate::failure::Failure;
use crate::generator;
use crate::load::{Extent, Load};
use crate::report::figure;
use crate::statistics::median;
use crate::tally::{Measurement, Metric};
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const CLIENTS: usize = 50;
/// Writes per second.
const RATE: f64 = 100_000.0;
/// Requests sent at once: so many that redis-server is not near its limit when it has nothing else to do.
const PIPELINE: u64 = 4;
/// A run is so many times as long as those of the other tables: a snapshot must fit in several times.
const LONGER: f64 = 4.0;
/// How often memory is looked at, and whether a save has ended.
const INTERVAL: Duration = Duration::from_millis(5);

/// What one server did.
struct Outcome {
    name: &'static str,
    idle: Vec<Measurement>,
    busy: Vec<Measurement>,
    /// Snapshots that ended while the load ran.
    snapshots: usize,
    /// Greatest growth of memory during a run, in MiB.
    extra_mib: f64,
}

/// Measures both servers; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let cpu = options.server_cpu;
    let rounds = scale.rounds.div_ceil(2);
    let bar = ProgressBar::new(rounds as u64 * 4);
    let load = Load {
        clients: CLIENTS,
        pipeline: PIPELINE,
        rate: Some(RATE),
        mix: vec![Share { kind: CommandKind::Set, weight: 1 }],
        extent: Extent::Seconds(scale.seconds * LONGER),
        ..scale.load(options)
    };
    let outcomes = [
        run(&programs.start_redis(cpu)?, "redis (BGSAVE)", Snapshot::Redis, &load, rounds, &bar)?,
        run(&programs.start_slotmesh("slotmesh", &[cpu])?, "slotmesh", Snapshot::Slotmesh, &load, rounds, &bar)?,
    ];
    bar.finish_and_clear();
    let mut text = format!(
        "{} keys of {} B with values of {} B; SETs at random, {RATE} per second by the \
         clock (open loop: latency counts from when a request should have been sent), {CLIENTS} clients; server and \
         snapshot on one CPU. Medians of {rounds} rounds, idle and with one snapshot after the other in turn; ours goes \
         nowhere (`DEBUG SNAPSHOT`), redis-server's to a file.\n\n\
         | | snapshots | p50 µs: idle | snapshot | p99 | | p99.9 | | worst | | extra MiB at the peak |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        load.keys, load.sizes.key_bytes, load.sizes.value_bytes
    );
    for outcome in &outcomes {
        let _ = writeln!(text, "{}", outcome.row());
    }
    Ok(text)
}

impl Outcome {
    fn row(&self) -> String {
        let shown = |rounds: &[Measurement], metric: Metric| {
            let values: Vec<f64> = rounds.iter().filter_map(|round| metric.of(round)).collect();
            figure(median(&values))
        };
        let pairs = [Metric::P50, Metric::P99, Metric::P999, Metric::Max]
            .map(|metric| format!("{} | {}", shown(&self.idle, metric), shown(&self.busy, metric)));
        format!("| {} | {} | {} | {} |", self.name, self.snapshots, pairs.join(" | "), figure(self.extra_mib))
    }
}

fn run(
    server: &Server,
    name: &'static str,
    snapshot: Snapshot,
    load: &Load,
    rounds: usize,
    bar: &ProgressBar,
) -> Result<Outcome, Failure> {
    compare::fill(&server.endpoint, &Load { rate: None, ..load.clone() })?;
    let mut outcome = Outcome { name, idle: Vec::new(), busy: Vec::new(), snapshots: 0, extra_mib: 0.0 };
    for _ in 0..rounds {
        outcome.idle.push(generator::run(&server.endpoint, load, &ProgressBar::hidden())?);
        bar.inc(1);
        let stop = AtomicBool::new(false);
        let (measurement, snapshots, extra) = std::thread::scope(|scope| {
            let snapshots = scope.spawn(|| snapshot.repeat(server, &stop));
            let extra = scope.spawn(|| peak_growth(server, snapshot, &stop));
            let measurement = generator::run(&server.endpoint, load, &ProgressBar::hidden());
            stop.store(true, Ordering::Relaxed);
            (measurement, snapshots.join(), extra.join())
        });
        outcome.busy.push(measurement?);
        outcome.snapshots += snapshots.map_err(|_| Failure::Thread)??;
        outcome.extra_mib = outcome.extra_mib.max(extra.map_err(|_| Failure::Thread)??);
        bar.inc(1);
    }
    Ok(outcome)
}

/// How a server is asked for a snapshot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Snapshot {
    Redis,
    Slotmesh,
}

impl Snapshot {
    /// Asks for one snapshot after the other until the load is over; how many ended before that.
    fn repeat(self, server: &Server, stop: &AtomicBool) -> Result<usize, Failure> {
        let mut client = Client::of(server)?;
        let mut snapshots = 0;
        while !stop.load(Ordering::Relaxed) {
            match self {
                Self::Slotmesh => {
                    let told = client.ask(&["DEBUG", "SNAPSHOT"])?;
                    if !told.contains(" done ") {
                        return Err(client.failure(&told));
                    }
                }
                Self::Redis => {
                    client.ask(&["BGSAVE"])?;
                    while client.ask(&["INFO", "persistence"])?.contains("rdb_bgsave_in_progress:1") {
                        std::thread::sleep(INTERVAL);
                    }
                }
            }
            snapshots += usize::from(!stop.load(Ordering::Relaxed));
        }
        Ok(snapshots)
    }
}

/// By how many MiB the memory grew at most: of the process; of redis-server what was copied for its children.
fn peak_growth(server: &Server, snapshot: Snapshot, stop: &AtomicBool) -> Result<f64, Failure> {
    const MIB: f64 = 1024.0 * 1024.0;
    let resident = || resident_bytes(server.pid()).map_err(|error| Failure::Process { pid: server.pid(), error });
    let before = resident()?;
    let mut peak = 0.0_f64;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(INTERVAL);
        peak = peak.max(resident()?.saturating_sub(before) as f64 / MIB);
    }
    if snapshot == Snapshot::Redis {
        let told = Client::of(server)?.ask(&["INFO", "persistence"])?;
        let bytes = |name: &str| field(&told, name).parse::<f64>().unwrap_or(0.0);
        peak = peak.max(bytes("rdb_last_cow_size").max(bytes("current_cow_peak")) / MIB);
    }
    Ok(peak)
}
