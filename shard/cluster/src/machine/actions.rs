//! What the machine wants done.

use super::links::LinkId;
use crate::host::Host;
use crate::node::NodeId;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use slotmesh_base::{Monotonic, Slot};

/// Where a link shall lead.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// To the bus port of a node.
    Tcp(Host, u16),
    /// To the shard of our process with this index.
    Sibling(u16),
}

/// A change of the links.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LinkOrder {
    /// Dial; the answer is [`LinkUp`](super::Input::LinkUp) or [`LinkDown`](super::Input::LinkDown).
    Dial(LinkId, Target),
    /// Close, without an answer.
    Close(LinkId),
}

/// How much a line of the log matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// Good to know.
    Verbose,
    /// The operator wants to know.
    Notice,
    /// The operator has to know.
    Warning,
}

/// What shall be on disk: see [`Cluster::save`](super::Cluster::save).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Save {
    /// Number for [`Persisted`](super::Input::Persisted).
    pub serial: u64,
    /// The whole file.
    pub text: String,
}

/// A message of PUBLISH or SPUBLISH for the clients of this node; the ranges are of [`Actions::bytes`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publication {
    /// The channel.
    pub channel: Range<usize>,
    /// The message.
    pub message: Range<usize>,
    /// Whether it is of SPUBLISH.
    pub is_sharded: bool,
}

/// What the node is from now on, as its replication has to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoleChange {
    /// A master: it follows nobody.
    Master,
    /// The replica of this master; also if the same master lives elsewhere now.
    Replica {
        /// Who.
        master: NodeId,
        /// Where it lives.
        host: Host,
        /// Its port for clients.
        port: u16,
    },
}

/// Whether clients may write while a replica catches up, to take over from us (Redis: `PAUSE_DURING_FAILOVER`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PauseOrder {
    /// They wait until then, at the latest. When nothing is written any more, the driver says
    /// [`Paused`](super::Input::Paused).
    Begin {
        /// The end, if no order says so before.
        until: Monotonic,
    },
    /// They wait no more.
    End,
}

/// What is to be done, in the order of the fields. The driver empties it with [`Actions::clear`] and hands it in again.
#[derive(Default, Debug)]
pub struct Actions {
    /// nodes.conf has changed: [`Cluster::save`](super::Cluster::save) gives its text.
    pub save: bool,
    /// Links to dial and to close, in this order, before anything is sent.
    pub links: Vec<LinkOrder>,
    /// Messages: on which link, and their places in `bytes`. One place may go to many links.
    pub sends: Vec<(LinkId, Range<usize>)>,
    /// What clients are told has changed: [`Cluster::view`](super::Cluster::view) gives it anew.
    pub view: bool,
    /// Slots that another node has taken from us: their keys are to go.
    pub lost: Vec<Slot>,
    /// The node's role has changed. A promotion is to be on disk before anything else happens: `save` is set, too.
    pub role: Option<RoleChange>,
    /// All keys are to go (CLUSTER RESET of a replica).
    pub flush: bool,
    /// Writes of clients are to wait, or may go on.
    pub pause: Option<PauseOrder>,
    /// Messages for our clients.
    pub publications: Vec<Publication>,
    /// Nodes that have just answered us, for [`SiblingHeard`](super::Input::SiblingHeard) at our siblings.
    pub heard: Vec<NodeId>,
    /// Our host's address, newly learnt, for [`SiblingHost`](super::Input::SiblingHost) at our siblings.
    pub host: Option<Host>,
    /// Lines for the log.
    pub log: Vec<(Level, String)>,
    /// Bytes of `sends` and `publications`.
    pub bytes: Vec<u8>,
}

impl Actions {
    /// Nothing to do any more; memory is kept.
    pub fn clear(&mut self) {
        let Self { save, links, sends, view, lost, role, flush, pause, publications, heard, host, log, bytes } = self;
        (*save, *view, *flush) = (false, false, false);
        (*role, *pause, *host) = (None, None, None);
        links.clear();
        sends.clear();
        lost.clear();
        publications.clear();
        heard.clear();
        log.clear();
        bytes.clear();
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        let Self { save, links, sends, view, lost, role, flush, pause, publications, heard, host, log, bytes } = self;
        !save
            && !view
            && !flush
            && role.is_none()
            && pause.is_none()
            && host.is_none()
            && links.is_empty()
            && sends.is_empty()
            && lost.is_empty()
            && publications.is_empty()
            && heard.is_empty()
            && log.is_empty()
            && bytes.is_empty()
    }

    pub(super) fn log(&mut self, level: Level, words: fmt::Arguments<'_>) {
        self.log.push((level, alloc::fmt::format(words)));
    }

    /// Writes a message; where it lies.
    pub(super) fn message(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let start = self.bytes.len();
        write(&mut self.bytes);
        start..self.bytes.len()
    }
}
