//! A node that answers its gateway with garbage, never, half, or with redirects without an end: whoever asks for its slots
//! gets a clear error within `gateway-retry-timeout`, and nobody else waits for it.
//!
//! The node is a redis-server that announces the port of a listener of the test, which passes everything through, or
//! misbehaves.

use slotmesh_conform::{
    Cluster, Connection, Program, await_condition, is_self_test, lines_at, node_at, resident_bytes, show, unused_ports,
    words,
};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How long the gateway tries.
const RETRY_MS: u64 = 1500;
/// How much longer than that an error may take to come, on a machine with other work.
const SLACK: Duration = Duration::from_millis(1500);
/// How long a request to a node that is well may take meanwhile.
const QUICK: Duration = Duration::from_millis(700);
/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;

/// What the listener does with a gateway.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Manner {
    /// Passes everything to the node and back.
    Through,
    /// Reads, and says nothing.
    Silent,
    /// Says these bytes to whatever it is sent.
    Says(Vec<u8>),
    /// Says these bytes to the first request behind the greeting, and closes.
    SaysAndCloses(Vec<u8>),
    /// Closes at once.
    Closes,
}

/// The listener between a gateway and a node.
struct Between {
    port: u16,
    node: u16,
    manner: Mutex<Manner>,
    /// Ends of both sides, to close.
    streams: Mutex<Vec<TcpStream>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Between {
    /// Listens at `port` for the node at another one.
    fn listen(port: u16, node: u16) -> Arc<Self> {
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
        let streams = Mutex::new(Vec::new());
        let between = Arc::new(Self { port, node, manner: Mutex::new(Manner::Through), streams });
        let own = between.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let own = own.clone();
                std::thread::spawn(move || own.serve(stream));
            }
        });
        between
    }

    /// Behaves otherwise from now on, with new connections.
    fn behave(&self, manner: Manner) {
        *locked(&self.manner) = manner;
        for stream in locked(&self.streams).drain(..) {
            // It may be closed already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn keep(&self, stream: &TcpStream) {
        locked(&self.streams).push(stream.try_clone().expect("a file to open"));
    }

    fn serve(&self, mut stream: TcpStream) {
        let manner = locked(&self.manner).clone();
        self.keep(&stream);
        let mut bytes = [0; 4096];
        match manner {
            Manner::Closes => {}
            Manner::Through => {
                let Ok(node) = TcpStream::connect(("127.0.0.1", self.node)) else { return };
                self.keep(&node);
                let (back, forth) = (node.try_clone().expect("a file"), stream.try_clone().expect("a file"));
                let copy = std::thread::spawn(move || copy(back, forth));
                self::copy(stream, node);
                copy.join().expect("it copies until the end");
            }
            Manner::Silent => while stream.read(&mut bytes).is_ok_and(|count| count > 0) {},
            Manner::Says(text) => {
                while stream.read(&mut bytes).is_ok_and(|count| count > 0) && stream.write_all(&text).is_ok() {}
            }
            Manner::SaysAndCloses(text) => {
                let Ok(node) = TcpStream::connect(("127.0.0.1", self.node)) else { return };
                if greet(&mut stream, node) {
                    // Whether it is taken does not matter.
                    let _ = stream.write_all(&text);
                }
            }
        }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    // Either end may close.
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// Has the node answer all that comes before the first command with a key; whether one has come.
fn greet(stream: &mut TcpStream, mut node: TcpStream) -> bool {
    let mut bytes = [0; 4096];
    node.set_read_timeout(Some(Duration::from_millis(50))).expect("a wait above zero");
    loop {
        let Ok(count @ 1..) = stream.read(&mut bytes) else { return false };
        if bytes[..count].windows(3).any(|word| word.eq_ignore_ascii_case(b"get")) {
            return true;
        }
        if node.write_all(&bytes[..count]).is_err() {
            return false;
        }
        let answered = node.read(&mut bytes).unwrap_or(0);
        if stream.write_all(&bytes[..answered]).is_err() {
            return false;
        }
    }
}

/// Three masters of redis-server, the last behind a listener; ours is their gateway.
struct Stage {
    cluster: Cluster,
    between: Arc<Between>,
    door: u16,
}

/// Keys of the node behind the listener, and of another one.
const ITS_KEY: &str = "{a}1";
const OTHER_KEY: &str = "{b}1";

impl Stage {
    fn start() -> Self {
        let ports = unused_ports(2);
        let (fake, door) = (ports.to_string(), (ports + 1).to_string());
        let retry = RETRY_MS.to_string();
        let redis = Program::Redis(None);
        let programs = [redis.clone(), redis.clone(), redis, Program::Slotmesh(1)];
        let cluster = Cluster::start_each(&programs, |place| match place {
            2 => vec!["--cluster-announce-port", &fake],
            3 => vec!["--gateway-port", &door, "--gateway-retry-timeout", &retry],
            _ => Vec::new(),
        });
        let between = Between::listen(ports, cluster.first_port + 2);
        for index in 0..3u16 {
            let start = |index: u16| u32::from(index) * 16384 / 3;
            let range = format!("CLUSTER ADDSLOTSRANGE {} {}", start(index), start(index + 1) - 1);
            assert_eq!(cluster.connect(index).say(&range), b"+OK\r\n");
            assert_eq!(cluster.connect(index).say(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), b"+OK\r\n");
        }
        (1..4).for_each(|index| cluster.meet(index, 0));
        await_condition("all know each other", SECONDS_MAX, || {
            cluster.ports().all(|port| {
                let lines = lines_at(port);
                lines.len() == 4
                    && lines.iter().all(|line| line.link == "connected" && line.flags == ["master"])
                    && node_at(port).text("CLUSTER INFO").starts_with("cluster_state:ok")
            })
        });
        let stage = Self { cluster, between, door: ports + 1 };
        stage.await_health();
        stage
    }

    fn client(&self) -> Connection {
        node_at(self.door)
    }

    fn await_health(&self) {
        await_condition("the gateway serves all", SECONDS_MAX, || {
            let mut client = self.client();
            [ITS_KEY, OTHER_KEY].iter().all(|key| client.say(&format!("SET {key} value")) == b"+OK\r\n")
        });
    }

    /// Whoever asks the node gets an error of ours in time; others are served meanwhile.
    fn assert_contained(&self, manner: &Manner) {
        self.between.behave(manner.clone());
        let (began, mut asking, mut other) = (Instant::now(), self.client(), self.client());
        // On one connection: what was asked before is answered before.
        asking.send(&[words(&format!("GET {OTHER_KEY}")), words(&format!("GET {ITS_KEY}")), words("PING")].concat());
        assert_eq!(show(&asking.reply()), "$5\\r\\nvalue\\r\\n", "{manner:?}");
        assert!(began.elapsed() < QUICK, "{manner:?}: what goes to others waits {:?}", began.elapsed());
        while asking
            .arrived_reply()
            .expect("the gateway lives")
            .inspect(|reply| self.assert_error(manner, reply))
            .is_none()
        {
            let sent = Instant::now();
            assert_eq!(show(&other.say(&format!("GET {OTHER_KEY}"))), "$5\\r\\nvalue\\r\\n", "{manner:?}");
            assert!(sent.elapsed() < QUICK, "{manner:?}: others wait {:?}", sent.elapsed());
            let elapsed = began.elapsed();
            assert!(elapsed < Duration::from_millis(RETRY_MS) + SLACK, "{manner:?}: no error after {elapsed:?}");
        }
        assert_eq!(show(&asking.reply()), "+PONG\\r\\n", "{manner:?}");
        self.between.behave(Manner::Through);
        self.await_health();
    }

    fn assert_error(&self, manner: &Manner, reply: &[u8]) {
        let text = show(reply);
        eprintln!("{manner:?}: {text}");
        assert!(text.starts_with('-'), "{manner:?}: {text}");
        let inner = ["-MOVED", "-ASK"];
        assert!(!inner.iter().any(|word| text.starts_with(word)), "{manner:?}: {text}");
        assert!(!text.contains("garbage") && !text.contains(&self.between.port.to_string()), "{manner:?}: {text}");
    }
}

#[test]
fn a_bad_node_harms_nobody_else() {
    if is_self_test() {
        return;
    }
    let stage = Stage::start();
    let moved = |port: u16| format!("-MOVED 15495 127.0.0.1:{port}\r\n").into_bytes();
    let gateway = stage.cluster.first_port + 3;
    for manner in [
        Manner::Silent,
        Manner::Closes,
        Manner::Says(b"garbage\r\n".to_vec()),
        Manner::Says(b"$-7\r\n".to_vec()),
        Manner::Says(b"*99999999999\r\n".to_vec()),
        Manner::Says(b"$1000\r\nabc".to_vec()),
        Manner::Says(b"*1\r\n".repeat(2000)),
        Manner::Says(b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n".to_vec()),
        Manner::SaysAndCloses(b"$100\r\nabc".to_vec()),
        Manner::SaysAndCloses(b"garbage\r\n".to_vec()),
        Manner::SaysAndCloses(Vec::new()),
        Manner::SaysAndCloses(moved(stage.between.port)),
        Manner::Says(moved(stage.between.port)),
        Manner::Says(moved(stage.door)),
        Manner::Says(moved(gateway)),
        Manner::Says(moved(1)),
        Manner::Says(b"-MOVED 15495 nowhere\r\n".to_vec()),
        Manner::Says(b"-MOVED x\r\n".to_vec()),
        Manner::Says(
            b"-ASK 15495 127.0.0.1:"
                .iter()
                .copied()
                .chain(stage.between.port.to_string().bytes())
                .chain(*b"\r\n")
                .collect(),
        ),
        Manner::Says(b"-TRYAGAIN not now\r\n".to_vec()),
        Manner::Says(b"-CLUSTERDOWN not now\r\n".to_vec()),
        Manner::Says(b"-LOADING not now\r\n".to_vec()),
        Manner::Says(b"-NOAUTH who are you\r\n".to_vec()),
    ] {
        stage.assert_contained(&manner);
    }
}

/// A thousand clients that ask for what nobody serves: each gets an error, none costs more memory than its request.
#[test]
fn a_thousand_clients_of_a_dead_node_cost_little() {
    const CLIENTS: usize = 1000;
    const REQUEST_BYTES: usize = 10_000;
    if is_self_test() {
        return;
    }
    let stage = Stage::start();
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| stage.client()).collect();
    let pid = stage.cluster.servers[3].pid();
    let before = resident_bytes(pid);
    stage.between.behave(Manner::Silent);
    let mut other = stage.client();
    let request = slotmesh_conform::request(&["SET".to_owned(), ITS_KEY.to_owned(), "x".repeat(REQUEST_BYTES)]);
    let began = Instant::now();
    for client in &mut clients {
        client.send(&request);
    }
    let mut most = 0;
    for client in &mut clients {
        let reply = client.reply();
        assert!(reply.starts_with(b"-"), "{}", show(&reply));
        most = most.max(resident_bytes(pid));
        assert_eq!(show(&other.say(&format!("GET {OTHER_KEY}"))), "$5\\r\\nvalue\\r\\n");
    }
    let took = began.elapsed();
    assert!(took < Duration::from_millis(RETRY_MS) + 3 * SLACK, "{took:?}");
    // What was asked lies with the clients, and once more with the link.
    let bound = 6 * (CLIENTS * REQUEST_BYTES) as u64;
    assert!(most < before + bound, "{} MiB more", (most - before) >> 20);
    stage.between.behave(Manner::Through);
    stage.await_health();
}
