//! `# Stats` and `# CPU`.

use super::{Facts, Fields, Seconds};
use crate::CommandFacts;
use slotmesh_command::{ChannelKind, Flags};

pub(super) fn stats(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("total_connections_received", facts.total(|core| core.connections));
    fields.field("total_commands_processed", facts.total(|core| core.commands));
    let rates = facts.process.rates;
    fields.field("instantaneous_ops_per_sec", rates.commands);
    fields.field("total_net_input_bytes", facts.total(|core| core.input_bytes));
    fields.field("total_net_output_bytes", facts.total(|core| core.output_bytes));
    fields.field("total_net_repl_input_bytes", facts.total(|core| core.replication_input_bytes));
    fields.field("total_net_repl_output_bytes", facts.total(|core| core.replication_output_bytes));
    fields.field("instantaneous_input_kbps", kibibytes(rates.input_bytes));
    fields.field("instantaneous_output_kbps", kibibytes(rates.output_bytes));
    fields.field("instantaneous_input_repl_kbps", kibibytes(rates.replication_input_bytes));
    fields.field("instantaneous_output_repl_kbps", kibibytes(rates.replication_output_bytes));
    fields.field("rejected_connections", facts.process.rejected_connections);
    fields.field("sync_full", facts.total(|core| core.syncs.full));
    fields.field("sync_partial_ok", facts.total(|core| core.syncs.partial));
    fields.field("sync_partial_err", facts.total(|core| core.syncs.refused));
    fields.field("expired_keys", facts.total(|core| core.expired));
    fields.field("expired_time_cap_reached_count", facts.total(|core| core.expiry_cut));
    fields.field("expire_cycle_cpu_milliseconds", facts.total(|core| core.expiry_nanos) / 1_000_000);
    fields.fields(&[
        ("evicted_keys", "0"),
        ("evicted_clients", "0"),
        ("total_eviction_exceeded_time", "0"),
        ("current_eviction_exceeded_time", "0"),
    ]);
    fields.field("keyspace_hits", facts.total(|core| core.hits));
    fields.field("keyspace_misses", facts.total(|core| core.misses));
    let census = facts.node.census();
    fields.field("pubsub_channels", census.len(ChannelKind::Global));
    fields.field("pubsub_patterns", census.len(ChannelKind::Pattern));
    fields.field("pubsubshard_channels", census.len(ChannelKind::Shard));
    drop(census);
    fields.fields(&[
        ("latest_fork_usec", "0"),
        ("total_forks", "0"),
        ("migrate_cached_sockets", "0"),
        ("slave_expires_tracked_keys", "0"),
        ("active_defrag_hits", "0"),
        ("active_defrag_misses", "0"),
        ("active_defrag_key_hits", "0"),
        ("active_defrag_key_misses", "0"),
        ("total_active_defrag_time", "0"),
        ("current_active_defrag_time", "0"),
    ]);
    fields.field("tracking_total_keys", facts.total(|core| core.tracked_keys));
    fields.field("tracking_total_items", facts.total(|core| core.tracked_items));
    fields.field("tracking_total_prefixes", facts.process.tracking.1);
    fields.field("unexpected_error_replies", 0);
    fields.field("total_error_replies", facts.total(|core| core.errors));
    fields.field("dump_payload_sanitizations", 0);
    fields.field("total_reads_processed", facts.total(|core| core.reads));
    fields.fields(&[
        ("io_threaded_reads_processed", "0"),
        ("io_threaded_writes_processed", "0"),
        ("reply_buffer_shrinks", "0"),
        ("reply_buffer_expands", "0"),
    ]);
    fields.field("eventloop_cycles", facts.total(|core| core.turns));
    fields.field("eventloop_duration_sum", facts.total(|core| core.busy_nanos) / 1000);
    // The commands of a transaction count, so that EXEC does not once more.
    let commands = facts.node.commands();
    let is_single = |command: &&CommandFacts| !command.spec.flags.contains(Flags::SKIP_SLOWLOG);
    let micros: u64 = commands.iter().filter(is_single).map(|command| command.micros).sum();
    fields.field("eventloop_duration_cmd_sum", micros);
    fields.field("instantaneous_eventloop_cycles_per_sec", rates.turns);
    fields
        .field("instantaneous_eventloop_duration_usec", rates.busy_nanos.checked_div(rates.turns).unwrap_or(0) / 1000);
    // There is one user, who may do everything once it has its password.
    let errors = facts.node.errors().unwrap_or_default();
    fields.field("acl_access_denied_auth", errors.get(&b"WRONGPASS"[..]).copied().unwrap_or(0));
    fields.fields(&[
        ("acl_access_denied_cmd", "0"),
        ("acl_access_denied_key", "0"),
        ("acl_access_denied_channel", "0"),
    ]);
}

pub(super) fn cpu(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("used_cpu_sys", Seconds(facts.process.cpu_system_micros));
    fields.field("used_cpu_user", Seconds(facts.process.cpu_user_micros));
    fields.fields(&[("used_cpu_sys_children", "0.000000"), ("used_cpu_user_children", "0.000000")]);
}

/// Bytes as Redis prints rates: in KiB with two decimals.
fn kibibytes(bytes: u64) -> String {
    format!("{}.{:02}", bytes / 1024, bytes % 1024 * 100 / 1024)
}
