//! Clusters of several processes, ours and redis-server's, and what their nodes say of each other.

use crate::server::backend_args;
use crate::{Connection, Server, await_condition, node_command, unused_ports, without_test_variables};
use std::ffi::OsString;
use std::process::Command;

/// Longest wait for the nodes of a cluster to agree, in seconds.
const AGREE_SECONDS_MAX: u64 = 60;

/// `cluster-node-timeout` of the processes, in milliseconds: short, for those that die are waited for.
const NODE_TIMEOUT_MS: &str = "3000";

/// What runs a node, or several.
#[derive(Debug, Clone)]
pub enum Program {
    /// Ours, with so many shards.
    Slotmesh(u16),
    /// A redis-server: the oracle, or the file named here, which may be a valkey-server.
    Redis(Option<OsString>),
}

impl Program {
    /// Whom our nodes shall live beside: the oracle, and later releases where the environment names them: redis-server
    /// 7.2 in `SLOTMESH_REDIS_72`, valkey-server 8 in `SLOTMESH_VALKEY_8`. Says which are missing.
    pub fn peers() -> Vec<Self> {
        let later = ["SLOTMESH_REDIS_72", "SLOTMESH_VALKEY_8"].into_iter().filter_map(|variable| {
            let file = std::env::var_os(variable);
            if file.is_none() {
                eprintln!("SKIPPED: a peer ({variable} names one)");
            }
            file.map(|file| Self::Redis(Some(file)))
        });
        std::iter::once(Self::Redis(None)).chain(later).collect()
    }

    fn nodes(&self) -> u16 {
        match self {
            Self::Slotmesh(shards) => *shards,
            Self::Redis(_) => 1,
        }
    }

    /// What starts it, without arguments.
    pub fn command(&self) -> Command {
        match self {
            Self::Slotmesh(_) => node_command(),
            Self::Redis(file) => {
                let oracle = || std::env::var_os("SLOTMESH_ORACLE").unwrap_or_else(|| "redis-server".into());
                without_test_variables(Command::new(file.clone().unwrap_or_else(oracle)))
            }
        }
    }

    fn start(&self, port: u16, bus: u16, args: &[&str]) -> Server {
        let bus = bus.to_string();
        let own = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus];
        let own = [&own[..], &["--cluster-node-timeout", NODE_TIMEOUT_MS], args].concat();
        match self {
            Self::Slotmesh(shards) => {
                let shards = shards.to_string();
                let own = [&own[..], &["--cores", &shards, "--shards", &shards], backend_args()].concat();
                Server::start_at(port, "slotmesh", self.command(), &own)
            }
            Self::Redis(_) => Server::start_at(port, "redis-server", self.command(), &own),
        }
    }
}

/// Processes whose nodes are to be one cluster. Their ports stand in a row, those of the bus behind them.
pub struct Cluster {
    /// The processes, in the order asked for.
    pub servers: Vec<Server>,
    /// Port of the first node.
    pub first_port: u16,
    /// Number of nodes.
    pub count: u16,
}

impl Cluster {
    /// Starts the processes, with further arguments for each. Their nodes do not know each other.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start(programs: &[Program], args: &[&str]) -> Self {
        Self::start_each(programs, |_| args.to_vec())
    }

    /// As [`start`](Self::start), with arguments that depend on the place of the process.
    ///
    /// # Panics
    /// If one does not start.
    pub fn start_each<'a>(programs: &[Program], args: impl Fn(usize) -> Vec<&'a str>) -> Self {
        let count = programs.iter().map(Program::nodes).sum();
        let first_port = unused_ports(2 * count);
        let mut next = first_port;
        let start = |(place, program): (usize, &Program)| {
            let port = next;
            next += program.nodes();
            program.start(port, port + count, &args(place))
        };
        Self { servers: programs.iter().enumerate().map(start).collect(), first_port, count }
    }

    /// Ports of the nodes.
    pub fn ports(&self) -> impl Iterator<Item = u16> + use<> {
        self.first_port..self.first_port + self.count
    }

    /// A connection to node `index`.
    ///
    /// # Panics
    /// If it is refused.
    pub fn connect(&self, index: u16) -> Connection {
        Connection::tcp(("127.0.0.1", self.first_port + index)).expect("the node accepts")
    }

    /// Tells node `from` to meet node `to`.
    ///
    /// # Panics
    /// If it refuses.
    pub fn meet(&self, from: u16, to: u16) {
        let port = self.first_port + to;
        let reply = self.connect(from).say(&format!("CLUSTER MEET 127.0.0.1 {port} {}", port + self.count));
        assert_eq!(reply, b"+OK\r\n");
    }

    /// Gives the nodes even shares of the slots and epochs of their own.
    ///
    /// # Panics
    /// If one refuses.
    pub fn share_slots(&self) {
        let start = |index: u16| (u32::from(index) * 16384 / u32::from(self.count)) as u16;
        for index in 0..self.count {
            let mut node = self.connect(index);
            let range = format!("CLUSTER ADDSLOTSRANGE {} {}", start(index), start(index + 1) - 1);
            assert_eq!(node.say(&range), b"+OK\r\n", "{range}");
            assert_eq!(node.say(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), b"+OK\r\n");
        }
    }

    /// Starts, shares the slots, lets every node meet the first, and waits until all agree.
    ///
    /// # Panics
    /// If they do not.
    pub fn form(programs: &[Program], args: &[&str]) -> Self {
        let cluster = Self::start(programs, args);
        cluster.share_slots();
        (1..cluster.count).for_each(|index| cluster.meet(index, 0));
        cluster.await_agreement();
        cluster
    }

    /// Waits until all nodes see the same cluster, with all links up and all slots served.
    ///
    /// # Panics
    /// If they do not.
    pub fn await_agreement(&self) {
        let ports: Vec<u16> = self.ports().collect();
        await_agreement(&ports);
    }
}

/// A line of CLUSTER NODES.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeLine {
    /// Name of the node.
    pub id: String,
    /// `ip:port@bus-port`, with what follows it.
    pub address: String,
    /// `master`, `fail?` …, without `myself`.
    pub flags: Vec<String>,
    /// Name of its master; `-` if it is none's replica.
    pub master: String,
    /// Its configEpoch.
    pub epoch: u64,
    /// `connected` or `disconnected`.
    pub link: String,
    /// Its slots, as they are printed.
    pub slots: String,
}

impl NodeLine {
    /// Port for clients.
    ///
    /// # Panics
    /// If the address has none.
    pub fn port(&self) -> u16 {
        let (host, _) = self.address.split_once('@').expect("a port of the bus");
        host.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).expect("a port")
    }

    /// Whether it has a flag.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }
}

/// What a node says in CLUSTER NODES, by id.
///
/// # Panics
/// If it says what no node would.
pub fn node_lines(connection: &mut Connection) -> Vec<NodeLine> {
    let text = connection.text("CLUSTER NODES");
    let parse = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words.len() >= 8, "{line}");
        NodeLine {
            id: words[0].to_owned(),
            address: words[1].to_owned(),
            flags: words[2].split(',').filter(|&flag| flag != "myself").map(str::to_owned).collect(),
            master: words[3].to_owned(),
            epoch: words[6].parse().expect("an epoch"),
            link: words[7].to_owned(),
            slots: words[8..].join(" "),
        }
    };
    let mut lines: Vec<NodeLine> = text.lines().map(parse).collect();
    lines.sort();
    lines
}

/// Waits until the nodes at these ports of 127.0.0.1 see the same cluster, of themselves and nobody else, with all links
/// up and all slots served.
///
/// # Panics
/// If they do not.
pub fn await_agreement(ports: &[u16]) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(AGREE_SECONDS_MAX);
    await_condition("all nodes agree", AGREE_SECONDS_MAX + 1, || {
        let views: Vec<Vec<NodeLine>> = ports.iter().map(|&port| node_lines(&mut connect(port))).collect();
        let healthy = |line: &NodeLine| line.link == "connected" && line.flags == ["master"];
        let agreed = views.iter().all(|view| *view == views[0])
            && views[0].len() == ports.len()
            && views[0].iter().all(healthy)
            && ports.iter().all(|&port| connect(port).text("CLUSTER INFO").starts_with("cluster_state:ok"));
        // The views say more than that time is up.
        assert!(agreed || std::time::Instant::now() < deadline, "the nodes do not agree: {views:#?}");
        agreed
    });
}

fn connect(port: u16) -> Connection {
    Connection::tcp(("127.0.0.1", port)).expect("the node accepts")
}
