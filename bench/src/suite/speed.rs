//! CPU per request, throughput and latency of one core, by clients and pipeline.

use super::Scale;
use super::floors::Floor;
use super::servers::{Programs, Server};
use crate::arguments::SuiteOptions;
use crate::compare::{self, Series};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::load::Load;
use crate::report::figure;
use crate::statistics::Spread;
use crate::tally::Metric;
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;

const CLIENTS: [usize; 3] = [1, 50, 500];
const PIPELINES: [u64; 3] = [1, 8, 64];
const COMMANDS: [(&str, CommandKind); 2] = [("GET", CommandKind::Get), ("SET", CommandKind::Set)];

/// One load and what the three servers made of it.
#[derive(Debug)]
struct Cell {
    clients: usize,
    pipeline: u64,
    redis: Series,
    slotmesh: Series,
    echo: Series,
}

/// Measures all cells; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let cpu = options.server_cpu;
    let servers = [programs.start_redis(cpu)?, programs.start_slotmesh("slotmesh", &[cpu])?, programs.start_echo(cpu)?];
    let base = scale.load(options);
    // The echo has nothing to fill.
    servers[..2].iter().try_for_each(|server| compare::fill(&server.endpoint, &base))?;
    let cells = COMMANDS.len() * CLIENTS.len() * PIPELINES.len();
    let bar = ProgressBar::new((cells * scale.rounds * servers.len()) as u64);
    let mut text = format!(
        "{} keys of {} B, values of {} B, one shard.\n",
        base.keys, base.sizes.key_bytes, base.sizes.value_bytes
    );
    for (title, kind) in COMMANDS {
        let mut cells = Vec::new();
        for clients in CLIENTS {
            for pipeline in PIPELINES {
                let load = Load { clients, pipeline, mix: vec![Share { kind, weight: 1 }], ..base.clone() };
                cells.push(measure_cell(&servers, &load, scale.rounds, &bar)?);
            }
        }
        write_tables(&mut text, title, &cells);
    }
    bar.finish_and_clear();
    Ok(text)
}

fn measure_cell(servers: &[Server; 3], load: &Load, rounds: usize, bar: &ProgressBar) -> Result<Cell, Failure> {
    let endpoints: Vec<Endpoint> = servers.iter().map(|server| server.endpoint.clone()).collect();
    let series = compare::interleave(&endpoints, load, rounds, bar)?;
    if let Some(forgetful) = series.iter().find(|series| series.nulls() > 0) {
        let problem = "keys that were set are not there".to_owned();
        return Err(Failure::Server { name: forgetful.name.clone(), problem });
    }
    let [redis, slotmesh, echo] = series.try_into().expect("one series for each of three servers");
    Ok(Cell { clients: load.clients, pipeline: load.pipeline, redis, slotmesh, echo })
}

fn write_tables(text: &mut String, title: &str, cells: &[Cell]) {
    let _ = write!(
        text,
        "\n### {title}: CPU µs per request (user + system)\n\n\
         | clients | pipeline | redis | slotmesh | echo | slotmesh / redis | slotmesh / echo | floor | |\n\
         |--:|--:|--:|--:|--:|--:|--:|---|---|\n"
    );
    for cell in cells {
        let _ = writeln!(text, "{}", cell.cpu_row());
    }
    let _ = write!(
        text,
        "\n### {title}: throughput and latency (redis · slotmesh · echo)\n\n\
         | clients | pipeline | thousand requests/s | slotmesh / redis | server's CPU % | p50 µs | p99 µs | \
         p99.9 µs |\n\
         |--:|--:|--:|--:|--:|--:|--:|--:|\n"
    );
    for cell in cells {
        let _ = writeln!(text, "{}", cell.throughput_row());
    }
}

impl Cell {
    fn cpu_row(&self) -> String {
        let cpu = |series: &Series| {
            let [total, user, system] = [Metric::CpuTotal, Metric::CpuUser, Metric::CpuSystem]
                .map(|metric| series.median(metric).map_or("-".to_owned(), figure));
            format!("{total} ({user} + {system})")
        };
        let to_redis = self.slotmesh.ratio(&self.redis, Metric::CpuTotal);
        let to_echo = self.slotmesh.ratio(&self.echo, Metric::CpuTotal);
        let (floor, verdict) = match (Floor::of(self.clients, self.pipeline), to_redis.zip(to_echo)) {
            (Some(floor), Some((redis, echo))) => (floor.describe(), floor.verdict(redis, echo).to_string()),
            _ => (String::new(), String::new()),
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {floor} | {verdict} |",
            self.clients,
            self.pipeline,
            cpu(&self.redis),
            cpu(&self.slotmesh),
            cpu(&self.echo),
            ratio(to_redis),
            ratio(to_echo),
        )
    }

    fn throughput_row(&self) -> String {
        let all = |metric: Metric, divisor: f64| {
            [&self.redis, &self.slotmesh, &self.echo]
                .map(|series| series.median(metric).map_or("-".to_owned(), |value| figure(value / divisor)))
                .join(" · ")
        };
        format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            self.clients,
            self.pipeline,
            all(Metric::Throughput, 1000.0),
            ratio(self.slotmesh.ratio(&self.redis, Metric::Throughput)),
            all(Metric::Busy, 0.01),
            all(Metric::P50, 1.0),
            all(Metric::P99, 1.0),
            all(Metric::P999, 1.0),
        )
    }
}

/// A ratio with the interval of its median.
pub(super) fn ratio(spread: Option<Spread>) -> String {
    spread.map_or("-".to_owned(), |spread| {
        let [median, low, high] = [spread.median, spread.low, spread.high].map(|value| match value {
            value if value < 0.2 => format!("{value:.3}"),
            value => format!("{value:.2}"),
        });
        format!("{median} [{low}–{high}]")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu_time::CpuUse;
    use crate::tally::{Measurement, Tally};

    fn series(micros: f64) -> Series {
        let mut tally = Tally::default();
        tally.record(20_000, 1000);
        let cpu = CpuUse { total_nanos: micros * 1e6, user_nanos: micros * 0.25e6, system_nanos: micros * 0.75e6 };
        let round = Measurement { tally, seconds: 0.01, cpu: Some(cpu) };
        Series { name: String::new(), rounds: vec![round; 6] }
    }

    #[test]
    fn rows_show_all_servers_ratios_and_the_verdict() {
        let cell = Cell { clients: 50, pipeline: 8, redis: series(8.0), slotmesh: series(2.0), echo: series(1.0) };
        assert_eq!(
            cell.cpu_row(),
            "| 50 | 8 | 8.00 (2.00 + 6.00) | 2.00 (0.500 + 1.50) | 1.00 (0.250 + 0.750) | 0.25 [0.25–0.25] | \
             2.00 [2.00–2.00] | ≤ 0.50 × redis | pass |"
        );
        let row = cell.throughput_row();
        assert!(row.starts_with("| 50 | 8 | 100 · 100 · 100 | 1.00 [1.00–1.00] | 80.0 · "), "{row}");
    }

    #[test]
    fn cells_without_a_floor_have_no_verdict() {
        let cell = Cell { clients: 1, pipeline: 1, redis: series(8.0), slotmesh: series(9.0), echo: series(1.0) };
        assert!(cell.cpu_row().ends_with("|  |  |"));
    }
}
