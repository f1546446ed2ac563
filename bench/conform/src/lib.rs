//! The built binary against the real peers: redis-server (same bytes, same replies), its tools, client libraries.
//!
//! *For*: starting servers, talking RESP to them byte by byte, making random commands and comparing the replies;
//! the tests themselves stand in `tests/`. *Not here*: anything that knows how the node works inside: it is seen
//! through its sockets, its exit code, its log and `/proc` only.
//! *Invariants*: nothing waits for a fixed time where a condition can be awaited; every process that was started
//! is ended by its id; what may differ from Redis stands in one table (`difference.rs`) with its reason.
//! *Read first*: `server.rs`, then `differential.rs` (one connection) and `lockstep.rs` (several that wait for each
//! other).
//!
//! The binary is `target/release/slotmesh` or `target/debug/slotmesh`, the newer one, beside the running test;
//! `SLOTMESH_BIN` names another. With `SLOTMESH_BIN=redis-server` the harness compares Redis with itself.
//! `SLOTMESH_ORACLE` names another redis-server to compare with.

mod cluster;
mod connection;
mod difference;
mod differential;
mod false_node;
mod front;
mod gateway;
mod generate;
mod grammar;
mod groups;
mod hosts;
mod lockstep;
mod packages;
mod process;
mod replication;
mod request;
mod script;
mod script_generator;
mod server;
mod shrink;
pub mod suite;
mod transaction;
mod vocabulary;

pub use cluster::{Cluster, NodeLine, Program, await_agreement, node_lines};
pub use connection::Connection;
pub use difference::{RULES, Rule, matches};
pub use differential::{Batches, Failure, Step, assert_same, find_failure, shrink_steps};
pub use false_node::{FalseNode, Mood};
pub use front::Front;
pub use gateway::{Behind, Door, Gateway};
pub use generate::{Generator, PASSWORD, Reach};
pub use grammar::Grammar;
pub use groups::{
    await_settled, cluster_tool, follow_in_pairs, is_master, line_at, lines_at, node_at, replicate, share_among,
};
pub use lockstep::{CONNECTIONS, Difference, Recorded, Replies, record, replay, run_script, shrink_script};
pub use packages::{assert_done, installed};
pub use process::{await_condition, cpu_count, resident_bytes};
pub use replication::{FalseMaster, FalseStream, Relay, field, subscribe};
pub use request::{request, show, words};
pub use script::{Act, Manner, Move, parse_recording, parse_script, print_script};
pub use script_generator::{Flavour, Layout, random_script};
pub use server::{
    Served, Server, binary, is_self_test, node_command, unused_port, unused_ports, without_test_variables,
};
pub use shrink::{FailsAt, shrink};
pub use transaction::Comparison;
