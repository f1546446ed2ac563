//! What writes cost that go to an append-only file, by when they are synced.

use super::Scale;
use super::folder::Folder;
use super::other_load;
use super::servers::{Programs, Server};
use super::speed::ratio;
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::load::Load;
use crate::report::figure;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;
use std::path::Path;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 2] = [1, 16];
const POLICIES: [&str; 3] = ["no", "everysec", "always"];

/// Measures all policies; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let base = Load { keys: scale.keys.min(100_000), ..scale.load(options) };
    let bar = ProgressBar::new((POLICIES.len() * PIPELINES.len() * scale.rounds * 2) as u64);
    let load = other_load();
    let mut text = format!(
        "SET of {} keys of {} B, values of {} B, {CLIENTS} clients, one shard, `appendonly yes`, without rewrites; the \
         folders of both servers on one disk; {load}.\n\n\
         | appendfsync | pipeline | thousand SET/s: redis | slotmesh | slotmesh / redis | CPU µs per SET: redis | \
         slotmesh | slotmesh / redis | p99 µs: redis | slotmesh |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        base.keys, base.sizes.key_bytes, base.sizes.value_bytes,
    );
    for policy in POLICIES {
        let folders = [Folder::new("durability-redis")?, Folder::new("durability-slotmesh")?];
        let servers = [
            start(programs, true, options.server_cpu, policy, folders[0].path())?,
            start(programs, false, options.server_cpu, policy, folders[1].path())?,
        ];
        let endpoints: Vec<Endpoint> = servers.iter().map(|server| server.endpoint.clone()).collect();
        for pipeline in PIPELINES {
            let mix = vec![Share { kind: CommandKind::Set, weight: 1 }];
            let load = Load { clients: CLIENTS, pipeline, mix, ..base.clone() };
            let series = compare::interleave(&endpoints, &load, scale.rounds, &bar)?;
            let [redis, slotmesh] = series.try_into().expect("one series for each of two servers");
            let _ = writeln!(text, "{}", row(policy, pipeline, &redis, &slotmesh));
        }
    }
    bar.finish_and_clear();
    Ok(text)
}

/// A server that writes to an append-only file in that folder.
fn start(programs: &Programs, is_redis: bool, cpu: usize, policy: &str, folder: &Path) -> Result<Server, Failure> {
    let name = if is_redis { "redis" } else { "slotmesh" };
    let extend = |mut command: std::process::Command| {
        command.args(["--appendonly", "yes", "--appendfsync", policy, "--auto-aof-rewrite-percentage", "0"]);
        command.arg("--save").arg("").arg("--dir").arg(folder);
        command
    };
    match is_redis {
        true => programs.start_redis_with(name, cpu, extend),
        false => programs.start_slotmesh_with(name, &[cpu], extend),
    }
}

fn row(policy: &str, pipeline: u64, redis: &Series, slotmesh: &Series) -> String {
    let value = |series: &Series, metric: Metric, divisor: f64| {
        series.median(metric).map_or("-".to_owned(), |value| figure(value / divisor))
    };
    format!(
        "| {policy} | {pipeline} | {} | {} | {} | {} | {} | {} | {} | {} |",
        value(redis, Metric::Throughput, 1000.0),
        value(slotmesh, Metric::Throughput, 1000.0),
        ratio(slotmesh.ratio(redis, Metric::Throughput)),
        value(redis, Metric::CpuTotal, 1.0),
        value(slotmesh, Metric::CpuTotal, 1.0),
        ratio(slotmesh.ratio(redis, Metric::CpuTotal)),
        value(redis, Metric::P99, 1.0),
        value(slotmesh, Metric::P99, 1.0),
    )
}
