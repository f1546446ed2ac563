//! A master's side: its replicas, and what it owes each of them.

use crate::{Backlog, History, Position, ReplicationId};
use slotmesh_base::{Monotonic, Rng};
use std::fmt;

/// What the operator has set, in the units of the directives.
#[derive(Clone, Debug)]
pub struct SourceSettings {
    /// `repl-backlog-size`.
    pub backlog_bytes: usize,
    /// `repl-backlog-ttl`, in seconds; 0 for ever.
    pub backlog_ttl_s: u64,
    /// `repl-ping-replica-period`, in seconds.
    pub ping_period_s: u64,
    /// `repl-timeout`, in seconds.
    pub timeout_s: u64,
    /// `client-output-buffer-limit replica`: hard and soft bytes (0 for none), and seconds of the soft one.
    pub output_hard_bytes: u64,
    /// See above.
    pub output_soft_bytes: u64,
    /// See above.
    pub output_soft_s: u64,
}

/// What a replica can do (`REPLCONF capa`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Capabilities {
    /// An image whose length is not known before: `eof`.
    pub eof: bool,
    /// Histories that change their names: `psync2`.
    pub psync2: bool,
}

/// What a connection has said with REPLCONF, before it asked for the stream.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplicaFacts {
    /// The port at which it serves clients.
    pub listening_port: u16,
    /// The address that it wants to be known by.
    pub announced_host: Option<String>,
    /// The address from which it came.
    pub peer_host: String,
    /// What it can do.
    pub capabilities: Capabilities,
    /// It wants an image and no stream.
    pub image_only: bool,
    /// It wants the functions of the image alone.
    pub without_keys: bool,
    /// It has SYNC only, and acknowledges nothing.
    pub is_old: bool,
}

impl ReplicaFacts {
    /// The address at which it is known.
    pub fn host(&self) -> &str {
        self.announced_host.as_deref().unwrap_or(&self.peer_host)
    }
}

impl fmt::Display for ReplicaFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host() {
            host if host.contains(':') => write!(f, "[{host}]:{}", self.listening_port),
            host => write!(f, "{host}:{}", self.listening_port),
        }
    }
}

/// How far a replica has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplicaState {
    /// It is to get an image that has not begun.
    AwaitsImage,
    /// An image is on its way.
    TakesImage,
    /// The image is sent; its first acknowledgement starts the stream.
    LoadsImage,
    /// The stream goes to it.
    Online,
}

impl ReplicaState {
    /// The word of INFO.
    pub fn name(self) -> &'static str {
        match self {
            Self::AwaitsImage => "wait_bgsave",
            Self::TakesImage | Self::LoadsImage => "send_bulk",
            Self::Online => "online",
        }
    }
}

/// A replica.
#[derive(Clone, Debug)]
pub struct Replica<K> {
    /// Its connection.
    pub key: K,
    /// What it has said.
    pub facts: ReplicaFacts,
    /// How far it has come.
    pub state: ReplicaState,
    /// The last offset that it has acknowledged.
    pub acked: u64,
    /// The last offset that it has on its disk, as it says (`FACK`).
    pub acked_on_disk: u64,
    /// When it last acknowledged anything.
    pub acked_at: Monotonic,
    /// The next byte of the stream that it gets.
    next: u64,
    /// Since when what waits for it is above the soft limit.
    above_soft_since: Option<Monotonic>,
}

impl<K> Replica<K> {
    /// Whether the stream, or its begin, is kept for it.
    fn needs_stream(&self) -> bool {
        self.state != ReplicaState::AwaitsImage
    }

    /// Seconds since it last acknowledged.
    pub fn lag_s(&self, now: Monotonic) -> u64 {
        now.nanos_since(self.acked_at) / NANOS_PER_SECOND
    }
}

/// What a PSYNC or SYNC asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// SYNC, or PSYNC of somebody who has nothing.
    Everything,
    /// PSYNC of somebody who has all before this place.
    From(Position),
}

/// What becomes of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// The stream goes on: this line, then so many bytes of it are owed.
    Continue(String, u64),
    /// An image is needed: see [`Source::begin_image`].
    Image,
}

/// How often the stream was asked for, and what became of it (`sync_full`, `sync_partial_ok`, `sync_partial_err`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SyncCounts {
    /// Images that were needed.
    pub full: u64,
    /// Requests to go on that were granted.
    pub partial: u64,
    /// Requests to go on that were not.
    pub refused: u64,
}

impl SyncCounts {
    /// What came since they were those.
    pub fn since(self, old: Self) -> Self {
        Self { full: self.full - old.full, partial: self.partial - old.partial, refused: self.refused - old.refused }
    }
}

/// Why a replica is to be dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DropReason {
    /// It has acknowledged nothing for `repl-timeout`.
    TimedOut,
    /// More waits for it than `client-output-buffer-limit` allows.
    Overrun,
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

/// A node as the source of a stream: of its own, or of its master's, which it passes on.
#[derive(Debug)]
pub struct Source<K> {
    settings: SourceSettings,
    history: History,
    backlog: Option<Backlog>,
    replicas: Vec<Replica<K>>,
    syncs: SyncCounts,
    /// When PING is due.
    next_ping: Monotonic,
    /// Since when there is no replica.
    alone_since: Monotonic,
    rng: Rng,
}

impl<K: Copy + PartialEq> Source<K> {
    /// A node without replicas, whose history begins.
    pub fn new(settings: SourceSettings, mut rng: Rng) -> Self {
        let history = History::new(&mut rng);
        let zero = Monotonic::default();
        let (replicas, syncs) = (Vec::new(), SyncCounts::default());
        Self { settings, history, backlog: None, replicas, syncs, next_ping: zero, alone_since: zero, rng }
    }

    /// Obeys other settings.
    pub fn set_settings(&mut self, settings: SourceSettings) {
        self.settings = settings;
        self.trim();
    }

    /// Its history.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// What is kept of the stream, if anything.
    pub fn backlog(&self) -> Option<&Backlog> {
        self.backlog.as_ref()
    }

    /// `repl-backlog-size`.
    pub fn backlog_bytes_wanted(&self) -> usize {
        self.settings.backlog_bytes
    }

    /// How often the stream was asked for.
    pub fn syncs(&self) -> SyncCounts {
        self.syncs
    }

    /// Its replicas, in the order in which they came.
    pub fn replicas(&self) -> &[Replica<K>] {
        &self.replicas
    }

    /// A replica.
    pub fn replica(&self, key: K) -> Option<&Replica<K>> {
        self.replicas.iter().find(|replica| replica.key == key)
    }

    fn replica_mut(&mut self, key: K) -> Option<&mut Replica<K>> {
        self.replicas.iter_mut().find(|replica| replica.key == key)
    }

    /// Keeps the stream from now on, also if there are no replicas yet: a replica does, since it may become a master.
    pub fn keep(&mut self) {
        let offset = self.history.offset();
        self.backlog.get_or_insert_with(|| Backlog::new(offset));
    }

    /// Takes a replica that asks for the stream. `is_master` says whether the history is ours, and not a master's.
    pub fn attach(&mut self, key: K, facts: ReplicaFacts, request: Request, is_master: bool, now: Monotonic) -> Answer {
        if self.backlog.is_none() {
            if is_master {
                // What happened before was not counted.
                self.history.begin_anew(&mut self.rng);
            }
            self.keep();
        }
        let next = self.place_of(request);
        match next {
            Some(_) => self.syncs.partial += 1,
            None => {
                self.syncs.full += 1;
                self.syncs.refused += u64::from(request != Request::Everything);
            }
        }
        let (state, psync2) = (ReplicaState::AwaitsImage, facts.capabilities.psync2);
        self.replicas.retain(|replica| replica.key != key);
        self.replicas.push(Replica {
            key,
            facts,
            state: if next.is_some() { ReplicaState::Online } else { state },
            acked: 0,
            acked_on_disk: 0,
            acked_at: now,
            next: next.unwrap_or(0),
            above_soft_since: None,
        });
        self.next_ping = self.next_ping.max(now.plus_millis(self.settings.ping_period_s * 1000));
        match next {
            Some(next) => {
                let name = if psync2 { format!(" {}", self.history.id()) } else { String::new() };
                Answer::Continue(format!("+CONTINUE{name}\r\n"), self.history.offset() + 1 - next)
            }
            None => Answer::Image,
        }
    }

    /// Where the stream goes on for a request, if it can.
    fn place_of(&self, request: Request) -> Option<u64> {
        let (Request::From(position), Some(backlog)) = (request, &self.backlog) else { return None };
        (self.history.knows(position) && backlog.reaches(position.offset)).then_some(position.offset)
    }

    /// An image of the data as they are now begins: the line that announces it.
    pub fn begin_image(&mut self, key: K) -> String {
        let (id, offset) = (self.history.id(), self.history.offset());
        if let Some(replica) = self.replica_mut(key) {
            (replica.state, replica.next) = (ReplicaState::TakesImage, offset + 1);
        }
        format!("+FULLRESYNC {id} {offset}\r\n")
    }

    /// The whole image is sent. `starts_by_ack` says that its end is marked, and that nothing may follow before the
    /// replica says that it has found the mark.
    pub fn end_image(&mut self, key: K, starts_by_ack: bool, now: Monotonic) {
        // An offset of 0 says of a replica that it has nothing yet: what it has, it shall soon be able to say.
        self.next_ping = now;
        if let Some(replica) = self.replica_mut(key) {
            replica.state = if starts_by_ack { ReplicaState::LoadsImage } else { ReplicaState::Online };
            // It loads first, and says nothing meanwhile.
            replica.acked_at = now;
        }
    }

    /// An image could not be finished: another one is to begin.
    pub fn forget_image(&mut self, key: K) {
        if let Some(replica) = self.replica_mut(key) {
            replica.state = ReplicaState::AwaitsImage;
        }
    }

    /// A replica has acknowledged; whether that has brought it online.
    pub fn acknowledge(&mut self, key: K, offset: u64, on_disk: Option<u64>, now: Monotonic) -> bool {
        let Some(replica) = self.replica_mut(key) else { return false };
        replica.acked = replica.acked.max(offset);
        replica.acked_on_disk = replica.acked_on_disk.max(on_disk.unwrap_or(0));
        replica.acked_at = now;
        let comes_online = replica.state == ReplicaState::LoadsImage;
        if comes_online {
            replica.state = ReplicaState::Online;
        }
        comes_online
    }

    /// A replica has given a sign of life that says nothing.
    pub fn hear(&mut self, key: K, now: Monotonic) {
        if let Some(replica) = self.replica_mut(key) {
            replica.acked_at = now;
        }
    }

    /// A replica has gone.
    pub fn detach(&mut self, key: K, now: Monotonic) {
        self.replicas.retain(|replica| replica.key != key);
        if self.replicas.is_empty() {
            self.alone_since = now;
        }
        self.trim();
    }

    /// The stream goes on.
    pub fn append(&mut self, bytes: &[u8]) {
        let Some(backlog) = &mut self.backlog else { return };
        backlog.append(bytes);
        self.history.grow(bytes.len() as u64);
    }

    /// Frees what nobody needs any more.
    pub fn trim(&mut self) {
        let needed = self.replicas.iter().filter(|replica| replica.needs_stream()).map(|replica| replica.next).min();
        if let Some(backlog) = &mut self.backlog {
            backlog.trim(self.settings.backlog_bytes, needed);
        }
    }

    /// Bytes of the stream that wait for a replica to be sent.
    pub fn owed(&self, key: K) -> u64 {
        match (self.replica(key), &self.backlog) {
            (Some(replica), Some(backlog)) if replica.needs_stream() => backlog.end() - replica.next,
            _ => 0,
        }
    }

    /// Takes up to `bytes_max` bytes that are to be sent to a replica now; how many there were.
    pub fn take(&mut self, key: K, bytes_max: usize, show: &mut dyn FnMut(&[u8])) -> usize {
        let Some(place) = self.replicas.iter().position(|replica| replica.key == key) else { return 0 };
        let (replica, Some(backlog)) = (&mut self.replicas[place], &self.backlog) else { return 0 };
        if replica.state != ReplicaState::Online || replica.facts.image_only {
            return 0;
        }
        let count = backlog.read(replica.next, bytes_max, show);
        replica.next += count as u64;
        count
    }

    /// Asks all replicas how far they are.
    pub fn ask_for_acks(&mut self) {
        if !self.replicas.is_empty() {
            self.append(GETACK);
        }
    }

    /// How many replicas have all until this offset.
    pub fn count_acked(&self, offset: u64) -> usize {
        self.online().filter(|replica| replica.acked >= offset).count()
    }

    /// The same on their disks.
    pub fn count_acked_on_disk(&self, offset: u64) -> usize {
        self.online().filter(|replica| replica.acked_on_disk >= offset).count()
    }

    /// How many replicas have acknowledged anything within so many seconds (`min-replicas-max-lag`).
    pub fn count_fresh(&self, lag_s_max: u64, now: Monotonic) -> usize {
        self.online().filter(|replica| replica.lag_s(now) <= lag_s_max).count()
    }

    fn online(&self) -> impl Iterator<Item = &Replica<K>> {
        self.replicas.iter().filter(|replica| replica.state == ReplicaState::Online)
    }

    /// Lets time pass: once a second. `is_master` as in [`attach`](Self::attach); `may_ping` is false while writes are
    /// held back for a handover, when nothing may make the stream longer. Who is to be dropped.
    pub fn tick(&mut self, is_master: bool, may_ping: bool, now: Monotonic) -> Vec<(K, DropReason)> {
        if is_master && may_ping && !self.replicas.is_empty() && now >= self.next_ping {
            self.next_ping = now.plus_millis(self.settings.ping_period_s * 1000);
            self.append(PING);
        }
        let end = self.backlog.as_ref().map_or(0, Backlog::end);
        let settings = &self.settings;
        let mut dropped = Vec::new();
        for replica in &mut self.replicas {
            if is_timed_out(replica, settings, now) {
                dropped.push((replica.key, DropReason::TimedOut));
            } else if is_overrun(replica, end, settings, now) {
                dropped.push((replica.key, DropReason::Overrun));
            }
        }
        self.forget_backlog(is_master, now);
        self.trim();
        dropped
    }

    /// Who owes so much that it is to be dropped at once.
    pub fn overrun(&self) -> Vec<K> {
        let (end, hard) = (self.backlog.as_ref().map_or(0, Backlog::end), self.settings.output_hard_bytes);
        let is_overrun = |replica: &&Replica<K>| replica.needs_stream() && hard > 0 && end - replica.next > hard;
        self.replicas.iter().filter(is_overrun).map(|replica| replica.key).collect()
    }

    /// Without replicas for `repl-backlog-ttl` a master keeps nothing.
    fn forget_backlog(&mut self, is_master: bool, now: Monotonic) {
        let ttl = self.settings.backlog_ttl_s;
        let is_over = ttl > 0 && now.nanos_since(self.alone_since) / NANOS_PER_SECOND > ttl;
        if is_master && is_over && self.replicas.is_empty() && self.backlog.is_some() {
            // What is written from now on is not counted: nobody may take this history for the later one.
            self.backlog = None;
            self.history.begin_anew(&mut self.rng);
        }
    }

    /// We become the master of what we have. All replicas are to come again: they learn the new name then.
    pub fn promote(&mut self) -> Vec<K> {
        self.keep();
        self.history.branch_off(&mut self.rng);
        self.keys()
    }

    /// We have the data of a master at that offset of its history. All replicas are to come again.
    pub fn adopt(&mut self, id: ReplicationId, offset: u64) -> Vec<K> {
        self.history.adopt(id, offset);
        self.backlog = Some(Backlog::new(offset));
        self.keys()
    }

    /// The data were read from a file, and are those of that history at that offset: our master may go on from there.
    pub fn resume(&mut self, id: ReplicationId, offset: u64) {
        self.history.adopt(id, offset);
        self.backlog = Some(Backlog::new(offset));
    }

    /// The same for a master: it goes on under another name, and who has followed the old one until there goes on with it.
    pub fn resume_as_master(&mut self, id: ReplicationId, offset: u64, now: Monotonic) {
        self.resume(id, offset);
        self.history.branch_off(&mut self.rng);
        self.alone_since = now;
    }

    /// Our master goes on with its history under this name. If it is a new one, all replicas are to come again.
    pub fn follow_name(&mut self, id: ReplicationId) -> Vec<K> {
        self.keep();
        if id == self.history.id() {
            return Vec::new();
        }
        self.history.rename(id);
        self.keys()
    }

    fn keys(&self) -> Vec<K> {
        self.replicas.iter().map(|replica| replica.key).collect()
    }
}

fn is_timed_out<K>(replica: &Replica<K>, settings: &SourceSettings, now: Monotonic) -> bool {
    let is_heard = replica.state == ReplicaState::Online && !replica.facts.is_old;
    is_heard && now.nanos_since(replica.acked_at) / NANOS_PER_SECOND > settings.timeout_s
}

fn is_overrun<K>(replica: &mut Replica<K>, end: u64, settings: &SourceSettings, now: Monotonic) -> bool {
    let owed = if replica.needs_stream() { end - replica.next } else { 0 };
    if settings.output_soft_bytes == 0 || owed <= settings.output_soft_bytes {
        replica.above_soft_since = None;
        return false;
    }
    let since = *replica.above_soft_since.get_or_insert(now);
    now.nanos_since(since) / NANOS_PER_SECOND >= settings.output_soft_s
}

#[cfg(test)]
mod tests;
