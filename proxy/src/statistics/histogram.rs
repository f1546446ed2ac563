//! How long a command took, counted by one core and read by others: the buckets of a high dynamic range histogram from
//! 1 ns to 1 s with two digits, as Redis keeps for each command (`server.c`, `updateCommandLatencyHistogram`).
//!
//! A bucket's number is the value's seven highest bits behind the first one, and how far they were shifted: so that a
//! value is counted by a shift and an addition. What is read goes into the `hdrhistogram` crate, which knows how to ask.

use hdrhistogram::Histogram;
use slotmesh_shard::Distribution;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Largest time that is told apart, in nanoseconds; longer ones count as this.
const NANOS_MAX: u64 = 1_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 2;
/// Buckets of one power of two.
const HALF: usize = 128;
/// All buckets.
const BUCKETS: usize = bucket_of(NANOS_MAX) + 1;
/// First bound of LATENCY HISTOGRAM, in nanoseconds; each further one is twice as large.
const BOUND_NANOS_FIRST: u64 = 1024;

/// Counts of one core. Written by that core alone.
#[derive(Debug)]
pub(crate) struct Buckets(Box<[AtomicU64; BUCKETS]>);

impl Default for Buckets {
    fn default() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; BUCKETS]))
    }
}

impl Buckets {
    /// Counts `count` executions of `nanos` each.
    #[inline]
    pub(crate) fn add(&self, nanos: u64, count: u64) {
        let bucket = &self.0[bucket_of(if nanos < NANOS_MAX { nanos } else { NANOS_MAX })];
        bucket.store(bucket.load(Relaxed) + count, Relaxed);
    }

    /// Forgets all.
    pub(crate) fn clear(&self) {
        self.0.iter().for_each(|bucket| bucket.store(0, Relaxed));
    }

    fn pour_into(&self, histogram: &mut Histogram<u64>) {
        for (number, bucket) in self.0.iter().enumerate() {
            let count = bucket.load(Relaxed);
            if count > 0 {
                histogram.saturating_record_n(value_of(number).max(1), count);
            }
        }
    }
}

const fn bucket_of(nanos: u64) -> usize {
    let shift = (nanos | (2 * HALF as u64 - 1)).ilog2() - HALF.ilog2();
    shift as usize * HALF + (nanos >> shift) as usize
}

/// The smallest time that is counted in a bucket.
const fn value_of(bucket: usize) -> u64 {
    let shift = (bucket / HALF).saturating_sub(1);
    ((bucket - shift * HALF) as u64) << shift
}

/// What the cores have counted together, if anything.
pub(crate) fn distribution<'a>(cores: impl Iterator<Item = &'a Buckets>, percentiles: &[f64]) -> Option<Distribution> {
    let mut histogram = Histogram::new_with_bounds(1, NANOS_MAX, DIGITS).ok()?;
    cores.for_each(|buckets| buckets.pour_into(&mut histogram));
    if histogram.is_empty() {
        return None;
    }
    let percentile = |&percentile: &f64| histogram.value_at_percentile(percentile);
    Some(Distribution {
        calls: histogram.len(),
        percentiles: percentiles.iter().map(percentile).collect(),
        cumulative: cumulative(&histogram),
    })
}

/// How many executions took no longer than each bound, in microseconds: for those bounds only that tell something new.
/// The first bound is 1024 ns, each further one twice as large, all of them with the whole of the bucket that they lie
/// in (Redis 7.2 `latency.c`, `fillCommandCDF`).
fn cumulative(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    let (mut counted, mut bound) = (0, BOUND_NANOS_FIRST);
    for step in histogram.iter_recorded() {
        while histogram.highest_equivalent(bound) < step.value_iterated_to() {
            bound *= 2;
        }
        counted += step.count_since_last_iteration();
        // The last bound is the end of the histogram.
        let micros = histogram.highest_equivalent(bound).min(NANOS_MAX.next_power_of_two() - 1) / 1000;
        match steps.last_mut() {
            Some(last) if last.0 == micros => last.1 = counted,
            _ => steps.push((micros, counted)),
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_values_that_differ_by_less_than_a_hundredth() {
        let mut last = 0;
        for bucket in 0..BUCKETS {
            let value = value_of(bucket);
            assert_eq!(bucket_of(value), bucket);
            assert!(bucket == 0 || value > last, "buckets rise");
            if bucket > 0 {
                assert_eq!(bucket_of(value - 1), bucket - 1);
                assert!((value - last) * HALF as u64 <= value.max(HALF as u64), "{last} and {value}");
            }
            last = value;
        }
        assert_eq!(bucket_of(NANOS_MAX), BUCKETS - 1);
        // As the crate has them.
        let histogram = Histogram::<u64>::new_with_bounds(1, NANOS_MAX, DIGITS).unwrap();
        for value in [1, 255, 256, 257, 1023, 1024, 5555, 123_456_789, NANOS_MAX] {
            assert_eq!(value_of(bucket_of(value)), histogram.lowest_equivalent(value), "{value}");
        }
    }

    #[test]
    fn cores_are_read_together() {
        let (one, other) = (Buckets::default(), Buckets::default());
        assert_eq!(distribution([&one, &other].into_iter(), &[50.0]), None);
        one.add(900, 1);
        one.add(1031, 2);
        one.add(1032, 3);
        other.add(1032, 4);
        other.add(33_023, 5);
        other.add(u64::MAX, 6);
        let both = distribution([&one, &other].into_iter(), &[0.0, 50.0, 100.0]).unwrap();
        assert_eq!(both.calls, 21);
        // The bounds are those that Redis prints.
        assert_eq!(both.cumulative, [(1, 3), (2, 10), (33, 15), (1_073_741, 21)]);
        assert_eq!(both.percentiles, [900, 33_023, 1_002_438_655]);
        one.clear();
        other.clear();
        assert_eq!(distribution([&one, &other].into_iter(), &[50.0]), None);
    }
}
