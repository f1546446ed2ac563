//! One node of the cluster.

use crate::topology::NodeIndex;
use crate::wire::NodeFlags;
use alloc::boxed::Box;
use alloc::string::String;
use core::fmt::{self, Write};

/// The name of a node, or of a group of a master and its replicas (CLUSTER calls that a shard): 40 lower-case hex
/// digits, chosen at random.
#[derive(Clone, Copy, Eq, PartialOrd, Ord, Debug)]
pub struct NodeId([u8; NodeId::LEN]);

impl PartialEq for NodeId {
    /// Word by word, as gossip compares a hundred names a message.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let words = |id: &Self| -> [u64; NodeId::LEN / 8] {
            core::array::from_fn(|nth| u64::from_ne_bytes(id.0.as_chunks().0[nth]))
        };
        words(self).iter().zip(words(other)).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl NodeId {
    /// Number of digits.
    pub const LEN: usize = 40;

    /// The name made of these random bits; those beyond 160 do not matter.
    pub fn of_random(bits: [u64; 3]) -> Self {
        const DIGITS_PER_WORD: usize = 16;
        let digit = |place: usize| {
            let nibble = bits[place / DIGITS_PER_WORD] >> (4 * (place % DIGITS_PER_WORD)) & 15;
            b"0123456789abcdef"[nibble as usize]
        };
        Self(core::array::from_fn(digit))
    }

    /// What is no name: stands where nobody is.
    pub(crate) const NONE: Self = Self([0; Self::LEN]);

    /// The name in these bytes, if they are one: 40 digits and lower-case letters, as Redis has it.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let id: [u8; Self::LEN] = bytes.try_into().ok()?;
        Self::is_one(&id).then_some(Self(id))
    }

    /// Whether this is a name, and not [`NONE`](Self::NONE).
    #[inline]
    pub(crate) fn is_some(&self) -> bool {
        self.0[0] != 0
    }

    /// Whether these bytes are a name. Looks at all of them, several at once, as heartbeats hold a hundred names.
    fn is_one(bytes: &[u8; Self::LEN]) -> bool {
        bytes.iter().fold(true, |is_one, byte| is_one & (byte.is_ascii_digit() | byte.is_ascii_lowercase()))
    }

    /// The name in bytes of which [`parse`](Self::parse) has said before that they are one.
    pub(crate) fn checked(id: [u8; Self::LEN]) -> Self {
        debug_assert!(Self::is_one(&id));
        Self(id)
    }

    /// The digits, as bytes.
    pub fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(&self.0).expect("digits are ASCII")
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A node as clients are told of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    /// Its name.
    pub id: NodeId,
    /// The name of its group (`CLUSTER MYSHARDID`).
    pub shard_id: NodeId,
    /// Its address; empty where it is that at which the client has reached us, since the node is in our process.
    pub ip: String,
    /// Port for clients.
    pub port: u16,
    /// Port for clients of the other kind (TLS or not); 0 if there is none.
    pub other_port: u16,
    /// Port of the cluster bus.
    pub bus_port: u16,
    /// `cluster-announce-hostname`.
    pub hostname: Option<Box<str>>,
    /// Its role and health.
    pub flags: NodeFlags,
    /// The master of a replica.
    pub master: Option<NodeIndex>,
    /// Its replication offset, in bytes.
    pub offset: u64,
    /// The epoch of its claims on slots.
    pub config_epoch: u64,
    /// When it was last heard from, in Unix ms.
    pub heard_at_ms: i64,
}

impl Node {
    /// Its address for a client that has reached us at `here`.
    pub fn ip<'a>(&'a self, here: &'a str) -> &'a str {
        if self.ip.is_empty() { here } else { &self.ip }
    }
}

/// Text that grows; memory takes everything.
pub(crate) fn put(text: &mut String, words: fmt::Arguments<'_>) {
    text.write_fmt(words).expect("memory takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn names_have_forty_digits() {
        let id = NodeId::of_random([0x0123_4567_89ab_cdef, u64::MAX, 0x1_0000_0001]);
        assert_eq!(id.to_string(), "fedcba9876543210ffffffffffffffff10000000");
        assert_eq!(id.as_str().len(), NodeId::LEN);
    }
}
