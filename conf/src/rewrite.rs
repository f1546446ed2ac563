//! A complete configuration file from the table: the shipped `slotmesh.conf`, and any settings written out.

use std::fmt::Write;

use crate::declaration::{Directive, Standing};
use crate::settings::Settings;
use crate::value::Value;

const HEAD: &str = "\
# Configuration of slotmesh: every directive that does something, with the value that holds without its line.
#
# The syntax is that of redis.conf; bytes may be written 1k (1000), 1kb (1024), 5mb, 1gb. The same names work
# in the environment (SLOTMESH_MAXCLIENTS=100) and on the command line (--maxclients 100), which win over the
# file in this order. Of the other directives of Redis 7.2, those that ask for what is not there yet are
# refused; the rest is accepted, does nothing, and is named in the log.
";

/// The text of a file that, read back, gives these settings: every directive that code reads, with its
/// explanation, then the others that do not hold their default. Contains passwords in the clear.
pub fn render(settings: &Settings) -> String {
    let mut text = HEAD.to_owned();
    for (row, value) in settings.rows().filter(|(row, _)| row.standing == Standing::Used) {
        text.push('\n');
        for line in row.doc.lines() {
            let _ = writeln!(text, "# {}", line.trim());
        }
        let _ = writeln!(text, "{}{} {}", if is_unset(row, value) { "# " } else { "" }, row.name, value.to_line());
    }
    let defaults = Settings::default();
    let others = settings
        .rows()
        .zip(defaults.rows())
        .filter(|((row, value), (_, default))| row.standing != Standing::Used && value != default);
    for ((row, value), _) in others {
        let _ = writeln!(text, "\n{} {}", row.name, value.to_line());
    }
    text
}

/// Whether the directive is empty by default and still is: then its line is only shown.
fn is_unset(row: &Directive, value: &Value) -> bool {
    row.default.is_empty() && value.to_string().is_empty()
}

#[cfg(test)]
mod tests;
