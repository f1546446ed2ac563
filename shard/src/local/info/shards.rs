//! `# Shards` and `# Io`: what only we have. One line for each shard and for each core.

use super::{Facts, Fields, Seconds};

pub(super) fn shards(facts: &Facts<'_>, fields: &mut Fields) {
    let with_shard = || facts.cores.iter().enumerate().filter_map(|(index, core)| Some((index, core, core.slots?)));
    fields.field("shards", with_shard().count());
    for (index, core, (first, last)) in with_shard() {
        let keys: u64 = core.dbs.iter().map(|db| db.keys).sum();
        let line = format!(
            "core={index},slots={first}-{last},keys={keys},bytes={},hits={},misses={},expired={}",
            core.keyspace_bytes, core.hits, core.misses, core.expired
        );
        fields.field(format_args!("shard{index}"), line);
    }
}

pub(super) fn io(facts: &Facts<'_>, fields: &mut Fields) {
    fields.field("io_backend", facts.process.io_backend);
    fields.field("cores", facts.cores.len());
    for (index, core) in facts.cores.iter().enumerate() {
        let cpu = core.cpu.map_or("any".to_owned(), |cpu| cpu.to_string());
        let line = format!(
            "cpu={cpu},clients={},commands={},turns={},enters={},buffers_exhausted={},hops_out={},hops_in={},wakes={},cpu_seconds={}",
            core.clients,
            core.commands,
            core.turns,
            core.enters,
            core.buffers_exhausted,
            core.hops_out,
            core.hops_in,
            core.wakes,
            Seconds(core.cpu_micros)
        );
        fields.field(format_args!("core{index}"), line);
    }
}
