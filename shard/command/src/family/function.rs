//! Rows of FUNCTION. There are no libraries yet, so that it only speaks of an empty set of them.

use crate::{Categories, Doc, DocArg, DocKind, Flags, Group, NodeCommand, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};

const SCRIPTING: Categories = Categories::SCRIPTING;
const PLAIN: Flags = Flags::NOSCRIPT;
const WRITE: Flags = PLAIN.union(Flags::WRITE);
const BUSY: Flags = PLAIN.union(Flags::ALLOW_BUSY);
const EVERY_SHARD: Tips = Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded);

pub(crate) static ROWS: &[Spec] = &[Spec::new(
    "function",
    -2,
    Flags::empty(),
    Categories::empty(),
    Reach::Container,
    doc("Depends on subcommand.", "Groups the commands about libraries of functions."),
)
.subcommands(&[
    Spec::new("function|delete", 3, WRITE, SCRIPTING, Reach::Node(NodeCommand::FunctionDelete), DELETE)
        .tips(EVERY_SHARD),
    Spec::new("function|dump", 2, PLAIN, SCRIPTING, Reach::Node(NodeCommand::FunctionDump), DUMP),
    Spec::new("function|flush", -2, WRITE, SCRIPTING, Reach::Node(NodeCommand::FunctionFlush), FLUSH).tips(EVERY_SHARD),
    Spec::new(
        "function|help",
        2,
        Flags::LOADING.union(Flags::STALE),
        SCRIPTING,
        Reach::Node(NodeCommand::FunctionHelp),
        HELP,
    ),
    Spec::new("function|kill", 2, BUSY, SCRIPTING, Reach::Node(NodeCommand::FunctionKill), KILL)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::OneSucceeded)),
    Spec::new("function|list", -2, PLAIN, SCRIPTING, Reach::Node(NodeCommand::FunctionList), LIST)
        .tips(Tips::NONE.nondeterministic_order()),
    Spec::new(
        "function|restore",
        -3,
        WRITE.union(Flags::DENYOOM),
        SCRIPTING,
        Reach::Node(NodeCommand::FunctionRestore),
        RESTORE,
    )
    .tips(EVERY_SHARD),
    Spec::new("function|stats", 2, BUSY, SCRIPTING, Reach::Node(NodeCommand::FunctionStats), STATS)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::Special).nondeterministic()),
])];

const fn doc(complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Scripting, "7.0.0", complexity, summary)
}

const DELETE: Doc =
    doc("O(1)", "Removes a library with its functions.").arguments(&[DocArg::new("library-name", DocKind::String)]);

const DUMP: Doc = doc("O(N) for N functions", "Prints all libraries in the form that RESTORE takes.");

const FLUSH: Doc = doc("O(N) for N functions", "Removes all libraries.").arguments(&[DocArg::one_of(
    "flush-type",
    &[DocArg::word("async", "ASYNC"), DocArg::word("sync", "SYNC")],
)
.optional()]);

const HELP: Doc = doc("O(1)", "Tells about the subcommands.");

const KILL: Doc = doc("O(1)", "Ends the function that is running.");

const LIST: Doc = doc("O(N) for N functions", "Describes all libraries.").arguments(&[
    DocArg::new("library-name-pattern", DocKind::String).token("LIBRARYNAME").optional(),
    DocArg::word("withcode", "WITHCODE").optional(),
]);

const RESTORE: Doc = doc("O(N) for N functions", "Takes libraries that DUMP has printed.").arguments(&[
    DocArg::new("serialized-value", DocKind::String),
    DocArg::one_of(
        "policy",
        &[DocArg::word("flush", "FLUSH"), DocArg::word("append", "APPEND"), DocArg::word("replace", "REPLACE")],
    )
    .optional(),
]);

const STATS: Doc = doc("O(1)", "Tells which function is running, and how many there are.");
