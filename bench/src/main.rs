//! The load generator of the house: how fast is a server, and against what?
//!
//! *For*: driving any server of the Redis protocol over the same I/O layer as our own, in closed or open loop;
//! comparing servers in interleaved rounds; the figures of `bench/RESULTS.md`. *Not here*: what a right reply is
//! beyond its kind and count (`conform`), judgements by the wall clock in tests.
//! *Invariants*: nothing allocates per request; errors and wrong counts of replies fail a run; no child outlives us.
//! *Read first*: `generator.rs`, then `compare.rs`.

mod arguments;
mod compare;
mod cpu_time;
mod echo;
mod endpoint;
mod failure;
mod generator;
mod help;
mod keys;
mod load;
mod plot;
mod report;
mod schedule;
mod slot_map;
mod statistics;
mod suite;
mod tally;
mod workload;

use crate::arguments::Invocation;
use crate::failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let invocation = match arguments::parse(std::env::args().skip(1)) {
        Ok(invocation) => invocation,
        Err(error) => {
            eprintln!("slotmesh-bench: {error}; --help lists all options");
            return ExitCode::from(2);
        }
    };
    match run(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("slotmesh-bench: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(invocation: Invocation) -> Result<(), Failure> {
    match invocation {
        Invocation::Help => {
            print!("{}", help::TEXT);
            Ok(())
        }
        Invocation::Version => {
            println!("slotmesh-bench {}", env!("CARGO_PKG_VERSION"));
            Ok(())
        }
        Invocation::Single(single) => compare::run_single(&single),
        Invocation::Compare(comparison) => compare::run_comparison(&comparison),
        Invocation::Echo(server) => echo::serve(&server),
        Invocation::Suite(options) => suite::run(&options),
    }
}
