//! Requests that run on other cores: sent whole, or in parts whose replies are gathered.

use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, Parcel, RequestHead, RequestKind, ReturnAddress};
use crate::meter::Sender;
use crate::replies::cork;
use slotmesh_base::Slot;
use slotmesh_base::limits::MAILBOX_RECORD_BYTES_MAX;
use slotmesh_command::Spec;
use slotmesh_io::{Lane, Mail};
use slotmesh_resp::{ArgRange, Args};
use slotmesh_shard::{Context, Gather, Part, split};

impl Engine {
    /// Sends a whole command to another core.
    pub(crate) fn send_whole(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        core: u16,
        args: Args<'_>,
        first_key: Option<(Slot, u64)>,
    ) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let len = hop::request_len(args.iter_from(0));
        if !has_room(hands.mail, core, len) {
            return Done::NotYet;
        }
        let ticket = connection.pipeline.expect_reply();
        cork(&mut self.corked, self.turn, connection, hands.sockets);
        let head = RequestHead {
            kind: RequestKind::Command,
            protocol: connection.client.protocol,
            partial: false,
            no_touch: connection.client.no_touch,
            tracked: connection.client.tracked().map(|by| by.remembers),
            db: connection.client.db,
            first_key,
            back: ReturnAddress { socket: connection.socket, ticket, part: 0 },
        };
        send_request(hands.mail, core, &head, len, args.iter_from(0));
        self.outstanding += 1;
        self.counters.hops_out += 1;
        Done::Yes
    }

    /// Sends each core its keys of a command, and gathers.
    pub(crate) fn run_split(&mut self, hands: &mut Hands<'_>, index: u32, spec: &'static Spec, args: Args<'_>) -> Done {
        let parts = split(spec, args, |slot| self.map.owner(slot));
        let words = |part: &Part<u16>| {
            let mut words = vec![args.at(0)];
            words.extend(part.arguments.iter().map(|&argument| args.at(argument as usize)));
            words
        };
        let requests: Vec<(u16, Vec<&[u8]>)> = parts.iter().map(|part| (part.home, words(part))).collect();
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let gather = Gather::of_parts(spec, args, &parts, connection.client.protocol);
        self.run_parts(hands, index, spec, gather, &requests)
    }

    /// Sends a command to every shard, and gathers.
    pub(crate) fn run_everywhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        args: Args<'_>,
    ) -> Done {
        let shards = self.map.shards();
        let words: Vec<&[u8]> = args.iter_from(0).collect();
        let requests: Vec<(u16, Vec<&[u8]>)> = (0..shards).map(|core| (core, words.clone())).collect();
        let chance = slotmesh_io::entropy::random_u64();
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let gather = Gather::everywhere(spec, usize::from(shards), connection.client.protocol, chance);
        self.run_parts(hands, index, spec, gather, &requests)
    }

    fn run_parts(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        gather: Gather,
        requests: &[(u16, Vec<&[u8]>)],
    ) -> Done {
        let len = |words: &Vec<&[u8]>| hop::request_len(words.iter().copied());
        // All parts go, or none: half a command must not wait.
        let is_ready = |(core, words): &(u16, Vec<&[u8]>)| {
            if *core == self.core { self.lending.home().is_some() } else { has_room(hands.mail, *core, len(words)) }
        };
        if !requests.iter().all(is_ready) {
            return Done::NotYet;
        }
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let no_touch = connection.client.no_touch;
        let tracked = connection.client.tracked().map(|by| by.remembers);
        let (socket, protocol, db) = (connection.socket, connection.client.protocol, connection.client.db);
        let ticket = connection.pipeline.expect_gathered(gather);
        cork(&mut self.corked, self.turn, connection, hands.sockets);
        for (part, (core, words)) in requests.iter().enumerate() {
            let back = ReturnAddress { socket, ticket, part: part as u32 };
            if *core == self.core {
                self.run_own_part(index, spec, words, back);
            } else {
                let kind = RequestKind::Command;
                let head = RequestHead { kind, protocol, partial: true, no_touch, tracked, db, first_key: None, back };
                send_request(hands.mail, *core, &head, len(words), words.iter().copied());
                self.outstanding += 1;
                self.counters.hops_out += 1;
            }
        }
        self.release(hands, index);
        if self.lending.home().is_some_and(|shard| shard.has_letters()) {
            self.post_letters(hands);
        }
        Done::Yes
    }

    pub(crate) fn run_own_part(&mut self, index: u32, spec: &'static Spec, words: &[&[u8]], back: ReturnAddress) {
        let mut request = Vec::new();
        let mut ranges = Vec::with_capacity(words.len());
        for word in words {
            ranges.push(ArgRange { start: request.len() as u32, len: word.len() as u32 });
            request.extend_from_slice(word);
        }
        let mut limits = self.hot_limits();
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return };
        limits.access.touches = !connection.client.no_touch;
        let (db, protocol) = (connection.client.db, connection.client.protocol);
        let context = Context {
            db,
            protocol,
            now: self.now,
            first_key: None,
            limits,
            partial: true,
            is_node: false,
            may_block: false,
            tracked: connection.client.tracked(),
        };
        let shard = self.lending.home().expect("a part runs here when the shard is at home");
        let mut reply = Vec::new();
        shard.execute(spec, Args::new(&request, &ranges), &context, &mut reply);
        self.shard_used = true;
        let sender = Sender::Ours(&connection.client);
        if back.part > 0 {
            self.meter.end_share(spec, Args::new(&request, &ranges), sender);
        } else {
            self.meter.end(spec, Args::new(&request, &ranges), sender);
            if self.meter.note_reply(&reply) {
                self.meter.note_failed(spec);
            }
        }
        connection.pipeline.accept(back.ticket, back.part, &reply);
    }
}

/// Whether a request of `len` bytes can be sent to `core` now, itself or as a parcel.
pub(crate) fn has_room(mail: &mut Mail<Parcel>, core: u16, len: usize) -> bool {
    mail.has_room(usize::from(core), Lane::Requests, 1, len.min(MAILBOX_RECORD_BYTES_MAX))
}

/// Sends a request for which there is room.
pub(crate) fn send_request<'a>(
    mail: &mut Mail<Parcel>,
    core: u16,
    head: &RequestHead,
    len: usize,
    arguments: impl ExactSizeIterator<Item = &'a [u8]>,
) {
    let core = usize::from(core);
    if len <= MAILBOX_RECORD_BYTES_MAX {
        let room = mail.reserve(core, Lane::Requests, len).expect("room was found before");
        hop::write_request(head, arguments, room);
        return;
    }
    let mut bytes = vec![0; len];
    hop::write_request(head, arguments, &mut bytes);
    mail.put_parcel(core, Lane::Requests, Parcel::Bytes(bytes));
    announce_parcel(mail, core);
}

/// Writes the record that speaks of a parcel.
pub(crate) fn announce_parcel(mail: &mut Mail<Parcel>, core: usize) {
    let head = RequestHead::bare(RequestKind::Parcel);
    let len = hop::request_len(std::iter::empty());
    let room = mail.reserve(core, Lane::Requests, len).expect("room was found before");
    hop::write_request(&head, std::iter::empty(), room);
}
