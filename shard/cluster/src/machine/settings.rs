//! What the operator decides about a node of the cluster.

use crate::host::Host;
use crate::topology::Manners;
use alloc::boxed::Box;

/// Directives `cluster-…` as far as the machine obeys them, and the addresses that it announces.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `cluster-node-timeout`, in ms.
    pub node_timeout_ms: i64,
    /// `cluster-announce-ip`; without it the address is learnt from those who dial us.
    pub host: Option<Host>,
    /// The port for clients that is announced.
    pub port: u16,
    /// The port for clients of the other kind (TLS or not) that is announced; 0 if there is none.
    pub other_port: u16,
    /// The port of the bus that is announced.
    pub bus_port: u16,
    /// `cluster-announce-hostname`.
    pub hostname: Option<Box<str>>,
    /// `cluster-announce-human-nodename`.
    pub nodename: Option<Box<str>>,
    /// `cluster-require-full-coverage`.
    pub requires_full_coverage: bool,
    /// What clients are told and granted.
    pub manners: Manners,
    /// Our index among the shards of our process.
    pub shard: u16,
    /// Number of shards of our process.
    pub shards: u16,
}

impl Settings {
    /// How long a node may be silent before it is suspected, in ms.
    pub(super) fn timeout(&self) -> i64 {
        // Several times as long is still a time.
        self.node_timeout_ms.clamp(0, i64::MAX / 16)
    }
}
