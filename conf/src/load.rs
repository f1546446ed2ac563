//! From the sources to the settings: file < standard input < environment < command line.
//!
//! The `config` crate merges; here stand the two sources that it does not know (our command line, and its
//! own environment source with our names), and the way from the merged map back to typed values.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use config::{Config, ConfigError, Environment, File, Map, Source, ValueKind};

use crate::collect::{self, Collector, Statement};
use crate::command_line::CommandLine;
use crate::declaration::{Directive, Standing};
use crate::directive;
use crate::error::{ConfError, Origin, Reason};
use crate::parse;
use crate::redis_format::RedisFormat;
use crate::settings::{self, Settings};
use crate::value::Value;
use crate::words;

/// The files that settings are read from.
pub trait Files: Send + Sync {
    /// The text of a file; the path `-` stands for standard input.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// The names in a folder, in any order; none if it cannot be read.
    fn names(&self, folder: &Path) -> Vec<String>;
}

/// Files without folders.
impl<F: Fn(&Path) -> io::Result<String> + Send + Sync> Files for F {
    fn read(&self, path: &Path) -> io::Result<String> {
        self(path)
    }

    fn names(&self, _: &Path) -> Vec<String> {
        Vec::new()
    }
}

/// What files are read with.
pub type Reader = Arc<dyn Files>;

/// What the environment's variables begin with, before the `_`.
const ENVIRONMENT_PREFIX: &str = "SLOTMESH";

/// The settings, and what to say about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// Directives that somebody set and that do nothing here, in the order of the table; to be named once
    /// in the log.
    pub without_effect: Vec<WithoutEffect>,
}

/// A directive that somebody set and that does nothing here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WithoutEffect {
    /// The directive.
    pub name: &'static str,
    /// Where it was set.
    pub origin: Origin,
    /// Whether it was set to its default, or to nothing, so that nobody expects anything.
    pub is_default: bool,
    /// What the operator must not count on; may be empty.
    pub missing: &'static str,
}

/// For the log: the directive, its place, and what is missing.
impl fmt::Display for WithoutEffect {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "'{}' ({}) is accepted and has no effect yet", self.name, self.origin)?;
        if self.missing.is_empty() { Ok(()) } else { write!(out, ": {}", self.missing) }
    }
}

/// Reads all sources and merges them.
///
/// `environment` is looked through for `SLOTMESH_<NAME>`, with `_` for each `-` of the name
/// (`SLOTMESH_TCP_BACKLOG`).
///
/// # Errors
/// The first statement that cannot be obeyed, a file that cannot be read, or a merged value that asks for
/// what we do not do yet.
pub fn load(
    command_line: &CommandLine,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    reader: &Reader,
) -> Result<Loaded, ConfError> {
    let mut builder = Config::builder();
    if let Some(path) = &command_line.file {
        builder = builder.add_source(text_source(path, &path.to_string_lossy(), reader)?);
    }
    if command_line.standard_input {
        builder = builder.add_source(text_source(Path::new("-"), "standard input", reader)?);
    }
    let merged = builder
        .add_source(Variables { variables: ours(environment)? })
        .add_source(Options { options: command_line.options.clone() })
        .build()
        .and_then(|config| config.collect())
        .map_err(ours_within)?;
    resolve(merged)
}

fn text_source(
    path: &Path,
    name: &str,
    reader: &Reader,
) -> Result<File<config::FileSourceString, RedisFormat>, ConfError> {
    let text = reader.read(path).map_err(|cause| ConfError::Unreadable { path: path.to_path_buf(), cause })?;
    Ok(File::from_str(&text, RedisFormat::new(name, reader)))
}

/// Our own error, where the `config` crate only passed it on.
fn ours_within(error: ConfigError) -> ConfError {
    let cause = match error {
        ConfigError::FileParse { cause, .. } | ConfigError::Foreign(cause) => cause,
        other => return ConfError::Source(other),
    };
    match cause.downcast::<ConfError>() {
        Ok(ours) => *ours,
        Err(cause) => ConfError::Source(ConfigError::Foreign(cause)),
    }
}

/// The variables that are meant for us.
fn ours(environment: impl IntoIterator<Item = (OsString, OsString)>) -> Result<HashMap<String, String>, ConfError> {
    let mut variables = HashMap::new();
    for (name, value) in environment {
        let Ok(name) = name.into_string() else {
            continue;
        };
        if !name.to_ascii_uppercase().starts_with(&format!("{ENVIRONMENT_PREFIX}_")) {
            continue;
        }
        let value = value.into_string().map_err(|_| ConfError::Directive {
            origin: Origin::environment(),
            written: name.clone(),
            reason: Reason::NotUtf8,
        })?;
        variables.insert(name, value);
    }
    Ok(variables)
}

/// The environment as a source: the `config` crate's own, with each value read by its row.
#[derive(Debug, Clone)]
struct Variables {
    variables: HashMap<String, String>,
}

impl Source for Variables {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        let environment = Environment::with_prefix(ENVIRONMENT_PREFIX).source(Some(self.variables.clone()));
        let mut found: Vec<(String, config::Value)> = environment.collect()?.into_iter().collect();
        // The same error in every run, also where several variables are wrong.
        found.sort_by(|left, right| left.0.cmp(&right.0));
        let mut collector = Collector::default();
        for (key, value) in found {
            collector.take(&variable(&key, value.into_string()?)).map_err(foreign)?;
        }
        Ok(collector.into_map())
    }
}

/// A variable as a statement. A directive with one value takes the text as it is, without quoting.
fn variable(key: &str, text: String) -> Statement {
    let spelled = |name: &&str| name.replace('-', "_") == key;
    let known = directive::TABLE.iter().find(|row| std::iter::once(&row.name).chain(row.aliases).any(spelled));
    Statement {
        origin: Origin::environment(),
        name: known.map_or(key, |row| row.name).to_owned(),
        lead: format!("{ENVIRONMENT_PREFIX}_{}=", key.to_ascii_uppercase()),
        written: text.clone(),
        words: vec![text],
    }
}

/// The options of the command line as a source.
#[derive(Debug, Clone)]
struct Options {
    options: Vec<Statement>,
}

impl Source for Options {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, config::Value>, ConfigError> {
        let mut collector = Collector::default();
        for option in &self.options {
            collector.take(option).map_err(foreign)?;
        }
        Ok(collector.into_map())
    }
}

fn foreign(error: ConfError) -> ConfigError {
    ConfigError::Foreign(Box::new(error))
}

/// From the merged map to typed values, in the order of the table.
fn resolve(mut merged: Map<String, config::Value>) -> Result<Loaded, ConfError> {
    let mut settings = Settings::default();
    let mut without_effect = Vec::new();
    let mut origins = HashMap::new();
    for (index, row) in directive::TABLE.iter().enumerate() {
        let Some(entry) = merged.remove(row.name) else {
            continue;
        };
        let set = Setting::of(entry)?;
        let (value, is_default) = {
            let before = settings.at(index);
            let value = set.value(row, before).map_err(|reason| set.refuse(row, reason))?;
            settings::refuse_unsupported(row, &value).map_err(|reason| set.refuse(row, reason))?;
            let is_default = value == *before;
            (value, is_default)
        };
        settings.put(index, value);
        if row.standing == Standing::Unused {
            let origin = set.origin.clone();
            without_effect.push(WithoutEffect { name: row.name, origin, is_default, missing: row.missing });
        }
        origins.insert(index, set);
    }
    shards_fit(&settings, &origins)?;
    master_fits(&settings, &origins)?;
    Ok(Loaded { settings, without_effect })
}

/// A directive after the merge.
struct Setting {
    origin: Origin,
    words: Vec<String>,
}

impl Setting {
    fn of(entry: config::Value) -> Result<Self, ConfError> {
        let origin = Origin::recorded(entry.origin().unwrap_or_default());
        let words = match entry.kind {
            ValueKind::Table(classes) => {
                let mut classes: Vec<_> = classes.into_iter().collect();
                classes.sort_by(|left, right| left.0.cmp(&right.0));
                let mut words = Vec::new();
                for (class, limits) in classes {
                    words.push(class);
                    words.extend(strings(limits)?);
                }
                words
            }
            _ => strings(entry)?,
        };
        Ok(Self { origin, words })
    }

    fn value(&self, row: &Directive, before: &Value) -> Result<Value, Reason> {
        parse::parse(row, &self.words, Some(before))
    }

    fn refuse(&self, row: &Directive, reason: Reason) -> ConfError {
        let words: Vec<String> = self.words.iter().map(|word| words::quote(word)).collect();
        let rest = if row.secret { "(secret)".to_owned() } else { words.join(" ") };
        let written = collect::one_line(&format!("{} {rest}", row.name));
        ConfError::Directive { origin: self.origin.clone(), written, reason }
    }
}

fn strings(value: config::Value) -> Result<Vec<String>, ConfError> {
    let words = value.into_array().map_err(ConfError::Source)?;
    words.into_iter().map(|word| word.into_string().map_err(ConfError::Source)).collect()
}

/// Cores that were not counted yet (0) are checked by whoever counts them.
fn shards_fit(settings: &Settings, set: &HashMap<usize, Setting>) -> Result<(), ConfError> {
    let (cores, shards) = (settings.value(directive::CORES), settings.value(directive::SHARDS));
    if cores == 0 || shards <= cores {
        return Ok(());
    }
    let index = directive::SHARDS.index;
    let setting = set.get(&index).expect("the default of shards is not above any number of cores");
    Err(setting.refuse(&directive::TABLE[index], Reason::MoreShardsThanCores))
}

/// A node of a cluster is told by the cluster whom to follow (Redis 7.0 `config.c`).
fn master_fits(settings: &Settings, set: &HashMap<usize, Setting>) -> Result<(), ConfError> {
    let index = directive::REPLICAOF.index;
    match set.get(&index) {
        Some(setting)
            if settings.value(directive::CLUSTER_ENABLED) && !settings.value(directive::REPLICAOF).is_empty() =>
        {
            Err(setting.refuse(&directive::TABLE[index], Reason::MasterInCluster))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
