//! One thread of the generator: its connections, batches out, replies in.

use super::Channels;
use super::connection::{Batch, Connection, Owed, Redirect};
use super::routing::Routing;
use crate::endpoint::{Address, Endpoint};
use crate::failure::Failure;
use crate::keys::{KeyChooser, share, share_before};
use crate::load::{Extent, Load};
use crate::schedule::Schedule;
use crate::slot_map::{Master, SlotMap};
use crate::tally::Tally;
use crate::workload::Requests;
use slotmesh_base::Rng;
use slotmesh_io::clock::monotonic_nanos;
use slotmesh_io::{Backend, DataLoop, Event, Wait, mesh, pin_to, run_core};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A server that owes replies and sends nothing for so long is given up.
const SILENCE_SECONDS: u64 = 20;
/// Bytes of requests in one turn after which they are sent without waiting for its end.
const TURN_BYTES_MAX: usize = 256 * 1024;
/// Before a batch is due the thread stops sleeping, as a sleep may take so much too long, in nanoseconds.
const SLEEP_SLACK_NANOS: u64 = 100_000;

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
    /// Set when an open loop shall end.
    stop: Option<&'a AtomicBool>,
    index: usize,
    requests: Requests,
    connections: Vec<Connection>,
    /// In a cluster, who has which slots.
    routing: Option<Routing>,
    /// Requests that are to be sent to other nodes of it.
    redirected: Vec<Redirect>,
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
    map: Option<SlotMap>,
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
        let mut worker = Worker { stop: Some(&channels.stop), ..Worker::new(io, endpoint, load, map, index) };
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
    fn new(io: DataLoop<()>, endpoint: &'a Endpoint, load: &'a Load, map: Option<SlotMap>, index: usize) -> Self {
        let chooser = |drawn| KeyChooser::new(load.distribution, drawn, index, load.threads);
        let rng = Rng::new(load.seed.wrapping_add(index as u64));
        let mut worker = Self {
            io,
            endpoint,
            load,
            stop: None,
            index,
            requests: Requests::new(&load.mix, load.sizes, load.population(), chooser, rng),
            connections: Vec::new(),
            routing: map.map(Routing::new),
            redirected: Vec::new(),
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
        let (clients, threads) = (self.load.clients as u64, self.load.threads);
        // Connections go round the masters, over all threads.
        let before = share_before(clients, self.index, threads);
        for number in before..before + share(clients, self.index, threads) {
            let masters = self.routing.as_ref().map(|routing| routing.map().masters().len() as u64);
            self.open(masters.map(|count| Master((number % count) as u16)))?;
        }
        self.warm_up().await
    }

    /// Opens a connection to the endpoint, or to a master of its cluster.
    fn open(&mut self, master: Option<Master>) -> Result<(), Failure> {
        let connected = match master.zip(self.routing.as_ref()) {
            None => self.endpoint.connect(),
            Some((master, routing)) => slotmesh_io::tcp::connect(routing.map().address(master)),
        };
        let fd = connected.map_err(|error| Failure::Connect { endpoint: self.endpoint.name.clone(), error })?;
        let socket = self.io.sockets.adopt(fd);
        assert!(socket.index as usize == self.connections.len(), "no place is given back, so they come in order");
        self.connections.push(Connection::new(socket, master));
        Ok(())
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
                    remaining.requests += count - self.write_batch(index, count, None)?;
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
            if self.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                // What was due before is sent still.
                remaining.until_nanos = remaining.until_nanos.min(now);
            }
            while !remaining.is_over(schedule.next_due())
                && let Some(due) = schedule.take_due(now)
            {
                let count = remaining.take(self.load.pipeline, due);
                remaining.requests += count - self.write_batch(turn_of, count, Some(due))?;
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

    /// Writes a batch of up to `count` requests, fewer if there are no more for the connection's node; how many.
    /// Latency counts from `due`, else from the enter that sends it.
    fn write_batch(&mut self, index: usize, count: u64, due: Option<u64>) -> Result<u64, Failure> {
        let connection = &mut self.connections[index];
        if connection.retired {
            return Ok(0);
        }
        let output = self.io.sockets.output(connection.socket).filter(|_| !connection.ended);
        let Some(output) = output else {
            return Err(self.closed());
        };
        let mut written = count;
        match self.routing.as_mut().zip(connection.master) {
            None => (0..count).for_each(|_| {
                let (drawn, replies) = self.requests.write_next(output);
                connection.owed.push_back(Owed { replies, redirects: 0, drawn });
            }),
            Some((routing, master)) => {
                written = 0;
                while written < count
                    && let Some(drawn) = routing.next(master, &mut self.requests)
                {
                    let replies = self.requests.write(drawn, output);
                    connection.owed.push_back(Owed { replies, redirects: 0, drawn });
                    written += 1;
                }
            }
        }
        self.io.sockets.commit(connection.socket);
        if written > 0 {
            self.note_batch(index, written, due);
        }
        Ok(written)
    }

    fn note_batch(&mut self, index: usize, count: u64, due: Option<u64>) {
        self.connections[index].batches.push_back(Batch { from_nanos: due.unwrap_or(0), left: count });
        self.outstanding += 1;
        if due.is_none() {
            self.unstamped.push(index);
        }
        if self.io.sockets.turn_bytes() > TURN_BYTES_MAX {
            self.stamp();
            self.io.send_now();
        }
    }

    /// Sends redirected requests where they belong now, after a look at who has which slots where the map is not of
    /// the same opinion. Connections that may have more to send than before get into `ready`.
    #[cold]
    fn follow(&mut self, ready: &mut Vec<usize>) -> Result<(), Failure> {
        assert!(self.unstamped.is_empty(), "what is written behind a batch has its own time");
        let redirected = std::mem::take(&mut self.redirected);
        let routing = self.routing.as_mut().expect("redirects are followed in a cluster only");
        let is_news = |map: &SlotMap, redirect: &Redirect| map.owner(redirect.moved.slot) == redirect.from;
        if let Some(redirect) = redirected.iter().find(|redirect| is_news(routing.map(), redirect)) {
            let address = Address::Tcp(redirect.moved.address(routing.map().address(redirect.from)));
            let newer = SlotMap::ask(&Endpoint { address, ..self.endpoint.clone() })?;
            let mut fits = true;
            routing.change(&mut self.requests, |map| {
                fits = map.adopt(&newer);
                // If the node that was named does not know yet, the redirect does.
                for redirect in &redirected {
                    if is_news(map, redirect) {
                        let address = redirect.moved.address(map.address(redirect.from));
                        fits &= map.assign(redirect.moved.slot, address).is_some();
                    }
                }
            });
            if !fits {
                let problem = "it has more masters than slots".to_owned();
                return Err(Failure::Cluster { endpoint: self.endpoint.name.clone(), problem });
            }
            self.take_places(ready)?;
        }
        redirected.iter().try_for_each(|redirect| self.send_again(redirect))
    }

    /// Gives each master with slots a connection, and those of masters without slots to the others. Connections that
    /// wait for nothing get into `ready`.
    fn take_places(&mut self, ready: &mut Vec<usize>) -> Result<(), Failure> {
        let routing = self.routing.as_ref().expect("only masters of a cluster have slots");
        let serving: Vec<_> = routing.serving().collect();
        let idle = self.connections.iter().enumerate().filter(|(_, connection)| connection.batches.is_empty());
        ready.extend(idle.map(|(index, _)| index));
        ready.sort_unstable();
        ready.dedup();
        let known = self.connections.len();
        for connection in &mut self.connections {
            connection.retired = connection.master.is_none_or(|master| !serving.contains(&master));
        }
        let retired = self.connections.iter().filter(|connection| connection.retired && !connection.replaced).count();
        let count = |connections: &[Connection], master| {
            connections.iter().filter(|connection| connection.master == Some(master)).count()
        };
        for connection in self.connections.iter_mut().filter(|connection| connection.retired) {
            connection.replaced = true;
        }
        for _ in 0..retired {
            let neediest = serving.iter().copied().min_by_key(|master| count(&self.connections, *master));
            self.open(neediest)?;
        }
        for master in serving {
            if count(&self.connections, master) == 0 {
                self.open(Some(master))?;
            }
        }
        ready.extend(known..self.connections.len());
        Ok(())
    }

    /// Sends one request on a connection to the master of its slot.
    fn send_again(&mut self, redirect: &Redirect) -> Result<(), Failure> {
        let Redirect { drawn, redirects, from_nanos, .. } = *redirect;
        let routing = self.routing.as_ref().expect("redirects are followed in a cluster only");
        let owner = routing.owner(drawn, &mut self.requests);
        let leads_there = |connection: &Connection| connection.master == owner && !connection.ended;
        let Some(index) = self.connections.iter().position(leads_there) else { return Err(self.closed()) };
        let connection = &mut self.connections[index];
        let Some(output) = self.io.sockets.output(connection.socket) else { return Err(self.closed()) };
        let replies = self.requests.write(drawn, output);
        connection.owed.push_back(Owed { replies, redirects, drawn });
        self.io.sockets.commit(connection.socket);
        self.note_batch(index, 1, Some(from_nanos));
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
        let (replies_before, redirects_before) = (self.tally.replies, self.tally.redirects);
        for event in events.drain(..) {
            match event {
                Event::Received { socket, chunk } => {
                    let connection = &mut self.connections[socket.index as usize];
                    let bytes = self.io.input.read(chunk);
                    let ended = connection.receive(bytes, now, &mut self.tally, &mut self.redirected);
                    let ended = ended.ok_or_else(|| Failure::Malformed { endpoint: self.endpoint.name.clone() })?;
                    self.outstanding -= ended;
                    if ended > 0 && connection.batches.is_empty() {
                        ready.push(socket.index as usize);
                    }
                }
                Event::Ended { socket, .. } => {
                    let connection = &mut self.connections[socket.index as usize];
                    connection.ended = true;
                    if !connection.batches.is_empty() {
                        return Err(self.closed());
                    }
                }
                Event::Accepted { .. } | Event::AcceptFailed { .. } | Event::Readable { .. } | Event::File(_) => {}
            }
        }
        self.events = events;
        let replies = self.tally.replies - replies_before;
        if replies > 0 {
            self.tally.ended_nanos = now;
            progress.fetch_add(replies, Ordering::Relaxed);
        }
        if !self.redirected.is_empty() {
            self.follow(ready)?;
        }
        Ok(replies > 0 || self.tally.redirects > redirects_before)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests;
    use super::*;

    /// The load falls behind its schedule by half a second: every request has waited for as long.
    #[test]
    fn open_loop_latency_counts_from_the_intended_time() {
        let _alone = tests::alone();
        let endpoint = tests::start_echo();
        let load = Load { rate: Some(1000.0), ..tests::load(3, 1, 1, 100) };
        let mail = mesh::<()>(1).pop().unwrap();
        let tally = run_core(Backend::IoUring, mail, |io| async {
            let mut worker = Worker::new(io, &endpoint, &load, None, 0);
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
