//! Client libraries in other languages: `make test` installs them beside the tests.

use std::path::PathBuf;
use std::process::Command;

/// The folder of a language's packages (`python`, `node`).
///
/// # Panics
/// If a test lies where cargo puts none.
pub fn installed(folder: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its file");
    test.ancestors().nth(3).expect("tests lie in target/<profile>/deps").join(folder)
}

/// Runs a script that says `done` if all was well.
///
/// # Panics
/// If it does not; what it says is shown.
pub fn assert_done(mut command: Command) {
    let output = command.output().expect("the interpreter is there, as the client was installed");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && out.trim() == "done", "{out}{err}");
}
