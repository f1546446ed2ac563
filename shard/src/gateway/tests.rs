//! The gateway against nodes that are models: any order of bytes, redirects, lost links and changes of view.

use super::link::{Flight, Link};
use super::machine::PAUSE_NANOS_MAX;
use super::*;
use slotmesh_base::limits::GATEWAY_PARKED_BYTES_MAX;
use slotmesh_base::{Monotonic, ReplyError, Rng, Slot};
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{Node, NodeId, NodeIndex, Topology};
use slotmesh_command::{Spec, find};
use slotmesh_resp::{ArgRange, Args, DecodeLimits, Decoder, Protocol, Reply, Step};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

/// A connection and the number of its request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct To {
    connection: u32,
    number: u32,
}

impl Origin for To {
    fn connection(&self) -> u32 {
        self.connection
    }
}

/// What has come out.
#[derive(Default)]
struct Heard {
    replies: Vec<(To, String)>,
    home: Vec<(To, Vec<u8>)>,
    messages: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Outlet<To> for Heard {
    fn reply(&mut self, to: To, reply: &[u8]) {
        self.replies.push((to, String::from_utf8_lossy(reply).trim_end().to_owned()));
    }

    fn hear(&mut self, channel: &[u8], text: &[u8]) {
        self.messages.push((channel.to_vec(), text.to_vec()));
    }

    fn home(&mut self, to: To, _: Protocol, request: &[u8]) {
        self.home.push((to, request.to_vec()));
    }
}

fn node(number: u16, flags: NodeFlags) -> Node {
    Node {
        id: NodeId::of_random([u64::from(number) + 1; 3]),
        shard_id: NodeId::of_random([u64::from(number) + 1; 3]),
        ip: "10.0.0.1".to_owned(),
        port: 7000 + number,
        other_port: 0,
        bus_port: 17000,
        hostname: None,
        flags,
        master: None,
        offset: 0,
        config_epoch: 1,
        heard_at_ms: 0,
    }
}

/// Two nodes; the first has the slots below `border`.
fn topology(border: u16) -> Topology {
    let mut topology = Topology::new(vec![node(0, NodeFlags::MASTER), node(1, NodeFlags::MASTER)], true);
    if border > 0 {
        topology.assign(NodeIndex(0), 0..=border - 1);
    }
    if border < 16384 {
        topology.assign(NodeIndex(1), border..=16383);
    }
    topology
}

/// The second of two nodes has all slots, and two replicas: the third and the fourth.
fn with_replicas() -> Topology {
    let replica = |number| Node { master: Some(NodeIndex(1)), ..node(number, NodeFlags::REPLICA) };
    let masters = [node(0, NodeFlags::MASTER), node(1, NodeFlags::MASTER)];
    let mut topology = Topology::new([&masters[..], &[replica(2), replica(3)]].concat(), true);
    topology.assign(NodeIndex(1), 0..=16383);
    topology
}

struct Bench {
    gateway: Gateway<To>,
    heard: Heard,
    now: Monotonic,
}

impl Bench {
    fn new() -> Self {
        let rules = Rules { retry_ms: 1000, links_max: 64, ..Rules::default() };
        Self { gateway: Gateway::new(rules), heard: Heard::default(), now: Monotonic(1) }
    }

    /// One that reads so.
    fn reading(reads: ReadFrom) -> Self {
        let mut bench = Self::new();
        bench.gateway.set_rules(Rules { reads, ..bench.gateway.rules.clone() });
        bench.view(&with_replicas());
        bench
    }

    /// Connects all that is dialled, and greets as one who may read from replicas.
    fn open_all(&mut self) -> Vec<(LinkId, u16)> {
        let dials = self.dials();
        for &(link, _) in &dials {
            let greeting = self.gateway.connected(self.now, link).expect("it is wanted");
            assert!(greeting.starts_with(b"*1\r\n$8\r\nREADONLY\r\n"));
            self.gateway.received(self.now, link, b"+OK\r\n+OK\r\n", &mut self.heard);
        }
        dials.into_iter().map(|(link, address)| (link, address.port())).collect()
    }

    fn view(&mut self, topology: &Topology) {
        let view = View { topology: Some(topology), is_ours: &|_| false };
        self.gateway.set_view(self.now, &view, &mut self.heard);
    }

    fn send(&mut self, line: &str, connection: u32, number: u32) -> Sent {
        let (bytes, ranges, spec) = parse(line);
        let args = Args::new(&bytes, &ranges);
        let slot = Slot::of_key(args.at(1));
        let to = To { connection, number };
        self.gateway.send(self.now, Envelope { spec, slot, protocol: Protocol::Resp2, to }, args)
    }

    /// The links to dial.
    fn dials(&mut self) -> Vec<(LinkId, SocketAddr)> {
        let dial = |order| match order {
            Order::Dial(link, address) => Some((link, address)),
            Order::Close(_) | Order::Log(_) => None,
        };
        self.gateway.take_orders().into_iter().filter_map(dial).collect()
    }

    /// Connects a link, and greets.
    fn open(&mut self, link: LinkId) {
        self.gateway.connected(self.now, link).expect("it is wanted");
        self.gateway.received(self.now, link, b"+OK\r\n", &mut self.heard);
    }

    fn sent(&mut self) -> Vec<(LinkId, String)> {
        let mut sent = Vec::new();
        self.gateway.flush(|link, bytes| sent.push((link, String::from_utf8_lossy(bytes).into_owned())));
        sent
    }

    /// What a client has asked of a slot before its last request stands on the same link, in front of it, or was redirected
    /// to where the last one will follow; nothing of it waits to be sent again.
    fn check_order(&self, connection: u32, slot: Slot) {
        let is_its = |flight: &Flight<To>| flight.to.connection == connection && flight.slot == slot;
        assert!(!self.gateway.parked.iter().any(|parked| is_its(&parked.flight)));
        let has_some = |link: &&Link<To>| link.flights.iter().any(|flight| is_its(flight) && flight.tries == 0);
        let links = self.gateway.links.iter().filter_map(|(_, link)| link.as_ref()).filter(has_some);
        assert!(links.count() <= 1, "a later request has overtaken an earlier one");
    }

    fn pass(&mut self, millis: u64) {
        self.now = self.now.plus_millis(millis);
        self.gateway.tick(self.now, &mut self.heard);
    }
}

fn parse(line: &str) -> (Vec<u8>, Vec<ArgRange>, &'static Spec) {
    let mut ranges = Vec::new();
    let mut at = 0;
    for word in line.split(' ') {
        ranges.push(ArgRange { start: at, len: word.len() as u32 });
        at += word.len() as u32 + 1;
    }
    (line.as_bytes().to_vec(), ranges, find(line.split(' ').next().unwrap().as_bytes()).unwrap())
}

#[test]
fn requests_wait_for_the_link_and_go_out_together() {
    let mut bench = Bench::new();
    bench.view(&topology(0));
    assert_eq!(bench.send("SET a 1", 1, 1), Sent::Yes);
    assert_eq!(bench.send("GET a", 1, 2), Sent::Yes);
    let [(link, address)] = bench.dials()[..] else { panic!("one link for all") };
    assert_eq!(address.port(), 7001);
    assert_eq!(bench.sent(), [], "nobody is there yet");
    bench.open(link);
    let set_get = "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n".to_owned();
    assert_eq!(bench.sent(), [(link, set_get)]);
    for byte in b"+OK\r\n$1\r\n1\r\n" {
        bench.gateway.received(bench.now, link, &[*byte], &mut bench.heard);
    }
    let to = |number| To { connection: 1, number };
    assert_eq!(bench.heard.replies, [(to(1), "+OK".to_owned()), (to(2), "$1\r\n1".to_owned())]);
}

#[test]
fn what_may_have_run_is_sent_again_only_if_its_row_allows() {
    let mut bench = Bench::new();
    bench.view(&topology(0));
    for (number, line) in ["GET a", "INCR a", "SET a 1", "SET a 1 NX", "MSET a 1"].iter().enumerate() {
        bench.send(line, 1, number as u32);
    }
    let link = bench.dials()[0].0;
    bench.open(link);
    bench.sent();
    bench.send("INCR a", 1, 9);
    bench.gateway.ended(bench.now, link, &mut bench.heard);
    let refused: Vec<u32> = bench.heard.replies.iter().map(|(to, _)| to.number).collect();
    assert_eq!(refused, [1, 3]);
    assert!(bench.heard.replies.iter().all(|(_, reply)| reply.starts_with("-UNKNOWNFATE ")));
    bench.pass(30);
    let link = bench.dials()[0].0;
    bench.open(link);
    let sent = &bench.sent()[0].1;
    assert_eq!(sent.matches("GET").count() + sent.matches("SET").count(), 3, "{sent}");
    assert_eq!(sent.matches("INCR").count(), 1, "what was not sent may go: {sent}");
}

#[test]
fn later_requests_of_a_slot_wait_for_one_that_waits() {
    let mut bench = Bench::new();
    bench.view(&topology(0));
    bench.send("SET a 1", 1, 1);
    let link = bench.dials()[0].0;
    bench.open(link);
    bench.sent();
    bench.gateway.received(bench.now, link, b"-TRYAGAIN later\r\n", &mut bench.heard);
    assert_eq!(bench.send("GET a", 1, 2), Sent::NotYet);
    assert_eq!(bench.send("GET b", 1, 3), Sent::Yes, "another slot");
    assert_eq!(bench.send("GET a", 2, 4), Sent::Yes, "another client");
    bench.pass(300);
    assert_eq!(bench.send("GET a", 1, 2), Sent::Yes);
    // When the slot goes elsewhere, what is on its way to the old owner keeps back what would overtake it.
    bench.sent();
    bench.view(&topology(16384));
    assert_eq!(bench.send("GET a", 1, 5), Sent::NotYet);
    bench.gateway.received(bench.now, link, b"$1\r\nb\r\n$1\r\na\r\n+OK\r\n$1\r\na\r\n", &mut bench.heard);
    assert_eq!(bench.send("GET a", 1, 5), Sent::Yes);
}

#[test]
fn a_request_waits_for_a_link_to_come_free() {
    let mut bench = Bench::new();
    bench.gateway.set_rules(Rules { retry_ms: 1000, answer_ms: 60_000, links_max: 1, ..Rules::default() });
    bench.view(&topology(8192));
    assert_eq!(bench.send("GET a", 1, 1), Sent::Yes);
    let [(first, _)] = bench.dials()[..] else { panic!("one link") };
    bench.open(first);
    bench.sent();
    // The slot of b is the other node's.
    assert_eq!(bench.send("GET b", 2, 2), Sent::Yes);
    assert_eq!(bench.send("GET b", 2, 3), Sent::NotYet, "what waits keeps its client's order");
    bench.pass(100);
    assert_eq!((bench.dials(), bench.sent()), (Vec::new(), Vec::new()));
    bench.gateway.received(bench.now, first, b"$-1\r\n", &mut bench.heard);
    bench.pass(30);
    let [(second, address)] = bench.dials()[..] else { panic!("the idle link makes room") };
    assert_eq!((address.port(), bench.gateway.links()), (7000, 1));
    bench.open(second);
    assert_eq!(bench.sent(), [(second, "*2\r\n$3\r\nGET\r\n$1\r\nb\r\n".to_owned())]);
    // Not for ever, nor whatever its length.
    bench.heard.replies.clear();
    assert_eq!(bench.send("SET a 1", 1, 4), Sent::Yes);
    (0..60).for_each(|_| bench.pass(20));
    let [(To { number: 4, .. }, reply)] = &bench.heard.replies[..] else { panic!("{:?}", bench.heard.replies) };
    assert!(reply.contains("gateway-links-max"), "{reply}");
    let long = format!("SET a {}", "x".repeat(GATEWAY_PARKED_BYTES_MAX));
    assert_eq!(bench.send(&long, 1, 5), Sent::Refused(ReplyError::NoLinksLeft));
    assert!(bench.gateway.held.is_empty() && bench.gateway.parked_bytes == 0);
}

#[test]
fn who_waits_or_watches_waits_for_a_link_too() {
    let mut bench = Bench::new();
    bench.gateway.set_rules(Rules { retry_ms: 1000, answer_ms: 60_000, links_max: 1, ..Rules::default() });
    bench.view(&topology(0));
    for (line, connection) in [("BLPOP a 0", 1), ("WATCH a", 2), ("WATCH a", 3)] {
        let (bytes, ranges, spec) = parse(line);
        let (to, protocol) = (To { connection, number: 1 }, Protocol::Resp2);
        let (envelope, args) = (Envelope { spec, slot: Slot::of_key(b"a"), protocol, to }, Args::new(&bytes, &ranges));
        let sent = match connection {
            1 => bench.gateway.send_alone(bench.now, envelope, args, None),
            _ => bench.gateway.watch(bench.now, envelope, args),
        };
        assert_eq!(sent, Sent::Yes);
    }
    let [(link, _)] = bench.dials()[..] else { panic!("one link") };
    bench.open(link);
    assert!(bench.sent()[0].1.contains("BLPOP"));
    // One of those who wait for a link leaves.
    bench.gateway.unwatch(2);
    bench.gateway.received(bench.now, link, b"*-1\r\n", &mut bench.heard);
    bench.pass(30);
    assert!(bench.sent()[0].1.contains("WATCH"));
    assert!(bench.gateway.watches(3) && !bench.gateway.watches(2));
    bench.gateway.received(bench.now, link, b"+OK\r\n", &mut bench.heard);
    // What is watched is lost with its slot.
    bench.view(&topology(16384));
    assert!(bench.gateway.has_lost_watch(3) && bench.gateway.links() == 0);
    assert_eq!(bench.heard.replies.len(), 2);
    assert!(bench.gateway.held.is_empty() && bench.gateway.parked_bytes == 0);
}

#[test]
fn time_bounds_everything() {
    let mut bench = Bench::new();
    assert_eq!(bench.send("GET a", 1, 1), Sent::Refused(ReplyError::SlotNotServed));
    bench.view(&topology(0));
    // Nobody answers the dial, then a node that says nothing, then one that always sends away.
    bench.send("GET a", 1, 1);
    for _ in 0..60 {
        bench.pass(20);
        for (link, _) in bench.dials() {
            bench.gateway.failed(bench.now, link, &mut bench.heard);
        }
    }
    assert!(bench.heard.replies.pop().is_some_and(|(_, reply)| reply.starts_with("-CLUSTERDOWN ")));
    for answer in [&b""[..], b"-MOVED 1 10.0.0.1:7001\r\n", b"-ASK 1 10.0.0.1:7001\r\n"] {
        bench.send("GET a", 1, 2);
        let mut open = Vec::new();
        for _ in 0..150 {
            bench.pass(20);
            for (link, _) in bench.dials() {
                bench.open(link);
                open.push(link);
            }
            for (link, sent) in bench.sent() {
                let asking = if sent.contains("ASKING") { &b"+OK\r\n"[..] } else { b"" };
                bench.gateway.received(bench.now, link, asking, &mut bench.heard);
                bench.gateway.received(bench.now, link, answer, &mut bench.heard);
            }
        }
        let replies = std::mem::take(&mut bench.heard.replies);
        assert!(matches!(&replies[..], [(_, reply)] if reply.starts_with("-CLUSTERDOWN ")), "{replies:?}");
        assert!(bench.gateway.held.is_empty() && bench.gateway.parked_bytes == 0);
    }
}

/// The ports of those that were asked, in order, of which each is asked once before it answers.
fn ports_of(sent: &[(LinkId, String)], links: &[(LinkId, u16)]) -> Vec<u16> {
    let mut ports: Vec<u16> =
        sent.iter().map(|(id, _)| links.iter().find(|(link, _)| link == id).expect("it is open").1).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn reads_take_turns_among_those_that_may_be_read_from() {
    for (reads, ports) in
        [(ReadFrom::Replica, &[7002, 7003][..]), (ReadFrom::Any, &[7001, 7002, 7003]), (ReadFrom::Master, &[7001])]
    {
        let mut bench = Bench::reading(reads);
        (0..6).for_each(|number| assert_eq!(bench.send("GET a", 1, number), Sent::Yes));
        let mut dialled: Vec<u16> = bench.dials().iter().map(|(_, address)| address.port()).collect();
        dialled.sort_unstable();
        assert_eq!(dialled, ports, "{reads:?}");
    }
    let mut bench = Bench::reading(ReadFrom::Replica);
    assert_eq!(bench.send("SET a 1", 1, 1), Sent::Yes);
    assert_eq!(bench.dials()[0].1.port(), 7001, "a write goes to the master");
}

#[test]
fn a_replica_that_is_lost_is_not_read_from_until_it_is_back() {
    let mut bench = Bench::reading(ReadFrom::Replica);
    (0..2).for_each(|number| assert_eq!(bench.send("GET a", 1, number), Sent::Yes));
    let mut links = bench.open_all();
    assert_eq!(ports_of(&bench.sent(), &links), [7002, 7003]);
    // The third node dies: the master answers what it was asked, the fourth what is asked from now on.
    let dead = links.iter().find(|(_, port)| *port == 7002).expect("it was asked").0;
    bench.gateway.ended(bench.now, dead, &mut bench.heard);
    links.extend(bench.open_all());
    assert_eq!(ports_of(&bench.sent(), &links), [7001]);
    let other = links.iter().find(|(_, port)| *port == 7003).expect("it was asked").0;
    bench.gateway.received(bench.now, other, b"$1\r\nx\r\n", &mut bench.heard);
    let known = links.clone();
    let is_served_by_other = |bench: &mut Bench, number| {
        bench.send("GET a", 1, number);
        assert_eq!(ports_of(&bench.sent(), &known), [7003]);
        bench.gateway.received(bench.now, other, b"$1\r\nx\r\n", &mut bench.heard);
    };
    (2..6).for_each(|number| is_served_by_other(&mut bench, number));
    assert!(bench.heard.replies.drain(..).all(|(_, reply)| reply == "$1\r\nx"));
    // It is tried now and then, and nobody waits for that.
    let mut tries = 0;
    for number in 6..20 {
        bench.pass(50);
        is_served_by_other(&mut bench, number);
        for (link, address) in bench.dials() {
            assert_eq!(address.port(), 7002);
            bench.gateway.failed(bench.now, link, &mut bench.heard);
            tries += 1;
        }
    }
    assert!((1..14).contains(&tries), "less and less often: {tries}");
    bench.pass(300);
    (20..22).for_each(|number| is_served_by_other(&mut bench, number));
    links.extend(bench.open_all());
    (22..24).for_each(|number| assert_eq!(bench.send("GET a", 1, number), Sent::Yes));
    assert_eq!(ports_of(&bench.sent(), &links), [7002, 7003], "it is back");
}

#[test]
fn what_a_replica_does_not_answer_the_master_does() {
    for answer in [
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
        "-CLUSTERDOWN The cluster is down\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-MOVED 15495 10.0.0.1:7001\r\n",
        "-MOVED nonsense\r\n",
        "nonsense\r\n",
    ] {
        let mut bench = Bench::reading(ReadFrom::Replica);
        bench.send("GET a", 1, 1);
        let (replica, _) = bench.open_all()[0];
        bench.sent();
        bench.gateway.received(bench.now, replica, answer.as_bytes(), &mut bench.heard);
        let links = bench.open_all();
        assert_eq!(ports_of(&bench.sent(), &links), [7001], "{answer}");
        assert!(bench.heard.replies.is_empty(), "{answer}: {:?}", bench.heard.replies);
    }
    // The same to the greeting.
    for greeting in ["-LOADING not yet\r\n", "-NOAUTH Authentication required.\r\n"] {
        let mut bench = Bench::reading(ReadFrom::Replica);
        bench.send("GET a", 1, 1);
        let (replica, _) = bench.dials()[0];
        bench.gateway.connected(bench.now, replica).expect("it is wanted");
        bench.gateway.received(bench.now, replica, greeting.as_bytes(), &mut bench.heard);
        let links = bench.open_all();
        assert_eq!(ports_of(&bench.sent(), &links), [7001], "{greeting}");
        assert!(bench.heard.replies.is_empty(), "{greeting}: {:?}", bench.heard.replies);
    }
}

#[test]
fn a_replica_that_is_suspected_owes_nothing() {
    let mut bench = Bench::reading(ReadFrom::Replica);
    bench.send("GET a", 1, 1);
    let links = bench.open_all();
    bench.sent();
    let mut suspected: Vec<Node> = with_replicas().nodes().map(|(_, node)| node.clone()).collect();
    let silent = usize::from(links[0].1 - 7000);
    suspected[silent].flags = suspected[silent].flags.union(NodeFlags::PFAIL);
    let mut topology = Topology::new(suspected, true);
    topology.assign(NodeIndex(1), 0..=16383);
    bench.view(&topology);
    let links = bench.open_all();
    assert_eq!(ports_of(&bench.sent(), &links), [7001]);
}

#[test]
fn other_credentials_make_other_links_and_keep_the_order() {
    let mut bench = Bench::new();
    bench.view(&topology(0));
    bench.send("SET a 1", 1, 1);
    let old = bench.dials()[0].0;
    bench.open(old);
    bench.sent();
    bench.gateway.set_rules(Rules { password: "other".to_owned(), ..bench.gateway.rules.clone() });
    assert_eq!(bench.send("GET a", 1, 2), Sent::NotYet, "it would overtake");
    assert_eq!(bench.send("GET a", 2, 1), Sent::Yes);
    let new = bench.dials()[0].0;
    bench.gateway.received(bench.now, old, b"+OK\r\n", &mut bench.heard);
    assert_eq!(bench.send("GET a", 1, 2), Sent::Yes);
    bench.pass(30);
    assert!(bench.gateway.take_orders().contains(&Order::Close(old)), "the old one has nothing to do any more");
    assert_eq!(bench.gateway.links(), 1);
    assert!(bench.gateway.connected(bench.now, new).is_some_and(|greeting| greeting.starts_with(b"*2\r\n$4\r\nAUTH")));
}

/// A node of the model: what it holds, and what it was sent.
#[derive(Default)]
struct Model {
    inbox: Vec<u8>,
    position: usize,
    decoder: Decoder,
    asking: bool,
}

/// Counters behind any schedule: each acknowledged INCR has run once, one whose fate is unknown at most once, no request is
/// sent past an earlier one, every request is answered once, and nothing is left behind.
#[test]
fn any_schedule_keeps_order_and_runs_nothing_twice() {
    (0..100).for_each(schedule);
}

fn schedule(seed: u64) {
    const CLIENTS: u32 = 3;
    const KEYS: [&str; 4] = ["a", "b", "foo", "bar"];
    let mut rng = Rng::new(seed);
    let mut bench = Bench::new();
    let mut border = 8192u16;
    bench.view(&topology(border));
    let mut links: BTreeMap<usize, (LinkId, u16, Model)> = BTreeMap::new();
    let mut dialling: Vec<(LinkId, u16)> = Vec::new();
    // What the cluster holds: one truth, whoever serves it.
    let mut values: HashMap<String, i64> = HashMap::new();
    let mut owed: HashMap<(u32, u32), (String, bool)> = HashMap::new();
    let (mut acknowledged, mut unknown): (HashMap<String, i64>, HashMap<String, i64>) = Default::default();
    let mut number = 0;
    let mut wire: VecDeque<(LinkId, Vec<u8>)> = VecDeque::new();
    for step in 0..600 {
        let winds_down = step > 450;
        match rng.below(9) {
            0..=2 if !winds_down => {
                let (client, key) = (rng.below(CLIENTS.into()) as u32, KEYS[rng.below(4) as usize]);
                let is_write = rng.below(2) == 0;
                number += 1;
                let line = if is_write { format!("INCR {key}") } else { format!("GET {key}") };
                match bench.send(&line, client, number) {
                    Sent::Yes => {
                        owed.insert((client, number), (key.to_owned(), is_write));
                        bench.check_order(client, Slot::of_key(key.as_bytes()));
                    }
                    Sent::NotYet => {}
                    other => panic!("{other:?}"),
                }
            }
            3 if !links.is_empty() && !winds_down => {
                // A link breaks: what has arrived has run, its answers are lost.
                let place = *links.keys().nth(rng.below(links.len() as u64) as usize).unwrap();
                let (link, ..) = links.remove(&place).unwrap();
                wire.retain(|(other, _)| *other != link);
                bench.gateway.ended(bench.now, link, &mut bench.heard);
            }
            4 if !winds_down => {
                border = [0, 4000, 8192, 13000, 16384][rng.below(5) as usize];
                if rng.below(2) == 0 {
                    bench.view(&topology(border));
                }
            }
            5 => {
                if let Some((link, bytes)) = wire.pop_front() {
                    let cut = rng.below(bytes.len() as u64 + 1) as usize;
                    bench.gateway.received(bench.now, link, &bytes[..cut], &mut bench.heard);
                    if cut < bytes.len() {
                        wire.push_front((link, bytes[cut..].to_vec()));
                    }
                }
            }
            6 => bench.pass(rng.below(40)),
            _ => {
                for (link, bytes) in bench.sent() {
                    if let Some((_, _, model)) = links.get_mut(&link.index()) {
                        model.inbox.extend_from_slice(bytes.as_bytes());
                    }
                }
                for (link, node, model) in links.values_mut() {
                    let answer = model.serve(*node, border, &mut values, &mut rng);
                    if !answer.is_empty() {
                        wire.push_back((*link, answer));
                    }
                }
            }
        }
        if winds_down {
            bench.view(&topology(border));
        }
        for order in bench.gateway.take_orders() {
            match order {
                Order::Dial(link, address) => dialling.push((link, address.port() - 7000)),
                Order::Close(link) => {
                    dialling.retain(|(other, _)| *other != link);
                    links.retain(|_, (other, ..)| *other != link);
                    wire.retain(|(other, _)| *other != link);
                }
                Order::Log(_) => {}
            }
        }
        if let Some((link, node)) = dialling.pop() {
            if rng.below(5) == 0 && !winds_down {
                bench.gateway.failed(bench.now, link, &mut bench.heard);
            } else if bench.gateway.connected(bench.now, link).is_some() {
                bench.gateway.received(bench.now, link, b"+OK\r\n", &mut bench.heard);
                links.insert(link.index(), (link, node, Model::default()));
            }
        }
        for (to, reply) in bench.heard.replies.drain(..) {
            let (key, is_write) = owed.remove(&(to.connection, to.number)).expect("each is answered once");
            assert!(!reply.starts_with("-MOVED") && !reply.starts_with("-ASK"), "{reply}");
            if reply.starts_with("-UNKNOWNFATE") {
                assert!(is_write, "reads are repeated");
                *unknown.entry(key).or_default() += 1;
            } else if reply.starts_with(':') {
                *acknowledged.entry(key).or_default() += i64::from(is_write);
            }
        }
    }
    // Until all is quiet.
    for _ in 0..400 {
        bench.now = Monotonic(bench.now.0 + PAUSE_NANOS_MAX / 4);
        bench.gateway.tick(bench.now, &mut bench.heard);
        for order in bench.gateway.take_orders() {
            if let Order::Dial(link, address) = order
                && bench.gateway.connected(bench.now, link).is_some()
            {
                bench.gateway.received(bench.now, link, b"+OK\r\n", &mut bench.heard);
                links.insert(link.index(), (link, address.port() - 7000, Model::default()));
            }
        }
        for (link, bytes) in std::mem::take(&mut wire) {
            bench.gateway.received(bench.now, link, &bytes, &mut bench.heard);
        }
        for (link, bytes) in bench.sent() {
            if let Some((_, _, model)) = links.get_mut(&link.index()) {
                model.inbox.extend_from_slice(bytes.as_bytes());
            }
        }
        for (link, node, model) in links.values_mut() {
            let answer = model.serve(*node, border, &mut values, &mut rng);
            if !answer.is_empty() {
                wire.push_back((*link, answer));
            }
        }
        for (to, reply) in bench.heard.replies.drain(..) {
            let (key, is_write) = owed.remove(&(to.connection, to.number)).expect("each is answered once");
            match reply.starts_with('-') {
                true => *unknown.entry(key).or_default() += i64::from(is_write),
                false => *acknowledged.entry(key).or_default() += i64::from(is_write),
            }
        }
    }
    assert!(owed.is_empty(), "seed {seed}: {owed:?}");
    assert!(bench.gateway.held.is_empty() && bench.gateway.parked.is_empty(), "seed {seed}");
    for key in KEYS {
        let (ran, said) = (values.get(key).copied().unwrap_or(0), acknowledged.get(key).copied().unwrap_or(0));
        let doubtful = unknown.get(key).copied().unwrap_or(0);
        assert!(said <= ran && ran <= said + doubtful, "seed {seed}: {key}: {said} <= {ran} <= {said} + {doubtful}");
    }
}

impl Model {
    /// Runs what has arrived at a node; gives its answers.
    fn serve(&mut self, node: u16, border: u16, values: &mut HashMap<String, i64>, rng: &mut Rng) -> Vec<u8> {
        let limits = DecodeLimits { bulk_bytes_max: 1 << 20, authenticated: true };
        let mut out = String::new();
        loop {
            let mut ranges = Vec::new();
            match self.decoder.decode(&mut self.inbox, &mut self.position, &limits, &mut ranges) {
                Ok(Step::Request) => {}
                Ok(Step::Incomplete) => return out.into_bytes(),
                Err(error) => panic!("the gateway sends requests: {error}"),
            }
            let args = Args::new(&self.inbox, &ranges);
            if args.at(0) == b"ASKING" {
                (self.asking, out) = (true, out + "+OK\r\n");
                continue;
            }
            let key = String::from_utf8_lossy(args.at(1)).into_owned();
            let owner = u16::from(Slot::of_key(key.as_bytes()).number() >= border);
            let is_asked = std::mem::take(&mut self.asking);
            if owner != node && !is_asked {
                out += &format!("-MOVED {} 10.0.0.1:{}\r\n", Slot::of_key(key.as_bytes()), 7000 + owner);
                continue;
            }
            match rng.below(12) {
                0 => out += "-TRYAGAIN later\r\n",
                1 => out += &format!("-ASK 1 10.0.0.1:{}\r\n", 7001 - node),
                _ => {
                    let value = values.entry(key).or_default();
                    *value += i64::from(args.at(0) == b"INCR");
                    out += &format!(":{value}\r\n");
                }
            }
        }
    }
}

/// Three masters of which one has given slots to another, at random.
fn shuffled(rng: &mut Rng, owners: &mut [u16; 16384], masters: &[u16]) -> Topology {
    let (from, to) = (masters[rng.below(3) as usize], masters[rng.below(3) as usize]);
    // The first ones, as the tool of Redis does; never all.
    let moved: Vec<usize> = (0..16384).filter(|&slot| owners[slot] == from).take(300).collect();
    moved.iter().for_each(|&slot| owners[slot] = to);
    let mut topology = Topology::new((0..4).map(|number| node(number, NodeFlags::MASTER)).collect(), true);
    for &master in masters {
        for slot in (0..16384u16).filter(|&slot| owners[usize::from(slot)] == master) {
            topology.assign(NodeIndex(master), slot..=slot);
        }
    }
    topology
}

#[test]
fn a_scan_asks_every_master_from_begin_to_end_whatever_moves() {
    for seed in 0..10 {
        let (mut rng, mut masters) = (Rng::new(seed), [0, 1, 2]);
        let mut owners = std::array::from_fn(|slot| masters[slot / 5462]);
        let (map, mut routes) = (crate::SlotMap::even(1), Routes::default());
        let replace = |routes: &mut Routes, topology: &Topology| {
            let view = View { topology: Some(topology), is_ours: &|_| false };
            routes.replace(&view, |address| Some(address.port() - 7000));
        };
        let (mut cursor, mut asked, mut steps) = ("0".to_owned(), BTreeMap::<u16, Vec<u64>>::new(), 0);
        loop {
            replace(&mut routes, &shuffled(&mut rng, &mut owners, &masters));
            // In every second run a master is replaced by the fourth node, once.
            if seed % 2 == 1 && steps == seed as usize % 9 {
                owners.iter_mut().filter(|owner| **owner == 1).for_each(|owner| *owner = 3);
                masters[1] = 3;
                replace(&mut routes, &shuffled(&mut rng, &mut owners, &masters));
            }
            let (bytes, ranges, _) = parse(&format!("SCAN {cursor} COUNT 5"));
            let step = ScanStep::of(Args::new(&bytes, &ranges), &map, &routes).expect("a cursor of ours");
            let crate::Home::Slot(slot) = step.home else {
                assert_eq!(step.words, [&b"SCAN"[..], b"18446744073709551615"], "nothing is here: it is the end");
                break;
            };
            let Owner::Peer(node) = routes.owner(slot) else { panic!("each slot has a node") };
            let inner: u64 = std::str::from_utf8(&step.words[1]).unwrap().parse().unwrap();
            let visits = asked.entry(node).or_default();
            assert!(inner == 0 || visits.last() == Some(&(inner - 1)), "seed {seed}: {node} is asked for {inner}");
            visits.push(inner);
            let next = (inner + 1) % 3;
            let mut out = Vec::new();
            let answer = format!("*2\r\n$1\r\n{next}\r\n*0\r\n");
            step.onward.write(answer.as_bytes(), &mut Reply::new(&mut out, Protocol::Resp2)).expect("a reply to SCAN");
            cursor = String::from_utf8_lossy(&out).split("\r\n").nth(2).unwrap().to_owned();
            steps += 1;
            assert!(steps < 100, "seed {seed}: it does not end");
        }
        for master in masters {
            assert!(asked[&master].ends_with(&[0, 1, 2]), "seed {seed}: {master} of {masters:?}: {asked:?}");
        }
    }
}
