//! The mail of one core: replies to its connections, requests that it serves for others, and connections that
//! wait for room.

use crate::engine::{Done, Engine, Hands, uncork_if_answered};
use crate::hop::{self, Parcel, RequestHead, RequestKind, ReturnAddress};
use slotmesh_base::limits::MAILBOX_RECORD_BYTES_MAX;
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{Flags, Spec, resolve};
use slotmesh_io::{Lane, Sockets};
use slotmesh_keyspace::Key;
use slotmesh_resp::{ArgRange, Args, ProtocolError, Reply};
use slotmesh_shard::Context;
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
    /// For each answer where it goes, and where it ends.
    ends: Vec<(ReturnAddress, usize)>,
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
            None => connection.waiting.push(spec, args.iter_from(0)),
        }
        self.hold(hands.sockets, index);
    }

    /// Executes nothing of a connection, and does not read it, until [`resume`](Self::resume).
    pub(crate) fn hold(&mut self, sockets: &mut Sockets, index: u32) {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        if !std::mem::replace(&mut connection.stalled, true) {
            self.stalled.push(index);
            sockets.pause(connection.socket);
        }
    }

    /// Goes on with what a connection keeps; whether all of it went.
    pub(crate) fn resume(&mut self, hands: &mut Hands<'_>, index: u32) -> bool {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return false };
        if !connection.pipeline.has_room() {
            self.stalled.push(index);
            return false;
        }
        connection.stalled = false;
        let socket = connection.socket;
        let mut waiting = std::mem::take(&mut connection.waiting);
        while let Some(request) = waiting.next() {
            let args = Args::new(&waiting.bytes, waiting.ranges(request));
            if self.run(hands, index, request.spec, args, None) == Done::NotYet {
                if let Some(connection) = self.connection(index) {
                    connection.waiting = waiting;
                    connection.stalled = true;
                    self.stalled.push(index);
                }
                return false;
            }
            waiting.pop();
        }
        if let Some(failure) = waiting.failure {
            self.fail(hands, index, failure);
        }
        hands.sockets.resume(socket);
        true
    }

    /// Takes all replies that `core` has sent.
    pub(crate) fn take_replies(&mut self, hands: &mut Hands<'_>, core: usize) {
        let Hands { sockets, mail } = hands;
        while mail
            .receive_batch::<RECORDS_AT_ONCE, _>(core, Lane::Replies, |records, take_parcel| {
                for record in records {
                    let (back, reply, is_parcel) = hop::read_reply(record);
                    match is_parcel.then(&mut *take_parcel) {
                        None => self.deliver(sockets, back, reply),
                        Some(Parcel::Bytes(reply)) => self.deliver(sockets, back, &reply),
                        Some(Parcel::Connection { .. }) => unreachable!("connections are no replies"),
                    }
                }
            })
            .is_some()
        {}
    }

    fn deliver(&mut self, sockets: &mut Sockets, back: ReturnAddress, reply: &[u8]) {
        self.outstanding -= 1;
        let index = back.socket.index;
        let Some(connection) = self.connections.get_mut(index as usize).and_then(Option::as_deref_mut) else { return };
        if connection.socket != back.socket {
            return;
        }
        self.counters.errors += u64::from(reply.first() == Some(&b'-'));
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
        if self.answered.last() != Some(&index) {
            self.answered.push(index);
        }
    }

    /// Serves some of the requests of `core`; `None` if there are none, or no room for the answers.
    pub(crate) fn serve(&mut self, hands: &mut Hands<'_>, core: usize) -> Option<Served> {
        // Every answer fits at least as the announcement of a parcel.
        if !hands.mail.has_room(core, Lane::Replies, RECORDS_AT_ONCE, hop::REPLY_HEAD) {
            return None;
        }
        let mut service = std::mem::take(&mut self.service);
        let sockets = &*hands.sockets;
        let served = hands.mail.receive_batch::<RECORDS_AT_ONCE, _>(core, Lane::Requests, |records, take_parcel| {
            self.prefetch(records, &mut service);
            let mut served = Served::default();
            for record in records {
                let head = hop::read_request_head(record);
                match head.kind {
                    RequestKind::Stop => served.stop = true,
                    RequestKind::Parcel => match take_parcel() {
                        Parcel::Connection { socket, unix_socket } => served.connections.push((socket, unix_socket)),
                        Parcel::Bytes(record) => {
                            self.answer(sockets, &hop::read_request_head(&record), &record, &mut service);
                        }
                    },
                    RequestKind::Command | RequestKind::ListClients => {
                        self.answer(sockets, &head, record, &mut service);
                    }
                }
            }
            served
        });
        let (mut start, mut behind) = (0, service.ends.len());
        for &(back, end) in &service.ends {
            behind -= 1;
            send_reply(hands, core, back, &service.answers[start..end], behind);
            start = end;
        }
        service.ends.clear();
        service.answers.clear();
        service.answers.shrink_to(ANSWER_BYTES_KEPT);
        self.service = service;
        served
    }

    fn prefetch(&self, records: &[&[u8]], service: &mut Service) {
        let Some(shard) = &self.shard else { return };
        service.keys.clear();
        let mut db = 0;
        for record in records {
            let head = hop::read_request_head(record);
            db = head.db;
            service.keys.extend(head.first_key);
        }
        shard.prefetch(db, &service.keys);
    }

    /// Runs a request of another core; its answer is appended to the service's answers.
    fn answer(&mut self, sockets: &Sockets, head: &RequestHead, record: &[u8], service: &mut Service) {
        let Service { answers, ends, ranges, .. } = service;
        let args = hop::read_arguments(record, ranges);
        if head.kind == RequestKind::ListClients {
            let ids: Vec<u64> = args.iter_from(0).filter_map(|id| std::str::from_utf8(id).ok()?.parse().ok()).collect();
            let mut text = Vec::new();
            self.write_client_lines(sockets, &ids, &mut text);
            Reply::new(answers, head.protocol).bulk(&text);
        } else {
            self.counters.hops_in += 1;
            self.run_for_other(head, args, answers);
        }
        ends.push((head.back, answers.len()));
    }

    fn run_for_other(&mut self, head: &RequestHead, args: Args<'_>, out: &mut Vec<u8>) {
        let Ok(spec) = resolve(args) else { unreachable!("the sender has looked up the command") };
        let limits = self.hot_limits();
        let first_key = head.first_key.zip(slotmesh_command::first_key_index(spec, args.len()));
        let context = Context {
            db: head.db,
            protocol: head.protocol,
            now: self.now,
            first_key: first_key.map(|((slot, hash), at)| Key { bytes: args.at(at), slot, hash }),
            limits,
            partial: head.partial,
        };
        let shard = self.shard.as_deref_mut().expect("requests go to cores that own slots");
        self.shard_used = true;
        let start = out.len();
        if catch_unwind(AssertUnwindSafe(|| shard.execute(spec, args, &context, out))).is_err() {
            self.process.log.warning(format_args!("A bug was met while running '{}'", spec.full_name));
            // After a panic in a write nobody knows what was done.
            if spec.flags.contains(Flags::WRITE) {
                std::process::abort();
            }
            out.truncate(start);
            Reply::new(out, head.protocol).error(ReplyError::Internal);
        }
    }
}

/// Sends an answer; `behind` more follow, each of which must find room at least for the announcement of a parcel.
fn send_reply(hands: &mut Hands<'_>, core: usize, back: ReturnAddress, reply: &[u8], behind: usize) {
    let len = hop::REPLY_HEAD + reply.len();
    let kept_free = behind * 2 * hop::REPLY_HEAD;
    if len <= MAILBOX_RECORD_BYTES_MAX && hands.mail.has_room(core, Lane::Replies, 1, len + kept_free) {
        let room = hands.mail.reserve(core, Lane::Replies, len).expect("room was just found");
        return hop::write_reply(back, false, reply, room);
    }
    hands.mail.put_parcel(core, Lane::Replies, Parcel::Bytes(reply.to_vec()));
    let room = hands.mail.reserve(core, Lane::Replies, hop::REPLY_HEAD).expect("room was kept free");
    hop::write_reply(back, true, &[], room);
}
