//! Commands on strings, keys and bits on one core, beside redis-server.

use super::Scale;
use super::lists::{COLUMNS, row};
use super::servers::Programs;
use crate::arguments::SuiteOptions;
use crate::compare;
use crate::failure::Failure;
use crate::load::{Extent, Load};
use crate::workload::{CommandKind, Share};
use indicatif::ProgressBar;
use std::fmt::Write;

const CLIENTS: usize = 50;
const PIPELINES: [u64; 2] = [1, 16];
const COMMANDS: [(&str, CommandKind); 6] = [
    ("INCR", CommandKind::Incr),
    ("APPEND", CommandKind::Append),
    ("SETBIT", CommandKind::SetBit),
    ("GETRANGE", CommandKind::GetRange),
    ("MGET, 10 keys", CommandKind::MGet(10)),
    ("EXPIRE", CommandKind::Expire),
];
/// A run takes so much of those of the other tables.
const SHORTER: f64 = 2.0 / 3.0;
/// Requests of a round of APPEND at a pipeline of 1; a time would leave one server with longer strings.
const APPENDS_PER_SECOND: f64 = 150_000.0;
/// With longer batches there are so many times more of them, at most: a round takes about as long.
const APPENDS_FACTOR_MAX: u64 = 4;

/// Measures all rows; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let seconds = scale.seconds * SHORTER;
    let base = Load { clients: CLIENTS, extent: Extent::Seconds(seconds), ..scale.load(options) };
    let bar = ProgressBar::new((COMMANDS.len() * PIPELINES.len() * scale.rounds * 2) as u64);
    let mut text = format!(
        "{CLIENTS} clients, one shard; rounds of {seconds:.2} s. Each command has {} keys of {} B, all there before: \
         counters, values of {} B, bitmaps of 32 B (SETBIT of a bit at a place of chance), values that have an expiry. \
         GETRANGE reads the middle half of a value. APPEND appends {} B; its strings are made short again before each \
         row, and a round is a number of requests, the same for both servers, without warm-up.\n\n{COLUMNS}",
        base.keys, base.sizes.key_bytes, base.sizes.value_bytes, base.sizes.value_bytes
    );
    let cpu = options.server_cpu;
    let servers = [programs.start_redis(cpu)?, programs.start_slotmesh("slotmesh", &[cpu])?];
    let endpoints = servers.each_ref().map(|server| server.endpoint.clone());
    for (title, kind) in COMMANDS {
        for (place, pipeline) in PIPELINES.into_iter().enumerate() {
            let load = load_of(kind, pipeline, &base, seconds);
            if place == 0 || kind == CommandKind::Append {
                endpoints.iter().try_for_each(|endpoint| compare::refill(endpoint, &load))?;
            }
            let series = compare::interleave(&endpoints, &load, scale.rounds, &bar)?;
            if let Some(forgetful) = series.iter().find(|series| series.nulls() > 0) {
                let problem = format!("{title}: keys that were set are not there");
                return Err(Failure::Server { name: forgetful.name.clone(), problem });
            }
            let _ = writeln!(text, "{}", row(title, pipeline, &series[0], &series[1]));
        }
    }
    bar.finish_and_clear();
    Ok(text)
}

fn load_of(kind: CommandKind, pipeline: u64, base: &Load, seconds: f64) -> Load {
    let load = Load { pipeline, mix: vec![Share { kind, weight: 1 }], ..base.clone() };
    if kind != CommandKind::Append {
        return load;
    }
    let appends = (seconds * APPENDS_PER_SECOND) as u64 * pipeline.min(APPENDS_FACTOR_MAX);
    Load { extent: Extent::Requests(appends), warmup_seconds: 0.0, ..load }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_grow_alike_on_both_servers_and_not_for_ever() {
        let base = Load { extent: Extent::Seconds(0.4), keys: 1_000_000, ..crate::arguments::default_load() };
        let append = load_of(CommandKind::Append, 16, &base, 0.4);
        assert_eq!((append.extent, append.warmup_seconds), (Extent::Requests(240_000), 0.0));
        let incr = load_of(CommandKind::Incr, 16, &base, 0.4);
        assert_eq!((incr.extent, incr.warmup_seconds, incr.pipeline), (base.extent, base.warmup_seconds, 16));
    }

    /// A row must not be about what the one before has left behind.
    #[test]
    fn every_command_has_what_it_is_about() {
        let base = crate::arguments::default_load();
        for (title, kind) in COMMANDS {
            assert_eq!(load_of(kind, 1, &base, 0.1).fillers(), [kind.filler(base.list_elements)], "{title}");
        }
    }
}
