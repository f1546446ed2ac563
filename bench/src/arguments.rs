//! The command line.

use crate::endpoint::Endpoint;
use crate::keys::Distribution;
use crate::load::{Extent, Load};
use crate::workload::{Sizes, parse_mix};
use std::path::PathBuf;

/// Most connections, threads and requests of a batch; more is a slip of the finger.
const CLIENTS_MAX: u64 = 100_000;
const THREADS_MAX: u64 = 1024;
const PIPELINE_MAX: u64 = 100_000;
/// Longest keys and values, in bytes.
const BYTES_MAX: u64 = 64 << 20;
/// Most elements that a list is filled with: they are one request.
const LIST_ELEMENTS_MAX: u64 = 100_000;

/// What to do.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Invocation {
    Help,
    Version,
    Single(Single),
    Compare(Comparison),
    Echo(EchoServer),
    Suite(SuiteOptions),
}

/// A load on one server.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Single {
    pub(crate) endpoint: Endpoint,
    pub(crate) load: Load,
    pub(crate) preload: bool,
    pub(crate) output: Output,
}

/// A load on several servers, in rounds.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Comparison {
    pub(crate) endpoints: Vec<Endpoint>,
    /// Place of the endpoint that ratios are to.
    pub(crate) baseline: usize,
    pub(crate) rounds: usize,
    pub(crate) load: Load,
    pub(crate) preload: bool,
    pub(crate) output: Output,
}

/// Files to write.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Output {
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
}

/// The echo server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct EchoServer {
    pub(crate) port: u16,
    pub(crate) cpu: Option<usize>,
    pub(crate) sizes: Sizes,
}

/// The suite.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SuiteOptions {
    pub(crate) out: PathBuf,
    pub(crate) parts: Vec<Part>,
    pub(crate) quick: bool,
    pub(crate) redis: PathBuf,
    /// `None`: beside this program.
    pub(crate) slotmesh: Option<PathBuf>,
    pub(crate) server_cpu: usize,
    pub(crate) load_cpus: Vec<usize>,
    pub(crate) seed: u64,
    /// The command line, for the report.
    pub(crate) words: Vec<String>,
}

/// A part of the suite.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    Speed,
    Lists,
    Commands,
    Snapshots,
    Failover,
    Sync,
    Memory,
    Shards,
    Cluster,
    Durability,
    Saves,
    Gateway,
    Tools,
}

impl Part {
    /// All parts, in the order of the report.
    pub(crate) const ALL: [Self; 13] = [
        Self::Speed,
        Self::Lists,
        Self::Commands,
        Self::Snapshots,
        Self::Failover,
        Self::Sync,
        Self::Memory,
        Self::Shards,
        Self::Cluster,
        Self::Durability,
        Self::Saves,
        Self::Gateway,
        Self::Tools,
    ];

    /// Its name on the command line.
    fn name(self) -> &'static str {
        match self {
            Self::Speed => "speed",
            Self::Lists => "lists",
            Self::Commands => "commands",
            Self::Snapshots => "snapshots",
            Self::Failover => "failover",
            Self::Sync => "sync",
            Self::Memory => "memory",
            Self::Shards => "shards",
            Self::Cluster => "cluster",
            Self::Durability => "durability",
            Self::Saves => "saves",
            Self::Gateway => "gateway",
            Self::Tools => "tools",
        }
    }
}

/// What is wrong with the command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum ArgumentError {
    Unknown(String),
    MissingValue(String),
    BadValue { option: String, value: String, wanted: &'static str },
    Conflict(&'static str),
}

impl std::fmt::Display for ArgumentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown(word) => write!(f, "unknown argument {word}"),
            Self::MissingValue(option) => write!(f, "{option} wants a value"),
            Self::BadValue { option, value, wanted } => write!(f, "{option} wants {wanted}, not '{value}'"),
            Self::Conflict(problem) => f.write_str(problem),
        }
    }
}

/// Reads the words of the command line, without the program's name.
///
/// # Errors
/// If a word is unknown, a value is missing or wrong, or options contradict each other.
pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Invocation, ArgumentError> {
    let words: Vec<String> = words.collect();
    let mut options = Options::default();
    let mut rest = words.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        let (name, inline) = match word.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value)),
            _ => (word, None),
        };
        if name == "--compare" {
            options.compares = true;
            options.endpoints.extend(inline.map(|text| endpoint("--compare", text)).transpose()?);
            while let Some(text) = rest.next_if(|word| !word.starts_with("--")) {
                options.endpoints.push(endpoint("--compare", text)?);
            }
        } else if options.take_flag(word) {
            continue;
        } else if Options::wants_value(name) {
            let value = inline.or_else(|| rest.next()).ok_or_else(|| ArgumentError::MissingValue(name.to_owned()))?;
            options.take_value(name, value)?;
        } else if word.starts_with('-') {
            return Err(ArgumentError::Unknown(word.to_owned()));
        } else {
            options.endpoints.push(endpoint("an endpoint", word)?);
        }
    }
    options.finish(words)
}

/// The options as they were read.
#[derive(Debug)]
struct Options {
    help: bool,
    version: bool,
    suite: bool,
    compares: bool,
    preload: bool,
    quick: bool,
    endpoints: Vec<Endpoint>,
    echo_port: Option<u16>,
    cpu: Option<usize>,
    rounds: usize,
    baseline: Option<String>,
    requests: Option<u64>,
    seconds: Option<f64>,
    load: Load,
    output: Output,
    suite_options: SuiteOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            help: false,
            version: false,
            suite: false,
            compares: false,
            preload: false,
            quick: false,
            endpoints: Vec::new(),
            echo_port: None,
            cpu: None,
            rounds: 9,
            baseline: None,
            requests: None,
            seconds: None,
            load: default_load(),
            output: Output::default(),
            suite_options: SuiteOptions {
                out: "bench/RESULTS.md".into(),
                parts: Part::ALL.to_vec(),
                quick: false,
                redis: "redis-server".into(),
                slotmesh: None,
                server_cpu: 0,
                load_cpus: vec![1],
                seed: 1,
                words: Vec::new(),
            },
        }
    }
}

/// The load without any options: 1 M keys of 16 B, values of 32 B, 50 clients, GET.
pub(crate) fn default_load() -> Load {
    Load {
        is_cluster: false,
        clients: 50,
        pipeline: 1,
        threads: 1,
        cpus: Vec::new(),
        extent: Extent::Requests(1_000_000),
        warmup_seconds: 0.1,
        rate: None,
        mix: parse_mix("get").expect("a mix of one command"),
        keys: 1_000_000,
        lists: 1000,
        list_elements: 300,
        sizes: Sizes { key_bytes: 16, value_bytes: 32 },
        distribution: Distribution::Uniform,
        seed: 1,
        spins: false,
    }
}

impl Options {
    fn take_flag(&mut self, word: &str) -> bool {
        let flag = match word {
            "--help" | "-h" => &mut self.help,
            "--version" | "-V" => &mut self.version,
            "--preload" => &mut self.preload,
            "--spin" => &mut self.load.spins,
            "--cluster" => &mut self.load.is_cluster,
            "--quick" => &mut self.quick,
            "suite" => &mut self.suite,
            _ => return false,
        };
        *flag = true;
        true
    }

    fn wants_value(name: &str) -> bool {
        const NAMES: [&str; 28] = [
            "--clients",
            "--pipeline",
            "--threads",
            "--cpus",
            "--requests",
            "--seconds",
            "--warmup",
            "--rate",
            "--mix",
            "--keys",
            "--lists",
            "--list-elements",
            "--key-bytes",
            "--value-bytes",
            "--zipf",
            "--seed",
            "--json",
            "--svg",
            "--rounds",
            "--baseline",
            "--echo-server",
            "--cpu",
            "--out",
            "--only",
            "--redis",
            "--slotmesh",
            "--server-cpu",
            "--endpoint",
        ];
        NAMES.contains(&name)
    }

    fn take_value(&mut self, name: &str, value: &str) -> Result<(), ArgumentError> {
        let bad = |wanted| ArgumentError::BadValue { option: name.to_owned(), value: value.to_owned(), wanted };
        let whole = |min, max| count(value).filter(|number| (min..=max).contains(number));
        let positive = || value.parse::<f64>().ok().filter(|number| number.is_finite() && *number > 0.0);
        let load = &mut self.load;
        match name {
            "--clients" => load.clients = whole(1, CLIENTS_MAX).ok_or_else(|| bad("a number from 1 to 100k"))? as usize,
            "--pipeline" => load.pipeline = whole(1, PIPELINE_MAX).ok_or_else(|| bad("a number from 1 to 100k"))?,
            "--threads" => load.threads = whole(1, THREADS_MAX).ok_or_else(|| bad("a number from 1 to 1024"))? as usize,
            "--cpus" => {
                load.cpus = cpu_list(value).ok_or_else(|| bad("CPUs such as 0-3,5"))?;
                self.suite_options.load_cpus.clone_from(&load.cpus);
            }
            "--requests" => self.requests = Some(whole(1, u64::MAX).ok_or_else(|| bad("a number of requests"))?),
            "--seconds" => self.seconds = Some(positive().ok_or_else(|| bad("a time in seconds"))?),
            "--warmup" => {
                let seconds = value.parse::<f64>().ok().filter(|seconds| (0.0..=3600.0).contains(seconds));
                load.warmup_seconds = seconds.ok_or_else(|| bad("a time in seconds"))?;
            }
            "--rate" => {
                let rate = count(value).map(|rate| rate as f64).filter(|rate| *rate > 0.0).or_else(positive);
                load.rate = Some(rate.ok_or_else(|| bad("requests per second"))?);
            }
            "--mix" => load.mix = parse_mix(value).ok_or_else(|| bad("commands with weights, as get:9,set:1"))?,
            "--keys" => load.keys = whole(1, u64::MAX).ok_or_else(|| bad("a number of keys"))?,
            "--lists" => load.lists = whole(1, u64::MAX).ok_or_else(|| bad("a number of lists"))?,
            "--list-elements" => {
                let elements = whole(1, LIST_ELEMENTS_MAX).ok_or_else(|| bad("a number from 1 to 100k"))?;
                load.list_elements = elements as usize;
            }
            "--key-bytes" => load.sizes.key_bytes = whole(5, BYTES_MAX).ok_or_else(|| bad("5 to 64M bytes"))? as usize,
            "--value-bytes" => {
                load.sizes.value_bytes = whole(0, BYTES_MAX).ok_or_else(|| bad("0 to 64M bytes"))? as usize;
            }
            "--zipf" => load.distribution = Distribution::Zipf(positive().ok_or_else(|| bad("an exponent above 0"))?),
            "--seed" => load.seed = whole(0, u64::MAX).ok_or_else(|| bad("a number"))?,
            "--json" => self.output.json = Some(value.into()),
            "--svg" => self.output.svg = Some(value.into()),
            "--rounds" => self.rounds = whole(1, 10_000).ok_or_else(|| bad("a number from 1 to 10k"))? as usize,
            "--baseline" => self.baseline = Some(value.to_owned()),
            "--endpoint" => self.endpoints.push(endpoint(name, value)?),
            "--echo-server" => self.echo_port = Some(value.parse().map_err(|_| bad("a port"))?),
            "--cpu" => self.cpu = Some(value.parse().map_err(|_| bad("the number of a CPU"))?),
            _ => return self.take_suite_value(name, value, bad),
        }
        Ok(())
    }

    fn take_suite_value(
        &mut self,
        name: &str,
        value: &str,
        bad: impl Fn(&'static str) -> ArgumentError,
    ) -> Result<(), ArgumentError> {
        let suite = &mut self.suite_options;
        match name {
            "--out" => suite.out = value.into(),
            "--redis" => suite.redis = value.into(),
            "--slotmesh" => suite.slotmesh = Some(value.into()),
            "--server-cpu" => suite.server_cpu = value.parse().map_err(|_| bad("the number of a CPU"))?,
            "--only" => {
                let part = |name: &str| Part::ALL.into_iter().find(|part| part.name() == name);
                let parts: Option<_> = value.split(',').map(part).collect();
                suite.parts = parts.ok_or_else(|| {
                    bad("some of speed,lists,commands,snapshots,failover,sync,memory,shards,cluster,durability,saves,gateway,tools")
                })?;
            }
            _ => unreachable!("every option that wants a value is read"),
        }
        Ok(())
    }

    fn finish(mut self, words: Vec<String>) -> Result<Invocation, ArgumentError> {
        use ArgumentError::Conflict;
        if self.help {
            return Ok(Invocation::Help);
        }
        if self.version {
            return Ok(Invocation::Version);
        }
        if usize::from(self.suite) + usize::from(self.compares) + usize::from(self.echo_port.is_some()) > 1 {
            return Err(Conflict("suite, --compare and --echo-server exclude each other"));
        }
        if self.suite {
            let suite = SuiteOptions { quick: self.quick, seed: self.load.seed, words, ..self.suite_options };
            return Ok(Invocation::Suite(suite));
        }
        if let Some(port) = self.echo_port {
            return Ok(Invocation::Echo(EchoServer { port, cpu: self.cpu, sizes: self.load.sizes }));
        }
        let load = self.checked_load()?;
        let (preload, output) = (self.preload, self.output);
        if self.compares {
            let endpoints = self.endpoints;
            if endpoints.len() < 2 {
                return Err(Conflict("--compare wants at least two endpoints"));
            }
            let names = |name: &str| endpoints.iter().filter(|endpoint| endpoint.name == name).count();
            if endpoints.iter().any(|endpoint| names(&endpoint.name) > 1) {
                return Err(Conflict("endpoints to compare want different names (name=host:port)"));
            }
            let baseline = match &self.baseline {
                None => Some(0),
                Some(name) => endpoints.iter().position(|endpoint| endpoint.name == *name),
            };
            let baseline = baseline.ok_or(Conflict("--baseline names none of the endpoints"))?;
            let rounds = self.rounds;
            return Ok(Invocation::Compare(Comparison { endpoints, baseline, rounds, load, preload, output }));
        }
        if self.endpoints.len() > 1 {
            return Err(Conflict("several endpoints want --compare"));
        }
        let endpoint = match self.endpoints.pop() {
            Some(endpoint) => endpoint,
            None => endpoint("an endpoint", "127.0.0.1:6379")?,
        };
        Ok(Invocation::Single(Single { endpoint, load, preload, output }))
    }

    fn checked_load(&self) -> Result<Load, ArgumentError> {
        use ArgumentError::Conflict;
        let mut load = self.load.clone();
        load.extent = match (self.requests, self.seconds) {
            (Some(_), Some(_)) => return Err(Conflict("--requests and --seconds exclude each other")),
            (None, Some(seconds)) => Extent::Seconds(seconds),
            (requests, None) => Extent::Requests(requests.unwrap_or(1_000_000)),
        };
        if load.threads > load.clients {
            return Err(Conflict("--threads cannot be more than --clients"));
        }
        if !load.sizes.have_room_for(load.keys) {
            return Err(Conflict("--key-bytes is too small for so many --keys"));
        }
        if load.is_cluster && !load.mix.iter().all(|share| share.kind.is_of_one_slot()) {
            return Err(Conflict(
                "--cluster wants commands whose keys are of one slot: no mget of several, no multi-any",
            ));
        }
        if load.is_about_lists() && !load.sizes.have_room_for(load.lists) {
            return Err(Conflict("--key-bytes is too small for so many --lists"));
        }
        Ok(load)
    }
}

fn endpoint(option: &str, text: &str) -> Result<Endpoint, ArgumentError> {
    let wanted = "[name=]host:port[,pid=PID] or a path";
    Endpoint::parse(text).ok_or_else(|| ArgumentError::BadValue {
        option: option.to_owned(),
        value: text.to_owned(),
        wanted,
    })
}

/// A whole number, in thousands with `k`, millions with `M`, thousands of millions with `G`.
fn count(text: &str) -> Option<u64> {
    let (digits, factor) = match text.as_bytes().last()? {
        b'k' | b'K' => (&text[..text.len() - 1], 1_000),
        b'm' | b'M' => (&text[..text.len() - 1], 1_000_000),
        b'g' | b'G' => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(factor)
}

/// CPUs such as `0-3,8`.
fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        // The bound of the kernel's CPU sets.
        if first > last || last >= 1024 {
            return None;
        }
        cpus.extend(first..=last);
    }
    Some(cpus)
}

#[cfg(test)]
mod tests;
