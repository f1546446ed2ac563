use super::*;

fn settings() -> SourceSettings {
    SourceSettings {
        backlog_bytes: 1000,
        backlog_ttl_s: 3600,
        ping_period_s: 10,
        timeout_s: 60,
        output_hard_bytes: 1_000_000,
        output_soft_bytes: 200_000,
        output_soft_s: 5,
    }
}

fn source() -> Source<u32> {
    Source::new(settings(), Rng::new(5))
}

fn facts() -> ReplicaFacts {
    let capabilities = Capabilities { eof: true, psync2: true };
    ReplicaFacts { listening_port: 7001, peer_host: "10.0.0.1".into(), capabilities, ..ReplicaFacts::default() }
}

fn at(seconds: u64) -> Monotonic {
    Monotonic(seconds * NANOS_PER_SECOND)
}

fn taken(source: &mut Source<u32>, key: u32) -> Vec<u8> {
    let mut out = Vec::new();
    source.take(key, usize::MAX, &mut |piece| out.extend_from_slice(piece));
    out
}

#[test]
fn the_stream_starts_where_the_image_ends_and_with_the_first_ack() {
    let mut source = source();
    let old = source.history().id();
    source.append(b"nobody counts this");
    assert_eq!(source.attach(1, facts(), Request::Everything, true, at(0)), Answer::Image);
    assert_ne!(source.history().id(), old, "what was not counted has no name");
    source.append(b"before");
    let line = source.begin_image(1);
    assert_eq!(line, format!("+FULLRESYNC {} 6\r\n", source.history().id()));
    source.append(b"during");
    assert_eq!(taken(&mut source, 1), b"", "the image is not sent yet");
    assert!(!source.acknowledge(1, 6, None, at(1)), "an ACK during the image starts nothing");
    source.end_image(1, true, at(2));
    source.append(b"behind");
    assert_eq!(taken(&mut source, 1), b"");
    assert_eq!(source.owed(1), 12);
    assert!(source.acknowledge(1, 6, None, at(3)));
    assert_eq!(taken(&mut source, 1), b"duringbehind");
    assert_eq!((source.owed(1), source.replica(1).unwrap().acked), (0, 6));
}

#[test]
fn who_was_away_for_a_moment_goes_on() {
    let mut source = source();
    source.attach(1, facts(), Request::Everything, true, at(0));
    source.begin_image(1);
    source.end_image(1, false, at(0));
    source.append(&[b'x'; 500]);
    source.detach(1, at(1));
    source.append(b"gone by");
    let id = source.history().id();
    let from = |offset| Request::From(Position { id, offset });
    let continues = Answer::Continue(format!("+CONTINUE {id}\r\n"), 7);
    assert_eq!(source.attach(2, facts(), from(501), true, at(1)), continues);
    assert_eq!(taken(&mut source, 2), b"gone by");
    // At the very end nothing is missing; one further is another history.
    assert_eq!(source.attach(3, facts(), from(508), true, at(1)), Answer::Continue(format!("+CONTINUE {id}\r\n"), 0));
    assert_eq!(source.attach(4, facts(), from(509), true, at(1)), Answer::Image);
    let other = ReplicationId::random(&mut Rng::new(99));
    let elsewhere = Request::From(Position { id: other, offset: 501 });
    assert_eq!(source.attach(5, facts(), elsewhere, true, at(1)), Answer::Image);
}

#[test]
fn who_was_away_for_too_long_gets_an_image() {
    let mut source = source();
    source.attach(1, facts(), Request::Everything, true, at(0));
    source.begin_image(1);
    source.end_image(1, false, at(0));
    source.detach(1, at(0));
    let id = source.history().id();
    for _ in 0..10 {
        source.append(&[b'x'; 64 * 1024]);
        source.trim();
    }
    let early = Request::From(Position { id, offset: 1 });
    assert_eq!(source.attach(2, facts(), early, true, at(1)), Answer::Image);
    assert!(source.backlog().unwrap().len() <= 1000 + 64 * 1024);
}

#[test]
fn a_slow_replica_keeps_the_stream_until_its_limits() {
    let mut source = source();
    source.attach(1, facts(), Request::Everything, true, at(0));
    source.begin_image(1);
    source.append(&vec![b'x'; 300_000]);
    assert!(source.tick(true, true, at(1)).is_empty());
    assert_eq!(source.owed(1), 300_000);
    assert!(source.tick(true, true, at(5)).is_empty());
    assert_eq!(source.tick(true, true, at(6)), [(1, DropReason::Overrun)], "above the soft limit for 5 seconds");
    assert!(source.overrun().is_empty());
    source.append(&vec![b'x'; 800_000]);
    assert_eq!(source.overrun(), [1]);
    source.detach(1, at(7));
    assert!(source.backlog().unwrap().len() < 100_000, "nobody needs it any more");
}

#[test]
fn a_silent_replica_is_dropped_and_an_old_one_is_not() {
    let mut source = source();
    for (key, is_old) in [(1, false), (2, true)] {
        source.attach(key, ReplicaFacts { is_old, ..facts() }, Request::Everything, true, at(0));
        source.begin_image(key);
        source.end_image(key, false, at(0));
    }
    assert!(source.tick(true, true, at(60)).is_empty());
    assert_eq!(source.tick(true, true, at(61)), [(1, DropReason::TimedOut)]);
}

#[test]
fn a_master_pings_and_a_replica_does_not() {
    let mut source = source();
    source.attach(1, facts(), Request::Everything, true, at(0));
    source.begin_image(1);
    source.end_image(1, false, at(0));
    source.tick(true, false, at(1));
    source.tick(false, true, at(1));
    assert_eq!(taken(&mut source, 1), b"", "neither while it hands over nor as somebody's replica");
    source.tick(true, true, at(1));
    assert_eq!(taken(&mut source, 1), PING, "so that the offset is not 0");
    source.tick(true, true, at(10));
    assert_eq!(taken(&mut source, 1), b"");
    source.tick(true, true, at(11));
    assert_eq!(taken(&mut source, 1), PING);
    assert_eq!(source.history().offset(), 2 * PING.len() as u64);
}

#[test]
fn a_backlog_that_nobody_wants_ends_with_its_history() {
    let mut source = source();
    source.attach(1, facts(), Request::Everything, true, at(0));
    source.detach(1, at(10));
    let id = source.history().id();
    source.tick(true, true, at(3610));
    assert_eq!(source.history().id(), id);
    source.tick(false, true, at(4000));
    assert!(source.backlog().is_some(), "a replica may be promoted");
    source.tick(true, true, at(3611));
    assert!(source.backlog().is_none() && source.history().id() != id);
}

#[test]
fn replicas_of_one_master_go_on_from_the_one_that_was_promoted() {
    let mut source = source();
    let master = ReplicationId::random(&mut Rng::new(42));
    source.adopt(master, 1000);
    source.append(b"from the master");
    assert!(source.promote().is_empty());
    source.append(b"ours");
    let from = |offset| Request::From(Position { id: master, offset });
    let line = format!("+CONTINUE {}\r\n", source.history().id());
    assert_eq!(source.attach(1, facts(), from(1016), true, at(0)), Answer::Continue(line, 4));
    assert_eq!(
        source.attach(2, facts(), from(1017), true, at(0)),
        Answer::Image,
        "the old master wrote more than we got"
    );
    assert_eq!(source.adopt(master, 2000), [1, 2]);
}

#[test]
fn acknowledged_is_what_replicas_on_line_say() {
    let mut source = source();
    for key in [1, 2, 3] {
        source.attach(key, facts(), Request::Everything, true, at(0));
        source.begin_image(key);
    }
    source.end_image(1, false, at(0));
    source.end_image(2, false, at(0));
    source.append(b"123456");
    source.acknowledge(1, 6, Some(3), at(1));
    source.acknowledge(2, 5, None, at(20));
    source.acknowledge(1, 4, None, at(2));
    assert_eq!((source.count_acked(6), source.count_acked(5), source.count_acked(0)), (1, 2, 2));
    assert_eq!(source.count_acked_on_disk(3), 1);
    assert_eq!((source.count_fresh(10, at(21)), source.count_fresh(100, at(21))), (1, 2));
    let before = source.history().offset();
    source.ask_for_acks();
    assert_eq!(source.history().offset() - before, 37);
}
