//! DEBUG RELOAD: all data into the file and back, at one moment for everybody, with all shards in hand. The cores wait for
//! the disk meanwhile, which nothing else lets them do.

use super::board::LoadProgress;
use super::dump_file;
use super::load::{LoadFailure, load_rdb, read_limits};
use super::save::{log_no_file, make_temporary};
use crate::engine::{Done, Engine, Hands};
use crate::hop::{ReplyKind, ReturnAddress};
use crate::post::Freight;
use crate::replication::{ReplicationMail, StreamWork};
use slotmesh_base::ReplyError;
use slotmesh_base::limits::{FILE_PIECE_BYTES, SNAPSHOT_ENTRIES_PER_STEP};
use slotmesh_conf::directive;
use slotmesh_io::sync_folder;
use slotmesh_keyspace::{Keyspace, SnapshotWalk};
use slotmesh_rdb::{Header, RdbWriter, WriteOptions};
use slotmesh_resp::{Protocol, Reply};
use slotmesh_shard::{LoadRules, REDIS_VERSION, SaveEnd, Shard};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A client wants all data to be reloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reload {
    core: u16,
    back: ReturnAddress,
    protocol: Protocol,
    /// Whether they are saved before.
    saves: bool,
}

impl Engine {
    /// Reloads the data of the stream of our shard.
    pub(crate) fn reload(&mut self, hands: &mut Hands<'_>, index: u32, saves: bool) -> Done {
        let protocol = self.connections[index as usize].as_deref().map_or(Protocol::Resp2, |at| at.client.protocol);
        let node = self.nodes_of(index)[0];
        let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
        let reload = Reload { core: self.core, back: ReturnAddress { socket, ticket, part: 0 }, protocol, saves };
        match node == self.core {
            true => self.begin_stream_work(hands, StreamWork::Reload(reload)),
            false => self.mail(hands, node, ReplicationMail::Reload(reload)),
        }
        Done::Yes
    }

    /// All shards are in hand.
    pub(crate) fn reload_in_hand(&mut self, hands: &mut Hands<'_>, shards: &mut [&mut Shard], reload: Reload) {
        let outcome = self.save_and_load(shards, reload.saves);
        let mut bytes = Vec::new();
        let mut reply = Reply::new(&mut bytes, reload.protocol);
        match outcome {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
        if reload.core == self.core {
            self.hand_over(hands.sockets, reload.back, &bytes);
        } else {
            self.post.send(hands.mail, reload.core, ReplyKind::Late, reload.back, Freight::Bytes(bytes));
        }
    }

    fn save_and_load(&mut self, shards: &mut [&mut Shard], saves: bool) -> Result<(), ReplyError> {
        let Some(persistence) = &self.persistence else { return Ok(()) };
        let (node, is_free) = (persistence.node, persistence.is_free());
        let (process, now_s) = (self.process.clone(), self.now.as_secs());
        let (board, log) = (process.disk.node(node), &process.log);
        let path = dump_file(&self.settings, node);
        if saves {
            if !is_free || !board.record().begin(now_s) {
                return Err(ReplyError::SaveInProgress);
            }
            let changes = shards.iter().map(|shard| shard.keyspace().stats().changes).sum();
            let saved = self.save_in_hand(shards, node, &path);
            if let Err(error) = &saved {
                log.warning(format_args!("Write error saving DB on disk: {error}"));
            }
            board.record().end(if saved.is_ok() { SaveEnd::Saved { changes } } else { SaveEnd::Failed }, now_s);
            saved.map_err(|_| ReplyError::NotSaved)?;
        }
        let drops_expired_at = (!self.is_replica()).then_some(self.now);
        let Some(first) = shards.first() else { return Ok(()) };
        let rules =
            LoadRules { drops_expired_at, ..LoadRules::everything(read_limits(&self.settings), first.hasher()) };
        let mut keyspaces: Vec<Keyspace> = shards.iter().map(|shard| shard.blank()).collect();
        let mut targets: Vec<&mut Keyspace> = keyspaces.iter_mut().collect();
        let progress = LoadProgress::default();
        let loaded = File::open(&path)
            .map_err(|error| LoadFailure::Io(path.clone(), error))
            .and_then(|file| load_rdb(file, &path, rules, &mut targets, &progress, log));
        match loaded {
            Ok(facts) => {
                board.load.note(&facts);
                let limits = self.hot_limits();
                for (shard, keyspace) in shards.iter_mut().zip(keyspaces) {
                    let records = shard.effects().is_recording();
                    shard.record_effects(false);
                    shard.take_over(keyspace, limits);
                    shard.record_effects(records);
                }
                self.shard_used = true;
                log.warning(format_args!("DB reloaded by DEBUG RELOAD"));
                Ok(())
            }
            Err(failure) => {
                log.warning(format_args!("DEBUG RELOAD: {failure}"));
                Err(ReplyError::NotLoaded)
            }
        }
    }

    /// Writes the file at once. It does not say where in the stream it is.
    fn save_in_hand(&mut self, shards: &mut [&mut Shard], node: u16, path: &Path) -> io::Result<()> {
        let (temporary, path, mut file) = make_temporary(path, node, 0).map_err(|(temporary, error)| {
            log_no_file(&self.process.log, &temporary, &error);
            error
        })?;
        let options = WriteOptions {
            compresses: self.settings.value(directive::RDBCOMPRESSION),
            checksum: self.settings.value(directive::RDBCHECKSUM),
        };
        let header = Header {
            redis_version: REDIS_VERSION,
            created_at: self.now.as_secs(),
            used_memory: self.process.used_memory(),
            replication: None,
            is_aof_base: false,
        };
        let written = write_all(&mut file, shards, options, &header);
        let written = written.and_then(|()| file.sync_all());
        let named = written.and_then(|()| std::fs::rename(&temporary, &path)).and_then(|()| sync_folder(&path));
        if named.is_err() {
            let _ = std::fs::remove_file(&temporary);
        }
        named
    }
}

fn write_all(file: &mut File, shards: &mut [&mut Shard], options: WriteOptions, header: &Header<'_>) -> io::Result<()> {
    let (mut writer, mut piece) = (RdbWriter::new(options), Vec::new());
    writer.header(&mut piece, header);
    for shard in shards {
        let Some((snapshot, _)) = shard.begin_snapshot(usize::MAX) else {
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let mut show = |piece: &mut Vec<u8>| {
            shard.walk_snapshot(snapshot, SNAPSHOT_ENTRIES_PER_STEP, &mut |entry| writer.entry(piece, &entry))
        };
        while show(&mut piece) == SnapshotWalk::More {
            if piece.len() >= FILE_PIECE_BYTES {
                file.write_all(&piece)?;
                piece.clear();
            }
        }
    }
    writer.end(&mut piece);
    file.write_all(&piece)
}
