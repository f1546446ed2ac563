//! `# Persistence`, and sections whose fields clients look for although they say the same every time: `# Cluster`, and
//! those that are empty.

use super::{Facts, Fields};
use crate::{LoadFacts, PersistenceFacts};

/// A title and no fields.
pub(super) fn nothing(_facts: &Facts<'_>, _fields: &mut Fields) {}

/// Redis 7.0 `server.c` `genRedisInfoString`, section persistence.
pub(super) fn persistence(facts: &Facts<'_>, fields: &mut Fields) {
    let PersistenceFacts { save, load, log, .. } = facts.node.persistence();
    fields.field("loading", u8::from(load.is_loading));
    fields.field("async_loading", 0);
    fields.field("current_cow_peak", save.copies.1);
    fields.field("current_cow_size", save.copies.1);
    fields.field("current_cow_size_age", 0);
    let (keys, keys_total) = save.keys;
    fields.field("current_fork_perc", percent(keys, keys_total));
    fields.field("current_save_keys_processed", keys);
    fields.field("current_save_keys_total", keys_total);
    // CONFIG RESETSTAT does not forget them.
    fields.field("rdb_changes_since_last_save", save.changes);
    fields.field("rdb_bgsave_in_progress", u8::from(save.running_s.is_some()));
    fields.field("rdb_last_save_time", save.last_save);
    fields.field("rdb_last_bgsave_status", if save.has_failed { "err" } else { "ok" });
    fields.field("rdb_last_bgsave_time_sec", save.last_took_s.unwrap_or(-1));
    fields.field("rdb_current_bgsave_time_sec", save.running_s.unwrap_or(-1));
    fields.field("rdb_saves", save.saves);
    fields.field("rdb_last_cow_size", save.copies.0);
    fields.field("rdb_last_load_keys_expired", load.expired);
    fields.field("rdb_last_load_keys_loaded", load.keys);
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    let status = |is_well: bool| if is_well { "ok" } else { "err" };
    fields.field("aof_enabled", u8::from(log.is_enabled));
    fields.field("aof_rewrite_in_progress", u8::from(log.is_rewriting));
    fields.field("aof_rewrite_scheduled", u8::from(log.is_scheduled));
    fields.field("aof_last_rewrite_time_sec", seconds(log.last_rewrite_s));
    fields.field("aof_current_rewrite_time_sec", seconds(log.rewriting_s));
    fields.field("aof_last_bgrewrite_status", status(!log.rewrite_failed));
    fields.field("aof_rewrites", log.rewrites);
    fields.field("aof_rewrites_consecutive_failures", log.failures);
    fields.field("aof_last_write_status", status(log.write_error.is_none()));
    fields.fields(&[("aof_last_cow_size", "0"), ("module_fork_in_progress", "0"), ("module_fork_last_cow_size", "0")]);
    if log.is_enabled {
        fields.field("aof_current_size", log.current_bytes);
        fields.field("aof_base_size", log.base_bytes);
        fields.field("aof_pending_rewrite", u8::from(log.is_scheduled));
        fields.field("aof_buffer_length", log.buffer_bytes);
        fields.field("aof_pending_bio_fsync", u8::from(log.is_syncing));
        fields.field("aof_delayed_fsync", log.delayed_syncs);
    }
    if load.is_loading {
        loading(&load, facts.now.as_secs(), fields);
    }
}

fn loading(load: &LoadFacts, now_s: i64, fields: &mut Fields) {
    let elapsed_s = (now_s - load.started_at).max(0);
    let left = load.bytes_total.saturating_sub(load.bytes);
    let eta_s = match load.bytes {
        0 => -1,
        bytes => (i128::from(elapsed_s) * i128::from(left) / i128::from(bytes)) as i64,
    };
    fields.field("loading_start_time", load.started_at);
    fields.field("loading_total_bytes", load.bytes_total);
    fields.field("loading_rdb_used_mem", load.used_memory);
    fields.field("loading_loaded_bytes", load.bytes);
    fields.field("loading_loaded_perc", percent(load.bytes, load.bytes_total));
    fields.field("loading_eta_seconds", eta_s.max(1));
}

fn percent(part: u64, whole: u64) -> String {
    format!("{:.2}", part as f64 * 100.0 / whole.max(1) as f64)
}

pub(super) fn cluster(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("cluster_enabled", u8::from(facts.node_port.is_some()));
}
