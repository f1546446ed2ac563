//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.
//!
//! Mirrors Redis 7.2 `multi.c`. The queue is the client's; EXEC runs where the client is, with all shards in hand that
//! its commands and its watched keys need.

use crate::exec::{end_blocks, join_effects, run_together};
use crate::gateway::is_answered_by_node;
use crate::{
    Client, Context, Gather, Inspection, KeptRequests, Node, NodeAction, ReplicationOrder, Shard, SlotMap, Speech,
    Watcher, run_connection_command, run_node_command,
};
use slotmesh_base::{ExecRefused, ReplyError, Slot, UnixMillis};
use slotmesh_command::{
    ConnectionCommand, Flags, NodeCommand, Reach, RequestPolicy, Spec, TransactionCommand, ValueLimits, key_indexes,
    parse_cursor, reads_unnamed_keys,
};
use slotmesh_conf::directive;
use slotmesh_keyspace::Cursor;
use slotmesh_resp::{Args, Elements, Protocol, Reply};
use std::sync::Arc;

/// The commands between MULTI and EXEC.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Shared with the EXEC that runs them, during which the client still has its transaction.
    requests: Arc<KeptRequests>,
    /// Whether one of them was refused, so that EXEC refuses all.
    pub(crate) is_refused: bool,
    /// How its EXEC was written, if somebody is to see it.
    pub shown_exec: Option<Box<[u8]>>,
    /// Why EXEC itself was refused, which ends the transaction.
    pub(crate) refused_exec: Option<ReplyError>,
}

impl Transaction {
    /// Number of commands.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Refuses the EXEC.
    pub fn refuse(&mut self, why: ReplyError) {
        (self.is_refused, self.refused_exec) = (true, Some(why));
    }

    /// Whether there are no commands.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// Whether its EXEC was refused before it ran, and the transaction is there only to be ended.
    pub fn is_exec_refused(&self) -> bool {
        self.refused_exec.is_some()
    }

    /// Whether EXEC will refuse all.
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether its client may speak another version behind it.
    pub fn may_change_protocol(&self) -> bool {
        self.commands().any(|(spec, _)| matches!(spec.reach, Reach::Connection(ConnectionCommand::Hello)))
    }

    /// Number of answers that a node of another host gives to its [`Block`](crate::Block).
    pub fn answers_from_node(&self) -> usize {
        self.commands().filter(|(spec, _)| is_answered_by_node(spec)).count()
    }

    /// Bytes of the commands' arguments.
    pub fn argument_bytes(&self) -> usize {
        self.requests.argument_bytes()
    }

    /// The commands, in order.
    pub fn commands(&self) -> impl Iterator<Item = (&'static Spec, Args<'_>)> {
        commands(&self.requests)
    }

    /// Bytes of memory.
    pub fn memory_bytes(&self) -> usize {
        self.requests.memory_bytes()
    }

    /// Adds a command; whether there was room. What a client may queue is bounded by
    /// `client-query-buffer-limit`, but that may be set to more than can be counted here.
    pub(crate) fn queue(&mut self, spec: &'static Spec, args: Args<'_>) -> bool {
        let bytes = args.iter_from(0).map(<[u8]>::len).sum();
        let has_room = self.requests.has_room(bytes);
        if has_room {
            Arc::make_mut(&mut self.requests).push(Some(spec), args.iter_from(0));
        }
        has_room
    }
}

/// The commands of a transaction, in order.
fn commands(requests: &KeptRequests) -> impl Iterator<Item = (&'static Spec, Args<'_>)> {
    requests.iter().filter_map(|request| Some((request.spec?, requests.args(request))))
}

/// What is to be done for a transaction command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionAction {
    /// Nothing: the reply is written.
    Done,
    /// Watch the request's keys ([`Shard::watch`]) as [`Client::watcher`], each on its shard; the reply is OK.
    Watch,
    /// End the span of watching ([`Shard::unwatch`]) on the cores that [`Client::end_watch`] names; the reply is
    /// written.
    Unwatch,
    /// Take the shards of [`exec_cores`], then [`execute_transaction`].
    Execute,
}

/// Runs a transaction command as far as the connection goes.
pub fn run_transaction_command(
    command: TransactionCommand,
    client: &mut Client,
    reply: &mut Reply<'_>,
) -> TransactionAction {
    let in_transaction = client.transaction.is_some();
    match command {
        TransactionCommand::Multi if in_transaction => reply.error(ReplyError::MultiNested),
        TransactionCommand::Multi => {
            client.transaction = Some(Box::default());
            reply.ok();
        }
        TransactionCommand::Exec => match &client.transaction {
            None => reply.error(ReplyError::ExecWithoutMulti),
            Some(transaction) if transaction.is_refused => {
                match transaction.refused_exec {
                    None => reply.error(ReplyError::ExecAbort),
                    Some(error) => reply.error_text(ExecRefused(error).to_string().as_bytes()),
                }
                client.transaction = None;
                return TransactionAction::Unwatch;
            }
            Some(_) => return TransactionAction::Execute,
        },
        TransactionCommand::Discard if !in_transaction => reply.error(ReplyError::DiscardWithoutMulti),
        TransactionCommand::Discard => {
            client.transaction = None;
            reply.ok();
            return TransactionAction::Unwatch;
        }
        // Inside of MULTI it was refused.
        TransactionCommand::Watch => return TransactionAction::Watch,
        TransactionCommand::Unwatch => {
            reply.ok();
            return TransactionAction::Unwatch;
        }
    }
    TransactionAction::Done
}

/// The cores whose shards a client's EXEC needs: those of its commands' keys, and of those that it watches.
/// Ascending. `own` is the client's core: all that there is for a client at the port of its shard.
pub fn exec_cores(client: &Client, own: u16, map: &SlotMap) -> Vec<u16> {
    if client.is_at_node {
        return vec![own];
    }
    let mut wanted = vec![false; usize::from(map.shards())];
    client.watching.iter().for_each(|&core| wanted[usize::from(core)] = true);
    for (spec, args) in client.transaction.iter().flat_map(|transaction| commands(&transaction.requests)) {
        match spec.reach {
            Reach::Slot(_) if reads_unnamed_keys(spec, args) => wanted.fill(true),
            Reach::Slot(_) => {
                let mut has_keys = false;
                for index in key_indexes(spec, args) {
                    has_keys = true;
                    wanted[usize::from(map.owner(Slot::of_key(args.at(index))))] = true;
                }
                wanted[0] |= !has_keys;
            }
            Reach::Shard(_) => match scan_slot(spec, args) {
                Some(slot) => wanted[usize::from(map.owner(slot))] = true,
                None => wanted.fill(true),
            },
            Reach::Node(NodeCommand::Debug) if args.find(1).and_then(Inspection::of).is_some() => wanted.fill(true),
            Reach::Connection(_) | Reach::Node(_) | Reach::Transaction(_) | Reach::PubSub(_) | Reach::Container => {}
        }
    }
    (0..map.shards()).filter(|&core| wanted[usize::from(core)]).collect()
}

/// The slot where a command goes on whose cursor says so (SCAN).
fn scan_slot(spec: &Spec, args: Args<'_>) -> Option<Slot> {
    if spec.tips.request != RequestPolicy::Special {
        return None;
    }
    // What is no cursor may be refused by anybody.
    let cursor = args.find(1).and_then(|text| Cursor::from_number(parse_cursor(text).ok()?));
    Some(cursor.map_or(Cursor::start().slot, |cursor| cursor.slot))
}

/// What an EXEC needs beside its client and the shards.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The node, for commands on it.
    pub node: &'a dyn Node,
    /// The time.
    pub now: UnixMillis,
    /// Bounds.
    pub limits: ValueLimits,
    /// 64 random bits, for what must be chosen among shards.
    pub chance: u64,
    /// Bytes of replies beyond which the client would be closed anyway.
    pub reply_bytes_max: usize,
    /// What a node of another host has answered to the commands on keys, which have run there: then there are no shards.
    pub answers: Option<&'a Elements<'a>>,
}

/// Who is told of each command of a transaction when it has ended.
pub trait Ledger {
    /// A command has ended; `client` is as it has left it.
    fn ended(&mut self, client: &Client, spec: &'static Spec, args: Args<'_>, reply: &[u8]);
}

/// The clients of the core on which a transaction runs, but the one whose transaction it is.
pub trait Crowd {
    /// Does to them what is asked of the clients of all cores, and gives this core's part of the gathered reply; nothing
    /// if that comes when the transaction has ended. `client` is the one that asks, as it is.
    fn ask(&mut self, client: &Client, action: &NodeAction) -> Option<Vec<u8>>;
}

/// What a command of a transaction has asked of the clients of all cores. Other cores lend their shards to the
/// transaction, and answer when they have them back.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub action: NodeAction,
    /// Where in the transaction's reply the answer goes.
    pub at: usize,
    /// The part of this core, if it is there already.
    pub own: Option<Vec<u8>>,
}

/// What a transaction leaves to be done.
#[derive(Debug, Default)]
pub struct Sequel {
    /// What is wanted of replication.
    pub orders: Vec<ReplicationOrder>,
    /// What must be asked before the reply is whole ([`Gather::of_questions`]).
    pub questions: Vec<Question>,
}

/// Runs the client's transaction, with the shards of [`exec_cores`] in hand (ascending by slots); appends the reply.
/// Nothing runs if a watched key was touched. What is said on channels waits in `speech` to be delivered.
///
/// If the replies outgrow their bound, all commands run nevertheless, but there is no reply, and `client.closing` is
/// set (Redis 7.2 `networking.c`, `closeClientOnOutputBufferLimitReached`: so the memory is bounded). Gives what is
/// to be done behind the transaction.
pub fn execute_transaction(
    client: &mut Client,
    shards: &mut [&mut Shard],
    around: &Surroundings<'_>,
    ledger: &mut dyn Ledger,
    speech: &mut Speech<'_>,
    crowd: &mut dyn Crowd,
    out: &mut Vec<u8>,
) -> Sequel {
    let mut sequel = Sequel::default();
    let mut answers = around.answers.cloned();
    let requests = client.transaction.as_ref().map(|transaction| Arc::clone(&transaction.requests)).unwrap_or_default();
    let watcher = client.watcher();
    client.end_watch();
    let mut is_whole = true;
    for shard in shards.iter_mut() {
        is_whole &= shard.unwatch(watcher, around.now);
    }
    let mut reply = Reply::new(out, client.protocol);
    if !is_whole {
        client.transaction = None;
        reply.null_array();
        return sequel;
    }
    let start = reply.buffer().len();
    reply.array(requests.len());
    for (spec, args) in commands(&requests) {
        if out.len() - start > around.reply_bytes_max {
            client.closing = true;
        }
        if client.closing {
            out.truncate(start);
        }
        let begin = out.len();
        match spec.reach {
            Reach::Slot(_) if let Some(answers) = &mut answers => {
                out.extend_from_slice(answers.next().unwrap_or_default());
            }
            Reach::Slot(_) | Reach::Shard(_) => run_on_shards(client, spec, args, shards, around, out),
            Reach::Connection(command) => {
                if let Some(answers) = answers.as_mut().filter(|_| is_answered_by_node(spec)) {
                    // The node has only said that it speaks the version.
                    answers.next();
                }
                let mut reply = Reply::new(out, client.protocol);
                run_connection_command(command, client, args, around.node, around.now, &mut reply);
            }
            Reach::Node(command) => {
                let mut reply = Reply::new(out, client.protocol);
                let action = run_node_command(command, client, args, around.node, around.now, &mut reply);
                match action {
                    NodeAction::Done => {}
                    NodeAction::Inspect(what) => inspect(client, what, args, shards, around, out),
                    NodeAction::Replicate(order) => sequel.orders.push(order),
                    NodeAction::Refresh
                    | NodeAction::ListClients { .. }
                    | NodeAction::KillClients { .. }
                    | NodeAction::Unblock { .. } => {
                        let (at, own) = (out.len(), crowd.ask(client, &action));
                        sequel.questions.push(Question { action, at, own });
                    }
                    NodeAction::Monitor => Reply::new(out, client.protocol).error(ReplyError::MonitorInMulti),
                    NodeAction::Shutdown(_)
                    | NodeAction::AbortShutdown
                    | NodeAction::Reload(_)
                    | NodeAction::DrillSnapshot { .. }
                    | NodeAction::Save { .. } => {
                        debug_assert!(false, "{} was not admitted", spec.full_name);
                    }
                }
            }
            Reach::PubSub(command) => {
                speech.run(command, client, args, &mut Reply::new(out, client.protocol));
                // In a cluster the bus tells it to replicas, too.
                if !around.node.settings().value(directive::CLUSTER_ENABLED) {
                    speech.record(client.db, shards);
                }
            }
            // EXEC has ended the watch already.
            Reach::Transaction(_) => Reply::new(out, client.protocol).ok(),
            Reach::Container => {
                Reply::new(out, client.protocol).error(ReplyError::WrongArity(spec.full_name));
            }
        }
        ledger.ended(client, spec, args, &out[begin..]);
    }
    client.closing |= out.len() - start > around.reply_bytes_max;
    if client.closing {
        out.truncate(start);
        sequel.questions.clear();
    }
    client.transaction = None;
    end_blocks(shards, around.now, around.limits);
    sequel
}

/// Has all shards answer for DEBUG.
fn inspect(
    client: &Client,
    what: Inspection,
    args: Args<'_>,
    shards: &mut [&mut Shard],
    around: &Surroundings<'_>,
    out: &mut Vec<u8>,
) {
    let words: Vec<&[u8]> = args.iter_from(1).collect();
    let context = context_of(client, around);
    let mut gather = Gather::inspection(what)(shards.len(), client.protocol);
    for (place, shard) in shards.iter_mut().enumerate() {
        let mut part = Vec::new();
        shard.inspect(what, &context, &words, &mut Reply::new(&mut part, client.protocol));
        gather.add(place, &part);
    }
    gather.finish(out);
}

fn context_of<'a>(client: &Client, around: &Surroundings<'_>) -> Context<'a> {
    Context {
        db: client.db,
        protocol: client.protocol,
        now: around.now,
        first_key: None,
        limits: around.limits,
        partial: false,
        is_node: client.is_at_node,
        may_block: false,
        tracked: client.tracked(),
    }
}

/// Runs a command on keys.
fn run_on_shards(
    client: &Client,
    spec: &'static Spec,
    args: Args<'_>,
    shards: &mut [&mut Shard],
    around: &Surroundings<'_>,
    out: &mut Vec<u8>,
) {
    let context = context_of(client, around);
    let reads_all = matches!(spec.reach, Reach::Shard(_)) && !spec.flags.contains(Flags::WRITE);
    match scan_slot(spec, args) {
        Some(slot) if !client.is_at_node => {
            let place = shards.iter().position(|shard| shard.keyspace.holds(slot)).unwrap_or(0);
            run_together(&mut [&mut *shards[place]], spec, args, &context, out);
        }
        _ if reads_all && shards.len() > 1 => {
            gather_all(spec, args, shards, &Context { partial: true, ..context }, around.chance, out);
        }
        _ => {
            run_together(shards, spec, args, &context, out);
        }
    }
    join_effects(shards);
}

/// Runs a read on every shard and joins the replies.
fn gather_all(
    spec: &'static Spec,
    args: Args<'_>,
    shards: &mut [&mut Shard],
    context: &Context<'_>,
    chance: u64,
    out: &mut Vec<u8>,
) {
    let protocol: Protocol = context.protocol;
    let mut gather = Gather::everywhere(spec, shards.len(), protocol, chance);
    for (place, shard) in shards.iter_mut().enumerate() {
        let mut part = Vec::new();
        run_together(&mut [shard], spec, args, context, &mut part);
        gather.add(place, &part);
    }
    gather.finish(out);
}

impl Client {
    /// Who it is for the shards that hold its watched keys.
    pub fn watcher(&self) -> Watcher {
        Watcher { client: self.id, span: self.watch_span }
    }

    /// Remembers that it watches keys on a core's shard.
    pub fn watches_on(&mut self, core: u16) {
        if let Err(place) = self.watching.binary_search(&core) {
            self.watching.insert(place, core);
        }
    }

    /// Remembers that it watches keys of a slot on the shard of a core, which may lose the slot.
    pub fn watches_slot(&mut self, slot: Slot, core: u16) {
        if let Err(place) = self.watched_slots.binary_search(&(slot, core)) {
            self.watched_slots.insert(place, (slot, core));
        }
    }

    /// Whether keys that it watches have left the shards which know of that, by the map that holds now: nobody can tell any
    /// more whether they were touched.
    pub fn has_lost_watch(&self, map: &SlotMap) -> bool {
        map.refusal_of_wait(self.watched_slots.iter().copied()).is_some()
    }

    /// Ends a span of watching; the cores whose shards must hear of it.
    pub fn end_watch(&mut self) -> Vec<u16> {
        if !self.watching.is_empty() {
            self.watch_span = self.watch_span.wrapping_add(1);
        }
        self.watched_slots = Vec::new();
        std::mem::take(&mut self.watching)
    }
}

#[cfg(test)]
mod tests;
