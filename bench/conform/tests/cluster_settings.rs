//! Directives of the cluster that change while nodes run, and addresses that change between runs.

use slotmesh_conform::{
    Cluster, Connection, Program, Server, await_agreement, await_condition, is_self_test, node_lines, show,
    unused_ports,
};

/// Longest wait for what a directive changes, in seconds.
const CHANGE_SECONDS_MAX: u64 = 60;

/// Values for each directive, good and bad, in the order in which they are set. The last one that is good leaves the
/// node as it was.
const VALUES: &[(&str, &[&str])] = &[
    ("cluster-node-timeout", &["-1", "x", "9223372036854775807", "9223372036854775808", "15000"]),
    ("cluster-require-full-coverage", &["no", "maybe", "YES"]),
    ("cluster-allow-reads-when-down", &["yes", "1", "no"]),
    ("cluster-allow-pubsubshard-when-down", &["no", "", "yes"]),
    ("cluster-allow-replica-migration", &["no", "yes"]),
    ("cluster-replica-no-failover", &["yes", "no"]),
    ("cluster-slave-no-failover", &["yes", "no"]),
    ("cluster-replica-validity-factor", &["0", "-1", "2147483648", "10"]),
    ("cluster-slave-validity-factor", &["3", "10"]),
    ("cluster-migration-barrier", &["0", "-1", "1"]),
    ("cluster-link-sendbuf-limit", &["1mb", "0", "-1", "x", "18446744073709551615", "0"]),
    ("cluster-preferred-endpoint-type", &["hostname", "nowhere", "unknown-endpoint", "IP"]),
    ("cluster-announce-hostname", &["a.example", "a_b", "-", "a b", ""]),
    ("cluster-announce-ip", &["203.0.113.7", ""]),
    ("cluster-announce-port", &["7777", "65536", "-1", "0"]),
    ("cluster-announce-bus-port", &["17777", "65536", "0"]),
    ("cluster-announce-tls-port", &["65536"]),
    // Not while it runs.
    ("cluster-enabled", &["no", "yes"]),
    ("cluster-port", &["7", "0"]),
    ("cluster-config-file", &["other.conf"]),
    ("bind-source-addr", &["127.0.0.1", ""]),
];

/// What the first of two nodes says of itself, with ports and names replaced.
fn shown(node: &mut Connection, cluster: &Cluster, ids: &[String]) -> Vec<String> {
    let normal = |mut text: String| {
        for (index, id) in (0..).zip(ids) {
            let (port, bus) = (cluster.first_port + index, cluster.first_port + index + cluster.count);
            text = text.replace(id, &format!("<id{index}>"));
            text = text.replace(&port.to_string(), &format!("<port{index}>"));
            text = text.replace(&bus.to_string(), &format!("<bus{index}>"));
        }
        text
    };
    let lines = node_lines(node);
    let line = lines.iter().find(|line| line.id == ids[0]).expect("it knows itself");
    let line = format!("{} {} {:?} {} {}", line.id, line.address, line.flags, line.epoch, line.slots);
    // Each range is an array of three with a number first; which comes first is nobody's business.
    let slots = show(&node.say("CLUSTER SLOTS"));
    let mut ranges: Vec<String> = slots.split("*3\\r\\n:").skip(1).map(|range| normal(range.to_owned())).collect();
    ranges.sort();
    // foo is the other node's.
    [vec![normal(line), normal(show(&node.say("GET foo")))], ranges].concat()
}

#[test]
fn every_directive_is_set_and_obeyed_as_in_redis() {
    let sides = [Program::Slotmesh(1), Program::Redis(None)].map(|kind| Cluster::form(&[kind.clone(), kind], &[]));
    let ids = sides.each_ref().map(|side| [0, 1].map(|index| side.connect(index).text("CLUSTER MYID")));
    let mut nodes = [sides[0].connect(0), sides[1].connect(0)];
    for (name, values) in VALUES {
        for value in *values {
            let [ours, theirs] = nodes.each_mut().map(|node| show(&node.ask(&["CONFIG", "SET", name, value])));
            assert_eq!(ours, theirs, "CONFIG SET {name} {value}");
            // Each has a port of its own.
            if *name != "cluster-port" {
                let [ours, theirs] = nodes.each_mut().map(|node| show(&node.ask(&["CONFIG", "GET", name])));
                assert_eq!(ours, theirs, "CONFIG GET {name} after {value}");
            }
            // What is shown follows at the next tick at the latest.
            let mut views = (Vec::new(), Vec::new());
            let agree = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                await_condition("both show the same", 20, || {
                    let [ours, theirs] = [0, 1].map(|side| shown(&mut nodes[side], &sides[side], &ids[side]));
                    views = (ours, theirs);
                    views.0 == views.1
                });
            }));
            assert!(agree.is_ok(), "after {name} {value}: {views:#?}");
        }
    }
}

/// With a hole in the slots the cluster is down: keys, reads of them, and shard channels, each by its directive.
#[test]
fn what_is_served_while_the_cluster_is_down_is_as_in_redis() {
    let sides = [Cluster::start(&[Program::Slotmesh(1)], &[]), Cluster::start(&[Program::Redis(None)], &[])];
    let mut nodes = [sides[0].connect(0), sides[1].connect(0)];
    for node in &mut nodes {
        // foo lies in 12182, bar in 5061, which nobody has.
        assert_eq!(node.say("CLUSTER ADDSLOTSRANGE 8000 16383"), b"+OK\r\n");
    }
    // That all slots are required again Redis sees only when something else changes: this comes last.
    let last = ["no", "no", "no"];
    for [coverage, channels, reads] in
        [["yes", "yes", "no"], ["yes", "no", "no"], ["yes", "no", "yes"], ["yes", "yes", "yes"], last]
    {
        for (node, cluster) in nodes.iter_mut().zip(&sides) {
            for (name, value) in [
                ("cluster-require-full-coverage", coverage),
                ("cluster-allow-pubsubshard-when-down", channels),
                ("cluster-allow-reads-when-down", reads),
            ] {
                assert_eq!(node.ask(&["CONFIG", "SET", name, value]), b"+OK\r\n");
            }
            let state = if coverage == "no" { "cluster_state:ok" } else { "cluster_state:fail" };
            let is_so = || cluster.connect(0).text("CLUSTER INFO").starts_with(state);
            await_condition(&format!("{state} with coverage {coverage}, reads {reads}"), CHANGE_SECONDS_MAX, is_so);
        }
        for line in [
            "GET foo",
            "SET foo 1",
            "GET bar",
            "SPUBLISH foo hello",
            "SPUBLISH bar hello",
            "SSUBSCRIBE foo",
            "SSUBSCRIBE bar",
            "SSUBSCRIBE foo {foo}2",
            "SSUBSCRIBE foo bar",
            "SUNSUBSCRIBE foo",
            "SUNSUBSCRIBE bar",
            "PUBLISH foo hello",
            "SUBSCRIBE foo",
        ] {
            // Each on a connection of its own, since some bind theirs.
            let [ours, theirs] = sides.each_ref().map(|side| show(&side.connect(0).say(line)));
            assert_eq!(ours, theirs, "{line} with coverage {coverage}, channels {channels}, reads {reads}");
        }
    }
}

/// A node that is started again elsewhere with its nodes.conf is the same node, and the others learn where it is now.
#[test]
fn a_node_that_moves_keeps_its_name_and_is_found() {
    let kinds = [Program::Slotmesh(1), Program::Redis(None)];
    for mover in [0, 1] {
        let programs = [&kinds[mover], &kinds[1 - mover], &kinds[mover]].map(Clone::clone);
        let mut cluster = Cluster::form(&programs, &[]);
        let before = node_lines(&mut cluster.connect(1));
        let id = cluster.connect(0).text("CLUSTER MYID");
        cluster.servers[0].signal("TERM");
        cluster.servers[0].await_end();
        let file = std::fs::read(cluster.servers[0].dir().join("nodes.conf")).expect("a node has its file");
        let port = unused_ports(2);
        let bus = (port + 1).to_string();
        let args = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "3000"];
        let shards: &[&str] = if mover == 0 && !is_self_test() { &["--cores", "1", "--shards", "1"] } else { &[] };
        let moved =
            Server::start_with(port, "the node that moves", kinds[mover].command(), &[&args, shards].concat(), |dir| {
                std::fs::write(dir.join("nodes.conf"), &file).expect("a new directory takes a file");
            });
        assert_eq!(moved.connect().text("CLUSTER MYID"), id);
        let ports = [port, cluster.first_port + 1, cluster.first_port + 2];
        await_condition("all know its new address", CHANGE_SECONDS_MAX, || {
            ports.iter().all(|&other| {
                let lines = node_lines(&mut Connection::tcp(("127.0.0.1", other)).expect("the node accepts"));
                lines.iter().any(|line| line.id == id && line.address == format!("127.0.0.1:{port}@{bus}"))
            })
        });
        await_agreement(&ports);
        let after = node_lines(&mut cluster.connect(1));
        let facts = |lines: &[slotmesh_conform::NodeLine]| -> Vec<(String, u64, String)> {
            lines.iter().map(|line| (line.id.clone(), line.epoch, line.slots.clone())).collect()
        };
        assert_eq!(facts(&after), facts(&before));
    }
}
