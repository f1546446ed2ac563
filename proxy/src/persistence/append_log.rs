//! The append-only file of a stream: carries out what its journal orders (`slotmesh_persistence`), and tells those who wait
//! for the disk how far it is.

use super::{LOGS, numbered};
use crate::log::Log;
use crate::process::Process;
use slotmesh_base::{Monotonic, UnixMillis};
use slotmesh_conf::{Settings, directive};
use slotmesh_io::{FileDone, Files};
use slotmesh_persistence::{
    DataOrder, Facts, FileOrder, Journal, JournalEvent, JournalOrder, JournalRules, Manifest, ManifestError, State,
    SyncPolicy, effects_of_stream,
};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Lowest byte of a token: what was ordered.
const WRITE: u32 = 0;
const SYNC: u32 = 1;
const TRUNCATE: u32 = 2;
const FILE: u32 = 3;

/// Time between two looks at the facts that INFO tells, in milliseconds.
const SHOW_MS: u64 = 100;
/// The code of an error that the system has not given a code: input/output error.
const EIO: i32 = 5;

/// Where the files of a node are.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// How their names begin.
    pub(super) prefix: String,
}

impl Place {
    /// That of node `node` of a cluster, or of a process that is part of none (0).
    pub(super) fn new(settings: &Settings, node: u16) -> Self {
        let folder = PathBuf::from(settings.value(directive::APPENDDIRNAME));
        // Whole, because the directory may change under CONFIG SET.
        let folder = std::path::absolute(&folder).unwrap_or(folder);
        let prefix = numbered(Path::new(settings.value(directive::APPENDFILENAME)), node);
        Self { folder, prefix: prefix.to_string_lossy().into_owned() }
    }

    pub(super) fn manifest_path(&self) -> PathBuf {
        self.folder.join(format!("{}.manifest", self.prefix))
    }

    /// The single file of Redis 6.
    pub(super) fn single_path(&self) -> PathBuf {
        self.folder.with_file_name(&self.prefix)
    }

    /// What is in the folder; nothing, if there is no manifest.
    pub(super) fn manifest(&self) -> Result<Manifest, ManifestFailure> {
        match std::fs::read(self.manifest_path()) {
            Ok(bytes) => Manifest::parse(&bytes).map_err(ManifestFailure::Bad),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Manifest::default()),
            Err(error) => Err(ManifestFailure::Io(error)),
        }
    }
}

/// Why a manifest cannot be had.
#[derive(Debug)]
pub(crate) enum ManifestFailure {
    Io(io::Error),
    Bad(ManifestError),
}

impl std::fmt::Display for ManifestFailure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Bad(error) => error.fmt(f),
        }
    }
}

pub(super) fn rules(settings: &Settings) -> JournalRules {
    JournalRules {
        policy: match settings.value(directive::APPENDFSYNC) {
            "always" => SyncPolicy::Always,
            "no" => SyncPolicy::No,
            _ => SyncPolicy::EverySecond,
        },
        rests_on_rewrite: settings.value(directive::NO_APPENDFSYNC_ON_REWRITE),
        rewrite_percentage: settings.value(directive::AUTO_AOF_REWRITE_PERCENTAGE),
        rewrite_bytes_min: settings.value(directive::AUTO_AOF_REWRITE_MIN_SIZE),
        marks_time: settings.value(directive::AOF_TIMESTAMP_ENABLED),
        base_is_rdb: settings.value(directive::AOF_USE_RDB_PREAMBLE),
    }
}

/// A journal that writes, and the file that it writes.
#[derive(Debug)]
pub(crate) struct OpenLog {
    pub(super) journal: Box<Journal>,
    pub(super) file: Option<File>,
}

/// The append-only file of a stream.
pub(crate) struct AppendLog {
    node: u16,
    journal: Box<Journal>,
    place: Place,
    /// Whether there is to be one.
    is_wanted: bool,
    hold: Hold,
    /// The increment at hand.
    file: Option<Arc<File>>,
    /// A file that was opened last.
    opened: Opened,
    orders: Vec<JournalOrder>,
    arrived: Vec<FileDone>,
    /// Pieces of shards that are not on the disk yet: the position behind each, and its number on each of its shards.
    pieces: VecDeque<(u64, Vec<(u16, u64)>)>,
    /// The number of the last piece of each shard that was appended since it was last told that all is on the disk.
    latest: Vec<(u16, u64)>,
    drops_image: bool,
    /// The database that is selected behind what was appended, if that is known.
    selected: Option<u16>,
    /// Of a master's stream: the position behind each part of it that is not on the disk, and its offset there.
    offsets: VecDeque<(u64, u64)>,
    /// The offset of a master's stream that is on the disk.
    offset_on_disk: u64,
    next_show: Monotonic,
}

/// What keeps a file from being begun.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Hold {
    None,
    /// The node has lost its data: a file of nothing would pass for them at the next start.
    LostData,
    /// It has nothing to lose any more, and begins its first file.
    Begins,
}

/// Where whoever opens a file leaves it.
pub(super) type Opened = Arc<Mutex<Option<File>>>;

impl AppendLog {
    /// That of the stream whose core is that of node `node`. It writes nothing before [`take_open`](Self::take_open), or
    /// [`set_settings`](Self::set_settings) with other settings; a node that `has_lost_data` nothing before
    /// [`release`](Self::release).
    ///
    /// # Errors
    /// If there is a manifest that cannot be read.
    pub(crate) fn new(node: u16, settings: &Settings, has_lost_data: bool) -> Result<Self, (PathBuf, ManifestFailure)> {
        let place = Place::new(settings, node);
        let manifest = place.manifest().map_err(|failure| (place.manifest_path(), failure))?;
        Ok(Self {
            node,
            journal: Box::new(Journal::new(rules(settings), place.prefix.clone(), manifest)),
            place,
            is_wanted: settings.value(directive::APPENDONLY),
            hold: if has_lost_data { Hold::LostData } else { Hold::None },
            file: None,
            opened: Opened::default(),
            orders: Vec::new(),
            arrived: Vec::new(),
            pieces: VecDeque::new(),
            latest: Vec::new(),
            drops_image: false,
            selected: None,
            offsets: VecDeque::new(),
            offset_on_disk: 0,
            next_show: Monotonic::default(),
        })
    }

    /// Goes on with what was loaded.
    pub(crate) fn take_open(&mut self, open: OpenLog) {
        (self.journal, self.file) = (open.journal, open.file.map(Arc::new));
    }

    /// Obeys other settings.
    pub(crate) fn set_settings(&mut self, settings: &Settings) {
        self.journal.set_rules(rules(settings));
        let is_wanted = settings.value(directive::APPENDONLY);
        let is_new = std::mem::replace(&mut self.is_wanted, is_wanted) != is_wanted;
        if is_new && self.hold != Hold::LostData {
            match is_wanted {
                true => self.journal.start(&mut self.orders),
                false => self.journal.stop(&mut self.orders),
            }
        }
    }

    /// Whether nothing is begun since the node has lost its data.
    pub(crate) fn is_held(&self) -> bool {
        self.hold == Hold::LostData
    }

    /// Nobody waits for the lost data any more: a file is begun, if there is to be one.
    pub(crate) fn release(&mut self) {
        self.hold = Hold::None;
        if self.is_wanted {
            self.hold = Hold::Begins;
            self.journal.start(&mut self.orders);
        }
    }

    /// Whether the first file of a node that has lost its data is not there yet: what clients wrote would not be in it.
    pub(crate) fn is_first_missing(&self) -> bool {
        self.hold == Hold::Begins
    }

    /// What was written until now is another's: all is written anew.
    pub(crate) fn begin_anew(&mut self) {
        if self.journal.state() != State::Off {
            self.journal.stop(&mut self.orders);
            self.journal.start(&mut self.orders);
            (self.selected, self.offset_on_disk) = (None, 0);
            self.offsets.clear();
        }
    }

    /// Whether effects are wanted.
    pub(crate) fn is_appending(&self) -> bool {
        self.journal.is_appending()
    }

    /// Whether what is appended is there when a process begins from the files: not before their first base is.
    pub(crate) fn is_on(&self) -> bool {
        self.journal.state() == State::On
    }

    /// Whether the image of a rewrite has to be made before effects are wanted.
    pub(crate) fn starts(&self) -> bool {
        self.journal.state() == State::Starting
    }

    /// Whether there is nothing to do in any turn.
    pub(crate) fn is_idle(&self) -> bool {
        self.journal.state() == State::Off && self.orders.is_empty() && self.arrived.is_empty()
    }

    /// The stream goes on by a piece of our own shards, behind which this database is selected.
    pub(crate) fn append(&mut self, bytes: &[u8], db: Option<u16>, now: UnixMillis) {
        self.journal.append(bytes, now);
        self.selected = db;
    }

    /// The stream goes on by what our master says: without what it says to replicas alone. In front of it and behind it these
    /// databases are selected; its end is at this offset.
    pub(crate) fn append_of_master(&mut self, stream: &[u8], db: (u16, u16), offset: u64, now: UnixMillis) {
        if !self.journal.is_appending() {
            return;
        }
        let mut effects = Vec::with_capacity(stream.len());
        effects_of_stream(stream, &mut effects);
        if !effects.is_empty() && self.selected != Some(db.0) {
            let name = db.0.to_string();
            let select = format!("*2\r\n$6\r\nSELECT\r\n${}\r\n{name}\r\n", name.len());
            self.journal.append(select.as_bytes(), now);
        }
        if !effects.is_empty() {
            self.selected = Some(db.1);
        }
        let position = self.journal.append(&effects, now);
        match self.offsets.back_mut() {
            // Nothing has come between but words for replicas.
            Some((last, of)) if *last == position => *of = offset,
            _ => self.offsets.push_back((position, offset)),
        }
    }

    /// The offset of our master's stream that is on the disk, if there is an append-only file.
    pub(crate) fn offset_on_disk(&mut self) -> Option<u64> {
        let synced = self.journal.synced();
        while let Some(&(position, offset)) = self.offsets.front()
            && position <= synced
        {
            self.offset_on_disk = offset;
            self.offsets.pop_front();
        }
        self.journal.is_appending().then_some(self.offset_on_disk)
    }

    /// What was appended until now is all of a gain with those numbers.
    pub(crate) fn note_gain(&mut self, places: Vec<(u16, u64)>, process: &Process) {
        let position = self.journal.appended();
        for &(core, number) in &places {
            match self.latest.iter_mut().find(|(of, _)| *of == core) {
                Some((_, latest)) => *latest = number,
                None => self.latest.push((core, number)),
            }
        }
        if position <= self.journal.released() {
            return process.durability.note(&places);
        }
        self.pieces.push_back((position, places));
    }

    /// A client wants a rewrite.
    pub(crate) fn ask_for_rewrite(&mut self) {
        self.journal.ask_for_rewrite();
    }

    /// Whether the image of a rewrite is to be begun.
    pub(crate) fn wants_image(&mut self, now: Monotonic) -> bool {
        let is_busy = self.is_wanted && self.journal.state() == State::Off;
        !is_busy && self.journal.wants_rewrite(now, &mut self.orders)
    }

    /// The image is begun: all that was appended until now is in it. Where it is to be made.
    pub(crate) fn begin_image(&mut self, now: Monotonic) -> PathBuf {
        self.journal.begin_rewrite(now, &mut self.orders);
        // What comes next can be read from here.
        self.selected = None;
        self.place.folder.join(self.journal.image_name())
    }

    /// The image is on the disk, so many bytes; or there is none.
    pub(crate) fn end_image(&mut self, bytes: Result<u64, ()>, now: Monotonic) {
        self.journal.image_ended(bytes, now, &mut self.orders);
    }

    /// Whether the image that is being made is wanted no more; says it once.
    pub(crate) fn take_drops_image(&mut self) -> bool {
        std::mem::take(&mut self.drops_image)
    }

    /// Whether what was appended is on its way into the files.
    pub(crate) fn is_behind(&self) -> bool {
        self.journal.state() == State::On && self.write_error().is_none() && !self.journal.is_written()
    }

    /// The files that hold all that was done until now, if there are any. Where nothing is appended they are those that
    /// were left there.
    pub(super) fn whole(&self) -> Option<(Manifest, &Place)> {
        let manifest = match self.journal.state() {
            State::On if self.journal.is_written() => self.journal.manifest().clone(),
            State::Off => self.place.manifest().ok()?,
            State::On | State::Starting | State::Stopping => return None,
        };
        (!manifest.is_empty()).then_some((manifest, &self.place))
    }

    /// Position behind all that was appended.
    pub(crate) fn appended(&self) -> u64 {
        self.journal.appended()
    }

    /// Position behind all that is on the disk.
    pub(crate) fn synced(&self) -> u64 {
        self.journal.synced()
    }

    /// The code of the system's error for which writes are refused.
    pub(crate) fn write_error(&self) -> Option<i32> {
        self.journal.write_error()
    }

    /// What was ordered is done.
    pub(crate) fn hear(&mut self, done: FileDone) {
        self.arrived.push(done);
    }

    /// When it wants a turn at the latest, and whether at once.
    pub(crate) fn deadline(&self, now: Monotonic) -> Option<(Monotonic, bool)> {
        let has_work = !self.arrived.is_empty() || !self.orders.is_empty();
        let deadline = self.journal.deadline(now);
        deadline.map(|deadline| (deadline, has_work)).or(has_work.then_some((now, true)))
    }

    /// Does what this turn has given it to do; the cores that wait for what is on the disk now.
    pub(crate) fn drive(&mut self, now: Monotonic, files: &mut Files, process: &Process) -> Vec<u16> {
        let mut orders = std::mem::take(&mut self.orders);
        let has_arrived = !self.arrived.is_empty();
        for done in std::mem::take(&mut self.arrived) {
            self.take(done, now, &mut orders);
        }
        self.journal.drive(now, &mut orders);
        if self.hold == Hold::Begins && (self.journal.state() == State::On || !self.is_wanted) {
            self.hold = Hold::None;
        }
        let is_new = has_arrived || !orders.is_empty();
        self.carry_out(orders, files, &process.log);
        if is_new || now >= self.next_show {
            self.next_show = now.plus_millis(SHOW_MS);
            process.disk.node(self.node).show_log(self.facts(now));
        }
        self.tell_waiting(process)
    }

    fn facts(&self, now: Monotonic) -> Facts {
        Facts { is_enabled: self.is_wanted, ..self.journal.facts(now) }
    }

    /// Tells how far the disk is; who waits for that.
    fn tell_waiting(&mut self, process: &Process) -> Vec<u16> {
        if !self.latest.is_empty() && self.is_on() && self.journal.synced() == self.journal.appended() {
            process.durability.note_synced(&self.latest);
            self.latest.clear();
        }
        let released = self.journal.released();
        let mut is_further = false;
        while let Some((position, places)) = self.pieces.front()
            && *position <= released
        {
            process.durability.note(places);
            self.pieces.pop_front();
            is_further = true;
        }
        if is_further { process.durability.take_waiting() } else { Vec::new() }
    }

    fn take(&mut self, done: FileDone, now: Monotonic, orders: &mut Vec<JournalOrder>) {
        let result = done.result.map_err(|error| error.raw_os_error().unwrap_or(EIO));
        match done.token & 0xff {
            WRITE => self.journal.wrote(done.bytes, result, now, orders),
            SYNC => self.journal.synced_until(result, orders),
            TRUNCATE => self.journal.truncated(result, now, orders),
            _ => self.journal.filed(result, now, orders),
        }
    }

    fn carry_out(&mut self, orders: Vec<JournalOrder>, files: &mut Files, log: &Log) {
        let token = |order: u32| LOGS << 24 | order;
        for order in orders {
            match order {
                JournalOrder::Data(order) => {
                    let Some(file) = &self.file else { continue };
                    match order {
                        DataOrder::Write { at, bytes, syncs: true } => {
                            files.write_synced(token(WRITE), file, at, bytes);
                        }
                        DataOrder::Write { at, bytes, syncs: false } => files.write(token(WRITE), file, at, bytes),
                        DataOrder::Sync => files.sync(token(SYNC), file, true),
                        DataOrder::Truncate { to } => {
                            let file = file.clone();
                            files.run(token(TRUNCATE), move || file.set_len(to));
                        }
                    }
                }
                JournalOrder::File(order) => {
                    let (folder, opened) = (self.place.folder.clone(), self.opened.clone());
                    files.run(token(FILE), move || change_files(&order, &folder, &opened));
                }
                JournalOrder::Switch => {
                    self.file = self.opened.lock().expect("no holder panics").take().map(Arc::new);
                }
                JournalOrder::Close => self.file = None,
                JournalOrder::DropImage => self.drops_image = true,
                JournalOrder::Log(event) => tell(&event, log),
                JournalOrder::Exit(event) => end_process(&event, log),
            }
        }
    }

    /// The process ends, and nothing of the files is under way: what is not on the disk yet is brought there.
    pub(crate) fn end(&mut self, log: &Log) {
        let Some(file) = self.file.take() else { return };
        log.notice(format_args!("Calling fsync() on the AOF file."));
        let (at, rest) = self.journal.take_rest();
        if let Err(error) = file.write_all_at(&rest, at).and_then(|()| file.sync_data()) {
            log.warning(format_args!("Fail to fsync the AOF file: {error}"));
        }
    }

    /// Whether orders to the files are under way.
    pub(crate) fn is_quiet(&self) -> bool {
        self.journal.is_quiet()
    }
}

/// Carries out orders one after the other, as a process does that begins: what is left is the file of the increment.
pub(super) fn carry_out_now(
    journal: &mut Journal,
    mut orders: Vec<JournalOrder>,
    folder: &Path,
    now: Monotonic,
    log: &Log,
) -> Option<File> {
    let (opened, mut file) = (Opened::default(), None);
    while !orders.is_empty() {
        for order in std::mem::take(&mut orders) {
            match order {
                JournalOrder::File(order) => {
                    let done = change_files(&order, folder, &opened);
                    let result = done.map_err(|error| error.raw_os_error().unwrap_or(EIO));
                    journal.filed(result, now, &mut orders);
                }
                JournalOrder::Switch => file = opened.lock().expect("no holder panics").take(),
                JournalOrder::Log(event) => tell(&event, log),
                JournalOrder::Exit(event) => {
                    log.warning(format_args!("{}, in {}. Exiting.", words(&event), folder.display()));
                    std::process::exit(1);
                }
                JournalOrder::Data(_) | JournalOrder::Close | JournalOrder::DropImage => {
                    unreachable!("nothing was appended yet")
                }
            }
        }
    }
    file
}

/// Changes what files there are.
pub(super) fn change_files(order: &FileOrder, folder: &Path, opened: &Opened) -> io::Result<()> {
    let open =
        |name: &str, empties: bool| File::options().write(true).create(true).truncate(empties).open(folder.join(name));
    let leave = |file: File| *opened.lock().expect("no holder panics") = Some(file);
    match order {
        FileOrder::MakeFolder => make_folder(folder),
        FileOrder::Create(name) => open(name, true).map(leave),
        FileOrder::Open(name) => open(name, false).map(leave),
        FileOrder::Put { name, bytes } => {
            let mut file = open(name, true)?;
            file.write_all(bytes)?;
            file.sync_all()
        }
        FileOrder::Rename { from, to } => std::fs::rename(folder.join(from), folder.join(to)),
        FileOrder::SyncFolder => File::open(folder)?.sync_all(),
        FileOrder::Remove(name) => match std::fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            outcome => outcome,
        },
    }
}

/// Makes the folder, if it is not there.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    match std::fs::DirBuilder::new().mode(0o755).create(folder) {
        // Another node of the process was quicker.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => {}
        outcome => outcome?,
    }
    slotmesh_io::sync_folder(folder)
}

/// What an event says, with the system's words for its code.
fn words(event: &JournalEvent) -> String {
    let text = event.to_string();
    match event.code() {
        Some(code) => text.replace("{}", &io::Error::from_raw_os_error(code).to_string()),
        None => text,
    }
}

fn tell(event: &JournalEvent, log: &Log) {
    match event.is_warning() {
        true => log.warning(format_args!("{}", words(event))),
        false => log.notice(format_args!("{}", words(event))),
    }
}

/// As Redis: what its clients have seen cannot be taken back.
fn end_process(event: &JournalEvent, log: &Log) -> ! {
    log.warning(format_args!("{}", words(event)));
    std::process::exit(1);
}
