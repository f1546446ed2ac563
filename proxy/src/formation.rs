//! How a process becomes a cluster: the addresses of its shards, and who knows whom at the start.

use crate::process::Seat;
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_cluster::{Node, NodeId, NodeIndex, Topology};
use slotmesh_conf::{Settings, directive};
use slotmesh_io::entropy;
use slotmesh_shard::SlotMap;
use std::sync::Arc;

/// How far above the port for clients that of the bus is, where nobody says otherwise (Redis: `CLUSTER_PORT_INCR`).
const BUS_PORT_DISTANCE: u16 = 10_000;

/// The port at which shard `index` serves its clients; `None` beyond the last port that there is.
pub(crate) fn node_port(settings: &Settings, index: u16) -> Option<u16> {
    settings.value(directive::PORT).checked_add(index)
}

/// The port of the bus of shard `index`.
pub(crate) fn bus_port(settings: &Settings, index: u16) -> Option<u16> {
    match settings.value(directive::CLUSTER_PORT) {
        0 => node_port(settings, index)?.checked_add(BUS_PORT_DISTANCE),
        first => first.checked_add(index),
    }
}

/// The places of the shards in their cluster: all of them together with all slots if the process forms itself, else
/// each alone with none.
pub(crate) fn seats(settings: &Settings, map: &SlotMap, now_ms: i64) -> Vec<Seat> {
    let forms = settings.value(directive::CLUSTER_SELF_FORM);
    let nodes: Vec<Node> = (0..map.shards()).map(|index| node(settings, index, forms, now_ms)).collect();
    if !forms {
        let alone = |node| Seat { topology: Arc::new(Topology::new(vec![node], true)), myself: NodeIndex(0) };
        return nodes.into_iter().map(alone).collect();
    }
    let mut topology = Topology::new(nodes, true);
    for index in 0..map.shards() {
        topology.assign(NodeIndex(index), map.slots(index).expect("every shard has slots"));
    }
    let topology = Arc::new(topology);
    (0..map.shards()).map(|index| Seat { topology: topology.clone(), myself: NodeIndex(index) }).collect()
}

fn node(settings: &Settings, index: u16, forms: bool, now_ms: i64) -> Node {
    let name = || NodeId::of_random(std::array::from_fn(|_| entropy::random_u64()));
    let announced = |first: u16, real: Option<u16>| match first {
        0 => real.unwrap_or(0),
        first => first.saturating_add(index),
    };
    Node {
        id: name(),
        shard_id: name(),
        ip: settings.value(directive::CLUSTER_ANNOUNCE_IP).to_owned(),
        port: announced(settings.value(directive::CLUSTER_ANNOUNCE_PORT), node_port(settings, index)),
        other_port: 0,
        hostname: None,
        flags: NodeFlags::MASTER,
        master: None,
        offset: 0,
        bus_port: announced(settings.value(directive::CLUSTER_ANNOUNCE_BUS_PORT), bus_port(settings, index)),
        // As the tool has it that forms clusters: all different, in the order of the nodes.
        config_epoch: if forms { u64::from(index) + 1 } else { 0 },
        heard_at_ms: now_ms,
    }
}
