//! Rows of the commands that tell how the process fares: LATENCY, SLOWLOG.

use crate::{Categories, Doc, DocArg, DocKind, Flags, Group, NodeCommand, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};

const NO_CATEGORY: Categories = Categories::empty();
/// At any time, also while data are being loaded or are stale.
const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
const SLOWLOG_FLAGS: Flags = ANY_TIME.union(Flags::ADMIN);
const LATENCY_FLAGS: Flags = SLOWLOG_FLAGS.union(Flags::NOSCRIPT);
const EACH_NODE: Tips = Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::Special).nondeterministic();

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("latency", -2, Flags::empty(), NO_CATEGORY, Reach::Container, LATENCY).subcommands(LATENCY_ROWS),
    Spec::new("slowlog", -2, Flags::empty(), NO_CATEGORY, Reach::Container, SLOWLOG).subcommands(SLOWLOG_ROWS),
];

static LATENCY_ROWS: &[Spec] = &[
    latency("latency|doctor", 2, NodeCommand::LatencyDoctor, DOCTOR),
    latency("latency|graph", 3, NodeCommand::LatencyGraph, GRAPH),
    Spec::new("latency|help", 2, ANY_TIME, NO_CATEGORY, Reach::Node(NodeCommand::LatencyHelp), LATENCY_HELP),
    latency("latency|histogram", -2, NodeCommand::LatencyHistogram, HISTOGRAM),
    latency("latency|history", 3, NodeCommand::LatencyHistory, HISTORY),
    latency("latency|latest", 2, NodeCommand::LatencyLatest, LATEST),
    latency("latency|reset", -2, NodeCommand::LatencyReset, LATENCY_RESET)
        .tips(Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::AggSum)),
];

static SLOWLOG_ROWS: &[Spec] = &[
    Spec::new("slowlog|get", -2, SLOWLOG_FLAGS, NO_CATEGORY, Reach::Node(NodeCommand::SlowlogGet), GET)
        .tips(Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::Default).nondeterministic()),
    Spec::new("slowlog|help", 2, ANY_TIME, NO_CATEGORY, Reach::Node(NodeCommand::SlowlogHelp), SLOWLOG_HELP),
    Spec::new("slowlog|len", 2, SLOWLOG_FLAGS, NO_CATEGORY, Reach::Node(NodeCommand::SlowlogLen), LEN)
        .tips(Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::AggSum).nondeterministic()),
    Spec::new("slowlog|reset", 2, SLOWLOG_FLAGS, NO_CATEGORY, Reach::Node(NodeCommand::SlowlogReset), SLOWLOG_RESET)
        .tips(Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded)),
];

const fn latency(name: &'static str, arity: i32, command: NodeCommand, doc: Doc) -> Spec {
    Spec::new(name, arity, LATENCY_FLAGS, NO_CATEGORY, Reach::Node(command), doc).tips(EACH_NODE)
}

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Server, since, complexity, summary)
}

const EVENT: DocArg = DocArg::new("event", DocKind::String);

const LATENCY: Doc = doc("2.8.13", "Depends on subcommand.", "Groups the commands about what took long.");

const DOCTOR: Doc = doc("2.8.13", "O(1)", "Tells people what took long and what may help.");

const GRAPH: Doc = doc("2.8.13", "O(1)", "Draws the times of an event.").arguments(&[EVENT]);

const LATENCY_HELP: Doc = doc("2.8.13", "O(1)", "Tells about the subcommands.");

const HISTOGRAM: Doc = doc("7.0.0", "O(N) for N commands that were timed", "Tells how long commands take.")
    .arguments(&[DocArg::new("COMMAND", DocKind::String).optional().multiple()]);

const HISTORY: Doc = doc("2.8.13", "O(1)", "Lists the times of an event.").arguments(&[EVENT]);

const LATEST: Doc = doc("2.8.13", "O(1)", "Lists the last time of each event.");

const LATENCY_RESET: Doc =
    doc("2.8.13", "O(1)", "Forgets the times of events, or of all.").arguments(&[EVENT.optional().multiple()]);

const SLOWLOG: Doc = doc("2.2.12", "Depends on subcommand.", "Groups the commands about the log of slow commands.");

const GET: Doc = doc("2.2.12", "O(N) for N entries", "Lists the last slow commands.")
    .arguments(&[DocArg::new("count", DocKind::Integer).optional()])
    .history(&[("4.0.0", "Tells the client's address and name.")]);

const SLOWLOG_HELP: Doc = doc("6.2.0", "O(1)", "Tells about the subcommands.");

const LEN: Doc = doc("2.2.12", "O(1)", "Tells how many slow commands are logged.");

const SLOWLOG_RESET: Doc = doc("2.2.12", "O(N) for N entries", "Empties the log of slow commands.");
