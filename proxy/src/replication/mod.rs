//! Replication of the stream that a core is the owner of: towards replicas, and from a master.
//!
//! *For*: what a turn does for replicas (the stream, images, acknowledgements), for the link to our master, and for
//! clients that wait for replicas. *Not here*: what the bytes mean (`slotmesh_replication`, `slotmesh_rdb`,
//! `slotmesh_shard::Replay`). *Invariants*: all of it runs on the core of the stream, in its turns, behind the requests
//! of the turn; a replica's connection is a client's, its master's link is a socket of our own; nothing of the stream
//! is written while a shard is in another core's hand. *Read first*: `drive` below.
//!
//! In a cluster each shard owns a stream. Else the process has one, on its first core: the other cores send it what their
//! shards have done (`mail.rs`), it brings that into one order (`stream.rs`), and whatever changes the stream as a whole
//! is done with all shards in hand.

mod board;
mod facts;
mod failover;
mod image;
mod image_writer;
mod link;
mod logged;
mod mail;
mod orders;
mod stream;
mod waits;
mod walk;

use crate::core_loop::TURN_BYTES_MAX;
use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use crate::log::Log;
use crate::persistence::{AppendLog, Reload};
pub(crate) use board::StreamBoard;
use failover::Handover;
use image::Image;
use link::Link;
pub(crate) use mail::{ReplicationMail, Slice, StreamErrands};
use orders::RoleOrder;
use slotmesh_base::{Monotonic, Rng};
use slotmesh_command::ChannelKind;
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{DataLoop, SocketId, entropy};
use slotmesh_replication::{DropReason, FollowerPhase, Identity, ReplicaState, Sequence, Source, SourceSettings};
use slotmesh_resp::push_request;
use slotmesh_shard::Standing;
use std::sync::Arc;
use stream::Gain;
pub(crate) use stream::{Joint, StreamWork};
use waits::ReplicaWait;
pub(crate) use waits::{ReplicaCount, Wanted, waits_for_replicas};
pub(crate) use walk::{Walked, Walks};

/// Token of the bell that tells of resolved names.
pub(crate) const MASTER_BELL: u32 = 6;
/// Bytes that wait at a replica's socket beyond which nothing is added: the rest waits in the backlog, where it is for
/// all replicas.
const WINDOW_BYTES: usize = 1 << 18;
/// The code of the system's error for a disk that is full.
const NO_SPACE: i32 = 28;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// What directives say about replication.
#[derive(Clone, Debug)]
struct Rules {
    is_read_only: bool,
    serves_stale_data: bool,
    replicas_min: u64,
    lag_s_max: u64,
    streams_images: bool,
    compresses: bool,
    checksum: bool,
    /// Bytes that may wait for a replica; the bound of what is kept for its image as well. 0 for none.
    output_hard_bytes: u64,
}

impl Rules {
    fn new(settings: &Settings) -> Self {
        Self {
            is_read_only: settings.value(directive::REPLICA_READ_ONLY),
            serves_stale_data: settings.value(directive::REPLICA_SERVE_STALE_DATA),
            replicas_min: settings.value(directive::MIN_REPLICAS_TO_WRITE),
            lag_s_max: settings.value(directive::MIN_REPLICAS_MAX_LAG),
            streams_images: settings.value(directive::REPL_DISKLESS_SYNC),
            compresses: settings.value(directive::RDBCOMPRESSION),
            checksum: settings.value(directive::RDBCHECKSUM),
            output_hard_bytes: settings.value(directive::CLIENT_OUTPUT_BUFFER_LIMIT).replica.hard_bytes,
        }
    }
}

fn source_settings(settings: &Settings) -> SourceSettings {
    let limits = settings.value(directive::CLIENT_OUTPUT_BUFFER_LIMIT).replica;
    SourceSettings {
        backlog_bytes: usize::try_from(settings.value(directive::REPL_BACKLOG_SIZE)).unwrap_or(usize::MAX),
        backlog_ttl_s: settings.value(directive::REPL_BACKLOG_TTL),
        ping_period_s: u64::from(settings.value(directive::REPL_PING_REPLICA_PERIOD)),
        timeout_s: settings.value(directive::REPL_TIMEOUT),
        output_hard_bytes: limits.hard_bytes,
        output_soft_bytes: limits.soft_bytes,
        output_soft_s: limits.soft_seconds,
    }
}

/// Who we tell our master that we are. `port` is where we serve clients.
fn identity(settings: &Settings, port: u16) -> Identity {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Identity {
        listening_port: match settings.value(directive::REPLICA_ANNOUNCE_PORT) {
            0 => port,
            announced => announced,
        },
        announced_host: text(settings.value(directive::REPLICA_ANNOUNCE_IP)),
        user: text(settings.value(directive::MASTERUSER)),
        password: text(settings.value(directive::MASTERAUTH)),
        timeout_s: settings.value(directive::REPL_TIMEOUT),
    }
}

/// The replication of one stream.
pub(crate) struct Replication {
    source: Source<SocketId>,
    /// The link to our master, if we have one.
    link: Option<Box<Link>>,
    images: Vec<Image>,
    waits: Vec<ReplicaWait>,
    /// Messages of our clients that are not in the stream yet: they come behind what was done before them.
    said: Vec<u8>,
    rules: Rules,
    identity: Identity,
    /// Our port for clients.
    port: u16,
    next_second: Monotonic,
    log: Arc<Log>,
    /// The append-only file.
    journal: Box<AppendLog>,
    /// The cores whose shards' effects make up the stream, ascending.
    cores: Vec<u16>,
    /// What they have done and has no place in the stream yet.
    sequence: Sequence<Gain>,
    /// The database that is selected at the end of the stream, if that is known.
    selected: Option<u16>,
    /// The end of the last effect in the stream.
    written: u64,
    /// Whether the shards record what they do.
    records: bool,
    /// We are about to follow a master: nothing is written any more, and what was is on its way here.
    follows_soon: bool,
    /// Works on the stream whose ends have no place in it yet.
    underway: u32,
    /// Works that have been begun and do not have their shards.
    is_hearing: bool,
    is_imaging: bool,
    is_marking: bool,
    is_setting: bool,
    /// Clients who want the append-only file loaded, when it has all that was done until now.
    reloads: Vec<Reload>,
    /// Number of the last mark, and of the last image.
    marks: u64,
    image_number: u64,
    /// When images are tried again that could not be begun.
    next_images: Monotonic,
    /// FAILOVER, while it is under way, and whether we are to lead again since it was given up.
    handover: Option<Handover>,
    leads_again: bool,
    /// What was shown last of what changes with each turn.
    shown: Option<(u64, u64)>,
    /// Bytes that came from masters and went to replicas since the start.
    input_bytes: u64,
    output_bytes: u64,
}

impl Replication {
    pub(crate) fn new(settings: &Settings, cores: Vec<u16>, port: u16, log: Arc<Log>, journal: Box<AppendLog>) -> Self {
        Self {
            source: Source::new(source_settings(settings), Rng::new(entropy::random_u64())),
            link: None,
            images: Vec::new(),
            waits: Vec::new(),
            said: Vec::new(),
            rules: Rules::new(settings),
            identity: identity(settings, port),
            port,
            next_second: Monotonic::default(),
            log,
            journal,
            cores,
            sequence: Sequence::default(),
            selected: None,
            written: 0,
            records: false,
            follows_soon: false,
            underway: 0,
            is_hearing: false,
            is_imaging: false,
            is_marking: false,
            is_setting: false,
            reloads: Vec::new(),
            marks: 0,
            image_number: 0,
            next_images: Monotonic::default(),
            handover: None,
            leads_again: false,
            shown: None,
            input_bytes: 0,
            output_bytes: 0,
        }
    }

    /// Obeys other settings.
    pub(crate) fn set_settings(&mut self, settings: &Settings) {
        self.source.set_settings(source_settings(settings));
        self.rules = Rules::new(settings);
        self.identity = identity(settings, self.port);
        self.journal.set_settings(settings);
        if let Some(link) = &mut self.link {
            link.follower.set_identity(self.identity.clone());
        }
    }

    /// Who we say that we are to masters, and to whoever may become one.
    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether we follow a master.
    pub(crate) fn is_replica(&self) -> bool {
        self.link.is_some() || self.follows_soon
    }

    /// Whether a replica is on line.
    pub(crate) fn is_followed(&self) -> bool {
        self.link.is_none() && self.source.replicas().iter().any(|replica| replica.state == ReplicaState::Online)
    }

    /// What the replica with this port for clients has acknowledged, if it is on line.
    pub(crate) fn acked_by(&self, port: u16) -> Option<u64> {
        let is_it = |replica: &&slotmesh_replication::Replica<SocketId>| {
            replica.state == ReplicaState::Online && replica.facts.listening_port == port
        };
        self.source.replicas().iter().find(is_it).map(|replica| replica.acked)
    }

    /// Whether all replicas have acknowledged all, if all that they are to get `is_settled`.
    pub(crate) fn is_caught_up(&self, is_settled: bool) -> bool {
        let offset = self.source.history().offset();
        let replicas = self.source.replicas();
        replicas.is_empty() || is_settled && replicas.iter().all(|replica| replica.acked == offset)
    }

    /// Asks all replicas how far they are.
    pub(crate) fn ask_for_acks(&mut self) {
        self.source.ask_for_acks();
    }

    /// Tells the log which replicas lack something (Redis 7.0 `server.c` `finishShutdown`).
    pub(crate) fn log_lag(&self) {
        let (offset, replicas) = (self.source.history().offset(), self.source.replicas());
        let lagging: Vec<_> = replicas.iter().filter(|replica| replica.acked != offset).collect();
        for replica in &lagging {
            let (facts, behind) = (&replica.facts, offset.saturating_sub(replica.acked));
            self.log.warning(format_args!(
                "Lagging replica {facts} reported offset {behind} behind master, state={}.",
                replica.state.name()
            ));
        }
        if !replicas.is_empty() {
            let in_sync = replicas.len() - lagging.len();
            self.log.notice(format_args!("{in_sync} of {} replicas are in sync when shutting down.", replicas.len()));
        }
    }

    /// Whether what our shards do is to be recorded.
    fn wants_effects(&self) -> bool {
        !self.is_replica() && (self.source.backlog().is_some() || self.journal.is_appending())
    }

    /// Whether anybody wants to hear what is said on channels.
    fn wants_messages(&self) -> bool {
        !self.is_replica() && self.source.backlog().is_some()
    }

    /// Whether there is nothing to do in any turn.
    fn is_idle(&self) -> bool {
        !self.is_replica()
            && self.waits.is_empty()
            && self.source.backlog().is_none()
            && self.rules.replicas_min == 0
            && !self.records
            && self.underway == 0
            && self.journal.is_idle()
    }

    /// What is refused to clients.
    fn standing(&self, now: Monotonic) -> Standing {
        match &self.link {
            Some(link) => {
                let is_down = link.follower.phase() != FollowerPhase::Follows;
                let hides = Standing::MASTER_DOWN.when(is_down && !self.rules.serves_stale_data);
                Standing::READ_ONLY.when(self.rules.is_read_only).and(hides)
            }
            None if self.follows_soon => Standing::READ_ONLY.when(self.rules.is_read_only),
            None => {
                let Rules { replicas_min, lag_s_max, .. } = self.rules;
                let lacks = replicas_min > 0 && (self.source.count_fresh(lag_s_max, now) as u64) < replicas_min;
                Standing::TOO_FEW_REPLICAS.when(lacks)
            }
        }
    }

    /// Shows what is refused from now on.
    fn show_standing(&self, engine: &mut Engine) {
        // What a client writes is to be in the first file already.
        let lacks_file = !self.is_replica() && self.journal.is_first_missing();
        let lacks_data = Standing::LOADING.when(lacks_file || engine.lacks_data());
        let lacks_data = lacks_data.and(Standing::UNSAVED.when(engine.is_unsaved()));
        let is_leaving = Standing::HANDING_OVER.when(engine.is_handing_over() || engine.process.closing.is_saving());
        let cut_off = Standing::CUT_OFF.when(engine.bus.as_ref().is_some_and(|bus| bus.is_with_minority()));
        let unwritten = match self.journal.write_error().filter(|_| !self.is_replica()) {
            Some(NO_SPACE) => Standing::DISK_FULL,
            Some(_) => Standing::UNWRITTEN,
            None => Standing::default(),
        };
        engine.standing = self.standing(engine.monotonic).and(lacks_data).and(is_leaving).and(unwritten).and(cut_off);
        if !engine.process.is_clustered() {
            engine.process.stream.set_standing(engine.standing, self.is_replica(), self.wants_messages());
        }
    }

    /// What was said on channels comes behind what was done before.
    fn pass_on_said(&mut self) {
        if !self.said.is_empty() {
            self.source.append(&std::mem::take(&mut self.said));
        }
    }

    /// A client of ours says something to a channel, which the clients of replicas hear, too.
    pub(crate) fn say(&mut self, kind: ChannelKind, channel: &[u8], text: &[u8]) {
        if !self.wants_messages() {
            return;
        }
        let name: &[u8] = if kind == ChannelKind::Shard { b"SPUBLISH" } else { b"PUBLISH" };
        push_request(&mut self.said, [name, channel, text].into_iter());
    }

    /// Shows the other cores what INFO and ROLE say.
    fn publish(&self, engine: &Engine) {
        if !engine.process.is_clustered() && engine.process.boards.len() > 1 {
            engine.process.stream.set_facts(self.facts(&engine.settings, engine.monotonic));
        }
    }

    /// The works on the stream that are due.
    fn wanted_works(&mut self, now: Monotonic, wants_file: bool) -> Vec<StreamWork> {
        let mut works = Vec::new();
        if self.records != self.wants_effects() && self.underway == 0 && !self.is_setting {
            self.is_setting = true;
            works.push(StreamWork::Record);
        }
        if self.wants_to_hear() {
            self.is_hearing = true;
            works.push(StreamWork::Hear);
        }
        works.extend(self.failover_work(now));
        if std::mem::take(&mut self.leads_again) {
            works.push(StreamWork::Role(RoleOrder::of_failover(None)));
        }
        if !self.journal.is_behind() {
            works.extend(self.reloads.drain(..).map(StreamWork::Reload));
        }
        if self.wants_mark() {
            self.is_marking = true;
            works.push(StreamWork::Mark);
        }
        if !self.is_imaging && now >= self.next_images && (wants_file || self.wants_images()) {
            self.is_imaging = true;
            works.push(StreamWork::Images);
        }
        works
    }

    /// What a turn does once the works have been begun.
    fn drive(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        self.send_images(engine, io);
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        self.answer_waits(engine, &mut hands);
        self.feed(engine, io);
        let is_new_second = engine.monotonic >= self.next_second;
        if is_new_second {
            self.next_second = engine.monotonic.plus_millis(1000);
            self.tick(engine, io);
        }
        self.end_failover(engine);
        self.show_standing(engine);
        let shown = Some((self.source.history().offset(), self.stamp()));
        if std::mem::replace(&mut self.shown, shown) != shown || is_new_second {
            self.publish(engine);
        }
    }

    /// Differs when anything of the facts has changed beside time and offset, as far as numbers can tell.
    fn stamp(&self) -> u64 {
        let replicas = self.source.replicas().iter().map(|replica| (replica.acked << 3) | replica.state as u64);
        let link = self.link.as_ref().map_or(0, |link| 1 + link.follower.phase() as u64);
        let link = link * 3 + self.failover_name().map_or(0, |name| 1 + u64::from(name.starts_with('f')));
        replicas.fold(link, |stamp, replica| stamp.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(replica + 1))
    }

    /// Sends the stream to those who are on line.
    fn feed(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        if self.source.replicas().is_empty() {
            // What is kept for those who may come has its bound nevertheless.
            return self.source.trim();
        }
        let keys: Vec<SocketId> = self.source.replicas().iter().map(|replica| replica.key).collect();
        for key in keys {
            let room = WINDOW_BYTES.saturating_sub(io.sockets.pending_bytes(key));
            if room == 0 || self.source.owed(key) == 0 {
                continue;
            }
            if let Some(output) = io.sockets.output(key) {
                let taken = self.source.take(key, room, &mut |piece| output.extend_from_slice(piece));
                self.output_bytes += taken as u64;
                io.sockets.commit(key);
            }
            if io.sockets.turn_bytes() > TURN_BYTES_MAX {
                engine.fence(&mut io.sockets);
                io.send_now();
            }
        }
        self.source.trim();
        for key in self.source.overrun() {
            self.drop_replica(engine, key, DropReason::Overrun);
        }
    }

    /// What is looked at once a second.
    fn tick(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        let (is_master, may_ping) = (self.link.is_none(), engine.pause.is_none());
        for (key, reason) in self.source.tick(is_master, may_ping, engine.monotonic) {
            self.drop_replica(engine, key, reason);
        }
        for replica in self.source.replicas() {
            // Who waits for an image hears that we are here; a newline may stand in front of it.
            if replica.state == ReplicaState::AwaitsImage
                && let Some(output) = io.sockets.output(replica.key)
            {
                output.push(b'\n');
                io.sockets.commit(replica.key);
            }
        }
    }

    fn drop_replica(&mut self, engine: &mut Engine, key: SocketId, reason: DropReason) {
        if let Some(replica) = self.source.replica(key) {
            let facts = &replica.facts;
            match reason {
                DropReason::TimedOut => {
                    self.log.warning(format_args!("Disconnecting timedout replica (streaming sync): {facts}"));
                }
                DropReason::Overrun => {
                    self.log.warning(format_args!("Replica {facts} closed for overcoming of output buffer limits."));
                }
            }
        }
        engine.killed.push(key.index);
    }

    /// When it wants a turn at the latest.
    fn deadline(&self) -> Monotonic {
        let link = self.link.as_ref().map(|link| link.follower.deadline());
        let next = link.map_or(self.next_second, |deadline| deadline.min(self.next_second));
        [self.waits_deadline(), self.failover_deadline()].into_iter().flatten().fold(next, Monotonic::min)
    }
}

impl Engine {
    /// Lets replication do what this turn has given it to do; behind the turn's requests.
    pub(crate) fn drive_replication(&mut self, io: &mut DataLoop<Parcel>) {
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        if self.errands.first_master.is_some()
            && !self.is_loading()
            && let Some((host, port)) = self.errands.first_master.take()
        {
            self.follow_master(&mut hands, host, port);
        }
        for (index, order) in std::mem::take(&mut self.errands.orders) {
            self.replicate(&mut hands, index, order);
        }
        if self.stream_is_elsewhere() {
            return self.serve_stream(&mut hands);
        }
        self.release_log();
        let Some(replication) = &self.replication else { return };
        if replication.is_idle() && !self.wants_file() {
            let lacks = u64::from(self.lacks_data()) + 2 * u64::from(self.is_unsaved());
            let shown = Some((u64::MAX, 4 * self.settings_version + lacks));
            if replication.shown != shown
                && let Some(mut replication) = self.replication.take()
            {
                replication.show_standing(self);
                replication.publish(self);
                replication.shown = shown;
                self.replication = Some(replication);
            }
            return;
        }
        if let Some((places, gain)) = self.take_own_gain()
            && let Some(replication) = &mut self.replication
        {
            replication.sequence.add(places, gain);
            self.settle_stream(&mut hands);
        }
        let Some(mut replication) = self.replication.take() else { return };
        self.walk_for_stream(&mut hands);
        replication.pass_on_said();
        replication.follow(self, io);
        let works = replication.wanted_works(self.monotonic, self.wants_file());
        self.replication = Some(replication);
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        works.into_iter().for_each(|work| self.begin_stream_work(&mut hands, work));
        let Some(mut replication) = self.replication.take() else { return };
        replication.drive(self, io);
        self.replication = Some(replication);
    }

    /// Shows what is refused to clients, which is another now.
    pub(crate) fn show_standing_again(&mut self) {
        if let Some(replication) = self.replication.take() {
            replication.show_standing(self);
            self.replication = Some(replication);
        }
    }

    /// Whether a shard of the process does not have its data yet, or has lost them.
    pub(crate) fn lacks_data(&self) -> bool {
        self.process.disk.is_loading() || self.is_silent()
    }

    /// Whether our shard has lost its data, and serves nobody.
    pub(super) fn is_silent(&self) -> bool {
        self.bus.as_ref().is_some_and(|bus| bus.is_silent())
    }

    /// Whether snapshots are to be begun for a file.
    fn wants_file(&self) -> bool {
        self.persistence.as_ref().is_some_and(|persistence| persistence.wants_snapshots())
    }

    /// When replication wants a turn at the latest, in nanoseconds, and whether it wants one at once.
    pub(crate) fn replication_deadline(&self) -> Option<(u64, bool)> {
        let wants_file = self.wants_file();
        let replication = self.replication.as_ref().filter(|replication| wants_file || !replication.is_idle())?;
        let begins_file = wants_file && !replication.is_imaging && self.monotonic >= replication.next_images;
        let reloads = !replication.reloads.is_empty() && !replication.journal.is_behind();
        Some((replication.deadline().0, begins_file || reloads || replication.walks(self.core)))
    }

    /// Whether a socket is the link to our master.
    #[inline]
    pub(crate) fn is_of_master(&self, socket: SocketId) -> bool {
        let link = self.replication.as_ref().and_then(|replication| replication.link.as_ref());
        link.is_some_and(|link| link.socket == Some(socket))
    }

    /// Bytes have come from our master.
    pub(crate) fn hear_master(&mut self, bytes: &[u8]) {
        let Some(replication) = &mut self.replication else { return };
        if let Some(link) = &mut replication.link {
            replication.input_bytes += bytes.len() as u64;
            link.receive(bytes);
        }
    }

    /// Our master has closed the link.
    pub(crate) fn lose_master(&mut self) {
        if let Some(link) = self.link() {
            link.ended();
        }
    }

    /// The name of our master may have been resolved.
    pub(crate) fn hear_master_bell(&mut self) {
        if let Some(link) = self.link() {
            link.hear_bell();
        }
    }

    fn link(&mut self) -> Option<&mut Link> {
        self.replication.as_mut()?.link.as_deref_mut()
    }

    /// A connection goes that may be a replica's.
    pub(crate) fn leave_replication(&mut self, index: u32) {
        let now = self.monotonic;
        let (Some(replication), Some(connection)) =
            (&mut self.replication, self.connections[index as usize].as_deref())
        else {
            return;
        };
        replication.forget_wait(self.core, connection.socket);
        let Some(replica) = connection.client.replica.as_ref().filter(|replica| replica.is_attached) else { return };
        let facts = &replica.facts;
        replication.log.notice(format_args!("Connection with replica {facts} lost."));
        replication.source.detach(connection.socket, now);
    }
}
