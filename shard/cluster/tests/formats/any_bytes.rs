//! Any message, any file, and any bytes: what is written is read again; nothing panics.

use crate::check;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use slotmesh_base::{Rng, Slot, UnixMillis};
use slotmesh_cluster::nodes_conf::{self, SavedCluster, SavedNode};
use slotmesh_cluster::wire::{self, Extension, GossipEntry, Header, Heartbeat, MessageFlags, NodeFlags};
use slotmesh_cluster::{Host, NodeId, SlotSet};

fn any_id() -> impl Strategy<Value = NodeId> {
    any::<[u64; 3]>().prop_map(NodeId::of_random)
}

fn any_host() -> impl Strategy<Value = Option<Host>> {
    let name = "[a-zA-Z][a-zA-Z0-9._-]{0,44}".prop_map(|name| Host::parse(name.as_bytes()).expect("a name"));
    option::of(prop_oneof![any::<std::net::IpAddr>().prop_map(Host::from), name])
}

fn any_slot() -> impl Strategy<Value = Slot> {
    (0u16..16384).prop_map(|number| Slot::new(number).expect("below 16384"))
}

fn any_slots() -> impl Strategy<Value = SlotSet> {
    vec((any_slot(), 1u16..600), 0..6).prop_map(|runs| {
        let mut slots = SlotSet::default();
        for slot in runs.iter().flat_map(|&(first, count)| (first.number()..).take(usize::from(count))) {
            Slot::new(slot).map(|slot| slots.insert(slot));
        }
        slots
    })
}

prop_compose! {
    fn any_header()(
        (sender, master, slots, host) in (any_id(), option::of(any_id()), any_slots(), any_host()),
        (current_epoch, config_epoch, offset) in any::<(u64, u64, u64)>(),
        (port, other_port, bus_port, flags) in any::<(u16, u16, u16, u16)>(),
        (is_ok, message_flags, kin) in any::<(bool, u8, u8)>(),
    ) -> Header {
        let flags = NodeFlags::from_bits_retain(flags);
        let message_flags = MessageFlags::from_bits_retain(message_flags);
        Header {
            sender, current_epoch, config_epoch, offset, slots, master, host, port, other_port, bus_port, flags, is_ok,
            message_flags, kin,
        }
    }
}

prop_compose! {
    fn any_entry()(
        (id, host) in (any_id(), any_host()),
        (ping_sent_s, pong_received_s) in any::<(u32, u32)>(),
        (port, bus_port, other_port, flags) in any::<(u16, u16, u16, u16)>(),
    ) -> GossipEntry {
        let flags = NodeFlags::from_bits_retain(flags);
        GossipEntry { id, ping_sent_s, pong_received_s, host, port, bus_port, other_port, flags }
    }
}

/// An extension that owns its text.
#[derive(Clone, Debug)]
enum Owned {
    Hostname(String),
    Nodename(String),
    Forgotten(NodeId, u64),
    ShardId(NodeId),
    Unknown(u16),
}

impl Owned {
    fn lend(&self) -> Extension<'_> {
        match self {
            Self::Hostname(text) => Extension::Hostname(text),
            Self::Nodename(text) => Extension::Nodename(text),
            Self::Forgotten(id, seconds) => Extension::Forgotten { id: *id, seconds: *seconds },
            Self::ShardId(id) => Extension::ShardId(*id),
            Self::Unknown(number) => Extension::Unknown(*number),
        }
    }
}

fn any_extension() -> impl Strategy<Value = Owned> {
    prop_oneof![
        "[a-zA-Z0-9.-]{1,255}".prop_map(Owned::Hostname),
        "[a-zA-Z0-9_/.-]{1,255}".prop_map(Owned::Nodename),
        (any_id(), any::<u64>()).prop_map(|(id, seconds)| Owned::Forgotten(id, seconds)),
        any_id().prop_map(Owned::ShardId),
        (4u16..).prop_map(Owned::Unknown),
    ]
}

prop_compose! {
    fn any_node()(
        (id, host, master, shard_id) in (any_id(), any_host(), option::of(any_id()), option::of(any_id())),
        (port, bus_port, other_port, config_epoch, is_connected) in any::<(u16, u16, u16, u64, bool)>(),
        (ping_sent, pong_received, flags) in any::<(i64, i64, u16)>(),
        (hostname, nodename) in (option::of("[a-zA-Z0-9.-]{1,255}"), option::of("[a-zA-Z0-9_/.-]{1,255}")),
        slots in any_slots(),
        migrating in btree_map(any_slot(), any_id(), 0..4),
        importing in btree_map(any_slot(), any_id(), 0..4),
    ) -> SavedNode {
        // Bits without a word are not written.
        let words = NodeFlags::MASTER | NodeFlags::REPLICA | NodeFlags::PFAIL | NodeFlags::FAIL | NodeFlags::HANDSHAKE
            | NodeFlags::NO_ADDRESS | NodeFlags::NO_FAILOVER;
        SavedNode {
            id, host, port, bus_port, other_port, shard_id, master, config_epoch, is_connected,
            hostname: hostname.map(Into::into),
            nodename: nodename.map(Into::into),
            flags: NodeFlags::from_bits_retain(flags) & words,
            ping_sent: UnixMillis(ping_sent),
            pong_received: UnixMillis(pong_received),
            slots: slots.ranges().collect(),
            migrating: migrating.into_iter().collect(),
            importing: importing.into_iter().collect(),
        }
    }
}

prop_compose! {
    fn any_cluster()(
        mut nodes in vec(any_node(), 1..6),
        myself in any::<prop::sample::Index>(),
        (current_epoch, last_vote_epoch) in any::<(u64, u64)>(),
    ) -> SavedCluster {
        let myself = myself.index(nodes.len());
        nodes[myself].flags |= NodeFlags::MYSELF;
        SavedCluster { nodes, current_epoch, last_vote_epoch }
    }
}

proptest! {
    #[test]
    fn any_heartbeat_is_read_as_it_was_written(
        header in any_header(),
        kind in prop_oneof![Just(Heartbeat::Ping), Just(Heartbeat::Pong), Just(Heartbeat::Meet)],
        entries in vec(any_entry(), 0..5),
        owned in vec(any_extension(), 0..5),
    ) {
        let mut out = b"before".to_vec();
        let extensions: Vec<Extension<'_>> = owned.iter().map(Owned::lend).collect();
        wire::write_heartbeat(&mut out, &header, kind, entries.iter().cloned(), extensions.iter().copied());
        let out = &out[6..];
        let message = wire::decode(out).expect("what we write");
        let mut expected = header;
        expected.message_flags.set(MessageFlags::EXTENSIONS, !extensions.is_empty());
        prop_assert_eq!(&message.header, &expected);
        let wire::Payload::Heartbeat { kind: read, gossip, extensions: read_extensions } = message.payload else {
            panic!("no heartbeat");
        };
        prop_assert_eq!(read, kind);
        prop_assert_eq!(gossip.iter().collect::<Vec<_>>(), entries);
        prop_assert_eq!(read_extensions.iter().collect::<Vec<_>>(), extensions);
        prop_assert!(check::frame(out));
    }

    #[test]
    fn any_other_message_is_read_as_it_was_written(
        header in any_header(),
        (id, config_epoch, slots) in (any_id(), any::<u64>(), any_slots()),
        (channel, text, is_sharded) in (vec(any::<u8>(), 0..50), vec(any::<u8>(), 0..200), any::<bool>()),
    ) {
        let mut messages = vec![Vec::new(); 6];
        wire::write_fail(&mut messages[0], &header, &id);
        wire::write_publish(&mut messages[1], &header, &channel, &text, is_sharded);
        wire::write_auth_request(&mut messages[2], &header);
        wire::write_auth_ack(&mut messages[3], &header);
        wire::write_update(&mut messages[4], &header, config_epoch, &id, &slots);
        wire::write_manual_failover_start(&mut messages[5], &header);
        let payloads = [
            wire::Payload::Fail(id),
            wire::Payload::Publish { channel: &channel, message: &text, is_sharded },
            wire::Payload::AuthRequest,
            wire::Payload::AuthAck,
            wire::Payload::Update { config_epoch, id, slots },
            wire::Payload::ManualFailoverStart,
        ];
        for (bytes, payload) in messages.iter().zip(payloads) {
            let message = wire::decode(bytes).expect("what we write");
            prop_assert_eq!(&message.header, &header);
            prop_assert_eq!(message.payload, payload);
        }
    }

    #[test]
    fn any_file_is_read_as_it_was_written(cluster in any_cluster()) {
        let mut text = String::new();
        nodes_conf::write(&mut text, &cluster);
        prop_assert_eq!(nodes_conf::parse(text.as_bytes()), Ok(cluster), "{}", text);
    }

    #[test]
    fn any_bytes_are_taken(bytes in vec(any::<u8>(), 0..3000)) {
        check::frame(&bytes);
        check::nodes_conf(&bytes);
    }
}

/// Good messages of all types, to be spoilt.
fn messages() -> Vec<Vec<u8>> {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut draw = |messages: &mut Vec<Vec<u8>>| {
        let any = (any_header(), vec(any_entry(), 0..3), vec(any_extension(), 0..3), any_id(), any_slots());
        let (header, entries, owned, id, slots) = any.new_tree(&mut runner).expect("a message").current();
        for kind in [Heartbeat::Ping, Heartbeat::Pong, Heartbeat::Meet] {
            let mut out = Vec::new();
            wire::write_heartbeat(&mut out, &header, kind, entries.iter().cloned(), owned.iter().map(Owned::lend));
            messages.push(out);
        }
        let mut others = vec![Vec::new(); 5];
        wire::write_fail(&mut others[0], &header, &id);
        wire::write_publish(&mut others[1], &header, b"channel", b"message", false);
        wire::write_auth_request(&mut others[2], &header);
        wire::write_update(&mut others[3], &header, 1, &id, &slots);
        wire::write_manual_failover_start(&mut others[4], &header);
        messages.append(&mut others);
    };
    let mut messages = Vec::new();
    (0..20).for_each(|_| draw(&mut messages));
    messages
}

/// Changes some bytes, cuts or lengthens; `places` are where that hurts most.
fn spoil(bytes: &mut Vec<u8>, rng: &mut Rng, is_fixed: impl Fn(usize) -> bool) {
    for _ in 0..=rng.below(3) {
        if bytes.is_empty() {
            return;
        }
        let place = rng.below(bytes.len() as u64) as usize;
        match rng.below(8) {
            0 => bytes.truncate(place),
            1 => bytes.extend_from_within(place..),
            2 => drop(bytes.remove(place)),
            _ if is_fixed(place) => {}
            3 => bytes[place] = b"\n ,=:@[-\0"[rng.below(9) as usize],
            4 => bytes[place] = rng.next_u64() as u8,
            5 => bytes[place] ^= 1 << rng.below(8),
            _ => bytes[place] = bytes[place].wrapping_add(1),
        }
    }
}

#[test]
fn spoilt_messages_are_read_or_refused() {
    let messages = messages();
    let mut rng = Rng::new(7);
    let (mut read, mut refused) = (0, 0);
    for round in 0..60_000 {
        let mut bytes = messages[rng.below(messages.len() as u64) as usize].clone();
        // Ids and slots are most of a message, and the least of its rules.
        spoil(&mut bytes, &mut rng, |place| (40..2168).contains(&place));
        if round % 4 > 0 && bytes.len() >= 14 {
            bytes[..4].copy_from_slice(b"RCmb");
            let length = bytes.len() as u32;
            bytes[4..8].copy_from_slice(&length.to_be_bytes());
            bytes[8..10].copy_from_slice(&[0, 1]);
            if round % 4 == 3 {
                bytes[12..14].copy_from_slice(&[0, rng.below(12) as u8]);
            }
        }
        match check::frame(&bytes) {
            true => read += 1,
            false => refused += 1,
        }
    }
    assert!(read > 5000 && refused > 5000, "one-sided: {read} read, {refused} refused");
}

#[test]
fn spoilt_files_are_read_or_refused() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let texts: Vec<Vec<u8>> = (0..20)
        .map(|_| {
            let mut text = String::new();
            nodes_conf::write(&mut text, &any_cluster().new_tree(&mut runner).expect("a cluster").current());
            text.into_bytes()
        })
        .collect();
    let mut rng = Rng::new(8);
    let (mut read, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut text = texts[rng.below(texts.len() as u64) as usize].clone();
        spoil(&mut text, &mut rng, |_| false);
        match check::nodes_conf(&text) {
            true => read += 1,
            false => refused += 1,
        }
    }
    assert!(read > 1000 && refused > 1000, "one-sided: {read} read, {refused} refused");
}
