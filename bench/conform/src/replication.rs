//! Masters and replicas outside of clusters: pairs of both kinds, and what may stand between the two ends of a stream.

use crate::{Connection, Program, Server, await_condition};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// Longest wait for a replica to have what its master has, in seconds.
const SYNC_SECONDS_MAX: u64 = 30;
/// Longest wait for bytes of the other end of a stream.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

impl Program {
    /// The program as a server of its own, without waits before images, and with DEBUG.
    ///
    /// # Panics
    /// If it does not start.
    pub fn alone(&self, args: &[&str]) -> Server {
        let own = ["--save", "", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes"];
        let own = [&own[..], args].concat();
        match self {
            Self::Slotmesh(shards) => {
                let shards = shards.to_string();
                let own = [&own[..], &["--cores", &shards, "--shards", &shards]].concat();
                Server::start("slotmesh", self.command(), &own)
            }
            Self::Redis(_) => Server::start("redis-server", self.command(), &own),
        }
    }
}

/// A field of an answer of INFO, or of any text of its form.
pub fn field(text: &str, name: &str) -> Option<String> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim_end().to_owned())
}

impl Server {
    /// A field of its INFO; empty if there is none.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn info(&self, section: &str, name: &str) -> String {
        field(&self.connect().text(&format!("INFO {section}")), name).unwrap_or_default()
    }

    /// Says one line on a connection of its own.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn say(&self, line: &str) -> Vec<u8> {
        self.connect().say(line)
    }

    /// Says one line whose answer is to be OK.
    ///
    /// # Panics
    /// If it is not.
    pub fn order(&self, line: &str) {
        let reply = self.say(line);
        assert_eq!(reply, b"+OK\r\n", "{} on {line}: {}", self.name(), crate::show(&reply));
    }

    /// Makes it a replica of whoever listens at this port of 127.0.0.1.
    ///
    /// # Panics
    /// If it refuses.
    pub fn follow_port(&self, port: u16) {
        self.order(&format!("REPLICAOF 127.0.0.1 {port}"));
    }

    /// Makes it a replica, and waits until it follows.
    ///
    /// # Panics
    /// If it does not.
    pub fn follow(&self, master: &Self) {
        self.follow_port(master.port());
        self.await_link();
    }

    /// Waits until the link to its master is up.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn await_link(&self) {
        self.await_info("replication", "master_link_status", "up");
    }

    /// Waits until a field of INFO has this value.
    ///
    /// # Panics
    /// If it never has.
    pub fn await_info(&self, section: &str, name: &str, value: &str) {
        let what = format!("{} at port {} says {name}:{value}", self.name(), self.port());
        await_condition(&what, SYNC_SECONDS_MAX, || self.info(section, name) == value);
    }

    /// Waits until its log has a line with this text.
    ///
    /// # Panics
    /// If it never has.
    pub fn await_log(&self, text: &str) {
        let what = format!("{} at port {} logs '{text}'", self.name(), self.port());
        await_condition(&what, SYNC_SECONDS_MAX, || self.log().contains(text));
    }

    /// Waits until another server has processed as much of the stream as this one has written, and compares the data.
    ///
    /// # Panics
    /// If it never has, or if the data differ.
    pub fn await_same(&self, replica: &Self) {
        let what = format!("{} {} has what {} {} has", replica.name(), replica.port(), self.name(), self.port());
        let offset = |server: &Self| server.info("replication", "master_repl_offset");
        await_condition(&what, SYNC_SECONDS_MAX, || offset(self) == offset(replica));
        assert_eq!(crate::show(&self.say("DEBUG DIGEST")), crate::show(&replica.say("DEBUG DIGEST")), "{what}");
        assert_eq!(
            self.info("replication", "master_replid"),
            replica.info("replication", "master_replid"),
            "{what}: one history"
        );
    }

    /// How many full and how many partial syncs it has served.
    ///
    /// # Panics
    /// If it does not count them.
    pub fn syncs(&self) -> (u64, u64) {
        let count = |name| self.info("stats", name).parse().expect("a number of syncs");
        (count("sync_full"), count("sync_partial_ok"))
    }
}

/// What stands between a replica and its master, and can be cut.
pub struct Relay {
    port: u16,
    state: Arc<RelayState>,
}

struct RelayState {
    /// Bytes of the master that are let through before all is cut, once.
    bytes_left: AtomicU64,
    lines: Mutex<Lines>,
}

#[derive(Default)]
struct Lines {
    is_blocked: bool,
    open: Vec<TcpStream>,
}

impl RelayState {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("no relay panics")
    }

    fn cut(&self) {
        for line in self.lines().open.drain(..) {
            // It may be closed already.
            let _ = line.shutdown(Shutdown::Both);
        }
    }
}

impl Relay {
    /// Listens at a port of its own and passes on what comes to this one.
    ///
    /// # Panics
    /// If there is no port.
    pub fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("it listens").port();
        let state = Arc::new(RelayState { bytes_left: AtomicU64::new(u64::MAX), lines: Mutex::default() });
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if shared.lines().is_blocked {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                let copies = [&client, &server].map(|end| end.try_clone().expect("a file to open"));
                let more = [&client, &server].map(|end| end.try_clone().expect("a file to open"));
                shared.lines().open.extend(more);
                let [client_copy, server_copy] = copies;
                let state = Arc::clone(&shared);
                std::thread::spawn(move || pass(client, server_copy, None));
                std::thread::spawn(move || pass(server, client_copy, Some(&state)));
            }
        });
        Self { port, state }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Closes what is open; whoever comes again is let through.
    pub fn cut(&self) {
        self.state.cut();
    }

    /// Closes what is open, and lets nobody through from now on, or everybody again.
    pub fn block(&self, is_blocked: bool) {
        self.state.lines().is_blocked = is_blocked;
        if is_blocked {
            self.cut();
        }
    }

    /// Cuts once, behind so many more bytes of the master.
    pub fn cut_behind(&self, bytes: u64) {
        self.state.bytes_left.store(bytes, Ordering::SeqCst);
    }

    /// Whether the cut that was asked for has happened.
    pub fn has_cut(&self) -> bool {
        self.state.bytes_left.load(Ordering::SeqCst) == u64::MAX
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, state: Option<&RelayState>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count) = from.read(&mut buffer) {
        let left = state.map_or(u64::MAX, |state| state.bytes_left.load(Ordering::SeqCst));
        let passed = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        if count == 0 || to.write_all(&buffer[..passed]).is_err() {
            break;
        }
        if let Some(state) = state.filter(|_| left != u64::MAX) {
            if passed < count {
                state.cut();
                state.bytes_left.store(u64::MAX, Ordering::SeqCst);
                break;
            }
            state.bytes_left.store(left - passed as u64, Ordering::SeqCst);
        }
    }
    // Either may be closed already.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// A master of which the test says every byte.
pub struct FalseMaster {
    listener: TcpListener,
}

/// The end of a false master towards its replica.
pub struct FalseStream {
    reader: BufReader<TcpStream>,
    /// The last request of the replica: PSYNC.
    pub asked: Vec<String>,
}

impl FalseMaster {
    /// Listens at a port of its own.
    ///
    /// # Panics
    /// If there is none.
    pub fn listen() -> Self {
        Self { listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port") }
    }

    /// Where it listens.
    ///
    /// # Panics
    /// If the system does not know.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().expect("it listens").port()
    }

    /// Waits for a replica and answers it until it asks for the stream.
    ///
    /// # Panics
    /// If none comes, or if it speaks otherwise.
    pub fn accept(&self) -> FalseStream {
        self.listener.set_nonblocking(true).expect("a socket");
        let mut accepted = None;
        await_condition("the replica comes", SYNC_SECONDS_MAX, || {
            accepted = self.listener.accept().ok();
            accepted.is_some()
        });
        let (stream, _) = accepted.expect("it has come");
        stream.set_nonblocking(false).expect("a socket");
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("a wait above zero");
        let mut stream = FalseStream { reader: BufReader::new(stream), asked: Vec::new() };
        loop {
            let words = stream.request().expect("the replica introduces itself");
            match words[0].to_ascii_uppercase().as_str() {
                "PING" => stream.send(b"+PONG\r\n"),
                "REPLCONF" | "AUTH" => stream.send(b"+OK\r\n"),
                "PSYNC" => {
                    stream.asked = words;
                    return stream;
                }
                _ => panic!("a replica says {words:?}"),
            }
        }
    }
}

impl FalseStream {
    /// Sends bytes; whether the replica takes them is not asked.
    pub fn send(&mut self, bytes: &[u8]) {
        // What matters is what the replica does and logs; it may close in the middle of this.
        let _ = self.reader.get_mut().write_all(bytes);
    }

    /// The next request of the replica; nothing if it closes.
    ///
    /// # Panics
    /// If it is silent for too long.
    pub fn request(&mut self) -> Option<Vec<String>> {
        let count = loop {
            let line = self.line()?;
            if let Some(count) = line.strip_prefix('*') {
                break count.parse().expect("a number of words");
            }
            assert_eq!(line, "", "a request, or a sign of life");
        };
        let words: Option<Vec<String>> = (0..count)
            .map(|_| {
                self.line()?;
                self.line()
            })
            .collect();
        words
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.reader.read_line(&mut line) {
            Ok(0) => None,
            Ok(_) => Some(line.trim_end().to_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => panic!("the replica is silent"),
            Err(_) => None,
        }
    }

    /// Waits until the replica closes the link.
    ///
    /// # Panics
    /// If it does not.
    pub fn await_close(&mut self) {
        while self.request().is_some() {}
    }
}

/// A subscriber has subscribed.
///
/// # Panics
/// If it is refused.
pub fn subscribe(server: &Server, channel: &str) -> Connection {
    let mut subscriber = server.connect();
    let reply = subscriber.say(&format!("SUBSCRIBE {channel}"));
    assert!(reply.starts_with(b"*3"), "{}", crate::show(&reply));
    subscriber
}
