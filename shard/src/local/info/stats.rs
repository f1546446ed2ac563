//! `# Stats` and `# CPU`.

use super::{Facts, Fields, Seconds};

pub(super) fn stats(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("total_connections_received", facts.total(|core| core.connections));
    fields.field("total_commands_processed", facts.total(|core| core.commands));
    let rates = facts.process.rates;
    fields.field("instantaneous_ops_per_sec", rates.commands);
    fields.field("total_net_input_bytes", facts.total(|core| core.input_bytes));
    fields.field("total_net_output_bytes", facts.total(|core| core.output_bytes));
    fields.field("instantaneous_input_kbps", kibibytes(rates.input_bytes));
    fields.field("instantaneous_output_kbps", kibibytes(rates.output_bytes));
    fields.field("rejected_connections", facts.process.rejected_connections);
    fields.fields(&[("sync_full", "0"), ("sync_partial_ok", "0"), ("sync_partial_err", "0")]);
    fields.field("expired_keys", facts.total(|core| core.expired));
    fields.fields(&[("evicted_keys", "0"), ("evicted_clients", "0")]);
    fields.field("keyspace_hits", facts.total(|core| core.hits));
    fields.field("keyspace_misses", facts.total(|core| core.misses));
    fields.fields(&[
        ("pubsub_channels", "0"),
        ("pubsub_patterns", "0"),
        ("pubsubshard_channels", "0"),
        ("latest_fork_usec", "0"),
        ("total_forks", "0"),
        ("tracking_total_keys", "0"),
        ("tracking_total_items", "0"),
        ("tracking_total_prefixes", "0"),
    ]);
    fields.field("total_error_replies", facts.total(|core| core.errors));
    fields.field("eventloop_cycles", facts.total(|core| core.turns));
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
