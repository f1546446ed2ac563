//! Messages that come and go: who speaks, what he says about himself.

use super::links::LinkId;
use super::{Actions, Cluster, Level, Now, Publication};
use crate::host::Host;
use crate::node::NodeId;
use crate::topology::NodeIndex;
use crate::wire::{self, Extension, Extensions, Header, Heartbeat, Message, MessageKind, NodeFlags, Payload};
use alloc::vec::Vec;
use core::ops::Range;
use slotmesh_base::UnixMillis;

/// Most strangers that may be in a handshake with us at once; each is a row and a dial, at anybody's bidding.
const MOST_HANDSHAKES: usize = 1024;

/// Most names that are kept away at once: each rides in every heartbeat.
const MOST_FORGOTTEN: usize = 256;

/// How long gossip of others may keep a node away that they forgot, in seconds at most.
const LONGEST_FORGETTING_S: u64 = 24 * 60 * 60;

impl Cluster {
    pub(super) fn frame(&mut self, now: Now, link: LinkId, frame: &[u8], actions: &mut Actions) {
        if self.links.outbound(link).is_none() && self.links.inbound(link).is_none() {
            return;
        }
        if let Some(kind) = wire::kind(frame) {
            self.counters.received[kind as usize] += 1;
        }
        match wire::decode(frame) {
            Ok(message) => self.message(now, link, message, actions),
            Err(bad) => {
                self.counters.dropped += 1;
                actions.log(Level::Warning, format_args!("{bad}"));
            }
        }
    }

    fn message(&mut self, now: Now, link: LinkId, message: Message<'_>, actions: &mut Actions) {
        let Message { header, payload } = message;
        let sender = self.table.find(&header.sender);
        if let Some(sender) = sender {
            self.hear(now, sender, link, &header, actions);
        }
        match payload {
            Payload::Heartbeat { kind, gossip, extensions } => {
                let Some(sender) = self.greet(now, link, kind, &header, actions) else { return };
                let Some(sender) = sender else { return };
                self.learn_role(sender, &header, actions);
                self.learn_claims(sender, &header, actions);
                self.solve_collision(sender, &header, actions);
                self.learn_gossip(now, sender, gossip, actions);
                // Gossip may have made room by nothing; the sender is still there.
                self.learn_extensions(now, sender, extensions, actions);
            }
            Payload::Fail(id) => self.learn_failure(now, sender, &id, actions),
            Payload::Update { config_epoch, id, slots } => {
                self.learn_update(sender, config_epoch, &id, &slots, actions);
            }
            Payload::Publish { channel, message, is_sharded } if sender.is_some() => {
                let channel = actions.message(|out| out.extend_from_slice(channel));
                let message = actions.message(|out| out.extend_from_slice(message));
                actions.publications.push(Publication { channel, message, is_sharded });
            }
            Payload::AuthRequest => self.consider_vote(now, sender, &header, actions),
            Payload::Unknown(kind) => {
                actions.log(Level::Warning, format_args!("Received unknown packet type: {kind}"));
            }
            Payload::AuthAck => self.count_vote(now, sender, &header, actions),
            Payload::ManualFailoverStart => self.give_way(now, sender, &header, actions),
            Payload::Publish { .. } | Payload::Module => {}
        }
    }

    /// What any message of a node that we know tells.
    fn hear(&mut self, now: Now, sender: NodeIndex, link: LinkId, header: &Header, actions: &mut Actions) {
        self.bind(link, sender, actions);
        let row = self.table.row_mut(sender);
        row.data_received = now.ms();
        if row.is_in_handshake() || sender == self.myself {
            return;
        }
        self.note_voice(sender);
        let row = self.table.row_mut(sender);
        // Clients are not told of a replica that has nothing yet.
        self.due.view |= (row.offset == 0) != (header.offset == 0);
        row.offset = header.offset;
        row.kin = header.kin;
        // A replica tells its master's epoch, which is not its own (valkey 8).
        if header.master.is_none() && header.config_epoch > row.config_epoch {
            row.config_epoch = header.config_epoch;
            self.due.save = true;
        }
        self.learn_epoch(header.current_epoch);
        self.learn_target(now, sender, header, actions);
    }

    /// Answers, and finds out who it is: `None` if the message is of no further use, else the sender if we know it.
    fn greet(
        &mut self,
        now: Now,
        link: LinkId,
        kind: Heartbeat,
        header: &Header,
        actions: &mut Actions,
    ) -> Option<Option<NodeIndex>> {
        if matches!(kind, Heartbeat::Ping | Heartbeat::Meet) {
            self.learn_own_host(link, kind, actions);
            if kind == Heartbeat::Meet && self.table.find(&header.sender).is_none() {
                self.meet_stranger(now, link, header, actions);
            }
            self.send_heartbeat(now, link, None, Heartbeat::Pong, actions);
        }
        if let Some(node) = self.links.outbound(link) {
            if !self.recognise(node, header, actions) {
                return None;
            }
            if kind == Heartbeat::Pong {
                self.answered(now, node, header, actions);
            }
        }
        let sender = self.table.find(&header.sender).filter(|&sender| sender != self.myself);
        if let Some(sender) = sender {
            let row = self.table.row_mut(sender);
            row.kin = header.kin;
            if row.has(NodeFlags::NO_FAILOVER) != header.flags.contains(NodeFlags::NO_FAILOVER) {
                row.flags.toggle(NodeFlags::NO_FAILOVER);
                self.due.view = true;
            }
            let is_known = !row.is_in_handshake();
            if kind == Heartbeat::Ping && is_known && self.links.outbound(link).is_none() {
                self.learn_address(sender, link, header, actions);
            }
        }
        Some(sender)
    }

    /// Who dials us says by it where we live.
    fn learn_own_host(&mut self, link: LinkId, kind: Heartbeat, actions: &mut Actions) {
        if self.settings.host.is_some() {
            return;
        }
        let own = self.table.row(self.myself).host.as_ref();
        let Some(local) = self.links.inbound(link).and_then(|inbound| inbound.local.as_ref()) else { return };
        if own.is_some() && (kind != Heartbeat::Meet || own == Some(local)) {
            return;
        }
        let local = local.clone();
        actions.log(Level::Warning, format_args!("IP address for this node updated to {local}"));
        actions.host = Some(local.clone());
        self.sibling_host(local);
    }

    /// Our host has this address, and so have our siblings.
    pub(super) fn sibling_host(&mut self, host: Host) {
        if self.settings.host.is_some() || self.table.row(self.myself).host.as_ref() == Some(&host) {
            return;
        }
        let former = self.table.row_mut(self.myself).host.replace(host.clone());
        let siblings: Vec<NodeIndex> = self.siblings.iter().filter_map(|id| self.table.find(id)).collect();
        for node in siblings {
            let row = self.table.row_mut(node);
            if row.host.is_none() || row.host == former {
                row.host = Some(host.clone());
            }
        }
        self.mark_all();
    }

    /// What we remember of our address is not so any more: whoever dials us next says it anew.
    pub fn forget_host(&mut self, now: Now, actions: &mut Actions) {
        self.table.row_mut(self.myself).host = None;
        let siblings: Vec<NodeIndex> = self.siblings.iter().filter_map(|id| self.table.find(id)).collect();
        siblings.into_iter().for_each(|node| self.table.row_mut(node).host = None);
        self.mark_all();
        self.settle(now, actions);
    }

    /// Somebody whom we do not know wants to be met: we dial back to learn who he is.
    fn meet_stranger(&mut self, now: Now, link: LinkId, header: &Header, actions: &mut Actions) {
        let peer = self.links.inbound(link).and_then(|inbound| inbound.peer.clone());
        let host = header.host.clone().or(peer).or_else(|| self.table.row(self.myself).host.clone());
        if self.table.rows().filter(|(_, row)| row.is_in_handshake()).count() >= MOST_HANDSHAKES {
            actions.log(Level::Warning, format_args!("Too many nodes in handshake; a MEET was ignored"));
            return;
        }
        let id = super::random_id(&mut self.rng);
        let Some(node) = self.table.add(id, id, NodeFlags::HANDSHAKE, now.ms()) else { return };
        let row = self.table.row_mut(node);
        row.host = host;
        (row.port, row.other_port, row.bus_port) = (header.port, header.other_port, header.bus_port);
        self.due.view = true;
    }

    /// Whether the node that we dialled is the one that answers; ends its handshake if it is in one.
    fn recognise(&mut self, node: NodeIndex, header: &Header, actions: &mut Actions) -> bool {
        let row = self.table.row(node);
        if row.is_in_handshake() {
            if let Some(known) = self.table.find(&header.sender) {
                actions.log(
                    Level::Verbose,
                    format_args!("Handshake: we already know node {}, updating the address if needed.", header.sender),
                );
                let row = self.table.row(node);
                let (host, port, other_port, bus_port) =
                    (row.host.clone(), header.port, header.other_port, header.bus_port);
                if known != self.myself {
                    self.move_node(known, host, port, other_port, bus_port, actions);
                }
                self.drop_node(node, actions);
                return false;
            }
            let is_sibling = self.sibling(&header.sender).is_some();
            self.table.rename(node, header.sender);
            let shard_id = super::random_id(&mut self.rng);
            let row = self.table.row_mut(node);
            row.flags.remove(NodeFlags::HANDSHAKE | NodeFlags::MEET);
            row.flags |= header.flags & (NodeFlags::MASTER | NodeFlags::REPLICA);
            // Nodes of 7.0 tell none; others do, in the extensions of this very message.
            row.shard_id = shard_id;
            (row.kin, row.config_epoch) = (header.kin, if header.master.is_none() { header.config_epoch } else { 0 });
            (row.port, row.other_port, row.bus_port) = (header.port, header.other_port, header.bus_port);
            self.learn_epoch(header.current_epoch);
            actions.log(Level::Debug, format_args!("Handshake with node {} completed.", header.sender));
            self.mark_all();
            if is_sibling {
                // From now on by mailbox.
                self.hang_up(node, actions);
            }
            return true;
        }
        if row.id != header.sender {
            actions.log(
                Level::Debug,
                format_args!(
                    "PONG contains mismatching sender ID. About node {} added a link to {}",
                    row.id, header.sender
                ),
            );
            let row = self.table.row_mut(node);
            row.flags.insert(NodeFlags::NO_ADDRESS);
            (row.host, row.port, row.other_port, row.bus_port) = (None, 0, 0, 0);
            self.hang_up(node, actions);
            self.mark_all();
            return false;
        }
        true
    }

    /// A PONG has come on the link that we dialled.
    fn answered(&mut self, now: Now, node: NodeIndex, header: &Header, actions: &mut Actions) {
        if self.leader() == Some(node) {
            self.leader_heard = Some((now.monotonic, header.port));
        }
        let row = self.table.row_mut(node);
        (row.pong_received, row.ping_sent) = (now.ms(), 0);
        let (id, flags) = (row.id, row.flags);
        if self.siblings.len() > 1 && self.sibling(&id).is_none() {
            actions.heard.push(id);
        }
        if flags.contains(NodeFlags::PFAIL) {
            self.table.row_mut(node).flags.remove(NodeFlags::PFAIL);
            self.mark_all();
        } else if flags.contains(NodeFlags::FAIL) {
            self.absolve(now, node, actions);
        }
    }

    /// A sibling has had PONGs: that counts as gossip does.
    pub(super) fn sibling_heard(&mut self, now: Now, heard: &[(NodeId, UnixMillis)]) {
        for (id, at) in heard {
            if let Some(node) = self.table.find(id) {
                self.note_voice(node);
                self.believe_pong(now, node, now.ms_of(*at));
            }
        }
    }

    /// Where the sender of a PING lives now.
    fn learn_address(&mut self, sender: NodeIndex, link: LinkId, header: &Header, actions: &mut Actions) {
        let Some(peer) = self.links.inbound(link).and_then(|inbound| inbound.peer.as_ref()) else { return };
        let host = header.host.as_ref().unwrap_or(peer).clone();
        self.move_node(sender, Some(host), header.port, header.other_port, header.bus_port, actions);
    }

    /// A node has another address, if it is another one.
    pub(super) fn move_node(
        &mut self,
        node: NodeIndex,
        host: Option<Host>,
        port: u16,
        other_port: u16,
        bus_port: u16,
        actions: &mut Actions,
    ) {
        let row = self.table.row_mut(node);
        if row.lives_at(host.as_ref(), port, bus_port) && row.other_port == other_port {
            return;
        }
        let has_moved = !row.lives_at(host.as_ref(), port, bus_port);
        row.host = host;
        (row.port, row.other_port, row.bus_port) = (port, other_port, bus_port);
        row.flags.remove(NodeFlags::NO_ADDRESS);
        if has_moved {
            let (id, host) = (row.id, row.host.clone());
            if let Some(host) = host {
                actions.log(Level::Warning, format_args!("Address updated for node {id}, now {host}:{port}"));
            }
            // A sibling's mailbox is where it always was.
            if self.sibling(&id).is_none() {
                self.hang_up(node, actions);
            }
        }
        self.mark_all();
    }

    /// Names and groups that a heartbeat tells; what it does not tell is not so.
    fn learn_extensions(&mut self, now: Now, sender: NodeIndex, extensions: Extensions<'_>, actions: &mut Actions) {
        let (mut hostname, mut nodename, mut shard_id) = (None, None, None);
        let mut forgotten = Vec::new();
        for extension in extensions.iter() {
            match extension {
                Extension::Hostname(name) => hostname = Some(name),
                Extension::Nodename(name) => nodename = Some(name),
                Extension::ShardId(id) => shard_id = Some(id),
                Extension::Forgotten { id, seconds } => forgotten.push((id, seconds)),
                Extension::Unknown(kind) => {
                    actions.log(Level::Warning, format_args!("Received unknown extension type {kind}"));
                }
            }
        }
        let masters = self.table.row(sender).master.map(|master| self.table.row(master).shard_id);
        let row = self.table.row_mut(sender);
        let shard_id = shard_id.or(masters).unwrap_or(row.shard_id);
        if (row.hostname.as_deref(), row.nodename.as_deref(), row.shard_id) != (hostname, nodename, shard_id) {
            (row.hostname, row.nodename) = (hostname.map(Into::into), nodename.map(Into::into));
            row.shard_id = shard_id;
            self.mark_all();
        }
        if self.leader() == Some(sender) && self.shard_id() != shard_id {
            // We followed it before it had said of which group it is. It would save us as a member of another one, and
            // a file that says so does not start a stock node again.
            self.table.row_mut(self.myself).shard_id = shard_id;
            self.announce_news();
            self.mark_all();
        }
        for (id, seconds) in forgotten {
            let Some(node) = self.table.find(&id) else { continue };
            if node != self.myself && self.table.row(self.myself).master != Some(node) {
                self.forbid(now, id, seconds.min(LONGEST_FORGETTING_S));
                self.drop_node(node, actions);
            }
        }
    }

    /// Gossip may not bring an id back for this long.
    pub(super) fn forbid(&mut self, now: Now, id: NodeId, seconds: u64) {
        self.blacklist.retain(|_, until| *until > now.ms());
        if self.blacklist.len() >= MOST_FORGOTTEN
            && let Some((&soonest, _)) = self.blacklist.iter().min_by_key(|&(_, &until)| until)
        {
            self.blacklist.remove(&soonest);
        }
        self.blacklist.insert(id, now.ms() + (seconds * 1000) as i64);
    }

    pub(super) fn is_forbidden(&self, now: Now, id: &NodeId) -> bool {
        self.blacklist.get(id).is_some_and(|&until| until > now.ms())
    }

    /// A node leaves the table, with its links and slots.
    pub(super) fn drop_node(&mut self, node: NodeIndex, actions: &mut Actions) {
        self.hang_up(node, actions);
        if let Some(inbound) = self.table.row(node).inbound {
            self.turn_away(inbound, actions);
        }
        self.slots.forget(node);
        self.forget_taker(node, actions);
        self.clear_crash(node);
        self.voted_for.retain(|&master, &mut candidate| master != node && candidate != node);
        let former = self.table.remove(node).master;
        former.into_iter().for_each(|master| self.judge_attraction(master));
        self.mark_all();
    }

    /// Sends PING, or MEET, to a node if its link stands; the time until it is suspected runs in any case.
    pub(super) fn ping(&mut self, now: Now, node: NodeIndex, is_meeting: bool, actions: &mut Actions) {
        let row = self.table.row_mut(node);
        row.ping_sent = now.ms();
        if let (Some(link), true) = (row.link, row.is_linked) {
            let kind = if is_meeting { Heartbeat::Meet } else { Heartbeat::Ping };
            self.send_heartbeat(now, link, Some(node), kind, actions);
        }
    }

    /// Sends PING to a node that may have been asked already: the time until it is suspected runs from the first one.
    pub(super) fn ask_again(&mut self, now: Now, node: NodeIndex, actions: &mut Actions) {
        let pending = self.table.row(node).ping_sent;
        self.ping(now, node, false, actions);
        if pending != 0 {
            self.table.row_mut(node).ping_sent = pending;
        }
    }

    /// Tells all nodes about us, unasked.
    pub(super) fn broadcast_pong(&mut self, now: Now, actions: &mut Actions) {
        for (node, link) in self.linked() {
            self.send_heartbeat(now, link, Some(node), Heartbeat::Pong, actions);
        }
    }

    /// Tells these nodes about us, unasked.
    pub(super) fn pong(&mut self, now: Now, nodes: &[NodeIndex], actions: &mut Actions) {
        for (node, link) in self.linked().into_iter().filter(|(node, _)| nodes.contains(node)) {
            self.send_heartbeat(now, link, Some(node), Heartbeat::Pong, actions);
        }
    }

    /// Nodes to which messages for all go, with their links.
    pub(super) fn linked(&self) -> Vec<(NodeIndex, LinkId)> {
        let usable = |row: &super::table::Row| row.is_linked && !row.is_in_handshake();
        self.table.rows().filter(|(_, row)| usable(row)).filter_map(|(node, row)| Some((node, row.link?))).collect()
    }

    pub(super) fn send_heartbeat(
        &mut self,
        now: Now,
        link: LinkId,
        to: Option<NodeIndex>,
        kind: Heartbeat,
        actions: &mut Actions,
    ) {
        self.pick_gossip(to);
        let myself = self.table.row(self.myself);
        let (hostname, nodename, shard_id) = (myself.hostname.clone(), myself.nodename.clone(), myself.shard_id);
        // Whole seconds, rounded down: a name that is passed on must not be forgotten longer for it.
        let forgotten: Vec<(NodeId, u64)> = self
            .blacklist
            .iter()
            .map(|(&id, &until)| (id, (until - now.ms()).max(0) as u64 / 1000))
            .filter(|&(_, seconds)| seconds > 0)
            .collect();
        let extensions = hostname
            .as_deref()
            .map(Extension::Hostname)
            .into_iter()
            .chain(nodename.as_deref().map(Extension::Nodename))
            .chain(forgotten.into_iter().map(|(id, seconds)| Extension::Forgotten { id, seconds }))
            .chain(core::iter::once(Extension::ShardId(shard_id)));
        self.refresh_header();
        let (header, gossip) = (self.announcement.header(), self.picked.entries(&self.table, now));
        let message = actions.message(|out| wire::write_heartbeat(out, header, kind, gossip, extensions));
        let kind = match kind {
            Heartbeat::Ping => MessageKind::Ping,
            Heartbeat::Pong => MessageKind::Pong,
            Heartbeat::Meet => MessageKind::Meet,
        };
        self.send(link, message, kind, actions);
    }

    pub(super) fn send(&mut self, link: LinkId, message: Range<usize>, kind: MessageKind, actions: &mut Actions) {
        self.counters.sent[kind as usize] += 1;
        actions.sends.push((link, message));
    }

    /// Sends one message to all.
    pub(super) fn broadcast(&mut self, message: &Range<usize>, kind: MessageKind, actions: &mut Actions) {
        for (_, link) in self.linked() {
            self.send(link, message.clone(), kind, actions);
        }
    }

    /// Hands a message of PUBLISH or SPUBLISH to the other nodes: to all, or to those of our group. Shards of our
    /// process are not among them: the process tells its own cores.
    pub fn publish(&mut self, channel: &[u8], message: &[u8], is_sharded: bool, actions: &mut Actions) {
        let shard_id = self.shard_id();
        let mut links = self.linked();
        links.retain(|&(node, _)| {
            let row = self.table.row(node);
            self.sibling(&row.id).is_none() && (!is_sharded || row.shard_id == shard_id)
        });
        if links.is_empty() {
            return;
        }
        let header = self.header();
        let range = actions.message(|out| wire::write_publish(out, header, channel, message, is_sharded));
        let kind = if is_sharded { MessageKind::PublishShard } else { MessageKind::Publish };
        for (_, link) in links {
            self.send(link, range.clone(), kind, actions);
        }
    }
}
