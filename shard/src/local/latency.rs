//! LATENCY.

use super::Node;
use crate::{Distribution, DoctorFacts, LatencyMonitor};
use slotmesh_base::UnixMillis;
use slotmesh_command::{Spec, find_full, rows};
use slotmesh_conf::directive;
use slotmesh_resp::{Args, Reply};
use std::sync::MutexGuard;

fn monitor(node: &dyn Node) -> MutexGuard<'_, LatencyMonitor> {
    node.latency().lock().expect("no holder panics")
}

pub(super) fn latest(node: &dyn Node, reply: &mut Reply<'_>) {
    let monitor = monitor(node);
    reply.array(monitor.events().len());
    for (event, series) in monitor.events() {
        let latest = series.latest().unwrap_or(crate::LatencySample { at_secs: 0, millis: 0 });
        reply.array(4);
        reply.bulk(event.name().as_bytes());
        reply.integer(latest.at_secs);
        reply.integer(latest.millis as i64);
        reply.integer(series.max_millis() as i64);
    }
}

pub(super) fn history(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let monitor = monitor(node);
    let Some((_, series)) = monitor.find(args.at(2)) else { return reply.array(0) };
    reply.array(series.samples().len());
    for sample in series.samples() {
        reply.array(2);
        reply.integer(sample.at_secs);
        reply.integer(sample.millis as i64);
    }
}

pub(super) fn reset(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let mut monitor = monitor(node);
    let count = match args.len() {
        2 => monitor.reset(None),
        _ => args.iter_from(2).map(|name| monitor.reset(Some(name))).sum(),
    };
    reply.integer(count as i64);
}

pub(super) fn graph(args: Args<'_>, node: &dyn Node, now: UnixMillis, reply: &mut Reply<'_>) {
    let monitor = monitor(node);
    match monitor.find(args.at(2)) {
        Some((event, series)) => reply.verbatim(b"txt", LatencyMonitor::graph(event, series, now).as_bytes()),
        None => {
            let name = super::client::until_nul(args.at(2));
            reply.error_text(&[b"ERR No samples available for event '", name, b"'"].concat());
        }
    }
}

pub(super) fn doctor(node: &dyn Node, now: UnixMillis, reply: &mut Reply<'_>) {
    let settings = node.settings();
    let facts = DoctorFacts {
        now,
        threshold_ms: settings.value(directive::LATENCY_MONITOR_THRESHOLD),
        slow_micros: settings.value(directive::SLOWLOG_LOG_SLOWER_THAN),
        hz: settings.value(directive::HZ),
    };
    reply.verbatim(b"txt", monitor(node).report(&facts).as_bytes());
}

/// The commands that are named, with the subcommands of each, or all, as far as they were timed; a name that is no
/// command adds nothing.
pub(super) fn histogram(args: Args<'_>, node: &dyn Node, reply: &mut Reply<'_>) {
    let wanted: Vec<&'static Spec> = match args.len() {
        2 => rows().to_vec(),
        _ => {
            let named = args.iter_from(2).filter_map(find_full);
            named.flat_map(|spec| std::iter::once(spec).chain(spec.subcommands)).collect()
        }
    };
    let timed = |spec| Some((spec, node.distribution(spec, &[])?));
    let timed: Vec<(&Spec, Distribution)> = wanted.into_iter().filter_map(timed).collect();
    reply.map(timed.len());
    for (spec, times) in timed {
        reply.bulk(spec.full_name.as_bytes());
        reply.map(2);
        reply.bulk(b"calls");
        reply.integer(times.calls as i64);
        reply.bulk(b"histogram_usec");
        reply.map(times.cumulative.len());
        for (micros, count) in times.cumulative {
            reply.integer(micros as i64);
            reply.integer(count as i64);
        }
    }
}
