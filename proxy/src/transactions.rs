//! MULTI, EXEC, DISCARD, WATCH, UNWATCH of this core's clients: what is decided in `slotmesh_shard` is carried out.

use crate::blocking::read_watcher;
use crate::engine::{Done, Engine, Hands};
use crate::hop::{self, RequestHead, RequestKind, ReturnAddress};
use crate::lending::Work;
use crate::membership::{at_node, key_count};
use crate::meter::Sender;
use crate::monitor::ShownLedger;
use crate::post::Errand;
use crate::process::NodeView;
use crate::questions::{Neighbours, Others};
use crate::scatter::{has_room, send_request};
use slotmesh_base::{ReplyError, Slot};
use slotmesh_command::{Spec, TransactionCommand, key_indexes};
use slotmesh_conf::directive;
use slotmesh_io::{Sockets, clock};
use slotmesh_resp::{ArgRange, Args, Elements, Protocol, Reply};
use slotmesh_shard::{
    Gather, Question, Shard, Speech, Surroundings, TransactionAction, Watcher, exec_cores, execute_transaction,
    judge_transaction, run_transaction_command, write_line,
};
use std::collections::BTreeMap;

impl Engine {
    /// Runs a command that acts on the connection's transaction.
    pub(crate) fn run_transaction(
        &mut self,
        hands: &mut Hands<'_>,
        index: u32,
        spec: &'static Spec,
        command: TransactionCommand,
        args: Args<'_>,
    ) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let client = &mut connection.client;
        let is_refused = client.transaction.as_ref().is_some_and(|transaction| transaction.is_exec_refused());
        let mut reply = Reply::new(&mut self.scratch, client.protocol);
        match run_transaction_command(command, client, &mut reply) {
            TransactionAction::Done => {}
            TransactionAction::Watch => {
                let done = self.watch(hands, index, spec, args);
                if done == Done::Yes
                    && let Some(connection) = self.connections[index as usize].as_deref()
                {
                    self.meter.end(spec, args, Sender::Ours(&connection.client));
                }
                return done;
            }
            TransactionAction::Unwatch => self.end_watch(hands, index),
            TransactionAction::Execute => return self.exec(hands, index),
        }
        if is_refused {
            self.meter.note_rejected(spec);
            return self.reply_scratch(hands, index);
        }
        self.reply_and_count(hands, index, spec, args)
    }

    fn exec(&mut self, hands: &mut Hands<'_>, index: u32) -> Done {
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let client = &mut connection.client;
        if let Some(seat) = self.seat.as_ref().filter(|_| client.is_at_node)
            && let Some(transaction) = &client.transaction
            && let Err(redirect) = judge_transaction(transaction, seat.member(), client.is_readonly)
        {
            let text = redirect.text(&seat.topology, client.reached_at()).to_string();
            Reply::new(&mut self.scratch, client.protocol).error_text(text.as_bytes());
            client.transaction = None;
            self.end_watch(hands, index);
            return self.reply_scratch(hands, index);
        }
        if !client.is_at_node
            && self.remote.is_some()
            && let Some(done) = self.exec_elsewhere(hands, index)
        {
            return done;
        }
        let Some(connection) = self.connections[index as usize].as_deref_mut() else { return Done::Yes };
        let client = &mut connection.client;
        let cores = exec_cores(client, self.core, &self.map);
        let is_ours = cores == [self.core];
        if !is_ours && !cores.is_empty() {
            let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
            self.begin_loan_for(hands, index, &cores, Work::Exec { socket, ticket });
            return Done::Yes;
        }
        let mut reply = std::mem::take(&mut self.scratch);
        if is_ours {
            // Our own shard need not be lent: it is only set aside for as long as the transaction runs.
            let Some(mut shard) = self.lending.take_home() else {
                self.scratch = reply;
                return Done::NotYet;
            };
            let questions = self.exec_in_hand(hands.sockets, index, &mut [&mut shard], &mut reply);
            self.answer_exec(hands, index, reply, questions);
            self.tell_said(hands, index);
            self.return_home(hands, shard);
        } else {
            let questions = self.exec_in_hand(hands.sockets, index, &mut [], &mut reply);
            self.answer_exec(hands, index, reply, questions);
            self.tell_said(hands, index);
        }
        Done::Yes
    }

    /// Answers an EXEC that ran at once.
    fn answer_exec(&mut self, hands: &mut Hands<'_>, index: u32, reply: Vec<u8>, questions: Vec<Question>) {
        if questions.is_empty() {
            self.scratch = reply;
            self.reply_scratch(hands, index);
        } else if let Some((socket, ticket)) = self.raise_barrier(index) {
            self.ask_questions(hands, ReturnAddress { socket, ticket, part: 0 }, reply, questions);
        }
    }

    /// Runs the transaction of a connection with its shards in hand; what all cores must be asked before the reply is
    /// whole.
    pub(crate) fn exec_in_hand(
        &mut self,
        sockets: &Sockets,
        index: u32,
        shards: &mut [&mut Shard],
        reply: &mut Vec<u8>,
    ) -> Vec<Question> {
        self.exec_with(sockets, index, shards, None, reply)
    }

    /// The same, or with the answers of a node of another host, where the commands on keys have run.
    pub(crate) fn exec_with(
        &mut self,
        sockets: &Sockets,
        index: u32,
        shards: &mut [&mut Shard],
        answers: Option<&Elements<'_>>,
        reply: &mut Vec<u8>,
    ) -> Vec<Question> {
        let (now, mut limits) = (self.now, self.hot_limits());
        self.publish_own_gain();
        // Set aside, so that it is known from all others.
        let Some(mut connection) = self.connections[index as usize].take() else { return Vec::new() };
        let limit = self.output_limit(&connection.client);
        let mut lines = self.watching.is_watched.then(Vec::new);
        let (output, input) = (connection.output_bytes(sockets), connection.input_bytes());
        let client = &mut connection.client;
        limits.access.touches = !client.no_touch;
        let exec = client.last_command;
        let shown_exec = client.transaction.as_mut().and_then(|transaction| transaction.shown_exec.take());
        self.meter.flush();
        let begin = self.meter.mark();
        let key_count = shards.first().map_or(0, |shard| key_count(Some(shard)));
        let at_node = match client.is_at_node {
            true => at_node(self.core, self.seat.as_ref(), self.bus.as_deref(), None, key_count),
            false => None,
        };
        let replication = self.replication.as_deref().map(|replication| (replication, self.monotonic));
        let node = NodeView { process: &self.process, settings: &self.settings, node: at_node, replication };
        let chance = slotmesh_io::entropy::random_u64();
        let reply_bytes_max = match limit.hard_bytes {
            0 => usize::MAX,
            hard => hard as usize,
        };
        let around = Surroundings { node: &node, now, limits, chance, reply_bytes_max, answers };
        let mut speech = Speech::new(&mut self.subscriptions, index);
        let connections = Others { connections: &mut self.connections, killed: &mut self.killed };
        let mut crowd = Neighbours { others: connections, sockets, asking: (output, input), kills_itself: false, now };
        let socket_path = self.settings.value(directive::UNIXSOCKET);
        let mut ledger = ShownLedger { ledger: &mut self.meter, lines: lines.as_mut(), socket_path };
        let sequel = execute_transaction(client, shards, &around, &mut ledger, &mut speech, &mut crowd, reply);
        let kills_itself = crowd.kills_itself;
        (self.heard.own, self.heard.said) = (speech.own, speech.said);
        if let Some(exec) = exec {
            self.meter.end_transaction(exec, begin, client);
            if let Some(lines) = &mut lines {
                let written = shown_exec.unwrap_or_else(|| exec.name.as_bytes().into());
                let word = [ArgRange { start: 0, len: written.len() as u32 }];
                let mut line = Vec::new();
                write_line(client, exec, Args::new(&written, &word), clock::unix_micros(), socket_path, &mut line);
                lines.push(line);
            }
        }
        if client.closing {
            self.process.log.warning(format_args!(
                "Client id={} addr={} closed for overcoming of output buffer limits.",
                client.id, client.address
            ));
        }
        self.watching.lines = lines.unwrap_or_default();
        client.closing |= kills_itself;
        self.connections[index as usize] = Some(connection);
        self.note_tracking(index);
        self.errands.orders.extend(sequel.orders.into_iter().map(|order| (index, order)));
        self.follow_order();
        self.refresh_settings();
        self.refresh_pause();
        self.meter.enter_span();
        sequel.questions
    }

    /// Refuses an EXEC that was admitted before we became a replica; whether it did.
    pub(crate) fn refuse_stale_exec(&mut self, hands: &mut Hands<'_>, index: u32, reply: &mut Vec<u8>) -> bool {
        let standing = self.standing_for(index, None);
        let Some(connection) = self.connection(index) else { return false };
        let client = &mut connection.client;
        let Some(error) = standing.refusal_of_exec(client) else { return false };
        if let Some(transaction) = &mut client.transaction {
            transaction.refuse(error);
        }
        let mut reply = Reply::new(reply, client.protocol);
        run_transaction_command(TransactionCommand::Exec, client, &mut reply);
        self.end_watch(hands, index);
        true
    }

    fn watch(&mut self, hands: &mut Hands<'_>, index: u32, spec: &'static Spec, args: Args<'_>) -> Done {
        if self.remote.is_some()
            && let Some(done) = self.watch_elsewhere(hands, index, spec, args)
        {
            return done;
        }
        let mut keys: BTreeMap<u16, Vec<&[u8]>> = BTreeMap::new();
        let is_at_node = self.connection(index).is_some_and(|connection| connection.client.is_at_node);
        for key in key_indexes(spec, args).map(|key| args.at(key)) {
            let core = if is_at_node { self.core } else { self.map.owner(Slot::of_key(key)) };
            keys.entry(core).or_default().push(key);
        }
        let Some(connection) = self.connection(index) else { return Done::Yes };
        let (watcher, db, protocol) = (connection.client.watcher(), connection.client.db, connection.client.protocol);
        let numbers = [watcher.client.to_string(), watcher.span.to_string()];
        let words = |keys: &[&'_ [u8]]| -> Vec<Vec<u8>> {
            numbers
                .iter()
                .map(|number| number.clone().into_bytes())
                .chain(keys.iter().map(|key| key.to_vec()))
                .collect()
        };
        let parts: Vec<(u16, Vec<Vec<u8>>)> = keys.iter().map(|(&core, keys)| (core, words(keys))).collect();
        let len = |words: &Vec<Vec<u8>>| hop::request_len(words.iter().map(Vec::as_slice));
        // All shards are told, or none yet.
        let is_ready = parts.iter().all(|(core, words)| {
            if *core == self.core { self.lending.home().is_some() } else { has_room(hands.mail, *core, len(words)) }
        });
        if !is_ready {
            return Done::NotYet;
        }
        if let Some(keys) = keys.get(&self.core) {
            let now = self.now;
            if let Some(shard) = self.lending.home() {
                shard.watch(watcher, db, keys.iter().copied(), now);
            }
        }
        let (core, map) = (self.core, self.map.clone());
        let Some(connection) = self.connection(index) else { return Done::Yes };
        parts.iter().for_each(|&(core, _)| connection.client.watches_on(core));
        if map.is_of_cluster() && !is_at_node {
            let slots = keys.iter().flat_map(|(&core, keys)| keys.iter().map(move |key| (Slot::of_key(key), core)));
            slots.for_each(|(slot, core)| connection.client.watches_slot(slot, core));
        }
        if parts.iter().all(|&(part, _)| part == core) {
            Reply::new(&mut self.scratch, protocol).ok();
            return self.reply_scratch(hands, index);
        }
        let socket = connection.socket;
        let ticket = connection.pipeline.expect_gathered(Gather::all_ok(parts.len(), protocol));
        for (part, (to, words)) in parts.iter().enumerate() {
            let back = ReturnAddress { socket, ticket, part: part as u32 };
            if *to == core {
                self.accept_part(back, b"+OK\r\n");
                continue;
            }
            let head = RequestHead {
                kind: RequestKind::Watch,
                protocol,
                partial: true,
                no_touch: false,
                tracked: None,
                db,
                first_key: None,
                back,
            };
            send_request(hands.mail, *to, &head, len(words), words.iter().map(Vec::as_slice));
            self.outstanding += 1;
        }
        self.release(hands, index);
        Done::Yes
    }

    /// Watches keys of our shard, which is at home, for a client of another core.
    pub(crate) fn watch_for_other(&mut self, head: &RequestHead, args: Args<'_>, answer: &mut Vec<u8>) {
        let now = self.now;
        let mut reply = Reply::new(answer, Protocol::Resp2);
        match self.lending.home() {
            Some(shard) => {
                let watcher: Watcher = read_watcher(args.at(0), args.at(1));
                shard.watch(watcher, head.db, args.iter_from(2), now);
                reply.ok();
            }
            None => reply.error(ReplyError::Internal),
        }
    }

    /// Ends what a connection watches, on all shards that know of it.
    pub(crate) fn end_watch(&mut self, hands: &mut Hands<'_>, index: u32) {
        let Some(connection) = self.connection(index) else { return };
        let watcher = connection.client.watcher();
        let cores = connection.client.end_watch();
        self.unwatch_elsewhere(index);
        for core in cores {
            let words = vec![watcher.client.to_string().into_bytes(), watcher.span.to_string().into_bytes()];
            let back = ReturnAddress::number(0);
            self.send_errand(hands, Errand { core, kind: RequestKind::Unwatch, back, words });
        }
    }
}
