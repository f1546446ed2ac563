//! Images on their way to replicas: snapshots of the shards of our stream, a slice of each per turn.

use super::mail::{ReplicationMail, Walk};
use super::stream::BegunImage;
use super::{Replication, WINDOW_BYTES};
use crate::core_loop::TURN_BYTES_MAX;
use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use slotmesh_base::limits::SNAPSHOT_ENTRIES_PER_TURN;
use slotmesh_io::{DataLoop, SocketId, Sockets, entropy};
use slotmesh_keyspace::{SnapshotId, SnapshotWalk};
use slotmesh_rdb::{Header, RdbWriter, ReplicationState, WriteOptions};
use slotmesh_replication::{Framing, MARK_BYTES, ReplicaState};
use slotmesh_shard::{REDIS_VERSION, Shard};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Bytes of a file that are sent at once.
const FILE_PIECE_BYTES: usize = 256 * 1024;

/// An image on its way to a replica.
pub(super) struct Image {
    /// By which the slices of other cores are known.
    number: u64,
    replica: SocketId,
    walks: Vec<ShardWalk>,
    /// Writes what the snapshots show; gone when all of it is written.
    writer: Option<RdbWriter>,
    way: Way,
    bytes: u64,
}

/// The walk over the snapshot of one shard.
struct ShardWalk {
    core: u16,
    snapshot: SnapshotId,
    state: WalkState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum WalkState {
    /// There is more.
    More,
    /// Its core was asked for the next slice.
    Asked,
    Done,
    /// More was written meanwhile than may be kept for it.
    Dropped,
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
    pub(super) fn walks(&self) -> bool {
        let own = self.cores.first();
        let is_own = |walk: &ShardWalk| Some(&walk.core) == own && walk.state == WalkState::More;
        self.images.iter().any(|image| image.walks.iter().any(is_own))
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

    /// Begins snapshots of all shards, which are in hand, for those who wait for images.
    pub(super) fn begin_snapshots(&mut self, shards: &mut [&mut Shard]) -> Vec<BegunImage> {
        let copies_bytes_max = match self.rules.output_hard_bytes {
            0 => usize::MAX,
            bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
        };
        let mut begun = Vec::new();
        for replica in self.waiting() {
            let mut snapshots = Vec::new();
            for (&core, shard) in self.cores.iter().zip(shards.iter_mut()) {
                snapshots.extend(shard.begin_snapshot(copies_bytes_max).map(|(snapshot, _)| (core, snapshot)));
            }
            if snapshots.len() == self.cores.len() {
                begun.push(BegunImage { replica, snapshots });
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
        let BegunImage { replica: key, snapshots } = begun;
        let state =
            |snapshot: (u16, SnapshotId)| ShardWalk { core: snapshot.0, snapshot: snapshot.1, state: WalkState::More };
        let walks: Vec<ShardWalk> = snapshots.into_iter().map(state).collect();
        let Some(replica) = self.source.replica(key).filter(|replica| replica.state == ReplicaState::AwaitsImage)
        else {
            return end_walks(&walks, engine, hands);
        };
        let streams = replica.facts.capabilities.eof && self.rules.streams_images;
        let way = match streams {
            true => Way::Streamed(mark()),
            false => match unnamed_file() {
                Ok(file) => Way::Spooled(file, 0),
                Err(error) => {
                    self.log.warning(format_args!("No file for the image of a replica: {error}"));
                    engine.killed.push(key.index);
                    return end_walks(&walks, engine, hands);
                }
            },
        };
        let target = if streams { "replicas sockets" } else { "disk" };
        let facts = replica.facts.clone();
        self.log.notice(format_args!("Starting an image for SYNC of {facts} with target: {target}"));
        let line = self.source.begin_image(key);
        self.image_number += 1;
        let mut image = Image { number: self.image_number, replica: key, walks, writer: None, way, bytes: 0 };
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
        let head = self.head(&mut image, engine);
        self.put(&mut image, hands.sockets, &head);
        self.images.push(image);
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

    /// The begin of an image.
    fn head(&self, image: &mut Image, engine: &Engine) -> Vec<u8> {
        let options = WriteOptions { compresses: self.rules.compresses, checksum: self.rules.checksum };
        let (mut writer, mut head) = (RdbWriter::new(options), Vec::new());
        let history = self.source.history();
        let id = history.id();
        let header = Header {
            redis_version: REDIS_VERSION,
            created_at: engine.now.as_secs(),
            used_memory: 0,
            replication: Some(ReplicationState { stream_db: 0, id: id.as_str(), offset: history.offset() as i64 }),
            is_aof_base: false,
        };
        writer.header(&mut head, &header);
        image.writer = Some(writer);
        head
    }

    /// Hands bytes of an image on; whether that went well.
    fn put(&self, image: &mut Image, sockets: &mut Sockets, bytes: &[u8]) -> bool {
        image.bytes += bytes.len() as u64;
        match &mut image.way {
            Way::Streamed(_) => {
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
            end_walks(&image.walks, engine, &mut hands);
            return false;
        }
        if io.sockets.pending_bytes(image.replica) >= WINDOW_BYTES || io.sockets.turn_bytes() > TURN_BYTES_MAX {
            return true;
        }
        match image.writer {
            Some(_) => self.walk(image, engine, io),
            None => self.send_file(image, engine, io),
        }
    }

    fn walk(&mut self, image: &mut Image, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> bool {
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        if !self.walk_own(image, engine, &mut hands) {
            end_walks(&image.walks, engine, &mut hands);
            engine.killed.push(image.replica.index);
            return false;
        }
        let (number, compresses) = (image.number, self.rules.compresses);
        let own = engine.core;
        for walk in image.walks.iter_mut().filter(|walk| walk.core != own && walk.state == WalkState::More) {
            walk.state = WalkState::Asked;
            let snapshot = walk.snapshot;
            engine.mail(&mut hands, walk.core, ReplicationMail::Walk(Walk { image: number, snapshot, compresses }));
        }
        if image.walks.iter().any(|walk| walk.state == WalkState::Dropped) {
            self.log.warning(format_args!(
                "The image for a replica was given up: more was written meanwhile than client-output-buffer-limit lets be kept for it"
            ));
            end_walks(&image.walks, engine, &mut hands);
            engine.killed.push(image.replica.index);
            return false;
        }
        if image.walks.iter().any(|walk| walk.state != WalkState::Done) {
            return true;
        }
        self.end_walk(image, engine, io)
    }

    /// Walks the snapshot of our own shard by a slice, if it is at home; whether that went well.
    fn walk_own(&mut self, image: &mut Image, engine: &mut Engine, hands: &mut Hands<'_>) -> bool {
        let own = |walk: &&mut ShardWalk| walk.core == engine.core && walk.state == WalkState::More;
        let (Some(walk), Some(writer)) = (image.walks.iter_mut().find(own), &mut image.writer) else { return true };
        let Some(shard) = engine.lending.home() else { return true };
        let mut piece = Vec::new();
        let outcome = shard.walk_snapshot(walk.snapshot, SNAPSHOT_ENTRIES_PER_TURN, &mut |entry| {
            writer.entry(&mut piece, &entry);
        });
        walk.state = state_after(outcome);
        self.put(image, hands.sockets, &piece)
    }

    /// A slice of another core's shard has come.
    pub(super) fn take_slice(
        &mut self,
        sockets: &mut Sockets,
        core: u16,
        number: u64,
        bytes: &[u8],
        outcome: SnapshotWalk,
    ) {
        let Some(place) = self.images.iter().position(|image| image.number == number) else { return };
        let mut image = self.images.swap_remove(place);
        if let Some(writer) = &mut image.writer {
            writer.splice(bytes);
        }
        let is_put = self.put(&mut image, sockets, bytes);
        if let Some(walk) = image.walks.iter_mut().find(|walk| walk.core == core) {
            walk.state = if is_put { state_after(outcome) } else { WalkState::Dropped };
        }
        self.images.push(image);
    }

    /// All snapshots have been walked.
    fn end_walk(&mut self, image: &mut Image, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> bool {
        let mut piece = Vec::new();
        if let Some(writer) = image.writer.take() {
            writer.end(&mut piece);
        }
        if !self.put(image, &mut io.sockets, &piece) {
            engine.killed.push(image.replica.index);
            return false;
        }
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

fn state_after(outcome: SnapshotWalk) -> WalkState {
    match outcome {
        SnapshotWalk::More => WalkState::More,
        SnapshotWalk::Done => WalkState::Done,
        SnapshotWalk::Dropped => WalkState::Dropped,
    }
}

/// Ends the snapshots whose walks are not done, each on its core.
fn end_walks(walks: &[ShardWalk], engine: &mut Engine, hands: &mut Hands<'_>) {
    for walk in walks.iter().filter(|walk| matches!(walk.state, WalkState::More | WalkState::Asked)) {
        engine.end_walk(hands, walk.core, walk.snapshot);
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
