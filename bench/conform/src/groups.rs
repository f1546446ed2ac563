//! Clusters whose masters have replicas: how they are made, and when they are well.

use crate::{Cluster, Connection, NodeLine, PASSWORD, await_condition, node_lines};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;

/// A connection to the node at this port, authenticated with [`PASSWORD`] if it wants one.
///
/// # Panics
/// If it does not accept.
pub fn node_at(port: u16) -> Connection {
    let mut node = Connection::tcp(("127.0.0.1", port)).expect("the node accepts");
    if node.say("PING").starts_with(b"-NOAUTH") {
        assert_eq!(node.ask(&["AUTH", PASSWORD]), b"+OK\r\n");
    }
    node
}

/// What `redis-cli --cluster` prints when all is well.
///
/// # Panics
/// If it fails.
pub fn cluster_tool(args: &[&str]) -> String {
    let output = Command::new("redis-cli").arg("--cluster").args(args).output().expect("redis-cli is installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    assert!(!out.contains("[ERR]") && !err.contains("rror"), "{args:?}: {out}{err}");
    out.into_owned()
}

/// What a node says of all; nothing, while it has come back without its data and waits until another has its slots.
///
/// # Panics
/// If it does not accept.
pub fn lines_at(port: u16) -> Vec<NodeLine> {
    let mut node = node_at(port);
    if node.say("PING").starts_with(b"-LOADING") { Vec::new() } else { node_lines(&mut node) }
}

/// What the node at the first of these ports says of the node at the other.
///
/// # Panics
/// If it does not know it.
pub fn line_at(from: u16, port: u16) -> NodeLine {
    lines_at(from).into_iter().find(|line| line.port() == port).expect("the nodes know each other")
}

/// Waits until the nodes at these ports, and no others, see the same cluster, in good health, with so many masters that
/// have slots, all of which are served, and every replica follows.
///
/// # Panics
/// If that does not come.
pub fn await_settled(ports: &[u16], masters: usize) {
    let deadline = Instant::now() + Duration::from_secs(SECONDS_MAX);
    await_condition("the cluster has settled", SECONDS_MAX + 1, || {
        let views: Vec<Vec<NodeLine>> = ports.iter().map(|&port| lines_at(port)).collect();
        let is_healthy = |line: &NodeLine| {
            line.link == "connected" && !["fail", "fail?", "handshake", "noaddr"].iter().any(|flag| line.is(flag))
        };
        let settled = views.iter().all(|view| *view == views[0])
            && views[0].len() == ports.len()
            && views[0].iter().all(is_healthy)
            && views[0].iter().filter(|line| !line.slots.is_empty()).count() == masters
            && ports.iter().all(|&port| is_ready(&mut node_at(port)));
        assert!(settled || Instant::now() < deadline, "the cluster does not settle: {views:#?}");
        settled
    });
}

fn is_ready(node: &mut Connection) -> bool {
    let info = node.text("INFO replication");
    node.text("CLUSTER INFO").starts_with("cluster_state:ok")
        && (info.contains("role:master") || info.contains("master_link_status:up"))
}

/// Shares the slots among these nodes, and has all nodes know each other.
///
/// # Panics
/// If a node refuses, or they do not meet.
pub fn share_among(cluster: &Cluster, masters: &[u16]) {
    let count = masters.len() as u32;
    for (place, &master) in (0u32..).zip(masters) {
        let start = |place: u32| place * 16384 / count;
        let mut node = cluster.connect(master);
        let range = format!("CLUSTER ADDSLOTSRANGE {} {}", start(place), start(place + 1) - 1);
        assert_eq!(node.say(&range), b"+OK\r\n", "{range}");
        assert_eq!(node.say(&format!("CLUSTER SET-CONFIG-EPOCH {}", place + 1)), b"+OK\r\n");
    }
    (1..cluster.count).for_each(|index| cluster.meet(index, 0));
    await_condition("all know each other", SECONDS_MAX, || {
        (0..cluster.count).all(|index| lines_at(cluster.first_port + index).len() == usize::from(cluster.count))
    });
}

/// Shares the slots among the masters of these pairs of nodes and has the others follow them.
///
/// # Panics
/// If a node refuses, or they do not agree.
pub fn follow_in_pairs(cluster: &Cluster, pairs: &[(u16, u16)]) {
    let masters: Vec<u16> = pairs.iter().map(|&(master, _)| master).collect();
    share_among(cluster, &masters);
    for &(master, replica) in pairs {
        replicate(cluster.first_port + replica, cluster.first_port + master);
    }
    let ports: Vec<u16> = cluster.ports().collect();
    await_settled(&ports, pairs.len());
}

/// Has the node at one port follow that at another.
///
/// # Panics
/// If it refuses for too long.
pub fn replicate(replica: u16, master: u16) {
    let id = node_at(master).text("CLUSTER MYID");
    // A node that has just been met is known by gossip first: it cannot be followed before it has said its name.
    await_condition("it may follow", SECONDS_MAX, || {
        node_at(replica).say(&format!("CLUSTER REPLICATE {id}")) == b"+OK\r\n"
    });
}

/// Whether the node at this port is a master.
///
/// # Panics
/// If it does not accept.
pub fn is_master(port: u16) -> bool {
    node_at(port).text("INFO replication").contains("role:master")
}
