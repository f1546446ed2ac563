use super::*;
use crate::keys::Distribution;

const SIZES: Sizes = Sizes { key_bytes: 16, value_bytes: 5 };

fn requests(mix: &str, keys: u64, distribution: Distribution) -> Requests {
    let population = Population { keys, lists: 10 };
    let chooser = |count| KeyChooser::new(distribution, count, 0, 1);
    Requests::new(&parse_mix(mix).unwrap(), SIZES, population, chooser, Rng::new(1))
}

#[test]
fn requests_are_whole_and_name_the_chosen_keys() {
    let mut requests = requests("set", 2000, Distribution::Sequence { from: 7, to: 2000 });
    let mut output = b"before".to_vec();
    requests.write_next(&mut output);
    requests.write_next(&mut output);
    let expected = "before*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$5\r\nabcde\r\n\
                    *3\r\n$3\r\nSET\r\n$16\r\nkey:000000000008\r\n$5\r\nabcde\r\n";
    assert_eq!(String::from_utf8(output).unwrap(), expected);
}

#[test]
fn every_command_has_its_form() {
    for (mix, expected) in [
        ("get", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000000\r\n"),
        ("setex", "*4\r\n$5\r\nSETEX\r\n$16\r\nkey:000000000000\r\n$7\r\n1000000\r\n$5\r\nabcde\r\n"),
        ("incr", "*2\r\n$4\r\nINCR\r\n$16\r\nctr:000000000000\r\n"),
        ("append", "*3\r\n$6\r\nAPPEND\r\n$16\r\napp:000000000000\r\n$5\r\nabcde\r\n"),
        ("getrange", "*4\r\n$8\r\nGETRANGE\r\n$16\r\nkey:000000000000\r\n$1\r\n1\r\n$1\r\n2\r\n"),
        ("expire", "*3\r\n$6\r\nEXPIRE\r\n$16\r\nkey:000000000000\r\n$7\r\n1000000\r\n"),
        ("mget:2", "*3\r\n$4\r\nMGET\r\n$16\r\nkey:000000000000\r\n$16\r\nkey:000000000001\r\n"),
        ("del", "*2\r\n$3\r\nDEL\r\n$16\r\nkey:000000000000\r\n"),
        ("lpush", "*3\r\n$5\r\nLPUSH\r\n$16\r\nlst:000000000000\r\n$5\r\nabcde\r\n"),
        ("rpop", "*2\r\n$4\r\nRPOP\r\n$16\r\nlst:000000000000\r\n"),
        ("lrange:100", "*4\r\n$6\r\nLRANGE\r\n$16\r\nlst:000000000000\r\n$1\r\n0\r\n$2\r\n99\r\n"),
        (
            "multi:2",
            "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$16\r\n{000000000000}:0\r\n$5\r\nabcde\r\n\
             *3\r\n$3\r\nSET\r\n$16\r\n{000000000000}:1\r\n$5\r\nabcde\r\n*1\r\n$4\r\nEXEC\r\n",
        ),
        (
            "multi-any:2",
            "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$5\r\nabcde\r\n\
             *3\r\n$3\r\nSET\r\n$16\r\nkey:000000000001\r\n$5\r\nabcde\r\n*1\r\n$4\r\nEXEC\r\n",
        ),
        ("exists", "*2\r\n$6\r\nEXISTS\r\n$16\r\nkey:000000000000\r\n"),
        ("ping", "*1\r\n$4\r\nPING\r\n"),
        ("echo", "*2\r\n$4\r\nECHO\r\n$5\r\nabcde\r\n"),
    ] {
        let mut output = Vec::new();
        requests(mix, 10, Distribution::Sequence { from: 0, to: 10 }).write_next(&mut output);
        assert_eq!(String::from_utf8(output).unwrap(), expected, "{mix}");
    }
}

#[test]
fn a_transaction_has_keys_of_one_tag_and_a_reply_for_each_command() {
    let mut requests = requests("multi:10", 20_000, Distribution::Sequence { from: 1234, to: 2000 });
    let mut output = Vec::new();
    assert_eq!(requests.write_next(&mut output).1, 12);
    let text = String::from_utf8(output).unwrap();
    assert_eq!(text.matches("\r\n{000000001234}:").count(), 10);
    assert!(text.contains("}:9\r\n"));
}

#[test]
fn a_mix_keeps_its_weights() {
    let mut requests = requests("get:3,ping:1", 10, Distribution::Uniform);
    let mut gets = 0;
    for _ in 0..10_000 {
        let mut output = Vec::new();
        requests.write_next(&mut output);
        gets += u32::from(output.starts_with(b"*2"));
    }
    assert!((7300..7700).contains(&gets), "{gets}");
}

#[test]
fn a_mix_is_read_or_refused() {
    let mget = Share { kind: CommandKind::MGet(10), weight: 2 };
    let get = Share { kind: CommandKind::Get, weight: 9 };
    assert_eq!(parse_mix("GET:9,mget:10:2"), Some(vec![get, mget]));
    for text in [
        "get",
        "set:3",
        "setex",
        "incr",
        "append",
        "setbit:2",
        "getrange",
        "expire",
        "mget:10",
        "mget:10:2",
        "del",
        "exists",
        "ping",
        "echo:7",
        "lpush",
        "rpop:2",
        "lrange:100",
        "multi:10",
        "multi-any:10:3",
    ] {
        assert_eq!(parse_mix(text).unwrap()[0].to_string(), text);
    }
    for bad in [
        "",
        "get,",
        "get:0",
        "get:1:2",
        "mget",
        "mget:0",
        "mget:1001",
        "flushall",
        "get:x",
        "get:-1",
        "multi:0",
        "multi:10:1:1",
        "lrange:0",
        "renew:3",
        "renewed",
        "last-bit",
    ] {
        assert_eq!(parse_mix(bad), None, "{bad}");
    }
}

#[test]
fn the_usual_length_of_ranges_and_transactions_need_not_be_said() {
    let kinds: Vec<_> = parse_mix("lrange,multi,multi-any").unwrap().iter().map(|share| share.kind).collect();
    assert_eq!(kinds, [CommandKind::LRange(100), CommandKind::Multi(10), CommandKind::MultiAny(10)]);
}

/// A request is followed by its number of replies, and commands draw from what they are about.
#[test]
fn keys_lists_and_hash_tags_are_drawn_from_their_own_numbers() {
    for (mix, drawn, replies) in [("get", 2000, 1), ("rpop", 10, 1), ("multi:10", 200, 12), ("multi-any:3", 2000, 5)] {
        let kind = parse_mix(mix).unwrap()[0].kind;
        assert_eq!(Population { keys: 2000, lists: 10 }.drawn_by(kind), drawn, "{mix}");
        let mut output = Vec::new();
        assert_eq!(requests(mix, 2000, Distribution::Uniform).write_next(&mut output).1, replies, "{mix}");
    }
    assert_eq!(Population { keys: 3, lists: 1 }.drawn_by(CommandKind::Multi(10)), 1);
}

/// Filling in sequence names every list once, with both of its commands.
#[test]
fn a_list_is_filled_anew() {
    let mix = [Share { kind: CommandKind::RPop.filler(2), weight: 1 }];
    let chooser = |_| KeyChooser::new(Distribution::Sequence { from: 3, to: 5 }, 0, 0, 1);
    let mut requests = Requests::new(&mix, SIZES, Population { keys: 1, lists: 10 }, chooser, Rng::new(1));
    for list in [3, 4] {
        let mut output = Vec::new();
        assert_eq!(requests.write_next(&mut output).1, 2);
        let key = format!("$16\r\nlst:{list:012}\r\n");
        let pushed = "$5\r\nabcde\r\n".repeat(2);
        let expected = format!("*2\r\n$3\r\nDEL\r\n{key}*4\r\n$5\r\nRPUSH\r\n{key}{pushed}");
        assert_eq!(String::from_utf8(output).unwrap(), expected);
    }
}

#[test]
fn keys_must_differ_within_their_size() {
    let sizes = |key_bytes| Sizes { key_bytes, value_bytes: 1 };
    assert!(sizes(5).have_room_for(10) && !sizes(5).have_room_for(11));
    assert!(sizes(11).have_room_for(10_000_000) && !sizes(10).have_room_for(10_000_000));
}

#[test]
fn the_sizes_of_requests_are_those_on_the_wire() {
    let sizes = Sizes { key_bytes: 16, value_bytes: 32 };
    assert_eq!((sizes.get_bytes(), sizes.set_bytes()), (36, 75));
}

/// Bits of a string of 32 bytes: all offsets have three digits, and both values come.
#[test]
fn bits_are_of_chance_and_of_the_string_that_is_there() {
    let mut requests = requests("setbit", 10, Distribution::Uniform);
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..10_000 {
        let mut output = Vec::new();
        requests.write_next(&mut output);
        let text = String::from_utf8(output).unwrap();
        let words: Vec<_> = text.split("\r\n").collect();
        assert_eq!((words[2], &words[4][..4], words[5], words[7]), ("SETBIT", "bit:", "$3", "$1"));
        seen.insert((words[6].parse::<u32>().unwrap(), words[8].parse::<u32>().unwrap()));
    }
    assert_eq!((seen.len(), seen.first(), seen.last()), (312, Some(&(100, 0)), Some(&(255, 1))));
}

#[test]
fn commands_find_what_they_are_about() {
    for (mix, filler) in [
        ("get", CommandKind::Set),
        ("getrange", CommandKind::Set),
        ("mget:10", CommandKind::Set),
        ("incr", CommandKind::Incr),
        ("append", CommandKind::Renewed),
        ("setbit", CommandKind::LastBit),
        ("expire", CommandKind::SetEx),
    ] {
        assert_eq!(parse_mix(mix).unwrap()[0].kind.filler(1), filler, "{mix}");
    }
}

/// A request that was drawn is written as often as wanted, and tells the slot of the key that it names.
#[test]
fn a_drawn_request_can_be_written_again() {
    for mix in ["get", "set", "rpop", "multi:3", "mget:1"] {
        let mut requests = requests(mix, 2000, Distribution::Uniform);
        for _ in 0..100 {
            let drawn = requests.draw().unwrap();
            let slot = requests.slot(drawn).unwrap();
            let [first, second] = [0, 1].map(|_| {
                let mut output = Vec::new();
                requests.write(drawn, &mut output);
                String::from_utf8(output).unwrap()
            });
            assert_eq!(first, second, "{mix}");
            let key = first.split("\r\n").find(|word| word.contains(':')).unwrap();
            assert_eq!(Slot::of_key(key.as_bytes()), slot, "{first}");
        }
    }
    let mut requests = requests("set", 20, Distribution::Sequence { from: 3, to: 5 });
    assert_eq!([0; 3].map(|_| requests.draw().is_some()), [true, true, false]);
}
