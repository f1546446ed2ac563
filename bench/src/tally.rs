//! What a run counted.

use crate::cpu_time::CpuUse;
use hdrhistogram::Histogram;

/// Longest latency that is told apart from longer ones, in nanoseconds.
const LATENCY_NANOS_MAX: u64 = 60_000_000_000;
/// Digits of a latency that are kept.
const SIGNIFICANT_DIGITS: u8 = 3;
/// Bytes of an error reply that are kept.
const ERROR_BYTES_KEPT: usize = 200;

/// Counts of one thread, or of a run.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Latencies of all requests up to their last reply, in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
    /// Requests of ours that have their reply, transactions all of theirs.
    pub(crate) replies: u64,
    /// Replies that are errors.
    pub(crate) errors: u64,
    /// Replies that are nulls or empty arrays: keys that are not there.
    pub(crate) nulls: u64,
    /// Times that a node of a cluster named another one for a request (MOVED), which was sent there.
    pub(crate) redirects: u64,
    /// Replies that nobody asked for.
    pub(crate) surplus: u64,
    /// The first error.
    pub(crate) first_error: String,
    /// When the last reply came, in nanoseconds of the monotonic clock.
    pub(crate) ended_nanos: u64,
}

impl Default for Tally {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_NANOS_MAX, SIGNIFICANT_DIGITS)
            .expect("the bounds of the histogram are right");
        Self {
            latencies,
            replies: 0,
            errors: 0,
            nulls: 0,
            redirects: 0,
            surplus: 0,
            first_error: String::new(),
            ended_nanos: 0,
        }
    }
}

impl Tally {
    /// Counts `count` requests of the same latency.
    #[inline]
    pub(crate) fn record(&mut self, latency_nanos: u64, count: u64) {
        self.replies += count;
        self.latencies.saturating_record_n(latency_nanos.max(1), count);
    }

    /// Counts an error; the first one's text is kept as far as it is at hand.
    #[cold]
    pub(crate) fn note_error(&mut self, text: &[u8]) {
        self.errors += 1;
        if self.errors == 1 {
            let text = &text[..text.len().min(ERROR_BYTES_KEPT)];
            self.first_error = String::from_utf8_lossy(text).trim().to_owned();
        }
    }

    /// Adds another thread's counts.
    pub(crate) fn add(&mut self, other: &Self) {
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
        self.replies += other.replies;
        self.errors += other.errors;
        self.nulls += other.nulls;
        self.redirects += other.redirects;
        self.surplus += other.surplus;
        self.ended_nanos = self.ended_nanos.max(other.ended_nanos);
        if self.first_error.is_empty() {
            self.first_error.clone_from(&other.first_error);
        }
    }
}

/// The outcome of one run against one server.
#[derive(Clone, Debug)]
pub(crate) struct Measurement {
    pub(crate) tally: Tally,
    /// From the first request to the last reply.
    pub(crate) seconds: f64,
    /// The server's CPU time, if its process is known.
    pub(crate) cpu: Option<CpuUse>,
}

/// A figure of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Metric {
    Throughput,
    CpuTotal,
    CpuUser,
    CpuSystem,
    /// How much of a CPU the server used; well below 1 under full load, the load was the limit, not the server.
    Busy,
    P50,
    P90,
    P99,
    P999,
    Max,
}

impl Metric {
    pub(crate) const ALL: [Self; 10] = [
        Self::Throughput,
        Self::CpuTotal,
        Self::CpuUser,
        Self::CpuSystem,
        Self::Busy,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::P999,
        Self::Max,
    ];

    /// Its name with its unit.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Throughput => "requests/s",
            Self::CpuTotal => "CPU us/op",
            Self::CpuUser => "user us/op",
            Self::CpuSystem => "system us/op",
            Self::Busy => "busy CPUs",
            Self::P50 => "p50 us",
            Self::P90 => "p90 us",
            Self::P99 => "p99 us",
            Self::P999 => "p99.9 us",
            Self::Max => "max us",
        }
    }

    /// Its name in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Throughput => "requests_per_second",
            Self::CpuTotal => "cpu_micros_per_request",
            Self::CpuUser => "cpu_user_micros_per_request",
            Self::CpuSystem => "cpu_system_micros_per_request",
            Self::Busy => "cpu_seconds_per_second",
            Self::P50 => "latency_p50_micros",
            Self::P90 => "latency_p90_micros",
            Self::P99 => "latency_p99_micros",
            Self::P999 => "latency_p999_micros",
            Self::Max => "latency_max_micros",
        }
    }

    /// Its value; `None` for CPU time that was not measured.
    pub(crate) fn of(self, measurement: &Measurement) -> Option<f64> {
        let replies = measurement.tally.replies as f64;
        let cpu = |part: fn(&CpuUse) -> f64| measurement.cpu.as_ref().map(|cpu| part(cpu) / 1000.0 / replies);
        let latency = |share| Some(measurement.tally.latencies.value_at_quantile(share) as f64 / 1000.0);
        match self {
            Self::Throughput => Some(replies / measurement.seconds),
            Self::CpuTotal => cpu(|cpu| cpu.total_nanos),
            Self::CpuUser => cpu(|cpu| cpu.user_nanos),
            Self::CpuSystem => cpu(|cpu| cpu.system_nanos),
            Self::Busy => Some(measurement.cpu?.total_nanos / 1e9 / measurement.seconds),
            Self::P50 => latency(0.5),
            Self::P90 => latency(0.9),
            Self::P99 => latency(0.99),
            Self::P999 => latency(0.999),
            Self::Max => Some(measurement.tally.latencies.max() as f64 / 1000.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_per_reply() {
        let mut tally = Tally::default();
        tally.record(1_000, 90);
        tally.record(50_000, 10);
        let cpu = CpuUse { total_nanos: 400_000.0, user_nanos: 100_000.0, system_nanos: 300_000.0 };
        let measurement = Measurement { tally, seconds: 0.5, cpu: Some(cpu) };
        assert_eq!(Metric::Throughput.of(&measurement), Some(200.0));
        assert_eq!(Metric::CpuTotal.of(&measurement), Some(4.0));
        assert_eq!(Metric::CpuSystem.of(&measurement), Some(3.0));
        let near = |metric: Metric, micros: f64| (metric.of(&measurement).unwrap() / micros - 1.0).abs() < 0.001;
        assert!(near(Metric::P50, 1.0) && near(Metric::P90, 1.0) && near(Metric::P99, 50.0) && near(Metric::Max, 50.0));
        assert_eq!(Metric::CpuUser.of(&Measurement { cpu: None, ..measurement }), None);
    }

    #[test]
    fn threads_add_up() {
        let (mut a, mut b) = (Tally::default(), Tally::default());
        a.record(10, 3);
        b.record(20, 2);
        b.note_error(b"-ERR no\r\n");
        b.note_error(b"-ERR other\r\n");
        b.ended_nanos = 9;
        a.add(&b);
        assert_eq!((a.replies, a.errors, a.ended_nanos, a.latencies.len()), (5, 2, 9, 5));
        assert_eq!(a.first_error, "-ERR no");
    }

    #[test]
    fn an_endless_latency_is_the_longest_one() {
        let mut tally = Tally::default();
        tally.record(u64::MAX, 1);
        assert!(tally.latencies.max() >= LATENCY_NANOS_MAX);
    }
}
