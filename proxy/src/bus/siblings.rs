//! Links between the shards of a process: messages go by the mailboxes of their cores.

use crate::engine::announce_parcel;
use crate::hop::{self, Parcel};
use slotmesh_base::UnixMillis;
use slotmesh_cluster::machine::LinkId;
use slotmesh_cluster::{Host, NodeId};
use slotmesh_io::{Lane, Mail};
use std::collections::VecDeque;

/// What one shard's bus says to another's. Links are named as the one who has dialled them names them.
#[derive(Debug)]
pub(crate) enum SiblingMail {
    /// A link of the sender's to us.
    Open(LinkId),
    /// A message on a link that the sender has dialled.
    ToAccepted(LinkId, Vec<u8>),
    /// A message on a link that the receiver has dialled.
    ToDialled(LinkId, Vec<u8>),
    /// The sender closes a link that it has dialled.
    CloseAccepted(LinkId),
    /// The sender closes a link that the receiver has dialled.
    CloseDialled(LinkId),
    /// Nodes that have answered the sender, and when.
    Heard(Vec<(NodeId, UnixMillis)>),
    /// The address of the host.
    Host(Host),
    /// The sender's name from now on.
    Id(NodeId),
}

/// Mail that has found no room yet. Bounded by what causes it: a heartbeat now and then for each link.
#[derive(Debug, Default)]
pub(crate) struct Outbox(VecDeque<(u16, SiblingMail)>);

impl Outbox {
    pub(super) fn post(&mut self, core: u16, mail: SiblingMail) {
        self.0.push_back((core, mail));
    }

    pub(super) fn waits(&self) -> bool {
        !self.0.is_empty()
    }

    /// Sends what there is room for, in order for each core.
    pub(super) fn send(&mut self, mail: &mut Mail<Parcel>) {
        let announcement = hop::request_len(std::iter::empty());
        let mut stuck: Vec<u16> = Vec::new();
        for _ in 0..self.0.len() {
            let Some((core, letter)) = self.0.pop_front() else { return };
            if stuck.contains(&core) || !mail.has_room(usize::from(core), Lane::Requests, 1, announcement) {
                stuck.push(core);
                self.0.push_back((core, letter));
                continue;
            }
            mail.put_parcel(usize::from(core), Lane::Requests, Parcel::Bus(Box::new(letter)));
            announce_parcel(mail, usize::from(core));
        }
    }
}
