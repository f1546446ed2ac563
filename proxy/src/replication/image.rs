//! Images on their way to replicas: a snapshot of our shard, a slice per turn.

use super::{Replication, WINDOW_BYTES};
use crate::core_loop::TURN_BYTES_MAX;
use crate::engine::Engine;
use crate::hop::Parcel;
use slotmesh_base::limits::SNAPSHOT_ENTRIES_PER_TURN;
use slotmesh_io::{DataLoop, SocketId, entropy};
use slotmesh_keyspace::{SnapshotId, SnapshotWalk};
use slotmesh_rdb::{Header, RdbWriter, ReplicationState, WriteOptions};
use slotmesh_replication::{Framing, MARK_BYTES, ReplicaState};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

/// Bytes of a file that are sent at once.
const FILE_PIECE_BYTES: usize = 256 * 1024;
/// The version as which we present ourselves in images.
const REDIS_VERSION: &str = "7.2.6";

/// An image on its way to a replica.
pub(super) struct Image {
    replica: SocketId,
    snapshot: SnapshotId,
    /// Writes what the snapshot shows; gone when all of it is written.
    writer: Option<RdbWriter>,
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
    /// Whether a snapshot is being walked.
    pub(super) fn walks(&self) -> bool {
        self.images.iter().any(|image| image.writer.is_some())
    }

    /// Begins the images that are wanted, and goes on with those that are under way.
    pub(super) fn send_images(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        self.begin_images(engine, io);
        if self.images.is_empty() {
            return;
        }
        let mut images = std::mem::take(&mut self.images);
        images.retain_mut(|image| self.go_on(image, engine, io));
        self.images.append(&mut images);
    }

    fn begin_images(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        let waits = |state| state == ReplicaState::AwaitsImage;
        let wanted = self.source.replicas().iter().filter(|replica| waits(replica.state));
        let wanted: Vec<SocketId> = wanted.map(|replica| replica.key).collect();
        for key in wanted {
            if self.images.iter().any(|image| image.replica == key) {
                continue;
            }
            let copies_bytes_max = match self.rules.output_hard_bytes {
                0 => usize::MAX,
                bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
            };
            // All that was done until now is in the stream: see `collect`.
            let Some(shard) = engine.lending.home() else { return };
            let Some((snapshot, _)) = shard.begin_snapshot(copies_bytes_max) else { return };
            let Some(replica) = self.source.replica(key) else { continue };
            let streams = replica.facts.capabilities.eof && self.rules.streams_images;
            let way = match streams {
                true => Way::Streamed(mark()),
                false => match unnamed_file() {
                    Ok(file) => Way::Spooled(file, 0),
                    Err(error) => {
                        self.log.warning(format_args!("No file for the image of a replica: {error}"));
                        shard.end_snapshot(snapshot);
                        engine.killed.push(key.index);
                        continue;
                    }
                },
            };
            let target = if streams { "replicas sockets" } else { "disk" };
            let facts = replica.facts.clone();
            self.log.notice(format_args!("Starting an image for SYNC of {facts} with target: {target}"));
            let line = self.source.begin_image(key);
            let mut image = Image { replica: key, snapshot, writer: None, way, bytes: 0 };
            if let Some(output) = io.sockets.output(key) {
                // A replica with SYNC only gets the image and nothing before.
                if !facts.is_old {
                    output.extend_from_slice(line.as_bytes());
                }
                if let Way::Streamed(mark) = &image.way {
                    output.extend_from_slice(&Framing::Mark(*mark).line());
                }
                io.sockets.commit(key);
            }
            let head = self.head(&mut image, engine);
            self.put(&mut image, io, &head);
            self.images.push(image);
        }
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
    fn put(&self, image: &mut Image, io: &mut DataLoop<Parcel>, bytes: &[u8]) -> bool {
        image.bytes += bytes.len() as u64;
        match &mut image.way {
            Way::Streamed(_) => {
                if let Some(output) = io.sockets.output(image.replica) {
                    output.extend_from_slice(bytes);
                    io.sockets.commit(image.replica);
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
            if let Some(shard) = engine.lending.home() {
                shard.end_snapshot(image.snapshot);
                return false;
            }
            return true;
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
        let (Some(shard), Some(writer)) = (engine.lending.home(), &mut image.writer) else { return true };
        let mut piece = Vec::new();
        let walk = shard.walk_snapshot(image.snapshot, SNAPSHOT_ENTRIES_PER_TURN, &mut |entry| {
            writer.entry(&mut piece, &entry);
        });
        if walk == SnapshotWalk::Done
            && let Some(writer) = image.writer.take()
        {
            writer.end(&mut piece);
        }
        if walk == SnapshotWalk::Dropped || !self.put(image, io, &piece) {
            if walk == SnapshotWalk::Dropped {
                self.log.warning(format_args!(
                    "The image for a replica was given up: more was written meanwhile than client-output-buffer-limit lets be kept for it"
                ));
            } else {
                shard_end(engine, image.snapshot);
            }
            engine.killed.push(image.replica.index);
            return false;
        }
        if walk == SnapshotWalk::More {
            return true;
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

fn shard_end(engine: &mut Engine, snapshot: SnapshotId) {
    if let Some(shard) = engine.lending.home() {
        shard.end_snapshot(snapshot);
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
