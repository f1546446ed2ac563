//! The operator's configuration file, replaced as a whole or not at all.

use slotmesh_io::entropy;
use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Mode of a file that was not there before.
const NEW_MODE: u32 = 0o644;

/// Gives the file the text that `rewrite` makes of the old one (none if it has gone): beside it first, on the disk, then
/// in its place. The mode stays, where Redis makes it 0644: there may be a password inside.
///
/// # Errors
/// Whatever the system says; the old file is untouched then.
pub(crate) fn replace(path: &Path, rewrite: impl FnOnce(&str) -> String) -> io::Result<()> {
    let old = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        read => Some(read?),
    };
    let mode = match old {
        Some(_) => std::fs::metadata(path)?.permissions().mode() & 0o777,
        None => NEW_MODE,
    };
    let beside = beside(path);
    let replaced = write(&beside, mode, old.is_some(), rewrite(old.as_deref().unwrap_or_default()).as_bytes())
        .and_then(|()| std::fs::rename(&beside, path));
    if replaced.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    replaced?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{:016x}", entropy::random_u64()));
    PathBuf::from(name)
}

fn write(path: &Path, mode: u32, keep_mode: bool, text: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    if keep_mode {
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    file.write_all(text)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_keeps_its_mode() {
        let directory = std::env::temp_dir().join(format!("slotmesh-file-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("a.conf");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        replace(&path, |old| format!("{old} and new")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old and new");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
        replace(&path, |old| format!("[{old}]")).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[]");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside");
        std::fs::write(&path, [0xff]).unwrap();
        assert!(replace(&path, |_| String::new()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), [0xff]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
