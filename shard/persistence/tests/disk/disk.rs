//! A disk: what programs see of it, and what it has kept when the power comes back.

use slotmesh_base::Rng;
use std::collections::BTreeMap;

/// No space left on device.
pub(crate) const ENOSPC: i32 = 28;
/// Input/output error.
pub(crate) const EIO: i32 = 5;

/// A change of names.
#[derive(Clone, Debug)]
enum Naming {
    Link(String, usize),
    Rename(String, String),
    Unlink(String),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    kept: Vec<u8>,
}

/// A folder on a disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    inodes: Vec<Inode>,
    seen: BTreeMap<String, usize>,
    kept: BTreeMap<String, usize>,
    /// Changes of names since the folder was synced.
    since: Vec<Naming>,
}

impl Disk {
    fn name(&mut self, naming: Naming) {
        apply(&mut self.seen, &naming);
        self.since.push(naming);
    }

    /// Opens a file, made or emptied; its number.
    pub(crate) fn create(&mut self, name: &str, empties: bool) -> usize {
        if let Some(&inode) = self.seen.get(name) {
            if empties {
                self.inodes[inode].seen.clear();
            }
            return inode;
        }
        self.inodes.push(Inode::default());
        let inode = self.inodes.len() - 1;
        self.name(Naming::Link(name.to_owned(), inode));
        inode
    }

    pub(crate) fn write(&mut self, inode: usize, at: u64, bytes: &[u8]) {
        let file = &mut self.inodes[inode].seen;
        let end = at as usize + bytes.len();
        file.resize(file.len().max(end), 0);
        file[at as usize..end].copy_from_slice(bytes);
    }

    pub(crate) fn truncate(&mut self, inode: usize, to: u64) {
        self.inodes[inode].seen.truncate(to as usize);
    }

    pub(crate) fn sync(&mut self, inode: usize) {
        let file = &mut self.inodes[inode];
        file.kept = file.seen.clone();
    }

    /// Bytes of the file are kept; what stands before them and was not synced may be lost, and is then nothing but zeros.
    pub(crate) fn sync_range(&mut self, inode: usize, at: u64, len: u64) {
        let file = &mut self.inodes[inode];
        let (from, until) = (at as usize, (at + len) as usize);
        file.kept.resize(file.kept.len().max(until), 0);
        file.kept[from..until].copy_from_slice(&file.seen[from..until]);
    }

    /// The file as it is now; for a sync that covers no more.
    pub(crate) fn seen(&self, inode: usize) -> Vec<u8> {
        self.inodes[inode].seen.clone()
    }

    /// A sync that began when the file was so.
    pub(crate) fn sync_as(&mut self, inode: usize, seen: Vec<u8>) {
        self.inodes[inode].kept = seen;
    }

    pub(crate) fn rename(&mut self, from: &str, to: &str) -> Result<(), i32> {
        if !self.seen.contains_key(from) {
            return Err(2);
        }
        self.name(Naming::Rename(from.to_owned(), to.to_owned()));
        Ok(())
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if self.seen.contains_key(name) {
            self.name(Naming::Unlink(name.to_owned()));
        }
    }

    pub(crate) fn sync_folder(&mut self) {
        self.kept = self.seen.clone();
        self.since.clear();
    }

    pub(crate) fn read(&self, name: &str) -> Option<&[u8]> {
        self.seen.get(name).map(|&inode| &self.inodes[inode].seen[..])
    }

    /// The power has failed and is back.
    pub(crate) fn lose_power(&mut self, rng: &mut Rng) {
        // A file system keeps the order of changes of names, and some of them for longer than others.
        let survive = rng.below(self.since.len() as u64 + 1) as usize;
        for naming in std::mem::take(&mut self.since).iter().take(survive) {
            apply(&mut self.kept, naming);
        }
        self.seen = self.kept.clone();
        for file in &mut self.inodes {
            let (kept, seen) = (file.kept.len(), file.seen.len());
            if seen <= kept {
                // A cut that was not synced may have happened or not.
                if rng.below(2) == 0 {
                    file.kept.truncate(seen);
                }
            } else {
                let until = kept + rng.below((seen - kept) as u64 + 1) as usize;
                // What was kept is what it was, also where it has been written again.
                file.kept.extend_from_slice(&file.seen[kept..until]);
                if rng.below(4) == 0 {
                    // The length has come to the disk, and the data have not.
                    file.kept.resize(seen, 0);
                }
            }
            file.seen = file.kept.clone();
        }
    }
}

fn apply(names: &mut BTreeMap<String, usize>, naming: &Naming) {
    match naming {
        Naming::Link(name, inode) => _ = names.insert(name.clone(), *inode),
        Naming::Rename(from, to) => {
            if let Some(inode) = names.remove(from) {
                names.insert(to.clone(), inode);
            }
        }
        Naming::Unlink(name) => _ = names.remove(name),
    }
}
