//! Clients that write to groups of nodes without pause, and tell when each write was taken.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Scope;
use std::time::{Duration, Instant};

/// How long a node that may be dead is waited for before its sibling is tried.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(1);
/// Longest answer that is of interest: OK, or a line that names an error.
const ANSWER_BYTES_MAX: usize = 512;

/// Who writes where.
pub(super) struct Writer {
    /// Ports of the master and of its replica.
    pub(super) ports: [u16; 2],
    /// A key of their slots.
    pub(super) key: String,
}

/// A write that was taken.
#[derive(Clone, Copy, Debug)]
struct Accepted {
    group: usize,
    /// Who took it.
    port: u16,
    /// When it was tried first.
    begun: Instant,
    at: Instant,
}

/// The clients of all groups.
pub(super) struct Writers {
    accepted: Receiver<Accepted>,
    stop: Arc<AtomicBool>,
    /// What was received while something else was waited for.
    kept: Vec<Accepted>,
}

impl Writers {
    /// Starts a client for each group, in their order. `patience` is how long each waits for an answer.
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        writers: impl Iterator<Item = Writer>,
        patience: Duration,
    ) -> Self {
        let (tell, accepted) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        for (group, writer) in writers.enumerate() {
            let (tell, stop) = (tell.clone(), stop.clone());
            scope.spawn(move || write_on(group, &writer, patience, &stop, &tell));
        }
        Self { accepted, stop, kept: Vec::new() }
    }

    /// Lets the clients end.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until each group has taken so many writes.
    ///
    /// # Errors
    /// If one has not by the deadline.
    pub(super) fn await_writes(
        &mut self,
        groups: usize,
        count: usize,
        deadline: Duration,
    ) -> Result<(), crate::failure::Failure> {
        let until = Instant::now() + deadline;
        let mut missing = vec![count; groups];
        while missing.iter().any(|count| *count > 0) {
            let Some(accepted) = self.next(until) else {
                let problem = format!("its groups still owe these numbers of writes: {missing:?}");
                return Err(crate::failure::Failure::Server { name: "a healthy cluster".to_owned(), problem });
            };
            missing[accepted.group] = missing[accepted.group].saturating_sub(1);
        }
        Ok(())
    }

    /// When a node first took a write of its group; `None` if it had not by the deadline.
    pub(super) fn first_write(
        &mut self,
        group: usize,
        port: u16,
        begin: Instant,
        deadline: Duration,
    ) -> Option<Instant> {
        let is_it = |one: &Accepted| one.group == group && one.port == port && one.at >= begin;
        if let Some(accepted) = self.kept.iter().find(|one| is_it(one)) {
            return Some(accepted.at);
        }
        loop {
            let accepted = self.next(begin + deadline)?;
            self.kept.push(accepted);
            if is_it(&accepted) {
                return Some(accepted.at);
            }
        }
    }

    /// The longest time that a write of a group took which was done after `begin`; looked for until a while after
    /// `port` has taken its first. `None` if it had not by the deadline.
    pub(super) fn longest_write(
        &mut self,
        group: usize,
        port: u16,
        begin: Instant,
        afterwards: Duration,
        deadline: Duration,
    ) -> Option<Duration> {
        let until = self.first_write(group, port, begin, deadline)? + afterwards;
        while let Some(accepted) = self.next(until) {
            self.kept.push(accepted);
        }
        let of_group = self.kept.iter().filter(|one| one.group == group && one.at >= begin);
        of_group.map(|one| one.at - one.begun).max()
    }

    fn next(&self, until: Instant) -> Option<Accepted> {
        self.accepted.recv_timeout(until.saturating_duration_since(Instant::now())).ok()
    }
}

/// Writes until told to stop: each write to the node that took the last one, and to the other one in turn until it is
/// taken.
fn write_on(group: usize, writer: &Writer, patience: Duration, stop: &AtomicBool, tell: &Sender<Accepted>) {
    let value = "x".repeat(32);
    let request =
        format!("*3\r\n$3\r\nSET\r\n${}\r\n{}\r\n${}\r\n{value}\r\n", writer.key.len(), writer.key, value.len());
    let mut links: [Option<TcpStream>; 2] = [None, None];
    let mut place = 0;
    while !stop.load(Ordering::Relaxed) {
        let begun = Instant::now();
        while !try_once(&mut links[place], writer.ports[place], request.as_bytes(), patience) {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            place ^= 1;
            std::thread::sleep(PAUSE);
        }
        let accepted = Accepted { group, port: writer.ports[place], begun, at: Instant::now() };
        // Nobody listens any more once the stop has been said.
        let _ = tell.send(accepted);
        std::thread::sleep(PAUSE);
    }
}

/// Whether a node takes the write. A link that failed, or whose answer would come too late, is given up.
fn try_once(link: &mut Option<TcpStream>, port: u16, request: &[u8], patience: Duration) -> bool {
    match exchange(link, port, request, patience) {
        Ok(is_taken) => is_taken,
        Err(_) => {
            *link = None;
            false
        }
    }
}

fn exchange(link: &mut Option<TcpStream>, port: u16, request: &[u8], patience: Duration) -> io::Result<bool> {
    let stream = match link {
        Some(stream) => stream,
        None => {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
            let stream = TcpStream::connect_timeout(&address, patience)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(patience))?;
            link.insert(stream)
        }
    };
    stream.write_all(request)?;
    let (mut answer, mut length) = ([0; ANSWER_BYTES_MAX], 0);
    while length == 0 || answer[length - 1] != b'\n' {
        match stream.read(&mut answer[length..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => length += read,
        }
    }
    Ok(answer[..length] == *b"+OK\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A node that answers each request in its way.
    fn node<'scope>(scope: &'scope Scope<'scope, '_>, answer: fn() -> &'static [u8]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        scope.spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            while stream.read(&mut request).is_ok_and(|read| read > 0) {
                stream.write_all(answer()).unwrap();
            }
        });
        port
    }

    #[test]
    fn a_refused_write_goes_to_the_other_node_and_counts_from_its_first_try() {
        std::thread::scope(|scope| {
            let refuses = node(scope, || {
                std::thread::sleep(Duration::from_millis(30));
                b"-MOVED 1 127.0.0.1:1\r\n"
            });
            let takes = node(scope, || b"+OK\r\n");
            let writer = Writer { ports: [refuses, takes], key: "k".to_owned() };
            let begin = Instant::now();
            let mut writers = Writers::start(scope, std::iter::once(writer), DEADLINE);
            writers.first_write(0, takes, begin, DEADLINE).unwrap();
            let longest = writers.longest_write(0, takes, begin, Duration::ZERO, DEADLINE).unwrap();
            writers.stop();
            assert!(longest >= Duration::from_millis(30), "{longest:?}");
        });
    }

    #[test]
    fn a_node_that_is_silent_is_left_for_the_other_one() {
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        std::thread::scope(|scope| {
            let takes = node(scope, || b"+OK\r\n");
            let ports = [silent.local_addr().unwrap().port(), takes];
            let writer = Writer { ports, key: "k".to_owned() };
            let begin = Instant::now();
            let mut writers = Writers::start(scope, std::iter::once(writer), PATIENCE);
            assert!(writers.await_writes(1, 3, DEADLINE).is_ok());
            assert!(writers.first_write(0, ports[0], begin, Duration::from_millis(50)).is_none());
            writers.stop();
        });
    }

    const DEADLINE: Duration = Duration::from_secs(10);
}
