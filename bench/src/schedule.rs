//! When requests of an open loop are due: at a constant rate, whatever the server does.
//!
//! A late batch keeps its intended time, so a stall shows in the latency of every request that it held up.

/// The constant schedule of one thread.
#[derive(Debug)]
pub(crate) struct Schedule {
    start_nanos: u64,
    interval_nanos: f64,
    next: u64,
}

impl Schedule {
    /// Batches every `interval_nanos` from `start_nanos` on; thread `thread` of `threads` begins its part of an
    /// interval later, so that the threads take turns.
    pub(crate) fn new(start_nanos: u64, interval_nanos: f64, thread: usize, threads: usize) -> Self {
        let offset = interval_nanos * thread as f64 / threads as f64;
        Self { start_nanos: start_nanos + offset as u64, interval_nanos, next: 0 }
    }

    /// When the next batch is due, in nanoseconds of the monotonic clock.
    pub(crate) fn next_due(&self) -> u64 {
        // Multiplied, not summed up: no drift.
        self.start_nanos + (self.next as f64 * self.interval_nanos) as u64
    }

    /// The intended time of the next batch if it is due.
    pub(crate) fn take_due(&mut self, now: u64) -> Option<u64> {
        let due = self.next_due();
        (due <= now).then(|| {
            self.next += 1;
            due
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_keep_their_intended_times_when_taken_late() {
        let mut schedule = Schedule::new(1000, 250.0, 0, 1);
        assert_eq!(schedule.take_due(999), None);
        assert_eq!(schedule.take_due(1000), Some(1000));
        assert_eq!(schedule.take_due(1000), None);
        let late: Vec<_> = std::iter::from_fn(|| schedule.take_due(2000)).collect();
        assert_eq!(late, [1250, 1500, 1750, 2000]);
        assert_eq!(schedule.next_due(), 2250);
    }

    #[test]
    fn a_rate_that_is_no_whole_number_of_nanoseconds_does_not_drift() {
        let mut schedule = Schedule::new(0, 1e9 / 3.0, 0, 1);
        let taken = std::iter::from_fn(|| schedule.take_due(100_000_000_000)).count();
        assert_eq!(taken, 301);
    }

    #[test]
    fn threads_take_turns() {
        let due = |thread| Schedule::new(0, 400.0, thread, 4).next_due();
        assert_eq!([due(0), due(1), due(2), due(3)], [0, 100, 200, 300]);
    }
}
