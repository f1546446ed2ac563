//! Commands: one declaration each, and the handlers of those that work on keys.
//!
//! *For*: what a command is called, takes, does, and how it is described. *Not here*: topology, sockets, a
//! second list of names anywhere.
//! *Invariants*: a row is the only place that knows a command; dispatch, COMMAND, ACL, routing and the gateway
//! read it. One family file never uses another.
//! *Read first*: `spec.rs`, then `family/string.rs`.

mod call;
mod describe;
mod doc;
mod double;
mod effect;
mod extended;
mod family;
mod flags;
pub mod glob;
mod keys;
mod number;
mod reach;
mod recreate;
mod spec;
mod table;
mod timeout;

pub use call::{Beside, Call, Handler, HandlerResult, Outcome, ValueLimits, Wait};
pub use describe::*;
pub use doc::{Doc, DocArg, DocKind, Group};
pub use effect::Effects;
pub use family::{ObjectFacts, object_facts};
pub use flags::{Categories, Flags, KeyFlags};
pub use keys::{KeyPosition, first_key_index, key_indexes, key_positions, reads_unnamed_keys, refusal_of_unnamed_keys};
pub use number::{INTEGER_BYTES_MAX, IntegerText, parse_cursor, parse_integer};
pub use reach::{ChannelKind, ConnectionCommand, NodeCommand, PubSubCommand, Reach, TransactionCommand};
pub use recreate::recreate;
pub use spec::{KeySearch, KeySpec, Repeat, RequestPolicy, ResponsePolicy, Spec, TimeoutAt, Tips};
pub use table::{Unknown, all, find, find_full, find_subcommand, resolve, rows};
pub use timeout::{timeout_of, timeout_reply};
