//! `slotmesh [file] [--directive value …] [-]`: the command line, read as redis-server reads it.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::collect::Statement;
use crate::error::{ConfError, Origin, Reason};
use crate::words;

/// What the caller of the program wants.
#[derive(Debug, Clone)]
pub enum Invocation {
    /// Print [`help::text`](crate::help::text) and leave.
    Help,
    /// Print the version and leave.
    Version,
    /// Read the configuration, say whether it is good, and leave.
    CheckConfig(CommandLine),
    /// Serve.
    Serve(CommandLine),
}

/// Where the settings of this run come from.
#[derive(Debug, Clone, Default)]
pub struct CommandLine {
    /// The configuration file.
    pub file: Option<PathBuf>,
    /// Whether standard input is read behind the file.
    pub standard_input: bool,
    /// The options, in their order.
    pub(crate) options: Vec<Statement>,
}

impl Invocation {
    /// Reads the arguments, without the program's name.
    ///
    /// As in redis-server: a first argument that does not begin with `-` is the file (`--check-config` may
    /// stand before it); `-` as the first or
    /// last argument is standard input; what begins with `--` is a directive, and its values follow until
    /// the next `--`; the word right behind a directive is its value even if it begins with `--`, except
    /// behind `--save`, which may stand without a value for an empty one. Reference: `main` in `server.c`.
    ///
    /// # Errors
    /// An argument that is not UTF-8 or belongs to no option. Directives are checked by
    /// [`load`](crate::load()).
    pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, ConfError> {
        let mut words = Vec::new();
        for (at, argument) in arguments.into_iter().enumerate() {
            let word =
                argument.into_string().map_err(|bytes| refuse(at + 1, &bytes.to_string_lossy(), Reason::NotUtf8))?;
            words.push(word);
        }
        match words.first().map(String::as_str) {
            Some("--help" | "-h") => return Ok(Invocation::Help),
            Some("--version" | "-v") => return Ok(Invocation::Version),
            _ => {}
        }
        let mut reading = Reading::default();
        for (at, word) in words.iter().enumerate() {
            reading.take(at, word, &words)?;
        }
        let Reading { line, check, .. } = reading;
        Ok(if check { Invocation::CheckConfig(line) } else { Invocation::Serve(line) })
    }
}

#[derive(Debug, Default)]
struct Reading {
    line: CommandLine,
    check: bool,
    /// The last option has no value yet: the next word is its value, whatever it looks like.
    wants_value: bool,
}

impl Reading {
    fn take(&mut self, at: usize, word: &str, all: &[String]) -> Result<(), ConfError> {
        let last = at + 1 == all.len();
        // `slotmesh --check-config file` is what everybody types.
        let first = at == 0 || (at == 1 && all[0] == "--check-config");
        if first && !word.starts_with('-') {
            self.line.file = Some(PathBuf::from(word));
        } else if word == "-" && (first || last) {
            self.line.standard_input = true;
        } else if !self.wants_value && word == "--check-config" {
            self.check = true;
        } else if let (false, Some(option)) = (self.wants_value, word.strip_prefix("--")) {
            self.option(at, option, all)?;
        } else {
            // A value directly behind --check-config is one that belongs nowhere.
            let stray = at > 0 && all[at - 1] == "--check-config" && !self.wants_value;
            match self.line.options.last_mut() {
                Some(option) if !stray => {
                    if !option.written.is_empty() {
                        option.written.push(' ');
                    }
                    option.written.push_str(&words::quote(word));
                    option.words.push(word.to_owned());
                    self.wants_value = false;
                }
                _ if stray => return Err(refuse(at + 1, word, Reason::TakesNoValue)),
                _ => return Err(refuse(at + 1, word, Reason::NotAnOption)),
            }
        }
        Ok(())
    }

    /// An option, alone (`--port`) or with its values in the same argument (`"--port 6380"`).
    fn option(&mut self, at: usize, option: &str, all: &[String]) -> Result<(), ConfError> {
        let (name, written) = option.split_once(' ').unwrap_or((option, ""));
        let mut statement = Statement {
            origin: Origin::command_line(at + 1),
            name: name.to_ascii_lowercase(),
            lead: format!("--{name} "),
            written: written.trim().to_owned(),
            words: Vec::new(),
        };
        statement.words = words::split_text(written)
            .ok_or_else(|| statement.refuse(Reason::UnbalancedQuotes))?
            .map_err(|_| statement.refuse(Reason::NotUtf8))?;
        let next_is_option = all.get(at + 1).is_none_or(|next| next.starts_with("--"));
        self.wants_value = statement.words.is_empty();
        if self.wants_value && statement.name == "save" && next_is_option {
            statement.words.push(String::new());
            self.wants_value = false;
        }
        self.line.options.push(statement);
        Ok(())
    }
}

fn refuse(position: usize, written: &str, reason: Reason) -> ConfError {
    let written = crate::collect::one_line(written);
    ConfError::Directive { origin: Origin::command_line(position), written, reason }
}

#[cfg(test)]
mod tests {
    use super::{CommandLine, Invocation};

    fn parse(arguments: &[&str]) -> Result<Invocation, String> {
        Invocation::parse(arguments.iter().map(Into::into)).map_err(|error| error.to_string())
    }

    fn options(arguments: &[&str]) -> String {
        let Ok(Invocation::Serve(CommandLine { options, .. })) = parse(arguments) else {
            panic!("{arguments:?} is not read as a run");
        };
        let mut read = Vec::new();
        for option in options {
            read.push(option.name);
            read.extend(option.words.iter().map(|word| format!("[{word}]")));
        }
        read.join(" ")
    }

    #[test]
    fn options_take_values_until_the_next_option() {
        // Arguments and what is read, each option as its name and its words in brackets.
        let cases: [(&[&str], &str); 8] = [
            (&["--port", "1", "--bind", "a", "b"], "port [1] bind [a] [b]"),
            (&["file", "--port", "1"], "port [1]"),
            (&["--port 1", "--hz 2"], "port [1] hz [2]"),
            (&["--save \"\"", "--hz", "2"], "save [] hz [2]"),
            (&["--save", "--hz", "2"], "save [] hz [2]"),
            (&["--save"], "save []"),
            (&["--requirepass", "--x"], "requirepass [--x]"),
            (&["--PORT", "1", "-"], "port [1]"),
        ];
        for (arguments, expected) in cases {
            assert_eq!(options(arguments), expected, "{arguments:?}");
        }
    }

    #[test]
    fn the_file_and_standard_input_are_found() {
        for (arguments, file, input) in [
            (&["a.conf", "--hz", "1", "-"] as &[&str], Some("a.conf"), true),
            (&["-"], None, true),
            (&[], None, false),
            (&["a.conf"], Some("a.conf"), false),
        ] {
            let Ok(Invocation::Serve(line)) = parse(arguments) else {
                panic!("{arguments:?} is not read as a run");
            };
            assert_eq!(line.file.as_deref().and_then(|path| path.to_str()), file);
            assert_eq!(line.standard_input, input);
        }
    }

    #[test]
    fn what_is_not_a_run_is_told_apart() {
        assert!(matches!(parse(&["-h"]), Ok(Invocation::Help)));
        assert!(matches!(parse(&["--help", "x"]), Ok(Invocation::Help)));
        assert!(matches!(parse(&["-v"]), Ok(Invocation::Version)));
        assert!(matches!(parse(&["--version"]), Ok(Invocation::Version)));
        assert!(matches!(parse(&["--check-config"]), Ok(Invocation::CheckConfig(_))));
        let Ok(Invocation::CheckConfig(line)) = parse(&["--check-config", "f"]) else {
            panic!("the file may stand behind --check-config");
        };
        assert_eq!(line.file.as_deref(), Some(std::path::Path::new("f")));
        assert!(matches!(parse(&["f", "--check-config", "--hz", "1"]), Ok(Invocation::CheckConfig(_))));
    }

    #[test]
    fn stray_words_are_refused_with_their_place() {
        for (arguments, message) in [
            (&["file", "x"] as &[&str], "command line, argument 2: 'x': an option must begin with '--'"),
            (&["-x"], "command line, argument 1: '-x': an option must begin with '--'"),
            (&["--hz", "1", "--check-config", "x"], "command line, argument 4: 'x': this option takes no value"),
            (&["--bind \"a"], "command line, argument 1: '--bind \"a': Unbalanced quotes in configuration line"),
        ] {
            assert_eq!(parse(arguments).unwrap_err(), message);
        }
    }
}
