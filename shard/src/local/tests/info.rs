use crate::testing::{NOW, Session, TestNode};
use crate::{CoreFacts, DbFacts, ProcessFacts};
use slotmesh_base::UnixMillis;
use std::collections::BTreeMap;

fn session() -> Session {
    let dbs = |keys, expires, average_ttl_ms| vec![DbFacts::default(), DbFacts { keys, expires, average_ttl_ms }];
    let core = CoreFacts { clients: 2, commands: 10, hits: 5, blocking_keys: 1, ..CoreFacts::default() };
    let mut node = TestNode::with(&[("maxclients", "99")]);
    node.cores = vec![
        CoreFacts {
            slots: Some((0, 8191)),
            cpu: Some(3),
            dbs: dbs(10, 1, 1000),
            keyspace_bytes: 100,
            blocked_clients: 3,
            ..core.clone()
        },
        CoreFacts {
            slots: Some((8192, 16383)),
            dbs: dbs(5, 3, 2000),
            keyspace_bytes: 50,
            blocked_clients: 4,
            timeouts: 5,
            ..core.clone()
        },
        CoreFacts { cpu_micros: 1_500_000, clients: 3, replicas: 1, ..core },
    ];
    node.process = ProcessFacts {
        pid: 42,
        run_id: "f".repeat(40),
        started_at: UnixMillis(NOW.0 - 90_000_000),
        os: "Linux 6.1 x86_64".to_owned(),
        allocated_bytes: 3 << 20,
        active_bytes: 4 << 20,
        allocator_resident_bytes: 5 << 20,
        resident_bytes: 6 << 20,
        peak_bytes: 4 << 20,
        system_bytes: 16 << 30,
        cpu_system_micros: 1_000_001,
        io_backend: "io_uring",
        ..ProcessFacts::default()
    };
    Session::new(node)
}

/// The text of the reply.
fn text(session: &mut Session, request: &str) -> String {
    let reply = session.say(request);
    let (head, text) = reply.split_once("\r\n").unwrap();
    let text = text.strip_suffix("\r\n").unwrap();
    assert_eq!(head, format!("${}", text.len()), "{request}");
    text.to_owned()
}

fn titles(text: &str) -> Vec<&str> {
    text.split("\r\n").filter_map(|line| line.strip_prefix("# ")).collect()
}

fn fields(text: &str) -> BTreeMap<&str, &str> {
    text.split("\r\n").filter_map(|line| line.split_once(':')).collect()
}

const DEFAULT: [&str; 13] = [
    "Server",
    "Clients",
    "Memory",
    "Persistence",
    "Stats",
    "Replication",
    "CPU",
    "Modules",
    "Errorstats",
    "Cluster",
    "Shards",
    "Io",
    "Keyspace",
];

#[test]
fn sections_are_chosen_as_in_redis() {
    let mut session = session();
    for request in ["INFO", "INFO default", "info DEFAULT server"] {
        assert_eq!(titles(&text(&mut session, request)), DEFAULT, "{request}");
    }
    for request in ["INFO all", "INFO everything", "INFO server all"] {
        let all = text(&mut session, request);
        assert_eq!(titles(&all).len(), DEFAULT.len() + 2, "{request}");
        assert!(all.contains("# Commandstats\r\n") && all.contains("# Latencystats\r\n"));
    }
    let chosen = [
        ("INFO Server", vec!["Server"]),
        ("INFO keyspace clients KEYSPACE", vec!["Clients", "Keyspace"]),
        ("INFO nope shards io", vec!["Shards", "Io"]),
        ("INFO commandstats", vec!["Commandstats"]),
        ("INFO nope", vec![]),
    ];
    for (request, expected) in chosen {
        assert_eq!(titles(&text(&mut session, request)), expected, "{request}");
    }
}

#[test]
fn sections_are_told_apart_by_an_empty_line() {
    let mut session = session();
    session.expect(&[
        ("INFO nope", "$0\r\n\r\n"),
        ("INFO cluster", "$30\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"),
        ("INFO cluster modules", "$43\r\n# Modules\r\n\r\n# Cluster\r\ncluster_enabled:0\r\n\r\n"),
    ]);
    session.say("HELLO 3");
    session.expect(&[("INFO cluster", "=34\r\ntxt:# Cluster\r\ncluster_enabled:0\r\n\r\n")]);
}

#[test]
fn databases_are_counted_over_all_shards() {
    let mut session = session();
    // (1 × 1000 + 3 × 2000) / 4
    assert_eq!(text(&mut session, "INFO keyspace"), "# Keyspace\r\ndb1:keys=15,expires=4,avg_ttl=1750\r\n");
    session.node.cores.clear();
    assert_eq!(text(&mut session, "INFO keyspace"), "# Keyspace\r\n");
}

#[test]
fn fields_have_the_names_and_forms_that_clients_read() {
    let text = text(&mut session(), "INFO");
    let fields = fields(&text);
    let expected = [
        ("redis_version", "7.2.6"),
        ("slotmesh_version", env!("CARGO_PKG_VERSION")),
        ("redis_mode", "standalone"),
        ("process_id", "42"),
        ("tcp_port", "6379"),
        ("uptime_in_seconds", "90000"),
        ("uptime_in_days", "1"),
        ("server_time_usec", "1700000000123000"),
        ("lru_clock", "5501184"),
        ("connected_clients", "6"),
        ("maxclients", "99"),
        ("blocked_clients", "7"),
        ("clients_in_timeout_table", "5"),
        ("total_blocking_keys", "3"),
        ("used_memory", "3145728"),
        ("used_memory_human", "3.00M"),
        ("used_memory_peak_perc", "75.00%"),
        ("used_memory_dataset", "150"),
        ("total_system_memory_human", "16.00G"),
        ("maxmemory_policy", "noeviction"),
        ("mem_fragmentation_ratio", "2.00"),
        ("mem_fragmentation_bytes", "3145728"),
        ("loading", "0"),
        ("rdb_bgsave_in_progress", "0"),
        ("total_commands_processed", "30"),
        ("keyspace_hits", "15"),
        ("role", "master"),
        ("connected_slaves", "0"),
        ("used_cpu_sys", "1.000001"),
        ("cluster_enabled", "0"),
        ("shards", "2"),
        ("shard1", "core=1,slots=8192-16383,keys=5,bytes=50,hits=5,misses=0,expired=0"),
        ("cores", "3"),
        ("io_backend", "io_uring"),
    ];
    for (name, value) in expected {
        assert_eq!(fields.get(name), Some(&value), "{name}");
    }
    assert!(fields["core0"].starts_with("cpu=3,clients=2,commands=10,"), "{}", fields["core0"]);
    assert!(fields["core2"].starts_with("cpu=any,") && fields["core2"].ends_with(",cpu_seconds=1.500000"));
}

#[test]
fn every_line_is_a_title_or_a_field() {
    let text = text(&mut session(), "INFO everything");
    for line in text.strip_suffix("\r\n").unwrap().split("\r\n") {
        let name = line.split_once(':').map(|(name, _)| name);
        let is_field = name.is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        assert!(line.is_empty() || line.starts_with("# ") || is_field, "{line:?}");
    }
}
