//! A process without I/O whose shards record effects, and what random clients do to it.

use super::gateway::{NoCrowd, TestLedger};
use super::{NOW, Request, TestNode, context, limits};
use crate::replay::{BEFORE_ALL_EXPIRIES, Replay};
use crate::{
    Client, Context, Letter, Shard, ShardSettings, SlotMap, Speech, Surroundings, Ticket, Unblock, admit,
    execute_together, execute_transaction, loan_cores, run_transaction_command, serve_called_together,
};
use slotmesh_base::{Monotonic, Rng, UnixMillis};
use slotmesh_command::{Outcome, TransactionCommand, recreate};
use slotmesh_keyspace::{Cursor, KeyHasher, Keyspace};
use slotmesh_resp::{Protocol, Reply};
use std::collections::BTreeMap;

pub(crate) const DATABASES: usize = 4;
const KEYS: u64 = 16;

/// Commands: `k` stands for a key, `d` for a database, `n` for a small number, `v` for a value, `t` for a time in ms
/// near now, `p` for a payload of DUMP.
pub(crate) const COMMANDS: &[&str] = &[
    "SET k v",
    "SET k v EX n",
    "SET k v PXAT t",
    "SET k v XX KEEPTTL GET",
    "SETEX k 1 v",
    "GETDEL k",
    "GETSET k v",
    "SETNX k v",
    "PSETEX k n v",
    "INCR k",
    "INCRBY k n",
    "DECRBY k n",
    "EXPIREAT k 1700000001",
    "FLUSHALL",
    "LPUSHX k v",
    "BRPOP k 0",
    "BRPOPLPUSH k k 0",
    "APPEND k v",
    "DECR k",
    "MSET k v k v k v",
    "MSETNX k v k v",
    "DEL k k k",
    "UNLINK k k",
    "EXPIRE k n",
    "PEXPIRE k n LT",
    "PEXPIREAT k t",
    "PERSIST k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k",
    "COPY k k DB d REPLACE",
    "MOVE k d",
    "SWAPDB d d",
    "FLUSHDB",
    "RPUSH k v v v v",
    "LPUSH k v v",
    "RPUSHX k v",
    "RPOP k n",
    "LPOP k",
    "LSET k n v",
    "LINSERT k AFTER v v",
    "LREM k 0 v",
    "LTRIM k 1 n",
    "LMPOP 2 k k RIGHT COUNT 2",
    "LMOVE k k LEFT RIGHT",
    "RPOPLPUSH k k",
    "SORT k ALPHA STORE k",
    "SORT k BY key-* GET # GET {tag}* STORE k",
    "SORT k BY key-* ALPHA LIMIT 1 n DESC STORE k",
    "BLPOP k k 0",
    "BLMPOP 0 1 k LEFT COUNT n",
    "BLMOVE k k LEFT LEFT 0",
    "GETEX k",
    "GETEX k PX n",
    "GETEX k PXAT t",
    "GETEX k PERSIST",
    "SETRANGE k n v",
    "INCRBYFLOAT k 0.1",
    "SETBIT k n 1",
    "SETBIT k n 0",
    "BITOP XOR k k k",
    "BITOP AND k k k k",
    "BITOP NOT k k",
    "BITFIELD k SET i8 n n INCRBY u5 #1 7",
    "BITFIELD k OVERFLOW FAIL INCRBY u2 n 3",
    "RESTORE k 0 p",
    "RESTORE k n p REPLACE",
    "RESTORE k t p REPLACE ABSTTL",
    "RESTORE-ASKING k n p",
    "GET k",
    "DUMP k",
    "RANDOMKEY",
];

/// A string and a list, as DUMP gives them, of bytes that are text.
const PAYLOADS: [&str; 2] = ["\0\u{4}v361\n\u{0}3%Hpy\u{16}6i", "\u{1}\u{2}\u{1}a\u{4}v213\n\u{0}8\u{7}-IJ\u{b}Ih"];

pub(crate) fn random_command(chance: &mut Rng, now: i64) -> String {
    let mut pattern = COMMANDS[chance.below(COMMANDS.len() as u64) as usize];
    // Not too often, so that there is something to compare.
    while pattern.starts_with("FLUSH") && chance.below(4) > 0 {
        pattern = COMMANDS[chance.below(COMMANDS.len() as u64) as usize];
    }
    let words = pattern.split(' ').map(|word| match word {
        // Half of the keys share a slot.
        "k" => match chance.below(KEYS) {
            number if number < KEYS / 2 => format!("key-{number}"),
            number => format!("{{tag}}{number}"),
        },
        "d" => chance.below(DATABASES as u64).to_string(),
        "n" => chance.below(4).to_string(),
        // Long ones make lists of several chunks.
        "v" if chance.below(8) == 0 => "long".repeat(1 + chance.below(900) as usize),
        "v" => chance.below(5).to_string(),
        "p" => PAYLOADS[chance.below(2) as usize].to_owned(),
        "t" => (now - 2 + chance.below(12) as i64).to_string(),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The shards of a process whose effects are recorded, and for each one that follows.
pub(crate) struct Process {
    pub(crate) map: SlotMap,
    pub(crate) shards: Vec<Shard>,
    pub(crate) followers: Vec<(Shard, Replay)>,
    pub(crate) client: Client,
    pub(crate) now: UnixMillis,
    pub(crate) next_ticket: u32,
    /// Waiters of several shards that were served.
    pub(crate) called: usize,
}

impl Process {
    pub(crate) fn new(count: u16) -> Self {
        let map = SlotMap::even(count);
        let mut shards: Vec<Shard> = (0..count).map(|core| shard(&map, core)).collect();
        shards.iter_mut().for_each(|shard| shard.record_effects(true));
        let followers = (0..count).map(|core| (shard(&map, core), Replay::default())).collect();
        let mut client = Client::new(1, NOW);
        client.authenticated = true;
        Self { map, shards, followers, client, now: NOW, next_ticket: 0, called: 0 }
    }

    /// Runs a command as a client's core does: alone on its shard or with all that it needs; it may block.
    pub(crate) fn run(&mut self, request: &Request) {
        let (spec, args) = (request.spec().unwrap(), request.args());
        let context = Context { db: self.client.db, ..context(self.now, false) };
        let mut out = Vec::new();
        let cores = loan_cores(spec, args, &self.map);
        let outcome = if let [core] = cores[..] {
            self.shards[usize::from(core)].execute(spec, args, &context, &mut out)
        } else {
            let shards = self.shards.iter_mut().enumerate();
            let in_hand = shards.filter(|(core, _)| cores.is_empty() || cores.contains(&(*core as u16)));
            let mut in_hand: Vec<&mut Shard> = in_hand.map(|(_, shard)| shard).collect();
            execute_together(&mut in_hand, spec, args, &context, &mut out)
        };
        if let Outcome::Blocks(wait) = outcome {
            self.next_ticket += 1;
            let ticket = Ticket { core: cores[0], connection: 0, generation: 0, number: self.next_ticket };
            for &core in &cores {
                self.shards[usize::from(core)].block(ticket, spec, args, &context, &wait, cores.len() > 1);
            }
        }
        self.serve_called();
    }

    /// Lets a little time pass, and has a random client do something; now and then what is due expires.
    pub(crate) fn step(&mut self, chance: &mut Rng) {
        self.now.0 += chance.below(3) as i64;
        self.client.db = chance.below(DATABASES as u64) as u16;
        let now = self.now.0;
        let request = |chance: &mut Rng| Request::words(&random_command(chance, now));
        let first = request(chance);
        if chance.below(8) == 0 {
            let select = Request::words(&format!("SELECT {}", chance.below(DATABASES as u64)));
            let second = request(chance);
            self.run_transaction(&[first, second, select, request(chance), request(chance)]);
        } else {
            self.run(&first);
        }
        if chance.below(10) == 0 {
            let monotonic = Monotonic(now as u64 * 1_000_000);
            for shard in &mut self.shards {
                shard.housekeep(self.now, monotonic, 1);
            }
        }
    }

    /// Serves waiters of several shards, with all shards in hand.
    pub(crate) fn serve_called(&mut self) {
        loop {
            let letters: Vec<Letter> = self.shards.iter_mut().flat_map(Shard::take_letters).collect();
            let calls: Vec<Ticket> = letters.into_iter().filter_map(called).collect();
            if calls.is_empty() {
                break;
            }
            for ticket in calls {
                let mut in_hand: Vec<&mut Shard> = self.shards.iter_mut().collect();
                if serve_called_together(&mut in_hand, ticket, self.now, limits()).is_some() {
                    self.called += 1;
                    in_hand.iter_mut().for_each(|shard| shard.unblock(ticket, Unblock::Silently, self.now, limits()));
                }
            }
        }
    }

    /// Runs a transaction over all shards.
    pub(crate) fn run_transaction(&mut self, requests: &[Request]) {
        let mut out = Vec::new();
        run_transaction_command(
            TransactionCommand::Multi,
            &mut self.client,
            &mut Reply::new(&mut out, Protocol::Resp2),
        );
        for request in requests {
            let queued = admit(
                &mut self.client,
                request.spec(),
                request.args(),
                crate::Standing::default(),
                &mut Reply::new(&mut out, Protocol::Resp2),
            );
            assert!(queued.is_none(), "it waits for EXEC");
        }
        let mut in_hand: Vec<&mut Shard> = self.shards.iter_mut().collect();
        let node = TestNode::default();
        let around = Surroundings {
            node: &node,
            now: self.now,
            limits: limits(),
            chance: 1,
            reply_bytes_max: 1 << 20,
            answers: None,
        };
        let mut subscriptions = node.subscriptions();
        let (ledger, speech) = (&mut TestLedger::default(), &mut Speech::new(&mut subscriptions, 0));
        execute_transaction(&mut self.client, &mut in_hand, &around, ledger, speech, &mut NoCrowd, &mut out);
        self.serve_called();
    }

    /// Hands what the streams have gained to the followers, in pieces of any size.
    pub(crate) fn follow(&mut self, chance: &mut Rng) {
        for (shard, (follower, replay)) in self.shards.iter_mut().zip(&mut self.followers) {
            let gained = shard.effects_mut().drain();
            let mut rest = &gained[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(1 + chance.below(700) as usize));
                replay.feed(&mut [&mut *follower], piece, limits()).unwrap();
                rest = behind;
            }
            assert_eq!(replay.applied(), shard.effects_mut().offset(), "streams end with whole blocks");
        }
    }

    pub(crate) fn keys(&self) -> usize {
        let dbs = self.shards.iter().flat_map(|shard| (0..DATABASES).filter_map(|db| shard.keyspace.find_db(db)));
        dbs.map(|db| db.len()).sum()
    }

    pub(crate) fn assert_followed(&self, seed: u64) {
        for (shard, (follower, _)) in self.shards.iter().zip(&self.followers) {
            for db in 0..DATABASES {
                let (one, other) = (content(&shard.keyspace, db), content(&follower.keyspace, db));
                assert!(one == other, "seed {seed}, database {db}:\n{}\nis not\n{}", show(&one), show(&other));
            }
        }
    }
}

fn called(letter: Letter) -> Option<Ticket> {
    match letter {
        Letter::Call(ticket) => Some(ticket),
        Letter::Reply { .. } | Letter::Stale { .. } => None,
    }
}

pub(crate) fn shard(map: &SlotMap, core: u16) -> Shard {
    let (slots, hasher) = (map.slots(core).unwrap(), KeyHasher::new([1, 2]));
    Shard::new(ShardSettings { slots, databases: DATABASES, hasher, seed: u64::from(core) })
}

/// For each key, also those that have expired and were not removed, the commands that make it.
pub(crate) fn content(keyspace: &Keyspace, db: usize) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut content = BTreeMap::new();
    let Some(db) = keyspace.find_db(db) else { return content };
    let mut next = Some(Cursor::start());
    while let Some(cursor) = next {
        next = db.scan(cursor, 100, BEFORE_ALL_EXPIRIES, &mut |key, _| drop(content.insert(key.to_vec(), Vec::new())));
    }
    for (key, made_by) in &mut content {
        let entry = db.peek(&KeyHasher::new([1, 2]).key(key), BEFORE_ALL_EXPIRIES).unwrap();
        recreate(key, &entry, &mut |words| made_by.push(words.join(&b' ')));
    }
    content
}

pub(crate) fn show(content: &BTreeMap<Vec<u8>, Vec<Vec<u8>>>) -> String {
    let lines =
        content.values().flatten().map(|line| String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned());
    lines.collect::<Vec<_>>().join("\n")
}
