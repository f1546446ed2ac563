use super::*;
use crate::testing::{NOW, Request, TestNode, context, limits};
use crate::{
    Client, Letter, ShardSettings, SlotMap, Surroundings, Ticket, Unblock, admit, execute_together,
    execute_transaction, loan_cores, run_transaction_command, serve_called_together,
};
use slotmesh_base::{Monotonic, Rng};
use slotmesh_command::{Outcome, recreate};
use slotmesh_keyspace::{Cursor, KeyHasher, Keyspace, PackedLimit};
use slotmesh_resp::Reply;
use std::collections::BTreeMap;

const DATABASES: usize = 4;
const KEYS: u64 = 16;

/// Commands: `k` stands for a key, `d` for a database, `n` for a small number, `v` for a value, `t` for a time in ms
/// near now.
const COMMANDS: &[&str] = &[
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
    "BLPOP k k 0",
    "BLMPOP 0 1 k LEFT COUNT n",
    "BLMOVE k k LEFT LEFT 0",
    "GET k",
    "RANDOMKEY",
];

fn random_command(chance: &mut Rng, now: i64) -> String {
    let mut pattern = COMMANDS[chance.below(COMMANDS.len() as u64) as usize];
    // Not too often, so that there is something to compare.
    while pattern.starts_with("FLUSH") && chance.below(4) > 0 {
        pattern = COMMANDS[chance.below(COMMANDS.len() as u64) as usize];
    }
    let words = pattern.split(' ').map(|word| match word {
        "k" => format!("key-{}", chance.below(KEYS)),
        "d" => chance.below(DATABASES as u64).to_string(),
        "n" => chance.below(4).to_string(),
        // Long ones make lists of several chunks.
        "v" if chance.below(8) == 0 => "long".repeat(1 + chance.below(900) as usize),
        "v" => chance.below(5).to_string(),
        "t" => (now - 2 + chance.below(12) as i64).to_string(),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The shards of a process whose effects are recorded, and for each one that follows.
struct Process {
    map: SlotMap,
    shards: Vec<Shard>,
    followers: Vec<(Shard, Replay)>,
    client: Client,
    now: UnixMillis,
    next_ticket: u32,
    /// Waiters of several shards that were served.
    called: usize,
}

impl Process {
    fn new(count: u16) -> Self {
        let map = SlotMap::even(count);
        let mut shards: Vec<Shard> = (0..count).map(|core| shard(&map, core)).collect();
        shards.iter_mut().for_each(|shard| shard.record_effects(true));
        let followers = (0..count).map(|core| (shard(&map, core), Replay::default())).collect();
        let mut client = Client::new(1, NOW);
        client.authenticated = true;
        Self { map, shards, followers, client, now: NOW, next_ticket: 0, called: 0 }
    }

    /// Runs a command as a client's core does: alone on its shard or with all that it needs; it may block.
    fn run(&mut self, request: &Request) {
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

    /// Serves waiters of several shards, with all shards in hand.
    fn serve_called(&mut self) {
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
    fn run_transaction(&mut self, requests: &[Request]) {
        let mut out = Vec::new();
        run_transaction_command(
            TransactionCommand::Multi,
            &mut self.client,
            &mut Reply::new(&mut out, Protocol::Resp2),
        );
        for request in requests {
            let queued =
                admit(&mut self.client, request.spec(), request.args(), &mut Reply::new(&mut out, Protocol::Resp2));
            assert!(queued.is_none(), "it waits for EXEC");
        }
        let mut in_hand: Vec<&mut Shard> = self.shards.iter_mut().collect();
        let node = TestNode::default();
        let around = Surroundings { node: &node, now: self.now, limits: limits(), chance: 1 };
        execute_transaction(&mut self.client, &mut in_hand, &around, &mut out);
        self.serve_called();
    }

    /// Hands what the streams have gained to the followers, in pieces of any size.
    fn follow(&mut self, chance: &mut Rng) {
        for (shard, (follower, replay)) in self.shards.iter_mut().zip(&mut self.followers) {
            let gained = shard.effects_mut().drain();
            let mut rest = &gained[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(1 + chance.below(700) as usize));
                replay.feed(follower, piece, limits()).unwrap();
                rest = behind;
            }
            assert_eq!(replay.applied(), shard.effects_mut().offset(), "streams end with whole blocks");
        }
    }

    fn keys(&self) -> usize {
        let dbs = self.shards.iter().flat_map(|shard| (0..DATABASES).filter_map(|db| shard.keyspace.find_db(db)));
        dbs.map(|db| db.len()).sum()
    }

    fn assert_followed(&self, seed: u64) {
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
        Letter::Reply { .. } => None,
    }
}

fn shard(map: &SlotMap, core: u16) -> Shard {
    let (slots, hasher) = (map.slots(core).unwrap(), KeyHasher::new([1, 2]));
    Shard::new(ShardSettings { slots, databases: DATABASES, hasher, seed: u64::from(core) })
}

/// For each key, also those that have expired and were not removed, the commands that make it.
fn content(keyspace: &Keyspace, db: usize) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
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

fn show(content: &BTreeMap<Vec<u8>, Vec<Vec<u8>>>) -> String {
    let lines =
        content.values().flatten().map(|line| String::from_utf8_lossy(&line[..line.len().min(100)]).into_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn no_write_is_left_out() {
    let name_of = |command: &&str| command.split(' ').next().unwrap().to_lowercase();
    let tried: Vec<String> = COMMANDS.iter().map(name_of).collect();
    for spec in slotmesh_command::all() {
        let is_tried = tried.iter().any(|name| name == spec.name);
        assert!(is_tried || !spec.flags.contains(Flags::WRITE), "{} writes and is not tried", spec.name);
    }
    let unknown: Vec<_> = tried.iter().filter(|name| slotmesh_command::find(name.as_bytes()).is_none()).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn whatever_was_done_its_effects_do_the_same() {
    let (mut bytes, mut keys, mut called) = (0, 0, 0);
    for seed in 0..240 {
        let mut chance = Rng::new(seed);
        let mut process = Process::new(1 + (seed % 3) as u16);
        for step in 0..300 {
            process.now.0 += chance.below(3) as i64;
            process.client.db = chance.below(DATABASES as u64) as u16;
            let mut request = || Request::words(&random_command(&mut chance, process.now.0));
            match request() {
                first if chance.below(8) == 0 => {
                    let select = Request::words(&format!("SELECT {}", chance.below(DATABASES as u64)));
                    let mut request = || Request::words(&random_command(&mut chance, process.now.0));
                    process.run_transaction(&[first, request(), select, request(), request()]);
                }
                request => process.run(&request),
            }
            if chance.below(10) == 0 {
                let monotonic = Monotonic(process.now.0 as u64 * 1_000_000);
                for shard in &mut process.shards {
                    shard.housekeep(process.now, monotonic, 1);
                }
            }
            if chance.below(5) == 0 {
                process.follow(&mut chance);
            }
            if step % 50 == 49 {
                process.follow(&mut chance);
                process.assert_followed(seed);
                keys += process.keys();
            }
        }
        called += process.called;
        bytes += process.shards.iter_mut().map(|shard| shard.effects_mut().offset()).sum::<u64>();
    }
    assert!(
        bytes > 5_000_000 && keys > 20_000 && called > 100,
        "{bytes} bytes, {keys} keys, {called} calls prove little"
    );
}

#[test]
fn to_look_whether_a_waiter_can_be_served_expires_nothing() {
    let mut process = Process::new(1);
    process.client.db = 1;
    process.run(&Request::words("BLPOP a 0"));
    process.client.db = 0;
    process.run(&Request::words("PSETEX a 1 v"));
    process.now.0 += 2;
    process.run(&Request::words("SWAPDB 0 1"));
    process.follow(&mut Rng::new(1));
    process.assert_followed(0);
}

#[test]
fn a_follower_that_is_followed_passes_the_same_on() {
    let mut process = Process::new(1);
    process.followers[0].0.record_effects(true);
    let mut chance = Rng::new(7);
    let mut second = (shard(&process.map, 0), Replay::default());
    for _ in 0..500 {
        process.now.0 += 1;
        process.run(&Request::words(&random_command(&mut chance, process.now.0)));
        process.follow(&mut chance);
        let gained = process.followers[0].0.effects_mut().drain();
        second.1.feed(&mut second.0, &gained, limits()).unwrap();
    }
    process.followers[0] = second;
    process.assert_followed(7);
}

/// A stream of requests in words.
fn stream(requests: &[&str]) -> Vec<u8> {
    let mut stream = Vec::new();
    for request in requests {
        let words: Vec<&str> = request.split(' ').collect();
        stream.extend(format!("*{}\r\n", words.len()).bytes());
        words.iter().for_each(|word| stream.extend(format!("${}\r\n{word}\r\n", word.len()).bytes()));
    }
    stream
}

#[test]
fn a_block_is_replayed_whole_or_not_at_all() {
    let map = SlotMap::even(1);
    let bytes = stream(&["SET a 1", "MULTI", "SET a 2", "SELECT 3", "SET b 2", "EXEC", "SET c 3"]);
    let first = stream(&["SET a 1"]).len() as u64;
    let second = bytes.len() as u64 - first;
    for cut in 0..=bytes.len() {
        let (mut shard, mut replay) = (shard(&map, 0), Replay::default());
        replay.feed(&mut shard, &bytes[..cut], limits()).unwrap();
        let lens = [0, 3].map(|db| content(&shard.keyspace, db).len());
        let a = content(&shard.keyspace, 0).get(&b"a"[..]).map(|made_by| made_by[0].clone());
        let (applied, expected) = match cut as u64 {
            cut if cut < first => (0, ([0, 0], None)),
            cut if cut < second => (first, ([1, 0], Some(b"SET a 1".to_vec()))),
            cut if cut < first + second => (second, ([1, 1], Some(b"SET a 2".to_vec()))),
            cut => (cut, ([1, 2], Some(b"SET a 2".to_vec()))),
        };
        assert_eq!(((lens, a), replay.applied()), (expected, applied), "{cut} bytes");
        let end = replay.finish();
        let is_whole = cut as u64 == applied;
        assert_eq!(
            end,
            if is_whole { Ok(()) } else { Err(ReplayError { fault: ReplayFault::Truncated, at: applied }) }
        );
    }
}

#[test]
fn what_is_no_stream_of_effects_is_refused_with_its_place() {
    let start = stream(&["SELECT 1", "RPUSH list x"]);
    let expect = |requests: &[&str], behind: u64, fault: ReplayFault| {
        let bytes = [&start[..], &stream(requests)].concat();
        let at = start.len() as u64 + behind;
        assert_eq!(
            shard(&SlotMap::even(2), 1).replay(&bytes, limits()),
            Err(ReplayError { fault, at }),
            "{requests:?}"
        );
    };
    expect(&["NOSUCH a"], 0, ReplayFault::UnknownCommand);
    expect(&["SET list"], 0, ReplayFault::WrongArity("set"));
    expect(&["GET list"], 0, ReplayFault::NoEffect("get"));
    expect(&["PING"], 0, ReplayFault::NoEffect("ping"));
    expect(&["DISCARD"], 0, ReplayFault::NoEffect("discard"));
    expect(&["CONFIG GET x"], 0, ReplayFault::NoEffect("config|get"));
    expect(&["SELECT 4"], 0, ReplayFault::NoSuchDatabase);
    expect(&["SELECT -1"], 0, ReplayFault::NoSuchDatabase);
    expect(&["SELECT x"], 0, ReplayFault::NoSuchDatabase);
    expect(&["EXEC"], 0, ReplayFault::Misplaced("exec"));
    expect(&["MULTI", "MULTI"], stream(&["MULTI"]).len() as u64, ReplayFault::Misplaced("multi"));
    expect(&["INCR list"], 0, ReplayFault::Refused("incr"));
    // Slot 3300 is the other shard's.
    expect(&["SET b x"], 0, ReplayFault::KeyElsewhere("set"));
    let in_block = ["MULTI", "DEL list", "INCR list", "LPUSH list x", "EXEC"];
    expect(&in_block, stream(&in_block[..3]).len() as u64, ReplayFault::Refused("lpush"));
}

#[test]
fn broken_bytes_are_refused_with_their_place() {
    let start = stream(&["SELECT 1"]);
    for (bytes, fault) in [
        (&b"SET a 1\r\n"[..], ReplayFault::NoArray),
        (b"+OK\r\n", ReplayFault::NoArray),
        (b"*x\r\n", ReplayFault::Broken(ProtocolError::InvalidCount)),
        (b"*1\r\nPING\r\n", ReplayFault::Broken(ProtocolError::ExpectedBulk(b'P'))),
        (b"*1\r\n$-1\r\n", ReplayFault::Broken(ProtocolError::InvalidBulkLength)),
        (b"*1\r\n$4\r\nPIN", ReplayFault::Truncated),
    ] {
        let bytes = [&start[..], bytes].concat();
        let error = shard(&SlotMap::even(1), 0).replay(&bytes, limits()).unwrap_err();
        assert_eq!(error, ReplayError { fault, at: start.len() as u64 });
        assert!(error.to_string().starts_with("byte 23: "), "{error}");
    }
}

#[test]
fn nothing_is_too_large_and_nothing_expires() {
    let mut shard = shard(&SlotMap::even(1), 0);
    let small = ValueLimits { string_bytes_max: 1, list_packed: PackedLimit::default() };
    let bytes = stream(&["SET a 1 PXAT 1", "APPEND a 23", "RPUSH b x", "PEXPIREAT b 1", "COPY b c", "PERSIST c"]);
    shard.replay(&bytes, small).unwrap();
    assert_eq!(show(&content(&shard.keyspace, 0)), "SET a 123 PXAT 1\nRPUSH b x\nPEXPIREAT b 1\nRPUSH c x");
}
