//! What a server costs: CPU time and memory of another process, from /proc.
//!
//! The sum comes from the scheduler, in nanoseconds; how it is split between the kernel and user mode from the
//! clock ticks, which are coarse (10 ms), so rounds should not be short.

use std::io;

/// CPU time that a process has used up to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CpuTime {
    total_nanos: u64,
    user_ticks: u64,
    system_ticks: u64,
}

/// CPU time between two moments, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct CpuUse {
    pub(crate) total_nanos: f64,
    pub(crate) user_nanos: f64,
    pub(crate) system_nanos: f64,
}

impl CpuTime {
    /// Reads all threads of the process.
    ///
    /// # Errors
    /// If there is no such process, or it is not ours to look at.
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        let mut total_nanos = 0;
        for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
            // A thread may end between the listing and the reading.
            if let Ok(text) = std::fs::read_to_string(task?.path().join("schedstat")) {
                total_nanos += first_number(&text).ok_or_else(unreadable)?;
            }
        }
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let (user_ticks, system_ticks) = ticks(&stat).ok_or_else(unreadable)?;
        Ok(Self { total_nanos, user_ticks, system_ticks })
    }

    /// That of two processes together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            total_nanos: self.total_nanos + other.total_nanos,
            user_ticks: self.user_ticks + other.user_ticks,
            system_ticks: self.system_ticks + other.system_ticks,
        }
    }

    /// What was used since an earlier moment.
    pub(crate) fn since(&self, earlier: &Self) -> CpuUse {
        let total_nanos = self.total_nanos.saturating_sub(earlier.total_nanos) as f64;
        let user = self.user_ticks.saturating_sub(earlier.user_ticks) as f64;
        let system = self.system_ticks.saturating_sub(earlier.system_ticks) as f64;
        // Without a tick there is nothing to split by; then half each.
        let user_share = if user + system > 0.0 { user / (user + system) } else { 0.5 };
        let user_nanos = total_nanos * user_share;
        CpuUse { total_nanos, user_nanos, system_nanos: total_nanos - user_nanos }
    }
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// If there is no such process.
pub(crate) fn resident_bytes(pid: u32) -> io::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    resident_of_status(&status).ok_or_else(unreadable)
}

/// CPU time in seconds that a process, its threads and those children that have ended have used up to now, to a hundredth.
/// What they have given the kernel to do counts as far as the kernel does it in threads of theirs.
///
/// # Errors
/// If there is no such process.
pub(crate) fn seconds_with_children(pid: u32) -> io::Result<f64> {
    /// `USER_HZ` of all kernels that there are.
    const TICKS_PER_SECOND: f64 = 100.0;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let ticks: [u64; 4] = fields_behind_name(&stat, 11).ok_or_else(unreadable)?;
    Ok(ticks.iter().sum::<u64>() as f64 / TICKS_PER_SECOND)
}

/// Memory in bytes of a process and its children; a page that several share counts once.
///
/// # Errors
/// If there is no such process. Children that have just ended count no more.
pub(crate) fn proportional_bytes(pid: u32) -> io::Result<u64> {
    let share = |pid| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        pss_of_rollup(&text).ok_or_else(unreadable)
    };
    let children = children_of(pid)?;
    Ok(share(pid)? + children.into_iter().filter_map(|child| share(child).ok()).sum::<u64>())
}

/// The processes whose parent is this one: not every kernel has a file that lists them.
fn children_of(pid: u32) -> io::Result<Vec<u32>> {
    let is_child = |candidate: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{candidate}/stat")).ok();
        stat.and_then(|stat| fields_behind_name(&stat, 1)) == Some([u64::from(pid)])
    };
    let names = std::fs::read_dir("/proc")?.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    Ok(names.filter(is_child).collect())
}

fn unreadable() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "/proc has another form than expected")
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and system ticks: fields 14 and 15 of proc(5)'s stat.
fn ticks(stat: &str) -> Option<(u64, u64)> {
    fields_behind_name(stat, 11).map(|[user, system]| (user, system))
}

/// Fields of proc(5)'s stat, the first of them `skipped` behind the name. The name in field 2 may hold anything.
fn fields_behind_name<const COUNT: usize>(stat: &str, skipped: usize) -> Option<[u64; COUNT]> {
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(skipped);
    let mut values = [0; COUNT];
    for value in &mut values {
        *value = fields.next()?.parse().ok()?;
    }
    Some(values)
}

fn pss_of_rollup(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(first_number(line)? * 1024)
}

fn resident_of_status(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(first_number(line)? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_any_name() {
        let stat = "42 (a ) b (c) R 1 42 42 0 -1 4194304 113 0 0 0 17 5 0 0 20 0 1 0 6 3 4";
        assert_eq!(ticks(stat), Some((17, 5)));
        assert_eq!(ticks("42 (a"), None);
    }

    #[test]
    fn the_sum_is_split_by_ticks() {
        let earlier = CpuTime { total_nanos: 1000, user_ticks: 10, system_ticks: 10 };
        let later = CpuTime { total_nanos: 5000, user_ticks: 11, system_ticks: 13 };
        let used = later.since(&earlier);
        assert_eq!((used.total_nanos, used.user_nanos, used.system_nanos), (4000.0, 1000.0, 3000.0));
        assert_eq!(earlier.since(&earlier).total_nanos, 0.0);
        let both = later.and(earlier).since(&earlier.and(earlier));
        assert_eq!((both.total_nanos, both.user_nanos), (used.total_nanos, used.user_nanos));
    }

    #[test]
    fn our_own_process_can_be_read() {
        let pid = std::process::id();
        let before = CpuTime::read(pid).unwrap();
        let mut rng = slotmesh_base::Rng::new(1);
        // Until the scheduler has accounted some of this thread's time.
        while CpuTime::read(pid).unwrap().since(&before).total_nanos == 0.0 {
            std::hint::black_box(rng.next_u64());
        }
        assert!(resident_bytes(pid).unwrap() > 1 << 20);
        assert_eq!(CpuTime::read(0).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_counts_with_its_parent_while_it_lives_and_its_time_when_it_has_ended() {
        let pid = std::process::id();
        let before = seconds_with_children(pid).unwrap();
        let busy = "i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; read line";
        let mut child = std::process::Command::new("sh");
        let mut child = child.args(["-c", busy]).stdin(std::process::Stdio::piped()).spawn().unwrap();
        assert!(children_of(pid).unwrap().contains(&child.id()));
        assert!(proportional_bytes(pid).unwrap() > 1 << 20);
        drop(child.stdin.take());
        child.wait().unwrap();
        assert!(seconds_with_children(pid).unwrap() >= before + 0.05);
        assert!(!children_of(pid).unwrap().contains(&child.id()));
    }

    #[test]
    fn proportional_memory_is_in_kib() {
        assert_eq!(pss_of_rollup("Rss: 9 kB\nPss:    1234 kB\nPss_Dirty: 1 kB\n"), Some(1234 * 1024));
    }

    #[test]
    fn resident_memory_is_in_kib() {
        assert_eq!(resident_of_status("Name:\tx\nVmRSS:\t    1234 kB\nThreads: 1\n"), Some(1234 * 1024));
    }
}
