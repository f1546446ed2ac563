//! Masters and replicas outside of clusters: ours beside redis-server and valkey-server, in both roles, and beside ours.

use slotmesh_conform::{Connection, Program, Relay, Server, await_condition, field, is_self_test, show, subscribe};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const OURS: Program = Program::Slotmesh(1);
/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 30;

/// Masters and their replicas: of each pair one at least is ours.
fn pairs() -> Vec<(Program, Program)> {
    let peers = Program::peers();
    let mut pairs = vec![(OURS, OURS)];
    for peer in peers {
        pairs.extend([(OURS, peer.clone()), (peer, OURS)]);
    }
    pairs
}

/// The same with the oracle alone, for what takes long.
fn short_pairs() -> [(Program, Program); 3] {
    [(OURS, OURS), (OURS, Program::Redis(None)), (Program::Redis(None), OURS)]
}

/// Strings and lists in three databases, some of which expire.
fn fill(server: &Server) {
    let mut client = server.connect();
    for db in [0, 3, 9] {
        client.say(&format!("SELECT {db}"));
        for number in 0..200 {
            client.say(&format!("SET string:{number} {}", "x".repeat(number * 7 % 500)));
            client.say(&format!("RPUSH list:{} {number} element-{number}", number % 20));
        }
        client.say("SET number 12345");
        client.say("EXPIRE string:7 10000");
        client.say("EXPIRE list:7 10000");
    }
    client.say("SELECT 0");
    client.say("DEBUG POPULATE 20000 many 40");
}

/// Writes as fast as it can until it is told to stop.
struct Writer {
    stops: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<u64>,
}

impl Writer {
    fn to(server: &Server) -> Self {
        let (mut client, stops) = (server.connect(), Arc::new(AtomicBool::new(false)));
        let told = Arc::clone(&stops);
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !told.load(Ordering::SeqCst) {
                client.say(&format!("SELECT {}", [0, 3][count as usize % 2]));
                client.say(&format!("SET many:{} new-{count}", count * 37 % 20_000));
                client.say(&format!("RPUSH list:{} {count}", count % 20));
                client.say(&format!("DEL string:{}", count % 200));
                count += 1;
            }
            count
        });
        Self { stops, thread }
    }

    fn end(self) -> u64 {
        self.stops.store(true, Ordering::SeqCst);
        self.thread.join().expect("the writer is not refused")
    }
}

#[test]
fn a_replica_gets_everything_and_what_follows() {
    for (master, replica) in pairs() {
        eprintln!("{replica:?} follows {master:?}");
        for streams in ["yes", "no"] {
            let master = master.alone(&["--repl-diskless-sync", streams]);
            let replica = replica.alone(&[]);
            fill(&master);
            replica.order("SET stale 1");
            let writer = Writer::to(&master);
            replica.follow(&master);
            writer.end();
            master.await_same(&replica);
            assert_eq!(replica.say("GET stale"), b"$-1\r\n");
            assert_eq!(master.syncs(), (1, 0), "one image did");
            // The image has come in the form that the master was told to use.
            let how = match streams {
                "yes" => " with EOF",
                _ => " bytes from ",
            };
            assert!(replica.log().contains(how), "{}", replica.log());
            // And no key expires by the replica.
            let reply = replica.say("PEXPIRETIME string:7");
            assert_eq!(show(&master.say("PEXPIRETIME string:7")), show(&reply));
        }
    }
}

#[test]
fn a_link_that_was_cut_goes_on() {
    for (master, replica) in pairs() {
        eprintln!("{replica:?} follows {master:?}");
        // The writer is quick, and a replica comes back after a second.
        let (master, replica) = (master.alone(&["--repl-backlog-size", "256mb"]), replica.alone(&[]));
        let relay = Relay::to(master.port());
        fill(&master);
        replica.follow_port(relay.port());
        replica.await_link();
        let writer = Writer::to(&master);
        let partial = |count: u64| {
            await_condition("it goes on", SECONDS_MAX, || master.syncs().1 >= count);
            replica.await_link();
        };
        // By the master, by what is between them, and in the middle of whatever is on its way.
        assert_eq!(master.say("CLIENT KILL TYPE replica"), b":1\r\n");
        partial(1);
        relay.cut();
        partial(2);
        relay.cut_behind(1003);
        await_condition("it is cut", SECONDS_MAX, || relay.has_cut());
        partial(3);
        writer.end();
        // While it is away.
        relay.block(true);
        replica.await_info("replication", "master_link_status", "down");
        master.order("SET while away");
        relay.block(false);
        partial(4);
        master.await_same(&replica);
        assert_eq!(replica.say("GET while"), b"$4\r\naway\r\n");
        assert_eq!(master.syncs().0, 1, "no second image");
    }
}

#[test]
fn who_was_away_for_too_long_begins_anew() {
    for (master, replica) in pairs() {
        eprintln!("{replica:?} follows {master:?}");
        let (master, replica) = (master.alone(&["--repl-backlog-size", "16384"]), replica.alone(&[]));
        let relay = Relay::to(master.port());
        fill(&master);
        replica.follow_port(relay.port());
        replica.await_link();
        assert_eq!(master.info("replication", "repl_backlog_size"), "16384");
        relay.block(true);
        replica.await_info("replication", "master_link_status", "down");
        let mut client = master.connect();
        for number in 0..100 {
            client.say(&format!("SET long:{number} {}", "y".repeat(2000)));
        }
        // The data stay meanwhile, to be read.
        assert_eq!(replica.say("GET long:1"), b"$-1\r\n");
        assert_eq!(replica.say("EXISTS many:17"), b":1\r\n");
        relay.block(false);
        replica.await_link();
        master.await_same(&replica);
        assert_eq!(master.syncs(), (2, 0));
        assert_eq!(master.info("stats", "sync_partial_err"), master_refusals(&master));
    }
}

/// One request to go on was refused, and the request for everything before is none: stock servers count alike.
fn master_refusals(master: &Server) -> String {
    // valkey and redis count a stock replica's first request as well if it has a history of its own.
    let counted: u64 = master.info("stats", "sync_partial_err").parse().expect("a number");
    assert!((1..=2).contains(&counted), "{counted} refusals");
    counted.to_string()
}

/// A, whose replica is B, whose replica is C. Then A is given up, and B leads: C and A go on from there.
#[test]
fn chains_of_all_kinds_outlive_their_head() {
    let redis = || Program::Redis(None);
    let mut chains = vec![
        [OURS, OURS, OURS],
        [OURS, redis(), OURS],
        [redis(), OURS, redis()],
        [OURS, OURS, redis()],
        [redis(), OURS, OURS],
    ];
    chains.extend(
        Program::peers().into_iter().skip(1).flat_map(|peer| [[OURS, peer.clone(), OURS], [peer.clone(), OURS, peer]]),
    );
    for chain in chains {
        eprintln!("{chain:?}");
        let [head, middle, tail] = chain.map(|program| program.alone(&[]));
        fill(&head);
        middle.follow(&head);
        tail.follow(&middle);
        head.order("SET through all");
        head.await_same(&middle);
        head.await_same(&tail);
        let mut subscriber = subscribe(&tail, "news");
        head.say("PUBLISH news hello");
        let message = subscriber.reply();
        assert!(message.ends_with(b"$5\r\nhello\r\n"), "{}", show(&message));
        assert_eq!(middle.syncs(), (1, 0));
        head.await_same(&tail);
        // Both know the old name of their history.
        let old = head.info("replication", "master_replid");
        middle.order("REPLICAOF NO ONE");
        middle.await_info("replication", "role", "master");
        assert_eq!(middle.info("replication", "master_replid2"), old);
        tail.await_link();
        middle.order("SET new leader");
        middle.await_same(&tail);
        head.follow(&middle);
        middle.await_same(&head);
        let (full, partial) = middle.syncs();
        assert_eq!(full, 1, "nobody needed an image again");
        assert!(partial >= 2, "both went on");
        // And back: the old head goes on leading, the others come along.
        head.order("REPLICAOF NO ONE");
        middle.follow(&head);
        head.order("SET back again");
        head.await_same(&middle);
        head.await_same(&tail);
        assert_eq!(head.syncs().0, 1);
    }
}

#[test]
fn only_the_master_lets_keys_expire() {
    for (master, replica) in pairs() {
        eprintln!("{replica:?} follows {master:?}");
        let (master, replica) = (master.alone(&[]), replica.alone(&[]));
        replica.follow(&master);
        master.order("DEBUG SET-ACTIVE-EXPIRE 0");
        master.order("SET kept 1");
        master.order("SET gone 1 PX 50");
        master.await_same(&replica);
        await_condition("its time is over", SECONDS_MAX, || replica.say("GET gone") == b"$-1\r\n");
        // It is hidden, and there.
        assert_eq!(replica.say("EXISTS gone"), b":0\r\n");
        assert_eq!(replica.say("DBSIZE"), b":2\r\n");
        // What the master sees to be over it removes, and tells.
        assert_eq!(master.say("GET gone"), b"$-1\r\n");
        await_condition("it is removed", SECONDS_MAX, || replica.say("DBSIZE") == b":1\r\n");
        master.order("SET gone 1 PX 50");
        master.order("DEBUG SET-ACTIVE-EXPIRE 1");
        await_condition("it is removed", SECONDS_MAX, || {
            master.say("DBSIZE") == b":1\r\n" && replica.say("DBSIZE") == b":1\r\n"
        });
        master.await_same(&replica);
    }
}

#[test]
fn blocks_databases_and_messages_come_through() {
    for (master, replica) in pairs() {
        eprintln!("{replica:?} follows {master:?}");
        let (master, replica) = (master.alone(&[]), replica.alone(&[]));
        replica.follow(&master);
        let mut subscriber = subscribe(&replica, "news");
        let mut client = master.connect();
        for line in
            ["MULTI", "SELECT 5", "SET a 1", "INCR a", "SELECT 0", "RPUSH l 1 2 3", "PUBLISH news first", "EXEC"]
        {
            client.say(line);
        }
        client.say("PUBLISH news second");
        for text in ["first", "second"] {
            let message = subscriber.reply();
            assert!(message.ends_with(format!("\r\n{text}\r\n").as_bytes()), "{}", show(&message));
        }
        // A wait that is served, and what depends on the moment.
        let mut waiting = master.connect();
        waiting.send(b"BLPOP queue 0\r\n");
        master.await_info("clients", "blocked_clients", "1");
        client.say("RPUSH queue x y");
        waiting.reply();
        for line in ["SET e v EX 100", "GETDEL a", "INCRBYFLOAT f 1.5", "SWAPDB 0 7", "SELECT 7", "APPEND f 9"] {
            client.say(line);
        }
        master.await_same(&replica);
        client.say("FLUSHALL");
        client.say("SET after all");
        master.await_same(&replica);
        assert_eq!(replica.info("keyspace", "db7").split(',').next(), Some("keys=1"));
    }
}

#[test]
fn clients_wait_for_replicas() {
    for (master, replica) in pairs() {
        eprintln!("{replica:?} follows {master:?}");
        let (master, replica) = (master.alone(&[]), replica.alone(&[]));
        let mut client = master.connect();
        assert_eq!(client.say("WAIT 0 100"), b":0\r\n");
        client.say("SET alone 1");
        assert_eq!(client.say("WAIT 1 20"), b":0\r\n");
        replica.follow(&master);
        client.say("SET both 1");
        assert_eq!(client.say("WAIT 1 10000"), b":1\r\n");
        assert_eq!(replica.say("GET both"), b"$1\r\n1\r\n");
        assert_eq!(client.say("WAIT 2 50"), b":1\r\n", "time is up");
        replica.pause();
        client.say("SET paused 1");
        assert_eq!(client.say("WAIT 1 50"), b":0\r\n");
        client.send(b"WAIT 1 0\r\n");
        master.await_info("clients", "blocked_clients", "1");
        replica.signal("CONT");
        assert_eq!(client.reply(), b":1\r\n");
        assert!(replica.say("WAIT 1 1").starts_with(b"-ERR WAIT cannot be used with replica instances."));
    }
}

#[test]
fn writes_need_replicas_that_follow() {
    for (master, replica) in short_pairs() {
        let (master, replica) = (master.alone(&[]), replica.alone(&[]));
        master.order("CONFIG SET min-replicas-to-write 1 min-replicas-max-lag 2");
        let lacking = b"-NOREPLICAS Not enough good replicas to write.\r\n";
        await_condition("writes are refused", SECONDS_MAX, || master.say("SET a 1") == lacking);
        assert_eq!(master.say("GET a"), b"$-1\r\n");
        replica.follow(&master);
        await_condition("writes are taken", SECONDS_MAX, || master.say("SET a 1") == b"+OK\r\n");
        assert_eq!(master.info("replication", "min_slaves_good_slaves"), "1");
        replica.pause();
        await_condition("it lags too far behind", SECONDS_MAX, || master.say("SET a 1") == lacking);
        replica.signal("CONT");
        await_condition("writes are taken again", SECONDS_MAX, || master.say("SET a 1") == b"+OK\r\n");
    }
}

#[test]
fn a_replica_serves_what_it_is_told_to() {
    let mut answers = Vec::new();
    for replica in [OURS, Program::Redis(None)] {
        let (master, replica) = (Program::Redis(None).alone(&[]), replica.alone(&[]));
        let mut said = Vec::new();
        replica.follow(&master);
        master.order("SET theirs 1");
        master.await_same(&replica);
        said.push(replica.say("SET own 1"));
        replica.order("CONFIG SET replica-read-only no");
        let mut client = replica.connect();
        for line in ["SET own 1", "GET own", "WAIT 0 1", "DBSIZE", "SET gone 1 PX 1"] {
            said.push(client.say(line));
        }
        await_condition("it is over", SECONDS_MAX, || client.say("GET gone") == b"$-1\r\n");
        // It is not told to anybody.
        said.push(master.say("GET own"));
        replica.order("CONFIG SET replica-read-only yes replica-serve-stale-data no");
        said.push(client.say("GET theirs"));
        master.pause();
        replica.order("CONFIG SET repl-timeout 1");
        replica.await_info("replication", "master_link_status", "down");
        for line in
            ["GET theirs", "SET own 1", "PING", "ROLE", "SELECT 3", "MULTI", "GET theirs", "EXEC", "PUBLISH a b"]
        {
            let reply = client.say(line);
            // Ports and offsets differ.
            said.push(if line == "ROLE" { reply[..10].to_vec() } else { reply });
        }
        client.say("DISCARD");
        replica.order("CONFIG SET replica-serve-stale-data yes");
        client.say("SELECT 0");
        said.push(client.say("GET theirs"));
        master.signal("CONT");
        answers.push(said.iter().map(|reply| show(reply)).collect::<Vec<_>>());
    }
    assert_eq!(answers[0], answers[1]);
}

#[test]
fn passwords_users_and_names_are_given() {
    for (master, replica) in short_pairs() {
        let (master, replica) = (master.alone(&["--requirepass", "secret"]), replica.alone(&[]));
        let ask = |line: &str| {
            let mut client = master.connect();
            client.say("AUTH secret");
            client.say(line)
        };
        replica.follow_port(master.port());
        await_condition("it is refused", SECONDS_MAX, || replica.log().contains("NOAUTH"));
        assert_eq!(replica.info("replication", "master_link_status"), "down");
        replica.order("CONFIG SET masterauth wrong");
        await_condition("it is refused", SECONDS_MAX, || replica.log().contains("Unable to AUTH to MASTER"));
        replica.order(
            "CONFIG SET masterauth secret masteruser default replica-announce-ip 10.9.8.7 replica-announce-port 7777",
        );
        replica.await_link();
        await_condition("ROLE names it", SECONDS_MAX, || {
            let role = String::from_utf8_lossy(&ask("ROLE")).into_owned();
            role.contains("10.9.8.7") && role.contains("7777")
        });
        let info = String::from_utf8_lossy(&ask("INFO replication")).into_owned();
        let line = field(&info, "slave0").expect("a replica");
        assert!(line.starts_with("ip=10.9.8.7,port=7777,state=online,offset="), "{line}");
    }
}

/// Names of the fields of INFO replication, in their order, and what they hold where that is no number or name of the day.
fn fields(server: &Server) -> Vec<String> {
    let text = server.connect().text("INFO replication");
    let told =
        ["role", "master_link_status", "slave_read_only", "replica_announced", "connected_slaves", "slave_priority"];
    let told = [&told[..], &["master_failover_state", "repl_backlog_active", "repl_backlog_size"]].concat();
    let shown = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        if told.contains(&name) { line.to_owned() } else { format!("{name}:{}", shape(value)) }
    };
    text.lines().map(|line| shown(line.trim_end())).collect()
}

/// What a value looks like, without its numbers.
fn shape(value: &str) -> String {
    let parts = value.split(',').map(|part| part.split_once('=').map_or("", |(name, _)| name));
    parts.collect::<Vec<_>>().join(",")
}

fn role_shape(server: &Server) -> String {
    let text = show(&server.say("ROLE"));
    // Which of these it is changes from moment to moment.
    let text = text.replace("handshake", "connect").replace("connecting", "connect");
    text.chars().filter(|char| !char.is_ascii_digit()).collect()
}

#[test]
fn info_and_role_have_the_fields_of_redis() {
    let mut told = Vec::new();
    for program in [OURS, Program::Redis(None)] {
        let (server, peer) = (program.alone(&[]), Program::Redis(None).alone(&[]));
        let mut said = Vec::new();
        let mut look = |what: &str, server: &Server| {
            said.push((what.to_owned(), fields(server), role_shape(server)));
        };
        look("alone", &server);
        peer.follow(&server);
        server.order("SET a 1");
        server.await_same(&peer);
        look("master", &server);
        peer.order("REPLICAOF NO ONE");
        server.await_info("replication", "connected_slaves", "0");
        look("master without replicas", &server);
        server.follow(&peer);
        look("replica", &server);
        assert_eq!(
            show(&server.say(&format!("REPLICAOF 127.0.0.1 {}", peer.port()))),
            "+OK Already connected to specified master\\r\\n"
        );
        peer.pause();
        server.order("CONFIG SET repl-timeout 1");
        server.await_info("replication", "master_link_status", "down");
        server.order("CONFIG SET repl-timeout 60");
        look("replica without a master", &server);
        peer.signal("CONT");
        server.await_link();
        server.order("REPLICAOF NO ONE");
        look("master again", &server);
        server.order("CONFIG SET min-replicas-to-write 1");
        look("needs replicas", &server);
        told.push(said);
    }
    for (ours, theirs) in told[0].iter().zip(&told[1]) {
        assert_eq!(ours, theirs);
    }
}

#[test]
fn a_replica_counts_as_no_client() {
    for program in [OURS, Program::Redis(None)] {
        let (server, replica) = (program.alone(&[]), Program::Redis(None).alone(&[]));
        replica.follow(&server);
        server.await_info("replication", "connected_slaves", "1");
        // Who asks is the only one.
        server.await_info("clients", "connected_clients", "1");
    }
}

#[test]
fn silent_peers_are_given_up() {
    for (master, replica) in short_pairs() {
        let args = ["--repl-timeout", "2", "--repl-ping-replica-period", "1"];
        let (master, replica) = (master.alone(&args), replica.alone(&args));
        replica.follow(&master);
        replica.pause();
        master.await_info("replication", "connected_slaves", "0");
        assert!(master.log().contains("Disconnecting timedout replica"), "{}", master.log());
        replica.signal("CONT");
        await_condition("it goes on", SECONDS_MAX, || master.syncs() == (1, 1));
        replica.await_link();
        master.pause();
        replica.await_info("replication", "master_link_status", "down");
        assert!(replica.log().contains("MASTER timeout: no data nor PING received"), "{}", replica.log());
        master.signal("CONT");
        replica.await_link();
        master.await_same(&replica);
        assert_eq!(master.syncs().0, 1);
    }
}

#[test]
fn who_waits_at_a_new_replica_is_told() {
    for program in [OURS, Program::Redis(None)] {
        let (master, server) = (Program::Redis(None).alone(&[]), program.alone(&[]));
        let mut waiting = server.connect();
        waiting.send(b"BLPOP queue 0\r\n");
        server.await_info("clients", "blocked_clients", "1");
        server.follow_port(master.port());
        let text = "-UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)\r\n";
        assert_eq!(show(&waiting.read_to_close()), show(text.as_bytes()));
    }
}

#[test]
fn the_backlog_is_as_it_was_set() {
    for program in [OURS, Program::Redis(None)] {
        let (server, replica) = (program.alone(&[]), Program::Redis(None).alone(&[]));
        assert_eq!(server.info("replication", "repl_backlog_active"), "0");
        replica.follow(&server);
        let mut client = server.connect();
        for _ in 0..100 {
            client.say(&format!("SET a {}", "z".repeat(1000)));
        }
        server.order("CONFIG SET repl-backlog-size 32768");
        assert_eq!(server.info("replication", "repl_backlog_size"), "32768");
        for _ in 0..100 {
            client.say(&format!("SET a {}", "z".repeat(1000)));
        }
        server.await_same(&replica);
        let kept: u64 = server.info("replication", "repl_backlog_histlen").parse().expect("a number");
        // Both keep whole chunks, so a little more.
        assert!((32_768..100_000).contains(&kept), "{kept}");
        let id = server.info("replication", "master_replid");
        server.order("CONFIG SET repl-backlog-ttl 1");
        replica.order("REPLICAOF NO ONE");
        server.await_info("replication", "repl_backlog_active", "0");
        assert_ne!(server.info("replication", "master_replid"), id, "what follows is not counted");
    }
}

/// A socket that knows SYNC alone, and redis-cli as a replica.
#[test]
fn simple_replicas_are_served() {
    if is_self_test() {
        return;
    }
    let server = OURS.alone(&[]);
    fill(&server);
    let mut socket = server.connect();
    socket.send(b"SYNC\r\n");
    let image = bulk(&mut socket);
    assert!(image.starts_with(b"REDIS0010"));
    load_and_compare(&server, &image);
    server.order("SET in stream");
    let expected = b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*3\r\n$3\r\nSET\r\n$2\r\nin\r\n$6\r\nstream\r\n";
    // A sign of life may come before.
    await_condition("the stream comes", SECONDS_MAX, || {
        socket.receive().is_ok_and(|count| count > 0) && contains(socket.unread(), expected)
            || contains(socket.unread(), expected)
    });
    drop(socket);
    let path = server.dir().join("received.rdb");
    let port = server.port().to_string();
    let status = Command::new("redis-cli").args(["-p", &port, "--rdb"]).arg(&path).output().expect("redis-cli").status;
    assert!(status.success());
    load_and_compare(&server, &std::fs::read(&path).expect("a new file"));
    // It prints what it is told, a command a line.
    let out = server.dir().join("replica.out");
    let file = std::fs::File::create(&out).expect("a new file");
    let mut cli = Command::new("redis-cli")
        .args(["-p", &port, "--replica"])
        .stdout(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("redis-cli");
    server.await_info("replication", "connected_slaves", "1");
    await_condition("it is on line", SECONDS_MAX, || server.info("replication", "slave0").contains("state=online"));
    server.order("SET told again");
    await_condition("it is told", SECONDS_MAX, || {
        std::fs::read_to_string(&out).is_ok_and(|text| text.contains("\"SET\",\"told\",\"again\""))
    });
    cli.kill().expect("our own child");
    cli.wait().expect("our own child");
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// The image behind `$<length>`, which may come behind newlines.
fn bulk(socket: &mut Connection) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let start = bytes.iter().position(|byte| *byte != b'\n').unwrap_or(bytes.len());
        if let Some(end) = bytes[start..].iter().position(|byte| *byte == b'\n') {
            let line = std::str::from_utf8(&bytes[start..start + end - 1]).expect("a line");
            let length: usize = line.strip_prefix('$').and_then(|digits| digits.parse().ok()).expect("a length");
            if bytes.len() >= start + end + 1 + length {
                return bytes[start + end + 1..start + end + 1 + length].to_vec();
            }
        }
        assert!(socket.receive().expect("the server sends") > 0);
        bytes = socket.unread().to_vec();
    }
}

/// redis-server loads the image, and has what the server has.
fn load_and_compare(server: &Server, image: &[u8]) {
    let prepare = |dir: &std::path::Path| std::fs::write(dir.join("dump.rdb"), image).expect("a new file");
    let args = ["--save", "", "--enable-debug-command", "yes"];
    let port = slotmesh_conform::unused_port();
    let loaded = Server::start_with(port, "redis-server", Program::Redis(None).command(), &args, prepare);
    assert_eq!(show(&loaded.say("DEBUG DIGEST")), show(&server.say("DEBUG DIGEST")));
}

/// `replicaof` of the configuration is followed from the start, and tells what REPLICAOF has changed.
#[test]
fn a_master_may_stand_in_the_configuration() {
    let master = Server::redis(&["--repl-diskless-sync-delay", "0"]);
    assert_eq!(master.connect().say("SET a 1"), b"+OK\r\n");
    let named = format!("127.0.0.1 {}", master.port());
    for (cores, shards) in [(1, 1), (2, 2)] {
        let port = master.port().to_string();
        let replica = Server::slotmesh(cores, shards, &["--replicaof", "127.0.0.1", &port]);
        let mut client = replica.connect();
        await_condition("it follows", SECONDS_MAX, || client.say("GET a") == b"$1\r\n1\r\n");
        assert_eq!(client.say("SET a 2"), b"-READONLY You can't write against a read only replica.\r\n");
        assert!(show(&client.say("CONFIG GET replicaof")).contains(&named));
        assert!(show(&client.say("CONFIG SET replicaof x")).contains("immutable config"));
        assert_eq!(client.say("REPLICAOF NO ONE"), b"+OK\r\n");
        assert_eq!(client.say("CONFIG GET replicaof"), b"*2\r\n$9\r\nreplicaof\r\n$0\r\n\r\n");
    }
}

/// What INFO counts of replication, and CONFIG RESETSTAT forgets.
#[test]
fn syncs_and_bytes_are_counted_and_forgotten() {
    for program in [Program::Redis(None), Program::Slotmesh(2)] {
        let (master, replica) = (program.alone(&[]), program.alone(&[]));
        replica.follow(&master);
        master.order(&format!("SET k {}", "v".repeat(10_000)));
        master.await_same(&replica);
        let count = |server: &Server, section: &str, name: &str| -> u64 {
            server.info(section, name).parse().unwrap_or_else(|_| panic!("{} has no {name}", server.name()))
        };
        let name = master.name();
        for (server, field) in [(&master, "total_net_repl_output_bytes"), (&replica, "total_net_repl_input_bytes")] {
            await_condition("the bytes are counted", 10, || count(server, "stats", field) > 10_000);
        }
        assert!(count(&master, "memory", "mem_replication_backlog") > 10_000, "{name}");
        assert!(count(&master, "memory", "mem_total_replication_buffers") > 10_000, "{name}");
        let stats = show(&master.connect().say("MEMORY STATS"));
        assert!(!stats.contains(r"$19\r\nreplication.backlog\r\n:0\r\n"), "{name}: {stats}");
        assert_eq!(master.syncs(), (1, 0), "{name}");
        master.order("CONFIG RESETSTAT");
        assert_eq!(master.syncs(), (0, 0), "{name}");
        assert!(count(&master, "stats", "total_net_repl_output_bytes") < 10_000, "{name}");
        assert!(count(&master, "memory", "mem_replication_backlog") > 10_000, "{name}: what is held stays");
    }
}

/// `redis-cli --functions-rdb`: an image without keys.
#[test]
fn an_image_of_the_functions_alone_has_no_keys() {
    let sizes = [Program::Redis(None), Program::Slotmesh(2)].map(|program| {
        let server = program.alone(&["--repl-diskless-sync", "no"]);
        (0..100).for_each(|key| server.order(&format!("SET key:{key} v")));
        let (port, file) = (server.port().to_string(), server.dir().join("functions.rdb"));
        let mut tool = Command::new("redis-cli");
        let output = tool.args(["-p", &port, "--functions-rdb"]).arg(&file).output().expect("redis-cli is installed");
        assert!(output.status.success(), "{output:?}");
        let image = std::fs::read(&file).expect("the tool has written it");
        assert!(image.starts_with(b"REDIS00") && !image.windows(4).any(|word| word == b"key:"), "{}", server.name());
        let checked = Command::new("redis-check-rdb").arg(&file).output().expect("redis-check-rdb is installed");
        assert!(String::from_utf8_lossy(&checked.stdout).contains("RDB looks OK!"), "{checked:?}");
        let mut refused = server.connect();
        assert_eq!(refused.say("REPLCONF rdb-filter-only functions"), b"+OK\r\n");
        let without_eof = show(&refused.say("PSYNC ? -1"));
        let mut other = server.connect();
        (without_eof, show(&other.say("REPLCONF rdb-filter-only \"functions keys\"")), image.len() < 300)
    });
    assert_eq!(sizes[0], sizes[1]);
}

/// What is said in a transaction stands in the stream where it was said.
#[test]
fn a_message_of_a_transaction_has_its_place() {
    for program in [Program::Redis(None), Program::Slotmesh(1), Program::Slotmesh(2)] {
        let server = program.alone(&[]);
        let (port, out) = (server.port().to_string(), server.dir().join("replica.out"));
        let file = std::fs::File::create(&out).expect("a new file");
        let mut cli = Command::new("redis-cli");
        let cli = cli.args(["-p", &port, "--replica"]).stdout(file).stderr(Stdio::null());
        let mut cli = cli.spawn().expect("redis-cli is installed");
        await_condition("it is on line", SECONDS_MAX, || server.info("replication", "slave0").contains("state=online"));
        let mut client = server.connect();
        // Keys of both shards.
        for line in ["MULTI", "SET a 1", "PUBLISH news m", "SET b 2", "EXEC", "PUBLISH news end"] {
            client.say(line);
        }
        let told = || std::fs::read_to_string(&out).expect("the tool writes");
        await_condition("all of it is told", SECONDS_MAX, || told().contains("\"end\""));
        let lines = ["MULTI\"", "\"a\"", "\"m\"", "\"b\"", "EXEC\"", "\"end\""];
        let text = told();
        let places: Vec<usize> = lines.iter().map(|line| text.find(line).expect("it is told")).collect();
        assert!(places.is_sorted() && text.matches("PUBLISH").count() == 2, "{}: {text}", server.name());
        cli.kill().expect("our own child");
        cli.wait().expect("our own child");
    }
}
