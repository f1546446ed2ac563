//! Images on their way to replicas: snapshots of the shards of our stream, a slice of each per turn.

use super::image_writer::ImageForm;
use super::mail::Slice;
use super::stream::{BegunImage, ImageFor};
use super::walk::{Walked, Walks};
use super::{Replication, WINDOW_BYTES};
use crate::core_loop::TURN_BYTES_MAX;
use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use slotmesh_conf::directive;
use slotmesh_io::{DataLoop, SocketId, Sockets, entropy};
use slotmesh_keyspace::SnapshotId;
use slotmesh_rdb::{Header, ReplicationState, WriteOptions};
use slotmesh_replication::{Framing, MARK_BYTES, ReplicaState};
use slotmesh_shard::{REDIS_VERSION, Shard};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Bytes of a file that are sent at once.
const FILE_PIECE_BYTES: usize = 256 * 1024;

/// An image on its way to a replica.
pub(super) struct Image {
    replica: SocketId,
    walks: Walks,
    way: Way,
    bytes: u64,
}

/// How an image goes out.
enum Way {
    /// As it is made; this mark says where it ends.
    Streamed([u8; MARK_BYTES]),
    /// Into a file without a name first, since its length goes before it; how much of the file has been sent.
    Spooled(File, u64),
}

impl Replication {
    /// Whether a snapshot of our own shard is being walked.
    pub(super) fn walks(&self, own: u16) -> bool {
        self.images.iter().any(|image| image.walks.walks(own))
    }

    /// Whether replicas wait for images that have not begun.
    pub(super) fn wants_images(&self) -> bool {
        self.waiting().next().is_some()
    }

    /// Replicas that wait for images that have not begun.
    fn waiting(&self) -> impl Iterator<Item = SocketId> {
        let waits = |state| state == ReplicaState::AwaitsImage;
        let keys = self.source.replicas().iter().filter(move |replica| waits(replica.state)).map(|replica| replica.key);
        keys.filter(|&key| !self.images.iter().any(|image| image.replica == key))
    }

    /// Begins snapshots of all shards, which are in hand, for those who wait for images, and for whoever wants a file.
    pub(super) fn begin_snapshots(&mut self, engine: &mut Engine, shards: &mut [&mut Shard]) -> Vec<BegunImage> {
        let copies_bytes_max = match self.rules.output_hard_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        // Where the stream was when the shards were in hand, if nothing but our master makes it longer.
        let place = self.link.as_ref().map(|link| (self.source.history().offset(), link.selected()));
        let file = engine.persistence.as_ref().and_then(|persistence| persistence.wanted_file(shards));
        // What is kept for a file has no bound of its own: each page once at most.
        let files = file.map(|file| (ImageFor::File(file), usize::MAX));
        let replicas = self.waiting().map(|replica| (ImageFor::Replica(replica), copies_bytes_max));
        let mut begun = Vec::new();
        for (wanted_by, bytes_max) in files.into_iter().chain(replicas) {
            let mut snapshots = Vec::new();
            for (&core, shard) in self.cores.iter().zip(shards.iter_mut()) {
                snapshots.extend(shard.begin_snapshot(bytes_max).map(|(snapshot, _)| (core, snapshot)));
            }
            if snapshots.len() == self.cores.len() {
                begun.push(BegunImage { wanted_by, snapshots, place });
                continue;
            }
            // There are too many: it is tried again.
            for (core, snapshot) in snapshots {
                let place = self.cores.iter().position(|&of| of == core).unwrap_or_default();
                shards[place].end_snapshot(snapshot);
            }
            break;
        }
        begun
    }

    /// All that came before the snapshots is in the stream: the image begins.
    pub(super) fn begin_image(&mut self, begun: BegunImage, engine: &mut Engine, hands: &mut Hands<'_>) {
        let BegunImage { wanted_by, snapshots, place } = begun;
        let (head, mut walks) = self.begin_walks(&wanted_by, snapshots, place, engine);
        let key = match wanted_by {
            ImageFor::Replica(key) => key,
            ImageFor::File(file) => {
                let base = file.is_aof_base().then(|| self.begin_base(engine)).flatten();
                if file.is_aof_base() && base.is_none() {
                    return walks.give_up(engine, hands);
                }
                let is_base = file.is_aof_base();
                if !engine.begin_file(hands, file, (walks, head), base) && is_base {
                    self.journal.end_image(Err(()), engine.monotonic);
                }
                return;
            }
        };
        let Some(replica) = self.source.replica(key).filter(|replica| replica.state == ReplicaState::AwaitsImage)
        else {
            return walks.give_up(engine, hands);
        };
        let (can, without_keys) = (replica.facts.capabilities.eof, replica.facts.without_keys);
        let streams = can && (self.rules.streams_images || without_keys);
        let way = match streams {
            true => Way::Streamed(mark()),
            false => match unnamed_file() {
                Ok(file) => Way::Spooled(file, 0),
                Err(error) => {
                    self.log.warning(format_args!("No file for the image of a replica: {error}"));
                    engine.killed.push(key.index);
                    return walks.give_up(engine, hands);
                }
            },
        };
        if without_keys {
            // Of what there would be nothing but keys is wanted.
            walks.give_up(engine, hands);
        }
        let target = if streams { "replicas sockets" } else { "disk" };
        let facts = replica.facts.clone();
        self.log.notice(format_args!("Starting an image for SYNC of {facts} with target: {target}"));
        let line = self.source.begin_image(key);
        let mut image = Image { replica: key, walks, way, bytes: 0 };
        if let Some(output) = hands.sockets.output(key) {
            // A replica with SYNC only gets the image and nothing before.
            if !facts.is_old {
                output.extend_from_slice(line.as_bytes());
            }
            if let Way::Streamed(mark) = &image.way {
                output.extend_from_slice(&Framing::Mark(*mark).line());
            }
            hands.sockets.commit(key);
        }
        self.put(&mut image, hands.sockets, &head);
        self.images.push(image);
    }

    /// The begin of an image, and the walks that make up the rest of it. `place` is where the stream was when the snapshots
    /// were begun, if that is not where it is now, and the database that was selected there.
    fn begin_walks(
        &mut self,
        wanted_by: &ImageFor,
        snapshots: Vec<(u16, SnapshotId)>,
        place: Option<(u64, u16)>,
        engine: &Engine,
    ) -> (Vec<u8>, Walks) {
        let options = WriteOptions { compresses: self.rules.compresses, checksum: self.rules.checksum };
        let history = self.source.history();
        let id = history.id();
        // Behind the snapshots whoever writes selects anew.
        let (offset, stream_db) = place.unwrap_or((history.offset(), 0));
        let is_base = matches!(wanted_by, ImageFor::File(file) if file.is_aof_base());
        let has_place = matches!(wanted_by, ImageFor::Replica(_)) || self.source.backlog().is_some() && !is_base;
        let form = match is_base && !engine.settings.value(directive::AOF_USE_RDB_PREAMBLE) {
            true => {
                let marks_time = engine.settings.value(directive::AOF_TIMESTAMP_ENABLED);
                ImageForm::Commands(marks_time.then(|| engine.now.as_secs()))
            }
            false => ImageForm::Rdb(options),
        };
        let replication = ReplicationState { stream_db, id: id.as_str(), offset: offset as i64 };
        let header = Header {
            redis_version: REDIS_VERSION,
            created_at: engine.now.as_secs(),
            used_memory: engine.process.used_memory(),
            replication: has_place.then_some(replication),
            is_aof_base: is_base,
        };
        self.image_number += 1;
        let mut head = Vec::new();
        let walks = Walks::begin(self.image_number, snapshots, form, &header, &mut head);
        (head, walks)
    }

    /// Goes on with the images that are under way.
    pub(super) fn send_images(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        if self.images.is_empty() {
            return;
        }
        let mut images = std::mem::take(&mut self.images);
        images.retain_mut(|image| self.go_on(image, engine, io));
        self.images.append(&mut images);
    }

    /// Hands bytes of an image on; whether that went well.
    fn put(&mut self, image: &mut Image, sockets: &mut Sockets, bytes: &[u8]) -> bool {
        image.bytes += bytes.len() as u64;
        match &mut image.way {
            Way::Streamed(_) => {
                self.output_bytes += bytes.len() as u64;
                if let Some(output) = sockets.output(image.replica) {
                    output.extend_from_slice(bytes);
                    sockets.commit(image.replica);
                }
                true
            }
            Way::Spooled(file, _) => match file.write_all(bytes) {
                Ok(()) => true,
                Err(error) => {
                    self.log.warning(format_args!("Write error saving DB for a replica: {error}"));
                    false
                }
            },
        }
    }

    /// Goes on with an image by a slice; whether it is under way still.
    fn go_on(&mut self, image: &mut Image, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> bool {
        let is_wanted =
            self.source.replica(image.replica).is_some_and(|replica| replica.state == ReplicaState::TakesImage);
        if !is_wanted {
            // The replica has gone, or the data are other ones now.
            let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
            image.walks.give_up(engine, &mut hands);
            return false;
        }
        if io.sockets.pending_bytes(image.replica) >= WINDOW_BYTES || io.sockets.turn_bytes() > TURN_BYTES_MAX {
            return true;
        }
        match image.walks.is_whole() {
            false => self.walk(image, engine, io),
            true => self.send_file(image, engine, io),
        }
    }

    fn walk(&mut self, image: &mut Image, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> bool {
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        let mut piece = Vec::new();
        let walked = image.walks.go_on(engine, &mut hands, &mut piece);
        if walked == Walked::Dropped {
            self.log.warning(format_args!(
                "The image for a replica was given up: more was written meanwhile than client-output-buffer-limit lets be kept for it"
            ));
        }
        if walked == Walked::Dropped || !self.put(image, hands.sockets, &piece) {
            image.walks.give_up(engine, &mut hands);
            engine.killed.push(image.replica.index);
            return false;
        }
        if walked == Walked::More {
            return true;
        }
        self.end_walk(image, engine, io)
    }

    /// A slice of another core's shard has come; whether it is one for a replica.
    pub(super) fn take_slice(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, core: u16, slice: &Slice) -> bool {
        let Some(place) = self.images.iter().position(|image| image.walks.number() == slice.image) else {
            return false;
        };
        let mut image = self.images.swap_remove(place);
        if !image.walks.take_slice(core, slice) || self.put(&mut image, hands.sockets, &slice.bytes) {
            self.images.push(image);
        } else {
            image.walks.give_up(engine, hands);
            engine.killed.push(image.replica.index);
        }
        true
    }

    /// All snapshots have been walked.
    fn end_walk(&mut self, image: &mut Image, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> bool {
        match &image.way {
            Way::Streamed(mark) => {
                let mark = *mark;
                if let Some(output) = io.sockets.output(image.replica) {
                    output.extend_from_slice(&mark);
                    io.sockets.commit(image.replica);
                }
                self.end_image(image, engine, true);
                false
            }
            Way::Spooled(..) => {
                if let Some(output) = io.sockets.output(image.replica) {
                    output.extend_from_slice(&Framing::Length(image.bytes).line());
                    io.sockets.commit(image.replica);
                }
                true
            }
        }
    }

    fn send_file(&mut self, image: &mut Image, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> bool {
        let Way::Spooled(file, sent) = &mut image.way else { return false };
        let left = image.bytes - *sent;
        let mut piece = vec![0; FILE_PIECE_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX))];
        if let Err(error) = file.read_exact_at(&mut piece, *sent) {
            self.log.warning(format_args!("Read error sending DB to replica: {error}"));
            engine.killed.push(image.replica.index);
            return false;
        }
        *sent += piece.len() as u64;
        self.output_bytes += piece.len() as u64;
        let is_whole = *sent == image.bytes;
        if let Some(output) = io.sockets.output(image.replica) {
            output.extend_from_slice(&piece);
            io.sockets.commit(image.replica);
        }
        if is_whole {
            self.end_image(image, engine, false);
        }
        !is_whole
    }

    fn end_image(&mut self, image: &Image, engine: &mut Engine, starts_by_ack: bool) {
        let Some(replica) = self.source.replica(image.replica) else { return };
        let facts = replica.facts.clone();
        self.source.end_image(image.replica, starts_by_ack, engine.monotonic);
        if facts.image_only {
            self.log.notice(format_args!("Close the connection with replica {facts} as RDB transfer is complete"));
            engine.finish(image.replica.index);
        } else if !starts_by_ack {
            self.log.notice(format_args!("Synchronization with replica {facts} succeeded"));
        }
    }
}

/// A mark that no image holds.
fn mark() -> [u8; MARK_BYTES] {
    let digits: String = (0..3).map(|_| format!("{:016x}", entropy::random_u64())).collect();
    std::array::from_fn(|place| digits.as_bytes()[place])
}

/// A file in the working directory that goes with its descriptor.
fn unnamed_file() -> io::Result<File> {
    let name = format!("temp-{}-{:016x}.rdb", std::process::id(), entropy::random_u64());
    let file = File::options().read(true).write(true).create_new(true).open(&name)?;
    std::fs::remove_file(&name)?;
    Ok(file)
}
