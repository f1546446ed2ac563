//! `# Memory`.

use super::{Facts, Fields, Human, ratio};
use slotmesh_conf::directive;

pub(super) fn memory(facts: &Facts<'_>, fields: &mut Fields) {
    let process = &facts.process;
    let used = process.allocated_bytes;
    let peak = process.peak_bytes.max(used);
    let dataset = facts.total(|core| core.keyspace_bytes);
    fields.memory("used_memory", used);
    fields.memory("used_memory_rss", process.resident_bytes);
    fields.memory("used_memory_peak", peak);
    fields.field("used_memory_peak_perc", format_args!("{:.2}%", 100.0 * ratio(used, peak)));
    fields.field("used_memory_overhead", used.saturating_sub(dataset));
    fields.field("used_memory_dataset", dataset);
    fields.field("used_memory_dataset_perc", format_args!("{:.2}%", 100.0 * ratio(dataset, used)));
    fields.field("allocator_allocated", process.allocated_bytes);
    fields.field("allocator_active", process.active_bytes);
    fields.field("allocator_resident", process.allocator_resident_bytes);
    fields.memory("total_system_memory", process.system_bytes);
    fields.field("used_memory_lua", 0);
    fields.field("used_memory_lua_human", Human(0));
    fields.field("used_memory_scripts", 0);
    fields.field("used_memory_scripts_human", Human(0));
    fields.field("number_of_cached_scripts", 0);
    fields.memory("maxmemory", facts.settings.value(directive::MAXMEMORY));
    fields.field("maxmemory_policy", facts.settings.value(directive::MAXMEMORY_POLICY));
    fragmentation(facts, fields);
    let input = facts.total(|core| core.query_buffer_bytes);
    let output = facts.total(|core| core.output_buffer_bytes);
    fields.fields(&[("mem_not_counted_for_evict", "0"), ("mem_replication_backlog", "0"), ("mem_clients_slaves", "0")]);
    fields.field("mem_clients_normal", input + output);
    fields.fields(&[
        ("mem_cluster_links", "0"),
        ("mem_aof_buffer", "0"),
        ("mem_allocator", "jemalloc"),
        ("active_defrag_running", "0"),
    ]);
}

/// What the allocator and the kernel hold beyond what was asked for.
fn fragmentation(facts: &Facts<'_>, fields: &mut Fields) {
    let process = &facts.process;
    let levels = [
        ("allocator_frag_ratio", "allocator_frag_bytes", process.active_bytes, process.allocated_bytes),
        ("allocator_rss_ratio", "allocator_rss_bytes", process.allocator_resident_bytes, process.active_bytes),
        ("rss_overhead_ratio", "rss_overhead_bytes", process.resident_bytes, process.allocator_resident_bytes),
        ("mem_fragmentation_ratio", "mem_fragmentation_bytes", process.resident_bytes, process.allocated_bytes),
    ];
    for (ratio_name, bytes_name, held, wanted) in levels {
        fields.field(ratio_name, format_args!("{:.2}", ratio(held, wanted)));
        // Negative where the kernel has not touched (or has swapped) what the allocator counts.
        fields.field(bytes_name, held as i64 - wanted as i64);
    }
}
