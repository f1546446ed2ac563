//! Sections whose fields clients look for although they say the same every time: `# Persistence`,
//! `# Replication`, `# Cluster`, and those that are empty.

use super::{Facts, Fields};

/// A title and no fields.
pub(super) fn nothing(_facts: &Facts<'_>, _fields: &mut Fields) {}

pub(super) fn persistence(_facts: &Facts<'_>, fields: &mut Fields) {
    fields.fields(&[
        ("loading", "0"),
        ("async_loading", "0"),
        ("rdb_bgsave_in_progress", "0"),
        ("aof_enabled", "0"),
        ("aof_rewrite_in_progress", "0"),
        ("aof_rewrite_scheduled", "0"),
    ]);
}

pub(super) fn replication(_facts: &Facts<'_>, fields: &mut Fields) {
    fields.fields(&[
        ("role", "master"),
        ("connected_slaves", "0"),
        ("master_failover_state", "no-failover"),
        ("master_repl_offset", "0"),
        ("second_repl_offset", "-1"),
        ("repl_backlog_active", "0"),
    ]);
}

pub(super) fn cluster(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("cluster_enabled", u8::from(facts.node_port.is_some()));
}
