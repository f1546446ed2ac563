//! `# Keyspace`.

use super::{Facts, Fields};

/// One line for each database that holds keys, counted over all shards.
pub(super) fn keyspace(facts: &Facts<'_>, fields: &mut Fields) {
    let databases = facts.cores.iter().map(|core| core.dbs.len()).max().unwrap_or(0);
    for index in 0..databases {
        let dbs = || facts.cores.iter().filter_map(|core| core.dbs.get(index));
        let keys: u64 = dbs().map(|db| db.keys).sum();
        let expires: u64 = dbs().map(|db| db.expires).sum();
        if keys == 0 && expires == 0 {
            continue;
        }
        // The mean over all keys with an expiry, wherever they are.
        let weighted: u128 = dbs().map(|db| u128::from(db.average_ttl_ms) * u128::from(db.expires)).sum();
        let average = weighted / u128::from(expires.max(1));
        fields.field(format_args!("db{index}"), format_args!("keys={keys},expires={expires},avg_ttl={average}"));
    }
}
