//! Which key comes next: evenly, by Zipf's law, or one after the other.

use slotmesh_base::Rng;

/// How keys are chosen.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Distribution {
    /// Each as often as any other.
    Uniform,
    /// The k-th most popular in proportion to 1/k^exponent.
    Zipf(f64),
    /// Each key from `from` to below `to` once, split over the threads.
    Sequence { from: u64, to: u64 },
}

/// Chooses key numbers for one thread.
#[derive(Debug)]
pub(crate) enum KeyChooser {
    Uniform { keys: u64 },
    Zipf { zipf: Zipf, scatter: Scatter },
    Sequence { next: u64, end: u64 },
}

impl KeyChooser {
    /// The chooser of thread `thread` of `threads`, over `keys` keys.
    pub(crate) fn new(distribution: Distribution, keys: u64, thread: usize, threads: usize) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { keys },
            Distribution::Zipf(exponent) => Self::Zipf { zipf: Zipf::new(keys, exponent), scatter: Scatter::new(keys) },
            Distribution::Sequence { from, to } => Self::Sequence {
                next: from + share_before(to - from, thread, threads),
                end: from + share_before(to - from, thread + 1, threads),
            },
        }
    }

    /// The next key's number.
    #[inline]
    pub(crate) fn next(&mut self, rng: &mut Rng) -> u64 {
        match self {
            Self::Uniform { keys } => rng.below(*keys),
            Self::Zipf { zipf, scatter } => scatter.place(zipf.next(rng) - 1),
            Self::Sequence { next, .. } => {
                let key = *next;
                *next += 1;
                key
            }
        }
    }

    /// Whether each key comes once, so that one that was drawn must be used.
    pub(crate) fn is_sequence(&self) -> bool {
        matches!(self, Self::Sequence { .. })
    }

    /// Whether this thread's part of a sequence has come to its end.
    pub(crate) fn is_used_up(&self) -> bool {
        matches!(self, Self::Sequence { next, end } if next >= end)
    }
}

/// What the threads before `thread` take of `total`, if all take the same, the first ones one more.
pub(crate) fn share_before(total: u64, thread: usize, threads: usize) -> u64 {
    let (thread, threads) = (thread as u64, threads as u64);
    total / threads * thread + (total % threads).min(thread)
}

/// What `thread` takes of `total`.
pub(crate) fn share(total: u64, thread: usize, threads: usize) -> u64 {
    share_before(total, thread + 1, threads) - share_before(total, thread, threads)
}

/// A permutation of 0..n, so that popular keys are not neighbours.
#[derive(Debug)]
pub(crate) struct Scatter {
    keys: u64,
    factor: u64,
}

impl Scatter {
    /// Primes; the first that does not divide the number of keys is prime to it.
    const FACTORS: [u64; 3] = [2_654_435_761, 2_147_483_647, 4_294_967_291];

    fn new(keys: u64) -> Self {
        let factor = Self::FACTORS.into_iter().find(|prime| !keys.is_multiple_of(*prime)).unwrap_or(1);
        Self { keys, factor }
    }

    #[inline]
    fn place(&self, rank: u64) -> u64 {
        (u128::from(rank) * u128::from(self.factor) % u128::from(self.keys)) as u64
    }
}

/// Zipf's law over 1..=n by rejection-inversion (Hörmann and Derflinger, 1996): exact, without a table, and on
/// average little more than one draw. The hat is the integral of x^-s; `integral` and `inverse` are written such
/// that s = 1 needs no case of its own.
#[derive(Debug)]
pub(crate) struct Zipf {
    exponent: f64,
    items: f64,
    integral_first: f64,
    integral_last: f64,
    shortcut: f64,
}

impl Zipf {
    pub(crate) fn new(items: u64, exponent: f64) -> Self {
        let mut zipf = Self { exponent, items: items as f64, integral_first: 0.0, integral_last: 0.0, shortcut: 0.0 };
        zipf.integral_first = zipf.integral(1.5) - 1.0;
        zipf.integral_last = zipf.integral(zipf.items + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.hat(2.0));
        zipf
    }

    pub(crate) fn next(&mut self, rng: &mut Rng) -> u64 {
        loop {
            let unit = (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let u = self.integral_last + unit * (self.integral_first - self.integral_last);
            let x = self.inverse(u);
            let k = x.round().clamp(1.0, self.items);
            if k - x <= self.shortcut || u >= self.integral(k + 0.5) - self.hat(k) {
                return k as u64;
            }
        }
    }

    fn hat(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// (x^(1-s) - 1) / (1-s), which is ln x at s = 1.
    fn integral(&self, x: f64) -> f64 {
        let log = x.ln();
        let t = (1.0 - self.exponent) * log;
        if t.abs() > 1e-8 { t.exp_m1() / t * log } else { log * (1.0 + t / 2.0) }
    }

    fn inverse(&self, x: f64) -> f64 {
        let t = (x * (1.0 - self.exponent)).max(-1.0);
        let scaled = if t.abs() > 1e-8 { t.ln_1p() / t } else { 1.0 - t / 2.0 };
        (scaled * x).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chi-square per degree of freedom is near 1 if the counts follow the expectation.
    fn chi_square_per_degree(counts: &[u64], expected: impl Fn(usize) -> f64) -> f64 {
        let sum: f64 =
            counts.iter().enumerate().map(|(k, count)| (*count as f64 - expected(k)).powi(2) / expected(k)).sum();
        sum / (counts.len() - 1) as f64
    }

    #[test]
    fn zipf_follows_its_law_for_exponents_around_one() {
        for exponent in [0.5, 0.99, 1.0, 1.3] {
            const ITEMS: u64 = 200;
            const DRAWS: u64 = 400_000;
            let (mut zipf, mut rng) = (Zipf::new(ITEMS, exponent), Rng::new(11));
            let mut counts = [0u64; ITEMS as usize];
            (0..DRAWS).for_each(|_| counts[zipf.next(&mut rng) as usize - 1] += 1);
            let weight = |k: usize| (k as f64 + 1.0).powf(-exponent);
            let total: f64 = (0..ITEMS as usize).map(weight).sum();
            let chi = chi_square_per_degree(&counts, |k| DRAWS as f64 * weight(k) / total);
            assert!(chi < 1.4, "exponent {exponent}: {chi}");
        }
    }

    #[test]
    fn uniform_keys_are_even_and_in_range() {
        let (mut chooser, mut rng) = (KeyChooser::new(Distribution::Uniform, 100, 0, 1), Rng::new(5));
        let mut counts = [0u64; 100];
        (0..100_000).for_each(|_| counts[chooser.next(&mut rng) as usize] += 1);
        assert!(chi_square_per_degree(&counts, |_| 1000.0) < 1.5);
    }

    #[test]
    fn a_sequence_names_every_key_once_over_all_threads() {
        let distribution = Distribution::Sequence { from: 5, to: 28 };
        let mut rng = Rng::new(1);
        let mut seen = Vec::new();
        for thread in 0..3 {
            let mut chooser = KeyChooser::new(distribution, 28, thread, 3);
            seen.extend((0..share(23, thread, 3)).map(|_| chooser.next(&mut rng)));
        }
        assert_eq!(seen, (5..28).collect::<Vec<_>>());
    }

    #[test]
    fn popular_keys_are_scattered_without_collision() {
        for keys in [1, 2, 1000, 2_147_483_647 % 100_000] {
            let scatter = Scatter::new(keys);
            let mut places: Vec<_> = (0..keys).map(|rank| scatter.place(rank)).collect();
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..keys));
        }
    }

    #[test]
    fn a_single_key_is_always_chosen() {
        let (mut zipf, mut rng) = (Zipf::new(1, 0.99), Rng::new(3));
        assert!((0..1000).all(|_| zipf.next(&mut rng) == 1));
    }
}
