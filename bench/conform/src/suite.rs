//! Redis's Tcl suite in its mode for external servers: running units, reading what they print, the table of results.

mod outcome;

pub use outcome::{Failure, Outcome};

use crate::Server;
use std::fmt::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fs, io};

/// The units that need no more than what there is, or whose failures show what is not there.
pub const UNITS: &[&str] = &[
    "unit/type/string",
    "unit/type/incr",
    "unit/type/list",
    "unit/type/list-2",
    "unit/type/list-3",
    "unit/bitops",
    "unit/bitfield",
    "unit/keyspace",
    "unit/expire",
    "unit/scan",
    "unit/sort",
    "unit/multi",
    "unit/protocol",
    "unit/quit",
    "unit/pause",
    "unit/slowlog",
    "unit/latency-monitor",
    "unit/info-command",
    "unit/info",
    "unit/introspection",
    "unit/introspection-2",
    "unit/other",
    "unit/lazyfree",
    "unit/wait",
    "unit/limits",
    "unit/querybuf",
    "unit/dump",
    "unit/pubsub",
];

/// Longest run of a unit, in seconds; what has not ended then is stopped, and the table says so.
const UNIT_SECONDS_MAX: &str = "300";
/// How far the ports that the suite may take itself lie from the node's.
const PORTS_APART: u16 = 2000;
/// Most reasons that a row of the table names.
const REASONS_SHOWN: usize = 6;
/// Tests that are left out by their tag: what they look at does not exist here yet.
const LEFT_OUT: &str = "-needs:repl";
/// Tests that are left out by their names, since they wait for ever for what does not exist here yet.
const ENDLESS: &str = "/^Keyspace notifications.*";
/// Heading of the table.
const HEADING: &str = "## Redis's own test suite";
/// Shards of the node under test.
const SHARDS: usize = 2;

/// A place where the suite finds its tests and the tools that it calls.
#[derive(Debug)]
pub struct Stage {
    dir: PathBuf,
    version: String,
}

impl Stage {
    /// Links the tests of a source tree and the installed tools together in a directory of its own.
    ///
    /// # Errors
    /// If the directory cannot be made.
    pub fn new(tree: &Path) -> io::Result<Self> {
        let dir = std::env::temp_dir().join(format!("slotmesh-suite-{}", std::process::id()));
        fs::create_dir_all(dir.join("src"))?;
        let tree = tree.canonicalize()?;
        // It writes below tests/tmp.
        copy_tree(&tree.join("tests"), &dir.join("tests"))?;
        fs::create_dir_all(dir.join("tests/tmp"))?;
        symlink(tree.join("runtest"), dir.join("runtest"))?;
        for tool in ["redis-cli", "redis-benchmark", "redis-server"] {
            symlink(Path::new("/usr/bin").join(tool), dir.join("src").join(tool))?;
        }
        let header = fs::read_to_string(tree.join("src/version.h")).unwrap_or_default();
        let version = header.split('"').nth(1).unwrap_or("of unknown version").to_owned();
        Ok(Self { dir, version })
    }

    /// Runs one unit against a new node.
    ///
    /// # Errors
    /// If Tcl is not there.
    pub fn run(&self, unit: &str) -> io::Result<Outcome> {
        let mut server = Server::slotmesh(SHARDS, SHARDS, &["--enable-debug-command", "yes"]);
        let port = server.port();
        let output = Command::new("timeout")
            .args([UNIT_SECONDS_MAX, "tclsh8.6", "tests/test_helper.tcl", "--host", "127.0.0.1", "--port"])
            .args([&port.to_string(), "--single", unit, "--durable", "--clients", "1", "--tags", LEFT_OUT])
            .args(["--skiptest", ENDLESS])
            .args(["--baseport", &port.saturating_sub(PORTS_APART).to_string()])
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()?;
        let mut outcome = Outcome::read(&String::from_utf8_lossy(&output.stdout), output.status.code());
        if !server.is_alive() {
            outcome.ended_early = Some("the node has ended".to_owned());
        }
        Ok(outcome)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A row of the table.
pub fn row(unit: &str, outcome: &Outcome) -> String {
    let mut reasons: Vec<String> = outcome.ended_early.iter().cloned().collect();
    let counted = outcome.reasons();
    reasons.extend(counted.iter().take(REASONS_SHOWN).map(|(reason, count)| match count {
        1 => reason.clone(),
        count => format!("{reason} (×{count})"),
    }));
    if counted.len() > REASONS_SHOWN {
        reasons.push(format!("{} more", counted.len() - REASONS_SHOWN));
    }
    let reasons = reasons.join("; ").replace('|', "\\|");
    format!("| {unit} | {} | {} | {} | {reasons} |", outcome.passed, outcome.failures.len(), outcome.left_out)
}

/// The section of the results.
pub fn section(stage: &Stage, outcomes: &[(&str, Outcome)]) -> String {
    let sum = |of: fn(&Outcome) -> usize| outcomes.iter().map(|(_, outcome)| of(outcome)).sum::<usize>();
    let mut text = format!(
        "{HEADING}\n\nThe Tcl suite of Redis {}, unchanged, in its mode for external servers, against the gateway of a node \
         of {SHARDS} shards, a new one for each unit: `make conform SUITE=<a source tree of Redis>`. Left out are the tests \
         that the suite itself leaves out in this mode, those tagged `needs:repl`, and those of keyspace \
         notifications. A test that fails may leave its connection in a state that makes the next one fail (MULTI, a blocked client). The suite cuts the first ten \
         characters off what a server refuses: `n command 'sadd'` stands for an unknown command.\n\n\
         | unit | passed | failed | left out | why |\n|---|--:|--:|--:|---|\n",
        stage.version
    );
    outcomes.iter().for_each(|(unit, outcome)| _ = writeln!(text, "{}", row(unit, outcome)));
    let (passed, failed, left_out) =
        (sum(|outcome| outcome.passed), sum(|outcome| outcome.failures.len()), sum(|outcome| outcome.left_out));
    let _ = writeln!(text, "| all | {passed} | {failed} | {left_out} | |");
    text
}

/// Puts the section in its place: where it stood, else at the end.
pub fn put_section(document: &str, section: &str) -> String {
    let Some(start) = document.find(HEADING) else { return format!("{}\n\n{section}", document.trim_end()) };
    let behind = document[start + HEADING.len()..].find("\n## ").map(|end| start + HEADING.len() + end + 1);
    let rest = behind.map_or(String::new(), |behind| format!("\n{}", &document[behind..]));
    format!("{}{section}{rest}", &document[..start])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_section_takes_its_place() {
        let document = "# Results\n\n## Speed\n\nFast.\n\n## Redis's own test suite\n\nOld.\n\n## Other\n\nRest.\n";
        let put = put_section(document, "## Redis's own test suite\n\nNew.\n");
        assert_eq!(put, "# Results\n\n## Speed\n\nFast.\n\n## Redis's own test suite\n\nNew.\n\n## Other\n\nRest.\n");
        assert_eq!(
            put_section("# Results\n", "## Redis's own test suite\n\nNew.\n"),
            "# Results\n\n## Redis's own test suite\n\nNew.\n"
        );
    }
}
