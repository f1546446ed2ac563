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
    /// When replicas take over, and whom they follow.
    pub replicas: ReplicaRules,
    /// Our index among the shards of our process.
    pub shard: u16,
    /// Number of shards of our process.
    pub shards: u16,
}

/// Directives about replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReplicaRules {
    /// `cluster-replica-validity-factor`; with 0 data of any age will do.
    pub validity_factor: u32,
    /// `repl-ping-replica-period`, in ms: so old may data be beyond what the factor allows.
    pub ping_period_ms: i64,
    /// `cluster-migration-barrier`: so many working replicas a master keeps.
    pub migration_barrier: u32,
    /// `cluster-allow-replica-migration`.
    pub allows_migration: bool,
    /// `cluster-replica-no-failover`.
    pub never_fails_over: bool,
    /// `cluster-crash-detect-ms`: how long the port of a node must refuse after its links have ended; 0 to wait for the
    /// node timeout as Redis does, and to hold elections in its time.
    pub crash_detect_ms: i64,
}

impl Default for ReplicaRules {
    /// As the directives have it.
    fn default() -> Self {
        Self {
            validity_factor: 10,
            ping_period_ms: 10_000,
            migration_barrier: 1,
            allows_migration: true,
            never_fails_over: false,
            crash_detect_ms: 300,
        }
    }
}

impl Settings {
    /// How long a node may be silent before it is suspected, in ms.
    pub(super) fn timeout(&self) -> i64 {
        // Several times as long is still a time.
        self.node_timeout_ms.clamp(0, i64::MAX / 16)
    }
}
