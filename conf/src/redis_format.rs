//! redis.conf syntax as a format of the `config` crate. Reference: `loadServerConfigFromString`.
//!
//! A line is a directive and its words, quoted as `words.rs` says; `#` begins a comment only at the
//! start of a line; names are read in any case; a later line wins, except that `save` lines add up and
//! `client-output-buffer-limit` lines set a class each. `include` reads another file in place, with its path
//! taken from the directory in which the process was started, as in Redis; a pattern stands for all files that fit it,
//! sorted by name, and for nothing if none does.

use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use config::{FileStoredFormat, Format, Map, Value};

use crate::collect::{Collector, Statement};
use crate::error::{ConfError, Origin, Reason};
use crate::include;
use crate::load::Reader;
use crate::words;

/// Deepest nesting of included files. At the bound: refused.
const INCLUDE_DEPTH_MAX: usize = 16;
/// Most files that are read for one file, since files that patterns name may name each other. At the bound: refused.
const INCLUDED_FILES_MAX: usize = 10_000;

/// The format, for one file.
#[derive(Clone)]
pub struct RedisFormat {
    /// The name of the file, as errors show it.
    name: String,
    /// Reads included files.
    reader: Reader,
}

impl RedisFormat {
    /// For a text that errors call `name`; `reader` reads the files that it includes.
    pub fn new(name: &str, reader: &Reader) -> Self {
        Self { name: name.to_owned(), reader: Arc::clone(reader) }
    }
}

impl fmt::Debug for RedisFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RedisFormat").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Format for RedisFormat {
    /// # Errors
    /// A boxed [`ConfError`] for the first line that cannot be obeyed.
    fn parse(&self, uri: Option<&String>, text: &str) -> Result<Map<String, Value>, Box<dyn Error + Send + Sync>> {
        let name = uri.unwrap_or(&self.name);
        let mut collector = Collector::default();
        self.read(name, text, (0, &mut 0), &mut collector)?;
        Ok(collector.into_map())
    }
}

impl FileStoredFormat for RedisFormat {
    fn file_extensions(&self) -> &'static [&'static str] {
        &["conf"]
    }
}

impl RedisFormat {
    /// Reads a file that is so deep in others, as the last of so many.
    fn read(
        &self,
        name: &str,
        text: &str,
        (depth, files): (usize, &mut usize),
        collector: &mut Collector,
    ) -> Result<(), ConfError> {
        for (at, line) in text.split('\n').enumerate() {
            let Some(statement) = statement(Origin::file(name, at + 1), line)? else {
                continue;
            };
            if statement.name == "include" {
                self.include(&statement, (depth, files), collector)?;
            } else {
                collector.take(&statement)?;
            }
        }
        Ok(())
    }

    fn include(
        &self,
        statement: &Statement,
        (depth, files): (usize, &mut usize),
        collector: &mut Collector,
    ) -> Result<(), ConfError> {
        // A path is no secret, so it is shown although `include` has no row.
        let refuse = |reason| {
            let written = crate::collect::one_line(&format!("include {}", statement.written));
            ConfError::Directive { origin: statement.origin.clone(), written, reason }
        };
        let [path] = statement.words.as_slice() else {
            return Err(refuse(Reason::Unknown));
        };
        if depth == INCLUDE_DEPTH_MAX {
            return Err(refuse(Reason::IncludeTooDeep));
        }
        let is_pattern = include::is_pattern(path);
        let paths = match is_pattern {
            true => include::expand(path, &|folder| self.reader.names(folder)),
            false => vec![path.clone()],
        };
        for path in paths {
            *files += 1;
            if *files > INCLUDED_FILES_MAX {
                return Err(refuse(Reason::TooManyIncluded));
            }
            let text = match self.reader.read(Path::new(&path)) {
                // A folder that fits is as good as empty.
                Err(error) if is_pattern && error.kind() == ErrorKind::IsADirectory => continue,
                read => read.map_err(|cause| refuse(Reason::IncludeUnreadable(cause.kind())))?,
            };
            self.read(&path, &text, (depth + 1, files), collector)?;
        }
        Ok(())
    }
}

/// The statement on a line; none on a blank line or a comment.
fn statement(origin: Origin, line: &str) -> Result<Option<Statement>, ConfError> {
    let line = line.trim_matches([' ', '\t', '\r', '\n']);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, written) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let mut statement = Statement {
        origin,
        name: name.to_ascii_lowercase(),
        lead: format!("{name} "),
        written: written.trim_start().to_owned(),
        words: Vec::new(),
    };
    let Some(words) = words::split_text(line) else {
        return Err(statement.refuse(Reason::UnbalancedQuotes));
    };
    let mut words = words.map_err(|_| statement.refuse(Reason::NotUtf8))?.into_iter();
    let Some(name) = words.next() else {
        return Ok(None);
    };
    statement.name = name.to_ascii_lowercase();
    statement.words = words.collect();
    Ok(Some(statement))
}
