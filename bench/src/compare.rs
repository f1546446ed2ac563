//! Runs servers under the same load: one alone, or several in interleaved rounds.

use crate::arguments::{Comparison, Output, Single};
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::generator;
use crate::load::Load;
use crate::tally::Measurement;
use crate::{plot, report};
use indicatif::ProgressBar;
use slotmesh_base::Rng;

/// The measurements of one server, by round.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) rounds: Vec<Measurement>,
}

/// Loads one server and reports.
///
/// # Errors
/// If the run failed or a file cannot be written.
pub(crate) fn run_single(single: &Single) -> Result<(), Failure> {
    let Single { endpoint, load, preload, output } = single;
    if *preload {
        fill(endpoint, load)?;
    }
    let bar = generator::progress_bar(load);
    let measurement = generator::run(endpoint, load, &bar)?;
    bar.finish_and_clear();
    let series = [Series { name: endpoint.name.clone(), rounds: vec![measurement] }];
    println!("{}", load.describe());
    print!("{}", report::table(&series));
    write_files(output, load, &series, 0)
}

/// Loads several servers in interleaved rounds and reports their ratios.
///
/// # Errors
/// If a run failed or a file cannot be written.
pub(crate) fn run_comparison(comparison: &Comparison) -> Result<(), Failure> {
    let Comparison { endpoints, baseline, rounds, load, preload, output } = comparison;
    if *preload {
        endpoints.iter().try_for_each(|endpoint| fill(endpoint, load))?;
    }
    let bar = ProgressBar::new((rounds * endpoints.len()) as u64);
    let series = interleave(endpoints, load, *rounds, &bar)?;
    bar.finish_and_clear();
    println!("{}; {rounds} rounds, medians", load.describe());
    print!("{}", report::table(&series));
    println!();
    print!("{}", report::ratios(&series, *baseline));
    write_files(output, load, &series, *baseline)
}

/// Runs each endpoint once a round, in an order that the seed shuffles anew for each round: drifts of the
/// machine and what a server leaves behind for the next one hit all of them alike.
///
/// # Errors
/// If a run failed.
pub(crate) fn interleave(
    endpoints: &[Endpoint],
    load: &Load,
    rounds: usize,
    bar: &ProgressBar,
) -> Result<Vec<Series>, Failure> {
    interleave_after(endpoints, load, rounds, bar, |_| Ok(()))
}

/// As [`interleave`], with `prepare` before each run, which is not measured.
///
/// # Errors
/// If a run or a preparation failed.
pub(crate) fn interleave_after(
    endpoints: &[Endpoint],
    load: &Load,
    rounds: usize,
    bar: &ProgressBar,
    mut prepare: impl FnMut(&Endpoint) -> Result<(), Failure>,
) -> Result<Vec<Series>, Failure> {
    let names: Vec<_> = endpoints.iter().map(|endpoint| endpoint.name.clone()).collect();
    in_rounds(&names, load.seed, rounds, bar, |index, round| {
        // The same keys for all servers of a round, others in the next one.
        let load = Load { seed: load.seed.wrapping_add(round as u64), ..load.clone() };
        prepare(&endpoints[index])?;
        generator::run(&endpoints[index], &load, &ProgressBar::hidden())
    })
}

/// Measures each of the servers once a round by `measure`, which is told which one and the round, in orders of chance.
///
/// # Errors
/// If a measurement failed.
pub(crate) fn in_rounds(
    names: &[String],
    seed: u64,
    rounds: usize,
    bar: &ProgressBar,
    mut measure: impl FnMut(usize, usize) -> Result<Measurement, Failure>,
) -> Result<Vec<Series>, Failure> {
    let mut series: Vec<_> = names.iter().map(|name| Series { name: name.clone(), rounds: Vec::new() }).collect();
    let mut rng = Rng::new(seed);
    for round in 0..rounds {
        for index in shuffled(names.len(), &mut rng) {
            series[index].rounds.push(measure(index, round)?);
            bar.inc(1);
        }
    }
    Ok(series)
}

/// Sets every key of the load once, or fills every list anew, or both: what its commands are about.
///
/// # Errors
/// If a run failed.
pub(crate) fn fill(endpoint: &Endpoint, load: &Load) -> Result<(), Failure> {
    fill_showing(endpoint, load, generator::progress_bar)
}

/// As [`fill`], without a progress bar: between rounds.
///
/// # Errors
/// If a run failed.
pub(crate) fn refill(endpoint: &Endpoint, load: &Load) -> Result<(), Failure> {
    fill_showing(endpoint, load, |_| ProgressBar::hidden())
}

fn fill_showing(endpoint: &Endpoint, load: &Load, bar: fn(&Load) -> ProgressBar) -> Result<(), Failure> {
    for kind in load.fillers() {
        let load = load.filling(kind, 0, load.population().drawn_by(kind));
        let bar = bar(&load);
        generator::run(endpoint, &load, &bar)?;
        bar.finish_and_clear();
    }
    Ok(())
}

/// 0..count in an order of chance (Fisher and Yates).
fn shuffled(count: usize, rng: &mut Rng) -> Vec<usize> {
    let mut order: Vec<_> = (0..count).collect();
    for last in (1..count).rev() {
        order.swap(last, rng.below(last as u64 + 1) as usize);
    }
    order
}

fn write_files(output: &Output, load: &Load, series: &[Series], baseline: usize) -> Result<(), Failure> {
    if let Some(path) = &output.json {
        let text = report::json(load, series, baseline);
        std::fs::write(path, text).map_err(|error| Failure::Write { path: path.clone(), error })?;
    }
    if let Some(path) = &output.svg {
        let text = plot::latency_by_percentile(&load.describe(), series)?;
        std::fs::write(path, text).map_err(|error| Failure::Write { path: path.clone(), error })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_measured_once_a_round() {
        let names = ["a", "b", "c"].map(str::to_owned);
        let mut turns = Vec::new();
        let series = in_rounds(&names, 1, 20, &ProgressBar::hidden(), |index, round| {
            turns.push((round, index));
            let tally = crate::tally::Tally { replies: (round * 3 + index) as u64, ..Default::default() };
            Ok(Measurement { tally, seconds: 1.0, cpu: None })
        });
        for (index, one) in series.unwrap().iter().enumerate() {
            let replies: Vec<_> = one.rounds.iter().map(|round| round.tally.replies).collect();
            assert_eq!(replies, (0..20).map(|round| round * 3 + index as u64).collect::<Vec<_>>());
        }
        let firsts: std::collections::BTreeSet<_> = turns.iter().step_by(3).map(|(_, index)| *index).collect();
        assert_eq!(firsts.len(), 3, "each comes first at times");
        turns.sort_unstable();
        turns.dedup();
        assert_eq!(turns.len(), 60);
    }

    #[test]
    fn every_order_comes_up_and_the_seed_decides() {
        let mut rng = Rng::new(2);
        let mut seen = std::collections::BTreeMap::<_, u32>::new();
        (0..6000).for_each(|_| *seen.entry(shuffled(3, &mut rng)).or_default() += 1);
        assert_eq!(seen.len(), 6);
        assert!(seen.values().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(shuffled(9, &mut Rng::new(7)), shuffled(9, &mut Rng::new(7)));
    }
}
