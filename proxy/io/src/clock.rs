//! The only reader of the OS's clocks.
#![allow(unsafe_code)]

/// Nanoseconds of the monotonic clock.
#[inline]
pub fn monotonic_nanos() -> u64 {
    let time = read(libc::CLOCK_MONOTONIC);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// Milliseconds since the Unix epoch.
#[inline]
pub fn unix_millis() -> i64 {
    let time = read(libc::CLOCK_REALTIME);
    time.tv_sec * 1000 + time.tv_nsec / 1_000_000
}

/// Microseconds since the Unix epoch.
pub fn unix_micros() -> i64 {
    let time = read(libc::CLOCK_REALTIME);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1000
}

/// Microseconds of CPU that the calling thread has used.
pub fn thread_cpu_micros() -> u64 {
    let time = read(libc::CLOCK_THREAD_CPUTIME_ID);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// The local time as log lines begin: `24 Nov 2026 11:21:18.042`.
pub fn local_time_text() -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let time = read(libc::CLOCK_REALTIME);
    // SAFETY: an all-zero tm is valid, and both pointers are.
    let local = unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        libc::localtime_r(&time.tv_sec, &mut local);
        local
    };
    format!(
        "{:02} {} {} {:02}:{:02}:{:02}.{:03}",
        local.tm_mday,
        MONTHS[local.tm_mon.clamp(0, 11) as usize],
        1900 + local.tm_year,
        local.tm_hour,
        local.tm_min,
        local.tm_sec,
        time.tv_nsec / 1_000_000
    )
}

#[inline]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for a timespec; the clocks named here exist on every Linux.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    assert_eq!(result, 0, "the kernel has the clocks that we name");
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_agree_with_the_standard_library() {
        let std = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        assert!((unix_millis() - std).abs() < 1000);
        assert!((unix_micros() / 1000 - std).abs() < 1000);
        let before = monotonic_nanos();
        assert!(monotonic_nanos() >= before);
    }
}
