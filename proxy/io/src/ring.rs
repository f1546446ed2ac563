//! The raw ring of one core: submission with room made when it is full, and one enter per turn.
#![allow(unsafe_code)]

use crate::control;
use crate::kernel::{Operation, SEND_BYTES_MAX};
use io_uring::{IoUring, cqueue, opcode, squeue, types};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

/// Entries of the submission queue: more than one turn of a busy core fills; a full queue is submitted early.
const SUBMISSIONS: u32 = 1024;
/// Entries of the completion queue: every receive buffer, and a burst of accepts beside it.
const COMPLETIONS: u32 = 8192;

/// A ring that only its own thread submits to.
pub(crate) struct Ring {
    inner: ManuallyDrop<IoUring>,
    /// Times that the kernel was entered.
    pub(crate) enters: u64,
}

impl Ring {
    /// # Errors
    /// As `io_uring_setup`; `probe.rs` words them.
    pub(crate) fn new() -> io::Result<Self> {
        control::while_no_runtime_is_built(Self::open)
    }

    fn open() -> io::Result<Self> {
        let mut submissions = SUBMISSIONS;
        loop {
            let built = IoUring::builder()
                .setup_single_issuer()
                .setup_coop_taskrun()
                .setup_defer_taskrun()
                .setup_taskrun_flag()
                .setup_submit_all()
                .setup_cqsize(COMPLETIONS * submissions / SUBMISSIONS)
                .build(submissions);
            match built {
                Ok(inner) => return Ok(Self { inner: ManuallyDrop::new(inner), enters: 0 }),
                // Locked memory is charged per user: a smaller ring may still fit.
                Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && submissions > 64 => submissions /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }

    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.inner.submitter()
    }

    /// Queues an operation; what it points to must live until its completion, or until the next enter has
    /// returned for sends that complete inline.
    #[inline]
    pub(crate) fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: each caller builds the entry from memory that outlives the operation, as its module's
            // invariants say: receive buffers live as long as the ring, the arena, a socket's own buffer and what
            // is written to a file are not touched until their completion.
            if unsafe { self.inner.submission().push(entry) }.is_ok() {
                return;
            }
            self.submit();
        }
    }

    pub(crate) fn accept(&mut self, place: u32, listener: RawFd) {
        let entry = opcode::AcceptMulti::new(types::Fd(listener)).flags(libc::SOCK_CLOEXEC).build();
        self.push(&entry.user_data(Operation::Accept.tagged(place)));
    }

    pub(crate) fn poll(&mut self, operation: Operation, value: u32, descriptor: RawFd) {
        let entry = opcode::PollAdd::new(types::Fd(descriptor), libc::POLLIN as u32).build();
        self.push(&entry.user_data(operation.tagged(value)));
    }

    /// Sends a message to another ring.
    pub(crate) fn wake(&mut self, ring: RawFd) {
        let message = opcode::MsgRingData::new(types::Fd(ring), 0, Operation::Wake.tagged(0), None).build();
        self.push(&message.user_data(Operation::Ignored.tagged(0)).flags(squeue::Flags::SKIP_SUCCESS));
    }

    pub(crate) fn receive(&mut self, index: u32, socket: RawFd) {
        let entry = opcode::RecvMulti::new(types::Fd(socket), crate::buffers::GROUP).build();
        self.push(&entry.user_data(Operation::Receive.tagged(index)));
    }

    pub(crate) fn stop_receiving(&mut self, index: u32) {
        let entry = opcode::AsyncCancel::new(Operation::Receive.tagged(index)).build();
        self.push(&entry.user_data(Operation::Ignored.tagged(0)));
    }

    pub(crate) fn cancel(&mut self, _index: u32, socket: RawFd) {
        let all = types::CancelBuilder::fd(types::Fd(socket)).all();
        self.push(&opcode::AsyncCancel2::new(all).build().user_data(Operation::Ignored.tagged(0)));
    }

    /// A send that the kernel tries once and completes inside of the enter, silently if every byte went out.
    #[inline]
    pub(crate) fn send_now(&mut self, index: u32, socket: RawFd, bytes: &[u8]) {
        let length = bytes.len().min(SEND_BYTES_MAX);
        let entry = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), length as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(Operation::SendArena.tagged(index));
        // A cut one must report what it sent, so that the rest can follow.
        self.push(&if length == bytes.len() { entry.flags(squeue::Flags::SKIP_SUCCESS) } else { entry });
    }

    pub(crate) fn send(&mut self, index: u32, socket: RawFd, bytes: &[u8]) {
        let length = bytes.len().min(SEND_BYTES_MAX);
        let entry = opcode::Send::new(types::Fd(socket), bytes.as_ptr(), length as u32)
            .flags(libc::MSG_NOSIGNAL)
            .build()
            .user_data(Operation::SendQueue.tagged(index));
        self.push(&entry);
    }

    /// Writes to a file; with `syncs` it completes when these bytes are on the disk. They stay as they are until then.
    pub(crate) fn write_file(&mut self, place: u32, file: RawFd, bytes: &[u8], offset: u64, syncs: bool) {
        let flags = if syncs { libc::RWF_DSYNC } else { 0 };
        let entry = opcode::Write::new(types::Fd(file), bytes.as_ptr(), bytes.len() as u32);
        let entry = entry.offset(offset).rw_flags(flags).build();
        self.push(&entry.user_data(Operation::File.tagged(place)));
    }

    pub(crate) fn sync_file(&mut self, place: u32, file: RawFd, data_only: bool) {
        let flags = if data_only { types::FsyncFlags::DATASYNC } else { types::FsyncFlags::empty() };
        let entry = opcode::Fsync::new(types::Fd(file)).flags(flags).build();
        self.push(&entry.user_data(Operation::File.tagged(place)));
    }

    pub(crate) fn flush_file(&mut self, place: u32, file: RawFd, offset: u64, len: u64) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let entry = opcode::SyncFileRange::new(types::Fd(file), len).offset(offset).flags(libc::SYNC_FILE_RANGE_WRITE);
        self.push(&entry.build().user_data(Operation::File.tagged(place)));
    }

    /// Hands queued operations to the kernel without waiting and without running deferred work.
    pub(crate) fn submit(&mut self) {
        self.enters += 1;
        tolerate(self.inner.submit().map(|_| ()));
    }

    /// Submits, and runs deferred work so that its completions can be seen; does not wait.
    pub(crate) fn submit_and_reap(&mut self) {
        let submission = self.inner.submission();
        let queued = submission.len() as u32;
        // The kernel says when it has deferred work, so an idle enter can be spared.
        if queued == 0 && !submission.taskrun() && !submission.cq_overflow() {
            return;
        }
        drop(submission);
        self.enters += 1;
        const GETEVENTS: u32 = 1;
        // SAFETY: no signal mask is passed.
        let result = unsafe { self.inner.submitter().enter::<libc::sigset_t>(queued, 0, GETEVENTS, None) };
        tolerate(result.map(|_| ()));
    }

    /// Submits and sleeps until a completion arrives or `timeout` passes.
    pub(crate) fn submit_and_wait(&mut self, timeout: Option<Duration>) {
        self.enters += 1;
        let result = match timeout {
            None => self.inner.submit_and_wait(1),
            Some(timeout) => {
                let timeout = types::Timespec::from(timeout);
                let arguments = types::SubmitArgs::new().timespec(&timeout);
                self.inner.submitter().submit_with_args(1, &arguments)
            }
        };
        tolerate(result.map(|_| ()));
    }

    /// Whether completions wait, or deferred work that would make some.
    #[inline]
    pub(crate) fn has_completions(&mut self) -> bool {
        self.inner.submission().taskrun() || !self.inner.completion().is_empty()
    }

    /// Whether the kernel has not taken everything that was queued (it may lack memory for a moment).
    pub(crate) fn has_unsubmitted(&mut self) -> bool {
        !self.inner.submission().is_empty()
    }

    /// Whether completions wait in the kernel because the queue was full.
    pub(crate) fn has_overflow(&mut self) -> bool {
        self.inner.submission().cq_overflow()
    }

    /// The completions that have arrived.
    pub(crate) fn completions(&mut self) -> cqueue::CompletionQueue<'_> {
        self.inner.completion()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The descriptor's number must not be taken again by a runtime that is being built, which would look for a
        // new one.
        // SAFETY: dropped once, and not used afterwards.
        control::while_no_runtime_is_built(|| unsafe { ManuallyDrop::drop(&mut self.inner) });
    }
}

/// Interruptions, timeouts and a busy kernel are no errors: the next turn enters again. Anything else means
/// that the ring is unusable, and a core without a ring cannot serve.
fn tolerate(result: io::Result<()>) {
    let Err(error) = result else { return };
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EAGAIN | libc::EBUSY | libc::ETIME) => {}
        _ => panic!("io_uring_enter failed: {error}"),
    }
}
