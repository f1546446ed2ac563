//! Peers of the node under test: who they are, and what they say.

use slotmesh_base::Slot;
use slotmesh_cluster::machine::LinkId;
use slotmesh_cluster::wire::{self, Extension, GossipEntry, Header, Heartbeat, MessageFlags, NodeFlags};
use slotmesh_cluster::{Host, NodeId, SlotSet};

/// The id of a name.
pub(crate) fn id(name: char) -> NodeId {
    NodeId::parse(&[name.to_ascii_lowercase() as u8; NodeId::LEN]).expect("names are letters")
}

/// The name of an id; ids that chance has made are `?`.
pub(crate) fn name(id: &NodeId) -> char {
    let first = id.as_bytes()[0];
    let is_name = id.as_bytes().iter().all(|&byte| byte == first);
    if is_name { (first as char).to_ascii_uppercase() } else { '?' }
}

/// `0-5,7`.
pub(crate) fn slots(text: &str) -> Result<Vec<Slot>, String> {
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text}: no slot"));
    let mut found = Vec::new();
    for run in text.split(',').filter(|run| *run != "none") {
        let (first, last) = run.split_once('-').unwrap_or((run, run));
        found.extend((number(first)?..=number(last)?).filter_map(Slot::new));
    }
    Ok(found)
}

pub(crate) fn slot_set(text: &str) -> Result<SlotSet, String> {
    let mut set = SlotSet::default();
    slots(text)?.into_iter().for_each(|slot| _ = set.insert(slot));
    Ok(set)
}

/// `0-5,7`, or `none`.
pub(crate) fn show(set: &SlotSet) -> String {
    let runs = set.ranges().map(|(a, b)| if a == b { a.to_string() } else { format!("{a}-{b}") });
    let text = runs.collect::<Vec<_>>().join(",");
    if text.is_empty() { "none".into() } else { text }
}

/// `fail?+master`.
pub(crate) fn flags(text: &str) -> Result<NodeFlags, String> {
    text.split('+').try_fold(NodeFlags::empty(), |flags, word| {
        Ok(flags
            | match word {
                "master" => NodeFlags::MASTER,
                "slave" => NodeFlags::REPLICA,
                "fail?" => NodeFlags::PFAIL,
                "fail" => NodeFlags::FAIL,
                "noaddr" => NodeFlags::NO_ADDRESS,
                "handshake" => NodeFlags::HANDSHAKE,
                "nofailover" => NodeFlags::NO_FAILOVER,
                word => return Err(format!("{word}: no flag")),
            })
    })
}

/// A peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) name: char,
    pub(crate) host: Host,
    pub(crate) port: u16,
    pub(crate) epoch: u64,
    pub(crate) current: u64,
    pub(crate) offset: u64,
    /// Whether it is of our kind.
    pub(crate) is_kin: bool,
    pub(crate) claims: SlotSet,
    pub(crate) master: Option<char>,
    pub(crate) group: Option<char>,
    pub(crate) flags: NodeFlags,
    pub(crate) hostname: Option<String>,
    /// Whether its port is open, and whether it answers.
    pub(crate) is_up: bool,
    pub(crate) answers: bool,
    /// The link that we dialled to it, the one that it dialled to us.
    pub(crate) ours: Option<LinkId>,
    pub(crate) theirs: Option<LinkId>,
}

/// What a message holds beside its sender.
#[derive(Default, Debug)]
pub(crate) struct Words {
    pub(crate) gossip: Vec<GossipEntry>,
    pub(crate) forgotten: Vec<(NodeId, u64)>,
    pub(crate) unknown_extension: Option<u16>,
    pub(crate) flags: MessageFlags,
    /// Bytes that are overwritten: where, and with what.
    pub(crate) edits: Vec<(usize, Vec<u8>)>,
    /// Bytes that are appended and counted, or cut off.
    pub(crate) longer: isize,
}

impl Peer {
    pub(crate) fn new(name: char) -> Self {
        let number = name as u8 - b'A' + 1;
        Self {
            name,
            host: Host::parse(format!("10.0.0.{number}").as_bytes()).expect("an address"),
            port: 7000,
            epoch: 0,
            current: 0,
            offset: 0,
            is_kin: false,
            claims: SlotSet::default(),
            master: None,
            group: None,
            flags: NodeFlags::MASTER,
            hostname: None,
            is_up: true,
            answers: true,
            ours: None,
            theirs: None,
        }
    }

    pub(crate) fn bus_port(&self) -> u16 {
        self.port + 10_000
    }

    fn header(&self, words: &Words) -> Header {
        Header {
            sender: id(self.name),
            current_epoch: self.current.max(self.epoch),
            config_epoch: self.epoch,
            offset: self.offset,
            slots: self.claims.clone(),
            master: self.master.map(id),
            host: None,
            port: self.port,
            other_port: 0,
            bus_port: self.bus_port(),
            flags: self.flags,
            is_ok: true,
            message_flags: words.flags,
            kin: u8::from(self.is_kin),
        }
    }

    pub(crate) fn heartbeat(&self, kind: Heartbeat, words: &Words) -> Vec<u8> {
        let mut bytes = Vec::new();
        let extensions = self.hostname.as_deref().map(Extension::Hostname).into_iter();
        let forgotten = words.forgotten.iter().map(|&(id, seconds)| Extension::Forgotten { id, seconds });
        let unknown = words.unknown_extension.map(Extension::Unknown);
        let shard = Extension::ShardId(id(self.master.unwrap_or(self.name)));
        let extensions = extensions.chain(forgotten).chain(unknown).chain([shard]);
        wire::write_heartbeat(&mut bytes, &self.header(words), kind, words.gossip.iter().cloned(), extensions);
        Self::edited(bytes, words)
    }

    pub(crate) fn fail(&self, about: char, words: &Words) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::write_fail(&mut bytes, &self.header(words), &id(about));
        Self::edited(bytes, words)
    }

    /// UPDATE: `about` owns these slots since this epoch.
    pub(crate) fn update(&self, about: char, epoch: u64, claims: &SlotSet) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::write_update(&mut bytes, &self.header(&Words::default()), epoch, &id(about), claims);
        bytes
    }

    pub(crate) fn vote_request(&self, words: &Words) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::write_auth_request(&mut bytes, &self.header(words));
        bytes
    }

    pub(crate) fn vote(&self, words: &Words) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::write_auth_ack(&mut bytes, &self.header(words));
        bytes
    }

    /// It wants to take our place.
    pub(crate) fn manual_failover_start(&self, words: &Words) -> Vec<u8> {
        let mut bytes = Vec::new();
        wire::write_manual_failover_start(&mut bytes, &self.header(words));
        bytes
    }

    pub(crate) fn publication(&self, channel: &str, message: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let header = self.header(&Words::default());
        wire::write_publish(&mut bytes, &header, channel.as_bytes(), message.as_bytes(), false);
        bytes
    }

    fn edited(mut bytes: Vec<u8>, words: &Words) -> Vec<u8> {
        if words.longer != 0 {
            let length = bytes.len().saturating_add_signed(words.longer);
            bytes.resize(length, 0);
            bytes[4..8].copy_from_slice(&(length as u32).to_be_bytes());
        }
        for (at, new) in &words.edits {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        bytes
    }
}
