//! Append-only files of nodes whose role changes: nothing is lost, and the files are whole. Who has lost its data makes none
//! that would pass for them, and what others have is not loaded.

use slotmesh_conform::{
    Cluster, Connection, Program, Server, await_condition, await_settled, field, follow_in_pairs, is_master,
    node_command, show,
};
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for a condition, in seconds.
const SECONDS_MAX: u64 = 30;
const OURS: Program = Program::Slotmesh(1);
const ARGS: &[&str] = &["--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes"];
const FOLDER: &str = "appendonlydir";
const LOADING: &str = "-LOADING Redis is loading the dataset in memory\\r\\n";
const LOST: &str = "comes back without data";

/// So many nodes with their files, which do not know each other.
fn started(nodes: usize) -> Cluster {
    let cluster = Cluster::start(&vec![OURS; nodes], ARGS);
    cluster.servers.iter().for_each(|server| server.await_info("persistence", "loading", "0"));
    cluster
}

/// A connection that may read at a replica, too.
fn connect(server: &Server) -> Connection {
    let mut connection = server.connect();
    connection.say("READONLY");
    connection
}

fn kill(server: &mut Server) {
    server.signal("KILL");
    server.await_end();
}

/// It is killed, and its append-only files go.
fn lose(server: &mut Server) {
    kill(server);
    fs::remove_dir_all(server.dir().join(FOLDER)).expect("it has files");
}

fn await_value(server: &Server, value: &str) {
    await_condition("it holds the value", SECONDS_MAX, || {
        connect(server).say("GET bar") == format!("${}\r\n{value}\r\n", value.len()).into_bytes()
    });
}

/// The checker of Redis finds nothing to say.
fn assert_sound(server: &Server) {
    let manifest = server.dir().join(FOLDER).join("appendonly.aof.manifest");
    let output = Command::new("redis-check-aof").arg(manifest).output().expect("it is installed");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("All AOF files and manifest are valid"), "{told}");
}

#[test]
fn a_node_without_its_data_is_silent_at_each_start_until_a_replica_leads() {
    let mut cluster = started(2);
    follow_in_pairs(&cluster, &[(0, 1)]);
    let ports: Vec<u16> = cluster.ports().collect();
    assert_eq!(cluster.servers[0].say("SET bar 1"), b"+OK\r\n");
    await_value(&cluster.servers[1], "1");
    // Its replica cannot take over by itself: the only master is gone.
    lose(&mut cluster.servers[0]);
    for starts in 1..=3 {
        let server = &mut cluster.servers[0];
        server.restart();
        assert_eq!(server.log().matches(LOST).count(), starts, "{}", server.log());
        let mut connection = server.connect();
        for line in ["DBSIZE", "SAVE", "BGSAVE", "BGREWRITEAOF", "DEBUG RELOAD"] {
            assert_eq!(show(&connection.say(line)), LOADING, "{line}");
        }
        assert_eq!(connection.say("CONFIG SET appendonly no"), b"+OK\r\n");
        let again = ["CONFIG", "SET", "appendonly", "yes", "save", "3600 1"];
        assert_eq!(connection.ask(&again), b"+OK\r\n");
        match starts {
            1 => kill(server),
            _ => {
                server.signal("TERM");
                server.await_end();
            }
        }
        assert!(!server.dir().join(FOLDER).join("appendonly.aof.manifest").exists(), "start {starts}");
        assert!(!server.dir().join("dump.rdb").exists(), "start {starts}");
    }
    cluster.servers[0].restart();
    assert_eq!(cluster.servers[1].say("CLUSTER FAILOVER TAKEOVER"), b"+OK\r\n");
    await_settled(&ports, 1);
    assert!(is_master(ports[1]) && !is_master(ports[0]));
    await_value(&cluster.servers[0], "1");
    // From now on it has files, and data in them.
    assert_eq!(cluster.servers[1].say("SET bar 2"), b"+OK\r\n");
    await_value(&cluster.servers[0], "2");
    await_condition("its files are there", SECONDS_MAX, || {
        cluster.servers[0].info("persistence", "aof_rewrite_in_progress") == "0"
            && cluster.servers[0].dir().join(FOLDER).join("appendonly.aof.manifest").exists()
    });
    kill(&mut cluster.servers[0]);
    assert_sound(&cluster.servers[0]);
}

#[test]
fn nodes_that_have_all_lost_their_data_begin_anew_with_files() {
    let mut cluster = started(2);
    follow_in_pairs(&cluster, &[(0, 1)]);
    assert_eq!(cluster.servers[0].say("SET bar 1"), b"+OK\r\n");
    await_value(&cluster.servers[1], "1");
    cluster.servers.iter_mut().for_each(lose);
    cluster.servers.iter_mut().for_each(Server::restart);
    let master = &mut cluster.servers[0];
    // Without a pause: the first write that is taken is one that is kept.
    let mut connection = master.connect();
    let until = Instant::now() + Duration::from_secs(SECONDS_MAX);
    while connection.say("SET bar 2") != b"+OK\r\n" {
        assert!(Instant::now() < until, "nothing is left to be kept");
    }
    kill(master);
    assert!(master.log().contains(LOST), "{}", master.log());
    assert_sound(master);
    master.restart();
    assert_eq!(master.log().matches(LOST).count(), 1, "it has data now");
    await_value(master, "2");
}

#[test]
fn what_the_files_hold_in_the_end_must_be_of_free_or_own_slots() {
    let args = ["--appendonly", "yes", "--save", ""];
    let mut server = Server::cluster(2, &args);
    let loaded = |server: &Server| field(&server.connect().text("INFO persistence"), "loading").as_deref() == Some("0");
    await_condition("its files are there", SECONDS_MAX, || loaded(&server));
    // bar is of slot 5061, foo of 12182, the other shard's.
    let append = |server: &Server, commands: &str| {
        let path = server.dir().join(FOLDER).join("appendonly.aof.1.incr.aof");
        let mut file = fs::File::options().append(true).open(path).expect("it has files");
        file.write_all(commands.as_bytes()).expect("there is room");
    };
    let (set, del) = ("*3\r\n$3\r\nSET\r\n$3\r\nfoo\r\n$1\r\n1\r\n", "*2\r\n$3\r\nDEL\r\n$3\r\nfoo\r\n");
    kill(&mut server);
    append(&server, &[set, set.replace("foo", "bar").as_str(), del].concat());
    server.restart();
    await_condition("what has gone again is no obstacle", SECONDS_MAX, || loaded(&server));
    await_value(&server, "1");
    kill(&mut server);
    append(&server, set);
    let mut command = node_command();
    command.args(["--cluster-enabled", "yes", "--cores", "2", "--shards", "2", "--port", &server.port().to_string()]);
    command.args(["--cluster-port", &(server.port() + 2).to_string(), "--dir"]).arg(server.dir()).args(args);
    let output = command.stdin(Stdio::null()).output().expect("the node starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("appendonly.aof.manifest hold keys of slot 12182, which another node has"), "{told}");
}

/// A server of its own that appends, with DEBUG.
fn alone(program: &Program) -> Server {
    // A PING of the old master behind the promotion would be a history that the new one does not have.
    let args = ["--appendonly", "yes", "--appendfsync", "always", "--repl-ping-replica-period", "3600"];
    let server = program.alone(&args);
    server.await_info("persistence", "loading", "0");
    server
}

fn digest(server: &Server) -> String {
    await_condition("all is loaded", SECONDS_MAX, || server.info("persistence", "loading") == "0");
    show(&server.say("DEBUG DIGEST"))
}

/// Writes of a master in two databases, of which each call makes others.
fn write(server: &Server, round: u32) {
    let mut connection = server.connect();
    for line in [
        format!("SET round:{round} {round}"),
        "INCR count".to_owned(),
        "SELECT 3".to_owned(),
        format!("RPUSH list {round} a b"),
        "LPOP list".to_owned(),
        "MULTI".to_owned(),
        format!("SET later:{round} x PX 100000000"),
        "INCR count".to_owned(),
        "EXEC".to_owned(),
    ] {
        let reply = connection.say(&line);
        assert!(!reply.starts_with(b"-"), "{line}: {}", show(&reply));
    }
}

fn rewrite(server: &Server) {
    let count = || server.info("persistence", "aof_rewrites");
    // That of a full sync may be under way.
    server.await_info("persistence", "aof_rewrite_in_progress", "0");
    let before = count();
    let reply = server.say("BGREWRITEAOF");
    assert!(reply.starts_with(b"+"), "{}", show(&reply));
    await_condition("its files are new", SECONDS_MAX, || count() != before);
    server.await_info("persistence", "aof_rewrite_in_progress", "0");
}

/// It is killed and comes back with all that it had, and so does a redis-server in a copy of its folder.
fn assert_kept(server: &mut Server, expected: &str) {
    kill(server);
    assert_sound(server);
    let source = server.dir().join(FOLDER);
    let port = slotmesh_conform::unused_port();
    let args = ["--save", "", "--appendonly", "yes", "--enable-debug-command", "yes"];
    let redis = Server::start_with(port, "redis-server", Program::Redis(None).command(), &args, |dir| {
        fs::create_dir_all(dir.join(FOLDER)).expect("a folder of our own");
        for entry in fs::read_dir(source).expect("it has files").flatten() {
            fs::copy(entry.path(), dir.join(FOLDER).join(entry.file_name())).expect("a file");
        }
    });
    assert_eq!(digest(&redis), expected, "redis-server reads the same");
    server.restart();
    assert_eq!(digest(server), expected);
}

#[test]
fn a_promoted_replica_and_a_demoted_master_lose_nothing() {
    let ours = [Program::Slotmesh(2), Program::Slotmesh(1)];
    let with_redis = [Program::Slotmesh(2), Program::Redis(None)];
    for programs in [ours, with_redis] {
        let (mut first, mut second) = (alone(&programs[0]), alone(&programs[1]));
        write(&first, 0);
        second.follow(&first);
        write(&first, 1);
        first.await_same(&second);
        for round in 0..3 {
            let name = format!("{} leads, round {round}", second.name());
            if round == 1 {
                // A rewrite on either side, so that what comes behind it begins in no database.
                [&first, &second].into_iter().for_each(rewrite);
            }
            let partial = second.syncs();
            second.order("REPLICAOF NO ONE");
            write(&second, 10 * round + 2);
            first.follow(&second);
            write(&second, 10 * round + 3);
            second.await_same(&first);
            assert_eq!(second.syncs(), (partial.0, partial.1 + 1), "{name}: no image is needed");
            assert_eq!(digest(&first), digest(&second), "{name}");
            std::mem::swap(&mut first, &mut second);
        }
        // The second follows, and both have gone through all. Its new file begins in the middle of a database's commands.
        rewrite(&second);
        let mut connection = first.connect();
        connection.say("SELECT 3");
        assert_eq!(connection.say("SET behind 1"), b"+OK\r\n");
        first.await_same(&second);
        let expected = digest(&first);
        if first.name() == "slotmesh" {
            assert_eq!(show(&first.say("WAITAOF 0 1 20000")), show(b"*2\r\n:1\r\n:1\r\n"));
        }
        second.await_info("persistence", "aof_buffer_length", "0");
        for server in [&mut second, &mut first] {
            if server.name() == "slotmesh" {
                assert_kept(server, &expected);
            }
        }
    }
}

#[test]
fn nodes_of_a_cluster_that_change_places_keep_their_files_whole() {
    let mut cluster = started(4);
    follow_in_pairs(&cluster, &[(0, 1), (2, 3)]);
    let ports: Vec<u16> = cluster.ports().collect();
    // bar is of slot 5061, which the first pair has.
    let mut leader = 0;
    for round in 0..3 {
        let other = 1 - leader;
        assert_eq!(cluster.servers[leader].say(&format!("SET bar {round}")), b"+OK\r\n");
        await_value(&cluster.servers[other], &round.to_string());
        let before = cluster.servers[other].syncs();
        assert_eq!(cluster.servers[other].say("CLUSTER FAILOVER"), b"+OK\r\n");
        await_condition("the replica leads", SECONDS_MAX, || is_master(ports[other]));
        await_settled(&ports, 2);
        assert_eq!(cluster.servers[other].syncs(), (before.0, before.1 + 1), "no image is needed");
        assert_eq!(cluster.servers[other].say("RPUSH {bar}list a b c").first(), Some(&b':'));
        leader = other;
    }
    let value = cluster.servers[leader].say("LRANGE {bar}list 0 -1");
    let has_list = |server: &Server| connect(server).say("LRANGE {bar}list 0 -1") == value;
    await_condition("the replica has it", SECONDS_MAX, || has_list(&cluster.servers[1 - leader]));
    // The replica first, which is back before the master goes.
    for index in [1 - leader, leader] {
        kill(&mut cluster.servers[index]);
        assert_sound(&cluster.servers[index]);
        cluster.servers[index].restart();
        await_settled(&ports, 2);
        await_value(&cluster.servers[index], "2");
        await_condition("it has all", SECONDS_MAX, || has_list(&cluster.servers[index]));
    }
}
