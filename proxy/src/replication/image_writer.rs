//! What entries of snapshots become: the format of RDB, or the commands that make them (`aof-use-rdb-preamble no`).

use slotmesh_command::recreate;
use slotmesh_keyspace::{Entry, SnapshotEntry};
use slotmesh_rdb::{Header, RdbWriter, WriteOptions};

/// The form of an image.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ImageForm {
    /// RDB.
    Rdb(WriteOptions),
    /// Commands. With a time in Unix seconds that is noted in front of them, if it is to be.
    Commands(Option<i64>),
}

/// Writes an image, or slices that are spliced into one.
#[derive(Debug)]
pub(crate) enum ImageWriter {
    Rdb(RdbWriter),
    /// The database that is selected at the end of the slice.
    Commands(Option<u16>),
}

impl ImageWriter {
    /// A slice of an image, which is spliced into it later.
    pub(crate) fn of_slice(form: ImageForm) -> Self {
        match form {
            ImageForm::Rdb(options) => Self::Rdb(RdbWriter::new(WriteOptions { checksum: false, ..options })),
            ImageForm::Commands(_) => Self::Commands(None),
        }
    }

    /// An image; its head stands in `out`.
    pub(crate) fn begin(form: ImageForm, header: &Header<'_>, out: &mut Vec<u8>) -> Self {
        match form {
            ImageForm::Rdb(options) => {
                let mut writer = RdbWriter::new(options);
                writer.header(out, header);
                Self::Rdb(writer)
            }
            ImageForm::Commands(time) => {
                if let Some(time) = time {
                    out.extend_from_slice(format!("#TS:{time}\r\n").as_bytes());
                }
                Self::Commands(None)
            }
        }
    }

    /// Writes an entry.
    pub(crate) fn entry(&mut self, out: &mut Vec<u8>, entry: &SnapshotEntry<'_>) {
        let selected = match self {
            Self::Rdb(writer) => return writer.entry(out, entry),
            Self::Commands(selected) => selected,
        };
        if selected.replace(entry.db) != Some(entry.db) {
            command(out, &[b"SELECT", entry.db.to_string().as_bytes()]);
        }
        let value = Entry { value: entry.value, expires_at: entry.expires_at };
        recreate(entry.key, &value, &mut |words| command(out, words));
    }

    /// The next slice begins: it says itself what its entries belong to.
    pub(crate) fn begin_slice(&mut self) {
        match self {
            Self::Rdb(writer) => writer.begin_slice(),
            Self::Commands(selected) => *selected = None,
        }
    }

    /// Bytes of a slice follow.
    pub(crate) fn splice(&mut self, bytes: &[u8]) {
        match self {
            Self::Rdb(writer) => writer.splice(bytes),
            // It selects what it needs, and so must what follows it.
            Self::Commands(selected) => *selected = None,
        }
    }

    /// Ends the image.
    pub(crate) fn end(self, out: &mut Vec<u8>) {
        if let Self::Rdb(writer) = self {
            writer.end(out);
        }
    }
}

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}
