//! Client-side caching (CLIENT TRACKING) beside redis-server: the same bytes on every connection, over several cores; and
//! what no comparison shows: no client keeps a stale value, whatever is on its way.

use slotmesh_conform::{Cluster, Connection, Program, Server, await_condition, show, words};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// A step: who sends what (`ID2` is the id of connection 2), and on which connections something then arrives.
type Step = (usize, &'static str, &'static [usize]);

/// What connections are told in a script, which are opened with these lines.
fn transcript(server: &Server, openings: &[&str], script: &[Step]) -> Vec<String> {
    let mut connections: Vec<Connection> = openings.iter().map(|_| server.connect()).collect();
    let ids: Vec<String> = connections.iter_mut().map(id_of).collect();
    let with_ids = |text: &str| {
        ids.iter().enumerate().fold(text.to_owned(), |text, (at, id)| text.replace(&format!("ID{at}"), id))
    };
    let without_ids = |text: String| {
        ids.iter().enumerate().fold(text, |text, (at, id)| text.replace(&format!(":{id}\\r"), &format!(":ID{at}\\r")))
    };
    connections[0].say("FLUSHALL");
    for (connection, opening) in connections.iter_mut().zip(openings) {
        connection.say(opening);
    }
    let mut told = Vec::new();
    for (who, line, replies) in script {
        connections[*who].send(&words(&with_ids(line)));
        for &index in *replies {
            told.push(format!("{line} -> {index}: {}", without_ids(show(&connections[index].reply()))));
        }
    }
    // Nobody has been told anything else.
    for (index, connection) in connections.iter_mut().enumerate() {
        connection.send(&words("RESET"));
        told.push(format!("end -> {index}: {}", show(&connection.reply())));
    }
    told
}

fn id_of(connection: &mut Connection) -> String {
    let reply = connection.say("CLIENT ID");
    String::from_utf8_lossy(&reply[1..reply.len() - 2]).into_owned()
}

/// Runs a script on redis-server, and on ours with several numbers of cores.
fn compare(openings: &[&str], script: &[Step]) {
    let oracle = Server::redis(&[]);
    let expected = transcript(&oracle, openings, script);
    for (cores, shards) in [(1, 1), (3, 3), (2, 1)] {
        let got = transcript(&Server::slotmesh(cores, shards, &[]), openings, script);
        for (expected, got) in expected.iter().zip(&got) {
            assert_eq!(expected, got, "with {shards} shards");
        }
    }
}

const OURS: Program = Program::Slotmesh(1);

const RESP3: [&str; 3] = ["HELLO 3"; 3];

#[test]
fn who_has_read_a_key_is_told_once_when_it_changes() {
    const SCRIPT: &[Step] = &[
        (0, "CLIENT TRACKING on", &[0]),
        (1, "SET a 1", &[1]),
        (0, "GET a", &[0]),
        (0, "GET none", &[0]),
        (1, "SET a 2", &[1, 0]),
        (1, "SET a 3", &[1]),
        (1, "RPUSH none x", &[1, 0]),
        (0, "MGET a b{t} c d e{t} f", &[0]),
        (1, "SET c 1", &[1, 0]),
        (1, "DEL d", &[1]),
        (1, "EXPIRE a 100", &[1, 0]),
        (0, "GET a", &[0]),
        (1, "RENAME a z", &[1, 0]),
        // Its own write is told behind the reply.
        (0, "GET own", &[0]),
        (0, "SET own 1", &[0, 0]),
        (0, "SET own 2", &[0]),
        (0, "MULTI", &[0]),
        (0, "GET m", &[0]),
        (0, "EXEC", &[0]),
        (1, "SET m 1", &[1, 0]),
        (1, "MULTI", &[1]),
        (1, "SET b{t} 1", &[1]),
        (1, "SET e{t} 1", &[1]),
        (1, "EXEC", &[1, 0, 0]),
        (0, "STRLEN f", &[0]),
        (2, "CLIENT TRACKING on", &[2]),
        (2, "GET f", &[2]),
        (1, "APPEND f x", &[1, 0, 2]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "CLIENT GETREDIR", &[0]),
        (0, "GET last", &[0]),
        (0, "CLIENT TRACKING off", &[0]),
        (1, "SET last 1", &[1]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "CLIENT GETREDIR", &[0]),
    ];
    compare(&RESP3, SCRIPT);
}

#[test]
fn what_is_cached_can_be_chosen() {
    const SCRIPT: &[Step] = &[
        (0, "CLIENT CACHING yes", &[0]),
        (0, "CLIENT TRACKING on optin optout", &[0]),
        (0, "CLIENT TRACKING on optin bcast", &[0]),
        (0, "CLIENT TRACKING on prefix a", &[0]),
        (0, "CLIENT TRACKING on redirect", &[0]),
        (0, "CLIENT TRACKING on redirect x", &[0]),
        (0, "CLIENT TRACKING on redirect 0", &[0]),
        (0, "CLIENT TRACKING on redirect ID1 redirect ID2", &[0]),
        (0, "CLIENT TRACKING on redirect 99999999", &[0]),
        (0, "CLIENT TRACKING maybe", &[0]),
        (0, "CLIENT TRACKING maybe whatever", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "CLIENT TRACKING on optin", &[0]),
        (0, "CLIENT TRACKING on optout", &[0]),
        (0, "CLIENT TRACKING on bcast", &[0]),
        (0, "CLIENT CACHING no", &[0]),
        (0, "CLIENT CACHING maybe", &[0]),
        (0, "GET a", &[0]),
        (1, "SET a 1", &[1]),
        (0, "CLIENT CACHING yes", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "GET a", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "GET b", &[0]),
        (1, "SET b 1", &[1]),
        (1, "SET a 1", &[1, 0]),
        (0, "CLIENT CACHING yes", &[0]),
        (0, "MULTI", &[0]),
        (0, "GET x", &[0]),
        (0, "MGET y z", &[0]),
        (0, "EXEC", &[0]),
        (0, "GET w", &[0]),
        (1, "SET w 1", &[1]),
        (1, "SET z 1", &[1, 0]),
        (1, "SET x 1", &[1, 0]),
        (0, "CLIENT TRACKING off", &[0]),
        (0, "CLIENT TRACKING on optout", &[0]),
        (0, "CLIENT CACHING no", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "GET a", &[0]),
        (1, "SET a 1", &[1]),
        (0, "GET a", &[0]),
        (1, "SET a 1", &[1, 0]),
        (0, "CLIENT TRACKING off", &[0]),
        (0, "CLIENT TRACKING on noloop", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "MGET a b c", &[0]),
        (0, "SET a 2", &[0]),
        (0, "MULTI", &[0]),
        (0, "SET b 2", &[0]),
        (0, "EXEC", &[0]),
        (1, "SET c 1", &[1, 0]),
        (0, "CLIENT REPLY skip", &[]),
        (0, "GET c", &[]),
        (0, "PING", &[0]),
        (1, "SET c 2", &[1, 0]),
    ];
    compare(&RESP3, SCRIPT);
}

#[test]
fn who_hears_of_prefixes_is_told_of_all_keys_with_them() {
    const SCRIPT: &[Step] = &[
        (0, "CLIENT TRACKING on bcast prefix ab prefix abc", &[0]),
        (0, "CLIENT TRACKING on bcast prefix ab prefix b", &[0]),
        (0, "CLIENT TRACKING on bcast prefix abc", &[0]),
        (0, "CLIENT TRACKING on", &[0]),
        (0, "CLIENT TRACKING on bcast prefix c", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (1, "SET ab1 1", &[1, 0]),
        (1, "SET a 1", &[1]),
        (1, "SET b 1", &[1, 0]),
        (1, "DEL c", &[1]),
        (0, "SET c 1", &[0, 0]),
        (1, "MULTI", &[1]),
        (1, "SET c1{x} 1", &[1]),
        (1, "SET ab2{x} 1", &[1]),
        (1, "EXEC", &[1, 0, 0]),
        (2, "CLIENT TRACKING on bcast noloop", &[2]),
        (2, "SET q 1", &[2]),
        (1, "SET q 1", &[1, 2]),
        (1, "SET bq 1", &[1, 0, 2]),
        (0, "CLIENT TRACKING off", &[0]),
        (1, "SET bq 1", &[1, 2]),
    ];
    compare(&RESP3, SCRIPT);
}

#[test]
fn another_connection_may_hear_instead() {
    const SCRIPT: &[Step] = &[
        (1, "SUBSCRIBE __redis__:invalidate", &[1]),
        (0, "CLIENT TRACKING on redirect ID1", &[0]),
        (0, "CLIENT GETREDIR", &[0]),
        (0, "CLIENT TRACKINGINFO", &[0]),
        (0, "MGET a b c", &[0]),
        (2, "SET a 1", &[2, 1]),
        (0, "SET b 1", &[0, 1]),
        (1, "UNSUBSCRIBE", &[1]),
        (2, "SET c 1", &[2]),
        (1, "SUBSCRIBE other", &[1]),
        (0, "GET c", &[0]),
        (2, "SET c 2", &[2, 1]),
        (0, "CLIENT TRACKING off", &[0]),
        (0, "CLIENT TRACKING on bcast prefix a redirect ID1", &[0]),
        (2, "SET a1 1", &[2, 1]),
        // In RESP2 nobody can be told but who hears messages.
        (2, "CLIENT TRACKING on", &[2]),
        (2, "GET a2", &[2]),
        (2, "SET a2 1", &[2, 1]),
    ];
    compare(&["PING"; 3], SCRIPT);
}

/// The connection that should hear goes: the next change says so.
#[test]
fn a_redirect_that_is_gone_is_told() {
    for server in [Server::redis(&[]), Server::slotmesh(1, 1, &[]), Server::slotmesh(3, 3, &[])] {
        let [mut tracked, mut hearing, mut writer] = std::array::from_fn(|_| server.connect());
        tracked.say("HELLO 3");
        let id = id_of(&mut hearing);
        assert_eq!(tracked.say(&format!("CLIENT TRACKING on REDIRECT {id}")), b"+OK\r\n");
        assert_eq!(tracked.say("GET a"), b"_\r\n");
        assert_eq!(writer.say(&format!("CLIENT KILL ID {id}")), b":1\r\n");
        await_condition("it is gone", 10, || !show(&writer.say("CLIENT LIST")).contains(&format!("id={id} ")));
        assert_eq!(writer.say("SET a 1"), b"+OK\r\n");
        let told = format!(">2\r\n$21\r\ntracking-redir-broken\r\n:{id}\r\n");
        assert_eq!(show(&tracked.reply()), show(told.as_bytes()), "{}", server.name());
        assert!(show(&tracked.say("CLIENT TRACKINGINFO")).contains("broken_redirect"));
        let line = show(&tracked.say("CLIENT INFO"));
        assert!(line.contains("flags=tR ") && line.contains(&format!("redir={id} ")), "{line}");
    }
}

/// FLUSHALL, keys that expire, and those for which there is no room; and what INFO says.
#[test]
fn what_goes_by_itself_is_told_too() {
    for server in [Server::redis(&["--hz", "500"]), Server::slotmesh(1, 1, &[]), Server::slotmesh(2, 2, &[])] {
        let name = server.name();
        let [mut tracked, mut writer] = std::array::from_fn(|_| server.connect());
        tracked.say("HELLO 3");
        tracked.say("CLIENT TRACKING on");
        writer.say("SET a 1 PX 60");
        tracked.say("GET a");
        assert_eq!(show(&tracked.reply()), r">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\na\r\n", "{name}");
        tracked.say("MGET a b c");
        let count = |field: &str| server.info("stats", field).parse::<usize>().expect("a number");
        await_condition("they are counted", 10, || count("tracking_total_keys") == 3);
        assert_eq!((count("tracking_total_items"), count("tracking_total_prefixes")), (3, 0), "{name}");
        assert_eq!(server.info("clients", "tracking_clients"), "1", "{name}");
        assert_eq!(writer.say("FLUSHALL"), b"+OK\r\n");
        assert_eq!(show(&tracked.reply()), r">2\r\n$10\r\ninvalidate\r\n_\r\n", "{name}");
        await_condition("they are forgotten", 10, || count("tracking_total_keys") == 0);
        writer.say("CONFIG SET tracking-table-max-keys 10");
        // Each of two shards may say that all is gone.
        let mut told = 0;
        (0..200).for_each(|key| tracked.send(&words(&format!("GET key:{key}"))));
        tracked.send(&words("ECHO done"));
        loop {
            let reply = tracked.reply();
            told += usize::from(show(&reply).contains(r"*1\r\n$"));
            if reply == b"$4\r\ndone\r\n" {
                break;
            }
        }
        while told < 190 {
            told += usize::from(show(&tracked.reply()).contains(r"*1\r\n$"));
        }
        await_condition("the rest stays", 10, || count("tracking_total_keys") <= 10);
        drop(tracked);
        await_condition("it is gone", 10, || server.info("clients", "tracking_clients") == "0");
    }
}

/// A client that believes what it has read until it is told otherwise never believes what is long gone.
#[test]
fn no_client_keeps_a_stale_value() {
    const KEYS: u64 = 8;
    const ROUNDS: u64 = 20_000;
    let server = Server::slotmesh(3, 3, &[]);
    let is_over = AtomicBool::new(false);
    let mut caches: Vec<Cache> = thread::scope(|scope| {
        let (server, is_over) = (&server, &is_over);
        for writer in 0..2u64 {
            scope.spawn(move || {
                let (mut client, mut round) = (server.connect(), 0u64);
                while !is_over.load(Ordering::Relaxed) {
                    round += 1;
                    client.say(&format!("INCR key:{}", (round * 7 + writer) % KEYS));
                }
            });
        }
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| read_with_cache(server, KEYS, ROUNDS))).collect();
        let caches = readers.into_iter().map(|reader| reader.join().expect("a reader")).collect();
        is_over.store(true, Ordering::Relaxed);
        caches
    });
    // Nobody writes any more: what they believe becomes true.
    let mut reader = server.connect();
    let values: Vec<Vec<u8>> = (0..KEYS).map(|key| reader.say(&format!("GET key:{key}"))).collect();
    for cache in &mut caches {
        await_condition("what it believes is true", 10, || {
            cache.take_told();
            cache.values.iter().zip(&values).all(|(believed, value)| believed.as_ref().is_none_or(|own| own == value))
        });
        cache.read_all_pipelined();
        assert!(cache.values.iter().zip(&values).all(|(believed, value)| believed.as_ref() == Some(value)));
    }
}

/// Reads keys at random moments of others' writes; at the end all that it believes is compared.
fn read_with_cache(server: &Server, keys: u64, rounds: u64) -> Cache {
    let mut cache = Cache::new(server, keys);
    for round in 0..rounds / keys {
        cache.read_all_pipelined();
        if round % 16 == 0 {
            cache.take_told();
        }
    }
    cache
}

/// A client with a cache.
struct Cache {
    client: Connection,
    values: Vec<Option<Vec<u8>>>,
}

impl Cache {
    fn new(server: &Server, keys: u64) -> Self {
        let mut client = server.connect();
        client.say("HELLO 3");
        assert_eq!(client.say("CLIENT TRACKING on"), b"+OK\r\n");
        client.set_read_timeout(Duration::from_secs(20));
        Self { client, values: (0..keys).map(|_| None).collect() }
    }

    /// Asks for all keys at once that it does not know, and takes the replies.
    fn read_all_pipelined(&mut self) {
        let unknown: Vec<usize> = (0..self.values.len()).filter(|&key| self.values[key].is_none()).collect();
        unknown.iter().for_each(|key| self.client.send(&words(&format!("GET key:{key}"))));
        for key in unknown {
            let value = self.reply();
            self.values[key] = Some(value);
        }
    }

    /// Takes what it was told by now.
    fn take_told(&mut self) {
        self.client.send(&words("PING"));
        assert_eq!(self.reply(), b"+PONG\r\n");
    }

    fn reply(&mut self) -> Vec<u8> {
        loop {
            let reply = self.client.reply();
            if !reply.starts_with(b">") {
                return reply;
            }
            let text = String::from_utf8_lossy(&reply).into_owned();
            let key = text.rsplit("key:").next().and_then(|rest| rest.trim().parse::<usize>().ok());
            self.values[key.expect("a key of ours")] = None;
        }
    }
}

/// At a gateway to other hosts: what these have, a client is told to forget at once.
#[test]
fn a_gateway_lets_nobody_cache_what_other_hosts_have() {
    let cluster = Cluster::form(&[OURS; 3], &[]);
    let mut gateway = cluster.servers[0].connect_unix();
    gateway.say("HELLO 3");
    assert_eq!(
        gateway.say("CLIENT TRACKING on BCAST"),
        b"-ERR BCAST mode is not possible at a gateway to other hosts\r\n"
    );
    assert_eq!(gateway.say("CLIENT TRACKING on"), b"+OK\r\n");
    let (mut at_once, mut kept) = (0, Vec::new());
    for key in 0..60 {
        gateway.send(&words(&format!("GET key:{key}")));
        gateway.send(&words("PING"));
        assert_eq!(gateway.reply(), b"_\r\n");
        match gateway.reply() {
            reply if reply == b"+PONG\r\n" => kept.push(key),
            told => {
                assert_eq!(
                    show(&told),
                    format!(r">2\r\n$10\r\ninvalidate\r\n*1\r\n${}\r\nkey:{key}\r\n", format!("key:{key}").len())
                );
                assert_eq!(gateway.reply(), b"+PONG\r\n");
                at_once += 1;
            }
        }
    }
    assert!(at_once > 20 && kept.len() > 5, "{at_once} {kept:?}");
    let mut other = cluster.servers[1].connect_unix();
    for key in kept {
        assert_eq!(other.say(&format!("SET key:{key} 1")), b"+OK\r\n");
        assert!(show(&gateway.reply()).ends_with(&format!(r"key:{key}\r\n")));
    }
}
