//! Real clients: redis-benchmark, redis-cli, redis-py and redis-rs, each doing what its users do.

use redis::Commands;
use slotmesh_conform::{Server, request};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Runs a tool against a server; gives what it printed.
fn run(tool: &str, server: &Server, args: &[&str]) -> String {
    let output = Command::new(tool).arg("-p").arg(server.port().to_string()).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {args:?}: {out}{err}");
    assert!(!out.contains("ERR") && !err.to_lowercase().contains("error"), "{tool} {args:?}: {out}{err}");
    out.into_owned()
}

#[test]
fn redis_benchmark_runs_its_tests() {
    let server = Server::slotmesh(3, 3, &[]);
    for extra in
        [&["-P", "16"][..], &["-P", "1", "-c", "200"], &["-P", "64", "-r", "100000", "-d", "1000"], &["-3", "-P", "16"]]
    {
        let common = ["-t", "ping_inline,ping_mbulk,set,get,incr,mset", "-n", "20000", "-q"];
        let out = run("redis-benchmark", &server, &[&common, extra].concat());
        for test in ["PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET"] {
            assert!(out.contains(&format!("{test}: ")) || out.contains(&format!("{test} (")), "{test} in {out}");
        }
        assert!(out.contains("requests per second"), "{out}");
    }
    let threads =
        run("redis-benchmark", &server, &["--threads", "2", "-t", "set,get", "-n", "20000", "-P", "16", "-q"]);
    assert!(threads.contains("requests per second"), "{threads}");
}

#[test]
fn redis_cli_talks_to_us() {
    let server = Server::slotmesh(3, 3, &[]);
    assert!(run("redis-cli", &server, &["INFO"]).contains("redis_version:7.2"));
    assert_eq!(run("redis-cli", &server, &["CONFIG", "GET", "maxclients"]), "maxclients\n10000\n");
    for index in 0..500 {
        server.connect().say(&format!("SET key:{index} value"));
    }
    let keys = run("redis-cli", &server, &["--scan", "--pattern", "key:*"]);
    let mut keys: Vec<&str> = keys.lines().collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 500);
    assert_eq!(run("redis-cli", &server, &["-3", "GET", "key:7"]), "value\n");
    assert_eq!(run("redis-cli", &server, &["-r", "3", "INCR", "counter"]), "1\n2\n3\n");
    assert_eq!(run("redis-cli", &server, &["--no-raw", "MGET", "key:1", "nosuch"]), "1) \"value\"\n2) (nil)\n");
    assert_eq!(run("redis-cli", &server, &["-n", "3", "DBSIZE"]), "0\n");
    let socket = server.socket();
    assert_eq!(run("redis-cli", &server, &["-s", socket.to_str().expect("UTF-8"), "GET", "key:1"]), "value\n");
    assert!(run("redis-cli", &server, &["COMMAND", "DOCS", "get"]).contains("summary"));
    assert!(run("redis-cli", &server, &["CLIENT", "LIST"]).contains("cmd=client|list"));
    let bad =
        Command::new("redis-cli").args(["-p", &server.port().to_string(), "-e", "GET"]).output().expect("redis-cli");
    assert!(!bad.status.success() && String::from_utf8_lossy(&bad.stderr).contains("wrong number of arguments"));
}

#[test]
fn redis_cli_finds_big_keys() {
    let server = Server::slotmesh(3, 3, &[]);
    server.connect().ask(&["SET".to_owned(), "big".to_owned(), "x".repeat(5000)]);
    server.connect().say("SET small 1");
    let out = run("redis-cli", &server, &["--bigkeys"]);
    assert!(out.contains("Biggest string found '\"big\"' has 5000 bytes"), "{out}");
}

#[test]
fn redis_cli_pipes_a_hundred_thousand_commands() {
    const COMMANDS: usize = 100_000;
    let server = Server::slotmesh(3, 3, &[]);
    let port = server.port().to_string();
    let child =
        Command::new("redis-cli").args(["-p", &port, "--pipe"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut child = child.expect("redis-cli");
    let mut input = child.stdin.take().expect("a pipe");
    for index in 0..COMMANDS {
        let key = format!("key:{index}");
        input.write_all(&request(&["SET", &key, &index.to_string()])).expect("redis-cli reads");
    }
    drop(input);
    let output = child.wait_with_output().expect("our child");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(&format!("errors: 0, replies: {COMMANDS}")), "{text}");
    assert_eq!(server.connect().say("DBSIZE"), format!(":{COMMANDS}\r\n").as_bytes());
    assert_eq!(server.connect().say("GET key:99999"), b"$5\r\n99999\r\n");
}

/// Where `make test` puts redis-py.
fn python_packages() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    test.ancestors().nth(3).expect("tests lie in target/<profile>/deps").join("python")
}

#[test]
fn redis_py_makes_a_round_trip() {
    const SCRIPT: &str = r#"
import sys, redis
for protocol in (2, 3):
    r = redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True, client_name="python")
    assert r.ping() and r.flushall()
    assert r.set("a", "1", ex=100) and r.get("a") == "1" and 90 < r.ttl("a") <= 100
    assert r.set("a", "2", nx=True) is None and r.set("a", "3", get=True) == "1"
    assert r.incr("counter", 5) == 5 and r.decr("counter") == 4
    assert r.mset({f"key:{i}": i for i in range(100)}) and r.mget("key:7", "nosuch", "key:99") == ["7", None, "99"]
    assert r.exists("key:1", "key:2", "nosuch") == 2 and r.delete("key:1", "key:2") == 2
    assert sorted(r.scan_iter(match="key:9*")) == ["key:9"] + [f"key:{i}" for i in range(90, 100)]
    assert len(r.keys("key:*")) == 98 and r.dbsize() == 100 and r.randomkey() is not None
    pipe = r.pipeline(transaction=False)
    for i in range(5000):
        pipe.incr(f"pipe:{i % 13}")
    replies = pipe.execute()
    assert replies == [i // 13 + 1 for i in range(5000)], replies[:30]
    assert r.client_getname() == "python" and any(c["name"] == "python" for c in r.client_list())
    assert r.info()["redis_version"].startswith("7.2") and r.info("keyspace")["db0"]["keys"] == 113
    assert r.config_get("maxclients") == {"maxclients": "10000"} and r.config_set("timeout", 0)
    assert r.command_count() > 40 and "get" in r.command()
    try:
        r.execute_command("GET")
        assert False
    except redis.ResponseError as error:
        assert "wrong number of arguments" in str(error)
print("done")
"#;
    run_redis_py(SCRIPT);
}

/// Transactions, waits and moves, as programs in Python write them.
#[test]
fn redis_py_runs_transactions_and_waits() {
    const SCRIPT: &str = r#"
import sys, redis, threading
def connect(protocol):
    return redis.Redis(port=int(sys.argv[1]), protocol=protocol, decode_responses=True)
for protocol in (2, 3):
    r = connect(protocol)
    r.flushall()
    with r.pipeline(transaction=True) as pipe:
        pipe.set("a", 1).incr("b").rpush("list", 1, 2, 3).lrange("list", 0, -1).get("nosuch")
        assert pipe.execute() == [True, 1, 3, ["1", "2", "3"], None]
        pipe.set("a", "text").incr("a").set("c", 1)
        try:
            pipe.execute()
            assert False
        except redis.ResponseError as error:
            assert "not an integer" in str(error)
        assert r.get("c") == "1"
    # The loop of the manual: watch, read, queue, and again if another was faster.
    def add(count):
        own = connect(protocol)
        for _ in range(count):
            with own.pipeline() as pipe:
                while True:
                    try:
                        pipe.watch("counter", "shadow")
                        value = int(pipe.get("counter") or 0)
                        pipe.multi()
                        pipe.set("counter", value + 1)
                        pipe.set("shadow", value + 1)
                        pipe.execute()
                        break
                    except redis.WatchError:
                        tries.append(1)
    tries = []
    threads = [threading.Thread(target=add, args=(50,)) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert r.mget("counter", "shadow") == ["200", "200"]
    def reset(pipe):
        pipe.multi()
        pipe.set("counter", 0)
    assert r.transaction(reset, "counter") == [True]
    # A queue with workers.
    def work(found):
        own = connect(protocol)
        while True:
            key, job = own.blpop(["urgent", "jobs"], timeout=30)
            if job == "end":
                return
            found.append(job)
    found = [[], []]
    workers = [threading.Thread(target=work, args=(mine,)) for mine in found]
    [worker.start() for worker in workers]
    for job in range(200):
        r.rpush("urgent" if job % 7 == 0 else "jobs", job)
    while r.llen("urgent") or r.llen("jobs"):
        pass
    r.rpush("jobs", "end", "end")
    [worker.join() for worker in workers]
    assert sorted(int(job) for mine in found for job in mine) == list(range(200))
    # A client that waits is let go.
    replies, waiter = [], connect(protocol)
    waiting = waiter.client()
    number = waiting.client_id()
    def wait():
        replies.append(waiting.blpop("nothing", timeout=30))
        try:
            waiting.blmove("nothing", "other", timeout=30)
        except redis.ResponseError as error:
            replies.append(str(error))
    thread = threading.Thread(target=wait)
    thread.start()
    for error in (False, True):
        while not r.client_unblock(number, error=error):
            pass
        while len(replies) < 1 + error:
            pass
    thread.join()
    assert replies[0] is None and "UNBLOCKED" in replies[1], replies
    assert r.blpop("nothing", timeout=0.01) is None and r.brpoplpush("nothing", "other", timeout=0.01) is None
    # Over all shards.
    r.flushall()
    names = [f"name:{i}" for i in range(20)]
    r.rpush(names[0], *range(10))
    for old, new in zip(names, names[1:]):
        assert r.rename(old, new)
        assert r.exists(*names) == 1
    assert not r.renamenx(names[-1], names[-1]) and r.copy(names[-1], "copy") and not r.copy(names[-1], "copy")
    assert [r.lmove("copy", f"list:{i}", "LEFT", "RIGHT") for i in range(10)] == [str(i) for i in range(10)]
    assert not r.exists("copy") and r.lmpop(3, "nosuch", "list:3", "list:4", direction="LEFT") == ["list:3", ["3"]]
    assert r.blmpop(1, 2, "list:3", "list:4", direction="LEFT") == ["list:4", ["4"]]
    assert r.msetnx({f"new:{i}": i for i in range(20)}) and not r.msetnx({"new:5": 1, "newer": 1})
    assert not r.exists("newer") and r.move("new:1", 1) and r.swapdb(0, 1) and r.dbsize() == 1 and r.get("new:1") == "1"
print("done")
"#;
    run_redis_py(SCRIPT);
}

/// Runs a script against a server of three shards, if redis-py is there.
fn run_redis_py(script: &str) {
    let packages = python_packages();
    if !packages.join("redis").is_dir() {
        eprintln!("SKIPPED: redis-py is not in {} (`make python` installs it)", packages.display());
        return;
    }
    let server = Server::slotmesh(3, 3, &[]);
    let mut command = Command::new("python3");
    command.args(["-c", script, &server.port().to_string()]).env("PYTHONPATH", packages);
    let output = command.output().expect("python3 is there, as redis-py was installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "done", "{out}{err}");
}

#[test]
fn redis_rs_makes_a_round_trip() -> redis::RedisResult<()> {
    let server = Server::slotmesh(3, 3, &["--requirepass", "secret"]);
    for protocol in ["resp2", "resp3"] {
        let url = format!("redis://:secret@127.0.0.1:{}/0?protocol={protocol}", server.port());
        let mut connection = redis::Client::open(url)?.get_connection()?;
        redis::cmd("FLUSHALL").exec(&mut connection)?;
        connection.set::<_, _, ()>("a", 1)?;
        assert_eq!(connection.get::<_, Option<i64>>("a")?, Some(1));
        assert_eq!(connection.get::<_, Option<String>>("nosuch")?, None);
        assert_eq!(connection.incr::<_, _, i64>("a", 41)?, 42);
        assert!(connection.expire::<_, bool>("a", 100)?);
        assert!(connection.ttl::<_, i64>("a")? > 90);
        let pairs: Vec<(String, i64)> = (0..100).map(|index| (format!("key:{index}"), index)).collect();
        connection.mset::<_, _, ()>(&pairs)?;
        assert_eq!(connection.mget::<_, Vec<Option<i64>>>(&["key:3", "nosuch", "key:99"])?, [Some(3), None, Some(99)]);
        let mut pipe = redis::pipe();
        for index in 0..1000 {
            pipe.incr(format!("pipe:{}", index % 7), 1);
        }
        let replies: Vec<i64> = pipe.query(&mut connection)?;
        assert_eq!(replies, (0..1000).map(|index| index / 7 + 1).collect::<Vec<i64>>());
        let mut keys: Vec<String> = connection.scan_match("key:1*")?.collect::<Result<_, _>>()?;
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), 11);
        let settings: HashMap<String, String> =
            redis::cmd("CONFIG").arg("GET").arg("maxclients").query(&mut connection)?;
        assert_eq!(settings["maxclients"], "10000");
        let error = redis::cmd("GET").query::<()>(&mut connection).expect_err("a command without its key");
        assert!(error.to_string().contains("wrong number of arguments"), "{error}");
        assert_eq!(connection.del::<_, i64>(&["a", "key:3", "nosuch"])?, 2);
    }
    Ok(())
}

#[test]
fn redis_rs_runs_transactions_and_waits() -> redis::RedisResult<()> {
    const THREADS: usize = 4;
    const ROUNDS: usize = 50;
    let server = Server::slotmesh(3, 3, &[]);
    for protocol in ["resp2", "resp3"] {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}/0?protocol={protocol}", server.port()))?;
        let mut connection = client.get_connection()?;
        redis::cmd("FLUSHALL").exec(&mut connection)?;
        let (old, list): (Option<i64>, Vec<i64>) = redis::pipe()
            .atomic()
            .get("nosuch")
            .rpush("list", &[1, 2, 3])
            .ignore()
            .lrange("list", 0, -1)
            .query(&mut connection)?;
        assert_eq!((old, list), (None, vec![1, 2, 3]));
        let keys = ["a", "b"];
        std::thread::scope(|scope| {
            let add = || -> redis::RedisResult<()> {
                let mut connection = client.get_connection()?;
                for _ in 0..ROUNDS {
                    redis::transaction(&mut connection, &keys, |connection, pipe| {
                        let value: Option<i64> = connection.get("a")?;
                        let next = value.unwrap_or(0) + 1;
                        pipe.set("a", next).ignore().set("b", next).query::<Option<()>>(connection)
                    })?;
                }
                Ok(())
            };
            let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(add)).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no thread panics"))
        })?;
        assert_eq!(connection.mget::<_, Vec<usize>>(&keys)?, [THREADS * ROUNDS; 2]);
        let mut waiter = client.get_connection()?;
        let waiting = std::thread::spawn(move || waiter.blpop::<_, (String, i64)>(&["x", "y"], 30.0));
        connection.rpush::<_, _, ()>("source", 7)?;
        assert_eq!(connection.lmove::<_, _, i64>("source", "y", redis::Direction::Left, redis::Direction::Right)?, 7);
        assert_eq!(waiting.join().expect("no thread panics")?, ("y".to_owned(), 7));
        assert!(connection.blpop::<_, Option<(String, i64)>>("x", 0.01)?.is_none());
        connection.rename::<_, _, ()>("list", "renamed")?;
        assert_eq!(connection.exists::<_, i64>(&["list", "renamed"])?, 1);
    }
    Ok(())
}
