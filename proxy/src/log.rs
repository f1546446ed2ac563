//! Log lines in Redis's form: `pid:role day month year time sign text`.

mod syslog;

use slotmesh_conf::{LogLevel, Settings, directive};
use slotmesh_io::clock;
use std::fmt::Arguments;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use syslog::Syslog;

/// The log of the process. Lines are written at once and whole; a log that cannot be written is no reason to stop. The
/// file is opened for each line, as Redis does, so that it may be renamed at any time (logrotate).
#[derive(Debug)]
pub(crate) struct Log {
    path: Option<PathBuf>,
    syslog: Option<Syslog>,
    level: AtomicU8,
    /// Whether the process has its listeners: then it is a master (`M`), before that it is nothing yet (`C`).
    serves: AtomicBool,
}

impl Log {
    /// The log that the settings ask for: a file or standard output, and the system's log beside it.
    ///
    /// # Errors
    /// If the file cannot be opened.
    pub(crate) fn open(settings: &Settings) -> io::Result<Self> {
        let path = settings.value(directive::LOGFILE);
        let syslog = settings.value(directive::SYSLOG_ENABLED).then(|| {
            let facility = settings.value(directive::SYSLOG_FACILITY);
            Syslog::new(settings.value(directive::SYSLOG_IDENT), facility)
        });
        let path = (!path.is_empty()).then(|| PathBuf::from(path));
        Self::to(path, syslog, settings.value(directive::LOGLEVEL))
    }

    fn to(path: Option<PathBuf>, syslog: Option<Syslog>, level: LogLevel) -> io::Result<Self> {
        if let Some(path) = &path {
            append(path, b"")?;
        }
        Ok(Self { path, syslog, level: AtomicU8::new(level as u8), serves: AtomicBool::new(false) })
    }

    /// A log that says nothing.
    #[cfg(test)]
    pub(crate) fn nowhere() -> Self {
        Self::to(None, None, LogLevel::Nothing).expect("no file is opened")
    }

    /// A log to a file.
    #[cfg(test)]
    pub(crate) fn to_file(path: &Path) -> Self {
        Self::to(Some(path.to_owned()), None, LogLevel::Notice).expect("the file can be written to")
    }

    /// Whether lines go to standard output and nowhere else.
    pub(crate) fn is_standard_output(&self) -> bool {
        self.path.is_none() && self.syslog.is_none()
    }

    /// Changes how much is logged.
    pub(crate) fn set_level(&self, level: LogLevel) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// From now on lines are those of a server.
    pub(crate) fn serves(&self) {
        self.serves.store(true, Ordering::Relaxed);
    }

    /// Something an operator wants to know in production.
    pub(crate) fn notice(&self, text: Arguments<'_>) {
        self.write(LogLevel::Notice, text);
    }

    /// Something an operator must know.
    pub(crate) fn warning(&self, text: Arguments<'_>) {
        self.write(LogLevel::Warning, text);
    }

    /// Something that is often useful.
    pub(crate) fn verbose(&self, text: Arguments<'_>) {
        self.write(LogLevel::Verbose, text);
    }

    /// Something for who looks for a fault.
    pub(crate) fn debug(&self, text: Arguments<'_>) {
        self.write(LogLevel::Debug, text);
    }

    /// Text as it is, without the head of a line.
    pub(crate) fn raw(&self, text: &str) {
        if LogLevel::Notice as u8 >= self.level.load(Ordering::Relaxed) {
            self.put(text.as_bytes());
        }
    }

    fn write(&self, level: LogLevel, text: Arguments<'_>) {
        if (level as u8) < self.level.load(Ordering::Relaxed) {
            return;
        }
        let role = if self.serves.load(Ordering::Relaxed) { 'M' } else { 'C' };
        let time = clock::local_time_text();
        self.put(format!("{}:{role} {time} {} {text}\n", std::process::id(), sign(level)).as_bytes());
        if let Some(syslog) = &self.syslog {
            syslog.send(level, &time, text);
        }
    }

    fn put(&self, bytes: &[u8]) {
        let _ = match &self.path {
            Some(path) => append(path, bytes),
            None => io::stdout().lock().write_all(bytes),
        };
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    OpenOptions::new().create(true).append(true).open(path)?.write_all(bytes)
}

fn sign(level: LogLevel) -> char {
    match level {
        LogLevel::Debug => '.',
        LogLevel::Verbose => '-',
        LogLevel::Notice => '*',
        LogLevel::Warning | LogLevel::Nothing => '#',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filtered_by_level_and_follow_a_renamed_file() {
        let path = std::env::temp_dir().join(format!("slotmesh-log-{}", std::process::id()));
        let log = Log::to(Some(path.clone()), None, LogLevel::Notice).unwrap();
        log.verbose(format_args!("unseen"));
        log.notice(format_args!("first {}", 1));
        log.serves();
        log.set_level(LogLevel::Verbose);
        log.verbose(format_args!("seen"));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].ends_with(" * first 1") && lines[1].ends_with(" - seen"), "{text}");
        let pid = std::process::id();
        assert!(lines[0].starts_with(&format!("{pid}:C ")) && lines[1].starts_with(&format!("{pid}:M ")), "{text}");
        let rotated = path.with_extension("1");
        std::fs::rename(&path, &rotated).unwrap();
        log.warning(format_args!("after"));
        assert!(std::fs::read_to_string(&path).unwrap().ends_with(" # after\n"));
        assert_eq!(std::fs::read_to_string(&rotated).unwrap(), text);
        std::fs::remove_file(&path).unwrap();
        std::fs::remove_file(&rotated).unwrap();
    }
}
