//! The rules of the machine as scripts: each file of `testdata/rules` tells what happens to one node, and what it does.
//!
//! The node under test is a real machine that reads its nodes.conf and sees real bytes; its peers are names of one
//! letter, whose id is that letter forty times. `testdata/rules/README` says which words there are.

#[path = "scripts/peer.rs"]
mod peer;
#[path = "scripts/stage.rs"]
mod stage;

use stage::Stage;
use std::path::Path;

#[test]
fn every_script_holds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/rules");
    let entries = std::fs::read_dir(folder).expect("the folder can be read");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    assert!(files.len() > 15, "the scripts were found");
    let failures: Vec<String> = files.iter().flat_map(|path| run(path)).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What does not hold in a file: scripts are apart by lines that begin with `==`.
fn run(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).expect("scripts are text");
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut stage = Stage::default();
    let (mut failures, mut title) = (Vec::new(), String::new());
    let mut is_spoilt = false;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.split("# ").next().unwrap_or_default().trim();
        if let Some(next) = line.strip_prefix("==") {
            (stage, title, is_spoilt) = (Stage::default(), next.trim().to_owned(), false);
        } else if !line.is_empty()
            && !is_spoilt
            && let Err(why) = stage.perform(line)
        {
            is_spoilt = true;
            failures.push(format!("{name}:{number} ({title}): {line}\n    {why}"));
        }
    }
    failures
}
