//! Random commands on one and on several shards: whatever they did, replaying their effects does the same.

use super::Fixture;
use slotmesh_base::Rng;

const KEYS: u64 = 12;

/// Commands, `k` for a key, `d` for a database, `n` for a small number, `v` for a value, `t` for a time in ms near now, `p`
/// for a payload of DUMP.
const COMMANDS: &[&str] = &[
    "SET k v",
    "SET k v PX n",
    "SET k v KEEPTTL",
    "SET k v NX GET",
    "SET k v XX PXAT t",
    "SETNX k v",
    "PSETEX k 5 v",
    "GETSET k v",
    "GETDEL k",
    "APPEND k v",
    "INCRBY k n",
    "MSET k v k v k v",
    "MSETNX k v k v",
    "MGET k k k",
    "DEL k k",
    "UNLINK k",
    "PEXPIRE k n",
    "PEXPIREAT k t GT",
    "PEXPIREAT k t",
    "PERSIST k",
    "RENAME k k",
    "RENAMENX k k",
    "COPY k k REPLACE",
    "COPY k k DB d",
    "COPY k k DB d REPLACE",
    "MOVE k d",
    "SWAPDB d d",
    "FLUSHDB",
    "RPUSH k v v v",
    "LPUSH k v",
    "LPUSHX k v",
    "RPOP k",
    "LPOP k n",
    "LSET k n v",
    "LINSERT k BEFORE v v",
    "LREM k n v",
    "LTRIM k n -2",
    "LMPOP 3 k k k LEFT COUNT n",
    "LMOVE k k LEFT RIGHT",
    "RPOPLPUSH k k",
    "SORT k DESC STORE k",
    "SORT k BY nosort LIMIT n 2 STORE k",
    "SORT k BY key-* GET # GET key-* STORE k",
    "SORT_RO k BY key-* ALPHA",
    "BLPOP k k 0",
    "BRPOP k 0",
    "BLMPOP 0 2 k k RIGHT",
    "BLMOVE k k RIGHT RIGHT 0",
    "BRPOPLPUSH k k 0",
    "RANDOMKEY",
    "EXISTS k k k",
    "RESTORE k n p",
    "RESTORE k n p REPLACE",
    "RESTORE k t p ABSTTL REPLACE",
    "DUMP k",
];

/// A string and a list, as DUMP gives them, of bytes that are text.
const PAYLOADS: [&str; 2] = ["\0\u{4}v361\n\u{0}3%Hpy\u{16}6i", "\u{1}\u{2}\u{1}a\u{4}v213\n\u{0}8\u{7}-IJ\u{b}Ih"];

/// A command with its letters replaced.
fn random_command(rng: &mut Rng, now: i64) -> String {
    let pattern = COMMANDS[rng.below(COMMANDS.len() as u64) as usize];
    let words = pattern.split(' ').map(|word| match word {
        "k" => format!("key-{}", rng.below(KEYS)),
        "d" => rng.below(3).to_string(),
        "n" => rng.below(4).to_string(),
        "v" => rng.below(5).to_string(),
        "p" => PAYLOADS[rng.below(2) as usize].to_owned(),
        "t" => (now - 2 + rng.below(12) as i64).to_string(),
        word => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn effects_give_the_same_content() {
    for seed in 0..120 {
        let starts: &[u16] = [&[][..], &[8192], &[3000, 6000, 12_000]][seed % 3];
        let mut fixture = Fixture::with_shards(starts).recording();
        let mut rng = Rng::new(seed as u64);
        let mut streams = vec![Vec::new(); starts.len() + 1];
        for step in 0..300 {
            fixture.now.0 += rng.below(3) as i64;
            fixture.db = rng.below(3) as usize;
            fixture.run(&random_command(&mut rng, fixture.now.0));
            streams.iter_mut().zip(fixture.drain()).for_each(|(stream, gained)| stream.extend(gained));
            if step % 50 == 49 {
                fixture.assert_followed(&streams);
            }
        }
    }
}

#[test]
fn who_watches_and_who_follows_see_the_same_changes() {
    for seed in 0..40 {
        let mut fixture = Fixture::with_shards(&[8192][..seed % 2]).recording();
        (0..KEYS).for_each(|key| fixture.attend(&format!("key-{key}")));
        let mut rng = Rng::new(seed as u64);
        for _ in 0..300 {
            fixture.now.0 += rng.below(3) as i64;
            fixture.db = rng.below(3) as usize;
            let command = random_command(&mut rng, fixture.now.0);
            let reply = fixture.run(&command);
            let is_effect = |words: &&Vec<Vec<u8>>| !matches!(&words[0][..], b"MULTI" | b"EXEC" | b"SELECT");
            let effects: usize = fixture.drain().iter().map(|stream| stream.iter().filter(is_effect).count()).sum();
            let (expired, changed) = fixture.events;
            // Whole databases are emptied and exchanged also if there is nothing in them.
            if !command.starts_with("FLUSH") && !command.starts_with("SWAP") {
                assert_eq!(
                    effects > expired,
                    changed > 0,
                    "{command}: {reply}, {effects} effects, {:?}",
                    fixture.events
                );
            }
        }
    }
}

#[test]
fn nothing_is_said_while_nobody_listens() {
    let mut fixture = Fixture::with_shards(&[8192]);
    let mut rng = Rng::new(1);
    for _ in 0..1000 {
        fixture.run(&random_command(&mut rng, fixture.now.0));
    }
    assert!(fixture.drain().iter().all(Vec::is_empty));
}

#[test]
fn payloads_are_taken() {
    let mut fixture = Fixture::new();
    for (key, payload) in ["a", "b"].into_iter().zip(PAYLOADS) {
        assert_eq!(fixture.run(&format!("RESTORE {key} 0 {payload}")), "+OK");
    }
    assert_eq!(fixture.run("GET a"), "$4 v361");
    assert_eq!(fixture.run("LRANGE b 0 -1"), "*2 $1 a $4 v213");
}
