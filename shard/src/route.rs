//! Where a request must go: admission, then placement by the slots of its keys.

use crate::Client;
use slotmesh_base::{ReplyError, SLOT_COUNT, Slot};
use slotmesh_command::Spec;
use slotmesh_keyspace::{Key, KeyHasher};
use slotmesh_resp::{Args, Reply};

/// Which core owns each slot.
#[derive(Clone, Debug)]
pub struct SlotMap {
    owners: Box<[u16; SLOT_COUNT]>,
    shards: u16,
}

impl SlotMap {
    /// The 16384 slots split evenly, in order, over `shards` cores (cores 0 to `shards` − 1).
    pub fn even(shards: u16) -> Self {
        let _ = shards;
        todo!()
    }

    /// The core that owns `slot`.
    #[inline]
    pub fn owner(&self, slot: Slot) -> u16 {
        self.owners[slot.index()]
    }

    /// Number of cores that own slots: cores 0 to this − 1.
    pub fn shards(&self) -> u16 {
        self.shards
    }
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// To the core with this number (maybe our own), whole.
    Core(u16),
    /// In parts to the cores that own its keys; see [`split`](crate::split).
    Split,
    /// Whole to every core that owns slots; their replies are gathered.
    Everywhere,
}

/// Checks that come before execution (existence, arity, authentication, in Redis's order). `spec` is what
/// `slotmesh_command::find` gave for the name. Resolves subcommands. On refusal the error reply has been
/// written and `None` is returned (`client.closing` is set where Redis closes without reply, as for `POST`).
#[inline]
pub fn admit(
    client: &mut Client,
    spec: Option<&'static Spec>,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    let _ = (client, spec, args, reply);
    todo!()
}

/// Where an admitted command of reach `Slot` or `Shard` goes. `first_key` is its first key, if it has one.
///
/// # Errors
/// `CrossSlot` if its keys lie on several cores and it cannot be split.
#[inline]
pub fn place(
    spec: &'static Spec,
    args: Args<'_>,
    first_key: Option<&Key<'_>>,
    map: &SlotMap,
    hasher: &KeyHasher,
) -> Result<Placement, ReplyError> {
    let _ = (spec, args, first_key, map, hasher);
    todo!()
}
