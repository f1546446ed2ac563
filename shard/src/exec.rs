//! Execution of a placed command on this core's shard.

use crate::Shard;
use slotmesh_base::UnixMillis;
use slotmesh_command::{Spec, ValueLimits};
use slotmesh_keyspace::Key;
use slotmesh_resp::{Args, Protocol};

/// What a command needs to know of the client that sent it, wherever it runs.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Selected database.
    pub db: u16,
    /// Protocol version of the reply.
    pub protocol: Protocol,
    /// The time.
    pub now: UnixMillis,
    /// The first key, if it has been hashed.
    pub first_key: Option<Key<'a>>,
    /// Bounds.
    pub limits: ValueLimits,
    /// Whether the reply is a share that a gatherer joins with others.
    pub partial: bool,
}

impl Shard {
    /// Runs a command whose reach is `Slot` or `Shard`; its reply, or error, is appended to `out`.
    ///
    /// # Panics
    /// If the row reaches neither a slot nor a shard.
    #[inline]
    pub fn execute(&mut self, spec: &'static Spec, args: Args<'_>, context: &Context<'_>, out: &mut Vec<u8>) {
        let _ = (spec, args, context, out);
        todo!()
    }
}
