use super::*;

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn at(ms: u64) -> Monotonic {
    Monotonic(ms * 1_000_000)
}

fn follower(position: Option<Position>) -> Follower {
    let identity = Identity {
        listening_port: 7777,
        announced_host: Some("10.9.8.7".to_owned()),
        user: Some("usr".to_owned()),
        password: Some("pw".to_owned()),
        timeout_s: 60,
    };
    let mut follower = Follower::new("127.0.0.1".to_owned(), 6379, identity, at(0), Rng::new(1));
    follower.go_on_from(position);
    follower
}

/// Feeds bytes in pieces; what was sent, and what came in.
fn feed(follower: &mut Follower, bytes: &[u8], piece: usize) -> (String, Vec<String>, FollowerOrders) {
    let (mut orders, mut seen) = (FollowerOrders::default(), Vec::new());
    let mut sink = |received: Received<'_>| {
        let text = match received {
            Received::Image(bytes) => format!("image {}", String::from_utf8_lossy(bytes)),
            Received::Stream(bytes) => format!("stream {}", String::from_utf8_lossy(bytes)),
            Received::Full(id, offset) => format!("full {id} {offset}"),
            Received::Continue(id) => format!("continue {}", id.map_or("-".to_owned(), |id| id.to_string())),
            Received::ImageBegins(_) => "begins".to_owned(),
            Received::ImageEnds => "ends".to_owned(),
        };
        let mut merges = |prefix: &str| {
            let last: Option<&mut String> = seen.last_mut();
            match (last, text.strip_prefix(prefix)) {
                (Some(last), Some(more)) if last.starts_with(prefix) => {
                    last.push_str(more);
                    true
                }
                _ => false,
            }
        };
        if !merges("image ") && !merges("stream ") {
            seen.push(text);
        }
        Ok(())
    };
    for bytes in bytes.chunks(piece) {
        follower.receive(at(50), bytes, &mut orders, &mut sink);
    }
    (String::from_utf8(orders.send.clone()).unwrap().replace("\r\n", " "), seen, orders)
}

fn greeted(position: Option<Position>) -> Follower {
    let mut follower = follower(position);
    let mut orders = FollowerOrders::default();
    follower.tick(at(0), 0, &mut orders);
    assert!(orders.dial);
    follower.connected(at(1), &mut orders);
    assert_eq!(orders.send, b"*1\r\n$4\r\nPING\r\n");
    let (sent, _, _) = feed(&mut follower, b"-NOAUTH Authentication required.\r\n", 100);
    assert_eq!(
        sent,
        "*3 $4 AUTH $3 usr $2 pw *3 $8 REPLCONF $14 listening-port $4 7777 \
         *3 $8 REPLCONF $10 ip-address $8 10.9.8.7 *5 $8 REPLCONF $4 capa $3 eof $4 capa $6 psync2 "
    );
    follower
}

#[test]
fn a_replica_without_data_gets_an_image_and_then_the_stream() {
    for piece in [1, 7, 1000] {
        let mut follower = greeted(None);
        let (sent, _, _) = feed(&mut follower, b"+OK\r\n+OK\r\n-ERR Unrecognized REPLCONF option\r\n+OK\r\n", piece);
        assert_eq!(sent, "*3 $5 PSYNC $1 ? $2 -1 ");
        let (_, seen, _) =
            feed(&mut follower, format!("\n\n+FULLRESYNC {ID} 1000\r\n\n\n$5\r\nIMAGE").as_bytes(), piece);
        assert_eq!(seen, [format!("full {ID} 1000"), "begins".into(), "image IMAGE".into(), "ends".into()]);
        assert_eq!(follower.phase(), Phase::Follows);
        let (_, seen, _) = feed(&mut follower, b"*1\r\n$4\r\nPING\r\n", piece);
        assert_eq!(seen, ["stream *1\r\n$4\r\nPING\r\n"]);
    }
}

#[test]
fn an_image_with_a_mark_is_acknowledged_at_once() {
    let mut follower = greeted(None);
    feed(&mut follower, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", 100);
    let stream = format!("+FULLRESYNC {ID} 7\r\n$EOF:{ID}\r\nIMAGE{ID}");
    let (sent, seen, _) = feed(&mut follower, stream.as_bytes(), 9);
    assert_eq!(seen.last().map(String::as_str), Some("ends"));
    assert_eq!(sent, "*3 $8 REPLCONF $3 ACK $1 7 ");
}

#[test]
fn a_replica_that_has_data_goes_on() {
    let id = ReplicationId::parse(ID.as_bytes()).unwrap();
    let mut follower = greeted(Some(Position { id, offset: 1065 }));
    let (sent, _, _) = feed(&mut follower, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", 100);
    assert_eq!(sent, format!("*3 $5 PSYNC $40 {ID} $4 1065 "));
    let other = "b".repeat(40);
    let (_, seen, _) = feed(&mut follower, format!("+CONTINUE {other}\r\n*1").as_bytes(), 100);
    assert_eq!(seen, [format!("continue {other}"), "stream *1".into()]);
    let mut orders = FollowerOrders::default();
    follower.tick(at(1100), 1064, &mut orders);
    assert_eq!(orders.send, b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$4\r\n1064\r\n");
}

#[test]
fn what_a_master_may_not_say_ends_the_link_and_it_is_tried_again() {
    let long = vec![b'+'; LINE_BYTES_MAX + 1];
    let cases: [(&[u8], &str); 8] = [
        (b"+OK\r\n-ERR wrong\r\n", "ERR"),
        (b"+CONTINUE\r\n", "in error state"),
        (b"-LOADING Redis is loading\r\n", "should be in the future"),
        (b"-ERR unknown command\r\n", "in error state"),
        (b"+FULLRESYNC short 7\r\n", "wrong +FULLRESYNC"),
        (b"+FULLRESYNC aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa x\r\n", "wrong +FULLRESYNC"),
        (b"+FULLRESYNC aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa 7\r\n*3\r\n", "Bad protocol from MASTER"),
        (&long, "too long"),
    ];
    for (said, why) in cases.into_iter().skip(1) {
        let mut follower = greeted(None);
        feed(&mut follower, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n", 100);
        let (_, _, orders) = feed(&mut follower, said, 100_000);
        assert!(orders.close && orders.log.iter().any(|(_, line)| line.contains(why)), "{why}: {:?}", orders.log);
        let mut orders = FollowerOrders::default();
        follower.tick(follower.deadline(), 0, &mut orders);
        assert!(orders.dial, "{why}");
    }
    let mut follower = greeted(None);
    let (_, _, orders) = feed(&mut follower, b"-WRONGPASS no\r\n", 100);
    assert!(orders.close && orders.log[0].1.contains("Unable to AUTH"));
}

#[test]
fn a_silent_master_is_given_up() {
    let mut follower = greeted(None);
    let mut orders = FollowerOrders::default();
    follower.tick(at(60_049), 0, &mut orders);
    assert!(!orders.close);
    follower.tick(at(60_050), 0, &mut orders);
    assert!(orders.close);
    assert_eq!(follower.phase(), Phase::Waits);
}

#[test]
fn a_sink_that_refuses_ends_the_link() {
    let id = ReplicationId::parse(ID.as_bytes()).unwrap();
    let mut follower = greeted(Some(Position { id, offset: 5 }));
    feed(&mut follower, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n+CONTINUE\r\n", 100);
    assert_eq!(follower.down_since(), None);
    let mut orders = FollowerOrders::default();
    follower.receive(at(70), b"garbage", &mut orders, &mut |_| Err("no".to_owned()));
    assert!(orders.close);
    assert_eq!(follower.down_since(), Some(at(70)));
}
