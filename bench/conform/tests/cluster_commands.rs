//! Subcommands of CLUSTER beside redis-server in cluster mode: same lines, same replies.

use slotmesh_conform::{Cluster, Connection, Program, await_condition, is_self_test, show};

/// Lines whose replies differ from those of the oracle (7.0.15), how, and why.
const DIFFERENCES: &[(&str, &str, &str)] = &[
    ("CLUSTER MEET 127.0.0.1 port", "-ERR Invalid base port specified: port", "7.2 says base port, 7.0 TCP base port"),
    (
        "CLUSTER MEET 127.0.0.1 7000 port",
        "-ERR Invalid bus port specified: port",
        "7.2 says bus port, 7.0 TCP bus port",
    ),
    ("CLUSTER MEET 127.0.0.1 \0", "-ERR Invalid base port specified: ", "7.2 says base port, 7.0 TCP base port"),
];

/// A fresh node of each kind, or two of each that have met.
struct Pair {
    ours: Cluster,
    theirs: Cluster,
}

impl Pair {
    fn start(count: u16, args: &[&str]) -> Self {
        let many = |program: Program| vec![program; usize::from(count)];
        Self {
            ours: Cluster::start(&many(Program::Slotmesh(1)), args),
            theirs: Cluster::start(&many(Program::Redis(None)), args),
        }
    }

    fn form(count: u16, args: &[&str]) -> Self {
        let pair = Self::start(count, args);
        for cluster in [&pair.ours, &pair.theirs] {
            cluster.share_slots();
            (1..count).for_each(|index| cluster.meet(index, 0));
            cluster.await_agreement();
        }
        pair
    }

    /// Sends the lines to node `index` of both, with `<id0>` … replaced by the ids and `<port0>` … by the ports, and compares.
    fn compare(&self, index: u16, opening: &str, lines: &[&str]) {
        let mut sides = [Side::new(&self.ours, index), Side::new(&self.theirs, index)];
        sides.iter_mut().for_each(|side| drop(side.ask(opening)));
        for line in lines {
            let [ours, theirs] = sides.each_mut().map(|side| side.ask(line));
            match DIFFERENCES.iter().find(|(known, ..)| known == line).filter(|_| !is_self_test()) {
                Some((_, expected, _)) => {
                    assert_eq!(ours, format!("{expected}\\r\\n"), "{line}");
                    assert_ne!(ours, theirs, "{line} differs no more");
                }
                None => assert_eq!(ours, theirs, "{line}"),
            }
        }
    }
}

struct Side {
    connection: Connection,
    first_port: u16,
    ids: Vec<String>,
}

impl Side {
    fn new(cluster: &Cluster, index: u16) -> Self {
        let ids = (0..cluster.count).map(|index| cluster.connect(index).text("CLUSTER MYID")).collect();
        Self { connection: cluster.connect(index), first_port: cluster.first_port, ids }
    }

    /// The reply to a line, with what differs from process to process replaced.
    fn ask(&mut self, line: &str) -> String {
        let count = self.ids.len() as u16;
        let mut names: Vec<(String, String)> = Vec::new();
        for (index, id) in (0..count).zip(&self.ids) {
            names.push((format!("<id{index}>"), id.clone()));
            names.push((format!("<port{index}>"), (self.first_port + index).to_string()));
            names.push((format!("<bus{index}>"), (self.first_port + index + count).to_string()));
        }
        let asked = names.iter().fold(line.to_owned(), |line, (name, value)| line.replace(name, value));
        let reply = show(&self.connection.say(&asked));
        let names = names.iter();
        names.fold(reply, |reply, (name, value)| reply.replace(value, name))
    }
}

/// Whatever the number of words and whatever is in them: the errors are those of Redis.
#[test]
fn wrong_words_are_refused_as_redis_does() {
    let pair = Pair::start(1, &[]);
    let unknown = "0123456789012345678901234567890123456789";
    let mut lines: Vec<String> = Vec::new();
    for name in [
        "ADDSLOTS",
        "ADDSLOTSRANGE",
        "BUMPEPOCH",
        "COUNT-FAILURE-REPORTS",
        "COUNTKEYSINSLOT",
        "DELSLOTS",
        "DELSLOTSRANGE",
        "FAILOVER",
        "FLUSHSLOTS",
        "FORGET",
        "GETKEYSINSLOT",
        "INFO",
        "KEYSLOT",
        "LINKS",
        "MEET",
        "MYID",
        "NODES",
        "REPLICAS",
        "SLAVES",
        "REPLICATE",
        "RESET",
        "SAVECONFIG",
        "SET-CONFIG-EPOCH",
        "SETSLOT",
        "SHARDS",
        "SLOTS",
        "HELP",
        "NOPE",
    ] {
        let words = ["x", "16384", "y", "z", "-1"];
        // With no words more some of them do something, or tell what differs: those have tests of their own.
        let quiet = ["BUMPEPOCH", "INFO", "LINKS", "MYID", "NODES", "RESET", "SHARDS", "HELP", "KEYSLOT", "FLUSHSLOTS"];
        let first = usize::from(quiet.contains(&name));
        for count in first..=words.len() {
            if name == "KEYSLOT" && count == 1 {
                continue;
            }
            lines.push([&["CLUSTER", name][..], &words[..count]].concat().join(" "));
        }
    }
    for subcommand in ["FORGET", "REPLICATE", "REPLICAS", "COUNT-FAILURE-REPORTS"] {
        lines.extend([unknown, "<id0>", "<id0>x", "", "a\r\nb"].map(|id| format!("CLUSTER {subcommand} {id}")));
    }
    let lines: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !line.contains("MEET")).collect();
    for opening in ["HELLO 2", "HELLO 3"] {
        pair.compare(0, opening, &lines);
        pair.compare(
            0,
            opening,
            &[
                "CLUSTER",
                "CLUSTER MEET",
                "CLUSTER MEET 127.0.0.1",
                "CLUSTER MEET 127.0.0.1 port",
                "CLUSTER MEET 127.0.0.1 \0",
                "CLUSTER MEET 127.0.0.1 7000 port",
                "CLUSTER MEET 127.0.0.1 0",
                "CLUSTER MEET 127.0.0.1 65536",
                "CLUSTER MEET 127.0.0.1 -1",
                "CLUSTER MEET 127.0.0.1 7000 65536",
                "CLUSTER MEET 127.0.0.1 7000 -1",
                "CLUSTER MEET 127.0.0.1 7000 17000 1",
                "CLUSTER MEET 256.0.0.1 7000",
                "CLUSTER MEET  7000",
                "CLUSTER MEET 127.0.0.1 60000",
                "CLUSTER MEET ::g 7000",
            ],
        );
    }
}

/// What a node does with its slots and epoch, alone.
#[test]
fn slots_and_epochs_change_as_in_redis() {
    // A node that nobody has told its address has none in Redis, and in ours that at which the client has come.
    let pair = Pair::start(1, &["--cluster-announce-ip", "127.0.0.1"]);
    pair.compare(
        0,
        "HELLO 2",
        &[
            "CLUSTER SLOTS",
            "CLUSTER ADDSLOTS 0 1 2 3",
            "CLUSTER ADDSLOTS 3",
            "CLUSTER ADDSLOTS 4 4",
            "CLUSTER ADDSLOTS 4 x",
            "CLUSTER ADDSLOTS 4 16384",
            "CLUSTER ADDSLOTS 4 -1",
            "CLUSTER ADDSLOTS 04",
            "CLUSTER SLOTS",
            "CLUSTER ADDSLOTSRANGE 10 20 30 40",
            "CLUSTER ADDSLOTSRANGE 10",
            "CLUSTER ADDSLOTSRANGE 10 20 30",
            "CLUSTER ADDSLOTSRANGE 50 40",
            "CLUSTER ADDSLOTSRANGE 50 60 55 70",
            "CLUSTER ADDSLOTSRANGE 50 60 20 21",
            "CLUSTER ADDSLOTSRANGE 50 60 9 5",
            "CLUSTER ADDSLOTSRANGE 50 x",
            "CLUSTER ADDSLOTSRANGE 20 21 x 1",
            "CLUSTER ADDSLOTSRANGE 20 21 9 5",
            "CLUSTER SLOTS",
            "CLUSTER DELSLOTS 1 2",
            "CLUSTER DELSLOTS 1",
            "CLUSTER DELSLOTS 3 3",
            "CLUSTER DELSLOTSRANGE 10 12 35 40",
            "CLUSTER DELSLOTSRANGE 10 12",
            "CLUSTER DELSLOTSRANGE 13 15 14 14",
            "CLUSTER DELSLOTSRANGE 15 13",
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
            "CLUSTER SET-CONFIG-EPOCH -1",
            "CLUSTER SET-CONFIG-EPOCH x",
            "CLUSTER SET-CONFIG-EPOCH 0",
            "CLUSTER SET-CONFIG-EPOCH 5",
            "CLUSTER SET-CONFIG-EPOCH 6",
            "CLUSTER BUMPEPOCH",
            "CLUSTER BUMPEPOCH",
            "CLUSTER SAVECONFIG",
            "CLUSTER SETSLOT 0 STABLE",
            "CLUSTER SETSLOT 0 STABLE x",
            "CLUSTER SETSLOT 0 NODE",
            "CLUSTER SETSLOT 0 NODE x",
            "CLUSTER SETSLOT 0 NODE <id0>",
            "CLUSTER SETSLOT 100 NODE <id0>",
            "CLUSTER SETSLOT 0 MIGRATING x",
            "CLUSTER SETSLOT 1 MIGRATING x",
            "CLUSTER SETSLOT 1 IMPORTING x",
            "CLUSTER SETSLOT 0 IMPORTING x",
            "CLUSTER SETSLOT 0 NOPE",
            "CLUSTER SETSLOT 0 NOPE x",
            "CLUSTER SETSLOT x STABLE",
            "CLUSTER SLOTS",
            "CLUSTER REPLICATE <id0>",
            "CLUSTER FAILOVER",
            "CLUSTER FAILOVER FORCE",
            "CLUSTER FAILOVER TAKEOVER",
            "CLUSTER FAILOVER NOW",
            "CLUSTER FORGET <id0>",
            "CLUSTER REPLICAS <id0>",
            "CLUSTER COUNT-FAILURE-REPORTS <id0>",
            "CLUSTER LINKS",
            "GET foo",
            "CLUSTER FLUSHSLOTS",
            "CLUSTER FLUSHSLOTS",
            "CLUSTER SLOTS",
            "CLUSTER ADDSLOTSRANGE 0 16383",
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
        ],
    );
    for cluster in [&pair.ours, &pair.theirs] {
        cluster.await_agreement();
    }
    pair.compare(
        0,
        "HELLO 3",
        &[
            "SET foo 1",
            "CLUSTER COUNTKEYSINSLOT 12182",
            "CLUSTER GETKEYSINSLOT 12182 1",
            "CLUSTER FLUSHSLOTS",
            "CLUSTER RESET",
            "CLUSTER RESET SOFT",
            "CLUSTER RESET HARD",
            "CLUSTER RESET NOW",
            "CLUSTER RESET HARD NOW",
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
            "CLUSTER DELSLOTS 12182",
            "GET foo",
            "CLUSTER COUNTKEYSINSLOT 12182",
            "CLUSTER ADDSLOTS 12182",
            "DEL foo",
            "CLUSTER RESET SOFT",
            "CLUSTER MYID",
            "CLUSTER SLOTS",
            "CLUSTER RESET hard",
            "CLUSTER SET-CONFIG-EPOCH 1",
        ],
    );
}

/// Two nodes that know each other.
#[test]
fn neighbours_are_ordered_about_as_in_redis() {
    let pair = Pair::form(2, &[]);
    pair.compare(
        0,
        "HELLO 2",
        &[
            "CLUSTER SLOTS",
            "CLUSTER ADDSLOTS 9000",
            "CLUSTER SET-CONFIG-EPOCH 9",
            "CLUSTER REPLICAS <id1>",
            "CLUSTER SLAVES <id0>",
            "CLUSTER COUNT-FAILURE-REPORTS <id1>",
            "CLUSTER REPLICATE <id1>",
            "CLUSTER SETSLOT 9000 MIGRATING <id1>",
            "CLUSTER SETSLOT 1 IMPORTING <id1>",
            "CLUSTER SETSLOT 9000 STABLE",
            "SET foo 1",
            "SET bar 1",
            "CLUSTER SETSLOT 5061 NODE <id1>",
            "CLUSTER SETSLOT 5062 NODE <id1>",
            "GET bar",
            "CLUSTER SETSLOT 5062 NODE <id0>",
            "CLUSTER MEET 127.0.0.1 <port1> <bus1>",
        ],
    );
    pair.compare(1, "HELLO 3", &["GET foo", "GET bar", "MGET foo bar", "CLUSTER MYID", "READONLY", "ASKING"]);
}

/// Two masters, of which the second has a replica that is in sync.
fn with_a_replica(programs: &[Program]) -> Cluster {
    let cluster = Cluster::start(programs, &["--repl-diskless-sync-delay", "0"]);
    for (index, range) in [(0, "0 8191"), (1, "8192 16383")] {
        assert_eq!(cluster.connect(index).say(&format!("CLUSTER ADDSLOTSRANGE {range}")), b"+OK\r\n");
        assert_eq!(cluster.connect(index).say(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), b"+OK\r\n");
    }
    (1..3).for_each(|index| cluster.meet(index, 0));
    cluster.await_agreement();
    let master = cluster.connect(1).text("CLUSTER MYID");
    assert_eq!(cluster.connect(2).say(&format!("CLUSTER REPLICATE {master}")), b"+OK\r\n");
    assert_eq!(cluster.connect(1).say("SET foo v"), b"+OK\r\n");
    let mut replica = cluster.connect(2);
    assert_eq!(replica.say("READONLY"), b"+OK\r\n");
    await_condition("the replica follows", 60, || replica.say("GET foo") == b"$1\r\nv\r\n");
    // What is written while it listens gives it an offset, and all tell clients of it.
    assert_eq!(cluster.connect(1).say("SET foo v"), b"+OK\r\n");
    let id = cluster.connect(2).text("CLUSTER MYID");
    for index in 0..3 {
        let mut node = cluster.connect(index);
        await_condition("all know the replica", 60, || show(&node.say("CLUSTER SLOTS")).contains(&id));
    }
    cluster
}

#[test]
fn replicas_answer_as_in_redis() {
    let ours = with_a_replica(&vec![Program::Slotmesh(1); 3]);
    let pair = Pair { ours, theirs: with_a_replica(&vec![Program::Redis(None); 3]) };
    let replica = [
        "GET foo",
        "CLUSTER SLOTS",
        "READONLY",
        "READONLY x",
        "GET foo",
        "GET bar",
        "MGET foo bar",
        "SET foo x",
        "DEL foo",
        "TTL foo",
        "MULTI",
        "GET foo",
        "EXEC",
        "MULTI",
        "GET foo",
        "SET foo 1",
        "EXEC",
        "WATCH foo",
        "UNWATCH",
        "SPUBLISH foo x",
        "SPUBLISH bar x",
        "READWRITE",
        "GET foo",
        "READONLY",
        "RESET",
        "GET foo",
        "CLUSTER SETSLOT 0 STABLE",
        "CLUSTER SETSLOT 99999 NODE x",
        "CLUSTER SETSLOT 0",
        "CLUSTER FORGET <id1>",
        "CLUSTER FORGET <id2>",
        "CLUSTER FAILOVER x",
        "CLUSTER FAILOVER FORCE x",
        "CLUSTER REPLICATE <id2>",
        "CLUSTER REPLICAS <id2>",
        "CLUSTER COUNT-FAILURE-REPORTS <id1>",
        "CLUSTER FLUSHSLOTS",
        "CLUSTER COUNTKEYSINSLOT 12182",
        "CLUSTER GETKEYSINSLOT 12182 9",
        "CLUSTER DELSLOTS 99999",
        "CLUSTER ADDSLOTS 9000",
        "CLUSTER SET-CONFIG-EPOCH 7",
        "CLUSTER RESET x",
        "REPLICAOF NO ONE",
    ];
    pair.compare(2, "PING", &replica);
    pair.compare(2, "HELLO 3", &["GET foo", "READONLY", "GET foo", "CLUSTER SLOTS"]);
    let master = [
        "CLUSTER SLOTS",
        "CLUSTER REPLICATE <id2>",
        "CLUSTER REPLICATE <id0>",
        "CLUSTER RESET",
        "CLUSTER FAILOVER",
        "CLUSTER FAILOVER FORCE",
        "CLUSTER FAILOVER TAKEOVER",
    ];
    pair.compare(1, "PING", &master);
    pair.compare(2, "PING", &["CLUSTER RESET HARD", "DBSIZE", "GET foo", "CLUSTER SLOTS", "CLUSTER REPLICAS <id1>"]);
}

/// What clients are told where names are preferred, or nothing.
#[test]
fn endpoints_are_shown_as_in_redis() {
    for kind in ["ip", "hostname", "unknown-endpoint"] {
        for name in ["", "node.example"] {
            let args = ["--cluster-preferred-endpoint-type", kind, "--cluster-announce-hostname", name];
            let pair = Pair::form(2, &args);
            for cluster in [&pair.ours, &pair.theirs] {
                let names = |index: u16| cluster.connect(index).text("CLUSTER NODES").matches(",node.example").count();
                let all = if name.is_empty() { 0 } else { 2 };
                await_condition("hostnames are known", 30, || (0..2).all(|node| names(node) == all));
            }
            for opening in ["HELLO 2", "HELLO 3"] {
                pair.compare(0, opening, &["GET foo", "GET bar", "CLUSTER SLOTS"]);
                pair.compare(1, opening, &["GET foo", "GET bar"]);
            }
        }
    }
}

/// With slots that nobody serves: what is refused depends on two directives.
#[test]
fn a_cluster_with_holes_serves_as_redis_does() {
    for (coverage, reads) in [("no", "no"), ("yes", "no"), ("yes", "yes"), ("no", "yes")] {
        let args = ["--cluster-require-full-coverage", coverage, "--cluster-allow-reads-when-down", reads];
        let pair = Pair::form(2, &args);
        // foo lies on node 1, bar on node 0, k1 on node 1; a's slot goes.
        for cluster in [&pair.ours, &pair.theirs] {
            // The owner first, and the other as often as it hears of an old claim.
            assert_eq!(cluster.connect(1).say("CLUSTER DELSLOTS 15495"), b"+OK\r\n");
            await_condition("the slot is gone", 30, || {
                let is_gone = |node| cluster.connect(node).text("CLUSTER INFO").contains("slots_assigned:16383\r\n");
                is_gone(1) && (is_gone(0) || cluster.connect(0).say("CLUSTER DELSLOTS 15495").is_empty())
            });
            let state = if coverage == "yes" { "cluster_state:fail" } else { "cluster_state:ok" };
            await_condition("the state follows", 30, || {
                (0..2).all(|node| cluster.connect(node).text("CLUSTER INFO").starts_with(state))
            });
        }
        for node in 0..2 {
            pair.compare(
                node,
                "HELLO 2",
                &[
                    "GET foo",
                    "SET foo 1",
                    "GET bar",
                    "SET bar 1",
                    "GET a",
                    "SET a 1",
                    "MGET foo bar",
                    "DBSIZE",
                    "KEYS *",
                ],
            );
        }
    }
}
