//! What the journal has to say, in the words of Redis 7.0 `aof.c`, for which operators search. Codes are the system's.

use alloc::string::String;
use core::fmt;

/// Something to be logged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JournalEvent {
    /// A write failed.
    WriteFailed(i32),
    /// What a failed write has left could not be cut off.
    TruncateFailed(i32),
    /// Writes go well again.
    WritesAgain,
    /// A sync failed.
    SyncFailed(i32),
    /// A sync takes long.
    SyncLate,
    /// A write failed with `always`.
    AlwaysWriteFailed,
    /// A sync failed with `always`.
    AlwaysSyncFailed(i32),
    /// The writer was started again after an error.
    ErrorIgnored,
    /// A rewrite gives way to one that keeps what is written.
    RewriteReplaced,
    /// A file that was there is written on.
    Opens(String),
    /// A first base.
    CreatesBase(String),
    /// A first increment.
    Creates(String),
    /// A rewrite has its increment.
    CreatesOnRewrite(String),
    /// The files have grown by so many percent, which begins a rewrite.
    Grown(u64),
    /// A rewrite has begun.
    RewriteBegins,
    /// The image is there.
    RewriteWritten,
    /// It has its name.
    BaseRenamed(String, String),
    /// So has the first increment.
    IncrementRenamed(String, String),
    /// All of a rewrite is done.
    RewriteEnds,
    /// A rewrite failed.
    RewriteFailed,
    /// Something with a file failed: what, which, why.
    FileFailed(&'static str, String, i32),
    /// A file is removed.
    Removes(String),
    /// Rewrites fail again and again: minutes until the next.
    Limited(u64),
}

impl JournalEvent {
    /// Whether it is a warning.
    pub fn is_warning(&self) -> bool {
        !matches!(
            self,
            Self::SyncLate
                | Self::Opens(_)
                | Self::CreatesBase(_)
                | Self::Creates(_)
                | Self::CreatesOnRewrite(_)
                | Self::Grown(_)
                | Self::RewriteBegins
                | Self::RewriteWritten
                | Self::BaseRenamed(..)
                | Self::IncrementRenamed(..)
                | Self::RewriteEnds
                | Self::Removes(_)
        )
    }

    /// The system's code, whose text goes where `{}` stands in the line.
    pub fn code(&self) -> Option<i32> {
        match self {
            Self::WriteFailed(code)
            | Self::TruncateFailed(code)
            | Self::SyncFailed(code)
            | Self::AlwaysSyncFailed(code)
            | Self::FileFailed(_, _, code) => Some(*code),
            _ => None,
        }
    }
}

impl fmt::Display for JournalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WriteFailed(_) => write!(f, "Error writing to the AOF file: {{}}"),
            Self::TruncateFailed(_) => write!(f, "Could not remove short write from the append-only file: {{}}"),
            Self::WritesAgain => write!(f, "AOF write error looks solved, writes are taken again."),
            Self::SyncFailed(_) => write!(f, "Fail to fsync the AOF file: {{}}"),
            Self::SyncLate => write!(f, "Asynchronous AOF fsync is taking too long (disk is busy?)."),
            Self::AlwaysWriteFailed => {
                write!(f, "Can't recover from AOF write error when the AOF fsync policy is 'always'. Exiting...")
            }
            Self::AlwaysSyncFailed(_) => {
                write!(f, "Can't persist AOF for fsync error when the AOF fsync policy is 'always': {{}}. Exiting...")
            }
            Self::ErrorIgnored => write!(f, "AOF reopen, just ignore the last error."),
            Self::RewriteReplaced => write!(
                f,
                "AOF was enabled but there is already an AOF rewriting in background. Stopping background AOF and starting a rewrite now."
            ),
            Self::Opens(name) => write!(f, "Opening AOF incr file {name} on server start"),
            Self::CreatesBase(name) => write!(f, "Creating AOF base file {name} on server start"),
            Self::Creates(name) => write!(f, "Creating AOF incr file {name} on server start"),
            Self::CreatesOnRewrite(name) => write!(f, "Creating AOF incr file {name} on background rewrite"),
            Self::Grown(percent) => write!(f, "Starting automatic rewriting of AOF on {percent}% growth"),
            Self::RewriteBegins => write!(f, "Background append only file rewriting started"),
            Self::RewriteWritten => write!(f, "Background AOF rewrite terminated with success"),
            Self::BaseRenamed(from, to) => {
                write!(f, "Successfully renamed the temporary AOF base file {from} into {to}")
            }
            Self::IncrementRenamed(from, to) => {
                write!(f, "Successfully renamed the temporary AOF incr file {from} into {to}")
            }
            Self::RewriteEnds => write!(f, "Background AOF rewrite finished successfully"),
            Self::RewriteFailed => write!(f, "Background AOF rewrite terminated with error"),
            Self::FileFailed(what, name, _) => write!(f, "Can't {what} {name}: {{}}"),
            Self::Removes(name) => write!(f, "Removing the history file {name} in the background"),
            Self::Limited(minutes) => write!(
                f,
                "Background AOF rewrite has repeatedly failed and triggered the limit, will retry in {minutes} minutes"
            ),
        }
    }
}
