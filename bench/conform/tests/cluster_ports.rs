//! The shards of a process as nodes of a cluster, each at its own port: the same replies as from redis-server nodes, the
//! tools and the clients of the field.

use slotmesh_conform::{
    Connection, Server, assert_done, await_condition, installed, is_self_test, request, unused_ports,
};
use std::process::Command;

/// A cluster of redis-server nodes, on ports in a row, formed by redis-cli.
struct Oracle {
    nodes: Vec<Server>,
}

impl Oracle {
    fn new(count: u16) -> Self {
        // The buses' ports lie behind the clients'.
        let first = unused_ports(2 * count);
        let program = std::env::var_os("SLOTMESH_ORACLE").unwrap_or_else(|| "redis-server".into());
        let start = |port: u16| {
            let bus = (port + count).to_string();
            let args = ["--save", "", "--cluster-enabled", "yes", "--cluster-port", &bus];
            Server::start_at(port, "redis-server", Command::new(&program), &args)
        };
        let nodes: Vec<Server> = (first..first + count).map(start).collect();
        // What the tool does to form a cluster, with our own shares of the slots.
        for (index, node) in (0..count).zip(&nodes) {
            let (from, to) = share(index, count);
            assert_eq!(node.connect().say(&format!("CLUSTER ADDSLOTSRANGE {from} {to}")), b"+OK\r\n");
            assert_eq!(node.connect().say(&format!("CLUSTER SET-CONFIG-EPOCH {}", index + 1)), b"+OK\r\n");
            if index > 0 {
                assert_eq!(
                    node.connect().say(&format!("CLUSTER MEET 127.0.0.1 {first} {}", first + count)),
                    b"+OK\r\n"
                );
            }
        }
        for node in &nodes {
            await_condition("the nodes know each other", 60, || {
                let mut connection = node.connect();
                let all = connection.text("CLUSTER NODES").lines().filter(|line| line.contains(" connected ")).count();
                let agreed = connection.text("CLUSTER INFO").contains("cluster_state:ok");
                all == usize::from(count)
                    && agreed
                    && connection.say("CLUSTER SLOTS").starts_with(format!("*{count}\r\n").as_bytes())
            });
        }
        Self { nodes }
    }

    fn first_port(&self) -> u16 {
        self.nodes[0].port()
    }
}

/// The slots of shard `index`, as an even split has them.
fn share(index: u16, count: u16) -> (u16, u16) {
    let start = |index: u16| index * (16384 / count) + index.min(16384 % count);
    (start(index), start(index + 1) - 1)
}

/// A reply with what differs from process to process replaced: names of nodes, and ports.
fn normal(reply: &[u8], first_port: u16, count: u16) -> String {
    let mut text = String::from_utf8_lossy(reply).into_owned();
    for index in 0..count {
        let port = first_port + index;
        text = text.replace(&(port + count).to_string(), &format!("<bus{index}>"));
        text = text.replace(&port.to_string(), &format!("<port{index}>"));
    }
    let is_name = |word: &str| word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_border = |character: char| !character.is_ascii_alphanumeric();
    text.split_inclusive(is_border)
        .map(|word| match word.trim_end_matches(is_border) {
            name if is_name(name) => word.replace(name, "<name>"),
            _ => word.to_owned(),
        })
        .collect()
}

/// Sends the same lines to both and compares.
fn compare(ours: &mut Connection, theirs: &mut Connection, ports: [u16; 2], count: u16, lines: &[&str]) {
    for line in lines {
        let [our, their] = [ours.say(line), theirs.say(line)].map(|reply| reply.to_vec());
        assert_eq!(normal(&our, ports[0], count), normal(&their, ports[1], count), "{line}");
    }
}

#[test]
fn a_node_answers_as_redis_does() {
    if is_self_test() {
        return;
    }
    let (ours, oracle) = (Server::cluster(3, &[]), Oracle::new(3));
    let ports = [ours.port(), oracle.first_port()];
    for protocol in ["2", "3"] {
        for index in 0..3 {
            let mut our = Connection::tcp(("127.0.0.1", ports[0] + index)).expect("the shard accepts");
            let mut their = oracle.nodes[usize::from(index)].connect();
            for connection in [&mut our, &mut their] {
                connection.say(&format!("HELLO {protocol}"));
            }
            // foo lies on node 2, bar on node 0, k1 on node 0; {a}… on node 2; hello on node 0.
            compare(
                &mut our,
                &mut their,
                ports,
                3,
                &[
                    "CLUSTER KEYSLOT foo",
                    "CLUSTER KEYSLOT {foo}x",
                    "CLUSTER",
                    "CLUSTER NOPE",
                    "CLUSTER KEYSLOT",
                    "CLUSTER COUNTKEYSINSLOT 12182",
                    "CLUSTER COUNTKEYSINSLOT x",
                    "CLUSTER COUNTKEYSINSLOT 16384",
                    "CLUSTER GETKEYSINSLOT 12182 10",
                    "CLUSTER GETKEYSINSLOT 12182 -1",
                    "CLUSTER GETKEYSINSLOT a 1",
                    "CLUSTER MYID",
                    "CLUSTER REPLICAS nobody",
                    "CLUSTER COUNT-FAILURE-REPORTS nobody",
                    "CLUSTER SLAVES x",
                    "GET foo",
                    "GET bar",
                    "SET foo 1",
                    "SET bar 1",
                    "MGET foo bar",
                    "MGET {foo}1 {foo}2",
                    "DEL foo bar",
                    "MSET {a}1 1 {a}2 2",
                    "RENAME foo bar",
                    "RENAME {a}1 {a}3",
                    "EXISTS {a}3",
                    "KEYS {a}3",
                    "DBSIZE",
                    "SELECT 0",
                    "SELECT 1",
                    "SELECT x",
                    "MOVE foo 1",
                    "SWAPDB 0 1",
                    "COPY foo {foo}2",
                    "COPY {a}3 {a}4",
                    "READONLY",
                    "READWRITE",
                    "ASKING",
                    "GET foo",
                    "WATCH foo",
                    "UNWATCH",
                    "WATCH foo bar",
                    "MULTI",
                    "GET foo",
                    "GET bar",
                    "EXEC",
                    "MULTI",
                    "SET {a}5 5",
                    "DBSIZE",
                    "EXEC",
                    "GET {a}5",
                    "MULTI",
                    "PING",
                    "CLUSTER KEYSLOT a",
                    "SELECT 1",
                    "EXEC",
                    "BLPOP nosuch{a} 0.01",
                    "BLPOP foo bar 0",
                    "RPUSH {a}list 1 2 3",
                    "LMOVE {a}list {a}other LEFT LEFT",
                    "SORT {a}list DESC",
                    "SORT {a}list BY nosort STORE {a}sorted",
                    "SORT {a}list BY {a}w_*",
                    "SORT {a}list GET #",
                    "SORT_RO {a}list JUNK GET #",
                    "SORT {a}list STORE foo",
                    "SORT foo BY w_* STORE bar",
                    "SORT foo STORE {foo}bar",
                    "LMPOP 2 {a}x {a}list LEFT",
                    "SCAN 0 COUNT 1000 MATCH {a}list",
                    "FLUSHALL",
                    "DBSIZE",
                    "GET",
                    "NOPE",
                    "SET bar",
                    "EXEC",
                    "INCR hello",
                    "CLUSTER SLOTS",
                ],
            );
        }
    }
}

/// An EXEC whose commands have keys of several slots of the node is refused as a whole.
#[test]
fn a_transaction_is_of_one_slot() {
    if is_self_test() {
        return;
    }
    let (ours, oracle) = (Server::cluster(1, &[]), Oracle::new(1));
    let ports = [ours.port(), oracle.first_port()];
    let (mut our, mut their) = (ours.connect(), oracle.nodes[0].connect());
    compare(
        &mut our,
        &mut their,
        ports,
        1,
        &[
            "MULTI",
            "SET foo 1",
            "SET bar 1",
            "EXEC",
            "GET foo",
            "EXEC",
            "MULTI",
            "SET foo 1",
            "GET foo",
            "EXEC",
            "WATCH foo",
            "MULTI",
            "SET {foo}2 1",
            "EXEC",
            "CLUSTER COUNTKEYSINSLOT 12182",
            "CLUSTER GETKEYSINSLOT 12182 0",
            "FLUSHALL",
        ],
    );
}

/// Fields and lines whose figures differ by nature: same names, same order, same rest.
#[test]
fn texts_have_the_lines_of_redis() {
    if is_self_test() {
        return;
    }
    let (ours, oracle) = (Server::cluster(3, &[]), Oracle::new(3));
    let ports = [ours.port(), oracle.first_port()];
    let (mut our, mut their) = (ours.connect(), oracle.nodes[0].connect());
    let info = |connection: &mut Connection| -> Vec<String> {
        let text = connection.text("CLUSTER INFO");
        text.lines()
            .filter(|line| !line.contains("_messages_") && !line.starts_with("slotmesh_"))
            .map(str::to_owned)
            .collect()
    };
    assert_eq!(info(&mut our), info(&mut their));
    let nodes = |connection: &mut Connection, port| -> Vec<String> {
        let text = normal(connection.text("CLUSTER NODES").as_bytes(), port, 3);
        // The pong's time.
        let without = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            assert!(words[4].parse::<i64>().is_ok() && words[5].parse::<i64>().is_ok(), "{line}");
            [&words[..4], &words[6..]].concat().join(" ")
        };
        let mut lines: Vec<String> = text.lines().map(without).collect();
        lines.sort();
        lines
    };
    assert_eq!(nodes(&mut our, ports[0]), nodes(&mut their, ports[1]));
    for field in ["redis_mode:cluster", "cluster_enabled:1"] {
        assert!(our.text("INFO").contains(field), "{field}");
    }
    assert!(our.text("INFO server").contains(&format!("tcp_port:{}", ports[0])));
}

#[test]
fn shards_without_slots_serve_none() {
    let count = "2";
    let port = unused_ports(4);
    let bus = (port + 2).to_string();
    let args = ["--cluster-enabled", "yes", "--cores", count, "--shards", count, "--cluster-port", &bus];
    let server = Server::start_at(port, "slotmesh", slotmesh_conform::node_command(), &args);
    let mut second = Connection::tcp(("127.0.0.1", port + 1)).expect("the shard accepts");
    for connection in [&mut server.connect(), &mut second] {
        assert_eq!(connection.say("GET a"), b"-CLUSTERDOWN Hash slot not served\r\n");
        assert_eq!(connection.say("DBSIZE"), b":0\r\n");
        assert!(connection.text("CLUSTER INFO").starts_with("cluster_state:fail\r\ncluster_slots_assigned:0"));
        assert_eq!(connection.say("CLUSTER SLOTS"), b"*0\r\n");
        assert!(connection.text("CLUSTER NODES").contains(" myself,master - 0 "));
    }
}

#[test]
fn the_gateway_hides_the_cluster() {
    let gateway = unused_ports(1);
    let server = Server::cluster(3, &["--gateway-port", &gateway.to_string()]);
    let mut connection = Connection::tcp(("127.0.0.1", gateway)).expect("the gateway accepts");
    // A core whose turn has not come yet knows of no slots.
    await_condition("all cores know the slots", 10, || connection.say("MSET foo 1 bar 2 hello 3") == b"+OK\r\n");
    assert_eq!(connection.say("DBSIZE"), b":3\r\n");
    assert_eq!(connection.say("SELECT 1"), b"-ERR DB index is out of range\r\n");
    assert_eq!(connection.say("CLUSTER SLOTS"), b"-ERR This instance has cluster support disabled\r\n");
    assert!(connection.text("INFO").contains("redis_mode:standalone"));
    let mut node = Connection::tcp(("127.0.0.1", server.port() + 2)).expect("the shard accepts");
    assert_eq!(node.say("DBSIZE"), b":1\r\n");
    assert_eq!(node.say("GET foo"), b"$1\r\n1\r\n");
    // Each sees the clients of its own door.
    assert_eq!(node.text("CLIENT LIST").lines().count(), 1);
    assert!(node.text("CLIENT LIST").contains(&format!(":{} ", server.port() + 2)));
    // A scan of a node ends with the node, one of the gateway with the last.
    for number in 0..1000 {
        connection.say(&format!("SET key:{number} x"));
    }
    let scan = |connection: &mut Connection| {
        let (mut cursor, mut found) = ("0".to_owned(), 0);
        loop {
            let reply = connection.say(&format!("SCAN {cursor} COUNT 100"));
            let reply = String::from_utf8_lossy(&reply).into_owned();
            cursor = reply.lines().nth(2).expect("a cursor").to_owned();
            found += reply.matches('$').count() - 1;
            if cursor == "0" {
                return found;
            }
        }
    };
    assert_eq!(scan(&mut connection), 1003);
    let of_nodes: Vec<usize> = (0..3)
        .map(|index| scan(&mut Connection::tcp(("127.0.0.1", server.port() + index)).expect("the shard accepts")))
        .collect();
    assert_eq!(of_nodes.iter().sum::<usize>(), 1003, "{of_nodes:?}");
    assert!(of_nodes.iter().all(|&found| found > 100), "{of_nodes:?}");
}

/// A connection to each shard's port.
fn connect_each(server: &Server, count: u16) -> Vec<Connection> {
    (0..count).map(|index| Connection::tcp(("127.0.0.1", server.port() + index)).expect("the shard accepts")).collect()
}

#[test]
fn a_node_kills_its_own_clients_only() {
    let server = Server::cluster(2, &[]);
    let [mut first, mut second] = [connect_each(&server, 2), connect_each(&server, 2)];
    for connection in first.iter_mut().chain(&mut second) {
        assert_eq!(connection.say("PING"), b"+PONG\r\n");
    }
    let far = second[1].local_address();
    assert_eq!(second[1].text("CLIENT LIST").lines().count(), 2, "the node's own clients");
    assert_eq!(first[0].say(&format!("CLIENT KILL {far}")), b"-ERR No such client\r\n");
    assert_eq!(first[0].say(&format!("CLIENT KILL ADDR {far}")), b":0\r\n");
    assert_eq!(second[1].say("PING"), b"+PONG\r\n");
    // All others of the node; the one that asks stays.
    assert_eq!(first[0].say("CLIENT KILL TYPE normal"), b":1\r\n");
    assert!(second[0].try_reply().is_err(), "it is closed");
    assert_eq!(second[1].say("PING"), b"+PONG\r\n");
    assert_eq!(first[1].say(&format!("CLIENT KILL {far}")), b"+OK\r\n");
    assert!(second[1].try_reply().is_err(), "it is closed");
}

#[test]
fn a_node_pauses_its_own_clients_only() {
    let server = Server::cluster(2, &[]);
    let [mut control, mut other] = [connect_each(&server, 2), connect_each(&server, 2)];
    // bar lies on the first node, foo on the second.
    assert_eq!(control[0].say("CLIENT PAUSE 60000 WRITE"), b"+OK\r\n");
    other[0].send(&request(&["SET", "bar", "1"]));
    let waits = |connection: &mut Connection| connection.text("INFO clients").contains("blocked_clients:1");
    await_condition("the first node's client is paused", 10, || waits(&mut control[0]));
    assert_eq!(other[1].say("SET foo 1"), b"+OK\r\n");
    assert_eq!(control[0].say("GET bar"), b"$-1\r\n");
    assert_eq!(control[1].say("CLIENT UNPAUSE"), b"+OK\r\n");
    assert_eq!(control[0].say("GET bar"), b"$-1\r\n", "the other node's pause is none of it");
    assert!(waits(&mut control[0]));
    assert_eq!(control[0].say("CLIENT UNPAUSE"), b"+OK\r\n");
    assert_eq!(other[0].reply(), b"+OK\r\n");
    assert_eq!(control[0].say("GET bar"), b"$1\r\n1\r\n");
}

/// The nodes are one process.
#[test]
fn a_shutdown_of_one_node_ends_all() {
    let mut server = Server::cluster(3, &[]);
    let mut connections = connect_each(&server, 3);
    for connection in &mut connections {
        assert_eq!(connection.say("PING"), b"+PONG\r\n");
    }
    assert_eq!(connections[1].say("SHUTDOWN ABORT"), b"-ERR No shutdown in progress.\r\n");
    connections[2].send(&request(&["SHUTDOWN", "NOSAVE"]));
    for connection in &mut connections {
        assert!(connection.try_reply().is_err(), "it is closed");
    }
    assert_eq!(server.await_end(), Some(0));
}

fn run(tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).output().unwrap_or_else(|error| panic!("{tool}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {args:?}: {out}{err}");
    assert!(!out.contains("ERR") && !err.to_lowercase().contains("error"), "{tool} {args:?}: {out}{err}");
    out.into_owned()
}

#[test]
fn the_tools_of_redis_see_a_cluster() {
    let server = Server::cluster(3, &[]);
    let port = server.port().to_string();
    for key in ["foo", "bar", "hello"] {
        assert_eq!(run("redis-cli", &["-c", "-p", &port, "SET", key, "1"]), "OK\n");
        assert_eq!(run("redis-cli", &["-c", "-p", &(server.port() + 1).to_string(), "GET", key]), "1\n");
    }
    let check = run("redis-cli", &["--cluster", "check", &format!("127.0.0.1:{port}")]);
    for line in
        ["[OK] All nodes agree about slots configuration.", "[OK] All 16384 slots covered.", "3 keys in 3 masters"]
    {
        assert!(check.contains(line), "{check}");
    }
    let called = run("redis-cli", &["--cluster", "call", &format!("127.0.0.1:{port}"), "DBSIZE"]);
    assert!((0..3).all(|index| called.contains(&format!("127.0.0.1:{}: ", server.port() + index))), "{called}");
    for extra in [&["-P", "16"][..], &["-P", "1", "--threads", "2"]] {
        let common = ["--cluster", "-p", &port, "-t", "set,get,incr,lpush", "-n", "20000", "-q", "-r", "1000"];
        let out = run("redis-benchmark", &[&common, extra].concat());
        assert!(out.contains("Cluster has 3 master nodes"), "{out}");
        for test in ["SET", "GET", "INCR", "LPUSH"] {
            assert!(out.contains(&format!("{test}: ")), "{test} in {out}");
        }
    }
}

#[test]
fn redis_py_finds_its_way() {
    const SCRIPT: &str = r#"
import sys, redis
from redis.cluster import RedisCluster, ClusterNode
for protocol in (2, 3):
    r = RedisCluster(startup_nodes=[ClusterNode("127.0.0.1", int(sys.argv[1]) + 1)], protocol=protocol, decode_responses=True)
    assert len(r.get_primaries()) == 3 and r.flushall(target_nodes=RedisCluster.PRIMARIES) and r.ping()
    for i in range(300):
        assert r.set(f"key:{i}", i)
    assert [r.get(f"key:{i}") for i in range(300)] == [str(i) for i in range(300)]
    assert len(list(r.scan_iter())) == 300
    assert r.mget_nonatomic([f"key:{i}" for i in range(20)]) == [str(i) for i in range(20)]
    assert r.rpush("{tag}list", 1, 2, 3) == 3 and r.lmove("{tag}list", "{tag}other", "LEFT", "RIGHT") == "1"
    pipe = r.pipeline()
    for i in range(100):
        pipe.incr(f"pipe:{i}")
    assert pipe.execute() == [1] * 100
    try:
        r.mget("foo", "bar")
        assert False
    except redis.exceptions.RedisClusterException as error:
        pass
    assert r.cluster_keyslot("foo") == 12182 and r.cluster_countkeysinslot(12182) == 0
    assert r.cluster_info()["cluster_state"] == "ok"
    assert sum(len(n["slots"]) for n in r.cluster_nodes().values()) == 3
print("done")
"#;
    let packages = installed("python");
    if !packages.join("redis").is_dir() {
        eprintln!("SKIPPED: redis-py is not in {} (`make python` installs it)", packages.display());
        return;
    }
    let server = Server::cluster(3, &[]);
    let mut command = Command::new("python3");
    command.args(["-c", SCRIPT, &server.port().to_string()]).env("PYTHONPATH", packages);
    assert_done(command);
}

#[test]
fn ioredis_finds_its_way() {
    const SCRIPT: &str = r#"
const Redis = require("ioredis");
const assert = require("assert");
async function main() {
    const port = Number(process.argv[2]);
    const cluster = new Redis.Cluster([{ host: "127.0.0.1", port: port + 2 }]);
    for (let i = 0; i < 300; i++) assert.equal(await cluster.set(`key:${i}`, i), "OK");
    for (let i = 0; i < 300; i++) assert.equal(await cluster.get(`key:${i}`), String(i));
    assert.equal(cluster.nodes("master").length, 3);
    const sizes = await Promise.all(cluster.nodes("master").map((node) => node.dbsize()));
    assert.equal(sizes.reduce((sum, size) => sum + size), 300);
    assert(sizes.every((size) => size > 50));
    const replies = await cluster.pipeline().set("{tag}a", 1).incr("{tag}a").get("{tag}a").exec();
    assert.deepEqual(replies, [[null, "OK"], [null, 2], [null, "2"]]);
    const exec = await cluster.multi().set("{tag}b", 1).incr("{tag}b").exec();
    assert.deepEqual(exec, [[null, "OK"], [null, 2]]);
    await assert.rejects(cluster.mget("foo", "bar"), /CROSSSLOT/);
    await cluster.quit();
    console.log("done");
}
main().catch((error) => { console.error(error); process.exit(1); });
"#;
    let packages = installed("node");
    if !packages.join("node_modules/ioredis").is_dir() {
        eprintln!("SKIPPED: ioredis is not in {} (`make node` installs it)", packages.display());
        return;
    }
    let server = Server::cluster(3, &[]);
    let mut command = Command::new("node");
    command.args(["-e", SCRIPT, "-", &server.port().to_string()]).env("NODE_PATH", packages.join("node_modules"));
    assert_done(command);
}

#[test]
fn redis_rs_finds_its_way() -> redis::RedisResult<()> {
    use redis::Commands;
    let server = Server::cluster(3, &[]);
    let client = redis::cluster::ClusterClient::new(vec![format!("redis://127.0.0.1:{}", server.port() + 1)])?;
    let mut connection = client.get_connection()?;
    for index in 0..300 {
        connection.set::<_, _, ()>(format!("key:{index}"), index)?;
    }
    for index in 0..300 {
        assert_eq!(connection.get::<_, i64>(format!("key:{index}"))?, index);
    }
    let mut pipe = redis::cluster::cluster_pipe();
    for index in 0..100 {
        pipe.incr(format!("pipe:{index}"), 1);
    }
    assert_eq!(pipe.query::<Vec<i64>>(&mut connection)?, vec![1; 100]);
    assert_eq!(redis::cmd("DBSIZE").query::<i64>(&mut connection)?, 400);
    Ok(())
}
