//! Requests of our clients for slots that other hosts have.

use crate::client::{Connection, Wait};
use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, RequestHead, RequestKind, ReturnAddress};
use crate::meter::Sender;
use crate::replies::cork;
use crate::scatter::{has_room, send_request};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{ChannelKind, ConnectionCommand, Flags, Reach, Spec, key_indexes, timeout_of};
use slotmesh_resp::{Args, Reply};
use slotmesh_shard::{Beyond, Envelope, Gather, Home, KeptRequests, Part, ScanStep, Sent, Standing, home_of, split};

/// How much later than it should a node may say that a wait has ended, in milliseconds, before we say it.
const LATE_MILLIS: u64 = 100;

impl Engine {
    /// How our node stands for a command, and for what its client has queued. Where the gateway hides a cluster it matters
    /// for keys on our core only.
    #[cold]
    pub(crate) fn standing_for(&self, index: u32, command: Option<(&'static Spec, Args<'_>)>) -> Standing {
        let client = self.connections[index as usize].as_deref().map(|connection| &connection.client);
        if client.is_some_and(|client| client.is_at_node) {
            // Of the cluster's state the redirect speaks.
            return self.standing.without(Standing::CUT_OFF);
        }
        if self.remote.is_none() {
            return self.standing;
        }
        let is_here = |slot: Slot| !self.map.is_elsewhere(slot) && self.map.owner(slot) == self.core;
        let has_here = |(spec, args): (&'static Spec, Args<'_>)| {
            key_indexes(spec, args).any(|key| is_here(Slot::of_key(args.at(key))))
        };
        let queued = client.and_then(|client| client.transaction.as_ref());
        let concerns = command.is_some_and(has_here) || queued.is_some_and(|queued| queued.commands().any(has_here));
        if concerns { self.standing } else { Standing::default() }
    }

    /// Runs an admitted command of a client of the gateway where other hosts have its keys, or some of them; nothing, if
    /// they are all in this process.
    #[inline]
    pub(crate) fn run_elsewhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Option<Done> {
        if spec.flags.contains(Flags::WRITE) {
            self.note_write(index);
        }
        let routes = self.remote.as_deref()?.gateway.routes();
        match Beyond::of(spec, args, first_key.map(|(slot, _)| slot), routes) {
            // There are links for each version of the protocol: what was sent over those of one has run before another's.
            Beyond::Here if may_change_protocol(spec) => {
                let is_answered = |connection: &Connection| connection.pipeline.is_empty();
                let may_run = self.connections[index as usize].as_deref().is_none_or(is_answered);
                (!may_run).then_some(Done::NotYet)
            }
            Beyond::Here => None,
            Beyond::Whole(slot) if spec.flags.contains(Flags::BLOCKING) => {
                Some(self.wait_elsewhere(hands, index, spec, args, slot))
            }
            Beyond::Whole(slot) if matches!(spec.reach, Reach::PubSub(_)) => {
                Some(self.publish_elsewhere(hands, index, spec, args, slot))
            }
            Beyond::Whole(slot) => Some(self.send_elsewhere(hands, index, spec, args, slot)),
            Beyond::Split => Some(self.split_over_hosts(hands, index, spec, args)),
            Beyond::Everywhere => Some(self.send_to_all_hosts(hands, index, spec, args)),
            Beyond::Scan => self.scan_all_hosts(hands, index, spec, args),
            Beyond::Refused(error) => Some(self.fail_with(hands, index, spec, args, error)),
        }
    }

    /// Sends a whole command to the node that has its slot.
    #[inline]
    fn send_elsewhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        slot: Slot,
    ) -> Done {
        let Self { connections, remote, meter, monotonic, .. } = self;
        let Some(connection) = connections[index as usize].as_deref_mut() else { return Done::Yes };
        let Some(remote) = remote else { return Done::Yes };
        let ticket = connection.pipeline.next_ticket();
        let to = ReturnAddress { socket: connection.socket, ticket, part: 0 };
        let envelope = Envelope { spec, slot, protocol: connection.client.protocol, to };
        match remote.gateway.send(*monotonic, envelope, args) {
            Sent::Yes => {
                connection.pipeline.expect_reply();
                meter.end_brief(spec, args, 0, Sender::Ours(&connection.client));
                Done::Yes
            }
            Sent::NotYet => Done::NotYet,
            Sent::Refused(error) => self.fail_with(hands, index, spec, args, error),
        }
    }

    /// Has a client wait at the node that has its keys.
    fn wait_elsewhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        slot: Slot,
    ) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
        // What was sent before goes over other links: it must have run.
        if !connection.pipeline.is_empty() {
            return Done::NotYet;
        }
        let (socket, protocol) = (connection.socket, connection.client.protocol);
        let Some(remote) = &mut self.remote else { return Done::Yes };
        let to = ReturnAddress { socket, ticket: connection.pipeline.next_ticket(), part: 0 };
        let timeout = timeout_of(spec, args, self.now);
        let timeout_ms = timeout.and_then(|(_, timeout_ms)| timeout_ms);
        let ends = timeout.zip(timeout_ms).map(|((at, _), millis)| (at, self.monotonic.plus_millis(millis)));
        match remote.gateway.send_alone(self.monotonic, Envelope { spec, slot, protocol, to }, args, ends) {
            Sent::Yes => {}
            Sent::NotYet => return Done::NotYet,
            Sent::Refused(error) => return self.fail_with(hands, index, spec, args, error),
        }
        self.raise_barrier(index);
        if let Some(connection) = self.connection(index) {
            connection.blocking = Some(Box::new(KeptRequests::of_one(spec, args)));
        }
        // The node answers when the time is over, if it is there.
        let timeout_ms = timeout_ms.map(|millis| millis.saturating_add(LATE_MILLIS));
        self.begin_wait(hands.sockets, index, Wait { is_elsewhere: true, ..Wait::for_nobody(spec) }, timeout_ms);
        Done::Yes
    }

    /// Nobody waits for that reply any more.
    pub(crate) fn cancel_elsewhere(&mut self, to: ReturnAddress) {
        if let Some(remote) = &mut self.remote {
            remote.gateway.cancel(to);
        }
    }

    /// Sends cores of ours their keys of a command, nodes of other hosts theirs slot by slot, and gathers.
    fn split_over_hosts(&mut self, hands: &mut Hands<'_>, index: u32, spec: &'static Spec, args: Args<'_>) -> Done {
        let Some(remote) = &self.remote else { return Done::Yes };
        let (map, routes) = (&self.map, remote.gateway.routes());
        let parts: Vec<Part<Home>> = split(spec, args, |slot| home_of(slot, map, routes));
        let words = |part: &Part<Home>| {
            let mut words = vec![args.at(0)];
            words.extend(part.arguments.iter().map(|&argument| args.at(argument as usize)));
            words
        };
        let requests: Vec<(Home, Vec<&[u8]>)> = parts.iter().map(|part| (part.home, words(part))).collect();
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let gather = Gather::of_parts(spec, args, &parts, connection.client.protocol);
        self.run_parts_anywhere(hands, index, spec, gather, &requests)
    }

    /// Says something on a shard channel of another host. Its node counts those who hear it there: of this process that is
    /// each core that hears for its clients. They are counted themselves instead.
    fn publish_elsewhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
        slot: Slot,
    ) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
        let (socket, protocol) = (connection.socket, connection.client.protocol);
        let ticket = connection.pipeline.next_ticket();
        let request = (Home::Slot(slot), args.iter_from(0).collect());
        let done = self.run_parts_anywhere(hands, index, spec, Gather::sums(2, protocol), &[request]);
        if done == Done::Yes {
            let census = self.subscriptions.audience().census(None);
            let [clients, cores] =
                [census.subscribers(ChannelKind::Shard, args.at(1)), census.cores(ChannelKind::Shard, args.at(1))];
            drop(census);
            let mut more = Vec::new();
            Reply::new(&mut more, protocol).integer((clients - cores) as i64);
            self.accept_part(ReturnAddress { socket, ticket, part: 1 }, &more);
            self.release(hands, index);
        }
        done
    }

    /// Sends a command to all that have slots, and gathers.
    fn send_to_all_hosts(&mut self, hands: &mut Hands<'_>, index: u32, spec: &'static Spec, args: Args<'_>) -> Done {
        let Some(remote) = &self.remote else { return Done::Yes };
        let routes = remote.gateway.routes();
        let words: Vec<&[u8]> = args.iter_from(0).collect();
        let (mut requests, mut weights) = (Vec::new(), Vec::new());
        let ours: Vec<u64> = match routes.has_local() {
            true => self.map.slots_of_cores(),
            false => Vec::new(),
        };
        for (core, slots) in (0..).zip(ours).filter(|&(_, slots)| slots > 0) {
            requests.push((Home::Core(core), words.clone()));
            weights.push(slots);
        }
        for master in routes.masters() {
            requests.push((Home::Slot(master.first), words.clone()));
            weights.push(u64::from(master.slots));
        }
        let chance = slotmesh_io::entropy::random_u64();
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let gather = Gather::over_hosts(spec, weights, connection.client.protocol, chance);
        self.run_parts_anywhere(hands, index, spec, gather, &requests)
    }

    /// Does one step of a scan; nothing, if its cursor is none, which any shard says.
    fn scan_all_hosts(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
    ) -> Option<Done> {
        let step = ScanStep::of(args, &self.map, self.remote.as_deref()?.gateway.routes())?;
        let gather = Gather::scan(step.onward, self.connection(index)?.client.protocol);
        let words = step.words.iter().map(Vec::as_slice).collect();
        Some(self.run_parts_anywhere(hands, index, spec, gather, &[(step.home, words)]))
    }

    fn run_parts_anywhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        gather: Gather,
        requests: &[(Home, Vec<&[u8]>)],
    ) -> Done {
        let len = |words: &Vec<&[u8]>| hop::request_len(words.iter().copied());
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let Some(remote) = &mut self.remote else { return Done::Yes };
        let (socket, protocol) = (connection.socket, connection.client.protocol);
        let no_touch = connection.client.no_touch;
        let tracked = connection.client.tracked().map(|by| by.remembers);
        let ticket = connection.pipeline.next_ticket();
        // All parts go, or none: half a command must not wait.
        let mut is_ready = |(home, words): &(Home, Vec<&[u8]>)| match *home {
            Home::Core(core) if core == self.core => self.lending.home().is_some(),
            Home::Core(core) => has_room(hands.mail, core, len(words)),
            Home::Slot(slot) => remote.gateway.may_send(ReturnAddress { socket, ticket, part: 0 }, slot, protocol),
        };
        if !requests.iter().all(&mut is_ready) {
            return Done::NotYet;
        }
        connection.pipeline.expect_gathered(gather);
        if requests.iter().any(|(home, _)| matches!(home, Home::Core(_))) {
            cork(&mut self.corked, self.turn, connection, hands.sockets);
        }
        for (part, (home, words)) in requests.iter().enumerate() {
            let back = ReturnAddress { socket, ticket, part: part as u32 };
            match *home {
                Home::Core(core) if core == self.core => self.run_own_part(index, spec, words, back),
                Home::Core(core) => {
                    let kind = RequestKind::Command;
                    let head =
                        RequestHead { kind, protocol, partial: true, no_touch, tracked, db: 0, first_key: None, back };
                    send_request(hands.mail, core, &head, len(words), words.iter().copied());
                    self.outstanding += 1;
                    self.counters.hops_out += 1;
                }
                Home::Slot(slot) => self.send_part_elsewhere(spec, words, slot, back),
            }
        }
        let is_counted = requests.first().is_none_or(|(home, _)| matches!(home, Home::Slot(_)));
        if is_counted && let Some(connection) = self.connections[index as usize].as_deref() {
            self.meter.end(spec, Args::new(&[], &[]), Sender::Ours(&connection.client));
        }
        self.release(hands, index);
        Done::Yes
    }

    fn send_part_elsewhere(&mut self, spec: &'static Spec, words: &[&[u8]], slot: Slot, back: ReturnAddress) {
        let Some(connection) = self.connections[back.socket.index as usize].as_deref_mut() else { return };
        let Some(remote) = &mut self.remote else { return };
        let protocol = connection.client.protocol;
        let is_repeatable = spec.is_repeatable_in_parts();
        let envelope = Envelope { spec, slot, protocol, to: back };
        let error = match remote.gateway.send_part(self.monotonic, envelope, words.iter().copied(), is_repeatable) {
            Sent::Yes => return,
            Sent::NotYet => ReplyError::NodeNotReached,
            Sent::Refused(error) => error,
        };
        let mut text = Vec::new();
        Reply::new(&mut text, protocol).error(error);
        connection.pipeline.accept(back.ticket, back.part, &text);
    }
}

/// Whether a client may speak another version of the protocol behind a command.
fn may_change_protocol(spec: &Spec) -> bool {
    matches!(spec.reach, Reach::Connection(ConnectionCommand::Hello | ConnectionCommand::Reset))
}
