//! What cores say to each other about the stream: its core to those with shards and clients, and they to it.

use super::image_writer::ImageForm;
use super::orders::{Attaching, RoleOrder};
use super::stream::{Gain, StreamWork};
use super::waits::Wanted;
use super::walk::SliceWalk;
use crate::client::Connection;
use crate::engine::{Engine, Hands};
use crate::hop::{ReplyKind, ReturnAddress};
use crate::persistence::{Reload, SaveOrder};
use crate::post::Freight;
use slotmesh_command::ChannelKind;
use slotmesh_io::SocketId;
use slotmesh_keyspace::{SnapshotId, SnapshotWalk};
use slotmesh_replication::FailoverOrder;
use slotmesh_resp::Protocol;
use slotmesh_shard::{Client, Standing, Ticket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// The core that owns the stream of a process that is no part of a cluster.
pub(super) const STREAM_CORE: u16 = 0;

/// A letter about the stream.
#[derive(Debug)]
pub(crate) enum ReplicationMail {
    /// Shards have done something; their numbers.
    Gain(Vec<(u16, u64)>, Gain),
    /// A client wants us to lead or to follow.
    Role(RoleOrder),
    /// A client wants a replica to lead, or not any more.
    FailOver(Option<FailoverOrder>),
    /// A client is a replica: it is to be served where the stream is.
    Adopt(OwnedFd, Box<Client>, Attaching),
    /// A client waits for replicas.
    Wait { back: ReturnAddress, protocol: Protocol, wanted: Wanted, timeout_ms: Option<u64> },
    /// It waits no more; whether it wants to know how many there are.
    EndWait(SocketId, bool),
    /// Clients have said something on channels.
    Said(Vec<Said>),
    /// A slice of a snapshot of the shard is wanted for an image.
    Walk(Walk),
    /// End a snapshot of the shard.
    EndWalk(SnapshotId),
    /// A slice of a snapshot.
    Slice(Slice),
    /// All data are to be reloaded.
    Reload(Reload),
    /// A save was asked for.
    Save(SaveOrder),
    /// The disk has got further.
    Durable,
    /// We follow a master: those of the core's clients that waited for keys on the shards have been told, and those that
    /// waited for several are to be told.
    Changed(Vec<Ticket>),
}

/// A slice of a snapshot that is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walk {
    pub(super) image: u64,
    pub(super) snapshot: SnapshotId,
    pub(super) form: ImageForm,
}

/// A slice of a snapshot that was walked.
#[derive(Debug)]
pub(crate) struct Slice {
    /// The number of its image.
    pub(crate) image: u64,
    pub(crate) bytes: Vec<u8>,
    /// Keys in it.
    pub(crate) keys: u64,
    /// Most bytes that were kept for the snapshot.
    pub(crate) copies_bytes: u64,
    pub(crate) outcome: SnapshotWalk,
}

/// A client on its way to the core of the stream.
#[derive(Debug)]
struct Leaving {
    socket: SocketId,
    client: Box<Client>,
    attaching: Attaching,
}

/// What a core does for a stream, whether it owns it or not.
#[derive(Debug, Default)]
pub(crate) struct StreamErrands {
    /// The master that the configuration names, until it is followed.
    pub(crate) first_master: Option<(String, u16)>,
    /// What transactions want of the stream, to be done when the turn's requests are.
    pub(crate) orders: Vec<(u32, slotmesh_shard::ReplicationOrder)>,
    /// Letters that have come.
    pub(crate) mail: Vec<(u16, Box<ReplicationMail>)>,
    /// Whether our data are a master's, where another core owns the stream.
    pub(crate) is_replica: bool,
    /// Whether somebody wants the stream there.
    is_wanted: bool,
    /// What our clients have said on channels, for the clients of replicas.
    said: Vec<Said>,
    leaving: Vec<Leaving>,
    walks: Vec<SliceWalk>,
    ended: Vec<SnapshotId>,
}

/// A message: kind of channel, channel, text.
type Said = (ChannelKind, Vec<u8>, Vec<u8>);

impl StreamErrands {
    /// A client of a core that does not own the stream says something.
    pub(crate) fn say(&mut self, kind: ChannelKind, channel: &[u8], text: &[u8]) {
        if self.is_wanted {
            self.said.push((kind, channel.to_vec(), text.to_vec()));
        }
    }
}

impl Engine {
    /// Writes to a core.
    pub(crate) fn mail(&mut self, hands: &mut Hands<'_>, core: u16, mail: ReplicationMail) {
        let freight = Freight::Replication(Box::new(mail));
        self.post.send(hands.mail, core, ReplyKind::Stream, ReturnAddress::number(0), freight);
    }

    /// Whether the process has one stream, and another core owns it.
    pub(super) fn stream_is_elsewhere(&self) -> bool {
        self.core != STREAM_CORE && !self.process.is_clustered()
    }

    /// Looks at how the stream of the process stands, if another core owns it.
    #[inline]
    pub(crate) fn refresh_standing(&mut self) {
        if self.stream_is_elsewhere() {
            (self.standing, self.errands.is_replica, self.errands.is_wanted) = self.process.stream.standing();
        } else if self.replication.is_none() {
            // A core without a node serves the shards of the others.
            self.standing = Standing::LOADING.when(self.process.disk.is_loading());
        }
    }

    /// Reads the letters about the stream that have come.
    pub(crate) fn read_replication_mail(&mut self, hands: &mut Hands<'_>) {
        for (from, mail) in std::mem::take(&mut self.errands.mail) {
            match *mail {
                ReplicationMail::Gain(places, gain) => {
                    if let Some(replication) = &mut self.replication {
                        replication.sequence.add(places, gain);
                    }
                    self.settle_stream(hands);
                }
                ReplicationMail::Role(order) => self.begin_role(hands, order),
                ReplicationMail::FailOver(order) => self.order_failover(hands, order),
                ReplicationMail::Adopt(socket, client, attaching) => {
                    self.adopt_replica(hands, socket, *client, attaching);
                }
                ReplicationMail::Wait { back, protocol, wanted, timeout_ms } => {
                    self.wait_for_other((from, back, protocol), wanted, timeout_ms);
                }
                ReplicationMail::EndWait(socket, wants_count) => {
                    self.end_wait_of_other(hands, from, socket, wants_count)
                }
                ReplicationMail::Said(said) => {
                    if let Some(replication) = &mut self.replication {
                        said.iter().for_each(|(kind, channel, text)| replication.say(*kind, channel, text));
                    }
                }
                ReplicationMail::Walk(order) => SliceWalk::order(&mut self.errands.walks, order),
                ReplicationMail::EndWalk(snapshot) => self.errands.ended.push(snapshot),
                ReplicationMail::Slice(slice) => {
                    let Some(mut replication) = self.replication.take() else { continue };
                    let is_taken = replication.take_slice(self, hands, from, &slice);
                    self.replication = Some(replication);
                    if !is_taken {
                        self.take_slice_for_file(from, &slice);
                    }
                }
                ReplicationMail::Reload(reload) => self.begin_stream_work(hands, StreamWork::Reload(reload)),
                ReplicationMail::Save(order) => self.take_save_order(order),
                // The turn goes on to what waited for it.
                ReplicationMail::Durable => {}
                ReplicationMail::Changed(tickets) => self.expel_waiting(hands, &tickets),
            }
        }
    }

    /// What a core does in each turn for a stream that another core owns.
    pub(super) fn serve_stream(&mut self, hands: &mut Hands<'_>) {
        while let Some((socket, descriptor)) = hands.sockets.handed_out() {
            let place = self.errands.leaving.iter().position(|leaving| leaving.socket == socket);
            let Some(place) = place else { continue };
            let Leaving { client, attaching, .. } = self.errands.leaving.swap_remove(place);
            self.mail(hands, STREAM_CORE, ReplicationMail::Adopt(descriptor, client, attaching));
        }
        if let Some(gain) = self.take_own_gain() {
            let (places, gain) = gain;
            self.mail(hands, STREAM_CORE, ReplicationMail::Gain(places, gain));
        }
        if !self.errands.said.is_empty() {
            let said = std::mem::take(&mut self.errands.said);
            self.mail(hands, STREAM_CORE, ReplicationMail::Said(said));
        }
        self.walk_for_stream(hands);
    }

    /// Walks snapshots of our shard for the core of the stream, as soon as it is at home.
    pub(crate) fn walk_for_stream(&mut self, hands: &mut Hands<'_>) {
        if self.errands.walks.is_empty() && self.errands.ended.is_empty() {
            return;
        }
        let Self { lending, errands, walk_time, .. } = self;
        let Some(shard) = lending.home() else { return };
        for snapshot in errands.ended.drain(..) {
            shard.end_snapshot(snapshot);
            errands.walks.retain(|walk| walk.snapshot != snapshot);
        }
        let mut slices = Vec::new();
        errands.walks.retain_mut(|walk| walk.go_on(shard, walk_time, &mut slices));
        for slice in slices {
            self.mail(hands, STREAM_CORE, ReplicationMail::Slice(slice));
        }
    }

    /// Whether the core of the stream waits for slices that could be walked at once.
    pub(crate) fn owes_slices(&mut self) -> bool {
        self.errands.walks.iter().any(SliceWalk::is_wanted) && self.lending.home().is_some()
    }

    /// Ends a snapshot of a shard of our stream.
    pub(crate) fn end_walk(&mut self, hands: &mut Hands<'_>, core: u16, snapshot: SnapshotId) {
        if core == self.core {
            self.errands.ended.push(snapshot);
        } else {
            self.mail(hands, core, ReplicationMail::EndWalk(snapshot));
        }
    }

    /// Sends a client that asks for the stream to the core that owns it.
    pub(super) fn send_to_stream(&mut self, hands: &mut Hands<'_>, index: u32, attaching: Attaching) {
        self.leave_shards(hands, index);
        self.leave_channels(index);
        self.forget_postponed(index);
        let Some(connection) = self.connections[index as usize].take() else { return };
        let Connection { socket, client, .. } = *connection;
        hands.sockets.hand_out(socket);
        self.errands.leaving.push(Leaving { socket, client: Box::new(client), attaching });
    }

    /// Serves a client that another core has sent.
    fn adopt_replica(&mut self, hands: &mut Hands<'_>, socket: OwnedFd, client: Client, attaching: Attaching) {
        let mut client = client;
        client.fd = socket.as_raw_fd();
        self.process.boards[usize::from(self.core)].clients.fetch_add(1, Ordering::Relaxed);
        let id = hands.sockets.adopt(socket);
        self.adopt(id, Connection::new(id, client));
        self.attach_replica(hands, id.index, attaching.request, attaching.is_old);
    }

    /// Whether our shard has done something that the stream does not know.
    pub(crate) fn owes_effects(&mut self) -> bool {
        self.lending.home().is_some_and(|shard| shard.effects_mut().has_gained())
    }
}
