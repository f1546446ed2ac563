//! Commands that act on the connection or the node: decided here over what [`Node`] shows, one file per
//! subject.

mod auth;
mod client;
mod cluster;
mod cluster_order;
mod command;
mod config;
mod connection;
mod debug;
mod filter;
mod function;
mod info;
mod kill;
mod latency;
mod memory;
mod node;
mod operate;
mod pubsub;
mod replicate;
mod slow_log;
mod tracking;

#[cfg(test)]
mod tests;

pub(crate) use auth::version_behind_hello;
pub use client::describe_client;
pub use node::{
    ClientFilter, ClientKind, CommandFacts, CoreFacts, DbFacts, DebugAct, Distribution, Node, NodeAction, ProcessFacts,
    Rates, Reloading, ShutdownWish,
};

pub use replicate::{
    MasterLine, ReplicaLine, ReplicaOption, ReplicationFacts, ReplicationOrder, WaitCount, answer_wait,
};

use crate::Client;
use slotmesh_base::UnixMillis;
use slotmesh_command::{
    ChannelKind, ConnectionCommand, NodeCommand, command_all, command_count, command_docs, command_get_keys,
    command_info,
};
use slotmesh_resp::{Args, Reply};

/// Version of Redis whose behaviour we show.
pub const REDIS_VERSION: &str = "7.2.6";

/// Runs a connection command; the reply is written, `client` changed.
pub fn run_connection_command(
    command: ConnectionCommand,
    client: &mut Client,
    args: Args<'_>,
    node: &dyn Node,
    now: UnixMillis,
    reply: &mut Reply<'_>,
) {
    match command {
        ConnectionCommand::Asking => cluster::note_wish(node, reply),
        ConnectionCommand::ReadOnly => cluster::set_readonly(client, true, node, reply),
        ConnectionCommand::ReadWrite => cluster::set_readonly(client, false, node, reply),
        ConnectionCommand::Auth => auth::auth(client, args, node, reply),
        ConnectionCommand::Hello => auth::hello(client, args, node, reply),
        ConnectionCommand::Echo => connection::echo(args, reply),
        ConnectionCommand::Ping => connection::ping(client, args, reply),
        ConnectionCommand::Quit => connection::quit(client, reply),
        ConnectionCommand::Reset => connection::reset(client, node, reply),
        ConnectionCommand::Select => connection::select(client, args, node, reply),
        ConnectionCommand::ClientCaching => tracking::caching(client, args, reply),
        ConnectionCommand::ClientGetRedir => reply.integer(tracking::redirect_of(client)),
        ConnectionCommand::ClientNoEvict => client::set_switch(&mut client.no_evict, args, reply),
        ConnectionCommand::ClientNoTouch => client::set_switch(&mut client.no_touch, args, reply),
        ConnectionCommand::ClientReply => client::set_replies(client, args, reply),
        ConnectionCommand::ClientTracking => tracking::tracking(client, args, node, reply),
        ConnectionCommand::ClientTrackingInfo => tracking::tracking_info(client, reply),
        ConnectionCommand::ClientGetName => client::get_name(client, reply),
        ConnectionCommand::ClientId => client::id(client, reply),
        ConnectionCommand::ClientInfo => client::info(client, args, now, reply),
        ConnectionCommand::ClientSetInfo => client::set_info(client, args, reply),
        ConnectionCommand::ClientSetName => client::set_name(client, args, reply),
        ConnectionCommand::ClientHelp => command::help(args, reply),
    }
}

/// Runs a node command.
pub fn run_node_command(
    command: NodeCommand,
    client: &Client,
    args: Args<'_>,
    node: &dyn Node,
    now: UnixMillis,
    reply: &mut Reply<'_>,
) -> NodeAction {
    match command {
        NodeCommand::ClientKill => return kill::kill(client, args, reply),
        NodeCommand::ClientPause => return kill::pause(args, node, now, reply),
        NodeCommand::ClientUnpause => {
            node.unpause();
            return NodeAction::Refresh;
        }
        NodeCommand::ClientList => return client::list(args, reply),
        NodeCommand::ClientUnblock => return client::unblock(args, reply),
        NodeCommand::ClusterAddSlots
        | NodeCommand::ClusterAddSlotsRange
        | NodeCommand::ClusterBumpEpoch
        | NodeCommand::ClusterCountFailureReports
        | NodeCommand::ClusterDelSlots
        | NodeCommand::ClusterDelSlotsRange
        | NodeCommand::ClusterFailover
        | NodeCommand::ClusterFlushSlots
        | NodeCommand::ClusterForget
        | NodeCommand::ClusterHelp
        | NodeCommand::ClusterInfo
        | NodeCommand::ClusterKeySlot
        | NodeCommand::ClusterLinks
        | NodeCommand::ClusterMeet
        | NodeCommand::ClusterMyId
        | NodeCommand::ClusterMyShardId
        | NodeCommand::ClusterNodes
        | NodeCommand::ClusterReplicas
        | NodeCommand::ClusterReplicate
        | NodeCommand::ClusterReset
        | NodeCommand::ClusterSaveConfig
        | NodeCommand::ClusterSetConfigEpoch
        | NodeCommand::ClusterSetSlot
        | NodeCommand::ClusterShards
        | NodeCommand::ClusterSlots => cluster::cluster(command, client, args, node, reply),
        NodeCommand::Command => command_all(reply),
        NodeCommand::CommandCount => command_count(reply),
        NodeCommand::CommandDocs => command_docs(args, reply),
        NodeCommand::CommandGetKeys => command_get_keys(args, false, reply),
        NodeCommand::CommandGetKeysAndFlags => command_get_keys(args, true, reply),
        NodeCommand::CommandHelp => command::help(args, reply),
        NodeCommand::CommandInfo => command_info(args, reply),
        NodeCommand::CommandList => command::list(args, reply),
        NodeCommand::ConfigGet => config::get(args, node, reply),
        NodeCommand::ConfigHelp => command::help(args, reply),
        NodeCommand::ConfigResetStat => config::reset_statistics(node, reply),
        NodeCommand::ConfigRewrite => config::rewrite(node, reply),
        NodeCommand::ConfigSet => config::set(args, node, reply),
        NodeCommand::Debug => return debug::debug(client, args, node, reply),
        NodeCommand::BgRewriteAof | NodeCommand::BgSave | NodeCommand::LastSave | NodeCommand::Save => {
            return operate::operate(command, client, args, node, reply);
        }
        NodeCommand::Failover
        | NodeCommand::ReplConf
        | NodeCommand::ReplicaOf
        | NodeCommand::Role
        | NodeCommand::Sync
        | NodeCommand::Wait
        | NodeCommand::WaitAof => return replicate::replicate(command, client, args, node, now, reply),
        // Who watches already hears nothing more of it, as in Redis.
        NodeCommand::Monitor if client.is_monitor || client.is_attached() => {}
        NodeCommand::Monitor => return NodeAction::Monitor,
        NodeCommand::Lolwut => operate::lolwut(args, node, reply),
        NodeCommand::Shutdown => return operate::shutdown(args, node, reply),
        NodeCommand::FunctionDelete
        | NodeCommand::FunctionDump
        | NodeCommand::FunctionFlush
        | NodeCommand::FunctionHelp
        | NodeCommand::FunctionKill
        | NodeCommand::FunctionList
        | NodeCommand::FunctionRestore
        | NodeCommand::FunctionStats => function::function(command, args, reply),
        NodeCommand::Info => info::info(args, node, now, reply),
        NodeCommand::LatencyDoctor => latency::doctor(node, now, reply),
        NodeCommand::LatencyGraph => latency::graph(args, node, now, reply),
        NodeCommand::LatencyHelp | NodeCommand::MemoryHelp | NodeCommand::PubSubHelp | NodeCommand::SlowlogHelp => {
            command::help(args, reply)
        }
        NodeCommand::LatencyHistogram => latency::histogram(args, node, reply),
        NodeCommand::LatencyHistory => latency::history(args, node, reply),
        NodeCommand::LatencyLatest => latency::latest(node, reply),
        NodeCommand::LatencyReset => latency::reset(args, node, reply),
        NodeCommand::MemoryDoctor => memory::doctor(node, reply),
        NodeCommand::MemoryMallocStats => memory::malloc_stats(node, reply),
        NodeCommand::MemoryPurge => memory::purge(node, reply),
        NodeCommand::MemoryStats => memory::stats(node, reply),
        NodeCommand::PubSubChannels => pubsub::channels(ChannelKind::Global, args, node, reply),
        NodeCommand::PubSubNumPat => reply.integer(node.census().len(ChannelKind::Pattern) as i64),
        NodeCommand::PubSubNumSub => pubsub::subscribers(ChannelKind::Global, args, node, reply),
        NodeCommand::PubSubShardChannels => pubsub::channels(ChannelKind::Shard, args, node, reply),
        NodeCommand::PubSubShardNumSub => pubsub::subscribers(ChannelKind::Shard, args, node, reply),
        NodeCommand::SlowlogGet => slow_log::get(args, node, reply),
        NodeCommand::SlowlogLen => slow_log::len(node, reply),
        NodeCommand::SlowlogReset => slow_log::reset(node, reply),
        NodeCommand::Time => connection::time(node, reply),
    }
    NodeAction::Done
}
