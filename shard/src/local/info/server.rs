//! `# Server` and `# Clients`.

use super::{Facts, Fields};
use crate::CoreFacts;
use crate::local::REDIS_VERSION;
use slotmesh_conf::directive;

const SECONDS_PER_DAY: i64 = 24 * 3600;

/// Bits of Redis's clock of recency, which counts seconds.
const LRU_BITS: u32 = 24;

pub(super) fn server(facts: &Facts<'_>, fields: &mut Fields) {
    let process = &facts.process;
    let uptime = (facts.now.as_secs() - process.started_at.as_secs()).max(0);
    fields.field("redis_version", REDIS_VERSION);
    fields.field("slotmesh_version", env!("CARGO_PKG_VERSION"));
    fields.fields(&[("redis_git_sha1", "00000000"), ("redis_git_dirty", "0"), ("redis_build_id", "0")]);
    fields.field("redis_mode", if facts.node_port.is_some() { "cluster" } else { "standalone" });
    fields.field("os", &process.os);
    fields.field("arch_bits", usize::BITS);
    fields.field("monotonic_clock", "POSIX clock_gettime");
    fields.field("multiplexing_api", process.io_backend);
    fields.field("process_id", process.pid);
    fields.field("process_supervised", "no");
    fields.field("run_id", &process.run_id);
    fields.field("tcp_port", facts.node_port.unwrap_or(facts.settings.value(directive::PORT)));
    fields.field("server_time_usec", facts.now.0.saturating_mul(1000));
    fields.field("uptime_in_seconds", uptime);
    fields.field("uptime_in_days", uptime / SECONDS_PER_DAY);
    fields.field("hz", facts.settings.value(directive::HZ));
    fields.field("configured_hz", facts.settings.value(directive::HZ));
    fields.field("lru_clock", facts.now.as_secs() & ((1 << LRU_BITS) - 1));
    fields.field("executable", &process.executable);
    fields.field("config_file", &process.config_file);
    fields.field("io_threads_active", 0);
    listeners(facts, fields);
}

/// What is listened on, in the order of Redis's kinds of connections.
fn listeners(facts: &Facts<'_>, fields: &mut Fields) {
    let port = facts.node_port.unwrap_or(facts.settings.value(directive::PORT));
    if port > 0 {
        let addresses = facts.settings.value(directive::BIND).iter().map(|address| format!(",bind={address}"));
        fields.field("listener0", format_args!("name=tcp{},port={port}", addresses.collect::<String>()));
    }
    let path = facts.settings.value(directive::UNIXSOCKET);
    if !path.is_empty() {
        fields.field("listener1", format_args!("name=unix,bind={path}"));
    }
}

pub(super) fn clients(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("connected_clients", facts.total(|core| core.clients.saturating_sub(core.replicas)));
    fields.field("cluster_connections", 0);
    fields.field("maxclients", facts.settings.value(directive::MAXCLIENTS));
    let most = |of: fn(&CoreFacts) -> u64| facts.cores.iter().map(of).max().unwrap_or(0);
    fields.field("client_recent_max_input_buffer", most(|core| core.client_max.0));
    fields.field("client_recent_max_output_buffer", most(|core| core.client_max.1));
    fields.field("blocked_clients", facts.total(|core| core.blocked_clients));
    fields.field("tracking_clients", facts.process.tracking.0);
    fields.field("clients_in_timeout_table", facts.total(|core| core.timeouts));
    fields.field("total_blocking_keys", facts.total(|core| core.blocking_keys));
    fields.field("total_blocking_keys_on_nokey", 0);
}
