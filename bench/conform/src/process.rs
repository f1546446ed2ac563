//! What the system tells about processes, and waiting for a condition.

use std::fs;
use std::time::{Duration, Instant};

/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
///
/// # Panics
/// If it does not hold within `seconds`; the message names `what`.
pub fn await_condition(what: &str, seconds: u64, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !condition() {
        assert!(Instant::now() < deadline, "waited {seconds} s in vain: {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Resident memory of a process in bytes.
///
/// # Panics
/// If there is no such process.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process lives");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a process has resident memory");
    let kib: u64 = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).expect("a number of KiB");
    kib * 1024
}

/// CPUs that this process may run on.
pub fn cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
