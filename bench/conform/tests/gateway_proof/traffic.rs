//! Clients that check every reply: of the right form, in the order of the requests, about the key that was asked for, and
//! no older than what a replica has.
//!
//! Each worker has keys of its own, and every value begins with the name of its key: a reply that belongs to another
//! request shows. Some look at the nodes after each write: what two of them have must never be lost.

use slotmesh_base::Rng;
use slotmesh_conform::{Connection, Door, PASSWORD, request, show, words};
use slotmesh_resp::elements;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

/// Keys of a worker: enough to be on all shards.
const KEYS: u64 = 200;

/// Longest pipeline.
const PIPELINE_MAX: u64 = 48;

/// How an error begins that no client may see: it is the gateway's to deal with them.
const INNER: &[&str] =
    &["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "READONLY", "MASTERDOWN", "CROSSSLOT", "NOAUTH"];

/// How the error begins that says that a request may have run.
pub(crate) const UNKNOWN_FATE: &str = "-UNKNOWNFATE ";

/// Whether a reply is the error that says that the request may have run; any other error is none that may be.
///
/// # Panics
/// If it is another error.
pub(crate) fn is_unknown(request: &str, reply: &[u8]) -> bool {
    if reply.first() != Some(&b'-') {
        return false;
    }
    let text = show(reply);
    assert!(!INNER.iter().any(|word| text[1..].starts_with(word)), "{request}: {text}");
    assert!(text.starts_with(UNKNOWN_FATE), "{request}: {text}");
    true
}

/// Workers that go on until they are told to end.
pub(crate) struct Traffic {
    stops: Arc<AtomicBool>,
    replies: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Sums>>,
}

/// What a worker counted.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Sums {
    /// Replies.
    pub(crate) replies: u64,
    /// Errors that said that a request may have run.
    pub(crate) unknown: u64,
    /// Writes that two nodes had.
    pub(crate) durable: u64,
}

impl Traffic {
    /// Starts so many workers of either kind; `nodes` are the ports of what is behind the gateway.
    pub(crate) fn begin(door: Door, nodes: &[u16], pipeliners: u64, waiters: u64) -> Self {
        let (stops, replies) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let spawn = |number: u64, work: fn(Worker) -> Sums| {
            let worker = Worker {
                connection: door.enter(),
                nodes: nodes.iter().map(|&port| (port, None)).collect(),
                rng: Rng::new(number + 1),
                name: format!("worker{number}"),
                stops: stops.clone(),
                replies: replies.clone(),
                sums: Sums::default(),
            };
            std::thread::spawn(move || work(worker))
        };
        let pipeliners = (0..pipeliners).map(|number| spawn(number, pipeline));
        let waiters = (0..waiters).map(|number| spawn(100 + number, wait));
        let threads = pipeliners.chain(waiters).collect();
        Self { stops, replies, threads }
    }

    /// Waits until so many more replies have come, all together.
    pub(crate) fn await_more(&self, count: u64) {
        let before = self.replies.load(Ordering::Relaxed);
        slotmesh_conform::await_condition("the clients are served", 60, || {
            // One that has ended has failed: `end` tells why.
            self.replies.load(Ordering::Relaxed) > before + count || self.threads.iter().any(JoinHandle::is_finished)
        });
    }

    /// Ends all workers and has them look at their keys once more; what they counted together.
    ///
    /// # Panics
    /// If one was not served as it should.
    pub(crate) fn end(self) -> Sums {
        self.stops.store(true, Ordering::Relaxed);
        let sums = self.threads.into_iter().map(|thread| thread.join().expect("a worker is served as promised"));
        sums.fold(Sums::default(), |all, one| Sums {
            replies: all.replies + one.replies,
            unknown: all.unknown + one.unknown,
            durable: all.durable + one.durable,
        })
    }
}

struct Worker {
    connection: Connection,
    /// The nodes behind the gateway, by their ports, with a connection that may read from replicas.
    nodes: Vec<(u16, Option<Connection>)>,
    rng: Rng,
    name: String,
    stops: Arc<AtomicBool>,
    replies: Arc<AtomicU64>,
    sums: Sums,
}

/// A request of a pipeliner.
enum Ask {
    Set(u64),
    Get(u64),
    /// Values of keys that follow each other.
    GetMany(u64, u64),
    SetMany(u64, u64),
    Exists(u64, u64),
    Push(u64),
    Pop(u64),
    Count(u64),
    Echo(u64),
    /// A transaction that sets two keys of a slot alike, or reads them.
    SetPair(u64),
    GetPair(u64),
}

impl Worker {
    fn key(&self, number: u64) -> String {
        format!("{}:{}", self.name, number % KEYS)
    }

    fn is_ended(&self) -> bool {
        self.stops.load(Ordering::Relaxed)
    }

    fn draw(&mut self) -> Ask {
        let (number, count) = (self.rng.below(KEYS), 2 + self.rng.below(9));
        match self.rng.below(20) {
            0..4 => Ask::Set(number),
            4..10 => Ask::Get(number),
            10 | 11 => Ask::GetMany(number, count),
            12 => Ask::SetMany(number, count),
            13 => Ask::Exists(number, count),
            14 => Ask::Push(number),
            15 => Ask::Pop(number),
            16 => Ask::Count(number),
            17 => Ask::SetPair(number),
            18 => Ask::GetPair(number),
            _ => Ask::Echo(self.rng.below(1 << 40)),
        }
    }

    /// The bytes of a request; `number` makes its values differ from those of others.
    fn write(&self, ask: &Ask, number: u64, bytes: &mut Vec<u8>) {
        let key = |key: u64| self.key(key);
        let value = |at: u64| format!("{}={number}", key(at));
        let pair = |at: u64| ["left", "right"].map(|side| format!("{{{}}}{side}", key(at)));
        let words: Vec<String> = match *ask {
            Ask::Set(at) => vec!["SET".into(), key(at), value(at)],
            Ask::Get(at) => vec!["GET".into(), key(at)],
            Ask::GetMany(at, count) => std::iter::once("MGET".into()).chain((at..at + count).map(key)).collect(),
            Ask::SetMany(at, count) => {
                std::iter::once("MSET".into()).chain((at..at + count).flat_map(|at| [key(at), value(at)])).collect()
            }
            Ask::Exists(at, count) => std::iter::once("EXISTS".into()).chain((at..at + count).map(key)).collect(),
            Ask::Push(at) => vec!["RPUSH".into(), format!("list:{}", key(at)), value(at)],
            Ask::Pop(at) => vec!["LPOP".into(), format!("list:{}", key(at))],
            Ask::Count(at) => vec!["INCR".into(), format!("count:{}", key(at))],
            Ask::Echo(text) => vec!["ECHO".into(), text.to_string()],
            Ask::SetPair(at) => {
                let [left, right] = pair(at);
                bytes.extend(request(&["MULTI"]));
                bytes.extend(request(&["SET", &left, &value(at)]));
                bytes.extend(request(&["SET", &right, &value(at)]));
                vec!["EXEC".into()]
            }
            Ask::GetPair(at) => {
                bytes.extend(request(&["MULTI"]));
                pair(at).iter().for_each(|key| bytes.extend(request(&["GET", key])));
                vec!["EXEC".into()]
            }
        };
        bytes.extend(request(&words));
    }

    /// Reads the reply to a request and looks whether it can be one to it.
    fn check(&mut self, ask: &Ask) {
        self.sums.replies += 1;
        self.replies.fetch_add(1, Ordering::Relaxed);
        if matches!(ask, Ask::SetPair(_) | Ask::GetPair(_)) {
            assert_eq!(show(&self.connection.reply()), "+OK\\r\\n", "MULTI");
            (0..2).for_each(|_| assert_eq!(show(&self.connection.reply()), "+QUEUED\\r\\n"));
        }
        let reply = self.connection.reply();
        let text = show(&reply);
        let is_integer = || reply.first() == Some(&b':');
        match *ask {
            Ask::Set(at) => assert_eq!(text, "+OK\\r\\n", "SET {}", self.key(at)),
            Ask::Get(at) => self.assert_names(at, &reply),
            Ask::GetMany(at, count) => {
                let values: Vec<_> = elements(&reply).unwrap_or_else(|_| panic!("MGET: {text}")).collect();
                assert_eq!(values.len(), count as usize, "MGET: {text}");
                values.iter().zip(at..).for_each(|(value, at)| self.assert_names(at, value));
            }
            Ask::SetMany(..) => assert!(text == "+OK\\r\\n" || self.noted("MSET", &reply), "MSET: {text}"),
            Ask::Exists(_, count) => {
                let found: u64 = text.trim_start_matches(':').trim_end_matches("\\r\\n").parse().unwrap_or(u64::MAX);
                assert!(found <= count, "EXISTS: {text}");
            }
            Ask::Push(at) => assert!(is_integer() || self.noted("RPUSH", &reply), "RPUSH {at}: {text}"),
            Ask::Pop(at) => {
                if !self.noted("LPOP", &reply) {
                    self.assert_names(at, &reply);
                }
            }
            Ask::Count(at) => assert!(is_integer() || self.noted("INCR", &reply), "INCR {at}: {text}"),
            Ask::Echo(sent) => {
                let digits = sent.to_string();
                assert_eq!(text, format!("${}\\r\\n{digits}\\r\\n", digits.len()));
            }
            Ask::SetPair(at) => {
                let done = text == "*2\\r\\n+OK\\r\\n+OK\\r\\n";
                assert!(done || self.noted("EXEC", &reply), "EXEC {at}: {text}");
            }
            Ask::GetPair(at) => {
                if !self.noted("EXEC", &reply) {
                    let values: Vec<_> = elements(&reply).unwrap_or_else(|_| panic!("EXEC: {text}")).collect();
                    assert!(values.len() == 2 && values[0] == values[1], "EXEC: {text}");
                    self.assert_names(at, values[0]);
                }
            }
        }
    }

    /// Whether the request may have run or not.
    fn noted(&mut self, request: &str, reply: &[u8]) -> bool {
        let is_unknown = is_unknown(request, reply);
        self.sums.unknown += u64::from(is_unknown);
        is_unknown
    }

    /// A value is that of its key, or none.
    fn assert_names(&self, at: u64, value: &[u8]) {
        let text = show(value);
        let is_of_key = text.split("\\r\\n").nth(1).is_some_and(|value| value.starts_with(&(self.key(at) + "=")));
        assert!(is_of_key || text == "$-1\\r\\n", "{}: {text}", self.key(at));
    }
}

/// How often the nodes are looked at for a value.
const LOOKS: usize = 4;

/// What a node that may be dead says of a key.
fn look_at(port: u16, node: &mut Option<Connection>, key: &str) -> Option<Vec<u8>> {
    if node.is_none() {
        let mut fresh = Connection::tcp(("127.0.0.1", port)).ok()?;
        fresh.try_send(&words("PING")).ok()?;
        if fresh.try_reply().ok()?.starts_with(b"-NOAUTH") {
            fresh.try_send(&request(&["AUTH", PASSWORD])).ok()?;
            fresh.try_reply().ok()?;
        }
        fresh.try_send(&words("READONLY")).ok()?;
        fresh.try_reply().ok()?;
        *node = Some(fresh);
    }
    let open = node.as_mut()?;
    let reply = open.try_send(&words(&format!("GET {key}"))).and_then(|()| open.try_reply());
    if reply.is_err() {
        *node = None;
    }
    reply.ok()
}

/// Sends pipelines of any length, and asks all sorts of things.
fn pipeline(mut worker: Worker) -> Sums {
    let mut number = 0;
    while !worker.is_ended() {
        let count = 1 + worker.rng.below(PIPELINE_MAX);
        let asks: Vec<Ask> = (0..count).map(|_| worker.draw()).collect();
        let mut bytes = Vec::new();
        for ask in &asks {
            number += 1;
            worker.write(ask, number, &mut bytes);
        }
        worker.connection.send(&bytes);
        asks.iter().for_each(|ask| worker.check(ask));
    }
    worker.sums
}

/// What a waiter knows of a key.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The last value that two nodes had.
    durable: u64,
    /// The last value that was sent.
    sent: u64,
}

/// Sets keys, counts up counters, looks for them at the nodes each time, and reads them now and then.
fn wait(mut worker: Worker) -> Sums {
    let (mut values, mut counts) = (BTreeMap::<u64, Known>::new(), BTreeMap::<u64, Known>::new());
    let mut number = 0;
    while !worker.is_ended() {
        let at = worker.rng.below(KEYS);
        number += 1;
        if worker.rng.below(3) == 0 {
            worker.count_up(at, counts.entry(at).or_default());
        } else {
            worker.set(at, number, values.entry(at).or_default());
        }
        let at = worker.rng.below(KEYS);
        worker.look(at, values.get(&at), counts.get(&at));
    }
    for at in 0..KEYS {
        worker.look(at, values.get(&at), counts.get(&at));
    }
    worker.sums
}

impl Worker {
    fn set(&mut self, at: u64, number: u64, known: &mut Known) {
        let key = self.key(at);
        known.sent = number;
        assert_eq!(show(&self.connection.say(&format!("SET {key} {key}={number}"))), "+OK\\r\\n", "SET {key}");
        self.note_reply();
        if self.is_on_two_nodes(&key, &format!("{key}={number}")) {
            known.durable = number;
        }
    }

    fn count_up(&mut self, at: u64, known: &mut Known) {
        let key = format!("count:{}", self.key(at));
        known.sent += 1;
        let reply = self.connection.say(&format!("INCR {key}"));
        self.note_reply();
        if self.noted("INCR", &reply) {
            return;
        }
        let text = show(&reply);
        let count: u64 = text.trim_start_matches(':').trim_end_matches("\\r\\n").parse().expect("a number");
        assert!(known.durable < count && count <= known.sent, "INCR: {text} after {}", known.durable);
        if self.is_on_two_nodes(&key, &count.to_string()) {
            known.durable = count;
        }
    }

    fn note_reply(&mut self) {
        self.sums.replies += 1;
        self.replies.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether two nodes have this value of a key, its master and a replica that is: then it outlives either of them. A
    /// replica may be a moment behind.
    fn is_on_two_nodes(&mut self, key: &str, value: &str) -> bool {
        let expected = format!("${}\r\n{value}\r\n", value.len());
        for _ in 0..LOOKS {
            let mut having = 0;
            for (port, node) in &mut self.nodes {
                let reply = look_at(*port, node, key);
                having += usize::from(reply.is_some_and(|reply| reply == expected.as_bytes()));
            }
            if having >= 2 {
                self.sums.durable += 1;
                return true;
            }
        }
        false
    }

    /// What a key holds is nothing older than what two nodes had, and nothing that was not sent.
    fn look(&mut self, at: u64, value: Option<&Known>, count: Option<&Known>) {
        let key = self.key(at);
        let number = |reply: &[u8], before: &str| -> u64 {
            let text = show(reply);
            if text == "$-1\\r\\n" {
                return 0;
            }
            let value = text.split("\\r\\n").nth(1).and_then(|value| value.strip_prefix(before));
            value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("{key}: {text}"))
        };
        let pairs = [(key.clone(), format!("{key}="), value), (format!("count:{key}"), String::new(), count)];
        for (name, before, known) in pairs {
            let Some(known) = known else { continue };
            let found = number(&self.connection.say(&format!("GET {name}")), &before);
            assert!(found >= known.durable, "{name} had {} on two nodes and is {found}", known.durable);
            assert!(found <= known.sent, "{name} is {found}, but only {} was sent", known.sent);
        }
    }
}
