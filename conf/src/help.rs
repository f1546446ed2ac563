//! The text of `--help`, from the table.

use std::fmt::Write;

use crate::declaration::Standing;
use crate::directive;
use crate::words;

const USAGE: &str = "\
Usage: slotmesh [file] [--directive value ...] [-]

  slotmesh                          serve with the defaults
  slotmesh slotmesh.conf            serve as a file in redis.conf syntax says
  slotmesh --port 7000 --cores 2    directives as options, stronger than the file
  SLOTMESH_PORT=7000 slotmesh       directives as environment variables, between the two
  slotmesh -                        read the configuration from standard input

  -h, --help        print this
  -v, --version     print the version
  --check-config    read the configuration, say whether it is good, and leave

";

const OTHERS: &str = "
The other directives of Redis 7.2 are accepted; those that ask for what is not there yet are refused,
those without effect are named in the log.
";

/// Width of the column of names and defaults.
const COLUMN: usize = 34;

/// What `--help` prints: usage, our options, and each directive that code reads, with its default and the
/// first sentence of its text.
pub fn text() -> String {
    let mut text = USAGE.to_owned();
    text.push_str("Directives, with their defaults:\n\n");
    for row in directive::TABLE.iter().filter(|row| row.standing == Standing::Used) {
        let default = if row.default.is_empty() { words::quote("") } else { row.default.to_owned() };
        let left = format!("{} {default}", row.name);
        let lead = first_sentence(row.doc);
        // Writing to a string cannot fail.
        let _ = if left.len() < COLUMN {
            writeln!(text, "  {left:COLUMN$}{lead}")
        } else {
            writeln!(text, "  {left}\n  {:COLUMN$}{lead}", "")
        };
    }
    text.push_str(OTHERS);
    text
}

fn first_sentence(doc: &str) -> String {
    let joined = doc.split_whitespace().collect::<Vec<_>>().join(" ");
    let end = joined.find(". ").unwrap_or(joined.len());
    joined[..end].trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_directive_in_use_is_explained() {
        let text = super::text();
        for row in crate::directive::TABLE {
            let used = row.standing == crate::Standing::Used;
            let listed = text.lines().any(|line| line.starts_with(&format!("  {} ", row.name)));
            assert_eq!(used, listed, "{}", row.name);
        }
        for option in ["--help", "--version", "--check-config"] {
            assert!(text.contains(option));
        }
        assert!(text.lines().all(|line| line.len() <= 120), "a line is too long to read");
    }
}
