//! Runs seeds of the simulator, as many as asked for, on all cores. *Not here*: what a run is.

use slotmesh_sim::{Failure, Options, Report, run};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

const HELP: &str = "\
usage: slotmesh-sim [--seeds N] [--from SEED] [--threads N] [--disk-lies]
       slotmesh-sim --seed SEED [--trace] [--disk-lies]

Without arguments 100 seeds from 0 on. A run that fails prints its seed and how to see it again.
--disk-lies lets the disks confirm what they may yet lose: the checkers must find that.
";

struct Arguments {
    options: Options,
    first: u64,
    seeds: u64,
    threads: u64,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(arguments) = parse(&words) else {
        eprint!("{HELP}");
        return ExitCode::from(2);
    };
    let failures = run_all(&arguments);
    println!("{} of {} seeds went well", arguments.seeds - failures, arguments.seeds);
    ExitCode::from(u8::from(failures > 0))
}

fn parse(words: &[String]) -> Option<Arguments> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut arguments = Arguments { options: Options::default(), first: 0, seeds: 100, threads };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut number = || words.next()?.parse::<u64>().ok();
        match word.as_str() {
            "--seeds" => arguments.seeds = number()?,
            "--from" => arguments.first = number()?,
            "--threads" => arguments.threads = number()?.max(1),
            "--seed" => (arguments.first, arguments.seeds) = (number()?, 1),
            "--trace" => arguments.options.trace = true,
            "--disk-lies" => arguments.options.disk_lies = true,
            _ => return None,
        }
    }
    Some(arguments)
}

/// How many seeds failed.
fn run_all(arguments: &Arguments) -> u64 {
    let next = AtomicU64::new(0);
    let failures = AtomicU64::new(0);
    let work = || loop {
        let nth = next.fetch_add(1, Ordering::Relaxed);
        if nth >= arguments.seeds {
            break;
        }
        let seed = arguments.first + nth;
        match run(Options { seed, ..arguments.options }) {
            Ok(report) => print_report(seed, report),
            Err(failure) => {
                failures.fetch_add(1, Ordering::Relaxed);
                print_failure(&failure);
            }
        }
    };
    std::thread::scope(|scope| (0..arguments.threads).for_each(|_| _ = scope.spawn(work)));
    failures.load(Ordering::Relaxed)
}

fn print_report(seed: u64, report: Report) {
    let Report { fingerprint, votes, elections, agreed_after_ms } = report;
    println!("seed {seed}: {votes} votes, {elections} won, agreed after {agreed_after_ms} ms, {fingerprint:016x}");
}

fn print_failure(failure: &Failure) {
    println!("{failure}");
}
