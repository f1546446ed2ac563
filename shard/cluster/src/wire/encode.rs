//! From messages to bytes.

use super::layout::{
    self as at, EXTENSION_HEADER_LEN, GOSSIP_LEN, HEADER_LEN, HOST_LEN, KIN_LEN, KIN_MAGIC, SIGNATURE,
};
use super::{Extension, GossipEntry, Header, Heartbeat, MessageFlags, MessageKind};
use crate::host::Host;
use crate::node::NodeId;
use alloc::vec::Vec;
use core::fmt::Write;
use slotmesh_base::SlotSet;

/// Writes the header of a message whose payload follows; where it begins.
fn begin(out: &mut Vec<u8>, header: &Header, kind: MessageKind) -> usize {
    let start = out.len();
    out.extend_from_slice(SIGNATURE);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&1u16.to_be_bytes());
    out.extend_from_slice(&header.port.to_be_bytes());
    out.extend_from_slice(&(kind as u16).to_be_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&header.current_epoch.to_be_bytes());
    out.extend_from_slice(&header.config_epoch.to_be_bytes());
    out.extend_from_slice(&header.offset.to_be_bytes());
    out.extend_from_slice(header.sender.as_bytes());
    out.extend_from_slice(header.slots.as_bytes());
    out.extend_from_slice(header.master.as_ref().map_or(&[0; NodeId::LEN], NodeId::as_bytes).as_slice());
    put_host(out, header.host.as_ref());
    // Number of extensions, which follow if there are any.
    out.extend_from_slice(&[0; 2]);
    let mut kin = [0; KIN_LEN];
    if header.kin != 0 {
        kin[..KIN_MAGIC.len()].copy_from_slice(KIN_MAGIC);
        kin[KIN_MAGIC.len()] = header.kin;
    }
    out.extend_from_slice(&kin);
    out.extend_from_slice(&header.other_port.to_be_bytes());
    out.extend_from_slice(&header.bus_port.to_be_bytes());
    out.extend_from_slice(&header.flags.bits().to_be_bytes());
    out.push(u8::from(!header.is_ok));
    out.extend_from_slice(&[header.message_flags.bits(), 0, 0]);
    debug_assert_eq!(out.len() - start, HEADER_LEN);
    start
}

/// Makes a message that of a stranger: what marks our own kind goes. For comparisons, where nodes shall meet as stock
/// nodes would.
pub fn disguise(message: &mut [u8]) {
    if let Some(kin) = message.get_mut(at::KIN..at::KIN + KIN_LEN) {
        kin.fill(0);
    }
}

/// Writes how long the message has become.
fn end(out: &mut [u8], start: usize) {
    let length = u32::try_from(out.len() - start).expect("what we write is shorter than 4 GiB");
    out[start + at::LENGTH..start + at::VERSION].copy_from_slice(&length.to_be_bytes());
}

fn put_host(out: &mut Vec<u8>, host: Option<&Host>) {
    let mut field = Field([0; HOST_LEN], 0);
    match host {
        None => {}
        // Each entry of gossip has one: the formatter of the library takes longer than all the rest of an entry.
        Some(Host::V4(address)) => field.put_v4(address.octets()),
        Some(host @ (Host::V6(_) | Host::Name(_))) => {
            write!(field, "{host}").expect("a host is shorter than its field");
        }
    }
    out.extend_from_slice(&field.0);
}

/// Text in a field that is long enough for any host.
struct Field([u8; HOST_LEN], usize);

impl Field {
    fn put_v4(&mut self, octets: [u8; 4]) {
        for (nth, octet) in octets.into_iter().enumerate() {
            if nth > 0 {
                self.put(b'.');
            }
            if octet >= 100 {
                self.put(b'0' + octet / 100);
            }
            if octet >= 10 {
                self.put(b'0' + octet / 10 % 10);
            }
            self.put(b'0' + octet % 10);
        }
    }

    fn put(&mut self, byte: u8) {
        self.0[self.1] = byte;
        self.1 += 1;
    }
}

impl Write for Field {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        let place = self.0.get_mut(self.1..self.1 + text.len()).ok_or(core::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.1 += text.len();
        Ok(())
    }
}

/// Writes PING, PONG or MEET. Whether it has extensions is told by the extensions, not by the flags of the header.
pub fn write_heartbeat<'a>(
    out: &mut Vec<u8>,
    header: &Header,
    kind: Heartbeat,
    gossip: impl Iterator<Item = GossipEntry>,
    extensions: impl Iterator<Item = Extension<'a>>,
) {
    let kind = match kind {
        Heartbeat::Ping => MessageKind::Ping,
        Heartbeat::Pong => MessageKind::Pong,
        Heartbeat::Meet => MessageKind::Meet,
    };
    let start = begin(out, header, kind);
    let mut entries = 0u16;
    for entry in gossip.take(usize::from(u16::MAX)) {
        put_entry(out, &entry);
        entries += 1;
    }
    let mut number = 0u16;
    for extension in extensions.take(usize::from(u16::MAX)) {
        put_extension(out, extension);
        number += 1;
    }
    out[start + at::GOSSIP_COUNT..start + at::CURRENT_EPOCH].copy_from_slice(&entries.to_be_bytes());
    out[start + at::EXTENSION_COUNT..start + at::KIN].copy_from_slice(&number.to_be_bytes());
    let flags = header.message_flags - MessageFlags::EXTENSIONS;
    let has_extensions = if number > 0 { MessageFlags::EXTENSIONS } else { MessageFlags::empty() };
    out[start + at::MESSAGE_FLAGS] = (flags | has_extensions).bits();
    end(out, start);
}

fn put_entry(out: &mut Vec<u8>, entry: &GossipEntry) {
    let start = out.len();
    out.extend_from_slice(entry.id.as_bytes());
    out.extend_from_slice(&entry.ping_sent_s.to_be_bytes());
    out.extend_from_slice(&entry.pong_received_s.to_be_bytes());
    put_host(out, entry.host.as_ref());
    for number in [entry.port, entry.bus_port, entry.flags.bits(), entry.other_port, 0] {
        out.extend_from_slice(&number.to_be_bytes());
    }
    debug_assert_eq!(out.len() - start, GOSSIP_LEN);
}

fn put_extension(out: &mut Vec<u8>, extension: Extension<'_>) {
    let start = out.len();
    out.extend_from_slice(&[0; EXTENSION_HEADER_LEN]);
    let number: u16 = match extension {
        Extension::Hostname(text) | Extension::Nodename(text) => {
            out.extend_from_slice(text.as_bytes());
            out.push(0);
            u16::from(matches!(extension, Extension::Nodename(_)))
        }
        Extension::Forgotten { id, seconds } => {
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(&seconds.to_be_bytes());
            2
        }
        Extension::ShardId(id) => {
            out.extend_from_slice(id.as_bytes());
            3
        }
        Extension::Unknown(number) => number,
    };
    out.resize(start + (out.len() - start).next_multiple_of(8), 0);
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out[start + 4..start + 6].copy_from_slice(&number.to_be_bytes());
}

/// Writes FAIL: this node has failed.
pub fn write_fail(out: &mut Vec<u8>, header: &Header, id: &NodeId) {
    let start = begin(out, header, MessageKind::Fail);
    out.extend_from_slice(id.as_bytes());
    end(out, start);
}

/// Writes PUBLISH or PUBLISHSHARD.
///
/// # Panics
/// If channel and message together are longer than 4 GiB less a header; a request cannot be that long.
pub fn write_publish(out: &mut Vec<u8>, header: &Header, channel: &[u8], message: &[u8], is_sharded: bool) {
    let kind = if is_sharded { MessageKind::PublishShard } else { MessageKind::Publish };
    let start = begin(out, header, kind);
    for text in [channel, message] {
        out.extend_from_slice(&u32::try_from(text.len()).expect("shorter than 4 GiB").to_be_bytes());
    }
    out.extend_from_slice(channel);
    out.extend_from_slice(message);
    end(out, start);
}

/// Writes a replica's request for votes.
pub fn write_auth_request(out: &mut Vec<u8>, header: &Header) {
    let start = begin(out, header, MessageKind::AuthRequest);
    end(out, start);
}

/// Writes a vote.
pub fn write_auth_ack(out: &mut Vec<u8>, header: &Header) {
    let start = begin(out, header, MessageKind::AuthAck);
    end(out, start);
}

/// Writes UPDATE: this node owns these slots since this epoch.
pub fn write_update(out: &mut Vec<u8>, header: &Header, config_epoch: u64, id: &NodeId, slots: &SlotSet) {
    let start = begin(out, header, MessageKind::Update);
    out.extend_from_slice(&config_epoch.to_be_bytes());
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(slots.as_bytes());
    end(out, start);
}

/// Writes the start of a manual failover.
pub fn write_manual_failover_start(out: &mut Vec<u8>, header: &Header) {
    let start = begin(out, header, MessageKind::ManualFailoverStart);
    end(out, start);
}
