//! Where each field of a message stands, in bytes from its beginning (Redis 7.2 `cluster.h`: `clusterMsg`).
//!
//! All messages begin with the header; a payload follows by their type. Integers are big-endian.
//!
//! | At | Bytes | Field |
//! |---:|---:|---|
//! | 0 | 4 | signature `RCmb` |
//! | 4 | 4 | length of the whole message |
//! | 8 | 2 | version, 1 |
//! | 10 | 2 | port for clients |
//! | 12 | 2 | type |
//! | 14 | 2 | number of entries of gossip |
//! | 16 | 8 | currentEpoch |
//! | 24 | 8 | configEpoch |
//! | 32 | 8 | replication offset |
//! | 40 | 40 | the sender's id |
//! | 80 | 2048 | slots |
//! | 2128 | 40 | the master's id, zeros if the sender is a master |
//! | 2168 | 46 | announced address as text, zeros behind it |
//! | 2214 | 2 | number of extensions |
//! | 2216 | 30 | unused by Redis; between us `slotmesh` and the version of our additions |
//! | 2246 | 2 | port for clients of the other kind |
//! | 2248 | 2 | port of the bus |
//! | 2250 | 2 | the sender's flags |
//! | 2252 | 1 | 0 if the cluster serves |
//! | 2253 | 3 | flags of the message, of which the first byte is in use |

use crate::host::Host;
use crate::node::NodeId;

pub(super) const SIGNATURE: &[u8; 4] = b"RCmb";
pub(super) const LENGTH: usize = 4;
pub(super) const VERSION: usize = 8;
pub(super) const PORT: usize = 10;
pub(super) const KIND: usize = 12;
pub(super) const GOSSIP_COUNT: usize = 14;
pub(super) const CURRENT_EPOCH: usize = 16;
pub(super) const CONFIG_EPOCH: usize = 24;
pub(super) const OFFSET: usize = 32;
pub(super) const SENDER: usize = 40;
pub(super) const SLOTS: usize = 80;
pub(super) const MASTER: usize = 2128;
pub(super) const HOST: usize = 2168;
pub(super) const EXTENSION_COUNT: usize = 2214;
pub(super) const KIN: usize = 2216;
pub(super) const OTHER_PORT: usize = 2246;
pub(super) const BUS_PORT: usize = 2248;
pub(super) const FLAGS: usize = 2250;
pub(super) const STATE: usize = 2252;
pub(super) const MESSAGE_FLAGS: usize = 2253;
/// Where the header ends and the payload begins.
pub(super) const HEADER_LEN: usize = 2256;

/// Bytes of an entry of the gossip section.
pub(super) const GOSSIP_LEN: usize = 104;
/// Bytes before the body of an extension: its length with these bytes (32 bits, of which receivers read the low 16), its
/// type, two zeros.
pub(super) const EXTENSION_HEADER_LEN: usize = 8;
/// Bytes of a set of slots.
pub(super) const SLOTS_LEN: usize = 2048;
/// Bytes of an address as text.
pub(super) const HOST_LEN: usize = Host::MOST + 1;
/// Bytes that Redis leaves unused.
pub(super) const KIN_LEN: usize = 30;
/// What marks our own nodes; the version of our additions follows.
pub(super) const KIN_MAGIC: &[u8; 8] = b"slotmesh";

const _: () = assert!(SENDER + NodeId::LEN == SLOTS);
const _: () = assert!(SLOTS + SLOTS_LEN == MASTER);
const _: () = assert!(MASTER + NodeId::LEN == HOST);
const _: () = assert!(HOST + HOST_LEN == EXTENSION_COUNT);
const _: () = assert!(EXTENSION_COUNT + 2 == KIN);
const _: () = assert!(KIN + KIN_LEN == OTHER_PORT);
const _: () = assert!(KIN_MAGIC.len() < KIN_LEN);
const _: () = assert!(MESSAGE_FLAGS + 3 == HEADER_LEN);
