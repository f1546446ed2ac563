//! From bytes to messages.

use super::layout::{
    self as at, EXTENSION_HEADER_LEN, GOSSIP_LEN, HEADER_LEN, HOST_LEN, KIN_MAGIC, SIGNATURE, SLOTS_LEN,
};
use super::{Extensions, Gossip, Header, Heartbeat, Message, MessageFlags, MessageKind, NodeFlags, Payload};
use crate::host::Host;
use crate::node::NodeId;
use core::fmt;
use slotmesh_base::SlotSet;

/// Bytes that say how long a message is.
const LENGTH_KNOWN_AT: usize = 8;

/// Not the bus: the link is to be closed (Redis: "Bad message length or signature received on the Cluster bus").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadFrame;

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bad message length or signature received on the Cluster bus")
    }
}

impl core::error::Error for BadFrame {}

/// A message that is to be dropped; the link stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadMessage {
    /// Another version of the protocol.
    Version(u16),
    /// Its type demands another length.
    Length {
        /// The type's name.
        kind: &'static str,
        /// Bytes that came.
        length: usize,
        /// Bytes that the type demands.
        expected: usize,
    },
    /// An extension whose length is no multiple of eight, or nothing.
    Padding {
        /// The type's name.
        kind: &'static str,
        /// Bytes that the extension says to have.
        length: usize,
    },
    /// Extensions go on behind the end.
    Extensions {
        /// The type's name.
        kind: &'static str,
        /// Bytes that came.
        length: usize,
    },
    /// The sender's name, or another one, is no name.
    Name,
    /// Shorter than any message.
    Short,
}

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "Received a packet of version {version}; 1 is known"),
            Self::Length { kind, length, expected } => {
                write!(f, "Received invalid {kind} packet of length {length} but expected length {expected}")
            }
            Self::Padding { kind, length } => {
                write!(f, "Received a {kind} packet without proper padding ({length} bytes)")
            }
            Self::Extensions { kind, length } => {
                write!(
                    f,
                    "Received invalid {kind} packet with extension data that exceeds total packet length ({length})"
                )
            }
            Self::Name => f.write_str("Received a packet with a node id that is none"),
            Self::Short => f.write_str("Received a packet shorter than a header"),
        }
    }
}

impl core::error::Error for BadMessage {}

/// Big-endian numbers at known places.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("a slice of the length asked for")
    }

    pub(super) fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes(self.bytes(at))
    }

    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_be_bytes(self.bytes(at))
    }

    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }
}

/// The host in a field; none if the field is empty, has no end or is no host.
pub(super) fn host_at(bytes: &[u8], at: usize) -> Option<Host> {
    let field = &bytes[at..at + HOST_LEN];
    let end = field.iter().position(|&byte| byte == 0)?;
    Host::parse(&field[..end])
}

/// Length of the message that begins with these bytes; `None` if they are too few to say.
///
/// # Errors
/// If no message begins so; the link is to be closed.
pub fn frame_length(start: &[u8]) -> Result<Option<usize>, BadFrame> {
    let Some(start) = start.get(..LENGTH_KNOWN_AT) else { return Ok(None) };
    let length = Fields(start).u32(at::LENGTH) as usize;
    if &start[..4] != SIGNATURE || length < HEADER_LEN { Err(BadFrame) } else { Ok(Some(length)) }
}

/// The type of a message; `None` if we do not know it.
pub fn kind(frame: &[u8]) -> Option<MessageKind> {
    let number = Fields(frame.get(..HEADER_LEN)?).u16(at::KIND);
    MessageKind::ALL.get(usize::from(number)).copied()
}

/// The message in a frame as long as [`frame_length`] says.
///
/// # Errors
/// Why it is to be dropped.
pub fn decode(frame: &[u8]) -> Result<Message<'_>, BadMessage> {
    if frame.len() < HEADER_LEN {
        return Err(BadMessage::Short);
    }
    let fields = Fields(frame);
    let version = fields.u16(at::VERSION);
    if version != 1 {
        return Err(BadMessage::Version(version));
    }
    let message_flags = MessageFlags::from_bits_retain(frame[at::MESSAGE_FLAGS]);
    let payload = payload(frame, message_flags)?;
    Ok(Message { header: header(frame, message_flags)?, payload })
}

fn header(frame: &[u8], message_flags: MessageFlags) -> Result<Header, BadMessage> {
    let fields = Fields(frame);
    let slots: &[u8; SLOTS_LEN] = frame[at::SLOTS..at::MASTER].try_into().expect("a slice of the length asked for");
    let master = &frame[at::MASTER..at::HOST];
    Ok(Header {
        sender: NodeId::parse(&frame[at::SENDER..at::SLOTS]).ok_or(BadMessage::Name)?,
        current_epoch: fields.u64(at::CURRENT_EPOCH),
        config_epoch: fields.u64(at::CONFIG_EPOCH),
        offset: fields.u64(at::OFFSET),
        slots: SlotSet::from_bytes(slots),
        master: match master.iter().all(|&byte| byte == 0) {
            true => None,
            false => Some(NodeId::parse(master).ok_or(BadMessage::Name)?),
        },
        host: host_at(frame, at::HOST),
        port: fields.u16(at::PORT),
        other_port: fields.u16(at::OTHER_PORT),
        bus_port: fields.u16(at::BUS_PORT),
        flags: NodeFlags::from_bits_retain(fields.u16(at::FLAGS)),
        is_ok: frame[at::STATE] == 0,
        message_flags,
        kin: if frame[at::KIN..].starts_with(KIN_MAGIC) { frame[at::KIN + KIN_MAGIC.len()] } else { 0 },
    })
}

fn payload(frame: &[u8], flags: MessageFlags) -> Result<Payload<'_>, BadMessage> {
    let number = Fields(frame).u16(at::KIND);
    let Some(kind) = MessageKind::ALL.get(usize::from(number)) else { return Ok(Payload::Unknown(number)) };
    let body = &frame[HEADER_LEN..];
    let exact = |expected: usize| match body.len() == expected {
        true => Ok(()),
        false => Err(wrong_length(*kind, frame.len(), HEADER_LEN.saturating_add(expected))),
    };
    Ok(match kind {
        MessageKind::Ping => heartbeat(frame, Heartbeat::Ping, *kind, flags)?,
        MessageKind::Pong => heartbeat(frame, Heartbeat::Pong, *kind, flags)?,
        MessageKind::Meet => heartbeat(frame, Heartbeat::Meet, *kind, flags)?,
        MessageKind::Fail => {
            exact(NodeId::LEN)?;
            Payload::Fail(NodeId::parse(body).ok_or(BadMessage::Name)?)
        }
        MessageKind::Publish | MessageKind::PublishShard => publication(frame, *kind)?,
        MessageKind::AuthRequest => exact(0).map(|()| Payload::AuthRequest)?,
        MessageKind::AuthAck => exact(0).map(|()| Payload::AuthAck)?,
        MessageKind::ManualFailoverStart => exact(0).map(|()| Payload::ManualFailoverStart)?,
        MessageKind::Update => {
            exact(8 + NodeId::LEN + SLOTS_LEN)?;
            Payload::Update {
                config_epoch: Fields(body).u64(0),
                id: NodeId::parse(&body[8..48]).ok_or(BadMessage::Name)?,
                slots: SlotSet::from_bytes(body[48..].try_into().expect("the length was asked for")),
            }
        }
        MessageKind::Module => {
            let length = body.get(8..12).map_or(0, |bytes| Fields(bytes).u32(0) as usize);
            exact(length.saturating_add(13))?;
            Payload::Module
        }
    })
}

fn wrong_length(kind: MessageKind, length: usize, expected: usize) -> BadMessage {
    BadMessage::Length { kind: kind.name(), length, expected }
}

fn publication(frame: &[u8], kind: MessageKind) -> Result<Payload<'_>, BadMessage> {
    let body = &frame[HEADER_LEN..];
    let Some(lengths) = body.get(..8) else { return Err(wrong_length(kind, frame.len(), HEADER_LEN + 8)) };
    let (channel, message) = (Fields(lengths).u32(0) as usize, Fields(lengths).u32(4) as usize);
    let expected = channel.saturating_add(message).saturating_add(8);
    if body.len() != expected {
        return Err(wrong_length(kind, frame.len(), expected.saturating_add(HEADER_LEN)));
    }
    let (channel, message) = body[8..].split_at(channel);
    Ok(Payload::Publish { channel, message, is_sharded: kind == MessageKind::PublishShard })
}

fn heartbeat(
    frame: &[u8],
    which: Heartbeat,
    kind: MessageKind,
    flags: MessageFlags,
) -> Result<Payload<'_>, BadMessage> {
    let count = usize::from(Fields(frame).u16(at::GOSSIP_COUNT));
    let body = &frame[HEADER_LEN..];
    let Some((gossip, rest)) = body.split_at_checked(count * GOSSIP_LEN) else {
        return Err(wrong_length(kind, frame.len(), HEADER_LEN + count * GOSSIP_LEN));
    };
    // Without the flag the number is no number of extensions.
    let number = if flags.contains(MessageFlags::EXTENSIONS) { Fields(frame).u16(at::EXTENSION_COUNT) } else { 0 };
    let mut end = 0;
    for _ in 0..number {
        let Some(header) = rest.get(end..end + EXTENSION_HEADER_LEN) else {
            return Err(BadMessage::Extensions { kind: kind.name(), length: frame.len() });
        };
        let length = usize::from(Fields(header).u16(2));
        // Redis takes one of no length, and would then read the same header again.
        if length == 0 || !length.is_multiple_of(8) {
            return Err(BadMessage::Padding { kind: kind.name(), length });
        }
        if rest.len() - end < length {
            return Err(BadMessage::Extensions { kind: kind.name(), length: frame.len() });
        }
        end += length;
    }
    if end != rest.len() {
        return Err(wrong_length(kind, frame.len(), frame.len() - rest.len() + end));
    }
    Ok(Payload::Heartbeat { kind: which, gossip: Gossip::new(gossip), extensions: Extensions(rest) })
}
