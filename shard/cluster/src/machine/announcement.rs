//! What we tell others about ourselves: never more than what is on disk.
//!
//! A node that forgot over a crash which slots it claimed, or which epoch it took, could promise the same twice. So the
//! header of our messages knows claims and epochs only once they are saved: also an epoch of which others have told us,
//! since a node that forgot it could take it for its own later.

use super::{Actions, Cluster, Now, Save};
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{Header, MessageFlags, NodeFlags};
use alloc::string::String;
use alloc::vec::Vec;
use slotmesh_base::SlotSet;

/// The version of our own additions to the bus that we speak.
pub(super) const KIN: u8 = 1;

/// What a save holds of what we promise.
#[derive(Debug)]
struct Promise {
    serial: u64,
    is_master: bool,
    slots: SlotSet,
    config_epoch: u64,
    current_epoch: u64,
    last_vote_epoch: u64,
}

/// The header of our messages, and what waits for the disk.
#[derive(Debug)]
pub(super) struct Announcement {
    header: Header,
    serial: u64,
    /// What is on its way to the disk.
    saving: Option<Promise>,
    /// Votes that wait for the disk, with their epochs.
    votes: Vec<(u64, NodeId)>,
    /// All shall be told our claims as soon as a save is on disk that is later than this one.
    news_after: Option<u64>,
    /// Whether we speak as a master. Who has become one goes on to speak as the replica that it was until its promotion
    /// is on disk.
    is_master: bool,
    /// The state of the slots of which the header of a replica tells, and whose they are.
    told_of: Option<(NodeIndex, u64)>,
}

impl Announcement {
    pub(super) fn new(id: NodeId) -> Self {
        let header = Header {
            sender: id,
            current_epoch: 0,
            config_epoch: 0,
            offset: 0,
            slots: SlotSet::default(),
            master: None,
            host: None,
            port: 0,
            other_port: 0,
            bus_port: 0,
            flags: NodeFlags::MASTER,
            is_ok: false,
            message_flags: MessageFlags::empty(),
            kin: KIN,
        };
        Self { header, serial: 0, saving: None, votes: Vec::new(), news_after: None, is_master: true, told_of: None }
    }

    /// The header as it was last refreshed.
    pub(super) fn header(&self) -> &Header {
        &self.header
    }
}

impl Cluster {
    /// The header of a message that leaves now.
    pub(super) fn header(&mut self) -> &Header {
        self.refresh_header();
        self.announcement.header()
    }

    /// Makes the header that of a message that leaves now.
    pub(super) fn refresh_header(&mut self) {
        self.wear_role();
        let pause = self.pause_flag();
        let row = self.table.row(self.myself);
        let header = &mut self.announcement.header;
        header.sender = row.id;
        header.offset = self.replication.offset;
        header.host.clone_from(&self.settings.host);
        (header.port, header.other_port, header.bus_port) = (row.port, row.other_port, row.bus_port);
        header.is_ok = self.state.is_ok();
        header.message_flags = pause;
    }

    /// The header tells our role; a replica tells its master's slots and epoch.
    fn wear_role(&mut self) {
        let row = self.table.row(self.myself);
        let header = &mut self.announcement.header;
        if row.is_master() {
            if self.announcement.is_master {
                (header.master, header.flags) = (None, row.flags);
            }
            return;
        }
        self.announcement.is_master = false;
        header.flags = row.flags;
        header.master = row.master.map(|master| self.table.row(master).id);
        header.config_epoch = self.table.row(row.master.unwrap_or(self.myself)).config_epoch;
        let told_of = row.master.map(|master| (master, self.slots.generation()));
        if told_of != self.announcement.told_of || told_of.is_none() {
            header.slots = row.master.map(|master| self.slots.of(master)).unwrap_or_default();
            self.announcement.told_of = told_of;
        }
    }

    /// All shall be told about us as soon as what we are now is on disk.
    pub(super) fn announce_news(&mut self) {
        self.announcement.news_after = Some(self.announcement.serial);
    }

    /// A header that promises nothing yet.
    pub(super) fn announce_nothing(&mut self) {
        let id = self.id();
        let Announcement { serial, .. } = self.announcement;
        self.announcement = Announcement { serial, ..Announcement::new(id) };
    }

    /// All that we hold is on disk already, since it came from there.
    pub(super) fn announce_all(&mut self) {
        self.announcement.is_master = self.is_master();
        self.announcement.header.slots = self.slots.of(self.myself);
        self.announcement.header.config_epoch = self.table.row(self.myself).config_epoch;
        self.announcement.header.current_epoch = self.current_epoch;
    }

    /// Others have told us of an epoch.
    pub(super) fn learn_epoch(&mut self, epoch: u64) {
        if epoch > self.current_epoch {
            self.current_epoch = epoch;
            self.due.save = true;
        }
    }

    /// A slot is ours no more, or another owner's: nobody hears any longer that we claim it.
    pub(super) fn retract(&mut self, slot: slotmesh_base::Slot) {
        self.announcement.header.slots.remove(slot);
    }

    /// nodes.conf as it shall be now. The driver writes it, with fsync, and answers with
    /// [`Persisted`](super::Input::Persisted); one save at a time, the last one counts.
    pub fn save(&mut self, now: Now) -> Save {
        self.announcement.serial += 1;
        let serial = self.announcement.serial;
        self.announcement.saving = Some(Promise {
            serial,
            is_master: self.is_master(),
            slots: self.slots.of(self.myself),
            config_epoch: self.table.row(self.myself).config_epoch,
            current_epoch: self.current_epoch,
            last_vote_epoch: self.last_vote_epoch,
        });
        let mut text = String::new();
        crate::nodes_conf::write(&mut text, &self.saved(now));
        Save { serial, text }
    }

    pub(super) fn persisted(&mut self, now: Now, serial: u64, actions: &mut Actions) {
        let Some(promise) = self.announcement.saving.take_if(|promise| promise.serial == serial) else { return };
        if promise.is_master && self.is_master() {
            let mut slots = promise.slots;
            let myself = self.myself;
            let gone: Vec<_> = slots.iter().filter(|&slot| self.slots.owner(slot) != Some(myself)).collect();
            gone.into_iter().for_each(|slot| _ = slots.remove(slot));
            let header = &mut self.announcement.header;
            header.slots = slots;
            header.config_epoch = promise.config_epoch;
            self.announcement.is_master = true;
            self.announcement.told_of = None;
        }
        let header = &mut self.announcement.header;
        header.current_epoch = header.current_epoch.max(promise.current_epoch);
        self.ask_for_votes(now, promise.current_epoch, actions);
        let votes = core::mem::take(&mut self.announcement.votes);
        for (epoch, candidate) in votes {
            if epoch <= promise.last_vote_epoch {
                self.send_vote(epoch, candidate, actions);
            } else {
                self.announcement.votes.push((epoch, candidate));
            }
        }
        if self.announcement.news_after.take_if(|after| *after < serial).is_some() {
            self.broadcast_pong(now, actions);
        }
    }

    /// A vote leaves when it is on disk.
    pub(super) fn promise_vote(&mut self, epoch: u64, candidate: NodeId) {
        self.announcement.votes.push((epoch, candidate));
        self.due.save = true;
    }

    /// The row of a node, if the message is about somebody whom we know.
    pub(super) fn known(&self, id: &NodeId) -> Option<NodeIndex> {
        self.table.find(id)
    }
}
