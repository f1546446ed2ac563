//! A cluster with something wrong in it: a shard that hangs, and rubbish on the port of the bus.

use slotmesh_conform::{Cluster, Connection, Program, await_condition, is_self_test, node_lines};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Longest wait until a node is marked, or clear again, in seconds.
const MARK_SECONDS_MAX: u64 = 60;

/// `cluster-node-timeout` is 3 s; the shard hangs for four times as long.
const HANG: &str = "DEBUG SLEEP 12";

/// A core that hangs is one node that fails: for its siblings as for strangers. The siblings go on.
#[test]
fn a_hung_shard_is_seen_by_siblings_and_strangers() {
    if is_self_test() {
        return;
    }
    let programs = [Program::Slotmesh(4), Program::Redis(None)];
    let cluster = Cluster::form(&programs, &["--enable-debug-command", "yes", "--cluster-require-full-coverage", "no"]);
    const HUNG: u16 = 2;
    let id = cluster.connect(HUNG).text("CLUSTER MYID");
    let mut sleeper = cluster.connect(HUNG);
    sleeper.send(format!("{HANG}\r\n").as_bytes());
    let marked = |from: u16| {
        let lines = node_lines(&mut cluster.connect(from));
        lines.iter().find(|line| line.id == id).is_some_and(|line| line.is("fail"))
    };
    let others = [0, 1, 3, 4];
    await_condition("siblings and strangers mark it", MARK_SECONDS_MAX, || others.iter().all(|&from| marked(from)));
    for from in others {
        let info = cluster.connect(from).text("CLUSTER INFO");
        assert!(info.contains("cluster_state:ok") && info.contains("cluster_size:5"), "{info}");
        let lines = node_lines(&mut cluster.connect(from));
        let failed = lines.iter().filter(|line| line.is("fail") || line.is("fail?")).count();
        assert_eq!(failed, 1, "{lines:#?}");
    }
    assert_eq!(sleeper.reply(), b"+OK\r\n");
    cluster.await_agreement();
}

/// Bytes that are no message close their link, are counted, and change nothing.
#[test]
fn rubbish_on_the_bus_closes_its_link() {
    let cluster = Cluster::form(&[Program::Slotmesh(1), Program::Slotmesh(1)], &[]);
    let before = node_lines(&mut cluster.connect(0));
    let bus = cluster.first_port + cluster.count;
    let mut header = b"RCmb".to_vec();
    header.extend(8u32.to_be_bytes());
    let pieces: [&[u8]; 4] = [b"GET / HTTP/1.1\r\n\r\n", &[0xff; 5000], &header, b"PING\r\nPING\r\n"];
    for (sent, bytes) in (1..).zip(pieces) {
        let mut socket = TcpStream::connect(("127.0.0.1", bus)).expect("the bus accepts");
        socket.set_read_timeout(Some(Duration::from_secs(30))).expect("a wait above zero");
        socket.write_all(bytes).expect("an open socket");
        let mut rest = Vec::new();
        // A reset is a close, too.
        let end = socket.read_to_end(&mut rest);
        assert!(end.is_ok() || end.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset));
        assert!(rest.is_empty(), "{rest:?}");
        if !is_self_test() {
            await_condition("it is counted", MARK_SECONDS_MAX, || garbled(&mut cluster.connect(0)) == sent);
        }
    }
    assert_eq!(node_lines(&mut cluster.connect(0)), before);
    cluster.await_agreement();
}

fn garbled(connection: &mut Connection) -> u64 {
    let info = connection.text("CLUSTER INFO");
    let line = info.lines().find_map(|line| line.strip_prefix("slotmesh_links_garbled:"));
    line.and_then(|count| count.parse().ok()).expect("a count of ours")
}
