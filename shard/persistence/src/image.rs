//! A file that is made of an image of the data: an RDB file, or the base of an append-only file.
//!
//! *The idea.* The image goes into a file beside the one that it shall replace, in pieces of which several are on their way
//! at once. When all are written the file is synced, takes its name, and the folder is synced; only then is it there
//! (Redis 7.0 `rdb.c`, `rdbSave`). Whatever fails, or is wanted no more, leaves the file of that name alone, and what was
//! made of it is removed.
//!
//! *One at a time.* Orders may overtake each other: a rename that was given up and comes late would put an old image in the
//! place of a later one, a removal would take what was made under the same name again, and a write would spoil it. So
//! nothing else may be made before the last order for what came to nothing has ended: [`Image::is_over`].

use alloc::vec::Vec;
use core::mem;

/// Bytes after which the system is told to begin to bring them to the disk: a quarter of Redis's `REDIS_AUTOSYNC_BYTES`, as
/// it is a thread on the core's own CPU that does so, and clients wait for it.
const WRITEBACK_BYTES: u64 = 1 << 20;
/// Buffers that are kept to be filled again.
const SPARE_BUFFERS: usize = 16;

/// How a file is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ImageRules {
    /// Bytes that are given to the file at once.
    pub piece_bytes: usize,
    /// Bytes that are on their way to it at once. Beyond: no more of the image is made.
    pub window_bytes: usize,
    /// Whether the system is to begin early to bring them to the disk (`rdb-save-incremental-fsync`).
    pub writes_back: bool,
    /// Whether it takes a name when it is done, in place of whatever file has it; else others see to that.
    pub takes_name: bool,
}

/// What is to be done with the file; each is answered by [`Image::ended`], in any order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImageOrder {
    /// Write all of it at this offset.
    Write {
        /// Bytes of the file in front.
        at: u64,
        /// What is written.
        bytes: Vec<u8>,
    },
    /// Begin to bring a range to the disk.
    WriteBack {
        /// Where it begins.
        at: u64,
        /// Its bytes.
        len: u64,
    },
    /// Bring all to the disk.
    Sync,
    /// Give the file its name.
    Rename,
    /// Bring the name to the disk.
    SyncFolder,
    /// Remove the file, if it is there under its first name.
    Remove,
}

/// Kinds of [`ImageOrder`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageStep {
    /// [`ImageOrder::Write`].
    Write,
    /// [`ImageOrder::WriteBack`].
    WriteBack,
    /// [`ImageOrder::Sync`].
    Sync,
    /// [`ImageOrder::Rename`].
    Rename,
    /// [`ImageOrder::SyncFolder`].
    SyncFolder,
    /// [`ImageOrder::Remove`].
    Remove,
}

impl ImageStep {
    /// All of them, each at the place of its [`number`](Self::number).
    const ALL: [Self; 6] = [Self::Write, Self::WriteBack, Self::Sync, Self::Rename, Self::SyncFolder, Self::Remove];

    /// A number for it.
    pub fn number(self) -> u8 {
        self as u8
    }

    /// The one of that number.
    pub fn of_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The system's call, for the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::WriteBack => "sync_file_range",
            Self::Sync => "fsync",
            Self::Rename => "rename",
            Self::SyncFolder => "fsync of the directory",
            Self::Remove => "remove",
        }
    }
}

impl ImageOrder {
    /// Its kind.
    pub fn step(&self) -> ImageStep {
        match self {
            Self::Write { .. } => ImageStep::Write,
            Self::WriteBack { .. } => ImageStep::WriteBack,
            Self::Sync => ImageStep::Sync,
            Self::Rename => ImageStep::Rename,
            Self::SyncFolder => ImageStep::SyncFolder,
            Self::Remove => ImageStep::Remove,
        }
    }
}

/// A file in the making.
#[derive(Debug)]
pub struct Image {
    rules: ImageRules,
    /// Bytes that belong behind those that were given to the file.
    buffer: Vec<u8>,
    spare: Vec<Vec<u8>>,
    /// Bytes given to the file.
    given: u64,
    /// Those of them that are on their way.
    underway: usize,
    /// The system was told to bring so many bytes to the disk.
    written_back: u64,
    /// Orders that have not ended.
    ordered: usize,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Writes,
    Syncs,
    Names,
    SyncsFolder,
    Made,
    /// It has come to nothing, and is being removed.
    Leaves,
    /// It has come to nothing, and nothing is left of it.
    Gone,
}

impl Image {
    /// The file is there, and empty; `head` is how the image begins.
    pub fn new(rules: ImageRules, head: Vec<u8>) -> Self {
        Self {
            rules,
            buffer: head,
            spare: Vec::new(),
            given: 0,
            underway: 0,
            written_back: 0,
            ordered: 0,
            stage: Stage::Writes,
        }
    }

    /// Where the next bytes of the image go.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Whether more of the image may be made.
    pub fn has_room(&self) -> bool {
        self.stage == Stage::Writes && self.underway + self.buffer.len() < self.rules.window_bytes
    }

    /// Whether [`go_on`](Self::go_on) has something to do that nobody else will call for.
    pub fn can_go_on(&self, is_whole: bool) -> bool {
        self.stage == Stage::Writes && is_whole && self.underway == 0
    }

    /// Bytes of the file.
    pub fn bytes(&self) -> u64 {
        self.given
    }

    /// Whether the file is on the disk, under its name.
    pub fn is_made(&self) -> bool {
        self.stage == Stage::Made
    }

    /// Whether another one may be made.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Made || self.stage == Stage::Gone && self.ordered == 0
    }

    /// Gives the file what there is; `is_whole` says that no more of the image will come.
    pub fn go_on(&mut self, is_whole: bool, orders: &mut Vec<ImageOrder>) {
        if self.stage != Stage::Writes {
            return;
        }
        if self.buffer.len() >= self.rules.piece_bytes || is_whole && !self.buffer.is_empty() {
            let bytes = mem::replace(&mut self.buffer, self.spare.pop().unwrap_or_default());
            let (at, len) = (self.given, bytes.len());
            self.order(ImageOrder::Write { at, bytes }, orders);
            self.given += len as u64;
            self.underway += len;
        }
        if is_whole && self.underway == 0 {
            self.stage = Stage::Syncs;
            self.order(ImageOrder::Sync, orders);
        }
    }

    /// An order has ended, well or not; `bytes` are those that were to be written. One that has failed has the file removed.
    pub fn ended(&mut self, step: ImageStep, went_well: bool, bytes: Vec<u8>, orders: &mut Vec<ImageOrder>) {
        self.ordered -= 1;
        if !went_well && !matches!(self.stage, Stage::Leaves | Stage::Gone) {
            return self.give_up(orders);
        }
        match (self.stage, step) {
            (Stage::Writes, ImageStep::Write) => {
                self.underway -= bytes.len();
                self.write_back(orders);
                self.keep(bytes);
            }
            (Stage::Syncs, ImageStep::Sync) if !self.rules.takes_name => self.stage = Stage::Made,
            (Stage::Syncs, ImageStep::Sync) => {
                self.stage = Stage::Names;
                self.order(ImageOrder::Rename, orders);
            }
            (Stage::Names, ImageStep::Rename) => {
                self.stage = Stage::SyncsFolder;
                self.order(ImageOrder::SyncFolder, orders);
            }
            (Stage::SyncsFolder, ImageStep::SyncFolder) => self.stage = Stage::Made,
            // One that cannot be removed stays.
            (Stage::Leaves, ImageStep::Remove) => self.stage = Stage::Gone,
            // What was ordered before it came to nothing.
            _ => {}
        }
    }

    /// It is wanted no more.
    pub fn give_up(&mut self, orders: &mut Vec<ImageOrder>) {
        self.buffer = Vec::new();
        match self.stage {
            // A rename that is under way, or has failed, may happen all the same: then there is nothing to be removed.
            Stage::Writes | Stage::Syncs | Stage::Names => {
                self.stage = Stage::Leaves;
                self.order(ImageOrder::Remove, orders);
            }
            // It has its name, and is whole.
            Stage::SyncsFolder => self.stage = Stage::Gone,
            Stage::Made | Stage::Leaves | Stage::Gone => {}
        }
    }

    fn order(&mut self, order: ImageOrder, orders: &mut Vec<ImageOrder>) {
        self.ordered += 1;
        orders.push(order);
    }

    fn write_back(&mut self, orders: &mut Vec<ImageOrder>) {
        let written = self.given - self.underway as u64;
        let len = written - self.written_back;
        if self.rules.writes_back && len >= WRITEBACK_BYTES {
            self.order(ImageOrder::WriteBack { at: self.written_back, len }, orders);
            self.written_back = written;
        }
    }

    fn keep(&mut self, mut bytes: Vec<u8>) {
        if self.spare.len() < SPARE_BUFFERS && bytes.capacity() <= 2 * self.rules.piece_bytes {
            bytes.clear();
            self.spare.push(bytes);
        }
    }
}
