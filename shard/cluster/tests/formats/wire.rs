//! Messages that real servers sent, and what they do with bad ones.

use crate::check;
use slotmesh_base::Slot;
use slotmesh_cluster::wire::{
    self, BadFrame, BadMessage, Extension, GossipEntry, Header, Heartbeat, Message, MessageFlags, MessageKind,
    NodeFlags, Payload,
};
use slotmesh_cluster::{Host, NodeId, SlotSet};
use std::path::Path;

/// The bytes of a capture: lines of an offset and 16 bytes, `*` for lines as the one before, `#` for words.
fn capture(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata").join(format!("{name}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut bytes: Vec<u8> = Vec::new();
    let (mut is_repeated, mut last) = (false, Vec::new());
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        if line == "*" {
            is_repeated = true;
            continue;
        }
        let (offset, rest) = line.split_once("  ").expect("an offset");
        let offset = usize::from_str_radix(offset, 16).expect("an offset in hex");
        while is_repeated && bytes.len() < offset {
            bytes.extend_from_slice(&last);
        }
        assert_eq!(bytes.len(), offset, "{name}: a hole");
        is_repeated = false;
        let digits = rest.split('|').next().expect("bytes");
        last = digits.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
        bytes.extend_from_slice(&last);
    }
    bytes
}

fn id(text: &str) -> NodeId {
    NodeId::parse(text.as_bytes()).expect("forty digits")
}

/// Reads a capture, checks that we write the same bytes, and hands it on.
fn with_message(name: &str, check: impl FnOnce(&Message<'_>)) {
    let bytes = capture(name);
    assert_eq!(wire::frame_length(&bytes), Ok(Some(bytes.len())), "{name}");
    let message = wire::decode(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
    check(&message);
    let written = check::write(&message).expect("a message of ours");
    let place = written.iter().zip(&bytes).position(|(one, other)| one != other);
    assert_eq!((written.len(), place), (bytes.len(), None), "{name}: we write another byte there");
}

/// The nodes of the captures.
const FIRST: &str = "cf310c668da6495a44e68ca90c9cb1fe4ccff82f";
const SECOND: &str = "e8aa7ac1d53bcef35f566ecdbf12eafdbfb0d98c";
const FOURTH: &str = "53358286ba69002ba926b2a2aec342297d8186f0";

fn ranges(slots: &SlotSet) -> Vec<(u16, u16)> {
    slots.ranges().collect()
}

#[test]
fn meet_of_7_0() {
    with_message("meet-7.0", |message| {
        let header = &message.header;
        assert_eq!((header.port, header.bus_port, header.other_port), (31000, 51000, 0));
        assert_eq!((header.sender, header.master, &header.host), (id(FIRST), None, &None));
        assert_eq!(ranges(&header.slots), [(0, 5460)]);
        assert_eq!(header.flags, NodeFlags::MASTER | NodeFlags::MYSELF);
        assert_eq!((header.is_ok, header.message_flags, header.kin), (false, MessageFlags::empty(), 0));
        assert_eq!((header.current_epoch, header.config_epoch, header.offset), (0, 0, 0));
        let Payload::Heartbeat { kind: Heartbeat::Meet, gossip, extensions } = &message.payload else {
            panic!("{message:?}");
        };
        assert_eq!((gossip.len(), extensions.iter().count()), (0, 0));
    });
}

#[test]
fn ping_of_7_2() {
    with_message("ping-7.2", |message| {
        let header = &message.header;
        assert_eq!((header.current_epoch, header.config_epoch), (6, 0));
        assert_eq!(header.message_flags, MessageFlags::EXTENSIONS);
        assert_eq!(ranges(&header.slots), [(5461, 10921)]);
        let Payload::Heartbeat { kind: Heartbeat::Ping, gossip, extensions } = &message.payload else {
            panic!("{message:?}");
        };
        let replica = GossipEntry {
            id: id("a637f22cbe9a2284c67bcf3e8603d95c4b77a3e1"),
            ping_sent_s: 0,
            pong_received_s: 0x6b02_adcc,
            host: Host::parse(b"127.0.0.1"),
            port: 31000,
            bus_port: 51000,
            other_port: 0,
            flags: NodeFlags::REPLICA,
        };
        let master = GossipEntry {
            id: id("862727f39e871abe6ed81b87b372dd93a1bb3326"),
            port: 31002,
            bus_port: 51002,
            flags: NodeFlags::MASTER,
            ..replica.clone()
        };
        assert_eq!(gossip.iter().collect::<Vec<_>>(), [replica, master]);
        let forgotten = Extension::Forgotten { id: id("3db1ad939f0373abd1b94f19351f5dd5b68e0f25"), seconds: 59 };
        let shard = Extension::ShardId(id("61e716647d21a561fac7ddd2325110e48463da48"));
        assert_eq!(extensions.iter().collect::<Vec<_>>(), [forgotten, shard]);
    });
}

#[test]
fn pong_of_7_0() {
    with_message("pong-7.0", |message| {
        assert_eq!(message.header.sender, id(SECOND));
        assert!(matches!(message.payload, Payload::Heartbeat { kind: Heartbeat::Pong, .. }));
    });
}

#[test]
fn fail_of_a_replica() {
    with_message("fail-7.0", |message| {
        let header = &message.header;
        assert_eq!((header.master, header.offset), (Some(id(FOURTH)), 14));
        assert_eq!(header.flags, NodeFlags::REPLICA | NodeFlags::MYSELF);
        assert!(header.is_ok);
        assert_eq!(message.payload, Payload::Fail(id(FOURTH)));
    });
}

#[test]
fn publish() {
    with_message("publish-7.0", |message| {
        let published = Payload::Publish { channel: b"chan", message: b"hello-bus", is_sharded: false };
        assert_eq!(message.payload, published);
        assert!(message.header.flags.contains(NodeFlags::MIGRATE_TO));
    });
}

#[test]
fn vote_and_what_asks_for_it() {
    with_message("auth-request", |message| {
        assert_eq!(message.payload, Payload::AuthRequest);
        assert_eq!(message.header.message_flags, MessageFlags::FORCE_ACK);
        assert_eq!((message.header.current_epoch, message.header.config_epoch), (5, 1));
    });
    with_message("auth-ack", |message| {
        assert_eq!(message.payload, Payload::AuthAck);
        assert_eq!(ranges(&message.header.slots), [(5461, 10921)]);
    });
    with_message("mfstart", |message| assert_eq!(message.payload, Payload::ManualFailoverStart));
}

#[test]
fn update() {
    with_message("update", |message| {
        let Payload::Update { config_epoch, id: node, slots } = &message.payload else { panic!("{message:?}") };
        assert_eq!((*config_epoch, *node), (5, id(FOURTH)));
        assert_eq!(slots, &message.header.slots);
    });
}

#[test]
fn a_light_message_closes_the_link() {
    assert_eq!(wire::frame_length(&capture("light-publish-valkey-8")), Err(BadFrame));
}

/// A master with a slot.
fn header() -> Header {
    let mut slots = SlotSet::default();
    slots.insert(Slot::new(100).expect("a slot"));
    Header {
        sender: id(FIRST),
        current_epoch: 3,
        config_epoch: 2,
        offset: 17,
        slots,
        master: None,
        host: None,
        port: 7000,
        other_port: 0,
        bus_port: 17000,
        flags: NodeFlags::MASTER | NodeFlags::MYSELF,
        is_ok: true,
        message_flags: MessageFlags::empty(),
        kin: 0,
    }
}

/// A PING of one entry of gossip and these extensions.
fn ping(extensions: &[Extension<'_>]) -> Vec<u8> {
    let entry = GossipEntry {
        id: id(SECOND),
        ping_sent_s: 1,
        pong_received_s: 2,
        host: Host::parse(b"::1"),
        port: 7001,
        bus_port: 17001,
        other_port: 0,
        flags: NodeFlags::MASTER,
    };
    let mut out = Vec::new();
    wire::write_heartbeat(&mut out, &header(), Heartbeat::Ping, [entry].into_iter(), extensions.iter().copied());
    out
}

/// A message with another length, as its length field says too.
fn resized(mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    bytes.resize(length, 0);
    bytes[4..8].copy_from_slice(&u32::try_from(length).expect("short").to_be_bytes());
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    assert_eq!(wire::frame_length(bytes), Ok(Some(bytes.len())), "the link would be closed");
    wire::decode(bytes).expect_err("a bad message").to_string()
}

#[test]
fn what_is_not_the_bus_closes_the_link() {
    let good = ping(&[]);
    for length in 0..8 {
        assert_eq!(wire::frame_length(&good[..length]), Ok(None));
    }
    assert_eq!(wire::frame_length(&good[..8]), Ok(Some(2360)));
    assert_eq!(wire::frame_length(b"RCmc\0\0\x08\xd0"), Err(BadFrame));
    assert_eq!(wire::frame_length(b"RCmb\0\0\x07\xd0"), Err(BadFrame), "2000 bytes are no message");
    assert_eq!(wire::frame_length(b"GET / HTTP/1.1\r\n"), Err(BadFrame));
    // Redis waits for the rest of an endless message.
    assert_eq!(wire::frame_length(b"RCmb\xff\xff\xff\xff"), Ok(Some(0xffff_ffff)));
}

#[test]
fn another_version_is_dropped_though_counted() {
    let mut bytes = ping(&[]);
    bytes[9] = 2;
    assert_eq!(wire::decode(&bytes), Err(BadMessage::Version(2)));
    assert_eq!(wire::kind(&bytes), Some(MessageKind::Ping));
}

#[test]
fn lengths_are_exact() {
    let mut bytes = Vec::new();
    wire::write_fail(&mut bytes, &header(), &id(SECOND));
    assert_eq!(
        refusal(&resized(bytes.clone(), 2256)),
        "Received invalid fail packet of length 2256 but expected length 2296"
    );
    assert_eq!(refusal(&resized(bytes, 2297)), "Received invalid fail packet of length 2297 but expected length 2296");
    assert_eq!(
        refusal(&resized(ping(&[]), 2256)),
        "Received invalid ping packet of length 2256 but expected length 2360"
    );
    assert_eq!(
        refusal(&resized(ping(&[]), 2361)),
        "Received invalid ping packet of length 2361 but expected length 2360"
    );
    let with = |kind: u16, length: usize| {
        let mut bytes = ping(&[]);
        bytes[12..14].copy_from_slice(&kind.to_be_bytes());
        refusal(&resized(bytes, length))
    };
    for (kind, name) in [(5, "auth-req"), (6, "auth-ack"), (8, "mfstart")] {
        let told = format!("Received invalid {name} packet of length 2257 but expected length 2256");
        assert_eq!(with(kind, 2257), told);
    }
    assert_eq!(with(7, 4351), "Received invalid update packet of length 4351 but expected length 4352");
    // Too short to say how long they are.
    assert!(with(4, 2260).starts_with("Received invalid publish packet of length 2260"));
    assert!(with(9, 2260).starts_with("Received invalid module packet of length 2260"));
    assert!(with(10, 2256).starts_with("Received invalid publishshard packet of length 2256"));
}

#[test]
fn the_lengths_of_a_publication_cannot_wrap_round() {
    let mut bytes = Vec::new();
    wire::write_publish(&mut bytes, &header(), b"channel", b"message", true);
    bytes[2256..2264].fill(0xff);
    let told = refusal(&bytes);
    assert!(told.ends_with("of length 2278 but expected length 8589936854"), "{told}");
}

#[test]
fn an_unknown_type_may_be_of_any_length() {
    let mut bytes = resized(ping(&[]), 2300);
    bytes[13] = 99;
    assert_eq!(wire::kind(&bytes), None);
    assert_eq!(wire::decode(&bytes).expect("a message").payload, Payload::Unknown(99));
}

#[test]
fn an_unknown_extension_is_told() {
    let bytes = ping(&[Extension::Unknown(77), Extension::ShardId(id(SECOND))]);
    let Payload::Heartbeat { extensions, .. } = wire::decode(&bytes).expect("a message").payload else {
        panic!("no heartbeat");
    };
    let read: Vec<_> = extensions.iter().collect();
    assert_eq!(read, [Extension::Unknown(77), Extension::ShardId(id(SECOND))]);
}

#[test]
fn extensions_keep_to_their_room() {
    const EXTENSION: usize = 2360;
    let mut bytes = ping(&[Extension::Unknown(77)]);
    assert_eq!(bytes.len(), EXTENSION + 8);
    bytes[EXTENSION + 3] = 7;
    assert_eq!(refusal(&bytes), "Received a ping packet without proper padding (7 bytes)");
    bytes[EXTENSION + 3] = 0;
    assert_eq!(refusal(&bytes), "Received a ping packet without proper padding (0 bytes)");
    bytes[EXTENSION + 3] = 16;
    let beyond = "Received invalid ping packet with extension data that exceeds total packet length (2368)";
    assert_eq!(refusal(&bytes), beyond);
    // Two are announced, one is there.
    bytes[EXTENSION + 3] = 8;
    bytes[2215] = 2;
    assert_eq!(refusal(&bytes), beyond);
    // Not announced, but there.
    bytes[2215] = 0;
    assert_eq!(refusal(&bytes), "Received invalid ping packet of length 2368 but expected length 2360");
}

#[test]
fn a_number_of_extensions_without_the_flag_means_nothing() {
    let mut bytes = ping(&[]);
    bytes[2214..2216].fill(0xff);
    let message = wire::decode(&bytes).expect("a message");
    let Payload::Heartbeat { extensions, .. } = message.payload else { panic!("no heartbeat") };
    assert_eq!(extensions.iter().count(), 0);
}

#[test]
fn what_an_extension_cannot_say_counts_as_absent() {
    let long = "x".repeat(256);
    let bad = [
        Extension::Hostname("two words"),
        Extension::Hostname("under_score"),
        Extension::Hostname(""),
        Extension::Hostname(&long),
        Extension::Nodename("a,b"),
        Extension::Nodename("a=b"),
        Extension::Nodename("it's"),
        Extension::Nodename("ü"),
        Extension::Hostname("good.example"),
        Extension::Nodename("good_1"),
    ];
    let mut bytes = ping(&bad);
    let Payload::Heartbeat { extensions, .. } = wire::decode(&bytes).expect("a message").payload else {
        panic!("no heartbeat");
    };
    let read: Vec<_> = extensions.iter().collect();
    assert_eq!(read, [Extension::Hostname("good.example"), Extension::Nodename("good_1")]);
    // Bytes that are no text.
    bytes = ping(&[Extension::Hostname("abcdefg")]);
    let last = bytes.len() - 8;
    bytes[last] = 0xff;
    let Payload::Heartbeat { extensions, .. } = wire::decode(&bytes).expect("a message").payload else {
        panic!("no heartbeat");
    };
    assert_eq!(extensions.iter().count(), 0);
}

#[test]
fn a_node_without_a_name_is_not_heard() {
    for place in [40, 79, 2128] {
        let mut bytes = ping(&[]);
        bytes[place] = b'A';
        assert_eq!(wire::decode(&bytes), Err(BadMessage::Name), "{place}");
    }
}

#[test]
fn one_bad_id_spoils_the_gossip() {
    let mut bytes = ping(&[]);
    bytes[2256 + 39] = b' ';
    let Payload::Heartbeat { gossip, .. } = wire::decode(&bytes).expect("a message").payload else {
        panic!("no heartbeat");
    };
    assert!(gossip.is_empty());
    assert_eq!(gossip.iter().count(), 0);
}

#[test]
fn an_address_ends_at_its_zero() {
    let mut named = header();
    named.host = Host::parse(b"node-1.example");
    let mut bytes = Vec::new();
    wire::write_heartbeat(&mut bytes, &named, Heartbeat::Pong, [].into_iter(), [].into_iter());
    bytes[2168 + 15..2168 + 46].fill(b'x');
    assert_eq!(wire::decode(&bytes).expect("a message").header.host, named.host);
    bytes[2168 + 14] = b'x';
    assert_eq!(wire::decode(&bytes).expect("a message").header.host, None, "no end");
    bytes[2168..2214].fill(0);
    bytes[2168..2171].copy_from_slice(b"a b");
    assert_eq!(wire::decode(&bytes).expect("a message").header.host, None, "no host");
}

#[test]
fn kin_know_each_other() {
    let mut ours = header();
    ours.kin = 3;
    let mut bytes = Vec::new();
    wire::write_auth_ack(&mut bytes, &ours);
    assert_eq!(&bytes[2216..2225], b"slotmesh\x03");
    assert_eq!(wire::decode(&bytes).expect("a message").header.kin, 3);
    bytes[2216] = b'S';
    assert_eq!(wire::decode(&bytes).expect("a message").header.kin, 0);
}
