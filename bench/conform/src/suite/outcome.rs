//! What a unit of the suite printed, as counts and reasons.

use std::collections::BTreeMap;

/// Longest reason that is shown, in characters.
const REASON_LENGTH_MAX: usize = 110;

/// A test that has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Its name.
    pub test: String,
    /// The first line of what the suite says of it.
    pub reason: String,
}

/// What has become of a unit.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Tests that have passed.
    pub passed: usize,
    /// Tests that have failed.
    pub failures: Vec<Failure>,
    /// Tests that were not run.
    pub left_out: usize,
    /// Why the unit ended before its end, if it did.
    pub ended_early: Option<String>,
}

/// The exit code of `timeout` when the time was up.
const TIME_WAS_UP: i32 = 124;

impl Outcome {
    /// Reads what the suite has printed.
    pub fn read(printed: &str, code: Option<i32>) -> Self {
        let plain = without_colours(printed);
        // Behind the end the failures are listed once more.
        let text = plain.split("\n                   The End").next().unwrap_or_default();
        let mut outcome = Self::default();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            if line.starts_with("[ok]: ") {
                outcome.passed += 1;
            } else if line.starts_with("[ignore]: ") || line.starts_with("[skip]: ") {
                outcome.left_out += 1;
            } else if let Some(test) = line.strip_prefix("[err]: ") {
                let test = test.rsplit_once(" in tests/").map_or(test, |(test, _)| test);
                let reason = lines.peek().copied().unwrap_or_default();
                outcome.failures.push(Failure { test: test.to_owned(), reason: short(reason) });
            } else if line.starts_with("[exception]: ") {
                let reason = lines.peek().copied().unwrap_or(line);
                outcome.ended_early = Some(format!("ended by: {}", short(reason)));
            }
        }
        if code == Some(TIME_WAS_UP) {
            outcome.ended_early = Some("its time was up".to_owned());
        }
        outcome
    }

    /// The reasons with how many tests had them, most frequent first.
    pub fn reasons(&self) -> Vec<(String, usize)> {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        self.failures.iter().for_each(|failure| *counts.entry(&failure.reason).or_default() += 1);
        let mut counted: Vec<_> = counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        counted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        counted
    }
}

/// A reason without what differs from one request to the next.
fn short(line: &str) -> String {
    let line = line.split(", with args beginning with").next().unwrap_or_default();
    let line = line.split(" (context:").next().unwrap_or_default().trim();
    let cut: String = line.chars().take(REASON_LENGTH_MAX).collect();
    if cut.len() < line.len() { format!("{cut}…") } else { cut }
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or(part, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "Testing unit/multi\n\
        [\u{1b}[0;32;49mok\u{1b}[0m]: MULTI / EXEC basics (0 ms)\n\
        [\u{1b}[0;31;49merr\u{1b}[0m]: MULTI where in tests/unit/multi.tcl\n\
        ERR unknown command 'sadd', with args beginning with: 'myset' 'a'\n    while executing\n\
        [\u{1b}[0;31;49merr\u{1b}[0m]: another in tests/unit/multi.tcl\n\
        ERR unknown command 'sadd', with args beginning with: 'x'\n\
        [\u{1b}[0;31;49merr\u{1b}[0m]: third in tests/unit/multi.tcl\n\
        Expected '1' to be equal to '2' (context: type eval line 13)\n\
        [\u{1b}[0;36;49mignore\u{1b}[0m]: SYNC: Tag: needs:repl denied\n\
        \n                   The End\n\n*** [err]: MULTI where in tests/unit/multi.tcl\nERR unknown\n";

    #[test]
    fn what_is_printed_is_counted_once() {
        let outcome = Outcome::read(PRINTED, Some(1));
        assert_eq!((outcome.passed, outcome.failures.len(), outcome.left_out), (1, 3, 1));
        assert_eq!(outcome.failures[0].test, "MULTI where");
        assert_eq!(
            outcome.reasons(),
            [("ERR unknown command 'sadd'".to_owned(), 2), ("Expected '1' to be equal to '2'".to_owned(), 1)]
        );
        assert_eq!(outcome.ended_early, None);
    }

    #[test]
    fn a_unit_that_does_not_end_is_told() {
        assert_eq!(Outcome::read("", Some(124)).ended_early.as_deref(), Some("its time was up"));
        let thrown =
            Outcome::read("[exception]: Executing test client: ERR no.\nERR no\n    while executing\n", Some(1));
        assert_eq!(thrown.ended_early.as_deref(), Some("ended by: ERR no"));
    }
}
