//! Values between two keys: taken from one, or copied, and put under another, maybe of another database or shard.

use crate::value::Value;
use crate::{Db, Key};
use slotmesh_base::UnixMillis;

/// A value that no key holds.
#[derive(Debug)]
pub struct Loose {
    #[expect(dead_code, reason = "the next commit reads it")]
    value: Value,
    /// When the key expires that will hold it.
    pub expires_at: Option<UnixMillis>,
}

impl Db {
    /// Takes value and expiry from `key`, which is no more afterwards.
    pub fn take(&mut self, _key: &Key<'_>, _now: UnixMillis) -> Option<Loose> {
        unimplemented!()
    }

    /// A copy of value and expiry of `key`. A large value is shared until one of the two changes.
    pub fn duplicate(&mut self, _key: &Key<'_>, _now: UnixMillis) -> Option<Loose> {
        unimplemented!()
    }

    /// Puts a value under `key`, whatever was there before.
    pub fn put(&mut self, _key: &Key<'_>, _loose: Loose) {
        unimplemented!()
    }
}
