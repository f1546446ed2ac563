//! What tests of this room share: requests from words, a client at a node, and shards behind a map.

pub(crate) mod gateway;
pub(crate) mod process;

use crate::{
    Audience, Census, Client, CommandFacts, Context, CoreFacts, DebugAct, Distribution, Gather, LatencyMonitor, Node,
    NodeAction, PauseScope, Placement, ProcessFacts, ReplicationFacts, Shard, ShardSettings, SlotMap, SlowLog,
    Subscriptions, admit, execute_together, loan_cores, place, run_connection_command, run_node_command, split,
};
use crate::{LoadFacts, PersistenceFacts, SaveBegin, SaveRecord, SaveWish};
use slotmesh_base::{Rng, UnixMillis};
use slotmesh_command::{Outcome, Reach, Spec, ValueLimits, find, first_key_index};
use slotmesh_conf::{RewriteError, SetError, Settings};
use slotmesh_keyspace::{Access, KeyHasher, PackedLimit};
use slotmesh_resp::{ArgRange, Args, Protocol, Reply};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

/// The time at which tests begin.
pub(crate) const NOW: UnixMillis = UnixMillis(1_700_000_000_123);

/// A request that owns its bytes.
pub(crate) struct Request {
    bytes: Vec<u8>,
    ranges: Vec<ArgRange>,
}

impl Request {
    pub(crate) fn new<W: AsRef<[u8]>>(words: &[W]) -> Self {
        let mut request = Self { bytes: Vec::new(), ranges: Vec::new() };
        for word in words.iter().map(AsRef::as_ref) {
            let start = request.bytes.len() as u32;
            request.ranges.push(ArgRange { start, len: word.len() as u32 });
            request.bytes.extend_from_slice(word);
        }
        request
    }

    /// Words between single blanks; two blanks in a row make an empty word.
    pub(crate) fn words(text: &str) -> Self {
        Self::new(&text.split(' ').collect::<Vec<_>>())
    }

    pub(crate) fn args(&self) -> Args<'_> {
        Args::new(&self.bytes, &self.ranges)
    }

    pub(crate) fn spec(&self) -> Option<&'static Spec> {
        find(self.args().at(0))
    }
}

/// What the clients of a test hear.
pub(crate) struct TestAudience(pub(crate) Arc<Audience>);

impl Default for TestAudience {
    fn default() -> Self {
        Self(Arc::new(Audience::new(2, KeyHasher::new([1, 2]))))
    }
}

/// A node with settings and facts that the test chooses.
#[derive(Default)]
pub(crate) struct TestNode {
    pub(crate) settings: Settings,
    pub(crate) cores: Vec<CoreFacts>,
    pub(crate) process: ProcessFacts,
    /// What `CONFIG SET` asked for and got.
    pub(crate) configured: RefCell<Vec<(String, String)>>,
    pub(crate) statistics_reset: Cell<bool>,
    /// What DEBUG did.
    pub(crate) debugged: RefCell<Vec<String>>,
    pub(crate) commands: Vec<CommandFacts>,
    pub(crate) distributions: BTreeMap<&'static str, Distribution>,
    pub(crate) errors: Option<BTreeMap<Vec<u8>, u64>>,
    pub(crate) slow_log: Mutex<SlowLog>,
    pub(crate) latency: Mutex<LatencyMonitor>,
    pub(crate) audience: TestAudience,
    pub(crate) replication: ReplicationFacts,
    pub(crate) saves: RefCell<SaveRecord>,
    pub(crate) log: slotmesh_persistence::Facts,
}

impl TestNode {
    /// Subscriptions of a core of the node.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        Subscriptions::new(0, self.audience.0.clone())
    }

    pub(crate) fn with(pairs: &[(&str, &str)]) -> Self {
        let mut node = Self::default();
        // `databases` cannot change at run time, so that tests take the default.
        node.settings.set(pairs).expect("the test's settings are good");
        node
    }
}

impl Node for TestNode {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn configure(&self, pairs: &[(&[u8], &[u8])]) -> Result<(), SetError> {
        self.settings.clone().set(pairs)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        self.configured.borrow_mut().extend(pairs.iter().map(|(name, value)| (text(name), text(value))));
        Ok(())
    }

    fn rewrite_configuration(&self, _: bool) -> Result<(), RewriteError> {
        if self.process.config_file.is_empty() { Err(RewriteError::NoFile) } else { Ok(()) }
    }

    fn cores(&self) -> Vec<CoreFacts> {
        self.cores.clone()
    }

    fn process(&self) -> ProcessFacts {
        self.process.clone()
    }

    fn replication(&self) -> ReplicationFacts {
        self.replication.clone()
    }

    fn persistence(&self) -> PersistenceFacts {
        let mut facts = PersistenceFacts::default();
        let changes = self.cores.iter().map(|core| core.changes).sum();
        facts.add(self.saves.borrow().facts(changes, NOW.as_secs()), LoadFacts::default(), &self.log);
        facts
    }

    fn begin_rewrite(&self, is_in_transaction: bool) -> SaveBegin {
        match self.log.is_rewriting {
            true => SaveBegin::InProgress,
            false if is_in_transaction => SaveBegin::Scheduled,
            false => SaveBegin::Begun,
        }
    }

    fn begin_save(&self, wish: SaveWish) -> SaveBegin {
        self.saves.borrow_mut().ask(wish, self.log.is_rewriting, NOW.as_secs())
    }

    fn reset_statistics(&self) {
        self.statistics_reset.set(true);
    }

    fn commands(&self) -> Vec<CommandFacts> {
        self.commands.clone()
    }

    fn distribution(&self, spec: &'static Spec, _: &[f64]) -> Option<Distribution> {
        self.distributions.get(spec.full_name).cloned()
    }

    fn errors(&self) -> Option<BTreeMap<Vec<u8>, u64>> {
        self.errors.clone()
    }

    fn slow_log(&self) -> &Mutex<SlowLog> {
        &self.slow_log
    }

    fn latency(&self) -> &Mutex<LatencyMonitor> {
        &self.latency
    }

    fn census(&self) -> MutexGuard<'_, Census> {
        self.audience.0.census(None)
    }

    fn unix_micros(&self) -> i64 {
        NOW.0 * 1000 + 456
    }

    fn purge_memory(&self) -> bool {
        true
    }

    fn pause(&self, end: UnixMillis, scope: PauseScope) {
        self.debugged.borrow_mut().push(format!("pause {end:?} {scope:?}"));
    }

    fn unpause(&self) {
        self.debugged.borrow_mut().push("unpause".to_owned());
    }

    fn debug(&self, act: DebugAct<'_>) {
        self.debugged.borrow_mut().push(format!("{act:?}"));
    }

    fn allocator_report(&self) -> String {
        "report".to_owned()
    }
}

/// A client that talks to a node: connection and node commands only.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) node: TestNode,
    pub(crate) now: UnixMillis,
    /// What the last node command asked the caller to do.
    pub(crate) action: NodeAction,
}

impl Session {
    pub(crate) fn new(node: TestNode) -> Self {
        let mut client = Client::new(7, NOW);
        client.authenticated = node.settings.hot().requirepass.is_none();
        client.address = "127.0.0.1:50000".to_owned();
        client.local_address = "127.0.0.1:6379".to_owned();
        client.fd = 8;
        Self { client, node, now: NOW, action: NodeAction::Done }
    }

    pub(crate) fn say(&mut self, text: &str) -> String {
        self.send(&Request::words(text))
    }

    /// The reply, bytes that are no UTF-8 replaced.
    pub(crate) fn send(&mut self, request: &Request) -> String {
        String::from_utf8_lossy(&self.send_bytes(request)).into_owned()
    }

    pub(crate) fn send_bytes(&mut self, request: &Request) -> Vec<u8> {
        let Self { client, node, now, .. } = self;
        let (mut out, args) = (Vec::new(), request.args());
        let mut reply = Reply::new(&mut out, client.protocol);
        if let Some(spec) = admit(client, request.spec(), args, crate::Standing::default(), &mut reply) {
            match spec.reach {
                Reach::Connection(command) => {
                    run_connection_command(command, client, args, node, *now, &mut reply);
                }
                Reach::Node(command) => {
                    self.action = run_node_command(command, client, args, node, *now, &mut reply);
                }
                Reach::Slot(_) | Reach::Shard(_) | Reach::Transaction(_) | Reach::PubSub(_) | Reach::Container => {
                    reply.simple("admitted");
                }
            }
        }
        out
    }

    /// Asserts the replies to requests in turn.
    pub(crate) fn expect(&mut self, table: &[(&str, &str)]) {
        for (request, reply) in table {
            assert_eq!(self.say(request), *reply, "{request}");
        }
    }
}

/// The shards of a process, and what happens between them.
pub(crate) struct Shards {
    pub(crate) map: SlotMap,
    pub(crate) hasher: KeyHasher,
    pub(crate) shards: Vec<Shard>,
    pub(crate) chance: Rng,
    pub(crate) now: UnixMillis,
}

impl Shards {
    pub(crate) fn new(count: u16) -> Self {
        let map = SlotMap::even(count);
        let hasher = KeyHasher::new([1, 2]);
        let shard = |core| {
            let slots = map.slots(core).expect("every core has slots");
            Shard::new(ShardSettings { slots, databases: 16, hasher, seed: u64::from(core) })
        };
        let shards = (0..count).map(shard).collect();
        Self { map, hasher, shards, chance: Rng::new(3), now: NOW }
    }

    pub(crate) fn say(&mut self, text: &str) -> String {
        let reply = self.run(&Request::words(text), Protocol::Resp2);
        String::from_utf8(reply).expect("the test's replies are text")
    }

    pub(crate) fn place(&self, request: &Request) -> Placement {
        let (spec, args) = (request.spec().expect("a command"), request.args());
        let first = first_key_index(spec, args.len()).map(|index| self.hasher.key(args.at(index)));
        place(spec, args, first.as_ref(), &self.map)
    }

    /// The shards of these cores.
    pub(crate) fn in_hand(&mut self, cores: &[u16]) -> Vec<&mut Shard> {
        let shards = (0..).zip(&mut self.shards);
        shards.filter(|(core, _)| cores.contains(core)).map(|(_, shard)| shard).collect()
    }

    /// What the client of a gateway over these shards gets.
    pub(crate) fn run(&mut self, request: &Request, protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        let context = Context { protocol, ..context(self.now, false) };
        self.run_as(request.spec().expect("a command"), request, &context, &mut out);
        out
    }

    /// What the client of that context gets, in pieces.
    pub(crate) fn run_as(
        &mut self,
        spec: &'static Spec,
        request: &Request,
        context: &Context<'static>,
        out: &mut Vec<u8>,
    ) -> Outcome {
        let (args, protocol) = (request.args(), context.protocol);
        match self.place(request) {
            Placement::Loan => {
                let cores = loan_cores(spec, args, &self.map);
                return execute_together(&mut self.in_hand(&cores), spec, args, context, out);
            }
            Placement::Core(core) => return self.shards[usize::from(core)].execute(spec, args, context, out),
            Placement::Split => {
                let parts = split(spec, args, |slot| self.map.owner(slot));
                let mut gather = Gather::of_parts(spec, args, &parts, protocol);
                // The last part answers first.
                for (index, part) in parts.iter().enumerate().rev() {
                    let indexes = std::iter::once(0).chain(part.arguments.iter().map(|&index| index as usize));
                    let words: Vec<&[u8]> = indexes.map(|index| args.at(index)).collect();
                    let mut reply = Vec::new();
                    let shard = &mut self.shards[usize::from(part.home)];
                    let context = Context { partial: true, ..*context };
                    shard.execute(spec, Request::new(&words).args(), &context, &mut reply);
                    assert_eq!(gather.add(index, &reply), index == 0);
                }
                gather.finish(out);
            }
            Placement::Everywhere => {
                let count = self.map.shards();
                let mut gather = Gather::everywhere(spec, usize::from(count), protocol, self.chance.next_u64());
                for core in (0..count).rev() {
                    let mut reply = Vec::new();
                    self.shards[usize::from(core)].execute(
                        spec,
                        args,
                        &Context { partial: true, ..*context },
                        &mut reply,
                    );
                    assert_eq!(gather.add(usize::from(core), &reply), core == 0);
                }
                gather.finish(out);
            }
        }
        Outcome::Replied
    }
}

/// What tests bound commands by.
pub(crate) fn limits() -> ValueLimits {
    ValueLimits {
        string_bytes_max: 1 << 20,
        list_packed: PackedLimit::default(),
        access: Access::default(),
        shares_integers: true,
        compresses: true,
    }
}

/// A context of database 0 and RESP2, in which commands may block.
pub(crate) fn context(now: UnixMillis, partial: bool) -> Context<'static> {
    Context {
        db: 0,
        protocol: Protocol::Resp2,
        now,
        first_key: None,
        limits: limits(),
        partial,
        is_node: false,
        may_block: true,
        tracked: None,
    }
}
