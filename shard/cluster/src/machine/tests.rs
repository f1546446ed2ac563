//! Some machines on a network that delivers at once.

use super::*;
use slotmesh_base::{Slot, SlotSet};
use std::collections::BTreeMap as Map;
use std::string::String;
use std::vec::Vec;

/// Nodes that hear each other; one step is one tick.
struct Network {
    nodes: Vec<Cluster>,
    /// Nodes that neither hear nor speak.
    dead: Vec<bool>,
    /// Where a link of a node leads: the node and its name of the link.
    ends: Map<(usize, LinkId), (usize, LinkId)>,
    accepted: u64,
    ms: u64,
    log: Vec<String>,
}

const TIMEOUT_MS: i64 = 1000;

fn settings(index: usize) -> Settings {
    Settings {
        node_timeout_ms: TIMEOUT_MS,
        host: None,
        port: 7000 + index as u16,
        other_port: 0,
        bus_port: 17000 + index as u16,
        hostname: None,
        nodename: None,
        requires_full_coverage: true,
        manners: crate::Manners::default(),
        replicas: ReplicaRules::default(),
        shard: 0,
        shards: 1,
    }
}

impl Network {
    fn new(count: usize) -> Self {
        let nodes = (0..count).map(|index| Cluster::new(settings(index), Rng::new(index as u64))).collect();
        let dead = std::vec![false; count];
        Self { nodes, dead, ends: Map::new(), accepted: 0, ms: 0, log: Vec::new() }
    }

    fn now(&self) -> Now {
        Now { monotonic: Monotonic(self.ms * 1_000_000), unix: UnixMillis(1_000_000 + self.ms as i64) }
    }

    fn run(&mut self, ms: u64) {
        let end = self.ms + ms;
        while self.ms < end {
            self.ms += TICK_MS;
            for index in 0..self.nodes.len() {
                self.tell(index, Input::Tick);
            }
        }
    }

    fn tell(&mut self, index: usize, input: Input<'_>) {
        if self.dead[index] {
            return;
        }
        let mut actions = Actions::default();
        let now = self.now();
        self.nodes[index].handle(now, input, &mut actions);
        self.obey(index, actions);
    }

    fn order(&mut self, index: usize, order: Admin<'_>) -> Result<(), AdminError> {
        let mut actions = Actions::default();
        let now = self.now();
        let result = self.nodes[index].admin(now, order, &mut actions);
        self.obey(index, actions);
        result
    }

    fn obey(&mut self, index: usize, actions: Actions) {
        self.log.extend(actions.log.into_iter().map(|(_, line)| std::format!("{index}: {line}")));
        if actions.save {
            let now = self.now();
            let serial = self.nodes[index].save(now).serial;
            self.tell(index, Input::Persisted(serial));
        }
        for order in actions.links {
            match order {
                LinkOrder::Dial(link, Target::Tcp(_, port)) => self.dial(index, link, usize::from(port) - 17000),
                LinkOrder::Dial(..) => unreachable!("nobody has siblings here"),
                LinkOrder::Close(link) => self.close(index, link),
            }
        }
        for (link, range) in actions.sends {
            if let Some(&(other, end)) = self.ends.get(&(index, link)) {
                let frame = actions.bytes[range].to_vec();
                assert_eq!(crate::wire::frame_length(&frame), Ok(Some(frame.len())));
                self.tell(other, Input::Frame { link: end, frame: &frame });
            }
        }
    }

    fn dial(&mut self, index: usize, link: LinkId, other: usize) {
        if self.dead[other] {
            return self.tell(index, Input::LinkDown { link, why: LinkEnd::Refused });
        }
        self.accepted += 1;
        let end = LinkId::accepted(self.accepted);
        self.ends.insert((index, link), (other, end));
        self.ends.insert((other, end), (index, link));
        let host = Host::parse(b"10.0.0.1");
        self.tell(other, Input::Accepted { link: end, peer: host.clone(), local: host.clone() });
        self.tell(index, Input::LinkUp { link, peer: host });
    }

    fn close(&mut self, index: usize, link: LinkId) {
        if let Some((other, end)) = self.ends.remove(&(index, link)) {
            self.ends.remove(&(other, end));
            self.tell(other, Input::LinkDown { link: end, why: LinkEnd::Closed });
        }
    }

    fn kill(&mut self, index: usize) {
        let links: Vec<LinkId> = self.ends.keys().filter(|(node, _)| *node == index).map(|&(_, link)| link).collect();
        links.into_iter().for_each(|link| self.close(index, link));
        self.dead[index] = true;
    }

    /// Three nodes that own all slots.
    fn formed() -> Self {
        let mut network = Self::new(3);
        for (index, slots) in [0..5461, 5461..10923, 10923..16384].into_iter().enumerate() {
            let slots: Vec<Slot> = slots.filter_map(Slot::new).collect();
            network.order(index, Admin::AddSlots(&slots)).unwrap();
            network.order(index, Admin::SetConfigEpoch(index as u64 + 1)).unwrap();
        }
        for index in 1..3 {
            let host = Host::parse(b"10.0.0.1").unwrap();
            network.order(index, Admin::Meet { host, port: 7000, bus_port: 17000 }).unwrap();
        }
        network.run(5000);
        network
    }

    fn info(&self, index: usize) -> String {
        self.nodes[index].info_text()
    }
}

#[test]
fn three_nodes_meet_and_serve() {
    let network = Network::formed();
    for index in 0..3 {
        let (info, nodes) = (network.info(index), network.nodes[index].nodes_text(network.now(), "10.0.0.1"));
        assert!(info.contains("cluster_state:ok"), "{info}{nodes}{:#?}", network.log);
        assert!(info.contains("cluster_known_nodes:3"), "{info}");
        assert!(info.contains("cluster_size:3"), "{info}");
        assert!(info.contains("cluster_current_epoch:3"), "{info}");
        assert_eq!(nodes.matches(" connected").count(), 3, "{nodes}");
        assert!(nodes.contains("10.0.0.1:7001@17001"), "{nodes}");
        assert!(nodes.contains(" 0-5460\n"), "{nodes}");
    }
}

#[test]
fn a_dead_node_fails_by_majority_and_the_cluster_with_it() {
    let mut network = Network::formed();
    network.kill(2);
    network.run(4 * TIMEOUT_MS as u64);
    for index in 0..2 {
        let nodes = network.nodes[index].nodes_text(network.now(), "");
        assert!(nodes.contains("master,fail -"), "{nodes}{:#?}", network.log);
        assert!(network.info(index).contains("cluster_state:fail"));
    }
    network.dead[2] = false;
    network.run(8 * TIMEOUT_MS as u64);
    for index in 0..3 {
        assert!(network.info(index).contains("cluster_state:ok"), "{index} {:#?}", network.log);
    }
}

#[test]
fn a_node_comes_back_from_its_file() {
    let mut network = Network::formed();
    let now = network.now();
    let text = network.nodes[1].save(now).text;
    let saved = crate::nodes_conf::parse(text.as_bytes()).unwrap();
    let loaded = Cluster::load(settings(1), Rng::new(9), now, &saved);
    let mut loaded = loaded;
    // Times and links are of the process.
    let lasting = |text: &str| -> Vec<Vec<String>> {
        let fields = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        let without_times = |mut fields: Vec<String>| {
            fields.drain(fields.len().min(4)..fields.len().min(6));
            fields.retain(|field| !field.ends_with("connected"));
            fields
        };
        text.lines().map(|line| without_times(fields(line))).collect()
    };
    assert_eq!(lasting(&loaded.save(now).text), lasting(&text));
    // What is on disk may be said at once.
    assert_eq!(loaded.header().slots.len(), 5462);
}

#[test]
fn two_masters_with_one_epoch_part() {
    let mut network = Network::new(2);
    for index in 0..2 {
        network.order(index, Admin::SetConfigEpoch(7)).unwrap();
    }
    let host = Host::parse(b"10.0.0.1").unwrap();
    network.order(1, Admin::Meet { host, port: 7000, bus_port: 17000 }).unwrap();
    network.run(3000);
    for index in 0..2 {
        let text = network.nodes[index].nodes_text(network.now(), "");
        let mut epochs: Vec<&str> = text.lines().filter_map(|line| line.split(' ').nth(6)).collect();
        epochs.sort_unstable();
        assert_eq!(epochs, ["7", "8"], "{text}");
    }
}

#[test]
fn nothing_is_claimed_before_it_is_saved() {
    let mut network = Network::formed();
    let now = network.now();
    let mut actions = Actions::default();
    network.nodes[0].admin(now, Admin::DelSlots(&[Slot::new(0).unwrap()]), &mut actions).unwrap();
    let serial = network.nodes[0].save(now).serial;
    network.nodes[0].handle(now, Input::Persisted(serial), &mut actions);
    network.nodes[0].admin(now, Admin::AddSlots(&[Slot::new(0).unwrap()]), &mut actions).unwrap();
    assert!(actions.save);
    assert!(!network.nodes[0].header().slots.contains(Slot::new(0).unwrap()));
    let serial = network.nodes[0].save(now).serial;
    network.nodes[0].handle(now, Input::Persisted(serial - 1), &mut actions);
    assert!(!network.nodes[0].header().slots.contains(Slot::new(0).unwrap()));
    network.nodes[0].handle(now, Input::Persisted(serial), &mut actions);
    assert!(network.nodes[0].header().slots.contains(Slot::new(0).unwrap()));
}

#[test]
fn replicas_of_a_file_of_redis_7_0_are_in_their_masters_groups() {
    let text = "cf310c668da6495a44e68ca90c9cb1fe4ccff82f 127.0.0.1:7001@17001 master - 0 1 3 connected 0-5\n\
                53358286ba69002ba926b2a2aec342297d8186f0 127.0.0.1:7002@17002 slave \
                cf310c668da6495a44e68ca90c9cb1fe4ccff82f 0 1 3 connected\n\
                e8aa7ac1d53bcef35f566ecdbf12eafdbfb0d98c 127.0.0.1:7003@17003 myself,master - 0 0 1 connected\n\
                vars currentEpoch 3 lastVoteEpoch 0\n";
    let saved = crate::nodes_conf::parse(text.as_bytes()).unwrap();
    let now = Network::new(1).now();
    let cluster = Cluster::load(settings(0), Rng::new(1), now, &saved);
    let group = |index: usize| cluster.table.row(cluster.known(&saved.nodes[index].id).unwrap()).shard_id;
    assert_eq!(group(0), group(1));
    assert_ne!(group(0), group(2));
}

/// Who follows a master that has not said yet of which group it is belongs to that group as soon as it has.
#[test]
fn a_replica_is_in_the_group_of_its_master_also_if_it_hears_of_it_later() {
    let mut network = Network::formed();
    let slots: Vec<Slot> = (10923..16384).filter_map(Slot::new).collect();
    network.order(2, Admin::DelSlots(&slots)).unwrap();
    let (id, group) = (network.nodes[0].id(), network.nodes[0].shard_id());
    let replica = &mut network.nodes[2];
    let master = replica.table.find(&id).unwrap();
    replica.table.row_mut(master).shard_id = NodeId::of_random([78; 3]);
    network.order(2, Admin::Replicate { id, has_keys: false }).unwrap();
    network.run(3000);
    assert_eq!(network.nodes[2].shard_id(), group);
    let node = network.nodes[2].id();
    for other in 0..2 {
        let cluster = &network.nodes[other];
        assert_eq!(cluster.table.row(cluster.known(&node).unwrap()).shard_id, group, "as node {other} knows it");
    }
}

/// A replica of a failed master, as gossip may have told of it.
fn add_candidate(cluster: &mut Cluster, master: NodeId, link: LinkId) -> NodeId {
    let id = NodeId::of_random([77; 3]);
    let candidate = cluster.table.add(id, id, NodeFlags::REPLICA, 1).unwrap();
    let master = cluster.table.find(&master).unwrap();
    cluster.table.row_mut(master).flags.insert(NodeFlags::FAIL);
    let row = cluster.table.row_mut(candidate);
    (row.master, row.link, row.is_linked) = (Some(master), Some(link), true);
    id
}

/// Lets node 0 vote in epoch 9 and learn of `known` before the vote is on disk; the epochs of the votes that leave.
fn vote_overtaken_by(known: u64) -> Vec<u64> {
    let mut network = Network::formed();
    let (now, failed) = (network.now(), network.nodes[2].id());
    let cluster = &mut network.nodes[0];
    let link = LinkId::accepted(1 << 40);
    let id = add_candidate(cluster, failed, link);
    let candidate = cluster.table.find(&id);
    let mut header = cluster.header().clone();
    (header.sender, header.current_epoch) = (id, 9);
    header.slots.clear();
    cluster.learn_epoch(9);
    let mut actions = Actions::default();
    cluster.consider_vote(now, candidate, &header, &mut actions);
    cluster.learn_epoch(known);
    let serial = cluster.save(now).serial;
    cluster.handle(now, Input::Persisted(serial), &mut actions);
    let sent = actions.sends.iter().filter(|(to, _)| *to == link);
    let epoch = |range: &core::ops::Range<usize>| {
        let message = crate::wire::decode(&actions.bytes[range.clone()]).unwrap();
        matches!(message.payload, crate::wire::Payload::AuthAck).then_some(message.header.current_epoch)
    };
    sent.filter_map(|(_, range)| epoch(range)).collect()
}

#[test]
fn a_vote_is_of_its_own_epoch() {
    assert_eq!(vote_overtaken_by(9), [9]);
    // As one of epoch 10 it would count in an election in which we may yet vote for another.
    assert_eq!(vote_overtaken_by(10), [9]);
}

#[test]
fn an_epoch_is_told_once_it_is_saved() {
    let mut network = Network::formed();
    let (now, mut actions) = (network.now(), Actions::default());
    let cluster = &mut network.nodes[0];
    cluster.learn_epoch(50);
    cluster.settle(now, &mut actions);
    assert!(actions.save);
    assert_eq!(cluster.header().current_epoch, 3);
    let serial = cluster.save(now).serial;
    cluster.handle(now, Input::Persisted(serial), &mut actions);
    assert_eq!(cluster.header().current_epoch, 50);
}

#[test]
fn numbers_of_others_are_no_reason_to_fall() {
    let mut network = Network::formed();
    let peer = network.nodes[0].known(&network.nodes[1].id()).unwrap();
    network.nodes[0].table.row_mut(peer).flags |= NodeFlags::PFAIL | NodeFlags::FAIL;
    assert!(network.info(0).contains("cluster_slots_ok:10922\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:5462\r\n"));
    network.nodes[0].current_epoch = u64::MAX;
    assert_eq!(network.nodes[0].bump_epoch(), Some(u64::MAX));
    let longest = Settings { node_timeout_ms: i64::MAX, ..settings(0) };
    let (now, mut actions) = (network.now(), Actions::default());
    network.nodes[0].set_settings(now, longest, &mut actions);
    network.run(1000);
}

#[test]
fn who_stops_asks_no_shard_of_its_own_process() {
    let mut network = Network::formed();
    let cluster = &mut network.nodes[0];
    let own = cluster.id();
    let id = add_candidate(cluster, own, LinkId::accepted(1 << 40));
    let replica = cluster.table.find(&id).unwrap();
    let row = cluster.table.row_mut(replica);
    (row.kin, row.offset) = (1, 100);
    let mut actions = Actions::default();
    assert_eq!(cluster.hand_over(&mut actions), Some(id));
    cluster.siblings = std::vec![own, id];
    assert_eq!(cluster.hand_over(&mut actions), None, "it stops, too");
    assert_eq!(cluster.heir_to_order(&|_| Some(100)), None);
}

#[test]
fn who_stops_has_the_stranger_ordered_that_has_most_of_its_data() {
    let mut network = Network::formed();
    let cluster = &mut network.nodes[0];
    for port in 7100..7104 {
        let id = NodeId::of_random([port.into(); 3]);
        let replica = cluster.table.add(id, id, NodeFlags::REPLICA, 1).unwrap();
        let master = Some(cluster.myself);
        let row = cluster.table.row_mut(replica);
        (row.host, row.port, row.master) = (Host::parse(b"10.0.0.9"), port, master);
        match port {
            7102 => row.flags.insert(NodeFlags::PFAIL),
            7103 => row.host = Host::parse(b"a.example"),
            _ => {}
        }
    }
    let acked = |port: u16| Some(u64::from(port)).filter(|&port| port != 7101);
    assert_eq!(cluster.hand_over(&mut Actions::default()), None, "they would not understand");
    assert_eq!(cluster.heir_to_order(&acked), Some(("10.0.0.9".parse().unwrap(), 7100)));
    assert_eq!(cluster.heir_to_order(&|port| Some(port.into())), Some(("10.0.0.9".parse().unwrap(), 7101)));
}

#[test]
fn siblings_live_beside_us_whatever_a_file_says() {
    let name = |digit: char| std::iter::repeat_n(digit, 40).collect::<String>();
    let line = |digit: char, port: u16, flags: &str| {
        std::format!("{} 10.0.0.5:{port}@1{port} {flags} - 0 0 1 connected\n", name(digit))
    };
    let lines = [line('a', 7000, "master"), line('b', 7001, "myself,master"), line('c', 7002, "master,noaddr")];
    let text = lines.concat() + &line('d', 7050, "master") + "vars currentEpoch 1 lastVoteEpoch 0\n";
    let saved = crate::nodes_conf::parse(text.as_bytes()).unwrap();
    let ids: Vec<NodeId> = ['a', 'b', 'c'].map(|digit| NodeId::parse(name(digit).as_bytes()).unwrap()).into();
    let now = Network::new(0).now();
    let own = Settings { shard: 1, shards: 3, port: 7201, bus_port: 17301, ..settings(0) };
    let places = |cluster: &Cluster| -> Vec<String> {
        let text = cluster.nodes_text(now, "?");
        let mut places: Vec<String> =
            text.lines().map(|line| std::format!("{} {}", &line[..1], line.split(' ').nth(1).unwrap())).collect();
        places.sort();
        places
    };
    let announced = Settings { host: Host::parse(b"10.0.0.9"), ..own.clone() };
    let mut cluster = Cluster::load(announced, Rng::new(1), now, &saved);
    cluster.handle(now, Input::Siblings(&ids), &mut Actions::default());
    let beside = ["a 10.0.0.9:7200@17300", "b 10.0.0.9:7201@17301", "c 10.0.0.9:7202@17302", "d 10.0.0.5:7050@17050"];
    assert_eq!(places(&cluster), beside);

    let mut cluster = Cluster::load(own, Rng::new(1), now, &saved);
    cluster.handle(now, Input::Siblings(&ids), &mut Actions::default());
    cluster.forget_host(now, &mut Actions::default());
    assert_eq!(places(&cluster)[0], "a ?:7200@17300", "nobody is told where we are not");
    cluster.sibling_host(Host::parse(b"10.0.0.9").unwrap());
    assert_eq!(places(&cluster), beside);
}

#[test]
fn what_was_loaded_has_a_master_take_free_slots_and_no_others() {
    let mut network = Network::formed();
    let slots = |numbers: &[u16]| numbers.iter().copied().filter_map(Slot::new).collect::<SlotSet>();
    let (free, foreign) = (Slot::new(5).unwrap(), Slot::new(16000).unwrap());
    network.order(0, Admin::DelSlots(&[free])).unwrap();
    let (now, node) = (network.now(), &mut network.nodes[0]);
    let mut actions = Actions::default();
    assert_eq!(node.claim_loaded(now, &slots(&[4, 5, 16000]), &mut actions), Err(foreign));
    assert!(!node.owns(free) && actions.is_empty(), "nothing has changed");
    assert_eq!(node.claim_loaded(now, &slots(&[4, 5]), &mut actions), Ok(()));
    assert!(node.owns(free) && actions.save && actions.view);
    let told: Vec<&str> = actions.log.iter().map(|(_, line)| &line[..]).collect();
    assert_eq!(told[0], "I have keys for unassigned slot 5. Taking responsibility for it.");
    let mut actions = Actions::default();
    assert_eq!(node.claim_loaded(now, &slots(&[4, 5]), &mut actions), Ok(()));
    assert!(actions.is_empty(), "all of it is ours");
}
