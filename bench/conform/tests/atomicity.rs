//! What the gateway promises of commands and transactions over several shards: whoever reads in a transaction sees all
//! of what one of them did, or nothing.
//!
//! Each test has writers and readers with so many operations each. That the checks can fail is shown by the same
//! readers without a transaction, and by writers that do in two commands what should be one.

use slotmesh_conform::{Connection, Server, request, show};
use slotmesh_resp::elements;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// Changes that each writer makes.
const CHANGES: usize = 1_500;

/// Most looks of a reader that is to find half a state: it stops at the first.
const LOOKS_MAX: usize = 200_000;

/// Looks that each reader takes at least.
const LOOKS_MIN: usize = 500;

/// How readers look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Look {
    /// In a transaction.
    Whole,
    /// One request after the other.
    Piecemeal,
}

/// The replies to some requests.
fn look(connection: &mut Connection, look: Look, lines: &[String]) -> Vec<Vec<u8>> {
    let parts: Vec<Vec<&str>> = lines.iter().map(|line| line.split(' ').collect()).collect();
    if look == Look::Piecemeal {
        return parts.iter().map(|args| connection.ask(args)).collect();
    }
    let requests: Vec<u8> = parts.iter().flat_map(|args| request(args)).collect();
    connection.send(&[request(&["MULTI"]), requests, request(&["EXEC"])].concat());
    assert_eq!(connection.reply(), b"+OK\r\n");
    for _ in lines {
        assert_eq!(connection.reply(), b"+QUEUED\r\n");
    }
    let reply = connection.reply();
    elements(&reply).unwrap_or_else(|error| panic!("{error:?}: {}", show(&reply))).map(<[u8]>::to_vec).collect()
}

fn integer(reply: &[u8]) -> i64 {
    let text = std::str::from_utf8(reply).ok().and_then(|text| text.strip_prefix(':'));
    text.and_then(|text| text.trim().parse().ok()).unwrap_or_else(|| panic!("no integer: {}", show(reply)))
}

/// Strings and nils of an array.
fn strings(reply: &[u8]) -> Vec<Option<String>> {
    let text = |element: &[u8]| {
        let body = element.split(|&byte| byte == b'\n').nth(1)?;
        (!body.is_empty()).then(|| String::from_utf8_lossy(body).trim_end().to_owned())
    };
    elements(reply).unwrap_or_else(|error| panic!("{error:?}: {}", show(reply))).map(text).collect()
}

/// A test: what is there first, what writers do, what readers ask and what they must find.
struct Trial<'a> {
    setting: &'a [&'a str],
    /// The lines that writer number so and so says at its change number so and so; each must succeed.
    change: &'a (dyn Fn(usize, usize) -> Vec<String> + Sync),
    questions: &'a [&'a str],
    /// Whether the answers are those of a whole state.
    is_whole: &'a (dyn Fn(&[Vec<u8>]) -> bool + Sync),
}

const WRITERS: usize = 2;
const READERS: usize = 2;

/// Runs a trial; gives the answers that showed half a state, if any did.
fn run(server: &Server, trial: &Trial, how: Look) -> Option<String> {
    let mut first = server.connect();
    first.say("FLUSHALL");
    for line in trial.setting {
        let reply = first.say(line);
        assert_ne!(reply[0], b'-', "{line}: {}", show(&reply));
    }
    let (are_done, is_found) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let (are_done, is_found) = (&are_done, &is_found);
        let read = move || {
            let mut connection = server.connect();
            let questions: Vec<String> = trial.questions.iter().map(|line| (*line).to_owned()).collect();
            for count in 0..LOOKS_MAX {
                let answers = look(&mut connection, how, &questions);
                if !(trial.is_whole)(&answers) {
                    is_found.store(true, Ordering::Relaxed);
                    return Some(answers.iter().map(|answer| show(answer)).collect::<Vec<_>>().join(", "));
                }
                if is_found.load(Ordering::Relaxed) || count > LOOKS_MIN && are_done.load(Ordering::Relaxed) {
                    break;
                }
            }
            None
        };
        let readers: Vec<_> = (0..READERS).map(|_| scope.spawn(read)).collect();
        let write = move |writer: usize| {
            let mut connection = server.connect();
            for count in 0..CHANGES {
                for line in (trial.change)(writer, count) {
                    let reply = connection.say(&line);
                    assert_ne!(reply[0], b'-', "{line}: {}", show(&reply));
                }
                if is_found.load(Ordering::Relaxed) {
                    return;
                }
            }
        };
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer))).collect();
        writers.into_iter().for_each(|writer| writer.join().expect("a writer is answered"));
        are_done.store(true, Ordering::Relaxed);
        readers.into_iter().filter_map(|reader| reader.join().expect("a reader is answered")).next()
    })
}

/// No reader finds half a state; the same readers without a transaction do.
fn check(trial: &Trial) {
    for shards in [2, 3] {
        let server = Server::slotmesh(shards, shards, &[]);
        let half = run(&server, trial, Look::Whole);
        assert!(half.is_none(), "{shards} shards: half a state: {}", half.unwrap_or_default());
    }
    let server = Server::slotmesh(3, 3, &[]);
    let found = (0..ATTEMPTS).any(|_| run(&server, trial, Look::Piecemeal).is_some());
    assert!(found, "a check that finds nothing without transactions checks nothing");
}

/// Half a state is found by chance; so often it is looked for.
const ATTEMPTS: usize = 20;

/// Keys that lie on all shards, whatever their number.
const SPREAD: &str = "a b c d e f g h";

#[test]
fn a_key_that_is_renamed_has_one_name() {
    // Each writer moves a key of its own between two slots.
    let change = |writer: usize, count: usize| {
        let (from, to) = if count.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        let command = if count.is_multiple_of(3) { "RENAME" } else { "RENAMENX" };
        vec![format!("{command} {from}{writer} {to}{writer}")]
    };
    check(&Trial {
        setting: &["SET a0 x", "SET a1 x"],
        change: &change,
        questions: &["EXISTS a0", "EXISTS b0", "EXISTS a1 b1"],
        is_whole: &|answers| integer(&answers[0]) + integer(&answers[1]) == 1 && integer(&answers[2]) == 1,
    });
}

#[test]
fn a_key_that_is_set_and_deleted_instead_is_caught() {
    let change = |writer: usize, count: usize| {
        let (from, to) = if count.is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        vec![format!("DEL {from}{writer}"), format!("SET {to}{writer} x")]
    };
    let trial = Trial {
        setting: &["SET a0 x", "SET a1 x"],
        change: &change,
        questions: &["EXISTS a0 b0", "EXISTS a1 b1"],
        is_whole: &|answers| answers.iter().all(|answer| integer(answer) == 1),
    };
    let server = Server::slotmesh(3, 3, &[]);
    let found = (0..ATTEMPTS).any(|_| run(&server, &trial, Look::Whole).is_some());
    assert!(found, "a key that is gone for a moment is not noticed");
}

#[test]
fn keys_that_are_set_together_are_equal() {
    let change = |writer: usize, count: usize| {
        let pairs: Vec<_> = SPREAD.split(' ').map(|key| format!("{key} {writer}-{count}")).collect();
        vec![format!("MSET {}", pairs.join(" "))]
    };
    let question = format!("MGET {}", &SPREAD[..SPREAD.len() / 2]);
    check(&Trial {
        setting: &[],
        change: &change,
        questions: &[&question, "MGET e f g h"],
        is_whole: &|answers| {
            let values: Vec<_> = answers.iter().flat_map(|answer| strings(answer)).collect();
            values.iter().all(|value| *value == values[0])
        },
    });
}

#[test]
fn what_sort_reads_on_all_shards_is_of_one_moment() {
    let change = |writer: usize, count: usize| {
        let pairs: Vec<_> = SPREAD.split(' ').map(|key| format!("weight:{key} {}", writer + 2 * count)).collect();
        vec![format!("MSET {}", pairs.join(" "))]
    };
    let elements = format!("RPUSH elements {SPREAD}");
    // Equal weights: the elements decide, and all show one value.
    let is_whole = |answers: &[Vec<u8>]| {
        let parts = strings(&answers[0]);
        let shown: Vec<_> = parts.iter().step_by(2).flatten().map(String::as_str).collect();
        shown.join(" ") == SPREAD && parts.iter().skip(1).step_by(2).all(|value| *value == parts[1])
    };
    let server = Server::slotmesh(3, 3, &[]);
    let trial = Trial {
        setting: &[&elements],
        change: &change,
        questions: &["SORT elements BY weight:* GET # GET weight:*"],
        is_whole: &is_whole,
    };
    let half = run(&server, &trial, Look::Piecemeal);
    assert!(half.is_none(), "half a state: {}", half.unwrap_or_default());
    // MGET asks each shard at its own moment.
    let whole = |answers: &[Vec<u8>]| strings(&answers[0]).windows(2).all(|pair| pair[0] == pair[1]);
    let keys: Vec<_> = SPREAD.split(' ').map(|key| format!("weight:{key}")).collect();
    let question = format!("MGET {}", keys.join(" "));
    let loose = Trial { questions: &[&question], is_whole: &whole, ..trial };
    assert!((0..ATTEMPTS).any(|_| run(&server, &loose, Look::Piecemeal).is_some()), "the check finds nothing");
}

#[test]
fn keys_that_are_set_where_none_was_come_and_go_together() {
    let change = |_: usize, count: usize| {
        let pairs: Vec<_> = SPREAD.split(' ').map(|key| format!("{key} {count}")).collect();
        let line = if count.is_multiple_of(2) { format!("MSETNX {}", pairs.join(" ")) } else { "FLUSHALL".to_owned() };
        vec![line]
    };
    check(&Trial {
        setting: &[],
        change: &change,
        questions: &["EXISTS a b c d", "EXISTS e f g h"],
        is_whole: &|answers| {
            let counts = [integer(&answers[0]), integer(&answers[1])];
            counts == [0, 0] || counts == [4, 4]
        },
    });
}

#[test]
fn a_copy_that_replaces_is_whole() {
    // One source per writer; the target is one of them, never a mixture, never gone.
    let change = |writer: usize, count: usize| {
        let source = ["a", "b", "c", "d"][2 * writer + count % 2];
        vec![format!("COPY {source} target REPLACE")]
    };
    let trial = Trial {
        setting: &["RPUSH a 1 1 1", "RPUSH b 2 2 2 2", "RPUSH c 3", "RPUSH d 4 4", "RPUSH target 1 1 1"],
        change: &change,
        questions: &["EXISTS target", "LRANGE target 0 -1", "LLEN target"],
        is_whole: &|answers| {
            let elements = strings(&answers[1]);
            let length = elements.len() as i64;
            let of_one = elements.iter().all(|element| *element == elements[0]);
            integer(&answers[0]) == 1 && of_one && length > 0 && integer(&answers[2]) == length
        },
    };
    check(&trial);
}

#[test]
fn elements_that_are_moved_stay_as_many() {
    const ELEMENTS: i64 = 20;
    let change = |writer: usize, count: usize| {
        let (from, to) = if (writer + count).is_multiple_of(2) { ("a", "b") } else { ("b", "a") };
        vec![match count % 3 {
            0 => format!("LMOVE {from} {to} LEFT RIGHT"),
            1 => format!("RPOPLPUSH {from} {to}"),
            _ => format!("BLMOVE {from} {to} RIGHT LEFT 0"),
        }]
    };
    check(&Trial {
        setting: &["RPUSH a 1 2 3 4 5 6 7 8 9 10", "RPUSH b 11 12 13 14 15 16 17 18 19 20"],
        change: &change,
        questions: &["LLEN a", "LLEN b", "LRANGE a 0 -1", "LRANGE b 0 -1"],
        is_whole: &|answers| {
            let mut found: Vec<_> = answers[2..].iter().flat_map(|answer| strings(answer)).flatten().collect();
            found.sort();
            found.dedup();
            integer(&answers[0]) + integer(&answers[1]) == ELEMENTS && found.len() as i64 == ELEMENTS
        },
    });
}

#[test]
fn money_is_neither_made_nor_lost() {
    const ACCOUNTS: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];
    // The lines of one transfer are a transaction: they are said one by one.
    let change = |writer: usize, count: usize| {
        let at = count * 5 + writer * 3;
        let (from, to) = (ACCOUNTS[at % 8], ACCOUNTS[(at + 1 + count % 7) % 8]);
        let amount = 1 + count % 9;
        let lines = ["MULTI".to_owned(), format!("DECRBY {from} {amount}"), format!("INCRBY {to} {amount}")];
        [lines.as_slice(), &["EXEC".to_owned()]].concat()
    };
    check(&Trial {
        setting: &["MSET a 100 b 100 c 100 d 100 e 100 f 100 g 100 h 100"],
        change: &change,
        questions: &["MGET a b c d", "GET e", "GET f", "MGET g h"],
        is_whole: &|answers| {
            let single = |reply: &[u8]| String::from_utf8_lossy(reply).lines().nth(1).map(str::to_owned);
            let mut values = [strings(&answers[0]), strings(&answers[3])].concat();
            values.extend([single(&answers[1]), single(&answers[2])]);
            let sum: i64 = values.iter().flatten().map(|value| value.parse::<i64>().expect("a number")).sum();
            sum == 800
        },
    });
}

#[test]
fn a_transaction_whose_watched_keys_changed_does_nothing_on_any_shard() {
    const ROUNDS: usize = 400;
    const THREADS: usize = 4;
    let server = Server::slotmesh(3, 3, &[]);
    server.connect().say("MSET a 0 b 0 c 0");
    // Each adds one to three keys of which it watches all; whoever is late tries again.
    let add = || {
        let mut connection = server.connect();
        let mut failed = 0;
        for _ in 0..ROUNDS / THREADS {
            loop {
                connection.say("WATCH a b c");
                let values = strings(&connection.say("MGET a b c"));
                let next = |at: usize| values[at].as_ref().and_then(|value| value.parse::<i64>().ok()).expect("it") + 1;
                connection.say("MULTI");
                connection.say(&format!("MSET a {} b {}", next(0), next(1)));
                connection.say(&format!("SET c {}", next(2)));
                if connection.say("EXEC") == b"*2\r\n+OK\r\n+OK\r\n" {
                    break;
                }
                failed += 1;
            }
        }
        failed
    };
    let failed: usize = thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(add)).collect();
        threads.into_iter().map(|thread| thread.join().expect("it is answered")).sum()
    });
    let expected = format!("*3\r\n{}", format!("$3\r\n{ROUNDS}\r\n").repeat(3));
    assert_eq!(show(&server.connect().say("MGET a b c")), show(expected.as_bytes()));
    assert!(failed > 0, "threads that never meet check nothing");
}
