//! What one core decides: where a request goes, what it does to the shard, what a connection remembers.
//!
//! *For*: admission, placement, execution, splitting and gathering, connection and node commands.
//! *Not here*: async, sockets, threads, clocks; the syntax and handlers of commands on keys.
//! *Invariants*: [`Shard`] is `Send` and owns all that a write touches; nothing here waits.
//! *Read first*: `route.rs`, then `exec.rs`.

mod client;
mod exec;
mod gather;
mod local;
mod route;
mod shard;
#[cfg(test)]
mod testing;

pub use client::Client;
pub use exec::Context;
pub use gather::{Gather, Part, split};
pub use local::{
    ClientFilter, CoreFacts, DbFacts, Node, NodeAction, ProcessFacts, Rates, describe_client, run_connection_command,
    run_node_command,
};
pub use route::{Placement, SlotMap, admit, place};
pub use shard::{Shard, ShardSettings};
