//! Runs a load against one server.
//!
//! Each thread has a data loop of its own and its part of the connections. The threads connect and warm up; when
//! all have, the server's CPU time is read and they are sent off together; when all have their last reply, it is
//! read again, before the connections close.

mod connection;
mod routing;
mod worker;

use crate::cpu_time::CpuTime;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::load::{Extent, Load};
use crate::slot_map::SlotMap;
use crate::tally::{Measurement, Tally};
use indicatif::ProgressBar;
use slotmesh_io::clock::monotonic_nanos;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often the progress bar is moved.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
/// Descriptors beside the connections: rings, the terminal, /proc.
const DESCRIPTORS_BESIDE: u64 = 64;

/// What a thread and the caller tell each other.
struct Channels {
    /// The thread has got to the next stage.
    reached: Sender<()>,
    /// It may go on, from this instant of the monotonic clock.
    go: Receiver<u64>,
    /// An open loop shall end, whatever its extent.
    stop: Arc<AtomicBool>,
}

struct Thread {
    handle: std::thread::JoinHandle<Result<Tally, Failure>>,
    reached: Receiver<()>,
    go: Sender<u64>,
}

/// Runs `load` against `endpoint`; `bar` counts replies, or milliseconds if the load is bounded by time.
///
/// # Errors
/// If the server cannot be reached, fails to answer, or gave errors or wrong numbers of replies.
pub(crate) fn run(endpoint: &Endpoint, load: &Load, bar: &ProgressBar) -> Result<Measurement, Failure> {
    Run::begin(endpoint, load)?.finish(bar)
}

/// Runs an open loop against `endpoint` while `meanwhile` runs, at most as long as `load` says; what both give.
///
/// # Errors
/// As [`run`], and as `meanwhile`.
pub(crate) fn run_during<R>(
    endpoint: &Endpoint,
    load: &Load,
    meanwhile: impl FnOnce() -> Result<R, Failure>,
) -> Result<(Measurement, R), Failure> {
    assert!(load.rate.is_some(), "a closed loop does not look whether it shall end");
    let run = Run::begin(endpoint, load)?;
    let result = meanwhile();
    run.stop.store(true, Ordering::Relaxed);
    let measurement = run.finish(&ProgressBar::hidden());
    Ok((measurement?, result?))
}

/// A load that runs.
struct Run<'a> {
    endpoint: &'a Endpoint,
    load: &'a Load,
    threads: Vec<Thread>,
    progress: Arc<AtomicU64>,
    /// Open loops end when it is set.
    stop: Arc<AtomicBool>,
    /// When it began, on the monotonic clock.
    start: u64,
    /// The server's CPU time then.
    before: Option<CpuTime>,
}

impl<'a> Run<'a> {
    /// Connects, warms up, and lets the load begin.
    fn begin(endpoint: &'a Endpoint, load: &'a Load) -> Result<Self, Failure> {
        slotmesh_io::process::raise_open_files(load.clients as u64 + DESCRIPTORS_BESIDE)
            .map_err(|error| Failure::Kernel { what: "cannot raise the limit of open files", error })?;
        let map = load.is_cluster.then(|| masters_of(endpoint, load)).transpose()?;
        let (progress, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let threads = start_threads(endpoint, load, map.as_ref(), &progress, &stop)?;
        wait_for_all(&threads, || ());
        let before = cpu_time(endpoint)?;
        let start = monotonic_nanos();
        release(&threads, start);
        Ok(Self { endpoint, load, threads, progress, stop, start, before })
    }

    /// Waits for its end.
    fn finish(self, bar: &ProgressBar) -> Result<Measurement, Failure> {
        let Self { endpoint, load, threads, progress, start, before, .. } = self;
        wait_for_all(&threads, || match load.extent {
            Extent::Requests(_) => bar.set_position(progress.load(Ordering::Relaxed)),
            Extent::Seconds(_) => bar.set_position((monotonic_nanos() - start) / 1_000_000),
        });
        let after = cpu_time(endpoint)?;
        release(&threads, 0);
        let tally = join(threads)?;
        if tally.errors > 0 || tally.surplus > 0 {
            let Tally { errors, surplus, first_error, .. } = tally;
            return Err(Failure::Wrong { endpoint: endpoint.name.clone(), errors, first: first_error, surplus });
        }
        let seconds = tally.ended_nanos.saturating_sub(start) as f64 / 1e9;
        let cpu = before.zip(after).map(|(before, after)| after.since(&before));
        Ok(Measurement { tally, seconds, cpu })
    }
}

/// A bar for one run.
pub(crate) fn progress_bar(load: &Load) -> ProgressBar {
    ProgressBar::new(match load.extent {
        Extent::Requests(requests) => requests,
        Extent::Seconds(seconds) => (seconds * 1000.0) as u64,
    })
}

/// Who has which slots. Each thread must reach all of the masters, or keys would be left out.
fn masters_of(endpoint: &Endpoint, load: &Load) -> Result<SlotMap, Failure> {
    let map = SlotMap::ask(endpoint)?;
    let masters = map.masters().len();
    if load.clients / load.threads < masters {
        let problem = format!("its {masters} masters want a connection each from each load thread (--clients)");
        return Err(Failure::Cluster { endpoint: endpoint.name.clone(), problem });
    }
    Ok(map)
}

fn start_threads(
    endpoint: &Endpoint,
    load: &Load,
    map: Option<&SlotMap>,
    progress: &Arc<AtomicU64>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<Thread>, Failure> {
    (0..load.threads)
        .map(|index| {
            let ((reached, is_reached), (goes, go)) = (channel(), channel());
            let channels = Channels { reached, go, stop: stop.clone() };
            let (endpoint, load, map, progress) = (endpoint.clone(), load.clone(), map.cloned(), progress.clone());
            let handle = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || worker::work(&endpoint, &load, map, index, &channels, &progress))
                .map_err(|error| Failure::Kernel { what: "cannot start a thread", error })?;
            Ok(Thread { handle, reached: is_reached, go: goes })
        })
        .collect()
}

/// Waits until each thread has got to its next stage or has ended.
fn wait_for_all(threads: &[Thread], mut meanwhile: impl FnMut()) {
    for thread in threads {
        while let Err(RecvTimeoutError::Timeout) = thread.reached.recv_timeout(PROGRESS_INTERVAL) {
            meanwhile();
        }
    }
}

/// Lets all threads go on; one that has ended is not there to hear it.
fn release(threads: &[Thread], instant: u64) {
    for thread in threads {
        let _ = thread.go.send(instant);
    }
}

fn join(threads: Vec<Thread>) -> Result<Tally, Failure> {
    let mut all = Tally::default();
    for thread in threads {
        all.add(&thread.handle.join().map_err(|_| Failure::Thread)??);
    }
    Ok(all)
}

fn cpu_time(endpoint: &Endpoint) -> Result<Option<CpuTime>, Failure> {
    let times = endpoint.pids.iter().map(|&pid| CpuTime::read(pid).map_err(|error| Failure::Process { pid, error }));
    Ok(times.collect::<Result<Vec<_>, _>>()?.into_iter().reduce(CpuTime::and))
}

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod tests;
