//! Replication of one stream of effects, in both roles, as bytes and time in and bytes and orders out.
//!
//! *For*: ids and offsets ([`History`]), the part of the stream that is kept ([`Backlog`]), what a master owes each of
//! its replicas ([`Source`]), how the pieces of several shards become one stream ([`Sequence`]), how a replica comes to
//! its master and stays there ([`Follower`]), and how the two change places ([`Failover`]). *Not here*: sockets
//! and clocks (the node drives both), the effects themselves (`slotmesh_command`), images (`slotmesh_rdb`). *Read first*:
//! `history.rs`, then `source.rs` for a master and `follower.rs` for a replica.
//!
//! Mirrors Redis 7.2 `replication.c`: any stock node may stand at the other end.

mod backlog;
mod failover;
mod follower;
mod framing;
mod history;
mod id;
mod sequence;
mod source;

pub use backlog::Backlog;
pub use failover::{Failover, FailoverOrder, FailoverStep};
pub use follower::{Follower, FollowerOrders, Identity, Lost, Phase as FollowerPhase, Received};
pub use framing::{Framing, ImageFrame, MARK_BYTES};
pub use history::{History, Position};
pub use id::ReplicationId;
pub use sequence::Sequence;
pub use source::{
    Answer, Capabilities, DropReason, Replica, ReplicaFacts, ReplicaState, Request, Source, SourceSettings, SyncCounts,
};
