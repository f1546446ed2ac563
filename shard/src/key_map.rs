//! What is known of single keys of several databases: watched ones, those that clients wait for.

use std::collections::BTreeMap;
use std::sync::Arc;

/// A key with its database. The name is shared by all who speak of the key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct KeyName {
    pub(crate) db: u16,
    pub(crate) bytes: Arc<[u8]>,
}

/// A map from keys, looked up by borrowed names.
#[derive(Debug)]
pub(crate) struct KeyMap<V>(BTreeMap<u16, BTreeMap<Arc<[u8]>, V>>);

impl<V> Default for KeyMap<V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<V: Default> KeyMap<V> {
    pub(crate) fn get_mut(&mut self, db: u16, key: &[u8]) -> Option<&mut V> {
        self.0.get_mut(&db)?.get_mut(key)
    }

    /// The value of a key, made if it is not there, and the key's shared name.
    pub(crate) fn entry(&mut self, db: u16, key: &[u8]) -> (KeyName, &mut V) {
        let keys = self.0.entry(db).or_default();
        let bytes = match keys.get_key_value(key) {
            Some((name, _)) => name.clone(),
            None => Arc::from(key),
        };
        (KeyName { db, bytes: bytes.clone() }, keys.entry(bytes).or_default())
    }

    pub(crate) fn remove(&mut self, name: &KeyName) {
        if let Some(keys) = self.0.get_mut(&name.db) {
            keys.remove(&name.bytes);
            if keys.is_empty() {
                self.0.remove(&name.db);
            }
        }
    }

    /// The first key of all.
    pub(crate) fn first_name(&self) -> Option<KeyName> {
        let (&db, keys) = self.0.first_key_value()?;
        keys.first_key_value().map(|(bytes, _)| KeyName { db, bytes: bytes.clone() })
    }

    /// Takes the first key of all, with its value.
    pub(crate) fn pop_first(&mut self) -> Option<(KeyName, V)> {
        let mut keys = self.0.first_entry()?;
        let db = *keys.key();
        let first = keys.get_mut().pop_first();
        if keys.get().is_empty() {
            keys.remove();
        }
        first.map(|(bytes, value)| (KeyName { db, bytes }, value))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of keys.
    pub(crate) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}
