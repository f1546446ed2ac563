use crate::testing::{Session, TestNode};
use crate::{MasterLine, NodeAction, ReplicaClient, ReplicaLine, ReplicaOption, ReplicationFacts, ReplicationOrder};
use slotmesh_base::Rng;
use slotmesh_replication::{Position, ReplicationId, Request};

fn session() -> Session {
    Session::new(TestNode::default())
}

fn master_line() -> MasterLine {
    MasterLine {
        host: "10.0.0.1".into(),
        port: 6379,
        state: "connected",
        is_up: true,
        heard_s: Some(0),
        image_bytes: None,
        down_s: None,
        read_offset: 1064,
        is_read_only: true,
    }
}

fn replica() -> Session {
    let replication = ReplicationFacts { master: Some(master_line()), offset: 1064, ..ReplicationFacts::default() };
    Session::new(TestNode { replication, ..TestNode::default() })
}

/// Runs a request that asks for something; what.
fn order(session: &mut Session, request: &str, reply: &str) -> ReplicationOrder {
    assert_eq!(session.say(request), reply, "{request}");
    match &session.action {
        NodeAction::Replicate(order) => order.clone(),
        other => panic!("{request}: {other:?}"),
    }
}

#[test]
fn roles_are_told_as_redis_tells_them() {
    session().expect(&[("ROLE", "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n")]);
    replica().expect(&[("ROLE", "*5\r\n$5\r\nslave\r\n$8\r\n10.0.0.1\r\n:6379\r\n$9\r\nconnected\r\n:1064\r\n")]);
    let line = |state, port| ReplicaLine { host: "::1".into(), port, state, offset: 5, on_disk: 5, lag_s: 0 };
    let replicas = vec![line("online", 1), line("send_bulk", 2)];
    let replication = ReplicationFacts { replicas, offset: 7, ..ReplicationFacts::default() };
    let mut session = Session::new(TestNode { replication, ..TestNode::default() });
    session.expect(&[("ROLE", "*3\r\n$6\r\nmaster\r\n:7\r\n*1\r\n*3\r\n$3\r\n::1\r\n$1\r\n1\r\n$1\r\n5\r\n")]);
}

#[test]
fn a_master_is_chosen_and_left() {
    let follow = order(&mut session(), "REPLICAOF host 6379", "+OK\r\n");
    assert_eq!(follow, ReplicationOrder::Follow("host".into(), 6379));
    assert_eq!(order(&mut replica(), "SLAVEOF no ONE", "+OK\r\n"), ReplicationOrder::Lead);
    let other = order(&mut replica(), "REPLICAOF 10.0.0.1 6380", "+OK\r\n");
    assert_eq!(other, ReplicationOrder::Follow("10.0.0.1".into(), 6380));
    replica().expect(&[("REPLICAOF 10.0.0.1 6379", "+OK Already connected to specified master\r\n")]);
    session().expect(&[
        ("REPLICAOF no one", "+OK\r\n"),
        ("REPLICAOF host x", "-ERR Invalid master port\r\n"),
        ("REPLICAOF host 65536", "-ERR Invalid master port\r\n"),
        ("REPLICAOF host -1", "-ERR Invalid master port\r\n"),
    ]);
    let mut attached = session();
    attached.client.replica = Some(Box::new(ReplicaClient { is_attached: true, ..ReplicaClient::default() }));
    attached.expect(&[("REPLICAOF host 1", "-ERR Command is not valid when client is a replica.\r\n")]);
}

#[test]
fn a_replica_says_what_it_is() {
    let told = order(
        &mut session(),
        "REPLCONF listening-port 7777 ip-address 10.9.8.7 capa EOF capa psync2 capa x",
        "+OK\r\n",
    );
    let expected = vec![
        ReplicaOption::Port(7777),
        ReplicaOption::Host("10.9.8.7".into()),
        ReplicaOption::Eof,
        ReplicaOption::Psync2,
    ];
    assert_eq!(told, ReplicationOrder::Describe(expected));
    let ack = order(&mut session(), "REPLCONF ACK 1064", "");
    assert_eq!(ack, ReplicationOrder::Describe(vec![ReplicaOption::Ack(1064, None)]));
    let ack = order(&mut session(), "REPLCONF ack 7 fack 5", "");
    assert_eq!(ack, ReplicationOrder::Describe(vec![ReplicaOption::Ack(7, Some(5))]));
    let filtered = order(&mut session(), "REPLCONF rdb-filter-only FUNCTIONS", "+OK\r\n");
    assert_eq!(filtered, ReplicationOrder::Describe(vec![ReplicaOption::WithoutKeys]));
    let long = "x".repeat(256);
    session().expect(&[
        ("REPLCONF GETACK *", ""),
        ("REPLCONF listening-port x", "-ERR value is not an integer or out of range\r\n"),
        ("REPLCONF foo bar", "-ERR Unrecognized REPLCONF option: foo\r\n"),
        ("REPLCONF version 8.0.1", "-ERR Unrecognized REPLCONF option: version\r\n"),
        ("REPLCONF rdb-filter-only keys", "-ERR Unsupported rdb-filter-only option: keys\r\n"),
        ("REPLCONF a", "-ERR syntax error\r\n"),
        (
            &format!("REPLCONF ip-address {long}"),
            "-ERR REPLCONF ip-address provided by replica instance is too long: 256 bytes\r\n",
        ),
    ]);
}

#[test]
fn who_asks_for_the_stream_gets_it_from_where_he_says() {
    let everything = ReplicationOrder::Attach(Request::Everything, false);
    assert_eq!(order(&mut session(), "PSYNC ? -1", ""), everything);
    assert_eq!(order(&mut session(), "SYNC", ""), ReplicationOrder::Attach(Request::Everything, true));
    let id = ReplicationId::random(&mut Rng::new(1));
    let from = order(&mut session(), &format!("PSYNC {id} 1065"), "");
    assert_eq!(from, ReplicationOrder::Attach(Request::From(Position { id, offset: 1065 }), false));
    session().expect(&[("PSYNC ? x", "-ERR value is not an integer or out of range\r\n")]);
    let cut_off = MasterLine { is_up: false, ..master_line() };
    let replication = ReplicationFacts { master: Some(cut_off), ..ReplicationFacts::default() };
    let mut session = Session::new(TestNode { replication, ..TestNode::default() });
    session.expect(&[("PSYNC ? -1", "-NOMASTERLINK Can't SYNC while not connected with my master\r\n")]);
    // A master that wants to follow us has no link any more that stands.
    let from = |name: ReplicationId| format!("PSYNC {name} 1065 failover");
    session.expect(&[(&from(id), "-ERR PSYNC FAILOVER replid must match my replid.\r\n")]);
    session.node.replication.id = Some(id);
    let taken = ReplicationOrder::TakeOver(Request::From(Position { id, offset: 1065 }));
    assert_eq!(order(&mut session, &from(id), ""), taken);
    session.node.replication.master = None;
    session.expect(&[(&from(id), "-ERR PSYNC FAILOVER can't be sent to a master.\r\n")]);
    session.node.replication.failover = Some("waiting-for-sync");
    session.expect(&[("PSYNC ? -1", "-NOMASTERLINK Can't SYNC while failing over\r\n")]);
}

#[test]
fn who_wants_replicas_waits_for_them() {
    let cases = [
        ("WAIT 1 100", 1, Some(100), false),
        ("WAIT 2 0", 2, None, false),
        ("WAIT -1 5", 0, Some(5), false),
        ("WAITAOF 0 1 5", 1, Some(5), true),
        ("WAITAOF 0 1 0", 1, None, true),
    ];
    for (request, replicas, timeout_ms, on_disk) in cases {
        let wanted = ReplicationOrder::Wait { replicas, timeout_ms, on_disk, local: 0 };
        assert_eq!(order(&mut session(), request, ""), wanted);
    }
    session().expect(&[
        ("WAIT x 1", "-ERR value is not an integer or out of range\r\n"),
        ("WAIT 1 x", "-ERR timeout is not an integer or out of range\r\n"),
        ("WAIT 0 -1", "-ERR timeout is negative\r\n"),
        ("WAIT 1 9223372036854775807", "-ERR timeout is out of range\r\n"),
        ("WAITAOF 1 0 0", "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n"),
        ("WAITAOF 2 0 0", "-ERR value is out of range, value must between 0 and 1\r\n"),
        ("WAITAOF 0 -1 0", "-ERR value is out of range, must be positive\r\n"),
        ("WAITAOF 0 1 x", "-ERR timeout is not an integer or out of range\r\n"),
    ]);
    assert!(replica().say("WAIT x y").starts_with("-ERR WAIT cannot be used with replica instances. Please also note"));
    assert!(replica().say("WAITAOF 0 0 0").starts_with("-ERR WAITAOF cannot be used with replica instances."));
}

#[test]
fn a_failover_needs_somebody_to_take_over() {
    session().expect(&[
        ("FAILOVER", "-ERR FAILOVER requires connected replicas.\r\n"),
        ("FAILOVER TO h 1 FORCE TIMEOUT 5", "-ERR FAILOVER requires connected replicas.\r\n"),
        ("FAILOVER abort", "-ERR No failover in progress.\r\n"),
        ("FAILOVER TO h", "-ERR syntax error\r\n"),
        ("FAILOVER TIMEOUT 0", "-ERR FAILOVER timeout must be greater than 0\r\n"),
        ("FAILOVER TIMEOUT x", "-ERR value is not an integer or out of range\r\n"),
    ]);
    replica().expect(&[("FAILOVER", "-ERR FAILOVER is not valid when server is a replica.\r\n")]);
}
