//! Starts that cannot succeed: one clear line on standard error, and exit code 1.

mod forbidden;

use slotmesh_conform::{
    Server, await_condition, binary, is_self_test, node_command, unused_port, without_test_variables,
};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A directory of its own, removed at the end.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("slotmesh-refused-{}-{}", std::process::id(), unused_port()));
        fs::create_dir_all(&path).expect("the directory for temporary files can be written to");
        Self(path)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a directory of ours");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn node(args: &[&str]) -> Command {
    let mut command = node_command();
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a start that must fail; gives its line on standard error.
fn refusal(mut command: Command) -> String {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary can be run");
    let mut child = child;
    await_condition("a start that cannot succeed ends", 20, || matches!(child.try_wait(), Ok(Some(_))));
    let output = child.wait_with_output().expect("our child");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert_eq!(text.lines().count(), 1, "one line: {text}");
    text
}

fn assert_says(line: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(line.contains(word), "{word:?} in {line}"));
}

#[test]
fn a_port_in_use_is_told() {
    let holder = TcpListener::bind(("127.0.0.1", 0)).expect("the system has a port");
    let port = holder.local_addr().expect("it listens").port();
    let line = refusal(node(&["--port", &port.to_string(), "--cores", "1"]));
    assert_says(&line, &[&port.to_string(), "in use"]);
}

#[test]
fn an_address_of_another_host_is_told() {
    let port = unused_port().to_string();
    let line = refusal(node(&["--port", &port, "--bind", "192.0.2.1", "--cores", "1"]));
    assert_says(&line, &["192.0.2.1"]);
}

#[test]
fn a_socket_that_cannot_be_made_is_told() {
    let port = unused_port().to_string();
    let line = refusal(node(&["--port", &port, "--unixsocket", "/nowhere/at/all", "--cores", "1"]));
    assert_says(&line, &["/nowhere/at/all"]);
}

#[test]
fn bad_directives_are_told_with_their_place() {
    let dir = Dir::new();
    let unknown = dir.file("unknown.conf", "port 7000\n\nno-such-directive yes\n");
    let bad = dir.file("bad.conf", "timeout soon\n");
    let unbalanced = dir.file("unbalanced.conf", "logfile \"abc\n");
    let cases: [(&[&str], &[&str]); 8] = [
        (&["--no-such-directive", "yes"], &["no-such-directive"]),
        (&["--timeout", "soon"], &["timeout"]),
        (&["--port", "99999999"], &["port"]),
        (&["--tls-port", "7000"], &["tls-port", "not supported"]),
        (&[path(&unknown)], &["unknown.conf", "3", "no-such-directive"]),
        (&[path(&bad)], &["bad.conf", "1", "timeout"]),
        (&[path(&unbalanced)], &["unbalanced.conf", "1"]),
        (&["--check-config", path(&bad)], &["bad.conf", "timeout"]),
    ];
    for (args, words) in cases {
        assert_says(&refusal(node(args)), words);
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("names are UTF-8")
}

#[test]
fn files_that_cannot_be_read_are_told() {
    let dir = Dir::new();
    let absent = dir.0.join("absent.conf");
    assert_says(&refusal(node(&[path(&absent)])), &["absent.conf"]);
    assert_says(&refusal(node(&[path(&dir.0)])), &[path(&dir.0)]);
    let port = unused_port().to_string();
    assert_says(&refusal(node(&["--port", &port, "--dir", "/nowhere/at/all"])), &["/nowhere/at/all"]);
}

#[test]
fn more_shards_than_cores_are_refused() {
    let port = unused_port().to_string();
    assert_says(&refusal(node(&["--port", &port, "--cores", "1", "--shards", "2"])), &["shards"]);
}

#[test]
fn help_and_version_succeed() {
    for (flag, word) in [("--help", "--port"), ("--version", "slotmesh")] {
        let output = node(&[flag]).output().expect("the binary can be run");
        assert!(output.status.success());
        assert!(is_self_test() || String::from_utf8_lossy(&output.stdout).contains(word), "{flag}");
    }
}

#[test]
fn an_io_uring_that_is_asked_for_and_forbidden_is_told() {
    let mut command = node(&["--port", &unused_port().to_string(), "--cores", "1", "--io-backend", "io_uring"]);
    // As container runtimes do.
    forbidden::forbid(&mut command, &[(libc::SYS_io_uring_setup, libc::EPERM)]);
    assert_says(&refusal(command), &["io_uring", "forbid"]);
}

/// Some kernels charge rings to the limit of locked memory, some do not: there the node simply starts.
#[test]
fn a_limit_of_locked_memory_is_obeyed_or_told() {
    let port = unused_port();
    let has =
        |tool: &str| Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !has("prlimit") || !has("setpriv") {
        eprintln!("SKIPPED: no prlimit or no setpriv here");
        return;
    }
    let mut command = without_test_variables(Command::new("prlimit"));
    // Root is not bound by the limit while it has the capability to pass it.
    command.args(["--memlock=0:0", "setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"]);
    command.arg(binary()).args(["--cores", "1", "--port", &port.to_string(), "--io-backend", "io_uring"]);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).stdin(Stdio::null()).spawn().expect("prlimit is there");
    let mut serves = false;
    await_condition("the node serves or ends", 20, || {
        serves = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        serves || matches!(child.try_wait(), Ok(Some(_)))
    });
    if serves {
        child.kill().expect("our child");
        child.wait().expect("our child");
        eprintln!("this kernel does not charge rings to the limit of locked memory");
        return;
    }
    let output = child.wait_with_output().expect("our child");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.contains("setpriv:") {
        eprintln!("SKIPPED: capabilities cannot be dropped here ({text})");
        return;
    }
    assert_eq!((output.status.code(), text.lines().count()), (Some(1), 1), "{text}");
    assert_says(&text, &["memory"]);
}

#[test]
fn a_second_server_on_the_same_socket_is_refused() {
    let first = Server::slotmesh(1, 1, &[]);
    let port = first.port().to_string();
    assert_says(&refusal(node(&["--port", &port, "--cores", "1"])), &[&port]);
    assert_eq!(first.connect().say("PING"), b"+PONG\r\n");
}
