//! What can be wrong with what an operator wrote, in one line each.
//!
//! The reasons are worded as in Redis (`config.c`) wherever Redis has one, so that what people know and what
//! scripts look for stays true.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was written: `file:line`, an environment variable, or a place on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    pub(crate) fn file(path: &str, line: usize) -> Self {
        Self(format!("{path}:{line}"))
    }

    pub(crate) fn environment() -> Self {
        Self("environment".to_owned())
    }

    /// `position` counts from 1, the program's name not included.
    pub(crate) fn command_line(position: usize) -> Self {
        Self(format!("command line, argument {position}"))
    }

    pub(crate) fn recorded(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The text, to be recorded beside a value.
    pub(crate) fn text(&self) -> &String {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// Why the start is refused. `Display` is one line: where, what was written, why.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConfError {
    /// A directive, or an option of the command line, that cannot be obeyed.
    Directive {
        /// Where it stands.
        origin: Origin,
        /// What stands there; secrets left out.
        written: String,
        /// What is wrong with it.
        reason: Reason,
    },
    /// A configuration file, or standard input, that cannot be read.
    Unreadable {
        /// The file; `-` for standard input.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The reader of the sources gave up; not expected to happen.
    Source(config::ConfigError),
}

impl fmt::Display for ConfError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfError::Directive { origin, written, reason } => {
                write!(out, "{origin}: '{written}': {reason}")
            }
            ConfError::Unreadable { path, cause } => {
                write!(out, "can't open config file '{}': {cause}", path.display())
            }
            ConfError::Source(cause) => write!(out, "can't read the configuration: {cause}"),
        }
    }
}

impl std::error::Error for ConfError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ConfError::Directive { reason, .. } => Some(reason),
            ConfError::Unreadable { cause, .. } => Some(cause),
            ConfError::Source(cause) => Some(cause),
        }
    }
}

/// What is wrong with a directive or its value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No such directive.
    Unknown,
    /// A directive for one value was given none, or several.
    WrongNumberOfArguments,
    /// A quote is not closed, or something follows a closing quote.
    UnbalancedQuotes,
    /// The words are not UTF-8. (Redis takes any bytes.)
    NotUtf8,
    /// Neither yes nor no.
    NotBoolean,
    /// Not a decimal number.
    NotInteger,
    /// Not a number of bytes.
    NotMemory,
    /// Neither a number of bytes nor a percentage.
    NotMemoryOrPercent,
    /// Not an octal number.
    NotOctal,
    /// Outside of its bounds, both inclusive.
    OutOfBounds {
        /// Least value.
        min: i128,
        /// Greatest value.
        max: i128,
    },
    /// An octal number above its bound.
    OctalOutOfBounds {
        /// Greatest value.
        max: u32,
    },
    /// More than a hundred percent.
    PercentTooLarge,
    /// Not in the list of words.
    NotOneOf(&'static [&'static str]),
    /// `save` and `nosave` together.
    SaveAndNoSave,
    /// A directory where only a file's name may stand; the directive's name.
    NotAFileName(&'static str),
    /// No file name where one must stand; the directive's name.
    EmptyFileName(&'static str),
    /// A host name that does not fit the cluster bus.
    HostNameTooLong,
    /// A host name with other letters than those of host names.
    BadHostName,
    /// Not a list of CPUs.
    NotCpuList,
    /// More addresses than can be bound.
    TooManyAddresses,
    /// Not pairs of seconds and changes.
    BadSavePoints,
    /// Not groups of four words.
    OutputLimitWords,
    /// No such class of clients.
    OutputLimitClass,
    /// A limit that is not a number.
    OutputLimitNumber,
    /// Not numbers.
    NotPercentiles,
    /// Not between 0 and 100.
    PercentilesOutOfBounds,
    /// Not three small numbers.
    BadOomScores,
    /// A letter that stands for no class of events.
    BadEventClass,
    /// Not a port of a master.
    BadMasterPort,
    /// Understood, but there is no code for it yet.
    NotSupported,
    /// Files that include each other, or too deep.
    IncludeTooDeep,
    /// More included files than anybody has.
    TooManyIncluded,
    /// An included file that cannot be read: what the system said.
    IncludeUnreadable(std::io::ErrorKind),
    /// The system refuses what the value asks for: its error number.
    System(i32),
    /// The kernel does not let us change our score.
    OomScoreRefused,
    /// The system refuses to listen on the port.
    PortRefused,
    /// The system refuses to listen on the addresses.
    BindRefused,
    /// A template that names nothing, or what is unknown.
    BadTemplate,
    /// More shards than cores.
    MoreShardsThanCores,
    /// `replicaof` of a node of a cluster.
    MasterInCluster,
    /// An option must begin with `--`.
    NotAnOption,
    /// `--check-config`, `--help` and `--version` take nothing.
    TakesNoValue,
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Reason::OutOfBounds { min, max } => {
                return write!(out, "argument must be between {min} and {max} inclusive");
            }
            Reason::OctalOutOfBounds { max } => {
                return write!(out, "argument must be between 0 and {max:o} inclusive");
            }
            Reason::NotOneOf(names) => {
                let names = names.join(", ");
                return write!(out, "argument(s) must be one of the following: {names}");
            }
            Reason::NotAFileName(name) => {
                let what = if *name == "appenddirname" { "dirname" } else { "filename" };
                return write!(out, "{name} can't be a path, just a {what}");
            }
            Reason::EmptyFileName(name) => return write!(out, "{name} can't be empty"),
            Reason::IncludeUnreadable(kind) => {
                return write!(out, "can't open the included file: {kind}");
            }
            Reason::System(number) => {
                let text = std::io::Error::from_raw_os_error(*number).to_string();
                return out.write_str(text.split(" (os error").next().unwrap_or_default());
            }
            other => other.fixed_text(),
        };
        out.write_str(text)
    }
}

impl Reason {
    fn fixed_text(&self) -> &'static str {
        match self {
            Reason::Unknown => "Bad directive or wrong number of arguments",
            Reason::WrongNumberOfArguments => "wrong number of arguments",
            Reason::UnbalancedQuotes => "Unbalanced quotes in configuration line",
            Reason::NotUtf8 => "argument must be UTF-8 text",
            Reason::NotBoolean => "argument must be 'yes' or 'no'",
            Reason::NotInteger => "argument couldn't be parsed into an integer",
            Reason::NotMemory => "argument must be a memory value",
            Reason::NotMemoryOrPercent => "argument must be a memory or percent value",
            Reason::NotOctal => "argument couldn't be parsed as an octal number",
            Reason::PercentTooLarge => "percentage argument must be less or equal to 100",
            Reason::SaveAndNoSave => "shutdown options SAVE and NOSAVE can't be used simultaneously",
            Reason::HostNameTooLong => "Hostnames must be less than 256 characters",
            Reason::BadHostName => "Hostnames may only contain alphanumeric characters, hyphens or dots",
            Reason::NotCpuList => "argument must be a list of CPUs such as 0-3,8 or 0-7:2",
            Reason::TooManyAddresses => "Too many bind addresses specified.",
            Reason::BadSavePoints => "Invalid save parameters",
            Reason::OutputLimitWords => "Wrong number of arguments in buffer limit configuration.",
            Reason::OutputLimitClass => "Invalid client class specified in buffer limit configuration.",
            Reason::OutputLimitNumber => "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            Reason::NotPercentiles => "Invalid latency-tracking-info-percentiles parameters",
            Reason::PercentilesOutOfBounds => {
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
            }
            Reason::BadOomScores => "Invalid oom-score-adj-values, elements must be between -2000 and 2000.",
            Reason::BadEventClass => "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.",
            Reason::BadMasterPort => "Invalid master port",
            Reason::NotSupported => "not supported yet",
            Reason::OomScoreRefused => "Failed to apply new oom_score_adj configuration, check server logs.",
            Reason::PortRefused => "Unable to listen on this port. Check server logs.",
            Reason::BindRefused => "Failed to bind to specified addresses.",
            Reason::BadTemplate => "template format is invalid or contains unknown variables",
            Reason::IncludeTooDeep => "included files are nested too deep",
            Reason::TooManyIncluded => "there are too many included files",
            Reason::MasterInCluster => "replicaof directive not allowed in cluster mode",
            Reason::MoreShardsThanCores => "there can't be more shards than cores",
            Reason::NotAnOption => "an option must begin with '--'",
            Reason::TakesNoValue => "this option takes no value",
            // The others carry what they print.
            Reason::OutOfBounds { .. }
            | Reason::OctalOutOfBounds { .. }
            | Reason::NotOneOf(_)
            | Reason::NotAFileName(_)
            | Reason::EmptyFileName(_)
            | Reason::System(_)
            | Reason::IncludeUnreadable(_) => "",
        }
    }
}

impl std::error::Error for Reason {}

/// Why CONFIG SET changed nothing. `Display` is the text of the error reply, without the leading `ERR `.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SetError {
    /// No such directive; its name as given (bytes that are not UTF-8 replaced).
    Unknown(String),
    /// Cannot change after the start; the name as given.
    Fixed(String),
    /// Needs `enable-protected-configs yes`; the name as given.
    Protected(String),
    /// Named twice; the name as given the second time.
    Duplicate(String),
    /// The value was refused.
    Refused {
        /// The directive or alias, in the table's spelling.
        name: &'static str,
        /// What is wrong with the value.
        reason: Reason,
    },
}

impl fmt::Display for SetError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, reason): (&str, &dyn fmt::Display) = match self {
            SetError::Unknown(name) => {
                // Redis prints a name up to its first zero byte.
                let name = name.split('\0').next().unwrap_or_default();
                return write!(out, "Unknown option or number of arguments for CONFIG SET - '{name}'");
            }
            SetError::Fixed(name) => (name, &"can't set immutable config"),
            SetError::Protected(name) => (name, &"can't set protected config"),
            SetError::Duplicate(name) => (name, &"duplicate parameter"),
            SetError::Refused { name, reason } => (name, reason),
        };
        write!(out, "CONFIG SET failed (possibly related to argument '{name}') - {reason}")
    }
}

impl std::error::Error for SetError {}
