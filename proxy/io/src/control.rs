//! The control plane of a core: a monoio runtime on the same thread, driven by the data loop.
//!
//! The data loop is the future that monoio's `block_on` runs, and it sleeps in the raw ring only, which polls
//! the descriptor of monoio's ring. When that fires, or a task was spawned, the loop awaits monoio operations
//! that are ready at once, so that monoio submits, reaps and runs its tasks. What a task submits in the pass that
//! resumes the main future is still unsubmitted, so the loop goes on until no task was polled for two passes.
//!
//! Nobody may use monoio's timers: their deadline is private to monoio, so the raw ring cannot sleep no longer
//! than it. Deadlines belong to [`crate::Wait`].
#![allow(unsafe_code)]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Entries of monoio's ring: a few links and files per core.
const ENTRIES: u32 = 256;
/// Passes without a polled task after which everything is submitted.
const QUIET_PASSES: usize = 2;
/// Most passes of one turn of the data loop.
const PASSES_MAX: usize = 32;

thread_local! {
    /// Times that control tasks of this thread were spawned or polled.
    static ACTIVITY: Cell<u64> = const { Cell::new(0) };
}

fn note_activity() {
    ACTIVITY.set(ACTIVITY.get() + 1);
}

/// Starts a task of the control plane on this core. Tasks are started only through here, so that the data loop
/// knows when they have run.
pub fn spawn_control<F>(task: F) -> monoio::task::JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    note_activity();
    monoio::spawn(async move {
        let mut task = std::pin::pin!(task);
        poll_fn(|context| {
            note_activity();
            task.as_mut().poll(context)
        })
        .await
    })
}

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
    let runtime =
        monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(ENTRIES).uring_builder(flags).build()?;
    let mut new = ring_descriptors()?.into_iter().filter(|fd| !before.contains(fd));
    let fd = new.next().expect("building a monoio runtime opens a ring");
    assert!(new.next().is_none(), "building a monoio runtime opens one ring, and nobody else opens any meanwhile");
    drop(guard);
    Ok((runtime, fd))
}

/// Opens or closes a ring under the same lock, so that none is mistaken for a runtime's.
pub(crate) fn while_no_runtime_is_built<T>(open_or_close: impl FnOnce() -> T) -> T {
    let _guard = BUILD.lock().expect("nobody panics while building a runtime");
    open_or_close()
}

fn ring_descriptors() -> io::Result<Vec<RawFd>> {
    let mut rings = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_ring =
            std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]");
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
    /// The activity that a pass has dealt with.
    seen: Cell<u64>,
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
        let always_ready = monoio::net::TcpStream::from_std(std::net::TcpStream::from(owned))?;
        Ok(Self { always_ready, seen: Cell::new(u64::MAX) })
    }

    /// Whether tasks were spawned since the last pass.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        ACTIVITY.get() != self.seen.get()
    }

    /// Runs monoio until everything that is ready now has been submitted, reaped and run, but not for ever:
    /// [`is_due`](Self::is_due) says whether the next turn must go on.
    pub(crate) async fn pass(&self) {
        let mut quiet = 0;
        for _ in 0..PASSES_MAX {
            let before = ACTIVITY.get();
            // An eventfd with a count is readable; an error would only mean one pass less.
            let _ = self.always_ready.readable(true).await;
            quiet = if ACTIVITY.get() == before { quiet + 1 } else { 0 };
            if quiet == QUIET_PASSES {
                self.seen.set(before);
                return;
            }
        }
    }
}
