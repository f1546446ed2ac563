//! What one core decides: where a request goes, what it does to the shard, what a connection remembers.
//!
//! *For*: admission, placement, execution on one shard or several, splitting and gathering, transactions, watched
//! keys, waits, loans of shards between cores, replaying effects, snapshots, connection and node commands.
//! *Not here*: async, sockets, threads, clocks; the syntax and handlers of commands on keys.
//! *Invariants*: [`Shard`] is `Send` and owns all that a write touches, so that whoever has it in hand has everything;
//! nothing here waits; a shard that is lent and does not come back stops the process.
//! *Read first*: `route.rs`, then `exec.rs`.

mod blocked;
mod client;
mod exec;
mod follow;
mod gateway;
mod gather;
mod inspect;
mod judge;
mod kept;
mod key_map;
mod latency;
mod load;
mod loan;
mod local;
mod monitor;
mod pause;
mod pubsub;
mod replay;
mod route;
mod save;
mod shard;
mod slow_log;
mod snapshot;
mod standing;
#[cfg(test)]
mod testing;
mod tracking;
mod transaction;
mod watch;

pub use blocked::{Letter, Served, Ticket, Unblock, serve_called_together};
pub use client::{Client, ReplicaClient, Replies};
pub use exec::{Context, execute_together};
pub use gateway::{
    Beyond, Block, Envelope, Gateway, LinkId, Master, Onward, Order, Origin, Outlet, Owner, ReadFrom, ReplicaPoll,
    Routes, Rules, ScanStep, Sent, TransactionPlace, View, home_of,
};
pub use gather::{Gather, Home, Part, split};
pub use inspect::Inspection;
pub use judge::{judge, judge_transaction};
pub use kept::{KeptRequest, KeptRequests};
pub use latency::{DoctorFacts, LatencyEvent, LatencyMonitor, LatencySample, LatencySeries};
pub use load::{FileFacts, FilePosition, LoadError, LoadRules, Loader};
pub use loan::{Desk, LoanAction, LoanNumber};
pub use local::{
    ClientFilter, ClientKind, CommandFacts, CoreFacts, DbFacts, DebugAct, Distribution, MasterLine, Node, NodeAction,
    ProcessFacts, REDIS_VERSION, Rates, Reloading, ReplicaLine, ReplicaOption, ReplicationFacts, ReplicationOrder,
    ShutdownWish, WaitCount, answer_wait, describe_client, run_connection_command, run_node_command,
};
pub use monitor::{is_shown, refuse_to_monitor, write_line};
pub use pause::{Pause, PauseScope};
pub use pubsub::{Audience, Census, Said, Speech, Subscribed, Subscriptions, write_message};
pub use replay::{Excerpt, Replay, ReplayError, ReplayFault, ReplayNews};
pub use route::{
    Placement, SlotMap, admit, admit_at_node, is_about_data, is_postponed, loan_cores, place, turns_replies_on,
};
pub use save::{LoadFacts, PersistenceFacts, SaveBegin, SaveEnd, SaveFacts, SaveRecord, SaveWish};
pub use shard::{Shard, ShardSettings};
pub use slow_log::{SlowClient, SlowEntry, SlowLog};
pub use standing::Standing;
pub use tracking::{
    ClientTracking, INVALIDATIONS, Stale, TrackedBy, Tracker, TrackingMode, write_broken_redirect, write_invalidation,
};
pub use transaction::{
    Crowd, Ledger, Question, Sequel, Surroundings, Transaction, TransactionAction, exec_cores, execute_transaction,
    run_transaction_command,
};
pub use watch::Watcher;
