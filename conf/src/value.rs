//! Values: what a directive holds once it was read, and how CONFIG GET prints it.

use std::fmt;

use crate::words;

/// The value of one directive. `Display` writes what CONFIG GET answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `yes` or `no`.
    Boolean(bool),
    /// A number.
    Integer(i64),
    /// Bytes.
    Memory(u64),
    /// A percentage of `maxmemory`.
    Percent(u64),
    /// A file mode.
    Octal(u32),
    /// One word of a closed list.
    Choice(&'static str),
    /// Any text; empty stands for "not set".
    Text(String),
    /// Words.
    Words(Vec<String>),
    /// Save points, in the order in which they were given.
    SavePoints(Vec<SavePoint>),
    /// Output limits of all classes.
    OutputLimits(OutputLimits),
}

impl Value {
    /// The words that follow the name in a file, quoted where needed. `client-output-buffer-limit` is
    /// written on one line, which Redis reads as well.
    pub(crate) fn to_line(&self) -> String {
        match self {
            Value::Text(text) => words::quote(text),
            Value::Words(list) if list.is_empty() => words::quote(""),
            Value::Words(list) => list.iter().map(|word| words::quote(word)).collect::<Vec<_>>().join(" "),
            Value::SavePoints(points) if points.is_empty() => words::quote(""),
            Value::Memory(bytes) => with_unit(*bytes),
            Value::OutputLimits(limits) => {
                let classes = [("normal", limits.normal), ("replica", limits.replica), ("pubsub", limits.pubsub)];
                let class = |(name, limit): (&str, OutputLimit)| format!("{name} {}", limit.to_words());
                classes.map(class).join(" ")
            }
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(true) => out.write_str("yes"),
            Value::Boolean(false) => out.write_str("no"),
            Value::Integer(number) => write!(out, "{number}"),
            Value::Memory(bytes) => write!(out, "{bytes}"),
            Value::Percent(percent) => write!(out, "{percent}%"),
            Value::Octal(mode) => write!(out, "{mode:o}"),
            Value::Choice(word) => out.write_str(word),
            Value::Text(text) => out.write_str(text),
            Value::Words(list) => out.write_str(&list.join(" ")),
            Value::SavePoints(points) => spaced(out, points),
            Value::OutputLimits(limits) => limits.fmt(out),
        }
    }
}

/// Bytes with the largest unit that divides them.
fn with_unit(bytes: u64) -> String {
    let units = [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)];
    match units.into_iter().find(|&(_, factor)| bytes != 0 && bytes.is_multiple_of(factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

fn spaced<T: fmt::Display>(out: &mut fmt::Formatter<'_>, items: &[T]) -> fmt::Result {
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.write_str(" ")?;
        }
        item.fmt(out)?;
    }
    Ok(())
}

/// Save after so many seconds if so many changes were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last save, at least 1.
    pub seconds: i64,
    /// Changes since the last save.
    pub changes: i64,
}

impl fmt::Display for SavePoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.seconds, self.changes)
    }
}

/// How much may wait for a client that does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimit {
    /// At this many bytes the client is closed at once; 0 = no limit.
    pub hard_bytes: u64,
    /// At this many bytes for `soft_seconds` on end the client is closed; 0 = no limit.
    pub soft_bytes: u64,
    /// See `soft_bytes`.
    pub soft_seconds: u64,
}

impl OutputLimit {
    /// As it stands in a file, without the class.
    pub(crate) fn to_words(self) -> String {
        format!("{} {} {}", with_unit(self.hard_bytes), with_unit(self.soft_bytes), self.soft_seconds)
    }
}

impl fmt::Display for OutputLimit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {}", self.hard_bytes, self.soft_bytes, self.soft_seconds)
    }
}

/// The output limits of the three classes of clients (`client-output-buffer-limit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputLimits {
    /// Clients that are none of the others.
    pub normal: OutputLimit,
    /// Replicas; Redis prints `slave` for them.
    pub replica: OutputLimit,
    /// Clients with a subscription.
    pub pubsub: OutputLimit,
}

impl OutputLimits {
    /// No limit for any class.
    pub const NONE: Self = {
        let none = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 };
        Self { normal: none, replica: none, pubsub: none }
    };
}

impl fmt::Display for OutputLimits {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "normal {} slave {} pubsub {}", self.normal, self.replica, self.pubsub)
    }
}

/// How much the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What is rarely useful, but not as much as `Debug`.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What needs attention.
    Warning,
    /// Nothing at all.
    Nothing,
}

impl LogLevel {
    /// The words of the directive, in the order of the levels.
    pub(crate) const NAMES: &'static [&'static str] = &["debug", "verbose", "notice", "warning", "nothing"];

    pub(crate) fn named(name: &str) -> Self {
        match name {
            "debug" => LogLevel::Debug,
            "verbose" => LogLevel::Verbose,
            "warning" => LogLevel::Warning,
            "nothing" => LogLevel::Nothing,
            _ => LogLevel::Notice,
        }
    }
}
