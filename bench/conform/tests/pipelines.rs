//! Deep pipelines: replies come in the order of the requests, whatever cores the keys live on.

use slotmesh_conform::{Connection, Server, request, show};
use std::thread;

/// Cores and shards of the server.
const SHARDS: usize = 3;

/// Connections at once.
const CONNECTIONS: usize = 50;

/// Requests of one pipeline.
const REQUESTS: usize = 10_000;

/// Keys of each connection: enough to lie on all shards.
const KEYS: usize = 97;

/// A pipeline with the replies that it must get.
#[derive(Default)]
struct Pipeline {
    requests: Vec<u8>,
    replies: Vec<Vec<u8>>,
}

impl Pipeline {
    fn push<A: AsRef<[u8]>>(&mut self, args: &[A], reply: impl Into<Vec<u8>>) {
        self.requests.extend_from_slice(&request(args));
        self.replies.push(reply.into());
    }

    /// Checks the replies one by one, so that the first wrong one is named.
    fn check(&self, connection: &mut Connection) {
        for (index, expected) in self.replies.iter().enumerate() {
            let got = connection.reply();
            assert!(got == *expected, "reply {index}: expected {}, got {}", show(expected), show(&got));
        }
    }
}

fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

/// Requests on own keys of a connection: each reply tells which request it belongs to.
fn mixture(owner: usize) -> Pipeline {
    let mut pipeline = Pipeline::default();
    let (mut counters, mut texts) = ([0; KEYS], vec![Vec::new(); KEYS]);
    for index in 0..REQUESTS {
        let at = (index * 31 + owner) % KEYS;
        let (counter, text) = (format!("counter:{owner}:{at}"), format!("text:{owner}:{at}"));
        match index % 7 {
            0 | 1 => {
                counters[at] += 1;
                pipeline.push(&["INCR", &counter], integer(counters[at]));
            }
            2 => {
                let piece = format!("{index},");
                texts[at].extend_from_slice(piece.as_bytes());
                pipeline.push(&["APPEND", &text, &piece], integer(texts[at].len()));
            }
            3 if texts[at].is_empty() => pipeline.push(&["GET", &text], "$-1\r\n"),
            3 => pipeline.push(&["GET", &text], bulk(&texts[at])),
            4 => {
                let words = format!("echo {index} of {owner}");
                pipeline.push(&["ECHO", &words], bulk(words.as_bytes()));
            }
            5 => {
                // Gathered from all shards; keys that nobody writes stand between those that tell the order.
                let others = [at, (at + 1) % KEYS, (at + 2) % KEYS];
                let names = others.map(|at| format!("counter:{owner}:{at}"));
                let value = |at: usize| match counters[at] {
                    0 => b"$-1\r\n".to_vec(),
                    count => bulk(count.to_string().as_bytes()),
                };
                let found =
                    [b"*4\r\n".to_vec(), value(others[0]), b"$-1\r\n".to_vec(), value(others[1]), value(others[2])];
                pipeline.push(&["MGET", &names[0], "nobody", &names[1], &names[2]], found.concat());
            }
            _ => {
                let number = index.to_string();
                counters[at] = index;
                counters[(at + 50) % KEYS] = index;
                let second = format!("counter:{owner}:{}", (at + 50) % KEYS);
                pipeline.push(&["MSET", &counter, &number, &second, &number], "+OK\r\n");
            }
        }
    }
    pipeline
}

#[test]
fn replies_come_in_order_on_fifty_connections() {
    let server = Server::slotmesh(SHARDS, SHARDS, &[]);
    thread::scope(|scope| {
        for owner in 0..CONNECTIONS {
            let server = &server;
            scope.spawn(move || {
                let pipeline = mixture(owner);
                let mut connection = server.connect();
                // All is sent before anything is read, as pipelines of client libraries do.
                connection.send(&pipeline.requests);
                pipeline.check(&mut connection);
            });
        }
    });
}

#[test]
fn replies_come_in_order_when_requests_arrive_in_pieces() {
    let server = Server::slotmesh(SHARDS, SHARDS, &[]);
    let pipeline = mixture(1);
    let mut connection = server.connect();
    // Pieces that cut requests, headers and line ends anywhere.
    for piece in pipeline.requests.chunks(1009) {
        connection.send(piece);
    }
    pipeline.check(&mut connection);
}

#[test]
fn commands_over_all_shards_see_what_stands_before_them() {
    let server = Server::slotmesh(SHARDS, SHARDS, &[]);
    let mut pipeline = Pipeline::default();
    for round in 0..200 {
        pipeline.push(&["FLUSHALL"], "+OK\r\n");
        for key in 0..20 {
            pipeline.push(&["SET", &format!("key:{key}"), &format!("{round}")], "+OK\r\n");
            if key % 5 == 0 {
                pipeline.push(&["DBSIZE"], integer(key + 1));
            }
        }
        pipeline.push(&["EXISTS", "key:0", "key:1", "key:2", "key:3", "key:99"], integer(4));
        pipeline.push(&["DEL", "key:0", "key:1", "key:2", "key:3", "key:99"], integer(4));
        pipeline.push(&["PING"], "+PONG\r\n");
        pipeline.push(&["DBSIZE"], integer(16));
        pipeline.push(&["SELECT", "1"], "+OK\r\n");
        pipeline.push(&["DBSIZE"], integer(0));
        pipeline.push(&["SET", "key:7", "other"], "+OK\r\n");
        pipeline.push(&["SELECT", "0"], "+OK\r\n");
        pipeline.push(&["GET", "key:7"], bulk(round.to_string().as_bytes()));
        pipeline.push(&["KEYS", "key:7"], [b"*1\r\n".to_vec(), bulk(b"key:7")].concat());
        pipeline.push(&["NOSUCH"], "-ERR unknown command 'NOSUCH', with args beginning with: \r\n");
        pipeline.push(&["CLIENT", "SETNAME", &format!("name-{round}")], "+OK\r\n");
        pipeline.push(&["CLIENT", "GETNAME"], bulk(format!("name-{round}").as_bytes()));
    }
    let mut connection = server.connect();
    connection.send(&pipeline.requests);
    pipeline.check(&mut connection);
}

#[test]
fn large_values_travel_between_cores_in_order() {
    let server = Server::slotmesh(SHARDS, SHARDS, &[]);
    let mut pipeline = Pipeline::default();
    for index in 0..60 {
        let value = vec![b'a' + (index % 26) as u8; 1 + index * 7919];
        let key = format!("large:{index}");
        pipeline.push(&[b"SET", key.as_bytes(), &value], "+OK\r\n");
        pipeline.push(&["GET", &key], bulk(&value));
        pipeline.push(&["STRLEN", &key], integer(value.len()));
        pipeline.push(&["INCR", "small"], integer(index + 1));
    }
    let mut connection = server.connect();
    connection.send(&pipeline.requests);
    pipeline.check(&mut connection);
}
