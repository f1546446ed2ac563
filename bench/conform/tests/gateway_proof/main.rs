//! The gateway before clusters of several processes, seen by the clients of the field: one Redis, wherever the slots live,
//! while masters die and slots move. Clusters of ours, and of redis-server that our process has joined.

mod clients;
mod patience;
mod queue;
mod traffic;

use clients::Enduring;
use patience::Patience;
use queue::Queue;
use slotmesh_conform::{
    Behind, Door, Gateway, await_condition, cluster_tool, is_master, is_self_test, lines_at, node_at, show,
};
use std::sync::{Mutex, MutexGuard, PoisonError};
use traffic::Traffic;

/// Replies that all clients together get between two blows.
const BETWEEN: u64 = 3000;

/// One test at a time: each needs the machine to itself.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ports of the nodes behind a gateway.
fn nodes(gateway: &Gateway) -> Vec<u16> {
    gateway.cluster.ports().collect()
}

/// What clients do where nothing fails.
fn is_one_redis(gateway: &Gateway) {
    let door = gateway.door;
    clients::tour(door);
    clients::benchmarks(door);
    assert_eq!(door.enter().say("FLUSHALL"), b"+OK\r\n");
    let (traffic, queue) = (Traffic::begin(door, &nodes(gateway), 2, 1), Queue::begin(door, "quiet"));
    traffic.await_more(2 * BETWEEN);
    queue.await_more(20);
    queue.end(door, false);
    let sums = traffic.end();
    assert!(sums.durable > 0 && sums.unknown == 0, "{sums:?}");
    Patience::begin(door).end(door);
}

/// Clients of all kinds.
struct Crowd {
    traffic: Traffic,
    queue: Queue,
    enduring: Enduring,
}

impl Crowd {
    fn begin(gateway: &Gateway) -> Self {
        let door = gateway.door;
        assert_eq!(door.enter().say("FLUSHALL"), b"+OK\r\n");
        let (traffic, queue) = (Traffic::begin(door, &nodes(gateway), 2, 2), Queue::begin(door, "busy"));
        Self { traffic, queue, enduring: Enduring::begin(door) }
    }

    /// Waits until all of them were served some more.
    fn await_more(&self) {
        self.traffic.await_more(BETWEEN);
        self.queue.await_more(5);
    }

    fn end(self, door: Door) {
        self.queue.end(door, true);
        let sums = self.traffic.end();
        self.enduring.end();
        println!("{sums:?}");
        assert!(sums.durable > 0, "{sums:?}");
    }
}

/// All clients at once, while `blow` falls so many times.
fn outlives(gateway: &mut Gateway, blows: usize, blow: impl Fn(&mut Gateway, usize, Door, Patience)) {
    let (door, crowd) = (gateway.door, Crowd::begin(gateway));
    for round in 0..blows {
        crowd.await_more();
        blow(gateway, round, door, Patience::begin(door));
    }
    crowd.await_more();
    crowd.end(door);
}

/// A master dies; its replica takes over; what has waited meanwhile gets what it waits for; it comes back.
fn master_dies(gateway: &mut Gateway, round: usize, door: Door, patience: Patience) {
    gateway.kill_a_master(round, || patience.end(door));
}

/// Slots move from master to master.
fn slots_move(gateway: &mut Gateway, round: usize, door: Door, patience: Patience) {
    gateway.reshard(round, 300);
    patience.end(door);
}

#[test]
fn three_processes_are_one_redis() {
    let _alone = alone();
    is_one_redis(&Gateway::start(Behind::Ours, &[]));
}

#[test]
fn three_processes_outlive_their_masters() {
    let _alone = alone();
    let mut gateway = Gateway::start(Behind::Ours, &[]);
    outlives(&mut gateway, 3, |gateway, _, door, patience| master_dies(gateway, 0, door, patience));
}

/// The replica that takes over is a shard of the gateway's own process: slots come home.
#[test]
fn slots_come_home_to_the_gateway() {
    let _alone = alone();
    let mut gateway = Gateway::start(Behind::Ours, &[]);
    let (door, crowd) = (gateway.door, Crowd::begin(&gateway));
    crowd.await_more();
    let patience = Patience::begin(door);
    gateway.kill_a_master(1, || {
        patience.end(door);
        crowd.await_more();
        crowd.end(door);
    });
}

/// They come home and go away again, to and fro: what clients watch in them is lost each time, what they watch in others
/// is not.
#[test]
fn what_is_watched_is_lost_with_its_slot() {
    let _alone = alone();
    let gateway = Gateway::start(Behind::Ours, &[]);
    let first = gateway.cluster.first_port;
    let at_home = lines_at(first).into_iter().find(|line| line.port() == first + 1).expect("its second shard");
    let away = lines_at(first).into_iter().find(|line| line.id == at_home.master).expect("it follows");
    for (leader, follower) in [(at_home.port(), away.port()), (away.port(), at_home.port())].repeat(2) {
        let mut clients: Vec<_> = (0..48).map(|number| (format!("watched:{number}"), gateway.door.enter())).collect();
        for (key, client) in &mut clients {
            assert_eq!(show(&client.say(&format!("WATCH {key}"))), "+OK\\r\\n");
        }
        await_condition("the replica is there", 60, || {
            node_at(leader).text("INFO replication").contains("link_status:up")
        });
        assert_eq!(node_at(leader).say("CLUSTER FAILOVER"), b"+OK\r\n");
        await_condition("it leads", 60, || is_master(leader) && !is_master(follower));
        let mut moved = 0;
        for (key, client) in &mut clients {
            // Its core knows of it once it writes there.
            await_condition("its slot is served", 60, || client.say(&format!("SET {{{key}}}other 1")) == b"+OK\r\n");
            let has_moved = !node_at(leader).say(&format!("GET {key}")).starts_with(b"-MOVED");
            for expected in [if has_moved { "*-1" } else { "*1\\r\\n+OK" }, "*1\\r\\n+OK"] {
                assert_eq!(client.say("MULTI"), b"+OK\r\n");
                assert_eq!(client.say(&format!("SET {key} 1")), b"+QUEUED\r\n");
                assert_eq!(show(&client.say("EXEC")), format!("{expected}\\r\\n"), "{key}");
            }
            moved += usize::from(has_moved);
        }
        assert!((1..48).contains(&moved), "{moved}");
    }
}

/// As they come, they go: the master is made the one again that it was.
#[test]
#[ignore = "a write that is on its way to a shard which hands its slots over is answered TRYAGAIN"]
fn slots_leave_the_gateway() {
    let _alone = alone();
    let mut gateway = Gateway::start(Behind::Ours, &[]);
    outlives(&mut gateway, 2, |gateway, _, door, patience| master_dies(gateway, 1, door, patience));
}

#[test]
fn a_stock_cluster_is_one_redis() {
    let _alone = alone();
    if is_self_test() {
        return;
    }
    is_one_redis(&Gateway::start(Behind::Redis, &[]));
}

#[test]
fn a_stock_cluster_outlives_its_masters() {
    let _alone = alone();
    let mut gateway = Gateway::start(Behind::Redis, &[]);
    outlives(&mut gateway, 3, master_dies);
}

/// Clients see a pause, never a redirect.
#[test]
fn slots_of_a_stock_cluster_move() {
    let _alone = alone();
    let mut gateway = Gateway::start(Behind::Redis, &[]);
    let port = gateway.cluster.first_port;
    outlives(&mut gateway, 3, slots_move);
    let out = cluster_tool(&["check", &format!("127.0.0.1:{port}")]);
    assert!(out.contains("[OK] All 16384 slots covered."), "{out}");
}

#[test]
fn a_stock_cluster_with_passwords_is_one_redis() {
    let _alone = alone();
    let mut gateway = Gateway::start(Behind::RedisWithPassword, &[]);
    is_one_redis(&gateway);
    outlives(&mut gateway, 1, master_dies);
    outlives(&mut gateway, 1, slots_move);
}
