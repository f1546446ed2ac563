//! Why a run did not give figures.

use std::io;
use std::path::PathBuf;

/// Everything that ends the program with exit code 1.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The endpoint cannot be reached.
    Connect { endpoint: String, error: io::Error },
    /// The kernel refused what we need: rings, pinning, descriptors.
    Kernel { what: &'static str, error: io::Error },
    /// The server closed a connection under load.
    Closed { endpoint: String },
    /// The server sent bytes that are no reply.
    Malformed { endpoint: String },
    /// Replies are missing, and none came for so many seconds.
    Silent { endpoint: String, seconds: u64 },
    /// Error replies came, or more replies than requests.
    Wrong { endpoint: String, errors: u64, first: String, surplus: u64 },
    /// The endpoint does not tell which node has which slot, or not all of it.
    Cluster { endpoint: String, problem: String },
    /// The process whose CPU is to be measured cannot be read.
    Process { pid: u32, error: io::Error },
    /// A file that is there cannot be read.
    Read { path: PathBuf, error: io::Error },
    /// A file cannot be written.
    Write { path: PathBuf, error: io::Error },
    /// The plot cannot be drawn.
    Plot(String),
    /// A server of the suite cannot be started, or died; its last output.
    Server { name: String, problem: String },
    /// A load thread has panicked.
    Thread,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Connect { endpoint, error } => write!(f, "cannot connect to {endpoint}: {error}"),
            Self::Kernel { what, error } => write!(f, "{what}: {error}"),
            Self::Closed { endpoint } => write!(f, "{endpoint} closed a connection under load"),
            Self::Malformed { endpoint } => write!(f, "{endpoint} sent bytes that are no reply"),
            Self::Silent { endpoint, seconds } => {
                write!(f, "{endpoint} still owes replies and has sent none for {seconds} s")
            }
            Self::Wrong { endpoint, errors, first, surplus } => {
                write!(f, "{endpoint} gave {errors} error replies")?;
                if !first.is_empty() {
                    write!(f, " (the first: {first})")?;
                }
                if *surplus > 0 {
                    write!(f, " and {surplus} replies that nobody asked for")?;
                }
                Ok(())
            }
            Self::Cluster { endpoint, problem } => write!(f, "{endpoint}: {problem}"),
            Self::Process { pid, error } => write!(f, "cannot read the CPU time of process {pid}: {error}"),
            Self::Read { path, error } => write!(f, "cannot read {}: {error}", path.display()),
            Self::Write { path, error } => write!(f, "cannot write {}: {error}", path.display()),
            Self::Plot(problem) => write!(f, "cannot draw the plot: {problem}"),
            Self::Server { name, problem } => write!(f, "{name}: {problem}"),
            Self::Thread => f.write_str("a load thread has panicked"),
        }
    }
}
