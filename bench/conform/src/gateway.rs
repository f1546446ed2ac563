//! A gateway before a cluster of three masters with a replica each: of ours, or of redis-server.

use crate::groups::{await_settled, cluster_tool, follow_in_pairs, is_master, line_at, lines_at, node_at};
use crate::server::backend_args;
use crate::{Cluster, Connection, PASSWORD, Program, Served, Server, await_condition, node_command, unused_ports};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;

/// What all nodes are started with. A failure is found soon, and nothing moves but what the test moves.
const ARGS: &[&str] = &[
    "--cluster-node-timeout",
    "2000",
    "--repl-diskless-sync-delay",
    "0",
    "--cluster-allow-replica-migration",
    "no",
    "--hz",
    "100",
];

/// The user that links of a gateway say they are, where nodes want one, and the password of theirs.
const USER: &str = "gate";
const USER_PASSWORD: &str = "staple";

/// What is behind a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// Three processes of ours with two shards each: a master, and a replica of the one before. The first has the gateway.
    Ours,
    /// Six redis-server that `redis-cli --cluster create` has made a cluster; a process of ours without slots, that
    /// `redis-cli --cluster add-node` has added, has the gateway.
    Redis,
    /// The same with a password, and a user of their own for the links; clients have to authenticate, too.
    RedisWithPassword,
}

/// Where clients come.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Its port on the loopback.
    pub port: u16,
    /// What clients have to say.
    pub password: Option<&'static str>,
}

impl Door {
    /// A client that has authenticated, if it must.
    ///
    /// # Panics
    /// If it is refused.
    pub fn enter(self) -> Connection {
        node_at(self.port)
    }
}

impl Served for Door {
    fn connect(&self) -> Connection {
        Connection::tcp(("127.0.0.1", self.port)).expect("the gateway accepts")
    }
}

/// A running gateway.
pub struct Gateway {
    /// The nodes behind it.
    pub cluster: Cluster,
    /// Where clients come.
    pub door: Door,
    behind: Behind,
    /// Its process, where none of the cluster's has it.
    front: Option<Server>,
}

impl Gateway {
    /// Starts all, and waits until the gateway serves every slot.
    ///
    /// # Panics
    /// If something does not start, or they do not agree.
    pub fn start(behind: Behind, args: &[&str]) -> Self {
        let gateway = match behind {
            Behind::Ours => Self::before_ours(args),
            Behind::Redis | Behind::RedisWithPassword => Self::before_redis(behind, args),
        };
        gateway.await_service();
        gateway
    }

    fn before_ours(args: &[&str]) -> Self {
        let port = unused_ports(1);
        let door = port.to_string();
        let cluster =
            Cluster::start_each(&[Program::Slotmesh(2), Program::Slotmesh(2), Program::Slotmesh(2)], |place| {
                let door: &[&str] = if place == 0 { &["--gateway-port", &door] } else { &[] };
                [ARGS, args, door].concat()
            });
        follow_in_pairs(&cluster, &[(0, 3), (2, 5), (4, 1)]);
        Self { cluster, door: Door { port, password: None }, behind: Behind::Ours, front: None }
    }

    fn before_redis(behind: Behind, args: &[&str]) -> Self {
        let secret = format!(">{USER_PASSWORD}");
        let (own, theirs): (Vec<&str>, Vec<&str>) = if behind == Behind::RedisWithPassword {
            let links = ["--gateway-user", USER, "--gateway-password", USER_PASSWORD, "--requirepass", PASSWORD];
            let nodes = ["--requirepass", PASSWORD, "--masterauth", PASSWORD];
            let user = ["--user", USER, "on", &secret, "~*", "&*", "+@all"];
            (links.to_vec(), [&nodes[..], &user].concat())
        } else {
            (Vec::new(), Vec::new())
        };
        let programs = vec![Program::Redis(None); 6];
        let cluster = Cluster::start(&programs, &[ARGS, &["--appendonly", "no"], &theirs].concat());
        let addresses: Vec<String> = cluster.ports().map(|port| format!("127.0.0.1:{port}")).collect();
        let words: Vec<&str> = addresses.iter().map(String::as_str).collect();
        let create = [&["create"], &words[..], &["--cluster-replicas", "1", "--cluster-yes"]].concat();
        cluster_tool(&[&create[..], password_of(behind)].concat());
        let ports: Vec<u16> = cluster.ports().collect();
        await_settled(&ports, 3);
        let first = unused_ports(3);
        let (port, bus) = ((first + 2).to_string(), (first + 1).to_string());
        let mut front = vec!["--cluster-enabled", "yes", "--shards", "1", "--cores", "2", "--cluster-port", &bus];
        front.extend(["--gateway-port", &port, "--save", ""]);
        let front =
            Server::start_at(first, "slotmesh", node_command(), &[&front, ARGS, backend_args(), &own, args].concat());
        let add = ["add-node", &format!("127.0.0.1:{first}"), words[0]];
        let out = cluster_tool(&[&add[..], password_of(behind)].concat());
        assert!(out.contains("[OK] New node added correctly."), "{out}");
        let password = (behind == Behind::RedisWithPassword).then_some(PASSWORD);
        Self { cluster, door: Door { port: first + 2, password }, behind, front: Some(front) }
    }

    /// Waits until every third of the slots is served, whichever core a connection is on.
    fn await_service(&self) {
        await_condition("the gateway serves all slots", SECONDS_MAX, || {
            (0..8).all(|_| {
                let mut client = self.door.enter();
                ["{b}1", "{c}1", "{a}1"].iter().all(|key| client.say(&format!("EXISTS {key}")) == b":0\r\n")
            })
        });
    }

    /// The process that has the gateway.
    pub fn server(&self) -> &Server {
        self.front.as_ref().unwrap_or(&self.cluster.servers[0])
    }

    /// Ports of all nodes: those of the cluster, and the gateway's own.
    fn ports(&self) -> Vec<u16> {
        self.cluster.ports().chain(self.front.as_ref().map(Server::port)).collect()
    }

    /// Waits until all nodes agree that the cluster is well.
    ///
    /// # Panics
    /// If they do not.
    pub fn await_settled(&self) {
        await_settled(&self.ports(), 3);
    }

    /// Kills the process of a master, another one each time, waits until its replica serves, calls `meanwhile`, starts the
    /// process again and waits until all is well. The gateway's own process lives on.
    ///
    /// # Panics
    /// If no replica takes over, or it does not get well.
    pub fn kill_a_master(&mut self, round: usize, meanwhile: impl FnOnce()) {
        let (first, nodes) = (self.cluster.first_port, self.cluster.count);
        let (server, victim) = match self.behind {
            // The replica of the third process's master is in the first one.
            Behind::Ours => (1 + round % 2, first + 2 + 2 * (round % 2) as u16),
            _ => {
                let masters: Vec<u16> = (first..first + nodes).filter(|&port| is_master(port)).collect();
                let victim = masters[round % masters.len()];
                (usize::from(victim - first), victim)
            }
        };
        let id = line_at(first, victim).id;
        let replica = lines_at(first).into_iter().find(|line| line.master == id).expect("each master has a replica");
        self.cluster.servers[server].signal("KILL");
        self.cluster.servers[server].await_end();
        await_condition("its replica takes over", SECONDS_MAX, || is_master(replica.port()));
        meanwhile();
        self.cluster.servers[server].restart();
        self.await_settled();
        if self.behind == Behind::Ours {
            // Where it was: a process must not have two of three masters.
            assert_eq!(node_at(victim).say("CLUSTER FAILOVER"), b"+OK\r\n");
            await_condition("it leads again", SECONDS_MAX, || is_master(victim) && !is_master(replica.port()));
            self.await_settled();
        }
    }

    /// Moves so many slots from one master to another with the tool of Redis.
    ///
    /// # Panics
    /// If it fails.
    pub fn reshard(&self, round: usize, slots: u16) {
        let masters: Vec<_> = lines_at(self.cluster.first_port)
            .into_iter()
            .filter(|line| line.is("master") && !line.slots.is_empty())
            .collect();
        let (from, to) = (&masters[round % masters.len()], &masters[(round + 1) % masters.len()]);
        let entry = format!("127.0.0.1:{}", self.cluster.first_port);
        let slots = slots.to_string();
        let words = ["reshard", &entry, "--cluster-from", &from.id, "--cluster-to", &to.id, "--cluster-slots", &slots];
        cluster_tool(&[&words[..], &["--cluster-yes"], password_of(self.behind)].concat());
        let slots_of =
            |id: &str| lines_at(self.cluster.first_port).into_iter().find(|line| line.id == id).map(|at| at.slots);
        assert_ne!(slots_of(&from.id).as_ref(), Some(&from.slots), "slots have moved");
    }
}

/// What the tool is told of the password.
fn password_of(behind: Behind) -> &'static [&'static str] {
    if behind == Behind::RedisWithPassword { &["-a", PASSWORD, "--no-auth-warning"] } else { &[] }
}
