//! Two shards on cluster ports against one: what a core costs that shares nothing with its sibling.

use super::Scale;
use super::servers::Programs;
use super::shards::second_cpu;
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::failure::Failure;
use crate::load::Load;
use crate::report::figure;
use crate::statistics::Spread;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 3] = [1, 16, 64];
const COMMANDS: [(&str, CommandKind); 2] = [("GET", CommandKind::Get), ("SET", CommandKind::Set)];

/// Measures all rows; the text of the section.
///
/// # Errors
/// If a server or a run failed, or requests were redirected.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let second = second_cpu(options)?;
    let sharing = if options.load_cpus.contains(&second) {
        ", which it shares with the load, so only CPU time can be compared"
    } else {
        ""
    };
    let one = programs.start_cluster("one shard", &[options.server_cpu])?;
    let two = programs.start_cluster("two shards", &[options.server_cpu, second])?;
    let endpoints = [one.endpoint.clone(), two.endpoint.clone()];
    let base = Load { clients: CLIENTS, is_cluster: true, ..scale.load(options) };
    endpoints.iter().try_for_each(|endpoint| compare::refill(endpoint, &base))?;
    let bar = ProgressBar::new((COMMANDS.len() * PIPELINES.len() * scale.rounds * 2) as u64);
    let mut text = format!(
        "{CLIENTS} clients that know the slots, half of them at each shard's port; no request goes to the wrong one. The \
         second core runs on CPU {second}{sharing}.\n\n\
         | | pipeline | CPU µs: one | two | two / one | thousand requests/s: one | two | two / one | no dearer |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    for (title, kind) in COMMANDS {
        for pipeline in PIPELINES {
            let load = Load { pipeline, mix: vec![Share { kind, weight: 1 }], ..base.clone() };
            let series = compare::interleave(&endpoints, &load, scale.rounds, &bar)?;
            nothing_went_astray(&series)?;
            let _ = writeln!(text, "{}", row(title, pipeline, &series[0], &series[1]));
        }
    }
    bar.finish_and_clear();
    Ok(text)
}

fn nothing_went_astray(series: &[Series]) -> Result<(), Failure> {
    let problem = |series: &Series| match (series.redirects(), series.nulls()) {
        (0, 0) => None,
        (0, nulls) => Some(format!("{nulls} keys that were set are not there")),
        (redirects, _) => Some(format!("{redirects} requests were redirected by shards whose slots do not move")),
    };
    match series.iter().find_map(|series| Some((series, problem(series)?))) {
        None => Ok(()),
        Some((series, problem)) => Err(Failure::Server { name: series.name.clone(), problem }),
    }
}

fn row(title: &str, pipeline: u64, one: &Series, two: &Series) -> String {
    let shown = |series: &Series, metric, divisor: f64| {
        series.median(metric).map_or("-".to_owned(), |value| figure(value / divisor))
    };
    let cost = two.ratio(one, Metric::CpuTotal);
    format!(
        "| {title} | {pipeline} | {} | {} | {} | {} | {} | {} | {} |",
        shown(one, Metric::CpuTotal, 1.0),
        shown(two, Metric::CpuTotal, 1.0),
        ratio(cost),
        shown(one, Metric::Throughput, 1000.0),
        shown(two, Metric::Throughput, 1000.0),
        ratio(two.ratio(one, Metric::Throughput)),
        cost.map_or("", verdict),
    )
}

/// The claim is that a request costs no more; it fails where all of the interval says otherwise.
fn verdict(cost: Spread) -> &'static str {
    if cost.low <= 1.0 { "pass" } else { "FAIL" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;
    use crate::tally::{Measurement, Tally};

    fn series(micros: [f64; 6]) -> Series {
        let rounds = micros.map(|micros| {
            let mut tally = Tally::default();
            tally.record(1000, 1000);
            let total_nanos = micros * 1e6;
            let cpu = CpuUse { total_nanos, user_nanos: total_nanos, system_nanos: 0.0 };
            Measurement { tally, seconds: 1.0, cpu: Some(cpu) }
        });
        Series { name: "one".to_owned(), rounds: rounds.to_vec() }
    }

    #[test]
    fn a_second_shard_fails_where_it_is_dearer_in_the_whole_interval() {
        let one = series([2.0; 6]);
        let text = row("GET", 16, &one, &series([3.0; 6]));
        assert_eq!(text, "| GET | 16 | 2.00 | 3.00 | 1.50 [1.50–1.50] | 1.00 | 1.00 | 1.00 [1.00–1.00] | FAIL |");
        assert!(row("GET", 16, &one, &series([1.9, 3.0, 3.0, 3.0, 3.0, 3.0])).ends_with("| pass |"));
        assert!(row("GET", 16, &one, &series([1.0; 6])).ends_with("| pass |"));
    }

    #[test]
    fn redirects_and_missing_keys_fail_the_section() {
        assert!(nothing_went_astray(&[series([1.0; 6])]).is_ok());
        let mut astray = series([1.0; 6]);
        astray.rounds[2].tally.nulls = 3;
        let error = nothing_went_astray(&[series([1.0; 6]), astray.clone()]).unwrap_err().to_string();
        assert_eq!(error, "one: 3 keys that were set are not there");
        astray.rounds[2].tally.redirects = 1;
        assert!(nothing_went_astray(&[astray]).unwrap_err().to_string().contains("1 requests were redirected"));
    }
}
