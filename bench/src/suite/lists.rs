//! Lists and transactions on one core, beside redis-server; transactions over two shards.

use super::Scale;
use super::servers::Programs;
use super::shards::second_cpu;
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::failure::Failure;
use crate::load::{Extent, Load};
use crate::report::figure;
use crate::statistics::Spread;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 2] = [1, 16];
const LISTS: u64 = 1000;
/// Elements of a list before a round of pushes, and about what is left of it after a round of pops: several times what
/// LRANGE reads.
const ELEMENTS: usize = 300;
const TRANSACTION: CommandKind = CommandKind::Multi(10);
const ANY_TRANSACTION: CommandKind = CommandKind::MultiAny(10);
const COMMANDS: [(&str, CommandKind); 4] = [
    ("LPUSH", CommandKind::LPush),
    ("RPOP", CommandKind::RPop),
    ("LRANGE 100", CommandKind::LRange(100)),
    ("MULTI, 10 SETs", TRANSACTION),
];
/// Requests of a round that changes lists, at a pipeline of 1; a time would leave one server with longer lists.
const CHANGES_PER_SECOND: f64 = 150_000.0;
/// With longer batches there are so many times more of them, at most: a round takes about as long.
const CHANGES_FACTOR_MAX: u64 = 4;

/// The head of a table of [`row`]s.
pub(super) const COLUMNS: &str = "\
    | | pipeline | CPU µs per request: redis | slotmesh | slotmesh / redis | thousand requests/s: redis | slotmesh \
    | slotmesh / redis | |\n\
    |---|--:|--:|--:|--:|--:|--:|--:|---|\n";

/// Measures all rows; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let base = Load { clients: CLIENTS, lists: LISTS, ..scale.load(options) };
    let bar = ProgressBar::new(((COMMANDS.len() * PIPELINES.len() + 1) * scale.rounds * 2) as u64);
    let mut text = format!(
        "{CLIENTS} clients, one shard; {LISTS} lists of {ELEMENTS} elements of {} B, made anew before each round (those \
         for RPOP are longer by what the round takes). A round of LPUSH or RPOP is a number of requests, the same for \
         both servers, without warm-up. A transaction is MULTI, ten SETs of keys with one hash tag, EXEC, sent at once, \
         and counts as one request; all of its {} keys are there before.\n\n{COLUMNS}",
        base.sizes.value_bytes, base.keys
    );
    write_rows(&mut text, options, scale, programs, &base, &bar)?;
    write_loans(&mut text, options, scale, programs, &base, &bar)?;
    bar.finish_and_clear();
    Ok(text)
}

fn write_rows(
    text: &mut String,
    options: &SuiteOptions,
    scale: &Scale,
    programs: &Programs,
    base: &Load,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let cpu = options.server_cpu;
    let servers = [programs.start_redis(cpu)?, programs.start_slotmesh("slotmesh", &[cpu])?];
    let endpoints = servers.each_ref().map(|server| server.endpoint.clone());
    for (title, kind) in COMMANDS {
        if kind == TRANSACTION {
            endpoints.iter().try_for_each(|endpoint| compare::fill(endpoint, &of(kind, base)))?;
        }
        for pipeline in PIPELINES {
            let load = load_of(kind, pipeline, base, scale.seconds);
            let series = compare::interleave_after(&endpoints, &load, scale.rounds, bar, |endpoint| {
                // What SETs change, they leave as it was.
                if kind == TRANSACTION { Ok(()) } else { compare::refill(endpoint, &load) }
            })?;
            nothing_is_missing(title, &series)?;
            let _ = writeln!(text, "{}", row(title, pipeline, &series[0], &series[1]));
        }
    }
    Ok(())
}

fn of(kind: CommandKind, load: &Load) -> Load {
    Load { mix: vec![Share { kind, weight: 1 }], ..load.clone() }
}

/// The load of a row; its lists are as long as they must be before a round.
fn load_of(kind: CommandKind, pipeline: u64, base: &Load, seconds: f64) -> Load {
    let load = Load { pipeline, list_elements: ELEMENTS, ..of(kind, base) };
    let changes = (seconds * CHANGES_PER_SECOND) as u64 * pipeline.min(CHANGES_FACTOR_MAX);
    // Chance takes more from some lists; the elements that are to be left are several times as many.
    let taken = if kind == CommandKind::RPop { changes.div_ceil(LISTS) as usize } else { 0 };
    match kind {
        CommandKind::LPush | CommandKind::RPop => Load {
            extent: Extent::Requests(changes),
            warmup_seconds: 0.0,
            list_elements: load.list_elements + taken,
            ..load
        },
        _ => load,
    }
}

fn nothing_is_missing(title: &str, series: &[Series]) -> Result<(), Failure> {
    match series.iter().find(|series| series.nulls() > 0) {
        None => Ok(()),
        Some(forgetful) => {
            let problem = format!("{title}: lists that were filled are empty");
            Err(Failure::Server { name: forgetful.name.clone(), problem })
        }
    }
}

/// Both servers' figures, their ratios, and whether we are worse.
pub(super) fn row(title: &str, pipeline: u64, redis: &Series, slotmesh: &Series) -> String {
    let to_redis = slotmesh.ratio(redis, Metric::CpuTotal);
    format!(
        "| {title} | {pipeline} | {} | {} | {} | {} | {} | {} | {} |",
        shown(redis, Metric::CpuTotal, 1.0),
        shown(slotmesh, Metric::CpuTotal, 1.0),
        ratio(to_redis),
        shown(redis, Metric::Throughput, 1000.0),
        shown(slotmesh, Metric::Throughput, 1000.0),
        ratio(slotmesh.ratio(redis, Metric::Throughput)),
        to_redis.map_or("", verdict),
    )
}

/// These rows have no floor but Redis itself.
fn verdict(to_redis: Spread) -> &'static str {
    match to_redis {
        Spread { low, .. } if low > 1.0 => "worse than redis",
        Spread { median, .. } if median > 1.0 => "worse than redis (only the median)",
        _ => "",
    }
}

fn shown(series: &Series, metric: Metric, divisor: f64) -> String {
    series.median(metric).map_or("-".to_owned(), |value| figure(value / divisor))
}

/// Transactions over two shards: with keys of one shard, and with keys of both.
fn write_loans(
    text: &mut String,
    options: &SuiteOptions,
    scale: &Scale,
    programs: &Programs,
    base: &Load,
    bar: &ProgressBar,
) -> Result<(), Failure> {
    let second = second_cpu(options)?;
    let sharing = if options.load_cpus.contains(&second) { ", which it shares with the load" } else { "" };
    let two = programs.start_slotmesh("two shards", &[options.server_cpu, second])?;
    let endpoint = std::slice::from_ref(&two.endpoint);
    let _ = write!(
        text,
        "\nTransactions on two shards, the second on CPU {second}{sharing}: with keys of one hash tag half of them \
         borrow the sibling's shard, with any keys nearly all of them do.\n\n\
         | ten SETs of | pipeline | CPU µs per transaction | thousand/s | p50 µs | p99 µs |\n\
         |---|--:|--:|--:|--:|--:|\n"
    );
    for (title, kind) in [("keys with one hash tag", TRANSACTION), ("any keys", ANY_TRANSACTION)] {
        let load = of(kind, base);
        compare::fill(&two.endpoint, &load)?;
        let series = compare::interleave(endpoint, &load, scale.rounds, bar)?;
        let _ = writeln!(
            text,
            "| {title} | {} | {} | {} | {} | {} |",
            load.pipeline,
            shown(&series[0], Metric::CpuTotal, 1.0),
            shown(&series[0], Metric::Throughput, 1000.0),
            shown(&series[0], Metric::P50, 1.0),
            shown(&series[0], Metric::P99, 1.0),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;
    use crate::tally::{Measurement, Tally};

    fn series(micros: [f64; 6]) -> Series {
        let rounds = micros.map(|micros| {
            let mut tally = Tally::default();
            tally.record(20_000, 1000);
            let cpu = CpuUse { total_nanos: micros * 1e6, user_nanos: micros * 1e6, system_nanos: 0.0 };
            Measurement { tally, seconds: 0.01, cpu: Some(cpu) }
        });
        Series { name: "one".to_owned(), rounds: rounds.to_vec() }
    }

    #[test]
    fn rows_show_both_servers_and_say_where_we_are_worse() {
        let redis = series([4.0; 6]);
        let row_of = |micros| row("RPOP", 16, &redis, &series(micros));
        assert_eq!(
            row_of([2.0; 6]),
            "| RPOP | 16 | 4.00 | 2.00 | 0.50 [0.50–0.50] | 100 | 100 | 1.00 [1.00–1.00] |  |"
        );
        assert!(row_of([4.0; 6]).ends_with("|  |"), "as good is not worse");
        assert!(row_of([5.0; 6]).ends_with("| worse than redis |"));
        let row = row_of([3.0, 5.0, 5.0, 5.0, 5.0, 5.0]);
        assert!(row.ends_with("| worse than redis (only the median) |"), "{row}");
    }

    #[test]
    fn rounds_that_change_lists_have_a_number_of_requests_and_elements_enough() {
        let base = Load { lists: LISTS, ..crate::arguments::default_load() };
        let load = load_of(CommandKind::RPop, 16, &base, 0.6);
        assert_eq!((load.extent, load.warmup_seconds), (Extent::Requests(360_000), 0.0));
        assert_eq!(load.fillers(), [CommandKind::Renew(ELEMENTS + 360)]);
        let load = load_of(CommandKind::LPush, 1, &base, 0.6);
        assert_eq!((load.extent, load.fillers()), (Extent::Requests(90_000), vec![CommandKind::Renew(ELEMENTS)]));
        let load = load_of(CommandKind::LRange(100), 16, &base, 0.6);
        assert_eq!((load.extent, load.warmup_seconds), (base.extent, base.warmup_seconds));
        assert_eq!(load.fillers(), [CommandKind::Renew(ELEMENTS)]);
    }

    #[test]
    fn a_list_that_has_run_empty_fails_the_section() {
        let mut emptied = series([1.0; 6]);
        assert!(nothing_is_missing("RPOP", std::slice::from_ref(&emptied)).is_ok());
        emptied.rounds[3].tally.nulls = 1;
        let error = nothing_is_missing("RPOP", &[series([1.0; 6]), emptied]).unwrap_err().to_string();
        assert_eq!(error, "one: RPOP: lists that were filled are empty");
    }
}
