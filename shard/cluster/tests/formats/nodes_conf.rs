//! nodes.conf as real servers wrote it, and files that are none.

use crate::check;
use slotmesh_base::{Slot, UnixMillis};
use slotmesh_cluster::nodes_conf::{self, LineStyle, SavedCluster, SavedNode};
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{Host, NodeId};
use std::path::Path;

fn testdata(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text.as_bytes()).expect("forty digits")
}

fn read(text: &str) -> SavedCluster {
    assert!(check::nodes_conf(text.as_bytes()));
    nodes_conf::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}"))
}

fn myself(cluster: &SavedCluster) -> &SavedNode {
    let mut found = cluster.nodes.iter().filter(|node| node.flags.contains(NodeFlags::MYSELF));
    found.next().expect("a node is myself")
}

#[test]
fn a_file_of_7_2_is_written_as_it_was() {
    for (name, epoch) in [("nodes-7.2.conf", 8), ("nodes-7.2-replica.conf", 7)] {
        let text = testdata(name);
        let cluster = read(&text);
        assert_eq!((cluster.nodes.len(), cluster.current_epoch, cluster.last_vote_epoch), (6, 8, epoch), "{name}");
        let mut written = String::new();
        nodes_conf::write(&mut written, &cluster);
        assert_eq!(written, text, "{name}");
    }
    let other = id("e70df12a3bec4a9e86a56c6918c7e199dea1c872");
    let expected = SavedNode {
        id: id("7a9ca3e3120554ffc97838a7852d4338ec9be754"),
        host: Host::parse(b"127.0.0.1"),
        port: 26402,
        bus_port: 36402,
        other_port: 0,
        hostname: Some("host-2.example".into()),
        nodename: Some("name-2".into()),
        shard_id: Some(id("7d1d77b661c71f6cbf3acc966dbf32093076d739")),
        flags: NodeFlags::MYSELF | NodeFlags::MASTER,
        master: None,
        ping_sent: UnixMillis(0),
        pong_received: UnixMillis(1_795_905_201_000),
        config_epoch: 3,
        is_connected: true,
        slots: vec![(10923, 16383)],
        migrating: vec![(Slot::new(10923).expect("a slot"), other)],
        importing: vec![(Slot::new(0).expect("a slot"), other)],
    };
    assert_eq!(*myself(&read(&testdata("nodes-7.2.conf"))), expected);
}

/// A line of 7.0's file is one of its CLUSTER NODES, and 7.2 has kept that.
#[test]
fn lines_of_cluster_nodes_are_those_of_redis() {
    for name in ["nodes-7.0.conf", "cluster-nodes-7.0.txt", "cluster-nodes-7.2.txt"] {
        let text = testdata(name);
        let cluster = read(&text);
        let mut written = String::new();
        for node in &cluster.nodes {
            assert_eq!(node.shard_id, None);
            nodes_conf::write_line(&mut written, node, LineStyle::Command);
            written.push('\n');
        }
        let lines = text.lines().filter(|line| !line.starts_with("vars")).map(|line| format!("{line}\n"));
        assert_eq!(written, lines.collect::<String>(), "{name}");
    }
}

const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// `$a` and `$b` stand for ids; the line of ourselves comes first.
fn file(lines: &str) -> String {
    format!("$a :0@0 myself,master - 0 0 1 connected\n{lines}").replace("$a", A).replace("$b", B)
}

#[test]
fn what_redis_takes_is_taken() {
    let last = |lines: &str| read(&file(lines)).nodes.pop().expect("a node");
    // An address without a port of the bus, one of IPv6, a name, none.
    assert_eq!(last("$b 10.0.0.1:7000 master - 0 0 1 connected\n").bus_port, 17000);
    assert_eq!(last("$b 10.0.0.1:60000 master - 0 0 1 connected\n").bus_port, 65535, "it cannot lie above");
    let node = last("$b ::1:7000@17000 slave $a 0 0 1 disconnected\n");
    assert_eq!((node.host, node.port), (Host::parse(b"::1"), 7000));
    assert_eq!((node.flags, node.master, node.is_connected), (NodeFlags::REPLICA, Some(id(A)), false));
    assert_eq!(last("$b box.example:7000@17000 master - 0 0 1 connected\n").host, Host::parse(b"box.example"));
    let node = last("$b :0@0 slave,fail,noaddr $a 1 2 1 disconnected\n");
    assert_eq!(node.flags, NodeFlags::REPLICA | NodeFlags::FAIL | NodeFlags::NO_ADDRESS);
    // What valkey 8 adds.
    let line = "$b ::1:7000@17000,h,client-ipv6=::2,client-ipv4=1.2.3.4,tcp-port=7001 replica $a 0 0 1 connected\n";
    // An IPv6 address holds characters that Redis's own fields cannot have.
    assert_eq!((last(line).other_port, last(line).hostname.as_deref()), (7001, Some("h")));
    // Without epochs, blank lines between, a variable of a later version, every flag.
    let cluster = read(&file("\n\nvars later 7 currentEpoch 9\n\n"));
    assert_eq!((cluster.current_epoch, cluster.last_vote_epoch), (9, 0));
    assert_eq!(read(&file("")).current_epoch, 0);
    let node = last("$b :0@0 master,fail?,handshake,nofailover - 0 0 1 connected\n");
    assert_eq!(node.flags.bits(), 1 | 4 | 0x20 | 0x200);
    assert_eq!(last("$b :0@0 noflags - 0 0 1 connected\n").flags, NodeFlags::empty());
    // The greatest numbers there are.
    let most = u64::MAX;
    assert_eq!(last(&format!("$b :0@0 master - 0 0 {most} connected\n")).config_epoch, most);
}

/// Who owns a slot of two lines is for the machine to say, which takes the first.
#[test]
fn a_slot_of_two_lines_is_read_from_both() {
    let cluster = read(&file("$b :1@2 master - 0 0 1 connected 5-7 9\n"));
    assert_eq!(cluster.nodes[1].slots, [(5, 7), (9, 9)]);
}

/// Redis 7.2 refuses to start then. It can write such a file itself, when a replica's name for the shard came before its
/// master's; and the next PING heals it.
#[test]
fn a_replica_with_another_shard_than_its_master_is_taken() {
    let line = format!(":1@2,,tls-port=0,shard-id={B} slave $a 0 0 1 connected\n");
    assert_eq!(read(&file(&format!("$b {line}"))).nodes[1].shard_id, Some(id(B)));
}

#[test]
fn bad_files_are_refused_by_line() {
    let long = format!("{B} {}", "x".repeat(100_000));
    // What stands in the second line, and what is said of it.
    let cases = [
        ("hello\n", "fewer than 8 fields"),
        ("$b :1@2 master - 0 0 1\n", "fewer than 8 fields"),
        (&long[..], "the line has no end, the file was cut"),
        ("$b :1@2 master - 0 0 1 connected 0-54", "the line has no end, the file was cut"),
        ("vars currentEpoch 1", "the line has no end, the file was cut"),
        ("vars currentEpoch\n", "a variable without a value"),
        ("vars currentEpoch x\n", "a variable that is no number"),
        ("vars currentEpoch -1\n", "a variable that is no number"),
        ("vars lastVoteEpoch 18446744073709551616\n", "a variable that is no number"),
        ("bbb :1@2 master - 0 0 1 connected\n", "a node id that is none"),
        ("BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB :1@2 master - 0 0 1 connected\n", "a node id that is none"),
        ("$a :1@2 master - 0 0 1 connected\n", "a second line about this node"),
        ("$b :1@2 myself,master - 0 0 1 connected\n", "a second node with the flag myself"),
        ("$b :1@2 master,strange - 0 0 1 connected\n", "unknown flag"),
        ("$b :1@2 master, - 0 0 1 connected\n", "unknown flag"),
        ("$b :1@2 slave xyz 0 0 1 connected\n", "the id of a master that is none"),
        ("$b :1@2 master - soon 0 1 connected\n", "a time that is no number"),
        ("$b :1@2 master - 0 0 -1 connected\n", "an epoch that is no number"),
        ("$b here master - 0 0 1 connected\n", "an address without a port"),
        ("$b a@b:1@2 master - 0 0 1 connected\n", "a host that is none"),
        ("$b :70000@2 master - 0 0 1 connected\n", "a port that is none"),
        ("$b :1@x master - 0 0 1 connected\n", "a port that is none"),
        ("$b :1@2,under_score master - 0 0 1 connected\n", "a hostname that is none"),
        ("$b :1@2,,tls-port master - 0 0 1 connected\n", "an auxiliary field without a value"),
        ("$b :1@2,,color=red master - 0 0 1 connected\n", "an unknown or bad auxiliary field"),
        ("$b :1@2,,nodename=a!b master - 0 0 1 connected\n", "an unknown or bad auxiliary field"),
        ("$b :1@2,,shard-id=xyz master - 0 0 1 connected\n", "a shard id that is none"),
        ("$b :1@2 master - 0 0 1 connected 16384\n", "a slot that is none"),
        ("$b :1@2 master - 0 0 1 connected 0-16384\n", "a slot that is none"),
        ("$b :1@2 master - 0 0 1 connected -1\n", "a slot that is none"),
        ("$b :1@2 master - 0 0 1 connected 9-5\n", "a run of slots that ends before it begins"),
        ("$b :1@2 master - 0 0 1 connected [5]\n", "a slot that is none"),
        ("$b :1@2 master - 0 0 1 connected [16384->-$a]\n", "a slot that is none"),
        ("$b :1@2 master - 0 0 1 connected [5->-$a\n", "a slot that is none"),
        ("$b :1@2 master - 0 0 1 connected [5-<-xyz]\n", "an open slot with an id that is none"),
    ];
    for (line, why) in cases {
        let text = file(line);
        assert!(!check::nodes_conf(text.as_bytes()), "{line}");
        let error = nodes_conf::parse(text.as_bytes()).expect_err(line);
        assert_eq!((error.line, error.why), (2, why), "{line}");
        let shown = line.replace("$a", A).replace("$b", B);
        let told = error.to_string();
        assert!(
            told.starts_with(&format!("line 2: {why}: \"{}", &shown.trim_end()[..shown.trim_end().len().min(100)]))
        );
        assert!(told.len() < 250, "{told}");
    }
}

#[test]
fn a_file_without_ourselves_is_refused() {
    for text in ["", "\n\n", "vars currentEpoch 1 lastVoteEpoch 0\n"] {
        let error = nodes_conf::parse(text.as_bytes()).expect_err(text);
        assert_eq!(error.to_string(), "no node has the flag myself");
    }
}

#[test]
fn what_is_no_text_is_shown_escaped() {
    let error = nodes_conf::parse(b"\xff\x01\x1b[31m\n").expect_err("no text");
    assert_eq!(error.to_string(), "line 1: not text: \"\u{fffd}\\u{1}\\u{1b}[31m\"");
}
