use super::*;
use crate::testing::{Request, Shards, context};

const ONE: Tracker = Tracker { core: 0, connection: 1, generation: 1 };
const OTHER: Tracker = Tracker { core: 3, connection: 1, generation: 1 };

/// Runs a command on the only shard for a client that is tracked, or not.
fn run(shards: &mut Shards, line: &str, tracked: Option<TrackedBy>) {
    let request = Request::words(line);
    let context = crate::Context { tracked, ..context(shards.now, false) };
    shards.shards[0].execute(request.spec().unwrap(), request.args(), &context, &mut Vec::new());
}

fn by(tracker: Tracker) -> Option<TrackedBy> {
    Some(TrackedBy { tracker, remembers: true })
}

/// What the shard says of keys: whom it tells (`-`: who hears of all), what, and by whose hand.
fn told(shards: &mut Shards) -> Vec<String> {
    let letters = shards.shards[0].take_letters();
    let text = |letter| match letter {
        Letter::Stale { to, what, origin } => {
            let to = to.map_or("-".to_owned(), |to| to.iter().map(|tracker| tracker.core.to_string()).collect());
            let what = match what {
                Stale::Key(key) => String::from_utf8(key).unwrap(),
                Stale::All => "*".to_owned(),
            };
            format!("{to} {what}{}", origin.map_or(String::new(), |origin| format!(" by {}", origin.core)))
        }
        other => panic!("{other:?}"),
    };
    letters.into_iter().map(text).collect()
}

#[test]
fn a_key_is_remembered_until_it_changes() {
    let mut shards = Shards::new(1);
    run(&mut shards, "MGET a b", by(ONE));
    run(&mut shards, "GET a", by(OTHER));
    run(&mut shards, "GET c", Some(TrackedBy { tracker: ONE, remembers: false }));
    run(&mut shards, "APPEND d x", by(ONE));
    assert_eq!(shards.shards[0].tracked_keys(), (2, 3));
    assert!(told(&mut shards).is_empty());
    run(&mut shards, "SET a 1", by(OTHER));
    assert_eq!(told(&mut shards), ["03 a by 3"]);
    run(&mut shards, "DEL a c d", None);
    assert!(told(&mut shards).is_empty());
    assert_eq!(shards.shards[0].tracked_keys(), (1, 1));
    run(&mut shards, "SET b 1 PX 10", None);
    assert_eq!(told(&mut shards), ["0 b"]);
    run(&mut shards, "GET b", by(ONE));
    shards.now.0 += 20;
    run(&mut shards, "GET b", None);
    assert_eq!(told(&mut shards), ["0 b"]);
    assert_eq!(shards.shards[0].tracked_keys(), (0, 0));
    // Nobody pays attention any more.
    assert!(!shards.shards[0].keyspace().has_observers());
}

#[test]
fn a_flush_is_told_to_all_and_as_one() {
    let mut shards = Shards::new(1);
    run(&mut shards, "SET a 1", None);
    run(&mut shards, "FLUSHALL", None);
    assert!(told(&mut shards).is_empty(), "nobody has read anything");
    run(&mut shards, "MGET a b c", by(ONE));
    run(&mut shards, "GET c", by(OTHER));
    run(&mut shards, "SET a 1", None);
    run(&mut shards, "FLUSHDB", None);
    assert_eq!(told(&mut shards), ["0 a", "03 *"]);
    assert!(!shards.shards[0].keyspace().has_observers());
}

#[test]
fn who_hears_of_all_keys_is_told_of_all() {
    let mut shards = Shards::new(1);
    shards.shards[0].broadcast_changes(true);
    run(&mut shards, "SET a 1", by(ONE));
    run(&mut shards, "GET a", by(OTHER));
    run(&mut shards, "DEL a b", None);
    run(&mut shards, "FLUSHALL", None);
    assert_eq!(told(&mut shards), ["- a by 0", "3 a", "- a", " *", "- *"]);
    shards.shards[0].broadcast_changes(false);
    run(&mut shards, "SET a 1", None);
    run(&mut shards, "FLUSHALL", None);
    assert!(told(&mut shards).is_empty());
    assert!(!shards.shards[0].keyspace().has_observers());
}

#[test]
fn keys_beyond_the_bound_are_forgotten_and_told() {
    let mut shards = Shards::new(1);
    for key in 0..10 {
        run(&mut shards, &format!("GET {key}"), by(ONE));
    }
    shards.shards[0].trim_tracked_keys(7);
    assert_eq!(told(&mut shards), ["0 0", "0 1", "0 2"]);
    assert_eq!(shards.shards[0].tracked_keys(), (7, 7));
}
