//! What holds for any bytes. The fuzz targets of `bench/fuzz` check the same.

use slotmesh_cluster::nodes_conf;
use slotmesh_cluster::wire::{self, Extension, GossipEntry, Message, MessageFlags, Payload};

/// Bytes from the bus: nothing panics; a message that was read and is written again is the same message. Whether one
/// was read.
pub(crate) fn frame(bytes: &[u8]) -> bool {
    let whole = match wire::frame_length(bytes) {
        Ok(Some(length)) => bytes.get(..length).unwrap_or(bytes),
        Ok(None) | Err(wire::BadFrame) => bytes,
    };
    let kind = wire::kind(whole);
    let message = match wire::decode(whole) {
        Ok(message) => message,
        Err(error) => {
            assert_is_line(&error.to_string());
            return false;
        }
    };
    assert_eq!(kind.is_none(), matches!(message.payload, Payload::Unknown(_)));
    let Some(written) = write(&message) else { return true };
    assert_eq!(wire::frame_length(&written), Ok(Some(written.len())));
    assert_eq!(wire::kind(&written), kind);
    let reread = wire::decode(&written).expect("what we write can be read");
    assert_same(&reread, &message);
    assert_eq!(write(&reread), Some(written.clone()));
    true
}

/// A message as we write it; nothing if it is of a type that we do not.
pub(crate) fn write(message: &Message<'_>) -> Option<Vec<u8>> {
    let (mut out, header) = (Vec::new(), &message.header);
    match &message.payload {
        Payload::Heartbeat { kind, gossip, extensions } => {
            wire::write_heartbeat(&mut out, header, *kind, gossip.iter(), extensions.iter());
        }
        Payload::Fail(id) => wire::write_fail(&mut out, header, id),
        Payload::Publish { channel, message, is_sharded } => {
            wire::write_publish(&mut out, header, channel, message, *is_sharded);
        }
        Payload::AuthRequest => wire::write_auth_request(&mut out, header),
        Payload::AuthAck => wire::write_auth_ack(&mut out, header),
        Payload::Update { config_epoch, id, slots } => wire::write_update(&mut out, header, *config_epoch, id, slots),
        Payload::ManualFailoverStart => wire::write_manual_failover_start(&mut out, header),
        Payload::Module | Payload::Unknown(_) => return None,
    }
    Some(out)
}

/// Both say the same. Bytes of which nobody reads anything may differ, and so may the flag for extensions in a heartbeat
/// that has none.
pub(crate) fn assert_same(one: &Message<'_>, other: &Message<'_>) {
    let (mut header, mut expected) = (one.header.clone(), other.header.clone());
    match (&one.payload, &other.payload) {
        (
            Payload::Heartbeat { kind, gossip, extensions },
            Payload::Heartbeat { kind: other_kind, gossip: other_gossip, extensions: other_extensions },
        ) => {
            assert_eq!(kind, other_kind);
            let (entries, others): (Vec<GossipEntry>, Vec<_>) =
                (gossip.iter().collect(), other_gossip.iter().collect());
            assert_eq!(entries, others);
            assert_eq!(gossip.len(), entries.len());
            assert_eq!(gossip.is_empty(), entries.is_empty());
            let extensions: Vec<Extension<'_>> = extensions.iter().collect();
            assert_eq!(extensions, other_extensions.iter().collect::<Vec<_>>());
            header.message_flags.remove(MessageFlags::EXTENSIONS);
            expected.message_flags.remove(MessageFlags::EXTENSIONS);
        }
        (one, other) => assert_eq!(one, other),
    }
    assert_eq!(header, expected);
}

/// Any bytes as nodes.conf: nothing panics; an error names a line of the file; a file that was read and is written again
/// says the same. Whether it was read.
pub(crate) fn nodes_conf(text: &[u8]) -> bool {
    let cluster = match nodes_conf::parse(text) {
        Ok(cluster) => cluster,
        Err(error) => {
            assert!(error.line <= text.split(|&byte| byte == b'\n').count(), "{error}");
            assert_is_line(&error.to_string());
            return false;
        }
    };
    let mut written = String::new();
    nodes_conf::write(&mut written, &cluster);
    assert_eq!(nodes_conf::parse(written.as_bytes()), Ok(cluster), "{written}");
    true
}

fn assert_is_line(told: &str) {
    assert!(!told.is_empty() && told.len() < 2000 && !told.contains(char::is_control), "no line: {told:?}");
}
