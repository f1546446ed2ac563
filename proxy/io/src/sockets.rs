//! The stream sockets of one core: what is received, what is sent, and when a descriptor may be closed.
//!
//! **Sending.** Replies of a turn are written into one arena, each socket's in one contiguous range; the turn
//! ends with one send per socket, which the kernel tries at once, inside of the enter, and completes silently if
//! all bytes went out. Only a short or failed send completes visibly, in the same enter; then the rest moves to the
//! socket's own queue and goes out in the background, one send in flight, order kept, and further replies are
//! appended to that queue until it is empty.
//!
//! **Closing.** A socket's number is free again only when the kernel has completed every operation on it, so that
//! no completion can be taken for another socket's.

use crate::kernel::Kernel;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

/// Capacity of the arena that is kept from turn to turn, in bytes.
const ARENA_BYTES_KEPT: usize = 1 << 20;
/// Capacity of a socket's own queue that is kept when it is empty, in bytes.
const QUEUE_BYTES_KEPT: usize = 16 * 1024;

/// Names a socket of one core; never names another one later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SocketId {
    /// Its place in the core's table; places are used again.
    pub index: u32,
    /// How often the place was used before (24 bits).
    pub generation: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Free,
    Open,
    /// Closes when everything queued is sent; for so many calls of `close_stuck` nothing was.
    Finishing {
        idle: u8,
    },
    /// Waits for the kernel to complete what it still has.
    Closing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receiving {
    /// The kernel has no receive for this socket.
    Idle,
    /// A multishot receive is armed.
    Armed,
    /// A cancellation is under way.
    Stopping,
}

#[derive(Debug)]
struct Socket {
    fd: Option<OwnedFd>,
    generation: u32,
    phase: Phase,
    receiving: Receiving,
    /// Nothing shall be received for now.
    paused: bool,
    /// The peer has closed its side, or the connection broke: nothing more will be received.
    ended: bool,
    /// Sends fail; output is dropped.
    broken: bool,
    /// A send of `flying` is with the kernel.
    sending: bool,
    /// The arena range has bytes of this turn.
    dirty: bool,
    /// What is written waits in `queue` for [`Sockets::uncork`].
    corked: bool,
    /// The same for [`Sockets::let_go`].
    held: bool,
    /// It is to close when what is held has been let go and sent.
    finishes: bool,
    /// Whether [`Sockets::take_closed`] counts it.
    is_client: bool,
    /// Its descriptor is not closed but handed out.
    leaves: bool,
    range: (usize, usize),
    queue: Vec<u8>,
    flying: Vec<u8>,
    flown: usize,
}

impl Socket {
    fn free(generation: u32) -> Self {
        Self {
            fd: None,
            generation,
            phase: Phase::Free,
            receiving: Receiving::Idle,
            paused: false,
            ended: false,
            broken: false,
            sending: false,
            dirty: false,
            corked: false,
            held: false,
            finishes: false,
            is_client: true,
            leaves: false,
            range: (0, 0),
            queue: Vec::new(),
            flying: Vec::new(),
            flown: 0,
        }
    }

    /// Whether what is written goes to the socket's own queue. Asked twice for each reply: one branch, not three.
    #[inline]
    fn is_kept_back(&self) -> bool {
        self.sending | self.corked | self.held
    }

    fn raw(&self) -> RawFd {
        self.fd.as_ref().map_or(-1, AsRawFd::as_raw_fd)
    }
}

/// What the sockets' completions mean to the data loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Nothing,
    Received,
    /// Nothing more will come; 0 if the peer has closed its side, else the code of the error.
    Ended(i32),
}

/// The sockets of one core and the arena that their replies are written to.
#[derive(Debug, Default)]
pub struct Sockets {
    table: Vec<Socket>,
    free: Vec<u32>,
    arena: Vec<u8>,
    dirty: Vec<u32>,
    /// Sockets that got bytes behind a send that is under way.
    behind: Vec<u32>,
    /// Sockets whose phase or receiving changed since the last turn.
    touched: Vec<u32>,
    /// Sockets that close when this turn's sends have gone out.
    finishing: Vec<u32>,
    open: usize,
    /// Sockets whose descriptors were closed since they were last asked for.
    closed: usize,
    /// Descriptors that are to serve elsewhere.
    handed_out: Vec<(SocketId, OwnedFd)>,
    /// Bytes handed to the kernel.
    pub(crate) sent_bytes: u64,
}

impl Sockets {
    /// Takes a connected stream socket and starts to receive from it.
    pub fn adopt(&mut self, fd: OwnedFd) -> SocketId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.table.push(Socket::free(0));
            (self.table.len() - 1) as u32
        });
        let socket = &mut self.table[index as usize];
        assert!(socket.phase == Phase::Free, "only free places are handed out");
        let generation = socket.generation;
        *socket = Socket { fd: Some(fd), phase: Phase::Open, ..Socket::free(generation) };
        self.open += 1;
        self.touched.push(index);
        SocketId { index, generation }
    }

    /// The same for a socket that is no client's: [`take_closed`](Self::take_closed) does not count it.
    pub fn adopt_link(&mut self, fd: OwnedFd) -> SocketId {
        let id = self.adopt(fd);
        self.table[id.index as usize].is_client = false;
        id
    }

    /// Number of sockets that are not closed yet.
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether there are no sockets.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// The buffer to append a socket's replies to; `None` if the socket is closed or broken. Call
    /// [`commit`](Self::commit) after appending, and write for no other socket in between.
    #[inline]
    pub fn output(&mut self, id: SocketId) -> Option<&mut Vec<u8>> {
        let socket = self.table.get_mut(id.index as usize)?;
        if socket.generation != id.generation || socket.phase != Phase::Open || socket.broken {
            return None;
        }
        if socket.is_kept_back() {
            return Some(&mut socket.queue);
        }
        let end = self.arena.len();
        if !socket.dirty {
            socket.range = (end, end);
        } else if socket.range.1 != end {
            // Another socket has written since: keep this one's bytes together.
            let (start, stop) = socket.range;
            self.arena.extend_from_within(start..stop);
            socket.range = (end, end + (stop - start));
        }
        Some(&mut self.arena)
    }

    /// Ends what [`output`](Self::output) began.
    #[inline]
    pub fn commit(&mut self, id: SocketId) {
        let socket = &mut self.table[id.index as usize];
        if socket.generation != id.generation {
            return;
        }
        if socket.is_kept_back() {
            if socket.sending && !socket.held {
                self.behind.push(id.index);
            }
            return;
        }
        socket.range.1 = self.arena.len();
        if !socket.dirty && socket.range.1 > socket.range.0 {
            socket.dirty = true;
            self.dirty.push(id.index);
        }
    }

    /// Keeps what was and will be written for a socket back until [`uncork`](Self::uncork): for replies of which more
    /// are on their way, so that all of them go out in one send. Does nothing while a send is under way, which keeps
    /// them back by itself.
    pub fn cork(&mut self, id: SocketId) {
        let Some(socket) = self.table.get_mut(id.index as usize) else { return };
        if socket.generation != id.generation || socket.phase != Phase::Open || socket.sending || socket.corked {
            return;
        }
        socket.corked = true;
        keep_back(socket, &mut self.arena);
    }

    /// Sends what [`cork`](Self::cork) has kept back with this turn.
    pub fn uncork(&mut self, id: SocketId) {
        let Some(socket) = self.find_mut(id) else { return };
        if std::mem::take(&mut socket.corked) && !socket.held {
            self.send_kept(id);
        }
    }

    /// Sends what stands in a socket's queue with this turn.
    fn send_kept(&mut self, id: SocketId) {
        let Some(socket) = self.find_mut(id) else { return };
        let mut kept = std::mem::take(&mut socket.queue);
        if let Some(output) = self.output(id) {
            output.append(&mut kept);
            self.commit(id);
        }
        kept.clear();
        self.table[id.index as usize].queue = kept;
    }

    /// Keeps back, until [`let_go`](Self::let_go), what this turn was to send to clients, but for those that are not
    /// `wanted`; also what stands behind a send that is under way. `held` gets each of them that was not held before, with
    /// the bytes that are kept back.
    pub fn hold_turn(&mut self, mut wanted: impl FnMut(SocketId) -> bool, held: &mut Vec<(SocketId, usize)>) {
        for index in self.dirty.iter().chain(&self.behind) {
            let socket = &mut self.table[*index as usize];
            let id = SocketId { index: *index, generation: socket.generation };
            let has_bytes = socket.dirty || socket.sending && !socket.queue.is_empty();
            let is_open = socket.phase == Phase::Open && socket.is_client && !socket.broken;
            if !has_bytes || !is_open || socket.held || !wanted(id) {
                continue;
            }
            socket.held = true;
            keep_back(socket, &mut self.arena);
            held.push((id, socket.queue.len()));
        }
        self.behind.clear();
    }

    /// Sends what [`hold_turn`](Self::hold_turn) has kept back with this turn, if it is `kept` bytes still; else how many
    /// there are now: it is still held.
    pub fn let_go(&mut self, id: SocketId, kept: usize) -> Option<usize> {
        let socket = self.find_mut(id).filter(|socket| socket.held)?;
        if socket.queue.len() > kept {
            return Some(socket.queue.len());
        }
        socket.held = false;
        let (is_free, finishes) = (!socket.sending && !socket.corked, std::mem::take(&mut socket.finishes));
        if is_free {
            self.send_kept(id);
        }
        if finishes {
            self.leave(id, Phase::Finishing { idle: 0 });
        }
        None
    }

    /// Bytes of replies that the kernel has not taken yet, this turn's included.
    #[inline]
    pub fn pending_bytes(&self, id: SocketId) -> usize {
        let Some(socket) = self.find(id) else {
            return 0;
        };
        let turn = if socket.dirty { socket.range.1 - socket.range.0 } else { 0 };
        turn + socket.queue.len() + socket.flying.len() - socket.flown
    }

    /// Bytes that this turn has written for all sockets.
    #[inline]
    pub fn turn_bytes(&self) -> usize {
        self.arena.len()
    }

    /// Bytes of replies that the sockets' own queues hold. Looks at every socket: for statistics.
    pub fn queued_bytes(&self) -> usize {
        self.table.iter().map(|socket| socket.queue.len() + socket.flying.len() - socket.flown).sum()
    }

    /// The socket's descriptor number, for display; −1 if it is closed.
    pub fn descriptor(&self, id: SocketId) -> RawFd {
        self.find(id).map_or(-1, Socket::raw)
    }

    /// Stops receiving from a socket; what the kernel has already delivered still comes.
    pub fn pause(&mut self, id: SocketId) {
        self.set_paused(id, true);
    }

    /// Receives again after [`pause`](Self::pause).
    pub fn resume(&mut self, id: SocketId) {
        self.set_paused(id, false);
    }

    fn set_paused(&mut self, id: SocketId, paused: bool) {
        if let Some(socket) = self.find_mut(id)
            && std::mem::replace(&mut socket.paused, paused) != paused
        {
            self.touched.push(id.index);
        }
    }

    /// Closes a socket now; replies that the kernel has not taken are lost. No event names it afterwards.
    pub fn close(&mut self, id: SocketId) {
        self.leave(id, Phase::Closing);
    }

    /// Gives a socket up without closing it: its descriptor is given by [`handed_out`](Self::handed_out) as soon as the
    /// kernel has nothing of it any more. What is received meanwhile is lost, so the peer must be waiting for an answer.
    pub fn hand_out(&mut self, id: SocketId) {
        if let Some(socket) = self.find_mut(id) {
            socket.leaves = true;
        }
        self.leave(id, Phase::Closing);
    }

    /// A descriptor that was given up by [`hand_out`](Self::hand_out), by the name that it had.
    #[inline]
    pub fn handed_out(&mut self) -> Option<(SocketId, OwnedFd)> {
        self.handed_out.pop()
    }

    /// Closes a socket once its replies are sent. No event names it afterwards; nothing more can be written.
    pub fn close_when_sent(&mut self, id: SocketId) {
        self.leave(id, Phase::Finishing { idle: 0 });
    }

    /// Closes those sockets of [`close_when_sent`](Self::close_when_sent) whose peers have taken nothing during the
    /// last `patience` calls. Looks at every socket: to be called once per second or so.
    pub fn close_stuck(&mut self, patience: u8) {
        for (index, socket) in self.table.iter_mut().enumerate() {
            if let Phase::Finishing { idle } = &mut socket.phase {
                *idle += 1;
                if *idle > patience {
                    socket.phase = Phase::Closing;
                    self.touched.push(index as u32);
                }
            }
        }
    }

    /// How many clients' descriptors were closed since the last call: a socket that finishes still counts as open.
    pub fn take_closed(&mut self) -> usize {
        std::mem::take(&mut self.closed)
    }

    fn leave(&mut self, id: SocketId, phase: Phase) {
        self.uncork(id);
        if let Some(socket) = self.find_mut(id).filter(|socket| socket.held)
            && phase != Phase::Closing
        {
            socket.finishes = true;
            return;
        }
        if let Some(socket) = self.find_mut(id)
            && socket.phase == Phase::Open
        {
            socket.phase = phase;
            self.touched.push(id.index);
        }
    }

    #[inline]
    fn find(&self, id: SocketId) -> Option<&Socket> {
        let socket = self.table.get(id.index as usize)?;
        (socket.generation == id.generation && socket.phase != Phase::Free).then_some(socket)
    }

    fn find_mut(&mut self, id: SocketId) -> Option<&mut Socket> {
        let socket = self.table.get_mut(id.index as usize)?;
        (socket.generation == id.generation && socket.phase != Phase::Free).then_some(socket)
    }

    /// The name of the socket at `index`, if it still takes part in events.
    pub(crate) fn live_id(&self, index: u32) -> Option<SocketId> {
        let socket = &self.table[index as usize];
        (socket.phase == Phase::Open).then_some(SocketId { index, generation: socket.generation })
    }

    /// Queues this turn's sends and what `pause`, `resume`, `close` ask of the kernel. The arena must then stay
    /// as it is until [`after_enter`](Self::after_enter).
    pub(crate) fn flush(&mut self, kernel: &mut Kernel) {
        self.behind.clear();
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            let socket = &mut self.table[index as usize];
            // A socket that was corked in between may stand here twice, or have nothing.
            if !std::mem::take(&mut socket.dirty) {
                continue;
            }
            if matches!(socket.phase, Phase::Open | Phase::Finishing { .. }) && !socket.broken {
                let (start, stop) = socket.range;
                self.sent_bytes += (stop - start) as u64;
                kernel.send_now(index, socket.raw(), &self.arena[start..stop]);
            }
        }
        self.dirty = dirty;
        // What follows may end a socket, so it comes behind the sends.
        let mut touched = std::mem::take(&mut self.touched);
        for index in touched.drain(..) {
            self.arrange(index, kernel);
        }
        self.touched = touched;
    }

    /// Brings the kernel's side of a socket in line with what is wanted of it.
    fn arrange(&mut self, index: u32, kernel: &mut Kernel) {
        let socket = &mut self.table[index as usize];
        match (socket.phase, socket.receiving) {
            (Phase::Open, Receiving::Idle) if !socket.ended && !socket.paused => {
                socket.receiving = Receiving::Armed;
                kernel.receive(index, socket.raw());
            }
            (Phase::Open, Receiving::Armed) if socket.paused => {
                socket.receiving = Receiving::Stopping;
                kernel.stop_receiving(index);
            }
            (Phase::Closing, _) => self.release(index, kernel),
            // Whether anything is left to send shows only after the enter.
            (Phase::Finishing { .. }, _) => self.finishing.push(index),
            (Phase::Open | Phase::Free, _) => {}
        }
    }

    /// Closes the descriptor if the kernel has nothing of this socket any more, else cancels what it has.
    fn release(&mut self, index: u32, kernel: &mut Kernel) {
        let socket = &mut self.table[index as usize];
        if socket.receiving == Receiving::Idle && !socket.sending {
            kernel.forget(index);
            self.closed += usize::from(socket.is_client);
            if socket.leaves
                && let Some(fd) = socket.fd.take()
            {
                self.handed_out.push((SocketId { index, generation: socket.generation }, fd));
            }
            *socket = Socket::free((socket.generation + 1) & 0xff_ffff);
            self.free.push(index);
            self.open -= 1;
            return;
        }
        kernel.cancel(index, socket.raw());
    }

    /// A receive's completion; `more` says whether the receive goes on.
    pub(crate) fn received(&mut self, index: u32, result: i32, more: bool, kernel: &mut Kernel) -> Outcome {
        let socket = &mut self.table[index as usize];
        let mut outcome = if result > 0 { Outcome::Received } else { Outcome::Nothing };
        if !more {
            socket.receiving = Receiving::Idle;
            let again = result > 0 || matches!(-result, libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN);
            if socket.phase == Phase::Closing {
                self.release(index, kernel);
            } else if !again {
                socket.ended = true;
                outcome = Outcome::Ended(-result);
            } else {
                self.arrange(index, kernel);
            }
        }
        outcome
    }

    /// The completion of a send out of the arena: it was short, or failed.
    pub(crate) fn arena_send_fell_short(&mut self, index: u32, result: i32, kernel: &mut Kernel) -> Outcome {
        let socket = &mut self.table[index as usize];
        let (start, stop) = socket.range;
        let sent = match result {
            _ if -result == libc::EAGAIN || -result == libc::EINTR => 0,
            sent if sent >= 0 => sent as usize,
            error => return self.broke(index, -error),
        };
        if start + sent >= stop {
            return Outcome::Nothing;
        }
        self.sent_bytes -= (stop - start - sent) as u64;
        socket.flying.clear();
        socket.flying.extend_from_slice(&self.arena[start + sent..stop]);
        self.send_flying(index, kernel);
        Outcome::Nothing
    }

    /// The completion of a send out of the socket's own queue.
    pub(crate) fn queue_sent(&mut self, index: u32, result: i32, kernel: &mut Kernel) -> Outcome {
        let socket = &mut self.table[index as usize];
        socket.sending = false;
        if socket.phase == Phase::Closing {
            self.release(index, kernel);
            return Outcome::Nothing;
        }
        match result {
            _ if -result == libc::EAGAIN || -result == libc::EINTR => {}
            sent if sent >= 0 => {
                socket.flown += sent as usize;
                self.sent_bytes += sent as u64;
                if let Phase::Finishing { idle } = &mut socket.phase {
                    *idle = 0;
                }
            }
            error => return self.broke(index, -error),
        }
        if socket.flown >= socket.flying.len() {
            socket.flown = 0;
            socket.flying.clear();
            socket.flying.shrink_to(QUEUE_BYTES_KEPT);
            if socket.held {
                return Outcome::Nothing;
            }
            std::mem::swap(&mut socket.flying, &mut socket.queue);
            if socket.flying.is_empty() {
                if matches!(socket.phase, Phase::Finishing { .. }) {
                    self.finish(index, kernel);
                }
                return Outcome::Nothing;
            }
        }
        self.send_flying(index, kernel);
        Outcome::Nothing
    }

    fn send_flying(&mut self, index: u32, kernel: &mut Kernel) {
        let socket = &mut self.table[index as usize];
        socket.sending = true;
        kernel.send(index, socket.raw(), &socket.flying[socket.flown..]);
    }

    fn broke(&mut self, index: u32, error: i32) -> Outcome {
        let socket = &mut self.table[index as usize];
        socket.broken = true;
        socket.queue = Vec::new();
        socket.flying = Vec::new();
        socket.flown = 0;
        if matches!(socket.phase, Phase::Finishing { .. }) {
            socket.phase = Phase::Closing;
        }
        self.touched.push(index);
        // The owner learns it once: the receive side may have ended already.
        if std::mem::replace(&mut socket.ended, true) { Outcome::Nothing } else { Outcome::Ended(error) }
    }

    fn finish(&mut self, index: u32, kernel: &mut Kernel) {
        self.table[index as usize].phase = Phase::Closing;
        self.release(index, kernel);
    }

    /// Ends a turn: the enter that sent out of the arena has returned and all its completions were seen.
    /// Finishing sockets whose bytes went out are closed.
    pub(crate) fn after_enter(&mut self, kernel: &mut Kernel) {
        while let Some(index) = self.finishing.pop() {
            let socket = &self.table[index as usize];
            if matches!(socket.phase, Phase::Finishing { .. }) && !socket.sending {
                self.finish(index, kernel);
            }
        }
        self.arena.clear();
        if self.arena.capacity() > ARENA_BYTES_KEPT {
            self.arena.shrink_to(ARENA_BYTES_KEPT);
        }
    }
}

/// Moves what a socket was to send with this turn to its queue.
fn keep_back(socket: &mut Socket, arena: &mut Vec<u8>) {
    if std::mem::take(&mut socket.dirty) {
        let (start, stop) = socket.range;
        socket.queue.extend_from_slice(&arena[start..stop]);
        if stop == arena.len() {
            arena.truncate(start);
        }
    }
}
