use super::*;
use crate::testing::{NOW, Request};

const GLOBAL: ChannelKind = ChannelKind::Global;
const SHARD: ChannelKind = ChannelKind::Shard;

/// Clients of two cores.
struct Cores {
    audience: Arc<Audience>,
    cores: [Subscriptions; 2],
    clients: Vec<(usize, Client)>,
}

impl Cores {
    /// Clients with their cores; those behind the mark come to a node's port.
    fn new(clients: &[(usize, bool)]) -> Self {
        let audience = Arc::new(Audience::new(2, KeyHasher::new([1, 2])));
        let client = |(number, &(core, is_at_node)): (usize, &(usize, bool))| {
            (core, Client { is_at_node, ..Client::new(number as u64, NOW) })
        };
        let cores = [0, 1].map(|core| Subscriptions::new(core, audience.clone()));
        Self { cores, audience, clients: clients.iter().enumerate().map(client).collect() }
    }

    fn say(&mut self, who: usize, text: &str) -> String {
        let request = Request::words(text);
        let (core, client) = &mut self.clients[who];
        let Some(slotmesh_command::Reach::PubSub(command)) = request.spec().map(|spec| spec.reach) else {
            panic!("{text}")
        };
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, client.protocol);
        self.cores[*core].run(command, client, who as u32, request.args(), &mut reply);
        String::from_utf8(out).unwrap()
    }

    /// Who hears a channel on a core: by its name, then by patterns in any order.
    fn heard(&self, core: usize, kind: ChannelKind, channel: &str) -> Vec<(String, Vec<u32>)> {
        let mut found = Vec::new();
        self.cores[core].for_each_audience(kind, channel.as_bytes(), |pattern, receivers| {
            found.push((String::from_utf8_lossy(pattern.unwrap_or_default()).into_owned(), receivers.to_vec()));
        });
        found.sort();
        found
    }

    fn listening(&self, own: u16, kind: ChannelKind, channel: &str) -> Vec<u16> {
        let mut cores = Vec::new();
        self.audience.find_listening(own, kind, channel.as_bytes(), &mut cores);
        cores
    }

    fn leave(&mut self, who: usize) {
        let (core, client) = &mut self.clients[who];
        self.cores[*core].leave(client, who as u32);
    }
}

#[test]
fn subscriptions_are_counted_as_in_redis() {
    let mut cores = Cores::new(&[(0, false)]);
    // The replies are those of redis-server 7.0.15.
    for (request, reply) in [
        ("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n"),
        ("SUBSCRIBE a b", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"),
        ("SUBSCRIBE a", "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:2\r\n"),
        ("PSUBSCRIBE a*", "*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:3\r\n"),
        ("SSUBSCRIBE a", "*3\r\n$10\r\nssubscribe\r\n$1\r\na\r\n:1\r\n"),
        ("UNSUBSCRIBE nope", "*3\r\n$11\r\nunsubscribe\r\n$4\r\nnope\r\n:3\r\n"),
        ("UNSUBSCRIBE a", "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:2\r\n"),
        ("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$1\r\na\r\n:0\r\n"),
        ("UNSUBSCRIBE", "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:1\r\n"),
        ("PUNSUBSCRIBE", "*3\r\n$12\r\npunsubscribe\r\n$2\r\na*\r\n:0\r\n"),
        ("SUNSUBSCRIBE", "*3\r\n$12\r\nsunsubscribe\r\n$-1\r\n:0\r\n"),
    ] {
        assert_eq!(cores.say(0, request), reply, "{request}");
    }
    assert!(!cores.clients[0].1.is_subscriber() && cores.cores[0].is_empty());
    cores.clients[0].1.protocol = Protocol::Resp3;
    assert_eq!(cores.say(0, "SUBSCRIBE a"), ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n");
    cores.say(0, "UNSUBSCRIBE a");
    assert_eq!(cores.say(0, "UNSUBSCRIBE"), ">3\r\n$11\r\nunsubscribe\r\n_\r\n:0\r\n");
}

#[test]
fn cores_know_where_somebody_may_listen() {
    let mut cores = Cores::new(&[(0, false), (0, false), (1, false)]);
    assert_eq!(cores.listening(1, GLOBAL, "news"), [0u16; 0]);
    cores.say(1, "SUBSCRIBE news");
    cores.say(0, "SUBSCRIBE news other");
    cores.say(0, "PSUBSCRIBE n*s");
    cores.say(2, "SSUBSCRIBE news");
    assert_eq!(cores.heard(0, GLOBAL, "news"), [(String::new(), vec![0, 1]), ("n*s".to_owned(), vec![0])]);
    assert_eq!(cores.heard(0, SHARD, "news"), []);
    assert_eq!(cores.heard(1, SHARD, "news"), [(String::new(), vec![2])]);
    assert_eq!(cores.listening(1, GLOBAL, "news"), [0]);
    assert_eq!(cores.listening(0, GLOBAL, "news"), [0u16; 0], "nobody on core 1 but a listener of the shard channel");
    assert_eq!(cores.listening(0, SHARD, "news"), [1]);
    assert_eq!(cores.listening(1, GLOBAL, "anything"), [0], "patterns are not tried from afar");
    let census = cores.audience.census(None);
    assert_eq!((census.len(GLOBAL), census.len(ChannelKind::Pattern), census.len(SHARD)), (2, 1, 1));
    assert_eq!((census.subscribers(GLOBAL, b"news"), census.subscribers(SHARD, b"news")), (2, 1));
    assert_eq!(census.receivers(GLOBAL, b"news"), 3);
    drop(census);
    // What ends leaves nothing behind.
    (0..3).for_each(|who| cores.leave(who));
    assert_eq!(cores.listening(1, GLOBAL, "news"), [0u16; 0]);
    assert!(cores.cores.iter().all(Subscriptions::is_empty));
    assert_eq!(ChannelKind::ALL.map(|kind| cores.audience.census(None).len(kind)), [0; 3]);
}

#[test]
fn a_node_counts_its_own_clients() {
    let mut cores = Cores::new(&[(0, true), (0, false), (1, true)]);
    (0..3).for_each(|who| drop(cores.say(who, "SUBSCRIBE news")));
    let count = |node| cores.audience.census(node).subscribers(GLOBAL, b"news");
    assert_eq!([None, Some(0), Some(1)].map(count), [3, 1, 1]);
}

#[test]
fn slots_that_leave_take_their_channels_along() {
    let mut cores = Cores::new(&[(0, true), (0, true)]);
    // foo lies in slot 12182, bar in 5061.
    cores.say(0, "SSUBSCRIBE foo");
    cores.say(0, "SSUBSCRIBE bar");
    cores.say(1, "SSUBSCRIBE foo");
    let lost = cores.cores[0].channels_outside(|slot| slot.number() < 8192);
    let [(channel, receivers)] = &lost[..] else { panic!("{lost:?}") };
    assert_eq!((&**channel, &receivers[..]), (&b"foo"[..], &[0, 1][..]));
    for &who in receivers {
        let mut out = Vec::new();
        let (core, client) = &mut cores.clients[who as usize];
        let mut reply = Reply::new(&mut out, client.protocol);
        cores.cores[*core].expel(client, who, channel, &mut reply);
        let left = if who == 0 { 1 } else { 0 };
        assert_eq!(String::from_utf8(out).unwrap(), format!("*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:{left}\r\n"));
    }
    assert_eq!(cores.heard(0, SHARD, "foo"), []);
    assert!(cores.clients[0].1.is_subscriber() && !cores.clients[1].1.is_subscriber());
}

#[test]
fn messages_have_the_form_of_their_protocol() {
    let text = |protocol, kind, pattern| {
        let mut out = Vec::new();
        write_message(protocol, kind, pattern, b"ch", b"hi", &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(text(Protocol::Resp2, GLOBAL, None), "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n");
    assert_eq!(text(Protocol::Resp3, SHARD, None), ">3\r\n$8\r\nsmessage\r\n$2\r\nch\r\n$2\r\nhi\r\n");
    assert_eq!(
        text(Protocol::Resp3, GLOBAL, Some(b"c*")),
        ">4\r\n$8\r\npmessage\r\n$2\r\nc*\r\n$2\r\nch\r\n$2\r\nhi\r\n"
    );
}

#[test]
fn a_transaction_hears_what_it_says_while_it_listens() {
    let mut cores = Cores::new(&[(0, false), (1, false)]);
    cores.say(1, "PSUBSCRIBE c*");
    let (_, client) = &mut cores.clients[0];
    let mut speech = Speech::new(&mut cores.cores[0], 0);
    let mut out = Vec::new();
    for text in ["PUBLISH ch 1", "SUBSCRIBE ch", "PUBLISH ch 2", "UNSUBSCRIBE ch", "PUBLISH ch 3", "SPUBLISH ch 4"] {
        let request = Request::words(text);
        let Some(slotmesh_command::Reach::PubSub(command)) = request.spec().map(|spec| spec.reach) else {
            panic!("{text}")
        };
        speech.run(command, client, request.args(), &mut Reply::new(&mut out, Protocol::Resp2));
    }
    let out = String::from_utf8(out).unwrap();
    assert_eq!(out.split("\r\n").filter(|line| line.starts_with(':')).collect::<Vec<_>>().concat(), ":1:1:2:0:1:0");
    let said: Vec<_> = speech.said.iter().map(|said| (said.kind, &said.message[..])).collect();
    assert_eq!(said, [(GLOBAL, &b"1"[..]), (GLOBAL, b"2"), (GLOBAL, b"3"), (SHARD, b"4")]);
    assert_eq!(String::from_utf8(speech.own).unwrap(), "*3\r\n$7\r\nmessage\r\n$2\r\nch\r\n$1\r\n2\r\n");
}
