//! What a row of the table can say: the vocabulary in which `directive.rs` declares each directive.

use crate::words;

/// How the words after a directive's name become a [`Value`](crate::Value), with the bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `yes` or `no`.
    Boolean,
    /// A decimal number within bounds, both inclusive.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// Bytes, with Redis's units (`1k` = 1000, `1kb` = 1024), within bounds, both inclusive.
    Memory {
        /// Least value, in bytes.
        min: u64,
        /// Greatest value, in bytes.
        max: u64,
    },
    /// Bytes, or a percentage of `maxmemory` from `0%` to `100%`.
    MemoryOrPercent,
    /// An octal number from 0 to the bound: file modes.
    Octal {
        /// Greatest value.
        max: u32,
    },
    /// One word out of a list.
    Choice(&'static [&'static str]),
    /// Any words out of a list.
    Flags(&'static [&'static str]),
    /// Any text; empty stands for "not set".
    Text,
    /// Text with variables in braces, as `proc-title-template` has it.
    Template,
    /// A file name without a directory; may be empty if the flag says so.
    FileName {
        /// Whether the empty name is allowed.
        empty: bool,
    },
    /// A host name; empty stands for "not set".
    HostName,
    /// CPUs as `0-7:2,9` (`taskset` writes the same); empty stands for all.
    CpuList,
    /// Up to so many words.
    Words {
        /// Most words.
        max: usize,
    },
    /// Pairs of seconds and changes; repeated lines add up.
    SavePoints,
    /// Class, hard limit, soft limit, soft seconds; repeated lines set a class each.
    OutputLimits,
    /// Percentages from 0 to 100, as many as wanted.
    Percentiles,
    /// Exactly three numbers from -2000 to 2000.
    OomScores,
    /// Letters of event classes.
    KeyspaceEvents,
    /// Host and port of a master, or `no one`.
    Master,
    /// Words whose meaning nobody looks at: the row exists to be refused or dropped.
    Opaque,
}

impl Kind {
    /// Whether the directive takes any number of words; then one quoted word is split again, as Redis does.
    pub const fn takes_many(self) -> bool {
        matches!(
            self,
            Kind::Flags(_)
                | Kind::Words { .. }
                | Kind::SavePoints
                | Kind::OutputLimits
                | Kind::Percentiles
                | Kind::OomScores
                | Kind::Master
                | Kind::Opaque
        )
    }
}

/// Whether CONFIG SET may change a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// At any time.
    Live,
    /// Only before the start.
    Fixed,
    /// Only before the start, too; but CONFIG SET to the value that it has is no change. For directives of ours: who sets
    /// all that CONFIG GET has shown knows which ones of Redis to leave out, and not these.
    Settled,
    /// Only with `enable-protected-configs yes`.
    Protected,
}

/// What a directive does here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Code reads it.
    Used,
    /// Redis knows it, we answer for it, and it changes nothing; named in the log when set.
    Unused,
    /// Any value but the default is refused, because accepting it would promise what we do not do yet.
    DefaultOnly,
    /// Redis takes it in a file and forgets it; so do we, and CONFIG does not know it.
    Dropped,
    /// Exists only in a file, and is refused there for now; CONFIG does not know it.
    FileOnly,
}

/// One row of the table: everything that is known about one directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive {
    /// The name as Redis spells it, lower case.
    pub name: &'static str,
    /// Older spellings with the same meaning.
    pub aliases: &'static [&'static str],
    /// How its words are read.
    pub kind: Kind,
    /// The value when nobody sets it, in the syntax of the file.
    pub default: &'static str,
    /// When it may change.
    pub change: Change,
    /// CONFIG GET shows it only for its exact name.
    pub hidden: bool,
    /// Its value must not be printed anywhere but in the answer to CONFIG GET.
    pub secret: bool,
    /// A value outside of this range is moved to its nearest end, after the bounds of the kind were checked.
    pub clamp: Option<(i64, i64)>,
    /// What it does here.
    pub standing: Standing,
    /// What an operator should know; one or more lines. Empty unless [`Standing::Used`].
    pub doc: &'static str,
    /// What an operator who sets it must not count on yet: stands in the line of the log that names it. Empty where
    /// nobody would be hurt. Only for [`Standing::Unused`].
    pub missing: &'static str,
}

impl Directive {
    const fn new(name: &'static str, default: &'static str, kind: Kind) -> Self {
        Self {
            name,
            aliases: &[],
            kind,
            default,
            change: Change::Live,
            hidden: false,
            secret: false,
            clamp: None,
            standing: Standing::Unused,
            doc: "",
            missing: "",
        }
    }

    pub(crate) const fn aliases(self, aliases: &'static [&'static str]) -> Self {
        Self { aliases, ..self }
    }

    pub(crate) const fn fixed(self) -> Self {
        Self { change: Change::Fixed, ..self }
    }

    pub(crate) const fn settled(self) -> Self {
        Self { change: Change::Settled, ..self }
    }

    pub(crate) const fn protected(self) -> Self {
        Self { change: Change::Protected, ..self }
    }

    pub(crate) const fn hidden(self) -> Self {
        Self { hidden: true, ..self }
    }

    pub(crate) const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub(crate) const fn clamped(self, low: i64, high: i64) -> Self {
        Self { clamp: Some((low, high)), ..self }
    }

    pub(crate) const fn default_only(self) -> Self {
        Self { standing: Standing::DefaultOnly, ..self }
    }

    /// The directive promises what does not exist: the log says so whenever it is set.
    pub(crate) const fn missing(self, missing: &'static str) -> Self {
        Self { missing, ..self }
    }

    pub(crate) const fn used(self, doc: &'static str) -> Self {
        Self { standing: Standing::Used, doc, ..self }
    }

    /// Whether CONFIG GET and SET know it.
    pub const fn answers_config(&self) -> bool {
        !matches!(self.standing, Standing::Dropped | Standing::FileOnly)
    }

    /// The words of the default.
    pub(crate) fn default_words(&self) -> Vec<String> {
        let words = words::split_text(self.default).and_then(Result::ok);
        let mut words = words.expect("a test reads every default of the table");
        if words.is_empty() && !self.kind.takes_many() {
            words.push(String::new());
        }
        words
    }

    /// Whether `name`, in any case, is its name or one of its aliases.
    pub fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name) || self.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(name))
    }
}

pub(crate) const fn boolean(name: &'static str, default: &'static str) -> Directive {
    Directive::new(name, default, Kind::Boolean)
}

pub(crate) const fn integer(name: &'static str, default: &'static str, min: i64, max: i64) -> Directive {
    Directive::new(name, default, Kind::Integer { min, max })
}

pub(crate) const fn memory(name: &'static str, default: &'static str, min: u64, max: u64) -> Directive {
    Directive::new(name, default, Kind::Memory { min, max })
}

pub(crate) const fn text(name: &'static str, default: &'static str) -> Directive {
    Directive::new(name, default, Kind::Text)
}

pub(crate) const fn choice(name: &'static str, default: &'static str, names: &'static [&'static str]) -> Directive {
    Directive::new(name, default, Kind::Choice(names))
}

pub(crate) const fn special(name: &'static str, default: &'static str, kind: Kind) -> Directive {
    Directive::new(name, default, kind)
}

/// A row for what Redis takes in a file and forgets.
pub(crate) const fn dropped(name: &'static str) -> Directive {
    Directive { standing: Standing::Dropped, ..Directive::new(name, "", Kind::Opaque) }
}

/// A row for what exists in files only and is refused there.
pub(crate) const fn file_only(name: &'static str) -> Directive {
    Directive { standing: Standing::FileOnly, ..Directive::new(name, "", Kind::Opaque) }
}
