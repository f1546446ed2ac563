//! Clients at a gateway over shards, without I/O: what a process does with the pure parts, all at once.

use super::{NOW, Request, Shards, TestNode, context, limits};
use crate::{
    Client, Context, Crowd, Ledger, Letter, NodeAction, Served, Speech, Surroundings, Ticket, TransactionAction,
    Unblock, admit, exec_cores, execute_transaction, loan_cores, run_connection_command, run_node_command,
    run_transaction_command, serve_called_together,
};
use slotmesh_base::{ReplyError, Slot, UnixMillis};
use slotmesh_command::{ConnectionCommand, Outcome, Reach, Spec, Wait, key_indexes, timeout_reply};
use slotmesh_resp::{Args, Reply};
use std::collections::{BTreeSet, VecDeque};

pub(crate) struct Gateway {
    pub(crate) shards: Shards,
    pub(crate) node: TestNode,
    pub(crate) people: Vec<Person>,
    /// Whether calls wait for [`Gateway::answer_calls`].
    pub(crate) holds_calls: bool,
    /// Shards that have called, and whom.
    pub(crate) calls: VecDeque<(u16, Ticket)>,
    tickets: u32,
    /// What transactions and waits have told of their commands.
    pub(crate) ledger: TestLedger,
}

/// Full names of commands that ended, each with whether by an error.
#[derive(Default)]
pub(crate) struct TestLedger(pub(crate) Vec<(&'static str, bool)>);

impl TestLedger {
    fn note(&mut self, spec: &'static Spec, reply: &[u8]) {
        self.0.push((spec.full_name, reply.first() == Some(&b'-')));
    }
}

/// Nobody beside the client.
pub(crate) struct NoCrowd;

impl Crowd for NoCrowd {
    fn ask(&mut self, _: &Client, _: &NodeAction) -> Option<Vec<u8>> {
        None
    }
}

impl Ledger for TestLedger {
    fn ended(&mut self, _: &Client, spec: &'static Spec, _: Args<'_>, reply: &[u8]) {
        self.note(spec, reply);
    }
}

/// A client.
pub(crate) struct Person {
    pub(crate) client: Client,
    /// What it waits for.
    pub(crate) waiting: Option<Waiting>,
    /// What it got for what it had waited for.
    inbox: VecDeque<String>,
}

pub(crate) struct Waiting {
    pub(crate) ticket: Ticket,
    pub(crate) spec: &'static Spec,
    /// Where it stands in line.
    pub(crate) cores: Vec<u16>,
    /// All that it needs to be served, if that is more.
    pub(crate) together: Vec<u16>,
}

impl Gateway {
    pub(crate) fn new(shards: u16, clients: usize) -> Self {
        let person = |id| {
            let mut client = Client::new(id as u64 + 1, NOW);
            client.authenticated = true;
            Person { client, waiting: None, inbox: VecDeque::new() }
        };
        let people = (0..clients).map(person).collect();
        let (shards, node) = (Shards::new(shards), TestNode::default());
        Self {
            shards,
            node,
            people,
            holds_calls: false,
            calls: VecDeque::new(),
            tickets: 0,
            ledger: TestLedger::default(),
        }
    }

    pub(crate) fn record_effects(&mut self) {
        self.shards.shards.iter_mut().for_each(|shard| shard.record_effects(true));
    }

    /// What client 0 gets.
    pub(crate) fn ask(&mut self, text: &str) -> String {
        self.say(0, text)
    }

    /// Asserts client 0's replies to requests in turn.
    pub(crate) fn expect(&mut self, table: &[(&str, &str)]) {
        for (request, reply) in table {
            assert_eq!(self.ask(request), *reply, "{request}");
        }
    }

    /// What a client gets for a request at once, with blanks for line ends: nothing if it waits.
    pub(crate) fn say(&mut self, who: usize, text: &str) -> String {
        assert!(self.people[who].waiting.is_none(), "{who} waits, and says {text}");
        let request = Request::words(text);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, self.people[who].client.protocol);
        if let Some(spec) =
            admit(&mut self.people[who].client, request.spec(), request.args(), crate::Standing::default(), &mut reply)
        {
            self.run(who, spec, &request, &mut out);
        }
        self.deliver();
        shown(&out)
    }

    /// What a client was told since, of what it had waited for.
    pub(crate) fn heard(&mut self, who: usize) -> Option<String> {
        self.people[who].inbox.pop_front()
    }

    pub(crate) fn waits(&self, who: usize) -> bool {
        self.people[who].waiting.is_some()
    }

    fn run(&mut self, who: usize, spec: &'static Spec, request: &Request, out: &mut Vec<u8>) {
        let args = request.args();
        let Person { client, .. } = &mut self.people[who];
        let now = self.shards.now;
        let mut reply = Reply::new(out, client.protocol);
        match spec.reach {
            Reach::Connection(command) => {
                run_connection_command(command, client, args, &self.node, now, &mut reply);
                if command == ConnectionCommand::Reset {
                    self.end_watch(who);
                }
            }
            Reach::Node(command) => drop(run_node_command(command, client, args, &self.node, now, &mut reply)),
            Reach::Transaction(command) => match run_transaction_command(command, client, &mut reply) {
                TransactionAction::Done => {}
                TransactionAction::Watch => {
                    reply.ok();
                    self.watch(who, spec, args);
                }
                TransactionAction::Unwatch => self.end_watch(who),
                TransactionAction::Execute => self.exec(who, out),
            },
            Reach::Slot(_) | Reach::Shard(_) => {
                let context = Context { db: client.db, protocol: client.protocol, ..context(now, false) };
                let outcome = self.shards.run_as(spec, request, &context, out);
                if let Outcome::Blocks(wait) = outcome {
                    self.block(who, spec, args, &context, &wait);
                }
            }
            Reach::PubSub(command) => self.node.subscriptions().run(command, client, who as u32, args, &mut reply),
            Reach::Container => reply.error(ReplyError::WrongArity(spec.full_name)),
        }
    }

    fn watch(&mut self, who: usize, spec: &'static Spec, args: Args<'_>) {
        let Person { client, .. } = &mut self.people[who];
        for key in key_indexes(spec, args).map(|index| args.at(index)) {
            let core = self.shards.map.owner(Slot::of_key(key));
            client.watches_on(core);
            let shard = &mut self.shards.shards[usize::from(core)];
            shard.watch(client.watcher(), client.db, std::iter::once(key), self.shards.now);
        }
    }

    fn end_watch(&mut self, who: usize) {
        let Person { client, .. } = &mut self.people[who];
        let watcher = client.watcher();
        for core in client.end_watch() {
            self.shards.shards[usize::from(core)].unwatch(watcher, self.shards.now);
        }
    }

    fn exec(&mut self, who: usize, out: &mut Vec<u8>) {
        let Person { client, .. } = &mut self.people[who];
        let chance = self.shards.chance.next_u64();
        let around = Surroundings {
            node: &self.node,
            now: self.shards.now,
            limits: limits(),
            chance,
            reply_bytes_max: 1 << 20,
            answers: None,
        };
        let cores = exec_cores(client, 0, &self.shards.map);
        let mut subscriptions = self.node.subscriptions();
        let speech = &mut Speech::new(&mut subscriptions, who as u32);
        execute_transaction(
            client,
            &mut self.shards.in_hand(&cores),
            &around,
            &mut self.ledger,
            speech,
            &mut NoCrowd,
            out,
        );
    }

    fn block(&mut self, who: usize, spec: &'static Spec, args: Args<'_>, context: &Context<'_>, wait: &Wait) {
        self.tickets += 1;
        let ticket = Ticket { core: 0, connection: who as u32, generation: 0, number: self.tickets };
        let all = loan_cores(spec, args, &self.shards.map);
        for shard in self.shards.in_hand(&all) {
            shard.block(ticket, spec, args, context, wait, all.len() > 1);
        }
        let owner = |index| self.shards.map.owner(Slot::of_key(args.at(index)));
        let cores: Vec<u16> = wait.keys.clone().map(owner).collect::<BTreeSet<_>>().into_iter().collect();
        let together = if cores == all { Vec::new() } else { all };
        self.people[who].waiting = Some(Waiting { ticket, spec, cores, together });
    }

    /// Delivers letters until there are no more.
    pub(crate) fn deliver(&mut self) {
        loop {
            for core in 0..self.shards.map.shards() {
                for letter in self.shards.shards[usize::from(core)].take_letters() {
                    match letter {
                        Letter::Call(ticket) => self.calls.push_back((core, ticket)),
                        Letter::Stale { .. } => {}
                        Letter::Reply { to, served } => self.hand_over(to, &served.reply),
                    }
                }
            }
            if self.holds_calls || self.calls.is_empty() {
                assert!(self.shards.shards.iter().all(|shard| !shard.has_letters()));
                break;
            }
            self.answer_call();
        }
    }

    /// Serves the one who was called first.
    fn answer_call(&mut self) {
        let Some((from, ticket)) = self.calls.pop_front() else { return };
        let now = self.shards.now;
        let waiting = self.people[ticket.connection as usize].waiting.as_ref();
        let Some(waiting) = waiting.filter(|waiting| waiting.ticket == ticket) else {
            return self.shards.shards[usize::from(from)].unblock(ticket, Unblock::Silently, now, limits());
        };
        let together = waiting.together.clone();
        let (shards, served) = if together.is_empty() {
            (vec![from], self.shards.shards[usize::from(from)].serve_called(ticket, now, limits()))
        } else {
            let served = serve_called_together(&mut self.shards.in_hand(&together), ticket, now, limits());
            (together, served)
        };
        let Some(Served { reply, request }) = served else { return };
        let spec = request.next().and_then(|request| request.spec);
        self.ledger.note(spec.expect("what blocks is a command"), &reply);
        let waiting = self.people[ticket.connection as usize].waiting.as_ref().expect("it was served");
        for core in waiting.cores.clone().into_iter().filter(|core| !shards.contains(core)) {
            self.shards.shards[usize::from(core)].unblock(ticket, Unblock::Silently, now, limits());
        }
        self.hand_over(ticket, &reply);
    }

    /// Serves those who were called while calls were held.
    pub(crate) fn answer_calls(&mut self) {
        self.holds_calls = false;
        self.deliver();
    }

    fn hand_over(&mut self, to: Ticket, reply: &[u8]) {
        let person = &mut self.people[to.connection as usize];
        let waiting = person.waiting.take().expect("who gets a late reply waits");
        assert_eq!(waiting.ticket, to);
        person.inbox.push_back(shown(reply));
    }

    /// Ends the wait of a client.
    pub(crate) fn unblock(&mut self, who: usize, why: Unblock) {
        let now = self.shards.now;
        let person = &mut self.people[who];
        let Some(waiting) = &person.waiting else { return };
        let (ticket, cores) = (waiting.ticket, waiting.cores.clone());
        let is_shared = cores.len() > 1 || !waiting.together.is_empty();
        if is_shared && why != Unblock::Silently {
            let mut bytes = Vec::new();
            let mut reply = Reply::new(&mut bytes, person.client.protocol);
            match why {
                Unblock::Error => reply.error(ReplyError::Unblocked),
                Unblock::Timeout | Unblock::Silently => timeout_reply(waiting.spec, &mut reply),
            }
            self.hand_over(ticket, &bytes);
        } else if why == Unblock::Silently {
            person.waiting = None;
        }
        let why = if is_shared { Unblock::Silently } else { why };
        for core in cores {
            self.shards.shards[usize::from(core)].unblock(ticket, why, now, limits());
        }
        self.deliver();
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, ms: i64) {
        self.shards.now = UnixMillis(self.shards.now.0 + ms);
    }

    /// The effects of a shard since they were asked for last, as words.
    pub(crate) fn effects(&mut self, core: usize) -> Vec<String> {
        let bytes = self.shards.shards[core].effects_mut().drain();
        let text = String::from_utf8(bytes).expect("the test's effects are text");
        let mut effects = Vec::new();
        for line in text.split("\r\n").filter(|line| !line.is_empty() && !line.starts_with('$')) {
            match (line.starts_with('*'), effects.last_mut()) {
                (false, Some(effect)) => {
                    let effect: &mut String = effect;
                    if !effect.is_empty() {
                        effect.push(' ');
                    }
                    effect.push_str(line);
                }
                _ => effects.push(String::new()),
            }
        }
        effects
    }

    /// Asserts that no shard knows of anybody who watches or waits.
    pub(crate) fn assert_forgotten(&self) {
        for shard in &self.shards.shards {
            assert!(shard.blocking_keys() == 0 && !shard.blocked.has_ready() && !shard.watches.has_any());
            let mut dbs = (0..shard.keyspace.databases()).filter_map(|db| shard.keyspace.find_db(db));
            assert!(dbs.all(|db| format!("{db:?}").contains("observer: None")), "attention is left");
        }
    }
}

/// A reply with blanks for line ends.
pub(crate) fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(reply).trim_end().replace("\r\n", " ")
}
