//! A gateway that is a process of its own, without slots, before a few nodes of either kind.

use crate::groups::{await_settled, follow_in_pairs, node_at, share_among};
use crate::{Cluster, Connection, PASSWORD, Program, Server, await_condition, field, unused_port};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;

/// What all nodes are started with: nothing moves but what a test moves.
const ARGS: &[&str] = &["--repl-diskless-sync-delay", "0", "--cluster-allow-replica-migration", "no"];

/// A running gateway and the nodes behind it.
pub struct Front {
    /// The nodes, masters first, then their replicas in the same order; the last process is the gateway.
    pub cluster: Cluster,
    /// Its port for clients.
    pub port: u16,
    nodes: u16,
}

impl Front {
    /// Starts so many masters, each with a replica if so wanted, and the gateway; waits until all slots are served.
    ///
    /// # Panics
    /// If something does not start, or they do not agree.
    pub fn start(
        program: &Program,
        masters: u16,
        has_replicas: bool,
        node_args: &[&str],
        gateway_args: &[&str],
    ) -> Self {
        let (port, nodes) = (unused_port(), masters * (1 + u16::from(has_replicas)));
        let door = port.to_string();
        let mut programs = vec![program.clone(); usize::from(nodes)];
        programs.push(Program::Slotmesh(1));
        let cluster = Cluster::start_each(&programs, |place| match place == usize::from(nodes) {
            true => [ARGS, &["--gateway-port", &door], gateway_args].concat(),
            false => [ARGS, node_args].concat(),
        });
        if has_replicas {
            let pairs: Vec<(u16, u16)> = (0..masters).map(|master| (master, masters + master)).collect();
            follow_in_pairs(&cluster, &pairs);
        } else {
            share_among(&cluster, &(0..masters).collect::<Vec<u16>>());
        }
        let front = Self { cluster, port, nodes };
        front.await_settled(usize::from(masters));
        front.await_service();
        front
    }

    /// Waits until the gateway serves every third of the slots.
    ///
    /// # Panics
    /// If it does not.
    pub fn await_service(&self) {
        await_condition("the gateway serves all slots", SECONDS_MAX, || {
            let mut client = self.client();
            ["{b}", "{c}", "{a}"].iter().all(|key| client.say(&format!("EXISTS {key}")) == b":0\r\n")
        });
    }

    /// Waits until all nodes agree that the cluster is well, with so many masters.
    ///
    /// # Panics
    /// If they do not.
    pub fn await_settled(&self, masters: usize) {
        await_settled(&self.cluster.ports().collect::<Vec<u16>>(), masters);
    }

    /// A client of the gateway.
    ///
    /// # Panics
    /// If it is refused.
    pub fn client(&self) -> Connection {
        node_at(self.port)
    }

    /// The gateway's process.
    ///
    /// # Panics
    /// Never: there is one.
    pub fn gateway(&self) -> &Server {
        self.cluster.servers.last().expect("the last process is the gateway")
    }

    /// A client of a node.
    ///
    /// # Panics
    /// If it is refused.
    pub fn node(&self, index: u16) -> Connection {
        node_at(self.cluster.first_port + index)
    }

    /// Says a line to every node behind the gateway; the answer is to be OK. The password of the tests has a blank, which
    /// does not part words.
    ///
    /// # Panics
    /// If it is not.
    pub fn tell_nodes(&self, line: &str) {
        let parts = line.split(PASSWORD).map(|part| part.trim().split(' ').filter(|word| !word.is_empty()));
        let parts: Vec<Vec<&str>> = parts.map(Iterator::collect).collect();
        let words = parts.join(&PASSWORD);
        (0..self.nodes).for_each(|index| assert_eq!(self.node(index).ask(&words), b"+OK\r\n", "{line}"));
    }

    /// Calls of a command that a node counts.
    ///
    /// # Panics
    /// If it does not count.
    pub fn calls(&self, index: u16, command: &str) -> u64 {
        let text = self.node(index).text("INFO commandstats");
        let line = field(&text, &format!("cmdstat_{command}")).unwrap_or_default();
        let calls = line.split(',').find_map(|part| part.strip_prefix("calls="));
        calls.map_or(0, |calls| calls.parse().expect("a number of calls"))
    }

    /// Errors with a code that a node has answered.
    ///
    /// # Panics
    /// If it does not count.
    pub fn errors(&self, index: u16, code: &str) -> u64 {
        let count = field(&self.node(index).text("INFO errorstats"), &format!("errorstat_{code}"));
        count.map_or(0, |count| count.trim_start_matches("count=").parse().expect("a number of errors"))
    }

    /// The links of the gateway that a node has, as lines of CLIENT LIST.
    ///
    /// # Panics
    /// If it does not answer.
    pub fn links_at(&self, index: u16) -> Vec<String> {
        let list = self.node(index).text("CLIENT LIST");
        list.lines().filter(|line| line.contains(" name=slotmesh-gateway ")).map(str::to_owned).collect()
    }
}
