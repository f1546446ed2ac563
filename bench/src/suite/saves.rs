//! What it costs to keep the data in an RDB file: how long a save takes, what clients notice of it, what memory it takes,
//! and how long a start from the file takes; beside redis-server, which forks for it.

use super::Scale;
use super::client::{Client, field};
use super::floors::below;
use super::folder::Folder;
use super::other_load;
use super::servers::{Programs, Server};
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare;
use crate::cpu_time::{proportional_bytes, seconds_with_children};
use crate::failure::Failure;
use crate::generator;
use crate::load::{Extent, Load};
use crate::report::figure;
use crate::statistics::{Spread, median};
use crate::tally::{Measurement, Metric};
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const CLIENTS: usize = 50;
/// Requests per second, half of them writes.
const RATE: f64 = 20_000.0;
/// A third of the rounds of other tables: each is long.
const ROUNDS_SHARE: usize = 3;
/// An idle run is so many times as long as those of the other tables.
const LONGER: f64 = 2.5;
/// How often it is looked whether a save has ended, and at memory.
const INTERVAL: Duration = Duration::from_millis(1);
const MEMORY_INTERVAL: Duration = Duration::from_millis(10);
/// A save that takes longer has failed.
const DEADLINE: Duration = Duration::from_secs(120);
const MIB: f64 = 1024.0 * 1024.0;
const FILE: &str = "dump.rdb";

/// Whose server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Redis,
    Slotmesh,
}

/// What is measured, a row of the table each.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Row {
    SaveSeconds,
    SaveCpu,
    LoadedSaveSeconds,
    P50,
    P99,
    P999,
    Worst,
    ExtraMib,
    StartSeconds,
    StartCpu,
}

/// The values of a row, by round.
type Values = Vec<(Row, Vec<f64>)>;

/// A server that saves, and starts from what it has saved.
struct Keeper {
    kind: Kind,
    cpus: Vec<usize>,
    folder: Folder,
    server: Option<Server>,
    idle: Vec<Measurement>,
    values: Values,
    file_mb: f64,
}

/// Measures both servers; the text of the section.
///
/// # Errors
/// If a server or a run failed, or a save does not end.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let (rounds, load_before) = (scale.rounds.div_ceil(ROUNDS_SHARE), other_load());
    let mix = [CommandKind::Get, CommandKind::Set].map(|kind| Share { kind, weight: 1 }).to_vec();
    let extent = Extent::Seconds(scale.seconds * LONGER);
    let base = Load { clients: CLIENTS, rate: Some(RATE), mix, extent, ..scale.load(options) };
    let mut text = introduction(&base, rounds, options.server_cpu, &load_before);
    for &keys in &scale.saved_keys {
        text += &measure_keys(&Load { keys, ..base.clone() }, rounds, options, programs)?;
    }
    Ok(text)
}

fn introduction(load: &Load, rounds: usize, cpu: usize, load_before: &str) -> String {
    format!(
        "Keys of {} B with values of {} B, default compression and checksum. Under load: {RATE} requests per second by \
         the clock (open loop: latency counts from when a request should have been sent), GET and SET in equal parts, \
         {CLIENTS} clients. {rounds} rounds, in each of which both servers in turn are idle, save under load and save \
         alone; then they are killed and start from their files as often. A save lasts from BGSAVE until the file has \
         its name, and is on the disk then; latencies are those of that time. CPU is that of all threads and children. \
         Extra memory is by how much that of the process and its children, each page counted once, grew at most \
         during another save under load, the first. redis-server and our one shard have CPU {cpu} alone with all that \
         they start; `two` is ours with two shards on two CPUs, without load. Times depend on a disk that both share with \
         others; {load_before}.\n\n",
        load.sizes.key_bytes, load.sizes.value_bytes
    )
}

/// The table of one number of keys.
fn measure_keys(load: &Load, rounds: usize, options: &SuiteOptions, programs: &Programs) -> Result<String, Failure> {
    let cpu = options.server_cpu;
    let mut keepers = [Keeper::new(Kind::Redis, &[cpu])?, Keeper::new(Kind::Slotmesh, &[cpu])?];
    let bar = ProgressBar::new((rounds * 8 + 2) as u64);
    for keeper in &mut keepers {
        keeper.start(programs)?;
        compare::refill(&keeper.running().endpoint, &Load { rate: None, ..load.clone() })?;
        keeper.save_for_memory(load)?;
        bar.inc(1);
    }
    let mut order = [0, 1];
    for _ in 0..rounds {
        for place in order {
            keepers[place].round(load)?;
            bar.inc(2);
        }
        order.reverse();
    }
    for _ in 0..rounds {
        for place in order {
            keepers[place].restart(load.keys, programs)?;
            bar.inc(1);
        }
        order.reverse();
    }
    let [redis, mut ours] = keepers;
    drop(redis.server);
    let cpus = [cpu, options.load_cpus.iter().copied().find(|&other| other != cpu).unwrap_or(cpu)];
    let one = std::mem::take(&mut ours.values);
    ours.cpus = cpus.to_vec();
    for _ in 0..rounds {
        ours.restart(load.keys, programs)?;
        ours.save_alone()?;
        bar.inc(1);
    }
    bar.finish_and_clear();
    let idle = [&redis.idle, &ours.idle];
    Ok(table(load.keys, [redis.file_mb, ours.file_mb], idle, [&redis.values, &one, &ours.values]))
}

impl Keeper {
    fn new(kind: Kind, cpus: &[usize]) -> Result<Self, Failure> {
        let folder = Folder::new(&format!("saves-{kind:?}"))?;
        let cpus = cpus.to_vec();
        Ok(Self { kind, cpus, folder, server: None, idle: Vec::new(), values: Vec::new(), file_mb: 0.0 })
    }

    /// Starts it; it loads the file that is in its folder, if there is one.
    fn start(&mut self, programs: &Programs) -> Result<(), Failure> {
        let programs = programs.confined(&self.cpus);
        let extend = |mut command: Command| {
            command.args(["--save", "", "--dbfilename", FILE, "--dir"]).arg(self.folder.path());
            command
        };
        self.server = Some(match self.kind {
            Kind::Redis => programs.start_redis_with("redis", self.cpus[0], extend)?,
            Kind::Slotmesh => programs.start_slotmesh_with("slotmesh", &self.cpus, extend)?,
        });
        Ok(())
    }

    fn running(&self) -> &Server {
        self.server.as_ref().expect("it was started")
    }

    fn note(&mut self, row: Row, value: f64) {
        match self.values.iter_mut().find(|(of, _)| *of == row) {
            Some((_, values)) => values.push(value),
            None => self.values.push((row, vec![value])),
        }
    }

    /// Idle, a save under load, and one alone.
    fn round(&mut self, load: &Load) -> Result<(), Failure> {
        let endpoint = self.running().endpoint.clone();
        self.idle.push(generator::run(&endpoint, load, &ProgressBar::hidden())?);
        let during = Load { extent: Extent::Seconds(DEADLINE.as_secs_f64()), ..load.clone() };
        let (busy, seconds) = generator::run_during(&endpoint, &during, || self.save())?;
        self.await_rest()?;
        self.note(Row::LoadedSaveSeconds, seconds);
        for (row, metric) in LATENCIES {
            self.note(row, metric.of(&busy).unwrap_or(f64::NAN));
        }
        self.save_alone()
    }

    fn save_alone(&mut self) -> Result<(), Failure> {
        let before = self.cpu_seconds()?;
        let seconds = self.save()?;
        self.await_rest()?;
        self.note(Row::SaveSeconds, seconds);
        let used = self.cpu_seconds()? - before;
        self.note(Row::SaveCpu, used);
        Ok(())
    }

    /// A save under load that is only watched for the memory that it takes: the look slows it down.
    fn save_for_memory(&mut self, load: &Load) -> Result<(), Failure> {
        let endpoint = self.running().endpoint.clone();
        let during = Load { extent: Extent::Seconds(DEADLINE.as_secs_f64()), ..load.clone() };
        let pid = self.running().pid();
        let read = || proportional_bytes(pid).map_err(|error| Failure::Process { pid, error });
        let watched = || {
            let (before, over) = (read()?, AtomicBool::new(false));
            std::thread::scope(|scope| {
                let peak = scope.spawn(|| {
                    let mut peak = before;
                    while !over.load(Ordering::Relaxed) {
                        peak = peak.max(read()?);
                        std::thread::sleep(MEMORY_INTERVAL);
                    }
                    Ok::<_, Failure>(peak)
                });
                let saved = self.save();
                over.store(true, Ordering::Relaxed);
                let peak = peak.join().map_err(|_| Failure::Thread)??;
                saved.map(|_| (peak - before) as f64 / MIB)
            })
        };
        let (_, extra_mib) = generator::run_during(&endpoint, &during, watched)?;
        self.await_rest()?;
        self.note(Row::ExtraMib, extra_mib);
        Ok(())
    }

    /// A save; the seconds until the file has its name.
    fn save(&self) -> Result<f64, Failure> {
        let path = self.folder.path().join(FILE);
        let number = || std::fs::metadata(&path).ok().map(|data| data.ino());
        let (before, mut client) = (number(), Client::of(self.running())?);
        let begin = Instant::now();
        client.ask(&["BGSAVE"])?;
        while number() == before {
            if begin.elapsed() > DEADLINE {
                return Err(client.failure("does not end its save within the deadline"));
            }
            std::thread::sleep(INTERVAL);
        }
        Ok(begin.elapsed().as_secs_f64())
    }

    /// Waits until the server itself says that the save has ended: redis-server looks for its child ten times a second.
    fn await_rest(&mut self) -> Result<(), Failure> {
        let (mut client, begin) = (Client::of(self.running())?, Instant::now());
        loop {
            let told = client.ask(&["INFO", "persistence"])?;
            if field(&told, "rdb_bgsave_in_progress") == "0" {
                let is_saved = field(&told, "rdb_last_bgsave_status") == "ok";
                let path = self.folder.path().join(FILE);
                let data = std::fs::metadata(&path).map_err(|error| Failure::Read { path, error })?;
                self.file_mb = data.len() as f64 / 1e6;
                return if is_saved { Ok(()) } else { Err(client.failure("has failed to save")) };
            }
            if begin.elapsed() > DEADLINE {
                return Err(client.failure("does not end its save within the deadline"));
            }
            std::thread::sleep(INTERVAL);
        }
    }

    /// Kills it, and starts it from its file.
    fn restart(&mut self, keys: u64, programs: &Programs) -> Result<(), Failure> {
        // It is waited for.
        drop(self.server.take());
        let begin = Instant::now();
        self.start(programs)?;
        let seconds = begin.elapsed().as_secs_f64();
        let used = self.cpu_seconds()?;
        let mut client = Client::of(self.running())?;
        let told = client.ask(&["DBSIZE"])?;
        if told.trim() != format!(":{keys}") {
            return Err(client.failure(&format!("has not loaded {keys} keys, but {told}")));
        }
        let millions = keys as f64 / 1e6;
        self.note(Row::StartSeconds, seconds / millions);
        self.note(Row::StartCpu, used / millions);
        Ok(())
    }

    fn cpu_seconds(&self) -> Result<f64, Failure> {
        let pid = self.running().pid();
        seconds_with_children(pid).map_err(|error| Failure::Process { pid, error })
    }
}

impl Row {
    /// Its name, and the greatest ratio to redis-server that is wanted.
    fn facts(self) -> (&'static str, f64) {
        match self {
            Self::SaveSeconds => ("a save alone, s", 1.0),
            Self::SaveCpu => ("its CPU, s", 1.0),
            Self::LoadedSaveSeconds => ("a save under load, s", 1.0),
            Self::P50 => ("p50 meanwhile, µs", THIRD),
            Self::P99 => ("p99 meanwhile, µs", THIRD),
            Self::P999 => ("p99.9 meanwhile, µs", THIRD),
            Self::Worst => ("worst meanwhile, µs", THIRD),
            Self::ExtraMib => ("extra memory at the peak, MiB", THIRD),
            Self::StartSeconds => ("a start, s per million keys", 1.0),
            Self::StartCpu => ("its CPU, s per million keys", 1.0),
        }
    }
}

/// What is wanted of latency and memory.
const THIRD: f64 = 0.333;

const LATENCIES: [(Row, Metric); 4] =
    [(Row::P50, Metric::P50), (Row::P99, Metric::P99), (Row::P999, Metric::P999), (Row::Worst, Metric::Max)];

const ROWS: [Row; 10] = [
    Row::SaveSeconds,
    Row::SaveCpu,
    Row::LoadedSaveSeconds,
    Row::P50,
    Row::P99,
    Row::P999,
    Row::Worst,
    Row::ExtraMib,
    Row::StartSeconds,
    Row::StartCpu,
];

fn values_of(values: &Values, row: Row) -> &[f64] {
    values.iter().find(|(of, _)| *of == row).map_or(&[], |(_, values)| values)
}

/// `values` are those of redis-server, and of ours with one shard and with two.
fn table(keys: u64, file_mb: [f64; 2], idle: [&Vec<Measurement>; 2], values: [&Values; 3]) -> String {
    let mut text = format!(
        "### {keys} keys, files of {} and {} MB\n\n\
         | | redis: idle | | slotmesh: idle | | slotmesh / redis | below | | two |\n|---|--:|--:|--:|--:|--:|--:|---|--:|\n",
        figure(file_mb[0]),
        figure(file_mb[1])
    );
    let shown = |values: &[f64]| if values.is_empty() { String::new() } else { figure(median(values)) };
    for row in ROWS {
        let (name, bound) = row.facts();
        let [redis, one, two] = values.map(|values| values_of(values, row));
        let metric = LATENCIES.iter().find(|(of, _)| *of == row).map(|(_, metric)| *metric);
        let of_idle = |runs: &Vec<Measurement>| {
            metric.map_or(Vec::new(), |metric| runs.iter().filter_map(|run| metric.of(run)).collect())
        };
        let spread = Spread::of_ratios(one, redis);
        let verdict = spread.map_or(String::new(), |spread| below(spread, bound).to_string());
        let _ = writeln!(
            text,
            "| {name} | {} | {} | {} | {} | {} | {} | {verdict} | {} |",
            shown(&of_idle(idle[0])),
            shown(redis),
            shown(&of_idle(idle[1])),
            shown(one),
            ratio(spread),
            figure(bound),
            shown(two),
        );
        if row == Row::SaveSeconds {
            let rates = |values: &[f64], mb: f64| values.iter().map(|seconds| mb / seconds).collect::<Vec<_>>();
            let _ = writeln!(
                text,
                "| MB/s of the file | | {} | | {} | | | | {} |",
                shown(&rates(redis, file_mb[0])),
                shown(&rates(one, file_mb[1])),
                shown(&rates(two, file_mb[1])),
            );
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_paired_and_judged() {
        let redis = vec![(Row::SaveSeconds, vec![1.0, 2.0, 1.0]), (Row::ExtraMib, vec![30.0])];
        let one = vec![(Row::SaveSeconds, vec![0.5, 1.0, 0.5]), (Row::ExtraMib, vec![20.0])];
        let two = vec![(Row::SaveSeconds, vec![0.25])];
        let text = table(1000, [10.0, 10.0], [&Vec::new(), &Vec::new()], [&redis, &one, &two]);
        assert!(
            text.contains("| a save alone, s |  | 1.00 |  | 0.500 | 0.50 [0.50–0.50] | 1.00 | pass | 0.250 |"),
            "{text}"
        );
        assert!(text.contains("| MB/s of the file | | 10.0 | | 20.0 | | | | 40.0 |"), "{text}");
        assert!(
            text.contains("| extra memory at the peak, MiB |  | 30.0 |  | 20.0 | 0.67 [0.67–0.67] | 0.333 | FAIL |"),
            "{text}"
        );
    }
}
