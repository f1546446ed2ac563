//! Clients that wait in blocking commands: who they are is known here, where they stand in line on the shards.

use crate::client::Wait;
use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, RequestHead, RequestKind, ReturnAddress, unblock_word};
use crate::meter::Sender;
use crate::post::Errand;
use crate::replication::{ReplicaCount, waits_for_replicas};
use crate::scatter::{has_room, send_request};
use slotmesh_base::{Monotonic, ReplyError, Slot, UnixMillis};
use slotmesh_command::{Outcome, Spec, ValueLimits, key_indexes, timeout_of, timeout_reply};
use slotmesh_io::{SocketId, Sockets};
use slotmesh_keyspace::Key;
use slotmesh_resp::{ArgRange, Args, Protocol, Reply};
use slotmesh_shard::{Context, KeptRequests, Placement, Shard, Unblock, Watcher, answer_wait};
use std::collections::BTreeSet;

/// When waits end: monotonic time in nanoseconds, and the connection.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(u64, u32)>);

impl Deadlines {
    /// The nearest one.
    pub(crate) fn first(&self) -> Option<u64> {
        self.0.first().map(|&(at, _)| at)
    }
}

impl Engine {
    /// Runs a command that may wait.
    pub(crate) fn run_blocking(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        first_key: Option<Key<'_>>,
        placement: Placement,
    ) -> Done {
        if self.remote.is_some()
            && let Some(connection) = self.connection(index).filter(|connection| !connection.client.is_at_node)
        {
            connection.blocking = Some(Box::new(KeptRequests::of_one(spec, args)));
        }
        match placement {
            Placement::Core(core) if core == self.core => self.run_blocking_here(hands, index, spec, args, first_key),
            Placement::Core(core) => self.send_blocking(hands, index, core, spec, args),
            _ => self.run_loaned(hands, index, spec, args),
        }
    }

    fn run_blocking_here(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        first_key: Option<Key<'_>>,
    ) -> Done {
        let (now, limits, core) = (self.now, self.hot_limits(), self.core);
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let (db, protocol) = (connection.client.db, connection.client.protocol);
        let tracked = connection.client.tracked();
        let Some(shard) = self.lending.home() else { return Done::NotYet };
        self.shard_used = true;
        let context =
            Context { db, protocol, now, first_key, limits, partial: false, is_node: false, may_block: true, tracked };
        let outcome = shard.execute(spec, args, &context, &mut self.scratch);
        if let Outcome::Blocks(wait) = outcome {
            let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
            let ticket = ReturnAddress { socket, ticket, part: 0 }.to_ticket(core);
            if let Some(shard) = self.lending.home() {
                shard.block(ticket, spec, args, &context, &wait, false);
            }
            self.begin_wait(hands.sockets, index, Wait::on_one(spec, core), wait.timeout_ms);
            return Done::Yes;
        }
        self.reply_and_count(hands, index, spec, args);
        self.post_letters(hands);
        Done::Yes
    }

    fn send_blocking(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        core: u16,
        spec: &'static Spec,
        args: Args<'_>,
    ) -> Done {
        let len = hop::request_len(args.iter_from(0));
        if !has_room(hands.mail, core, len) {
            return Done::NotYet;
        }
        let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
        let Some(connection) = self.connection(index) else { return Done::Yes };
        debug_assert!(spec.flags.contains(slotmesh_command::Flags::BLOCKING), "the answer is not counted");
        let head = RequestHead {
            kind: RequestKind::Blocking,
            protocol: connection.client.protocol,
            no_touch: false,
            tracked: connection.client.tracked().map(|by| by.remembers),
            partial: false,
            db: connection.client.db,
            first_key: None,
            back: ReturnAddress { socket, ticket, part: 0 },
        };
        send_request(hands.mail, core, &head, len, args.iter_from(0));
        self.counters.hops_out += 1;
        Done::Yes
    }

    /// A client waits for what will not come, until its time is over.
    pub(crate) fn wait_for_nobody(&mut self, hands: &mut Hands<'_>, index: u32, timeout_ms: Option<u64>) -> Done {
        let Some(spec) = self.connection(index).and_then(|connection| connection.client.last_command) else {
            return Done::Yes;
        };
        if self.raise_barrier(index).is_some() {
            // No core has it in line, so that its reply comes from here.
            self.begin_wait(hands.sockets, index, Wait::for_nobody(spec), timeout_ms);
        }
        Done::Yes
    }

    /// A command of ours waits on another core's shard.
    pub(crate) fn note_wait(&mut self, sockets: &mut Sockets, from: u16, back: ReturnAddress, timeout: &[u8]) {
        let timeout = timeout.try_into().map_or(u64::MAX, u64::from_le_bytes);
        let timeout_ms = (timeout != u64::MAX).then_some(timeout);
        let SocketId { index, .. } = back.socket;
        let is_there = self
            .connection(index)
            .is_some_and(|connection| connection.socket == back.socket && connection.barrier == Some(back.ticket));
        let spec = self.connection(index).and_then(|connection| connection.client.last_command);
        match spec.filter(|_| is_there) {
            Some(spec) => self.begin_wait(sockets, index, Wait::on_one(spec, from), timeout_ms),
            // Gone: it must not stand in line.
            None => self.departed.push((from, back)),
        }
    }

    /// A command of ours stands in line on several shards.
    pub(crate) fn wait_on_several(
        &mut self,
        sockets: &mut Sockets,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        wait: &slotmesh_command::Wait,
    ) {
        let map = &self.map;
        let owners = |indexes: &mut dyn Iterator<Item = usize>| {
            let owners: BTreeSet<u16> = indexes.map(|index| map.owner(Slot::of_key(args.at(index)))).collect();
            owners.into_iter().collect::<Vec<u16>>()
        };
        let all = owners(&mut key_indexes(spec, args));
        let cores = owners(&mut wait.keys.clone());
        let needs_more = key_indexes(spec, args).any(|index| !wait.keys.contains(&index));
        let together = if needs_more { all } else { Vec::new() };
        let slots = key_indexes(spec, args).map(|index| Slot::of_key(args.at(index)));
        let slots = slots.map(|slot| (slot, map.owner(slot))).collect();
        let place = Wait { cores, slots, together, ..Wait::for_nobody(spec) };
        self.begin_wait(sockets, index, place, wait.timeout_ms);
    }

    /// A connection waits from now on, with a deadline if there is a timeout.
    pub(crate) fn begin_wait(&mut self, sockets: &mut Sockets, index: u32, wait: Wait, timeout_ms: Option<u64>) {
        let deadline = timeout_ms.map(|timeout_ms| self.monotonic.plus_millis(timeout_ms).0);
        let Some(connection) = self.connection(index) else { return };
        connection.client.is_blocked = true;
        let has_left = connection.ended;
        connection.wait = Some(Box::new(Wait { deadline, ..wait }));
        // It may have been paused while other cores kept it waiting; that a blocked client leaves is seen by reading.
        sockets.resume(connection.socket);
        if let Some(deadline) = deadline {
            self.deadlines.0.insert((deadline, index));
        }
        if has_left {
            // It has closed its side while the command was on its way.
            self.answered.push(index);
        }
        self.counters.blocked_clients += 1;
        self.counters.timeouts = self.deadlines.0.len() as u64;
    }

    /// Forgets that a connection waits; what it waited for.
    pub(crate) fn forget_wait(&mut self, index: u32) -> Option<Box<Wait>> {
        let connection = self.connection(index)?;
        connection.client.is_blocked = false;
        let wait = connection.wait.take()?;
        if let Some(deadline) = wait.deadline {
            self.deadlines.0.remove(&(deadline, index));
        }
        self.counters.blocked_clients -= 1;
        self.counters.timeouts = self.deadlines.0.len() as u64;
        Some(wait)
    }

    /// Ends the wait of a connection, if it waits; whether it did. Its reply comes from the shard in whose line it stands;
    /// where there are several, from here.
    pub(crate) fn end_wait(&mut self, hands: &mut Hands<'_>, index: u32, why: Unblock) -> bool {
        let Some(connection) = self.connection(index) else { return false };
        let (socket, Some(wait)) = (connection.socket, connection.wait.as_deref()) else { return false };
        let (spec, is_shared) = (wait.spec, wait.is_shared);
        let mut count = ReplicaCount::Unknown;
        if waits_for_replicas(spec) {
            count = self.end_replica_wait(hands, socket, why);
        }
        if !is_shared || why == Unblock::Silently || count == ReplicaCount::Later {
            return self.leave_lines(hands, index, why).is_some();
        }
        self.end_wait_here(hands, index, |spec, reply| match (why, count) {
            (Unblock::Error, _) => reply.error(ReplyError::Unblocked),
            (_, ReplicaCount::Here(count)) => answer_wait(count, reply),
            (_, ReplicaCount::Unknown | ReplicaCount::Later) => timeout_reply(spec, reply),
        })
    }

    /// Ends a wait on several shards with a reply from here; whether there was one.
    pub(crate) fn end_wait_here(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        write: impl FnOnce(&'static Spec, &mut Reply<'_>),
    ) -> bool {
        let Some((wait, back)) = self.leave_lines(hands, index, Unblock::Silently) else { return false };
        let Some(connection) = self.connection(index) else { return false };
        let mut bytes = Vec::new();
        write(wait.spec, &mut Reply::new(&mut bytes, connection.client.protocol));
        self.count_wait(index, wait.spec, &bytes);
        self.hand_over(hands.sockets, back, &bytes);
        true
    }

    /// Forgets a wait and takes its client out of all lines; what it was, and where its reply goes.
    fn leave_lines(&mut self, hands: &mut Hands<'_>, index: u32, why: Unblock) -> Option<(Box<Wait>, ReturnAddress)> {
        let wait = self.forget_wait(index)?;
        let connection = self.connection(index)?;
        let back = ReturnAddress { socket: connection.socket, ticket: connection.barrier?, part: 0 };
        for &core in &wait.cores {
            self.send_unblock(hands, core, back, why);
        }
        if wait.is_elsewhere {
            self.cancel_elsewhere(back);
        }
        Some((wait, back))
    }

    /// Ends the waits on several shards whose slots have moved since, if the map is another one.
    pub(crate) fn refuse_shared_waits(&mut self, hands: &mut Hands<'_>) {
        if !self.unsettled.take_map() || self.counters.blocked_clients == 0 {
            return;
        }
        for index in 0..self.connections.len() as u32 {
            let wait = self.connections[index as usize].as_deref().and_then(|connection| connection.wait.as_deref());
            let refusal = wait.and_then(|wait| self.map.refusal_of_wait(wait.slots.iter().copied()));
            if let Some(error) = refusal {
                self.end_wait_here(hands, index, |_, reply| reply.error(error));
            }
        }
    }

    /// Whether a client whose wait is ended with this reply is to begin it again, since the slots of its keys have moved:
    /// then its command comes next, with what is left of its time.
    #[cold]
    pub(crate) fn begins_again(&mut self, index: u32, reply: &[u8]) -> bool {
        let mut moved = Vec::new();
        Reply::new(&mut moved, Protocol::Resp2).error(ReplyError::MovedWhileWaiting);
        let (now, wall) = (self.monotonic, self.now);
        let Some(connection) = self.connection(index) else { return false };
        let Some(kept) = connection.blocking.take() else { return false };
        let Some((spec, request)) = kept.next().and_then(|request| Some((request.spec?, request))) else {
            return false;
        };
        if reply != moved || connection.ended {
            return false;
        }
        let args = kept.args(request);
        let mut words: Vec<Vec<u8>> = args.iter_from(0).map(<[u8]>::to_vec).collect();
        let deadline = connection.wait.as_deref().and_then(|wait| wait.deadline);
        if let (Some((at, _)), Some(deadline)) = (timeout_of(spec, args, wall), deadline) {
            words[at] = rest_of_timeout(deadline, now);
        }
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        connection.waiting.requests.put_first(spec, &words);
        true
    }

    /// Counts the end of a wait on several shards, whose request is kept nowhere here.
    pub(crate) fn count_wait(&mut self, index: u32, spec: &'static Spec, reply: &[u8]) {
        let Some(connection) = self.connections[index as usize].as_deref() else { return };
        let name = spec.name.as_bytes();
        let ranges = [ArgRange { start: 0, len: name.len() as u32 }];
        self.meter.end_wait_of(spec, Args::new(name, &ranges), reply, Sender::Ours(&connection.client));
    }

    /// Takes a ticket out of the lines of a core's shard.
    pub(crate) fn send_unblock(&mut self, hands: &mut Hands<'_>, core: u16, back: ReturnAddress, why: Unblock) {
        let words = vec![unblock_word(why).to_vec()];
        self.send_errand(hands, Errand { core, kind: RequestKind::Unblock, back, words });
    }

    /// Ends the waits whose time is over.
    pub(crate) fn end_overdue_waits(&mut self, hands: &mut Hands<'_>) {
        while let Some(&(deadline, index)) = self.deadlines.0.first()
            && deadline <= self.monotonic.0
        {
            if !self.end_wait(hands, index, Unblock::Timeout) {
                self.deadlines.0.remove(&(deadline, index));
            }
        }
    }

    /// Takes those out of line whose connections were gone when they began to wait.
    pub(crate) fn send_departed(&mut self, hands: &mut Hands<'_>) {
        for (core, back) in std::mem::take(&mut self.departed) {
            self.send_unblock(hands, core, back, Unblock::Silently);
        }
    }

    /// Forgets what shards know of a connection that goes: its place in line, its watched keys.
    pub(crate) fn leave_shards(&mut self, hands: &mut Hands<'_>, index: u32) {
        self.end_wait(hands, index, Unblock::Silently);
        self.end_watch(hands, index);
    }

    /// Ends the wait of a client of ours with that id, if it waits.
    pub(crate) fn unblock_client(&mut self, hands: &mut Hands<'_>, id: u64, why: Unblock) -> bool {
        let waits = |connection: &Option<Box<crate::client::Connection>>| {
            connection.as_ref().is_some_and(|connection| connection.client.id == id && connection.wait.is_some())
        };
        let index = self.connections.iter().position(waits);
        index.is_some_and(|index| self.end_wait(hands, index as u32, why))
    }
}

/// What is left of a wait, as a timeout in seconds: not nothing, which would be for ever.
fn rest_of_timeout(deadline: u64, now: Monotonic) -> Vec<u8> {
    let millis = (deadline.saturating_sub(now.0) / 1_000_000).max(1);
    format!("{}.{:03}", millis / 1000, millis % 1000).into_bytes()
}

/// Does an errand for a client of core `from` on a shard.
pub(crate) fn run_errand(
    shard: &mut Shard,
    (now, limits): (UnixMillis, ValueLimits),
    from: u16,
    (kind, back): (RequestKind, ReturnAddress),
    words: &[&[u8]],
) {
    match (kind, words) {
        (RequestKind::Unblock, [why]) => {
            shard.unblock(back.to_ticket(from), hop::read_unblock_word(why), now, limits);
        }
        (RequestKind::Unwatch, [client, span]) => {
            shard.unwatch(read_watcher(client, span), now);
        }
        _ => unreachable!("cores of one process agree on errands"),
    }
}

/// A watcher as its two words.
pub(crate) fn read_watcher(client: &[u8], span: &[u8]) -> Watcher {
    fn number<N: std::str::FromStr>(word: &[u8]) -> N {
        let number = std::str::from_utf8(word).ok().and_then(|digits| digits.parse().ok());
        number.expect("cores of one process agree on numbers")
    }
    Watcher { client: number(client), span: number(span) }
}
