//! What a core asks of the kernel and how it learns what came of it: by a ring, or where there is none, by epoll.
//!
//! Both take the same operations and answer with the same completions, so that what stands above ([`crate::Sockets`],
//! [`crate::DataLoop`]) is the same for both: an accept or a receive goes on until a completion says that it does not;
//! a send of a turn completes only if it was short or failed; whatever was asked for completes, if only because it was
//! cancelled.

use crate::epoll::Epoll;
use crate::ring::Ring;
use crate::{Mail, ReceiveBuffers};
use io_uring::cqueue;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// Longest single send in bytes; the kernel cuts at 2 GiB.
pub(crate) const SEND_BYTES_MAX: usize = 1 << 30;

/// What a data loop stands on. All cores of a process use the same, or they could not wake each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// A ring per core: one entry into the kernel per turn.
    IoUring,
    /// An epoll set per core: works on every Linux, with a system call for each send and receive.
    Epoll,
}

impl Backend {
    /// As settings and statistics call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::IoUring => "io_uring",
            Self::Epoll => "epoll",
        }
    }
}

/// What a completion belongs to; the upper byte of the number that the kernel keeps for us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Operation {
    Ignored = 0,
    Accept = 1,
    Receive = 2,
    SendArena = 3,
    SendQueue = 4,
    Poll = 5,
    Wake = 6,
    Control = 7,
    File = 8,
    FileBell = 9,
}

impl Operation {
    pub(crate) fn of(user_data: u64) -> Self {
        match (user_data >> 56) as u8 {
            1 => Self::Accept,
            2 => Self::Receive,
            3 => Self::SendArena,
            4 => Self::SendQueue,
            5 => Self::Poll,
            6 => Self::Wake,
            7 => Self::Control,
            8 => Self::File,
            9 => Self::FileBell,
            _ => Self::Ignored,
        }
    }

    pub(crate) const fn tagged(self, value: u32) -> u64 {
        (self as u64) << 56 | value as u64
    }
}

/// What came of an operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    pub(crate) operation: Operation,
    /// Whether the operation goes on.
    pub(crate) more: bool,
    /// The receive buffer that it filled.
    pub(crate) buffer: Option<u16>,
    /// Which socket, listener or token.
    pub(crate) index: u32,
    /// As of the system call; an error is negative.
    pub(crate) result: i32,
}

impl Completion {
    /// One that ends its operation.
    pub(crate) fn last(operation: Operation, index: u32, result: i32) -> Self {
        Self { operation, more: false, buffer: None, index, result }
    }
}

impl From<cqueue::Entry> for Completion {
    #[inline]
    fn from(entry: cqueue::Entry) -> Self {
        Self {
            operation: Operation::of(entry.user_data()),
            more: cqueue::more(entry.flags()),
            buffer: cqueue::buffer_select(entry.flags()),
            index: entry.user_data() as u32,
            result: entry.result(),
        }
    }
}

/// One core's way into the kernel.
pub(crate) enum Kernel {
    Ring(Ring),
    Epoll(Epoll),
}

/// The same call on whichever it is.
macro_rules! either {
    ($kernel:expr, $inner:ident => $call:expr) => {
        match $kernel {
            Kernel::Ring($inner) => $call,
            Kernel::Epoll($inner) => $call,
        }
    };
}

impl Kernel {
    /// Also gives the buffers that it receives into, and tells the other cores how to wake this one.
    ///
    /// # Errors
    /// If the kernel refuses, or has no memory or descriptors left.
    pub(crate) fn open<P>(backend: Backend, mail: &mut Mail<P>) -> io::Result<(Self, ReceiveBuffers)> {
        match backend {
            Backend::IoUring => {
                let ring = Ring::new()?;
                let buffers = ReceiveBuffers::register(&ring)?;
                mail.set_doorbell(ring.fd());
                Ok((Self::Ring(ring), buffers))
            }
            Backend::Epoll => {
                let (epoll, bell) = Epoll::new()?;
                mail.keep_doorbell(bell);
                Ok((Self::Epoll(epoll), ReceiveBuffers::unregistered()?))
            }
        }
    }

    /// Accepts on a listener until that fails.
    pub(crate) fn accept(&mut self, place: u32, listener: RawFd) {
        either!(self, inner => inner.accept(place, listener));
    }

    /// Completes once, when a descriptor is readable.
    pub(crate) fn poll(&mut self, operation: Operation, value: u32, descriptor: RawFd) {
        either!(self, inner => inner.poll(operation, value, descriptor));
    }

    /// Wakes the core whose doorbell this is; it completes there, not here.
    pub(crate) fn wake(&mut self, doorbell: RawFd) {
        either!(self, inner => inner.wake(doorbell));
    }

    /// Receives from a socket until that fails, or is stopped.
    pub(crate) fn receive(&mut self, index: u32, socket: RawFd) {
        either!(self, inner => inner.receive(index, socket));
    }

    /// Stops a receive, which then completes.
    pub(crate) fn stop_receiving(&mut self, index: u32) {
        either!(self, inner => inner.stop_receiving(index));
    }

    /// Stops whatever a socket has under way; each operation completes.
    pub(crate) fn cancel(&mut self, index: u32, socket: RawFd) {
        either!(self, inner => inner.cancel(index, socket));
    }

    /// A socket that has nothing under way is about to be closed.
    pub(crate) fn forget(&mut self, index: u32) {
        match self {
            Self::Ring(_) => {}
            Self::Epoll(epoll) => epoll.forget(index),
        }
    }

    /// A send that is tried once, in the next entry at the latest, and completes only if not all bytes went out. The
    /// bytes must stay as they are until that entry has returned.
    #[inline]
    pub(crate) fn send_now(&mut self, index: u32, socket: RawFd, bytes: &[u8]) {
        either!(self, inner => inner.send_now(index, socket, bytes));
    }

    /// A send that waits for room, and completes. The bytes must stay as they are until then.
    pub(crate) fn send(&mut self, index: u32, socket: RawFd, bytes: &[u8]) {
        either!(self, inner => inner.send(index, socket, bytes));
    }

    /// Hands over what was queued, without waiting and without looking for what has happened.
    pub(crate) fn submit(&mut self) {
        match self {
            Self::Ring(ring) => ring.submit(),
            // Everything was tried when it was asked for.
            Self::Epoll(_) => {}
        }
    }

    /// Hands over what was queued and looks for what has happened; does not wait.
    pub(crate) fn submit_and_reap(&mut self, buffers: &mut ReceiveBuffers) {
        match self {
            Self::Ring(ring) => ring.submit_and_reap(),
            Self::Epoll(epoll) => epoll.wait(Some(Duration::ZERO), buffers),
        }
    }

    /// Hands over what was queued and sleeps until something has happened or `timeout` passes.
    pub(crate) fn submit_and_wait(&mut self, timeout: Option<Duration>, buffers: &mut ReceiveBuffers) {
        match self {
            Self::Ring(ring) => ring.submit_and_wait(timeout),
            Self::Epoll(epoll) => epoll.wait(timeout, buffers),
        }
    }

    /// Whether something has completed since the last look, as far as that can be seen without entering the kernel.
    #[inline]
    pub(crate) fn has_completions(&mut self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_completions(),
            Self::Epoll(epoll) => epoll.has_completions(),
        }
    }

    /// Makes the completions visible that [`has_completions`](Self::has_completions) has spoken of.
    pub(crate) fn fetch(&mut self) {
        match self {
            Self::Ring(ring) => ring.submit_and_reap(),
            Self::Epoll(_) => {}
        }
    }

    /// Whether something was not taken yet of what was handed over (the kernel may lack memory for a moment).
    pub(crate) fn has_unsubmitted(&mut self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_unsubmitted(),
            Self::Epoll(_) => false,
        }
    }

    /// Whether there are more completions than could be made visible.
    pub(crate) fn has_overflow(&mut self) -> bool {
        match self {
            Self::Ring(ring) => ring.has_overflow(),
            Self::Epoll(_) => false,
        }
    }

    /// Moves the visible completions to `completed`.
    #[inline]
    pub(crate) fn take(&mut self, completed: &mut Vec<Completion>) {
        match self {
            Self::Ring(ring) => completed.extend(ring.completions().map(Completion::from)),
            Self::Epoll(epoll) => epoll.take(completed),
        }
    }

    /// Times that the kernel was entered to look for what has happened, or to hand over what was queued.
    pub(crate) fn enters(&self) -> u64 {
        either!(self, inner => inner.enters)
    }
}
