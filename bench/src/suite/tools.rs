//! What others measure: redis-benchmark against redis-server, our gateway and our cluster ports.

use super::Scale;
use super::servers::{Programs, Server};
use super::shards::second_cpu;
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare::{Series, in_rounds};
use crate::cpu_time::CpuTime;
use crate::failure::Failure;
use crate::report::figure;
use crate::tally::{Measurement, Metric, Tally};
use indicatif::ProgressBar;
use slotmesh_io::clock::monotonic_nanos;
use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const CLIENTS: u64 = 50;
const THREADS: u64 = 2;
const VALUE_BYTES: u64 = 32;
/// About as many requests as a pipeline's run makes in a second.
const PIPELINES: [(u64, f64); 3] = [(1, 80_000.0), (16, 600_000.0), (64, 800_000.0)];
const COMMANDS: [(&str, &str); 2] = [("GET", "get"), ("SET", "set")];
/// Different keys. In a cluster the tool takes one slot of each master and counts in it.
const KEYS: u64 = 65_536;
/// So many SETs of keys by chance leave hardly one of them out.
const FILLING: u64 = 12 * KEYS;

/// How often the server is looked at during a run.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(4);
/// The part of a server's work at the beginning, and at the end, that is not timed.
const EDGE: f64 = 0.1;

/// A server, and whether it is one of a cluster.
struct Target {
    server: Server,
    masters: Option<u64>,
}

/// Measures all rows; the text of the section.
///
/// # Errors
/// If a server or a run failed, or there is no redis-benchmark.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let cpus = [options.server_cpu, second_cpu(options)?];
    let targets = [
        Target { server: programs.start_redis(cpus[0])?, masters: None },
        Target { server: programs.start_slotmesh("gateway", &cpus)?, masters: None },
        Target { server: programs.start_cluster("cluster ports", &cpus)?, masters: Some(cpus.len() as u64) },
    ];
    let tool = Tool::new(options);
    let bar = ProgressBar::new((COMMANDS.len() * PIPELINES.len() * scale.rounds * targets.len()) as u64);
    for target in &targets {
        tool.run(target, "set", 64, FILLING)?;
    }
    let sharing = if options.load_cpus.contains(&cpus[1]) { ", which the tool shares" } else { "" };
    let mut text = format!(
        "`redis-benchmark --threads {THREADS} -c {CLIENTS} -d {VALUE_BYTES}` with {KEYS} keys (`-r`) on the load's CPU; \
         redis-server on CPU {}, our two shards on CPUs {} and {}{sharing}. The gateway hides the shards behind one port, \
         to the cluster ports the tool goes with `--cluster`. Requests per second are over the time that the server \
         took: with threads the tool counts in steps of a quarter of a second.\n\n",
        cpus[0], cpus[0], cpus[1]
    );
    text.push_str(
        "| | pipeline | thousand requests/s: redis | gateway | cluster | gateway / redis | cluster / redis | \
         server's CPU µs: redis | gateway | cluster | gateway / redis | cluster / redis |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (title, command) in COMMANDS {
        for (pipeline, rate) in PIPELINES {
            let requests = (rate * scale.seconds) as u64;
            let names = targets.each_ref().map(|target| target.server.endpoint.name.clone());
            let series = in_rounds(&names, options.seed, scale.rounds, &bar, |index, _| {
                tool.run(&targets[index], command, pipeline, requests)
            })?;
            let _ = writeln!(text, "{}", row(title, pipeline, &series));
        }
    }
    bar.finish_and_clear();
    Ok(text)
}

fn row(title: &str, pipeline: u64, series: &[Series]) -> String {
    let columns = |metric, divisor: f64| {
        let medians =
            series.iter().map(|one| one.median(metric).map_or("-".to_owned(), |value| figure(value / divisor)));
        let ratios = series[1..].iter().map(|one| ratio(one.ratio(&series[0], metric)));
        medians.chain(ratios).collect::<Vec<_>>().join(" | ")
    };
    format!("| {title} | {pipeline} | {} | {} |", columns(Metric::Throughput, 1000.0), columns(Metric::CpuTotal, 1.0))
}

/// redis-benchmark, pinned as the load is.
struct Tool {
    program: std::path::PathBuf,
    cpus: String,
}

impl Tool {
    /// The one beside the redis-server of the options, or of the search path.
    fn new(options: &SuiteOptions) -> Self {
        let beside = options.redis.parent().filter(|folder| *folder != Path::new(""));
        let cpus = options.load_cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
        Self { program: beside.unwrap_or(Path::new("")).join("redis-benchmark"), cpus }
    }

    /// Runs a test. Its own rate is not taken over: with threads it ends at the quarter of a second that follows the last
    /// reply, and counts the wait. The server's is.
    fn run(&self, target: &Target, test: &str, pipeline: u64, requests: u64) -> Result<Measurement, Failure> {
        let pid = target.server.pid();
        let cpu_time = || CpuTime::read(pid).map_err(|error| Failure::Process { pid, error });
        let mut command = match &*self.cpus {
            "" => Command::new(&self.program),
            cpus => {
                let mut command = Command::new("taskset");
                command.args(["-c", cpus]).arg(&self.program);
                command
            }
        };
        command.args(arguments(target.server.port(), target.masters, test, pipeline, requests));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let failed = |problem| Failure::Server { name: "redis-benchmark".to_owned(), problem };
        let before = cpu_time()?;
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        let mut samples = vec![(monotonic_nanos(), 0.0)];
        // It prints too little to fill the pipes meanwhile.
        while child.try_wait().map_err(|error| failed(error.to_string()))?.is_none() {
            std::thread::sleep(SAMPLE_INTERVAL);
            samples.push((monotonic_nanos(), cpu_time()?.since(&before).total_nanos));
        }
        let used = cpu_time()?.since(&before);
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let seconds = busy_seconds(&samples).filter(|_| output.status.success() && has_passed(&printed, test));
        let seconds = seconds.ok_or_else(|| {
            let said = String::from_utf8_lossy(&output.stderr);
            failed(format!("{} at {}: {} {}", output.status, target.server.endpoint.name, said.trim(), printed.trim()))
        })?;
        Ok(Measurement { tally: Tally { replies: requests, ..Tally::default() }, seconds, cpu: Some(used) })
    }
}

fn arguments(port: u16, masters: Option<u64>, test: &str, pipeline: u64, requests: u64) -> Vec<String> {
    let keys = KEYS / masters.unwrap_or(1);
    let numbers = [
        ("-p", u64::from(port)),
        ("--threads", THREADS),
        ("-c", CLIENTS),
        ("-d", VALUE_BYTES),
        ("-r", keys),
        ("-P", pipeline),
        ("-n", requests),
    ];
    let numbers = numbers.into_iter().flat_map(|(name, number)| [name.to_owned(), number.to_string()]);
    let words = ["-t", test, "--csv"].into_iter().chain(masters.map(|_| "--cluster"));
    numbers.chain(words.map(str::to_owned)).collect()
}

/// Whether what `--csv` prints has a line `"SET","123456.78",…`; errors of the server are printed among it.
fn has_passed(printed: &str, test: &str) -> bool {
    let name = format!("\"{}\",\"", test.to_ascii_uppercase());
    let figures = printed.lines().find_map(|line| line.strip_prefix(&name));
    let rate = figures.and_then(|figures| figures.split('"').next()?.parse::<f64>().ok());
    rate.is_some_and(|rate| rate > 0.0 && rate.is_finite()) && !printed.contains("Error from server")
}

/// How long the server took for its work, in seconds; `None` if it did none. Samples are instants and the CPU time until
/// then, both in nanoseconds. The middle of the work stands for all: at its ends connections come and go, the latter
/// only when the tool has waited.
fn busy_seconds(samples: &[(u64, f64)]) -> Option<f64> {
    let total = samples.last().map(|(_, used)| *used).filter(|total| *total > 0.0)?;
    let instant = |share: f64| {
        let wanted = total * share;
        let pair = samples.windows(2).find(|pair| pair[1].1 >= wanted)?;
        let [(start, before), (end, after)] = [pair[0], pair[1]];
        let part = if after > before { (wanted - before) / (after - before) } else { 0.0 };
        Some(start as f64 + part * (end - start) as f64)
    };
    let seconds = (instant(1.0 - EDGE)? - instant(EDGE)?) / 1e9 / (1.0 - 2.0 * EDGE);
    (seconds > 0.0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;

    #[test]
    fn a_run_without_a_rate_or_with_errors_has_failed() {
        let printed = "\"test\",\"rps\",\"avg_latency_ms\"\n\"SET\",\"200000.50\",\"3.7\"\n";
        assert!(has_passed(printed, "set"));
        assert!(has_passed(&format!("Cluster has 2 master nodes:\n\n{printed}"), "set"));
        for bad in ["", "\"GET\",\"1.0\"", "\"SET\",\"0.00\"", "\"SET\",\"inf\"", "\"SET\",\"x\""] {
            assert!(!has_passed(bad, "set"), "{bad}");
        }
        assert!(!has_passed(&format!("Error from server: ERR x\n{printed}"), "set"));
    }

    /// Neither the wait before the first request nor that behind the last reply is the server's time.
    #[test]
    fn a_server_is_timed_by_the_middle_of_its_work() {
        const MILLI: u64 = 1_000_000;
        // Connections that come, 40 ms of work at three quarters of a CPU, a wait, connections that go.
        let used = [0.0, 0.0, 0.5, 6.5, 12.5, 18.5, 24.5, 30.5, 30.5, 30.5, 30.5, 31.0];
        let samples: Vec<_> = (0..).zip(used).map(|(at, used)| (at * 8 * MILLI, used * MILLI as f64)).collect();
        let seconds = busy_seconds(&samples).unwrap();
        assert!((seconds - 0.04 * 31.0 / 30.0).abs() < 1e-6, "{seconds}");
        assert_eq!(busy_seconds(&samples[..2]), None, "no work");
        assert_eq!(busy_seconds(&samples[..1]), None);
    }

    #[test]
    fn a_cluster_has_as_many_keys_in_all() {
        let line = |masters| arguments(7000, masters, "get", 16, 1000).join(" ");
        let expected = "-p 7000 --threads 2 -c 50 -d 32 -r 65536 -P 16 -n 1000 -t get --csv";
        assert_eq!(line(None), expected);
        assert_eq!(line(Some(2)), expected.replace("65536", "32768") + " --cluster");
    }

    #[test]
    fn rows_show_all_servers_and_the_ratios_to_redis() {
        let series = |micros: f64, seconds| {
            let tally = Tally { replies: 1000, ..Tally::default() };
            let cpu = CpuUse { total_nanos: micros * 1e6, user_nanos: 0.0, system_nanos: 0.0 };
            Series { name: String::new(), rounds: vec![Measurement { tally, seconds, cpu: Some(cpu) }; 3] }
        };
        let text = row("SET", 16, &[series(4.0, 1.0), series(2.0, 0.5), series(1.0, 0.25)]);
        assert_eq!(
            text,
            "| SET | 16 | 1.00 | 2.00 | 4.00 | 2.00 [2.00–2.00] | 4.00 [4.00–4.00] | 4.00 | 2.00 | 1.00 | \
             0.50 [0.50–0.50] | 0.25 [0.25–0.25] |"
        );
    }
}
