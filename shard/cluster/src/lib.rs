//! The cluster as its nodes see it: who is in it, who owns which slot, where a request belongs, what CLUSTER prints.
//!
//! *For*: redirects and the replies of CLUSTER over one [`Topology`]. *Not here*: keys, values, sockets; how a topology
//! comes about: so far a process forms it once, at its start, from its own shards. The bus will change it.
//! *Invariants*: a topology does not change; whoever learns of a change makes another one. A slot has one owner or none.
//! *Read first*: `topology.rs`, then `redirect.rs`.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod node;
mod redirect;
mod render;
mod topology;

pub use node::{Node, NodeId};
pub use redirect::{Redirect, RedirectText};
pub use render::{write_links, write_replicas, write_shards, write_slots};
pub use topology::{Member, NodeIndex, Topology};
