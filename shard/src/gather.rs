//! Commands that run on several shards: split by keys, joined by the row's response policy.

use crate::SlotMap;
use slotmesh_command::Spec;
use slotmesh_keyspace::KeyHasher;
use slotmesh_resp::{Args, Protocol};

/// One core's share of a split command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// The core that runs it.
    pub core: u16,
    /// Indexes of the arguments that go there, in order, without the command's name.
    pub arguments: Vec<u32>,
}

/// Splits a command with request policy `MultiShard` by the owners of its keys; at least two parts.
pub fn split(spec: &'static Spec, args: Args<'_>, map: &SlotMap, hasher: &KeyHasher) -> Vec<Part> {
    let _ = (spec, args, map, hasher);
    todo!()
}

/// Joins the replies of a command's parts.
#[derive(Debug)]
pub struct Gather {
    // to be filled
}

impl Gather {
    /// A gatherer for the parts of a split command.
    pub fn of_parts(spec: &'static Spec, args: Args<'_>, parts: &[Part], protocol: Protocol) -> Self {
        let _ = (spec, args, parts, protocol);
        todo!()
    }

    /// A gatherer for a command that went whole to `shards` shards. `chance` decides where the answer must be
    /// chosen among the shards' (RANDOMKEY).
    pub fn everywhere(spec: &'static Spec, shards: usize, protocol: Protocol, chance: u64) -> Self {
        let _ = (spec, shards, protocol, chance);
        todo!()
    }

    /// A gatherer for texts of all cores (CLIENT LIST): `cores` bulk strings are joined in the order of the cores.
    pub fn texts(cores: usize, protocol: Protocol) -> Self {
        let _ = (cores, protocol);
        todo!()
    }

    /// Takes the whole reply of part `index`; whether that was the last one missing.
    pub fn add(&mut self, index: usize, reply: &[u8]) -> bool {
        let _ = (index, reply);
        todo!()
    }

    /// Writes the joined reply; all parts have been added.
    pub fn finish(self, out: &mut Vec<u8>) {
        let _ = out;
        todo!()
    }
}
