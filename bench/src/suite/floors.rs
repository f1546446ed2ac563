//! The floors of the design (section 11), and whether figures reach them.

use crate::statistics::Spread;

/// A bound on CPU time per request, as a ratio.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Floor {
    clients: usize,
    pipeline: u64,
    /// Greatest ratio to redis-server.
    redis: f64,
    /// Where the kernel's part is all, a ratio to the echo does as well.
    echo: Option<f64>,
}

const FLOORS: [Floor; 4] = [
    Floor { clients: 50, pipeline: 1, redis: 0.80, echo: Some(1.15) },
    Floor { clients: 500, pipeline: 1, redis: 0.75, echo: Some(1.20) },
    Floor { clients: 50, pipeline: 8, redis: 0.50, echo: None },
    Floor { clients: 50, pipeline: 64, redis: 0.25, echo: None },
];

/// Most bytes of memory per key, at the worst number of keys.
pub(super) const BYTES_PER_KEY: f64 = 70.0;
/// Most bytes that an expiry adds to it.
pub(super) const BYTES_PER_EXPIRY: f64 = 12.0;
/// Most CPU of a hop to a sibling, in microseconds.
pub(super) const HOP_MICROS: f64 = 0.15;

/// How figures stand to a floor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// The whole interval is below it.
    Holds,
    /// The median is, but not the interval: not enough to say so.
    Unsure,
    Missed,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Holds => "pass",
            Self::Unsure => "FAIL (only the median passes)",
            Self::Missed => "FAIL",
        })
    }
}

impl Floor {
    /// The floor for a cell of the table.
    pub(super) fn of(clients: usize, pipeline: u64) -> Option<Self> {
        FLOORS.into_iter().find(|floor| (floor.clients, floor.pipeline) == (clients, pipeline))
    }

    /// Whether one of the ratios reaches it.
    pub(super) fn verdict(self, to_redis: Spread, to_echo: Spread) -> Verdict {
        let reaches = |value: fn(&Spread) -> f64| {
            value(&to_redis) <= self.redis || self.echo.is_some_and(|bound| value(&to_echo) <= bound)
        };
        if reaches(|spread| spread.high) {
            Verdict::Holds
        } else if reaches(|spread| spread.median) {
            Verdict::Unsure
        } else {
            Verdict::Missed
        }
    }

    /// The floor in words.
    pub(super) fn describe(self) -> String {
        let echo = self.echo.map_or(String::new(), |bound| format!(" or ≤ {bound:.2} × echo"));
        format!("≤ {:.2} × redis{echo}", self.redis)
    }
}

/// The verdict on a ratio that must be below a bound.
pub(super) fn below(ratio: Spread, bound: f64) -> Verdict {
    if ratio.high < bound {
        Verdict::Holds
    } else if ratio.median < bound {
        Verdict::Unsure
    } else {
        Verdict::Missed
    }
}

/// The verdict on a figure without an interval.
pub(super) fn at_most(value: f64, bound: f64) -> Verdict {
    if value <= bound { Verdict::Holds } else { Verdict::Missed }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(low: f64, median: f64, high: f64) -> Spread {
        Spread { median, min: low, max: high, low, high, coverage: 0.96 }
    }

    #[test]
    fn the_interval_decides_not_the_median() {
        let floor = Floor::of(50, 8).unwrap();
        let echo = spread(0.1, 0.1, 0.1);
        assert_eq!(floor.verdict(spread(0.3, 0.4, 0.5), echo), Verdict::Holds);
        assert_eq!(floor.verdict(spread(0.3, 0.4, 0.51), echo), Verdict::Unsure);
        assert_eq!(floor.verdict(spread(0.3, 0.51, 0.6), echo), Verdict::Missed);
    }

    #[test]
    fn as_much_is_not_below() {
        assert_eq!(below(spread(0.5, 0.9, 0.99), 1.0), Verdict::Holds);
        assert_eq!(below(spread(0.5, 0.9, 1.0), 1.0), Verdict::Unsure);
        assert_eq!(below(spread(0.5, 1.0, 1.0), 1.0), Verdict::Missed);
    }

    #[test]
    fn the_echo_counts_where_the_kernel_is_all() {
        let (slow, near) = (spread(0.9, 0.9, 0.9), spread(1.0, 1.1, 1.15));
        assert_eq!(Floor::of(50, 1).unwrap().verdict(slow, near), Verdict::Holds);
        assert_eq!(Floor::of(50, 64).unwrap().verdict(slow, near), Verdict::Missed);
        assert_eq!(Floor::of(1, 1), None);
        assert_eq!(Floor::of(500, 1).unwrap().describe(), "≤ 0.75 × redis or ≤ 1.20 × echo");
    }
}
