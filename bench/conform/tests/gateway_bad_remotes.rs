//! A node that answers its gateway with garbage, never, half, or with redirects without an end: whoever asks for its slots
//! gets a clear error within `gateway-retry-timeout`, and nobody else waits for it.

use slotmesh_conform::{
    Cluster, Connection, FalseNode, Mood, Program, await_condition, is_self_test, lines_at, node_at, request,
    resident_bytes, share_among, show, unused_ports, words,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long the gateway tries.
const RETRY_MS: u64 = 1000;
/// How much longer than that an error may take to come, on a machine with other work.
const SLACK: Duration = Duration::from_millis(2000);
/// How long a request to a node that is well may take meanwhile.
const QUICK: Duration = Duration::from_millis(700);
/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 60;

/// Keys of the false node, and of another one.
const ITS_KEY: &str = "{a}1";
const OTHER_KEY: &str = "{b}1";

/// Three masters of redis-server, the last behind a listener; ours is their gateway.
struct Stage {
    cluster: Cluster,
    node: Arc<FalseNode>,
    door: u16,
}

impl Stage {
    fn start() -> Self {
        let ports = unused_ports(2);
        let (fake, door) = (ports.to_string(), (ports + 1).to_string());
        let retry = RETRY_MS.to_string();
        let redis = Program::Redis(None);
        let programs = [redis.clone(), redis.clone(), redis, Program::Slotmesh(1)];
        let cluster = Cluster::start_each(&programs, |place| match place {
            2 => vec!["--cluster-announce-port", &fake],
            3 => vec!["--gateway-port", &door, "--gateway-retry-timeout", &retry],
            _ => Vec::new(),
        });
        let node = FalseNode::listen(ports, cluster.first_port + 2);
        share_among(&cluster, &[0, 1, 2]);
        await_condition("all know each other", SECONDS_MAX, || {
            cluster.ports().all(|port| {
                let lines = lines_at(port);
                lines.len() == 4
                    && lines.iter().all(|line| line.link == "connected" && line.flags == ["master"])
                    && node_at(port).text("CLUSTER INFO").starts_with("cluster_state:ok")
            })
        });
        let stage = Self { cluster, node, door: ports + 1 };
        stage.await_health();
        stage
    }

    fn client(&self) -> Connection {
        node_at(self.door)
    }

    fn gateway_pid(&self) -> u32 {
        self.cluster.servers[3].pid()
    }

    fn await_health(&self) {
        await_condition("the gateway serves all", SECONDS_MAX, || {
            let mut client = self.client();
            [ITS_KEY, OTHER_KEY].iter().all(|key| client.say(&format!("SET {key} 7")) == b"+OK\r\n")
        });
    }

    /// What a request to the false node is answered, in time; what was asked before it and behind it is answered as ever,
    /// and others are served meanwhile.
    fn outcome(&self, mood: &Mood, line: &str) -> String {
        self.node.feel(mood.clone());
        let (began, mut asking, mut other) = (Instant::now(), self.client(), self.client());
        asking.send(&[words(&format!("GET {OTHER_KEY}")), words(line), words("PING")].concat());
        assert_eq!(show(&asking.reply()), "$1\\r\\n7\\r\\n", "{mood:?}");
        assert!(began.elapsed() < QUICK, "{mood:?}: what goes to others waits {:?}", began.elapsed());
        let reply = loop {
            if let Some(reply) = asking.arrived_reply().expect("the gateway lives") {
                break show(&reply);
            }
            let sent = Instant::now();
            assert_eq!(show(&other.say(&format!("GET {OTHER_KEY}"))), "$1\\r\\n7\\r\\n", "{mood:?}");
            assert!(sent.elapsed() < QUICK, "{mood:?}: others wait {:?}", sent.elapsed());
            let elapsed = began.elapsed();
            assert!(elapsed < Duration::from_millis(RETRY_MS) + SLACK, "{mood:?}: no answer after {elapsed:?}");
        };
        assert_eq!(show(&asking.reply()), "+PONG\\r\\n", "{mood:?}");
        self.node.feel(Mood::Through);
        self.await_health();
        reply
    }
}

const NOT_REACHED: &str = "-CLUSTERDOWN The node that has the slot was not reached in time";
const UNKNOWN: &str = "-UNKNOWNFATE ";
const GARBLED: &str = "-ERR The node that has the slot has answered what is no reply to the command";
const FOR_EVER: &str = "-CLUSTERDOWN The nodes do not agree on who has the slot";
const REFUSED: &str = "-ERR The node that has the slot does not let the gateway in";

/// What the node does, and how the answers to a read and to a write begin.
fn moods(stage: &Stage, other: &FalseNode) -> Vec<(Mood, &'static str, &'static str)> {
    let says = |text: &str| Mood::Says(text.as_bytes().to_vec());
    let dies = |text: &str| Mood::Dies(text.as_bytes().to_vec());
    let babbles = |text: &str| Mood::Babbles(text.as_bytes().to_vec());
    let moved = |port: u16| says(&format!("-MOVED 15495 127.0.0.1:{port}\r\n"));
    let [own, gateway] = [stage.node.port, stage.cluster.first_port + 3];
    vec![
        // Nobody is there, or says nothing.
        (Mood::Closes, NOT_REACHED, NOT_REACHED),
        (Mood::Silent, NOT_REACHED, NOT_REACHED),
        (says(""), NOT_REACHED, UNKNOWN),
        // It closes instead of an answer, in the midst of one, and behind one.
        (dies(""), NOT_REACHED, UNKNOWN),
        (dies("$100\r\nhalf"), NOT_REACHED, UNKNOWN),
        (dies("garbage\r\n"), GARBLED, GARBLED),
        // Its end may overtake its answer.
        (dies(&format!("-MOVED 15495 127.0.0.1:{own}\r\n")), "-CLUSTERDOWN ", "-"),
        // What it says is no reply, too long, or more than was asked for.
        (babbles("garbage\r\n"), GARBLED, GARBLED),
        (babbles("$-7\r\n"), GARBLED, GARBLED),
        (babbles("*99999999999\r\n"), NOT_REACHED, NOT_REACHED),
        (babbles("$1000\r\nabc"), NOT_REACHED, NOT_REACHED),
        (babbles(&"*1\r\n".repeat(2000)), "-", "-"),
        (babbles(&"+OK\r\n".repeat(7)), "-", "-"),
        (says("\x16\x03\x01 no reply\r\n"), GARBLED, GARBLED),
        (says("$1000\r\nabc"), NOT_REACHED, UNKNOWN),
        (says(&"+OK\r\n".repeat(3)), "+OK", "+OK"),
        // Redirects: to itself, in a circle, to the gateway, to nobody, to nowhere.
        (moved(own), FOR_EVER, FOR_EVER),
        (moved(other.port), FOR_EVER, FOR_EVER),
        (says(&format!("-ASK 15495 127.0.0.1:{own}\r\n")), FOR_EVER, FOR_EVER),
        (moved(stage.door), FOR_EVER, FOR_EVER),
        (moved(gateway), "-CLUSTERDOWN ", "-CLUSTERDOWN "),
        (moved(1), "-CLUSTERDOWN The node", "-CLUSTERDOWN The node"),
        (says("-MOVED 15495 nowhere\r\n"), GARBLED, GARBLED),
        (says("-MOVED x\r\n"), GARBLED, GARBLED),
        // What it says for ever, though it should pass.
        (says("-TRYAGAIN not now\r\n"), "-TRYAGAIN not now", "-TRYAGAIN not now"),
        (says("-CLUSTERDOWN not now\r\n"), "-CLUSTERDOWN not now", "-CLUSTERDOWN not now"),
        (says("-LOADING not now\r\n"), "-LOADING not now", "-LOADING not now"),
        (says("-NOAUTH who are you\r\n"), REFUSED, REFUSED),
    ]
}

#[test]
fn a_bad_node_harms_nobody_else() {
    if is_self_test() {
        return;
    }
    let stage = Stage::start();
    // Sends back whoever is sent to it.
    let other = FalseNode::listen(unused_ports(1), 0);
    other.feel(Mood::Says(format!("-MOVED 15495 127.0.0.1:{}\r\n", stage.node.port).into_bytes()));
    for (mood, read, write) in moods(&stage, &other) {
        for (line, expected) in [(format!("GET {ITS_KEY}"), read), (format!("INCR {ITS_KEY}"), write)] {
            let began = Instant::now();
            let reply = stage.outcome(&mood, &line);
            eprintln!("{mood:.60?}: {line}: {reply} after {:?}", began.elapsed());
            assert!(reply.starts_with(expected), "{mood:?}: {line}: {reply}");
            let tells = ["garbage", &stage.node.port.to_string()].iter().any(|inner| reply.contains(inner));
            assert!(!tells, "{mood:?}: {line}: {reply}");
        }
    }
    // Answers of a wrong kind to a part of a command.
    let reply = stage.outcome(&Mood::Says(b":7\r\n".to_vec()), &format!("MGET {OTHER_KEY} {ITS_KEY}"));
    assert!(reply.starts_with(GARBLED), "{reply}");
}

/// A thousand clients that ask for what nobody serves: each gets an error, none costs more memory than its request, and
/// meanwhile another shard serves its own.
#[test]
fn a_thousand_clients_of_a_dead_node_cost_little() {
    const CLIENTS: usize = 1000;
    const REQUEST_BYTES: usize = 10_000;
    if is_self_test() {
        return;
    }
    let stage = Stage::start();
    let mut other = stage.client();
    // So long that what others ask meanwhile is done before anybody has an answer.
    assert_eq!(other.say("CONFIG SET gateway-retry-timeout 5000"), b"+OK\r\n");
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| stage.client()).collect();
    let before = resident_bytes(stage.gateway_pid());
    stage.node.feel(Mood::Silent);
    let set = request(&["SET".to_owned(), ITS_KEY.to_owned(), "x".repeat(REQUEST_BYTES)]);
    for client in &mut clients {
        client.send(&set);
    }
    let mut most = 0;
    for (number, asking) in clients.iter_mut().enumerate().take(200) {
        assert_eq!(other.say(&format!("SET {OTHER_KEY}:{number} {number}")), b"+OK\r\n");
        most = most.max(resident_bytes(stage.gateway_pid()));
        assert_eq!(asking.arrived_reply().expect("the gateway lives"), None, "{number}: others come first");
    }
    for client in &mut clients {
        let reply = client.reply();
        assert!(reply.starts_with(NOT_REACHED.as_bytes()), "{}", show(&reply));
        most = most.max(resident_bytes(stage.gateway_pid()));
    }
    // What was asked lies with the clients, and once more with the link.
    let bound = 6 * (CLIENTS * REQUEST_BYTES) as u64;
    println!("{} MiB more at most, of {} MiB that were asked", most.saturating_sub(before) >> 20, (bound / 6) >> 20);
    assert!(most < before + bound, "{} MiB more", (most - before) >> 20);
    stage.node.feel(Mood::Through);
    stage.await_health();
}

/// Clients that send more than is taken from them: what they may make the gateway hold is bounded.
#[test]
fn what_clients_send_to_a_dead_node_is_bounded() {
    const CLIENTS: usize = 1000;
    if is_self_test() {
        return;
    }
    let stage = Stage::start();
    stage.node.feel(Mood::Says(Vec::new()));
    let before = resident_bytes(stage.gateway_pid());
    let pipeline = request(&["SET", ITS_KEY, &"x".repeat(16 * 1024)]).repeat(64);
    let mut clients: Vec<Connection> = (0..CLIENTS).map(|_| stage.client()).collect();
    for client in &mut clients {
        // It may not be read to the end: that is the bound.
        client.set_write_timeout(Duration::from_millis(1));
        let _ = client.try_send(&pipeline);
    }
    let grown = resident_bytes(stage.gateway_pid()).saturating_sub(before);
    println!("{} MiB more, of {} MiB that were sent", grown >> 20, (CLIENTS * pipeline.len()) >> 20);
    assert!(grown < 400 << 20, "{} MiB for 1000 clients that ask for 1 GiB of a dead node", grown >> 20);
    let mut other = stage.client();
    for number in 0..100 {
        let began = Instant::now();
        assert_eq!(other.say(&format!("SET {OTHER_KEY} {number}")), b"+OK\r\n");
        assert!(began.elapsed() < QUICK, "others are slowed: {:?}", began.elapsed());
    }
    drop(clients);
    stage.node.feel(Mood::Through);
    stage.await_health();
}
