//! nodes.conf on the disk: one process at a time, whole or not at all.

use crate::persistence::numbered;
use slotmesh_cluster::nodes_conf::{self, SavedCluster};
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Why a node has no nodes.conf to live by.
#[derive(Debug)]
pub(crate) enum NodesFileError {
    /// Another process has it.
    Taken(PathBuf),
    /// The system refuses.
    Io(PathBuf, io::Error),
    /// What stands in it is none.
    Corrupt(PathBuf, nodes_conf::BadNodesConf),
}

impl fmt::Display for NodesFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(path) => write!(
                f,
                "Sorry, the cluster configuration file {} is already used by a different Redis Cluster node. Please make \
                 sure that different nodes use different cluster configuration files.",
                path.display()
            ),
            Self::Io(path, error) => write!(f, "Can't use the cluster configuration file {}: {error}", path.display()),
            Self::Corrupt(path, bad) => {
                write!(f, "Unrecoverable error: corrupted cluster config file {}, {bad}", path.display())
            }
        }
    }
}

impl std::error::Error for NodesFileError {}

/// The nodes.conf of one shard. The lock is on a file beside it, since the file itself is replaced with every save.
#[derive(Debug)]
pub(crate) struct NodesFile {
    path: PathBuf,
    /// The number of the newest save on disk.
    newest: Mutex<u64>,
    _lock: File,
}

impl NodesFile {
    /// The file of shard `index` where `cluster-config-file` is `name`, locked for as long as the process lives, and what it holds.
    ///
    /// # Errors
    /// If another process has it, it cannot be read, or its contents are wrong.
    pub(crate) fn open(name: &Path, index: u16) -> Result<(Self, Option<SavedCluster>), NodesFileError> {
        let name = numbered(name, index);
        // Whole, because the directory may change under CONFIG SET.
        let path = std::path::absolute(&name).map_err(|error| NodesFileError::Io(name, error))?;
        let refused = |error| NodesFileError::Io(path.clone(), error);
        let mut lock_path = path.clone().into_os_string();
        lock_path.push(".lock");
        let lock = OpenOptions::new().create(true).append(true).open(lock_path).map_err(refused)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NodesFileError::Taken(path)),
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(refused(error)),
        };
        // As Redis has it: an empty file is that of a new node.
        let saved = match text.is_empty() {
            true => None,
            false => Some(nodes_conf::parse(&text).map_err(|bad| NodesFileError::Corrupt(path.clone(), bad))?),
        };
        Ok((Self { path, newest: Mutex::new(0), _lock: lock }, saved))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Replaces the file by the text of save number `serial`; when this returns, it is on the disk. A save that is older
    /// than what is there changes nothing.
    ///
    /// # Errors
    /// As the system has it; the old file is then still whole.
    pub(crate) fn write(&self, serial: u64, text: &str) -> io::Result<()> {
        let mut newest = self.newest.lock().expect("no writer panics");
        if serial <= *newest {
            return Ok(());
        }
        let mut temporary = self.path.clone().into_os_string();
        temporary.push(format!(".tmp-{}", std::process::id()));
        let temporary = PathBuf::from(temporary);
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, &self.path)?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
        *newest = serial;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_save_does_not_replace_a_newer_one() {
        let folder = std::env::temp_dir().join(format!("slotmesh-nodes-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let name = folder.join("nodes.conf");
        let (file, saved) = NodesFile::open(&name, 0).unwrap();
        assert_eq!(saved, None);
        file.write(2, "second").unwrap();
        file.write(1, "first").unwrap();
        assert_eq!(std::fs::read_to_string(&name).unwrap(), "second");
        assert!(matches!(NodesFile::open(&name, 0), Err(NodesFileError::Taken(_))));
        drop(file);
        let error = NodesFile::open(&name, 0).unwrap_err().to_string();
        assert!(error.contains("line 1") && error.contains("second"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
