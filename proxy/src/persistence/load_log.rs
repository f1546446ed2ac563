//! The append-only file at the start: read from its base to the end of its last increment, and opened to be written on.
//!
//! The files are those of Redis 7; a single file of Redis 6 is moved into the folder first, where it is the base. Nothing
//! on the disk is changed before all of it has been read, but for the end of a last file that is cut off where it is not
//! whole (`aof-load-truncated`).

use super::append_log::{self, ManifestFailure, OpenLog, Opened as OpenedFile, Place};
use super::board::LoadProgress;
use super::load::{PIECE_BYTES, read_limits};
use crate::log::Log;
use slotmesh_base::{Monotonic, Slot, SlotSet};
use slotmesh_command::ValueLimits;
use slotmesh_conf::{Settings, directive};
use slotmesh_io::clock;
use slotmesh_keyspace::{Access, AccessPolicy, KeyHasher, Keyspace, PackedLimit};
use slotmesh_persistence::{FileOrder, Journal, Manifest, Opened, ReadEnd, ReadFault, Reader};
use slotmesh_rdb::{Header, RdbWriter, WriteOptions};
use slotmesh_shard::{LoadError, LoadRules, Loader, REDIS_VERSION, Replay, ReplayError, Shard};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

/// How an image begins.
const IMAGE_SIGN: &[u8] = b"REDIS";

/// Why an append-only file cannot be loaded.
#[derive(Debug)]
pub(crate) enum LogFailure {
    /// The system refuses.
    Io(PathBuf, io::Error),
    /// There is no manifest where one should be.
    Manifest(PathBuf, ManifestFailure),
    /// The image at the begin of a file.
    Image(PathBuf, LoadError),
    /// What should be commands.
    Commands(PathBuf, ReadFault),
    /// A command; the offset of the file where it begins.
    Command(PathBuf, ReplayError),
    /// In the end there are keys of a slot that others have.
    ForeignSlot(PathBuf, Slot),
    /// A file ends too early, behind so many bytes that are whole.
    Truncated { path: PathBuf, valid: u64, is_last: bool },
}

impl fmt::Display for LogFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "The append log file {}: {error}", path.display()),
            Self::Manifest(path, failure) => write!(f, "The AOF manifest file {}: {failure}", path.display()),
            Self::Image(path, error) => write!(f, "The image at the begin of {}: {error}", path.display()),
            Self::Commands(path, fault) => write!(
                f,
                "Bad file format reading the append only file {}: {fault}; make a backup of your AOF file, then use redis-check-aof --fix <filename.manifest>",
                path.display()
            ),
            Self::Command(path, error) => {
                write!(f, "The append only file {} cannot be replayed: {error}", path.display())
            }
            Self::ForeignSlot(path, slot) => {
                let slot = slot.number();
                write!(f, "The files of {} hold keys of slot {slot}, which another node has", path.display())
            }
            Self::Truncated { path, valid, is_last: true } => write!(
                f,
                "Unexpected end of file reading the append only file {}, which is whole up to offset {valid}. You can make a backup of it, then use redis-check-aof --fix <filename.manifest>; or set 'aof-load-truncated' to yes and start again",
                path.display()
            ),
            Self::Truncated { path, valid, is_last: false } => write!(
                f,
                "The append only file {} is whole up to offset {valid} only, and it is not the last file",
                path.display()
            ),
        }
    }
}

/// Where what is read goes.
struct Target<'a> {
    shards: &'a mut [Shard],
    rules: LoadRules,
    limits: ValueLimits,
    progress: &'a LoadProgress,
    log: &'a Log,
}

/// The bytes that there are to load, for INFO.
pub(super) fn bytes_to_load(settings: &Settings, node: u16) -> u64 {
    let place = Place::new(settings, node);
    let manifest = place.manifest().unwrap_or_default();
    let size = |path: PathBuf| std::fs::metadata(path).map_or(0, |data| data.len());
    match manifest.is_empty() {
        true => size(place.single_path()),
        false => manifest.files().map(|file| size(place.folder.join(&file.name))).sum(),
    }
}

/// Loads the append-only file of a node into shards that nobody serves, and opens it.
///
/// # Errors
/// If it cannot be loaded. Nothing on the disk has changed then.
pub(super) fn load_log(
    settings: &Settings,
    (node, slots): (u16, Option<&SlotSet>),
    hasher: KeyHasher,
    shards: &mut [Shard],
    progress: &LoadProgress,
    log: &Log,
) -> Result<OpenLog, LogFailure> {
    let place = Place::new(settings, node);
    let manifest = place.manifest().map_err(|failure| LogFailure::Manifest(place.manifest_path(), failure))?;
    let manifest = take_single_file(manifest, &place, log)?;
    let target = &mut target(settings, hasher, shards, progress, log);
    let opened = load_files(&manifest, &place, settings.value(directive::AOF_LOAD_TRUNCATED), target)?;
    // Not before: what the base has may have gone since, before its slot went.
    let is_foreign = |slot: &Slot| slots.is_some_and(|slots| !slots.contains(*slot));
    if let Some(slot) = target.shards.iter().find_map(|shard| shard.slots_with_keys().iter().find(is_foreign)) {
        return Err(LogFailure::ForeignSlot(place.manifest_path(), slot));
    }
    let mut journal = Box::new(Journal::new(append_log::rules(settings), place.prefix.clone(), manifest));
    let mut orders = Vec::new();
    journal.open(opened, empty_base(settings), &mut orders);
    let now = Monotonic(clock::monotonic_nanos());
    let file = append_log::carry_out_now(&mut journal, orders, &place.folder, now, log);
    Ok(OpenLog { journal, file })
}

/// Loads what an append-only file holds while it is being written; nothing is changed on the disk.
///
/// # Errors
/// If it cannot be loaded. The shards hold a part of it then.
pub(super) fn load_again(
    settings: &Settings,
    (manifest, place): (&Manifest, &Place),
    hasher: KeyHasher,
    shards: &mut [Shard],
    log: &Log,
) -> Result<(), LogFailure> {
    let progress = &LoadProgress::default();
    load_files(manifest, place, false, &mut target(settings, hasher, shards, progress, log)).map(drop)
}

fn target<'a>(
    settings: &Settings,
    hasher: KeyHasher,
    shards: &'a mut [Shard],
    progress: &'a LoadProgress,
    log: &'a Log,
) -> Target<'a> {
    let hot = settings.hot();
    Target {
        shards,
        rules: LoadRules::everything(read_limits(settings), hasher),
        limits: ValueLimits {
            string_bytes_max: usize::MAX,
            list_packed: PackedLimit::new(hot.list_max_listpack_size),
            access: Access { policy: AccessPolicy::Recency, touches: true, keeps_expired: true },
            shares_integers: hot.shares_integers,
            compresses: hot.compresses,
        },
        progress,
        log,
    }
}

fn load_files(
    manifest: &Manifest,
    place: &Place,
    cuts_off: bool,
    target: &mut Target<'_>,
) -> Result<Opened, LogFailure> {
    let paths: Vec<PathBuf> = manifest.files().map(|file| place.folder.join(&file.name)).collect();
    let mut sizes = Vec::new();
    for path in &paths {
        sizes.push(std::fs::metadata(path).map_err(|error| LogFailure::Io(path.clone(), error))?.len());
    }
    let mut opened = Opened::default();
    for (index, path) in paths.iter().enumerate() {
        let is_base = index == 0 && manifest.base().is_some();
        let start = clock::monotonic_nanos();
        let mut size = sizes[index];
        if let ReadEnd::Truncated { valid, in_block } = load_file(path, target)? {
            // What follows it was never written to.
            let is_last = sizes[index + 1..].iter().all(|&size| size == 0);
            if !is_last || !cuts_off {
                return Err(LogFailure::Truncated { path: path.clone(), valid, is_last });
            }
            cut_off(path, valid, in_block, target.log)?;
            size = valid;
        }
        let (kind, name) = (if is_base { "base" } else { "incr" }, path.file_name().unwrap_or_default());
        if sizes[index] > 0 {
            let seconds = (clock::monotonic_nanos() - start) as f64 / 1e9;
            target.log.notice(format_args!("DB loaded from {kind} file {}: {seconds:.3} seconds", name.display()));
        }
        match is_base {
            true => opened.base_bytes = size,
            false => (opened.increment_bytes, opened.last_bytes) = (opened.increment_bytes + size, size),
        }
    }
    // A process that was killed may not have synced what it wrote, be it to the last file or to one that is followed by
    // empty ones: nobody hears of it, or writes behind it, before that is done.
    for path in &paths {
        File::open(path).and_then(|file| file.sync_data()).map_err(|error| LogFailure::Io(path.clone(), error))?;
    }
    Ok(opened)
}

/// Cuts off the end of a file that is not whole.
fn cut_off(path: &Path, valid: u64, in_block: bool, log: &Log) -> Result<(), LogFailure> {
    let name = path.file_name().unwrap_or_default().display();
    if in_block {
        log.warning(format_args!("Revert incomplete MULTI/EXEC transaction in AOF file {name}"));
    }
    log.warning(format_args!("!!! Warning: short read while loading the AOF file {name}!!!"));
    log.warning(format_args!("!!! Truncating the AOF {name} at offset {valid} !!!"));
    let cut = File::options().write(true).open(path).and_then(|file| {
        file.set_len(valid)?;
        file.sync_all()
    });
    cut.map_err(|error| LogFailure::Io(path.to_owned(), error))?;
    log.warning(format_args!("AOF {name} loaded anyway because aof-load-truncated is enabled"));
    Ok(())
}

/// Loads one file: an image, commands, or both.
fn load_file(path: &Path, target: &mut Target<'_>) -> Result<ReadEnd, LogFailure> {
    let fail = |error| LogFailure::Io(path.to_owned(), error);
    let mut file = File::open(path).map_err(fail)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut count = read_some(&mut file, &mut piece).map_err(fail)?;
    let mut commands = Commands { path, reader: Reader::new(0), replay: Replay::default(), passed: 0 };
    if piece[..count].starts_with(IMAGE_SIGN) {
        target.log.notice(format_args!("Reading RDB base file on AOF loading..."));
        let mut loader = Loader::new(target.rules.clone());
        while count > 0 && !loader.is_done() {
            let mut keyspaces: Vec<&mut Keyspace> = target.shards.iter_mut().map(Shard::keyspace_mut).collect();
            let pushed = loader.push(&piece[..count], &mut keyspaces, true);
            pushed.map_err(|error| LogFailure::Image(path.to_owned(), error))?;
            note_progress(count, Some(&loader), target.progress);
            if !loader.is_done() {
                count = read_some(&mut file, &mut piece).map_err(fail)?;
            }
        }
        let (offset, rest) = (loader.offset(), loader.rest().to_vec());
        loader.finish().map_err(|error| LogFailure::Image(path.to_owned(), error))?;
        commands.begin_at(offset);
        commands.feed(&rest, target)?;
        count = read_some(&mut file, &mut piece).map_err(fail)?;
    }
    while count > 0 {
        commands.feed(&piece[..count], target)?;
        note_progress(count, None, target.progress);
        count = read_some(&mut file, &mut piece).map_err(fail)?;
    }
    Ok(commands.reader.finish())
}

fn note_progress(count: usize, loader: Option<&Loader>, progress: &LoadProgress) {
    progress.bytes.fetch_add(count as u64, Ordering::Relaxed);
    if let Some(loader) = loader {
        progress.keys.store(loader.facts().keys, Ordering::Relaxed);
        progress.used_memory.store(loader.facts().used_memory.unwrap_or(0), Ordering::Relaxed);
    }
}

/// Commands of a file on their way into the shards.
struct Commands<'a> {
    path: &'a Path,
    reader: Reader,
    replay: Replay,
    /// Bytes of the file in front of what was replayed that were no commands.
    passed: u64,
}

impl Commands<'_> {
    /// The first of them stands here in the file.
    fn begin_at(&mut self, offset: u64) {
        (self.reader, self.passed) = (Reader::new(offset), offset);
    }

    fn feed(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<(), LogFailure> {
        let Self { path, reader, replay, passed } = self;
        let mut shards: Vec<&mut Shard> = target.shards.iter_mut().collect();
        let mut failure = None;
        let limits = target.limits;
        let mut fed = replay.decoded();
        let read = reader.feed(bytes, &mut |at, commands| {
            *passed = at - fed;
            if failure.is_none() {
                failure = replay.feed(&mut shards, commands, limits).err();
            }
            fed += commands.len() as u64;
        });
        if let Some(error) = failure {
            let error = ReplayError { at: error.at + *passed, ..error };
            return Err(LogFailure::Command(path.to_path_buf(), error));
        }
        read.map_err(|fault| LogFailure::Commands(path.to_path_buf(), fault))
    }
}

fn read_some(file: &mut File, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
}

/// A single file of Redis 6 becomes the base, and moves into the folder (Redis 7.0 `aof.c`, `aofUpgradePrepare`). Whatever
/// part of that has happened when the process ends, it goes on the next time.
fn take_single_file(manifest: Manifest, place: &Place, log: &Log) -> Result<Manifest, LogFailure> {
    let (single, inside) = (place.single_path(), place.folder.join(&place.prefix));
    let is_moved = !manifest.is_of_single_file(&place.prefix) || inside.exists();
    if !single.is_file() || !manifest.is_empty() && is_moved {
        return Ok(manifest);
    }
    let manifest = Manifest::of_single_file(&place.prefix);
    let temporary = format!("temp-{}.manifest", place.prefix);
    let steps = [
        FileOrder::MakeFolder,
        FileOrder::Put { name: temporary.clone(), bytes: manifest.print().into_bytes() },
        FileOrder::Rename { from: temporary, to: format!("{}.manifest", place.prefix) },
        FileOrder::SyncFolder,
    ];
    let moved = steps
        .iter()
        .try_for_each(|step| append_log::change_files(step, &place.folder, &OpenedFile::default()))
        .and_then(|()| std::fs::rename(&single, &inside))
        .and_then(|()| slotmesh_io::sync_folder(&inside))
        .and_then(|()| slotmesh_io::sync_folder(&single));
    moved.map_err(|error| LogFailure::Io(single, error))?;
    log.notice(format_args!(
        "Successfully migrated an old-style AOF file ({}) into the AOF directory ({}).",
        place.prefix,
        place.folder.display()
    ));
    Ok(manifest)
}

/// The base of an append-only file that begins with nothing.
fn empty_base(settings: &Settings) -> Vec<u8> {
    let mut base = Vec::new();
    if !settings.value(directive::AOF_USE_RDB_PREAMBLE) {
        return base;
    }
    let checksum = settings.value(directive::RDBCHECKSUM);
    let mut writer = RdbWriter::new(WriteOptions { compresses: false, checksum });
    let header = Header {
        redis_version: REDIS_VERSION,
        created_at: clock::unix_millis() / 1000,
        used_memory: 0,
        replication: None,
        is_aof_base: true,
    };
    writer.header(&mut base, &header);
    writer.end(&mut base);
    base
}
