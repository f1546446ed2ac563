//! Rows of the commands that act on a connection, and CLIENT.

use crate::ConnectionCommand as Connection;
use crate::{Categories, Doc, DocArg, DocKind, Flags, Group, NodeCommand, Reach, Spec, Tips};
use crate::{RequestPolicy, ResponsePolicy};

const CONNECTION: Categories = Categories::CONNECTION;
/// At any time, also while data are being loaded or are stale.
const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
const ANY_TIME_FAST: Flags = ANY_TIME.union(Flags::FAST);
/// Also for clients that have not authenticated, and while a script runs.
const HANDSHAKE: Flags = ANY_TIME_FAST.union(Flags::NOSCRIPT).union(Flags::NO_AUTH).union(Flags::ALLOW_BUSY);
const CLIENT_FLAGS: Flags = ANY_TIME.union(Flags::NOSCRIPT);
const EVERY_NODE: Tips = Tips::policies(RequestPolicy::AllNodes, ResponsePolicy::AllSucceeded);

pub(crate) static ROWS: &[Spec] = &[
    Spec::new("auth", -2, HANDSHAKE, CONNECTION, Reach::Connection(Connection::Auth), AUTH),
    Spec::new("client", -2, Flags::empty(), Categories::empty(), Reach::Container, CLIENT).subcommands(CLIENT_ROWS),
    Spec::new("echo", 2, ANY_TIME_FAST, CONNECTION, Reach::Connection(Connection::Echo), ECHO),
    Spec::new("hello", -1, HANDSHAKE, CONNECTION, Reach::Connection(Connection::Hello), HELLO),
    Spec::new("ping", -1, Flags::FAST, CONNECTION, Reach::Connection(Connection::Ping), PING)
        .tips(Tips::policies(RequestPolicy::AllShards, ResponsePolicy::AllSucceeded)),
    Spec::new("quit", -1, HANDSHAKE, CONNECTION, Reach::Connection(Connection::Quit), QUIT),
    Spec::new("reset", 1, HANDSHAKE, CONNECTION, Reach::Connection(Connection::Reset), RESET),
    Spec::new("select", 2, ANY_TIME_FAST, CONNECTION, Reach::Connection(Connection::Select), SELECT),
];

static CLIENT_ROWS: &[Spec] = &[
    Spec::new("client|getname", 2, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientGetName), GETNAME),
    Spec::new("client|help", 2, ANY_TIME, CONNECTION, Reach::Connection(Connection::ClientHelp), HELP),
    Spec::new("client|id", 2, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientId), ID),
    Spec::new("client|info", 2, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientInfo), INFO)
        .tips(Tips::NONE.nondeterministic()),
    Spec::new(
        "client|list",
        -2,
        CLIENT_FLAGS.union(Flags::ADMIN),
        CONNECTION,
        Reach::Node(NodeCommand::ClientList),
        LIST,
    )
    .tips(Tips::NONE.nondeterministic()),
    Spec::new("client|setinfo", 4, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientSetInfo), SETINFO)
        .tips(EVERY_NODE),
    Spec::new("client|setname", 3, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientSetName), SETNAME)
        .tips(EVERY_NODE),
    Spec::new(
        "client|unblock",
        -3,
        CLIENT_FLAGS.union(Flags::ADMIN),
        CONNECTION,
        Reach::Node(NodeCommand::ClientUnblock),
        UNBLOCK,
    ),
    Spec::new("client|caching", 3, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientCaching), CACHING),
    Spec::new("client|getredir", 2, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientGetRedir), GETREDIR),
    Spec::new(
        "client|kill",
        -3,
        CLIENT_FLAGS.union(Flags::ADMIN),
        CONNECTION,
        Reach::Node(NodeCommand::ClientKill),
        KILL,
    ),
    Spec::new(
        "client|no-evict",
        3,
        CLIENT_FLAGS.union(Flags::ADMIN),
        CONNECTION,
        Reach::Connection(Connection::ClientNoEvict),
        NO_EVICT,
    ),
    Spec::new("client|no-touch", 3, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientNoTouch), NO_TOUCH),
    Spec::new(
        "client|pause",
        -3,
        CLIENT_FLAGS.union(Flags::ADMIN),
        CONNECTION,
        Reach::Node(NodeCommand::ClientPause),
        PAUSE,
    ),
    Spec::new("client|reply", 3, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientReply), REPLY),
    Spec::new("client|tracking", -3, CLIENT_FLAGS, CONNECTION, Reach::Connection(Connection::ClientTracking), TRACKING),
    Spec::new(
        "client|trackinginfo",
        2,
        CLIENT_FLAGS,
        CONNECTION,
        Reach::Connection(Connection::ClientTrackingInfo),
        TRACKINGINFO,
    ),
    Spec::new(
        "client|unpause",
        2,
        CLIENT_FLAGS.union(Flags::ADMIN),
        CONNECTION,
        Reach::Node(NodeCommand::ClientUnpause),
        UNPAUSE,
    ),
];

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Connection, since, complexity, summary)
}

const fn word(name: &'static str) -> DocArg {
    DocArg::word(name, name)
}

const AUTH: Doc = doc("1.0.0", "O(N) for N passwords of the user", "Proves who the client is.")
    .arguments(&[
        DocArg::new("username", DocKind::String).optional().since("6.0.0"),
        DocArg::new("password", DocKind::String),
    ])
    .history(&[("6.0.0", "Takes a username.")]);

const CLIENT: Doc = doc("2.4.0", "Depends on subcommand.", "Groups the commands about connections of clients.");

const ECHO: Doc =
    doc("1.0.0", "O(1)", "Answers with its argument.").arguments(&[DocArg::new("message", DocKind::String)]);

const HELLO: Doc = doc("6.0.0", "O(1)", "Chooses the protocol's version and tells about the server.")
    .arguments(&[DocArg::block(
        "arguments",
        &[
            DocArg::new("protover", DocKind::Integer),
            DocArg::block(
                "auth",
                &[DocArg::new("username", DocKind::String), DocArg::new("password", DocKind::String)],
            )
            .token("AUTH")
            .optional(),
            DocArg::new("clientname", DocKind::String).token("SETNAME").optional(),
        ],
    )
    .optional()])
    .history(&[("6.2.0", "`protover` may be left out; then nothing is changed.")]);

const PING: Doc = doc("1.0.0", "O(1)", "Answers, to show that the server lives.").arguments(&[DocArg::new(
    "message",
    DocKind::String,
)
.optional()]);

const QUIT: Doc = doc("1.0.0", "O(1)", "Closes the connection.").deprecated("7.2.0", "just closing the connection");

const RESET: Doc = doc("6.2.0", "O(1)", "Puts the connection back to how it began.");

const SELECT: Doc = doc("1.0.0", "O(1)", "Chooses the database that later commands work on.")
    .arguments(&[DocArg::new("index", DocKind::Integer)]);

const GETNAME: Doc = doc("2.6.9", "O(1)", "Tells the name of the connection.");

const HELP: Doc = doc("5.0.0", "O(1)", "Tells about the subcommands.");

const ID: Doc = doc("5.0.0", "O(1)", "Tells the number of the connection.");

const INFO: Doc = doc("6.2.0", "O(1)", "Describes the connection.");

const LIST: Doc = doc("2.4.0", "O(N) for N connections", "Describes all connections.")
    .arguments(&[
        DocArg::one_of("client-type", &[word("normal"), word("master"), word("replica"), word("pubsub")])
            .token("TYPE")
            .optional()
            .since("5.0.0"),
        DocArg::new("client-id", DocKind::Integer).token("ID").optional().multiple().since("6.2.0"),
    ])
    .history(&[
        ("2.8.12", "New field `id`."),
        ("5.0.0", "New option `TYPE`."),
        ("6.0.0", "New field `user`."),
        ("6.2.0", "New fields `argv-mem`, `tot-mem`, `laddr`, `redir`, new option `ID`."),
        ("7.0.0", "New fields `resp`, `multi-mem`, `rbs`, `rbp`."),
        ("7.0.3", "New field `ssub`."),
    ]);

const SETINFO: Doc =
    doc("7.2.0", "O(1)", "Tells the server which library the client uses.").arguments(&[DocArg::one_of(
        "attr",
        &[
            DocArg::new("libname", DocKind::String).token("lib-name"),
            DocArg::new("libver", DocKind::String).token("lib-ver"),
        ],
    )]);

const SETNAME: Doc =
    doc("2.6.9", "O(1)", "Gives the connection a name.").arguments(&[DocArg::new("connection-name", DocKind::String)]);

const UNBLOCK: Doc =
    doc("5.0.0", "O(log N) for N connections", "Ends the waiting of another client's blocking command.").arguments(&[
        DocArg::new("client-id", DocKind::Integer),
        DocArg::one_of("unblock-type", &[DocArg::word("timeout", "TIMEOUT"), DocArg::word("error", "ERROR")])
            .optional(),
    ]);

const CACHING: Doc = doc("6.0.0", "O(1)", "Says whether the keys of the next command are tracked.")
    .arguments(&[DocArg::one_of("mode", &[DocArg::word("yes", "YES"), DocArg::word("no", "NO")])]);

const GETREDIR: Doc = doc("6.0.0", "O(1)", "Tells the client that gets the connection's invalidations.");

const KILL: Doc = doc("2.4.0", "O(N) for N connections", "Closes connections.")
    .arguments(&[DocArg::one_of(
        "filter",
        &[DocArg::new("old-format", DocKind::String), DocArg::one_of("new-format", KILL_FILTERS).multiple()],
    )])
    .history(&[
        ("2.8.12", "New form, with filters; `ID`."),
        ("3.2.0", "`master` as a type."),
        ("5.0.0", "`replica` as a type, beside `slave`."),
        ("6.2.0", "`LADDR`."),
    ]);

const KILL_FILTERS: &[DocArg] = &[
    DocArg::new("client-id", DocKind::Integer).token("ID").optional().since("2.8.12"),
    DocArg::one_of(
        "client-type",
        &[word("normal"), word("master").since("3.2.0"), word("slave"), word("replica").since("5.0.0"), word("pubsub")],
    )
    .token("TYPE")
    .optional()
    .since("2.8.12"),
    DocArg::new("username", DocKind::String).token("USER").optional(),
    DocArg::new("addr", DocKind::String).token("ADDR").optional(),
    DocArg::new("laddr", DocKind::String).token("LADDR").optional().since("6.2.0"),
    DocArg::one_of("skipme", &[DocArg::word("yes", "YES"), DocArg::word("no", "NO")]).token("SKIPME").optional(),
];

const ON_OR_OFF: &[DocArg] = &[DocArg::word("on", "ON"), DocArg::word("off", "OFF")];

const NO_EVICT: Doc = doc("7.0.0", "O(1)", "Says whether the connection may be closed to save memory.")
    .arguments(&[DocArg::one_of("enabled", ON_OR_OFF)]);

const NO_TOUCH: Doc = doc("7.2.0", "O(1)", "Says whether the connection's reads count as uses of keys.")
    .arguments(&[DocArg::one_of("enabled", ON_OR_OFF)]);

const PAUSE: Doc = doc("3.0.0", "O(1)", "Has commands of all connections wait for a while.")
    .arguments(&[
        DocArg::new("timeout", DocKind::Integer),
        DocArg::one_of("mode", &[DocArg::word("write", "WRITE"), DocArg::word("all", "ALL")]).optional().since("6.2.0"),
    ])
    .history(&[("6.2.0", "`WRITE` lets reads through.")]);

const REPLY: Doc = doc("3.2.0", "O(1)", "Says whether the connection gets replies.").arguments(&[DocArg::one_of(
    "action",
    &[DocArg::word("on", "ON"), DocArg::word("off", "OFF"), DocArg::word("skip", "SKIP")],
)]);

const TRACKING: Doc = doc("6.0.0", "O(1), more with some options", "Says whether the connection hears of changes.")
    .arguments(&[
        DocArg::one_of("status", ON_OR_OFF),
        DocArg::new("client-id", DocKind::Integer).token("REDIRECT").optional(),
        DocArg::new("prefix", DocKind::String).token("PREFIX").optional().multiple().multiple_token(),
        DocArg::word("bcast", "BCAST").optional(),
        DocArg::word("optin", "OPTIN").optional(),
        DocArg::word("optout", "OPTOUT").optional(),
        DocArg::word("noloop", "NOLOOP").optional(),
    ]);

const TRACKINGINFO: Doc = doc("6.2.0", "O(1)", "Tells how the connection is tracked.");

const UNPAUSE: Doc = doc("6.2.0", "O(N) for N paused connections", "Ends a pause.");
