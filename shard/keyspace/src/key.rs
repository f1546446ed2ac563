//! A key as the store wants it: its bytes, its slot and its hash, each computed once.

use core::hash::BuildHasher;
use siphasher::sip::SipHasher13;
use slotmesh_base::Slot;

/// A key with its slot and hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// The key itself.
    pub bytes: &'a [u8],
    /// The slot that it belongs to.
    pub slot: Slot,
    /// Its hash by the process's [`KeyHasher`].
    pub hash: u64,
}

/// The keyed hash of a process, the same for all of its shards, so that a key is hashed once wherever its
/// slot lives. Keyed, so that nobody outside can choose keys that collide (SipHash-1-3).
#[derive(Clone, Copy, Debug)]
pub struct KeyHasher {
    seed: [u64; 2],
}

impl KeyHasher {
    /// A hasher that gives every key the same hash, for the tests of the worst case.
    #[cfg(test)]
    pub(crate) const BROKEN: Self = Self { seed: [u64::MAX; 2] };

    /// A hasher for a secret seed.
    pub const fn new(seed: [u64; 2]) -> Self {
        Self { seed }
    }

    /// The hash of `bytes`.
    #[inline]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        #[cfg(test)]
        if self.seed == Self::BROKEN.seed {
            return 0x1234;
        }
        // In one piece: what a hasher keeps between two writes is a third of the work for a short key.
        self.build_hasher().hash(bytes)
    }

    /// `bytes` with slot and hash.
    #[inline]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, slot: Slot::of_key(bytes), hash: self.hash(bytes) }
    }
}

/// For tables of names that clients choose, which are no keys. Their hashes are not those of [`KeyHasher::hash`].
impl BuildHasher for KeyHasher {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.seed[0], self.seed[1])
    }
}
