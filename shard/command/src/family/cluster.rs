//! Rows of the commands on the cluster, and the handlers of those that look at slots of the shard; the others are carried
//! out in `shard/src/local/cluster.rs`.
//!
//! Mirrors Redis 7.2 `cluster.c` (`clusterCommand`).

use crate::{
    Call, Categories, ConnectionCommand, Doc, DocArg, DocKind, Flags, Group, HandlerResult, NodeCommand, Reach, Spec,
    Tips, parse_integer,
};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_keyspace::Cursor;

const NO_CATEGORY: Categories = Categories::empty();
const STALE: Flags = Flags::STALE;
/// At any time, also while data are being loaded or are stale.
const ANY_TIME: Flags = Flags::LOADING.union(Flags::STALE);
const ADMIN: Flags = Flags::ADMIN.union(Flags::STALE);
/// Changes the cluster.
const ORDER: Flags = ADMIN.union(Flags::NO_ASYNC_LOADING);
const CHANGING: Tips = Tips::NONE.nondeterministic();

pub(crate) static ROWS: &[Spec] = &[
    connection("asking", Flags::FAST, ConnectionCommand::Asking, ASKING),
    Spec::new("cluster", -2, Flags::empty(), NO_CATEGORY, Reach::Container, CLUSTER).subcommands(CLUSTER_ROWS),
    connection("readonly", ANY_TIME.union(Flags::FAST), ConnectionCommand::ReadOnly, READONLY),
    connection("readwrite", ANY_TIME.union(Flags::FAST), ConnectionCommand::ReadWrite, READWRITE),
];

static CLUSTER_ROWS: &[Spec] = &[
    node("cluster|addslots", -3, ORDER, NodeCommand::ClusterAddSlots, ADD_SLOTS),
    node("cluster|addslotsrange", -4, ORDER, NodeCommand::ClusterAddSlotsRange, ADD_SLOTS_RANGE),
    node("cluster|bumpepoch", 2, ORDER, NodeCommand::ClusterBumpEpoch, BUMP_EPOCH).tips(CHANGING),
    node("cluster|count-failure-reports", 3, ADMIN, NodeCommand::ClusterCountFailureReports, FAILURE_REPORTS)
        .tips(CHANGING),
    Spec::new("cluster|countkeysinslot", 3, STALE, NO_CATEGORY, Reach::Shard(count_keys_in_slot), COUNT_KEYS),
    node("cluster|delslots", -3, ORDER, NodeCommand::ClusterDelSlots, DEL_SLOTS),
    node("cluster|delslotsrange", -4, ORDER, NodeCommand::ClusterDelSlotsRange, DEL_SLOTS_RANGE),
    node("cluster|failover", -2, ORDER, NodeCommand::ClusterFailover, FAILOVER),
    node("cluster|flushslots", 2, ORDER, NodeCommand::ClusterFlushSlots, FLUSH_SLOTS),
    node("cluster|forget", 3, ORDER, NodeCommand::ClusterForget, FORGET),
    Spec::new("cluster|getkeysinslot", 4, STALE, NO_CATEGORY, Reach::Shard(get_keys_in_slot), GET_KEYS).tips(CHANGING),
    node("cluster|help", 2, ANY_TIME, NodeCommand::ClusterHelp, HELP),
    node("cluster|info", 2, STALE, NodeCommand::ClusterInfo, INFO).tips(CHANGING),
    node("cluster|keyslot", 3, STALE, NodeCommand::ClusterKeySlot, KEYSLOT),
    node("cluster|links", 2, STALE, NodeCommand::ClusterLinks, LINKS).tips(CHANGING),
    node("cluster|meet", -4, ORDER, NodeCommand::ClusterMeet, MEET),
    node("cluster|myid", 2, STALE, NodeCommand::ClusterMyId, MYID),
    node("cluster|myshardid", 2, STALE, NodeCommand::ClusterMyShardId, MYSHARDID).tips(CHANGING),
    node("cluster|nodes", 2, STALE, NodeCommand::ClusterNodes, NODES).tips(CHANGING),
    node("cluster|replicas", 3, ADMIN, NodeCommand::ClusterReplicas, REPLICAS).tips(CHANGING),
    node("cluster|replicate", 3, ORDER, NodeCommand::ClusterReplicate, REPLICATE),
    node("cluster|reset", -2, ADMIN.union(Flags::NOSCRIPT), NodeCommand::ClusterReset, RESET),
    node("cluster|saveconfig", 2, ORDER, NodeCommand::ClusterSaveConfig, SAVE_CONFIG),
    node("cluster|set-config-epoch", 3, ORDER, NodeCommand::ClusterSetConfigEpoch, SET_CONFIG_EPOCH),
    node("cluster|setslot", -4, ORDER, NodeCommand::ClusterSetSlot, SET_SLOT),
    node("cluster|shards", 2, ANY_TIME, NodeCommand::ClusterShards, SHARDS).tips(CHANGING),
    node("cluster|slaves", 3, ADMIN, NodeCommand::ClusterReplicas, SLAVES).tips(CHANGING),
    node("cluster|slots", 2, ANY_TIME, NodeCommand::ClusterSlots, SLOTS).tips(CHANGING),
];

const fn connection(name: &'static str, flags: Flags, command: ConnectionCommand, doc: Doc) -> Spec {
    Spec::new(name, 1, flags, Categories::CONNECTION, Reach::Connection(command), doc)
}

const fn node(name: &'static str, arity: i32, flags: Flags, command: NodeCommand, doc: Doc) -> Spec {
    Spec::new(name, arity, flags, NO_CATEGORY, Reach::Node(command), doc)
}

fn count_keys_in_slot(call: &mut Call<'_>) -> HandlerResult {
    if !call.is_node {
        return Err(ReplyError::ClusterDisabled);
    }
    let number = parse_integer(call.args.at(2))?;
    let slot = slot_numbered(number).ok_or(ReplyError::InvalidSlot)?;
    let keys = call.keyspace.find_db(0).map_or(0, |db| db.slot_len(slot));
    call.reply.integer(keys as i64);
    Ok(())
}

fn get_keys_in_slot(call: &mut Call<'_>) -> HandlerResult {
    if !call.is_node {
        return Err(ReplyError::ClusterDisabled);
    }
    let (number, most) = (parse_integer(call.args.at(2))?, parse_integer(call.args.at(3))?);
    let (Some(slot), Ok(most)) = (slot_numbered(number), usize::try_from(most)) else {
        return Err(ReplyError::InvalidSlotOrCount);
    };
    let Some(db) = call.keyspace.find_db(0) else {
        call.reply.array(0);
        return Ok(());
    };
    let wanted = most.min(db.slot_len(slot));
    let mut cursor = Some(Cursor { slot, position: 0 });
    let mut keys: Vec<Vec<u8>> = Vec::with_capacity(wanted);
    while let Some(at) = cursor.filter(|cursor| cursor.slot == slot && keys.len() < wanted) {
        cursor = db.scan(at, wanted - keys.len(), call.now, &mut |key, _| {
            // The last step of a slot may go on to the next one.
            if keys.len() < wanted && Slot::of_key(key) == slot {
                keys.push(key.to_vec());
            }
        });
    }
    call.reply.array(keys.len());
    keys.iter().for_each(|key| call.reply.bulk(key));
    Ok(())
}

fn slot_numbered(number: i64) -> Option<Slot> {
    u16::try_from(number).ok().and_then(Slot::new)
}

const fn doc(since: &'static str, complexity: &'static str, summary: &'static str) -> Doc {
    Doc::new(Group::Cluster, since, complexity, summary)
}

const NODE_ID: &[DocArg] = &[DocArg::new("node-id", DocKind::String)];
const SLOT: DocArg = DocArg::new("slot", DocKind::Integer);

const SLOTS_ARGUMENT: &[DocArg] = &[DocArg::new("slot", DocKind::Integer).multiple()];
const RANGES_ARGUMENT: &[DocArg] = &[DocArg::block(
    "range",
    &[DocArg::new("start-slot", DocKind::Integer), DocArg::new("end-slot", DocKind::Integer)],
)
.multiple()];

const ADD_SLOTS: Doc = doc("3.0.0", "O(N) for N slots", "Gives slots to the node.").arguments(SLOTS_ARGUMENT);
const ADD_SLOTS_RANGE: Doc =
    doc("7.0.0", "O(N) for N slots", "Gives runs of slots to the node.").arguments(RANGES_ARGUMENT);
const BUMP_EPOCH: Doc = doc("3.0.0", "O(1)", "Takes an epoch greater than all others.");
const DEL_SLOTS: Doc =
    doc("3.0.0", "O(N) for N slots", "Takes slots from their owners, as the node sees it.").arguments(SLOTS_ARGUMENT);
const DEL_SLOTS_RANGE: Doc =
    doc("7.0.0", "O(N) for N slots", "Takes runs of slots from their owners, as the node sees it.")
        .arguments(RANGES_ARGUMENT);
const FAILOVER: Doc = doc("3.0.0", "O(1)", "Lets a replica take its master's place.").arguments(&[DocArg::one_of(
    "options",
    &[DocArg::word("force", "FORCE"), DocArg::word("takeover", "TAKEOVER")],
)
.optional()]);
const FLUSH_SLOTS: Doc = doc("3.0.0", "O(1)", "Takes all slots from the node.");
const FORGET: Doc = doc("3.0.0", "O(1)", "Removes a node from the nodes that are known.")
    .arguments(NODE_ID)
    .history(&[("7.2.0", "The other nodes are told to forget it too.")]);
const MEET: Doc = doc("3.0.0", "O(1)", "Makes two nodes know each other.")
    .arguments(&[
        DocArg::new("ip", DocKind::String),
        DocArg::new("port", DocKind::Integer),
        DocArg::new("cluster-bus-port", DocKind::Integer).optional().since("4.0.0"),
    ])
    .history(&[("4.0.0", "Takes the port of the bus.")]);
const REPLICATE: Doc = doc("3.0.0", "O(1)", "Makes the node a replica of a master.").arguments(NODE_ID);
const RESET: Doc =
    doc("3.0.0", "O(N) for N nodes that are known", "Makes the node forget its cluster.").arguments(&[DocArg::one_of(
        "reset-type",
        &[DocArg::word("hard", "HARD"), DocArg::word("soft", "SOFT")],
    )
    .optional()]);
const SAVE_CONFIG: Doc = doc("3.0.0", "O(1)", "Writes what the node knows of the cluster to disk.");
const SET_CONFIG_EPOCH: Doc =
    doc("3.0.0", "O(1)", "Gives a new node its epoch.").arguments(&[DocArg::new("config-epoch", DocKind::Integer)]);
const SET_SLOT: Doc = doc("3.0.0", "O(1)", "Says who owns a slot, or on its way to whom it is.").arguments(&[
    SLOT,
    DocArg::one_of(
        "subcommand",
        &[
            DocArg::new("importing", DocKind::String).token("IMPORTING"),
            DocArg::new("migrating", DocKind::String).token("MIGRATING"),
            DocArg::new("node", DocKind::String).token("NODE"),
            DocArg::word("stable", "STABLE"),
        ],
    ),
]);

const ASKING: Doc = doc("3.0.0", "O(1)", "Lets the next command reach a slot that is being moved here.");
const CLUSTER: Doc = doc("3.0.0", "Depends on the subcommand", "Groups the commands on the cluster.");
const COUNT_KEYS: Doc = doc("3.0.0", "O(1)", "Counts the keys of a slot.").arguments(&[SLOT]);
const FAILURE_REPORTS: Doc =
    doc("3.0.0", "O(N) for N reports", "Counts who holds a node for failed.").arguments(NODE_ID);
const GET_KEYS: Doc = doc("3.0.0", "O(N) for N keys asked for", "Lists keys of a slot.")
    .arguments(&[SLOT, DocArg::new("count", DocKind::Integer)]);
const HELP: Doc = doc("5.0.0", "O(1)", "Tells about the subcommands.");
const INFO: Doc = doc("3.0.0", "O(1)", "Tells how the cluster is.");
const KEYSLOT: Doc = doc("3.0.0", "O(N) for N bytes of the key", "Tells the slot of a key.")
    .arguments(&[DocArg::new("key", DocKind::String)]);
const LINKS: Doc = doc("7.0.0", "O(N) for N nodes", "Lists the links to other nodes.");
const MYID: Doc = doc("3.0.0", "O(1)", "Tells the name of the node.");
const MYSHARDID: Doc = doc("7.2.0", "O(1)", "Tells the name of the node's group of a master and its replicas.");
const NODES: Doc = doc("3.0.0", "O(N) for N nodes", "Tells of all nodes, a line for each.");
const READONLY: Doc = doc("3.0.0", "O(1)", "Lets the connection read from a replica.");
const READWRITE: Doc = doc("3.0.0", "O(1)", "Takes READONLY back.");
const REPLICAS: Doc = doc("5.0.0", "O(N) for N replicas", "Lists the replicas of a master.").arguments(NODE_ID);
const SHARDS: Doc = doc("7.0.0", "O(N) for N nodes", "Tells the slots and the nodes of each group.");
const SLAVES: Doc = doc("3.0.0", "O(N) for N replicas", "Lists the replicas of a master.")
    .arguments(NODE_ID)
    .deprecated("5.0.0", "`CLUSTER REPLICAS`");
const SLOTS: Doc = doc("3.0.0", "O(N) for N nodes", "Tells which node owns which slots.")
    .deprecated("7.0.0", "`CLUSTER SHARDS`")
    .history(&[("4.0.0", "Tells names of nodes."), ("7.0.0", "Tells further names of nodes.")]);

#[cfg(test)]
mod tests;
