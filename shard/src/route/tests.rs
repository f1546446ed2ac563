use super::*;
use crate::testing::{NOW, Request, Session, Shards, TestNode};
use slotmesh_resp::Protocol;

#[test]
fn slots_are_split_evenly_and_in_order() {
    for shards in [1, 2, 3, 5, 64, 1000, SLOT_COUNT as u16] {
        let map = SlotMap::even(shards);
        let mut counts = vec![0u32; usize::from(shards)];
        let mut before = 0;
        for number in 0..SLOT_COUNT as u16 {
            let owner = map.owner(Slot::new(number).unwrap());
            assert!(owner == before || owner == before + 1, "slot {number} of {shards}");
            assert!(map.slots(owner).unwrap().contains(&number));
            counts[usize::from(owner)] += 1;
            before = owner;
        }
        // No two differ by more than one, and those with one more come first.
        assert!(counts.is_sorted_by(|a, b| a >= b) && counts[0] - counts[counts.len() - 1] <= 1, "{counts:?}");
        assert_eq!(map.slots(shards), None);
    }
    assert_eq!(SlotMap::even(3).slots(0), Some(0..=5461));
    assert_eq!(SlotMap::even(3).slots(2), Some(10923..=16383));
}

#[test]
fn every_slot_has_an_owner_among_the_shards() {
    let map = SlotMap::even(7);
    assert_eq!(map.shards(), 7);
    assert_eq!(map.owner(Slot::new(16383).unwrap()), 6);
}

#[test]
fn slots_of_a_cluster_are_here_or_elsewhere_or_nobodys() {
    use slotmesh_cluster::{NodeIndex, wire::NodeFlags};
    let node = |number: u64| slotmesh_cluster::Node {
        id: slotmesh_cluster::NodeId::of_random([number; 3]),
        shard_id: slotmesh_cluster::NodeId::of_random([number; 3]),
        ip: String::new(),
        port: 7000,
        other_port: 0,
        bus_port: 17000,
        hostname: None,
        flags: NodeFlags::MASTER,
        master: None,
        offset: 0,
        config_epoch: number,
        heard_at_ms: 0,
    };
    let mut topology = slotmesh_cluster::Topology::new(vec![node(0), node(1), node(2)], true);
    topology.assign(NodeIndex(0), 0..=9);
    topology.assign(NodeIndex(1), 10..=19);
    topology.assign(NodeIndex(2), 20..=29);
    let mut map = SlotMap::unclaimed(2);
    let slot = |number| Slot::new(number).unwrap();
    let refusal = |map: &SlotMap, numbers: &[u16]| map.refusal(numbers.iter().copied().map(slot));
    let of_wait = |map: &SlotMap, waits: &[(u16, u16)]| {
        map.refusal_of_wait(waits.iter().map(|&(number, core)| (slot(number), core)))
    };
    assert_eq!(refusal(&map, &[5]), Some(ReplyError::SlotNotServed));
    for core in 0..2 {
        map.claim(core, Member { topology: &topology, myself: NodeIndex(core) });
    }
    assert_eq!(refusal(&map, &[]), None);
    assert_eq!(refusal(&map, &[5, 15]), None);
    assert_eq!(refusal(&map, &[5, 25]), Some(ReplyError::MovedWhileWaiting));
    assert_eq!(refusal(&map, &[5, 35]), Some(ReplyError::SlotNotServed));
    assert_eq!(of_wait(&map, &[(5, 0), (15, 1)]), None);
    assert_eq!(of_wait(&map, &[(5, 1), (15, 1)]), Some(ReplyError::MovedWhileWaiting));
    assert_eq!(of_wait(&map, &[(5, 1), (25, 1)]), Some(ReplyError::MovedWhileWaiting));
    // Without a cluster nothing moves.
    assert_eq!(of_wait(&SlotMap::even(2), &[(5, 1)]), None);
    // The first node loses a slot to the second, which sees it later.
    topology.assign(NodeIndex(1), 5..=5);
    map.claim(0, Member { topology: &topology, myself: NodeIndex(0) });
    assert_eq!(of_wait(&map, &[(5, 0)]), Some(ReplyError::MovedWhileWaiting));
    map.claim(1, Member { topology: &topology, myself: NodeIndex(1) });
    assert_eq!(of_wait(&map, &[(5, 0)]), Some(ReplyError::MovedWhileWaiting));
    assert_eq!(of_wait(&map, &[(5, 1)]), None);
}

#[test]
fn checks_come_in_the_order_of_redis() {
    let unknown = "-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' \r\n";
    let arity = "-ERR wrong number of arguments for 'get' command\r\n";
    let mut open = Session::new(TestNode::default());
    open.expect(&[
        ("NOPE a b", unknown),
        ("GET", arity),
        ("get a b", arity),
        ("get a", "+admitted\r\n"),
        ("CLIENT", "-ERR wrong number of arguments for 'client' command\r\n"),
        ("client foo", "-ERR unknown subcommand 'foo'. Try CLIENT HELP.\r\n"),
        ("CLIENT id x", "-ERR wrong number of arguments for 'client|id' command\r\n"),
        ("config GET", "-ERR wrong number of arguments for 'config|get' command\r\n"),
        ("COMMAND nope", "-ERR unknown subcommand 'nope'. Try COMMAND HELP.\r\n"),
    ]);
    let locked = "-NOAUTH Authentication required.\r\n";
    let mut locked_out = Session::new(TestNode::with(&[("requirepass", "secret")]));
    // What does not exist or does not fit is said before the password is asked for.
    locked_out.expect(&[
        ("NOPE a b", unknown),
        ("GET", arity),
        ("get a", locked),
        ("PING", locked),
        ("CLIENT ID", locked),
        ("QUIT", "+OK\r\n"),
        ("RESET", "+RESET\r\n"),
    ]);
}

#[test]
fn browsers_get_no_answer() {
    for name in ["POST", "post", "Host:", "hOST:"] {
        let mut session = Session::new(TestNode::default());
        assert_eq!(session.say(&format!("{name} / HTTP/1.1")), "");
        assert!(session.client.closing, "{name}");
    }
    let mut session = Session::new(TestNode::default());
    session.say("POSTS");
    assert!(!session.client.closing);
}

#[test]
fn the_last_command_is_remembered_as_redis_does() {
    let mut session = Session::new(TestNode::default());
    let mut last = |text: &str| {
        session.say(text);
        session.client.last_command.map(|spec| spec.full_name)
    };
    assert_eq!(last("CLIENT GETNAME"), Some("client|getname"));
    assert_eq!(last("GET too many"), Some("get"));
    assert_eq!(last("NOPE"), None);
}

#[test]
fn placement_follows_the_keys() {
    // Slots: foo 12182, bar 5061, {foo}x 12182, "" 0. Three shards: 0..=5461, ..=10922, ..=16383.
    let shards = Shards::new(3);
    let core = |core| Placement::Core(core);
    let table = [
        ("GET foo", core(2)),
        ("GET bar", core(0)),
        ("SET bar foo", core(0)),
        ("MGET foo {foo}x", core(2)),
        ("MGET foo bar", Placement::Split),
        ("DEL bar foo bar", Placement::Split),
        ("UNLINK foo", core(2)),
        ("MSET foo 1 bar 2", Placement::Loan),
        // The value of a key is no key.
        ("MSET foo bar {foo}x bar", core(2)),
        // Odd: whole to one shard, which refuses all of it.
        ("MSET foo 1 bar", core(2)),
        ("MSET foo 1 bar 2 {foo}x", core(2)),
        ("DBSIZE", Placement::Everywhere),
        ("KEYS foo", Placement::Everywhere),
        ("RANDOMKEY", Placement::Everywhere),
        ("FLUSHALL", Placement::Loan),
        ("SCAN 0", core(0)),
        ("SCAN 0 MATCH foo", core(0)),
        ("SCAN nonsense", core(0)),
        ("SCAN 18446744073709551615", core(0)),
    ];
    for (request, placement) in table {
        assert_eq!(shards.place(&Request::words(request)), placement, "{request}");
    }
}

#[test]
fn a_scan_goes_where_its_cursor_points() {
    let shards = Shards::new(3);
    for (slot, core) in [(5461, 0), (5462, 1), (10922, 1), (10923, 2), (16383, 2)] {
        let cursor = Cursor { slot: Slot::new(slot).unwrap(), position: 99 };
        let request = Request::words(&format!("SCAN {}", cursor.to_number()));
        assert_eq!(shards.place(&request), Placement::Core(core), "{slot}");
    }
}

#[test]
fn one_shard_takes_everything_whole() {
    let shards = Shards::new(1);
    for request in ["GET foo", "MGET foo bar", "MSET foo 1 bar", "DBSIZE", "KEYS *", "SCAN 99", "FLUSHALL", "RANDOMKEY"]
    {
        assert_eq!(shards.place(&Request::words(request)), Placement::Core(0), "{request}");
    }
}

/// For each command of several keys, or maybe several, a request: `k` is a key.
const SEVERAL_KEYS: &[&str] = &[
    "BITOP XOR k k k",
    "BLMOVE k k LEFT RIGHT 0",
    "BLMPOP 0 3 k k k LEFT COUNT 2",
    "BLPOP k k k 0",
    "BRPOP k k 0",
    "BRPOPLPUSH k k 0",
    "COPY k k DB 1 REPLACE",
    "DEL k k k",
    "EXISTS k k k",
    "LCS k k",
    "LMOVE k k LEFT LEFT",
    "LMPOP 2 k k LEFT",
    "MGET k k k k",
    "MSET k k2 k v k v",
    "MSETNX k v k v",
    "RENAME k k",
    "RENAMENX k k",
    "RPOPLPUSH k k",
    "SORT k BY nosort GET # LIMIT 0 5 STORE k",
    "SORT_RO k",
    "TOUCH k k",
    "UNLINK k k k",
];

#[test]
fn several_keys_go_together_or_apart() {
    let name_of = |pattern: &str| pattern.split(' ').next().unwrap().to_lowercase();
    for spec in slotmesh_command::all().iter().filter(|spec| matches!(spec.reach, Reach::Slot(_))) {
        let is_single = matches!(spec.keys, [] | [KeySpec { last: 0, .. }]);
        let is_tried = SEVERAL_KEYS.iter().any(|pattern| name_of(pattern) == spec.name);
        assert!(is_single != is_tried, "{}", spec.name);
    }
    let (mut chance, shards) = (slotmesh_base::Rng::new(1), Shards::new(3));
    for _ in 0..100 {
        for pattern in SEVERAL_KEYS {
            let mut owners = std::collections::BTreeSet::new();
            let words = pattern.split(' ').map(|word| {
                let key = if word == "k" { format!("key-{}", chance.below(30)) } else { word.to_owned() };
                if word == "k" {
                    owners.insert(shards.map.owner(Slot::of_key(key.as_bytes())));
                }
                key
            });
            let request = Request::new(&words.collect::<Vec<_>>());
            let owners: Vec<u16> = owners.into_iter().collect();
            let expected = match (&owners[..], &*name_of(pattern)) {
                (&[core], _) => Placement::Core(core),
                (_, "del" | "exists" | "mget" | "touch" | "unlink") => Placement::Split,
                _ => Placement::Loan,
            };
            assert_eq!(shards.place(&request), expected, "{pattern} on {owners:?}");
            assert_eq!(loan_cores(request.spec().unwrap(), request.args(), &shards.map), owners, "{pattern}");
        }
    }
}

#[test]
fn what_reads_keys_that_it_does_not_name_needs_all_shards() {
    let shards = Shards::new(3);
    for request in [
        "SORT foo BY w_*",
        "SORT foo GET *",
        "SORT foo LIMIT 0 1 GET # GET w_*->f STORE bar",
        "SORT_RO foo DESC BY w_*",
        // It will be refused.
        "SORT foo BY w_* JUNK",
    ] {
        let request = Request::words(request);
        assert_eq!(shards.place(&request), Placement::Loan);
        assert_eq!(loan_cores(request.spec().unwrap(), request.args(), &shards.map), [0, 1, 2]);
    }
    // The asterisk stands in no pattern.
    for request in ["SORT foo BY nosort", "SORT foo GET # GET nosuch", "SORT foo* STORE foo*", "SORT_RO foo LIMIT * *"]
    {
        assert_ne!(shards.place(&Request::words(request)), Placement::Loan, "{request}");
    }
}

#[test]
fn keys_that_are_counted_wrongly_are_refused_by_one() {
    let shards = Shards::new(3);
    for request in ["LMPOP 4 foo bar LEFT", "LMPOP 0 foo bar LEFT", "LMPOP x foo bar LEFT", "BLMPOP 0 9 foo bar LEFT"] {
        assert!(matches!(shards.place(&Request::words(request)), Placement::Core(_)), "{request}");
    }
    for request in ["FLUSHALL", "SWAPDB 0 1"] {
        let request = Request::words(request);
        assert_eq!(loan_cores(request.spec().unwrap(), request.args(), &shards.map), [0, 1, 2]);
    }
}

#[test]
fn a_transaction_takes_all_commands_but_those_that_end_or_refuse_it() {
    let rows = slotmesh_command::all().iter().flat_map(|spec| std::iter::once(*spec).chain(spec.subcommands));
    let mut queued = 0;
    for spec in rows.filter(|spec| !matches!(spec.reach, Reach::Container)) {
        let mut words: Vec<&str> = spec.full_name.split('|').collect();
        words.extend(std::iter::repeat_n("1", 40));
        words.truncate((1..=40).find(|&arguments| spec.accepts(arguments)).unwrap());
        let mut session = Session::new(TestNode::default());
        session.client.transaction = Some(Box::default());
        let request = Request::new(&words);
        let mut out = Vec::new();
        let mut reply = Reply::new(&mut out, Protocol::Resp2);
        let admitted = admit(&mut session.client, request.spec(), request.args(), Standing::default(), &mut reply);
        let transaction = session.client.transaction.unwrap();
        let outcome = (admitted.is_some(), str::from_utf8(&out).unwrap(), transaction.len(), transaction.is_refused);
        let expected = match spec.full_name {
            "multi" | "exec" | "discard" | "quit" | "reset" => (true, "", 0, false),
            "watch" => (false, "-ERR WATCH inside MULTI is not allowed\r\n", 0, false),
            "psync" | "save" | "shutdown" | "sync" => {
                (false, "-ERR Command not allowed inside a transaction\r\n", 0, true)
            }
            _ => (false, "+QUEUED\r\n", 1, false),
        };
        assert_eq!(outcome, expected, "{}", spec.full_name);
        queued += transaction.len();
    }
    assert!(queued > 80, "{queued} commands");
}

#[test]
#[should_panic(expected = "ping is not placed")]
fn connection_commands_have_no_place() {
    let shards = Shards::new(2);
    let _ = shards.place(&Request::words("PING"));
}

#[test]
fn refusals_leave_what_was_written_before() {
    let mut client = Client::new(1, NOW);
    let mut out = b"+OK\r\n".to_vec();
    let request = Request::words("GET k");
    let mut reply = Reply::new(&mut out, Protocol::Resp2);
    assert!(admit(&mut client, request.spec(), request.args(), Standing::default(), &mut reply).is_none());
    assert_eq!(out, b"+OK\r\n-NOAUTH Authentication required.\r\n");
}
