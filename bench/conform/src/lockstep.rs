//! The same script of several connections on two servers, move by move: the same replies on the same connections.
//!
//! After each move we wait until nothing can happen any more, and take the replies that every connection has got. A
//! client that waits for others has no reply; that none will come is known from `blocked_clients` of INFO: when it
//! equals the number of connections whose replies are outstanding, all of them wait for others. Keys that end soon
//! are waited for as well (`expires=` of INFO), so that the next move does not depend on milliseconds.
//!
//! The oracle runs each move first. Ours then has to bring as many replies on each connection, and no more.

use crate::{
    Act, Comparison, Connection, FailsAt, Manner, Move, Served, await_condition, print_script, request, show, shrink,
    words,
};
use slotmesh_resp::elements;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

/// Connections of a script. The first is the one that never waits in random scripts.
pub const CONNECTIONS: usize = 4;

/// Longest wait for all to come to rest after a move, or for a reply that the oracle has given.
const MOVE_TIME_MAX: Duration = Duration::from_secs(10);

/// If all of our clients are at rest for so long and a reply has not come, it never will.
const REST_TIME: Duration = Duration::from_millis(500);

/// Most requests that may wait on a connection; further ones of a script are left out.
const WAITING_MAX: usize = 3;

/// Databases that scripts use.
const DATABASES: usize = 2;

/// Where two servers differ.
pub struct Difference {
    at: usize,
    /// The connection, and what it had asked.
    subject: String,
    expected: Vec<u8>,
    got: Vec<u8>,
}

impl FailsAt for Difference {
    fn at(&self) -> usize {
        self.at
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nexpected {}\ngot      {}", self.subject, show(&self.expected), show(&self.got))
    }
}

/// Runs a script on both servers, from an empty store on new connections; the first difference, if any.
///
/// # Panics
/// If the oracle does not come to rest.
pub fn run_script(oracle: &dyn Served, ours: &dyn Served, script: &[Move]) -> Option<Difference> {
    let mut sides = [oracle, ours].map(|server| Side::new(server, script));
    let mut comparisons = [(); CONNECTIONS].map(|()| Comparison::default());
    for (at, step) in script.iter().enumerate() {
        let [oracle, ours] = &mut sides;
        if !oracle.begin(step) {
            continue;
        }
        let expected = oracle.rest_after(step).map(|answers| answers.into_iter().map(|answer| answer.reply).collect());
        ours.begin(step);
        let got = ours.bring(&expected);
        if std::mem::take(&mut oracle.has_seen_expires) {
            ours.await_key_count(oracle.key_count());
        }
        if let Some(difference) = compare(at, &mut comparisons, &expected, got) {
            return Some(difference);
        }
        if step.act == Act::Close {
            comparisons[step.connection] = Comparison::default();
        }
    }
    let [expected, got] = sides.each_mut().map(Side::content);
    let subject = "the content at the end".to_owned();
    (expected != got).then_some(Difference { at: script.len(), subject, expected, got })
}

/// The shortest script found that still fails, with its failure.
///
/// # Panics
/// As [`run_script`].
pub fn shrink_script(
    oracle: &dyn Served,
    ours: &dyn Served,
    script: &[Move],
    first: Difference,
) -> (Vec<Move>, Difference) {
    shrink(script, first, |script| run_script(oracle, ours, script))
}

/// The first reply after a move that is not as expected.
fn compare(
    at: usize,
    comparisons: &mut [Comparison; CONNECTIONS],
    expected: &Replies,
    got: Brought,
) -> Option<Difference> {
    for (index, (expected, got)) in expected.iter().zip(got.answers).enumerate() {
        let (count, mut got) = (expected.len().max(got.len()), got.into_iter());
        for place in 0..count {
            let none = || Answer { args: vec![b"(nothing was asked)".to_vec()], reply: b"(no reply)".to_vec() };
            let expected = expected.get(place).cloned().unwrap_or_else(|| none().reply);
            let got = got.next().unwrap_or_else(none);
            if !comparisons[index].matches(&got.args, &expected, &got.reply) {
                let subject = format!("connection {index}, {}", show(&got.args.join(&b' ')));
                return Some(Difference { at, subject, expected, got: got.reply });
            }
        }
    }
    let expected = b"all that wait are blocked".to_vec();
    got.unrest.map(|unrest| Difference { at, subject: "INFO".to_owned(), expected, got: unrest.into_bytes() })
}

/// Runs a script on one server; its moves and the replies to each, as [`replay`] reads them.
///
/// # Panics
/// If the server does not come to rest.
pub fn record(server: &dyn Served, script: &[Move]) -> String {
    let mut side = Side::new(server, script);
    let mut text = String::new();
    for step in script {
        if side.begin(step) {
            text += &print_script(std::slice::from_ref(step));
            for (index, answers) in side.rest_after(step).iter().enumerate() {
                text.extend(answers.iter().map(|answer| format!("  {index} {}\n", answer.reply.escape_ascii())));
            }
        }
    }
    text
}

/// Runs the moves of a recording; the first reply that is not the recorded one, if any.
///
/// # Panics
/// If the recording makes a connection say more than it can.
pub fn replay(server: &dyn Served, recording: &[Recorded]) -> Option<Difference> {
    let script: Vec<Move> = recording.iter().map(|recorded| recorded.step.clone()).collect();
    let mut side = Side::new(server, &script);
    let mut comparisons = [(); CONNECTIONS].map(|()| Comparison::default());
    for (at, Recorded { step, replies }) in recording.iter().enumerate() {
        assert!(side.begin(step), "move {at} has to wait");
        let got = side.bring(replies);
        side.await_keys_without_end();
        if let Some(difference) = compare(at, &mut comparisons, replies, got) {
            return Some(difference);
        }
        if step.act == Act::Close {
            comparisons[step.connection] = Comparison::default();
        }
    }
    None
}

/// A reply with the request that it answers.
struct Answer {
    args: Vec<Vec<u8>>,
    reply: Vec<u8>,
}

/// Replies of each connection since a move began.
type Answers = [Vec<Answer>; CONNECTIONS];

/// Replies of each connection, as the oracle gave them.
pub type Replies = [Vec<Vec<u8>>; CONNECTIONS];

/// A move with what is expected after it.
pub struct Recorded {
    /// The move.
    pub step: Move,
    /// The replies that follow it.
    pub replies: Replies,
}

/// What ours brought; if it did not come to rest, why.
struct Brought {
    answers: Answers,
    unrest: Option<String>,
}

struct Client {
    connection: Connection,
    id: Vec<u8>,
    waiting: VecDeque<Vec<Vec<u8>>>,
    is_closed: bool,
}

impl Client {
    fn new(server: &dyn Served) -> Self {
        let mut connection = server.connect();
        let id = connection.say("CLIENT ID");
        let id = id.trim_ascii()[1..].to_vec();
        Self { connection, id, waiting: VecDeque::new(), is_closed: false }
    }

    /// Takes all replies that have arrived; tells whether there were any.
    fn take(&mut self, answers: &mut Vec<Answer>) -> bool {
        let before = answers.len();
        while !self.is_closed {
            match self.connection.arrived_reply() {
                Ok(None) => break,
                Ok(Some(reply)) => self.answer(reply, answers),
                Err(error) => self.close(&error, answers),
            }
        }
        answers.len() > before
    }

    /// Waits for one reply.
    fn await_one(&mut self, answers: &mut Vec<Answer>) {
        match self.connection.try_reply() {
            Ok(reply) => self.answer(reply, answers),
            Err(error) => self.close(&error, answers),
        }
    }

    fn answer(&mut self, reply: Vec<u8>, answers: &mut Vec<Answer>) {
        answers.push(Answer { args: self.waiting.pop_front().unwrap_or_default(), reply });
    }

    fn close(&mut self, error: &Error, answers: &mut Vec<Answer>) {
        let is_silent = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        let reply: &[u8] = if is_silent { b"(silence)" } else { b"(closed)" };
        self.answer(reply.to_vec(), answers);
        self.is_closed = true;
        self.waiting.clear();
    }
}

struct Side<'a> {
    server: &'a dyn Served,
    control: Connection,
    clients: [Client; CONNECTIONS],
    /// All words of the script, its keys among them.
    words: Vec<Vec<u8>>,
    /// Whether there were keys with a time to live after this move.
    has_seen_expires: bool,
}

impl<'a> Side<'a> {
    fn new(server: &'a dyn Served, script: &[Move]) -> Self {
        let mut control = server.connect();
        await_condition("the last script's clients have gone", 10, || Census::of(&mut control).connected == 1);
        assert_eq!(control.say("FLUSHALL"), b"+OK\r\n");
        let mut words = BTreeSet::new();
        for step in script {
            if let Act::Say { requests, .. } = &step.act {
                words.extend(requests.iter().flatten().cloned());
            }
        }
        let clients = [(); CONNECTIONS].map(|()| Client::new(server));
        Self { server, control, clients, words: words.into_iter().collect(), has_seen_expires: false }
    }

    /// Sends what a move says; tells whether it did: one that would have to wait behind too many is left out.
    fn begin(&mut self, step: &Move) -> bool {
        let client = &mut self.clients[step.connection];
        match &step.act {
            Act::Close => *client = Client::new(self.server),
            Act::Say { requests, manner } => {
                let room = if *manner == Manner::Behind { WAITING_MAX - 1 } else { 0 };
                if client.waiting.len() > room || client.is_closed {
                    return false;
                }
                let bytes: Vec<u8> = requests.iter().flat_map(|args| request(&self.with_ids(args))).collect();
                let client = &mut self.clients[step.connection];
                // Where it fails the connection is closed, which the replies tell.
                let _ = client.connection.try_send(&bytes);
                client.waiting.extend(requests.iter().cloned());
            }
        }
        true
    }

    fn with_ids(&self, args: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let index = |arg: &[u8]| std::str::from_utf8(arg.strip_prefix(b"@")?).ok()?.parse::<usize>().ok();
        let id = |arg: &Vec<u8>| Some(self.clients.get(index(arg)?)?.id.clone());
        args.iter().map(|arg| id(arg).unwrap_or_else(|| arg.clone())).collect()
    }

    /// All replies that come after a move.
    fn rest_after(&mut self, step: &Move) -> Answers {
        let mut answers = Answers::default();
        if matches!(step.act, Act::Say { manner: Manner::Awaited, .. }) {
            let client = &mut self.clients[step.connection];
            while !client.waiting.is_empty() {
                client.await_one(&mut answers[step.connection]);
            }
        }
        let deadline = Instant::now() + MOVE_TIME_MAX;
        while let Err(unrest) = self.look(&mut answers) {
            assert!(Instant::now() < deadline, "the server does not come to rest: {unrest}");
        }
        answers
    }

    /// The replies that the oracle has given, and any that should not be.
    fn bring(&mut self, expected: &Replies) -> Brought {
        let mut answers = Answers::default();
        let deadline = Instant::now() + MOVE_TIME_MAX;
        let mut rests_since = None;
        loop {
            let look = self.look(&mut answers);
            let lacks = expected.iter().zip(&answers).any(|(expected, got)| got.len() < expected.len());
            let now = Instant::now();
            match look {
                Ok(()) if !lacks => return Brought { answers, unrest: None },
                Ok(()) if now > *rests_since.get_or_insert(now) + REST_TIME => {
                    return Brought { answers, unrest: None };
                }
                Ok(()) => {}
                Err(unrest) if now > deadline => return Brought { answers, unrest: Some(unrest) },
                Err(_) => rests_since = None,
            }
        }
    }

    /// Takes what has arrived.
    ///
    /// # Errors
    /// If more may happen: why.
    fn look(&mut self, answers: &mut Answers) -> Result<(), String> {
        self.take(answers);
        let waiting = self.clients.iter().filter(|client| !client.waiting.is_empty()).count();
        let census = Census::of(&mut self.control);
        // Replies of the turn in which the server counted may come behind the count.
        assert_eq!(self.control.say("PING"), b"+PONG\r\n");
        // Whatever came meanwhile may have let others wait or go on.
        let has_arrived = self.take(answers);
        let connected = 1 + self.clients.iter().filter(|client| !client.is_closed).count();
        if census.expires > 0 {
            self.has_seen_expires = true;
            self.touch_all();
        }
        let expected = Census { blocked: waiting, connected, expires: 0 };
        if has_arrived || census != expected { Err(format!("{census:?}, but {expected:?}")) } else { Ok(()) }
    }

    fn take(&mut self, answers: &mut Answers) -> bool {
        let mut has_arrived = false;
        for (client, answers) in self.clients.iter_mut().zip(answers) {
            has_arrived |= client.take(answers);
        }
        has_arrived
    }

    /// Looks for all keys: those whose time is over are found now, not when the server comes by.
    fn touch_all(&mut self) {
        let exists = [[b"EXISTS".to_vec()].as_slice(), &self.words].concat();
        for database in 0..DATABASES {
            self.control.say(&format!("SELECT {database}"));
            self.control.ask(&exists);
        }
    }

    /// Keys of all databases. (INFO of ours may be a moment old.)
    fn key_count(&mut self) -> Vec<Vec<u8>> {
        let count = |database| {
            self.control.say(&format!("SELECT {database}"));
            self.control.say("DBSIZE")
        };
        (0..DATABASES).map(count).collect()
    }

    /// Waits until no key has a time to live. Scripts make but short ones.
    fn await_keys_without_end(&mut self) {
        if std::mem::take(&mut self.has_seen_expires) {
            let deadline = Instant::now() + REST_TIME;
            while Census::of(&mut self.control).expires > 0 && Instant::now() < deadline {
                self.touch_all();
            }
        }
    }

    /// Waits for keys whose time is over to be gone. If they stay, later replies tell.
    fn await_key_count(&mut self, expected: Vec<Vec<u8>>) {
        let deadline = Instant::now() + REST_TIME;
        while self.key_count() != expected && Instant::now() < deadline {
            self.touch_all();
        }
    }

    /// All keys with their values.
    fn content(&mut self) -> Vec<u8> {
        let mut content = Vec::new();
        for database in 0..DATABASES {
            self.control.say(&format!("SELECT {database}"));
            let keys = self.control.say("KEYS *");
            let mut keys: Vec<_> = elements(&keys).expect("an array").collect();
            keys.sort_unstable();
            for key in keys {
                content.extend_from_slice(format!("{database}: ").as_bytes());
                content.extend_from_slice(key);
                let header = key.iter().position(|&byte| byte == b'\n').map_or(0, |end| end + 1);
                let key = &key[header..key.len() - 2];
                let string = self.control.ask(&[b"GET".as_slice(), key]);
                let is_string = string.first() == Some(&b'$');
                let list = [b"LRANGE".as_slice(), key, b"0", b"-1"];
                content.extend(if is_string { string } else { self.control.ask(&list) });
            }
        }
        content
    }
}

/// What INFO counts.
#[derive(PartialEq, Eq, Debug)]
struct Census {
    blocked: usize,
    connected: usize,
    /// Keys with a time to live.
    expires: usize,
}

impl Census {
    fn of(control: &mut Connection) -> Self {
        control.send(&words("INFO clients keyspace"));
        let text = control.reply();
        let text = String::from_utf8_lossy(&text);
        let number = |name: &str| {
            let at = text.split(['\n', ',', '\r']).find_map(|field| field.strip_prefix(name));
            at.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no number {name} in {text}"))
        };
        let expires = text.split(',').filter_map(|field| field.strip_prefix("expires=")).map(str::parse::<usize>);
        Self {
            blocked: number("blocked_clients:"),
            connected: number("connected_clients:"),
            expires: expires.map(|count| count.expect("a number")).sum(),
        }
    }
}
