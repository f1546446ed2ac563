//! nodes.conf: what a node knows after a restart, who may use the file, and whose files can be read.

use slotmesh_conform::{
    Cluster, Program, Server, await_condition, is_self_test, node_command, node_lines, unused_ports,
};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 30;

#[test]
fn a_restart_keeps_id_slots_and_epoch() {
    let mut cluster = Cluster::start(&[Program::Slotmesh(2)], &[]);
    cluster.share_slots();
    cluster.meet(0, 1);
    cluster.await_agreement();
    let before = node_lines(&mut cluster.connect(0));
    for signal in ["KILL", "TERM"] {
        cluster.servers[0].signal(signal);
        cluster.servers[0].restart();
        cluster.await_agreement();
        assert_eq!(node_lines(&mut cluster.connect(1)), before, "after {signal}");
    }
}

#[test]
fn a_replica_that_starts_again_goes_on_following() {
    let ours = Program::Slotmesh(1);
    let mut cluster = Cluster::start(&[ours.clone(), ours], &[]);
    let mut master = cluster.connect(0);
    assert_eq!(master.say("CLUSTER ADDSLOTSRANGE 0 16383"), b"+OK\r\n");
    cluster.meet(0, 1);
    let order = format!("CLUSTER REPLICATE {}", master.text("CLUSTER MYID"));
    await_condition("the replica knows the master", SECONDS_MAX, || cluster.connect(1).say(&order) == b"+OK\r\n");
    for signal in ["KILL", "TERM"] {
        cluster.servers[1].signal(signal);
        cluster.servers[1].restart();
        let server = &cluster.servers[1];
        await_condition("the link is up", SECONDS_MAX, || server.info("replication", "master_link_status") == "up");
    }
}

/// What a node that is to be refused says at once.
fn refused(dir: &Path, ports: u16) -> Output {
    let (port, bus) = (ports.to_string(), (ports + 1).to_string());
    let mut command = node_command();
    command.arg("--dir").arg(dir).args(["--port", &port, "--cluster-port", &bus, "--cluster-enabled", "yes"]);
    command.args(["--cores", "1", "--shards", "1"]).output().expect("the node is built")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_second_process_is_kept_out() {
    if is_self_test() {
        return;
    }
    let cluster = Cluster::start(&[Program::Slotmesh(1)], &[]);
    // Also after the file has been replaced.
    for _ in 0..2 {
        let output = refused(cluster.servers[0].dir(), unused_ports(2));
        let said = text(&output);
        assert!(
            !output.status.success() && said.contains("is already used by a different Redis Cluster node"),
            "{said}"
        );
        assert_eq!(cluster.connect(0).say("CLUSTER SAVECONFIG"), b"+OK\r\n");
    }
}

/// A directory of a test, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("slotmesh-conform-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("the directory for temporary files can be written to");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_corrupt_file_is_refused_with_its_line() {
    if is_self_test() {
        return;
    }
    let folder = Folder::new("corrupt");
    let name = "0123456789012345678901234567890123456789";
    let good = format!("{name} 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-100\n");
    for (spoilt, line) in [
        (format!("{good}vars currentEpoch nonsense lastVoteEpoch 0\n"), 2),
        (good.replace("myself,master", "myself,master,pretty"), 1),
        (good.replace("0-100", "0-99999"), 1),
        (format!("{good}short line\n"), 2),
        (format!("{good}{good}"), 2),
        (good.replace(name, "nobody"), 1),
    ] {
        fs::write(folder.0.join("nodes.conf"), &spoilt).expect("our folder");
        let output = refused(&folder.0, unused_ports(2));
        let said = text(&output);
        assert!(!output.status.success() && said.contains("nodes.conf"), "{spoilt}: {said}");
        assert!(said.contains(&format!("line {line}")), "{spoilt}: {said}");
        assert_eq!(fs::read_to_string(folder.0.join("nodes.conf")).expect("it stays"), spoilt);
    }
}

/// Lets one kind of server write a file and another live by it: same node, same slots, same epoch, same neighbours.
fn hand_over(writer: &Program, heir: Command, name: &'static str, args: &[&str]) {
    let mut cluster = Cluster::start(&[writer.clone(), writer.clone()], &[]);
    cluster.share_slots();
    cluster.meet(0, 1);
    cluster.await_agreement();
    assert_eq!(cluster.connect(0).say("CLUSTER DELSLOTS 5 7"), b"+OK\r\n");
    let before = node_lines(&mut cluster.connect(0));
    let id = cluster.connect(0).text("CLUSTER MYID");
    for server in &mut cluster.servers {
        server.signal("TERM");
        server.await_end();
    }
    let written = fs::read(cluster.servers[0].dir().join("nodes.conf")).expect("a node has its file");
    let port = unused_ports(2);
    let bus = (port + 1).to_string();
    let own = ["--cluster-enabled", "yes", "--cluster-port", &bus];
    let server = Server::start_with(port, name, heir, &[&own, args].concat(), |dir| {
        fs::write(dir.join("nodes.conf"), &written).expect("a new directory takes a file");
    });
    let mut connection = server.connect();
    assert_eq!(connection.text("CLUSTER MYID"), id);
    let after = node_lines(&mut connection);
    let facts = |lines: &[slotmesh_conform::NodeLine]| -> Vec<(String, u64, String)> {
        lines.iter().map(|line| (line.id.clone(), line.epoch, line.slots.clone())).collect()
    };
    assert_eq!(facts(&after), facts(&before));
}

#[test]
fn files_of_redis_are_read() {
    let ours = || node_command();
    let shards = ["--cores", "1", "--shards", "1"];
    let shards = if is_self_test() { &shards[..0] } else { &shards };
    for peer in Program::peers() {
        eprintln!("a file of {peer:?}");
        hand_over(&peer, ours(), "slotmesh", shards);
    }
}

#[test]
fn redis_reads_our_files() {
    if is_self_test() {
        return;
    }
    for peer in Program::peers() {
        eprintln!("a file for {peer:?}");
        hand_over(&Program::Slotmesh(1), peer.command(), "redis-server", &["--save", ""]);
    }
}
