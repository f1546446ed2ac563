//! The cluster simulated: the machine behind the bus under a clock, a network and disks that only pretend.
//!
//! *For*: finding what goes wrong between nodes when links break, hosts die and disks are slow, and measuring clusters
//! that no desk holds. *Not here*: sockets, files, sleeping, a second implementation of any rule: the nodes are
//! [`Cluster`](slotmesh_cluster::machine::Cluster), their messages are its bytes, their files are its text.
//! *Invariants*: a seed decides a run, to the last message. *Read first*: `world.rs`, then `scenario.rs`.

mod checkers;
mod disk;
mod faults;
pub mod groups;
mod large;
mod links;
mod losses;
mod network;
mod operator;
mod puppet;
mod ranks;
mod recovery;
mod replication;
pub mod scenario;
mod stale;
mod world;

pub use groups::{GroupsReport, Helped, run_groups};
pub use large::{Large, Quiet, Shape, Took};
pub use ranks::{RanksReport, run_ranks};
pub use recovery::Helpless;
pub use scenario::{Failure, Kind, Options, Report, run};
