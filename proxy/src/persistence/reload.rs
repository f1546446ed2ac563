//! DEBUG RELOAD and DEBUG LOADAOF: all data into the file and back, at one moment for everybody, with all shards in hand.
//! The cores wait for the disk meanwhile, which nothing else lets them do.

use super::board::LoadProgress;
use super::load::{LoadFailure, load_rdb, read_limits};
use super::load_log::load_again;
use super::save::{log_no_file, make_temporary};
use super::{AppendLog, dump_file};
use crate::engine::{Done, Engine, Hands};
use crate::hop::{ReplyKind, ReturnAddress};
use crate::post::Freight;
use crate::replication::{ReplicationMail, StreamWork};
use slotmesh_base::ReplyError;
use slotmesh_base::limits::{FILE_PIECE_BYTES, SNAPSHOT_ENTRIES_PER_STEP};
use slotmesh_conf::directive;
use slotmesh_io::{entropy, sync_folder};
use slotmesh_keyspace::{Keyspace, SnapshotWalk};
use slotmesh_rdb::{Header, RdbWriter, WriteOptions};
use slotmesh_resp::{Protocol, Reply};
use slotmesh_shard::{LoadRules, REDIS_VERSION, Reloading, SaveEnd, Shard, ShardSettings};
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// A client wants all data to be reloaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reload {
    core: u16,
    back: ReturnAddress,
    protocol: Protocol,
    what: Reloading,
}

impl Reload {
    /// Whether the append-only file is to be loaded.
    pub(crate) fn is_of_log(&self) -> bool {
        self.what == Reloading::Log
    }
}

impl Engine {
    /// Reloads the data of the stream of our shard.
    pub(crate) fn reload(&mut self, hands: &mut Hands<'_>, index: u32, what: Reloading) -> Done {
        let protocol = self.connections[index as usize].as_deref().map_or(Protocol::Resp2, |at| at.client.protocol);
        let node = self.nodes_of(index)[0];
        let Some((socket, ticket)) = self.raise_barrier(index) else { return Done::Yes };
        let reload = Reload { core: self.core, back: ReturnAddress { socket, ticket, part: 0 }, protocol, what };
        match node == self.core {
            true => self.begin_stream_work(hands, StreamWork::Reload(reload)),
            false => self.mail(hands, node, ReplicationMail::Reload(reload)),
        }
        Done::Yes
    }

    /// All shards are in hand.
    pub(crate) fn reload_in_hand(
        &mut self,
        hands: &mut Hands<'_>,
        shards: &mut [&mut Shard],
        reload: Reload,
        log: &AppendLog,
    ) {
        let outcome = match reload.what {
            // A file of nothing would pass for our data at the next start.
            _ if self.lacks_data() => Err(ReplyError::Loading),
            Reloading::Dump { saves, keeps, merges } => self
                .save_before(shards, saves)
                .and_then(|()| self.load_dump(shards, merges))
                .and_then(|keyspaces| self.take_loaded_keys(shards, keyspaces, keeps, merges)),
            Reloading::Log => self.load_log_again(shards, log),
        };
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

    /// The number of our node.
    fn node_to_reload(&self) -> u16 {
        self.persistence.as_ref().map_or(0, |persistence| persistence.node)
    }

    fn save_before(&mut self, shards: &mut [&mut Shard], saves: bool) -> Result<(), ReplyError> {
        if !saves {
            return Ok(());
        }
        let (process, node, now_s) = (self.process.clone(), self.node_to_reload(), self.now.as_secs());
        let board = process.disk.node(node);
        let is_free = self.persistence.as_ref().is_none_or(|persistence| persistence.is_free());
        if !is_free || !board.record().begin(now_s) {
            return Err(ReplyError::SaveInProgress);
        }
        let changes = changes_of(shards);
        let saved = self.save_in_hand(shards, node, &dump_file(&self.settings, node));
        if let Err(error) = &saved {
            process.log.warning(format_args!("Write error saving DB on disk: {error}"));
        }
        board.record().end(if saved.is_ok() { SaveEnd::Saved { changes } } else { SaveEnd::Failed }, now_s);
        saved.map_err(|_| ReplyError::NotSaved)
    }

    /// What is in the file, for each of the shards.
    fn load_dump(&mut self, shards: &[&mut Shard], merges: bool) -> Result<Vec<Keyspace>, ReplyError> {
        let (process, node) = (self.process.clone(), self.node_to_reload());
        let (board, log, path) = (process.disk.node(node), &process.log, dump_file(&self.settings, node));
        let Some(first) = shards.first() else { return Ok(Vec::new()) };
        let rules = LoadRules {
            drops_expired_at: (!self.is_replica()).then_some(self.now),
            allows_duplicates: merges,
            ..LoadRules::everything(read_limits(&self.settings), first.hasher())
        };
        let mut keyspaces: Vec<Keyspace> = shards.iter().map(|shard| shard.blank()).collect();
        let mut targets: Vec<&mut Keyspace> = keyspaces.iter_mut().collect();
        let progress = LoadProgress::default();
        let loaded = File::open(&path)
            .map_err(|error| LoadFailure::Io(path.clone(), error))
            .and_then(|file| load_rdb(file, &path, rules, &mut targets, &progress, log));
        match loaded {
            Ok(facts) => {
                board.load.note(&facts);
                Ok(keyspaces)
            }
            Err(failure) => {
                log.warning(format_args!("DEBUG RELOAD: {failure}"));
                Err(ReplyError::NotLoaded)
            }
        }
    }

    /// The shards have what was loaded, in place of what they had or beside it.
    fn take_loaded_keys(
        &mut self,
        shards: &mut [&mut Shard],
        keyspaces: Vec<Keyspace>,
        keeps: bool,
        merges: bool,
    ) -> Result<(), ReplyError> {
        let (process, limits) = (self.process.clone(), self.hot_limits());
        let common = || shards.iter().zip(&keyspaces).find_map(|(shard, keyspace)| shard.common_key(keyspace));
        if keeps
            && !merges
            && let Some((db, key)) = common()
        {
            let key = key.escape_ascii();
            process.log.warning(format_args!("DEBUG RELOAD: RDB has duplicated key '{key}' in DB {db}"));
            return Err(ReplyError::NotLoaded);
        }
        for (shard, keyspace) in shards.iter_mut().zip(keyspaces) {
            let records = shard.effects().is_recording();
            shard.record_effects(false);
            match keeps {
                true => shard.merge(keyspace, limits),
                false => shard.take_over(keyspace, limits),
            }
            shard.record_effects(records);
        }
        self.shard_used = true;
        process.log.warning(format_args!("DB reloaded by DEBUG RELOAD"));
        Ok(())
    }

    /// The shards have what the append-only file holds, which is all that was done.
    fn load_log_again(&mut self, shards: &mut [&mut Shard], log: &AppendLog) -> Result<(), ReplyError> {
        let process = self.process.clone();
        let Some((manifest, place)) = log.whole() else {
            process.log.warning(format_args!("DEBUG LOADAOF: There is no append-only file that has all data"));
            return Err(ReplyError::LogNotLoaded);
        };
        let blank = |shard: &&mut Shard| {
            let (slots, databases) = (shard.keyspace().slots(), shard.keyspace().databases());
            Shard::new(ShardSettings { slots, databases, hasher: shard.hasher(), seed: entropy::random_u64() })
        };
        let mut loaded: Vec<Shard> = shards.iter().map(blank).collect();
        let Some(first) = shards.first() else { return Ok(()) };
        let outcome = load_again(&self.settings, (&manifest, place), first.hasher(), &mut loaded, &process.log);
        if let Err(failure) = outcome {
            process.log.warning(format_args!("DEBUG LOADAOF: {failure}"));
            return Err(ReplyError::LogNotLoaded);
        }
        let limits = self.hot_limits();
        for (shard, from) in shards.iter_mut().zip(loaded) {
            let records = shard.effects().is_recording();
            shard.record_effects(false);
            shard.take_over(from.into_keyspace(), limits);
            shard.record_effects(records);
        }
        self.shard_used = true;
        process.disk.node(self.node_to_reload()).record().note_loaded(changes_of(shards));
        process.log.warning(format_args!("Append Only File loaded by DEBUG LOADAOF"));
        Ok(())
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

/// Changes that were counted in all of them.
fn changes_of(shards: &[&mut Shard]) -> u64 {
    shards.iter().map(|shard| shard.keyspace().stats().changes).sum()
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
