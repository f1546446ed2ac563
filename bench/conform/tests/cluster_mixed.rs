//! Our shards in one cluster with nodes of redis-server and valkey-server: they meet, agree, see each other die, and come
//! back. Every test is about each peer that there is.

use slotmesh_conform::{Cluster, NodeLine, Program, assert_done, await_condition, installed, is_self_test, node_lines};
use std::process::Command;

/// Longest wait until a node that was killed is marked by all others, in seconds.
const FAIL_SECONDS_MAX: u64 = 60;

/// Two shards of ours, as a process each, and two of redis-server: nodes 0 and 1 are ours.
fn two_and_two(redis: &Program) -> [Program; 4] {
    [Program::Slotmesh(1), Program::Slotmesh(1), redis.clone(), redis.clone()]
}

fn line_of(cluster: &Cluster, from: u16, id: &str) -> Option<NodeLine> {
    node_lines(&mut cluster.connect(from)).into_iter().find(|line| line.id == id)
}

/// Kills a node, waits until all others mark it, starts it again, and waits until all is well.
fn kill_and_restart(cluster: &mut Cluster, victim: u16) {
    let id = cluster.connect(victim).text("CLUSTER MYID");
    let before = line_of(cluster, victim, &id).expect("it knows itself");
    let others: Vec<u16> = (0..cluster.count).filter(|&index| index != victim).collect();
    cluster.servers[usize::from(victim)].signal("KILL");
    cluster.servers[usize::from(victim)].await_end();
    await_condition("the others mark the dead node", FAIL_SECONDS_MAX, || {
        others.iter().all(|&other| line_of(cluster, other, &id).is_some_and(|line| line.is("fail")))
    });
    await_condition("the others are down", FAIL_SECONDS_MAX, || {
        others.iter().all(|&other| cluster.connect(other).text("CLUSTER INFO").starts_with("cluster_state:fail"))
    });
    for &other in &others {
        let reply = cluster.connect(other).say("GET foo");
        assert_eq!(reply, b"-CLUSTERDOWN The cluster is down\r\n", "node {other}");
    }
    cluster.servers[usize::from(victim)].restart();
    cluster.await_agreement();
    assert_eq!(line_of(cluster, others[0], &id).as_ref(), Some(&before));
}

/// CLUSTER SLOTS of all nodes says the same: who serves which slots where.
fn assert_same_slots(cluster: &Cluster) {
    let slots = |index| {
        let mut node = cluster.connect(index);
        node.say("HELLO 3");
        node.say("CLUSTER SLOTS")
    };
    let sorted = |reply: Vec<u8>| {
        // Each range begins at the next multiple of a quarter, so that its text tells where one ends.
        let text = String::from_utf8_lossy(&reply).into_owned();
        let mut ranges: Vec<String> = text.split("*3\r\n:").skip(1).map(str::to_owned).collect();
        ranges.sort();
        ranges
    };
    let first = sorted(slots(0));
    assert_eq!(first.len(), usize::from(cluster.count));
    for index in 1..cluster.count {
        assert_eq!(sorted(slots(index)), first, "node {index}");
    }
}

#[test]
fn nodes_of_both_kinds_meet_and_outlive_each_other() {
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        // Each meets one of the other kind.
        let mut cluster = Cluster::start(&two_and_two(&redis), &[]);
        cluster.share_slots();
        for (from, to) in [(0, 2), (3, 1), (1, 2)] {
            cluster.meet(from, to);
        }
        cluster.await_agreement();
        assert_same_slots(&cluster);
        kill_and_restart(&mut cluster, 2);
        if !is_self_test() {
            kill_and_restart(&mut cluster, 0);
        }
    }
}

/// One cluster of everything that there is; those that die are found dead by all kinds.
#[test]
fn nodes_of_all_kinds_live_in_one_cluster() {
    let programs = [vec![Program::Slotmesh(2)], Program::peers()].concat();
    let mut cluster = Cluster::form(&programs, &[]);
    assert_same_slots(&cluster);
    for victim in 2..cluster.count {
        let id = cluster.connect(victim).text("CLUSTER MYID");
        let server = usize::from(victim - 1);
        cluster.servers[server].signal("KILL");
        cluster.servers[server].await_end();
        let others: Vec<u16> = (0..cluster.count).filter(|&index| index != victim).collect();
        await_condition("all others mark the dead node", FAIL_SECONDS_MAX, || {
            others.iter().all(|&other| line_of(&cluster, other, &id).is_some_and(|line| line.is("fail")))
        });
        cluster.servers[server].restart();
        cluster.await_agreement();
    }
    assert!(cluster.connect(0).say("PUBLISH news hello").starts_with(b":"));
    for server in &cluster.servers {
        let log = server.log();
        // That 7.0 knows no shard ids it says of 7.2, too.
        let complains = |line: &&str| {
            ["eceived invalid", "eceived unknown packet", "Bad message"].iter().any(|bad| line.contains(bad))
        };
        assert_eq!(log.lines().find(complains), None, "{} has heard what it does not understand", server.name());
    }
}

#[test]
fn shards_of_one_process_are_nodes_like_others() {
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        let mut cluster = Cluster::form(&[Program::Slotmesh(2), redis.clone(), redis], &[]);
        assert_eq!(node_lines(&mut cluster.connect(3)).len(), 4);
        let before = node_lines(&mut cluster.connect(2));
        cluster.servers[0].signal("TERM");
        cluster.servers[0].restart();
        cluster.await_agreement();
        assert_eq!(node_lines(&mut cluster.connect(2)), before);
    }
}

/// What nodes tell of themselves beside the header: names of hosts and of nodes, and which shard they belong to.
#[test]
fn names_and_shard_ids_go_both_ways() {
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        let cluster = Cluster::form(&two_and_two(&redis), &[]);
        // The oracle knows no names of nodes and no shards.
        let is_later = cluster.connect(2).say("CLUSTER MYSHARDID").starts_with(b"$");
        for (index, host) in [(0, "ours.example"), (2, "theirs.example")] {
            let mut node = cluster.connect(index);
            // What only valkey tells, before the shard id: it is passed over. The others know no such directive.
            node.say("CONFIG SET cluster-announce-client-ipv4 203.0.113.7");
            assert_eq!(node.say(&format!("CONFIG SET cluster-announce-hostname {host}")), b"+OK\r\n");
            if index == 0 || is_later {
                let order = format!("CONFIG SET cluster-announce-human-nodename name-of-{index}");
                assert_eq!(node.say(&order), b"+OK\r\n");
            }
        }
        for (index, host) in [(0, "ours.example"), (2, "theirs.example")] {
            let id = cluster.connect(index).text("CLUSTER MYID");
            await_condition("all know its name", FAIL_SECONDS_MAX, || {
                let knows = |other| line_of(&cluster, other, &id).is_some_and(|line| line.address.ends_with(host));
                (0..cluster.count).all(knows)
            });
        }
        if !is_later {
            continue;
        }
        let shard_ids: Vec<String> = (0..4).map(|index| cluster.connect(index).text("CLUSTER MYSHARDID")).collect();
        for (reader, servers) in [(1, [2, 3]), (3, [0, 1])] {
            assert_eq!(cluster.connect(reader).say("CLUSTER SAVECONFIG"), b"+OK\r\n");
            let path = cluster.servers[reader as usize].dir().join("nodes.conf");
            for index in servers {
                let expected = format!("shard-id={}", shard_ids[index as usize]);
                let text = std::fs::read_to_string(&path).expect("a node has its file");
                assert!(text.contains(&expected), "{expected} of {index} at {reader}: {text}");
            }
            let text = std::fs::read_to_string(&path).expect("a node has its file");
            let name = format!("nodename=name-of-{}", servers[0]);
            assert!(text.contains(&name), "{name} at {reader}: {text}");
        }
    }
}

/// CLUSTER FORGET at one node makes all forget, where it is gossiped (7.2 and later), whichever kind is told.
#[test]
fn what_one_forgets_the_other_kind_forgets() {
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        for told in [0, 1] {
            let programs = [Program::Slotmesh(1), redis.clone(), redis.clone(), Program::Slotmesh(1)];
            let mut cluster = Cluster::form(&programs, &[]);
            if !cluster.connect(1).say("CLUSTER MYSHARDID").starts_with(b"$") {
                // The oracle neither says nor hears it.
                break;
            }
            let id = cluster.connect(3).text("CLUSTER MYID");
            cluster.servers[3].signal("KILL");
            cluster.servers[3].await_end();
            assert_eq!(cluster.connect(told).say(&format!("CLUSTER FORGET {id}")), b"+OK\r\n");
            await_condition("all have forgotten it", FAIL_SECONDS_MAX, || {
                (0..3).all(|other| line_of(&cluster, other, &id).is_none())
            });
        }
    }
}

/// PUBLISH at any node reaches the subscribers of all, of either kind; it counts those of its own node.
#[test]
fn messages_reach_the_subscribers_of_all_nodes() {
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        let cluster = Cluster::form(&[Program::Slotmesh(2), Program::Slotmesh(1), redis], &[]);
        let mut listeners: Vec<_> = (0..cluster.count).map(|index| cluster.connect(index)).collect();
        listeners.iter_mut().for_each(|listener| drop(listener.say("SUBSCRIBE news")));
        for from in 0..cluster.count {
            let reply = cluster.connect(from).say(&format!("PUBLISH news from-{from}"));
            assert_eq!(reply, b":1\r\n", "node {from}");
            for listener in &mut listeners {
                let expected = format!("*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$6\r\nfrom-{from}\r\n");
                assert_eq!(listener.reply(), expected.as_bytes());
            }
        }
    }
}

/// Every node takes a hand in a thousand keys.
const KEYS: usize = 1000;

#[test]
fn the_tools_of_redis_go_through_all_nodes() {
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        go_through_with_redis_cli(&Cluster::form(&two_and_two(&redis), &[]));
    }
}

fn go_through_with_redis_cli(cluster: &Cluster) {
    let script: String = (0..KEYS).map(|index| format!("SET key:{index} {index}\n")).collect();
    run_script(cluster.first_port, &script, "OK");
    let held: usize = (0..4).map(|index| count(cluster, index)).inspect(|&held| assert!(held > 100)).sum();
    assert_eq!(held, KEYS);
    let script: String = (0..KEYS).map(|index| format!("STRLEN key:{index}\n")).collect();
    for port in cluster.ports() {
        run_script(port, &script, "");
    }
    let entry = format!("127.0.0.1:{}", cluster.first_port + 2);
    let output = Command::new("redis-cli").args(["--cluster", "check", &entry]).output().expect("redis-cli");
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && out.contains("[OK] All 16384 slots covered."), "{out}");
    assert!(out.contains(&format!("[OK] {KEYS} keys in 4 masters.")), "{out}");
}

fn count(cluster: &Cluster, index: u16) -> usize {
    let reply = cluster.connect(index).say("DBSIZE");
    String::from_utf8_lossy(&reply[1..reply.len() - 2]).parse().expect("a number")
}

/// Feeds lines to `redis-cli -c`; every reply but for redirections is `expected`, or, if that is empty, a length above zero.
fn run_script(port: u16, script: &str, expected: &str) {
    use std::io::Write;
    use std::process::Stdio;
    let command = Command::new("redis-cli")
        .args(["-c", "-p", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = command.expect("redis-cli is installed");
    let mut input = child.stdin.take().expect("a pipe");
    let text = script.to_owned();
    let writer = std::thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().expect("our child");
    writer.join().expect("no panic").expect("redis-cli reads");
    let out = String::from_utf8_lossy(&output.stdout);
    let replies: Vec<&str> = out.lines().filter(|line| !line.starts_with("-> ") && !line.is_empty()).collect();
    assert_eq!(replies.len(), KEYS, "{out}");
    let is_right = |reply: &&str| match expected {
        "" => reply.parse::<u32>().is_ok_and(|length| length > 0),
        expected => *reply == expected,
    };
    assert!(replies.iter().all(is_right), "{out}");
}

#[test]
fn redis_py_goes_through_all_nodes() {
    const SCRIPT: &str = r#"
import sys
from redis.cluster import RedisCluster, ClusterNode
for port in sys.argv[1:]:
    r = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", int(port))], decode_responses=True)
    assert len(r.get_primaries()) == 4
    for i in range(1000):
        assert r.set(f"key:{i}", f"{port}:{i}")
    assert [r.get(f"key:{i}") for i in range(1000)] == [f"{port}:{i}" for i in range(1000)]
    pipe = r.pipeline()
    for i in range(1000):
        pipe.strlen(f"key:{i}")
    assert all(length > 0 for length in pipe.execute())
    r.close()
print("done")
"#;
    run_client("python", "redis", |packages| {
        let mut command = Command::new("python3");
        command.args(["-c", SCRIPT]).env("PYTHONPATH", packages);
        command
    });
}

#[test]
fn ioredis_goes_through_all_nodes() {
    const SCRIPT: &str = r#"
const Redis = require("ioredis");
const assert = require("assert");
async function main() {
    for (const port of process.argv.slice(2)) {
        const cluster = new Redis.Cluster([{ host: "127.0.0.1", port: Number(port) }]);
        for (let i = 0; i < 1000; i++) assert.equal(await cluster.set(`key:${i}`, `${port}:${i}`), "OK");
        for (let i = 0; i < 1000; i++) assert.equal(await cluster.get(`key:${i}`), `${port}:${i}`);
        assert.equal(cluster.nodes("master").length, 4);
        await cluster.quit();
    }
    console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
"#;
    run_client("node", "node_modules/ioredis", |packages| {
        let mut command = Command::new("node");
        command.args(["-e", SCRIPT, "-"]).env("NODE_PATH", packages.join("node_modules"));
        command
    });
}

/// Runs a client that is given all ports, beside each peer, if `make test` has installed it.
fn run_client(folder: &str, package: &str, command: impl Fn(&std::path::Path) -> Command) {
    let packages = installed(folder);
    if !packages.join(package).is_dir() {
        eprintln!("SKIPPED: {package} is not in {} (`make {folder}` installs it)", packages.display());
        return;
    }
    for redis in Program::peers() {
        eprintln!("beside {redis:?}");
        let cluster = Cluster::form(&two_and_two(&redis), &[]);
        let mut command = command(&packages);
        command.args(cluster.ports().map(|port| port.to_string()));
        assert_done(command);
    }
}

#[test]
fn redis_rs_goes_through_all_nodes() -> redis::RedisResult<()> {
    use redis::Commands;
    for peer in Program::peers() {
        eprintln!("beside {peer:?}");
        let cluster = Cluster::form(&two_and_two(&peer), &[]);
        for port in cluster.ports() {
            let client = redis::cluster::ClusterClient::new(vec![format!("redis://127.0.0.1:{port}")])?;
            let mut connection = client.get_connection()?;
            for index in 0..KEYS {
                connection.set::<_, _, ()>(format!("key:{index}"), index)?;
            }
            for index in 0..KEYS {
                assert_eq!(connection.get::<_, usize>(format!("key:{index}"))?, index);
            }
            assert_eq!(redis::cmd("DBSIZE").query::<usize>(&mut connection)?, KEYS);
        }
    }
    Ok(())
}
