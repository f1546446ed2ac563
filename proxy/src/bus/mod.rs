//! The cluster bus of one shard: carries what its machine says to other nodes, and what they say to it.
//!
//! *For*: links by TCP and between the cores of the process, nodes.conf, the machine's clock. *Not here*: what a message
//! means. *Invariants*: all of it runs on the shard's core, in its turns; what an order of the operator promises is on
//! disk in the turn in which it came, before its reply leaves. *Read first*: `drive` below, then `links.rs`.

mod dialler;
mod disk;
mod links;
mod news;
mod nodes_file;
mod siblings;

pub(crate) use dialler::Dialler;
pub(crate) use news::{BellEnd, bell};
pub(crate) use nodes_file::{NodesFile, NodesFileError};
pub(crate) use siblings::SiblingMail;

use crate::hop::Parcel;
use crate::log::Log;
use crate::process::Seat;
use disk::Disk;
use links::{Links, Way};
use siblings::{Outbox, SiblingLink};
use slotmesh_base::{Monotonic, Slot, UnixMillis};
use slotmesh_cluster::machine::{
    Actions, Cluster, Input, Level, LinkEnd, LinkId, LinkOrder, Now, PauseOrder, Relief, ReplicationFacts, RoleChange,
    Settings, Silence, Target,
};
use slotmesh_cluster::{Host, NodeId};
use slotmesh_io::{DataLoop, SocketId};
use std::cell::RefCell;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Token of the listeners of the bus.
pub(crate) const BUS: u32 = 4;
/// Token of the bell.
pub(crate) const BELL: u32 = 5;

/// The machine, as commands reach it in the middle of a turn.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) cluster: Cluster,
    pub(crate) actions: Actions,
    pub(crate) now: Now,
    /// Whether what is to be saved was ordered by a client.
    is_order: bool,
}

impl Machine {
    /// Lets a command ask or order.
    pub(crate) fn with(&mut self, act: &mut dyn FnMut(&mut Cluster, Now, &mut Actions)) {
        let before = std::mem::take(&mut self.actions.save);
        act(&mut self.cluster, self.now, &mut self.actions);
        self.is_order |= self.actions.save;
        self.actions.save |= before;
    }

    /// We are about to stop: who is asked to take over, if somebody of our kind can.
    pub(crate) fn hand_over(&mut self) -> Option<NodeId> {
        self.cluster.hand_over(&mut self.actions)
    }

    /// Asks our master on the bus whether it is there.
    pub(crate) fn ask_master(&mut self) {
        self.cluster.ask_master(self.now, &mut self.actions);
    }

    fn handle(&mut self, input: Input<'_>) {
        self.cluster.handle(self.now, input, &mut self.actions);
    }
}

/// What a turn of the bus leaves to the engine.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The view of the cluster has changed.
    pub(crate) seat: Option<Seat>,
    /// Slots that others have taken: their keys are to go.
    pub(crate) lost: Vec<Slot>,
    /// Whom our shard follows from now on, or that it leads.
    pub(crate) role: Option<RoleChange>,
    /// All keys are to go.
    pub(crate) flush: bool,
    /// Writes of clients are to wait, or may go on.
    pub(crate) pause: Option<PauseOrder>,
    /// Channels and messages for the clients of this core, and whether they are of SPUBLISH.
    pub(crate) publications: Vec<(Vec<u8>, Vec<u8>, bool)>,
}

/// What a shard starts its bus with.
#[derive(Debug)]
pub(crate) struct BusStart {
    pub(crate) cluster: Cluster,
    pub(crate) file: NodesFile,
    pub(crate) listeners: Vec<OwnedFd>,
    /// Whether it owned slots and had replicas, and comes back without data (see [`Silence`]).
    pub(crate) is_empty_handed: bool,
    /// Whom it follows, if it was a replica: told when the bus is driven first.
    pub(crate) role: Option<RoleChange>,
}

/// The bus of one shard.
pub(crate) struct Bus {
    pub(crate) machine: RefCell<Machine>,
    links: Links,
    disk: Disk,
    dialler: Dialler<LinkId>,
    outbox: Outbox,
    bell: BellEnd,
    listeners: Vec<OwnedFd>,
    /// Kept while others may still hold for ours what we have lost.
    silence: Option<Silence>,
    /// Whether nothing listens yet.
    is_shut: bool,
    /// Whether a listener could not accept and shall try again.
    has_failed: bool,
    /// What the machine was last told of our replication.
    told_facts: Option<ReplicationFacts>,
    /// The ids that the siblings know us by.
    told_id: Option<NodeId>,
    log: Arc<Log>,
    core: u16,
}

impl Bus {
    /// # Errors
    /// If there are no descriptors left.
    pub(crate) fn new(start: BusStart, core: u16, now: Now, log: Arc<Log>) -> io::Result<Self> {
        let BusStart { cluster, file, listeners, is_empty_handed, role } = start;
        let actions = Actions { role, ..Actions::default() };
        let silence = is_empty_handed.then(|| begin_silence(now, &cluster, &log));
        let (ringer, bell) = bell()?;
        Ok(Self {
            told_facts: None,
            told_id: Some(cluster.id()),
            machine: RefCell::new(Machine { cluster, actions, now, is_order: false }),
            links: Links::default(),
            disk: Disk::new(file, log.clone(), ringer.clone()),
            dialler: Dialler::new(ringer),
            outbox: Outbox::default(),
            bell,
            listeners: if silence.is_some() { Vec::new() } else { listeners },
            is_shut: silence.is_some(),
            silence,
            has_failed: false,
            log,
            core,
        })
    }

    /// The view to begin with.
    pub(crate) fn seat(&self) -> Seat {
        let machine = self.machine.borrow();
        let (topology, myself) = machine.cluster.view(machine.now);
        Seat { topology: Arc::new(topology), myself }
    }

    /// Starts to accept.
    pub(crate) fn start(&mut self, io: &mut DataLoop<Parcel>) {
        self.listeners.drain(..).for_each(|listener| io.listen(listener, BUS));
        io.poll_readable(self.bell.as_fd(), BELL);
    }

    /// The time of the turn that begins.
    pub(crate) fn begin_turn(&mut self, monotonic: Monotonic, unix: UnixMillis) {
        self.machine.get_mut().now = Now { monotonic, unix };
    }

    /// Obeys other settings.
    pub(crate) fn set_settings(&mut self, settings: Settings) {
        let Machine { cluster, actions, now, .. } = self.machine.get_mut();
        if *cluster.settings() != settings {
            cluster.set_settings(*now, settings, actions);
        }
    }

    /// `cluster-link-sendbuf-limit`, in bytes; 0 for none.
    pub(crate) fn set_sendbuf_limit(&mut self, bytes: u64) {
        self.links.sendbuf_limit = bytes;
    }

    /// `bind-source-addr`: the address that dials come from.
    pub(crate) fn set_source(&mut self, source: Option<IpAddr>) {
        self.dialler.set_source(source);
    }

    /// Does not let out what the machine wants to say, while nothing shall be said.
    fn keep_silent(&mut self, actions: &mut Actions) {
        let Some(silence) = &mut self.silence else { return };
        let Machine { cluster, now, .. } = self.machine.get_mut();
        match silence.keep(*now, cluster, actions) {
            None => return,
            Some(Relief::Replaced) => {
                self.log.notice(format_args!("Another node has taken our slots: it is followed from now on"));
            }
            Some(Relief::NothingLeft) => self.log.warning(format_args!(
                "All replicas of this node came back without data, too: its slots are served without data"
            )),
        }
        let down = self.silence.take().map(|silence| silence.end(actions));
        for link in down.into_iter().flatten() {
            self.machine.get_mut().handle(Input::LinkDown { link, why: LinkEnd::Other });
        }
    }

    /// Whether our master has answered behind this moment as the node that serves clients at this port.
    pub(crate) fn is_master_confirmed(&self, since: Monotonic, port: u16) -> bool {
        self.machine.borrow().cluster.is_master_confirmed(since, port)
    }

    /// Whether somebody may have our slots, and we cannot know.
    pub(crate) fn is_with_minority(&self) -> bool {
        self.machine.borrow().cluster.is_with_minority()
    }

    /// Whether our shard has lost its data, and serves nobody.
    pub(crate) fn is_silent(&self) -> bool {
        self.silence.is_some()
    }

    /// Whether it is time to listen, which we did not from the start; says so once. A silence may end before the port was
    /// to be opened, by what a sibling says.
    pub(crate) fn wants_listeners(&mut self, now: Monotonic) -> bool {
        let is_time = self.silence.as_ref().is_none_or(|silence| silence.listens(now));
        is_time && std::mem::take(&mut self.is_shut)
    }

    /// Listens here from now on.
    pub(crate) fn listen(&mut self, io: &mut DataLoop<Parcel>, listeners: Vec<OwnedFd>) {
        listeners.into_iter().for_each(|listener| io.listen(listener, BUS));
    }

    /// When it wants a turn at the latest, on the monotonic clock in nanoseconds.
    pub(crate) fn deadline(&mut self) -> u64 {
        self.machine.get_mut().cluster.deadline().0
    }

    /// Somebody has dialled us.
    pub(crate) fn accept(&mut self, io: &mut DataLoop<Parcel>, socket: OwnedFd) {
        if self.machine.get_mut().cluster.strangers() >= STRANGERS_MAX {
            // It is closed: each of them may hold some memory of ours.
            return self.log.verbose(format_args!("Too many unknown links on the Cluster bus; one more was refused"));
        }
        let (link, peer, local) = self.links.accept(io, socket);
        self.machine.get_mut().handle(Input::Accepted { link, peer, local });
    }

    /// A listener could not accept.
    pub(crate) fn note_failure(&mut self, error: &io::Error) {
        self.log.warning(format_args!("Error accepting cluster node: {error}"));
        self.has_failed = true;
    }

    /// Accepts again after failures.
    pub(crate) fn retry(&mut self, io: &mut DataLoop<Parcel>) {
        if std::mem::take(&mut self.has_failed) {
            io.listen_again(BUS);
        }
    }

    /// A thread has something for us.
    pub(crate) fn hear_bell(&mut self, io: &mut DataLoop<Parcel>) {
        self.bell.hush();
        io.poll_readable(self.bell.as_fd(), BELL);
    }

    /// Whether a socket is a link of the bus.
    #[inline]
    pub(crate) fn has(&self, socket: SocketId) -> bool {
        self.links.find(socket).is_some()
    }

    /// Bytes that wait on a link, and bytes of room for them.
    pub(crate) fn link_buffer(&self, link: LinkId) -> (usize, usize) {
        self.links.buffer(link)
    }

    /// Bytes have come on a link.
    pub(crate) fn receive(&mut self, io: &mut DataLoop<Parcel>, socket: SocketId, bytes: &[u8]) {
        let Some(link) = self.links.find(socket) else { return };
        let machine = self.machine.get_mut();
        self.links.append(socket, bytes);
        loop {
            let is_trusted = link.is_ours() || machine.cluster.is_bound(link);
            match self.links.next_frame(socket, is_trusted) {
                Ok(Some(frame)) => machine.handle(Input::Frame { link, frame: &frame }),
                Ok(None) => return,
                Err(garbled) => {
                    self.log.warning(format_args!("{garbled} from {}", self.links.peer(link)));
                    self.links.close(io, link);
                    return machine.handle(Input::LinkGarbled { link });
                }
            }
        }
    }

    /// How the replication of our shard stands.
    pub(crate) fn tell_replication(&mut self, facts: ReplicationFacts) {
        if self.told_facts != Some(facts) {
            self.told_facts = Some(facts);
            self.machine.get_mut().handle(Input::Replication(facts));
        }
    }

    /// Clients wait, and what they have written ends at this offset.
    pub(crate) fn tell_paused(&mut self, offset: u64) {
        self.machine.get_mut().handle(Input::Paused { offset });
    }

    /// A client of ours has said something: other processes are to hear it.
    pub(crate) fn publish(&mut self, channel: &[u8], message: &[u8], is_sharded: bool) {
        let Machine { cluster, actions, .. } = self.machine.get_mut();
        cluster.publish(channel, message, is_sharded, actions);
    }

    /// The other end has closed a link.
    pub(crate) fn ended(&mut self, io: &mut DataLoop<Parcel>, socket: SocketId, error: Option<&io::Error>) {
        if let Some(link) = self.links.find(socket) {
            self.links.close(io, link);
            if let Some(silence) = &mut self.silence {
                silence.forget(link);
            }
            let why = error.map_or(LinkEnd::Closed, end_of);
            self.machine.get_mut().handle(Input::LinkDown { link, why });
        }
    }

    /// A sibling says something.
    pub(crate) fn take_mail(&mut self, from: u16, mail: SiblingMail) {
        let machine = self.machine.get_mut();
        match mail {
            SiblingMail::Open(theirs) => {
                let link = self.links.accept_sibling(from, theirs);
                machine.handle(Input::Accepted { link, peer: None, local: None });
            }
            SiblingMail::Frame(link, frame) => {
                if let Some(link) = self.links.of_sibling(from, link) {
                    machine.handle(Input::Frame { link, frame: &frame });
                }
            }
            SiblingMail::Close(link) => {
                if let Some(link) = self.links.of_sibling(from, link) {
                    self.links.forget(link);
                    if let Some(silence) = &mut self.silence {
                        silence.forget(link);
                    }
                    machine.handle(Input::LinkDown { link, why: LinkEnd::Other });
                }
            }
            SiblingMail::Heard(heard) => machine.handle(Input::SiblingHeard(&heard)),
            SiblingMail::Host(host) => machine.handle(Input::SiblingHost(host)),
            SiblingMail::Id(id) => {
                let mut ids = machine.cluster.siblings().to_vec();
                if let Some(known) = ids.get_mut(usize::from(from)) {
                    *known = id;
                    machine.handle(Input::Siblings(&ids));
                }
            }
        }
    }

    /// Lets time pass and does what the machine wants done; at the end of each turn, and after each order.
    pub(crate) fn drive(&mut self, io: &mut DataLoop<Parcel>) -> Outcome {
        for (link, socket) in self.dialler.take() {
            self.dialled(io, link, socket);
        }
        for serial in self.disk.take_written() {
            self.machine.get_mut().handle(Input::Persisted(serial));
        }
        let machine = self.machine.get_mut();
        if machine.now.monotonic >= machine.cluster.deadline() {
            machine.handle(Input::Tick);
        }
        self.end_overflown();
        let mut outcome = Outcome::default();
        // What is done may ask for more: a save that is on disk lets claims go, a sibling's link stands at once.
        for _ in 0..ROUNDS_MAX {
            if !self.carry_out(io, &mut outcome) {
                break;
            }
        }
        self.tell_siblings();
        self.outbox.send(&mut io.mail);
        outcome
    }

    /// Whether mail for siblings waits for room.
    pub(crate) fn waits(&self) -> bool {
        self.outbox.waits()
    }

    fn dialled(&mut self, io: &mut DataLoop<Parcel>, link: LinkId, socket: io::Result<OwnedFd>) {
        let input = match socket {
            Ok(socket) => Input::LinkUp { link, peer: self.links.dialled(io, link, socket) },
            Err(error) => {
                self.links.forget(link);
                Input::LinkDown { link, why: end_of(&error) }
            }
        };
        self.machine.get_mut().handle(input);
    }

    /// Does what the machine wants done now; whether that has told it anything new.
    fn carry_out(&mut self, io: &mut DataLoop<Parcel>, outcome: &mut Outcome) -> bool {
        let machine = self.machine.get_mut();
        let mut actions = std::mem::take(&mut machine.actions);
        let mut has_news = self.save(&mut actions);
        self.keep_silent(&mut actions);
        for order in actions.links.drain(..) {
            has_news |= self.link(io, order);
        }
        for (link, range) in actions.sends.drain(..) {
            has_news |= self.send(io, link, &actions.bytes[range]);
        }
        let machine = self.machine.get_mut();
        if actions.view {
            let (topology, myself) = machine.cluster.view(machine.now);
            outcome.seat = Some(Seat { topology: Arc::new(topology), myself });
        }
        outcome.lost.append(&mut actions.lost);
        outcome.role = actions.role.take().or(outcome.role.take());
        outcome.pause = actions.pause.take().or(outcome.pause.take());
        outcome.flush |= std::mem::take(&mut actions.flush);
        for publication in actions.publications.drain(..) {
            let text = |range: std::ops::Range<usize>| actions.bytes[range].to_vec();
            outcome.publications.push((text(publication.channel), text(publication.message), publication.is_sharded));
        }
        self.share(&mut actions);
        actions.log.iter().for_each(|(level, line)| match level {
            Level::Debug => self.log.debug(format_args!("{line}")),
            Level::Verbose => self.log.verbose(format_args!("{line}")),
            Level::Notice => self.log.notice(format_args!("{line}")),
            Level::Warning => self.log.warning(format_args!("{line}")),
        });
        // What came up meanwhile stands in the machine's own; the emptied one goes back if nothing did.
        let wants_save = std::mem::take(&mut actions.save);
        actions.clear();
        let machine = self.machine.get_mut();
        if machine.actions.is_empty() {
            machine.actions = actions;
        }
        machine.actions.save |= wants_save;
        has_news
    }

    /// Saves if it is time to; whether something came to the disk.
    fn save(&mut self, actions: &mut Actions) -> bool {
        let machine = self.machine.get_mut();
        if !actions.save {
            return false;
        }
        // As in Redis a promotion is on disk before a client hears of it.
        let is_promoted = actions.role == Some(RoleChange::Master);
        if std::mem::take(&mut machine.is_order) || is_promoted {
            let save = machine.cluster.save(machine.now);
            self.disk.write_now(&save);
            actions.save = false;
            machine.handle(Input::Persisted(save.serial));
            return true;
        }
        if !self.disk.is_busy() {
            actions.save = false;
            self.disk.write_soon(machine.cluster.save(machine.now));
        }
        false
    }

    fn link(&mut self, io: &mut DataLoop<Parcel>, order: LinkOrder) -> bool {
        match order {
            LinkOrder::Dial(link, Target::Tcp(host, port)) => {
                self.links.dialling(link);
                self.dialler.dial(link, &host, port);
                false
            }
            LinkOrder::Dial(link, Target::Sibling(core)) => {
                self.links.dialled_sibling(link, core);
                self.outbox.open(core, link);
                self.machine.get_mut().handle(Input::LinkUp { link, peer: None });
                true
            }
            LinkOrder::Close(link) => {
                match self.links.way(link) {
                    Some(Way::Dialling) => self.dialler.give_up(link),
                    Some(Way::ToSibling(core)) => self.outbox.close(core, SiblingLink::OfSender(link)),
                    Some(Way::FromSibling(core, theirs)) => self.outbox.close(core, SiblingLink::OfReceiver(theirs)),
                    Some(Way::Tcp(_)) | None => {}
                }
                self.links.close(io, link);
                false
            }
        }
    }

    /// Sends a message; whether that has ended the link.
    fn send(&mut self, io: &mut DataLoop<Parcel>, link: LinkId, frame: &[u8]) -> bool {
        match self.links.way(link) {
            Some(Way::Tcp(_)) if !self.links.send(io, link, frame) => {
                let peer = self.links.peer(link);
                self.log.warning(format_args!(
                    "Freeing outbound cluster link to {peer} after exceeding 'cluster-link-sendbuf-limit'"
                ));
                self.links.close(io, link);
                self.machine.get_mut().handle(Input::LinkOverflown { link });
                true
            }
            Some(Way::ToSibling(core)) => {
                self.outbox.frame(core, SiblingLink::OfSender(link), frame.to_vec());
                false
            }
            Some(Way::FromSibling(core, theirs)) => {
                self.outbox.frame(core, SiblingLink::OfReceiver(theirs), frame.to_vec());
                false
            }
            Some(Way::Tcp(_) | Way::Dialling) | None => false,
        }
    }

    /// Ends the links to siblings on which too much has waited since the last turn.
    fn end_overflown(&mut self) {
        for (core, end) in self.outbox.overflown(self.links.sendbuf_limit) {
            self.outbox.close(core, end);
            let link = match end {
                SiblingLink::OfSender(link) => Some(link),
                SiblingLink::OfReceiver(theirs) => self.links.of_sibling(core, SiblingLink::OfSender(theirs)),
            };
            let Some(link) = link else { continue };
            self.log.warning(format_args!(
                "Freeing cluster link to the node of core {core} after exceeding 'cluster-link-sendbuf-limit'"
            ));
            self.links.forget(link);
            self.machine.get_mut().handle(Input::LinkOverflown { link });
        }
    }

    /// What siblings shall know, too.
    fn share(&mut self, actions: &mut Actions) {
        let machine = self.machine.get_mut();
        let siblings = machine.cluster.siblings().len() as u16;
        let heard: Vec<(NodeId, UnixMillis)> = actions.heard.drain(..).map(|id| (id, machine.now.unix)).collect();
        let host: Option<Host> = actions.host.take();
        for core in (0..siblings).filter(|&core| core != self.core) {
            self.outbox.heard(core, &heard);
            if let Some(host) = &host {
                self.outbox.host(core, host.clone());
            }
        }
    }

    /// After a hard reset we have another name.
    fn tell_siblings(&mut self) {
        let machine = self.machine.get_mut();
        let id = machine.cluster.id();
        if self.told_id.replace(id) == Some(id) {
            return;
        }
        let mut ids = machine.cluster.siblings().to_vec();
        if let Some(own) = ids.get_mut(usize::from(self.core)) {
            *own = id;
            machine.handle(Input::Siblings(&ids));
        }
        for core in (0..ids.len() as u16).filter(|&core| core != self.core) {
            self.outbox.id(core, id);
        }
    }
}

/// Begins to be silent, and says so in the log alone.
fn begin_silence(now: Now, cluster: &Cluster, log: &Log) -> Silence {
    log.warning(format_args!(
        "This node owned slots and had replicas, and comes back without data: it serves nobody until a replica has taken over. With 'cluster-start-empty yes' it would serve its slots without data, and its replicas would lose theirs"
    ));
    Silence::begin(now, cluster)
}

/// What an error of a link says about the node at its other end.
fn end_of(error: &io::Error) -> LinkEnd {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => LinkEnd::Reset,
        io::ErrorKind::ConnectionRefused => LinkEnd::Refused,
        io::ErrorKind::TimedOut => LinkEnd::TimedOut,
        _ => LinkEnd::Other,
    }
}

/// Most links of strangers at once.
const STRANGERS_MAX: usize = 1000;
/// Most rounds of one turn; what is left waits for the next.
const ROUNDS_MAX: usize = 16;

#[cfg(test)]
mod tests;
