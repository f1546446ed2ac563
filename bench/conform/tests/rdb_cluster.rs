//! RDB files of the nodes of a cluster: one for each shard, and what a node does that comes back with its own.

use slotmesh_conform::{
    Cluster, Connection, Program, Server, await_condition, await_settled, field, follow_in_pairs, is_master, line_at,
    node_command, node_lines, show, unused_ports,
};
use std::fs;
use std::path::Path;
use std::process::Stdio;

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 30;
const OURS: Program = Program::Slotmesh(1);

fn connect(port: u16) -> Connection {
    Connection::tcp(("127.0.0.1", port)).expect("the node accepts")
}

fn await_loaded(port: u16) {
    await_condition("all is loaded", SECONDS_MAX, || {
        field(&connect(port).text("INFO persistence"), "loading").as_deref() == Some("0")
    });
}

#[test]
fn each_shard_has_its_file_and_takes_no_keys_of_others() {
    let mut server = Server::cluster(2, &["--save", ""]);
    let ports = [server.port(), server.port() + 1];
    // foo is of slot 12182, bar of 5061.
    assert_eq!(connect(ports[0]).say("SET bar 1"), b"+OK\r\n");
    assert_eq!(connect(ports[1]).say("SET foo 2"), b"+OK\r\n");
    for port in ports {
        assert_eq!(connect(port).say("SAVE"), b"+OK\r\n");
    }
    let files = ["dump.rdb", "dump-1.rdb"].map(|name| server.dir().join(name));
    server.signal("KILL");
    server.await_end();
    server.restart();
    ports.iter().for_each(|&port| await_loaded(port));
    await_settled(&ports, 2);
    assert_eq!(connect(ports[0]).say("GET bar"), b"$1\r\n1\r\n");
    assert_eq!(connect(ports[1]).say("GET foo"), b"$1\r\n2\r\n");
    server.signal("KILL");
    server.await_end();
    let dir = std::env::temp_dir().join(format!("slotmesh-foreign-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a folder of our own");
    fs::copy(server.dir().join("nodes.conf"), dir.join("nodes.conf")).expect("each node has its file");
    fs::copy(server.dir().join("nodes-1.conf"), dir.join("nodes-1.conf")).expect("each node has its file");
    fs::copy(&files[1], dir.join("dump.rdb")).expect("each node has saved");
    let port = unused_ports(4);
    let words = [port.to_string(), (port + 2).to_string()];
    let mut command = node_command();
    command.args(["--cluster-enabled", "yes", "--cores", "2", "--shards", "2", "--save", "", "--port", &words[0]]);
    command.args(["--cluster-port", &words[1], "--dir"]).arg(&dir).stdin(Stdio::null());
    let output = command.output().expect("the node starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("dump.rdb: Key 'foo' at offset "), "{text}");
    assert!(text.contains("is of slot 12182, which another node has"), "{text}");
    let _ = fs::remove_dir_all(dir);
}

#[test]
fn a_master_that_is_killed_and_comes_back_at_once_with_its_data_goes_on() {
    let args = ["--cluster-node-timeout", "15000"];
    let mut cluster = Cluster::start(&[OURS, OURS, OURS, OURS, OURS, OURS], &args);
    follow_in_pairs(&cluster, &[(0, 3), (1, 4), (2, 5)]);
    let ports: Vec<u16> = cluster.ports().collect();
    // bar is of slot 5061, the first master's.
    assert_eq!(connect(ports[0]).say("SET bar 1"), b"+OK\r\n");
    assert_eq!(connect(ports[0]).say("SAVE"), b"+OK\r\n");
    let before = line_at(ports[5], ports[0]);
    cluster.servers[0].signal("KILL");
    cluster.servers[0].await_end();
    cluster.servers[0].restart();
    await_settled(&ports, 3);
    let after = line_at(ports[5], ports[0]);
    assert!(is_master(ports[0]) && !is_master(ports[3]));
    assert_eq!((after.epoch, &after.slots), (before.epoch, &before.slots), "nobody was elected");
    assert_eq!(connect(ports[0]).say("GET bar"), b"$1\r\n1\r\n");
    let mut reader = connect(ports[3]);
    reader.say("READONLY");
    assert_eq!(show(&reader.say("GET bar")), show(b"$1\r\n1\r\n"), "its replica has it, too");
    // A replica that comes back with its file needs no image.
    assert_eq!(connect(ports[3]).say("SAVE"), b"+OK\r\n");
    let full = || field(&connect(ports[0]).text("INFO stats"), "sync_full");
    let images = full();
    cluster.servers[3].signal("KILL");
    cluster.servers[3].await_end();
    assert_eq!(connect(ports[0]).say("SET bar 2"), b"+OK\r\n");
    cluster.servers[3].restart();
    await_settled(&ports, 3);
    let mut reader = connect(ports[3]);
    reader.say("READONLY");
    await_condition("it has what came meanwhile", SECONDS_MAX, || reader.say("GET bar") == b"$1\r\n2\r\n");
    assert_eq!(full(), images, "no further image");
}

/// A node that is alone, in whose folder `prepare` has put something; full coverage is not asked for.
fn node_alone(program: &Program, args: &[&str], prepare: impl FnOnce(&Path)) -> Server {
    let port = unused_ports(2);
    let bus = (port + 1).to_string();
    let own = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus];
    let own = [&own[..], &["--cluster-require-full-coverage", "no"], args].concat();
    let server = match program {
        Program::Slotmesh(_) => {
            let own = [&own[..], &["--cores", "1", "--shards", "1"]].concat();
            Server::start_with(port, "slotmesh", program.command(), &own, prepare)
        }
        Program::Redis(_) => Server::start_with(port, "redis-server", program.command(), &own, prepare),
    };
    await_loaded(port);
    server
}

/// What a node has, says of its slots, and has told when it took them.
fn claimed(server: &Server) -> (String, Vec<Vec<u8>>, Vec<String>) {
    await_condition("its slots are served", SECONDS_MAX, || server.say("GET foo") == b"$1\r\n2\r\n");
    let lines = node_lines(&mut server.connect());
    let replies = ["DBSIZE", "GET bar", "CLUSTER COUNTKEYSINSLOT 12182", "GET other"].map(|line| server.say(line));
    let log = server.log();
    let told = log.lines().filter_map(|line| Some(line[line.find("I have keys for")?..].to_owned())).collect();
    assert_eq!(lines.len(), 1);
    (lines[0].slots.clone(), replies.to_vec(), told)
}

#[test]
fn a_node_takes_the_slots_of_its_keys_that_nobody_has() {
    let source = Program::Redis(None).alone(&["--appendonly", "yes", "--appendfsync", "always"]);
    // foo is of slot 12182, bar of 5061.
    assert_eq!(source.say("MSET bar 1 foo 2"), b"+OK\r\n");
    source.order("SAVE");
    for appends in ["no", "yes"] {
        let copy = |dir: &Path| {
            fs::copy(source.dir().join("dump.rdb"), dir.join("dump.rdb")).expect("it has saved");
            let folder = dir.join("appendonlydir");
            fs::create_dir_all(&folder).expect("a folder of our own");
            for entry in fs::read_dir(source.dir().join("appendonlydir")).expect("it appends").flatten() {
                fs::copy(entry.path(), folder.join(entry.file_name())).expect("a file");
            }
        };
        let args = ["--appendonly", appends];
        let [redis, mut ours] = [Program::Redis(None), OURS].map(|program| node_alone(&program, &args, copy));
        let expected = claimed(&redis);
        assert_eq!(expected.0, "5061 12182");
        assert_eq!(expected.2.len(), 2);
        assert_eq!(claimed(&ours), expected, "appendonly {appends}");
        // It remembers them.
        ours.signal("KILL");
        ours.restart();
        await_loaded(ours.port());
        assert_eq!(claimed(&ours), expected, "appendonly {appends}");
    }
}
