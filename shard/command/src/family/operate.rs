//! Rows of the commands that end the process, save its data, and make it one of several: SHUTDOWN, SAVE, REPLICAOF …

use crate::NodeCommand as Node;
use crate::{Categories, Doc, DocArg, DocKind, Flags, Group, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};

const NO_CATEGORY: Categories = Categories::empty();
const OPERATOR: Categories = Categories::ADMIN.union(Categories::DANGEROUS);
const ADMIN: Flags = Flags::ADMIN.union(Flags::NOSCRIPT);
const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
/// Not while data are being loaded beside those that are served.
const SAVING: Flags = ADMIN.union(Flags::NO_ASYNC_LOADING);
const EVERY_SHARD: Tips = Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AggMin);

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("bgrewriteaof", 1, SAVING, NO_CATEGORY, Reach::Node(Node::BgRewriteAof), BGREWRITEAOF),
    Spec::new("bgsave", -1, SAVING, NO_CATEGORY, Reach::Node(Node::BgSave), BGSAVE),
    Spec::new("failover", -1, ADMIN.union(Flags::STALE), NO_CATEGORY, Reach::Node(Node::Failover), FAILOVER),
    Spec::new("lastsave", 1, ANY_TIME.union(Flags::FAST), OPERATOR, Reach::Node(Node::LastSave), LASTSAVE)
        .tips(Tips::NONE.nondeterministic()),
    Spec::new("lolwut", -1, Flags::READONLY.union(Flags::FAST), NO_CATEGORY, Reach::Node(Node::Lolwut), LOLWUT),
    Spec::new("monitor", 1, ADMIN.union(ANY_TIME), NO_CATEGORY, Reach::Node(Node::Monitor), MONITOR),
    Spec::new("psync", -3, SAVING.union(Flags::NO_MULTI), NO_CATEGORY, Reach::Node(Node::Sync), PSYNC),
    Spec::new(
        "replconf",
        -1,
        ADMIN.union(ANY_TIME).union(Flags::ALLOW_BUSY),
        NO_CATEGORY,
        Reach::Node(Node::ReplConf),
        REPLCONF,
    ),
    Spec::new("replicaof", 3, SAVING.union(Flags::STALE), NO_CATEGORY, Reach::Node(Node::ReplicaOf), REPLICAOF),
    Spec::new("role", 1, ANY_TIME.union(Flags::NOSCRIPT).union(Flags::FAST), OPERATOR, Reach::Node(Node::Role), ROLE),
    Spec::new("save", 1, SAVING.union(Flags::NO_MULTI), NO_CATEGORY, Reach::Node(Node::Save), SAVE),
    Spec::new(
        "shutdown",
        -1,
        ADMIN.union(ANY_TIME).union(Flags::NO_MULTI).union(Flags::ALLOW_BUSY),
        NO_CATEGORY,
        Reach::Node(Node::Shutdown),
        SHUTDOWN,
    ),
    Spec::new("slaveof", 3, SAVING.union(Flags::STALE), NO_CATEGORY, Reach::Node(Node::ReplicaOf), SLAVEOF),
    Spec::new("sync", 1, SAVING.union(Flags::NO_MULTI), NO_CATEGORY, Reach::Node(Node::Sync), SYNC),
    Spec::new("wait", 3, Flags::empty(), Categories::CONNECTION, Reach::Node(Node::Wait), WAIT).tips(EVERY_SHARD),
    Spec::new("waitaof", 4, Flags::NOSCRIPT, Categories::CONNECTION, Reach::Node(Node::WaitAof), WAITAOF)
        .tips(EVERY_SHARD),
];

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Server, since, complexity, summary)
}

const MONITOR: Doc = doc("1.0.0", "O(1)", "Shows the client all commands as they are run.");

const BGREWRITEAOF: Doc = doc("1.0.0", "O(1)", "Begins to write the append-only file anew.");

const BGSAVE: Doc = doc("1.0.0", "O(1)", "Begins to save the data into a file.")
    .arguments(&[DocArg::word("schedule", "SCHEDULE").optional().since("3.2.2")])
    .history(&[("3.2.2", "Takes `SCHEDULE`.")]);

const FAILOVER: Doc = doc("6.2.0", "O(1)", "Has a replica take over.").arguments(&[
    DocArg::block(
        "target",
        &[
            DocArg::new("host", DocKind::String),
            DocArg::new("port", DocKind::Integer),
            DocArg::word("force", "FORCE").optional(),
        ],
    )
    .token("TO")
    .optional(),
    DocArg::word("abort", "ABORT").optional(),
    DocArg::new("milliseconds", DocKind::Integer).token("TIMEOUT").optional(),
]);

const LASTSAVE: Doc = doc("1.0.0", "O(1)", "Tells when data were last saved.");

const LOLWUT: Doc = doc("5.0.0", "O(1)", "Draws something, and tells the version.").arguments(&[DocArg::new(
    "version",
    DocKind::Integer,
)
.token("VERSION")
.optional()]);

const PSYNC: Doc = doc("2.8.0", "O(N) for N keys", "Makes the connection that of a replica.")
    .arguments(&[DocArg::new("replicationid", DocKind::String), DocArg::new("offset", DocKind::Integer)]);

const REPLCONF: Doc = doc("3.0.0", "O(1)", "Tells what a replica is and has.").system();

const MASTER: &[DocArg] = &[DocArg::one_of(
    "args",
    &[
        DocArg::block("host-port", &[DocArg::new("host", DocKind::String), DocArg::new("port", DocKind::Integer)]),
        DocArg::block("no-one", &[DocArg::word("no", "NO"), DocArg::word("one", "ONE")]),
    ],
)];

const REPLICAOF: Doc = doc("5.0.0", "O(1)", "Makes the server a replica, or a master.").arguments(MASTER);

const ROLE: Doc = doc("2.8.12", "O(1)", "Tells whether the server is a master or a replica, and of whom.");

const SAVE: Doc = doc("1.0.0", "O(N) for N keys", "Saves the data into a file.");

const SHUTDOWN: Doc = doc("1.0.0", "O(1), or O(N) for N keys if they are saved", "Ends the server.")
    .arguments(&[
        DocArg::one_of("save-selector", &[DocArg::word("nosave", "NOSAVE"), DocArg::word("save", "SAVE")]).optional(),
        DocArg::word("now", "NOW").optional().since("7.0.0"),
        DocArg::word("force", "FORCE").optional().since("7.0.0"),
        DocArg::word("abort", "ABORT").optional().since("7.0.0"),
    ])
    .history(&[("7.0.0", "Takes `NOW`, `FORCE` and `ABORT`.")]);

const SLAVEOF: Doc = doc("1.0.0", "O(1)", "Makes the server a replica, or a master.")
    .arguments(MASTER)
    .deprecated("5.0.0", "`REPLICAOF`");

const SYNC: Doc = doc("1.0.0", "O(N) for N keys", "Makes the connection that of a replica.");

const WAIT: Doc = Doc::new(Group::Generic, "3.0.0", "O(1)", "Waits until replicas have what the connection wrote.")
    .arguments(&[DocArg::new("numreplicas", DocKind::Integer), DocArg::new("timeout", DocKind::Integer)]);

const WAITAOF: Doc = Doc::new(Group::Generic, "7.2.0", "O(1)", "Waits until disks have what the connection wrote.")
    .arguments(&[
        DocArg::new("numlocal", DocKind::Integer),
        DocArg::new("numreplicas", DocKind::Integer),
        DocArg::new("timeout", DocKind::Integer),
    ]);
