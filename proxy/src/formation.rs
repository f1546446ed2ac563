//! How the shards of a process become nodes of a cluster: their addresses, their names, and what they know at the start.

use crate::bus::{BusStart, NodesFile, NodesFileError};
use crate::persistence::{NodeToLoad, has_data};
use slotmesh_base::{Monotonic, Rng, SLOT_COUNT, Slot, UnixMillis};
use slotmesh_cluster::machine::{
    Actions, Cluster, Founder, Input, Now, ReplicaRules, RoleChange, Settings as MachineSettings,
};
use slotmesh_cluster::{BUS_PORT_DISTANCE, Endpoint, Host, Manners, NodeId};
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{clock, entropy};
use slotmesh_shard::SlotMap;
use std::io::ErrorKind;
use std::net::{IpAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::path::Path;

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

/// What the settings say about the node of shard `index` of `shards`.
pub(crate) fn machine_settings(settings: &Settings, index: u16, shards: u16) -> MachineSettings {
    let announced = |first: u16, real: Option<u16>| match first {
        0 => real.unwrap_or(0),
        first => first.saturating_add(index),
    };
    let name = |text: &str| (!text.is_empty()).then(|| text.into());
    MachineSettings {
        node_timeout_ms: settings.value(directive::CLUSTER_NODE_TIMEOUT),
        host: Host::parse(settings.value(directive::CLUSTER_ANNOUNCE_IP).as_bytes()),
        port: announced(settings.value(directive::CLUSTER_ANNOUNCE_PORT), node_port(settings, index)),
        other_port: 0,
        bus_port: announced(settings.value(directive::CLUSTER_ANNOUNCE_BUS_PORT), bus_port(settings, index)),
        hostname: name(settings.value(directive::CLUSTER_ANNOUNCE_HOSTNAME)),
        nodename: name(settings.value(directive::CLUSTER_ANNOUNCE_HUMAN_NODENAME)),
        requires_full_coverage: settings.value(directive::CLUSTER_REQUIRE_FULL_COVERAGE),
        manners: Manners {
            endpoint: match settings.value(directive::CLUSTER_PREFERRED_ENDPOINT_TYPE) {
                "hostname" => Endpoint::Hostname,
                "unknown-endpoint" => Endpoint::Unknown,
                _ => Endpoint::Ip,
            },
            allows_reads_when_down: settings.value(directive::CLUSTER_ALLOW_READS_WHEN_DOWN),
            allows_shard_channels_when_down: settings.value(directive::CLUSTER_ALLOW_PUBSUBSHARD_WHEN_DOWN),
        },
        replicas: ReplicaRules {
            validity_factor: settings.value(directive::CLUSTER_REPLICA_VALIDITY_FACTOR),
            ping_period_ms: i64::from(settings.value(directive::REPL_PING_REPLICA_PERIOD)) * 1000,
            migration_barrier: settings.value(directive::CLUSTER_MIGRATION_BARRIER),
            allows_migration: settings.value(directive::CLUSTER_ALLOW_REPLICA_MIGRATION),
            never_fails_over: settings.value(directive::CLUSTER_REPLICA_NO_FAILOVER),
            crash_detect_ms: settings.value(directive::CLUSTER_CRASH_DETECT_MS),
        },
        shard: index,
        shards,
    }
}

/// The nodes of the shards: as their files say, or new ones, which know each other and own all slots if the process
/// forms itself. All of them are on disk when this returns.
///
/// # Errors
/// If a file cannot be used.
pub(crate) fn nodes(settings: &Settings, listeners: Vec<Vec<OwnedFd>>) -> Result<Vec<BusStart>, NodesFileError> {
    let shards = listeners.len() as u16;
    let now = Now { monotonic: Monotonic(clock::monotonic_nanos()), unix: UnixMillis(clock::unix_millis()) };
    let name = Path::new(settings.value(directive::CLUSTER_CONFIG_FILE));
    let files = (0..shards).map(|index| NodesFile::open(name, index)).collect::<Result<Vec<_>, _>>()?;
    let is_new = files.iter().all(|(_, saved)| saved.is_none());
    let founders = (settings.value(directive::CLUSTER_SELF_FORM) && is_new).then(|| founders(settings, shards));
    let may_start_empty = settings.value(directive::CLUSTER_START_EMPTY);
    let has_file: Vec<bool> = (0..shards).map(|index| has_data(settings, index)).collect();
    let mut starts = Vec::new();
    for ((index, (file, saved)), listeners) in (0..shards).zip(files).zip(listeners) {
        let (settings, rng) = (machine_settings(settings, index, shards), Rng::new(entropy::random_u64()));
        let cluster = match (saved, &founders) {
            (Some(saved), _) => Cluster::load(settings, rng, now, &saved),
            (None, Some(founders)) => Cluster::found(settings, rng, now, founders),
            (None, None) => Cluster::new(settings, rng),
        };
        // What it had is its replicas' alone now, if nothing is on a disk.
        let is_empty_handed = !may_start_empty && !has_file[usize::from(index)] && cluster.is_backed_up();
        starts.push(BusStart { cluster, file, listeners, is_empty_handed, role: None });
    }
    let ids: Vec<NodeId> = starts.iter().map(|start| start.cluster.id()).collect();
    for BusStart { cluster, file, role, .. } in &mut starts {
        // Whatever else the machine wants done it says again at its first tick; but whom it follows it says once.
        let mut actions = Actions::default();
        cluster.handle(now, Input::Siblings(&ids), &mut actions);
        if !is_here(cluster, now) {
            cluster.forget_host(now, &mut actions);
        }
        let save = cluster.save(now);
        let refused = |error| NodesFileError::Io(file.path().to_owned(), error);
        file.write(save.serial, &save.text).map_err(refused)?;
        cluster.handle(now, Input::Persisted(save.serial), &mut actions);
        *role = actions.role.take();
    }
    Ok(starts)
}

/// What each node loads at the start: of a cluster's nodes those of `starts`, else the one of the process.
pub(crate) fn nodes_to_load(map: &SlotMap, settings: &Settings, starts: &[BusStart]) -> Vec<NodeToLoad> {
    if !map.is_of_cluster() {
        let shards = (0..map.shards()).filter_map(|core| map.slots(core)).collect();
        let is_master = settings.value(directive::REPLICAOF).is_empty();
        return vec![NodeToLoad { node: 0, shards, is_master, slots: None }];
    }
    let now = Now { monotonic: Monotonic(clock::monotonic_nanos()), unix: UnixMillis(clock::unix_millis()) };
    let node = |(node, start): (u16, &BusStart)| {
        let is_master = !matches!(start.role, Some(RoleChange::Replica { .. }));
        let (topology, myself) = start.cluster.view(now);
        // What a replica holds is its master's to say.
        let may_hold = |slot: &Slot| topology.owner(*slot).is_none_or(|owner| owner == myself);
        let slots = is_master.then(|| (0..SLOT_COUNT as u16).filter_map(Slot::new).filter(may_hold).collect());
        NodeToLoad { node, shards: vec![0..=SLOT_COUNT as u16 - 1], is_master, slots }
    };
    // Who has nothing makes no file either that would pass for its data at the next start.
    (0..).zip(starts).filter(|(_, start)| !start.is_empty_handed).map(node).collect()
}

/// Whether the address that a node remembers is one of this machine. What it announces may be another's.
fn is_here(cluster: &Cluster, now: Now) -> bool {
    let (topology, myself) = cluster.view(now);
    match topology.node(myself).ip.parse::<IpAddr>() {
        Ok(ip) if cluster.settings().host.is_none() => {
            UdpSocket::bind((ip, 0)).err().is_none_or(|error| error.kind() != ErrorKind::AddrNotAvailable)
        }
        _ => true,
    }
}

fn founders(settings: &Settings, shards: u16) -> Vec<Founder> {
    let map = SlotMap::even(shards);
    let name = || NodeId::of_random(std::array::from_fn(|_| entropy::random_u64()));
    let founder = |index| {
        let MachineSettings { port, bus_port, .. } = machine_settings(settings, index, shards);
        let slots = map.slots(index).expect("every shard has slots");
        Founder { id: name(), shard_id: name(), port, bus_port, slots }
    };
    (0..shards).map(founder).collect()
}
