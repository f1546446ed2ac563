//! Medians, paired ratios and how sure they are.
//!
//! Rounds of two servers are paired: both halves of a pair see the same moods of the machine, so the ratio within
//! a round is steadier than either figure. The interval of the median comes from order statistics: whatever the
//! distribution, the number of values below its median is binomial with 1/2, so a pair of ranks covers the median
//! with a known probability.

/// Confidence that the interval of a median is to have, if the rounds are enough for it (six or more).
const CONFIDENCE: f64 = 0.95;

/// The median; the mean of the middle two if their number is even. NaN without values.
pub(crate) fn median(values: &[f64]) -> f64 {
    let sorted = sorted(values);
    match sorted.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => sorted[len / 2],
        len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
    }
}

/// A median and its spread.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    /// Smallest and greatest value.
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// Confidence interval of the median.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Probability that the interval holds the median of what was sampled; below 0.95 with few rounds.
    pub(crate) coverage: f64,
}

impl Spread {
    /// The spread of some values; `None` without values, or if one is no number.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let sorted = sorted(values);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        if !sorted.iter().all(|value| value.is_finite()) {
            return None;
        }
        let rank = lower_rank(sorted.len());
        Some(Self {
            median: median(&sorted),
            min,
            max,
            low: sorted[rank],
            high: sorted[sorted.len() - 1 - rank],
            coverage: coverage(sorted.len(), rank),
        })
    }

    /// The spread of the ratios within rounds.
    pub(crate) fn of_ratios(values: &[f64], baseline: &[f64]) -> Option<Self> {
        assert_eq!(values.len(), baseline.len(), "rounds are paired");
        let ratios: Vec<_> = values.iter().zip(baseline).map(|(value, base)| value / base).collect();
        Self::of(&ratios)
    }
}

fn sorted(values: &[f64]) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The greatest rank (from 0) whose interval, up to its mirror image, is wide enough; 0 if none is.
fn lower_rank(count: usize) -> usize {
    (0..count.div_ceil(2)).rev().find(|rank| coverage(count, *rank) >= CONFIDENCE).unwrap_or(0)
}

/// Probability that the median lies between the values of `rank` (from 0) and of its mirror image.
fn coverage(count: usize, rank: usize) -> f64 {
    // At most `rank` of `count` values below the median, or at most so many above it.
    let mut probability = 0.5f64.powi(count as i32);
    let mut tail = 0.0;
    for below in 0..=rank {
        tail += probability;
        probability *= (count - below) as f64 / (below + 1) as f64;
    }
    (1.0 - 2.0 * tail).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    /// The ranks of the sign test's tables.
    #[test]
    fn the_interval_has_the_ranks_of_the_tables() {
        for (count, rank, percent) in [(6, 0, 96.9), (9, 1, 96.1), (10, 1, 97.9), (15, 3, 96.5), (20, 5, 95.9)] {
            assert_eq!(lower_rank(count), rank, "{count} values");
            assert!((coverage(count, rank) * 100.0 - percent).abs() < 0.06, "{count} values");
        }
    }

    #[test]
    fn few_rounds_give_their_whole_range_and_say_so() {
        let spread = Spread::of(&[1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.low, spread.high, spread.min, spread.max), (1.0, 3.0, 1.0, 3.0));
        assert!((spread.coverage - 0.75).abs() < 1e-9);
        assert_eq!(Spread::of(&[5.0]).unwrap().coverage, 0.0);
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn an_outlier_moves_the_range_but_not_the_interval() {
        let mut values = vec![1.0; 14];
        values.push(50.0);
        let spread = Spread::of(&values).unwrap();
        assert_eq!((spread.median, spread.high, spread.max), (1.0, 1.0, 50.0));
    }

    /// The machine is twice as slow in half of the rounds: the medians differ by chance, the ratio does not.
    #[test]
    fn ratios_are_paired_by_round() {
        let spread = Spread::of_ratios(&[1.0, 2.0, 1.0, 2.0], &[2.0, 4.0, 2.0, 4.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (0.5, 0.5, 0.5));
        assert_eq!(Spread::of_ratios(&[1.0, 1.0], &[0.0, 1.0]), None, "a ratio to nothing is no ratio");
    }

    #[test]
    fn the_interval_covers_the_true_median_as_often_as_it_claims() {
        let mut rng = slotmesh_base::Rng::new(9);
        let trials = 4000;
        let held = (0..trials)
            .filter(|_| {
                let values: Vec<_> = (0..9).map(|_| rng.below(1_000_001) as f64).collect();
                let spread = Spread::of(&values).unwrap();
                (spread.low..=spread.high).contains(&500_000.0)
            })
            .count();
        let share = held as f64 / f64::from(trials);
        assert!((0.945..0.975).contains(&share), "{share}");
    }
}
