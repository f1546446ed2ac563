//! Where a request must go: admission, then placement by the slots of its keys.

use crate::{Client, PauseScope, Replies, Standing, judge};
use slotmesh_base::{ReplyError, SLOT_COUNT, Slot, SlotSet};
use slotmesh_cluster::Member;
use slotmesh_command::{
    ConnectionCommand, Flags, KeySpec, NodeCommand, PubSubCommand, Reach, RequestPolicy, ResponsePolicy, Spec,
    TransactionCommand, Unknown, find_subcommand, key_indexes, parse_cursor, reads_unnamed_keys, write_unknown,
};
use slotmesh_keyspace::{Cursor, Key};
use slotmesh_resp::{Args, Reply};
use std::ops::RangeInclusive;

/// Which core owns each slot.
#[derive(Clone, Debug)]
pub struct SlotMap {
    owners: Box<[u16; SLOT_COUNT]>,
    shards: u16,
    /// What is not here, if the process is part of a cluster.
    elsewhere: Option<Elsewhere>,
}

/// What the shards of a process do not have of its cluster.
#[derive(Clone, Debug)]
struct Elsewhere {
    /// Slots that no core of the process owns.
    slots: SlotSet,
    /// Slots that somebody owns, here or elsewhere.
    owned: SlotSet,
}

impl SlotMap {
    /// The 16384 slots split evenly, in order, over `shards` cores (cores 0 to `shards` − 1). The first cores own
    /// one slot more where the slots do not divide.
    ///
    /// # Panics
    /// If there are no shards, or more than slots.
    pub fn even(shards: u16) -> Self {
        assert!((1..=SLOT_COUNT).contains(&usize::from(shards)), "every shard owns a slot");
        let mut owners = Box::new([0; SLOT_COUNT]);
        for core in 0..shards {
            let slots = even_share(core, shards);
            owners[usize::from(*slots.start())..=usize::from(*slots.end())].fill(core);
        }
        Self { owners, shards, elsewhere: None }
    }

    /// The core that owns `slot`; any core, if none does.
    #[inline]
    pub fn owner(&self, slot: Slot) -> u16 {
        self.owners[slot.index()]
    }

    /// The same for a process whose shards are nodes of a cluster: nobody owns a slot before he claims it.
    pub fn unclaimed(shards: u16) -> Self {
        let all = (0..SLOT_COUNT as u16).filter_map(Slot::new).collect();
        let elsewhere = Elsewhere { slots: all, owned: SlotSet::default() };
        Self { elsewhere: Some(elsewhere), ..Self::even(shards) }
    }

    /// The slots that the node on `core` owns from now on, by the view that it has.
    pub fn claim(&mut self, core: u16, view: Member<'_>) {
        let Some(elsewhere) = &mut self.elsewhere else { return };
        for slot in (0..SLOT_COUNT as u16).filter_map(Slot::new) {
            let owner = view.topology.owner(slot);
            match owner {
                Some(_) => elsewhere.owned.insert(slot),
                None => elsewhere.owned.remove(slot),
            };
            if owner == Some(view.myself) {
                self.owners[slot.index()] = core;
                elsewhere.slots.remove(slot);
            } else if self.owners[slot.index()] == core {
                elsewhere.slots.insert(slot);
            }
        }
    }

    /// Whether slots may be elsewhere at all.
    #[inline]
    pub fn is_of_cluster(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Whether no core of the process owns a slot.
    pub fn is_elsewhere(&self, slot: Slot) -> bool {
        self.elsewhere.as_ref().is_some_and(|elsewhere| elsewhere.slots.contains(slot))
    }

    /// The slots that cores of the process own.
    pub fn here(&self) -> SlotSet {
        (0..SLOT_COUNT as u16).filter_map(Slot::new).filter(|&slot| !self.is_elsewhere(slot)).collect()
    }

    /// Number of slots that each core owns.
    pub fn slots_of_cores(&self) -> Vec<u64> {
        let mut counts = vec![0; usize::from(self.shards)];
        for slot in self.here().iter() {
            counts[usize::from(self.owner(slot))] += 1;
        }
        counts
    }

    /// Why a request that has come to the gateway cannot be served, if one of these slots of its keys is elsewhere.
    pub fn refusal(&self, mut slots: impl Iterator<Item = Slot>) -> Option<ReplyError> {
        let elsewhere = self.elsewhere.as_ref()?;
        let slot = slots.find(|&slot| elsewhere.slots.contains(slot))?;
        Some(if elsewhere.owned.contains(slot) { ReplyError::MovedWhileWaiting } else { ReplyError::SlotNotServed })
    }

    /// Why a client of the gateway waits in vain: one of the slots of its keys has left the core on which it stands in
    /// line for it.
    pub fn refusal_of_wait(&self, slots: impl Iterator<Item = (Slot, u16)>) -> Option<ReplyError> {
        self.elsewhere.as_ref()?;
        let mut has_moved = false;
        let slots = slots.inspect(|&(slot, core)| has_moved |= self.owner(slot) != core).map(|(slot, _)| slot);
        let refusal = self.refusal(slots);
        refusal.or(has_moved.then_some(ReplyError::MovedWhileWaiting))
    }

    /// Number of cores that own slots: cores 0 to this − 1.
    pub fn shards(&self) -> u16 {
        self.shards
    }

    /// The slots that `core` owns, if it owns any.
    pub fn slots(&self, core: u16) -> Option<RangeInclusive<u16>> {
        (core < self.shards).then(|| even_share(core, self.shards))
    }
}

fn even_share(core: u16, shards: u16) -> RangeInclusive<u16> {
    let (share, longer) = (SLOT_COUNT as u16 / shards, SLOT_COUNT as u16 % shards);
    let start = |core: u16| core * share + core.min(longer);
    start(core)..=start(core + 1) - 1
}

/// Where a request goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placement {
    /// To the core with this number (maybe our own), whole.
    Core(u16),
    /// In parts to the cores that own its keys; see [`split`](crate::split).
    Split,
    /// Whole to every core that owns slots; their replies are gathered.
    Everywhere,
    /// Nowhere: it runs on the client's core, with the shards of [`loan_cores`] in hand.
    Loan,
}

/// Checks that come before execution (existence, arity, authentication, transaction, in Redis's order). `spec` is
/// what `slotmesh_command::find` gave for the name. Resolves subcommands. On refusal the error reply has been
/// written and `None` is returned (`client.closing` is set where Redis closes without reply, as for `POST`); also
/// for a command that was queued since the client is in a transaction. An EXEC that is refused is admitted: what must
/// be done for it is done where it runs. `standing` is what replication forbids now.
#[inline]
pub fn admit(
    client: &mut Client,
    spec: Option<&'static Spec>,
    args: Args<'_>,
    standing: Standing,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    match row_of(spec, args) {
        Ok(command) => admit_row(client, command, args, standing, reply),
        Err(unknown) => refuse_unknown(client, unknown, args, reply),
    }
}

/// [`admit`] for a client at the port of a node of the cluster: what is not served there is redirected, also where it
/// would be queued. `first` is the slot of the request's first key, if somebody has looked.
pub fn admit_at_node(
    client: &mut Client,
    spec: Option<&'static Spec>,
    args: Args<'_>,
    first: Option<Slot>,
    member: Member<'_>,
    standing: Standing,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    let command = match row_of(spec, args) {
        Ok(command) => command,
        Err(unknown) => return refuse_unknown(client, unknown, args, reply),
    };
    // What will be refused for another reason is, as in Redis.
    if refusal(client, command, args).is_none()
        && let Err(redirect) = judge(command, args, first, member, client.is_readonly)
    {
        client.last_command = Some(command);
        refuse_transaction(client);
        reply.error_text(redirect.text(member.topology, client.reached_at()).to_string().as_bytes());
        return None;
    }
    // Of the cluster's state the redirect has spoken; what has no keys is served, as in Redis.
    admit_row(client, command, args, standing.without(Standing::CUT_OFF), reply)
}

/// Whether a request waits for the end of a pause: what is refused does not.
pub fn is_postponed(client: &Client, spec: Option<&'static Spec>, args: Args<'_>, scope: PauseScope) -> bool {
    let Ok(command) = row_of(spec, args) else { return false };
    if refusal(client, command, args).or_else(|| bound(client, command)).is_some() {
        return false;
    }
    let writes = |spec: &Spec| spec.flags.intersects(Flags::WRITE | Flags::MAY_REPLICATE);
    let is_exec = matches!(command.reach, Reach::Transaction(TransactionCommand::Exec));
    let holds_writes =
        || client.transaction.as_ref().is_some_and(|queued| queued.commands().any(|(spec, _)| writes(spec)));
    scope == PauseScope::All || writes(command) || is_exec && holds_writes()
}

/// Whether a request of a client that gets no replies turns them on, and is answered itself (CLIENT REPLY ON, unless it is
/// refused or queued).
pub fn turns_replies_on(client: &Client, spec: Option<&'static Spec>, args: Args<'_>) -> bool {
    let Ok(command) = row_of(spec, args) else { return false };
    matches!(command.reach, Reach::Connection(ConnectionCommand::ClientReply))
        && refusal(client, command, args).or_else(|| bound(client, command)).is_none()
        && client.transaction.is_none()
        && Replies::named(args.at(2)) == Some(Replies::On)
}

/// The row of a request, a subcommand's if it names one, where that of its first word is known.
#[inline]
fn row_of(spec: Option<&'static Spec>, args: Args<'_>) -> Result<&'static Spec, Unknown> {
    let command = spec.ok_or(Unknown::Command)?;
    // Few have subcommands.
    if command.subcommands.is_empty() {
        return Ok(command);
    }
    match args.find(1) {
        Some(name) => find_subcommand(command, name).ok_or(Unknown::Subcommand(command)),
        None => Ok(command),
    }
}

#[inline]
fn admit_row(
    client: &mut Client,
    command: &'static Spec,
    args: Args<'_>,
    standing: Standing,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    client.last_command = Some(command);
    let refused = refusal(client, command, args).or_else(|| standing.refusal(client, command));
    match refused.or_else(|| bound(client, command)) {
        Some(refusal) => refuse(client, command, refusal, reply),
        None if client.transaction.is_some() => admit_to_transaction(client, command, args, reply),
        None => Some(command),
    }
}

/// Why a command cannot be run, whatever its keys.
#[inline]
fn refusal(client: &Client, command: &'static Spec, args: Args<'_>) -> Option<ReplyError> {
    if !command.accepts(args.len()) {
        Some(ReplyError::WrongArity(command.full_name))
    } else if !client.authenticated && !command.flags.contains(Flags::NO_AUTH) {
        Some(ReplyError::AuthenticationRequired)
    } else {
        None
    }
}

/// That a client hears messages, where it can do little else.
#[inline]
fn bound(client: &Client, command: &'static Spec) -> Option<ReplyError> {
    use {ConnectionCommand as Connection, PubSubCommand as PubSub};
    let is_free = !client.is_bound()
        || matches!(
            command.reach,
            Reach::PubSub(PubSub::Subscribe(_) | PubSub::Unsubscribe(_))
                | Reach::Connection(Connection::Ping | Connection::Quit | Connection::Reset)
        );
    (!is_free).then_some(ReplyError::NotWhileSubscribed(command.full_name))
}

#[cold]
fn refuse(
    client: &mut Client,
    command: &'static Spec,
    refusal: ReplyError,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    if matches!(command.reach, Reach::Transaction(TransactionCommand::Exec)) {
        return Some(refuse_exec(client, command, refusal));
    }
    refuse_transaction(client);
    reply.error(refusal);
    None
}

/// An EXEC that is refused ends the transaction, and what the client watches, all the same, also where there is no
/// transaction (Redis 7.2 `server.c` `rejectCommand`): so that it goes on, to a transaction that is refused.
#[cold]
fn refuse_exec(client: &mut Client, exec: &'static Spec, refusal: ReplyError) -> &'static Spec {
    let transaction = client.transaction.get_or_insert_default();
    transaction.is_refused = true;
    transaction.refused_exec = Some(refusal);
    exec
}

/// A command between MULTI and EXEC is queued, unless it is one that acts on the transaction itself.
#[cold]
fn admit_to_transaction(
    client: &mut Client,
    command: &'static Spec,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    use {ConnectionCommand as Connection, TransactionCommand as Transaction};
    match command.reach {
        Reach::Transaction(Transaction::Watch) => {
            reply.error(ReplyError::WatchInMulti);
            return None;
        }
        Reach::Transaction(Transaction::Multi | Transaction::Exec | Transaction::Discard)
        | Reach::Connection(Connection::Quit | Connection::Reset) => return Some(command),
        // It ends when it will.
        Reach::Node(NodeCommand::Debug) if is_drill(args) => {
            refuse_transaction(client);
            reply.error(ReplyError::NotInTransaction);
            return None;
        }
        _ => {}
    }
    let transaction = client.transaction.as_mut()?;
    if command.flags.contains(Flags::NO_MULTI) {
        transaction.is_refused = true;
        reply.error(ReplyError::NotInTransaction);
    } else if !transaction.queue(command, args) {
        transaction.is_refused = true;
        reply.error(ReplyError::TransactionTooLarge);
    } else {
        reply.simple("QUEUED");
    }
    None
}

/// Whether a request of DEBUG walks all shards, which takes many turns.
fn is_drill(args: Args<'_>) -> bool {
    let is_whole =
        |name: &[u8]| [&b"snapshot"[..], b"reload", b"loadaof"].iter().any(|word| name.eq_ignore_ascii_case(word));
    args.find(1).is_some_and(is_whole)
}

/// Whatever is refused between MULTI and EXEC spoils the whole.
fn refuse_transaction(client: &mut Client) {
    if let Some(transaction) = &mut client.transaction {
        transaction.is_refused = true;
    }
}

/// A name that is no command. `POST` and `Host:` are what a browser says that was tricked into talking to us:
/// it gets no answer, so that nothing behind them is taken for a command (Redis: `securityWarningCommand`).
#[cold]
fn refuse_unknown(
    client: &mut Client,
    unknown: Unknown,
    args: Args<'_>,
    reply: &mut Reply<'_>,
) -> Option<&'static Spec> {
    client.last_command = None;
    refuse_transaction(client);
    let name = args.find(0).unwrap_or_default();
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        client.closing = true;
    } else {
        write_unknown(unknown, args, reply);
    }
    None
}

/// Where an admitted command of reach `Slot` or `Shard` goes. `first_key` is its first key, if it has one.
///
/// # Panics
/// If the row reaches neither a slot nor a shard.
#[inline]
pub fn place(spec: &'static Spec, args: Args<'_>, first_key: Option<&Key<'_>>, map: &SlotMap) -> Placement {
    match spec.reach {
        Reach::Slot(_) => match (spec.keys, first_key) {
            ([KeySpec { last: 0, .. }], Some(key)) => Placement::Core(map.owner(key.slot)),
            (_, Some(key)) => place_keys(spec, args, map.owner(key.slot), map),
            (_, None) => Placement::Core(0),
        },
        Reach::Shard(_) => place_whole(spec, args, map),
        Reach::Connection(_) | Reach::Node(_) | Reach::Transaction(_) | Reach::PubSub(_) | Reach::Container => {
            panic!("{} is not placed: it has no keys", spec.full_name)
        }
    }
}

/// A command with maybe several keys, the first of which is at home on core `home`.
fn place_keys(spec: &'static Spec, args: Args<'_>, home: u16, map: &SlotMap) -> Placement {
    if map.shards == 1 {
        return Placement::Core(home);
    }
    let step = spec.keys.first().map_or(1, |keys| keys.step);
    let mut end = 0;
    let mut together = true;
    for index in key_indexes(spec, args) {
        end = index + step;
        together &= map.owner(Slot::of_key(args.at(index))) == home;
    }
    // A last key without what belongs to it (MSET with an odd count) keeps the command whole: one handler must
    // refuse all of it.
    if reads_unnamed_keys(spec, args) {
        Placement::Loan
    } else if together || end > args.len() {
        Placement::Core(home)
    } else if may_be_split(spec) {
        Placement::Split
    } else {
        Placement::Loan
    }
}

/// Whether a command is about something that a core has: not one of keys that names none, or the last one without what
/// belongs to it. That is refused by any handler, which touches nothing.
pub fn is_about_data(spec: &Spec, args: Args<'_>) -> bool {
    let step = spec.keys.first().map_or(1, |keys| keys.step);
    let last = key_indexes(spec, args).last();
    !matches!(spec.reach, Reach::Slot(_)) || last.is_some_and(|last| last + step <= args.len())
}

/// Whether a command may be done key by key, each on its own: reads, and those that count what they did (DEL). What
/// stores several values at once (MSET) stores all or none.
fn may_be_split(spec: &Spec) -> bool {
    let counts = spec.tips.response == ResponsePolicy::AggSum || spec.flags.contains(Flags::READONLY);
    spec.tips.request == RequestPolicy::MultiShard && counts
}

/// A command on all that a shard holds. A write (FLUSHALL, SWAPDB) happens on all shards at once.
fn place_whole(spec: &'static Spec, args: Args<'_>, map: &SlotMap) -> Placement {
    match spec.tips.request {
        _ if map.shards == 1 => Placement::Core(0),
        _ if spec.flags.contains(Flags::WRITE) => Placement::Loan,
        RequestPolicy::AllShards | RequestPolicy::AllNodes => Placement::Everywhere,
        // The cursor names the slot where the scan goes on. What is no cursor may be refused by anybody.
        RequestPolicy::Special => Placement::Core(cursor(args).map_or(0, |cursor| map.owner(cursor.slot))),
        RequestPolicy::Default | RequestPolicy::MultiShard => Placement::Core(0),
    }
}

/// The cores whose shards a command with placement [`Loan`](Placement::Loan) needs, ascending.
pub fn loan_cores(spec: &'static Spec, args: Args<'_>, map: &SlotMap) -> Vec<u16> {
    if matches!(spec.reach, Reach::Shard(_)) || reads_unnamed_keys(spec, args) {
        return (0..map.shards).collect();
    }
    let mut cores: Vec<u16> = key_indexes(spec, args).map(|index| map.owner(Slot::of_key(args.at(index)))).collect();
    cores.sort_unstable();
    cores.dedup();
    cores
}

fn cursor(args: Args<'_>) -> Option<Cursor> {
    Cursor::from_number(parse_cursor(args.find(1)?).ok()?)
}

#[cfg(test)]
mod tests;
