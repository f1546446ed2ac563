//! Clients that wait while slots leave their node.

use super::*;
use crate::bus::Outcome;
use crate::process::Seat;
use slotmesh_base::Slot;
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{Node, NodeId, NodeIndex, Topology};

/// The seat of the first of two nodes, which owns the slots up to `last`.
fn seat(last: u16) -> Seat {
    let node = |number: u64| Node {
        id: NodeId::of_random([number; 3]),
        shard_id: NodeId::of_random([number; 3]),
        ip: format!("10.0.0.{number}"),
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
    let mut topology = Topology::new(vec![node(0), node(1)], true);
    topology.assign(NodeIndex(0), 0..=last);
    topology.assign(NodeIndex(1), last + 1..=16383);
    Seat { topology: Arc::new(topology), myself: NodeIndex(0) }
}

fn follow(core: &mut Core, seat: Option<Seat>) {
    let mut hands = Hands { sockets: &mut core.io.sockets, mail: &mut core.io.mail };
    core.engine.follow_bus(&mut hands, Outcome { seat, ..Outcome::default() });
    core.engine.refresh_settings();
    core.engine.follow_view(&mut hands);
}

on_each_backend! { who_waits_for_a_slot_that_leaves_is_told_or_taken_where_it_is }

fn who_waits_for_a_slot_that_leaves_is_told_or_taken_where_it_is(backend: Backend) {
    let mail = mesh::<Parcel>(1).pop().unwrap();
    run_core(backend, mail, |io| async move {
        let mut core = core(io, process_of(backend, SlotMap::unclaimed(1), ""));
        follow(&mut core, Some(seat(16382)));
        // foo lies in 12182, bar in 5061.
        let mut clients = Vec::new();
        for (key, is_at_node) in [("foo", true), ("foo", false), ("bar", true), ("bar", false)] {
            let (mut client, place) = connect(&mut core);
            core.engine.connection(place).unwrap().client.is_at_node = is_at_node;
            client.write_all(format!("BLPOP {key} 0\r\n").as_bytes()).unwrap();
            receive(&mut core).await;
            core.run_batch();
            assert!(core.engine.connection(place).unwrap().wait.is_some(), "{key} {is_at_node}");
            clients.push((client, place));
        }
        // While the shard is lent nobody can be looked for; it is made up for.
        let shard = core.engine.lending.take_home().unwrap();
        follow(&mut core, Some(seat(8000)));
        let mut hands = Hands { sockets: &mut core.io.sockets, mail: &mut core.io.mail };
        core.engine.return_home(&mut hands, shard);
        follow(&mut core, None);
        core.io.turn(Wait::No, &mut Vec::new()).await;
        let (client, place) = &mut clients[0];
        let expected = "-MOVED 12182 10.0.0.1:7000\r\n";
        let mut reply = vec![0; expected.len()];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(String::from_utf8_lossy(&reply), expected);
        assert!(core.engine.connection(*place).unwrap().wait.is_none());
        // Who has come to the gateway hears nothing of it, and waits at the other node from now on.
        // Its turn comes second: nothing sets the clock of the turn here, so that each call is late after one connection.
        (0..2).for_each(|_| core.resume_stalled());
        let moved = core.engine.connection(clients[1].1).unwrap();
        assert!(moved.wait.as_ref().is_some_and(|wait| wait.is_elsewhere));
        for (_, place) in &clients[2..] {
            assert!(core.engine.connection(*place).unwrap().wait.is_some(), "its slot has stayed");
        }
        let slots = core.engine.lending.home().unwrap().keyspace();
        assert!(slots.holds(Slot::of_key(b"bar")) && !slots.holds(Slot::of_key(b"foo")));
    })
    .unwrap();
}
