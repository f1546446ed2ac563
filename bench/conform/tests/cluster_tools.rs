//! `redis-cli --cluster` of the field forms, inspects and changes clusters of several processes.

use slotmesh_conform::{Cluster, Program, await_agreement, is_self_test, node_lines, unused_ports};
use slotmesh_conform::{Server, node_command};
use std::process::Command;

/// What `redis-cli --cluster` prints when all is well.
fn tool(args: &[&str]) -> String {
    let output = Command::new("redis-cli").arg("--cluster").args(args).output().expect("redis-cli is installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{args:?}: {out}{err}");
    assert!(!out.contains("[WARNING]") && !out.contains("[ERR]") && !err.contains("rror"), "{args:?}: {out}{err}");
    out.into_owned()
}

fn addresses(host: &str, cluster: &Cluster) -> Vec<String> {
    cluster.ports().map(|port| format!("{host}:{port}")).collect()
}

fn create(addresses: &[String]) -> String {
    let addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    tool(&[&["create"], &addresses[..], &["--cluster-yes"]].concat())
}

const COVERED: &str = "[OK] All 16384 slots covered.";
const AGREED: &str = "[OK] All nodes agree about slots configuration.";

/// Forms a cluster by the tool, and looks at it by the others.
fn create_and_inspect(host: &str, programs: &[Program], args: &[&str]) -> Cluster {
    let cluster = Cluster::start(programs, args);
    let addresses = addresses(host, &cluster);
    let out = create(&addresses);
    assert!(out.contains(COVERED) && out.contains(AGREED), "{out}");
    cluster.await_agreement();
    for address in [&addresses[0], &addresses[addresses.len() - 1]] {
        let check = tool(&["check", address]);
        assert!(check.contains(COVERED) && check.contains(AGREED), "{check}");
        assert!(check.contains(&format!("0 keys in {} masters.", cluster.count)), "{check}");
        let info = tool(&["info", address]);
        assert!(info.contains(&format!("0 keys in {} masters.", cluster.count)), "{info}");
    }
    let called = tool(&["call", &addresses[0], "CLUSTER", "MYID"]);
    for line in node_lines(&mut cluster.connect(0)) {
        assert!(called.contains(&line.id), "{called}");
    }
    cluster
}

#[test]
fn create_forms_a_cluster_of_single_shards() {
    create_and_inspect("127.0.0.1", &[Program::Slotmesh(1), Program::Slotmesh(1), Program::Slotmesh(1)], &[]);
}

#[test]
fn create_takes_names() {
    create_and_inspect("localhost", &[Program::Slotmesh(1), Program::Slotmesh(1), Program::Slotmesh(1)], &[]);
}

#[test]
fn create_takes_ipv6() {
    let programs = [Program::Slotmesh(1), Program::Slotmesh(1), Program::Slotmesh(1)];
    let cluster = create_and_inspect("::1", &programs, &[]);
    for line in node_lines(&mut cluster.connect(2)) {
        assert!(line.address.starts_with("::1:"), "{line:?}");
    }
}

#[test]
fn create_forms_a_cluster_of_many_shards() {
    let programs = [Program::Slotmesh(4), Program::Slotmesh(4), Program::Slotmesh(4)];
    let cluster = create_and_inspect("127.0.0.1", &programs, &[]);
    assert_eq!(node_lines(&mut cluster.connect(11)).len(), 12);
}

#[test]
fn a_node_is_added_and_removed() {
    if is_self_test() {
        return;
    }
    let cluster = Cluster::form(&[Program::Slotmesh(1), Program::Slotmesh(2)], &[]);
    let port = unused_ports(2);
    let bus = (port + 1).to_string();
    let args = ["--cluster-enabled", "yes", "--cores", "1", "--shards", "1", "--cluster-port", &bus];
    let new = Server::start_at(port, "slotmesh", node_command(), &args);
    let id = new.connect().text("CLUSTER MYID");
    let entry = format!("127.0.0.1:{}", cluster.first_port);
    let out = tool(&["add-node", &format!("127.0.0.1:{port}"), &entry]);
    assert!(out.contains("[OK] New node added correctly."), "{out}");
    let old: Vec<u16> = cluster.ports().collect();
    await_agreement(&[&old[..], &[port]].concat());
    let out = tool(&["check", &entry]);
    assert!(out.contains("0 keys in 4 masters.") && out.contains(COVERED), "{out}");
    let out = tool(&["del-node", &entry, &id]);
    assert!(out.contains(">>> Sending CLUSTER RESET SOFT to the deleted node."), "{out}");
    cluster.await_agreement();
    assert_eq!(node_lines(&mut new.connect()).len(), 1);
    assert_eq!(new.connect().text("CLUSTER MYID"), id);
}

/// The tool carries the functions of the entry to the new node: one of redis-server takes ours, and the other way round.
#[test]
fn nodes_of_the_other_kind_are_added() {
    let kinds = [Program::Slotmesh(1), Program::Redis(None)];
    for (old, new) in [(&kinds[0], &kinds[1]), (&kinds[1], &kinds[0])] {
        let cluster = Cluster::form(&[old.clone(), old.clone(), old.clone()], &[]);
        let one = Cluster::start(std::slice::from_ref(new), &[]);
        let entry = format!("127.0.0.1:{}", cluster.first_port + 1);
        let out = tool(&["add-node", &format!("127.0.0.1:{}", one.first_port), &entry]);
        assert!(out.contains("[OK] New node added correctly.") && !out.contains("Failed"), "{out}");
        let ports: Vec<u16> = cluster.ports().chain(one.ports()).collect();
        await_agreement(&ports);
        tool(&["del-node", &entry, &one.connect(0).text("CLUSTER MYID")]);
        cluster.await_agreement();
    }
}

#[test]
fn the_timeout_is_set_everywhere() {
    let ports = unused_ports(6);
    let file = |port: u16| std::env::temp_dir().join(format!("slotmesh-conform-{}-{port}.conf", std::process::id()));
    let start = |port: u16| {
        std::fs::write(file(port), "cluster-enabled yes\ncluster-node-timeout 4000\n").expect("a new file");
        let mut command = node_command();
        command.arg(file(port));
        let bus = (port + 3).to_string();
        Server::start_at(port, "slotmesh", command, &["--cores", "1", "--shards", "1", "--cluster-port", &bus])
    };
    let servers: Vec<Server> = (ports..ports + 3).map(start).collect();
    let addresses: Vec<String> = (ports..ports + 3).map(|port| format!("127.0.0.1:{port}")).collect();
    create(&addresses);
    let out = tool(&["set-timeout", &addresses[1], "2500"]);
    assert!(out.contains("3 OK, 0 ERR"), "{out}");
    for server in &servers {
        let reply = server.connect().say("CONFIG GET cluster-node-timeout");
        assert!(reply.ends_with(b"$4\r\n2500\r\n"));
        let text = std::fs::read_to_string(file(server.port())).expect("the file that it was started with");
        assert!(text.contains("cluster-node-timeout 2500"), "{text}");
        std::fs::remove_file(file(server.port())).expect("our file");
    }
}
