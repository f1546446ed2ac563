//! `# Replication`.

use super::{Facts, Fields};
use crate::local::MasterLine;
use slotmesh_replication::ReplicationId;

/// Redis 7.0 `server.c` `genRedisInfoString`, section replication.
pub(super) fn replication(facts: &Facts<'_>, fields: &mut Fields) {
    let state = facts.node.replication();
    fields.field("role", if state.master.is_some() { "slave" } else { "master" });
    if let Some(master) = &state.master {
        link(master, state.offset, fields);
        fields.field("slave_priority", state.priority);
        fields.field("slave_read_only", u8::from(master.is_read_only));
        fields.field("replica_announced", u8::from(state.is_announced));
    }
    fields.field("connected_slaves", state.replicas.len());
    if let Some(good) = state.good_replicas {
        fields.field("min_slaves_good_slaves", good);
    }
    for (place, replica) in state.replicas.iter().enumerate() {
        let (host, port, word, offset, lag) =
            (&replica.host, replica.port, replica.state, replica.offset, replica.lag_s);
        fields.field(
            format_args!("slave{place}"),
            format_args!("ip={host},port={port},state={word},offset={offset},lag={lag}"),
        );
    }
    fields.field("master_failover_state", state.failover.unwrap_or("no-failover"));
    let name = |id: Option<ReplicationId>| id.map_or_else(|| "0".repeat(ReplicationId::LEN), |id| id.to_string());
    fields.field("master_replid", name(state.id));
    fields.field("master_replid2", name(state.before.map(|(id, _)| id)));
    fields.field("master_repl_offset", state.offset);
    fields.field("second_repl_offset", state.before.map_or(-1, |(_, offset)| offset as i64));
    let (first, len) = state.backlog.unwrap_or_default();
    fields.field("repl_backlog_active", u8::from(state.backlog.is_some()));
    fields.field("repl_backlog_size", state.backlog_bytes_wanted);
    fields.field("repl_backlog_first_byte_offset", first);
    fields.field("repl_backlog_histlen", len);
}

fn link(master: &MasterLine, offset: u64, fields: &mut Fields) {
    let seconds = |seconds: Option<u64>| seconds.map_or(-1, |seconds| seconds as i64);
    fields.field("master_host", &master.host);
    fields.field("master_port", master.port);
    fields.field("master_link_status", if master.is_up { "up" } else { "down" });
    fields.field("master_last_io_seconds_ago", seconds(master.heard_s));
    fields.field("master_sync_in_progress", u8::from(master.image_bytes.is_some()));
    fields.field("slave_read_repl_offset", master.read_offset);
    fields.field("slave_repl_offset", offset);
    if let Some(bytes) = master.image_bytes {
        // The length is told by few masters, and a part of it says little.
        fields.field("master_sync_total_bytes", 0);
        fields.field("master_sync_read_bytes", bytes);
        fields.field("master_sync_left_bytes", -(bytes as i64));
        fields.field("master_sync_perc", "0.00");
        fields.field("master_sync_last_io_seconds_ago", seconds(master.heard_s).max(0));
    }
    if !master.is_up {
        fields.field("master_link_down_since_seconds", seconds(master.down_s));
    }
}
