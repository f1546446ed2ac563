//! Firewalls between nodes. What they reject looks like the port of a process that has died, and is not: nobody may be held
//! for dead for it before `cluster-node-timeout` says so.

use slotmesh_conform::{
    Cluster, Connection, NodeLine, Program, await_condition, is_in_namespace, is_self_test, node_lines, set_firewall,
};
use std::time::{Duration, Instant};

const OURS: Program = Program::Slotmesh(1);
const SECONDS_MAX: u64 = 60;
/// Twenty times what the port of a dead process has to refuse until it is suspected (`cluster-crash-detect-ms`).
const ARGS: &[&str] = &["--cluster-node-timeout", "6000", "--repl-diskless-sync-delay", "0"];
/// From here the node behind the firewall dials, so that its own connections can be told from others'.
const SOURCE: &str = "127.0.0.9";
/// Ten times as long, and half of the node timeout.
const WALL_MS: u64 = 3000;

/// What a firewall answers.
const ANSWERS: [&str; 2] = ["reject with tcp reset", "reject with icmpx type port-unreachable"];

/// Three masters; the first, which has a replica, dials from [`SOURCE`].
fn form() -> Cluster {
    let mut cluster = Cluster::start(&[OURS, OURS, OURS, OURS], ARGS);
    let mut walled = cluster.connect(0);
    for setting in ["cluster-announce-ip 127.0.0.1", &format!("bind-source-addr {SOURCE}")] {
        assert_eq!(walled.say(&format!("CONFIG SET {setting}")), b"+OK\r\n");
    }
    for index in 0..3u16 {
        let start = |index: u16| u32::from(index) * 16384 / 3;
        let mut node = cluster.connect(index);
        assert_eq!(node.say(&format!("CLUSTER ADDSLOTSRANGE {} {}", start(index), start(index + 1) - 1)), b"+OK\r\n");
        assert_eq!(node.say(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), b"+OK\r\n");
    }
    (1..4).for_each(|index| cluster.meet(index, 0));
    let master = walled.text("CLUSTER MYID");
    await_condition("it may follow", SECONDS_MAX, || {
        cluster.connect(3).say(&format!("CLUSTER REPLICATE {master}")) == b"+OK\r\n"
    });
    await_settled(&mut cluster);
    cluster
}

fn view(cluster: &Cluster, index: u16) -> Vec<NodeLine> {
    node_lines(&mut cluster.connect(index))
}

/// Waits until all see the same, in good health, and the replica follows.
fn await_settled(cluster: &mut Cluster) {
    await_condition("the cluster has settled", SECONDS_MAX, || {
        let views: Vec<Vec<NodeLine>> = (0..4).map(|index| view(cluster, index)).collect();
        let is_well =
            |line: &NodeLine| line.link == "connected" && ["master", "slave"].contains(&line.flags.join(",").as_str());
        let is_ok = |node: &mut Connection| node.text("CLUSTER INFO").starts_with("cluster_state:ok");
        views.iter().all(|view| *view == views[0])
            && views[0].len() == 4
            && views[0].iter().all(is_well)
            && (0..4).all(|index| is_ok(&mut cluster.connect(index)))
            && cluster.connect(3).text("INFO replication").contains("master_link_status:up")
    });
}

/// For so long nobody of the others suspects anybody.
fn is_trusted_for(cluster: &Cluster, millis: u64, what: &str) {
    let end = Instant::now() + Duration::from_millis(millis);
    await_condition("the firewall has stood long enough", SECONDS_MAX, || {
        for index in 1..4 {
            let lines = view(cluster, index);
            let ill = lines.iter().find(|line| line.is("fail") || line.is("fail?"));
            assert_eq!(ill, None, "{what}, in the eyes of node {index}");
        }
        Instant::now() >= end
    });
}

/// All connections of a node with others are rejected, those that stand and new ones: what comes to its ports, all that
/// comes to it (so that its own connections are torn, too), and all in both directions.
#[test]
fn a_node_behind_a_firewall_that_rejects_is_not_dead() {
    if is_self_test() || !is_in_namespace("a_node_behind_a_firewall_that_rejects_is_not_dead") {
        return;
    }
    let mut cluster = form();
    let before = view(&cluster, 1);
    let (port, bus) = (cluster.first_port, cluster.first_port + cluster.count);
    for answer in ANSWERS {
        let to_it = format!("tcp dport {{ {port}, {bus} }} {answer}");
        let all_to_it = [to_it.clone(), format!("ip daddr {SOURCE} {answer}")];
        let both_ways = [&all_to_it[..], &[format!("ip saddr {SOURCE} {answer}")]].concat();
        for rules in [vec![to_it], all_to_it.to_vec(), both_ways] {
            set_firewall(&rules);
            is_trusted_for(&cluster, WALL_MS, &rules.join("; "));
            set_firewall(&[]);
            await_settled(&mut cluster);
            assert_eq!(view(&cluster, 1), before, "after {rules:?}");
        }
    }
    let log = cluster.servers[3].log();
    assert!(log.contains("Connection with master lost"), "the firewall was felt: {log}");
}

/// New connections to a node are rejected, and others start again meanwhile: that it dials them is enough.
#[test]
fn a_node_that_new_connections_do_not_reach_is_not_dead() {
    if is_self_test() || !is_in_namespace("a_node_that_new_connections_do_not_reach_is_not_dead") {
        return;
    }
    let mut cluster = form();
    let before = view(&cluster, 2);
    let (port, bus) = (cluster.first_port, cluster.first_port + cluster.count);
    for answer in ANSWERS {
        set_firewall(&[format!("tcp dport {{ {port}, {bus} }} ct state new {answer}")]);
        // It has no replica: nobody takes its place.
        cluster.servers[1].signal("KILL");
        cluster.servers[1].restart();
        await_condition("it cannot dial the first", SECONDS_MAX, || {
            let lines = view(&cluster, 1);
            lines.iter().any(|line| line.port() == port && line.link == "disconnected")
        });
        // Longer than the node timeout.
        is_trusted_for(&cluster, 3 * WALL_MS, answer);
        assert!(view(&cluster, 1).iter().any(|line| line.port() == port && line.link == "disconnected"));
        set_firewall(&[]);
        await_settled(&mut cluster);
        assert_eq!(view(&cluster, 2), before, "after {answer}");
    }
}
