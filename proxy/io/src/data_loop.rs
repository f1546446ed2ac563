//! The data loop of one core: events in, one enter per turn.
//!
//! A turn gives received buffers back, queues one send per socket that was written to, publishes the mailboxes,
//! enters the kernel once (sleeping there only if nothing is left to do), and delivers what has completed.

use crate::control::{self, Control};
use crate::kernel::{Completion, Kernel, Operation};
use crate::sockets::Outcome;
use crate::{Backend, Chunk, FileDone, Files, Mail, ReceiveBuffers, SocketId, Sockets, clock};
use std::future::Future;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// How long to look for answers of other cores before sleeping, in nanoseconds: waking a sleeping core costs
/// several times as much on both sides.
const SPIN_NANOS: u64 = 4_000;

/// What happened since the last turn.
#[derive(Debug)]
pub enum Event {
    /// A listener accepted a connection.
    Accepted {
        /// As given to [`DataLoop::listen`].
        token: u32,
        /// The connection.
        socket: OwnedFd,
    },
    /// A listener cannot accept (no descriptors left, say) and has stopped; call [`DataLoop::listen_again`] later.
    AcceptFailed {
        /// As given to [`DataLoop::listen`].
        token: u32,
        /// Why.
        error: io::Error,
    },
    /// Bytes came in.
    Received {
        /// From where.
        socket: SocketId,
        /// The bytes, to be read in this turn.
        chunk: Chunk,
    },
    /// Nothing more will come. The owner closes it.
    Ended {
        /// Which.
        socket: SocketId,
        /// Why the connection broke; nothing if the peer has closed its side.
        error: Option<io::Error>,
    },
    /// A polled descriptor is readable; polled once.
    Readable {
        /// As given to [`DataLoop::poll_readable`].
        token: u32,
    },
    /// An order to [`Files`] is done.
    File(FileDone),
}

/// How a turn may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all: there is more to do.
    No,
    /// Until this instant of the monotonic clock, in nanoseconds.
    Until(u64),
    /// Until something happens.
    Forever,
}

/// Counters of a core's loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoopStats {
    /// Turns.
    pub turns: u64,
    /// Entries into the kernel.
    pub enters: u64,
    /// Times that no receive buffer was left.
    pub buffers_exhausted: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Messages that woke another core.
    pub wakes: u64,
}

/// The data loop of one core. `P` is what travels between cores beside bytes.
pub struct DataLoop<P> {
    /// Received bytes.
    pub input: ReceiveBuffers,
    /// Connections and their output.
    pub sockets: Sockets,
    /// Files that the core writes.
    pub files: Files,
    /// Mailboxes to the other cores.
    pub mail: Mail<P>,
    /// Whether to look for answers a moment before sleeping: set while answers of other cores are outstanding,
    /// but not if cores share a CPU.
    pub spins: bool,
    kernel: Kernel,
    listeners: Vec<Listener>,
    control: Control,
    /// What the control plane's runtime sleeps in.
    control_descriptor: RawFd,
    control_due: bool,
    /// Room for the completions of one turn.
    completed: Vec<Completion>,
    /// Events of completions seen before their turn.
    early: Vec<Event>,
    stats: LoopStats,
}

/// A listening socket; the data loop's completions name it by its place.
struct Listener {
    token: u32,
    /// Nothing once it has stopped; its place stays its own, since the kernel may still speak of it.
    descriptor: Option<OwnedFd>,
    /// Whether the kernel has an accept for it.
    armed: bool,
}

impl Listener {
    fn stop(&mut self) {
        if let Some(descriptor) = self.descriptor.take() {
            // The call is the same for every kind of socket; that it fails would change nothing.
            let _ = std::net::TcpStream::from(descriptor).shutdown(std::net::Shutdown::Both);
        }
    }
}

impl<P> std::fmt::Debug for DataLoop<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataLoop").field("sockets", &self.sockets.len()).field("stats", &self.stats).finish()
    }
}

/// Builds the rings (or epoll sets) of the calling thread and runs `body` with its data loop, inside of a monoio
/// runtime. All cores of a mesh have the same backend.
///
/// # Errors
/// If the kernel refuses; [`crate::probe`] says in words why there can be no rings.
pub fn run_core<P, T, F>(backend: Backend, mail: Mail<P>, body: impl FnOnce(DataLoop<P>) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let (mut runtime, descriptor) = control::build_runtime(backend)?;
    let result = runtime.block_on(async move { Ok(body(DataLoop::new(backend, mail, descriptor)?).await) });
    control::while_no_runtime_is_built(|| drop(runtime));
    result
}

impl<P> DataLoop<P> {
    fn new(backend: Backend, mut mail: Mail<P>, control_descriptor: RawFd) -> io::Result<Self> {
        let (kernel, input) = Kernel::open(backend, &mut mail)?;
        let mut data_loop = Self {
            input,
            sockets: Sockets::default(),
            files: Files::default(),
            mail,
            spins: false,
            kernel,
            listeners: Vec::new(),
            control: Control::new(backend)?,
            control_descriptor,
            control_due: false,
            completed: Vec::new(),
            early: Vec::new(),
            stats: LoopStats::default(),
        };
        data_loop.arm_control();
        Ok(data_loop)
    }

    /// Accepts connections on a listening socket from now on.
    pub fn listen(&mut self, listener: OwnedFd, token: u32) {
        self.listeners.push(Listener { token, descriptor: Some(listener), armed: false });
        self.accept_on(self.listeners.len() - 1);
    }

    /// Accepts again on the listeners of `token` that have stopped, after [`Event::AcceptFailed`].
    pub fn listen_again(&mut self, token: u32) {
        for place in 0..self.listeners.len() {
            let listener = &self.listeners[place];
            if listener.token == token && !listener.armed && listener.descriptor.is_some() {
                self.accept_on(place);
            }
        }
    }

    /// Gives the addresses of all listeners free at once: the kernel lets go of a dead process's ring, and with it of
    /// what is armed there, only some time later, and the next process could not listen until then.
    pub fn stop_listening(&mut self) {
        self.listeners.iter_mut().for_each(Listener::stop);
    }

    /// The same for the listeners of `token`.
    pub fn stop_listening_as(&mut self, token: u32) {
        self.listeners.iter_mut().filter(|listener| listener.token == token).for_each(Listener::stop);
    }

    fn accept_on(&mut self, place: usize) {
        let listener = &mut self.listeners[place];
        let Some(descriptor) = &listener.descriptor else { return };
        listener.armed = true;
        self.kernel.accept(place as u32, descriptor.as_raw_fd());
    }

    /// Reports once that `descriptor` is readable. It must stay open until then.
    pub fn poll_readable(&mut self, descriptor: BorrowedFd<'_>, token: u32) {
        self.kernel.poll(Operation::Poll, token, descriptor.as_raw_fd());
    }

    /// Counters.
    pub fn stats(&self) -> LoopStats {
        LoopStats { enters: self.kernel.enters(), sent_bytes: self.sockets.sent_bytes, ..self.stats }
    }

    /// Sends what has been written so far in this turn, without ending the turn: bounds what the arena holds.
    /// Chunks of this turn stay readable.
    pub fn send_now(&mut self) {
        self.sockets.flush(&mut self.kernel);
        self.kernel.submit();
        self.reap();
    }

    /// Ends a turn and begins the next: `events` is filled with what has happened, after waiting as `wait` says.
    pub async fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) {
        events.clear();
        self.stats.turns += 1;
        self.input.give_back();
        self.sockets.flush(&mut self.kernel);
        self.files.submit(&mut self.kernel);
        self.early.extend(self.files.take_ended().map(Event::File));
        self.publish_mail();
        self.enter(wait);
        self.mail.awake();
        self.reap();
        if self.control_due || self.control.is_due() {
            self.control_due = false;
            self.control.pass().await;
        }
        std::mem::swap(events, &mut self.early);
        for event in &*events {
            if let Event::Received { chunk, .. } = event {
                self.input.note_delivered(chunk.buffer());
            }
        }
    }

    fn publish_mail(&mut self) {
        let Self { mail, kernel, stats, .. } = self;
        mail.publish(|doorbell| {
            stats.wakes += 1;
            kernel.wake(doorbell);
        });
    }

    fn enter(&mut self, wait: Wait) {
        if wait == Wait::No || self.control.is_due() || !self.early.is_empty() || self.mail.has_arrivals() {
            return self.kernel.submit_and_reap(&mut self.input);
        }
        if self.spins && self.spin() {
            return;
        }
        if !self.mail.prepare_sleep() {
            return self.kernel.submit_and_reap(&mut self.input);
        }
        let timeout = match wait {
            Wait::Until(instant) => Some(Duration::from_nanos(instant.saturating_sub(clock::monotonic_nanos()))),
            Wait::No | Wait::Forever => None,
        };
        self.kernel.submit_and_wait(timeout, &mut self.input);
    }

    /// Submits, then looks for something to do for a moment; whether there is.
    fn spin(&mut self) -> bool {
        self.kernel.submit_and_reap(&mut self.input);
        let until = clock::monotonic_nanos() + SPIN_NANOS;
        loop {
            if self.kernel.has_completions() {
                self.kernel.fetch();
                return true;
            }
            if self.mail.has_arrivals() {
                return true;
            }
            if clock::monotonic_nanos() >= until {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    /// Takes all completions; ends the use of the arena.
    fn reap(&mut self) {
        let mut completed = std::mem::take(&mut self.completed);
        loop {
            let is_submitted = !self.kernel.has_unsubmitted();
            self.kernel.take(&mut completed);
            completed.drain(..).for_each(|completion| self.complete(completion));
            // Every send must have been tried, and a short one be seen, before the arena is used again.
            if is_submitted && !self.kernel.has_overflow() {
                break;
            }
            self.kernel.submit_and_reap(&mut self.input);
        }
        self.completed = completed;
        self.sockets.after_enter(&mut self.kernel);
    }

    fn complete(&mut self, completion: Completion) {
        let Completion { operation, more, index, result, .. } = completion;
        match operation {
            Operation::Receive => self.received(completion),
            Operation::SendArena => {
                let outcome = self.sockets.arena_send_fell_short(index, result, &mut self.kernel);
                self.note_end(outcome, index);
            }
            Operation::SendQueue => {
                let outcome = self.sockets.queue_sent(index, result, &mut self.kernel);
                self.note_end(outcome, index);
            }
            Operation::Accept => self.accepted(result, index as usize, more),
            Operation::Poll => self.early.push(Event::Readable { token: index }),
            Operation::Control => {
                self.control_due = true;
                self.arm_control();
            }
            Operation::File => {
                self.files.completed(&mut self.kernel, index, result);
                self.early.extend(self.files.take_ended().map(Event::File));
            }
            Operation::FileBell => {
                self.files.hear(&mut self.kernel);
                self.early.extend(self.files.take_ended().map(Event::File));
            }
            Operation::Wake | Operation::Ignored => {}
        }
    }

    fn accepted(&mut self, result: i32, place: usize, more: bool) {
        // SAFETY: an accept's result is a new descriptor that nobody else owns.
        #[allow(unsafe_code)]
        let socket = (result >= 0).then(|| unsafe { OwnedFd::from_raw_fd(result) });
        let listener = &mut self.listeners[place];
        let token = listener.token;
        listener.armed = more;
        if listener.descriptor.is_none() {
            return; // We have stopped listening.
        }
        let Some(socket) = socket else {
            let error = io::Error::from_raw_os_error(-result);
            return self.early.push(Event::AcceptFailed { token, error });
        };
        self.early.push(Event::Accepted { token, socket });
        if !more {
            self.accept_on(place);
        }
    }

    #[inline]
    fn received(&mut self, completion: Completion) {
        let Completion { more, buffer, index, result, .. } = completion;
        self.stats.buffers_exhausted += u64::from(result == -libc::ENOBUFS);
        let live = self.sockets.live_id(index);
        let outcome = self.sockets.received(index, result, more, &mut self.kernel);
        match (outcome, buffer, live) {
            (Outcome::Received, Some(buffer), Some(socket)) => {
                self.stats.received_bytes += result as u64;
                self.early.push(Event::Received { socket, chunk: Chunk::new(buffer, result as u32) });
            }
            // Nobody wants it any more; it still owes its buffer.
            (_, Some(buffer), _) => self.input.note_delivered(buffer),
            _ => self.note_end(outcome, index),
        }
    }

    fn note_end(&mut self, outcome: Outcome, index: u32) {
        if let (Outcome::Ended(code), Some(socket)) = (outcome, self.sockets.live_id(index)) {
            let error = (code != 0).then(|| io::Error::from_raw_os_error(code));
            self.early.push(Event::Ended { socket, error });
        }
    }

    fn arm_control(&mut self) {
        self.kernel.poll(Operation::Control, 0, self.control_descriptor);
    }
}
