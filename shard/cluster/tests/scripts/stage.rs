//! The stage of a script: the node under test, its peers, its clock and its disk.

use crate::peer::{self, Peer, Words};
use slotmesh_base::{Monotonic, Rng, UnixMillis};
use slotmesh_cluster::machine::{
    Actions, Admin, Cluster, Failover, Input, LinkEnd, LinkId, LinkOrder, MasterLink, Now, PauseOrder, ReplicaRules,
    ReplicationFacts, RoleChange, Settings, Silence, Target,
};
use slotmesh_cluster::nodes_conf::{self, SavedCluster, SavedNode};
use slotmesh_cluster::wire::{self, GossipEntry, Header, Heartbeat, MessageFlags, NodeFlags, Payload};
use slotmesh_cluster::{Host, Manners, SlotSet};
use std::collections::{BTreeMap, VecDeque};

/// The wall time at which a script begins, in Unix ms.
const BEGINNING_MS: i64 = 1_800_000_000_000;

/// See the module.
pub(crate) struct Stage {
    me: char,
    timeout_ms: i64,
    rules: ReplicaRules,
    saved: SavedCluster,
    peers: BTreeMap<char, Peer>,
    node: Option<Cluster>,
    /// The node comes back without data; its silence, if it keeps one.
    is_empty_handed: bool,
    silence: Option<Silence>,
    /// Since the beginning.
    ms: u64,
    next_link: u64,
    /// What is on disk; what waits for a disk that stalls.
    disk: String,
    stalled: Option<Vec<(u64, String)>>,
    /// What the node has done and told the log since the last step that was no `expect`.
    done: Vec<String>,
    log: Vec<String>,
    error: Option<String>,
    remembered: Option<String>,
    /// When the link of our replication came to stand.
    connected: Monotonic,
    /// What the peers answer.
    replies: VecDeque<(LinkId, Vec<u8>)>,
}

impl Default for Stage {
    fn default() -> Self {
        Self {
            me: 'M',
            timeout_ms: 1000,
            rules: ReplicaRules { crash_detect_ms: 0, ping_period_ms: 1000, ..ReplicaRules::default() },
            saved: SavedCluster::default(),
            peers: BTreeMap::new(),
            node: None,
            is_empty_handed: false,
            silence: None,
            ms: 0,
            next_link: 0,
            disk: String::new(),
            stalled: None,
            done: Vec::new(),
            log: Vec::new(),
            error: None,
            remembered: None,
            connected: Monotonic(0),
            replies: VecDeque::new(),
        }
    }
}

/// The words of a line, one after the other.
pub(crate) struct Line<'a>(VecDeque<&'a str>);

impl<'a> Line<'a> {
    fn next(&mut self) -> Option<&'a str> {
        self.0.pop_front()
    }

    fn word(&mut self) -> Result<&'a str, String> {
        self.next().ok_or_else(|| "a word is missing".to_owned())
    }

    fn number<N: std::str::FromStr>(&mut self) -> Result<N, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("{word}: no number"))
    }

    fn rest(&mut self) -> String {
        self.0.drain(..).collect::<Vec<_>>().join(" ")
    }
}

fn letter(word: &str) -> Result<char, String> {
    let mut letters = word.chars();
    match (letters.next(), letters.next()) {
        (Some(name), None) if name.is_ascii_uppercase() => Ok(name),
        _ => Err(format!("{word}: no name")),
    }
}

impl Stage {
    /// Performs a line of a script.
    pub(crate) fn perform(&mut self, line: &str) -> Result<(), String> {
        let mut words = Line(line.split_whitespace().collect());
        let first = words.word()?;
        if first != "expect" {
            self.done.clear();
            self.log.clear();
        }
        match first {
            "node" => self.declare_node(&mut words),
            "peer" => self.declare_peer(&mut words, true),
            "stranger" => self.declare_peer(&mut words, false),
            "order" => self.order(&mut words),
            "disk" => self.set_disk(words.word()?),
            "sync" => self.replicate(&mut words),
            "paused" => {
                let offset = words.number()?;
                self.tell(Input::Paused { offset })
            }
            "connect" => {
                let (now, mut actions) = (self.now(), Actions::default());
                self.connected = now.monotonic;
                self.node().ask_master(now, &mut actions);
                self.obey(actions)?;
                self.ms += 1;
                self.tell_nothing()
            }
            "restart" => {
                self.restart();
                Ok(())
            }
            "remember" => {
                self.remembered = Some(self.memory());
                Ok(())
            }
            "expect" => self.expect(&mut words),
            time if time.starts_with('+') => self.pass(time),
            name => self.act(letter(name)?, &mut words),
        }
    }

    // Who there is.

    fn declare_node(&mut self, words: &mut Line<'_>) -> Result<(), String> {
        self.me = letter(words.word()?)?;
        let mut own = Peer::new(self.me);
        own.flags |= NodeFlags::MYSELF;
        while let Some(word) = words.next() {
            match word {
                "timeout" => self.timeout_ms = words.number()?,
                "current" => self.saved.current_epoch = words.number()?,
                "voted" => self.saved.last_vote_epoch = words.number()?,
                "crash" => self.rules.crash_detect_ms = words.number()?,
                "validity" => self.rules.validity_factor = words.number()?,
                "barrier" => self.rules.migration_barrier = words.number()?,
                "without-data" => self.is_empty_handed = true,
                "no-failover" => self.rules.never_fails_over = true,
                "no-migration" => self.rules.allows_migration = false,
                word => Self::describe(&mut own, word, words)?,
            }
        }
        self.saved.nodes.push(Self::saved_node(&own));
        Ok(())
    }

    fn declare_peer(&mut self, words: &mut Line<'_>, is_known: bool) -> Result<(), String> {
        let mut peer = Peer::new(letter(words.word()?)?);
        while let Some(word) = words.next() {
            Self::describe(&mut peer, word, words)?;
        }
        if is_known && self.node.is_some() {
            return Err("the node has started; only strangers may come now".to_owned());
        }
        if is_known {
            self.saved.nodes.push(Self::saved_node(&peer));
        }
        self.peers.insert(peer.name, peer);
        Ok(())
    }

    /// What a peer is, by a word and what follows it.
    fn describe(peer: &mut Peer, word: &str, words: &mut Line<'_>) -> Result<(), String> {
        match word {
            "claims" => peer.claims = peer::slot_set(words.word()?)?,
            "epoch" => peer.epoch = words.number()?,
            "current" => peer.current = words.number()?,
            "offset" => peer.offset = words.number()?,
            "kin" => peer.is_kin = true,
            "at" => {
                let (host, port) = words.word()?.rsplit_once(':').ok_or("an address is host:port")?;
                peer.host = Host::parse(host.as_bytes()).ok_or("no host")?;
                peer.port = port.parse().map_err(|_| "no port")?;
            }
            "replica" => {
                peer.master = Some(letter(words.word()?)?);
                peer.flags = (peer.flags - NodeFlags::MASTER) | NodeFlags::REPLICA;
            }
            "master" => {
                peer.master = None;
                peer.flags = (peer.flags - NodeFlags::REPLICA) | NodeFlags::MASTER;
            }
            "group" => peer.group = Some(letter(words.word()?)?),
            "flags" => peer.flags |= peer::flags(words.word()?)?,
            "hostname" => peer.hostname = Some(words.word()?.to_owned()).filter(|name| name != "none"),
            "silent" => peer.answers = false,
            "down" => (peer.is_up, peer.answers) = (false, false),
            word => return Err(format!("{word}: not understood")),
        }
        Ok(())
    }

    fn saved_node(peer: &Peer) -> SavedNode {
        SavedNode {
            id: peer::id(peer.name),
            host: Some(peer.host.clone()),
            port: peer.port,
            bus_port: peer.bus_port(),
            other_port: 0,
            hostname: None,
            nodename: None,
            shard_id: Some(peer::id(peer.group.or(peer.master).unwrap_or(peer.name))),
            flags: peer.flags,
            master: peer.master.map(peer::id),
            ping_sent: UnixMillis(0),
            pong_received: UnixMillis(1),
            config_epoch: peer.epoch,
            is_connected: false,
            slots: if peer.master.is_none() { peer.claims.ranges().collect() } else { Vec::new() },
            migrating: Vec::new(),
            importing: Vec::new(),
        }
    }

    // The node.

    fn now(&self) -> Now {
        let offset_ms = 5_000_000;
        let monotonic = Monotonic((self.ms + offset_ms) * 1_000_000);
        Now { monotonic, unix: UnixMillis(BEGINNING_MS + self.ms as i64) }
    }

    fn settings(&self) -> Settings {
        Settings {
            node_timeout_ms: self.timeout_ms,
            host: None,
            port: 7000,
            other_port: 0,
            bus_port: 17000,
            hostname: None,
            nodename: None,
            requires_full_coverage: false,
            manners: Manners::default(),
            replicas: self.rules,
            shard: 0,
            shards: 1,
        }
    }

    /// The node; it starts with the first line that needs it.
    fn node(&mut self) -> &mut Cluster {
        if self.node.is_none() {
            nodes_conf::write(&mut self.disk, &self.saved.clone());
            self.load();
        }
        self.node.as_mut().expect("it has just started")
    }

    fn load(&mut self) {
        let saved = nodes_conf::parse(self.disk.as_bytes()).expect("the node reads what is on disk");
        let (now, cluster) = (self.now(), Cluster::load(self.settings(), Rng::new(7), self.now(), &saved));
        self.silence = (self.is_empty_handed && cluster.is_backed_up()).then(|| Silence::begin(now, &cluster));
        self.node = Some(cluster);
    }

    fn restart(&mut self) {
        self.node();
        self.peers.values_mut().for_each(|peer| (peer.ours, peer.theirs) = (None, None));
        self.stalled = self.stalled.take().map(|_| Vec::new());
        self.load();
    }

    fn set_disk(&mut self, word: &str) -> Result<(), String> {
        match word {
            "stalls" => self.stalled = Some(Vec::new()),
            "works" => {
                for (serial, text) in self.stalled.take().unwrap_or_default() {
                    self.disk = text;
                    self.tell(Input::Persisted(serial))?;
                }
            }
            word => return Err(format!("{word}: a disk stalls or works")),
        }
        Ok(())
    }

    fn tell(&mut self, input: Input<'_>) -> Result<(), String> {
        let (now, mut actions) = (self.now(), Actions::default());
        self.node().handle(now, input, &mut actions);
        self.obey(actions)?;
        while let Some((link, frame)) = self.replies.pop_front() {
            let mut actions = Actions::default();
            self.node().handle(now, Input::Frame { link, frame: &frame }, &mut actions);
            self.obey(actions)?;
        }
        Ok(())
    }

    fn obey(&mut self, mut actions: Actions) -> Result<(), String> {
        let now = self.now();
        if actions.save {
            let save = self.node().save(now);
            match &mut self.stalled {
                Some(waiting) => *waiting = vec![(save.serial, save.text)],
                None => {
                    self.disk = save.text;
                    let mut more = Actions::default();
                    self.node().handle(now, Input::Persisted(save.serial), &mut more);
                    self.obey(more)?;
                }
            }
        }
        let down = self.keep_silent(&mut actions);
        for order in actions.links {
            match order {
                LinkOrder::Dial(link, target) => self.dial(link, &target)?,
                LinkOrder::Close(link) => self.close(link),
            }
        }
        for (link, range) in actions.sends {
            self.sent(link, &actions.bytes[range])?;
        }
        let lost: Vec<u16> = actions.lost.iter().map(|slot| slot.number()).collect();
        if !lost.is_empty() {
            let mut set = SlotSet::default();
            actions.lost.iter().for_each(|&slot| _ = set.insert(slot));
            self.done.push(format!("lose {}", peer::show(&set)));
        }
        match actions.role {
            Some(RoleChange::Master) => self.done.push("lead".to_owned()),
            Some(RoleChange::Replica { master, host, port }) => {
                self.done.push(format!("follow {} at {host}:{port}", peer::name(&master)));
            }
            None => {}
        }
        if actions.flush {
            self.done.push("flush".to_owned());
        }
        match actions.pause {
            Some(PauseOrder::Begin { .. }) => self.done.push("pause".to_owned()),
            Some(PauseOrder::End) => self.done.push("resume".to_owned()),
            None => {}
        }
        self.log.extend(actions.log.into_iter().map(|(_, line)| line));
        for publication in actions.publications {
            let text = |range: std::ops::Range<usize>| String::from_utf8_lossy(&actions.bytes[range]).into_owned();
            self.done.push(format!("publish {} {}", text(publication.channel), text(publication.message)));
        }
        down.into_iter().try_for_each(|link| self.tell(Input::LinkDown { link, why: LinkEnd::Other }))
    }

    /// Nothing leaves a node that is silent; what is down when it is not any more.
    fn keep_silent(&mut self, actions: &mut Actions) -> Vec<LinkId> {
        let now = self.now();
        let (Some(silence), Some(node)) = (&mut self.silence, &mut self.node) else { return Vec::new() };
        let Some(relief) = silence.keep(now, node, actions) else { return Vec::new() };
        self.done.push(format!("speak {relief:?}"));
        self.silence.take().map(|silence| silence.end(actions).collect()).unwrap_or_default()
    }

    fn dial(&mut self, link: LinkId, target: &Target) -> Result<(), String> {
        let Target::Tcp(host, port) = target else { return Err("there are no siblings".to_owned()) };
        let found = self.peers.values_mut().find(|peer| peer.host == *host && peer.bus_port() == *port && peer.is_up);
        let Some(peer) = found else {
            self.done.push(format!("dial nobody at {host}:{port}"));
            return self.tell(Input::LinkDown { link, why: LinkEnd::Refused });
        };
        self.done.push(format!("dial {}", peer.name));
        peer.ours = Some(link);
        let peer = Some(host.clone());
        self.tell(Input::LinkUp { link, peer })
    }

    fn close(&mut self, link: LinkId) {
        for peer in self.peers.values_mut() {
            for (held, whose) in [(&mut peer.ours, "our"), (&mut peer.theirs, "their")] {
                if held.take_if(|held| *held == link).is_some() {
                    self.done.push(format!("close {whose} link to {}", peer.name));
                }
            }
        }
    }

    /// A message has left the node: it is noted, and a peer that answers answers.
    fn sent(&mut self, link: LinkId, frame: &[u8]) -> Result<(), String> {
        let Some(peer) = self.peers.values().find(|peer| peer.ours == Some(link) || peer.theirs == Some(link)) else {
            return Ok(());
        };
        let message = wire::decode(frame).map_err(|bad| format!("the node sends what it would not read: {bad}"))?;
        let to = peer.name;
        let what = match &message.payload {
            Payload::Heartbeat { kind, gossip, extensions } => {
                if *kind != Heartbeat::Pong && peer.answers {
                    self.replies.push_back((link, peer.heartbeat(Heartbeat::Pong, &Words::default())));
                }
                let kind = format!("{kind:?}").to_lowercase();
                let gossip: String = gossip.iter().map(|entry| told(&entry)).collect();
                let forgotten = extensions.iter().filter_map(|extension| match extension {
                    wire::Extension::Forgotten { id, seconds } => {
                        Some(format!(" forgotten {} for {seconds} s", peer::name(&id)))
                    }
                    _ => None,
                });
                let header = &message.header;
                let (epoch, current) = (header.config_epoch, header.current_epoch);
                let claims = peer::show(&header.slots);
                let master = header.master.map_or(String::new(), |id| format!(" replica {}", peer::name(&id)));
                let is_paused = header.message_flags.contains(MessageFlags::PAUSED);
                let paused = if is_paused { format!(" paused {}", header.offset) } else { String::new() };
                let forgotten: String = forgotten.collect();
                format!(
                    "{kind} to {to} claims {claims} epoch {epoch} current {current}{master}{paused}{gossip}{forgotten}"
                )
            }
            Payload::Fail(id) => format!("fail {} to {to}", peer::name(id)),
            Payload::Update { config_epoch, id, slots } => {
                let (about, claims) = (peer::name(id), peer::show(slots));
                format!("update {about} epoch {config_epoch} claims {claims} to {to}")
            }
            Payload::AuthAck => format!("vote to {to} current {}", message.header.current_epoch),
            Payload::AuthRequest => {
                let Header { current_epoch: current, config_epoch: epoch, slots, message_flags, .. } = &message.header;
                let forced = if message_flags.contains(MessageFlags::FORCE_ACK) { " forced" } else { "" };
                format!("ask {to} current {current} epoch {epoch} claims {}{forced}", peer::show(slots))
            }
            Payload::ManualFailoverStart => {
                let is_forced = message.header.message_flags.contains(MessageFlags::FORCE_ACK);
                format!("start failover at {to}{}", if is_forced { " forced" } else { "" })
            }
            other => format!("{other:?} to {to}"),
        };
        self.done.push(what);
        Ok(())
    }

    // What happens.

    fn pass(&mut self, time: &str) -> Result<(), String> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| format!("{time}: no time"));
        let time = time.trim_start_matches('+');
        let ms = match (time.strip_suffix("ms"), time.strip_suffix('s')) {
            (Some(ms), _) => number(ms)?,
            (None, Some(seconds)) => number(seconds)? * 1000,
            (None, None) => return Err("a time ends with ms or s".to_owned()),
        };
        let end = self.ms + ms;
        while self.ms < end {
            self.ms = (self.ms + 100).min(end);
            let now = self.now();
            if self.node().deadline() <= now.monotonic {
                self.tell(Input::Tick)?;
            }
        }
        Ok(())
    }

    /// `sync 100`: our replication has processed so much and is in sync; `sync 100 down`: its link has ended.
    fn replicate(&mut self, words: &mut Line<'_>) -> Result<(), String> {
        let offset = words.number()?;
        let now = self.now().monotonic;
        let link = match words.next() {
            None => MasterLink::Up { heard_at: now },
            Some("down") => MasterLink::Down { since: now },
            Some("never") => MasterLink::NeverSynced,
            Some(word) => return Err(format!("{word}: not understood")),
        };
        self.tell(Input::Replication(ReplicationFacts { offset, link }))
    }

    /// `order …`: CLUSTER.
    fn order(&mut self, words: &mut Line<'_>) -> Result<(), String> {
        let now = self.now();
        let slots;
        let order = match words.word()? {
            "bump" => {
                let mut actions = Actions::default();
                self.node().bump(now, &mut actions);
                return self.obey(actions);
            }
            "handover" => {
                let mut actions = Actions::default();
                self.node().hand_over(&mut actions);
                return self.obey(actions);
            }
            "meet" => {
                let peer = self.peers.get(&letter(words.word()?)?).ok_or("nobody of this name")?;
                Admin::Meet { host: peer.host.clone(), port: peer.port, bus_port: peer.bus_port() }
            }
            "addslots" => {
                slots = peer::slots(words.word()?)?;
                Admin::AddSlots(&slots)
            }
            "delslots" => {
                slots = peer::slots(words.word()?)?;
                Admin::DelSlots(&slots)
            }
            "setslot" => {
                slots = peer::slots(words.word()?)?;
                Admin::SetSlotNode { slot: slots[0], id: peer::id(letter(words.word()?)?), has_keys: false }
            }
            "forget" => Admin::Forget(peer::id(letter(words.word()?)?)),
            "replicate" => {
                let id = peer::id(letter(words.word()?)?);
                Admin::Replicate { id, has_keys: words.next() == Some("keys") }
            }
            "failover" => Admin::Failover(match words.next() {
                None => Failover::Agreed,
                Some("force") => Failover::Forced,
                Some("takeover") => Failover::Takeover,
                Some(word) => return Err(format!("{word}: not understood")),
            }),
            "reset" => Admin::Reset { is_hard: words.next() == Some("hard") },
            "epoch" => Admin::SetConfigEpoch(words.number()?),
            word => return Err(format!("{word}: no order")),
        };
        let mut actions = Actions::default();
        self.error = self.node().admin(now, order, &mut actions).err().map(|error| error.to_string());
        self.obey(actions)?;
        self.tell_nothing()
    }

    /// Lets the answers in that the peers have given meanwhile.
    fn tell_nothing(&mut self) -> Result<(), String> {
        let now = self.now();
        while let Some((link, frame)) = self.replies.pop_front() {
            let mut actions = Actions::default();
            self.node().handle(now, Input::Frame { link, frame: &frame }, &mut actions);
            self.obey(actions)?;
        }
        Ok(())
    }

    /// `X pings …`, `X is …`.
    fn act(&mut self, name: char, words: &mut Line<'_>) -> Result<(), String> {
        let verb = words.word()?;
        self.node();
        let (mut about, mut epoch, mut claims) = (None, None, None);
        match verb {
            "is" => return self.change(name, words),
            "fails" => about = Some(letter(words.word()?)?),
            "updates" => {
                about = Some(letter(words.word()?)?);
                (_, epoch) = (words.word()?, Some(words.number()?));
                (_, claims) = (words.word()?, Some(peer::slot_set(words.word()?)?));
            }
            "publishes" => {
                let (channel, message) = (words.word()?, words.word()?);
                let frame = self.peer(name)?.publication(channel, message);
                return self.deliver(name, false, &frame);
            }
            _ => {}
        }
        let is_ours = verb == "pongs";
        let mut said = Words::default();
        while let Some(word) = words.next() {
            self.say(name, word, words, &mut said)?;
        }
        let peer = self.peer(name)?;
        let frame = match verb {
            "pings" => peer.heartbeat(Heartbeat::Ping, &said),
            "pongs" => peer.heartbeat(Heartbeat::Pong, &said),
            "meets" => peer.heartbeat(Heartbeat::Meet, &said),
            "fails" => peer.fail(about.ok_or("whom?")?, &said),
            "updates" => peer.update(about.ok_or("whom?")?, epoch.ok_or("since when?")?, &claims.ok_or("what?")?),
            "asks" => peer.vote_request(&said),
            "votes" => peer.vote(&said),
            "starts" => peer.manual_failover_start(&said),
            verb => return Err(format!("{verb}: not understood")),
        };
        self.deliver(name, is_ours, &frame)
    }

    fn peer(&mut self, name: char) -> Result<&mut Peer, String> {
        self.peers.get_mut(&name).ok_or_else(|| format!("{name}: nobody of this name"))
    }

    /// `X is silent`: what becomes of a peer, without a message.
    fn change(&mut self, name: char, words: &mut Line<'_>) -> Result<(), String> {
        let (mut why, mut keeps_its_own) = (LinkEnd::Closed, false);
        while let Some(word) = words.next() {
            let peer = self.peer(name)?;
            match word {
                "back" => (peer.is_up, peer.answers) = (true, true),
                "deaf" => (peer.is_up, peer.answers, keeps_its_own) = (false, false, true),
                // Somebody in between tears its links and refuses new ones.
                "shut" => (peer.is_up, peer.answers, why) = (false, false, LinkEnd::Reset),
                word => Self::describe(peer, word, words)?,
            }
        }
        let peer = self.peer(name)?;
        if !peer.is_up {
            let theirs = if keeps_its_own { None } else { peer.theirs.take() };
            for link in [peer.ours.take(), theirs].into_iter().flatten() {
                self.tell(Input::LinkDown { link, why })?;
            }
        }
        Ok(())
    }

    /// A word of a message.
    fn say(&mut self, name: char, word: &str, words: &mut Line<'_>, said: &mut Words) -> Result<(), String> {
        match word {
            "gossip" => {
                for told in words.word()?.split(',') {
                    let entry = self.gossip(told)?;
                    said.gossip.push(entry);
                }
            }
            "forgotten" => {
                let id = peer::id(letter(words.word()?)?);
                said.forgotten.push((id, words.number()?));
            }
            "unknown-extension" => said.unknown_extension = Some(words.number()?),
            "forced" => said.flags |= MessageFlags::FORCE_ACK,
            "paused" => said.flags |= MessageFlags::PAUSED,
            "failover" => {}
            "longer" => said.longer = words.number()?,
            "signature" => said.edits.push((0, words.word()?.as_bytes().to_vec())),
            "totlen" => said.edits.push((4, words.number::<u32>()?.to_be_bytes().to_vec())),
            "version" => said.edits.push((8, words.number::<u16>()?.to_be_bytes().to_vec())),
            "type" => said.edits.push((12, words.number::<u16>()?.to_be_bytes().to_vec())),
            "count" => said.edits.push((14, words.number::<u16>()?.to_be_bytes().to_vec())),
            "extensions" => said.edits.push((2214, words.number::<u16>()?.to_be_bytes().to_vec())),
            "extension-length" => {
                let (nth, length) = (words.number::<usize>()?, words.number::<u32>()?);
                said.edits.push((2256 + nth, length.to_be_bytes().to_vec()));
            }
            "sender" => said.edits.push((40, words.word()?.as_bytes().to_vec())),
            word => Self::describe(self.peer(name)?, word, words)?,
        }
        Ok(())
    }

    /// `X:fail?@10.0.0.9:7001`: flags and address may be left out.
    fn gossip(&mut self, told: &str) -> Result<GossipEntry, String> {
        let (told, address) = told.split_once('@').map_or((told, None), |(told, at)| (told, Some(at)));
        let (name, flags) = told.split_once(':').map_or((told, None), |(name, flags)| (name, Some(flags)));
        let mut about = self.peers.get(&letter(name)?).cloned().unwrap_or(Peer::new(letter(name)?));
        if let Some(address) = address {
            Self::describe(&mut about, "at", &mut Line(VecDeque::from([address])))?;
        }
        let flags = flags.map_or(Ok(NodeFlags::empty()), peer::flags)?;
        Ok(GossipEntry {
            id: peer::id(about.name),
            ping_sent_s: 0,
            pong_received_s: (self.now().unix.0 / 1000) as u32,
            host: Some(about.host.clone()).filter(|_| !flags.contains(NodeFlags::NO_ADDRESS)),
            port: about.port,
            bus_port: about.bus_port(),
            other_port: 0,
            flags: about.flags | flags,
        })
    }

    /// Brings a message to the node: on the link that it dialled, or on one that the peer dials first if there is none.
    fn deliver(&mut self, name: char, is_ours: bool, frame: &[u8]) -> Result<(), String> {
        let (host, own) = (self.peer(name)?.host.clone(), Peer::new(self.me).host);
        let peer = self.peer(name)?;
        let link = match if is_ours { peer.ours } else { peer.theirs } {
            Some(link) => link,
            None if is_ours => return Err(format!("there is no link to {name}")),
            None => {
                self.next_link += 1;
                let link = LinkId::accepted(self.next_link);
                self.peer(name)?.theirs = Some(link);
                self.tell(Input::Accepted { link, peer: Some(host), local: Some(own) })?;
                link
            }
        };
        // As the driver does: what is no message closes the link.
        if wire::frame_length(frame).is_err() {
            self.close(link);
            return self.tell(Input::LinkGarbled { link });
        }
        self.tell(Input::Frame { link, frame })
    }

    // What is expected.

    /// All that lasts, without times and numbers of messages.
    fn memory(&mut self) -> String {
        let now = self.now();
        let text = self.node().nodes_text(now, "10.0.0.0");
        let line = |line: &str| -> String {
            let fields = line.split(' ').enumerate().filter(|(place, _)| !(4..=5).contains(place));
            fields.map(|(_, field)| field).collect::<Vec<_>>().join(" ")
        };
        let mut lines: Vec<String> = text.lines().map(line).collect();
        lines.sort();
        format!("{} current {}", lines.join("\n"), self.info("cluster_current_epoch").unwrap_or_default())
    }

    fn info(&mut self, field: &str) -> Result<String, String> {
        let text = self.node().info_text();
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(str::to_owned).ok_or_else(|| format!("CLUSTER INFO has no {field}"))
    }

    fn expect(&mut self, words: &mut Line<'_>) -> Result<(), String> {
        let equal = |found: String, expected: String| match found == expected {
            true => Ok(()),
            false => Err(format!("is {found}")),
        };
        match words.word()? {
            "done" => self.expect_done(&words.rest()),
            "not" => match (words.word()?, words.rest()) {
                ("done", expected) => match self.expect_done(&expected) {
                    Ok(()) => Err(self.done.join("\n    ")),
                    Err(_) => Ok(()),
                },
                ("disk", word) if self.disk.contains(&word) => Err(self.disk.clone()),
                ("disk", _) => Ok(()),
                (word, _) => Err(format!("{word}: not understood")),
            },
            "unchanged" => {
                let memory = self.memory();
                equal(memory, self.remembered.clone().ok_or("nothing is remembered")?)
            }
            "log" => {
                let words = words.rest();
                match self.log.iter().any(|line| line.contains(&words)) {
                    true => Ok(()),
                    false => Err(format!("the log says:\n    {}", self.log.join("\n    "))),
                }
            }
            "error" => equal(self.error.clone().unwrap_or_default(), words.rest()),
            "no" => equal(self.error.clone().unwrap_or_default(), String::new()),
            "cut" => {
                words.word()?;
                let found = self.node().is_with_minority();
                equal(found.to_string(), words.rest())
            }
            "confirmed" => {
                let (connected, port) = (self.connected, words.number()?);
                let found = self.node().is_master_confirmed(connected, port);
                equal(found.to_string(), words.rest())
            }
            "info" => {
                let found = self.info(words.word()?)?;
                equal(found, words.rest())
            }
            "disk" => {
                let word = words.rest();
                match self.disk.contains(&word) {
                    true => Ok(()),
                    false => Err(self.disk.clone()),
                }
            }
            name => self.expect_row(letter(name)?, words),
        }
    }

    /// Whether something was done: its first words, and what follows somewhere behind them.
    fn expect_done(&self, expected: &str) -> Result<(), String> {
        let is_so = |done: &&String| match expected.split_once(" with ") {
            Some((start, rest)) => done.starts_with(start) && done.contains(rest),
            None => done.starts_with(expected),
        };
        let found = self.done.iter().find(is_so);
        found.map(|_| ()).ok_or_else(|| format!("was done:\n    {}", self.done.join("\n    ")))
    }

    /// `expect X flags master,fail slots 0-5 epoch 3 at 10.0.0.1:7000 connected`.
    fn expect_row(&mut self, name: char, words: &mut Line<'_>) -> Result<(), String> {
        let now = self.now();
        let text = self.node().nodes_text(now, "10.0.0.0");
        let view = nodes_conf::parse(text.as_bytes()).map_err(|bad| bad.to_string())?;
        let row = view.nodes.iter().find(|node| node.id == peer::id(name));
        while let Some(word) = words.next() {
            if word == "unknown" {
                return if row.is_none() { Ok(()) } else { Err(text) };
            }
            let row = row.ok_or_else(|| format!("it is not known:\n{text}"))?;
            let (found, expected) = match word {
                "flags" => (row.flags.to_string(), words.word()?.to_owned()),
                "slots" => {
                    let mut set = SlotSet::default();
                    let all = row.slots.iter().flat_map(|&(a, b)| a..=b).filter_map(slotmesh_base::Slot::new);
                    all.for_each(|slot| _ = set.insert(slot));
                    (peer::show(&set), words.word()?.to_owned())
                }
                "epoch" => (row.config_epoch.to_string(), words.word()?.to_owned()),
                "at" => {
                    let host = row.host.as_ref().map(ToString::to_string).unwrap_or_default();
                    (format!("{host}:{}", row.port), words.word()?.to_owned())
                }
                "hostname" => (row.hostname.as_deref().unwrap_or("none").to_owned(), words.word()?.to_owned()),
                "master" => (row.master.map_or('-', |id| peer::name(&id)).to_string(), words.word()?.to_owned()),
                "connected" => (row.is_connected.to_string(), "true".to_owned()),
                "disconnected" => (row.is_connected.to_string(), "false".to_owned()),
                word => return Err(format!("{word}: not understood")),
            };
            if found != expected {
                return Err(format!("{word} is {found}\n{text}"));
            }
        }
        Ok(())
    }
}

/// An entry of gossip, in words.
fn told(entry: &GossipEntry) -> String {
    let health = entry.flags & (NodeFlags::PFAIL | NodeFlags::FAIL);
    let health = if health.is_empty() { String::new() } else { format!(":{health}") };
    format!(" gossip {}{health}", peer::name(&entry.id))
}
