//! Servers under test: started in a directory of their own, ended when dropped.

use crate::{Connection, await_condition};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// Longest wait for a server to start, in seconds.
const START_SECONDS_MAX: u64 = 30;

/// Ports that the tests hand out: below those that the kernel gives to outgoing connections.
const FIRST_PORT: u32 = 12_000;
const PORTS: u32 = 18_000;

/// The node's binary.
///
/// # Panics
/// If it was not built.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("SLOTMESH_BIN") {
            return PathBuf::from(path);
        }
        // target/<profile>/deps/<test>
        let test = std::env::current_exe().expect("a test knows its file");
        let target = test.ancestors().nth(3).expect("tests lie in target/<profile>/deps");
        let built = ["release", "debug"].map(|profile| target.join(profile).join("slotmesh"));
        let age =
            |path: &PathBuf| fs::metadata(path).and_then(|data| data.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
        let newest = built.into_iter().filter(|path| path.exists()).max_by_key(age);
        newest.expect("the node is built: run `make test`, or `cargo build --release`, or set SLOTMESH_BIN")
    })
}

/// The node as a command.
pub fn node_command() -> Command {
    without_test_variables(Command::new(binary()))
}

/// What chooses the node's backend, if `SLOTMESH_IO_BACKEND` does.
pub(crate) fn backend_args() -> &'static [&'static str] {
    static ARGS: OnceLock<Vec<&'static str>> = OnceLock::new();
    ARGS.get_or_init(|| match std::env::var("SLOTMESH_IO_BACKEND") {
        Ok(backend) if !is_self_test() => vec!["--io-backend", backend.leak()],
        _ => Vec::new(),
    })
}

/// A command that starts the node, without the variables that are meant for the tests: the node reads `SLOTMESH_…` as
/// directives.
pub fn without_test_variables(mut command: Command) -> Command {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SLOTMESH_") {
            command.env_remove(name);
        }
    }
    command
}

/// Whether the harness compares Redis with itself.
pub fn is_self_test() -> bool {
    binary().file_name().is_some_and(|name| name == "redis-server")
}

/// A loopback port that nobody uses now.
///
/// # Panics
/// If all are in use.
pub fn unused_port() -> u16 {
    unused_ports(1)
}

/// The first of so many loopback ports in a row that nobody uses now.
///
/// # Panics
/// If there are none.
pub fn unused_ports(count: u16) -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..PORTS {
        let step = NEXT.fetch_add(u32::from(count), Ordering::Relaxed);
        // Test programs that run at once begin at different places.
        let port = FIRST_PORT + (std::process::id().wrapping_mul(211).wrapping_add(step)) % PORTS;
        let port = u16::try_from(port).expect("the range lies below 65536");
        if (port..port + count).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return port;
        }
    }
    panic!("no port is free");
}

/// Whoever takes new connections, at any port.
pub trait Served {
    /// A new connection, of which nothing has been said yet.
    ///
    /// # Panics
    /// If it is refused.
    fn connect(&self) -> Connection;
}

impl Served for Server {
    fn connect(&self) -> Connection {
        Self::connect(self)
    }
}

/// A running server.
pub struct Server {
    /// What starts it, for another time.
    command: Command,
    child: Child,
    name: &'static str,
    port: u16,
    dir: PathBuf,
}

impl Server {
    /// The oracle: redis-server without persistence, with further arguments.
    ///
    /// # Panics
    /// If it does not start.
    pub fn redis(args: &[&str]) -> Self {
        let program = std::env::var_os("SLOTMESH_ORACLE").unwrap_or_else(|| "redis-server".into());
        let command = without_test_variables(Command::new(program));
        Self::start("redis-server", command, &[&["--save", ""], args].concat())
    }

    /// Ours, with so many cores and shards, with further arguments. `SLOTMESH_IO_BACKEND` chooses its backend.
    ///
    /// # Panics
    /// If it does not start.
    pub fn slotmesh(cores: usize, shards: usize, args: &[&str]) -> Self {
        let (cores, shards) = (cores.to_string(), shards.to_string());
        let own = ["--save", "", "--cores", cores.as_str(), "--shards", shards.as_str()];
        let own = if is_self_test() { &own[..2] } else { &own };
        Self::start("slotmesh", node_command(), &[backend_args(), own, args].concat())
    }

    /// Ours as a cluster of so many shards on ports in a row, the first of which is that of the server.
    ///
    /// # Panics
    /// If it does not start.
    pub fn cluster(shards: u16, args: &[&str]) -> Self {
        // The buses' ports lie behind the clients': 10000 above somebody else may be.
        let port = unused_ports(2 * shards);
        let (count, bus) = (shards.to_string(), (port + shards).to_string());
        let own = ["--cluster-enabled", "yes", "--cluster-self-form", "yes", "--cores", &count, "--shards", &count];
        let own = [&own[..], &["--cluster-port", &bus]].concat();
        Self::start_at(port, "slotmesh", node_command(), &[&own, args].concat())
    }

    /// Starts `command` with a port, a directory and a unix socket, then `args`.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start(name: &'static str, command: Command, args: &[&str]) -> Self {
        Self::start_at(unused_port(), name, command, args)
    }

    /// As [`start`](Self::start), on this port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_at(port: u16, name: &'static str, command: Command, args: &[&str]) -> Self {
        Self::start_with(port, name, command, args, |_| ())
    }

    /// As [`start_at`](Self::start_at); `prepare` puts files into the directory before.
    ///
    /// # Panics
    /// If it does not start.
    pub fn start_with(
        port: u16,
        name: &'static str,
        mut command: Command,
        args: &[&str],
        prepare: impl FnOnce(&Path),
    ) -> Self {
        let dir = std::env::temp_dir().join(format!("slotmesh-conform-{}-{port}", std::process::id()));
        fs::create_dir_all(&dir).expect("the directory for temporary files can be written to");
        prepare(&dir);
        let log = File::create(dir.join("log")).expect("a new directory takes a file");
        command.arg("--port").arg(port.to_string()).arg("--dir").arg(&dir);
        command.arg("--unixsocket").arg(dir.join("socket")).args(args);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("an open file")).stderr(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let mut server = Self { command, child, name, port, dir };
        server.await_start();
        server
    }

    /// Starts it again, in the same directory with the same arguments, once it has ended.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.await_end();
        self.child = self.command.spawn().unwrap_or_else(|error| panic!("{} cannot be started: {error}", self.name));
        self.await_start();
    }

    fn await_start(&mut self) {
        await_condition("the server answers PING", START_SECONDS_MAX, || {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("{} ended with {status}: {}", self.name, self.log());
            }
            let connection = Connection::tcp(("127.0.0.1", self.port));
            // With a password it is refused, which is an answer.
            connection
                .is_ok_and(|mut connection| connection.try_send(b"PING\r\n").is_ok() && connection.try_reply().is_ok())
        });
    }

    /// A new connection over TCP.
    ///
    /// # Panics
    /// If it is refused.
    pub fn connect(&self) -> Connection {
        Connection::tcp(("127.0.0.1", self.port)).expect("the server accepts")
    }

    /// A new connection over the unix socket.
    ///
    /// # Panics
    /// If it is refused.
    pub fn connect_unix(&self) -> Connection {
        Connection::unix(&self.socket()).expect("the server accepts")
    }

    /// Path of the unix socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Port of the server.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server is called in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The directory it works in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has written to its standard outputs.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal by name (`TERM`, `STOP`).
    ///
    /// # Panics
    /// If it has ended.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "{} has ended: {}", self.name, self.log());
    }

    /// Stops all of its threads, as on a machine that hangs; `signal("CONT")` lets it go on.
    ///
    /// # Panics
    /// If it has ended.
    pub fn pause(&self) {
        self.signal("STOP");
        let is_stopped = |task: fs::DirEntry| {
            let text = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The name before the state may hold anything.
            text.rsplit_once(") ").is_none_or(|(_, behind)| behind.starts_with('T'))
        };
        await_condition("all threads stand still", START_SECONDS_MAX, || {
            let tasks = fs::read_dir(format!("/proc/{}/task", self.pid())).expect("our own child");
            tasks.flatten().all(is_stopped)
        });
    }

    /// Waits until it has ended; tells the exit code, or nothing if a signal ended it.
    ///
    /// # Panics
    /// If it does not end.
    pub fn await_end(&mut self) -> Option<i32> {
        let mut code = None;
        await_condition("the server ends", START_SECONDS_MAX, || {
            let status = self.child.try_wait().expect("our own child");
            code = status.and_then(|status| status.code());
            status.is_some()
        });
        code
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("---- {} on port {} wrote at last:", self.name, self.port);
            tail.iter().rev().for_each(|line| eprintln!("     {line}"));
        }
        // It may have ended by itself; then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}
