//! FAILOVER: outside of clusters a master and its replica change places, ours and redis-server's on either side.

use slotmesh_conform::{Connection, Program, Server, await_condition, is_self_test, show};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

const REDIS: Program = Program::Redis(None);
const SECONDS_MAX: u64 = 60;

/// Increments `n` until it is told that others write; how often it was done.
fn write_until_read_only(server: &Server) -> JoinHandle<u64> {
    let (mut node, count) = (server.connect(), Arc::new(AtomicU64::new(0)));
    let done = Arc::clone(&count);
    let thread = std::thread::spawn(move || {
        loop {
            let reply = show(&node.say("INCR n"));
            match reply.starts_with(':') {
                true => _ = done.fetch_add(1, Ordering::SeqCst),
                false => {
                    assert!(reply.starts_with("-READONLY"), "{reply}");
                    return done.load(Ordering::SeqCst);
                }
            }
        }
    });
    await_condition("writes are taken", SECONDS_MAX, || count.load(Ordering::SeqCst) > 50);
    thread
}

fn number(node: &mut Connection) -> u64 {
    let reply = show(&node.say("GET n"));
    reply.split("\\r\\n").nth(1).and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

/// Has the replica lead while somebody writes: nothing is lost, and no image is needed.
fn change_places(master: &Server, replica: &Server, line: &str) {
    let before = number(&mut master.connect());
    let fulls = [master.syncs().0, replica.syncs().0];
    let writer = write_until_read_only(master);
    master.order(line);
    let written = writer.join().expect("the writer is told");
    replica.await_info("replication", "role", "master");
    master.await_info("replication", "role", "slave");
    master.await_link();
    assert_eq!(number(&mut replica.connect()), before + written, "{line}");
    replica.order("SET after it");
    replica.await_same(master);
    assert_eq!([master.syncs().0, replica.syncs().0], fulls, "no image");
    for server in [master, replica] {
        server.await_info("replication", "master_failover_state", "no-failover");
    }
}

#[test]
fn a_master_and_its_replica_change_places() {
    for (leads, follows) in
        [(Program::Slotmesh(1), Program::Slotmesh(2)), (Program::Slotmesh(2), REDIS), (REDIS, Program::Slotmesh(2))]
    {
        let (master, replica) = (leads.alone(&[]), follows.alone(&[]));
        replica.follow(&master);
        change_places(&master, &replica, "FAILOVER");
        let back = format!("FAILOVER TO 127.0.0.1 {} TIMEOUT 20000", master.port());
        change_places(&replica, &master, &back);
    }
}

/// A replica that does not answer: it is waited for, for so long as was said, or until somebody has had enough.
fn nobody_takes_over(program: &Program) {
    let (master, replica) = (program.alone(&[]), program.alone(&[]));
    replica.follow(&master);
    let state = || master.info("replication", "master_failover_state");
    let mut writer = master.connect();
    let mut wait_and_write = |what: &str, end: &dyn Fn()| {
        replica.pause();
        // What it lacks.
        master.order("SET k v");
        master.order(what);
        assert_eq!(state(), "waiting-for-sync", "{what}");
        assert!(show(&master.say("FAILOVER")).starts_with("-ERR FAILOVER already in progress."));
        assert!(show(&master.say("REPLICAOF NO ONE")).starts_with("-ERR REPLICAOF not allowed while failing over."));
        writer.send(b"SET w 1\r\n");
        await_condition("the writer waits", SECONDS_MAX, || {
            end();
            state() == "no-failover"
        });
        assert_eq!(writer.reply(), b"+OK\r\n");
        assert_eq!(master.info("replication", "role"), "master");
        replica.signal("CONT");
        replica.await_link();
        master.await_same(&replica);
    };
    wait_and_write("FAILOVER TIMEOUT 4000", &|| ());
    wait_and_write("FAILOVER", &|| _ = master.say("FAILOVER ABORT"));
    assert_eq!(show(&master.say("FAILOVER ABORT")), "-ERR No failover in progress.\\r\\n");
}

#[test]
fn a_replica_that_does_not_catch_up_is_not_waited_for_longer_than_told() {
    if is_self_test() {
        return;
    }
    nobody_takes_over(&REDIS);
    nobody_takes_over(&Program::Slotmesh(2));
}

/// By force a replica leads that lacks something; if it does not answer at all, the master leads again.
#[test]
fn a_replica_is_made_to_lead_and_if_it_does_not_the_master_does() {
    for program in [REDIS, Program::Slotmesh(2)] {
        let (master, replica) = (program.alone(&[]), program.alone(&[]));
        replica.follow(&master);
        // The master knows that it follows.
        master.order("SET k u");
        assert_eq!(master.say("WAIT 1 60000"), b":1\r\n");
        replica.pause();
        master.order("SET k v");
        let force = format!("FAILOVER TO 127.0.0.1 {} FORCE TIMEOUT 200", replica.port());
        master.order(&force);
        master.await_info("replication", "master_failover_state", "failover-in-progress");
        assert_eq!(master.info("replication", "role"), "slave");
        master.order("FAILOVER ABORT");
        master.await_info("replication", "role", "master");
        master.await_info("replication", "master_failover_state", "no-failover");
        master.order("SET k w");
        replica.signal("CONT");
        replica.await_link();
        master.await_same(&replica);
    }
}

#[test]
fn what_is_wrong_with_a_failover_is_told_as_in_redis() {
    let told = [REDIS, Program::Slotmesh(1)].map(|program| {
        let (master, replica) = (program.alone(&[]), program.alone(&[]));
        let before = ["FAILOVER", "FAILOVER FORCE", "FAILOVER ABORT", "FAILOVER ABORT TIMEOUT 5"];
        let before = before.map(|line| show(&master.say(line)));
        replica.follow(&master);
        let lines = [
            "FAILOVER TO 127.0.0.1 1",
            "FAILOVER TO 127.0.0.1 x",
            "FAILOVER TO 127.0.0.1",
            "FAILOVER TIMEOUT 0",
            "FAILOVER TIMEOUT x",
            "FAILOVER FORCE",
            "FAILOVER FORCE TIMEOUT 5",
            "FAILOVER SOON",
            "PSYNC ? -1 FAILOVER",
        ];
        let after = lines.map(|line| show(&master.say(line)));
        let at_replica = ["FAILOVER", "PSYNC ? -1 FAILOVER"].map(|line| show(&replica.say(line)));
        (before, after, at_replica)
    });
    assert_eq!(told[0], told[1]);
}
