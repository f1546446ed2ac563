//! The links of one shard's bus: which way each goes, and the bytes of messages that have not come whole.

use super::siblings::SiblingLink;
use crate::hop::Parcel;
use slotmesh_cluster::Host;
use slotmesh_cluster::machine::LinkId;
use slotmesh_cluster::wire::{BadFrame, frame_length};
use slotmesh_io::{DataLoop, SocketId, tcp};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

/// Longest message of somebody who has not said who he is: a MEET of a node of the greatest cluster is shorter.
const STRANGERS_FRAME_BYTES_MAX: usize = 256 * 1024;
/// Longest message at all: PUBLISH of the longest argument that there is, twice.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Seconds of silence after which the kernel asks whether the other end is there.
const KEEPALIVE_SECONDS: u32 = 15;

/// Which way a link goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Nowhere yet.
    Dialling,
    /// By TCP.
    Tcp(SocketId),
    /// To the shard on that core, dialled by us.
    ToSibling(u16),
    /// From the shard on that core, which names it so.
    FromSibling(u16, LinkId),
}

/// A link by TCP.
#[derive(Debug)]
struct TcpLink {
    link: LinkId,
    socket: SocketId,
    /// Messages that have come, the last one not whole.
    input: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    peer: Option<SocketAddr>,
    /// Bytes that waited to be sent when it was last written to.
    pending: usize,
}

/// Why a link is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Garbled {
    /// What came is no message.
    Frame(BadFrame),
    /// The message is longer than the link may send.
    TooLong(usize),
}

impl fmt::Display for Garbled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Frame(bad) => bad.fmt(f),
            Self::TooLong(length) => write!(f, "A message of {length} bytes, which is too long, on the Cluster bus"),
        }
    }
}

/// The links of one shard.
#[derive(Debug, Default)]
pub(crate) struct Links {
    ways: BTreeMap<LinkId, Way>,
    /// By the place of the socket.
    sockets: Vec<Option<Box<TcpLink>>>,
    siblings: BTreeMap<(u16, LinkId), LinkId>,
    accepted: u64,
    /// `cluster-link-sendbuf-limit`; 0 for none.
    pub(super) sendbuf_limit: u64,
}

impl Links {
    pub(super) fn way(&self, link: LinkId) -> Option<Way> {
        self.ways.get(&link).copied()
    }

    /// The link on a socket.
    #[inline]
    pub(super) fn find(&self, socket: SocketId) -> Option<LinkId> {
        let link = self.sockets.get(socket.index as usize)?.as_deref()?;
        (link.socket == socket).then_some(link.link)
    }

    /// Takes a connection that somebody has made; its name, and both its ends.
    pub(super) fn accept(
        &mut self,
        io: &mut DataLoop<Parcel>,
        socket: OwnedFd,
    ) -> (LinkId, Option<Host>, Option<Host>) {
        let link = self.name();
        let (peer, local) = self.adopt(io, link, socket);
        (link, peer.map(host), local.map(host))
    }

    /// A dial has come through; where to.
    pub(super) fn dialled(&mut self, io: &mut DataLoop<Parcel>, link: LinkId, socket: OwnedFd) -> Option<Host> {
        let (peer, _) = self.adopt(io, link, socket);
        peer.map(host)
    }

    pub(super) fn dialling(&mut self, link: LinkId) {
        self.ways.insert(link, Way::Dialling);
    }

    pub(super) fn dialled_sibling(&mut self, link: LinkId, core: u16) {
        self.ways.insert(link, Way::ToSibling(core));
    }

    pub(super) fn accept_sibling(&mut self, core: u16, theirs: LinkId) -> LinkId {
        let link = self.name();
        self.ways.insert(link, Way::FromSibling(core, theirs));
        self.siblings.insert((core, theirs), link);
        link
    }

    /// Our name of a link that a letter from this core speaks of.
    pub(super) fn of_sibling(&self, core: u16, link: SiblingLink) -> Option<LinkId> {
        match link {
            SiblingLink::OfSender(theirs) => self.siblings.get(&(core, theirs)).copied(),
            SiblingLink::OfReceiver(ours) => (self.way(ours) == Some(Way::ToSibling(core))).then_some(ours),
        }
    }

    fn name(&mut self) -> LinkId {
        self.accepted += 1;
        LinkId::accepted(self.accepted)
    }

    fn adopt(
        &mut self,
        io: &mut DataLoop<Parcel>,
        link: LinkId,
        socket: OwnedFd,
    ) -> (Option<SocketAddr>, Option<SocketAddr>) {
        let _ = tcp::set_nodelay(socket.as_fd());
        let _ = tcp::set_keepalive(socket.as_fd(), KEEPALIVE_SECONDS);
        let (peer, local) = tcp::addresses(socket.as_fd()).ok().unzip();
        let socket = io.sockets.adopt_link(socket);
        self.ways.insert(link, Way::Tcp(socket));
        let place = socket.index as usize;
        if self.sockets.len() <= place {
            self.sockets.resize_with(place + 1, || None);
        }
        self.sockets[place] = Some(Box::new(TcpLink { link, socket, input: Vec::new(), taken: 0, peer, pending: 0 }));
        (peer, local)
    }

    /// The other end of a link by TCP, for the log.
    pub(super) fn peer(&self, link: LinkId) -> String {
        let peer = self.tcp(link).and_then(|link| link.peer);
        peer.map_or_else(|| "a node".to_owned(), |peer| peer.to_string())
    }

    fn tcp(&self, link: LinkId) -> Option<&TcpLink> {
        match self.ways.get(&link)? {
            Way::Tcp(socket) => self.sockets.get(socket.index as usize)?.as_deref(),
            _ => None,
        }
    }

    /// Takes bytes that have come. A message gets its room as its bytes come, never for what it says that will come.
    pub(super) fn append(&mut self, socket: SocketId, bytes: &[u8]) {
        if let Some(link) = self.sockets.get_mut(socket.index as usize).and_then(Option::as_deref_mut) {
            link.input.extend_from_slice(bytes);
        }
    }

    /// The next message, if it is whole. Whether the link is trusted may change with each of them: who has just said who
    /// he is may have sent a long one right behind.
    pub(super) fn next_frame(&mut self, socket: SocketId, is_trusted: bool) -> Result<Option<Vec<u8>>, Garbled> {
        let Some(link) = self.sockets.get_mut(socket.index as usize).and_then(Option::as_deref_mut) else {
            return Ok(None);
        };
        let rest = &link.input[link.taken..];
        if let Some(length) = frame_length(rest).map_err(Garbled::Frame)? {
            if length > if is_trusted { FRAME_BYTES_MAX } else { STRANGERS_FRAME_BYTES_MAX } {
                return Err(Garbled::TooLong(length));
            }
            if let Some(frame) = rest.get(..length) {
                let frame = frame.to_vec();
                link.taken += length;
                return Ok(Some(frame));
            }
        }
        link.input.drain(..std::mem::take(&mut link.taken));
        if link.input.is_empty() {
            link.input = Vec::new();
        }
        Ok(None)
    }

    /// Sends on a link by TCP; whether its queue is still within the limit.
    pub(super) fn send(&mut self, io: &mut DataLoop<Parcel>, link: LinkId, frame: &[u8]) -> bool {
        let Some(Way::Tcp(socket)) = self.way(link) else { return true };
        if let Some(output) = io.sockets.output(socket) {
            output.extend_from_slice(frame);
            io.sockets.commit(socket);
        }
        let pending = io.sockets.pending_bytes(socket);
        if let Some(link) = self.sockets[socket.index as usize].as_deref_mut() {
            link.pending = pending;
        }
        self.sendbuf_limit == 0 || pending as u64 <= self.sendbuf_limit
    }

    /// Bytes that waited on a link when it was last written to, and bytes of room for them.
    pub(super) fn buffer(&self, link: LinkId) -> (usize, usize) {
        self.tcp(link).map_or((0, 0), |link| (link.pending, link.pending))
    }

    /// Closes a link at once.
    pub(super) fn close(&mut self, io: &mut DataLoop<Parcel>, link: LinkId) {
        if let Some(Way::Tcp(socket)) = self.way(link) {
            io.sockets.close(socket);
        }
        self.forget(link);
    }

    /// A link is no more.
    pub(super) fn forget(&mut self, link: LinkId) {
        match self.ways.remove(&link) {
            Some(Way::Tcp(socket)) => self.sockets[socket.index as usize] = None,
            Some(Way::FromSibling(core, theirs)) => _ = self.siblings.remove(&(core, theirs)),
            Some(Way::Dialling | Way::ToSibling(_)) | None => {}
        }
    }
}

/// An address as the machine knows it: IPv4 as such, however it came.
fn host(address: SocketAddr) -> Host {
    let ip: IpAddr = address.ip().to_canonical();
    ip.into()
}
