//! slotmesh: a Redis server on every core.
//!
//! *For*: doing what `shard/` decides: sockets, threads, files, signals. *Not here*: parsing, routing rules, error
//! texts of commands.
//! *Read first*: `boot.rs`, `core_loop.rs`, `engine.rs`.

mod allocator;
mod batch;
mod blocking;
mod board;
mod boot;
mod bus;
mod client;
mod config_file;
mod core_loop;
mod doors;
mod drill;
mod engine;
mod exchange;
mod fence;
mod formation;
mod handover;
mod hop;
mod huge_pages;
mod lending;
mod listener;
mod log;
mod membership;
mod meter;
mod monitor;
mod node_port;
mod oom_score;
mod pauses;
mod persistence;
mod post;
mod presence;
mod process;
mod pubsub;
mod questions;
mod remote;
mod replication;
mod replies;
mod scatter;
mod shutdown;
mod statistics;
mod supervisor;
mod tracking;
mod transactions;
mod walk_time;

use slotmesh_conf::{CommandLine, ConfError, Invocation, Loaded, help, load};
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Its statistics are those that operators of Redis know.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("slotmesh: {problem}");
            ExitCode::FAILURE
        }
    }
}

/// Does what the command line asks for; the error is what to tell the operator.
fn run() -> Result<(), String> {
    let told = |error: ConfError| error.to_string();
    match Invocation::parse(std::env::args_os().skip(1)).map_err(told)? {
        Invocation::Help => print!("{}", help::text()),
        Invocation::Version => println!("slotmesh {} (Redis 7.2 compatible)", env!("CARGO_PKG_VERSION")),
        Invocation::CheckConfig(line) => {
            read_settings(&line).map_err(told)?;
            println!("The configuration is good.");
        }
        Invocation::Serve(line) => {
            let loaded = read_settings(&line).map_err(told)?;
            boot::serve(loaded, line.file.as_deref()).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

fn read_settings(line: &CommandLine) -> Result<Loaded, ConfError> {
    let reader: slotmesh_conf::Reader = Arc::new(SystemFiles);
    load(line, std::env::vars_os(), &reader)
}

/// The files of the system.
struct SystemFiles;

impl slotmesh_conf::Files for SystemFiles {
    fn read(&self, path: &Path) -> std::io::Result<String> {
        if path == Path::new("-") {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            return Ok(text);
        }
        std::fs::read_to_string(path)
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }
}
