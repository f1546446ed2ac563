//! What a core sends to others beside commands and their answers: shards, news for blocked clients, errands. Each waits
//! here when its lane has no room, and is tried again in the next turn.

use crate::hop::{self, Parcel, ReplyKind, RequestHead, RequestKind, ReturnAddress};
use crate::replication::ReplicationMail;
use crate::scatter::send_request;
use slotmesh_base::limits::MAILBOX_RECORD_BYTES_MAX;
use slotmesh_io::{Lane, Mail};
use slotmesh_resp::Protocol;
use slotmesh_shard::Shard;
use std::collections::VecDeque;

/// What goes on the lane of replies.
#[derive(Debug)]
pub(crate) enum Freight {
    Bytes(Vec<u8>),
    Shard(Box<Shard>),
    Replication(Box<ReplicationMail>),
}

#[derive(Debug)]
struct Letter {
    core: u16,
    kind: ReplyKind,
    back: ReturnAddress,
    freight: Freight,
}

impl Letter {
    /// Bytes of its record.
    fn len(&self) -> usize {
        let whole = match &self.freight {
            Freight::Bytes(bytes) => hop::REPLY_HEAD + bytes.len(),
            Freight::Shard(_) | Freight::Replication(_) => hop::REPLY_HEAD,
        };
        if whole <= MAILBOX_RECORD_BYTES_MAX { whole } else { hop::REPLY_HEAD }
    }

    /// Sends it; there is room.
    fn send(self, mail: &mut Mail<Parcel>) {
        let (core, len) = (usize::from(self.core), self.len());
        let (inside, parcel) = match self.freight {
            Freight::Bytes(bytes) if hop::REPLY_HEAD + bytes.len() == len => (bytes, None),
            Freight::Bytes(bytes) => (Vec::new(), Some(Parcel::Bytes(bytes))),
            Freight::Shard(shard) => (Vec::new(), Some(Parcel::Shard(shard))),
            Freight::Replication(mail) => (Vec::new(), Some(Parcel::Replication(mail))),
        };
        let is_parcel = parcel.is_some();
        if let Some(parcel) = parcel {
            mail.put_parcel(core, Lane::Replies, parcel);
        }
        let room = mail.reserve(core, Lane::Replies, len).expect("room was found before");
        hop::write_reply(self.back, self.kind, is_parcel, &inside, room);
    }
}

/// A request that nobody waits for, or whose answer is no reply.
#[derive(Debug)]
pub(crate) struct Errand {
    pub(crate) core: u16,
    pub(crate) kind: RequestKind,
    pub(crate) back: ReturnAddress,
    pub(crate) words: Vec<Vec<u8>>,
}

/// Letters and errands that have found no room yet. Bounded by what causes them: a shard is lent once, a client has one
/// wait and one span of watching, and what a transaction says was queued by it.
#[derive(Debug, Default)]
pub(crate) struct Post {
    letters: VecDeque<Letter>,
    errands: VecDeque<Errand>,
}

impl Post {
    /// Sends something on the lane of replies, in order with what waits.
    pub(crate) fn send(
        &mut self,
        mail: &mut Mail<Parcel>,
        core: u16,
        kind: ReplyKind,
        back: ReturnAddress,
        freight: Freight,
    ) {
        self.letters.push_back(Letter { core, kind, back, freight });
        self.send_letters(mail);
    }

    /// Sends an errand, in order with those that wait.
    pub(crate) fn run(&mut self, mail: &mut Mail<Parcel>, errand: Errand) {
        self.errands.push_back(errand);
        self.send_errands(mail);
    }

    /// Tries again what has waited.
    pub(crate) fn retry(&mut self, mail: &mut Mail<Parcel>) {
        self.send_letters(mail);
        self.send_errands(mail);
    }

    /// Whether errands to a core wait for room, behind which other requests must not overtake them.
    pub(crate) fn has_errand_to(&self, core: u16) -> bool {
        self.errands.iter().any(|errand| errand.core == core)
    }

    /// Number of letters that wait for room.
    pub(crate) fn waiting(&self) -> usize {
        self.letters.len()
    }

    /// Whether a letter with these bytes waits.
    pub(crate) fn holds(&self, core: u16, back: ReturnAddress, bytes: &[u8]) -> bool {
        let is_it = |freight: &Freight| matches!(freight, Freight::Bytes(held) if held == bytes);
        self.letters.iter().any(|letter| letter.core == core && letter.back == back && is_it(&letter.freight))
    }

    /// Whether something waits for room.
    pub(crate) fn waits(&self) -> bool {
        !self.letters.is_empty() || !self.errands.is_empty()
    }

    /// Letters to a core without room do not hold up those to others: it may be busy for a while.
    fn send_letters(&mut self, mail: &mut Mail<Parcel>) {
        let mut stuck: Vec<u16> = Vec::new();
        for _ in 0..self.letters.len() {
            let Some(letter) = self.letters.pop_front() else { return };
            if stuck.contains(&letter.core) || !mail.has_room(usize::from(letter.core), Lane::Replies, 1, letter.len())
            {
                stuck.push(letter.core);
                self.letters.push_back(letter);
                continue;
            }
            letter.send(mail);
        }
    }

    /// Errands to a core without room do not hold up those to others: it may be without its shard for a while, and serves
    /// no requests meanwhile.
    fn send_errands(&mut self, mail: &mut Mail<Parcel>) {
        let mut stuck: Vec<u16> = Vec::new();
        for _ in 0..self.errands.len() {
            let Some(errand) = self.errands.pop_front() else { return };
            let words = || errand.words.iter().map(Vec::as_slice);
            let len = hop::request_len(words());
            let core = usize::from(errand.core);
            let fits = len.min(MAILBOX_RECORD_BYTES_MAX);
            if stuck.contains(&errand.core) || !mail.has_room(core, Lane::Requests, 1, fits) {
                stuck.push(errand.core);
                self.errands.push_back(errand);
                continue;
            }
            let head = RequestHead {
                kind: errand.kind,
                protocol: Protocol::Resp2,
                no_touch: false,
                tracked: None,
                partial: false,
                db: 0,
                first_key: None,
                back: errand.back,
            };
            send_request(mail, errand.core, &head, len, words());
        }
    }
}
