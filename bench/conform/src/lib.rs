//! The built binary against the real peers: redis-server (same bytes, same replies), its tools, client libraries.
//!
//! *For*: starting servers, talking RESP to them byte by byte, making random commands and comparing the replies;
//! the tests themselves stand in `tests/`. *Not here*: anything that knows how the node works inside: it is seen
//! through its sockets, its exit code, its log and `/proc` only.
//! *Invariants*: nothing waits for a fixed time where a condition can be awaited; every process that was started
//! is ended by its id; what may differ from Redis stands in one table (`difference.rs`) with its reason.
//! *Read first*: `server.rs`, then `differential.rs`.
//!
//! The binary is `target/release/slotmesh` or `target/debug/slotmesh`, the newer one, beside the running test;
//! `SLOTMESH_BIN` names another. With `SLOTMESH_BIN=redis-server` the harness compares Redis with itself.

mod connection;
mod difference;
mod differential;
mod generate;
mod process;
mod request;
mod server;

pub use connection::Connection;
pub use difference::{RULES, Rule, matches};
pub use differential::{Batches, Failure, Step, find_failure, shrink};
pub use generate::{Generator, Grammar, PASSWORD};
pub use process::{await_condition, cpu_count, resident_bytes};
pub use request::{request, show, words};
pub use server::{Server, binary, is_self_test, node_command, unused_port, without_test_variables};
