//! The latency monitor: of each kind of event the times that passed `latency-monitor-threshold`. One for the process.
//!
//! Mirrors Redis 7.2 `latency.c`.

mod doctor;
mod graph;

use slotmesh_base::UnixMillis;
use slotmesh_base::limits::LATENCY_SAMPLES_MAX;
use std::collections::{BTreeMap, VecDeque};

/// What is watched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum LatencyEvent {
    /// A command.
    Command,
    /// A pass of active expiry.
    ExpireCycle,
    /// A command that is flagged fast.
    FastCommand,
}

impl LatencyEvent {
    /// Its name in requests and replies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Command => "command",
            Self::ExpireCycle => "expire-cycle",
            Self::FastCommand => "fast-command",
        }
    }
}

/// The longest time of an event in one second.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LatencySample {
    /// Unix time in seconds.
    pub at_secs: i64,
    /// Milliseconds.
    pub millis: u64,
}

/// What is known of an event: never empty.
#[derive(Clone, Debug, Default)]
pub struct LatencySeries {
    samples: VecDeque<LatencySample>,
    max_millis: u64,
}

impl LatencySeries {
    /// The samples, oldest first.
    pub fn samples(&self) -> impl ExactSizeIterator<Item = LatencySample> + '_ {
        self.samples.iter().copied()
    }

    /// The newest sample.
    pub fn latest(&self) -> Option<LatencySample> {
        self.samples.back().copied()
    }

    /// The longest time ever.
    pub fn max_millis(&self) -> u64 {
        self.max_millis
    }

    fn add(&mut self, sample: LatencySample) {
        self.max_millis = self.max_millis.max(sample.millis);
        match self.samples.back_mut() {
            Some(last) if last.at_secs == sample.at_secs => last.millis = last.millis.max(sample.millis),
            _ => {
                if self.samples.len() == LATENCY_SAMPLES_MAX {
                    self.samples.pop_front();
                }
                self.samples.push_back(sample);
            }
        }
    }

    /// Mean of the samples, and the mean distance to it, in ms.
    fn mean(&self) -> (u64, u64) {
        let count = self.samples.len().max(1) as u64;
        let average = self.samples().map(|sample| sample.millis).sum::<u64>() / count;
        let deviation = self.samples().map(|sample| sample.millis.abs_diff(average)).sum::<u64>() / count;
        (average, deviation)
    }
}

/// The latency monitor.
#[derive(Debug, Default)]
pub struct LatencyMonitor {
    events: BTreeMap<LatencyEvent, LatencySeries>,
}

/// What a report is made from beside the events.
#[derive(Clone, Copy, Debug)]
pub struct DoctorFacts {
    /// The time.
    pub now: UnixMillis,
    /// `latency-monitor-threshold` in ms; 0 = off.
    pub threshold_ms: i64,
    /// `slowlog-log-slower-than` in µs; negative = off.
    pub slow_micros: i64,
    /// `hz`
    pub hz: u32,
}

impl LatencyMonitor {
    /// Notes that something took that long, which the caller has found to be too long.
    pub fn add(&mut self, event: LatencyEvent, millis: u64, now: UnixMillis) {
        self.events.entry(event).or_default().add(LatencySample { at_secs: now.as_secs(), millis });
    }

    /// The events, by name.
    pub fn events(&self) -> impl ExactSizeIterator<Item = (LatencyEvent, &LatencySeries)> {
        self.events.iter().map(|(&event, series)| (event, series))
    }

    /// What is known of the event with this name.
    pub fn find(&self, name: &[u8]) -> Option<(LatencyEvent, &LatencySeries)> {
        self.events().find(|(event, _)| event.name().as_bytes() == name)
    }

    /// Forgets an event by its name in any case, or all of them; how many that were.
    pub fn reset(&mut self, name: Option<&[u8]>) -> usize {
        let before = self.events.len();
        let is_meant = |event: LatencyEvent| name.is_none_or(|name| event.name().as_bytes().eq_ignore_ascii_case(name));
        self.events.retain(|&event, _| !is_meant(event));
        before - self.events.len()
    }

    /// A graph of an event's samples, for people.
    pub fn graph(event: LatencyEvent, series: &LatencySeries, now: UnixMillis) -> String {
        graph::graph(event, series, now)
    }

    /// What the events say to somebody who knows, for people.
    pub fn report(&self, facts: &DoctorFacts) -> String {
        doctor::report(self, facts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> UnixMillis {
        UnixMillis(secs * 1000)
    }

    #[test]
    fn a_second_keeps_its_longest_time() {
        let mut monitor = LatencyMonitor::default();
        for (secs, millis) in [(10, 5), (10, 9), (10, 7), (11, 2)] {
            monitor.add(LatencyEvent::Command, millis, at(secs));
        }
        let (_, series) = monitor.find(b"command").unwrap();
        let samples: Vec<_> = series.samples().map(|sample| (sample.at_secs, sample.millis)).collect();
        assert_eq!((samples, series.max_millis()), (vec![(10, 9), (11, 2)], 9));
        assert_eq!(series.latest().map(|sample| sample.millis), Some(2));
        assert!(monitor.find(b"Command").is_none() && monitor.find(b"expire-cycle").is_none());
    }

    #[test]
    fn the_oldest_second_goes() {
        let mut monitor = LatencyMonitor::default();
        for secs in 0..=LATENCY_SAMPLES_MAX as i64 {
            monitor.add(LatencyEvent::ExpireCycle, 100 - secs.min(99) as u64, at(secs));
        }
        let (_, series) = monitor.find(b"expire-cycle").unwrap();
        assert_eq!((series.samples().len(), series.samples().next().unwrap().at_secs), (LATENCY_SAMPLES_MAX, 1));
        assert_eq!(series.max_millis(), 100, "of all times");
    }

    #[test]
    fn events_are_forgotten_by_name_or_all() {
        let mut monitor = LatencyMonitor::default();
        for event in [LatencyEvent::Command, LatencyEvent::FastCommand, LatencyEvent::ExpireCycle] {
            monitor.add(event, 1, at(1));
        }
        assert_eq!(monitor.reset(Some(b"nope")), 0);
        assert_eq!(monitor.reset(Some(b"FAST-command")), 1);
        assert_eq!(monitor.reset(None), 2);
        assert_eq!(monitor.events().len(), 0);
    }
}
