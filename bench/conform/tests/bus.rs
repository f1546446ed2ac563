//! The cluster bus between processes: nodes of ours with each other and with redis-server, what they remember, and what
//! strangers on their ports can do.

use slotmesh_conform::{Connection, Server, await_condition, is_self_test, node_command, unused_port, unused_ports};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest wait for nodes to agree, in seconds: the machines that run this are slow at times.
const AGREE_SECONDS: u64 = 60;
/// `cluster-node-timeout` where a node is to be found dead, in ms.
const SHORT_TIMEOUT: &str = "2000";
/// Where nobody is to be, however busy the machine is.
const LONG_TIMEOUT: &str = "30000";

/// A process of ours whose nodes know nobody: their ports lie in a row, those of their buses behind them.
fn ours_at(port: u16, shards: u16, timeout: &str, args: &[&str]) -> Server {
    let (count, bus) = (shards.to_string(), (port + shards).to_string());
    let own = ["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", timeout];
    // In a cluster of redis-server nodes there is one core and one shard.
    let own = [&own[..], &["--save", "", "--cores", &count, "--shards", &count]].concat();
    Server::start_at(port, "slotmesh", node_command(), &[&own, args].concat())
}

fn ours(shards: u16, timeout: &str, args: &[&str]) -> Server {
    ours_at(unused_ports(2 * shards), shards, timeout, args)
}

/// A node of redis-server that knows nobody, its bus at the next port.
fn theirs_at(port: u16, timeout: &str) -> Server {
    let program = std::env::var_os("SLOTMESH_ORACLE").unwrap_or_else(|| "redis-server".into());
    let bus = (port + 1).to_string();
    let args = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", timeout];
    Server::start_at(port, "redis-server", Command::new(program), &args)
}

fn at(port: u16) -> Connection {
    Connection::tcp(("127.0.0.1", port)).expect("the node accepts")
}

fn order(port: u16, line: &str) {
    assert_eq!(String::from_utf8_lossy(&at(port).say(line)), "+OK\r\n", "{line} at {port}");
}

/// Has the node at `port` meet the one at `other`, whose bus is so far behind.
fn meet(port: u16, other: u16, distance: u16) {
    order(port, &format!("CLUSTER MEET 127.0.0.1 {other} {}", other + distance));
}

/// Gives the nodes at these ports their even shares of the slots.
fn share_slots(ports: &[u16]) {
    let count = ports.len();
    for (index, &port) in ports.iter().enumerate() {
        let (from, to) = (index * 16384 / count, (index + 1) * 16384 / count - 1);
        order(port, &format!("CLUSTER ADDSLOTSRANGE {from} {to}"));
        order(port, &format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1));
    }
}

/// A line of CLUSTER NODES by its words, by the node's name.
fn nodes(port: u16) -> BTreeMap<String, Vec<String>> {
    let text = at(port).text("CLUSTER NODES");
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    text.lines().map(words).map(|line| (line[0].clone(), line)).collect()
}

fn my_id(port: u16) -> String {
    at(port).text("CLUSTER MYID")
}

/// The flags by which the node at `port` knows the one of this name.
fn flags(port: u16, id: &str) -> String {
    nodes(port).get(id).map_or_else(String::new, |line| line[2].replace("myself,", ""))
}

/// What all are to agree about: names, addresses, flags, epochs, slots.
fn view(port: u16) -> BTreeSet<String> {
    let line = |line: &Vec<String>| {
        let flags = line[2].replace("myself,", "");
        format!("{} {} {flags} {} {} {}", line[0], line[1], line[3], line[6], line[8..].join(" "))
    };
    nodes(port).values().map(line).collect()
}

fn await_agreement(ports: &[u16]) {
    await_condition("all nodes see all as connected, and the cluster as whole", AGREE_SECONDS, || {
        ports.iter().all(|&port| {
            let nodes = nodes(port);
            nodes.len() == ports.len()
                && nodes.values().all(|line| line[7] == "connected")
                && at(port).text("CLUSTER INFO").contains("cluster_state:ok")
        }) && ports.iter().map(|&port| view(port)).collect::<BTreeSet<_>>().len() == 1
    });
}

/// A number of CLUSTER INFO.
fn number(port: u16, field: &str) -> u64 {
    let text = at(port).text("CLUSTER INFO");
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{field} in {text}"))
}

/// The TCP connections of a process: the ports of their ends, ours first.
fn connections_of(pid: u32) -> Vec<(u16, u16)> {
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("the process lives");
    let target = |fd: fs::DirEntry| fs::read_link(fd.path()).ok()?.to_str().map(str::to_owned);
    let sockets: BTreeSet<String> = fds.flatten().filter_map(target).collect();
    let table = fs::read_to_string("/proc/net/tcp").expect("the system tells its connections");
    let port = |address: &str| u16::from_str_radix(address.rsplit(':').next().expect("a port"), 16).expect("in hex");
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_ours = words[3] == "01" && sockets.contains(&format!("socket:[{}]", words[9]));
        is_ours.then(|| (port(words[1]), port(words[2])))
    };
    table.lines().skip(1).filter_map(line).collect()
}

#[test]
fn processes_of_several_shards_form_a_cluster_and_siblings_need_no_connection() {
    if is_self_test() {
        return;
    }
    let processes: Vec<Server> = (0..3).map(|_| ours(4, LONG_TIMEOUT, &[])).collect();
    let ports: Vec<u16> = processes.iter().flat_map(|process| process.port()..process.port() + 4).collect();
    share_slots(&ports);
    for &port in &ports[1..] {
        meet(port, ports[0], 4);
    }
    await_agreement(&ports);
    for process in &processes {
        let buses = process.port() + 4..process.port() + 8;
        await_condition("siblings have left TCP", AGREE_SECONDS, || {
            let connections = connections_of(process.pid());
            let is_own = |&&(near, far): &&(u16, u16)| {
                let has_bus = buses.contains(&near) || buses.contains(&far);
                has_bus && connections.contains(&(far, near))
            };
            // Each shard has two links with each of the eight nodes of the others.
            let others = connections.iter().filter(|(near, far)| {
                ports.iter().any(|port| [*near, *far].contains(&(port + 4))) && !connections.contains(&(*far, *near))
            });
            connections.iter().find(is_own).is_none() && others.count() == 4 * 8 * 2
        });
    }
    // Everything is on disk, under a name of each shard's own.
    for name in ["nodes.conf", "nodes-1.conf", "nodes-2.conf", "nodes-3.conf"] {
        let text = fs::read_to_string(processes[0].dir().join(name)).expect("each shard has its file");
        assert_eq!(text.lines().filter(|line| line.contains("master")).count(), 12, "{text}");
    }
}

#[test]
fn nodes_share_a_cluster_with_redis_server() {
    if is_self_test() {
        return;
    }
    let first = ours(2, SHORT_TIMEOUT, &[]);
    let their_port = unused_ports(2);
    let their = theirs_at(their_port, SHORT_TIMEOUT);
    let second = ours(1, SHORT_TIMEOUT, &[]);
    let ports = [first.port(), first.port() + 1, their_port, second.port()];
    share_slots(&ports);
    // One that we ask to join, and one that asks us.
    meet(first.port(), their_port, 1);
    meet(their_port, second.port(), 1);
    meet(their_port, first.port() + 1, 2);
    await_agreement(&ports);
    let moved = String::from_utf8(at(their_port).say("GET bar")).expect("an error is text");
    assert_eq!(moved, format!("-MOVED 5061 127.0.0.1:{}\r\n", ports[1]));
    assert_eq!(
        String::from_utf8(at(ports[1]).say("GET hello")).expect("text"),
        format!("-MOVED 866 127.0.0.1:{}\r\n", ports[0])
    );

    // Theirs dies: ours find it dead, and let it come back.
    let id = my_id(their_port);
    their.signal("KILL");
    for port in [ports[0], ports[1], ports[3]] {
        await_condition("a dead node of redis-server is marked", AGREE_SECONDS, || flags(port, &id) == "master,fail");
    }
    assert_eq!(at(ports[0]).say("GET hello"), b"-CLUSTERDOWN The cluster is down\r\n");
    let _again = theirs_at(their_port, SHORT_TIMEOUT);
    await_agreement(&ports);
    assert_eq!(my_id(their_port), id);

    // And the other way round.
    let id = my_id(second.port());
    second.signal("KILL");
    await_condition("redis-server marks a dead node of ours", AGREE_SECONDS, || {
        flags(their_port, &id) == "master,fail"
    });
}

#[test]
fn a_node_remembers_over_a_crash() {
    if is_self_test() {
        return;
    }
    let (mut first, second) = (ours(2, LONG_TIMEOUT, &[]), ours(1, LONG_TIMEOUT, &[]));
    let ports = [first.port(), first.port() + 1, second.port()];
    share_slots(&ports);
    meet(ports[0], ports[1], 2);
    meet(ports[2], ports[0], 2);
    await_agreement(&ports);
    let known = view(ports[0]);
    // What an order has promised is on disk when the reply has come.
    let id = my_id(ports[0]);
    order(ports[0], "CLUSTER DELSLOTS 5");
    first.signal("KILL");
    first.await_end();
    let again = ours_at(first.port(), 2, LONG_TIMEOUT, &[]);
    assert_eq!(nodes(ports[0])[&id][8..], ["0-4", "6-5460"]);
    order(ports[0], "CLUSTER ADDSLOTS 5");
    await_agreement(&ports);
    assert_eq!(view(ports[0]), known);
    drop(again);
}

#[test]
fn nodes_conf_belongs_to_one_process_and_must_be_right() {
    if is_self_test() {
        return;
    }
    let node = ours(1, LONG_TIMEOUT, &[]);
    let refusal = |dir: &std::path::Path| {
        let mut command = node_command();
        let port = unused_ports(2);
        command.args(["--cluster-enabled", "yes", "--port", &port.to_string(), "--dir"]).arg(dir);
        command.args(["--cluster-port", &(port + 1).to_string()]);
        let output = command.stdin(Stdio::null()).output().expect("the binary can be run");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let text = refusal(node.dir());
    assert!(text.contains(&format!("{}/nodes.conf is already used", node.dir().display())), "{text}");
    let dir = node.dir().join("other");
    fs::create_dir_all(&dir).expect("a directory of ours");
    let good = fs::read_to_string(node.dir().join("nodes.conf")).expect("a new node saves at once");
    for bad in
        [format!("{good}nonsense\n"), good.replace("myself,", ""), good.replace(" connected", " connected 99999")]
    {
        fs::write(dir.join("nodes.conf"), &bad).expect("a directory of ours");
        let text = refusal(&dir);
        assert!(text.contains("nodes.conf") && text.lines().count() == 1, "{text}");
        if !bad.contains("myself") {
            continue;
        }
        assert!(text.contains("line "), "{text}");
    }
}

/// What a stranger sends until the link is closed; nothing if it stays open.
fn is_closed_by(port: u16, bytes: &[u8]) -> bool {
    let mut link = TcpStream::connect(("127.0.0.1", port)).expect("the bus accepts");
    link.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
    link.write_all(bytes).expect("what is short goes out");
    // A reset is an end, too.
    !matches!(link.read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[test]
fn a_stranger_on_the_bus_does_no_harm() {
    if is_self_test() {
        return;
    }
    let node = ours(1, LONG_TIMEOUT, &[]);
    share_slots(&[node.port()]);
    await_agreement(&[node.port()]);
    let bus = node.port() + 1;
    let frame = |signature: &[u8], length: u32| [signature, &length.to_be_bytes()].concat();
    for (times, bytes) in (1..).zip([
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        // No signature; shorter than a header; longer than a stranger may speak.
        frame(b"RCmc", 2300),
        frame(b"RCmb", 16),
        frame(b"RCmb", u32::MAX),
        frame(b"RCmb", 400 * 1024 * 1024),
    ]) {
        assert!(is_closed_by(bus, &bytes), "{bytes:?}");
        await_condition("the link is counted", 20, || number(node.port(), "slotmesh_links_garbled") == times);
    }
    // A whole message that is none: it is dropped and counted.
    let mut link = TcpStream::connect(("127.0.0.1", bus)).expect("the bus accepts");
    let mut message = vec![0; 2300];
    message[..8].copy_from_slice(&frame(b"RCmb", 2300));
    link.write_all(&message).expect("what is short goes out");
    await_condition("the message is counted", 20, || number(node.port(), "slotmesh_messages_dropped") == 1);
    assert_eq!(nodes(node.port()).len(), 1);
    assert_eq!(at(node.port()).say("SET key value"), b"+OK\r\n");
}

#[test]
fn a_shard_that_hangs_is_found_by_siblings_and_strangers() {
    if is_self_test() {
        return;
    }
    let first = ours(2, SHORT_TIMEOUT, &["--enable-debug-command", "yes"]);
    let second = ours(1, SHORT_TIMEOUT, &[]);
    let ports = [first.port(), first.port() + 1, second.port()];
    share_slots(&ports);
    meet(ports[0], ports[1], 2);
    meet(ports[2], ports[0], 2);
    await_agreement(&ports);
    let id = my_id(ports[1]);
    let mut hung = at(ports[1]);
    hung.set_read_timeout(Duration::from_secs(AGREE_SECONDS));
    hung.send(b"DEBUG SLEEP 12\r\n");
    for port in [ports[0], ports[2]] {
        await_condition("a hung shard is marked", 12, || flags(port, &id) == "master,fail");
    }
    assert_eq!(hung.reply(), b"+OK\r\n");
    await_agreement(&ports);
}

#[test]
fn what_is_published_is_heard_once_by_all_clients_of_all_processes() {
    if is_self_test() {
        return;
    }
    let gateways = [unused_port(), unused_port()];
    let processes: Vec<Server> = gateways
        .iter()
        .map(|gateway| ours(2, LONG_TIMEOUT, &["--gateway-port", &gateway.to_string(), "--cores", "3"]))
        .collect();
    let ports: Vec<u16> = processes.iter().flat_map(|process| [process.port(), process.port() + 1]).collect();
    share_slots(&ports);
    ports[1..].iter().for_each(|&port| meet(port, ports[0], 2));
    await_agreement(&ports);
    // Several at each gateway, that each core has some.
    let doors: Vec<u16> = ports.iter().copied().chain(gateways.iter().flat_map(|&gateway| [gateway; 6])).collect();
    let mut hearers: Vec<Connection> = doors.iter().map(|&port| at(port)).collect();
    for hearer in &mut hearers {
        assert!(hearer.say("SUBSCRIBE news").starts_with(b"*3\r\n$9\r\nsubscribe"));
    }
    let mut said = Vec::new();
    for (index, &port) in ports.iter().chain(&[gateways[0]; 6]).enumerate() {
        at(port).say(&format!("PUBLISH news n{index:02}"));
        said.push(format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$3\r\nn{index:02}\r\n").into_bytes());
    }
    at(ports[3]).say("PUBLISH news end");
    for hearer in &mut hearers {
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last: &Vec<u8>| !last.ends_with(b"end\r\n")) || heard.len() < said.len() + 1 {
            heard.push(hearer.reply());
            assert!(heard.len() <= said.len() + 1, "more than was said");
        }
        heard.retain(|message| !message.ends_with(b"end\r\n"));
        // Those of one speaker stay in order; two speakers know no order.
        heard.sort();
        assert_eq!(heard, said);
    }
}

#[test]
fn a_link_that_does_not_keep_up_is_closed() {
    if is_self_test() {
        return;
    }
    let (first, second) = (ours(1, LONG_TIMEOUT, &["--cluster-link-sendbuf-limit", "1mb"]), ours(1, LONG_TIMEOUT, &[]));
    let ports = [first.port(), second.port()];
    share_slots(&ports);
    meet(ports[0], ports[1], 1);
    await_agreement(&ports);
    second.signal("STOP");
    let mut speaker = first.connect();
    let message = "x".repeat(300_000);
    await_condition("the queue passes its limit", AGREE_SECONDS, || {
        speaker.ask(&["PUBLISH", "news", message.as_str()]);
        number(ports[0], "total_cluster_links_buffer_limit_exceeded") > 0
    });
    second.signal("CONT");
    await_agreement(&ports);
}

#[test]
fn a_slot_that_another_node_takes_leaves_with_its_keys_and_its_waiting_clients() {
    if is_self_test() {
        return;
    }
    let (first, second) = (ours(1, LONG_TIMEOUT, &[]), ours(1, LONG_TIMEOUT, &[]));
    let ports = [first.port(), second.port()];
    // The second one has the higher epoch, so that its word counts.
    share_slots(&ports);
    meet(ports[0], ports[1], 1);
    await_agreement(&ports);
    // bar lies in slot 5061, which is the first one's.
    assert_eq!(at(ports[0]).say("SET bar 1"), b"+OK\r\n");
    assert_eq!(at(ports[0]).say("SET other{hello} 1"), b"+OK\r\n");
    let mut waiting = at(ports[0]);
    waiting.set_read_timeout(Duration::from_secs(AGREE_SECONDS));
    waiting.send(b"BLPOP list{bar} 0\r\n");
    let mut staying = at(ports[0]);
    staying.send(b"BLPOP list{hello} 0\r\n");
    await_condition("both wait", 20, || at(ports[0]).text("INFO clients").contains("blocked_clients:2"));
    order(ports[1], &format!("CLUSTER SETSLOT 5061 NODE {}", my_id(ports[1])));
    assert_eq!(String::from_utf8_lossy(&waiting.reply()), format!("-MOVED 5061 127.0.0.1:{}\r\n", ports[1]));
    await_condition("the keys of the slot are gone", 20, || at(ports[0]).say("DBSIZE") == b":1\r\n");
    assert_eq!(at(ports[0]).say("RPUSH list{hello} v"), b":1\r\n");
    assert!(staying.reply().starts_with(b"*2\r\n"));
}

#[test]
fn clients_of_the_gateway_wait_on_where_a_slot_has_gone() {
    if is_self_test() {
        return;
    }
    let gateway = unused_port();
    let first = ours(2, LONG_TIMEOUT, &["--gateway-port", &gateway.to_string(), "--cores", "3"]);
    let second = ours(1, LONG_TIMEOUT, &[]);
    let ports = [first.port(), first.port() + 1, second.port()];
    share_slots(&ports);
    meet(ports[0], ports[1], 2);
    meet(ports[2], ports[0], 2);
    await_agreement(&ports);
    let await_waits = |count| {
        let expected = format!("blocked_clients:{count}");
        await_condition("all wait", 20, || at(gateway).text("INFO clients").contains(&expected));
    };
    // Slots 5061 (bar) and 3300 (b) are the first node's, 7365 (c) the second's. Several clients, that each core of the
    // gateway has some.
    let wait = |keys: &str| -> Vec<Connection> {
        let wait = |_| {
            let mut client = at(gateway);
            client.set_read_timeout(Duration::from_secs(AGREE_SECONDS));
            client.send(format!("BLPOP {keys} 0\r\n").as_bytes());
            client
        };
        (0..4).map(wait).collect()
    };
    let (one, several) = (wait("list{bar}"), wait("list{c} list{bar}"));
    let (local, local_several) = (wait("list{b}"), wait("list{c} list{b}"));
    let mut staying = wait("other{c} list{hello}");
    await_waits(20);
    // Another process takes one slot, and a sibling another one.
    order(ports[2], &format!("CLUSTER SETSLOT 5061 NODE {}", my_id(ports[2])));
    // Who waits for its keys alone waits on there; keys of two hosts nobody can wait for.
    for mut client in several {
        assert_eq!(
            String::from_utf8_lossy(&client.reply()),
            "-CROSSSLOT Keys in request don't hash to the same slot\r\n"
        );
        // It goes on.
        assert_eq!(client.say("PING"), b"+PONG\r\n");
    }
    await_waits(16);
    one.iter().for_each(|_| drop(at(gateway).say("RPUSH list{bar} v")));
    for mut client in one {
        assert_eq!(client.reply(), b"*2\r\n$9\r\nlist{bar}\r\n$1\r\nv\r\n");
    }
    order(ports[1], &format!("CLUSTER SETSLOT 3300 NODE {}", my_id(ports[1])));
    // Between our own cores all go on.
    let local: Vec<Connection> = local.into_iter().chain(local_several).collect();
    local.iter().for_each(|_| drop(at(gateway).say("RPUSH list{b} v")));
    for mut client in local {
        assert_eq!(client.reply(), b"*2\r\n$7\r\nlist{b}\r\n$1\r\nv\r\n");
    }
    await_waits(staying.len());
    // Who of them comes first nobody knows.
    staying.iter().for_each(|_| drop(at(gateway).say("RPUSH list{hello} v")));
    for client in &mut staying {
        assert_eq!(client.reply(), b"*2\r\n$11\r\nlist{hello}\r\n$1\r\nv\r\n");
    }
}

#[test]
fn nodes_meet_over_ipv6() {
    if is_self_test() || TcpListener::bind("[::1]:0").is_err() {
        return;
    }
    let args = ["--bind", "127.0.0.1 ::1"];
    let (first, second) = (ours(1, LONG_TIMEOUT, &args), ours(1, LONG_TIMEOUT, &args));
    let ports = [first.port(), second.port()];
    share_slots(&ports);
    order(ports[0], &format!("CLUSTER MEET ::1 {} {}", ports[1], ports[1] + 1));
    await_agreement(&ports);
    let lines = nodes(ports[0]);
    assert!(lines.values().all(|line| line[1].starts_with("::1:")), "{lines:?}");
}

/// The address from which a node dials the one that it is told to meet, which is this test.
fn dialled_from(node: &Server, source: &str) -> std::net::IpAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let bus = listener.local_addr().expect("a bound socket").port();
    assert_eq!(node.connect().ask(&["CONFIG", "SET", "bind-source-addr", source]), b"+OK\r\n");
    order(node.port(), &format!("CLUSTER MEET 127.0.0.1 {bus} {bus}"));
    let (mut link, from) = listener.accept().expect("the node dials");
    // It is a link that works.
    link.set_read_timeout(Some(Duration::from_secs(AGREE_SECONDS))).expect("a wait above zero");
    let mut signature = [0; 4];
    link.read_exact(&mut signature).expect("a MEET comes");
    assert_eq!(&signature, b"RCmb");
    from.ip()
}

#[test]
fn nodes_dial_from_the_address_that_they_are_given_if_it_can_be_had() {
    let node = ours(1, LONG_TIMEOUT, &[]);
    let elsewhere = "203.0.113.7";
    for (source, from) in
        [("127.0.0.77", "127.0.0.77"), (elsewhere, "127.0.0.1"), ("::1", "127.0.0.1"), ("", "127.0.0.1")]
    {
        assert_eq!(dialled_from(&node, source).to_string(), from, "{source:?}");
    }
}
