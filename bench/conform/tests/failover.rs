//! Clusters whose masters have replicas: they die, are told to step aside, pause, and come back; ours alone, and beside
//! redis-server and valkey-server.

use slotmesh_conform::{
    Cluster, Connection, NodeLine, Program, Server, await_condition, await_settled, cluster_tool as tool,
    follow_in_pairs, is_master, line_at, lines_at as lines, replicate, show, unused_ports,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const OURS: Program = Program::Slotmesh(1);
/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;
const NODE_TIMEOUT_MS: u64 = 2000;
const ARGS: &[&str] = &["--cluster-node-timeout", "2000", "--repl-diskless-sync-delay", "0"];

fn connect(port: u16) -> Connection {
    Connection::tcp(("127.0.0.1", port)).expect("the node accepts")
}

/// Masters in the first half of the nodes, and in the second a replica for each.
fn form(programs: &[Program], args: &[&str]) -> Cluster {
    let cluster = Cluster::start(programs, &[ARGS, args].concat());
    let masters = cluster.count / 2;
    let pairs: Vec<(u16, u16)> = (0..masters).map(|master| (master, master + masters)).collect();
    follow_in_pairs(&cluster, &pairs);
    cluster
}

/// A writer who follows redirects and counts what was acknowledged.
struct Writer {
    stops: Arc<AtomicBool>,
    acknowledged: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Writer {
    /// Increments `key`, beginning at the node at this port.
    fn begin(port: u16, key: &'static str) -> Self {
        let (stops, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (told, count) = (Arc::clone(&stops), Arc::clone(&acknowledged));
        let thread = std::thread::spawn(move || {
            let mut node = connect(port);
            while !told.load(Ordering::SeqCst) {
                let reply = show(&node.say(&format!("INCR {key}")));
                if reply.starts_with(':') {
                    count.fetch_add(1, Ordering::SeqCst);
                } else if reply.starts_with("-MOVED") {
                    let digits: String =
                        reply.rsplit(':').next().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
                    node = connect(digits.parse().expect("a port"));
                } else {
                    panic!("the writer is told {reply}");
                }
            }
        });
        let writer = Self { stops, acknowledged, thread };
        writer.await_more();
        writer
    }

    /// Waits until more was acknowledged.
    fn await_more(&self) {
        let before = self.acknowledged.load(Ordering::SeqCst);
        await_condition("writes are taken", SECONDS_MAX, || self.acknowledged.load(Ordering::SeqCst) > before + 20);
    }

    fn end(self) -> u64 {
        self.stops.store(true, Ordering::SeqCst);
        self.thread.join().expect("the writer is served all the time");
        self.acknowledged.load(Ordering::SeqCst)
    }
}

/// A plain manual failover at the replica, while somebody writes a key of its slots: nothing that was acknowledged is lost.
fn hand_over(ports: &[u16], masters: usize, from: u16, to: u16, key: &'static str) {
    let before: u64 = number(&connect(from).say(&format!("GET {key}")));
    let writer = Writer::begin(from, key);
    assert_eq!(connect(to).say("CLUSTER FAILOVER"), b"+OK\r\n");
    await_condition("the replica leads", SECONDS_MAX, || is_master(to) && !is_master(from));
    writer.await_more();
    let acknowledged = writer.end();
    await_settled(ports, masters);
    assert_eq!(number(&connect(to).say(&format!("GET {key}"))), before + acknowledged, "{from} to {to}");
}

fn number(reply: &[u8]) -> u64 {
    let text = show(reply);
    let digits = text.trim_end_matches("\\r\\n").rsplit("\\r\\n").next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

/// A name that hashes to the slots of each third of the map.
const KEYS: [&str; 3] = ["{b}1", "{c}1", "{a}1"];

// ---- The whole walk with the tool.

/// Six processes and `redis-cli` take the whole walk.
fn walk(host: &str) {
    let mut cluster = Cluster::start(&[OURS, OURS, OURS, OURS, OURS, OURS], ARGS);
    let ports: Vec<u16> = cluster.ports().collect();
    let addresses: Vec<String> = ports.iter().map(|port| format!("{host}:{port}")).collect();
    let words: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let out = tool(&[&["create"], &words[..], &["--cluster-replicas", "1", "--cluster-yes"]].concat());
    assert!(out.contains("[OK] All 16384 slots covered."), "{out}");
    await_settled(&ports, 3);
    let (owner, replica) = read_at_the_replica(ports[0]);
    let bystander = *ports.iter().find(|&&port| port != owner && port != replica).expect("there are six");
    die_and_come_back(&mut cluster, &ports, owner, replica, bystander);
    add_and_remove(host, &ports, bystander);
}

/// The owner of the key `foo`, and its replica, which serves it to those who said READONLY.
fn read_at_the_replica(entry: u16) -> (u16, u16) {
    let view = lines(entry);
    let owns = |line: &&NodeLine| {
        line.slots.split('-').next().and_then(|start| start.parse().ok()).is_some_and(|start: u16| start <= 12182)
    };
    let start = |line: &&NodeLine| line.slots.split('-').next().and_then(|start| start.parse::<u16>().ok());
    let owner = view.iter().filter(owns).max_by_key(start).expect("all slots are served");
    let replica = view.iter().find(|line| line.master == owner.id).expect("each has a replica");
    let other = view.iter().find(|line| !line.slots.is_empty() && line.id != owner.id).expect("there are three");
    let address = owner.address.split('@').next().expect("an address");
    let moved = format!("-MOVED 12182 {address}\\r\\n");
    assert_eq!(show(&connect(other.port()).say("SET foo bar")), moved);
    assert_eq!(connect(owner.port()).say("SET foo bar"), b"+OK\r\n");
    let mut reader = connect(replica.port());
    assert_eq!(show(&reader.say("GET foo")), moved);
    assert_eq!(reader.say("READONLY"), b"+OK\r\n");
    await_condition("the replica serves it", SECONDS_MAX, || reader.say("GET foo") == b"$3\r\nbar\r\n");
    assert_eq!(show(&reader.say("SET foo bar")), moved);
    assert_eq!(reader.say("READWRITE"), b"+OK\r\n");
    assert_eq!(show(&reader.say("GET foo")), moved);
    (owner.port(), replica.port())
}

/// Kills the owner; its replica takes its place; the owner comes back as a replica.
fn die_and_come_back(cluster: &mut Cluster, ports: &[u16], owner: u16, replica: u16, bystander: u16) {
    let index = usize::from(owner - cluster.first_port);
    cluster.servers[index].signal("KILL");
    cluster.servers[index].await_end();
    await_condition("the replica takes writes", SECONDS_MAX, || connect(replica).say("SET foo new") == b"+OK\r\n");
    let log = cluster.servers[usize::from(replica - cluster.first_port)].log();
    for text in ["election delayed for", "rank #0", "Starting a failover election for epoch", "Failover election won"] {
        assert!(log.contains(text), "'{text}' in {log}");
    }
    let voted = |server: &Server| server.log().contains("Failover auth granted to");
    assert!(cluster.servers.iter().filter(|server| voted(server)).count() >= 2, "votes stand in the logs");
    for &port in ports.iter().filter(|&&port| port != owner) {
        await_condition("all show who has died", SECONDS_MAX, || {
            line_at(port, owner).flags == ["master", "fail"] && !line_at(port, replica).slots.is_empty()
        });
    }
    cluster.servers[index].restart();
    await_settled(ports, 3);
    assert_eq!(line_at(bystander, owner).master, line_at(bystander, replica).id);
    let mut reader = connect(owner);
    reader.say("READONLY");
    assert_eq!(reader.say("GET foo"), b"$3\r\nnew\r\n");
}

/// Nodes are added as a master and as replicas, and removed.
fn add_and_remove(host: &str, ports: &[u16], entry_port: u16) {
    let (first, entry) = (unused_ports(6), format!("{host}:{entry_port}"));
    let start = |port: u16| {
        let bus = (port + 3).to_string();
        let args = ["--cluster-enabled", "yes", "--cores", "1", "--shards", "1", "--cluster-port", &bus];
        Server::start_at(port, "slotmesh", OURS.command(), &[&args[..], ARGS].concat())
    };
    let new: Vec<Server> = (first..first + 3).map(start).collect();
    let mut all = ports.to_vec();
    let target = lines(entry_port).into_iter().find(|line| !line.slots.is_empty()).expect("there are masters").id;
    let ways = [&[][..], &["--cluster-slave"], &["--cluster-slave", "--cluster-master-id", &target]];
    for (server, way) in new.iter().zip(ways) {
        let out = tool(&[&["add-node", &format!("{host}:{}", server.port()), &entry][..], way].concat());
        assert!(out.contains("[OK] New node added correctly."), "{out}");
        all.push(server.port());
        await_settled(&all, 3);
    }
    assert!(is_master(first) && !is_master(first + 1) && !is_master(first + 2));
    // The tool chooses who has the fewest replicas: the new master.
    assert_eq!(line_at(entry_port, first + 1).master, connect(first).text("CLUSTER MYID"));
    assert_eq!(line_at(entry_port, first + 2).master, target);
    for server in new.iter().rev() {
        tool(&["del-node", &entry, &server.connect().text("CLUSTER MYID")]);
        all.pop();
        await_settled(&all, 3);
        assert_eq!(lines(server.port()).len(), 1);
    }
    let out = tool(&["check", &entry]);
    assert!(out.contains("[OK] All 16384 slots covered.") && !out.contains("[WARNING]"), "{out}");
}

#[test]
fn the_whole_walk() {
    walk("127.0.0.1");
}

#[test]
fn the_whole_walk_by_name() {
    walk("localhost");
}

#[test]
fn the_whole_walk_by_ipv6() {
    walk("::1");
}

/// Three processes of four shards: two masters each, whose replicas are on the other two; one process dies.
#[test]
fn processes_of_several_shards_outlive_one_of_them() {
    let programs = [Program::Slotmesh(4), Program::Slotmesh(4), Program::Slotmesh(4)];
    let mut cluster = Cluster::start(&programs, ARGS);
    follow_in_pairs(&cluster, &[(0, 6), (1, 10), (4, 2), (5, 11), (8, 3), (9, 7)]);
    let ports: Vec<u16> = cluster.ports().collect();
    let at = |index: u16| cluster.first_port + index;
    let heirs = [at(6), at(10)];
    cluster.servers[0].signal("KILL");
    cluster.servers[0].await_end();
    await_condition("all its masters are replaced", SECONDS_MAX, || heirs.iter().all(|&heir| is_master(heir)));
    for &port in &ports[4..] {
        await_condition("all slots are served", SECONDS_MAX, || {
            let view = lines(port);
            connect(port).text("CLUSTER INFO").starts_with("cluster_state:ok")
                && (0..2).all(|dead| view.iter().any(|line| line.port() == ports[dead] && line.is("fail")))
        });
    }
    cluster.servers[0].restart();
    await_settled(&ports, 6);
    for (old, heir) in [(0, heirs[0]), (1, heirs[1])] {
        assert_eq!(line_at(ports[4], ports[old]).master, line_at(ports[4], heir).id);
    }
    let out = tool(&["check", &format!("127.0.0.1:{}", ports[5])]);
    assert!(out.contains("[OK] All 16384 slots covered."), "{out}");
}

// ---- Orders of the operator.

/// One cluster of ours: handing over, by consent and without; pauses and restarts that are no deaths.
#[test]
fn orders_are_obeyed_and_pauses_are_no_deaths() {
    let mut cluster = form(&[OURS, OURS, OURS, OURS, OURS, OURS], &[]);
    let ports: Vec<u16> = cluster.ports().collect();
    let refused = [
        (0, "CLUSTER FAILOVER", "-ERR You should send CLUSTER FAILOVER to a replica\\r\\n"),
        (3, "CLUSTER FAILOVER SOON", "-ERR syntax error\\r\\n"),
        (
            3,
            "CLUSTER REPLICATE 0123456789012345678901234567890123456789",
            "-ERR Unknown node 0123456789012345678901234567890123456789\\r\\n",
        ),
        (3, "CLUSTER ADDSLOTS 1", "-ERR Slot 1 is already busy\\r\\n"),
    ];
    for (index, line, text) in refused {
        assert_eq!(show(&cluster.connect(index).say(line)), text, "{line}");
    }
    hand_over(&ports, 3, ports[0], ports[3], KEYS[0]);
    hand_over(&ports, 3, ports[3], ports[0], KEYS[0]);
    for how in ["FORCE", "TAKEOVER"] {
        let (from, to) = if how == "FORCE" { (ports[1], ports[4]) } else { (ports[4], ports[1]) };
        let epoch = line_at(to, from).epoch;
        assert_eq!(connect(to).say(&format!("CLUSTER FAILOVER {how}")), b"+OK\r\n");
        await_condition("it leads", SECONDS_MAX, || is_master(to) && !is_master(from));
        await_settled(&ports, 3);
        assert!(line_at(to, to).epoch > epoch, "{how}");
    }
    pauses(&mut cluster, &ports);
}

/// A process that is told to stop hands its slots over before: nobody who writes waits for a failure to be noticed, and
/// nothing is lost. A master that is killed and comes back at once, without data, is no reason for its replica to lose
/// them. When nobody has them any more the cluster begins without.
#[test]
fn who_stops_hands_over_and_who_forgot_is_not_followed() {
    let mut cluster = form(&[OURS, OURS, OURS, OURS, OURS, OURS], &["--cluster-node-timeout", "15000"]);
    let ports: Vec<u16> = cluster.ports().collect();
    let key = KEYS[0];
    for value in 1..=50 {
        assert_eq!(show(&connect(ports[0]).say(&format!("INCR {key}"))), format!(":{value}\\r\\n"));
    }
    let began = Instant::now();
    cluster.servers[0].signal("TERM");
    cluster.servers[0].await_end();
    await_condition("the replica leads", SECONDS_MAX, || is_master(ports[3]));
    // Long before anybody could have missed it.
    assert!(began.elapsed() < Duration::from_secs(7), "{:?}", began.elapsed());
    assert!(cluster.servers[0].log().contains("is asked to take over before we stop"));
    assert_eq!(connect(ports[3]).say(&format!("INCR {key}")), b":51\r\n");
    cluster.servers[0].restart();
    await_settled(&ports, 3);
    // Killed, and back before anybody else knows.
    cluster.servers[3].signal("KILL");
    cluster.servers[3].await_end();
    cluster.servers[3].restart();
    await_settled(&ports, 3);
    assert!(cluster.servers[3].log().contains("comes back without data"));
    assert!(is_master(ports[0]) && !is_master(ports[3]));
    assert_eq!(connect(ports[0]).say(&format!("INCR {key}")), b":52\r\n");
    // All of them at once.
    cluster.servers.iter().for_each(|server| server.signal("KILL"));
    for server in &mut cluster.servers {
        server.await_end();
        server.restart();
    }
    await_settled(&ports, 3);
    assert_eq!(connect(ports[0]).say(&format!("INCR {key}")), b":1\r\n");
}

/// A process dies and comes back at its address without nodes.conf and data: as another node.
fn wipe(server: &mut Server) {
    server.signal("KILL");
    server.await_end();
    std::fs::remove_file(server.dir().join("nodes.conf")).expect("a node has its file");
    server.restart();
}

/// Whoever lives at the address of a master that has lost its name is not the master: the replica keeps its data and takes
/// over, whichever of the two is ours.
#[test]
fn a_master_that_has_lost_its_name_is_replaced_and_not_copied() {
    let redis = || Program::Redis(None);
    // Without our own way to find a death: it takes the node timeout, in which the replica comes to the new node.
    let mut cluster = form(&[redis(), OURS, OURS, OURS, redis(), OURS], &[]);
    let (ports, count): (Vec<u16>, u64) = (cluster.ports().collect(), 50);
    for index in [1, 2, 3, 5] {
        cluster.connect(index).say("CONFIG SET cluster-crash-detect-ms 0");
    }
    for (master, heir, key) in [(0, 3, KEYS[0]), (1, 4, KEYS[1])] {
        (1..=count).for_each(|_| _ = connect(ports[master]).say(&format!("INCR {key}")));
        await_condition("the replica has it all", SECONDS_MAX, || {
            let mut reader = connect(ports[heir]);
            reader.say("READONLY");
            number(&reader.say(&format!("GET {key}"))) == count
        });
        wipe(&mut cluster.servers[master]);
        await_condition("the replica leads", SECONDS_MAX, || is_master(ports[heir]));
        await_condition("it serves", SECONDS_MAX, || {
            connect(ports[heir]).text("CLUSTER INFO").starts_with("cluster_state:ok")
        });
        assert_eq!(show(&connect(ports[heir]).say(&format!("INCR {key}"))), format!(":{}\\r\\n", count + 1));
        assert_eq!(lines(ports[master]).len(), 1, "a new node, which knows nobody");
    }
    assert!(cluster.servers[3].log().contains("its data do not replace ours"), "it was offered others' data");
}

/// What is no death: a pause shorter than the timeout, and the restart of a master who has nobody to take its place.
fn pauses(cluster: &mut Cluster, ports: &[u16]) {
    let before = lines(ports[5]);
    cluster.servers[0].pause();
    let end = Instant::now() + Duration::from_millis(NODE_TIMEOUT_MS / 2);
    await_condition("half of the timeout is over", SECONDS_MAX, || {
        assert_eq!(lines(ports[5]).len(), 6, "the others serve meanwhile");
        Instant::now() >= end
    });
    cluster.servers[0].signal("CONT");
    await_settled(ports, 3);
    assert_eq!(lines(ports[5]), before, "a pause is no death");
    // Its replica goes to another master: nobody can take its place.
    for replica in [3, 4] {
        assert_eq!(cluster.connect(replica).say("CONFIG SET cluster-allow-replica-migration no"), b"+OK\r\n");
    }
    replicate(ports[3], ports[1]);
    await_condition("all know that it has none", SECONDS_MAX, || {
        ports.iter().all(|&port| line_at(port, ports[3]).master == line_at(port, ports[1]).id)
    });
    await_settled(ports, 3);
    let before = lines(ports[5]);
    cluster.servers[0].signal("TERM");
    cluster.servers[0].restart();
    await_settled(ports, 3);
    assert_eq!(lines(ports[5]), before, "who has no replica stays what it is");
    let moved = moves(cluster, ports);
    // None of this was a death in the eyes of anybody.
    for server in &cluster.servers[1..] {
        let log = server.log();
        let about = |line: &&str| line.contains("FAIL message received") || line.contains("as failing");
        assert_eq!(log.lines().find(about), None, "port {}", server.port());
    }
    falls_silent(cluster, ports, moved.port());
}

/// A master without a replica comes back at another address, with what it remembers.
fn moves(cluster: &mut Cluster, ports: &[u16]) -> Server {
    let before = lines(ports[5]);
    let memory = std::fs::read(cluster.servers[0].dir().join("nodes.conf")).expect("a node has its file");
    cluster.servers[0].signal("TERM");
    cluster.servers[0].await_end();
    let port = unused_ports(2);
    let bus = (port + 1).to_string();
    let args = ["--cluster-enabled", "yes", "--cores", "1", "--shards", "1", "--cluster-port", &bus];
    let prepare = |dir: &std::path::Path| std::fs::write(dir.join("nodes.conf"), &memory).expect("a new file");
    let moved = Server::start_with(port, "slotmesh", OURS.command(), &[&args[..], ARGS].concat(), prepare);
    let now: Vec<u16> = std::iter::once(port).chain(ports[1..].iter().copied()).collect();
    await_settled(&now, 3);
    let unplaced = |view: Vec<NodeLine>| -> Vec<NodeLine> {
        view.into_iter().map(|line| NodeLine { address: String::new(), ..line }).collect()
    };
    assert_eq!(unplaced(lines(ports[5])), unplaced(before), "only its address is another one");
    moved
}

/// `cluster-node-timeout`: a master that is silent is replaced after it, and not before; when it speaks again, it follows.
fn falls_silent(cluster: &Cluster, ports: &[u16], moved: u16) {
    let set = |millis: u64| {
        for &port in ports[1..].iter().chain([&moved]).filter(|&&port| port != ports[2]) {
            assert_eq!(connect(port).say(&format!("CONFIG SET cluster-node-timeout {millis}")), b"+OK\r\n");
        }
    };
    let (master, heir) = (ports[2], ports[5]);
    assert!(!is_master(heir));
    set(30 * NODE_TIMEOUT_MS);
    cluster.servers[2].pause();
    stays_for(3 * NODE_TIMEOUT_MS / 2, "time is not up", || !is_master(heir));
    set(NODE_TIMEOUT_MS);
    await_condition("its replica takes its place", SECONDS_MAX, || is_master(heir));
    cluster.servers[2].signal("CONT");
    await_condition("it follows", SECONDS_MAX, || !is_master(master));
    let now: Vec<u16> = std::iter::once(moved).chain(ports[1..].iter().copied()).collect();
    await_settled(&now, 3);
    assert_eq!(line_at(moved, master).master, line_at(moved, heir).id);
}

// ---- The directives.

/// `cluster-replica-no-failover` and `cluster-replica-validity-factor`, `cluster-require-full-coverage` and
/// `cluster-allow-reads-when-down`: each on both of its sides, in one cluster that loses a master.
#[test]
fn directives_say_who_takes_over_and_what_is_served() {
    let args = ["--repl-ping-replica-period", "1", "--cluster-replica-no-failover", "yes"];
    let mut cluster = form(&[OURS, OURS, OURS, OURS, OURS, OURS], &args);
    let ports: Vec<u16> = cluster.ports().collect();
    let at_owner = |line: &str| show(&connect(ports[1]).say(line));
    assert_eq!(at_owner(&format!("SET {} here", KEYS[1])), "+OK\\r\\n");
    cluster.servers[0].signal("KILL");
    cluster.servers[0].await_end();
    await_condition("the master is dead, the cluster down", SECONDS_MAX, || {
        ports[1..].iter().all(|&port| {
            line_at(port, ports[0]).is("fail") && connect(port).text("CLUSTER INFO").starts_with("cluster_state:fail")
        })
    });
    let get = format!("GET {}", KEYS[1]);
    let (down, here) = ("-CLUSTERDOWN The cluster is down\\r\\n", "$4\\r\\nhere\\r\\n");
    assert_eq!(at_owner(&get), down);
    let set = |port: u16, line: &str| assert_eq!(show(&connect(port).say(&format!("CONFIG SET {line}"))), "+OK\\r\\n");
    set(ports[1], "cluster-allow-reads-when-down yes");
    assert_eq!(at_owner(&get), here);
    assert_eq!(
        at_owner(&format!("SET {} x", KEYS[1])),
        "-CLUSTERDOWN The cluster is down and only accepts read commands\\r\\n"
    );
    set(ports[1], "cluster-allow-reads-when-down no");
    assert_eq!(at_owner(&get), down);
    set(ports[1], "cluster-require-full-coverage no");
    await_condition("what is there is served", SECONDS_MAX, || {
        at_owner(&format!("SET {} here", KEYS[1])) == "+OK\\r\\n"
    });
    let moved = format!("-MOVED 3300 127.0.0.1:{}\\r\\n", ports[0]);
    assert_eq!(at_owner(&format!("GET {}", KEYS[0])), moved, "its owner is dead, and owns it");
    set(ports[1], "cluster-require-full-coverage yes");
    await_condition("nothing is served", SECONDS_MAX, || at_owner(&get) == down);
    // The replica may not take over by itself, and then its data are too old.
    let heir = ports[3];
    assert!(!is_master(heir));
    let age = || {
        let info = connect(heir).text("INFO replication");
        slotmesh_conform::field(&info, "master_link_down_since_seconds").and_then(|age| age.parse::<u64>().ok())
    };
    // A timeout until it was held for dead, a timeout by the factor, and a period of PING.
    await_condition("its data are old", SECONDS_MAX, || age().is_some_and(|age| age > 2 * NODE_TIMEOUT_MS / 1000 + 1));
    set(heir, "cluster-replica-validity-factor 1");
    set(heir, "cluster-replica-no-failover no");
    let log = || cluster.servers[3].log();
    await_condition("its data are too old", SECONDS_MAX, || {
        log().contains("Disconnected from master for longer than allowed")
    });
    assert!(!is_master(heir));
    set(heir, "cluster-replica-validity-factor 0");
    await_condition("data of any age will do", SECONDS_MAX, || is_master(heir));
    await_condition("all is served", SECONDS_MAX, || at_owner(&get) == here);
    assert_eq!(cluster.connect(3).text("CLUSTER MYID"), line_at(ports[1], heir).id);
}

/// `cluster-allow-replica-migration` and `cluster-migration-barrier`: a spare replica goes to a master that has lost its
/// own, if it may, and if its master keeps enough.
#[test]
fn spare_replicas_go_where_they_are_needed() {
    let cluster = Cluster::start(&[OURS, OURS, OURS, OURS, OURS, OURS, OURS], ARGS);
    let ports: Vec<u16> = cluster.ports().collect();
    follow_in_pairs_with_spare(&cluster);
    for &port in &ports {
        assert_eq!(connect(port).say("CONFIG SET cluster-allow-replica-migration no"), b"+OK\r\n");
    }
    cluster.servers[3].signal("KILL");
    await_condition("its replica is dead", SECONDS_MAX, || {
        ports[4..].iter().all(|&port| line_at(port, ports[3]).is("fail"))
    });
    let spares = [ports[4], ports[6]];
    let goes = || spares.iter().any(|&spare| line_at(spare, spare).master == line_at(spare, ports[0]).id);
    stays_for(NODE_TIMEOUT_MS, "none may go", || !goes());
    for &port in &ports[4..] {
        assert_eq!(connect(port).say("CONFIG SET cluster-migration-barrier 2"), b"+OK\r\n");
        assert_eq!(connect(port).say("CONFIG SET cluster-allow-replica-migration yes"), b"+OK\r\n");
    }
    stays_for(NODE_TIMEOUT_MS, "their master would keep too few", || !goes());
    for &port in &ports[4..] {
        assert_eq!(connect(port).say("CONFIG SET cluster-migration-barrier 1"), b"+OK\r\n");
    }
    await_condition("one goes", SECONDS_MAX, goes);
    let left = spares.iter().filter(|&&spare| line_at(spare, spare).master == line_at(spare, ports[1]).id).count();
    assert_eq!(left, 1);
    let [dead, heir] = [ports[2], ports[5]];
    assert_eq!(connect(heir).say("CONFIG SET cluster-replica-no-failover yes"), b"+OK\r\n");
    cluster.servers[2].signal("KILL");
    await_condition("its master is dead", SECONDS_MAX, || line_at(heir, dead).is("fail"));
    let text = "-ERR Master is down or failed, please use CLUSTER FAILOVER FORCE\\r\\n";
    assert_eq!(show(&connect(heir).say("CLUSTER FAILOVER")), text);
    assert!(!is_master(heir), "it may not by itself");
    assert_eq!(connect(heir).say("CLUSTER FAILOVER FORCE"), b"+OK\r\n");
    await_condition("it leads when it is told to", SECONDS_MAX, || is_master(heir));
}

/// Three masters; the second has two replicas, the others one.
fn follow_in_pairs_with_spare(cluster: &Cluster) {
    let ports: Vec<u16> = cluster.ports().collect();
    for index in 0..3u16 {
        let start = |index: u16| u32::from(index) * 16384 / 3;
        let mut node = cluster.connect(index);
        assert_eq!(node.say(&format!("CLUSTER ADDSLOTSRANGE {} {}", start(index), start(index + 1) - 1)), b"+OK\r\n");
        assert_eq!(node.say(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), b"+OK\r\n");
    }
    (1..7).for_each(|index| cluster.meet(index, 0));
    await_condition("all know each other", SECONDS_MAX, || ports.iter().all(|&port| lines(port).len() == 7));
    for (replica, master) in [(3, 0), (4, 1), (5, 2), (6, 1)] {
        replicate(ports[replica], ports[master]);
    }
    await_settled(&ports, 3);
}

/// Looks for so long whether something stays true that an error would end.
fn stays_for(millis: u64, what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_millis(millis);
    await_condition(what, SECONDS_MAX, || {
        assert!(condition(), "{what}");
        Instant::now() >= end
    });
}

// ---- Clusters of both kinds.

/// Replicas of the other kind take over from dead masters, with the votes of both kinds, and hand back when told to.
#[test]
fn replicas_of_the_other_kind_take_over() {
    for peer in Program::peers() {
        eprintln!("beside {peer:?}");
        let programs = [OURS, peer.clone(), OURS, peer.clone(), OURS, peer];
        let mut cluster = form(&programs, &[]);
        let ports: Vec<u16> = cluster.ports().collect();
        for (place, key) in KEYS.iter().enumerate() {
            assert_eq!(show(&connect(ports[place]).say(&format!("SET {key} 7"))), "+OK\\r\\n");
            assert_eq!(connect(ports[place]).say("WAIT 1 10000"), b":1\r\n");
        }
        for victim in 0..2 {
            let (old, heir) = (ports[victim], ports[victim + 3]);
            let epoch = line_at(ports[2], old).epoch;
            cluster.servers[victim].signal("KILL");
            cluster.servers[victim].await_end();
            await_condition("its replica takes over", SECONDS_MAX, || is_master(heir));
            for &port in ports.iter().filter(|&&port| port != old) {
                await_condition("all have heard of it", SECONDS_MAX, || {
                    line_at(port, old).is("fail")
                        && line_at(port, heir).epoch > epoch
                        && connect(port).text("CLUSTER INFO").starts_with("cluster_state:ok")
                });
            }
            assert_eq!(connect(heir).say(&format!("GET {}", KEYS[victim])), b"$1\r\n7\r\n");
            cluster.servers[victim].restart();
            await_settled(&ports, 3);
            assert_eq!(line_at(ports[2], old).master, line_at(ports[2], heir).id);
        }
        let voted = |index: usize| cluster.servers[index].log().contains("Failover auth granted to");
        assert!(voted(2), "ours votes for theirs");
        // And back, in both directions, while somebody writes; and once more.
        for (place, key) in KEYS.into_iter().enumerate().take(2) {
            let (first, second) = (ports[place], ports[place + 3]);
            hand_over(&ports, 3, second, first, key);
            hand_over(&ports, 3, first, second, key);
        }
    }
}
