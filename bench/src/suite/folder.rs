//! Folders of servers that write to the disk.

use crate::failure::Failure;
use std::path::{Path, PathBuf};

/// A folder that goes with its owner.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one; `name` tells it from the others of this program.
    ///
    /// # Errors
    /// If it cannot be made.
    pub(super) fn new(name: &str) -> Result<Self, Failure> {
        let path = std::env::temp_dir().join(format!("slotmesh-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| Failure::Write { path: path.clone(), error })?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder that is left behind is none of the measurement's business.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
