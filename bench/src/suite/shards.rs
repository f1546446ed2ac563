//! Two shards behind the gateway against one: what a hop to the sibling costs.

use super::Scale;
use super::floors::{HOP_MICROS, at_most};
use super::servers::Programs;
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::failure::Failure;
use crate::load::Load;
use crate::report::figure;
use crate::statistics::median;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 3] = [1, 8, 64];
const COMMANDS: [(&str, CommandKind); 2] = [("GET", CommandKind::Get), ("SET", CommandKind::Set)];
/// Keys are even over two shards and connections over two cores, so half of the requests hop.
const HOPS_PER_REQUEST: f64 = 0.5;

/// Measures all rows; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let second = second_cpu(options)?;
    let shared = options.load_cpus.contains(&second);
    let one = programs.start_slotmesh("one shard", &[options.server_cpu])?;
    let two = programs.start_slotmesh("two shards", &[options.server_cpu, second])?;
    let endpoints = [one.endpoint.clone(), two.endpoint.clone()];
    let base = Load { clients: CLIENTS, ..scale.load(options) };
    endpoints.iter().try_for_each(|endpoint| compare::fill(endpoint, &base))?;
    let bar = ProgressBar::new((COMMANDS.len() * PIPELINES.len() * scale.rounds * 2) as u64);
    let sharing = if shared { ", which it shares with the load, so only CPU time can be compared" } else { "" };
    let mut text = format!(
        "{CLIENTS} clients; the second core runs on CPU \
         {second}{sharing}. Half of the requests hop to the sibling; the hop's cost is twice the difference.\n\n\
         | | pipeline | CPU µs: one | two | two / one | hop µs | thousand requests/s: one | two | two / one | |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    for (title, kind) in COMMANDS {
        for pipeline in PIPELINES {
            let load = Load { pipeline, mix: vec![Share { kind, weight: 1 }], ..base.clone() };
            let series = compare::interleave(&endpoints, &load, scale.rounds, &bar)?;
            let _ = writeln!(text, "{}", row(title, pipeline, &series[0], &series[1]));
        }
    }
    bar.finish_and_clear();
    Ok(text)
}

/// A CPU that neither the first core nor the load has; the load's if there is none.
pub(super) fn second_cpu(options: &SuiteOptions) -> Result<usize, Failure> {
    let allowed = slotmesh_io::allowed_cpus()
        .map_err(|error| Failure::Kernel { what: "cannot tell the CPUs that we may use", error })?;
    let taken = |cpu: &usize| *cpu == options.server_cpu || options.load_cpus.contains(cpu);
    let spare = allowed.iter().copied().find(|cpu| !taken(cpu));
    Ok(spare.or(options.load_cpus.first().copied()).unwrap_or(options.server_cpu))
}

fn row(title: &str, pipeline: u64, one: &Series, two: &Series) -> String {
    let micros = |series: &Series| series.values(Metric::CpuTotal).unwrap_or_default();
    let differences: Vec<_> = micros(one).iter().zip(micros(two)).map(|(one, two)| two - one).collect();
    let hop = median(&differences) / HOPS_PER_REQUEST;
    // Where batches are long both cores are busy, which is what the floor is about.
    let verdict = match pipeline {
        64 => format!("hop ≤ {HOP_MICROS} µs: {}", at_most(hop, HOP_MICROS)),
        _ => String::new(),
    };
    let shown = |series: &Series, metric, divisor: f64| {
        series.median(metric).map_or("-".to_owned(), |value| figure(value / divisor))
    };
    format!(
        "| {title} | {pipeline} | {} | {} | {} | {} | {} | {} | {} | {verdict} |",
        shown(one, Metric::CpuTotal, 1.0),
        shown(two, Metric::CpuTotal, 1.0),
        ratio(two.ratio(one, Metric::CpuTotal)),
        figure(hop),
        shown(one, Metric::Throughput, 1000.0),
        shown(two, Metric::Throughput, 1000.0),
        ratio(two.ratio(one, Metric::Throughput)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;
    use crate::tally::{Measurement, Tally};

    #[test]
    fn a_hop_costs_twice_the_difference() {
        let series = |micros: f64| {
            let mut tally = Tally::default();
            tally.record(1000, 1000);
            let total_nanos = micros * 1e6;
            let cpu = CpuUse { total_nanos, user_nanos: total_nanos, system_nanos: 0.0 };
            Series { name: String::new(), rounds: vec![Measurement { tally, seconds: 1.0, cpu: Some(cpu) }; 3] }
        };
        let text = row("GET", 64, &series(0.5), &series(0.6));
        assert!(text.starts_with("| GET | 64 | 0.500 | 0.600 | 1.20 [1.20–1.20] | 0.200 |"), "{text}");
        assert!(text.contains("FAIL"), "{text}");
        assert!(row("GET", 64, &series(0.5), &series(0.55)).contains("pass"));
        assert!(row("GET", 8, &series(0.5), &series(0.6)).ends_with("|  |"));
    }
}
