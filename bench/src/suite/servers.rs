//! Starts the servers of the suite, and ends them, whatever happens.

use super::beside_this_program;
use crate::arguments::SuiteOptions;
use crate::endpoint::Endpoint;
use crate::failure::Failure;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a server may take until it answers; one that loads millions of keys takes seconds.
const START_TIMEOUT: Duration = Duration::from_secs(60);
/// How often it is asked meanwhile.
const START_INTERVAL: Duration = Duration::from_millis(5);
/// Where free ports are looked for: with the bus ports, 10000 above them, below those that the system gives to outgoing
/// connections, one of which could take a port before its server does.
const PORTS: Range<u16> = 12_000..22_000;
/// How often free ports in a row are looked for.
const PORT_TRIES: usize = 100;
/// Bytes of a server's output that an error shows.
const OUTPUT_BYTES_SHOWN: usize = 600;

/// The programs that are measured.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    pub(super) redis: PathBuf,
    pub(super) slotmesh: PathBuf,
    echo: PathBuf,
    /// A wrapper that has the kernel end a server when this program ends, by a signal for instance.
    wrapper: Vec<String>,
    pub(super) redis_version: String,
    pub(super) slotmesh_version: String,
}

impl Programs {
    /// Looks for all programs.
    ///
    /// # Errors
    /// If one is missing.
    pub(super) fn find(options: &SuiteOptions) -> Result<Self, Failure> {
        let missing = |name: &str, problem: String| Failure::Server { name: name.to_owned(), problem };
        let redis = options.redis.clone();
        let slotmesh = options.slotmesh.clone().or_else(beside_this_program).unwrap_or_else(|| "slotmesh".into());
        let version = |program: &PathBuf| {
            let output = Command::new(program).arg("--version").output().map_err(|error| {
                let problem = format!("cannot be run: {error}; see --redis and --slotmesh, and build ours first");
                missing(&program.display().to_string(), problem)
            })?;
            Ok(String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().trim().to_owned())
        };
        let echo = std::env::current_exe().map_err(|error| missing("echo", error.to_string()))?;
        let wrapper = ["setpriv", "--pdeathsig", "KILL", "--"].map(str::to_owned).to_vec();
        let works = Command::new(&wrapper[0]).args(&wrapper[1..]).arg("true").stderr(Stdio::null()).status();
        Ok(Self {
            redis_version: version(&redis)?,
            slotmesh_version: version(&slotmesh)?,
            wrapper: if works.is_ok_and(|status| status.success()) { wrapper } else { Vec::new() },
            redis,
            slotmesh,
            echo,
        })
    }

    /// The same programs, which leave the others on their CPU the greater share.
    pub(super) fn yielding(&self) -> Self {
        self.wrapped(&["nice", "-n", "5"])
    }

    /// The same programs, all threads and children of which are on those CPUs, whatever they are for.
    pub(super) fn confined(&self, cpus: &[usize]) -> Self {
        self.wrapped(&["taskset", "-c", &list(cpus)])
    }

    fn wrapped(&self, further: &[&str]) -> Self {
        let mut programs = self.clone();
        programs.wrapper.extend(further.iter().map(|&word| word.to_owned()));
        programs
    }

    /// Starts redis-server without persistence on a CPU.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_redis(&self, cpu: usize) -> Result<Server, Failure> {
        self.start_redis_with("redis", cpu, |command| command)
    }

    /// The same with further arguments, under that name.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_redis_with(
        &self,
        name: &str,
        cpu: usize,
        extend: impl FnOnce(Command) -> Command,
    ) -> Result<Server, Failure> {
        let cpu = cpu.to_string();
        let directory = std::env::temp_dir();
        Server::start(name, |port| {
            let mut command = self.command(&self.redis);
            command.args(["--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            command.args(["--daemonize", "no", "--server_cpulist", &cpu, "--bio_cpulist", &cpu]);
            // The child that saves has what the server has; by default it would inherit the same.
            command.args(["--bgsave_cpulist", &cpu, "--dbfilename", &saved_file(port)]);
            command.arg("--dir").arg(&directory);
            extend(command)
        })
    }

    /// As [`start_slotmesh`](Self::start_slotmesh), with further arguments.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_slotmesh_with(
        &self,
        name: &str,
        cpus: &[usize],
        extend: impl FnOnce(Command) -> Command,
    ) -> Result<Server, Failure> {
        Server::start(name, |port| extend(self.shards(port, cpus)))
    }

    /// Starts our server with one core and shard for each of the CPUs.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_slotmesh(&self, name: &str, cpus: &[usize]) -> Result<Server, Failure> {
        Server::start(name, |port| self.shards(port, cpus))
    }

    /// As [`start_slotmesh`](Self::start_slotmesh), with a port for each shard, which are a cluster.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_cluster(&self, name: &str, cpus: &[usize]) -> Result<Server, Failure> {
        let ports = cpus.len() as u16;
        Server::start_on(name, ports, |port| {
            let mut command = self.shards(port, cpus);
            command.args(["--cluster-enabled", "yes", "--cluster-self-form", "yes"]);
            command
        })
    }

    fn shards(&self, port: &str, cpus: &[usize]) -> Command {
        let count = cpus.len().to_string();
        let mut command = self.command(&self.slotmesh);
        command.args(["--port", port, "--bind", "127.0.0.1", "--shards", &count, "--cores", &count]);
        command.args(["--server-cpulist", &list(cpus), "--enable-debug-command", "yes"]);
        command
    }

    /// Starts the echo server on a CPU, for requests of the default sizes.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_echo(&self, cpu: usize) -> Result<Server, Failure> {
        Server::start("echo", |port| {
            let mut command = self.command(&self.echo);
            command.args(["--echo-server", port, "--cpu", &cpu.to_string()]);
            command
        })
    }

    /// A command that runs a program; the kernel ends what it runs when our thread ends.
    pub(super) fn command(&self, program: &PathBuf) -> Command {
        match &*self.wrapper {
            [] => Command::new(program),
            [wrapper, arguments @ ..] => {
                let mut command = Command::new(wrapper);
                command.args(arguments).arg(program);
                command
            }
        }
    }
}

/// A running server; ended and waited for when it is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    /// What it prints.
    output: File,
    port: u16,
    is_ending: bool,
    pub(super) endpoint: Endpoint,
}

impl Server {
    fn start(name: &str, command: impl FnOnce(&str) -> Command) -> Result<Self, Failure> {
        Self::start_on(name, 1, command)
    }

    /// Starts a server that listens on so many ports in a row; `command` is told the first.
    fn start_on(name: &str, ports: u16, command: impl FnOnce(&str) -> Command) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Server { name: name.to_owned(), problem: error.to_string() };
        let port = free_ports(ports).map_err(failed)?;
        Self::start_at(name, port, command(&port.to_string()))
    }

    /// Starts a server that listens on this port, or on several from this one on.
    ///
    /// # Errors
    /// If it does not come up.
    pub(super) fn start_at(name: &str, port: u16, mut command: Command) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Server { name: name.to_owned(), problem: error.to_string() };
        let output = nameless_file(port).map_err(failed)?;
        command.stdin(Stdio::null());
        command.stdout(output.try_clone().map_err(failed)?).stderr(output.try_clone().map_err(failed)?);
        let child = command.spawn().map_err(failed)?;
        let endpoint = Endpoint::local(name, port, child.id());
        let mut server = Self { child, output, port, is_ending: false, endpoint };
        server.await_readiness(port)?;
        Ok(server)
    }

    fn await_readiness(&mut self, port: u16) -> Result<(), Failure> {
        let deadline = Instant::now() + START_TIMEOUT;
        while !answers_ping(port) {
            let ended = self.child.try_wait().ok().flatten();
            if ended.is_some() || Instant::now() > deadline {
                let what = ended.map_or("does not answer".to_owned(), |status| format!("has ended ({status})"));
                let problem = format!("{what}; its output: {}", self.last_output());
                return Err(Failure::Server { name: self.endpoint.name.clone(), problem });
            }
            std::thread::sleep(START_INTERVAL);
        }
        Ok(())
    }

    fn last_output(&self) -> String {
        let written = self.output.metadata().map_or(0, |metadata| metadata.len());
        let mut shown = [0; OUTPUT_BYTES_SHOWN];
        let from = written.saturating_sub(shown.len() as u64);
        let read = self.output.read_at(&mut shown, from).unwrap_or(0);
        String::from_utf8_lossy(&shown[..read]).trim().to_owned()
    }

    /// Its port on the loopback address.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Ends it at once, without a word (SIGKILL).
    pub(super) fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        self.is_ending = true;
    }

    /// It was told to end.
    pub(super) fn expect_end(&mut self) {
        self.is_ending = true;
    }

    /// Whether it was killed or told to end.
    pub(super) fn is_ending(&self) -> bool {
        self.is_ending
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing worth saving; if it is gone already, so much the better.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(std::env::temp_dir().join(saved_file(&self.port.to_string())));
    }
}

/// CPUs as tools and servers want them.
fn list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// Where redis-server saves what it holds.
fn saved_file(port: &str) -> String {
    format!("slotmesh-bench-{port}.rdb")
}

/// A file that is gone when nobody has it open any more, however we end.
fn nameless_file(port: u16) -> io::Result<File> {
    let path = std::env::temp_dir().join(format!("slotmesh-bench-{}-{port}.log", std::process::id()));
    let file = File::options().create_new(true).read(true).append(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// The first of so many free ports in a row.
pub(super) fn free_ports(count: u16) -> io::Result<u16> {
    // Those that somebody else asks for here begin elsewhere.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for _ in 0..PORT_TRIES {
        let place = NEXT.fetch_add(count.into(), Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(101));
        let first = PORTS.start + (place % u32::from(PORTS.end - PORTS.start - count)) as u16;
        if (first..first + count).all(is_free) {
            return Ok(first);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn answers_ping(port: u16) -> bool {
    let ask = || -> io::Result<bool> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(b"*1\r\n$4\r\nPING\r\n")?;
        let mut reply = [0; 7];
        stream.read_exact(&mut reply)?;
        Ok(reply == *b"+PONG\r\n")
    };
    ask().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_at_once_is_reported_with_its_last_words() {
        let error = Server::start("stub", |_| {
            let mut command = Command::new("sh");
            command.args(["-c", "echo no such directive >&2; exit 3"]);
            command
        })
        .unwrap_err()
        .to_string();
        assert!(error.starts_with("stub: has ended (exit status: 3)"), "{error}");
        assert!(error.ends_with("no such directive"), "{error}");
    }

    #[test]
    fn ports_in_a_row_are_free() {
        let first = free_ports(3).unwrap();
        let taken = (first..first + 3).map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)));
        assert!(taken.collect::<Vec<_>>().iter().all(Result::is_ok), "from {first} on");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = Server::start("stub", |_| Command::new("/nonexistent/server")).unwrap_err().to_string();
        assert!(error.starts_with("stub: "), "{error}");
    }
}
