//! Memory per key, swept over numbers of keys: tables grow in steps, so one number of keys may flatter.

use super::Scale;
use super::floors::{BYTES_PER_EXPIRY, BYTES_PER_KEY, at_most};
use super::servers::{Programs, Server};
use crate::arguments::SuiteOptions;
use crate::cpu_time::resident_bytes;
use crate::failure::Failure;
use crate::generator;
use crate::load::{Extent, Load};
use crate::workload::{CommandKind, Sizes};
use indicatif::ProgressBar;
use std::fmt::Write;
use std::time::Duration;

const SIZES: Sizes = Sizes { key_bytes: 16, value_bytes: 16 };
/// Resident memory has settled when it is read the same so many times in a row.
const SETTLED_READINGS: u32 = 3;
const SETTLE_INTERVAL: Duration = Duration::from_millis(100);
/// Most readings.
const READINGS_MAX: u32 = 30;

/// Requests without keys before the empty process is looked at: enough to touch every receive buffer.
const TRAFFIC_REQUESTS: u64 = 300_000;

/// Bytes per key of one server at each step.
type Sweep = Vec<f64>;

/// Measures all sweeps; the text of the section.
///
/// # Errors
/// If a server or a run failed.
pub(super) fn measure(options: &SuiteOptions, scale: &Scale, programs: &Programs) -> Result<String, Failure> {
    let cpu = options.server_cpu;
    let steps = &scale.memory_steps;
    let load = Load { sizes: SIZES, keys: *steps.last().expect("there are steps"), ..scale.load(options) };
    let bar = ProgressBar::new(4 * steps.len() as u64);
    let redis = || programs.start_redis(cpu);
    let ours = || programs.start_slotmesh("slotmesh", &[cpu]);
    // One server at a time, each new, so that it is alone with its memory.
    let sweeps = [
        sweep(redis()?, CommandKind::Set, &load, steps, &bar)?,
        sweep(ours()?, CommandKind::Set, &load, steps, &bar)?,
        sweep(redis()?, CommandKind::SetEx, &load, steps, &bar)?,
        sweep(ours()?, CommandKind::SetEx, &load, steps, &bar)?,
    ];
    bar.finish_and_clear();
    Ok(section(steps, &sweeps))
}

fn sweep(server: Server, kind: CommandKind, load: &Load, steps: &[u64], bar: &ProgressBar) -> Result<Sweep, Failure> {
    // Buffers of connections become resident with the first traffic, however few keys there are; so the empty
    // process is one that has served as many connections.
    let echoes = Load { extent: Extent::Requests(TRAFFIC_REQUESTS), ..load.filling(CommandKind::Echo, 0, 1) };
    generator::run(&server.endpoint, &echoes, &ProgressBar::hidden())?;
    let empty = settled_bytes(&server)?;
    let mut before = 0;
    steps
        .iter()
        .map(|&keys| {
            generator::run(&server.endpoint, &load.filling(kind, before, keys), &ProgressBar::hidden())?;
            before = keys;
            let bytes = settled_bytes(&server)?.saturating_sub(empty);
            bar.inc(1);
            Ok(bytes as f64 / keys as f64)
        })
        .collect()
}

/// Resident memory once it does not change any more.
fn settled_bytes(server: &Server) -> Result<u64, Failure> {
    let read = || resident_bytes(server.pid()).map_err(|error| Failure::Process { pid: server.pid(), error });
    let (mut bytes, mut same) = (read()?, 1);
    for _ in 1..READINGS_MAX {
        std::thread::sleep(SETTLE_INTERVAL);
        let now = read()?;
        same = if now == bytes { same + 1 } else { 1 };
        bytes = now;
        if same == SETTLED_READINGS {
            break;
        }
    }
    Ok(bytes)
}

fn section(steps: &[u64], [redis, ours, redis_expiring, ours_expiring]: &[Sweep; 4]) -> String {
    let mut text = format!(
        "Bytes of resident memory per key, less the empty process (after traffic that stores \
         nothing); keys of {} B, values of {} B.\n\n\
         | keys | redis | slotmesh | redis, with expiry | slotmesh, with expiry | an expiry adds |\n\
         |--:|--:|--:|--:|--:|--:|\n",
        SIZES.key_bytes, SIZES.value_bytes
    );
    for (index, keys) in steps.iter().enumerate() {
        let _ = writeln!(
            text,
            "| {keys} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} |",
            redis[index],
            ours[index],
            redis_expiring[index],
            ours_expiring[index],
            ours_expiring[index] - ours[index],
        );
    }
    let worst = |sweep: &Sweep| sweep.iter().copied().fold(f64::MIN, f64::max);
    // The steps of growth of both sweeps need not meet, so the worst points are compared.
    let expiry = worst(ours_expiring) - worst(ours);
    let _ = write!(
        text,
        "\n- Worst point: redis {:.1}, slotmesh {:.1}; floor ≤ {BYTES_PER_KEY}: {}\n\
         - Worst point with expiry: redis {:.1}, slotmesh {:.1}, so an expiry adds {expiry:.1}; floor ≤ \
         {BYTES_PER_EXPIRY}: {}\n",
        worst(redis),
        worst(ours),
        at_most(worst(ours), BYTES_PER_KEY),
        worst(redis_expiring),
        worst(ours_expiring),
        at_most(expiry, BYTES_PER_EXPIRY),
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_point_is_judged() {
        let text = section(&[100, 200], &[vec![120.0, 100.0], vec![60.0, 71.0], vec![150.0, 140.0], vec![75.0, 80.0]]);
        assert!(text.contains("| 200 | 100.0 | 71.0 | 140.0 | 80.0 | 9.0 |"), "{text}");
        assert!(text.contains("redis 120.0, slotmesh 71.0; floor ≤ 70: FAIL"), "{text}");
        assert!(text.contains("an expiry adds 9.0; floor ≤ 12: pass"), "{text}");
    }
}
