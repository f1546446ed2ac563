use super::*;
use crate::SlotMap;
use crate::testing::process::{COMMANDS, Process, content, random_command, shard, show};
use crate::testing::{Request, limits};
use slotmesh_base::Rng;
use slotmesh_keyspace::{Access, PackedLimit};

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
    for seed in 0..320 {
        let mut chance = Rng::new(seed);
        let mut process = Process::new(1 + (seed % 3) as u16);
        for step in 0..300 {
            process.step(&mut chance);
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
        second.1.feed(&mut [&mut second.0], &gained, limits()).unwrap();
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
        replay.feed(&mut [&mut shard], &bytes[..cut], limits()).unwrap();
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
    let told = |requests: &[&str]| {
        let outcome = shard(&SlotMap::even(2), 1).replay(&stream(requests), limits());
        outcome.expect_err("it is refused").to_string()
    };
    assert_eq!(told(&["NOSUCH a\t b"]), "byte 0: unknown command 'NOSUCH a\\t'");
    let long = told(&[&format!("NOSUCH {}", "x".repeat(1000))]);
    assert_eq!(long, format!("byte 0: unknown command 'NOSUCH {}'", "x".repeat(80 - "NOSUCH ".len())));
    expect(&["SET list"], 0, ReplayFault::WrongArity("set"));
    expect(&["GET list"], 0, ReplayFault::NoEffect("get"));
    expect(&["ECHO x"], 0, ReplayFault::NoEffect("echo"));
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
    let small = ValueLimits {
        string_bytes_max: 1,
        list_packed: PackedLimit::default(),
        access: Access::default(),
        shares_integers: true,
        compresses: true,
    };
    let bytes = stream(&["SET a 1 PXAT 1", "APPEND a 23", "RPUSH b x", "PEXPIREAT b 1", "COPY b c", "PERSIST c"]);
    shard.replay(&bytes, small).unwrap();
    assert_eq!(show(&content(&shard.keyspace, 0)), "SET a 123 PXAT 1\nRPUSH b x\nPEXPIREAT b 1\nRPUSH c x");
}
