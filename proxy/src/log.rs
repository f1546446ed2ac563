//! Log lines in Redis's form: `pid:role day month year time sign text`.

use slotmesh_conf::LogLevel;
use slotmesh_io::clock;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

/// The log of the process. Lines are written at once and whole; a log that cannot be written is no reason to stop.
#[derive(Debug)]
pub(crate) struct Log {
    file: Option<File>,
    level: AtomicU8,
}

impl Log {
    /// A log to a file, or to standard output.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn open(path: Option<&Path>, level: LogLevel) -> io::Result<Self> {
        let file = path.map(|path| OpenOptions::new().create(true).append(true).open(path)).transpose()?;
        Ok(Self { file, level: AtomicU8::new(level as u8) })
    }

    /// Changes how much is logged.
    pub(crate) fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// Something an operator wants to know in production.
    pub(crate) fn notice(&self, text: std::fmt::Arguments<'_>) {
        self.write(LogLevel::Notice, '*', text);
    }

    /// Something an operator must know.
    pub(crate) fn warning(&self, text: std::fmt::Arguments<'_>) {
        self.write(LogLevel::Warning, '#', text);
    }

    /// Something that is often useful.
    pub(crate) fn verbose(&self, text: std::fmt::Arguments<'_>) {
        self.write(LogLevel::Verbose, '-', text);
    }

    fn write(&self, level: LogLevel, sign: char, text: std::fmt::Arguments<'_>) {
        if (level as u8) < self.level.load(Ordering::Relaxed) {
            return;
        }
        let line = format!("{}:M {} {sign} {text}\n", std::process::id(), clock::local_time_text());
        let _ = match &self.file {
            Some(file) => (&*file).write_all(line.as_bytes()),
            None => io::stdout().lock().write_all(line.as_bytes()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filtered_by_level() {
        let path = std::env::temp_dir().join(format!("slotmesh-log-{}", std::process::id()));
        let log = Log::open(Some(&path), LogLevel::Notice).unwrap();
        log.verbose(format_args!("unseen"));
        log.notice(format_args!("first {}", 1));
        log.set_level(LogLevel::Verbose);
        log.verbose(format_args!("seen"));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(" * first 1") && lines[1].ends_with(" - seen"), "{text}");
        assert!(lines[0].starts_with(&format!("{}:M ", std::process::id())), "{text}");
    }
}
