//! When, or how often, a key was used: 24 bits in each entry, for OBJECT IDLETIME and FREQ, later for eviction.
//!
//! Either the second of the last access, or, where the policy asks for frequency, a counter of 8 bits that grows with the
//! logarithm of the number of accesses and falls with time, below the 16 bits of the minute in which it was last
//! counted (Redis 7.2 `evict.c`). To write them is no change of the key: no snapshot, WATCH or effect sees it.

use slotmesh_base::{Rng, UnixMillis};

/// What is remembered of accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AccessPolicy {
    /// When the last one was.
    #[default]
    Recency,
    /// How many there were.
    Frequency {
        /// How slowly the counter grows (`lfu-log-factor`).
        log_factor: u32,
        /// Minutes in which it falls by one; 0: it does not (`lfu-decay-time`).
        decay_minutes: u32,
    },
}

/// How commands leave a trace in the keys that they use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Access {
    /// What is remembered.
    pub policy: AccessPolicy,
    /// Whether a command leaves a trace at all (`CLIENT NO-TOUCH`).
    pub touches: bool,
    /// Whether keys that are over stay where they are, as if they were not there (`CLIENT PAUSE`); of reads only.
    pub keeps_expired: bool,
}

impl Default for Access {
    fn default() -> Self {
        Self { policy: AccessPolicy::Recency, touches: true, keeps_expired: false }
    }
}

/// What a saved key tells of its last use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LastUse {
    /// So many seconds ago.
    Idle(u64),
    /// The counter of accesses.
    Frequency(u8),
}

/// The 24 bits of an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Trace(pub(crate) [u8; TRACE_BYTES]);

/// Bytes of a trace.
pub(crate) const TRACE_BYTES: usize = 3;

/// Bits of a second.
const SECONDS_MASK: u32 = (1 << 24) - 1;
/// Bits of a minute.
const MINUTES_MASK: u32 = (1 << 16) - 1;
/// Counter of a new key (Redis: `LFU_INIT_VAL`).
const COUNTER_START: u8 = 5;

impl Access {
    /// The trace of a key that is made now.
    #[inline]
    pub(crate) fn fresh(self, now: UnixMillis) -> Trace {
        match self.policy {
            AccessPolicy::Recency => Trace::new(seconds(now)),
            AccessPolicy::Frequency { .. } => Trace::counted(now, COUNTER_START),
        }
    }

    /// The trace of a key that was saved and is read back now. What is told in the other policy's terms does not count
    /// (Redis 7.2 `object.c` `objectSetLRUOrLFU`).
    pub(crate) fn restored(self, last_use: LastUse, now: UnixMillis) -> Trace {
        match (self.policy, last_use) {
            (AccessPolicy::Recency, LastUse::Idle(idle)) => {
                // More than the clock can tell counts as its beginning.
                let then =
                    i64::from(seconds(now)) - i64::try_from(idle).unwrap_or(i64::MAX).min(i64::from(SECONDS_MASK));
                let around = if then < 0 { i64::from(SECONDS_MASK) } else { 0 };
                Trace::new((then + around) as u32)
            }
            (AccessPolicy::Frequency { .. }, LastUse::Frequency(counter)) => Trace::counted(now, counter),
            _ => self.fresh(now),
        }
    }

    /// The trace of a key that is used now.
    #[inline]
    pub(crate) fn touched(self, old: Trace, now: UnixMillis, rng: &mut Rng) -> Trace {
        if !self.touches {
            return old;
        }
        match self.policy {
            AccessPolicy::Recency => Trace::new(seconds(now)),
            AccessPolicy::Frequency { log_factor, decay_minutes } => {
                count_use(old, log_factor, decay_minutes, now, rng)
            }
        }
    }
}

/// Kept apart from the way that most go.
#[cold]
#[inline(never)]
fn count_use(old: Trace, log_factor: u32, decay_minutes: u32, now: UnixMillis, rng: &mut Rng) -> Trace {
    Trace::counted(now, grown(old.decayed(now, decay_minutes), log_factor, rng))
}

impl Trace {
    fn new(bits: u32) -> Self {
        let [a, b, c, _] = bits.to_le_bytes();
        Self([a, b, c])
    }

    fn counted(now: UnixMillis, counter: u8) -> Self {
        Self::new(minutes(now) << 8 | u32::from(counter))
    }

    fn bits(self) -> u32 {
        let [a, b, c] = self.0;
        u32::from_le_bytes([a, b, c, 0])
    }

    /// Seconds since the last access, if the trace says when that was.
    pub(crate) fn idle_seconds(self, now: UnixMillis) -> u32 {
        let (now, then) = (seconds(now), self.bits());
        // The clock may have gone round.
        if now >= then { now - then } else { now + (SECONDS_MASK - then) }
    }

    /// The counter as it is after the minutes since it was last counted, if the trace has one.
    pub(crate) fn decayed(self, now: UnixMillis, decay_minutes: u32) -> u8 {
        let (now, then) = (minutes(now), self.bits() >> 8);
        let elapsed = if now >= then { now - then } else { MINUTES_MASK - then + now };
        let periods = elapsed.checked_div(decay_minutes).unwrap_or(0);
        self.0[0].saturating_sub(u8::try_from(periods).unwrap_or(u8::MAX))
    }
}

/// The counter after one more access: the larger it is, the less likely it grows.
fn grown(counter: u8, log_factor: u32, rng: &mut Rng) -> u8 {
    let above = u64::from(counter.saturating_sub(COUNTER_START));
    if counter < u8::MAX && rng.below(above * u64::from(log_factor) + 1) == 0 { counter + 1 } else { counter }
}

#[inline]
fn seconds(now: UnixMillis) -> u32 {
    // Time before 1970 is nobody's.
    (now.0 as u64 / 1000) as u32 & SECONDS_MASK
}

fn minutes(now: UnixMillis) -> u32 {
    (now.0 as u64 / 60_000) as u32 & MINUTES_MASK
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

    fn later(seconds: i64) -> UnixMillis {
        UnixMillis(NOW.0 + seconds * 1000)
    }

    #[test]
    fn idle_time_is_counted_from_the_last_access() {
        let mut rng = Rng::new(1);
        let access = Access::default();
        let trace = access.fresh(NOW);
        assert_eq!((trace.idle_seconds(NOW), trace.idle_seconds(later(90))), (0, 90));
        assert_eq!(access.touched(trace, later(80), &mut rng).idle_seconds(later(90)), 10);
        let untouched = Access { touches: false, ..access }.touched(trace, later(80), &mut rng);
        assert_eq!(untouched.idle_seconds(later(90)), 90);
        let around = i64::from(SECONDS_MASK) - i64::from(seconds(NOW)) + 5;
        assert!(access.fresh(later(around - 10)).idle_seconds(later(around)).abs_diff(10) <= 1);
    }

    #[test]
    fn a_saved_key_was_last_used_when_that_was() {
        let mut access = Access::default();
        let idle = |access: Access, last_use| access.restored(last_use, NOW).idle_seconds(NOW);
        assert_eq!(idle(access, LastUse::Idle(0)), 0);
        assert_eq!(idle(access, LastUse::Idle(1000)), 1000);
        assert_eq!(idle(access, LastUse::Frequency(9)), 0);
        // The clock of 24 bits has gone round since.
        let before = i64::from(seconds(NOW)) as u64 + 500;
        assert!(idle(access, LastUse::Idle(before)).abs_diff(before as u32) <= 1);
        assert!(idle(access, LastUse::Idle(u64::MAX)) <= SECONDS_MASK);
        access.policy = AccessPolicy::Frequency { log_factor: 10, decay_minutes: 1 };
        assert_eq!(access.restored(LastUse::Frequency(200), NOW).decayed(NOW, 1), 200);
        assert_eq!(access.restored(LastUse::Idle(1000), NOW), access.fresh(NOW));
    }

    #[test]
    fn the_counter_grows_with_the_logarithm_and_falls_with_time() {
        let mut rng = Rng::new(1);
        let policy = AccessPolicy::Frequency { log_factor: 10, decay_minutes: 1 };
        let access = Access { policy, ..Access::default() };
        let mut trace = access.fresh(NOW);
        assert_eq!(trace.decayed(NOW, 1), 5);
        let mut counters = [0; 3];
        for (counter, accesses) in counters.iter_mut().zip([100, 1000, 100_000]) {
            trace = access.fresh(NOW);
            (0..accesses).for_each(|_| trace = access.touched(trace, NOW, &mut rng));
            *counter = trace.decayed(NOW, 1);
        }
        // Redis names 10, 18 and 142 for its default factor.
        assert!((8..=13).contains(&counters[0]), "{counters:?}");
        assert!((14..=24).contains(&counters[1]), "{counters:?}");
        assert!((125..=160).contains(&counters[2]), "{counters:?}");
        let top = counters[2];
        assert_eq!(trace.decayed(later(600), 1), top - 10);
        assert_eq!(trace.decayed(later(600), 5), top - 2);
        assert_eq!(trace.decayed(later(600), 0), top);
        assert_eq!(trace.decayed(later(60 * 1000), 1), 0);
    }
}
