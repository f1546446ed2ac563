//! The link to our master: what comes on it, and what becomes of it.

use super::{MASTER_BELL, Replication};
use crate::bus::{BellEnd, Dialler, bell};
use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use crate::persistence::AppendLog;
use crate::pubsub::Message;
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_cluster::Host;
use slotmesh_command::{ChannelKind, ValueLimits};
use slotmesh_conf::directive;
use slotmesh_io::{DataLoop, SocketId, tcp};
use slotmesh_keyspace::Keyspace;
use slotmesh_rdb::ReadLimits;
use slotmesh_replication::{Follower, FollowerOrders, Lost, Received, ReplicationId, Source};
use slotmesh_shard::{LoadError, LoadRules, Loader, Replay, ReplayNews, Shard};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

/// Bytes of the link that wait while our shard is in another core's hand, beyond which it is not read.
const INBOX_BYTES_MAX: usize = 4 << 20;
/// Bytes of a request in which its name is looked for, to tell it.
const NAME_LOOK_BYTES: usize = 128;

/// Why an image is not taken.
const UNCONFIRMED: &str = "The node at the master's address has not told on the cluster bus that it is our master: its data do not replace ours";

/// The link to a master.
pub(super) struct Link {
    pub(super) follower: Follower,
    dialler: Dialler<u32>,
    bell: BellEnd,
    /// Whether the data loop listens to the bell.
    is_heard: bool,
    /// Number of the dial.
    dial: u32,
    pub(super) socket: Option<SocketId>,
    /// When the socket came to stand.
    connected_at: Monotonic,
    /// What has come and was not looked at.
    inbox: Vec<u8>,
    is_paused: bool,
    /// Whether the other end has closed it.
    has_ended: bool,
    stream: Stream,
    /// The image that is coming.
    image: Option<Image>,
}

/// The master's stream as we follow it.
struct Stream {
    replay: Replay,
    /// Bytes that have come and are part of no whole block.
    unapplied: Vec<u8>,
    /// Whether it held what we cannot follow: only an image helps.
    is_broken: bool,
    /// Whether we were ever in sync with this master.
    is_known: bool,
}

/// An image that is coming.
struct Image {
    id: ReplicationId,
    offset: u64,
    loader: Option<Loader>,
    /// One for each shard.
    keyspaces: Vec<Keyspace>,
    bytes: u64,
}

impl Link {
    /// # Errors
    /// If there are no descriptors left.
    pub(super) fn new(follower: Follower, source: Option<IpAddr>) -> io::Result<Self> {
        let (ringer, bell) = bell()?;
        let mut dialler = Dialler::new(ringer);
        dialler.set_source(source);
        Ok(Self {
            follower,
            dialler,
            bell,
            is_heard: false,
            dial: 0,
            socket: None,
            connected_at: Monotonic::default(),
            inbox: Vec::new(),
            is_paused: false,
            has_ended: false,
            stream: Stream::new(),
            image: None,
        })
    }

    /// Goes on with what the link before has followed, in the database that was selected there.
    pub(super) fn select(&mut self, db: u16) {
        self.stream.replay.select(db);
    }

    /// The database that is selected behind what was applied.
    pub(super) fn selected(&self) -> u16 {
        self.stream.replay.selected()
    }

    /// Whether we were in sync once, and have not lost the thread.
    pub(super) fn is_synced(&self) -> bool {
        self.stream.is_known && !self.stream.is_broken
    }

    /// Whether an image was announced.
    pub(super) fn has_image(&self) -> bool {
        self.image.is_some()
    }

    /// Bytes of the image that is coming.
    pub(super) fn image_bytes(&self) -> Option<u64> {
        self.follower.takes_image().then(|| self.image.as_ref().map_or(0, |image| image.bytes))
    }

    /// Bytes that were read of the stream and not applied.
    pub(super) fn unapplied(&self) -> u64 {
        self.stream.unapplied.len() as u64
    }

    /// Bytes have come.
    pub(super) fn receive(&mut self, bytes: &[u8]) {
        self.inbox.extend_from_slice(bytes);
    }

    /// The other end has closed the link.
    pub(super) fn ended(&mut self) {
        self.has_ended = true;
    }

    /// A name may have been resolved.
    pub(super) fn hear_bell(&mut self) {
        self.bell.hush();
        self.is_heard = false;
    }

    /// Ends the link for good.
    pub(super) fn close(&mut self, hands: &mut Hands<'_>) {
        if let Some(socket) = self.socket.take() {
            hands.sockets.close(socket);
        }
        self.dialler.give_up(self.dial);
    }

    fn adopt(&mut self, io: &mut DataLoop<Parcel>, socket: OwnedFd, keepalive_s: u32) {
        let _ = tcp::set_nodelay(socket.as_fd());
        if keepalive_s > 0 {
            let _ = tcp::set_keepalive(socket.as_fd(), keepalive_s);
        }
        self.socket = Some(io.sockets.adopt_link(socket));
        self.inbox.clear();
        (self.has_ended, self.is_paused) = (false, false);
    }
}

/// Where what comes from a master goes.
struct Sink<'a, 'b> {
    shards: &'a mut [&'b mut Shard],
    source: &'a mut Source<SocketId>,
    journal: &'a mut AppendLog,
    now: UnixMillis,
    stream: &'a mut Stream,
    image: &'a mut Option<Image>,
    limits: ValueLimits,
    read: ReadLimits,
    /// Whether it is known to be the data of the node that is our master: else it takes the place of nothing.
    is_confirmed: bool,
    /// Replicas of ours that are to come again.
    expelled: Vec<SocketId>,
    news: Vec<ReplayNews>,
    /// Lines for the log.
    log: Vec<String>,
}

impl Sink<'_, '_> {
    fn take(&mut self, received: Received<'_>) -> Result<(), String> {
        match received {
            Received::Full(id, offset) => {
                if !self.is_confirmed && self.shards.iter().any(|shard| key_count(shard.keyspace()) > 0) {
                    return Err(UNCONFIRMED.to_owned());
                }
                let keyspaces = self.shards.iter().map(|shard| shard.blank()).collect();
                *self.image = Some(Image { id, offset, loader: None, keyspaces, bytes: 0 });
                Ok(())
            }
            Received::ImageBegins(_) => {
                if let (Some(image), Some(first)) = (&mut self.image, self.shards.first()) {
                    // What is over is the master's to remove.
                    image.loader = Some(Loader::new(LoadRules::everything(self.read, first.hasher())));
                }
                Ok(())
            }
            Received::Image(bytes) => match self.image {
                Some(image) => image
                    .load(bytes)
                    .map_err(|why| format!("Failed trying to load the MASTER synchronization DB: {why}")),
                None => Ok(()),
            },
            Received::ImageEnds => self.take_over(),
            Received::Continue(id) => {
                if let Some(id) = id {
                    self.expelled.extend(self.source.follow_name(id));
                }
                self.stream.unapplied.clear();
                self.stream.replay.rewind();
                self.stream.is_known = true;
                Ok(())
            }
            Received::Stream(bytes) => self.replay(bytes),
        }
    }

    fn take_over(&mut self) -> Result<(), String> {
        let Some(mut image) = self.image.take() else { return Ok(()) };
        let mut selected = 0;
        if let Some(loader) = image.loader.take() {
            let facts = loader.finish();
            let facts = facts.map_err(|why| format!("Failed trying to load the MASTER synchronization DB: {why}"))?;
            selected = facts.position.db();
        }
        let keys: usize = image.keyspaces.iter().map(key_count).sum();
        self.log.push(format!("MASTER <-> REPLICA sync: Loading DB in memory: {keys} keys, {} bytes", image.bytes));
        for (shard, keyspace) in self.shards.iter_mut().zip(image.keyspaces) {
            shard.take_over(keyspace, self.limits);
        }
        self.journal.begin_anew();
        self.expelled.extend(self.source.adopt(image.id, image.offset));
        *self.stream = Stream { is_known: true, ..Stream::new() };
        // A master that is a replica itself passes on a stream that may have selected something long ago.
        self.stream.replay.select(selected);
        self.log.push("MASTER <-> REPLICA sync: Finished with success".to_owned());
        Ok(())
    }

    fn replay(&mut self, bytes: &[u8]) -> Result<(), String> {
        let stream = &mut *self.stream;
        stream.unapplied.extend_from_slice(bytes);
        let (before, selected) = (stream.replay.applied(), stream.replay.selected());
        let fed = stream.replay.feed(self.shards, bytes, self.limits);
        let applied = (stream.replay.applied() - before) as usize;
        // What we pass on and count is what we hold.
        self.source.append(&stream.unapplied[..applied]);
        let offset = self.source.history().offset();
        let db = (selected, stream.replay.selected());
        self.journal.append_of_master(&stream.unapplied[..applied], db, offset, self.now);
        stream.unapplied.drain(..applied);
        let news = stream.replay.take_news();
        if news != ReplayNews::default() {
            self.news.push(news);
        }
        fed.map_err(|error| {
            stream.is_broken = true;
            let at = usize::try_from(error.at.saturating_sub(stream.replay.applied())).unwrap_or(usize::MAX);
            let name = stream.unapplied.get(at..).and_then(command_name).unwrap_or_default();
            stream.unapplied = Vec::new();
            format!("The MASTER's stream cannot be followed ({error}{name}): a full resync is needed")
        })
    }
}

fn key_count(keyspace: &Keyspace) -> usize {
    (0..keyspace.databases()).filter_map(|db| Some(keyspace.find_db(db)?.len())).sum()
}

/// For the log: the name of the request at the begin of these bytes, if it is one.
fn command_name(bytes: &[u8]) -> Option<String> {
    let mut lines = bytes.get(..NAME_LOOK_BYTES.min(bytes.len()))?.split(|&byte| byte == b'\n');
    let (count, length, name) = (lines.next()?, lines.next()?, lines.next()?);
    let is_request = count.starts_with(b"*") && length.starts_with(b"$");
    is_request.then(|| format!(", '{}'", name.trim_ascii_end().escape_ascii()))
}

impl Stream {
    fn new() -> Self {
        Self { replay: Replay::of_master(), unapplied: Vec::new(), is_broken: false, is_known: false }
    }
}

impl Image {
    fn load(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        let Some(loader) = &mut self.loader else { return Ok(()) };
        self.bytes += bytes.len() as u64;
        let mut keyspaces: Vec<&mut Keyspace> = self.keyspaces.iter_mut().collect();
        // A length that says otherwise is a lie, and who lies may send without end.
        loader.push(bytes, &mut keyspaces, false)
    }
}

impl Replication {
    /// Does what the link to our master has to do in this turn.
    pub(super) fn follow(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        let Some(mut link) = self.link.take() else { return };
        let (now, keepalive_s) = (engine.monotonic, engine.hot.tcp_keepalive_s);
        let mut orders = FollowerOrders::default();
        if !std::mem::replace(&mut link.is_heard, true) {
            io.poll_readable(link.bell.as_fd(), MASTER_BELL);
        }
        for (_, outcome) in link.dialler.take() {
            match outcome {
                Ok(socket) => {
                    link.adopt(io, socket, keepalive_s);
                    link.connected_at = now;
                    if let Some(bus) = &mut engine.bus {
                        bus.machine.get_mut().ask_master();
                    }
                    link.follower.connected(now, &mut orders);
                }
                Err(error) => link.follower.lost(Lost::NotDialled(error.to_string()), now, &mut orders),
            }
        }
        if link.inbox.len() > INBOX_BYTES_MAX
            && let Some(socket) = link.socket
        {
            link.is_paused = true;
            io.sockets.pause(socket);
        }
        // What has come before the end counts.
        if link.has_ended && link.inbox.is_empty() {
            link.has_ended = false;
            if link.socket.is_some() {
                link.follower.lost(Lost::Closed, now, &mut orders);
            }
        }
        if now >= link.follower.deadline() {
            link.follower.set_on_disk(self.journal.offset_on_disk());
            link.follower.tick(now, self.source.history().offset(), &mut orders);
        }
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        self.obey(&mut link, &mut hands, orders);
        self.link = Some(link);
    }

    /// Whether something has come that nobody has looked at.
    pub(super) fn wants_to_hear(&self) -> bool {
        !self.is_hearing && self.link.as_ref().is_some_and(|link| !link.inbox.is_empty())
    }

    /// Takes what has come, with our shards in hand.
    pub(super) fn hear(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, shards: &mut [&mut Shard]) {
        let Some(mut link) = self.link.take() else { return };
        let mut orders = FollowerOrders::default();
        let news = self.take_inbox(&mut link, engine, hands, shards, &mut orders);
        self.obey(&mut link, hands, orders);
        self.link = Some(link);
        for (kind, channel, text) in news {
            engine.hear_from_master(hands, Message { kind, channel: &channel, text: &text });
        }
    }

    /// Takes what has come; messages for our clients.
    fn take_inbox(
        &mut self,
        link: &mut Link,
        engine: &mut Engine,
        hands: &mut Hands<'_>,
        shards: &mut [&mut Shard],
        orders: &mut FollowerOrders,
    ) -> Vec<(ChannelKind, Vec<u8>, Vec<u8>)> {
        let position = self.source.backlog().is_some() && !link.stream.is_broken;
        link.follower.go_on_from(position.then(|| self.source.history().position()));
        let limits = engine.hot_limits();
        let read = ReadLimits {
            string_bytes_max: usize::MAX,
            databases: engine.settings.value(directive::DATABASES),
            list_packed: limits.list_packed,
            checksum: self.rules.checksum,
        };
        let now = engine.monotonic;
        if std::mem::take(&mut link.is_paused)
            && let Some(socket) = link.socket
        {
            hands.sockets.resume(socket);
        }
        let inbox = std::mem::take(&mut link.inbox);
        if inbox.is_empty() {
            return Vec::new();
        }
        link.follower.set_on_disk(self.journal.offset_on_disk());
        let (expelled, news, log) = (Vec::new(), Vec::new(), Vec::new());
        let (since, (_, port)) = (link.connected_at, link.follower.master());
        // Outside of a cluster whoever lives at the address that the operator named is the master.
        let is_confirmed = engine.bus.as_ref().is_none_or(|bus| bus.is_master_confirmed(since, port));
        let Link { follower, stream, image, .. } = link;
        let (source, journal, unix) = (&mut self.source, &mut *self.journal, engine.now);
        let mut sink =
            Sink { shards, source, journal, now: unix, stream, image, limits, read, is_confirmed, expelled, news, log };
        follower.receive(now, &inbox, orders, &mut |received| sink.take(received));
        let Sink { expelled, news, log, stream, source, .. } = sink;
        log.into_iter().for_each(|line| orders.log.push((false, line)));
        engine.shard_used = true;
        for key in expelled {
            engine.killed.push(key.index);
        }
        let mut messages = Vec::new();
        for news in news {
            if let Some(behind) = news.ack {
                let applied = source.history().offset();
                // It is told how far we were when it asked.
                follower.acknowledge(applied - (stream.replay.applied() - behind), orders);
            }
            messages.extend(news.messages);
        }
        messages
    }

    fn obey(&mut self, link: &mut Link, hands: &mut Hands<'_>, orders: FollowerOrders) {
        for (warns, line) in orders.log {
            match warns {
                true => self.log.warning(format_args!("{line}")),
                false => self.log.notice(format_args!("{line}")),
            }
        }
        if let Some(socket) = link.socket
            && !orders.send.is_empty()
            && let Some(output) = hands.sockets.output(socket)
        {
            output.extend_from_slice(&orders.send);
            hands.sockets.commit(socket);
        }
        self.watch_failover(link, orders.close);
        if orders.close {
            link.close(hands);
            link.image = None;
            link.inbox.clear();
        }
        if orders.dial {
            let (host, port) = link.follower.master();
            let host = Host::parse(host.as_bytes());
            link.dial += 1;
            match host {
                Some(host) => link.dialler.dial(link.dial, &host, port),
                None => link.dialler.fail(link.dial),
            }
        }
    }
}
