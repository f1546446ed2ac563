//! DUMP and RESTORE beside redis-server: the same bytes, and each takes the other's.

use slotmesh_base::Rng;
use slotmesh_conform::{Connection, Program, Server, show};

/// The content of a bulk reply.
fn payload(reply: &[u8]) -> Vec<u8> {
    assert_eq!(reply.first(), Some(&b'$'), "{}", show(reply));
    let body = reply.iter().position(|&byte| byte == b'\n').expect("a line") + 1;
    reply[body..reply.len() - 2].to_vec()
}

/// Texts with much and with nothing to compress, and numbers at the edges.
fn texts(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> =
        ["", "0", "-1", "127", "128", "-129", "32768", "2147483647", "2147483648", "-2147483649", "007", "-0"]
            .into_iter()
            .chain(["9223372036854775807", "-9223372036854775808", "12345678901", "1234567890a"])
            .map(|text| text.as_bytes().to_vec())
            .collect();
    for length in
        [19, 20, 21, 24, 25, 32, 33, 44, 63, 64, 65, 100, 263, 264, 265, 300, 1000, 8191, 9000, 20_000, 70_000]
    {
        for bytes in [1, 2, 4, 26, 256] {
            all.push((0..length).map(|_| b'a'.wrapping_add(rng.below(bytes) as u8)).collect());
        }
        // Repetitions from far and near.
        let mut text = Vec::new();
        while text.len() < length {
            let (from, count) = (rng.below(text.len() as u64 + 1) as usize, 1 + rng.below(60) as usize);
            if rng.below(3) == 0 {
                text.extend((0..count).map(|_| rng.below(256) as u8));
            } else {
                text.extend_from_within(from..(from + count).min(text.len()));
            }
        }
        all.push(text);
    }
    all
}

/// Sets the same value on both sides, compares what DUMP gives, and restores each side's on the other.
fn compare(sides: &mut [Connection; 2], make: &[&[u8]]) {
    for side in sides.iter_mut() {
        side.say("DEL key copy");
        side.ask(make);
    }
    let [expected, got] = sides.each_mut().map(|side| payload(&side.say("DUMP key")));
    assert!(
        expected == got,
        "{}:\nexpected {}\ngot      {}",
        show(&make.concat()),
        expected.escape_ascii(),
        got.escape_ascii()
    );
    for (side, payload) in sides.iter_mut().zip([&got, &expected]) {
        assert_eq!(show(&side.ask(&[b"RESTORE", &b"copy"[..], b"0", payload])), "+OK\\r\\n");
        assert_eq!(side.say("DUMP copy"), side.say("DUMP key"));
    }
}

#[test]
fn strings_are_dumped_and_restored_as_by_redis() {
    for compression in ["yes", "no"] {
        let args = ["--rdbcompression", compression];
        let (oracle, ours) = (Server::redis(&args), Server::slotmesh(2, 2, &args));
        let mut sides = [oracle.connect(), ours.connect()];
        for text in texts(&mut Rng::new(1)) {
            compare(&mut sides, &[b"SET", b"key", &text]);
        }
    }
}

#[test]
fn lists_are_dumped_and_restored_as_by_redis() {
    let (oracle, ours) = (Server::redis(&[]), Server::slotmesh(2, 2, &[]));
    let mut sides = [oracle.connect(), ours.connect()];
    let (mut rng, texts) = (Rng::new(2), texts(&mut Rng::new(3)));
    for _ in 0..200 {
        let (count, longest) = (1 + rng.below(60), [16, 40, texts.len() as u64][rng.below(3) as usize]);
        let mut make: Vec<&[u8]> = vec![b"RPUSH", b"key"];
        make.extend((0..count).map(|_| &texts[rng.below(longest) as usize][..]));
        compare(&mut sides, &make);
    }
}

/// Payloads of version 11, which 7.0.15 refuses, are taken, and ours by those who write them.
#[test]
fn later_servers_and_ours_take_each_others_values() {
    let ours = Server::slotmesh(2, 2, &[]);
    let mut ours = ours.connect();
    for program in &Program::peers()[1..] {
        let later = Server::start("redis-server", program.command(), &["--save", ""]);
        let mut later = later.connect();
        let (mut rng, texts) = (Rng::new(4), texts(&mut Rng::new(5)));
        for number in 0..60 {
            let mut make: Vec<&[u8]> = vec![b"RPUSH", b"key"];
            make.extend((0..1 + rng.below(60)).map(|_| &texts[rng.below(texts.len() as u64) as usize][..]));
            if number % 2 == 0 {
                make = vec![b"SET", b"key", &texts[number]];
            }
            later.say("DEL key copy");
            later.ask(&make);
            let payload = payload(&later.say("DUMP key"));
            assert_eq!(payload[payload.len() - 10..payload.len() - 8], [11, 0]);
            ours.say("DEL key");
            assert_eq!(show(&ours.ask(&[b"RESTORE", &b"key"[..], b"0", &payload])), "+OK\\r\\n");
            let back = self::payload(&ours.say("DUMP key"));
            assert_eq!(show(&later.ask(&[b"RESTORE", &b"copy"[..], b"0", &back])), "+OK\\r\\n");
            let read = |side: &mut Connection, key: &str| match number % 2 {
                0 => side.say(&format!("GET {key}")),
                _ => side.say(&format!("LRANGE {key} 0 -1")),
            };
            let expected = read(&mut later, "key");
            assert!(read(&mut ours, "key") == expected && read(&mut later, "copy") == expected);
            assert_eq!(ours.say("OBJECT ENCODING key"), later.say("OBJECT ENCODING key"));
        }
    }
}
