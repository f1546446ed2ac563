//! The figures of `bench/RESULTS.md`: our server, redis-server and the echo on one CPU, the load on another.

mod client;
mod cluster;
mod commands;
mod document;
mod durability;
mod failover;
mod floors;
mod folder;
mod full_sync;
mod gateway;
mod lists;
mod memory;
mod saves;
mod servers;
mod shards;
mod snapshots;
mod speed;
mod tools;

use crate::arguments::{Part, SuiteOptions};
use crate::failure::Failure;
use crate::load::{Extent, Load};
use document::Document;
use std::path::PathBuf;

/// How much is measured.
#[derive(Clone, Debug)]
struct Scale {
    rounds: usize,
    seconds: f64,
    warmup_seconds: f64,
    /// Keys of the speed tables.
    keys: u64,
    /// Numbers of keys at which memory is read.
    memory_steps: Vec<u64>,
    /// Numbers of keys that are saved and loaded.
    saved_keys: Vec<u64>,
    /// How often a master dies, and how often each other thing happens to it.
    failures: usize,
}

impl Scale {
    fn of(options: &SuiteOptions) -> Self {
        if options.quick {
            Self {
                rounds: 3,
                seconds: 0.1,
                warmup_seconds: 0.02,
                keys: 100_000,
                memory_steps: vec![300_000, 500_000, 700_000],
                saved_keys: vec![200_000],
                failures: 2,
            }
        } else {
            let thousands = [300, 500, 700, 1000, 1500, 2000, 3000, 4000, 6000, 8000];
            Self {
                rounds: 9,
                seconds: 0.6,
                warmup_seconds: 0.1,
                keys: 1_000_000,
                memory_steps: thousands.map(|count| count * 1000).to_vec(),
                saved_keys: vec![1_000_000, 5_000_000],
                failures: 10,
            }
        }
    }

    /// The load that all parts vary.
    fn load(&self, options: &SuiteOptions) -> Load {
        Load {
            extent: Extent::Seconds(self.seconds),
            warmup_seconds: self.warmup_seconds,
            keys: self.keys,
            cpus: options.load_cpus.clone(),
            seed: options.seed,
            ..crate::arguments::default_load()
        }
    }
}

/// The heading of a part.
fn title(part: Part) -> &'static str {
    match part {
        Part::Speed => "Speed of one core",
        Part::Lists => "Lists and transactions on one core",
        Part::Commands => "Strings, bits and keys on one core",
        Part::Snapshots => "Snapshots under writes",
        Part::Failover => "Failover",
        Part::Sync => "Full sync under writes",
        Part::Memory => "Memory per key",
        Part::Shards => "Two shards behind the gateway against one",
        Part::Cluster => "Two shards on cluster ports against one",
        Part::Durability => "The append-only file",
        Part::Saves => "The RDB file",
        Part::Gateway => "The gateway before other hosts",
        Part::Tools => "As redis-benchmark measures",
    }
}

/// Measures the parts that were asked for; each is written when it is there. All parts make a new file, which keeps only
/// sections of others; some of them take their places in the one that is there and say how they were measured.
///
/// # Errors
/// If a server cannot be started or fails, or the file cannot be written.
pub(crate) fn run(options: &SuiteOptions) -> Result<(), Failure> {
    let scale = Scale::of(options);
    let programs = servers::Programs::find(options)?;
    let circumstances = circumstances(options, &scale, &programs);
    let order = Part::ALL.map(title);
    let is_whole = Part::ALL.iter().all(|part| options.parts.contains(part));
    let present = Document::read(&options.out)?;
    let apart = present.as_ref().filter(|_| !is_whole).map(|_| {
        format!(
            "*Measured apart from the rest by `slotmesh-bench {}`. {}*\n\n",
            options.words.join(" "),
            circumstances.join(" ")
        )
    });
    let mut document = match present {
        Some(present) if is_whole => present.renewed(introduction(options, &circumstances), &order),
        Some(present) => present,
        None => Document::new(introduction(options, &circumstances)),
    };
    for part in &options.parts {
        let section = match part {
            Part::Speed => speed::measure(options, &scale, &programs)?,
            Part::Lists => lists::measure(options, &scale, &programs)?,
            Part::Commands => commands::measure(options, &scale, &programs)?,
            Part::Snapshots => snapshots::measure(options, &scale, &programs)?,
            Part::Failover => failover::measure(options, &scale, &programs)?,
            Part::Sync => full_sync::measure(options, &scale, &programs)?,
            Part::Memory => memory::measure(options, &scale, &programs)?,
            Part::Shards => shards::measure(options, &scale, &programs)?,
            Part::Cluster => cluster::measure(options, &scale, &programs)?,
            Part::Durability => durability::measure(options, &scale, &programs)?,
            Part::Saves => saves::measure(options, &scale, &programs)?,
            Part::Gateway => gateway::measure(options, &scale, &programs)?,
            Part::Tools => tools::measure(options, &scale, &programs)?,
        };
        println!("## {}\n\n{section}", title(*part));
        document.put(title(*part), &format!("{}{section}", apart.as_deref().unwrap_or_default()), &order);
        std::fs::write(&options.out, document.to_string())
            .map_err(|error| Failure::Write { path: options.out.clone(), error })?;
    }
    println!("written to {}", options.out.display());
    Ok(())
}

/// What a section was measured with and how, a sentence each.
fn circumstances(options: &SuiteOptions, scale: &Scale, programs: &servers::Programs) -> [String; 3] {
    let Scale { rounds, seconds, warmup_seconds, .. } = scale;
    let cpus = options.load_cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
    [
        format!(
            "Machine: {}, {} CPUs; {}.",
            cpu_model(),
            std::thread::available_parallelism().map_or(0, usize::from),
            slotmesh_io::process::kernel()
        ),
        format!("{}; {}.", programs.redis_version, programs.slotmesh_version),
        format!(
            "Servers on CPU {}, load on CPU {cpus}; each figure is the median of {rounds} rounds of {seconds} s behind \
             {warmup_seconds} s of warm-up, in which all servers take their turns in a shuffled order (seed {}); \
             intervals have {:.0} % confidence.",
            options.server_cpu,
            options.seed,
            crate::statistics::Spread::of(&vec![1.0; *rounds]).map_or(0.0, |spread| spread.coverage * 100.0),
        ),
    ]
}

fn introduction(options: &SuiteOptions, [machine, versions, rounds]: &[String; 3]) -> String {
    format!(
        "# Results\n\n\
         Written by `cargo build --release -p slotmesh && cargo run --release -p slotmesh-bench -- {}`; do not edit.\n\n\
         - {machine}\n\
         - {versions}\n\
         - {rounds}\n\
         - Ratios are medians of the ratios within rounds; in brackets the interval of that median from order \
         statistics. A floor holds if the whole interval is on its right side.\n\
         - CPU is the server's time by the scheduler, kernel included, over the requests; a transaction is one. Latency \
         counts from a batch's send to each of its replies, in a closed loop: with a full server it is clients × \
         pipeline / throughput, and says little beyond that.\n",
        options.words.join(" "),
    )
}

fn cpu_model() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or("unknown processor".to_owned(), |(_, name)| name.trim().to_owned())
}

/// What else the machine does before a part begins that shares it with everything: figures of a busy one are worse.
fn other_load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let average = text.split(' ').next().filter(|average| !average.is_empty()).unwrap_or("unknown");
    format!("the machine's load average was {average} before")
}

/// Our server's default place: where cargo puts it, beside this program.
fn beside_this_program() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.join("slotmesh"))
}
