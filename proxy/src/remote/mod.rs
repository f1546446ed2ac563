//! The links of one core to nodes of other hosts, and what its gateway sends over them. What is decided in
//! `slotmesh_shard::Gateway` is carried out here.

mod dispatch;
mod links;
mod listening;
mod replicas;
mod transactions;

pub(crate) use listening::Hearing;
pub(crate) use replicas::is_of_poll;

use crate::engine::{Engine, Hands};
use crate::hop::ReturnAddress;
use replicas::Poll;
use slotmesh_base::Monotonic;
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{Dials, SocketId};
use slotmesh_resp::Protocol;
use slotmesh_shard::{Gateway, LinkId, Origin, Outlet, ReadFrom, Rules};
use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};

/// A core's gateway to other hosts.
#[derive(Debug)]
pub(crate) struct Remote {
    gateway: Gateway<ReturnAddress>,
    /// Whether the view of the cluster has changed since it was told.
    is_stale: bool,
    dials: Dials<LinkId>,
    /// `bind-source-addr`.
    source: Option<IpAddr>,
    /// `tcp-keepalive`.
    keepalive_s: u32,
    /// The links, by the places of their sockets.
    by_socket: Vec<Option<(SocketId, LinkId)>>,
    /// The sockets, by the places of their links.
    by_link: Vec<Option<(LinkId, SocketId)>>,
    /// Whether our clients may want to hear other shard channels than the gateway knows.
    hears_otherwise: bool,
    /// Channels that clients are about to hear, and until when they wait for that.
    awaited: BTreeMap<Vec<u8>, Monotonic>,
    /// Messages that have come, to be told with this turn.
    said: Vec<(Vec<u8>, Vec<u8>)>,
    /// Answers of nodes that are not for clients as they are: dealt with once the gateway is back in its place.
    inner: Vec<(ReturnAddress, Vec<u8>)>,
    /// Clients that wait for replicas.
    polls: Vec<Poll>,
    /// Requests that are to run here after all, and wait for the shard or for room.
    homeward: VecDeque<Homeward>,
}

/// A request that came back from other hosts: the slot is ours by now.
#[derive(Debug)]
struct Homeward {
    to: ReturnAddress,
    protocol: Protocol,
    request: Vec<u8>,
}

/// From here on the part of a ticket says that the answer is not for the client as it is: whose it is.
const INNER: u32 = 1 << 31;

impl Origin for ReturnAddress {
    fn connection(&self) -> u32 {
        self.socket.index
    }
}

impl Remote {
    /// Whether other hosts have slots.
    pub(crate) fn has_remote(&self) -> bool {
        self.gateway.routes().has_remote()
    }

    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            gateway: Gateway::new(rules(settings)),
            is_stale: true,
            dials: Dials::default(),
            source: source(settings),
            keepalive_s: settings.value(directive::TCP_KEEPALIVE),
            by_socket: Vec::new(),
            by_link: Vec::new(),
            hears_otherwise: false,
            awaited: BTreeMap::new(),
            said: Vec::new(),
            inner: Vec::new(),
            polls: Vec::new(),
            homeward: VecDeque::new(),
        }
    }

    /// When it wants a turn at the latest, on the monotonic clock in nanoseconds.
    #[inline]
    pub(crate) fn deadline(&self) -> u64 {
        if self.gateway.has_orders() || !self.homeward.is_empty() {
            return 0;
        }
        let polls = self.polls.iter().map(Poll::deadline);
        polls.chain([self.gateway.deadline()]).min().map_or(u64::MAX, |deadline| deadline.0)
    }
}

impl Engine {
    /// Takes over settings, and takes note that the map of the process may be another one.
    pub(crate) fn refresh_remote(&mut self) {
        let Some(remote) = &mut self.remote else { return };
        remote.is_stale = true;
        remote.source = source(&self.settings);
        remote.keepalive_s = self.settings.value(directive::TCP_KEEPALIVE);
        remote.gateway.set_rules(rules(&self.settings));
    }
}

/// Hands out what comes for clients of the core.
struct Counter<'a, 'b> {
    engine: &'a mut Engine,
    hands: &'a mut Hands<'b>,
    homeward: &'a mut VecDeque<Homeward>,
    said: &'a mut Vec<(Vec<u8>, Vec<u8>)>,
    inner: &'a mut Vec<(ReturnAddress, Vec<u8>)>,
}

impl Outlet<ReturnAddress> for Counter<'_, '_> {
    #[inline]
    fn reply(&mut self, to: ReturnAddress, reply: &[u8]) {
        if to.part >= INNER {
            return self.inner.push((to, reply.to_vec()));
        }
        self.engine.hand_over(self.hands.sockets, to, reply);
    }

    fn hear(&mut self, channel: &[u8], text: &[u8]) {
        self.said.push((channel.to_vec(), text.to_vec()));
    }

    fn home(&mut self, to: ReturnAddress, protocol: Protocol, request: &[u8]) {
        self.homeward.push_back(Homeward { to, protocol, request: request.to_vec() });
    }
}

fn source(settings: &Settings) -> Option<IpAddr> {
    settings.value(directive::BIND_SOURCE_ADDR).parse().ok()
}

fn rules(settings: &Settings) -> Rules {
    let or = |own: &str, other: &str| if own.is_empty() { other.to_owned() } else { own.to_owned() };
    let port = settings.value(directive::GATEWAY_PORT);
    let hosts = settings.value(directive::BIND).iter().map(|host| host.trim_start_matches('-'));
    let own = hosts.filter_map(|host| Some(SocketAddr::new(host.parse().ok()?, port)));
    let announced = settings.value(directive::CLUSTER_ANNOUNCE_IP).parse().ok().map(|ip| SocketAddr::new(ip, port));
    Rules {
        retry_ms: settings.value(directive::GATEWAY_RETRY_TIMEOUT),
        answer_ms: settings.value(directive::GATEWAY_TIMEOUT),
        links_max: settings.value(directive::GATEWAY_LINKS_MAX),
        reads: match settings.value(directive::GATEWAY_READ_FROM) {
            "replica" => ReadFrom::Replica,
            "any" => ReadFrom::Any,
            _ => ReadFrom::Master,
        },
        user: or(settings.value(directive::GATEWAY_USER), settings.value(directive::MASTERUSER)),
        password: or(settings.value(directive::GATEWAY_PASSWORD), settings.value(directive::MASTERAUTH)),
        own: if port == 0 { Vec::new() } else { own.chain(announced).collect() },
    }
}
