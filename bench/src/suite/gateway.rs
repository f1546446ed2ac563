//! The gateway across hosts: its own CPU per request beside twemproxy's, the latency that each adds, and what a hop costs in
//! a process and to another one.

mod stages;

use super::floors::below;
use super::servers::Programs;
use super::shards::second_cpu;
use super::speed::ratio;
use super::{Scale, other_load};
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::load::Load;
use crate::report::figure;
use crate::statistics::median;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use stages::{Folder, Gated, Kind, SHARDS, Twemproxy, start_inside, twemproxy_version};
use std::fmt::Write;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 3] = [1, 8, 64];
const COMMANDS: [(&str, CommandKind); 3] =
    [("GET", CommandKind::Get), ("SET", CommandKind::Set), ("MGET, 10 keys", CommandKind::MGet(10))];
/// Of one key: what a client that knows the slots can send itself.
const SINGLE: [(&str, CommandKind); 2] = [COMMANDS[0], COMMANDS[1]];
/// Clients and requests per second where latency is read: far from what anybody's limit is.
const CALM_CLIENTS: usize = 10;
const CALM_RATE: f64 = 5000.0;
/// In a process with one shard and two cores half of the connections are on the core that has none.
const HOPS_PER_REQUEST: f64 = 0.5;

/// Measures all tables; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let folder = Folder::new()?;
    let node_cpu = second_cpu(options)?;
    let before = other_load();
    let base = Load { clients: CLIENTS, ..scale.load(options) };
    let mut text = format!(
        "{SHARDS} redis-server without persistence behind each proxy: plain ones behind twemproxy ({}), a cluster behind a \
         process of ours that has joined it without slots (`cores 1`). Proxies on CPU {}, all servers with the load on CPU \
         {node_cpu}; {} keys of {} B, values of {} B; {before}. CPU is the proxy's own.\n\n",
        twemproxy_version(),
        options.server_cpu,
        base.keys,
        base.sizes.key_bytes,
        base.sizes.value_bytes
    );
    let twemproxy = Twemproxy::start(programs, &folder, node_cpu, options.server_cpu)?;
    let redis = Gated::start(programs, &folder, Kind::Redis, SHARDS, node_cpu, options.server_cpu)?;
    let proxies = [twemproxy.proxy.endpoint.clone(), redis.gateway("slotmesh")];
    proxies.iter().try_for_each(|endpoint| compare::refill(endpoint, &base))?;
    write_costs(&mut text, &proxies, &base, scale.rounds)?;
    let [through, ours] = proxies;
    write_latencies(&mut text, &redis.direct("direct"), &[through, ours], &base, scale.rounds)?;
    drop((twemproxy, redis));
    write_hops(&mut text, options, scale, programs, &folder, node_cpu)?;
    Ok(text)
}

fn of(kind: CommandKind, load: &Load) -> Load {
    Load { mix: vec![Share { kind, weight: 1 }], ..load.clone() }
}

fn write_costs(text: &mut String, proxies: &[Endpoint; 2], base: &Load, rounds: usize) -> Result<(), Failure> {
    let bar = ProgressBar::new((COMMANDS.len() * PIPELINES.len() * rounds * proxies.len()) as u64);
    let _ = write!(
        text,
        "### The proxy's CPU, {CLIENTS} clients\n\n\
         | | pipeline | CPU µs per request: nutcracker | slotmesh | slotmesh / nutcracker | thousand requests/s: nutcracker \
         | slotmesh | slotmesh / nutcracker | below |\n|---|--:|--:|--:|--:|--:|--:|--:|---|\n"
    );
    for (title, kind) in COMMANDS {
        for pipeline in PIPELINES {
            let series = compare::interleave(proxies, &Load { pipeline, ..of(kind, base) }, rounds, &bar)?;
            nothing_is_missing(&series)?;
            let _ = writeln!(text, "{}", cost_row(title, pipeline, &series[0], &series[1]));
        }
    }
    bar.finish_and_clear();
    Ok(())
}

fn nothing_is_missing(series: &[Series]) -> Result<(), Failure> {
    match series.iter().find(|series| series.nulls() > 0 || series.redirects() > 0) {
        None => Ok(()),
        Some(Series { name, .. }) => {
            let problem = "keys that were set are not there, or a client was redirected".to_owned();
            Err(Failure::Server { name: name.clone(), problem })
        }
    }
}

fn cost_row(title: &str, pipeline: u64, nutcracker: &Series, slotmesh: &Series) -> String {
    let cost = slotmesh.ratio(nutcracker, Metric::CpuTotal);
    format!(
        "| {title} | {pipeline} | {} | {} | {} | {} | {} | {} | {} |",
        shown(nutcracker, Metric::CpuTotal, 1.0),
        shown(slotmesh, Metric::CpuTotal, 1.0),
        ratio(cost),
        shown(nutcracker, Metric::Throughput, 1000.0),
        shown(slotmesh, Metric::Throughput, 1000.0),
        ratio(slotmesh.ratio(nutcracker, Metric::Throughput)),
        cost.map_or(String::new(), |cost| below(cost, 1.0).to_string()),
    )
}

fn shown(series: &Series, metric: Metric, divisor: f64) -> String {
    series.median(metric).map_or("-".to_owned(), |value| figure(value / divisor))
}

/// The same load straight to the cluster's nodes and through the proxies, in turn.
fn write_latencies(
    text: &mut String,
    direct: &Endpoint,
    proxies: &[Endpoint; 2],
    base: &Load,
    rounds: usize,
) -> Result<(), Failure> {
    let _ = write!(
        text,
        "\n### Latency added to direct\n\n{CALM_CLIENTS} clients, {CALM_RATE} requests per second by the clock (open loop); \
         direct are clients that know the slots of the cluster. What a proxy adds is the median of the differences within \
         rounds.\n\n\
         | | p50 µs: direct | nutcracker adds | slotmesh adds | p99 µs: direct | nutcracker adds | slotmesh adds |\n\
         |---|--:|--:|--:|--:|--:|--:|\n"
    );
    let endpoints = [direct.clone(), proxies[0].clone(), proxies[1].clone()];
    let names: Vec<_> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    let bar = ProgressBar::new((SINGLE.len() * rounds * endpoints.len()) as u64);
    for (title, kind) in SINGLE {
        let calm = Load { clients: CALM_CLIENTS, rate: Some(CALM_RATE), ..of(kind, base) };
        let series = compare::in_rounds(&names, base.seed, rounds, &bar, |index, round| {
            let load = Load { is_cluster: index == 0, seed: base.seed.wrapping_add(round as u64), ..calm.clone() };
            crate::generator::run(&endpoints[index], &load, &ProgressBar::hidden())
        })?;
        let _ = writeln!(text, "{}", latency_row(title, &series));
    }
    bar.finish_and_clear();
    Ok(())
}

fn latency_row(title: &str, series: &[Series]) -> String {
    let cells = [Metric::P50, Metric::P99].map(|metric| {
        let added = series[1..].iter().map(|one| figure(median(&differences(one, &series[0], metric))));
        std::iter::once(shown(&series[0], metric, 1.0)).chain(added).collect::<Vec<_>>().join(" | ")
    });
    format!("| {title} | {} |", cells.join(" | "))
}

/// By how much a metric is greater than the baseline's, round by round.
fn differences(series: &Series, baseline: &Series, metric: Metric) -> Vec<f64> {
    let [values, base] = [series, baseline].map(|series| series.values(metric).unwrap_or_default());
    values.iter().zip(base).map(|(value, base)| value - base).collect()
}

/// One shard of ours: at its port, through the gateway of its process, and through that of another process.
fn write_hops(
    text: &mut String,
    options: &SuiteOptions,
    scale: &Scale,
    programs: &Programs,
    folder: &Folder,
    node_cpu: usize,
) -> Result<(), Failure> {
    let base = Load { clients: CLIENTS, ..scale.load(options) };
    let inside = start_inside(programs, folder, "in process", &[options.server_cpu, node_cpu])?;
    let remote = Gated::start(programs, folder, Kind::Slotmesh, 1, options.server_cpu, node_cpu)?;
    let endpoints = [remote.direct("direct"), inside.endpoint.clone(), remote.all("remote")];
    endpoints[1..].iter().try_for_each(|endpoint| compare::refill(endpoint, &base))?;
    let _ = write!(
        text,
        "\n### A hop to a shard of ours, in process and remote\n\nOne shard on CPU {}. Direct: at its port. In process: a \
         gateway of two cores, of which the second has no shard, on CPU {node_cpu}; half of the requests hop, and what a hop \
         costs is twice the difference. Remote: a process without slots on CPU {node_cpu}. CPU is that of all processes of \
         ours together; {CLIENTS} clients, or {CALM_CLIENTS} at {CALM_RATE} requests per second where latency is read.\n\n\
         | | pipeline | CPU µs per request: direct | in process | / direct | remote | / direct | a hop in process, µs | remote, µs |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        options.server_cpu
    );
    let bar = ProgressBar::new((SINGLE.len() * (PIPELINES.len() + 1) * scale.rounds * endpoints.len()) as u64);
    for (title, kind) in SINGLE {
        for pipeline in PIPELINES {
            let load = Load { pipeline, ..of(kind, &base) };
            let series = compare::interleave(&endpoints, &load, scale.rounds, &bar)?;
            nothing_is_missing(&series)?;
            let _ = writeln!(text, "{}", hop_row(title, pipeline, &series));
        }
    }
    text.push_str(
        "\n| | p50 µs: direct | in process | / direct | remote | / direct | p99 µs: direct | in process | / direct | remote \
         | / direct |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for (title, kind) in SINGLE {
        let load = Load { clients: CALM_CLIENTS, rate: Some(CALM_RATE), ..of(kind, &base) };
        let series = compare::interleave(&endpoints, &load, scale.rounds, &bar)?;
        let cells = [Metric::P50, Metric::P99].map(|metric| beside_direct(&series, metric));
        let _ = writeln!(text, "| {title} | {} |", cells.join(" | "));
    }
    bar.finish_and_clear();
    Ok(())
}

fn hop_row(title: &str, pipeline: u64, series: &[Series]) -> String {
    let hop = |index: usize, per_request: f64| {
        figure(median(&differences(&series[index], &series[0], Metric::CpuTotal)) / per_request)
    };
    let (inside, remote) = (hop(1, HOPS_PER_REQUEST), hop(2, 1.0));
    format!("| {title} | {pipeline} | {} | {inside} | {remote} |", beside_direct(series, Metric::CpuTotal))
}

/// A metric of the first, then of each other one, with its ratio to the first.
fn beside_direct(series: &[Series], metric: Metric) -> String {
    let others = series[1..].iter().flat_map(|one| [shown(one, metric, 1.0), ratio(one.ratio(&series[0], metric))]);
    std::iter::once(shown(&series[0], metric, 1.0)).chain(others).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;
    use crate::tally::{Measurement, Tally};

    fn series(micros: f64) -> Series {
        let mut tally = Tally::default();
        tally.record(micros as u64 * 1000, 1000);
        let cpu = CpuUse { total_nanos: micros * 1e6, user_nanos: micros * 1e6, system_nanos: 0.0 };
        Series { name: "one".to_owned(), rounds: vec![Measurement { tally, seconds: 1.0, cpu: Some(cpu) }; 6] }
    }

    #[test]
    fn a_dearer_gateway_fails_its_row() {
        let row = cost_row("GET", 8, &series(4.0), &series(2.0));
        assert_eq!(row, "| GET | 8 | 4.00 | 2.00 | 0.50 [0.50–0.50] | 1.00 | 1.00 | 1.00 [1.00–1.00] | pass |");
        assert!(cost_row("GET", 8, &series(4.0), &series(5.0)).ends_with("| FAIL |"));
        assert!(cost_row("GET", 8, &series(4.0), &series(4.0)).ends_with("| FAIL |"), "as dear is not below");
    }

    #[test]
    fn what_is_added_is_the_difference_to_direct() {
        let row = latency_row("SET", &[series(10.0), series(30.0), series(25.0)]);
        assert!(row.starts_with("| SET | 10.0 | 20.0 | 15.0 | 10.0 | 20.0 | 15.0 |"), "{row}");
    }

    #[test]
    fn a_hop_in_process_is_of_half_of_the_requests() {
        let row = hop_row("GET", 1, &[series(4.0), series(5.0), series(8.0)]);
        assert_eq!(row, "| GET | 1 | 4.00 | 5.00 | 1.25 [1.25–1.25] | 8.00 | 2.00 [2.00–2.00] | 2.00 | 4.00 |");
    }
}
