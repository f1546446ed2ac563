//! A replica's side: how it comes to its master, and how it stays there.

use crate::{Framing, ImageFrame, Position, ReplicationId};
use slotmesh_base::{Monotonic, Rng};
use slotmesh_resp::push_request;
use std::collections::VecDeque;

/// Longest line of a master, in bytes.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Time until a link that could not be had is tried again: at first, and at most.
const RETRY_MS: (u64, u64) = (100, 1000);
const ACK_PERIOD_MS: u64 = 1000;
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Who we say that we are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// The port at which we serve clients, or `replica-announce-port`.
    pub listening_port: u16,
    /// `replica-announce-ip`.
    pub announced_host: Option<String>,
    /// `masteruser`.
    pub user: Option<String>,
    /// `masterauth`.
    pub password: Option<String>,
    /// `repl-timeout`, in seconds.
    pub timeout_s: u64,
}

impl Identity {
    /// Writes AUTH, if a password was given; whether it did.
    pub fn push_auth(&self, to: &mut Vec<u8>) -> bool {
        let Some(password) = &self.password else { return false };
        match &self.user {
            Some(user) => request(to, &[b"AUTH", user.as_bytes(), password.as_bytes()]),
            None => request(to, &[b"AUTH", password.as_bytes()]),
        }
        true
    }
}

/// Where a link stands; the names of ROLE are in the texts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// `connect`: it is to be dialled, at a later time maybe.
    Waits,
    /// `connecting`: it is being dialled.
    Dials,
    /// `handshake`
    Greets,
    /// `sync`: we have asked for the stream, or an image comes.
    Syncs,
    /// `connected`
    Follows,
}

impl Phase {
    /// The word of ROLE.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waits => "connect",
            Self::Dials => "connecting",
            Self::Greets => "handshake",
            Self::Syncs => "sync",
            Self::Follows => "connected",
        }
    }
}

/// What has come from a master.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received<'a> {
    /// An image of its data at that offset of its history will come.
    Full(ReplicationId, u64),
    /// The image begins.
    ImageBegins(Framing),
    /// Bytes of the image.
    Image(&'a [u8]),
    /// The image is whole: its data are ours.
    ImageEnds,
    /// The stream goes on where we were, under this name if it has changed.
    Continue(Option<ReplicationId>),
    /// Bytes of the stream.
    Stream(&'a [u8]),
}

/// What the link wants done.
#[derive(Debug, Default)]
pub struct FollowerOrders {
    /// Dial the master.
    pub dial: bool,
    /// Close the link, or give up to dial; nothing comes from it any more.
    pub close: bool,
    /// Bytes to send, before a close.
    pub send: Vec<u8>,
    /// Lines for the log, and whether they warn.
    pub log: Vec<(bool, String)>,
}

/// Why a link has ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lost {
    /// It could not be had.
    NotDialled(String),
    /// The master has closed it.
    Closed,
}

/// What a reply answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Ping,
    Auth,
    /// An option of REPLCONF.
    Option(&'static str),
    Psync,
}

/// The link of a replica to its master.
#[derive(Debug)]
pub struct Follower {
    host: String,
    port: u16,
    identity: Identity,
    phase: Phase,
    /// What we have asked and was not answered.
    asked: VecDeque<Asked>,
    /// Bytes of a line that is not whole.
    line: Vec<u8>,
    /// Where we would go on; what we sent with the last PSYNC.
    position: Option<Position>,
    /// Whether the master is to lead from where we are: it is a replica of ours.
    asks_to_lead: bool,
    /// The offset of the image that was announced.
    image_offset: Option<u64>,
    frame: Option<ImageFrame>,
    /// When anything last came, or the phase began.
    heard_at: Monotonic,
    /// Since when we do not follow.
    down_since: Monotonic,
    retry_at: Monotonic,
    retry_ms: u64,
    next_ack: Monotonic,
    /// The offset of the stream that is on our disk, if there is one.
    on_disk: Option<u64>,
    rng: Rng,
}

impl Follower {
    /// A link to the master at this address that is to be dialled at once.
    pub fn new(host: String, port: u16, identity: Identity, now: Monotonic, rng: Rng) -> Self {
        Self {
            host,
            port,
            identity,
            phase: Phase::Waits,
            asked: VecDeque::new(),
            line: Vec::new(),
            position: None,
            asks_to_lead: false,
            image_offset: None,
            frame: None,
            heard_at: now,
            down_since: now,
            retry_at: now,
            retry_ms: RETRY_MS.0,
            next_ack: now,
            on_disk: None,
            rng,
        }
    }

    /// The address of the master.
    pub fn master(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// Where the link stands.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether an image is on its way.
    pub fn takes_image(&self) -> bool {
        self.frame.is_some()
    }

    /// When anything last came from the master.
    pub fn heard_at(&self) -> Monotonic {
        self.heard_at
    }

    /// Since when we do not follow.
    pub fn down_since(&self) -> Option<Monotonic> {
        (self.phase != Phase::Follows).then_some(self.down_since)
    }

    /// Obeys other settings; for the next handshake.
    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// Where the next PSYNC asks to go on; `None` if we have nothing of use.
    pub fn go_on_from(&mut self, position: Option<Position>) {
        self.position = position;
    }

    /// Asks the master to lead from where we are on (`PSYNC … FAILOVER`), with the next PSYNC only.
    pub fn ask_to_lead(&mut self) {
        self.asks_to_lead = true;
    }

    /// When it wants [`tick`](Self::tick) at the latest.
    pub fn deadline(&self) -> Monotonic {
        match self.phase {
            Phase::Waits => self.retry_at,
            _ => self.next_ack.min(self.heard_at.plus_millis(self.identity.timeout_s * 1000)),
        }
    }

    /// Lets time pass. `applied` is the offset that we have reached.
    pub fn tick(&mut self, now: Monotonic, applied: u64, orders: &mut FollowerOrders) {
        if self.phase == Phase::Waits {
            if now >= self.retry_at {
                self.dial(now, orders);
            }
            return;
        }
        if now.nanos_since(self.heard_at) / NANOS_PER_SECOND >= self.identity.timeout_s {
            let what = match self.phase {
                Phase::Follows => "MASTER timeout: no data nor PING received...",
                Phase::Syncs if self.takes_image() => {
                    "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter in redis.conf to a larger value."
                }
                _ => "Timeout connecting to the MASTER...",
            };
            orders.log.push((true, what.to_owned()));
            return self.give_up(now, orders);
        }
        if now >= self.next_ack {
            self.next_ack = now.plus_millis(ACK_PERIOD_MS);
            match self.phase {
                Phase::Follows => acknowledge(applied, self.on_disk, orders),
                // It may have to do with us for long, and hears that we are here.
                Phase::Syncs if self.takes_image() => orders.send.push(b'\n'),
                _ => {}
            }
        }
    }

    fn dial(&mut self, now: Monotonic, orders: &mut FollowerOrders) {
        orders.log.push((false, format!("Connecting to MASTER {}:{}", self.host, self.port)));
        orders.log.push((false, "MASTER <-> REPLICA sync started".to_owned()));
        (self.phase, self.heard_at, self.next_ack) = (Phase::Dials, now, now.plus_millis(ACK_PERIOD_MS));
        orders.dial = true;
    }

    /// The dial has come through.
    pub fn connected(&mut self, now: Monotonic, orders: &mut FollowerOrders) {
        orders.log.push((false, "Non blocking connect for SYNC fired the event.".to_owned()));
        (self.phase, self.heard_at) = (Phase::Greets, now);
        self.line.clear();
        self.asked = [Asked::Ping].into();
        request(&mut orders.send, &[b"PING"]);
    }

    /// The link is no more.
    pub fn lost(&mut self, why: Lost, now: Monotonic, orders: &mut FollowerOrders) {
        let text = match (why, self.phase) {
            (Lost::NotDialled(why), _) => format!("Error condition on socket for SYNC: {why}"),
            (Lost::Closed, Phase::Follows) => "Connection with master lost.".to_owned(),
            (Lost::Closed, Phase::Syncs) if self.takes_image() => {
                "I/O error trying to sync with MASTER: connection lost".to_owned()
            }
            (Lost::Closed, _) => "Failed to read response from the server: connection lost".to_owned(),
        };
        orders.log.push((true, text));
        self.give_up(now, orders);
    }

    /// Ends the link; it is dialled again by and by.
    fn give_up(&mut self, now: Monotonic, orders: &mut FollowerOrders) {
        orders.close = true;
        if self.phase == Phase::Follows {
            (self.down_since, self.retry_ms) = (now, RETRY_MS.0);
        }
        (self.frame, self.image_offset) = (None, None);
        self.asked.clear();
        // Several replicas of a master that has come back do not come all at once.
        let spread = self.rng.below(self.retry_ms / 4 + 1);
        self.retry_at = now.plus_millis(self.retry_ms + spread);
        self.retry_ms = (self.retry_ms * 2).min(RETRY_MS.1);
        self.phase = Phase::Waits;
    }

    /// So much of the stream is on our disk; nothing, if nothing is written there.
    pub fn set_on_disk(&mut self, offset: Option<u64>) {
        self.on_disk = offset;
    }

    /// Answers the master's question how far we are.
    pub fn acknowledge(&mut self, applied: u64, orders: &mut FollowerOrders) {
        if self.phase == Phase::Follows {
            acknowledge(applied, self.on_disk, orders);
        }
    }

    /// Takes bytes of the master. What `sink` refuses, with a reason, ends the link.
    pub fn receive(
        &mut self,
        now: Monotonic,
        mut bytes: &[u8],
        orders: &mut FollowerOrders,
        sink: &mut dyn FnMut(Received<'_>) -> Result<(), String>,
    ) {
        self.heard_at = now;
        while !bytes.is_empty() && !orders.close {
            let step = match (self.phase, &mut self.frame) {
                (Phase::Follows, _) => sink(Received::Stream(bytes)).map(|()| bytes.len()),
                (Phase::Syncs, Some(_)) => self.take_image(now, bytes, orders, sink),
                (Phase::Greets | Phase::Syncs, _) => self.take_line(bytes, orders, sink),
                (Phase::Waits | Phase::Dials, _) => return,
            };
            match step {
                Ok(taken) => bytes = &bytes[taken..],
                Err(why) => {
                    orders.log.push((true, why));
                    return self.give_up(now, orders);
                }
            }
        }
    }

    fn take_image(
        &mut self,
        now: Monotonic,
        bytes: &[u8],
        orders: &mut FollowerOrders,
        sink: &mut dyn FnMut(Received<'_>) -> Result<(), String>,
    ) -> Result<usize, String> {
        let Some(frame) = &mut self.frame else { return Ok(bytes.len()) };
        let (taken, is_whole) = frame.take(bytes, &mut |image| sink(Received::Image(image)))?;
        if is_whole {
            sink(Received::ImageEnds)?;
            self.frame = None;
            self.follow(now);
            acknowledge(self.image_offset.take().unwrap_or(0), None, orders);
        }
        Ok(taken)
    }

    fn follow(&mut self, now: Monotonic) {
        (self.phase, self.retry_ms) = (Phase::Follows, RETRY_MS.0);
        self.next_ack = now.plus_millis(ACK_PERIOD_MS);
    }

    /// Takes the bytes of one line, or of its begin.
    fn take_line(
        &mut self,
        bytes: &[u8],
        orders: &mut FollowerOrders,
        sink: &mut dyn FnMut(Received<'_>) -> Result<(), String>,
    ) -> Result<usize, String> {
        let end = bytes.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(bytes.len(), |end| end + 1);
        if self.line.len() + taken > LINE_BYTES_MAX {
            return Err("A line of the master is too long".to_owned());
        }
        self.line.extend_from_slice(&bytes[..taken]);
        if end.is_some() {
            let line = std::mem::take(&mut self.line);
            let line = line.trim_ascii_end();
            if !line.is_empty() {
                self.hear_line(line, orders, sink)?;
            }
        }
        Ok(taken)
    }

    fn hear_line(
        &mut self,
        line: &[u8],
        orders: &mut FollowerOrders,
        sink: &mut dyn FnMut(Received<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.image_offset.is_some() {
            return self.hear_frame(line, orders, sink);
        }
        let text = String::from_utf8_lossy(line).into_owned();
        match self.asked.pop_front() {
            Some(Asked::Ping) => {
                let is_fine = line[0] == b'+' || [&b"-NOAUTH"[..], b"-NOPERM"].iter().any(|ok| line.starts_with(ok));
                if !is_fine {
                    return Err(format!("Error reply to PING from master: '{text}'"));
                }
                orders.log.push((false, "Master replied to PING, replication can continue...".to_owned()));
                self.introduce(orders);
            }
            Some(Asked::Auth) if line[0] == b'-' => return Err(format!("Unable to AUTH to MASTER: {text}")),
            Some(Asked::Option(name)) if line[0] == b'-' => {
                let line = format!("(Non critical) Master does not understand REPLCONF {name}: {text}");
                orders.log.push((false, line));
            }
            Some(Asked::Auth | Asked::Option(_)) => {}
            Some(Asked::Psync) => return self.hear_answer(line, &text, orders, sink),
            None => return Err(format!("The master says '{text}' without being asked")),
        }
        if self.asked.is_empty() && self.phase == Phase::Greets {
            self.ask_for_stream(orders);
        }
        Ok(())
    }

    /// Says who we are, in one go.
    fn introduce(&mut self, orders: &mut FollowerOrders) {
        let Identity { listening_port, announced_host, .. } = &self.identity;
        if self.identity.push_auth(&mut orders.send) {
            self.asked.push_back(Asked::Auth);
        }
        request(&mut orders.send, &[b"REPLCONF", b"listening-port", listening_port.to_string().as_bytes()]);
        self.asked.push_back(Asked::Option("listening-port"));
        if let Some(host) = announced_host {
            request(&mut orders.send, &[b"REPLCONF", b"ip-address", host.as_bytes()]);
            self.asked.push_back(Asked::Option("ip-address"));
        }
        request(&mut orders.send, &[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        self.asked.push_back(Asked::Option("capa"));
    }

    fn ask_for_stream(&mut self, orders: &mut FollowerOrders) {
        self.phase = Phase::Syncs;
        self.asked.push_back(Asked::Psync);
        match self.position {
            Some(Position { id, offset }) => {
                orders.log.push((false, format!("Trying a partial resynchronization (request {id}:{offset}).")));
                let offset = offset.to_string();
                let words = [&b"PSYNC"[..], id.as_str().as_bytes(), offset.as_bytes(), b"FAILOVER"];
                let count = if std::mem::take(&mut self.asks_to_lead) { 4 } else { 3 };
                request(&mut orders.send, &words[..count]);
            }
            None => {
                let line = "Partial resynchronization not possible (no cached master)";
                orders.log.push((false, line.to_owned()));
                request(&mut orders.send, &[b"PSYNC", b"?", b"-1"]);
            }
        }
    }

    /// The answer to PSYNC.
    fn hear_answer(
        &mut self,
        line: &[u8],
        text: &str,
        orders: &mut FollowerOrders,
        sink: &mut dyn FnMut(Received<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut words = line.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
        match words.next() {
            Some(b"+FULLRESYNC") => {
                let id = words.next().and_then(ReplicationId::parse);
                let offset = words.next().and_then(|word| std::str::from_utf8(word).ok()?.parse::<u64>().ok());
                let (Some(id), Some(offset)) = (id, offset) else {
                    return Err(format!("Master replied with wrong +FULLRESYNC syntax: '{text}'"));
                };
                orders.log.push((false, format!("Full resync from master: {id}:{offset}")));
                self.image_offset = Some(offset);
                sink(Received::Full(id, offset))
            }
            Some(b"+CONTINUE") if self.position.is_some() => {
                let id = words.next().and_then(ReplicationId::parse);
                orders.log.push((false, "Successful partial resynchronization with master.".to_owned()));
                if let (Some(id), Some(Position { id: old, .. })) = (id, self.position)
                    && id != old
                {
                    orders.log.push((true, format!("Master replication ID changed to {id}")));
                }
                sink(Received::Continue(id))?;
                let now = self.heard_at;
                self.follow(now);
                Ok(())
            }
            Some(b"-NOMASTERLINK" | b"-LOADING") => {
                Err(format!("Master is currently unable to PSYNC but should be in the future: {text}"))
            }
            _ => Err(format!("Master does not support PSYNC or is in error state (reply: {text})")),
        }
    }

    /// The line in front of an image.
    fn hear_frame(
        &mut self,
        line: &[u8],
        orders: &mut FollowerOrders,
        sink: &mut dyn FnMut(Received<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let text = String::from_utf8_lossy(line);
        if line[0] == b'-' {
            return Err(format!("MASTER aborted replication with an error: {text}"));
        }
        let framing = Framing::parse(line)
            .ok_or_else(|| format!("Bad protocol from MASTER, the first byte is not '$' (we received '{text}'), are you sure the host and port are right?"))?;
        orders.log.push((
            false,
            match framing {
                Framing::Mark(_) => {
                    "MASTER <-> REPLICA sync: receiving streamed RDB from master with EOF to parser".to_owned()
                }
                Framing::Length(bytes) => {
                    format!("MASTER <-> REPLICA sync: receiving {bytes} bytes from master to parser")
                }
            },
        ));
        self.frame = Some(ImageFrame::new(framing));
        sink(Received::ImageBegins(framing))
    }
}

/// Redis 7.2 `replication.c`, `replicationSendAck`; masters before 7.2 pass over what follows the first offset.
fn acknowledge(applied: u64, on_disk: Option<u64>, orders: &mut FollowerOrders) {
    let applied = applied.to_string();
    let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", applied.as_bytes()];
    let on_disk = on_disk.map(|offset| offset.to_string());
    if let Some(offset) = &on_disk {
        words.extend([&b"FACK"[..], offset.as_bytes()]);
    }
    request(&mut orders.send, &words);
}

/// Writes a request.
fn request(to: &mut Vec<u8>, words: &[&[u8]]) {
    push_request(to, words.iter().copied());
}

#[cfg(test)]
mod tests;
