//! A clock cheap enough to be read around commands: the processor's time-stamp counter where it runs evenly (an
//! invariant TSC), else the monotonic clock.
#![allow(unsafe_code)]

use crate::clock::monotonic_nanos;

/// How long the counter is compared with the monotonic clock when the process starts, in nanoseconds. A reading of
/// either may be late by some hundred, so the rate is right to about one in ten thousand.
const CALIBRATION_NANOS: u64 = 2_000_000;
/// Bits behind the point of a rate.
const RATE_BITS: u32 = 32;

/// The clock of the process. Its readings mean something only to itself.
#[derive(Clone, Copy, Debug)]
pub struct TickClock {
    /// Nanoseconds per tick, shifted by [`RATE_BITS`]; 0: a tick is a nanosecond of the monotonic clock.
    rate: u64,
}

impl TickClock {
    /// Finds out how fast the counter runs; takes some milliseconds.
    pub fn calibrate() -> Self {
        let rate = if counter::is_even() { measure() } else { 0 };
        Self { rate }
    }

    /// The clock's reading. It may go back by a little when the thread changes its CPU.
    #[inline]
    pub fn now(self) -> u64 {
        if self.rate == 0 { monotonic_nanos() } else { counter::read() }
    }

    /// A difference of readings in nanoseconds.
    #[inline]
    pub fn nanos(self, ticks: u64) -> u64 {
        if self.rate == 0 { ticks } else { ((u128::from(ticks) * u128::from(self.rate)) >> RATE_BITS) as u64 }
    }

    /// Nanoseconds since an earlier reading; 0 if that seems to lie in the future.
    #[inline]
    pub fn nanos_since(self, earlier: u64) -> u64 {
        // Readings of two CPUs may differ, and counters wrap after centuries only.
        let ticks = self.now().wrapping_sub(earlier);
        if ticks > u64::MAX / 2 { 0 } else { self.nanos(ticks) }
    }
}

/// The counter's rate, or 0 if it does not run.
fn measure() -> u64 {
    let (began_at, begin) = (monotonic_nanos(), counter::read());
    let (mut ended_at, mut end) = (began_at, begin);
    while ended_at - began_at < CALIBRATION_NANOS {
        (ended_at, end) = (monotonic_nanos(), counter::read());
    }
    let nanos = u128::from(ended_at - began_at) << RATE_BITS;
    match end.checked_sub(begin) {
        Some(ticks @ 1..) => u64::try_from(nanos / u128::from(ticks)).unwrap_or(0),
        Some(0) | None => 0,
    }
}

#[cfg(target_arch = "x86_64")]
mod counter {
    use std::arch::x86_64::{__cpuid, _rdtsc};

    /// The leaf that says which further leaves there are, the one about power, and its bit for a counter that runs
    /// evenly in all states of the processor.
    const LEAVES: u32 = 0x8000_0000;
    const POWER: u32 = 0x8000_0007;
    const INVARIANT_TSC: u32 = 1 << 8;

    #[inline]
    pub(super) fn read() -> u64 {
        // SAFETY: every x86-64 has the counter; where user mode may not read it (CR4.TSD) the kernel's own vDSO would
        // not work either.
        unsafe { _rdtsc() }
    }

    pub(super) fn is_even() -> bool {
        #[allow(unused_unsafe)]
        // SAFETY: every x86-64 has the instruction; the leaf is asked for only if it exists.
        unsafe {
            __cpuid(LEAVES).eax >= POWER && __cpuid(POWER).edx & INVARIANT_TSC != 0
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod counter {
    pub(super) fn read() -> u64 {
        0
    }

    pub(super) fn is_even() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_nanoseconds_of_the_monotonic_clock() {
        for clock in [TickClock::calibrate(), TickClock { rate: 0 }] {
            let (began_at, begin) = (monotonic_nanos(), clock.now());
            while monotonic_nanos() - began_at < 5_000_000 {}
            let (by_ticks, by_clock) = (clock.nanos_since(begin), monotonic_nanos() - began_at);
            // The thread may be interrupted between two readings.
            assert!(by_ticks >= 4_900_000 && by_ticks <= by_clock * 101 / 100, "{by_ticks} of {by_clock} in {clock:?}");
        }
    }

    #[test]
    fn what_seems_to_go_back_took_no_time() {
        let clock = TickClock::calibrate();
        assert_eq!(clock.nanos_since(clock.now() + 1_000_000_000), 0);
        assert_eq!(TickClock { rate: 1 << 31 }.nanos(10), 5);
    }
}
