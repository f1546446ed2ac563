//! Links between nodes as they live in a run: dialled, accepted, carried and ended.

use crate::checkers::Sender;
use crate::network::{End, Item, Link, MAILBOX_NS, Way};
use crate::world::{BUS_PORT, Brain, Event, HOSTS_A_NET, MS, Node, SECOND, World};
use slotmesh_cluster::Host;
use slotmesh_cluster::machine::{Input, LinkEnd, LinkId, Target};
use std::rc::Rc;

/// How long a dial into the dark waits before it knocks again, and how often it knocks.
const KNOCK_NS: u64 = SECOND;
const KNOCKS: u32 = 8;
/// How long a message that found its way cut waits before it is sent again.
const RETRANSMISSION_NS: u64 = 200 * MS;

impl World {
    pub(crate) fn dial(&mut self, node: usize, link: LinkId, target: Target) {
        let delay = match &target {
            Target::Sibling(_) => 1,
            Target::Tcp(..) => self.network.delay(&mut self.rng),
        };
        let life = self.nodes[node].life;
        self.schedule(delay, Event::Knock { node, life, link, target, nth: 0 });
    }

    pub(crate) fn knock(&mut self, node: usize, link: LinkId, target: Target, nth: u32) {
        let own = self.nodes[node].host;
        let is_mailbox = matches!(target, Target::Sibling(_));
        let host = match &target {
            Target::Sibling(_) => Some(own),
            Target::Tcp(address, _) => {
                host_at(address).filter(|&host| self.hosts.get(host).is_some_and(|iron| iron.address == *address))
            }
        };
        let is_dark = match host {
            Some(host) => self.network.is_cut(own, host) || self.network.is_cut(host, own),
            None => true,
        };
        if is_dark && !is_mailbox {
            if nth < KNOCKS {
                let life = self.nodes[node].life;
                return self.schedule(KNOCK_NS, Event::Knock { node, life, link, target, nth: nth + 1 });
            }
            return self.tell(node, Input::LinkDown { link, why: LinkEnd::TimedOut });
        }
        let shard = match &target {
            Target::Sibling(shard) => Some(*shard),
            Target::Tcp(_, port) => port.checked_sub(BUS_PORT),
        };
        let found = host.zip(shard).and_then(|(host, shard)| self.hosts[host].nodes.clone().nth(usize::from(shard)));
        let listens = |node: &Node| !matches!(node.brain, Brain::Dead) && (is_mailbox || !node.is_shut);
        let Some(other) = found.filter(|&other| listens(&self.nodes[other])) else {
            return self.tell(node, Input::LinkDown { link, why: LinkEnd::Refused });
        };
        self.nodes[other].accepted += 1;
        let name = LinkId::accepted(self.nodes[other].accepted);
        let ends: [End; 2] = [(node, link), (other, name)];
        self.links.push(Link { ends, open: [true; 2], ways: [Way::default(), Way::default()], is_mailbox });
        let place = self.links.len() - 1;
        self.nodes[node].links.insert(link, (place, 0));
        self.nodes[other].links.insert(name, (place, 1));
        let address = |host: usize| (!is_mailbox).then(|| self.hosts[host].address.clone());
        let (peer, local) = (address(own), address(self.nodes[other].host));
        self.tell(other, Input::Accepted { link: name, peer, local: local.clone() });
        self.tell(node, Input::LinkUp { link, peer: local });
    }

    pub(crate) fn close(&mut self, node: usize, link: LinkId) {
        if let Some((place, end)) = self.nodes[node].links.remove(&link) {
            self.links[place].open[end] = false;
            self.send_item(place, end, Item::End);
        }
    }

    pub(crate) fn send(&mut self, node: usize, link: usize, end: usize, frame: Rc<[u8]>) {
        let [from, to] = [end, 1 - end].map(|end| self.nodes[self.links[link].ends[end].0].host);
        if from != to {
            let traffic = &mut self.nodes[node].traffic;
            traffic.messages += 1;
            traffic.bytes += frame.len() as u64;
        }
        if self.plan.checks {
            let to = self.links[link].ends[1 - end].0;
            let candidate = self.id(to);
            let sender = match self.nodes[node].brain {
                Brain::Machine(_) if self.nodes[node].silence.is_some() => Sender::Silent,
                Brain::Machine(_) => Sender::Machine { may_stand: self.may_stand(node) },
                Brain::Puppet(_) | Brain::Dead => Sender::Puppet,
            };
            if self.safety.sent(sender, &candidate, &frame) {
                self.spring(node);
            }
        }
        self.send_item(link, end, Item::Frame(frame));
    }

    pub(crate) fn send_item(&mut self, link: usize, end: usize, item: Item) {
        let delay = if self.links[link].is_mailbox { MAILBOX_NS } else { self.network.delay(&mut self.rng) };
        let way = &mut self.links[link].ways[end];
        way.last_ns = way.last_ns.max(self.now_ns + delay);
        way.items.push_back((way.last_ns, item));
        self.attend(link, end, 0);
    }

    /// Sees to it that the first message of a way arrives, after this time at the earliest.
    fn attend(&mut self, link: usize, way: usize, delay: u64) {
        let now = self.now_ns;
        let state = &mut self.links[link].ways[way];
        if state.is_scheduled {
            return;
        }
        let Some(&(due, _)) = state.items.front() else { return };
        state.is_scheduled = true;
        self.schedule(due.saturating_sub(now).max(delay), Event::Arrival(link, way));
    }

    pub(crate) fn arrive(&mut self, place: usize, way: usize) {
        let link = &mut self.links[place];
        link.ways[way].is_scheduled = false;
        let ((from, _), (to, name)) = (link.ends[way], link.ends[1 - way]);
        let (from_host, to_host) = (self.nodes[from].host, self.nodes[to].host);
        if !link.is_mailbox && self.network.is_cut(from_host, to_host) {
            return self.attend(place, way, RETRANSMISSION_NS);
        }
        let Some((_, item)) = link.ways[way].items.pop_front() else { return };
        let is_open = link.open[1 - way];
        match item {
            Item::Frame(frame) if is_open => {
                self.fold(&[to as u64, from as u64, frame.len() as u64]);
                self.tell(to, Input::Frame { link: name, frame: &frame });
            }
            // Nobody is there: as soon as the sender hears of it, its end is gone.
            Item::Frame(_) if link.open[way] && self.hosts[to_host].is_up => {
                link.ways[1 - way].items.clear();
                self.send_item(place, 1 - way, Item::End);
            }
            Item::Frame(_) => {}
            Item::End if is_open => {
                link.open[1 - way] = false;
                self.nodes[to].links.remove(&name);
                self.tell(to, Input::LinkDown { link: name, why: LinkEnd::Closed });
            }
            Item::End => {}
        }
        self.attend(place, way, 0);
    }
}

/// The host that may have this address.
fn host_at(address: &Host) -> Option<usize> {
    let Host::V4(address) = address else { return None };
    let [_, _, hundreds, ones] = address.octets().map(usize::from);
    Some(HOSTS_A_NET * hundreds + ones.checked_sub(1)?)
}
