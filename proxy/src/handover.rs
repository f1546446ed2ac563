//! Handing slots over before the process stops: a node that is a master asks one of its replicas to take over
//! (CLUSTER FAILOVER), and goes when it has.

use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use slotmesh_cluster::wire::NodeFlags;
use slotmesh_conf::directive;
use slotmesh_io::{DataLoop, Dials};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

/// How far a core is.
#[derive(Debug, Default)]
pub(crate) enum Handover {
    /// Nobody wants it to stop.
    #[default]
    Idle,
    /// It dials the replica that shall take over.
    Dials(Dials<()>),
    /// It has asked it.
    Asked,
    /// It has nothing to hand over any more.
    Over,
}

impl Engine {
    /// Goes on with what has to be done before the process stops.
    pub(crate) fn pass_slots_on(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(until) = self.process.handover_until(self.core) else { return };
        if matches!(self.handover, Handover::Over) {
            return;
        }
        if matches!(self.handover, Handover::Idle) {
            self.begin_handover();
        }
        if let Handover::Dials(dials) = &mut self.handover
            && let Some((_, outcome)) = dials.take().pop()
        {
            self.handover = match outcome {
                Ok(socket) => {
                    self.ask_to_take_over(io, socket);
                    Handover::Asked
                }
                Err(_) => Handover::Over,
            };
        }
        let is_done = self.is_replica() || self.monotonic >= until || matches!(self.handover, Handover::Over);
        if is_done {
            self.handover = Handover::Over;
            if self.process.end_handover() {
                self.process.stop();
            }
            let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
            self.wake_all(&mut hands);
        }
    }

    /// Dials the replica that has most of our data, if there is one in another process.
    fn begin_handover(&mut self) {
        self.handover = Handover::Over;
        let (Some(seat), Some(bus), Some(replication)) = (&self.seat, &self.bus, &self.replication) else { return };
        if seat.topology.ranges_of(seat.myself).next().is_none() || replication.is_replica() {
            return;
        }
        let machine = bus.machine.borrow();
        let siblings = machine.cluster.siblings();
        let ill = NodeFlags::FAIL | NodeFlags::PFAIL;
        let can = |node: &&slotmesh_cluster::Node| !siblings.contains(&node.id) && !node.flags.intersects(ill);
        // What they have they have told us themselves; the view shows what clients are to know.
        let nodes = seat.topology.nodes().map(|(_, node)| node);
        let replicas = nodes.filter(|node| node.master == Some(seat.myself)).filter(can);
        let online = replicas.filter_map(|node| Some((replication.acked_by(node.port)?, node)));
        let Some((_, heir)) = online.max_by_key(|&(acked, _)| acked) else { return };
        let Ok(ip) = heir.ip.parse::<IpAddr>() else { return };
        self.process.log.notice(format_args!("The replica {}:{} is asked to take over before we stop", ip, heir.port));
        let source = self.settings.value(directive::BIND_SOURCE_ADDR).parse().ok();
        let mut dials = Dials::default();
        dials.dial((), SocketAddr::new(ip, heir.port), source);
        drop(machine);
        self.handover = Handover::Dials(dials);
    }

    /// Whoever may be a master of ours may be told so as well: the password is the one of the links to masters.
    fn ask_to_take_over(&mut self, io: &mut DataLoop<Parcel>, socket: OwnedFd) {
        let (user, password) = (self.settings.value(directive::MASTERUSER), self.settings.value(directive::MASTERAUTH));
        let mut words: Vec<Vec<&str>> = Vec::new();
        match (user, password) {
            (_, "") => {}
            ("", password) => words.push(vec!["AUTH", password]),
            (user, password) => words.push(vec!["AUTH", user, password]),
        }
        words.push(vec!["CLUSTER", "FAILOVER"]);
        let socket = io.sockets.adopt_link(socket);
        if let Some(output) = io.sockets.output(socket) {
            for request in words {
                output.extend_from_slice(format!("*{}\r\n", request.len()).as_bytes());
                for word in request {
                    output.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
                }
            }
            io.sockets.commit(socket);
        }
    }
}
