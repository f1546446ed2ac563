use crate::testing::{NOW, Request, Session, TestNode};
use crate::{CommandFacts, Distribution, LatencyEvent, LatencyMonitor, SlowClient, SlowLog};
use slotmesh_base::UnixMillis;
use slotmesh_command::find_full;
use std::collections::BTreeMap;

fn command(name: &str, [calls, micros, rejected, failed]: [u64; 4]) -> CommandFacts {
    CommandFacts { spec: find_full(name.as_bytes()).unwrap(), calls, micros, rejected, failed }
}

fn text(session: &mut Session, request: &str) -> String {
    let reply = session.say(request);
    reply.split_once("\r\n").unwrap().1.replace("\r\n", "\n").trim_end().to_owned()
}

#[test]
fn commands_and_errors_are_printed_as_redis_prints_them() {
    let mut node = TestNode::with(&[("latency-tracking-info-percentiles", "50 99.90")]);
    node.commands = vec![command("config|get", [3, 10, 1, 2]), command("get", [0, 0, 1, 0])];
    node.errors = Some(BTreeMap::from([(b"ERR".to_vec(), 3), (b"a:b#".to_vec(), 1)]));
    let times = Distribution { calls: 3, percentiles: vec![1003, 2_007_000], cumulative: vec![(1, 2), (2, 3)] };
    node.distributions.insert("config|get", times);
    let mut session = Session::new(node);
    assert_eq!(
        text(&mut session, "INFO commandstats errorstats latencystats"),
        "# Commandstats\n\
         cmdstat_config|get:calls=3,usec=10,usec_per_call=3.33,rejected_calls=1,failed_calls=2\n\
         cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0\n\n\
         # Errorstats\n\
         errorstat_ERR:count=3\n\
         errorstat_a_b_:count=1\n\n\
         # Latencystats\n\
         latency_percentiles_usec_config|get:p50=1.003,p99.9=2007.000"
    );
    session.node.errors = None;
    assert_eq!(text(&mut session, "INFO errorstats"), "# Errorstats\nerrorstat_ERRORSTATS_DISABLED:count=1");
    session.node.settings.set(&[("latency-tracking", "no")]).unwrap();
    assert_eq!(text(&mut session, "INFO latencystats"), "# Latencystats");
}

#[test]
fn histograms_are_those_of_the_named_commands_or_of_all() {
    let mut node = TestNode::default();
    let times = |calls| Distribution { calls, percentiles: Vec::new(), cumulative: vec![(1, 1), (33, calls)] };
    node.distributions = BTreeMap::from([("get", times(2)), ("config|get", times(3)), ("config|set", times(4))]);
    let mut session = Session::new(node);
    let get = "$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:2\r\n$14\r\nhistogram_usec\r\n*4\r\n:1\r\n:1\r\n:33\r\n:2\r\n";
    session
        .expect(&[("LATENCY HISTOGRAM nope GET set", &format!("*2\r\n{get}")), ("LATENCY HISTOGRAM nope", "*0\r\n")]);
    assert!(session.say("LATENCY HISTOGRAM config").starts_with("*4\r\n$10\r\nconfig|get\r\n"));
    assert!(session.say("LATENCY HISTOGRAM CONFIG|SET").starts_with("*2\r\n$10\r\nconfig|set\r\n"));
    session.say("HELLO 3");
    assert!(session.say("LATENCY HISTOGRAM").starts_with("%3\r\n$10\r\nconfig|get\r\n%2\r\n$5\r\ncalls\r\n:3\r\n"));
}

#[test]
fn the_slow_log_is_read_and_emptied() {
    let mut session = Session::new(TestNode::default());
    session.expect(&[("SLOWLOG LEN", ":0\r\n"), ("SLOWLOG GET", "*0\r\n"), ("SLOWLOG GET -1", "*0\r\n")]);
    let mut log = SlowLog::default();
    for number in 0..12 {
        let request = Request::words("GET key");
        let client = match number {
            11 => SlowClient::Of { core: 1, connection: 2, generation: 3 },
            _ => SlowClient::Known { address: "1.2.3.4:5".to_owned(), name: b"me".to_vec() },
        };
        log.add(request.spec().unwrap(), request.args(), 20_000 + number, NOW, client, 128);
    }
    *session.node.slow_log.lock().unwrap() = log;
    let entry = |id, micros| {
        let head = format!("*6\r\n:{id}\r\n:1700000000\r\n:{micros}\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
        if id == 11 { head + "$0\r\n\r\n$0\r\n\r\n" } else { head + "$9\r\n1.2.3.4:5\r\n$2\r\nme\r\n" }
    };
    let two = format!("*2\r\n{}{}", entry(11, 20_011), entry(10, 20_010));
    session.expect(&[("SLOWLOG LEN", ":12\r\n"), ("SLOWLOG GET 2", &two), ("SLOWLOG GET 0", "*0\r\n")]);
    assert!(session.say("SLOWLOG GET").starts_with("*10\r\n"));
    assert!(session.say("SLOWLOG GET -1").starts_with("*12\r\n"));
    assert!(session.say("SLOWLOG GET 100").starts_with("*12\r\n"));
    let count = "-ERR count should be greater than or equal to -1\r\n";
    session.expect(&[
        ("SLOWLOG GET -2", count),
        ("SLOWLOG GET x", count),
        ("SLOWLOG GET 1 2", "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.\r\n"),
        ("SLOWLOG LEN 1", "-ERR wrong number of arguments for 'slowlog|len' command\r\n"),
        ("SLOWLOG RESET", "+OK\r\n"),
        ("SLOWLOG LEN", ":0\r\n"),
    ]);
}

#[test]
fn latency_events_are_read_and_forgotten() {
    let mut session = Session::new(TestNode::default());
    session.expect(&[
        ("LATENCY LATEST", "*0\r\n"),
        ("LATENCY HISTORY command", "*0\r\n"),
        ("LATENCY GRAPH command", "-ERR No samples available for event 'command'\r\n"),
        ("LATENCY RESET", ":0\r\n"),
    ]);
    let mut monitor = LatencyMonitor::default();
    for (event, millis, secs) in
        [(LatencyEvent::Command, 9, 1), (LatencyEvent::Command, 7, 2), (LatencyEvent::FastCommand, 3, 3)]
    {
        monitor.add(event, millis, UnixMillis(secs * 1000));
    }
    *session.node.latency.lock().unwrap() = monitor;
    session.expect(&[
        (
            "LATENCY LATEST",
            "*2\r\n*4\r\n$7\r\ncommand\r\n:2\r\n:7\r\n:9\r\n*4\r\n$12\r\nfast-command\r\n:3\r\n:3\r\n:3\r\n",
        ),
        ("LATENCY HISTORY command", "*2\r\n*2\r\n:1\r\n:9\r\n*2\r\n:2\r\n:7\r\n"),
    ]);
    assert!(session.say("LATENCY GRAPH command").contains("command - high 9 ms, low 7 ms (all time high 9 ms)\n"));
    assert!(session.say("LATENCY DOCTOR").contains("1. command: 2 latency spikes"));
    session.expect(&[("LATENCY RESET nope COMMAND command", ":1\r\n"), ("LATENCY RESET", ":1\r\n")]);
}

#[test]
fn memory_is_described() {
    let mut session = Session::new(TestNode::default());
    assert!(session.say("MEMORY STATS").starts_with("*54\r\n$14\r\npeak.allocated\r\n:0\r\n"));
    session.expect(&[("MEMORY PURGE", "+OK\r\n"), ("MEMORY MALLOC-STATS", "$6\r\nreport\r\n")]);
    assert!(session.say("MEMORY DOCTOR").contains("next to nothing"));
    assert!(session.say("MEMORY HELP").starts_with("*"));
}

#[test]
fn time_has_microseconds() {
    let mut session = Session::new(TestNode::default());
    session.expect(&[("TIME", "*2\r\n$10\r\n1700000000\r\n$6\r\n123456\r\n")]);
}
