//! Handing slots over before the process stops: a node that is a master asks one of its replicas to take over
//! (CLUSTER FAILOVER), and goes when it has.

use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use slotmesh_base::Monotonic;
use slotmesh_conf::directive;
use slotmesh_io::{DataLoop, Dials};
use slotmesh_resp::push_request;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// How long a replica is looked for that can take over, in ms: what the cluster says of it may be on its way.
const LOOKING_MS: u64 = 500;
/// How long a replica has until it is asked again, in ms.
const ASKING_MS: u64 = 200;

/// How far a core is.
#[derive(Debug, Default)]
pub(crate) enum Handover {
    /// Nobody wants it to stop.
    #[default]
    Idle,
    /// It looks for a replica that can take over, until then.
    Looks(Monotonic),
    /// It dials the replica.
    Dials(Dials<()>),
    /// It has asked it, and does again then.
    Asked(Monotonic),
    /// It has nothing to hand over any more.
    Over,
}

impl Engine {
    /// Goes on with what has to be done before the process stops.
    pub(crate) fn pass_slots_on(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(until) = self.process.handover_until(self.core) else { return };
        let now = self.monotonic;
        match &mut self.handover {
            Handover::Idle => {
                self.handover = Handover::Looks(now.plus_millis(LOOKING_MS));
                self.ask_somebody();
            }
            Handover::Looks(end) if now >= *end => self.handover = Handover::Over,
            Handover::Asked(again) if now < *again => {}
            Handover::Looks(_) | Handover::Asked(_) => self.ask_somebody(),
            Handover::Dials(dials) => match dials.take().pop() {
                Some((_, Ok(socket))) => {
                    self.order_to_take_over(io, socket);
                    self.handover = Handover::Asked(now.plus_millis(ASKING_MS));
                }
                Some((_, Err(_))) => self.handover = Handover::Over,
                None => {}
            },
            Handover::Over => {}
        }
        if !self.has_slots_to_pass_on() || now >= until || matches!(self.handover, Handover::Over) {
            self.handover = Handover::Over;
            let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
            if self.process.end_handover() {
                self.begin_last_saves(&mut hands);
            }
            self.wake_all(&mut hands);
        }
    }

    /// Whether our shard is a master with slots, and somebody follows it.
    fn has_slots_to_pass_on(&self) -> bool {
        let (Some(seat), Some(replication)) = (&self.seat, &self.replication) else { return false };
        seat.topology.ranges_of(seat.myself).next().is_some() && replication.is_followed()
    }

    /// Asks the replica that has most of our data, if there is one in another process: one of our kind on the bus, another
    /// as an operator would.
    fn ask_somebody(&mut self) {
        let (Some(bus), Some(replication)) = (&mut self.bus, &self.replication) else { return };
        if let Some(id) = bus.machine.get_mut().hand_over() {
            self.process.log.notice(format_args!("The replica {id} is asked to take over before we stop"));
            self.handover = Handover::Asked(self.monotonic.plus_millis(ASKING_MS));
            return;
        }
        let heir = bus.machine.get_mut().cluster.heir_to_order(&|port| replication.acked_by(port));
        let Some((ip, port)) = heir else { return };
        self.process.log.notice(format_args!("The replica {ip}:{port} is asked to take over before we stop"));
        let source = self.settings.value(directive::BIND_SOURCE_ADDR).parse().ok();
        let mut dials = Dials::default();
        dials.dial((), SocketAddr::new(ip, port), source);
        self.handover = Handover::Dials(dials);
    }

    /// Whoever may be a master of ours may be told so as well: the password is the one of the links to masters.
    fn order_to_take_over(&mut self, io: &mut DataLoop<Parcel>, socket: OwnedFd) {
        let Some(replication) = &self.replication else { return };
        let socket = io.sockets.adopt_link(socket);
        if let Some(output) = io.sockets.output(socket) {
            let mut words = Vec::new();
            replication.identity().push_auth(&mut words);
            push_request(&mut words, [&b"CLUSTER"[..], b"FAILOVER"].into_iter());
            output.extend_from_slice(&words);
            io.sockets.commit(socket);
        }
    }
}
