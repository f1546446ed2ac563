//! Redis's own test suite against the node: `slotmesh-conform TREE [UNIT…]`, where TREE is a source tree of Redis.
//!
//! *For*: running the units named and printing what failed; without names, running those that fit and putting the table
//! into `bench/RESULTS.md`. *Not here*: tests of ours, which `cargo test` runs.
//! *Invariants*: the suite runs as it is; nothing of it is kept.
//! *Read first*: `suite.rs`.

use slotmesh_conform::suite;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Where the table stands.
const RESULTS: &str = "bench/RESULTS.md";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let Some(tree) = words.next().map(PathBuf::from).filter(|tree| tree.join("tests/test_helper.tcl").is_file()) else {
        eprintln!("usage: slotmesh-conform TREE [UNIT…], where TREE is a source tree of Redis (it has tests/)");
        return ExitCode::FAILURE;
    };
    let named: Vec<String> = words.collect();
    let units: Vec<&str> =
        if named.is_empty() { suite::UNITS.to_vec() } else { named.iter().map(String::as_str).collect() };
    match measure(&tree, &units, named.is_empty()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("slotmesh-conform: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(tree: &Path, units: &[&str], is_whole: bool) -> std::io::Result<()> {
    let stage = suite::Stage::new(tree)?;
    let mut outcomes = Vec::new();
    for unit in units {
        let outcome = stage.run(unit)?;
        println!("{}", suite::row(unit, &outcome));
        if !is_whole {
            outcome.failures.iter().for_each(|failure| println!("  {}: {}", failure.test, failure.reason));
        }
        outcomes.push((*unit, outcome));
    }
    if is_whole {
        let text = std::fs::read_to_string(RESULTS)?;
        std::fs::write(RESULTS, suite::put_section(&text, &suite::section(&stage, &outcomes)))?;
        println!("written to {RESULTS}");
    }
    Ok(())
}
