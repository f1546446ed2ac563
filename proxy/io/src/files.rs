//! Files of a core, written without its loop ever waiting for a disk.
//!
//! On a ring, writes and syncs are its operations; what has none that every kernel knows (renames, syncs of folders, and
//! everything where epoll stands in for the ring) is done by a few threads beside the core, which ring a bell. Either way
//! an order is given with a token and comes back with it as [`crate::Event::File`], bytes and all.
//!
//! Orders may overtake each other: what must happen after another is ordered when that one is done.
#![allow(unsafe_code)]

use crate::kernel::{Kernel, Operation};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

/// Most threads of a core that do what the ring does not: one may be held up by a slow sync.
const HELPERS_MAX: usize = 3;
/// Longest single write of a ring in bytes.
const WRITE_BYTES_MAX: usize = 1 << 30;

/// What becomes of an order.
#[derive(Debug)]
pub struct FileDone {
    /// As it was given.
    pub token: u32,
    /// Whether all of it was done.
    pub result: io::Result<()>,
    /// The bytes that were written, for whoever wants their memory again; empty for other orders.
    pub bytes: Vec<u8>,
}

/// Something that is done on a thread beside the core.
type Task = Box<dyn FnOnce() -> io::Result<()> + Send>;

enum Work {
    /// All bytes from `done` on, the first of which belongs at `offset`.
    Write {
        file: Arc<File>,
        bytes: Vec<u8>,
        done: usize,
        offset: u64,
        /// Whether they are on the disk when it is done.
        syncs: bool,
    },
    Sync {
        file: Arc<File>,
        data_only: bool,
    },
    /// A range that the kernel is to begin to write back.
    Flush {
        file: Arc<File>,
        offset: u64,
        len: u64,
    },
    Run(Task),
}

struct Order {
    token: u32,
    work: Work,
}

/// The files of one core.
#[derive(Default)]
pub struct Files {
    /// Orders that the ring has; it reads their bytes, so they stay where they are until their completion.
    on_ring: Vec<Option<Order>>,
    free: Vec<u32>,
    /// Orders that nobody has yet.
    queued: Vec<Order>,
    helpers: Option<Helpers>,
    /// Whether the loop listens to their bell.
    is_heard: bool,
    under_way: usize,
    ended: Vec<FileDone>,
}

impl std::fmt::Debug for Files {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Files").field("under_way", &self.under_way).finish()
    }
}

impl Files {
    /// Writes all of `bytes` to the file, the first at `offset`. A file has no place of its own here: each write says where.
    pub fn write(&mut self, token: u32, file: &Arc<File>, offset: u64, bytes: Vec<u8>) {
        self.order(token, Work::Write { file: file.clone(), bytes, done: 0, offset, syncs: false });
    }

    /// The same, and has these bytes come to the disk: done when they are there. Others of the file may not be.
    pub fn write_synced(&mut self, token: u32, file: &Arc<File>, offset: u64, bytes: Vec<u8>) {
        self.order(token, Work::Write { file: file.clone(), bytes, done: 0, offset, syncs: true });
    }

    /// Has what was written come to the disk (fsync; fdatasync with `data_only`).
    pub fn sync(&mut self, token: u32, file: &Arc<File>, data_only: bool) {
        self.order(token, Work::Sync { file: file.clone(), data_only });
    }

    /// Has the kernel begin to bring a range to the disk, so that a sync finds less to do later. Promises nothing.
    pub fn begin_writeback(&mut self, token: u32, file: &Arc<File>, offset: u64, len: u64) {
        self.order(token, Work::Flush { file: file.clone(), offset, len });
    }

    /// Does on a thread beside the core what may wait for the disk: renames, [`sync_folder`](crate::sync_folder).
    pub fn run(&mut self, token: u32, task: impl FnOnce() -> io::Result<()> + Send + 'static) {
        self.order(token, Work::Run(Box::new(task)));
    }

    /// Orders that are not done.
    pub fn under_way(&self) -> usize {
        self.under_way
    }

    fn order(&mut self, token: u32, work: Work) {
        self.under_way += 1;
        self.queued.push(Order { token, work });
    }

    /// Hands over what was ordered.
    pub(crate) fn submit(&mut self, kernel: &mut Kernel) {
        for order in std::mem::take(&mut self.queued) {
            match (&mut *kernel, &order.work) {
                (Kernel::Ring(_), Work::Write { .. } | Work::Sync { .. } | Work::Flush { .. }) => {
                    let place = self.free.pop().unwrap_or_else(|| {
                        self.on_ring.push(None);
                        self.on_ring.len() as u32 - 1
                    });
                    self.on_ring[place as usize] = Some(order);
                    self.push(kernel, place);
                }
                _ => self.help(kernel, order),
            }
        }
    }

    /// Gives the ring an order, or what is left of it.
    fn push(&mut self, kernel: &mut Kernel, place: u32) {
        let (Kernel::Ring(ring), Some(order)) = (kernel, &self.on_ring[place as usize]) else { return };
        match &order.work {
            Work::Write { file, bytes, done, offset, syncs } => {
                let rest = &bytes[*done..];
                ring.write_file(place, file.as_raw_fd(), &rest[..rest.len().min(WRITE_BYTES_MAX)], *offset, *syncs);
            }
            Work::Sync { file, data_only } => ring.sync_file(place, file.as_raw_fd(), *data_only),
            Work::Flush { file, offset, len } => ring.flush_file(place, file.as_raw_fd(), *offset, *len),
            Work::Run(_) => {}
        }
    }

    /// The ring has ended an operation.
    pub(crate) fn completed(&mut self, kernel: &mut Kernel, place: u32, result: i32) {
        let Some(order) = &mut self.on_ring[place as usize] else { return };
        let result = match &mut order.work {
            _ if result == -libc::EINTR || result == -libc::EAGAIN => return self.push(kernel, place),
            _ if result < 0 => Err(io::Error::from_raw_os_error(-result)),
            Work::Write { bytes, done, offset, .. } if *done < bytes.len() => match result {
                0 => Err(io::ErrorKind::WriteZero.into()),
                count => {
                    *done += count as usize;
                    *offset += count as u64;
                    if *done < bytes.len() {
                        return self.push(kernel, place);
                    }
                    Ok(())
                }
            },
            _ => Ok(()),
        };
        if let Some(order) = self.on_ring[place as usize].take() {
            self.free.push(place);
            self.end(order, result);
        }
    }

    fn end(&mut self, order: Order, result: io::Result<()>) {
        self.under_way -= 1;
        let bytes = match order.work {
            Work::Write { bytes, .. } => bytes,
            Work::Sync { .. } | Work::Flush { .. } | Work::Run(_) => Vec::new(),
        };
        self.ended.push(FileDone { token: order.token, result, bytes });
    }

    fn help(&mut self, kernel: &mut Kernel, order: Order) {
        if self.helpers.is_none() {
            match Helpers::new() {
                Ok(helpers) => self.helpers = Some(helpers),
                Err(error) => return self.end(order, Err(error)),
            }
        }
        let Some(helpers) = &mut self.helpers else { return };
        if let Err((order, error)) = helpers.give(order) {
            return self.end(order, Err(error));
        }
        if !std::mem::replace(&mut self.is_heard, true) {
            kernel.poll(Operation::FileBell, 0, helpers.bell.as_raw_fd());
        }
    }

    /// Helpers have rung.
    pub(crate) fn hear(&mut self, kernel: &mut Kernel) {
        let Some(helpers) = &mut self.helpers else { return };
        let ended = helpers.take();
        kernel.poll(Operation::FileBell, 0, helpers.bell.as_raw_fd());
        ended.into_iter().for_each(|(order, result)| self.end(order, result));
    }

    /// What has ended.
    pub(crate) fn take_ended(&mut self) -> std::vec::Drain<'_, FileDone> {
        self.ended.drain(..)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // The kernel may still read them.
        self.on_ring.drain(..).for_each(std::mem::forget);
    }
}

/// Threads beside the core.
struct Helpers {
    desk: Arc<Desk>,
    threads: usize,
    /// Readable when something has ended: an eventfd.
    bell: File,
}

/// Where core and helpers meet.
#[derive(Default)]
struct Desk {
    papers: Mutex<Papers>,
    has_work: Condvar,
}

#[derive(Default)]
struct Papers {
    orders: VecDeque<Order>,
    idle: usize,
    ended: Vec<(Order, io::Result<()>)>,
    is_closed: bool,
}

impl Helpers {
    fn new() -> io::Result<Self> {
        // SAFETY: plain system call without pointers.
        let bell = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if bell < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and ours.
        let bell = File::from(unsafe { OwnedFd::from_raw_fd(bell) });
        Ok(Self { desk: Arc::default(), threads: 0, bell })
    }

    /// Takes an order, unless there is no thread for it and none can be had.
    fn give(&mut self, order: Order) -> Result<(), (Order, io::Error)> {
        let mut papers = self.desk.papers.lock().expect("no holder panics");
        if papers.idle <= papers.orders.len() && self.threads < HELPERS_MAX {
            let (desk, bell) = (self.desk.clone(), self.bell.try_clone());
            let started = bell.and_then(|bell| {
                std::thread::Builder::new().name("files".to_owned()).spawn(move || desk.work(&bell)).map(drop)
            });
            match started {
                Ok(()) => self.threads += 1,
                Err(error) if self.threads == 0 => return Err((order, error)),
                Err(_) => {}
            }
        }
        papers.orders.push_back(order);
        self.desk.has_work.notify_one();
        Ok(())
    }

    fn take(&mut self) -> Vec<(Order, io::Result<()>)> {
        // Before the look, so that whatever ends behind it rings again.
        let _ = (&self.bell).read(&mut [0; 8]);
        std::mem::take(&mut self.desk.papers.lock().expect("no holder panics").ended)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        self.desk.papers.lock().expect("no holder panics").is_closed = true;
        self.desk.has_work.notify_all();
    }
}

impl Desk {
    /// Does what there is to do until the core has gone.
    fn work(&self, bell: &File) {
        loop {
            let mut papers = self.papers.lock().expect("no holder panics");
            let mut order = loop {
                if let Some(order) = papers.orders.pop_front() {
                    break order;
                }
                if papers.is_closed {
                    return;
                }
                papers.idle += 1;
                papers = self.has_work.wait(papers).expect("no holder panics");
                papers.idle -= 1;
            };
            drop(papers);
            let result = perform(&mut order.work);
            self.papers.lock().expect("no holder panics").ended.push((order, result));
            let mut bell = bell;
            // Its count cannot overflow.
            let _ = bell.write(&1_u64.to_ne_bytes());
        }
    }
}

/// Has the names of the files in the folder of `path` come to the disk: a file that was made or renamed there is found
/// under that name from now on, whatever happens to the machine.
///
/// # Errors
/// As the system has it.
pub fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn perform(work: &mut Work) -> io::Result<()> {
    match work {
        Work::Write { file, bytes, done, offset, syncs } => {
            file.write_all_at(&bytes[*done..], *offset)?;
            if *syncs { file.sync_data() } else { Ok(()) }
        }
        Work::Sync { file, data_only: true } => file.sync_data(),
        Work::Sync { file, data_only: false } => file.sync_all(),
        Work::Flush { file, offset, len } => {
            // SAFETY: plain system call without pointers. It is a hint, so that its failure is none.
            unsafe {
                libc::sync_file_range(file.as_raw_fd(), *offset as i64, *len as i64, libc::SYNC_FILE_RANGE_WRITE)
            };
            Ok(())
        }
        Work::Run(task) => std::mem::replace(task, Box::new(|| Ok(())))(),
    }
}
