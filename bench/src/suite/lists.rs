//! Lists and transactions on one core, beside redis-server; transactions over two shards.

use super::Scale;
use super::servers::{Programs, Server};
use super::shards::second_cpu;
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::generator;
use crate::load::{Extent, Load};
use crate::report::figure;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 2] = [1, 16];
const LISTS: u64 = 1000;
/// Elements of a list before anything is measured, on the average: several times what LRANGE reads.
const ELEMENTS: u64 = 300;
const READ: CommandKind = CommandKind::LRange(100);
const TRANSACTION: CommandKind = CommandKind::Multi(10);
const ANY_TRANSACTION: CommandKind = CommandKind::MultiAny(10);
/// Requests of a round that changes lists, at a pipeline of 1; a time would leave one server with longer lists.
const CHANGES_PER_SECOND: f64 = 150_000.0;

/// Measures all rows; the section of the report.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let cpu = options.server_cpu;
    let servers = [programs.start_redis(cpu)?, programs.start_slotmesh("slotmesh", &[cpu])?];
    let endpoints: Vec<Endpoint> = servers.iter().map(|server| server.endpoint.clone()).collect();
    let base = Load { clients: CLIENTS, ..scale.load(options) };
    let lists = Load { keys: LISTS, ..base.clone() };
    let pushes = Load { extent: Extent::Requests(LISTS * ELEMENTS), pipeline: 64, ..of(CommandKind::LPush, &lists) };
    for endpoint in &endpoints {
        generator::run(endpoint, &Load { warmup_seconds: 0.0, ..pushes.clone() }, &ProgressBar::hidden())?;
    }
    let bar = ProgressBar::new((10 * scale.rounds * 2) as u64);
    let mut text = format!(
        "\n## Lists and transactions on one core\n\n{CLIENTS} clients, one shard; {LISTS} lists of about {ELEMENTS} \
         elements of {} B; transactions are MULTI, ten SETs of keys with one hash tag, EXEC, and are counted \
         whole.\n\n\
         | | pipeline | CPU µs: redis | slotmesh | slotmesh / redis | thousand/s: redis | slotmesh | |\n\
         |---|--:|--:|--:|--:|--:|--:|---|\n",
        base.sizes.value_bytes
    );
    // What is pushed is popped again, with the same pipeline.
    let steps = [
        ("LPUSH", CommandKind::LPush, PIPELINES[0]),
        ("LPUSH", CommandKind::LPush, PIPELINES[1]),
        ("LRANGE 100", READ, PIPELINES[0]),
        ("LRANGE 100", READ, PIPELINES[1]),
        ("RPOP", CommandKind::RPop, PIPELINES[1]),
        ("RPOP", CommandKind::RPop, PIPELINES[0]),
    ];
    for (title, kind, pipeline) in steps {
        let changes = (scale.seconds * CHANGES_PER_SECOND) as u64 * pipeline.min(4);
        let mut load = Load { pipeline, ..of(kind, &lists) };
        if kind != READ {
            (load.extent, load.warmup_seconds) = (Extent::Requests(changes), 0.0);
        }
        let _ = writeln!(text, "{}", measure_row(title, kind, &endpoints, &load, scale, &bar)?);
    }
    for pipeline in PIPELINES {
        let load = Load { pipeline, ..of(TRANSACTION, &base) };
        let _ = writeln!(text, "{}", measure_row("MULTI, 10 SETs", TRANSACTION, &endpoints, &load, scale, &bar)?);
    }
    drop::<[Server; 2]>(servers);
    text.push_str(&measure_loans(options, scale, programs, &base, &bar)?);
    bar.finish_and_clear();
    Ok(text)
}

fn of(kind: CommandKind, load: &Load) -> Load {
    Load { mix: vec![Share { kind, weight: 1 }], ..load.clone() }
}

fn measure_row(
    title: &str,
    kind: CommandKind,
    endpoints: &[Endpoint],
    load: &Load,
    scale: &Scale,
    bar: &ProgressBar,
) -> Result<String, Failure> {
    let series = compare::interleave(endpoints, load, scale.rounds, bar)?;
    if let Some(forgetful) = series.iter().find(|series| series.nulls() > 0) {
        let problem = format!("{title}: lists that were filled are empty");
        return Err(Failure::Server { name: forgetful.name.clone(), problem });
    }
    let to_redis = series[1].ratio(&series[0], Metric::CpuTotal);
    let verdict = to_redis.map_or("", |spread| if spread.median > 1.0 { "worse than redis" } else { "" });
    Ok(format!(
        "| {title} | {} | {} | {} | {} | {} | {} | {verdict} |",
        load.pipeline,
        cpu(&series[0], kind),
        cpu(&series[1], kind),
        ratio(to_redis),
        throughput(&series[0], kind),
        throughput(&series[1], kind),
    ))
}

/// CPU of one operation, all of its replies.
fn cpu(series: &Series, kind: CommandKind) -> String {
    series.median(Metric::CpuTotal).map_or("-".to_owned(), |micros| figure(micros * kind.replies() as f64))
}

fn throughput(series: &Series, kind: CommandKind) -> String {
    let thousands = |replies: f64| figure(replies / kind.replies() as f64 / 1000.0);
    series.median(Metric::Throughput).map_or("-".to_owned(), thousands)
}

/// Transactions over two shards: with keys of one shard, and with keys of both.
fn measure_loans(
    options: &SuiteOptions,
    scale: &Scale,
    programs: &Programs,
    base: &Load,
    bar: &ProgressBar,
) -> Result<String, Failure> {
    let second = second_cpu(options)?;
    let two = programs.start_slotmesh("two shards", &[options.server_cpu, second])?;
    let mut text = format!(
        "\nTransactions on two shards, the second on CPU {second}: with keys of one hash tag half of them borrow the \
         sibling's shard, with any keys nearly all of them borrow it.\n\n\
         | | pipeline | CPU µs | thousand/s | p50 µs | p99 µs |\n|---|--:|--:|--:|--:|--:|\n"
    );
    for (title, kind) in [("one hash tag", TRANSACTION), ("any keys", ANY_TRANSACTION)] {
        let load = of(kind, base);
        let series = compare::interleave(std::slice::from_ref(&two.endpoint), &load, scale.rounds, bar)?;
        let shown = |metric| series[0].median(metric).map_or("-".to_owned(), figure);
        let _ = writeln!(
            text,
            "| {title} | {} | {} | {} | {} | {} |",
            load.pipeline,
            cpu(&series[0], kind),
            throughput(&series[0], kind),
            shown(Metric::P50),
            shown(Metric::P99),
        );
    }
    Ok(text)
}
