//! `# Memory`.

use super::{Facts, Fields, Human};
use crate::local::memory::MemoryFacts;
use slotmesh_conf::directive;

pub(super) fn memory(facts: &Facts<'_>, fields: &mut Fields) {
    let process = &facts.process;
    let memory = MemoryFacts::of(process, &facts.cores, facts.settings.value(directive::REPL_BACKLOG_SIZE));
    fields.memory("used_memory", memory.allocated);
    fields.memory("used_memory_rss", process.resident_bytes);
    fields.memory("used_memory_peak", memory.peak);
    fields.field("used_memory_peak_perc", format_args!("{:.2}%", memory.peak_percent()));
    fields.field("used_memory_overhead", memory.overhead());
    fields.field("used_memory_startup", memory.startup);
    fields.field("used_memory_dataset", memory.dataset);
    fields.field("used_memory_dataset_perc", format_args!("{:.2}%", memory.dataset_percent()));
    fields.field("allocator_allocated", process.allocated_bytes);
    fields.field("allocator_active", process.active_bytes);
    fields.field("allocator_resident", process.allocator_resident_bytes);
    fields.memory("total_system_memory", process.system_bytes);
    scripts(fields);
    fields.memory("maxmemory", facts.settings.value(directive::MAXMEMORY));
    fields.field("maxmemory_policy", facts.settings.value(directive::MAXMEMORY_POLICY));
    for (ratio_name, bytes_name, excess) in [
        ("allocator_frag_ratio", "allocator_frag_bytes", memory.inside),
        ("allocator_rss_ratio", "allocator_rss_bytes", memory.pages),
        ("rss_overhead_ratio", "rss_overhead_bytes", memory.beside),
        ("mem_fragmentation_ratio", "mem_fragmentation_bytes", memory.total),
    ] {
        fields.field(ratio_name, format_args!("{:.2}", excess.ratio));
        fields.field(bytes_name, excess.bytes);
    }
    fields.fields(&[("mem_not_counted_for_evict", "0")]);
    fields.field("mem_replication_backlog", memory.backlog);
    fields.field("mem_total_replication_buffers", memory.streams);
    fields.field("mem_clients_slaves", memory.streams - memory.backlog);
    fields.field("mem_clients_normal", memory.clients);
    fields.fields(&[("mem_cluster_links", "0")]);
    fields.field("mem_aof_buffer", facts.node.persistence().log.buffer_bytes);
    fields.fields(&[("mem_allocator", "jemalloc"), ("active_defrag_running", "0")]);
    fields.field("lazyfree_pending_objects", facts.total(|core| core.buried.0));
    fields.field("lazyfreed_objects", facts.total(|core| core.buried.1));
}

/// There are no scripts and no functions.
fn scripts(fields: &mut Fields) {
    fields.fields(&[("used_memory_lua", "0"), ("used_memory_vm_eval", "0")]);
    fields.field("used_memory_lua_human", Human(0));
    fields.fields(&[
        ("used_memory_scripts_eval", "0"),
        ("number_of_cached_scripts", "0"),
        ("number_of_functions", "0"),
        ("number_of_libraries", "0"),
        ("used_memory_vm_functions", "0"),
    ]);
    fields.memory("used_memory_vm_total", 0);
    fields.field("used_memory_functions", 0);
    fields.memory("used_memory_scripts", 0);
}
