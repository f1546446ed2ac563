//! The one stream of several shards: what they have done comes in pieces, and whatever changes the stream is done with
//! all of them in hand, and then once all pieces before that have come.

use super::Replication;
use super::orders::{Attaching, RoleOrder};
use crate::engine::{Engine, Hands};
use crate::lending::Work;
use crate::persistence::{FileWanted, Loaded, Reload};
use crate::replication::mail::{ReplicationMail, STREAM_CORE};
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_io::SocketId;
use slotmesh_keyspace::SnapshotId;
use slotmesh_resp::push_request;
use slotmesh_shard::Shard;

/// Time after which images are tried again that could not be begun.
const IMAGES_RETRY_MS: u64 = 100;

/// What shards have done since they were last asked.
#[derive(Debug)]
pub(crate) struct Gain {
    pieces: Vec<Piece>,
    /// What is to be done when this has its place in the stream.
    then: Option<Then>,
}

/// A part of a shard's effects.
#[derive(Debug)]
pub(crate) struct Piece {
    bytes: Vec<u8>,
    /// The database that is selected at its end.
    db: Option<u16>,
}

/// What is done to a stream with all its shards in hand.
#[derive(Debug)]
pub(crate) enum StreamWork {
    /// Make a client a replica.
    Attach(Attaching),
    /// Lead or follow.
    Role(RoleOrder),
    /// Find out what clients wait for.
    Mark,
    /// Begin images.
    Images,
    /// Let what was admitted before a pause come to its end.
    Settle,
    /// Begin or end to record.
    Record,
    /// Take what has come from our master.
    Hear,
    /// Save all data, and load them again.
    Reload(Reload),
    /// Take what was loaded from the disk.
    Loaded(Box<Loaded>),
}

/// The end of a [`StreamWork`], in its place in the stream.
#[derive(Debug)]
pub(super) enum Then {
    Attach(Attaching),
    Role(RoleOrder),
    Mark(u64),
    Images(Vec<BegunImage>),
    Loaded(Box<Loaded>),
    Settle,
}

/// Snapshots of all shards, for an image.
#[derive(Debug)]
pub(super) struct BegunImage {
    pub(super) wanted_by: ImageFor,
    pub(super) snapshots: Vec<(u16, SnapshotId)>,
    /// Where the stream was then and which database was selected there, if that is a master's to say.
    pub(super) place: Option<(u64, u16)>,
}

impl BegunImage {
    /// Whether it is to be the base of the append-only file.
    fn is_base(&self) -> bool {
        matches!(&self.wanted_by, ImageFor::File(file) if file.is_aof_base())
    }
}

/// Who wants an image.
#[derive(Debug)]
pub(super) enum ImageFor {
    Replica(SocketId),
    File(FileWanted),
}

/// What shards in hand owe the stream before some work is done on them; see [`Engine::hand_in`].
#[derive(Debug, Default)]
pub(crate) struct Joint {
    is_joint: bool,
    pieces: Vec<Piece>,
    then: Option<Then>,
    records: Option<bool>,
}

impl Joint {
    /// Looks at the shards in hand before some work.
    pub(crate) fn begin(shards: &mut [&mut Shard], work: &Work) -> Self {
        let is_shared = || shards.len() > 1 && shards[0].effects().is_joint();
        let is_joint = matches!(work, Work::Stream(_)) || is_shared();
        let pieces = if is_joint { drain_all(shards) } else { Vec::new() };
        Self { is_joint, pieces, then: None, records: None }
    }
}

fn drain_all(shards: &mut [&mut Shard]) -> Vec<Piece> {
    shards.iter_mut().filter_map(|shard| drain(shard)).collect()
}

fn drain(shard: &mut Shard) -> Option<Piece> {
    let effects = shard.effects_mut();
    if !effects.has_gained() {
        return None;
    }
    let piece = Piece { bytes: effects.drain(), db: effects.selected() };
    if effects.is_joint() {
        // What comes next in the stream may be another shard's.
        effects.select_anew();
    }
    Some(piece)
}

impl Engine {
    /// What our shard has done, and its place among all that it does.
    pub(super) fn take_own_gain(&mut self) -> Option<(Vec<(u16, u64)>, Gain)> {
        let core = self.core;
        let shard = self.lending.home()?;
        let piece = drain(shard)?;
        let number = shard.effects_mut().number();
        Some((vec![(core, number)], Gain { pieces: vec![piece], then: None }))
    }

    /// Does some work with all shards of our stream in hand.
    pub(crate) fn begin_stream_work(&mut self, hands: &mut Hands<'_>, work: StreamWork) {
        let Some(replication) = &self.replication else { return };
        let cores = replication.cores.clone();
        self.begin_loan(hands, &cores, Work::Stream(work));
    }

    /// The part of such a work for which the shards are needed.
    pub(crate) fn work_on_stream(
        &mut self,
        hands: &mut Hands<'_>,
        shards: &mut [&mut Shard],
        joint: &mut Joint,
        work: StreamWork,
    ) {
        let Some(mut replication) = self.replication.take() else { return };
        let is_master = replication.link.is_none() && !replication.follows_soon;
        match work {
            StreamWork::Attach(attaching) => {
                joint.then = Some(Then::Attach(attaching));
                joint.records = is_master.then_some(true);
            }
            StreamWork::Role(order) => {
                if order.master.is_some() {
                    replication.follows_soon = true;
                    joint.records = Some(false);
                    if is_master {
                        self.end_waits_for_keys(hands, shards, &mut replication);
                    }
                } else {
                    // What has come whole counts.
                    replication.hear(self, hands, shards);
                    joint.records = Some(true);
                }
                replication.show_standing(self);
                joint.then = Some(Then::Role(order));
            }
            StreamWork::Mark => joint.then = Some(Then::Mark(replication.mark_waits())),
            StreamWork::Settle => joint.then = Some(Then::Settle),
            StreamWork::Images => {
                let begun = replication.begin_snapshots(self, shards);
                let is_first = begun.iter().any(BegunImage::is_base) && replication.journal.starts();
                joint.records = (is_first && is_master).then_some(true);
                joint.then = Some(Then::Images(begun));
                if self.process.closing.is_saving() {
                    // What comes home behind this is not written any more.
                    replication.show_standing(self);
                }
            }
            StreamWork::Reload(reload) => {
                let lacks = !joint.pieces.is_empty() || !replication.sequence.is_empty();
                match reload.is_of_log() && (lacks || replication.journal.is_behind()) {
                    true => replication.reloads.push(reload),
                    false => self.reload_in_hand(hands, shards, reload, &replication.journal),
                }
            }
            StreamWork::Loaded(mut loaded) => {
                let limits = self.hot_limits();
                if let Some(open) = loaded.log.take() {
                    replication.journal.take_open(open);
                }
                for (shard, from) in shards.iter_mut().zip(std::mem::take(&mut loaded.shards)) {
                    shard.take_over(from.into_keyspace(), limits);
                }
                self.shard_used = true;
                if let [shard] = shards {
                    self.claim_loaded(shard);
                }
                // From the first command that is served: the file has what comes now, or nobody.
                joint.records = replication.wants_effects().then_some(true);
                joint.then = Some(Then::Loaded(loaded));
            }
            StreamWork::Record => {
                replication.is_setting = false;
                if replication.underway == 0 {
                    joint.records = Some(replication.wants_effects());
                }
            }
            StreamWork::Hear => {
                replication.is_hearing = false;
                replication.hear(self, hands, shards);
            }
        }
        replication.underway += u32::from(joint.then.is_some());
        if let Some(records) = joint.records {
            replication.records = records;
        }
        self.replication = Some(replication);
    }

    /// Ends some work on the shards in hand: what they have done together goes into the stream as one piece.
    pub(crate) fn hand_in(&mut self, hands: &mut Hands<'_>, cores: &[u16], shards: &mut [&mut Shard], joint: Joint) {
        let Joint { is_joint, mut pieces, then, records } = joint;
        if !is_joint {
            return;
        }
        pieces.extend(drain_all(shards));
        if let Some(records) = records {
            let is_shared = shards.len() > 1;
            for shard in shards.iter_mut() {
                if shard.effects().is_recording() != records {
                    shard.record_effects(records);
                }
                shard.effects_mut().share(is_shared);
            }
        }
        if pieces.is_empty() && then.is_none() {
            return;
        }
        let numbers = shards.iter_mut().map(|shard| shard.effects_mut().number());
        let places = cores.iter().copied().zip(numbers).collect();
        let gain = Gain { pieces, then };
        match &mut self.replication {
            Some(replication) => {
                replication.sequence.add(places, gain);
                self.settle_stream(hands);
            }
            None => self.mail(hands, STREAM_CORE, ReplicationMail::Gain(places, gain)),
        }
    }

    /// Takes over whatever has its place in the stream now.
    pub(super) fn settle_stream(&mut self, hands: &mut Hands<'_>) {
        while let Some(mut replication) = self.replication.take() {
            let Some((places, Gain { pieces, then })) = replication.sequence.take() else {
                self.replication = Some(replication);
                return;
            };
            pieces.iter().for_each(|piece| replication.append(piece, self.now));
            replication.journal.note_gain(places, &self.process);
            if let Some(then) = then {
                replication.underway -= 1;
                replication.end_work(self, hands, then);
            }
            self.replication = Some(replication);
        }
    }
}

impl Replication {
    /// The stream goes on.
    fn append(&mut self, Piece { bytes, db }: &Piece, now: UnixMillis) {
        let selects = self.selected.map(|db| {
            let mut selects = Vec::new();
            push_request(&mut selects, [&b"SELECT"[..], db.to_string().as_bytes()].into_iter());
            selects
        });
        let rest = selects.and_then(|selects| bytes.strip_prefix(&*selects));
        let rest = rest.unwrap_or(bytes);
        self.source.append(rest);
        self.journal.append(rest, *db, now);
        self.selected = *db;
        self.written = self.source.history().offset();
    }

    /// Goes on where a file says that its content was: as a replica with what its master says next, as a master under a new
    /// name, so that those who followed it need no image.
    fn resume(&mut self, loaded: &Loaded, now: Monotonic) {
        let facts = &loaded.facts;
        let Some((id, offset, db)) = facts.position.get() else { return };
        if !loaded.is_master {
            self.source.resume(id, offset);
            self.selected = Some(db);
        } else if let Some(expired) = &facts.expired_effects {
            self.source.resume_as_master(id, offset, now);
            self.source.append(expired);
            self.written = self.source.history().offset();
            self.selected = None;
        }
    }

    fn end_work(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, then: Then) {
        match then {
            Then::Attach(attaching) => self.attach(engine, hands, attaching),
            Then::Role(order) => self.take_role(engine, hands, order),
            Then::Mark(number) => self.end_mark(number),
            Then::Loaded(loaded) => {
                self.resume(&loaded, engine.monotonic);
                engine.end_load(hands);
                self.show_standing(engine);
            }
            Then::Settle => self.settle_failover(),
            Then::Images(begun) => {
                self.is_imaging = false;
                // What comes next can be read from here.
                self.selected = None;
                if begun.is_empty() {
                    // Too many snapshots are under way, and one of them may last.
                    self.next_images = engine.monotonic.plus_millis(IMAGES_RETRY_MS);
                }
                begun.into_iter().for_each(|begun| self.begin_image(begun, engine, hands));
            }
        }
    }
}
