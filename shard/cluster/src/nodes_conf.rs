//! nodes.conf: what a node remembers of its cluster over a restart.
//!
//! Reads what Redis 7.0, 7.2 and valkey 8 write, writes what 7.2 writes (`cluster.c` `clusterLoadConfig`,
//! `clusterGenNodeDescription`).

use crate::BUS_PORT_DISTANCE;
use crate::host::Host;
use crate::node::{NodeId, put};
use crate::wire::{NodeFlags, is_hostname, is_nodename};
use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use slotmesh_base::{Slot, UnixMillis};

/// How much of a bad line an error shows.
const SHOWN: usize = 100;

/// A line: a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SavedNode {
    /// Its name.
    pub id: NodeId,
    /// Where it lives.
    pub host: Option<Host>,
    /// Its port for clients.
    pub port: u16,
    /// Its port of the bus.
    pub bus_port: u16,
    /// Its port for clients of the other kind (TLS or not); 0 if there is none.
    pub other_port: u16,
    /// `cluster-announce-hostname`.
    pub hostname: Option<Box<str>>,
    /// `cluster-announce-human-nodename`.
    pub nodename: Option<Box<str>>,
    /// The name of its group; Redis 7.0 knows none.
    pub shard_id: Option<NodeId>,
    /// Its flags.
    pub flags: NodeFlags,
    /// The master of a replica.
    pub master: Option<NodeId>,
    /// When a PING went out that is still unanswered; 0 if none.
    pub ping_sent: UnixMillis,
    /// When it last answered.
    pub pong_received: UnixMillis,
    /// The epoch of its claims.
    pub config_epoch: u64,
    /// Whether our link to it stands.
    pub is_connected: bool,
    /// Runs of its slots, ascending.
    pub slots: Vec<(u16, u16)>,
    /// Slots on their way to others, and to whom.
    pub migrating: Vec<(Slot, NodeId)>,
    /// Slots on their way from others, and from whom.
    pub importing: Vec<(Slot, NodeId)>,
}

/// A whole file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SavedCluster {
    /// All nodes; exactly one is `myself`.
    pub nodes: Vec<SavedNode>,
    /// The greatest epoch that was known.
    pub current_epoch: u64,
    /// The epoch of the last vote that was given.
    pub last_vote_epoch: u64,
}

/// Why a file is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadNodesConf {
    /// Number of the line, from 1; 0 if it is about the whole file.
    pub line: usize,
    /// Its beginning.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl fmt::Display for BadNodesConf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(self.why),
            line => write!(f, "line {line}: {}: \"{}\"", self.why, self.text),
        }
    }
}

impl core::error::Error for BadNodesConf {}

/// Reads a file.
///
/// # Errors
/// Which line is wrong, and why.
pub fn parse(text: &[u8]) -> Result<SavedCluster, BadNodesConf> {
    let mut cluster = SavedCluster::default();
    let (mut ids, mut has_myself) = (BTreeSet::new(), false);
    let whole = |why| BadNodesConf { line: 0, text: String::new(), why };
    for (number, line) in (1..).zip(text.split_inclusive(|&byte| byte == b'\n')) {
        let bad = |why| {
            let shown = String::from_utf8_lossy(&line[..line.len().min(SHOWN)]).trim_end().escape_debug().to_string();
            BadNodesConf { line: number, text: shown, why }
        };
        // Half a number is a number too; a line that was cut could make us forget a vote.
        let line = line.strip_suffix(b"\n").ok_or_else(|| bad("the line has no end, the file was cut"))?;
        let line = core::str::from_utf8(line).map_err(|_| bad("not text"))?;
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        match fields.as_slice() {
            [] => {}
            ["vars", vars @ ..] => read_vars(&mut cluster, vars).map_err(bad)?,
            fields => {
                let node = read_node(fields).map_err(bad)?;
                let is_myself = node.flags.contains(NodeFlags::MYSELF);
                if is_myself && core::mem::replace(&mut has_myself, true) {
                    return Err(bad("a second node with the flag myself"));
                }
                if !ids.insert(node.id) {
                    return Err(bad("a second line about this node"));
                }
                cluster.nodes.push(node);
            }
        }
    }
    if !has_myself {
        return Err(whole("no node has the flag myself"));
    }
    Ok(cluster)
}

fn read_vars(cluster: &mut SavedCluster, vars: &[&str]) -> Result<(), &'static str> {
    if !vars.len().is_multiple_of(2) {
        return Err("a variable without a value");
    }
    for pair in vars.chunks_exact(2) {
        let value = pair[1].parse().map_err(|_| "a variable that is no number");
        match pair[0] {
            "currentEpoch" => cluster.current_epoch = value?,
            "lastVoteEpoch" => cluster.last_vote_epoch = value?,
            // As Redis: what a later version writes is passed over.
            _ => {}
        }
    }
    Ok(())
}

fn read_node(fields: &[&str]) -> Result<SavedNode, &'static str> {
    let [id, address, flags, master, ping, pong, epoch, link, slots @ ..] = fields else {
        return Err("fewer than 8 fields");
    };
    let number = |text: &str| text.parse::<i64>().map(UnixMillis).map_err(|_| "a time that is no number");
    let mut node = SavedNode {
        id: NodeId::parse(id.as_bytes()).ok_or("a node id that is none")?,
        host: None,
        port: 0,
        bus_port: 0,
        other_port: 0,
        hostname: None,
        nodename: None,
        shard_id: None,
        flags: read_flags(flags)?,
        master: match *master {
            "-" => None,
            id => Some(NodeId::parse(id.as_bytes()).ok_or("the id of a master that is none")?),
        },
        ping_sent: number(ping)?,
        pong_received: number(pong)?,
        config_epoch: epoch.parse().map_err(|_| "an epoch that is no number")?,
        is_connected: *link == "connected",
        slots: Vec::new(),
        migrating: Vec::new(),
        importing: Vec::new(),
    };
    read_address(&mut node, address)?;
    slots.iter().try_for_each(|text| read_slots(&mut node, text))?;
    Ok(node)
}

fn read_flags(text: &str) -> Result<NodeFlags, &'static str> {
    let mut flags = NodeFlags::empty();
    for word in text.split(',') {
        flags |= match word {
            "noflags" => NodeFlags::empty(),
            "primary" => NodeFlags::MASTER,
            "replica" => NodeFlags::REPLICA,
            word => NodeFlags::WORDS
                .iter()
                .find(|&&(_, known)| known == word)
                .map(|&(flag, _)| flag)
                .ok_or("unknown flag")?,
        };
    }
    Ok(flags)
}

/// `ip:port[@bus-port][,hostname[,key=value…]]`.
fn read_address(node: &mut SavedNode, text: &str) -> Result<(), &'static str> {
    let mut parts = text.split(',');
    let address = parts.next().unwrap_or_default();
    let (host, ports) = address.rsplit_once(':').ok_or("an address without a port")?;
    if !host.is_empty() {
        node.host = Some(Host::parse(host.as_bytes()).ok_or("a host that is none")?);
    }
    let port = |text: &str| text.parse::<u16>().map_err(|_| "a port that is none");
    (node.port, node.bus_port) = match ports.split_once('@') {
        Some((client, bus)) => (port(client)?, port(bus)?),
        None => (port(ports)?, port(ports)?.saturating_add(BUS_PORT_DISTANCE)),
    };
    match parts.next() {
        None | Some("") => {}
        Some(name) if is_hostname(name) => node.hostname = Some(name.into()),
        Some(_) => return Err("a hostname that is none"),
    }
    for part in parts {
        let (key, value) = part.split_once('=').ok_or("an auxiliary field without a value")?;
        match key {
            "tls-port" | "tcp-port" => node.other_port = port(value)?,
            "nodename" if is_nodename(value) => node.nodename = Some(value.into()),
            "shard-id" => node.shard_id = Some(NodeId::parse(value.as_bytes()).ok_or("a shard id that is none")?),
            "client-ipv4" | "client-ipv6" => {}
            _ => return Err("an unknown or bad auxiliary field"),
        }
    }
    Ok(())
}

/// `a`, `a-b`, `[a->-id]` or `[a-<-id]`.
fn read_slots(node: &mut SavedNode, text: &str) -> Result<(), &'static str> {
    const WRONG: &str = "a slot that is none";
    let slot = |text: &str| text.parse().ok().and_then(Slot::new).ok_or(WRONG);
    if let Some(open) = text.strip_prefix('[') {
        let open = open.strip_suffix(']').ok_or(WRONG)?;
        let (slots, from, to) = match (open.split_once("->-"), open.split_once("-<-")) {
            (Some((from, to)), _) => (&mut node.migrating, from, to),
            (None, Some((from, to))) => (&mut node.importing, from, to),
            (None, None) => return Err(WRONG),
        };
        slots.push((slot(from)?, NodeId::parse(to.as_bytes()).ok_or("an open slot with an id that is none")?));
        return Ok(());
    }
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (slot(first)?, slot(last)?);
    if first > last {
        return Err("a run of slots that ends before it begins");
    }
    node.slots.push((first.number(), last.number()));
    Ok(())
}

/// Who reads a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LineStyle {
    /// nodes.conf.
    File,
    /// CLUSTER NODES and CLUSTER REPLICAS: no auxiliary fields.
    Command,
}

/// Prints a file.
pub fn write(out: &mut String, cluster: &SavedCluster) {
    for node in &cluster.nodes {
        write_line(out, node, LineStyle::File);
        out.push('\n');
    }
    let SavedCluster { current_epoch, last_vote_epoch, .. } = cluster;
    put(out, format_args!("vars currentEpoch {current_epoch} lastVoteEpoch {last_vote_epoch}\n"));
}

/// Prints a line, without its end.
pub fn write_line(out: &mut String, node: &SavedNode, style: LineStyle) {
    put(out, format_args!("{} ", node.id));
    if let Some(host) = &node.host {
        put(out, format_args!("{host}"));
    }
    put(out, format_args!(":{}@{}", node.port, node.bus_port));
    match (style, &node.hostname) {
        (_, Some(hostname)) => put(out, format_args!(",{hostname}")),
        (LineStyle::File, None) => out.push(','),
        (LineStyle::Command, None) => {}
    }
    if style == LineStyle::File {
        put(out, format_args!(",tls-port={}", node.other_port));
        if let Some(nodename) = &node.nodename {
            put(out, format_args!(",nodename={nodename}"));
        }
        if let Some(shard_id) = &node.shard_id {
            put(out, format_args!(",shard-id={shard_id}"));
        }
    }
    put(out, format_args!(" {} ", node.flags));
    match &node.master {
        Some(master) => put(out, format_args!("{master}")),
        None => out.push('-'),
    }
    let link = if node.is_connected { "connected" } else { "disconnected" };
    put(out, format_args!(" {} {} {} {link}", node.ping_sent.0, node.pong_received.0, node.config_epoch));
    for &(first, last) in &node.slots {
        match first == last {
            true => put(out, format_args!(" {first}")),
            false => put(out, format_args!(" {first}-{last}")),
        }
    }
    // In the order of the slots; both lists have it.
    let (mut migrating, mut importing) = (node.migrating.iter().peekable(), node.importing.iter().peekable());
    loop {
        let leaves = match (migrating.peek(), importing.peek()) {
            (None, None) => break,
            (Some((leaving, _)), Some((coming, _))) => leaving <= coming,
            (next, _) => next.is_some(),
        };
        let (open, arrow) = if leaves { (migrating.next(), "->-") } else { (importing.next(), "-<-") };
        let Some((slot, other)) = open else { break };
        put(out, format_args!(" [{slot}{arrow}{other}]"));
    }
}
