//! The data loop of one core: events in, one enter per turn.
//!
//! A turn gives received buffers back, queues one send per socket that was written to, publishes the mailboxes,
//! enters the kernel once (sleeping there only if nothing is left to do), and delivers what has completed.

use crate::control::{self, Control};
use crate::ring::Ring;
use crate::sockets::{Operation, Outcome};
use crate::{Chunk, Mail, ReceiveBuffers, SocketId, Sockets, clock};
use io_uring::{cqueue, opcode, types};
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
    /// The peer has closed its side, or the connection broke: nothing more will come. The owner closes it.
    Ended {
        /// Which.
        socket: SocketId,
    },
    /// A polled descriptor is readable; polled once.
    Readable {
        /// As given to [`DataLoop::poll_readable`].
        token: u32,
    },
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
    /// Mailboxes to the other cores.
    pub mail: Mail<P>,
    /// Whether to look for answers a moment before sleeping: set while answers of other cores are outstanding,
    /// but not if cores share a CPU.
    pub spins: bool,
    ring: Ring,
    listeners: Vec<Listener>,
    control: Control,
    control_ring: RawFd,
    control_due: bool,
    /// Room for the completions of one turn.
    completed: Vec<cqueue::Entry>,
    /// Events of completions seen before their turn.
    early: Vec<Event>,
    stats: LoopStats,
}

/// A listening socket; the data loop's completions name it by its place.
struct Listener {
    token: u32,
    descriptor: OwnedFd,
    /// Whether the kernel has an accept for it.
    armed: bool,
}

impl<P> std::fmt::Debug for DataLoop<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataLoop").field("sockets", &self.sockets.len()).field("stats", &self.stats).finish()
    }
}

/// Builds the rings of the calling thread and runs `body` with its data loop, inside of a monoio runtime.
///
/// # Errors
/// If the kernel refuses the rings; [`crate::probe`] says why in words.
pub fn run_core<P, T, F>(mail: Mail<P>, body: impl FnOnce(DataLoop<P>) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    let (mut runtime, control_ring) = control::build_runtime()?;
    let result = runtime.block_on(async move { Ok(body(DataLoop::new(mail, control_ring)?).await) });
    control::while_no_runtime_is_built(|| drop(runtime));
    result
}

impl<P> DataLoop<P> {
    fn new(mut mail: Mail<P>, control_ring: RawFd) -> io::Result<Self> {
        let ring = Ring::new()?;
        let input = ReceiveBuffers::register(&ring)?;
        mail.set_ring(ring.fd());
        let mut data_loop = Self {
            input,
            sockets: Sockets::default(),
            mail,
            spins: false,
            ring,
            listeners: Vec::new(),
            control: Control::new()?,
            control_ring,
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
        self.listeners.push(Listener { token, descriptor: listener, armed: false });
        self.accept_on(self.listeners.len() - 1);
    }

    /// Accepts again on the listeners of `token` that have stopped, after [`Event::AcceptFailed`].
    pub fn listen_again(&mut self, token: u32) {
        for place in 0..self.listeners.len() {
            if self.listeners[place].token == token && !self.listeners[place].armed {
                self.accept_on(place);
            }
        }
    }

    /// Gives the addresses of all listeners free at once: the kernel lets go of a dead process's ring, and with it of
    /// what is armed there, only some time later, and the next process could not listen until then.
    pub fn stop_listening(&mut self) {
        for listener in self.listeners.drain(..) {
            // The call is the same for every kind of socket; that it fails would change nothing.
            let _ = std::net::TcpStream::from(listener.descriptor).shutdown(std::net::Shutdown::Both);
        }
    }

    fn accept_on(&mut self, place: usize) {
        let listener = &mut self.listeners[place];
        listener.armed = true;
        let entry = opcode::AcceptMulti::new(types::Fd(listener.descriptor.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(Operation::Accept.tagged(place as u32));
        self.ring.push(&entry);
    }

    /// Reports once that `descriptor` is readable. It must stay open until then.
    pub fn poll_readable(&mut self, descriptor: BorrowedFd<'_>, token: u32) {
        let entry = opcode::PollAdd::new(types::Fd(descriptor.as_raw_fd()), libc::POLLIN as u32)
            .build()
            .user_data(Operation::Poll.tagged(token));
        self.ring.push(&entry);
    }

    /// Counters.
    pub fn stats(&self) -> LoopStats {
        LoopStats { enters: self.ring.enters, sent_bytes: self.sockets.sent_bytes, ..self.stats }
    }

    /// Sends what has been written so far in this turn, without ending the turn: bounds what the arena holds.
    /// Chunks of this turn stay readable.
    pub fn send_now(&mut self) {
        self.sockets.flush(&mut self.ring);
        self.ring.submit();
        self.reap();
    }

    /// Ends a turn and begins the next: `events` is filled with what has happened, after waiting as `wait` says.
    pub async fn turn(&mut self, wait: Wait, events: &mut Vec<Event>) {
        events.clear();
        self.stats.turns += 1;
        self.input.give_back();
        self.sockets.flush(&mut self.ring);
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
        let Self { mail, ring, stats, .. } = self;
        mail.publish(|peer| {
            stats.wakes += 1;
            let message = opcode::MsgRingData::new(types::Fd(peer), 0, Operation::Wake.tagged(0), None);
            ring.push(
                &message.build().user_data(Operation::Ignored.tagged(0)).flags(io_uring::squeue::Flags::SKIP_SUCCESS),
            );
        });
    }

    fn enter(&mut self, wait: Wait) {
        if wait == Wait::No || self.control.is_due() || !self.early.is_empty() || self.mail.has_arrivals() {
            return self.ring.submit_and_reap();
        }
        if self.spins && self.spin() {
            return;
        }
        if !self.mail.prepare_sleep() {
            return self.ring.submit_and_reap();
        }
        let timeout = match wait {
            Wait::Until(instant) => Some(Duration::from_nanos(instant.saturating_sub(clock::monotonic_nanos()))),
            Wait::No | Wait::Forever => None,
        };
        self.ring.submit_and_wait(timeout);
    }

    /// Submits, then looks for something to do for a moment; whether there is.
    fn spin(&mut self) -> bool {
        self.ring.submit_and_reap();
        let until = clock::monotonic_nanos() + SPIN_NANOS;
        loop {
            if self.ring.has_completions() {
                self.ring.submit_and_reap();
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
            let is_submitted = !self.ring.has_unsubmitted();
            completed.extend(self.ring.completions());
            completed.drain(..).for_each(|entry| self.complete(&entry));
            // Every send must have been tried, and a short one be seen, before the arena is used again.
            if is_submitted && !self.ring.has_overflow() {
                break;
            }
            self.ring.submit_and_reap();
        }
        self.completed = completed;
        self.sockets.after_enter(&mut self.ring);
    }

    fn complete(&mut self, entry: &cqueue::Entry) {
        let (result, index) = (entry.result(), entry.user_data() as u32);
        let more = cqueue::more(entry.flags());
        match Operation::of(entry.user_data()) {
            Operation::Receive => self.received(entry, index, more),
            Operation::SendArena => {
                let outcome = self.sockets.arena_send_fell_short(index, result, &mut self.ring);
                self.note_end(outcome, index);
            }
            Operation::SendQueue => {
                let outcome = self.sockets.queue_sent(index, result, &mut self.ring);
                self.note_end(outcome, index);
            }
            Operation::Accept => self.accepted(result, index as usize, more),
            Operation::Poll => self.early.push(Event::Readable { token: index }),
            Operation::Control => {
                self.control_due = true;
                self.arm_control();
            }
            Operation::Wake | Operation::Ignored => {}
        }
    }

    fn accepted(&mut self, result: i32, place: usize, more: bool) {
        let Some(listener) = self.listeners.get_mut(place) else {
            return; // We have stopped listening.
        };
        let token = listener.token;
        listener.armed = more;
        if result < 0 {
            let error = io::Error::from_raw_os_error(-result);
            return self.early.push(Event::AcceptFailed { token, error });
        }
        // SAFETY: an accept's result is a new descriptor that nobody else owns.
        #[allow(unsafe_code)]
        let socket = unsafe { OwnedFd::from_raw_fd(result) };
        self.early.push(Event::Accepted { token, socket });
        if !more {
            self.accept_on(place);
        }
    }

    #[inline]
    fn received(&mut self, entry: &cqueue::Entry, index: u32, more: bool) {
        let result = entry.result();
        self.stats.buffers_exhausted += u64::from(result == -libc::ENOBUFS);
        let buffer = cqueue::buffer_select(entry.flags());
        let live = self.sockets.live_id(index);
        let outcome = self.sockets.received(index, result, more, &mut self.ring);
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
        if outcome == Outcome::Ended
            && let Some(socket) = self.sockets.live_id(index)
        {
            self.early.push(Event::Ended { socket });
        }
    }

    fn arm_control(&mut self) {
        let entry = opcode::PollAdd::new(types::Fd(self.control_ring), libc::POLLIN as u32)
            .build()
            .user_data(Operation::Control.tagged(0));
        self.ring.push(&entry);
    }
}
