//! What the cores of a process know of each other's subscriptions.

use slotmesh_base::limits::AUDIENCE_BUCKETS;
use slotmesh_command::{ChannelKind, glob};
use slotmesh_keyspace::KeyHasher;
use std::array;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// What somebody hears somewhere, and how many do. For those who ask for numbers; no message waits for it.
#[derive(Debug)]
pub struct Census {
    names: [HashMap<Arc<[u8]>, Listeners, KeyHasher>; 3],
}

/// Those who have subscribed to a name.
#[derive(Clone, Copy, Debug, Default)]
struct Listeners {
    clients: usize,
    /// Number of cores on which there are any.
    cores: usize,
}

impl Census {
    fn new(hasher: KeyHasher) -> Self {
        Self { names: ChannelKind::ALL.map(|_| HashMap::with_hasher(hasher)) }
    }

    /// Number of different names of a kind.
    pub fn len(&self, kind: ChannelKind) -> usize {
        self.names[kind as usize].len()
    }

    /// The names of a kind, in no order.
    pub fn names(&self, kind: ChannelKind) -> impl Iterator<Item = &[u8]> {
        self.names[kind as usize].keys().map(|name| &**name)
    }

    /// How many have subscribed to just this name.
    pub fn subscribers(&self, kind: ChannelKind, name: &[u8]) -> usize {
        self.listeners(kind, name).clients
    }

    /// On how many cores somebody has.
    pub fn cores(&self, kind: ChannelKind, name: &[u8]) -> usize {
        self.listeners(kind, name).cores
    }

    fn listeners(&self, kind: ChannelKind, name: &[u8]) -> Listeners {
        self.names[kind as usize].get(name).copied().unwrap_or_default()
    }

    /// How often a message on a channel is heard.
    pub(super) fn receivers(&self, kind: ChannelKind, channel: &[u8]) -> usize {
        let matching =
            self.names[ChannelKind::Pattern as usize].iter().filter(|(name, _)| glob::matches(name, channel));
        let by_pattern =
            if kind == ChannelKind::Global { matching.map(|(_, listeners)| listeners.clients).sum() } else { 0 };
        self.subscribers(kind, channel) + by_pattern
    }

    fn begin(&mut self, kind: ChannelKind, name: &Arc<[u8]>, is_only: bool) {
        let listeners = self.names[kind as usize].entry(name.clone()).or_default();
        listeners.clients += 1;
        listeners.cores += usize::from(is_only);
    }

    fn end(&mut self, kind: ChannelKind, name: &[u8], is_only: bool) {
        let names = &mut self.names[kind as usize];
        let listeners = names.get_mut(name).expect("what ends has begun");
        listeners.clients -= 1;
        listeners.cores -= usize::from(is_only);
        if listeners.clients == 0 {
            names.remove(name);
        }
    }
}

/// What one core hears, as far as others must know: numbers of subscriptions by a few bits of the names' hashes. A zero
/// says that nobody there hears such a channel. Written by the core, read by all.
#[derive(Debug)]
#[repr(align(128))]
struct Ears {
    patterns: AtomicU32,
    channels: [AtomicU32; AUDIENCE_BUCKETS],
}

/// What all cores of a process hear.
#[derive(Debug)]
pub struct Audience {
    hasher: KeyHasher,
    ears: Vec<Ears>,
    /// Of all clients of the process.
    all: Mutex<Census>,
    /// Of those at the ports of each core's node.
    at_nodes: Vec<Mutex<Census>>,
}

impl Audience {
    /// Nobody hears anything on so many cores.
    pub fn new(cores: usize, hasher: KeyHasher) -> Self {
        let ears = || Ears { patterns: AtomicU32::new(0), channels: array::from_fn(|_| AtomicU32::new(0)) };
        let census = || Mutex::new(Census::new(hasher));
        Self {
            hasher,
            ears: (0..cores).map(|_| ears()).collect(),
            all: census(),
            at_nodes: (0..cores).map(|_| census()).collect(),
        }
    }

    pub(super) fn hasher(&self) -> KeyHasher {
        self.hasher
    }

    /// Appends the cores, but for `own`, where somebody may hear a message on a channel.
    #[inline]
    pub fn find_listening(&self, own: u16, kind: ChannelKind, channel: &[u8], cores: &mut Vec<u16>) {
        if self.ears.len() == 1 {
            return;
        }
        let bucket = self.bucket(kind, channel);
        for (core, ears) in (0u16..).zip(&self.ears) {
            // What a client was told of its subscription before this message was sent, was stored before it was told.
            let may_match = kind == ChannelKind::Global && ears.patterns.load(Ordering::Acquire) > 0;
            if core != own && (may_match || ears.channels[bucket].load(Ordering::Acquire) > 0) {
                cores.push(core);
            }
        }
    }

    /// The census of a node's own clients, or of all clients of the process.
    ///
    /// # Panics
    /// If there is no such core.
    pub fn census(&self, node: Option<u16>) -> MutexGuard<'_, Census> {
        let census = node.map_or(&self.all, |core| &self.at_nodes[usize::from(core)]);
        census.lock().expect("no holder panics")
    }

    /// How often a message on a channel is heard by a node's own clients, or by all of the process.
    pub(super) fn receivers(&self, node: Option<u16>, kind: ChannelKind, channel: &[u8]) -> usize {
        self.census(node).receivers(kind, channel)
    }

    /// A subscription of a client of `core` begins; `is_only` says whether it is the only one there to this name.
    pub(super) fn begin(&self, core: u16, is_at_node: bool, kind: ChannelKind, name: &Arc<[u8]>, is_only: bool) {
        self.counter(core, kind, name).fetch_add(1, Ordering::AcqRel);
        self.census(None).begin(kind, name, is_only);
        if is_at_node {
            self.census(Some(core)).begin(kind, name, false);
        }
    }

    /// A subscription of a client of `core` ends; `is_only` says whether it was the last one there to this name.
    pub(super) fn end(&self, core: u16, is_at_node: bool, kind: ChannelKind, name: &[u8], is_only: bool) {
        self.counter(core, kind, name).fetch_sub(1, Ordering::AcqRel);
        self.census(None).end(kind, name, is_only);
        if is_at_node {
            self.census(Some(core)).end(kind, name, false);
        }
    }

    fn counter(&self, core: u16, kind: ChannelKind, name: &[u8]) -> &AtomicU32 {
        let ears = &self.ears[usize::from(core)];
        match kind {
            ChannelKind::Pattern => &ears.patterns,
            ChannelKind::Global | ChannelKind::Shard => &ears.channels[self.bucket(kind, name)],
        }
    }

    fn bucket(&self, kind: ChannelKind, name: &[u8]) -> usize {
        // Shard channels have names of their own; that they share buckets with others costs a message at times.
        (self.hasher.hash_one(name) as usize ^ kind as usize) % AUDIENCE_BUCKETS
    }
}
