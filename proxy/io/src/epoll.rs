//! The stand-in for the ring where the kernel has or allows none: an epoll set per core, and system calls for what the
//! ring would have done by itself.
//!
//! A send is tried when it is asked for; if the socket has no room, its rest is sent when epoll says that there is some.
//! Receives and accepts are made when a wait has found them ready, a bounded number each, so that nobody is starved:
//! what is left then is ready again at the next wait, behind the others.
//!
//! What a socket is watched for may be more than what is wanted of it: a change is made when epoll reports something
//! that nobody wants, so that pausing and resuming, or a send that is soon over, cost no system call.
#![allow(unsafe_code)]

use crate::control;
use crate::kernel::{Completion, Operation, SEND_BYTES_MAX};
use crate::{ReceiveBuffers, buffers};
use std::ffi::c_int;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Most receives of a socket between two waits: each fills a buffer.
const RECEIVES_MAX: usize = 4;
/// Most descriptors that a wait reports. All of them together cannot use up the buffers.
const READY_MAX: usize = buffers::BUFFERS as usize / RECEIVES_MAX;
/// Most connections that a listener accepts between two waits.
const ACCEPTS_MAX: usize = 64;

const IN: u32 = libc::EPOLLIN as u32;
const OUT: u32 = libc::EPOLLOUT as u32;
/// Reported whether asked for or not.
const FAULT: u32 = (libc::EPOLLERR | libc::EPOLLHUP) as u32;

/// What is wanted of a socket, and what it is watched for.
#[derive(Clone, Copy, Debug)]
struct Watch {
    socket: RawFd,
    /// The events that the set has for it; 0 = it is not in the set.
    watched: u32,
    receives: bool,
    sends: Option<Rest>,
}

impl Watch {
    const NOTHING: Self = Self { socket: -1, watched: 0, receives: false, sends: None };

    fn wanted(&self) -> u32 {
        (if self.receives { IN } else { 0 }) | (if self.sends.is_some() { OUT } else { 0 })
    }
}

/// Bytes that wait for room. They stay as they are until their send completes.
#[derive(Clone, Copy, Debug)]
struct Rest {
    start: *const u8,
    len: usize,
}

/// An epoll set that only its own thread uses.
pub(crate) struct Epoll {
    set: ManuallyDrop<OwnedFd>,
    /// By the sockets' places.
    sockets: Vec<Watch>,
    /// By their places; −1 = does not accept.
    listeners: Vec<RawFd>,
    ready: Vec<libc::epoll_event>,
    completed: Vec<Completion>,
    /// Whether the kernel has waits of less than a millisecond (since Linux 5.11).
    has_fine_waits: bool,
    /// Waits.
    pub(crate) enters: u64,
}

impl Epoll {
    /// Also gives the descriptor that wakes it. It is never read, which only needs its count not to overflow.
    ///
    /// # Errors
    /// If no descriptor can be had.
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        // SAFETY: plain system calls without pointers; the descriptors are new and ours.
        let set = control::while_no_runtime_is_built(|| own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }))?;
        // SAFETY: as above.
        let bell = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let epoll = Self {
            set: ManuallyDrop::new(set),
            sockets: Vec::new(),
            listeners: Vec::new(),
            ready: vec![libc::epoll_event { events: 0, u64: 0 }; READY_MAX],
            completed: Vec::new(),
            has_fine_waits: true,
            enters: 0,
        };
        // By its edges: each ring is reported once.
        let edges = IN | libc::EPOLLET as u32;
        epoll.change(libc::EPOLL_CTL_ADD, bell.as_raw_fd(), edges, Operation::Wake.tagged(0))?;
        Ok((epoll, bell))
    }

    fn change(&self, action: c_int, descriptor: RawFd, events: u32, user_data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events, u64: user_data };
        // SAFETY: `event` is valid; the kernel copies it.
        match unsafe { libc::epoll_ctl(self.set.as_raw_fd(), action, descriptor, &mut event) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn complete(&mut self, operation: Operation, index: u32, result: i32) {
        self.completed.push(Completion::last(operation, index, result));
    }

    pub(crate) fn accept(&mut self, place: u32, listener: RawFd) {
        let index = place as usize;
        if self.listeners.len() <= index {
            self.listeners.resize(index + 1, -1);
        }
        self.listeners[index] = listener;
        // Who was reported may be gone when we accept.
        let armed = set_nonblocking(listener)
            .and_then(|()| self.change(libc::EPOLL_CTL_ADD, listener, IN, Operation::Accept.tagged(place)));
        if let Err(error) = armed {
            self.listeners[index] = -1;
            self.complete(Operation::Accept, place, -code(&error));
        }
    }

    pub(crate) fn poll(&mut self, operation: Operation, value: u32, descriptor: RawFd) {
        let (events, user_data) = (IN | libc::EPOLLONESHOT as u32, operation.tagged(value));
        // After its first report it stays in the set, disabled.
        let changed = match self.change(libc::EPOLL_CTL_MOD, descriptor, events, user_data) {
            Err(error) if code(&error) == libc::ENOENT => {
                self.change(libc::EPOLL_CTL_ADD, descriptor, events, user_data)
            }
            changed => changed,
        };
        // What cannot be watched is looked at.
        if changed.is_err() {
            self.complete(operation, value, IN as i32);
        }
    }

    /// Rings the bell of another core.
    pub(crate) fn wake(&mut self, bell: RawFd) {
        let one = 1u64;
        // SAFETY: `one` is valid for its length. The write can only fail if the count is full, which it never is.
        unsafe { libc::write(bell, (&raw const one).cast(), size_of::<u64>()) };
    }

    pub(crate) fn receive(&mut self, index: u32, socket: RawFd) {
        let place = index as usize;
        if self.sockets.len() <= place {
            self.sockets.resize(place + 1, Watch::NOTHING);
        }
        let watch = &mut self.sockets[place];
        watch.socket = socket;
        watch.receives = true;
        self.watch(index);
    }

    pub(crate) fn stop_receiving(&mut self, index: u32) {
        if std::mem::take(&mut self.sockets[index as usize].receives) {
            self.complete(Operation::Receive, index, -libc::ECANCELED);
        }
    }

    pub(crate) fn cancel(&mut self, index: u32, _socket: RawFd) {
        self.stop_receiving(index);
        if self.sockets[index as usize].sends.take().is_some() {
            self.complete(Operation::SendQueue, index, -libc::ECANCELED);
        }
    }

    pub(crate) fn forget(&mut self, index: u32) {
        let Some(watch) = self.sockets.get_mut(index as usize) else { return };
        let Watch { socket, watched, .. } = std::mem::replace(watch, Watch::NOTHING);
        if watched != 0 {
            // Closing takes it out of the set as well, but only if nobody has duplicated the descriptor.
            let _ = self.change(libc::EPOLL_CTL_DEL, socket, 0, 0);
        }
    }

    #[inline]
    pub(crate) fn send_now(&mut self, index: u32, socket: RawFd, bytes: &[u8]) {
        let sent = send(socket, bytes.as_ptr(), bytes.len());
        if usize::try_from(sent) != Ok(bytes.len()) {
            self.complete(Operation::SendArena, index, sent);
        }
    }

    pub(crate) fn send(&mut self, index: u32, socket: RawFd, bytes: &[u8]) {
        // A socket is received from before anything is sent to it, unless it was paused since it was adopted.
        let place = index as usize;
        if self.sockets.len() <= place {
            self.sockets.resize(place + 1, Watch::NOTHING);
        }
        let watch = &mut self.sockets[place];
        watch.socket = socket;
        watch.sends = Some(Rest { start: bytes.as_ptr(), len: bytes.len() });
        self.watch(index);
    }

    /// Watches a socket for all that is wanted of it, if it is not yet.
    fn watch(&mut self, index: u32) {
        let Watch { socket, watched, .. } = self.sockets[index as usize];
        let wanted = self.sockets[index as usize].wanted();
        if wanted & !watched == 0 {
            return;
        }
        let action = if watched == 0 { libc::EPOLL_CTL_ADD } else { libc::EPOLL_CTL_MOD };
        match self.change(action, socket, wanted, Operation::Receive.tagged(index)) {
            Ok(()) => self.sockets[index as usize].watched = wanted,
            Err(error) => self.give_up(index, -code(&error)),
        }
    }

    /// Ends what a socket has under way: it cannot be watched.
    fn give_up(&mut self, index: u32, result: i32) {
        let watch = &mut self.sockets[index as usize];
        let (receives, sends) = (std::mem::take(&mut watch.receives), watch.sends.take());
        if receives {
            self.complete(Operation::Receive, index, result);
        }
        if sends.is_some() {
            self.complete(Operation::SendQueue, index, result);
        }
    }

    /// Watches a socket for no more than what is wanted of it.
    fn unwatch(&mut self, index: u32) {
        let wanted = self.sockets[index as usize].wanted();
        let socket = self.sockets[index as usize].socket;
        let action = if wanted == 0 { libc::EPOLL_CTL_DEL } else { libc::EPOLL_CTL_MOD };
        match self.change(action, socket, wanted, Operation::Receive.tagged(index)) {
            Ok(()) => self.sockets[index as usize].watched = wanted,
            Err(error) => self.give_up(index, -code(&error)),
        }
    }

    /// Waits until something is ready or `timeout` passes, then does what can be done. Does not wait while completions
    /// have not been taken.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>, buffers: &mut ReceiveBuffers) {
        self.enters += 1;
        let timeout = if self.completed.is_empty() { timeout } else { Some(Duration::ZERO) };
        for place in 0..self.await_ready(timeout) {
            let libc::epoll_event { events, u64: user_data } = self.ready[place];
            let (operation, index) = (Operation::of(user_data), user_data as u32);
            match operation {
                Operation::Receive => self.serve(index, events, buffers),
                Operation::Accept => self.accept_some(index),
                Operation::Poll | Operation::Control | Operation::FileBell => {
                    self.complete(operation, index, events as i32);
                }
                Operation::Wake
                | Operation::Ignored
                | Operation::SendArena
                | Operation::SendQueue
                | Operation::File => {}
            }
        }
    }

    /// How many places of `ready` were filled.
    fn await_ready(&mut self, timeout: Option<Duration>) -> usize {
        let millis = match timeout {
            None => -1,
            Some(Duration::ZERO) => 0,
            Some(timeout) if self.has_fine_waits => match self.await_ready_finely(timeout) {
                Ok(count) => return count,
                // Older kernels do not have the call, and filters may not know it.
                Err(_) => {
                    self.has_fine_waits = false;
                    return self.await_ready(Some(timeout));
                }
            },
            Some(timeout) => {
                let time = timespec(timeout);
                let mut set = libc::pollfd { fd: self.set.as_raw_fd(), events: libc::POLLIN, revents: 0 };
                // SAFETY: both are valid, and there is no signal mask. However it ends: we look next.
                unsafe { libc::ppoll(&mut set, 1, &time, std::ptr::null()) };
                0
            }
        };
        // SAFETY: `ready` is valid for READY_MAX events.
        let count =
            unsafe { libc::epoll_wait(self.set.as_raw_fd(), self.ready.as_mut_ptr(), READY_MAX as c_int, millis) };
        count_of(i64::from(count)).unwrap_or_else(|error| panic!("epoll_wait failed: {error}"))
    }

    fn await_ready_finely(&mut self, timeout: Duration) -> io::Result<usize> {
        let time = timespec(timeout);
        let (set, no_mask) = (self.set.as_raw_fd(), std::ptr::null::<libc::sigset_t>());
        // SAFETY: `ready` is valid for READY_MAX events, `time` is valid, and there is no signal mask, of no length.
        let count = unsafe {
            libc::syscall(libc::SYS_epoll_pwait2, set, self.ready.as_mut_ptr(), READY_MAX, &raw const time, no_mask, 0)
        };
        count_of(count)
    }

    /// Receives from a socket and sends to it, as it is ready for either.
    fn serve(&mut self, index: u32, events: u32, buffers: &mut ReceiveBuffers) {
        let wanted = self.sockets[index as usize].wanted();
        if events & (IN | OUT) & !wanted != 0 || wanted == 0 {
            self.unwatch(index);
        }
        let watch = self.sockets[index as usize];
        if watch.receives && events & (IN | FAULT) != 0 {
            self.receive_some(index, watch.socket, buffers);
        }
        if let Some(rest) = watch.sends
            && events & (OUT | FAULT) != 0
        {
            let sent = send(watch.socket, rest.start, rest.len);
            if sent != -libc::EAGAIN && sent != -libc::EINTR {
                self.sockets[index as usize].sends = None;
                self.complete(Operation::SendQueue, index, sent);
            }
        }
    }

    fn receive_some(&mut self, index: u32, socket: RawFd, buffers: &mut ReceiveBuffers) {
        for _ in 0..RECEIVES_MAX {
            let receive = |room: &mut [u8]| {
                // SAFETY: `room` is valid for its length.
                let received = unsafe { libc::recv(socket, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
                if received < 0 { -code(&io::Error::last_os_error()) } else { received as i32 }
            };
            let Some((buffer, received)) = buffers.fill(receive) else {
                return self
                    .completed
                    .push(Completion { more: true, ..Completion::last(Operation::Receive, index, -libc::ENOBUFS) });
            };
            match received {
                1.. => {
                    let completion = Completion::last(Operation::Receive, index, received);
                    self.completed.push(Completion { more: true, buffer: Some(buffer), ..completion });
                    if (received as usize) < buffers::BUFFER_BYTES {
                        return;
                    }
                }
                _ if received == -libc::EAGAIN || received == -libc::EINTR => return,
                ended => {
                    self.sockets[index as usize].receives = false;
                    return self.complete(Operation::Receive, index, ended);
                }
            }
        }
    }

    fn accept_some(&mut self, place: u32) {
        let listener = self.listeners[place as usize];
        for _ in 0..ACCEPTS_MAX {
            let nobody = std::ptr::null_mut();
            // SAFETY: no address is asked for.
            let accepted = unsafe { libc::accept4(listener, nobody, nobody.cast(), libc::SOCK_CLOEXEC) };
            if accepted >= 0 {
                let completion = Completion::last(Operation::Accept, place, accepted);
                self.completed.push(Completion { more: true, ..completion });
                continue;
            }
            let error = code(&io::Error::last_os_error());
            if error != libc::EAGAIN && error != libc::EINTR {
                let _ = self.change(libc::EPOLL_CTL_DEL, listener, 0, 0);
                self.listeners[place as usize] = -1;
                self.complete(Operation::Accept, place, -error);
            }
            return;
        }
    }

    #[inline]
    pub(crate) fn has_completions(&self) -> bool {
        !self.completed.is_empty()
    }

    #[inline]
    pub(crate) fn take(&mut self, completed: &mut Vec<Completion>) {
        completed.append(&mut self.completed);
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // The descriptor's number must not be taken again by a runtime that is being built, which would look for a
        // new one.
        // SAFETY: dropped once, and not used afterwards.
        control::while_no_runtime_is_built(|| unsafe { ManuallyDrop::drop(&mut self.set) });
    }
}

/// What a send without waiting gives; an error is negative.
#[inline]
fn send(socket: RawFd, start: *const u8, len: usize) -> i32 {
    let length = len.min(SEND_BYTES_MAX);
    // SAFETY: the bytes are the arena's of this turn, or a socket's own that stay as they are until the send completes.
    let sent = unsafe { libc::send(socket, start.cast(), length, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
    if sent < 0 { -code(&io::Error::last_os_error()) } else { sent as i32 }
}

fn set_nonblocking(descriptor: RawFd) -> io::Result<()> {
    // SAFETY: plain system calls without pointers.
    let set = unsafe {
        let flags = libc::fcntl(descriptor, libc::F_GETFL);
        flags >= 0 && libc::fcntl(descriptor, libc::F_SETFL, flags | libc::O_NONBLOCK) == 0
    };
    if set { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn own(descriptor: c_int) -> io::Result<OwnedFd> {
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The number of events that a wait reports: none if a signal ended it.
fn count_of(result: i64) -> io::Result<usize> {
    if let Ok(count) = usize::try_from(result) {
        return Ok(count);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    }
}

fn code(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn timespec(time: Duration) -> libc::timespec {
    libc::timespec { tv_sec: time.as_secs() as libc::time_t, tv_nsec: time.subsec_nanos() as _ }
}
