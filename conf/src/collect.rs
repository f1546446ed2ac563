//! Statements of one source become a map for the `config` crate, each checked by its row on the way.
//!
//! Every statement is checked, also one that a later source overrides: a typing error stops the start even
//! where it would have done nothing, as in Redis. What the map holds for a directive: an array of its words;
//! for `client-output-buffer-limit` a table from class to array, so that the `config` crate merges classes
//! of several sources. The origin stands beside each array.

use std::collections::BTreeMap;

use config::{Map, Value, ValueKind};

use crate::declaration::{Directive, Kind, Standing};
use crate::directive;
use crate::error::{ConfError, Origin, Reason};
use crate::parse;
use crate::words;

/// One directive as somebody wrote it.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    /// Where.
    pub(crate) origin: Origin,
    /// The name in the table's spelling or an alias, any case.
    pub(crate) name: String,
    /// The name as it was written, with what stands between it and the words: `port `, `SLOTMESH_PORT=`.
    pub(crate) lead: String,
    /// The words as they were written.
    pub(crate) written: String,
    /// The words.
    pub(crate) words: Vec<String>,
}

impl Statement {
    /// The error for this statement. Words are left out if they may be a secret: also where the directive
    /// is unknown, since that may be a password behind a mistyped name.
    pub(crate) fn refuse(&self, reason: Reason) -> ConfError {
        let rest = match directive::find(&self.name) {
            None => "",
            Some(row) if row.secret && !self.written.is_empty() => "(secret)",
            Some(_) => self.written.as_str(),
        };
        let written = one_line(&format!("{}{rest}", self.lead));
        ConfError::Directive { origin: self.origin.clone(), written, reason }
    }
}

/// Most letters of a statement that an error shows. At the bound: cut, with an ellipsis.
const SHOWN_LETTERS_MAX: usize = 200;

/// Text that cannot break the line of the log that shows it.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.trim_end_matches([' ', '=']);
    let mut shown: String =
        text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).take(SHOWN_LETTERS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The statements of one source so far.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    found: BTreeMap<&'static str, ValueKind>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Collector {
    /// Checks a statement and keeps its words.
    pub(crate) fn take(&mut self, statement: &Statement) -> Result<(), ConfError> {
        self.keep(statement).map_err(|reason| statement.refuse(reason))
    }

    fn keep(&mut self, statement: &Statement) -> Result<(), Reason> {
        let row = row_of(&statement.name)?;
        let words = &statement.words;
        match row.standing {
            Standing::Dropped if words.len() == 1 => return Ok(()),
            Standing::Dropped => return Err(Reason::Unknown),
            Standing::FileOnly if row.name == "user" && is_default_user(words) => return Ok(()),
            Standing::FileOnly => return Err(Reason::NotSupported),
            Standing::Used | Standing::Unused | Standing::DefaultOnly => {}
        }
        let words = resplit(row, words)?;
        parse::parse(row, &words, None)?;
        match row.kind {
            Kind::OutputLimits => self.keep_limits(row.name, &words, &statement.origin),
            Kind::SavePoints => self.keep_save_points(row.name, words, &statement.origin),
            _ => {
                self.found.insert(row.name, array(&words, &statement.origin).kind);
            }
        }
        self.origins.insert(row.name, statement.origin.clone());
        Ok(())
    }

    /// Each class replaces what an earlier line said of it.
    fn keep_limits(&mut self, name: &'static str, words: &[String], origin: &Origin) {
        let table = self.found.entry(name).or_insert_with(|| ValueKind::Table(Map::new()));
        let ValueKind::Table(classes) = table else {
            unreachable!("only this function makes entries of this directive");
        };
        for group in words.chunks(4) {
            let class = match group[0].to_ascii_lowercase().as_str() {
                "slave" => "replica".to_owned(),
                class => class.to_owned(),
            };
            classes.insert(class, array(&group[1..], origin));
        }
    }

    /// Lines add up, until an empty one takes all back.
    fn keep_save_points(&mut self, name: &'static str, mut words: Vec<String>, origin: &Origin) {
        let none = words.is_empty() || words.iter().all(String::is_empty);
        if let (false, Some(ValueKind::Array(before))) = (none, self.found.get(name)) {
            let before = before.iter().filter_map(|word| word.clone().into_string().ok());
            words = before.filter(|word| !word.is_empty()).chain(words).collect();
        }
        self.found.insert(name, array(&words, origin).kind);
    }

    /// The map that the `config` crate merges.
    pub(crate) fn into_map(self) -> Map<String, Value> {
        let origins = self.origins;
        let entry = |(name, kind): (&'static str, ValueKind)| {
            let origin = origins.get(name).map(Origin::text);
            (name.to_owned(), Value::new(origin, kind))
        };
        self.found.into_iter().map(entry).collect()
    }
}

fn row_of(name: &str) -> Result<&'static Directive, Reason> {
    match directive::find(name) {
        Some(row) => Ok(row),
        // Settings of modules.
        None if name.contains('.') => Err(Reason::NotSupported),
        None => Err(Reason::Unknown),
    }
}

/// Whether the words of `user` leave the default user all the rights that it has anyway: what a file that Redis has
/// rewritten says of it.
fn is_default_user(words: &[String]) -> bool {
    const ALL: &[&str] =
        &["on", "nopass", "sanitize-payload", "~*", "allkeys", "&*", "allchannels", "+@all", "allcommands"];
    let Some((name, rules)) = words.split_first() else { return false };
    name == "default" && rules.iter().all(|rule| ALL.iter().any(|all| all.eq_ignore_ascii_case(rule)))
}

/// A directive that takes many words may have them in one pair of quotes.
fn resplit(row: &Directive, words: &[String]) -> Result<Vec<String>, Reason> {
    match words {
        [word] if row.kind.takes_many() && !word.is_empty() => {
            words::split_text(word).ok_or(Reason::UnbalancedQuotes)?.map_err(|_| Reason::NotUtf8)
        }
        _ => Ok(words.to_vec()),
    }
}

fn array(words: &[String], origin: &Origin) -> Value {
    let word = |word: &String| Value::new(Some(origin.text()), word.clone());
    Value::new(Some(origin.text()), words.iter().map(word).collect::<Vec<_>>())
}
