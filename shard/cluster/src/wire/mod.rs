//! Messages of the cluster bus, as bytes.
//!
//! *For*: the decoder and the encoder of everything that Redis 7.0, 7.2 and valkey 8 say to each other, as far as they
//! say it to us. *Not here*: what a message means. *Invariants*: no bytes make the decoder panic; what is not exactly
//! as long as its type demands is refused. *Read first*: `message.rs`, `layout.rs`.
//!
//! Integers are big-endian; text is padded with zeros. Mirrors Redis 7.2 `cluster.h` (`clusterMsg`).

mod decode;
mod encode;
mod flags;
mod layout;
mod message;

pub use decode::{BadFrame, BadMessage, decode, frame_length, kind};
pub use encode::{
    disguise, write_auth_ack, write_auth_request, write_fail, write_heartbeat, write_manual_failover_start,
    write_publish, write_update,
};
pub use flags::{MessageFlags, NodeFlags};
pub use message::{
    Extension, Extensions, Gossip, GossipEntry, Header, Heartbeat, Message, MessageKind, Payload, Told, is_hostname,
    is_nodename,
};
