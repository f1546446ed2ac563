//! Commands: one declaration each, and the handlers of those that work on keys.
//!
//! *For*: what a command is called, takes, does, and how it is described. *Not here*: topology, sockets, a
//! second list of names anywhere.
//! *Invariants*: a row is the only place that knows a command; dispatch, COMMAND, ACL, routing and the gateway
//! read it. One family file never uses another.
//! *Read first*: `spec.rs`, then `family/string.rs`.

mod call;
mod family;
mod spec;
mod table;

pub use call::{Call, Handler, HandlerResult, ValueLimits};
pub use spec::*;
pub use table::{all, find, find_subcommand};
