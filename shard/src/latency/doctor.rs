//! What the events of the latency monitor say to somebody who knows, in words for people.

use super::{DoctorFacts, LatencyEvent, LatencyMonitor, LatencySeries};
use slotmesh_base::UnixMillis;
use std::fmt::Write;

/// From here on more frequent housekeeping is no advice.
const HZ_HIGH: u32 = 100;

pub(super) fn report(monitor: &LatencyMonitor, facts: &DoctorFacts) -> String {
    if monitor.events.is_empty() {
        return if facts.threshold_ms == 0 { DISABLED.to_owned() } else { QUIET.to_owned() };
    }
    let mut text = "Some things took longer than latency-monitor-threshold:\n\n".to_owned();
    for (number, (event, series)) in (1..).zip(monitor.events()) {
        let line = describe(event, series, facts.now);
        writeln!(text, "{number}. {line}").expect("memory takes everything");
    }
    let mut advices: Vec<String> = monitor.events().flat_map(|(event, _)| advise(event, facts)).collect();
    advices.dedup();
    text.push_str("\nWhat may help:\n\n");
    advices.iter().for_each(|advice| writeln!(text, "- {advice}").expect("memory takes everything"));
    text
}

fn describe(event: LatencyEvent, series: &LatencySeries, now: UnixMillis) -> String {
    let (average, deviation) = series.mean();
    let first = series.samples().next().map_or(0, |sample| sample.at_secs);
    let count = series.samples().len();
    let period = (now.as_secs() - first).max(1) as f64 / count.max(1) as f64;
    format!(
        "{}: {count} latency spikes (average {average}ms, mean deviation {deviation}ms, period {period:.2} sec). Worst all time event {}ms.",
        event.name(),
        series.max_millis()
    )
}

fn advise(event: LatencyEvent, facts: &DoctorFacts) -> Vec<String> {
    let mut advices = Vec::new();
    let threshold_micros = facts.threshold_ms.saturating_mul(1000);
    match event {
        LatencyEvent::Command => {
            if facts.slow_micros < 0 {
                advices.push(format!(
                    "The slow log is off, so nobody can tell which commands these were: CONFIG SET slowlog-log-slower-than {threshold_micros}."
                ));
            } else if facts.slow_micros > threshold_micros {
                advices.push(format!(
                    "The slow log misses some of these commands: CONFIG SET slowlog-log-slower-than {threshold_micros}."
                ));
            }
            advices.push("SLOWLOG GET names the commands that took long; most of them read or build something large.".to_owned());
            advices.push(LARGE_VALUES.to_owned());
        }
        LatencyEvent::FastCommand => advices.push(
            "Commands that do little were interrupted: the CPUs are shared with something else. Give the process CPUs of its own (server-cpulist), and look at the load of the machine and of its host."
                .to_owned(),
        ),
        LatencyEvent::ExpireCycle => {
            if facts.hz < HZ_HIGH {
                advices.push(format!("Expiry works in smaller pieces the more often it does: CONFIG SET hz {HZ_HIGH}."));
            }
            advices.push(LARGE_VALUES.to_owned());
        }
    }
    advices
}

const LARGE_VALUES: &str =
    "Large values cost time when they are read, deleted or expire: split those that need not be one.";

const DISABLED: &str = "The latency monitor is off, so there is nothing to tell. CONFIG SET latency-monitor-threshold <milliseconds> turns it on.\n";

const QUIET: &str = "Nothing took longer than latency-monitor-threshold so far.\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_events_and_what_to_do() {
        let mut monitor = LatencyMonitor::default();
        let facts = DoctorFacts { now: UnixMillis(20_000), threshold_ms: 0, slow_micros: 10_000, hz: 10 };
        assert_eq!(monitor.report(&facts), DISABLED);
        let facts = DoctorFacts { threshold_ms: 5, ..facts };
        assert_eq!(monitor.report(&facts), QUIET);
        monitor.add(LatencyEvent::Command, 100, UnixMillis(10_000));
        monitor.add(LatencyEvent::Command, 200, UnixMillis(12_000));
        let text = monitor.report(&facts);
        let line = "1. command: 2 latency spikes (average 150ms, mean deviation 50ms, period 5.00 sec). Worst all time event 200ms.\n";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("slowlog-log-slower-than 5000"), "{text}");
        let text = monitor.report(&DoctorFacts { slow_micros: 5000, ..facts });
        assert!(!text.contains("slowlog-log-slower-than"), "{text}");
    }
}
