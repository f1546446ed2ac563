//! The cluster as its nodes see it: who is in it, who owns which slot, where a request belongs, what CLUSTER prints.
//!
//! *For*: the state machine behind the cluster bus ([`machine`]), its messages as bytes ([`wire`]), its file
//! ([`nodes_conf`]); redirects and the replies of CLUSTER over one [`Topology`], which the machine draws up.
//! *Not here*: keys, values, sockets, disks, clocks.
//! *Invariants*: a topology does not change; whoever learns of a change makes another one. A slot has one owner or none.
//! *Read first*: `machine/mod.rs`, `topology.rs`, then `redirect.rs`.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod host;
pub mod machine;
mod node;
pub mod nodes_conf;
mod redirect;
mod render;
mod topology;
pub mod wire;

/// How far above the port for clients that of the bus is, where nobody says otherwise (Redis: `CLUSTER_PORT_INCR`).
pub const BUS_PORT_DISTANCE: u16 = 10_000;

pub use host::Host;
pub use node::{Node, NodeId};
pub use redirect::{Redirect, RedirectText};
pub use render::{write_shards, write_slots};
pub use slotmesh_base::SlotSet;
pub use topology::{Access, Endpoint, Manners, Member, NodeIndex, Topology};
