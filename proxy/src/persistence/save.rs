//! Files in the making: the snapshots of all shards of a stream, walked in slices between requests, into a file that takes
//! its name when it is on the disk as a whole ([`Image`] says what is done when).
//!
//! What is walked waits in memory until it is given to the file, and no more is walked while
//! [`FILE_WINDOW_BYTES`] are on their way. Writers never wait: what they change before it was walked is kept for the
//! snapshot. Whoever needs another file written from the same snapshots ([`FileWanted`]) says where it goes and hears of its
//! end.

use super::append_log::make_folder;
use super::{SAVES, dump_file};
use crate::engine::{Engine, Hands};
use crate::hop::Parcel;
use crate::log::Log;
use crate::replication::{Slice, Walked, Walks};
use slotmesh_base::Monotonic;
use slotmesh_base::limits::{FILE_PIECE_BYTES, FILE_WINDOW_BYTES};
use slotmesh_conf::{SavePoint, Settings, directive};
use slotmesh_io::{DataLoop, FileDone, Files, sync_folder};
use slotmesh_persistence::{Image, ImageOrder, ImageRules, ImageStep};
use slotmesh_shard::{SaveEnd, Shard};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::orders::SaveWait;

/// Time between two looks at save points.
const LOOK_MS: u64 = 1000;

/// A file that is to be made of snapshots.
#[derive(Debug)]
pub(crate) enum FileWanted {
    /// The RDB file. So much had been counted when its snapshots were begun.
    Dump {
        /// Changes.
        changes: u64,
        /// Keys.
        keys: u64,
        /// FLUSHALLs of each shard of the stream.
        flushes: Vec<u64>,
    },
    /// The base of the append-only file.
    Base,
}

impl FileWanted {
    /// Whether it is the base of an append-only file.
    pub(crate) fn is_aof_base(&self) -> bool {
        matches!(self, Self::Base)
    }
}

/// What directives say about saves.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) points: Vec<SavePoint>,
    pub(super) stops_writes: bool,
    writes_back: bool,
    writes_back_base: bool,
}

impl Rules {
    fn new(settings: &Settings) -> Self {
        Self {
            points: settings.value(directive::SAVE).to_vec(),
            stops_writes: settings.value(directive::STOP_WRITES_ON_BGSAVE_ERROR),
            writes_back: settings.value(directive::RDB_SAVE_INCREMENTAL_FSYNC),
            writes_back_base: settings.value(directive::AOF_REWRITE_INCREMENTAL_FSYNC),
        }
    }
}

/// The data of one stream on the disk.
pub(crate) struct Persistence {
    pub(super) node: u16,
    pub(super) rules: Rules,
    /// A save has begun, and its snapshots have not.
    pub(super) is_wanted: bool,
    /// The base of an append-only file is to be made.
    wants_base: bool,
    making: Option<Box<Making>>,
    /// What is left of a file that came to nothing. Until it is gone there is no other.
    leaving: Option<ImageFile>,
    /// Numbers the files in the making: what was ordered for an earlier one is nobody's any more.
    number: u16,
    arrived: Vec<FileDone>,
    pub(super) waits: Vec<SaveWait>,
    next_look: Monotonic,
    /// FLUSHALLs of our own shard that were seen.
    flushes: u64,
    /// Those of each core's shard before the snapshots of the file in the making were begun.
    flushes_of_file: Vec<(u16, u64)>,
    /// Whether the file that is wanted, or in the making, is the last before the process ends.
    is_last: bool,
}

/// A file in the making.
struct Making {
    what: FileWanted,
    walks: Walks,
    file: ImageFile,
}

/// An image on its way to the disk.
struct ImageFile {
    image: Image,
    temporary: PathBuf,
    path: PathBuf,
    file: Arc<File>,
    number: u16,
}

/// Why a file cannot be made: what was tried, and what the system said.
type Failure = (&'static str, io::Error);

impl Persistence {
    /// The data of the stream whose core is that of node `node`.
    pub(crate) fn new(node: u16, settings: &Settings) -> Self {
        Self {
            node,
            rules: Rules::new(settings),
            is_wanted: false,
            wants_base: false,
            making: None,
            leaving: None,
            number: 0,
            arrived: Vec::new(),
            waits: Vec::new(),
            next_look: Monotonic::default(),
            flushes: 0,
            flushes_of_file: Vec::new(),
            is_last: false,
        }
    }

    /// Obeys other settings.
    pub(crate) fn set_settings(&mut self, settings: &Settings) {
        self.rules = Rules::new(settings);
    }

    /// Whether snapshots are to be begun for a file.
    pub(crate) fn wants_snapshots(&self) -> bool {
        (self.is_wanted || self.wants_base) && self.is_free()
    }

    /// Whether a file can be made: none is, and nothing is left of one.
    pub(super) fn is_free(&self) -> bool {
        self.making.is_none() && self.leaving.is_none()
    }

    /// The number of the node.
    pub(crate) fn node(&self) -> u16 {
        self.node
    }

    /// Whether the base of an append-only file is to be made.
    pub(crate) fn wants_base(&self) -> bool {
        self.wants_base
    }

    /// The same, from now on.
    pub(crate) fn set_wants_base(&mut self, wants_base: bool) {
        self.wants_base = wants_base;
    }

    /// The shards are in hand: the file that snapshots of them are begun for, if one is wanted.
    pub(crate) fn wanted_file(&self, shards: &[&mut Shard]) -> Option<FileWanted> {
        if self.wants_base && !self.is_wanted && self.is_free() {
            return Some(FileWanted::Base);
        }
        let keys = shards.iter().map(|shard| key_count(shard)).sum();
        let changes = shards.iter().map(|shard| shard.keyspace().stats().changes).sum();
        let flushes = shards.iter().map(|shard| shard.keyspace().stats().flushes).collect();
        self.wants_snapshots().then_some(FileWanted::Dump { changes, keys, flushes })
    }

    /// Whether a snapshot of our own shard is to be walked on at once.
    fn walks(&self, own: u16) -> bool {
        self.making.as_ref().is_some_and(|making| making.file.image.has_room() && making.walks.walks(own))
    }

    fn has_work(&self, own: u16) -> bool {
        !self.arrived.is_empty() || self.walks(own) || self.making.as_ref().is_some_and(|making| making.can_go_on())
    }

    /// What was ordered of the files is done.
    pub(crate) fn hear(&mut self, done: FileDone) {
        self.arrived.push(done);
    }
}

/// Keys of all databases of a shard.
fn key_count(shard: &Shard) -> u64 {
    let keyspace = shard.keyspace();
    (0..keyspace.databases()).filter_map(|db| Some(keyspace.find_db(db)?.len() as u64)).sum()
}

impl Making {
    /// Whether something is to be done that nobody else will call for.
    fn can_go_on(&self) -> bool {
        self.file.image.can_go_on(self.walks.is_whole())
    }

    /// Goes on by a slice.
    fn go_on(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) -> Result<(), Failure> {
        let image = &mut self.file.image;
        if image.has_room() && !self.walks.is_whole() {
            let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
            let walked = self.walks.go_on(engine, &mut hands, image.buffer());
            if walked == Walked::Dropped {
                return Err(("snapshot", io::ErrorKind::OutOfMemory.into()));
            }
        }
        let mut orders = Vec::new();
        image.go_on(self.walks.is_whole(), &mut orders);
        self.file.carry_out(orders, &mut io.files);
        Ok(())
    }
}

impl ImageFile {
    fn carry_out(&self, orders: Vec<ImageOrder>, files: &mut Files) {
        for order in orders {
            let token = SAVES << 24 | u32::from(self.number) << 8 | u32::from(order.step().number());
            let (temporary, path) = (self.temporary.clone(), self.path.clone());
            match order {
                ImageOrder::Write { at, bytes } => files.write(token, &self.file, at, bytes),
                ImageOrder::WriteBack { at, len } => files.begin_writeback(token, &self.file, at, len),
                ImageOrder::Sync => files.sync(token, &self.file, false),
                ImageOrder::Rename => files.run(token, move || std::fs::rename(temporary, path)),
                ImageOrder::SyncFolder => files.run(token, move || sync_folder(&path)),
                ImageOrder::Remove => files.run(token, move || std::fs::remove_file(temporary)),
            }
        }
    }

    /// What was ordered is done.
    fn take(&mut self, done: FileDone, files: &mut Files) -> Result<(), Failure> {
        let Some(step) = ImageStep::of_number(done.token as u8) else { return Ok(()) };
        let mut orders = Vec::new();
        self.image.ended(step, done.result.is_ok(), done.bytes, &mut orders);
        self.carry_out(orders, files);
        done.result.map_err(|error| (step.name(), error))
    }
}

/// A file beside `path`, in which it is made: its name, and that of the file that is to be. A process that was killed leaves
/// its own behind, as Redis's child does; the next one of the same process id writes over it.
pub(super) fn make_temporary(
    path: &Path,
    node: u16,
    number: u16,
) -> Result<(PathBuf, PathBuf, File), (PathBuf, io::Error)> {
    // Whole, because the directory may change under CONFIG SET.
    let path = std::path::absolute(path).map_err(|error| (path.to_owned(), error))?;
    let temporary = path.with_file_name(format!("temp-{}.{node}.{number}.rdb", std::process::id()));
    match File::create(&temporary) {
        Ok(file) => Ok((temporary, path, file)),
        Err(error) => Err((temporary, error)),
    }
}

/// The file in which the base of an append-only file is made; it gets its name later.
fn make_base(path: PathBuf) -> Result<(PathBuf, PathBuf, File), (PathBuf, io::Error)> {
    let folder = path.parent().unwrap_or(Path::new("."));
    match make_folder(folder).and_then(|()| File::create(&path)) {
        Ok(file) => Ok((path.clone(), path, file)),
        Err(error) => Err((path, error)),
    }
}

/// Tells that a temporary file cannot be had.
pub(super) fn log_no_file(log: &Log, temporary: &Path, error: &io::Error) {
    let (name, folder) = (temporary.file_name().unwrap_or_default(), temporary.parent().unwrap_or(Path::new(".")));
    log.warning(format_args!(
        "Failed opening the temp RDB file {} (in server root dir {}) for saving: {error}",
        name.display(),
        folder.display()
    ));
}

impl Engine {
    /// The base of the append-only file that is in the making is wanted no more.
    pub(crate) fn drop_base(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(mut persistence) = self.persistence.take() else { return };
        if let Some(making) = persistence.making.take_if(|making| making.what.is_aof_base()) {
            persistence.give_up(*making, self, io);
        }
        self.persistence = Some(persistence);
    }

    /// All that came before the snapshots is in the stream: their file begins. `head` is how it begins; `base` is where it is
    /// to be made, if it is one of an append-only file.
    pub(crate) fn begin_file(
        &mut self,
        hands: &mut Hands<'_>,
        what: FileWanted,
        (mut walks, head): (Walks, Vec<u8>),
        base: Option<PathBuf>,
    ) -> bool {
        let Some(mut persistence) = self.persistence.take() else {
            walks.give_up(self, hands);
            return false;
        };
        match &what {
            FileWanted::Dump { flushes, .. } => {
                persistence.is_wanted = false;
                let first = if self.process.is_clustered() { self.core } else { 0 };
                persistence.flushes_of_file = (first..).zip(flushes.iter().copied()).collect();
            }
            FileWanted::Base => persistence.wants_base = false,
        }
        persistence.number = persistence.number.wrapping_add(1);
        let made = match base {
            Some(path) => make_base(path),
            None => {
                let path = dump_file(&self.settings, persistence.node);
                make_temporary(&path, persistence.node, persistence.number)
            }
        };
        let is_made = made.is_ok();
        let (is_base, rules) = (what.is_aof_base(), persistence.rules.clone());
        match made {
            Ok((temporary, path, file)) => {
                let rules = ImageRules {
                    piece_bytes: FILE_PIECE_BYTES,
                    window_bytes: FILE_WINDOW_BYTES,
                    writes_back: if is_base { rules.writes_back_base } else { rules.writes_back },
                    takes_name: !is_base,
                };
                let (image, file) = (Image::new(rules, head), Arc::new(file));
                let file = ImageFile { image, temporary, path, file, number: persistence.number };
                persistence.making = Some(Box::new(Making { what, walks, file }));
            }
            Err((temporary, error)) => {
                log_no_file(&self.process.log, &temporary, &error);
                walks.give_up(self, hands);
                if !what.is_aof_base() {
                    persistence.end_save(self, hands, SaveEnd::Failed);
                }
            }
        }
        self.persistence = Some(persistence);
        is_made
    }

    /// A slice of another core's shard has come that is for a file.
    pub(crate) fn take_slice_for_file(&mut self, core: u16, slice: &Slice) {
        let making = self.persistence.as_mut().and_then(|persistence| persistence.making.as_mut());
        if let Some(making) = making.filter(|making| making.walks.number() == slice.image)
            && making.walks.take_slice(core, slice)
        {
            making.file.image.buffer().extend_from_slice(&slice.bytes);
        }
    }

    /// Lets the data on the disk have their turn; behind replication's.
    pub(crate) fn drive_persistence(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(persistence) = &self.persistence else { return };
        let node = persistence.node;
        let flushes = self.lending.desk.home().map_or(persistence.flushes, |shard| shard.keyspace().stats().flushes);
        let is_flushed = flushes != persistence.flushes;
        let is_due = self.monotonic >= persistence.next_look;
        let board = self.process.disk.node(node);
        let is_asked = board.take_asked();
        if !is_due && !is_asked && !is_flushed && persistence.making.is_none() && persistence.arrived.is_empty() {
            if board.load.is_loading() {
                self.take_loaded(io);
            }
            return;
        }
        let Some(mut persistence) = self.persistence.take() else { return };
        persistence.arrived_orders(self, io);
        if is_due {
            persistence.next_look = self.monotonic.plus_millis(LOOK_MS);
        }
        if is_flushed {
            persistence.flushes = flushes;
            persistence.begin_anew(self, io);
        }
        if is_due || is_asked || is_flushed {
            persistence.look(self);
        }
        persistence.go_on(self, io);
        self.persistence = Some(persistence);
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        self.walk_for_stream(&mut hands);
        if self.process.disk.node(node).load.is_loading() {
            self.take_loaded(io);
        }
    }

    /// Saves the data of our node before the process ends.
    pub(crate) fn begin_last_save(&mut self, io: &mut DataLoop<Parcel>) {
        let Some(mut persistence) = self.persistence.take() else { return };
        persistence.begin_last(self, io);
        self.persistence = Some(persistence);
    }

    /// When the data on the disk want a turn at the latest, in nanoseconds, and whether at once.
    pub(crate) fn persistence_deadline(&self) -> Option<(u64, bool)> {
        let persistence = self.persistence.as_ref()?;
        let next = match self.process.disk.node(persistence.node).load.is_loading() {
            // Nobody rings when it is loaded.
            true => self.monotonic.plus_millis(LOADED_LOOK_MS).min(persistence.next_look),
            false => persistence.next_look,
        };
        Some((next.0, persistence.has_work(self.core)))
    }

    /// Whether writes are refused since the last save has failed.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.persistence.as_ref().is_some_and(|persistence| {
            persistence.rules.stops_writes
                && !persistence.rules.points.is_empty()
                && self.process.disk.node(persistence.node).record().has_failed()
        })
    }
}

/// Time between two looks whether all is loaded.
const LOADED_LOOK_MS: u64 = 2;

impl Persistence {
    /// A file is wanted no more, or has come to nothing.
    fn give_up(&mut self, making: Making, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        let Making { mut walks, mut file, .. } = making;
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        walks.give_up(engine, &mut hands);
        let mut orders = Vec::new();
        file.image.give_up(&mut orders);
        file.carry_out(orders, &mut io.files);
        self.leaving = (!file.image.is_over()).then_some(file);
    }

    fn arrived_orders(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        for done in std::mem::take(&mut self.arrived) {
            let number = (done.token >> 8) as u16;
            if let Some(making) = self.making.as_mut().filter(|making| making.file.number == number) {
                if let Err(failure) = making.file.take(done, &mut io.files) {
                    self.fail(engine, io, failure);
                }
            } else if let Some(left) = self.leaving.as_mut().filter(|left| left.number == number) {
                // Why it came to nothing was told.
                let _ = left.take(done, &mut io.files);
                self.leaving.take_if(|left| left.image.is_over());
            }
        }
    }

    /// Looks whether a save is due.
    fn look(&mut self, engine: &Engine) {
        let board = engine.process.disk.node(self.node);
        if board.load.is_loading() {
            return;
        }
        let (changes, now_s) = (engine.changes_of_stream(), engine.now.as_secs());
        let mut record = board.record();
        if let Some(making) = &self.making {
            if let FileWanted::Dump { keys, .. } = &making.what {
                record.note_progress(making.walks.keys, *keys, making.walks.copies_bytes());
            }
            return;
        }
        let begins = record.begin_scheduled(now_s);
        match record.due(&self.rules.points, changes, now_s) {
            Some((point, dirty)) if !begins => {
                engine.process.log.notice(format_args!("{dirty} changes in {} seconds. Saving...", point.seconds));
                record.begin(now_s);
                engine.process.log.notice(format_args!("Background saving started by pid {}", std::process::id()));
            }
            _ if begins => {
                engine.process.log.notice(format_args!("Background saving started by pid {}", std::process::id()));
            }
            _ => {}
        }
        self.is_wanted |= record.is_running();
    }

    fn go_on(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        let Some(making) = &mut self.making else { return };
        if let Err(failure) = making.go_on(engine, io) {
            return self.fail(engine, io, failure);
        }
        if making.file.image.is_made()
            && let Some(making) = self.making.take()
        {
            let FileWanted::Dump { changes, keys, .. } = making.what else {
                return engine.end_base(Ok(making.file.image.bytes()));
            };
            engine.process.disk.node(self.node).record().note_progress(keys, keys, making.walks.copies_bytes());
            engine.process.log.notice(format_args!("DB saved on disk"));
            let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
            self.end_save(engine, &mut hands, SaveEnd::Saved { changes });
        }
    }

    fn fail(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>, (what, error): Failure) {
        let is_base = self.making.as_ref().is_some_and(|making| making.what.is_aof_base());
        let log = &engine.process.log;
        match is_base {
            true => log.warning(format_args!("Write error writing append only file on disk({what}): {error}")),
            false => log.warning(format_args!("Write error saving DB on disk({what}): {error}")),
        }
        if let Some(making) = self.making.take() {
            self.give_up(*making, engine, io);
        }
        if is_base {
            return engine.end_base(Err(()));
        }
        let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
        self.end_save(engine, &mut hands, SaveEnd::Failed);
    }

    /// All keys are gone: as in Redis a save that is under way is given up, and if there are save points the file shall
    /// hold nothing either. Replies wait for it.
    fn begin_anew(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        let board = engine.process.disk.node(self.node);
        if let Some(making) = self.making.take_if(|making| !making.what.is_aof_base()) {
            let begun = board.record().is_running();
            self.give_up(*making, engine, io);
            // Who waits for a save gets the next one.
            let waits = std::mem::take(&mut self.waits);
            let mut hands = Hands { sockets: &mut io.sockets, mail: &mut io.mail };
            if begun {
                self.end_save(engine, &mut hands, SaveEnd::GivenUp);
            }
            self.waits = waits;
        }
        let wants = !self.rules.points.is_empty() || !self.waits.is_empty();
        if wants && !engine.process.disk.is_loading() {
            engine.process.disk.node(self.node).record().begin(engine.now.as_secs());
        } else {
            engine.process.durability.give_up_files();
        }
    }

    /// The process is about to end: the last file is begun, in place of one that is under way.
    fn begin_last(&mut self, engine: &mut Engine, io: &mut DataLoop<Parcel>) {
        engine.process.log.notice(format_args!("Saving the final RDB snapshot before exiting."));
        if let Some(making) = self.making.take() {
            let is_base = making.what.is_aof_base();
            let what = if is_base { "rewriting the AOF" } else { "saving an .rdb" };
            engine.process.log.warning(format_args!("There is a child {what}. Killing it!"));
            self.give_up(*making, engine, io);
            match is_base {
                true => engine.end_base(Err(())),
                false => engine.process.disk.node(self.node).record().end(SaveEnd::GivenUp, engine.now.as_secs()),
            }
        }
        self.is_last = true;
        engine.process.disk.node(self.node).record().begin(engine.now.as_secs());
        self.is_wanted = true;
    }

    /// The process ends: what is in the making is of no use.
    pub(crate) fn leave(&mut self) {
        for file in self.making.take().map(|making| making.file).into_iter().chain(self.leaving.take()) {
            let _ = std::fs::remove_file(file.temporary);
        }
    }

    /// A save has ended; tells the log, and those who wait for it.
    pub(super) fn end_save(&mut self, engine: &mut Engine, hands: &mut Hands<'_>, end: SaveEnd) {
        self.is_wanted = false;
        let log = &engine.process.log;
        match end {
            SaveEnd::Saved { .. } => log.notice(format_args!("Background saving terminated with success")),
            SaveEnd::Failed => log.warning(format_args!("Background saving error")),
            SaveEnd::GivenUp => log.notice(format_args!("Background saving given up")),
        }
        engine.process.disk.node(self.node).record().end(end, engine.now.as_secs());
        if end != SaveEnd::GivenUp {
            // As in Redis the reply to FLUSHALL is the same if there can be no file.
            engine.end_waits_for_file(hands, &std::mem::take(&mut self.flushes_of_file));
        }
        if std::mem::take(&mut self.is_last) {
            engine.end_last_save(hands, matches!(end, SaveEnd::Saved { .. }));
        }
        for wait in std::mem::take(&mut self.waits) {
            engine.answer_save(hands, &wait, matches!(end, SaveEnd::Saved { .. }));
        }
    }
}
