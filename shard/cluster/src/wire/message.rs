//! What a message holds.

use super::decode::{Fields, host_at};
use super::layout::{EXTENSION_HEADER_LEN, GOSSIP_LEN};
use super::{MessageFlags, NodeFlags};
use crate::host::Host;
use crate::node::NodeId;
use slotmesh_base::SlotSet;

/// The types of messages, by their numbers on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MessageKind {
    /// A heartbeat that wants an answer.
    Ping,
    /// The answer.
    Pong,
    /// A heartbeat that wants to be a node of the cluster.
    Meet,
    /// A node has failed.
    Fail,
    /// PUBLISH.
    Publish,
    /// A replica asks for votes.
    AuthRequest,
    /// A vote.
    AuthAck,
    /// News about a node's slots.
    Update,
    /// A replica starts a manual failover.
    ManualFailoverStart,
    /// Of modules, to modules.
    Module,
    /// SPUBLISH.
    PublishShard,
}

impl MessageKind {
    /// Number of types.
    pub const COUNT: usize = 11;
    /// All types, by number.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Ping,
        Self::Pong,
        Self::Meet,
        Self::Fail,
        Self::Publish,
        Self::AuthRequest,
        Self::AuthAck,
        Self::Update,
        Self::ManualFailoverStart,
        Self::Module,
        Self::PublishShard,
    ];

    /// Its name in CLUSTER INFO.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Pong => "pong",
            Self::Meet => "meet",
            Self::Fail => "fail",
            Self::Publish => "publish",
            Self::AuthRequest => "auth-req",
            Self::AuthAck => "auth-ack",
            Self::Update => "update",
            Self::ManualFailoverStart => "mfstart",
            Self::Module => "module",
            Self::PublishShard => "publishshard",
        }
    }
}

/// What every message says about its sender.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Header {
    /// Who.
    pub sender: NodeId,
    /// The greatest epoch that it knows.
    pub current_epoch: u64,
    /// The epoch of its claims; a replica tells its master's.
    pub config_epoch: u64,
    /// Its replication offset.
    pub offset: u64,
    /// The slots that it claims; a replica tells its master's.
    pub slots: SlotSet,
    /// The master of a replica.
    pub master: Option<NodeId>,
    /// Where it says that it lives, if it says so.
    pub host: Option<Host>,
    /// Its port for clients.
    pub port: u16,
    /// Its port for clients of the other kind (TLS or not).
    pub other_port: u16,
    /// Its port of the bus.
    pub bus_port: u16,
    /// Its own flags.
    pub flags: NodeFlags,
    /// Whether the cluster serves as it sees it.
    pub is_ok: bool,
    /// What the message is about beside its type.
    pub message_flags: MessageFlags,
    /// The version of slotmesh's own additions that it speaks; 0 for a stranger.
    pub kin: u8,
}

/// The three heartbeats.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heartbeat {
    /// Wants an answer.
    Ping,
    /// The answer.
    Pong,
    /// Wants an answer, and to be known.
    Meet,
}

/// What a heartbeat says about another node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GossipEntry {
    /// Who.
    pub id: NodeId,
    /// When a PING went out that is still unanswered, in Unix seconds; 0 if none.
    pub ping_sent_s: u32,
    /// When the last PONG came, in Unix seconds.
    pub pong_received_s: u32,
    /// Where it lives.
    pub host: Option<Host>,
    /// Its port for clients.
    pub port: u16,
    /// Its port of the bus.
    pub bus_port: u16,
    /// Its port for clients of the other kind.
    pub other_port: u16,
    /// How the sender sees it.
    pub flags: NodeFlags,
}

/// What a heartbeat says about its sender beside the header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Extension<'a> {
    /// `cluster-announce-hostname`.
    Hostname(&'a str),
    /// `cluster-announce-human-nodename`.
    Nodename(&'a str),
    /// A node that CLUSTER FORGET was told to forget.
    Forgotten {
        /// Which.
        id: NodeId,
        /// For how long, in seconds.
        seconds: u64,
    },
    /// The group of master and replicas that the sender belongs to.
    ShardId(NodeId),
    /// One that we do not know, by its number.
    Unknown(u16),
}

/// A message whose lengths are right.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message<'a> {
    /// Who says it.
    pub header: Header,
    /// What.
    pub payload: Payload<'a>,
}

/// What a message says, by its type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload<'a> {
    /// PING, PONG or MEET.
    Heartbeat {
        /// Which of them.
        kind: Heartbeat,
        /// Other nodes.
        gossip: Gossip<'a>,
        /// More about the sender.
        extensions: Extensions<'a>,
    },
    /// This node has failed.
    Fail(NodeId),
    /// PUBLISH and SPUBLISH.
    Publish {
        /// The channel.
        channel: &'a [u8],
        /// The message.
        message: &'a [u8],
        /// Whether it is SPUBLISH's.
        is_sharded: bool,
    },
    /// A replica asks for votes.
    AuthRequest,
    /// A vote.
    AuthAck,
    /// News about a node.
    Update {
        /// The epoch of its claims.
        config_epoch: u64,
        /// Which node.
        id: NodeId,
        /// The slots that it owns.
        slots: SlotSet,
    },
    /// A replica starts a manual failover.
    ManualFailoverStart,
    /// Of modules, to modules.
    Module,
    /// A type that we do not know.
    Unknown(u16),
}

/// The gossip section. If an id in it is none, the whole section is empty, as valkey 8 has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Gossip<'a>(&'a [u8]);

impl<'a> Gossip<'a> {
    /// The section of these bytes, whole entries.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let are_ids = bytes.chunks_exact(GOSSIP_LEN).all(|entry| NodeId::parse(&entry[..NodeId::LEN]).is_some());
        Self(if are_ids { bytes } else { &[] })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.len() / GOSSIP_LEN
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = GossipEntry> + use<'a> {
        self.told().map(|told| told.entry())
    }

    /// The entries, of which the reader wants a few fields each.
    pub fn told(&self) -> impl Iterator<Item = Told<'a>> + use<'a> {
        self.0.as_chunks().0.iter().map(Told)
    }
}

/// An entry of gossip as it lies in the message: a field is read when it is asked for. A heartbeat of a large cluster
/// tells of a hundred nodes, nearly all of them known and well, so that nobody wants their addresses.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a>(&'a [u8; GOSSIP_LEN]);

impl Told<'_> {
    fn fields(&self) -> Fields<'_> {
        Fields(self.0)
    }

    /// See [`GossipEntry::id`].
    pub fn id(&self) -> NodeId {
        NodeId::checked(*self.0.first_chunk().expect("an entry begins with its id"))
    }

    /// See [`GossipEntry::pong_received_s`].
    pub fn pong_received_s(&self) -> u32 {
        self.fields().u32(44)
    }

    /// See [`GossipEntry::flags`].
    pub fn flags(&self) -> NodeFlags {
        NodeFlags::from_bits_retain(self.fields().u16(98))
    }

    /// All of it.
    pub fn entry(&self) -> GossipEntry {
        let fields = self.fields();
        GossipEntry {
            id: self.id(),
            ping_sent_s: fields.u32(40),
            pong_received_s: self.pong_received_s(),
            host: host_at(self.0, 48),
            port: fields.u16(94),
            bus_port: fields.u16(96),
            flags: self.flags(),
            other_port: fields.u16(100),
        }
    }
}

/// The extensions; their lengths are known to be right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extensions<'a>(pub(super) &'a [u8]);

impl<'a> Extensions<'a> {
    /// The extensions. One of a type that we know but with a body that it cannot have, such as a hostname with a space,
    /// is passed over, as if it were absent.
    pub fn iter(&self) -> impl Iterator<Item = Extension<'a>> + 'a {
        let mut rest = self.0;
        let bodies = core::iter::from_fn(move || {
            let length = usize::from(Fields(rest.get(..EXTENSION_HEADER_LEN)?).u16(2));
            let (extension, after) = rest.split_at_checked(length.max(EXTENSION_HEADER_LEN))?;
            rest = after;
            Some((Fields(extension).u16(4), &extension[EXTENSION_HEADER_LEN..]))
        });
        bodies.filter_map(|(number, body)| read_extension(number, body))
    }
}

fn read_extension(number: u16, body: &[u8]) -> Option<Extension<'_>> {
    let text = || {
        let end = body.iter().position(|&byte| byte == 0).unwrap_or(body.len());
        core::str::from_utf8(&body[..end]).ok()
    };
    match number {
        0 => text().filter(|name| is_hostname(name)).map(Extension::Hostname),
        1 => text().filter(|name| is_nodename(name)).map(Extension::Nodename),
        2 => {
            let (id, seconds) = body.split_at_checked(NodeId::LEN)?;
            let seconds = u64::from_be_bytes(seconds.try_into().ok()?);
            NodeId::parse(id).map(|id| Extension::Forgotten { id, seconds })
        }
        3 => NodeId::parse(body).map(Extension::ShardId),
        _ => Some(Extension::Unknown(number)),
    }
}

/// Whether a text may be a `cluster-announce-hostname` (Redis: `isValidAnnouncedHostname`).
pub fn is_hostname(text: &str) -> bool {
    (1..256).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-".contains(&byte))
}

/// Whether a text may be a `cluster-announce-human-nodename` (Redis: `isValidAuxString`). Redis takes spaces, quotes,
/// commas and equals signs too, and then cannot read its own nodes.conf.
pub fn is_nodename(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_graphic() && !b"!#$%&()*+:;<>?@[]^{|}~,=\"'".contains(&byte);
    (1..256).contains(&text.len()) && text.bytes().all(is_fine)
}
