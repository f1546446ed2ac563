//! What stands behind a proxy, and the proxies: twemproxy before plain servers, our gateway before those of a cluster.

use crate::endpoint::Endpoint;
use crate::failure::Failure;
use crate::suite::client::Client;
use crate::suite::servers::{Programs, Server, free_ports};
use slotmesh_base::SLOT_COUNT;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Servers behind each proxy.
pub(super) const SHARDS: usize = 3;
/// How long nodes may take to become a cluster.
const AGREE_TIMEOUT: Duration = Duration::from_secs(30);
/// How often they are looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// Where Debian's package puts twemproxy, which is not on everybody's search path.
const NUTCRACKER: &str = "/usr/sbin/nutcracker";

/// A folder of the run's own, gone with it.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Makes one.
    ///
    /// # Errors
    /// If the folder for temporary files cannot be written to.
    pub(super) fn new() -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("slotmesh-bench-{}-gateway", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| Failure::Write { path: path.clone(), error })?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Nobody else knows it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Which nodes a cluster has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Processes of redis-server.
    Redis,
    /// Processes of ours with one shard.
    Slotmesh,
}

/// A cluster, and a process of ours that has joined it without slots.
#[derive(Debug)]
pub(super) struct Gated {
    pub(super) nodes: Vec<Server>,
    gateway: Server,
    door: u16,
}

impl Gated {
    /// Starts `count` nodes on a CPU, and the gateway on another.
    ///
    /// # Errors
    /// If a process does not start, or they do not become a cluster.
    pub(super) fn start(
        programs: &Programs,
        folder: &Folder,
        kind: Kind,
        count: usize,
        node_cpu: usize,
        gateway_cpu: usize,
    ) -> Result<Self, Failure> {
        let nodes: Vec<Server> =
            (0..count).map(|_| start_node(programs, folder, kind, node_cpu, 0)).collect::<Result<_, _>>()?;
        let door = free_ports(1).map_err(|error| failure("gateway", error.to_string()))?;
        let gateway = start_node(programs, folder, Kind::Slotmesh, gateway_cpu, door)?;
        let gated = Self { nodes, gateway, door };
        gated.join()?;
        Ok(gated)
    }

    fn join(&self) -> Result<(), Failure> {
        let (count, first) = (self.nodes.len(), self.nodes[0].port().to_string());
        for (index, node) in self.nodes.iter().enumerate() {
            let start = |index: usize| index * SLOT_COUNT / count;
            let (from, to) = (start(index).to_string(), (start(index + 1) - 1).to_string());
            let mut client = Client::of(node)?;
            client.ask(&["CLUSTER", "ADDSLOTSRANGE", &from, &to])?;
            client.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()])?;
        }
        let bus = bus_of(&self.nodes[0]).to_string();
        for node in self.nodes[1..].iter().chain([&self.gateway]) {
            Client::of(node)?.ask(&["CLUSTER", "MEET", "127.0.0.1", &first, &bus])?;
        }
        let known = format!("cluster_known_nodes:{}\r", count + 1);
        let until = Instant::now() + AGREE_TIMEOUT;
        for node in self.nodes.iter().chain([&self.gateway]) {
            let mut client = Client::of(node)?;
            loop {
                let info = client.ask(&["CLUSTER", "INFO"])?;
                if info.starts_with("cluster_state:ok") && info.contains(&known) {
                    break;
                }
                if Instant::now() > until {
                    return Err(client.failure(&format!("the nodes do not become a cluster: {info}")));
                }
                std::thread::sleep(INTERVAL);
            }
        }
        Ok(())
    }

    /// The gateway; what counts is its own CPU time.
    pub(super) fn gateway(&self, name: &str) -> Endpoint {
        Endpoint::local(name, self.door, self.gateway.pid())
    }

    /// The gateway, and all that is behind it.
    pub(super) fn all(&self, name: &str) -> Endpoint {
        let mut endpoint = self.gateway(name);
        endpoint.pids.extend(self.nodes.iter().map(Server::pid));
        endpoint
    }

    /// The nodes themselves, for a load that knows their slots.
    pub(super) fn direct(&self, name: &str) -> Endpoint {
        let mut endpoint = Endpoint::local(name, self.nodes[0].port(), self.nodes[0].pid());
        endpoint.pids.extend(self.nodes[1..].iter().map(Server::pid));
        endpoint
    }
}

/// The port of the bus lies behind the client's: 10000 above may be no port, or somebody else's.
fn bus_of(node: &Server) -> u16 {
    node.port() + 1
}

/// A node of a cluster of one; `door` is the port of its gateway, 0 if it has none.
fn start_node(programs: &Programs, folder: &Folder, kind: Kind, cpu: usize, door: u16) -> Result<Server, Failure> {
    let port = free_ports(2).map_err(|error| failure("a node", error.to_string()))?;
    let (name, program) = match kind {
        Kind::Redis => ("redis", &programs.redis),
        Kind::Slotmesh => ("slotmesh", &programs.slotmesh),
    };
    let (cpu, words) = (cpu.to_string(), [port.to_string(), (port + 1).to_string(), format!("nodes-{port}.conf")]);
    let mut command = programs.command(program);
    command.args(["--port", &words[0], "--cluster-port", &words[1], "--cluster-config-file", &words[2]]);
    command.args(["--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes", "--server_cpulist", &cpu]);
    command.arg("--dir").arg(&folder.0);
    if kind == Kind::Slotmesh {
        command.args(["--shards", "1", "--cores", "1"]);
    }
    if door > 0 {
        command.args(["--gateway-port", &door.to_string()]);
    }
    Server::start_at(name, port, command)
}

/// A cluster of one shard, with a core for each of the CPUs; the server is its gateway.
///
/// # Errors
/// If it does not come up.
pub(super) fn start_inside(
    programs: &Programs,
    folder: &Folder,
    name: &str,
    cpus: &[usize],
) -> Result<Server, Failure> {
    let port = free_ports(3).map_err(|error| failure(name, error.to_string()))?;
    let [node, bus, door] = [port, port + 1, port + 2].map(|port| port.to_string());
    let (cores, list) = (cpus.len().to_string(), cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(","));
    let mut command = programs.command(&programs.slotmesh);
    command.args(["--port", &node, "--cluster-port", &bus, "--gateway-port", &door, "--bind", "127.0.0.1"]);
    command.args(["--save", "", "--cluster-enabled", "yes", "--cluster-self-form", "yes", "--shards", "1"]);
    command.args([
        "--cores",
        &cores,
        "--server_cpulist",
        &list,
        "--cluster-config-file",
        &format!("nodes-{port}.conf"),
    ]);
    command.arg("--dir").arg(&folder.0);
    Server::start_at(name, port + 2, command)
}

/// twemproxy, and the plain servers behind it.
#[derive(Debug)]
pub(super) struct Twemproxy {
    _servers: Vec<Server>,
    pub(super) proxy: Server,
}

impl Twemproxy {
    /// Starts the servers on a CPU, and twemproxy on another.
    ///
    /// # Errors
    /// If one does not start, or twemproxy is not installed.
    pub(super) fn start(programs: &Programs, folder: &Folder, node_cpu: usize, cpu: usize) -> Result<Self, Failure> {
        let servers: Vec<Server> = (0..SHARDS).map(|_| programs.start_redis(node_cpu)).collect::<Result<_, _>>()?;
        let port = free_ports(2).map_err(|error| failure("nutcracker", error.to_string()))?;
        let places: String = servers.iter().map(|server| format!("   - 127.0.0.1:{}:1\n", server.port())).collect();
        let settings = format!(
            "all:\n  listen: 127.0.0.1:{port}\n  redis: true\n  hash: fnv1a_64\n  distribution: modula\n  preconnect: true\n  \
             servers:\n{places}"
        );
        let path = folder.0.join("nutcracker.yml");
        std::fs::write(&path, settings).map_err(|error| Failure::Write { path: path.clone(), error })?;
        let program = Some(PathBuf::from(NUTCRACKER)).filter(|path| path.exists()).unwrap_or("nutcracker".into());
        let mut command = bound_to(programs, cpu, &program);
        command.arg("-c").arg(&path).arg("-o").arg(folder.0.join("nutcracker.log"));
        command.args(["-s", &(port + 1).to_string(), "-a", "127.0.0.1"]);
        let proxy = Server::start_at("nutcracker", port, command).map_err(|error| {
            failure(
                "nutcracker",
                format!("{error}; `apt-get install nutcracker` installs it, as `make nutcracker` does"),
            )
        })?;
        Ok(Self { _servers: servers, proxy })
    }
}

/// A program that does not bind itself to a CPU, bound to one.
fn bound_to(programs: &Programs, cpu: usize, program: &PathBuf) -> Command {
    let mut command = programs.command(&"taskset".into());
    command.args(["-c", &cpu.to_string()]).arg(program);
    command
}

/// What twemproxy says of its version.
pub(super) fn twemproxy_version() -> String {
    let program = if PathBuf::from(NUTCRACKER).exists() { NUTCRACKER } else { "nutcracker" };
    // It tells it on standard error.
    let output = Command::new(program).arg("--version").output();
    let text = output.map(|output| [output.stdout, output.stderr].concat()).unwrap_or_default();
    String::from_utf8_lossy(&text)
        .split_whitespace()
        .find(|word| word.starts_with("nutcracker-"))
        .map_or_else(|| "nutcracker".to_owned(), str::to_owned)
}

fn failure(name: &str, problem: String) -> Failure {
    Failure::Server { name: name.to_owned(), problem }
}
