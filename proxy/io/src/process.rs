//! The process as the kernel sees it: signals, resources, memory.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// The number of the signal that a terminal's interrupt key sends.
pub const SIGINT: i32 = libc::SIGINT;

/// The error code of an address family that the kernel does not have.
pub const EAFNOSUPPORT: i32 = libc::EAFNOSUPPORT;

/// Blocks SIGTERM and SIGINT in the calling thread and those that it starts, ignores SIGPIPE and SIGHUP, and gives a
/// descriptor that becomes readable when one of the blocked signals arrives. To be called before threads start.
///
/// # Errors
/// If the kernel refuses.
pub fn catch_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised by sigemptyset before use, and all pointers are valid.
    let fd = unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        let error = libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        libc::signal(libc::SIGPIPE, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number of the signal that made the descriptor of [`catch_signals`] readable, if there is one.
pub fn take_signal(signals: &OwnedFd) -> Option<i32> {
    // SAFETY: an all-zero signalfd_siginfo is valid.
    let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: `info` is valid for `size` bytes.
    let read = unsafe { libc::read(signals.as_raw_fd(), (&raw mut info).cast(), size) };
    (read == size as isize).then_some(info.ssi_signo as i32)
}

/// Goes to the background: the parent leaves with success, the child has a session of its own and nothing on its standard
/// streams. To be called while there is one thread.
///
/// # Errors
/// If there are several threads (a fork would keep one of them and the locks of all), or the kernel refuses.
pub fn daemonize() -> io::Result<()> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("there are threads already"));
    }
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    // SAFETY: there is one thread, so that the child has all that the parent had, and no lock is held by anybody else;
    // the parent leaves without running anything that was registered for its end.
    unsafe {
        match libc::fork() {
            -1 => return Err(io::Error::last_os_error()),
            0 => {}
            _ => libc::_exit(0),
        }
        libc::setsid();
        for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
            if libc::dup2(null.as_raw_fd(), stream) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
    }
    Ok(())
}

/// Stops the process until somebody lets it go on: how upstart is told that we are ready.
pub fn stop_self() {
    // SAFETY: plain call.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Raises the limit of open files to `wanted`, as far as allowed; the limit in force afterwards.
///
/// # Errors
/// If the kernel does not tell.
pub fn raise_open_files(wanted: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur >= wanted {
        return Ok(limit.rlim_cur);
    }
    // Beyond the hard limit only a privileged process gets.
    for hard in [wanted.max(limit.rlim_max), limit.rlim_max] {
        let raised = libc::rlimit { rlim_cur: wanted.min(hard), rlim_max: hard };
        // SAFETY: `raised` is valid.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            return Ok(raised.rlim_cur);
        }
    }
    Ok(limit.rlim_cur)
}

/// Ends the process as a bad memory access would.
pub fn fault() -> ! {
    // SAFETY: the handlers have their defaults, which end the process, also for a signal that was raised.
    unsafe {
        libc::signal(libc::SIGSEGV, libc::SIG_DFL);
        libc::raise(libc::SIGSEGV);
    }
    std::process::abort()
}

/// CPU that the process has used, in microseconds: in the kernel, and in user mode.
pub fn cpu_micros() -> (u64, u64) {
    // SAFETY: an all-zero rusage is valid, and the pointer too.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    (micros(usage.ru_stime), micros(usage.ru_utime))
}

/// Resident set of the process in bytes; 0 if /proc is not there.
pub fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    // SAFETY: plain call.
    pages.unwrap_or(0) * unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64
}

/// Physical memory of the machine in bytes.
pub fn system_bytes() -> u64 {
    // SAFETY: plain calls.
    unsafe { libc::sysconf(libc::_SC_PHYS_PAGES) as u64 * libc::sysconf(libc::_SC_PAGESIZE) as u64 }
}

/// Kernel name, release and machine, as `uname -srm`.
pub fn kernel() -> String {
    let read = |name| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    format!("{} {} {}", read("ostype").trim(), read("osrelease").trim(), std::env::consts::ARCH)
}

/// Has the kernel give this process no huge pages that it does not ask for.
///
/// # Errors
/// If the kernel refuses.
pub fn disable_huge_pages() -> io::Result<()> {
    // SAFETY: plain call; the kernel wants the unused arguments to be 0.
    if unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Names the calling thread for `top -H` and `perf`.
pub fn name_thread(name: &std::ffi::CStr) {
    // SAFETY: the name is a C string; the kernel cuts it at 15 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr()) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_its_resources() {
        assert!(resident_bytes() > 1 << 20);
        assert!(system_bytes() > resident_bytes());
        assert!(kernel().starts_with("Linux "));
        let limit = raise_open_files(64).unwrap();
        assert!(limit >= 64);
    }

    #[test]
    fn huge_pages_are_disabled_for_the_process() {
        let is_enabled = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            status.lines().find_map(|line| Some(line.strip_prefix("THP_enabled:")?.trim() == "1"))
        };
        disable_huge_pages().unwrap();
        // Kernels before 5.0 do not tell.
        assert_ne!(is_enabled(), Some(true));
    }
}
