//! The control plane of a core: a monoio runtime on the same thread, driven by the data loop.
//!
//! The data loop is the future that monoio's `block_on` runs, and it sleeps in the raw ring only, which polls
//! the descriptor of monoio's ring. When that fires, or a task was spawned, the loop awaits a few monoio
//! operations that are ready at once, so that monoio submits, reaps and runs its tasks. One is not enough: what
//! tasks submit in the pass that resumes the main future is still unsubmitted.
//!
//! Nobody may use monoio's timers: their deadline is private to monoio, so the raw ring cannot sleep no longer
//! than it. Deadlines belong to [`crate::Wait`].
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Entries of monoio's ring: a few links and files per core.
const ENTRIES: u32 = 256;
/// Monoio passes that bring everything that is ready to its next wait.
const PASSES: usize = 3;

/// Runtimes are built one at a time, so that the descriptor that appears in between is known to be theirs.
static BUILD: Mutex<()> = Mutex::new(());

pub(crate) type Runtime = monoio::Runtime<monoio::IoUringDriver>;

/// Builds a runtime for the calling thread; also gives the descriptor of its ring.
///
/// # Errors
/// As `io_uring_setup`.
pub(crate) fn build_runtime() -> io::Result<(Runtime, RawFd)> {
    let guard = BUILD.lock().expect("nobody panics while building a runtime");
    let before = ring_descriptors()?;
    let mut flags = io_uring06::IoUring::builder();
    // Not DEFER_TASKRUN: a poll on a deferring ring's descriptor never wakes.
    flags.setup_single_issuer().setup_coop_taskrun().setup_submit_all();
    let runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(ENTRIES)
        .uring_builder(flags)
        .build()?;
    let mut new = ring_descriptors()?.into_iter().filter(|fd| !before.contains(fd));
    let fd = new.next().expect("building a monoio runtime opens a ring");
    assert!(new.next().is_none(), "building a monoio runtime opens one ring, and nobody else opens any meanwhile");
    drop(guard);
    Ok((runtime, fd))
}

/// Opens a ring under the same lock, so that it is never mistaken for a runtime's.
pub(crate) fn while_no_runtime_is_built<T>(open: impl FnOnce() -> T) -> T {
    let _guard = BUILD.lock().expect("nobody panics while building a runtime");
    open()
}

fn ring_descriptors() -> io::Result<Vec<RawFd>> {
    let mut rings = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_ring = std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]");
        if let (true, Some(fd)) = (is_ring, entry.file_name().to_str().and_then(|name| name.parse().ok())) {
            rings.push(fd);
        }
    }
    Ok(rings)
}

/// Lets monoio do what is ready.
pub(crate) struct Control {
    /// An eventfd that is readable for ever, in the shape that monoio can wait for.
    always_ready: monoio::net::TcpStream,
}

impl Control {
    /// To be called inside of the runtime.
    ///
    /// # Errors
    /// If no descriptor can be had.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: plain syscall without pointers.
        let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { always_ready: monoio::net::TcpStream::from_std(std::net::TcpStream::from(owned))? })
    }

    /// Runs monoio until everything that is ready now has been submitted, reaped and run.
    pub(crate) async fn pass(&self) {
        for _ in 0..PASSES {
            // An eventfd with a count is readable; an error would only mean one pass less.
            let _ = self.always_ready.readable(true).await;
        }
    }
}
