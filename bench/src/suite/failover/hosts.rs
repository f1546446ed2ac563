//! Clusters whose nodes lie on hosts: all processes of a host die at once.

use super::writers::Writer;
use super::{DEADLINE, NODE_TIMEOUT};
use crate::failure::Failure;
use crate::suite::client::{Client, field};
use crate::suite::servers::{Programs, Server};
use slotmesh_base::{SLOT_COUNT, Slot};
use std::cell::Cell;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Ports for clients begin here or above; they and those of the bus lie below those that the kernel gives to others, so
/// that a node which has died finds its own free.
const PORTS: std::ops::Range<u16> = 18_000..22_000;
/// What the port of the bus is above that for clients.
const BUS_OFFSET: u16 = 10_000;
/// How often a cluster is looked at.
const INTERVAL: Duration = Duration::from_millis(50);
/// How long a node may take to become the master when it is asked to.
const HANDOVER: Duration = Duration::from_secs(10);

/// Whose nodes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Redis,
    Slotmesh,
}

/// Which nodes share a host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Layout {
    /// Six hosts of a node: three masters, three replicas.
    Apart,
    /// Three hosts of four nodes: two masters, and a replica for a master of each of the other hosts.
    Shared,
}

impl Layout {
    pub(super) const fn hosts(self) -> usize {
        match self {
            Self::Apart => 6,
            Self::Shared => 3,
        }
    }

    const fn nodes_per_host(self) -> usize {
        match self {
            Self::Apart => 1,
            Self::Shared => 4,
        }
    }

    /// The groups as they begin. Nodes are numbered host by host.
    fn groups(self) -> Vec<Group> {
        match self {
            Self::Apart => (0..3).map(|master| Group { master, replica: master + 3 }).collect(),
            Self::Shared => {
                let node = |host: usize, place: usize| host % 3 * 4 + place;
                let of_host = |host| (1..3).map(move |next| (node(host, next - 1), node(host + next, next + 1)));
                (0..3).flat_map(of_host).map(|(master, replica)| Group { master, replica }).collect()
            }
        }
    }
}

/// A master and its replica, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Group {
    master: usize,
    replica: usize,
}

/// Who has which part in a group now.
pub(super) struct Target {
    pub(super) master: usize,
    pub(super) replica: usize,
    ports: [u16; 2],
    key: String,
}

impl Writer {
    /// Who writes to a group.
    pub(super) fn of(target: &Target) -> Self {
        Self { ports: target.ports, key: target.key.clone() }
    }
}

/// A running cluster. Its processes end with it, and its files go unless they are to be kept.
pub(super) struct Cluster<'a> {
    programs: &'a Programs,
    kind: Kind,
    layout: Layout,
    groups: Vec<Group>,
    first_port: u16,
    /// The processes of each host.
    hosts: Vec<Vec<Server>>,
    directory: PathBuf,
    keeps_logs: Cell<bool>,
}

impl<'a> Cluster<'a> {
    /// Starts the processes and makes them a cluster whose replicas are in step.
    ///
    /// # Errors
    /// If a process does not start, or the nodes do not become a cluster.
    pub(super) fn form(programs: &'a Programs, kind: Kind, layout: Layout) -> Result<Self, Failure> {
        let count = layout.hosts() * layout.nodes_per_host();
        let name = format!("{kind:?}-{layout:?}").to_lowercase();
        let directory = std::env::temp_dir().join(format!("slotmesh-bench-{}-{name}", std::process::id()));
        let first_port = ports_in_a_row(count as u16)
            .ok_or_else(|| Failure::Server { name, problem: "there are not enough free ports in a row".to_owned() })?;
        let groups = layout.groups();
        let mut cluster = Self {
            programs,
            kind,
            layout,
            groups,
            first_port,
            hosts: (0..layout.hosts()).map(|_| Vec::new()).collect(),
            directory,
            keeps_logs: Cell::new(false),
        };
        (0..layout.hosts()).try_for_each(|host| cluster.start_host(host))?;
        cluster.introduce(count)?;
        cluster.share_slots()?;
        cluster.attach_replicas()?;
        cluster.await_health()?;
        Ok(cluster)
    }

    fn start_host(&mut self, host: usize) -> Result<(), Failure> {
        let per_host = self.layout.nodes_per_host();
        let (processes, nodes) = match self.kind {
            Kind::Redis => (per_host, 1),
            Kind::Slotmesh => (1, per_host),
        };
        let servers = (0..processes).map(|process| self.start_process(host * per_host + process * nodes, nodes));
        self.hosts[host] = servers.collect::<Result<_, _>>()?;
        Ok(())
    }

    fn start_process(&self, node: usize, nodes: usize) -> Result<Server, Failure> {
        let port = self.port(node);
        let directory = self.directory.join(port.to_string());
        std::fs::create_dir_all(&directory).map_err(|error| Failure::Write { path: directory.clone(), error })?;
        let (program, level) = match self.kind {
            Kind::Redis => (&self.programs.redis, "notice"),
            // Says why a failover took as long as it did.
            Kind::Slotmesh => (&self.programs.slotmesh, "debug"),
        };
        let mut command = self.programs.command(program);
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--cluster-enabled", "yes"]);
        command.args(["--cluster-node-timeout", &NODE_TIMEOUT.as_millis().to_string()]);
        command.args(["--cluster-allow-replica-migration", "no", "--repl-diskless-sync-delay", "0"]);
        command.args(["--loglevel", level]).arg("--dir").arg(&directory).arg("--logfile").arg(directory.join("log"));
        if self.kind == Kind::Slotmesh {
            command.args(["--shards", &nodes.to_string(), "--cores", &nodes.to_string()]);
        }
        Server::start_at(self.name(), port, command)
    }

    /// Lets all nodes know each other.
    fn introduce(&self, count: usize) -> Result<(), Failure> {
        for node in 0..count {
            let mut client = self.client(node)?;
            client.ask(&["CLUSTER", "SET-CONFIG-EPOCH", &(node + 1).to_string()])?;
            client.ask(&["CLUSTER", "MEET", "127.0.0.1", &self.first_port.to_string()])?;
        }
        let known = format!("cluster_known_nodes:{count}\r");
        self.await_all("the nodes do not know each other", |client| {
            Ok(client.ask(&["CLUSTER", "INFO"])?.contains(&known)
                && !client.ask(&["CLUSTER", "NODES"])?.contains("handshake"))
        })
    }

    fn share_slots(&self) -> Result<(), Failure> {
        for (group, nodes) in self.groups.iter().enumerate() {
            let slots = self.slots(group);
            let (first, last) = (slots.start.to_string(), (slots.end - 1).to_string());
            self.client(nodes.master)?.ask(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        self.await_all("the nodes do not agree about the slots", |client| {
            Ok(client.ask(&["CLUSTER", "INFO"])?.starts_with("cluster_state:ok"))
        })
    }

    fn attach_replicas(&self) -> Result<(), Failure> {
        for nodes in &self.groups {
            let id = self.client(nodes.master)?.ask(&["CLUSTER", "MYID"])?;
            self.client(nodes.replica)?.ask(&["CLUSTER", "REPLICATE", id.trim()])?;
        }
        Ok(())
    }

    fn slots(&self, group: usize) -> std::ops::Range<usize> {
        let begin = |group: usize| group * SLOT_COUNT / self.groups.len();
        begin(group)..begin(group + 1)
    }

    /// Waits until all nodes see a whole cluster without failures, in which each group has a master and a replica in
    /// step with it.
    ///
    /// # Errors
    /// If that takes too long.
    pub(super) fn await_health(&self) -> Result<(), Failure> {
        self.await_all("a node is not well", |client| {
            let nodes = client.ask(&["CLUSTER", "NODES"])?;
            let replication = client.ask(&["INFO", "replication"])?;
            let in_step = match field(&replication, "role") {
                "master" => replication.contains("state=online") && field(&replication, "connected_slaves") == "1",
                _ => field(&replication, "master_link_status") == "up",
            };
            let is_whole = client.ask(&["CLUSTER", "INFO"])?.starts_with("cluster_state:ok");
            Ok(in_step && is_whole && !["fail", "disconnected", "handshake"].iter().any(|word| nodes.contains(word)))
        })
    }

    /// Waits until something holds for each node.
    fn await_all(&self, otherwise: &str, holds: impl Fn(&mut Client) -> Result<bool, Failure>) -> Result<(), Failure> {
        let until = Instant::now() + DEADLINE;
        for node in 0..self.layout.hosts() * self.layout.nodes_per_host() {
            let mut client = self.client(node)?;
            while !holds(&mut client)? {
                if Instant::now() > until {
                    let seen = client.ask(&["CLUSTER", "NODES"])? + &client.ask(&["INFO", "replication"])?;
                    return Err(self.failure(&format!("{otherwise}: {}\n{seen}", self.port(node))));
                }
                std::thread::sleep(INTERVAL);
            }
        }
        Ok(())
    }

    /// Who has which part in each group now.
    ///
    /// # Errors
    /// If a node does not answer.
    pub(super) fn targets(&self) -> Result<Vec<Target>, Failure> {
        let target = |(group, nodes): (usize, &Group)| {
            let leads = self.role(nodes.master)? == "master";
            let (master, replica) = if leads { (nodes.master, nodes.replica) } else { (nodes.replica, nodes.master) };
            let slots = self.slots(group);
            let mut keys = (0..).map(|number: u32| format!("key:{number}"));
            let key = keys.find(|key| slots.contains(&Slot::of_key(key.as_bytes()).index()));
            let ports = [self.port(master), self.port(replica)];
            Ok(Target { master, replica, ports, key: key.expect("every slot has keys") })
        };
        self.groups.iter().enumerate().map(target).collect()
    }

    fn role(&self, node: usize) -> Result<String, Failure> {
        Ok(field(&self.client(node)?.ask(&["INFO", "replication"])?, "role").to_owned())
    }

    /// Ends the processes of a host at once.
    pub(super) fn kill(&mut self, host: usize) {
        self.hosts[host].iter_mut().for_each(Server::kill);
    }

    /// Stops the processes of a host: their sockets stay, and nobody answers.
    ///
    /// # Errors
    /// If that is refused.
    pub(super) fn silence(&self, host: usize) -> Result<(), Failure> {
        self.signal(host, "-STOP")
    }

    /// Tells the processes of a host to stop, and does not wait until they have.
    ///
    /// # Errors
    /// If that is refused.
    pub(super) fn end(&mut self, host: usize) -> Result<(), Failure> {
        self.signal(host, "-TERM")?;
        self.hosts[host].iter_mut().for_each(Server::expect_end);
        Ok(())
    }

    fn signal(&self, host: usize, signal: &str) -> Result<(), Failure> {
        let mut command = Command::new("kill");
        command.arg(signal).args(self.hosts[host].iter().map(|server| server.pid().to_string()));
        match command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(self.failure(&format!("kill {signal}: {status}"))),
            Err(error) => Err(self.failure(&format!("kill {signal}: {error}"))),
        }
    }

    /// Brings back who has ended or is stopped, and waits until all is well; where hosts have several nodes, with the
    /// parts that they had at first, so that no host holds too many masters.
    ///
    /// # Errors
    /// If a process does not start, or the cluster does not recover.
    pub(super) fn recover(&mut self) -> Result<(), Failure> {
        for host in 0..self.hosts.len() {
            if self.hosts[host].iter().any(Server::is_ending) {
                let until = Instant::now() + DEADLINE;
                while !self.hosts[host].iter_mut().all(Server::has_ended) {
                    if Instant::now() > until {
                        return Err(self.failure("a process does not end"));
                    }
                    std::thread::sleep(INTERVAL);
                }
                self.hosts[host].clear();
                self.start_host(host)?;
            } else {
                self.signal(host, "-CONT")?;
            }
        }
        self.await_health()?;
        if self.layout == Layout::Shared {
            for nodes in &self.groups {
                self.restore(nodes.master)?;
            }
            self.await_health()?;
        }
        Ok(())
    }

    /// Makes a node the master of its group.
    fn restore(&self, node: usize) -> Result<(), Failure> {
        let until = Instant::now() + DEADLINE;
        while self.role(node)? != "master" {
            if Instant::now() > until {
                return Err(self.failure("a replica does not become the master when it is asked to"));
            }
            self.client(node)?.ask(&["CLUSTER", "FAILOVER"])?;
            let given_up = Instant::now() + HANDOVER;
            while self.role(node)? != "master" && Instant::now() < given_up {
                std::thread::sleep(INTERVAL);
            }
        }
        Ok(())
    }

    /// A connection to a node.
    ///
    /// # Errors
    /// If it is refused.
    pub(super) fn client(&self, node: usize) -> Result<Client, Failure> {
        Client::connect(self.name(), self.port(node))
    }

    pub(super) fn port(&self, node: usize) -> u16 {
        self.first_port + node as u16
    }

    pub(super) fn host_of(&self, node: usize) -> usize {
        node / self.layout.nodes_per_host()
    }

    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn layout(&self) -> Layout {
        self.layout
    }

    pub(super) fn name(&self) -> &'static str {
        match self.kind {
            Kind::Redis => "redis",
            Kind::Slotmesh => "slotmesh",
        }
    }

    /// What has gone wrong; the logs stay.
    pub(super) fn failure(&self, problem: &str) -> Failure {
        let logs = self.keep_logs();
        Failure::Server { name: self.name().to_owned(), problem: format!("{problem} (its logs: {})", logs.display()) }
    }

    /// Leaves the logs where they are; their folder.
    pub(super) fn keep_logs(&self) -> PathBuf {
        self.keeps_logs.set(true);
        self.directory.clone()
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        self.hosts.clear();
        if !self.keeps_logs.get() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// The first of so many ports in a row that are free, and free for the bus.
fn ports_in_a_row(count: u16) -> Option<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let are_free = |first: u16| (first..first + count).all(|port| is_free(port) && is_free(port + BUS_OFFSET));
    PORTS.step_by(usize::from(count)).find(|first| are_free(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_has_both_nodes_on_one_host_and_each_node_is_in_one_group() {
        for layout in [Layout::Apart, Layout::Shared] {
            let host = |node: usize| node / layout.nodes_per_host();
            let groups = layout.groups();
            assert!(groups.iter().all(|group| host(group.master) != host(group.replica)), "{groups:?}");
            let mut nodes: Vec<usize> = groups.iter().flat_map(|group| [group.master, group.replica]).collect();
            nodes.sort_unstable();
            assert_eq!(nodes, (0..layout.hosts() * layout.nodes_per_host()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_host_that_dies_leaves_most_masters_and_takes_two_at_most() {
        let groups = Layout::Shared.groups();
        for host in 0..3 {
            assert_eq!(groups.iter().filter(|group| group.master / 4 == host).count(), 2);
        }
    }
}
