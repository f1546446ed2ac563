//! The clients of the field, as plain ones that know of no cluster: each takes a tour, or goes on until it is told to end.

use crate::traffic::UNKNOWN_FATE;
use redis::Commands;
use slotmesh_conform::{Door, assert_done, installed};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A script in a language whose client library may not be there.
fn script(language: &str, text: &str, door: Door) -> Option<Command> {
    let packages = installed(language);
    let (program, option, library, variable, path) = match language {
        "python" => ("python3", "-c", "redis", "PYTHONPATH", packages.clone()),
        _ => ("node", "-e", "node_modules/ioredis", "NODE_PATH", packages.join("node_modules")),
    };
    if !packages.join(library).is_dir() {
        eprintln!("SKIPPED: {library} is not in {} (`make {language}` installs it)", packages.display());
        return None;
    }
    let mut command = Command::new(program);
    command.args([option, text]);
    if program == "node" {
        // Else the first argument counts as the script's name.
        command.args(["--", "script"]);
    }
    command.args([&door.port.to_string(), door.password.unwrap_or_default(), UNKNOWN_FATE]);
    command.env(variable, path);
    Some(command)
}

/// All clients do once what their users do.
pub(crate) fn tour(door: Door) {
    for (language, text) in [("python", include_str!("tour.py")), ("node", include_str!("tour.js"))] {
        script(language, text, door).into_iter().for_each(assert_done);
    }
    redis_rs_tours(door).expect("redis-rs is served");
}

/// A connection of redis-rs.
fn redis_rs(door: Door, protocol: &str) -> redis::RedisResult<redis::Connection> {
    let password = door.password.map_or(String::new(), |password| format!(":{}@", password.replace(' ', "%20")));
    let url = format!("redis://{password}127.0.0.1:{}/0?protocol={protocol}", door.port);
    redis::Client::open(url)?.get_connection()
}

fn redis_rs_tours(door: Door) -> redis::RedisResult<()> {
    for protocol in ["resp2", "resp3"] {
        let mut connection = redis_rs(door, protocol)?;
        redis::cmd("FLUSHALL").exec(&mut connection)?;
        connection.set::<_, _, ()>("a", 1)?;
        assert_eq!(connection.get::<_, Option<i64>>("a")?, Some(1));
        assert_eq!(connection.get::<_, Option<String>>("nosuch")?, None);
        assert_eq!(connection.incr::<_, _, i64>("a", 41)?, 42);
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
        let (old, list): (Option<i64>, Vec<i64>) = redis::pipe()
            .atomic()
            .get("{t}nosuch")
            .rpush("{t}list", &[1, 2, 3])
            .ignore()
            .lrange("{t}list", 0, -1)
            .query(&mut connection)?;
        assert_eq!((old, list), (None, vec![1, 2, 3]));
        let error = connection.rename::<_, _, ()>("key:3", "key:4").expect_err("keys on two hosts");
        assert_eq!(error.code(), Some("CROSSSLOT"));
        assert_eq!(connection.del::<_, i64>(&["a", "key:3", "nosuch"])?, 2);
    }
    Ok(())
}

/// Runs tests of redis-benchmark; an error reply ends it.
fn benchmark(door: Door, tests: &str, extra: &[&str]) {
    let port = door.port.to_string();
    let mut command = Command::new("redis-benchmark");
    command.args(["-p", &port, "-t", tests, "-q", "-r", "10000"]).args(extra);
    command.args(door.password.into_iter().flat_map(|password| ["-a", password]));
    let output = command.output().expect("redis-benchmark is installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && !out.contains("rror"), "{tests} {extra:?}: {out}{err}");
    for test in tests.split(',').filter(|test| !["ping", "lrange"].contains(test)) {
        assert!(out.contains(&test.to_ascii_uppercase()), "{test} in {out}");
    }
}

/// redis-benchmark with all the tests that it has for what there is.
pub(crate) fn benchmarks(door: Door) {
    const TESTS: &str = "ping,set,get,incr,lpush,rpush,lpop,rpop,lrange,mset";
    for extra in [&["-n", "5000", "-P", "16"][..], &["-n", "1000", "-c", "200"], &["-n", "1000", "-3"]] {
        benchmark(door, TESTS, extra);
    }
    benchmark(door, "set,get,mset", &["-n", "20000", "-P", "64", "-d", "3000"]);
}

/// Clients that go on until they are told to end.
pub(crate) struct Enduring {
    scripts: Vec<(Child, &'static str)>,
    stops: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Enduring {
    /// Starts one of each kind.
    pub(crate) fn begin(door: Door) -> Self {
        let start = |(language, text): (&'static str, &str)| {
            let mut command = script(language, text, door)?;
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            Some((command.spawn().expect("the interpreter is there, as the client was installed"), language))
        };
        let texts = [("python", include_str!("endure.py")), ("node", include_str!("endure.js"))];
        let scripts = texts.into_iter().filter_map(start).collect();
        let stops = Arc::new(AtomicBool::new(false));
        let spawn = |work: fn(Door, &AtomicBool)| {
            let (door, stops) = (door, stops.clone());
            std::thread::spawn(move || work(door, &stops))
        };
        let threads = vec![spawn(redis_rs_endures), spawn(benchmark_endures)];
        Self { scripts, stops, threads }
    }

    /// Ends all of them.
    ///
    /// # Panics
    /// If one was not served.
    pub(crate) fn end(self) {
        self.stops.store(true, Ordering::Relaxed);
        for (mut child, language) in self.scripts {
            drop(child.stdin.take());
            let output = child.wait_with_output().expect("our child");
            let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success() && out.trim() == "done", "{language}: {out}{err}");
        }
        self.threads.into_iter().for_each(|thread| thread.join().expect("the client is served"));
    }
}

fn redis_rs_endures(door: Door, stops: &AtomicBool) {
    let mut connection = redis_rs(door, "resp3").expect("the gateway accepts");
    let mut number = 0;
    while !stops.load(Ordering::Relaxed) {
        number += 1;
        let mut pipe = redis::pipe();
        for index in 0..20 {
            pipe.set(format!("rs:{index}"), format!("rs:{index}={number}")).ignore().get(format!("rs:{index}"));
        }
        let values: Vec<Option<String>> = pipe.query(&mut connection).expect("reads and SET are served");
        for (index, value) in values.iter().enumerate() {
            let names = |value: &String| value.starts_with(&format!("rs:{index}="));
            assert!(value.as_ref().is_none_or(names), "{value:?}");
        }
        if let Err(error) = connection.incr::<_, _, i64>(format!("rscount:{}", number % 7), 1) {
            assert!(error.to_string().contains(UNKNOWN_FATE[1..].trim_end()), "{error}");
        }
    }
}

/// Only what may be sent again: an error would end it.
fn benchmark_endures(door: Door, stops: &AtomicBool) {
    while !stops.load(Ordering::Relaxed) {
        benchmark(door, "ping,set,get", &["-n", "20000", "-P", "8", "-c", "10"]);
    }
}
