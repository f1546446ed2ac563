//! Flag bits of nodes and messages.

use core::fmt;

bitflags::bitflags! {
    /// What a node is and how it is (Redis: `CLUSTER_NODE_…`); bits that we do not know are kept.
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct NodeFlags: u16 {
        /// Owns slots, or may.
        const MASTER = 1;
        /// Follows a master.
        const REPLICA = 2;
        /// Suspected by us.
        const PFAIL = 4;
        /// Failed, as the majority says.
        const FAIL = 8;
        /// Ourselves.
        const MYSELF = 0x10;
        /// Not known by name yet.
        const HANDSHAKE = 0x20;
        /// Its address is not known any more.
        const NO_ADDRESS = 0x40;
        /// Shall be greeted with MEET.
        const MEET = 0x80;
        /// A master that replicas may migrate to.
        const MIGRATE_TO = 0x100;
        /// A replica that will not fail over.
        const NO_FAILOVER = 0x200;
        const _ = !0;
    }
}

bitflags::bitflags! {
    /// What a message is about beside its type (Redis: `CLUSTERMSG_FLAG0_…`).
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MessageFlags: u8 {
        /// The master has stopped its clients for a manual failover.
        const PAUSED = 1;
        /// The vote is asked for though the master is well.
        const FORCE_ACK = 2;
        /// Extensions follow.
        const EXTENSIONS = 4;
        const _ = !0;
    }
}

impl NodeFlags {
    /// The words of nodes.conf and CLUSTER NODES, in their order.
    pub(crate) const WORDS: [(Self, &'static str); 8] = [
        (Self::MYSELF, "myself"),
        (Self::MASTER, "master"),
        (Self::REPLICA, "slave"),
        (Self::PFAIL, "fail?"),
        (Self::FAIL, "fail"),
        (Self::HANDSHAKE, "handshake"),
        (Self::NO_ADDRESS, "noaddr"),
        (Self::NO_FAILOVER, "nofailover"),
    ];
}

impl fmt::Display for NodeFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Self::WORDS.iter().filter(|(flag, _)| self.contains(*flag)).map(|&(_, word)| word);
        f.write_str(words.next().unwrap_or("noflags"))?;
        words.try_for_each(|word| write!(f, ",{word}"))
    }
}
