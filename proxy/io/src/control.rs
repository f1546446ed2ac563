//! The control plane of a core: a monoio runtime on the same thread, driven by the data loop.
//!
//! The data loop is the future that monoio's `block_on` runs, and it sleeps in its own ring or epoll set only, which
//! polls the descriptor of monoio's. When that fires, or a task was spawned, the loop awaits monoio operations
//! that are ready at once, so that monoio submits, reaps and runs its tasks. What a task submits in the pass that
//! resumes the main future is still unsubmitted, so the loop goes on until no task was polled for two passes. On epoll
//! monoio looks for what is ready whenever a task waits to be run, so there a task that does nothing makes a pass.
//!
//! Nobody may use monoio's timers: their deadline is private to monoio, so the data loop cannot sleep no longer
//! than it. Deadlines belong to [`crate::Wait`].
#![allow(unsafe_code)]

use crate::Backend;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

/// Entries of monoio's ring or epoll set: a few links and files per core.
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
/// knows when they have run. Sockets that were not made by monoio must be non-blocking: on epoll it reads and writes
/// them itself.
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

pub(crate) type Runtime = monoio::FusionRuntime<monoio::IoUringDriver, monoio::LegacyDriver>;

/// Builds a runtime for the calling thread; also gives the descriptor of its ring or epoll set.
///
/// # Errors
/// As `io_uring_setup` or `epoll_create`.
pub(crate) fn build_runtime(backend: Backend) -> io::Result<(Runtime, RawFd)> {
    let guard = BUILD.lock().expect("nobody panics while building a runtime");
    let before = descriptors(backend)?;
    let runtime: Runtime = match backend {
        Backend::IoUring => {
            let mut flags = io_uring06::IoUring::builder();
            // Not DEFER_TASKRUN: a poll on a deferring ring's descriptor never wakes.
            flags.setup_single_issuer().setup_coop_taskrun().setup_submit_all();
            let builder = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().with_entries(ENTRIES);
            builder.uring_builder(flags).build()?.into()
        }
        Backend::Epoll => monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().with_entries(ENTRIES).build()?.into(),
    };
    let mut new = descriptors(backend)?.into_iter().filter(|fd| !before.contains(fd));
    let fd = new.next().expect("building a monoio runtime opens a ring or an epoll set");
    assert!(new.next().is_none(), "building a monoio runtime opens one of these, and nobody else opens any meanwhile");
    drop(guard);
    Ok((runtime, fd))
}

/// Opens or closes a ring or an epoll set under the same lock, so that none is mistaken for a runtime's.
pub(crate) fn while_no_runtime_is_built<T>(open_or_close: impl FnOnce() -> T) -> T {
    let _guard = BUILD.lock().expect("nobody panics while building a runtime");
    open_or_close()
}

/// The process's descriptors of the kind that a runtime of `backend` opens.
fn descriptors(backend: Backend) -> io::Result<Vec<RawFd>> {
    let kind = match backend {
        Backend::IoUring => "anon_inode:[io_uring]",
        Backend::Epoll => "anon_inode:[eventpoll]",
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let entry = entry?;
        let is_one = std::fs::read_link(entry.path()).is_ok_and(|target| target.as_os_str() == kind);
        if let (true, Some(fd)) = (is_one, entry.file_name().to_str().and_then(|name| name.parse().ok())) {
            found.push(fd);
        }
    }
    Ok(found)
}

/// Lets monoio do what is ready.
pub(crate) struct Control {
    /// On a ring: an eventfd that is readable for ever, in the shape that monoio can wait for.
    always_ready: Option<monoio::net::TcpStream>,
    /// The activity that a pass has dealt with.
    seen: Cell<u64>,
}

impl Control {
    /// To be called inside of the runtime.
    ///
    /// # Errors
    /// If no descriptor can be had.
    pub(crate) fn new(backend: Backend) -> io::Result<Self> {
        let always_ready = match backend {
            Backend::IoUring => Some(Self::always_ready()?),
            Backend::Epoll => None,
        };
        Ok(Self { always_ready, seen: Cell::new(u64::MAX) })
    }

    fn always_ready() -> io::Result<monoio::net::TcpStream> {
        // SAFETY: plain syscall without pointers.
        let fd = unsafe { libc::eventfd(1, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        monoio::net::TcpStream::from_std(std::net::TcpStream::from(owned))
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
            match &self.always_ready {
                // An eventfd with a count is readable; an error would only mean one pass less.
                Some(always_ready) => drop(always_ready.readable(true).await),
                None => monoio::spawn(async {}).await,
            }
            quiet = if ACTIVITY.get() == before { quiet + 1 } else { 0 };
            if quiet == QUIET_PASSES {
                self.seen.set(before);
                return;
            }
        }
    }
}
