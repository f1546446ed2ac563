//! The generator against scripted nodes of a cluster.

use super::tests::{alone, load};
use super::*;
use crate::keys::Distribution;
use crate::slot_map::tests::answer;
use crate::workload::parse_mix;
use slotmesh_base::Slot;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Mutex, PoisonError};

/// First slot, last slot, the node that has them.
type Range = (u16, u16, usize);
/// Who has which slots after so many requests.
type Stage = (usize, &'static [Range]);

/// What the nodes of a script share.
#[derive(Debug, Default)]
struct Script {
    /// Ports of the nodes.
    ports: Vec<u16>,
    maps: Vec<Stage>,
    /// What is told of the slots may be older than what is true.
    told: Vec<Range>,
    requests: usize,
    /// Requests that were answered, by node and key.
    answered: BTreeMap<(usize, String), u32>,
    /// Connections by node, without those that asked for slots only.
    connections: BTreeMap<usize, usize>,
    asked: usize,
}

impl Script {
    fn truth(&self) -> &'static [Range] {
        let map = self.maps.iter().rev().find(|(from, _)| self.requests >= *from);
        map.map(|(_, map)| *map).expect("the first map is from the beginning")
    }

    /// The reply of a node.
    fn reply(&mut self, node: usize, words: &[String]) -> String {
        if words[0] == "CLUSTER" {
            self.asked += 1;
            let told = if self.told.is_empty() { self.truth() } else { &self.told };
            let ranges: Vec<_> = told.iter().map(|(first, last, node)| (*first, *last, self.ports[*node])).collect();
            return answer(&ranges);
        }
        let slot = Slot::of_key(words[1].as_bytes()).number();
        let owner = self.truth().iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).unwrap().2;
        self.requests += 1;
        if owner != node {
            return format!("-MOVED {slot} 127.0.0.1:{}\r\n", self.ports[owner]);
        }
        *self.answered.entry((node, words[1].clone())).or_default() += 1;
        "+OK\r\n".to_owned()
    }
}

type Shared = Arc<Mutex<Script>>;

/// Starts nodes; the endpoint of the first.
fn start(nodes: usize, maps: &[Stage], told: &[Range]) -> (Endpoint, Shared) {
    let listeners: Vec<_> = (0..nodes).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let ports: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
    let endpoint = Endpoint::parse(&format!("cluster=127.0.0.1:{}", ports[0])).unwrap();
    let script = Arc::new(Mutex::new(Script { ports, maps: maps.to_vec(), told: told.to_vec(), ..Script::default() }));
    for (node, listener) in listeners.into_iter().enumerate() {
        let script = script.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let script = script.clone();
                std::thread::spawn(move || serve(node, stream.unwrap(), &script));
            }
        });
    }
    (endpoint, script)
}

fn serve(node: usize, stream: TcpStream, script: &Shared) {
    let (mut input, mut output) = (BufReader::new(stream.try_clone().unwrap()), stream);
    let mut is_counted = false;
    while let Some(words) = read_request(&mut input) {
        let mut script = script.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_counted && words[0] != "CLUSTER" {
            is_counted = true;
            *script.connections.entry(node).or_default() += 1;
        }
        let reply = script.reply(node, &words);
        drop(script);
        if output.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// The words of a request whose arguments hold no line ends; `None` at the end.
fn read_request(input: &mut impl BufRead) -> Option<Vec<String>> {
    let mut line = || {
        let mut text = String::new();
        input.read_line(&mut text).ok().filter(|length| *length > 0).map(|_| text.trim_end().to_owned())
    };
    let count: usize = line()?.strip_prefix('*')?.parse().ok()?;
    (0..count).map(|_| line().and_then(|_| line())).collect()
}

fn cluster_load(clients: usize, pipeline: u64, threads: usize, requests: u64) -> Load {
    let mix = parse_mix("get").unwrap();
    Load { is_cluster: true, mix, warmup_seconds: 0.0, keys: 500, ..load(clients, pipeline, threads, requests) }
}

fn run_hidden(endpoint: &Endpoint, load: &Load) -> Result<Measurement, Failure> {
    run(endpoint, load, &ProgressBar::hidden())
}

const HALVES: &[Range] = &[(0, 8191, 0), (8192, 16383, 1)];

#[test]
fn connections_go_round_the_masters_and_no_request_goes_astray() {
    let _alone = alone();
    for (pipeline, threads, rate) in [(1, 1, None), (8, 2, None), (4, 1, Some(50_000.0))] {
        let (endpoint, script) = start(2, &[(0, HALVES)], &[]);
        let load = Load { rate, ..cluster_load(10, pipeline, threads, 4000) };
        let tally = run_hidden(&endpoint, &load).unwrap().tally;
        assert_eq!((tally.replies, tally.latencies.len(), tally.redirects, tally.errors), (4000, 4000, 0, 0));
        let script = script.lock().unwrap();
        assert_eq!((script.connections[&0], script.connections[&1], script.asked), (5, 5, 1));
        assert_eq!(script.answered.values().sum::<u32>(), 4000);
    }
}

/// Slots move under load: to a node that has some, to one that is new, and all of a node.
#[test]
fn a_moved_slot_is_followed_and_each_request_answered_once() {
    let _alone = alone();
    const ALL: &[Range] = &[(0, 16383, 0)];
    const NONE_LEFT: &[Range] = &[(0, 8191, 2), (8192, 16383, 1)];
    for (pipeline, threads, rate) in [(1, 1, None), (16, 2, None), (4, 1, Some(50_000.0))] {
        let (endpoint, script) = start(3, &[(0, ALL), (1000, HALVES), (2500, NONE_LEFT)], &[]);
        let load = Load { rate, ..cluster_load(8, pipeline, threads, 4000) };
        let tally = run_hidden(&endpoint, &load).unwrap().tally;
        assert_eq!((tally.replies, tally.latencies.len(), tally.errors, tally.surplus), (4000, 4000, 0, 0));
        let script = script.lock().unwrap();
        // Those under way when slots move; an open loop may have any number of them.
        let limit = if rate.is_some() { u64::MAX } else { 3 * 8 * pipeline * threads as u64 };
        assert!((2..=limit).contains(&tally.redirects), "{} redirects", tally.redirects);
        assert_eq!(script.answered.values().sum::<u32>(), 4000);
        assert_eq!(script.requests as u64, 4000 + tally.redirects);
        assert!(script.asked >= 3 && script.connections.len() == 3, "{script:?}");
    }
}

/// Nodes that tell an old map for ever: their redirects are believed slot by slot.
#[test]
fn a_redirect_is_believed_before_an_old_map() {
    let _alone = alone();
    let (endpoint, script) = start(2, &[(0, HALVES)], &[(0, 16383, 0)]);
    let tally = run_hidden(&endpoint, &cluster_load(4, 1, 1, 2000)).unwrap().tally;
    assert_eq!((tally.replies, tally.errors), (2000, 0));
    assert!(tally.redirects >= 100, "one for each slot in use: {}", tally.redirects);
    assert_eq!(script.lock().unwrap().answered.values().sum::<u32>(), 2000);
}

#[test]
fn filling_names_every_key_once_also_while_slots_move() {
    let _alone = alone();
    let (endpoint, script) = start(2, &[(0, &[(0, 16383, 0)]), (200, HALVES)], &[]);
    let load = cluster_load(6, 1, 2, 1);
    let filling = load.filling(crate::workload::CommandKind::Set, 0, 500);
    assert_eq!((filling.clients, filling.distribution), (6, Distribution::Sequence { from: 0, to: 500 }));
    assert_eq!(run_hidden(&endpoint, &filling).unwrap().tally.replies, 500);
    let script = script.lock().unwrap();
    let keys: std::collections::BTreeSet<_> = script.answered.keys().map(|(_, key)| key).collect();
    assert_eq!((keys.len(), script.answered.values().sum::<u32>()), (500, 500));
}

#[test]
fn more_masters_than_connections_are_refused() {
    let _alone = alone();
    let (endpoint, _) = start(2, &[(0, HALVES)], &[]);
    let error = run_hidden(&endpoint, &cluster_load(3, 1, 2, 10)).unwrap_err().to_string();
    assert!(error.contains("2 masters want a connection each from each load thread"), "{error}");
}
