//! The mail of one core: replies to its connections, requests that it serves for others, and connections that
//! wait for room.

use crate::blocking::run_errand;
use crate::bus::SiblingMail;
use crate::client::Waiting;
use crate::core_loop::TURN_BYTES_MAX;
use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, Parcel, ReplyKind, ReplyRecord, RequestHead, RequestKind, ReturnAddress};
use crate::lending::Arrival;
use crate::meter::Sender;
use crate::post::Freight;
use crate::pubsub::Message;
use crate::remote::is_of_poll;
use crate::replication::waits_for_replicas;
use crate::replies::uncork_if_answered;
use slotmesh_base::limits::MAILBOX_RECORD_BYTES_MAX;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{ChannelKind, Flags, Outcome, Spec, Wait, resolve};
use slotmesh_io::{Lane, Sockets};
use slotmesh_keyspace::Key;
use slotmesh_resp::{ArgRange, Args, Protocol, ProtocolError, Reply};
use slotmesh_shard::{ClientFilter, Context, Unblock, is_about_data};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Records taken from a mailbox at once; their cache misses overlap.
const RECORDS_AT_ONCE: usize = 64;
/// Capacity of the answers' buffer that is kept, in bytes.
const ANSWER_BYTES_KEPT: usize = 1 << 20;

/// Room for serving other cores, used again and again.
#[derive(Debug, Default)]
pub(crate) struct Service {
    answers: Vec<u8>,
    /// For each answer where it goes, what it is, and where it ends.
    ends: Vec<(ReturnAddress, ReplyKind, usize)>,
    ranges: Vec<ArgRange>,
    keys: Vec<(Slot, u64)>,
}

/// What came beside commands.
#[derive(Debug, Default)]
pub(crate) struct Served {
    /// Whether the core shall stop.
    pub(crate) stop: bool,
    /// Connections to serve, each with whether it came through the unix socket.
    pub(crate) connections: Vec<(OwnedFd, bool)>,
    /// What the bus of the core's shard says to ours.
    pub(crate) bus: Vec<SiblingMail>,
    /// The loan for which the core asks for our shard.
    ask: Option<u32>,
    /// Clients whose wait is to end: where the answer goes, the client's id, and how.
    unblocks: Vec<(ReturnAddress, u64, Unblock)>,
}

impl Engine {
    /// Keeps a request that cannot go on now, and stops reading its connection.
    pub(crate) fn stall(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: Option<&'static Spec>,
        args: Args<'_>,
        failure: Option<ProtocolError>,
    ) {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        match failure {
            Some(failure) => connection.waiting.failure = Some(failure),
            None => connection.waiting.requests.push(spec, args.iter_from(0)),
        }
        // While the shard is away for a moment it does not pay to stop reading: `receive` does if much comes. That a
        // client leaves during a pause is seen by reading.
        if self.lending.desk.is_away() || connection.postponed || connection.pipeline.is_held() {
            self.hold_reading(index);
        } else {
            self.hold(hands.sockets, index);
        }
    }

    /// Executes nothing of a connection, and does not read it, until [`resume`](Self::resume).
    pub(crate) fn hold(&mut self, sockets: &mut Sockets, index: u32) {
        if self.hold_reading(index)
            && let Some(connection) = self.connections[index as usize].as_deref_mut()
        {
            sockets.pause(connection.socket);
        }
    }

    /// Executes nothing of a connection until [`resume`](Self::resume), but goes on reading it; whether it was not held
    /// before.
    fn hold_reading(&mut self, index: u32) -> bool {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return false };
        let is_new = !std::mem::replace(&mut connection.stalled, true);
        if is_new && !connection.postponed {
            self.stalled.push(index);
        }
        is_new
    }

    /// Goes on with what a connection keeps; whether all of it went.
    pub(crate) fn resume(&mut self, hands: &mut Hands<'_>, index: u32) -> bool {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return false };
        if connection.barrier.is_some() || connection.postponed {
            return false;
        }
        if !connection.pipeline.has_room() {
            self.stalled.push(index);
            return false;
        }
        connection.stalled = false;
        let socket = connection.socket;
        let mut waiting = std::mem::take(&mut connection.waiting);
        while let Some(request) = waiting.requests.next() {
            let args = waiting.requests.args(request);
            if self.run(hands, index, request.spec, args, None) == Done::NotYet {
                if let Some(connection) = self.connection(index) {
                    connection.waiting = waiting;
                    connection.stalled = true;
                    // Behind a barrier it is not tried again before the reply is there.
                    if connection.barrier.is_none() && !connection.postponed {
                        self.stalled.push(index);
                    }
                }
                return false;
            }
            waiting.requests.pop();
            if self.has_had_its_share(hands.sockets, index) {
                self.put_back(index, waiting);
                return false;
            }
        }
        if let Some(failure) = waiting.failure
            && self.fail(hands, index, failure) == Done::NotYet
            && let Some(connection) = self.connection(index)
        {
            connection.waiting.failure = Some(failure);
            return false;
        }
        hands.sockets.resume(socket);
        true
    }

    /// Whether a connection that goes on with what it kept must let others have their turn, or its replies go out.
    fn has_had_its_share(&mut self, sockets: &Sockets, index: u32) -> bool {
        self.look_at_clock();
        let pending = self
            .connection(index)
            .map_or(0, |connection| sockets.pending_bytes(connection.socket) + connection.pipeline.kept_bytes());
        self.is_late || sockets.turn_bytes().max(pending) > TURN_BYTES_MAX
    }

    /// Keeps what is left for the next turn.
    fn put_back(&mut self, index: u32, waiting: Waiting) {
        let Some(connection) = self.connection(index) else { return };
        connection.waiting = waiting;
        connection.stalled = true;
        // Behind a barrier it is not tried again before the reply is there.
        if connection.barrier.is_none() {
            self.stalled.push(index);
            self.has_released = true;
        }
    }

    /// Takes all replies that `core` has sent.
    pub(crate) fn take_replies(&mut self, hands: &mut Hands<'_>, core: usize) {
        if self.process.has_unsigned() {
            self.sign_slow_log();
        }
        let Hands { sockets, mail } = hands;
        while mail
            .receive_batch::<RECORDS_AT_ONCE, _>(core, Lane::Replies, |records, take_parcel| {
                for record in records {
                    let reply = hop::read_reply(record);
                    let parcel = reply.is_parcel.then(&mut *take_parcel);
                    self.take_reply(sockets, core as u16, &reply, parcel);
                }
                (records.len(), ())
            })
            .is_some()
        {}
    }

    #[inline]
    fn take_reply(&mut self, sockets: &mut Sockets, from: u16, reply: &ReplyRecord<'_>, parcel: Option<Parcel>) {
        let back = reply.back;
        let bytes = match &parcel {
            None => reply.bytes,
            Some(Parcel::Bytes(bytes)) => bytes,
            Some(Parcel::Shard(_)) => return self.take_shard(from, reply, parcel),
            Some(Parcel::Replication(_)) => return self.take_replication_mail(from, parcel),
            Some(Parcel::Connection { .. } | Parcel::Bus(_)) => unreachable!("neither is a reply"),
        };
        match reply.kind {
            ReplyKind::Answer => {
                self.outstanding -= 1;
                self.hand_over(sockets, back, bytes);
            }
            ReplyKind::Late if is_of_poll(back) => self.note_ours(back, bytes),
            ReplyKind::Late => {
                self.hand_over(sockets, back, bytes);
            }
            ReplyKind::Waits => self.note_wait(sockets, from, back, bytes),
            ReplyKind::Lent | ReplyKind::GivenBack | ReplyKind::Called => unreachable!("a shard is a parcel"),
            ReplyKind::Stream => unreachable!("so is mail"),
            ReplyKind::Stale => self.take_stale(sockets, back, bytes),
        }
    }

    #[cold]
    fn take_replication_mail(&mut self, from: u16, parcel: Option<Parcel>) {
        if let Some(Parcel::Replication(mail)) = parcel {
            self.errands.mail.push((from, mail));
        }
    }

    #[cold]
    fn take_shard(&mut self, from: u16, reply: &ReplyRecord<'_>, parcel: Option<Parcel>) {
        let Some(Parcel::Shard(shard)) = parcel else { return };
        self.lending.arrivals.push(match reply.kind {
            ReplyKind::Lent => Arrival::Lent { from, loan: reply.back.ticket, shard },
            ReplyKind::GivenBack => Arrival::GivenBack { shard },
            ReplyKind::Called => Arrival::Called { from, ticket: reply.back.to_ticket(self.core), shard },
            ReplyKind::Answer | ReplyKind::Waits | ReplyKind::Late | ReplyKind::Stream | ReplyKind::Stale => {
                unreachable!("only shards travel so")
            }
        });
    }

    /// Hands a reply to the connection whose ticket waits for it.
    pub(crate) fn hand_over(&mut self, sockets: &mut Sockets, back: ReturnAddress, reply: &[u8]) {
        let index = back.socket.index;
        let Some(connection) = self.connections.get_mut(index as usize).and_then(Option::as_deref_mut) else { return };
        if connection.socket != back.socket {
            return;
        }
        let is_again =
            connection.barrier == Some(back.ticket) && connection.blocking.is_some() && self.begins_again(index, reply);
        let reply = if is_again { &[] } else { reply };
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        // Where one part of a gathered reply is an error, all are.
        if back.part == 0 {
            self.meter.note_reply(reply);
        }
        connection.pipeline.note_reply(reply.len());
        let mut nowhere = Vec::new();
        let output = sockets.output(back.socket);
        let is_open = output.is_some();
        let output = output.unwrap_or(&mut nowhere);
        if connection.pipeline.is_next(back.ticket) {
            output.extend_from_slice(reply);
            connection.pipeline.pass_next();
        } else {
            connection.pipeline.accept(back.ticket, back.part, reply);
        }
        connection.pipeline.release(output);
        if is_open {
            sockets.commit(back.socket);
        }
        uncork_if_answered(connection, sockets);
        if connection.barrier == Some(back.ticket) && !connection.pipeline.awaits(back.ticket) {
            self.lower_barrier(index, reply);
        }
        if self.answered.last() != Some(&index) {
            self.answered.push(index);
        }
    }

    /// What waited for a reply may go on.
    #[cold]
    fn lower_barrier(&mut self, index: u32, reply: &[u8]) {
        if let Some(wait) = self.forget_wait(index)
            && waits_for_replicas(wait.spec)
        {
            self.count_wait(index, wait.spec, reply);
        }
        // It may be that of an order to the stream.
        self.refresh_standing();
        if let Some(connection) = self.connection(index) {
            connection.barrier = None;
            self.stalled.push(index);
            self.has_released = true;
        }
    }

    /// Serves some of the requests of `core`; `None` if there are none, or no room for the answers, or our shard is away.
    pub(crate) fn serve(&mut self, hands: &mut Hands<'_>, core: usize) -> Option<Served> {
        // Every answer fits at least as the announcement of a parcel.
        if self.lending.desk.is_away() || !hands.mail.has_room(core, Lane::Replies, RECORDS_AT_ONCE, hop::REPLY_HEAD) {
            return None;
        }
        let mut service = std::mem::take(&mut self.service);
        let sockets = &mut *hands.sockets;
        let served = hands.mail.receive_batch::<RECORDS_AT_ONCE, _>(core, Lane::Requests, |records, take_parcel| {
            self.prefetch(records, &mut service);
            self.meter.enter_span();
            self.meter.begin();
            let mut served = Served::default();
            for (taken, record) in records.iter().enumerate() {
                let head = hop::read_request_head(record);
                match head.kind {
                    RequestKind::Stop => served.stop = true,
                    RequestKind::Ask => {
                        served.ask = Some(head.back.ticket);
                        return (taken + 1, served);
                    }
                    RequestKind::Parcel => match take_parcel() {
                        Parcel::Connection { socket, unix_socket } => served.connections.push((socket, unix_socket)),
                        Parcel::Bytes(record) => {
                            let head = hop::read_request_head(&record);
                            self.answer(sockets, core as u16, &head, &record, &mut service, &mut served);
                        }
                        Parcel::Bus(mail) => served.bus.push(*mail),
                        Parcel::Shard(_) | Parcel::Replication(_) => unreachable!("neither is a request"),
                    },
                    _ => self.answer(sockets, core as u16, &head, record, &mut service, &mut served),
                }
                // A waiter that the shard calls comes before whatever follows; and what clients were told must go out.
                let has_letters = self.lending.home().is_some_and(|shard| shard.has_letters());
                if has_letters || self.heard.bytes > TURN_BYTES_MAX {
                    return (taken + 1, served);
                }
            }
            (records.len(), served)
        });
        self.meter.flush();
        self.publish_own_gain();
        let (mut start, mut behind) = (0, service.ends.len());
        for &(back, kind, end) in &service.ends {
            behind -= 1;
            send_reply(hands, core, back, kind, &service.answers[start..end], behind);
            start = end;
        }
        service.ends.clear();
        service.answers.clear();
        service.answers.shrink_to(ANSWER_BYTES_KEPT);
        self.service = service;
        if let Some(served) = &served {
            self.follow_up(hands, core as u16, served);
        }
        served
    }

    /// What serving a core's requests asks for beside the answers.
    fn follow_up(&mut self, hands: &mut Hands<'_>, core: u16, served: &Served) {
        if let Some(loan) = served.ask {
            // Serving stops at a record that leaves letters, so that there are none here.
            self.lend(hands, core, loan);
        } else if self.lending.home().is_some_and(|shard| shard.has_letters()) {
            // If the shard goes to serve somebody, the next requests are another core's turn.
            self.lending.last_served = usize::from(core);
            self.post_letters(hands);
        }
        for &(back, client, why) in &served.unblocks {
            let is_unblocked = self.unblock_client(hands, client, why);
            let mut part = Vec::new();
            Reply::new(&mut part, Protocol::Resp2).integer(i64::from(is_unblocked));
            self.post.send(hands.mail, core, ReplyKind::Answer, back, Freight::Bytes(part));
        }
    }

    fn prefetch(&self, records: &[&[u8]], service: &mut Service) {
        let Some(shard) = self.lending.desk.home() else { return };
        service.keys.clear();
        let mut db = 0;
        for record in records {
            let head = hop::read_request_head(record);
            db = head.db;
            service.keys.extend(head.first_key);
        }
        shard.prefetch(db, &service.keys);
    }

    /// Runs a request of another core; its answer, if there is one now, is appended to the service's answers.
    fn answer(
        &mut self,
        sockets: &mut Sockets,
        from: u16,
        head: &RequestHead,
        record: &[u8],
        service: &mut Service,
        served: &mut Served,
    ) {
        let Service { answers, ends, ranges, .. } = service;
        let args = hop::read_arguments(record, ranges);
        let mut kind = ReplyKind::Answer;
        match head.kind {
            RequestKind::Command => {
                self.counters.hops_in += 1;
                self.run_for_other(from, head, args, false, answers);
            }
            RequestKind::Blocking => {
                self.counters.hops_in += 1;
                kind = ReplyKind::Late;
                if let Outcome::Blocks(wait) = self.run_for_other(from, head, args, true, answers) {
                    kind = self.block_for_other(from, head, args, &wait, answers);
                }
            }
            RequestKind::ListClients => {
                let mut text = Vec::new();
                self.write_client_lines(sockets, &ClientFilter::of_words(args.iter_from(0)), None, &mut text);
                Reply::new(answers, head.protocol).bulk(&text);
            }
            RequestKind::UnblockClient => {
                let client = std::str::from_utf8(args.at(0)).ok().and_then(|id| id.parse().ok());
                let client = client.expect("cores of one process agree on numbers");
                return served.unblocks.push((head.back, client, hop::read_unblock_word(args.at(1))));
            }
            RequestKind::Drill => {
                let bytes = std::str::from_utf8(args.at(0)).ok().and_then(|bytes| bytes.parse().ok());
                let bytes = bytes.expect("cores of one process agree on numbers");
                match self.begin_drill((from, head.back), bytes) {
                    Some(answer) => answers.extend_from_slice(&answer),
                    None => return,
                }
            }
            RequestKind::KillClients => {
                let killed = self.kill_clients(&ClientFilter::of_words(args.iter_from(0)), None);
                Reply::new(answers, head.protocol).integer(killed);
            }
            RequestKind::Refresh => {
                self.refresh_pause();
                self.refresh_monitors();
                self.refresh_broadcasts();
                Reply::new(answers, head.protocol).ok();
            }
            RequestKind::Publish => {
                self.counters.hops_in += 1;
                let receivers = self.tell(sockets, Message::of_words(args), None);
                Reply::new(answers, head.protocol).integer(receivers.all);
            }
            RequestKind::Tell => {
                self.counters.hops_in += 1;
                self.tell(sockets, Message::of_words(args), None);
                return;
            }
            RequestKind::Show => return self.show_here(sockets, args.at(0), false),
            RequestKind::TellNodes => {
                self.counters.hops_in += 1;
                let Message { kind, channel, text } = Message::of_words(args);
                if let Some(bus) = &mut self.bus {
                    bus.publish(channel, text, kind == ChannelKind::Shard);
                }
                return;
            }
            RequestKind::Inspect => {
                let words: Vec<&[u8]> = args.iter_from(0).collect();
                self.inspect(head.db, head.protocol, &words, answers);
            }
            RequestKind::Watch => self.watch_for_other(head, args, answers),
            RequestKind::Unblock | RequestKind::Unwatch => {
                let words: Vec<&[u8]> = args.iter_from(0).collect();
                return self.run_errand_for_other(from, head, &words);
            }
            RequestKind::Ask | RequestKind::Parcel | RequestKind::Stop => unreachable!("these are no commands"),
        }
        ends.push((head.back, kind, answers.len()));
    }

    fn run_errand_for_other(&mut self, from: u16, head: &RequestHead, words: &[&[u8]]) {
        let bounds = (self.now, self.hot_limits());
        self.shard_used = true;
        if let Some(shard) = self.lending.home() {
            run_errand(shard, bounds, from, (head.kind, head.back), words);
        }
    }

    /// Puts a client of another core in line, unless the slot of its key has left while its request was on the way; what
    /// it is answered.
    fn block_for_other(
        &mut self,
        from: u16,
        head: &RequestHead,
        args: Args<'_>,
        wait: &Wait,
        answers: &mut Vec<u8>,
    ) -> ReplyKind {
        let Ok(spec) = resolve(args) else { unreachable!("the sender has looked up the command") };
        if let Some(error) = self.refuse_wait(spec, args) {
            Reply::new(answers, head.protocol).error(error);
            return ReplyKind::Late;
        }
        let limits = self.hot_limits();
        let (db, protocol, now) = (head.db, head.protocol, self.now);
        let context = Context {
            db,
            protocol,
            now,
            first_key: None,
            limits,
            partial: false,
            is_node: false,
            may_block: true,
            tracked: head.tracked_by(from),
        };
        if let Some(shard) = self.lending.home() {
            shard.block(head.back.to_ticket(from), spec, args, &context, wait, false);
        }
        answers.extend_from_slice(&wait.timeout_ms.unwrap_or(u64::MAX).to_le_bytes());
        ReplyKind::Waits
    }

    fn run_for_other(
        &mut self,
        from: u16,
        head: &RequestHead,
        args: Args<'_>,
        may_block: bool,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let Ok(spec) = resolve(args) else { unreachable!("the sender has looked up the command") };
        let mut limits = self.hot_limits();
        limits.access.touches = !head.no_touch;
        let first_key = head.first_key.zip(slotmesh_command::first_key_index(spec, args.len()));
        let context = Context {
            db: head.db,
            protocol: head.protocol,
            now: self.now,
            first_key: first_key.map(|((slot, hash), at)| Key { bytes: args.at(at), slot, hash }),
            limits,
            partial: head.partial,
            is_node: false,
            may_block,
            tracked: head.tracked_by(from),
        };
        self.shard_used = true;
        let start = out.len();
        // The sender may not have known how we stand now.
        if let Some(error) = self.standing.refusal_of_write(spec).filter(|_| is_about_data(spec, args)) {
            Reply::new(out, head.protocol).error(error);
            self.meter.note_failed(spec);
            return Outcome::Replied;
        }
        let shard = self.lending.home().expect("requests are served while the shard is at home");
        let outcome = catch_unwind(AssertUnwindSafe(|| shard.execute(spec, args, &context, out)));
        let outcome = outcome.unwrap_or_else(|_| {
            self.process.log.warning(format_args!("A bug was met while running '{}'", spec.full_name));
            // After a panic in a write nobody knows what was done.
            if spec.flags.contains(Flags::WRITE) {
                std::process::abort();
            }
            out.truncate(start);
            Reply::new(out, head.protocol).error(ReplyError::Internal);
            Outcome::Replied
        });
        if outcome == Outcome::Replied {
            let sender = Sender::Of(from, head.back.socket);
            if head.partial && head.back.part > 0 {
                self.meter.end_share(spec, args, sender);
            } else {
                self.meter.end_brief(spec, args, out.len() - start, sender);
                // That there was an error is counted where the reply leaves.
                if out.get(start) == Some(&b'-') {
                    self.meter.note_failed(spec);
                }
            }
        }
        outcome
    }

    /// Writes our clients into the entries of the slow log that other cores have made of their commands.
    #[cold]
    fn sign_slow_log(&self) {
        self.process.sign_slow_log(self.core, |index, generation| {
            let connection = self.connections.get(index as usize)?.as_deref()?;
            let is_same = connection.socket.index == index && connection.socket.generation == generation;
            is_same.then(|| (connection.client.address.clone(), connection.client.name.clone()))
        });
    }
}

/// Sends an answer; `behind` more follow, each of which must find room at least for the announcement of a parcel.
fn send_reply(hands: &mut Hands<'_>, core: usize, back: ReturnAddress, kind: ReplyKind, reply: &[u8], behind: usize) {
    let len = hop::REPLY_HEAD + reply.len();
    let kept_free = behind * 2 * hop::REPLY_HEAD;
    if len <= MAILBOX_RECORD_BYTES_MAX && hands.mail.has_room(core, Lane::Replies, 1, len + kept_free) {
        let room = hands.mail.reserve(core, Lane::Replies, len).expect("room was just found");
        return hop::write_reply(back, kind, false, reply, room);
    }
    hands.mail.put_parcel(core, Lane::Replies, Parcel::Bytes(reply.to_vec()));
    let room = hands.mail.reserve(core, Lane::Replies, hop::REPLY_HEAD).expect("room was kept free");
    hop::write_reply(back, kind, true, &[], room);
}
