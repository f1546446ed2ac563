//! Rows of the commands that act on the node or the process: COMMAND, CONFIG, INFO, TIME.

use crate::{Categories, Doc, DocArg, DocKind, Flags, Group, NodeCommand, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};

const CONNECTION: Categories = Categories::CONNECTION;
const NO_CATEGORY: Categories = Categories::empty();
/// At any time, also while data are being loaded or are stale.
const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
const ADMIN: Flags = ANY_TIME.union(Flags::ADMIN).union(Flags::NOSCRIPT);
const ANY_ORDER: Tips = Tips::NONE.nondeterministic_order();
const EVERY_NODE: Tips = Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded);

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("command", -1, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::Command), COMMAND)
        .tips(ANY_ORDER)
        .subcommands(COMMAND_ROWS),
    Spec::new("config", -2, Flags::empty(), NO_CATEGORY, Reach::Container, CONFIG).subcommands(CONFIG_ROWS),
    Spec::new("debug", -2, ADMIN, NO_CATEGORY, Reach::Node(NodeCommand::Debug), DEBUG),
    Spec::new("info", -1, ANY_TIME, Categories::DANGEROUS, Reach::Node(NodeCommand::Info), INFO)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::Special).nondeterministic()),
    Spec::new("time", 1, ANY_TIME.union(Flags::FAST), NO_CATEGORY, Reach::Node(NodeCommand::Time), TIME)
        .tips(Tips::NONE.nondeterministic()),
];

static COMMAND_ROWS: &[Spec] = &[
    Spec::new("command|count", 2, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::CommandCount), COUNT),
    Spec::new("command|docs", -2, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::CommandDocs), DOCS).tips(ANY_ORDER),
    Spec::new("command|getkeys", -3, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::CommandGetKeys), GETKEYS),
    Spec::new(
        "command|getkeysandflags",
        -3,
        ANY_TIME,
        CONNECTION,
        Reach::Node(NodeCommand::CommandGetKeysAndFlags),
        GETKEYSANDFLAGS,
    ),
    Spec::new("command|help", 2, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::CommandHelp), HELP),
    Spec::new("command|info", -2, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::CommandInfo), COMMAND_INFO)
        .tips(ANY_ORDER),
    Spec::new("command|list", -2, ANY_TIME, CONNECTION, Reach::Node(NodeCommand::CommandList), LIST).tips(ANY_ORDER),
];

static CONFIG_ROWS: &[Spec] = &[
    Spec::new("config|get", -3, ADMIN, NO_CATEGORY, Reach::Node(NodeCommand::ConfigGet), CONFIG_GET),
    Spec::new("config|help", 2, ANY_TIME, NO_CATEGORY, Reach::Node(NodeCommand::ConfigHelp), HELP),
    Spec::new("config|resetstat", 2, ADMIN, NO_CATEGORY, Reach::Node(NodeCommand::ConfigResetStat), RESETSTAT)
        .tips(EVERY_NODE),
    Spec::new("config|rewrite", 2, ADMIN, NO_CATEGORY, Reach::Node(NodeCommand::ConfigRewrite), REWRITE)
        .tips(EVERY_NODE),
    Spec::new("config|set", -4, ADMIN, NO_CATEGORY, Reach::Node(NodeCommand::ConfigSet), CONFIG_SET).tips(EVERY_NODE),
];

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Server, since, complexity, summary)
}

const COMMAND: Doc = doc("2.8.13", "O(N) for N commands", "Describes all commands.");

const DEBUG: Doc = doc("1.0.0", "Depends on the subcommand", "Drills and looks inside, for developers.").system();

const NAMES: &[DocArg] = &[DocArg::new("command-name", DocKind::String).optional().multiple()];
const REQUEST: &[DocArg] =
    &[DocArg::new("command", DocKind::String), DocArg::new("arg", DocKind::String).optional().multiple()];

const COUNT: Doc = doc("2.8.13", "O(1)", "Tells how many commands there are.");

const DOCS: Doc =
    doc("7.0.0", "O(N) for N commands", "Tells what commands are for and what they take.").arguments(NAMES);

const GETKEYS: Doc = doc("2.8.13", "O(N) for N arguments", "Finds the keys of a whole command.").arguments(REQUEST);

const GETKEYSANDFLAGS: Doc =
    doc("7.0.0", "O(N) for N arguments", "Finds the keys of a whole command and what it does to each.")
        .arguments(REQUEST);

const HELP: Doc = doc("5.0.0", "O(1)", "Tells about the subcommands.");

const COMMAND_INFO: Doc = doc("2.8.13", "O(N) for N commands", "Describes commands: arity, flags, keys, categories.")
    .arguments(NAMES)
    .history(&[("7.0.0", "Describes all commands if none is named.")]);

const LIST: Doc = doc("7.0.0", "O(N) for N commands", "Lists the names of commands.").arguments(&[DocArg::one_of(
    "filterby",
    &[
        DocArg::new("module-name", DocKind::String).token("MODULE"),
        DocArg::new("category", DocKind::String).token("ACLCAT"),
        DocArg::new("pattern", DocKind::Pattern).token("PATTERN"),
    ],
)
.token("FILTERBY")
.optional()]);

const CONFIG: Doc = doc("2.0.0", "Depends on subcommand.", "Groups the commands about the server's settings.");

const CONFIG_GET: Doc = doc("2.0.0", "O(N) for N patterns", "Tells the settings whose names fit a pattern.")
    .arguments(&[DocArg::new("parameter", DocKind::String).multiple()])
    .history(&[("7.0.0", "Takes several patterns.")]);

const RESETSTAT: Doc = doc("2.0.0", "O(1)", "Sets the counters of INFO to zero.");

const REWRITE: Doc = doc("2.8.0", "O(1)", "Writes the settings in force into the configuration file.");

const CONFIG_SET: Doc = doc("2.0.0", "O(N) for N settings", "Changes settings at once.")
    .arguments(&[DocArg::block(
        "data",
        &[DocArg::new("parameter", DocKind::String), DocArg::new("value", DocKind::String)],
    )
    .multiple()])
    .history(&[("7.0.0", "Changes several settings, all or none.")]);

const INFO: Doc = doc("1.0.0", "O(1)", "Tells facts and figures about the server.")
    .arguments(&[DocArg::new("section", DocKind::String).multiple().optional()])
    .history(&[("7.0.0", "Takes several sections.")]);

const TIME: Doc = doc("2.6.0", "O(1)", "Tells the server's time.");
