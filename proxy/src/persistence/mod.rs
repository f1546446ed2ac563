//! Data on the disk: files that are written from snapshots while the node serves, and read before it does.
//!
//! *For*: RDB files (SAVE, BGSAVE, save points, SHUTDOWN, DEBUG RELOAD) and what is loaded at the start. *Not here*: what
//! stands in a file (`slotmesh_rdb`, `slotmesh_shard::Loader`), when one is due (`slotmesh_shard::SaveRecord`).
//! *Invariants*: a file takes its name when all of it is on the disk, and before that nothing has changed; a core never
//! waits for a disk, but when the process ends or DEBUG asks for it; what is loaded is served as a whole or not at all.
//! *Read first*: `save.rs`, then `load.rs`.
//!
//! The core that owns a stream of replication saves the data of its shards: each node of a cluster its own, else core 0
//! those of the process. The snapshots are begun where those for replicas are (`replication/image.rs`), so that a file
//! knows its place in the stream.

mod append_log;
mod board;
mod durability;
mod load;
mod load_log;
mod orders;
mod reload;
mod save;

pub(crate) use append_log::AppendLog;
pub(crate) use board::DiskBoard;
pub(crate) use durability::{Durability, Needs, Promises};
pub(crate) use load::{Loaded, NodeToLoad, begin_loading};
pub(crate) use orders::SaveOrder;
pub(crate) use reload::Reload;
pub(crate) use save::{FileWanted, Persistence};

use slotmesh_conf::{Settings, directive};
use std::path::{Path, PathBuf};

/// Owner of an order to the files of a core, in the upper byte of its token: saves.
pub(crate) const SAVES: u32 = 1;
/// The same: append-only files.
pub(crate) const LOGS: u32 = 2;

/// The file into which node `node` of a cluster saves its data, or a process that is part of none (0).
pub(crate) fn dump_file(settings: &Settings, node: u16) -> PathBuf {
    numbered(Path::new(settings.value(directive::DBFILENAME)), node)
}

/// The name for shard `index`: as it is for the first one, with `-<index>` before the extension for the others.
pub(crate) fn numbered(path: &Path, index: u16) -> PathBuf {
    if index == 0 {
        return path.to_owned();
    }
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(format!("-{index}"));
    if let Some(extension) = path.extension() {
        name.push(".");
        name.push(extension);
    }
    path.with_file_name(name)
}

/// Whether a node has data of its own on the disk.
pub(crate) fn has_data(settings: &Settings, node: u16) -> bool {
    if settings.value(directive::APPENDONLY) {
        let place = append_log::Place::new(settings, node);
        let is_there = |path: PathBuf| path.try_exists().unwrap_or(true);
        return is_there(place.manifest_path()) || is_there(place.single_path());
    }
    dump_file(settings, node).try_exists().unwrap_or(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shard_has_its_name() {
        assert_eq!(numbered(Path::new("nodes.conf"), 0), Path::new("nodes.conf"));
        assert_eq!(numbered(Path::new("dump.rdb"), 2), Path::new("dump-2.rdb"));
        assert_eq!(numbered(Path::new("/a.b/nodes"), 1), Path::new("/a.b/nodes-1"));
    }
}
