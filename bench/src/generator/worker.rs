//! One thread of the generator: its connections, batches out, replies in.

use super::Channels;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::keys::{KeyChooser, share};
use crate::load::{Extent, Load};
use crate::schedule::Schedule;
use crate::tally::Tally;
use crate::workload::Requests;
use slotmesh_base::Rng;
use slotmesh_io::clock::monotonic_nanos;
use slotmesh_io::{Backend, DataLoop, Event, SocketId, Wait, mesh, pin_to, run_core};
use slotmesh_resp::ReplyScanner;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

/// A server that owes replies and sends nothing for so long is given up.
const SILENCE_SECONDS: u64 = 20;
/// Bytes of requests in one turn after which they are sent without waiting for its end.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Before a batch is due the thread stops sleeping, as a sleep may take so much too long, in nanoseconds.
const SLEEP_SLACK_NANOS: u64 = 100_000;

/// Requests sent together on one connection.
#[derive(Debug)]
struct Batch {
    /// From when latency counts: when it was sent, or should have been.
    from_nanos: u64,
    /// Those whose replies are not complete.
    left: u64,
}

#[derive(Debug)]
struct Connection {
    socket: SocketId,
    scanner: ReplyScanner,
    batches: VecDeque<Batch>,
    /// Replies to come to each of the requests that were sent: a transaction has several.
    owed: VecDeque<u32>,
    /// The server has closed it.
    ended: bool,
}

/// What is still to be sent in a phase.
#[derive(Debug)]
struct Remaining {
    requests: u64,
    until_nanos: u64,
}

impl Remaining {
    /// Takes up to `wanted` requests; 0 if the phase is over.
    fn take(&mut self, wanted: u64, now: u64) -> u64 {
        if now >= self.until_nanos {
            return 0;
        }
        let taken = self.requests.min(wanted);
        self.requests -= taken;
        taken
    }

    fn is_over(&self, now: u64) -> bool {
        self.requests == 0 || now >= self.until_nanos
    }
}

struct Worker<'a> {
    io: DataLoop<()>,
    endpoint: &'a Endpoint,
    load: &'a Load,
    index: usize,
    requests: Requests,
    connections: Vec<Connection>,
    /// Connections whose newest batch was written since the last enter and awaits its time of sending.
    unstamped: Vec<usize>,
    /// Batches whose replies are not complete.
    outstanding: u64,
    tally: Tally,
    /// Room for the events of a turn.
    events: Vec<Event>,
}

/// Connects, warms up, reports, waits for the signal, runs the load, reports, waits again, ends.
pub(super) fn work(
    endpoint: &Endpoint,
    load: &Load,
    index: usize,
    channels: &Channels,
    progress: &AtomicU64,
) -> Result<Tally, Failure> {
    if !load.cpus.is_empty() {
        pin_to(load.cpus[index % load.cpus.len()])
            .map_err(|error| Failure::Kernel { what: "cannot pin a load thread (--cpus)", error })?;
    }
    let mail = mesh::<()>(1).pop().expect("a mesh of one core has one mailbox");
    let outcome = run_core(Backend::IoUring, mail, |io| async move {
        let mut worker = Worker::new(io, endpoint, load, index);
        let ready = worker.prepare().await;
        // Also a thread that has failed waits for the others: rings are neither opened nor closed under load.
        let _ = channels.reached.send(());
        // Without a caller there is nobody to measure for.
        let start = channels.go.recv().map_err(|_| Failure::Thread)?;
        let outcome = match ready {
            Ok(()) => worker.measure(start, progress).await,
            Err(failure) => Err(failure),
        };
        let _ = channels.reached.send(());
        let _ = channels.go.recv();
        outcome
    });
    outcome.map_err(|error| Failure::Kernel { what: "cannot build the rings", error })?
}

impl<'a> Worker<'a> {
    fn new(io: DataLoop<()>, endpoint: &'a Endpoint, load: &'a Load, index: usize) -> Self {
        let chooser = |drawn| KeyChooser::new(load.distribution, drawn, index, load.threads);
        let rng = Rng::new(load.seed.wrapping_add(index as u64));
        let mut worker = Self {
            io,
            endpoint,
            load,
            index,
            requests: Requests::new(&load.mix, load.sizes, load.population(), chooser, rng),
            connections: Vec::new(),
            unstamped: Vec::new(),
            outstanding: 0,
            tally: Tally::default(),
            events: Vec::new(),
        };
        worker.io.spins = load.spins;
        worker
    }

    /// Connects and warms up.
    async fn prepare(&mut self) -> Result<(), Failure> {
        let (endpoint, load) = (self.endpoint, self.load);
        for place in 0..share(load.clients as u64, self.index, load.threads) as usize {
            let fd = endpoint.connect().map_err(|error| Failure::Connect { endpoint: endpoint.name.clone(), error })?;
            let socket = self.io.sockets.adopt(fd);
            assert!(socket.index as usize == place, "a new loop hands out its places in order");
            self.connections.push(Connection {
                socket,
                scanner: ReplyScanner::default(),
                batches: VecDeque::with_capacity(1),
                owed: VecDeque::new(),
                ended: false,
            });
        }
        self.warm_up().await
    }

    async fn warm_up(&mut self) -> Result<(), Failure> {
        if self.load.warmup_seconds > 0.0 {
            let until_nanos = monotonic_nanos() + (self.load.warmup_seconds * 1e9) as u64;
            let remaining = Remaining { requests: u64::MAX, until_nanos };
            self.closed_loop(remaining, &AtomicU64::new(0)).await?;
            // Wrong replies stay: they are wrong at any time.
            self.tally.replies = 0;
            self.tally.nulls = 0;
            self.tally.latencies.reset();
        }
        Ok(())
    }

    async fn measure(&mut self, start: u64, progress: &AtomicU64) -> Result<Tally, Failure> {
        let remaining = match self.load.extent {
            Extent::Requests(requests) => {
                Remaining { requests: share(requests, self.index, self.load.threads), until_nanos: u64::MAX }
            }
            Extent::Seconds(seconds) => Remaining { requests: u64::MAX, until_nanos: start + (seconds * 1e9) as u64 },
        };
        match self.load.rate {
            None => self.closed_loop(remaining, progress).await?,
            Some(rate) => {
                // This thread's batches come at the rate of its share of the connections.
                let interval = self.load.pipeline as f64 * 1e9 * self.load.threads as f64 / rate;
                let schedule = Schedule::new(start, interval, self.index, self.load.threads);
                self.open_loop(remaining, schedule, progress).await?;
            }
        }
        Ok(std::mem::take(&mut self.tally))
    }

    /// Each connection sends its next batch when it has all replies of the one before.
    async fn closed_loop(&mut self, mut remaining: Remaining, progress: &AtomicU64) -> Result<(), Failure> {
        let mut ready: Vec<usize> = (0..self.connections.len()).collect();
        loop {
            let now = monotonic_nanos();
            for index in ready.drain(..) {
                let count = remaining.take(self.load.pipeline, now);
                if count > 0 {
                    self.write_batch(index, count, None)?;
                }
            }
            if self.outstanding == 0 {
                return Ok(());
            }
            let wait = Wait::Until(now + SILENCE_SECONDS * 1_000_000_000);
            self.turn(wait, &mut ready, progress).await?;
        }
    }

    /// Batches go out when they are due, over the connections in turn, whatever is outstanding.
    async fn open_loop(
        &mut self,
        mut remaining: Remaining,
        mut schedule: Schedule,
        progress: &AtomicU64,
    ) -> Result<(), Failure> {
        let (mut ready, mut turn_of) = (Vec::new(), 0);
        let mut heard_nanos = monotonic_nanos();
        loop {
            let now = monotonic_nanos();
            while !remaining.is_over(schedule.next_due())
                && let Some(due) = schedule.take_due(now)
            {
                let count = remaining.take(self.load.pipeline, due);
                self.write_batch(turn_of, count, Some(due))?;
                turn_of = (turn_of + 1) % self.connections.len();
            }
            let over = remaining.is_over(schedule.next_due());
            if over && self.outstanding == 0 {
                return Ok(());
            }
            let silence = heard_nanos + SILENCE_SECONDS * 1_000_000_000;
            let wait = match schedule.next_due().saturating_sub(SLEEP_SLACK_NANOS) {
                _ if over => Wait::Until(silence),
                wake if wake > now => Wait::Until(wake),
                _ => Wait::No,
            };
            let heard = self.exchange(wait, &mut ready, progress).await?;
            ready.clear();
            if heard || self.outstanding == 0 {
                heard_nanos = monotonic_nanos();
            } else if now >= silence {
                return Err(self.silent());
            }
        }
    }

    /// One turn of a closed loop: nothing heard until the end of the wait is a failure.
    async fn turn(&mut self, wait: Wait, ready: &mut Vec<usize>, progress: &AtomicU64) -> Result<(), Failure> {
        while !self.exchange(wait, ready, progress).await? {
            // The loop also returns for its own sake.
            if let Wait::Until(instant) = wait
                && monotonic_nanos() >= instant
            {
                return Err(self.silent());
            }
        }
        Ok(())
    }

    /// A server that closes a connection often says why before.
    fn closed(&self) -> Failure {
        let (endpoint, Tally { errors, surplus, first_error, .. }) = (self.endpoint.name.clone(), &self.tally);
        if *errors == 0 {
            return Failure::Closed { endpoint };
        }
        Failure::Wrong { endpoint, errors: *errors, first: first_error.clone(), surplus: *surplus }
    }

    fn silent(&self) -> Failure {
        Failure::Silent { endpoint: self.endpoint.name.clone(), seconds: SILENCE_SECONDS }
    }

    /// Writes a batch of `count` requests. Latency counts from `due`, else from the enter that sends it.
    fn write_batch(&mut self, index: usize, count: u64, due: Option<u64>) -> Result<(), Failure> {
        let connection = &mut self.connections[index];
        let output = self.io.sockets.output(connection.socket).filter(|_| !connection.ended);
        let Some(output) = output else {
            return Err(self.closed());
        };
        for _ in 0..count {
            connection.owed.push_back(self.requests.write_next(output));
        }
        self.io.sockets.commit(connection.socket);
        connection.batches.push_back(Batch { from_nanos: due.unwrap_or(0), left: count });
        self.outstanding += 1;
        if due.is_none() {
            self.unstamped.push(index);
        }
        if self.io.sockets.turn_bytes() > TURN_BYTES_MAX {
            self.stamp();
            self.io.send_now();
        }
        Ok(())
    }

    /// Notes the time of sending, right before it.
    fn stamp(&mut self) {
        if self.unstamped.is_empty() {
            return;
        }
        let now = monotonic_nanos();
        for index in self.unstamped.drain(..) {
            let batch = self.connections[index].batches.back_mut();
            batch.expect("a batch that was not sent has no replies").from_nanos = now;
        }
    }

    /// Sends what was written and takes what came: whether any replies did. Connections without outstanding
    /// replies get into `ready`.
    async fn exchange(&mut self, wait: Wait, ready: &mut Vec<usize>, progress: &AtomicU64) -> Result<bool, Failure> {
        self.stamp();
        let mut events = std::mem::take(&mut self.events);
        self.io.turn(wait, &mut events).await;
        let now = monotonic_nanos();
        let replies_before = self.tally.replies;
        for event in events.drain(..) {
            match event {
                Event::Received { socket, chunk } => {
                    let connection = &mut self.connections[socket.index as usize];
                    let bytes = self.io.input.read(chunk);
                    let ended = connection.receive(bytes, now, &mut self.tally);
                    let ended = ended.ok_or_else(|| Failure::Malformed { endpoint: self.endpoint.name.clone() })?;
                    self.outstanding -= ended;
                    if ended > 0 && connection.batches.is_empty() {
                        ready.push(socket.index as usize);
                    }
                }
                Event::Ended { socket } => {
                    let connection = &mut self.connections[socket.index as usize];
                    connection.ended = true;
                    if !connection.batches.is_empty() {
                        return Err(self.closed());
                    }
                }
                Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Readable { .. } => {}
            }
        }
        self.events = events;
        let replies = self.tally.replies - replies_before;
        if replies > 0 {
            self.tally.ended_nanos = now;
            progress.fetch_add(replies, Ordering::Relaxed);
        }
        Ok(replies > 0)
    }
}

impl Connection {
    /// Counts the replies in `bytes`; the number of batches that they complete, or `None` if they are no replies.
    #[inline]
    fn receive(&mut self, bytes: &[u8], now: u64, tally: &mut Tally) -> Option<u64> {
        let (mut position, mut start) = (0, 0);
        let (mut ended, mut same) = (0, 0);
        while let Some(end) = self.scanner.next_end(bytes, &mut position).ok()? {
            let reply = &bytes[start..end.offset];
            start = end.offset;
            match end.kind {
                b'-' | b'!' => tally.note_error(reply),
                b'$' | b'*' if reply.get(1) == Some(&b'-') => tally.nulls += 1,
                b'*' if reply.starts_with(b"*0\r") => tally.nulls += 1,
                b'_' => tally.nulls += 1,
                _ => {}
            }
            let Some(owed) = self.owed.front_mut() else {
                tally.surplus += 1;
                continue;
            };
            *owed -= 1;
            if *owed > 0 {
                continue;
            }
            self.owed.pop_front();
            let batch = self.batches.front_mut().expect("a request that is owed replies is of a batch");
            batch.left -= 1;
            same += 1;
            if batch.left == 0 {
                tally.record(now.saturating_sub(batch.from_nanos), same);
                same = 0;
                ended += 1;
                self.batches.pop_front();
            }
        }
        if same > 0
            && let Some(batch) = self.batches.front()
        {
            tally.record(now.saturating_sub(batch.from_nanos), same);
        }
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests;
    use super::*;

    /// Batches of requests with one reply each.
    fn connection(lefts: &[(u64, u64)]) -> Connection {
        let owed = lefts.iter().flat_map(|(_, left)| (0..*left).map(|_| 1)).collect();
        let batches = lefts.iter().map(|(from_nanos, left)| Batch { from_nanos: *from_nanos, left: *left });
        Connection {
            socket: SocketId { index: 0, generation: 0 },
            scanner: ReplyScanner::default(),
            batches: batches.collect(),
            owed,
            ended: false,
        }
    }

    #[test]
    fn replies_count_for_the_batch_that_asked() {
        let (mut connection, mut tally) = (connection(&[(100, 2), (200, 2)]), Tally::default());
        assert_eq!(connection.receive(b"+OK\r\n$-1\r\n$2\r\na", 1000, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.nulls, tally.latencies.max()), (2, 1, 900));
        assert_eq!(connection.receive(b"b\r\n", 1200, &mut tally), Some(0));
        assert_eq!(connection.receive(b":1\r\n", 1300, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.latencies.max(), tally.surplus), (4, 1100, 0));
    }

    #[test]
    fn a_transaction_counts_once_when_its_last_reply_has_come() {
        let (mut connection, mut tally) = (connection(&[(100, 3)]), Tally::default());
        connection.owed = [1, 4, 1].into();
        assert_eq!(connection.receive(b"+OK\r\n+OK\r\n+QUEUED\r\n", 200, &mut tally), Some(0));
        assert_eq!((tally.replies, tally.latencies.max()), (1, 100));
        assert_eq!(connection.receive(b"+QUEUED\r\n*2\r\n+OK\r\n", 300, &mut tally), Some(0));
        assert_eq!(tally.replies, 1);
        assert_eq!(connection.receive(b"+OK\r\n", 400, &mut tally), Some(0));
        assert_eq!((tally.replies, tally.latencies.max()), (2, 300));
        assert_eq!(connection.receive(b"$1\r\na\r\n", 500, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.nulls, tally.surplus, connection.owed.len()), (3, 0, 0, 0));
    }

    #[test]
    fn a_list_that_is_not_there_counts_as_null() {
        let (mut connection, mut tally) = (connection(&[(0, 3)]), Tally::default());
        assert_eq!(connection.receive(b"*0\r\n*1\r\n$1\r\na\r\n*-1\r\n", 5, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.nulls), (3, 2));
    }

    #[test]
    fn errors_and_replies_that_nobody_asked_for_are_noticed() {
        let (mut connection, mut tally) = (connection(&[(0, 1)]), Tally::default());
        assert_eq!(connection.receive(b"-ERR x\r\n+OK\r\n", 5, &mut tally), Some(1));
        assert_eq!((tally.replies, tally.errors, tally.surplus), (1, 1, 1));
        assert_eq!(tally.first_error, "-ERR x");
        assert_eq!(connection.receive(b"what", 5, &mut tally), None);
    }

    /// The load falls behind its schedule by half a second: every request has waited for as long.
    #[test]
    fn open_loop_latency_counts_from_the_intended_time() {
        let _alone = tests::alone();
        let endpoint = tests::start_echo();
        let load = Load { rate: Some(1000.0), ..tests::load(3, 1, 1, 100) };
        let mail = mesh::<()>(1).pop().unwrap();
        let tally = run_core(Backend::IoUring, mail, |io| async {
            let mut worker = Worker::new(io, &endpoint, &load, 0);
            worker.prepare().await.unwrap();
            let start = monotonic_nanos() - 500_000_000;
            worker.measure(start, &AtomicU64::new(0)).await.unwrap()
        });
        let latencies = tally.unwrap().latencies;
        assert_eq!(latencies.len(), 100);
        assert!(latencies.min() >= 390_000_000, "the last was due 400 ms ago: {}", latencies.min());
        assert!(latencies.max() >= 495_000_000, "the first was due 500 ms ago: {}", latencies.max());
    }

    #[test]
    fn a_phase_ends_by_count_or_by_time() {
        let mut remaining = Remaining { requests: 10, until_nanos: 100 };
        assert_eq!(remaining.take(8, 50), 8);
        assert_eq!(remaining.take(8, 50), 2);
        assert!(remaining.is_over(50));
        let mut remaining = Remaining { requests: u64::MAX, until_nanos: 100 };
        assert_eq!((remaining.take(8, 99), remaining.take(8, 100)), (8, 0));
        assert!(!remaining.is_over(99) && remaining.is_over(100));
    }
}
