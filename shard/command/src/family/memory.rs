//! Rows of MEMORY.

mod usage;

use crate::{Categories, Doc, Flags, Group, KeyFlags, KeySpec, NodeCommand, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};

const NO_CATEGORY: Categories = Categories::empty();
const EACH_SHARD: Tips = Tips::policies(RequestPolicy::AllShards, ResponsePolicy::Special).nondeterministic();

pub(crate) static ROWS: &[Spec] =
    &[Spec::new("memory", -2, Flags::empty(), NO_CATEGORY, Reach::Container, MEMORY).subcommands(MEMORY_ROWS)];

static MEMORY_ROWS: &[Spec] = &[
    node("memory|doctor", Flags::empty(), NodeCommand::MemoryDoctor, DOCTOR).tips(EACH_SHARD),
    node("memory|help", Flags::LOADING.union(Flags::STALE), NodeCommand::MemoryHelp, HELP),
    node("memory|malloc-stats", Flags::empty(), NodeCommand::MemoryMallocStats, MALLOC_STATS).tips(EACH_SHARD),
    node("memory|purge", Flags::empty(), NodeCommand::MemoryPurge, PURGE)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded)),
    node("memory|stats", Flags::empty(), NodeCommand::MemoryStats, STATS).tips(EACH_SHARD),
    Spec::new("memory|usage", -3, Flags::READONLY, NO_CATEGORY, Reach::Slot(usage::usage), usage::DOC)
        .keys(&[KeySpec::one_at(2, KeyFlags::RO)]),
];

const fn node(name: &'static str, flags: Flags, command: NodeCommand, doc: Doc) -> Spec {
    Spec::new(name, 2, flags, NO_CATEGORY, Reach::Node(command), doc)
}

const fn doc(complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Server, "4.0.0", complexity, summary)
}

const MEMORY: Doc = doc("Depends on subcommand.", "Groups the commands about memory.");

const DOCTOR: Doc = doc("O(1)", "Tells people what is odd about the memory.");

const HELP: Doc = doc("O(1)", "Tells about the subcommands.");

const MALLOC_STATS: Doc = doc("Depends on how much memory is allocated", "Tells what the allocator counts.");

const PURGE: Doc = doc("Depends on how much memory is allocated", "Gives unused memory back to the system.");

const STATS: Doc = doc("O(1)", "Tells what the memory is used for.");
