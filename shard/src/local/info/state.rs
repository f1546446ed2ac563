//! Sections whose fields clients look for although they say the same every time: `# Persistence`, `# Cluster`, and those
//! that are empty.

use super::{Facts, Fields};

/// A title and no fields.
pub(super) fn nothing(_facts: &Facts<'_>, _fields: &mut Fields) {}

/// What Redis shows that has never saved.
pub(super) fn persistence(facts: &Facts<'_>, fields: &mut Fields) {
    fields.fields(&[
        ("loading", "0"),
        ("async_loading", "0"),
        ("current_cow_peak", "0"),
        ("current_cow_size", "0"),
        ("current_cow_size_age", "0"),
        ("current_fork_perc", "0.00"),
        ("current_save_keys_processed", "0"),
        ("current_save_keys_total", "0"),
    ]);
    // All of them, since nothing was saved; CONFIG RESETSTAT does not forget them.
    fields.field("rdb_changes_since_last_save", facts.total(|core| core.changes));
    fields.field("rdb_bgsave_in_progress", 0);
    fields.field("rdb_last_save_time", facts.process.started_at.as_secs());
    fields.fields(&[
        ("rdb_last_bgsave_status", "ok"),
        ("rdb_last_bgsave_time_sec", "-1"),
        ("rdb_current_bgsave_time_sec", "-1"),
        ("rdb_saves", "0"),
        ("rdb_last_cow_size", "0"),
        ("rdb_last_load_keys_expired", "0"),
        ("rdb_last_load_keys_loaded", "0"),
        ("aof_enabled", "0"),
        ("aof_rewrite_in_progress", "0"),
        ("aof_rewrite_scheduled", "0"),
        ("aof_last_rewrite_time_sec", "-1"),
        ("aof_current_rewrite_time_sec", "-1"),
        ("aof_last_bgrewrite_status", "ok"),
        ("aof_rewrites", "0"),
        ("aof_rewrites_consecutive_failures", "0"),
        ("aof_last_write_status", "ok"),
        ("aof_last_cow_size", "0"),
        ("module_fork_in_progress", "0"),
        ("module_fork_last_cow_size", "0"),
    ]);
}

pub(super) fn cluster(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("cluster_enabled", u8::from(facts.node_port.is_some()));
}
