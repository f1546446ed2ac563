//! What a full sync of a new replica costs clients that write meanwhile, how fast it is, and what memory it takes;
//! beside redis-server, which forks for it.

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
use crate::tally::{Measurement, Metric, Tally};
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 10;
/// Writes per second.
const RATE: f64 = 10_000.0;
/// An idle run is so many times as long as those of the other tables.
const LONGER: f64 = 4.0;
/// How often memory is looked at, and whether the replica is in step.
const INTERVAL: Duration = Duration::from_millis(5);
/// A sync that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(60);
const MIB: f64 = 1024.0 * 1024.0;

/// Whose servers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Redis,
    Slotmesh,
}

/// A master and its replica, and what they did.
struct Pair {
    kind: Kind,
    master: Server,
    replica: Server,
    idle: Vec<Tally>,
    busy: Vec<Tally>,
    syncs: Vec<Sync>,
}

/// A full sync.
#[derive(Clone, Copy, Debug)]
struct Sync {
    /// Until the replica had loaded the image.
    loaded: Duration,
    /// Until it had all that the master had written by then.
    in_step: Duration,
    /// Greatest growth of the master's memory meanwhile, that of its children included, in MiB.
    extra_mib: f64,
}

/// Measures both; the text of the section.
///
/// # Errors
/// If a server or a run failed, or a replica does not come into step.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let (rounds, other_load) = (scale.rounds.div_ceil(2), super::other_load());
    let bar = ProgressBar::new(rounds as u64 * 4);
    let load = Load {
        clients: CLIENTS,
        rate: Some(RATE),
        mix: vec![Share { kind: CommandKind::Set, weight: 1 }],
        extent: Extent::Seconds(scale.seconds * LONGER),
        ..scale.load(options)
    };
    let mut pairs = [Pair::start(Kind::Redis, options, programs)?, Pair::start(Kind::Slotmesh, options, programs)?];
    for pair in &pairs {
        compare::fill(&pair.master.endpoint, &Load { rate: None, ..load.clone() })?;
    }
    for _ in 0..rounds {
        for pair in &mut pairs {
            pair.idle.push(generator::run(&pair.master.endpoint, &load, &ProgressBar::hidden())?.tally);
            bar.inc(1);
            pair.sync(&load)?;
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let payload_mb = load.keys as f64 * (load.sizes.key_bytes + load.sizes.value_bytes) as f64 / 1e6;
    Ok(introduction(&load, rounds, &other_load) + &pairs.map(|pair| pair.row(payload_mb)).concat())
}

fn introduction(load: &Load, rounds: usize, other_load: &str) -> String {
    format!(
        "{} keys of {} B with values of {} B; SETs at random, {RATE} per second by the clock (open loop: latency counts \
         from when a request should have been sent), {CLIENTS} clients. {rounds} times each, redis-server and slotmesh \
         (`shards 1`) in turn: idle, and from REPLICAOF at an empty replica of the same kind until it has all that its \
         master had written. Latencies are those of all rounds together, times and MB/s (of keys and values, until the \
         image is loaded) medians, memory is the worst. The master and what it forks are on the servers' CPU; the \
         replica shares the load's, at a lower priority (nice 5). `repl-diskless-sync-delay` 0, else as the servers are \
         without a configuration; {other_load}.\n\n\
         | | p50 µs: idle | sync | p99 | | p99.9 | | worst | | image loaded after s | MB/s | in step after s | extra \
         MiB at the peak |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        load.keys, load.sizes.key_bytes, load.sizes.value_bytes
    )
}

impl Pair {
    fn start(kind: Kind, options: &SuiteOptions, programs: &Programs) -> Result<Self, Failure> {
        // A replica is on another host in earnest: it gets what the load leaves of its CPU.
        let (cpu, beside) = (options.server_cpu, options.load_cpus.first().copied().unwrap_or(options.server_cpu));
        let start = |programs: &Programs, cpu| match kind {
            Kind::Redis => programs.start_redis(cpu),
            Kind::Slotmesh => programs.start_slotmesh("slotmesh", &[cpu]),
        };
        let pair = Self {
            kind,
            master: start(programs, cpu)?,
            replica: start(&programs.yielding(), beside)?,
            idle: Vec::new(),
            busy: Vec::new(),
            syncs: Vec::new(),
        };
        Client::of(&pair.master)?.ask(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"])?;
        Ok(pair)
    }

    /// One full sync under load, after which the replica is empty and on its own again.
    fn sync(&mut self, load: &Load) -> Result<(), Failure> {
        let load = Load { extent: Extent::Seconds(DEADLINE.as_secs_f64() * 2.0), ..load.clone() };
        let mut master = Client::of(&self.master)?;
        let before = full_syncs(&mut master)?;
        let (measurement, sync) = generator::run_during(&self.master.endpoint, &load, || self.follow())?;
        if full_syncs(&mut master)? != before + 1 {
            return Err(master.failure("the replica had no full sync, or several"));
        }
        let mut replica = Client::of(&self.replica)?;
        replica.ask(&["REPLICAOF", "NO", "ONE"])?;
        replica.ask(&["FLUSHALL"])?;
        self.busy.push(measurement.tally);
        self.syncs.push(sync);
        Ok(())
    }

    /// Makes the replica one, and watches until it is in step.
    fn follow(&self) -> Result<Sync, Failure> {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let extra = scope.spawn(|| self.peak_growth(&over));
            let times = self.await_step();
            over.store(true, Ordering::Relaxed);
            let extra_mib = extra.join().map_err(|_| Failure::Thread)??;
            let (loaded, in_step) = times?;
            Ok(Sync { loaded, in_step, extra_mib })
        })
    }

    fn await_step(&self) -> Result<(Duration, Duration), Failure> {
        let (mut master, mut replica) = (Client::of(&self.master)?, Client::of(&self.replica)?);
        let begin = Instant::now();
        replica.ask(&["REPLICAOF", "127.0.0.1", &self.master.port().to_string()])?;
        let mut told = |wanted: &dyn Fn(&str) -> bool| loop {
            if wanted(&replica.ask(&["INFO", "replication"])?) {
                return Ok(begin.elapsed());
            }
            if begin.elapsed() > DEADLINE {
                return Err(replica.failure("is not in step with its master within the deadline"));
            }
            std::thread::sleep(INTERVAL);
        };
        let loaded = told(&|text| field(text, "master_link_status") == "up")?;
        let written = offset(&master.ask(&["INFO", "replication"])?, "master_repl_offset");
        let in_step = told(&|text| offset(text, "slave_repl_offset") >= written)?;
        Ok((loaded, in_step))
    }

    /// By how many MiB the master's memory grew at most, and what was copied for its child.
    fn peak_growth(&self, over: &AtomicBool) -> Result<f64, Failure> {
        let pid = self.master.pid();
        let resident = || resident_bytes(pid).map_err(|error| Failure::Process { pid, error });
        let before = resident()?;
        let mut peak = 0.0_f64;
        while !over.load(Ordering::Relaxed) {
            std::thread::sleep(INTERVAL);
            peak = peak.max(resident()?.saturating_sub(before) as f64 / MIB);
        }
        if self.kind == Kind::Redis {
            let told = Client::of(&self.master)?.ask(&["INFO", "persistence"])?;
            peak += field(&told, "rdb_last_cow_size").parse::<f64>().unwrap_or(0.0) / MIB;
        }
        Ok(peak)
    }

    fn row(&self, payload_mb: f64) -> String {
        let all = |tallies: &[Tally]| {
            let mut tally = Tally::default();
            tallies.iter().for_each(|one| tally.add(one));
            Measurement { tally, seconds: 0.0, cpu: None }
        };
        let (idle, busy) = (all(&self.idle), all(&self.busy));
        let shown = |measurement: &Measurement, metric: Metric| figure(metric.of(measurement).unwrap_or(f64::NAN));
        let of_syncs = |value: fn(&Sync) -> f64| median(&self.syncs.iter().map(value).collect::<Vec<_>>());
        let mut row = format!("| {} ", self.master.endpoint.name);
        for metric in [Metric::P50, Metric::P99, Metric::P999, Metric::Max] {
            let _ = write!(row, "| {} | {} ", shown(&idle, metric), shown(&busy, metric));
        }
        let loaded = of_syncs(|sync| sync.loaded.as_secs_f64());
        let in_step = of_syncs(|sync| sync.in_step.as_secs_f64());
        let extra = self.syncs.iter().map(|sync| sync.extra_mib).fold(0.0, f64::max);
        let rate = payload_mb / loaded;
        row + &format!("| {} | {} | {} | {} |\n", figure(loaded), figure(rate), figure(in_step), figure(extra))
    }
}

/// How many full syncs a master has begun.
fn full_syncs(master: &mut Client) -> Result<u64, Failure> {
    let told = master.ask(&["INFO", "stats"])?;
    field(&told, "sync_full").parse().map_err(|_| master.failure("does not count full syncs"))
}

fn offset(text: &str, name: &str) -> u64 {
    field(text, name).parse().unwrap_or(0)
}
