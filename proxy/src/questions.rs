//! What one core asks of all cores, and gathers: the lines of their clients, a walk over each shard, the end of the wait
//! of a client that may be anybody's.

use crate::client::Connection;
use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, RequestHead, RequestKind, ReturnAddress, unblock_word};
use crate::post::Errand;
use crate::replies::cork;
use crate::scatter::{has_room, send_request};
use slotmesh_base::UnixMillis;
use slotmesh_io::Sockets;
use slotmesh_resp::{Args, Protocol, Reply};
use slotmesh_shard::{
    Client, ClientFilter, Context, Crowd, Gather, Inspection, NodeAction, Question, Unblock, describe_client,
};

impl Engine {
    /// Asks every core for the lines of its clients.
    /// The request of the one that asks, of `request_bytes`, counts as held by it.
    pub(crate) fn list_clients(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        filter: &ClientFilter,
        request_bytes: usize,
    ) -> Done {
        let words = filter.to_words();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        self.ask_all_cores(
            hands,
            index,
            RequestKind::ListClients,
            &words,
            Gather::texts,
            |engine, hands, protocol, _| {
                let (mut own, mut part) = (Vec::new(), Vec::new());
                engine.write_client_lines(hands.sockets, filter, Some((index, request_bytes)), &mut own);
                Reply::new(&mut part, protocol).bulk(&own);
                Some(part)
            },
        )
    }

    /// Has every core walk a snapshot of its shard.
    pub(crate) fn drill_snapshot(&mut self, hands: &mut Hands<'_>, index: u32, copies_bytes_max: usize) -> Done {
        if self.lending.desk.is_away() {
            return Done::NotYet;
        }
        let core = self.core;
        let bytes = copies_bytes_max.to_string();
        let words = [bytes.as_bytes()];
        self.ask_all_cores(hands, index, RequestKind::Drill, &words, Gather::texts, |engine, _, _, back| {
            engine.begin_drill((core, back), copies_bytes_max)
        })
    }

    /// Has every core close clients.
    pub(crate) fn kill_anywhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        filter: &ClientFilter,
        counts: bool,
    ) -> Done {
        let words = filter.to_words();
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let gather = if counts { Gather::sums } else { Gather::kill_one };
        self.ask_all_cores(hands, index, RequestKind::KillClients, &words, gather, |engine, _, protocol, _| {
            let mut part = Vec::new();
            let killed = engine.kill_clients(filter, Some(index));
            Reply::new(&mut part, protocol).integer(killed);
            Some(part)
        })
    }

    /// Closes clients of ours when the requests of this turn are done; how many. `asking` is who of ours asks: it gets
    /// its reply before.
    pub(crate) fn kill_clients(&mut self, filter: &ClientFilter, asking: Option<u32>) -> i64 {
        let is_at_node = asking
            .and_then(|index| self.connections[index as usize].as_deref())
            .is_some_and(|connection| connection.client.is_at_node);
        Others { connections: &mut self.connections, killed: &mut self.killed }.kill(filter, asking, is_at_node)
    }

    /// Asks all cores what a transaction has asked. Its reply, which waits behind a barrier, is whole with their answers.
    pub(crate) fn ask_questions(
        &mut self,
        hands: &mut Hands<'_>,
        back: ReturnAddress,
        text: Vec<u8>,
        questions: Vec<Question>,
    ) {
        let own_core = self.core;
        let Some(connection) = self.connection(back.socket.index) else { return };
        let (protocol, is_at_node) = (connection.client.protocol, connection.client.is_at_node);
        let others = || (0..self.process.boards.len() as u16).filter(|&core| core != own_core && !is_at_node);
        let others: Vec<u16> = others().collect();
        let cores = others.len() + 1;
        let gather = Gather::of_questions(text, &questions, cores, protocol);
        if let Some(connection) = self.connection(back.socket.index) {
            connection.pipeline.gather_for(back.ticket, gather);
        }
        for (number, question) in questions.into_iter().enumerate() {
            let part = |place: usize| ReturnAddress { part: (number * cores + place) as u32, ..back };
            let (kind, words) = request_of(&question.action);
            for (place, &core) in others.iter().enumerate() {
                self.outstanding += 1;
                let errand = Errand { core, kind, back: part(place), words: words.clone() };
                self.post.run(hands.mail, errand);
            }
            let own = question.own.unwrap_or_else(|| self.answer_late(hands, &question.action));
            self.hand_over(hands.sockets, part(others.len()), &own);
        }
    }

    /// This core's part of what could not be answered while shards were in the hand of a transaction.
    fn answer_late(&mut self, hands: &mut Hands<'_>, action: &NodeAction) -> Vec<u8> {
        let mut part = Vec::new();
        let mut reply = Reply::new(&mut part, Protocol::Resp2);
        match *action {
            NodeAction::Unblock { client, with_error } => {
                reply.integer(i64::from(self.unblock_client(hands, client, reason(with_error))));
            }
            _ => reply.ok(),
        }
        part
    }

    /// Has every core look at what the process knows of pauses.
    pub(crate) fn refresh_everywhere(&mut self, hands: &mut Hands<'_>, index: u32) -> Done {
        self.refresh_pause();
        self.ask_all_cores(hands, index, RequestKind::Refresh, &[], Gather::all_ok, |_, _, protocol, _| {
            let mut part = Vec::new();
            Reply::new(&mut part, protocol).ok();
            Some(part)
        })
    }

    /// Has every core look into its shard for DEBUG.
    pub(crate) fn inspect_all(&mut self, hands: &mut Hands<'_>, index: u32, what: Inspection, args: Args<'_>) -> Done {
        if self.lending.desk.is_away() {
            return Done::NotYet;
        }
        let words: Vec<&[u8]> = args.iter_from(1).collect();
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let db = connection.client.db;
        let gather = Gather::inspection(what);
        self.ask_all_cores(hands, index, RequestKind::Inspect, &words, gather, |engine, _, protocol, _| {
            let mut part = Vec::new();
            engine.inspect(db, protocol, &words, &mut part);
            Some(part)
        })
    }

    /// Looks into our shard for DEBUG, which is not away; a core without one has nothing to say.
    pub(crate) fn inspect(&mut self, db: u16, protocol: Protocol, words: &[&[u8]], answer: &mut Vec<u8>) {
        let (now, limits) = (self.now, self.hot_limits());
        let what = words.first().and_then(|name| Inspection::of(name)).expect("cores of one process agree on words");
        let mut reply = Reply::new(answer, protocol);
        let context = Context {
            db,
            protocol,
            now,
            first_key: None,
            limits,
            partial: false,
            is_node: false,
            may_block: false,
            tracked: None,
        };
        match self.lending.home() {
            Some(shard) => {
                shard.inspect(what, &context, words, &mut reply);
                self.shard_used = true;
            }
            None if what == Inspection::Populate => reply.ok(),
            None => reply.bulk(b""),
        }
    }

    /// Asks every core to end the wait of a client.
    pub(crate) fn unblock_anywhere(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        client: u64,
        with_error: bool,
    ) -> Done {
        let why = reason(with_error);
        let id = client.to_string();
        let words = [id.as_bytes(), unblock_word(why)];
        self.ask_all_cores(
            hands,
            index,
            RequestKind::UnblockClient,
            &words,
            Gather::sums,
            |engine, hands, protocol, _| {
                let is_unblocked = engine.unblock_client(hands, client, why);
                let mut part = Vec::new();
                Reply::new(&mut part, protocol).integer(i64::from(is_unblocked));
                Some(part)
            },
        )
    }

    /// Sends a request to all cores and gathers their answers; `own` gives ours, unless it comes later.
    pub(crate) fn ask_all_cores(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        kind: RequestKind,
        words: &[&[u8]],
        gather: impl Fn(usize, Protocol) -> Gather,
        own: impl FnOnce(&mut Self, &mut Hands<'_>, Protocol, ReturnAddress) -> Option<Vec<u8>>,
    ) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref() else { return Done::Yes };
        // A node of a cluster speaks for itself.
        let others: Vec<u16> = match connection.client.is_at_node {
            true => Vec::new(),
            false => (0..self.process.boards.len() as u16).filter(|&core| core != self.core).collect(),
        };
        let words = || words.iter().copied();
        let len = hop::request_len(words());
        if others.iter().any(|&core| !has_room(hands.mail, core, len)) {
            return Done::NotYet;
        }
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let (protocol, socket, db) = (connection.client.protocol, connection.socket, connection.client.db);
        let ticket = connection.pipeline.expect_gathered(gather(others.len() + 1, protocol));
        cork(&mut self.corked, self.turn, connection, hands.sockets);
        let own_part = others.len() as u32;
        for (part, core) in others.into_iter().enumerate() {
            let back = ReturnAddress { socket, ticket, part: part as u32 };
            let head = RequestHead {
                kind,
                protocol,
                partial: true,
                no_touch: false,
                tracked: None,
                db,
                first_key: None,
                back,
            };
            send_request(hands.mail, core, &head, len, words());
            self.outstanding += 1;
        }
        let back = ReturnAddress { socket, ticket, part: own_part };
        if let Some(part) = own(self, hands, protocol, back) {
            self.accept_part(back, &part);
            self.release(hands, index);
        }
        Done::Yes
    }

    /// Takes our own part of a gathered reply.
    pub(crate) fn accept_part(&mut self, back: ReturnAddress, part: &[u8]) {
        if let Some(connection) = self.connection(back.socket.index)
            && connection.socket == back.socket
        {
            connection.pipeline.accept(back.ticket, back.part, part);
        }
    }

    /// Appends the lines of our clients whom the filter chooses. `asking` is who of ours asks, with the bytes of its
    /// request.
    pub(crate) fn write_client_lines(
        &self,
        sockets: &Sockets,
        filter: &ClientFilter,
        asking: Option<(u32, usize)>,
        text: &mut Vec<u8>,
    ) {
        let at_node = asking.and_then(|(index, _)| self.connections[index as usize].as_deref());
        let at_node = at_node.is_some_and(|connection| connection.client.is_at_node);
        write_lines(&self.connections, (sockets, self.now), filter, asking, at_node, text);
    }
}

/// Appends the lines of connections whom the filter chooses. A node shows its own clients only.
fn write_lines(
    connections: &[Option<Box<Connection>>],
    (sockets, now): (&Sockets, UnixMillis),
    filter: &ClientFilter,
    asking: Option<(u32, usize)>,
    at_node: bool,
    text: &mut Vec<u8>,
) {
    for (index, connection) in (0u32..).zip(connections) {
        let Some(connection) = connection else { continue };
        let client = &connection.client;
        if (!at_node || client.is_at_node) && filter.fits(client) {
            let output = connection.output_bytes(sockets);
            let request = asking.filter(|asking| asking.0 == index).map_or(0, |asking| asking.1);
            let input = connection.input_bytes() + request;
            describe_client(client, client.fd, output, input, now, text);
        }
    }
}

/// A core's connections.
pub(crate) struct Others<'a> {
    pub(crate) connections: &'a mut [Option<Box<Connection>>],
    pub(crate) killed: &'a mut Vec<u32>,
}

impl Others<'_> {
    /// Closes those whom the filter chooses, at the end of the turn; `asking` with its own reply. How many.
    fn kill(&mut self, filter: &ClientFilter, asking: Option<u32>, at_node: bool) -> i64 {
        let mut killed = 0;
        for (index, connection) in (0u32..).zip(&mut *self.connections) {
            let Some(connection) = connection else { continue };
            let is_hidden = at_node && !connection.client.is_at_node;
            if is_hidden || connection.client.closing || !filter.fits(&connection.client) {
                continue;
            }
            connection.client.closing = true;
            killed += 1;
            if asking != Some(index) {
                self.killed.push(index);
            }
        }
        killed
    }
}

/// The connections beside the one whose transaction runs.
pub(crate) struct Neighbours<'a> {
    pub(crate) others: Others<'a>,
    pub(crate) sockets: &'a Sockets,
    /// Bytes of replies and of requests that the one holds.
    pub(crate) asking: (usize, usize),
    /// Whether the one is to be closed with its reply.
    pub(crate) kills_itself: bool,
    pub(crate) now: UnixMillis,
}

impl Crowd for Neighbours<'_> {
    fn ask(&mut self, client: &Client, action: &NodeAction) -> Option<Vec<u8>> {
        let mut part = Vec::new();
        match action {
            NodeAction::ListClients { filter, request_bytes } => {
                let mut text = Vec::new();
                if filter.fits(client) {
                    let (output, input) = (self.asking.0, self.asking.1 + request_bytes);
                    describe_client(client, client.fd, output, input, self.now, &mut text);
                }
                let looks = (self.sockets, self.now);
                write_lines(self.others.connections, looks, filter, None, client.is_at_node, &mut text);
                Reply::new(&mut part, Protocol::Resp2).bulk(&text);
            }
            NodeAction::KillClients { filter, .. } => {
                let kills_itself = !self.kills_itself && filter.fits(client);
                self.kills_itself |= kills_itself;
                let killed = self.others.kill(filter, None, client.is_at_node) + i64::from(kills_itself);
                Reply::new(&mut part, Protocol::Resp2).integer(killed);
            }
            _ => return None,
        }
        Some(part)
    }
}

/// What another core is asked for a transaction.
fn request_of(action: &NodeAction) -> (RequestKind, Vec<Vec<u8>>) {
    match action {
        NodeAction::ListClients { filter, .. } => (RequestKind::ListClients, filter.to_words()),
        NodeAction::KillClients { filter, .. } => (RequestKind::KillClients, filter.to_words()),
        NodeAction::Unblock { client, with_error } => {
            let words = vec![client.to_string().into_bytes(), unblock_word(reason(*with_error)).to_vec()];
            (RequestKind::UnblockClient, words)
        }
        _ => (RequestKind::Refresh, Vec::new()),
    }
}

fn reason(with_error: bool) -> Unblock {
    if with_error { Unblock::Error } else { Unblock::Timeout }
}
