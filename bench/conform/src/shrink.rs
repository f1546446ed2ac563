//! The shortest sequence of steps that still fails.

use std::time::{Duration, Instant};

/// Longest search for a shorter sequence.
const SHRINK_TIME: Duration = Duration::from_secs(15);

/// A failure that knows at which step it was seen.
pub trait FailsAt {
    /// Index of the step.
    fn at(&self) -> usize;
}

/// The shortest sequence found that still fails, with its failure: first all steps behind the difference go, then
/// ever smaller ranges, at last single ones.
///
/// If the failure does not come back when all is run again (it depends on time, then), `first` is it.
pub fn shrink<T: Clone, F: FailsAt>(steps: &[T], first: F, mut run: impl FnMut(&[T]) -> Option<F>) -> (Vec<T>, F) {
    let deadline = Instant::now() + SHRINK_TIME;
    let Some(mut failure) = run(steps) else { return (up_to(steps, first.at()), first) };
    let mut steps = up_to(steps, failure.at());
    let mut width = steps.len() / 2;
    while width > 0 && Instant::now() < deadline {
        let mut end = steps.len().saturating_sub(1);
        while end > 0 && Instant::now() < deadline {
            let start = end.saturating_sub(width);
            let shorter = [&steps[..start], &steps[end..]].concat();
            if let Some(found) = run(&shorter) {
                steps = up_to(&shorter, found.at());
                failure = found;
            }
            end = start.min(steps.len().saturating_sub(1));
        }
        width /= 2;
    }
    (steps, failure)
}

/// A failure may be seen behind the last step, in what the steps left behind.
fn up_to<T: Clone>(steps: &[T], at: usize) -> Vec<T> {
    steps[..steps.len().min(at + 1)].to_vec()
}
